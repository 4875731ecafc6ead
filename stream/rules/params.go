package rules

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/common/ast"
	"go.yaml.in/yaml/v3"

	"panormus/devices"
)

// A rule's parameters are named constants of its expressions that a device, its zone or its profile may
// have another value of: see devices.Override. A device without overrides costs a comparison.

// maxParams bounds the parameters of a rule.
const maxParams = 16

// parseParams reads a rule's `params`: names of numbers, texts, or true and false, which are 1 and 0.
func (p *parser) parseParams(r *Rule, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		p.failAt(n, "params: found %s, want a mapping such as {limit: 50}", describe(n))
		return
	}
	r.Params = map[string]any{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if !p.ownName("params", k, windowSpecials[k.Value] || k.Value == devices.Enabled, r.Params[k.Value] != nil) {
			continue
		}
		if len(r.Params) == maxParams {
			p.failAt(k, "params: more than %d, want at most so many", maxParams)
			return
		}
		if v.Kind != yaml.ScalarNode {
			p.failAt(v, "params.%s: found %s, want a number, a text, true or false", k.Value, describe(v))
			continue
		}
		s, ok := p.scalar("params."+k.Value, v, 256)
		if !ok {
			continue
		}
		switch v.ShortTag() {
		case "!!bool":
			r.Params[k.Value] = 0.0
			if b, err := strconv.ParseBool(s); err == nil && b {
				r.Params[k.Value] = 1.0
			}
		case "!!int", "!!float":
			var number float64
			if err := v.Decode(&number); err != nil || number-number != 0 {
				p.failAt(v, "params.%s: found %s, want a number", k.Value, s)
				continue
			}
			r.Params[k.Value] = number
		default:
			r.Params[k.Value] = s
		}
	}
}

// param is the kind of the parameter called name; kindNone where there is none.
func (p *parser) param(name string) kind {
	switch p.params[name].(type) {
	case float64:
		return kindNum
	case string:
		return kindText
	}
	return kindNone
}

// paramIdent makes an identifier that is a parameter's name a variable, and reports whether it is one.
func (w *rewriter) paramIdent(e ast.Expr, name string) bool {
	k := w.p.param(name)
	if k == kindNone {
		return false
	}
	ident := "@param:" + name
	w.vars[ident] = variable{source: fromParam, kind: k, name: name, rule: w.p.rule, def: w.p.params[name]}
	e.SetKindCase(w.fac.NewIdent(e.ID(), ident))
	return true
}

// tuned reports whether the registry overrides anything for the device.
func tuned(a *devices.Asset) bool { return a != nil && len(a.Overrides) > 0 }

// overridesHash tells a device's overrides from others; 0 for none.
func overridesHash(a *devices.Asset) uint64 {
	if !tuned(a) {
		return 0
	}
	h := fnv.New64a()
	for _, rule := range slices.Sorted(maps.Keys(a.Overrides)) {
		for _, name := range slices.Sorted(maps.Keys(a.Overrides[rule])) {
			fmt.Fprintf(h, "%q %q %v\n", rule, name, a.Overrides[rule][name].Value)
		}
	}
	return max(h.Sum64(), 2)
}

// override is what the device of the frame has of a rule in place of its own.
func (f *frame) override(rule, name string) (devices.Override, bool) {
	all := f.asset().Overrides
	o, ok := all[rule][name]
	if !ok { // of all the rules of its template
		if template, _, of := strings.Cut(rule, "@"); of {
			o, ok = all[template][name]
		}
	}
	return o, ok
}

func (v variable) num() numFunc {
	def, _ := v.def.(float64)
	return func(f *frame) float64 {
		if f.dev.tuned != 0 {
			if o, ok := f.override(v.rule, v.name); ok {
				if n, ok := o.Value.(float64); ok {
					return n
				}
			}
		}
		return def
	}
}

func (v variable) text() textFunc {
	def, _ := v.def.(string)
	return func(f *frame) (string, bool) {
		if f.dev.tuned != 0 {
			if o, ok := f.override(v.rule, v.name); ok {
				if s, ok := o.Value.(string); ok {
					return s, true
				}
			}
		}
		return def, true
	}
}

// exempt reports whether the device of the frame is exempted from the rule.
func (r *Rule) exempt(f *frame) bool {
	o, ok := f.override(r.ID, devices.Enabled)
	return ok && o.Value == false
}

const exemptReason = "the rule is not for this device"

// overridden says which of the rule's parameters are not the rule's own, and whose they are; nil for none.
func (r *Rule) overridden(f *frame) map[string]string {
	if f.dev.tuned == 0 {
		return nil
	}
	var out map[string]string
	for name, own := range r.Params {
		if o, ok := f.override(r.ID, name); ok && sameType(o.Value, own) {
			if out == nil {
				out = map[string]string{}
			}
			out[name] = o.From
		}
	}
	return out
}

func sameType(a, b any) bool {
	_, num1 := a.(float64)
	_, num2 := b.(float64)
	_, text1 := a.(string)
	_, text2 := b.(string)
	return num1 && num2 || text1 && text2
}

// retune has what the device's registry entry changed about rules decided again: of the rules that are
// judged on values that stand, those with parameters, overrides or an episode.
func (s *shard) retune(d *device) {
	d.retuned = false
	s.blank(d)
	for _, r := range d.plan.rules {
		if r.windowed() || r.Absent > 0 {
			continue
		}
		_, named := d.overrides()[r.ID]
		if named || r.Template != "" || len(r.Params) > 0 || d.episode(r.index) != nil {
			s.dirty.set(r.index)
		}
	}
}

// noteOverrides notes that the device's registry entry, until now old, may override other values. What is
// told at the first look changes nothing: nothing was judged by anything else.
func (d *device) noteOverrides(old *devices.Asset) {
	next := overridesHash(d.asset)
	d.retuned = d.retuned || old != nil && next != d.tuned
	if next != d.tuned {
		d.own().tuned, d.tunes = next, next != 0
	}
}

// writeTuned writes which devices, by their place among all, have which overrides, so that a change while
// nothing ran is seen after a restart.
func (w *writer) writeTuned(all []*device) {
	var places []int
	for i, d := range all {
		if d.tuned != 0 || d.retuned {
			places = append(places, i)
		}
	}
	w.uint(uint64(len(places)))
	for _, i := range places {
		tuned := all[i].tuned
		if all[i].retuned {
			tuned = 1 // of nothing: to be decided again
		}
		w.uint(uint64(i))
		w.uint(tuned)
	}
}

func (r *reader) readTuned(all []*device) {
	was := map[int]uint64{}
	for range r.count() {
		i := r.uint()
		if i >= uint64(len(all)) {
			r.bad = true
			return
		}
		was[int(i)] = r.uint()
	}
	for i, d := range all {
		d.retuned = d.tuned != was[i]
	}
}

func (d *device) overrides() devices.Overrides {
	if d.asset == nil {
		return nil
	}
	return d.asset.Overrides
}

// retuner tells when anything about overrides has changed; *devices.Registry is one.
type retuner interface{ OverridesVersion() uint64 }

// takeOverrides judges devices anew whose overrides changed since the last look and that have not
// spoken since.
func (e *Engine) takeOverrides(now int64) {
	r, ok := e.cfg.Registry.(retuner)
	if !ok {
		return
	}
	version := r.OverridesVersion()
	if version == e.tuning {
		return
	}
	e.tuning = version
	for _, s := range e.shards {
		for d := range s.devices.all() {
			s.rejudge(d)
		}
	}
	e.shared.retune(now)
}

// rejudge judges a device anew if its overrides have changed.
func (s *shard) rejudge(d *device) {
	if s.refresh(d); !d.retuned || d.time == 0 {
		return
	}
	s.dirty = zeroed(s.dirty, d.plan.words)
	s.retune(d)
	s.frameOf(d, d.time)
	s.endExempt(d)
	s.judge(d, d.plan)
}

// endExempt ends the silences of a device that is exempted from their rules.
func (s *shard) endExempt(d *device) {
	for _, i := range d.plan.absent {
		if r := d.plan.rules[i]; d.tuned != 0 && r.exempt(&s.frame) {
			if ep := d.episode(i); ep != nil {
				s.emit(d, r, "cleared", ep.start, max(s.received, ep.start), exemptReason)
				d.drop(i)
				s.silence.push(timer{at: s.received + r.absent, dev: d, rule: int32(i)})
			}
		}
	}
}

// An Overrider tells what profiles, zones and devices override; *devices.Registry is one.
type Overrider interface {
	EachOverride(f func(kind, id string, rules map[string]devices.RuleOverride) bool)
}

// maxOverrideProblems bounds the problems of CheckOverrides.
const maxOverrideProblems = 100

// CheckOverrides says what of the registry's overrides means nothing: rules and parameters that are not
// there, values of another kind. They are warnings, and the rest of an override counts all the same.
func CheckOverrides(set *Set, all Overrider) []Problem {
	var out []Problem
	ids, templates := make([]string, len(set.Rules)), map[string]*Rule{}
	for i, r := range set.Rules {
		ids[i] = r.ID
		if r.Template != "" {
			templates[r.Template] = r
			ids = append(ids, r.Template)
		}
	}
	all.EachOverride(func(kind, id string, rules map[string]devices.RuleOverride) bool {
		say := func(rule, format string, args ...any) {
			out = append(out, Problem{File: "registry", Line: 1, Column: 1, Rule: rule, Warning: true,
				Message: kind + " " + id + ": " + fmt.Sprintf(format, args...)})
		}
		for _, rule := range slices.Sorted(maps.Keys(rules)) {
			r := cmp.Or(set.Rule(rule), templates[rule])
			if r == nil {
				say("", "rules: no rule %q%s", rule, didYouMean(rule, ids))
				continue
			}
			for _, name := range slices.Sorted(maps.Keys(rules[rule])) {
				v := rules[rule][name]
				if b, ok := v.(bool); ok && name != devices.Enabled {
					v = 0.0
					if b {
						v = 1.0
					}
				}
				switch own, ok := r.Params[name]; {
				case name == devices.Enabled:
				case !ok:
					say(rule, "it has no parameter %q%s", name, didYouMean(name, slices.Collect(maps.Keys(r.Params))))
				case !sameType(v, own):
					say(rule, "%s: found %v, want what the rule has, such as %v", name, v, own)
				}
			}
		}
		return len(out) < maxOverrideProblems
	})
	return out[:min(len(out), maxOverrideProblems)]
}

// checkParams makes the parameters known to the rule's expressions and reports names that are taken.
func (p *parser) checkParams(r *Rule, at map[string]*yaml.Node) {
	p.params = r.Params
	taken := slices.Collect(maps.Keys(r.Let))
	for _, s := range r.Sequence {
		taken = append(taken, s.As)
	}
	for name := range columnsOf(r.On) {
		taken = append(taken, name)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Params)) {
		if slices.Contains(taken, name) {
			p.failAt(at["params"], "params: %s is a name of its own here, want another", name)
		}
	}
}

package rules

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"go.yaml.in/yaml/v3"

	"panormus/devices"
	"panormus/stream/batch"
)

// OnJoined names the engine of rules that are about several kinds: of those that ask others for what is of
// another kind, see rowJoins, and of sequences: a detection, then a message of a device. It is no kind of its
// own: each step says, or shows by its variables, what it is about, and what joins them is the key.
const OnJoined = "joined"

// stepOn is what step i is about, the one after the last being `unless`.
func (r *Rule) stepOn(i int) string {
	s := r.Unless
	if i < len(r.Sequence) {
		s = &r.Sequence[i]
	}
	return cmp.Or(s.On, r.On)
}

// steps is how many steps there are, `unless` among them.
func (r *Rule) steps() int {
	if r.Unless != nil {
		return len(r.Sequence) + 1
	}
	return len(r.Sequence)
}

// mixed reports whether the rule is a sequence over several kinds.
func (r *Rule) mixed() bool {
	for i := range r.steps() {
		if r.stepOn(i) != r.On {
			return true
		}
	}
	return r.endsOn() != r.On
}

// endsOn is what `clear` of a sequence is about.
func (r *Rule) endsOn() string {
	return cmp.Or(r.clearOn, r.On)
}

// engine is who judges the rule: the kind it is about, or OnJoined where it needs others too.
func (r *Rule) engine() string {
	if r.mixed() || r.asks() && r.On != onObservations || r.asksOn(OnCounts) {
		return OnJoined
	}
	return r.On
}

// takes reports whether rows of a kind concern the rule.
func (r *Rule) takes(on string) bool {
	if r.Sequence == nil {
		return r.On == on
	}
	for i := range r.steps() {
		if r.stepOn(i) == on {
			return true
		}
	}
	return r.endsOn() == on
}

// Personal reports whether the rule looks at rows that each tell of a person or a vehicle.
func (r *Rule) Personal() bool { return r.takes(OnDetections) || r.takes(OnTracks) }

// runs reports whether an engine judges the rule by rows, or messages, of a kind.
func (r *Rule) runs(engine, on string) bool {
	if r.inner() {
		return engine == onAsking && on == onObservations
	}
	return r.engine() == engine && r.takes(on)
}

// inputsOf are the kinds of rows that the rules of an engine are about.
func inputsOf(set *Set, engine string) []string {
	if engine != OnJoined {
		return []string{engine}
	}
	var out []string
	for _, on := range ons {
		if slices.ContainsFunc(set.Rules, func(r *Rule) bool {
			return !r.Disabled && r.engine() == OnJoined && (r.takes(on) || r.asksOn(on))
		}) {
			out = append(out, on)
		}
	}
	return out
}

// tellsOfDetections are the variables by which a step that says nothing else is one of detections; a
// device's metric may be called `value` or `score`.
var tellsOfDetections = []string{"class", "vendor_class", "track", "camera", "what"}

// kindOfStep is what a condition is about where that is not said: what the rule is about, on, unless its
// variables are none of that; said is whether the rule says it.
func (p *parser) kindOfStep(src, on string, said bool) string {
	hidden, _ := hideDurations(src)
	a, issues := baseEnv().Parse(hidden)
	if issues.Err() != nil {
		return on // which is reported where it is compiled
	}
	var names []string
	ast.PostOrderVisit(root(a), ast.NewExprVisitor(func(x ast.Expr) {
		if x.Kind() != ast.IdentKind {
			return
		}
		if _, isParam := p.params[x.AsIdent()]; isParam {
			return
		}
		if _, isField := fields[x.AsIdent()]; !isField || columnsOf(on)[x.AsIdent()] != kindNone {
			names = append(names, x.AsIdent())
		}
	}))
	has := func(columns map[string]kind) func(string) bool {
		return func(name string) bool { return columns[name] != kindNone }
	}
	switch own := columnsOf(on); {
	case own != nil:
		known := rowKinds[on].names
		if len(names) > 0 && !slices.ContainsFunc(names, has(own)) && !slices.ContainsFunc(names, func(n string) bool {
			return n == "context" && on == OnEvents || nearest(n, known) != ""
		}) {
			return onObservations
		}
	case !said:
		all := func(name string) bool { return !has(columnsOf(OnDetections))(name) }
		if slices.ContainsFunc(names, func(n string) bool { return slices.Contains(tellsOfDetections, n) }) && !slices.ContainsFunc(names, all) {
			return OnDetections
		}
	}
	return on
}

// settleSteps finds out what each step of a sequence is about.
func (p *parser) settleSteps(r *Rule, at map[string]*yaml.Node) {
	said := at["on"] != nil
	on := make([]string, r.steps())
	node := func(i int, key string) *yaml.Node {
		if i == len(r.Sequence) {
			return at["unless."+key]
		}
		return at[fmt.Sprintf("sequence.%d.%s", i, key)]
	}
	step := func(i int) *Step {
		if i == len(r.Sequence) {
			return r.Unless
		}
		return &r.Sequence[i]
	}
	for i := range on {
		if on[i] = step(i).On; on[i] == "" {
			on[i] = p.kindOfStep(step(i).When, r.On, said)
		} else if !slices.Contains(ons, on[i]) {
			p.failAt(node(i, "on"), "on: found %q%s; want one of %s", on[i], didYouMean(on[i], ons), strings.Join(ons, ", "))
			return
		}
	}
	if !slices.Contains(on, r.On) {
		if said {
			p.failAt(at["on"], "on: found %s, and no step is about them; want what a step is about", r.On)
			return
		}
		r.On = on[0]
	}
	for i := range on {
		if step(i).On = on[i]; on[i] == r.On {
			step(i).On = ""
		}
	}
	if r.clearOn = ""; r.Clear != "" {
		r.clearOn = p.kindOfStep(r.Clear, r.On, true)
	}
	if r.mixed() && at["key"] == nil {
		r.Key = "zone" // no camera is a door
	}
}

// joinedCode is a rule's code as it is about one kind.
type joinedCode struct {
	key   *expr
	reads map[string]kind
}

// keyOn is the key's code for a kind.
func (c *code) keyOn(on string) *expr {
	if j := c.joined[on]; j != nil {
		return j.key
	}
	return c.key
}

// readsOn are the metrics or columns of a kind that the rule reads.
func (c *code) readsOn(on string) map[string]kind {
	if j := c.joined[on]; j != nil {
		return j.reads
	}
	return c.reads
}

func eachMessage(data []byte, do func(*Row)) error {
	o, err := batch.DecodeObservations(data)
	if err != nil {
		return err
	}
	Messages(o, do)
	return nil
}

// Messages calls do for every message of devices, for sequences over several kinds: its metrics are the
// row's. The Row is good during the call.
func Messages(o *batch.Observations, do func(*Row)) {
	codes := map[string]int16{} // of metrics asked for; -1 for one that the batch has not
	codeOf := func(name string) int16 {
		code, ok := codes[name]
		if !ok {
			code = int16(slices.Index(o.Metric.Values, name))
			codes[name] = code
		}
		return code
	}
	stamps := make([]int, len(o.Metric.Values)) // by metric: the message that had it last
	message := 0
	for i := 0; i < o.Len(); {
		first := i
		message++
		quality := uint8(0)
		for ; i < o.Len() && o.Device.Index[i] == o.Device.Index[first] && o.Time[i] == o.Time[first] &&
			o.Received[i] == o.Received[first] && o.Domain.Index[i] == o.Domain.Index[first]; i++ {
			m := o.Metric.Index[i]
			if stamps[m] == message {
				break // a metric for the second time begins the device's next message
			}
			stamps[m] = message
			quality |= o.Quality[i]
		}
		row := Row{On: onObservations, Device: o.Device.At(first), Domain: o.Domain.At(first), Time: o.Time[first], Received: o.Received[first]}
		row.message = messageRows{o: o, first: first, end: i}
		if quality&devices.QualityClock != 0 {
			row.Time = row.Received
		}
		end := i
		row.other = func(name string) (float64, string) {
			code := codeOf(name)
			for j := first; j < end; j++ {
				if o.Metric.Index[j] != code {
					continue
				}
				if v := o.Value[j]; v == v {
					return v, unknownText
				}
				return math.NaN(), o.Text.At(j)
			}
			return math.NaN(), unknownText
		}
		do(&row)
	}
}

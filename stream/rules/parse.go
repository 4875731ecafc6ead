package rules

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"panormus/devices"
)

// Bounds of a rule file, so that a bad one cannot take the process down.
const (
	maxFileBytes  = 4 << 20
	maxFileRules  = 10_000
	maxFileMetric = 16_000 // that rules of a file read; a device has a place for each, twice where it may be text
	maxTitleBytes = 512
	maxTextBytes  = 2048
)

// Parse reads and compiles a rule file: a mapping with a list `rules`, or a single rule. The error
// is a Problems where the file is at fault. A file with one bad rule is refused whole.
func Parse(file string, data []byte) (*Set, error) {
	rules, problems := parse(file, data, nil, environment{})
	if bad := problems.errors(); len(bad) > 0 {
		return nil, bad
	}
	return NewSet(rules...), nil
}

// Check reports all that is wrong with a rule file, warnings included; known are the metrics that
// profiles have, nil to take any name for one.
func Check(file string, data []byte, known []string) Problems {
	_, problems := parse(file, data, known, environment{})
	return problems
}

// ParseFor is Parse with the profiles that templates are about. Without them a template is checked and
// stands for no rules.
func ParseFor(file string, data []byte, profiles []*devices.Profile) (*Set, error) {
	rules, problems := parse(file, data, nil, environment{profiles: profiles})
	if bad := problems.errors(); len(bad) > 0 {
		return nil, bad
	}
	return NewSet(rules...), nil
}

func newParser(file string, known []string, env environment) *parser {
	return &parser{file: file, known: known, env: env, calendars: map[string]*almanac{}}
}

// KnownMetrics lists the metrics of profiles, for Check and Store.Known; nil where there are none, so
// that a registry without profiles makes no warnings.
func KnownMetrics(profiles []*devices.Profile) []string {
	all := map[string]bool{}
	for _, p := range profiles {
		for name := range p.Metrics {
			all[name] = true
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// parser collects what is wrong with one file.
type parser struct {
	file      string
	lines     []string
	known     []string
	heard     bool // devices' metrics are among the known ones
	env       environment
	problems  Problems
	looked    int                   // so many problems were counted,
	bad       int                   // and so many of them are no warnings
	rule      string                // the id of the rule being read
	template  string                // that is the whole of a file
	id        string                // of a rule that names none; "" for none
	params    map[string]any        // of the rule being read
	uses      map[string]*almanac   // calendars that the rule being read depends on
	calendars map[string]*almanac   // of the file
	swaps     map[*yaml.Node][]swap // what templates replaced
}

// environment is what a rule file may name beside metrics.
type environment struct {
	profiles  []*devices.Profile // for templates; nil where they are not known
	calendars map[string]*almanac
}

func parse(file string, data []byte, known []string, env environment) ([]*Rule, Problems) {
	p := newParser(file, known, env)
	rules := p.parse(data)
	p.problems.sort()
	return rules, p.problems
}

func (p *parser) fail(line, column int, format string, args ...any) {
	p.problems = append(p.problems, Problem{
		File: p.file, Line: max(line, 1), Column: max(column, 1), Rule: p.rule, Message: fmt.Sprintf(format, args...),
	})
}

// faulty is how many faults there are till now: a file may have ten thousand, and each rule asks.
func (p *parser) faulty() int {
	for ; p.looked < len(p.problems); p.looked++ {
		if !p.problems[p.looked].Warning {
			p.bad++
		}
	}
	return p.bad
}

func (p *parser) failAt(n *yaml.Node, format string, args ...any) {
	p.fail(n.Line, n.Column, format, args...)
}

func (p *parser) parse(data []byte) []*Rule {
	if len(data) > maxFileBytes {
		p.fail(1, 1, "%d bytes, want at most %d", len(data), maxFileBytes)
		return nil
	}
	p.lines = strings.Split(string(data), "\n")
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil // an empty file has no rules
	} else if err != nil {
		p.notYAML(data, err)
		return nil
	}
	var next yaml.Node
	if err := dec.Decode(&next); err == nil {
		p.failAt(&next, "a second document, want one a file")
		return nil
	}
	if !p.boundedAliases(&doc) {
		return nil
	}
	root := &doc
	if root.Kind == yaml.DocumentNode {
		if len(root.Content) == 0 {
			return nil
		}
		root = root.Content[0]
	}
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil
	}
	if root.Kind != yaml.MappingNode {
		p.failAt(root, "found %s, want a mapping with a list `rules`", describe(root))
		return nil
	}
	if hasKey(root, "id") || p.id != "" && !hasKey(root, "rules") {
		if isTemplate(root) {
			p.template = cmp.Or(idOf(root), p.id)
			return p.expand(root)
		}
		if r := p.parseRule(root); r != nil {
			return []*Rule{r}
		}
		return nil
	}
	for i := 0; i+1 < len(root.Content); i += 2 { // the calendars first: rules name them
		if root.Content[i].Value == "calendars" {
			p.parseCalendars(root.Content[i+1])
		}
	}
	var rules []*Rule
	p.eachKey(root, []string{"rules", "calendars"}, nil, func(key string, k, v *yaml.Node) {
		if key == "calendars" {
			return
		}
		if v.Kind == yaml.ScalarNode && v.Tag == "!!null" {
			return
		}
		if v.Kind != yaml.SequenceNode {
			p.failAt(v, "rules: found %s, want a list", describe(v))
			return
		}
		if len(v.Content) > maxFileRules {
			p.failAt(v, "rules: %d, want at most %d a file", len(v.Content), maxFileRules)
			return
		}
		if p.id != "" && len(v.Content) > 1 {
			p.failAt(v.Content[1], "rules: %d, want the one that is called %s", len(v.Content), p.id)
			return
		}
		first := map[string]int{}
		for _, n := range v.Content {
			p.rule = ""
			if n.Kind == yaml.AliasNode && n.Alias != nil {
				n = n.Alias
			}
			read := []*Rule{nil}
			if isTemplate(n) {
				read = p.expand(n)
			} else {
				read[0] = p.parseRule(n)
			}
			for _, r := range read {
				if r == nil {
					continue
				}
				if line, twice := first[r.ID]; twice {
					p.rule = r.ID
					p.fail(r.Line, r.column, "the id is taken by the rule on line %d, want each once", line)
					continue
				}
				first[r.ID] = r.Line
				rules = append(rules, r)
			}
			if len(rules) > maxFileRules {
				p.rule = ""
				p.failAt(v, "rules: more than %d with those of templates, want at most so many a file", maxFileRules)
				return
			}
		}
		metrics := map[string]bool{}
		for _, r := range rules {
			for _, m := range r.Metrics {
				metrics[m] = true
			}
		}
		if len(metrics) > maxFileMetric {
			p.failAt(v, "rules: they read %d metrics, want at most %d a file", len(metrics), maxFileMetric)
			return
		}
		bad := circles(rules)
		for _, r := range rules {
			if p.rule = r.ID; bad[r.ID] != "" && !slices.Contains(r.names(), r.ID) { // which is said already
				p.fail(r.Line, r.column, "%s", bad[r.ID])
			}
		}
		p.rule = ""
	})
	return rules
}

// laterKeys are those that only the API writes.
var laterKeys = []string{"template"}

var ruleKeys = []string{"id", "title", "domain", "severity", "on", "when", "for", "hold", "clear", "key", "absent", "text", "window", "let", "late", "sequence", "unless", "params", "schedule", "profile", "for_each", "enabled", "mode"}

func hasKey(n *yaml.Node, key string) bool {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return true
		}
	}
	return false
}

// eachKey calls f for every known key of a mapping and reports the others.
func (p *parser) eachKey(n *yaml.Node, known, later []string, f func(key string, k, v *yaml.Node)) {
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if v.Kind == yaml.AliasNode && v.Alias != nil {
			v = v.Alias
		}
		key := k.Value
		switch line, twice := seen[key]; {
		case k.Kind != yaml.ScalarNode:
			p.failAt(k, "a key that is %s, want one of %s", describe(k), strings.Join(known, ", "))
		case twice:
			p.failAt(k, "%s: a second time, first on line %d", key, line)
		case slices.Contains(known, key):
			seen[key] = k.Line
			f(key, k, v)
		case key == "<<":
			p.failAt(k, "<<: merged keys are not taken, want each key in its place; one rule for many devices is made by params, or by for_each")
		case slices.Contains(later, key):
			p.failAt(k, "%s: found in a rule of none, want for_each to make it one", key)
		default:
			p.failAt(k, "unknown key %q%s; want one of %s", key, didYouMean(key, slices.Concat(known, later)), strings.Join(known, ", "))
		}
	}
}

func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		if len(n.Content) == 0 {
			return "an empty list"
		}
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return "nothing"
		}
		return strconv.Quote(clip(n.Value, 40))
	}
	return "nothing"
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// scalar is the text of a scalar node; ok is false, and the fault reported, for any other.
func (p *parser) scalar(key string, v *yaml.Node, limit int) (string, bool) {
	if v.Kind != yaml.ScalarNode || v.Tag == "!!null" {
		p.failAt(v, "%s: found %s, want text", key, describe(v))
		return "", false
	}
	if len(v.Value) > limit {
		p.failAt(v, "%s: %d bytes, want at most %d", key, len(v.Value), limit)
		return "", false
	}
	return v.Value, true
}

var idForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.@-]{0,255}$`)

func (p *parser) parseRule(n *yaml.Node) *Rule {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	if n.Kind != yaml.MappingNode {
		p.failAt(n, "found %s, want a rule: a mapping with id, when…", describe(n))
		return nil
	}
	n = p.withoutTemplate(n)
	before := p.faulty()
	p.uses = nil
	r := &Rule{Severity: "warning", On: onObservations, Key: "device", File: p.file, Line: n.Line, column: max(n.Column, 1)}
	at := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 { // the id first: it names the rule in every message
		if n.Content[i].Value == "id" && n.Content[i+1].Kind == yaml.ScalarNode {
			p.rule = clip(n.Content[i+1].Value, 128)
		}
	}
	p.eachKey(n, ruleKeys, laterKeys, func(key string, k, v *yaml.Node) {
		at[key] = v
		switch key {
		case "window":
			p.parseWindow(r, v)
		case "let":
			p.parseLet(r, v, at)
		case "sequence":
			p.parseSequence(r, v, at)
		case "unless":
			p.parseUnless(r, v, at)
		case "params":
			p.parseParams(r, v)
		case "schedule":
			p.parseSchedule(r, v)
		case "for_each":
			p.failAt(k, "for_each: found in a rule that is not one of a list `rules`")
		default:
			p.parseKey(r, key, v)
		}
	})
	if at["id"] == nil && p.id != "" {
		r.ID = p.id
	} else if at["id"] == nil {
		p.failAt(n, "no id, want one of letters, digits, _ . and -")
	}
	switch {
	case r.On != onObservations && r.Absent > 0:
		p.failAt(at["absent"], "absent: found beside on: %s, want it on observations", r.On)
	case r.On == onObservations && r.Hold > 0 && at["sequence"] == nil:
		p.failAt(at["hold"], "hold: found with on: observations, where a reading stands until the next; want it on detections or other rows")
	case r.Absent > 0:
		for _, key := range []string{"for", "clear"} {
			if v := at[key]; v != nil {
				p.failAt(v, "%s: found beside absent, which has its own time and ends at the next reading; want one of them", key)
			}
		}
		if r.spans() {
			p.failAt(at["key"], "key: %s with absent, want device: silence is a device's", r.Key)
		}
	case at["when"] == nil && at["absent"] == nil && r.Window == nil && at["sequence"] == nil && p.faulty() == before:
		p.failAt(n, "neither when nor absent, want one of them")
	}
	p.checkSequence(r, at)
	p.checkParams(r, at)
	if r.Sequence != nil && p.faulty() == before {
		p.settleSteps(r, at)
	}
	switch p.checkWindow(r, n, at); {
	case at["sequence"] != nil:
		p.compileSequence(r, at, before)
	case r.Window != nil:
		p.compileWindow(r, at, before)
	default:
		p.compileRule(r, at, before)
	}
	if slices.Contains(r.names(), r.ID) {
		p.failAt(cmp.Or(at["when"], n), "when: %s is the rule itself, which would feed on its own events; want others", r.ID)
	}
	if r.Key == "camera" && (r.engine() == onObservations || r.engine() == OnUplinks) {
		p.failAt(at["key"], "key: camera on %s, which are of none: it is the device; want device, zone, domain or an expression", r.On)
		p.problems[len(p.problems)-1].Warning = true
	}
	if p.faulty() > before {
		return nil
	}
	r.calendars = p.calendarsUsed()
	r.stamp()
	return r
}

// ons are what a rule may run on.
var ons = slices.Sorted(slices.Values(append(slices.Collect(maps.Keys(rowKinds)), onObservations)))

func (p *parser) parseKey(r *Rule, key string, v *yaml.Node) {
	switch key {
	case "title":
		p.parseTitle(r, v)
		return
	case "for", "absent", "hold":
		s, ok := p.scalar(key, v, 64)
		if !ok {
			return
		}
		d, err := parseDuration(s)
		if err != nil {
			p.failAt(v, "%s: found %v", key, err)
			return
		}
		switch key {
		case "for":
			r.For = d
			return
		case "hold":
			if r.Hold = d; d < time.Second {
				p.failAt(v, "hold: found %s, want at least 1s", s)
			}
			return
		}
		if d < time.Second {
			p.failAt(v, "absent: found %s, want at least 1s", s)
		}
		r.Absent = d
		return
	}
	s, ok := p.scalar(key, v, maxTextBytes)
	if !ok {
		return
	}
	switch key {
	case "id":
		if r.ID = s; !idForm.MatchString(s) {
			p.failAt(v, "id: found %q, want 1 to 128 letters, digits, _ . and -, a letter or digit first", clip(s, 40))
		}
	case "domain":
		if r.Domain = s; devices.CheckDomain(s) != nil {
			p.failAt(v, "domain: %v", devices.CheckDomain(s))
		}
	case "severity":
		if r.Severity = s; !slices.Contains(Severities, s) {
			p.failAt(v, "severity: found %q%s; want one of %s", s, didYouMean(s, Severities), strings.Join(Severities, ", "))
		}
	case "on":
		if r.On = s; !slices.Contains(ons, s) {
			p.failAt(v, "on: found %q%s; want one of %s", s, didYouMean(s, ons), strings.Join(ons, ", "))
		}
	case "late":
		if r.Waits = s == "wait"; !r.Waits && s != "correct" {
			p.failAt(v, "late: found %q, want wait or correct", clip(s, 40))
		}
	case "when":
		r.When = strings.TrimSpace(s)
	case "clear":
		r.Clear = strings.TrimSpace(s)
	case "key":
		r.Key = strings.TrimSpace(s)
	case "text":
		r.Text = s
	case "profile":
		if r.Profile = s; devices.CheckID(s) != nil {
			p.failAt(v, "profile: %v", devices.CheckID(s))
		}
	case "mode":
		if s != "live" && s != "shadow" {
			p.failAt(v, "mode: found %q%s; want live or shadow", clip(s, 40), didYouMean(s, []string{"live", "shadow"}))
		}
		r.Shadow = s == "shadow"
	case "enabled":
		b, err := strconv.ParseBool(s)
		if err != nil {
			p.failAt(v, "enabled: found %q, want true or false", clip(s, 40))
		}
		r.Disabled = !b
	}
}

func (p *parser) parseTitle(r *Rule, v *yaml.Node) {
	if v.Kind == yaml.ScalarNode {
		if s, ok := p.scalar("title", v, maxTitleBytes); ok {
			r.Title = map[string]string{"en": s}
		}
		return
	}
	if v.Kind != yaml.MappingNode {
		p.failAt(v, "title: found %s, want text or a mapping of languages such as {en: …, it: …}", describe(v))
		return
	}
	r.Title = map[string]string{}
	for i := 0; i+1 < len(v.Content); i += 2 {
		lang := v.Content[i]
		if !regexp.MustCompile(`^[a-z]{2,3}$`).MatchString(lang.Value) {
			p.failAt(lang, "title: found %s, want a language such as en or it", describe(lang))
			continue
		}
		if s, ok := p.scalar("title."+lang.Value, v.Content[i+1], maxTitleBytes); ok {
			r.Title[lang.Value] = s
		}
	}
}

// place turns a place in the text of a scalar, line from 1 and column from 0, into one in the file.
func (p *parser) place(n *yaml.Node, line, column int) (int, int) {
	if n == nil {
		return 1, 1
	}
	line, column = p.unswapped(n, line, column)
	switch n.Style &^ (yaml.TaggedStyle) {
	case yaml.LiteralStyle, yaml.FoldedStyle:
		// The text begins on the line below its | or >, where its first line is indented.
		for first := n.Line; first >= 1 && first < len(p.lines); first++ {
			l := p.lines[first]
			if body := strings.TrimLeft(l, " "); strings.TrimSpace(body) != "" {
				column += len(l) - len(body)
				break
			}
		}
		return n.Line + line, column + 1
	case yaml.SingleQuotedStyle, yaml.DoubleQuotedStyle:
		column++
	}
	if line > 1 {
		return n.Line + line - 1, column + 1
	}
	return n.Line, n.Column + column
}

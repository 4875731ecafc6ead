package rules

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"panormus/devices"
)

// A rule with `for_each` is a template: it stands for one rule a profile, or a metric, with $profile,
// $metric, $min, $max, $unit, $label and $period replaced by what the profile says. Expansion is of text,
// before a rule is read; places in problems are those of the template.

// Bounds of templates.
const maxInstances = 1000 // of one template

var placeholder = regexp.MustCompile(`\$([A-Za-z_]+)|\$\$`)

var placeholders = []string{"label", "max", "metric", "min", "period", "profile", "unit"}

// A swap is a stretch of a scalar's text that a placeholder was replaced by.
type swap struct{ at, length, was, wasLength int }

// instance is one of the rules that a template stands for.
type instance struct {
	suffix  string
	profile string
	domain  string            // of the profile
	values  map[string]string // by placeholder; one that is not there is not known
	sample  bool              // stands for profiles that are not known: checked and not kept
}

// isTemplate reports whether a rule is one.
func isTemplate(n *yaml.Node) bool { return n.Kind == yaml.MappingNode && hasKey(n, "for_each") }

// idOf is the id that a rule says it has, "" for none.
func idOf(n *yaml.Node) string {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "id" {
			return n.Content[i+1].Value
		}
	}
	return ""
}

// withoutTemplate is a rule without what the API writes of the template that it is one of.
func (p *parser) withoutTemplate(n *yaml.Node) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if of := n.Content[i+1].Value; n.Content[i].Value == "template" && strings.HasPrefix(cmp.Or(idOf(n), p.id), of+"@") && of != "" {
			out := *n
			out.Content = slices.Delete(slices.Clone(n.Content), i, i+2)
			return &out
		}
	}
	return n
}

// expand reads the rules that a template stands for.
func (p *parser) expand(n *yaml.Node) []*Rule {
	id, domain := p.id, ""
	var each *yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		switch k, v := n.Content[i], n.Content[i+1]; k.Value {
		case "id":
			id = v.Value
		case "domain":
			domain = v.Value
		case "for_each":
			if each != nil {
				p.rule = clip(id, 128)
				p.failAt(k, "for_each: a second time, first on line %d", each.Line)
				return nil
			}
			each = v
		}
	}
	p.rule = clip(id, 128)
	used := map[string]*yaml.Node{}
	if !p.usedPlaceholders(n, used) {
		return nil
	}
	all, ok := p.instances(each, domain, used)
	if !ok {
		return nil
	}
	if len(all) > maxInstances {
		p.failAt(each, "for_each: %d rules, want at most %d", len(all), maxInstances)
		return nil
	}
	var rules []*Rule
	for _, x := range all {
		before := p.faulty()
		r := p.parseRule(p.instantiate(n, id, domain, x))
		if p.faulty() > before {
			if !x.sample && len(all) > 1 { // the others would say the same
				last := &p.problems[len(p.problems)-1]
				last.Message += " (with " + x.suffix + ")"
			}
			return nil
		}
		if r != nil && !x.sample {
			r.Template = id
			if x.profile != "" {
				r.Profile = x.profile
			}
			r.stamp()
			rules = append(rules, r)
		}
	}
	return rules
}

// usedPlaceholders notes where each placeholder stands first, and reports those that there are not.
func (p *parser) usedPlaceholders(n *yaml.Node, used map[string]*yaml.Node) bool {
	ok := true
	for i := 0; i+1 < len(n.Content); i += 2 {
		if key := n.Content[i].Value; key != "id" && key != "for_each" {
			eachScalar(n.Content[i+1], func(s *yaml.Node) {
				for _, m := range placeholder.FindAllStringSubmatchIndex(s.Value, -1) {
					if m[2] < 0 {
						continue
					}
					name := s.Value[m[2]:m[3]]
					if !slices.Contains(placeholders, name) {
						line, column := lineOf(s.Value, m[0])
						l, c := p.place(s, line, column)
						p.fail(l, c, "%s: found $%s%s; want one of $%s, or $$ for a $", key, name, didYouMean(name, placeholders), strings.Join(placeholders, ", $"))
						ok = false
					} else if used[name] == nil {
						used[name] = s
					}
				}
			})
		}
	}
	return ok
}

func eachScalar(n *yaml.Node, f func(*yaml.Node)) {
	if n.Kind == yaml.ScalarNode {
		f(n)
	}
	for i, x := range n.Content {
		if n.Kind != yaml.MappingNode || i%2 == 1 {
			eachScalar(x, f)
		}
	}
}

// lineOf is the place of an offset in a text: line from 1, column from 0.
func lineOf(text string, offset int) (line, column int) {
	before := text[:min(offset, len(text))]
	return 1 + strings.Count(before, "\n"), len(before) - strings.LastIndexByte(before, '\n') - 1
}

// instances are the rules that for_each asks for; domain is the template's, "" for any.
func (p *parser) instances(each *yaml.Node, domain string, used map[string]*yaml.Node) ([]instance, bool) {
	if each.Kind != yaml.MappingNode || len(each.Content) == 0 {
		p.failAt(each, "for_each: found %s, want a mapping such as {profile: [lamp, \"air-*\"], metric: \"*\"}", describe(each))
		return nil, false
	}
	names := map[string][]*yaml.Node{}
	ok := true
	p.eachKey(each, []string{"profile", "metric"}, nil, func(key string, _, v *yaml.Node) {
		list := []*yaml.Node{v}
		if v.Kind == yaml.SequenceNode {
			list = v.Content
		}
		for _, x := range list {
			s, fine := p.scalar("for_each."+key, x, 256)
			if _, err := path.Match(s, ""); fine && (err != nil || s == "") {
				p.failAt(x, "for_each.%s: found %q, want a name, or one with * for any", key, s)
				fine = false
			}
			ok = ok && fine
		}
		names[key] = list
	})
	if !ok {
		return nil, false
	}
	perProfile, perMetric := names["profile"] != nil, names["metric"] != nil
	for name, s := range used {
		needsMetric := name != "profile" && name != "period"
		if needsMetric && !perMetric || (name != "metric") && !perProfile {
			p.failAt(s, "$%s: for_each has no %s, want it there", name, map[bool]string{true: "metric", false: "profile"}[needsMetric && !perMetric])
			return nil, false
		}
	}
	if !perProfile {
		var out []instance
		for _, x := range names["metric"] {
			if strings.ContainsAny(x.Value, `*?[\`) {
				p.failAt(x, "for_each.metric: found %s without profile, want a metric's name", x.Value)
				return nil, false
			}
			out = append(out, instance{suffix: suffixOf(x.Value), values: map[string]string{"metric": x.Value}})
		}
		return out, true
	}
	if p.env.profiles == nil {
		return []instance{{suffix: "profile", profile: "profile", sample: true,
			values: map[string]string{"profile": "profile", "metric": "metric", "min": "0", "max": "1", "unit": "1", "label": "metric", "period": "1m"}}}, true
	}
	return p.ofProfiles(names, domain, used), true
}

// ofProfiles are the instances of the profiles, and of their metrics, that are asked for. A metric without
// a value that the template uses is left out.
func (p *parser) ofProfiles(names map[string][]*yaml.Node, domain string, used map[string]*yaml.Node) []instance {
	var out []instance
	matched := map[*yaml.Node]bool{}
	matches := func(list []*yaml.Node, name string) bool {
		any := false
		for _, x := range list {
			if ok, _ := path.Match(x.Value, name); ok {
				matched[x], any = true, true
			}
		}
		return any
	}
	add := func(x instance) {
		for name := range used {
			if _, ok := x.values[name]; !ok {
				return
			}
		}
		out = append(out, x)
	}
	var ids []string
	for _, pr := range p.env.profiles {
		ids = append(ids, pr.ID)
		if !matches(names["profile"], pr.ID) || domain != "" && pr.Domain != "" && pr.Domain != domain {
			continue
		}
		values := map[string]string{"profile": pr.ID}
		if pr.ExpectedPeriod > 0 {
			values["period"] = formatDuration(time.Duration(pr.ExpectedPeriod))
		}
		if names["metric"] == nil {
			add(instance{suffix: suffixOf(pr.ID), profile: pr.ID, domain: pr.Domain, values: values})
			continue
		}
		for _, metric := range slices.Sorted(maps.Keys(pr.Metrics)) {
			if matches(names["metric"], metric) {
				add(instance{suffix: suffixOf(pr.ID, metric), profile: pr.ID, domain: pr.Domain, values: metricValues(values, metric, pr.Metrics[metric])})
			}
		}
	}
	for _, key := range []string{"profile", "metric"} {
		for _, x := range names[key] {
			if !matched[x] && !strings.ContainsAny(x.Value, `*?[\`) {
				hint := ""
				if key == "profile" {
					hint = didYouMean(x.Value, ids)
				}
				p.failAt(x, "for_each: there is no %s %q%s", key, x.Value, hint)
				p.problems[len(p.problems)-1].Warning = true
			}
		}
	}
	return out
}

func metricValues(of map[string]string, name string, m devices.Metric) map[string]string {
	values := maps.Clone(of)
	values["metric"], values["unit"], values["label"] = name, m.Unit, name
	for _, lang := range []string{"it", "en"} {
		if m.Label[lang] != "" {
			values["label"] = m.Label[lang]
		}
	}
	for key, v := range map[string]*float64{"min": m.Min, "max": m.Max} {
		if v != nil {
			values[key] = strconv.FormatFloat(*v, 'f', -1, 64)
		}
	}
	return values
}

var notOfID = regexp.MustCompile(`[^A-Za-z0-9_.-]`)

// suffixOf is what names an instance behind the template's id: always the same for the same names.
func suffixOf(names ...string) string {
	whole := strings.Join(names, ".")
	s := notOfID.ReplaceAllString(whole, "_")
	if s == whole && len(s) <= 80 {
		return s
	}
	h := fnv.New32a()
	h.Write([]byte(whole))
	return fmt.Sprintf("%s-%08x", s[:min(len(s), 70)], h.Sum32())
}

// instantiate is the template's rule for one instance.
func (p *parser) instantiate(n *yaml.Node, id, domain string, x instance) *yaml.Node {
	out := *n
	out.Content = nil
	if p.swaps == nil {
		p.swaps = map[*yaml.Node][]swap{}
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		switch k.Value {
		case "for_each":
			continue
		case "id":
			named := *v
			named.Value = id + "@" + x.suffix
			out.Content = append(out.Content, k, &named)
			continue
		}
		out.Content = append(out.Content, k, p.replaced(k.Value, v, x))
	}
	if !hasKey(n, "id") {
		out.Content = append(out.Content, p.made(n, "id"), p.made(n, id+"@"+x.suffix))
	}
	if domain == "" && x.domain != "" && !hasKey(n, "domain") {
		out.Content = append(out.Content, p.made(n, "domain"), p.made(n, x.domain))
	}
	return &out
}

func (p *parser) made(at *yaml.Node, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value, Line: at.Line, Column: at.Column}
}

func (p *parser) replaced(key string, n *yaml.Node, x instance) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		n = n.Alias
	}
	out := *n
	if n.Kind != yaml.ScalarNode {
		out.Content = make([]*yaml.Node, len(n.Content))
		for i, c := range n.Content {
			if n.Kind == yaml.MappingNode && i%2 == 0 {
				out.Content[i] = c
			} else {
				out.Content[i] = p.replaced(key, c, x)
			}
		}
		return &out
	}
	var b strings.Builder
	last := 0
	var swaps []swap
	for _, m := range placeholder.FindAllStringSubmatchIndex(n.Value, -1) {
		b.WriteString(n.Value[last:m[0]])
		with := "$"
		if m[2] >= 0 {
			name := n.Value[m[2]:m[3]]
			with = x.values[name]
			words := key == "title" || key == "text" && strings.Count(n.Value[:m[0]], "{") <= strings.Count(n.Value[:m[0]], "}")
			_, isField := fields[with]
			switch {
			case words && key == "text":
				with = strings.NewReplacer("{", "{{", "}", "}}").Replace(with)
			case name == "metric" && !words && (isField || !plainIdent.MatchString(with)):
				with = "metric(" + strconv.Quote(with) + ")"
			}
		}
		swaps = append(swaps, swap{b.Len(), len(with), m[0], m[1] - m[0]})
		b.WriteString(with)
		last = m[1]
	}
	if swaps == nil {
		return &out
	}
	b.WriteString(n.Value[last:])
	out.Value = b.String()
	if out.Style == 0 && out.Tag != "!!str" { // 10m of $period, 5 of $max
		out.Tag = ""
	}
	p.swaps[&out] = swaps
	return &out
}

// unswapped turns a place in an instance's text into one in the template's.
func (p *parser) unswapped(n *yaml.Node, line, column int) (int, int) {
	swaps := p.swaps[n]
	if swaps == nil {
		return line, column
	}
	offset, at := 0, 1
	for ; at < line; at++ {
		i := strings.IndexByte(n.Value[offset:], '\n')
		if i < 0 {
			break
		}
		offset += i + 1
	}
	offset += column
	by := 0
	for _, s := range swaps {
		if offset < s.at {
			break
		}
		if offset < s.at+s.length {
			return p.placeIn(n, s.was, swaps) // inside of what was replaced: its beginning
		}
		by = (s.was + s.wasLength) - (s.at + s.length)
	}
	return p.placeIn(n, offset+by, swaps)
}

// placeIn is the line and column of an offset in the template's text, which is put together again.
func (p *parser) placeIn(n *yaml.Node, offset int, swaps []swap) (int, int) {
	var b strings.Builder
	last := 0
	for _, s := range swaps {
		b.WriteString(n.Value[last:s.at])
		b.WriteString(strings.Repeat("x", s.wasLength))
		last = s.at + s.length
	}
	b.WriteString(n.Value[last:])
	return lineOf(b.String(), offset)
}

package rules

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

// The reference: an evaluator that has all messages at hand, in the order of their times, and follows what
// doc.go says word by word. It keeps everything and does everything anew for every question.

// refMessage is what a device said at a time, of which no other of its messages is.
type refMessage struct {
	at   int64
	dev  string
	zone string
	says map[string]float64
}

// refTerm is a comparison of a metric, or of a function of one, with a constant; or a border that is crossed.
type refTerm struct {
	fn     string // "" for the metric itself; else of seriesCalls, fenceCalls or joinCalls
	metric string
	on     string // what rows it is of, in sequences over several kinds
	class  string // of counts that are asked for
	dev    string // that of() asks
	span   int64  // ms; of a border metres
	op     string
	c      float64
}

func (t refTerm) String() string {
	if slices.Contains(fenceCalls, t.fn) {
		return t.call()
	}
	return fmt.Sprintf("%s %s %v", t.call(), t.op, t.c)
}

// call is what is compared.
func (t refTerm) call() string {
	switch {
	case t.fn == "":
		return t.metric
	case slices.Contains(fenceCalls, t.fn):
		return fmt.Sprintf("%s(\"port\", %d)", t.fn, t.span)
	case t.dev != "" || t.class != "" || strings.HasPrefix(t.fn, "neighbours"):
		var args []string
		for _, a := range []string{t.dev, t.metric, t.class} {
			if a != "" {
				args = append(args, fmt.Sprintf("%q", a))
			}
		}
		if t.span > 0 {
			args = append(args, fmt.Sprint(t.span))
		}
		return fmt.Sprintf("%s(%s)", t.fn, strings.Join(args, ", "))
	case slices.Contains(joinCalls, t.fn):
		return fmt.Sprintf("%s(%q)", t.fn, t.metric)
	case t.span == 0:
		return fmt.Sprintf("%s(%s)", t.fn, t.metric)
	}
	return fmt.Sprintf("%s(%s, %dms)", t.fn, t.metric, t.span)
}

func refCompare(v float64, op string, c float64) tri {
	switch {
	case v != v:
		return undecided
	case op == ">" && v > c || op == "<" && v < c || op == "!=" && v != c:
		return yes
	}
	return no
}

// refCond is terms joined by one operator.
type refCond struct {
	all   bool // &&, else ||
	terms []refTerm
}

func (c refCond) String() string {
	var parts []string
	for _, t := range c.terms {
		parts = append(parts, t.String())
	}
	return strings.Join(parts, map[bool]string{true: " && ", false: " || "}[c.all])
}

func (c refCond) metrics() (all []string) {
	for _, t := range c.terms {
		if !slices.Contains(joinCalls, t.fn) {
			all = append(all, t.metric)
		}
	}
	return all
}

// near reports whether it asks by where devices are.
func (c refCond) near() bool {
	return slices.ContainsFunc(c.terms, func(t refTerm) bool { return strings.HasPrefix(t.fn, "neighbours") })
}

// eval joins what the terms say: one that decides does, whatever is unknown beside it.
func (c refCond) eval(value func(refTerm) float64) tri {
	unknown := false
	for _, t := range c.terms {
		switch v := refCompare(value(t), t.op, t.c); {
		case v == undecided:
			unknown = true
		case c.all && v == no:
			return no
		case !c.all && v == yes:
			return yes
		}
	}
	switch {
	case unknown:
		return undecided
	case c.all:
		return yes
	}
	return no
}

// saying is what terms come to of a message.
type saying func(t refTerm, m refMessage) float64

// ofMessage is of what one message says.
func (c refCond) ofMessage(m refMessage, of saying) bool {
	return c.eval(func(t refTerm) float64 { return of(t, m) }) == yes
}

// standing is a term's value for a device that has said these messages, the last of them now.
func standing(said []refMessage, t refTerm) float64 {
	if slices.Contains(fenceCalls, t.fn) {
		return refCrosses(said, t)
	}
	var all []sample
	for _, m := range said {
		if v, ok := m.says[t.metric]; ok {
			all = append(all, sample{m.at, v})
		}
	}
	switch {
	case len(all) == 0:
		return nan
	case t.fn == "":
		return all[len(all)-1].v
	}
	if slices.Contains(baselineCalls, t.fn) {
		return refBaseline(t.fn, all)
	}
	return seriesOf(t.fn, all, t.span)
}

// refPlaces are in the zone refPort, just outside of it and far away.
var refPlaces = [][2]float64{{38.005, 13.005}, {38.0105, 13.005}, {38.1, 13.005}}

const refPort = `{"type": "Feature", "id": "port", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [[[13, 38], [13.01, 38], [13.01, 38.01], [13, 38.01], [13, 38]]]}}`

// refCrosses is 1 where the last message is the one in which the device crossed the border. It is in from the border
// on, and out when it is further away than the metres.
func refCrosses(said []refMessage, t refTerm) float64 {
	in, known, crossed := false, false, 0.0
	for _, m := range said {
		crossed = 0
		lat, ok := m.says["position_lat"]
		if !ok {
			continue
		}
		now := lat == refPlaces[0][0] || known && in && lat == refPlaces[1][0] && t.span > 100
		if known && now != in && now == (t.fn == "enter") {
			crossed = 1
		}
		in, known = now, true
	}
	if !known {
		return nan
	}
	return crossed
}

// refRule is a rule of any of the kinds.
type refRule struct {
	id          string
	on          string // "": observations
	key         string // device, zone or domain
	when, clear refCond
	forMs       int64
	hours       [][2]int64 // minutes of the day in which it is judged; nil for always

	window           string // tumbling, hopping, sliding or session
	size, every, gap int64
	lets             []refLet
	waits            bool

	steps    []refCond
	within   []int64
	unless   refCond
	unlessMs int64 // -1 for none
	hold     int64
}

type refLet struct {
	name, agg, metric string
	percent           float64
	of                refTerm // what it is of, where that is no metric
}

func (l refLet) String() string {
	switch l.agg {
	case "count()":
		return l.agg
	case "percentile":
		return fmt.Sprintf("percentile(%s, %v)", l.term().call(), l.percent)
	}
	return l.agg + "(" + l.term().call() + ")"
}

func (l refLet) term() refTerm {
	if l.of.fn == "" {
		return refTerm{metric: l.metric}
	}
	return l.of
}

// written is the rule as Parse reads it.
func (r refRule) written() string {
	var b strings.Builder
	fmt.Fprintf(&b, "{id: %s, key: %s", r.id, r.key)
	ms := func(v int64) string { return fmt.Sprintf("%dms", v) }
	if r.on != "" {
		fmt.Fprintf(&b, ", on: %s", r.on)
	}
	switch {
	case r.window != "":
		fmt.Fprintf(&b, ", window: {type: %s", r.window)
		for name, v := range map[string]int64{"size": r.size, "every": r.every, "gap": r.gap} {
			if v > 0 && !(name == "every" && r.window == "tumbling") {
				fmt.Fprintf(&b, ", %s: %s", name, ms(v))
			}
		}
		var lets []string
		for _, l := range r.lets {
			lets = append(lets, fmt.Sprintf("%s: '%s'", l.name, l))
		}
		if fmt.Fprintf(&b, "}, let: {%s}", strings.Join(lets, ", ")); r.waits {
			b.WriteString(", late: wait")
		}
	case r.steps != nil:
		b.WriteString(", sequence: [")
		for i, s := range r.steps {
			fmt.Fprintf(&b, "{as: s%d, when: '%s'", i, s)
			if on := s.terms[0].on; on != r.on {
				fmt.Fprintf(&b, ", on: %s", on)
			}
			if i > 0 {
				fmt.Fprintf(&b, ", within: %s", ms(r.within[i]))
			}
			b.WriteString("}, ")
		}
		b.WriteString("]")
		if r.unlessMs >= 0 {
			fmt.Fprintf(&b, ", unless: {within: %s, when: '%s'", ms(r.unlessMs), r.unless)
			if on := r.unless.terms[0].on; on != r.on {
				fmt.Fprintf(&b, ", on: %s", on)
			}
			b.WriteString("}")
		}
	}
	if r.hold > 0 {
		fmt.Fprintf(&b, ", hold: %s", ms(r.hold))
	}
	if r.steps == nil {
		fmt.Fprintf(&b, ", when: '%s'", r.when)
	}
	if r.clear.terms != nil {
		fmt.Fprintf(&b, ", clear: '%s'", r.clear)
	}
	if r.forMs > 0 {
		fmt.Fprintf(&b, ", for: %s", ms(r.forMs))
	}
	if r.hours != nil {
		var all []string
		for _, h := range r.hours {
			all = append(all, fmt.Sprintf("'%02d:%02d-%02d:%02d'", h[0]/60, h[0]%60, h[1]/60, h[1]%60))
		}
		fmt.Fprintf(&b, ", schedule: {hours: [%s]}", strings.Join(all, ", "))
	}
	return b.String() + "}"
}

func (r refRule) keyOf(m refMessage) string {
	return map[string]string{"device": m.dev, "zone": m.zone, "domain": "lab"}[r.key]
}

// refMidnight is the day's beginning in Palermo, Unix ms.
var refMidnight = time.Date(2026, 9, 20, 22, 0, 0, 0, time.UTC).UnixMilli()

// inForce is whether the rule is judged at a time, and when that ends.
func (r refRule) inForce(at int64) (in bool, until int64) {
	if r.hours == nil {
		return true, math.MaxInt64
	}
	for _, h := range r.hours {
		if until = refMidnight + h[1]*60_000; at >= refMidnight+h[0]*60_000 && at < until {
			return true, until
		}
	}
	return false, at
}

// asks reports whether the rule asks other devices.
func (r refRule) asks() bool {
	return slices.ContainsFunc(append(r.when.terms, r.clear.terms...), func(t refTerm) bool { return slices.Contains(joinCalls, t.fn) })
}

// refEvents are events by what an event's id is made of.
type refEvents map[string]bool

func (e refEvents) add(r refRule, key string, start int64, state string, at int64) {
	e[line(r.id, key, state, start, at)] = true
}

// differ says what is there and is not wanted, and what is missing, by time.
func (e refEvents) differ(want refEvents) (wrong []string) {
	for k := range e {
		if !want[k] {
			wrong = append(wrong, "too many: "+k)
		}
	}
	for k := range want {
		if !e[k] {
			wrong = append(wrong, "missing:  "+k)
		}
	}
	slices.SortFunc(wrong, func(a, b string) int {
		return strings.Compare(a[strings.LastIndex(a, "at "):], b[strings.LastIndex(b, "at "):])
	})
	return wrong
}

// agrees reports whether what was told at a delivery is what is wanted, and the test has not failed. Else it says what
// differs, and of the rule of the first line that does how it is written.
func (e refEvents) agrees(t *testing.T, seed uint64, d delivery, want refEvents, written func(id string) string) bool {
	t.Helper()
	wrong, rule := e.differ(want), ""
	if len(wrong) == 0 && !t.Failed() {
		return true
	}
	if len(wrong) > 0 {
		_, line, _ := strings.Cut(wrong[0], ": ")
		id, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		rule = written(id)
	}
	t.Errorf("seed %d, %s, of %d events %d differ:\n%s\n%s", seed, d.name, len(want), len(wrong), rule, strings.Join(wrong[:min(len(wrong), 8)], "\n"))
	return false
}

// refEvaluate is what a rule raises and clears, of messages sorted by time. period is how long a device's
// reading stands, ms; 0 for ever.
func refEvaluate(r refRule, all []refMessage, period int64) refEvents {
	out := refEvents{}
	byKey := map[string][]refMessage{}
	for _, m := range all {
		if k := r.keyOf(m); k != "" {
			byKey[k] = append(byKey[k], m)
		}
	}
	ask := func(t refTerm, m refMessage) float64 { return refJoin(t, all, m, cmp.Or(period, boardHourMs)) }
	says := func(t refTerm, m refMessage) float64 {
		if !r.looksAt(m) {
			return nan
		}
		if slices.Contains(joinCalls, t.fn) {
			return ask(t, m)
		}
		return refSays(t, m, all)
	}
	for k, said := range byKey {
		switch {
		case r.window != "":
			refWindows(r, k, said, out, says)
		case r.steps != nil:
			refSequence(r, k, said, out, says)
		case r.key == "device" && !r.asks():
			refDevice(r, k, said, period, out)
		default:
			refGroup(r, k, said, out, ask)
		}
	}
	return out
}

// looksAt reports whether a message concerns a rule with a window or a sequence: it says something that the rule reads,
// or some part of the rule reads nothing of messages.
func (r refRule) looksAt(m refMessage) bool {
	conds := append([]refCond{r.unless}, r.steps...)
	if r.steps != nil {
		conds = append(conds, r.clear)
	}
	for _, l := range r.lets {
		conds = append(conds, refCond{terms: []refTerm{l.term()}})
	}
	var reads []string
	for _, c := range conds {
		if len(c.terms) > 0 && !slices.ContainsFunc(c.terms, func(t refTerm) bool { return t.fn == "" && t.metric != "" }) {
			return true // what a function comes to is not said by messages
		}
		if reads = append(reads, c.metrics()...); c.near() {
			reads = append(reads, positionMetrics...)
		}
	}
	return slices.ContainsFunc(reads, func(metric string) bool { _, ok := m.says[metric]; return ok })
}

// concerns reports whether a message makes a rule be evaluated.
func (r refRule) concerns(m refMessage) bool {
	if len(r.when.metrics())+len(r.clear.metrics()) == 0 {
		return true
	}
	reads := append(r.when.metrics(), r.clear.metrics()...)
	if r.when.near() || r.clear.near() {
		reads = append(reads, positionMetrics...)
	}
	return slices.ContainsFunc(reads, func(metric string) bool { _, ok := m.says[metric]; return ok })
}

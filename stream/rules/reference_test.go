package rules

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
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
	span   int64 // ms; of a border metres
	op     string
	c      float64
}

func (t refTerm) String() string {
	switch {
	case t.fn == "":
		return fmt.Sprintf("%s %s %v", t.metric, t.op, t.c)
	case slices.Contains(fenceCalls, t.fn):
		return fmt.Sprintf("%s(\"port\", %d)", t.fn, t.span)
	case slices.Contains(joinCalls, t.fn):
		return fmt.Sprintf("%s(%q) %s %v", t.fn, t.metric, t.op, t.c)
	case t.span == 0:
		return fmt.Sprintf("%s(%s) %s %v", t.fn, t.metric, t.op, t.c)
	}
	return fmt.Sprintf("%s(%s, %dms) %s %v", t.fn, t.metric, t.span, t.op, t.c)
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

// ofMessage is of what one message says.
func (c refCond) ofMessage(m refMessage) bool {
	return c.eval(func(t refTerm) float64 {
		if v, ok := m.says[t.metric]; ok {
			return v
		}
		return nan
	}) == yes
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
	return seriesOf(t.fn, all, t.span)
}

// refPlaces are in the zone refPort, just outside of it and far away.
var refPlaces = [][2]float64{{38.005, 13.005}, {38.0105, 13.005}, {38.1, 13.1}}

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

// refJoin is what a term asks of the devices of a zone at a time: of each the newest reading that still stands.
func refJoin(t refTerm, all []refMessage, zone string, at, stands int64) float64 {
	latest := map[string]sample{}
	for _, m := range all {
		if v, ok := m.says[t.metric]; ok && m.zone == zone && m.at <= at {
			latest[m.dev] = sample{m.at, v}
		}
	}
	var xs []float64
	for _, s := range latest {
		if at-s.at <= stands {
			xs = append(xs, s.v)
		}
	}
	switch {
	case zone == "" || len(xs) == 0 && t.fn != "zone_count":
		return nan
	case t.fn == "zone_count":
		return float64(len(xs))
	case t.fn == "zone_max":
		return slices.Max(xs)
	case t.fn == "zone_min":
		return slices.Min(xs)
	}
	return refAvg(xs)
}

// refRule is a rule of any of the kinds.
type refRule struct {
	id          string
	key         string // device, zone or domain
	when, clear refCond
	forMs       int64
	hours       [][2]int64 // minutes of the day in which it is judged; nil for always

	window           string // tumbling, hopping, sliding or session
	size, every, gap int64
	lets             []refLet

	steps    []refCond
	within   []int64
	unless   refCond
	unlessMs int64 // -1 for none
	hold     int64
}

type refLet struct {
	name, agg, metric string
	percent           float64
}

func (l refLet) String() string {
	switch l.agg {
	case "count()":
		return l.agg
	case "percentile":
		return fmt.Sprintf("percentile(%s, %v)", l.metric, l.percent)
	}
	return l.agg + "(" + l.metric + ")"
}

// written is the rule as Parse reads it.
func (r refRule) written() string {
	var b strings.Builder
	fmt.Fprintf(&b, "{id: %s, key: %s", r.id, r.key)
	ms := func(v int64) string { return fmt.Sprintf("%dms", v) }
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
		fmt.Fprintf(&b, "}, let: {%s}", strings.Join(lets, ", "))
	case r.steps != nil:
		b.WriteString(", sequence: [")
		for i, s := range r.steps {
			fmt.Fprintf(&b, "{as: s%d, when: '%s'", i, s)
			if i > 0 {
				fmt.Fprintf(&b, ", within: %s", ms(r.within[i]))
			}
			b.WriteString("}, ")
		}
		b.WriteString("]")
		if r.unlessMs >= 0 {
			fmt.Fprintf(&b, ", unless: {within: %s, when: '%s'}", ms(r.unlessMs), r.unless)
		}
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
	for k, said := range byKey {
		switch {
		case r.window != "":
			refWindows(r, k, said, out)
		case r.steps != nil:
			refSequence(r, k, said, out)
		case r.key == "device" && !r.asks():
			refDevice(r, k, said, period, out)
		default:
			refGroup(r, k, said, all, period, out)
		}
	}
	return out
}

// concerns reports whether a message makes a rule be evaluated.
func (r refRule) concerns(m refMessage) bool {
	if len(r.when.metrics())+len(r.clear.metrics()) == 0 {
		return true
	}
	return slices.ContainsFunc(append(r.when.metrics(), r.clear.metrics()...), func(metric string) bool { _, ok := m.says[metric]; return ok })
}

// refDevice: the condition must hold for so long, by readings that stand; a raised one lasts until it ends.
func refDevice(r refRule, dev string, said []refMessage, period int64, out refEvents) {
	const none = int64(-1)
	start, raised, spent := none, false, none
	for i := 0; i <= len(said); i++ {
		last := int64(math.MinInt64)
		if i > 0 {
			last = said[i-1].at
		}
		next := int64(math.MaxInt64)
		if i < len(said) {
			next = said[i].at
		}
		stands := func(at int64) bool { return period == 0 || at-last <= period }
		_, until := r.inForce(start)
		if due := start + r.forMs; start != none && !raised && due < next && due < until && stands(due) {
			raised = true
			out.add(r, dev, start, "raised", due)
		}
		if r.hours != nil && start != none && until <= next {
			if raised {
				out.add(r, dev, start, "cleared", until)
			}
			raised, start = false, none
		}
		if i == len(said) {
			break
		}
		if start != none && !raised && !stands(next) {
			start = none
		}
		if in, _ := r.inForce(next); !in || !r.concerns(said[i]) {
			continue
		}
		value := func(t refTerm) float64 { return standing(said[:i+1], t) }
		if raised {
			over := not(r.when.eval(value))
			if r.clear.terms != nil {
				over = r.clear.eval(value)
			}
			if over == yes {
				out.add(r, dev, start, "cleared", next)
				raised, spent, start = false, start, none
			}
			continue
		}
		switch r.when.eval(value) {
		case yes:
			if start == none {
				if start = next; start <= spent {
					start = spent + 1
				}
			}
			if start+r.forMs <= next {
				raised = true
				out.add(r, dev, start, "raised", next)
			}
		case no:
			start = none
		}
	}
}

// refGroup: a key holds while the rule does for one of its devices.
func refGroup(r refRule, key string, said, all []refMessage, period int64, out refEvents) {
	const none = int64(-1)
	byDevice := map[string][]refMessage{}
	members := map[string]bool{}
	start, raised, spent := none, false, none
	for i := 0; i <= len(said); i++ {
		next := int64(math.MaxInt64)
		if i < len(said) {
			next = said[i].at
		}
		_, until := r.inForce(start)
		if due := start + r.forMs; start != none && !raised && due < next && due < until {
			raised = true
			out.add(r, key, start, "raised", due)
		}
		if r.hours != nil && start != none && until <= next {
			if raised {
				out.add(r, key, start, "cleared", until)
				spent = start
			}
			members = map[string]bool{}
			raised, start = false, none
		}
		if i == len(said) {
			break
		}
		m := said[i]
		byDevice[m.dev] = append(byDevice[m.dev], m)
		if in, _ := r.inForce(next); !in || !r.concerns(m) {
			continue
		}
		value := func(t refTerm) float64 {
			if slices.Contains(joinCalls, t.fn) {
				return refJoin(t, all, m.zone, m.at, cmp.Or(period, boardHourMs))
			}
			return standing(byDevice[m.dev], t)
		}
		before := members[m.dev]
		now := r.when.eval(value)
		if before && r.clear.terms != nil {
			now = not(r.clear.eval(value))
		}
		if now == undecided || (now == yes) == before {
			continue
		}
		if members[m.dev] = now == yes; now != yes {
			delete(members, m.dev)
		}
		switch {
		case len(members) > 0 && start == none:
			if start = next; start <= spent {
				start = spent + 1
			}
			fallthrough
		case len(members) > 0:
			if !raised && start+r.forMs <= next {
				raised = true
				out.add(r, key, start, "raised", next)
			}
		default:
			if raised {
				out.add(r, key, start, "cleared", next)
				spent = start
			}
			raised, start = false, none
		}
	}
}

// refWindows: for every end of a window that has other readings than the one before, all are looked at again.
func refWindows(r refRule, key string, said []refMessage, out refEvents) {
	said = slices.DeleteFunc(slices.Clone(said), func(m refMessage) bool {
		return !slices.ContainsFunc(r.lets, func(l refLet) bool { _, ok := m.says[l.metric]; return ok || l.agg == "count()" })
	})
	if len(said) == 0 {
		return
	}
	raised, start := false, int64(0)
	judge := func(in []refMessage, end int64) {
		value := func(t refTerm) float64 {
			i := slices.IndexFunc(r.lets, func(l refLet) bool { return l.name == t.metric })
			return r.lets[i].of(in)
		}
		holds := r.when.eval(value)
		over := not(holds)
		if raised && r.clear.terms != nil {
			over = r.clear.eval(value)
		}
		switch {
		case !raised && holds == yes:
			raised, start = true, end
			out.add(r, key, start, "raised", end)
		case raised && (over == yes || over == undecided && len(in) == 0):
			raised = false
			out.add(r, key, start, "cleared", end)
		}
	}
	if r.window == "session" {
		for len(said) > 0 {
			n := 1
			for n < len(said) && said[n].at < said[n-1].at+r.gap {
				n++
			}
			judge(said[:n], said[n-1].at+r.gap)
			said = said[n:]
		}
		return
	}
	// Windows end at multiples of the step; those with the same readings as the one before are not judged.
	every := r.every
	if r.window == "sliding" && every == 0 {
		if every = r.size / 60; r.size%60 != 0 {
			every = r.size / 100
		}
	}
	var before []int64
	for end := said[0].at / every * every; end <= said[len(said)-1].at+r.size+every; end += every {
		var in []refMessage
		var times []int64
		for _, m := range said {
			if m.at >= end-r.size && m.at < end {
				in, times = append(in, m), append(times, m.at)
			}
		}
		if !slices.Equal(times, before) {
			judge(in, end)
		}
		before = times
	}
}

// of is the aggregate of the messages of a window.
func (l refLet) of(in []refMessage) float64 {
	if l.agg == "count()" {
		return float64(len(in))
	}
	var xs []float64
	var times []int64
	for _, m := range in {
		if v, ok := m.says[l.metric]; ok {
			xs, times = append(xs, v), append(times, m.at)
		}
	}
	switch l.agg {
	case "count":
		return float64(len(xs))
	case "count_distinct":
		slices.Sort(xs)
		return float64(len(slices.Compact(xs)))
	case "sum":
		return refSum(xs)
	}
	if len(xs) == 0 {
		return nan
	}
	switch l.agg {
	case "avg":
		return refAvg(xs)
	case "min":
		return slices.Min(xs)
	case "max":
		return slices.Max(xs)
	case "first":
		return xs[0]
	case "last":
		return xs[len(xs)-1]
	case "rate":
		hours := float64(times[len(times)-1]-times[0]) / 3600_000
		if hours == 0 {
			return nan
		}
		return (xs[len(xs)-1] - xs[0]) / hours
	case "stddev":
		mean, squares := refAvg(xs), 0.0
		for _, x := range xs {
			squares += (x - mean) * (x - mean)
		}
		return math.Sqrt(squares / float64(len(xs)))
	case "percentile":
		slices.Sort(xs)
		return xs[max(int(math.Ceil(l.percent/100*float64(len(xs))))-1, 0)]
	}
	panic("an aggregate that the reference does not know: " + l.agg)
}

// refSequence goes through a key's messages as the text does: from the last step to the first, so that
// none is two; the last that is a step is the one the next must follow.
func refSequence(r refRule, key string, said []refMessage, out refEvents) {
	last := len(r.steps) - 1
	chains := make([][]int64, len(r.steps))
	waits := int64(-1) // when the wait for `unless` ends
	raised, start, until := false, int64(0), int64(0)
	end := func(at int64) {
		raised = false
		out.add(r, key, start, "cleared", at)
	}
	matched := func(at int64) {
		if until = at + r.hold; !raised {
			raised, start = true, at
			out.add(r, key, start, "raised", at)
		}
	}
	pass := func(before int64) { // the time until a message, or the end
		if waits >= 0 && waits < before {
			if raised && until < waits {
				end(until)
			}
			matched(waits)
			waits = -1
		}
		if raised && until < before {
			end(until)
		}
	}
	for _, m := range said {
		pass(m.at)
		if raised && r.clear.terms != nil && r.clear.ofMessage(m) {
			end(m.at)
		}
		if r.unlessMs >= 0 && r.unless.ofMessage(m) {
			chains, waits = make([][]int64, len(r.steps)), -1
		}
		for i := last; i >= 0; i-- {
			if !r.steps[i].ofMessage(m) {
				continue
			}
			if i == 0 {
				chains[0] = []int64{m.at}
			} else if c := chains[i-1]; c != nil && c[i-1] < m.at && m.at <= c[i-1]+r.within[i] {
				chains[i] = append(slices.Clone(c), m.at)
			}
		}
		if whole := chains[last]; whole != nil && whole[last] == m.at {
			chains[last] = nil
			switch {
			case r.unlessMs < 0:
				matched(m.at)
			case waits < 0:
				waits = m.at + r.unlessMs
			}
		}
	}
	pass(math.MaxInt64)
}

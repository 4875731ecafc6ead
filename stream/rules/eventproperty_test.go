package rules

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"panormus/devices"
	"panormus/stream/batch"
)

// An eventCase is random rules on observations, and on the events that these raise, some of them on those of others.
type eventCase struct {
	sources  []refRule
	rules    []eventRule
	messages []refMessage
}

// eventRule is a rule on events: of what some rules tell, and of nothing else.
type eventRule struct {
	refRule
	of []string
}

// told is what the rule looks at of an event: that an episode began, or ended; of others unknown.
func (r eventRule) told() string {
	return fmt.Sprintf(`(rule in ["%s"] ? (state == "raised" ? 1 : 0) : context.none)`, strings.Join(r.of, `", "`))
}

func newEventCase(rnd *rand.Rand) eventCase {
	var c eventCase
	last := map[string]int64{}
	for at := int64(1_790_000_000_000); len(c.messages) < 120; at += 500 * int64(1+rnd.IntN(5)) {
		if rnd.IntN(60) == 0 {
			at += 500 * int64(rnd.IntN(240))
		}
		i := rnd.IntN(4)
		m := refMessage{at: at, dev: fmt.Sprint("d", i), zone: []string{"kalsa", "zisa", ""}[i%3], says: map[string]float64{}}
		if at-last[m.dev] < 1000 {
			continue
		}
		last[m.dev] = at
		m.says["x"] = float64(rnd.IntN(40)) / 2
		c.messages = append(c.messages, m)
	}
	var names []string
	for i, kind := range []string{"plain", "held", "held", "spans", "window"} {
		r := randomRule(rnd, kind)
		r.id, r.key, r.hours = fmt.Sprintf("source-%d", i), "device", nil
		for _, cond := range []*refCond{&r.when, &r.clear} {
			for j := range cond.terms {
				if t := &cond.terms[j]; t.metric == "y" {
					t.metric = "x"
				}
			}
		}
		for j := range r.lets {
			r.lets[j].metric = "x"
		}
		c.sources = append(c.sources, r)
		names = append(names, r.id)
	}
	pick := func(all ...string) string { return all[rnd.IntN(len(all))] }
	base := len(names)
	for i, kind := range []string{"row", "row", "row", "window", "window", "sequence", "row", "window", "sequence"} {
		r := eventRule{refRule: randomRule(rnd, map[string]string{"row": "plain"}[kind]+strings.TrimPrefix(kind, "row"))}
		second := i > 5 // of what those before tell, too
		r.id, r.on, r.hours, r.key = fmt.Sprintf("event-%s-%d", kind, i), OnEvents, nil, pick("device", "zone", "domain")
		if kind == "row" {
			r.hold, r.forMs = []int64{1_003, 7_003, 20_003}[rnd.IntN(3)], []int64{0, 0, 2_003}[rnd.IntN(3)]
		}
		from := names[:base]
		if second {
			r.key, from = "domain", names[:base+6]
			if r.hold > 0 {
				r.hold += 8 // one that is over in the very millisecond in which another ends is over
			}
			r.clear = refCond{} // whose events of one millisecond come first shows in nothing else
			r.of = append(r.of, names[base+rnd.IntN(6)])
		}
		for len(r.of) < 3 {
			if name := pick(from...); !slices.Contains(r.of, name) {
				r.of = append(r.of, name)
			}
		}
		slices.Sort(r.of)
		for j := range r.lets {
			l := &r.lets[j]
			if l.metric = r.told(); !slices.Contains([]string{"count", "sum", "avg", "max"}, l.agg) {
				l.agg = pick("count", "sum")
			}
		}
		for _, cond := range []*refCond{&r.when, &r.clear} {
			for j := range cond.terms {
				t := &cond.terms[j]
				if n := slices.IndexFunc(r.lets, func(l refLet) bool { return l.name == t.metric }); n >= 0 {
					t.c = 0.5
					if r.lets[n].agg == "count" {
						t.c += float64(rnd.IntN(4))
					}
				}
			}
		}
		conds := []*refCond{&r.unless}
		if r.window == "" {
			conds = append(conds, &r.when, &r.clear)
		}
		for j := range r.steps {
			conds = append(conds, &r.steps[j])
		}
		for _, cond := range conds {
			if len(cond.terms) > 0 { // it begins or ends, with a value of it perhaps
				cond.all = true
				cond.terms[0] = refTerm{metric: r.told(), op: pick(">", "<"), c: 0.5}
			}
			for j := 1; j < len(cond.terms); j++ {
				if cond.terms[j].metric = "context.x"; second {
					cond.terms[j] = cond.terms[0]
				}
			}
			for j := range cond.terms {
				cond.terms[j].on = ""
			}
		}
		if r.steps != nil {
			for j := range r.steps {
				for n := range r.steps[j].terms {
					r.steps[j].terms[n].on = OnEvents
				}
			}
			for n := range r.unless.terms {
				r.unless.terms[n].on = OnEvents
			}
			r.clear = refCond{}
		}
		c.rules = append(c.rules, r)
		names = append(names, r.id)
	}
	return c
}

// refEvent is an event as rules on events are given it: in the order of its time, what comes of events of the very same
// time after them.
type refEvent struct {
	rule, key, state string
	since, at        int64
	after            bool
}

// eventsOf are what a rule raises and clears, as rows.
func eventsOf(lines refEvents) (out []refEvent) {
	for l := range lines {
		var e refEvent
		if _, err := fmt.Sscanf(l, "%s %s %s since %d at %d", &e.rule, &e.key, &e.state, &e.since, &e.at); err != nil {
			panic(err)
		}
		out = append(out, e)
	}
	return out
}

// reference is what all rules on events raise and clear.
func (c eventCase) reference() refEvents {
	var rows []refEvent
	for _, r := range c.sources {
		rows = append(rows, eventsOf(refEvaluate(r, c.messages, 0))...)
	}
	out := refEvents{}
	for _, r := range c.rules {
		slices.SortFunc(rows, func(a, b refEvent) int {
			order := map[bool]int{true: 1}
			return cmp.Or(cmp.Compare(a.at, b.at), order[a.after]-order[b.after], strings.Compare(a.device(), b.device()),
				strings.Compare(a.rule, b.rule), cmp.Compare(a.since, b.since), -strings.Compare(a.state, b.state))
		})
		all := refEvents{}
		byKey := map[string][]refRow{}
		for _, e := range rows {
			m := refMessage{at: e.at, dev: e.key, zone: map[byte]string{'0': "kalsa", '1': "zisa", '3': "kalsa"}[e.key[len(e.key)-1]], says: map[string]float64{}}
			if slices.Contains(r.of, e.rule) {
				m.says[r.told()] = map[string]float64{"raised": 1}[e.state]
			}
			if i := slices.IndexFunc(c.sources, func(s refRule) bool { return s.id == e.rule }); i >= 0 && c.sources[i].window == "" {
				m.says["context.x"] = standing(slices.DeleteFunc(slices.Clone(c.messages), func(o refMessage) bool { return o.dev != e.key || o.at > e.at }), refTerm{metric: "x"})
			}
			if strings.HasPrefix(e.rule, "event-sequence") && (r.window != "" || r.steps != nil) {
				m.at++ // when it is known to be the last
			}
			if k := r.keyOf(m); k != "" {
				byKey[k] = append(byKey[k], refRow{OnEvents, m, ""})
			}
		}
		says := func(t refTerm, m refMessage) float64 {
			if v, ok := m.says[t.metric]; ok {
				return v
			}
			return nan
		}
		for k, of := range byKey {
			var said []refMessage
			for _, m := range of {
				said = append(said, m.refMessage)
			}
			switch {
			case r.window != "":
				refWindows(r.refRule, k, said, all, says)
			case r.steps != nil:
				refSequence(r.refRule, k, said, all, says)
			default:
				refOccurrences(r.refRule, k, of, of, all)
			}
		}
		for _, e := range eventsOf(all) {
			e.after = r.window == ""
			rows = append(rows, e)
		}
		maps.Copy(out, all)
	}
	return out
}

// device is who the event is of; those of several are of none, or of one of them, which rules that see them do not look at.
func (e refEvent) device() string {
	if strings.HasPrefix(e.rule, "source") {
		return e.key
	}
	return ""
}

// TestEventsAgainstReference: what rules on events raise is what a small evaluator of what the episodes come to says, however
// late the messages come of which the events are, and however often the events are corrected.
func TestEventsAgainstReference(t *testing.T) {
	t.Parallel()
	defer lessCollecting()()
	seeds := []uint64{1, 11}
	for seed := range uint64(*propertySeeds) {
		seeds = append(seeds, *propertyFirst+seed)
	}
	for _, seed := range seeds {
		if !eventsAgainstReference(t, seed) {
			t.FailNow()
		}
	}
}

func eventsAgainstReference(t *testing.T, seed uint64) bool {
	t.Helper()
	c := newEventCase(rand.New(rand.NewPCG(seed, 81)))
	registry := &testRegistry{assets: map[string]*devices.Asset{}}
	for _, m := range c.messages {
		registry.assets[m.dev] = &devices.Asset{Device: devices.Device{ID: m.dev, Domain: "lab", Zone: m.zone}}
	}
	var texts []string
	for _, r := range c.sources {
		texts = append(texts, "  - "+strings.TrimSuffix(r.written(), "}")+", text: '{x}'}")
		if r.window != "" {
			texts[len(texts)-1] = "  - " + r.written()
		}
	}
	for _, r := range c.rules {
		texts = append(texts, "  - "+r.written())
	}
	text := "rules:\n" + strings.Join(texts, "\n")
	set, err := Parse("random.yaml", []byte(text))
	if err != nil {
		t.Errorf("seed %d: %v\n%s", seed, err, text)
		return false
	}
	want := undatedLines(c.reference())
	for i, d := range []delivery{
		{"as measured", 1, 0, true, false, 1, false},
		{"in any order", 1, 29_000, false, false, 20, false},
		{"in any order, in partitions, with restarts", 4, 29_000, false, true, 10, false},
	} {
		told := c.run(t, set, registry, d, rand.New(rand.NewPCG(seed, uint64(i))))
		if !undatedLines(outcome(t, told)).agrees(t, seed, d, want, func(id string) string {
			return c.rules[slices.IndexFunc(c.rules, func(r eventRule) bool { return r.id == id })].written()
		}) {
			return false
		}
	}
	return true
}

// run gives an engine the messages, and one of rules on events what that tells and what it tells itself, as the log does;
// it returns what the latter told.
func (c eventCase) run(t *testing.T, set *Set, registry *testRegistry, d delivery, rnd *rand.Rand) (told []batch.Event) {
	t.Helper()
	type arrival struct {
		refMessage
		received int64
	}
	var arrivals []arrival
	for _, m := range c.messages {
		a := arrival{m, m.at}
		if d.jitter > 0 {
			a.received += rnd.Int64N(d.jitter)
		}
		arrivals = append(arrivals, a)
	}
	slices.SortStableFunc(arrivals, func(a, b arrival) int { return int(a.received - b.received) })
	cfg := Config{Registry: registry, Partitions: d.partitions}
	e, about := New(cfg, set), NewRowEngine(cfg, OnEvents, set)
	seq, place := uint64(0), uint64(0)
	settle := func() {
		fresh := e.Settle()
		for len(fresh) > 0 {
			place++
			Events(fresh, func(row *Row) { about.Apply(place, row) })
			fresh = about.Settle()
			told = append(told, fresh...)
		}
	}
	tick := func(now int64) {
		settle()
		e.Tick(now)
		settle()
		about.Tick(now)
		fresh := about.Settle()
		told = append(told, fresh...)
		Events(fresh, func(row *Row) { about.Apply(place, row) })
		settle()
	}
	now := arrivals[0].received
	for _, a := range arrivals {
		for ; now+5_000 < a.received; now += 5_000 {
			tick(now)
		}
		now = a.received
		o := &batch.Observations{}
		h := o.Begin(a.at, a.received, "lab", a.dev)
		o.Append(h, "x", a.says["x"], "", 0)
		seq++
		e.Apply(partition(a.dev, d.partitions), seq, o)
		if rnd.IntN(d.longest) == 0 {
			settle()
		}
		if rnd.IntN(20) == 0 {
			tick(now)
		}
		if d.restarts && rnd.IntN(12) == 0 {
			settle()
			var err error
			if e, err = e.Restarted(seq); err != nil {
				t.Fatal(err)
			}
			if about, err = about.Restarted(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 4 {
		now += 600_000
		tick(now)
	}
	return told
}

package rules

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"panormus/devices"
	"panormus/stream/batch"
)

const windowRules = `
rules:
  - id: tumbling
    window: {type: tumbling, size: 20s}
    let: {n: count(), s: sum(x), d: count_distinct(x), r: rate(x)}
    when: n >= 2 && s > 20
    clear: s < 10
  - id: hopping
    window: {type: hopping, size: 60s, every: 10s}
    let: {n: count_distinct(device), v: avg(x), hi: max(x), lo: min(x)}
    when: v > 11 && hi - lo > 2
    key: zone
  - id: sliding
    window: {type: sliding, size: 30s}
    let: {a: first(x), b: last(x), sd: stddev(x), p: "percentile(x, 80)"}
    when: sd > 4 || b > a + 9
    key: '"all of " + domain'
  - id: session
    window: {type: session, gap: 7s}
    let: {n: count(x > 12), v: avg(x)}
    when: n >= 2
  - id: sequence
    sequence: [{as: a, when: x < 8}, {as: b, within: 20s, when: x > 11}]
    unless: {within: 5s, when: x > 9.4 && x < 10}
    hold: 10s
  - id: sequence-zone
    sequence: [{as: a, when: x < 8}, {as: b, within: 20s, when: x > 11}]
    unless: {within: 5s, when: x > 9.4 && x < 10}
    hold: 10s
    key: zone
`

// A reading of the reference: what it says and whose it is.
type refReading struct {
	at   int64
	dev  string
	zone string
	x    float64 // NaN: it says nothing of x
}

// line is an event as outcome writes it.
func line(rule, key, state string, start, at int64) string {
	return fmt.Sprintf("%s %s %s since %d at %d", rule, key, state, start, at)
}

// reference evaluates one rule on readings, which need be in no order, by its plain meaning: for every end of a
// window that has other readings than the one before, all are looked at again.
func reference(rule string, key func(refReading) string, size, every, gap int64, all []refReading,
	lets func([]refReading) map[string]float64, when, clear func(map[string]float64) bool,
) map[string]map[string]float64 {
	out := map[string]map[string]float64{}
	byKey := map[string][]refReading{}
	for _, r := range all {
		if k := key(r); k != "" {
			byKey[k] = append(byKey[k], r)
		}
	}
	for k, readings := range byKey {
		slices.SortFunc(readings, func(a, b refReading) int { return int(a.at - b.at) })
		raised, start := false, int64(0)
		judge := func(in []refReading, end int64) {
			v := lets(in)
			switch {
			case !raised && when(v):
				raised, start = true, end
				out[line(rule, k, "raised", start, start)] = v
			case raised && clear(v):
				raised = false
				out[line(rule, k, "cleared", start, end)] = v
			}
		}
		if gap > 0 {
			for len(readings) > 0 {
				n := 1
				for n < len(readings) && readings[n].at < readings[n-1].at+gap {
					n++
				}
				judge(readings[:n], readings[n-1].at+gap)
				readings = readings[n:]
			}
			continue
		}
		var before []refReading
		for end := readings[0].at / every * every; end <= readings[len(readings)-1].at+size+every; end += every {
			var in []refReading
			for _, r := range readings {
				if r.at >= end-size && r.at < end {
					in = append(in, r)
				}
			}
			if len(in) != len(before) || len(in) > 0 && (in[0] != before[0] || in[len(in)-1] != before[len(in)-1]) {
				judge(in, end)
			}
			before = in
		}
	}
	return out
}

// referenceSequence is the two rules of sequences by their plain meaning: a reading above 11 that has one
// below 8 in the 20 s before it, and none from 9.4 to 10 from that one until 5 s after, matches 5 s after;
// while one waits for that no other begins to. What matches raises, and ends 10 s after the last match.
func referenceSequence(rule string, key func(refReading) string, all []refReading) map[string]map[string]float64 {
	out := map[string]map[string]float64{}
	byKey := map[string][]refReading{}
	for _, r := range all {
		if k := key(r); k != "" && r.x == r.x {
			byKey[k] = append(byKey[k], r)
		}
	}
	for k, readings := range byKey {
		var matches []int64
		waits := int64(0)
		for _, b := range readings {
			if !(b.x > 11) || b.at <= waits {
				continue
			}
			a := int64(0)
			for _, r := range readings {
				if r.x < 8 && r.at < b.at {
					a = r.at
				}
			}
			undone := slices.IndexFunc(readings, func(r refReading) bool {
				return r.x > 9.4 && r.x < 10 && r.at > a && r.at <= b.at+5000
			})
			switch {
			case b.at-a > 20_000:
			case undone < 0:
				matches = append(matches, b.at+5000)
				waits = b.at + 5000
			}
		}
		for i := 0; i < len(matches); {
			start := matches[i]
			out[line(rule, k, "raised", start, start)] = nil
			for i++; i < len(matches) && matches[i] <= matches[i-1]+10_000; i++ {
			}
			out[line(rule, k, "cleared", start, matches[i-1]+10_000)] = nil
		}
	}
	return out
}

func values(in []refReading) (xs []float64) {
	for _, r := range in {
		if r.x == r.x {
			xs = append(xs, r.x)
		}
	}
	return xs
}

func exactSum(xs []float64, f func(*big.Float) *big.Float) *big.Float {
	sum := new(big.Float).SetPrec(400)
	for _, x := range xs {
		sum.Add(sum, f(new(big.Float).SetPrec(400).SetFloat64(x)))
	}
	return sum
}

func refSum(xs []float64) float64 {
	v, _ := exactSum(xs, func(x *big.Float) *big.Float { return x }).Float64()
	return v
}

func refAvg(xs []float64) float64 {
	if len(xs) == 0 {
		return nan
	}
	return refSum(xs) / float64(len(xs))
}

func refDistinct[T comparable](in []refReading, f func(refReading) T) float64 {
	seen := map[T]bool{}
	for _, r := range in {
		seen[f(r)] = true
	}
	return float64(len(seen))
}

// refEnds are the first and last readings that say something of x; ties are left to no test: times differ.
func refEnds(in []refReading) (first, last refReading) {
	in = slices.DeleteFunc(slices.Clone(in), func(r refReading) bool { return r.x != r.x })
	if len(in) == 0 {
		return refReading{x: nan}, refReading{x: nan}
	}
	return in[0], in[len(in)-1]
}

// Windows give what the reference gives, however the messages are cut into batches, partitions and
// runs, and in whatever order they arrive inside the lateness.
func TestWindowsAgainstReference(t *testing.T) {
	t.Parallel()
	set := mustParse(t, windowRules)
	registry := &testRegistry{assets: map[string]*devices.Asset{}}
	zones := []string{"kalsa", "zisa", ""}
	for i := range 9 {
		id := fmt.Sprintf("d%d", i)
		registry.assets[id] = &devices.Asset{Device: devices.Device{ID: id, Zone: zones[i%3]}}
	}
	for seed := range uint64(3) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		at := int64(1_790_000_000_000)
		var readings []refReading
		for range 500 {
			if at += 1 + int64(rnd.IntN(2500)); rnd.IntN(60) == 0 {
				at += int64(rnd.IntN(120_000))
			}
			r := refReading{at: at, dev: fmt.Sprintf("d%d", rnd.IntN(9)), x: 10 + math.Round(100*rnd.NormFloat64()*4)/100}
			if rnd.IntN(8) == 0 {
				r.x = nan
			}
			r.zone = registry.assets[r.dev].Zone
			readings = append(readings, r)
		}
		want := map[string]map[string]float64{}
		add := func(m map[string]map[string]float64) {
			if len(m) < 10 {
				t.Errorf("%d events by the reference, want enough to test with", len(m))
			}
			for id, v := range m {
				want[id] = v
			}
		}
		add(reference("tumbling", func(r refReading) string { return r.dev }, 20_000, 20_000, 0, readings,
			func(in []refReading) map[string]float64 {
				first, last := refEnds(in)
				with := slices.DeleteFunc(slices.Clone(in), func(r refReading) bool { return r.x != r.x })
				return map[string]float64{"n": float64(len(in)), "s": refSum(values(in)), "d": refDistinct(with, func(r refReading) float64 { return r.x }),
					"r": (last.x - first.x) / (float64(last.at-first.at) / 3600_000)}
			}, func(v map[string]float64) bool { return v["n"] >= 2 && v["s"] > 20 }, func(v map[string]float64) bool { return v["s"] < 10 }))
		add(reference("hopping", func(r refReading) string { return r.zone }, 60_000, 10_000, 0, readings,
			func(in []refReading) map[string]float64 {
				v := map[string]float64{"n": refDistinct(in, func(r refReading) string { return r.dev }), "v": refAvg(values(in)), "hi": nan, "lo": nan}
				if xs := values(in); len(xs) > 0 {
					v["hi"], v["lo"] = slices.Max(xs), slices.Min(xs)
				}
				return v
			}, func(v map[string]float64) bool { return v["v"] > 11 && v["hi"]-v["lo"] > 2 },
			func(v map[string]float64) bool { // unknown only in a window without readings ends it
				return !(v["v"] > 11 && v["hi"]-v["lo"] > 2) && (v["v"] == v["v"] || v["n"] == 0)
			}))
		add(reference("sliding", func(refReading) string { return "all of lab" }, 30_000, 500, 0, readings,
			func(in []refReading) map[string]float64 {
				first, last := refEnds(in)
				xs := values(in)
				v := map[string]float64{"a": first.x, "b": last.x, "sd": nan, "p": nan}
				if len(xs) > 0 {
					mean := new(big.Float).Quo(exactSum(xs, func(x *big.Float) *big.Float { return x }), big.NewFloat(float64(len(xs))))
					squares, _ := exactSum(xs, func(x *big.Float) *big.Float { x.Sub(x, mean); return x.Mul(x, x) }).Float64()
					v["sd"] = math.Sqrt(squares / float64(len(xs)))
					slices.Sort(xs)
					v["p"] = xs[int(math.Ceil(0.8*float64(len(xs))))-1]
				}
				return v
			}, func(v map[string]float64) bool { return v["sd"] > 4 || v["b"] > v["a"]+9 },
			func(v map[string]float64) bool { return !(v["sd"] > 4 || v["b"] > v["a"]+9) }))
		add(reference("session", func(r refReading) string {
			if r.x != r.x {
				return "" // neither let takes it
			}
			return r.dev
		}, 0, 0, 7_000, readings,
			func(in []refReading) map[string]float64 {
				n := 0.0
				for _, r := range in {
					if r.x > 12 {
						n++
					}
				}
				return map[string]float64{"n": n, "v": refAvg(values(in))}
			}, func(v map[string]float64) bool { return v["n"] >= 2 }, func(v map[string]float64) bool { return v["n"] < 2 }))

		add(referenceSequence("sequence", func(r refReading) string { return r.dev }, readings))
		add(referenceSequence("sequence-zone", func(r refReading) string { return r.zone }, readings))

		for variant := range 8 {
			checkReference(t, runWindows(t, set, registry, readings, rand.New(rand.NewPCG(seed, uint64(variant)+7)), variant), want)
		}
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func checkReference(t *testing.T, got map[string]batch.Event, want map[string]map[string]float64) {
	t.Helper()
	for id, ev := range got {
		w, ok := want[id]
		if !ok {
			t.Errorf("too many: %s %s %s at %v: %s", ev.Rule, ev.Key, ev.State, ev.Time, ev.Context)
			continue
		}
		var c struct{ Values map[string]any }
		if err := json.Unmarshal(ev.Context, &c); err != nil {
			t.Fatal(err)
		}
		for name, v := range w {
			g, ok := c.Values[name].(float64)
			known := v == v && !math.IsInf(v, 0)
			if ok != known || known && math.Abs(g-v) > 1e-12*math.Max(1, math.Abs(v)) {
				t.Errorf("%s %s at %v: %s is %v, want %v", ev.Rule, ev.Key, ev.Time, name, g, v)
			}
		}
	}
	for id := range want {
		if _, ok := got[id]; !ok {
			t.Errorf("missing: %s %v", id, want[id])
		}
	}
}

// runWindows gives an engine the readings, arriving late by up to 25 s, in batches of neighbours; odd
// variants are restored from snapshots again and again.
func runWindows(t *testing.T, set *Set, registry *testRegistry, readings []refReading, rnd *rand.Rand, variant int) map[string]batch.Event {
	t.Helper()
	type arrival struct {
		refReading
		received int64
	}
	var arrivals []arrival
	for _, r := range readings {
		arrivals = append(arrivals, arrival{r, r.at + int64(rnd.IntN(25_000))})
	}
	slices.SortStableFunc(arrivals, func(a, b arrival) int { return int(a.received - b.received) })
	partitions := []int{1, 16, 4, 7}[variant/2]
	longest := 1 + rnd.IntN(30)
	e, events, last := deliver(t, Config{Registry: registry, Partitions: partitions}, set, arrivals, longest, variant%2 == 1, rnd,
		func(a arrival) (string, int64) { return a.dev, a.received }, func(a arrival, o *batch.Observations) {
			h := o.Begin(a.at, a.received, "lab", a.dev)
			if a.x == a.x {
				o.Append(h, "x", a.x, "", 0)
			} else {
				o.Append(h, "y", 1, "", 0)
			}
		})
	if late := e.Stats().WindowLate; late != 0 && variant%2 == 0 {
		t.Errorf("%d late, want none", late)
	}
	e.Tick(last + 600_000)
	return outcome(t, append(events, e.Settle()...))
}

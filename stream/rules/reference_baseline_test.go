package rules

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// refBaseline is what is usual in the hour of the last reading, of all hours of the same hour of the week before it.
func refBaseline(fn string, all []sample) float64 {
	of := func(at int64) (hour int64, week string) {
		hour = at / hourMs
		return hour, time.UnixMilli(hour * hourMs).In(rome).Format("Mon 15")
	}
	last := all[len(all)-1]
	now, week := of(last.at)
	mean, variance, seen := 0.0, 0.0, 0
	for i := 0; i < len(all); {
		hour, of := of(all[i].at)
		n, sum, low, top := 0.0, 0.0, all[i].v, all[i].v
		for ; i < len(all) && all[i].at/hourMs == hour; i++ {
			n, sum, low, top = n+1, sum+all[i].v, min(low, all[i].v), max(top, all[i].v)
		}
		if hour == now || of != week {
			continue
		}
		off, within := sum/n-mean, (top-low)/spreadOfRange(n)
		switch limit := 3 * max(math.Sqrt(variance), 0.01*math.Abs(mean)); {
		case seen == 0:
			mean, variance, off = sum/n, within*within, 0
		case seen >= 3 && limit > 0:
			off, within = max(-limit, min(off, limit)), min(within, limit)
		}
		if seen++; seen > 1 {
			weight := max(1/float64(seen), 0.2)
			mean, variance = mean+weight*off, (1-weight)*(variance+weight*off*off)+weight*within*within
		}
	}
	switch s := max(math.Sqrt(variance), 0.01*math.Abs(mean)); {
	case seen < 3 || fn == "baseline_z" && s == 0:
		return nan
	case fn == "baseline_z":
		return (last.v - mean) / s
	}
	return mean
}

// newBaselineCase is of five weeks, of each some minutes before and after an hour is full.
func newBaselineCase(rnd *rand.Rand) (c propertyCase) {
	full := time.Date(2026, 9, 21, 11, 0, 0, 0, rome)
	for week := range 5 {
		at := full.AddDate(0, 0, 7*week).Add(-8 * time.Minute).UnixMilli()
		last := map[string]int64{}
		for end := at + 16*60_000; at < end; at += 500 * int64(1+rnd.IntN(20)) {
			i := rnd.IntN(3)
			m := refMessage{at: at, dev: fmt.Sprint("d", i), zone: []string{"kalsa", "zisa", "kalsa"}[i], says: map[string]float64{"x": 10 + 2*rnd.NormFloat64() + float64(week)*rnd.Float64()}}
			if at-last[m.dev] >= 1000 {
				last[m.dev] = at
				c.messages = append(c.messages, m)
			}
		}
	}
	term := func() refTerm {
		t := refTerm{fn: baselineCalls[rnd.IntN(2)], metric: "x", op: []string{">", "<"}[rnd.IntN(2)]}
		if t.c = float64(rnd.IntN(8))/2 - 1.863; t.fn == "baseline" {
			t.c = 9 + float64(rnd.IntN(30))/10 + 0.037
		}
		return t
	}
	for i, kind := range []string{"plain", "held", "spans", "window", "window"} {
		as := kind
		if kind == "window" {
			as = "plain"
		}
		like := randomRule(rnd, as)
		r := refRule{id: fmt.Sprint(kind, "-", i), key: like.key, when: randomCond(rnd, term), forMs: like.forMs, unlessMs: -1}
		if rnd.IntN(2) == 0 {
			r.clear = randomCond(rnd, term)
		}
		if kind == "window" {
			of := term()
			r.key, r.forMs, r.clear = []string{"device", "zone"}[rnd.IntN(2)], 0, refCond{}
			r.window, r.size, r.every = "tumbling", 120_000, 120_000
			r.lets = []refLet{{name: "v", agg: []string{"avg", "max", "min", "last"}[rnd.IntN(4)], metric: "x", of: of}}
			r.when = refCond{terms: []refTerm{{metric: "v", op: of.op, c: of.c}}}
		}
		c.rules = append(c.rules, r)
	}
	return c
}

// TestBaselinesAgainstReference is TestAgainstReference of what is usual, over weeks in which readings come late beside
// the end of an hour too.
func TestBaselinesAgainstReference(t *testing.T) {
	t.Parallel()
	defer lessCollecting()()
	for seed := range uint64(*propertySeeds) {
		if seed += *propertyFirst; !newBaselineCase(rand.New(rand.NewPCG(seed, 82))).agrees(t, seed) {
			t.FailNow()
		}
	}
}

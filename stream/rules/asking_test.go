package rules

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// askingRules are rules for TestAgainstReference that ask other devices, or what their own said before, where the
// order in which messages came could be seen: in conditions, in windows and in sequences.
func askingRules(rnd *rand.Rand) (out []refRule) {
	for i, kind := range []string{"near", "near", "window", "window", "window", "window", "sequence", "sequence", "sequence"} {
		like := kind
		if kind == "near" {
			like = "joins"
		}
		r := randomRule(rnd, like)
		if kind == "window" {
			r.waits = rnd.IntN(4) == 0
			for j := range r.lets {
				if l := &r.lets[j]; l.agg != "count()" && (j == 0 || rnd.IntN(2) == 0) {
					l.of = askingTerm(rnd, refTerm{metric: l.metric}, l.agg == "count")
				}
			}
		} else {
			conds := []*refCond{&r.when, &r.clear, &r.unless}
			for j := range r.steps {
				conds = append(conds, &r.steps[j])
			}
			for _, c := range conds {
				for j := range c.terms {
					if rnd.IntN(2) == 0 {
						c.terms[j] = askingTerm(rnd, c.terms[j], kind == "sequence")
					}
				}
			}
		}
		r.id = fmt.Sprintf("asking-%s-%d", kind, i)
		out = append(out, r)
	}
	return out
}

// askingTerm makes a function of a term; cond says that it may be a condition.
func askingTerm(rnd *rand.Rand, t refTerm, cond bool) refTerm {
	pick := func(all ...string) string { return all[rnd.IntN(len(all))] }
	switch n := rnd.IntN(5); {
	case n == 0 && cond:
		t.fn, t.metric, t.span, t.op, t.c = pick(fenceCalls...), positionMetrics[0], []int64{1, 500}[rnd.IntN(2)], ">", 0.5
	case n < 2 && cond:
		t.fn, t.span = pick("ewma", "delta", "zscore"), []int64{3_000, 10_000, 32_000}[rnd.IntN(3)]
	default:
		if t.fn = pick(joinCalls...); t.fn == "of" {
			t.dev = "d" + pick("0", "1", "2", "3", "4", "5")
		} else if slices.Contains([]string{"neighbours_avg", "neighbours_min", "neighbours_max", "neighbours_sum", "neighbours_count"}, t.fn) {
			t.span = []int64{60, 300, 700, 5000}[rnd.IntN(4)]
		}
	}
	if t.op != "" && t.op != ">" {
		t.op = "<"
	}
	switch t.fn {
	case "delta", "zscore":
		t.c = t.c/5 - 2 + 0.037
	case "zone_count", "neighbours_count":
		t.c = 1.5
	case "enter", "leave":
	default:
		t.c += 0.137
	}
	return t
}

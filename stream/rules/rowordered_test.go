package rules

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// orderedRowRules are windows and sequences for TestRowsAgainstReference that ask others, or what rows of the same thing
// said before: on tracks, on both tracks and what devices say, and on devices that ask cameras.
func orderedRowRules(rnd *rand.Rand) (out []refRule) {
	columns := map[string]string{"x": "speed_mps", "y": "distance_m"}
	for i, kind := range []string{"window", "window", "window", "sequence", "sequence", "mixed", "mixed", "inner", "inner"} {
		like := kind
		switch kind {
		case "mixed":
			like = "sequence"
		case "inner":
			like = "window"
		}
		r := randomRule(rnd, like)
		r.id = fmt.Sprintf("ordered-%s-%d", kind, i)
		r.on = OnTracks
		if r.waits = like == "window" && rnd.IntN(4) == 0; kind == "inner" {
			r.on, r.key = "", "device"
		}
		for j := range r.lets {
			l := &r.lets[j]
			if l.metric = columns[l.metric]; kind == "inner" {
				l.metric = "noise"
			}
			if kind == "inner" && l.agg == "count()" {
				l.agg = "count"
			}
			if l.agg != "count()" && (j == 0 || rnd.IntN(2) == 0) {
				l.of = rowAskingTerm(rnd, refTerm{metric: l.metric}, kind == "inner" && j == 0, l.agg == "count")
			}
		}
		if kind == "inner" { // what makes it one of cameras
			l := refLet{name: "seen", agg: "max", metric: "seen", of: refTerm{fn: "zone_sum", metric: "seen", class: "person"}}
			r.lets = append(r.lets, l)
			r.when.terms = append(r.when.terms, refTerm{metric: l.name, op: ">", c: 12.5})
		}
		conds := []*refCond{&r.clear, &r.unless}
		for j := range r.steps {
			conds = append(conds, &r.steps[j])
		}
		for j, c := range conds {
			if like == "window" || len(c.terms) == 0 {
				continue
			}
			on := OnTracks
			if kind == "mixed" && j != 2 && (j > 2 || rnd.IntN(2) == 0) { // the first step is what the rule is on
				on = onObservations
			}
			for n := range c.terms {
				t := &c.terms[n]
				if t.metric = columns[t.metric]; on == onObservations {
					t.metric = "noise"
				}
				if rnd.IntN(2) == 0 && (kind != "mixed" || n > 0) {
					*t = rowAskingTerm(rnd, *t, false, true)
				}
				t.on = on
			}
		}
		out = append(out, r)
	}
	return out
}

// rowAskingTerm makes a function of a term, of cameras where that is asked for; cond says that it may be a condition.
func rowAskingTerm(rnd *rand.Rand, t refTerm, cameras, cond bool) refTerm {
	pick := func(all ...string) string { return all[rnd.IntN(len(all))] }
	if !cameras && cond && rnd.IntN(2) == 0 {
		t.fn, t.span = pick("ewma", "delta", "zscore"), []int64{3_000, 10_000, 32_000}[rnd.IntN(3)]
		if t.fn != "ewma" {
			t.c = t.c/5 - 2
		}
	} else {
		t.fn, t.metric = pick(joinCalls...), "noise"
		of := "s"
		if cameras || rnd.IntN(2) == 0 {
			t.metric, t.class, of = "seen", pick("person", "car"), "c"
		}
		switch {
		case t.fn == "of":
			t.dev = of + pick("0", "1", "2", "3")
		case strings.HasPrefix(t.fn, "neighbours"):
			t.span = []int64{60, 120, 300}[rnd.IntN(3)]
		}
		if strings.HasSuffix(t.fn, "_count") {
			t.c = 1.363
		}
	}
	if t.c += 0.137; t.op == "!=" {
		t.op = ">"
	}
	return t
}

// refOrdered is what windows and sequences of rows, and of devices that ask cameras, raise and clear.
func refOrdered(r refRule, all []refRow) refEvents {
	out := refEvents{}
	type of struct {
		at  int64
		dev string
	}
	rows, byKey := map[of]refRow{}, map[string][]refMessage{}
	for _, m := range all {
		if k := r.keyOf(m.refMessage); k != "" && r.takesRow(m) {
			rows[of{m.at, m.dev}] = m
			byKey[k] = append(byKey[k], m.refMessage)
		}
	}
	says := func(t refTerm, m refMessage) float64 {
		row := rows[of{m.at, m.dev}]
		_, said := m.says[t.metric]
		if t.on != "" && t.on != row.on || !said && t.fn != "" && !slices.Contains(joinCalls, t.fn) {
			return nan
		}
		until, _ := slices.BinarySearchFunc(all, m.at+1, func(o refRow, at int64) int { return int(o.at - at) })
		same := slices.DeleteFunc(slices.Clone(all[:until]), func(o refRow) bool { return o.on != row.on })
		return refOfRow(t, row, same, all)
	}
	for k, said := range byKey {
		if r.window != "" {
			refWindows(r, k, said, out, says)
		} else {
			refSequence(r, k, said, out, says)
		}
	}
	return out
}

// takesRow reports whether a rule with a window or a sequence is about a row.
func (r refRule) takesRow(m refRow) bool {
	if r.steps == nil {
		return m.on == r.on || r.on == "" && m.on == onObservations
	}
	return slices.ContainsFunc(append([]refCond{r.unless, r.clear}, r.steps...), func(c refCond) bool {
		return len(c.terms) > 0 && c.terms[0].on == m.on
	})
}

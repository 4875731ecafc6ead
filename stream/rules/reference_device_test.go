package rules

import (
	"math"
	"slices"
)

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

// refGroup: a key holds while the rule does for one of its devices; ask is what others say.
func refGroup(r refRule, key string, said []refMessage, out refEvents, ask func(refTerm, refMessage) float64) {
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
				return ask(t, m)
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

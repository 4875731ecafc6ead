package rules

import (
	"math"
	"slices"
	"strings"
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

// refJoin is what a term asks of other devices at a time: of each the newest reading that still stands.
func refJoin(t refTerm, all []refMessage, by refMessage, stands int64) float64 {
	type reading struct {
		sample
		lat float64 // where the device was then
	}
	latest, places := map[string]reading{}, map[string]float64{}
	for _, m := range all {
		if m.at > by.at {
			break
		}
		if _, ok := places[m.dev]; !ok {
			places[m.dev] = refLat(m.dev) // the registry's
		}
		if lat, ok := m.says[positionMetrics[0]]; ok {
			places[m.dev] = lat
		}
		if v, ok := m.says[t.metric]; ok && (!strings.HasPrefix(t.fn, "zone") || m.zone == by.zone && m.zone != "") {
			latest[m.dev] = reading{sample{m.at, v}, places[m.dev]}
		}
	}
	var xs []float64
	for dev, s := range latest {
		const metres = 111_195 // a degree
		switch {
		case by.at-s.at > stands:
		case t.dev != "" && t.dev != dev:
		case strings.HasPrefix(t.fn, "neighbours") && (dev == by.dev || math.Abs(s.lat-places[by.dev])*metres > float64(t.span)):
		default:
			xs = append(xs, s.v)
		}
	}
	switch _, fn, _ := strings.Cut(t.fn, "_"); {
	case strings.HasPrefix(t.fn, "zone") && by.zone == "":
		return nan
	case fn == "count":
		return float64(len(xs))
	case len(xs) == 0:
		return nan
	case fn == "max":
		return slices.Max(xs)
	case fn == "min":
		return slices.Min(xs)
	case fn == "sum":
		return refSum(xs)
	}
	return refAvg(xs)
}

// refSays is what a term comes to of a message of a device: what it says, or what a function of a metric that it says
// is then.
func refSays(t refTerm, m refMessage, all []refMessage) float64 {
	v, ok := m.says[t.metric]
	if t.fn == "" && ok {
		return v
	}
	if t.fn == "" || !ok && !slices.Contains(fenceCalls, t.fn) {
		return nan
	}
	var said []refMessage
	for _, o := range all {
		if o.dev == m.dev && o.at <= m.at {
			said = append(said, o)
		}
	}
	return standing(said, t)
}

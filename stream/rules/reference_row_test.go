package rules

import (
	"maps"
	"math"
	"slices"
	"strings"
)

// The reference for rules on rows: what doc.go says of Rows, of all rows in the order of their times.

// refRow is a row of a camera, or a gateway, at a time; on says what it is. An observation is what a device says.
type refRow struct {
	on string
	refMessage
	class string
}

// refRows is what a rule on rows raises and clears. asked is what devices and cameras say, for those who ask.
func refRows(r refRule, all []refRow) refEvents {
	out := refEvents{}
	byKey := map[string][]refRow{}
	for _, m := range all {
		if k := r.keyOf(m.refMessage); k != "" && m.on == r.on {
			byKey[k] = append(byKey[k], m)
		}
	}
	for k, rows := range byKey {
		refOccurrences(r, k, rows, all, out)
	}
	return out
}

// refOccurrences: a row that matches raises when rows have matched for so long, none further than hold from the
// next; the episode ends with hold after the last, with the schedule, or with a row of which `clear` is true.
func refOccurrences(r refRule, key string, rows, all []refRow, out refEvents) {
	open, raised, start, last := false, false, int64(0), int64(0)
	spent := int64(-1) // the millisecond in which one began and ended: no other begins in it
	pass := func(to int64) {
		_, until := r.inForce(start)
		if over := min(last+r.hold, until); open && over < to {
			if open = false; raised {
				out.add(r, key, start, "cleared", max(over, start))
			}
			raised = false
		}
	}
	for i, m := range rows {
		pass(m.at)
		if in, _ := r.inForce(m.at); !in {
			continue
		}
		value := func(t refTerm) float64 { return refOfRow(t, m, rows[:i+1], all) }
		if raised && r.clear.terms != nil && r.clear.eval(value) == yes {
			out.add(r, key, start, "cleared", m.at)
			if open, raised = false, false; m.at == start {
				spent = start
			}
			continue
		}
		if r.when.eval(value) != yes || m.at == spent {
			continue
		}
		if !open {
			open, start = true, m.at
		}
		if last = m.at; !raised && m.at >= start+r.forMs {
			raised = true
			out.add(r, key, start, "raised", m.at)
		}
	}
	pass(math.MaxInt64)
}

// refOfRow is a term's value for a row: of the row itself, of a function of the rows of the same thing, the last of
// them this, or of what others have said until then.
func refOfRow(t refTerm, m refRow, said, all []refRow) float64 {
	switch {
	case slices.Contains(joinCalls, t.fn):
		return refAsked(t, all, m.refMessage)
	case t.fn != "":
		var things []refMessage
		for _, s := range said {
			if s.dev == m.dev && s.class == m.class {
				things = append(things, s.refMessage)
			}
		}
		return standing(things, t)
	}
	if v, ok := m.says[t.metric]; ok {
		return v
	}
	return nan
}

// refLat is where a device of these tests is: all are on one meridian.
func refLat(dev string) float64 {
	lat := 38.1 + 0.001*float64(dev[1]-'0')
	if dev[0] == 's' {
		lat += 0.0005
	}
	return lat
}

// refAsks reports whether a device is one of those that a term asks for a device.
func refAsks(t refTerm, dev, zone string, by refMessage) bool {
	switch {
	case t.dev != "":
		return dev == t.dev
	case strings.HasPrefix(t.fn, "neighbours"):
		const metres = 111_195 // a degree
		return dev != by.dev && math.Abs(refLat(dev)-refLat(by.dev))*metres <= float64(t.span)
	}
	return zone != "" && zone == by.zone
}

// refAsked is of the readings of the devices that are asked, or of the counts of a class of the cameras.
func refAsked(t refTerm, all []refRow, by refMessage) float64 {
	latest := map[string]sample{}
	for _, m := range all {
		v, ok := m.says[t.metric]
		of := t.class == "" && m.on == onObservations || t.class != "" && m.on == OnCounts && m.class == t.class
		if ok && of && m.at <= by.at && refAsks(t, m.dev, m.zone, by) {
			latest[m.dev] = sample{m.at, v}
		}
	}
	var xs []float64
	for _, s := range latest {
		switch {
		case t.class == "" && by.at-s.at <= boardHourMs, t.class != "" && by.at-s.at <= countStandsMs:
			xs = append(xs, s.v)
		case t.class != "":
			xs = append(xs, 0) // nobody is not counted
		}
	}
	slices.Sort(xs)
	_, fn, _ := strings.Cut(t.fn, "_")
	switch {
	case fn == "count" && (by.zone != "" || !strings.HasPrefix(t.fn, "zone")):
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

// refInner is a rule on observations that asks cameras: as refDevice, on what stands.
func refInner(r refRule, all []refRow) refEvents {
	out := refEvents{}
	byDevice := map[string][]refMessage{}
	for _, m := range all {
		if m.on == onObservations {
			byDevice[m.dev] = append(byDevice[m.dev], m.refMessage)
		}
	}
	for _, dev := range slices.Sorted(maps.Keys(byDevice)) {
		refGroup(r, dev, byDevice[dev], out, func(t refTerm, m refMessage) float64 { return refAsked(t, all, m) })
	}
	return out
}

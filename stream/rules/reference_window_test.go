package rules

import (
	"math"
	"slices"
)

// refWindows: for every end of a window that has other readings than the one before, all are looked at again.
func refWindows(r refRule, key string, said []refMessage, out refEvents, says saying) {
	said = slices.DeleteFunc(slices.Clone(said), func(m refMessage) bool {
		return !slices.ContainsFunc(r.lets, func(l refLet) bool { return l.takes(m, says) })
	})
	if len(said) == 0 {
		return
	}
	raised, start := false, int64(0)
	judge := func(in []refMessage, end int64) {
		value := func(t refTerm) float64 {
			i := slices.IndexFunc(r.lets, func(l refLet) bool { return l.name == t.metric })
			return r.lets[i].over(in, says)
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

// takes reports whether a message counts for the aggregate.
func (l refLet) takes(m refMessage, says saying) bool {
	if l.agg == "count()" {
		return true
	}
	v := says(l.term(), m)
	return v == v && !(slices.Contains(fenceCalls, l.of.fn) && v == 0)
}

// over is the aggregate of the messages of a window.
func (l refLet) over(in []refMessage, says saying) float64 {
	if l.agg == "count()" {
		return float64(len(in))
	}
	var xs []float64
	var times []int64
	for _, m := range in {
		if l.takes(m, says) {
			xs, times = append(xs, says(l.term(), m)), append(times, m.at)
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
// none is two; the last that is a step is the one the next must follow. Those of one time are as one.
func refSequence(r refRule, key string, said []refMessage, out refEvents, says saying) {
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
	for len(said) > 0 {
		m, n := said[0], 1
		for n < len(said) && said[n].at == m.at {
			n++
		}
		now := said[:n]
		is := func(c refCond) bool {
			return slices.ContainsFunc(now, func(m refMessage) bool { return c.ofMessage(m, says) })
		}
		said = said[n:]
		pass(m.at)
		if raised && r.clear.terms != nil && is(r.clear) {
			end(m.at)
		}
		if r.unlessMs >= 0 && is(r.unless) {
			chains, waits = make([][]int64, len(r.steps)), -1
		}
		for i := last; i >= 0; i-- {
			if !is(r.steps[i]) {
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

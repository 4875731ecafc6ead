package rules

import (
	"math"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"

	"panormus/devices"
	"panormus/stream/batch"
)

// Most readings are of a message of their own or of a few, find no episode of their device and make no
// condition true. The quick way is for those: the rules of a metric lie in a row, the commonest
// conditions as bounds of a slot and not as closures, and nothing is counted rule by rule. What is
// otherwise, in any respect, goes the long way of shard.message; both give the same.

// bounds is a comparison of one metric with a constant: true from lo to hi, or outside where not is set.
type bounds struct {
	lo, hi float64
	slot   int32
	not    bool
}

func (b *bounds) eval(nums []float64) tri {
	v := nums[b.slot]
	if v >= b.lo && v <= b.hi {
		return truth(!b.not)
	}
	if v != v {
		return undecided
	}
	return truth(b.not)
}

type testForm uint8

const (
	formOther testForm = iota // a closure
	formOne
	formAnd
	formOr
)

// A test is a rule's condition in the form that is quickest to evaluate.
type test struct {
	a, b bounds // b of formAnd and formOr
	form testForm
	rule *bound
}

func (t *test) eval(f *frame) tri {
	switch t.form {
	case formOne:
		return t.a.eval(f.nums)
	case formAnd, formOr:
		return t.both(f.nums)
	}
	return t.rule.bare.when(f)
}

// both is formAnd or formOr: one of them decides alone, no or yes.
func (t *test) both(nums []float64) tri {
	decides := no
	if t.form == formOr {
		decides = yes
	}
	a := t.a.eval(nums)
	if a == decides {
		return a
	}
	if b := t.b.eval(nums); b == decides || a != undecided {
		return b
	}
	return undecided
}

// test gives a rule's condition its quickest form.
func (b *binder) test(r *bound, e *expr) test {
	out := test{rule: r}
	if e == nil || b.onlyCEL {
		return out
	}
	t := typed{b, e, e.ast.NativeRep()}
	root := t.rep.Expr()
	if one, ok := t.bounds(root); ok {
		out.form, out.a = formOne, one
		return out
	}
	if root.Kind() != ast.CallKind {
		return out
	}
	call := root.AsCall()
	form, ok := map[string]testForm{operators.LogicalAnd: formAnd, operators.LogicalOr: formOr}[call.FunctionName()]
	if !ok {
		return out
	}
	x, okx := t.bounds(call.Args()[0])
	y, oky := t.bounds(call.Args()[1])
	if okx && oky {
		out.form, out.a, out.b = form, x, y
	}
	return out
}

// bounds is a comparison of a metric with a finite constant as bounds.
func (t typed) bounds(e ast.Expr) (bounds, bool) {
	if e.Kind() != ast.CallKind || len(e.AsCall().Args()) != 2 {
		return bounds{}, false
	}
	op, a, b := e.AsCall().FunctionName(), e.AsCall().Args()[0], e.AsCall().Args()[1]
	if _, ok := literalNum(a); ok {
		a, b, op = b, a, mirrored[op]
	}
	v, isVar := t.variable(a)
	limit, isNum := literalNum(b)
	if !isVar || v.source != fromMetric || v.kind != kindNum || !isNum || limit-limit != 0 {
		return bounds{}, false
	}
	out := bounds{lo: math.Inf(-1), hi: math.Inf(1), slot: int32(t.binder.num[v.name])}
	switch op {
	case operators.Greater:
		out.lo = math.Nextafter(limit, math.Inf(1))
	case operators.GreaterEquals:
		out.lo = limit
	case operators.Less:
		out.hi = math.Nextafter(limit, math.Inf(-1))
	case operators.LessEquals:
		out.hi = limit
	case operators.Equals, operators.NotEquals:
		out.lo, out.hi, out.not = limit, limit, op == operators.NotEquals
	default:
		return bounds{}, false
	}
	return out, true
}

// layQuick puts the rules of each metric in a row, once all are bound.
func (pl *plan) layQuick() {
	everyMessage := false // concerns some rule
	for i := range pl.always {
		everyMessage = everyMessage || pl.always[i]|pl.counting[i] != 0
	}
	for _, m := range pl.metrics {
		m.quick = !everyMessage && m.text < 0 && m.series == nil && pl.fences == nil && !m.posts
		m.pure = true
		for i, r := range pl.rules {
			if m.rules[i/64]>>(i%64)&1 == 1 {
				m.tests = append(m.tests, r.test)
				m.quick = m.quick && !r.gated // by the schedule or the profile, which the quick way does not look at
				m.pure = m.pure && r.test.form != formOther
			}
			if m.windows != nil && m.windows.has(i) {
				m.fills = append(m.fills, r)
				m.quick = m.quick && r.fills(m.num)
			}
		}
	}
	pl.unread.quick = !everyMessage && pl.fences == nil
}

// quickRows applies the messages from row i on that have one reading each and can go the quick way; it returns
// the first row that it did not apply, at the latest end. Of that one it may have moved the clocks already.
func (s *shard) quickRows(o *batch.Observations, i, end int) int {
	n := o.Len()
	doms, devs, codes := o.Domain.Index[:n], o.Device.Index[:n], o.Metric.Index[:n]
	times, receipts, values, qualities := o.Time[:n], o.Received[:n], o.Value[:n], o.Quality[:n]
	metrics, version := len(o.Metric.Values), s.e.registryVersion()
	p, first := &s.past, i
	var lastAt, lastReceived int64
	for ; i < end; i++ {
		dom, dev, at, received, quality := doms[i], devs[i], times[i], receipts[i], qualities[i]
		if j := i + 1; j < n && devs[j] == dev && times[j] == at && receipts[j] == received && doms[j] == dom {
			break
		}
		h, d, v := s.homed[dom], s.held[dev], values[i]
		if d == nil || d.home != h || d.version != version || v != v || h.plan.idle() {
			break
		}
		m := s.metrics[int(dom)*metrics+int(codes[i])]
		if m == nil {
			m = s.metric(h.plan, o, i, int(dom)*metrics)
		}
		if !m.quick {
			break
		}
		if quality&devices.QualityClock != 0 {
			at = received
		}
		if at < d.time {
			break
		}
		if i == first || at != lastAt || received != lastReceived {
			s.moveClocks(i, at, received)
			lastAt, lastReceived = at, received
		}
		tests := uint(len(m.tests))
		if d.gone || d.retuned || d.tunes || d.episodes.n != 0 || s.judged%sampleEvery+tests >= sampleEvery { // one of them is timed
			break
		}
		before := d.time
		d.received, d.time = max(d.received, received), at
		if m.num < 0 {
			if h.plan.redoes {
				s.noteOne(d, -1, at, before, quality)
			}
			continue
		}
		all := d.all(h.plan)
		slots := len(h.plan.nums)
		nums := all[:slots]
		seen, was := &all[slots+m.num], nums[m.num]
		if h.plan.redoes {
			ago := uint64(at - before)
			if *seen == float64(before) && quality == 0 && p.fits(ago) { // as noteOne
				p.newest = max(p.newest, at)
				p.push(d, was, pastBits(m.num, ago)|pastBegins)
			} else {
				s.noteOne(d, m.num, at, before, quality)
			}
		}
		nums[m.num], *seen = v, float64(at)
		if m.settles != "" {
			s.keepOne(d, m, at, v, quality)
		}
		if m.fills != nil {
			s.fill(d, m.fills, at, v)
		}
		if tests == 0 {
			continue
		}
		s.judged += tests
		s.count.quick[m.id]++
		f := &s.frame
		if !m.pure {
			f.nums, f.texts, f.dev, f.now, f.quality = nums, d.texts, d, at, quality
			for next := 0; next < len(m.tests); {
				next = s.testFrom(d, m, next)
			}
			s.begins(d)
			continue
		}
		for j := range m.tests {
			t := &m.tests[j]
			var v tri
			if t.form == formOne {
				v = t.a.eval(nums)
			} else {
				v = t.both(nums)
			}
			if v != no {
				f.nums, f.texts, f.dev, f.now, f.quality, f.failed = nums, d.texts, d, at, quality, false
				s.tested(d, t.rule, v)
			}
		}
		if d.episodes.n != 0 {
			s.begins(d)
		}
	}
	s.count.messages += uint64(i - first)
	return i
}

// begins keeps that a device had no episode before its newest row of the past, where it has one now.
func (s *shard) begins(d *device) {
	if d.episodes.n > 0 && d.plan.redoes {
		s.past.keepEpisodes(d.past, nil)
	}
}

// testFrom is the guarded loop over tests of which some are closures: as judgeFrom.
func (s *shard) testFrom(d *device, m *metricPlan, from int) (next int) {
	f := &s.frame
	defer func() {
		if p := recover(); p != nil {
			s.broke(m.tests[next].rule, p)
			next++
		}
	}()
	for next = from; next < len(m.tests); next++ {
		t := &m.tests[next]
		f.failed = false
		if v := t.eval(f); v != no {
			s.tested(d, t.rule, v)
		}
		if f.why != "" {
			f.afford(t.rule.Rule)
			f.why = ""
		}
	}
	return next
}

// tested takes the result of a condition of a rule that has no episode.
func (s *shard) tested(d *device, r *bound, v tri) {
	c := &s.count.rules[r.global]
	if v != yes {
		c.undecided(&s.frame)
		return
	}
	c.matches++
	s.holds(d, r, nil)
}

// foldQuick adds the evaluations of the quick way to the counts of the rules.
func (s *shard) foldQuick() {
	for id, n := range s.count.quick {
		if n > 0 {
			for _, t := range s.e.prog.quick[id].tests {
				s.count.rules[t.rule.global].evaluations += n
			}
		}
	}
	clear(s.count.quick)
}

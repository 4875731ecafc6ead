package rules

import (
	"math"
	"slices"
	"time"
)

// A series is a function of one metric's readings of one device over time: rate, delta, ewma, zscore or
// stuck. Its state is small whatever the time it looks back: see seriesState.
type series struct {
	fn     string
	metric string
	span   time.Duration
}

// seriesCalls are the functions of a metric and a time.
var seriesCalls = []string{"rate", "delta", "ewma", "zscore", "stuck"}

// String is the call as it is written.
func (s series) String() string {
	if s.span == 0 {
		return s.fn + "(" + s.metric + ")"
	}
	return s.fn + "(" + s.metric + ", " + formatDuration(s.span) + ")"
}

// seriesPlan is a series as devices of one plan keep it.
type seriesPlan struct {
	series
	ms, step int64
}

// Bounds of what a series keeps: rate and delta know the first reading of each step of a thirty-second
// of their time; zscore wants so many readings before it says anything.
const (
	seriesSteps   = 32
	zscoreAtLeast = 10
	maxSeries     = 8 // of one rule
)

// seriesState is what a device keeps of one series: 48 bytes, and 16 a step for rate and delta.
type seriesState struct {
	value float64 // of the function, as of the last reading
	at    int64   // of the last reading, Unix ms
	n     int64   // readings, of zscore
	a, b  float64 // ewma: the average; zscore: the average and the variance; stuck: the value
	since int64   // stuck: when the value was first read
	steps []sample
	base  *baseline // of baseline, whose a is how many spreads the last reading is off
}

type sample struct {
	at int64
	v  float64
}

// take adds a reading at (Unix ms), no older than the last.
func (p *seriesPlan) take(s *seriesState, at int64, v float64) {
	if math.IsInf(v, 0) {
		return
	}
	first := s.at == 0
	old := s.at
	s.at = at
	switch p.fn {
	case "rate", "delta":
		for len(s.steps) > 0 && s.steps[0].at < at-p.ms {
			s.steps = s.steps[1:] // not in place: the past has the same
		}
		if n := len(s.steps); n == 0 || floorDiv(s.steps[n-1].at, p.step) != floorDiv(at, p.step) {
			s.steps = append(s.steps, sample{at, v})
		}
		s.value = nan
		if from := s.steps[0]; from.at < at {
			if s.value = v - from.v; p.fn == "rate" {
				s.value /= float64(at-from.at) / 3600_000
			}
		}
	case "ewma":
		if first {
			s.a = v
		} else {
			s.a += (v - s.a) * -math.Expm1(-float64(at-old)/float64(p.ms))
		}
		s.value = s.a
	case "zscore":
		if s.value = nan; s.n >= zscoreAtLeast && s.b > 0 {
			s.value = (v - s.a) / math.Sqrt(s.b)
		}
		if s.n++; first {
			s.a = v
			return
		}
		// Until the time has passed once, every reading weighs the same: the first is no better than the rest.
		weight := max(-math.Expm1(-float64(at-old)/float64(p.ms)), 1/float64(s.n))
		by := v - s.a
		s.a += weight * by
		s.b = (1 - weight) * (s.b + weight*by*by)
	case "stuck":
		if first || v != s.a {
			s.a, s.since = v, at
		}
		if s.value = 0; at-s.since >= p.ms {
			s.value = 1
		}
	}
}

// takeSeries adds a reading of a metric to the device's series of it.
func (s *shard) takeSeries(d *device, m *metricPlan, at int64, v float64) {
	if v != v {
		return
	}
	if d.series == nil {
		d.own().series = emptySeries(d.plan)
	}
	for _, i := range m.series {
		p, state := &d.plan.series[i], &d.series[i]
		s.keepSeries(d, i)
		if p.fn == "baseline" {
			s.takeBaseline(state, at, v)
		} else {
			p.take(state, at, v)
		}
	}
}

// keepSeries keeps what a series was before the message in hand.
func (s *shard) keepSeries(d *device, i int) {
	if !s.noted.on {
		return
	}
	kept := pastSeries{slot: i, state: d.series[i]}
	if b := kept.state.base; b != nil {
		kept.hour = b.now()
	}
	s.past.series.add(d.past, kept)
}

func emptySeries(pl *plan) []seriesState {
	out := make([]seriesState, len(pl.series))
	for i := range out {
		if out[i].value = nan; pl.series[i].fn == "baseline" {
			out[i].a = nan
		}
	}
	return out
}

// seriesSlot is where devices of the plan keep a series.
func (pl *plan) seriesSlot(s series) int {
	if i := slices.IndexFunc(pl.series, func(p seriesPlan) bool { return p.series == s }); i >= 0 {
		return i
	}
	if s.fn == fenceFn {
		return pl.fenceSlot(s)
	}
	m := pl.metrics[s.metric]
	m.series = append(m.series, len(pl.series))
	ms := s.span.Milliseconds()
	pl.series = append(pl.series, seriesPlan{series: s, ms: ms, step: max(ms/seriesSteps, 1)})
	return len(pl.series) - 1
}

// carrySeries gives a device the series of its next plan, those that the old one had with their state.
func (s *shard) carrySeries(d *device, old, next *plan) {
	kept := d.series
	if kept == nil {
		return
	}
	s.dropBaselines(kept)
	if d.series = nil; len(next.series) == 0 {
		return
	}
	d.series = emptySeries(next)
	for i := range next.series {
		j := slices.IndexFunc(old.series, func(p seriesPlan) bool { return p.series == next.series[i].series })
		if j >= 0 && j < len(kept) {
			if d.series[i] = kept[j]; kept[j].base != nil {
				s.baselines++
			}
		}
	}
}

// writeSeries writes the series of devices, in their order, behind all else of a snapshot.
func (w *writer) writeSeries(all []*device) {
	for _, d := range all {
		w.uint(uint64(len(d.series)))
		for i := range d.series {
			p, s := &d.plan.series[i], &d.series[i]
			w.text(p.fn)
			w.text(p.metric)
			w.int(p.ms)
			w.seriesState(s)
			w.baseline(s.base)
		}
	}
}

// seriesState writes all but the baseline.
func (w *writer) seriesState(s *seriesState) {
	for _, v := range []float64{s.value, s.a, s.b} {
		w.number(v)
	}
	for _, v := range []int64{s.at, s.n, s.since} {
		w.int(v)
	}
	w.uint(uint64(len(s.steps)))
	for _, x := range s.steps {
		w.int(x.at)
		w.number(x.v)
	}
}

func (r *reader) seriesState() seriesState {
	state := seriesState{value: r.number(), a: r.number(), b: r.number(), at: r.int(), n: r.int(), since: r.int()}
	for range r.count() {
		state.steps = append(state.steps, sample{r.int(), r.number()})
	}
	r.bad = r.bad || len(state.steps) > seriesSteps+2
	return state
}

// readSeries reads what writeSeries wrote for a device that has its plan already.
func (s *shard) readSeries(r *reader, d *device) {
	for range r.count() {
		name := series{fn: r.text(), metric: r.text(), span: time.Duration(r.int()) * time.Millisecond}
		state := r.seriesState()
		if r.version >= 3 {
			state.base = r.baseline()
		}
		if r.bad {
			return
		}
		i := slices.IndexFunc(d.plan.series, func(p seriesPlan) bool { return p.series == name })
		if i < 0 || (state.base == nil) == (name.fn == "baseline") && state.at != 0 {
			continue // of a rule that is gone
		}
		if d.series == nil {
			d.own().series = emptySeries(d.plan)
		}
		if d.series[i] = state; state.base != nil {
			s.baselines++
		}
	}
}

package rules

import (
	"cmp"
	"errors"
	"maps"
	"slices"
)

// A function of a column and a time, rate(rssi_dbm, 1h), is of the rows of one thing: of a track of a
// camera, of a camera's zone and class, of a device at a gateway, of a rule's key; of messages it is of a
// device. What has not been heard of for seriesForgetMs and twice the longest time begins anew, but for
// devices and baselines, which are forgotten as devices are.

const seriesForgetMs = 600_000

// seriesKey is one thing of whose rows functions are.
type seriesKey struct {
	rowOwner
	of string // the columns that tell it apart
}

// rowSeries are the functions of all things. Its devices hold nothing but their series.
type rowSeries struct {
	things    map[seriesKey]*device
	swept     int64 // by the newest row, Unix ms
	baselines int   // of all things
}

// thing is what of the kind the row is of; known is false where the row does not say.
func (p *rowProgram) thing(d *device, row *Row) (k seriesKey, known bool) {
	k.rowOwner = rowOwner{row.On, d.id, d.domain}
	if p.kind == nil {
		return k, true
	}
	var of []string
	for _, column := range p.kind.of {
		text := row.text(column)
		known = known || text != ""
		of = append(of, text)
	}
	k.of = thingOf(of)
	return k, known
}

// thingOf is what the columns say by which things are told apart.
func thingOf(columns []string) (of string) {
	for _, text := range columns {
		of += text + "\x00"
	}
	return of
}

// thing is what a device's rows are of; nil where there is none and no room for one.
func (e *RowEngine) thing(k seriesKey, d *device) *device {
	s := &e.series
	t := s.things[k]
	if t != nil && t.plan == d.plan {
		return t
	}
	if len(s.things) >= e.cfg.MaxDevices && t == nil {
		e.count.evicted++ // it is not known; the functions say nothing of it
		return nil
	}
	if s.things == nil {
		s.things = map[seriesKey]*device{}
	}
	s.drop(t)
	t = newRowDevice(d.id, d.domain, d.plan)
	t.series = emptySeries(d.plan)
	s.things[k] = t
	return t
}

// takeSeries adds the row in the device's slots, of a time (Unix ms), to its functions, and makes those
// the device's until the next row.
func (e *RowEngine) takeSeries(p *rowProgram, d *device, row *Row, at int64) {
	d.series = nil // of the last row
	k, known := p.thing(d, row)
	s := &e.series
	if s.things[k] == nil {
		e.sweepSeries(at)
	}
	t := e.thing(k, d)
	if t == nil {
		return
	}
	if p.kind != nil && at > t.time+d.plan.forgetSeries() {
		t.forgetSeries()
	}
	t.time = max(t.time, at)
	for i := range d.plan.series {
		sp, state := &d.plan.series[i], &t.series[i]
		if sp.fn == fenceFn {
			continue
		}
		v := d.nums()[d.plan.metrics[sp.metric].num]
		switch {
		case v != v || at < state.at:
		case sp.fn != "baseline":
			sp.take(state, at, v)
		case state.base != nil || s.newBaseline(e, state):
			state.learn(at, at, v, e.cfg.Location)
		}
	}
	if len(d.plan.fences) > 0 && known {
		lat, lon := d.nums()[d.plan.metrics[positionMetrics[0]].num], d.nums()[d.plan.metrics[positionMetrics[1]].num]
		if lat == lat && lon == lon && at == t.time {
			d.plan.crossFences(e.cfg.Registry, t.series, lat, lon, at)
		}
	}
	d.own().series = t.series
}

// newBaseline is false where there are as many as there may be.
func (s *rowSeries) newBaseline(e *RowEngine, state *seriesState) bool {
	if s.baselines >= e.cfg.MaxBaselines {
		e.count.baselinesRefused++
		return false
	}
	s.baselines++
	state.base = &baseline{}
	return true
}

// drop makes the room of a thing's baselines free; nil has none.
func (s *rowSeries) drop(t *device) {
	if t == nil {
		return
	}
	for i := range t.series {
		if t.series[i].base != nil {
			s.baselines--
		}
	}
}

// forgetSeries is after how long a thing's functions begin anew.
func (pl *plan) forgetSeries() int64 {
	longest := int64(0)
	for i := range pl.series {
		longest = max(longest, pl.series[i].ms)
	}
	return seriesForgetMs + 2*longest
}

// forgetSeries begins the functions of a thing anew, but for its baselines.
func (d *device) forgetSeries() {
	for i, fresh := range emptySeries(d.plan) {
		if d.series[i].base == nil {
			d.series[i] = fresh
		}
	}
}

// sweepSeries drops what would begin anew; it looks at most every few minutes.
func (e *RowEngine) sweepSeries(at int64) {
	s := &e.series
	if at < s.swept+seriesForgetMs/2 {
		return
	}
	s.swept = at
	for k, t := range s.things {
		longest := t.plan.forgetSeries()
		if k.on == onObservations || slices.ContainsFunc(t.series, func(s seriesState) bool { return s.base != nil }) {
			longest = max(longest, e.cfg.Forget.Milliseconds())
		}
		if at > t.time+longest {
			s.drop(t)
			delete(s.things, k)
		}
	}
}

// adopt gives the things the plans that run now, and what of their functions these have.
func (s *rowSeries) adopt(e *RowEngine) {
	carry := &shard{} // which counts baselines
	for k, t := range s.things {
		p := e.programs[k.on]
		if p == nil || len(p.plan(t.domain).series) == 0 {
			delete(s.things, k)
			continue
		}
		next := p.plan(t.domain)
		carry.carrySeries(t, t.plan, next)
		if t.plan = next; t.series == nil {
			t.series = emptySeries(next)
		}
	}
	s.count()
}

// count counts the baselines.
func (s *rowSeries) count() {
	s.baselines = 0
	for _, t := range s.things {
		for i := range t.series {
			if t.series[i].base != nil {
				s.baselines++
			}
		}
	}
}

func (s *rowSeries) write() []byte {
	w := &writer{}
	w.int(s.swept)
	keys := slices.SortedFunc(maps.Keys(s.things), func(a, b seriesKey) int {
		return cmp.Or(cmp.Compare(a.on, b.on), cmp.Compare(a.id, b.id), cmp.Compare(a.domain, b.domain), cmp.Compare(a.of, b.of))
	})
	w.uint(uint64(len(keys)))
	things := make([]*device, len(keys))
	for i, k := range keys {
		things[i] = s.things[k]
		w.texts([]string{k.on, k.id, k.domain, k.of})
		w.int(things[i].time)
	}
	w.writeSeries(things)
	return w.b
}

func (e *RowEngine) readSeries(r *reader) error {
	s := &e.series
	s.swept = r.int()
	var things []*device
	var keys []seriesKey
	for range r.count() {
		k, at := r.texts(), r.int()
		if len(k) != 4 {
			r.bad = true
			break
		}
		t := newRowDevice(k[1], k[2], &plan{})
		t.time = at
		if p := e.programs[k[0]]; p != nil {
			t.plan = p.plan(t.domain)
		}
		things, keys = append(things, t), append(keys, seriesKey{rowOwner{k[0], k[1], k[2]}, k[3]})
	}
	s.things = map[seriesKey]*device{}
	for i, t := range things {
		if (&shard{}).readSeries(r, t); r.bad {
			break
		}
		if len(t.plan.series) > 0 {
			if t.series == nil {
				t.series = emptySeries(t.plan)
			}
			s.things[keys[i]] = t
		}
	}
	if s.count(); r.bad || len(r.b) != 0 {
		return errors.New("read the functions of rules on " + e.on + ": they end early or late")
	}
	return nil
}

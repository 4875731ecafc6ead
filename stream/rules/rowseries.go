package rules

import (
	"cmp"
	"errors"
	"maps"
	"slices"
)

// A function of a column and a time, rate(rssi_dbm, 1h), is of the rows of one thing: of a track of a
// camera, of a camera's zone and class, of a device at a gateway, of a rule's key. What has not been
// heard of for seriesForgetMs and twice the longest time is forgotten, and begins anew.

const seriesForgetMs = 600_000

// seriesKey is one thing of whose rows functions are.
type seriesKey struct {
	rowOwner
	of string // the columns that tell it apart
}

// rowSeries are the functions of all things. Its devices hold nothing but their series.
type rowSeries struct {
	things map[seriesKey]*device
	swept  int64 // by the newest row, Unix ms
}

// takeSeries adds the row in the device's slots, of a time (Unix ms), to its functions, and makes those
// the device's until the next row.
func (e *RowEngine) takeSeries(p *rowProgram, d *device, row *Row, at int64) {
	d.series = nil // of the last row
	k := seriesKey{rowOwner: rowOwner{row.On, d.id, d.domain}}
	for _, column := range p.kind.of {
		k.of += row.text(column) + "\x00"
	}
	s := &e.series
	t := s.things[k]
	if t != nil && t.plan == d.plan && at > t.time+d.plan.forgetSeries() {
		t = nil
	}
	if t == nil || t.plan != d.plan {
		e.sweepSeries(at)
		if len(s.things) >= e.cfg.MaxDevices && s.things[k] == nil {
			e.count.evicted++ // it is not known; the functions say nothing of it
			return
		}
		if s.things == nil {
			s.things = map[seriesKey]*device{}
		}
		t = newRowDevice(d.id, d.domain, d.plan)
		t.series = emptySeries(d.plan)
		s.things[k] = t
	}
	t.time = max(t.time, at)
	for i := range d.plan.series {
		sp := &d.plan.series[i]
		v := d.nums[d.plan.metrics[sp.metric].num]
		if state := &t.series[i]; v == v && at >= state.at {
			sp.take(state, at, v)
		}
	}
	d.series = t.series
}

// forgetSeries is after how long a thing's functions begin anew.
func (pl *plan) forgetSeries() int64 {
	longest := int64(0)
	for i := range pl.series {
		longest = max(longest, pl.series[i].ms)
	}
	return seriesForgetMs + 2*longest
}

// sweepSeries drops what would begin anew; it looks at most every few minutes, or where there is no room.
func (e *RowEngine) sweepSeries(at int64) {
	s := &e.series
	if at < s.swept+seriesForgetMs/2 {
		return
	}
	s.swept = at
	for k, t := range s.things {
		if at > t.time+t.plan.forgetSeries() {
			delete(s.things, k)
		}
	}
}

// adopt gives the things the plans that run now, and what of their functions these have.
func (s *rowSeries) adopt(e *RowEngine) {
	for k, t := range s.things {
		p := e.programs[k.on]
		if p == nil || len(p.plan(t.domain).series) == 0 {
			delete(s.things, k)
			continue
		}
		next := p.plan(t.domain)
		(&shard{}).carrySeries(t, t.plan, next) // a shard counts baselines, of which rows have none
		if t.plan = next; t.series == nil {
			t.series = emptySeries(next)
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
	if r.bad || len(r.b) != 0 {
		return errors.New("read the functions of rules on " + e.on + ": they end early or late")
	}
	return nil
}

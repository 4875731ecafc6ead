package tracks

import (
	"cmp"
	"slices"

	"panormus/stream/batch"
)

// A minute is what happened in one minute of event time, until it cannot be told again.
type minute struct {
	start     int64
	stays     []stay
	crossings []crossing
	tallies   map[cellKey]*tally
	gauges    map[levelKey]*levelled
	told      map[cellKey]cell // what was told of it last
	dirty     bool
}

// A stay is a visit's part in a minute.
type stay struct {
	tr       *track
	zone     uint16
	first    bool // of the track in the zone in the minute
	entered  bool // the visit begins here
	left     bool // and ends here
	from, to int64
	lasted   int64 // the visit, where it ends here
	speed    float64
	speeds   int64
	still    []span
}

type span struct{ from, to int64 }

// maxSpans is how often an object may come to a stand in a stay; beyond, two of them are one.
const maxSpans = 8

// stand adds that the object stood still.
func (s *stay) stand(from, to int64) {
	if n := len(s.still); n > 0 && (from <= s.still[n-1].to || n >= maxSpans) {
		s.still[n-1].to = max(s.still[n-1].to, to)
		return
	}
	s.still = append(s.still, span{from, to})
}

type crossing struct {
	tr    *track
	line  uint16
	class uint8
	out   bool
}

type cellKey struct {
	zone  uint16
	class uint8
}

type tally struct{ in, out, seen int64 }

func (k *tally) cross(out bool, n int64) {
	if out {
		k.out += n
	} else {
		k.in += n
	}
}

type levelled struct {
	sum float64 // of value times ms
	ms  int64
	max float64
}

// minute is the one that t lies in; nil where it cannot be told any more.
func (c *camera) minute(t int64) *minute {
	start := minuteOf(t)
	n := len(c.minutes)
	for i := n - 1; i >= 0; i-- {
		if c.minutes[i].start == start {
			return c.minutes[i]
		}
		if c.minutes[i].start < start {
			break
		}
		n = i
	}
	if start < c.dropped {
		return nil
	}
	m := &minute{start: start, tallies: map[cellKey]*tally{}, gauges: map[levelKey]*levelled{}, told: map[cellKey]cell{}}
	c.minutes = slices.Insert(c.minutes, n, m)
	return m
}

// held is the minute that begins at start, nil where it is gone.
func (c *camera) held(start int64) *minute {
	for i := len(c.minutes) - 1; i >= 0; i-- {
		if c.minutes[i].start == start {
			return c.minutes[i]
		}
	}
	return nil
}

func (m *minute) tally(zone uint16, class uint8) *tally {
	k := cellKey{zone, class}
	if m.tallies[k] == nil {
		m.tallies[k] = &tally{}
	}
	return m.tallies[k]
}

func (m *minute) level(key levelKey) *levelled {
	if m.gauges[key] == nil {
		m.gauges[key] = &levelled{}
	}
	return m.gauges[key]
}

// A cell is what a Count tells.
type cell struct {
	in, out, seen int64
	average       float64
	most          int64
	dwellMs       int64
	visits        int64
	speed         float64
	speeds        int64
	queue         int64
	stale         bool // what was told is not known
}

// An edge is where one more or one less is there.
type edge struct {
	key   cellKey
	queue bool
	t     int64
	step  int8
}

// cells makes the cells of a minute of what is known now.
func (c *camera) cells(m *minute) map[cellKey]cell {
	out := make(map[cellKey]cell, len(m.told))
	c.spans = c.spans[:0]
	add := func(key cellKey, f func(*cell)) {
		x := out[key]
		f(&x)
		out[key] = x
	}
	between := func(key cellKey, queue bool, from, to int64) {
		c.spans = append(c.spans, edge{key, queue, from, 1}, edge{key, queue, to, -1})
	}
	for i := range m.stays {
		s := &m.stays[i]
		if s.tr.part() {
			continue
		}
		key := cellKey{s.zone, s.tr.best}
		x := out[key]
		x.in, x.seen = x.in+count(s.entered), x.seen+count(s.first)
		if s.left {
			x.out, x.visits, x.dwellMs = x.out+1, x.visits+1, x.dwellMs+s.lasted
		}
		if s.speeds > 0 {
			x.speed, x.speeds = x.speed+s.speed/float64(s.speeds), x.speeds+1
		}
		x.average += float64(s.to - s.from)
		out[key] = x
		between(key, false, s.from, s.to)
		for _, q := range s.still {
			between(key, true, q.from, q.to)
		}
	}
	for _, e := range m.crossings {
		if e.tr.part() {
			continue
		}
		class := orUnknown(e.class)
		if e.tr.best != classUnknown {
			class = e.tr.best
		}
		add(cellKey{e.line, class}, func(x *cell) { x.in, x.out = x.in+count(!e.out), x.out+count(e.out) })
	}
	for key, t := range m.tallies {
		add(key, func(x *cell) { x.in, x.out, x.seen = x.in+t.in, x.out+t.out, x.seen+t.seen })
	}
	visit := func(g *guest) {
		to := g.to
		if to == 0 {
			to = max(c.clock, g.from)
		}
		if g.from >= m.start+minuteMs || to < m.start || g.to == m.start && g.from < m.start && !g.out {
			return
		}
		key := cellKey{g.zone, orUnknown(g.class)}
		from, until := max(g.from, m.start), min(to, m.start+minuteMs)
		add(key, func(x *cell) {
			x.seen++
			x.in += count(g.in && g.from >= m.start)
			if g.out && g.to < m.start+minuteMs {
				x.out, x.visits, x.dwellMs = x.out+1, x.visits+1, x.dwellMs+g.to-g.from
			}
			x.average += float64(until - from)
		})
		between(key, false, from, until)
	}
	for i := range c.gone {
		visit(&c.gone[i])
	}
	for _, g := range c.guests {
		visit(g)
	}
	c.sweep(out)
	for key, x := range out {
		x.average /= minuteMs
		out[key] = x
	}
	for key, l := range m.gauges {
		add(cellKey{key.zone, key.class}, func(x *cell) {
			if key.sub == subQueue {
				x.queue = int64(l.max)
				return
			}
			x.most, x.average = int64(l.max), 0
			if l.ms > 0 {
				x.average = l.sum / float64(l.ms)
			}
		})
	}
	return out
}

// sweep finds the most that were there, and stood still, at once. One that comes the moment another
// goes was there with it.
func (c *camera) sweep(out map[cellKey]cell) {
	slices.SortFunc(c.spans, func(a, b edge) int {
		return cmp.Or(cmp.Compare(a.key.zone, b.key.zone), cmp.Compare(a.key.class, b.key.class), cmp.Compare(count(a.queue), count(b.queue)),
			cmp.Compare(a.t, b.t), cmp.Compare(b.step, a.step))
	})
	there := int64(0)
	for i, e := range c.spans {
		if i > 0 && (e.key != c.spans[i-1].key || e.queue != c.spans[i-1].queue) {
			there = 0
		}
		if there += int64(e.step); e.step < 0 {
			continue
		}
		x := out[e.key]
		if e.queue {
			x.queue = max(x.queue, there)
		} else {
			x.most = max(x.most, there)
		}
		out[e.key] = x
	}
}

func count(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// tellMinute tells the cells of a minute that are not as they were told.
func (c *camera) tellMinute(m *minute, phase uint64) {
	now := c.cells(m)
	m.dirty = false
	keys := make([]cellKey, 0, len(now)+len(m.told))
	for key := range now {
		keys = append(keys, key)
	}
	for key := range m.told {
		if _, ok := now[key]; !ok {
			keys = append(keys, key) // told, and proved wrong
		}
	}
	slices.SortFunc(keys, func(a, b cellKey) int { return cmp.Or(cmp.Compare(a.zone, b.zone), cmp.Compare(a.class, b.class)) })
	for _, key := range keys {
		x, was := now[key], m.told[key]
		if x == was {
			continue
		}
		m.told[key] = x
		c.s.counts = append(c.s.counts, batch.Count{
			Time: at(m.start), Received: at(c.received), Camera: c.id, Zone: c.names[key.zone], Class: classNames[key.class],
			In: x.in, Out: x.out, Seen: x.seen, OccupancyAvg: x.average, OccupancyMax: x.most, DwellS: float64(x.dwellMs) / 1000, Visits: x.visits,
			SpeedSumMps: x.speed, SpeedN: x.speeds, QueueMax: x.queue, Purpose: c.purpose, Version: c.seq<<2 | phase,
		})
		c.s.stats.Counts++
	}
}

package rules

import (
	"cmp"
	"math"
	"slices"
	"strings"
)

// The board holds the latest readings of what rules ask of other devices: zone_avg("no2_ugm3"),
// neighbours_max("temp_c", 300), of("gauge-1", "level_mm"). It is in the shared shard and moves in the log's
// order, so that an answer does not depend on how partitions are read.

// Bounds of the board.
const (
	boardSamples  = 4        // newest readings of a device and metric that are kept
	maxZoneValues = 4096     // devices of a zone that have a metric
	maxNeighbours = 64       // the nearest that count
	maxRadius     = 5000     // metres
	boardHourMs   = 3600_000 // how long a reading counts where no period is known
	cellDegrees   = 0.01     // of the grid
	maxJoins      = 8        // of one rule
)

// A post is a reading for the board.
type post struct {
	seq      uint64
	n        int
	id       string
	domain   string
	zone     string
	lat, lon float64 // NaN where it is not known
	stands   int64   // ms
	metric   string
	at       int64
	v        float64
}

// A join is what a rule asks of other devices.
type join struct {
	name   string // as it is written
	fn     string // avg, min, max, sum or count, of a zone or of neighbours; of
	near   bool
	metric string
	class  string   // of counts, whose column metric is; "" for a metric of devices
	device textFunc // of `of`
	metres numFunc  // of neighbours
}

type boardKey struct{ id, domain, metric string }

// boardValue is one device's readings of one metric, the newest first.
type boardValue struct {
	boardKey
	zone     string
	lat, lon float64
	stands   int64
	counted  bool // it is a camera's count
	samples  []sample
}

func newBoardValue(k boardKey) *boardValue {
	return &boardValue{boardKey: k, lat: nan, lon: nan, counted: strings.Contains(k.metric, countMark)}
}

// compare orders readings of one metric by their devices.
func (v *boardValue) compare(o *boardValue) int {
	return cmp.Or(strings.Compare(v.id, o.id), strings.Compare(v.domain, o.domain))
}

type boardCell struct {
	metric   string
	lat, lon int32
}

type zoneMetric struct{ zone, metric string }

type deviceMetric struct{ id, metric string }

type board struct {
	values  map[boardKey]*boardValue
	zones   map[zoneMetric][]*boardValue
	cells   map[boardCell][]*boardValue
	devices map[deviceMetric][]*boardValue
	clock   int64 // newest event time
	swept   int64
	refused uint64 // for want of room, since asked
	near    []nearValue
}

type nearValue struct {
	metres float64
	*boardValue
}

func newBoard() *board {
	return &board{values: map[boardKey]*boardValue{}, zones: map[zoneMetric][]*boardValue{}, cells: map[boardCell][]*boardValue{}, devices: map[deviceMetric][]*boardValue{}}
}

func cellOf(metric string, lat, lon float64) boardCell {
	return boardCell{metric, int32(math.Floor(lat / cellDegrees)), int32(math.Floor(lon / cellDegrees))}
}

// take puts a reading up; most is how many devices' metrics there may be.
func (b *board) take(p *post, most int, forget int64) {
	k := boardKey{p.id, p.domain, p.metric}
	v := b.values[k]
	if v == nil {
		if len(b.values) >= most || len(b.zones[zoneMetric{p.zone, p.metric}]) >= maxZoneValues {
			b.refused++
			return
		}
		v = newBoardValue(k)
		b.values[k] = v
		d := deviceMetric{k.id, k.metric}
		b.devices[d] = append(b.devices[d], v)
	}
	b.move(v, p.zone, p.lat, p.lon)
	v.stands = p.stands
	i := 0
	for i < len(v.samples) && v.samples[i].at > p.at {
		i++
	}
	if i < boardSamples {
		if len(v.samples) == boardSamples {
			v.samples = v.samples[:boardSamples-1]
		}
		v.samples = slices.Insert(v.samples, i, sample{p.at, p.v})
	}
	if b.clock = max(b.clock, p.at); b.clock-b.swept > boardHourMs {
		b.swept = b.clock
		b.sweep(b.clock - forget)
	}
}

// move notes where a device is.
func (b *board) move(v *boardValue, zone string, lat, lon float64) {
	if zone != v.zone {
		remove(b.zones, zoneMetric{v.zone, v.metric}, v)
		if v.zone = zone; zone != "" {
			z := zoneMetric{zone, v.metric}
			i, _ := slices.BinarySearchFunc(b.zones[z], v, (*boardValue).compare)
			b.zones[z] = slices.Insert(b.zones[z], i, v)
		}
	}
	if lat == v.lat && lon == v.lon || lat != lat {
		return
	}
	if v.lat == v.lat {
		remove(b.cells, cellOf(v.metric, v.lat, v.lon), v)
	}
	v.lat, v.lon = lat, lon
	c := cellOf(v.metric, lat, lon)
	b.cells[c] = append(b.cells[c], v)
}

func remove[K comparable](all map[K][]*boardValue, k K, v *boardValue) {
	list := all[k]
	if i := slices.Index(list, v); i >= 0 {
		if list = slices.Delete(list, i, i+1); len(list) == 0 {
			delete(all, k)
			return
		}
		all[k] = list
	}
}

// sweep forgets what has not been heard of since a time.
func (b *board) sweep(before int64) {
	for k, v := range b.values {
		if v.samples[0].at < before {
			delete(b.values, k)
			remove(b.zones, zoneMetric{v.zone, v.metric}, v)
			remove(b.devices, deviceMetric{v.id, v.metric}, v)
			if v.lat == v.lat {
				remove(b.cells, cellOf(v.metric, v.lat, v.lon), v)
			}
		}
	}
}

// at is the newest reading not after a time, if it still stands then. A count that does not is 0: nobody is
// not counted.
func (v *boardValue) at(now int64) (float64, bool) {
	for _, s := range v.samples {
		switch {
		case s.at > now:
		case now-s.at <= v.stands:
			return s.v, true
		default:
			return 0, v.counted
		}
	}
	return 0, false
}

// answer is what a join comes to for the frame's device at the frame's time. NaN: not known.
func (b *board) answer(f *frame, j *join) float64 {
	switch {
	case j.fn == "of":
		newest, at := nan, int64(math.MinInt64)
		id, _ := j.device(f)
		for _, v := range b.devices[deviceMetric{id, j.boardMetric()}] { // one, or the id is of several domains
			if x, ok := v.at(f.now); ok && v.samples[0].at > at {
				newest, at = x, v.samples[0].at
			}
		}
		return newest
	case j.near:
		return b.neighbours(f, j)
	}
	zone := cmp.Or(f.zone, f.asset().Zone)
	if zone == "" {
		return nan
	}
	var t tally
	for _, v := range b.zones[zoneMetric{zone, j.boardMetric()}] {
		if x, ok := v.at(f.now); ok {
			t.add(x)
		}
	}
	return t.result(j.fn)
}

// neighbours is of the nearest other devices within the metres.
func (b *board) neighbours(f *frame, j *join) float64 {
	lat, lon, within := f.lat, f.lon, j.metres(f)
	if lat != lat || !(within > 0) {
		return nan
	}
	const metres = 6_371_008.8 * math.Pi / 180 // a degree
	north := within / metres
	east := within / (metres * max(math.Cos(lat*math.Pi/180), 0.01))
	metric := j.boardMetric()
	low, high := cellOf(metric, lat-north, lon-east), cellOf(metric, lat+north, lon+east)
	b.near = b.near[:0]
	for y := low.lat; y <= high.lat; y++ {
		for x := low.lon; x <= high.lon; x++ {
			for _, v := range b.cells[boardCell{metric, y, x}] {
				if v.id == f.dev.id && v.domain == f.dev.domain {
					continue
				}
				if d := distanceM(lat, lon, v.lat, v.lon); d <= within {
					if _, ok := v.at(f.now); ok {
						b.near = append(b.near, nearValue{d, v})
					}
				}
			}
		}
	}
	slices.SortFunc(b.near, func(p, q nearValue) int {
		return cmp.Or(cmp.Compare(p.metres, q.metres), p.compare(q.boardValue))
	})
	var t tally
	for _, v := range b.near[:min(len(b.near), maxNeighbours)] {
		x, _ := v.at(f.now)
		t.add(x)
	}
	return t.result(j.fn)
}

// tally reckons what joins come to. Values come in the order of their devices, so that a sum is the same
// to the last bit however the board was filled.
type tally struct{ n, sum, least, most float64 }

func (t *tally) add(v float64) {
	if t.n == 0 {
		t.least, t.most = v, v
	}
	t.n++
	t.sum += v
	t.least, t.most = min(t.least, v), max(t.most, v)
}

func (t *tally) result(fn string) float64 {
	switch {
	case fn == "count":
		return t.n
	case t.n == 0:
		return nan
	case fn == "min":
		return t.least
	case fn == "max":
		return t.most
	case fn == "avg":
		return t.sum / t.n
	}
	return t.sum
}

// placed is where the frame's device is: by what it last reported, else by the registry.
func (f *frame) placed() (lat, lon float64) {
	if m := f.dev.plan; m != nil {
		a, b := m.metrics[positionMetrics[0]], m.metrics[positionMetrics[1]]
		if a != nil && b != nil && a.num >= 0 && b.num >= 0 {
			if lat, lon = f.nums[a.num], f.nums[b.num]; lat == lat && lon == lon {
				return lat, lon
			}
		}
	}
	return f.position()
}

func (w *writer) board(b *board) {
	keys := make([]*boardValue, 0, len(b.values))
	for _, v := range b.values {
		keys = append(keys, v)
	}
	slices.SortFunc(keys, func(p, q *boardValue) int {
		return cmp.Or(strings.Compare(p.id, q.id), strings.Compare(p.domain, q.domain), strings.Compare(p.metric, q.metric))
	})
	w.int(b.clock)
	w.int(b.swept)
	w.uint(uint64(len(keys)))
	for _, v := range keys {
		w.texts([]string{v.id, v.domain, v.metric, v.zone})
		w.number(v.lat)
		w.number(v.lon)
		w.int(v.stands)
		w.uint(uint64(len(v.samples)))
		for _, s := range v.samples {
			w.time(s.at)
			w.number(s.v)
		}
	}
}

func (r *reader) board() *board {
	b := newBoard()
	b.clock, b.swept = r.int(), r.int()
	for range r.count() {
		about := r.texts()
		if len(about) != 4 {
			r.bad = true
			return b
		}
		v := newBoardValue(boardKey{about[0], about[1], about[2]})
		lat, lon := r.number(), r.number()
		v.stands = r.int()
		for range r.count() {
			v.samples = append(v.samples, sample{r.time(), r.number()})
		}
		if n := len(v.samples); n == 0 || n > boardSamples {
			r.bad = true
			return b
		}
		b.values[v.boardKey] = v
		d := deviceMetric{v.id, v.metric}
		b.devices[d] = append(b.devices[d], v)
		b.move(v, about[3], lat, lon)
	}
	return b
}

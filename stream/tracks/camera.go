package tracks

import (
	"math"
	"slices"
	"strings"

	"panormus/devices"
	"panormus/stream/batch"
)

// A camera is all that is known of one.
type camera struct {
	s       *shard
	id      string
	asset   *devices.Asset
	areas   []area
	names   []string // of zones, lines and rules; 0 is the whole view
	nameOf  map[string]uint16
	purpose string

	waiting  []row // those from head on, in order unless unsorted
	head     int
	unsorted bool

	newest   int64 // time told
	ahead    int64 // a time far beyond newest that nothing has confirmed yet
	clock    int64 // everything up to here is taken
	seq      uint64
	received int64 // newest of a row taken

	tracks   map[string]*track
	births   map[string]birth
	expiry   int64     // no track ends before
	minutes  []*minute // in order
	dropped  int64     // minutes that begin before it cannot be told again
	counters map[levelKey]*counter
	gauges   map[levelKey]*gauge
	guests   map[guestKey]*guest // now inside
	gone     []guest             // not long ago
	loose    []uint8             // classes of objects without id in the last frame that had any
	due      bool                // a minute has ended, or one that had is not what was told

	// Of the time of this process.
	heard   int64 // when it was last heard
	touched bool  // since the last tick
	quiet   uint8 // what its silence has already led to

	frameRows []*row // memory of frame
	inFrame   []*track
	moved     []float64
	spans     []edge
}

// A birth is a track that is to come out of another.
type birth struct {
	parent string
	t      int64
}

func newCamera(s *shard, id string) *camera {
	return &camera{
		s: s, id: strings.Clone(id), names: []string{""}, nameOf: map[string]uint16{"": 0}, tracks: map[string]*track{}, births: map[string]birth{},
		expiry: math.MaxInt64, counters: map[levelKey]*counter{}, gauges: map[levelKey]*gauge{}, guests: map[guestKey]*guest{},
	}
}

// name is the number of a zone or line; the whole view where there are too many.
func (c *camera) name(s string) uint16 {
	if s == "" {
		return 0
	}
	if i, ok := c.nameOf[s]; ok {
		return i
	}
	if len(c.names) >= maxNames {
		c.s.stats.Refused++
		return 0
	}
	i := uint16(len(c.names))
	c.names, c.nameOf[s] = append(c.names, s), i
	return i
}

func (c *camera) row(d *batch.Detections, i int) row {
	r := row{
		t: d.Time[i], received: d.Received[i], expires: d.Expires[i], track: d.Track.At(i), lat: d.Lat[i], lon: d.Lon[i],
		left: d.BoxLeft[i], top: d.BoxTop[i], right: d.BoxRight[i], bottom: d.BoxBottom[i], score: d.Score[i], speed: d.SpeedMps[i],
		what: c.s.whats[d.What.Index[i]], class: c.s.classes[d.Class.Index[i]], word: c.s.vendor[d.VendorClass.Index[i]], quality: d.Quality[i],
	}
	if !(known(r.left) && known(r.top) && known(r.right) && known(r.bottom)) {
		r.left, r.right, r.top, r.bottom = d.CenterX[i], d.CenterX[i], d.CenterY[i], d.CenterY[i]
		if !(known(r.left) && known(r.top)) {
			nan := float32(math.NaN())
			r.left, r.right, r.top, r.bottom = nan, nan, nan, nan
		}
	}
	if z := d.Zone.At(i); z != "" {
		r.zone = c.name(z)
	}
	plate, attributes := d.PlateHash.At(i), d.Attributes.At(i)
	if r.what == whatObject && plate == "" && attributes == "" || r.what == whatFrame {
		return r
	}
	r.more = &more{other: d.Other.At(i), direction: d.Direction.At(i), plate: plate, attributes: attributes, value: d.Value[i]}
	if r.what != whatObject {
		r.more.rule = c.name(d.Rule.At(i))
	}
	return r
}

// begin notes that the rows that follow are of batch seq.
func (c *camera) begin(seq uint64) {
	c.seq, c.touched, c.quiet = seq, true, 0
	c.look()
}

// look sees what the registry says of the camera now.
func (c *camera) look() {
	if reg := c.s.cfg.Registry; reg != nil {
		if a := reg.Lookup(c.id); a != c.asset {
			c.asset, c.areas = a, c.areasOf(a)
		}
	}
}

// mark is the time up to which rows are in order.
func (c *camera) mark() int64 { return max(c.newest-latenessMs, c.clock) }

// take files a row, or counts it late.
func (c *camera) take(r *row) {
	if c.newest != 0 && r.t <= c.mark() {
		c.flush(c.mark())
		c.late(r)
		return
	}
	switch {
	case r.t <= c.newest:
		c.ahead = 0
	case c.newest == 0 || r.t <= r.received+ownClockMs || r.t <= c.newest+aheadMs || c.ahead != 0 && c.ahead != r.t:
		c.newest, c.ahead = r.t, 0
	default:
		c.ahead = r.t
	}
	c.wait(r)
	if len(c.waiting)-c.head > maxWaiting {
		c.sort()
		to := c.waiting[c.head+maxWaiting/10].t
		before := len(c.waiting) - c.head
		c.newest = max(c.newest, to+latenessMs)
		c.flush(to)
		c.s.stats.Hurried += uint64(before - (len(c.waiting) - c.head))
	}
}

// wait adds a row in its place.
func (c *camera) wait(r *row) {
	const far = 256 // rows to move by hand; beyond, all are sorted once
	n := len(c.waiting)
	c.waiting = append(c.waiting, *r)
	if c.unsorted {
		return
	}
	i := n
	for i > c.head && n-i < far && c.compare(r, &c.waiting[i-1]) < 0 {
		i--
	}
	if i == n {
		return
	}
	if i > c.head && n-i == far && c.compare(r, &c.waiting[i-1]) < 0 {
		c.unsorted = true
		return
	}
	copy(c.waiting[i+1:], c.waiting[i:n])
	c.waiting[i] = *r
}

func (c *camera) sort() {
	if c.unsorted {
		rest := c.waiting[c.head:]
		slices.SortStableFunc(rest, func(a, b row) int { return c.compare(&a, &b) })
		c.unsorted = false
	}
}

// flush takes the rows up to a time, frame by frame, and sets the clock there.
func (c *camera) flush(to int64) {
	c.sort()
	for c.head < len(c.waiting) && c.waiting[c.head].t <= to {
		t := c.waiting[c.head].t
		end := c.head + 1
		for end < len(c.waiting) && c.waiting[end].t == t {
			end++
		}
		c.advance(t)
		c.frame(c.waiting[c.head:end])
		clear(c.waiting[c.head:end])
		c.head = end
	}
	if c.head > len(c.waiting)/2 {
		n := copy(c.waiting, c.waiting[c.head:])
		clear(c.waiting[n:])
		c.waiting, c.head = c.waiting[:n], 0
	}
	if c.newest != 0 {
		c.advance(to)
	}
}

// late takes a row that is older than the clock, as far as its minute can still be told again.
func (c *camera) late(r *row) {
	if start := minuteOf(r.t); start < c.dropped || start+minuteMs+keptMs <= c.clock {
		c.s.stats.Dropped++
		return
	}
	c.s.stats.Late++
	c.due = true
	c.frame([]row{*r})
}

// advance sets the clock and ends what has ended by then.
func (c *camera) advance(to int64) {
	if c.clock == 0 {
		c.clock = to
		c.dropped = minuteOf(to) - keptMs
	}
	for {
		next := minuteOf(c.clock) + minuteMs
		if to < next {
			break
		}
		c.expire(next)
		if len(c.guests) == 0 && len(c.gauges) == 0 && to-next > minuteMs+resumeMs {
			// Nothing happens until shortly before to.
			next = minuteOf(to - resumeMs)
			c.expire(next)
		}
		c.levels(next)
		c.clock, c.due = next, true
		c.drop(next)
	}
	if to > c.clock {
		c.clock = to
	}
	if c.clock > c.expiry {
		c.expire(c.clock)
	}
}

// drop lets go of minutes that are not told again. What is told last is of one moment of event
// time, whatever came in one batch.
func (c *camera) drop(now int64) {
	n := 0
	for n < len(c.minutes) && c.minutes[n].start+minuteMs+keptMs <= now {
		c.tellMinute(c.minutes[n], 0)
		n++
	}
	if n > 0 {
		c.minutes = slices.Delete(c.minutes, 0, n)
	}
	c.dropped = max(c.dropped, minuteOf(now)-keptMs)
	c.gone = slices.DeleteFunc(c.gone, func(g guest) bool { return g.to+minuteMs+keptMs <= now })
}

// tell tells the minutes that have ended and are not what was told. The phase tells apart what is
// told of one sequence of the log: by its rows, and by the silence after them.
func (c *camera) tell(phase uint64) {
	if !c.due {
		return
	}
	c.due = false
	for _, m := range c.minutes {
		if m.dirty && m.start+minuteMs <= c.clock {
			c.tellMinute(m, phase)
		}
	}
}

// tick is told the time of this process when nothing on the log is unread.
func (c *camera) tick(now int64) {
	if c.touched || c.heard == 0 {
		c.heard, c.touched = now, false
		return
	}
	c.look()
	silent := now - c.heard
	if silent >= latenessMs && c.head < len(c.waiting) {
		c.sort()
		last := c.waiting[len(c.waiting)-1].t
		c.newest, c.ahead = max(c.newest, last), 0
		c.flush(last)
		c.tell(1)
	}
	if c.newest == 0 {
		return
	}
	if c.quiet < 1 && silent >= minuteOf(c.newest)+minuteMs-c.newest+latenessMs {
		c.quiet = 1
		c.flush(c.newest)
		c.tellAll(1)
	}
	if c.quiet < 2 && silent >= resumeMs+latenessMs {
		c.quiet = 2
		for _, t := range c.sorted() {
			c.close(t)
		}
		c.tellAll(2)
	}
	if silent >= forgottenMs {
		clear(c.tracks)
	}
}

// tellAll tells all minutes, the one that has not ended too.
func (c *camera) tellAll(phase uint64) {
	for _, m := range c.minutes {
		c.tellMinute(m, phase)
	}
	c.due = false
}

// end ends everything, for a camera that is let go.
func (c *camera) end() {
	if c.newest == 0 {
		return
	}
	c.sort()
	if n := len(c.waiting); n > c.head {
		c.newest = max(c.newest, c.waiting[n-1].t)
	}
	c.flush(c.newest)
	for _, t := range c.sorted() {
		c.close(t)
	}
	c.tellAll(2)
}

func minuteOf(t int64) int64 { return t - ((t%minuteMs)+minuteMs)%minuteMs }

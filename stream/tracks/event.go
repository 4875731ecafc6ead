package tracks

import (
	"math"

	"panormus/devices"
)

// A levelKey names a counter or a gauge of a camera.
type levelKey struct {
	zone  uint16
	class uint8
	sub   uint8 // a gauge's kind, a counter's direction
}

const (
	subOccupancy uint8 = iota
	subQueue
)

// A counter only grows until it is reset.
type counter struct {
	value float64
	t     int64
}

// A gauge holds until it is told again or kept for too long.
type gauge struct {
	value float64
	at    int64 // accounted for up to here
	told  int64
	keep  int64
}

// most that a counter may move by at once, or a gauge tell.
const mostObjects = 1e6

// A guestKey names an object that only events tell of.
type guestKey struct {
	zone  uint16
	track string
}

// A guest is an object in a zone that only events tell of.
type guest struct {
	zone     uint16
	class    uint8
	from, to int64 // to is 0 while it is inside
	in, out  bool  // its coming and going count
}

// zoned is what an event is about: the zone, or where there is none the rule.
func (r *row) zoned() uint16 {
	if r.zone != 0 {
		return r.zone
	}
	return r.more.rule
}

// event takes a row that is no object's.
func (c *camera) event(r *row) {
	switch r.what {
	case whatEntered:
		c.enter(r, r.track != "", true)
	case whatLeft:
		c.exit(r, true)
	case whatInside:
		if r.more.value >= 0.5 {
			c.enter(r, true, true)
		} else {
			c.exit(r, false)
		}
	case whatLine:
		line := r.more.rule
		if line == 0 {
			line = r.zone
		}
		c.cross(r.t, line, c.known(r), r.class, isOut(r.more.direction))
	case whatCount:
		c.counted(r, false)
	case whatOccupancy:
		c.gauged(r, subOccupancy)
	case whatQueue:
		c.gauged(r, subQueue)
	case whatPlate:
		c.readPlate(r)
	case whatTrack:
		c.whole(r)
	}
}

// refresh takes a state that was told before: it sets what is so and counts nothing.
func (c *camera) refresh(r *row) {
	switch r.what {
	case whatInside:
		if r.more.value >= 0.5 {
			c.enter(r, true, false)
		} else if g := c.guests[guestKey{r.zoned(), r.track}]; g != nil {
			c.bye(guestKey{r.zoned(), r.track}, max(r.t, g.from), false)
		}
	case whatCount:
		c.counted(r, true)
	case whatOccupancy:
		c.gauged(r, subOccupancy)
	case whatQueue:
		c.gauged(r, subQueue)
	}
}

// known is the track an event is about, or nil. The event is a sign of it.
func (c *camera) known(r *row) *track {
	if r.track == "" {
		return nil
	}
	tr := c.find(r.track, r.t)
	if tr == nil || r.t < tr.start {
		return nil
	}
	if tr.told {
		c.reopen(tr)
	}
	if r.more.plate != "" {
		c.plate(tr, r)
	}
	tr.last, tr.received = max(tr.last, r.t), max(tr.received, r.received)
	return tr
}

func (c *camera) enter(r *row, held, counts bool) {
	zone := r.zoned()
	if zone == 0 {
		return
	}
	if tr := c.known(r); tr != nil {
		if v := tr.visit(zone); v == nil || !v.open {
			c.join(tr, zone, r.t, byEvent)
			if v = tr.visit(zone); v != nil && v.open && !counts {
				if m := c.held(v.minute); m != nil {
					m.stays[v.stay].entered = false
				}
			}
		}
		return
	}
	if !held { // nothing will tell which one leaves
		c.cross(r.t, zone, nil, r.class, false)
		return
	}
	key := guestKey{zone, r.track}
	if _, inside := c.guests[key]; inside {
		return
	}
	if len(c.guests) >= maxGuests {
		c.s.stats.Refused++
		return
	}
	if m := c.minute(r.t); m != nil {
		m.dirty = true
		c.guests[key] = &guest{zone: zone, class: r.class, from: r.t, in: counts}
	}
}

// exit takes an object out of a zone; always counts one that was never seen to come in.
func (c *camera) exit(r *row, always bool) {
	zone := r.zoned()
	if zone == 0 {
		return
	}
	tr := c.known(r)
	if tr != nil {
		if v := tr.visit(zone); v != nil && v.open {
			c.join(tr, zone, r.t, v.by)
			c.leave(v)
			return
		}
	}
	key := guestKey{zone, r.track}
	if g := c.guests[key]; g != nil {
		if r.t >= g.from {
			c.bye(key, r.t, true)
		}
		return
	}
	if always {
		c.cross(r.t, zone, tr, r.class, true)
	}
}

// bye ends a guest's stay.
func (c *camera) bye(key guestKey, t int64, counts bool) {
	g := c.guests[key]
	delete(c.guests, key)
	g.to, g.out = t, counts
	if m := c.minute(t); m != nil {
		m.dirty = true
	}
	if len(c.gone) >= maxStays {
		c.s.stats.Refused++
		return
	}
	c.gone = append(c.gone, *g)
}

// cross counts an object that went over a line or, without a visit, into or out of a zone.
func (c *camera) cross(t int64, line uint16, tr *track, class uint8, out bool) {
	m := c.minute(t)
	if m == nil {
		c.s.stats.Dropped++
		return
	}
	m.dirty = true
	if tr == nil || len(m.crossings) >= maxEvents {
		m.tally(line, orUnknown(class)).cross(out, 1)
		return
	}
	m.crossings = append(m.crossings, crossing{tr, line, class, out})
}

func orUnknown(class uint8) uint8 {
	if class == classNone {
		return classUnknown
	}
	return class
}

// counted takes a vendor's counter. Only differences count; what is lower than before began anew.
func (c *camera) counted(r *row, again bool) {
	v := r.more.value
	if !(v >= 0) || math.IsInf(v, 0) {
		return
	}
	key := levelKey{zone: r.zoned(), class: r.class}
	out := isOut(r.more.direction)
	if out {
		key.sub = 1
	}
	k := c.counters[key]
	if k == nil {
		if len(c.counters) >= maxLevels {
			c.s.stats.Refused++
			return
		}
		c.counters[key] = &counter{v, r.t}
		return
	}
	if r.t < k.t {
		c.s.stats.Dropped++
		return
	}
	by := v - k.value
	if by < 0 {
		by = v
	}
	k.value, k.t = v, r.t
	if again || by < 1 || by > mostObjects {
		return
	}
	if m := c.minute(r.t); m != nil {
		m.dirty = true
		m.tally(key.zone, key.class).cross(out, int64(by))
	}
}

// gauged takes a vendor's occupancy or queue.
func (c *camera) gauged(r *row, sub uint8) {
	if v := r.more.value; v >= 0 && v <= mostObjects {
		c.level(levelKey{r.zoned(), orUnknown(r.class), sub}, r.t, v, longestMs)
	}
}

// level sets a gauge that is good for keep.
func (c *camera) level(key levelKey, t int64, v float64, keep int64) {
	g := c.gauges[key]
	if g == nil {
		if len(c.gauges) >= maxLevels {
			c.s.stats.Refused++
			return
		}
		g = &gauge{at: t}
		c.gauges[key] = g
	}
	if t < g.at {
		return // late: what came after it stands
	}
	c.settle(key, g, t)
	g.value, g.told, g.keep = v, t, keep
	if m := c.minute(t); m != nil {
		l := m.level(key)
		l.max, m.dirty = max(l.max, v), true
	}
}

// settle accounts for a gauge up to a time, or to when it is not believed any more.
func (c *camera) settle(key levelKey, g *gauge, to int64) {
	if g.told != 0 {
		to = min(to, g.told+g.keep)
	}
	for g.at < to && g.told != 0 {
		end := min(minuteOf(g.at)+minuteMs, to)
		if m := c.minute(g.at); m != nil {
			l := m.level(key)
			l.sum, l.ms, l.max = l.sum+g.value*float64(end-g.at), l.ms+end-g.at, max(l.max, g.value)
			m.dirty = true
		}
		g.at = end
	}
	g.at = max(g.at, to)
}

// levels brings what holds by itself up to the end of a minute.
func (c *camera) levels(now int64) {
	for key, g := range c.gauges {
		c.settle(key, g, now)
		if now-g.told > g.keep {
			delete(c.gauges, key)
		}
	}
	for key, g := range c.guests {
		if m := c.minute(now - 1); m != nil {
			m.dirty = true
		}
		if now-g.from > longestMs { // nobody told that it left
			c.bye(key, g.from+longestMs, false)
		}
	}
}

// countLoose takes the objects of a frame that have no id: how many there are is known, not which.
func (c *camera) countLoose(t int64, n *[classes]float64) {
	for _, class := range c.loose {
		if n[class] == 0 {
			c.level(levelKey{0, class, subOccupancy}, t, 0, resumeMs)
		}
	}
	c.loose = c.loose[:0]
	for class, v := range n {
		if v > 0 {
			c.level(levelKey{0, uint8(class), subOccupancy}, t, v, resumeMs)
			c.loose = append(c.loose, uint8(class))
		}
	}
}

// readPlate takes a plate: of a track, or of a vehicle that only its plate tells of.
func (c *camera) readPlate(r *row) {
	if c.known(r) != nil || len(c.tracks) > 0 {
		return
	}
	m := c.minute(r.t)
	if m == nil {
		return
	}
	m.dirty = true
	class := r.class
	if class == classNone || class == classUnknown || class == classPlate {
		class = classVehicle
	}
	zones := []uint16{0, r.zoned()}
	if zones[1] == 0 {
		zones = zones[:1]
	}
	for _, zone := range zones {
		k := m.tally(zone, class)
		k.seen++
		if r.more.direction != "" {
			k.cross(isOut(r.more.direction), 1)
		}
	}
}

// whole takes a track that the camera itself consolidated. One whose frames were seen is known
// already and gains its class.
func (c *camera) whole(r *row) {
	seconds := r.more.value
	if !(seconds >= 0 && seconds <= 24*3600) || r.track == "" {
		return
	}
	if tr := c.known(r); tr != nil {
		c.vote(tr, r)
		return
	}
	tr := &track{
		key: r.track, first: r.track, start: r.t - int64(seconds*1000), last: r.t, received: r.received, expires: r.expires, detections: 1,
		quality: r.quality &^ devices.QualityRefresh, best: classUnknown, toldMax: math.Inf(-1), groundMax: math.Inf(-1), told: true,
		attributes: r.more.attributes,
	}
	c.vote(tr, r)
	c.plate(tr, r)
	if known(r.speed) && r.speed >= 0 && r.speed <= fastest {
		tr.toldSum, tr.toldN, tr.toldMax = float64(r.speed), 1, float64(r.speed)
	}
	zones := []uint16{0, r.zone}
	if r.zone != 0 {
		tr.zones = append(tr.zones, r.zone)
	} else {
		zones = zones[:1]
	}
	for _, zone := range zones {
		for start := max(minuteOf(tr.start), c.dropped); start <= minuteOf(r.t); start += minuteMs {
			m := c.minute(start)
			if m == nil || len(m.stays) >= maxStays {
				continue
			}
			m.dirty = true
			s := stay{tr: tr, zone: zone, first: true, from: max(tr.start, start), to: min(r.t, start+minuteMs)}
			s.entered = tr.start >= start
			if s.left = start == minuteOf(r.t); s.left {
				s.lasted = tr.last - tr.start
			}
			if tr.toldN > 0 {
				s.speed, s.speeds = tr.toldSum, 1
			}
			m.stays = append(m.stays, s)
		}
	}
	c.tellTrack(tr)
}

package tracks

import (
	"panormus/devices"
)

// How it is known that an object is in a zone.
const (
	byView  uint8 = iota // it is seen
	byRow                // each of its rows tells, or its place does
	byEvent              // until an event tells that it left
)

// A visit is a track's in a zone; it is kept when it has ended, for the next one.
type visit struct {
	zone      uint16
	by        uint8
	open, cut bool // cut: it ended with its track
	since     int64
	last      int64
	minute    int64 // begin of the last minute with a stay of it
	stay      int32
}

func (tr *track) visit(zone uint16) *visit {
	for i := range tr.visits {
		if tr.visits[i].zone == zone {
			return &tr.visits[i]
		}
	}
	return nil
}

// join notes that a track is in a zone at a time, which is not before the last such.
func (c *camera) join(tr *track, zone uint16, t int64, by uint8) {
	v := tr.visit(zone)
	if v == nil {
		if len(tr.visits) >= maxVisits {
			c.s.stats.Refused++
			return
		}
		tr.visits = append(tr.visits, visit{zone: zone, by: by, last: t - 1, minute: -1})
		v = &tr.visits[len(tr.visits)-1]
	}
	if by == byRow {
		v.by = by
	}
	if t <= v.last {
		return
	}
	start := minuteOf(t)
	if !v.open {
		s := c.stay(v, start, stay{tr: tr, zone: zone, from: t, to: t, entered: true})
		if s == nil {
			return
		}
		v.open, v.cut, v.by, v.since, v.last = true, false, by, t, t
		if zone != 0 && len(tr.zones) < maxZones {
			tr.addZone(zone)
		}
		return
	}
	for v.minute < start {
		next := v.minute + minuteMs
		if m := c.held(v.minute); m != nil {
			m.stays[v.stay].to, m.dirty = next, true
		}
		if c.stay(v, next, stay{tr: tr, zone: zone, from: next, to: next}) == nil {
			v.open = false
			return
		}
	}
	if m := c.held(start); m != nil {
		m.stays[v.stay].to, m.dirty = t, true
	}
	v.last = t
}

func (tr *track) addZone(zone uint16) {
	for _, z := range tr.zones {
		if z == zone {
			return
		}
	}
	tr.zones = append(tr.zones, zone)
}

// stay adds a stay to the minute that begins at start and makes it v's last; nil where there can be
// none.
func (c *camera) stay(v *visit, start int64, s stay) *stay {
	m := c.minute(start)
	if m == nil || len(m.stays) >= maxStays {
		c.s.stats.Refused++
		return nil
	}
	s.first = v.minute != start
	v.minute, v.stay = start, int32(len(m.stays))
	m.stays, m.dirty = append(m.stays, s), true
	return &m.stays[v.stay]
}

// leave ends a visit as of when it was last seen.
func (c *camera) leave(v *visit) {
	v.open = false
	if m := c.held(v.minute); m != nil {
		s := &m.stays[v.stay]
		s.left, s.lasted, m.dirty = true, v.last-v.since, true
	}
}

// rejoin takes back that a visit ended with its track.
func (c *camera) rejoin(v *visit) {
	v.open, v.cut = true, false
	if m := c.held(v.minute); m != nil {
		s := &m.stays[v.stay]
		s.left, s.lasted, m.dirty = false, 0, true
	}
}

// An area is one of the registry's in the camera's image.
type area struct {
	name   uint16
	line   bool
	points [][2]float64
}

func (c *camera) areasOf(a *devices.Asset) []area {
	if a == nil || a.Camera == nil {
		return nil
	}
	var out []area
	for _, x := range a.Camera.Areas {
		if n := c.name(x.Name); n != 0 {
			out = append(out, area{n, x.Kind == devices.AreaLine, x.Points})
		}
	}
	return out
}

// contains reports whether a place lies in a zone.
func (a *area) contains(x, y float64) bool {
	in := false
	for i, j := 0, len(a.points)-1; i < len(a.points); j, i = i, i+1 {
		p, q := a.points[i], a.points[j]
		if (p[1] > y) != (q[1] > y) && x < (q[0]-p[0])*(y-p[1])/(q[1]-p[1])+p[0] {
			in = !in
		}
	}
	return in
}

// crossed counts how often the way from one place to another crosses a line from left to right and
// back, seen from its first point to its last. A place on the line is to its right.
func (a *area) crossed(x0, y0, x1, y1 float64) (in, out int) {
	for i := 1; i < len(a.points); i++ {
		p, q := a.points[i-1], a.points[i]
		dx, dy := q[0]-p[0], q[1]-p[1]
		// y grows downwards: what is right of the direction has a positive product.
		s0, s1 := dx*(y0-p[1])-dy*(x0-p[0]), dx*(y1-p[1])-dy*(x1-p[0])
		if (s0 < 0) == (s1 < 0) {
			continue
		}
		f := s0 / (s0 - s1) // where on the way it meets the segment's line
		x, y := x0+f*(x1-x0), y0+f*(y1-y0)
		u := ((x-p[0])*dx + (y-p[1])*dy) / (dx*dx + dy*dy)
		if u < 0 || u > 1 || u == 1 && i < len(a.points)-1 {
			continue
		}
		if s0 < 0 {
			in++
		} else {
			out++
		}
	}
	return in, out
}

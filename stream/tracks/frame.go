package tracks

import (
	"panormus/devices"
)

// frame takes the rows of one instant. Late rows come alone.
func (c *camera) frame(rows []row) {
	t := rows[0].t
	c.inFrame, c.frameRows, c.moved = c.inFrame[:0], c.frameRows[:0], c.moved[:0]
	var loose [classes]float64
	framed, ended := false, false
	for i := range rows {
		r := &rows[i]
		c.received = max(c.received, r.received)
		if r.quality&devices.QualityRefresh != 0 {
			c.refresh(r)
			continue
		}
		if r.what > whatObject && !ended {
			c.endFrame(t)
			ended = true
		}
		switch r.what {
		case whatFrame:
			framed = true
		case whatObject:
			framed = true
			if r.track == "" {
				c.s.stats.Untracked++
				loose[or(int(r.class), int(classUnknown))]++
				continue
			}
			c.object(r)
		case whatRename:
			c.rename(r)
		case whatSplit:
			c.split(r)
		default:
			c.event(r)
		}
	}
	if !ended {
		c.endFrame(t)
	}
	if framed {
		c.countLoose(t, &loose)
	}
}

// object takes a detection of a track.
func (c *camera) object(r *row) {
	tr := c.open(r)
	switch {
	case r.t < tr.start:
		c.s.stats.Dropped++
		return
	case tr.detections > 0 && r.t < tr.last && r.t != tr.frame: // late: the object was there then anyway
		tr.detections++
		c.vote(tr, r)
		return
	case tr.detections > 0 && tr.frame == r.t: // told again, for another zone say
		if r.more != nil {
			c.plate(tr, r)
		}
	default:
		tr.frame = r.t
		c.sight(tr, r)
		moved := tr.move(r)
		c.join(tr, 0, r.t, byView)
		c.place(tr, r)
		c.inFrame, c.frameRows, c.moved = append(c.inFrame, tr), append(c.frameRows, r), append(c.moved, moved)
	}
	if r.zone != 0 {
		c.join(tr, r.zone, r.t, byRow)
	}
}

// place finds the registry's zones that the object of r is in and the lines it has crossed.
func (c *camera) place(tr *track, r *row) {
	if r.placed() {
		x, y := r.foot()
		for i := range c.areas {
			a := &c.areas[i]
			if !a.line {
				if a.contains(x, y) {
					c.join(tr, a.name, r.t, byRow)
				}
				continue
			}
			if tr.standing {
				in, out := a.crossed(tr.footX, tr.footY, x, y)
				for range in {
					c.cross(r.t, a.name, tr, r.class, false)
				}
				for range out {
					c.cross(r.t, a.name, tr, r.class, true)
				}
			}
		}
		tr.footX, tr.footY, tr.standing = x, y, true
	}
	for i := range tr.visits {
		if v := &tr.visits[i]; v.open && v.by == byEvent {
			c.join(tr, v.zone, r.t, byEvent)
		}
	}
}

// measure adds to the visits of a track what its speed was just now, and whether it stands.
func (c *camera) measure(tr *track, t int64, moved float64) {
	stands := tr.still != 0 && t-tr.still >= stillMs
	if !(moved >= 0) && !stands {
		return
	}
	for i := range tr.visits {
		v := &tr.visits[i]
		if !v.open || v.last != t {
			continue
		}
		m := c.held(v.minute)
		if m == nil {
			continue
		}
		s := &m.stays[v.stay]
		if moved >= 0 {
			s.speed, s.speeds = s.speed+moved, s.speeds+1
		}
		if stands {
			s.stand(max(tr.still+stillMs, v.since, m.start), t)
		}
	}
}

// endFrame ends the visits of zones in which the objects of a frame are not any more and notes which
// objects are parts of others.
func (c *camera) endFrame(t int64) {
	if len(c.inFrame) == 0 {
		return
	}
	parts, people, vehicles := false, false, false
	for i, tr := range c.inFrame {
		c.measure(tr, t, c.moved[i])
		for j := range tr.visits {
			if v := &tr.visits[j]; v.open && v.by == byRow && t-v.last >= outsideMs {
				c.leave(v)
			}
		}
		switch class := c.frameRows[i].class; {
		case class == classHead || class == classFace || class == classPlate:
			parts = true
		case class == classPerson:
			people = true
		case class == classBicycle || class == classMotorcycle:
			vehicles = true
		}
	}
	if parts {
		c.findParts()
	}
	if people && vehicles {
		c.findRiders()
	}
}

// most bounds how many objects of a frame are held against each other.
const most = 256

// findParts notes which heads, faces and plates lie in the box of a person or a vehicle, or of something
// that the camera has not made out yet: most objects stay so.
func (c *camera) findParts() {
	n := min(len(c.inFrame), most)
	for i, tr := range c.inFrame[:n] {
		r := c.frameRows[i]
		if r.class != classHead && r.class != classFace && r.class != classPlate {
			continue
		}
		in := false
		for _, w := range c.frameRows[:n] {
			if whole := w.class == classNone || w.class == classUnknown; whole || r.class == classPlate && isVehicle(w.class) || r.class != classPlate && w.class == classPerson {
				if in = r.inside(w); in {
					break
				}
			}
		}
		if in {
			tr.inside++
		} else {
			tr.alone++
		}
	}
}

// inside reports whether most of r's box lies in w's, which is larger.
func (r *row) inside(w *row) bool {
	if !r.hasBox() || !w.hasBox() {
		return false
	}
	area := (r.right - r.left) * (r.bottom - r.top)
	across := min(r.right, w.right) - max(r.left, w.left)
	down := min(r.bottom, w.bottom) - max(r.top, w.top)
	return across > 0 && down > 0 && across*down >= 0.8*area && area < (w.right-w.left)*(w.bottom-w.top)
}

// findRiders notes which people are above which bicycles and motorcycles.
func (c *camera) findRiders() {
	n := min(len(c.inFrame), most)
	for i, tr := range c.inFrame[:n] {
		p := c.frameRows[i]
		if p.class != classPerson {
			continue
		}
		for j, vehicle := range c.inFrame[:n] {
			v := c.frameRows[j]
			if v.class != classBicycle && v.class != classMotorcycle {
				continue
			}
			tr.rode(vehicle.key, p.above(v))
		}
	}
}

// above reports whether r is where the rider of w would be.
func (r *row) above(w *row) bool {
	if !r.hasBox() || !w.hasBox() {
		return false
	}
	across := min(r.right, w.right) - max(r.left, w.left)
	return across >= 0.5*min(r.right-r.left, w.right-w.left) && r.top < w.top && r.bottom > w.top && r.bottom <= w.bottom+0.1*(w.bottom-w.top)
}

// maxRides is how many vehicles a person may be compared with; one that it was never above is
// forgotten for another.
const maxRides = 4

func (tr *track) rode(vehicle string, together bool) {
	for i := range tr.rides {
		if r := &tr.rides[i]; r.key == vehicle {
			r.shared++
			if together {
				r.together++
			}
			return
		}
	}
	n := ride{key: vehicle, shared: 1}
	if together {
		n.together = 1
	}
	if len(tr.rides) < maxRides {
		tr.rides = append(tr.rides, n)
		return
	}
	if !together {
		return
	}
	for i := range tr.rides {
		if tr.rides[i].together == 0 {
			tr.rides[i] = n
			return
		}
	}
}

// rename gives a track another id of the vendor's. Where both are in view it is no rename, and the
// old one ends by itself.
func (c *camera) rename(r *row) {
	to := r.more.other
	tr := c.find(r.track, r.t)
	if tr == nil || to == "" || to == r.track || c.find(to, r.t) != nil {
		return
	}
	delete(c.tracks, tr.key)
	tr.key = to
	c.tracks[to] = tr
}

// split notes that a track has come out of another.
func (c *camera) split(r *row) {
	to := r.more.other
	from := c.find(r.track, r.t)
	if from == nil || to == "" || to == r.track {
		return
	}
	if tr := c.find(to, r.t); tr != nil {
		if tr.parent == "" && tr.start >= from.start {
			tr.parent = c.trackID(from)
		}
		return
	}
	if len(c.births) >= maxBirths {
		for k, b := range c.births {
			if r.t-b.t > resumeMs {
				delete(c.births, k)
			}
		}
		if len(c.births) >= maxBirths {
			c.s.stats.Refused++
			return
		}
	}
	c.births[to] = birth{c.trackID(from), r.t}
}

package live

import (
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"panormus/stream/batch"
)

// What cameras have as values beside those of any device. They tell of now: nothing of them is kept
// when the next minute comes, and they name nobody. They are of the whole view: present and queued of
// the newest minute counted, in and out of the one before it, of which all is known by then: that an
// object has left is certain a minute later.
//
//	frames_per_s       over the last whole 10 s; 0 once nothing came for half a minute
//	tampered           1 covered, moved, out of focus; 0 not any more
//	signal_loss        1 the camera's picture is gone; 0 not any more
//	people_in, _out, _present       persons that came, that left, that were there on average
//	bicycles_in, _out, _present     bicycles
//	vehicles_in, _out, _present     motor vehicles of any kind
//	vehicles_queued    most that stood still at once
const (
	CameraFrames     = "frames_per_s"
	CameraTampered   = "tampered"
	CameraSignalLoss = "signal_loss"
)

// groups are the classes that are counted together, by the beginning of the values' names.
var groups = []struct {
	name    string
	classes []string
}{
	{"people", []string{batch.ClassPerson}},
	{"bicycles", []string{batch.ClassBicycle}},
	{"vehicles", []string{batch.ClassMotorcycle, batch.ClassCar, batch.ClassVan, batch.ClassTruck, batch.ClassBus, batch.ClassVehicle}},
}

const vehiclesGroup = 2

// CameraCount reports whether a value of that name is one of a camera's newest minute.
func CameraCount(name string) bool {
	group, what, ok := strings.Cut(name, "_")
	if !ok {
		return false
	}
	for g := range groups {
		if group == groups[g].name {
			return what == "in" || what == "out" || what == "present" || what == "queued" && g == vehiclesGroup
		}
	}
	return false
}

// What frames are counted by.
const (
	frameSpan   = 10_000 // ms of event time that one rate is of
	frameSilent = 30 * time.Second
)

// emptyAfter is how long after the begin of a minute a camera that goes on sending is known to have
// had nobody in the next one: cells of nobody are not counted at all, others are told by then.
const emptyAfter = 150 * time.Second

// flushAt is how many values are gathered before they are applied.
const flushAt = 1000

// cameras is what is made of video metadata before it is a value.
type cameras struct {
	mu      sync.Mutex
	frames  map[string]*frames
	minutes map[string]*minute
	applier
	values batch.Observations
	known  []*frames // of a batch, by the camera's code
}

// frames counts those of one camera.
type frames struct {
	begin int64 // of the 10 s that are counted, Unix ms; 0: none are
	last  int64 // time of the newest frame
	heard int64 // when anything else was last told of, to 10 s
	n     int
}

// minute is the newest one counted of one camera, and the one before it.
type minute struct {
	time        time.Time
	now, before []batch.Count // at most one a class
	told        [3]bool       // by group: it has values
	touched     bool
}

// advance makes t the newest minute.
func (m *minute) advance(t time.Time) {
	if t.Sub(m.time) == time.Minute {
		m.now, m.before = m.before[:0], m.now
	} else {
		m.now, m.before = m.now[:0], m.before[:0]
	}
	m.time = t
}

// put takes a count of the newest minute or the one before it, and reports whether it was one.
func (m *minute) put(r *batch.Count) bool {
	if r.Time.After(m.time) {
		m.advance(r.Time)
	}
	cells := &m.now
	switch m.time.Sub(r.Time) {
	case 0:
	case time.Minute:
		cells = &m.before
	default:
		return false
	}
	if j := slices.IndexFunc(*cells, func(o batch.Count) bool { return o.Class == r.Class }); j >= 0 {
		(*cells)[j] = *r
	} else {
		*cells = append(*cells, *r)
	}
	return true
}

func (c *cameras) init() {
	c.frames, c.minutes = map[string]*frames{}, map[string]*minute{}
}

// applySigns takes a batch of detections. Of a camera that the registry does not have nothing is kept.
func (s *State) applySigns(b *batch.Signs) {
	c := &s.cameras
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = resized(c.known, len(b.Camera.Values))
	for i, at := range b.Time {
		code := b.Camera.Index[i]
		camera := b.Camera.Values[code]
		f := c.known[code]
		if f == nil {
			if f = c.frames[camera]; f == nil {
				if s.registry != nil && s.registry.Lookup(camera) == nil {
					continue
				}
				f = &frames{}
				c.frames[camera] = f
			}
			c.known[code] = f
		}
		switch b.What.At(i) {
		case batch.WhatObject, batch.WhatFrame:
			if at != f.last { // else another object of the frame
				c.frame(s, camera, f, at)
			}
		case batch.WhatTamper:
			c.state(camera, at, CameraTampered, b.Value[i])
		case batch.WhatSignalLoss:
			c.state(camera, at, CameraSignalLoss, b.Value[i])
		default:
			if at >= f.heard+frameSpan {
				s.touch(camera, at)
				f.heard = at
			}
		}
		c.flush(s, flushAt)
	}
	clear(c.known)
	c.flush(s, 0)
}

// frame counts one at a time, and tells of the 10 s before where it is the first of others.
func (c *cameras) frame(s *State, camera string, f *frames, at int64) {
	switch end := f.begin + frameSpan; {
	case f.begin == 0 || at >= end+frameSpan: // the first, or the first after a gap
		s.touch(camera, at)
		f.begin, f.n = at-at%frameSpan, 0
	case at >= end:
		c.add(camera, end, CameraFrames, float64(f.n)*1000/frameSpan)
		f.begin, f.n = end, 0
	case at < f.begin:
		return // too late to count
	}
	f.n++
	f.last = max(f.last, at)
}

// state adds a value that is 1 or 0. A camera that does not say which of them tells of a beginning.
func (c *cameras) state(camera string, at int64, metric string, v float64) {
	if v != v || v > 0 {
		v = 1
	} else {
		v = 0
	}
	c.add(camera, at, metric, v)
}

func (c *cameras) add(camera string, at int64, metric string, v float64) {
	c.values.Append(c.values.Begin(at, at, "", camera), metric, v, "", 0)
}

// flush hands values on when there are more than room, which keeps them well below a batch's size.
func (c *cameras) flush(s *State, room int) {
	if c.values.Len() > room {
		c.applier.apply(s, &c.values)
		c.values.Reset()
	}
}

// quiet tells of cameras that have stopped sending frames, and of those that see nobody any more.
func (s *State) quiet(now time.Time) {
	c := &s.cameras
	c.mu.Lock()
	defer c.mu.Unlock()
	for camera, f := range c.frames {
		if s.registry != nil && s.registry.Lookup(camera) == nil {
			delete(c.frames, camera)
			delete(c.minutes, camera)
			continue
		}
		if f.begin != 0 && now.Sub(time.UnixMilli(f.last)) > frameSilent {
			c.add(camera, f.begin+frameSpan, CameraFrames, 0)
			f.begin = 0
		}
		if m := c.minutes[camera]; m != nil && len(m.now)+len(m.before) > 0 {
			if newest := time.UnixMilli(max(f.last, f.heard)); newest.Sub(m.time) >= emptyAfter {
				m.advance(m.time.Add(time.Minute))
				c.tell(camera, m)
			}
		}
		c.flush(s, flushAt)
	}
	c.flush(s, 0)
}

// applyCounts takes a batch of counts: of each camera the newest minutes.
func (s *State) applyCounts(rows []batch.Count) {
	c := &s.cameras
	c.mu.Lock()
	defer c.mu.Unlock()
	var touched []string
	for i := range rows {
		r := &rows[i]
		if r.Zone != "" {
			continue
		}
		m := c.minutes[r.Camera]
		if m == nil {
			if s.registry != nil && s.registry.Lookup(r.Camera) == nil {
				continue
			}
			m = &minute{}
			c.minutes[r.Camera] = m
		}
		if !m.put(r) {
			continue
		}
		if !m.touched {
			m.touched = true
			touched = append(touched, r.Camera)
		}
	}
	for _, camera := range touched {
		c.tell(camera, c.minutes[camera])
		c.flush(s, flushAt)
	}
	c.flush(s, 0)
}

// tell makes values of a minute. A group that was counted once and is not now is 0.
func (c *cameras) tell(camera string, m *minute) {
	m.touched = false
	for g := range groups {
		var in, out, queue int64
		var present float64
		counted := func(r *batch.Count) bool { return slices.Contains(groups[g].classes, r.Class) }
		for i := range m.now {
			if r := &m.now[i]; counted(r) {
				queue, present, m.told[g] = queue+r.QueueMax, present+r.OccupancyAvg, true
			}
		}
		for i := range m.before {
			if r := &m.before[i]; counted(r) {
				in, out, m.told[g] = in+r.In, out+r.Out, true
			}
		}
		if !m.told[g] {
			continue
		}
		h := c.values.Begin(m.time.UnixMilli(), m.time.UnixMilli(), "", camera)
		name := groups[g].name
		c.values.Append(h, name+"_in", float64(in), "", 0)
		c.values.Append(h, name+"_out", float64(out), "", 0)
		c.values.Append(h, name+"_present", math.Round(present*10)/10, "", 0)
		if g == vehiclesGroup {
			c.values.Append(h, name+"_queued", float64(queue), "", 0)
		}
	}
}

// touch says that the device spoke at a time, Unix ms, and nothing else of it.
func (s *State) touch(id string, at int64) {
	d := s.ensure("", id)
	d.mu.Lock()
	d.seen = max(d.seen, at)
	d.ver++
	marked := d.mark(d.ver)
	d.mu.Unlock()
	if marked {
		s.changed(d)
	}
}

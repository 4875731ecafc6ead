package live

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"panormus/stream/batch"
	"panormus/stream/privacy"
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
//
// A figure tells of at least k different objects or of nobody, k being the purpose's; of fewer it is a
// text such as "<5". Of vehicles, classes of fewer are left out beside classes of enough, unless together
// they are enough: with the class's own figures at hand, the rest would tell of them.
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
	// least is the least number of objects that figures of a purpose may tell of; nil: privacy.DefaultK.
	least func(purpose string) int
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
				c.tell(s, camera, m)
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
		c.tell(s, camera, c.minutes[camera])
		c.flush(s, flushAt)
	}
	c.flush(s, 0)
}

// tell makes values of a minute. A group that was counted once and is not now is 0.
func (c *cameras) tell(s *State, camera string, m *minute) {
	m.touched = false
	k := c.k(s, camera)
	for g := range groups {
		now, before := sumCells(m.now, groups[g].classes, k), sumCells(m.before, groups[g].classes, k)
		m.told[g] = m.told[g] || now.counted || before.counted
		if !m.told[g] {
			continue
		}
		h := c.values.Begin(m.time.UnixMilli(), m.time.UnixMilli(), "", camera)
		put := func(what string, of *cellSum, v float64) {
			if of.hidden {
				c.values.Append(h, groups[g].name+what, math.NaN(), Fewer(k), 0)
				return
			}
			c.values.Append(h, groups[g].name+what, v, "", 0)
		}
		put("_in", &before, float64(before.in))
		put("_out", &before, float64(before.out))
		put("_present", &now, math.Round(now.present*10)/10)
		if g == vehiclesGroup {
			put("_queued", &now, float64(now.queue))
		}
	}
}

// k is the least number of objects that the camera's figures may tell of.
func (c *cameras) k(s *State, camera string) int {
	if c.least == nil || s.registry == nil {
		return privacy.DefaultK
	}
	a := s.registry.Lookup(camera)
	if a == nil || a.Camera == nil {
		return privacy.DefaultK
	}
	return c.least(a.Camera.Purpose)
}

// Fewer is what stands for a camera's figure that would tell of fewer than k objects.
func Fewer(k int) string { return "<" + strconv.Itoa(k) }

// A cellSum is what classes come to in a minute.
type cellSum struct {
	in, out, queue int64
	present        float64
	objects        int64
	counted        bool // there is a cell
	hidden         bool // it would tell of too few objects
}

// sumCells sums up the classes that tell of enough objects, and the others where they do together.
func sumCells(cells []batch.Count, classes []string, k int) cellSum {
	var told, few cellSum
	for i := range cells {
		r := &cells[i]
		if !slices.Contains(classes, r.Class) {
			continue
		}
		sum, objects := &few, max(r.In, r.Out, r.Seen, r.OccupancyMax)
		if privacy.Enough(uint64(max(objects, 0)), k) {
			sum = &told
		}
		sum.add(r.In, r.Out, r.QueueMax, r.OccupancyAvg, objects)
	}
	counted := told.counted || few.counted
	switch {
	case privacy.Enough(uint64(max(few.objects, 0)), k):
		told.add(few.in, few.out, few.queue, few.present, few.objects)
	case told.objects == 0:
		told.hidden = true
	}
	told.counted = counted
	return told
}

func (s *cellSum) add(in, out, queue int64, present float64, objects int64) {
	s.in, s.out, s.queue, s.present, s.objects, s.counted = s.in+in, s.out+out, s.queue+queue, s.present+present, s.objects+objects, true
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

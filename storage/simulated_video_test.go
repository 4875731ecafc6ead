package storage

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"panormus/stream/batch"
)

// simulatedCameras make detections such as a city's cameras': ten frames a second each, objects that
// walk or drive through the view, vendors that tell more or less. It is seeded.
type simulatedCameras struct {
	rng     *rand.Rand
	cameras []*simulatedCamera
	now     int64 // Unix ms
	tracks  int
}

type simulatedCamera struct {
	id, purpose string
	keep        int64 // ms
	vendor      int
	mean        float64 // objects in view
	objects     []*simulatedObject
}

type simulatedObject struct {
	track, class, vendorClass, zone, hash string
	x, y, vx, vy, w, h                    float64
	left                                  int // frames
}

func newSimulatedCameras(n int, start time.Time, seed uint64) *simulatedCameras {
	s := &simulatedCameras{rng: rand.New(rand.NewPCG(seed, 2)), now: start.UnixMilli()}
	purposes := []struct {
		id   string
		keep time.Duration
	}{{"traffic", 72 * time.Hour}, {"traffic", 72 * time.Hour}, {"urban_security", 168 * time.Hour}, {"statistics", 24 * time.Hour}}
	for i := range n {
		p := purposes[i%len(purposes)]
		s.cameras = append(s.cameras, &simulatedCamera{id: fmt.Sprintf("cam-%04d", i), purpose: p.id, keep: p.keep.Milliseconds(), vendor: i % 3, mean: 2 + 12*s.rng.Float64()})
	}
	return s
}

func (s *simulatedCameras) appear(c *simulatedCamera) *simulatedObject {
	s.tracks++
	o := &simulatedObject{class: batch.ClassUnknown, x: s.rng.Float64(), y: s.rng.Float64(), left: 20 + s.rng.IntN(150)}
	o.vx, o.vy = s.rng.NormFloat64()*0.01, s.rng.NormFloat64()*0.005
	o.w, o.h = 0.02+0.1*s.rng.Float64(), 0.03+0.15*s.rng.Float64()
	switch c.vendor {
	case 0: // Axis: hexadecimal ids, most of them unclassified
		o.track = fmt.Sprintf("%08x-%04x", s.rng.Uint32(), s.rng.Uint32()>>16)
	case 1: // ONVIF: a counter
		o.track = fmt.Sprint(s.tracks % 65536)
	default: // Frigate: time and letters
		o.track = fmt.Sprintf("%d.%06d-%06x", s.now/1000, s.rng.IntN(1e6), s.rng.Uint32()>>8)
	}
	if s.rng.IntN(3) > 0 {
		o.class = []string{batch.ClassCar, batch.ClassPerson, batch.ClassCar, batch.ClassTruck, batch.ClassBicycle}[s.rng.IntN(5)]
		o.vendorClass = map[string]string{batch.ClassCar: "Car", batch.ClassPerson: "Human", batch.ClassTruck: "Truck", batch.ClassBicycle: "Bike"}[o.class]
	}
	if s.rng.IntN(4) == 0 {
		o.zone = fmt.Sprintf("zone-%d", s.rng.IntN(3))
	}
	if o.class == batch.ClassCar && s.rng.IntN(10) == 0 {
		o.hash = fmt.Sprintf("%016x%016x%016x%016x", s.rng.Uint64(), s.rng.Uint64(), s.rng.Uint64(), s.rng.Uint64())
	}
	return o
}

// run makes the detections of d, in batches of about rows as the log has them.
func (s *simulatedCameras) run(d time.Duration, rows int) []*batch.Detections {
	var out []*batch.Detections
	b := &batch.Detections{}
	for end := s.now + d.Milliseconds(); s.now < end; s.now += 100 {
		for _, c := range s.cameras {
			at := s.now + s.rng.Int64N(100)
			received := at + 40 + s.rng.Int64N(150)
			if len(c.objects) < int(c.mean*(0.5+s.rng.Float64())) {
				c.objects = append(c.objects, s.appear(c))
			}
			kept := c.objects[:0]
			for _, o := range c.objects {
				o.x, o.y, o.left = o.x+o.vx*0.3, o.y+o.vy*0.3, o.left-1
				if o.left <= 0 || o.x < 0 || o.x > 1 || o.y < 0 || o.y > 1 {
					continue
				}
				kept = append(kept, o)
				r := batch.Absent()
				r.Time, r.Received, r.Camera, r.What, r.Track, r.Class, r.VendorClass, r.Zone = at, received, c.id, batch.WhatObject, o.track, o.class, o.vendorClass, o.zone
				jitter := func() float64 { return s.rng.NormFloat64() * 0.002 }
				l, t, rr, bb := math.Max(0, o.x-o.w/2+jitter()), math.Max(0, o.y-o.h/2+jitter()), math.Min(1, o.x+o.w/2+jitter()), math.Min(1, o.y+o.h/2+jitter())
				switch c.vendor {
				case 0:
					l, t, rr, bb = round(l, 4), round(t, 4), round(rr, 4), round(bb, 4)
				case 2: // pixels
					l, t, rr, bb = math.Round(l*1920)/1920, math.Round(t*1080)/1080, math.Round(rr*1920)/1920, math.Round(bb*1080)/1080
					r.SpeedMps = float32(round(o.vx*500, 1))
					r.HeadingDeg = float32(round(90+s.rng.NormFloat64()*5, 0))
				}
				r.BoxLeft, r.BoxTop, r.BoxRight, r.BoxBottom = float32(l), float32(t), float32(rr), float32(bb)
				r.CenterX, r.CenterY = float32((l+rr)/2), float32((t+bb)/2)
				r.Score = float32(round(0.5+0.5*s.rng.Float64(), 2))
				r.PlateHash = o.hash
				r.Purpose, r.Expires = c.purpose, at+c.keep
				b.Append(&r)
			}
			c.objects = kept
			if b.Len() >= rows {
				out = append(out, b)
				b = &batch.Detections{}
			}
		}
	}
	if b.Len() > 0 {
		out = append(out, b)
	}
	return out
}

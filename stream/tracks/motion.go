package tracks

import (
	"math"

	"panormus/stream/batch"
)

const (
	// fastest is the greatest credible speed on the ground, m/s.
	fastest = 80
	// noiseM is how far boxes tremble on the ground in a second.
	noiseM = 0.25
	// Slower than these is standing still.
	stillMps, stillImage = 0.5, 0.01
)

// move notes where the object of a row is and, every second, how fast it got there: a single frame
// tells little, its box trembles. moved is that speed where it is known on the ground, or NaN.
func (tr *track) move(r *row) (moved float64) {
	moved = math.NaN()
	if known(r.speed) && r.speed >= 0 && r.speed <= fastest {
		v := float64(r.speed)
		tr.toldSum, tr.toldN, tr.toldMax = tr.toldSum+v, tr.toldN+1, max(tr.toldMax, v)
	}
	if !r.placed() {
		return moved
	}
	x, y := r.centre()
	here := mark{t: r.t, x: x, y: y, lat: r.lat, lon: r.lon, ground: r.onGround()}
	if !tr.placed {
		tr.placed, tr.startX, tr.startY = true, x, y
	}
	tr.endX, tr.endY = x, y
	if here.ground {
		if !tr.ground {
			tr.ground, tr.startLat, tr.startLon = true, r.lat, r.lon
		}
		tr.endLat, tr.endLon = r.lat, r.lon
	}
	from := tr.mark
	ms := r.t - from.t
	switch {
	case from.t == 0 || ms > gapMs:
		tr.mark, tr.still = here, 0
		return moved
	case ms < windowMs:
		return moved
	}
	tr.mark = here
	seconds := float64(ms) / 1000
	slow := false
	if d, ok := from.metres(&here); ok && d/seconds <= fastest {
		moved = tr.walk(d, ms)
		slow = moved < stillMps
	} else {
		slow = math.Hypot(here.x-from.x, here.y-from.y)/seconds < stillImage
	}
	if known(r.speed) && r.speed >= 0 && r.speed <= fastest {
		moved = float64(r.speed)
		slow = moved < stillMps
	}
	if !slow {
		tr.still = 0
	} else if tr.still == 0 {
		tr.still = from.t
	}
	return moved
}

// walk adds a way along the ground and returns its speed.
func (tr *track) walk(metres float64, ms int64) float64 {
	if metres < noiseM {
		metres = 0
	}
	v := metres / float64(ms) * 1000
	tr.distance, tr.groundMs, tr.groundMax = tr.distance+metres, tr.groundMs+ms, max(tr.groundMax, v)
	return v
}

const metresADegree = 6371008.8 * math.Pi / 180

func (m *mark) metres(to *mark) (float64, bool) {
	if !m.ground || !to.ground {
		return 0, false
	}
	north := (to.lat - m.lat) * metresADegree
	east := (to.lon - m.lon) * metresADegree * math.Cos(m.lat*math.Pi/180)
	return math.Hypot(north, east), true
}

// way fills in what out tells of the way.
func (tr *track) way(out *batch.Track) {
	if tr.placed {
		out.StartX, out.StartY, out.EndX, out.EndY = tr.startX, tr.startY, tr.endX, tr.endY
		if dx, dy := tr.endX-tr.startX, tr.endY-tr.startY; dx != 0 || dy != 0 {
			out.HeadingDeg = bearing(dx, -dy)
		}
	}
	distance, ms, fast := tr.distance, tr.groundMs, tr.groundMax
	if tr.ground {
		out.StartLat, out.StartLon, out.EndLat, out.EndLon = tr.startLat, tr.startLon, tr.endLat, tr.endLon
		a := mark{lat: tr.startLat, lon: tr.startLon, ground: true}
		b := mark{lat: tr.endLat, lon: tr.endLon, ground: true}
		d, _ := a.metres(&b)
		if d >= noiseM {
			out.HeadingDeg = bearing((b.lon-a.lon)*math.Cos(a.lat*math.Pi/180), b.lat-a.lat)
		}
		// One that was there for less than a window has its ends to go by.
		if lasted := tr.last - tr.start; ms == 0 && lasted >= shortestMs && lasted < 2*windowMs && d/float64(lasted)*1000 <= fastest {
			distance, ms, fast = d, lasted, d/float64(lasted)*1000
		}
	}
	if ms > 0 {
		out.DistanceM, out.SpeedMps, out.SpeedMaxMps = distance, distance/float64(ms)*1000, fast
	}
	if tr.toldN > 0 {
		out.SpeedMps, out.SpeedMaxMps = tr.toldSum/float64(tr.toldN), tr.toldMax
	}
}

func bearing(east, north float64) float64 {
	deg := math.Atan2(east, north) * 180 / math.Pi
	if deg < 0 {
		deg += 360
	}
	return deg
}

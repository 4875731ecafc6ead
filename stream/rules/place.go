package rules

import (
	"math"

	"panormus/devices"
)

// A zoner knows the shapes of zones; *devices.Registry is one.
type zoner interface {
	Zone(id string) *devices.Zone
}

// where is the device's position: the one it last reported in position_lat and position_lon, else the
// registry's. It is NaN where neither is known.
func (t typed) where() func(*frame) (lat, lon float64) {
	latSlot, says := t.binder.num[positionMetrics[0]]
	if !says { // rows without a place
		return (*frame).position
	}
	lonSlot := t.binder.num[positionMetrics[1]]
	return func(f *frame) (float64, float64) {
		if lat, lon := f.nums[latSlot], f.nums[lonSlot]; lat == lat && lon == lon {
			return lat, lon
		}
		return f.position()
	}
}

// inZone is 1 where the device is inside a zone, its border included, 0 where it is not, and NaN where
// its position or the zone is not known.
func (t typed) inZone(id string) numFunc {
	where := t.where()
	return func(f *frame) float64 {
		lat, lon := where(f)
		r, ok := f.cfg.Registry.(zoner)
		if !ok || lat != lat {
			return math.NaN()
		}
		z := r.Zone(id)
		if z == nil {
			f.failed = true
			return math.NaN()
		}
		if z.Contains(lat, lon) {
			return 1
		}
		return 0
	}
}

// distanceM is the way between two places in degrees along a great circle, in metres.
func distanceM(lat1, lon1, lat2, lon2 float64) float64 {
	const radius, degree = 6_371_008.8, math.Pi / 180
	sinLat, sinLon := math.Sin((lat2-lat1)*degree/2), math.Sin((lon2-lon1)*degree/2)
	h := sinLat*sinLat + math.Cos(lat1*degree)*math.Cos(lat2*degree)*sinLon*sinLon
	return 2 * radius * math.Asin(math.Sqrt(math.Min(h, 1)))
}

package city

import (
	"math"
	"strconv"
	"time"
)

// Parking areas (Smart Data Models: OffStreetParking) are full by day near offices and by night
// near homes.
var parkings = class{
	domain: "parking", profile: "parking_area", prefix: "park", digits: 3, count: 200,
	period: [2]time.Duration{time.Minute, time.Minute},
	where:  map[roadClass]float64{avenue: 1, residential: 0.5},
	faults: []share{{stuck, 0.01}, {silent, 0.01}, {mute, 0.005}, {slow, 0.01}, {ahead, 0.005}, {garbled, 0.005}},
	tags: func(a *asset) {
		a.device.Tags["total_spot_number"] = strconv.Itoa(a.spots())
	},
	say: sayParking,
}

func (a *asset) spots() int { return 20 + 10*int(hash(a.key, 's')%39) }

func sayParking(_ *City, a *asset, t time.Time, o *object) {
	h, workday := Hour(t)
	offices := 0.12 + 0.35*hump(h, 17, 3)
	if workday {
		offices = 0.08 + 0.82*clamp(hump(h, 11, 2.6)+hump(h, 16, 2.4), 0, 1)
	}
	homes := 0.9 - 0.45*hump(h, 12, 4)
	mix := unit(a.key, 'm')
	taken := mix*offices + (1-mix)*homes
	taken = clamp(taken*within(0.75, 1.15, a.key, 'k')+0.05*wander(t, 13*time.Minute, a.key), 0, 1)
	spots := float64(a.spots())
	free := math.Round(spots * (1 - taken))
	o.number("available_spot_number", free, 0)
	o.number("total_spot_number", spots, 0)
	o.number("occupancy", 1-free/spots, 2)
}

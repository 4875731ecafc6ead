package city

import (
	"strconv"
	"time"
)

// Traffic loops (Smart Data Models: TrafficFlowObserved) see rush hours, and now and then a stretch
// of them a jam.
var loops = class{
	domain: "mobility", profile: "traffic_loop", prefix: "loop", digits: 4, count: 300,
	period: [2]time.Duration{time.Minute, time.Minute},
	where:  map[roadClass]float64{ring: 4, avenue: 1},
	faults: []share{{stuck, 0.01}, {silent, 0.007}, {mute, 0.003}, {slow, 0.007}, {ahead, 0.004}, {garbled, 0.004}},
	tags: func(a *asset) {
		a.device.Tags["lanes"] = strconv.Itoa(a.lanes())
	},
	say: sayLoop,
}

func (a *asset) lanes() int { return 1 + int(hash(a.key, 'l')%3) }

// demand is how busy the roads are, 0 to about 1, seen at a place that leans to the morning (-1) or
// to the evening (1).
func demand(t time.Time, lean float64) float64 {
	h, workday := Hour(t)
	if workday {
		return 0.05 + (0.62-0.14*lean)*hump(h, 8.1, 0.9) + 0.3*hump(h, 12.5, 2.4) + (0.62+0.14*lean)*hump(h, 18.2, 1.5) + 0.15*hump(h, 15, 2)
	}
	return 0.05 + 0.4*hump(h, 11.5, 1.9) + 0.45*hump(h, 19.5, 2.2)
}

// stretch is the road within a district, which is what jams as one.
func (a *asset) stretch() string { return a.device.Zone + " " + a.street }

// jam is how badly the asset's stretch of road is jammed, 0 to 1. Some always are, others every half
// hour.
func (c *City) jam(t time.Time, a *asset) float64 {
	const spell = 1800
	slot, into := uint64(t.Unix()/spell), float64(t.Unix()%spell)/spell
	stretch := a.stretch()
	for k := range max(1, len(c.jams)/15) {
		if c.jams[hash(c.seed, slot, uint64(k))%uint64(len(c.jams))] == stretch {
			return clamp(min(into, 1-into)*10, 0.9, 1) // builds up and clears, never quite
		}
	}
	return 0
}

func sayLoop(c *City, a *asset, t time.Time, o *object) {
	lanes := float64(a.lanes())
	load := demand(t, within(-1, 1, a.key, 'w')) * within(0.55, 1.05, a.key, 'b') * (1 + 0.12*wander(t, 11*time.Minute, a.key))
	free := within(42, 62, a.key, 'f') // km/h on an empty road
	flow := 850 * lanes * clamp(load, 0, 1.05)
	speed := free * (1 - 0.55*load*load)
	if jam := c.jam(t, a); jam > 0 {
		speed = speed*(1-jam) + jam*(4+4*unit(a.key, 'j'))
		flow = flow*(1-jam) + jam*520*lanes
	}
	speed = max(speed+1.5*jitter(t, a.key, 's'), 2)
	perMinute := flow / 60
	vehicles := max(perMinute+0.9*jitter(t, a.key, 'v')*(0.3+perMinute/8), 0)
	// A vehicle covers a loop for its own length and the loop's, some 6.5 m in all.
	occupancy := clamp(vehicles*60/lanes/speed*6.5/1000, 0, 0.95)
	o.number("intensity", float64(int(vehicles+0.5))*60, 0)
	o.number("occupancy", occupancy, 3)
	o.number("speed_kmh", speed, 1)
	headway := 60.0
	if vehicles >= 1 {
		headway = min(60*lanes/vehicles, 60)
	}
	o.number("average_headway_time", headway, 1)
	o.boolean("congested", speed < 0.35*free)
}

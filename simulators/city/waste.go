package city

import (
	"math"
	"strconv"
	"time"
)

// Waste bins (Smart Data Models: WasteContainer) fill by day and are emptied at night, every night
// or every other. One of them is on fire for the middle half of every hour.
var bins = class{
	domain: "waste", profile: "waste_bin", prefix: "bin", digits: 4, count: 800,
	period: [2]time.Duration{15 * time.Minute, 15 * time.Minute},
	where:  map[roadClass]float64{avenue: 0.4, residential: 1},
	faults: []share{{overfull, 0.02}, {stuck, 0.005}, {silent, 0.004}, {mute, 0.003}, {slow, 0.004}, {ahead, 0.002}, {garbled, 0.003}},
	tags: func(a *asset) {
		fraction := []string{"residual", "organic", "paper", "glass", "plastic"}[hash(a.key, 'r')%5]
		a.device.Tags["waste_type"] = fraction
		a.device.Tags["volume_l"] = strconv.Itoa([]int{1100, 1700, 2400, 3200}[hash(a.key, 'v')%4])
	},
	say: sayBin,
}

func sayBin(c *City, a *asset, t time.Time, o *object) {
	every := 24 * float64(1+hash(a.key, 'e')%2) // hours between collections
	at := within(-2, 5, a.key, 'a')             // the hour of the collection
	hours := float64(t.UnixMilli())/3_600_000 + 1 - at
	since := math.Mod(hours, every)
	round := uint64(hours / every)
	// What is thrown away comes by day: the share of a day's waste that is in by an hour of it.
	days := math.Floor(since / 24)
	h := since - 24*days + at
	level := 0.03 + within(0.45, 0.95, a.key, 'l', round)/(every/24)*(days+dayShare(h))
	if a.fault == overfull {
		level = 1
	}
	temperature := c.airTemperature(t) + 2.5 + within(-1, 1, a.key, 't') + 0.004*max(sunUp(t), 0)*max(sunUp(t), 0)
	status := "ok"
	if c.onFire(a, t) {
		temperature, status = 92+20*unit(a.key, uint64(t.Unix())), "fire"
	}
	o.number("filling_level", clamp(level+0.006*jitter(t, a.key, 'x'), 0, 1), 2)
	o.number("temperature", temperature, 1)
	o.number("battery_level", 0.55+0.45*unit(a.key, 'b')-0.02*float64(t.YearDay())/366, 2)
	o.text("status", status)
}

// dayShare is the share of a day's waste thrown away by hour h.
func dayShare(h float64) float64 {
	f := clamp((h-6)/17, 0, 1)
	return f * f * (3 - 2*f)
}

// onFire reports whether a is this hour's burning bin.
func (c *City) onFire(a *asset, t time.Time) bool {
	slot := uint64(t.Unix() / 3600)
	n := uint64(len(c.parts[a.class]))
	return n >= 50 && uint64(a.index) == hash(c.seed, slot, 'f')%n &&
		float64(t.Unix()%3600) >= 900 && float64(t.Unix()%3600) < 2700
}

package city

import (
	"fmt"
	"sync"
	"time"
)

// Street lights (Smart Data Models: Streetlight) switch on as the sun goes down, each by its own
// sensor, and dim in steps through the night.
var lamps = class{
	domain: "lighting", profile: "streetlight", prefix: "lamp", digits: 5, count: 5000,
	period: [2]time.Duration{10 * time.Minute, 10 * time.Minute},
	where:  map[roadClass]float64{ring: 3, avenue: 3, residential: 1},
	faults: []share{{deadLamp, 0.006}, {dayBurner, 0.005}, {flicker, 0.002}, {stuck, 0.002}, {silent, 0.002}, {mute, 0.002}, {slow, 0.003}, {ahead, 0.001}, {garbled, 0.001}},
	tags: func(a *asset) { // lamps are numbered along their street, which is how they are wired
		a.device.Tags["cabinet"] = fmt.Sprintf("Q%03d", a.index/lampsOfCabinet+1)
	},
	say: sayLamp,
	state: func(c *City, a *asset, t time.Time) int {
		return int(100 * a.dimming(t, sunUp(t)))
	},
}

// lampsOfCabinet hang on one switch cabinet.
const lampsOfCabinet = 48

// nominal is a lamp's power at full light, in W.
func (a *asset) nominal() float64 {
	return []float64{39, 52, 75, 98, 132}[hash(a.key, 'n')%5]
}

// dimming is the level a lamp is told to burn at: 0 by day; the whole city follows one timetable.
func (a *asset) dimming(t time.Time, sun float64) float64 {
	dark := sun < -0.8+0.9*within(-1, 1, a.key, 'e')
	switch {
	case a.fault == dayBurner && !dark:
		return 1
	case !dark:
		return 0
	}
	return timetable(t, a.key)
}

// timetable is the dimming of a burning lamp; lamps change over a few minutes, not at once.
func timetable(t time.Time, key uint64) float64 {
	h, _ := Hour(t)
	h += within(-0.05, 0.05, key, 'h')
	switch {
	case h >= 23 || h < 0.5:
		return 0.8
	case h >= 0.5 && h < 4.5:
		return 0.5
	case h >= 4.5 && h < 6:
		return 0.7
	}
	return 1
}

func sayLamp(c *City, a *asset, t time.Time, o *object) {
	sun := sunUp(t)
	dimming := a.dimming(t, sun)
	power := 0.6 + 0.2*unit(a.key, 's') // the ballast's own
	status := "ok"
	lux := daylight(sun, c.clouds(t)) * within(0.12, 0.3, a.key, 'l') // the sensor sits between houses
	if dimming > 0 {
		power += a.nominal() * dimming * (1 + 0.012*jitter(t, a.key, 'j'))
		lux += 9 * dimming
	}
	switch {
	case a.fault == deadLamp && dimming > 0:
		power, status = 0.6, "lamp_failure"
	case a.fault == flicker && dimming > 0:
		power *= 0.45 + 0.55*(1+jitter(t, a.key, 'k'))/2
	}
	o.number("power_w", power, 1)
	o.number("dimming", dimming, 2)
	o.boolean("on", dimming > 0)
	o.text("status", status)
	o.number("illuminance_lux", lux, luxDecimals(lux))
	o.number("energy_kwh", a.energy(c, t), 2)
	o.number("voltage_v", 229+3.5*wander(t, 20*time.Minute, c.seed, 'v')+0.8*jitter(t, a.key, 'v'), 1)
}

func luxDecimals(lux float64) int {
	if lux < 100 {
		return 1
	}
	return 0
}

// energy is the lamp's meter in kWh.
func (a *asset) energy(c *City, t time.Time) float64 {
	start := within(80, 900, a.key, 'w')
	hours, full := c.burning.hours(t)
	switch a.fault {
	case deadLamp:
		return start + 0.0006*full
	case dayBurner:
		hours += full - c.burning.night(t)
	}
	return start + (a.nominal()*hours+0.7*full)/1000
}

// burning counts the hours that the city's lamps have burnt since an epoch, for their meters. Days
// are added up as they are asked for.
type burning struct {
	mu   sync.Mutex
	days []float64 // full-light hours up to the beginning of each day since epoch
	dark []float64 // dark hours likewise
	day  int       // the day of steps
	// steps hold the sums within day, by ten minutes.
	steps [145][2]float64
}

// burningEpoch is when the meters began.
var burningEpoch = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

func (b *burning) at(t time.Time) (lit, dark, all float64) {
	all = t.Sub(burningEpoch).Hours()
	if all < 0 {
		return 0, 0, 0
	}
	day := int(all / 24)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.days == nil {
		b.days, b.dark, b.day = []float64{0}, []float64{0}, -1
	}
	for len(b.days) <= day {
		last := len(b.days) - 1
		b.fill(last)
		b.days = append(b.days, b.days[last]+b.steps[144][0])
		b.dark = append(b.dark, b.dark[last]+b.steps[144][1])
	}
	if b.day != day {
		b.fill(day)
	}
	at := (all - float64(day)*24) * 6
	i := min(int(at), 143)
	f := at - float64(i)
	lit = b.days[day] + b.steps[i][0] + f*(b.steps[i+1][0]-b.steps[i][0])
	dark = b.dark[day] + b.steps[i][1] + f*(b.steps[i+1][1]-b.steps[i][1])
	return lit, dark, all
}

// fill sums up day. The caller holds mu.
func (b *burning) fill(day int) {
	b.day = day
	start := burningEpoch.Add(time.Duration(day) * 24 * time.Hour)
	for i := range 144 {
		t := start.Add(time.Duration(i)*10*time.Minute + 5*time.Minute)
		b.steps[i+1] = b.steps[i]
		if sunUp(t) < -0.8 {
			b.steps[i+1][0] += timetable(t, 0) / 6
			b.steps[i+1][1] += 1.0 / 6
		}
	}
}

// hours is how many full-light hours have passed, and hours in all.
func (b *burning) hours(t time.Time) (lit, all float64) {
	lit, _, all = b.at(t)
	return lit, all
}

// night is how many hours have been dark.
func (b *burning) night(t time.Time) float64 {
	_, dark, _ := b.at(t)
	return dark
}

package rules

import (
	"math"
	"time"

	"panormus/devices"
)

// unknownText stands for a text that was never reported: no message can hold it, not being UTF-8.
const unknownText = "\xffunknown"

// A frame is what an expression is evaluated on: one device at one event time. A shard has one and
// moves it from message to message.
type frame struct {
	nums    []float64 // by slot of the device's plan; NaN: never reported
	texts   []string  // by slot; unknownText: never reported
	dev     *device
	now     int64 // event time, Unix ms
	own     int64 // event time of the message in hand as it says, Unix ms; 0: none is
	quality uint8 // of the message in hand, its rows together
	failed  bool  // set by what is an error and not merely unknown
	window  span  // that is judged
	// board is there where a rule is judged by other devices' readings, with the place of its own.
	board    *board
	lat, lon float64
	zone     string // of an event that says one
	// stretches are of the rules' schedules, by place in the set.
	stretches []stretch
	working   stretch // of the calendar last asked

	why    string // of what failed, where cel-go says
	costly bool   // an expression cost more than it may

	cfg       *Config
	sun       *sunCache
	sunAt     int64 // now of the elevation below, for several rules on one message
	sunDev    *device
	sunNow    float64
	clockAt   int64 // minute of clockNow
	clockNow  localClock
	clockDone bool
}

type localClock struct {
	hour, minute, weekday, day, month float64
	year                              int
}

var noAsset devices.Asset

func (f *frame) asset() *devices.Asset {
	if f.dev.asset == nil {
		return &noAsset
	}
	return f.dev.asset
}

func (f *frame) tags() map[string]string { return f.asset().Tags }

// position is NaN where the registry has none.
func (f *frame) position() (lat, lon float64) {
	if a := f.asset(); a.Lat != nil && a.Lon != nil {
		return *a.Lat, *a.Lon
	}
	return math.NaN(), math.NaN()
}

// sunElevation is the sun's over the device, or over the city where its position is not known.
func (f *frame) sunElevation() float64 {
	if f.sunAt == f.now && f.sunDev == f.dev {
		return f.sunNow
	}
	lat, lon := f.position()
	if lat != lat {
		lat, lon = f.cfg.Lat, f.cfg.Lon
	}
	f.sunAt, f.sunDev, f.sunNow = f.now, f.dev, f.sun.at(f.now, lat, lon)
	return f.sunNow
}

// clock is the legal time of the city; the weekday counts from Monday, 1.
func (f *frame) clock() *localClock {
	minute := f.now / 60_000
	if f.clockDone && f.clockAt == minute {
		return &f.clockNow
	}
	t := time.UnixMilli(f.now).In(f.cfg.Location)
	f.clockNow = localClock{
		hour: float64(t.Hour()), minute: float64(t.Minute()), weekday: float64((int(t.Weekday())+6)%7 + 1),
		day: float64(t.Day()), month: float64(t.Month()),
	}
	f.clockNow.year = t.Year()
	f.clockAt, f.clockDone = minute, true
	return &f.clockNow
}

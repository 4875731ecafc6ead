package city

import (
	"math"
	"sort"
	"time"
)

// A fault is what is wrong with a device for good. Faults that come and go (jams, exceedances,
// fires) belong to the class they befall.
type fault uint8

const (
	sound     fault = iota
	deadLamp        // told to burn, draws nothing
	dayBurner       // burns by day as well
	flicker         // a lamp whose power swings
	stuck           // says the same for ever
	silent          // says nothing for an hour every three
	mute            // says nothing after its first words
	slow            // clock some minutes off
	ahead           // clock more than 10 minutes ahead
	garbled         // one message in three is no telemetry
	overfull        // a bin nobody empties
	exceeding       // a station in bad air
)

// A share is how many of a class have a fault, at least one where there are enough of
// them; the first of a class's list comes even to a few.
type share struct {
	fault fault
	of    float64
}

// breakSome gives assets, all of k, their faults. Who is struck is drawn from the seed.
func (c *City) breakSome(k *class, assets []asset) {
	order := make([]int, len(assets))
	for i := range order {
		order[i] = i
	}
	sort.Slice(order, func(i, j int) bool {
		return hash(assets[order[i]].key, 'f') < hash(assets[order[j]].key, 'f')
	})
	for i, s := range k.faults {
		n := int(math.Round(s.of * float64(len(assets))))
		if n == 0 && (len(assets) >= 2*len(k.faults) || i == 0 && len(assets) >= 4) {
			n = 1
		}
		n = min(n, len(order))
		for _, i := range order[:n] {
			assets[i].fault = s.fault
		}
		order = order[n:]
	}
}

// stuckSince is the time whose values a stuck device repeats: a June morning.
var stuckSince = time.Date(2026, time.June, 9, 6, 0, 0, 0, time.UTC)

// drift is how far ahead the device's clock runs.
func (a *asset) drift() time.Duration {
	switch a.fault {
	case slow:
		return time.Duration(within(-4*60, 6*60, a.key, 'd')) * time.Second
	case ahead:
		return time.Duration(within(12*60, 45*60, a.key, 'd')) * time.Second
	}
	return 0
}

// quiet reports whether the device says nothing at t.
func (a *asset) quiet(t time.Time) bool {
	switch a.fault {
	case mute:
		return true
	case silent:
		const cycle = 3 * 3600
		return (uint64(t.Unix())+a.key%cycle)%cycle < 3600
	}
	return false
}

// garbage is what a garbled device says instead of telemetry; nil: it is well at t.
func (a *asset) garbage(t time.Time) []byte {
	if a.fault != garbled || hash(a.key, uint64(t.Unix()))%3 != 0 {
		return nil
	}
	all := []string{
		`{"ts":1732311111123,"power_w":83.`,                  // cut by the radio
		`{"ts":"the day before yesterday","temperature":12}`, // no time
		`{"ts":[1732311111],"status":"ok"}`,                  // wrong type
		`{"temperature":NaN,"battery_level":-inf}`,           // no JSON
		`[[{"temperature":12}]]`,                             // nested where a reading should be
		"temperature=21.4;battery=88\r\n",                    // another protocol
		"\x02\x16\x00\xff\xfe\x9c\x80",                       // bytes off a serial line
		``,
	}
	return []byte(all[hash(a.key, uint64(t.Unix()), 'g')%uint64(len(all))])
}

package city

import (
	"math"
	"time"
)

// hash mixes keys into 64 bits; it is the only source of chance in this package.
func hash(keys ...uint64) uint64 {
	h := uint64(0x8a5cd789635d2dff)
	for _, k := range keys {
		h ^= k
		h += 0x9e3779b97f4a7c15
		h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
		h = (h ^ h>>27) * 0x94d049bb133111eb
		h ^= h >> 31
	}
	return h
}

// hashText makes a key of s.
func hashText(s string) uint64 {
	h := uint64(len(s))
	for i := range len(s) {
		h = hash(h, uint64(s[i]))
	}
	return h
}

// unit is a number in [0,1) made of keys.
func unit(keys ...uint64) float64 { return float64(hash(keys...)>>11) / (1 << 53) }

// within is a number in [least, greatest) made of keys.
func within(least, greatest float64, keys ...uint64) float64 {
	return least + (greatest-least)*unit(keys...)
}

// wander moves smoothly in [-1,1], from one random knot to the next every period.
func wander(t time.Time, period time.Duration, keys ...uint64) float64 {
	at := float64(t.UnixMilli()) / float64(period.Milliseconds())
	knot := math.Floor(at)
	k := append(keys[:len(keys):len(keys)], uint64(int64(knot)))
	a := within(-1, 1, k...)
	k[len(k)-1]++
	b := within(-1, 1, k...)
	f := at - knot
	return a + (b-a)*f*f*(3-2*f)
}

// jitter is fresh in [-1,1] at every second.
func jitter(t time.Time, keys ...uint64) float64 {
	return within(-1, 1, append(keys[:len(keys):len(keys)], uint64(t.Unix()))...)
}

// hump is a bell of height 1 around hour, width hours wide at 60 % height, over a day's circle.
func hump(h, hour, width float64) float64 {
	d := math.Abs(h - hour)
	d = min(d, 24-d)
	return math.Exp(-d * d / (2 * width * width))
}

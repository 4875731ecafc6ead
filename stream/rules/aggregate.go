package rules

import (
	"hash/fnv"
	"math"
	"slices"
	"sort"
)

// An aggregate is a function of the readings of a window. What a window keeps of them must not depend
// on the order in which they came, so sums carry their rounding error along, first and last decide
// equal times by device and value, and the two that need single values keep the ones of the least
// hashes, which are the same whatever the order.
type aggregate uint8

const (
	aggCount aggregate = iota
	aggDistinct
	aggSum
	aggAvg
	aggMin
	aggMax
	aggFirst
	aggLast
	aggStddev
	aggRate
	aggPercentile
)

// aggregates are the functions of `let`, by name.
var aggregates = map[string]aggregate{
	"count": aggCount, "count_distinct": aggDistinct, "sum": aggSum, "avg": aggAvg, "min": aggMin, "max": aggMax,
	"first": aggFirst, "last": aggLast, "stddev": aggStddev, "rate": aggRate, "percentile": aggPercentile,
}

// cells is how many numbers an aggregate keeps a pane.
var cells = [...]int{
	aggCount: 1, aggDistinct: 0, aggSum: 3, aggAvg: 3, aggMin: 1, aggMax: 1, aggFirst: 3, aggLast: 3, aggStddev: 5,
	aggRate: 6, aggPercentile: 0,
}

// keepsValues reports whether an aggregate keeps a sample of single values.
func (a aggregate) keepsValues() bool { return a == aggDistinct || a == aggPercentile }

// start is what an aggregate of no readings is.
func (a aggregate) start(c []float64) {
	clear(c)
	switch a {
	case aggMin, aggMax, aggFirst, aggLast:
		c[0] = nan
	case aggRate:
		c[0], c[3] = nan, nan
	}
}

// add takes the value v, measured at (Unix ms); tie tells devices apart.
func (a aggregate) add(c []float64, v float64, at int64, tie float64) {
	switch a {
	case aggCount:
		c[0]++
	case aggSum, aggAvg:
		c[0]++
		addTo(&c[1], &c[2], v)
	case aggStddev:
		c[0]++
		addTo(&c[1], &c[2], v)
		square := v * v
		addTo(&c[3], &c[4], square)
		addTo(&c[3], &c[4], math.FMA(v, v, -square))
	default:
		a.merge(c, []float64{v, tie, v, v, tie, v}[:max(cells[a], 1)], float64(at))
	}
}

// merge takes what o kept. at is the time of o's cells where they are of one reading, else NaN.
func (a aggregate) merge(c, o []float64, at float64) {
	if at == at { // one reading
		switch a {
		case aggFirst, aggLast:
			o[0] = at
		case aggRate:
			o[0], o[3] = at, at
		}
	}
	switch a {
	case aggCount:
		c[0] += o[0]
	case aggSum, aggAvg:
		mergeSum((*[3]float64)(c), (*[3]float64)(o))
	case aggStddev:
		c[0] += o[0]
		for i := 1; i < len(c); i++ {
			if o[i] != 0 {
				addTo(&c[1+(i-1)/2*2], &c[2+(i-1)/2*2], o[i])
			}
		}
	case aggMin:
		if !(c[0] <= o[0]) && o[0] == o[0] {
			c[0] = o[0]
		}
	case aggMax:
		if !(c[0] >= o[0]) && o[0] == o[0] {
			c[0] = o[0]
		}
	case aggFirst:
		takeEnd(c, o, true)
	case aggLast:
		takeEnd(c, o, false)
	case aggRate:
		takeEnd(c[:3], o[:3], true)
		takeEnd(c[3:], o[3:], false)
	}
}

// mergeSum is merge of sums and averages, the commonest.
func mergeSum(c, o *[3]float64) {
	c[0] += o[0]
	c[1], c[2] = sumOfBoth(c[1], c[2], o[1], o[2])
}

// takeEnd makes c, a time, a tie and a value, the earlier or later of c and o.
func takeEnd(c, o []float64, first bool) {
	if o[0] != o[0] {
		return
	}
	for i := range 3 {
		if c[i] == o[i] {
			continue
		}
		if c[0] != c[0] || (o[i] < c[i]) == first {
			copy(c, o)
		}
		return
	}
}

// addTo adds v to the sum hi+lo without losing what hi alone would round away.
func addTo(hi, lo *float64, v float64) { *hi, *lo = sumOf(*hi, *lo, v) }

// sumOf is addTo of values.
func sumOf(hi, lo, v float64) (float64, float64) {
	s := hi + v
	b := s - hi
	e := (hi - (s - b)) + (v - b) + lo
	hi = s + e
	if hi-hi != 0 { // it is infinite, or was
		return hi, 0
	}
	return hi, e - (hi - s)
}

// sumOfBoth adds two such sums.
func sumOfBoth(hi, lo, ohi, olo float64) (float64, float64) {
	s := hi + ohi
	b := s - hi
	e := (hi - (s - b)) + (ohi - b) + (lo + olo)
	hi = s + e
	if hi-hi != 0 {
		return hi, 0
	}
	return hi, e - (hi - s)
}

// result is what the aggregate comes to; NaN where no reading says anything.
func (a aggregate) result(c []float64) float64 {
	switch a {
	case aggCount, aggMin, aggMax:
		return c[0]
	case aggSum:
		return c[1]
	case aggAvg:
		if c[0] == 0 {
			return nan
		}
		return c[1] / c[0]
	case aggFirst, aggLast:
		if c[0] != c[0] {
			return nan
		}
		return c[2]
	case aggStddev:
		if c[0] == 0 {
			return nan
		}
		mean := c[1] / c[0]
		hi, lo := c[3], c[4] // sum of squares less n mean², at twice the digits
		p := mean * c[1]
		addTo(&hi, &lo, -p)
		addTo(&hi, &lo, -math.FMA(mean, c[1], -p))
		addTo(&hi, &lo, -mean*c[2])
		return math.Sqrt(math.Max(hi/c[0], 0))
	case aggRate:
		hours := (c[3] - c[0]) / 3600_000
		if !(hours > 0) {
			return nan
		}
		return (c[5] - c[2]) / hours
	}
	return nan
}

// maxValues is how many single values a window keeps for count_distinct and percentile: up to so many
// the result is exact, beyond it an estimate (3 % of the count; 1.5 % of the rank at the median).
const maxValues = 1024

// A kept value of a sample; the hash decides which are kept.
type kept struct {
	hash  uint64
	value float64
}

func compareKept(a, b kept) int {
	switch {
	case a.hash < b.hash:
		return -1
	case a.hash > b.hash:
		return 1
	}
	return 0
}

// insert takes one value into a sample, sorted by hash. The same hash is the same value.
func insert(all []kept, k kept) []kept {
	if len(all) == maxValues && k.hash > all[len(all)-1].hash {
		return all
	}
	i, found := slices.BinarySearchFunc(all, k, compareKept)
	if found {
		return all
	}
	if len(all) == maxValues {
		all = all[:maxValues-1]
	}
	return slices.Insert(all, i, k)
}

// union is the sample of all that a and b sampled, in new memory.
func union(a, b []kept) []kept {
	out := make([]kept, 0, min(len(a)+len(b), maxValues))
	for len(out) < maxValues && len(a)+len(b) > 0 {
		switch {
		case len(a) == 0 || len(b) > 0 && b[0].hash < a[0].hash:
			out, b = append(out, b[0]), b[1:]
		default:
			if len(b) > 0 && a[0].hash == b[0].hash {
				b = b[1:]
			}
			out, a = append(out, a[0]), a[1:]
		}
	}
	return out
}

// distinct is how many different hashes were sampled: where the sample is full, how densely it lies
// says how many there are.
func distinct(all []kept) float64 {
	if len(all) < maxValues {
		return float64(len(all))
	}
	return math.Round((maxValues - 1) / (float64(all[maxValues-1].hash) / (1 << 64)))
}

// percentile is the value below or at which p percent of the sample lie: the nearest rank.
func percentile(all []kept, p float64) float64 {
	if len(all) == 0 {
		return nan
	}
	values := make([]float64, len(all))
	for i := range all {
		values[i] = all[i].value
	}
	sort.Float64s(values)
	return values[max(int(math.Ceil(p/100*float64(len(values))))-1, 0)]
}

// hashText spreads a text over 64 bits, the same in every process.
func hashText(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return mix(h.Sum64())
}

// mix spreads the bits of h.
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

package rules

import (
	"fmt"
	"math"
	"testing"
)

// A sliding average of each of so many devices that report every minute, batches of at most 4,096 messages.
func BenchmarkSlidingAverage(b *testing.B) {
	for _, devices := range []int{2_000, 100_000} {
		b.Run(fmt.Sprintf("devices=%d", devices), func(b *testing.B) { slidingAverage(b, devices) })
	}
}

func slidingAverage(b *testing.B, devices int) {
	e := New(Config{}, mustParse(b, `{id: r, window: {type: sliding, size: 10m}, let: {v: avg(x)}, when: v > 1000}`))
	all, partitions := turnOf(b, devices, 1)
	turn := func() (used int64) {
		for i, o := range all {
			for j := range o.Time {
				o.Time[j] += 60_000
				o.Received[j] += 60_000
			}
			began := processorNs()
			e.Apply(partitions[i], 1, o)
			used += processorNs() - began
		}
		return used
	}
	for i, o := range all { // they come through the minute
		for j := range o.Time {
			o.Time[j] += int64(i) * 60_000 / int64(len(all))
			o.Received[j] = o.Time[j]
		}
	}
	for range 12 { // until every window is full
		turn()
	}
	e.Settle()
	before := e.Stats()
	b.ReportAllocs()
	used, least := int64(0), int64(math.MaxInt64)
	for b.Loop() {
		one := turn()
		used, least = used+one, min(least, one)
	}
	b.StopTimer()
	events := e.Settle()
	s := e.Stats()
	if len(events) != 0 || s.Devices != int64(devices) || s.WindowLate != 0 || s.Evaluations-before.Evaluations < (s.Messages-before.Messages)*9/10 {
		b.Fatalf("%d events, %+v; want an evaluation a message, but of the last half minute", len(events), s)
	}
	b.ReportMetric(float64(used)/float64(b.N)/float64(devices), "cpu-ns/reading")
	b.ReportMetric(float64(least)/float64(devices), "least-ns/reading")
}

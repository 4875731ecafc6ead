package rules

import (
	"fmt"
	"testing"

	"panormus/stream/batch"
)

// BenchmarkSnapshot writes a partition of 62,500 devices with ten thresholds, half of them waiting: one of the
// sixteen of a million devices.
func BenchmarkSnapshot(b *testing.B) {
	const devices = 62_500
	text := "rules:\n"
	for i := range 10 {
		text += fmt.Sprintf("  - {id: r%d, when: x > %d, for: %dm}\n", i, 3*i+2, 5+i)
	}
	e := New(Config{Partitions: 1}, mustParse(b, text))
	for first := 0; first < devices; first += 2500 {
		o := &batch.Observations{}
		for i := first; i < first+2500; i++ {
			o.Append(o.Begin(1_790_000_000_000, 1_790_000_000_000, "lab", fmt.Sprintf("device-%07d", i)), "x", float64(i%30), "", 0)
		}
		e.Apply(0, uint64(first+1), o)
	}
	e.Settle()
	b.ReportAllocs()
	size := 0
	for b.Loop() {
		size = len(e.Snapshot(0, devices))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/devices, "ns/device")
	b.ReportMetric(float64(size)/devices, "bytes/device")
}

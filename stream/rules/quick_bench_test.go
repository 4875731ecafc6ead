package rules

import (
	"fmt"
	"testing"

	"panormus/stream/batch"
)

// BenchmarkFilter is one filter on messages of one reading: batches in which each of 64 devices speaks 64
// times, and batches of 4,096 devices.
func BenchmarkFilter(b *testing.B) {
	for _, devices := range []int{64, 4096} {
		b.Run(fmt.Sprintf("devices=%d", devices), func(b *testing.B) {
			e := New(Config{Partitions: 1}, mustParse(b, "{id: r, when: x > 100}"))
			o := &batch.Observations{}
			for i := range 4096 {
				at := int64(1_790_000_000_000 + i/devices)
				o.Append(o.Begin(at, at, "lab", fmt.Sprintf("device-%04d", i%devices)), "x", float64(i%90), "", 0)
			}
			data, err := o.Encode()
			if err != nil {
				b.Fatal(err)
			}
			if o, err = batch.DecodeObservations(data); err != nil {
				b.Fatal(err)
			}
			e.Apply(0, 1, o)
			b.ReportAllocs()
			for b.Loop() {
				for i := range o.Time {
					o.Time[i] += 1000
					o.Received[i] += 1000
				}
				e.Apply(0, 1, o)
			}
			b.StopTimer()
			if events := e.Settle(); len(events) != 0 {
				b.Fatalf("%d events, want none", len(events))
			}
			if s := e.Stats(); s.Evaluations != s.Messages || s.Devices != int64(devices) {
				b.Fatalf("%+v, want an evaluation a message", s)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/4096, "ns/reading")
		})
	}
}

package live

import (
	"fmt"
	"runtime"
	"testing"

	"panormus/stream/batch"
)

// rounds of the same city: every device speaks once a round, five metrics a message.
func city(devices, perBatch, round int) []*batch.Observations {
	metrics := []string{"power_w", "dimming", "voltage_v", "current_a", "temperature_cel"}
	var out []*batch.Observations
	var o *batch.Observations
	for i := range devices {
		if i%perBatch == 0 {
			o = new(batch.Observations)
			out = append(out, o)
		}
		at := int64(1_700_000_000_000 + round*1000)
		h := o.Begin(at, at, "lighting", fmt.Sprintf("palermo-pole-%06d", i))
		for k, m := range metrics {
			o.Append(h, m, float64(i*k+round), "", 0)
		}
	}
	return out
}

func BenchmarkApply(b *testing.B) {
	for _, devices := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("devices=%d", devices), func(b *testing.B) {
			s := New(nil, nil, nil)
			rounds := [][]*batch.Observations{city(devices, 3000, 0), city(devices, 3000, 1)}
			for _, o := range rounds[0] {
				s.Apply(o)
			}
			var buf []Change
			n := 0
			for i := 0; b.Loop(); i++ {
				// Times stay as they are: a reading of the same instant is taken.
				batches := rounds[1]
				o := batches[i%len(batches)]
				for k := range o.Value {
					o.Value[k]++
				}
				s.Apply(o)
				n += o.Len()
				buf = s.Collect(buf[:0])
			}
			if s.Len() != devices {
				b.Fatalf("%d devices, want %d", s.Len(), devices)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/observation")
		})
	}
}

func BenchmarkMemory(b *testing.B) {
	const devices = 100_000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		s := New(nil, nil, nil)
		for _, o := range city(devices, 3000, 0) {
			s.Apply(o)
		}
		s.Collect(nil)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/devices-5*32, "bytes/device-without-metrics")
		runtime.KeepAlive(s)
	}
}

func BenchmarkAppendItem(b *testing.B) {
	s := New(nil, nil, nil)
	for _, o := range city(1000, 1000, 0) {
		s.Apply(o)
	}
	all := s.Devices()
	var buf []byte
	for i := 0; b.Loop(); i++ {
		buf = s.AppendItem(buf[:0], all[i%len(all)], 1)
	}
	if len(buf) < 50 {
		b.Fatalf("an item of %d bytes", len(buf))
	}
}

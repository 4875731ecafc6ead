package batch

import (
	"fmt"
	"testing"
)

func BenchmarkObservations(b *testing.B) {
	for _, messages := range []int{10, 300, 3000} {
		o := sample(messages)
		data, err := o.Encode()
		if err != nil {
			b.Fatal(err)
		}
		rows := float64(messages * 5)
		perRow := func(b *testing.B) {
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
			b.ReportMetric(float64(len(data))/rows, "bytes/row")
		}
		devices := make([]string, messages)
		for i := range devices {
			devices[i] = fmt.Sprintf("pole-%d", i)
		}
		b.Run(fmt.Sprintf("build/rows=%d", messages*5), func(b *testing.B) {
			for b.Loop() {
				o.Reset()
				for m := range messages {
					h := o.Begin(int64(m), int64(m), "lighting", devices[m])
					for _, metric := range [...]string{"power_w", "dimming", "on", "status", "lux"} {
						o.Append(h, metric, 1, "", 0)
					}
				}
			}
			perRow(b)
		})
		b.Run(fmt.Sprintf("encode/rows=%d", messages*5), func(b *testing.B) {
			o := sample(messages)
			for b.Loop() {
				if _, err := o.Encode(); err != nil {
					b.Fatal(err)
				}
			}
			perRow(b)
		})
		b.Run(fmt.Sprintf("decode/rows=%d", messages*5), func(b *testing.B) {
			for b.Loop() {
				if got, err := DecodeObservations(data); err != nil || got.Len() != messages*5 {
					b.Fatal(err)
				}
			}
			perRow(b)
		})
	}
}

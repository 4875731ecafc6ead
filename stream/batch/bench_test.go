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

// frames are the detections of a batch such as the log has them: cameras, each with a frame of a few
// objects whose tracks go on from frame to frame.
func frames(rows int) []Detection {
	out := make([]Detection, rows)
	for i := range out {
		camera, frame := i/4%64, i/256
		r := Absent()
		r.Time, r.Received = 1732311111000+int64(frame*100+camera), 1732311111050+int64(frame*100+camera)
		r.Camera, r.What, r.Class, r.VendorClass = fmt.Sprintf("cam-%04d", camera), WhatObject, ClassCar, "Car"
		r.Track = fmt.Sprintf("%08x-%04x", camera*7919, i%4)
		x := float32(i%100) / 101
		r.Score, r.BoxLeft, r.BoxTop, r.BoxRight, r.BoxBottom = 0.87, x, x/2, x+0.1, x/2+0.2
		r.CenterX, r.CenterY = x+0.05, x/2+0.1
		r.Purpose, r.Expires = "traffic", r.Time+72*3_600_000
		out[i] = r
	}
	return out
}

func BenchmarkDetections(b *testing.B) {
	for _, n := range []int{64, 1024, 16384} {
		rows := frames(n)
		var d Detections
		for i := range rows {
			d.Append(&rows[i])
		}
		data, err := d.Encode()
		if err != nil {
			b.Fatal(err)
		}
		perRow := func(b *testing.B) {
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/row")
			b.ReportMetric(float64(len(data))/float64(n), "bytes/row")
		}
		b.Run(fmt.Sprintf("append/rows=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				d.Reset()
				for i := range rows {
					d.Append(&rows[i])
				}
			}
			perRow(b)
		})
		b.Run(fmt.Sprintf("encode/rows=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Encode(); err != nil {
					b.Fatal(err)
				}
			}
			perRow(b)
		})
		b.Run(fmt.Sprintf("decode/rows=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if got, err := DecodeDetections(data); err != nil || got.Len() != n {
					b.Fatal(err)
				}
			}
			perRow(b)
		})
	}
}

package vds

import (
	"testing"

	"panormus/ingest"
	"panormus/stream/batch"
)

// BenchmarkAxisScene decodes frames and appends their rows to columns.
func BenchmarkAxisScene(b *testing.B) {
	in := &ingest.Input{Domain: "safety", Device: "cam", Payload: []byte(streetFrame), Received: received}
	out := ingest.NewDecoded()
	var columns batch.Detections
	b.ReportAllocs()
	b.SetBytes(int64(len(streetFrame)))
	for b.Loop() {
		out.Reset()
		if err := axisScene(in, out); err != nil || len(out.Detections) != 4 {
			b.Fatalf("%v, %d rows; want 4", err, len(out.Detections))
		}
		if columns.Len() > batch.MaxRows {
			columns.Reset()
		}
		for i := range out.Detections {
			r := &out.Detections[i]
			r.Camera, r.Purpose, r.Received = "cam", "traffic", received
			columns.Append(&r.Detection)
		}
	}
}

// BenchmarkMapping decodes what a mapping of the settings reads.
func BenchmarkMapping(b *testing.B) {
	for _, bc := range []struct {
		m       Mapping
		payload string
	}{{acme(), acmeMessage}, {gate(), gateMessage}} {
		b.Run(bc.m.Format, func(b *testing.B) {
			dec, out := compiled(b, bc.m), ingest.NewDecoded()
			in := &ingest.Input{Domain: "safety", Device: "cam", Payload: []byte(bc.payload), Received: received}
			b.ReportAllocs()
			b.SetBytes(int64(len(bc.payload)))
			for b.Loop() {
				out.Reset()
				if err := dec(in, out); err != nil || len(out.Detections) != 2 {
					b.Fatalf("%v, %d rows; want 2", err, len(out.Detections))
				}
			}
		})
	}
}

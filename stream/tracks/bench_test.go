package tracks

import (
	"fmt"
	"runtime"
	"testing"

	"panormus/stream/batch"
)

// city is what cameras of a partition send in a number of seconds: ten frames a second of eight
// objects, each of which is there for ten seconds; batches are of 40 ms, as they come.
func city(cameras, seconds int) []*batch.Detections {
	classes := []string{batch.ClassPerson, batch.ClassPerson, batch.ClassCar, batch.ClassCar, batch.ClassTruck, batch.ClassBicycle, batch.ClassUnknown, batch.ClassHead}
	var out []*batch.Detections
	for ms := int64(0); ms < int64(seconds)*1000; ms += 40 {
		d := &batch.Detections{}
		for c := range cameras {
			first := (100 - (ms+int64(c)*7)%100) % 100 // of the frames of this camera in these 40 ms
			for f := first; f < 40; f += 100 {
				t := noon + ms + f
				for o := range 8 {
					r := batch.Absent()
					generation := (t - noon + int64(o)*1250) / 10_000
					at := float32((t-noon+int64(o)*1250)%10_000) / 10_000
					r.Time, r.Received, r.Camera, r.What, r.Purpose, r.Expires = t, t+30, fmt.Sprintf("cam-%04d", c), batch.WhatObject, "traffic", t+259_200_000
					r.Track, r.Class, r.VendorClass, r.Score = fmt.Sprint(generation, "-", o), classes[o], classes[o], 0.8
					r.BoxLeft, r.BoxTop, r.BoxRight, r.BoxBottom = at, 0.1*float32(o), at+0.05, 0.1*float32(o)+0.2
					r.Lat, r.Lon = 38.1+float64(at)/1000, 13.3+float64(o)/10_000
					if at > 0.5 {
						r.Zone = "crossing"
					}
					d.Append(&r)
				}
			}
		}
		if d.Len() > 0 {
			out = append(out, d)
		}
	}
	return out
}

func BenchmarkApply(b *testing.B) {
	for _, cameras := range []int{1, 63} {
		b.Run(fmt.Sprintf("cameras=%d", cameras), func(b *testing.B) {
			work := city(cameras, 120)
			rows := 0
			encoded := make([][]byte, len(work))
			for i, d := range work {
				rows += d.Len()
				data, err := d.Encode()
				if err != nil {
					b.Fatal(err)
				}
				encoded[i] = data
			}
			for _, decode := range []bool{false, true} {
				b.Run(fmt.Sprintf("decode=%v", decode), func(b *testing.B) {
					b.ReportAllocs()
					n := 0
					for b.Loop() {
						e := New(Config{})
						for i, d := range work {
							if decode {
								var err error
								if d, err = batch.DecodeDetections(encoded[i]); err != nil {
									b.Fatal(err)
								}
							}
							e.Apply(0, uint64(i+1), d)
							e.Take(0)
						}
						if st := e.Stats(); st.Rows != uint64(rows) || st.Late+st.Dropped+st.Refused != 0 || st.Tracks == 0 {
							b.Fatalf("%+v, want %d rows and none late", st, rows)
						}
						n += rows
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/detection")
				})
			}
		})
	}
}

func BenchmarkSnapshot(b *testing.B) {
	var before, after runtime.MemStats
	work := city(63, 300)
	e := New(Config{})
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i, d := range work {
		e.Apply(0, uint64(i+1), d)
		e.Take(0)
		work[i] = nil
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	st := e.Stats()
	size := 0
	for b.Loop() {
		data, _ := e.Snapshot(0, uint64(len(work)))
		size = len(data)
	}
	e = New(Config{})
	if data, _ := e.Snapshot(0, 0); len(data) > size {
		b.Fatal("an empty snapshot is larger")
	}
	b.ReportMetric(float64(size), "bytes")
	b.ReportMetric(float64(st.Live), "tracks")
	b.ReportMetric(float64(st.Waiting), "waiting")
}

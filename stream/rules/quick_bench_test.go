package rules

import (
	"fmt"
	"math"
	"syscall"
	"testing"

	"panormus/stream/batch"
)

// processorNs is what the process has used, so that a busy machine makes a benchmark not much worse.
func processorNs() int64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}

// turnOf is a turn in which each of so many devices speaks so often, in batches of the partitions, of 4,096
// readings at most.
func turnOf(b *testing.B, devices, repeat int) (all []*batch.Observations, partitions []int) {
	b.Helper()
	ids := make([][]string, 16)
	for d := range devices {
		id := fmt.Sprintf("device-%07d", d)
		p := partition(id, len(ids))
		ids[p] = append(ids[p], id)
	}
	for some := true; some; { // a batch of each partition in turn
		some = false
		for p, left := range ids {
			if len(left) == 0 {
				continue
			}
			some = true
			n := min(4096/repeat, len(left))
			o := &batch.Observations{}
			for r := range repeat {
				for i, id := range left[:n] {
					at := int64(1_790_000_000_000 + r)
					o.Append(o.Begin(at, at, "lab", id), "x", float64(i%90), "", 0)
				}
			}
			data, err := o.Encode()
			if err != nil {
				b.Fatal(err)
			}
			if o, err = batch.DecodeObservations(data); err != nil { // its texts are its own, as in life
				b.Fatal(err)
			}
			all, partitions, ids[p] = append(all, o), append(partitions, p), left[n:]
		}
	}
	return all, partitions
}

// BenchmarkFilter is one filter on messages of one reading, with devices that speak often in a batch and once.
func BenchmarkFilter(b *testing.B) {
	for _, shape := range []struct{ devices, repeat int }{{1000, 64}, {1000, 1}, {16_000, 4}, {16_000, 1}, {100_000, 1}} {
		b.Run(fmt.Sprintf("devices=%d/readings=%d", shape.devices, shape.repeat), func(b *testing.B) {
			e := New(Config{}, mustParse(b, "{id: r, when: x > 100}"))
			all, partitions := turnOf(b, shape.devices, shape.repeat)
			rows := 0
			for i, o := range all {
				e.Apply(partitions[i], 1, o)
				rows += o.Len()
			}
			b.ReportAllocs()
			used, least := int64(0), int64(math.MaxInt64)
			for b.Loop() {
				for _, o := range all {
					for i := range o.Time {
						o.Time[i] += 1000
						o.Received[i] += 1000
					}
				}
				began := processorNs()
				for i, o := range all {
					e.Apply(partitions[i], 1, o)
				}
				one := processorNs() - began
				used, least = used+one, min(least, one)
			}
			b.StopTimer()
			if events := e.Settle(); len(events) != 0 {
				b.Fatalf("%d events, want none", len(events))
			}
			if s := e.Stats(); s.Evaluations != s.Messages || s.Devices != int64(shape.devices) {
				b.Fatalf("%+v, want an evaluation a message", s)
			}
			b.ReportMetric(float64(used)/float64(b.N)/float64(rows), "cpu-ns/reading")
			b.ReportMetric(float64(least)/float64(rows), "least-ns/reading")
		})
	}
}

package rules

import (
	"fmt"
	"testing"

	"panormus/stream/batch"
)

// A sliding average of each of 100,000 devices that report every minute, batches of 1,000 messages.
func BenchmarkSlidingAverage(b *testing.B) {
	const (
		known    = 100_000
		messages = 1_000
		start    = 1_790_000_000_000
	)
	e := New(Config{}, mustParse(b, `{id: r, window: {type: sliding, size: 10m}, let: {v: avg(x)}, when: v > 1000}`))
	batches := make([]*batch.Observations, known/messages)
	for i := range batches {
		o := &batch.Observations{}
		for j := range messages {
			o.Append(o.Begin(0, 0, "lab", fmt.Sprintf("device-%06d", i*messages+j)), "x", float64(j), "", 0)
		}
		batches[i] = o
	}
	n := 0
	apply := func() {
		o := batches[n%len(batches)]
		at := start + int64(n)*60_000/int64(len(batches))
		for i := range o.Time {
			o.Time[i], o.Received[i] = at, at
		}
		e.Apply(n%len(batches)%16, uint64(n+1), o)
		n++
	}
	for range 12 * len(batches) {
		apply()
	}
	e.Settle()
	b.ReportAllocs()
	for b.Loop() {
		apply()
	}
	b.StopTimer()
	events := e.Settle()
	if s := e.Stats(); len(events) != 0 || s.Devices != known || s.WindowLate != 0 || s.Evaluations < s.Messages*9/10 {
		b.Fatalf("%d events, %+v; want an evaluation a message, but of the last half minute", len(events), s)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/messages, "ns/reading")
}

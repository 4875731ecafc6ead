package rules

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"panormus/stream/batch"
	streamlog "panormus/stream/log"
	"panormus/stream/log/logtest"
)

const rowRules = `
rules:
  - {id: person, on: detections, when: 'class == "person"', hold: 1s}
  - {id: track, on: detections, when: 'class == "car"', key: track, for: 1s, hold: 6s}
  - {id: tamper, on: detections, when: value == 1, clear: value == 0, hold: 1d, severity: major}
`

// street is a made-up morning of two cameras, some rows late.
func street(seed uint64, rows int) []*batch.Detections {
	rnd := rand.New(rand.NewPCG(seed, 7))
	at := rowStart
	var out []*batch.Detections
	for range rows {
		at += int64(rnd.IntN(2500))
		d := &batch.Detections{}
		row := batch.Absent()
		row.Time, row.Received = at-int64(rnd.IntN(3)*rnd.IntN(2000)), at+50
		row.Camera, row.What, row.Track = fmt.Sprintf("cam-%d", rnd.IntN(2)), batch.WhatObject, fmt.Sprintf("t%d", rnd.IntN(4))
		row.Class = []string{"person", "car", "car", "bus"}[rnd.IntN(4)]
		if rnd.IntN(20) == 0 {
			row.What, row.Value = batch.WhatTamper, float64(rnd.IntN(2))
		}
		d.Append(&row)
		out = append(out, d)
	}
	return out
}

func putDetections(t testing.TB, l *streamlog.Log, batches []*batch.Detections) {
	t.Helper()
	for i, d := range batches {
		data, err := d.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Publish(within(t), batch.KindDetections, i%l.Partitions(), "", data); err != nil {
			t.Fatal(err)
		}
	}
}

// rowEvents are the events on the log, each as text, in its order.
func rowEvents(t testing.TB, l *streamlog.Log) []string {
	t.Helper()
	last, err := l.LastSeq(within(t), batch.KindEvents)
	if err != nil || last == 0 {
		return nil
	}
	r, err := l.Read(within(t), batch.KindEvents, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out []string
	for seq := uint64(0); seq < last; {
		m, err := r.Next(within(t))
		if err != nil {
			t.Fatal(err)
		}
		seq = m.Seq
		events, err := batch.DecodeEvents(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range events {
			out = append(out, fmt.Sprintf("%s %s %s %s %d", ev.ID, ev.Rule, ev.State, ev.Key, ev.Time.UnixMilli()))
		}
	}
	return out
}

// A worker that is killed at any step, again and again, puts the same events on the log, each once,
// as one that runs through.
func TestRowWorkerKilled(t *testing.T) {
	set := mustParse(t, rowRules)
	through := func(kill bool) []string {
		l := logtest.New(t, nil)
		putDetections(t, l, street(3, 400))
		end, err := l.LastSeq(within(t), batch.KindDetections)
		if err != nil {
			t.Fatal(err)
		}
		rnd := rand.New(rand.NewPCG(1, 1))
		for kills := 0; ; kills++ {
			w := NewRowWorker(RowWorkerConfig{Log: l, Rules: FixedSource{set}, On: OnDetections, Checkpoint: 3 * time.Millisecond})
			// Its own clock must end nothing: the rows lie far ahead of it, and a tick is far behind them.
			left := int64(1 + rnd.IntN(25))
			var steps atomic.Int64
			if kill && kills < 60 {
				w.hook = func(string) error {
					if steps.Add(1) >= left {
						return errKilled
					}
					return nil
				}
			}
			ctx, cancel := context.WithCancel(within(t))
			done := make(chan error, 1)
			go func() { done <- w.Run(ctx) }()
			for {
				select {
				case err = <-done:
				case <-time.After(2 * time.Millisecond):
					if w.applied.Load() < end {
						continue
					}
					cancel()
					err = <-done
				}
				break
			}
			cancel()
			if err == nil {
				return rowEvents(t, l)
			}
			if !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
		}
	}
	want, got := through(false), through(true)
	if len(want) < 50 {
		t.Fatalf("%d events, want enough to tell", len(want))
	}
	if !slices.Equal(got, want) {
		t.Errorf("%d events after kills:\n%s\nwant %d:\n%s", len(got), strings.Join(got, "\n"), len(want), strings.Join(want, "\n"))
	}
}

func TestRowWorkerReplacesRules(t *testing.T) {
	l := logtest.New(t, nil)
	source := &changing{set: mustParse(t, rowRules), changed: make(chan struct{})}
	w := NewRowWorker(RowWorkerConfig{Log: l, Rules: source, On: OnDetections, Metrics: prometheus.NewRegistry()})
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	putDetections(t, l, street(3, 40))
	wait := func(what string, ok func([]string) bool) {
		t.Helper()
		for !ok(rowEvents(t, l)) {
			if ctx.Err() != nil {
				t.Fatalf("not %s: %q", what, rowEvents(t, l))
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
	wait("raised", func(all []string) bool { return strings.Contains(strings.Join(all, "\n"), " person raised ") })
	source.put(mustParse(t, `{id: other, on: detections, when: 'class == "bus"', hold: 1d}`))
	wait("ended", func(all []string) bool {
		open := map[string]bool{}
		for _, line := range all {
			f := strings.Fields(line)
			open[f[1]+f[3]] = f[2] == "raised"
		}
		for k, is := range open {
			if is && !strings.HasPrefix(k, "other") {
				return false
			}
		}
		return true
	})
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func BenchmarkRows(b *testing.B) {
	var d batch.Detections
	for i := range 10_000 {
		row := batch.Absent()
		row.Time, row.Received = rowStart+int64(i), rowStart+int64(i)
		row.Camera, row.What, row.Class, row.Track = fmt.Sprintf("cam-%d", i%100), batch.WhatObject, "car", fmt.Sprintf("t%d", i%800)
		d.Append(&row)
	}
	data, err := d.Encode()
	if err != nil {
		b.Fatal(err)
	}
	e := NewRowEngine(Config{}, OnDetections, Defaults())
	n := 0
	for b.Loop() {
		if err := eachDetection(data, func(r *Row) { n++; e.Apply(1, r) }); err != nil || len(e.Settle()) != 0 {
			b.Fatal("events of cars that pass, or ", err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/row")
}

package log_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"panormus/stream/batch"
	"panormus/stream/log"
	"panormus/stream/log/logtest"
)

// Detections that everybody has read go long before observations; the newest batch stays.
func TestVideoAgesSooner(t *testing.T) {
	l := logtest.New(t, func(c *log.Config) { c.VideoMaxAge = time.Millisecond })
	for _, kind := range []batch.Kind{batch.KindObservations, batch.KindDetections} {
		var last uint64
		for range 5 {
			seq, err := l.Publish(within(t), kind, 0, "", []byte("batch"))
			if err != nil {
				t.Fatal(err)
			}
			last = seq
		}
		if err := l.SetPosition(within(t), "writer", kind, log.Position{Seq: last}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(within(t))
	var wg sync.WaitGroup
	wg.Go(func() { l.Run(ctx) })
	defer wg.Wait()
	defer stop()
	first := func(kind batch.Kind) uint64 {
		r, err := l.Read(within(t), kind, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		m, err := r.Next(within(t))
		if err != nil {
			t.Fatal(err)
		}
		return m.Seq
	}
	for first(batch.KindDetections) != 5 {
		if ctx.Err() != nil {
			t.Fatal("old detections are still there")
		}
		time.Sleep(10 * time.Millisecond)
	}
	if got := first(batch.KindObservations); got != 1 {
		t.Errorf("observations begin at %d, want 1: they are not old", got)
	}
}

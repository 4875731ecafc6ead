package tracks

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"panormus/stream/batch"
	streamlog "panormus/stream/log"
	"panormus/stream/log/logtest"
)

// A worker that ends as soon as it has moved its position, loses its newest checkpoints by that and finds that the log
// has let go of all that nobody claims any more, begins with the checkpoints before and leaves what one leaves to
// which nothing happened.
func TestWorkerFallsBack(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 8))
	var rows []batch.Detection
	for _, camera := range []string{"a", "b"} {
		rows = append(rows, street(rnd, camera)...)
	}
	work := byCamera(batches(rnd, shuffled(rnd, rows), 40))
	l := logtest.New(t, func(c *streamlog.Config) { c.Partitions = 2 })
	put(t, l, work)
	w := NewWorker(WorkerConfig{Log: l})
	w.now = still
	if err := until(t, w, func() bool { return true }); err != nil {
		t.Fatal(err)
	}
	endAll(t, l)
	want := logged(t, l).lines()

	s := logtest.Serve(t)
	l, err := streamlog.Open(within(t), streamlog.Config{URL: s.URL, Partitions: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	const parts = 6
	torn, dropped := 0, uint64(0)
	for part := range parts {
		put(t, l, work[part*len(work)/parts:(part+1)*len(work)/parts])
		often := []time.Duration{time.Millisecond, time.Hour}[part%2] // or only at its end, beside what it began with
		w := NewWorker(WorkerConfig{Log: l, Checkpoint: often})
		w.every, w.most, w.now = time.Millisecond, 1+rnd.IntN(3), still
		if err := until(t, w, func() bool { return true }); err != nil { // ends as it has moved its position
			t.Fatal(err)
		}
		p, err := l.Position(within(t), Consumer, batch.KindDetections)
		if err != nil {
			t.Fatal(err)
		}
		if s.Thin(within(t), t, batch.KindDetections, p.Seq+1); p.Seq > dropped {
			dropped = p.Seq
		}
		torn += tearAll(within(t), t, l, s)
	}
	endAll(t, l)
	same(t, logged(t, l).lines(), want)
	if torn < parts || dropped < uint64(len(work)/4) {
		t.Errorf("%d checkpoints lost, of %d batches %d dropped; want enough to mean something", torn, len(work), dropped)
	}
}

// tearAll loses the newest of all checkpoints that have one before.
func tearAll(ctx context.Context, t testing.TB, l *streamlog.Log, s *logtest.Server) (torn int) {
	t.Helper()
	objects, err := l.Objects(ctx, Consumer)
	if err != nil {
		t.Fatal(err)
	}
	for p := range l.Partitions() {
		all, err := objects.Generations(ctx, objectName(p))
		if err != nil {
			t.Fatal(err)
		}
		if len(all) == 2 {
			s.Tear(ctx, t, Consumer, all[0])
			torn++
		}
	}
	return torn
}

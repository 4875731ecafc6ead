package tracks

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"panormus/stream/batch"
	streamlog "panormus/stream/log"
	"panormus/stream/log/logtest"
)

// patience bounds waits for things that happen at once on an idle machine.
const patience = 2 * time.Minute

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func put(t testing.TB, l *streamlog.Log, work []*batch.Detections) {
	t.Helper()
	for _, d := range work {
		data, err := d.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Publish(within(t), batch.KindDetections, l.Partition(d.Camera.At(0)), "", data); err != nil {
			t.Fatal(err)
		}
	}
}

// logged reads what the tables would hold of everything on the log.
func logged(t testing.TB, l *streamlog.Log) *tables {
	t.Helper()
	tb := newTables()
	for _, kind := range []batch.Kind{batch.KindTracks, batch.KindCounts} {
		last, err := l.LastSeq(within(t), kind)
		if err != nil {
			t.Fatal(err)
		}
		r, err := l.Read(within(t), kind, 0)
		if err != nil {
			t.Fatal(err)
		}
		for seq := uint64(0); seq < last; {
			m, err := r.Next(within(t))
			if err != nil {
				t.Fatal(err)
			}
			seq = m.Seq
			var tracks []batch.Track
			var counts []batch.Count
			if kind == batch.KindTracks {
				tracks, err = batch.DecodeTracks(m.Data)
			} else {
				counts, err = batch.DecodeCounts(m.Data)
			}
			if err != nil {
				t.Fatal(err)
			}
			tb.add(tracks, counts)
		}
		r.Close()
	}
	return tb
}

// until runs w till everything on the log is applied and enough says so, then stops it.
func until(t testing.TB, w *Worker, enough func() bool) error {
	t.Helper()
	ctx, stop := context.WithCancel(within(t))
	defer stop()
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	for {
		select {
		case err := <-done:
			return err
		case <-time.After(2 * time.Millisecond):
		}
		if lag, err := w.Lag(ctx); err == nil && lag == 0 && enough() {
			stop()
			return <-done
		}
	}
}

// still is a clock that stands, for a worker that takes nobody for silent; a running one makes
// everybody silent.
func still() time.Time { return time.UnixMilli(noon) }

// endAll runs a worker that takes every camera for silent.
func endAll(t testing.TB, l *streamlog.Log) {
	t.Helper()
	w := NewWorker(WorkerConfig{Log: l})
	var calls atomic.Int64
	w.every = time.Millisecond
	w.now = func() time.Time { return time.UnixMilli(noon).Add(time.Duration(calls.Add(1)) * 2 * time.Minute) }
	var from int64
	err := until(t, w, func() bool {
		if from == 0 {
			from = calls.Load()
		}
		return calls.Load() > from+10
	})
	if err != nil {
		t.Fatal(err)
	}
}

// byCamera are batches of one camera each, since one of the log is of one partition.
func byCamera(all []*batch.Detections) (out []*batch.Detections) {
	for _, d := range all {
		of := map[string]*batch.Detections{}
		for i := range d.Len() {
			r := d.Row(i)
			if of[r.Camera] == nil {
				of[r.Camera] = &batch.Detections{}
				out = append(out, of[r.Camera])
			}
			of[r.Camera].Append(&r)
		}
	}
	return out
}

var errKilled = errors.New("killed")

// A worker that is killed at any step and started again leaves what one leaves that was not.
func TestWorkerSurvivesKills(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	var rows []batch.Detection
	for _, camera := range []string{"a", "b", "c"} {
		rows = append(rows, street(rnd, camera)...)
	}
	work := byCamera(batches(rnd, shuffled(rnd, rows), 40))
	lagging := func() bool { return true }
	l := logtest.New(t, nil)
	put(t, l, work)
	w := NewWorker(WorkerConfig{Log: l})
	w.now = still
	if err := until(t, w, lagging); err != nil {
		t.Fatal(err)
	}
	endAll(t, l)
	want := logged(t, l).lines()
	if len(want) < 300 {
		t.Fatalf("%d rows, want some streets worth of testing", len(want))
	}

	l = logtest.New(t, nil)
	kills := 0
	const parts = 4
	for part := range parts {
		put(t, l, work[part*len(work)/parts:(part+1)*len(work)/parts])
		for at := 1; ; at++ { // at each step once, then to the end of what there is
			w := NewWorker(WorkerConfig{Log: l, Checkpoint: time.Duration(1+rnd.IntN(10)) * time.Millisecond})
			w.every, w.most, w.now = time.Duration(1+rnd.IntN(5))*time.Millisecond, 1+rnd.IntN(20), still
			var mu sync.Mutex
			left := at
			w.hook = func(string) error {
				mu.Lock()
				defer mu.Unlock()
				if left--; left <= 0 && at < 30 {
					return errKilled // and at every later step: it is dead
				}
				return nil
			}
			err := until(t, w, lagging)
			if errors.Is(err, errKilled) {
				kills++
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	endAll(t, l)
	same(t, logged(t, l).lines(), want)
	if kills < 50 {
		t.Errorf("%d kills, want enough to mean something", kills)
	}
	last, err := l.LastSeq(within(t), batch.KindDetections)
	if err != nil {
		t.Fatal(err)
	}
	endAll(t, l) // the position is of the checkpoint before
	if p, err := l.Position(within(t), Consumer, batch.KindDetections); err != nil || p.Seq != last {
		t.Errorf("position %+v, %v; want %d, nothing waits", p, err, last)
	}
	t.Logf("%d kills, %d rows", kills, len(want))
}

// The position stays below the rows that wait, so that the log keeps them.
func TestPositionStaysBelowWhatWaits(t *testing.T) {
	l := logtest.New(t, nil)
	row := func(at int64) *batch.Detections {
		r := batch.Absent()
		r.Time, r.Received, r.Camera, r.What, r.Track, r.Class = at, at, "a", batch.WhatObject, "1", batch.ClassCar
		d := &batch.Detections{}
		d.Append(&r)
		return d
	}
	put(t, l, []*batch.Detections{row(noon), row(noon + 8_000), row(noon + 12_000)})
	reg := prometheus.NewPedanticRegistry()
	w := NewWorker(WorkerConfig{Log: l, Metrics: reg})
	w.now = still
	if err := until(t, w, func() bool { return true }); err != nil {
		t.Fatal(err)
	}
	if p, err := l.Position(within(t), Consumer, batch.KindDetections); err != nil || p.Seq != 1 {
		t.Errorf("position %+v, %v; want 1: the others wait", p, err)
	}
	if st := w.Stats(); st.Rows != 3 || st.Waiting != 2 || st.Cameras != 1 {
		t.Errorf("%+v, want 3 rows of which 2 wait", st)
	}
	if families, err := reg.Gather(); err != nil || len(families) < 15 {
		t.Errorf("%d metrics, %v", len(families), err)
	}
	endAll(t, l)
	tb := logged(t, l)
	if len(tb.tracks) != 1 {
		t.Fatalf("%+v, want one track", tb.tracks)
	}
	for _, tr := range tb.tracks {
		if tr.Detections != 3 || tr.End != at(noon+12_000) {
			t.Errorf("%+v, want all three detections", tr)
		}
	}
}

// Batches and checkpoints that cannot be read stop nothing.
func TestWorkerGoesOnPastWhatIsBroken(t *testing.T) {
	l := logtest.New(t, nil)
	objects, err := l.Objects(within(t), Consumer)
	if err != nil {
		t.Fatal(err)
	}
	if err := objects.Put(within(t), objectName(l.Partition("a")), []byte("PTS\x01 and no more")); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Publish(within(t), batch.KindDetections, l.Partition("a"), "", []byte("no batch")); err != nil {
		t.Fatal(err)
	}
	put(t, l, batches(rand.New(rand.NewPCG(1, 1)), street(rand.New(rand.NewPCG(1, 1)), "a"), 100))
	w := NewWorker(WorkerConfig{Log: l})
	w.now = still
	if err := until(t, w, func() bool { return true }); err != nil {
		t.Fatal(err)
	}
	if st := w.Stats(); st.Rows == 0 || st.Counts == 0 {
		t.Errorf("%+v, want what came after", st)
	}
}

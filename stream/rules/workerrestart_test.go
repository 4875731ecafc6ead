package rules

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"panormus/stream/batch"
	streamlog "panormus/stream/log"
	"panormus/stream/log/logtest"
)

// What the clock raised before a kill and the replay ends otherwise is ended, once.
func TestWorkerEndsWhatTheReplayLost(t *testing.T) {
	l := logtest.New(t, nil)
	set := mustParse(t, "{id: hot, when: x > 1}")
	r := set.Rules[0]
	b := &bound{Rule: r}
	now := time.Now().UnixMilli()
	data, err := batch.EncodeEvents([]batch.Event{b.event("raised", "d", now-60_000, now-1000, now-1000, evidence{}, 0, "")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Publish(within(t), batch.KindEvents, 0, "", data); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		w := start(t, WorkerConfig{Log: l, Rules: FixedSource{set}}, nil)
		events := see(t, l, 2)
		if events[1].State != "cleared" || events[1].ID != eventID("hot", "d", now-60_000, "cleared") {
			t.Errorf("%+v", events[1])
		}
		if err := w.stop(); err != nil {
			t.Fatal(err)
		}
	}
	byID(t, logged(t, l))
}

// evaluateAndDie runs a worker whose clock stands still until all is evaluated, and kills it before anything is kept.
func evaluateAndDie(t *testing.T, l *streamlog.Log, set *Set) {
	t.Helper()
	var dead atomic.Bool
	w := NewWorker(WorkerConfig{Log: l, Rules: FixedSource{set}, Checkpoint: time.Hour})
	w.every = time.Hour
	w.hook = func(string) error {
		if dead.Load() {
			return errKilled
		}
		return nil
	}
	if err := untilSo(t, w, func(ctx context.Context) bool {
		lag, err := w.Lag(ctx)
		dead.Store(err == nil && lag == 0)
		return dead.Load()
	}); !errors.Is(err, errKilled) {
		t.Fatalf("%v, want it killed with nothing kept", err)
	}
}

// What stood when the messages ended is ended by the worker's clock; by the first tick after a restart as
// by that of a worker that was not ended, once and for its own reason.
func TestWorkerEndsOnceWhatTheClockEnds(t *testing.T) {
	set := mustParse(t, `rules:
  - {id: mean, window: {type: hopping, size: 10s, every: 5s}, let: {v: avg(x)}, when: v > 50}
  - {id: slide, window: {type: sliding, size: 10s}, let: {v: avg(x)}, when: v > 50}
  - {id: twice, sequence: [{as: a, when: x > 50}, {as: b, within: 5s, when: x > 50}], hold: 10s}
  - {id: meanest, key: '"all"', window: {type: tumbling, size: 10s}, let: {v: max(x)}, when: v > 50}`)
	var work []*batch.Observations
	at := time.Now().Add(-10 * time.Minute).UnixMilli()
	for i := range int64(90) {
		o := &batch.Observations{}
		o.Append(o.Begin(at+1000*i, at+1000*i, "lab", "d"), "x", 60, "", 0)
		work = append(work, o)
	}
	toTheEnd := func(l *streamlog.Log) map[string]batch.Event {
		t.Helper()
		w := start(t, WorkerConfig{Log: l, Rules: FixedSource{set}}, nil)
		for cleared, n := map[string]bool{}, 0; len(cleared) < len(set.Rules); {
			all := see(t, l, uint64(n+1))
			for n = range all {
				if all[n].State == "cleared" {
					cleared[all[n].Rule] = true
				}
			}
			n++
		}
		if err := w.stop(); err != nil {
			t.Fatal(err)
		}
		return byID(t, logged(t, l))
	}
	undisturbed, l := logtest.New(t, nil), logtest.New(t, nil)
	put(t, undisturbed, work)
	put(t, l, work)
	evaluateAndDie(t, l, set)
	for _, ev := range logged(t, l) {
		if ev.State == "cleared" {
			t.Fatalf("%+v: ended already", ev)
		}
	}
	sameEvents(t, toTheEnd(l), toTheEnd(undisturbed))
}

// What stands since another time than it was first told with, after a late reading, is not taken for lost by a restart.
func TestWorkerHoldsWhatWasCorrected(t *testing.T) {
	set := mustParse(t, "rules:\n  - {id: hot, when: x > 50}\n  - {id: silent, absent: 1s}")
	l := logtest.New(t, nil)
	at := time.Now().Add(-10 * time.Minute).UnixMilli()
	for _, r := range []struct{ second, x float64 }{{0, 10}, {5, 60}, {3, 60}} {
		o := &batch.Observations{}
		o.Append(o.Begin(at+int64(1000*r.second), at+6000, "lab", "d"), "x", r.x, "", 0)
		put(t, l, []*batch.Observations{o})
	}
	evaluateAndDie(t, l, set)
	before := logged(t, l)
	if len(before) != 2 || before[0].State != "raised" || before[1].State != "updated" {
		t.Fatalf("%+v, want it raised and corrected", before)
	}
	w := start(t, WorkerConfig{Log: l, Rules: FixedSource{set}}, nil)
	see(t, l, 3) // of silence, which the clock tells once what was lost is told
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if after := logged(t, l); len(after) != 3 || after[2].Rule != "silent" {
		t.Errorf("%+v, want nothing told but the silence", after[2:])
	}
}

package rules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"panormus/stream/batch"
	streamlog "panormus/stream/log"
	"panormus/stream/log/logtest"
)

// patience bounds waits for things that happen at once on an idle machine.
const patience = 60 * time.Second

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func mustParse(t testing.TB, text string) *Set {
	t.Helper()
	set, err := Parse("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

const crashRules = `
rules:
  - {id: hot, when: temp > 50, clear: temp < 45, text: "{device} at {temp}"}
  - {id: hot-long, when: temp > 50, for: 40s}
  - {id: hot-zone, when: temp > 55, for: 10s, key: 'device.startsWith("a") ? "a" : "b"'}
  - {id: ratio, when: temp / load > 8 && status != "off", severity: major}
`

// day is a made-up day of a few devices: some readings late, some repeated.
func day(seed uint64, messages int) []*batch.Observations {
	rnd := rand.New(rand.NewPCG(seed, 1))
	devices := []string{"a1", "a2", "a3", "b1", "b2", "b3", "b4"}
	at := int64(1_790_000_000_000)
	var out []*batch.Observations
	for range messages {
		at += int64(rnd.IntN(3000))
		o := &batch.Observations{}
		t := at
		if rnd.IntN(10) == 0 {
			t -= int64(rnd.IntN(20_000)) // late, inside the lateness
		}
		h := o.Begin(t, at+50, "lab", devices[rnd.IntN(len(devices))])
		o.Append(h, "temp", 30+40*rnd.Float64(), "", 0)
		if rnd.IntN(2) == 0 {
			o.Append(h, "load", float64(rnd.IntN(10)), "", 0)
		}
		if rnd.IntN(5) == 0 {
			o.Append(h, "status", nan, []string{"on", "off"}[rnd.IntN(2)], 0)
		}
		out = append(out, o)
	}
	return out
}

func put(t testing.TB, l *streamlog.Log, batches []*batch.Observations) {
	t.Helper()
	for _, o := range batches {
		data, err := o.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Publish(within(t), batch.KindObservations, l.Partition(o.Device.At(0)), "", data); err != nil {
			t.Fatal(err)
		}
	}
}

// logged reads every event on the log.
func logged(t testing.TB, l *streamlog.Log) []batch.Event {
	t.Helper()
	last, err := l.LastSeq(within(t), batch.KindEvents)
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.Read(within(t), batch.KindEvents, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out []batch.Event
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
		out = append(out, events...)
	}
	return out
}

// until runs w till everything on the log is evaluated, then stops it.
func until(t testing.TB, w *Worker) error {
	t.Helper()
	ctx, stop := context.WithCancel(within(t))
	defer stop()
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	for {
		select {
		case err := <-done:
			return err
		case <-time.After(5 * time.Millisecond):
		}
		if lag, err := w.Lag(ctx); err == nil && lag == 0 {
			stop()
			return <-done
		}
	}
}

func byID(t testing.TB, events []batch.Event) map[string]batch.Event {
	t.Helper()
	out := map[string]batch.Event{}
	for _, ev := range events {
		if _, twice := out[ev.ID]; twice {
			t.Errorf("event %s of %s %s is on the log twice", ev.ID, ev.Rule, ev.Key)
		}
		out[ev.ID] = ev
	}
	return out
}

func sameEvents(t testing.TB, got, want map[string]batch.Event) {
	t.Helper()
	for id, w := range want {
		g, ok := got[id]
		if !ok {
			t.Errorf("missing: %s %s %s at %v", w.Rule, w.Key, w.State, w.Time)
			continue
		}
		if g.Text != w.Text || !g.Time.Equal(w.Time) || string(g.Context) != string(w.Context) || g.Device != w.Device || g.Zone != w.Zone {
			t.Errorf("%s %s %s differs:\n%+v %s\nwant\n%+v %s", w.Rule, w.Key, w.State, g, g.Context, w, w.Context)
		}
	}
	for id, g := range got {
		if _, ok := want[id]; !ok {
			t.Errorf("too many: %s %s %s at %v since %s", g.Rule, g.Key, g.State, g.Time, g.Context)
		}
	}
}

var errKilled = errors.New("killed")

// A worker that is killed between any two steps and started again leaves on the log the events of
// one that was not, each once.
func TestWorkerSurvivesKills(t *testing.T) {
	set := mustParse(t, crashRules)
	work := day(7, 600)
	l := logtest.New(t, nil)
	put(t, l, work)
	if err := until(t, NewWorker(WorkerConfig{Log: l, Rules: FixedSource{set}})); err != nil {
		t.Fatal(err)
	}
	want := byID(t, logged(t, l))
	if len(want) < 100 {
		t.Fatalf("%d events, want a day worth of testing", len(want))
	}
	l = logtest.New(t, nil)
	rnd := rand.New(rand.NewPCG(3, 4))
	kills := 0
	for part := range 6 {
		put(t, l, work[part*100:(part+1)*100])
		for {
			w := NewWorker(WorkerConfig{Log: l, Rules: FixedSource{set}, Checkpoint: time.Duration(1+rnd.IntN(20)) * time.Millisecond})
			var mu sync.Mutex
			left := 1 + rnd.IntN(40)
			w.hook = func(string) error {
				mu.Lock()
				defer mu.Unlock()
				if left--; left <= 0 {
					return errKilled // and at every later step: it is dead
				}
				return nil
			}
			err := until(t, w)
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
	if kills < 5 {
		t.Errorf("%d kills, want enough to mean something", kills)
	}
	sameEvents(t, byID(t, logged(t, l)), want)
	if p, err := l.Position(within(t), Consumer, batch.KindObservations); err != nil || p.Seq != 600 {
		t.Errorf("position %+v, %v; want 600 after a clean stop", p, err)
	}
	t.Logf("%d kills, %d events", kills, len(want))
}

func TestEventsSayWhy(t *testing.T) {
	l := logtest.New(t, nil)
	o := &batch.Observations{}
	h := o.Begin(1_790_000_000_000, 1_790_000_000_050, "lab", "a1")
	o.Append(h, "temp", 61.26, "", 0)
	put(t, l, []*batch.Observations{o})
	w := NewWorker(WorkerConfig{Log: l, Rules: FixedSource{mustParse(t, crashRules)}})
	if err := until(t, w); err != nil {
		t.Fatal(err)
	}
	events := logged(t, l)
	if len(events) != 1 || events[0].Text != "a1 at 61.3" || w.Events() != 1 {
		t.Fatalf("%+v, want the one of hot", events)
	}
	var c eventContext
	if err := json.Unmarshal(events[0].Context, &c); err != nil || fmt.Sprint(c.Values) != "map[temp:61.26]" ||
		c.When != "temp > 50" || string(c.Thresholds) != `[{"value":"temp","is":">","limit":50}]` || c.Since != "2026-09-21T14:13:20.000Z" {
		t.Errorf("%s, %v", events[0].Context, err)
	}
}

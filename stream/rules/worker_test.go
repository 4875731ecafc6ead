package rules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

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
  - {id: hot-window, window: {type: hopping, size: 30s, every: 10s}, let: {v: avg(temp), p: "percentile(temp, 90)"}, when: v > 52}
  - {id: hot-windows, window: {type: tumbling, size: 20s}, let: {v: max(temp), n: count_distinct(device)}, when: v > 60, key: 'device.startsWith("a") ? "a" : "b"'}
  - {id: hot-then-cold, sequence: [{as: a, when: temp > 60}, {as: b, within: 20s, when: temp < 40}], unless: {within: 3s, when: temp > 65}, hold: 5s, key: 'device.startsWith("a") ? "a" : "b"'}
  - {id: hotter, params: {by: 20}, when: 'temp > of("a1", "temp") + by'}
  - {id: hotter-long, when: 'temp > of("b1", "temp")', clear: 'temp < of("b1", "temp") - 5', for: 10s, key: 'device.startsWith("a") ? "a" : "b"'}
  - {id: ratio, when: temp / load > 8 && status != "off", severity: major}
`

// day is a made-up day of a few devices: some readings late, some repeated.
func day(seed uint64, messages int) []*batch.Observations {
	rnd := rand.New(rand.NewPCG(seed, 1))
	devices := []string{"a1", "a2", "a3", "b1", "b2", "b3", "b4"}
	at := int64(4_100_000_000_000) // far ahead, so that the worker's own clock decides nothing
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
	return untilSo(t, w, func(ctx context.Context) bool {
		lag, err := w.Lag(ctx)
		return err == nil && lag == 0
	})
}

// untilSo runs w till it is so, then stops it.
func untilSo(t testing.TB, w *Worker, so func(context.Context) bool) error {
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
		if so(ctx) {
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

// ofOneWorker are the events that a worker makes of a day's work without being disturbed.
func ofOneWorker(t testing.TB, set *Set, work []*batch.Observations, edit func(*streamlog.Config)) map[string]batch.Event {
	t.Helper()
	l := logtest.New(t, edit)
	put(t, l, work)
	if err := until(t, NewWorker(WorkerConfig{Log: l, Rules: FixedSource{set}})); err != nil {
		t.Fatal(err)
	}
	want := byID(t, logged(t, l))
	if len(want) < 100 {
		t.Fatalf("%d events, want a day worth of testing", len(want))
	}
	return want
}

// A worker that is killed between any two steps and started again leaves on the log the events of
// one that was not, each once.
func TestWorkerSurvivesKills(t *testing.T) {
	t.Parallel()
	set := mustParse(t, crashRules)
	work := day(7, 600)
	want := ofOneWorker(t, set, work, nil)
	l := logtest.New(t, nil)
	rnd := rand.New(rand.NewPCG(3, 4))
	kills := 0
	for part := range 6 {
		put(t, l, work[part*100:(part+1)*100])
		for {
			w := NewWorker(WorkerConfig{Log: l, Rules: FixedSource{set}, Checkpoint: time.Duration(1+rnd.IntN(10)) * time.Millisecond})
			w.every = time.Duration(1+rnd.IntN(10)) * time.Millisecond
			w.most = 1 + rnd.IntN(20)
			var mu sync.Mutex
			left := 1 + rnd.IntN(60)
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
	objects, err := l.Objects(within(t), Consumer)
	if err != nil {
		t.Fatal(err)
	}
	all, err := objects.Generations(within(t), wholeFolder)
	if err != nil || len(all) != 2 || all[0].At[atObservations] != 600 {
		t.Fatalf("checkpoints %+v, %v; want the newest of 600 after a clean stop", all, err)
	}
	if p, err := l.Position(within(t), Consumer, batch.KindObservations); err != nil || p.Seq != all[1].At[atObservations] {
		t.Errorf("position %+v, %v; want that of the checkpoint before, %+v", p, err, all[1].At)
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

// running is a worker under way.
type running struct {
	*Worker
	t    testing.TB
	stop func() error
}

func start(t testing.TB, cfg WorkerConfig, hook func(string) error) *running {
	w := NewWorker(cfg)
	w.hook = hook
	ctx, cancel := context.WithCancel(within(t))
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	r := &running{Worker: w, t: t}
	r.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { r.stop() })
	return r
}

// see waits until the log has n events and returns them.
func see(t testing.TB, l *streamlog.Log, n uint64) []batch.Event {
	t.Helper()
	r, err := l.Read(within(t), batch.KindEvents, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out []batch.Event
	for uint64(len(out)) < n {
		m, err := r.Next(within(t))
		if err != nil {
			t.Fatalf("%d events, want %d: %v", len(out), n, err)
		}
		events, err := batch.DecodeEvents(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, events...)
	}
	return out
}

func say(t testing.TB, l *streamlog.Log, device string, v float64) {
	t.Helper()
	o := &batch.Observations{}
	now := time.Now().UnixMilli()
	o.Append(o.Begin(now, now, "lab", device), "x", v, "", 0)
	put(t, l, []*batch.Observations{o})
}

// Silence raises with nothing arriving; a kill right after does not raise it again, and the next
// message ends it, though no checkpoint knew of it.
func TestWorkerSilenceAcrossAKill(t *testing.T) {
	l := logtest.New(t, nil)
	cfg := WorkerConfig{Log: l, Rules: FixedSource{mustParse(t, "{id: silent, absent: 1s, text: '{device}'}")}, Checkpoint: time.Hour}
	say(t, l, "d", 1)
	var mu sync.Mutex
	dead, died := false, make(chan struct{})
	w := start(t, cfg, func(step string) error {
		mu.Lock()
		defer mu.Unlock()
		if step == "published" && !dead {
			dead = true
			close(died)
		}
		if dead {
			return errKilled
		}
		return nil
	})
	if events := see(t, l, 1); events[0].State != "raised" || events[0].Device != "d" {
		t.Fatalf("%+v", events)
	}
	<-died // which is after the log has the event
	if err := w.stop(); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	w = start(t, cfg, nil)
	for w.engine.Load().Devices() == 0 || w.Stats().Devices == 0 { // restored, and a tick passed
		time.Sleep(10 * time.Millisecond)
	}
	say(t, l, "d", 1)
	see(t, l, 2)
	if err := w.stop(); err != nil { // its figure grows after the log has the event
		t.Fatal(err)
	}
	// Where the machine stood still for a second, it is silent again.
	events := logged(t, l)
	if events[1].State != "cleared" || w.Events() != int64(len(events)-1) {
		t.Errorf("%+v, %d published; want the end first, and all but what the other published", events, w.Events())
	}
	byID(t, events)
}

// changing is a Source that a test changes.
type changing struct {
	mu      sync.Mutex
	set     *Set
	changed chan struct{}
}

func (c *changing) Set() *Set {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.set
}

func (c *changing) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

func (c *changing) put(set *Set) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.changed)
	c.set, c.changed = set, make(chan struct{})
}

func TestWorkerTakesOtherRules(t *testing.T) {
	l := logtest.New(t, nil)
	source := &changing{set: mustParse(t, "{id: a, when: x > 1}"), changed: make(chan struct{})}
	reg := prometheus.NewRegistry()
	w := start(t, WorkerConfig{Log: l, Rules: source, Metrics: reg}, nil)
	if _, err := l.Publish(within(t), batch.KindObservations, 3, "", []byte("no batch")); err != nil {
		t.Fatal(err) // it must not stop what follows
	}
	say(t, l, "d", 5)
	see(t, l, 1)
	source.put(mustParse(t, "{id: b, when: x > 1}"))
	if events := see(t, l, 2); events[1].Rule != "a" || events[1].State != "cleared" {
		t.Errorf("%+v", events[1])
	}
	say(t, l, "d", 5)
	if events := see(t, l, 3); events[2].Rule != "b" || events[2].State != "raised" {
		t.Errorf("%+v", events[2])
	}
	for lag := int64(1); lag != 0; {
		var err error
		if lag, err = w.Lag(within(t)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	want := `
		# HELP panormus_rules_batches_unreadable_total Batches of the log that could not be read.
		# TYPE panormus_rules_batches_unreadable_total counter
		panormus_rules_batches_unreadable_total 1
		# HELP panormus_rules_events_total Events published.
		# TYPE panormus_rules_events_total counter
		panormus_rules_events_total 3
		# HELP panormus_rules_evaluations_total Evaluations of a rule.
		# TYPE panormus_rules_evaluations_total counter
		panormus_rules_evaluations_total{rule="b"} 1
		# HELP panormus_rules_observations_total Observations in the batches evaluated.
		# TYPE panormus_rules_observations_total counter
		panormus_rules_observations_total 2
	`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "panormus_rules_batches_unreadable_total",
		"panormus_rules_events_total", "panormus_rules_evaluations_total", "panormus_rules_observations_total"); err != nil {
		t.Error(err)
	}
}

// BenchmarkWorker is the whole way: read from the log, decode, evaluate, settle.
func BenchmarkWorker(b *testing.B) {
	l := logtest.New(b, nil)
	data, err := benchBatch(300).Encode()
	if err != nil {
		b.Fatal(err)
	}
	w := start(b, WorkerConfig{Log: l, Rules: FixedSource{benchSet(b)}}, nil)
	for b.Loop() {
		if _, err := l.Publish(within(b), batch.KindObservations, b.N%16, "", data); err != nil {
			b.Fatal(err)
		}
	}
	for lag := int64(1); lag != 0; {
		if lag, err = w.Lag(within(b)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/300, "ns/message")
}

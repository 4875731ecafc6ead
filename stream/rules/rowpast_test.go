package rules

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"panormus/devices"
	"panormus/stream/batch"
	"panormus/stream/log/logtest"
)

// weeksOfCounts are what cameras see of people and cars, every ten minutes, as usual does.
func weeksOfCounts(cameras int, begin time.Time, days int) (out []batch.Count) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for at := begin; at.Before(begin.AddDate(0, 0, days)); at = at.Add(10 * time.Minute) {
		for c := range cameras {
			for i, class := range []string{batch.ClassPerson, batch.ClassCar} {
				seen := usual(at.Add(time.Minute)) + float64(100*i+c) + 2*rnd.NormFloat64()
				out = append(out, batch.Count{Time: at, Received: at.Add(time.Minute), Camera: fmt.Sprint("c", c), Class: class, Seen: int64(seen)})
			}
		}
	}
	return out
}

// hoursOfCounts are the hours of what was seen, as the database sums them up.
func hoursOfCounts(all []batch.Count, until time.Time) (out []Hour) {
	at := map[string]int{}
	for i := range all {
		c := &all[i]
		h := Hour{Device: c.Camera, Metric: "seen", Of: []string{c.Zone, c.Class}, Time: c.Time.Add(time.Minute).UTC().Truncate(time.Hour), Min: 1e9, Max: -1e9}
		if !h.Time.Before(until) {
			continue
		}
		k := fmt.Sprint(h.Device, h.Of, h.Time)
		j, ok := at[k]
		if !ok {
			j = len(out)
			at[k], out = j, append(out, h)
		}
		x, v := &out[j], float64(c.Seen)
		x.Avg = (x.Avg*float64(x.Count) + v) / float64(x.Count+1)
		x.Count++
		x.Min, x.Max = min(x.Min, v), max(x.Max, v)
	}
	return out
}

const crowdRule = `{id: crowd, on: counts, key: "camera + class", when: seen > baseline(seen) * 1.5 && baseline_z(seen) > 6, text: "{baseline(seen):0} {baseline_z(seen):1}"}`

// What the hours of the database teach of rows is what the rows of those hours would have taught, to both who judge a
// rule; it outlasts a restart and a change of rules, and without the rule it is forgotten.
func TestRowBaselineOfThePast(t *testing.T) {
	set := mustParse(t, crowdRule)
	cfg := Config{Registry: &testRegistry{assets: map[string]*devices.Asset{"c1": {Device: devices.Device{ID: "c1", Domain: "mobility", Status: devices.Claimed}}}}}
	begin := time.Date(2026, 9, 21, 0, 0, 0, 0, time.UTC)
	to := begin.AddDate(0, 0, 35)
	past := weeksOfCounts(2, begin, 35)
	var seq uint64
	say := func(e *RowEngine, counts ...batch.Count) (out string) {
		Counts(counts, func(row *Row) { seq++; e.Apply(seq, row) })
		for _, ev := range e.Settle() {
			out += ev.State + " " + ev.Key + " " + ev.Text + "; "
		}
		return out
	}
	count := func(at time.Time, class string, seen float64) batch.Count {
		return batch.Count{Time: at, Received: at.Add(time.Minute), Camera: "c1", Class: class, Seen: int64(seen)}
	}
	online := NewRowEngine(cfg, OnCounts, set)
	if got := say(online, past...); got != "" {
		t.Fatalf("of usual counts: %s", got)
	}
	warm := NewRowEngine(cfg, OnCounts, set)
	if got := say(warm, count(to.Add(-30*time.Minute), batch.ClassCar, 5000)); got != "" { // both know the camera before
		t.Errorf("before anything was taught: %s", got)
	}
	all := warm.unlearned()
	if len(all) != 1 || all[0] != (rowLearned{On: OnCounts, Metric: "seen"}) {
		t.Fatalf("%+v unlearned", all)
	}
	l := newLesson(&warm.cfg, all[0].On, all[0].learned())
	if q := l.query(to.Add(time.Minute)); q.On != OnCounts || fmt.Sprint(q.Of) != "[zone class]" || q.To != to || q.From != to.AddDate(0, 0, -42) || q.Metrics[0] != "seen" {
		t.Errorf("%+v", q)
	}
	for _, h := range hoursOfCounts(past, to) {
		if err := l.take(h); err != nil {
			t.Fatal(err)
		}
	}
	warm.teach(l, to)
	if len(warm.unlearned()) != 0 || warm.series.baselines != 4 || warm.settler.engine.series.baselines != 4 {
		t.Errorf("%v unlearned, %d and %d known, want 4", warm.unlearned(), warm.series.baselines, warm.settler.engine.series.baselines)
	}
	restarted := func() {
		t.Helper()
		data, err := warm.Snapshot()
		if err != nil {
			t.Fatal(err)
		}
		warm = NewRowEngine(cfg, OnCounts, set)
		if err := warm.Restore(data); err != nil || len(warm.unlearned()) != 0 {
			t.Fatalf("after a restart: %v, %v unlearned", err, warm.unlearned())
		}
	}
	restarted()
	set = mustParse(t, `rules: [{id: other, on: counts, when: seen > 1e6}, `+crowdRule+`]`)
	warm.Replace(set, to.UnixMilli())
	a, b := "", ""
	for at := to; at.Before(to.Add(10 * time.Minute)); at = at.Add(time.Minute) { // it is not withdrawn, when it is sure
		a += say(online, count(at, batch.ClassPerson, 3*usual(at)), count(at, batch.ClassCar, usual(at)+100))
		b += say(warm, count(at, batch.ClassPerson, 3*usual(at)), count(at, batch.ClassCar, usual(at)+100))
		restarted()
	}
	if a != b || a == "" || a[:len("raised c1person ")] != "raised c1person " {
		t.Errorf("%q of what was learned online, %q of what the past taught", a, b)
	}
	warm.Replace(mustParse(t, `{id: other, on: counts, when: seen > 1e6}`), to.UnixMilli())
	warm.Replace(set, to.UnixMilli())
	if left := warm.unlearned(); len(left) != 1 {
		t.Errorf("a rule that was away: %v unlearned", left)
	}
}

// There are as many baselines of rows as may be, of those that were taught too; things that were silent for long are
// not begun.
func TestRowBaselinesAreBounded(t *testing.T) {
	e := NewRowEngine(Config{MaxBaselines: 3, Forget: 24 * time.Hour}, OnCounts, mustParse(t, crowdRule))
	to := time.Date(2026, 9, 21, 0, 0, 0, 0, time.UTC)
	l := newLesson(&e.cfg, OnCounts, learned{"", "seen"})
	for c := range 5 {
		at := to.Add(-time.Hour)
		if c == 0 {
			at = to.Add(-48 * time.Hour)
		}
		if err := l.take(Hour{Device: fmt.Sprint("c", c), Of: []string{"", "car"}, Time: at, Count: 3, Avg: 2, Min: 1, Max: 3}); err != nil {
			t.Fatal(err)
		}
	}
	if e.teach(l, to); l.left != 2 || e.series.baselines != 2 || len(e.series.things) != 2 {
		t.Errorf("%d left out, %d kept of %d things, want 2 of each", l.left, e.series.baselines, len(e.series.things))
	}
}

// A worker of rows reads the past of its baselines once, also of readings that those ask who are judged with rows, and
// a kill after that loses nothing.
func TestRowWorkerReadsThePast(t *testing.T) {
	l := logtest.New(t, nil)
	now := time.Now()
	begin := now.AddDate(0, 0, -35).Truncate(time.Hour)
	past, flows := weeksOfCounts(2, begin, 35), weeksOfReadings(1, begin, 35)
	set := mustParse(t, `rules: [`+crowdRule+`, {id: leak, when: 'flow > baseline(flow) * 2 || zone_sum("seen", "person") > 1e9', clear: flow < 0.01 * baseline(flow)}]`)
	zoned := &testRegistry{assets: map[string]*devices.Asset{"p0": {Device: devices.Device{ID: "p0", Domain: "water", Zone: "z"}}}}
	asked := make(chan HoursQuery, 10)
	var away atomic.Bool
	hours := func(_ context.Context, q HoursQuery, each func(Hour) error) error {
		if asked <- q; away.Load() {
			return errors.New("away")
		}
		all := hoursOf(flows, q.To)
		if q.On == OnCounts {
			all = hoursOfCounts(past, q.To)
		}
		for _, h := range all {
			if err := each(h); err != nil {
				return err
			}
		}
		return nil
	}
	events := uint64(0)
	for _, on := range []string{OnCounts, OnJoined} {
		for start := range 2 {
			away.Store(start > 0)
			w := NewRowWorker(RowWorkerConfig{Log: l, Rules: FixedSource{set}, On: on, Checkpoint: time.Hour, Hours: hours, Engine: Config{Registry: zoned}})
			taught := make(chan struct{}, 1)
			w.every = 5 * time.Millisecond
			w.hook = func(step string) error {
				if step == "positions" {
					select {
					case taught <- struct{}{}:
					default:
					}
				}
				return nil
			}
			ctx, cancel := context.WithCancel(within(t))
			done := make(chan error, 1)
			go func() { done <- w.Run(ctx) }()
			if start == 0 { // only then it is asked and kept
				select {
				case <-taught:
				case err := <-done:
					t.Fatalf("%s: %v", on, err)
				}
				if q := <-asked; (q.On == OnCounts) != (on == OnCounts) {
					t.Errorf("%s asks for %+v", on, q)
				}
			}
			at := time.Now()
			if on == OnCounts {
				data, err := batch.EncodeCounts([]batch.Count{{Time: at.Add(-time.Minute), Received: at, Camera: "c1", Class: []string{batch.ClassPerson, batch.ClassCar}[start], Seen: 5000}})
				if err == nil {
					_, err = l.Publish(within(t), batch.KindCounts, 0, "", data)
				}
				if err != nil {
					t.Fatal(err)
				}
			} else {
				o := &batch.Observations{}
				o.Append(o.Begin(at.UnixMilli(), at.UnixMilli(), "water", "p0"), "flow", []float64{1e5, 1}[start], "", 0)
				put(t, l, []*batch.Observations{o})
			}
			events++
			see(t, l, events)
			cancel()
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(asked) > 0 {
		t.Errorf("the past was asked for again: %+v", <-asked)
	}
	byID(t, logged(t, l))
}

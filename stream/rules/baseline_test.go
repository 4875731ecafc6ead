package rules

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"panormus/devices"
	"panormus/stream/batch"
	"panormus/stream/log/logtest"
)

var rome = func() *time.Location {
	loc, err := time.LoadLocation("Europe/Rome")
	if err != nil {
		panic(err)
	}
	return loc
}()

// usual is what a made-up metric is in an hour of the week.
func usual(at time.Time) float64 {
	at = at.In(rome)
	return 100 + 10*float64(at.Hour()) + 3*float64(at.Weekday())
}

// A metric that has its habits, over a change to summer time: until a bucket has seen three hours nothing is
// known; then what is expected is what is usual, at the city's time, and one that is not usual stands out.
func TestBaselineLearnsHabits(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	begin := time.Date(2026, 2, 23, 0, 0, 0, 0, rome) // a Monday; the clocks change on 29 March
	b := &baseline{}
	known := 0
	for at := begin; at.Before(begin.AddDate(0, 0, 70)); at = at.Add(10 * time.Minute) {
		v := usual(at) + 2*rnd.NormFloat64()
		b.take(at.UnixMilli(), v, rome)
		expected, z := b.at(v)
		week := int(at.Sub(begin) / (7 * 24 * time.Hour))
		if is := expected == expected; is != (week >= 3) && at.Sub(begin.AddDate(0, 0, 7*week)).Abs() > 2*time.Hour && week < 5 {
			t.Fatalf("%v: %v is expected in week %d", at, expected, week)
		} else if is {
			known++
			if math.Abs(expected-usual(at)) > 4 || math.Abs(z) > 6 {
				t.Errorf("%v: %v expected, %v read, z %v; usual is %v", at, expected, v, z, usual(at))
			}
			if _, z := b.at(usual(at) + 40); z < 8 {
				t.Errorf("%v: what is 20 usual deviations off has a z of %v", at, z)
			}
		}
	}
	if known < 6000 {
		t.Errorf("%d readings judged", known)
	}
	// One wild hour among them is held off, and what has changed for good is learned in weeks.
	bucket, at := b.bucket, begin.AddDate(0, 0, 70)
	was := b.mean[bucket]
	b.learn(bucket, 6, 1e6, 1e6-5, 1e6+5)
	if by := b.mean[bucket] - was; by <= 0 || by > 3 {
		t.Errorf("a wild hour moved what is expected at %v by %v", at, by)
	}
	for range 12 {
		b.learn(bucket, 6, was+50, was+45, was+55)
	}
	if math.Abs(b.mean[bucket]-was-50) > 5 {
		t.Errorf("after 12 weeks %v is expected, want about %v", b.mean[bucket], was+50)
	}
}

// hoursOf are the hours of observations, as the database sums them up.
func hoursOf(o *batch.Observations, until time.Time) (all []Hour) {
	at := map[[3]string]int{}
	for i := range o.Len() {
		h := Hour{Device: o.Device.At(i), Domain: o.Domain.At(i), Metric: o.Metric.At(i), Time: time.UnixMilli(o.Time[i]).UTC().Truncate(time.Hour), Min: math.Inf(1), Max: math.Inf(-1)}
		if !h.Time.Before(until) {
			continue
		}
		k := [3]string{h.Device, h.Metric, h.Time.String()}
		j, ok := at[k]
		if !ok {
			j = len(all)
			at[k], all = j, append(all, h)
		}
		x, v := &all[j], o.Value[i]
		x.Avg = (x.Avg*float64(x.Count) + v) / float64(x.Count+1)
		x.Count++
		x.Min, x.Max = min(x.Min, v), max(x.Max, v)
	}
	slices.SortStableFunc(all, func(a, b Hour) int { return a.Time.Compare(b.Time) })
	return all
}

func weeksOfReadings(devices int, begin time.Time, days int) *batch.Observations {
	rnd := rand.New(rand.NewPCG(3, 4))
	o := &batch.Observations{}
	for at := begin; at.Before(begin.AddDate(0, 0, days)); at = at.Add(20 * time.Minute) {
		for d := range devices {
			ms := at.UnixMilli() + int64(d)
			o.Append(o.Begin(ms, ms, "water", fmt.Sprint("p", d)), "flow", usual(at)+float64(d)+rnd.NormFloat64(), "", 0)
		}
	}
	return o
}

// What the database's hours teach is what the readings of those hours would have taught, and all that is
// known outlasts a restart and a change of rules; without the rule it is forgotten.
func TestBaselineOfThePast(t *testing.T) {
	set := mustParse(t, `{id: leak, domain: water, when: baseline_z(flow) > 6 || flow > baseline(flow) * 1.5, text: "{baseline(flow):0} {baseline_z(flow):1}"}`)
	begin := time.Date(2026, 9, 21, 0, 0, 0, 0, time.UTC)
	past := weeksOfReadings(3, begin, 35)
	to := begin.AddDate(0, 0, 35)

	online := New(Config{Partitions: 2}, set)
	byPartition := []*batch.Observations{{}, {}}
	for i := range past.Len() {
		p := partition(past.Device.At(i), 2)
		o := byPartition[p]
		o.Append(o.Begin(past.Time[i], past.Time[i], "water", past.Device.At(i)), "flow", past.Value[i], "", 0)
	}
	for p, o := range byPartition {
		online.Apply(p, uint64(p+1), o)
	}
	if events := online.Settle(); len(events) != 0 {
		t.Fatalf("%d events of usual readings, the first: %s", len(events), events[0].Text)
	}
	warm := New(Config{Partitions: 2}, set)
	of := warm.unlearned([]int{0, 1})
	if len(of) != 1 || of[0] != (learned{"water", "flow"}) {
		t.Fatalf("%v unlearned", of)
	}
	l := warm.newLesson(of[0])
	if q := l.query(to.Add(time.Minute)); q.From != to.AddDate(0, 0, -42) || q.To != to || q.Domain != "water" || q.Metrics[0] != "flow" {
		t.Errorf("%+v", q)
	}
	for _, h := range hoursOf(past, to) {
		if err := l.take(h); err != nil {
			t.Fatal(err)
		}
	}
	warm.teach(l, []int{0, 1}, to)
	if left := warm.unlearned([]int{0, 1}); len(left) != 0 || warm.Devices() != 3 {
		t.Errorf("%v unlearned, %d devices", left, warm.Devices())
	}
	warm, err := warm.Restarted(5)
	if err != nil {
		t.Fatal(err)
	}
	if left := warm.unlearned([]int{0, 1}); len(left) != 0 {
		t.Errorf("after a restart %v unlearned", left)
	}
	warm.Replace(mustParse(t, `rules: [{id: other, when: x > 1}, {id: leak, domain: water, when: baseline_z(flow) > 5 || flow > baseline(flow) * 1.5, text: "{baseline(flow):0} {baseline_z(flow):1}"}]`), to.UnixMilli())
	say := func(e *Engine, seq uint64, at time.Time, v float64) string {
		o := &batch.Observations{}
		o.Append(o.Begin(at.UnixMilli(), at.UnixMilli(), "water", "p1"), "flow", v, "", 0)
		e.Apply(partition("p1", 2), seq, o)
		out := ""
		for _, ev := range e.Settle() {
			out += ev.State + " " + ev.Text + "; "
		}
		return out
	}
	a, b := say(online, 9, to, usual(to)*3), say(warm, 9, to, usual(to)*3)
	if a != b || a == "" {
		t.Errorf("%q of what was learned online, %q of what the past taught", a, b)
	}
	if got := say(warm, 10, to.Add(time.Minute), usual(to)); got == "" || got[:7] != "cleared" {
		t.Errorf("%q, want it to end", got)
	}
	warm.Replace(mustParse(t, `{id: other, when: x > 1}`), to.UnixMilli())
	warm.Replace(set, to.UnixMilli())
	if left := warm.unlearned([]int{0, 1}); len(left) != 1 {
		t.Errorf("a rule that was away: %v unlearned", left)
	}
}

// What the past teaches is known to whoever judges a rule twice, too: else what is raised by it would be withdrawn when
// the lateness is over.
func TestBaselineOfThePastIsSure(t *testing.T) {
	registry := &testRegistry{assets: map[string]*devices.Asset{"p0": {Device: devices.Device{ID: "p0", Domain: "water", Zone: "z", Status: devices.Claimed}}}}
	e := New(Config{Partitions: 2, Registry: registry}, mustParse(t, `{id: leak, domain: water, key: zone, when: flow > baseline(flow) * 1.5}`))
	begin := time.Date(2026, 9, 21, 0, 0, 0, 0, time.UTC)
	to := begin.AddDate(0, 0, 35)
	var seq uint64
	say := func(at time.Time, v float64) (out string) {
		o := &batch.Observations{}
		o.Append(o.Begin(at.UnixMilli(), at.UnixMilli(), "water", "p0"), "flow", v, "", 0)
		seq++
		e.Apply(partition("p0", 2), seq, o)
		for _, ev := range e.Settle() {
			out += ev.State + " " + ev.Key + "; "
		}
		return out
	}
	for at := to.Add(-10 * time.Minute); at.Before(to); at = at.Add(time.Minute) { // both know the device before
		if got := say(at, usual(at)); got != "" {
			t.Errorf("before anything was taught: %s", got)
		}
	}
	l := e.newLesson(learned{"water", "flow"})
	for _, h := range hoursOf(weeksOfReadings(1, begin, 35), to) {
		if err := l.take(h); err != nil {
			t.Fatal(err)
		}
	}
	e.teach(l, []int{0, 1}, to)
	got := ""
	for at := to; at.Before(to.Add(10 * time.Minute)); at = at.Add(30 * time.Second) {
		got += say(at, 3*usual(at))
	}
	if got != "raised z; " {
		t.Errorf("%q, want it raised, and no more for as long as it lasts", got)
	}
}

// There are as many baselines as may be; readings of the others are counted, and room that a device leaves
// is for the next.
func TestBaselinesAreBounded(t *testing.T) {
	e := New(Config{Partitions: 1, MaxBaselines: 2, Forget: time.Hour}, mustParse(t, `{id: r, when: baseline(x) > 1 && baseline_z(y) > 1}`))
	say := func(seq uint64, at int64, device string) {
		o := &batch.Observations{}
		h := o.Begin(at, at, "lab", device)
		o.Append(h, "x", 1, "", 0)
		o.Append(h, "y", 1, "", 0)
		e.Apply(0, seq, o)
		e.Settle()
	}
	say(1, rowStart, "a")
	say(2, rowStart, "b")
	if s := e.Stats(); s.BaselinesRefused != 2 || e.shards[0].baselines != 2 {
		t.Errorf("%d refused, %d kept", s.BaselinesRefused, e.shards[0].baselines)
	}
	next, err := e.Restarted(2)
	if err != nil || next.shards[0].baselines != 2 {
		t.Fatalf("%v, %d kept after a restart", err, next.shards[0].baselines)
	}
	e = next
	e.Tick(rowStart + 2*3600_000)
	say(3, rowStart+2*3600_000, "b")
	if s := e.Stats(); s.BaselinesRefused != 0 || e.shards[0].baselines != 2 {
		t.Errorf("%d refused, %d kept after one was forgotten", s.BaselinesRefused, e.shards[0].baselines)
	}
}

// A worker reads the past of a new rule once, and a kill after that loses nothing.
func TestWorkerReadsThePast(t *testing.T) {
	l := logtest.New(t, nil)
	now := time.Now()
	past := weeksOfReadings(2, now.AddDate(0, 0, -35).Truncate(time.Hour), 35)
	var asked atomic.Int64
	cfg := WorkerConfig{Log: l, Checkpoint: time.Hour, Rules: FixedSource{mustParse(t, `{id: leak, when: flow > baseline(flow) * 2}`)}}
	cfg.Hours = func(_ context.Context, q HoursQuery, each func(Hour) error) error {
		asked.Add(1)
		for _, h := range hoursOf(past, q.To) {
			if err := each(h); err != nil {
				return err
			}
		}
		return nil
	}
	var taught atomic.Bool
	var dead atomic.Bool
	w := start(t, cfg, func(step string) error {
		if step == "positions" {
			taught.Store(true)
		}
		if dead.Load() {
			return errKilled
		}
		return nil
	})
	for deadline := time.Now().Add(patience); !taught.Load(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the past was not read")
		}
	}
	sayFlow := func(device string) {
		o := &batch.Observations{}
		ms := time.Now().UnixMilli()
		o.Append(o.Begin(ms, ms, "water", device), "flow", 1e5, "", 0)
		put(t, l, []*batch.Observations{o})
	}
	sayFlow("p0")
	if events := see(t, l, 1); events[0].State != "raised" || events[0].Device != "p0" {
		t.Errorf("%+v", events[0])
	}
	dead.Store(true)
	if err := w.stop(); err != nil && !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	dead.Store(false)
	cfg.Hours = func(context.Context, HoursQuery, func(Hour) error) error {
		asked.Add(1)
		return errors.New("away")
	}
	w = start(t, cfg, nil)
	sayFlow("p1")
	if events := see(t, l, 2); events[1].State != "raised" || events[1].Device != "p1" {
		t.Errorf("%+v", events[1])
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if n := asked.Load(); n != 1 {
		t.Errorf("the past was asked for %d times, want once", n)
	}
	byID(t, logged(t, l))
}

// A backtest knows the weeks before, and learns as it goes.
func TestBacktestOfABaseline(t *testing.T) {
	begin := time.Date(2026, 9, 21, 0, 0, 0, 0, time.UTC)
	past := weeksOfReadings(1, begin, 42)
	for i, at := range past.Time {
		if day := begin.AddDate(0, 0, 38); at >= day.UnixMilli() && at < day.Add(2*time.Hour).UnixMilli() {
			past.Value[i] *= 3
		}
	}
	b := Backtest{Rule: mustParse(t, `{id: leak, when: baseline_z(flow) > 8}`).Rules[0], From: begin.AddDate(0, 0, 36), To: begin.AddDate(0, 0, 42)}
	var asked Past
	b.Read = pastOf(past, 1000, &asked)
	for _, hours := range []bool{false, true} {
		if b.Hours = nil; hours {
			b.Hours = func(_ context.Context, q HoursQuery, each func(Hour) error) error {
				for _, h := range hoursOf(past, q.To) {
					if err := each(h); err != nil {
						return err
					}
				}
				return nil
			}
		}
		got, err := b.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if want := map[bool]int{true: 1}[hours]; got.Raised != want || got.Cleared != want {
			t.Errorf("hours %v: %d raised, %d cleared, want %d", hours, got.Raised, got.Cleared, want)
		}
	}
}

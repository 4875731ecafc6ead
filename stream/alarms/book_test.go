package alarms

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"panormus/stream/batch"
	"panormus/stream/log/logtest"
)

// state of the alarm of a rule and key, "" where there is none.
func (b *bench) state(rule, key string) State {
	r, ok := b.book.Get(ID(rule, key))
	if !ok {
		return ""
	}
	return r.State()
}

func (b *bench) want(states map[string]State) {
	b.Helper()
	for key, want := range states {
		if got := b.state("hot", key); got != want {
			b.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}

// ticks lets time alone work, at a time.
func (b *bench) tick(now time.Time) {
	b.Helper()
	at, err := b.log.Position(b.Context(), Consumer, batch.KindEvents)
	if err != nil {
		b.Fatal(err)
	}
	r := &run{Worker: b.worker, seq: at.Seq, kept: at.Seq, published: map[string]int64{}}
	b.insist(func() error { return r.tick(b.Context(), now) })
	b.insist(func() error { return r.settleLog(b.Context()) })
}

// insist does what a slow machine may not have done in time, for a minute.
func (b *bench) insist(do func() error) {
	b.Helper()
	for end := time.Now().Add(time.Minute); ; {
		err := do()
		if err == nil {
			return
		}
		if !errors.Is(err, context.DeadlineExceeded) || time.Now().After(end) {
			b.Fatal(err)
		}
	}
}

func (b *bench) act(key string, x Act) Result {
	b.Helper()
	res, err := b.book.Act(b.Context(), []string{ID("hot", key)}, x)
	if err != nil {
		b.Fatal(err)
	}
	return res[0]
}

func newBench(t *testing.T, cfg Config, parent func(string) string) *bench {
	b := &bench{T: t}
	b.open(logtest.Open(t, t.TempDir(), nil), cfg, parent)
	t.Cleanup(b.follow())
	return b
}

func TestHolds(t *testing.T) {
	b := newBench(t, Config{Escalate: []Escalation{}, Inhibit: []Inhibition{{By: "power-out", Domain: "lighting"}}}, func(device string) string {
		return map[string]string{"lamp": "cabinet", "cabinet": "station"}[device]
	})
	work := func() {
		if err := b.work(); err != nil {
			t.Fatal(err)
		}
	}
	// The parent and the child in one batch, and the child before its parent.
	b.publish(event("hot", "cabinet", "major", "raised", 0), event("hot", "lamp", "major", "raised", 0))
	work()
	b.want(map[string]State{"cabinet": Unacked, "lamp": Suppressed})
	if r, _ := b.book.Get(ID("hot", "lamp")); r.Hold.Why != "alarm of its parent cabinet" {
		t.Errorf("held by %+v", r.Hold)
	}
	b.publish(event("hot", "station", "major", "raised", 1))
	work()
	b.tick(t0.Add(2 * time.Minute))
	b.want(map[string]State{"station": Unacked, "cabinet": Suppressed, "lamp": Suppressed})
	b.publish(event("hot", "station", "major", "cleared", 3))
	work()
	b.tick(t0.Add(4 * time.Minute))
	b.want(map[string]State{"station": Returned, "cabinet": Unacked, "lamp": Suppressed})
	b.publish(event("hot", "cabinet", "major", "cleared", 5))
	work()
	b.tick(t0.Add(6 * time.Minute))
	b.want(map[string]State{"cabinet": Returned, "lamp": Unacked})

	// One of the rule in the zone; its own alarm is not held by it.
	out := event("power-out", "kalsa", "critical", "raised", 7)
	out.Device = ""
	other := event("hot", "bin", "major", "raised", 7)
	other.Domain = "waste"
	b.publish(out, other)
	work()
	b.tick(t0.Add(8 * time.Minute))
	b.want(map[string]State{"lamp": Suppressed, "bin": Unacked})
	if s := b.state("power-out", "kalsa"); s != Unacked {
		t.Errorf("power-out is %s", s)
	}

	// Maintenance from 10 to 20 minutes, and a device that is out of service beside.
	now := t0.Add(9 * time.Minute)
	windows := []Window{{ID: "w", Zone: "kalsa", From: t0.Add(10 * time.Minute), To: t0.Add(20 * time.Minute)}, {ID: "o", Device: "bin", From: now}}
	for _, w := range windows {
		if err := b.book.PutWindow(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	b.tick(now)
	b.want(map[string]State{"bin": OutOfService})
	b.tick(t0.Add(10 * time.Minute))
	if s := b.state("power-out", "kalsa"); s != Suppressed {
		t.Errorf("in maintenance power-out is %s", s)
	}
	b.want(map[string]State{"bin": OutOfService, "station": Returned})
	b.tick(t0.Add(20 * time.Minute))
	if s := b.state("power-out", "kalsa"); s != Unacked {
		t.Errorf("after maintenance power-out is %s, want it to ask for attention", s)
	}
	if err := b.book.DeleteWindow(t.Context(), "o"); err != nil {
		t.Fatal(err)
	}
	b.tick(t0.Add(21 * time.Minute))
	b.want(map[string]State{"bin": Unacked})
	if err := b.book.DeleteWindow(t.Context(), "o"); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v, want ErrNotFound", err)
	}
}

// TestTime: shelving ends, alarms escalate, floods begin and end, the forgotten are gone.
func TestTime(t *testing.T) {
	b := newBench(t, Config{}, nil)
	var events []batch.Event
	for i := range 11 {
		events = append(events, event("hot", fmt.Sprint(i), "major", "raised", 0))
	}
	b.publish(events...)
	if err := b.work(); err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	if res := b.act("1", Act{Action: "shelve", By: "ada", Until: until}); res.Err != nil {
		t.Fatal(res.Err)
	}
	b.tick(t0.Add(time.Minute))
	if h := b.book.Health(t0.Add(time.Minute)); !h.Flood || h.Rate != 11 || h.States[Shelved] != 1 || len(h.Shelved) != 1 || h.Mix["major"] != 11 {
		t.Errorf("health %+v, want a flood of 11", h)
	}
	b.tick(t0.Add(10 * time.Minute))
	h := b.book.Health(t0.Add(10 * time.Minute))
	if h.Flood || h.InFlood != 9*time.Minute || h.Floods != 1 || h.Severities["critical"] != 10 {
		t.Errorf("health %+v, want the flood over after 9 minutes and 10 escalated", h)
	}
	b.tick(until.Add(-time.Millisecond))
	b.want(map[string]State{"1": Shelved})
	b.tick(until)
	b.want(map[string]State{"1": Unacked, "2": Unacked})
	if r, _ := b.book.Get(ID("hot", "1")); r.Escalated || !r.Since.Equal(until) {
		t.Errorf("%+v, want time to begin anew", r.Alarm)
	}
	if h := b.book.Health(until.Add(25 * time.Hour)); h.StaleCount != 11 {
		t.Errorf("%d stale, want 11", h.StaleCount)
	}

	if res := b.act("2", Act{Action: "close", By: "ada"}); res.Err != nil {
		t.Fatal(res.Err)
	}
	b.tick(time.Now().Add(time.Minute)) // its entries are on the log
	b.tick(time.Now().Add(25 * time.Hour))
	eventually(t, func() bool { _, ok := b.book.Get(ID("hot", "2")); return !ok })
	// Raised again, it is a new alarm, though its key once was.
	b.publish(event("hot", "2", "major", "raised", 60))
	if err := b.work(); err != nil {
		t.Fatal(err)
	}
	b.want(map[string]State{"2": Unacked})
	b.tick(t0.Add(61 * time.Minute))
	rows, again := b.rows()
	if again != 0 || len(rows) == 0 {
		t.Errorf("%d rows came again of %q", again, rows)
	}
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within a minute")
		}
	}
}

// TestFigures: what follows from raises for two operators, and that /metrics says the same.
func TestFigures(t *testing.T) {
	b := &bench{T: t}
	b.book = NewBook(Config{Operators: 2, Escalate: []Escalation{}}, nil, nil, nil)
	now := time.Now().UTC()
	raise := func(key, severity string, age time.Duration, times int) {
		a := &Alarm{ID: ID("hot", key), Rule: "hot", Key: key, Confirmed: true}
		for i := range times {
			ev := event("hot", key, severity, []string{"raised", "cleared"}[i%2], 0)
			ev.Time, ev.Received = now.Add(-age), now.Add(-age)
			a.apply(&ev, Place{Seq: uint64(i + 1)}, Hold{}, &b.book.cfg)
		}
		b.book.put(a, uint64(b.book.Len()+1))
	}
	for i := range 21 { // more than 20 in 10 minutes are over the limit of two
		raise(fmt.Sprint("old ", i), "warning", 5*time.Hour, 1)
	}
	raise("new", "critical", time.Minute, 1)
	raise("often", "warning", time.Minute, 13) // raised 7 times
	h := b.book.Health(now)
	if h.Operators != 2 || h.Peak != 21 || h.Rate != 8 || h.OverLimit != 1.0/144 || h.Chatterers != 1 || h.Average != 29.0/144 {
		t.Errorf("health %+v", h)
	}
	if want := 7.0/29 + 9.0/29; h.BadShare < want-1e-9 || h.BadShare > want+1e-9 || h.Bad[0].Raises != 7 {
		t.Errorf("the worst 10 have %v of all raises, want %v", h.BadShare, want)
	}
	if f := b.book.cfg.flood(); f.Begin != 20 || f.End != 10 {
		t.Errorf("flood of two operators %+v", f)
	}
	reg := prometheus.NewPedanticRegistry()
	newMetrics(b.book, reg)
	want := `
# HELP panormus_stream_alarm_peak_10m_per_operator The most in 10 minutes of the last 24 h that called an operator.
# TYPE panormus_stream_alarm_peak_10m_per_operator gauge
panormus_stream_alarm_peak_10m_per_operator 10.5
# HELP panormus_stream_alarm_priority_24h_alarms Alarms of each severity that called operators in the last 24 h; the aim is 80 % warning, 15 % major, 5 % critical.
# TYPE panormus_stream_alarm_priority_24h_alarms gauge
panormus_stream_alarm_priority_24h_alarms{severity="critical"} 1
panormus_stream_alarm_priority_24h_alarms{severity="info"} 0
panormus_stream_alarm_priority_24h_alarms{severity="major"} 0
panormus_stream_alarm_priority_24h_alarms{severity="warning"} 28
# HELP panormus_stream_alarm_chattering_alarms Alarms that are raised too often.
# TYPE panormus_stream_alarm_chattering_alarms gauge
panormus_stream_alarm_chattering_alarms 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "panormus_stream_alarm_peak_10m_per_operator",
		"panormus_stream_alarm_priority_24h_alarms", "panormus_stream_alarm_chattering_alarms"); err != nil {
		t.Error(err)
	}
}

// TestTwoControlRooms: what one does the other sees; of two who act on one alarm at once, one is told.
func TestTwoControlRooms(t *testing.T) {
	b := newBench(t, Config{}, nil)
	b.publish(event("hot", "a", "major", "raised", 0))
	if err := b.work(); err != nil {
		t.Fatal(err)
	}
	other := &bench{T: t}
	other.open(b.log, Config{}, nil)
	var mu sync.Mutex
	var heard []string
	other.book.OnChange(func(rs []Record) {
		mu.Lock()
		defer mu.Unlock()
		for _, r := range rs {
			heard = append(heard, fmt.Sprint(r.Last.Action, " ", r.State()))
		}
	})
	t.Cleanup(other.follow())
	rev := func() uint64 { r, _ := b.book.Get(ID("hot", "a")); return r.Rev }()
	var wg sync.WaitGroup
	results := make([]Result, 2)
	for i, room := range []*bench{b, other} {
		wg.Go(func() {
			results[i] = room.act("a", Act{Action: "ack", By: fmt.Sprint("operator-", i), Rev: rev})
		})
	}
	wg.Wait()
	won := slices.IndexFunc(results, func(r Result) bool { return r.Err == nil })
	if won < 0 {
		t.Fatalf("%+v, want one to succeed", results)
	}
	conflict, ok := errors.AsType[*Conflict](results[1-won].Err)
	if !ok || conflict.Now.AckedBy != fmt.Sprint("operator-", won) {
		t.Fatalf("the other: %v, want a conflict that names operator-%d", results[1-won].Err, won)
	}
	for _, action := range []string{"comment", "assign", "unack"} {
		if res := b.act("a", Act{Action: action, By: "ada", Note: "n"}); res.Err != nil {
			t.Fatal(res.Err)
		}
	}
	// Listeners are told after the book has changed, in order; of changes that follow one another fast
	// the bucket may have only the last one left.
	all := []string{"raised unacked", "ack acked", "comment acked", "assign acked", "unack unacked"}
	eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return other.state("hot", "a") == Unacked && len(heard) > 0 && heard[len(heard)-1] == all[len(all)-1]
	})
	mu.Lock()
	defer mu.Unlock()
	rest := all
	for _, h := range heard {
		i := slices.Index(rest, h)
		if i < 0 {
			t.Fatalf("the other room heard %q, want of %q in this order, each once", heard, all)
		}
		rest = rest[i+1:]
	}
}

// TestActsAreLogged: what operators do is in the alarm log once, also when the worker comes later.
func TestActsAreLogged(t *testing.T) {
	b := newBench(t, Config{}, nil)
	b.publish(event("hot", "a", "major", "raised", 0))
	if err := b.work(); err != nil {
		t.Fatal(err)
	}
	for _, action := range []string{"ack", "unack", "ack"} {
		if res := b.act("a", Act{Action: action, By: "ada", Note: "why"}); res.Err != nil {
			t.Fatal(res.Err)
		}
	}
	if err := b.work(); err != nil {
		t.Fatal(err)
	}
	b.tick(t0)
	rows, again := b.rows()
	if len(rows) != 4 || again != 0 {
		t.Errorf("rows %q and %d again, want 4 and 0", rows, again)
	}
	for range maxPending {
		if res := b.act("a", Act{Action: "comment", By: "ada", Note: "n"}); res.Err != nil {
			t.Fatal(res.Err)
		}
	}
	if _, err := b.book.Act(t.Context(), []string{ID("hot", "a")}, Act{Action: "comment", By: "ada", Note: "n"}); !errors.Is(err, ErrBusy) {
		t.Errorf("%v where one more entry is than can wait", err)
	}
	b.tick(t0)
	if res := b.act("a", Act{Action: "comment", By: "ada", Note: "n"}); res.Err != nil {
		t.Error(res.Err)
	}
}

func TestList(t *testing.T) {
	b := &bench{T: t}
	b.book = NewBook(Config{}, nil, nil, nil)
	fill(b.book, 250)
	var all []string
	q := Query{Limit: 100}
	for pages := 0; ; pages++ {
		page, more, total := b.book.List(q)
		if total != 250 {
			t.Fatalf("total %d", total)
		}
		for _, r := range page {
			all = append(all, r.ID)
		}
		if !more {
			if pages != 2 {
				t.Errorf("%d pages more", pages)
			}
			break
		}
		m := page[len(page)-1].Mark()
		q.After = &m
	}
	whole, more, _ := b.book.List(Query{})
	if len(all) != 250 || len(whole) != 250 || more {
		t.Fatalf("%d by pages, %d at once", len(all), len(whole))
	}
	for i, r := range whole {
		if r.ID != all[i] || i > 0 && r.Raised.After(whole[i-1].Raised) {
			t.Fatalf("place %d: %s by pages, %s at once, or not the newest first", i, all[i], r.ID)
		}
	}
	if got, _, n := b.book.List(Query{States: []State{Acked}}); len(got) != 0 || n != 0 {
		t.Errorf("%d acked", n)
	}
}

// fill puts n unacknowledged alarms into a book that has no bucket.
func fill(b *Book, n int) {
	c := testConfig()
	for i := range n {
		ev := event("hot", fmt.Sprint(i), "major", "raised", float64(i*7919%n)/1000)
		a := &Alarm{ID: ID("hot", fmt.Sprint(i)), Rule: "hot", Key: fmt.Sprint(i), Confirmed: true}
		a.apply(&ev, Place{Seq: 1, Row: i}, Hold{}, c)
		b.put(a, uint64(i+1))
	}
}

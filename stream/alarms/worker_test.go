package alarms

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"panormus/stream/batch"
	streamlog "panormus/stream/log"
	"panormus/stream/log/logtest"
)

// bench is a book and a worker on a real log.
type bench struct {
	*testing.T
	log    *streamlog.Log
	book   *Book
	worker *Worker
}

// bookOn is a Book on a log's buckets.
func bookOn(t testing.TB, l *streamlog.Log, cfg Config) *Book {
	t.Helper()
	bucket, err := l.KV(t.Context(), BucketName)
	if err != nil {
		t.Fatal(err)
	}
	desk, err := l.KV(t.Context(), DeskName)
	if err != nil {
		t.Fatal(err)
	}
	return NewBook(cfg, bucket, desk, nil)
}

func (b *bench) open(l *streamlog.Log, cfg Config, parent func(string) string) {
	b.Helper()
	b.log = l
	b.book = bookOn(b, l, cfg)
	b.book.within = time.Minute // machines are slow
	b.worker = NewWorker(WorkerConfig{Log: l, Book: b.book, Parent: parent})
	b.worker.every = time.Hour // what time does is done by tick: the worker's clock is the real one
}

// follow runs the book until the test ends or stop.
func (b *bench) follow() (stop func()) {
	b.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- b.book.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-done:
		b.Fatal(err)
	}
	return func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	}
}

// work runs the worker until all events are applied and logged, or it is killed, and returns why it
// ended.
func (b *bench) work() error {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- b.worker.Run(ctx) }()
	for {
		select {
		case err := <-done:
			return err
		case <-time.After(5 * time.Millisecond):
		}
		if lag, err := b.worker.Lag(b.Context()); err != nil {
			b.Fatal(err)
		} else if lag == 0 && b.settled() {
			cancel()
			return <-done
		}
	}
}

// settled reports whether the book has seen all that was written and it is logged: else some comes again.
func (b *bench) settled() bool {
	b.book.mu.RLock()
	defer b.book.mu.RUnlock()
	return len(b.book.unlogged) == 0
}

func (b *bench) publish(events ...batch.Event) {
	b.Helper()
	data, err := batch.EncodeEvents(events)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := b.log.Publish(b.Context(), batch.KindEvents, 0, "", data); err != nil {
		b.Fatal(err)
	}
}

// t0 is when things begin to happen in tests: not so long ago that a worker, whose clock is the real one, forgets
// them, and long enough that they are over.
var t0 = time.Now().UTC().Truncate(time.Hour).Add(-3 * time.Hour)

func event(rule, key, severity, state string, minute float64) batch.Event {
	at := t0.Add(time.Duration(minute * float64(time.Minute)))
	return batch.Event{ID: fmt.Sprint(rule, key, state, minute), Rule: rule, Key: key, Device: key, Zone: "kalsa", Domain: "lighting", Severity: severity,
		State: state, Text: rule + " " + severity, Time: at, Received: at}
}

// rows is the alarm log, each row once, and how often rows came more than once.
func (b *bench) rows() (out []string, again int) {
	b.Helper()
	seen := map[string]bool{}
	for _, row := range b.allRows() {
		text := fmt.Sprint(row.Time.Format("15:04"), " ", row.N, " ", b.name(row.Alarm), " ", row.Action, " ", row.State, " ", row.Severity)
		if seen[text] {
			again++
			continue
		}
		seen[text] = true
		out = append(out, text)
	}
	return out, again
}

// logged counts the rows of the alarm log by alarm and note, rows that came again once.
func (b *bench) logged() map[string]int {
	b.Helper()
	out, seen := map[string]int{}, map[string]bool{}
	for _, row := range b.allRows() {
		if key := fmt.Sprint(row.Alarm, row.N); !seen[key] {
			seen[key] = true
			out[row.Alarm+" "+row.Note]++
		}
	}
	return out
}

func (b *bench) allRows() (out []batch.AlarmRow) {
	b.Helper()
	last, err := b.log.LastSeq(b.Context(), batch.KindAlarmLog)
	if err != nil || last == 0 {
		return nil
	}
	r, err := b.log.Read(b.Context(), batch.KindAlarmLog, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	for seq := uint64(0); seq < last; {
		m, err := r.Next(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		seq = m.Seq
		rows, err := batch.DecodeAlarmLog(m.Data)
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, rows...)
	}
	return out
}

func (b *bench) name(id string) string {
	if r, ok := b.book.Get(id); ok {
		return r.Rule + "/" + r.Key
	}
	return id
}

var script = [][]batch.Event{
	{event("hot", "a", "warning", "raised", 0), event("hot", "b", "major", "raised", 0), event("note", "a", "info", "raised", 0)},
	{event("hot", "a", "critical", "updated", 1), event("hot", "a", "critical", "cleared", 2), event("hot", "a", "warning", "raised", 3)},
	{event("hot", "b", "info", "updated", 4)},
	{event("hot", "c", "warning", "raised", 5), event("hot", "c", "warning", "cleared", 5), event("hot", "c", "warning", "raised", 6)},
}

// TestKilledAnywhere: whatever step the worker is killed at, the alarms and their log are the same.
func TestKilledAnywhere(t *testing.T) {
	run := func(t *testing.T, kill int) (alarms []Alarm, rows []string, killed bool) {
		b := &bench{T: t}
		b.open(logtest.Open(t, t.TempDir(), nil), Config{Escalate: []Escalation{}}, nil)
		for _, events := range script {
			b.publish(events...)
		}
		dead, steps := errors.New("killed"), 0
		b.worker.hook = func(string) error {
			if steps++; steps == kill {
				return dead
			}
			return nil
		}
		stop := b.follow()
		err := b.work()
		stop()
		killed = errors.Is(err, dead)
		if err != nil && !killed {
			t.Fatalf("to be killed at %d: %v", kill, err)
		}
		if killed {
			// A new process knows what the buckets hold and nothing else.
			b.open(b.log, Config{Escalate: []Escalation{}}, nil)
			stop := b.follow()
			defer stop()
			if err := b.work(); err != nil {
				t.Fatal(err)
			}
		}
		list, _, _ := b.book.List(Query{States: States})
		for _, r := range list {
			a := r.clone()
			a.Pending, a.After = nil, 0
			alarms = append(alarms, *a)
		}
		rows, _ = b.rows()
		return alarms, rows, killed
	}
	want, wantRows, _ := run(t, 0)
	if len(want) != 3 || len(wantRows) != 9 {
		t.Fatalf("%d alarms and rows %q, want 3 and 9", len(want), wantRows)
	}
	for kill := 1; ; kill++ { // until one got through: how many steps there are is the machine's
		got, rows, killed := run(t, kill)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("killed at step %d:\n got %+v\nwant %+v", kill, got, want)
		}
		if len(rows) != len(wantRows) {
			t.Errorf("killed at step %d: rows\n%q, want\n%q", kill, rows, wantRows)
		}
		if !killed {
			if kill < 12 {
				t.Errorf("%d steps, want more", kill-1)
			}
			break
		}
	}
}

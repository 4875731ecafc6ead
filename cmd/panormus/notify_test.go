package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"panormus/stream/alarms"
	"panormus/stream/batch"
	"panormus/stream/log/logtest"
	"panormus/stream/notify"
)

// TestNoticesFollowTheSettingsFile: receivers come and go with the file; one that cannot be used changes nothing.
func TestNoticesFollowTheSettingsFile(t *testing.T) {
	l := logtest.New(t, nil)
	bucket, err := l.KV(t.Context(), "notify_test")
	if err != nil {
		t.Fatal(err)
	}
	desk, err := notify.New(notify.Config{RouteBucket: bucket, DeadBucket: bucket})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "panormus.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
	}
	receivers := func(want ...string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			var got []string
			for _, s := range desk.Receivers() {
				got = append(got, s.Receiver)
			}
			if len(got) == len(want) && (len(got) == 0 || got[len(got)-1] == want[len(want)-1]) {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("receivers %v after a minute, want %v", got, want)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- followNotify(ctx, file, 2*time.Millisecond, desk, slog.New(slog.NewTextHandler(t.Output(), nil)))
	}()
	one := "notify:\n  receivers:\n  - id: one\n    webhook: {url: \"http://127.0.0.1:1/\"}\n"
	two := one + "  - id: two\n    webhook: {url: \"http://127.0.0.1:2/\"}\n  routes:\n  - {id: all, receivers: [two]}\n"
	write(one)
	receivers("one")
	write(two)
	receivers("one", "two")
	for _, bad := range []string{"notify: [", "notify:\n  receivers:\n  - id: three\n", "notfy: {}\n"} {
		write(bad)
		time.Sleep(20 * time.Millisecond) // it is looked at, or not: either way nothing changes
		receivers("one", "two")
	}
	write("http: 127.0.0.1:0\n")
	receivers()
	write(two)
	receivers("one", "two")
	if r := desk.Route("all"); r == nil || r.Receivers[0] != "two" {
		t.Errorf("route %+v, want the file's", r)
	}
	cancel()
	if err := <-done; err != context.Canceled {
		t.Error(err)
	}
}

// TestEscalationsForNotices: an alarm that nobody acknowledges is told of as long as it stands so, and not before the
// alarms know of all events.
func TestEscalationsForNotices(t *testing.T) {
	l := logtest.New(t, nil)
	bucket, err := l.KV(t.Context(), alarms.BucketName)
	if err != nil {
		t.Fatal(err)
	}
	desk, err := l.KV(t.Context(), alarms.DeskName)
	if err != nil {
		t.Fatal(err)
	}
	book := alarms.NewBook(alarms.Config{Escalate: []alarms.Escalation{{Severity: "major", To: "critical", After: time.Second}}}, bucket, desk, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	whole, ended := make(chan struct{}), make(chan error, 2)
	go func() { ended <- book.Run(ctx, onceClosed(whole)) }()
	select {
	case <-whole:
	case <-time.After(time.Minute):
		t.Fatal("the book is not whole in a minute")
	}
	e := escalations{book, alarms.NewWorker(alarms.WorkerConfig{Log: l, Book: book})}
	go func() { ended <- e.worker.Run(ctx) }()
	publish := func(state string) uint64 {
		t.Helper()
		data, err := batch.EncodeEvents([]batch.Event{{ID: state, Rule: "flood", Severity: "major", State: state, Time: time.Now(), Domain: "water", Device: "d", Key: "d", Text: "wet"}})
		if err != nil {
			t.Fatal(err)
		}
		seq, err := l.Publish(t.Context(), batch.KindEvents, 0, state, data)
		if err != nil {
			t.Fatal(err)
		}
		return seq
	}
	await := func(seq uint64, want int) (all []batch.Event) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			var known bool
			if all, known = e.Escalated(seq); known && len(all) == want {
				return all
			}
			if time.Now().After(end) {
				t.Fatalf("%+v (known: %v) after a minute, want %d", all, known, want)
			}
		}
	}
	if _, known := e.Escalated(1); known {
		t.Error("known before there was an event")
	}
	first := await(publish("raised"), 1)[0]
	if again := await(1, 1)[0]; again.ID != first.ID || first.Severity != "critical" || first.State != "updated" || first.Rule != "flood" || first.Key != "d" {
		t.Errorf("%+v, then %+v; want it critical under one id", first, again)
	}
	await(publish("cleared"), 0)
	cancel()
	for range 2 {
		<-ended
	}
}

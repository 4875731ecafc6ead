package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

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

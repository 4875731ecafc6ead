package roster_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"panormus/stream/log/logtest"
	"panormus/stream/roster"
)

// TestTwoProcesses has two processes hear of one another over a log; one ends with a word.
func TestTwoProcesses(t *testing.T) {
	l := logtest.New(t, nil)
	start := func(id string) (*roster.Roster, func()) {
		kv, err := l.KV(t.Context(), "processes")
		if err != nil {
			t.Fatal(err)
		}
		r := &roster.Roster{Store: kv, Log: slog.New(slog.DiscardHandler), Self: func(context.Context) roster.Process {
			return roster.Process{ID: id, Host: "h", Version: "1", Roles: []string{"rules"}}
		}}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- r.Run(ctx) }()
		return r, func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	ids := func(r *roster.Roster) string {
		var out []string
		for _, p := range r.List(time.Now()) {
			if age := time.Since(p.Heard); age < 0 || age > time.Minute*10 || p.Version != "1" {
				t.Errorf("%+v", p)
			}
			out = append(out, p.ID)
		}
		return strings.Join(out, " ")
	}
	hears := func(r *roster.Roster, want string) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ids(r) != want; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%q, want %q", ids(r), want)
			}
		}
	}
	a, stopA := start("a")
	b, stopB := start("b")
	hears(a, "a b")
	hears(b, "a b")
	stopB()
	hears(a, "a")
	if far := a.List(time.Now().Add(roster.Kept + time.Minute)); len(far) != 0 {
		t.Error(fmt.Sprint("told of after a day without a word: ", far))
	}
	stopA()
}

package log

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"panormus/stream/batch"
)

// TestSmallServer: a server elsewhere that takes small messages gets batches of that size, and what is larger is
// refused at once by what to set: it would never be taken.
func TestSmallServer(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	to, said := outsideLog(t, 1<<20)
	if !strings.Contains(said.String(), "max_payload: 8MB") {
		t.Errorf("said %q, want what to set", said)
	}
	url := to.conn.ConnectedUrl()
	l, err := Open(ctx, Config{URL: url, MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	most := l.MaxBatch()
	if most < 1<<20-4096 || most >= 1<<20 {
		t.Errorf("batches of up to %d bytes, want a little less than 1 MiB", most)
	}
	id := strings.Repeat("i", 100)
	if _, err := l.Publish(ctx, batch.KindObservations, 3, id, make([]byte, most)); err != nil {
		t.Errorf("a batch of %d bytes: %v", most, err)
	}
	if _, err := l.Publish(ctx, batch.KindObservations, 3, id, make([]byte, most+1)); err == nil || !strings.Contains(err.Error(), "max_payload: 8MB") {
		t.Errorf("one byte more: %v, want an error that says what to set", err)
	}
	if got, err := MaxPayload(url); err != nil || got != 1<<20 {
		t.Errorf("MaxPayload: %d, %v; want 1 MiB", got, err)
	}
}

// TestWritable: what has waited for a while is said, and since when, until the log takes it.
func TestWritable(t *testing.T) {
	var l Log
	l.cfg.Log = slog.New(slog.DiscardHandler)
	l.guard.blocked(l.cfg.Log, batch.KindEvents, errCutOff)
	if err := l.Writable(); err != nil {
		t.Errorf("at once: %v", err)
	}
	l.guard.stuck[batch.KindEvents].since = time.Now().Add(-2 * stuckFor)
	if err := l.Writable(); err == nil || !strings.Contains(err.Error(), "no events since") || !strings.Contains(err.Error(), errCutOff.Error()) {
		t.Errorf("after a while: %v, want since when and why", err)
	}
	l.guard.wrote(l.cfg.Log, batch.KindEvents)
	if err := l.Writable(); err != nil {
		t.Errorf("once it was written: %v", err)
	}
}

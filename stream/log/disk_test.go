package log

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"panormus/stream/batch"
)

// A full disk makes Publish wait, says so once, and loses nothing: the batch is there when there
// is room again.
func TestFullDisk(t *testing.T) {
	var said lines
	l, err := Open(t.Context(), Config{Dir: t.TempDir(), Sync: time.Second, MinFree: 1, Log: slog.New(slog.NewTextHandler(&said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var full atomic.Bool
	l.checkDisk = func(string, int64) error {
		if full.Load() {
			return errors.New("disk of here: 0 MiB free, want at least 256 MiB")
		}
		return nil
	}
	full.Store(true)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { l.Run(ctx) })
	defer wg.Wait()
	defer stop()
	for l.guard.err() == nil {
		time.Sleep(time.Millisecond)
	}
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := l.Publish(short, batch.KindEvents, 0, "", []byte("lost?")); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("on a full disk: %v, want to wait", err)
	}
	published := make(chan uint64, 1)
	wg.Go(func() {
		seq, err := l.Publish(ctx, batch.KindEvents, 0, "", []byte("kept"))
		if err != nil {
			t.Error(err)
		}
		published <- seq
	})
	full.Store(false)
	if seq := <-published; seq != 1 {
		t.Errorf("sequence %d, want 1: what waited is the first", seq)
	}
	if n := strings.Count(said.String(), "until there is room on the disk"); n != 1 || !strings.Contains(said.String(), "room on the disk again") {
		t.Errorf("said %d times that the disk is full:\n%s", n, said.String())
	}
}

func TestNoRoomToStart(t *testing.T) {
	_, err := Open(t.Context(), Config{Dir: t.TempDir() + "/not/yet", MinFree: 1 << 62})
	if err == nil || !strings.Contains(err.Error(), "MiB free, want at least") {
		t.Errorf("%v, want an error that says how much is free and wanted", err)
	}
}

// lines is what was logged.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

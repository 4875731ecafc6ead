package log

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// TestTornObject: of an object whose pieces are gone, as the client library leaves it where the server's answer comes
// too late, there is none; nobody waits for it, it is said, and it can be written again.
func TestTornObject(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var said bytes.Buffer
	l, err := Open(ctx, Config{Dir: t.TempDir(), Sync: DefaultSync, MinFree: 1, Log: slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelError}))})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	o, err := l.Objects(ctx, "checkpoints")
	if err != nil {
		t.Fatal(err)
	}
	for _, keep := range []uint64{0, 1} {
		if err := o.Put(ctx, "a", make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
		info, err := o.bucket.GetInfo(ctx, "a")
		if err != nil || info.Chunks < 2 {
			t.Fatalf("%+v, %v; want an object of several pieces", info, err)
		}
		s, err := l.js.Stream(ctx, "OBJ_"+objectsPrefix+"checkpoints")
		if err != nil {
			t.Fatal(err)
		}
		options := []jetstream.StreamPurgeOpt{jetstream.WithPurgeSubject("$O." + objectsPrefix + "checkpoints.C." + info.NUID)}
		if keep > 0 {
			options = append(options, jetstream.WithPurgeKeep(keep))
		}
		if err := s.Purge(ctx, options...); err != nil {
			t.Fatal(err)
		}
		if b, ok, err := o.Get(ctx, "a"); ok || err != nil {
			t.Errorf("%d pieces left: %d bytes, %v, %v; want none", keep, len(b), ok, err)
		}
		if !strings.Contains(said.String(), "an object lacks pieces") {
			t.Errorf("%d pieces left: it is not said, but %q", keep, said.String())
		}
		said.Reset()
	}
	if err := o.Put(ctx, "a", []byte("again")); err != nil {
		t.Fatal(err)
	}
	if b, ok, err := o.Get(ctx, "a"); string(b) != "again" || !ok || err != nil {
		t.Errorf("written again: %q, %v, %v", b, ok, err)
	}
}

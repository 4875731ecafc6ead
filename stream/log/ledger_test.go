package log

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

func TestLedgerKeepsAll(t *testing.T) {
	l, err := Open(t.Context(), Config{Dir: t.TempDir(), Sync: time.Second, MinFree: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	g, err := l.Ledger(t.Context(), "book")
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{"one", "two"} {
		if err := g.Append(t.Context(), uint64(i), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Append(t.Context(), 1, []byte("another two")); !errors.Is(err, ErrChanged) {
		t.Errorf("%v, want ErrChanged", err)
	}
	s, err := l.js.Stream(t.Context(), ledgerStream("book"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context()); err == nil {
		t.Error("purged")
	}
	if err := s.DeleteMsg(t.Context(), 1); err == nil {
		t.Error("deleted one")
	}
	cfg := s.CachedInfo().Config
	cfg.DenyPurge = false
	if _, err := l.js.UpdateStream(t.Context(), cfg); err == nil {
		t.Error("what denies purging was taken away")
	}
	cfg = s.CachedInfo().Config
	if cfg.MaxAge != 0 || cfg.MaxBytes != -1 || cfg.MaxMsgs != -1 || cfg.MaxMsgsPerSubject != -1 || cfg.Discard != jetstream.DiscardNew {
		t.Errorf("%+v, want no bounds", cfg)
	}
	for seq, want := range map[uint64]string{1: "one", 2: "two", 3: ""} {
		if b, ok, err := g.Get(t.Context(), seq); err != nil || string(b) != want || ok != (want != "") {
			t.Errorf("entry %d: %q, %v, %v", seq, b, ok, err)
		}
	}
	if last, err := g.Last(t.Context()); err != nil || last != 2 {
		t.Errorf("last %d, %v", last, err)
	}
}

// Package logtest opens real logs for tests.
package logtest

import (
	"context"
	"testing"

	streamlog "panormus/stream/log"
)

// New opens an embedded log in a folder of the test's and closes it at the test's end. Change
// settings through edit, which may be nil.
func New(t testing.TB, edit func(*streamlog.Config)) *streamlog.Log {
	t.Helper()
	return Open(t, t.TempDir(), edit)
}

// Open is New for a folder that outlives the log.
func Open(t testing.TB, dir string, edit func(*streamlog.Config)) *streamlog.Log {
	t.Helper()
	cfg := streamlog.Config{Dir: dir, Sync: streamlog.DefaultSync, MinFree: 1}
	if edit != nil {
		edit(&cfg)
	}
	l, err := streamlog.Open(context.Background(), cfg)
	if err != nil {
		t.Fatalf("open a log in %s: %v", dir, err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

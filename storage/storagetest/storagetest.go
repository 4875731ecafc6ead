// Package storagetest starts a real database for tests.
package storagetest

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"panormus/storage"
	"panormus/storage/embedded"
)

// Binary is where chdbd is: $PANORMUS_CHDBD or bin/chdbd of the repository the test runs in.
func Binary() (string, error) {
	if path := os.Getenv("PANORMUS_CHDBD"); path != "" {
		return path, nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("find chdbd: the test runs outside the repository and $PANORMUS_CHDBD is not set")
		}
	}
	path := filepath.Join(dir, "bin", "chdbd")
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("find chdbd: %w; run `make build` first", err)
	}
	return path, nil
}

// Start runs an embedded database in dir until stop is called. It is for TestMain, where there is
// no testing.TB; everything else has NewServer and NewDB.
func Start(dir string, log *slog.Logger) (s *embedded.Server, stop func() error, err error) {
	binary, err := Binary()
	if err != nil {
		return nil, nil, err
	}
	s, err = embedded.New(embedded.Config{Dir: dir, Binary: binary, MaxPause: 200 * time.Millisecond, Log: log})
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stop = func() error {
		cancel()
		return <-done
	}
	wait, cancelWait := context.WithTimeout(ctx, 3*time.Minute) // the library may still be on a slow disk
	defer cancelWait()
	if err := s.Ready(wait); err != nil {
		stop()
		return nil, nil, err
	}
	return s, stop, nil
}

// NewServer runs an embedded database in a temporary directory until the test ends.
func NewServer(t testing.TB) *embedded.Server {
	t.Helper()
	s, stop, err := Start(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("stop the embedded database: %v", err)
		}
	})
	return s
}

// NewDB runs an embedded database until the test ends and opens it.
func NewDB(t testing.TB) *storage.DB { return NewDBOf(t, storage.Config{}) }

// NewDBOf is NewDB with settings.
func NewDBOf(t testing.TB, cfg storage.Config) *storage.DB {
	t.Helper()
	cfg.Embedded = NewServer(t)
	db, err := storage.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

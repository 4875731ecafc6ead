package log_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"panormus/stream/log"
	"panormus/stream/log/logtest"
)

// onDisk reports whether text stands in any file under dir.
func onDisk(t *testing.T, dir, text string) bool {
	t.Helper()
	found := false
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // written anew meanwhile
		}
		found = found || bytes.Contains(b, []byte(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestSecretsAreErased(t *testing.T) {
	dir := t.TempDir()
	l := logtest.Open(t, dir, nil)
	s, err := l.Secrets(t.Context(), "safe")
	if err != nil {
		t.Fatal(err)
	}
	const secret = "the-secret-in-question"
	if err := s.Swap(t.Context(), "a key", []byte(secret), 0); err != nil {
		t.Fatal(err)
	}
	if err := s.Swap(t.Context(), "a key", []byte("mine"), 0); !errors.Is(err, log.ErrChanged) {
		t.Errorf("a second writer: %v, want ErrChanged", err)
	}
	value, revision, err := s.Entry(t.Context(), "a key")
	if err != nil || string(value) != secret {
		t.Fatalf("%q, %v", value, err)
	}
	if !onDisk(t, dir, secret) {
		t.Fatal("the secret is not on the disk: this test would not see it go")
	}
	if err := s.Swap(t.Context(), "a key", []byte("gone"), revision); err != nil {
		t.Fatal(err)
	}
	if err := s.Swap(t.Context(), "a key", []byte("late"), revision); !errors.Is(err, log.ErrChanged) {
		t.Errorf("a stale writer: %v, want ErrChanged", err)
	}
	if !onDisk(t, dir, secret) {
		t.Fatal("the old value was not on the disk before Erase: it proves nothing")
	}
	for range 2 {
		if err := s.Erase(t.Context(), "a key"); err != nil {
			t.Fatal(err)
		}
	}
	if onDisk(t, dir, secret) {
		t.Error("the secret is still on the disk")
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if onDisk(t, dir, secret) {
		t.Error("the secret is on the disk of the stopped server")
	}
	l = logtest.Open(t, dir, nil)
	if s, err = l.Secrets(t.Context(), "safe"); err != nil {
		t.Fatal(err)
	}
	if value, _, err = s.Entry(t.Context(), "a key"); err != nil || string(value) != "gone" {
		t.Errorf("after a restart %q, %v; want what was put last", value, err)
	}
	if value, revision, err = s.Entry(t.Context(), "another"); value != nil || revision != 0 || err != nil {
		t.Errorf("%q, %d, %v; want nothing", value, revision, err)
	}
	if err := s.Erase(t.Context(), "another"); err != nil {
		t.Error(err)
	}
}

package audit_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"panormus/stream/audit"
)

// anchored is a journal with an anchor over a ledger.
func anchored(t *testing.T, b *book, file string) *audit.Journal {
	t.Helper()
	j := audit.New(b)
	var err error
	if j.Anchor, err = audit.OpenAnchor(t.Context(), file, b, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	return j
}

func act(t *testing.T, j *audit.Journal, n int) {
	t.Helper()
	for range n {
		if err := j.Append(t.Context(), audit.Entry{Actor: "rosalia", Action: "alarm.act"}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTheEndIsAnchored cuts off the end of a log, or makes it anew, while nobody looks and while a process goes on
// writing: whoever verifies is told, also after more was written and after other processes have started.
func TestTheEndIsAnchored(t *testing.T) {
	for name, tamper := range map[string]func(b *book){
		"whole":               func(*book) {},
		"the last one is off": func(b *book) { b.entries = b.entries[:9] },
		"much is off":         func(b *book) { b.entries = b.entries[:2] },
		"emptied":             func(b *book) { b.entries = nil },
		"made anew":           func(b *book) { b.entries = nil; fill(t, b, 12) },
	} {
		for later, goOn := range map[string]func(b *book, j *audit.Journal, file string){
			"at once":                 func(*book, *audit.Journal, string) {},
			"the process goes on":     func(_ *book, j *audit.Journal, _ string) { act(t, j, 1) },
			"the process goes far on": func(_ *book, j *audit.Journal, _ string) { act(t, j, 20) },
			"after a start": func(b *book, _ *audit.Journal, file string) {
				act(t, anchored(t, b, file), 20)
				act(t, anchored(t, b, file), 1)
			},
		} {
			t.Run(name+", "+later, func(t *testing.T) {
				b, file := &book{}, filepath.Join(t.TempDir(), "audit.anchor")
				j := anchored(t, b, file)
				act(t, j, 10)
				if m, err := audit.ReadAnchor(file); err != nil || m.Seq != 10 {
					t.Fatalf("%+v, %v; want the tenth entry", m, err)
				}
				time.Sleep(2 * time.Millisecond) // what is made anew is of another time
				tamper(b)
				goOn(b, j, file)
				v := &audit.Verifier{}
				var err error
				if v.Anchor, err = audit.ReadAnchor(file); err != nil {
					t.Fatal(err)
				}
				err = audit.Verify(t.Context(), b, v)
				broken, _ := errors.AsType[*audit.Broken](err)
				if whole := name == "whole"; whole != (err == nil) || !whole && (broken == nil || !strings.Contains(broken.What, "cut off") && !strings.Contains(broken.What, "made anew")) {
					t.Errorf("%v; %d entries, anchor %d", err, len(b.entries), v.Anchor.Seq)
				}
			})
		}
	}
}

func TestAnchorsThatAreNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.anchor")
	for _, bad := range []string{"", "{}", `{"seq":3,"hash":"abc"}`, "no JSON", `{"seq":0,"hash":"` + strings.Repeat("0", 64) + `"}`} {
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := audit.ReadAnchor(file); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if m, err := audit.ReadAnchor(file + ".none"); err != nil || m.Seq != 0 {
		t.Errorf("%+v, %v; want none where there is no file", m, err)
	}
}

// TestAnAnchorThatCannotBeWritten keeps nothing from being done.
func TestAnAnchorThatCannotBeWritten(t *testing.T) {
	b := &book{}
	j := anchored(t, b, filepath.Join(t.TempDir(), "no such folder", "audit.anchor"))
	act(t, j, 2)
}

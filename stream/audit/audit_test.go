package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"panormus/stream/audit"
	streamlog "panormus/stream/log"
	"panormus/stream/log/logtest"
)

// book is a ledger in memory that lets itself be tampered with.
type book struct {
	mu      sync.Mutex
	entries [][]byte // nil: missing
	lost    int      // answers to Append that do not arrive
}

func (b *book) Append(_ context.Context, after uint64, data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if after != uint64(len(b.entries)) {
		return streamlog.ErrChanged
	}
	b.entries = append(b.entries, bytes.Clone(data))
	if b.lost > 0 {
		b.lost--
		return errors.New("no answer")
	}
	return nil
}

func (b *book) Last(context.Context) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return uint64(len(b.entries)), nil
}

func (b *book) Get(_ context.Context, seq uint64) ([]byte, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entries[seq-1]
	return e, e != nil, nil
}

func fill(t *testing.T, l audit.Ledger, n int) {
	t.Helper()
	j := audit.New(l)
	for i := range n {
		err := j.Append(t.Context(), audit.Entry{Actor: "rosalia", Action: "reveal.requested", Object: fmt.Sprintf("r%d", i), Reason: "furto <auto> & fuga \xff",
			Case: "2026/17", Detail: map[string]string{"hash": "0a1b2c3d4e5f", "camera": "cam-1"}})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestTamperingIsNamed(t *testing.T) {
	head := func(t *testing.T, b *book) string {
		_, head, err := audit.New(b).Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return head
	}
	forge := func(b []byte, change func(*audit.Entry)) []byte {
		var e audit.Entry
		if err := json.Unmarshal(b, &e); err != nil {
			t.Fatal(err)
		}
		change(&e)
		out, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		return []byte(strings.NewReplacer(`\u0026`, "&", `\u003c`, "<", `\u003e`, ">").Replace(string(out)))
	}
	for _, tc := range []struct {
		name   string
		tamper func(*book)
		broken uint64 // 0: whole
		what   string
	}{
		{"whole", func(*book) {}, 0, ""},
		{"another reason", func(b *book) { b.entries[2] = bytes.Replace(b.entries[2], []byte("furto"), []byte("gioco"), 1) }, 3, "was changed"},
		{"another actor", func(b *book) { b.entries[0] = forge(b.entries[0], func(e *audit.Entry) { e.Actor = "other" }) }, 1, "was changed"},
		{"another hash", func(b *book) {
			b.entries[4] = forge(b.entries[4], func(e *audit.Entry) { e.Hash = strings.Repeat("a", 64) })
		}, 5, "was changed"},
		{"a member more", func(b *book) { b.entries[2] = bytes.Replace(b.entries[2], []byte(`{`), []byte(`{"x":1,`), 1) }, 3, "not in the form"},
		{"cut out", func(b *book) { b.entries = append(b.entries[:2:2], b.entries[3:]...) }, 3, "the next one is 4"},
		{"cut out and numbered anew", func(b *book) {
			b.entries = append(b.entries[:2:2], b.entries[3:]...)
			for i := 2; i < len(b.entries); i++ {
				b.entries[i] = forge(b.entries[i], func(e *audit.Entry) { e.Seq = uint64(i) + 1 })
			}
		}, 3, "follows"},
		{"missing", func(b *book) { b.entries[2] = nil }, 3, "is missing"},
		{"the first is missing", func(b *book) { b.entries[0] = nil }, 1, "is missing"},
		{"unreadable", func(b *book) { b.entries[2] = []byte("{") }, 3, "cannot be read"},
		{"inserted", func(b *book) {
			b.entries = append(b.entries[:2:2], append([][]byte{b.entries[1]}, b.entries[2:]...)...)
		}, 3, "number 2"},
		{"appended by hand", func(b *book) {
			b.entries = append(b.entries, forge(b.entries[4], func(e *audit.Entry) { e.Seq = 6 }))
		}, 6, "follows"},
		{"swapped", func(b *book) { b.entries[1], b.entries[2] = b.entries[2], b.entries[1] }, 2, "missing"},
		{"its end cut off", func(b *book) { b.entries = b.entries[:3] }, 4, "noted head"},
		{"all made anew", func(b *book) { b.entries = nil; fill(t, b, 5) }, 6, "noted head"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := &book{}
			fill(t, b, 5)
			v := &audit.Verifier{Noted: head(t, b)}
			if strings.HasPrefix(tc.name, "all") {
				time.Sleep(2 * time.Millisecond) // the same acts at another time
			}
			tc.tamper(b)
			err := audit.Verify(t.Context(), b, v)
			broken, _ := errors.AsType[*audit.Broken](err)
			switch {
			case tc.broken == 0 && (err != nil || v.Count() != 5 || v.Head() != v.Noted):
				t.Errorf("%v, %d entries, head %s; want 5 whole ones up to %s", err, v.Count(), v.Head(), v.Noted)
			case tc.broken != 0 && (broken == nil || broken.Seq != tc.broken || !strings.Contains(broken.What, tc.what) || v.Count() != tc.broken-1):
				t.Errorf("%v with %d whole; want entry %d: %q", err, v.Count(), tc.broken, tc.what)
			}
		})
	}
}

// What Read hands out, which a client gets, breaks at the same place.
func TestReadIsVerifiable(t *testing.T) {
	for _, tc := range []struct {
		tamper func(*book)
		broken uint64
	}{
		{func(*book) {}, 0},
		{func(b *book) { b.entries[6] = nil }, 7},
		{func(b *book) { b.entries[6] = []byte("[]") }, 7},
		{func(b *book) { b.entries[9] = nil }, 10},
	} {
		b := &book{}
		fill(t, b, 10)
		tc.tamper(b)
		j, v := audit.New(b), &audit.Verifier{}
		var err error
		for next := uint64(1); next != 0 && err == nil; {
			var page []audit.Entry
			var e error
			if page, next, e = j.Read(t.Context(), next, 3); e != nil {
				t.Fatal(e)
			}
			for _, entry := range page {
				if err = v.Add(entry); err != nil {
					break
				}
			}
		}
		if err == nil {
			err = v.End(10)
		}
		broken, _ := errors.AsType[*audit.Broken](err)
		if (broken == nil) != (tc.broken == 0) || broken != nil && broken.Seq != tc.broken {
			t.Errorf("%v, want entry %d", err, tc.broken)
		}
	}
}

func TestAnAnswerThatIsLost(t *testing.T) {
	b := &book{}
	j := audit.New(b)
	b.lost = 1
	if err := j.Append(t.Context(), audit.Entry{Actor: "a", Action: "x"}); err == nil {
		t.Error("an entry without answer was taken for kept")
	}
	fill(t, b, 2)
	if err := j.Append(t.Context(), audit.Entry{Actor: "a", Action: "y"}); err != nil {
		t.Fatal(err)
	}
	v := &audit.Verifier{}
	if err := audit.Verify(t.Context(), b, v); err != nil || v.Count() != 4 {
		t.Errorf("%v, %d entries; want 4", err, v.Count())
	}
	if err := j.Append(t.Context(), audit.Entry{Actor: "a", Action: "x", Reason: strings.Repeat("x", 3000)}); err == nil {
		t.Error("a reason of 3000 bytes was taken")
	}
}

func TestSince(t *testing.T) {
	b := &book{}
	before := time.Now().Add(-time.Minute)
	fill(t, b, 3)
	j := audit.New(b)
	for at, want := range map[time.Time]uint64{before: 1, time.Now().Add(time.Hour): 4} {
		if got, err := j.Since(t.Context(), at); err != nil || got != want {
			t.Errorf("since %v: %d, %v; want %d", at, got, err, want)
		}
	}
}

// Several processes keep one chain in a real ledger, and a stopped server's folder can be verified.
func TestOneChainOfMany(t *testing.T) {
	dir := t.TempDir()
	l := logtest.Open(t, dir, nil)
	var wg sync.WaitGroup
	for p := range 4 {
		ledger, err := l.Ledger(t.Context(), "audit")
		if err != nil {
			t.Fatal(err)
		}
		j := audit.New(ledger)
		wg.Go(func() {
			for range 10 {
				if err := j.Append(t.Context(), audit.Entry{Actor: fmt.Sprint("p", p), Action: "x", Object: "y"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	ledger, end, err := streamlog.OpenLedger(t.Context(), dir, "audit")
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	v := &audit.Verifier{}
	if err := audit.Verify(t.Context(), ledger, v); err != nil || v.Count() != 40 {
		t.Errorf("%v, %d entries; want 40", err, v.Count())
	}
	if _, _, err := streamlog.OpenLedger(t.Context(), filepath.Join(dir, "none"), "audit"); err == nil {
		t.Error("a folder without a log was opened")
	}
}

package rules

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"panormus/stream/log/logtest"
)

// bucket is a Bucket in memory.
type bucket struct {
	mu   sync.Mutex
	held map[string][]byte
	tell func(string, []byte)
}

func (b *bucket) Put(_ context.Context, key string, value []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held[key] = value
	b.tell(key, value)
	return nil
}

func (b *bucket) Delete(_ context.Context, key string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.held, key)
	b.tell(key, nil)
	return nil
}

func (b *bucket) Watch(ctx context.Context, change func(string, []byte), synced func()) error {
	b.mu.Lock()
	b.tell = change
	for k, v := range b.held {
		change(k, v)
	}
	b.mu.Unlock()
	synced()
	<-ctx.Done()
	return ctx.Err()
}

func ids(set *Set) string {
	var out []string
	for _, r := range set.Rules {
		out = append(out, r.ID)
	}
	return strings.Join(out, " ")
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	// The bubble's clock is not the file system's: give every content a time of its own.
	at := time.Now().Add(time.Duration(len(text)) * time.Second)
	if err := os.Chtimes(filepath.Join(dir, name), at, at); err != nil {
		t.Fatal(err)
	}
}

func TestStoreFollowsItsDirectory(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		write(t, dir, "a.yaml", "rules: [{id: one, when: x > 1}]")
		write(t, dir, "notes.txt", "no rules")
		s := &Store{Dir: dir}
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.Run(ctx, func() {}); err != nil {
				t.Error(err)
			}
		})
		defer wg.Wait()
		defer stop()
		expect := func(want string, problems int) {
			t.Helper()
			time.Sleep(3 * time.Second)
			synctest.Wait()
			if got := ids(s.Set()); got != want {
				t.Errorf("rules %q, want %q", got, want)
			}
			if got := s.Problems(); len(got) != problems {
				t.Errorf("problems %v, want %d", got, problems)
			}
		}
		expect("one", 0)
		changed := s.Changed()
		write(t, dir, "b.yaml", "rules: [{id: two, when: x > 2}, {id: three, when: x > 3}]")
		expect("one three two", 0)
		select {
		case <-changed:
		default:
			t.Error("the change was not told")
		}
		// Broken: what it held before goes on.
		write(t, dir, "b.yaml", "rules: [{id: two, when: x > 2}, {id: three, when: x >")
		expect("one three two", 1)
		write(t, dir, "b.yaml", "rules: [{id: two, when: x > 2}]")
		expect("one two", 0)
		// Of one id, the later file's counts.
		write(t, dir, "c.yaml", "rules: [{id: one, when: y > 1, severity: critical}]")
		expect("one two", 0)
		if r := s.Set().Rule("one"); r.Severity != "critical" {
			t.Errorf("%+v, want that of c.yaml", r)
		}
		if err := os.Remove(filepath.Join(dir, "c.yaml")); err != nil {
			t.Fatal(err)
		}
		expect("one two", 0)
		if r := s.Set().Rule("one"); r.Severity != "warning" {
			t.Errorf("%+v, want that of a.yaml", r)
		}
		// A file that changes at every look is still being written: half of it must not end rules.
		for i := range 5 {
			write(t, dir, "a.yaml", "rules: []"+strings.Repeat(" ", i))
			time.Sleep(time.Second)
			synctest.Wait()
			if got := ids(s.Set()); got != "one two" {
				t.Errorf("rules %q while a file is written, want them to go on", got)
			}
		}
		expect("two", 0)
	})
}

func TestStoreKeepsTheAPIsRules(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.yaml", "rules: [{id: one, when: x > 1}]")
	synctest.Test(t, func(t *testing.T) {
		kept := &bucket{held: map[string][]byte{"rule:old": []byte("when: x > 9"), "rule:bad": []byte("when: x >"), "other": nil}}
		s := &Store{Dir: dir, Bucket: kept}
		ctx, stop := context.WithCancel(t.Context())
		ready := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() { s.Run(ctx, func() { close(ready) }) })
		defer wg.Wait()
		defer stop()
		<-ready
		if got := ids(s.Set()); got != "old one" || len(s.Problems()) != 1 {
			t.Errorf("rules %q, problems %v", got, s.Problems())
		}
		tell := kept.tell
		kept.tell = func(k string, v []byte) { go tell(k, v) } // the news comes by another way
		r, _, err := s.Put(ctx, "one", []byte(`{"when": "x > 5", "severity": "major"}`))
		if err != nil || r.ID != "one" || s.Set().Rule("one").Severity != "major" {
			t.Errorf("%+v, %v, set %+v", r, err, s.Set().Rule("one"))
		}
		var problems Problems
		for id, body := range map[string]string{"one": "{id: two, when: x > 1}", "two": "when: x >", "a/b": "when: x > 1", "three": "rules: []"} {
			if _, _, err := s.Put(ctx, id, []byte(body)); !errors.As(err, &problems) {
				t.Errorf("%s %s: %v, want Problems", id, body, err)
			}
		}
		if err := s.Delete(ctx, "one"); err != nil || s.Set().Rule("one").Severity != "warning" {
			t.Errorf("%v, %+v; want the file's again", err, s.Set().Rule("one"))
		}
		if err := s.Delete(ctx, "one"); !errors.Is(err, ErrFromFile) {
			t.Errorf("%v, want ErrFromFile", err)
		}
		if err := s.Delete(ctx, "nine"); !errors.Is(err, ErrNotFound) {
			t.Errorf("%v, want ErrNotFound", err)
		}
		if err := s.Delete(ctx, "bad"); err != nil || len(s.Problems()) != 0 {
			t.Errorf("%v, %v; want the bad one gone", err, s.Problems())
		}
	})
}

// The log's KV is a Bucket; what one store keeps another sees.
func TestStoreOverTheLog(t *testing.T) {
	l := logtest.New(t, nil)
	kv, err := l.KV(within(t), Consumer)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(within(t))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	start := func() *Store {
		s := &Store{Bucket: kv, Defaults: true}
		ready := make(chan struct{})
		wg.Go(func() {
			if err := s.Run(ctx, func() { close(ready) }); err != nil {
				t.Error(err)
			}
		})
		<-ready
		return s
	}
	a, b := start(), start()
	changed := b.Changed()
	if _, _, err := a.Put(ctx, "mine", []byte("when: x > 1")); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed:
	case <-ctx.Done():
		t.Fatal("the other store heard nothing")
	}
	if b.Set().Rule("mine") == nil || len(b.Set().Rules) != len(Defaults().Rules)+1 || start().Set().Rule("mine") == nil {
		t.Errorf("%s", ids(b.Set()))
	}
}

// What a directory may hold that is not for reading is told of, holds up nobody and leaves the rules as they are.
func TestStoreOfAHostileDirectory(t *testing.T) {
	dir := t.TempDir()
	many := func(from, n int) string {
		var text strings.Builder
		text.WriteString("rules:\n")
		for i := range n {
			fmt.Fprintf(&text, "- {id: m%d, when: 'true'}\n", from+i)
		}
		return text.String()
	}
	write(t, dir, "a.yaml", "rules: [{id: one, when: x > 1}]")
	const most = 20
	s := &Store{Dir: dir, most: most}
	s.mu.Lock()
	s.init()
	s.look(true)
	s.live = true
	s.mu.Unlock()
	look := func(rules int, problem string) {
		t.Helper()
		for range 3 { // one to see it, one to see that it rests, and one more for those that may have room now
			s.mu.Lock()
			s.look(false)
			s.mu.Unlock()
		}
		if got := len(s.Set().Rules); got != rules {
			t.Errorf("%d rules, want %d", got, rules)
		}
		all := s.Problems()
		if problem == "" && len(all) > 0 || problem != "" && (len(all) != 1 || !strings.Contains(all[0].Message, problem)) {
			t.Errorf("problems %v, want %q", all, problem)
		}
	}
	pipe := filepath.Join(dir, "b.yaml")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	look(1, "want one")
	if err := os.Remove(pipe); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "b.yaml", "")
	if err := os.Truncate(pipe, 1<<40); err != nil { // a file of holes
		t.Fatal(err)
	}
	look(1, "want at most")
	write(t, dir, "b.yaml", many(0, 10))
	write(t, dir, "c.yaml", many(10, 10))
	look(11, "want at most 20 together")
	if err := os.Remove(filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	look(most, "")

	put := &Store{Bucket: &bucket{held: map[string][]byte{}, tell: func(string, []byte) {}}, most: 1}
	if _, _, err := put.Put(t.Context(), "one", []byte("when: x > 1")); err != nil {
		t.Error(err)
	}
	if _, _, err := put.Put(t.Context(), "two", []byte("when: x > 1")); err == nil || !strings.Contains(err.Error(), "want at most 1 together") {
		t.Errorf("%v, want one more refused", err)
	}
	if _, _, err := put.Put(t.Context(), "one", []byte("when: x > 2")); err != nil {
		t.Errorf("%v, want it replaced", err)
	}

	// A link that is moved to another file, as an orchestrator does, is another content.
	for i, target := range []string{many(0, 2), many(0, 3)} {
		elsewhere := t.TempDir()
		write(t, elsewhere, "b.yaml", target)
		if err := os.Remove(pipe); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(elsewhere, "b.yaml"), pipe); err != nil {
			t.Fatal(err)
		}
		look(10+2+i, "")
	}
}

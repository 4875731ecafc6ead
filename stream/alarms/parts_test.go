package alarms

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	streamlog "panormus/stream/log"
)

// choked is a bucket that takes little in one value, and on the way to which acts are lost.
type choked struct {
	Bucket
	swap func(s *streamlog.Swap, nth int) (reaches, told bool)
	nth  int // values of acts so far
}

func (c *choked) MaxValue() int { return headBytes + 3*deedBytes }

func (c *choked) SwapAll(ctx context.Context, swaps []streamlog.Swap) {
	for i := range swaps {
		s := &swaps[i]
		reaches, told := true, true
		if strings.HasPrefix(s.Key, actPrefix) {
			reaches, told = c.swap(s, c.nth)
			c.nth++
		}
		if reaches {
			c.Bucket.SwapAll(ctx, swaps[i:i+1])
		}
		if !told || !reaches {
			s.Err, s.Revision = errors.New("the wire is cut"), 0
		}
	}
}

// TestPartsWholeOrNothing: whichever message of an act in parts is the last one before its writer dies, or is cut off, the
// act is done to all its alarms or to none, who waits for it is told which, and nothing of it stays in the bucket.
func TestPartsWholeOrNothing(t *testing.T) {
	const n, values = 8, 3 // 3, 3 and 2 alarms
	type way struct {
		name      string
		swap      func(nth int) (reaches, told bool)
		done      bool
		uncertain bool // nobody can know
	}
	ways := []way{
		{name: "all is well", swap: func(int) (bool, bool) { return true, true }, done: true},
		{name: "the last one is there, and the answer lost", swap: func(nth int) (bool, bool) { return true, nth != values-1 }, done: true},
		{name: "the last one is there, and then nothing goes", swap: func(nth int) (bool, bool) { return nth < values, nth < values-1 }, done: true, uncertain: true},
	}
	for at := range values {
		ways = append(ways, way{name: fmt.Sprint("killed before value ", at), swap: func(nth int) (bool, bool) { return nth < at, nth < at }, uncertain: at == values-1},
			way{name: fmt.Sprint("value ", at, " is lost"), swap: func(nth int) (bool, bool) { return nth != at, nth != at }})
	}
	b := newBench(t, Config{Escalate: []Escalation{}}, nil)
	for i := range n {
		b.publish(event("hot", fmt.Sprint(i), "major", "raised", 0))
	}
	if err := b.work(); err != nil {
		t.Fatal(err)
	}
	beside := &bench{T: t}
	beside.open(b.log, Config{Escalate: []Escalation{}}, nil)
	t.Cleanup(beside.follow())
	comments := func(room *bench, note string) (n int) {
		list, _, _ := room.book.List(Query{})
		for _, r := range list {
			if r.Note == note {
				n++
			}
		}
		return n
	}
	bucket := b.book.bucket
	for _, w := range ways {
		b.book.bucket = &choked{Bucket: bucket, swap: func(_ *streamlog.Swap, nth int) (bool, bool) { return w.swap(nth) }}
		done, refused, _, err := b.book.ActAll(t.Context(), Query{}, n, Act{Action: "comment", By: "ada", Note: w.name})
		b.book.bucket = bucket
		want := 0
		if w.done {
			want = n
		}
		switch {
		case w.uncertain:
			if len(refused) != n || errors.Is(refused[0].Err, ErrNotDone) || !strings.Contains(refused[0].Err.Error(), "may or may not") {
				t.Errorf("%s: %d done, %v, %v; want to be told that nobody knows", w.name, done, refused, err)
			}
		case w.done && (err != nil || done != n):
			t.Errorf("%s: %d done, %v, %v; want all", w.name, done, refused, err)
		case !w.done && !errors.Is(err, ErrNotDone):
			t.Errorf("%s: %d done, %v, %v; want ErrNotDone", w.name, done, refused, err)
		}
		b.act("0", Act{Action: "ack", By: "ada"})
		b.act("0", Act{Action: "unack", By: "ada"})
		last, _ := b.book.Get(ID("hot", "0")) // whoever has this has what was before
		for _, room := range []*bench{b, beside} {
			if err := room.book.await(t.Context(), last.Rev); err != nil {
				t.Fatal(err)
			}
			if got := comments(room, w.name); got != want {
				t.Errorf("%s: done to %d of %d alarms, want %d", w.name, got, n, want)
			}
		}
		compareBooks(t, 0, b.book, beside.book)
		fresh := &bench{T: t}
		fresh.open(b.log, Config{Escalate: []Escalation{}}, nil)
		stop := fresh.follow()
		compareBooks(t, 0, fresh.book, b.book)
		stop()
		// The worker takes it in or gives it up, and what is left of it goes.
		for _, later := range []time.Duration{2, 4, 6} {
			b.tick(time.Now().Add(later * partsFor))
			if err := b.book.await(t.Context(), b.newest()); err != nil {
				t.Fatal(err)
			}
		}
		if keys := b.acts(); len(keys) > 0 || len(b.book.parts) > 0 {
			t.Errorf("%s: the bucket still has %q, the Book parts of %d", w.name, keys, len(b.book.parts))
		}
	}
	logged := map[string]int{}
	for key, times := range b.logged() {
		_, note, _ := strings.Cut(key, " ")
		if note != "" && times != 1 {
			t.Errorf("%s: %d times in the log", key, times)
		}
		logged[note]++
	}
	for _, w := range ways {
		if want := map[bool]int{true: n}[w.done]; logged[w.name] != want {
			t.Errorf("%s: %d rows in the log, want %d", w.name, logged[w.name], want)
		}
	}
}

// TestSlowLastPart: who writes the last value after others gave the act up is told that nothing was done, also where
// nothing in the bucket says so any more.
func TestSlowLastPart(t *testing.T) {
	const n = 8
	b := newBench(t, Config{Escalate: []Escalation{}}, nil)
	for i := range n {
		b.publish(event("hot", fmt.Sprint(i), "major", "raised", 0))
	}
	if err := b.work(); err != nil {
		t.Fatal(err)
	}
	other := &bench{T: t}
	other.open(b.log, Config{Escalate: []Escalation{}}, nil)
	t.Cleanup(other.follow())
	bucket := b.book.bucket
	revision := func(key string) (rev uint64) {
		b.insist(func() error {
			e, err := bucket.Entry(t.Context(), key)
			rev = e.Revision
			return err
		})
		return rev
	}
	await := func(room *bench, rev uint64) {
		b.insist(func() error { return room.book.await(t.Context(), rev) })
	}
	for _, dropped := range []bool{false, true} {
		b.book.bucket = &choked{Bucket: bucket, swap: func(s *streamlog.Swap, nth int) (bool, bool) {
			if nth == 2 { // the last
				await(other, revision(partKey(s.Key, 1)))
				b.insist(func() error { return other.book.giveUp(t.Context(), time.Now().Add(2*partsFor)) })
				for _, room := range []*bench{b, other} { // what is dropped all have read for a minute
					await(room, revision(s.Key))
				}
				if dropped {
					b.insist(func() error { return other.book.drop(t.Context(), s.Key, 2) })
				}
			}
			return true, true
		}}
		if _, _, _, err := b.book.ActAll(t.Context(), Query{}, n, Act{Action: "ack", By: "ada"}); !errors.Is(err, ErrNotDone) {
			t.Errorf("dropped %v: %v, want ErrNotDone", dropped, err)
		}
		for _, room := range []*bench{b, other} {
			await(room, b.newest())
			if _, _, acked := room.book.List(Query{States: []State{Acked}}); acked != 0 {
				t.Errorf("dropped %v: %d are acknowledged", dropped, acked)
			}
		}
	}
	b.book.bucket = bucket
	if done, _, _, err := b.book.ActAll(t.Context(), Query{}, n, Act{Action: "ack", By: "ada"}); err != nil || done != n {
		t.Errorf("%d done when asked again, %v", done, err)
	}
}

// newest is the revision of the newest value of the bucket.
func (b *bench) newest() (rev uint64) {
	b.each(func(e streamlog.Entry) { rev = max(rev, e.Revision) })
	return rev
}

// acts are the keys of acts that the bucket holds.
func (b *bench) acts() (keys []string) {
	b.each(func(e streamlog.Entry) {
		if strings.HasPrefix(e.Key, actPrefix) && e.Value != nil {
			keys = append(keys, e.Key)
		}
	})
	return keys
}

func (b *bench) each(do func(streamlog.Entry)) {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	if err := b.book.bucket.WatchEntries(ctx, do, cancel); err != nil && ctx.Err() == nil {
		b.Fatal(err)
	}
}

package alarms

import (
	"errors"
	"fmt"
	"testing"
	"time"

	streamlog "panormus/stream/log"
)

// TestDeedBytes: a deed is read as it was written, and none that was cut within an alarm or within its line.
func TestDeedBytes(t *testing.T) {
	ids := []string{ID("hot", "a"), ID("hot", "b"), ID("hot", "c")}
	d := newDeed(Act{Action: "shelve", By: "ada", Note: "two\nlines", Until: t0}, t0)
	var on []target
	for i, id := range ids {
		key, err := parseID(id)
		if err != nil {
			t.Fatal(err)
		}
		on = append(on, target{&held{id: key}, uint64(i) << 40, i})
	}
	_, data := d.encode(on, 3)
	got, alarms, err := decodeDeed(data)
	if err != nil || got.Act != d.Act || !got.At.Equal(t0) || got.note != d.note || got.Parts != 0 || got.Form != deedForm {
		t.Errorf("%+v, %v", got, err)
	}
	for i, want := range ids {
		id, rev, rest := cutAlarm(alarms)
		if alarms = rest; id.String() != want || rev != uint64(i)<<40 {
			t.Errorf("alarm %d is %v at rev %d, want %s", i, id, rev, want)
		}
	}
	head := len(data) - len(ids)*deedBytes
	for n := range len(data) {
		whole := n >= head-1 && (n < head || (n-head)%deedBytes == 0)
		if _, _, err := decodeDeed(data[:n]); (err == nil) != whole {
			t.Errorf("%d of %d bytes: %v", n, len(data), err)
		}
	}
	parts, last := d.encode(on, 2)
	if len(parts) != 1 {
		t.Fatalf("%d parts, want one", len(parts))
	}
	if got, some, err := decodeDeed(parts[0]); err != nil || !got.Part || len(some) != 2*deedBytes {
		t.Errorf("%+v with %d bytes of alarms, %v; want a part with two", got, len(some), err)
	}
	if got, rest, err := decodeDeed(last); err != nil || got.Part || got.Parts != 1 || got.Act != d.Act || len(rest) != deedBytes {
		t.Errorf("%+v with %d bytes of alarms, %v; want the act with the last one", got, len(rest), err)
	}
	if key, i, ok := cutPart(partKey(actPrefix+"TOKEN", 12)); key != actPrefix+"TOKEN" || i != 12 || !ok {
		t.Errorf("part %d of %q, %v", i, key, ok)
	}
}

// TestLaterVersion: acts in a form that is not known yet are counted and left out, and nobody acts on what may not
// be so any more until the worker, of the later version, has had the time to take them into the values. One of
// the form that was before is done.
func TestLaterVersion(t *testing.T) {
	b := newBench(t, Config{Escalate: []Escalation{}}, nil)
	b.publish(event("hot", "a", "major", "raised", 0), event("hot", "b", "major", "raised", 0))
	if err := b.work(); err != nil {
		t.Fatal(err)
	}
	put := func(key, value string) {
		t.Helper()
		swaps := []streamlog.Swap{{Key: actPrefix + key, Value: []byte(value)}}
		if b.book.bucket.SwapAll(t.Context(), swaps); swaps[0].Err != nil {
			t.Fatal(swaps[0].Err)
		}
		if err := b.book.await(t.Context(), swaps[0].Revision); err != nil {
			t.Fatal(err)
		}
	}
	r, _ := b.book.Get(ID("hot", "a"))
	put("before", fmt.Sprintf(`{"act":{"action":"ack","by":"ada"},"at":"2026-11-28T10:00:00Z","ids":[%q],"revs":[%d]}`, r.ID, r.Rev))
	b.want(map[string]State{"a": Acked, "b": Unacked})
	put("noise", "\x00\x01")
	b.act("b", Act{Action: "comment", By: "ada", Note: "noise keeps nobody from acting"})
	put("later", fmt.Sprintf("{\"form\":%d,\"act\":[\"ack\"]}\nsomething", partsForm+1))
	if n := b.book.Unread(); n != 2 {
		t.Errorf("%d acts are unread, want 2", n)
	}
	x := Act{Action: "ack", By: "ada"}
	if _, err := b.book.Act(t.Context(), []string{ID("hot", "b")}, x); !errors.Is(err, ErrBehind) {
		t.Errorf("an act beside a later version: %v", err)
	}
	if _, _, _, err := b.book.ActAll(t.Context(), Query{}, 10, x); !errors.Is(err, ErrBehind) {
		t.Errorf("an act on all beside a later version: %v", err)
	}
	b.book.mu.Lock()
	b.book.newer = time.Now().Add(-behindFor)
	b.book.mu.Unlock()
	b.act("b", x)
	b.want(map[string]State{"a": Acked, "b": Acked})
}

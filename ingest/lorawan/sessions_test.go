package lorawan

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"panormus/devices"
	"panormus/ingest/lorawan/frame"
	"panormus/stream/batch"
	"panormus/stream/log/logtest"
)

// bucket is a Bucket, and a devices.Store without memory, in memory.
type bucket struct {
	mu sync.Mutex
	m  map[string][]byte
}

func (b *bucket) Get(_ context.Context, key string) ([]byte, bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, ok := b.m[key]
	return v, ok, nil
}

func (b *bucket) Put(_ context.Context, key string, value []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.m[key] = value
	return nil
}

func (b *bucket) Delete(context.Context, string) error { return nil }
func (b *bucket) Watch(ctx context.Context, _ func(string, []byte), synced func()) error {
	synced()
	<-ctx.Done()
	return ctx.Err()
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newSessions(t *testing.T, kept *bucket, reg *devices.Registry) *Sessions {
	t.Helper()
	return &Sessions{Table: frame.NewTable(0), Codecs: NewCodecs(), Registry: reg, Bucket: kept, Log: discard()}
}

// stateOf is what the table has of a device.
func stateOf(s *Sessions, id string) (st frame.State, ok bool) {
	for other, state := range s.Table.States {
		if other == id {
			return state, true
		}
	}
	return st, false
}

func keyed(id string, addr uint32, key byte) devices.Device {
	k := fmt.Sprintf("%032x", key)
	return devices.Device{ID: id, Domain: "water", Profile: "p", LoRaWAN: &devices.LoRaWAN{DevEUI: fmt.Sprintf("%016x", addr), DevAddr: fmt.Sprintf("%08x", addr), NwkSKey: k, AppSKey: k}}
}

// Counters are kept, raised by what the log has after them, and belong to the keys.
func TestSessions(t *testing.T) {
	ctx := t.Context()
	kept, l := &bucket{m: map[string][]byte{}}, logtest.New(t, nil)
	reg := devices.NewRegistry(&bucket{m: map[string][]byte{}}, discard())
	put := func(d devices.Device) {
		t.Helper()
		if err := reg.PutDevice(ctx, d); err != nil {
			t.Fatal(err)
		}
	}
	open := func() *Sessions {
		t.Helper()
		s := newSessions(t, kept, reg)
		seq, ok, err := s.Load(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			if err := s.CatchUp(ctx, l, seq); err != nil {
				t.Fatal(err)
			}
		}
		s.Follow()
		return s
	}
	publish := func(id string, partition int, fcnt ...int64) {
		t.Helper()
		var rows []batch.Uplink
		for _, n := range fcnt {
			rows = append(rows, batch.Uplink{Time: time.UnixMilli(received).UTC(), Device: id, FCnt: n})
		}
		data, err := batch.EncodeUplinks(rows)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Publish(ctx, batch.KindUplinks, partition, fmt.Sprint(id, fcnt), data); err != nil {
			t.Fatal(err)
		}
	}
	s := open()
	for i := range byte(3) {
		put(keyed(fmt.Sprint("m", i), uint32(i), i)) // told by Follow
	}
	if n := s.Table.Len(); n != 3 {
		t.Fatalf("%d sessions, want 3", n)
	}
	publish("m0", 0, 1)
	seq, err := l.LastSeq(ctx, batch.KindUplinks)
	if err != nil {
		t.Fatal(err)
	}
	s.Table.Remove("m0")
	k, _, err := frame.KeysOf(keyed("m0", 0, 0).LoRaWAN)
	if err != nil {
		t.Fatal(err)
	}
	want := frame.State{Any: true, Last: 70000, Seen: 5, Marks: [frame.Window]uint16{3: 77}}
	if err := s.Table.Put("m0", k, frame.Refuse, want); err != nil {
		t.Fatal(err)
	}
	if err := s.Save(ctx, s.Snapshot(seq)); err != nil {
		t.Fatal(err)
	}
	if got, _ := stateOf(open(), "m0"); got != want {
		t.Errorf("after a restart %+v, want %+v", got, want)
	}

	// A kill: the log knows more. The last batch of a partition may lack its observations.
	publish("m0", 0, 70001)
	publish("m0", 0, 70003)
	publish("m1", 1, 8)
	publish("m1", 1, 9, 9)
	s = open()
	if got, _ := stateOf(s, "m0"); got.Last != 70003 || got.Seen != 5<<3|1<<2 {
		t.Errorf("after a kill m0 has %+v, want 70003 last and 70001 seen, 70003 not", got)
	}
	if got, _ := stateOf(s, "m1"); !got.Any || got.Last != 9 || got.Seen != 1<<1 {
		t.Errorf("after a kill m1 has %+v, want 9 last, 8 seen", got)
	}
	if got, ok := stateOf(s, "m2"); !ok || got.Any {
		t.Errorf("m2 has %+v, %v; want a session that heard nothing", got, ok)
	}

	// The policy follows the profile, the counters the keys.
	if err := reg.PutProfile(ctx, devices.Profile{ID: "p", LoRaWAN: &devices.RadioPolicy{CounterPolicy: "flag"}}); err != nil {
		t.Fatal(err)
	}
	if e := s.Table.Candidates(0); len(e) != 1 || e[0].Policy != frame.Flag || e[0].State().Last != 70003 {
		t.Errorf("after a change of policy: %+v", e)
	}
	put(keyed("m0", 0, 9))
	if got, ok := stateOf(s, "m0"); !ok || got.Any {
		t.Errorf("with other keys: %+v, %v; want a session that heard nothing", got, ok)
	}
	if err := reg.DeleteDevice(ctx, "m0"); err != nil {
		t.Fatal(err)
	}
	if _, ok := stateOf(s, "m0"); ok {
		t.Error("a device that was removed has a session")
	}
	if err := reg.PutProfile(ctx, devices.Profile{ID: "p", LoRaWAN: &devices.RadioPolicy{CounterPolicy: "perhaps"}}); err == nil {
		t.Error("a policy that is none was taken")
	}
}

// A device that joined by its network server has a new address.
func TestJoined(t *testing.T) {
	reg := devices.NewRegistry(&bucket{m: map[string][]byte{}}, discard())
	if err := reg.PutDevice(t.Context(), keyed("m", 7, 1)); err != nil {
		t.Fatal(err)
	}
	j := NewJoins(reg, discard(), func(context.Context, string, []batch.Event) error { return nil })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	changed := make(chan string, 8)
	reg.Follow(func(_ devices.Kind, id string) { changed <- id })
	go func() { done <- j.Run(ctx) }()
	j.Joined(7, 0xabcdef01)
	j.Joined(99, 1) // not ours
	if id := <-changed; id != "m" || reg.Lookup("m").LoRaWAN.DevAddr != "abcdef01" || reg.Lookup("m").LoRaWAN.NwkSKey == "" {
		t.Errorf("%q changed to %+v; want m with the new address and its keys", id, reg.Lookup("m").LoRaWAN)
	}
	cancel()
	<-done
}

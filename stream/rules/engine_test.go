package rules

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"panormus/devices"
	"panormus/stream/batch"
)

// appendAll puts the messages of from behind those of to.
func appendAll(to, from *batch.Observations) {
	for i := range from.Len() {
		h := to.Begin(from.Time[i], from.Received[i], from.Domain.At(i), from.Device.At(i))
		to.Append(h, from.Metric.At(i), from.Value[i], from.Text.At(i), from.Quality[i])
	}
}

// The same messages make the same events, however they are cut into batches and partitions, wherever
// the engine is stopped and restored, and with partitions side by side.
func TestSameEventsHoweverCut(t *testing.T) {
	t.Parallel()
	set := mustParse(t, crashRules)
	work := day(21, 800)
	run := func(partitions, longest int, restarts bool, seed uint64) map[string]batch.Event {
		rnd := rand.New(rand.NewPCG(seed, 9))
		e := New(Config{Partitions: partitions}, set)
		events := []batch.Event{}
		seq := uint64(0)
		for i := 0; i < len(work); {
			// A batch of neighbours in one partition, for the log's order to stay.
			p := partition(work[i].Device.At(0), partitions)
			o := &batch.Observations{}
			for n := 1 + rnd.IntN(longest); n > 0 && i < len(work) && partition(work[i].Device.At(0), partitions) == p; n-- {
				appendAll(o, work[i])
				i++
			}
			seq++
			e.Apply(p, seq, o)
			if rnd.IntN(3) == 0 {
				events = append(events, e.Settle()...)
			}
			if restarts && rnd.IntN(20) == 0 {
				events = append(events, e.Settle()...)
				next := New(Config{Partitions: partitions}, set)
				for p := -1; p < partitions; p++ {
					if got, err := next.Restore(p, e.Snapshot(p, seq)); err != nil || got != seq {
						t.Fatal(got, err)
					}
				}
				e = next
			}
		}
		events = append(events, e.Settle()...)
		// Windows of keys that span partitions wait for the last of them, or the worker's clock.
		e.Tick(work[len(work)-1].Received[0] + 600_000)
		return outcome(t, append(events, e.Settle()...))
	}
	want := run(1, 1, false, 1)
	if len(want) < 100 {
		t.Fatalf("%d events, want a day worth of testing", len(want))
	}
	for seed := range uint64(6) {
		sameOutcome(t, run(1, 50, false, seed), want)
		sameOutcome(t, run(1, 10, true, seed), want)
		sameOutcome(t, run(16, 10, true, seed), want)
	}
}

func TestPartitionsSideBySide(t *testing.T) {
	set := mustParse(t, crashRules)
	e, one := New(Config{}, set), New(Config{}, set)
	work := day(5, 500)
	byPartition := map[int][]int{}
	for i, o := range work {
		p := partition(o.Device.At(0), 16)
		byPartition[p] = append(byPartition[p], i)
		one.Apply(p, uint64(i+1), o)
	}
	var wg sync.WaitGroup
	for p, all := range byPartition {
		wg.Go(func() {
			for _, i := range all {
				e.Apply(p, uint64(i+1), work[i])
			}
		})
	}
	wg.Wait()
	got, want := e.Settle(), one.Settle()
	if len(got) != len(want) || len(got) == 0 {
		t.Fatalf("%d events, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i].ID != want[i].ID {
			t.Fatalf("event %d: %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestSnapshotRefusesWhatIsBroken(t *testing.T) {
	t.Parallel()
	set := mustParse(t, crashRules)
	e := New(Config{}, set)
	for i, o := range day(5, 100) {
		e.Apply(partition(o.Device.At(0), 16), uint64(i+1), o)
	}
	e.Settle()
	for _, p := range []int{-1, partition("a1", 16)} {
		good := e.Snapshot(p, 100)
		for n := range good {
			next := New(Config{}, set)
			if _, err := next.Restore(p, good[:n]); err == nil {
				t.Fatalf("cut to %d of %d bytes and taken", n, len(good))
			}
			bad := append([]byte(nil), good...)
			bad[n] ^= 0x41
			if _, err := next.Restore(p, bad); err == nil {
				t.Fatalf("byte %d of %d changed and taken", n, len(good))
			}
			if next.Devices() != 0 {
				t.Fatal("a refused snapshot left devices")
			}
		}
		next := New(Config{}, set)
		if seq, err := next.Restore(p, good); err != nil || seq != 100 {
			t.Fatal(seq, err)
		}
		sorted := func(b []byte) string { // devices are written in any order
			b = slices.Clone(b[:len(b)-4])
			slices.Sort(b)
			return string(b)
		}
		if sorted(next.Snapshot(p, 100)) != sorted(good) && p >= 0 {
			t.Error("written again it differs")
		}
		if _, err := next.Restore(3, e.Snapshot(4, 1)); err == nil {
			t.Error("another partition's was taken")
		}
	}
}

func FuzzRestore(f *testing.F) {
	set := mustParse(f, crashRules)
	e := New(Config{}, set)
	for i, o := range day(5, 60) {
		e.Apply(0, uint64(i+1), o)
	}
	e.Settle()
	f.Add(e.Snapshot(0, 1)[4:], 0)
	f.Add(e.Snapshot(-1, 1)[4:], -1)
	f.Fuzz(func(t *testing.T, body []byte, p int) {
		if p != 0 && p != -1 || len(body) > 1<<16 {
			return
		}
		r := &reader{b: body, version: snapshotVersion}
		next := New(Config{}, set)
		if p < 0 {
			next.shared.read(r, 1)
		} else {
			next.shards[0].read(r, 1)
		}
		if !r.bad {
			next.Settle()
			next.Snapshot(p, 1)
		}
	})
}

// State is bounded: devices, and keys of a rule.
func TestBounds(t *testing.T) {
	set := mustParse(t, "rules:\n  - {id: own, when: x > 1}\n  - {id: keys, when: x > 1, key: '\"k\" + device'}")
	e := New(Config{Partitions: 1, MaxDevices: 100, MaxKeys: 40}, set)
	ups := map[string]int{}
	count := func(events []batch.Event) {
		for _, ev := range events {
			if ev.State == "raised" {
				ups[ev.Rule+ev.Key]++
			} else if ev.State == "cleared" {
				ups[ev.Rule+ev.Key]--
			}
		}
	}
	for i := range 500 {
		o := &batch.Observations{}
		h := o.Begin(1000*int64(i+1), 1000*int64(i+1), "lab", fmt.Sprintf("d%d", i))
		o.Append(h, "x", 2, "", 0)
		e.Apply(0, uint64(i+1), o)
		count(e.Settle())
	}
	for range 2 { // what is known of those forgotten last becomes sure
		e.Tick(600_000)
	}
	count(e.Settle())
	s := e.Stats()
	if e.Devices() != 100 || s.Evicted != 400 || s.KeysRefused == 0 || len(e.shared.groups) > 40 {
		t.Errorf("%d devices, %d keys, %+v", e.Devices(), len(e.shared.groups), s)
	}
	open := 0
	for k, n := range ups {
		if n < 0 || n > 1 {
			t.Errorf("%s raised %d times more than cleared", k, n)
		}
		open += n
	}
	keys := 0
	for _, a := range e.shared.settler.accounts {
		if a.stands() != nil {
			keys++
		}
	}
	if keys == 0 || keys > 40 || open != 100+keys {
		t.Errorf("%d episodes open, want one a device held and %d keys: what was forgotten was cleared", open, keys)
	}
	// Those long unheard, with nothing open, are forgotten.
	quiet := New(Config{Partitions: 1, Forget: time.Hour}, set)
	o := &batch.Observations{}
	o.Append(o.Begin(1, 1, "lab", "d"), "x", 0, "", 0)
	quiet.Apply(0, 1, o)
	quiet.Tick(2 * 3600_000)
	if quiet.Settle(); quiet.Devices() != 0 {
		t.Errorf("%d devices after an hour unheard, want none", quiet.Devices())
	}
}

// A million devices with one threshold held with `for`: bytes a device, and what a checkpoint takes.
func BenchmarkState(b *testing.B) {
	const n = 100_000
	set := mustParse(b, "{id: r, when: x > 1, for: 5m}")
	e := New(Config{Partitions: 1}, set)
	for i := range n {
		o := &batch.Observations{}
		o.Append(o.Begin(1_790_000_000_000, 1_790_000_000_000, "lab", fmt.Sprintf("device-%06d", i)), "x", float64(i%3), "", 0)
		e.Apply(0, uint64(i+1), o)
	}
	var size int
	for b.Loop() {
		size = len(e.Snapshot(0, n))
	}
	b.ReportMetric(float64(size)/n, "bytes/device")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/device")
}

func TestSunElevation(t *testing.T) {
	const lat, lon = 38.1157, 13.3615
	at := func(s string) int64 {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v.UnixMilli()
	}
	highest := func(day string) float64 {
		top := -90.0
		for m := range int64(1440) {
			top = max(top, sunElevation(at(day+"T00:00:00Z")+m*60_000, lat, lon))
		}
		return top
	}
	// At noon of the solstices the sun stands at 90 - latitude ± 23.436 degrees.
	if got, want := highest("2026-06-21"), 90-lat+23.436; math.Abs(got-want) > 0.02 {
		t.Errorf("summer solstice %v, want %v", got, want)
	}
	if got, want := highest("2026-12-21"), 90-lat-23.436; math.Abs(got-want) > 0.05 { // and refraction
		t.Errorf("winter solstice %v, want %v", got, want)
	}
	// At the equinox the day lasts 12 hours and, for refraction, some 5 minutes more.
	up := 0
	for m := range int64(1440) {
		if sunElevation(at("2026-03-20T00:00:00Z")+m*60_000, lat, lon) > 0 {
			up++
		}
	}
	if up < 720 || up > 730 {
		t.Errorf("%d minutes of day at the equinox, want 720 to 730", up)
	}
	var c sunCache
	for range 1000 {
		ms := rand.Int64N(2e12)
		if got, want := c.at(ms, lat, lon), sunElevation(ms, lat, lon); math.Abs(got-want) > 0.4 {
			t.Fatalf("at %d: %v, want %v", ms, got, want)
		}
	}
}

// A registry that changes is seen, and a device may speak in two domains.
func TestRegistryChanges(t *testing.T) {
	registry := &testRegistry{assets: map[string]*devices.Asset{}}
	e := New(Config{Registry: registry, Partitions: 1}, mustParse(t, `{id: r, when: 'zone == "kalsa" && x > 1'}`))
	say := func(domain string, at int64) int {
		o := &batch.Observations{}
		o.Append(o.Begin(at, at, domain, "d"), "x", 2, "", 0)
		e.Apply(0, uint64(at), o)
		return len(e.Settle())
	}
	if n := say("a", 1); n != 0 {
		t.Errorf("%d events without a zone", n)
	}
	registry.assets["d"] = &devices.Asset{Device: devices.Device{ID: "d", Zone: "kalsa"}}
	registry.version++
	if n := say("a", 2); n != 1 {
		t.Errorf("%d events in the zone, want 1", n)
	}
	if n := say("b", 3); n != 1 || e.Devices() != 2 {
		t.Errorf("%d events in the other domain, want 1", n)
	}
}

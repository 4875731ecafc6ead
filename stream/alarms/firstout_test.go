package alarms

import (
	"strings"
	"testing"
	"time"

	"panormus/stream/batch"
)

// at is an event of a device of a zone, seconds after t0.
func at(device, zone, state string, second float64) batch.Event {
	ev := event("hot", device, "major", state, second/60)
	ev.Zone = zone
	return ev
}

// first names the alarm that came first in the group of device's, "" where it has none.
func (b *bench) first(device string) string {
	b.Helper()
	r, ok := b.book.Get(ID("hot", device))
	if !ok || r.FirstOut == "" {
		return ""
	}
	first, ok := b.book.Get(r.FirstOut)
	if !ok {
		b.Fatalf("%s came after %s, which there is not", device, r.FirstOut)
	}
	return first.Key
}

func (b *bench) firsts(want string) {
	b.Helper()
	for _, pair := range strings.Fields(want) {
		device, first, _ := strings.Cut(pair, "<")
		if got := b.first(device); got != first {
			b.Errorf("first of the group of %s is %q, want %q", device, got, first)
		}
	}
}

func TestFirstOut(t *testing.T) {
	cfg := Config{Escalate: []Escalation{}, FirstOut: []FirstOut{{By: "zone", Domain: "lighting", Within: 10 * time.Second}, {By: "parent", Within: time.Minute}}}
	parent := func(device string) string { return map[string]string{"w1": "well", "w2": "well"}[device] }
	b := newBench(t, cfg, parent)
	work := func(events ...batch.Event) {
		t.Helper()
		b.publish(events...)
		if err := b.work(); err != nil {
			t.Fatal(err)
		}
	}
	// In one batch and in several; another zone apart; after the time another incident.
	work(at("a", "kalsa", "raised", 0), at("b", "kalsa", "raised", 2), at("x", "albergheria", "raised", 1))
	work(at("c", "kalsa", "raised", 10), at("d", "kalsa", "raised", 10.1), at("e", "kalsa", "raised", 15))
	b.firsts("a<a b<a c<a d<d e<d x<x")
	// Raised again while open it stays in its group; a new occurrence is a new one.
	work(at("a", "kalsa", "cleared", 20), at("a", "kalsa", "raised", 21))
	b.firsts("a<a")
	if res := b.act("a", Act{Action: "close", By: "ada"}); res.Err != nil {
		t.Fatal(res.Err)
	}
	work(at("a", "kalsa", "raised", 40))
	b.firsts("a<a b<a")

	// A device and what hangs on it, in a domain that zones do not group.
	water := func(device string, second float64) batch.Event {
		ev := at(device, "kalsa", "raised", second)
		ev.Domain = "water"
		return ev
	}
	work(water("w1", 30), water("w2", 31), water("well", 32), water("tap", 33))
	b.firsts("w1<w1 w2<w1 well<w1 tap<tap")
	if page, _, total := b.book.List(Query{FirstOut: []string{ID("hot", "w1")}}); total != 3 || len(page) != 3 {
		t.Errorf("%d alarms after w1, want 3", total)
	}

	// The truth comes late: z was before x and takes its place.
	work(at("y", "albergheria", "raised", 9), at("z", "albergheria", "raised", 0.5))
	b.firsts("y<x z<z")
	b.tick(t0.Add(time.Minute))
	b.firsts("x<z y<z z<z")
	if r, _ := b.book.Get(ID("hot", "x")); r.Last.Action != "first_out" {
		t.Errorf("x: last %+v, want it to say that it was not first", r.Last)
	}

	// A new process knows the groups.
	again := &bench{T: t}
	again.open(b.log, cfg, parent)
	defer again.follow()()
	again.publish(at("q", "albergheria", "raised", 10.4))
	if err := again.work(); err != nil {
		t.Fatal(err)
	}
	again.firsts("q<z x<z")
}

func TestOffDelay(t *testing.T) {
	c := testConfig()
	c.OffDelay, c.Escalate = []OffDelay{{Rule: "hot", After: time.Minute}}, []Escalation{}
	a := &Alarm{ID: "x", Rule: "hot", Key: "k", Confirmed: true}
	seq := uint64(0)
	take := func(state string, minute float64) bool {
		seq++
		ev := event("hot", "k", "major", state, minute)
		return a.apply(&ev, Place{Seq: seq}, Hold{}, c)
	}
	take("raised", 0)
	if !take("cleared", 1) || a.State() != Unacked || a.Last.Action != "clearing" || !a.due(c).Equal(t0.Add(2*time.Minute)) {
		t.Fatalf("%s after %s, due %v; want it to stand on for a minute", a.State(), a.Last.Action, a.due(c))
	}
	if take("cleared", 1.2) || a.tick(t0.Add(2*time.Minute-time.Millisecond), c) {
		t.Error("it ends before its time, or is said to again")
	}
	if !take("raised", 1.9) || a.Count != 1 || !a.Clearing.IsZero() || a.tick(t0.Add(3*time.Minute), c) {
		t.Errorf("count %d, clearing %v; want it never to have ended", a.Count, a.Clearing)
	}
	take("cleared", 4)
	if !a.tick(t0.Add(5*time.Minute), c) || a.State() != Returned || !a.Cleared.Equal(t0.Add(4*time.Minute)) {
		t.Errorf("%s, cleared %v; want it returned when its condition ended", a.State(), a.Cleared)
	}
	take("raised", 6)
	take("cleared", 7)
	a.do(&Act{Action: "close", By: "ada"}, "", t0.Add(7*time.Minute))
	if a.State() != Normal || a.tick(t0.Add(9*time.Minute), c) || !take("updated", 10) || a.State() != Unacked {
		t.Errorf("%s, want a closed alarm to be over, and its rule to open it", a.State())
	}
}

// TestHoldsOutliveARestart: what suppresses an alarm does so in the next process, and what ended meanwhile
// lets it go there.
func TestHoldsOutliveARestart(t *testing.T) {
	cfg := Config{Escalate: []Escalation{}, Inhibit: []Inhibition{{By: "power-out"}}}
	parent := func(device string) string { return map[string]string{"lamp": "cabinet"}[device] }
	b := newBench(t, cfg, parent)
	for _, w := range []Window{{ID: "works", Device: "dug-up", From: t0, To: t0.Add(20 * time.Minute)}, {ID: "off", Device: "broken", From: t0}} {
		if err := b.book.PutWindow(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	out := event("power-out", "kalsa", "critical", "raised", 1)
	out.Device = ""
	b.publish(out, at("cabinet", "", "raised", 60), at("lamp", "", "raised", 61), at("dark", "kalsa", "raised", 62), at("dug-up", "", "raised", 63), at("broken", "", "raised", 64))
	if err := b.work(); err != nil {
		t.Fatal(err)
	}
	b.tick(t0.Add(2 * time.Minute))
	want := map[string]State{"cabinet": Unacked, "lamp": Suppressed, "dark": Suppressed, "dug-up": Suppressed, "broken": OutOfService}
	b.want(want)

	again := &bench{T: t}
	again.open(b.log, cfg, parent)
	stop := again.follow()
	again.want(want) // before its worker runs
	again.tick(t0.Add(3 * time.Minute))
	again.want(want)
	stop()

	// While nobody runs, the power comes back, the cabinet is well, and the works are over.
	out.State, out.ID = "cleared", "back"
	again.publish(out, at("cabinet", "", "cleared", 1200))
	last := &bench{T: t}
	last.open(b.log, cfg, parent)
	defer last.follow()()
	if err := last.work(); err != nil {
		t.Fatal(err)
	}
	last.tick(t0.Add(21 * time.Minute))
	last.want(map[string]State{"cabinet": Returned, "lamp": Unacked, "dark": Unacked, "dug-up": Unacked, "broken": OutOfService})
}

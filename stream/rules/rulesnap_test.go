package rules

import (
	"fmt"
	"testing"
	"time"

	"panormus/stream/batch"
)

// A partition's snapshot is as large as what it is of, however many rules run, and all that it is of is there again.
func TestSnapshotOfManyRules(t *testing.T) {
	t.Parallel()
	const rules, raisedBy = 3000, 2345
	text := "rules:\n"
	for i := range rules {
		text += fmt.Sprintf("  - {id: rule-%d, when: x > %d, text: \"{device} is at {x}\"}\n", i, 10_000-i)
	}
	set := mustParse(t, text)
	e := New(Config{Partitions: 1}, set)
	at := time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC).UnixMilli()
	say := func(e *Engine, seq uint64, at int64, v float64) []batch.Event {
		o := &batch.Observations{}
		o.Append(o.Begin(at, at+5000, "lab", "d"), "x", v, "", 0)
		o.Append(o.Begin(at, at+5000, "yard", "d"), "x", 0, "", 0)
		e.Apply(0, seq, o)
		return e.Settle()
	}
	say(e, 1, at, 0)
	idle := len(e.Snapshot(0, 1))
	if idle > 1000 {
		t.Errorf("%d bytes of two devices, want at most 1,000", idle)
	}
	raised := say(e, 2, at+10_000, 10_000-raisedBy+0.5) // by all rules from this one on
	if want := rules - raisedBy; len(raised) != want {
		t.Fatalf("%d events, want %d", len(raised), want)
	}
	next, err := e.Restarted(2)
	if err != nil {
		t.Fatal(err)
	}
	// A late reading corrects what was raised before the restart, and the next clears what stands.
	for i, e := range []*Engine{e, next} {
		if events := say(e, 3, at+5_000, 10_000-raisedBy+0.5); len(events) != rules-raisedBy {
			t.Errorf("engine %d: %d events, want each raised earlier", i, len(events))
		}
		events := say(e, 4, at+20_000, 0)
		if len(events) != rules-raisedBy {
			t.Errorf("engine %d: %d events, want each cleared", i, len(events))
		}
		for _, ev := range events {
			if ev.State != "cleared" {
				t.Errorf("engine %d: %s of %s, want cleared", i, ev.State, ev.Rule)
			}
		}
	}
	// Other rules of the same names are not taken for those.
	say(e, 5, at+60_000, 10_000-raisedBy+0.5)
	body := e.Snapshot(0, 5)
	fewer := mustParse(t, "rules:\n  - {id: rule-2345, when: x > 7655, text: \"{device} is at {x}\"}\n  - {id: rule-2346, when: x > 5}\n")
	e = New(Config{Partitions: 1}, fewer)
	if _, err := e.Restore(0, body); err != nil {
		t.Fatal(err)
	}
	ended := map[string]bool{}
	for _, ev := range e.Settle() {
		ended[ev.Rule] = ev.State == "cleared"
	}
	if len(ended) != rules-raisedBy-2 || ended["rule-2345"] || ended["rule-2346"] || !ended["rule-2999"] {
		t.Errorf("%d rules ended, want all but two that run", len(ended))
	}
}

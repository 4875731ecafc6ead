package alarms

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func testConfig() *Config {
	c := &Config{}
	c.defaults()
	return c
}

// act does x to a where it fits r, which is as it is now.
func (a *Alarm) act(x *Act, now time.Time, r Record) error {
	if err := x.fits(r); err != nil {
		return err
	}
	a.do(x, x.said(), now)
	return nil
}

// in brings a new alarm into a state.
func in(t *testing.T, s State) *Alarm {
	t.Helper()
	c := testConfig()
	a := &Alarm{ID: ID("hot", "k"), Rule: "hot", Key: "k", Confirmed: true}
	take := func(state string, seq uint64, hold Hold) {
		ev := event("hot", "k", "major", state, float64(seq))
		a.apply(&ev, Place{Seq: seq}, hold, c)
	}
	act := func(action string) {
		x := Act{Action: action, By: "ada", Note: "n"}
		if action == "shelve" {
			x.Until = t0.Add(time.Hour)
		}
		if err := a.act(&x, t0.Add(10*time.Second), Record{Alarm: a, Rev: 1}); err != nil {
			t.Fatal(err)
		}
	}
	switch s {
	case Normal:
		take("raised", 1, Hold{})
		act("ack")
		take("cleared", 2, Hold{})
	case Unacked:
		take("raised", 1, Hold{})
	case Acked:
		take("raised", 1, Hold{})
		act("ack")
	case Returned:
		take("raised", 1, Hold{})
		take("cleared", 2, Hold{})
	case Shelved:
		take("raised", 1, Hold{})
		act("shelve")
	case Suppressed, OutOfService:
		take("raised", 1, Hold{s, "why"})
	}
	if a.State() != s {
		t.Fatalf("brought to %s, want %s", a.State(), s)
	}
	return a
}

// TestTransitions has every state with every input: what comes of it, "-" for what does not fit and
// changes nothing, "=" for what changes no state.
func TestTransitions(t *testing.T) {
	inputs := []string{"raised", "graver", "lesser", "info", "cleared", "ack", "unack", "shelve", "unshelve", "assign", "comment", "close", "expiry", "suppress", "out", "release", "unanswered", "off-delay", "stale"}
	table := map[State]string{
		//             raised     graver     lesser     info       cleared  ack    unack   shelve  unshelve assign comment close  expiry suppress  out            release    unanswered off-delay stale
		Normal:       "unacked    unacked    unacked    -          -        -      -       shelved -        =      =       -      -      -         -              -   - - -",
		Unacked:      "=          =          =          returned   returned acked  -       shelved -        =      =       normal -      suppressed out_of_service -   = = -",
		Acked:        "=          unacked    =          normal     normal   -      unacked shelved -        =      =       normal -      suppressed out_of_service -   - = -",
		Returned:     "unacked    unacked    unacked    -          -        normal -       shelved -        =      =       normal -      -         -              -   - - -",
		Shelved:      "=          =          =          =          =        -      -       =       unacked  =      =       -      unacked suppressed out_of_service -   - = -",
		Suppressed:   "=          =          =          normal     normal   -      -       -       -        =      =       -      -      -         out_of_service unacked   - = -",
		OutOfService: "=          =          =          normal     normal   -      -       -       -        =      =       -      -      suppressed -              unacked   - = -",
	}
	for _, from := range States {
		row := strings.Fields(table[from])
		if len(row) != len(inputs) {
			t.Fatalf("%s: %d outcomes, want %d", from, len(row), len(inputs))
		}
		for i, input := range inputs {
			t.Run(fmt.Sprint(from, "/", input), func(t *testing.T) {
				a := in(t, from)
				n, c := a.N, testConfig()
				now := t0.Add(30 * time.Second)
				event := func(state, severity string) {
					ev := event("hot", "k", severity, state, 10)
					a.apply(&ev, Place{Seq: 10}, Hold{}, c)
				}
				var err error
				switch input {
				case "raised", "cleared":
					event(input, "major")
				case "graver":
					event("updated", "critical")
				case "lesser":
					event("updated", "warning")
				case "info":
					event("updated", "info")
				case "expiry":
					a.tick(t0.Add(2*time.Hour), &Config{Escalate: []Escalation{}})
				case "suppress":
					a.hold(Hold{Suppressed, "why"}, now)
				case "out":
					a.hold(Hold{OutOfService, "why"}, now)
				case "release":
					a.hold(Hold{}, now)
				case "unanswered":
					a.tick(t0.Add(20*time.Minute), c)
				case "off-delay":
					c.OffDelay = []OffDelay{{Rule: "hot", After: time.Hour}}
					event("cleared", "major")
				case "stale":
					err = a.act(&Act{Action: "comment", By: "bob", Note: "n", Rev: 6}, now, Record{Alarm: a.clone(), Rev: 7})
				default:
					x := Act{Action: input, By: "bob", Note: "n"}
					if input == "shelve" {
						x.Until = t0.Add(2 * time.Hour)
					}
					err = a.act(&x, now, Record{Alarm: a.clone(), Rev: 7})
				}
				want := State(row[i])
				if row[i] == "=" || row[i] == "-" {
					want = from
				}
				if got := a.State(); got != want {
					t.Errorf("%s, want %s", got, want)
				}
				if changed := a.N != n; changed == (row[i] == "-") {
					t.Errorf("changed: %v, want %v", changed, row[i] != "-")
				}
				if conflict := err != nil; conflict != (row[i] == "-" && (allowed[input] != nil || input == "stale")) {
					t.Errorf("error %v", err)
				}
				if a.N != n && (a.Last.State != want || a.Last.N != a.N || a.Pending[len(a.Pending)-1] != a.Last) {
					t.Errorf("last entry %+v, want it to say %s", a.Last, want)
				}
			})
		}
	}
}

func TestStaleActs(t *testing.T) {
	a := in(t, Acked)
	x := Act{Action: "unack", By: "bob", Rev: 3}
	err := a.act(&x, t0, Record{Alarm: a, Rev: 4})
	conflict, ok := errors.AsType[*Conflict](err)
	if !ok || conflict.Now.Rev != 4 || !strings.Contains(err.Error(), "rev 3 is stale: the alarm is acked") || !strings.Contains(err.Error(), "ack by ada") {
		t.Errorf("%v, want a conflict that says what changed", err)
	}
	if a.State() != Acked {
		t.Errorf("it changed to %s", a.State())
	}
	x.Rev = 4
	if err := a.act(&x, t0, Record{Alarm: a, Rev: 4}); err != nil || a.State() != Unacked {
		t.Errorf("%v, %s", err, a.State())
	}
}

func TestDeduplication(t *testing.T) {
	a, c := in(t, Unacked), testConfig()
	raise := func(seq uint64, row int) bool {
		ev := event("hot", "k", "major", "raised", float64(seq))
		return a.apply(&ev, Place{seq, row}, Hold{}, c)
	}
	if !raise(2, 0) || !raise(2, 1) || a.Count != 3 {
		t.Errorf("%d raises, want 3 of one alarm", a.Count)
	}
	before := a.N
	if raise(1, 0) || raise(2, 0) || raise(2, 1) || a.N != before || a.Count != 3 {
		t.Errorf("events that were taken before changed it: %+v", a)
	}
	if a.Chattering {
		t.Error("3 raises are no chattering")
	}
	for seq := uint64(3); seq < 6; seq++ {
		raise(seq, 0)
	}
	if !a.Chattering || a.Last.Action != "chattering" {
		t.Errorf("%d raises in 5 minutes, chattering %v", a.Count, a.Chattering)
	}
	last := a.Raises[len(a.Raises)-1]
	if due := a.due(&Config{Chatter: c.Chatter, Escalate: []Escalation{}}); due.Before(last.Add(c.Chatter.Within)) || !a.tick(due, c) || a.Chattering {
		t.Errorf("chattering %v after %v without a raise", a.Chattering, due.Sub(last))
	}
	for seq := uint64(10); seq < 200; seq++ {
		raise(seq, 0)
	}
	if len(a.Raises) != maxRaises {
		t.Errorf("%d raises are remembered, want %d", len(a.Raises), maxRaises)
	}
}

// A closed alarm stays closed until its rule raises it again, though the condition holds.
func TestClosed(t *testing.T) {
	a, c := in(t, Unacked), testConfig()
	if err := a.act(&Act{Action: "close", By: "ada"}, t0, Record{Alarm: a, Rev: 1}); err != nil || a.State() != Normal || a.AckedBy != "ada" {
		t.Fatalf("%v, %s", err, a.State())
	}
	up := event("hot", "k", "critical", "updated", 5)
	if a.apply(&up, Place{Seq: 5}, Hold{}, c) || a.State() != Normal {
		t.Errorf("an update opened it: %s", a.State())
	}
	again := event("hot", "k", "major", "raised", 6)
	if !a.apply(&again, Place{Seq: 6}, Hold{}, c) || a.State() != Unacked || a.Count != 1 {
		t.Errorf("%s, count %d; want a new occurrence", a.State(), a.Count)
	}
}

func TestEscalation(t *testing.T) {
	c := testConfig()
	a := in(t, Unacked)
	if at := a.Since.Add(10 * time.Minute); !a.due(c).Equal(at) || a.tick(at.Add(-time.Millisecond), c) || !a.tick(at, c) {
		t.Fatalf("due %v, want 10 minutes after %v", a.due(c), a.Since)
	}
	if !a.Escalated || a.Severity != "critical" || a.Base != "major" || a.Last.Action != "escalated" || a.tick(t0.Add(time.Hour), c) {
		t.Errorf("%+v, want it critical, once", a)
	}
	up := event("hot", "k", "warning", "updated", 20)
	if a.apply(&up, Place{Seq: 20}, Hold{}, c); a.Severity != "critical" || a.Base != "warning" {
		t.Errorf("severity %s of %s, want what escalated to stay", a.Severity, a.Base)
	}
	clear := event("hot", "k", "warning", "cleared", 21)
	a.apply(&clear, Place{Seq: 21}, Hold{}, c)
	if err := a.act(&Act{Action: "ack", By: "ada"}, t0.Add(22*time.Minute), Record{Alarm: a, Rev: 1}); err != nil || a.Escalated || a.Severity != "warning" {
		t.Errorf("%v; after its end escalated %v, severity %s", err, a.Escalated, a.Severity)
	}
	if a = in(t, Acked); a.tick(t0.Add(time.Hour), c) {
		t.Error("an acknowledged alarm escalated")
	}
}

func TestActsAreChecked(t *testing.T) {
	c := testConfig()
	for _, tc := range []struct {
		act  Act
		want string // "" for none
	}{
		{Act{Action: "ack"}, ""},
		{Act{Action: "dance"}, `action "dance"`},
		{Act{Action: "comment", Note: " "}, "want the comment"},
		{Act{Action: "comment", Note: strings.Repeat("x", maxNote)}, ""},
		{Act{Action: "comment", Note: strings.Repeat("x", maxNote+1)}, "2001 bytes"},
		{Act{Action: "assign", To: strings.Repeat("x", maxName+1)}, "129 bytes"},
		{Act{Action: "ack", To: "bob"}, "to: given for ack"},
		{Act{Action: "ack", Until: t0.Add(time.Hour)}, "until: given for ack"},
		{Act{Action: "shelve"}, "not given"},
		{Act{Action: "shelve", Until: t0}, "after now"},
		{Act{Action: "shelve", Until: t0.Add(24 * time.Hour)}, ""},
		{Act{Action: "shelve", Until: t0.Add(24*time.Hour + 1)}, "at most 24h0m0s"},
	} {
		err := tc.act.Check(t0, c)
		if (err == nil) != (tc.want == "") || err != nil && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v, want %q", tc.act.Action, err, tc.want)
		}
	}
}

func TestFlood(t *testing.T) {
	f := Flood{10, 5, 10 * time.Minute}
	var h history
	raise := func(at time.Time, n int) {
		for i := range n {
			h.raises = append(h.raises, raise{at: at, id: fmt.Sprint(i), severity: "warning", announced: true})
		}
	}
	step := func(at time.Time) bool {
		next, changed := h.nextFloods(at, f)
		h.floods = next
		return changed
	}
	raise(t0, 10)
	h.raises = append(h.raises, raise2(t0))
	if step(t0.Add(time.Second)) {
		t.Error("10 alarms, and one that called nobody, are no flood")
	}
	raise(t0.Add(5*time.Minute), 1)
	if !step(t0.Add(5*time.Minute)) || !h.flooding() || step(t0.Add(6*time.Minute)) {
		t.Error("11 alarms in 10 minutes are a flood, which begins once")
	}
	raise(t0.Add(9*time.Minute), 4)
	if step(t0.Add(12 * time.Minute)) {
		t.Error("it ended at 5 alarms, want below 5")
	}
	if !step(t0.Add(15*time.Minute)) || h.flooding() || h.floods[0].End.Sub(h.floods[0].Begin) != 10*time.Minute {
		t.Errorf("%+v, want it to end below 5 alarms", h.floods)
	}
}

func raise2(at time.Time) raise { return raise{at: at, id: "quiet", severity: "warning"} }

// TestNote has what counts as an alarm that called operators.
func TestNote(t *testing.T) {
	for _, tc := range []struct {
		name string
		from State
		hold Hold
		want bool
	}{{"raised", Normal, Hold{}, true}, {"again after it returned", Returned, Hold{}, true}, {"again while it stands", Unacked, Hold{}, false},
		{"acknowledged and raised again", Acked, Hold{}, false}, {"shelved", Shelved, Hold{}, false}, {"suppressed", Normal, Hold{Suppressed, "p"}, false}} {
		var h history
		old := in(t, tc.from)
		old.Pending = nil
		now := old.clone()
		ev := event("hot", "k", "major", "raised", 10)
		now.apply(&ev, Place{Seq: 10}, tc.hold, testConfig())
		h.note(old, now)
		if len(h.raises) != 1 || h.raises[0].announced != tc.want {
			t.Errorf("%s: %+v, want announced %v", tc.name, h.raises, tc.want)
		}
		var later history // of a process that begins now
		now.Pending = nil
		if later.note(nil, now); len(later.raises) != len(now.Raises) || later.raises[len(later.raises)-1].announced != tc.want {
			t.Errorf("%s: after a start %+v, want the last one announced %v", tc.name, later.raises, tc.want)
		}
	}
}

// TestCalledAgain has what calls operators without a raise, which counts for rates and floods and not for how often
// an alarm was raised.
func TestCalledAgain(t *testing.T) {
	c := testConfig()
	later := t0.Add(30 * time.Minute)
	graver := event("hot", "k", "critical", "updated", 30)
	for _, tc := range []struct {
		name string
		from State
		do   func(a *Alarm) bool
		want int
	}{
		{"released by what suppressed it", Suppressed, func(a *Alarm) bool { return a.hold(Hold{}, later) }, 1},
		{"suppressed by another one", Suppressed, func(a *Alarm) bool { return a.hold(Hold{Suppressed, "another"}, later) }, 0},
		{"back from shelving", Shelved, func(a *Alarm) bool { return a.tick(a.ShelvedUntil, c) }, 1},
		{"taken back by an operator", Shelved, func(a *Alarm) bool { a.do(&Act{Action: "unshelve", By: "ada"}, "", later); return true }, 0},
		{"graver than what was acknowledged", Acked, func(a *Alarm) bool { return a.apply(&graver, Place{Seq: 9}, Hold{}, c) }, 1},
		{"graver than what nobody has acknowledged", Unacked, func(a *Alarm) bool { return a.apply(&graver, Place{Seq: 9}, Hold{}, c) }, 0},
		{"escalated", Unacked, func(a *Alarm) bool { return a.tick(later, c) }, 0},
	} {
		var h history
		old := in(t, tc.from)
		old.Pending = nil
		now := old.clone()
		if !tc.do(now) {
			t.Errorf("%s: nothing happened", tc.name)
		}
		h.note(old, now)
		if n := h.announcedSince(t0); n != tc.want || len(h.often) != 0 {
			t.Errorf("%s: %d calls, %v raises; want %d and none", tc.name, n, h.often, tc.want)
		}
		if h.forget(later.Add(48 * time.Hour)); len(h.raises) != 0 || len(h.often) != 0 {
			t.Errorf("%s: %v and %v are never forgotten", tc.name, h.raises, h.often)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	for want, c := range map[string]Config{
		"":                  {},
		`from: "grave"`:     {From: "grave"},
		"graver severity":   {Escalate: []Escalation{{"major", "warning", time.Minute}}},
		"1 to 15":           {Chatter: Chatter{16, time.Minute}},
		"not above the beg": {Flood: Flood{5, 6, time.Minute}},
		"no rule named":     {Inhibit: []Inhibition{{Domain: "lighting"}}},
	} {
		if err := c.Check(); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

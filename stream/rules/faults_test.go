package rules

import (
	"fmt"
	"strings"
	"testing"

	"panormus/stream/batch"
)

// panicking makes the condition of a rule panic on devices called bad.
func panicking(e *program, rule string) {
	plans := []*plan{e.other}
	for _, pl := range e.plans {
		plans = append(plans, pl)
	}
	for _, pl := range plans {
		for _, r := range pl.rules {
			if r.ID != rule {
				continue
			}
			was := r.bare.when
			r.bare.when = func(f *frame) tri {
				if f.dev.id == "bad" {
					panic("slot 7 of 3")
				}
				return was(f)
			}
			r.when = guardedBool(r.Rule, r.bare.when)
			r.test = test{rule: r} // as a closure
			for _, m := range pl.metrics {
				for i := range m.tests {
					if m.tests[i].rule == r {
						m.tests[i], m.pure = r.test, false
					}
				}
			}
		}
	}
}

func eventLines(events []batch.Event) string {
	var out []string
	for _, ev := range events {
		line := ev.State + " " + ev.Rule + " " + ev.Key
		if _, reason, ok := strings.Cut(string(ev.Context), `"reason":"`); ok {
			reason, _, _ = strings.Cut(reason, `"`)
			line += " (" + reason + ")"
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

// A rule that panics is put out of force, says why, and ends what it had raised; the others go on.
// Changed, it is tried again.
func TestPanicIsIsolated(t *testing.T) {
	const text = "rules: [{id: a, when: x > 1}, {id: b, when: x > 1}, {id: z, when: x > 1, key: zone}]"
	set := mustParse(t, text)
	e := New(Config{Partitions: 1}, set)
	panicking(e.prog, "a")
	seq := uint64(0)
	load := func(device string, x float64) string {
		seq++
		at := rowStart + int64(seq)*1000
		var o batch.Observations
		o.Append(o.Begin(at, at, "d", device), "x", x, "", 0)
		e.Apply(0, seq, &o)
		return eventLines(e.Settle())
	}
	for _, c := range []struct {
		device string
		x      float64
		want   string
	}{
		{"good", 2, "raised a good\nraised b good"},
		{"bad", 2, "raised b bad\ncleared a good (the rule failed and was put out of force)"},
		{"other", 2, "raised b other"},
		{"good", 0, "cleared b good"},
	} {
		if got := load(c.device, c.x); got != c.want {
			t.Errorf("%s=%v: %q, want %q", c.device, c.x, got, c.want)
		}
	}
	if e.Set().Version != set.Version {
		t.Error("the set has another version, so that the worker would put it in force again and again")
	}
	s := e.Stats().Rules
	if len(s) != 3 || s[0].Failed != "BUG: a panic: slot 7 of 3" || s[0].LastError != s[0].Failed || s[0].Errors != 1 || s[1].Failed != "" || s[1].Evaluations != 4 {
		t.Errorf("%+v", s)
	}
	e.Replace(set, rowStart+10_000) // the same again: still out of force
	if got := load("later", 2); got != "raised b later" {
		t.Errorf("after the same set again: %q", got)
	}
	e.Replace(mustParse(t, strings.Replace(text, "x > 1}", "x > 1.5}", 1)), rowStart+20_000)
	if got := load("new", 2); got != "raised a new\nraised b new" {
		t.Errorf("after a change: %q", got)
	}
}

func TestPanicOfARowRule(t *testing.T) {
	e := NewRowEngine(Config{}, OnDetections, mustParse(t, `rules: [{id: a, on: detections, when: class == "x"}, {id: b, on: detections, when: class == "x"}]`))
	panicking(e.programs[OnDetections].program, "a")
	see := func(camera string, second int64) string {
		row, err := NewRow(OnDetections, camera, rowStart+second*1000, rowStart+second*1000, map[string]string{"class": "x"})
		if err != nil {
			t.Fatal(err)
		}
		e.Apply(uint64(second+1), row)
		return eventLines(e.Settle())
	}
	if got := see("good", 0); got != "raised a good\nraised b good" {
		t.Error(got)
	}
	if got := see("bad", 1); got != "raised b bad\ncleared a good (the rule failed and was put out of force)" {
		t.Error(got)
	}
	if s := e.Stats(); len(s) != 2 || s[0].Failed == "" || s[1].Failed != "" || s[1].Raised != 2 || s[1].Matches != 2 {
		t.Errorf("%+v", s)
	}
}

// An expression that costs too much is an error each time, and in the end its rule is out of force.
func TestCostIsBounded(t *testing.T) {
	e := New(Config{Partitions: 1}, mustParse(t, strings.ReplaceAll(`rules: [{id: a, when: '@.all(a, @.all(b, @.all(c, @.all(d, a + b + c + d > x))))'}, {id: b, when: x > 1}]`,
		"@", "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]")))
	for i := range maxCostly + 10 {
		at := rowStart + int64(i)*1000
		var o batch.Observations
		h := o.Begin(at, at, "d", fmt.Sprint("dev", i))
		o.Append(h, "x", 2, "", 0)
		e.Apply(0, uint64(i+1), &o)
		e.Settle()
		s := e.Stats().Rules
		if off := s[0].Failed != ""; off != (i >= maxCostly) && i != maxCostly-1 {
			t.Fatalf("message %d: failed %q", i, s[0].Failed)
		}
	}
	s := e.Stats().Rules
	if s[0].Errors != maxCostly || !strings.Contains(s[0].LastError, "cost limit") || s[1].Raised != maxCostly+10 {
		t.Errorf("%+v", s)
	}
}

// What rules say of single readings, in lets and steps, panics for its own rule only, and the windows of
// the others take that very reading.
func TestPanicOfAReadingIsIsolated(t *testing.T) {
	const window = "window: {type: tumbling, size: 10s}, let: {v: max(x)}, when: v > 1"
	e := New(Config{Partitions: 1}, mustParse(t, `rules:
  - {id: a-let, `+window+`}
  - {id: b-let, `+window+`}
  - {id: c-shared, key: domain, `+window+`}
  - {id: d-step, sequence: [{as: a, when: x > 1}]}
  - {id: e-step, sequence: [{as: a, when: x > 1}]}
`))
	for _, r := range e.prog.other.rules {
		bad := func(f *frame) {
			if f.dev.id == "bad" {
				panic("slot 7 of 3")
			}
		}
		switch r.ID {
		case "a-let", "c-shared":
			was := r.window.lets[0].num
			r.window.lets[0].num = func(f *frame) float64 { bad(f); return was(f) }
		case "d-step":
			was := r.window.sequence.conds[0]
			r.window.sequence.conds[0] = func(f *frame) tri { bad(f); return was(f) }
		}
	}
	var events []batch.Event
	for i, device := range []string{"good", "bad"} {
		at := rowStart + int64(i)*1000
		var o batch.Observations
		o.Append(o.Begin(at, at, "d", device), "x", 2, "", 0)
		e.Apply(0, uint64(i+1), &o)
		events = append(events, e.Settle()...)
	}
	e.Tick(rowStart + 50_000)
	if got, want := eventLines(append(events, e.Settle()...)), `raised b-let good
raised b-let bad
cleared b-let good (no readings in the window)
cleared b-let bad (no readings in the window)
raised e-step good
raised e-step bad`; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	for _, s := range e.Stats().Rules {
		if failed := s.ID[0] == 'a' || s.ID[0] == 'c' || s.ID[0] == 'd'; failed != (s.Failed == "BUG: a panic: slot 7 of 3") || failed != (s.Errors == 1) {
			t.Errorf("%+v", s)
		}
	}
}

// An argument of an aggregate that has no result is counted as an error of its rule, once a reading.
func TestErrorsOfLetsAreCounted(t *testing.T) {
	e := New(Config{Partitions: 1}, mustParse(t, `{id: r, window: {type: tumbling, size: 10s}, let: {v: max(x / y), n: count()}, when: v > 1}`))
	var o batch.Observations
	for i := range int64(3) {
		h := o.Begin(rowStart+i, rowStart+i, "d", "dev")
		o.Append(h, "x", 1, "", 0)
		o.Append(h, "y", float64(i), "", 0)
	}
	e.Apply(0, 1, &o)
	e.Settle()
	if s := e.Stats().Rules[0]; s.Errors != 1 || !strings.Contains(s.LastError, "division by zero") {
		t.Errorf("%+v", s)
	}
}

// A key that waits for the clock with as many messages as it may says how many it has no room for.
func TestSequenceCountsWhatItHasNoRoomFor(t *testing.T) {
	for _, key := range []string{"device", "domain"} {
		e := New(Config{Partitions: 1}, mustParse(t, `{id: r, key: `+key+`, sequence: [{as: a, when: x > 1}, {as: b, within: 1m, when: x < 0}]}`))
		for n := range 2 {
			var o batch.Observations
			for i := range int64(maxOccurrences/2 + 50) {
				at := rowStart + i*2 + int64(n)
				o.Append(o.Begin(at, rowStart+20_000, "d", "dev"), "x", 2, "", 0)
			}
			e.Apply(0, uint64(n+1), &o)
			e.Settle()
		}
		if s := e.Stats().Rules[0]; s.Dropped != 100 {
			t.Errorf("key: %s: %d dropped, want 100", key, s.Dropped)
		}
	}
}

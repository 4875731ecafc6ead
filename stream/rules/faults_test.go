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
			was := r.when
			r.bare.when = func(f *frame) tri {
				if f.dev.id == "bad" {
					panic("slot 7 of 3")
				}
				return was(f)
			}
			r.when = guardedBool(r.Rule, r.bare.when)
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
	panicking(e.prog, "a")
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

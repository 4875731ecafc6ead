package rules

import (
	"strings"
	"testing"

	"panormus/stream/batch"
)

// TestSequencesOverRestarts: a sequence that asks other devices lasts over a restart with other rules beside it, and
// so does what it has not judged yet; where the rule itself is another, what it had raised ends.
func TestSequencesOverRestarts(t *testing.T) {
	const (
		trip  = "  - {id: trip, sequence: [{as: a, when: 'x == 1 && of(\"b\", \"y\") > 0'}, {as: c, within: 5m, when: 'x == 2 && of(\"b\", \"y\") > 0'}], hold: 30m}\n"
		other = "  - {id: other, key: domain, when: x > 50}\n"
	)
	parse := func(text string) *Set {
		set, err := Parse("test.yaml", []byte("rules:\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		return set
	}
	const t0 = 1_790_000_000_000
	cfg := Config{Partitions: 1}
	e := New(cfg, parse(trip))
	seq := uint64(0)
	say := func(device, metric string, v float64, at int64) {
		o := &batch.Observations{}
		o.Append(o.Begin(t0+at*1000, t0+at*1000, "lab", device), metric, v, "", 0)
		seq++
		e.Apply(0, seq, o)
	}
	expect := func(when string, want ...string) {
		t.Helper()
		var got []string
		for _, ev := range e.Settle() {
			got = append(got, ev.State+" "+ev.Key)
			if strings.Contains(string(ev.Context), "correction") {
				t.Errorf("%s: an event of a rule that is judged once corrects another: %s", when, ev.Context)
			}
		}
		if strings.Join(got, ", ") != strings.Join(want, ", ") {
			t.Errorf("%s: found %v, want %v", when, got, want)
		}
	}
	restart := func(set *Set) {
		t.Helper()
		parts := map[int][]byte{0: e.Snapshot(0, seq), -1: e.Snapshot(-1, seq)}
		e = New(cfg, set)
		for p, data := range parts {
			if _, err := e.Restore(p, data); err != nil {
				t.Fatal(err)
			}
		}
	}
	say("b", "y", 1, 0)
	say("d", "x", 1, 1)
	say("d", "x", 2, 2)
	say("b", "y", 1, 60)
	expect("when the lateness is over", "raised d")
	say("d2", "x", 1, 61)
	say("d2", "x", 2, 62)
	expect("before it is")
	restart(parse(trip + other))
	expect("after a restart with another rule beside")
	say("d3", "x", 1, 63)
	say("d3", "x", 2, 64)
	say("b", "y", 1, 120)
	expect("of what came before it, and after", "raised d2", "raised d3")
	restart(parse(strings.Replace(trip, "5m", "6m", 1) + other))
	expect("after a restart with another such rule", "cleared d", "cleared d2", "cleared d3")
}

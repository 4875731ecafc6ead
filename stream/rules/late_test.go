package rules

import (
	"slices"
	"testing"

	"panormus/stream/batch"
)

// A reading inside the lateness is in the result of its window; one beyond it is counted, by rule, and left out.
func TestLateReadings(t *testing.T) {
	set := mustParse(t, `rules: [{id: waits, late: wait, window: {type: sliding, size: 10s, every: 5s}, let: {v: avg(x)}, when: v > 50}, {id: mean, window: {type: sliding, size: 10s, every: 5s}, let: {v: avg(x)}, when: v > 50}, {id: all, window: {type: tumbling, size: 10s}, let: {n: count()}, when: n > 2, key: domain}, {id: no, when: x > 1000}]`)
	e := New(Config{Partitions: 1}, set)
	const start = int64(1_790_000_000_000)
	seq := uint64(0)
	say := func(at, received int64, x float64) {
		seq++
		o := &batch.Observations{}
		o.Append(o.Begin(start+at, start+received, "lab", "d"), "x", x, "", 0)
		e.Apply(0, seq, o)
	}
	say(1_000, 1_000, 10)
	say(32_000, 32_000, 10)
	say(2_000, 33_000, 100) // 30 s late: the clock is at 3 s
	say(3_000, 34_000, 100)
	say(60_000, 60_000, 10) // the clock is at 30 s
	say(4_000, 60_000, 1000)
	say(29_999, 60_000, 10)
	var got []string
	for _, ev := range e.Settle() {
		got = append(got, ev.State+" "+ev.Rule+" "+ev.Time.Format("05"))
	}
	s := e.Stats()
	var late []uint64
	for _, r := range s.Rules {
		late = append(late, r.Late)
	}
	if want := []string{"raised mean 25", "cleared mean 35", "updated mean 35", "cleared mean 35", "raised all 30", "cleared all 40", "raised waits 25", "cleared waits 35"}; !slices.Equal(got, want) {
		t.Errorf("events %q, want %q", got, want)
	}
	if len(late) != 4 || s.WindowLate != late[0]+late[1]+late[3] || late[0] != 2 || late[1] != 2 || late[2] != 0 || late[3] != 2 {
		t.Errorf("late %v, %d in all; want 2, 2, 0 and 2", late, s.WindowLate)
	}
}

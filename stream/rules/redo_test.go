package rules

import (
	"testing"

	"panormus/stream/batch"
)

// The past is bounded: beyond it a late reading corrects nothing and is counted, and what is newer is corrected.
func TestPastIsBounded(t *testing.T) {
	e := New(Config{Partitions: 1, MaxPast: 1}, mustParse(t, `{id: hot, when: x > 1}`))
	const start = int64(1_790_000_000_000)
	seq := uint64(0)
	say := func(device string, at int64, x float64) {
		seq++
		var o batch.Observations
		o.Append(o.Begin(start+at, start+at, "lab", device), "x", x, "", 0)
		e.Apply(0, seq, &o)
	}
	say("a", 100, 0)
	for i := range int64(2 * pastLeast) {
		say("b", 100+i, 0)
	}
	if n := len(e.shards[0].past.rows); n != pastLeast {
		t.Errorf("%d rows of the past, want %d", n, pastLeast)
	}
	late := func(at int64) (raised int, uncorrected uint64) {
		say("b", at, 2)
		for _, ev := range e.Settle() {
			if ev.State == "raised" && ev.Time.UnixMilli() == start+at {
				raised++
			}
		}
		return raised, e.Stats().Uncorrected
	}
	last := int64(100 + 2*pastLeast - 1)
	say("b", last+10, 0)
	if raised, n := late(last + 5); raised != 1 || n != 0 {
		t.Errorf("%d raised, %d uncorrected; want 1 and none", raised, n)
	}
	if raised, n := late(101); raised != 0 || n != 1 {
		t.Errorf("%d raised, %d uncorrected; want none and 1", raised, n)
	}
}

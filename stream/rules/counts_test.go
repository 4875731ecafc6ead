package rules

import (
	"testing"

	"panormus/stream/batch"
)

// What is told of a rule is what one counts by hand, however its readings come in batches.
func TestCountsByHand(t *testing.T) {
	readings := []float64{1, 6, 7, 2, 5, 8, 8, 1, 9, 4} // a second apart, of one device
	type counts struct{ evaluations, matches, unknown, errors, raised, cleared uint64 }
	for _, c := range []struct {
		rule string
		want counts
	}{
		{`when: x > 5`, counts{evaluations: 10, matches: 5, raised: 3, cleared: 3}},
		{`when: x > 5, mode: shadow`, counts{evaluations: 10, matches: 5, raised: 3, cleared: 3}},
		// 6 raises, 7 is judged by clear, 2 clears; 8 raises, 8 is judged by clear, 1 clears; 9 raises, 4 does not clear.
		{`when: x > 5, clear: x < 3`, counts{evaluations: 10, matches: 3, raised: 3, cleared: 2}},
		// Of 6 and 7 the second comes a second after the first; so do 8 and 8.
		{`when: x > 5, for: 1s`, counts{evaluations: 10, matches: 5, raised: 2, cleared: 2}},
		{`when: 10 / (x - 5) > 3`, counts{evaluations: 10, matches: 4, errors: 1, raised: 2, cleared: 2}}, // 6, 7 and twice 8 are 10, 5 and 3.3
		{`when: x > 0 && nosuch > 1`, counts{evaluations: 10, unknown: 10}},
		{`when: x > 0 || nosuch > 1`, counts{evaluations: 10, matches: 10, raised: 1}},
		{`when: x > 5, enabled: false`, counts{}},
		// The windows of 2 s: 1 6, 7 2, 5 8, 8 1, 9 4 come to 3.5, 4.5, 6.5, 4.5 and 6.5; that of the next, which is empty, to nothing.
		{`window: {type: tumbling, size: 2s}, let: {v: avg(x)}, when: v > 5`, counts{evaluations: 6, matches: 2, unknown: 1, raised: 2, cleared: 2}},
	} {
		for _, size := range []int{1, 3, len(readings)} {
			e := New(Config{}, mustParse(t, "{id: r, "+c.rule+"}"))
			const start = 1_790_000_000_000
			for i := 0; i < len(readings); i += size {
				o := &batch.Observations{}
				for j := i; j < min(i+size, len(readings)); j++ {
					at := int64(start + 1000*j)
					o.Append(o.Begin(at, at, "d", "a"), "x", readings[j], "", 0)
				}
				e.Apply(0, uint64(i+1), o)
				e.Settle()
			}
			e.Tick(start + 60_000)
			e.Settle()
			s := e.Stats().Rules[0]
			got := counts{s.Evaluations, s.Matches, s.Unknown, s.Errors, s.Raised, s.Cleared}
			if got != c.want {
				t.Errorf("%s, %d in a batch: %+v, want %+v", c.rule, size, got, c.want)
			}
		}
	}
}

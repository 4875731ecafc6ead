package rules

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"panormus/stream/batch"
)

// A stilled engine does not hear the worker's clock while messages come.
type stilled struct {
	*Engine
	received int64
}

func (s *stilled) Apply(partition int, seq uint64, o *batch.Observations) {
	s.received = max(s.received, slices.Max(o.Received))
	s.Engine.Apply(partition, seq, o)
}

func (s *stilled) Tick(now int64) {
	if now >= s.received+60_000 {
		s.Engine.Tick(now)
	}
}

// What windows tell, and under which ids, is decided by the log alone: the worker's clock passes nothing that the next
// message would not pass, of any partition, though its own time be behind what its partition has said before. So a replay,
// in which no clock ticks, tells the same.
func TestWindowsDoNotHearTheClock(t *testing.T) {
	defer lessCollecting()()
	cfg := Config{Registry: &testRegistry{}, Partitions: 5}
	all := 0
	for seed := range uint64(12) {
		rnd := rand.New(rand.NewPCG(seed, 80))
		c := newPropertyCase(rnd)
		c.rules = slices.DeleteFunc(c.rules, func(r refRule) bool { return r.window == "" })
		var told [2][]string
		for i := range told {
			e := New(cfg, c.set(t))
			var of judge = e
			if i == 1 {
				of = &stilled{Engine: e}
			}
			for _, ev := range c.deliverAll(t, of, cfg, 29_000, rand.New(rand.NewPCG(seed, 81))) {
				told[i] = append(told[i], ev.ID+" "+ev.Rule+" "+ev.State+" "+ev.Key+" "+ev.Time.String())
			}
			slices.Sort(told[i])
		}
		if all += len(told[0]); !slices.Equal(told[0], told[1]) {
			only := func(a, b []string) string {
				return strings.Join(slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) }), "\n")
			}
			t.Fatalf("seed %d: %d events; only with ticks:\n%s\nonly without:\n%s", seed, len(told[0]), only(told[0], told[1]), only(told[1], told[0]))
		}
	}
	if all < 1000 {
		t.Errorf("%d events, want enough to mean something", all)
	}
}

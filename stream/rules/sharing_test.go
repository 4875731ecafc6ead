package rules

import (
	"fmt"
	"math/rand/v2"

	"panormus/stream/batch"
)

// sharing are the engines of workers that share the partitions, and of the one that has the rules whose keys span
// them. At every restart the partitions are dealt anew, as leases move.
type sharing struct {
	cfg      Config
	set      *Set
	rnd      *rand.Rand
	parts    [2]*Engine
	of       []int // which of parts has a partition
	spanning *Engine
}

// ofWorker are the rules that a worker with such a configuration has.
func ofWorker(set *Set, spanning bool) *Set {
	w := &Worker{cfg: WorkerConfig{Rules: FixedSource{set}, Spanning: spanning}}
	if !spanning {
		w.cfg.Partitions = []int{0}
	}
	return w.rules()
}

func newSharing(cfg Config, set *Set, rnd *rand.Rand) *sharing {
	s := &sharing{cfg: cfg, set: set, rnd: rnd, of: make([]int, cfg.Partitions), spanning: New(cfg, ofWorker(set, true))}
	for i := range s.parts {
		s.parts[i] = New(cfg, ofWorker(set, false))
	}
	return s
}

// restarted are new engines that begin with the snapshots of those before, each with other partitions.
func (s *sharing) restarted(seq uint64) (*sharing, error) {
	next := newSharing(s.cfg, s.set, s.rnd)
	var err error
	if next.spanning, err = s.spanning.Restarted(seq); err != nil {
		return nil, err
	}
	for p, was := range s.of {
		next.of[p] = s.rnd.IntN(len(s.parts))
		if _, err := next.parts[next.of[p]].Restore(p, s.parts[was].Snapshot(p, seq)); err != nil {
			return nil, fmt.Errorf("move partition %d: %w", p, err)
		}
	}
	for i, e := range s.parts {
		next.parts[i].since, next.parts[i].census, next.parts[i].known = e.since, e.census, e.known
	}
	return next, nil
}

func (s *sharing) Apply(partition int, seq uint64, o *batch.Observations) {
	s.parts[s.of[partition]].Apply(partition, seq, o)
	s.spanning.Apply(partition, seq, o)
}

func (s *sharing) Settle() []batch.Event {
	out := s.spanning.Settle()
	for _, e := range s.parts {
		out = append(out, e.Settle()...)
	}
	return out
}

func (s *sharing) Tick(now int64) {
	s.spanning.Tick(now)
	for _, e := range s.parts {
		e.Tick(now)
	}
}

package rules

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"

	"panormus/stream/batch"
)

// sharing are the engines of workers that share the partitions, and of the one that has the rules whose keys span
// them. At every restart the partitions are dealt anew, as leases move: who has one then begins with its last
// checkpoint, which may be of long before, and is given what the log has had since; what is on the log already is not
// told again.
type sharing struct {
	cfg      Config
	set      *Set
	rnd      *rand.Rand
	parts    [2]*Engine
	of       []int // which of parts has a partition
	spanning *Engine

	log      []sharedBatch
	received int64         // the newest was
	kept     []sharedState // by partition
	keptAll  sharedState   // of the spanning one: its shared shard is last
	have     map[string]struct{}
	open     openings // what may have been raised by a clock alone; nil once that is known
	all      openings
	replay   []batch.Event
}

type sharedBatch struct {
	partition int
	seq       uint64
	*batch.Observations
}

// sharedState are snapshots.
type sharedState struct {
	seq  uint64
	data [][]byte
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
	s.kept, s.have, s.all = make([]sharedState, cfg.Partitions), map[string]struct{}{}, openings{}
	return s
}

// keep has some workers take checkpoints.
func (s *sharing) keep(seq uint64) {
	for p, i := range s.of {
		if s.rnd.IntN(2) == 0 {
			s.kept[p] = sharedState{seq, [][]byte{s.parts[i].Snapshot(p, seq)}}
		}
	}
	if s.rnd.IntN(2) == 0 {
		s.keptAll = sharedState{seq: seq}
		for p := range s.of {
			s.keptAll.data = append(s.keptAll.data, s.spanning.Snapshot(p, seq))
		}
		s.keptAll.data = append(s.keptAll.data, s.spanning.Snapshot(-1, seq))
	}
}

// restarted are new engines that begin with the checkpoints of those before, each with other partitions.
func (s *sharing) restarted(seq uint64) (*sharing, error) {
	s.keep(seq)
	next := newSharing(s.cfg, s.set, s.rnd)
	next.log, next.received, next.kept, next.keptAll, next.have, next.all = s.log, s.received, s.kept, s.keptAll, s.have, s.all
	next.open = maps.Clone(s.all)
	restore := func(e *Engine, p int, data []byte) error {
		_, err := e.Restore(p, data)
		return err
	}
	for i, data := range s.keptAll.data {
		p := i
		if i == len(s.of) {
			p = -1
		}
		if err := restore(next.spanning, p, data); err != nil {
			return nil, fmt.Errorf("move the keys that span partitions: %w", err)
		}
	}
	for p, k := range s.kept {
		if next.of[p] = s.rnd.IntN(len(s.parts)); k.data != nil {
			if err := restore(next.parts[next.of[p]], p, k.data[0]); err != nil {
				return nil, fmt.Errorf("move partition %d: %w", p, err)
			}
		}
	}
	for i, e := range s.parts {
		next.parts[i].since, next.parts[i].census, next.parts[i].known = e.since, e.census, e.known
	}
	for _, b := range s.log {
		if b.seq > s.kept[b.partition].seq {
			next.parts[next.of[b.partition]].Apply(b.partition, b.seq, b.Observations)
		}
		if b.seq > s.keptAll.seq {
			next.spanning.Apply(b.partition, b.seq, b.Observations)
		}
		if s.rnd.IntN(4) == 0 {
			next.replay = next.Settle() // and what there was
		}
	}
	return next, nil
}

func (s *sharing) Apply(partition int, seq uint64, o *batch.Observations) {
	s.log, s.received = append(s.log, sharedBatch{partition, seq, o}), max(s.received, slices.Max(o.Received))
	s.parts[s.of[partition]].Apply(partition, seq, o)
	s.spanning.Apply(partition, seq, o)
}

// Settle returns what the log does not have yet.
func (s *sharing) Settle() []batch.Event {
	events := s.settle()
	s.open.follows(events, s.have)
	return s.publish(events)
}

func (s *sharing) settle() []batch.Event {
	out := s.spanning.Settle()
	for _, e := range s.parts {
		out = append(out, e.Settle()...)
	}
	return out
}

func (s *sharing) publish(events []batch.Event) []batch.Event {
	out := s.replay
	s.replay = nil
	for _, ev := range events {
		if _, known := s.have[ev.ID]; !known {
			s.have[ev.ID] = struct{}{}
			s.all.note(&ev)
			out = append(out, ev)
		}
	}
	return out
}

// Tick is that of workers who have caught up: what the log has as raised and none of them knows of ends. While messages
// come it does nothing: what a clock alone said is not on the log, for another worker to say it again.
func (s *sharing) Tick(now int64) {
	if now < s.received+60_000 {
		return
	}
	s.spanning.Tick(now)
	for _, e := range s.parts {
		e.Tick(now)
	}
	events := s.settle()
	if s.open.closes(events, s.have); s.open != nil {
		held := s.spanning.openEpisodes()
		for _, e := range s.parts {
			maps.Copy(held, e.openEpisodes())
		}
		events = append(s.open.lost(s.have, held, now), events...)
		s.open = nil
	}
	s.replay = s.publish(events)
}

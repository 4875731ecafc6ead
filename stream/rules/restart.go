package rules

import (
	"fmt"
	"slices"
)

// Restarted is the engine that a restart of the worker which takes no time makes of e: a new one, from
// e's snapshots, whose clocks of silence go on. It is for tests of rules: a restart must not show.
func (e *Engine) Restarted(seq uint64) (*Engine, error) {
	next := New(e.cfg, e.Set())
	for p := -1; p < len(e.shards); p++ {
		if _, err := next.Restore(p, e.Snapshot(p, seq)); err != nil {
			return nil, fmt.Errorf("restore partition %d: %w", p, err)
		}
	}
	next.since, next.census, next.known = e.since, e.census, e.known
	return next, nil
}

// Restarted is the same of an engine of rows.
func (e *RowEngine) Restarted() (*RowEngine, error) {
	state, err := e.Snapshot()
	if err != nil {
		return nil, err
	}
	next := NewRowEngine(e.cfg, e.on, e.set)
	if err := next.Restore(state); err != nil {
		return nil, err
	}
	if e.joins != nil {
		was, is := e.joins.engine, next.joins.engine
		is.since, is.census, is.known = was.since, was.census, was.known
	}
	return next, nil
}

// Partition is the one that a device's batches belong to.
func (e *Engine) Partition(device string) int { return partition(device, len(e.shards)) }

// QualityFlag is the bit of devices.Quality that flagged() knows by this name.
func QualityFlag(name string) (bit uint8, ok bool) {
	i := slices.Index(flagNames, name)
	if i < 0 {
		return 0, false
	}
	return 1 << i, true
}

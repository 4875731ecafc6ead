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

// Package roster is which processes of a city run, what each does and when it was last heard of. Each says so every
// few seconds in a bucket that all of them watch. It decides nothing: who does what is decided by leases, which
// compare no clocks; here a process that is late is only shown as late.
package roster

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"
)

const (
	// Every is how often a process says that it is there, and Quiet how old the last word may be of one that is.
	Every = 10 * time.Second
	Quiet = 45 * time.Second
	// Kept is how long a process is told of that was ended without a word.
	Kept = 24 * time.Hour
	// leaving bounds saying that the process ends.
	leaving = 2 * time.Second
)

// A Process is one as it describes itself.
type Process struct {
	ID      string    `json:"id"` // the same after a restart
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Version string    `json:"version"`
	Roles   []string  `json:"roles"`
	Started time.Time `json:"started"`
	Heard   time.Time `json:"heard"` // when it said so, by its own clock
	// Share is its part of the rules, Partitions which of the log's that is, and Holds whether it evaluates them:
	// another with the same share waits. Empty without the role.
	Share      string           `json:"share,omitempty"`
	Partitions []int            `json:"partitions,omitempty"`
	Holds      bool             `json:"holds,omitempty"`
	Lag        map[string]int64 `json:"lag,omitempty"` // batches that wait, by what reads them; -1 for not known
}

// Store is a bucket; *log.KV is one.
type Store interface {
	Put(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error
	Watch(ctx context.Context, change func(key string, value []byte), synced func()) error
}

// A Roster is safe for concurrent use.
type Roster struct {
	Store Store
	// Self describes this process; Heard is filled in.
	Self func(context.Context) Process
	Log  *slog.Logger

	mu  sync.Mutex
	all map[string]Process
}

// Run says that this process is there and hears of the others until ctx ends; then it takes its leave.
func (r *Roster) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	heard := make(chan error, 1)
	go func() { heard <- r.Store.Watch(ctx, r.change, func() {}) }()
	tick := time.NewTicker(Every)
	defer tick.Stop()
	id := ""
	for {
		self := r.Self(ctx)
		id, self.Heard = self.ID, time.Now().UTC()
		value, err := json.Marshal(self)
		if err == nil {
			err = r.Store.Put(ctx, id, value)
		}
		if err != nil && ctx.Err() == nil {
			r.Log.Warn("other processes do not hear of this one", "error", err)
		}
		r.forget(ctx, self.Heard)
		select {
		case <-tick.C:
			continue
		case err := <-heard:
			if ctx.Err() == nil {
				return fmt.Errorf("processes: %w", err)
			}
		case <-ctx.Done():
			<-heard
		}
		bye, done := context.WithTimeout(context.WithoutCancel(ctx), leaving)
		defer done()
		if err := r.Store.Delete(bye, id); err != nil {
			r.Log.Warn("other processes do not hear that this one ends", "error", err)
		}
		return nil
	}
}

// forget removes those that have said nothing for longer than Kept: several processes do so, and one is enough.
func (r *Roster) forget(ctx context.Context, now time.Time) {
	r.mu.Lock()
	var old []string
	for key, p := range r.all {
		if now.Sub(p.Heard) > Kept {
			old = append(old, key)
		}
	}
	r.mu.Unlock()
	for _, key := range old {
		if err := r.Store.Delete(ctx, key); err != nil {
			return // at the next tick again
		}
	}
}

func (r *Roster) change(key string, value []byte) {
	var p Process
	err := json.Unmarshal(value, &p)
	r.mu.Lock()
	defer r.mu.Unlock()
	if value == nil || err != nil {
		delete(r.all, key)
		return
	}
	if r.all == nil {
		r.all = map[string]Process{}
	}
	r.all[key] = p
}

// List is all processes that were heard of within Kept, in order of host and id.
func (r *Roster) List(now time.Time) []Process {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := maps.Clone(r.all)
	maps.DeleteFunc(known, func(_ string, p Process) bool { return now.Sub(p.Heard) > Kept })
	return slices.SortedFunc(maps.Values(known), func(a, b Process) int { return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.ID, b.ID)) })
}

package rules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	streamlog "panormus/stream/log"
)

// A lease is the right to evaluate some partitions, and the keys that span them, which one worker has at a
// time. It is entries of a bucket, one a partition, that its holder changes again and again; whoever sees
// one unchanged for as long as it is given for takes it. No clocks are compared, so none need be right.
//
// A holder that could not renew for half of that time stops what it does. What it had in hand ends within
// stopTimeout, so with a lease of at least twice that no two publish at once.
type lease struct {
	kv    *streamlog.KV
	keys  []string
	owner string
	ttl   time.Duration

	mu       sync.Mutex
	revision map[string]uint64
}

type leaseValue struct {
	Owner string `json:"owner"` // "" for one that was given back
	TTL   int64  `json:"ttl_ms"`
}

var errLeaseLost = errors.New("another worker has the lease of these partitions, or may take it: it could not be renewed in time")

// takeLease waits until it has all keys, or ctx ends. It tells once what keeps it from asking, and goes on: a server
// that comes back is asked at once, and who has the lease is not waited for anew.
func takeLease(ctx context.Context, l *streamlog.Log, owner string, keys []string, ttl time.Duration, trouble func(error)) (*lease, error) {
	kv, err := l.KV(ctx, "rules_leases")
	if err != nil {
		return nil, err
	}
	x := &lease{kv: kv, keys: keys, owner: owner, ttl: ttl, revision: map[string]uint64{}}
	seen := map[string]sighting{}
	for {
		switch got, err := x.take(ctx, seen); {
		case err != nil || !got && len(x.revision) > 0: // all or none: another may want what is held and have what is not
			giveBack, cancel := streamlog.WithGrace(ctx, stopTimeout)
			err = errors.Join(err, x.release(giveBack))
			cancel()
			clear(x.revision)
			if err != nil && trouble != nil && ctx.Err() == nil && !errors.Is(err, streamlog.ErrChanged) {
				trouble(err)
				trouble = nil
			}
		case got:
			return x, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(ttl / 8):
		}
	}
}

// A sighting is since when an entry is as it is.
type sighting struct {
	revision uint64
	since    time.Time
}

// take takes all keys if they are nobody's; false where one is another's.
func (x *lease) take(ctx context.Context, seen map[string]sighting) (bool, error) {
	var swaps []streamlog.Swap
	for _, key := range x.keys {
		e, err := x.kv.Entry(ctx, key)
		if err != nil {
			return false, err
		}
		s := seen[key]
		if s.since.IsZero() || e.Revision != s.revision {
			s = sighting{e.Revision, time.Now()}
			seen[key] = s
		}
		var v leaseValue
		if e.Value != nil && json.Unmarshal(e.Value, &v) != nil {
			v = leaseValue{}
		}
		// What is ours is of work that has ended: the server was away too long for it.
		if v.Owner == "" || v.Owner == x.owner || time.Since(s.since) > time.Duration(v.TTL)*time.Millisecond {
			swaps = append(swaps, streamlog.Swap{Key: key, Value: x.value(x.owner), After: e.Revision})
		}
	}
	if len(swaps) < len(x.keys) {
		return false, nil
	}
	x.kv.SwapAll(ctx, swaps)
	got := true
	for i := range swaps {
		switch s := &swaps[i]; {
		case s.Err == nil:
			x.revision[s.Key] = s.Revision
		case !errors.Is(s.Err, streamlog.ErrChanged):
			return false, s.Err
		default:
			got = false
		}
	}
	return got, nil
}

func (x *lease) value(owner string) []byte { return plainJSON(leaseValue{owner, x.ttl.Milliseconds()}) }

// renew changes every entry that is held.
func (x *lease) renew(ctx context.Context) error { return x.swap(ctx, x.owner) }

// release gives the lease back.
func (x *lease) release(ctx context.Context) error { return x.swap(ctx, "") }

func (x *lease) swap(ctx context.Context, owner string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	var swaps []streamlog.Swap
	for key, revision := range x.revision {
		swaps = append(swaps, streamlog.Swap{Key: key, Value: x.value(owner), After: revision})
	}
	x.kv.SwapAll(ctx, swaps)
	var errs []error
	for i := range swaps {
		if swaps[i].Err == nil {
			x.revision[swaps[i].Key] = swaps[i].Revision
		} else {
			errs = append(errs, swaps[i].Err)
		}
	}
	return errors.Join(errs...)
}

// hold renews until ctx ends or the lease cannot be trusted any more, which is an error.
func (x *lease) hold(ctx context.Context) error {
	tick := time.NewTicker(x.ttl / 8)
	defer tick.Stop()
	good := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		began := time.Now()
		if began.Sub(good) > x.ttl/2 {
			return errLeaseLost // it was not run for so long
		}
		rctx, cancel := context.WithDeadline(ctx, good.Add(x.ttl/2))
		err := x.renew(rctx)
		cancel()
		switch {
		case err == nil:
			good = began
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, streamlog.ErrChanged), time.Since(good) > x.ttl/2:
			return errors.Join(errLeaseLost, err)
		}
	}
}

// Holds reports whether the worker evaluates its share, and does not wait for another's lease of it.
func (w *Worker) Holds() bool { return w.holds.Load() }

// leased runs a worker's work while it has the lease of what it evaluates, and waits for that before.
func (w *Worker) leased(ctx context.Context, work func(context.Context) error) error {
	if w.cfg.Lease <= 0 {
		w.holds.Store(true)
		defer w.holds.Store(false)
		return work(ctx)
	}
	x, err := takeLease(ctx, w.cfg.Log, w.owner, w.leases(), w.cfg.Lease, func(err error) {
		w.cfg.Logger.Warn("the lease of these partitions cannot be asked for; this goes on until it can", "error", err)
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	var holding sync.WaitGroup
	holding.Go(func() {
		if err := x.hold(ctx); err != nil {
			cancel(err)
		}
	})
	w.holds.Store(true)
	err = work(ctx)
	w.holds.Store(false)
	cancel(nil)
	holding.Wait()
	if lost := context.Cause(ctx); errors.Is(lost, errLeaseLost) {
		return errors.Join(lost, err)
	}
	if killed := w.step("release"); killed != nil {
		return errors.Join(err, killed)
	}
	giveBack, done := streamlog.WithGrace(ctx, stopTimeout)
	defer done()
	return errors.Join(err, x.release(giveBack))
}

// leases names what the worker evaluates.
func (w *Worker) leases() (keys []string) {
	if !w.own() {
		keys = append(keys, "spanning")
	}
	if w.cfg.Spanning {
		return keys
	}
	// In one order, so that of two that overlap one gets all.
	for _, p := range w.partitions() {
		keys = append(keys, fmt.Sprintf("partition/%02d", p))
	}
	return keys
}

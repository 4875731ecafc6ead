package notify

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	streamlog "panormus/stream/log"
)

// A Leases is where processes agree who of them sends to a receiver; a *streamlog.KV is one.
type Leases interface {
	Entry(ctx context.Context, key string) (streamlog.Entry, error)
	SwapAll(ctx context.Context, swaps []streamlog.Swap)
}

// leaseFor is how long a lease lasts after it was last renewed. A quarter of it is for what is being kept
// when it is lost.
const leaseFor = 4 * stopTimeout

// errLeaseLost ends the work of a queue that may not send any more.
var errLeaseLost = errors.New("another process sends to this receiver now")

// A lease is one receiver's. Nobody's clock is believed by another: who waits for a lease takes it when by its
// own clock the entry has not changed for as long as a lease lasts, and who holds it counts from before
// the last renewal that succeeded.
type lease struct {
	bucket Leases
	key    string
	last   time.Duration
	log    *slog.Logger
}

// work waits for the lease and does work while it is held. The context of work ends with the cause
// errLeaseLost when it is not any more; then work must write nothing. An end of ctx leaves the lease held until work
// returns.
func (l *lease) work(ctx context.Context, work func(context.Context) error) error {
	name := rand.Text()
	rev, began, err := l.acquire(ctx, name)
	if err != nil {
		return err
	}
	wctx, lose := context.WithCancelCause(ctx)
	defer lose(nil)
	renewing, stop := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		rev = l.renew(renewing, name, rev, began, func() { lose(errLeaseLost) })
	}()
	err = work(wctx)
	stop()
	<-done
	if context.Cause(wctx) == errLeaseLost {
		return errLeaseLost
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if _, gone := l.swap(last, "", rev); gone != nil { // it ends by itself
		l.log.Warn("the lease of a receiver could not be given back", "receiver", l.key, "error", gone)
	}
	return err
}

// acquire blocks until the lease is ours, from before the returned time on.
func (l *lease) acquire(ctx context.Context, name string) (rev uint64, began time.Time, err error) {
	var seen uint64
	var since time.Time
	for {
		e, err := l.bucket.Entry(ctx, l.key)
		if err != nil {
			return 0, began, err
		}
		now := time.Now()
		if since.IsZero() || e.Revision != seen {
			seen, since = e.Revision, now
		}
		if len(e.Value) == 0 || now.Sub(since) >= l.last {
			rev, err := l.swap(ctx, name, e.Revision)
			if err == nil {
				return rev, now, nil
			}
			if !errors.Is(err, streamlog.ErrChanged) {
				return 0, began, err
			}
		}
		select {
		case <-ctx.Done():
			return 0, began, ctx.Err()
		case <-time.After(l.last / 8):
		}
	}
}

// renew renews the lease until ctx ends, or calls lost and returns.
func (l *lease) renew(ctx context.Context, name string, rev uint64, began time.Time, lost func()) uint64 {
	for {
		select {
		case <-ctx.Done():
			return rev
		case <-time.After(l.last / 4):
		}
		// A part of the time is kept back: what is being sent ends within it.
		left := time.Until(began.Add(l.last * 3 / 4))
		tctx, cancel := context.WithTimeout(ctx, min(max(left, 0), l.last/4))
		now := time.Now()
		next, err := l.swap(tctx, name, rev)
		cancel()
		switch {
		case err == nil:
			rev, began = next, now
		case ctx.Err() != nil:
			return rev
		case errors.Is(err, streamlog.ErrChanged):
			// Perhaps by our own attempt, of whose success we did not hear.
			if e, err := l.bucket.Entry(ctx, l.key); err == nil && string(e.Value) == name {
				rev = e.Revision
				continue
			}
			lost()
			return rev
		case time.Until(began.Add(l.last*3/4)) <= 0:
			l.log.Warn("the lease of a receiver could not be renewed in time", "receiver", l.key, "error", err)
			lost()
			return rev
		}
	}
}

func (l *lease) swap(ctx context.Context, name string, after uint64) (uint64, error) {
	swaps := []streamlog.Swap{{Key: l.key, Value: []byte(name), After: after}}
	l.bucket.SwapAll(ctx, swaps)
	if swaps[0].Err != nil {
		return 0, fmt.Errorf("lease of receiver %s: %w", l.key, swaps[0].Err)
	}
	return swaps[0].Revision, nil
}

// Package lease is how processes on one log agree which of them does a thing, such as sending to a receiver.
//
// Nobody's clock is believed by another: who waits for a lease takes it when by its own clock the entry has not
// changed for as long as a lease lasts, and who holds it counts from before the last renewal that succeeded.
package lease

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	streamlog "panormus/stream/log"
)

// A Bucket is where processes agree; a *streamlog.KV is one.
type Bucket interface {
	Entry(ctx context.Context, key string) (streamlog.Entry, error)
	SwapAll(ctx context.Context, swaps []streamlog.Swap)
}

// ErrLost ends work that may not go on.
var ErrLost = errors.New("the lease could not be renewed in time; another process may have it")

// giveBackTime bounds the giving back, which a dead server must not hold up.
const giveBackTime = 4 * time.Second

// A Lease is the right to do one thing, which one process has at a time. Work is called by one goroutine.
type Lease struct {
	Bucket Bucket
	Key    string
	// Last is how long it lasts after it was last renewed. A quarter of it is for what work has in hand when it
	// is lost.
	Last time.Duration
	Log  *slog.Logger
	// Waiting, where not nil, is called once if another has the lease.
	Waiting func()

	name string // ours in the bucket
}

// Work waits for the lease and does work while it is held. The context of work ends with the cause ErrLost
// when it is not any more; then work must write nothing. An end of ctx leaves the lease held until work returns.
// While the bucket's server is away it waits on.
func (l *Lease) Work(ctx context.Context, work func(context.Context) error) error {
	if l.name == "" {
		l.name = rand.Text()
	}
	name := l.name
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
		rev = l.renew(renewing, name, rev, began, func() { lose(ErrLost) })
	}()
	err = work(wctx)
	stop()
	<-done
	if context.Cause(wctx) == ErrLost {
		return ErrLost
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackTime)
	defer cancel()
	if _, gone := l.swap(last, "", rev); gone != nil { // it ends by itself
		l.Log.Warn("a lease could not be given back", "lease", l.Key, "error", gone)
	}
	return err
}

// acquire blocks until the lease is ours, from before the returned time on, or ctx ends.
func (l *Lease) acquire(ctx context.Context, name string) (rev uint64, began time.Time, err error) {
	var seen uint64
	var since time.Time
	said, away := l.Waiting == nil, false
	for {
		e, err := l.Bucket.Entry(ctx, l.Key)
		now := time.Now()
		if err == nil {
			if since.IsZero() || e.Revision != seen {
				seen, since = e.Revision, now
			}
			// Our own name is of work that has ended: the server was away too long for it.
			if len(e.Value) == 0 || string(e.Value) == name || now.Sub(since) >= l.Last {
				if rev, err = l.swap(ctx, name, e.Revision); err == nil {
					return rev, now, nil
				}
			} else if !said {
				l.Waiting()
				said = true
			}
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, streamlog.ErrChanged) && !away {
			away = true
			l.Log.Warn("a lease cannot be asked for; this goes on until it can", "lease", l.Key, "error", err)
		}
		select {
		case <-ctx.Done():
			return 0, began, ctx.Err()
		case <-time.After(l.Last / 8):
		}
	}
}

// renew renews the lease until ctx ends, or calls lost and returns.
func (l *Lease) renew(ctx context.Context, name string, rev uint64, began time.Time, lost func()) uint64 {
	for {
		select {
		case <-ctx.Done():
			return rev
		case <-time.After(l.Last / 4):
		}
		// A part of the time is kept back: what is being done ends within it.
		left := time.Until(began.Add(l.Last * 3 / 4))
		tctx, cancel := context.WithTimeout(ctx, min(max(left, 0), l.Last/4))
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
			if e, err := l.Bucket.Entry(ctx, l.Key); err == nil && string(e.Value) == name {
				rev = e.Revision
				continue
			}
			lost()
			return rev
		case time.Until(began.Add(l.Last*3/4)) <= 0:
			l.Log.Warn("a lease could not be renewed in time", "lease", l.Key, "error", err)
			lost()
			return rev
		}
	}
}

func (l *Lease) swap(ctx context.Context, name string, after uint64) (uint64, error) {
	swaps := []streamlog.Swap{{Key: l.Key, Value: []byte(name), After: after}}
	l.Bucket.SwapAll(ctx, swaps)
	if swaps[0].Err != nil {
		return 0, fmt.Errorf("lease %s: %w", l.Key, swaps[0].Err)
	}
	return swaps[0].Revision, nil
}

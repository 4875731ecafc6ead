package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	streamlog "panormus/stream/log"
)

const lasts = 16 * time.Second

// wire is a process's way to a bucket of leases, which can be cut.
type wire struct {
	to  *shared
	cut bool
}

type shared struct {
	mu    sync.Mutex
	entry streamlog.Entry
	rev   uint64
}

func (w *wire) Entry(ctx context.Context, key string) (streamlog.Entry, error) {
	w.to.mu.Lock()
	defer w.to.mu.Unlock()
	if w.cut {
		return streamlog.Entry{}, errors.New("cut")
	}
	return w.to.entry, nil
}

func (w *wire) SwapAll(ctx context.Context, swaps []streamlog.Swap) {
	w.to.mu.Lock()
	defer w.to.mu.Unlock()
	s := &swaps[0]
	switch {
	case w.cut:
		w.to.mu.Unlock()
		<-ctx.Done()
		w.to.mu.Lock()
		s.Err = ctx.Err()
	case w.to.entry.Revision != s.After:
		s.Err = streamlog.ErrChanged
	default:
		w.to.rev++
		w.to.entry = streamlog.Entry{Key: s.Key, Value: s.Value, Revision: w.to.rev}
		s.Revision = w.to.rev
	}
}

// TestLease: one works at a time; when it is cut off it stops before another begins, and when it ends well
// another begins at once.
func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket := &shared{}
		wires := []*wire{{to: bucket}, {to: bucket}}
		var mu sync.Mutex
		working, at := map[int]bool{}, map[string]time.Duration{}
		began := time.Now()
		note := func(i int, on bool) {
			mu.Lock()
			defer mu.Unlock()
			if working[i] = on; on && working[1-i] {
				t.Errorf("both work after %v", time.Since(began))
			}
			at[fmt.Sprint(i, on)] = time.Since(began)
		}
		run := func(ctx context.Context, i int) error {
			l := &Lease{Bucket: wires[i], Key: "ops", Last: lasts, Log: slog.New(slog.DiscardHandler)}
			return l.Work(ctx, func(ctx context.Context) error {
				note(i, true)
				defer note(i, false)
				<-ctx.Done()
				return ctx.Err()
			})
		}
		lost := make(chan error, 1)
		go func() { lost <- run(t.Context(), 0) }()
		synctest.Wait()
		second, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- run(second, 1) }()
		time.Sleep(10 * time.Minute)
		if mu.Lock(); !working[0] || working[1] {
			t.Errorf("after 10 minutes %v, want the first to work still", working)
		}
		mu.Unlock()

		bucket.mu.Lock()
		wires[0].cut = true
		bucket.mu.Unlock()
		select {
		case err := <-lost:
			if err != ErrLost {
				t.Errorf("cut off: %v, want %v", err, ErrLost)
			}
		case <-time.After(time.Hour):
			t.Fatal("cut off for an hour it works on")
		}
		time.Sleep(2 * lasts)
		mu.Lock()
		stopped, taken := at["0 false"]-10*time.Minute, at["1 true"]-10*time.Minute
		mu.Unlock()
		if stopped <= 0 || taken <= stopped || taken > 2*lasts {
			t.Errorf("the first stopped %v after it was cut off, the second began after %v; want first the one, then soon the other", stopped, taken)
		}

		bucket.mu.Lock()
		wires[0].cut = false
		bucket.mu.Unlock()
		third, stopThird := context.WithCancel(t.Context())
		go func() { lost <- run(third, 0) }()
		time.Sleep(time.Minute)
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("ended: %v", err)
		}
		free := time.Since(began)
		time.Sleep(lasts / 2)
		if mu.Lock(); at["0 true"] < free || at["0 true"] > free+lasts/4 {
			t.Errorf("given back after %v, taken after %v; want at once", free, at["0 true"])
		}
		mu.Unlock()
		stopThird()
		<-lost
	})
}

// TestLeaseWhileTheBucketIsAway: who waits goes on waiting, and has the lease soon after the bucket is back.
func TestLeaseWhileTheBucketIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{to: &shared{}, cut: true}
		working := make(chan struct{})
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- (&Lease{Bucket: w, Key: "ops", Last: lasts, Log: slog.New(slog.DiscardHandler)}).Work(ctx, func(ctx context.Context) error {
				close(working)
				<-ctx.Done()
				return ctx.Err()
			})
		}()
		time.Sleep(time.Hour)
		select {
		case err := <-ended:
			t.Fatalf("with the bucket away: %v, want it to wait", err)
		case <-working:
			t.Fatal("it works though nobody gave it the lease")
		default:
		}
		w.to.mu.Lock()
		w.cut = false
		w.to.mu.Unlock()
		back := time.Now()
		if <-working; time.Since(back) > lasts/4 {
			t.Errorf("it has the lease %v after the bucket is back, want at most %v", time.Since(back), lasts/4)
		}
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("ended: %v", err)
		}
	})
}

// TestLeaseOfOneself: who lost a lease because the bucket was away does not wait for itself once it is back.
func TestLeaseOfOneself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{to: &shared{}}
		l := &Lease{Bucket: w, Key: "ops", Last: lasts, Log: slog.New(slog.DiscardHandler)}
		err := l.Work(t.Context(), func(ctx context.Context) error {
			w.to.mu.Lock()
			w.cut = true
			w.to.mu.Unlock()
			<-ctx.Done()
			return ctx.Err()
		})
		if err != ErrLost {
			t.Fatalf("cut off: %v, want %v", err, ErrLost)
		}
		w.to.mu.Lock()
		w.cut = false
		w.to.mu.Unlock()
		back := time.Now()
		if err := l.Work(t.Context(), func(context.Context) error { return nil }); err != nil || time.Since(back) > lasts/4 {
			t.Errorf("%v, it has the lease again after %v, want at once", err, time.Since(back))
		}
	})
}

// TestLeaseSaysThatItWaits: once, and not where nobody has it.
func TestLeaseSaysThatItWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket, waits := &shared{}, 0
		lease := func(w *wire) *Lease {
			return &Lease{Bucket: w, Key: "ops", Last: lasts, Log: slog.New(slog.DiscardHandler), Waiting: func() { waits++ }}
		}
		err := lease(&wire{to: bucket}).Work(t.Context(), func(ctx context.Context) error {
			if waits != 0 {
				t.Error("it says that it waits for nobody")
			}
			second, stop := context.WithTimeout(ctx, time.Minute)
			defer stop()
			return lease(&wire{to: bucket}).Work(second, func(context.Context) error { return errors.New("both work") })
		})
		if !errors.Is(err, context.DeadlineExceeded) || waits != 1 {
			t.Errorf("%v, said %d times that it waits; want the end of its time, and once", err, waits)
		}
	})
}

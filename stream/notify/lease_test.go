package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	streamlog "panormus/stream/log"
	"panormus/stream/log/logtest"
)

// wire is a process's way to a bucket of leases, which can be cut.
type wire struct {
	to  *leaseBucket
	cut bool
}

type leaseBucket struct {
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
		bucket := &leaseBucket{}
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
			l := &lease{wires[i], "ops", leaseFor, slog.New(slog.DiscardHandler)}
			return l.work(ctx, func(ctx context.Context) error {
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
			if err != errLeaseLost {
				t.Errorf("cut off: %v, want %v", err, errLeaseLost)
			}
		case <-time.After(time.Hour):
			t.Fatal("cut off for an hour it works on")
		}
		time.Sleep(2 * leaseFor)
		mu.Lock()
		stopped, taken := at["0 false"]-10*time.Minute, at["1 true"]-10*time.Minute
		mu.Unlock()
		if stopped <= 0 || taken <= stopped || taken > 2*leaseFor {
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
		time.Sleep(leaseFor / 2)
		if mu.Lock(); at["0 true"] < free || at["0 true"] > free+leaseFor/4 {
			t.Errorf("given back after %v, taken after %v; want at once", free, at["0 true"])
		}
		mu.Unlock()
		stopThird()
		<-lost
	})
}

// TestTwoProcessesTellOnce: of two desks on one log one sends, the other goes on where it ends.
func TestTwoProcessesTellOnce(t *testing.T) {
	l := logtest.New(t, nil)
	bucket, err := l.KV(t.Context(), "notify_leases")
	if err != nil {
		t.Fatal(err)
	}
	h := newHook(t, nil)
	var desks []*Desk
	var stops []func()
	for range 2 {
		d := testDesk(t, l, webhookTo(t, "ops", h.URL))
		d.queues[0].lease = &lease{bucket, "ops", leaseFor, slog.New(slog.DiscardHandler)}
		desks, stops = append(desks, d), append(stops, start(t, d.runs()...))
		if len(desks) == 1 {
			awaitRunning(t, d)
		}
	}
	told := func(n int) func([]Message) bool {
		return func(m []Message) bool { return len(unique(alarmIDs(m))) == n }
	}
	for i := range 10 {
		publish(t, l, event(i, "raised"))
	}
	h.await(told(10))
	if desks[1].Receivers()[0].Running {
		t.Error("the second sends though the first is there")
	}
	stops[0]()
	for i := range 10 {
		publish(t, l, event(10+i, "raised"))
	}
	taken := h.await(told(20))
	awaitRunning(t, desks[1])
	if ids := alarmIDs(taken); len(ids) != len(unique(slices.Clone(ids))) {
		t.Errorf("told twice: %v", ids)
	}
}

// TestReceiversComeAndGo: settings that change take effect in a desk that serves, and disturb nobody else.
func TestReceiversComeAndGo(t *testing.T) {
	l := logtest.New(t, nil)
	stays, goes, comes := newHook(t, nil), newHook(t, nil), newHook(t, nil)
	settings := func(receivers ...Receiver) Settings {
		s := Settings{Receivers: receivers}
		for _, r := range receivers {
			s.Routes = append(s.Routes, Route{ID: "to-" + r.ID, Receivers: []string{r.ID}, GroupWait: duration(0)})
		}
		return s
	}
	one, two, three := webhookTo(t, "one", stays.URL), webhookTo(t, "two", goes.URL), webhookTo(t, "two", comes.URL)
	d := testDeskWith(t, l, settings(one, two))
	start(t, func(ctx context.Context) error { return d.Run(ctx, func() {}) }, func(ctx context.Context) error { return d.Dead.Run(ctx, func() {}) },
		func(ctx context.Context) error {
			return d.Serve(ctx, func(ctx context.Context, name string, run func(context.Context) error) {
				if err := run(ctx); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			})
		})
	awaitRunning(t, d)
	first := d.queues[0]
	publish(t, l, event(1, "raised"))
	is := func(want ...string) func([]Message) bool {
		return func(m []Message) bool { return slices.Equal(alarmIDs(m), want) }
	}
	stays.await(is("1-raised"))
	goes.await(is("1-raised"))

	// The second has another address.
	if err := d.Apply(settings(one, three)); err != nil {
		t.Fatal(err)
	}
	publish(t, l, event(2, "raised"))
	stays.await(is("1-raised", "2-raised"))
	comes.await(is("2-raised"))
	if d.queues[0] != first {
		t.Error("a receiver whose settings are as before was started anew")
	}

	// What cannot be used changes nothing.
	bad := settings(one)
	bad.Routes[0].Receivers = []string{"nobody"}
	if err := d.Apply(bad); err == nil {
		t.Error("a route to a receiver that is not there was taken")
	}
	if err := d.Apply(settings(one, one)); err == nil {
		t.Error("two receivers of one name were taken")
	}
	// The first has gone; its route too.
	if err := d.Apply(settings(three)); err != nil {
		t.Fatal(err)
	}
	if rs, routes := d.Receivers(), d.All(); len(rs) != 1 || rs[0].Receiver != "two" || len(routes) != 1 {
		t.Errorf("receivers %+v, routes %+v", rs, routes)
	}
	publish(t, l, event(3, "raised"))
	comes.await(is("2-raised", "3-raised"))
	if taken := goes.await(func([]Message) bool { return true }); len(taken) != 1 {
		t.Errorf("who is gone was told %v", alarmIDs(taken))
	}
}

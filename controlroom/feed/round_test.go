package feed

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"panormus/controlroom/live"
)

// A place that is asked for its next step does what a test wants.
type asked func() error

func (f asked) step(time.Time) ([]message, time.Time, error) { return nil, time.Time{}, f() }
func (asked) leave()                                         {}

func clientWith(h *Hub, f asked) *client {
	return &client{hub: h, wakeup: make(chan struct{}, 1), subs: []*named{{"a", f}}}
}

// Clients that do not take what a round gives them hold up nobody behind them, however many they are.
func TestRoundGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := New(Config{State: live.New(nil, nil, nil)})
		stuck := make(chan struct{})
		var list []*client
		for range 7 {
			list = append(list, clientWith(h, func() error { <-stuck; return nil }))
		}
		var got atomic.Int64
		for range 3 {
			list = append(list, clientWith(h, func() error { got.Add(1); return nil }))
		}
		h.startRound(list)
		time.Sleep(10 * helpAfter)
		synctest.Wait()
		if got.Load() != 3 {
			t.Errorf("%d of 3 clients behind those that are stuck were served", got.Load())
		}
		close(stuck)
		h.rounds.Wait()
		if got.Load() != 3 {
			t.Errorf("3 clients were served %d times", got.Load())
		}
	})
}

// What a round cannot do for a client, the client's own goroutine is woken for.
func TestRoundLeavesToTheClient(t *testing.T) {
	h := New(Config{State: live.New(nil, nil, nil)})
	lost := errors.New("connection lost")
	served := 0
	for _, c := range []struct {
		name   string
		make   func(c *client)
		err    error
		served int
		woken  bool
	}{
		{name: "nothing to do", served: 1},
		{name: "it writes itself", make: func(c *client) { c.writing.Lock() }, woken: true},
		{name: "it takes long", make: func(c *client) { c.alone = time.Now().Add(time.Hour) }, woken: true},
		{name: "it took long once", make: func(c *client) { c.alone = time.Now().Add(-time.Hour) }, served: 1},
		{name: "it failed", make: func(c *client) { c.failed = lost }, woken: true},
		{name: "it fails", err: lost, served: 1, woken: true},
	} {
		served = 0
		x := clientWith(h, func() error { served++; return c.err })
		if c.make != nil {
			c.make(x)
		}
		x.take()
		if woken := len(x.wakeup) == 1; served != c.served || woken != c.woken {
			t.Errorf("%s: served %d times, woken %t; want %d, %t", c.name, served, woken, c.served, c.woken)
		}
		if c.err != nil && x.flushAlone(time.NewTimer(time.Hour)) != c.err {
			t.Errorf("%s: its own goroutine goes on", c.name)
		}
	}
}

// Groups that were sealed together come apart and stay so, and none has more frames than it asked for.
func TestGroupsKeepTheirInstants(t *testing.T) {
	const interval = 200 * time.Millisecond
	begun := time.Now()
	phases := map[time.Duration]bool{}
	for range 40 {
		g := stateGroup{interval: interval}
		g.sealed(begun)
		first := g.lastSeal.Sub(begun)
		if first < 0 || first > interval/2 {
			t.Fatalf("the second frame is due %v after the interval", first)
		}
		phases[first] = true
		for n := 1; n <= 10; n++ { // now a little early, now late
			g.sealed(begun.Add(first + time.Duration(n)*interval + time.Duration(n%3-1)*5*time.Millisecond))
		}
		if at := g.lastSeal.Sub(begun); at != first+10*interval {
			t.Fatalf("after ten frames at %v, want %v", at, first+10*interval)
		}
	}
	if len(phases) < 20 {
		t.Errorf("40 groups have %d instants", len(phases))
	}
}

package logins

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestGuessesAreSlowed(t *testing.T) {
	l, now := new(Throttle), time.Date(2026, time.November, 23, 9, 0, 0, 0, time.UTC)
	wrong, right := func() bool { return false }, func() bool { return true }
	thief, other := Of("10.0.0.1:4711", "cam-1"), Of("10.0.0.2:4711", "cam-1")
	for i := range defaultFree + 1 {
		if ok, wait := l.Check(thief, now, wrong); ok || wait != 0 {
			t.Fatalf("guess %d: %v, %v; want it looked at", i+1, ok, wait)
		}
	}
	for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		asked := false
		if ok, wait := l.Check(thief, now, func() bool { asked = true; return true }); ok || asked || wait != want*time.Second {
			t.Fatalf("%v, asked %v, wait %v; want %ds without a look, though it is right", ok, asked, wait, want)
		}
		for _, who := range []Login{other, Of("10.0.0.1:4711", "cam-2")} {
			if ok, _ := l.Check(who, now, right); !ok {
				t.Fatalf("%v pays for another", who)
			}
		}
		now = now.Add(want * time.Second)
		if ok, wait := l.Check(thief, now, wrong); ok || wait != 0 {
			t.Fatalf("%v, %v; want the guess looked at after %ds", ok, wait, want)
		}
	}
	if ok, _ := l.Check(thief, now.Add(longestWait), right); !ok || len(l.failing) != 0 {
		t.Errorf("%v, %d remembered; want the right secret taken after its wait, and all forgiven", ok, len(l.failing))
	}
	for i := range 2 * maxFailing {
		l.Check(Of(fmt.Sprintf("[2001:db8:%x::1]:1", i), "cam-1"), now, wrong)
	}
	if n := len(l.failing); n != maxFailing {
		t.Errorf("%d remembered, want %d at most", n, maxFailing)
	}
	if a, b := Of("[2001:db8::1]:1", "c"), Of("[2001:db8::2%eth0]:2", "c"); a != b {
		t.Errorf("%v and %v, want one network", a, b)
	}
	if a, b := Of("[::ffff:10.0.0.1]:1", "cam-1"), thief; a != b {
		t.Errorf("%v and %v, want one address", a, b)
	}
}

// TestWhatIsForgiven: a minute forgives a try, being right forgives a name all and a network the one try.
func TestWhatIsForgiven(t *testing.T) {
	now := time.Date(2026, time.November, 23, 9, 0, 0, 0, time.UTC)
	name, network := As("rosalia"), Of("192.0.2.1:1", "")
	for what, store := range map[string]Store{"in memory": nil, "shared": &bucket{}} {
		l := &Throttle{Store: store}
		wait := func(at time.Time, who ...Login) time.Duration {
			t.Helper()
			wait, err := l.Try(t.Context(), at, who...)
			if err != nil {
				t.Fatal(err)
			}
			return wait
		}
		for range defaultFree + 1 {
			if w := wait(now, name, network); w != 0 {
				t.Fatalf("%s: %v to wait", what, w)
			}
		}
		// Whoever has to wait by one is not counted by another.
		for range 20 {
			if w := wait(now, As("vito"), network); w != time.Second {
				t.Errorf("%s: the network has to wait %v, want a second", what, w)
			}
		}
		if w := wait(now, As("vito")); w != 0 {
			t.Errorf("%s: vito has to wait %v for what was not looked at", what, w)
		}
		later := now.Add(time.Second)
		if w := wait(later, name, network); w != 0 {
			t.Errorf("%s: %v to wait after the pause", what, w)
		}
		if err := l.Right(t.Context(), name, network); err != nil {
			t.Fatal(err)
		}
		for range defaultFree {
			if w := wait(later, name); w != 0 {
				t.Errorf("%s: a name that was right has to wait %v", what, w)
			}
		}
		if w := wait(later, network); w != 0 {
			t.Errorf("%s: a network where somebody was right has to wait %v for that", what, w)
		}
		if w := wait(later, network); w != 2*time.Second {
			t.Errorf("%s: a network was forgiven more than the try that was right: it has to wait %v", what, w)
		}
		// Seven were counted, a quarter of an hour forgives all of them.
		if w := wait(now.Add(3*time.Minute+2*time.Second), network) + wait(now.Add(3*time.Minute+2*time.Second), network); w != 0 {
			t.Errorf("%s: three minutes forgive nothing", what)
		}
		for range defaultFree + 1 {
			if w := wait(now.Add(20*time.Minute), network); w != 0 {
				t.Errorf("%s: a quarter of an hour does not forgive all", what)
			}
		}
	}
}

// bucket is a Store in memory.
type bucket struct {
	mu   sync.Mutex
	held map[string][]byte
	at   map[string]uint64
}

func (b *bucket) Held(_ context.Context, key string) ([]byte, uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held[key], b.at[key], nil
}

func (b *bucket) Swap(_ context.Context, key string, value []byte, after uint64) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held == nil {
		b.held, b.at = map[string][]byte{}, map[string]uint64{}
	}
	if b.at[key] != after {
		return false, nil
	}
	b.held[key], b.at[key] = value, after+1
	return true, nil
}

// TestManyAtOnce has two processes try at once: no more are looked at than of one.
func TestManyAtOnce(t *testing.T) {
	shared := &bucket{}
	processes := []*Throttle{{Store: shared}, {Store: shared}}
	now := time.Now()
	var let atomic.Int64
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			if wait, err := processes[i%2].Try(t.Context(), now, As("rosalia"), Of(fmt.Sprintf("192.0.2.%d:1", i), "")); err != nil {
				t.Error(err)
			} else if wait == 0 {
				let.Add(1)
			}
		})
	}
	wg.Wait()
	if n := let.Load(); n != defaultFree+1 {
		t.Errorf("%d tries were looked at, want %d", n, defaultFree+1)
	}
}

func TestNetwork(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.7:443": "192.0.2.7", "192.0.2.7": "192.0.2.7", "[2001:db8:1:2:3::4]:443": "2001:db8:1:2::/64", "2001:db8:1:2::9%eth0": "2001:db8:1:2::/64", "[::ffff:192.0.2.7]:1": "192.0.2.7", "@": "@", "pipe:1": "pipe",
	} {
		if got := Network(remote); got != want {
			t.Errorf("%s counts as %s, want %s", remote, got, want)
		}
	}
}

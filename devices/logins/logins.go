// Package logins slows those down who guess at secrets, of devices and of people, and at codes: whoever was wrong
// too often waits, a second and then twice as long each time up to a minute, before anything is looked at again.
// For each minute in which nobody was wrong one wrong try is forgiven.
//
// Who is right is forgiven all, but a network only the one try: there, somebody with an account of his own must
// not guess at others' for ever.
package logins

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Bounds of logins that fail, by source and name.
const (
	defaultFree = 5           // before any has to wait
	firstWait   = time.Second // after the next; it doubles with each
	longestWait = time.Minute
	doublings   = 6           // from the first wait to the longest
	forgiven    = time.Minute // in which one wrong try is
	maxFailing  = 10_000      // that are remembered; beyond, one of those that failed longest ago is forgotten
)

// Kept is how long a Store must keep what nobody writes: until all of it is forgiven.
const Kept = (defaultFree + doublings + 2) * forgiven

// A Throttle is safe for concurrent use. The zero Throttle is ready.
type Throttle struct {
	// Free is how many failures there are before any has to wait; 0: 5.
	Free uint
	// Store keeps what Try counts where several processes find it; nil: in memory.
	Store Store

	mu      sync.Mutex
	failing map[Login]failure
}

// A Store is a bucket that all processes have, such as a *log.KV; it forgets what nobody writes for Kept.
type Store interface {
	// Held returns the value of a key, nil for none, and the revision that a Swap has to name.
	Held(ctx context.Context, key string) (value []byte, revision uint64, err error)
	// Swap sets a key whose revision is still after, and reports whether it was.
	Swap(ctx context.Context, key string, value []byte, after uint64) (bool, error)
}

// A Login is who tries to be whom: of a network, as a name, or both.
type Login struct {
	source netip.Prefix
	name   string
}

// Of is the login of an address, with or without a port, that gives a name; of "" the network's alone.
func Of(remote, name string) Login {
	addr, ok := address(remote)
	if !ok {
		return Login{name: name}
	}
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	source, err := addr.Prefix(bits)
	if err != nil {
		return Login{name: name}
	}
	return Login{source, name}
}

// As is the login of a name from anywhere.
func As(name string) Login { return Login{name: name} }

// Network is what a remote address, with or without a port, counts as: in IPv6 the network that one household or
// office has all of.
func Network(remote string) string {
	switch l := Of(remote, ""); {
	case !l.source.IsValid():
		if host, _, err := net.SplitHostPort(remote); err == nil {
			return host
		}
		return remote
	case l.source.Addr().Is4():
		return l.source.Addr().String()
	default:
		return l.source.String()
	}
}

func address(remote string) (netip.Addr, bool) {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	addr, err := netip.ParseAddr(host)
	return addr.Unmap().WithZone(""), err == nil
}

// key is the login's in a Store: what was typed as a name may be a password.
func (l Login) key() string {
	source := ""
	if l.source.IsValid() {
		source = l.source.String()
	}
	sum := sha256.Sum256([]byte(source + "\x00" + l.name))
	return hex.EncodeToString(sum[:16])
}

// A failure is what is remembered of a login.
type failure struct {
	Times uint      `json:"n"`
	Last  time.Time `json:"last"`
	Until time.Time `json:"until"` // no secret is looked at before
}

// wrong counts one more.
func (f *failure) wrong(now time.Time, free uint) {
	f.Times -= min(f.Times, uint(max(0, now.Sub(f.Last)/forgiven)))
	f.Times, f.Last = min(f.Times+1, free+1+doublings), now
	if f.Times > free {
		f.Until = now.Add(min(firstWait<<(f.Times-free-1), longestWait))
	}
}

// back takes one back that was counted before it was known to be right.
func (f *failure) back() {
	f.Times -= min(f.Times, 1)
	f.Until = time.Time{}
}

func (t *Throttle) free() uint {
	if t.Free == 0 {
		return defaultFree
	}
	return t.Free
}

// Check returns what right says, or false and how long who is to wait until it will be asked again.
// No two are asked at once, so that many guesses at once are no more than one after the other. It is of this
// process alone.
func (t *Throttle) Check(who Login, now time.Time, right func() bool) (bool, time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if wait := t.failing[who].Until.Sub(now); wait > 0 {
		return false, wait
	}
	if right() {
		if who.name != "" {
			delete(t.failing, who)
		}
		return true, 0
	}
	t.count(who, now)
	return false, 0
}

// Try is how long one has to wait, by any of the logins, before one may try. Where that is not at all the try
// is counted as a wrong one of each, until Right takes it back: many at once, in however many processes, are no
// way around. An error is the Store's; it is then counted in this process alone.
func (t *Throttle) Try(ctx context.Context, now time.Time, who ...Login) (time.Duration, error) {
	if t.Store == nil {
		return t.try(now, who), nil
	}
	for i, l := range who {
		wait, err := t.change(ctx, l, func(f *failure) time.Duration {
			wait := f.Until.Sub(now)
			if wait <= 0 {
				f.wrong(now, t.free())
			}
			return wait
		})
		if err != nil {
			return t.try(now, who), err
		}
		if wait <= 0 {
			continue
		}
		for _, counted := range who[:i] {
			if _, err := t.change(ctx, counted, func(f *failure) time.Duration { f.back(); return 0 }); err != nil {
				return wait, err
			}
		}
		return wait, nil
	}
	return 0, nil
}

// try is Try in this process.
func (t *Throttle) try(now time.Time, who []Login) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	var wait time.Duration
	for _, l := range who {
		wait = max(wait, t.failing[l].Until.Sub(now))
	}
	if wait > 0 {
		return wait
	}
	for _, l := range who {
		t.count(l, now)
	}
	return 0
}

// Right takes a Try back of logins that were right.
func (t *Throttle) Right(ctx context.Context, who ...Login) error {
	for _, l := range who {
		mend := func(f *failure) time.Duration {
			if l.name != "" {
				*f = failure{}
			} else {
				f.back()
			}
			return 0
		}
		if t.Store != nil {
			if _, err := t.change(ctx, l, mend); err != nil {
				return err
			}
		}
		t.mu.Lock()
		if f, ok := t.failing[l]; ok {
			if mend(&f); f.Times == 0 {
				delete(t.failing, l)
			} else {
				t.failing[l] = f
			}
		}
		t.mu.Unlock()
	}
	return nil
}

// races is how often a change is made again because others were faster: more than there are processes that try at once.
const races = 100

// change changes what the store has of a login, unless do says that one has to wait.
func (t *Throttle) change(ctx context.Context, l Login, do func(*failure) time.Duration) (time.Duration, error) {
	key := l.key()
	for range races {
		value, revision, err := t.Store.Held(ctx, key)
		if err != nil {
			return 0, err
		}
		var f failure
		if len(value) > 0 && json.Unmarshal(value, &f) != nil {
			f = failure{} // of another version
		}
		if wait := do(&f); wait > 0 {
			return wait, nil
		}
		if value, err = json.Marshal(f); err != nil {
			return 0, err
		}
		if done, err := t.Store.Swap(ctx, key, value, revision); done || err != nil {
			return 0, err
		}
	}
	return firstWait, nil // so many at once are guesses
}

// count counts a wrong try; the caller holds the lock.
func (t *Throttle) count(who Login, now time.Time) {
	if t.failing == nil {
		t.failing = map[Login]failure{}
	}
	f, failed := t.failing[who]
	if !failed && len(t.failing) >= maxFailing {
		t.forget()
	}
	f.wrong(now, t.free())
	t.failing[who] = f
}

// forget makes room: of a handful taken at random, the one that was wrong longest ago.
func (t *Throttle) forget() {
	var oldest Login
	var last time.Time
	n := 0
	for who, f := range t.failing {
		if n == 0 || f.Last.Before(last) {
			oldest, last = who, f.Last
		}
		if n++; n == 16 {
			break
		}
	}
	delete(t.failing, oldest)
}

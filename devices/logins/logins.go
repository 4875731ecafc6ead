// Package logins slows those down who guess at the secrets of devices: whoever was wrong too often waits,
// a second and then twice as long each time, before anything is looked at again.
package logins

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Bounds of logins that fail, by source and name.
const (
	defaultFree   = 5           // before any has to wait
	firstWait     = time.Second // after the next; it doubles with each
	longestWait   = time.Minute
	forgetFailure = 10 * time.Minute // after the last one
	maxFailing    = 4096             // that are remembered; beyond, any of them is forgotten
)

// A Throttle is safe for concurrent use. The zero Throttle is ready.
type Throttle struct {
	// Free is how many failures there are before any has to wait; 0: 5.
	Free uint

	mu      sync.Mutex
	failing map[Login]failure
}

// A Login is who tries to be whom. The network of an IPv6 address counts, for whoever
// has one has all addresses of it.
type Login struct {
	source netip.Prefix
	name   string
}

type failure struct {
	times uint
	last  time.Time
	until time.Time // no secret is looked at before
}

// Of is the login of an address, with or without a port, that gives a name.
func Of(remote, name string) Login {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return Login{name: name}
	}
	bits := 32
	if addr = addr.Unmap().WithZone(""); addr.Is6() {
		bits = 64
	}
	source, err := addr.Prefix(bits)
	if err != nil {
		return Login{name: name}
	}
	return Login{source, name}
}

// Check returns what right says, or false and how long who is to wait until it will be asked again.
// No two are asked at once, so that many guesses at once are no more than one after the other.
func (t *Throttle) Check(who Login, now time.Time, right func() bool) (bool, time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f, failed := t.failing[who]
	if failed && now.Sub(f.last) > forgetFailure {
		f = failure{}
	}
	if wait := f.until.Sub(now); wait > 0 {
		return false, wait
	}
	if right() {
		if failed {
			delete(t.failing, who)
		}
		return true, 0
	}
	if t.failing == nil {
		t.failing = map[Login]failure{}
	}
	if !failed && len(t.failing) >= maxFailing {
		t.forget(now)
	}
	free := t.Free
	if free == 0 {
		free = defaultFree
	}
	f.times, f.last = f.times+1, now
	if f.times > free {
		f.until = now.Add(min(firstWait<<min(f.times-free-1, 16), longestWait))
	}
	t.failing[who] = f
	return false, 0
}

// forget makes room: of those who failed long ago, or else of any one.
func (t *Throttle) forget(now time.Time) {
	for who, f := range t.failing {
		if now.Sub(f.last) > forgetFailure {
			delete(t.failing, who)
		}
	}
	for who := range t.failing {
		if len(t.failing) < maxFailing {
			return
		}
		delete(t.failing, who)
	}
}

package push

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// Bounds of logins that fail, by source and camera.
const (
	freeFailures  = 5           // before any has to wait
	firstWait     = time.Second // after the next; it doubles with each
	longestWait   = time.Minute
	forgetFailure = 10 * time.Minute // after the last one
	maxFailing    = 4096             // sources and cameras that are remembered; beyond, any of them is forgotten
)

// logins slows those down who guess at secrets. It is safe for concurrent use.
type logins struct {
	mu      sync.Mutex
	failing map[login]failure
}

// A login is who tries to speak for which camera. The network of an IPv6 address counts, for whoever
// has one has all addresses of it.
type login struct {
	source netip.Prefix
	camera string
}

type failure struct {
	times uint
	last  time.Time
	until time.Time // no secret is looked at before
}

func newLogins() *logins { return &logins{failing: map[login]failure{}} }

func loginOf(remote, camera string) login {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return login{camera: camera}
	}
	bits := 32
	if addr = addr.Unmap().WithZone(""); addr.Is6() {
		bits = 64
	}
	source, err := addr.Prefix(bits)
	if err != nil {
		return login{camera: camera}
	}
	return login{source, camera}
}

// check returns what right says, or false and how long who is to wait until it will be asked again.
// No two are asked at once, so that many guesses at once are no more than one after the other.
func (l *logins) check(who login, now time.Time, right func() bool) (bool, time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, failed := l.failing[who]
	if failed && now.Sub(f.last) > forgetFailure {
		f = failure{}
	}
	if wait := f.until.Sub(now); wait > 0 {
		return false, wait
	}
	if right() {
		if failed {
			delete(l.failing, who)
		}
		return true, 0
	}
	if !failed && len(l.failing) >= maxFailing {
		l.forget(now)
	}
	f.times, f.last = f.times+1, now
	if f.times > freeFailures {
		f.until = now.Add(min(firstWait<<min(f.times-freeFailures-1, 16), longestWait))
	}
	l.failing[who] = f
	return false, 0
}

// forget makes room: of those who failed long ago, or else of any one.
func (l *logins) forget(now time.Time) {
	for who, f := range l.failing {
		if now.Sub(f.last) > forgetFailure {
			delete(l.failing, who)
		}
	}
	for who := range l.failing {
		if len(l.failing) < maxFailing {
			return
		}
		delete(l.failing, who)
	}
}

package ingest

import (
	"maps"
	"sync"
	"sync/atomic"
)

// names keeps one copy of each of the strings that come again and again, up to a bound; a string
// beyond it is allocated every time. Look-ups take no lock.
type names struct {
	bound int
	m     atomic.Pointer[map[string]string]
	mu    sync.Mutex
}

// maxKept is how long a string may be to be kept.
const maxKept = MaxName

func newNames(bound int) *names {
	n := &names{bound: bound}
	n.m.Store(&map[string]string{})
	return n
}

// get returns the kept copy of b.
func (n *names) get(b []byte) (string, bool) {
	s, ok := (*n.m.Load())[string(b)]
	return s, ok
}

// intern returns b as a string, kept where there is room.
func (n *names) intern(b []byte) string {
	if s, ok := n.get(b); ok {
		return s
	}
	s := string(b)
	if len(b) > maxKept || len(*n.m.Load()) >= n.bound {
		return s
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	old := *n.m.Load()
	if have, ok := old[s]; ok {
		return have
	}
	if len(old) < n.bound {
		grown := make(map[string]string, len(old)+1)
		maps.Copy(grown, old)
		grown[s] = s
		n.m.Store(&grown)
	}
	return s
}

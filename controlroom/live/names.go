package live

import (
	"sync"
	"sync/atomic"
)

// maxNames bounds how many different metric names the city may have.
const maxNames = 1 << 17

// names gives every metric name a number, for good. Numbers are read without a lock.
type names struct {
	mu   sync.RWMutex
	ids  map[string]uint32
	list atomic.Pointer[[]name]
}

type name struct {
	text string
	key  []byte // as a JSON member: "power_w":
}

// noName is the number of a name that could not be taken any more.
const noName = ^uint32(0)

func newNames(known ...string) *names {
	n := &names{ids: map[string]uint32{}}
	n.list.Store(&[]name{})
	for _, s := range known {
		n.id(s)
	}
	return n
}

func (n *names) id(s string) uint32 {
	n.mu.RLock()
	id, ok := n.ids[s]
	n.mu.RUnlock()
	if ok {
		return id
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if id, ok := n.ids[s]; ok {
		return id
	}
	list := *n.list.Load()
	if len(list) >= maxNames {
		return noName
	}
	id = uint32(len(list))
	// Readers hold the shorter slice and never look past its end: appending in place is safe.
	list = append(list, name{text: s, key: append(AppendString(nil, s), ':')})
	n.list.Store(&list)
	n.ids[s] = id
	return id
}

func (n *names) all() []name { return *n.list.Load() }

// Metrics are the names of all metrics that devices have said, in the order in which they came; nil where
// none has said anything yet.
func (s *State) Metrics() []string {
	all := s.names.all()
	if len(all) <= 2 { // those of positions, which are there before anybody says them
		return nil
	}
	out := make([]string, len(all))
	for i := range all {
		out[i] = all[i].text
	}
	return out
}

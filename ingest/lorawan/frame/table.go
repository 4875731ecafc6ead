package frame

import (
	"slices"
	"sync"
	"sync/atomic"

	"panormus/devices"
)

// Bounds of a Table.
const (
	// MaxShared is how many devices may share a DevAddr: as many MICs may be tried a frame.
	MaxShared = 64
	// DefaultMaxSessions is how many sessions a Table holds unless told, each about 1.5 kB.
	DefaultMaxSessions = 500_000
)

const shards = 256

// A Table finds the session that signed a frame among those with its DevAddr. Looking up takes one
// of 256 read locks, opening the lock of one device. All methods are safe for concurrent use.
type Table struct {
	max    int
	shards [shards]shard

	mu sync.Mutex // of writers
	by map[string]*Entry
}

type shard struct {
	mu sync.RWMutex
	m  map[DevAddr][]*Entry // the slices are never changed, only replaced
}

// An Entry is one device in a Table.
type Entry struct {
	Device  string // the registry's id
	Policy  Policy
	Session *Session
	// Known is at the disposal of whoever opens frames, to save a look-up a frame.
	Known atomic.Pointer[Known]

	mu    sync.Mutex
	state State
}

// Known is what was known of an Entry's device at some version of the registry.
type Known struct {
	Version uint64
	Asset   *devices.Asset // nil for a device that left the registry meanwhile
	DevEUI  string         // in lower case
}

// NewTable makes an empty table of at most max sessions; 0 for DefaultMaxSessions.
func NewTable(max int) *Table {
	if max <= 0 {
		max = DefaultMaxSessions
	}
	t := &Table{max: max, by: map[string]*Entry{}}
	for i := range t.shards {
		t.shards[i].m = map[DevAddr][]*Entry{}
	}
	return t
}

func (t *Table) shard(a DevAddr) *shard { return &t.shards[a%shards] }

// Put enters the session of a device or replaces the one it had. The same keys again keep their
// state; other ones begin with what state says, the zero State for a new session.
func (t *Table) Put(device string, k Keys, policy Policy, state State) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := &Entry{Device: device, Policy: policy, state: state}
	old := t.by[device]
	if old != nil && old.Session.keys == k {
		if old.Policy == policy {
			return nil
		}
		e.Session, e.state = old.Session, old.State()
	} else {
		e.Session = NewSession(k)
	}
	if old == nil && len(t.by) >= t.max {
		return Rejectf(ReasonTooMany, "%d sessions, want at most %d", len(t.by)+1, t.max)
	}
	sh := t.shard(k.DevAddr)
	if shared := len(sh.m[k.DevAddr]); shared >= MaxShared && (old == nil || old.Session.DevAddr() != k.DevAddr) {
		return Rejectf(ReasonTooMany, "%d devices share dev_addr %s, want at most %d", shared+1, k.DevAddr, MaxShared)
	}
	if old != nil {
		t.drop(old)
	}
	t.by[device] = e
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.m[k.DevAddr] = append(slices.Clone(sh.m[k.DevAddr]), e)
	return nil
}

// Remove forgets a device.
func (t *Table) Remove(device string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.by[device]; e != nil {
		t.drop(e)
	}
}

// drop takes e out. t.mu is held.
func (t *Table) drop(e *Entry) {
	delete(t.by, e.Device)
	a := e.Session.DevAddr()
	sh := t.shard(a)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	rest := slices.DeleteFunc(slices.Clone(sh.m[a]), func(other *Entry) bool { return other == e })
	if len(rest) == 0 {
		delete(sh.m, a)
	} else {
		sh.m[a] = rest
	}
}

// Len is how many sessions the table holds.
func (t *Table) Len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.by)
}

// States calls yield with the state of every device, to be kept.
func (t *Table) States(yield func(device string, st State) bool) {
	t.mu.Lock()
	all := make([]*Entry, 0, len(t.by))
	for _, e := range t.by {
		all = append(all, e)
	}
	t.mu.Unlock()
	for _, e := range all {
		if !yield(e.Device, e.State()) {
			return
		}
	}
}

// State is what is remembered of the device's frames.
func (e *Entry) State() State {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.state
}

// Candidates are the entries with the DevAddr. The slice must not be changed.
func (t *Table) Candidates(a DevAddr) []*Entry {
	sh := t.shard(a)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.m[a]
}

// Open finds the device that signed f, as Opener.Open does for one session.
func (t *Table) Open(o *Opener, f *Frame, link Link) (*Entry, Opened, error) {
	all := t.Candidates(f.DevAddr)
	if len(all) == 0 {
		return nil, Opened{}, Rejectf(ReasonDevAddr, "dev_addr %s, of which no session is known", f.DevAddr)
	}
	for _, e := range all {
		out, err := e.open(o, f, link)
		if err == errMIC {
			continue
		}
		return e, out, err
	}
	return nil, Opened{}, errMIC
}

func (e *Entry) open(o *Opener, f *Frame, link Link) (Opened, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return o.Open(f, e.Session, &e.state, link, e.Policy)
}

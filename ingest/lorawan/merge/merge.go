// Package merge makes one uplink of the copies that several gateways send of a frame.
//
// A Merger holds the first copy for a while and hands all that came out together. It knows no
// clock: whoever owns it says what time it is. It is not safe for concurrent use, and bounded.
package merge

import (
	"encoding/binary"
	"time"

	"panormus/ingest/lorawan/frame"
)

// A Key is what all copies of one frame have in common, and no two frames.
type Key struct {
	DevAddr frame.DevAddr
	FCnt    uint16
	MIC     uint32
}

// KeyOf is the key of a parsed data frame.
func KeyOf(f *frame.Frame) Key { return Key{DevAddr: f.DevAddr, FCnt: f.FCnt, MIC: f.MIC} }

// RawKey is the key of a frame of any kind, 5 bytes or more, that was not parsed: a data frame's is
// KeyOf's. Shorter ones have the zero Key.
func RawKey(phy []byte) Key {
	if len(phy) < 5 {
		return Key{}
	}
	k := Key{DevAddr: frame.DevAddr(binary.LittleEndian.Uint32(phy[1:])), MIC: binary.LittleEndian.Uint32(phy[len(phy)-4:])}
	if frame.TypeOf(phy[0]).IsData() && len(phy) >= frame.MinData {
		k.FCnt = binary.LittleEndian.Uint16(phy[6:])
	}
	return k
}

// Defaults of a Merger.
const (
	DefaultWindow  = 200 * time.Millisecond
	DefaultMax     = 65_536
	DefaultCopies  = 64
	DefaultMaxLate = 5 * time.Second
)

// A Merger gathers copies of frames. T is what a copy is to its owner: a reception, the bytes, what
// is owed for them. Set the fields before the first Add; New sets the defaults.
type Merger[T any] struct {
	// Window is how long the first copy waits for others.
	Window time.Duration
	// Late is how long after it a copy is still known as one and dropped, so that a slow gateway
	// makes no second uplink.
	Late time.Duration
	// Max is how many frames wait, and how many are remembered; beyond, the oldest goes at once.
	Max int
	// Copies is how many copies of a frame are kept; more are counted and dropped.
	Copies int
	// Better reports whether a is the better copy of the two.
	Better func(a, b *T) bool

	// One map for those that wait and those remembered: at a city's rate each look-up is a miss of
	// the processor's cache. Both are also in lists by time.
	groups    map[Key]*group[T]
	start     time.Time // of the first Add; times below are since then, as the monotonic clock says
	waiting   fifo[T]
	done      fifo[T]
	freeGroup *group[T]
	freeCopy  [][]T
	stats     Stats
}

type group[T any] struct {
	key    Key
	until  time.Duration // since start: handed out then, or forgotten
	done   bool          // handed out
	over   bool          // its key is a later group's
	best   int
	copies []T
	next   *group[T] // in its list, or of the free ones
}

// A fifo is a list of groups in order of time.
type fifo[T any] struct {
	first, last *group[T]
	n           int
}

func (f *fifo[T]) push(g *group[T]) {
	g.next = nil
	if f.last == nil {
		f.first = g
	} else {
		f.last.next = g
	}
	f.last = g
	f.n++
}

func (f *fifo[T]) pop() *group[T] {
	g := f.first
	if f.first = g.next; f.first == nil {
		f.last = nil
	}
	g.next = nil
	f.n--
	return g
}

// Stats count what a Merger did. Copies = Merged copies handed out + Dropped + Late + those waiting.
type Stats struct {
	Copies  uint64 // handed in
	Frames  uint64 // handed out
	Late    uint64 // copies of frames handed out before, which were dropped
	Dropped uint64 // copies beyond Merger.Copies
	Early   uint64 // frames handed out before their time for want of room
}

// New makes a merger with the defaults.
func New[T any](better func(a, b *T) bool) *Merger[T] {
	return &Merger[T]{Window: DefaultWindow, Late: DefaultMaxLate, Max: DefaultMax, Copies: DefaultCopies, Better: better}
}

// Merged is one frame with all its copies. It is valid until out returns.
type Merged[T any] struct {
	Key    Key
	Copies []T // in order of arrival
	Best   int // index of the best copy
}

// Add takes in a copy that came at the time now. It hands to out what had to make room for it, if
// anything. A copy is reported as late when its frame was handed out before: it is dropped.
func (m *Merger[T]) Add(now time.Time, k Key, copy T, out func(Merged[T])) (late bool) {
	if m.groups == nil {
		m.groups, m.start = map[Key]*group[T]{}, now
	}
	at := now.Sub(m.start)
	m.stats.Copies++
	g := m.groups[k]
	switch {
	case g != nil && !g.done:
		if len(g.copies) >= m.Copies {
			m.stats.Dropped++
			return false
		}
		g.copies = append(g.copies, copy)
		if last := len(g.copies) - 1; m.Better != nil && m.Better(&g.copies[last], &g.copies[g.best]) {
			g.best = last
		}
		return false
	case g != nil && at < g.until:
		m.stats.Late++
		return true
	case g != nil: // remembered beyond its time
		g.over = true
	}
	if m.waiting.n >= m.Max {
		m.stats.Early++
		m.hand(at, out)
	}
	if g = m.freeGroup; g != nil {
		m.freeGroup = g.next
	} else {
		g = &group[T]{}
	}
	*g = group[T]{key: k, until: at + m.Window}
	if n := len(m.freeCopy); n > 0 {
		g.copies, m.freeCopy = m.freeCopy[n-1], m.freeCopy[:n-1]
	}
	g.copies = append(g.copies, copy)
	m.groups[k] = g
	m.waiting.push(g)
	return false
}

// Due hands out the frames whose time has come, oldest first.
func (m *Merger[T]) Due(now time.Time, out func(Merged[T])) {
	at := now.Sub(m.start)
	for m.waiting.n > 0 && m.waiting.first.until <= at {
		m.hand(at, out)
	}
	m.forget(at, 0)
}

// Flush hands out everything that waits.
func (m *Merger[T]) Flush(now time.Time, out func(Merged[T])) {
	for m.waiting.n > 0 {
		m.hand(now.Sub(m.start), out)
	}
}

// Next is when Due has something to do; ok is false while nothing waits.
func (m *Merger[T]) Next() (at time.Time, ok bool) {
	if m.waiting.n == 0 {
		return time.Time{}, false
	}
	return m.start.Add(m.waiting.first.until), true
}

// Waiting is how many frames wait.
func (m *Merger[T]) Waiting() int { return m.waiting.n }

// Stats since the start.
func (m *Merger[T]) Stats() Stats { return m.stats }

// freeMost bounds the memory that is kept for groups and copies to come.
const freeMost = 16_384

// hand hands the oldest group out and remembers its key for a while.
func (m *Merger[T]) hand(at time.Duration, out func(Merged[T])) {
	g := m.waiting.pop()
	m.stats.Frames++
	out(Merged[T]{Key: g.key, Copies: g.copies, Best: g.best})
	clear(g.copies)
	if len(m.freeCopy) < freeMost {
		m.freeCopy = append(m.freeCopy, g.copies[:0])
	}
	m.forget(at, 1)
	g.copies, g.done, g.until = nil, true, at+m.Late
	m.done.push(g)
}

// forget drops the keys whose time is over, and the oldest until room more fit.
func (m *Merger[T]) forget(at time.Duration, room int) {
	for m.done.n > 0 && (m.done.first.until <= at || m.done.n+room > m.Max) {
		g := m.done.pop()
		if !g.over {
			delete(m.groups, g.key)
		}
		g.next, m.freeGroup = m.freeGroup, g
	}
}

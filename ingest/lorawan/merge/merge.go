// Package merge makes one uplink of the copies that several gateways send of a frame, and counts
// the frames that nobody heard.
//
// A Merger holds the first copy for a while and hands all that came out together. It knows no
// clock: whoever owns it says what time it is. Loss and GatewayLoss count gaps in frame counters
// over a sliding window. None is safe for concurrent use; all are bounded.
package merge

import (
	"container/list"
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

	waiting map[Key]*group[T]
	queue   list.List // of *group[T], in order of arrival
	done    map[Key]time.Time
	gone    []Key // of done, in order, from gone[first]
	first   int
	free    []*group[T]
	stats   Stats
}

type group[T any] struct {
	key    Key
	due    time.Time
	copies []T
	best   int
	place  *list.Element
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
	if m.waiting == nil {
		m.waiting, m.done = map[Key]*group[T]{}, map[Key]time.Time{}
	}
	m.stats.Copies++
	if g := m.waiting[k]; g != nil {
		if len(g.copies) >= m.Copies {
			m.stats.Dropped++
			return false
		}
		g.copies = append(g.copies, copy)
		if last := len(g.copies) - 1; m.Better != nil && m.Better(&g.copies[last], &g.copies[g.best]) {
			g.best = last
		}
		return false
	}
	if until, ok := m.done[k]; ok && now.Before(until) {
		m.stats.Late++
		return true
	}
	if len(m.waiting) >= m.Max {
		m.stats.Early++
		m.hand(m.queue.Front().Value.(*group[T]), now, out)
	}
	g := m.group()
	g.key, g.due = k, now.Add(m.Window)
	g.copies = append(g.copies, copy)
	m.waiting[k] = g
	g.place = m.queue.PushBack(g)
	return false
}

func (m *Merger[T]) group() *group[T] {
	if n := len(m.free); n > 0 {
		g := m.free[n-1]
		m.free = m.free[:n-1]
		return g
	}
	return &group[T]{}
}

// Due hands out the frames whose time has come, oldest first.
func (m *Merger[T]) Due(now time.Time, out func(Merged[T])) {
	for e := m.queue.Front(); e != nil; e = m.queue.Front() {
		g := e.Value.(*group[T])
		if g.due.After(now) {
			break
		}
		m.hand(g, now, out)
	}
	m.forget(now, 0)
}

// Flush hands out everything that waits.
func (m *Merger[T]) Flush(now time.Time, out func(Merged[T])) {
	for e := m.queue.Front(); e != nil; e = m.queue.Front() {
		m.hand(e.Value.(*group[T]), now, out)
	}
}

// Next is when Due has something to do; ok is false while nothing waits.
func (m *Merger[T]) Next() (at time.Time, ok bool) {
	if e := m.queue.Front(); e != nil {
		return e.Value.(*group[T]).due, true
	}
	return time.Time{}, false
}

// Waiting is how many frames wait.
func (m *Merger[T]) Waiting() int { return len(m.waiting) }

// Stats since the start.
func (m *Merger[T]) Stats() Stats { return m.stats }

// hand hands a group out and remembers its key for a while.
func (m *Merger[T]) hand(g *group[T], now time.Time, out func(Merged[T])) {
	m.queue.Remove(g.place)
	delete(m.waiting, g.key)
	m.stats.Frames++
	out(Merged[T]{Key: g.key, Copies: g.copies, Best: g.best})
	m.forget(now, 1)
	m.done[g.key] = now.Add(m.Late)
	m.gone = append(m.gone, g.key)
	clear(g.copies)
	*g = group[T]{copies: g.copies[:0]}
	if len(m.free) < 1024 {
		m.free = append(m.free, g)
	}
}

// forget drops the keys whose time is over, and the oldest until room more fit.
func (m *Merger[T]) forget(now time.Time, room int) {
	for m.first < len(m.gone) {
		k := m.gone[m.first]
		if until, ok := m.done[k]; ok && now.Before(until) && len(m.gone)-m.first+room <= m.Max {
			break
		}
		delete(m.done, k)
		m.first++
	}
	if m.first > 1024 && m.first > len(m.gone)/2 {
		m.gone = append(m.gone[:0], m.gone[m.first:]...)
		m.first = 0
	}
}

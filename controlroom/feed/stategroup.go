package feed

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"panormus/controlroom/live"
)

// An entry is a device that changed, since its version from; 0 stands for all that is known of it.
type entry struct {
	device *live.Device
	from   uint32
}

// A frame is one numbered change of a state group.
type frame struct {
	seq     uint64
	entries []entry
	shared  shared
	fanout  fanout
}

const (
	// inStep is how many frames behind a client may be and still get the shared ones.
	inStep = 8
	// leastHeld is how many entries a group holds at least, for clients that resume or lag.
	leastHeld = 1 << 16
	// framesHeld is how many frames back a client may resume or lag.
	framesHeld = 4096
	// pageItems is how many devices a page of a snapshot holds.
	pageItems = 500
	// snapshotAge is how long a snapshot is given to further clients.
	snapshotAge = time.Second
)

// A stateGroup serves the state subscriptions with one filter, rate and encoding. A device that has
// once matched stays: what moves out of the box is still shown, where it is. What moves out of what the
// subscribers may see is gone: whether they see it is asked once more when it is written.
type stateGroup struct {
	hub      *Hub
	state    *live.State
	epoch    string
	interval time.Duration
	binary   bool
	match    matcher
	sees     live.Sees // nil: all are

	// Under the Hub's lock.
	pending  []entry
	clean    int // how many of pending have been made distinct
	lastSeal time.Time

	mu       sync.Mutex
	members  []uint64 // bits by live.Device.Index
	count    int      // of members
	least    int      // leastHeld, but for tests
	seq      uint64
	frames   []*frame // the newest, in order
	held     int      // entries of frames
	old      []entry  // of the frames before those
	oldFirst uint64   // the first of them; 0: none
	snap     *snapshot
	subs     subscribers
}

// A matcher says which devices a group shows.
type matcher struct {
	sees                 live.Sees
	domain, zone, device set
	tiles                live.Tiles
	boxed                bool
}

func (m *matcher) has(id string, w live.Where) bool {
	return (m.sees == nil || m.sees(id, w)) && m.domain.has(w.Domain) && m.zone.has(w.Zone) && m.device.has(id) &&
		(!m.boxed || w.Placed && m.tiles.Has(w.X, w.Y))
}

func newStateGroup(h *Hub, epoch string, r *request, sees live.Sees) *stateGroup {
	state := h.cfg.State
	g := &stateGroup{
		hub: h, state: state, epoch: epoch, least: leastHeld, interval: r.interval(), binary: r.Encoding == "bin", sees: sees,
		match: matcher{sees: sees, domain: setOf(r.Filter.Domain), zone: setOf(r.Filter.Zone), device: setOf(r.Filter.Device)},
	}
	if r.Filter.BBox != nil {
		g.match.boxed, g.match.tiles = true, r.Filter.box().Snap()
	}
	// One bit too many here is mended by the device's next change, one too few by the change that
	// the device has yet to be collected for.
	for _, d := range state.Devices() {
		if d == nil {
			continue
		}
		if w, there := d.Where(); there && g.match.has(d.ID(), w) {
			g.add(d.Index())
		}
	}
	return g
}

func (g *stateGroup) has(i int) bool {
	return i/64 < len(g.members) && g.members[i/64]&(1<<(i%64)) != 0
}

func (g *stateGroup) add(i int) {
	for i/64 >= len(g.members) {
		g.members = append(g.members, make([]uint64, max(64, len(g.members)/4))...)
	}
	g.members[i/64] |= 1 << (i % 64)
	g.count++
}

// note takes what changed in the city.
func (g *stateGroup) note(changes []live.Change) {
	g.mu.Lock()
	for i := range changes {
		c := &changes[i]
		index, from := c.Device.Index(), c.From
		switch member := g.has(index); {
		case c.Removed || g.sees != nil && !g.sees(c.Device.ID(), c.Where):
			if !member {
				continue
			}
			g.members[index/64] &^= 1 << (index % 64)
			g.count--
		case member:
		case g.match.has(c.Device.ID(), c.Where):
			g.add(index)
			from = 0
		default:
			continue
		}
		g.pending = append(g.pending, entry{c.Device, from})
	}
	g.mu.Unlock()
	if len(g.pending) > 2*g.clean+4096 {
		g.pending = distinct(g.pending)
		g.clean = len(g.pending)
	}
}

// due is when the group wants to seal a frame, and false if it has nothing to.
func (g *stateGroup) due() (time.Time, bool) {
	return g.lastSeal.Add(g.interval), len(g.pending) > 0
}

// sealed notes that a frame was sealed. Groups go on at their own instants of the interval: all at once they would
// have their clients wait for one another's. One that begins after a silence takes an instant by lot.
func (g *stateGroup) sealed(now time.Time) {
	due := g.lastSeal.Add(g.interval)
	if now.Sub(due) < g.interval {
		g.lastSeal = due
	} else {
		g.lastSeal = now.Add(rand.N(g.interval/2 + 1))
	}
}

// seal makes a frame of what is pending and has it written to the subscribers.
func (g *stateGroup) seal(now time.Time) {
	f := &frame{entries: distinct(g.pending)}
	g.pending, g.clean = make([]entry, 0, len(f.entries)), 0
	g.sealed(now)
	g.mu.Lock()
	g.seq++
	f.seq = g.seq
	f.shared = g.sharedDelta(f.entries, f.seq)
	g.frames = append(g.frames, f)
	g.held += len(f.entries)
	if n := len(g.frames); n > inStep {
		past := g.frames[n-1-inStep]
		past.shared.release()
		if took, any := past.fanout.took(); any {
			g.hub.metrics.fanout.Observe(took.Seconds())
		}
	}
	if g.held > g.bound() || len(g.frames) > framesHeld {
		g.fold()
	}
	clients := g.subs.all()
	g.mu.Unlock()
	g.hub.startRound(clients)
}

func (g *stateGroup) bound() int { return max(g.least, 2*g.count) }

// fold puts the older half of the frames together as the old part: distinct devices, so that the old
// part is bounded by the members of the group, however long it reaches back.
func (g *stateGroup) fold() {
	n := max(1, len(g.frames)/2)
	if g.oldFirst == 0 || len(g.old) > g.bound() { // the latter by devices that were removed since
		g.old, g.oldFirst = nil, g.frames[0].seq
	}
	for _, f := range g.frames[:n] {
		g.old = append(g.old, f.entries...)
		g.held -= len(f.entries)
	}
	g.old = distinct(g.old)
	g.frames = slices.Clone(g.frames[n:])
}

// first is the lowest sequence that can still be served.
func (g *stateGroup) first() uint64 {
	first := g.seq + 1
	switch {
	case g.oldFirst != 0:
		first = g.oldFirst
	case len(g.frames) > 0:
		first = g.frames[0].seq
	}
	if g.seq >= framesHeld {
		first = max(first, g.seq-framesHeld+1)
	}
	return first
}

func (g *stateGroup) sharedDelta(entries []entry, seq uint64) shared {
	if g.binary {
		return shared{
			kind: websocket.BinaryMessage, encode: func() []byte { return g.encode(entries) },
			header: func(id string) []byte { return binaryHead(binaryDelta, id, seq) },
		}
	}
	return shared{
		kind: websocket.TextMessage, encode: func() []byte { return g.encode(entries) },
		header: func(id string) []byte { return deltaHead(id, seq) }, tail: deltaTail,
	}
}

// encode writes the entries as they are now.
func (g *stateGroup) encode(entries []entry) []byte {
	if g.binary {
		b := g.state.NewBinary()
		b.Sees = g.sees
		for _, e := range entries {
			b.Append(e.device, e.from)
		}
		return b.Bytes()
	}
	out := make([]byte, 0, 128*len(entries)+16)
	for i, e := range entries {
		if i > 0 {
			out = append(out, ',')
		}
		out = g.state.AppendSeen(out, e.device, e.from, g.sees)
	}
	return out
}

// A snapshot is the group's devices after frame seq, in pages that are encoded when first wanted.
type snapshot struct {
	seq   uint64
	made  time.Time
	pages []*shared
}

// snapshot returns one that is at most snapshotAge old. The caller holds the lock.
func (g *stateGroup) snapshot(now time.Time) *snapshot {
	if g.snap != nil && now.Sub(g.snap.made) < snapshotAge && g.snap.seq+1 >= g.first() {
		return g.snap
	}
	var all []entry
	devices := g.state.Devices()
	for i, d := range devices {
		if d != nil && g.has(i) {
			all = append(all, entry{device: d})
		}
	}
	s := &snapshot{seq: g.seq, made: now}
	for first := true; first || len(all) > 0; first = false {
		page := all[:min(len(all), pageItems)]
		all = all[len(page):]
		more := len(all) > 0
		p := &shared{kind: websocket.TextMessage, encode: func() []byte { return g.encode(page) }, tail: deltaTail,
			header: func(id string) []byte { return snapshotHead(id, g.epoch, s.seq, more) }}
		if g.binary {
			p.kind, p.tail = websocket.BinaryMessage, nil
			p.header = func(id string) []byte { return binarySnapshotHead(id, g.epoch, s.seq, more) }
		}
		s.pages = append(s.pages, p)
	}
	g.snap = s
	return s
}

// forget lets go of a snapshot that will not be given to anybody any more.
func (g *stateGroup) forget(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.snap != nil && now.Sub(g.snap.made) >= snapshotAge {
		g.snap = nil
	}
}

// join adds a subscriber at the place it resumes from, or with a snapshot before it.
func (g *stateGroup) join(c *client, id string, from *resume) subscription {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.subs.add(c)
	s := &stateSubscription{group: g, client: c, id: id}
	if from != nil && from.Epoch == g.epoch && from.Seq <= g.seq && from.Seq+1 >= g.first() {
		s.at = from.Seq
		return s
	}
	s.snap = g.snapshot(time.Now())
	s.at = s.snap.seq
	return s
}

func (g *stateGroup) subscribers() *subscribers { return &g.subs }
func (g *stateGroup) lock() sync.Locker         { return &g.mu }

// A stateSubscription is a client's place in a group. It belongs to whoever holds the client's writing.
type stateSubscription struct {
	group  *stateGroup
	client *client
	id     string
	at     uint64 // the last frame that was sent
	snap   *snapshot
	page   int
	calm   time.Time // nothing before: the client lagged
}

// calmFor is how long a client that had to be caught up is left alone: it is conflated harder.
const calmFor = 250 * time.Millisecond

func (s *stateSubscription) step(now time.Time) ([]message, time.Time, error) {
	if s.snap != nil {
		m := s.snap.pages[s.page].message(s.id)
		if s.page++; s.page == len(s.snap.pages) {
			s.snap = nil
		}
		return []message{m}, time.Time{}, nil
	}
	if now.Before(s.calm) {
		return nil, s.calm, nil
	}
	g := s.group
	g.mu.Lock()
	if s.at == g.seq {
		g.mu.Unlock()
		return nil, time.Time{}, nil
	}
	behind := g.seq - s.at
	if behind <= min(inStep, uint64(len(g.frames))) {
		f := g.frames[uint64(len(g.frames))-behind]
		g.mu.Unlock()
		s.at++
		m := f.shared.message(s.id)
		m.fanout = &f.fanout
		return []message{m}, time.Time{}, nil
	}
	if s.at+1 < g.first() {
		g.mu.Unlock()
		return nil, time.Time{}, errSlow
	}
	entries, last := g.since(s.at), g.seq
	g.mu.Unlock()
	out := s.caughtUp(distinct(entries), last)
	s.client.hub.metrics.merged.Add(float64(len(out) - 1))
	s.calm = now.Add(calmFor)
	return out, time.Time{}, nil
}

// since is what changed after the frame at. The caller holds the lock.
func (g *stateGroup) since(at uint64) []entry {
	var out []entry
	if len(g.frames) == 0 || at+1 < g.frames[0].seq {
		out = append(out, g.old...)
	}
	for _, f := range g.frames {
		if f.seq > at {
			out = append(out, f.entries...)
		}
	}
	return out
}

// caughtUp brings the client from where it is to frame last. The numbers between must be there, so
// the first frame has it all, with last values, and the others are empty: whoever resumes from
// between gets the same values once more and ends the same.
func (s *stateSubscription) caughtUp(entries []entry, last uint64) []message {
	delta := s.group.sharedDelta(entries, s.at+1)
	out := []message{delta.message(s.id)}
	for s.at++; s.at < last; s.at++ {
		empty := s.group.sharedDelta(nil, s.at+1)
		out = append(out, empty.message(s.id))
	}
	return out
}

func (s *stateSubscription) leave() {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	s.group.subs.remove(s.client)
}

var scratch = sync.Pool{New: func() any { return new([]int32) }}

// distinct keeps one entry a device, with the lowest from, in the order of first appearance. It
// reuses the slice.
func distinct(entries []entry) []entry {
	if len(entries) < 2 {
		return entries
	}
	place := scratch.Get().(*[]int32)
	defer scratch.Put(place)
	out := entries[:0]
	for _, e := range entries {
		i := e.device.Index()
		if i >= len(*place) {
			*place = append(*place, make([]int32, i+1-len(*place)+len(*place)/4)...)
		}
		if at := (*place)[i]; at > 0 {
			out[at-1].from = min(out[at-1].from, e.from)
			continue
		}
		out = append(out, e)
		(*place)[i] = int32(len(out))
	}
	for _, e := range out {
		(*place)[e.device.Index()] = 0
	}
	return out
}

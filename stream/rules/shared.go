package rules

import (
	"cmp"
	"math"
	"slices"
)

// A transition is a device's condition becoming true or false for a key that spans devices.
type transition struct {
	seq      uint64
	n        int
	live     bool // caused by a tick: never a replay
	on       bool
	rule     string
	key      string
	device   string
	domain   string
	zone     string
	at       int64 // event time, Unix ms
	received int64
	evidence evidence
	reason   string
}

// clockMove says how far a partition's event clock was at the end of a batch.
type clockMove struct {
	seq          uint64
	live         bool // of a tick
	at, received int64
}

// shared is the shard of the keys that span partitions.
type shared struct { // it belongs to the goroutine that calls Settle
	e      *Engine
	groups map[groupKey]*group
	rules  map[string]*bound // the shared ones, by id
	keys   map[string]int    // groups by rule
	clock  int64
	seq    uint64 // of the snapshot it was restored from: what came before is in it
	next   int64  // no pending key is due before it
	order  int
	out    []made
	count  shardCounts

	windows  windows
	places   []windowClock          // of the partitions, as far as their batches are in the windows
	taken    uint64                 // the newest of those
	asked    []asked                // in the log\'s order, not in the windows yet
	keyed    map[groupKey]*winState // of rules with windows
	frame    frame
	sun      sunCache
	received int64 // newest, Unix ms
	written  int   // bytes of the last snapshot

	settler *settler                                    // nil where no rule is judged twice
	hear    func(seq uint64, received int64, v verdict) // of what groups come to; nil: it is put out
	telling struct {                                    // what the next event of an account is made by
		seq      uint64
		received int64
	}

	board   *board
	holding map[joinKey]held // the keys that devices hold up by rules that ask other devices
	heldEnd int64            // no schedule ends any of them before it
}

type groupKey struct{ rule, key string }

// group is a key's episode and the devices that hold it up.
type group struct {
	state    episodeState
	start    int64
	time     int64 // newest event time
	members  map[string]struct{}
	domain   string
	device   string // the one that moved last
	zone     string
	evidence evidence
}

func newShared(e *Engine) *shared {
	s := &shared{e: e, groups: map[groupKey]*group{}, keys: map[string]int{}, keyed: map[groupKey]*winState{}}
	s.frame = frame{cfg: &e.cfg, sun: &s.sun}
	s.windows.lateness = e.cfg.Lateness.Milliseconds()
	s.places = make([]windowClock, e.cfg.Partitions)
	s.board, s.holding = newBoard(), map[joinKey]held{}
	s.adopt(e.prog)
	return s
}

// adopt takes the rules of a program.
func (s *shared) adopt(p *program) {
	s.rules = map[string]*bound{}
	s.count.rules = make([]ruleCounts, len(p.set.Rules))
	add := func(pl *plan) {
		for _, r := range pl.rules {
			if r.shared() {
				s.rules[r.ID] = r
			}
		}
	}
	add(p.other)
	for _, pl := range p.plans {
		add(pl)
	}
}

// keyOf is the key of a shared rule for the frame's device; false where it has none.
func (r *bound) keyOf(f *frame) (string, bool) {
	if r.key != nil {
		k, ok := r.key(f)
		return clip(k, 256), ok && k != ""
	}
	switch r.Key {
	case "zone":
		z := f.asset().Zone
		return z, z != ""
	case "device": // of rules that ask other devices
		return f.dev.id, true
	}
	return f.dev.domain, true
}

// joins notes that the device's condition holds for its key.
func (s *shard) joins(d *device, r *bound, ep *episode) {
	key, ok := r.keyOf(&s.frame)
	if ep != nil {
		if ok && d.keyOf(ep.rule) == key {
			return
		}
		s.leaves(d, r, ep, "")
	}
	if !ok {
		s.count.rules[r.global].undecided(&s.frame)
		return
	}
	d.episodes.add(episode{rule: int32(r.index), state: member, start: s.frame.now})
	d.join(int32(r.index), key)
	s.armEnd(d, r, s.frame.now)
	s.move(d, r, key, true, "")
}

// leaves notes that the device's condition no longer holds for the key it joined.
func (s *shard) leaves(d *device, r *bound, ep *episode, reason string) {
	key := d.keyOf(ep.rule)
	d.join(ep.rule, "")
	d.drop(r.index)
	s.move(d, r, key, false, reason)
}

func (s *shard) move(d *device, r *bound, key string, on bool, reason string) {
	s.moves = append(s.moves, transition{
		seq: s.seq, n: s.n, live: s.live, on: on, rule: r.ID, key: key, device: d.id, domain: d.domain, zone: s.frame.asset().Zone,
		at: s.frame.now, received: s.received, evidence: r.evidence(&s.frame, key, s.frame.now), reason: reason,
	})
	s.n++
}

// settle applies what the devices did, in the log's order, and the clocks behind it.
func (s *shared) settle(moves []transition, clocks []clockMove) []made {
	slices.SortStableFunc(moves, func(a, b transition) int { return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.n, b.n)) })
	for len(moves) > 0 || len(clocks) > 0 {
		if len(clocks) == 0 || len(moves) > 0 && moves[0].seq <= clocks[0].seq {
			s.apply(&moves[0])
			moves = moves[1:]
			continue
		}
		s.advance(clocks[0].at, clocks[0].seq, clocks[0].received)
		clocks = clocks[1:]
	}
	for k, g := range s.groups {
		if g.state == closed && g.start < s.clock {
			s.drop(k)
		}
	}
	if s.settler != nil {
		s.settleRounds()
	}
	out := s.out
	s.out, s.order = nil, 0
	return out
}

func (s *shared) drop(k groupKey) {
	delete(s.groups, k)
	if s.keys[k.rule]--; s.keys[k.rule] <= 0 {
		delete(s.keys, k.rule)
	}
}

func (s *shared) apply(m *transition) {
	r := s.rules[m.rule]
	if r == nil || m.seq <= s.seq && !m.live {
		return
	}
	k := groupKey{m.rule, m.key}
	g := s.groups[k]
	if g == nil {
		if !m.on {
			return
		}
		if s.keys[m.rule] >= s.e.cfg.MaxKeys {
			s.count.keysRefused++
			return
		}
		s.keys[m.rule]++
		g = &group{state: closed, start: m.at - 1, members: map[string]struct{}{}}
		s.groups[k] = g
	}
	g.time = max(g.time, m.at)
	if due := g.start + r.forMs; g.state == pending && due < g.time && due < s.frame.scheduleEnd(r, g.start) {
		s.raise(r, k, g, g.start+r.forMs, m.seq, m.received)
	}
	if g.domain, g.device, g.zone = m.domain, m.device, m.zone; m.evidence.values != nil {
		g.evidence = m.evidence
	}
	if m.on {
		g.members[m.device] = struct{}{}
		if g.state != closed {
			s.decide(r, k, g, m)
			return
		}
		g.state, g.start = pending, max(g.time, g.start+1)
		if r.forMs == 0 {
			s.raise(r, k, g, g.start, m.seq, m.received)
		} else {
			s.next = min(s.next, g.start+r.forMs)
		}
		return
	}
	delete(g.members, m.device)
	if len(g.members) > 0 {
		s.decide(r, k, g, m)
		return
	}
	switch g.state {
	case raised:
		s.emit(r, k, g, "cleared", g.time, m.seq, m.received, m.reason)
		g.state = closed
		if g.time > g.start {
			s.drop(k)
		}
	case pending:
		s.drop(k)
	}
}

// decide raises a key whose time is up at this very transition, and that still holds.
func (s *shared) decide(r *bound, k groupKey, g *group, m *transition) {
	if g.state == pending && g.start+r.forMs <= g.time && g.time < s.frame.scheduleEnd(r, g.start) {
		s.raise(r, k, g, g.time, m.seq, m.received)
	}
}

func (s *shared) raise(r *bound, k groupKey, g *group, at int64, seq uint64, received int64) {
	g.state = raised
	s.emit(r, k, g, "raised", at, seq, received, "")
}

func (s *shared) emit(r *bound, k groupKey, g *group, state string, at int64, seq uint64, received int64, reason string) {
	v := verdict{rule: r, key: k.key, raised: state == "raised", start: g.start, at: at, reason: reason, evidence: g.said(r, k)}
	if s.hear != nil {
		s.hear(seq, received, v)
		return
	}
	if s.settler != nil {
		s.settler.said = append(s.settler.said, saidEarly{seq, received, v})
		return
	}
	ev := r.eventOf(state, k.key, g.start, at, received, v.evidence, reason)
	s.out = append(s.out, made{seq: seq, n: 1<<30 + s.order, Event: ev})
	s.order++
}

// said is what the group's events say.
func (g *group) said(r *bound, k groupKey) evidence {
	v := g.evidence
	v.of = &whose{g.domain, g.device, g.zone, max(len(g.members), 1)}
	if r.Key == "zone" {
		v.of.Zone = k.key
	}
	return v
}

// advance moves the shared event clock; pending keys that are due are raised in order.
func (s *shared) advance(to int64, seq uint64, received int64) {
	if to <= s.clock {
		return
	}
	s.clock = to
	if to < s.next {
		return
	}
	s.next = math.MaxInt64
	type dueGroup struct {
		at int64
		k  groupKey
	}
	var due []dueGroup
	for k, g := range s.groups {
		r := s.rules[k.rule]
		if r == nil || g.state != pending {
			continue
		}
		if at := g.start + r.forMs; at >= s.frame.scheduleEnd(r, g.start) {
			continue // its members leave with the schedule
		} else if at <= to {
			due = append(due, dueGroup{at, k})
		} else {
			s.next = min(s.next, at)
		}
	}
	slices.SortFunc(due, func(a, b dueGroup) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.k.rule, b.k.rule), cmp.Compare(a.k.key, b.k.key))
	})
	for _, d := range due {
		s.raise(s.rules[d.k.rule], d.k, s.groups[d.k], d.at, seq, received)
	}
}

// tick moves the clock where nothing arrives; now is processing time.
func (s *shared) tick(now int64) {
	c := clockMove{seq: ^uint64(0), live: true, at: now - s.e.cfg.Lateness.Milliseconds(), received: now}
	for _, m := range s.endHeld(&c, nil) {
		s.apply(&m)
	}
	s.advance(c.at, c.seq, c.received)
	if s.settler != nil {
		s.settleRounds()
	}
}

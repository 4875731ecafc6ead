package rules

import (
	"cmp"
	"maps"
	"math"
	"slices"
)

// A spanRound is what a batch of a partition says to windows whose keys span partitions.
type spanRound struct {
	seq         uint64
	partition   int
	received    int64       // the first message was
	begun, done windowClock // after its first message, and at its end
	partials    map[groupKey]*winState
	kept        []*heldMessage
}

// settleWindows adds what the partitions' batches say to the keys that span them, in the log's order, and judges
// what is over by the clock of the last partition that holds it. So it is the same in whatever rounds they come:
// windows that the worker's clock would judge between two batches are judged by the receipt of the second.
func (s *shared) settleWindows(shards []*shard) {
	var rounds []spanRound
	for _, sh := range shards {
		s.received = max(s.received, sh.received)
		rounds = append(rounds, sh.rounds...)
		clear(sh.rounds)
		sh.rounds = sh.rounds[:0]
	}
	slices.SortStableFunc(rounds, func(a, b spanRound) int { return cmp.Compare(a.seq, b.seq) })
	for i := range rounds {
		r := &rounds[i]
		if r.seq <= s.seq {
			continue // a replay of what is in the windows already
		}
		s.taken = r.seq
		for j := range s.places {
			if !s.e.second { // whose messages have numbers for receipts
				s.places[j].passed(r.received - passingMs)
			}
		}
		s.places[r.partition].follow(r.begun)
		s.moveWindows(r.seq)
		for _, k := range slices.SortedFunc(maps.Keys(r.partials), func(a, b groupKey) int {
			return cmp.Or(cmp.Compare(a.rule, b.rule), cmp.Compare(a.key, b.key))
		}) {
			s.takePartial(k, r.partials[k], r.seq)
		}
		s.takeAsked(r.seq)
		s.places[r.partition].follow(r.done)
		s.moveWindows(r.seq)
		s.passed(r.seq, r.received, r.kept)
	}
	s.takeAsked(math.MaxUint64)
}

// takeAsked gives windows what was asked for them up to a batch: see judgeAsk.
func (s *shared) takeAsked(seq uint64) {
	for len(s.asked) > 0 && s.asked[0].seq <= seq {
		a := s.asked[0]
		s.asked = s.asked[1:]
		s.takePartial(groupKey{a.state.rule.ID, a.state.key}, a.state, a.seq)
	}
}

// asked is what a message says to a key's window, with what was asked of other devices.
type asked struct {
	seq   uint64
	state *winState
}

// tickWindows moves the clocks of partitions of which nothing comes.
func (s *shared) tickWindows(now int64) {
	for i := range s.places {
		s.places[i].ticked(now)
	}
	s.moveWindows(s.taken)
	s.passed(^uint64(0), now, nil)
}

// passed notes a batch for the settler, and how far the clock is behind it.
func (s *shared) passed(seq uint64, received int64, kept []*heldMessage) {
	if st := s.settler; st != nil {
		st.rounds = append(st.rounds, settleRound{seq, kept, s.windows.clock, received})
	}
}

// moveWindows judges what is over; seq is the batch that says so.
func (s *shared) moveWindows(seq uint64) {
	var all allClocks
	for i := range s.places {
		all.add(&s.places[i])
	}
	if !all.any {
		return
	}
	s.windows.clock = max(s.windows.clock, all.at())
	s.windows.close(&s.frame, s.count.rules, s.lookAt, s.emitOf(seq), func(w *winState) { s.dropWindow(w) })
	s.frame.window = span{}
}

// lookAt puts a key's windows on its device, where the key is one.
func (s *shared) lookAt(w *winState) {
	if w.rule.spans() {
		return
	}
	if w.dev == nil {
		w.dev = newRowDevice(w.key, w.domain, nil)
	}
	if r := s.e.cfg.Registry; r != nil {
		w.dev.asset = r.Lookup(w.key)
		w.dev.tuned = overridesHash(w.dev.asset)
	}
}

func (s *shared) emitOf(seq uint64) emitFunc {
	return func(w *winState, n news) { s.emitWindow(w, n, seq) }
}

func (s *shared) takePartial(k groupKey, p *winState, seq uint64) {
	r := s.rules[k.rule]
	if r == nil || p.n == 0 {
		return
	}
	w := s.keyed[k]
	if w == nil {
		most := s.e.cfg.MaxKeys
		if r.Key == "device" {
			most = s.e.cfg.MaxDevices
		}
		if s.keys[k.rule] >= most {
			s.count.keysRefused++
			return
		}
		s.keys[k.rule]++
		w = newWinState(r, k.key, p.domain)
		s.keyed[k] = w
	}
	for i := int(p.n) - 1; i >= 0; i-- { // what came after its window was judged: the worker's clock had passed it
		at := p.number(i)
		if r.window.gap == 0 {
			at *= r.window.every
		}
		if r.window.late(at, s.windows.clock) {
			s.count.windowLate++
			s.count.rules[r.global].late++
			p.drop(i, i+1)
		}
	}
	if r.window.sequence != nil {
		w.makeRoom(p)
	}
	w.take(p)
	s.count.rules[r.global].takeDropped(w)
	tardy := int64(math.MaxInt64)
	for i := range int(p.n) {
		n := p.number(i)
		due := n + 1
		switch {
		case r.window.gap > 0:
			due = p.tails[i] + r.window.gap
		case r.window.sequence == nil:
			due = (n + 1) * r.window.every
		}
		first := due
		if r.window.gap > 0 {
			first = n + r.window.gap
		}
		if s.windows.judged(w, first) && !r.ordered() { // which is judged again in any case
			tardy = min(tardy, due)
		} else {
			s.windows.arm(w, due)
		}
	}
	if tardy != math.MaxInt64 {
		s.lookAt(w)
		s.windows.correct(w, tardy, &s.frame, s.count.rules, s.emitOf(seq))
		s.windows.next(w)
		s.frame.window = span{}
	}
	if w.armed == 0 && !w.raised {
		s.dropWindow(w)
	}
}

func (s *shared) dropWindow(w *winState) {
	w.gone = true
	k := groupKey{w.rule.ID, w.key}
	delete(s.keyed, k)
	if s.keys[k.rule]--; s.keys[k.rule] <= 0 {
		delete(s.keys, k.rule)
	}
}

func (s *shared) emitWindow(w *winState, n news, seq uint64) {
	switch {
	case w.rule.ordered() && s.hear != nil:
		s.hear(seq, s.received, w.verdict(n))
		return
	case w.rule.ordered() && s.settler != nil:
		s.settler.said = append(s.settler.said, saidEarly{seq, s.received, w.verdict(n)})
		return
	}
	s.out = append(s.out, made{seq: seq, n: 1<<30 + s.order, Event: w.event(n, s.received)})
	s.order++
}

// endWindow ends what a key's windows have raised, with a reason.
func (s *shared) endWindow(w *winState, now int64, reason string) {
	if w.raised {
		s.lookAt(w)
		s.windows.end(w, w.about(), now, reason, &s.frame, s.emitOf(^uint64(0)))
	}
	s.dropWindow(w)
}

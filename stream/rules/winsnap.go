package rules

import (
	"encoding/binary"
	"math"
	"slices"
)

// The windows of a snapshot: the clock, the rules they are of, with how much a pane holds, and then the
// keys, each with its panes. They are restored where a rule of the same logic runs.

func (w *writer) windowClock(c *windowClock) {
	w.time(c.at)
	w.time(c.base)
	w.int(c.received)
}

func (w *writer) windows(open []*winState) {
	index := map[string]int{}
	var rules []*bound
	for _, s := range open {
		if _, ok := index[s.rule.ID]; !ok {
			index[s.rule.ID] = len(rules)
			rules = append(rules, s.rule)
		}
	}
	w.uint(uint64(len(rules)))
	for _, r := range rules {
		w.rule(r.Rule)
		w.uint(uint64(r.window.width))
		w.uint(uint64(r.window.samples))
		w.int(r.window.gap)
	}
	w.uint(uint64(len(open)))
	for _, s := range open {
		w.uint(uint64(index[s.rule.ID]))
		w.text(s.name())
		if s.dev != nil {
			w.text(s.dev.domain)
		} else {
			w.text(s.domain)
		}
		if s.raised {
			w.uint(1)
			w.time(s.start)
		} else {
			w.uint(0)
		}
		w.time(s.judged)
		w.told(s.told)
		w.uint(uint64(s.n))
		front, _ := s.merged()
		w.uint(uint64(front))
		for i := range int(s.n) {
			w.int(s.number(i))
			if s.rule.window.gap > 0 {
				w.int(s.tails[i])
			}
		}
		for i := range int(s.n) {
			for _, v := range s.cells(i) {
				w.number(v)
			}
		}
		w.progress(s.progress)
		for _, all := range s.values {
			w.uint(uint64(len(all) * 16)) // in bytes
			for _, k := range all {
				w.b = binary.LittleEndian.AppendUint64(w.b, k.hash)
				w.number(k.value)
			}
		}
	}
}

// progress writes how far a sequence is; nil is that of no steps.
func (w *writer) progress(p *progress) {
	if p == nil {
		w.uint(0)
		return
	}
	w.uint(uint64(len(p.chains)))
	for _, times := range append(slices.Clone(p.chains), p.waiting, p.shown) {
		w.uint(uint64(len(times)))
		for _, t := range times {
			w.time(t)
		}
	}
	w.time(p.until)
}

func (r *reader) progress() *progress {
	n := r.count()
	if n == 0 || n > maxSteps {
		r.bad = r.bad || n > maxSteps
		return nil
	}
	all := make([][]int64, n+2)
	for i := range all {
		want := min(i+1, n) // times of a chain to this step, or of a whole one
		if k := r.count(); k == want {
			for range k {
				all[i] = append(all[i], r.time())
			}
		} else if k != 0 {
			r.bad = true
		}
	}
	return &progress{chains: all[:n:n], waiting: all[n], shown: all[n+1], until: r.time()}
}

func (r *reader) windowClock() windowClock {
	return windowClock{at: r.time(), base: r.time(), received: r.int()}
}

// windows reads what windows wrote and hands each key's to take, with what of its rule was written.
func (r *reader) windows(take func(s *winState)) {
	var rules []*bound
	for range r.count() {
		b := &bound{Rule: r.rule()}
		b.window = &windowPlan{width: r.count(), samples: r.count(), gap: r.int()}
		if !b.windowed() || b.window.gap < 0 {
			r.bad = true
			return
		}
		rules = append(rules, b)
	}
	for range r.count() {
		i := r.uint()
		if r.bad || i >= uint64(len(rules)) {
			r.bad = true
			return
		}
		s := newWinState(rules[i], r.text(), r.text())
		if at, ok := r.seen(); ok {
			s.raised, s.start = true, at
		}
		if r.version >= 8 {
			s.judged, s.told = r.time(), r.told()
		} else if s.raised {
			s.told = []telling{{id: s.start, start: s.start, nth: [...]uint32{toldRaised: 1, toldCleared: 0}, at: s.start}}
		}
		plan := s.rule.window
		panes := r.count()
		front := 0
		if r.version >= 6 {
			front = int(min(r.uint(), math.MaxInt32))
		}
		if panes*(1+plan.width+plan.samples) > len(r.b) || front > panes {
			r.bad = true
			return
		}
		if panes > 0 {
			s.reserve(panes)
			s.n = uint32(panes)
			s.setMerged(front, front) // the back is made again
		}
		for i := range panes {
			s.setNumber(i, r.int())
			if plan.gap > 0 {
				s.tails = append(s.tails, r.int())
			}
		}
		for i := range panes {
			c := s.cells(i)
			for j := range c {
				c[j] = r.number()
			}
		}
		s.progress = r.progress()
		for range panes * plan.samples {
			all := make([]kept, r.count()/16)
			for j := range all {
				all[j] = kept{r.hash(), r.number()}
			}
			s.values = append(s.values, all)
		}
		if r.bad = r.bad || !s.sound(); r.bad {
			return
		}
		take(s)
	}
}

func (r *reader) hash() uint64 {
	if len(r.b) < 8 {
		r.bad, r.b = true, nil
		return 0
	}
	v := binary.LittleEndian.Uint64(r.b)
	r.b = r.b[8:]
	return v
}

// sound reports whether panes are as they may be: in order, of times that can be reckoned with.
func (s *winState) sound() bool {
	if s.raised && (len(s.told) == 0 || s.newest().end != 0 || s.newest().gone) {
		return false
	}
	const far = 1 << 43 // 278 years of milliseconds
	for i := range int(s.n) {
		n := s.number(i)
		if n < -far || n > far || i > 0 && n <= s.number(i-1) {
			return false
		}
		if s.tails != nil && (s.tails[i] < n || s.tails[i] > far) {
			return false
		}
	}
	for _, all := range s.values {
		if len(all) > maxValues || !slices.IsSortedFunc(all, compareKept) {
			return false
		}
	}
	return true
}

// fits reports whether the windows of a snapshot are those of a rule that runs.
func (s *winState) fits(r *bound) bool {
	return r != nil && r.window != nil && r.logic == s.rule.logic && r.window.width == s.rule.window.width &&
		(s.progress == nil || r.window.sequence != nil && len(s.progress.chains) == len(r.window.sequence.names)) &&
		(r.window.sequence == nil || s.soundBits()) && r.window.samples == s.rule.window.samples && r.window.gap == s.rule.window.gap
}

func (s *shard) readOpenWindows(r *reader) {
	s.winClock = r.windowClock()
	s.windows.clock = r.time()
	r.windows(func(w *winState) {
		if w.dev = s.find(w.key, w.domain); w.dev == nil {
			r.bad = true // it is among the devices of the same snapshot
			return
		}
		pl := w.dev.plan
		i := slices.IndexFunc(pl.rules, func(b *bound) bool { return b.ID == w.rule.ID })
		if i < 0 {
			s.endWindow(w, s.received, changeReason(nil))
			return
		}
		if !w.fits(pl.rules[i]) || pl.rules[i].shared() {
			s.endWindow(w, s.received, changeReason(pl.rules[i]))
			return
		}
		if w.rule = pl.rules[i]; r.version < 8 {
			w.judged = s.windows.clock
		}
		w.key, w.domain = "", "" // the device's
		w.slim()
		if w.dev.windows == nil {
			w.dev.own().windows = make([]*winState, pl.windows)
		}
		w.dev.windows[w.rule.window.slot] = w
		s.windows.rearm(w)
	})
}

// rearm arms a key whose state was read.
func (w *windows) rearm(s *winState) {
	if s.rule.window.sequence != nil {
		w.arm(s, s.dueSequence())
		return
	}
	w.next(s)
}

func (s *shared) readOpenWindows(r *reader) {
	s.windows.clock = r.int()
	s.received = r.int()
	if r.version >= 8 {
		for i := range r.count() {
			if c := r.windowClock(); i < len(s.places) {
				s.places[i] = c
			}
		}
	}
	r.windows(func(w *winState) {
		now := s.rules[w.rule.ID]
		if r.version < 12 && s.e.kind == onAsking && w.rule.ordered() { // judged once then: it begins anew
			if w.raised && !s.e.second {
				s.lookAt(w)
				s.windows.end(w, w.about(), s.received, changeReason(now), &s.frame, func(w *winState, n news) {
					s.out = append(s.out, made{Event: w.event(n, s.received)})
				})
			}
			return
		}
		if !w.fits(now) {
			s.keys[w.rule.ID]++
			s.endWindow(w, s.received, changeReason(now))
			return
		}
		if w.rule = now; r.version < 8 {
			w.judged = s.windows.clock
		}
		s.keyed[groupKey{w.rule.ID, w.key}] = w
		s.keys[w.rule.ID]++
		s.windows.rearm(w)
	})
}

// soundBits reports whether cells are the bits of occurrences.
func (s *winState) soundBits() bool {
	for i := range int(s.n) {
		if v := s.cells(i)[0]; !(v >= 0 && v < 1<<(maxSteps+2)) {
			return false
		}
	}
	return true
}

package rules

import (
	"math"
	"slices"
	"unsafe"
)

// The quick way of windows, as of quick.go: a reading that goes into a pane as it is, and a window after which
// nothing is told.

// fills reports whether the rule's windows, which take the metric of a slot, take of it no more than its numbers.
func (r *bound) fills(slot int) bool {
	w := r.window
	if r.shared() || r.gated || w.gap > 0 || w.sequence != nil || w.samples > 0 {
		return false
	}
	for i := range w.lets {
		if w.lets[i].slot != slot {
			return false
		}
	}
	return true
}

// plainSlot is the slot of the metric that an expression is, -1 where it is anything else.
func (b *binder) plainSlot(e *expr) int {
	t := typed{b, e, e.ast.NativeRep()}
	if v, ok := t.variable(t.rep.Expr()); ok && !b.onlyCEL && v.source == fromMetric && v.kind == kindNum {
		return b.num[v.name]
	}
	return -1
}

// stepCache knows of which step the last time was, so that the next needs no division.
type stepCache struct{ every, from, n int64 }

func (c *stepCache) of(at, every int64) int64 {
	if every != c.every || uint64(at-c.from) >= uint64(every) {
		n := floorDiv(at, every)
		*c = stepCache{every, n * every, n}
	}
	return c.n
}

// fill gives a reading to the windows of rules, as readInto.
func (s *shard) fill(d *device, rules []*bound, at int64, v float64) {
	at = min(at, s.received)
	for _, r := range rules {
		w := r.window
		n := s.windows.last.of(at, w.every)
		due := (n + 1) * w.every
		if due <= s.winClock.at {
			s.count.windowLate++
			s.count.rules[r.global].late++
			continue
		}
		if v-v != 0 { // infinite
			continue
		}
		tie := 0.0
		if w.ties {
			tie = float64(d.hashed() >> 11)
		}
		k := d.window(r)
		if c, empty := k.newestPane(n); w.sums {
			p := (*sumPane)(unsafe.Pointer(c))
			if empty {
				p.n, p.hi, p.lo = 1, v+0, 0
			} else {
				p.n++
				p.hi, p.lo = sumOf(p.hi, p.lo, v)
			}
		} else {
			c := unsafe.Slice(c, w.width+1)[1:]
			if empty {
				w.start(c)
			}
			for i := range w.lets {
				l := &w.lets[i]
				l.agg.add(c[l.at:l.at+cells[l.agg]], v, at, tie)
			}
		}
		if s.windows.judged(k, due) {
			s.tardy = append(s.tardy, tardy{k, due})
		} else {
			s.windows.arm(k, due)
		}
	}
	if len(s.tardy) > 0 {
		s.correctTardy()
	}
}

// quickLook is look for a key of which nothing was told, where the window says that nothing is to be told; else
// it does nothing and returns false.
func (w *windows) quickLook(s *winState, at int64, f *frame, counts []ruleCounts) bool {
	r := s.rule
	p := r.window
	if !p.quick || p.waits || s.raised || len(s.told) > 0 {
		return false
	}
	n, still, due, next := int(s.n), min(w.clock, at), int64(math.MaxInt64), int64(0)
	panes := s.ring()
	first, gone := 0, 0 // of the first panes so many are in no window from now on, in none that may be judged again
	for ; first < n; first++ {
		leaves := (panes.number(first) + 1 + p.panes) * p.every
		if leaves > s.judged {
			due = min(due, leaves)
		}
		if leaves > at {
			next = leaves
			break
		}
		if leaves <= still {
			gone++
		}
	}
	last, fixed := n, n // of the first panes so many are over, and can change no more
	for i := n - 1; i >= 0; i-- {
		ends := (panes.number(i) + 1) * p.every
		if ends > s.judged {
			due = min(due, ends)
		}
		if ends > at {
			last, next = i, min(next, ends)
		}
		if ends > still {
			fixed = i
		} else if ends <= s.judged {
			break
		}
	}
	if due != at {
		return false
	}
	w.lets = slices.Grow(w.lets[:0], len(p.lets))[:len(p.lets)]
	if p.sums {
		w.lets[0] = p.sumOf(s.runningSum(first, last, fixed))
	} else {
		w.cells = slices.Grow(w.cells[:0], p.width)[:p.width]
		s.running(first, last, fixed, w.cells)
		for i := range p.lets {
			w.lets[i] = p.lets[i].result(w.cells, nil)
		}
	}
	if f.nums = w.lets; r.test.eval(f) != no {
		return false
	}
	counts[r.global].evaluations++
	s.judged = at
	if gone > 0 {
		s.drop(0, gone)
	}
	if next == 0 {
		w.next(s)
	} else {
		w.arm(s, next)
	}
	return true
}

// nearAhead is of how many keys near reads what is needed to judge them.
const nearAhead = 64

// near reads a little of each key and of its panes, of all before any is judged, so that the processor waits for
// many places of memory at once.
func (w *windows) near(all []*winState) {
	held, some := uint32(0), int64(0)
	for _, s := range all {
		held += s.n
	}
	for _, s := range all {
		if n := int(s.n); n > 0 {
			panes := s.ring()
			some += *(*int64)(panes.mem) + panes.number(0) + panes.number(min(1, n-1)) + panes.number(max(n-2, 0)) + panes.number(n-1)
		}
	}
	w.some = float64(some + int64(held))
}

// nearWindows reads the same for the first windows of the devices that are wanted.
func (w *wanted) nearWindows(n int) (some float64) {
	var keys [len(w.devs)]*winState
	for i, d := range w.devs[:n] {
		if d != nil && len(d.windows) > 0 {
			keys[i] = d.windows[0]
		}
	}
	held, last := uint32(0), int64(0)
	for _, k := range keys[:n] {
		if k != nil {
			held += k.n
		}
	}
	for _, k := range keys[:n] {
		if k != nil && k.n > 0 {
			panes := k.ring()
			last += panes.number(int(k.n)-1) + panes.number(int(min(k.n, k.size-1)))
		}
	}
	return some + float64(last+int64(held))
}

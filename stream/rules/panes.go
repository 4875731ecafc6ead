package rules

import (
	"math"
	"slices"
	"sort"
	"unsafe"
)

// The panes of a key lie in one run of memory, as a ring, each pane's number before its cells: so what a reading
// or a window looks at is a line of memory or two, the oldest goes without the others being moved, and the block
// of a key is never much larger than what it has in it. The run begins with a place that is no pane: there are how
// many panes are in front and merged, and the back (see running).

// block is the memory of the panes, of which each takes a place of stride numbers.
func (s *winState) block() []float64 { return unsafe.Slice(s.mem, (1+s.size)*uint32(s.stride)) }

// place is where in the block pane i begins.
func (s *winState) place(i int) uint32 {
	at := uint32(i) + s.head
	if at >= s.size {
		at -= s.size
	}
	return (1 + at) * uint32(s.stride)
}

// first is where pane i, of the panes that there may be, begins.
func (s *winState) first(i int) *float64 {
	return (*float64)(unsafe.Add(unsafe.Pointer(s.mem), uintptr(s.place(i))*unsafe.Sizeof(*s.mem)))
}

// A ring is where a key's panes lie, for who looks at several of them and changes none of that meanwhile.
type ring struct {
	mem        unsafe.Pointer
	step       uintptr // bytes a pane
	head, size uint32
}

func (s *winState) ring() ring {
	return ring{unsafe.Pointer(s.mem), uintptr(s.stride) * unsafe.Sizeof(*s.mem), s.head, s.size}
}

// pane is where pane i begins.
func (r *ring) pane(i int) unsafe.Pointer {
	at := uint32(i) + r.head
	if at >= r.size {
		at -= r.size
	}
	return unsafe.Add(r.mem, uintptr(1+at)*r.step)
}

func (r *ring) number(i int) int64 { return *(*int64)(r.pane(i)) }

// sum is pane i of a plan of sums.
func (r *ring) sum(i int) *sumPane { return (*sumPane)(r.pane(i)) }

// sumPane is a pane of windows of which a sum or an average is all that there is.
type sumPane struct {
	number int64
	n      float64 // readings
	hi, lo float64 // see addTo
}

// number is that of pane i; of sessions and sequences when it began.
func (s *winState) number(i int) int64 { return int64(math.Float64bits(*s.first(i))) }

func (s *winState) setNumber(i int, n int64) { *s.first(i) = math.Float64frombits(uint64(n)) }

// cells are what pane i holds.
func (s *winState) cells(i int) []float64 { return s.whole(i)[1:] }

// whole is number and cells of pane i.
func (s *winState) whole(i int) []float64 { return unsafe.Slice(s.first(i), s.stride) }

// back is what the panes behind the front come to that are merged.
func (s *winState) back() []float64 { return unsafe.Slice(s.mem, s.stride)[1:] }

// merged are so many panes in front, which hold what they and those behind them in front come to, and so many in
// front or in back.
func (s *winState) merged() (front, all int) {
	if s.mem == nil {
		return 0, 0
	}
	bits := math.Float64bits(*s.mem)
	return int(uint32(bits)), int(bits >> 32)
}

func (s *winState) setMerged(front, all int) {
	if s.mem != nil {
		*s.mem = math.Float64frombits(uint64(front) | uint64(all)<<32)
	}
}

// reserve makes room for so many panes in all.
func (s *winState) reserve(n int) {
	if n <= int(s.size) {
		return
	}
	s.stride = uint16(s.rule.window.width) + 1
	stride := int(s.stride)
	next := slices.Grow([]float64(nil), (1+n)*stride)
	next = next[:cap(next)/stride*stride] // all that the allocator gives
	if s.mem != nil {
		copy(next, s.block()[:stride])
	}
	for i := range int(s.n) {
		copy(next[(1+i)*stride:], s.whole(i))
	}
	s.mem, s.size, s.head = unsafe.SliceData(next), uint32(len(next)/stride-1), 0
}

// open makes an empty pane at place i.
func (s *winState) open(i int, n int64) {
	w := s.rule.window
	if s.n == s.size {
		s.reserve(int(s.n) + max(2, int(s.n)/8))
	}
	s.n++
	for j := int(s.n) - 1; j > i; j-- {
		copy(s.whole(j), s.whole(j-1))
	}
	pane := s.whole(i)
	pane[0] = math.Float64frombits(uint64(n))
	w.start(pane[1:])
	if w.samples > 0 {
		s.own().values = slices.Insert(s.values, i*w.samples, make([][]kept, w.samples)...)
	}
}

// newestPane is the pane of a number, which is the newest as a rule, of windows of plain aggregates. One that is
// empty is new, and its cells are anything.
func (s *winState) newestPane(n int64) (pane *float64, empty bool) {
	if i := int(s.n); i > 0 {
		pane = s.first(i - 1)
		last := int64(math.Float64bits(*pane))
		if last == n {
			return pane, false
		}
		if last < n && s.n < s.size {
			s.n++
			s.setNumber(i, n)
			return s.first(i), true
		}
	}
	before := s.n
	i := s.paneOf(n)
	return s.first(i), s.n > before
}

// drop takes panes [from, to) out.
func (s *winState) drop(from, to int) {
	w := s.rule.window
	if front, all := s.merged(); all > 0 {
		if from == 0 && to <= front {
			s.setMerged(front-to, all-to)
		} else { // the rest becomes the front
			s.setMerged(0, 0)
		}
	}
	if from == 0 {
		if s.head += uint32(to); s.head >= s.size {
			s.head -= s.size
		}
	} else {
		for i := to; i < int(s.n); i++ {
			copy(s.whole(from+i-to), s.whole(i))
		}
	}
	s.n -= uint32(to - from)
	if w.gap > 0 {
		s.own().tails = slices.Delete(s.tails, from, to)
	}
	if w.samples > 0 {
		s.own().values = slices.Delete(s.values, from*w.samples, to*w.samples)
	}
}

// endedBy is how many of the first panes are over by a time, Unix ms, at which nearly all are.
func (s *winState) endedBy(at int64) int {
	every := s.rule.window.every
	near := max(int(s.n)-8, 0)
	for i := int(s.n); i > near; i-- {
		if (s.number(i-1)+1)*every <= at {
			return i
		}
	}
	return sort.Search(near, func(i int) bool { return (s.number(i)+1)*every > at })
}

// leftBy is how many of the first panes are in no window that ends after a time, few as a rule.
func (s *winState) leftBy(at int64) int {
	w := s.rule.window
	near := min(int(s.n), 8)
	for i := range near {
		if (s.number(i)+1+w.panes)*w.every > at {
			return i
		}
	}
	return near + sort.Search(int(s.n)-near, func(i int) bool { return (s.number(near+i)+1+w.panes)*w.every > at })
}

// runs reports whether a key's windows are kept up from one to the next and not made of all their panes.
func (w *windowPlan) runs() bool {
	return w.gap == 0 && w.sequence == nil && w.samples == 0 && w.panes > 4
}

// running makes c the window of panes [first, last). Of the first so many that are fixed, as no reading
// can come to them any more, it keeps a queue of two stacks: in front each pane holds what it and all panes behind it
// in front come to, so that the oldest may leave; in back is one sum of the panes since. When all of the front
// has left the back becomes it. So a pane is merged twice in its life, however long the window, and nothing is
// ever subtracted, which would leave rounding errors and is not possible for min and max. The few panes since
// are merged each time.
func (s *winState) running(first, last, fixed int, c []float64) {
	w := s.rule.window
	front, merged := s.merged()
	if front == 0 && fixed > 0 {
		for i := fixed - 2; i >= 0; i-- {
			w.merge(s.cells(i), nil, s.cells(i+1), nil)
		}
		front, merged = fixed, fixed
	}
	if merged < fixed {
		back := s.back()
		if merged == front {
			copy(back, s.cells(merged))
			merged++
		}
		for ; merged < fixed; merged++ {
			w.merge(back, nil, s.cells(merged), nil)
		}
	}
	s.setMerged(front, merged)
	switch {
	case first < front:
		copy(c, s.cells(first))
		if first = merged; merged > front {
			w.merge(c, nil, s.back(), nil)
		}
	case first == front && merged > front:
		copy(c, s.back())
		first = merged
	default:
		w.start(c)
	}
	for i := first; i < last; i++ {
		w.merge(c, nil, s.cells(i), nil)
	}
}

// runningSum is running of a plan of sums, in registers.
func (s *winState) runningSum(first, last, fixed int) (c sumPane) {
	front, merged := s.merged()
	panes := s.ring()
	if front == 0 && fixed > 0 {
		c = *panes.sum(fixed - 1)
		for i := fixed - 2; i >= 0; i-- {
			c.take(panes.sum(i))
			p := panes.sum(i)
			p.n, p.hi, p.lo = c.n, c.hi, c.lo
		}
		front, merged, c = fixed, fixed, sumPane{}
	}
	back := (*sumPane)(panes.mem)
	if merged < fixed {
		if merged == front {
			back.n, back.hi, back.lo = 0, 0, 0
		}
		for ; merged < fixed; merged++ {
			back.take(panes.sum(merged))
		}
	}
	s.setMerged(front, merged)
	if first < front {
		c = *panes.sum(first)
	}
	if first <= front {
		if first = merged; merged > front {
			c.take(back)
		}
	}
	for i := first; i < last; i++ {
		c.take(panes.sum(i))
	}
	return c
}

// take merges another into p.
func (p *sumPane) take(o *sumPane) {
	p.n += o.n
	p.hi, p.lo = sumOfBoth(p.hi, p.lo, o.hi, o.lo)
}

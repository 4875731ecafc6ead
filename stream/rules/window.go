package rules

import (
	"maps"
	"math"
	"slices"
	"time"
)

// A Window cuts a key's readings in event time.
type Window struct {
	Type  string        // tumbling, hopping, sliding or session
	Size  time.Duration // how long a window is; 0 for sessions, which last while readings come
	Every time.Duration // from one window to the next; 0 but for hopping, and sliding where it was said
	Gap   time.Duration // of a session: the silence that ends it
}

// windowPlan is a rule's windows as they are computed. A window is made of panes, each as long as the
// step from one window to the next: readings go into panes, and panes into the windows over them.
type windowPlan struct {
	size, every, gap int64 // ms
	panes            int64 // of a window
	lets             []boundLet
	width            int           // numbers a pane
	samples          int           // samples of values a pane
	sequence         *sequencePlan // nil for windows
	slot             int           // among the windows of a device
	ties             bool          // an aggregate tells devices apart
	quick            bool          // see windows.quickLook
	sums             bool          // a sum or an average is all that there is
	waits            bool          // windows are judged once, when no reading of theirs can come any more
}

type boundLet struct {
	name    string
	agg     aggregate
	percent float64
	at      int // of its first number, or of its sample
	slot    int // of the metric that it is of, where it is of no more than its numbers; -1: else
	num     numFunc
	text    textFunc
	cond    boolFunc // counts where true
}

// result is what the cells or the values of a window come to; NaN where that is no finite number.
func (l *boundLet) result(c []float64, values [][]kept) float64 {
	switch l.agg {
	case aggDistinct:
		return distinct(values[l.at])
	case aggPercentile:
		return percentile(values[l.at], l.percent)
	}
	v := l.agg.result(c[l.at : l.at+cells[l.agg]])
	if math.IsInf(v, 0) {
		return nan
	}
	return v
}

// winState is what is known of one key's windows. It holds only panes with readings. There is one for each of
// many devices, which every reading and every window looks at: it is a line of memory, and what few have is in
// winMore.
type winState struct {
	rule          *bound
	dev           *device  // nil for keys that span partitions
	mem           *float64 // of the panes: see block
	*winMore               // never nil; see own
	armed         int64    // when it is looked at next; 0: not
	judged        int64    // the newest end of a window that was judged, Unix ms
	head, n, size uint32   // of the ring of panes: where the first is, how many there are and may be
	stride        uint16   // numbers a pane
	raised        bool
	gone          bool
}

// winMore is what the windows of a device that raise nothing have not.
type winMore struct {
	told     []telling // what late readings may still change, and what stands, which is last
	start    int64     // the window's end that raised, Unix ms
	tails    []int64   // of sessions, when each had its last reading
	values   [][]kept
	key      string    // "": the device's id
	domain   string    // of keys that span partitions, the first by name
	progress *progress // of a sequence; nil: none yet
	dropped  uint64    // messages of a sequence that there was no room for, not counted yet
}

// noWinMore is that of keys with nothing of it; it is never written.
var noWinMore = &winMore{}

// newWinState is one of a key that has nothing yet.
func newWinState(r *bound, key, domain string) *winState {
	return &winState{rule: r, winMore: &winMore{key: key, domain: domain}}
}

// own gives the key a winMore of its own.
func (s *winState) own() *winMore {
	if s.winMore == noWinMore {
		s.winMore = &winMore{}
	}
	return s.winMore
}

// slim lets go of a winMore of a device in which there is nothing any more.
func (s *winState) slim() {
	if m := s.winMore; s.dev != nil && m.key == "" && m.told == nil && m.tails == nil && m.values == nil && m.progress == nil && m.dropped == 0 {
		s.winMore = noWinMore
	}
}

// name is the key.
func (s *winState) name() string {
	if s.key == "" && s.dev != nil {
		return s.dev.id
	}
	return s.key
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// loose reports whether what is due comes at any time, not at multiples of a step.
func (w *windowPlan) loose() bool { return w.gap > 0 || w.sequence != nil }

// late reports whether the windows of a reading at a time are over by the clock.
func (w *windowPlan) late(at, clock int64) bool {
	if w.loose() {
		return at < clock
	}
	return at < clock && (floorDiv(at, w.every)+1)*w.every <= clock
}

// pane returns the place of the pane for a reading, or of the session, and makes it where there is none.
func (s *winState) pane(at int64) int {
	w := s.rule.window
	if w.gap > 0 {
		return s.session(at, at)
	}
	return s.paneOf(floorDiv(at, w.every))
}

// paneOf is the same for the number of a pane.
func (s *winState) paneOf(n int64) int {
	i := int(s.n)
	for i > 0 {
		last := s.number(i - 1)
		if last == n {
			return i - 1
		}
		if last < n {
			break
		}
		i--
	}
	s.open(i, n)
	return i
}

// start empties the cells of a pane.
func (w *windowPlan) start(c []float64) {
	if w.sequence != nil {
		c[0] = 0
	}
	for i := range w.lets {
		if l := &w.lets[i]; !l.agg.keepsValues() {
			l.agg.start(c[l.at : l.at+cells[l.agg]])
		}
	}
}

// session returns the place of the session that has [first, last], joined of all that it touches.
func (s *winState) session(first, last int64) int {
	w := s.rule.window
	i := 0
	for i < int(s.n) && s.tails[i]+w.gap <= first {
		i++
	}
	if i == int(s.n) || last+w.gap <= s.number(i) {
		s.open(i, first)
		s.own().tails = slices.Insert(s.tails, i, last)
		return i
	}
	s.setNumber(i, min(s.number(i), first))
	s.tails[i] = max(s.tails[i], last)
	for i+1 < int(s.n) && s.number(i+1) < s.tails[i]+w.gap {
		s.tails[i] = max(s.tails[i], s.tails[i+1])
		s.mergeInto(i, s.cells(i+1), s.values[(i+1)*w.samples:(i+2)*w.samples])
		s.drop(i+1, i+2)
	}
	return i
}

// mergeInto adds what another pane kept to pane i.
func (s *winState) mergeInto(i int, c []float64, values [][]kept) {
	w := s.rule.window
	w.merge(s.cells(i), s.values[i*w.samples:(i+1)*w.samples], c, values)
}

func (w *windowPlan) merge(c []float64, values [][]kept, oc []float64, ov [][]kept) {
	if w.sums {
		mergeSum((*[3]float64)(c), (*[3]float64)(oc))
		return
	}
	if w.sequence != nil {
		c[0] = float64(uint64(c[0]) | uint64(oc[0]))
		return
	}
	for i := range w.lets {
		l := &w.lets[i]
		if l.agg.keepsValues() {
			values[l.at] = union(values[l.at], ov[l.at])
		} else {
			l.agg.merge(c[l.at:l.at+cells[l.agg]], oc[l.at:l.at+cells[l.agg]], nan)
		}
	}
}

// add takes the reading in the frame, measured at (Unix ms) by a device of that hash; false where no
// aggregate takes it.
func (s *winState) add(f *frame, at int64, device uint64) bool {
	w := s.rule.window
	if w.sequence != nil {
		return s.addOccurrence(f, at)
	}
	pane := -1 // a reading that no aggregate takes opens none
	for i := range w.lets {
		l := &w.lets[i]
		v, hash := 1.0, uint64(0)
		switch {
		case l.cond != nil:
			if l.cond(f) != yes {
				continue
			}
		case l.text != nil:
			t, ok := l.text(f)
			if !ok || t == "" { // rows say nothing with it
				continue
			}
			hash = hashText(t)
		case l.num != nil:
			if v = l.num(f); v != v || math.IsInf(v, 0) {
				continue
			}
			switch l.agg {
			case aggDistinct:
				hash = mix(math.Float64bits(v + 0))
			case aggPercentile: // each reading for itself
				hash = mix(mix(math.Float64bits(v+0)) ^ mix(device^uint64(at)))
			}
		}
		if pane < 0 {
			pane = s.pane(at)
		}
		if l.agg.keepsValues() {
			at := pane*w.samples + l.at
			s.values[at] = insert(s.values[at], kept{hash, v})
			continue
		}
		l.agg.add(s.cells(pane)[l.at:l.at+cells[l.agg]], v, at, float64(device>>11))
	}
	return pane >= 0
}

// take adds all that o has: what readings of one round came to.
func (s *winState) take(o *winState) {
	w := s.rule.window
	for j := range int(o.n) {
		var i int
		if w.gap > 0 {
			i = s.session(o.number(j), o.tails[j])
		} else {
			i = s.paneOf(o.number(j))
		}
		s.mergeInto(i, o.cells(j), o.values[j*w.samples:(j+1)*w.samples])
	}
	if s.domain == "" || o.domain < s.domain {
		s.own().domain = o.domain
	}
}

// due is the next time after a moment at which the key's window changes: a pane comes into it or
// leaves it, or a session ends. 0 where none will. The window's panes before that are kept until forget.
func (s *winState) due(after int64) int64 {
	w := s.rule.window
	if w.sequence != nil {
		return s.dueSequence()
	}
	if s.n == 0 {
		return 0
	}
	if w.gap > 0 {
		for _, tail := range s.tails {
			if tail+w.gap > after {
				return tail + w.gap
			}
		}
		return 0
	}
	return s.dueBehind(s.leftBy(after), s.endedBy(after))
}

// dueBehind is due where the window's panes are [first, last).
func (s *winState) dueBehind(first, last int) int64 {
	w := s.rule.window
	if first == int(s.n) {
		return 0
	}
	next := (s.number(first) + 1 + w.panes) * w.every
	if last < int(s.n) {
		next = min(next, (s.number(last)+1)*w.every)
	}
	return next
}

// window fills lets with the window that ends at a time; of panes that end by clock nothing can change. from is
// where it began, to its end; some is false where it has no reading.
func (s *winState) window(end, clock int64, lets []float64, c []float64, values [][]kept) (from, to int64, some bool) {
	w := s.rule.window
	var first, last int // of its panes, and the one behind
	if w.gap > 0 {
		first, _ = slices.BinarySearch(s.tails, end-w.gap)
		from, to, last = s.number(first), s.tails[first], first+1
	} else {
		from, to = end-w.size, end
		first, last = s.leftBy(end), s.endedBy(end)
	}
	if w.runs() {
		s.running(first, last, s.endedBy(min(clock, end)), c)
	} else {
		w.start(c)
		clear(values)
		for i := first; i < last; i++ {
			w.merge(c, values, s.cells(i), s.values[i*w.samples:(i+1)*w.samples])
		}
	}
	for i := range w.lets {
		lets[i] = w.lets[i].result(c, values)
	}
	return from, to, last > first
}

// forget drops the panes that are in no window which ends after a time.
func (s *winState) forget(clock int64) {
	w, n := s.rule.window, 0
	if w.gap > 0 {
		for n < int(s.n) && s.tails[n]+w.gap <= clock {
			n++
		}
	} else {
		n = s.leftBy(clock)
	}
	if n > 0 {
		s.drop(0, n)
	}
	s.final(clock)
}

// sumOf is the let of a plan of sums for a window of all that is in c, as boundLet.result.
func (w *windowPlan) sumOf(c sumPane) float64 {
	v := c.hi
	if w.lets[0].agg == aggAvg {
		v /= c.n
	}
	if v-v != 0 { // of no readings, or infinite
		return nan
	}
	return v
}

// A calendar says which keys are to be looked at when. A key is in it for the time it is armed with;
// older entries are passed over.
type calendar struct {
	days map[int64]*dueKeys
	next []int64  // sorted from the last: the earliest is at the end
	last *dueKeys // that a key was armed for: often the next one's
	free [][]*winState
	// exact says that what ends at any time is looked at then, and not up to a second later: it is said to be sure.
	exact bool
}

// dueKeys are the keys of one time.
type dueKeys struct {
	at  int64
	all []*winState
}

func (c *calendar) arm(s *winState, at int64) {
	if at == 0 || s.armed != 0 && s.armed <= at {
		return
	}
	s.armed = at
	if c.days == nil {
		c.days = map[int64]*dueKeys{}
	}
	if s.rule.window.loose() && !c.exact {
		at = (floorDiv(at, 1000) + 1) * 1000 // sessions end at any time: a second of them together
	}
	if c.last != nil && c.last.at == at {
		c.last.all = append(c.last.all, s)
		return
	}
	d := c.days[at]
	if d == nil {
		d = &dueKeys{at: at}
		if last := len(c.free) - 1; last >= 0 {
			d.all, c.free = c.free[last], c.free[:last]
		}
		c.days[at] = d
		i, _ := slices.BinarySearchFunc(c.next, at, func(a, b int64) int {
			switch {
			case a > b:
				return -1
			case a < b:
				return 1
			}
			return 0
		})
		c.next = slices.Insert(c.next, i, at)
	}
	d.all, c.last = append(d.all, s), d
}

// due reports whether any key is.
func (c *calendar) due(clock int64) bool { return len(c.next) > 0 && c.next[len(c.next)-1] <= clock }

// pop takes the earliest time out and returns its keys, nil where it is not due by the clock yet.
func (c *calendar) pop(clock int64) (at int64, all []*winState) {
	if len(c.next) == 0 || c.next[len(c.next)-1] > clock {
		return 0, nil
	}
	at = c.next[len(c.next)-1]
	c.next = c.next[:len(c.next)-1]
	all = c.days[at].all
	delete(c.days, at)
	if c.last != nil && c.last.at == at {
		c.last = nil
	}
	return at, all
}

// reuse takes back the memory of what pop returned, unless it is much.
func (c *calendar) reuse(all []*winState) {
	if clear(all); cap(all) <= 1<<14 && len(c.free) < 4 {
		c.free = append(c.free, all[:0])
	}
}

// letNames are the names of a rule's lets, sorted.
func (r *Rule) letNames() []string { return slices.Sorted(maps.Keys(r.Let)) }

package rules

import (
	"cmp"
	"maps"
	"math"
	"math/bits"
	"slices"

	"panormus/devices"
)

// windows judges the windows of one shard as its clock passes their ends.
type windows struct {
	calendar calendar
	clock    int64 // event time less the lateness, Unix ms: windows that end by it are over
	lets     []float64
	cells    []float64
	values   [][]kept
}

// windowClock follows the event time of one partition. Between messages it goes on as fast as they are
// received: a partition that falls idle does not hold it, and one that replays last year's readings
// has last year's clock. It is made of what the log says alone, so a replay decides the same.
type windowClock struct {
	at       int64 // Unix ms, less the lateness
	base     int64 // where it was by event time,
	received int64 // and when that was received; 0: no message yet
}

// moved takes the time and receipt of a message.
func (c *windowClock) moved(at, received int64) {
	if c.received != 0 {
		if on := c.base + received - c.received; on > at {
			c.at = max(c.at, on)
			return
		}
	}
	c.base, c.received = at, received
	c.at = max(c.at, at)
}

// ticked takes processing time, Unix ms; what is still between receipt and the log is not there yet.
func (c *windowClock) ticked(now int64) {
	if c.received != 0 {
		c.at = max(c.at, c.base+now-inTransitMs-c.received)
	}
}

// inTransitMs is how long a message may take from its receipt to the log before the worker's clock
// passes it.
const inTransitMs = 5_000

// heldBackMs is how far behind the first a partition may be and still hold the clock of keys that span them.
const heldBackMs = 600_000

// windowBounds are in the context of an event: what the window was.
type windowBounds struct {
	Type string `json:"type"`
	From string `json:"from"`
	To   string `json:"to"`
}

// span is the window that a frame is of; none where to is 0.
type span struct{ from, to int64 }

type emitFunc func(s *winState, state string, at int64, reason string)

// close judges what is over by the clock. emit is told of each change, gone of each key with nothing left.
func (w *windows) close(f *frame, counts []ruleCounts, look func(*winState), emit emitFunc, gone func(*winState)) {
	for {
		at, all := w.calendar.pop(w.clock)
		if all == nil {
			return
		}
		for _, s := range all {
			if s.gone || s.armed == 0 || !s.rule.window.loose() && s.armed != at {
				continue
			}
			s.armed = 0
			look(s)
			if s.rule.window.sequence != nil {
				w.runSequence(s, f, counts, emit)
			} else if gap := s.rule.window.gap; gap > 0 {
				for len(s.panes) > 0 && s.tails[0]+gap <= w.clock {
					w.judge(s, s.tails[0]+gap, f, counts, emit)
				}
			} else {
				w.judge(s, at, f, counts, emit)
			}
			w.calendar.arm(s, s.due(at))
			if s.armed == 0 && !s.raised {
				gone(s)
			}
		}
		w.calendar.reuse(all)
	}
}

// judge evaluates the rule on the window that ends at a time and moves the key's episode.
func (w *windows) judge(s *winState, end int64, f *frame, counts []ruleCounts, emit emitFunc) {
	r := s.rule
	w.lets, w.cells, w.values = zeroed(w.lets, len(r.window.lets)), zeroed(w.cells, r.window.width), zeroed(w.values, r.window.samples)
	from, to, some := s.close(end, w.lets, w.cells, w.values)
	f.nums, f.texts, f.dev, f.now, f.quality, f.failed = w.lets, nil, s.about(), end, 0, false
	f.window = span{from, to}
	if r.Schedule != nil && !w.inHours(s, end, f, emit) {
		return
	}
	c := &counts[r.global]
	c.evaluations++
	over, reason := no, ""
	if s.raised && r.clear != nil {
		over = r.clear(f)
	} else {
		holds := r.when(f)
		over = not(holds)
		if holds == yes {
			c.matches++
			if !s.raised {
				s.raised, s.start = true, end
				emit(s, "raised", end, "")
			}
		}
	}
	if over == undecided {
		if c.undecided(f); !some {
			over, reason = yes, "no readings in the window"
		}
	}
	if s.raised && over == yes {
		emit(s, "cleared", end, reason)
		s.raised = false
	}
}

// about is the device that the key's conditions are evaluated on: for keys that span devices one that
// has only what they share.
func (s *winState) about() *device {
	if s.dev != nil {
		return s.dev
	}
	a := &devices.Asset{}
	if s.rule.Key == "zone" {
		a.Zone = s.key
	}
	return &device{home: &home{domain: s.domain}, more: nothing, asset: a}
}

// readWindows gives rows [first, end) of o, one message, to the windows they are in. Windows are of
// what a message says itself, not of what stands from earlier ones: so the order of arrival does not matter.
func (s *shard) readWindows(d *device, pl *plan, rows messageRows, at int64) {
	at = min(at, s.received) // a clock that runs ahead fills no windows of the future
	own := &s.own
	for len(own.nums) < len(pl.nums) {
		own.nums = append(own.nums, nan)
	}
	for len(own.texts) < len(pl.texts) {
		own.texts = append(own.texts, unknownText)
	}
	own.dirty = append(own.dirty[:0], pl.counting...)
	each := func(take func(m *metricPlan, v float64, text string)) {
		for i := rows.first; i < rows.end; i++ {
			if m := s.metrics[rows.table+int(rows.o.Metric.Index[i])]; m != nil && m.windows != nil {
				take(m, rows.o.Value[i], rows.o.Text.At(i))
			}
		}
	}
	each(func(m *metricPlan, v float64, text string) {
		if m.num >= 0 {
			own.nums[m.num] = v
		}
		if m.text >= 0 && v != v {
			own.texts[m.text] = text
		}
		own.dirty.or(m.windows)
	})
	f := &s.frame
	f.nums, f.texts, f.dev, f.now = own.nums, own.texts, d, at
	for next := 0; next < len(pl.rules); {
		next = s.readFrom(d, pl, at, next)
	}
	each(func(m *metricPlan, _ float64, _ string) {
		if m.num >= 0 {
			own.nums[m.num] = nan
		}
		if m.text >= 0 {
			own.texts[m.text] = unknownText
		}
	})
}

// readFrom gives the message in the frame to the windows of the rules from one on. As in judgeFrom, one
// guard is for all of them: a panic in what a rule says of a reading is that rule's, and the next follows.
func (s *shard) readFrom(d *device, pl *plan, at int64, from int) (next int) {
	defer func() {
		if p := recover(); p != nil {
			s.broke(pl.rules[next], p)
			next++
		}
	}()
	for w := from / 64; w < len(s.own.dirty); w++ {
		word := s.own.dirty[w]
		if w == from/64 {
			word &= ^uint64(0) << (from % 64)
		}
		for ; word != 0; word &= word - 1 {
			next = w*64 + bits.TrailingZeros64(word)
			s.readInto(d, pl.rules[next], at)
		}
	}
	return len(pl.rules)
}

// readInto gives the message in the frame to one rule's windows. Readings of which an aggregate's
// argument fails are counted, and are in no window.
func (s *shard) readInto(d *device, r *bound, at int64) {
	f, c := &s.frame, &s.count.rules[r.global]
	if d.tuned != 0 && r.exempt(f) || r.gated && !(f.inForce(r, at) && f.ofProfile(r)) {
		return // as if nothing came
	}
	if r.window.late(at, s.winClock.at) {
		s.count.windowLate++
		s.count.rules[r.global].late++
		return
	}
	f.failed = false
	if r.asks() {
		s.askOf(d, r)
	} else if r.shared() {
		s.readShared(d, r, at)
	} else {
		if d.windows == nil {
			d.own().windows = make([]*winState, d.plan.windows)
		}
		w := d.windows[r.window.slot]
		if w == nil {
			w = &winState{rule: r, key: d.id, dev: d}
			d.windows[r.window.slot] = w
		}
		if w.add(f, at, d.hashed()) {
			s.windows.calendar.arm(w, r.window.firstDue(at))
		}
		c.takeDropped(w)
	}
	if f.failed {
		c.undecided(f)
	}
	if f.why != "" {
		f.afford(r.Rule)
		f.why = ""
	}
}

// takeDropped counts what a key of a sequence had no room for.
func (c *ruleCounts) takeDropped(w *winState) {
	c.dropped += w.dropped
	w.dropped = 0
}

// firstDue is when the first window with a reading at a time is over.
func (w *windowPlan) firstDue(at int64) int64 {
	switch {
	case w.sequence != nil:
		return at + 1
	case w.gap > 0:
		return at + w.gap
	}
	return (floorDiv(at, w.every) + 1) * w.every
}

// readShared notes a reading for a key that spans partitions; the next Settle adds it to the key's windows.
func (s *shard) readShared(d *device, r *bound, at int64) {
	if s.seq <= s.e.shared.seq {
		return // a replay of what the shared shard has already
	}
	key, ok := r.keyOf(&s.frame)
	if !ok {
		s.count.rules[r.global].undecided(&s.frame)
		return
	}
	k := groupKey{r.ID, key}
	w := s.partials[k]
	if w == nil {
		w = &winState{rule: r, key: key, domain: d.domain}
		if s.partials == nil {
			s.partials = map[groupKey]*winState{}
		}
		s.partials[k] = w
	}
	w.rule = r // as it is bound for this device's domain
	w.add(&s.frame, at, d.hashed())
	s.count.rules[r.global].takeDropped(w)
	w.domain = min(w.domain, d.domain)
}

// closeWindows judges the windows of the shard's devices that are over.
func (s *shard) closeWindows() {
	if s.winClock.at <= s.windows.clock {
		return
	}
	s.windows.clock = s.winClock.at
	s.windows.close(&s.frame, s.count.rules, func(w *winState) { s.refresh(w.dev) }, s.emitWindow, func(*winState) {})
	s.frame.window = span{}
}

func (s *shard) emitWindow(w *winState, state string, at int64, reason string) {
	s.emit(w.dev, w.rule, state, w.start, at, reason)
}

// endWindows ends what the windows of a device have raised, with a reason.
func (s *shard) endWindows(d *device, at int64, reason string) {
	for _, w := range d.windows {
		if w != nil {
			s.endWindow(w, at, reason)
		}
	}
	if len(d.windows) > 0 {
		d.windows = nil
	}
}

func (s *shard) endWindow(w *winState, at int64, reason string) {
	if w.gone = true; !w.raised {
		return
	}
	w.raised = false
	s.frame.window = span{}
	s.frame.nums, s.frame.texts, s.frame.dev, s.frame.now = unknownLets(w.rule), unknownSteps(w.rule), w.dev, max(at, w.start)
	s.emitWindow(w, "cleared", s.frame.now, reason)
}

// unknownLets stands for the lets of a window that is not judged.
func unknownLets(r *bound) []float64 {
	out := make([]float64, len(r.Let))
	for i := range out {
		out[i] = nan
	}
	return out
}

// unknownSteps stands for the times of a sequence's steps where it ends for another reason.
func unknownSteps(r *bound) []string {
	out := make([]string, len(r.Sequence))
	for i := range out {
		out[i] = unknownText
	}
	return out
}

// raisedWindows reports whether windows of the device have anything open.
func (d *device) raisedWindows() bool {
	return slices.ContainsFunc(d.windows, func(w *winState) bool { return w != nil && w.raised })
}

func (d *device) hashed() uint64 {
	if d.hash == 0 {
		d.own().hash = hashText(d.id)
	}
	return d.hash
}

// settleWindows adds what the partitions read to the keys that span them and judges what is over by the
// clock of the last partition that holds it.
func (s *shared) settleWindows(shards []*shard) {
	first, last := int64(math.MaxInt64), int64(math.MinInt64)
	var seq uint64
	for _, sh := range shards {
		seq, s.received = max(seq, sh.seq), max(s.received, sh.received)
		if sh.winClock.received != 0 {
			first, last = min(first, sh.winClock.at), max(last, sh.winClock.at)
		}
		for _, k := range slices.SortedFunc(maps.Keys(sh.partials), func(a, b groupKey) int {
			return cmp.Or(cmp.Compare(a.rule, b.rule), cmp.Compare(a.key, b.key))
		}) {
			s.takePartial(k, sh.partials[k])
		}
		clear(sh.partials)
	}
	if last == math.MinInt64 {
		return
	}
	s.windows.clock = max(s.windows.clock, first, last-heldBackMs)
	s.windows.close(&s.frame, s.count.rules, s.lookAt, func(w *winState, state string, at int64, reason string) {
		s.emitWindow(w, state, at, seq, reason)
	}, func(w *winState) { s.dropWindow(w) })
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

func (s *shared) takePartial(k groupKey, p *winState) {
	r := s.rules[k.rule]
	if r == nil || len(p.panes) == 0 {
		return
	}
	w := s.keyed[k]
	if w == nil {
		if s.keys[k.rule] >= s.e.cfg.MaxKeys {
			s.count.keysRefused++
			return
		}
		s.keys[k.rule]++
		w = &winState{rule: r, key: k.key, domain: p.domain}
		s.keyed[k] = w
	}
	for i := len(p.panes) - 1; i >= 0; i-- { // what came after its window was judged: the worker's clock had passed it
		at := p.panes[i]
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
	for i, n := range p.panes {
		if r.window.gap > 0 {
			s.windows.calendar.arm(w, p.tails[i]+r.window.gap)
		} else {
			s.windows.calendar.arm(w, (n+1)*r.window.every)
		}
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

func (s *shared) emitWindow(w *winState, state string, at int64, seq uint64, reason string) {
	r := w.rule
	ev := r.event(state, w.key, w.start, at, max(s.received, at), r.evidence(&s.frame, w.key, w.start), 0, reason)
	ev.Domain = cmp.Or(r.Domain, w.domain)
	switch r.Key {
	case "zone":
		ev.Zone = w.key
	case "domain":
		ev.Domain = w.key
	case "device", "camera":
		ev.Device, ev.Zone = w.key, s.frame.asset().Zone
	}
	s.out = append(s.out, made{seq: seq, n: 1<<30 + s.order, Event: ev})
	s.order++
}

// endWindow ends what a key's windows have raised, with a reason.
func (s *shared) endWindow(w *winState, now int64, reason string) {
	if w.raised {
		s.frame.window = span{}
		s.frame.nums, s.frame.texts, s.frame.now = unknownLets(w.rule), unknownSteps(w.rule), max(now, w.start)
		s.lookAt(w)
		s.frame.dev = w.about()
		s.emitWindow(w, "cleared", s.frame.now, ^uint64(0), reason)
	}
	s.dropWindow(w)
}

package rules

import (
	"cmp"
	"math/bits"
	"slices"

	"panormus/devices"
	"panormus/stream/batch"
)

// windows judges the windows of one shard as its clock passes their ends.
type windows struct {
	calendar calendar
	clock    int64 // event time less the lateness, Unix ms: of windows that end by it nothing can change
	lateness int64 // ms
	lets     []float64
	cells    []float64
	values   [][]kept
	last     stepCache
	some     float64 // so that what near reads is read
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

// passed takes a time of receipt, of messages of any partition: nothing that was received before is to come.
func (c *windowClock) passed(received int64) {
	if c.received != 0 {
		c.at = max(c.at, c.base+received-c.received)
	}
}

// follow takes a later state of the clock.
func (c *windowClock) follow(o windowClock) {
	o.at = max(o.at, c.at)
	*c = o
}

// inTransitMs is how long a message may take from its receipt to the log before the worker's clock
// passes it.
const inTransitMs = 5_000

// passingMs is how much later than a message of one partition one of another may be received and be on the log before.
// With what the worker's clock leaves it is 5 s: it passes nothing that the next message would not pass.
const passingMs = 1_000

// heldBackMs is how far behind the first a partition may be and still hold the clock of keys that span them.
const heldBackMs = 600_000

// allClocks is what the clocks come to of the places that a key spans.
type allClocks struct {
	first, last int64 // Unix ms
	any         bool  // of them has begun
}

func (a *allClocks) add(c *windowClock) {
	switch {
	case c.received == 0:
	case a.any:
		a.first, a.last = min(a.first, c.at), max(a.last, c.at)
	default:
		*a = allClocks{c.at, c.at, true}
	}
}

// at is the clock of the place that is furthest behind, but for one too far behind to hold the others.
func (a *allClocks) at() int64 { return max(a.first, a.last-heldBackMs) }

// windowBounds are in the context of an event: what the window was.
type windowBounds struct {
	Type string `json:"type"`
	From string `json:"from"`
	To   string `json:"to"`
}

// span is the window that a frame is of; none where to is 0.
type span struct{ from, to int64 }

// front is the event time, Unix ms: windows that end by it are judged.
func (w *windows) front() int64 { return w.clock + w.lateness }

// arm has a key looked at when a time is passed, of rules that wait when nothing can come before it any more.
func (w *windows) arm(s *winState, at int64) {
	if at != 0 && s.rule.window.waits {
		at += w.lateness
	}
	w.calendar.arm(s, at)
}

// close judges what is over. emit is told of each change, gone of each key with nothing left.
func (w *windows) close(f *frame, counts []ruleCounts, look func(*winState), emit emitFunc, gone func(*winState)) {
	for {
		at, all := w.calendar.pop(w.front())
		if all == nil {
			return
		}
		for i, s := range all {
			if i%nearAhead == 0 {
				w.near(all[i:min(i+nearAhead, len(all))])
			}
			if s.gone || s.armed == 0 || !s.rule.window.loose() && s.armed != at {
				continue
			}
			s.armed = 0
			if w.quickLook(s, at, f, counts) {
				continue
			}
			look(s)
			if s.rule.window.sequence != nil {
				w.runSequence(s, f, counts, emit)
				w.arm(s, s.dueSequence())
			} else {
				w.look(s, at, f, counts, emit)
			}
			if s.armed == 0 && !s.raised {
				gone(s)
			}
		}
		w.calendar.reuse(all)
	}
}

// look judges the windows of a key that are over at a time.
func (w *windows) look(s *winState, at int64, f *frame, counts []ruleCounts, emit emitFunc) {
	p := s.rule.window
	switch {
	case p.gap > 0:
		until := w.front()
		if p.waits {
			until = w.clock
		}
		for end := s.due(s.judged); end != 0 && end <= until; end = s.due(end) {
			w.judge(s, end, f, counts, emit)
		}
	case p.waits:
		w.judge(s, at-w.lateness, f, counts, emit)
	case s.due(s.judged) == at:
		w.judge(s, at, f, counts, emit)
	}
	s.forget(min(w.clock, s.judged))
	if s.due(s.judged) == 0 { // what was told of a time after the last window that was judged is not waited for by it
		s.final(w.clock)
	}
	w.next(s)
}

// next arms a key for its next window, or to forget what late readings may change until then.
func (w *windows) next(s *winState) {
	if next := s.due(s.judged); next != 0 {
		w.arm(s, next)
	} else if s.n > 0 || len(s.told) > 0 && !(s.raised && len(s.told) == 1) {
		until := max(s.judged, w.clock) // later than what is passed, or it would be looked at without end
		for i := range s.told {
			until = max(until, s.told[i].until())
		}
		w.calendar.arm(s, until+w.lateness+1) // to forget them
	}
}

// judge evaluates the rule on the window that ends at a time for the first time and moves the key's episode.
func (w *windows) judge(s *winState, end int64, f *frame, counts []ruleCounts, emit emitFunc) {
	st := course{s.raised, s.start}
	w.step(s, end, &st, f, counts, func(state string, at int64, reason string) { w.tell(s, state, at, reason, f, emit) })
	s.judged = end
}

// course is whether a key's episode stands between two windows, and since when.
type course struct {
	raised bool
	start  int64
}

// step evaluates the rule on the window that ends at a time, moves what stands and tells change, for which
// the frame is on the window.
func (w *windows) step(s *winState, end int64, st *course, f *frame, counts []ruleCounts, change func(state string, at int64, reason string)) {
	r := s.rule
	w.lets, w.values = zeroed(w.lets, len(r.window.lets)), zeroed(w.values, r.window.samples)
	w.cells = slices.Grow(w.cells[:0], r.window.width)[:r.window.width]
	from, to, some := s.window(end, w.clock, w.lets, w.cells, w.values)
	f.nums, f.texts, f.dev, f.now, f.quality, f.failed = w.lets, nil, s.about(), end, 0, false
	f.window = span{from, to}
	if r.Schedule != nil && !inHours(r, st, end, f, change) {
		return
	}
	c := &counts[r.global]
	c.evaluations++
	over, reason := no, ""
	if st.raised && r.clear != nil {
		over = r.clear(f)
	} else {
		holds := r.when(f)
		over = not(holds)
		if holds == yes {
			c.matches++
			if !st.raised {
				st.raised, st.start = true, end
				change("raised", end, "")
			}
		}
	}
	if over == undecided {
		if c.undecided(f); !some {
			over, reason = yes, "no readings in the window"
		}
	}
	if st.raised && over == yes {
		change("cleared", end, reason)
		st.raised = false
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
		a.Zone = s.name()
	}
	return &device{home: &home{domain: s.domain}, more: nothing, asset: a}
}

// event is news of a key that is not of one device of a shard; received is the newest receipt, Unix ms.
func (s *winState) event(n news, received int64) batch.Event {
	n.evidence.of = s.whose()
	return s.rule.eventOf(n.state, s.name(), n.id, n.at, max(received, n.at), n.evidence, n.reason)
}

// whose is what events of such a key are about.
func (s *winState) whose() *whose {
	of := &whose{Domain: cmp.Or(s.rule.Domain, s.domain)}
	switch s.rule.Key {
	case "zone":
		of.Zone = s.name()
	case "domain":
		of.Domain = s.name()
	case "device", "camera":
		of.Device, of.Zone = s.name(), s.about().zone()
	}
	return of
}

// verdict is news of a key of a rule that is judged twice.
func (s *winState) verdict(n news) verdict {
	n.evidence.of = s.whose()
	return verdict{rule: s.rule, key: s.name(), raised: n.state == tellings[toldRaised], start: n.id, at: n.at, reason: n.reason, evidence: n.evidence}
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
	for i := rows.first; i < rows.end; i++ {
		m := s.metrics[rows.table+int(rows.o.Metric.Index[i])]
		if m == nil || m.windows == nil {
			continue
		}
		v := rows.o.Value[i]
		if m.num >= 0 {
			own.nums[m.num] = v
		}
		if m.text >= 0 && v != v {
			own.texts[m.text] = rows.o.Text.At(i)
		}
		own.dirty.or(m.windows)
	}
	f := &s.frame
	f.nums, f.texts, f.dev, f.now = own.nums, own.texts, d, at
	for next := 0; next < len(pl.rules); {
		next = s.readFrom(d, pl, at, next)
	}
	s.correctTardy()
	for i := rows.first; i < rows.end; i++ {
		m := s.metrics[rows.table+int(rows.o.Metric.Index[i])]
		if m == nil || m.windows == nil {
			continue
		}
		if m.num >= 0 {
			own.nums[m.num] = nan
		}
		if m.text >= 0 {
			own.texts[m.text] = unknownText
		}
	}
}

// correctTardy judges windows again that the message in hand came to late.
func (s *shard) correctTardy() {
	for i, t := range s.tardy {
		s.windows.correct(t.state, t.from, &s.frame, s.count.rules, s.emitWindow)
		s.windows.next(t.state)
		s.tardy[i] = tardy{}
	}
	s.tardy = s.tardy[:0]
	s.frame.window = span{}
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
	if r.ordered() || r.asks() {
		if !(s.e.twice || s.e.early) || !r.surelyAlone() { // else it is judged surely, and no more
			s.askOf(d, r)
		}
	} else if r.shared() {
		s.readShared(d, r, at)
	} else {
		w := d.window(r)
		if w.add(f, at, d.hashed()) {
			if due := r.window.firstDue(at); s.windows.judged(w, due) {
				s.tardy = append(s.tardy, tardy{w, due})
			} else {
				s.windows.arm(w, due)
			}
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
	if w.dropped > 0 {
		c.dropped += w.dropped
		w.dropped = 0
	}
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
		w = newWinState(r, key, d.domain)
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

// tardy is a key with a reading of windows, from the one that ends at a time on, that were judged already.
type tardy struct {
	state *winState
	from  int64
}

// judged reports whether the window that ends at a time was judged before all of its readings were there.
func (w *windows) judged(s *winState, end int64) bool {
	p := s.rule.window
	return !p.waits && (end <= w.front() || p.gap > 0 && end < s.judged+p.gap)
}

// moveWindows takes the clock of the shard's windows and judges those that are over.
func (s *shard) moveWindows() {
	if s.windows.clock = s.winClock.at; s.windows.calendar.due(s.windows.front()) {
		s.windows.close(&s.frame, s.count.rules, func(w *winState) { s.refresh(w.dev) }, s.emitWindow, func(*winState) {})
		s.frame.window = span{}
	}
}

func (s *shard) emitWindow(w *winState, n news) {
	ev := w.rule.event(n.state, w.dev.id, n.id, n.at, s.received, n.evidence, 0, n.reason)
	ev.Domain, ev.Device, ev.Zone = w.dev.domain, w.dev.id, w.dev.zone()
	s.say(ev)
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
	s.windows.end(w, w.dev, at, reason, &s.frame, s.emitWindow)
}

// end ends what a key's windows have raised, for a reason that is none of its readings.
func (w *windows) end(s *winState, dev *device, now int64, reason string, f *frame, emit emitFunc) {
	f.window = span{}
	f.nums, f.texts, f.dev, f.now = unknownLets(s.rule), unknownSteps(s.rule), dev, max(now, s.start)
	w.tell(s, "cleared", f.now, reason, f, emit)
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

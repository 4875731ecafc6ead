package rules

import "math"

// watch starts the clocks of the rules of silence for a device that has just got its state.
func (s *shard) watch(d *device) {
	for _, i := range d.plan.absent {
		s.silence.push(timer{at: max(d.received, s.e.since) + d.plan.rules[i].absent, dev: d, rule: int32(i)})
	}
}

// tick moves processing time. A clock of silence has one timer a device and rule, set at the start
// and looked at when it runs out: a message only notes its time, which is cheap.
func (s *shard) tick(now int64) {
	s.live = true
	defer func() { s.frame.board = nil }()
	s.received = max(s.received, now)
	s.advance(now - s.e.cfg.Lateness.Milliseconds())
	for len(s.silence) > 0 && s.silence[0].at <= now {
		t := s.silence.pop()
		d := t.dev
		if d.gone {
			continue
		}
		r := d.plan.rules[t.rule]
		if ep := d.episode(int(t.rule)); ep != nil || t.ends {
			if ep != nil && t.ends {
				s.endSilence(d, r, ep, t.at)
			}
			continue // raised already; its end starts the clock again
		}
		if s.outOfHours(d, r, now) {
			continue
		}
		due := max(d.received, s.e.since) + r.absent
		if due > now {
			s.silence.push(timer{at: due, dev: d, rule: t.rule})
			continue
		}
		s.refresh(d)
		if s.e.cfg.Registry != nil && d.asset == nil {
			s.remove(d, now, "the device was removed from the registry")
			continue
		}
		s.frameOfSilence(d, r, due)
		again := timer{at: r.lastAsked(due, now) + r.askAgain(), dev: d, rule: t.rule}
		if d.tuned != 0 && r.exempt(&s.frame) {
			s.silence.push(again)
			continue
		}
		if r.when != nil && s.silent(d, r, due) != yes {
			last := r.lastAsked(due, now)
			if last == due || s.silent(d, r, last) != yes {
				s.silence.push(again)
				continue
			}
			due = last
		}
		if r.Schedule != nil {
			due = max(due, s.frame.stretch(r, now).from)
			s.armSilenceEnd(d, r, now)
		}
		d.episodes.add(episode{rule: t.rule, state: raised, start: d.received})
		s.emit(d, r, "raised", d.received, due, "")
	}
}

// silent asks a rule, as of a time, of a device that has said nothing for long enough.
func (s *shard) silent(d *device, r *bound, at int64) tri {
	s.frameOfSilence(d, r, at)
	c := &s.count.rules[r.global]
	c.evaluations++
	s.frame.failed, s.frame.why = false, ""
	v := r.when(&s.frame)
	switch v {
	case undecided:
		c.undecided(&s.frame)
	case yes:
		c.matches++
	}
	return v
}

// frameOfSilence is the frame of a device at a time, with the board for a rule that asks others.
func (s *shard) frameOfSilence(d *device, r *bound, at int64) {
	s.frameOf(d, at)
	if r.asks() { // nothing else runs while the clock ticks
		s.frame.board = s.e.shared.board
		s.frame.lat, s.frame.lon = s.frame.placed()
	}
}

// askAgain is after how long, ms, a device that is silent, but of which the rule did not hold, is asked again.
func (r *bound) askAgain() int64 { return min(r.absent, 60_000) }

// lastAsked is the last time by now at which a device is asked that is silent long enough since due. It depends on
// no timer, so a restart does not move it.
func (r *bound) lastAsked(due, now int64) int64 { return due + (now-due)/r.askAgain()*r.askAgain() }

// heard ends the silence of a device.
func (s *shard) heard(d *device, r *bound, ep *episode) {
	if ep.state == raised {
		s.emit(d, r, "cleared", ep.start, s.received, "")
	}
	d.drop(r.index)
	s.silence.push(timer{at: max(s.received, s.e.since) + r.absent, dev: d, rule: int32(r.index)})
}

// A timer looks at a device's rule of silence at a time, Unix ms. It may be out of date: whoever takes it
// compares.
type timer struct {
	at   int64
	dev  *device
	rule int32
	ends bool // with the rule's schedule
}

func (a timer) before(b timer) bool {
	if a.at == b.at && a.dev == b.dev {
		return a.rule < b.rule
	}
	return due{a.at, a.dev}.before(due{b.at, b.dev})
}

// due is a device of which something pending may be raised at a time, Unix ms. It too may be out of date.
type due struct {
	at  int64
	dev *device
}

func (a due) before(b due) bool {
	switch {
	case a.at != b.at:
		return a.at < b.at
	case a.dev.id != b.dev.id:
		return a.dev.id < b.dev.id
	}
	return a.dev.domain < b.dev.domain
}

type ordered[T any] interface{ before(T) bool }

// A heap has the earliest first; before decides ties too, so that the order is always the same.
type heap[T ordered[T]] []T

func (t *heap[T]) push(x T) {
	*t = append(*t, x)
	h := *t
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if !h[i].before(h[up]) {
			break
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func (t *heap[T]) pop() T {
	h := *t
	top := h[0]
	last := len(h) - 1
	h[0] = h[last]
	clear(h[last:])
	h = h[:last]
	*t = h
	for i := 0; ; {
		next := 2*i + 1
		if next >= last {
			return top
		}
		if next+1 < last && h[next+1].before(h[next]) {
			next++
		}
		if !h[next].before(h[i]) {
			return top
		}
		h[i], h[next] = h[next], h[i]
		i = next
	}
}

// nextSilence is when the next clock of silence runs out, Unix ms of processing time; it may turn out
// that its device has spoken since.
func (e *Engine) nextSilence() int64 {
	next := int64(math.MaxInt64)
	for _, s := range e.shards {
		if len(s.silence) > 0 {
			next = min(next, s.silence[0].at)
		}
	}
	return next
}

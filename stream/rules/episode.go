package rules

type episodeState uint8

const (
	pending episodeState = iota // the condition holds, but not long enough yet
	raised
	member // of a key in the shared shard: the device's condition holds
	closed // cleared in the millisecond it was raised: its start is spent
)

// An episode is a device's side of one rule. Rules whose condition is false have none.
type episode struct {
	start int64 // Unix ms
	rule  int32 // in the plan
	state episodeState
}

// evaluate runs one rule on the frame and moves its episode.
func (s *shard) evaluate(d *device, r *bound) {
	c := &s.count.rules[r.global]
	c.evaluations++
	f := &s.frame
	f.failed = false
	ep := d.episode(r.index)
	if r.gated && !s.open(d, r, ep) || d.tuned != 0 && s.exempts(d, r, ep) {
		return
	}
	if ep != nil && r.clear != nil && (ep.state == raised || ep.state == member) {
		switch r.bare.clear(f) {
		case yes:
			s.fell(d, r, ep)
		case undecided:
			c.undecided(f)
		}
		return
	}
	switch r.test.eval(f) {
	case yes:
		c.matches++
		s.holds(d, r, ep)
	case no:
		if ep != nil {
			s.fell(d, r, ep)
		}
	default:
		c.undecided(f)
	}
}

// holds notes that the condition is true now.
func (s *shard) holds(d *device, r *bound, ep *episode) {
	now := s.frame.now
	if r.shared() {
		s.joins(d, r, ep)
		return
	}
	start := now
	if ep != nil {
		if ep.state != closed {
			if ep.state == pending && now >= ep.start+r.forMs {
				s.raise(d, r, ep, now)
			}
			return
		}
		start = max(now, ep.start+1)
		d.drop(r.index)
	}
	ep = d.episodes.add(episode{rule: int32(r.index), state: pending, start: start})
	s.armEnd(d, r, start)
	if r.forMs == 0 {
		s.raise(d, r, ep, start)
		return
	}
	s.timers.push(due{start + r.forMs, d})
}

// open reports whether a rule of certain hours or of a profile is judged now. What was open when its
// schedule ended is ended by then.
func (s *shard) open(d *device, r *bound, ep *episode) bool {
	if r.asks() {
		s.ask(d, r)
		return false
	}
	if r.Profile != "" && s.frame.asset().Profile != r.Profile {
		if ep != nil {
			s.ends(d, r, ep, "the device has another profile")
		}
		return false
	}
	return s.frame.inForce(r, s.frame.now)
}

func (s *shard) exempts(d *device, r *bound, ep *episode) bool {
	if !r.exempt(&s.frame) {
		return false
	}
	if ep != nil {
		s.ends(d, r, ep, exemptReason)
	}
	return true
}

func (s *shard) raise(d *device, r *bound, ep *episode, at int64) {
	ep.state = raised
	s.emit(d, r, "raised", ep.start, at, "")
}

// fell notes that the condition, or what keeps it up, is false now.
func (s *shard) fell(d *device, r *bound, ep *episode) { s.ends(d, r, ep, "") }

// ends ends an episode for a reason, "" for what a reading decided.
func (s *shard) ends(d *device, r *bound, ep *episode, reason string) {
	now := s.frame.now
	switch ep.state {
	case member:
		s.leaves(d, r, ep, reason)
	case raised:
		s.emit(d, r, "cleared", ep.start, now, reason)
		if now <= ep.start {
			ep.state = closed
			return
		}
		d.drop(r.index)
	default:
		if ep.state == closed && now <= ep.start {
			return
		}
		d.drop(r.index)
	}
}

// beforeMessage settles what the values until now decide, before a message at event time now
// changes them: what is due is raised, and what waited across a gap starts anew.
func (s *shard) beforeMessage(d *device, now int64) {
	s.settlePending(d, now, func(*bound) bool { return true })
}

// settlePending is beforeMessage for certain rules.
func (s *shard) settlePending(d *device, now int64, of func(r *bound) bool) {
	for i := 0; i < int(d.episodes.n); i++ {
		ep := &d.episodes.all()[i]
		if ep.state != pending {
			continue
		}
		r := d.plan.rules[ep.rule]
		if r.Absent > 0 || !of(r) {
			continue
		}
		// What is due now is for the message to decide.
		if due := ep.start + r.forMs; due < now && d.stands(due) && (r.Schedule == nil || due < s.frame.scheduleEnd(r, ep.start)) {
			s.frameOf(d, due)
			s.raise(d, r, ep, due)
		}
	}
	if d.plan.scheduled {
		s.endScheduled(d, now)
	}
	if !d.stands(now) {
		kept := d.episodes.all()[:0]
		for _, ep := range d.episodes.all() {
			if ep.state != pending || !of(d.plan.rules[ep.rule]) {
				kept = append(kept, ep)
			}
		}
		d.episodes.set(kept)
	}
}

// frameOf puts the frame on a device outside of a message.
func (s *shard) frameOf(d *device, now int64) {
	f := &s.frame
	f.nums, f.texts, f.dev, f.now, f.own, f.quality = d.nums(), d.texts, d, now, 0, 0
}

// advance moves the event clock and raises what is due by it.
func (s *shard) advance(to int64) {
	if to <= s.clock {
		return
	}
	s.clock = to
	for len(s.timers) > 0 && s.timers[0].at <= to {
		t := s.timers.pop()
		if t.dev.gone {
			continue
		}
		t.dev.trim(t.at - 1)
		if t.dev.plan.scheduled {
			s.endScheduled(t.dev, t.at)
		}
		if !t.dev.stands(t.at) {
			continue // to be decided by the next reading
		}
		all := t.dev.episodes.all()
		for i := range all {
			ep := &all[i]
			if r := t.dev.plan.rules[ep.rule]; ep.state == pending && r.Absent == 0 && ep.start+r.forMs == t.at {
				s.frameOf(t.dev, t.at)
				s.raise(t.dev, r, ep, t.at)
			}
		}
	}
}

func (d *device) episode(rule int) *episode {
	all := d.episodes.all()
	for i := range all {
		if int(all[i].rule) == rule {
			return &all[i]
		}
	}
	return nil
}

func (d *device) drop(rule int) {
	all := d.episodes.all()
	for i := range all {
		if int(all[i].rule) == rule {
			if all = append(all[:i], all[i+1:]...); len(all) == 0 {
				all = nil
			}
			d.episodes.set(all)
			return
		}
	}
}

func (s *shard) closeAll(d *device, at int64, reason string) {
	if d.episodes.n == 0 {
		return
	}
	s.frameOf(d, max(at, d.time))
	for d.episodes.n > 0 {
		all := d.episodes.all()
		ep := &all[len(all)-1]
		r := d.plan.rules[ep.rule]
		switch ep.state {
		case raised:
			s.emit(d, r, "cleared", ep.start, s.frame.now, reason)
		case member:
			s.leaves(d, r, ep, reason)
			continue
		}
		d.episodes.set(all[:len(all)-1])
	}
}

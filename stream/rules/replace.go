package rules

import "slices"

// Replace makes set the rules that run, now (Unix ms, processing time) on. A rule keeps its state
// while its logic is the same; where that changed, raised episodes stay open for the new logic to
// decide and pending ones start anew; episodes of rules that went are cleared. The next Settle
// returns what that made. The devices' values of metrics read before and now are kept.
func (e *Engine) Replace(set *Set, now int64) {
	next := newProgram(e.cfg.faults.without(set), onObservations, false)
	for _, s := range e.shards {
		s.adopt(next, now)
	}
	e.shared.replace(next, now)
	e.prog = next
	e.counts.Store(newCounts(next.set, e.counts.Load()))
	e.census = 0 // a new rule of silence must know all its devices
}

// fate is what becomes of the episodes of one rule of an old plan.
type fate struct {
	to     int    // index in the new plan, -1 for none
	reason string // of the end, where to is -1
	anew   bool   // the logic changed
}

func fates(old, next *plan, faults *faults) []fate {
	out := make([]fate, len(old.rules))
	for i, r := range old.rules {
		j := slices.IndexFunc(next.rules, func(n *bound) bool { return n.ID == r.ID })
		switch {
		case j < 0:
			out[i] = fate{to: -1, reason: faults.reason(r.Rule)}
		case !next.rules[j].sameKeys(r.Rule):
			out[i] = fate{to: -1, reason: "the rule was changed"}
		default:
			out[i] = fate{to: j, anew: next.rules[j].logic != r.logic}
		}
	}
	return out
}

// adopt moves every device of the shard to its plan in the next program.
func (s *shard) adopt(next *program, now int64) {
	// Counts are by place in the set, which changes: hand them over first.
	s.e.counts.Load().take(&s.count)
	s.live, s.received = true, max(s.received, now)
	s.timers, s.silence = nil, nil
	fate := map[*plan][]fate{}
	for _, first := range s.devices {
		for d := first; d != nil; {
			following := d.next
			pl := next.plan(d.domain)
			if fate[d.plan] == nil {
				fate[d.plan] = fates(d.plan, pl, s.e.cfg.faults)
			}
			s.carry(d, pl, fate[d.plan], now)
			if len(pl.rules) == 0 && len(d.episodes) == 0 { // its windows are ended
				s.remove(d, now, "")
			}
			d = following
		}
	}
	s.keepLearned(next)
	s.count.rules = make([]ruleCounts, len(next.set.Rules))
}

func (s *shard) carry(d *device, pl *plan, fates []fate, now int64) {
	for i := len(d.episodes) - 1; i >= 0; i-- {
		ep := &d.episodes[i]
		f := fates[ep.rule]
		r := d.plan.rules[ep.rule]
		switch {
		case f.to >= 0 && (ep.state != pending || !f.anew):
			continue
		case f.to < 0 && ep.state == raised:
			s.frameOf(d, max(now, d.time))
			s.emit(d, r, "cleared", ep.start, s.frame.now, f.reason)
		}
		d.episodes = slices.Delete(d.episodes, i, i+1) // the shared shard ends its own
	}
	for i := range d.episodes {
		d.episodes[i].rule = int32(fates[d.episodes[i].rule].to)
	}
	s.carryWindows(d, pl, now)
	s.carrySeries(d, d.plan, pl)
	old, nums, texts, seen := d.plan, d.nums, d.texts, d.seen
	d.plan = pl
	d.nums, d.texts, d.seen = emptySlots(pl)
	for metric, m := range pl.metrics {
		was := old.metrics[metric]
		if was == nil {
			continue
		}
		if m.num >= 0 && was.num >= 0 {
			d.nums[m.num], d.seen[m.num] = nums[was.num], seen[was.num]
		}
		if m.text >= 0 && was.text >= 0 {
			d.texts[m.text], d.seen[len(d.nums)+m.text] = texts[was.text], seen[len(nums)+was.text]
		}
	}
	s.arm(d)
}

// arm sets the timers of a device whose episodes were set by other means than a message.
func (s *shard) arm(d *device) {
	for i := range d.episodes {
		ep := &d.episodes[i]
		if r := d.plan.rules[ep.rule]; ep.state == pending {
			s.timers.push(timer{at: ep.start + r.forMs, dev: d, rule: ep.rule, start: ep.start})
		}
	}
	for _, i := range d.plan.absent {
		if d.episode(i) == nil {
			s.silence.push(timer{at: max(d.received, s.e.since) + d.plan.rules[i].absent, dev: d, rule: int32(i)})
		}
	}
}

func (s *shared) replace(next *program, now int64) {
	old := s.rules
	s.e.counts.Load().take(&s.count)
	s.adopt(next)
	for k, g := range s.groups {
		was, r := old[k.rule], s.rules[k.rule]
		reason := ""
		switch {
		case r == nil:
			reason = s.e.cfg.faults.reason(was.Rule)
		case !r.sameKeys(was.Rule):
			reason = "the rule was changed"
		case g.state == pending && r.logic != was.logic:
			g.start = max(g.time, g.start) // the time runs anew
			continue
		default:
			continue
		}
		if g.state == raised {
			s.emit(was, k, g, "cleared", max(now, g.time), ^uint64(0), now, reason)
		}
		s.drop(k)
	}
	for _, w := range s.keyed {
		if r := s.rules[w.rule.ID]; r != nil && r.windowed() && r.logic == w.rule.logic {
			w.rule = r
		} else {
			s.endWindow(w, now, changeReason(r))
		}
	}
	s.next = 0
}

// carryWindows gives the windows of a device to the rules of its next plan that are of the same logic;
// the others begin anew, and what they had raised ends.
func (s *shard) carryWindows(d *device, pl *plan, now int64) {
	old := d.windows
	d.windows = nil
	for _, w := range old {
		if w == nil {
			continue
		}
		i := slices.IndexFunc(pl.rules, func(r *bound) bool { return r.ID == w.rule.ID })
		if i >= 0 && pl.rules[i].windowed() && pl.rules[i].logic == w.rule.logic {
			w.rule = pl.rules[i]
			if d.windows == nil {
				d.windows = make([]*winState, pl.windows)
			}
			d.windows[w.rule.window.slot] = w
			continue
		}
		if i < 0 {
			s.endWindow(w, now, changeReason(nil))
		} else {
			s.endWindow(w, now, changeReason(pl.rules[i]))
		}
	}
}

// changeReason says why what a rule had raised ends: next is what is called so now, nil for none.
func changeReason(next *bound) string {
	if next == nil {
		return "the rule was removed"
	}
	return "the rule was changed"
}

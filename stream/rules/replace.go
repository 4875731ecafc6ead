package rules

import "slices"

// Replace makes set the rules that run, now (Unix ms, processing time) on. A rule keeps its state
// while its logic is the same; where that changed, raised episodes stay open for the new logic to
// decide and pending ones start anew; episodes of rules that went are cleared. The next Settle
// returns what that made. The devices' values of metrics read before and now are kept.
func (e *Engine) Replace(set *Set, now int64) {
	next := newProgramOf(e.cfg.faults.without(set), e.kind, onObservations, false)
	for _, s := range e.shards {
		s.adopt(next, now)
	}
	e.shared.replace(next, now)
	e.prog = next
	e.shared.resettle(next, now)
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
	s.foldQuick()
	s.e.counts.Load().take(&s.count)
	s.live, s.received = true, max(s.received, now)
	s.timers, s.silence = nil, nil
	s.homes = map[string]*home{}
	fate := map[*home][]fate{}
	var idle []*device
	for d := range s.devices.all() {
		to := s.homes[d.domain]
		if to == nil {
			to = &home{domain: d.domain, plan: next.plan(d.domain), salt: d.salt}
			s.homes[d.domain] = to
		}
		if fate[d.home] == nil {
			fate[d.home] = fates(d.plan, to.plan, s.e.cfg.faults)
		}
		s.carry(d, to, fate[d.home], now)
		if len(to.plan.rules) == 0 && d.episodes.n == 0 { // its windows are ended
			idle = append(idle, d)
		}
	}
	for _, d := range idle {
		s.remove(d, now, "")
	}
	s.keepLearned(next)
	s.count.rules, s.count.quick = make([]ruleCounts, len(next.set.Rules)), make([]uint64, len(next.quick))
}

func (s *shard) carry(d *device, to *home, fates []fate, now int64) {
	pl := to.plan
	for i := int(d.episodes.n) - 1; i >= 0; i-- {
		ep := &d.episodes.all()[i]
		f := fates[ep.rule]
		r := d.plan.rules[ep.rule]
		switch {
		case f.to >= 0 && (ep.state != pending || !f.anew):
			continue
		case f.to < 0 && ep.state == raised:
			s.frameOf(d, max(now, d.time))
			s.emit(d, r, "cleared", ep.start, s.frame.now, f.reason)
		}
		d.episodes.set(slices.Delete(d.episodes.all(), i, i+1)) // the shared shard ends its own
	}
	kept := d.episodes.all()
	for i := range kept {
		kept[i].rule = int32(fates[kept[i].rule].to)
	}
	var keys []memberKey
	for _, k := range d.keys {
		if f := fates[k.rule]; f.to >= 0 {
			keys = append(keys, memberKey{int32(f.to), k.key})
		}
	}
	if len(d.keys) > 0 {
		d.keys = keys
	}
	s.blank(d)
	for _, st := range d.stories {
		if f := fates[st.rule.index]; f.to >= 0 {
			st.rule = pl.rules[f.to]
		} else {
			st.told = nil
		}
	}
	d.trim(s.clock)
	s.carryWindows(d, pl, now)
	s.carrySeries(d, d.plan, pl)
	old, texts := *d, d.texts // which empty replaces
	d.home = to
	d.empty()
	for metric, m := range pl.metrics {
		was := old.plan.metrics[metric]
		if was == nil {
			continue
		}
		if m.num >= 0 && was.num >= 0 {
			d.nums()[m.num] = old.nums()[was.num]
			d.see(m.num, old.seenAt(was.num))
		}
		if m.text >= 0 && was.text >= 0 {
			d.texts[m.text] = texts[was.text]
			d.see(len(d.nums())+m.text, old.seenAt(len(old.nums())+was.text))
		}
	}
	s.arm(d)
}

// armEpisode sets the timers of an episode that was set by other means than a message.
func (s *shard) armEpisode(d *device, ep episode) {
	r := d.plan.rules[ep.rule]
	if ep.state == pending {
		s.timers.push(due{ep.start + r.forMs, d})
	}
	if r.Absent > 0 {
		s.armSilenceEnd(d, r, s.received)
	} else {
		s.armEnd(d, r, ep.start)
	}
}

// arm sets the timers of a device whose episodes were set by other means than a message.
func (s *shard) arm(d *device) {
	for _, ep := range d.episodes.all() {
		s.armEpisode(d, ep)
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
	s.carryHolding(old)
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
	if len(old) == 0 {
		return
	}
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

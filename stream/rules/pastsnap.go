package rules

import "slices"

// The past in a snapshot: of every device, in their order, what was told of it and its rows that something may
// still be late for. They are read where the device's plan is as it was; else nothing before is corrected.

func (w *writer) pasts(s *shard, all []*device) {
	w.time(s.past.floor)
	for _, d := range all {
		w.uint(uint64(len(d.stories)))
		for _, st := range d.stories {
			w.text(st.rule.ID)
			w.told(st.told)
		}
		var numbers []uint64
		if s.past.has(d.past) {
			for n := d.past; n != 0 && s.past.at(s.past.row(n)) > s.clock; n = s.past.before(n) {
				numbers = append(numbers, n)
			}
		}
		w.uint(uint64(len(numbers)))
		for _, n := range slices.Backward(numbers) {
			w.pastRow(s, d, n)
		}
	}
}

func (w *writer) pastRow(s *shard, d *device, n uint64) {
	row := s.past.row(n)
	w.time(s.past.at(row))
	w.uint(uint64(row.timeAgo))
	w.uint(uint64(row.wasAgo))
	w.int(int64(row.slot))
	w.uint(uint64(row.quality))
	w.uint(uint64(row.flags))
	if row.slot >= 0 && int(row.slot) < len(d.nums) {
		w.number(row.was)
	}
	if row.flags&pastText != 0 {
		w.text(s.past.texts.of(n)[0])
	}
	if row.flags&pastEpisodes != 0 {
		w.uint(uint64(len(s.past.episodes[n])))
		for _, ep := range s.past.episodes[n] {
			w.uint(uint64(ep.rule))
			w.uint(uint64(ep.state))
			w.time(ep.start)
		}
	}
	kept := s.past.series.of(n)
	w.uint(uint64(len(kept)))
	for i := range kept {
		w.uint(uint64(kept[i].slot))
		w.seriesState(&kept[i].state)
	}
}

// readPasts reads what pasts wrote; from are the plans of the devices then.
func (s *shard) readPasts(r *reader, all []*device, from []*plan) {
	floor := r.time()
	same := map[[2]*plan]bool{}
	for i, d := range all {
		pair := [2]*plan{from[i], d.plan}
		if _, ok := same[pair]; !ok {
			same[pair] = samePlan(from[i], d.plan)
		}
		for range r.count() {
			id, told := r.text(), r.told()
			j := slices.IndexFunc(d.plan.rules, func(b *bound) bool { return b.ID == id && b.redone })
			if j >= 0 && len(told) > 0 && !r.bad {
				d.own().stories = append(d.stories, &story{rule: d.plan.rules[j], told: told})
				s.timers.push(due{told[len(told)-1].at + 1, d})
			}
		}
		d.past = 0
		for range r.count() {
			if !s.readPastRow(r, d, same[pair], len(from[i].nums)) {
				return
			}
		}
		if !same[pair] {
			floor = max(floor, min(d.time, s.received))
		}
	}
	s.past.floor = floor
}

func (s *shard) readPastRow(r *reader, d *device, take bool, nums int) bool {
	at := r.time()
	row := pastRow{timeAgo: uint32(r.uint()), wasAgo: uint32(r.uint()), slot: int16(r.int()), quality: uint8(r.uint()), flags: uint8(r.uint())}
	if row.slot >= 0 && int(row.slot) < nums {
		row.was = r.number()
	}
	text := ""
	if row.flags&pastText != 0 {
		text = r.text()
	}
	var episodes []episode
	if row.flags&pastEpisodes != 0 {
		for range r.count() {
			ep := episode{rule: int32(r.uint()), state: episodeState(r.uint()), start: r.time()}
			r.bad = r.bad || ep.state > closed || take && (ep.rule < 0 || int(ep.rule) >= len(d.plan.rules))
			episodes = append(episodes, ep)
		}
	}
	var kept []pastSeries
	for range r.count() {
		k := pastSeries{slot: int(r.uint()), state: r.seriesState()}
		r.bad = r.bad || take && (k.slot < 0 || k.slot >= len(d.plan.series))
		kept = append(kept, k)
	}
	if take && (row.slot < -1 || int(row.slot) >= len(d.plan.bySlot) || (int(row.slot) >= nums) != (row.flags&pastText != 0)) {
		r.bad = true
	}
	if r.bad || !take {
		return !r.bad
	}
	to := s.past.add(d, at, at, s.clock)
	n := d.past
	row.at, row.prev = to.at, to.prev
	if *to = row; row.flags&pastText != 0 {
		s.past.texts.add(n, text)
	}
	if row.flags&pastEpisodes != 0 {
		s.past.episodes[n] = episodes
	}
	for _, k := range kept {
		s.past.series.add(n, k)
	}
	return true
}

// samePlan reports whether devices of two plans keep the same values in the same places for the same rules.
func samePlan(a, b *plan) bool {
	return slices.Equal(a.nums, b.nums) && slices.Equal(a.texts, b.texts) &&
		slices.EqualFunc(a.rules, b.rules, func(x, y *bound) bool { return x.ID == y.ID && x.logic == y.logic })
}

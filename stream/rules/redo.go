package rules

import "slices"

// Conditions on what stands are judged as readings come. One that comes later than others of its device, but
// inside the lateness, takes the device back to where it was then; it and what had come after it are judged
// again, in the order of their times, and what that changes of what was told is told: see telling. So what
// stands after the lateness does not depend on the order of arrival. It costs nothing else but a row of the past a
// reading, see past.

// redoes reports whether late readings correct what the rule has raised: those of conditions on a device alone.
// What is of many devices is judged twice instead: see settler.
func (r *bound) redoes() bool {
	return !r.shared() && !r.windowed() && r.Absent == 0 && !r.asks()
}

// layRedo notes which rules of the plan late readings correct, once all are bound.
func (pl *plan) layRedo() {
	pl.redone = make(bitset, pl.words)
	small := len(pl.nums)+len(pl.texts) <= pastSlots // as of any file: only several may have more together
	for _, r := range pl.rules {
		if r.redone = small && r.redoes(); r.redone {
			pl.redone.set(r.index)
			pl.redoes = true
		}
	}
	pl.bySlot = make([]*metricPlan, len(pl.nums)+len(pl.texts))
	for _, m := range pl.metrics {
		if m.num >= 0 {
			pl.bySlot[m.num] = m
		}
		if m.text >= 0 {
			pl.bySlot[len(pl.nums)+m.text] = m
		}
	}
}

// story is what was told of a device by a rule, while late readings may change it.
type story struct {
	rule *bound
	told []telling
}

// said is a reading of a message that is judged again; text is of the slots of texts.
type said struct {
	at      int64
	value   float64
	text    string
	slot    int
	quality uint8
	begins  bool // the message
}

// replay is what is made of a device's messages that are judged again.
type replay struct {
	from int64 // time of the first of them
	made map[*bound][]telling
}

// decided reports whether an episode that began at a time ended with its rule's schedule before the first of the
// messages: that was told, forgotten perhaps, and none of them changes it.
func (re *replay) decided(f *frame, r *bound, start int64) bool {
	return f.scheduleEnd(r, start) < re.from
}

// tardyFor reports whether a message of a time is one that its device is to be taken back for.
func (s *shard) tardyFor(d *device, at int64) bool {
	if !d.plan.redoes || at <= s.clock || d.retuned {
		return false
	}
	if at <= s.past.floor {
		s.count.uncorrected++
		return false
	}
	return true
}

// redo takes the device back to before the message in hand and judges all since then again.
func (s *shard) redo(d *device, rows messageRows, at int64, quality uint8) {
	pl := d.plan
	undone := s.takeBack(d, at)
	re := &replay{from: at, made: map[*bound][]telling{}}
	s.replay = re
	for _, ep := range d.episodes.all() {
		if r := pl.rules[ep.rule]; r.redone && ep.state == raised && !re.decided(&s.frame, r, ep.start) {
			t := s.standing(d, r, ep.start)
			re.made[r] = []telling{{start: ep.start, began: t.began, from: t.from}}
		}
	}
	s.again(d, s.saidIn(pl, rows, at, quality))
	for len(undone) > 0 {
		n := 1
		for n < len(undone) && !undone[n].begins {
			n++
		}
		s.again(d, undone[:n])
		undone = undone[n:]
	}
	s.replay = nil
	for _, r := range pl.rules {
		st := d.story(r)
		if all := re.made[r]; r.redone && (st != nil || len(all) > 0) {
			if st == nil {
				st = s.beginStory(d, r)
			}
			w := st.state(d)
			s.count.rules[r.global].corrected += uint64(w.amend(at, all, s.emitWindow))
			s.keepTold(d, st, w.told)
		}
	}
}

// takeBack undoes what the device's messages after a time have done, and returns them in the order of their times.
func (s *shard) takeBack(d *device, at int64) []said {
	p, pl := &s.past, d.plan
	var undone []said
	var episodes []episode
	found := false
	n := p.newestOf(d)
	for ; n != 0 && d.time > at; n = p.before(n) {
		row := p.row(n)
		slot, was := row.slot(), p.ago(n, row, d.time)
		u := said{at: d.time, slot: slot, value: nan, quality: p.qualityOf(n, row), begins: row.has(pastBegins)}
		switch {
		case slot < 0:
		case slot < len(pl.nums):
			u.value, d.nums()[slot] = d.nums()[slot], row.was
		default:
			u.text, d.texts[slot-len(pl.nums)] = d.texts[slot-len(pl.nums)], p.texts.of(n)[0]
		}
		if slot >= 0 {
			d.see(slot, was)
		}
		for _, kept := range p.series.of(n) {
			if kept.slot < len(d.series) {
				s.takeBackSeries(&d.series[kept.slot], &kept)
			}
		}
		if all, known := p.episodesOf(n, row); known {
			episodes, found = all, true
		}
		if u.begins {
			d.time = was
		}
		undone = append(undone, u)
	}
	d.past = n
	if found {
		kept := slices.DeleteFunc(slices.Clone(d.episodes.all()), func(ep episode) bool { return pl.rules[ep.rule].redone })
		for _, ep := range episodes {
			if !pl.rules[ep.rule].redone {
				continue
			}
			kept = append(kept, ep)
			if !slices.Contains(d.episodes.all(), ep) { // its timers may be of before a restart, which sets only those of what is open
				s.armEpisode(d, ep)
			}
		}
		d.episodes.set(kept)
	}
	slices.Reverse(undone)
	return undone
}

// takeBackSeries makes a series what it was.
func (s *shard) takeBackSeries(now *seriesState, kept *pastSeries) {
	if now.base != nil && kept.state.base == nil {
		s.baselines-- // it began with what is undone
	}
	if *now = kept.state; now.base != nil {
		now.base.takeBack(kept.hour)
	}
}

// saidIn are the readings of a message as rows.
func (s *shard) saidIn(pl *plan, rows messageRows, at int64, quality uint8) []said {
	var out []said
	add := func(slot int, v float64, text string) {
		out = append(out, said{at: at, value: v, text: text, slot: slot, quality: quality})
	}
	for i := rows.first; i < rows.end; i++ {
		m := s.metrics[rows.table+int(rows.o.Metric.Index[i])]
		if m == nil {
			m = s.metric(pl, rows.o, i, rows.table)
		}
		v, text := rows.o.Value[i], rows.o.Text.At(i)
		if m.num >= 0 && (v == v || text != "") {
			add(m.num, v, "")
		}
		if m.text >= 0 {
			if v == v {
				text = unknownText
			}
			add(len(pl.nums)+m.text, nan, text)
		}
	}
	if len(out) == 0 {
		add(-1, nan, "")
	}
	return out
}

// again applies a message to a device that knows none after it, and judges the rules that are redone.
func (s *shard) again(d *device, all []said) {
	pl, f := d.plan, &s.frame
	at := all[0].at
	s.noted = noted{on: at >= d.time, time: d.time, quality: all[0].quality, episodes: append(s.noted.episodes[:0], d.episodes.all()...)}
	if d.episodes.n > 0 {
		s.settlePending(d, max(at, d.time), func(r *bound) bool { return r.redone })
	}
	s.dirty = zeroed(s.dirty, pl.words)
	copy(s.dirty, pl.always)
	for i := range all {
		u := &all[i]
		if u.slot < 0 {
			continue
		}
		m := pl.bySlot[u.slot]
		if at < d.seenAt(u.slot) {
			continue // of what came before the past that is known
		}
		if s.noted.on {
			s.note(d, u.slot, at)
		}
		s.dirty.or(m.rules)
		if u.slot < len(pl.nums) {
			d.nums()[u.slot] = u.value
			if m.series != nil {
				s.takeSeries(d, m, at, u.value)
			}
		} else {
			d.texts[u.slot-len(pl.nums)] = u.text
		}
		d.see(u.slot, at)
	}
	if s.noted.on && s.noted.first == 0 {
		s.note(d, -1, at)
	}
	d.time = max(at, d.time)
	if pl.fences != nil {
		s.takeFences(d, pl, at)
	}
	f.nums, f.texts, f.dev, f.now, f.own, f.quality = d.nums(), d.texts, d, d.time, at, all[0].quality
	for i := range s.dirty {
		s.dirty[i] &= pl.redone[i]
	}
	s.judge(d, pl)
	s.noteEpisodes(d)
}

// noted is of the message in hand: what its rows of the past say.
type noted struct {
	on       bool  // they are written
	time     int64 // of the device before it
	quality  uint8
	first    uint64 // row; 0: none yet
	episodes []episode
}

// note writes a reading of the message in hand, which is the device's newest, into the past, before it changes the
// device; slot is -1 for a message that says nothing.
func (s *shard) note(d *device, slot int, at int64) {
	p, before, was := &s.past, s.noted.time, 0.0
	if slot >= 0 {
		seen := d.seenAt(slot)
		if s.noted.first == 0 && seen != before {
			s.note(d, -1, at)
		}
		if before = seen; slot < len(d.nums()) {
			was = d.nums()[slot]
		}
	}
	flags := uint64(0)
	if s.noted.first == 0 {
		flags = pastBegins
	}
	if s.noted.quality != 0 {
		flags |= pastQuality
	}
	p.add(d, slot, was, at, before, flags, s.clock)
	if s.noted.first == 0 {
		s.noted.first = d.past
	}
	if s.noted.quality != 0 {
		p.quality.add(d.past, s.noted.quality)
	}
	if slot >= len(d.nums()) {
		p.texts.add(d.past, d.texts[slot-len(d.nums())])
	}
}

// noteOne notes a message of one reading.
func (s *shard) noteOne(d *device, slot int, at, before int64, quality uint8) {
	s.noted = noted{time: before, quality: quality}
	s.note(d, slot, at)
}

// noteEpisodes keeps the device's episodes as they were before the message in hand, where it changed them.
func (s *shard) noteEpisodes(d *device) {
	if n := s.noted.first; s.noted.on && n != 0 && s.past.has(n) && !slices.Equal(s.noted.episodes, d.episodes.all()) {
		s.past.keepEpisodes(n, s.noted.episodes)
	}
}

// tellOf puts out an event of a rule that is redone.
func (s *shard) tellOf(d *device, r *bound, state string, start, at int64, reason string) {
	v := r.evidence(&s.frame, d.id, start)
	if re := s.replay; re != nil {
		all := re.made[r]
		if state == "raised" {
			if re.decided(&s.frame, r, start) {
				return
			}
			if at <= s.clock { // by the clock, and after the message that is undone: it was told
				t := s.standing(d, r, start)
				at, v = t.began, t.from
			}
			all = append(all, telling{start: start, began: at, from: v})
		} else if len(all) > 0 {
			t := &all[len(all)-1]
			t.end, t.to, t.why = at, v, reason
		}
		re.made[r] = all
		return
	}
	st := d.story(r)
	if st == nil {
		st = s.beginStory(d, r)
	}
	w := st.state(d)
	if state == "raised" {
		w.begin(start, at, v, reason, s.emitWindow)
	} else {
		t := s.standing(d, r, start)
		w.told = st.told
		t.end, t.to, t.why = at, v, reason
		t.tell(w, toldCleared, at, v, reason, false, s.emitWindow)
	}
	s.keepTold(d, st, w.told)
}

// keepTold keeps what was told of a device for as long as late readings may change it.
func (s *shard) keepTold(d *device, st *story, told []telling) {
	st.told = told
	until := int64(0)
	for i := range told {
		until = max(until, told[i].until())
	}
	s.timers.push(due{until + 1, d})
}

// standing is the telling of an episode that is, or was, raised; where it was forgotten nothing was told otherwise.
func (s *shard) standing(d *device, r *bound, start int64) *telling {
	st := d.story(r)
	if st == nil {
		st = s.beginStory(d, r)
	}
	if i := slices.IndexFunc(st.told, func(t telling) bool { return !t.gone && t.start == start }); i >= 0 {
		return &st.told[i]
	}
	t := telling{id: start, start: start, began: start, at: start}
	t.nth[toldRaised] = 1
	st.told = append(st.told, t)
	return &st.told[len(st.told)-1]
}

// toldAs is the start by which an episode that began at a time is named: the one it was first told with.
func (d *device) toldAs(r *bound, start int64) int64 {
	if st := d.story(r); st != nil {
		for i := range st.told {
			if t := &st.told[i]; !t.gone && t.start == start {
				return t.id
			}
		}
	}
	return start
}

func (s *shard) beginStory(d *device, r *bound) *story {
	st := &story{rule: r}
	d.own().stories = append(d.stories, st)
	return st
}

// story is what was told of the device by a rule, nil where nothing can change.
func (d *device) story(r *bound) *story {
	for _, st := range d.stories {
		if st.rule == r {
			return st
		}
	}
	return nil
}

// state is the story as one of windows.
func (st *story) state(d *device) *winState {
	return &winState{rule: st.rule, dev: d, winMore: &winMore{told: st.told}}
}

// trim forgets what no late reading changes any more.
func (d *device) trim(clock int64) {
	if len(d.stories) == 0 {
		return
	}
	for _, st := range d.stories {
		st.told = slices.DeleteFunc(st.told, func(t telling) bool {
			return t.until() <= clock && (t.gone || t.end != 0 || t.fixes == 0 && t.id == t.start)
		})
	}
	d.stories = slices.DeleteFunc(d.stories, func(st *story) bool { return len(st.told) == 0 })
}

// blank forgets the past of a device, of which the next messages are judged otherwise.
func (s *shard) blank(d *device) {
	d.past = 0
	s.past.blank(min(d.time, s.received))
}

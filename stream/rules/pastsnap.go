package rules

import "slices"

// The past in a snapshot: of every device, in their order, what was told of it and its rows that something may
// still be late for. They are read where the device's plan is as it was; else nothing before is corrected.

// Flags of a row in a snapshot.
const (
	keptBegins = 1 << iota
	keptText
	keptEpisodes
)

// keptNever is so many ms ago: never, or longer than can be said.
const keptNever = 1<<32 - 1

// keptRow is a row of the past that is to be written.
type keptRow struct {
	n          uint64
	at, before int64
}

func (w *writer) pasts(s *shard, all []*device) {
	p := &s.past
	w.time(p.floor)
	var kept []keptRow
	for _, d := range all {
		w.uint(uint64(len(d.stories)))
		for _, st := range d.stories {
			w.text(st.rule.ID)
			w.told(st.told)
		}
		kept = kept[:0]
		at := d.time
		for n := p.newestOf(d); n != 0 && at > s.clock; n = p.before(n) {
			row := p.row(n)
			before := p.ago(n, row, at)
			if kept = append(kept, keptRow{n, at, before}); row.has(pastBegins) {
				at = before
			}
		}
		w.uint(uint64(len(kept)))
		for _, k := range slices.Backward(kept) {
			w.pastRow(p, d, k)
		}
	}
}

func (w *writer) pastRow(p *past, d *device, k keptRow) {
	row := p.row(k.n)
	slot := row.slot()
	ago, flags := uint64(keptNever), uint64(0)
	if k.before != 0 {
		ago = min(uint64(k.at-k.before), keptNever)
	}
	if row.has(pastBegins) {
		flags = keptBegins
	}
	if slot >= len(d.nums()) {
		flags |= keptText
	}
	episodes, known := p.episodesOf(k.n, row)
	if known {
		flags |= keptEpisodes
	}
	w.time(k.at)
	w.uint(ago) // of the device, if the row begins a message
	w.uint(ago) // of the value
	w.int(int64(slot))
	w.uint(uint64(p.qualityOf(k.n, row)))
	w.uint(flags)
	if slot >= 0 && slot < len(d.nums()) {
		w.number(row.was)
	}
	if flags&keptText != 0 {
		w.text(p.texts.of(k.n)[0])
	}
	if known {
		w.uint(uint64(len(episodes)))
		for _, ep := range episodes {
			w.uint(uint64(ep.rule))
			w.uint(uint64(ep.state))
			w.time(ep.start)
		}
	}
	series := p.series.of(k.n)
	w.uint(uint64(len(series)))
	for i := range series {
		w.uint(uint64(series[i].slot))
		w.seriesState(&series[i].state)
		if series[i].state.base == nil {
			w.uint(0)
			continue
		}
		w.uint(1)
		h := &series[i].hour
		w.int(h.hour)
		w.uint(uint64(h.bucket))
		for _, v := range []float64{h.n, h.sum, h.low, h.top, h.mean, float64(h.variance)} {
			w.number(v)
		}
		w.uint(uint64(h.hours))
	}
}

// readPasts reads what pasts wrote; from are the plans of the devices then.
func (s *shard) readPasts(r *reader, all []*device, from []*plan) {
	floor := r.time()
	for i, d := range all {
		same := from[i].print == d.plan.print
		for range r.count() {
			id, told := r.text(), r.told()
			j := slices.IndexFunc(d.plan.rules, func(b *bound) bool { return b.ID == id && b.redone })
			if j >= 0 && len(told) > 0 && !r.bad {
				st := &story{rule: d.plan.rules[j]}
				d.own().stories = append(d.stories, st)
				s.keepTold(d, st, told)
			}
		}
		d.past = 0
		for range r.count() {
			if !s.readPastRow(r, d, same, len(from[i].nums)) {
				return
			}
		}
		if !same {
			floor = max(floor, min(d.time, s.received))
		}
	}
	s.past.floor = floor
}

func (s *shard) readPastRow(r *reader, d *device, take bool, nums int) bool {
	p := &s.past
	at := r.time()
	ago := func() int64 {
		if ms := r.uint(); ms < keptNever {
			return at - int64(ms)
		}
		return 0
	}
	before, seen := ago(), ago()
	slot, quality, flags := int(r.int()), uint8(r.uint()), r.uint()
	was := 0.0
	if slot >= 0 && slot < nums {
		was = r.number()
	}
	text := ""
	if flags&keptText != 0 {
		text = r.text()
	}
	var episodes []episode
	if flags&keptEpisodes != 0 {
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
		if r.version >= 10 && r.uint() == 1 {
			h := &k.hour
			h.hour, h.bucket = r.int(), uint8(min(r.uint(), hoursOfWeek-1))
			h.n, h.sum, h.low, h.top, h.mean, h.variance = r.number(), r.number(), r.number(), r.number(), r.number(), float32(r.number())
			h.hours = uint8(min(r.uint(), maxBaselineHours))
			if !r.bad && take && k.slot < len(d.series) {
				k.state.base = d.series[k.slot].base
			}
		}
		kept = append(kept, k)
	}
	if take && (slot < -1 || slot >= len(d.plan.bySlot) || (slot >= nums) != (flags&keptText != 0)) {
		r.bad = true
	}
	if r.bad || !take {
		return !r.bad
	}
	state := uint64(0)
	if flags&keptBegins != 0 {
		if state = pastBegins; slot >= 0 && seen != before { // as it was once written
			p.add(d, -1, 0, at, before, pastBegins, s.clock)
			state = 0
		}
	}
	if slot < 0 {
		seen = before
	}
	if quality != 0 {
		state |= pastQuality
	}
	if p.add(d, slot, was, at, seen, state, s.clock); quality != 0 {
		p.quality.add(d.past, quality)
	}
	if flags&keptText != 0 {
		p.texts.add(d.past, text)
	}
	if flags&keptEpisodes != 0 {
		p.keepEpisodes(d.past, episodes)
	}
	for _, k := range kept {
		p.series.add(d.past, k)
	}
	return true
}

package rules

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"panormus/devices"
	"panormus/stream/batch"
)

// Rules about rows are judged twice, as rules of many devices are (settler): row by row as they come,
// and by a second RowEngine, which gets the same rows in the order of their times when the lateness is over. What the
// second says decides; where the first said otherwise that is told as corrections (ledger). What a row says is the
// same whenever it comes, so of rules that know only the row in hand those alone are held that match or end
// something; with functions of columns, and other devices, all are. Windows and sequences of what rows alone say need
// none of it: they put rows in the order of their times themselves.

// settlesRows reports whether a rule is judged twice by the engine of a kind of rows.
func (r *Rule) settlesRows(engine string) bool {
	return r.engine() == engine && (!r.windowed() || r.ordered()) && r.Absent == 0
}

// rowSettler is the second engine, and the rows that it has not been given yet.
type rowSettler struct {
	ledger
	engine *RowEngine
	held   heap[*heldRow]
	limit  int // rows held
	order  uint64
	clock  int64 // Unix ms: what was before has been judged
	late   int64 // ms that the clock is behind the newest row
	muted  bool  // what the second engine says counts for nothing

	episodes map[string]*heldEpisode // of events that are held
	feeding  bool                    // what the second engine says is given to it
}

// heldRow is a row that rules which are judged twice have a use for.
type heldRow struct {
	order              uint64 // of arrival
	at, time, received int64  // at is time, but not after receipt
	on, device, domain string
	asset              *devices.Asset // as it was
	rule               string         // of an event, as all until says
	chain              []string
	episode            string
	since              int64         // Unix ms
	ends, gone         bool          // it is of the episode's end; it was corrected
	says               []heldReading // columns, or the metrics of a message
}

// before is by time, of one time by device, and of one device by what it says, of events by rule and episode; so the
// order of arrival makes no difference.
func (h *heldRow) before(o *heldRow) bool {
	if c := cmp.Or(cmp.Compare(h.at, o.at), strings.Compare(h.device, o.device), strings.Compare(h.domain, o.domain), strings.Compare(h.on, o.on)); c != 0 {
		return c < 0
	}
	if c := cmp.Or(strings.Compare(h.rule, o.rule), cmp.Compare(h.since, o.since)); c != 0 || h.ends != o.ends {
		return c < 0 || c == 0 && o.ends // an episode begins before it ends
	}
	return cmp.Or(slices.CompareFunc(h.says, o.says, heldReading.compare), cmp.Compare(h.order, o.order)) < 0
}

// settleWith has the rules judged twice that are to be.
func (e *RowEngine) settleWith(now int64) {
	within, some := settledRules(e.set, func(r *Rule) bool { return r.settlesRows(e.on) })
	st := e.settler
	if !e.twice || st == nil && !some {
		return
	}
	if st == nil {
		st = &rowSettler{limit: max(e.cfg.MaxPast/8, 1), episodes: map[string]*heldEpisode{}, feeding: e.on == OnEvents}
		st.ledger = newLedger(e.emitAccount, func(r *bound, n int) { e.count.rules[r.global].corrected += uint64(n) })
		st.lasts = st.has
		cfg := e.cfg
		cfg.Lateness = time.Millisecond // others of the same may be to come
		st.engine = newRowEngine(cfg, e.on, within)
		st.engine.secondly(st)
		if e.settler = st; e.joins != nil {
			e.joins.engine.early = true
			e.joins.engine.shared.hear = func(_ uint64, received int64, v verdict) { e.say(received, v) }
		}
	} else {
		st.muted = true // whose keys ended
		st.engine.Replace(within, now)
		e.takeSure()
		st.muted = false
	}
	st.late = 0
	for on, p := range e.programs {
		st.late = max(st.late, e.lateness(p.kind))
		second := st.engine.programs[on]
		for _, pl := range p.all() {
			if second == nil {
				continue
			}
			slots, then := p.slots[pl], second.plan(pl.domain)
			slots.settles = len(then.rules) > 0
			slots.settlesAll = slots.settles && (len(then.series) > 0 || then.joins || then.hasWindows)
		}
	}
}

// secondly makes an engine without state the second of a settler.
func (e *RowEngine) secondly(st *rowSettler) {
	e.second = true
	e.hear = func(_ int64, v verdict) {
		if !st.muted {
			if st.surely(v); st.feeding {
				st.feed(v)
			}
		}
	}
	e.late, e.windows.lateness, e.windows.calendar.exact = 1, 1, true
	if e.joins != nil {
		e.joins.engine.secondly(func(v verdict) { e.hear(0, v) })
	}
}

// has reports whether the second engine has an episode of a key since a time, raised or not yet.
func (st *rowSettler) has(k groupKey, since int64) bool {
	e := st.engine
	if ep := e.episodes[rowKey{k.rule, k.key}]; ep != nil {
		return ep.State != closed && ep.Start == since
	}
	if w := e.keyed[rowKey{k.rule, k.key}]; w != nil {
		return w.raised && w.start == since
	}
	return e.joins != nil && e.joins.engine.shared.lasts(k, since)
}

// say tells what an episode comes to.
func (e *RowEngine) say(received int64, v verdict) {
	switch {
	case e.hear != nil:
		e.hear(received, v)
	case e.settler != nil && v.rule.settlesRows(e.on):
		e.telling = received
		e.settler.early(v)
	default:
		e.put(v.rule.eventOf(stateOf(v.raised), v.key, v.start, v.at, received, v.evidence, v.reason))
	}
}

func stateOf(raised bool) string {
	if raised {
		return "raised"
	}
	return "cleared"
}

// emitAccount puts out what is told of an account.
func (e *RowEngine) emitAccount(w *winState, n news) {
	e.put(w.rule.eventOf(n.state, w.key, n.id, n.at, e.telling, n.evidence, n.reason))
}

// keep holds a row that has been judged early, if the second engine has a use for it; concerns says whether it matched
// a rule or ended what one raised.
func (e *RowEngine) keep(p *rowProgram, row *Row, at int64, concerns bool) {
	d := e.device(row.On, row.Device, row.Domain)
	slots := p.slots[d.plan]
	asked := e.joins != nil && (row.On == onObservations || row.On == OnCounts && row.column("zone") == "")
	concerns = concerns || row.tells.corrects
	if !asked && !(slots.settles && (concerns || slots.settlesAll)) || e.feeds(row) || !e.settler.take(row) {
		return
	}
	var says []heldReading
	if row.On == onObservations {
		if says = e.joins.says(row, d.plan); says == nil && slots.settlesAll {
			says = []heldReading{{metric: unknownText, value: nan, quality: row.quality()}} // that it spoke is enough
		}
		if says == nil {
			return
		}
	} else {
		says = slots.says(p.kind, row)
	}
	e.settler.hold(d, row, at, says)
}

// hold holds a row of a device.
func (st *rowSettler) hold(d *device, row *Row, at int64, says []heldReading) {
	st.order++
	h := &heldRow{
		order: st.order, at: at, time: row.sent(), received: row.Received, on: row.On, asset: d.asset, says: says,
		device: strings.Clone(row.Device), domain: strings.Clone(row.Domain), rule: strings.Clone(row.rule), chain: slices.Clone(row.chain),
	}
	t := &row.tells
	if since, err := time.Parse(timeLayout, t.since); err == nil {
		h.since = since.UnixMilli()
	}
	if h.ends = t.ends; t.episode != "" {
		h.at, h.time, h.episode = t.about, t.about, t.episode // what the clock makes is later than what was received
		st.note(h)
	}
	st.held.push(h)
}

// sent is the time that the log has for the row.
func (row *Row) sent() int64 {
	if row.On == onObservations {
		return row.message.o.Time[row.message.first]
	}
	return row.Time
}

// quality is what is odd of a message.
func (row *Row) quality() (all uint8) {
	for _, q := range row.message.o.Quality[row.message.first:row.message.end] {
		all |= q
	}
	return all
}

// says is what a message says of metrics that the engine within has a use for, or rules of a plan.
func (j *rowJoins) says(row *Row, own *plan) (out []heldReading) {
	pl, every := j.wants(row.Domain)
	for o, i := row.message.o, row.message.first; i < row.message.end; i++ {
		metric := o.Metric.At(i)
		if every || own.metrics[metric] != nil || pl != nil && pl.metrics[metric] != nil {
			out = append(out, heldReading{strings.Clone(metric), o.Value[i], strings.Clone(o.Text.At(i)), o.Quality[i]})
		}
	}
	return out
}

// says is what a row says of the columns that are looked at.
func (s *rowSlots) says(k *rowKind, row *Row) (out []heldReading) {
	for _, i := range s.columns {
		r := heldReading{metric: k.names[i], value: nan}
		if k.columns[r.metric] == kindNum {
			r.value = row.num(i)
		} else {
			r.text = strings.Clone(row.text(i))
		}
		out = append(out, r)
	}
	for _, name := range s.others {
		v, text := row.other(name)
		out = append(out, heldReading{metric: name, value: v, text: strings.Clone(text)})
	}
	return out
}

// row is the row again, as if it had come when it was: the second engine's clocks are those of the rows.
func (h *heldRow) row() *Row {
	if h.on == onObservations {
		o := &batch.Observations{}
		at := o.Begin(h.time, h.at, h.domain, h.device)
		for _, r := range h.says {
			o.Append(at, r.metric, r.value, r.text, r.quality)
		}
		var row Row
		Messages(o, func(r *Row) { row = *r })
		return &row
	}
	says := func(name, missing string) heldReading {
		if i := slices.IndexFunc(h.says, func(r heldReading) bool { return r.metric == name }); i >= 0 {
			return h.says[i]
		}
		return heldReading{value: nan, text: missing}
	}
	names := rowKinds[h.on].names
	return &Row{
		On: h.on, Device: h.device, Domain: h.domain, Time: h.time, Received: h.at, rule: h.rule, chain: h.chain,
		num:   func(i int) float64 { return says(names[i], "").value },
		text:  func(i int) string { return says(names[i], "").text },
		other: func(name string) (float64, string) { r := says(name, unknownText); return r.value, r.text },
	}
}

// settleTo judges surely what was before a time, after which nothing can come any more.
func (e *RowEngine) settleTo(clock int64) {
	st := e.settler
	if all := e.slowest(); all.any { // there are windows and sequences, which wait for the kind that is furthest behind
		clock = min(clock, all.at())
	}
	if clock = max(clock, st.clock); !st.wants(clock) {
		st.clock, st.until = clock, max(st.until, clock-1) // as if it had: a restart may have it looked at more often
		return
	}
	if e.joins != nil {
		e.passJoins(clock) // what is said early of the time until then is said now
	}
	st.clock, e.telling = clock, e.received
	last := clock - 1
	st.judgeTo(last)
	for len(st.held) > st.limit { // before its time, for want of room
		last = st.held[0].at
		e.count.uncorrected++
		st.judgeTo(last)
	}
	second := st.engine
	second.received = max(second.received, e.received)
	second.passTo(last)
	e.takeSure()
	st.settle(last)
}

// takeSure takes what the second engine has made beside what it has said.
func (e *RowEngine) takeSure() {
	second := e.settler.engine
	if second.joins != nil {
		second.flushJoins()
		second.settleJoins()
		second.joins.engine.counts.Load().giveOrdered(e.joins.engine.shared.count.rules)
	}
	for i := range second.out {
		e.put(second.out[i].Event)
	}
	second.out = second.out[:0]
	second.counts.Load().take(&second.count)
	second.counts.Load().giveOrdered(e.count.rules)
}

// wants reports whether there is anything to do until a time.
func (st *rowSettler) wants(clock int64) bool {
	second := st.engine
	return len(st.held) > 0 && (st.held[0].at < clock || len(st.held) > st.limit) || len(st.due) > 0 && st.due[0].at < clock ||
		len(st.fresh) > 0 || second.next < clock || second.windows.calendar.due(clock) || second.joins != nil && clock/settleEveryMs > st.clock/settleEveryMs
}

// settleEveryMs is how often time passes for rules that ask other devices, of which schedules and `for` may end.
const settleEveryMs = 100

// judgeNext gives the second engine the rows of one time: first what they say to those who ask, then all are judged.
func (st *rowSettler) judgeNext() {
	e := st.engine
	at := st.held[0].at
	if e.joins != nil {
		e.passTo(at - 1)
	}
	var rows []*heldRow
	for len(st.held) > 0 && st.held[0].at == at {
		if h := st.next(); h != nil {
			rows = append(rows, h)
		}
	}
	if e.joins != nil {
		for _, counts := range []bool{true, false} { // what cameras say is known to a device that asks at that time
			for _, h := range rows {
				if e.given = h; (h.on == OnCounts) == counts {
					e.takeRow(h.row(), h.at)
				}
			}
		}
	}
	for _, h := range rows {
		e.given = h
		if p, row := e.programs[h.on], h.row(); p != nil && !p.asked {
			e.received = max(e.received, row.Received)
			e.judge(p, row)
		}
	}
	e.given = nil
}

// passTo moves the clock of a second engine.
func (e *RowEngine) passTo(to int64) {
	e.advance(to, e.received)
	e.passWindows(to)
	if e.joins != nil {
		e.passJoins(to)
	}
}

// passJoins moves the clock of the engine within.
func (e *RowEngine) passJoins(to int64) {
	j := e.joins
	e.flushJoins()
	j.order++
	j.engine.passTo(to, e.received, j.order)
	e.settleJoins()
}

// settleAll judges surely what is held, before other rules run. Those that have failed say nothing any more.
func (e *RowEngine) settleAll(now int64) {
	st := e.settler
	if st == nil {
		return
	}
	e.telling = now
	for _, k := range slices.SortedFunc(maps.Keys(st.accounts), groupKey.compare) {
		if r := st.accounts[k].rule.Rule; e.cfg.faults.of(r) != "" {
			st.end(k, now, e.cfg.faults.reason(r))
		}
	}
	st.engine.adopt(e.cfg.faults.without(st.engine.set))
	for len(st.held) > 0 {
		st.clock = max(st.clock, st.held[0].at+1)
		st.judgeTo(st.held[0].at)
	}
	e.takeSure()
	st.settle(st.clock - 1)
}

// resettle takes the rules that run now: keys of those that are gone, or mean something else, end.
func (e *RowEngine) resettle(now int64, reason func(r *Rule, or string) string) {
	if st := e.settler; st != nil {
		if e.joins != nil {
			e.settleJoins()
		}
		e.telling = now
		for _, k := range slices.SortedFunc(maps.Keys(st.accounts), groupKey.compare) {
			a := st.accounts[k]
			next, why := e.any(k.rule), "the rule was changed or removed"
			if a.rule.inner() {
				why = changeReason(next)
			}
			if next == nil || !next.sameKeys(a.rule.Rule) || next.logic != a.rule.logic && (!next.inner() || next.windowed()) {
				st.end(k, now, reason(a.rule.Rule, why))
			} else {
				a.rule = next
			}
		}
	}
	e.settleWith(now)
}

package rules

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"panormus/devices"
	"panormus/stream/batch"
)

// Rules whose keys span devices, or that ask other devices, are judged on what many devices say, of which some is
// always late. Taking all of that back for each would cost the more the more there are. So they are judged twice,
// whatever comes late: by the engine, as messages come, and by another within the shared shard, which gets the same
// messages in the order of their times when the lateness is over. The first says early what is so, the second
// surely: see ledger. No other rule pays for it.

// settles reports whether the rule is judged twice.
func (r *Rule) settles() bool { return r.wide() && (!r.windowed() || r.ordered()) && r.Absent == 0 }

// settler is the second engine, and the messages that it has not been given yet.
type settler struct {
	ledger
	counts *shardCounts
	engine *Engine
	held   heap[*heldMessage]
	limit  int // messages held
	order  uint64
	seeded bool // it knows what the first one does
	rounds []settleRound
	said   []saidEarly
	tuning uint64 // of the registry's overrides at the last look
	passed int64  // when the last message was that the engine was given

	scheduled []*bound // rules with schedules that ask other devices
}

// settleRound is what a batch brings, and how far the clock is behind it.
type settleRound struct {
	seq      uint64
	held     []*heldMessage
	clock    int64 // Unix ms
	received int64
}

// saidEarly is what the engine said, of the batch at seq.
type saidEarly struct {
	seq      uint64
	received int64
	verdict
}

// heldMessage is a message of a device that rules which are judged twice have a use for.
type heldMessage struct {
	order, at, received int64 // order is at, but not after its receipt
	seq                 uint64
	n                   int
	domain, device      string
	asset               *devices.Asset // as it was
	says                []heldReading
	kind                heldKind
	reason              string
}

// heldKind is what is held.
type heldKind uint8

const (
	heldSays   heldKind = iota
	heldGone            // no message: the device is forgotten, for a reason
	heldTuning          // the registry's overrides have changed
	heldKinds
)

type heldReading struct {
	metric  string
	value   float64
	text    string
	quality uint8
}

// before is by time, of one time by device, and of one device by what it says, so that the order of arrival makes no
// difference.
func (m *heldMessage) before(o *heldMessage) bool {
	if c := cmp.Or(cmp.Compare(m.order, o.order), strings.Compare(m.device, o.device), strings.Compare(m.domain, o.domain), cmp.Compare(m.kind, o.kind)); c != 0 {
		return c < 0
	}
	return cmp.Or(slices.CompareFunc(m.says, o.says, heldReading.compare), cmp.Compare(m.seq, o.seq), cmp.Compare(m.n, o.n)) < 0
}

func (h heldReading) compare(o heldReading) int {
	return cmp.Or(strings.Compare(h.metric, o.metric), cmp.Compare(h.value, o.value), strings.Compare(h.text, o.text), cmp.Compare(h.quality, o.quality))
}

// settledRules are those of a set that are judged twice, all others out of force, at their places.
func settledRules(set *Set, settles func(*Rule) bool) (out *Set, some bool) {
	out = &Set{Version: set.Version}
	for _, r := range set.Rules {
		if settles(r) {
			some = some || !r.Disabled
		} else if !r.Disabled {
			off := *r
			off.Disabled = true
			r = &off
		}
		out.Rules = append(out.Rules, r)
	}
	return out, some
}

// settleWith makes rules that are judged twice so; before, they are judged as messages come, and no more.
func (s *shared) settleWith(set *Set, next *program) {
	within, some := settledRules(set, func(r *Rule) bool { return r.settles() && r.engine() == onObservations })
	st := s.settler
	if !s.e.twice || st == nil && !some {
		return
	}
	if st == nil {
		st = &settler{limit: max(s.e.cfg.MaxPast/4, 1), counts: &s.count}
		st.ledger = newLedger(s.emitAccount, func(r *bound, n int) { s.count.rules[r.global].corrected += uint64(n) })
		st.lasts = func(k groupKey, since int64) bool { return st.engine.shared.lasts(k, since) }
		s.settler = st
		st.begin(s.e.cfg, NewSet())
	}
	if !sameLogic(st.engine.Set(), within) {
		was := st.engine
		if slices.ContainsFunc(was.Set().Rules, func(r *Rule) bool { return r.ordered() && !r.Disabled }) {
			st.judgeHeld(s.received) // windows have no other readings than those they were given
		}
		st.begin(s.e.cfg, within)
		st.takeWindows(was.shared)
	} else if st.engine.Set().Version != within.Version {
		st.engine.Replace(within, 0)
		st.engine.Settle()
	}
	st.scheduled = nil
	for _, r := range st.engine.shared.rules {
		if r.asks() && r.Schedule != nil {
			st.scheduled = append(st.scheduled, r)
		}
	}
	for _, pl := range next.all() {
		pl.laySettling(st.engine.prog)
	}
}

// begin gives the settler an engine that knows nothing.
func (st *settler) begin(cfg Config, set *Set) {
	cfg.Partitions, cfg.Lateness = 1, time.Millisecond // a millisecond: others of the same may be to come
	if cfg.Registry != nil {
		cfg.Registry = heldRegistry{cfg.Registry}
	}
	cfg.MaxDevices *= 2 // it forgets those that the first one does, later
	st.engine, st.order, st.held, st.seeded = newEngine(cfg, set, onObservations), 0, nil, false
	st.engine.secondly(st.ledger.surely)
}

// secondly makes an engine without state one whose messages come in the order of their times; hear is told of all that
// it says of rules that are judged twice.
func (e *Engine) secondly(hear func(v verdict)) {
	e.second, e.shared.windows.calendar.exact = true, true
	e.shared.hear = func(_ uint64, _ int64, v verdict) { hear(v) }
}

func sameLogic(a, b *Set) bool {
	logic := func(s *Set) []string {
		var out []string
		for _, r := range s.Rules {
			if !r.Disabled {
				out = append(out, r.ID, r.logic)
			}
		}
		return out
	}
	return slices.Equal(logic(a), logic(b))
}

// laySettling notes which metrics of the plan are held for the second engine's.
func (pl *plan) laySettling(within *program) {
	second := within.plan(pl.domain)
	pl.settles = len(second.rules) > 0 || second.posts
	pl.settlesAll = slices.ContainsFunc(slices.Concat(second.always, second.counting), func(w uint64) bool { return w != 0 })
	for name, m := range pl.metrics {
		m.settles = ""
		if pl.settles && second.metrics[name] != nil {
			m.settles = name
		}
	}
}

// keep holds what a message says to rules that are judged twice.
func (s *shard) keep(d *device, rows messageRows, at int64) {
	if s.seq <= s.e.shared.seq {
		return // a replay of what the shared shard has already
	}
	o := rows.o
	var says []heldReading
	for i := rows.first; i < rows.end; i++ {
		if p := s.metrics[rows.table+int(o.Metric.Index[i])]; p.settles != "" {
			says = append(says, heldReading{p.settles, o.Value[i], o.Text.At(i), o.Quality[i]})
		}
	}
	if says == nil && (d.plan.settlesAll || d.retuned) {
		says = []heldReading{{metric: unknownText, value: nan, quality: o.Quality[rows.first]}} // that it spoke is enough
	}
	if says != nil {
		s.hold(d, &heldMessage{at: at, says: says})
	}
}

// keepOne is keep for a message of one number.
func (s *shard) keepOne(d *device, m *metricPlan, at int64, v float64, quality uint8) {
	if s.seq > s.e.shared.seq {
		s.hold(d, &heldMessage{at: at, says: []heldReading{{m.settles, v, "", quality}}})
	}
}

func (s *shard) hold(d *device, m *heldMessage) {
	m.order, m.received, m.seq, m.n = min(m.at, s.received), s.received, s.seq, len(s.keeping)
	m.domain, m.device, m.asset = d.domain, d.id, d.asset
	s.keeping = append(s.keeping, m)
}

// settleRounds judges surely what the lateness is over for, batch by batch: so it is the same in whatever rounds
// they come.
func (s *shared) settleRounds() {
	st := s.settler
	slices.SortStableFunc(st.said, func(a, b saidEarly) int { return cmp.Compare(a.seq, b.seq) }) // of windows, and of all others
	for i := range st.rounds {
		r := &st.rounds[i]
		s.sayEarly(r.seq)
		if st.seeded {
			for _, m := range r.held {
				st.held.push(m)
			}
			s.settling(r.seq, r.received)
			st.pass(r.clock, r.received)
			st.engine.counts.Load().giveOrdered(s.count.rules)
		}
	}
	s.sayEarly(math.MaxUint64)
	clear(st.rounds)
	st.rounds = st.rounds[:0]
	if !st.seeded {
		s.settling(math.MaxUint64, s.received)
		s.seed()
	}
}

// sayEarly tells what was said early up to a batch.
func (s *shared) sayEarly(seq uint64) {
	st := s.settler
	for len(st.said) > 0 && st.said[0].seq <= seq {
		v := st.said[0]
		st.said = st.said[1:]
		s.settling(v.seq, v.received)
		st.early(v.verdict)
	}
}

// settling notes what the next events are made by. They are in this order: what a tick makes follows what the newest
// batch did.
func (s *shared) settling(seq uint64, received int64) {
	if seq == math.MaxUint64 {
		seq = s.taken
	}
	s.telling.seq, s.telling.received = max(s.telling.seq, seq), received
}

// pass gives the second engine what came before a time, after which nothing can come any more.
func (st *settler) pass(clock, received int64) {
	e, last := st.engine, int64(0)
	o := &batch.Observations{}
	flush := func() {
		st.order++
		if e.shards[0].seq, e.shards[0].live = st.order, false; o.Len() > 0 {
			e.Apply(0, st.order, o)
			o = &batch.Observations{}
		}
	}
	some := false
	for len(st.held) > 0 && (st.held[0].order < clock || len(st.held) > st.limit) {
		if some = true; st.held[0].order >= clock { // before its time, for want of room
			last = max(last, st.held[0].order)
			st.counts.uncorrected++
		}

		m := st.held.pop()
		if st.turns(m.order) { // what a schedule ends ends before what comes after
			flush()
			e.passTo(m.order-1, received, st.order)
			e.Settle()
		}
		if st.passed = m.order; m.kind == heldTuning {
			flush()
			e.shards[0].retuneAll()
			continue
		}
		if d := e.shards[0].find(m.device, m.domain); m.kind == heldGone {
			if flush(); d != nil {
				e.shards[0].remove(d, m.at, m.reason)
			}
			continue
		} else if m.asset != nil && (d == nil || d.asset != m.asset) {
			flush() // what the device said before it said as what it was
			e.shards[0].know(m)
		}
		h := o.Begin(m.at, m.order, m.domain, m.device) // its clocks are those of the messages
		for _, r := range m.says {
			o.Append(h, r.metric, r.value, r.text, r.quality)
		}
	}
	if clock = max(clock-1, last); !some && clock <= st.until {
		return
	}
	flush()
	e.passTo(clock, received, st.order)
	e.Settle()
	st.settle(clock)
}

// turns reports whether a schedule of a rule that asks other devices begins or ends between the last message and a time.
func (st *settler) turns(at int64) bool {
	return st.passed != 0 && slices.ContainsFunc(st.scheduled, func(r *bound) bool {
		return st.engine.shared.frame.stretch(r, st.passed).until <= at
	})
}

// know gives a device the entry of the registry that it had when it said something.
func (s *shard) know(m *heldMessage) {
	d := s.find(m.device, m.domain)
	if d == nil {
		d = s.device(m.device, m.domain)
	}
	old := d.asset
	d.asset, d.version = m.asset, heldVersion
	if d.tuned != 0 || tuned(d.asset) {
		d.noteOverrides(old)
	}
}

// heldRegistry is for the second engine, whose devices are looked up when they are given a message: see know.
type heldRegistry struct{ Registry }

const heldVersion = 1

func (heldRegistry) Version() uint64 { return heldVersion }

func (r heldRegistry) Zone(id string) *devices.Zone {
	if z, ok := r.Registry.(zoner); ok {
		return z.Zone(id)
	}
	return nil
}

// retune has the second engine's devices judged anew, in their turn, when overrides have changed.
func (s *shared) retune(now int64) {
	st := s.settler
	if r, ok := s.e.cfg.Registry.(retuner); st != nil && ok && r.OverridesVersion() != st.tuning {
		st.tuning = r.OverridesVersion()
		st.held.push(&heldMessage{kind: heldTuning, order: now, at: now, received: now})
	}
}

func (s *shard) retuneAll() {
	for d := range s.devices.all() {
		d.version = heldVersion + 1
		s.rejudge(d)
	}
}

// passTo moves the clock of an engine of one partition.
func (e *Engine) passTo(to, received int64, order uint64) {
	s := e.shards[0]
	s.seq, s.live = order, false
	s.advance(to)
	s.clocks = append(s.clocks, clockMove{seq: order, at: to, received: received})
	if e.second {
		s.winClock.moved(to, to+s.windows.lateness)
		s.rounds = append(s.rounds, spanRound{seq: order, received: received, begun: s.winClock, done: s.winClock})
	}
}

// lasts reports whether a key has an episode since a time, raised or not yet.
func (s *shared) lasts(k groupKey, since int64) bool {
	if w := s.keyed[k]; w != nil {
		return w.raised && w.start == since
	}
	g := s.groups[k]
	return g != nil && g.state != closed && g.start == since
}

func (s *shared) emitAccount(w *winState, n news) {
	ev := w.rule.eventOf(n.state, w.key, n.id, n.at, s.telling.received, n.evidence, n.reason)
	s.out = append(s.out, made{seq: s.telling.seq, n: 1<<30 + s.order, Event: ev})
	s.order++
}

// seed gives a second engine that begins what the first one knows, which from then on is sure.
func (s *shared) seed() {
	st := s.settler
	st.seeded = true
	to := st.engine.shards[0]
	for _, from := range s.e.shards {
		to.received, to.clock = max(to.received, from.received), max(to.clock, from.clock)
		for d := range from.devices.all() {
			to.seed(d)
		}
	}
	second := st.engine.shared
	w := &writer{}
	w.board(s.board)
	second.board = (&reader{b: w.b, version: snapshotVersion}).board()
	for k, h := range s.holding {
		if second.rules[k.rule] != nil {
			second.holding[k] = h
		}
	}
	second.clock, second.next, second.heldEnd = s.clock, 0, 0
	told := s.seedWindows()
	for k, g := range s.groups {
		r := second.rules[k.rule]
		if r == nil {
			continue
		}
		other := *g
		other.members = map[string]struct{}{}
		for m := range g.members {
			other.members[m] = struct{}{}
		}
		second.groups[k] = &other
		second.keys[k.rule]++
		if g.state == raised {
			told[k] = &telling{start: g.start, began: g.start + r.forMs, from: g.said(r, k)}
		}
	}
	for k, a := range st.accounts {
		st.restart(k, a.rule, told[k], s.received)
		delete(told, k)
	}
	for k, t := range told {
		st.restart(k, s.rules[k.rule], t, s.received)
	}
	until := st.until
	st.until = math.MaxInt64
	st.settle(until)
	st.until = until
}

// seed takes what another shard knows of a device.
func (s *shard) seed(from *device) {
	pl := s.home(from.domain).plan
	if len(pl.rules) == 0 && !pl.posts {
		return
	}
	d := s.device(from.id, from.domain)
	d.time, d.received = from.time, from.received
	for name, m := range pl.metrics {
		was := from.plan.metrics[name]
		if was == nil {
			continue
		}
		if m.num >= 0 && was.num >= 0 {
			d.nums()[m.num] = from.nums()[was.num]
			d.see(m.num, from.seenAt(was.num))
		}
		if m.text >= 0 && was.text >= 0 {
			d.texts[m.text] = strings.Clone(from.texts[was.text])
			d.see(len(d.nums())+m.text, from.seenAt(len(from.nums())+was.text))
		}
	}
	if from.series != nil {
		s.seedSeries(d, from)
	}
	for _, ep := range from.episodes.all() {
		was := from.plan.rules[ep.rule]
		i := slices.IndexFunc(pl.rules, func(r *bound) bool { return r.ID == was.ID })
		if i >= 0 && ep.state == member {
			d.episodes.add(episode{rule: int32(i), state: member, start: ep.start})
			d.join(int32(i), from.keyOf(ep.rule))
			s.armEnd(d, pl.rules[i], ep.start)
		}
	}
}

func (s *shard) seedSeries(d, from *device) {
	for i := range d.plan.series {
		j := slices.IndexFunc(from.plan.series, func(p seriesPlan) bool { return p.series == d.plan.series[i].series })
		if j < 0 {
			continue
		}
		if d.series == nil {
			d.own().series = emptySeries(d.plan)
		}
		state := from.series[j]
		state.steps = slices.Clone(state.steps)
		if state.base != nil {
			s.baselines++
			base := *state.base
			state.base = &base
		}
		d.series[i] = state
	}
}

// resettle takes other rules: keys of those that are gone, or mean other keys, end.
func (s *shared) resettle(next *program, now int64) {
	s.settling(math.MaxUint64, now)
	if st := s.settler; st != nil {
		s.sayEarly(math.MaxUint64)
		st.rebind(func(id string) *bound { return s.rules[id] }, now, func(was, next *bound) string {
			if next == nil {
				return s.e.cfg.faults.reason(was.Rule)
			}
			return "the rule was changed"
		})
	}
	s.settleWith(next.set, next)
}

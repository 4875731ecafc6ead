package rules

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"panormus/stream/batch"
)

// A RowEngine evaluates the rules of a set that are about one kind of rows. Other than a reading,
// which stands until the device's next one, a row is an occurrence: one that matches raises its key's
// episode, or keeps it up, and the episode ends when `clear` is true of a row of its key, or when no
// row has matched for `hold` of event time. With `for`, rows must go on matching that long, none
// further from the next than `hold`. Windows and sequences of rows are those of messages. It is pure
// and belongs to one goroutine.
type RowEngine struct {
	on       string
	cfg      Config
	set      *Set
	programs map[string]*rowProgram // by what their rows are
	frame    frame
	sun      sunCache
	devices  map[rowOwner]*device
	episodes map[rowKey]*rowEpisode
	keys     map[string]int // episodes and windows, by rule
	clock    int64          // event time less the lateness: what is over by it has ended
	next     int64          // nothing ends before it
	received int64          // of the newest row
	seq      uint64
	out      []made

	windowed bool                 // there are rules with windows or sequences
	keyed    map[rowKey]*winState // of those
	clocks   map[string]*windowClock
	windows  windows
	tardy    []tardy
	chains   map[rowKey][]string // of those on events
	series   rowSeries
	learned  map[rowLearned]bool // baselines whose past was taught
	joins    *rowJoins           // of OnJoined
	twice    bool                // see settler
	settler  *rowSettler         // nil where no rule is judged twice
	second   bool                // it is the engine of a settler: rows come in the order of their times,
	given    *heldRow            // this one now
	hear     func(received int64, v verdict)
	telling  int64            // receipt of what is told next is of
	ticked   map[string]int64 // processing time of the last tick, by kind
	late     int64            // how far the event clock stays behind, ms

	evaluated, matched uint64
	count              shardCounts
	counts             atomic.Pointer[counts] // by rule; asked for by any goroutine
}

type rowKey struct{ Rule, Key string }

// rowEpisode is what a key's rows have come to. Its fields are those of the checkpoint.
type rowEpisode struct {
	State    episodeState   `json:"state"`
	Start    int64          `json:"start"`
	Last     int64          `json:"last"` // newest row that matched
	Received int64          `json:"received"`
	Camera   string         `json:"camera"` // or other device
	Domain   string         `json:"domain"`
	Zone     string         `json:"zone"`
	Text     string         `json:"text"`
	Values   map[string]any `json:"values"`
	Shadow   bool           `json:"shadow,omitempty"` // raised in shadow
	Chain    []string       `json:"chain,omitempty"`  // of rules on events: those that it comes of
}

// NewRowEngine makes an engine without state for the rules on one of the kinds of rows.
func NewRowEngine(cfg Config, on string, set *Set) *RowEngine {
	e := newRowEngine(cfg, on, set)
	e.twice = true
	e.settleWith(0)
	return e
}

// newRowEngine makes one of rows that come in the order of their times.
func newRowEngine(cfg Config, on string, set *Set) *RowEngine {
	e := &RowEngine{
		on: on, cfg: cfg.withDefaults(), devices: map[rowOwner]*device{},
		episodes: map[rowKey]*rowEpisode{}, keys: map[string]int{}, next: math.MaxInt64,
		keyed: map[rowKey]*winState{}, clocks: map[string]*windowClock{}, chains: map[rowKey][]string{},
	}
	if e.cfg.faults == nil {
		e.cfg.faults = newFaults()
	}
	e.counts.Store(newCounts(set, nil))
	e.frame = frame{cfg: &e.cfg, sun: &e.sun}
	e.windows.lateness = e.lateness(rowKinds[on])
	if e.ticked = map[string]int64{}; on == OnJoined {
		e.joins = newRowJoins(cfg)
		e.joins.adopt(set, 0)
	}
	e.adopt(set)
	return e
}

// adopt makes programs of a set.
func (e *RowEngine) adopt(set *Set) {
	e.set, e.programs = set, map[string]*rowProgram{}
	e.late = 0
	for _, on := range inputsOf(set, e.on) {
		p := newRowProgram(set, e.on, on)
		p.asked = !slices.ContainsFunc(p.all(), func(pl *plan) bool { return len(pl.rules) > 0 })
		if e.programs[on] = p; !p.asked {
			e.late = max(e.late, e.lateness(p.kind))
		}
	}
	e.windowed = false
	for _, p := range e.programs {
		e.windowed = e.windowed || slices.ContainsFunc(p.all(), func(pl *plan) bool { return pl.hasWindows })
	}
	e.count.rules = make([]ruleCounts, len(set.Rules))
	clear(e.devices)
}

// Idle reports whether no rule is about these rows.
func (e *RowEngine) Idle() bool {
	for _, p := range e.programs {
		if len(p.other.rules) > 0 || len(p.plans) > 0 {
			return false
		}
	}
	return len(e.episodes)+len(e.keyed) == 0 && (e.joins == nil || e.joins.idle())
}

// Apply evaluates one row of the batch at seq of the log. Rows must come in the log's order.
func (e *RowEngine) Apply(seq uint64, row *Row) {
	p := e.programs[row.On]
	if p == nil {
		return
	}
	e.seq, e.received = seq, max(e.received, row.Received)
	at := min(row.Time, row.Received)
	if e.joins != nil {
		e.takeRow(row, at)
	}
	concerns := !p.asked && !row.amends() && e.judge(p, row)
	if e.settler != nil {
		e.keep(p, row, at, concerns)
		e.settleTo(at - e.settler.late)
	}
}

// judge evaluates the rules about a row, and reports whether it matched one or would end what one has raised.
func (e *RowEngine) judge(p *rowProgram, row *Row) (concerns bool) {
	now, at := min(row.Time, row.Received+maxAheadMs), min(row.Time, row.Received)
	e.advance(at-e.late, row.Received)
	switch {
	case e.windowed && e.second:
		e.passWindows(at - e.late)
	case e.windowed:
		e.windowClockOf(row.On).moved(at-e.lateness(p.kind), row.Received)
		e.closeWindows()
	}
	d := e.device(row.On, row.Device, row.Domain)
	if len(d.plan.rules) == 0 || len(row.chain) >= maxChain {
		return false
	}
	row.fill(d, p.slots[d.plan])
	f := &e.frame
	f.nums, f.texts, f.dev, f.now, f.own, f.quality = d.nums(), d.texts, d, now, at, 0
	if len(d.plan.series) > 0 {
		e.takeSeries(p, d, row, at)
	}
	if d.plan.joins {
		e.flushJoins()
		f.board, f.zone = e.joins.engine.shared.board, ""
		if f.lat, f.lon = f.placed(); row.On == OnEvents {
			f.zone = row.column("zone")
		}
	}
	for _, r := range d.plan.rules {
		switch {
		case row.comesOf(r.Rule) || r.gated && !(f.inForce(r, now) && f.ofProfile(r)):
		case r.windowed():
			f.now = at // a clock that runs ahead fills no windows of the future
			if e.given != nil {
				f.now = e.given.at // of what a sequence has raised, see feed
			}
			e.takeWindow(r, row, f.now)
			f.now = now
		default:
			concerns = e.evaluate(r, row, now) || concerns
		}
	}
	if len(e.tardy) > 0 {
		e.correctWindows()
	}
	return concerns
}

// maxAheadMs is how far ahead of receipt an event time counts.
const maxAheadMs = 60_000

// lateness is how far the clock of a kind stays behind, in ms.
func (e *RowEngine) lateness(k *rowKind) int64 {
	switch {
	case e.second:
		return 1 // others of the same time may be to come
	case k == nil:
		return e.cfg.Lateness.Milliseconds()
	}
	return (e.cfg.Lateness + k.late).Milliseconds()
}

// evaluate judges a rule on the row, and reports whether it matches or would end an episode.
func (e *RowEngine) evaluate(r *bound, row *Row, now int64) (concerns bool) {
	e.evaluated++
	c := &e.counts.Load().rules[r.global]
	if c.evaluations.Add(1)%sampleEvery == 0 {
		defer func(began time.Time) {
			c.timed.Add(1)
			c.nanos.Add(time.Since(began).Nanoseconds())
		}(time.Now())
	}
	f := &e.frame
	f.failed, f.why = false, ""
	if f.dev.tuned != 0 && r.exempt(f) {
		return false // what is open ends by itself
	}
	if r.clear != nil && (e.settler != nil || e.keys[r.ID] > 0) && r.clear(f) == yes {
		concerns = true // of the second engine too, where there may be an episode to end
		if key, ok := e.keyOf(r, row); ok {
			k := rowKey{r.ID, key}
			if ep := e.episodes[k]; ep != nil && ep.State == raised && now >= ep.Start {
				ep.Chain = row.chained(ep.Chain)
				e.end(r, k, ep, max(now, ep.Start), row.Received, "")
				return true
			}
		}
	}
	switch r.when(f) {
	case undecided:
		c.undecided(f)
		return concerns
	case no:
		return concerns
	}
	e.matched++
	c.matches.Add(1)
	e.takeMatch(r, row, now)
	return true
}

// takeMatch raises the episode of a row that matches, or keeps it up.
func (e *RowEngine) takeMatch(r *bound, row *Row, now int64) {
	f := &e.frame
	key, ok := e.keyOf(r, row)
	if !ok {
		return
	}
	k := rowKey{r.ID, key}
	ep := e.episodes[k]
	if ep != nil && ep.State == raised && now > e.over(r, ep) { // over, though the clock has not come to it
		e.endOver(r, k, ep, row.Received)
		ep = nil
	}
	if ep != nil && ep.State == closed && now > ep.Start {
		e.drop(k)
		ep = nil
	}
	switch {
	case ep == nil:
		if !e.room(r) {
			return
		}
		ep = &rowEpisode{State: pending, Start: now, Last: now}
		e.episodes[k] = ep
	case ep.State == pending && now > e.over(r, ep):
		ep.Start, ep.Last, ep.Chain = now, now, nil
	case now < ep.Last:
		return // late: what came after it has been said
	default:
		ep.Last = now
	}
	ep.Received, ep.Camera, ep.Domain, ep.Zone = row.Received, row.Device, f.dev.domain, e.zoneOf(row)
	ep.Chain = row.chained(ep.Chain)
	if r.Key == "zone" {
		ep.Zone = key
	}
	e.next = min(e.next, e.over(r, ep))
	if ep.State == pending && now >= ep.Start+r.forMs {
		v := r.evidence(f, key, ep.Start)
		ep.State, ep.Text, ep.Values, ep.Shadow = raised, v.text, v.values, r.Shadow
		e.emit(r, k, ep, "raised", now, row.Received, "")
	}
}

// room takes the place of one more key of a rule; false where it has as many as it may.
func (e *RowEngine) room(r *bound) bool {
	if e.keys[r.ID] >= e.cfg.MaxKeys {
		e.count.keysRefused++
		return false
	}
	e.keys[r.ID]++
	return true
}

// noMore is why an episode ended that nothing kept up.
const noMore = "no more of it"

func (r *bound) holdMs() int64 {
	if r.Hold > 0 {
		return r.Hold.Milliseconds()
	}
	return rowKinds[r.On].hold.Milliseconds()
}

// keyOf is the key of a row; false where it has none.
func (e *RowEngine) keyOf(r *bound, row *Row) (string, bool) {
	switch {
	case r.key != nil:
		k, ok := r.key(&e.frame)
		return clip(k, 256), ok && k != "" && k != unknownText
	case r.Key == "zone":
		z := e.zoneKey(row)
		return z, z != ""
	case r.Key == "domain":
		return e.frame.dev.domain, e.frame.dev.domain != ""
	case row.Device == "" && row.On == OnEvents: // of no device: of what its rule keeps apart
		k := row.column("key")
		return k, k != ""
	}
	return row.Device, true
}

// column is the text of a column by name, "" where the kind has none of it.
func (row *Row) column(name string) string {
	if k := rowKinds[row.On]; k != nil {
		if at, ok := k.place[name]; ok {
			return row.text(at)
		}
	}
	return ""
}

// zoneKey is the row's zone as a key: its own, or the registry's where it has none. A count that has none is of a
// camera's whole view, beside others of its parts, and has no key.
func (e *RowEngine) zoneKey(row *Row) string {
	if k := rowKinds[row.On]; k != nil && k.columns["zone"] == kindText && e.on == row.On {
		if z := row.column("zone"); z != "" || row.On == OnCounts {
			return z
		}
	}
	return e.zoneOf(row) // of several kinds: a camera's own zones are nobody else's
}

// zoneOf is the zone that an event about the row is of: the registry's, or an event's own.
func (e *RowEngine) zoneOf(row *Row) string {
	if row.On == OnEvents {
		return cmp.Or(row.column("zone"), e.frame.asset().Zone)
	}
	return e.frame.asset().Zone
}

// advance moves the event clock and ends what no row has kept up.
func (e *RowEngine) advance(to, received int64) {
	if to <= e.clock {
		return
	}
	e.clock = to
	if to < e.next {
		return
	}
	e.next = math.MaxInt64
	var over []rowKey
	for k, ep := range e.episodes {
		r := e.rule(k.Rule, ep.Domain)
		if r == nil || e.over(r, ep) <= to {
			over = append(over, k)
		} else {
			e.next = min(e.next, e.over(r, ep))
		}
	}
	slices.SortFunc(over, func(a, b rowKey) int {
		if c := e.episodes[a].Last - e.episodes[b].Last; c != 0 {
			return int(c)
		}
		return strings.Compare(a.Rule+"\x00"+a.Key, b.Rule+"\x00"+b.Key)
	})
	for _, k := range over {
		ep := e.episodes[k]
		if r := e.rule(k.Rule, ep.Domain); r != nil && ep.State == raised {
			e.endOver(r, k, ep, received)
		}
		e.drop(k)
	}
}

// rule is the bound rule of an id for a domain, nil where there is none.
func (e *RowEngine) rule(id, domain string) *bound {
	for _, p := range e.programs {
		for _, r := range p.plan(domain).rules {
			if r.ID == id {
				return r
			}
		}
	}
	return nil
}

// end clears an episode. Its place is kept for the rest of its first millisecond, whose ids are spent.
func (e *RowEngine) end(r *bound, k rowKey, ep *rowEpisode, at, received int64, reason string) {
	e.emit(r, k, ep, "cleared", at, received, reason)
	if at > ep.Start {
		e.drop(k)
		return
	}
	ep.State = closed
}

func (e *RowEngine) drop(k rowKey) {
	if _, ok := e.episodes[k]; !ok {
		return
	}
	delete(e.episodes, k)
	e.leave(k.Rule)
}

// leave gives the place of a key of a rule back.
func (e *RowEngine) leave(rule string) {
	if e.keys[rule]--; e.keys[rule] <= 0 {
		delete(e.keys, rule)
	}
}

func (e *RowEngine) emit(r *bound, k rowKey, ep *rowEpisode, state string, at, received int64, reason string) {
	e.say(received, verdict{rule: r, key: k.Key, raised: state == "raised", start: ep.Start, at: at, reason: reason, evidence: ep.said(r)})
}

// said is what the episode's events say.
func (ep *rowEpisode) said(r *bound) evidence {
	return evidence{text: ep.Text, values: ep.Values, chain: r.chain(ep.Chain), of: &whose{Domain: ep.Domain, Device: ep.Camera, Zone: ep.Zone}}
}

// put notes an event for the next Settle.
func (e *RowEngine) put(ev batch.Event) {
	e.counts.Load().event(&ev)
	e.out = append(e.out, made{seq: e.seq, n: len(e.out), Event: ev})
}

// Settle returns the events since the last, in order. The caller owns them.
func (e *RowEngine) Settle() []batch.Event {
	if e.joins != nil {
		e.flushJoins()
		e.settleJoins()
	}
	e.isolate()
	e.counts.Load().take(&e.count)
	out := make([]batch.Event, len(e.out))
	for i := range e.out {
		out[i] = e.out[i].Event
	}
	clear(e.out)
	e.out = e.out[:0]
	return out
}

// Tick moves the clock where no rows come; now is processing time, Unix ms. Call it only with all
// that the log holds applied.
func (e *RowEngine) Tick(now int64) {
	for on := range e.programs {
		e.TickOn(on, now)
	}
	e.TickAsking(now)
}

// TickOn moves the clock of one of several kinds.
func (e *RowEngine) TickOn(on string, now int64) {
	e.received = max(e.received, now)
	if c := e.clocks[on]; c != nil {
		c.ticked(now)
	}
	if e.joins != nil && on == onObservations {
		e.flushJoins()
	}
	e.ticked[on] = now
	for on, p := range e.programs { // the clock is that of the last of those that rules are about
		if !p.asked {
			now = min(now, e.ticked[on])
		}
	}
	e.advance(now-e.late, e.received)
	e.closeWindows()
	if st := e.settler; st != nil {
		for on := range e.programs {
			now = min(now, e.ticked[on])
		}
		e.settleTo(now - st.late)
	}
}

// Inputs are the kinds of rows that the rules are about now.
func (e *RowEngine) Inputs() []string { return inputsOf(e.set, e.on) }

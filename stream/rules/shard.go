package rules

import (
	"slices"

	"panormus/devices"
	"panormus/stream/batch"
)

// A shard holds the devices of one partition. It belongs to one goroutine at a time.
type shard struct {
	e       *Engine
	devices map[string]*device
	bound   int
	frame   frame
	sun     sunCache

	clock    int64 // event time less the lateness, Unix ms: what is due by it is raised
	received int64 // of the message in hand, or the tick
	timers   timers
	silence  timers // on processing time
	dirty    bitset
	seq      uint64 // of the batch in hand
	n        int    // of events and transitions of that batch
	judged   uint   // evaluations, to time one in sampleEvery
	live     bool   // what happens is caused by a tick, not by a batch

	winClock windowClock
	windows  windows
	own      struct { // what the message in hand says itself, for windows
		nums  []float64
		texts []string
		dirty bitset
	}
	partials map[groupKey]*winState // of keys that span partitions, since the last Settle

	baselines int              // of all devices
	learned   map[learned]bool // whose past was taught

	out    []made
	moves  []transition
	clocks []clockMove
	count  shardCounts

	// Of the batch in hand, by dictionary code.
	plans   []*plan
	held    []*device
	metrics []*metricPlan // [domain][metric]
	stamps  []uint32      // by metric: the message that had it last
	stamp   uint32
}

// device is what the engine knows of one device in one domain.
type device struct {
	id, domain string
	plan       *plan
	nums       []float64
	texts      []string
	seen       []int64 // event time of each value, numbers first
	time       int64   // newest event time, Unix ms; 0: none yet
	received   int64   // receipt of its last message, or when it was first missed
	asset      *devices.Asset
	version    uint64 // of the registry when asset was looked up
	episodes   []episode
	windows    []*winState // by slot of the rule; nil where the plan has none, or no reading came
	series     []seriesState
	hash       uint64  // of the id; 0: not asked yet
	next       *device // the same id in another domain
	gone       bool
	tuned      uint64 // which overrides the registry has for it, 0 for none
	retuned    bool   // they changed since its rules were judged
}

type episodeState uint8

const (
	pending episodeState = iota // the condition holds, but not long enough yet
	raised
	member // of a key in the shared shard: the device's condition holds
	closed // cleared in the millisecond it was raised: its start is spent
)

// An episode is a device's side of one rule. Rules whose condition is false have none.
type episode struct {
	rule  int32 // in the plan
	state episodeState
	start int64 // Unix ms
	key   string
}

func newShard(e *Engine, _ int) *shard {
	s := &shard{e: e, devices: map[string]*device{}, bound: (e.cfg.MaxDevices + e.cfg.Partitions - 1) / e.cfg.Partitions}
	s.frame = frame{cfg: &e.cfg, sun: &s.sun}
	s.count.rules = make([]ruleCounts, len(e.prog.set.Rules))
	return s
}

func (s *shard) find(id, domain string) *device {
	d := s.devices[id]
	for d != nil && d.domain != domain {
		d = d.next
	}
	return d
}

// device returns the state of a device and makes it where there is none.
func (s *shard) device(id, domain string, pl *plan) *device {
	if d := s.find(id, domain); d != nil {
		return d
	}
	if len(s.devices) >= s.bound {
		s.evict()
	}
	d := &device{id: id, domain: domain, plan: pl, next: s.devices[id]}
	d.nums, d.texts, d.seen = emptySlots(pl)
	s.devices[id] = d
	s.refresh(d)
	return d
}

func emptySlots(pl *plan) ([]float64, []string, []int64) {
	nums, texts := make([]float64, len(pl.nums)), make([]string, len(pl.texts))
	for i := range nums {
		nums[i] = nan
	}
	for i := range texts {
		texts[i] = unknownText
	}
	return nums, texts, make([]int64, len(nums)+len(texts))
}

// refresh looks the device up again if the registry has changed since.
func (s *shard) refresh(d *device) {
	if r := s.e.cfg.Registry; r != nil {
		if v := r.Version(); d.asset == nil || d.version != v {
			old := d.asset
			d.asset, d.version = r.Lookup(d.id), v
			if d.tuned != 0 || tuned(d.asset) {
				d.noteOverrides(old)
			}
		}
	}
}

// Apply evaluates one batch of a partition; seq is its place in the log, for order. Batches of a
// partition must come in order. What it raises is returned by the next Settle.
func (e *Engine) Apply(partition int, seq uint64, o *batch.Observations) {
	s := e.shards[partition]
	s.seq, s.n, s.live = seq, 0, false
	s.begin(o)
	metrics := len(o.Metric.Values)
	for i, n := 0, o.Len(); i < n; {
		first := i
		dom, dev, at, received := o.Domain.Index[i], o.Device.Index[i], o.Time[i], o.Received[i]
		s.stamp++
		quality := uint8(0)
		for ; i < n && o.Device.Index[i] == dev && o.Time[i] == at && o.Received[i] == received && o.Domain.Index[i] == dom; i++ {
			// A metric for the second time begins the device's next message.
			if m := o.Metric.Index[i]; s.stamps[m] == s.stamp {
				break
			} else {
				s.stamps[m] = s.stamp
			}
			quality |= o.Quality[i]
		}
		s.count.messages++
		if quality&devices.QualityClock != 0 {
			at = received
		}
		s.received = received
		s.advance(min(at, received) - e.cfg.Lateness.Milliseconds())
		s.winClock.moved(min(at, received)-e.cfg.Lateness.Milliseconds(), received)
		pl := s.plans[dom]
		if len(pl.rules) == 0 {
			continue
		}
		s.message(pl, messageRows{o, first, i, int(dom) * metrics}, at, quality)
	}
	s.closeWindows()
	s.count.observations += uint64(o.Len())
	s.count.batches++
	if len(s.e.shared.rules) > 0 {
		s.clocks = append(s.clocks, clockMove{seq: seq, at: s.clock, received: s.received})
	}
}

// begin looks up what the batch's dictionaries name.
func (s *shard) begin(o *batch.Observations) {
	s.plans = s.plans[:0]
	for _, domain := range o.Domain.Values {
		s.plans = append(s.plans, s.e.prog.plan(domain))
	}
	s.held = zeroed(s.held, len(o.Device.Values))
	s.metrics = zeroed(s.metrics, len(o.Domain.Values)*len(o.Metric.Values))
	s.stamps = zeroed(s.stamps, len(o.Metric.Values))
	s.stamp = 0
}

// zeroed is n zeros, in the memory of s where that is enough.
func zeroed[T any](s []T, n int) []T {
	clear(s)
	s = slices.Grow(s[:0], n)[:n]
	clear(s)
	return s
}

var noMetric = &metricPlan{num: -1, text: -1}

// messageRows are the rows of one message, and where the metrics of its domain begin in the shard's table.
type messageRows struct {
	o                 *batch.Observations
	first, end, table int
}

// message applies one message to its device.
func (s *shard) message(pl *plan, rows messageRows, at int64, quality uint8) {
	o, first, end, table := rows.o, rows.first, rows.end, rows.table
	d := s.deviceOf(pl, o, first)
	now := max(at, d.time)
	if len(d.episodes) > 0 {
		s.beforeMessage(d, now)
	}
	if cap(s.dirty) < pl.words {
		s.dirty = make(bitset, pl.words)
	}
	s.dirty = s.dirty[:pl.words]
	copy(s.dirty, pl.always)
	for i := first; i < end; i++ {
		code := o.Metric.Index[i]
		m := s.metrics[table+int(code)]
		if m == nil {
			if m = pl.metrics[o.Metric.Values[code]]; m == nil {
				m = noMetric
			}
			s.metrics[table+int(code)] = m
		}
		if m != noMetric && s.set(d, m, at, o.Value[i], o.Text.At(i)) {
			s.dirty.or(m.rules)
			if m.series != nil {
				s.takeSeries(d, m, at, o.Value[i])
			}
		}
	}
	d.received, d.time = max(d.received, s.received), now
	f := &s.frame
	if pl.hasWindows {
		f.quality = quality
		s.readWindows(d, pl, rows, at)
	}
	f.nums, f.texts, f.dev, f.now, f.quality = d.nums, d.texts, d, now, quality
	for _, i := range pl.absent {
		if ep := d.episode(i); ep != nil && s.received > ep.start {
			s.heard(d, pl.rules[i], ep)
		}
	}
	if d.retuned {
		s.retune(d)
	}
	s.judge(d, pl)
}

func (s *shard) deviceOf(pl *plan, o *batch.Observations, row int) *device {
	code := o.Device.Index[row]
	domain := o.Domain.Values[o.Domain.Index[row]]
	if d := s.held[code]; d != nil && d.domain == domain && !d.gone {
		s.refresh(d)
		return d
	}
	id := o.Device.Values[code]
	d := s.find(id, domain)
	if d == nil {
		d = s.device(id, domain, pl)
		d.received = s.received
		s.watch(d)
	} else {
		s.refresh(d)
	}
	s.held[code] = d
	return d
}

// set takes one value, unless a newer one is held; it reports whether it did.
func (s *shard) set(d *device, m *metricPlan, at int64, v float64, text string) bool {
	taken := false
	if m.num >= 0 {
		if at >= d.seen[m.num] {
			if v == v || text != "" {
				d.nums[m.num], d.seen[m.num], taken = v, at, true
			}
		} else {
			s.count.late++
		}
	}
	if m.text >= 0 {
		if i := len(d.nums) + m.text; at >= d.seen[i] {
			if v == v {
				text = unknownText
			}
			d.texts[m.text], d.seen[i], taken = text, at, true
		} else if m.num < 0 {
			s.count.late++
		}
	}
	return taken
}

// evaluate runs one rule on the frame and moves its episode.
func (s *shard) evaluate(d *device, r *bound) {
	c := &s.count.rules[r.global]
	c.evaluations++
	f := &s.frame
	f.failed = false
	ep := d.episode(r.index)
	if d.tuned != 0 && r.exempt(f) {
		if ep != nil {
			s.ends(d, r, ep, exemptReason)
		}
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
	switch r.bare.when(f) {
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
	d.episodes = append(d.episodes, episode{rule: int32(r.index), state: pending, start: start})
	ep = &d.episodes[len(d.episodes)-1]
	if r.forMs == 0 {
		s.raise(d, r, ep, start)
		return
	}
	s.timers.push(timer{at: start + r.forMs, dev: d, rule: ep.rule, start: start})
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

// standsFor is how many of its expected periods a device's reading stands.
const standsFor = 3

// stands reports whether d's last reading still counts at a time.
func (d *device) stands(at int64) bool {
	if d.asset == nil || d.asset.Period <= 0 || d.time == 0 {
		return true
	}
	return at-d.time <= standsFor*int64(d.asset.Period)/1e6
}

// beforeMessage settles what the values until now decide, before a message at event time now
// changes them: what is due is raised, and what waited across a gap starts anew.
func (s *shard) beforeMessage(d *device, now int64) {
	for i := 0; i < len(d.episodes); i++ {
		ep := &d.episodes[i]
		if ep.state != pending {
			continue
		}
		r := d.plan.rules[ep.rule]
		if r.Absent > 0 {
			continue
		}
		// What is due now is for the message to decide.
		if due := ep.start + r.forMs; due < now && d.stands(due) {
			s.frameOf(d, due)
			s.raise(d, r, ep, due)
		}
	}
	if !d.stands(now) {
		kept := d.episodes[:0]
		for _, ep := range d.episodes {
			if ep.state != pending {
				kept = append(kept, ep)
			}
		}
		d.episodes = kept
	}
}

// frameOf puts the frame on a device outside of a message.
func (s *shard) frameOf(d *device, now int64) {
	f := &s.frame
	f.nums, f.texts, f.dev, f.now, f.quality = d.nums, d.texts, d, now, 0
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
		ep := t.dev.episode(int(t.rule))
		if ep == nil || ep.state != pending || ep.start != t.start || !t.dev.stands(t.at) {
			continue // over, or to be decided by the next reading
		}
		s.frameOf(t.dev, t.at)
		s.raise(t.dev, t.dev.plan.rules[t.rule], ep, t.at)
	}
}

func (d *device) episode(rule int) *episode {
	for i := range d.episodes {
		if int(d.episodes[i].rule) == rule {
			return &d.episodes[i]
		}
	}
	return nil
}

func (d *device) drop(rule int) {
	for i := range d.episodes {
		if int(d.episodes[i].rule) == rule {
			d.episodes = append(d.episodes[:i], d.episodes[i+1:]...)
			if len(d.episodes) == 0 {
				d.episodes = nil
			}
			return
		}
	}
}

// remove takes a device out of the shard; its open episodes are cleared with a reason.
func (s *shard) remove(d *device, at int64, reason string) {
	s.endWindows(d, at, reason)
	s.closeAll(d, at, reason)
	s.dropBaselines(d.series)
	d.gone = true
	first := s.devices[d.id]
	if first == d {
		if d.next == nil {
			delete(s.devices, d.id)
		} else {
			s.devices[d.id] = d.next
		}
		return
	}
	for first.next != d {
		first = first.next
	}
	first.next = d.next
}

func (s *shard) closeAll(d *device, at int64, reason string) {
	if len(d.episodes) == 0 {
		return
	}
	s.frameOf(d, max(at, d.time))
	for len(d.episodes) > 0 {
		ep := &d.episodes[len(d.episodes)-1]
		r := d.plan.rules[ep.rule]
		switch ep.state {
		case raised:
			s.emit(d, r, "cleared", ep.start, s.frame.now, reason)
		case member:
			s.leaves(d, r, ep, reason)
			continue
		}
		d.episodes = d.episodes[:len(d.episodes)-1]
	}
}

// evict makes room for one device: of a sample, the one least recently heard, one without an open
// episode if there is any.
func (s *shard) evict() {
	var oldest, idle *device
	n := 0
	for _, d := range s.devices {
		if oldest == nil || d.received < oldest.received {
			oldest = d
		}
		if len(d.episodes) == 0 && !d.raisedWindows() && (idle == nil || d.received < idle.received) {
			idle = d
		}
		if n++; n == 64 {
			break
		}
	}
	if idle != nil {
		oldest = idle
	}
	if oldest != nil {
		s.remove(oldest, oldest.time, "forgotten: the engine holds as many devices as it may")
		s.count.evicted++
	}
}

// forget drops devices not heard since before (processing time) that have no open episode.
func (s *shard) forget(before int64) {
	for _, first := range s.devices {
		for d := first; d != nil; {
			next := d.next
			if d.received < before && len(d.episodes) == 0 && !d.raisedWindows() {
				s.remove(d, d.time, "")
			}
			d = next
		}
	}
}

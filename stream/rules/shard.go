package rules

import (
	"math/rand/v2"
	"strings"

	"panormus/devices"
	"panormus/stream/batch"
)

// A shard holds the devices of one partition. It belongs to one goroutine at a time.
type shard struct {
	e       *Engine
	index   int
	devices table
	homes   map[string]*home // of the program that runs, by domain
	roomy   int              // homes, at which those without devices are forgotten
	bound   int
	frame   frame
	sun     sunCache

	clock    int64 // event time less the lateness, Unix ms: what is due by it is raised
	received int64 // of the message in hand, or the tick
	past     past
	noted    noted
	replay   *replay // nil: nothing is judged again
	timers   heap[due]
	silence  heap[timer] // on processing time
	dirty    bitset
	seq      uint64 // of the batch in hand
	n        int    // of events and transitions of that batch
	judged   uint   // evaluations, to time one in sampleEvery
	live     bool   // what happens is caused by a tick, not by a batch

	winClock windowClock
	begun    windowClock // as it was after the first message of the batch in hand
	windows  windows
	own      struct { // what the message in hand says itself, for windows
		nums  []float64
		texts []string
		dirty bitset
	}
	tardy    []tardy
	partials map[groupKey]*winState // of keys that span partitions, of the batch in hand
	rounds   []spanRound            // of batches since the last Settle
	keeping  []*heldMessage         // of the batch in hand, for the settler

	baselines int              // of all devices
	learned   map[learned]bool // whose past was taught

	written int // bytes of the last snapshot

	out    []made
	moves  []transition
	clocks []clockMove
	posts  []post // for the board,
	asks   []ask  // and for the shared shard
	count  shardCounts

	// Of the batch in hand, by dictionary code.
	homed   []*home
	held    []*device // nil: not looked for, or not there
	wanted  wanted
	filling bool          // devices of it have windows
	metrics []*metricPlan // [domain][metric]
	stamps  []uint32      // by metric: the message that had it last
	stamp   uint32
}

func newShard(e *Engine, index int) *shard {
	s := &shard{e: e, index: index, devices: newTable(), homes: map[string]*home{}, roomy: 1024, bound: (e.cfg.MaxDevices + e.cfg.Partitions - 1) / e.cfg.Partitions}
	s.frame = frame{cfg: &e.cfg, sun: &s.sun}
	s.windows.lateness = e.cfg.Lateness.Milliseconds()
	s.past = newPast(pastLimit(e.cfg.MaxPast, e.cfg.Partitions))
	s.count.rules, s.count.quick = make([]ruleCounts, len(e.prog.set.Rules)), make([]uint64, len(e.prog.quick))
	return s
}

func (s *shard) find(id, domain string) *device {
	return s.devices.find(s.devices.tag(id, s.devices.salt(domain)), id, domain)
}

// home is a domain's.
func (s *shard) home(domain string) *home {
	h := s.homes[domain]
	if h == nil {
		if len(s.homes) >= s.roomy { // anybody may invent domains: those of no device go
			clear(s.homes)
			for d := range s.devices.all() {
				s.homes[d.domain] = d.home
			}
			s.roomy = max(1024, 2*len(s.homes))
		}
		domain = strings.Clone(domain)
		h = &home{domain: domain, plan: s.e.prog.plan(domain), salt: s.devices.salt(domain)}
		s.homes[domain] = h
	}
	return h
}

// device returns the state of a device and makes it where there is none.
func (s *shard) device(id, domain string) *device {
	if d := s.find(id, domain); d != nil {
		return d
	}
	if s.devices.n >= s.bound {
		s.evict()
	}
	d := &device{id: strings.Clone(id), home: s.home(domain)}
	d.empty()
	s.devices.add(s.devices.tag(id, d.salt), d)
	s.refresh(d)
	return d
}

// refresh looks the device up again if the registry has changed since.
func (s *shard) refresh(d *device) {
	if r := s.e.cfg.Registry; r != nil {
		if v := uint32(r.Version()); d.asset == nil || d.version != v {
			old := d.asset
			if d.asset, d.version = r.Lookup(d.id), v; d.asset == nil {
				d.version-- // so that none that is current is of a device to be looked up
			}
			if d.tuned != 0 || tuned(d.asset) {
				d.noteOverrides(old)
			}
		}
	}
}

// registryVersion is what the version of a device is whose asset need not be looked up.
func (e *Engine) registryVersion() uint32 {
	if e.cfg.Registry == nil {
		return 0
	}
	return uint32(e.cfg.Registry.Version())
}

// Apply evaluates one batch of a partition; seq is its place in the log, for order. Batches of a
// partition must come in order. What it raises is returned by the next Settle.
func (e *Engine) Apply(partition int, seq uint64, o *batch.Observations) {
	s := e.shards[partition]
	s.seq, s.n, s.live = seq, 0, false
	s.begin(o)
	n := o.Len()
	metrics := len(o.Metric.Values)
	doms, devs, times, receipts := o.Domain.Index[:n], o.Device.Index[:n], o.Time[:n], o.Received[:n]
	looked := 0 // rows whose devices were looked up
	for i := 0; i < n; {
		if i >= looked {
			looked = s.lookUp(o, i)
		}
		first := i
		dom, dev, at, received := doms[i], devs[i], times[i], receipts[i]
		quality := o.Quality[i]
		if i++; i < n && devs[i] == dev && times[i] == at && receipts[i] == received && doms[i] == dom {
			i, quality = s.messageEnd(o, first)
		} else if next := s.quickRows(o, first, looked); next > first {
			i = next
			continue
		}
		s.count.messages++
		if quality&devices.QualityClock != 0 {
			at = received
		}
		s.moveClocks(first, at, received)
		h := s.homed[dom]
		if h.plan.idle() {
			continue
		}
		s.message(h.plan, messageRows{o, first, i, int(dom) * metrics}, at, quality)
	}
	s.count.observations += uint64(o.Len())
	s.count.batches++
	if len(s.e.shared.rules) > 0 {
		if n > 0 {
			s.rounds = append(s.rounds, spanRound{seq: seq, partition: s.index, received: receipts[0], begun: s.begun, done: s.winClock, partials: s.partials, kept: s.keeping})
			s.partials, s.keeping = nil, nil
		}
		s.clocks = append(s.clocks, clockMove{seq: seq, at: s.clock, received: s.received})
	}
}

// moveClocks moves the shard's clocks by the message that begins at a row. To do so twice changes nothing.
func (s *shard) moveClocks(row int, at, received int64) {
	s.received = received
	to := min(at, received) - s.windows.lateness
	if to > s.clock {
		s.advance(to)
	}
	s.winClock.moved(to, received)
	s.moveWindows()
	if row == 0 {
		s.begun = s.winClock
	}
}

// messageEnd is where the message that begins at row first ends, and its quality. A metric for the second
// time begins the device's next message.
func (s *shard) messageEnd(o *batch.Observations, first int) (end int, quality uint8) {
	s.stamp++
	dom, dev, at, received := o.Domain.Index[first], o.Device.Index[first], o.Time[first], o.Received[first]
	i, n := first, o.Len()
	for ; i < n && o.Device.Index[i] == dev && o.Time[i] == at && o.Received[i] == received && o.Domain.Index[i] == dom; i++ {
		if m := o.Metric.Index[i]; s.stamps[m] == s.stamp {
			break
		} else {
			s.stamps[m] = s.stamp
		}
		quality |= o.Quality[i]
	}
	return i, quality
}

// begin looks up what the batch's dictionaries name.
func (s *shard) begin(o *batch.Observations) {
	s.homed = s.homed[:0]
	s.filling = false
	for _, domain := range o.Domain.Values {
		h := s.home(domain)
		s.homed = append(s.homed, h)
		s.filling = s.filling || h.plan.windows > 0
	}
	s.held = zeroed(s.held, len(o.Device.Values))
	if 8*len(o.Device.Values) > len(s.devices.tags) {
		s.wanted.some = float64(s.devices.near())
	}
	s.metrics = zeroed(s.metrics, len(o.Domain.Values)*len(o.Metric.Values))
	s.stamps = zeroed(s.stamps, len(o.Metric.Values))
	s.stamp = 0
}

// lookUp finds the devices of the next rows that are known, and returns the row behind them. It goes step by
// step for all of them and not device by device: so the processor waits for many places of memory at once, and
// they are still near when the rows are judged.
func (s *shard) lookUp(o *batch.Observations, row int) (end int) {
	w, n, all := &s.wanted, 0, o.Device.Index
	end = min(row+lookedAhead, len(all))
	for i := row; i < end; i++ {
		code := all[i]
		if s.held[code] != nil {
			continue
		}
		s.held[code] = sought
		w.codes[n] = code
		w.tags[n] = s.devices.tag(o.Device.Values[code], s.homed[o.Domain.Index[i]].salt)
		if n++; n == len(w.codes) {
			end = i + 1
		}
	}
	for i, tag := range w.tags[:n] {
		w.devs[i] = s.devices.first(tag)
	}
	some := 0.0
	for i, d := range w.devs[:n] {
		if d != nil {
			w.ids[i] = d.id
			some += *d.slots // so that it is near when it is wanted
		}
	}
	if w.some = some; s.filling {
		w.some += w.nearWindows(n)
	}
	for i, d := range w.devs[:n] {
		if code := w.codes[i]; d != nil && w.ids[i] == o.Device.Values[code] {
			s.held[code] = d // of another domain perhaps, which is seen when it is used
		} else {
			s.held[code] = nil // deviceOf looks for it
		}
	}
	return end
}

// sought stands for a device that lookUp is looking for.
var sought = &device{}

// lookedAhead is the most rows that lookUp goes through.
const lookedAhead = 1024

// wanted are the devices that lookUp is looking for.
type wanted struct {
	codes [128]int16 // of the batch's dictionary
	tags  [128]uint32
	devs  [128]*device // perhaps
	ids   [128]string
	some  float64 // so that values are read
}

// zeroed is n zeros, in the memory of s where that is enough.
func zeroed[T any](s []T, n int) []T {
	if n > cap(s) {
		return make([]T, n, n+n/4)
	}
	s = s[:max(n, len(s))] // what is left over from longer ones goes too, for what it points to
	clear(s)
	return s[:n]
}

// messageRows are the rows of one message, and where the metrics of its domain begin in the shard's table.
type messageRows struct {
	o                 *batch.Observations
	first, end, table int
}

// message applies one message to its device.
func (s *shard) message(pl *plan, rows messageRows, at int64, quality uint8) {
	o, first, end, table := rows.o, rows.first, rows.end, rows.table
	d := s.deviceOf(o, first)
	now := max(at, d.time)
	tardy := at < d.time && s.tardyFor(d, at)
	if tardy {
		s.redo(d, rows, at, quality)
	}
	s.noted = noted{on: pl.redoes && !tardy && at >= d.time, time: d.time, quality: quality, episodes: append(s.noted.episodes[:0], d.episodes.all()...)}
	if !tardy && d.episodes.n > 0 {
		s.beforeMessage(d, now)
	}
	if cap(s.dirty) < pl.words {
		s.dirty = make(bitset, pl.words)
	}
	s.dirty = s.dirty[:pl.words]
	copy(s.dirty, pl.always)
	for i := first; i < end; i++ {
		m := s.metrics[table+int(o.Metric.Index[i])]
		if m == nil {
			m = s.metric(pl, o, i, table)
		}
		if m != pl.unread && s.set(d, m, at, o.Value[i], o.Text.At(i)) {
			s.dirty.or(m.rules)
			if m.series != nil && !tardy { // else it is among them
				s.takeSeries(d, m, at, o.Value[i])
			}
		}
	}
	if s.noted.on && s.noted.first == 0 {
		s.note(d, -1, at)
	}
	d.received, d.time = max(d.received, s.received), now
	f := &s.frame
	f.own = at
	if pl.fences != nil && !tardy {
		s.takeFences(d, pl, at)
	}
	if pl.posts {
		s.post(d, rows, at)
	}
	if pl.settles {
		s.keep(d, rows, at)
	}
	if pl.hasWindows {
		f.quality = quality
		s.readWindows(d, pl, rows, at)
	}
	f.nums, f.texts, f.dev, f.now, f.quality = d.nums(), d.texts, d, now, quality
	for _, i := range pl.absent {
		if ep := d.episode(i); ep != nil && s.received > ep.start {
			s.heard(d, pl.rules[i], ep)
		}
	}
	if d.retuned {
		s.retune(d)
	}
	if tardy {
		for i := range s.dirty {
			s.dirty[i] &^= pl.redone[i]
		}
	}
	s.judge(d, pl)
	s.noteEpisodes(d)
}

// metric is what row i's is to a plan, looked up for the first time in the batch.
func (s *shard) metric(pl *plan, o *batch.Observations, i, table int) *metricPlan {
	code := o.Metric.Index[i]
	m := pl.metrics[o.Metric.Values[code]]
	if m == nil {
		m = pl.unread
	}
	s.metrics[table+int(code)] = m
	return m
}

func (s *shard) deviceOf(o *batch.Observations, row int) *device {
	code := o.Device.Index[row]
	h := s.homed[o.Domain.Index[row]]
	if d := s.held[code]; d != nil && d.home == h && !d.gone {
		s.refresh(d)
		return d
	}
	id := o.Device.Values[code]
	d := s.find(id, h.domain)
	if d == nil {
		d = s.device(id, h.domain)
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
		if at >= d.seenAt(m.num) {
			if v == v || text != "" {
				if s.noted.on {
					s.note(d, m.num, at)
				}
				d.nums()[m.num], taken = v, true
				d.see(m.num, at)
				if v != v && m.asNum {
					s.mistaken(d.plan, m, d.plan.nums[m.num], kindText)
				}
			}
		} else {
			s.count.late++
		}
	}
	if m.text >= 0 {
		if i := len(d.nums()) + m.text; at >= d.seenAt(i) {
			if v == v {
				if text = unknownText; m.asText {
					s.mistaken(d.plan, m, d.plan.texts[m.text], kindNum)
				}
			}
			if s.noted.on {
				s.note(d, i, at)
			}
			d.texts[m.text], taken = text, true
			d.see(i, at)
		} else if m.num < 0 {
			s.count.late++
		}
	}
	return taken
}

// remove takes a device out of the shard; its open episodes are cleared with a reason.
func (s *shard) remove(d *device, at int64, reason string) {
	s.endWindows(d, at, reason)
	s.leaveJoins(d, at, reason)
	s.closeAll(d, at, reason)
	if d.plan.settles {
		s.hold(d, &heldMessage{at: d.time, kind: heldGone, reason: reason})
	}
	s.dropBaselines(d.series)
	d.gone = true
	s.devices.remove(s.devices.tag(d.id, d.salt), d)
}

// evict makes room for one device: of a sample, the one least recently heard, one without an open
// episode if there is any.
func (s *shard) evict() {
	var oldest, idle *device
	// The sample is what lies behind a random place.
	all := &s.devices
	begin, n := rand.IntN(len(all.tags)), 0
	for i := range all.tags {
		d := all.devs[(begin+i)%len(all.devs)]
		if d == nil {
			continue
		}
		if oldest == nil || d.received < oldest.received {
			oldest = d
		}
		if d.episodes.n == 0 && !d.raisedWindows() && (idle == nil || d.received < idle.received) {
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
	var quiet []*device
	for d := range s.devices.all() {
		if d.received < before && d.episodes.n == 0 && !d.raisedWindows() {
			quiet = append(quiet, d)
		}
	}
	for _, d := range quiet {
		s.remove(d, d.time, "")
	}
}

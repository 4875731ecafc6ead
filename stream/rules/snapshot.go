package rules

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"math"
	"slices"
	"strings"
)

// A snapshot is the state of one shard as bytes:
//
//	"PRS" version(1) | body | crc32 (IEEE, little endian, of all before it)
//
// Numbers are varints, times are differences to the snapshot's own (Unix ms), texts and lists have
// their length before them. Rules, metrics and domains are written by name, once, so a snapshot is
// restored under whatever rules run then; the rules that have anything in it are written whole, for the
// events that end the episodes of one that is no longer there.

// Version 1 had no windows, 2 no baselines, 3 no overrides, 4 no board, 5 no sums of panes, 6 no times since which
// keys are held, 7 nothing of what late readings may change, 8 no
// past of devices, 9 no rules that are judged twice, 10 no times at which those are compared, 11 no windows
// of rows that are judged twice, 12 all rules of every plan, 13 no events that are judged twice; they are read as well.
const snapshotVersion = 14

var snapshotMagic = []byte{'P', 'R', 'S', snapshotVersion}

// Snapshot writes the state of a partition; -1 is the shared shard. seq is the log's place up to
// which everything is applied, noted in it. Call it between rounds, after Settle; different
// partitions may be written at once.
func (e *Engine) Snapshot(partition int, seq uint64) []byte {
	size := &e.shared.written
	if partition >= 0 {
		size = &e.shards[partition].written
	}
	w := &writer{b: append(make([]byte, 0, *size+*size/16+64), snapshotMagic...)} // to grow it costs copies, and the pause
	w.int(int64(partition))
	w.uint(seq)
	if partition < 0 {
		e.shared.write(w)
	} else {
		e.shards[partition].write(w)
	}
	*size = len(w.b)
	return binary.LittleEndian.AppendUint32(w.b, crc32.ChecksumIEEE(w.b))
}

// snapshotSeq is the place in the log that a snapshot is of; 0 where it is none.
func snapshotSeq(data []byte) uint64 {
	if len(data) < 8 || string(data[:3]) != "PRS" {
		return 0
	}
	r := &reader{b: data[4:]}
	r.int() // its partition
	return r.uint()
}

// Restore reads a snapshot into an engine that has applied nothing and returns its seq. On an error
// the partition has no state.
func (e *Engine) Restore(partition int, data []byte) (seq uint64, err error) {
	if len(data) < 8 || string(data[:3]) != "PRS" {
		return 0, errors.New("restore: not a snapshot")
	}
	if data[3] < 1 || data[3] > snapshotVersion {
		return 0, fmt.Errorf("restore: snapshot version %d, want %d", data[3], snapshotVersion)
	}
	body := data[:len(data)-4]
	if got, want := crc32.ChecksumIEEE(body), binary.LittleEndian.Uint32(data[len(data)-4:]); got != want {
		return 0, fmt.Errorf("restore: checksum %08x, want %08x", got, want)
	}
	r := &reader{b: body[4:], version: data[3], rules: e.wereRules}
	if got := r.int(); got != int64(partition) {
		return 0, fmt.Errorf("restore: a snapshot of partition %d, want %d", got, partition)
	}
	seq = r.uint()
	if partition < 0 {
		e.shared.read(r, seq)
	} else {
		e.shards[partition].read(r, seq)
	}
	if r.bad || len(r.b) != 0 {
		e.empty(partition)
		return 0, errors.New("restore: a snapshot that ends early or late")
	}
	return seq, nil
}

// empty takes from a partition, -1 the shared shard, what it was restored with.
func (e *Engine) empty(partition int) {
	if partition < 0 {
		e.shared = newShared(e)
		e.shared.settleWith(e.prog.set, e.prog)
	} else {
		e.shards[partition] = newShard(e, partition)
	}
}

type writer struct {
	b     []byte
	base  int64
	rules map[*Rule]uint64 // written so far, by their order
}

func (w *writer) uint(v uint64)    { w.b = binary.AppendUvarint(w.b, v) }
func (w *writer) int(v int64)      { w.b = binary.AppendVarint(w.b, v) }
func (w *writer) time(ms int64)    { w.int(ms - w.base) }
func (w *writer) number(v float64) { w.b = binary.LittleEndian.AppendUint64(w.b, math.Float64bits(v)) }
func (w *writer) text(s string)    { w.uint(uint64(len(s))); w.b = append(w.b, s...) }
func (w *writer) texts(all []string) {
	w.uint(uint64(len(all)))
	for _, s := range all {
		w.text(s)
	}
}

type reader struct {
	b       []byte
	base    int64
	bad     bool
	version byte
	rules   map[string]*Rule // read so far of all partitions, by how they are written
	known   []*Rule          // of this snapshot
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) time() int64 { return r.base + r.int() }

func (r *reader) number() float64 {
	if len(r.b) < 8 {
		r.bad, r.b = true, nil
		return 0
	}
	v := math.Float64frombits(binary.LittleEndian.Uint64(r.b))
	r.b = r.b[8:]
	return v
}

// count reads the length of a list; each element takes at least a byte.
func (r *reader) count() int {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return 0
	}
	return int(n)
}

func (r *reader) text() string {
	n := r.count()
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *reader) texts() []string {
	out := make([]string, r.count())
	for i := range out {
		out[i] = r.text()
	}
	return out
}

func (s *shard) write(w *writer) {
	w.base = s.received
	w.int(s.received)
	w.time(s.clock)
	all := slices.AppendSeq(make([]*device, 0, s.devices.n), s.devices.all())
	lie := w.plans(s.homes, all)
	w.uint(uint64(len(all)))
	for _, d := range all {
		w.text(d.id)
		w.text(d.domain)
		w.uint(uint64(d.place))
		w.time(d.time)
		w.time(d.received)
		for i, v := range d.nums() {
			if w.seen(d.seenAt(i)) {
				w.number(v)
			}
		}
		for i, t := range d.texts {
			if w.seen(d.seenAt(len(d.nums()) + i)) {
				if t == unknownText {
					w.text("")
					w.uint(0)
				} else {
					w.text(t)
					w.uint(1)
				}
			}
		}
		w.uint(uint64(d.episodes.n))
		for _, ep := range d.episodes.all() {
			w.uint(uint64(lie[d.place][ep.rule]))
			w.uint(uint64(ep.state))
			w.time(ep.start)
			w.text(d.keyOf(ep.rule))
		}
	}
	w.windowClock(&s.winClock)
	w.time(s.windows.clock)
	var open []*winState
	for _, d := range all {
		for _, state := range d.windows {
			if state != nil && (len(state.told) > 0 || state.n > 0 || state.progress != nil) {
				open = append(open, state)
			}
		}
	}
	w.windows(open)
	w.writeSeries(all)
	w.learned(s.learned)
	w.writeTuned(all)
	w.pasts(s, all)
}

// seen writes when a value was reported and whether it was.
func (w *writer) seen(ms int64) bool {
	if ms == 0 {
		w.uint(0)
		return false
	}
	w.uint(1)
	w.time(ms)
	return true
}

func (r *reader) seen() (int64, bool) {
	if r.uint() == 0 {
		return 0, false
	}
	return r.time(), true
}

func (s *shard) read(r *reader, seq uint64) {
	s.received = r.int()
	r.base = s.received
	s.clock = r.time()
	s.seq, s.live = seq, true
	plans := r.plans()
	type move struct {
		from *plan
		to   *home
	}
	homes := map[move]*home{} // of the snapshot, whose plans are not those that run
	fate := map[move][]fate{}
	var all []*device
	var from []*plan
	for range r.count() {
		d := &device{id: r.text()}
		to := s.home(r.text())
		p := r.uint()
		if r.bad || p >= uint64(len(plans)) {
			r.bad = true
			return
		}
		m := move{plans[p], to}
		if d.home = homes[m]; d.home == nil {
			d.home = &home{domain: to.domain, plan: m.from, salt: to.salt}
			homes[m], fate[m] = d.home, fates(m.from, to.plan, s.e.cfg.faults)
		}
		d.time, d.received = r.time(), r.time()
		if !r.readValues(d) {
			return
		}
		for range r.count() {
			ep := episode{rule: int32(r.uint()), state: episodeState(r.uint()), start: r.time()}
			key := r.text()
			if ep.rule < 0 || int(ep.rule) >= len(d.plan.rules) || ep.state > closed {
				r.bad = true
				return
			}
			d.episodes.add(ep)
			d.join(ep.rule, key)
		}
		s.devices.add(s.devices.tag(d.id, to.salt), d)
		s.refresh(d)
		s.carry(d, to, fate[m], s.received)
		all, from = append(all, d), append(from, m.from)
	}
	if r.version == 1 {
		return
	}
	s.readOpenWindows(r)
	for _, d := range all {
		s.readSeries(r, d)
	}
	if r.version >= 3 {
		s.learned = r.learned()
		s.keepLearned(s.e.prog)
	}
	if r.version >= 4 {
		r.readTuned(all)
	}
	if r.version >= 9 {
		s.readPasts(r, all, from)
	} else {
		for _, d := range all {
			s.blank(d)
		}
	}
}

func (r *reader) readValues(d *device) bool {
	d.empty()
	for i := range d.nums() {
		if at, ok := r.seen(); ok {
			d.nums()[i] = r.number()
			d.see(i, at)
		}
	}
	for i := range d.texts {
		if at, ok := r.seen(); ok {
			d.see(len(d.nums())+i, at)
			if t := r.text(); r.uint() == 1 {
				d.texts[i] = t
			}
		}
	}
	return !r.bad
}

func (s *shared) write(w *writer) {
	w.int(s.clock)
	w.base = s.clock
	keys := slices.Collect(maps.Keys(s.groups))
	index := w.rulesOf(keys, func(k groupKey) *bound { return s.rules[k.rule] })
	w.uint(uint64(len(keys)))
	for _, k := range keys {
		g := s.groups[k]
		w.uint(uint64(index[k.rule]))
		w.text(k.key)
		w.uint(uint64(g.state))
		w.time(g.start)
		w.time(g.time)
		w.texts([]string{g.domain, g.device, g.zone, g.evidence.text})
		values, err := json.Marshal(g.evidence.values)
		if err != nil {
			panic("BUG: evidence that JSON cannot write: " + err.Error())
		}
		w.text(string(values))
		w.uint(uint64(len(g.members)))
		for m := range g.members {
			w.text(m)
		}
	}
	w.int(s.windows.clock)
	w.int(s.received)
	w.uint(uint64(len(s.places)))
	for i := range s.places {
		w.windowClock(&s.places[i])
	}
	open := make([]*winState, 0, len(s.keyed))
	for _, state := range s.keyed {
		open = append(open, state)
	}
	slices.SortFunc(open, func(a, b *winState) int {
		return cmp.Or(strings.Compare(a.rule.ID, b.rule.ID), strings.Compare(a.name(), b.name()))
	})
	w.windows(open)
	w.board(s.board)
	w.holding(s.holding)
	s.settler.write(w)
}

func (s *shared) read(r *reader, seq uint64) {
	s.clock = r.int()
	r.base = s.clock
	s.seq, s.taken, s.next = seq, seq, 0
	rules := r.rulesBack()
	for range r.count() {
		i := r.uint()
		if r.bad || i >= uint64(len(rules)) {
			r.bad = true
			return
		}
		was := rules[i]
		k := groupKey{was.ID, r.text()}
		g := &group{state: episodeState(r.uint()), start: r.time(), time: r.time(), members: map[string]struct{}{}}
		about := r.texts()
		if len(about) != 4 {
			r.bad = true
			return
		}
		g.domain, g.device, g.zone, g.evidence.text = about[0], about[1], about[2], about[3]
		if err := json.Unmarshal([]byte(r.text()), &g.evidence.values); err != nil {
			r.bad = true
			return
		}
		for range r.count() {
			g.members[r.text()] = struct{}{}
		}
		now := s.rules[k.rule]
		if now == nil || !now.sameKeys(was.Rule) {
			if g.state == raised {
				at := max(g.time, s.clock)
				s.emit(was, k, g, "cleared", at, seq, at, "the rule was removed or changed")
			}
			continue
		}
		s.groups[k] = g
		s.keys[k.rule]++
	}
	if r.version > 1 {
		s.readOpenWindows(r)
	}
	if r.version >= 5 {
		s.board, s.holding, s.heldEnd = r.board(), r.holding(), 0
		for k, h := range s.holding {
			if now := s.rules[k.rule]; now == nil || !now.asks() || s.groups[groupKey{k.rule, h.key}] == nil {
				delete(s.holding, k)
			}
		}
	}
	s.readSettler(r)
}

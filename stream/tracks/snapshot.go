package tracks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"slices"
	"strings"
)

// A snapshot is the state of a partition as bytes:
//
//	"PTS" version(1) | body | crc32 (IEEE, little endian, of all before it)
//
// Numbers are varints, times are differences to a time of the camera (ms), texts and lists have
// their length before them. Rows that wait are not in it: the log has them, from the snapshot's
// floor on, and what of them was waiting the cameras' clocks tell.

const snapshotVersion = 1

var snapshotMagic = []byte{'P', 'T', 'S', snapshotVersion}

// Snapshot writes the state of a partition, between Apply and Apply, and returns it with its floor.
// seq is the log's place up to which everything is read, whatever the partition.
func (e *Engine) Snapshot(partition int, seq uint64) (data []byte, floor uint64) {
	s := e.shards[partition]
	s.seq = max(s.seq, seq)
	floor = min(s.floor(), seq+1) // in a replay, what waited and was not read again is above seq
	x := &coder{b: append(make([]byte, 0, s.written+s.written/8+64), snapshotMagic...)}
	x.head(&partition, &s.seq, &floor)
	s.code(x)
	s.written = len(x.b)
	return binary.LittleEndian.AppendUint32(x.b, crc32.ChecksumIEEE(x.b)), floor
}

// Restore reads a snapshot into a partition that has applied nothing. Everything up to seq is in it
// but for rows that wait: Apply the batches from floor on again. On an error the partition has no
// state.
func (e *Engine) Restore(partition int, data []byte) (seq, floor uint64, err error) {
	if len(data) < 8 || string(data[:3]) != "PTS" {
		return 0, 0, errors.New("restore: not a snapshot")
	}
	if data[3] != snapshotVersion {
		return 0, 0, fmt.Errorf("restore: snapshot version %d, want %d", data[3], snapshotVersion)
	}
	body := data[:len(data)-4]
	if got, want := crc32.ChecksumIEEE(body), binary.LittleEndian.Uint32(data[len(data)-4:]); got != want {
		return 0, 0, fmt.Errorf("restore: checksum %08x, want %08x", got, want)
	}
	x := &coder{b: body[4:], reading: true}
	s := newShard(&e.cfg, partition)
	var of int
	x.head(&of, &s.seq, &floor)
	if of != partition {
		return 0, 0, fmt.Errorf("restore: a snapshot of partition %d, want %d", of, partition)
	}
	s.code(x)
	if x.bad || len(x.b) != 0 {
		return 0, 0, errors.New("restore: a snapshot that ends early or late, or is at odds with itself")
	}
	for _, c := range s.cameras {
		c.look()
	}
	s.show()
	e.shards[partition] = s
	return s.seq, floor, nil
}

// A coder writes what it is given, or reads into it: one description serves both ways.
type coder struct {
	b       []byte
	reading bool
	bad     bool
	base    int64 // of times
}

func (x *coder) uint(v *uint64) {
	if !x.reading {
		x.b = binary.AppendUvarint(x.b, *v)
		return
	}
	u, n := binary.Uvarint(x.b)
	if n <= 0 {
		x.fail()
		return
	}
	*v, x.b = u, x.b[n:]
}

func (x *coder) fail() { x.bad, x.b = true, nil }

func (x *coder) int(v *int64) {
	if !x.reading {
		x.b = binary.AppendVarint(x.b, *v)
		return
	}
	i, n := binary.Varint(x.b)
	if n <= 0 {
		x.fail()
		return
	}
	*v, x.b = i, x.b[n:]
}

func (x *coder) time(v *int64) {
	d := *v - x.base
	x.int(&d)
	*v = d + x.base
}

func small[T uint8 | uint16 | uint32 | int32 | int](x *coder, v *T) {
	i := int64(*v)
	x.int(&i)
	if T(i) >= 0 && int64(T(i)) == i {
		*v = T(i)
	} else {
		x.fail()
	}
}

func (x *coder) flag(v *bool) {
	b := uint8(count(*v))
	small(x, &b)
	*v = b != 0
}

func (x *coder) float(v *float64) {
	if !x.reading {
		x.b = binary.LittleEndian.AppendUint64(x.b, math.Float64bits(*v))
		return
	}
	if len(x.b) < 8 {
		x.fail()
		return
	}
	*v, x.b = math.Float64frombits(binary.LittleEndian.Uint64(x.b)), x.b[8:]
}

func (x *coder) float32(v *float32) {
	if !x.reading {
		x.b = binary.LittleEndian.AppendUint32(x.b, math.Float32bits(*v))
		return
	}
	if len(x.b) < 4 {
		x.fail()
		return
	}
	*v, x.b = math.Float32frombits(binary.LittleEndian.Uint32(x.b)), x.b[4:]
}

func (x *coder) text(v *string) {
	n := x.count(len(*v))
	if !x.reading {
		x.b = append(x.b, *v...)
		return
	}
	*v, x.b = string(x.b[:n]), x.b[n:]
}

// count is the length of a list, each element of which takes at least a byte.
func (x *coder) count(n int) int {
	u := uint64(n)
	x.uint(&u)
	if x.reading && u > uint64(len(x.b)) {
		x.fail()
		return 0
	}
	return int(u)
}

// list writes or reads a slice with f.
func list[T any](x *coder, all *[]T, f func(*T)) {
	n := x.count(len(*all))
	if x.reading {
		*all = make([]T, n)
		if n == 0 {
			*all = nil
		}
	}
	for i := range *all {
		f(&(*all)[i])
	}
}

// table writes or reads a map, in the order that less gives.
func table[K comparable, V any](x *coder, all map[K]V, order func(a, b K) int, f func(*K, *V)) {
	n := x.count(len(all))
	if x.reading {
		for range n {
			var k K
			var v V
			f(&k, &v)
			all[k] = v
		}
		return
	}
	keys := make([]K, 0, n)
	for k := range all {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, order)
	for _, k := range keys {
		v := all[k]
		f(&k, &v)
	}
}

func (x *coder) head(partition *int, seq, floor *uint64) {
	small(x, partition)
	x.uint(seq)
	x.uint(floor)
}

func (s *shard) code(x *coder) {
	list(x, &s.words, x.text)
	if x.reading {
		clear(s.wordOf)
		for i, w := range s.words {
			s.wordOf[w] = uint16(i)
		}
		x.bad = x.bad || len(s.words) == 0 || len(s.words) > maxWords
	}
	table(x, s.cameras, strings.Compare, func(id *string, c **camera) {
		x.text(id)
		if x.reading {
			*c = newCamera(s, *id)
		}
		(*c).code(x)
	})
}

func compareCells(a, b cellKey) int {
	return int(a.zone)<<8 + int(a.class) - int(b.zone)<<8 - int(b.class)
}

func compareLevels(a, b levelKey) int {
	return (int(a.zone)<<16 + int(a.class)<<8 + int(a.sub)) - (int(b.zone)<<16 + int(b.class)<<8 + int(b.sub))
}

func (c *camera) code(x *coder) {
	x.base = 0
	x.int(&c.newest)
	x.base = c.newest
	x.int(&c.ahead)
	x.time(&c.clock)
	x.uint(&c.seq)
	x.time(&c.received)
	x.time(&c.dropped)
	x.flag(&c.due)
	small(x, &c.quiet)
	x.text(&c.purpose)
	list(x, &c.names, x.text)
	if x.reading {
		clear(c.nameOf)
		for i, n := range c.names {
			c.nameOf[n] = uint16(i)
		}
		if len(c.names) == 0 || len(c.names) > maxNames {
			x.fail()
			return
		}
	}
	list(x, &c.loose, func(v *uint8) { c.class(x, v) })
	c.codeTracks(x)
	table(x, c.births, strings.Compare, func(k *string, b *birth) {
		x.text(k)
		x.text(&b.parent)
		x.time(&b.t)
	})
	table(x, c.counters, compareLevels, func(k *levelKey, v **counter) {
		if c.level3(x, k); x.reading {
			*v = &counter{}
		}
		x.float(&(*v).value)
		x.time(&(*v).t)
	})
	table(x, c.gauges, compareLevels, func(k *levelKey, v **gauge) {
		if c.level3(x, k); x.reading {
			*v = &gauge{}
		}
		x.float(&(*v).value)
		x.time(&(*v).at)
		x.time(&(*v).told)
		x.int(&(*v).keep)
	})
	table(x, c.guests, func(a, b guestKey) int {
		if a.zone != b.zone {
			return int(a.zone) - int(b.zone)
		}
		return strings.Compare(a.track, b.track)
	}, func(k *guestKey, v **guest) {
		c.zone(x, &k.zone)
		if x.text(&k.track); x.reading {
			*v = &guest{}
		}
		c.guest(x, *v)
	})
	list(x, &c.gone, func(g *guest) { c.guest(x, g) })
}

// Numbers that index something are checked when they are read.

func (c *camera) zone(x *coder, v *uint16) {
	if small(x, v); int(*v) >= len(c.names) {
		*v = 0
		x.fail()
	}
}

func (c *camera) class(x *coder, v *uint8) {
	if small(x, v); *v >= classes {
		*v = 0
		x.fail()
	}
}

func (c *camera) word(x *coder, v *uint16) {
	if small(x, v); int(*v) >= len(c.s.words) {
		*v = 0
		x.fail()
	}
}

func (c *camera) level3(x *coder, k *levelKey) {
	c.zone(x, &k.zone)
	c.class(x, &k.class)
	small(x, &k.sub)
}

func (c *camera) guest(x *coder, g *guest) {
	c.zone(x, &g.zone)
	c.class(x, &g.class)
	x.time(&g.from)
	x.time(&g.to)
	x.flag(&g.in)
	x.flag(&g.out)
}

// codeTracks writes the tracks that are live and those that a minute still needs, then the minutes.
func (c *camera) codeTracks(x *coder) {
	var all []*track
	number := func(tr *track) {
		if tr.number == 0 {
			all = append(all, tr)
			tr.number = len(all)
		}
	}
	for _, tr := range c.sorted() {
		number(tr)
	}
	live := x.count(len(all))
	for _, m := range c.minutes {
		for i := range m.stays {
			number(m.stays[i].tr)
		}
		for i := range m.crossings {
			number(m.crossings[i].tr)
		}
	}
	n := x.count(len(all))
	if x.reading {
		all = make([]*track, n)
	}
	for i := range all {
		if x.reading {
			all[i] = &track{}
		}
		if i < live {
			c.liveTrack(x, all[i])
		} else {
			c.goneTrack(x, all[i])
		}
	}
	if x.reading {
		c.expiry = math.MaxInt64
		for i := range min(live, n) {
			tr := all[i]
			c.tracks[tr.key] = tr
			c.expiry = min(c.expiry, tr.last+resumeMs)
		}
	}
	list(x, &c.minutes, func(m **minute) {
		if x.reading {
			*m = &minute{tallies: map[cellKey]*tally{}, gauges: map[levelKey]*levelled{}, told: map[cellKey]cell{}}
		}
		c.codeMinute(x, *m, all)
	})
	for _, tr := range all {
		tr.number = 0
		for i := range tr.visits {
			v := &tr.visits[i]
			if m := c.held(v.minute); m != nil && (v.stay < 0 || int(v.stay) >= len(m.stays)) {
				x.fail()
				v.open, v.cut = false, false
			}
		}
	}
}

// goneTrack is what is needed of a track that is over: what it was, and whether it counts.
func (c *camera) goneTrack(x *coder, tr *track) {
	c.class(x, &tr.best)
	part := tr.part()
	x.flag(&part)
	if !x.reading {
		return
	}
	tr.told = true
	if part { // so that part says it again
		tr.inside, tr.rides = 1, []ride{{together: 2, shared: 2}}
	} else {
		tr.alone = 1
	}
}

func (c *camera) liveTrack(x *coder, tr *track) {
	for _, s := range []*string{&tr.key, &tr.first, &tr.parent, &tr.attributes, &tr.plate} {
		x.text(s)
	}
	for _, t := range []*int64{&tr.start, &tr.last, &tr.received, &tr.expires, &tr.mark.t, &tr.still, &tr.frame} {
		x.time(t)
	}
	x.int(&tr.detections)
	x.int(&tr.toldN)
	x.int(&tr.groundMs)
	small(x, &tr.quality)
	c.class(x, &tr.best)
	for _, b := range []*bool{&tr.told, &tr.placed, &tr.ground, &tr.standing, &tr.mark.ground} {
		x.flag(b)
	}
	x.float32(&tr.plateScore)
	x.float32(&tr.score)
	for _, f := range []*float64{
		&tr.startX, &tr.startY, &tr.endX, &tr.endY, &tr.footX, &tr.footY, &tr.mark.x, &tr.mark.y,
	} {
		if tr.placed {
			x.float(f)
		}
	}
	for _, f := range []*float64{
		&tr.startLat, &tr.startLon, &tr.endLat, &tr.endLon, &tr.mark.lat, &tr.mark.lon, &tr.distance, &tr.groundMax,
	} {
		if tr.ground {
			x.float(f)
		}
	}
	if !tr.ground && x.reading {
		tr.groundMax = math.Inf(-1)
	}
	x.float(&tr.toldSum)
	x.float(&tr.toldMax)
	weights := tr.weights[:]
	used := uint32(0)
	for i, w := range weights {
		if w != 0 {
			used |= 1 << i
		}
	}
	small(x, &used)
	for i := range weights {
		if used&(1<<i) != 0 {
			x.float32(&weights[i])
		}
	}
	list(x, &tr.votes, func(v *vote) {
		c.class(x, &v.class)
		c.word(x, &v.word)
		x.float32(&v.weight)
	})
	list(x, &tr.zones, func(z *uint16) { c.zone(x, z) })
	list(x, &tr.visits, func(v *visit) {
		c.zone(x, &v.zone)
		small(x, &v.by)
		x.flag(&v.open)
		x.flag(&v.cut)
		x.time(&v.since)
		x.time(&v.last)
		x.time(&v.minute)
		small(x, &v.stay)
	})
	small(x, &tr.inside)
	small(x, &tr.alone)
	list(x, &tr.rides, func(r *ride) {
		x.text(&r.key)
		small(x, &r.together)
		small(x, &r.shared)
	})
}

func (c *camera) codeMinute(x *coder, m *minute, all []*track) {
	x.time(&m.start)
	x.flag(&m.dirty)
	of := func(tr **track) {
		n := 0
		if !x.reading {
			n = (*tr).number
		}
		small(x, &n)
		if !x.reading {
			return
		}
		if n < 1 || n > len(all) {
			x.fail()
			*tr = &track{}
			return
		}
		*tr = all[n-1]
	}
	base := x.base
	x.base = m.start
	list(x, &m.stays, func(s *stay) {
		of(&s.tr)
		c.zone(x, &s.zone)
		flags := uint8(count(s.first) | count(s.entered)<<1 | count(s.left)<<2 | count(s.speeds > 0)<<3)
		small(x, &flags)
		s.first, s.entered, s.left = flags&1 != 0, flags&2 != 0, flags&4 != 0
		x.time(&s.from)
		x.time(&s.to)
		if s.left {
			x.int(&s.lasted)
		}
		if flags&8 != 0 {
			x.float(&s.speed)
			x.int(&s.speeds)
		}
		list(x, &s.still, func(p *span) {
			x.time(&p.from)
			x.time(&p.to)
		})
	})
	list(x, &m.crossings, func(e *crossing) {
		of(&e.tr)
		c.zone(x, &e.line)
		c.class(x, &e.class)
		x.flag(&e.out)
	})
	x.base = base
	table(x, m.tallies, compareCells, func(k *cellKey, v **tally) {
		if c.cellKey(x, k); x.reading {
			*v = &tally{}
		}
		x.int(&(*v).in)
		x.int(&(*v).out)
		x.int(&(*v).seen)
	})
	table(x, m.gauges, compareLevels, func(k *levelKey, v **levelled) {
		if c.level3(x, k); x.reading {
			*v = &levelled{}
		}
		x.float(&(*v).sum)
		x.int(&(*v).ms)
		x.float(&(*v).max)
	})
	// Which cells were told is enough: with what, they are told again.
	table(x, m.told, compareCells, func(k *cellKey, v *cell) {
		c.cellKey(x, k)
		v.stale = true
	})
}

func (c *camera) cellKey(x *coder, k *cellKey) {
	c.zone(x, &k.zone)
	c.class(x, &k.class)
}

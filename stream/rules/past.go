package rules

import (
	"math"
	"slices"
)

// past is what a shard's devices have said of late, and what it changed of them: so much that a device can be
// taken back to where it was before a reading that comes late. It is a queue of rows, of which each knows the one
// before it of its device, whose order is that of their times. A row is written for every reading and read for
// few, so it is small: when it was is what the device's time is once all later ones are undone.
type past struct {
	head, tail uint64 // rows from tail to before head are there; tail is where a block begins, the first is pastBlock
	rows       *[pastBlock]pastRow
	newest     int64        // event time in rows, Unix ms
	blocks     []pastBlocks // the last are rows
	spare      []*[pastBlock]pastRow
	limit      int   // of blocks
	floor      int64 // of the rows that there was no room for: newest event time, Unix ms
	// Of rows that have more, by number; episodes and series are as they were before the message.
	times    pastMore[int64] // where pastLong
	quality  pastMore[uint8]
	episodes pastMore[[]episode]
	texts    pastMore[string] // as they were
	series   pastMore[pastSeries]
}

type pastBlocks struct {
	rows   *[pastBlock]pastRow
	newest int64 // event time
}

// pastRow is a reading, in 16 bytes. What it said is what the device has until the row is undone. A message of
// metrics that were not reported together before begins with a row of no slot.
type pastRow struct {
	was float64
	// From the lowest bit on: so many rows before is the device's row before, 0 for none (23 bits); so many ms ago
	// was what the device had, for a message's first row the message before (21); the slot of the plan's numbers,
	// then texts, -1 for none (16); flags.
	bits uint64
}

const (
	pastBegins   = 1 << (60 + iota) // a message
	pastEpisodes                    // episodes has more of it
	pastQuality                     // likewise
	pastAlone                       // there were no episodes before the message
)

const (
	pastAgoAt  = 23
	pastSlotAt = 44
	pastSlots  = math.MaxInt16
	pastLong   = 1<<(pastSlotAt-pastAgoAt) - 1 // longer ago than can be said: times has it
	pastNever  = pastLong - 1
	pastBlock  = 1 << 10
	pastLeast  = 4 * pastBlock
	pastMost   = 1 << (pastAgoAt - 1)
)

func (r *pastRow) has(flag uint64) bool { return r.bits&flag != 0 }

func (r *pastRow) slot() int { return int(int16(r.bits >> pastSlotAt)) }

// pastSeries is a series of a device.
type pastSeries struct {
	slot  int
	state seriesState
	hour  baselineHour // of a baseline, of which a reading changes no more
}

// pastMore is what some rows have more, in their order.
type pastMore[T any] struct {
	rows []uint64
	all  []T
	gone int // so many of the first are not wanted any more
}

func (m *pastMore[T]) add(n uint64, v T) { m.rows, m.all = append(m.rows, n), append(m.all, v) }

// of is what a row has.
func (m *pastMore[T]) of(n uint64) []T {
	i, _ := slices.BinarySearch(m.rows, n)
	j := i
	for j < len(m.rows) && m.rows[j] == n {
		j++
	}
	return m.all[i:j]
}

// forget drops what is of rows before the tail.
func (m *pastMore[T]) forget(tail uint64) {
	for m.gone < len(m.rows) && m.rows[m.gone] < tail {
		m.gone++
	}
	if m.gone > len(m.rows)/2 {
		m.rows, m.all = slices.Delete(m.rows, 0, m.gone), slices.Delete(m.all, 0, m.gone)
		m.gone = 0
	}
}

func newPast(limit int) past {
	return past{head: pastBlock, tail: pastBlock, limit: limit / pastBlock}
}

// pastLimit is a partition's share of the rows.
func pastLimit(rows, partitions int) int {
	return min(max(rows/partitions, pastLeast), pastMost)
}

// add writes a device's row for a reading at a time; was and before are what there was, and its time. The clock is
// the time before which nothing is late.
func (p *past) add(d *device, slot int, was float64, at, before int64, flags uint64, clock int64) {
	if p.head%pastBlock == 0 {
		p.makeRoom(clock)
	}
	ago := uint64(at - before)
	switch {
	case before == 0:
		ago = pastNever
	case ago >= pastNever:
		p.times.add(p.head, before)
		ago = pastLong
	}
	p.newest = max(p.newest, at)
	p.push(d, was, pastBits(slot, ago)|flags)
}

// fits reports whether add has nothing else to do than push.
func (p *past) fits(ago uint64) bool { return p.head%pastBlock != 0 && ago < pastNever }

func pastBits(slot int, ago uint64) uint64 {
	return uint64(uint16(slot))<<pastSlotAt | ago<<pastAgoAt
}

// push writes a row in the block that is begun.
func (p *past) push(d *device, was float64, bits uint64) {
	n := p.head
	if d.past >= p.tail {
		bits |= n - d.past
	}
	p.rows[n%pastBlock] = pastRow{was, bits}
	p.head, d.past = n+1, n
}

func (p *past) row(n uint64) *pastRow {
	return &p.blocks[(n-p.tail)/pastBlock].rows[n%pastBlock]
}

// ago is when what was before a row of a time was reported, Unix ms; 0 for never.
func (p *past) ago(n uint64, row *pastRow, at int64) int64 {
	switch ago := row.bits >> pastAgoAt & pastLong; ago {
	case pastLong:
		return p.times.of(n)[0]
	case pastNever:
		return 0
	default:
		return at - int64(ago)
	}
}

func (p *past) qualityOf(n uint64, row *pastRow) uint8 {
	if row.has(pastQuality) {
		return p.quality.of(n)[0]
	}
	return 0
}

// keepEpisodes keeps those that there were before a message, of which n is a row.
func (p *past) keepEpisodes(n uint64, all []episode) {
	if len(all) == 0 { // as of most devices
		p.row(n).bits |= pastAlone
		return
	}
	p.episodes.add(n, slices.Clone(all))
	p.row(n).bits |= pastEpisodes
}

// episodesOf are those that keepEpisodes kept; known is false where the message changed none.
func (p *past) episodesOf(n uint64, row *pastRow) (all []episode, known bool) {
	switch {
	case row.has(pastAlone):
		return nil, true
	case row.has(pastEpisodes):
		return p.episodes.of(n)[0], true
	}
	return nil, false
}

// has reports whether a row is there.
func (p *past) has(n uint64) bool { return n >= p.tail && n < p.head }

// newestOf is the number of a device's newest row, 0 where it is not there.
func (p *past) newestOf(d *device) uint64 {
	if p.has(d.past) {
		return d.past
	}
	return 0
}

// before is the number of a device's row before, 0 where it is not there.
func (p *past) before(n uint64) uint64 {
	if prev := p.row(n).bits & (1<<pastAgoAt - 1); prev != 0 && p.has(n-prev) {
		return n - prev
	}
	return 0
}

// makeRoom begins a block. It drops those that nothing is late for any more, and the oldest quarter where there
// are none and it may have no more.
func (p *past) makeRoom(clock int64) {
	if last := len(p.blocks) - 1; last >= 0 {
		p.blocks[last].newest = p.newest
	}
	n := 0
	for n < len(p.blocks) && p.blocks[n].newest <= clock {
		n++
	}
	if n == 0 && len(p.blocks) == p.limit {
		for n < p.limit/4 {
			p.blank(p.blocks[n].newest)
			n++
		}
	}
	for _, b := range p.blocks[:n] {
		p.spare = append(p.spare, b.rows)
	}
	if p.blocks = slices.Delete(p.blocks, 0, n); n > 0 {
		p.tail += uint64(n) * pastBlock
		p.forget()
	}
	if last := len(p.spare) - 1; last >= 0 {
		p.rows, p.spare = p.spare[last], p.spare[:last]
	} else {
		p.rows = new([pastBlock]pastRow)
	}
	p.blocks, p.newest = append(p.blocks, pastBlocks{rows: p.rows}), 0
}

// forget drops what rows have more that are gone.
func (p *past) forget() {
	p.times.forget(p.tail)
	p.quality.forget(p.tail)
	p.episodes.forget(p.tail)
	p.texts.forget(p.tail)
	p.series.forget(p.tail)
}

// blank notes that what was before a time is not known.
func (p *past) blank(until int64) { p.floor = max(p.floor, until) }

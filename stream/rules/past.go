package rules

import (
	"math/bits"
	"slices"
)

// past is what a shard's devices have said of late, and what it changed of them: so much that a device can be
// taken back to where it was before a reading that comes late. It is a ring of rows, one a reading, in which
// each knows the one before it of its device, whose order is that of their times.
type past struct {
	rows       []pastRow // row n at n modulo their number, a power of two
	newest     []uint32  // at of each block of rows
	head, tail uint64    // rows from tail to before head are there; the first is pastBlock
	limit      int
	base       int64 // of the rows' times, Unix ms
	floor      int64 // of the rows that there was no room for: newest event time, Unix ms
	// Of rows that have more, by number; episodes and series are as they were before the message.
	episodes map[uint64][]episode
	texts    pastMore[string] // as they were
	series   pastMore[pastSeries]
}

// pastRow is a reading, in 32 bytes. What it said is what the device has until the row is undone.
type pastRow struct {
	was     float64
	at      uint32 // event time, ms after base
	wasAgo  uint32 // ms before at; pastNever: it was not reported, or longer ago than can be said
	timeAgo uint32 // of the device before the message, likewise
	prev    uint32 // so many rows before is the device's row before; 0: there is none
	slot    int16  // of the plan's numbers, then texts; -1: of none
	quality uint8
	flags   uint8
}

const (
	pastBegins   = 1 << iota // a message
	pastText                 // texts has more of it
	pastEpisodes             // likewise
)

const (
	pastNever = 1<<32 - 1
	pastBlock = 256
	pastLeast = 1 << 10
)

// pastSeries is a series of a device.
type pastSeries struct {
	slot  int
	state seriesState
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
	return past{head: pastBlock, tail: pastBlock, limit: limit, episodes: map[uint64][]episode{}}
}

// pastLimit is a partition's share of the rows, a power of two.
func pastLimit(rows, partitions int) int {
	return max(1<<(bits.Len(uint(max(rows/partitions, 1)))-1), pastLeast)
}

// add begins a row of a device for a reading of a time, and returns it; time is the device's before the message,
// and clock the time before which nothing is late.
func (p *past) add(d *device, at, time, clock int64) *pastRow {
	if p.head-p.tail == uint64(len(p.rows)) {
		p.makeRoom(clock)
	}
	off := at - p.base
	if off < 0 || off >= pastNever {
		off = p.rebase(at)
	}
	n := p.head
	p.head++
	place := n & uint64(len(p.rows)-1)
	if b := &p.newest[place/pastBlock]; place%pastBlock == 0 || uint32(off) > *b {
		*b = uint32(off)
	}
	row := &p.rows[place]
	row.at, row.timeAgo, row.prev = uint32(off), pastAgo(at-time), 0
	if d.past >= p.tail {
		row.prev = uint32(n - d.past)
	}
	d.past = n
	return row
}

func pastAgo(ms int64) uint32 { return uint32(min(uint64(ms), pastNever)) }

// rebase begins the past anew about a time that it cannot say.
func (p *past) rebase(at int64) int64 {
	if p.head > p.tail {
		p.blank(p.base + int64(slices.Max(p.newest)))
		p.tail = p.head
		p.forget()
	}
	p.base = at - 1<<31
	return 1 << 31
}

func (p *past) row(n uint64) *pastRow { return &p.rows[n&uint64(len(p.rows)-1)] }

// at is the event time of a row, Unix ms.
func (p *past) at(row *pastRow) int64 { return p.base + int64(row.at) }

// ago is a time before a row's, 0 for never.
func (p *past) ago(row *pastRow, ago uint32) int64 {
	if ago == pastNever {
		return 0
	}
	return p.at(row) - int64(ago)
}

// has reports whether a row is there.
func (p *past) has(n uint64) bool { return n >= p.tail && n < p.head }

// before is the number of a device's row before, 0 where it is not there.
func (p *past) before(n uint64) uint64 {
	if prev := p.row(n).prev; prev != 0 && p.has(n-uint64(prev)) {
		return n - uint64(prev)
	}
	return 0
}

// makeRoom drops the blocks that nothing is late for any more, doubles the ring where there are none, and drops
// the oldest quarter where it may not grow.
func (p *past) makeRoom(clock int64) {
	before := p.tail
	n := uint64(len(p.rows))
	for p.tail < p.head && p.base+int64(p.newest[p.tail%n/pastBlock]) <= clock {
		p.tail += pastBlock
	}
	switch {
	case p.tail > before:
	case int(n) < p.limit:
		old := *p
		p.rows = make([]pastRow, max(2*len(p.rows), pastLeast))
		p.newest = make([]uint32, len(p.rows)/pastBlock)
		for i := p.tail; i < p.head; i++ {
			place := i % uint64(len(p.rows))
			if p.rows[place] = *old.row(i); place%pastBlock == 0 || p.rows[place].at > p.newest[place/pastBlock] {
				p.newest[place/pastBlock] = p.rows[place].at
			}
		}
	default:
		for range n / 4 / pastBlock {
			p.blank(p.base + int64(p.newest[p.tail%n/pastBlock]))
			p.tail += pastBlock
		}
	}
	p.forget()
}

// forget drops what rows have more that are gone.
func (p *past) forget() {
	for n := range p.episodes {
		if n < p.tail {
			delete(p.episodes, n)
		}
	}
	p.texts.forget(p.tail)
	p.series.forget(p.tail)
}

// blank notes that what was before a time is not known.
func (p *past) blank(until int64) { p.floor = max(p.floor, until) }

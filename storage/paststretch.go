package storage

import (
	"cmp"
	"errors"
	"math/bits"
	"slices"
	"strings"

	"panormus/stream/batch"
)

// A pastStretch holds the observations of a stretch of the past, to be handed on in order of event time. The database
// gives them in the order in which they lie, which is by device: to have it sort them costs it five to ten times as
// much as to read them. It is used again for another stretch when it has been handed on.
type pastStretch struct {
	from         int64 // Unix ms; times are reckoned from it
	rows         []pastRow
	order, spare []uint64 // time since from, shifted by orderBits, and place in rows
	sorted       bool     // the rows came in order of time
	most, bytes  int      // the most rows; of all words, which are bounded too
	batches      int32    // made of it
	domain       words
	device       words
	metric       words
	text         words
}

// A pastRow is 32 bytes, so that a row that is taken out of order costs one place in memory.
type pastRow struct {
	value   float64
	at      uint32 // ms since the stretch began, which is a day at most
	device  int32  // codes of words
	text    int32
	domain  int16
	metric  int16
	quality uint8
}

// Bounds of what a stretch holds beside its rows.
const (
	stretchBytes = 64 << 20 // of words
	stretchNames = 1 << 15  // metrics, and domains
	orderBits    = 32
)

// errTooMuch is of a stretch that has more than is held: it is read in parts.
var errTooMuch = errors.New("more than a stretch of the past holds")

// begin empties the stretch.
func (s *pastStretch) begin(from int64, most int) {
	s.from, s.rows, s.sorted, s.most, s.bytes = from, s.rows[:0], true, most, 0
	for _, w := range []*words{&s.domain, &s.device, &s.metric, &s.text} {
		w.reset()
	}
}

// take adds what a block of the answer holds, which it does not keep.
func (s *pastStretch) take(o *batch.Observations) error {
	if len(s.rows)+o.Len() > s.most {
		return errTooMuch
	}
	domains, devices, metrics, texts := s.codes(&s.domain, &o.Domain), s.codes(&s.device, &o.Device), s.codes(&s.metric, &o.Metric), s.codes(&s.text, &o.Text)
	if s.bytes > stretchBytes || len(s.metric.values) > stretchNames || len(s.domain.values) > stretchNames {
		return errTooMuch
	}
	if n := len(s.rows) + o.Len(); n > cap(s.rows) {
		s.rows = slices.Grow(s.rows, max(n, 2*cap(s.rows))-len(s.rows)) // by half as much it would be moved too often
	}
	last := uint32(0)
	if n := len(s.rows); n > 0 {
		last = s.rows[n-1].at
	}
	for i, at := range o.Time {
		r := pastRow{
			value: o.Value[i], at: uint32(at - s.from), device: devices[o.Device.Index[i]], text: texts[o.Text.Index[i]],
			domain: int16(domains[o.Domain.Index[i]]), metric: int16(metrics[o.Metric.Index[i]]), quality: o.Quality[i],
		}
		s.sorted = s.sorted && r.at >= last
		last = r.at
		s.rows = append(s.rows, r)
	}
	return nil
}

func (s *pastStretch) codes(w *words, d *batch.Dict) []int32 {
	w.codes = w.codes[:0]
	for _, v := range d.Values {
		code, ok := w.byName[v]
		if !ok {
			code = int32(len(w.values))
			w.byName[v] = code
			w.values, w.locals = append(w.values, v), append(w.locals, local{})
			s.bytes += len(v) + 64
		}
		w.codes = append(w.codes, code)
	}
	return w.codes
}

// sort puts the rows in order of time and, at one time, of device; what a device said at one time stays in the order
// in which it came.
func (s *pastStretch) sort() {
	s.order = slices.Grow(s.order[:0], len(s.rows))[:len(s.rows)]
	most := uint32(0)
	for i := range s.rows {
		at := s.rows[i].at
		s.order[i] = uint64(at)<<orderBits | uint64(i)
		most = max(most, at)
	}
	if !s.sorted {
		s.spare = slices.Grow(s.spare[:0], len(s.rows))[:len(s.rows)]
		for shift := 0; shift < bits.Len32(most); shift += radixBits {
			s.pass(orderBits + shift)
		}
	}
	for first := 0; first < len(s.order); {
		end := first + 1
		for end < len(s.order) && s.order[end]>>orderBits == s.order[first]>>orderBits {
			end++
		}
		s.sortDevices(s.order[first:end])
		first = end
	}
}

const radixBits = 11

// pass sorts by some bits and keeps the order of what has the same.
func (s *pastStretch) pass(shift int) {
	var begin [1 << radixBits]int
	for _, v := range s.order {
		begin[v>>shift&(1<<radixBits-1)]++
	}
	n := 0
	for i, count := range begin {
		begin[i] = n
		n += count
	}
	for _, v := range s.order {
		at := &begin[v>>shift&(1<<radixBits-1)]
		s.spare[*at] = v
		*at++
	}
	s.order, s.spare = s.spare, s.order
}

// sortDevices sorts rows of one time, which mostly lie as they should.
func (s *pastStretch) sortDevices(same []uint64) {
	compare := func(a, b uint64) int {
		x, y := s.row(a).device, s.row(b).device
		if x == y {
			return cmp.Compare(uint32(a), uint32(b))
		}
		return strings.Compare(s.device.values[x], s.device.values[y])
	}
	if !slices.IsSortedFunc(same, compare) {
		slices.SortFunc(same, compare)
	}
}

func (s *pastStretch) row(place uint64) *pastRow { return &s.rows[uint32(place)] }

// hand calls each for the rows in order, some thousands at a time and those of a message together.
func (s *pastStretch) hand(each func(*batch.Observations) error) error {
	for first := 0; first < len(s.order); {
		end := min(first+batch.MaxRows, len(s.order))
		for limit := min(first+stretchNames-1, len(s.order)); end < limit; end++ {
			if a, b := s.row(s.order[end-1]), s.row(s.order[end]); a.at != b.at || a.device != b.device {
				break
			}
		}
		if err := each(s.batch(s.order[first:end])); err != nil {
			return err
		}
		first = end
	}
	return nil
}

func (s *pastStretch) batch(places []uint64) *batch.Observations {
	n := len(places)
	s.batches++
	o := &batch.Observations{Time: make([]int64, n), Value: make([]float64, n), Quality: make([]uint8, n)}
	for _, d := range []*batch.Dict{&o.Domain, &o.Device, &o.Metric, &o.Text} {
		d.Index = make([]int16, n)
	}
	for i, place := range places {
		r := s.row(place)
		o.Time[i], o.Value[i], o.Quality[i] = s.from+int64(r.at), r.value, r.quality
		o.Domain.Index[i] = s.domain.local(&o.Domain, s.batches, int32(r.domain))
		o.Device.Index[i] = s.device.local(&o.Device, s.batches, r.device)
		o.Metric.Index[i] = s.metric.local(&o.Metric, s.batches, int32(r.metric))
		o.Text.Index[i] = s.text.local(&o.Text, s.batches, r.text)
	}
	return o
}

// words are the texts of a column of a stretch.
type words struct {
	byName map[string]int32
	values []string
	codes  []int32 // of the dictionary of the block in hand
	locals []local // by code
}

// A local is the code of a word in a batch.
type local struct {
	batch int32
	code  int16
}

func (w *words) reset() {
	if w.byName == nil {
		w.byName = map[string]int32{}
	}
	clear(w.byName)
	clear(w.values)
	w.values, w.locals = w.values[:0], w.locals[:0]
}

// local is the code of a word in the dictionary of the batch of a number.
func (w *words) local(d *batch.Dict, number, code int32) int16 {
	l := &w.locals[code]
	if l.batch != number {
		*l = local{number, int16(len(d.Values))}
		d.Values = append(d.Values, w.values[code])
	}
	return l.code
}

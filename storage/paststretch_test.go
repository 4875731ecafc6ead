package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"panormus/stream/batch"
)

// PastInParts is Past with stretches of at most so many rows.
func (db *DB) PastInParts(ctx context.Context, q PastQuery, most int, each func(*batch.Observations) error) (int64, error) {
	return db.past(ctx, q, pastBounds{few: most / 4, plenty: most, most: most}, each)
}

// A stretch gives its rows in order of time and device, whatever order they came in, and the rows of a message together.
func TestPastStretch(t *testing.T) {
	type row struct {
		at             int64
		device, metric string
		value          float64
	}
	const from = 1_790_000_000_000
	r := rand.New(rand.NewPCG(1, 2))
	s := &pastStretch{}
	for round, most := range []int64{1, 500, 86_400_000, 1 << 20} {
		s.begin(from, 1<<20)
		var want []row
		for range 5 + round*5 {
			o := &batch.Observations{}
			for range r.IntN(1500) {
				at, device := from+r.Int64N(most), fmt.Sprint("d", r.IntN(300))
				h := o.Begin(at, at, "x", device)
				for m := range 1 + r.IntN(3) {
					want = append(want, row{at, device, fmt.Sprint("m", m), r.Float64()})
					o.Append(h, fmt.Sprint("m", m), want[len(want)-1].value, fmt.Sprint("t", m), uint8(m))
				}
			}
			if err := s.take(o); err != nil {
				t.Fatal(err)
			}
		}
		slices.SortStableFunc(want, func(a, b row) int {
			return cmp.Or(cmp.Compare(a.at, b.at), strings.Compare(a.device, b.device))
		})
		s.sort()
		var got []row
		var last row
		if err := s.hand(func(o *batch.Observations) error {
			if first := (row{at: o.Time[0], device: o.Device.At(0)}); first == last && most > 1 {
				t.Errorf("round %d: the rows of %v are in two batches", round, first)
			}
			for i := range o.Len() {
				got = append(got, row{o.Time[i], o.Device.At(i), o.Metric.At(i), o.Value[i]})
				if o.Domain.At(i) != "x" || fmt.Sprint("m", o.Quality[i]) != o.Metric.At(i) || "t"+o.Metric.At(i)[1:] != o.Text.At(i) {
					t.Fatalf("round %d: row %d is mixed up", round, i)
				}
			}
			last = row{at: o.Time[o.Len()-1], device: o.Device.At(o.Len() - 1)}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("round %d: %d rows in another order, want %d", round, len(got), len(want))
		}
	}
	s.begin(from, 10)
	o := &batch.Observations{}
	for range 11 {
		o.Append(o.Begin(from, from, "x", "d"), "m", 1, "", 0)
	}
	if err := s.take(o); !errors.Is(err, errTooMuch) {
		t.Errorf("%v, want too much", err)
	}
}

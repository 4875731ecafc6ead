package storage_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"panormus/devices"
	"panormus/storage"
	"panormus/stream/batch"
)

func TestPast(t *testing.T) {
	at := time.Now().UTC().Truncate(24 * time.Hour).Add(-25 * time.Hour) // crosses midnight
	o := &batch.Observations{}
	for i := range 200 { // from the last to the first
		for d := range 10 {
			at := at.Add(time.Duration(200-i) * time.Minute)
			observation(o, at, fmt.Sprint("d", d), "n", float64(i), "", 0)
			observation(o, at, fmt.Sprint("d", d), "status", math.NaN(), "è giù", 4)
		}
	}
	observation(o, at.Add(time.Minute), "d0", "n", 1e6, "", devices.QualityClock)
	db := stored(t, o, nil)
	line := func(o *batch.Observations, i int) string {
		return fmt.Sprintf("%09d %s %s %v %s %d %s", o.Time[i]-at.UnixMilli(), o.Device.At(i), o.Metric.At(i), o.Value[i], o.Text.At(i), o.Quality[i], o.Domain.At(i))
	}
	read := func(q storage.PastQuery) (lines []string, leftOut int64) {
		t.Helper()
		leftOut, err := db.Past(within(t), q, func(o *batch.Observations) error {
			for i := range o.Len() {
				if o.Received[i] != o.Time[i] {
					t.Errorf("received %d, measured %d", o.Received[i], o.Time[i])
				}
				lines = append(lines, line(o, i))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return lines, leftOut
	}
	all, leftOut := read(storage.PastQuery{From: at, To: at.Add(24 * time.Hour)})
	if len(all) != 4000 || leftOut != 1 || !strings.HasPrefix(all[0], "000060000 d0 ") {
		t.Fatalf("%d rows, %d left out, the first %.80q; want 4000, 1", len(all), leftOut, all[0])
	}
	last := ""
	for _, l := range all {
		when := l[:12]
		if when < last {
			t.Fatalf("%q after %q", when, last)
		}
		last = when
	}
	if !strings.Contains(strings.Join(all[:2], "\n"), "status NaN è giù 4 ") {
		t.Errorf("%q", all[:2])
	}
	some, _ := read(storage.PastQuery{From: at.Add(2 * time.Minute), To: at.Add(4 * time.Minute), Metrics: []string{"n", "it's"}})
	if len(some) != 20 || strings.Contains(strings.Join(some, "\n"), "status") {
		t.Errorf("%d rows %q, want 20 of n", len(some), some)
	}
	if none, _ := read(storage.PastQuery{From: at, To: at.Add(time.Hour), Domain: "nowhere"}); len(none) != 0 {
		t.Errorf("%q, want none", none)
	}
	quarter := storage.PastQuery{From: at, To: at.Add(15*time.Minute + 1)}
	in, _ := read(quarter)
	slices.Sort(in)
	for name, most := range map[string]int{"an hour in parts": 200, "a minute in parts": 21, "sorted by the server": 7} {
		var lines []string
		leftOut, err := db.PastInParts(within(t), quarter, most, func(o *batch.Observations) error {
			for i := range o.Len() {
				lines = append(lines, line(o, i))
			}
			return nil
		})
		if err != nil || leftOut != 1 {
			t.Errorf("%s: %d left out, %v; want 1", name, leftOut, err)
		}
		if !slices.IsSortedFunc(lines, func(a, b string) int { return strings.Compare(a[:12], b[:12]) }) {
			t.Errorf("%s: not in order of time and device", name)
		}
		slices.Sort(lines)
		if len(in) != 280 || !slices.Equal(lines, in) {
			t.Errorf("%s: %d rows, want the %d that there are", name, len(lines), len(in))
		}
	}
	enough := errors.New("enough")
	if _, err := db.Past(within(t), storage.PastQuery{From: at, To: at.Add(24 * time.Hour)}, func(*batch.Observations) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("%v, want what each said", err)
	}
}

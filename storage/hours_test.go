package storage_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"panormus/storage"
	"panormus/stream/batch"
)

// The hours of a time, by device and in order, are the same whatever the page.
func TestHours(t *testing.T) {
	hour := time.Now().UTC().Truncate(time.Hour).Add(-30 * time.Hour)
	o := &batch.Observations{}
	for i := range 5 * 6 { // a reading every ten minutes for five hours
		for d := range 3 {
			at := hour.Add(time.Duration(i) * 10 * time.Minute)
			observation(o, at, fmt.Sprint("it's ", d), "n", float64(i+d), "", 0)
			observation(o, at, fmt.Sprint("it's ", d), "other", 1e6, "", 0)
		}
	}
	db := stored(t, o, nil)
	q := storage.HoursQuery{From: hour, To: hour.Add(4 * time.Hour), Metrics: []string{"n"}}
	var want []string
	for d := range 3 {
		for h := range 4 {
			first := float64(h*6 + d)
			want = append(want, fmt.Sprint("it's ", d, " n ", h, " 6 ", first+2.5, " ", first, " ", first+5))
		}
	}
	for _, page := range []int{1, 4, 5, 100} {
		var got []string
		if err := storage.HoursByPage(db, within(t), q, page, func(h storage.Hour) error {
			got = append(got, fmt.Sprint(h.Device, " ", h.Metric, " ", int(h.Time.Sub(hour)/time.Hour), " ", h.Count, " ", h.Avg, " ", h.Min, " ", h.Max))
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d: %q, want %q", page, got, want)
		}
	}
	q.Domain = "nowhere"
	if err := db.Hours(within(t), q, func(h storage.Hour) error { return fmt.Errorf("%+v", h) }); err != nil {
		t.Error(err)
	}
	q.Domain = ""
	stop := errors.New("enough")
	if err := db.Hours(within(t), q, func(storage.Hour) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v, want the error of each", err)
	}
}

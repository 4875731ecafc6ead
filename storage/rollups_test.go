package storage_test

import (
	"math"
	"testing"
	"time"

	"panormus/storage"
	"panormus/stream/batch"
)

func TestRollups(t *testing.T) {
	start := time.Now().UTC().Truncate(time.Hour).Add(-20 * time.Hour)
	o := &batch.Observations{}
	for h := range 10 {
		at := start.Add(time.Duration(h) * time.Hour)
		// Two readings in even hours and one in odd ones: an hour counts as an hour all the same.
		observation(o, at, "lamp", "on", 1, "", 0)
		if h%2 == 0 {
			observation(o, at.Add(time.Minute), "lamp", "on", 0, "", 0)
		}
		observation(o, at, "lamp", "energy_kwh", 100+0.5*float64(h), "", 0)
		observation(o, at, "station", "o3", float64(10*h), "", 0)
		if h < 5 {
			observation(o, at, "brief", "o3", 50, "", 0)
		}
	}
	// Before the time asked for: no hour of it, and part of the running means that end in it.
	observation(o, start.Add(-time.Hour), "station", "o3", 100, "", 0)
	observation(o, start.Add(-time.Hour), "lamp", "energy_kwh", 99.75, "", 0)
	observation(o, start.Add(-time.Hour), "gone", "o3", 100, "", 0)
	// A meter that is changed between two readings of an hour, one that is between hours, and one that says 0 once.
	for minute, v := range map[int]float64{-30: 999.75, 0: 1000, 15: 1000.25, 30: 0, 45: 0.25, 60: 0.5, 120: 1, 180: 0.125, 240: 0.375} {
		observation(o, start.Add(time.Duration(minute)*time.Minute), "changed", "energy_kwh", v, "", 0)
	}
	for minute, v := range map[int]float64{-30: 499.5, 0: 500, 15: 0, 30: 500.5, 60: 501} {
		observation(o, start.Add(time.Duration(minute)*time.Minute), "faulty", "energy_kwh", v, "", 0)
	}
	// One whose false 0 is the last that it says in an hour.
	for minute, v := range map[int]float64{-30: 699.5, 0: 700, 30: 700.5, 45: 0, 60: 701, 90: 701.5} {
		observation(o, start.Add(time.Duration(minute)*time.Minute), "ended", "energy_kwh", v, "", 0)
	}
	// Two hours of little before the time, six of much in it: no mean of the six alone.
	for h := -2; h < 6; h++ {
		observation(o, start.Add(time.Duration(h)*time.Hour), "began", "o3", 160*min(1, max(0, float64(h+1))), "", 0)
	}
	db := stored(t, o, nil)
	type key struct{ device, metric string }
	want := map[key]storage.Rollup{
		{"lamp", "on"}:            {Hours: 10, Sum: 7.5, Growth: 0, MaxHour: 1, Max8h: 0.75},
		{"lamp", "energy_kwh"}:    {Hours: 10, Sum: 1022.5, Growth: 4.75, MaxHour: 104.5, Max8h: 102.75},
		{"station", "o3"}:         {Hours: 10, Sum: 450, Growth: 90, MaxHour: 90, Max8h: 55},
		{"changed", "energy_kwh"}: {Hours: 5, Sum: 500.125 + 0.5 + 1 + 0.125 + 0.375, Growth: 0.5 + 0.25 + 0.25 + 0.5 + 0.25, MaxHour: 500.125, Max8h: 1501.875 / 6},
		{"faulty", "energy_kwh"}:  {Hours: 2, Sum: 1000.5/3 + 501, Growth: 1.5, MaxHour: 501, Max8h: math.NaN()},
		{"ended", "energy_kwh"}:   {Hours: 2, Sum: 1400.5/3 + 701.25, Growth: 2, MaxHour: 701.25, Max8h: math.NaN()},
		{"began", "o3"}:           {Hours: 6, Sum: 960, Growth: 160, MaxHour: 160, Max8h: 120},
		{"brief", "o3"}:           {Hours: 5, Sum: 250, MaxHour: 50, Max8h: math.NaN()},
	}
	q := storage.RollupQuery{Domain: "lighting", Metrics: []string{"on", "energy_kwh", "o3"}, From: start, To: start.Add(10 * time.Hour)}
	got, err := db.Rollups(within(t), q)
	if err != nil || len(got) != len(want) {
		t.Fatalf("%+v, %v; want %d rows", got, err, len(want))
	}
	near := func(a, b float64) bool { return math.Abs(a-b) < 1e-9 || math.IsNaN(a) && math.IsNaN(b) }
	for _, h := range got {
		w := want[key{h.Device, h.Metric}]
		if h.Hours != w.Hours || !near(h.Sum, w.Sum) || !near(h.Growth, w.Growth) || !near(h.MaxHour, w.MaxHour) || !near(h.Max8h, w.Max8h) {
			t.Errorf("%+v, want %+v", h, w)
		}
	}
	q.Domain = "other"
	if got, err := db.Rollups(within(t), q); err != nil || len(got) != 0 {
		t.Errorf("another domain: %+v, %v", got, err)
	}
	q.To = q.From.Add(storage.MaxRollupSpan + time.Hour)
	if _, err := db.Rollups(within(t), q); !isQueryError(err) {
		t.Errorf("%v, want a QueryError for too long a time", err)
	}
}

func TestLevels(t *testing.T) {
	rome, err := time.LoadLocation("Europe/Rome")
	if err != nil {
		t.Fatal(err)
	}
	y, m, d := time.Now().In(rome).AddDate(0, 0, -2).Date()
	at := func(hour int) time.Time { return time.Date(y, m, d, hour, 30, 0, 0, rome).UTC() }
	o := &batch.Observations{}
	observation(o, at(6), "a", "laeq", 60, "", 0)
	observation(o, at(21), "a", "laeq", 70, "", 0) // energy counts, not the number: 67.4, not 65
	observation(o, at(22), "a", "laeq", 40, "", 0)
	observation(o, at(5), "a", "laeq", 50, "", 0)
	observation(o, at(12), "b", "laeq", 55, "", 0)
	db := stored(t, o, nil)
	got, err := db.Levels(within(t), "lighting", "laeq", at(0).Add(-time.Hour), at(23), rome)
	if err != nil || len(got) != 2 {
		t.Fatalf("%+v, %v; want two devices", got, err)
	}
	if a := got[0]; math.Abs(a.Day-67.404) > 0.01 || math.Abs(a.Night-47.404) > 0.01 {
		t.Errorf("%+v, want 67.4 by day and 47.4 by night", a)
	}
	if b := got[1]; b.Day != 55 || !math.IsNaN(b.Night) {
		t.Errorf("%+v, want 55 by day and nothing by night", b)
	}
}

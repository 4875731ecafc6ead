package storage_test

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"panormus/storage"
	"panormus/stream/batch"
)

// byHand works out what storage.Exceedances answers, hour by hour as the law puts it, from the means of the hours
// by their beginnings.
func byHand(means map[time.Time]float64, q storage.ExceedancesQuery, metric string) storage.DeviceYear {
	clock := time.FixedZone("", int(q.Offset/time.Second))
	begin := time.Date(q.Year, 1, 1, 0, 0, 0, 0, clock)
	out := storage.DeviceYear{Metric: metric, Passed: make([]uint64, len(q.Thresholds)), Last: make([]time.Time, len(q.Thresholds))}
	pass := func(i int, at time.Time, v float64) {
		if v >= q.Thresholds[i].From {
			out.Passed[i]++
			out.Last[i] = at.UTC()
		}
	}
	each := func(span storage.Span, at time.Time, v float64) {
		for i, t := range q.Thresholds {
			if t.Metric == metric && t.Span == span {
				pass(i, at, v)
			}
		}
	}
	total := 0.0
	for day := begin; day.Year() == q.Year; day = day.AddDate(0, 0, 1) {
		sum, hours, top, eights := 0.0, 0, math.Inf(-1), 0
		for h := range 24 {
			at := day.Add(time.Duration(h) * time.Hour)
			if !at.Before(q.Until) {
				break
			}
			if v, ok := means[at.UTC()]; ok {
				sum, hours, total = sum+v, hours+1, total+v
				out.Hours++
				each(storage.EachHour, at, v)
			}
			s, n := 0.0, 0 // the eight hours that end with this one
			for back := range 8 {
				if v, ok := means[at.Add(-time.Duration(back)*time.Hour).UTC()]; ok {
					s, n = s+v, n+1
				}
			}
			if n >= 6 {
				top, eights = max(top, s/float64(n)), eights+1
			}
		}
		if day.AddDate(0, 0, 1).After(q.Until) {
			continue
		}
		if hours >= 18 {
			out.Days++
			each(storage.EachDay, day, sum/float64(hours))
		}
		if eights >= 18 && slices.ContainsFunc(q.Thresholds, func(t storage.Threshold) bool { return t.Metric == metric && t.Span == storage.Max8h }) {
			out.Day8++
			each(storage.Max8h, day, top)
		}
	}
	out.Mean = total / float64(out.Hours)
	return out
}

// What devices passed in a year is as when it is worked out hour by hour, over gaps, the turn of the year, and hours
// and days that do not count.
func TestExceedances(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	start := time.Date(2024, 12, 20, 3, 0, 0, 0, time.UTC)
	o := &batch.Observations{}
	means := map[string]map[string]map[time.Time]float64{}
	for device, gaps := range map[string]float64{"whole": 0, "gaps": 0.12, "bad": 0.3} {
		means[device] = map[string]map[time.Time]float64{}
		for _, metric := range []string{"no2", "o3", "pm10"} {
			of := map[time.Time]float64{}
			v := 80.0
			for h := range 24 * 32 {
				at := start.Add(time.Duration(h) * time.Hour)
				v = 80 + 0.9*(v-80) + 30*(rnd.Float64()-0.5)
				if rnd.Float64() < gaps || device == "gaps" && h%200 > 190 {
					continue
				}
				of[at] = v
				observation(o, at.Add(time.Minute), device, metric, v-1, "", 0)
				observation(o, at.Add(59*time.Minute), device, metric, v+1, "", 0)
			}
			means[device][metric] = of
		}
	}
	// An hour of too few readings, of none that is a number, and one of another metric.
	sparse := time.Date(2025, 1, 3, 5, 0, 0, 0, time.UTC)
	for i := range 3 {
		observation(o, sparse.Add(time.Duration(i)*time.Minute), "sparse", "no2", 500, "", 0)
		observation(o, sparse.Add(time.Hour+time.Duration(i)*time.Minute), "sparse", "no2", 500, "", 0)
	}
	observation(o, sparse.Add(time.Hour+10*time.Minute), "sparse", "no2", 500, "", 0)
	observation(o, sparse.Add(2*time.Hour), "sparse", "no2", math.Inf(1), "", 0)
	observation(o, sparse, "sparse", "temperature", 500, "", 0)
	db := stored(t, o, nil)
	q := storage.ExceedancesQuery{
		Devices: []string{"whole", "sparse", "gaps", "it's nowhere", "bad"}, Year: 2025, Metrics: []string{"no2", "o3", "pm10"}, Offset: time.Hour,
		Until: time.Date(2025, 1, 19, 15, 0, 0, 0, time.UTC), Least: map[string]int{"sparse": 4, "whole": 2},
		Thresholds: []storage.Threshold{{"no2", storage.EachHour, 95.5}, {"pm10", storage.EachDay, 80.5}, {"o3", storage.EachHour, 100.5}, {"o3", storage.Max8h, 92.5}, {"no2", storage.EachHour, 60.5}},
	}
	text := func(y storage.DeviceYear) string {
		y.Mean = math.Round(y.Mean*1e6) / 1e6
		return fmt.Sprintf("%+v", y)
	}
	seen := make([]uint64, len(q.Thresholds))
	for _, q.Year = range []int{2024, 2025} {
		got, err := db.Exceedances(within(t), q)
		if err != nil {
			t.Fatal(err)
		}
		var want []storage.DeviceYear
		for _, device := range slices.Sorted(maps.Keys(means)) {
			for _, metric := range q.Metrics {
				w := byHand(means[device][metric], q, metric)
				w.Device = device
				want = append(want, w)
			}
		}
		if hour := sparse.Add(time.Hour); q.Year == 2025 {
			want = append(want, storage.DeviceYear{Device: "sparse", Metric: "no2", Hours: 1, Mean: 500, Passed: []uint64{1, 0, 0, 0, 1}, Last: []time.Time{hour, {}, {}, {}, hour}})
		}
		slices.SortStableFunc(want, func(a, b storage.DeviceYear) int {
			return slices.Compare([]string{a.Device, a.Metric}, []string{b.Device, b.Metric})
		})
		if len(got) != len(want) {
			t.Fatalf("%d: %d rows, want %d", q.Year, len(got), len(want))
		}
		for i, w := range want {
			if text(got[i]) != text(w) {
				t.Errorf("%d: %s\nwant %s", q.Year, text(got[i]), text(w))
			}
			for j, n := range w.Passed {
				seen[j] += n
			}
		}
	}
	if slices.Contains(seen, 0) {
		t.Errorf("passed %v times: nothing is tried where it is 0", seen)
	}
	q.Year = 1066
	if _, err := db.Exceedances(within(t), q); !isQueryError(err) {
		t.Errorf("%v, want a QueryError for the year", err)
	}
}

package rules

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"panormus/devices"
)

// What a series keeps gives what all readings would.
func TestSeriesAgainstAllReadings(t *testing.T) {
	const span = 10 * time.Minute
	ms := span.Milliseconds()
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		var plans []seriesPlan
		var states []seriesState
		for _, fn := range seriesCalls {
			plans = append(plans, seriesPlan{series: series{fn: fn, metric: "x", span: span}, ms: ms, step: ms / seriesSteps})
			states = append(states, seriesState{value: nan})
		}
		var all []sample
		at := int64(1_790_000_000_000)
		for range 300 {
			// Readings are at least a step apart: then none is left out of what is kept.
			at += ms/seriesSteps + int64(rnd.IntN(int(ms/5)))
			v := float64(rnd.IntN(3))
			all = append(all, sample{at, v})
			for i := range plans {
				plans[i].take(&states[i], at, v)
				if want := seriesOf(plans[i].fn, all, ms); !near(states[i].value, want) {
					t.Fatalf("%s of %d readings is %v, want %v", plans[i], len(all), states[i].value, want)
				}
				if n := len(states[i].steps); n > seriesSteps+2 {
					t.Fatalf("%s keeps %d readings, want at most %d", plans[i], n, seriesSteps+2)
				}
			}
		}
		// Denser ones are thinned: the first reading is right to a step.
		for range 10_000 {
			at += int64(rnd.IntN(2000))
			for i := range plans {
				plans[i].take(&states[i], at, float64(at))
				if s := &states[i]; plans[i].fn == "delta" && len(s.steps) > seriesSteps+2 {
					t.Fatalf("%s keeps %d readings", plans[i], len(s.steps))
				}
			}
		}
		if got := states[slices.Index(seriesCalls, "delta")].value; got > float64(ms) || got < float64(ms-2*ms/seriesSteps) {
			t.Errorf("a metric that is the time goes up %v in %d", got, ms)
		}
	}
}

func near(a, b float64) bool {
	return a != a && b != b || math.Abs(a-b) <= 1e-9*math.Max(1, math.Abs(b))
}

// seriesOf is a function of all readings by its plain meaning.
func seriesOf(fn string, all []sample, ms int64) float64 {
	last := all[len(all)-1]
	from, step := len(all)-1, max(ms/seriesSteps, 1)
	for i := range slices.Backward(all) { // of each step the first reading is known
		if all[i].at >= last.at-ms && (i == 0 || floorDiv(all[i-1].at, step) != floorDiv(all[i].at, step)) {
			from = i
		}
	}
	mean, variance, n := all[0].v, 0.0, 1.0
	z := nan
	for i, s := range all[1:] {
		by := s.v - mean
		if z = nan; n >= zscoreAtLeast && variance > 0 {
			z = by / math.Sqrt(variance)
		}
		n++
		weight := 1 - math.Exp(-float64(s.at-all[i].at)/float64(ms))
		if fn == "zscore" {
			weight = math.Max(weight, 1/n)
		}
		mean = (1-weight)*mean + weight*s.v
		variance = (1-weight)*variance + weight*(1-weight)*by*by
	}
	switch fn {
	case "delta", "rate":
		if from == len(all)-1 {
			return nan
		}
		if fn == "delta" {
			return last.v - all[from].v
		}
		return (last.v - all[from].v) / (float64(last.at-all[from].at) / 3600_000)
	case "ewma":
		return mean
	case "zscore":
		return z
	}
	since := last.at
	for i := len(all) - 1; i >= 0 && all[i].v == last.v; i-- {
		since = all[i].at
	}
	if last.at-since >= ms {
		return 1
	}
	return 0
}

func TestHolidays(t *testing.T) {
	for day, want := range map[string]bool{
		"2026-01-01": true, "2026-01-06": true, "2026-04-05": true, "2026-04-06": true, "2026-04-07": false, "2026-04-25": true,
		"2026-05-01": true, "2026-06-02": true, "2026-07-15": true, "2026-07-14": false, "2026-08-15": true, "2026-10-04": true,
		"2025-10-04": false, "2026-11-01": true, "2026-12-08": true, "2026-12-25": true, "2026-12-26": true, "2026-12-27": false,
		"2024-04-01": true, "2025-04-21": true, "2027-03-29": true, "2038-04-26": true, "2000-04-24": true, "2026-11-28": false,
	} {
		d, err := time.Parse(time.DateOnly, day)
		if err != nil {
			t.Fatal(err)
		}
		if got := builtCalendars()["city"].holiday(d.Year(), d.Month(), d.Day()); got != want {
			t.Errorf("%s: %v, want %v", day, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	// A degree of latitude is 111.2 km; Palermo to Rome is 426 km.
	for _, tc := range []struct{ lat1, lon1, lat2, lon2, want float64 }{
		{38, 13, 39, 13, 111_195}, {38.1157, 13.3615, 41.9028, 12.4964, 427_600}, {1, 2, 1, 2, 0}, {0, 0, 0, 180, math.Pi * 6_371_008.8},
	} {
		if got := distanceM(tc.lat1, tc.lon1, tc.lat2, tc.lon2); math.Abs(got-tc.want) > 1000 {
			t.Errorf("%+v: %v", tc, got)
		}
	}
}

// Kernels and cel-go agree on the functions of places and series.
func TestFunctionsInBothEvaluators(t *testing.T) {
	set := mustParse(t, `{id: r, when: 'distance_m(38.1, 13.3) + distance_m(1, 2, x, 4) > 5000000 && !is_holiday() && rate(x, 10m) > y && !in_zone("z")'}`)
	lat, lon := 38.2, 13.4
	for _, y := range []float64{-1, 1, nan} {
		var got []tri
		for _, only := range []bool{false, true} {
			pl := newPlan(set, onObservations, onObservations, "", only)
			d, f := frameFor(pl)
			d.asset = &devices.Asset{Device: devices.Device{Lat: &lat, Lon: &lon}}
			d.own().series = emptySeries(pl)
			d.series[0].value = 0.5
			f.now = 1_790_000_000_000 // a Monday in September
			f.cfg.Registry = withZone{&testRegistry{}}
			f.nums[pl.metrics["x"].num], f.nums[pl.metrics["y"].num] = 60, y
			got = append(got, pl.rules[0].when(f))
		}
		want := map[float64]tri{-1: yes, 1: no}
		if w, ok := want[y]; !ok && got[0] != undecided || ok && got[0] != w || got[0] != got[1] {
			t.Errorf("y = %v: %v", y, got)
		}
	}
}

type withZone struct{ *testRegistry }

func (withZone) Zone(string) *devices.Zone { return &devices.Zone{} }

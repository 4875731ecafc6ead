package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"panormus/devices"
)

// A year of stations against the limits: what is counted, what of it is too much, and what it was asked for with.
func TestExceedances(t *testing.T) {
	last := time.Date(2024, 7, 9, 12, 0, 0, 0, time.UTC)
	// of is a row whose thresholds were passed so often, in order of those of the query.
	of := func(device, metric string, hours, days, day8 uint64, mean float64, passed map[string]uint64) DeviceYear {
		y := DeviceYear{Device: device, Metric: metric, Hours: hours, Days: days, Day8: day8, Mean: mean}
		for _, l := range limits {
			if l.of == nil {
				continue
			}
			n := passed[l.Index]
			y.Passed = append(y.Passed, n)
			at := time.Time{}
			if n > 0 {
				at = last
			}
			y.Last = append(y.Last, at)
		}
		return y
	}
	past := &rollups{years: map[int][]DeviceYear{
		2022: {of("air-1", "o3", 2000, 80, 80, 60, map[string]uint64{"o3_8h": 70})}, // a year that hardly was
		2023: {of("air-1", "o3", 8700, 360, 360, 60, map[string]uint64{"o3_8h": 30, "o3_1h": 4}), of("air-1", "no2", 8700, 360, 0, 60, map[string]uint64{"no2_1h": 77})},
		2024: {
			of("air-1", "no2", 8000, 340, 0, 40.4, map[string]uint64{"no2_1h": 19}),
			of("air-1", "o3", 4000, 100, 100, 60, map[string]uint64{"o3_8h": 21, "o3_1h": 2}),
			of("air-1", "pm10", 8700, 366, 0, 40.6, map[string]uint64{"pm10_24h": 35}),
			of("air-2", "co", 8700, 366, 366, 1, map[string]uint64{"co_8h": 1}),
			of("air-2", "pm10", 8700, 0, 0, 30, nil), // of no day there were hours enough
			of("ppb", "no2", 8700, 366, 0, 99, map[string]uint64{"no2_1h": 999}),
		},
	}}
	s := newSite(t, func(c *Config) { c.Rollups = past })
	for _, p := range []devices.Profile{
		{ID: "in-ppb", Domain: "environment", Metrics: map[string]devices.Metric{"no2": {Unit: "[ppb]"}}},
		{ID: "air", Domain: "environment", ExpectedPeriod: devices.Duration(7 * time.Minute), Metrics: map[string]devices.Metric{"no2": {Unit: "ug/m3"}, "co": {}}},
		{ID: "rain", Domain: "environment", Metrics: map[string]devices.Metric{"rain_mm": {}}},
	} {
		if err := s.registry.PutProfile(context.Background(), p); err != nil {
			t.Fatal(err)
		}
	}
	for id, profile := range map[string]string{"air-1": "air", "air-2": "", "ppb": "in-ppb", "rain": "rain", "quiet": ""} {
		s.registered(devices.Device{ID: id, Domain: "environment", Profile: profile, Zone: "north", Name: "Station " + id})
	}
	s.registered(devices.Device{ID: "lamp", Domain: "lighting"})
	type answer struct {
		Year        int
		From, Until string
		Stations    []exceedingStation
		Limits      []limit
		Means       []limit
		Next        string
	}
	var got answer
	s.get("/api/v1/environment/exceedances?year=2024", &got)
	text := ""
	for _, st := range got.Stations {
		for _, it := range st.Counts {
			text += fmt.Sprintf("%s %s %s of %s, over %v, %d/%d %ss", st.ID, it.Index, told(it.Count), told(it.Allowed), it.Over, it.Valid, it.Of, it.Per)
			if it.Mean != nil {
				text += fmt.Sprintf(", mean %g of %v", *it.Mean, it.Years)
			}
			if (it.Last != nil) != (it.Count != nil && *it.Count > 0) || it.Last != nil && !it.Last.Equal(last) {
				t.Errorf("%s %s: last %v", st.ID, it.Index, it.Last)
			}
			text += "\n"
		}
		for _, m := range st.Means {
			text += fmt.Sprintf("%s %s %g of %s, over %v, %d/%d\n", st.ID, m.Index, m.Value, told(m.Limit), m.Over, m.Valid, m.Of)
		}
	}
	if want := `air-1 no2_1h 19 of 18, over true, 8000/8784 hours
air-1 pm10_24h 35 of 35, over false, 366/366 days
air-1 o3_1h 2 of none, over false, 4000/8784 hours
air-1 o3_8h 21 of 25, over true, 100/366 days, mean 25.5 of [{2022 70 80 365} {2023 30 360 365} {2024 21 100 366}]
air-1 pm10_year 40.6 of 40, over true, 8700/8784
air-1 no2_year 40.4 of 40, over false, 8000/8784
air-2 co_8h 1 of 0, over true, 366/366 days
air-2 pm10_year 30 of 40, over false, 8700/8784
ppb no2_1h none of 18, over false, 8700/8784 hours
ppb no2_year 99 of none, over false, 8700/8784
`; text != want {
		t.Errorf("got\n%swant\n%s", text, want)
	}
	if got.Year != 2024 || got.From != "2023-12-31T23:00:00.000Z" || len(got.Limits) != 8 || len(got.Means) != 3 || got.Next != "" {
		t.Errorf("%+v", got)
	}
	q := past.asked[0]
	if slices.Sort(q.Devices); len(past.asked) != 3 || q.Year != 2024 || q.Offset != time.Hour || len(q.Metrics) != 6 || q.Least["air-1"] != 7 || q.Least["air-2"] > 1 ||
		!slices.Equal(q.Devices, []string{"air-1", "air-2", "ppb", "quiet"}) {
		t.Errorf("asked for %+v, want a year of the stations and 7 readings of an hour of air-1", past.asked)
	}
	for i, q := range past.asked[1:] {
		if q.Year != 2023-i || !slices.Equal(q.Metrics, []string{"o3"}) || len(q.Thresholds) != len(past.asked[0].Thresholds) {
			t.Errorf("asked for %+v, want ozone of the years before", q)
		}
	}
	if !slices.Contains(q.Thresholds, Threshold{"pm10", EachDay, 50.5}) || !slices.Contains(q.Thresholds, Threshold{"o3", Max8h, 120.5}) || !slices.Contains(q.Thresholds, Threshold{"no2", EachHour, 200.5}) {
		t.Errorf("thresholds %v: limits and the half that rounding needs are wanted", q.Thresholds)
	}
	// Page by page it is the same, and of a year that is over nothing is worked out twice.
	paged := answer{}
	var ids []string
	for cursor := ""; ; cursor = paged.Next {
		paged = answer{}
		s.get("/api/v1/environment/exceedances?year=2024&limit=1&cursor="+cursor, &paged)
		for _, st := range paged.Stations {
			ids = append(ids, st.ID)
		}
		if paged.Next == "" {
			break
		}
	}
	if !slices.Equal(ids, []string{"air-1", "air-2", "ppb"}) {
		t.Errorf("%v page by page", ids)
	}
	if n := len(past.asked); n != 3 {
		t.Errorf("asked %d times, want once for each year", n)
	}
	wantProblem(t, s.ask("GET", "/api/v1/environment/exceedances?year=2105", ""), "/api/v1/environment/exceedances", 422, "has not begun")
	wantProblem(t, s.ask("GET", "/api/v1/environment/exceedances?year=1999", ""), "/api/v1/environment/exceedances", 422, "year")
	past.fail = fmt.Errorf("no database")
	wantProblem(t, s.ask("GET", "/api/v1/environment/exceedances?year=2023", ""), "/api/v1/environment/exceedances", 503, "rollups")

	// Whoever sees a part of the city is told of its stations only.
	who, secrets := entrants(t, map[string]string{"north": "role=viewer areas=environment@north", "south": "role=viewer areas=environment@south"})
	past.fail = nil
	s.handler = New(Config{State: s.state, Registry: s.registry, Rollups: past, Who: who})
	for name, want := range map[string]int{"north": 3, "south": 0} {
		w := s.ask("GET", "/api/v1/environment/exceedances?year=2024", "", "Authorization", "Bearer "+secrets[name])
		if seen := decoded[answer](t, w); len(seen.Stations) != want {
			t.Errorf("%s sees %d stations, want %d", name, len(seen.Stations), want)
		}
	}
	s = newSite(t, nil)
	wantProblem(t, s.ask("GET", "/api/v1/environment/exceedances", ""), "/api/v1/environment/exceedances", 501, "rollups")
}

func decoded[T any](t *testing.T, w *httptest.ResponseRecorder) (v T) {
	t.Helper()
	if err := json.NewDecoder(strings.NewReader(w.Body.String())).Decode(&v); err != nil || w.Code != 200 {
		t.Fatalf("%d %s: %v", w.Code, w.Body, err)
	}
	return v
}

func told[T any](v *T) string {
	if v == nil {
		return "none"
	}
	return fmt.Sprint(*v)
}

// The running year is told as far as it has come.
func TestElapsed(t *testing.T) {
	for _, tc := range []struct {
		until       string
		year        int
		hours, days uint64
	}{
		{"2025-12-31T23:00:00Z", 2026, 0, 0},
		{"2026-01-01T22:30:00Z", 2026, 23, 0},
		{"2026-07-01T23:00:00Z", 2026, 4368, 182}, // summer time changes nothing
		{"2026-07-01T23:00:00Z", 2024, 8784, 366},
	} {
		until, err := time.Parse(time.RFC3339, tc.until)
		if err != nil {
			t.Fatal(err)
		}
		if hours, days := elapsed(tc.year, EachHour, until), elapsed(tc.year, Max8h, until); hours != tc.hours || days != tc.days {
			t.Errorf("%d until %s: %d hours and %d days, want %d and %d", tc.year, tc.until, hours, days, tc.hours, tc.days)
		}
	}
}

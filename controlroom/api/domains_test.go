package api

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"panormus/devices"
	"panormus/stream/batch"
)

type rollups struct {
	hours    []Hours
	levels   []Level
	years    map[int][]DeviceYear
	asked    []ExceedancesQuery
	from, to time.Time
	fail     error
}

func (r *rollups) Hours(_ context.Context, domain string, metrics []string, from, to time.Time) ([]Hours, error) {
	r.from, r.to = from, to
	return r.hours, r.fail
}

func (r *rollups) Levels(context.Context, string, string, time.Time, time.Time, *time.Location) ([]Level, error) {
	return r.levels, nil
}

func (r *rollups) Exceedances(_ context.Context, q ExceedancesQuery) ([]DeviceYear, error) {
	r.asked = append(r.asked, q)
	var out []DeviceYear
	for _, y := range r.years[q.Year] {
		if slices.Contains(q.Devices, y.Device) && slices.Contains(q.Metrics, y.Metric) {
			out = append(out, y)
		}
	}
	return out, r.fail
}

func (s *site) registered(d devices.Device) {
	s.t.Helper()
	if err := s.registry.PutDevice(context.Background(), d); err != nil {
		s.t.Fatal(err)
	}
}

func TestGroups(t *testing.T) {
	past := &rollups{hours: []Hours{
		{Device: "a", Metric: "energy_kwh", Hours: 3, Sum: 30, Growth: 1.5},
		{Device: "b", Metric: "energy_kwh", Hours: 3, Sum: 30, Growth: 0.5},
		{Device: "gone", Metric: "energy_kwh", Hours: 3, Sum: 30, Growth: 99},
	}}
	s := newSite(t, func(c *Config) { c.Rollups = past })
	for id, street := range map[string]string{"a": "Via Roma", "b": "Via Roma", "c": "Via Oreto", "d": ""} {
		s.registered(devices.Device{ID: id, Domain: "lighting", Zone: "north", Tags: map[string]string{"street": street}})
	}
	s.registered(devices.Device{ID: "e", Domain: "waste"})
	o := &batch.Observations{}
	for i, id := range []string{"a", "b", "c"} {
		row := o.Begin(int64(1000+i), 2000, "lighting", id)
		o.Append(row, "power_w", float64(10*(i+1)), "", 0)
		o.Append(row, "status", math.NaN(), []string{"ok", "lamp_failure", "ok"}[i], 0)
	}
	o.Append(o.Begin(1000, 2000, "lighting", "d"), "voltage_v", 230, "", 0)
	s.state.Apply(o)

	var got struct {
		By     string
		Groups []groupItem
		Next   string
	}
	s.get("/api/v1/domains/lighting/groups?by=street&metric=power_w,status,energy_kwh&over=24h", &got)
	if got.By != "street" || len(got.Groups) != 3 || got.Groups[0].Key != "" || got.Groups[1].Key != "Via Oreto" || got.Groups[2].Key != "Via Roma" {
		t.Fatalf("%+v, want the groups '', Via Oreto, Via Roma", got)
	}
	if none := got.Groups[0]; none.Devices != 1 || none.Heard != 1 || len(none.Values) != 0 {
		t.Errorf("%+v, want one device that says nothing that was asked for", none)
	}
	roma := got.Groups[2]
	power, status, energy := roma.Values["power_w"], roma.Values["status"], roma.Values["energy_kwh"]
	if roma.Devices != 2 || roma.Heard != 2 || power.N != 2 || *power.Sum != 30 || *power.Avg != 15 || *power.Min != 10 || *power.Max != 20 || power.Hours != nil {
		t.Errorf("%+v, power %+v", roma, power)
	}
	if status.N != 0 || status.Sum != nil || status.Texts["ok"] != 1 || status.Texts["lamp_failure"] != 1 {
		t.Errorf("status %+v", status)
	}
	if energy == nil || *energy.Growth != 2 || *energy.Hours != 60 || energy.OverDevices != 2 || power.OverDevices != 0 {
		t.Errorf("energy %+v, want 2 kWh of two devices", energy)
	}
	if d := past.to.Sub(past.from); d <= 23*time.Hour || d > 24*time.Hour {
		t.Errorf("asked for %v, want the 24 hours that begin last", d)
	}

	s.get("/api/v1/domains/lighting/groups?by=zone&limit=1", &got)
	if len(got.Groups) != 1 || got.Groups[0].Key != "north" && got.Groups[0].Devices != 4 || got.Next != "" {
		t.Errorf("by zone: %+v", got)
	}
	// What a device said that is silent now is not of now.
	if err := s.registry.PutProfile(context.Background(), devices.Profile{ID: "bus", Domain: "mobility", ExpectedPeriod: devices.Duration(10 * time.Minute)}); err != nil {
		t.Fatal(err)
	}
	if err := s.registry.PutProfile(context.Background(), devices.Profile{ID: "fast", Domain: "mobility", ExpectedPeriod: devices.Duration(time.Second)}); err != nil {
		t.Fatal(err)
	}
	o = &batch.Observations{}
	for id, ago := range map[string]time.Duration{"on-time": 20 * time.Minute, "gone": 40 * time.Minute, "fast": 2 * time.Minute, "any": 24 * time.Hour} {
		s.registered(devices.Device{ID: id, Domain: "mobility", Profile: map[string]string{"on-time": "bus", "gone": "bus", "fast": "fast"}[id]})
		at := time.Now().Add(-ago).UnixMilli()
		o.Append(o.Begin(at, at, "mobility", id), "delay_s", map[string]float64{"on-time": 1, "gone": 1000, "fast": 10, "any": 100}[id], "", 0)
	}
	s.registered(devices.Device{ID: "never", Domain: "mobility", Profile: "bus"})
	s.state.Apply(o)
	s.state.SyncRegistry()
	s.get("/api/v1/domains/mobility/groups?metric=delay_s", &got)
	if len(got.Groups) != 1 || got.Groups[0].Devices != 5 || got.Groups[0].Heard != 4 || got.Groups[0].Silent != 2 || got.Groups[0].Values["delay_s"].N != 3 || *got.Groups[0].Values["delay_s"].Sum != 111 {
		t.Errorf("%+v, want 3 of 5 devices summed up to 111: one never spoke and one is silent", got.Groups)
	}
	wantProblem(t, s.ask("GET", "/api/v1/domains/lighting/groups?over=40d", ""), "/api/v1/domains/lighting/groups", 422, "query.over")
	wantProblem(t, s.ask("GET", "/api/v1/domains/Lighting/groups", ""), "/api/v1/domains/Lighting/groups", 422, "domain")
	past.fail = errors.New("no database")
	wantProblem(t, s.ask("GET", "/api/v1/domains/lighting/groups?metric=on&over=24h", ""), "/api/v1/domains/lighting/groups", 503, "rollups")
}

func TestEnvironmentIndexes(t *testing.T) {
	past := &rollups{
		hours: []Hours{
			{Device: "air-1", Metric: "no2", Hours: 24, Sum: 2400, MaxHour: 201, Max8h: 150},
			{Device: "air-1", Metric: "o3", Hours: 24, Sum: 2400, MaxHour: 241, Max8h: 120},
			{Device: "air-1", Metric: "pm10", Hours: 4, Sum: 200, MaxHour: 90, Max8h: math.NaN()},
			{Device: "ppb", Metric: "no2", Hours: 24, Sum: 24, MaxHour: 500},
			{Device: "young", Metric: "co", Hours: 2, Sum: 2, MaxHour: 1, Max8h: math.NaN()},
		},
		levels: []Level{{"air-1", 61, 50}, {"unclassed", 80, math.NaN()}},
	}
	s := newSite(t, func(c *Config) { c.Rollups = past })
	if err := s.registry.PutProfile(context.Background(), devices.Profile{ID: "in-ppb", Domain: "environment", Metrics: map[string]devices.Metric{"no2": {Unit: "[ppb]"}}}); err != nil {
		t.Fatal(err)
	}
	s.registered(devices.Device{ID: "air-1", Domain: "environment", Name: "Station", Tags: map[string]string{"noise_class": "III"}})
	s.registered(devices.Device{ID: "ppb", Domain: "environment", Profile: "in-ppb"})
	var got struct {
		Stations []stationItem
		Limits   []limit
	}
	s.get("/api/v1/environment/indexes", &got)
	if len(got.Stations) != 3 {
		t.Fatalf("%+v, want air-1, ppb and unclassed: young has no 8 hours", got.Stations)
	}
	found := map[string]indexItem{}
	for _, st := range got.Stations {
		for _, it := range st.Indexes {
			found[st.ID+" "+it.Index] = it
		}
	}
	for _, tc := range []struct {
		of          string
		value       float64
		limit       float64 // 0: none
		over, alarm bool
	}{
		{"air-1 no2_1h", 201, 200, true, false},
		{"air-1 o3_1h", 241, 180, true, true},
		{"air-1 o3_8h", 120, 120, false, false}, // at the limit is not above it
		{"air-1 pm10_24h", 50, 50, false, false},
		{"air-1 noise_day", 61, 60, true, false},
		{"air-1 noise_night", 50, 50, false, false},
		{"ppb no2_1h", 500, 0, false, false},
		{"unclassed noise_day", 80, 0, false, false},
	} {
		it, ok := found[tc.of]
		if !ok || it.Value != tc.value || it.Over != tc.over || it.Alarm != tc.alarm || (it.Limit == nil) != (tc.limit == 0) || it.Limit != nil && *it.Limit != tc.limit {
			t.Errorf("%s: %+v, want %+v", tc.of, it, tc)
		}
	}
	if len(found) != 8 || got.Stations[0].NoiseClass != 3 || found["air-1 pm10_24h"].Hours != 4 {
		t.Errorf("%d indexes, %+v", len(found), got.Stations[0])
	}
	for _, l := range got.Limits {
		if l.Source == "" || (l.Value == nil) == (len(l.Classes) != 6) {
			t.Errorf("%+v: want a source, and a limit or six", l)
		}
	}
	s = newSite(t, nil)
	wantProblem(t, s.ask("GET", "/api/v1/environment/indexes", ""), "/api/v1/environment/indexes", 501, "rollups")
}

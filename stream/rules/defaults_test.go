package rules

import (
	"maps"
	"slices"
	"testing"

	"panormus/devices"
	"panormus/stream/batch"
)

// cityMetrics are the metrics of the simulated city's profiles, by domain.
var cityMetrics = map[string][]string{
	"lighting": {"power_w", "dimming", "on", "status", "illuminance_lux", "energy_kwh", "voltage_v"},
	"mobility": {"intensity", "occupancy", "speed_kmh", "average_headway_time", "congested",
		"position_lat", "position_lon", "speed_mps", "heading", "passengers", "delay_s"},
	"environment": {"pm10", "pm2_5", "no2", "o3", "co", "temperature", "relative_humidity", "atmospheric_pressure", "laeq", "la_max"},
	"waste":       {"filling_level", "temperature", "battery_level", "status"},
	"parking":     {"available_spot_number", "total_spot_number", "occupancy"},
}

func TestDefaultsReadWhatTheCitySays(t *testing.T) {
	all := slices.Concat(slices.Collect(maps.Values(cityMetrics))...)
	for name, data := range readDefaults() {
		for _, p := range Check(name, data, all) {
			t.Error(p)
		}
	}
	set := Defaults()
	for _, r := range set.Rules {
		if r.Title["en"] == "" || r.Title["it"] == "" {
			t.Errorf("%s has the titles %v, want English and Italian", r.ID, r.Title)
		}
		known := cityMetrics[r.Domain]
		if r.On != onObservations {
			known = rowKinds[r.On].names
		}
		for metric := range r.code.shows {
			if !slices.Contains(known, metric) {
				t.Errorf("%s shows %s, which no profile of %s has", r.ID, metric, r.Domain)
			}
		}
		for _, metric := range r.Metrics {
			if !slices.Contains(known, metric) {
				t.Errorf("%s reads %s, which no profile of %s has", r.ID, metric, r.Domain)
			}
		}
	}
	for _, on := range []string{onObservations, OnDetections, OnTracks, OnCounts} {
		prog := newProgram(set, on, false)
		for _, pl := range append(slices.Collect(maps.Values(prog.plans)), prog.other) {
			for _, r := range pl.rules {
				if r.slow {
					t.Errorf("%s is evaluated by cel-go; want a kernel for what every city runs", r.ID)
				}
			}
		}
	}
}

// Each shipped rule is raised by a reading that deserves it, and ends.
func TestDefaultsRaiseAndClear(t *testing.T) {
	const noon, night = 1_790_000_000_000 - 14_000_000, 1_790_000_000_000 + 25_200_000 // 12:20 and 23:13 in Rome
	type reading map[string]any
	for _, tc := range []struct {
		rule    string
		at      int64
		bad, ok reading
	}{
		{"lamp-burning-by-day", noon, reading{"power_w": 80.0, "on": 1.0}, reading{"power_w": 0.7, "on": 0.0}},
		{"lamp-dead", night, reading{"power_w": 0.6, "dimming": 0.8, "on": 1.0}, reading{"power_w": 60.0, "dimming": 0.8, "on": 1.0}},
		{"lamp-dark-at-night", night, reading{"power_w": 0.6, "dimming": 0.0, "on": 0.0}, reading{"power_w": 60.0, "dimming": 0.8, "on": 1.0}},
		{"lamp-voltage", noon, reading{"voltage_v": 190.0}, reading{"voltage_v": 230.0}},
		{"traffic-jam", noon, reading{"speed_kmh": 6.0, "occupancy": 0.55}, reading{"speed_kmh": 40.0, "occupancy": 0.1}},
		{"traffic-jam-district", noon, reading{"speed_kmh": 6.0, "occupancy": 0.55}, reading{"speed_kmh": 40.0, "occupancy": 0.1}},
		{"traffic-loop-impossible", noon, reading{"speed_kmh": 0.0, "occupancy": 0.1, "intensity": 900.0}, reading{"speed_kmh": 40.0, "occupancy": 0.1, "intensity": 900.0}},
		{"bus-late", noon, reading{"delay_s": 700.0}, reading{"delay_s": 60.0}},
		{"air-pm10", noon, reading{"pm10": 80.0}, reading{"pm10": 20.0}},
		{"air-pm25", noon, reading{"pm2_5": 40.0}, reading{"pm2_5": 10.0}},
		{"air-no2", noon, reading{"no2": 220.0}, reading{"no2": 20.0}},
		{"air-o3", noon, reading{"o3": 200.0}, reading{"o3": 80.0}},
		{"noise-at-night", night, reading{"laeq": 63.0}, reading{"laeq": 45.0}},
		{"bin-full", noon, reading{"filling_level": 0.95}, reading{"filling_level": 0.05}},
		{"bin-overfull", noon, reading{"filling_level": 1.0}, reading{"filling_level": 0.05}},
		{"bin-fire", noon, reading{"temperature": 98.0, "status": "fire"}, reading{"temperature": 24.0, "status": "ok"}},
		{"parking-full", noon, reading{"available_spot_number": 0.0, "occupancy": 1.0, "total_spot_number": 90.0}, reading{"available_spot_number": 50.0, "occupancy": 0.4, "total_spot_number": 90.0}},
		{"parking-impossible", noon, reading{"available_spot_number": 91.0, "total_spot_number": 90.0, "occupancy": 0.0}, reading{"available_spot_number": 50.0, "total_spot_number": 90.0, "occupancy": 0.4}},
	} {
		set := Defaults()
		registry := &testRegistry{assets: map[string]*devices.Asset{"d": {Device: devices.Device{ID: "d", Zone: "kalsa", Tags: map[string]string{"street": "Via Roma", "line": "101"}}}}}
		e := New(Config{Registry: registry}, set)
		seq := uint64(0)
		say := func(at int64, r reading) {
			o := &batch.Observations{}
			h := o.Begin(at, at+10, set.Rule(tc.rule).Domain, "d")
			for k, v := range r {
				switch v := v.(type) {
				case float64:
					o.Append(h, k, v, "", 0)
				case string:
					o.Append(h, k, nan, v, 0)
				}
			}
			seq++
			e.Apply(0, seq, o)
		}
		for i := range int64(31) {
			say(tc.at+i*60_000, tc.bad)
		}
		say(tc.at+31*60_000, tc.ok)
		say(tc.at+32*60_000, tc.ok)
		states := ""
		for _, ev := range e.Settle() {
			if ev.Rule == tc.rule {
				states += ev.State + " "
				if ev.Text == "" || slices.Contains([]byte(ev.Text), '?') {
					t.Errorf("%s says %q", tc.rule, ev.Text)
				}
			}
		}
		if states != "raised cleared " {
			t.Errorf("%s: %q, want raised and cleared", tc.rule, states)
		}
	}
}

package city

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"testing"
	"time"

	"panormus/devices"
)

var someNoon = time.Date(2026, time.November, 24, 11, 0, 0, 0, time.UTC)
var someNight = time.Date(2026, time.November, 24, 21, 0, 0, 0, time.UTC)

func TestNewIsDeterministic(t *testing.T) {
	a, b, other := New(Config{Seed: 3, Devices: 1500}), New(Config{Seed: 3, Devices: 1500}), New(Config{Seed: 4, Devices: 1500})
	if !reflect.DeepEqual(a.Devices(), b.Devices()) {
		t.Error("the same seed made other devices")
	}
	if reflect.DeepEqual(a.Devices(), other.Devices()) {
		t.Error("another seed made the same devices")
	}
	if !bytes.Equal(a.Basemap(), b.Basemap()) {
		t.Error("the same seed made another base map")
	}
	// One city is asked in order, the other backwards and after a look at another day.
	same := 0
	for i := b.Len() - 1; i >= 0; i-- {
		b.Payload(nil, i, someNoon.Add(-40*24*time.Hour))
	}
	for i := range a.Len() {
		got, want := b.Payload(nil, i, someNight), a.Payload(nil, i, someNight)
		if !bytes.Equal(got, want) {
			t.Fatalf("%s said %s and %s at the same time", a.Topic(i), got, want)
		}
		if bytes.Equal(want, other.Payload(nil, i, someNight)) {
			same++
		}
	}
	if same > a.Len()/10 {
		t.Errorf("%d of %d devices say the same under another seed", same, a.Len())
	}
}

func TestClasses(t *testing.T) {
	for _, tc := range []struct {
		devices int
		want    []int // lamps, loops, buses, stations, bins, parking areas
	}{
		{0, []int{5000, 300, 250, 60, 800, 200}},
		{661, []int{500, 30, 25, 6, 80, 20}},
		{13_220, []int{10_000, 600, 500, 120, 1600, 400}},
		{50, []int{39, 2, 1, 1, 6, 1}},
		{3, []int{2, 1, 0, 0, 0, 0}},
	} {
		c := New(Config{Devices: tc.devices})
		got := make([]int, len(classes))
		for _, a := range c.assets {
			got[slices.Index(classes, a.class)]++
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("Devices %d: %v, want %v", tc.devices, got, tc.want)
		}
	}
}

func TestDevices(t *testing.T) {
	for _, seed := range []int64{1, 2} {
		c := New(Config{Seed: seed})
		zones := map[string]devices.Zone{}
		for _, z := range c.Zones() {
			zones[z.ID] = z
		}
		if len(zones) != 8 {
			t.Fatalf("%d zones, want 8", len(zones))
		}
		profiles := map[string]devices.Profile{}
		for _, p := range c.Profiles() {
			if err := p.Check(); err != nil {
				t.Error(err)
			}
			profiles[p.ID] = p
		}
		ids := map[string]bool{}
		populated := map[string]int{}
		for i, d := range c.Devices() {
			if err := d.Check(); err != nil {
				t.Fatal(err)
			}
			if ids[d.ID] {
				t.Fatalf("%s twice", d.ID)
			}
			ids[d.ID] = true
			populated[d.Zone]++
			z, ok := zones[d.Zone]
			if !ok || !z.Contains(*d.Lat, *d.Lon) {
				t.Fatalf("%s at %v, %v is not in its zone %q", d.ID, *d.Lat, *d.Lon, d.Zone)
			}
			p := fromDegrees(*d.Lon, *d.Lat)
			if !c.drawing.land.holds(p, shoreMargin-2*kerb) {
				t.Fatalf("%s at %v, %v is in the sea or at its very edge", d.ID, *d.Lat, *d.Lon)
			}
			for m, o := range c.drawing.mountains {
				if o.contains(p) {
					t.Fatalf("%s at %v, %v is on %s", d.ID, *d.Lat, *d.Lon, drawnMountains[m].name)
				}
			}
			if pr := profiles[d.Profile]; pr.Domain != d.Domain || c.Topic(i) != "city/"+d.Domain+"/"+d.ID+"/telemetry" {
				t.Fatalf("%s: domain %q, its profile's %q, topic %q", d.ID, d.Domain, pr.Domain, c.Topic(i))
			}
		}
		for id := range zones {
			if populated[id] < 50 {
				t.Errorf("zone %s has %d devices: the drawing leaves it empty", id, populated[id])
			}
		}
	}
}

// TestPayloads reads every device at several times of the year: what is not garbage is an object of
// exactly the profile's metrics, all in range.
func TestPayloads(t *testing.T) {
	c := New(Config{Seed: 5, Devices: 2500})
	profiles := map[string]devices.Profile{}
	for _, p := range c.Profiles() {
		profiles[p.ID] = p
	}
	for _, at := range []time.Time{someNoon, someNight, someNoon.Add(-3 * 30 * 24 * time.Hour), someNight.Add(120*24*time.Hour + 7*time.Hour)} {
		garbage := 0
		for i := range c.Len() {
			a := &c.assets[i]
			b := c.Payload(nil, i, at)
			if a.garbage(at) != nil {
				garbage++
				continue
			}
			var v map[string]any
			if err := json.Unmarshal(b, &v); err != nil {
				t.Fatalf("%s said %s: %v", c.Topic(i), b, err)
			}
			if ts := v["ts"].(float64); ts != float64(at.Add(a.drift()).UnixMilli()) {
				t.Fatalf("%s: ts %v at %v", c.Topic(i), ts, at.UnixMilli())
			}
			delete(v, "ts")
			if p, ok := v["position"].(map[string]any); ok {
				v["position_lat"], v["position_lon"] = p["lat"], p["lon"]
				delete(v, "position")
			}
			metrics := profiles[a.class.profile].Metrics
			if len(v) != len(metrics) {
				t.Fatalf("%s said %s; want the metrics of %s", c.Topic(i), b, a.class.profile)
			}
			for name, x := range v {
				m, ok := metrics[name]
				if !ok {
					t.Fatalf("%s said %s, which its profile does not know", c.Topic(i), name)
				}
				switch x := x.(type) {
				case float64:
					if !m.InRange(x) {
						t.Fatalf("%s: %s %v out of its profile's range", c.Topic(i), name, x)
					}
				case string:
					if m.Unit != "" {
						t.Fatalf("%s: %s %q, want a number of %s", c.Topic(i), name, x, m.Unit)
					}
				}
			}
			if len(b) > 300 {
				t.Fatalf("%s said %d bytes: %s", c.Topic(i), len(b), b)
			}
		}
		if garbage == 0 {
			t.Errorf("no garbage at %v: nothing for the dead letters", at)
		}
	}
}

// reading is what device i says at t, nil where it is garbage.
func reading(t *testing.T, c *City, i int, at time.Time) map[string]any {
	t.Helper()
	if c.assets[i].garbage(at) != nil {
		return nil
	}
	var v map[string]any
	if err := json.Unmarshal(c.Payload(nil, i, at), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestLampsFollowTheSun(t *testing.T) {
	c := New(Config{Seed: 1, Devices: 800})
	lit := func(at time.Time) (share, power float64) {
		n := 0.0
		for i := range c.Len() {
			if a := &c.assets[i]; a.class == &lamps && a.fault == sound {
				v := reading(t, c, i, at)
				n++
				power += v["power_w"].(float64)
				if v["on"].(bool) {
					share++
				}
			}
		}
		return share / n, power / n
	}
	if s, p := lit(someNoon); s != 0 || p > 1 {
		t.Errorf("at noon %.0f %% of the lamps burn, %.1f W a lamp", s*100, p)
	}
	s, evening := lit(someNight.Add(-2 * time.Hour))
	if s != 1 || evening < 50 {
		t.Errorf("in the evening %.0f %% of the lamps burn, %.1f W a lamp", s*100, evening)
	}
	if s, p := lit(someNight.Add(5 * time.Hour)); s != 1 || p > 0.6*evening {
		t.Errorf("at 3 in the night %.0f %% burn, %.1f W a lamp; want all, dimmed by half from %.1f W", s*100, p, evening)
	}
	// The sun sets at 15:50 UTC that day.
	if s, _ := lit(time.Date(2026, time.November, 24, 15, 53, 0, 0, time.UTC)); s < 0.05 || s > 0.95 {
		t.Errorf("as the sun sets %.0f %% of the lamps burn, want some", s*100)
	}
}

func TestMetersOnlyGrow(t *testing.T) {
	c := New(Config{Seed: 1, Devices: 300})
	for i := range c.Len() {
		a := &c.assets[i]
		if a.class != &lamps || a.fault == stuck {
			continue
		}
		last := -1.0
		for at := someNoon; at.Before(someNoon.Add(48 * time.Hour)); at = at.Add(97 * time.Minute) {
			e := a.energy(c, at)
			if e < last {
				t.Fatalf("%s: %.3f kWh after %.3f", a.device.ID, e, last)
			}
			last = e
		}
		year := a.energy(c, burningEpoch.Add(365*24*time.Hour)) - a.energy(c, burningEpoch)
		if full := a.nominal() * 4.3; a.fault == sound && (year < 0.6*full || year > full) {
			t.Fatalf("%s: %.0f kWh a year at %v W; want 60 to 100 %% of 4,300 h", a.device.ID, year, a.nominal())
		}
	}
}

func TestBusesMove(t *testing.T) {
	c := New(Config{Seed: 1, Devices: 2000})
	moved := 0
	for i := range c.Len() {
		a := &c.assets[i]
		if a.class != &buses || a.fault != sound {
			continue
		}
		var last point
		for s := range 240 {
			at := someNoon.Add(time.Duration(s) * 5 * time.Second)
			v := reading(t, c, i, at)
			pos := v["position"].(map[string]any)
			p := fromDegrees(pos["lon"].(float64), pos["lat"].(float64))
			if !c.drawing.land.contains(p) {
				t.Fatalf("%s is in the sea at %v", a.device.ID, pos)
			}
			if s > 0 {
				d := p.minus(last).norm()
				if d > 5*16 {
					t.Fatalf("%s leapt %.0f m in 5 s", a.device.ID, d)
				}
				if d > 1 {
					moved++
				}
			}
			last = p
		}
	}
	if moved < 240*60/3 {
		t.Errorf("buses moved in %d of their looks, want a third or more", moved)
	}
}

func TestRushHours(t *testing.T) {
	c := New(Config{Seed: 1})
	mean := func(at time.Time) (flow, speed float64) {
		n := 0.0
		for i := range c.Len() {
			if a := &c.assets[i]; a.class == &loops && a.fault == sound {
				v := reading(t, c, i, at)
				flow += v["intensity"].(float64)
				speed += v["speed_kmh"].(float64)
				n++
			}
		}
		return flow / n, speed / n
	}
	rush, slowly := mean(time.Date(2026, time.November, 24, 7, 10, 0, 0, time.UTC))
	night, freely := mean(time.Date(2026, time.November, 24, 2, 10, 0, 0, time.UTC))
	if rush < 4*night || slowly > freely-5 {
		t.Errorf("rush hour %.0f vehicles/h at %.0f km/h, night %.0f at %.0f", rush, slowly, night, freely)
	}
}

// TestFaults wants work for every rule at any time: at noon, at night, on a Sunday.
func TestFaults(t *testing.T) {
	for _, tc := range []struct {
		name   string
		config Config
		at     time.Time
	}{
		{"noon", Config{Seed: 1}, someNoon},
		{"night", Config{Seed: 2, Devices: 2000}, someNight},
		{"sunday", Config{Seed: 3, Devices: 2000}, someNoon.Add(5 * 24 * time.Hour)},
		{"small", Config{Seed: 4, Devices: 661}, someNoon},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := New(tc.config)
			sun := sunUp(tc.at)
			got := map[string]int{}
			for i := range c.Len() {
				a := &c.assets[i]
				if a.quiet(tc.at) {
					got["quiet"]++
				}
				if a.drift() > 10*time.Minute {
					got["ahead"]++
				}
				if a.fault == stuck {
					if got["stuck"]++; !reflect.DeepEqual(without(reading(t, c, i, tc.at), "ts"), without(reading(t, c, i, tc.at.Add(time.Hour)), "ts")) {
						t.Errorf("%s is stuck and yet moves", a.device.ID)
					}
					continue
				}
				if a.fault == garbled {
					got["garbled"]++
					continue
				}
				v := reading(t, c, i, tc.at)
				switch a.class {
				case &lamps:
					power := v["power_w"].(float64)
					if sun > 6 && power > 20 {
						got["day burner"]++
					}
					if v["on"].(bool) && power < 5 {
						got["dead lamp"]++
					}
				case &loops:
					if v["congested"].(bool) && v["occupancy"].(float64) > 0.15 {
						got["jam"]++
					}
				case &bins:
					if v["filling_level"].(float64) >= 0.95 {
						got["overfull"]++
					}
				case &stations:
					if v["pm10"].(float64) > 50 {
						got["exceedance"]++
					}
				}
			}
			want := []string{"quiet", "ahead", "stuck", "garbled", "jam", "overfull", "exceedance"}
			if sun > 6 {
				want = append(want, "day burner")
			} else {
				want = append(want, "dead lamp")
			}
			for _, w := range want {
				if got[w] == 0 || got[w] > c.Len()/20 {
					t.Errorf("%d times %s of %d devices, want some but few", got[w], w, c.Len())
				}
			}
		})
	}
}

func without(m map[string]any, key string) map[string]any {
	delete(m, key)
	return m
}

func TestPace(t *testing.T) {
	if p := New(Config{}).Pace(); math.Abs(p-53) > 5 {
		t.Errorf("Pace() = %.1f messages/s, want 53 or so", p)
	}
}

func TestBasemap(t *testing.T) {
	var m struct {
		Type     string
		Features []feature
	}
	b := New(Config{}).Basemap()
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for _, f := range m.Features {
		kinds[f.Properties["kind"].(string)]++
	}
	if m.Type != "FeatureCollection" || kinds["land"] != 1 || kinds["mountain"] < 4 || kinds["street"] < 300 || len(b) > 400_000 {
		t.Errorf("%s with %v in %d bytes", m.Type, kinds, len(b))
	}
}

func BenchmarkPayload(b *testing.B) {
	c := New(Config{})
	buf := make([]byte, 0, 512)
	at := someNight
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if buf = c.Payload(buf[:0], i, at); len(buf) == 0 && c.assets[i].fault != garbled {
			b.Fatal("no payload")
		}
		if i++; i == c.Len() {
			i, at = 0, at.Add(time.Second)
		}
	}
}

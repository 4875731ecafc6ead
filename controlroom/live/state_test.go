package live

import (
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"panormus/devices"
	"panormus/stream/batch"
)

// fakeRegistry is a registry that tests change by hand.
type fakeRegistry struct {
	mu      sync.Mutex
	version uint64
	assets  map[string]*devices.Asset
}

func (r *fakeRegistry) Lookup(id string) *devices.Asset {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.assets[id]
}

func (r *fakeRegistry) Version() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.version
}

func (r *fakeRegistry) Each() iter.Seq[*devices.Asset] {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Values(maps.Clone(r.assets))
}

func (r *fakeRegistry) put(d devices.Device) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.assets == nil {
		r.assets = map[string]*devices.Asset{}
	}
	r.assets[d.ID] = &devices.Asset{Device: d}
	r.version++
}

func (r *fakeRegistry) remove(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.assets, id)
	r.version++
}

func p(v float64) *float64 { return &v }

func item(t *testing.T, s *State, id string) Item {
	t.Helper()
	d := s.Lookup(id)
	if d == nil {
		t.Fatalf("no device %q", id)
	}
	it, ok := s.Item(d)
	if !ok {
		t.Fatalf("device %q was removed", id)
	}
	return it
}

// TestAgainstReference applies random batches and compares with a plain map, and with what a
// follower of Collect and AppendItem has put together.
func TestAgainstReference(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	s := New(nil, nil, nil)
	type key struct{ device, metric string }
	type entry struct {
		time  int64
		value any
	}
	want := map[key]entry{}
	follower := map[string]map[string]any{}
	for round := range 200 {
		var o batch.Observations
		for range 30 {
			device, at := fmt.Sprintf("d%d", rng.IntN(12)), int64(1_700_000_000_000+rng.IntN(500)+round*50)
			h := o.Begin(at, at, "lighting", device)
			for range 1 + rng.IntN(4) {
				metric := fmt.Sprintf("m%d", rng.IntN(6))
				var v any = float64(rng.IntN(4))
				value, text := v.(float64), ""
				if rng.IntN(4) == 0 {
					text = fmt.Sprintf("t%d", rng.IntN(3))
					value, v = math.NaN(), text
				}
				o.Append(h, metric, value, text, 0)
				if k := (key{device, metric}); at >= want[k].time {
					want[k] = entry{at, v}
				}
			}
		}
		s.Apply(&o)
		if rng.IntN(3) > 0 {
			continue
		}
		for _, c := range s.Collect(nil) {
			from := c.From
			values := follower[c.Device.ID()]
			if values == nil {
				from, values = 0, map[string]any{}
				follower[c.Device.ID()] = values
			}
			var it struct {
				ID     string
				Values map[string]any
			}
			raw := s.AppendItem(nil, c.Device, from)
			if err := json.Unmarshal(raw, &it); err != nil {
				t.Fatalf("item %s: %v", raw, err)
			}
			maps.Copy(values, it.Values)
		}
	}
	for _, c := range s.Collect(nil) {
		var it struct{ Values map[string]any }
		if err := json.Unmarshal(s.AppendItem(nil, c.Device, c.From), &it); err != nil {
			t.Fatal(err)
		}
		maps.Copy(follower[c.Device.ID()], it.Values)
	}
	reference := map[string]map[string]any{}
	for k, e := range want {
		if reference[k.device] == nil {
			reference[k.device] = map[string]any{}
		}
		reference[k.device][k.metric] = e.value
	}
	for id, values := range reference {
		if got := item(t, s, id).Values; !maps.Equal(got, values) {
			t.Errorf("%s: state %v, want %v", id, got, values)
		}
		if !maps.Equal(follower[id], values) {
			t.Errorf("%s: the follower has %v, want %v", id, follower[id], values)
		}
	}
}

func one(device, metric string, at int64, value float64, text string) *batch.Observations {
	var o batch.Observations
	o.Append(o.Begin(at, at, "lighting", device), metric, value, text, 0)
	return &o
}

func TestDeltaHoldsOnlyChanges(t *testing.T) {
	s := New(nil, nil, nil)
	var o batch.Observations
	h := o.Begin(1000, 1000, "lighting", "pole-7")
	o.Append(h, "power_w", 80, "", 0)
	o.Append(h, "dimming", 1, "", 0)
	o.Append(h, "status", math.NaN(), `o"k`, 0)
	s.Apply(&o)
	c := s.Collect(nil)
	if got, want := string(s.AppendItem(nil, c[0].Device, 0)),
		`{"id":"pole-7","domain":"lighting","zone":"","lat":null,"lon":null,"t":"1970-01-01T00:00:01.000Z","alarm":null,"values":{"power_w":80,"dimming":1,"status":"o\"k"}}`; got != want {
		t.Errorf("whole item\n got %s\nwant %s", got, want)
	}
	s.Apply(one("pole-7", "power_w", 2000, 81.5, ""))
	s.Apply(one("pole-7", "dimming", 3000, 1, ""))
	c = s.Collect(nil)
	if got, want := string(s.AppendItem(nil, c[0].Device, c[0].From)),
		`{"id":"pole-7","t":"1970-01-01T00:00:03.000Z","values":{"power_w":81.5}}`; len(c) != 1 || got != want {
		t.Errorf("delta of %d devices\n got %s\nwant %s", len(c), got, want)
	}
	s.Apply(one("pole-7", "power_w", 1500, 7, "")) // late
	if got := item(t, s, "pole-7").Values["power_w"]; got != 81.5 {
		t.Errorf("power_w = %v after a late reading, want 81.5", got)
	}
}

func TestRegistry(t *testing.T) {
	reg := &fakeRegistry{}
	reg.put(devices.Device{ID: "a", Domain: "waste", Zone: "z1", Name: "Bin A", Lat: p(38.1), Lon: p(13.3)})
	s := New(reg, nil, nil)
	s.SyncRegistry()
	it := item(t, s, "a")
	if it.Seen != nil || it.Zone != "z1" || it.Name != "Bin A" || *it.Lat != 38.1 || it.Alarm != nil {
		t.Errorf("a registered device that never spoke is %+v", it)
	}
	if n := len(s.Collect(nil)); n != 1 {
		t.Errorf("%d changes for a new registered device, want 1", n)
	}
	s.SyncRegistry()
	if n := len(s.Collect(nil)); n != 0 {
		t.Errorf("%d changes where nothing changed, want 0", n)
	}
	s.Apply(one("a", "fill", 1000, 0.5, ""))
	s.Apply(one("stranger", "fill", 1000, 0.5, ""))
	s.Collect(nil)

	reg.put(devices.Device{ID: "a", Domain: "waste", Zone: "z2", Lat: p(38.2), Lon: p(13.3)})
	s.SyncRegistry()
	c := s.Collect(nil)
	if len(c) != 1 || c[0].Where.Zone != "z2" {
		t.Fatalf("changes %+v, want one to zone z2", c)
	}
	if got, want := string(s.AppendItem(nil, c[0].Device, c[0].From)),
		`{"id":"a","domain":"waste","zone":"z2","lat":38.2,"lon":13.3,"t":"1970-01-01T00:00:01.000Z"}`; got != want {
		t.Errorf("delta\n got %s\nwant %s", got, want)
	}

	reg.remove("a")
	s.SyncRegistry()
	c = s.Collect(nil)
	if len(c) != 1 || !c[0].Removed || s.Lookup("a") != nil || s.Len() != 1 {
		t.Errorf("after removal: changes %+v, %d devices; want one removal and the stranger left", c, s.Len())
	}
	if got, want := string(s.AppendItem(nil, c[0].Device, c[0].From)), `{"id":"a","removed":true}`; got != want {
		t.Errorf("delta %s, want %s", got, want)
	}
}

func TestMovingDevice(t *testing.T) {
	reg := &fakeRegistry{}
	reg.put(devices.Device{ID: "bus", Domain: "mobility", Lat: p(38), Lon: p(13)})
	s := New(reg, nil, nil)
	s.SyncRegistry()
	var o batch.Observations
	h := o.Begin(1000, 1000, "mobility", "bus")
	o.Append(h, "position_lat", 38.12, "", 0)
	o.Append(h, "position_lon", 13.36, "", 0)
	s.Apply(&o)
	if it := item(t, s, "bus"); *it.Lat != 38.12 || *it.Lon != 13.36 {
		t.Errorf("the bus is at %v, %v, want 38.12, 13.36", *it.Lat, *it.Lon)
	}
	in, _ := s.List(Query{Box: &Box{West: 13.3, South: 38.1, East: 13.4, North: 38.2}})
	out, _ := s.List(Query{Box: &Box{West: 12.9, South: 37.9, East: 13.1, North: 38.1}})
	if len(in) != 1 || len(out) != 0 {
		t.Errorf("%d in the box where it is and %d where it was, want 1 and 0", len(in), len(out))
	}
}

func TestListPages(t *testing.T) {
	s := New(nil, nil, nil)
	for i := range 25 {
		s.Apply(one(fmt.Sprintf("d%02d", i), "m", 1, 1, ""))
	}
	var ids []string
	after := ""
	for {
		items, more := s.List(Query{Limit: 10, After: after, Domains: []string{"lighting"}})
		for _, it := range items {
			ids = append(ids, it.ID)
		}
		if !more {
			break
		}
		after = ids[len(ids)-1]
	}
	if len(ids) != 25 || !slices.IsSorted(ids) {
		t.Errorf("paged through %v, want 25 in order", ids)
	}
	if items, _ := s.List(Query{Zones: []string{"nowhere"}}); len(items) != 0 {
		t.Errorf("%d devices in no zone, want 0", len(items))
	}
}

func event(id, rule, key, severity, state string, at int) batch.Event {
	return batch.Event{ID: id, Rule: rule, Key: key, Device: key, Severity: severity, State: state, Time: time.Unix(int64(at), 0).UTC()}
}

func TestSeverityFollowsEpisodes(t *testing.T) {
	s := New(nil, nil, nil)
	s.Apply(one("pole-7", "m", 1, 1, ""))
	var heard []batch.Event
	s.OnEvents(func(events []batch.Event) { heard = append(heard, events...) })
	alarm := func() string {
		if a := item(t, s, "pole-7").Alarm; a != nil {
			return *a
		}
		return ""
	}
	for _, step := range []struct {
		event batch.Event
		want  string
		open  int
	}{
		{event("1", "hot", "pole-7", "warning", "raised", 10), "warning", 1},
		{event("2", "dark", "pole-7", "critical", "raised", 11), "critical", 2},
		{event("2", "dark", "pole-7", "critical", "raised", 11), "critical", 2}, // repeated
		{event("3", "dark", "pole-7", "info", "updated", 12), "warning", 2},
		{event("4", "hot", "pole-7", "warning", "cleared", 13), "info", 1},
		{event("0", "dark", "pole-7", "critical", "cleared", 9), "info", 1}, // of an episode before
		{event("5", "dark", "pole-7", "info", "cleared", 14), "", 0},
		{event("6", "dark", "pole-8", "major", "raised", 15), "", 1},
	} {
		s.ApplyEvents([]batch.Event{step.event})
		if got := alarm(); got != step.want || len(s.episodes.open) != step.open {
			t.Errorf("after %s %s: alarm %q and %d open, want %q and %d", step.event.ID, step.event.State, got, len(s.episodes.open), step.want, step.open)
		}
	}
	s.Apply(one("pole-8", "m", 1, 1, ""))
	if a := item(t, s, "pole-8").Alarm; a == nil || *a != "major" {
		t.Errorf("a device that appears after its alarm has %v, want major", a)
	}
	if len(heard) != 7 || heard[5].ID != "5" {
		t.Errorf("the listener heard %+v", heard)
	}
	if got := s.RecentEvents(2, nil); len(got) != 2 || got[1].ID != "6" {
		t.Errorf("newest events %v, want the last two, oldest first", got)
	}
}

func TestBounds(t *testing.T) {
	s := New(nil, nil, nil)
	for i := range MaxMetrics + 10 {
		s.Apply(one("d", fmt.Sprintf("m%d", i), 1, 1, ""))
	}
	if n := len(item(t, s, "d").Values); n != MaxMetrics {
		t.Errorf("%d metrics of one device, want %d", n, MaxMetrics)
	}
	for i := range 3 * recentEvents {
		s.ApplyEvents([]batch.Event{event(fmt.Sprint(i), "r", "k", "info", "updated", i)})
	}
	if n := len(s.episodes.recent); n >= 2*recentEvents || len(s.episodes.known) != n {
		t.Errorf("%d events and %d ids held, want as many, below %d", n, len(s.episodes.known), 2*recentEvents)
	}
}

func TestSnap(t *testing.T) {
	palermo := Box{West: 13.3, South: 38.0, East: 13.5, North: 38.2}
	tiles := palermo.Snap()
	for range 1000 {
		lat, lon := palermo.South+rand.Float64()*0.2, palermo.West+rand.Float64()*0.2
		if x, y := tileOf(lat, lon); !tiles.Has(x, y) {
			t.Fatalf("%v, %v is in the box but not in its tiles %+v", lat, lon, tiles)
		}
	}
	if x, y := tileOf(45.46, 9.19); tiles.Has(x, y) {
		t.Errorf("Milan is in the tiles of Palermo %+v", tiles)
	}
	near := Box{West: 13.301, South: 38.001, East: 13.501, North: 38.199}
	if near.Snap() != tiles {
		t.Errorf("%+v and %+v do not share tiles", near.Snap(), tiles)
	}
	if world := (Box{West: -180, South: -90, East: 180, North: 90}).Snap(); !world.Has(tileOf(-80, 170)) {
		t.Errorf("the world's tiles %+v lack a corner", world)
	}
	for _, bad := range []Box{{West: 1, East: 0}, {North: 91}, {West: math.NaN()}} {
		if bad.Check() == nil {
			t.Errorf("%+v is accepted", bad)
		}
	}
}

func TestAppendString(t *testing.T) {
	for _, s := range []string{"", "plain", "a\"b\\c\n\x00", "però ✓", "bad \xff utf8", "\u2028", "<&>"} {
		var back string
		if err := json.Unmarshal(AppendString(nil, s), &back); err != nil {
			t.Errorf("%q: %v", s, err)
		}
		if want := string([]rune(s)); back != want {
			t.Errorf("%q came back as %q, want %q", s, back, want)
		}
	}
}

// What rules in shadow raise is nobody's alarm: no device takes its colour, no listener hears of it.
func TestShadowsAreLeftOut(t *testing.T) {
	s := New(nil, nil, nil)
	s.OnEvents(func(events []batch.Event) { t.Errorf("told of %v", events) })
	s.ApplyEvents([]batch.Event{event("1", "r", "k", "critical", "shadow_raised", 0), event("2", "r", "k", "critical", "shadow_cleared", 1)})
	if n, r := len(s.episodes.open), s.RecentEvents(10, nil); n+len(r) > 0 {
		t.Errorf("%d open episodes, events %v; want none", n, r)
	}
}

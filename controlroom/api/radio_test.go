package api

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"

	"panormus/stream/batch"
)

// air is a radio with one gateway and one device, whatever is asked.
type air struct {
	from, to time.Time
	asked    RadioQuery
	in       *Within // of gateways
	limit    int
	silent   bool
	fail     error
}

func (r *air) Gateways(_ context.Context, from, to time.Time, gateway string, in *Within) ([]GatewayRadio, error) {
	r.from, r.to, r.in = from, to, in
	if r.silent || gateway != "" && gateway != "gw-b" {
		return nil, r.fail
	}
	return []GatewayRadio{{Gateway: "gw-b", Seen: time.Unix(100, 0), Uplinks: 6, Devices: 2, RSSIdBm: -101.5, SNRdB: math.NaN(), AirtimeMs: 300, OwnDevices: 1, Expected: 8, Lost: 2}}, r.fail
}

func (r *air) RadioDevices(_ context.Context, q RadioQuery, limit int, cursor string) ([]DeviceRadio, string, error) {
	r.asked, r.limit = q, limit
	if cursor == "bad" {
		return nil, "", fmt.Errorf("page: %w", ErrCursor)
	}
	if r.silent {
		return nil, "", r.fail
	}
	return []DeviceRadio{{Device: "meter", DevEUI: "0102030405060708", Seen: time.Unix(90, 0), Uplinks: 3, Gateways: 2, RSSIdBm: -90, SNRdB: 7, AirtimeMs: 150, LastGateway: "gw-b", LastRSSIdBm: -91,
		LastSNRdB: 6, LastDataRate: "SF9BW125", LastFrequency: 868_100_000, LastFCnt: 17}}, "more", r.fail
}

func (r *air) Links(context.Context, time.Time, time.Time, string) ([]Link, error) {
	return []Link{{Gateway: "gw-b", Seen: time.Unix(90, 0), Uplinks: 2, RSSIdBm: -95, SNRdB: 5}}, r.fail
}

func TestRadio(t *testing.T) {
	r := &air{}
	s := newSite(t, func(c *Config) { c.Radio = r })
	s.put("/api/v1/devices/gw-a", `{"domain":"lorawan","name":"Cattedrale","lat":38.11,"lon":13.35}`)
	s.put("/api/v1/devices/gw-b", `{"domain":"lorawan","name":"Porto"}`)
	s.put("/api/v1/devices/meter", `{"domain":"lorawan","name":"Contatore","lorawan":{"dev_eui":"0102030405060708"}}`)
	s.put("/api/v1/devices/pole-7", `{"domain":"lighting"}`)
	o := &batch.Observations{}
	h := o.Begin(time.Now().UnixMilli(), time.Now().UnixMilli(), "lorawan", "meter")
	o.Append(h, "lorawan_margin_db", 9, "", 0)
	o.Append(h, "lorawan_battery_percent", 75.5, "", 0)
	s.state.Apply(o)
	type object = map[string]any

	var gateways struct {
		Gateways []object
		Next     string
	}
	s.get("/api/v1/gateways", &gateways)
	want := []object{
		{"id": "gw-a", "name": "Cattedrale", "zone": "", "lat": 38.11, "lon": 13.35, "registered": true, "status": "unheard", "seen": nil, "uplinks": 0., "devices": 0., "own_devices": 0.,
			"rssi_dbm": nil, "snr_db": nil, "expected": 0., "lost": 0., "loss": nil, "airtime_ms": 0.},
		{"id": "gw-b", "name": "Porto", "zone": "", "lat": nil, "lon": nil, "registered": true, "status": "silent", "seen": "1970-01-01T00:01:40.000Z", "uplinks": 6., "devices": 2., "own_devices": 1.,
			"rssi_dbm": -101.5, "snr_db": nil, "expected": 8., "lost": 2., "loss": 0.25, "airtime_ms": 300.},
	}
	if !reflect.DeepEqual(gateways.Gateways, want) || gateways.Next != "" {
		t.Errorf("gateways %v\nwant %v", gateways, want)
	}
	if d := r.to.Sub(r.from); d != 24*time.Hour || time.Since(r.to).Abs() > time.Minute {
		t.Errorf("asked for %s to %s, want the last 24 hours", r.from, r.to)
	}
	s.get("/api/v1/gateways?limit=1", &gateways)
	if len(gateways.Gateways) != 1 || gateways.Next == "" {
		t.Errorf("a page of one: %v", gateways)
	}
	next := gateways.Next
	gateways.Next = ""
	s.get("/api/v1/gateways?limit=1&cursor="+next, &gateways)
	if len(gateways.Gateways) != 1 || gateways.Gateways[0]["id"] != "gw-b" || gateways.Next != "" {
		t.Errorf("the page after: %v", gateways)
	}
	for i, id := range []string{"gw-a", "gw-b"} {
		var got object
		s.get("/api/v1/gateways/"+id+"?window=7d", &got)
		if !reflect.DeepEqual(got, want[i]) {
			t.Errorf("gateway %v\nwant %v", got, want[i])
		}
	}
	if d := r.to.Sub(r.from); d != 7*24*time.Hour {
		t.Errorf("asked for %v, want 7 days", d)
	}
	o.Reset()
	o.Append(o.Begin(time.Now().UnixMilli(), time.Now().UnixMilli(), "lorawan", "gw-a"), "rx_packets", 1, "", 0)
	s.state.Apply(o)
	var reported object
	if s.get("/api/v1/gateways/gw-a", &reported); reported["status"] != "online" {
		t.Errorf("a gateway that just reported: %v, want it online", reported)
	}

	var list struct {
		Devices []object
		Next    string
	}
	s.get("/api/v1/radio/devices?gateway=gw-b&device=meter&limit=7&window=1h", &list)
	device := object{"id": "meter", "name": "Contatore", "domain": "lorawan", "zone": "", "dev_eui": "0102030405060708", "seen": "1970-01-01T00:01:30.000Z", "uplinks": 3., "gateways": 2., "rssi_dbm": -90.,
		"snr_db": 7., "data_rates": []any{}, "expected": 0., "lost": 0., "loss": nil, "resets": 0., "airtime_ms": 150., "margin_db": 9., "battery_percent": 75.5, "external_power": false,
		"last": object{"gateway": "gw-b", "rssi_dbm": -91., "snr_db": 6., "data_rate": "SF9BW125", "frequency_hz": 868_100_000., "f_cnt": 17.}}
	if len(list.Devices) != 1 || !reflect.DeepEqual(list.Devices[0], device) || list.Next != "more" {
		t.Errorf("devices %v\nwant %v", list, device)
	}
	if r.asked.Gateway != "gw-b" || r.asked.Device != "meter" || r.asked.Sort != "loss" || r.limit != 7 || r.asked.To.Sub(r.asked.From) != time.Hour {
		t.Errorf("asked for %+v, limit %d", r.asked, r.limit)
	}
	var whole object
	s.get("/api/v1/radio/devices/meter", &whole)
	device["links"] = []any{object{"gateway": "gw-b", "name": "Porto", "seen": "1970-01-01T00:01:30.000Z", "uplinks": 2., "rssi_dbm": -95., "snr_db": 5.}}
	if !reflect.DeepEqual(whole, device) || r.asked.Device != "meter" {
		t.Errorf("device %v\nwant %v", whole, device)
	}

	for path, words := range map[string][]string{
		"/api/v1/gateways?window=8d":            {"query.window", "7d"},
		"/api/v1/gateways?window=0":             {"query.window"},
		"/api/v1/gateways?window=x":             {`"x"`},
		"/api/v1/gateways?cursor=!!":            {"query.cursor"},
		"/api/v1/radio/devices?sort=mood":       {"query.sort", "mood"},
		"/api/v1/radio/devices?cursor=bad":      {"query.cursor"},
		"/api/v1/radio/devices?limit=1001":      {"1000"},
		"/api/v1/radio/devices?windw=1h":        {"windw"},
		"/api/v1/radio/devices/meter?window=8d": {"query.window"},
	} {
		wantProblem(t, s.ask("GET", path, ""), path, 422, words...)
	}
	for _, path := range []string{"/api/v1/gateways/meter", "/api/v1/gateways/pole-7", "/api/v1/gateways/none"} {
		wantProblem(t, s.ask("GET", path, ""), path, 404, "no gateway")
	}
	r.silent = true
	wantProblem(t, s.ask("GET", "/api/v1/radio/devices/pole-7", ""), "/api/v1/radio/devices/pole-7", 404, "no uplink", "pole-7")
	r.fail = errors.New("away")
	none := newSite(t, func(c *Config) { c.Radio = nil })
	for _, path := range []string{"/api/v1/gateways", "/api/v1/gateways/gw-a", "/api/v1/radio/devices", "/api/v1/radio/devices/meter"} {
		wantProblem(t, s.ask("GET", path, ""), path, 503, "not available")
		wantProblem(t, none.ask("GET", path, ""), path, 501, "does not have it")
	}
}

package api

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"panormus/devices"
	"panormus/stream/audit"
)

type fakeSystem struct{ err error }

func (f fakeSystem) Refused(_ context.Context, names []string, from, to time.Time, limit int) ([]Refused, error) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return []Refused{{Received: at, Source: "mqtt", Topic: strings.Join(names, "/"), Reason: "syntax", Detail: fmt.Sprint(to.Sub(from), " ", limit), Payload: "{\xffé", Bytes: 5000}}, f.err
}

func (f fakeSystem) Tables(context.Context) ([]Table, error) {
	return []Table{{"observations", 7, 4096}}, f.err
}

func (f fakeSystem) DeadLetters(_ context.Context, since time.Time, in *Within) ([]DeadLetters, error) {
	if in != nil {
		return []DeadLetters{{Reason: strings.Join(in.Devices, " ")}}, f.err
	}
	if d := time.Since(since); d < 23*time.Hour || d > 25*time.Hour {
		return nil, errors.New("since " + since.String())
	}
	return []DeadLetters{{Reason: "syntax", Count: 3, Last: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Source: "mqtt", Topic: "city/a/b/telemetry", Detail: "no JSON"}}, f.err
}

func TestSystem(t *testing.T) {
	who, secrets := entrants(t, map[string]string{"vito": "role=viewer", "rosalia": "role=operator", "ninfa": "role=viewer areas=lighting", "agata": "role=supervisor areas=lighting", "santa": "role=admin"})
	s := newSite(t, func(c *Config) { c.System, c.Version, c.Who = fakeSystem{}, "1.2", who })
	const same = `"reason":"syntax","count":3,"last":"2026-01-02T03:04:05.000Z"`
	for name, want := range map[string]string{
		"vito":    `{` + same + `}`,
		"rosalia": `{` + same + `,"source":"mqtt","topic":"city/a/b/telemetry","detail":"no JSON"}`,
	} {
		w := s.ask("GET", "/api/v1/system", "", "Authorization", "Bearer "+secrets[name])
		wantBody(t, w, 200, `"version":"1.2"`, `"tables":[{"name":"observations","rows":7,"bytes":4096}]`, `"dead_letters":[`+want+`]`)
	}
	for id, body := range map[string]string{
		"lamp-1": `{"domain":"lighting","lorawan":{"dev_eui":"0102030405060708"}}`, "bin-1": `{"domain":"waste"}`,
		"cam-1": `{"domain":"lighting","camera":{"purpose":"crowd_safety","legal_basis":"x","controller":"y","dpia_ref":"z"}}`,
	} {
		if w := s.ask("PUT", "/api/v1/devices/"+id, body, "Authorization", "Bearer "+secrets["santa"]); w.Code != 200 {
			t.Fatalf("%s: %d %s", id, w.Code, w.Body)
		}
	}
	for name, devices := range map[string]string{"ninfa": "lamp-1 0102030405060708", "agata": "cam-1 lamp-1 0102030405060708"} {
		w := s.ask("GET", "/api/v1/system", "", "Authorization", "Bearer "+secrets[name])
		wantBody(t, w, 200, `"tables":[]`, `"dead_letters":[{"reason":"`+devices+`"`)
	}
	wantBody(t, s.ask("GET", "/metrics", "", "Authorization", "Bearer "+secrets["ninfa"]), 403, "you see a part of it; /api/v1/system and")
	away := newSite(t, func(c *Config) { c.System = fakeSystem{errors.New("no connection")} })
	wantBody(t, away.ask("GET", "/api/v1/system", ""), 503)
	wantBody(t, newSite(t, nil).ask("GET", "/api/v1/system", ""), 501)
}

// What was refused of a device: why for everybody who sees it, what it was about and said by role, and that is noted.
func TestRefused(t *testing.T) {
	who, secrets := entrants(t, map[string]string{"vito": "role=viewer", "rosalia": "role=operator", "capo": "role=supervisor", "luce": "role=operator areas=lighting"})
	book := &ledger{}
	s := newSite(t, func(c *Config) { c.System, c.Who, c.Audit = fakeSystem{}, who, audit.New(book) })
	s.registered(devices.Device{ID: "bin-1", Domain: "waste", LoRaWAN: &devices.LoRaWAN{DevEUI: "0102030405060708"}})
	const (
		why   = `{"received":"2026-01-02T03:04:05.000Z","reason":"syntax","bytes":5000`
		about = `,"source":"mqtt","topic":"bin-1/0102030405060708","detail":"24h0m0s 20"`
	)
	s.registered(devices.Device{ID: "cam-1", Domain: "waste", Camera: &devices.Camera{Purpose: "traffic"}})
	wantBody(t, s.ask("GET", "/api/v1/devices/cam-1/refused", "", "Authorization", "Bearer "+secrets["rosalia"]), 403, "tracks.read")
	for _, tc := range []struct {
		name, query string
		status      int
		want        string
	}{
		{"vito", "", 200, `"refused":[` + why + `}]`},
		{"rosalia", "?to=2026-01-03T00:00:00Z", 200, `"from":"2026-01-02T00:00:00.000Z","refused":[` + why + about + `}]`},
		{"capo", "?payloads=true", 200, `"refused":[` + why + about + `,"payload":"{�é"}]`},
		{"rosalia", "?payloads=true", 403, "tracks.read"},
		{"luce", "", 404, "bin-1"},
		{"vito", "?limit=101", 422, "limit"},
	} {
		w := s.ask("GET", "/api/v1/devices/bin-1/refused"+tc.query, "", "Authorization", "Bearer "+secrets[tc.name])
		wantBody(t, w, tc.status, tc.want)
	}
	if len(book.entries) != 1 || !strings.Contains(string(book.entries[0]), `"actor":"capo","action":"rejected.read","object":"bin-1"`) {
		t.Errorf("noted %s, want that capo read what was said", book.entries)
	}
	wantBody(t, newSite(t, nil).ask("GET", "/api/v1/devices/bin-1/refused", ""), 501)
}

func wantBody(t *testing.T, w *httptest.ResponseRecorder, status int, parts ...string) {
	t.Helper()
	for _, part := range append(parts, "") {
		if w.Code != status || !strings.Contains(w.Body.String(), part) {
			t.Errorf("%d %s, want %d with %s", w.Code, w.Body, status, part)
		}
	}
}

package api

import (
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

type fakeSystem struct{ err error }

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

func wantBody(t *testing.T, w *httptest.ResponseRecorder, status int, parts ...string) {
	t.Helper()
	for _, part := range append(parts, "") {
		if w.Code != status || !strings.Contains(w.Body.String(), part) {
			t.Errorf("%d %s, want %d with %s", w.Code, w.Body, status, part)
		}
	}
}

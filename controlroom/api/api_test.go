package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"panormus/controlroom/auth"
	"panormus/controlroom/basemap"
	"panormus/controlroom/live"
	"panormus/devices"
	"panormus/stream/batch"
	"panormus/stream/rules"
)

// memory is a registry's or rule store's bucket that forgets.
type memory struct {
	mu   sync.Mutex
	held map[string][]byte
	full error
}

func (m *memory) Put(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.full != nil {
		return m.full
	}
	if m.held == nil {
		m.held = map[string][]byte{}
	}
	m.held[key] = value
	return nil
}

func (m *memory) Create(ctx context.Context, key string, value []byte) (bool, error) {
	m.mu.Lock()
	_, is := m.held[key]
	m.mu.Unlock()
	if is {
		return false, nil
	}
	return true, m.Put(ctx, key, value)
}

func (m *memory) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.held, key)
	return nil
}

func (m *memory) Watch(ctx context.Context, _ func(string, []byte), synced func()) error {
	synced()
	<-ctx.Done()
	return ctx.Err()
}

type past struct {
	asked SeriesQuery
	fail  error

	readings []Reading
	device   string
	limit    int
}

func (p *past) Readings(_ context.Context, device string, _, _ time.Time, limit int) ([]Reading, error) {
	p.device, p.limit = device, limit
	return p.readings, p.fail
}

func (p *past) Series(_ context.Context, q SeriesQuery) ([]Point, error) {
	p.asked = q
	return []Point{{time.Unix(1, 0), 83.2}, {time.Unix(2, 0), math.NaN()}}, p.fail
}

func (p *past) Event(_ context.Context, id string) (*batch.Event, error) {
	if id != "e1" {
		return nil, p.fail
	}
	return &batch.Event{ID: "e1", Rule: "street-lamp", RuleVersion: "0", Time: time.Unix(5, 0).UTC()}, p.fail
}

func (p *past) Events(_ context.Context, q EventQuery, limit int, cursor string) ([]batch.Event, string, error) {
	if cursor == "bad" {
		return nil, "", fmt.Errorf("page: %w", ErrCursor)
	}
	return []batch.Event{{ID: "e1", Rule: q.Rule, Time: time.Unix(5, 0).UTC()}}, "more", p.fail
}

func (p *past) Export(_ context.Context, w io.Writer, q ExportQuery) error {
	if p.fail != nil {
		return p.fail
	}
	_, err := fmt.Fprintf(w, "%s,%s\n", q.Table, q.Format)
	return err
}

type site struct {
	t        *testing.T
	handler  http.Handler
	state    *live.State
	registry *devices.Registry
	store    *memory
	past     *past
	ready    error
}

func newSite(t *testing.T, change func(*Config)) *site {
	t.Helper()
	s := &site{t: t, store: &memory{}, past: &past{}}
	s.registry = devices.NewRegistry(s.store, nil)
	s.state = live.New(s.registry, nil, nil)
	reg := prometheus.NewRegistry()
	reg.MustRegister(prometheus.NewCounter(prometheus.CounterOpts{Name: "panormus_test_total", Help: "Of the test."}))
	cfg := Config{
		Version: "test", State: s.state, Registry: s.registry, Gatherer: reg,
		Ready: func() error { return s.ready }, Stats: func() Stats { return Stats{Received: 7, Lag: Lag{Rules: 2}} },
		Series: s.past, Events: s.past, Export: s.past, Rules: &rules.Store{Bucket: &memory{}, Defaults: true},
		Page: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "page") }),
		Feed: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "feed") }),
	}
	if change != nil {
		change(&cfg)
	}
	s.handler = New(cfg)
	return s
}

func (s *site) ask(method, path, body string, header ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "localhost:8080"
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	return w
}

func (s *site) get(path string, into any) {
	s.t.Helper()
	w := s.ask("GET", path, "")
	if w.Code != 200 || w.Header().Get("Content-Type") != "application/json" {
		s.t.Fatalf("GET %s: %d %s %s", path, w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
		s.t.Fatalf("GET %s: %v in %s", path, err, w.Body)
	}
}

func (s *site) put(path, body string) {
	s.t.Helper()
	if w := s.ask("PUT", path, body); w.Code != 200 {
		s.t.Fatalf("PUT %s: %d %s", path, w.Code, w.Body)
	}
}

// wantProblem checks that the answer is a whole problem document with the status and the words.
func wantProblem(t *testing.T, w *httptest.ResponseRecorder, path string, status int, words ...string) {
	t.Helper()
	if w.Code != status || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s: %d %s %s, want a problem %d", path, w.Code, w.Header().Get("Content-Type"), w.Body, status)
		return
	}
	var p struct {
		Type, Title, Detail, Instance string
		Status                        int
	}
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Errorf("%s: %v in %s", path, err, w.Body)
	}
	bare, _, _ := strings.Cut(path, "?")
	if p.Type == "" || p.Title == "" || p.Detail == "" || p.Status != status || p.Instance != bare {
		t.Errorf("%s: an incomplete problem %s", path, w.Body)
	}
	for _, word := range words {
		if !strings.Contains(p.Detail, word) {
			t.Errorf("%s: detail %q lacks %q", path, p.Detail, word)
		}
	}
}

func TestProblems(t *testing.T) {
	s := newSite(t, nil)
	s.put("/api/v1/devices/pole-7", `{"domain":"lighting"}`)
	for _, tc := range []struct {
		method, path, body, media string
		status                    int
		words                     []string
	}{
		{"GET", "/api/v1/nothing", "", "", 404, []string{"/api/v1/nothing"}},
		{"GET", "/api", "", "", 404, nil},
		{"PATCH", "/api/v1/devices", "", "", 405, []string{"PATCH", "GET", "POST"}},
		{"POST", "/status", "", "", 405, nil},
		{"POST", "/", "", "", 405, []string{"GET or HEAD"}},
		{"GET", "/map/basemap.geojson", "", "", 404, []string{"no base map"}},
		{"GET", "/api/v1/state?limit=0", "", "", 422, []string{"query.limit", "found 0", "1"}},
		{"GET", "/api/v1/state?limit=1001", "", "", 422, []string{"1000"}},
		{"GET", "/api/v1/state?limit=x", "", "", 422, []string{"query.limit", "x"}},
		{"GET", "/api/v1/state?domian=lighting", "", "", 422, []string{"domian"}},
		{"GET", "/api/v1/state?limit=1&limit=2", "", "", 422, []string{"query.limit", "2 times"}},
		{"GET", "/api/v1/state?limit=%zz", "", "", 400, []string{"query", "%zz"}},
		{"GET", "/api/v1/state?bbox=1,2,3", "", "", 422, []string{"3 parts"}},
		{"GET", "/api/v1/state?bbox=1,2,3,x", "", "", 422, []string{`"x"`}},
		{"GET", "/api/v1/state?bbox=13,38,12,39", "", "", 422, []string{"west <= east"}},
		{"GET", "/api/v1/state?cursor=!!", "", "", 422, []string{"query.cursor"}},
		{"GET", "/api/v1/devices/none", "", "", 404, []string{`no device "none"`}},
		{"DELETE", "/api/v1/devices/none", "", "", 404, []string{`no device "none"`}},
		{"GET", "/api/v1/profiles/none", "", "", 404, []string{`no profile "none"`}},
		{"DELETE", "/api/v1/profiles/none", "", "", 404, nil},
		{"GET", "/api/v1/zones/none", "", "", 404, []string{`no zone "none"`}},
		{"DELETE", "/api/v1/zones/none", "", "", 404, nil},
		{"PUT", "/api/v1/devices/a", `{"domain":`, "", 400, []string{"line 1, column 11"}},
		{"PUT", "/api/v1/devices/a", `{"domain":"Lighting"}`, "", 422, []string{"domain", "a-z"}},
		{"PUT", "/api/v1/devices/a", `{"domain":"lighting","colour":1}`, "", 400, []string{"colour"}},
		{"PUT", "/api/v1/devices/a", `{"id":"b","domain":"lighting"}`, "", 422, []string{"body.id", `"b"`, `"a"`}},
		{"PUT", "/api/v1/devices/a%20b", `{"domain":"lighting"}`, "", 422, []string{"path.id"}},
		{"POST", "/api/v1/devices", `{"devices":[{"id":"x","domain":"waste"},{"id":"x","domain":"waste"}]}`, "application/json", 422, []string{"twice"}},
		{"POST", "/api/v1/devices", "id,domain\nx,waste\ny,WASTE\n", "text/csv", 400, []string{"line 3", "WASTE"}},
		{"POST", "/api/v1/devices", `{"type":"Feature"}`, "application/geo+json", 422, []string{"FeatureCollection"}},
		{"POST", "/api/v1/devices", `x`, "text/plain", 415, []string{"text/plain", "text/csv"}},
		{"PUT", "/api/v1/profiles/p", `{"metrics":{"a":{"min":2,"max":1}}}`, "", 422, []string{"min 2 above max 1"}},
		{"PUT", "/api/v1/zones/z", `{"type":"Feature","geometry":{"type":"Point","coordinates":[1,2]},"properties":{"id":"z"}}`, "", 422, []string{"Polygon"}},
		{"GET", "/api/v1/series", "", "", 422, []string{"query.device", "query.metric"}},
		{"GET", "/api/v1/series?device=a&metric=b&from=yesterday", "", "", 422, []string{"yesterday"}},
		{"GET", "/api/v1/series?device=a&metric=b&from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "", "", 422, []string{"not after"}},
		{"GET", "/api/v1/series?device=a&metric=b&step=1s&from=0001-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", "", "", 422, []string{"points"}},
		{"GET", "/api/v1/series?device=a&metric=b&step=soon", "", "", 422, []string{"query.step", "soon"}},
		{"GET", "/api/v1/series?device=a&metric=b&step=1s&from=2020-01-01T00:00:00Z&to=2026-01-01T00:00:00Z", "", "", 422, []string{"points"}},
		{"GET", "/api/v1/series?device=a&metric=b&agg=median&step=1m", "", "", 422, []string{"median"}},
		{"GET", "/api/v1/events?severity=grave", "", "", 422, []string{"grave"}},
		{"GET", "/api/v1/events?cursor=bad", "", "", 422, []string{"query.cursor"}},
		{"GET", "/api/v1/export?table=secrets", "", "", 422, []string{"secrets", "observations"}},
		{"GET", "/api/v1/rules/none", "", "", 404, []string{`no rule "none"`}},
		{"DELETE", "/api/v1/rules/none", "", "", 404, nil},
		{"PUT", "/api/v1/rules/r", "when: power_w >\nseverity: warning\n", "", 422, []string{"1:"}},
		{"POST", "/api/v1/rules/r/backtest", "{}", "", 501, nil},
		{"POST", "/api/v1/alarms/a/ack", "{}", "", 501, nil},
		{"POST", "/api/v1/alarms/a/dance", "{}", "", 422, []string{"dance"}},
	} {
		w := s.ask(tc.method, tc.path, tc.body, "Content-Type", tc.media)
		wantProblem(t, w, strings.ReplaceAll(tc.path, "%20", " "), tc.status, tc.words...)
	}
	if got := s.registry.Len(); got != 1 {
		t.Errorf("%d devices after refusals, want 1: an import is taken whole or not at all", got)
	}
}

func TestNotThere(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Series, c.Events, c.Export, c.Rules, c.Page = nil, nil, nil, nil, nil })
	for path, status := range map[string]int{
		"/api/v1/series?device=a&metric=b": 501, "/api/v1/events": 501, "/api/v1/export?table=events": 501,
		"/api/v1/rules": 501, "/api/v1/rules/x": 501, "/": 404,
	} {
		wantProblem(t, s.ask("GET", path, ""), path, status)
	}
	s = newSite(t, nil)
	s.past.fail = errors.New("the database is away, says 10.0.0.7")
	s.store.full = errors.New("disk full")
	for _, path := range []string{"/api/v1/series?device=a&metric=b", "/api/v1/events", "/api/v1/export?table=events"} {
		w := s.ask("GET", path, "")
		wantProblem(t, w, path, 503)
		if w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(), "10.0.0.7") {
			t.Errorf("%s: %v %s, want Retry-After and nothing of the inside", path, w.Header(), w.Body)
		}
	}
	wantProblem(t, s.ask("PUT", "/api/v1/devices/a", `{"domain":"waste"}`), "/api/v1/devices/a", 503)
	s.ready = errors.New("the log is being read")
	wantProblem(t, s.ask("GET", "/status", ""), "/status", 503, "the log is being read")
}

func TestSmallAnswers(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Base = basemap.GeoJSON([]byte(`{"type":"FeatureCollection","features":[]}`)) })
	for path, want := range map[string]string{
		"/status":              `"status":"ready"`,
		"/api/v1/stats":        `"received":7`,
		"/metrics":             "panormus_test_total 0",
		"/map/basemap.geojson": "FeatureCollection", "/map/base.json": `"geojson":true`,
		"/docs":         "<html",
		"/docs/docs.js": "/openapi.json",
		"/openapi.json": `"openapi":"3.1.0"`,
		"/":             "page",
		"/any/route":    "page",
		"/ws/v1/feed":   "feed",
		"/api/v1/rules": `"rules":[`,
	} {
		w := s.ask("GET", path, "")
		if w.Code != 200 || !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %.200s, want %q", path, w.Code, w.Body, want)
		}
		if w.Header().Get("X-Request-Id") == "" || w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: headers %v", path, w.Header())
		}
	}
	if w := s.ask("GET", "/status", "", "X-Request-Id", "abc-1"); w.Header().Get("X-Request-Id") != "abc-1" {
		t.Error("the caller's request id is not kept")
	}
	if strings.Contains(string(docsHTML)+string(docsJS)+string(docsCSS), "//cdn") || regexp.MustCompile(`https?://`).Match(docsHTML) {
		t.Error("the docs load from elsewhere")
	}
}

func TestGuarded(t *testing.T) {
	token, line, _ := auth.NewToken("test")
	tokens, err := auth.ReadTokens(strings.NewReader(line))
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, func(c *Config) { c.Who = tokens })
	for _, path := range []string{"/", "/api/v1/state", "/ws/v1/feed", "/metrics", "/openapi.json", "/docs", "/map/basemap.geojson", "/nothing"} {
		wantProblem(t, s.ask("GET", path, ""), path, 401)
		if w := s.ask("GET", path, "", "Authorization", "Bearer "+token); w.Code == 401 {
			t.Errorf("%s: refused with a token", path)
		}
	}
	if w := s.ask("GET", "/status", ""); w.Code != 200 {
		t.Errorf("/status without a token: %d", w.Code)
	}
	r := httptest.NewRequest("GET", "/api/v1/state", nil)
	r.Host = "attacker.example"
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	wantProblem(t, w, "/api/v1/state", 421, "attacker.example")
}

func TestPanicIsAProblem(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Stats = func() Stats { panic("ouch") } })
	wantProblem(t, s.ask("GET", "/api/v1/stats", ""), "/api/v1/stats", 500)
}

func TestDevices(t *testing.T) {
	s := newSite(t, nil)
	s.put("/api/v1/zones/kalsa", `{"type":"Feature","properties":{"id":"kalsa","name":"Kalsa","kind":"district"},"geometry":{"type":"Polygon","coordinates":[[[13.36,38.11],[13.38,38.11],[13.38,38.12],[13.36,38.12],[13.36,38.11]]]}}`)
	s.put("/api/v1/profiles/lamp", `{"domain":"lighting","expected_period":"15m","metrics":{"power_w":{"unit":"W","min":0,"max":400}}}`)
	csv := "id,domain,profile,name,lat,lon,secret,tag:street\n"
	for i := range 25 {
		csv += fmt.Sprintf("pole-%02d,lighting,lamp,Lamp %d,38.115,13.37,hidden,Via Roma\n", i, i)
	}
	w := s.ask("POST", "/api/v1/devices", csv+"bin-1,waste,,Bin,,,,\n", "Content-Type", "text/csv; charset=utf-8")
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"upserted":26`) {
		t.Fatalf("import: %d %s", w.Code, w.Body)
	}
	var d devices.Device
	s.get("/api/v1/devices/pole-03", &d)
	if d.Zone != "kalsa" || d.Secret != "" || d.Status != devices.Claimed || d.Tags["street"] != "Via Roma" {
		t.Errorf("%+v, want it in its zone, claimed, without its secret", d)
	}
	var ids []string
	next := ""
	for {
		var list struct {
			Devices []devices.Device
			Next    string
		}
		s.get("/api/v1/devices?domain=lighting&limit=10&cursor="+next, &list)
		for _, d := range list.Devices {
			ids = append(ids, d.ID)
		}
		if next = list.Next; next == "" {
			break
		}
	}
	if len(ids) != 25 || !slices.IsSorted(ids) {
		t.Errorf("paged through %v", ids)
	}
	for query, want := range map[string]int{
		"": 26, "?zone=kalsa": 25, "?profile=lamp&limit=3": 3, "?q=LAMP%202": 6, "?q=via%20roma": 25, "?domain=none": 0,
	} {
		var list struct{ Devices []devices.Device }
		if s.get("/api/v1/devices"+query, &list); len(list.Devices) != want || list.Devices == nil {
			t.Errorf("devices%s: %d, want %d", query, len(list.Devices), want)
		}
	}
	for _, tc := range []struct {
		path, accept, media string
		read                func([]byte) ([]devices.Device, error)
	}{
		{"/api/v1/devices?format=csv", "", "text/csv; charset=utf-8", func(b []byte) ([]devices.Device, error) { return devices.ReadCSV(bytes.NewReader(b)) }},
		{"/api/v1/devices", "text/csv", "text/csv; charset=utf-8", func(b []byte) ([]devices.Device, error) { return devices.ReadCSV(bytes.NewReader(b)) }},
		{"/api/v1/devices?format=json", "", "application/json", devices.ReadJSON},
		{"/api/v1/devices?format=geojson", "", "application/geo+json", devices.ReadGeoJSON},
	} {
		w := s.ask("GET", tc.path, "", "Accept", tc.accept)
		ds, err := tc.read(w.Body.Bytes())
		if err != nil || len(ds) != 26 || w.Header().Get("Content-Type") != tc.media || strings.Contains(w.Body.String(), "hidden") {
			t.Errorf("%s: %d devices as %s, %v", tc.path, len(ds), w.Header().Get("Content-Type"), err)
		}
		// What goes out comes back in, and keeps what may only be written.
		if w := s.ask("POST", "/api/v1/devices", w.Body.String(), "Content-Type", tc.media); w.Code != 200 {
			t.Errorf("%s put back: %d %s", tc.path, w.Code, w.Body)
		}
	}
	if !s.registry.Lookup("pole-03").HasSecret([]byte("hidden")) {
		t.Error("the secret is another one after an export and import, want it kept")
	}
	if w := s.ask("DELETE", "/api/v1/devices/bin-1", ""); w.Code != 204 {
		t.Errorf("delete: %d %s", w.Code, w.Body)
	}
	wantProblem(t, s.ask("GET", "/api/v1/devices/bin-1", ""), "/api/v1/devices/bin-1", 404)
	var zones struct {
		Zones []struct {
			Type       string
			Properties struct{ ID, Name string }
		}
	}
	if s.get("/api/v1/zones", &zones); len(zones.Zones) != 1 || zones.Zones[0].Type != "Feature" || zones.Zones[0].Properties.Name != "Kalsa" {
		t.Errorf("zones %+v", zones)
	}
	var profiles struct{ Profiles []devices.Profile }
	if s.get("/api/v1/profiles", &profiles); len(profiles.Profiles) != 1 || profiles.Profiles[0].Metrics["power_w"].Unit != "W" {
		t.Errorf("profiles %+v", profiles)
	}
}

func TestState(t *testing.T) {
	s := newSite(t, nil)
	var o batch.Observations
	for i := range 5 {
		h := o.Begin(1_700_000_000_000, 1_700_000_000_000, []string{"lighting", "waste"}[i%2], fmt.Sprintf("d%d", i))
		o.Append(h, "power_w", 83.2, "", 0)
		o.Append(h, "status", math.NaN(), "ok", 0)
		o.Append(h, "position_lat", 38.1+float64(i)/100, "", 0)
		o.Append(h, "position_lon", 13.3, "", 0)
	}
	s.state.Apply(&o)
	s.state.ApplyEvents([]batch.Event{{ID: "e1", Rule: "r", Key: "d0", Device: "d0", Domain: "lighting", Severity: "major", State: "raised", Time: time.Unix(9, 0)},
		{ID: "e2", Rule: "r", Key: "d1", Device: "d1", Domain: "waste", Severity: "info", State: "raised", Time: time.Unix(8, 0)}})
	w := s.ask("GET", "/api/v1/state?domain=lighting&limit=1", "")
	want := `{"devices":[{"id":"d0","domain":"lighting","zone":"","lat":38.1,"lon":13.3,"seen":"2023-11-14T22:13:20.000Z","alarm":"major","values":{"position_lat":38.1,"position_lon":13.3,"power_w":83.2,"status":"ok"}}],"next":"aWQw"}`
	if got := strings.TrimSpace(w.Body.String()); got != want {
		t.Errorf("state\n got %s\nwant %s", got, want)
	}
	var list struct {
		Devices []live.Item
		Next    string
	}
	for query, n := range map[string]int{"?domain=lighting,waste": 5, "?domain=waste": 2, "?bbox=13.2,38.105,13.4,38.125": 2, "?zone=none": 0, "?domain=lighting&limit=1&cursor=aWQw": 1} {
		if s.get("/api/v1/state"+query, &list); len(list.Devices) != n {
			t.Errorf("state%s: %d devices, want %d", query, len(list.Devices), n)
		}
	}
}

func TestHistory(t *testing.T) {
	s := newSite(t, nil)
	s.put("/api/v1/profiles/lamp", `{"metrics":{"power_w":{"unit":"W"}}}`)
	s.put("/api/v1/devices/d", `{"domain":"lighting","profile":"lamp"}`)
	w := s.ask("GET", "/api/v1/series?device=d&metric=power_w&from=2026-01-01T00:00:00Z&to=2026-01-01T01:00:00%2B01:00&step=300", "")
	wantProblem(t, w, "/api/v1/series", 422, "not after")
	w = s.ask("GET", "/api/v1/series?device=d&metric=power_w&from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z&step=300", "")
	if got, want := strings.TrimSpace(w.Body.String()), `{"device":"d","metric":"power_w","unit":"W","points":[["1970-01-01T00:00:01.000Z",83.2],["1970-01-01T00:00:02.000Z",null]]}`; got != want {
		t.Errorf("series\n got %s\nwant %s", got, want)
	}
	if q := s.past.asked; q.Step != 5*time.Minute || q.Agg != "avg" || q.To.Sub(q.From) != 24*time.Hour {
		t.Errorf("asked for %+v", q)
	}
	if w = s.ask("GET", "/api/v1/series?device=d&metric=power_w", ""); w.Code != 200 {
		t.Errorf("series without times: %d %s", w.Code, w.Body)
	}
	if q := s.past.asked; q.Step != 0 || q.Agg != "" || time.Since(q.From) < 59*time.Minute || time.Since(q.From) > 61*time.Minute || time.Since(q.To) > 0 {
		t.Errorf("without times it asked for %+v", q)
	}
	if w = s.ask("GET", "/api/v1/series?device=d&metric=power_w&agg=max&from=2026-01-01T00:00:00Z&to=2026-01-02T00:00:00Z", ""); w.Code != 200 || s.past.asked.Step != 288*time.Second {
		t.Errorf("an aggregate without a step: %d, asked for %+v; want a step that gives 300 points", w.Code, s.past.asked)
	}
	var events struct {
		Events []map[string]any
		Next   string
	}
	s.get("/api/v1/events?rule=hot", &events)
	if len(events.Events) != 1 || events.Next != "more" || events.Events[0]["time"] != "1970-01-01T00:00:05.000Z" || events.Events[0]["rule"] != "hot" || events.Events[0]["context"] == nil {
		t.Errorf("events %+v", events)
	}
	w = s.ask("GET", "/api/v1/export?table=observations&format=jsonl", "")
	if w.Code != 200 || w.Body.String() != "observations,jsonl\n" || w.Header().Get("Content-Type") != "application/x-ndjson" {
		t.Errorf("export: %d %s %s", w.Code, w.Header().Get("Content-Type"), w.Body)
	}
}

func TestRules(t *testing.T) {
	s := newSite(t, nil)
	s.put("/api/v1/rules/too-hot", "id: too-hot\ntitle: {en: Too hot}\ndomain: lighting\nseverity: major\non: observations\nwhen: temperature_cel > 80\n")
	var r map[string]any
	if s.get("/api/v1/rules/too-hot", &r); r["severity"] != "major" || r["id"] != "too-hot" {
		t.Errorf("rule %v", r)
	}
	var check struct {
		OK       bool
		Problems []map[string]any
	}
	w := s.ask("POST", "/api/v1/rules/check", "rules:\n  - id: x\n    severity: loud\n    when: a >\n")
	if err := json.Unmarshal(w.Body.Bytes(), &check); err != nil || w.Code != 200 || check.OK || len(check.Problems) == 0 || check.Problems[0]["line"] == nil {
		t.Errorf("check: %d %s", w.Code, w.Body)
	}
	// A name that neither a profile nor a device has is warned of, once any device has said anything.
	var o batch.Observations
	o.Append(o.Begin(1e12, 1e12, "lighting", "d0"), "power_w", 3, "", 0)
	s.state.Apply(&o)
	w = s.ask("POST", "/api/v1/rules/check", "rules:\n  - id: x\n    when: powr_w > 1 && power_w > 1\n")
	if err := json.Unmarshal(w.Body.Bytes(), &check); err != nil || !check.OK || len(check.Problems) != 1 ||
		check.Problems[0]["message"] != `when: no profile and no device has a metric "powr_w"; did you mean "power_w"?` {
		t.Errorf("check: %d %s", w.Code, w.Body)
	}
	if w := s.ask("DELETE", "/api/v1/rules/too-hot", ""); w.Code != 204 {
		t.Errorf("delete: %d %s", w.Code, w.Body)
	}
	shipped := rules.Defaults().Rules[0].ID
	wantProblem(t, s.ask("DELETE", "/api/v1/rules/"+shipped, ""), "/api/v1/rules/"+shipped, 409, "enabled: false")
}

// TestOpenAPI checks the description for what clients are made from it: every reference is there,
// every operation has an id of its own, a summary, and its refusals as problem+json.
func TestOpenAPI(t *testing.T) {
	s := newSite(t, nil)
	var doc map[string]any
	w := s.ask("GET", "/openapi.json", "")
	if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	for _, ref := range regexp.MustCompile(`"\$ref":"#/([^"]+)"`).FindAllStringSubmatch(w.Body.String(), -1) {
		var at any = doc
		for _, part := range strings.Split(ref[1], "/") {
			m, _ := at.(map[string]any)
			at = m[part]
		}
		if at == nil {
			t.Errorf("reference %s leads nowhere", ref[1])
		}
	}
	ids := map[string]bool{}
	for path, item := range doc["paths"].(map[string]any) {
		for method, o := range item.(map[string]any) {
			op := o.(map[string]any)
			id, _ := op["operationId"].(string)
			if id == "" || ids[id] || op["summary"] == nil {
				t.Errorf("%s %s: operation %q has no id of its own or no summary", method, path, id)
			}
			ids[id] = true
			for status, r := range op["responses"].(map[string]any) {
				content, _ := r.(map[string]any)["content"].(map[string]any)
				if (status >= "400" || status == "default") && content["application/problem+json"] == nil {
					t.Errorf("%s %s: answer %s is no problem: %v", method, path, status, r)
				}
			}
		}
	}
	for _, path := range []string{"/status", "/api/v1/stats", "/api/v1/devices", "/api/v1/devices/{id}", "/api/v1/profiles/{id}", "/api/v1/zones/{id}", "/api/v1/state",
		"/api/v1/series", "/api/v1/events", "/api/v1/alarms", "/api/v1/rules", "/api/v1/rules/{id}", "/api/v1/rules/check", "/api/v1/export",
		"/api/v1/gateways", "/api/v1/gateways/{id}", "/api/v1/radio/devices", "/api/v1/radio/devices/{id}"} {
		if doc["paths"].(map[string]any)[path] == nil {
			t.Errorf("%s is not described", path)
		}
	}
}

func BenchmarkState(b *testing.B) {
	registry := devices.NewRegistry(&memory{}, nil)
	state := live.New(registry, nil, nil)
	for from := 0; from < 50_000; from += 2500 {
		var o batch.Observations
		for i := range 2500 {
			h := o.Begin(1, 1, "lighting", fmt.Sprintf("pole-%06d", from+i))
			for _, m := range []string{"power_w", "dimming", "voltage_v", "current_a", "on"} {
				o.Append(h, m, float64(i), "", 0)
			}
		}
		state.Apply(&o)
	}
	h := New(Config{State: state, Registry: registry})
	for b.Loop() {
		r := httptest.NewRequest("GET", "/api/v1/state?domain=lighting&limit=1000", nil)
		r.Host = "localhost"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != 200 || w.Body.Len() < 100_000 {
			b.Fatalf("%d, %d bytes", w.Code, w.Body.Len())
		}
	}
}

func TestReplay(t *testing.T) {
	var asked ReplayQuery
	s := newSite(t, func(c *Config) {
		c.Replay = func(_ context.Context, q ReplayQuery) (Replayed, error) {
			asked = q
			return Replayed{Read: 3, Decoded: 2, Rejected: map[string]int64{"syntax": 1}}, nil
		}
	})
	w := s.ask("POST", "/api/v1/rejected/replay", `{"from":"2026-01-01T00:00:00Z","reasons":["no_codec"],"dry_run":true}`)
	if w.Code != 200 || !strings.Contains(w.Body.String(), `"decoded":2`) || !strings.Contains(w.Body.String(), `"syntax":1`) {
		t.Errorf("%d %s, want what came of it", w.Code, w.Body)
	}
	if asked.From.Year() != 2026 || !asked.To.IsZero() || len(asked.Reasons) != 1 || !asked.DryRun {
		t.Errorf("asked for %+v", asked)
	}
	without := newSite(t, func(c *Config) { c.Replay = nil })
	wantProblem(t, without.ask("POST", "/api/v1/rejected/replay", `{}`), "/api/v1/rejected/replay", 501, "does not have it")
}

// TestBodiesThatAreNone sends what is no JSON to every operation that reads it: 400, as a problem, and 400 is in the
// description.
func TestBodiesThatAreNone(t *testing.T) {
	var doc struct {
		Paths map[string]map[string]struct {
			RequestBody *struct {
				Content map[string]any
			}
			Responses map[string]any
		}
	}
	s := newSite(t, nil)
	if err := json.Unmarshal(s.ask("GET", "/openapi.json", "").Body.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	id := regexp.MustCompile(`\{\w+\}`)
	n := 0
	for path, item := range doc.Paths {
		for method, op := range item {
			if op.RequestBody == nil || op.RequestBody.Content["application/json"] == nil || op.RequestBody.Content["application/yaml"] != nil {
				continue // what begins with a brace may be YAML
			}
			path := id.ReplaceAllString(strings.ReplaceAll(path, "{action}", "ack"), "x")
			w := s.ask(strings.ToUpper(method), path, `{"a":`, "Content-Type", "application/json")
			if w.Code != 400 && w.Code != 501 || w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s %s: %d %s", method, path, w.Code, w.Body)
			}
			if w.Code == 400 {
				n++
			}
			if op.Responses["400"] == nil {
				t.Errorf("%s %s: 400 is not described", method, path)
			}
		}
	}
	if n < 5 {
		t.Errorf("%d operations refused it with 400", n)
	}
}

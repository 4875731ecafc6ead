package api

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"panormus/controlroom/auth"
	"panormus/controlroom/auth/accounts"
	"panormus/controlroom/auth/accounts/accountstest"
	"panormus/controlroom/auth/login"
	"panormus/controlroom/claims"
	"panormus/devices"
	"panormus/stream/alarms"
	"panormus/stream/audit"
	"panormus/stream/batch"
	"panormus/stream/notify/cap"
	"panormus/stream/rules"
)

// TestEveryRouteHasARule looks at all that is registered, described or not.
func TestEveryRouteHasARule(t *testing.T) {
	routes := (&login.Desk{OIDC: &login.OIDC{}}).Routes()
	maps.Copy(routes, (&claims.Desk{}).Routes())
	a := newAPI(Config{Registry: devices.NewRegistry(&memory{}, nil), Feed: http.NotFoundHandler(), Gatherer: prometheus.NewRegistry(), Routes: routes})
	if len(a.mux.patterns) < 50 {
		t.Fatalf("%d routes; the test looks at nothing", len(a.mux.patterns))
	}
	for _, p := range a.mux.patterns {
		if _, ok := auth.RouteRule(p); !ok {
			t.Errorf("%s has no rule: add it to routes in controlroom/auth/policy.go", p)
		}
	}
	for _, p := range auth.RouteNames() {
		if p != auth.PageRoute && !slices.Contains(a.mux.patterns, p) {
			t.Errorf("%s has a rule and is no route", p)
		}
	}
	for path, item := range a.huma.OpenAPI().Paths {
		for method, op := range map[string]bool{"GET": item.Get != nil, "PUT": item.Put != nil, "POST": item.Post != nil, "DELETE": item.Delete != nil, "PATCH": item.Patch != nil} {
			if op && !slices.Contains(a.mux.patterns, method+" "+path) {
				t.Errorf("%s %s is described and was not seen", method, path)
			}
		}
	}
}

// entrants are tokens of those who are let in, by name.
func entrants(t *testing.T, grants map[string]string) (auth.Authenticator, map[string]string) {
	t.Helper()
	var lines []string
	secrets := map[string]string{}
	for name, words := range grants {
		token, line, err := auth.NewToken(name)
		if err != nil {
			t.Fatal(err)
		}
		secrets[name], lines = token, append(lines, line+" "+words)
	}
	tokens, err := auth.ReadTokens(strings.NewReader(strings.Join(lines, "\n")))
	if err != nil {
		t.Fatal(err)
	}
	return tokens, secrets
}

// TestRolesAtTheDoor asks every route as every role, over HTTP: 403 where the rule says so and nowhere else.
func TestRolesAtTheDoor(t *testing.T) {
	who, secrets := entrants(t, map[string]string{
		"viewer": "role=viewer", "scoped": "role=viewer areas=lighting", "operator": "role=operator", "domain_operator": "role=domain_operator areas=lighting",
		"supervisor": "role=supervisor", "supervisor of a part": "role=supervisor areas=lighting", "data_protection": "role=data_protection", "admin": "role=admin",
		"agency": "role=agency areas=safety share=alarms expires=2999-01-01",
	})
	s := newSite(t, func(c *Config) { c.Who = who })
	a := newAPI(Config{Registry: s.registry, Feed: http.NotFoundHandler(), Gatherer: prometheus.NewRegistry()})
	id := regexp.MustCompile(`\{\w+\}`)
	for name, secret := range secrets {
		asked := httptest.NewRequest("GET", "/", nil)
		asked.Header.Set("Authorization", "Bearer "+secret)
		p, _ := who.Authenticate(asked)
		for _, pattern := range append(slices.Clone(a.mux.patterns), "GET /", "GET /assets/x.js") {
			method, path, _ := strings.Cut(pattern, " ")
			path = id.ReplaceAllString(path, "x")
			rule, ok := auth.RouteRule(pattern)
			if !ok {
				rule, _ = auth.RouteRule(auth.PageRoute)
			}
			why := rule.Lets(&p)
			w := s.ask(method, path, "", "Authorization", "Bearer "+secret)
			if (w.Code == 403) != (why != "") || w.Code == 401 || w.Code == 403 && !strings.Contains(w.Body.String(), why) {
				t.Errorf("%s: %s: %d %s; the rule says %q", name, pattern, w.Code, w.Body, why)
			}
			if w := s.ask(method, path, ""); (w.Code == 401) != (rule.Need != auth.Public) {
				t.Errorf("nobody: %s: %d", pattern, w.Code)
			}
		}
	}
}

// cityPast is a database that keeps to what it is asked for.
type cityPast struct {
	past
	events EventQuery
	export ExportQuery
}

func (p *cityPast) Events(_ context.Context, q EventQuery, limit int, cursor string) ([]batch.Event, string, error) {
	p.events = q
	return nil, "", nil
}

func (p *cityPast) Event(_ context.Context, id string) (*batch.Event, error) {
	domain, zone, _ := strings.Cut(id, ".")
	return &batch.Event{ID: id, Rule: "hot", Domain: domain, Zone: zone, Device: "lamp-1", Time: time.Unix(5, 0).UTC()}, nil
}

func (p *cityPast) Export(_ context.Context, w io.Writer, q ExportQuery) error {
	p.export = q
	_, err := io.WriteString(w, "x")
	return err
}

// TestNothingLeaks has a domain operator of the lighting of one zone, and an agency with one camera, try
// to see what is not theirs on every path.
func TestNothingLeaks(t *testing.T) {
	who, secrets := entrants(t, map[string]string{
		"operator": "role=domain_operator areas=lighting@centro", "police": "role=agency areas=safety cameras=cam-1 share=events,alarms,cameras expires=2999-01-01",
		"all": "role=admin", "lead": "role=supervisor areas=safety@centro cameras=cam-1", "whole": "role=operator",
	})
	p := &cityPast{}
	book := &ledger{}
	heard := &air{}
	var tried *Within
	mine, other := raised("hot", "lamp-1", "major", 9), raised("hot", "lamp-2", "major", 8)
	mine.Zone, other.Zone = "centro", "mondello"
	crowd, crowd2 := raised("crowd", "cam-1", "major", 7), raised("crowd", "cam-2", "major", 6)
	crowd.Domain, crowd.Zone, crowd2.Domain, crowd2.Zone = "safety", "centro", "safety", "centro"
	s, desk := alarmed(t, func(c *Config) {
		c.Who, c.Events, c.Export, c.Series, c.Audit, c.AlarmLog = who, p, p, p, audit.New(book), rowsOf{}
		c.Radio = heard
		c.Backtest = func(_ context.Context, r *rules.Rule, from, to time.Time, in *Within) (*rules.BacktestResult, error) {
			tried = in
			return &rules.BacktestResult{Rule: r, From: from, To: to, Step: time.Hour}, nil
		}
		c.Warnings = func() []cap.Alarm {
			var out []cap.Alarm
			for _, e := range []batch.Event{mine, other, crowd, crowd2} {
				out = append(out, cap.Alarm{ID: alarms.ID(e.Rule, e.Key), Rule: e.Rule, Severity: e.Severity, Raised: e.Time, Domain: e.Domain, Device: e.Device, Zone: e.Zone, Text: e.Device})
			}
			return out
		}
	}, mine, other, crowd, crowd2)
	const camera = `"camera":{"purpose":"crowd_safety","legal_basis":"x","controller":"y","dpia_ref":"z"}`
	for id, body := range map[string]string{
		"lamp-1": `{"domain":"lighting","zone":"centro","lat":38.1,"lon":13.3}`, "lamp-2": `{"domain":"lighting","zone":"mondello","lat":38.1,"lon":13.3}`,
		"bin-1": `{"domain":"waste","zone":"centro","lat":38.1,"lon":13.3}`, "cam-1": `{"domain":"safety","zone":"centro",` + camera + `}`, "cam-2": `{"domain":"safety","zone":"centro",` + camera + `}`,
		"gw-a": `{"domain":"lorawan","name":"Cattedrale"}`, "gw-b": `{"domain":"lorawan","zone":"mondello","name":"Porto"}`,
	} {
		if w := s.ask("PUT", "/api/v1/devices/"+id, body, "Authorization", "Bearer "+secrets["all"]); w.Code != 200 {
			t.Fatalf("%s: %d %s", id, w.Code, w.Body)
		}
	}
	var o batch.Observations
	for _, id := range []string{"lamp-1", "lamp-2", "bin-1", "cam-1", "cam-2", "stray"} {
		o.Append(o.Begin(1_700_000_000_000, 1_700_000_000_000, "lighting", id), "power_w", 1, "", 0)
	}
	s.state.Apply(&o)
	ask := func(name, method, path, body string) *httptest.ResponseRecorder {
		t.Helper()
		return s.ask(method, path, body, "Authorization", "Bearer "+secrets[name])
	}
	hidden := regexp.MustCompile(`lamp-2|bin-1|cam-\d|stray|mondello`)
	after := base64.RawURLEncoding.EncodeToString([]byte("ilamp-1"))
	first := base64.RawURLEncoding.EncodeToString([]byte("ia"))
	for _, path := range []string{
		"/api/v1/state", "/api/v1/state?zone=mondello", "/api/v1/state?domain=waste,lighting,safety", "/api/v1/state?bbox=13,38,14,39", "/api/v1/state?limit=1", "/api/v1/state?cursor=" + first, "/api/v1/state?cursor=" + after,
		"/api/v1/devices", "/api/v1/devices?zone=mondello", "/api/v1/devices?q=bin", "/api/v1/devices?format=csv", "/api/v1/devices?format=geojson", "/api/v1/devices?limit=1", "/api/v1/devices?cursor=" + after,
		"/api/v1/alarms", "/api/v1/alarms?zone=mondello", "/api/v1/alarms?device=lamp-2", "/api/v1/alarms?limit=1", "/api/v1/cap", "/api/v1/cameras",
	} {
		w := ask("operator", "GET", path, "")
		if w.Code != 200 || hidden.MatchString(w.Body.String()) {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
	for path, sees := range map[string]string{"/api/v1/state": "lamp-1", "/api/v1/devices": "lamp-1", "/api/v1/alarms": `"total":1`, "/api/v1/cap": "lamp-1"} {
		if w := ask("operator", "GET", path, ""); !strings.Contains(w.Body.String(), sees) {
			t.Errorf("%s does not show what is theirs: %s", path, w.Body)
		}
	}
	otherAlarm, myAlarm := alarms.ID("hot", "lamp-2"), alarms.ID("hot", "lamp-1")
	for _, path := range []string{
		"/api/v1/devices/lamp-2", "/api/v1/devices/bin-1", "/api/v1/devices/lamp-2/readings", "/api/v1/devices/stray", "/api/v1/series?device=lamp-2&metric=power_w", "/api/v1/series?device=stray&metric=power_w", "/api/v1/series?device=none&metric=power_w",
		"/api/v1/events/waste.centro", "/api/v1/events/lighting.mondello", "/api/v1/alarms/" + otherAlarm, "/api/v1/alarms/" + otherAlarm + "/log", "/api/v1/alarms/forgotten/log",
		"/api/v1/cap/" + otherAlarm, "/api/v1/cameras/cam-1", "/api/v1/cameras/cam-1/counts",
	} {
		w := ask("operator", "GET", path, "")
		if path == "/api/v1/cameras/cam-1/counts" && w.Code == 501 { // before it is looked for
			continue
		}
		if w.Code != 404 {
			t.Errorf("%s: %d %s, want 404", path, w.Code, w.Body)
		}
	}
	for _, path := range []string{"/api/v1/devices/lamp-1", "/api/v1/devices/lamp-1/readings", "/api/v1/series?device=lamp-1&metric=power_w", "/api/v1/events/lighting.centro", "/api/v1/alarms/" + myAlarm, "/api/v1/alarms/" + myAlarm + "/log", "/api/v1/cap/" + myAlarm} {
		if w := ask("operator", "GET", path, ""); w.Code != 200 {
			t.Errorf("%s: %d %s, want 200", path, w.Code, w.Body)
		}
	}
	// What is acted on.
	if w := ask("operator", "POST", "/api/v1/alarms/"+otherAlarm+"/ack", ""); w.Code != 404 {
		t.Errorf("ack of another zone's: %d %s", w.Code, w.Body)
	}
	w := ask("operator", "POST", "/api/v1/alarms/actions", fmt.Sprintf(`{"action":"ack","ids":[%q,%q,"none",%q]}`, otherAlarm, myAlarm, otherAlarm))
	var many alarmResults
	if err := json.Unmarshal(w.Body.Bytes(), &many); err != nil || many.Done != 1 || len(many.Results) != 3 || many.Results[0].Status != 404 || many.Results[1].Status != 200 || many.Results[0].State != "" {
		t.Errorf("many: %d %s", w.Code, w.Body)
	}
	if r, _ := desk.Get(otherAlarm); r.AckedBy != "" {
		t.Errorf("another zone's alarm was acknowledged by %s", r.AckedBy)
	}
	// What the database is asked.
	ask("operator", "GET", "/api/v1/events?zone=mondello", "")
	if q := p.events.Within; q == nil || len(q.Areas) != 1 || q.Areas[0] != [2]string{"lighting", "centro"} {
		t.Errorf("events within %+v", q)
	}
	ask("operator", "GET", "/api/v1/export?table=observations", "")
	if q := p.export.Within; q == nil || !slices.Equal(q.Devices, []string{"lamp-1"}) {
		t.Errorf("export within %+v", q)
	}
	ask("operator", "GET", "/api/v1/export?table=alarm_log", "")
	if q := p.export.Within; q == nil || q.Areas[0] != [2]string{"lighting", "centro"} {
		t.Errorf("export of what happened to alarms within %+v", q)
	}
	for _, table := range []string{"detections", "tracks"} {
		if w := ask("operator", "GET", "/api/v1/export?table="+table, ""); w.Code != 403 {
			t.Errorf("export of %s: %d", table, w.Code)
		}
		if w := ask("lead", "GET", "/api/v1/export?table="+table, ""); w.Code != 200 || p.export.Table != table || p.export.Within == nil || !slices.Equal(p.export.Within.Devices, []string{"cam-1"}) {
			t.Errorf("export of %s: %d within %+v", table, w.Code, p.export.Within)
		}
	}
	// Of what was rejected: whose devices are one's own, of cameras for those who may see what they see.
	for name, devices := range map[string][]string{"operator": {"lamp-1"}, "lead": {"cam-1"}, "whole": {"bin-1", "gw-a", "gw-b", "lamp-1", "lamp-2"}} {
		p.export = ExportQuery{}
		if w := ask(name, "GET", "/api/v1/export?table=rejected", ""); w.Code != 200 || p.export.Within == nil || !slices.Equal(p.export.Within.Devices, devices) {
			t.Errorf("%s: export of rejected: %d within %+v, want %v", name, w.Code, p.export.Within, devices)
		}
	}
	if w := ask("all", "GET", "/api/v1/export?table=rejected", ""); w.Code != 200 || p.export.Within != nil {
		t.Errorf("an admin's export of rejected: %d within %+v", w.Code, p.export.Within)
	}
	for path, status := range map[string]int{"/api/v1/cameras/cam-1/tracks": 501, "/api/v1/cameras/cam-2/tracks": 404, "/api/v1/audit": 403, "/api/v1/plates/lists": 403, "/api/v1/claims": 403, "/api/v1/notify/routes": 403} {
		if w := ask("lead", "GET", path, ""); w.Code != status && !(status == 404 && w.Code == 501) {
			t.Errorf("a supervisor of a part: %s: %d %s, want %d", path, w.Code, w.Body, status)
		}
	}
	for _, change := range []string{"/api/v1/rules/x", "/api/v1/maintenance/x"} {
		if w := ask("lead", "PUT", change, "{}"); w.Code != 403 {
			t.Errorf("a supervisor of a part: PUT %s: %d", change, w.Code)
		}
	}
	if w := ask("lead", "POST", "/api/v1/rules/x/backtest", `{"from":"2026-03-01T00:00:00Z","to":"2026-03-02T00:00:00Z","rule":{"on":"detections","when":"score > 0.5"}}`); w.Code != 200 || tried == nil || !slices.Equal(tried.Devices, []string{"cam-1"}) {
		t.Errorf("a supervisor's backtest: %d %s, within %+v", w.Code, w.Body, tried)
	}
	for _, path := range []string{"/api/v1/gateways", "/api/v1/gateways/gw-b", "/api/v1/radio/devices", "/api/v1/radio/devices?gateway=gw-b", "/api/v1/radio/devices/lamp-1"} {
		heard.asked, heard.in = RadioQuery{}, nil
		w := ask("operator", "GET", path, "")
		if q := cmp.Or(heard.in, heard.asked.Within); w.Code != 200 || q == nil || !slices.Equal(q.Devices, []string{"lamp-1"}) || strings.Contains(w.Body.String(), "Porto") {
			t.Errorf("%s: %d %s, asked within %+v", path, w.Code, w.Body, q)
		}
	}
	// A gateway elsewhere that heard nothing is none.
	for _, id := range []string{"gw-a", "none"} {
		if w := ask("operator", "GET", "/api/v1/gateways/"+id, ""); w.Code != 404 {
			t.Errorf("gateway %s: %d %s", id, w.Code, w.Body)
		}
	}
	if w := ask("operator", "GET", "/api/v1/gateways", ""); strings.Contains(w.Body.String(), "gw-a") {
		t.Errorf("gateways: %s", w.Body)
	}
	const day = `{"from":"2026-03-01T00:00:00Z","to":"2026-03-02T00:00:00Z","rule":`
	if w := ask("operator", "POST", "/api/v1/rules/x/backtest", day+`{"when":"power_w > 1"}}`); w.Code != 200 || tried == nil || !slices.Equal(tried.Devices, []string{"lamp-1"}) || tried.Areas[0] != [2]string{"lighting", "centro"} {
		t.Errorf("a backtest: %d %s, within %+v", w.Code, w.Body, tried)
	}
	for _, rule := range []string{`{"on":"detections","when":"score > 0.5"}`, `{"sequence":[{"as":"a","on":"observations","when":"power_w > 1"},{"as":"b","on":"tracks","within":"1m","when":"score > 0.5"}]}`} {
		if w := ask("operator", "POST", "/api/v1/rules/x/backtest", day+rule+`}`); w.Code != 403 || !strings.Contains(w.Body.String(), "tracks.read") {
			t.Errorf("a backtest of %s: %d %s", rule, w.Code, w.Body)
		}
	}
	if w := ask("all", "POST", "/api/v1/rules/x/backtest", day+`{"on":"detections","when":"score > 0.5"}}`); w.Code != 200 || tried != nil {
		t.Errorf("an admin's backtest: %d %s, within %+v", w.Code, w.Body, tried)
	}
	if last := string(book.entries[len(book.entries)-1]); !strings.Contains(last, `"actor":"all","action":"rule.tried","object":"rule/x"`) {
		t.Errorf("who tries a rule on detections is not noted: %s", last)
	}
	// The agency.
	for path, status := range map[string]int{"/api/v1/state": 403, "/api/v1/devices": 403, "/api/v1/export?table=events": 403, "/api/v1/stats": 403, "/api/v1/cameras/cam-2": 404, "/api/v1/cameras/cam-1": 200, "/api/v1/cameras": 200, "/api/v1/alarms": 200, "/api/v1/events": 200} {
		w := ask("police", "GET", path, "")
		if w.Code != status || regexp.MustCompile(`cam-2"|lamp`).MatchString(w.Body.String()) && status == 200 {
			t.Errorf("agency: %s: %d %s, want %d", path, w.Code, w.Body, status)
		}
	}
	if q := p.events.Within; q == nil || !slices.Equal(q.Except, []string{"cam-2"}) || q.Areas[0] != [2]string{"safety", ""} {
		t.Errorf("the agency's events within %+v", q)
	}
	var reads int
	for _, e := range book.entries {
		if strings.Contains(string(e), `"actor":"police","action":"agency.read"`) {
			reads++
		}
		for _, secret := range secrets {
			if strings.Contains(string(e), secret) {
				t.Errorf("the audit log holds a token: %s", e)
			}
		}
	}
	if reads != 5 { // each path that was let in
		t.Errorf("%d reads of the agency in the audit log, want 5", reads)
	}
}

type rowsOf struct{}

func (rowsOf) AlarmLog(context.Context, string, int) ([]batch.AlarmRow, error) { return nil, nil }

func TestMe(t *testing.T) {
	who, secrets := entrants(t, map[string]string{"rosalia": "role=domain_operator areas=lighting@centro expires=2999-01-01"})
	var got struct {
		Name, Role, Via, Expires string
		Scope                    *auth.Scope
		Permissions              []string
	}
	w := newSite(t, func(c *Config) { c.Who = who }).ask("GET", "/api/v1/me", "", "Authorization", "Bearer "+secrets["rosalia"])
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Name != "rosalia" || got.Role != "domain_operator" || got.Via != "token" || got.Scope.Areas[0].Zone != "centro" ||
		!slices.Contains(got.Permissions, "alarms.act") || slices.Contains(got.Permissions, "audit.read") || !strings.HasPrefix(got.Expires, "2999") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	got.Name, got.Scope = "", nil
	if newSite(t, nil).get("/api/v1/me", &got); got.Via != "open" || got.Name != "" || got.Scope != nil || !slices.Contains(got.Permissions, "audit.read") {
		t.Errorf("where nobody has to say who they are: %+v", got)
	}
}

// TestChangesAreNoted changes things and finds each in the audit log; without one nothing is changed.
func TestChangesAreNoted(t *testing.T) {
	book := &ledger{}
	s := newSite(t, func(c *Config) { c.Audit, c.Rules = audit.New(book), &rules.Store{Bucket: &memory{}, Defaults: true} })
	s.put("/api/v1/devices/pole-7", `{"domain":"lighting","secret":"hunter2-hunter2"}`)
	s.ask("GET", "/api/v1/export?table=events", "")
	s.ask("DELETE", "/api/v1/devices/pole-7", "")
	want := []string{`"actor":"local","action":"device.put","object":"/api/v1/devices/pole-7"`, `"action":"export","object":"/api/v1/export","detail":{"query":"table=events","request":"`, `"action":"device.deleted"`}
	if len(book.entries) != len(want) {
		t.Fatalf("%s", book.entries)
	}
	for i, e := range book.entries {
		if !strings.Contains(string(e), want[i]) || strings.Contains(string(e), "hunter2") {
			t.Errorf("%s, want %s", e, want[i])
		}
	}
	book.away = io.ErrClosedPipe
	if w := s.ask("PUT", "/api/v1/devices/pole-8", `{"domain":"lighting"}`); w.Code != 503 || s.registry.Lookup("pole-8") != nil {
		t.Errorf("without an audit log: %d %s", w.Code, w.Body)
	}
	if w := s.ask("GET", "/api/v1/devices", ""); w.Code != 200 {
		t.Errorf("what is not noted does not need it: %d", w.Code)
	}
}

func TestAccounts(t *testing.T) {
	book := accounts.New(accounts.Config{Accounts: &accountstest.Bucket{}, Sessions: &accountstest.Bucket{}})
	accountstest.Run(t, book.Run)
	log := &ledger{}
	s := newSite(t, func(c *Config) { c.Who, c.Accounts, c.Audit = book, book, audit.New(log) })
	const path = "/api/v1/users"
	wantProblem(t, s.ask("PUT", path+"/vito", `{"role":"viewer","password":"long enough for vito"}`), path+"/vito", 409, "no admin")
	wantProblem(t, s.ask("PUT", path+"/rosalia", `{"role":"king","password":"long enough for all"}`), path+"/rosalia", 422, "king")
	wantProblem(t, s.ask("PUT", path+"/rosalia", `{"role":"admin","password":"short"}`), path+"/rosalia", 422, "12 to 256")
	wantProblem(t, s.ask("PUT", path+"/rosalia", `{"role":"admin"}`), path+"/rosalia", 422, "no password")
	if w := s.ask("PUT", path+"/rosalia", `{"role":"admin","password":"long enough for all"}`); w.Code != 200 || strings.Contains(w.Body.String(), "argon2") || strings.Contains(w.Body.String(), "long enough") {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	wantProblem(t, s.ask("GET", path, ""), path, 401) // from now on
	secret, err := book.Login(t.Context(), "rosalia", "long enough for all", "", "192.0.2.1:1")
	if err != nil {
		t.Fatal(err)
	}
	cookie := []string{"Cookie", "__Host-panormus=" + secret}
	ask := func(method, path, body string) *httptest.ResponseRecorder {
		t.Helper()
		return s.ask(method, path, body, cookie...)
	}
	w := ask("PUT", path+"/vito", `{"role":"domain_operator","scope":{"areas":[{"domain":"lighting","zone":"centro"}]},"password":"long enough for vito","totp":true}`)
	if w.Code != 200 || !strings.Contains(w.Body.String(), "otpauth://") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w = ask("GET", path+"?limit=1000", "")
	if body := w.Body.String(); w.Code != 200 || !strings.Contains(body, `"name":"vito","role":"domain_operator","scope":{"areas":[{"domain":"lighting","zone":"centro"}]}`) || regexp.MustCompile("argon2|otpauth|long enough|mark").MatchString(body) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w = ask("PUT", "/api/v1/tokens/grafana", `{"role":"viewer","expires":"2999-01-01T00:00:00Z"}`)
	var made tokenItem
	if err := json.Unmarshal(w.Body.Bytes(), &made); err != nil || len(made.Token) != 43 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	bearer := []string{"Authorization", "Bearer " + made.Token}
	if w := s.ask("GET", "/api/v1/state", "", bearer...); w.Code != 200 {
		t.Errorf("the new token: %d", w.Code)
	}
	wantProblem(t, s.ask("PUT", path+"/mallory", `{"role":"admin","password":"long enough for all"}`, bearer...), path+"/mallory", 403, "access.manage")
	if w := ask("GET", "/api/v1/tokens", ""); w.Code != 200 || strings.Contains(w.Body.String(), made.Token) || !strings.Contains(w.Body.String(), "grafana") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ask("DELETE", "/api/v1/tokens/grafana", ""); w.Code != 204 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	wantProblem(t, s.ask("GET", "/api/v1/state", "", bearer...), "/api/v1/state", 401)
	wantProblem(t, ask("DELETE", path+"/rosalia", ""), path+"/rosalia", 409, "no admin")
	wantProblem(t, ask("DELETE", path+"/nobody", ""), path+"/nobody", 404)
	if w := ask("DELETE", path+"/vito", ""); w.Code != 204 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ask("DELETE", "/api/v1/sessions/rosalia", ""); w.Code != 204 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	wantProblem(t, ask("GET", path, ""), path, 401) // she has ended her own
	all := ""
	for _, e := range log.entries {
		all += string(e) + "\n"
	}
	for _, want := range []string{`"actor":"local","action":"user.put","object":"user/rosalia"`, `"actor":"rosalia","action":"user.put","object":"user/vito"`, `"action":"token.put","object":"token/grafana"`, `"action":"user.deleted"`, `"action":"sessions.ended"`} {
		if !strings.Contains(all, want) {
			t.Errorf("the audit log lacks %s:\n%s", want, all)
		}
	}
	if regexp.MustCompile("long enough|argon2|otpauth|" + made.Token).MatchString(all) {
		t.Errorf("the audit log holds a secret:\n%s", all)
	}
}

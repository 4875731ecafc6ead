package api

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"panormus/controlroom/auth"
)

// nobody knows those whose Authorization is "Bearer " and a name.
type byName struct{}

func (byName) Authenticate(r *http.Request) (auth.Principal, bool) {
	name, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	return auth.Principal{Name: name, Grant: auth.Grant{Role: auth.Admin}, Via: "token"}, ok
}

func (byName) Still(*auth.Principal) bool { return true }

func TestRequestsAreCounted(t *testing.T) {
	s := newSite(t, func(c *Config) {
		c.Who, c.Limits = byName{}, Limits{PerMinute: 3, Local: 0}
	})
	for _, who := range []string{"ann", "ben", ""} {
		header := []string{"Authorization", "Bearer " + who}
		status := 200
		if who == "" {
			header, status = nil, 401 // who is not known is counted by address
		}
		for i := range 3 {
			w := s.ask("GET", "/api/v1/stats", "", header...)
			h := w.Header()
			if w.Code != status || h.Get("X-RateLimit-Limit") != "3" || h.Get("X-RateLimit-Remaining") != strconv.Itoa(2-i) || h.Get("X-RateLimit-Reset") == "" || h.Get("Retry-After") != "" {
				t.Errorf("%q, request %d: %d %v", who, i, w.Code, h)
			}
		}
		w := s.ask("GET", "/api/v1/stats", "", header...)
		wantProblem(t, w, "/api/v1/stats", 429, "more than 3 requests a minute")
		h := w.Header()
		wait, err := strconv.Atoi(h.Get("Retry-After"))
		if err != nil || wait < 1 || wait > 20 || h.Get("X-RateLimit-Reset") != h.Get("Retry-After") || h.Get("X-RateLimit-Remaining") != "0" {
			t.Errorf("%q: %v, want to wait 1 to 20 s", who, h)
		}
	}
	for _, path := range []string{"/", "/metrics", "/ws/v1/feed"} {
		if w := s.ask("GET", path, "", "Authorization", "Bearer ann"); w.Code != 200 || w.Header().Get("X-RateLimit-Limit") != "" {
			t.Errorf("%s: %d, X-RateLimit-Limit %q; want 200, not counted", path, w.Code, w.Header().Get("X-RateLimit-Limit"))
		}
	}
}

func TestOptions(t *testing.T) {
	s := newSite(t, nil)
	w := s.ask("OPTIONS", lamp, "")
	if w.Code != 204 || w.Header().Get("Allow") != "DELETE, GET, HEAD, PUT, OPTIONS" {
		t.Errorf("%d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
	wantProblem(t, s.ask("OPTIONS", "/api/v1/nothing", ""), "/api/v1/nothing", 404, "")
	if w := s.ask("HEAD", "/api/v1/devices", ""); w.Code != 200 || w.Header().Get("ETag") == "" {
		t.Errorf("HEAD: %d, ETag %q", w.Code, w.Header().Get("ETag"))
	}
	if w := s.ask("PATCH", lamp, "{}"); w.Code != 405 || w.Header().Get("Allow") != "DELETE, GET, HEAD, PUT, OPTIONS" {
		t.Errorf("PATCH: %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
}

func TestPagesElsewhere(t *testing.T) {
	const there = "https://dati.example.it"
	s := newSite(t, func(c *Config) { c.Origins = []string{there} })
	ask := func(method, path, origin string, header ...string) http.Header {
		w := s.ask(method, path, "", append(header, "Origin", origin, "Sec-Fetch-Site", "cross-site")...)
		w.Header().Set("status", strconv.Itoa(w.Code))
		return w.Header()
	}
	h := ask("GET", "/api/v1/devices", there)
	if h.Get("status") != "200" || h.Get("Access-Control-Allow-Origin") != there || h.Get("Access-Control-Allow-Credentials") != "" || !strings.Contains(strings.Join(h.Values("Vary"), ","), "Origin") {
		t.Errorf("a page that may read: %v", h)
	}
	h = ask("OPTIONS", "/api/v1/devices", there, "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization")
	if h.Get("status") != "204" || h.Get("Access-Control-Allow-Methods") != "GET, HEAD" || !strings.Contains(h.Get("Access-Control-Allow-Headers"), "Authorization") {
		t.Errorf("asked before: %v", h)
	}
	if h := ask("DELETE", lamp, there); h.Get("status") != "403" {
		t.Errorf("a page elsewhere deletes: %v", h)
	}
	for _, origin := range []string{"https://other.example.it", "null", there + ".example.org"} {
		if h := ask("GET", "/api/v1/devices", origin); h.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("origin %s: %v", origin, h)
		}
	}
	if h := newSite(t, nil).ask("GET", "/api/v1/devices", "", "Origin", there).Header(); h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("without origins: %v", h)
	}
}

func TestMediaTypesOfBodies(t *testing.T) {
	s := newSite(t, nil)
	device := `{"domain":"lighting"}`
	for _, tc := range []struct {
		path, media, body string
		status            int
	}{
		{lamp, "application/json; charset=utf-8", device, 200},
		{lamp, "", device, 200},
		{lamp, curlSays, device, 200},
		{lamp, "text/xml", device, 415},
		{lamp, "multipart/form-data; boundary=x", device, 415},
		{lamp, "nonsense;;", device, 415},
		{"/api/v1/rules/r", "text/yaml", "when: a > 1\ndomain: lighting\nseverity: major\n", 200},
		{"/api/v1/rules/r", "text/html", "when: a > 1\n", 415},
	} {
		w := s.ask("PUT", tc.path, tc.body, "Content-Type", tc.media)
		if w.Code != tc.status {
			t.Errorf("%s as %q: %d %s, want %d", tc.path, tc.media, w.Code, w.Body, tc.status)
		} else if w.Code == 415 {
			wantProblem(t, w, tc.path, 415, "want application/")
		}
	}
	wantProblem(t, s.ask("PUT", lamp, device, "Content-Encoding", "gzip"), lamp, 415, `"gzip"`, "not packed")
}

func TestRequestsHaveIDs(t *testing.T) {
	s := newSite(t, nil)
	for _, path := range []string{"/api/v1/nothing", "/api/v1/devices/none", "/api/v1/devices?limit=0"} {
		for given, keep := range map[string]bool{"": false, "trace-1.a_B": true, "has space": false, strings.Repeat("x", 65): false, "läuft": false} {
			w := s.ask("GET", path, "", "X-Request-Id", given)
			id := w.Header().Get("X-Request-Id")
			var p struct{ Request string }
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Request != id || id == "" || keep != (id == given) {
				t.Errorf("%s, X-Request-Id %q: header %q, problem %q, %v", path, given, id, p.Request, err)
			}
		}
	}
}

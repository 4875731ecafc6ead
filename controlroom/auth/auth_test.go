package auth

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestCheckListeners(t *testing.T) {
	for _, tc := range []struct {
		l    Listener
		want string // "" for accepted
	}{
		{Listener{Name: "HTTP", Address: "127.0.0.1:8080"}, ""},
		{Listener{Name: "HTTP", Address: "[::1]:8080"}, ""},
		{Listener{Name: "HTTP", Address: "localhost:8080"}, ""},
		{Listener{Name: "HTTP", Address: "none"}, ""},
		{Listener{Name: "HTTP", Address: "0.0.0.0:8080"}, "HTTP at 0.0.0.0:8080 without TLS and authentication"},
		{Listener{Name: "MQTT", Address: ":1883", TLS: true}, "MQTT at :1883 without authentication"},
		{Listener{Name: "MQTT", Address: "10.0.0.1:1883", Auth: true}, "without TLS"},
		{Listener{Name: "MQTT", Address: "city.example:1883", TLS: true, Auth: true}, ""},
	} {
		err := CheckListeners(false, tc.l)
		if (err == nil) != (tc.want == "") || err != nil && (!strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "--insecure")) {
			t.Errorf("%+v: %v, want %q", tc.l, err, tc.want)
		}
		if err := CheckListeners(true, tc.l); err != nil {
			t.Errorf("%+v with insecure: %v", tc.l, err)
		}
	}
}

func TestTokens(t *testing.T) {
	token, line, err := NewToken("grafana")
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := ReadTokens(strings.NewReader("# who\n\n" + line + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		set  func(*http.Request)
		want string
	}{
		{"bearer", func(r *http.Request) { r.Header.Set("Authorization", "bearer "+token) }, "grafana"},
		{"basic", func(r *http.Request) { r.SetBasicAuth("grafana", token) }, "grafana"},
		{"another's name", func(r *http.Request) { r.SetBasicAuth("root", token) }, ""},
		{"wrong", func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token[1:]) }, ""},
		{"none", func(*http.Request) {}, ""},
		{"empty", func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") }, ""},
		{"other scheme", func(r *http.Request) { r.Header.Set("Authorization", "Digest "+token) }, ""},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		tc.set(r)
		got, ok := tokens.Authenticate(r)
		if got.Name != tc.want || ok != (tc.want != "") || ok && got.Role != Admin {
			t.Errorf("%s: %+v, %v; want %q", tc.name, got, ok, tc.want)
		}
	}
	other, with, _ := NewToken("viewer")
	if both, err := ReadTokens(strings.NewReader(line + "\n" + with + " role=viewer\n")); err != nil || len(both.Unnamed) != 1 || both.Unnamed[0] != "grafana" || other == token {
		t.Errorf("%v, %v; want that grafana names no role", both, err)
	}
	for _, bad := range []string{"", "# only\n", "grafana:" + token, "grafana:sha256:00", ":sha256:" + strings.Repeat("0", 64)} {
		if _, err := ReadTokens(strings.NewReader(bad)); err == nil || strings.Contains(err.Error(), token) {
			t.Errorf("%q: %v, want a refusal that does not repeat it", bad, err)
		}
	}
}

func TestGuard(t *testing.T) {
	token, line, _ := NewToken("page")
	tokens, _ := ReadTokens(strings.NewReader(line))
	open := Guard{Hosts: []string{"city.example"}}
	closed := Guard{Hosts: []string{"city.example"}, Who: tokens, Rule: func(r *http.Request) Rule {
		if r.URL.Path == "/status" {
			return Rule{Need: Public, Reach: Free}
		}
		return Rule{Need: StateRead, Reach: Free}
	}}
	for _, tc := range []struct {
		name         string
		guard        Guard
		method, path string
		host         string
		header       http.Header
		want         int
	}{
		{name: "loopback", guard: open, host: "127.0.0.1:8080", want: 200},
		{name: "localhost", guard: open, host: "LOCALHOST:1", want: 200},
		{name: "ipv6", guard: open, host: "[::1]:8080", want: 200},
		{name: "configured", guard: open, host: "City.Example", want: 200},
		{name: "address asked", guard: open, host: "192.0.2.1:8080", want: 200},
		{name: "another address", guard: open, host: "192.0.2.2:8080", want: 421},
		{name: "rebound name", guard: open, host: "attacker.example:8080", want: 421},
		{name: "looks like loopback", guard: open, host: "127.0.0.1.attacker.example", want: 421},
		{name: "no host", guard: open, host: "", want: 421},
		{name: "own page posts", guard: open, method: "POST", host: "localhost:8080", header: http.Header{"Origin": {"http://localhost:8080"}}, want: 200},
		{name: "foreign page posts", guard: open, method: "POST", host: "localhost:8080", header: http.Header{"Origin": {"http://attacker.example"}}, want: 403},
		{name: "foreign page posts, by fetch metadata", guard: open, method: "DELETE", host: "localhost:8080", header: http.Header{"Sec-Fetch-Site": {"cross-site"}}, want: 403},
		{name: "program posts", guard: open, method: "POST", host: "localhost:8080", want: 200},
		{name: "foreign page opens the feed", guard: open, host: "localhost:8080", header: http.Header{"Upgrade": {"websocket"}, "Origin": {"http://attacker.example"}}, want: 403},
		{name: "own page opens the feed", guard: open, host: "localhost:8080", header: http.Header{"Upgrade": {"websocket"}, "Origin": {"http://localhost:8080"}}, want: 200},
		{name: "sandboxed page opens the feed", guard: open, host: "localhost:8080", header: http.Header{"Upgrade": {"websocket"}, "Origin": {"null"}}, want: 403},
		{name: "without token", guard: closed, host: "city.example", want: 401},
		{name: "with token", guard: closed, host: "city.example", header: http.Header{"Authorization": {"Bearer " + token}}, want: 200},
		{name: "status without token", guard: closed, host: "city.example", path: "/status", want: 200},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if tc.path == "" {
				tc.path = "/api/v1/state"
			}
			if tc.method == "" {
				tc.method = http.MethodGet
			}
			r := httptest.NewRequest(tc.method, tc.path, nil)
			r.Host = tc.host
			if tc.header != nil {
				r.Header = tc.header
			}
			// 192.0.2.1 is where the connection came to.
			r = r.WithContext(withLocal(r, &net.TCPAddr{IP: net.ParseIP("192.0.2.1"), Port: 8080}))
			w := httptest.NewRecorder()
			name := ""
			tc.guard.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { name = Name(r.Context()) })).ServeHTTP(w, r)
			if w.Code != tc.want {
				t.Errorf("status %d, want %d: %s", w.Code, tc.want, w.Body)
			}
			if w.Code != 200 && w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("content type %q", w.Header().Get("Content-Type"))
			}
			if tc.name == "with token" && name != "page" {
				t.Errorf("the handler sees %q, want page", name)
			}
		})
	}
}

func withLocal(r *http.Request, a net.Addr) context.Context {
	return context.WithValue(r.Context(), http.LocalAddrContextKey, a)
}

// TestPagesInClear have a page without TLS open what is asked over it: anybody on the way could have written it.
func TestPagesInClear(t *testing.T) {
	for _, tc := range []struct {
		origin string
		tls    bool
		want   int
	}{
		{"https://city.example", true, 200}, {"http://city.example", true, 403}, {"http://city.example", false, 200},
		{"https://city.example", false, 200}, // a proxy before us ends TLS
	} {
		r := httptest.NewRequest("GET", "/ws/v1/feed", nil)
		r.Host = "city.example"
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set("Origin", tc.origin)
		if tc.tls {
			r.TLS = &tls.ConnectionState{}
		}
		w := httptest.NewRecorder()
		(&Guard{Hosts: []string{"city.example"}}).Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, r)
		if w.Code != tc.want {
			t.Errorf("%+v: %d", tc, w.Code)
		}
	}
}

// TestLentConnectionEndsAtItsTime has a connection of somebody who is let in until a time, between two looks.
func TestLentConnectionEndsAtItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		token, line, err := NewToken("police")
		if err != nil {
			t.Fatal(err)
		}
		lasts := 2*stillEvery + stillEvery/4
		tokens, err := ReadTokens(strings.NewReader(line + " role=agency areas=safety share=events expires=" + time.Now().Add(lasts).UTC().Format(time.RFC3339Nano)))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		g := Guard{Who: tokens, Rule: func(*http.Request) Rule { return Rule{Need: Self, Reach: Scoped, Lasts: true} }}
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = "localhost"
		r.Header.Set("Authorization", "Bearer "+token)
		g.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			if took := time.Since(began); took != lasts || !errors.Is(context.Cause(r.Context()), ErrEnded) {
				t.Errorf("it ended after %v for %v, want %v", took, context.Cause(r.Context()), lasts)
			}
		})).ServeHTTP(httptest.NewRecorder(), r)
	})
}

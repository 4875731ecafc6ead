package api

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"panormus/devices"
	"panormus/stream/log/logtest"
)

const lamp = "/api/v1/devices/lamp"

func tagged(t *testing.T, w *httptest.ResponseRecorder, status int) string {
	t.Helper()
	tag := w.Header().Get("ETag")
	if w.Code != status || len(tag) < 10 || tag[0] != '"' {
		t.Fatalf("%d, ETag %q, %s; want %d and an ETag", w.Code, tag, w.Body, status)
	}
	return tag
}

func TestKeptAnswers(t *testing.T) {
	s := newSite(t, nil)
	made := tagged(t, s.ask("PUT", lamp, `{"domain":"lighting","name":"a"}`), 200)
	for _, path := range []string{lamp, "/api/v1/devices", "/api/v1/state", "/api/v1/profiles", "/api/v1/zones", "/api/v1/rules", "/openapi.json"} {
		w := s.ask("GET", path, "")
		tag := tagged(t, w, 200)
		if w.Header().Get("Cache-Control") != "private, no-cache" || w.Header().Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s: Cache-Control %q, Vary %q", path, w.Header().Get("Cache-Control"), w.Header().Get("Vary"))
		}
		if path == lamp && tag != made {
			t.Errorf("PUT answered ETag %s, GET %s", made, tag)
		}
		for _, none := range []string{tag, "W/" + tag, `"other", ` + tag, strings.TrimSuffix(tag, `"`) + `-gz"`, "*"} {
			if w := s.ask("GET", path, "", "If-None-Match", none); w.Code != 304 || w.Body.Len() > 0 || w.Header().Get("ETag") != tag || w.Header().Get("Content-Type") != "" {
				t.Errorf("%s, If-None-Match %s: %d, %d bytes, ETag %s; want 304 and %s alone", path, none, w.Code, w.Body.Len(), w.Header().Get("ETag"), tag)
			}
		}
		for _, none := range []string{`"other"`, strings.Trim(tag, `"`), ""} {
			if w := s.ask("GET", path, "", "If-None-Match", none); w.Code != 200 {
				t.Errorf("%s, If-None-Match %q: %d, want 200", path, none, w.Code)
			}
		}
	}
	for _, path := range []string{"/status", "/api/v1/stats", "/api/v1/me", "/api/v1/export?table=events", lamp + "x"} {
		if w := s.ask("GET", path, ""); w.Header().Get("ETag") != "" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: ETag %q, Cache-Control %q; want none and no-store", path, w.Header().Get("ETag"), w.Header().Get("Cache-Control"))
		}
	}
	before := tagged(t, s.ask("GET", "/api/v1/devices", ""), 200)
	s.ask("PUT", lamp, `{"domain":"lighting","name":"b"}`)
	if after := tagged(t, s.ask("GET", "/api/v1/devices", "", "If-None-Match", before), 200); after == before {
		t.Error("the list has the same ETag after a change")
	}
}

func TestChangesOfASeenState(t *testing.T) {
	s := newSite(t, nil)
	rule := "when: power_w > 400\ndomain: lighting\nseverity: major\n"
	for _, tc := range []struct{ path, one, other string }{
		{lamp, `{"domain":"lighting","name":"a"}`, `{"domain":"lighting","name":"b"}`},
		{"/api/v1/profiles/p", `{"domain":"lighting","expected_period":"15m"}`, `{"domain":"lighting","expected_period":"1h"}`},
		{"/api/v1/zones/z", `{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[[13,38],[14,38],[14,39],[13,38]]]},"properties":{"id":"z","name":"Z","kind":"district"}}`,
			`{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[[13,38],[14,38],[14,39],[13,38]]]},"properties":{"id":"z","name":"Y","kind":"district"}}`},
		{"/api/v1/rules/r", rule, strings.ReplaceAll(rule, "400", "500")},
	} {
		t.Run(tc.path, func(t *testing.T) {
			refused := func(method, body, header, value string) {
				t.Helper()
				w := s.ask(method, tc.path, body, header, value)
				wantProblem(t, w, tc.path, 412, "")
			}
			refused("PUT", tc.one, "If-Match", "*")
			refused("DELETE", "", "If-Match", `"gone"`)
			first := tagged(t, s.ask("PUT", tc.path, tc.one, "If-None-Match", "*"), 200)
			refused("PUT", tc.one, "If-None-Match", "*")
			second := tagged(t, s.ask("PUT", tc.path, tc.other, "If-Match", first), 200)
			if first == second {
				t.Fatalf("both states have ETag %s", first)
			}
			refused("PUT", tc.one, "If-Match", first)
			refused("PUT", tc.one, "If-Match", "W/"+second)
			refused("DELETE", "", "If-Match", first)
			var p struct{ Current json.RawMessage }
			w := s.ask("PUT", tc.path, tc.one, "If-Match", first)
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || len(p.Current) < 10 || w.Header().Get("ETag") != second {
				t.Errorf("%s, ETag %s; want the state as it is, and %s", w.Body, w.Header().Get("ETag"), second)
			}
			if now := tagged(t, s.ask("GET", tc.path, ""), 200); now != second {
				t.Errorf("ETag %s after refusals, want %s", now, second)
			}
			if w := s.ask("DELETE", tc.path, "", "If-Match", second); w.Code != 204 {
				t.Errorf("DELETE: %d %s", w.Code, w.Body)
			}
		})
	}
}

// TestOneOfManyChanges lets many change the state that all of them saw: one of them does.
func TestOneOfManyChanges(t *testing.T) {
	s := newSite(t, nil)
	seen := tagged(t, s.ask("PUT", lamp, `{"domain":"lighting"}`), 200)
	var wg sync.WaitGroup
	var done atomic.Int32
	for i := range 16 {
		wg.Go(func() {
			w := s.ask("PUT", lamp, `{"domain":"lighting","name":"`+strings.Repeat("n", i+1)+`"}`, "If-Match", seen)
			if w.Code == 200 {
				done.Add(1)
			}
		})
	}
	wg.Wait()
	if done.Load() != 1 {
		t.Errorf("%d changes of one state were made, want 1", done.Load())
	}
}

func TestCompressedAnswers(t *testing.T) {
	s := newSite(t, nil)
	plain := s.ask("GET", "/openapi.json", "")
	for header, want := range map[string]bool{"gzip": true, "br, GZIP;q=0.5": true, "deflate, gzip;q=0": false, "identity": false, "": false} {
		w := s.ask("GET", "/openapi.json", "", "Accept-Encoding", header)
		if zip := w.Header().Get("Content-Encoding") == "gzip"; zip != want {
			t.Errorf("Accept-Encoding %q: compressed %v, want %v", header, zip, want)
		} else if zip {
			z, err := gzip.NewReader(w.Body)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(z); err != nil || string(b) != plain.Body.String() {
				t.Errorf("%d bytes, %v; want the same %d", len(b), err, plain.Body.Len())
			}
			if tag := w.Header().Get("ETag"); tag == plain.Header().Get("ETag") {
				t.Errorf("compressed and plain have the same ETag %s", tag)
			}
		}
	}
	if w := s.ask("GET", lamp, "", "Accept-Encoding", "gzip"); w.Header().Get("Content-Encoding") != "" {
		t.Error("a short refusal is compressed")
	}
}

// TestLongAnswers asks for one that is too long to be held: it comes whole, without an ETag.
func TestLongAnswers(t *testing.T) {
	s := newSite(t, nil)
	name := strings.Repeat("x", 200)
	var b strings.Builder
	b.WriteString("id,domain,name\n")
	const n = 40_000
	for i := range n {
		b.WriteString("d" + strings.Repeat("0", i%3) + string(rune('a'+i%26)) + "-" + strconv.Itoa(i) + ",waste," + name + "\n")
	}
	if w := s.ask("POST", "/api/v1/devices", b.String(), "Content-Type", "text/csv"); w.Code != 200 {
		t.Fatalf("%d %.300s", w.Code, w.Body)
	}
	w := s.ask("GET", "/api/v1/devices?format=csv", "")
	if lines := strings.Count(w.Body.String(), "\n"); w.Code != 200 || lines != n+1 || w.Body.Len() < maxKept || w.Header().Get("ETag") != "" || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/csv") {
		t.Errorf("%d, %d lines, %d bytes, ETag %q, %s", w.Code, lines, w.Body.Len(), w.Header().Get("ETag"), w.Header().Get("Content-Type"))
	}
}

// TestIfMatchOfSeveralProcesses has two control rooms over one log: what one has changed the other knows before it
// looks at an ETag, and of many who change the same state at once one does.
func TestIfMatchOfSeveralProcesses(t *testing.T) {
	l := logtest.New(t, nil)
	process := func() *site {
		kv, err := l.KV(t.Context(), "devices")
		if err != nil {
			t.Fatal(err)
		}
		registry := devices.NewRegistry(kv, nil)
		ctx, cancel := context.WithCancel(context.Background())
		synced, done := make(chan struct{}), make(chan error, 1)
		go func() { done <- registry.Run(ctx, func() { close(synced) }) }()
		<-synced
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
		return newSite(t, func(c *Config) { c.Registry, c.Unchanged = registry, kv.Unchanged })
	}
	both := []*site{process(), process()}
	tag := tagged(t, both[0].ask("PUT", lamp, `{"domain":"lighting","name":"0"}`, "If-None-Match", "*"), 200)
	wantProblem(t, both[1].ask("PUT", lamp, `{"domain":"lighting","name":"x"}`, "If-None-Match", "*"), lamp, 412)
	for i := range 20 {
		body := `{"domain":"lighting","name":"` + strconv.Itoa(i+1) + `"}`
		next := tagged(t, both[i%2].ask("PUT", lamp, body, "If-Match", tag), 200)
		wantProblem(t, both[(i+1)%2].ask("PUT", lamp, body, "If-Match", tag), lamp, 412)
		wantProblem(t, both[(i+1)%2].ask("DELETE", lamp, "", "If-Match", tag), lamp, 412)
		tag = next
	}
	var good, other atomic.Int64
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			switch w := both[i%2].ask("PUT", lamp, `{"domain":"lighting","name":"at once `+strconv.Itoa(i)+`"}`, "If-Match", tag); w.Code {
			case 200:
				good.Add(1)
			case 412:
			default:
				other.Add(1)
				t.Errorf("%d %s", w.Code, w.Body)
			}
		})
	}
	wg.Wait()
	if good.Load() != 1 {
		t.Errorf("%d of 16 changed one state, want 1", good.Load())
	}
	seen := tagged(t, both[0].ask("PUT", lamp, `{"domain":"lighting","name":"last"}`), 200)
	if w := both[1].ask("DELETE", lamp, "", "If-Match", seen); w.Code != 204 {
		t.Errorf("the other process does not know what was just written: %d %s", w.Code, w.Body)
	}
	wantProblem(t, both[0].ask("PUT", lamp, `{"domain":"lighting"}`, "If-Match", "*"), lamp, 412)
}

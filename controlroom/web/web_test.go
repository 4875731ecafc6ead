package web

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/fstest"
)

const testRoutes = `{"home":"/","table":"/table","asset":"/asset/"}`

func built(t *testing.T) *site {
	t.Helper()
	script := bytes.Repeat([]byte("let a = 1;\n"), 100)
	s, err := newSite(fstest.MapFS{
		".gitkeep":              {},
		"index.html":            {Data: []byte("<!doctype html>the page")},
		"icon.svg":              {Data: []byte("<svg/>")},
		"assets/index-B1.js":    {Data: script},
		"assets/index-B1.js.gz": {Data: []byte("packed with gzip")},
		"assets/index-B1.js.br": {Data: []byte("packed with brotli")},
	}, []byte(testRoutes))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func get(h http.Handler, method, target string, header ...string) *http.Response {
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPaths(t *testing.T) {
	s := built(t)
	for _, tc := range []struct {
		target, mime, cache string
		status              int
	}{
		{"/", "text/html; charset=utf-8", "no-cache", 200},
		{"/table", "text/html; charset=utf-8", "no-cache", 200},
		{"/table?domain=waste", "text/html; charset=utf-8", "no-cache", 200},
		{"/asset/lamp.7", "text/html; charset=utf-8", "no-cache", 200},
		{"/asset/" + "%E2%82%AC%20a", "text/html; charset=utf-8", "no-cache", 200},
		{"/icon.svg", "image/svg+xml", "no-cache", 200},
		{"/assets/index-B1.js", "text/javascript; charset=utf-8", "public, max-age=31536000, immutable", 200},
		{"/assets/gone.js", "application/problem+json", "no-store", 404},
		{"/assets/index-B1.js.br", "application/problem+json", "no-store", 404},
		{"/.gitkeep", "application/problem+json", "no-store", 404},
		{"/index.html", "application/problem+json", "no-store", 404},
		{"/tables", "application/problem+json", "no-store", 404},
		{"/../web.go", "application/problem+json", "no-store", 404},
	} {
		res := get(s, "GET", tc.target)
		h := res.Header
		if res.StatusCode != tc.status || h.Get("Content-Type") != tc.mime || h.Get("Cache-Control") != tc.cache {
			t.Errorf("GET %s: %d %q %q, want %d %q %q", tc.target, res.StatusCode, h.Get("Content-Type"), h.Get("Cache-Control"), tc.status, tc.mime, tc.cache)
		}
		for name, want := range map[string]string{
			"X-Content-Type-Options": "nosniff",
			"Referrer-Policy":        "no-referrer",
			"X-Frame-Options":        "DENY",
		} {
			if h.Get(name) != want {
				t.Errorf("GET %s: %s %q, want %q", tc.target, name, h.Get(name), want)
			}
		}
		if p := h.Get("Content-Security-Policy"); !strings.Contains(p, "default-src 'none'") || !strings.Contains(p, "frame-ancestors 'none'") || strings.Contains(p, "unsafe") {
			t.Errorf("GET %s: Content-Security-Policy %q", tc.target, p)
		}
	}
}

func TestEncodings(t *testing.T) {
	s := built(t)
	for _, tc := range []struct{ accept, encoding string }{
		{"", ""},
		{"gzip", "gzip"},
		{"gzip, deflate, br, zstd", "br"},
		{"br;q=0, gzip;q=0.5", "gzip"},
		{"BR", "br"},
		{"*", "br"},
		{"*;q=0", ""},
		{"identity", ""},
		{"gzip;q=0.0", ""},
		{"br;q=x", ""},
		{"brotli", ""},
	} {
		res := get(s, "GET", "/assets/index-B1.js", "Accept-Encoding", tc.accept)
		if got := res.Header.Get("Content-Encoding"); got != tc.encoding {
			t.Errorf("Accept-Encoding %q: Content-Encoding %q, want %q", tc.accept, got, tc.encoding)
		}
		if res.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("Accept-Encoding %q: Vary %q", tc.accept, res.Header.Get("Vary"))
		}
		if b := body(t, res); tc.encoding == "br" && b != "packed with brotli" || tc.encoding == "gzip" && b != "packed with gzip" {
			t.Errorf("Accept-Encoding %q: body %q", tc.accept, b)
		}
	}
}

func TestRangeIsOfThePlainForm(t *testing.T) {
	res := get(built(t), "GET", "/assets/index-B1.js", "Accept-Encoding", "br", "Range", "bytes=0-2")
	if b := body(t, res); res.StatusCode != http.StatusPartialContent || b != "let" || res.Header.Get("Content-Encoding") != "" {
		t.Errorf("range: %d %q %q, want 206 and the script's start", res.StatusCode, b, res.Header.Get("Content-Encoding"))
	}
}

func TestRevalidation(t *testing.T) {
	s := built(t)
	tag := get(s, "GET", "/").Header.Get("ETag")
	if tag == "" {
		t.Fatal("GET /: no ETag")
	}
	if res := get(s, "GET", "/", "If-None-Match", tag); res.StatusCode != http.StatusNotModified {
		t.Errorf("GET / with its ETag: %d, want 304", res.StatusCode)
	}
	plain := get(s, "GET", "/assets/index-B1.js").Header.Get("ETag")
	packed := get(s, "GET", "/assets/index-B1.js", "Accept-Encoding", "br").Header.Get("ETag")
	if plain == packed {
		t.Errorf("ETag %s for plain and packed alike", plain)
	}
}

func TestMethods(t *testing.T) {
	s := built(t)
	if res := get(s, "HEAD", "/"); res.StatusCode != 200 || body(t, res) != "" {
		t.Errorf("HEAD /: %d", res.StatusCode)
	}
	if res := get(s, "POST", "/"); res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST /: %d, Allow %q", res.StatusCode, res.Header.Get("Allow"))
	}
}

func TestNotBuilt(t *testing.T) {
	s, err := newSite(fstest.MapFS{".gitkeep": {}}, []byte(testRoutes))
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"/", "/asset/a", "/assets/a.js"} {
		res := get(s, "GET", target)
		if b := body(t, res); res.StatusCode != http.StatusServiceUnavailable || !strings.Contains(b, `"the page is not built: run make build"`) {
			t.Errorf("GET %s: %d %q", target, res.StatusCode, b)
		}
	}
}

// The embedded page, built or not, must always start.
func TestHandler(t *testing.T) {
	res := get(Handler(), "GET", "/")
	if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("GET /: %d", res.StatusCode)
	}
}

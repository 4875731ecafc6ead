// Package web is the control-room page: a Svelte application that Vite builds into dist, embedded in the
// binary and served from memory.
//
// The page asks only its own origin: the HTTP API, the feed at /ws/v1/feed, /map/basemap.geojson. Fonts,
// workers and images are among its assets; its content security policy forbids anything else.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"panormus/controlroom/problem"
)

//go:embed all:dist
var dist embed.FS

// routesJSON names the application's own addresses; the page's router reads the same file.
//
//go:embed src/routes.json
var routesJSON []byte

// csp lets the page load from its own origin alone. Workers may come from blob: (MapLibre), images from
// data: and blob: (the map's signs). 'self' covers the websocket of the same host and port.
const csp = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; " +
	"connect-src 'self'; worker-src 'self' blob:; child-src 'self' blob:; manifest-src 'self'; " +
	"base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// A file is one asset and its forms on the wire.
type file struct {
	mime      string
	etag      string
	immutable bool
	plain     []byte
	gzip      []byte // nil: not worth it
	brotli    []byte // nil: not worth it
}

type site struct {
	files  map[string]*file // by path, "/assets/index-….js"
	index  *file            // nil: not built
	routes []string         // a trailing slash means everything below
}

// Handler serves the page: its files under their own paths (those with a hash in the name for good), the
// application at each of its routes, 404 elsewhere. Where the page was not built it says so, at every
// path, with 503. It answers GET and HEAD, is safe for concurrent use, and reads nothing but the binary.
func Handler() http.Handler {
	root, err := fs.Sub(dist, "dist")
	if err != nil {
		panic("BUG: " + err.Error()) // the pattern above embeds the folder
	}
	s, err := newSite(root, routesJSON)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return s
}

// newSite reads all files of root, and the routes, a JSON object from name to path.
func newSite(root fs.FS, routes []byte) (*site, error) {
	s := &site{files: map[string]*file{}}
	var named map[string]string
	if err := json.Unmarshal(routes, &named); err != nil {
		return nil, fmt.Errorf("routes of the page: %w", err)
	}
	for _, route := range named {
		s.routes = append(s.routes, route)
	}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasPrefix(path.Base(name), ".") {
			return err
		}
		if strings.HasSuffix(name, ".gz") || strings.HasSuffix(name, ".br") {
			return nil
		}
		f, err := readFile(root, name)
		if err != nil {
			return err
		}
		s.files["/"+name] = f
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the built page: %w", err)
	}
	s.index = s.files["/index.html"]
	delete(s.files, "/index.html")
	return s, nil
}

func readFile(root fs.FS, name string) (*file, error) {
	plain, err := fs.ReadFile(root, name)
	if err != nil {
		return nil, err
	}
	f := &file{plain: plain, mime: mimeOf(name), immutable: strings.HasPrefix(name, "assets/")}
	sum := sha256.Sum256(plain)
	f.etag = hex.EncodeToString(sum[:12])
	for _, form := range []struct {
		suffix string
		to     *[]byte
	}{{".gz", &f.gzip}, {".br", &f.brotli}} {
		packed, err := fs.ReadFile(root, name+form.suffix)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return nil, err
		case len(packed) < len(plain):
			*form.to = packed
		}
	}
	return f, nil
}

// mimeOf does not ask the machine's own tables for the types the page has: they differ between machines.
func mimeOf(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".json", ".map":
		return "application/json"
	case ".woff2":
		return "font/woff2"
	case ".png":
		return "image/png"
	}
	if t := mime.TypeByExtension(path.Ext(name)); t != "" {
		return t
	}
	return "application/octet-stream"
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", csp)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		problem.New(http.StatusMethodNotAllowed, "method %s, want GET or HEAD", r.Method).Write(w, r)
	case s.index == nil:
		problem.New(http.StatusServiceUnavailable, "the page is not built: run make build").Write(w, r)
	case s.files[r.URL.Path] != nil:
		s.files[r.URL.Path].serve(w, r)
	case s.isRoute(r.URL.Path):
		s.index.serve(w, r)
	default:
		problem.New(http.StatusNotFound, "nothing at %.200q: neither a file of the page, nor a view of it, nor the API", r.URL.Path).Write(w, r)
	}
}

func (s *site) isRoute(p string) bool {
	for _, route := range s.routes {
		below := route != "/" && strings.HasSuffix(route, "/")
		if p == route || below && strings.HasPrefix(p, route) {
			return true
		}
	}
	return false
}

func (f *file) serve(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", f.mime)
	if f.immutable {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		h.Set("Cache-Control", "no-cache")
	}
	body, etag := f.plain, f.etag
	if f.gzip != nil || f.brotli != nil {
		h.Set("Vary", "Accept-Encoding")
		accepted := r.Header.Values("Accept-Encoding")
		switch {
		case r.Header.Get("Range") != "": // ranges are of the plain form
		case f.brotli != nil && accepts(accepted, "br"):
			body, etag = f.brotli, etag+"-br"
			h.Set("Content-Encoding", "br")
		case f.gzip != nil && accepts(accepted, "gzip"):
			body, etag = f.gzip, etag+"-gz"
			h.Set("Content-Encoding", "gzip")
		}
	}
	h.Set("ETag", strconv.Quote(etag))
	if h.Get("Content-Encoding") != "" {
		// ServeContent leaves the length of what is encoded to us.
		h.Set("Content-Length", strconv.Itoa(len(body)))
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
}

// accepts reports whether an Accept-Encoding header takes coding: named, or by *, with a weight above 0
// (RFC 9110, section 12.5.3).
func accepts(header []string, coding string) bool {
	star := false
	for _, line := range header {
		for part := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(part, ";")
			name = strings.TrimSpace(name)
			weight := 1.0
			if q, ok := strings.CutPrefix(strings.ReplaceAll(params, " ", ""), "q="); ok {
				var err error
				if weight, err = strconv.ParseFloat(q, 64); err != nil {
					weight = 0
				}
			}
			if strings.EqualFold(name, coding) {
				return weight > 0
			}
			if name == "*" {
				star = weight > 0
			}
		}
	}
	return star
}

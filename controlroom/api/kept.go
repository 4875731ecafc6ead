package api

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"hash/maphash"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"panormus/controlroom/auth"
	"panormus/controlroom/problem"
)

// Answers that may be kept by who asked carry an ETag, which is made of what they say: asked for again
// with it, 304 stands for the same answer, and a change that names it in If-Match is not made to another
// state than the one that was seen.

const (
	maxKept   = 8 << 20 // of an answer that is held to name and compress it; a longer one goes out as it comes
	minZipped = 1400    // below, an answer fits a packet anyhow
	zipped    = "-gz"   // ends the tag of a compressed answer
	stripes   = 64
)

// mayKeep reports whether answers of an operation may be kept. What is about persons and access may
// not, nor what is written into the audit log whenever it is read.
func mayKeep(op *huma.Operation, rule auth.Rule) bool {
	if op.Method != http.MethodGet || rule.Need == auth.Public || rule.Note != "" {
		return false
	}
	return !slices.ContainsFunc(op.Tags, func(tag string) bool { return tag == "privacy" || tag == accessTag || tag == "operation" })
}

// holding collects an answer until it is whole, or too long to be held.
type holding struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
	gone   bool // it goes out as it comes
}

func (h *holding) WriteHeader(status int) {
	switch {
	case h.gone:
		h.ResponseWriter.WriteHeader(status)
	case h.status == 0:
		h.status = status
	}
}

func (h *holding) Write(b []byte) (int, error) {
	if !h.gone && h.body.Len()+len(b) > maxKept {
		h.gone = true
		h.send(h.body.Bytes())
	}
	if h.gone {
		return h.ResponseWriter.Write(b)
	}
	return h.body.Write(b)
}

// Unwrap lets http.ResponseController reach the connection.
func (h *holding) Unwrap() http.ResponseWriter { return h.ResponseWriter }

func (h *holding) send(body []byte) {
	if h.status != 0 {
		h.ResponseWriter.WriteHeader(h.status)
	}
	_, _ = h.ResponseWriter.Write(body)
}

func (h *holding) good() bool { return h.status == 0 || h.status == http.StatusOK }

func tagOf(body []byte) string {
	sum := sha256.Sum256(body)
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}

// names reports whether a header of a request names the tag. weak lets weak ones pass, which is for
// what only saves sending the same again.
func names(header, tag string, weak bool) bool {
	for t := range strings.SplitSeq(header, ",") {
		t = strings.TrimSpace(t)
		if t == "*" {
			return true
		}
		if weak {
			t = strings.TrimPrefix(t, "W/")
		}
		if t == `"`+tag+`"` || t == `"`+tag+zipped+`"` {
			return true
		}
	}
	return false
}

// serveKept answers a GET whose answer may be kept.
func (a *api) serveKept(w http.ResponseWriter, r *http.Request) {
	h := &holding{ResponseWriter: w}
	a.mux.ServeHTTP(h, r)
	if h.gone {
		return
	}
	header := w.Header()
	body := h.body.Bytes()
	if !h.good() {
		h.send(body)
		return
	}
	tag := tagOf(body)
	header.Set("Cache-Control", "private, no-cache")
	header.Add("Vary", "Accept-Encoding")
	zip := len(body) >= minZipped && acceptsGzip(r.Header.Get("Accept-Encoding"))
	header.Set("ETag", quoted(tag, zip))
	if names(r.Header.Get("If-None-Match"), tag, true) {
		header.Del("Content-Type")
		header.Del("Content-Disposition")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if zip {
		header.Set("Content-Encoding", "gzip")
		body = compressed(body)
	}
	header.Set("Content-Length", strconv.Itoa(len(body)))
	h.send(body)
}

func quoted(tag string, zip bool) string {
	if zip {
		tag += zipped
	}
	return `"` + tag + `"`
}

// acceptsGzip reads an Accept-Encoding: a weight of 0 refuses.
func acceptsGzip(header string) bool {
	for part := range strings.SplitSeq(header, ",") {
		name, weight, _ := strings.Cut(part, ";")
		if strings.EqualFold(strings.TrimSpace(name), "gzip") {
			q, given := strings.CutPrefix(strings.TrimSpace(weight), "q=")
			v, err := strconv.ParseFloat(q, 64)
			return !given || err == nil && v > 0
		}
	}
	return false
}

// zippers are compressors that have done their work: each holds most of a megabyte.
var zippers = sync.Pool{New: func() any {
	z, err := gzip.NewWriterLevel(nil, gzip.BestSpeed)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return z
}}

func compressed(b []byte) []byte {
	var out bytes.Buffer
	out.Grow(len(b) / 4)
	z := zippers.Get().(*gzip.Writer)
	defer zippers.Put(z)
	z.Reset(&out)
	_, _ = z.Write(b) // a buffer takes everything
	_ = z.Close()
	return out.Bytes()
}

// locks are those of what is being changed, by its path: between the look at what is there and the
// change nobody else's comes.
type locks struct {
	seed    maphash.Seed
	stripes [stripes]sync.Mutex
}

func (c *locks) of(path string) *sync.Mutex {
	return &c.stripes[maphash.String(c.seed, path)%stripes]
}

// serveChange answers a PUT or DELETE of something that can be asked for: not at all where If-Match names
// another state than the one that is there, or If-None-Match one that is. The answer to a PUT has the new
// state's ETag.
func (a *api) serveChange(w http.ResponseWriter, r *http.Request) {
	readAhead(r)
	lock := a.locks.of(r.URL.Path)
	lock.Lock()
	defer lock.Unlock()
	match, none := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
	if match != "" || none != "" {
		if a.Unchanged != nil {
			ctx, err := a.Unchanged(r.Context())
			if err != nil {
				a.Log.Error("what is there is not known", "path", r.URL.Path, "error", err)
				w.Header().Set("Retry-After", unavailable)
				problem.New(http.StatusServiceUnavailable, "what is there is not known now, and the change goes by it").Write(w, r)
				return
			}
			r = r.WithContext(ctx)
		}
		body, there := a.current(r)
		tag := tagOf(body)
		if match != "" && !(there && names(match, tag, false)) || none != "" && there && names(none, tag, true) {
			p := problem.New(http.StatusPreconditionFailed, "it is not there, and If-Match wants it to be")
			if there {
				p.Detail = "it is in another state than the one that If-Match or If-None-Match allows; it is told as it is now"
				p.Current = json.RawMessage(body)
				w.Header().Set("ETag", quoted(tag, false))
			}
			p.Write(w, r)
			return
		}
	}
	h := &holding{ResponseWriter: w}
	a.mux.ServeHTTP(h, r)
	if h.gone {
		return
	}
	if h.good() && r.Method == http.MethodPut {
		if body, there := a.current(r); there {
			w.Header().Set("ETag", quoted(tagOf(body), false))
		}
	}
	h.send(h.body.Bytes())
}

// current is what a GET of the same path answers.
func (a *api) current(r *http.Request) ([]byte, bool) {
	get := r.Clone(r.Context())
	get.Method, get.Body, get.ContentLength, get.URL.RawQuery = http.MethodGet, http.NoBody, 0, ""
	get.Header = http.Header{}
	h := &holding{ResponseWriter: &probe{header: http.Header{}}}
	a.mux.ServeHTTP(h, get)
	return h.body.Bytes(), h.good() && !h.gone
}

// readAhead reads the body of a request before others have to wait for it.
func readAhead(r *http.Request) {
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	b, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	rest := io.Reader(r.Body)
	if err != nil {
		rest = broken{err}
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(b), rest), r.Body}
}

// broken is the rest of a body that did not come whole.
type broken struct{ err error }

func (b broken) Read([]byte) (int, error) { return 0, b.err }

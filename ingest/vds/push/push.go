package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"panormus/devices"
	"panormus/devices/logins"
	"panormus/ingest"
)

// Path is what all requests are under.
const Path = "/vds/push/"

// Bounds of requests.
const (
	maxRequests = 4096             // at once: a camera's endless stream is one
	maxSkipped  = 16 << 20         // bytes of a part that is not read
	bodyTime    = 30 * time.Second // for a body or a part of one, once it has begun
	quietTime   = 5 * time.Minute  // between the parts of a stream
	defaultWait = 10 * time.Second
)

// Config says how a Handler works. Pump and Lookup must be given.
type Config struct {
	Pump *ingest.Pump
	// Lookup finds a camera in the registry, nil where it is not known.
	Lookup func(id string) *devices.Asset
	// Wait is how long a message waits for the log before the answer is 503; default 10 s.
	Wait    time.Duration
	Metrics prometheus.Registerer
}

// A Handler answers what is under Path. It is safe for concurrent use.
type Handler struct {
	cfg     Config
	open    bool
	formats []string
	free    chan struct{} // one a request that may begin
	metrics *metrics
	logins  *logins.Throttle
}

// New makes a Handler of the formats that the pump has routes vds/{camera}/{format} for.
func New(cfg Config) (*Handler, error) {
	if cfg.Wait <= 0 {
		cfg.Wait = defaultWait
	}
	h := &Handler{cfg: cfg, free: make(chan struct{}, maxRequests), logins: new(logins.Throttle)}
	for _, r := range cfg.Pump.Routes() {
		if f, ok := strings.CutPrefix(r.Filter, "vds/+/"); ok && !strings.ContainsAny(f, "/+#") && !slices.Contains(h.formats, f) {
			h.formats = append(h.formats, f)
		}
	}
	slices.Sort(h.formats)
	if len(h.formats) == 0 {
		return nil, errors.New("push: the pump has no route vds/+/{format}")
	}
	var err error
	h.metrics, err = newMetrics(cfg.Metrics)
	return h, err
}

// Open is h for where nobody but this machine can ask: cameras without a secret are let in.
func (h *Handler) Open() *Handler {
	o := *h
	o.open = true
	return &o
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case h.free <- struct{}{}:
		defer func() { <-h.free }()
	default:
		h.answer(w, r, 0, refusal(http.StatusServiceUnavailable, "%d requests are being read, want fewer", maxRequests))
		return
	}
	h.metrics.open.Inc()
	defer h.metrics.open.Dec()
	taken, fault := h.serve(w, r)
	h.answer(w, r, taken, fault)
}

// serve reads a request and returns how many messages the log has of it, and what was wrong.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request) (int, *fault) {
	rest, ok := strings.CutPrefix(r.URL.Path, Path)
	camera, format, named := strings.Cut(rest, "/")
	if !ok || devices.CheckID(camera) != nil {
		return 0, refusal(http.StatusNotFound, "want %s{camera} or %[1]s{camera}/{format}", Path)
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return 0, refusal(http.StatusMethodNotAllowed, "want POST")
	}
	if ok, wait := h.admits(camera, r); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
		return 0, refusal(http.StatusTooManyRequests, "too many wrong secrets for this camera from there")
	} else if !ok {
		w.Header().Set("WWW-Authenticate", `Basic realm="vds", charset="UTF-8"`)
		return 0, refusal(http.StatusUnauthorized, "want the camera's id and the secret that the registry has of it, as HTTP Basic, Bearer or ?key=")
	}
	if named && !slices.Contains(h.formats, format) {
		return 0, refusal(http.StatusNotFound, "no such format, want one of %s", strings.Join(h.formats, ", "))
	}
	if e := r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return 0, refusal(http.StatusUnsupportedMediaType, "a compressed body, want it as it is")
	}
	q := &request{
		h: h, camera: camera, format: format, ctx: r.Context(), body: &body{r: r.Body},
		conn: http.NewResponseController(w), owed: owed{news: make(chan struct{}, 1)},
	}
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if strings.HasPrefix(media, "multipart/") {
		if b := params["boundary"]; err != nil || b == "" || len(b) > 128 {
			return 0, refusal(http.StatusBadRequest, "a multipart body without its boundary, want one of 1 to 128 bytes")
		}
		q.parts(params["boundary"])
	} else {
		q.single()
	}
	q.settle()
	return q.owed.issued, q.fault
}

// admits reports whether r may speak for a camera, or how long it is to wait for having been wrong
// too often.
func (h *Handler) admits(camera string, r *http.Request) (ok bool, wait time.Duration) {
	a := h.cfg.Lookup(camera)
	if (a == nil || !a.Locked()) && h.open {
		return true, 0
	}
	user, given, basic := r.BasicAuth()
	if !basic {
		scheme, rest, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if user = camera; strings.EqualFold(scheme, "Bearer") {
			given = strings.TrimSpace(rest)
		} else {
			given = r.URL.Query().Get("key")
		}
	}
	if given == "" { // no guess: many cameras ask without at first
		return false, 0
	}
	return h.logins.Check(logins.Of(r.RemoteAddr, camera), time.Now(), func() bool {
		return user == camera && a != nil && a.HasSecret([]byte(given))
	})
}

// A fault is what a request is answered with instead of 200.
type fault struct {
	status int
	detail string
}

func refusal(status int, format string, a ...any) *fault {
	return &fault{status, fmt.Sprintf(format, a...)}
}

// answer tells how it went. Nothing that was sent is repeated but the path.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, taken int, f *fault) {
	w.Header().Set("Cache-Control", "no-store")
	if f == nil {
		h.metrics.requests.WithLabelValues("200").Inc()
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, "{\"taken\":%d}\n", taken)
		return
	}
	h.metrics.requests.WithLabelValues(strconv.Itoa(f.status)).Inc()
	b, err := json.Marshal(map[string]any{
		"type": "about:blank", "title": http.StatusText(f.status), "status": f.status, "detail": f.detail, "instance": r.URL.Path,
	})
	if err != nil {
		panic("BUG: a problem that JSON cannot say: " + err.Error())
	}
	if f.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(f.status)
	_, _ = w.Write(append(b, '\n'))
}

// A request is one that was let in, while it is read.
type request struct {
	h              *Handler
	camera, format string // format "" where each message tells
	ctx            context.Context
	body           *body
	conn           *http.ResponseController
	owed           owed
	buf            []byte
	fault          *fault // the first
	away           bool   // the log takes nothing
}

func (q *request) fail(f *fault) {
	if q.fault == nil {
		q.fault = f
	}
}

// within bounds how long the next reads may take. Not every connection can be bounded: a test's.
func (q *request) within(d time.Duration) {
	_ = q.conn.SetReadDeadline(time.Now().Add(d))
}

// single takes the body in as one message.
func (q *request) single() {
	q.within(bodyTime)
	payload, err := q.read(q.body)
	switch {
	case errors.Is(err, errTooLarge):
		q.tooLarge(1)
	case err != nil:
		q.broken(err, 0)
	default:
		q.take(payload, 0)
	}
}

var errTooLarge = errors.New("too large")

// read reads a message up to its bound, into memory that is used again.
func (q *request) read(r io.Reader) ([]byte, error) {
	q.buf = q.buf[:0]
	for {
		if len(q.buf) == cap(q.buf) {
			q.buf = slices.Grow(q.buf, max(4096, len(q.buf)))
		}
		n, err := r.Read(q.buf[len(q.buf):cap(q.buf)])
		q.buf = q.buf[:len(q.buf)+n]
		switch {
		case len(q.buf) > ingest.MaxPayload:
			return nil, errTooLarge
		case err == io.EOF: //nolint:errorlint // the end itself, not what wraps it
			return q.buf, nil
		case err != nil:
			return q.buf, err
		}
	}
}

// tooLarge files the n-th message as one that is.
func (q *request) tooLarge(n int) {
	q.reject(ingest.Rejectf(ingest.ReasonTooLarge, "message %d of a request: more than %d bytes", n, ingest.MaxPayload))
	q.fail(refusal(http.StatusRequestEntityTooLarge, "message %d: more than %d bytes", n, ingest.MaxPayload))
	q.h.metrics.parts.WithLabelValues(partTooLarge).Inc()
}

// broken files what a body that ended too early had of its n-th part, 0 for one that has none.
func (q *request) broken(err error, n int) {
	where := "the body"
	if n > 0 {
		where = fmt.Sprintf("part %d of the body", n)
	}
	q.h.metrics.parts.WithLabelValues(partCut).Inc()
	q.reject(ingest.Rejectf(ingest.ReasonFormat, "%s ended too early", where))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		q.fail(refusal(http.StatusRequestTimeout, "%s did not come within %v", where, bodyTime))
		return
	}
	q.fail(refusal(http.StatusBadRequest, "%s ended too early", where))
}

// take hands one message to the pump; n is its part of the body, 0 where there is only one.
func (q *request) take(payload []byte, n int) {
	format := q.format
	if format == "" {
		format = sniff(payload)
	}
	if !slices.Contains(q.h.formats, format) {
		q.h.metrics.parts.WithLabelValues(partUnknown).Inc()
		q.fail(refusal(http.StatusUnsupportedMediaType, "found no format that is known here in the message; post to %s{camera}/{format}, format being one of %s", Path, strings.Join(q.h.formats, ", ")))
		return
	}
	q.h.metrics.parts.WithLabelValues(partMetadata).Inc()
	q.hand(format, func(s *ingest.Session, e *ingest.Envelope) error {
		e.Payload = payload
		return s.Handle(e)
	})
}

// reject files a message that cannot be handed over whole.
func (q *request) reject(why *ingest.Reject) {
	format := q.format
	if format == "" {
		format = q.h.formats[0] // its topic: any of video metadata
	}
	q.hand(format, func(s *ingest.Session, e *ingest.Envelope) error { return s.Reject(e, why) })
}

func (q *request) hand(format string, give func(*ingest.Session, *ingest.Envelope) error) {
	if q.away {
		return
	}
	ctx, cancel := context.WithTimeout(q.ctx, q.h.cfg.Wait)
	defer cancel()
	s := q.h.cfg.Pump.Session(source, q.camera, &q.owed, ctx.Done())
	defer s.Release()
	e := ingest.Envelope{
		Topic: []byte("vds/" + q.camera + "/" + format), Received: time.Now().UnixMilli(), Token: uint64(q.owed.issued) + 1,
	}
	if err := give(s, &e); err != nil {
		q.behind()
		return
	}
	q.owed.issued++
}

// source is what the dead letter calls messages that came this way.
const source = "vds-push"

func (q *request) behind() {
	q.away = true
	q.fault = refusal(http.StatusServiceUnavailable, "the log did not take the messages within %v; send them again", q.h.cfg.Wait)
}

// settle waits until the log has what was handed over.
func (q *request) settle() {
	timer := time.NewTimer(q.h.cfg.Wait)
	defer timer.Stop()
	for q.owed.open() {
		select {
		case <-q.owed.news:
		case <-timer.C:
			q.behind()
			return
		case <-q.ctx.Done():
			q.behind()
			return
		}
	}
}

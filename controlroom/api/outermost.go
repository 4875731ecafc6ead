package api

import (
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http"
	"time"

	"panormus/controlroom/problem"
)

// outermost gives every request an id and every answer its safety headers, tells of it at debug
// level, and makes a panic a problem.
func (a *api) outermost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := time.Now()
		id := requestID(r)
		h := w.Header()
		h.Set("X-Request-Id", id)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'") // pages set their own
		if ours(r.URL.Path) {
			h.Set("Cache-Control", "no-store")
		}
		r = r.WithContext(problem.WithRequest(r.Context(), id))
		if !a.shared(w, r) {
			return
		}
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		if r.Header.Get("Upgrade") != "" {
			next.ServeHTTP(w, r) // it takes the connection over: nothing of ours may stand between
			return
		}
		a.pace.paced(w, r)
		rec := &recorder{ResponseWriter: w}
		defer func() {
			if p := recover(); p != nil {
				if p == http.ErrAbortHandler { //nolint:errorlint // as net/http itself compares it
					panic(p)
				}
				a.Log.Error("a request made us panic", "path", r.URL.Path, "request", id, "panic", p)
				if rec.status != 0 {
					panic(http.ErrAbortHandler)
				}
				problem.New(http.StatusInternalServerError, "a fault of ours; the log tells more under request %s", id).Write(rec, r)
			}
			a.Log.LogAttrs(r.Context(), slog.LevelDebug, "request", slog.String("method", r.Method), slog.String("path", r.URL.Path),
				slog.Int("status", rec.status), slog.Duration("took", time.Since(begun)), slog.String("request", id), slog.String("from", r.RemoteAddr))
		}()
		next.ServeHTTP(rec, r)
	})
}

// requestID is the caller's, if it is a sane one, else a new one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	if len(id) > 0 && len(id) <= 64 {
		sane := true
		for i := range len(id) {
			c := id[i]
			sane = sane && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.')
		}
		if sane {
			return id
		}
	}
	var b [8]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// recorder remembers the status of an answer.
type recorder struct {
	http.ResponseWriter
	status int
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	return r.ResponseWriter.Write(b)
}

// SetReadDeadline leaves the deadline to the pace of the body: the API library would lift it.
func (r *recorder) SetReadDeadline(time.Time) error { return nil }

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"panormus/controlroom/problem"
	"panormus/ingest/vds/push"
)

// A front is the HTTP server. It listens from the start; what it answers is set when the parts
// behind it are there, and until then it says that it is not ready.
type front struct {
	listener net.Listener
	tls      *tls.Config
	handler  atomic.Pointer[http.Handler]
	push     atomic.Pointer[http.Handler] // what cameras post to: it does not wait for the database
}

func newFront(l net.Listener, t *tls.Config) *front { return &front{listener: l, tls: t} }

func (f *front) set(h http.Handler) { f.handler.Store(&h) }

func (f *front) setPush(h http.Handler) { f.push.Store(&h) }

// ServeHTTP implements http.Handler.
func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := f.push.Load(); h != nil && strings.HasPrefix(r.URL.Path, push.Path) {
		harmless(w.Header())
		(*h).ServeHTTP(w, r)
		return
	}
	if h := f.handler.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	harmless(w.Header())
	w.Header().Set("Retry-After", "1")
	starting := problem.New(http.StatusServiceUnavailable, "the database is not there yet")
	starting.Title = "Starting"
	starting.Write(w, r)
}

// harmless keeps browsers from making anything of an answer; the control room sets its own.
func harmless(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
}

// Bounds of a request. The feed and exports take their own time once they have begun.
const (
	headerTime = 10 * time.Second
	idleTime   = 2 * time.Minute
	headerSize = 64 << 10
	goodbye    = 2 * time.Second
)

// serve answers until ctx ends, then lets requests in hand end.
func (f *front) serve(ctx context.Context, log *slog.Logger) error {
	s := &http.Server{
		Handler: f, TLSConfig: f.tls, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: headerSize,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() {
		if f.tls != nil {
			ended <- s.ServeTLS(f.listener, "", "")
		} else {
			ended <- s.Serve(f.listener)
		}
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer cancel()
	if err := s.Shutdown(closing); err != nil {
		s.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func (f *front) url() string {
	scheme := "http"
	if f.tls != nil {
		scheme = "https"
	}
	return scheme + "://" + f.listener.Addr().String()
}

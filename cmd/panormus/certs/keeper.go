package certs

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	defaultEvery = 5 * time.Second
	// RenewBefore is how long before its end a certificate should have been renewed.
	RenewBefore = 14 * 24 * time.Hour
	remindEvery = 24 * time.Hour
)

// A Keeper keeps all certificates of a process. Its zero value is not ready: use New.
type Keeper struct {
	// Every is how often files are looked at; set it before Run. A change is taken once two looks in a row
	// find the same, so that who writes a file in pieces is let finish.
	Every time.Duration

	log    *slog.Logger
	ends   *prometheus.GaugeVec
	failed *prometheus.GaugeVec
	loads  *prometheus.CounterVec

	mu   sync.Mutex
	kept []*kept
}

// kept is one listener's, or one server's.
type kept struct {
	name  string
	files Files
	now   atomic.Pointer[Pair]
	built func(*Pair) // told of what is new

	seen     *Pair     // at the last look; owned by Run
	tried    *Pair     // what was refused
	reminded time.Time // of the certificate
	overdue  time.Time // of the lists
}

// New makes a Keeper. reg may be nil.
func New(log *slog.Logger, reg prometheus.Registerer) (*Keeper, error) {
	k := &Keeper{
		Every: defaultEvery, log: log,
		ends: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "panormus_tls_certificate_end_timestamp_seconds", Help: "When the certificate in use runs out, in Unix seconds.",
		}, []string{"of"}),
		failed: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "panormus_tls_renewal_failed", Help: "1 while the files hold what cannot be used and an older certificate is in use.",
		}, []string{"of"}),
		loads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "panormus_tls_renewals_total", Help: "Certificates that were taken anew from their files.",
		}, []string{"of"}),
	}
	if reg != nil {
		for _, c := range []prometheus.Collector{k.ends, k.failed, k.loads} {
			if err := reg.Register(c); err != nil {
				return nil, err
			}
		}
	}
	return k, nil
}

func (k *Keeper) keep(name string, f Files, built func(*Pair)) (*kept, error) {
	p, err := f.Read()
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	e := &kept{name: name, files: f, built: built, seen: p}
	k.take(e, p)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kept = append(k.kept, e)
	return e, nil
}

func (k *Keeper) take(e *kept, p *Pair) {
	e.now.Store(p)
	if e.built != nil {
		e.built(p)
	}
	k.failed.WithLabelValues(e.name).Set(0)
	if !p.Ends.IsZero() {
		k.ends.WithLabelValues(e.name).Set(float64(p.Ends.Unix()))
	}
}

// Server is the TLS of a listener, nil when no certificate is named. With CA it asks clients for certificates
// that CA signed, which they must have unless optional is set. protocols are those of ALPN.
func (k *Keeper) Server(name string, f Files, optional bool, protocols ...string) (*tls.Config, error) {
	if f.Cert == "" && f.Key == "" {
		switch {
		case f.CA != "":
			return nil, errors.New("tls: ca without cert and key")
		case f.CRL != "":
			return nil, errors.New("tls: crl without cert and key")
		}
		return nil, nil
	}
	var now atomic.Pointer[tls.Config]
	build := func(p *Pair) {
		c := &tls.Config{Certificates: []tls.Certificate{*p.Certificate}, MinVersion: tls.VersionTLS12, NextProtos: slices.Clone(protocols)}
		if c.ClientCAs = p.Trust; p.Trust != nil {
			c.ClientAuth = tls.RequireAndVerifyClientCert
			if optional {
				c.ClientAuth = tls.VerifyClientCertIfGiven
			}
			c.VerifyConnection = func(s tls.ConnectionState) error {
				for _, given := range s.PeerCertificates {
					if p.Revoked(given) {
						return fmt.Errorf("certificate %s of %q is revoked", given.SerialNumber.Text(16), given.Subject.CommonName)
					}
				}
				return nil
			}
		}
		// A config of its own for each: the tickets of sessions that were begun under an older CA are worth
		// nothing under this one.
		now.Store(c)
	}
	if _, err := k.keep(name, f, build); err != nil {
		return nil, err
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: slices.Clone(protocols), GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
		return now.Load(), nil
	}}, nil
}

// Client is the TLS towards a server, nil when nothing is named: the URL's scheme decides then. Of a CA that
// is renewed nothing is learnt until the next start.
func (k *Keeper) Client(name string, f Files) (*tls.Config, error) {
	if f == (Files{}) {
		return nil, nil
	}
	if f.CRL != "" {
		return nil, errors.New("tls.crl: lists of revoked certificates are for clients of ours, not for servers")
	}
	e, err := k.keep(name, f, nil)
	if err != nil {
		return nil, err
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: e.now.Load().Trust}
	if f.Cert != "" || f.Key != "" {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return e.now.Load().Certificate, nil }
	}
	return c, nil
}

// Run looks at the files now and then, and at once when something comes on now, until ctx ends.
func (k *Keeper) Run(ctx context.Context, now <-chan struct{}) error {
	tick := time.NewTicker(k.Every)
	defer tick.Stop()
	for {
		asked := false
		select {
		case <-ctx.Done():
			return nil
		case <-now:
			asked = true
			k.log.Info("reading certificates anew")
		case <-tick.C:
		}
		k.mu.Lock()
		all := slices.Clone(k.kept)
		k.mu.Unlock()
		for _, e := range all {
			k.look(e, asked)
		}
	}
}

// look takes what is new of e.
func (k *Keeper) look(e *kept, asked bool) {
	old := e.now.Load()
	p, err := e.files.read()
	if err == nil {
		settled := p.same(e.seen)
		e.seen = p
		switch {
		case p.same(old):
			e.tried = nil
			k.failed.WithLabelValues(e.name).Set(0)
			k.remind(e, old)
			return
		case !settled && !asked:
			return
		}
		err = p.parse(e.files, time.Now())
	}
	if err == nil {
		k.take(e, p)
		e.tried = nil
		k.loads.WithLabelValues(e.name).Inc()
		k.log.Info("a renewed certificate is in use", "of", e.name, "until", p.Ends)
		return
	}
	k.failed.WithLabelValues(e.name).Set(1)
	if p == nil {
		p = &Pair{} // no file: one complaint until it is there again
	}
	if e.tried == nil || !p.same(e.tried) || asked {
		k.log.Error("what was put in the place of a certificate cannot be used; the older one stays in use", "of", e.name, "error", err, "until", old.Ends)
	}
	e.tried = p
}

// remind complains once a day about a certificate, or a list of revoked ones, that should have been renewed.
func (k *Keeper) remind(e *kept, p *Pair) {
	if !p.Due.IsZero() && time.Now().After(p.Due) && time.Since(e.overdue) >= remindEvery {
		e.overdue = time.Now()
		k.log.Warn("a list of revoked certificates is overdue: what was revoked since is let in", "of", e.name, "due", p.Due, "file", e.files.CRL)
	}
	if p.Ends.IsZero() || time.Until(p.Ends) > RenewBefore || time.Since(e.reminded) < remindEvery {
		return
	}
	e.reminded = time.Now()
	k.log.Warn("a certificate runs out soon: renew it", "of", e.name, "until", p.Ends, "file", e.files.Cert)
}

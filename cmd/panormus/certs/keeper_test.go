package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"panormus/cmd/panormus/certs/certstest"
)

// said is what a logger was told.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) count(what string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Count(s.b.String(), what)
}

// serving is a server that says its certificate's serial number's worth, and echoes.
type serving struct {
	t     *testing.T
	addr  string
	files Files
	ca    *certstest.CA
	log   *said
	reg   *prometheus.Registry
	now   chan struct{}
}

func serve(t *testing.T, optional, withCA, withCRL bool) *serving {
	t.Helper()
	s := &serving{t: t, ca: certstest.New(t, "first"), log: &said{}, reg: prometheus.NewRegistry(), now: make(chan struct{})}
	s.files = filesOf(s.ca.Server(t, "one", time.Hour))
	if withCA {
		s.files.CA = s.ca.File
	}
	if withCRL {
		s.files.CRL = filepath.Join(t.TempDir(), "crl.pem")
		write(t, s.files.CRL, s.ca.Revoke(t, 1, time.Hour))
	}
	k, err := New(slog.New(slog.NewTextHandler(s.log, nil)), s.reg)
	if err != nil {
		t.Fatal(err)
	}
	k.Every = 5 * time.Millisecond
	c, err := k.Server("test", s.files, optional)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", c)
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = k.Run(ctx, s.now) })
	wg.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer nc.Close()
				_, _ = io.Copy(nc, nc)
			})
		}
	})
	t.Cleanup(func() {
		cancel()
		l.Close()
		wg.Wait()
	})
	return s
}

// dial connects and returns the name that the server's certificate has.
func (s *serving) dial(cert *tls.Certificate) (net.Conn, string, error) {
	c := &tls.Config{RootCAs: s.ca.Pool, ServerName: "localhost"}
	if cert != nil {
		c.Certificates = []tls.Certificate{*cert}
	}
	nc, err := tls.Dial("tcp", s.addr, c)
	if err != nil {
		return nil, "", err
	}
	if err := echo(nc); err != nil { // with TLS 1.3 a client learns only now that it is refused
		nc.Close()
		return nil, "", err
	}
	s.t.Cleanup(func() { nc.Close() })
	return nc, nc.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

func echo(nc net.Conn) error {
	if _, err := nc.Write([]byte("x")); err != nil {
		return err
	}
	_, err := io.ReadFull(nc, make([]byte, 1))
	return err
}

func (s *serving) eventually(what string, ok func() bool) {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			s.t.Fatalf("after a minute not yet: %s; log:\n%s", what, &s.log.b)
		}
	}
}

func (s *serving) serves(name string) {
	s.t.Helper()
	s.eventually("certificate "+name, func() bool {
		_, got, err := s.dial(nil)
		return err == nil && got == name
	})
}

func (s *serving) gauge(name string) (v float64) {
	s.t.Helper()
	all, err := s.reg.Gather()
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range all {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return -1
}

func filesOf(l *certstest.Leaf) Files { return Files{Cert: l.CertFile, Key: l.KeyFile} }

func write(t *testing.T, file string, b []byte) {
	t.Helper()
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestRenewal(t *testing.T) {
	s := serve(t, false, false, false)
	held, name, err := s.dial(nil)
	if err != nil || name != "one" {
		t.Fatalf("%q, %v; want one", name, err)
	}
	next := s.ca.Server(t, "two", 2*time.Hour)
	// The certificate first: it fits no key until that is there.
	write(t, s.files.Cert, next.CertPEM)
	s.eventually("it says that they do not fit", func() bool { return s.log.count("private key does not match public key") == 1 })
	s.serves("one")
	if s.gauge("panormus_tls_renewal_failed") != 1 {
		t.Error("the metric does not say that the renewal failed")
	}
	write(t, s.files.Key, next.KeyPEM)
	s.serves("two")
	s.eventually("the metrics say so", func() bool {
		return s.gauge("panormus_tls_renewal_failed") == 0 && s.gauge("panormus_tls_renewals_total") == 1 &&
			s.gauge("panormus_tls_certificate_end_timestamp_seconds") == float64(next.Leaf.NotAfter.Unix())
	})
	if err := echo(held); err != nil {
		t.Errorf("a connection of before the renewal: %v", err)
	}
	for want, b := range map[string][]byte{
		"it ends in the middle of a block": append(bytes.Clone(next.CertPEM), next.CertPEM[:200]...),
		"no certificate in it":             {},
	} {
		write(t, s.files.Cert, b)
		s.eventually(want, func() bool { return s.log.count(want) == 1 })
		s.serves("two")
	}
	if err := os.Remove(s.files.Cert); err != nil {
		t.Fatal(err)
	}
	s.eventually("it says that there is no file", func() bool { return s.log.count("no such file") == 1 })
	s.serves("two")
	expired := s.ca.Server(t, "old", -time.Hour)
	write(t, s.files.Key, expired.KeyPEM)
	write(t, s.files.Cert, expired.CertPEM)
	s.eventually("it says that it has run out", func() bool { return s.log.count("has run out on") >= 1 })
	s.serves("two")
	third := s.ca.Server(t, "three", time.Hour)
	write(t, s.files.Key, third.KeyPEM)
	write(t, s.files.Cert, third.CertPEM)
	s.serves("three")
	if err := echo(held); err != nil {
		t.Errorf("a connection of before the renewals: %v", err)
	}
	s.eventually("it says that the certificate ends within the hour", func() bool { return s.log.count("runs out soon") == 1 })
}

// A signal has files read at once, and not after two looks.
func TestAsked(t *testing.T) {
	k, err := New(slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	k.Every = time.Hour
	ca := certstest.New(t, "ca")
	f := filesOf(ca.Server(t, "one", time.Hour))
	c, err := k.Server("test", f, false)
	if err != nil {
		t.Fatal(err)
	}
	now, done := make(chan struct{}), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer close(done)
		_ = k.Run(ctx, now)
	}()
	next := ca.Server(t, "two", time.Hour)
	write(t, f.Cert, next.CertPEM)
	write(t, f.Key, next.KeyPEM)
	now <- struct{}{}
	cancel()
	<-done
	got, err := c.GetConfigForClient(nil)
	if err != nil || !bytes.Equal(got.Certificates[0].Certificate[0], next.Leaf.Raw) || got.MinVersion != tls.VersionTLS12 {
		t.Errorf("%v, %v; want the second certificate", got, err)
	}
}

func TestClientCertificates(t *testing.T) {
	for _, optional := range []bool{false, true} {
		s := serve(t, optional, true, false)
		ours := s.ca.Client(t, "pole-1", time.Hour)
		other := certstest.New(t, "second")
		stranger := other.Client(t, "pole-1", time.Hour)
		f := func(cert *tls.Certificate, want bool) {
			t.Helper()
			if _, _, err := s.dial(cert); (err == nil) != want {
				t.Errorf("optional %v: %v, want let in %v", optional, err, want)
			}
		}
		f(&ours.TLS, true)
		f(nil, optional)
		f(&stranger.TLS, optional) // a client keeps to itself what the server does not ask for
		// The CA is renewed: who has the older one's certificates is a stranger from then on.
		b, err := os.ReadFile(other.File)
		if err != nil {
			t.Fatal(err)
		}
		write(t, s.files.CA, b)
		s.eventually("the other CA is trusted", func() bool {
			nc, _, err := s.dial(&stranger.TLS)
			return err == nil && len(nc.(*tls.Conn).ConnectionState().PeerCertificates) > 0 && s.gauge("panormus_tls_renewals_total") == 1
		})
		f(&ours.TLS, optional)
	}
}

func TestErrors(t *testing.T) {
	ca := certstest.New(t, "ca")
	good, other := filesOf(ca.Server(t, "a", time.Hour)), filesOf(ca.Server(t, "b", time.Hour))
	k, err := New(slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	for want, f := range map[string]Files{
		"no such file":                   {Cert: "/does/not/exist", Key: good.Key},
		"does not match":                 {Cert: good.Cert, Key: other.Key},
		"ca without cert and key":        {CA: ca.File},
		"no certificate in it":           {Cert: good.Key, Key: good.Key},
		"number 1 in it has run out":     filesOf(ca.Server(t, "c", -time.Hour)),
		fmt.Sprint("ca ", good.Key, ":"): {Cert: good.Cert, Key: good.Key, CA: good.Key},
	} {
		if c, err := k.Server("test", f, false); err == nil || c != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", f, err, want)
		}
	}
	if c, err := k.Server("test", Files{}, false); c != nil || err != nil {
		t.Errorf("without files: %v, %v; want no TLS", c, err)
	}
	c, err := k.Client("test", Files{Cert: good.Cert, Key: good.Key, CA: ca.File})
	if err != nil || c.RootCAs == nil {
		t.Fatalf("%v, %v", c, err)
	}
	if got, err := c.GetClientCertificate(nil); err != nil || got.Leaf.Subject.CommonName != "a" {
		t.Errorf("%v, %v; want a", got, err)
	}
}

// TestRevoked takes a certificate back while the server runs; the list is that of the CA and nobody else's.
func TestRevoked(t *testing.T) {
	for _, optional := range []bool{false, true} {
		s := serve(t, optional, true, true)
		lost, kept := s.ca.Client(t, "pole-1", time.Hour), s.ca.Client(t, "pole-2", time.Hour)
		in := func(l *certstest.Leaf) bool {
			_, _, err := s.dial(&l.TLS)
			return err == nil
		}
		if !in(lost) || !in(kept) {
			t.Fatal("a certificate that nobody took back is refused")
		}
		write(t, s.files.CRL, s.ca.Revoke(t, 2, time.Hour, lost))
		s.eventually("the lost one is refused", func() bool { return !in(lost) })
		if !in(kept) {
			t.Error("another is refused with it")
		}
		// What is put in its place by somebody else, or is broken, changes nothing.
		other := certstest.New(t, "first") // of the same name
		for want, b := range map[string][]byte{
			"is signed by none of the ca":      other.Revoke(t, 3, time.Hour),
			"it ends in the middle of a block": s.ca.Revoke(t, 3, time.Hour)[:100],
			"no list of revoked certificates":  []byte("-----BEGIN NOTHING-----\n-----END NOTHING-----\n"),
			"list 1 in it":                     []byte("x"),
		} {
			write(t, s.files.CRL, b)
			s.eventually(want, func() bool { return s.log.count(want) >= 1 })
			if in(lost) || !in(kept) {
				t.Errorf("%s: the older list counts no more", want)
			}
		}
		// An overdue list counts and is complained about.
		write(t, s.files.CRL, s.ca.Revoke(t, 4, -time.Hour, kept))
		s.eventually("the other one is refused, the first let in again", func() bool { return !in(kept) && in(lost) })
		s.eventually("it says that the list is overdue", func() bool { return s.log.count("overdue") == 1 })
	}
	ca := certstest.New(t, "ca")
	f := filesOf(ca.Server(t, "one", time.Hour))
	f.CRL = f.Cert
	if _, err := f.Read(); err == nil || !strings.Contains(err.Error(), "without a ca") {
		t.Errorf("%v, want a complaint that there is no ca", err)
	}
}

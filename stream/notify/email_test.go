package notify

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-smtp"
)

// picky is a mail server that refuses some addresses, and ends connections as it likes.
type picky struct {
	mu     sync.Mutex
	codes  map[string]int // of addresses that it refuses
	data   int            // code of its answer to the text, 0 for a good one
	mailed []string       // addresses that have a mail, in order
	drops  bool           // it hangs up as soon as it has taken a mail
}

// refuse has an address refused from now on, with code 0 taken.
func (p *picky) refuse(to string, code int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.codes[to] = code
}

func (p *picky) has() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.mailed)
}

type pickySession struct {
	*picky
	conn *smtp.Conn
	to   []string
}

func (p *picky) NewSession(c *smtp.Conn) (smtp.Session, error) {
	return &pickySession{picky: p, conn: c}, nil
}
func (s *pickySession) Mail(string, *smtp.MailOptions) error { return nil }
func (s *pickySession) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if code := s.codes[to]; code != 0 {
		return &smtp.SMTPError{Code: code, Message: "not " + to}
	}
	s.to = append(s.to, to)
	return nil
}
func (s *pickySession) Data(r io.Reader) error {
	if _, err := io.ReadAll(r); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.data != 0 {
		return &smtp.SMTPError{Code: s.data, Message: "not that"}
	}
	s.mailed = append(s.mailed, s.to...)
	return nil
}
func (s *pickySession) Reset() {
	s.to = nil
	if s.drops && len(s.has()) > 0 {
		_ = s.conn.Conn().Close()
	}
}
func (s *pickySession) Logout() error { return nil }

// mailTo is a sender through p to some addresses.
func mailTo(t *testing.T, p *picky, to ...string) *email {
	t.Helper()
	s := smtp.NewServer(p)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	e, err := newEmail(Email{Server: l.Addr().String(), TLS: "none", From: "p@example.org", To: to})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// An address that the server refuses costs the others nothing, is told of, and nobody has a mail twice.
func TestMailWithARefusedAddress(t *testing.T) {
	const a, b, c = "a@example.org", "b@example.org", "c@example.org"
	p := &picky{codes: map[string]int{b: 550, c: 450}}
	e := mailTo(t, p, a, b, c)
	m := testMessage("m", Notice{ID: "1", State: "raised"})
	if err := e.Send(t.Context(), m); err == nil || arrived(err) || !strings.Contains(err.Error(), c) {
		t.Errorf("with one address that may be tried later: %v, want an error about it", err)
	}
	if !slices.Equal(p.has(), []string{a}) {
		t.Errorf("mailed to %v, want to the one that is taken", p.has())
	}
	p.refuse(c, 0)
	if err := e.Send(t.Context(), m); !arrived(err) || err == nil || !strings.Contains(err.Error(), b) || strings.Contains(err.Error(), a) {
		t.Errorf("with one that will never be taken: %v, want it sent, and told of", err)
	}
	if !slices.Equal(p.has(), []string{a, c}) || len(e.took) != 0 {
		t.Errorf("mailed to %v, %d kept in mind; want each once", p.has(), len(e.took))
	}
	p.refuse(a, 550)
	p.refuse(c, 550)
	if err := e.Send(t.Context(), m); err == nil || arrived(err) {
		t.Errorf("with nobody who takes it: %v, want an error", err)
	}
	one := mailTo(t, &picky{codes: map[string]int{a: 550}}, a)
	if err := one.Send(t.Context(), m); err == nil || arrived(err) {
		t.Errorf("to the only address, which is refused: %v", err)
	}
}

// What the server has taken is not sent again because of how the connection ended; what it refuses after it has
// seen it is not tried again.
func TestMailIsTakenOnce(t *testing.T) {
	p := &picky{drops: true}
	m := testMessage("m", Notice{ID: "1", State: "raised"})
	if err := mailTo(t, p, "a@example.org").Send(t.Context(), m); err != nil || len(p.has()) != 1 {
		t.Errorf("to a server that hangs up after it took it: %v, %d mails", err, len(p.has()))
	}
	err := mailTo(t, &picky{data: 554}, "a@example.org").Send(t.Context(), m)
	if _, ok := errors.AsType[*Refused](err); !ok {
		t.Errorf("text refused for good: %v, want it Refused", err)
	}
	err = mailTo(t, &picky{data: 451}, "a@example.org").Send(t.Context(), m)
	if _, ok := errors.AsType[*Refused](err); err == nil || ok {
		t.Errorf("text refused for now: %v, want another attempt", err)
	}
}

// A mail server that says nothing, from the start or later, holds nobody longer than an attempt may take.
func TestMailServerThatHangs(t *testing.T) {
	for _, says := range []string{"", "220 x ESMTP\r\n", "220 x ESMTP\r\n250 x\r\n"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		all.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				all.Go(func() {
					defer c.Close()
					_, _ = io.WriteString(c, says)
					_, _ = io.Copy(io.Discard, c)
				})
			}
		})
		e, err := newEmail(Email{Server: l.Addr().String(), TLS: "none", From: "p@example.org", To: []string{"a@example.org"}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		sent := make(chan error, 1)
		go func() { sent <- e.Send(ctx, testMessage("m", Notice{ID: "1", State: "raised"})) }()
		select {
		case err := <-sent:
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("a server that says %q: %v, want the end of the time", says, err)
			}
		case <-time.After(time.Minute):
			t.Fatalf("a server that says %q holds the sender for a minute", says)
		}
		cancel()
		_ = l.Close()
		all.Wait()
	}
}

// Over TLS from the first byte, with a password.
func TestMailOverTLS(t *testing.T) {
	backend := &mailServer{mails: make(chan string, 1)}
	srv, ca := testTLS(t)
	s := smtp.NewServer(backend)
	s.Domain = "localhost"
	cfg := srv.TLS.Clone()
	cfg.NextProtos = nil
	l, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(testSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := newEmail(Email{Server: l.Addr().String(), TLS: "tls", CA: ca, Username: "panormus", Password: Secret{File: secret}, From: "p@example.org", To: []string{"a@example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Send(t.Context(), testMessage("m", Notice{ID: "1", State: "raised"})); err != nil || len(backend.mails) != 1 {
		t.Errorf("%v, %d mails", err, len(backend.mails))
	}
	e.cfg.CA = ""
	if err := e.Send(t.Context(), testMessage("m", Notice{ID: "2", State: "raised"})); err == nil || len(backend.mails) != 1 {
		t.Error("a certificate that nobody signed is taken")
	}
}

package notify

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"

	"panormus/stream/log/logtest"
)

func testMessage(receiver string, alarms ...Notice) *Message {
	g := &group{Route: "all", Labels: map[string]string{"rule": "r"}, Episodes: map[string]*episode{}}
	for i := range alarms {
		g.Episodes[alarms[i].ID] = &episode{Alarm: alarms[i]}
	}
	return newMessage(receiver, KindAlarm, g, time.UnixMilli(1_000_000).UTC(), alarms)
}

// mailServer takes mails of one user over STARTTLS; it is the backend and the session.
type mailServer struct {
	mails    chan string
	from, to string
	authed   bool
	busy     int // so many mails are put off first
}

func (s *mailServer) NewSession(*smtp.Conn) (smtp.Session, error) { return s, nil }
func (s *mailServer) AuthMechanisms() []string                    { return []string{sasl.Plain} }
func (s *mailServer) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, password string) error {
		if user != "panormus" || password != testSecret {
			return errors.New("wrong")
		}
		s.authed = true
		return nil
	}), nil
}
func (s *mailServer) Mail(from string, _ *smtp.MailOptions) error {
	if !s.authed {
		return smtp.ErrAuthRequired
	}
	s.from = from
	return nil
}
func (s *mailServer) Rcpt(to string, _ *smtp.RcptOptions) error { s.to = to; return nil }
func (s *mailServer) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if s.busy > 0 {
		s.busy--
		return &smtp.SMTPError{Code: 451, Message: "later"}
	}
	s.mails <- string(b)
	return nil
}
func (s *mailServer) Reset()        {}
func (s *mailServer) Logout() error { s.authed = false; return nil }

// testTLS is a server's settings for 127.0.0.1 and a file of who signed them.
func testTLS(t *testing.T) (*httptest.Server, string) {
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	t.Cleanup(srv.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return srv, ca
}

func startMail(t *testing.T, backend *mailServer) (addr, ca string) {
	srv, ca := testTLS(t)
	s := smtp.NewServer(backend)
	s.Domain, s.TLSConfig = "localhost", srv.TLS.Clone()
	s.TLSConfig.NextProtos = nil
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return l.Addr().String(), ca
}

func TestMailArrivesThroughRealServer(t *testing.T) {
	backend := &mailServer{mails: make(chan string, 10), busy: 1}
	addr, ca := startMail(t, backend)
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(testSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	r := Receiver{ID: "on-call", Email: &Email{Server: addr, CA: ca, Username: "panormus", Password: Secret{File: secret}, From: "Panormus <p@example.org>", To: []string{"a@example.org"}}}
	l := logtest.New(t, nil)
	d := testDesk(t, l, r)
	start(t, d.runs()...)
	awaitRunning(t, d)
	e := event(1, "raised")
	e.Text = "buio\r\nBcc: thief@example.org"
	publish(t, l, e)
	var raw string
	select {
	case raw = <-backend.mails:
	case <-time.After(time.Minute):
		t.Fatalf("no mail in a minute; receivers %+v", d.Receivers())
	}
	m, err := mail.ReadMessage(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if err != nil {
		t.Fatal(err)
	}
	if m.Header.Get("Bcc") != "" || m.Header.Get("Subject") != "[WARNING] buio  Bcc: thief@example.org" || m.Header.Get("Auto-Submitted") != "auto-generated" ||
		!strings.HasSuffix(m.Header.Get("Message-Id"), "@example.org>") || !strings.HasSuffix(m.Header.Get("References"), "@example.org>") || backend.from != "p@example.org" || backend.to != "a@example.org" {
		t.Errorf("headers %v, from %s to %s", m.Header, backend.from, backend.to)
	}
	if !strings.Contains(string(body), "pole-1") {
		t.Errorf("body %s, want the device", body)
	}
}

func TestMailIsNotSentInClear(t *testing.T) {
	backend := &mailServer{mails: make(chan string, 10), authed: true} // it would take the mail
	s := smtp.NewServer(backend)                                       // without TLS
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	e, err := newEmail(Email{Server: l.Addr().String(), From: "p@example.org", To: []string{"a@example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Send(t.Context(), testMessage("m", Notice{ID: "1", State: "raised"})); err == nil || len(backend.mails) > 0 {
		t.Errorf("send: %v with %d mails, want a refusal: the server has no STARTTLS", err, len(backend.mails))
	}
}

// startMosquitto starts a real broker on a free port, with further settings of the listener.
func startMosquitto(t *testing.T, settings ...string) string {
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		if path = "/usr/sbin/mosquitto"; exec.Command(path, "-h").Err != nil {
			t.Fatal("mosquitto is missing: `make test` installs it (Debian package mosquitto)")
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close() // mosquitto takes no port 0, so it is given one that was free just now
	_, port, _ := net.SplitHostPort(addr)
	if os.Getuid() == 0 {
		settings = append(settings, "user root") // another could not read the files of a test
	}
	conf := filepath.Join(t.TempDir(), "mosquitto.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "listener %s 127.0.0.1\nallow_anonymous true\n%s\n", port, strings.Join(settings, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-c", conf)
	if err := cmd.Start(); err != nil {
		t.Fatalf("mosquitto: %v: `make test` installs it (Debian package mosquitto)", err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) { // it cannot tell that it listens
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return "tcp://" + addr
		} else if time.Now().After(deadline) {
			t.Fatalf("mosquitto does not answer: %v", err)
		}
	}
}

// testPair is a certificate for 127.0.0.1, of a server and of a client, that signed itself, and its key.
func testPair(t *testing.T) (cert, key string) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "control room"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	signed, err := x509.CreateCertificate(rand.Reader, about, about, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: signed}, key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestMQTTOverTLS publishes at a real broker that asks for a certificate, under each name that its address may have.
func TestMQTTOverTLS(t *testing.T) {
	cert, key := testPair(t)
	other, otherKey := testPair(t)
	at := strings.TrimPrefix(startMosquitto(t, "cafile "+cert, "certfile "+cert, "keyfile "+key, "require_certificate true"), "tcp://")
	for _, tc := range []struct {
		name string
		cfg  MQTT
		err  string // "" where it arrives, "any" where the broker says no in words of its own
	}{
		{"ssl", MQTT{URL: "ssl://" + at, CA: cert, Cert: cert, Key: key}, ""},
		{"mqtts", MQTT{URL: "mqtts://" + at, CA: cert, Cert: cert, Key: key}, ""},
		{"who signed it is not known", MQTT{URL: "ssl://" + at, Cert: cert, Key: key}, "certificate"},
		{"it was signed by another", MQTT{URL: "ssl://" + at, CA: other, Cert: cert, Key: key}, "certificate"},
		{"it is another's", MQTT{URL: "ssl://" + at, CA: cert, Cert: cert, Key: key, ServerName: "elsewhere"}, "elsewhere"},
		{"without a certificate of ours", MQTT{URL: "ssl://" + at, CA: cert}, "any"},
		{"with one that the broker does not know", MQTT{URL: "ssl://" + at, CA: cert, Cert: other, Key: otherKey}, "any"},
		{"without TLS", MQTT{URL: "tcp://" + at}, "any"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if err := tc.cfg.check(); err != nil {
				t.Fatal(err)
			}
			tc.cfg.ClientID = "sender"
			p := &publisher{cfg: tc.cfg}
			t.Cleanup(func() { _ = p.Close() })
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := p.Send(ctx, testMessage("bus", Notice{ID: "1", Domain: "water", State: "raised"})) // at QoS 1: it has arrived
			switch {
			case tc.err == "" && err != nil:
				t.Errorf("send: %v", err)
			case tc.err != "" && err == nil:
				t.Error("it was sent")
			case tc.err != "any" && err != nil && !strings.Contains(err.Error(), tc.err):
				t.Errorf("send: %v, want %q in it", err, tc.err)
			}
		})
	}
}

func TestMQTTHasTopicForEachDomain(t *testing.T) {
	url := startMosquitto(t)
	got := make(chan paho.Message, 10)
	c := paho.NewClient(paho.NewClientOptions().AddBroker(url).SetClientID("reader"))
	if tok := c.Connect(); tok.Wait() && tok.Error() != nil {
		t.Fatal(tok.Error())
	}
	t.Cleanup(func() { c.Disconnect(0) })
	if tok := c.Subscribe("panormus/alarms/+", 1, func(_ paho.Client, m paho.Message) { got <- m }); tok.Wait() && tok.Error() != nil {
		t.Fatal(tok.Error())
	}
	p := &publisher{cfg: MQTT{URL: url, ClientID: "sender"}}
	t.Cleanup(func() { _ = p.Close() })
	sent := testMessage("bus", Notice{ID: "1", Domain: "water", State: "raised"}, Notice{ID: "2", Domain: "lighting/+", State: "raised"}, Notice{ID: "3", Domain: "water", State: "raised"})
	if err := p.Send(t.Context(), sent); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"panormus/alarms/water": "1 3", "panormus/alarms/lighting__": "2"}
	for len(want) > 0 {
		var m paho.Message
		select {
		case m = <-got:
		case <-time.After(time.Minute):
			t.Fatalf("missing after a minute: %v", want)
		}
		var body Message
		if err := json.Unmarshal(m.Payload(), &body); err != nil {
			t.Fatal(err)
		}
		if ids := strings.Join(alarmIDs([]Message{body}), " "); want[m.Topic()] != ids || body.ID != sent.ID {
			t.Errorf("%s: message %s with %s, want %s with %s", m.Topic(), body.ID, ids, sent.ID, want[m.Topic()])
		}
		delete(want, m.Topic())
	}
	dead := &publisher{cfg: MQTT{URL: "tcp://127.0.0.1:1", ClientID: "sender"}}
	if err := dead.Send(t.Context(), sent); err == nil {
		t.Error("nobody listens and the message was sent")
	}
}

func TestWebhookAddresses(t *testing.T) {
	for _, tc := range []struct {
		ip string
		ok bool
	}{
		{"127.0.0.1", true}, {"10.1.2.3", true}, {"192.168.1.1", true}, {"8.8.8.8", true}, {"::1", true}, {"fd12::1", true}, {"64:ff9b::808:808", true},
		{"169.254.169.254", false}, {"169.254.0.1", false}, {"::ffff:169.254.169.254", false}, {"fe80::1", false}, {"fe80::1%eth0", false}, {"fd00:ec2::254", false},
		{"100.100.100.200", false}, {"168.63.129.16", false}, {"0.0.0.0", false}, {"::", false}, {"224.0.0.1", false}, {"ff02::1", false}, {"255.255.255.255", false},
		{"64:ff9b::a9fe:a9fe", false},
	} {
		if err := allowed(netip.MustParseAddr(tc.ip)); (err == nil) != tc.ok {
			t.Errorf("allowed(%s) = %v, want allowed: %v", tc.ip, err, tc.ok)
		}
	}
	// The address that is dialled is checked too, not only what the settings say.
	w, err := newWebhook(Webhook{URL: "http://[::ffff:169.254.169.254]/latest"})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Send(t.Context(), testMessage("x", Notice{ID: "1"})); err == nil || !strings.Contains(err.Error(), "link-local") {
		t.Errorf("send to a metadata address: %v, want it refused before it is dialled", err)
	}
}

func TestWebhookErrorsTellNoSecret(t *testing.T) {
	redirected := false
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { redirected = true }))
	defer other.Close()
	moved := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) }))
	defer moved.Close()
	for _, url := range []string{moved.URL + "/token-5d41402a", "http://127.0.0.1:1/token-5d41402a?key=token-5d41402a"} {
		w, err := newWebhook(Webhook{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		err = w.Send(t.Context(), testMessage("x", Notice{ID: "1"}))
		if err == nil || strings.Contains(err.Error(), "token-5d41402a") {
			t.Errorf("send: %v, want an error without the token", err)
		}
	}
	if redirected {
		t.Error("a redirect was followed")
	}
}

func TestWebhookGivesUpInTime(t *testing.T) {
	h := newHook(t, func(int) int { return 0 })
	w, err := newWebhook(Webhook{URL: h.URL})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := w.Send(ctx, testMessage("x", Notice{ID: "1"})); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("send to a server that hangs: %v, want %v", err, context.DeadlineExceeded)
	}
}

func TestReceiverRefusals(t *testing.T) {
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		r    Receiver
		want string
	}{
		{"none", Receiver{ID: "a"}, "0 of webhook, email and mqtt"},
		{"two", Receiver{ID: "a", Webhook: &Webhook{URL: "https://x"}, MQTT: &MQTT{}}, "2 of webhook"},
		{"scheme", Receiver{ID: "a", Webhook: &Webhook{URL: "file:///etc/passwd"}}, `scheme "file"`},
		{"password", Receiver{ID: "a", Webhook: &Webhook{URL: "https://u:hunter2@x/"}}, "has a user"},
		{"metadata", Receiver{ID: "a", Webhook: &Webhook{URL: "http://169.254.169.254/"}}, "link-local"},
		{"short secret", Receiver{ID: "a", Webhook: &Webhook{URL: "https://x", Secret: Secret{File: short}}}, "7 bytes"},
		{"clear mail", Receiver{ID: "a", Email: &Email{Server: "mail.example:25", TLS: "none", From: "a@b", To: []string{"a@b"}}}, "tls: none"},
		{"injected", Receiver{ID: "a", Email: &Email{Server: "mail.example:25", From: "a@b\r\nBcc: c@d", To: []string{"a@b"}}}, "from"},
		{"wildcard", Receiver{ID: "a", MQTT: &MQTT{Topic: "a/#"}}, "topic"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := tc.r.Check()
			if err == nil || !strings.Contains(err.Error(), tc.want) || bytes.Contains([]byte(err.Error()), []byte("hunter2")) {
				t.Errorf("Check: %v, want %q and no secret", err, tc.want)
			}
		})
	}
}

// A receiver that says how long it wants to be left alone is, up to an hour; one that says nothing usable is not.
func TestRetryAfter(t *testing.T) {
	var answer atomic.Value
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", answer.Load().(string))
		w.WriteHeader(http.StatusTooManyRequests)
	}))
	t.Cleanup(h.Close)
	w, err := newWebhook(Webhook{URL: h.URL})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		says     string
		at, most time.Duration // the next attempt is between them from now
	}{
		{"120", 119 * time.Second, 2 * time.Minute},
		{time.Now().Add(20 * time.Minute).UTC().Format(http.TimeFormat), 10 * time.Minute, 21 * time.Minute},
		{"86400", time.Hour - time.Second, time.Hour},
		{"0", 0, 2 * time.Second}, {"-5", 0, 2 * time.Second}, {"soon", 0, 2 * time.Second}, {"", 0, 2 * time.Second}, {"99999999999999999999", 0, 2 * time.Second},
		{"Fri, 13 Nov 2026 10:00:00 GMT", 0, 2 * time.Second},
	} {
		answer.Store(tc.says)
		failed := w.Send(t.Context(), testMessage("hook", Notice{ID: "1", State: "raised"}))
		if failed == nil {
			t.Fatalf("%q: status 429 counts as sent", tc.says)
		}
		r := &run{Queue: &Queue{name: "hook", log: slog.New(slog.DiscardHandler), metrics: newMetrics(nil).of("hook")}}
		p := &parcel{Message: testMessage("hook")}
		began := time.Now()
		if err := r.settle(t.Context(), outcome{p, failed}); err != nil {
			t.Fatal(err)
		}
		for what, next := range map[string]time.Time{"the message": p.notBefore, "the receiver": r.pause} {
			if next.Before(began.Add(tc.at)) || next.After(time.Now().Add(tc.most)) {
				t.Errorf("Retry-After %q: %s is tried again in %v, want %v to %v", tc.says, what, next.Sub(began), tc.at, tc.most)
			}
		}
	}
}

func TestOneLine(t *testing.T) {
	if got := oneLine("a\r\nb\tc\x1b[2J\u0085\u2028\u202e\u2066è 🚨\u200d"); got != "a  b c [2J    è 🚨\u200d" {
		t.Errorf("%q", got)
	}
}

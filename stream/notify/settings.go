package notify

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/url"
	"os"
	"strings"
	"time"

	"panormus/devices"
)

// A Receiver is where messages go: one of webhook, e-mail and MQTT. Receivers are in the settings only:
// who may use the API cannot point the process at an address of his own.
type Receiver struct {
	ID      string   `yaml:"id"`
	Webhook *Webhook `yaml:"webhook"`
	Email   *Email   `yaml:"email"`
	MQTT    *MQTT    `yaml:"mqtt"`
	// MaxAge is how long a message is tried; default 24 h.
	MaxAge devices.Duration `yaml:"max_age"`
	// Timeout is of one attempt; default 10 s.
	Timeout devices.Duration `yaml:"timeout"`
}

// A Webhook is posted the message as JSON.
type Webhook struct {
	URL string `yaml:"url"`
	// Secret signs the messages; at least 16 bytes. Without one they are not signed.
	Secret Secret `yaml:"secret"`
	CA     string `yaml:"ca"` // PEM file; whom to trust instead of the system's
	// AllowLinkLocal lets the name stand for link-local addresses and those of clouds' metadata.
	AllowLinkLocal bool `yaml:"allow_link_local"`
}

// An Email is sent through a mail server.
type Email struct {
	Server   string   `yaml:"server"` // host:port
	TLS      string   `yaml:"tls"`    // starttls (the default), tls from the first byte, or none on this machine
	CA       string   `yaml:"ca"`
	Username string   `yaml:"username"`
	Password Secret   `yaml:"password"`
	From     string   `yaml:"from"`
	To       []string `yaml:"to"`
}

// An MQTT is published the message as JSON, in one topic for each domain, with QoS 1.
type MQTT struct {
	URL      string `yaml:"url"`   // tcp://host:1883, ssl://host:8883 or mqtts://host:8883; empty: the embedded broker
	Topic    string `yaml:"topic"` // default panormus/alarms/{domain}
	ClientID string `yaml:"client_id"`
	Username string `yaml:"username"`
	Password Secret `yaml:"password"`
	CA       string `yaml:"ca"`
	// Cert and Key are PEM files of a certificate that says who we are, read at each connection.
	Cert       string `yaml:"cert"`
	Key        string `yaml:"key"`
	ServerName string `yaml:"server_name"` // that the broker's certificate is for, where it is not the URL's
}

// A Secret is read from a file or the environment each time it is needed, so that it can be changed
// without a restart, and is nowhere else.
type Secret struct {
	File string `yaml:"file"`
	Env  string `yaml:"env"`
}

const (
	defaultMaxAge  = 24 * time.Hour
	defaultTimeout = 10 * time.Second
	maxTimeout     = time.Minute
	maxReceivers   = 64
	minSecret      = 16
	defaultTopic   = "panormus/alarms/{domain}"
)

func (s Secret) given() bool { return s.File != "" || s.Env != "" }

// read returns the secret; its errors name only where it was looked for.
func (s Secret) read() ([]byte, error) {
	if s.Env != "" {
		v := os.Getenv(s.Env)
		if v == "" {
			return nil, fmt.Errorf("secret: environment variable %s is not set", s.Env)
		}
		return []byte(v), nil
	}
	b, err := os.ReadFile(s.File)
	if err != nil {
		return nil, fmt.Errorf("secret: %w", err)
	}
	v := strings.TrimRight(string(b), "\r\n")
	if v == "" {
		return nil, fmt.Errorf("secret: %s is empty", s.File)
	}
	return []byte(v), nil
}

// Check reports what of r is not acceptable.
func (r *Receiver) Check() error {
	if err := devices.CheckID(r.ID); err != nil {
		return fmt.Errorf("receiver: id: %w", err)
	}
	kinds := 0
	var err error
	if r.Webhook != nil {
		kinds, err = kinds+1, errors.Join(err, r.Webhook.check())
	}
	if r.Email != nil {
		kinds, err = kinds+1, errors.Join(err, r.Email.check())
	}
	if r.MQTT != nil {
		kinds, err = kinds+1, errors.Join(err, r.MQTT.check())
	}
	if kinds != 1 {
		err = fmt.Errorf("%d of webhook, email and mqtt, want one", kinds)
	}
	if age := time.Duration(r.MaxAge); age != 0 && (age < time.Second || age > 7*24*time.Hour) {
		err = errors.Join(err, fmt.Errorf("max_age: %v, want 1s to 168h", age))
	}
	if t := time.Duration(r.Timeout); t != 0 && (t < 100*time.Millisecond || t > maxTimeout) {
		err = errors.Join(err, fmt.Errorf("timeout: %v, want 100ms to 1m", t))
	}
	if err != nil {
		return fmt.Errorf("receiver %q: %w", r.ID, err)
	}
	return nil
}

func (r *Receiver) kind() string {
	switch {
	case r.Webhook != nil:
		return "webhook"
	case r.Email != nil:
		return "email"
	}
	return "mqtt"
}

func (w *Webhook) check() error {
	u, err := url.Parse(w.URL)
	if err != nil { // the error would show the URL, whose path or query may be a secret
		return errors.New("webhook: url: not one that can be read")
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return fmt.Errorf("webhook: url: scheme %q and host %q, want http or https and a host", u.Scheme, u.Host)
	}
	if u.User != nil {
		return errors.New("webhook: url: has a user or password in it, want secret instead")
	}
	if ip, err := literal(u.Hostname()); err == nil && !w.AllowLinkLocal {
		if err := allowed(ip); err != nil {
			return fmt.Errorf("webhook: url: %w", err)
		}
	}
	if w.Secret.given() {
		secret, err := w.Secret.read()
		if err != nil {
			return fmt.Errorf("webhook: %w", err)
		}
		if len(secret) < minSecret {
			return fmt.Errorf("webhook: secret: %d bytes, want at least %d", len(secret), minSecret)
		}
	}
	_, err = pool(w.CA)
	return err
}

func (e *Email) check() error {
	host, _, err := net.SplitHostPort(e.Server)
	if err != nil {
		return fmt.Errorf("email: server: %.100q, want host:port", e.Server)
	}
	switch e.TLS {
	case "", "starttls", "tls":
	case "none":
		if !loopback(host) {
			return fmt.Errorf("email: tls: none with server %s, want starttls or tls: the mail and the password would be read on the way", e.Server)
		}
	default:
		return fmt.Errorf("email: tls: %.20q, want starttls, tls or none", e.TLS)
	}
	if (e.Username != "") != e.Password.given() {
		return errors.New("email: have one of username and password, want both or neither")
	}
	if _, err := mail.ParseAddress(e.From); err != nil {
		return fmt.Errorf("email: from: %.100q: %w", e.From, err)
	}
	if len(e.To) == 0 || len(e.To) > 100 {
		return fmt.Errorf("email: to: %d addresses, want 1 to 100", len(e.To))
	}
	for _, to := range e.To {
		if _, err := mail.ParseAddress(to); err != nil {
			return fmt.Errorf("email: to: %.100q: %w", to, err)
		}
	}
	_, err = pool(e.CA)
	return err
}

func (m *MQTT) check() error {
	if m.URL != "" {
		u, err := url.Parse(m.URL)
		if err != nil || u.Host == "" || u.User != nil {
			return errors.New("mqtt: url: want one such as ssl://host:8883, without a password in it")
		}
		switch u.Scheme {
		case "tcp", "mqtt", "ssl", "mqtts", "ws", "wss":
		default:
			return fmt.Errorf("mqtt: url: scheme %q, want tcp or mqtt, ssl or mqtts, ws or wss", u.Scheme)
		}
	}
	if strings.ContainsAny(m.Topic, "#+") || len(m.Topic) > 256 {
		return fmt.Errorf("mqtt: topic: %.100q, want at most 256 bytes without + and #", m.Topic)
	}
	if m.URL == "" && (m.CA != "" || m.Cert != "" || m.Key != "" || m.ServerName != "") {
		return errors.New("mqtt: ca, cert, key and server_name are for a broker with a url; the embedded one is reached without leaving the process")
	}
	_, err := m.tls()
	return err
}

// tls is how a broker is spoken to over TLS.
func (m *MQTT) tls() (*tls.Config, error) {
	c, err := tlsConfig(m.CA, m.ServerName)
	if err != nil || m.Cert == "" && m.Key == "" {
		return c, err
	}
	pair, err := tls.LoadX509KeyPair(m.Cert, m.Key)
	if err != nil {
		return nil, fmt.Errorf("mqtt: cert %s and key %s: %w", m.Cert, m.Key, err)
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// pool is the certificates of a PEM file, nil for those of the system where none is named.
func pool(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("ca: no certificate in %s", file)
	}
	return p, nil
}

func tlsConfig(ca, name string) (*tls.Config, error) {
	roots, err := pool(ca)
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ServerName: name}, err
}

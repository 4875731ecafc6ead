package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"syscall"
	"time"
)

// Headers of a webhook. The signature is "sha256=" and the HMAC-SHA256, in hexadecimal, of the
// timestamp, a dot and the body. The timestamp, Unix seconds, is of the attempt: a receiver refuses old ones.
const (
	HeaderID        = "Idempotency-Key"
	HeaderTimestamp = "Panormus-Timestamp"
	HeaderSignature = "Panormus-Signature"
)

// maxAnswer is how much of an answer is read, so that the connection can be used again.
const maxAnswer = 64 << 10

type webhook struct {
	cfg    Webhook
	client *http.Client
}

func newWebhook(cfg Webhook) (*webhook, error) {
	tls, err := tlsConfig(cfg.CA, "")
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	if !cfg.AllowLinkLocal {
		// Here the name has become the address that is dialled: no second look-up can change it.
		dialer.Control = func(_, address string, _ syscall.RawConn) error {
			at, err := netip.ParseAddrPort(address)
			if err != nil {
				return err
			}
			return allowed(at.Addr())
		}
	}
	return &webhook{cfg: cfg, client: &http.Client{
		// No proxy: it would look the name up in our place.
		Transport: &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: tls, ForceAttemptHTTP2: true, MaxIdleConns: 1,
			IdleConnTimeout: time.Minute, MaxResponseHeaderBytes: maxAnswer},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// literal is the address that a host is written as.
func literal(host string) (netip.Addr, error) { return netip.ParseAddr(host) }

// metadata are addresses at which clouds answer any machine of theirs with its secrets, besides the
// link-local ones.
var metadata = []netip.Prefix{
	netip.MustParsePrefix("100.100.100.200/32"), netip.MustParsePrefix("168.63.129.16/32"), netip.MustParsePrefix("192.0.0.192/32"),
	netip.MustParsePrefix("fd00:ec2::/32"), netip.MustParsePrefix("fd20:ce::/32"), netip.MustParsePrefix("0.0.0.0/8"),
}

// nat64 embeds an IPv4 address in its last four bytes.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

// allowed reports why a webhook must not be sent to ip.
func allowed(ip netip.Addr) error {
	ip = ip.Unmap().WithZone("")
	if nat64.Contains(ip) {
		b := ip.As16()
		ip = netip.AddrFrom4([4]byte(b[12:]))
	}
	bad := ip.IsLinkLocalUnicast() || ip.IsMulticast() || ip.IsUnspecified() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255})
	for _, p := range metadata {
		bad = bad || p.Contains(ip)
	}
	if bad {
		return fmt.Errorf("address %s is link-local, multicast or of a cloud's metadata, want another (or allow_link_local)", ip)
	}
	return nil
}

// Send implements Sender.
func (w *webhook) Send(ctx context.Context, m *Message) error {
	body, err := json.Marshal(m)
	if err != nil {
		return &Refused{fmt.Errorf("message %s: %w", m.ID, err)}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.cfg.URL, bytes.NewReader(body))
	if err != nil {
		return errors.New("webhook: a URL that cannot be used")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "panormus")
	req.Header.Set(HeaderID, m.ID)
	stamp := strconv.FormatInt(time.Now().Unix(), 10)
	req.Header.Set(HeaderTimestamp, stamp)
	if w.cfg.Secret.given() {
		secret, err := w.cfg.Secret.read()
		if err != nil {
			return err
		}
		req.Header.Set(HeaderSignature, "sha256="+hex.EncodeToString(Sign(secret, stamp, body)))
	}
	res, err := w.client.Do(req)
	if err != nil {
		// The library's error shows the URL, whose path or query may be a secret.
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer in time: %w", err)
		}
		return fmt.Errorf("post to %s: %w", req.URL.Host, err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer))
	switch code := res.StatusCode; {
	case code >= 200 && code < 300:
		return nil
	case code == http.StatusBadRequest, code == http.StatusRequestEntityTooLarge, code == http.StatusUnsupportedMediaType, code == http.StatusUnprocessableEntity:
		return &Refused{fmt.Errorf("post to %s: status %d, which is about the message", req.URL.Host, code)}
	case code >= 300 && code < 400:
		return fmt.Errorf("post to %s: status %d: a redirect, which is not followed", req.URL.Host, code)
	default: // a receiver that is being mended may answer anything
		err := fmt.Errorf("post to %s: status %d, want 200 to 299", req.URL.Host, code)
		if pause := retryAfter(res, time.Now()); pause > 0 {
			return &Later{fmt.Errorf("%w; it wants to be left alone for %v", err, pause), pause}
		}
		return err
	}
}

// retryAfter is what an answer asks for (RFC 9110, 10.2.3: seconds or a date), 0 where it does not.
func retryAfter(res *http.Response, now time.Time) time.Duration {
	v := res.Header.Get("Retry-After")
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	return max(0, at.Sub(now).Round(time.Second))
}

// Sign is the signature of a body at a timestamp.
func Sign(secret []byte, timestamp string, body []byte) []byte {
	h := hmac.New(sha256.New, secret)
	h.Write([]byte(timestamp))
	h.Write([]byte{'.'})
	h.Write(body)
	return h.Sum(nil)
}

// Close implements Sender.
func (w *webhook) Close() error {
	w.client.CloseIdleConnections()
	return nil
}

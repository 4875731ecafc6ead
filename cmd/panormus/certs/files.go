package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"slices"
	"time"
)

// Files are PEM files of a certificate, its key, and whom to trust; any may be "".
type Files struct {
	Cert string `yaml:"cert"` // with those that signed it, its own first
	Key  string `yaml:"key"`
	CA   string `yaml:"ca"` // whom to trust, or whose client certificates to ask for
	// CRL is a list of what CA takes back before it runs out, PEM or DER; of listeners.
	CRL string `yaml:"crl"`
}

// A Pair is what Files held when they were read.
type Pair struct {
	Certificate *tls.Certificate // nil: none is named
	Trust       *x509.CertPool   // nil: none is named
	Ends        time.Time        // when the first of the certificates runs out; zero without any
	Due         time.Time        // when the first of the lists of revoked ones should have been renewed; zero without any
	revoked     map[string]bool  // by issuer and serial number
	text        [4][]byte
}

// Revoked reports whether a certificate is on a list of revoked ones.
func (p *Pair) Revoked(c *x509.Certificate) bool {
	return len(p.revoked) > 0 && p.revoked[revokedKey(c.RawIssuer, c.SerialNumber)]
}

func revokedKey(issuer []byte, serial *big.Int) string {
	return string(issuer) + "\x00" + serial.String()
}

// Read reads and checks files.
func (f Files) Read() (*Pair, error) {
	p, err := f.read()
	if err != nil {
		return nil, err
	}
	return p, p.parse(f, time.Now())
}

func (f Files) read() (*Pair, error) {
	p := &Pair{}
	for i, name := range []string{f.Cert, f.Key, f.CA, f.CRL} {
		if name == "" {
			continue
		}
		var err error
		if p.text[i], err = os.ReadFile(name); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *Pair) same(o *Pair) bool {
	for i := range p.text {
		if !bytes.Equal(p.text[i], o.text[i]) {
			return false
		}
	}
	return true
}

// parse fills p from its text.
func (p *Pair) parse(f Files, now time.Time) error {
	if f.Cert != "" || f.Key != "" {
		chain, err := whole(p.text[0])
		if err != nil {
			return fmt.Errorf("certificate %s: %w", f.Cert, err)
		}
		c, err := tls.X509KeyPair(p.text[0], p.text[1])
		if err != nil {
			return fmt.Errorf("certificate %s and key %s: %w", f.Cert, f.Key, err)
		}
		p.Certificate = &c
		for i, link := range chain {
			if now.After(link.NotAfter) {
				return fmt.Errorf("certificate %s: number %d in it has run out on %s", f.Cert, i+1, link.NotAfter.UTC().Format(time.RFC3339))
			}
			if p.Ends.IsZero() || link.NotAfter.Before(p.Ends) {
				p.Ends = link.NotAfter
			}
		}
		if now.Before(chain[0].NotBefore) {
			return fmt.Errorf("certificate %s: good from %s on only", f.Cert, chain[0].NotBefore.UTC().Format(time.RFC3339))
		}
	}
	if f.CA != "" {
		trusted, err := whole(p.text[2])
		if err != nil {
			return fmt.Errorf("ca %s: %w", f.CA, err)
		}
		p.Trust = x509.NewCertPool()
		for _, c := range trusted {
			p.Trust.AddCert(c)
		}
		if f.CRL != "" {
			if err := p.revoke(trusted); err != nil {
				return fmt.Errorf("crl %s: %w", f.CRL, err)
			}
		}
	}
	if f.CRL != "" && f.CA == "" {
		return fmt.Errorf("crl %s without a ca whose certificates it takes back", f.CRL)
	}
	return nil
}

// revoke reads the lists of revoked certificates. Each must be signed by one who is trusted: else whoever writes the
// file could bring a lost certificate back by a list of his own. One that is overdue still counts, since to refuse
// all devices for it would darken the city; the keeper complains.
func (p *Pair) revoke(trusted []*x509.Certificate) error {
	p.revoked, p.Due = map[string]bool{}, time.Time{}
	text := p.text[3]
	der := [][]byte{text}
	if bytes.Contains(text, []byte("-----BEGIN")) {
		der = nil
		for {
			block, rest := pem.Decode(text)
			if block == nil {
				break
			}
			if text = rest; block.Type == "X509 CRL" {
				der = append(der, block.Bytes)
			}
		}
		if bytes.Contains(text, []byte("-----BEGIN")) {
			return errors.New("it ends in the middle of a block")
		}
	}
	if len(der) == 0 {
		return errors.New("no list of revoked certificates in it")
	}
	for i, b := range der {
		list, err := x509.ParseRevocationList(b)
		if err != nil {
			return fmt.Errorf("list %d in it: %w", i+1, err)
		}
		if !slices.ContainsFunc(trusted, func(ca *x509.Certificate) bool {
			return bytes.Equal(ca.RawSubject, list.RawIssuer) && list.CheckSignatureFrom(ca) == nil
		}) {
			return fmt.Errorf("list %d in it, of %q, is signed by none of the ca's certificates", i+1, list.Issuer)
		}
		for _, e := range list.RevokedCertificateEntries {
			p.revoked[revokedKey(list.RawIssuer, e.SerialNumber)] = true
		}
		if !list.NextUpdate.IsZero() && (p.Due.IsZero() || list.NextUpdate.Before(p.Due)) {
			p.Due = list.NextUpdate
		}
	}
	return nil
}

// whole reads the certificates of a PEM file, of which none may be cut off.
func whole(text []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			break
		}
		if text = rest; block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("number %d in it: %w", len(out)+1, err)
		}
		out = append(out, c)
	}
	if bytes.Contains(text, []byte("-----BEGIN")) {
		return nil, errors.New("it ends in the middle of a block")
	}
	if len(out) == 0 {
		return nil, errors.New("no certificate in it")
	}
	return out, nil
}

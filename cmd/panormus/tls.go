package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// server is the TLS of a listener, nil when no certificate is named. With CA it asks clients for
// certificates that CA signed.
func (f tlsFiles) server() (*tls.Config, error) {
	if f.Cert == "" && f.Key == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return nil, fmt.Errorf("tls certificate and key: %w", err)
	}
	c := &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	if f.CA != "" {
		if c.ClientCAs, err = pool(f.CA); err != nil {
			return nil, err
		}
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return c, nil
}

// client is the TLS towards a server, nil when nothing is named: the URL's scheme decides then.
func (f tlsFiles) client() (*tls.Config, error) {
	if f == (tlsFiles{}) {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if f.Cert != "" || f.Key != "" {
		cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("tls certificate and key: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	if f.CA != "" {
		var err error
		if c.RootCAs, err = pool(f.CA); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func pool(file string) (*x509.CertPool, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("tls ca: %w", err)
	}
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM(b) {
		return nil, fmt.Errorf("tls ca: no certificate in %s", file)
	}
	return p, nil
}

// Package certstest makes certificates for tests.
package certstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A CA signs certificates.
type CA struct {
	Pool *x509.CertPool
	File string // PEM
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// A Leaf is a certificate with its key.
type Leaf struct {
	TLS               tls.Certificate
	Leaf              *x509.Certificate
	CertPEM, KeyPEM   []byte
	CertFile, KeyFile string
}

// New makes a CA.
func New(t testing.TB, name string) *CA {
	t.Helper()
	ca := &CA{Pool: x509.NewCertPool(), key: newKey(t)}
	template := &x509.Certificate{
		SerialNumber: serial(t), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(480 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: []byte(name),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, ca.key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	ca.Pool.AddCert(ca.cert)
	ca.File = file(t, "ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return ca
}

// Server makes a certificate of this machine that is good for so long.
func (ca *CA) Server(t testing.TB, name string, good time.Duration) *Leaf {
	t.Helper()
	return ca.leaf(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, good)
}

// Client makes a certificate of a client, with further names, that is good for so long.
func (ca *CA) Client(t testing.TB, name string, good time.Duration, dns ...string) *Leaf {
	t.Helper()
	return ca.leaf(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: dns, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, good)
}

func (ca *CA) leaf(t testing.TB, template *x509.Certificate, good time.Duration) *Leaf {
	t.Helper()
	key := newKey(t)
	template.SerialNumber, template.NotBefore, template.NotAfter = serial(t), time.Now().Add(-24*time.Hour), time.Now().Add(good)
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, key.Public(), ca.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	l := &Leaf{TLS: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}}
	if l.Leaf, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	l.CertPEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	l.KeyPEM = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	l.CertFile, l.KeyFile = file(t, "cert.pem", l.CertPEM), file(t, "key.pem", l.KeyPEM)
	return l
}

// Revoke is a list, in PEM, of certificates that the CA takes back, which is to be renewed after so long.
func (ca *CA) Revoke(t testing.TB, number int64, due time.Duration, all ...*Leaf) []byte {
	t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(number), ThisUpdate: time.Now().Add(-48 * time.Hour), NextUpdate: time.Now().Add(due)}
	for _, l := range all {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: l.Leaf.SerialNumber, RevocationTime: time.Now().Add(-time.Hour)})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, ca.cert, ca.key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der})
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func serial(t testing.TB) *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 100))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func file(t testing.TB, name string, b []byte) string {
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

package broker

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"panormus/devices"
	"panormus/ingest/ingesttest"
)

func usersFile(t *testing.T, lines string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestUsers(t *testing.T) {
	hash, err := HashPassword("right")
	if err != nil {
		t.Fatal(err)
	}
	// The second is mosquitto_passwd's.
	u, err := LoadUsers(usersFile(t, "# city\nadmin:"+hash+"\n\n"+mosquittoLine+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	f := func(user, password string, want bool) {
		t.Helper()
		for range 2 { // the second time from memory
			if ok := u.knows(user, []byte(password)); ok != want {
				t.Errorf("%s with %q: %v, want %v", user, password, ok, want)
			}
		}
	}
	f("admin", "right", true)
	f("admin", "wrong", false)
	f("admin", "", false)
	f("nobody", "right", false)
	f("gateway", "palermo", true)
	f("gateway", "right", false)
}

func TestUsersErrors(t *testing.T) {
	f := func(lines, want string) {
		t.Helper()
		if _, err := LoadUsers(usersFile(t, lines)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", lines, err, want)
		}
	}
	f("x\n", ":1: no name and hash")
	f("\nadmin:secret\n", `:2: user "admin": hash, want $7$`)
	f("a:$7$0$AAAA$AAAA", `iterations "0"`)
	f("a:$7$10$****$AAAA", "salt")
	f("a:$7$10$AAAA$AAAA", "hash of 3 bytes")
	if _, err := LoadUsers("/does/not/exist"); err == nil {
		t.Error("a missing file was read")
	}
}

func TestAuthentication(t *testing.T) {
	hash, err := HashPassword("right")
	if err != nil {
		t.Fatal(err)
	}
	users, err := LoadUsers(usersFile(t, "admin:"+hash))
	if err != nil {
		t.Fatal(err)
	}
	l := ingesttest.NewLog()
	registry := ingesttest.NewRegistry()
	put(t, registry, devices.Device{ID: "pole-1", Domain: "lighting", Secret: "s3cret"})
	door, err := NewDoor(registry, users, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, p := start(t, l, func(c *Config) { c.Auth = door })
	connect := func(user, password string, welcome bool) *raw {
		t.Helper()
		c := dial(t, b)
		c.send(connectPacket("id-"+user, 4, true, user, password))
		if got := c.expect(0x20)[1]; (got == 0) != welcome {
			t.Errorf("%s with %q: return code %d, want 0: %v", user, password, got, welcome)
		}
		return c
	}
	connect("", "", false).gone()
	connect("admin", "wrong", false).gone()
	connect("pole-1", "right", false).gone()
	connect("pole-1", "", false).gone()
	admin := connect("admin", "right", true)
	admin.send(admin.publish("city/lighting/pole-7/telemetry", `{"a":1}`, 1, 1, 0))
	admin.acked(0x40)
	device := connect("pole-1", "s3cret", true)
	device.send(device.publish(pole, `{"a":1}`, 1, 1, 0))
	device.acked(0x40)
	device.send(device.publish("city/lighting/pole-2/telemetry", `{"a":1}`, 1, 2, 0)) // not its own
	device.gone()
	if s := p.Stats(); s.Received != 2 {
		t.Errorf("%d received, want 2", s.Received)
	}
	// A telemetry message that follows a refused CONNECT in one write is not taken.
	c := dial(t, b)
	c.send(append(connectPacket("x", 4, true, "admin", "wrong"), c.publish(pole, `{"a":2}`, 1, 1, 0)...))
	c.gone()
	if s := p.Stats(); s.Received != 2 {
		t.Errorf("%d received, want 2", s.Received)
	}
}

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "broker"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestTLS(t *testing.T) {
	cert, pool := certificate(t)
	l := ingesttest.NewLog()
	b, _ := start(t, l, func(c *Config) { c.TLS = &tls.Config{Certificates: []tls.Certificate{cert}} })
	nc, err := tls.Dial("tcp", b.Addr().String(), &tls.Config{RootCAs: pool})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	c := &raw{t: t, conn: nc, r: bufio.NewReader(nc)}
	c.connect("c1", 4, true)
	for i := range uint16(100) {
		c.send(c.publish(pole, `{"a":1}`, 1, i+1, 0))
	}
	for i := range uint16(100) {
		if id := c.acked(0x40); id != i+1 {
			t.Fatalf("acknowledged %d, want %d", id, i+1)
		}
	}
	plain := dial(t, b)
	plain.send(connectPacket("c2", 4, true, "", ""))
	plain.gone()
}

// mosquittoLine is what mosquitto_passwd 2.0.11 writes for user gateway and password palermo.
const mosquittoLine = "gateway:$7$101$T6j6eByEk+DQqN0x$hARRigZLV1nP1NDokkoIuS+pJRShuXZk6dsTG0TVPbukTZ5JPy1btMskzxJFviqqAUNfzfkpS59gCUtbcm//Ng=="

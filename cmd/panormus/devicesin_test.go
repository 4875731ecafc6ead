package main

import (
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"panormus/cmd/panormus/certs"
	"panormus/cmd/panormus/certs/certstest"
	"panormus/devices"
)

// TestDevicesLetIn has the Mosquitto project's clients log in with secrets and with certificates, renews the
// broker's certificate below a connection, and kills the process in between.
func TestDevicesLetIn(t *testing.T) {
	t.Parallel()
	ca := certstest.New(t, "Comune")
	server := ca.Server(t, "first", time.Hour)
	settings := filepath.Join(t.TempDir(), "panormus.yaml")
	if err := os.WriteFile(settings, fmt.Appendf(nil, "broker: {tls: {cert: %s, key: %s, ca: %s}, certificates: optional}\n", server.CertFile, server.KeyFile, ca.File), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startInstance(t, "--config", settings)
	const secret = "not-a-secret-that-lies-about-on-the-disk"
	pinned := ca.Client(t, "whatever", time.Hour)
	for id, d := range map[string]map[string]string{
		"pole-1": {"domain": "lighting", "secret": secret},
		"pole-2": {"domain": "lighting"},
		"pole-3": {"domain": "lighting", "certificate": devices.Fingerprint(pinned.Leaf.Raw)},
	} {
		c.put(http.MethodPut, "/api/v1/devices/"+id, d)
	}
	secure := func(flags ...string) []string { return append([]string{"--cafile", ca.File}, flags...) }
	with := func(l *certstest.Leaf) []string { return secure("--cert", l.CertFile, "--key", l.KeyFile) }
	password := secure("-u", "pole-1", "-P", secret)
	named, other := ca.Client(t, "lamp", time.Hour, "pole-2"), ca.Client(t, "pole-3", time.Hour)
	try := func(device string, flags []string, want bool) {
		t.Helper()
		if err := c.tryPublish("city/lighting/"+device+"/telemetry", `{"power_w":1}`, flags...); (err == nil) != want {
			t.Errorf("%s with %v: %v, want let in %v", device, flags, err, want)
		}
	}
	try("pole-1", password, true)
	try("pole-1", secure("-u", "lighting/pole-1", "-P", secret), true)
	try("pole-2", with(named), true)
	try("pole-3", with(pinned), true)
	try("pole-1", secure("-u", "pole-1", "-P", "wrong"), false)
	try("pole-1", secure(), false)
	try("pole-1", secure("-u", "pole-1"), false)
	try("pole-3", with(other), false)                                                    // it has another one of its own
	try("pole-1", with(ca.Client(t, "stranger", time.Hour)), false)                      // of nobody
	try("pole-2", with(certstest.New(t, "Altri").Client(t, "pole-2", time.Hour)), false) // of somebody else's
	try("pole-1", append(with(named), "-u", "pole-1"), false)                            // no other name than its own
	// What it may not publish it may not: the client says so, and nothing is stored.
	_ = c.tryPublish("city/lighting/pole-1/telemetry", `{"power_w":1}`, append(with(named), "-V", "mqttv5")...)
	if n := c.metric(`panormus_ingest_broker_denied_total{what="publish"}`); n != 1 {
		t.Errorf("%d denied, want 1", n)
	}
	c.eventually("what was let in is stored", func() error {
		n, err := c.sqlInt("SELECT count() FROM observations WHERE device LIKE 'pole-%'")
		if err == nil && n != 4 {
			err = fmt.Errorf("%d rows, want 4", n)
		}
		return err
	})

	c.kill()
	c.start()
	try("pole-1", password, true)
	try("pole-1", secure("-u", "pole-1", "-P", "wrong"), false)

	// The certificate is renewed; a connection that is there stays.
	held := exec.Command("mosquitto_sub", append([]string{"-h", "127.0.0.1", "-p", strings.Split(c.info.MQTT, ":")[1], "-t", "city/lighting/pole-1/command", "-C", "1", "-W", "120"}, password...)...)
	answer := &tail{}
	held.Stdout, held.Stderr = answer, answer
	if err := held.Start(); err != nil {
		t.Fatal(err)
	}
	c.eventually("it has subscribed", func() error {
		if n := c.metric("panormus_ingest_broker_subscriptions"); n != 1 {
			return fmt.Errorf("%d subscriptions", n)
		}
		return nil
	})
	next := ca.Server(t, "second", time.Hour)
	for file, b := range map[string][]byte{server.CertFile: next.CertPEM, server.KeyFile: next.KeyPEM} {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	c.eventually("the second certificate", func() error {
		nc, err := tls.Dial("tcp", c.info.MQTT, &tls.Config{RootCAs: ca.Pool})
		if err != nil {
			return err
		}
		defer nc.Close()
		if name := nc.ConnectionState().PeerCertificates[0].Subject.CommonName; name != "second" {
			return fmt.Errorf("certificate %s", name)
		}
		return nil
	})
	if nc, err := tls.Dial("tcp", c.info.MQTT, &tls.Config{RootCAs: ca.Pool, MaxVersion: tls.VersionTLS11}); err == nil { // it must be refused
		nc.Close()
		t.Error("TLS 1.1 is spoken")
	}
	try("pole-1", password, true)

	// Another secret ends the connection.
	c.put(http.MethodPut, "/api/v1/devices/pole-1", map[string]string{"domain": "lighting", "secret": devices.NewSecret()})
	c.eventually("the connection has ended", func() error {
		if n := c.metric("panormus_ingest_broker_revoked_connections_total"); n != 1 {
			return fmt.Errorf("%d revoked, want 1", n)
		}
		return nil
	})
	_ = held.Process.Kill()
	_ = held.Wait()
	try("pole-1", password, false)

	if err := c.stop(); err != nil {
		t.Error(err)
	}
	if strings.Contains(c.out.String(), secret) {
		t.Error("the process printed a secret")
	}
	err := filepath.WalkDir(c.data, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if b, err := os.ReadFile(path); err == nil && strings.Contains(string(b), secret) {
			t.Errorf("the secret is in %s", path)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func TestDoctorLooksAtCertificates(t *testing.T) {
	ca := certstest.New(t, "Comune")
	files := func(l *certstest.Leaf) certs.Files { return certs.Files{Cert: l.CertFile, Key: l.KeyFile} }
	cfg := defaults()
	cfg.Web.TLS = files(ca.Server(t, "soon", 13*24*time.Hour))
	cfg.Broker.TLS = files(ca.Server(t, "good", 15*24*time.Hour))
	cfg.VDS.TLS = files(ca.Server(t, "past", -time.Hour))
	var got []string
	for _, f := range checkCertificates(cfg) {
		got = append(got, fmt.Sprint(f.what, "|", f.err))
	}
	all := strings.Join(got, "\n")
	for _, want := range []string{"web.tls|the certificate runs out on ", "in 12 days: renew it", "broker.tls: the certificate is good until ", "|<nil>", "vds.tls|certificate ", "has run out on"} {
		if !strings.Contains(all, want) {
			t.Errorf("%s\nwant %q in it", all, want)
		}
	}
	if len(got) != 3 {
		t.Errorf("%s\nwant three findings", all)
	}
}

// TestClaimedDevice has a code made on the command line, redeemed by the API, and used up still after a crash,
// while the secret goes on letting the device in.
func TestClaimedDevice(t *testing.T) {
	t.Parallel()
	settings := filepath.Join(t.TempDir(), "panormus.yaml")
	if err := os.WriteFile(settings, []byte("broker: {auth: required}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startInstance(t, "--config", settings)
	run := func(args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if err := devicesCommand(t.Context(), args, &out); err != nil {
			t.Fatalf("devices %v: %v", args, err)
		}
		return out.String()
	}
	labels := t.TempDir()
	printed := run("claims", "make", "--data", c.data, "--count", "2", "--domain", "lighting", "--page", "https://panormus.example", "-o", labels)
	code := regexp.MustCompile(`[0-9A-Z]{5}(-[0-9A-Z]{5}){3}`).FindString(printed)
	if files, err := os.ReadDir(labels); err != nil || len(files) != 2 || code == "" {
		t.Fatalf("%s %v %v", printed, files, err)
	}
	if shown := run("claims", "make", "--data", c.data, "--domain", "lighting"); strings.Count(shown, "█") < 100 || !strings.Contains(shown, "/claim#") {
		t.Errorf("%s\nwant a QR code", shown)
	}
	redeem := func(device string) (status int, answer string) {
		return c.send(http.MethodPost, "/api/v1/claims/redeem", map[string]any{"code": code, "device": device, "lat": 38.11, "lon": 13.36})
	}
	status, answer := redeem("SN-1")
	var got struct {
		Username, Secret, Topic string
		MQTT                    struct {
			Host string
			Port int
		}
	}
	if err := json.Unmarshal([]byte(answer), &got); err != nil || status != 200 || fmt.Sprintf("%s:%d", got.MQTT.Host, got.MQTT.Port) != c.info.MQTT {
		t.Fatalf("%d %s", status, answer)
	}
	login := []string{"-u", got.Username, "-P", got.Secret}
	c.publish(got.Topic, `{"power_w":1}`, login...)
	c.kill()
	c.start()
	if status, answer := redeem("SN-2"); status != 404 {
		t.Errorf("redeemed again: %d %s", status, answer)
	}
	c.publish(got.Topic, `{"power_w":2}`, login...)
	if err := c.tryPublish("city/lighting/SN-2/telemetry", `{"power_w":2}`); err == nil {
		t.Error("somebody without a name is let in")
	}
	if listed := run("claims", "list", "--data", c.data); strings.Count(listed, " open ") != 2 || !strings.Contains(listed, "SN-1") || strings.Contains(listed, code) {
		t.Errorf("%s", listed)
	}
	file, secrets := filepath.Join(labels, "devices.csv"), filepath.Join(labels, "secrets.csv")
	if err := os.WriteFile(file, []byte("id,domain\nSN-1,lighting\nSN-3,lighting\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run("import", "--data", c.data, "--generate-secrets", "missing", "-o", secrets, file)
	b, err := os.ReadFile(secrets)
	if err != nil {
		t.Fatal(err)
	}
	made := regexp.MustCompile(`(?m)^id,secret\nSN-3,(\S{32})$`).FindStringSubmatch(string(b))
	if made == nil {
		t.Fatalf("%s, want a secret of SN-3 alone", b)
	}
	c.publish("city/lighting/SN-3/telemetry", `{"power_w":3}`, "-u", "SN-3", "-P", made[1])
	if strings.Contains(c.out.String(), got.Secret) || strings.Contains(c.out.String(), code) || strings.Contains(c.out.String(), made[1]) {
		t.Error("the process printed a secret")
	}
	var audit struct{ Entries []map[string]any }
	if err := c.decode("/api/v1/audit", &audit); err != nil {
		t.Fatal(err)
	}
	if all := fmt.Sprint(audit); !strings.Contains(all, "claim.redeemed") || !strings.Contains(all, "claims.made") || strings.Contains(all, code) || strings.Contains(all, got.Secret) {
		t.Errorf("%s", all)
	}
}

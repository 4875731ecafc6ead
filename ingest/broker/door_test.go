package broker

import (
	"cmp"
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"panormus/devices"
	"panormus/ingest"
	"panormus/ingest/ingesttest"
	"panormus/ingest/vds"
	"panormus/stream/privacy/privacytest"
)

func put(t testing.TB, r *devices.Registry, ds ...devices.Device) {
	t.Helper()
	for _, d := range ds {
		if err := r.PutDevice(context.Background(), d); err != nil {
			t.Fatal(err)
		}
	}
}

const strongSecret = "0123456789abcdefghijklmnop"

// doorway is a broker with two lamps, a camera and three accounts behind a door.
type doorway struct {
	t        *testing.T
	b        *Broker
	log      *ingesttest.Log
	registry *devices.Registry
}

func newDoorway(t *testing.T) *doorway {
	t.Helper()
	w := &doorway{t: t, registry: ingesttest.NewRegistry(), log: ingesttest.NewLog()}
	put(t, w.registry,
		devices.Device{ID: "pole-1", Domain: "lighting", Secret: strongSecret},
		devices.Device{ID: "pole-2", Domain: "lighting", Secret: strongSecret},
		devices.Device{ID: "city", Domain: "lighting", Secret: strongSecret},
		devices.Device{ID: "short", Domain: "lighting", Secret: "s3cret"},
		devices.Device{ID: "0102030405060708", Domain: "lorawan", Secret: strongSecret})
	hash, err := HashPassword("right")
	if err != nil {
		t.Fatal(err)
	}
	users, err := LoadUsers(usersFile(t, "admin:"+hash+"\nbridge:"+hash+"\nreader:"+hash+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	door, err := NewDoor(w.registry, users, []Account{
		{"bridge", Rights{Publish: []string{"+/gateway/+/event/#", "frigate/events", "bridges/{name}/#"}, Subscribe: []string{"+/gateway/+/command/#"}}},
		{"reader", Rights{Subscribe: []string{"city/#"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.b, _ = start(t, w.log, func(c *Config) {
		c.Auth = door
		c.Pump = ingesttest.NewPump(t, w.log, func(c *ingest.Config) {
			c.Routes, c.Video, c.Privacy = slices.Concat(ingest.DefaultRoutes(), ingest.VideoRoutes()), vds.Decoders(vds.Options{}), privacytest.Guard()
		})
	})
	return w
}

// enter connects as user, and returns the code of the answer.
func (w *doorway) enter(id string, version byte, user, password string) (*raw, byte) {
	w.t.Helper()
	c := dial(w.t, w.b)
	c.v5 = version == 5
	c.send(connectPacket(id, version, false, user, password))
	return c, c.expect(0x20)[1]
}

func (w *doorway) in(id string, version byte, user, password string) *raw {
	w.t.Helper()
	c, code := w.enter(id, version, user, password)
	if code != 0 {
		w.t.Fatalf("%s as %q: code %#x, want to be let in", id, user, code)
	}
	return c
}

// subscribe returns the code of a subscription.
func (c *raw) subscribe(filter string) byte {
	c.t.Helper()
	parts := [][]byte{{0, 7}}
	if c.v5 {
		parts = append(parts, []byte{0})
	}
	c.send(packet(0x82, append(parts, str(filter), []byte{1})...))
	body := c.expect(0x90)
	return body[len(body)-1]
}

// publishes tells whether a v5 client may publish to topic.
func (c *raw) publishes(topic string) bool {
	c.t.Helper()
	c.send(c.publish(topic, `{"a":1}`, 1, 9, 0))
	body := c.expect(0x40)
	switch {
	case len(body) < 3 || body[2] == 0 || body[2] == 0x10: // 0x10: nobody has subscribed
		return true
	case body[2] == 0x87:
		return false
	}
	c.t.Fatalf("%s: reason %#x, want 0 or 0x87", topic, body[2])
	return false
}

func TestDeviceTopics(t *testing.T) {
	w := newDoorway(t)
	for user, topics := range map[string]map[string]bool{
		"pole-1": {
			"city/lighting/pole-1/telemetry": true, "city/lighting/pole-1/telemetry/senml": true, "city/lighting/pole-1/telemetry/senml-cbor": true,
			"city/lighting/pole-1/status": true, "pole-1/onvif-ej/x": true, "vds/pole-1/dahua": true, "gateway/pole-1/event/up": true,
			"city/lighting/pole-2/telemetry": false, "city/water/pole-1/telemetry": false, "city/lighting/pole-1/command": false,
			"city/lighting/pole-1/command/dim": false, "city/lighting/pole-1/downlink/x": false, "pole-1/lighting/pole-2/telemetry": false,
			"city/lighting/pole-1": false, "pole-1/x": false, "frigate/events": false, "eu868/gateway/0102030405060708/event/up": false,
			"application/1/device/pole-2/event/up": false, "city//pole-1/telemetry": false, "city//pole-1/telemetry/senml": false, "application/pole-1/device/x/event/other": false, "city/pole-1/pole-2/telemetry": false,
		},
		"city":             {"city/lighting/pole-2/telemetry": false, "city/lighting/city/telemetry": true, "city/onvif-ej/x": true, "city/pole-2/onvif-ej/x": false},
		"lighting/pole-2":  {"city/lighting/pole-2/telemetry": true, "city/lighting/pole-1/telemetry": false},
		"0102030405060708": {"eu868/gateway/0102030405060708/event/up": true, "gateway/0102030405060708/event/stats": true, "gateway/0102030405060709/event/stats": false},
	} {
		c := w.in("tester", 5, user, strongSecret)
		for topic, want := range topics {
			if got := c.publishes(topic); got != want {
				t.Errorf("%s to %s: %v, want %v", user, topic, got, want)
			}
		}
	}
	for user, topics := range map[string]map[string]bool{
		"admin":  {"city/lighting/pole-2/telemetry": true, "frigate/events": true, "x": true, "$x/y": false},
		"bridge": {"eu868/gateway/ff/event/up": true, "gateway/ff/event/up": false, "frigate/events": true, "frigate/reviews": false, "bridges/bridge/a/b": true, "bridges/other/a": false, "city/lighting/pole-2/telemetry": false},
		"reader": {"city/lighting/pole-2/telemetry": false, "x": false},
	} {
		c := w.in("tester", 5, user, "right")
		for topic, want := range topics {
			if got := c.publishes(topic); got != want {
				t.Errorf("%s to %s: %v, want %v", user, topic, got, want)
			}
		}
	}
	for user, filters := range map[string]map[string]bool{
		"pole-1": {
			"city/lighting/pole-1/command/#": true, "city/lighting/pole-1/#": true, "gateway/pole-1/command/down": true, "+/gateway/pole-1/command/#": true,
			"$share/g/city/lighting/pole-1/command": true,
			"#":                                     false, "+/+/pole-1/#": false, "city/lighting/+/command": false, "city/lighting/pole-2/command": false, "$share/pole-1/#": false,
			"$share//city/lighting/pole-1/command": false, "$SHARE/g/city/#": false, "$SHARE/gateway/pole-1/command/#": false, "$share/pole-1/city/#": false, "$SYS/#": false, "+/lighting/pole-1/command": false, "city/#": false, "pole-1/#": false,
		},
		"bridge": {"eu868/gateway/+/command/#": true, "+/gateway/+/command/down": true, "#": false, "city/#": false, "+/gateway/+/+/down": false},
		"reader": {"city/#": true, "city/+/+/telemetry": true, "+/lighting/#": false, "#": false, "$SYS/#": false, "$share/g/city/#": true, "$share/g/#": false},
		"admin":  {"#": true, "$SYS/#": true},
	} {
		password := "right"
		if user == "pole-1" {
			password = strongSecret
		}
		for _, version := range []byte{4, 5} {
			for filter, want := range filters {
				c := w.in(fmt.Sprint("s", version), version, user, password)
				if code := c.subscribe(filter); (code < 0x80) != want || version == 5 && !want && code != 0x87 {
					t.Errorf("MQTT %d, %s subscribes to %s: code %#x, want granted: %v", version, user, filter, code, want)
				}
				c.conn.Close()
			}
		}
	}
	if d := w.b.Stats().Denied; d["publish"] == 0 || d["subscribe"] == 0 {
		t.Errorf("%v, want what was denied counted", d)
	}
}

// An alias stands for the topic that it was given with, whether that was allowed or not.
func TestAliasIsNoWayAround(t *testing.T) {
	w := newDoorway(t)
	c := w.in("tester", 5, "pole-1", strongSecret)
	for i, topic := range []string{"city/lighting/pole-2/telemetry", "$x/y", "elsewhere"} {
		alias := []byte{0x23, 0, byte(i + 1)}
		for _, name := range []string{topic, ""} {
			c.send(c.publish(name, `{"a":1}`, 1, 9, flagRetain, alias...))
			if body := c.expect(0x40); len(body) < 3 || body[2] != 0x87 {
				t.Errorf("%s by alias, %q: %x, want 0x87", topic, name, body)
			}
		}
	}
	admin := w.in("admin", 5, "admin", "right")
	for _, name := range []string{"$SYS/broker/uptime", "$SYS", "$sys/x"} {
		admin.send(admin.publish(name, `x`, 1, 8, 0), admin.publish(name, `x`, 2, 9, 0))
		if body := admin.expect(0x40); len(body) < 3 || body[1] != 8 || body[2] != 0x87 {
			t.Errorf("%s: %x, want 0x87", name, body)
		}
		if body := admin.expect(0x50); len(body) < 3 || body[1] != 9 || body[2] != 0x87 {
			t.Errorf("%s with QoS 2: %x, want 0x87", name, body)
		}
	}
	for _, name := range []string{"$x/y", ""} {
		admin.send(admin.publish(name, `x`, 1, 9, flagRetain, 0x23, 0, 1))
		if body := admin.expect(0x40); len(body) < 3 || body[2] != 0x87 {
			t.Errorf("$x by alias, %q: %x, want 0x87", name, body)
		}
	}
	if n := len(w.log.Rows()); n != 0 {
		t.Errorf("%d rows, want none", n)
	}
}

// The broker tells MQTT 3.1.1 clients by cutting them off, and drops what has no acknowledgement.
func TestDeniedInMQTT3(t *testing.T) {
	w := newDoorway(t)
	c := w.in("c", 4, "pole-1", strongSecret)
	c.send(c.publish("city/lighting/pole-2/telemetry", `{"a":1}`, 0, 0, 0), c.publish("city/lighting/pole-1/telemetry", `{"a":1}`, 1, 3, 0))
	c.acked(0x40)
	c.send(c.publish("city/lighting/pole-2/telemetry", `{"a":1}`, 1, 4, 0))
	c.gone()
	if rows := w.log.Rows(); len(rows) != 1 || rows[0].Device != "pole-1" || w.b.Stats().Denied["publish"] != 2 {
		t.Errorf("%d rows, %v; want one of pole-1 and two denied", len(rows), w.b.Stats().Denied)
	}
	admin := w.in("a", 4, "admin", "right")
	admin.send(admin.publish("$SYS/broker/uptime", "x", 0, 0, 0), packet(0xc0))
	admin.expect(0xd0)
	admin.send(admin.publish("$SYS/broker/uptime", "x", 1, 5, 0))
	admin.gone()
}

func TestWillsAreDenied(t *testing.T) {
	w := newDoorway(t)
	will := func(version byte, topic string) byte {
		c := dial(t, w.b)
		parts := [][]byte{str("MQTT"), {version, 0xc0 | 0x04 | 0x02 | 0x20, 0, 60}}
		if version == 5 {
			parts = append(parts, []byte{0})
		}
		parts = append(parts, str("willing"))
		if version == 5 {
			parts = append(parts, []byte{0})
		}
		c.send(packet(0x10, append(parts, str(topic), str(`{"a":1}`), str("pole-1"), str(strongSecret))...))
		code := c.expect(0x20)[1]
		c.conn.Close()
		return code
	}
	for _, topic := range []string{"city/lighting/pole-2/telemetry", "$SYS/broker", "city/+/pole-1/telemetry", "#"} {
		if code := will(4, topic); code != 5 {
			t.Errorf("will to %s: code %d, want 5", topic, code)
		}
		if code := will(5, topic); code != 0x87 {
			t.Errorf("will to %s: code %#x, want 0x87", topic, code)
		}
	}
	if code := will(5, "city/lighting/pole-1/telemetry"); code != 0 {
		t.Errorf("a will of its own: code %#x, want 0", code)
	}
	ingesttest.Eventually(t, "its own will is told", func() bool { return len(w.log.Rows()) == 1 })
}

// Nobody takes over the session of another by giving its client id, nor keeps the other out.
func TestClientIDsAreTheirOwners(t *testing.T) {
	w := newDoorway(t)
	first := w.in("pole-1", 4, "pole-1", strongSecret)
	if code := first.subscribe("city/lighting/pole-1/command"); code != 1 {
		t.Fatalf("subscribe: %#x", code)
	}
	thief := w.in("pole-1", 4, "pole-2", strongSecret)
	admin := w.in("pole-1", 4, "admin", "right")
	admin.send(admin.publish("city/lighting/pole-1/command", "on", 0, 0, 0))
	if body := first.expect(0x30); !strings.HasSuffix(string(body), "on") {
		t.Errorf("command %q, want on", body)
	}
	thief.send(packet(0xc0))
	thief.expect(0xd0)
	first.send(packet(0xc0))
	first.expect(0xd0)
	// Its own owner does take it over, subscriptions and all.
	second := w.in("pole-1", 4, "lighting/pole-1", strongSecret)
	first.gone()
	admin.send(admin.publish("city/lighting/pole-1/command", "off", 0, 0, 0))
	if body := second.expect(0x30); !strings.HasSuffix(string(body), "off") {
		t.Errorf("command %q, want off", body)
	}
}

func TestHostileNames(t *testing.T) {
	w := newDoorway(t)
	for _, name := range []string{"+", "#", "pole-1/#", "+/pole-1", "water/pole-1", "lighting/", "/pole-1", "device pole-1", "$SYS", strings.Repeat("x", 60_000), "pole-1 ", "POLE-1", "pole-1'--", "simulation"} {
		for _, version := range []byte{4, 5} {
			c, code := w.enter("x", version, name, strongSecret)
			if want := map[byte][2]byte{4: {5, 3}, 5: {0x86, 0x89}}[version]; code != want[0] && code != want[1] {
				t.Errorf("%.40q in MQTT %d: code %#x, want one of %x", name, version, code, want)
			}
			c.gone()
		}
	}
	// NUL is in no name: the broker hangs up, with an answer or without.
	for _, names := range [][2]string{{"x", "pole-1\x00"}, {"device pole-1\x00pole-1", "pole-2"}} {
		c := dial(t, w.b)
		c.send(connectPacket(names[0], 4, true, names[1], strongSecret))
		c.gone()
	}
}

// Whoever guesses has to wait, and others do not; what was guessed is not looked at meanwhile.
func TestGuessesAreThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := ingesttest.NewRegistry()
		put(t, r, devices.Device{ID: "pole-1", Domain: "lighting", Secret: strongSecret}, devices.Device{ID: "short", Domain: "lighting", Secret: "s3cret"},
			devices.Device{ID: "pole-2", Domain: "lighting", Secret: strongSecret})
		door, err := NewDoor(r, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		f := func(user, secret, remote string, want error) {
			t.Helper()
			if _, err := door.Authenticate(Login{User: user, Password: []byte(secret), Remote: remote}); err != want {
				t.Errorf("%s with %q from %s: %v, want %v", user, secret, remote, err, want)
			}
		}
		const thief = "10.0.0.1:1"
		for user, right := range map[string]string{"pole-1": strongSecret, "short": "s3cret", "nobody": ""} {
			for range 6 {
				f(user, "wrong", thief, ErrRefused)
			}
			f(user, "wrong", thief, ErrWait)
			f("lighting/"+user, cmp.Or(right, "x"), thief, map[bool]error{true: ErrWait, false: ErrRefused}[right != ""])
			if right != "" {
				f(user, right, "10.0.0.2:1", nil)
			}
		}
		f("pole-2", strongSecret, thief, nil)
		time.Sleep(1001 * time.Millisecond)
		f("pole-1", strongSecret, thief, nil)
		f("pole-1", "wrong", thief, ErrRefused)
		// One secret tried on many names: the address waits, but for secrets that nobody guesses.
		for i := range sprayed {
			_, _ = door.Authenticate(Login{User: fmt.Sprint("user-", i), Password: []byte("palermo"), Remote: thief})
		}
		f("another", "palermo", thief, ErrWait)
		f("short", "s3cret", thief, ErrWait)
		f("pole-2", strongSecret, thief, nil)
	})
}

// waiting has everybody wait.
type waiting struct{ Authenticator }

func (waiting) Authenticate(Login) (Grant, error) { return Grant{}, ErrWait }
func (waiting) Version() uint64                   { return 0 }

func TestThrottledAnswer(t *testing.T) {
	b, _ := start(t, ingesttest.NewLog(), func(c *Config) { c.Auth = waiting{} })
	for version, want := range map[byte]byte{4: 3, 5: 0x89} {
		c := dial(t, b)
		c.send(connectPacket("x", version, true, "pole-1", "x"))
		if code := c.expect(0x20)[1]; code != want {
			t.Errorf("MQTT %d: code %#x, want %#x", version, code, want)
		}
		c.gone()
	}
	if n := b.Stats().Denied["login_throttled"]; n != 2 {
		t.Errorf("%d throttled, want 2", n)
	}
}

// A revoked device's connection ends, without its will, and it is not let in again.
func TestRevocation(t *testing.T) {
	for name, revoke := range map[string]func(r *devices.Registry) error{
		"deleted": func(r *devices.Registry) error { return r.DeleteDevice(t.Context(), "pole-1") },
		"disabled": func(r *devices.Registry) error {
			return r.PutDevice(t.Context(), devices.Device{ID: "pole-1", Domain: "lighting", Status: devices.Disabled})
		},
		"rotated": func(r *devices.Registry) error {
			return r.PutDevice(t.Context(), devices.Device{ID: "pole-1", Domain: "lighting", Secret: devices.NewSecret()})
		},
		"other domain": func(r *devices.Registry) error {
			return r.PutDevice(t.Context(), devices.Device{ID: "pole-1", Domain: "water"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newDoorway(t)
			old, v5, other := w.in("a", 4, "pole-1", strongSecret), w.in("b", 5, "pole-1", strongSecret), w.in("c", 4, "pole-2", strongSecret)
			// The same secret put again changes nothing.
			put(t, w.registry, devices.Device{ID: "pole-1", Domain: "lighting", Name: "Pole", Secret: strongSecret})
			short := w.in("d", 4, "short", "s3cret")
			if err := w.registry.DeleteDevice(t.Context(), "short"); err != nil {
				t.Fatal(err)
			}
			short.gone()
			old.send(packet(0xc0))
			old.expect(0xd0)
			if err := revoke(w.registry); err != nil {
				t.Fatal(err)
			}
			old.gone()
			if body := v5.expect(0xe0); body[0] != 0x87 {
				t.Errorf("goodbye %x, want 0x87", body)
			}
			v5.gone()
			other.send(packet(0xc0))
			other.expect(0xd0)
			if name != "other domain" {
				if _, code := w.enter("a", 4, "pole-1", strongSecret); code != 5 {
					t.Errorf("code %d, want 5", code)
				}
			}
			if n := w.b.Stats().Revoked; n != 3 {
				t.Errorf("%d revoked, want 3", n)
			}
		})
	}
}

func TestCertificates(t *testing.T) {
	r := ingesttest.NewRegistry()
	cert := func(raw, cn string, dns ...string) *x509.Certificate {
		return &x509.Certificate{Raw: []byte(raw), Subject: pkix.Name{CommonName: cn}, DNSNames: dns}
	}
	put(t, r, devices.Device{ID: "pole-1", Domain: "lighting"}, devices.Device{ID: "pole-2", Domain: "lighting", Secret: strongSecret},
		devices.Device{ID: "pinned", Domain: "lighting", Secret: strongSecret, Certificate: devices.Fingerprint([]byte("pin"))},
		devices.Device{ID: "off", Domain: "lighting", Status: devices.Disabled})
	r.Sight("lighting", "sighted")
	door, err := NewDoor(r, nil, []Account{{"bridge", Rights{Publish: []string{"bridges/{name}"}}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		login Login
		want  string // "" for nobody
	}{
		{Login{Certificate: cert("a", "pole-1")}, "device pole-1"},
		{Login{Certificate: cert("a", "x", "y.example", "pole-1")}, "device pole-1"},
		{Login{Certificate: cert("a", "pole-2", "pole-1")}, "device pole-1"}, // DNS names are before the common name
		{Login{Certificate: cert("a", "pole-1"), User: "lighting/pole-1"}, "device pole-1"},
		{Login{Certificate: cert("a", "pole-1"), User: "pole-2"}, ""},
		{Login{Certificate: cert("a", "pole-1"), User: "pole-2", Password: []byte(strongSecret)}, "device pole-2"},
		{Login{Certificate: cert("a", "pole-1"), User: "pole-1", Password: []byte("wrong")}, ""},
		{Login{Certificate: cert("pin", "whoever")}, "device pinned"},
		{Login{Certificate: cert("pin", "pole-1")}, "device pinned"},
		{Login{Certificate: cert("a", "pinned")}, ""},
		{Login{Certificate: cert("pin", "x"), User: "pinned", Password: []byte(strongSecret)}, "device pinned"},
		{Login{Certificate: cert("a", "x"), User: "pinned", Password: []byte(strongSecret)}, ""},
		{Login{User: "pinned", Password: []byte(strongSecret)}, ""},
		{Login{Certificate: cert("a", "bridge")}, "user bridge"},
		{Login{Certificate: cert("a", "bridge"), User: "pole-1"}, ""},
		{Login{Certificate: cert("a", "off")}, ""},
		{Login{Certificate: cert("a", "sighted")}, ""},
		{Login{Certificate: cert("a", "nobody")}, ""},
		{Login{Certificate: cert("a", "+", "#", "city/lighting/pole-1", "")}, ""},
		{Login{}, ""},
	} {
		tc.login.Remote = "10.0.0.1:1"
		g, err := door.Authenticate(tc.login)
		if (err == nil) != (tc.want != "") || err == nil && g.Name != tc.want {
			t.Errorf("%+v: %q, %v; want %q", tc.login, g.Name, err, tc.want)
		}
	}
	// One that is removed is not back by what it sent in between, and a new certificate ends the older one's time.
	one, err1 := door.Authenticate(Login{Certificate: cert("a", "pole-1")})
	two, err2 := door.Authenticate(Login{Certificate: cert("a", "pole-2")})
	pinned, err3 := door.Authenticate(Login{Certificate: cert("pin", "x")})
	if err1 != nil || err2 != nil || err3 != nil || !door.Still(&one) || !door.Still(&two) || !door.Still(&pinned) {
		t.Fatal(err1, err2, err3)
	}
	if err := r.DeleteDevice(t.Context(), "pole-1"); err != nil {
		t.Fatal(err)
	}
	r.Sight("lighting", "pole-1")
	put(t, r, devices.Device{ID: "pole-2", Domain: "lighting", Certificate: devices.Fingerprint([]byte("b"))},
		devices.Device{ID: "pinned", Domain: "lighting", Certificate: devices.Fingerprint([]byte("pin 2"))})
	if door.Still(&one) || door.Still(&two) || door.Still(&pinned) {
		t.Errorf("%v %v %v, want none of them let in still", door.Still(&one), door.Still(&two), door.Still(&pinned))
	}
}

func TestAccountsErrors(t *testing.T) {
	for want, accounts := range map[string][]Account{
		`name "a/b"`:        {{Name: "a/b"}},
		`name "+"`:          {{Name: "+"}},
		`level "a#"`:        {{"x", Rights{Publish: []string{"a#"}}}},
		`level "#"`:         {{"x", Rights{Subscribe: []string{"#/a"}}}},
		"filter of 0 bytes": {{"x", Rights{Subscribe: []string{""}}}},
		"twice":             {{Name: "x"}, {Name: "x"}},
	} {
		if _, err := NewDoor(ingesttest.NewRegistry(), nil, accounts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v, want %s", accounts, err, want)
		}
	}
}

// BenchmarkLogin is what a device that comes back costs the door.
func BenchmarkLogin(b *testing.B) {
	for name, secret := range map[string]string{"generated": strongSecret, "short, known": "s3cret"} {
		b.Run(name, func(b *testing.B) {
			r := ingesttest.NewRegistry()
			put(b, r, devices.Device{ID: "pole-1", Domain: "lighting", Secret: secret})
			door, err := NewDoor(r, nil, nil)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, err := door.Authenticate(Login{User: "pole-1", Password: []byte(secret), Remote: "10.0.0.1:1234"}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

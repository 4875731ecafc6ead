package mqtt

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"panormus/ingest"
	"panormus/ingest/ingesttest"
)

// mosquitto is a real broker on a free port.
type mosquitto struct {
	t    *testing.T
	dir  string
	port int
	cmd  *exec.Cmd
}

func startMosquitto(t *testing.T, settings ...string) *mosquitto {
	t.Helper()
	m := &mosquitto{t: t, dir: t.TempDir(), port: freePort(t)}
	lines := append([]string{
		fmt.Sprintf("listener %d 127.0.0.1", m.port), "allow_anonymous true", "persistence true",
		"persistence_location " + m.dir + "/",
	}, settings...)
	if os.Getuid() == 0 {
		lines = append(lines, "user root")
	}
	if err := os.WriteFile(filepath.Join(m.dir, "conf"), []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.start()
	t.Cleanup(m.stop)
	return m
}

// freePort is below those that the kernel hands out: mosquitto takes no port 0, and while it is away no
// connection of another test gets its port.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		port := 20_000 + rand.IntN(12_000)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

func (m *mosquitto) url() string { return fmt.Sprintf("tcp://127.0.0.1:%d", m.port) }

func (m *mosquitto) start() {
	m.t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		if path = "/usr/sbin/mosquitto"; exec.Command(path, "-h").Err != nil {
			m.t.Fatal("mosquitto is missing: `make test` installs it (Debian package mosquitto)")
		}
	}
	m.cmd = exec.Command(path, "-c", filepath.Join(m.dir, "conf"))
	if err := m.cmd.Start(); err != nil {
		m.t.Fatalf("mosquitto: %v: `make test` installs it (Debian package mosquitto)", err)
	}
	ingesttest.Eventually(m.t, "mosquitto listens", func() bool {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", m.port))
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}

func (m *mosquitto) stop() {
	if m.cmd.Process != nil {
		_ = m.cmd.Process.Signal(os.Interrupt)
		_ = m.cmd.Wait()
	}
}

// publisher is a client that publishes to m.
func (m *mosquitto) publisher() paho.Client {
	m.t.Helper()
	c := paho.NewClient(paho.NewClientOptions().AddBroker(m.url()).SetClientID("publisher"))
	if tok := c.Connect(); !tok.WaitTimeout(time.Minute) || tok.Error() != nil {
		m.t.Fatal("connect to mosquitto: ", tok.Error())
	}
	m.t.Cleanup(func() { c.Disconnect(50) })
	return c
}

func publish(t *testing.T, c paho.Client, topic string, qos byte, retained bool, payload string) {
	t.Helper()
	if tok := c.Publish(topic, qos, retained, payload); !tok.WaitTimeout(time.Minute) || tok.Error() != nil {
		t.Fatal("publish: ", tok.Error())
	}
}

// run runs a source until the returned function is called.
func run(t *testing.T, p *ingest.Pump, cfg Config) (s *Source, stop func()) {
	t.Helper()
	cfg.Pump = p
	s, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Error("the source did not stop within a minute")
		}
	}
	t.Cleanup(stop)
	return s, stop
}

func connected(t *testing.T, s *Source, n int) {
	t.Helper()
	ingesttest.Eventually(t, "connected", func() bool { return s.Connected() == n })
}

func TestReads(t *testing.T) {
	m := startMosquitto(t)
	c := m.publisher()
	publish(t, c, "city/lighting/old/telemetry", 1, true, `{"a":1}`) // state, by the time we subscribe
	l := ingesttest.NewLog()
	p := ingesttest.NewPump(t, l, nil)
	s, _ := run(t, p, Config{URL: m.url(), ClientID: "panormus-test"})
	connected(t, s, 1)
	for qos := range byte(3) {
		publish(t, c, fmt.Sprintf("city/lighting/pole-%d/telemetry", qos), qos, qos == 1, `{"a":1}`)
	}
	publish(t, c, "city/lighting/pole-1/telemetry/senml", 1, false, `[{"n":"a","v":1}]`)
	publish(t, c, "city/lighting/pole-1/telemetry", 1, false, `garbage`)
	publish(t, c, "city/lighting/pole-1/else", 1, false, `not ours`)
	ingesttest.Eventually(t, "all on the log", func() bool { return len(l.Rows()) == 4 && len(l.Rejected()) == 1 })
	// What is on the log is counted once the log has said so.
	ingesttest.Eventually(t, "6 received and counted: 4, a rejected and a retained one", func() bool {
		st := p.Stats()
		return st.IgnoredBy["retained"] == 1 && st.Received == 6 && st.InFlight == 0
	})
}

// While the log stands still nothing is acknowledged, also over a restart of the source and of the
// broker; in the end every message is there once.
func TestNothingIsLost(t *testing.T) {
	m := startMosquitto(t, "max_inflight_messages 100")
	l := ingesttest.NewLog()
	p := ingesttest.NewPump(t, l, nil)
	cfg := Config{URL: m.url(), ClientID: "panormus-test"}
	s, stop := run(t, p, cfg)
	connected(t, s, 1)
	c := m.publisher()
	const n = 60
	send := func(from, to int) {
		for i := from; i < to; i++ {
			payload := `{"a":1}`
			if i%2 == 0 {
				payload = fmt.Sprintf(`{"ts":%d,"a":1}`, time.Now().UnixMilli())
			}
			publish(t, c, fmt.Sprintf("city/lighting/pole-%d/telemetry", i), 1, false, payload)
		}
	}
	send(0, 10)
	ingesttest.Eventually(t, "ten on the log", func() bool { return len(l.Rows()) == 10 })

	l.Block()
	send(10, 20)
	ingesttest.Eventually(t, "ten in flight", func() bool { return p.Stats().InFlight == 10 })
	stop() // without their acknowledgements
	send(20, 30)
	l.Unblock()
	s, stop = run(t, p, cfg)
	connected(t, s, 1)
	ingesttest.Eventually(t, "thirty on the log", func() bool { return len(l.Rows()) == 30 })

	c.Disconnect(50)
	m.stop()
	ingesttest.Eventually(t, "the loss is noticed", func() bool { return s.Connected() == 0 })
	m.start()
	connected(t, s, 1)
	c = m.publisher()
	send(30, n)
	ingesttest.Eventually(t, "all on the log", func() bool { return len(l.Rows()) >= n && p.Stats().InFlight == 0 })
	stop()
	seen := map[string]int{}
	for _, r := range l.Rows() {
		seen[r.Device]++
	}
	for i := range n {
		if got := seen[fmt.Sprint("pole-", i)]; got != 1 {
			t.Errorf("pole-%d: %d rows, want 1", i, got)
		}
	}
	if st := p.Stats(); st.Duplicates == 0 {
		t.Errorf("stats %+v, want the ten that came again among the duplicates", st)
	}
	// Everything was acknowledged: a new source gets nothing.
	before := p.Stats().Received
	s, stop = run(t, p, cfg)
	connected(t, s, 1)
	send(n, n+1)
	ingesttest.Eventually(t, "the new one is on the log", func() bool { return len(l.Rows()) == n+1 })
	stop()
	if got := p.Stats().Received - before; got != 1 {
		t.Errorf("%d messages after all was acknowledged, want only the new one", got)
	}
}

// Sessions that share a subscription divide the messages.
func TestShared(t *testing.T) {
	m := startMosquitto(t)
	l := ingesttest.NewLog()
	p := ingesttest.NewPump(t, l, nil)
	s, _ := run(t, p, Config{URL: m.url(), ClientID: "panormus-test", ShareGroup: "city", Sessions: 3})
	connected(t, s, 3)
	c := m.publisher()
	for i := range 90 {
		publish(t, c, fmt.Sprintf("city/lighting/pole-%d/telemetry", i), 1, false, `{"a":1}`)
	}
	ingesttest.Eventually(t, "all on the log", func() bool { return len(l.Rows()) == 90 })
	if st := p.Stats(); st.Received != 90 {
		t.Errorf("%d received, want each once", st.Received)
	}
}

// Pings are answered while the pump is blocked.
func TestPingsWhileBlocked(t *testing.T) {
	m := startMosquitto(t)
	l := ingesttest.NewLog()
	p := ingesttest.NewPump(t, l, func(c *ingest.Config) { c.BatchRows = 2 })
	s, _ := run(t, p, Config{URL: m.url(), ClientID: "panormus-test", KeepAlive: 3 * time.Second}) // mosquitto cuts off who is silent for 4.5 s
	connected(t, s, 1)
	l.Block()
	c := m.publisher()
	for range 12 {
		publish(t, c, "city/lighting/pole-1/telemetry", 1, false, `{"a":1}`)
	}
	ingesttest.Eventually(t, "blocked", func() bool { return p.Stats().Blocked == 1 })
	for end := time.Now().Add(6 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if s.Connected() != 1 {
			t.Fatal("the connection was lost while the pump was blocked")
		}
	}
	l.Unblock()
	ingesttest.Eventually(t, "all on the log", func() bool { return len(l.Rows()) == 12 })
}

func TestConfigErrors(t *testing.T) {
	p := ingesttest.NewPump(t, ingesttest.NewLog(), nil)
	f := func(want string, cfg Config) {
		t.Helper()
		cfg.Pump = p
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("New(%+v): %v, want an error with %q", cfg, err, want)
		}
	}
	f("want tcp://", Config{})
	f("want tcp://", Config{URL: "localhost:1883"})
	f("want tcp://", Config{URL: "http://localhost:1883"})
	f("2 sessions without a share group", Config{URL: "tcp://x:1", Sessions: 2})
	f("share group", Config{URL: "tcp://x:1", ShareGroup: "a/b"})
}

// A queue drops what promises nothing when it is full, and waits for the rest.
func TestQueue(t *testing.T) {
	q := newQueue(2 * overhead)
	if !q.put(fake{qos: 0}) || !q.put(fake{qos: 1}) || q.put(fake{qos: 0}) {
		t.Error("want two taken and the third, at QoS 0, dropped")
	}
	put := make(chan bool, 1)
	go func() { put <- q.put(fake{qos: 1, topic: "last"}) }()
	for range 2 {
		if _, ok := q.next(); !ok {
			t.Fatal("nothing to take, want two")
		}
	}
	if !<-put {
		t.Error("the message at QoS 1 was not taken, want it to wait for room")
	}
	q.close()
	if m, ok := q.next(); !ok || m.Topic() != "last" {
		t.Error("want what was put before the end")
	}
	if _, ok := q.next(); ok || q.put(fake{qos: 1}) {
		t.Error("want nothing after the end")
	}
}

type fake struct {
	paho.Message
	qos   byte
	topic string
}

func (f fake) Qos() byte       { return f.qos }
func (f fake) Topic() string   { return f.topic }
func (f fake) Payload() []byte { return nil }

package load

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A mosquitto is Debian's broker on a port of its own.
type mosquitto struct {
	addr   string
	config string
	cmd    *exec.Cmd
}

func newMosquitto(t *testing.T) *mosquitto {
	t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto" // not on every user's PATH
		if _, err := os.Stat(path); err != nil {
			t.Fatal("no mosquitto on this machine: `make test` installs it")
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close()
	m := &mosquitto{addr: addr, config: filepath.Join(t.TempDir(), "mosquitto.conf")}
	_, port, _ := net.SplitHostPort(addr)
	text := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\n", port)
	if err := os.WriteFile(m.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	m.start(t, path)
	t.Cleanup(m.kill)
	return m
}

func (m *mosquitto) start(t *testing.T, path string) {
	t.Helper()
	m.cmd = exec.Command(path, "-c", m.config)
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		c, err := net.Dial("tcp", m.addr)
		if err == nil {
			_ = c.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("mosquitto does not answer: %v", err)
		}
		time.Sleep(10 * time.Millisecond) // it has no way to tell that it listens
	}
}

func (m *mosquitto) kill() {
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait()
}

func TestMosquitto(t *testing.T) {
	m := newMosquitto(t)
	for _, qos := range []byte{0, 1} {
		t.Run(fmt.Sprintf("qos=%d", qos), func(t *testing.T) {
			r, err := Run(t.Context(), Options{Broker: m.addr, Connections: 10, QoS: qos, Devices: 100, Count: 20_000})
			if err != nil {
				t.Fatal(err)
			}
			if r.Sent != 20_000 || r.Unacked != 0 || r.Errors != 0 || qos == 1 && r.Acked != 20_000 {
				t.Errorf("%v %s; want 20000 sent and no trouble", r, r.FirstError)
			}
		})
	}
}

// TestMosquittoKilled kills the broker in the middle of a run; the run outlives it.
func TestMosquittoKilled(t *testing.T) {
	m := newMosquitto(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := Options{Broker: m.addr, Connections: 5, InFlight: 20, QoS: 1, Devices: 50, Rate: 5000}
	killed := false
	var before int64
	o.Progress = func(p Progress) {
		switch {
		case !killed:
			killed, before = true, p.Acked
			m.kill()
			m.start(t, m.cmd.Path)
		case p.Acked > before+1000:
			cancel()
		}
	}
	r, err := Run(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	if r.Unacked != 0 || r.Acked != r.Sent || r.Reconnects < 5 {
		t.Errorf("%v, %d reconnects; want all acked and 5 reconnects", r, r.Reconnects)
	}
}

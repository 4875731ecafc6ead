// Package mosquitto runs Debian's MQTT broker for the simulators' tests.
package mosquitto

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// A Broker is a mosquitto process on a port of its own.
type Broker struct {
	Addr   string // host:port
	path   string
	config string
	cmd    *exec.Cmd
}

// Start starts a broker and waits until it listens. It ends with the test. Without mosquitto on the
// machine the test fails.
func Start(t *testing.T) *Broker {
	t.Helper()
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		path = "/usr/sbin/mosquitto" // not on every user's PATH
		if _, err := os.Stat(path); err != nil {
			t.Fatal("no mosquitto on this machine: `make test` installs it")
		}
	}
	b := &Broker{Addr: freeAddr(t), path: path, config: filepath.Join(t.TempDir(), "mosquitto.conf")}
	_, port, _ := net.SplitHostPort(b.Addr)
	text := fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\n", port)
	if err := os.WriteFile(b.config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	b.Start(t)
	t.Cleanup(b.Kill)
	return b
}

// freeAddr is an address below those that the kernel hands out: mosquitto takes no port 0, and while it
// is away no connection of another test gets its port.
func freeAddr(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000))
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			return addr
		}
	}
	t.Fatal("no port is free")
	return ""
}

// Start starts a killed broker again, without memory of what it held.
func (b *Broker) Start(t *testing.T) {
	t.Helper()
	b.cmd = exec.Command(b.path, "-c", b.config)
	if err := b.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; {
		c, err := net.Dial("tcp", b.Addr)
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

// Kill ends the process without warning.
func (b *Broker) Kill() {
	_ = b.cmd.Process.Kill()
	_ = b.cmd.Wait()
}

package broker

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"panormus/ingest"
	"panormus/ingest/ingesttest"
)

// start runs a broker over l and returns its port.
func start(t testing.TB, l ingest.Publisher, change func(*Config)) (*Broker, *ingest.Pump) {
	t.Helper()
	p := ingesttest.NewPump(t, l, nil)
	cfg := Config{Pump: p, Addr: "127.0.0.1:0"}
	if change != nil {
		change(&cfg)
	}
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(time.Minute):
			t.Error("the broker did not stop within a minute")
		}
	})
	return b, p
}

// tool runs mosquitto_pub or mosquitto_sub against b.
func tool(t *testing.T, b *Broker, name string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is missing: `make test` installs it (Debian package mosquitto-clients)", name)
	}
	_, port, _ := strings.Cut(b.Addr().String(), ":")
	return exec.Command(path, append([]string{"-h", "127.0.0.1", "-p", port}, args...)...)
}

func publishWith(t *testing.T, b *Broker, args ...string) {
	t.Helper()
	if out, err := tool(t, b, "mosquitto_pub", args...).CombinedOutput(); err != nil {
		t.Fatalf("mosquitto_pub %v: %v\n%s", args, err, out)
	}
}

func TestMosquittoPub(t *testing.T) {
	l := ingesttest.NewLog()
	b, p := start(t, l, nil)
	n := 0
	for _, version := range []string{"mqttv311", "mqttv5"} {
		for qos := range 3 {
			for _, retain := range []bool{false, true} {
				args := []string{"-V", version, "-q", fmt.Sprint(qos), "-t", fmt.Sprintf("city/lighting/pole-%d/telemetry", n), "-m", fmt.Sprintf(`{"ts":%d,"power_w":83.2,"on":true}`, time.Now().UnixMilli())}
				if retain {
					args = append(args, "-r")
				}
				publishWith(t, b, args...)
				n++
				if qos > 0 { // acknowledged: it is there
					if rows := l.Rows(); rows[len(rows)-1].Device != fmt.Sprintf("pole-%d", n-1) && len(rows) != 2*n {
						t.Errorf("%v: %d rows after the acknowledgement, want %d", args, len(rows), 2*n)
					}
				}
			}
		}
	}
	// What is on the log is counted once the log has said so, and retained beside.
	ingesttest.Eventually(t, "all on the log, counted and retained", func() bool {
		return len(l.Rows()) == 2*n && p.Stats().InFlight == 0 && b.Stats().Retained >= 6
	})
	if s := p.Stats(); s.Received != uint64(n) || s.Decoded != uint64(n) {
		t.Errorf("stats %+v, want %d received and decoded", s, n)
	}
	out, err := tool(t, b, "mosquitto_sub", "-t", "city/#", "-C", "6", "-W", "60", "-v").CombinedOutput()
	if err != nil || strings.Count(string(out), "power_w") != 6 {
		t.Errorf("retained messages: %v\n%s", err, out)
	}
}

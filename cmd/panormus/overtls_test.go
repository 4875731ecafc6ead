package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"panormus/cmd/panormus/certs/certstest"
)

// TestEmbeddedBrokerOverTLS has the embedded broker ask everybody for a certificate: the simulated city of the same
// process is let in without leaving it, simulators of other processes by certificate, and receivers of notices both ways.
func TestEmbeddedBrokerOverTLS(t *testing.T) {
	ca := certstest.New(t, "Comune")
	server := ca.Server(t, "broker", time.Hour)
	own, reader := ca.Client(t, "generator", time.Hour), ca.Client(t, "reader", time.Hour)
	at := freePort(t)
	settings := filepath.Join(t.TempDir(), "panormus.yaml")
	if err := os.WriteFile(settings, fmt.Appendf(nil, `
broker:
  tls: {cert: %s, key: %s, ca: %s}
  accounts:
  - {name: generator, publish: ["#"]}
  - {name: reader, subscribe: ["alarms/#"]}
simulation: {devices: 20}
notify:
  receivers:
  - {id: inside, mqtt: {topic: "alarms/inside"}}
  - {id: outside, mqtt: {url: "ssl://%s", topic: "alarms/outside", ca: %s, cert: %s, key: %s, server_name: localhost}}
  routes:
  - {id: all, rules: [hot], receivers: [inside, outside], group_wait: 0s}
`, server.CertFile, server.KeyFile, ca.File, at, ca.File, own.CertFile, own.KeyFile), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startInstance(t, "--config", settings, "--mqtt", at, "--simulate", "palermo")
	c.eventually("the simulated city of the process is stored", func() error {
		n, err := c.sqlInt("SELECT count() FROM observations")
		if err == nil && n == 0 {
			err = fmt.Errorf("nothing is")
		}
		return err
	})

	// Of another process.
	secure := []string{"--mqtt", at, "--ca", ca.File, "--cert", own.CertFile, "--key", own.KeyFile, "--server-name", "localhost"}
	var out bytes.Buffer
	if err := simulateCommand(t.Context(), append(secure, "--load", "--connections", "3", "--devices", "3", "--count", "3000", "--json"), &out); err != nil {
		t.Fatal(err)
	}
	var report struct{ Acked int64 }
	if err := json.Unmarshal(out.Bytes(), &report); err != nil || report.Acked != 3000 {
		t.Fatalf("%s: %v, want 3000 acked", out.String(), err)
	}
	if err := simulateCommand(t.Context(), []string{"--mqtt", at, "--ca", ca.File, "--load", "--count", "1", "--connections", "1"}, &out); err == nil {
		t.Error("without a certificate somebody is let in")
	}
	for name, file := range map[string]string{"PANORMUS_MQTT": "ssl://" + at, "PANORMUS_CA": ca.File, "PANORMUS_CERT": own.CertFile, "PANORMUS_KEY": own.KeyFile} {
		t.Setenv(name, file)
	}
	clients := func() int64 { return c.metric("panormus_ingest_broker_clients") }
	const before = 3 // city, cameras and LoRaWAN of the process
	c.eventually("the simulated city is connected", func() error {
		if n := clients(); n != before {
			return fmt.Errorf("%d clients, want %d", n, before)
		}
		return nil
	})
	for _, flags := range [][]string{{"--devices", "2"}, {"--devices", "1", "--video"}} {
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() {
			if err := simulateCommand(ctx, flags, &bytes.Buffer{}); err != nil {
				t.Error(err)
			}
		})
		c.eventually(fmt.Sprint("it is connected: ", flags), func() error {
			if n := clients(); n <= before {
				return fmt.Errorf("%d clients, %d before", n, before)
			}
			return nil
		})
		stop()
		running.Wait()
		c.eventually("it is gone", func() error {
			if n := clients(); n > before {
				return fmt.Errorf("%d clients, %d before", n, before)
			}
			return nil
		})
	}

	// Notices: somebody reads what comes of a reading.
	c.put(http.MethodPut, "/api/v1/rules/hot", map[string]any{"id": "hot", "domain": "lighting", "severity": "major", "on": "observations", "when": "power_w > 90000", "text": "{device}"})
	_, port, _ := strings.Cut(at, ":")
	heard := &tail{}
	sub := exec.Command("mosquitto_sub", "-h", "127.0.0.1", "-p", port, "--cafile", ca.File, "--cert", reader.CertFile, "--key", reader.KeyFile, "-t", "alarms/#", "-F", "%t", "-W", "120")
	sub.Stdout, sub.Stderr = heard, heard
	if err := sub.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Process.Kill(); _ = sub.Wait() }()
	c.eventually("it has subscribed", func() error {
		if n := c.metric("panormus_ingest_broker_subscriptions"); n != 1 {
			return fmt.Errorf("%d subscriptions", n)
		}
		return nil
	})
	c.publish("city/lighting/hot-1/telemetry", `{"power_w":90001}`, "--cafile", ca.File, "--cert", own.CertFile, "--key", own.KeyFile)
	c.eventually("both receivers are told", func() error {
		if got := heard.String(); !strings.Contains(got, "alarms/inside") || !strings.Contains(got, "alarms/outside") {
			return fmt.Errorf("heard %q", got)
		}
		return nil
	})
	var system struct {
		Processes []struct {
			Version, Share string
			Roles          []string
			Quiet, Holds   bool
		}
	}
	c.eventually("the process is in the list", func() error {
		err := c.decode("/api/v1/system", &system)
		if err == nil && (len(system.Processes) != 1 || len(system.Processes[0].Roles) != 4 || system.Processes[0].Share != "all" || !system.Processes[0].Holds || system.Processes[0].Quiet) {
			err = fmt.Errorf("%+v", system)
		}
		return err
	})
	if err := c.stop(); err != nil {
		t.Error(err)
	}
}

// TestAPIOverTLS has the commands that ask a running process's API do so by its certificate's name.
func TestAPIOverTLS(t *testing.T) {
	ca := certstest.New(t, "Comune")
	server := ca.Server(t, "web", time.Hour)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"devices":[]}`)) }))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{server.TLS}}
	s.StartTLS()
	defer s.Close()
	data := &dataDir{path: t.TempDir()}
	if err := data.announce(runInfo{PID: os.Getpid(), HTTP: s.Listener.Addr().String(), HTTPTLS: true}); err != nil {
		t.Fatal(err)
	}
	export := func(flags ...string) error {
		return devicesCommand(t.Context(), append([]string{"export", "--data", data.path}, flags...), &bytes.Buffer{})
	}
	if err := export(); err == nil {
		t.Error("a certificate is trusted that nobody we trust has signed")
	}
	if err := export("--ca", ca.File); err != nil {
		t.Error(err)
	}
	if err := export("--ca", ca.File, "--server-name", "panormus.example"); err == nil {
		t.Error("a certificate for another name is taken")
	}
	t.Setenv("PANORMUS_CA", ca.File)
	if err := export(); err != nil {
		t.Error(err)
	}
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"panormus/simulators/load"
)

type stats struct {
	Received, Decoded, Rejected, Ignored, Logged, Stored, Events, Devices int64
	Lag                                                                   struct{ Writer, Rules int64 }
}

// TestNewcomer does what the README's first ten minutes do.
func TestNewcomer(t *testing.T) {
	t.Parallel()
	c := startInstance(t)
	c.publish("city/lighting/my-lamp/telemetry", `{"power_w":83.2,"dimming":0.7,"on":true,"status":"ok","position":{"lat":38.1157,"lon":13.3615}}`)

	c.eventually("the reading in the live state", func() error {
		var s struct {
			Devices []struct {
				ID     string
				Values map[string]any
			}
		}
		if err := c.decode("/api/v1/state?domain=lighting", &s); err != nil {
			return err
		}
		if len(s.Devices) != 1 || s.Devices[0].ID != "my-lamp" || s.Devices[0].Values["power_w"] != 83.2 || s.Devices[0].Values["status"] != "ok" {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	c.eventually("the reading in ClickHouse", func() error {
		got, err := c.sql("SELECT domain, metric, value, text, quality FROM observations WHERE device = 'my-lamp' ORDER BY metric FORMAT TSV")
		if err != nil {
			return err
		}
		want := "lighting\tdimming\t0.7\t\t32\nlighting\ton\t1\t\t32\nlighting\tposition_lat\t38.1157\t\t32\nlighting\tposition_lon\t13.3615\t\t32\nlighting\tpower_w\t83.2\t\t32\nlighting\tstatus\tnan\tok\t32"
		if got != want {
			return fmt.Errorf("%s", got)
		}
		return nil
	})
	c.eventually("the series", func() error {
		var s struct{ Points [][]any }
		if err := c.decode("/api/v1/series?device=my-lamp&metric=power_w", &s); err != nil {
			return err
		}
		if len(s.Points) != 1 || s.Points[0][1] != 83.2 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	var device struct{ ID, Domain, Status string }
	if err := c.decode("/api/v1/devices/my-lamp", &device); err != nil || device.Domain != "lighting" || device.Status != "unclaimed" {
		t.Errorf("the registry has %+v, %v; want an unclaimed lamp", device, err)
	}

	began := time.Now()
	if err := c.stop(); err != nil {
		t.Errorf("SIGTERM: %v, want exit code 0", err)
	}
	if took := time.Since(began); took > 3*stopWithin { // it gives up by itself; the machine may stand still
		t.Errorf("stopping took %v, want at most %v", took, stopWithin)
	}
	if _, err := os.Stat(filepath.Join(c.data, runFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("run.json after a clean stop: %v, want none", err)
	}
	c.start()
	c.eventually("the reading after a restart", func() error {
		var s struct {
			Devices []struct{ Values map[string]any }
		}
		if err := c.decode("/api/v1/state?limit=5", &s); err != nil {
			return err
		}
		if len(s.Devices) != 1 || s.Devices[0].Values["power_w"] != 83.2 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

// TestBadMessages publishes what devices should not and finds each kept with its reason, the
// books balanced and the process well.
func TestBadMessages(t *testing.T) {
	t.Parallel()
	c := startInstance(t)
	future := time.Now().Add(time.Hour).UnixMilli()
	for _, m := range []struct{ topic, payload string }{
		{"city/lighting/a/telemetry", `{"power_w":`},
		{"city/lighting/a/telemetry", `hello`},
		{"city/lighting/a/telemetry", ``},
		{"city/lighting/a/telemetry", `"text"`},
		{"city/lighting/a/telemetry", `{"ts":"yesterday","v":1}`},
		{"city/lighting/a/telemetry", strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000)},
		{"city/Lighting/a/telemetry", `{"v":1}`},
		{"city/lighting/a/telemetry/senml", `[{"n":"x"}]`},
		{"city/lighting/a/telemetry/senml-cbor", "\xff\xff"},
	} {
		c.publish(m.topic, m.payload)
	}
	c.publish("city/lighting/clock/telemetry", fmt.Sprintf(`{"ts":%d,"v":1}`, future))
	c.publish("city/lighting/twice/telemetry", fmt.Sprintf(`{"ts":%d,"v":1}`, time.Now().UnixMilli()), "-r")

	c.eventually("the rejected messages", func() error {
		n, err := c.sqlInt("SELECT count() FROM rejected WHERE reason != '' AND detail != ''")
		if err == nil && n != 9 {
			err = fmt.Errorf("%d, want 9", n)
		}
		return err
	})
	c.eventually("the device ahead of time", func() error {
		n, err := c.sqlInt("SELECT count() FROM observations WHERE device = 'clock' AND bitTest(quality, 0) AND time = received")
		if err == nil && n != 1 {
			err = fmt.Errorf("%d rows, want one under its receive time", n)
		}
		return err
	})
	var s stats
	if err := c.decode("/api/v1/stats", &s); err != nil || s.Received != 11 || s.Decoded != 2 || s.Rejected != 9 {
		t.Errorf("%+v, %v; want 11 received, 2 decoded, 9 rejected", s, err)
	}
}

// TestCrash kills the process and the database engine at random moments under load and then
// counts: every acknowledged message is in the database once, and nothing is there twice.
func TestCrash(t *testing.T) {
	t.Parallel()
	c := startInstance(t)
	ctx, enough := context.WithTimeout(t.Context(), 4*time.Minute)
	defer enough()
	loaded := make(chan error, 1)
	var killed atomic.Bool // as often as it is to be
	var report load.Report
	go func() {
		var err error
		report, err = load.Run(ctx, load.Options{
			Broker: c.info.MQTT, Connections: 10, InFlight: 50, QoS: 1, Rate: 4000,
			Devices: 200, Metrics: 5, Seed: 7, Domain: "lighting", Prefix: "crash", Drain: 2 * time.Minute,
			Progress: func(p load.Progress) {
				if killed.Load() && p.Sent >= 20_000 {
					enough()
				}
			},
		})
		loaded <- err
	}()
	for round := range 5 {
		time.Sleep(time.Duration(1500+rand.IntN(2500)) * time.Millisecond)
		if round%2 == 0 {
			c.kill()
			c.start()
			continue
		}
		if pid, err := c.enginePID(); err != nil {
			t.Error(err)
		} else if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	}
	killed.Store(true)
	if err := <-loaded; err != nil {
		t.Fatalf("load: %v", err)
	}
	t.Log(report)
	if report.Unacked != 0 || report.Acked != report.Sent || report.Sent < 20_000 {
		t.Fatalf("%v: want at least 20,000 sent and all acknowledged in the end", report)
	}
	c.eventually("every message stored", func() error {
		n, err := c.sqlInt("SELECT uniqExact(device, value) FROM observations WHERE metric = 'n' AND startsWith(device, 'crash-')")
		if err == nil && n < report.Acked {
			err = fmt.Errorf("%d of %d", n, report.Acked)
		}
		return err
	})
	c.eventually("nothing that waits", func() error {
		var s stats
		if err := c.decode("/api/v1/stats", &s); err != nil || s.Lag.Writer != 0 {
			return fmt.Errorf("%d batches, %w", s.Lag.Writer, err)
		}
		return nil
	})
	for what, want := range map[string]int64{
		"SELECT count() FROM observations WHERE metric = 'n' AND startsWith(device, 'crash-')":                                                                             report.Acked,
		"SELECT count() FROM observations WHERE startsWith(device, 'crash-')":                                                                                              report.Acked * 5,
		"SELECT sum(count) FROM observations_1m WHERE startsWith(device, 'crash-')":                                                                                        report.Acked * 5,
		"SELECT sum(count) FROM observations_1h WHERE startsWith(device, 'crash-')":                                                                                        report.Acked * 5,
		"SELECT count() FROM (SELECT device, max(value) m, count() n FROM observations WHERE metric = 'n' AND startsWith(device, 'crash-') GROUP BY device HAVING m != n)": 0,
	} {
		if got, err := c.sqlInt(what); err != nil || got != want {
			t.Errorf("%s: %d, %v; want %d", what, got, err, want)
		}
	}
}

// TestBrowser opens the page in a real browser and looks for a device published a moment ago and
// for the event it raised.
func TestBrowser(t *testing.T) {
	t.Parallel()
	rules := t.TempDir()
	rule := "rules:\n  - id: test-rule\n    title: {en: Far too bright, it: Troppa luce}\n    domain: lighting\n    severity: major\n    on: observations\n    when: power_w > 300\n    text: \"{device} draws {power_w} W\"\n"
	if err := os.WriteFile(filepath.Join(rules, "test.yaml"), []byte(rule), 0o600); err != nil {
		t.Fatal(err)
	}
	settings := filepath.Join(t.TempDir(), "panormus.yaml")
	if err := os.WriteFile(settings, []byte("rules: {dir: "+rules+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startInstance(t, "--config", settings)
	c.publish("city/lighting/browser-lamp/telemetry", `{"power_w":350.5,"position":{"lat":38.1157,"lon":13.3615}}`)
	c.eventually("the event", func() error {
		var list struct {
			Events []struct{ Rule, Text, Device string }
		}
		if err := c.decode("/api/v1/events?rule=test-rule", &list); err != nil {
			return err
		}
		if len(list.Events) != 1 || list.Events[0].Text != "browser-lamp draws 350.5 W" {
			return fmt.Errorf("%+v", list)
		}
		return nil
	})
	c.watchStreet("browser-camera")
	defer c.watchOn("browser-camera")()
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "e2e/smoke.mjs")
	cmd.Dir = "../../controlroom/web"
	cmd.Env = append(os.Environ(), "PANORMUS_URL=http://"+c.info.HTTP, "PANORMUS_DEVICE=browser-lamp",
		"PANORMUS_EVENT_TEXT=browser-lamp draws 350.5 W", "PANORMUS_CAMERA=browser-camera", "PANORMUS_TIMEOUT=90000", "PANORMUS_SHOTS="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the page: %v\n%s", err, out)
	}
}

// watchStreet registers a camera and publishes what it saw in the last four minutes, a frame a second
// in Axis' form: cars and people from left to right, over a line in the middle. It returns once they
// are counted.
func (c *instance) watchStreet(camera string) {
	c.t.Helper()
	c.put(http.MethodPut, "/api/v1/devices/"+camera, map[string]any{
		"domain": "safety", "name": "Street", "lat": 38.1157, "lon": 13.3617, "tags": map[string]string{"heading_deg": "90", "fov_deg": "70", "range_m": "60"},
		"camera": map[string]any{"purpose": "traffic", "legal_basis": "D.Lgs. 285/1992 art. 7", "controller": "Comune", "dpia_ref": "DPIA-1",
			"areas": []any{map[string]any{"name": "gate", "kind": "line", "points": [][2]float64{{0.5, 1}, {0.5, 0}}}}},
	})
	const seconds, crossing, every = 240, 10, 5 // an object needs 10 s, another comes every 5
	var frames strings.Builder
	start := time.Now().UTC().Add(-seconds * time.Second)
	for s := range seconds {
		var objects []string
		for n := max(0, (s-crossing)/every+1); n*every <= s; n++ {
			x := 0.05 + 0.9*float64(s-n*every)/crossing
			for class, y := range map[string]float64{"Car": 0.5, "Human": 0.8} {
				objects = append(objects, fmt.Sprintf(`{"bounding_box":{"left":%.3f,"right":%.3f,"top":%.2f,"bottom":%.2f},"class":{"type":%q,"score":0.9},"object_track_id":"%s%d"}`,
					x-0.04, x+0.04, y-0.1, y+0.1, class, class, n))
			}
		}
		fmt.Fprintf(&frames, `{"channel_id":1,"detections":[%s],"timestamp":%q}`+"\n", strings.Join(objects, ","), start.Add(time.Duration(s)*time.Second).Format("2006-01-02T15:04:05.000000Z"))
	}
	host, port, _ := strings.Cut(c.info.MQTT, ":")
	cmd := exec.Command("mosquitto_pub", "-h", host, "-p", port, "-q", "1", "-t", "vds/"+camera+"/axis-scene", "-l")
	cmd.Stdin = strings.NewReader(frames.String())
	if out, err := cmd.CombinedOutput(); err != nil {
		c.t.Fatalf("mosquitto_pub: %v: %s", err, out)
	}
	c.eventually("what the camera counted", func() error {
		var got struct {
			Zones []struct {
				Zone, Class string
				In, Out     int64
			}
		}
		if err := c.decode("/api/v1/cameras/"+camera+"/zones", &got); err != nil {
			return err
		}
		crossed := map[string]int64{}
		for _, z := range got.Zones {
			if z.Zone == "gate" {
				crossed[z.Class] = z.In + z.Out
			}
		}
		// The last whole minute, which is told for sure, ends 70 s ago at most.
		if least := int64((seconds - 80) / every); crossed["car"] < least || crossed["person"] < least {
			return fmt.Errorf("%+v; want at least %d cars and people over the gate", got, least)
		}
		return nil
	})
	var now struct {
		Now    map[string]float64
		Health struct {
			State   string
			FramesS float64 `json:"frames_per_s"`
		}
	}
	c.eventually("how the camera is", func() error {
		if err := c.decode("/api/v1/cameras/"+camera, &now); err != nil {
			return err
		}
		// Cars and people come every 5 s, so 12 a minute, and two of each are there at once.
		if now.Health.State != "ok" || now.Now["people_in"] < 11 || now.Now["people_in"] > 13 || now.Now["vehicles_present"] < 1.5 || now.Now["vehicles_present"] > 2.5 {
			return fmt.Errorf("%+v", now)
		}
		return nil
	})
}

// watchOn has the camera tell of an empty street every 20 s, so that it is not taken for silent, until
// the returned function is called.
func (c *instance) watchOn(camera string) (stop func()) {
	c.t.Helper()
	frames, hangUp := c.session("vds/" + camera + "/axis-scene")
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for tick := time.NewTicker(20 * time.Second); ; {
			select {
			case <-ended:
				return
			case at := <-tick.C:
				fmt.Fprintf(frames, `{"channel_id":1,"detections":[],"timestamp":%q}`+"\n", at.UTC().Format("2006-01-02T15:04:05.000000Z"))
			}
		}
	}()
	return func() {
		close(ended)
		<-done
		hangUp()
	}
}

// TestRefusedStarts starts what cannot run and reads why.
func TestRefusedStarts(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c := startInstance(t)
	for _, tc := range []struct {
		name, want string
		args       []string
	}{
		{"port in use", "another program has it", []string{"--data", t.TempDir(), "--http", taken.Addr().String(), "--mqtt", "127.0.0.1:0"}},
		{"broker's port in use", "another program has it", []string{"--data", t.TempDir(), "--http", "127.0.0.1:0", "--mqtt", taken.Addr().String()}},
		{"folder in use", "in use by another panormus", []string{"--data", c.data, "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"}},
		{"open to the world", "--insecure", []string{"--data", t.TempDir(), "--http", "0.0.0.0:0", "--mqtt", "127.0.0.1:0"}},
		{"broker open to the world", "--insecure", []string{"--data", t.TempDir(), "--http", "127.0.0.1:0", "--mqtt", "0.0.0.0:0"}},
		{"packet forwarders open to the world", "LoRaWAN UDP at 0.0.0.0:0", []string{"--data", t.TempDir(), "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--lorawan-udp", "0.0.0.0:0"}},
		{"packet forwarders' port in use", "another program has it", []string{"--data", t.TempDir(), "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--lorawan-udp", c.info.LoRaWANUDP}},
		{"cameras' listener open to the world", "vds.listen", []string{"--data", t.TempDir(), "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0", "--config", settingsFile(t, "vds: {listen: 0.0.0.0:0}")}},
		{"unknown flag", "flag provided but not defined", []string{"--htpp", "x"}},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		cmd := exec.CommandContext(ctx, filepath.Join(build(t), "panormus"), append([]string{"run", "--lorawan-udp", "127.0.0.1:0"}, tc.args...)...)
		out, err := cmd.CombinedOutput()
		cancel()
		if err == nil || !strings.Contains(string(out), tc.want) {
			t.Errorf("%s: %v, %s; want it refused with %q", tc.name, err, out, tc.want)
		}
	}
}

// TestForeignPage asks as a web page elsewhere would, through a name that leads to loopback.
func TestForeignPage(t *testing.T) {
	c := startInstance(t)
	for _, url := range []string{"http://" + c.info.HTTP + "/api/v1/state", c.info.ClickHouse + "/?query=SELECT%201"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "attacker.example"
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode/100 != 4 {
			t.Errorf("%s under another host's name: %s; want it refused", url, resp.Status)
		}
	}
}

// TestDevicesCommand takes the registry out and puts it back.
func TestDevicesCommand(t *testing.T) {
	c := startInstance(t)
	panormus := func(args ...string) string {
		t.Helper()
		out, err := exec.Command(filepath.Join(build(t), "panormus"), args...).CombinedOutput()
		if err != nil {
			t.Fatalf("panormus %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	file := filepath.Join(t.TempDir(), "mine.csv")
	if err := os.WriteFile(file, []byte("id,domain,name,lat,lon\nbin-1,waste,Ballarò 1,38.11,13.36\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	panormus("devices", "import", "--data", c.data, file)
	geo := panormus("devices", "export", "--data", c.data, "--format", "geojson")
	var collection struct {
		Features []struct {
			Geometry   struct{ Coordinates []float64 }
			Properties struct{ ID, Name string }
		}
	}
	if err := json.Unmarshal([]byte(geo), &collection); err != nil || len(collection.Features) != 1 ||
		collection.Features[0].Properties.Name != "Ballarò 1" || collection.Features[0].Geometry.Coordinates[0] != 13.36 {
		t.Errorf("exported %s, %v; want the bin at Ballarò", geo, err)
	}
	if doctor := panormus("doctor", "--data", c.data); !strings.Contains(doctor, "runs here already") {
		t.Errorf("the doctor says %s", doctor)
	}
}

// TestSimulatedCity runs the small city that a newcomer sees and waits for its life signs.
func TestSimulatedCity(t *testing.T) {
	t.Parallel()
	settings := filepath.Join(t.TempDir(), "panormus.yaml")
	if err := os.WriteFile(settings, []byte("simulation: {devices: 400}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startInstance(t, "--simulate", "palermo", "--config", settings)
	c.eventually("devices of every kind with values and events", func() error {
		n, err := c.sqlInt("SELECT uniqExact(domain) FROM observations")
		if err != nil || n < 4 {
			return fmt.Errorf("%d domains, %w", n, err)
		}
		if n, err = c.sqlInt("SELECT count() FROM events"); err != nil || n < 1 {
			return fmt.Errorf("%d events, %w", n, err)
		}
		if n, err = c.sqlInt("SELECT count() FROM detections"); err != nil || n < 1 {
			return fmt.Errorf("%d detections, %w", n, err)
		}
		if n, err = c.sqlInt("SELECT count() FROM rejected"); err != nil || n < 1 {
			return fmt.Errorf("%d rejected, %w: the city has broken devices", n, err)
		}
		return nil
	})
	var s struct {
		Devices []struct {
			ID       string
			Lat, Lon *float64
			Zone     string
		}
	}
	if err := c.decode("/api/v1/state?limit=50", &s); err != nil || len(s.Devices) == 0 || s.Devices[0].Lat == nil || s.Devices[0].Zone == "" {
		t.Errorf("state %+v, %v; want devices that have a place", s, err)
	}
}

package main

import (
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestKeptStatesSurviveARestart kills the process, and with it the embedded broker, while a camera is
// tampered with. Nobody tells of it anew, and yet it is known afterwards; the camera, which on its return
// tells of the same state as brokers of old keep it, makes no news of it.
func TestKeptStatesSurviveARestart(t *testing.T) {
	t.Parallel()
	c := startInstance(t)
	c.put(http.MethodPut, "/api/v1/devices/gate-1", map[string]any{
		"domain": "safety", "camera": map[string]string{"purpose": "traffic", "legal_basis": "C.d.S.", "controller": "Comune di Palermo", "dpia_ref": "DPIA-1"},
	})
	const topic = "gate-1/onvif-ej/VideoSource/GlobalSceneChange/ImagingService"
	at := time.Now().UTC().Truncate(time.Millisecond).Add(-time.Second)
	tell := func(at time.Time, state bool) {
		t.Helper()
		c.publish(topic, fmt.Sprintf(`{"UtcTime":%q,"Source":{"VideoSource":"1"},"Data":{"State":%v}}`, at.Format(time.RFC3339Nano), state), "-r")
	}
	rows := func(want int64) {
		t.Helper()
		c.eventually("what is known of the tampering", func() error {
			n, err := c.sqlInt("SELECT count() FROM detections WHERE camera = 'gate-1' AND what = 'tamper'")
			if err == nil && n != want {
				err = fmt.Errorf("%d rows, want %d", n, want)
			}
			return err
		})
	}
	tampered := func(want bool) {
		t.Helper()
		c.eventually(fmt.Sprint("tampered: ", want), func() error {
			var camera struct {
				Health struct {
					Tampered bool
					Seen     time.Time
				}
			}
			if err := c.decode("/api/v1/cameras/gate-1", &camera); err != nil {
				return err
			}
			if h := camera.Health; h.Tampered != want || h.Seen.IsZero() {
				return fmt.Errorf("%+v", h)
			}
			return nil
		})
	}
	tell(at, true)
	tampered(true)
	rows(1)

	for _, restart := range []func(){c.kill, func() {
		if err := c.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	}} {
		restart()
		c.start()
		tampered(true)
		tell(at, true)
		c.eventually("the repetition", func() error { // it is counted once the log knows of it
			if n := c.metric(`panormus_ingest_ignored_messages_total{why="duplicate"}`); n != 1 {
				return fmt.Errorf("%d, want 1", n)
			}
			return nil
		})
		rows(1)
	}
	tell(at.Add(2*time.Second), false)
	tampered(false)
	rows(2)
}

// TestRetainedMessagesSurviveACrash kills the process and asks the next one for what was retained.
func TestRetainedMessagesSurviveACrash(t *testing.T) {
	t.Parallel()
	c := startInstance(t)
	c.publish("state/lamp", "on", "-r")
	c.publish("state/gone", "x", "-r")
	c.publish("state/gone", "", "-r")
	read := func(want string) {
		t.Helper()
		c.eventually("retained "+want, func() error {
			_, port, _ := strings.Cut(c.info.MQTT, ":")
			out, err := exec.Command("mosquitto_sub", "-h", "127.0.0.1", "-p", port, "-t", "state/#", "-v", "--retained-only", "-W", "2").Output() // it ends by its time
			if got := strings.TrimSpace(string(out)); got != want {
				return fmt.Errorf("%q, %v", got, err)
			}
			return nil
		})
	}
	read("state/lamp on")
	c.eventually("it is kept", func() error { // a crash may lose a tenth of a second
		if n := c.metric("panormus_ingest_broker_unwritten_retained"); n != 0 {
			return fmt.Errorf("%d are unwritten", n)
		}
		return nil
	})
	c.kill()
	c.start()
	read("state/lamp on")
}

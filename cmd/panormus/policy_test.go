package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestPolicyCountsFromTheNextMessage changes a purpose, then the ground of a camera, while the camera
// stays connected.
func TestPolicyCountsFromTheNextMessage(t *testing.T) {
	t.Parallel()
	c := startInstance(t)
	camera := map[string]any{"domain": "safety", "camera": map[string]string{"purpose": "traffic", "legal_basis": "C.d.S.", "controller": "Comune di Palermo", "dpia_ref": "DPIA-1"}}
	c.put(http.MethodPut, "/api/v1/devices/gate-1", camera)
	in, hangUp := c.session("vds/gate-1/platerecognizer")
	defer hangUp()
	say := func(score int) {
		t.Helper()
		_, err := fmt.Fprintf(in, `{"data":{"timestamp":%q,"camera_id":"gate-1","results":[{"plate":"zq917xw","score":0.%d,"vehicle":{"type":"Sedan","score":0.8},"color":[{"color":"red","score":0.9}]}]}}`+"\n",
			time.Now().UTC().Format(time.RFC3339Nano), score)
		if err != nil {
			t.Fatal(err)
		}
	}
	row := func(score int, want string) {
		t.Helper()
		c.eventually("the row", func() error {
			got, err := c.sql(fmt.Sprintf("SELECT length(plate_hash), position(attributes, 'red') > 0, round((toUnixTimestamp(expires) - toUnixTimestamp(time)) / 3600) FROM detections WHERE abs(score - 0.%d) < 0.01 FORMAT TSV", score))
			if got = strings.TrimSpace(got); err != nil || got != want {
				return fmt.Errorf("%q, %w; want %q", got, err, want)
			}
			return nil
		})
	}
	say(91)
	row(91, "64\t0\t24")
	c.put(http.MethodPut, "/api/v1/purposes/traffic", map[string]any{"detections": "2h", "tracks": "2h", "plates": "none", "attributes": []string{"color"}, "k": 5})
	say(81)
	row(81, "0\t1\t2")
	delete(camera["camera"].(map[string]string), "dpia_ref")
	c.put(http.MethodPut, "/api/v1/devices/gate-1", camera)
	say(71)
	c.eventually("the refusal", func() error {
		n, err := c.sqlInt("SELECT count() FROM rejected WHERE reason = 'no_purpose' AND payload = ''")
		if err != nil || n != 1 {
			return fmt.Errorf("%d, %w; want 1", n, err)
		}
		return nil
	})
	if n, err := c.sqlInt("SELECT count() FROM detections"); err != nil || n != 2 {
		t.Errorf("%d rows, %v; want the 2 that were lawful", n, err)
	}
}

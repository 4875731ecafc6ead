package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// settingsFile writes a settings file for one run.
func settingsFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "panormus.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// TestCamerasPost posts what a camera sees, to the page's address and to the cameras' own.
func TestCamerasPost(t *testing.T) {
	t.Parallel()
	c := startInstance(t, "--config", settingsFile(t, "vds: {listen: 127.0.0.1:0}"))
	c.put(http.MethodPut, "/api/v1/devices/cam-1", map[string]any{
		"id": "cam-1", "domain": "safety", "secret": "s3cret",
		"camera": map[string]string{"purpose": "traffic", "legal_basis": "L. 120/2020", "controller": "Comune di Palermo", "dpia_ref": "DPIA-1"},
	})
	now := time.Now().UTC().Truncate(time.Second)
	post := func(url string, second int, change func(*http.Request)) int {
		t.Helper()
		r, err := http.NewRequest(http.MethodPost, url, strings.NewReader(`<EventNotificationAlert><dateTime>`+now.Add(time.Duration(-second)*time.Second).Format(time.RFC3339)+`</dateTime><eventType>VMD</eventType><eventState>active</eventState></EventNotificationAlert>`))
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			change(r)
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	for second, at := range []string{c.info.HTTP, c.info.VDS} {
		url := "http://" + at + "/vds/push/cam-1"
		for want, got := range map[int]int{
			200: post(url+"?key=s3cret", second, nil),
			401: post(url, second, nil),
			403: post(url+"?key=s3cret", second, func(r *http.Request) { r.Header.Set("Origin", "http://attacker.example") }),
			421: post(url+"?key=s3cret", second, func(r *http.Request) { r.Host = "attacker.example" }),
		} {
			if got != want {
				t.Errorf("%s: %d, want %d", at, got, want)
			}
		}
	}
	c.eventually("both in ClickHouse", func() error {
		n, err := c.sqlInt("SELECT count() FROM detections WHERE camera = 'cam-1' AND what = 'motion' AND purpose = 'traffic'")
		if err == nil && n != 2 {
			err = fmt.Errorf("%d, want 2", n)
		}
		return err
	})
}

// Cameras are answered while what the page shows is not there yet.
func TestFrontTakesPushesFirst(t *testing.T) {
	f := newFront(nil, nil)
	f.setPush(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	for path, want := range map[string]int{"/vds/push/cam-1": 200, "/vds/pushes": 503, "/": 503} {
		w := httptest.NewRecorder()
		f.ServeHTTP(w, httptest.NewRequest(http.MethodPost, path, nil))
		if w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
}

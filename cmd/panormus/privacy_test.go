package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"panormus/controlroom/auth"
)

// person is somebody with a token.
type person struct {
	c     *instance
	token string
}

func (p person) ask(method, path, body string) (int, map[string]any) {
	p.c.t.Helper()
	req, err := http.NewRequest(method, "http://"+p.c.info.HTTP+path, strings.NewReader(body))
	if err != nil {
		p.c.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.c.t.Fatal(err)
	}
	defer resp.Body.Close()
	var got map[string]any
	json.NewDecoder(resp.Body).Decode(&got)
	return resp.StatusCode, got
}

func (p person) must(status int, method, path, body string) map[string]any {
	p.c.t.Helper()
	code, got := p.ask(method, path, body)
	if code != status {
		p.c.t.Fatalf("%s %s: %d %v, want %d", method, path, code, got, status)
	}
	return got
}

// TestPlates follows a stolen car: a camera reads its plate, the list raises an event, two people
// reveal it, each act is in the audit log, and the plate is nowhere in clear.
func TestPlates(t *testing.T) {
	t.Parallel()
	const plate = "ZQ917XW"
	var lines []string
	tokens := map[string]string{}
	for name, role := range map[string]string{"rosalia": "", "agata": " role=data_protection"} {
		token, line, err := auth.NewToken(name)
		if err != nil {
			t.Fatal(err)
		}
		tokens[name], lines = token, append(lines, line+role)
	}
	dir := t.TempDir()
	file, config := filepath.Join(dir, "tokens"), filepath.Join(dir, "panormus.yaml")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, []byte("web: {tokens: "+file+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &instance{t: t, data: t.TempDir(), args: []string{"--config", config}}
	c.start()
	t.Cleanup(c.end)
	rosalia, agata := person{c, tokens["rosalia"]}, person{c, tokens["agata"]}

	rosalia.must(200, "PUT", "/api/v1/devices/gate-1", `{"domain":"safety","camera":{"purpose":"plate_recognition","legal_basis":"D.L. 14/2017","controller":"Comune di Palermo","dpia_ref":"DPIA-1"}}`)
	if got := rosalia.must(200, "PUT", "/api/v1/plates/lists/stolen", `{"title":"Stolen","purposes":["plate_recognition"],"plates":["zq 917-xw"]}`); got["plates"] != nil || got["count"] != 1. {
		t.Errorf("a list shows %v", got)
	}
	at := time.Now().UTC().Truncate(time.Millisecond)
	c.publish("vds/gate-1/platerecognizer", fmt.Sprintf(`{"data":{"timestamp":%q,"camera_id":"gate-1","results":[{"box":{"xmin":1,"ymin":1,"xmax":9,"ymax":9},"plate":%q,"score":0.9,"candidates":[{"plate":%q,"score":0.9}],"vehicle":{"type":"Sedan","score":0.8}}]}}`,
		at.Format(time.RFC3339Nano), strings.ToLower(plate), plate))
	c.eventually("the event of the list", func() error {
		code, got := rosalia.ask("GET", "/api/v1/events?rule=plate-list:stolen", "")
		events, _ := got["events"].([]any)
		if code != 200 || len(events) != 2 {
			return fmt.Errorf("%d %v, want a raised and a cleared event", code, got)
		}
		e := events[0].(map[string]any)
		if e["device"] != "gate-1" || e["severity"] != "major" || e["context"].(map[string]any)["list"] != "stolen" {
			return fmt.Errorf("%v", e)
		}
		return nil
	})
	c.eventually("the sealed plate in ClickHouse", func() error {
		if n, err := c.sqlInt("SELECT count() FROM plates WHERE camera = 'gate-1'"); err != nil || n != 1 {
			return fmt.Errorf("%d, %v", n, err)
		}
		return nil
	})
	asked := rosalia.must(201, "POST", "/api/v1/plates/reveals", fmt.Sprintf(`{"camera":"gate-1","time":%q,"reason":"stolen car at the gate","case":"2026/17"}`, at.Format(time.RFC3339Nano)))
	path := "/api/v1/plates/reveals/" + asked["id"].(string)
	rosalia.must(403, "POST", path+"/approve", "")
	agata.must(200, "POST", path+"/approve", "")
	if got := agata.must(200, "GET", path, ""); got["plate"] != nil {
		t.Errorf("the second person sees %v", got["plate"])
	}
	got := rosalia.must(200, "GET", path, "")
	hash, _ := got["plate_hash"].(string)
	if got["plate"] != plate || len(hash) != 64 {
		t.Fatalf("%v, want the plate and its hash", got)
	}
	if events := fmt.Sprint(agata.must(200, "GET", "/api/v1/events", "")); strings.Contains(events, hash[:12]) {
		t.Errorf("an event, which is kept for years, holds a part of the hash: %s", events)
	}
	verify := func(args ...string) (string, error) {
		var out bytes.Buffer
		err := auditCommand(context.Background(), append([]string{"verify", "--data", c.data}, args...), &out)
		return out.String(), err
	}
	rosalia.must(403, "GET", "/api/v1/audit", "") // an admin is not who reads it
	said, err := verify("--token", tokens["agata"])
	if err != nil || !strings.Contains(said, "whole: 7 entries") {
		t.Errorf("%q, %v; want the start, device.put, list.put, three steps of the reveal and that the log was read", said, err)
	}
	for _, path := range []string{"/api/v1/audit", "/api/v1/events", "/api/v1/plates/lists", "/api/v1/plates/reveals", "/api/v1/state", "/api/v1/alarms"} {
		if got := fmt.Sprint(agata.must(200, "GET", path, "")); strings.Contains(strings.ToUpper(got), plate) {
			t.Errorf("%s tells the plate", path)
		}
	}
	if err := c.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	// What was asked again within the minute is one entry with it.
	if again, err := verify("--head", strings.Fields(said)[len(strings.Fields(said))-1]); err != nil || !strings.Contains(again, "whole: 8 entries") {
		t.Errorf("of the stopped process: %q, %v; want the reading of the reveals beside those before", again, err)
	}
	if _, err := verify("--head", strings.Repeat("ab", 32)); err == nil || !strings.Contains(err.Error(), "noted head") {
		t.Errorf("%v, want that the noted head is not there", err)
	}
	if strings.Contains(strings.ToUpper(c.out.String()), plate) {
		t.Error("the process printed the plate")
	}
	err = filepath.WalkDir(c.data, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(bytes.ToUpper(b), []byte(plate)) {
			t.Errorf("%s holds the plate in clear", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	// Without its master key it does not start, unless it is told to.
	key := filepath.Join(c.data, "keys", "master.key")
	if err := os.Rename(key, key+".away"); err != nil {
		t.Fatal(err)
	}
	c.launch()
	if err := <-c.done; err == nil || !strings.Contains(c.out.String(), "bring the right file back") {
		t.Errorf("%v, want a refusal to start with another master key:\n%s", err, c.out)
	}
	c.done <- nil
	if err := os.WriteFile(config, []byte("web: {tokens: "+file+"}\nprivacy: {lost_key: true}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.start()
	if err := c.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if err := os.Rename(key+".away", key); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, []byte("web: {tokens: "+file+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.start()
	if info, err := os.Stat(filepath.Join(c.data, "keys", "master.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("master key: %v, %v; want mode 0600", info, err)
	}
}

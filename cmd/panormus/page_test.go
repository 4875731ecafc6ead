package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"panormus/controlroom/basemap/maptest"
)

// TestPageBehindLogin opens the page in a real browser as a viewer, an operator of one domain, an agency and
// an admin, over a base map of tiles; and the page where devices are let in.
func TestPageBehindLogin(t *testing.T) {
	t.Parallel()
	dir, rules := t.TempDir(), t.TempDir()
	tiles, settings := filepath.Join(dir, "base.pmtiles"), filepath.Join(dir, "panormus.yaml")
	if err := os.WriteFile(tiles, maptest.PMTiles([]maptest.Layer{{Name: "water", East: 1, South: 1}}), 0o600); err != nil {
		t.Fatal(err)
	}
	rule := "rules:\n  - id: test-rule\n    domain: lighting\n    severity: major\n    on: observations\n    when: power_w > 300\n    text: \"{device} draws {power_w} W\"\n"
	if err := os.WriteFile(filepath.Join(rules, "test.yaml"), []byte(rule), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(settings, []byte("rules: {dir: "+rules+"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startInstance(t, "--config", settings, "--map", tiles)
	c.put("PUT", "/api/v1/zones/centro", map[string]any{
		"type": "Feature", "properties": map[string]any{"id": "centro", "name": "Centro", "kind": "district"},
		"geometry": map[string]any{"type": "Polygon", "coordinates": [][][2]float64{{{13.25, 38.05}, {13.45, 38.05}, {13.45, 38.2}, {13.25, 38.2}, {13.25, 38.05}}}},
	})
	for id, domain := range map[string]string{"page-lamp": "lighting", "page-bus": "mobility"} {
		c.put("PUT", "/api/v1/devices/"+id, map[string]any{"domain": domain, "zone": "centro", "lat": 38.12, "lon": 13.36})
	}
	c.publish("city/mobility/page-bus/telemetry", `{"speed_kmh":30}`)
	c.publish("city/lighting/page-lamp/telemetry", `{"power_w":350.5}`)
	c.eventually("the alarm", func() error {
		var list struct{ Alarms []struct{ Device string } }
		if err := c.decode("/api/v1/alarms?severity=major", &list); err != nil || len(list.Alarms) != 1 {
			return fmt.Errorf("%+v, %w", list, err)
		}
		return nil
	})
	const password = "a password for the browser"
	// From the first of them on everybody has to say who they are.
	token, ok := (person{c, ""}).must(200, "PUT", "/api/v1/tokens/test", `{"role":"admin"}`)["token"].(string)
	if !ok {
		t.Fatal("no token is given")
	}
	admin := person{c, token}
	admin.must(200, "PUT", "/api/v1/users/capo", `{"role":"admin","password":"`+password+`"}`)
	for name, grant := range map[string]string{
		"seen":    `"role":"viewer"`,
		"luce":    `"role":"domain_operator","scope":{"areas":[{"domain":"lighting"}]}`,
		"polizia": `"role":"agency","expires":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `","scope":{"areas":[{"domain":"lighting"}],"share":["events"]}`,
	} {
		admin.must(200, "PUT", "/api/v1/users/"+name, `{`+grant+`,"password":"`+password+`"}`)
	}
	made, _ := admin.must(200, "POST", "/api/v1/claims", `{"domain":"lighting"}`)["claims"].([]any)
	if len(made) != 1 {
		t.Fatalf("claims %v, want one", made)
	}
	code, _ := made[0].(map[string]any)["code"].(string)
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "e2e/page.mjs")
	cmd.Dir = "../../controlroom/web"
	cmd.Env = append(os.Environ(), "PANORMUS_URL=http://"+c.info.HTTP, "PANORMUS_PASSWORD="+password, "PANORMUS_DEVICE=page-lamp", "PANORMUS_CLAIM="+code, "PANORMUS_TIMEOUT=90000")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the page: %v\n%s", err, out)
	}
}

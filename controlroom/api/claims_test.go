package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"panormus/controlroom/claims"
)

// claimStore is a store whose news nobody needs: one book stands before it.
type claimStore struct{ memory }

func (m *claimStore) Create(ctx context.Context, key string, value []byte) (bool, error) {
	m.mu.Lock()
	_, there := m.held[key]
	m.mu.Unlock()
	if there {
		return false, nil
	}
	return true, m.Put(ctx, key, value)
}

func TestClaims(t *testing.T) {
	var desk *claims.Desk
	store := &claimStore{}
	s := newSite(t, func(c *Config) {
		desk = &claims.Desk{Book: claims.New(store, c.Registry, slog.New(slog.DiscardHandler)), Broker: func(string) *claims.Endpoint { return &claims.Endpoint{Host: "h", Port: 1883} }, Log: slog.New(slog.DiscardHandler)}
		c.Claims = desk
	})
	post := func(path, body string, want int) map[string]any {
		t.Helper()
		w := s.ask("POST", path, body)
		var out map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != want {
			t.Fatalf("POST %s %s: %d %s, want %d", path, body, w.Code, w.Body, want)
		}
		return out
	}
	made := post("/api/v1/claims", `{"count":2,"domain":"lighting","note":"lot 7"}`, 200)["claims"].([]any)
	first := made[0].(map[string]any)
	code := first["code"].(string)
	if len(made) != 2 || first["path"] != "/claim#"+code || first["state"] != "open" {
		t.Errorf("%v", made)
	}
	for body, want := range map[string]int{
		`{"count":0,"domain":"lighting"}`: 422, `{"domain":"Luce"}`: 422, `{}`: 422, `{"domain":"lighting","expires":"2001-01-01T00:00:00Z"}`: 422, `{"x":1}`: 400, `[`: 400,
	} {
		post("/api/v1/claims", body, want)
	}
	for body, want := range map[string]int{`{"code":"x"}`: 404, `{}`: 404, fmt.Sprintf(`{"code":%q,"device":"a b"}`, code): 422, fmt.Sprintf(`{"code":%q,"lat":1}`, code): 422, `{"kode":"x"}`: 400} {
		post("/api/v1/claims/redeem", body, want)
	}
	got := post("/api/v1/claims/redeem", fmt.Sprintf(`{"code":%q,"device":"SN-1","lat":38.1,"lon":13.3}`, code), 200)
	secret, _ := got["secret"].(string)
	if a := s.registry.Lookup("SN-1"); a == nil || !a.HasSecret([]byte(secret)) || got["username"] != "SN-1" || got["topic"] != "city/lighting/SN-1/telemetry" || got["mqtt"].(map[string]any)["port"] != 1883.0 {
		t.Errorf("%v", got)
	}
	post("/api/v1/claims/redeem", fmt.Sprintf(`{"code":%q,"device":"SN-1"}`, made[1].(map[string]any)["code"]), 409)
	for state, want := range map[string]int{"": 2, "?state=open": 1, "?state=used": 1, "?state=expired": 0} {
		var list struct{ Claims []claimItem }
		s.get("/api/v1/claims"+state, &list)
		if len(list.Claims) != want {
			t.Errorf("%q: %+v, want %d", state, list, want)
		}
		for _, c := range list.Claims {
			if c.Code != "" || c.Path != "" || c.State == "used" && (c.Device != "SN-1" || c.Redeemed == nil) {
				t.Errorf("%+v, want no code, and the device that came in", c)
			}
		}
	}
	if w := s.ask("DELETE", "/api/v1/claims/"+first["id"].(string), ""); w.Code != 204 {
		t.Errorf("delete: %d %s", w.Code, w.Body)
	}
	if w := s.ask("DELETE", "/api/v1/claims/x", ""); w.Code != 404 {
		t.Errorf("delete nothing: %d", w.Code)
	}
	wait := 0
	for range 20 {
		w := s.ask("POST", "/api/v1/claims/redeem", `{"code":"x"}`)
		if w.Code == 429 && w.Header().Get("Retry-After") != "" {
			wait++
		}
	}
	if wait == 0 {
		t.Error("20 wrong codes in a row are all looked at")
	}
}

func TestGeneratedSecrets(t *testing.T) {
	s := newSite(t, nil)
	s.put("/api/v1/devices/has", `{"domain":"water","secret":"old"}`)
	csv := "id,domain,secret\nhas,water,\ngiven,water,mine\nnone,water,\n"
	post := func(query string) (ids []string, secrets map[string]string) {
		t.Helper()
		w := s.ask("POST", "/api/v1/devices"+query, csv, "Content-Type", "text/csv")
		var out struct {
			Upserted int
			Secrets  []madeSecret
		}
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || out.Upserted != 3 {
			t.Fatalf("%d %s", w.Code, w.Body)
		}
		secrets = map[string]string{}
		for _, m := range out.Secrets {
			ids, secrets[m.ID] = append(ids, m.ID), m.Secret
		}
		return ids, secrets
	}
	is := func(id, secret string) bool { return s.registry.Lookup(id).HasSecret([]byte(secret)) }
	ids, secrets := post("?generate=missing")
	if strings.Join(ids, " ") != "none" || !is("none", secrets["none"]) || !is("has", "old") || !is("given", "mine") {
		t.Errorf("missing: %v", ids)
	}
	if ids, _ := post(""); ids != nil {
		t.Errorf("not asked for: %v", ids)
	}
	ids, all := post("?generate=all")
	if strings.Join(ids, " ") != "has given none" || !is("has", all["has"]) || !is("given", all["given"]) || is("none", secrets["none"]) {
		t.Errorf("all: %v", ids)
	}
	if w := s.ask("POST", "/api/v1/devices?generate=yes", csv, "Content-Type", "text/csv"); w.Code != 422 {
		t.Errorf("%d, want 422", w.Code)
	}
}

package main

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// TestUsers enters an admin beside a stopped process, logs in to the one that is started then, and has the
// command line change users over its API.
func TestUsers(t *testing.T) {
	c := &instance{t: t, data: t.TempDir()}
	c.start()
	t.Cleanup(c.kill)
	if got := (person{c, ""}).must(200, "GET", "/api/v1/me", ""); got["via"] != "open" || got["role"] != "admin" {
		t.Errorf("without users: %v, want that everything is open", got)
	}
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	users := func(args ...string) string {
		t.Helper()
		var out bytes.Buffer
		if err := usersCommand(context.Background(), append([]string{args[0], "--data", c.data}, args[1:]...), &out); err != nil {
			t.Fatalf("users %v: %v", args, err)
		}
		return out.String()
	}
	password := regexp.MustCompile(`shown once:\n  (\S+)`)
	made := password.FindStringSubmatch(users("add", "rosalia", "role=admin"))
	if made == nil {
		t.Fatal("no password is shown")
	}
	c.start()
	base := "http://" + c.info.HTTP
	(person{c, ""}).must(401, "GET", "/api/v1/devices", "")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.PostForm(base+"/login", url.Values{"name": {"rosalia"}, "password": {made[1]}, "next": {"/alarms"}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/alarms" || len(resp.Cookies()) != 1 {
		t.Fatalf("login: %s %v", resp.Status, resp.Header)
	}
	asked, err := http.NewRequest(http.MethodPut, base+"/api/v1/tokens/cli", strings.NewReader(`{"role":"admin"}`))
	if err != nil {
		t.Fatal(err)
	}
	asked.AddCookie(resp.Cookies()[0])
	answer, err := client.Do(asked)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var body bytes.Buffer
	_, _ = body.ReadFrom(answer.Body)
	token := regexp.MustCompile(`"token":"([^"]+)"`).FindStringSubmatch(body.String())
	if answer.StatusCode != 200 || token == nil {
		t.Fatalf("a token: %s %s", answer.Status, &body)
	}
	t.Setenv("PANORMUS_TOKEN", token[1])
	if out := users("add", "--totp", "vito", "role=domain_operator", "areas=lighting@centro"); !strings.Contains(out, "otpauth://") {
		t.Errorf("%s", out)
	}
	users("disable", "vito")
	if out := users("list"); !strings.Contains(out, "rosalia              admin\n") || !strings.Contains(out, "vito                 domain_operator lighting@centro with a second factor disabled\n") {
		t.Errorf("%s", out)
	}
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}
	if out := users("list"); !strings.Contains(out, "domain_operator lighting@centro with a second factor disabled") {
		t.Errorf("beside the stopped process: %s", out)
	}
	var out bytes.Buffer
	if err := auditCommand(context.Background(), []string{"verify", "--data", c.data}, &out); err != nil || !strings.Contains(out.String(), "whole") {
		t.Errorf("%v: %s", err, &out)
	}
	if strings.Contains(c.out.String(), made[1]) || strings.Contains(c.out.String(), token[1]) {
		t.Error("the process printed a secret")
	}
}

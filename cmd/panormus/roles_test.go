package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"panormus/controlroom/auth"
	"panormus/stream/alarms"
)

// A matrix is the table of roles that is kept beside the policy: by route or topic and role, "y", "p" or "-".
type matrix struct {
	columns []string
	rows    map[string][]string
}

func readMatrix(t *testing.T) matrix {
	t.Helper()
	b, err := os.ReadFile("../../controlroom/auth/testdata/roles.txt")
	if err != nil {
		t.Fatal(err)
	}
	m := matrix{rows: map[string][]string{}}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSpace(line)
		if line[0] == '#' {
			m.columns = strings.Split(strings.TrimPrefix(line, "# "), ", ") // the last such line counts
			continue
		}
		words := strings.Fields(line)
		signs := len(words) - len(m.columns)
		m.rows[strings.Join(words[:signs-1], " ")] = words[signs:]
	}
	if len(m.columns) != len(theRoles)+1 || len(m.rows) < 80 {
		t.Fatalf("%d columns, %d rows: the table is not read", len(m.columns), len(m.rows))
	}
	return m
}

// TestRolesFromOutside holds a process to the table of roles: every route over HTTP, every topic over the feed,
// and the page.
func TestRolesFromOutside(t *testing.T) {
	m := readMatrix(t)
	f := newFortress(t, "  require_login: true\n")
	id := regexp.MustCompile(`\{\w+\}`)
	// Ids that nothing has: what is let in finds nothing, and changes nothing.
	address := func(pattern string) (method, path string) {
		if pattern == "page" {
			return "GET", "/"
		}
		method, path, _ = strings.Cut(pattern, " ")
		return method, id.ReplaceAllString(path, "none-such")
	}
	for i, role := range m.columns {
		token := f.tokens[role] // "" for nobody
		conn, _, err := f.feed("Authorization", "Bearer "+token)
		if (err == nil) != (role != "nobody") {
			t.Fatalf("%s: the feed: %v", role, err)
		}
		for name, signs := range m.rows {
			may := signs[i] != "-"
			if topic, ok := strings.CutPrefix(name, "feed "); ok {
				if conn != nil && subscribes(t, conn, topic) != may {
					t.Errorf("%s: feed %s: let in %v, want %v", role, topic, !may, may)
				}
				continue
			}
			method, path := address(name)
			status := f.status(token, method, path)
			switch {
			case name == "GET /login/oidc" || name == "GET /login/callback": // no provider: there is nothing there
			case name == "POST /login" && status == 401: // as it answers whoever it does not know
			case role == "nobody" && (status == 401) == may, role != "nobody" && (status == 401 || (status == 403) == may):
				t.Errorf("%s: %s: %d, want that it may: %v", role, name, status, may)
			case status >= 500 && status != 501:
				t.Errorf("%s: %s: %d", role, name, status)
			}
		}
		if conn != nil {
			conn.Close()
		}
	}
}

// status asks and returns the status alone.
func (f *fortress) status(token, method, path string) int {
	f.t.Helper()
	req, err := http.NewRequest(method, "http://"+f.info.HTTP+path, strings.NewReader("{}"))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		f.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// subscribes reports whether a topic is served.
func subscribes(t *testing.T, conn *websocket.Conn, topic string) bool {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	say := func(format string, a ...any) {
		if err := conn.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, format, a...)); err != nil {
			t.Fatal(err)
		}
	}
	say(`{"op":"subscribe","id":%q,"topic":%q}`, topic, topic)
	for {
		_, data, err := conn.ReadMessage()
		var got struct{ Type, ID, Detail string }
		if err != nil || json.Unmarshal(data, &got) != nil {
			t.Fatalf("topic %s: %s, %v", topic, data, err)
		}
		if got.ID != topic {
			continue
		}
		if got.Type == "error" {
			if !strings.Contains(got.Detail, "permission") {
				t.Errorf("topic %s: %s", topic, data)
			}
			say(`{"op":"ping","n":1}`) // three bad ones in a row would end it
			return false
		}
		return true
	}
}

// TestScopeFromOutside has those who see the lighting alone look at everything for what is not theirs.
func TestScopeFromOutside(t *testing.T) {
	f := newFortress(t, "")
	admin := f.as("admin")
	for id, body := range map[string]string{"lamp-1": `{"domain":"lighting","zone":"centro","lat":38.1,"lon":13.3}`, "bin-1": `{"domain":"waste","zone":"centro","lat":38.1,"lon":13.3}`} {
		admin.must(200, "PUT", "/api/v1/devices/"+id, body)
	}
	for _, domain := range []string{"lighting", "waste"} {
		admin.must(200, "PUT", "/api/v1/rules/hot-"+domain, fmt.Sprintf(`{"id":"hot-%s","title":{"en":"Hot","it":"Caldo"},"domain":%q,"severity":"warning","on":"observations","when":"temp_c > 50","text":"{device} is hot"}`, domain, domain))
	}
	for id, device := range map[string]string{"w1": "lamp-1", "w2": "bin-1"} { // later, so that it holds nothing back
		admin.must(200, "PUT", "/api/v1/maintenance/"+id, fmt.Sprintf(`{"device":%q,"from":"2999-01-01T00:00:00Z","to":"2999-01-02T00:00:00Z"}`, device))
	}
	f.publish("city/lighting/lamp-1/telemetry", `{"temp_c":60}`)
	f.publish("city/waste/bin-1/telemetry", `{"temp_c":61}`)
	f.eventually("two alarms, and the readings in the database", func() error {
		n, err := f.sqlInt("SELECT count() FROM observations")
		code, got := admin.ask("GET", "/api/v1/alarms", "")
		if list, _ := got["alarms"].([]any); err != nil || n < 2 || code != 200 || len(list) != 2 {
			return fmt.Errorf("%d readings, %w; %d alarms, %d", n, err, len(list), code)
		}
		events, _ := admin.must(200, "GET", "/api/v1/events", "")["events"].([]any)
		if len(events) != 2 {
			return fmt.Errorf("%d events", len(events))
		}
		return nil
	})
	hidden := regexp.MustCompile(`bin-1|hot-waste|` + alarms.ID("hot-waste", "bin-1"))
	seen := map[string]string{ // path, and what is to be seen there of one's own
		"/api/v1/state": "lamp-1", "/api/v1/devices": "lamp-1", "/api/v1/events": "lamp-1", "/api/v1/alarms": "lamp-1", "/api/v1/domains/lighting/groups": `"devices":1`, "/api/v1/domains/waste/groups": `"groups":[]`,
		"/api/v1/alarms/health": "lamp-1", "/api/v1/maintenance": "lamp-1", "/api/v1/rule-stats": "hot-lighting",
		"/api/v1/state/changes?time=" + time.Now().UTC().Format(time.RFC3339): "", "/api/v1/cap": "lamp-1",
		"/api/v1/export?table=observations&format=jsonl": "lamp-1", "/api/v1/export?table=events&format=csv": "lamp-1", "/api/v1/export?table=observations_1m&format=csv": "",
		"/api/v1/gateways": "", "/api/v1/radio/devices": "", "/api/v1/export?table=alarm_log&format=csv": alarms.ID("hot-lighting", "lamp-1"),
	}
	// Whatever there is to be read of a part, asked about what is not in it: a new route is asked, too.
	about := url.Values{"device": {"bin-1"}, "metric": {"temp_c"}, "table": {"observations"}, "time": {time.Now().UTC().Format(time.RFC3339)}, "format": {"jsonl"}}.Encode()
	for _, name := range auth.RouteNames() {
		rule, _ := auth.RouteRule(name)
		path, get := strings.CutPrefix(name, "GET ")
		if !get || rule.Reach != auth.Scoped || rule.Lasts {
			continue
		}
		for _, id := range []string{"bin-1", "hot-waste", alarms.ID("hot-waste", "bin-1"), "w2"} {
			path := strings.NewReplacer("{domain}", "waste", "{id}", id).Replace(path)
			for _, role := range []string{"scoped viewer", "domain_operator", "agency", "scoped supervisor"} {
				r := f.at("127.0.0.1").ask("GET", path+"?"+about, nil, "Authorization", "Bearer "+f.tokens[role])
				if r.StatusCode < 300 && hidden.MatchString(r.body) || r.StatusCode >= 500 && r.StatusCode != 501 {
					t.Errorf("%s: %s?%s: %d %.400s", role, path, about, r.StatusCode, r.body)
				}
			}
		}
	}
	for _, role := range []string{"scoped viewer", "domain_operator", "agency", "scoped supervisor"} {
		for path, own := range seen {
			body := f.text(f.tokens[role], path)
			if hidden.MatchString(body) {
				t.Errorf("%s: %s shows %.400s", role, path, body)
			}
			if (role == "domain_operator" || role == "scoped supervisor") && !strings.Contains(body, own) {
				t.Errorf("%s: %s lacks %s: %.400s", role, path, own, body)
			}
		}
		if role == "domain_operator" { // a rule about any domain
			got := f.as(role).must(200, "POST", "/api/v1/rules/x/backtest", fmt.Sprintf(`{"from":%q,"rule":{"when":"temp_c > 50"}}`, time.Now().UTC().Add(-time.Hour).Format(time.RFC3339)))
			if text := fmt.Sprint(got); got["raised"] != 1. || got["readings"] != 1. || got["devices"] != 1. || !strings.Contains(text, "lamp-1") || hidden.MatchString(text) {
				t.Errorf("a backtest of one's own: %s", text)
			}
		}
		conn, _, err := f.feed("Authorization", "Bearer "+f.tokens[role])
		if err != nil {
			t.Fatal(err)
		}
		topics := []string{"events"}
		if role != "agency" {
			topics = []string{"state", "events", "alarms"}
		}
		for _, topic := range topics {
			_ = conn.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"op":"subscribe","id":%q,"topic":%q}`, topic, topic))
		}
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		for len(topics) > 0 {
			_, data, err := conn.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if hidden.Match(data) {
				t.Errorf("%s: the feed shows %s", role, data)
			}
			topics = slices.DeleteFunc(topics, func(topic string) bool {
				return strings.Contains(string(data), `"id":"`+topic+`"`) && strings.Contains(string(data), "lamp-1")
			})
		}
		conn.Close()
	}
}

// text is the body of an answer, whatever it is.
func (f *fortress) text(token, path string) string {
	f.t.Helper()
	r := f.at("127.0.0.1").ask("GET", path, nil, "Authorization", "Bearer "+token)
	return r.body
}

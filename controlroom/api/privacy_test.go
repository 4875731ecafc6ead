package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"panormus/controlroom/auth"
	"panormus/devices"
	"panormus/stream/audit"
	"panormus/stream/privacy"
)

// ledger is one in memory.
type ledger struct {
	entries [][]byte
	away    error
}

func (l *ledger) Append(_ context.Context, _ uint64, data []byte) error {
	if l.away == nil {
		l.entries = append(l.entries, data)
	}
	return l.away
}
func (l *ledger) Last(context.Context) (uint64, error) { return uint64(len(l.entries)), l.away }
func (l *ledger) Get(_ context.Context, seq uint64) ([]byte, bool, error) {
	return l.entries[seq-1], true, l.away
}

func TestPurposes(t *testing.T) {
	book := &ledger{}
	s := newSite(t, func(c *Config) {
		c.Purposes, c.Audit = privacy.NewPurposes(&memory{}, c.Log), audit.New(book)
	})
	var list struct {
		Purposes []map[string]any
		Next     string
	}
	s.get("/api/v1/purposes?limit=3", &list)
	if len(list.Purposes) != 3 || list.Purposes[0]["id"] != "crowd_safety" || list.Purposes[0]["detections"] != "24h0m0s" || list.Next == "" {
		t.Errorf("%+v", list)
	}
	s.put("/api/v1/purposes/parks", `{"attributes":["colour"],"k":7}`)
	var p privacy.Policy
	s.get("/api/v1/purposes/parks", &p)
	if p.ID != "parks" || p.K != 7 || p.Detections != devices.Duration(72*time.Hour) || p.Plates != privacy.PlatesHash || len(p.Attributes) != 1 {
		t.Errorf("%+v, want what was put over the safe default", p)
	}
	for body, word := range map[string]string{
		`{"detections":"200h"}`: "body: detections: 200h0m0s, want 1m0s to 168h0m0s", `{"k":0}`: "k: 0 objects", `{"plates":"clear"}`: `"clear"`,
		`{"colours":[]}`: "colours", `{"id":"other"}`: "want \"parks\"", `{"attributes":["plate"]}`: "never kept",
	} {
		if w := s.ask("PUT", "/api/v1/purposes/parks", body); w.Code/100 != 4 || !strings.Contains(strings.ReplaceAll(w.Body.String(), `\"`, `"`), word) {
			t.Errorf("%s: %d %s, want %q", body, w.Code, w.Body, word)
		}
	}
	wantProblem(t, s.ask("DELETE", "/api/v1/purposes/traffic", ""), "/api/v1/purposes/traffic", 409, "shipped")
	wantProblem(t, s.ask("DELETE", "/api/v1/purposes/none", ""), "/api/v1/purposes/none", 404, "none")
	wantProblem(t, s.ask("GET", "/api/v1/purposes/none", ""), "/api/v1/purposes/none", 404, "none")
	if w := s.ask("DELETE", "/api/v1/purposes/parks", ""); w.Code != 204 {
		t.Errorf("delete: %d %s", w.Code, w.Body)
	}
	wantProblem(t, s.ask("GET", "/api/v1/purposes/parks", ""), "/api/v1/purposes/parks", 404)
	if len(book.entries) != 2 || !bytes.Contains(book.entries[0], []byte(`"actor":"local","action":"purpose.put","object":"purpose/parks"`)) {
		t.Errorf("audit log %s, want the two changes", book.entries)
	}
	book.away = errors.New("away")
	wantProblem(t, s.ask("PUT", "/api/v1/purposes/parks", `{}`), "/api/v1/purposes/parks", 503, "audit")
	wantProblem(t, s.ask("GET", "/api/v1/purposes/parks", ""), "/api/v1/purposes/parks", 404)
}

func TestAuditPages(t *testing.T) {
	book := &ledger{}
	j := audit.New(book)
	for i := range 5 {
		if err := j.Append(t.Context(), audit.Entry{Actor: "a", Action: "x", Object: fmt.Sprint(i), Reason: "<&>"}); err != nil {
			t.Fatal(err)
		}
	}
	s := newSite(t, func(c *Config) { c.Audit = j })
	type page struct {
		Entries []audit.Entry
		Head    auditHead
		Next    string
	}
	v := &audit.Verifier{}
	for path := "/api/v1/audit?limit=2"; path != ""; {
		var p page
		s.get(path, &p)
		for _, e := range p.Entries {
			if err := v.Add(e); err != nil {
				t.Fatal(err)
			}
		}
		if path = ""; p.Next != "" {
			path = "/api/v1/audit?limit=2&cursor=" + p.Next
		} else if err := v.End(p.Head.Seq); err != nil || v.Head() != p.Head.Hash || v.Count() != 6 {
			t.Errorf("%v, %d entries up to %s, want 5 and the reading of them, up to %s", err, v.Count(), v.Head(), p.Head.Hash)
		}
	}
	var p page
	s.get("/api/v1/audit?from=2100-01-01T00:00:00Z", &p)
	if len(p.Entries) != 0 || p.Head.Seq != 7 { // another question
		t.Errorf("%+v, want none of the next century", p)
	}
	// Who reads it is in it, and where that cannot be written nothing is read, however often it is tried.
	if last := string(book.entries[5]); !strings.Contains(last, `"actor":"local","action":"audit.read","object":"/api/v1/audit"`) || strings.Contains(last, "cursor") {
		t.Errorf("%s, want that the log was read", last)
	}
	book.away = io.ErrClosedPipe
	for range 2 {
		wantProblem(t, s.ask("GET", "/api/v1/audit?from=2101-01-01T00:00:00Z", ""), "/api/v1/audit", 503, "audit log")
	}
	book.away = nil
	wantProblem(t, s.ask("GET", "/api/v1/audit?cursor=abc", ""), "/api/v1/audit", 422, "cursor")
	wantProblem(t, newSite(t, nil).ask("GET", "/api/v1/audit", ""), "/api/v1/audit", 501)
}

// desk answers every request about reveals and notes who asked.
type desk struct {
	by    []string
	query privacy.PlateQuery
	err   error
}

func (d *desk) All() []privacy.Reveal {
	now := time.Unix(1000, 0)
	return []privacy.Reveal{{ID: "new", State: "pending", Requested: now.Add(time.Hour)}, {ID: "old", State: "refused", Requested: now}}
}
func (d *desk) Request(_ context.Context, by, _, _ string, q privacy.PlateQuery) (privacy.Reveal, error) {
	d.by, d.query = append(d.by, by+" asks"), q
	return privacy.Reveal{ID: "r1", State: "pending"}, d.err
}
func (d *desk) Approve(_ context.Context, id, by string) (privacy.Reveal, error) {
	d.by = append(d.by, by+" approves "+id)
	return privacy.Reveal{ID: id, State: "approved"}, d.err
}
func (d *desk) Refuse(_ context.Context, id, by string) (privacy.Reveal, error) {
	d.by = append(d.by, by+" refuses "+id)
	return privacy.Reveal{ID: id, State: "refused"}, d.err
}
func (d *desk) Look(_ context.Context, id, by string) (privacy.Reveal, string, error) {
	d.by = append(d.by, by+" looks at "+id)
	return privacy.Reveal{ID: id, State: "approved"}, "AB123CD", d.err
}

func TestReveals(t *testing.T) {
	const path = "/api/v1/plates/reveals"
	good := `{"plate_hash":"` + strings.Repeat("0a", 32) + `","reason":"seen near the theft","case":"2026/17"}`
	d := &desk{}
	open := newSite(t, func(c *Config) { c.Reveals = d })
	for _, ask := range [][3]string{{"POST", path, good}, {"GET", path, ""}, {"GET", path + "/r1", ""}, {"POST", path + "/r1/approve", ""}, {"POST", path + "/r1/refuse", ""}} {
		wantProblem(t, open.ask(ask[0], ask[1], ask[2]), ask[1], 403, "web.tokens")
	}
	if len(d.by) != 0 {
		t.Fatalf("%v without a name", d.by)
	}
	token, line, err := auth.NewToken("rosalia")
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := auth.ReadTokens(strings.NewReader(line + " role=supervisor"))
	if err != nil {
		t.Fatal(err)
	}
	s := newSite(t, func(c *Config) { c.Reveals, c.Who = d, tokens })
	ask := func(method, path, body string) (int, map[string]any) {
		t.Helper()
		w := s.ask(method, path, body, "Authorization", "Bearer "+token)
		var got map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("%s %s: %d %s", method, path, w.Code, w.Body)
		}
		return w.Code, got
	}
	if code, got := ask("POST", path, good); code != http.StatusCreated || got["id"] != "r1" || got["plate"] != nil || d.query.Hash == "" {
		t.Errorf("asked: %d %v", code, got)
	}
	if code, got := ask("POST", path, `{"camera":"cam-1","time":"2026-11-28T10:00:00.123Z","reason":"seen near the theft","case":"1"}`); code != 201 || d.query.Camera != "cam-1" || d.query.Time.UnixMilli()%1000 != 123 {
		t.Errorf("by camera and time: %d %v, asked %+v", code, got, d.query)
	}
	if code, got := ask("GET", path+"/r1", ""); code != 200 || got["plate"] != "AB123CD" {
		t.Errorf("looked: %d %v", code, got)
	}
	ask("POST", path+"/r1/approve", "")
	ask("POST", path+"/r1/refuse", "")
	if want := "rosalia asks|rosalia asks|rosalia looks at r1|rosalia approves r1|rosalia refuses r1"; strings.Join(d.by, "|") != want {
		t.Errorf("%v, want %s", d.by, want)
	}
	_, got := ask("GET", path+"?limit=1", "")
	if r := got["reveals"].([]any); len(r) != 1 || r[0].(map[string]any)["id"] != "new" || got["next"] == nil {
		t.Errorf("first page %v", got)
	}
	if _, got = ask("GET", path+"?limit=1&cursor="+got["next"].(string), ""); got["reveals"].([]any)[0].(map[string]any)["id"] != "old" {
		t.Errorf("second page %v", got)
	}
	for body, word := range map[string]string{
		`{"plate_hash":"AB123CD","reason":"seen near the theft","case":"1"}`:                        "body.plate_hash: 7 characters",
		`{"reason":"seen near the theft","case":"1"}`:                                               "neither",
		`{"plate_hash":"` + strings.Repeat("0a", 32) + `","reason":"why","case":"1"}`:               "body.reason: 3 bytes",
		`{"plate_hash":"` + strings.Repeat("0a", 32) + `","reason":"seen near the theft"}`:          "body.case: 0 bytes",
		`{"plate_hash":"` + strings.Repeat("0a", 32) + `","camera":"c","reason":"` + good[80:] + ``: "",
	} {
		w := s.ask("POST", path, body, "Authorization", "Bearer "+token)
		if w.Code/100 != 4 || !strings.Contains(w.Body.String(), word) || strings.Contains(w.Body.String(), "AB123CD") {
			t.Errorf("%s: %d %s, want %q and no plate", body, w.Code, w.Body, word)
		}
	}
	for err, status := range map[error]int{privacy.ErrNotFound: 404, privacy.ErrForbidden: 403, privacy.ErrConflict: 409, errors.New("away"): 503} {
		d.err = fmt.Errorf("r1: %w", err)
		if code, got := ask("GET", path+"/r1", ""); code != status || got["plate"] != nil {
			t.Errorf("%v: %d %v, want %d", err, code, got, status)
		}
	}
}

// cabinet keeps lists without plates.
type cabinet struct{ lists map[string]privacy.List }

func (c *cabinet) All() (out []privacy.List) {
	for _, l := range c.lists {
		out = append(out, l)
	}
	return out
}
func (c *cabinet) List(id string) (privacy.List, bool) { l, ok := c.lists[id]; return l, ok }
func (c *cabinet) Check(l *privacy.List, plates []string) ([]string, error) {
	if len(plates) == 0 {
		return nil, &devices.FormatError{Where: "plates", Err: errors.New("0, want 1")}
	}
	l.Count = len(plates)
	return plates, nil
}
func (c *cabinet) Put(_ context.Context, l privacy.List, _ []string) error {
	c.lists[l.ID] = l
	return nil
}
func (c *cabinet) Delete(_ context.Context, id string) error { delete(c.lists, id); return nil }

func TestPlateLists(t *testing.T) {
	book := &ledger{}
	s := newSite(t, func(c *Config) {
		c.PlateLists, c.Audit = &cabinet{map[string]privacy.List{}}, audit.New(book)
	})
	const path = "/api/v1/plates/lists/stolen"
	w := s.ask("PUT", path, `{"title":"Stolen","purposes":["traffic"],"plates":["AB123CD","XX000XX"]}`)
	if w.Code != 200 || strings.Contains(w.Body.String(), "AB123CD") || !strings.Contains(w.Body.String(), `"count":2`) {
		t.Errorf("put: %d %s, want a count and no plates", w.Code, w.Body)
	}
	for _, p := range []string{path, "/api/v1/plates/lists"} {
		if w := s.ask("GET", p, ""); w.Code != 200 || strings.Contains(w.Body.String(), "plates") || !strings.Contains(w.Body.String(), `"title":"Stolen"`) {
			t.Errorf("get %s: %d %s", p, w.Code, w.Body)
		}
	}
	wantProblem(t, s.ask("PUT", path, `{"title":"x","purposes":[],"plates":[]}`), path, 422, "plates")
	wantProblem(t, s.ask("PUT", path, `{"plates":[{"AB123CD":1}]}`), path, 400)
	if w := s.ask("DELETE", path, ""); w.Code != 204 {
		t.Errorf("delete: %d %s", w.Code, w.Body)
	}
	wantProblem(t, s.ask("DELETE", path, ""), path, 404)
	wantProblem(t, s.ask("GET", path, ""), path, 404)
	log := string(bytes.Join(book.entries, nil))
	if len(book.entries) != 2 || !strings.Contains(log, `"action":"list.put"`) || !strings.Contains(log, `"action":"list.deleted"`) || strings.Contains(log, "AB123CD") {
		t.Errorf("audit log %s", log)
	}
}

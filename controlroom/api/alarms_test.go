package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"panormus/controlroom/auth"
	"panormus/controlroom/live"
	"panormus/stream/alarms"
	"panormus/stream/batch"
	"panormus/stream/log/logtest"
)

// alarmed is a site with alarms of real events, and the book of them.
func alarmed(t *testing.T, change func(*Config), events ...batch.Event) (*site, *alarms.Book) {
	t.Helper()
	l := logtest.Open(t, t.TempDir(), nil)
	bucket, err := l.KV(t.Context(), alarms.BucketName)
	if err != nil {
		t.Fatal(err)
	}
	desk, err := l.KV(t.Context(), alarms.DeskName)
	if err != nil {
		t.Fatal(err)
	}
	book := alarms.NewBook(alarms.Config{}, bucket, desk, nil)
	data, err := batch.EncodeEvents(events)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Publish(t.Context(), batch.KindEvents, 0, "", data); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 2)
	go func() { done <- book.Run(ctx, func() { close(ready) }) }()
	<-ready
	worker := alarms.NewWorker(alarms.WorkerConfig{Log: l, Book: book})
	go func() { done <- worker.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	for lag := int64(1); lag != 0; time.Sleep(time.Millisecond) {
		if lag, err = worker.Lag(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return newSite(t, func(c *Config) {
		c.Alarms = book
		if change != nil {
			change(c)
		}
	}), book
}

func raised(rule, key, severity string, second int) batch.Event {
	at := time.Now().UTC().Truncate(time.Second).Add(time.Duration(second-100) * time.Second)
	return batch.Event{ID: rule + key, Rule: rule, Key: key, Device: key, Domain: "lighting", Zone: "kalsa", Severity: severity, State: "raised", Time: at, Received: at}
}

func TestAlarms(t *testing.T) {
	s, _ := alarmed(t, nil, raised("hot", "d0", "major", 9), raised("hot", "d1", "warning", 8), raised("seen", "d2", "info", 7))
	type page struct {
		Alarms []live.Alarm
		Total  int
		Next   string
	}
	var p page
	s.get("/api/v1/alarms?limit=1", &p)
	if len(p.Alarms) != 1 || p.Alarms[0].Key != "d0" || p.Alarms[0].State != "unacked" || p.Total != 2 || p.Alarms[0].Rev == 0 {
		t.Fatalf("first page %+v", p)
	}
	first := p.Alarms[0]
	cursor := p.Next
	p = page{}
	if s.get("/api/v1/alarms?limit=1&cursor="+cursor, &p); len(p.Alarms) != 1 || p.Alarms[0].Key != "d1" || p.Next != "" {
		t.Fatalf("second page %+v", p)
	}
	second := p.Alarms[0]
	for query, want := range map[string]int{"?state=acked": 0, "?state=acked,unacked": 2, "?severity=major": 1, "?domain=waste": 0, "?device=d1": 1, "?zone=kalsa&rule=hot": 2, "?first_out=none": 0} {
		if s.get("/api/v1/alarms"+query, &p); len(p.Alarms) != want {
			t.Errorf("alarms%s: %d, want %d", query, len(p.Alarms), want)
		}
	}
	path := "/api/v1/alarms/" + first.ID
	w := s.ask("POST", path+"/ack", fmt.Sprintf(`{"note":"on my way","rev":%d}`, first.Rev))
	var got live.Alarm
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || got.State != "acked" || got.AckedBy != "operator" || got.Note != "on my way" || got.Rev <= first.Rev {
		t.Fatalf("ack: %d %s", w.Code, w.Body)
	}
	w = s.ask("POST", path+"/assign", fmt.Sprintf(`{"to":"rosalia","rev":%d}`, first.Rev))
	wantProblem(t, w, path+"/assign", 409, "the last change was ack by operator")
	if !strings.Contains(w.Body.String(), `"current":{"id":"`+first.ID) {
		t.Errorf("a stale action: %s, want the alarm as it is now", w.Body)
	}
	wantProblem(t, s.ask("POST", path+"/ack", ""), path+"/ack", 409, "is acked since")
	wantProblem(t, s.ask("POST", path+"/shelve", ""), path+"/shelve", 422, "until: not given")
	wantProblem(t, s.ask("POST", path+"/shelve", `{"until":"2099-01-01T00:00:00Z"}`), path+"/shelve", 422, "at most 24h0m0s")
	wantProblem(t, s.ask("POST", path+"/comment", `{"note":" "}`), path+"/comment", 422, "want the comment")
	wantProblem(t, s.ask("POST", path+"/dance", ""), path+"/dance", 422, "dance")
	wantProblem(t, s.ask("POST", path+"/ack", `{"notes":1}`), path+"/ack", 400, "notes")
	wantProblem(t, s.ask("POST", "/api/v1/alarms/none/ack", ""), "/api/v1/alarms/none/ack", 404)
	wantProblem(t, s.ask("GET", "/api/v1/alarms/none", ""), "/api/v1/alarms/none", 404)

	const many = "/api/v1/alarms/actions"
	w = s.ask("POST", many, fmt.Sprintf(`{"action":"ack","ids":[%q,%q,"none",%q]}`, first.ID, second.ID, second.ID))
	var all alarmResults
	if err := json.Unmarshal(w.Body.Bytes(), &all); err != nil || w.Code != 200 || all.Done != 1 || len(all.Results) != 3 ||
		all.Results[0].Status != 409 || all.Results[1].Status != 200 || all.Results[1].State != "acked" || all.Results[2].Status != 404 {
		t.Errorf("many: %d %s", w.Code, w.Body)
	}
	wantProblem(t, s.ask("POST", many, `{"action":"ack","ids":[]}`), many, 422, "0, want 1 to 10000")
	for _, tc := range []struct {
		body          string
		matched, done int
		results       int
	}{
		{`{"action":"ack","filter":{}}`, 0, 0, 0}, // both are acknowledged: ack fits none
		{`{"action":"comment","note":"seen","filter":{"severity":["major"]}}`, 1, 1, 0},
		{`{"action":"ack","filter":{"state":["acked"]}}`, 2, 0, 2},
		{`{"action":"unack","filter":{"domain":["lighting"],"zone":["kalsa"],"rule":["hot"],"device":["d0","d1"]}}`, 2, 2, 0},
		{`{"action":"ack","filter":{"domain":["waste"]}}`, 0, 0, 0},
		{`{"action":"ack","filter":{}}`, 2, 2, 0},
	} {
		all = alarmResults{}
		w := s.ask("POST", many, tc.body)
		if err := json.Unmarshal(w.Body.Bytes(), &all); err != nil || w.Code != 200 || all.Matched != tc.matched || all.Done != tc.done || len(all.Results) != tc.results || all.More {
			t.Errorf("%s: %d %s", tc.body, w.Code, w.Body)
		}
	}
	wantProblem(t, s.ask("POST", many, `{"action":"ack","ids":["x"],"filter":{}}`), many, 422, "want one of them")
	wantProblem(t, s.ask("POST", many, `{"action":"ack","filter":{"state":["odd"]}}`), many, 422, `"odd", want any of`)
	wantProblem(t, s.ask("POST", many, `{"action":"ack","filter":{"severity":["fatal"]}}`), many, 422, `"fatal", want any of`)
	wantProblem(t, s.ask("POST", many, `{"action":"dance","filter":{}}`), many, 422, "dance")
	wantProblem(t, s.ask("POST", many, `{"action":"ack","filter":{"zones":["x"]}}`), many, 400, "zones")
	var h alarmHealth
	if s.get("/api/v1/alarms/health", &h); h.States["acked"] != 2 || h.Rate != 2 || h.Mix["major"] != 1 || len(h.Rates) != 144 || h.Oldest != nil || len(h.BadActors) != 2 {
		t.Errorf("health %+v", h)
	}
}

func TestAlarmsHaveNames(t *testing.T) {
	token, line, err := auth.NewToken("rosalia")
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := auth.ReadTokens(strings.NewReader(line))
	if err != nil {
		t.Fatal(err)
	}
	s, book := alarmed(t, func(c *Config) { c.Who = tokens }, raised("hot", "d0", "major", 9))
	id := alarms.ID("hot", "d0")
	if w := s.ask("POST", "/api/v1/alarms/"+id+"/ack", "", "Authorization", "Bearer "+token); w.Code != http.StatusOK {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if r, _ := book.Get(id); r.AckedBy != "rosalia" {
		t.Errorf("acknowledged by %q, want rosalia", r.AckedBy)
	}
}

func TestMaintenance(t *testing.T) {
	s, _ := alarmed(t, nil, raised("hot", "d0", "major", 9))
	const path = "/api/v1/maintenance/works"
	if w := s.ask("PUT", path, `{"zone":"kalsa","from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z","note":"new lamps"}`); w.Code != 200 || !strings.Contains(w.Body.String(), `"by":"operator"`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	var list struct{ Maintenance []maintenanceWindow }
	if s.get("/api/v1/maintenance", &list); len(list.Maintenance) != 1 || list.Maintenance[0].Zone != "kalsa" || list.Maintenance[0].To == nil {
		t.Errorf("%+v", list)
	}
	wantProblem(t, s.ask("PUT", path, `{"zone":"kalsa","device":"d0"}`), path, 422, "2 of zone, device and rule")
	wantProblem(t, s.ask("PUT", path, `{"zone":"kalsa","from":"2026-01-01T00:00:00Z","to":"2025-01-02T00:00:00Z"}`), path, 422, "after from")
	if w := s.ask("DELETE", path, ""); w.Code != 204 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	wantProblem(t, s.ask("DELETE", path, ""), path, 404)
	wantProblem(t, s.ask("GET", path, ""), path, 404)
}

// full is a book that has no room for acts.
type full struct{ *alarms.Book }

func (full) Act(context.Context, []string, alarms.Act) ([]alarms.Result, error) {
	return nil, fmt.Errorf("%w (7 wait)", alarms.ErrBusy)
}

func (full) ActAll(context.Context, alarms.Query, int, alarms.Act) (int, []alarms.Result, bool, error) {
	return 0, nil, false, fmt.Errorf("%w (7 wait)", alarms.ErrBusy)
}

// TestNoRoomForActs: who is refused is told that nothing was done, and when to ask again.
func TestNoRoomForActs(t *testing.T) {
	s := newSite(t, func(c *Config) { c.Alarms = full{} })
	for path, body := range map[string]string{
		"/api/v1/alarms/a/ack": "", "/api/v1/alarms/actions": `{"action":"ack","ids":["a","b"]}`, "/api/v1/alarms/actions?": `{"action":"ack","filter":{}}`,
	} {
		w := s.ask("POST", path, body)
		if wantProblem(t, w, strings.TrimSuffix(path, "?"), 503, "nothing was done", "7 wait"); w.Header().Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", path)
		}
	}
}

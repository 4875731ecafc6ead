package api

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"panormus/controlroom/live"
	"panormus/stream/batch"
	"panormus/stream/log/logtest"
	"panormus/stream/notify"
	"panormus/stream/notify/cap"
)

// notified is a site with one receiver, a real server that answers what answer says, and what tells it an event.
func notified(t *testing.T, answer *atomic.Int64) (*site, func(...batch.Event)) {
	t.Helper()
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(int(answer.Load())) }))
	t.Cleanup(receiver.Close)
	l := logtest.New(t, nil)
	routes, err := l.KV(t.Context(), "notify_routes")
	if err != nil {
		t.Fatal(err)
	}
	dead, err := l.KV(t.Context(), "notify_dead")
	if err != nil {
		t.Fatal(err)
	}
	states, err := l.Objects(t.Context(), "notify")
	if err != nil {
		t.Fatal(err)
	}
	notes, err := l.KV(t.Context(), "notify_sent")
	if err != nil {
		t.Fatal(err)
	}
	desk, err := notify.New(notify.Config{
		Settings:    notify.Settings{Receivers: []notify.Receiver{{ID: "ops", Webhook: &notify.Webhook{URL: receiver.URL}}}, Routes: []notify.Route{{ID: "file", Receivers: []string{"ops"}}}},
		Outlets:     &notify.Outlets{Log: l, States: states, Notes: notes},
		RouteBucket: routes, DeadBucket: dead,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 3)
	go func() { done <- desk.Run(ctx, func() {}) }()
	go func() { done <- desk.Dead.Run(ctx, func() {}) }()
	go func() {
		done <- desk.Serve(ctx, func(ctx context.Context, name string, run func(context.Context) error) {
			if err := run(ctx); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		for range 3 {
			if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
	})
	s := newSite(t, func(c *Config) { c.Notify = desk })
	await(t, func() bool { return desk.Receivers()[0].Running })
	return s, func(events ...batch.Event) {
		t.Helper()
		data, err := batch.EncodeEvents(events)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Publish(t.Context(), batch.KindEvents, 0, "", data); err != nil {
			t.Fatal(err)
		}
	}
}

// await waits for what comes a moment later.
func await(t *testing.T, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not within a minute")
		}
	}
}

func TestNotifyRoutes(t *testing.T) {
	var answer atomic.Int64
	answer.Store(200)
	s, _ := notified(t, &answer)
	const path = "/api/v1/notify/routes"
	if w := s.ask("PUT", path+"/night", `{"receivers":["ops"],"severity":"critical","schedule":[{"from":"22:00","to":"06:00"}],"repeat_interval":"1h"}`); w.Code != 200 || !strings.Contains(w.Body.String(), `"id":"night"`) {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	var list struct{ Routes []notify.Route }
	if s.get(path, &list); len(list.Routes) != 2 || list.Routes[0].ID != "file" || list.Routes[1].Schedule[0].From != "22:00" {
		t.Errorf("routes %+v, want the file's and the new one", list.Routes)
	}
	var one notify.Route
	if s.get(path+"/night", &one); one.Severity != "critical" {
		t.Errorf("route %+v", one)
	}
	for body, want := range map[string]string{
		`{"receivers":["nobody"]}`:                                   `no receiver "nobody" in the settings, want any of ops`,
		`{"receivers":[]}`:                                           "none, want at least one",
		`{"receivers":["ops"],"severity":"grave"}`:                   "grave",
		`{"receivers":["ops"],"schedule":[{"from":"25:00"}]}`:        "25:00",
		`{"receivers":["ops"],"schedule":[{"days":["domenica"]}]}`:   "domenica",
		`{"receivers":["ops"],"group_wait":"2h"}`:                    "0 to 1h",
		`{"receivers":["ops"],"repeat_interval":"1s"}`:               "at least 1m",
		`{"receivers":["ops"],"group_by":["colour"]}`:                "colour",
		`{"id":"day","receivers":["ops"]}`:                           "day",
		`{"receivers":["ops"],"webhook":{"url":"http://intern.al"}}`: "webhook",
		`{`: "",
	} {
		w := s.ask("PUT", path+"/night", body)
		if (w.Code != 400 && w.Code != 422) || !strings.Contains(w.Body.String(), strings.ReplaceAll(want, `"`, `\"`)) {
			t.Errorf("%s: %d %s, want 4xx that says %q", body, w.Code, w.Body, want)
		}
	}
	if s.get(path+"/night", &one); one.Severity != "critical" {
		t.Errorf("after what was refused the route is %+v", one)
	}
	if w := s.ask("DELETE", path+"/night", ""); w.Code != 204 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	wantProblem(t, s.ask("DELETE", path+"/night", ""), path+"/night", 404)
	wantProblem(t, s.ask("GET", path+"/night", ""), path+"/night", 404)
	wantProblem(t, s.ask("DELETE", path+"/file", ""), path+"/file", 409, "of the settings")
}

func TestDeadLetters(t *testing.T) {
	var answer atomic.Int64
	answer.Store(422) // the receiver will never take it
	s, tell := notified(t, &answer)
	if w := s.ask("PUT", "/api/v1/notify/routes/file", `{"receivers":["ops"],"group_wait":"0s"}`); w.Code != 200 {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	const path = "/api/v1/notify/dead"
	type letters struct {
		DeadLetters []struct {
			ID, Receiver, Error string
			Attempts            int
			Died                live.Stamp
			Message             struct {
				ID     string
				Alarms []struct{ Key string }
			}
		} `json:"dead_letters"`
		Next string
	}
	list := func(query string) (out letters) {
		s.get(path+query, &out)
		return out
	}
	tell(raised("hot", "d0", "major", 1))
	await(t, func() bool { return len(list("").DeadLetters) == 1 })
	tell(raised("cold", "d1", "major", 2))
	await(t, func() bool { return len(list("").DeadLetters) == 2 })
	page := list("?limit=1&receiver=ops")
	if first := page.DeadLetters[0]; page.Next == "" || first.Receiver != "ops" || first.Attempts != 1 || first.Error == "" || first.Message.Alarms[0].Key != "d0" {
		t.Errorf("letters %+v, want the oldest and a cursor", page)
	}
	if rest := list("?limit=1&cursor=" + page.Next); len(rest.DeadLetters) != 1 || rest.DeadLetters[0].Message.Alarms[0].Key != "d1" {
		t.Errorf("second page %+v", rest)
	}
	if none := list("?receiver=nobody"); len(none.DeadLetters) != 0 {
		t.Errorf("letters of nobody %+v", none)
	}
	var receivers struct{ Receivers []notify.Status }
	s.get("/api/v1/notify/receivers", &receivers)
	if r := receivers.Receivers[0]; r.Receiver != "ops" || r.Kind != "webhook" || r.Dead != 2 || !r.Running {
		t.Errorf("receiver %+v, want two dead letters", r)
	}

	all := list("").DeadLetters
	answer.Store(200)
	if w := s.ask("POST", path+"/"+all[0].ID+"/replay", ""); w.Code != 200 || !strings.Contains(w.Body.String(), all[0].Message.ID) {
		t.Errorf("replay: %d %s", w.Code, w.Body)
	}
	await(t, func() bool { left := list("").DeadLetters; return len(left) == 1 && left[0].ID == all[1].ID })
	if w := s.ask("DELETE", path+"/"+all[1].ID, ""); w.Code != 204 {
		t.Errorf("discard: %d %s", w.Code, w.Body)
	}
	for _, id := range []string{all[0].ID, all[1].ID, "none"} {
		wantProblem(t, s.ask("DELETE", path+"/"+id, ""), path+"/"+id, 404)
		wantProblem(t, s.ask("POST", path+"/"+id+"/replay", ""), path+"/"+id+"/replay", 404)
	}
}

// TestCAPFeed: what stands is told, and when it is over that too, with a reference to what was told first.
func TestCAPFeed(t *testing.T) {
	at := time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)
	open := []cap.Alarm{{ID: "a", Rule: "r", Severity: "major", Raised: at}, {ID: "b", Rule: "r", Severity: "info", Raised: at},
		{ID: "c", Rule: "r", Severity: "critical", Raised: at, Cleared: at.Add(time.Minute)}}
	s := newSite(t, func(c *Config) {
		c.CAP, c.Warnings = cap.Issuer{Sender: "panormus.example", Name: "Palermo", Status: "Actual"}, func() []cap.Alarm { return append([]cap.Alarm{}, open...) }
	})
	w := s.ask("GET", "/api/v1/cap", "")
	if c, a := strings.Index(w.Body.String(), "/api/v1/cap/c"), strings.Index(w.Body.String(), "/api/v1/cap/a"); w.Code != 200 || c < 0 || a < c || strings.Contains(w.Body.String(), "/api/v1/cap/b") ||
		!strings.HasPrefix(w.Header().Get("Content-Type"), "application/atom+xml") {
		t.Errorf("%d %s %s, want c, the newest, then a, and not b", w.Code, w.Header().Get("Content-Type"), w.Body)
	}
	for path, want := range map[string]string{
		"/api/v1/cap/a": "<msgType>Alert</msgType>",
		"/api/v1/cap/c": "<msgType>Cancel</msgType><scope>Public</scope><references>panormus.example,c.1782900000000,2026-07-01T10:00:00-00:00</references>",
	} {
		if w := s.ask("GET", path, ""); w.Code != 200 || !strings.Contains(w.Body.String(), want) || !strings.HasPrefix(w.Header().Get("Content-Type"), cap.MediaType) {
			t.Errorf("%s: %d %s, want %s", path, w.Code, w.Body, want)
		}
	}
	wantProblem(t, s.ask("GET", "/api/v1/cap/none", ""), "/api/v1/cap/none", 404)
}

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// stranger asks a running server as another program does, which has read the contract and nothing else.
type stranger struct {
	*instance
	t *testing.T
}

// ask makes a request and returns the answer with its body read.
func (s *stranger) ask(method, path, body string, header ...string) (*http.Response, []byte) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, "http://"+s.info.HTTP+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp, b
}

// fits asks and holds the answer to a status and a shape.
func (s *stranger) fits(method, path, body string, status int, shape string, header ...string) {
	s.t.Helper()
	if err := s.fit(method, path, body, status, shape, header...); err != nil {
		s.t.Error(err)
	}
}

func (s *stranger) fit(method, path, body string, status int, shape string, header ...string) error {
	s.t.Helper()
	resp, b := s.ask(method, path, body, header...)
	if resp.StatusCode != status {
		return fmt.Errorf("%s %s: %s: %.500s; want %d", method, path, resp.Status, b, status)
	}
	want := "application/json"
	if status >= 400 {
		want = "application/problem+json"
	}
	if media := resp.Header.Get("Content-Type"); shape != "" && media != want {
		return fmt.Errorf("%s %s: content type %q, want %s", method, path, media, want)
	}
	if err := fitsShape(b, shape); err != nil {
		return fmt.Errorf("%s %s: %w in %.500s", method, path, err, b)
	}
	return nil
}

// refused asks for what is not to be had and wants a problem whose detail has all the words.
func (s *stranger) refused(method, path, body string, status int, words ...string) {
	s.t.Helper()
	resp, b := s.ask(method, path, body)
	var p struct{ Type, Title, Detail, Instance string }
	const shape = `{"type":"text","title":"text","status":"whole","detail":"text","instance":"text"}`
	if err := fitsShape(b, shape); resp.StatusCode != status || err != nil || resp.Header.Get("Content-Type") != "application/problem+json" || json.Unmarshal(b, &p) != nil {
		s.t.Errorf("%s %s: %s %s: %s, %v; want a problem %d", method, path, resp.Status, resp.Header.Get("Content-Type"), b, err, status)
		return
	}
	if at, _, _ := strings.Cut(path, "?"); p.Instance != at {
		s.t.Errorf("%s %s: instance %q, want %q", method, path, p.Instance, at)
	}
	for _, word := range words {
		if !strings.Contains(p.Detail, word) {
			s.t.Errorf("%s %s: detail %q, want %q named", method, path, p.Detail, word)
		}
	}
}

// fitsShape reports where JSON is not as a shape says: objects have the members of the shape's and perhaps
// others, lists have at least one member and all of them fit, and a text of the shape is a word for what is
// to stand there. A word with ? may be left out or null, one with ! may be null.
func fitsShape(b []byte, shape string) error {
	if shape == "" {
		return nil
	}
	var got, want any
	if err := json.Unmarshal([]byte(shape), &want); err != nil {
		return fmt.Errorf("the shape: %w", err)
	}
	if err := json.Unmarshal(b, &got); err != nil {
		return err
	}
	return fit(got, want, "answer")
}

var (
	stamp  = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)
	cursor = regexp.MustCompile(`^[A-Za-z0-9_.:-]+$`)
)

func fit(got, want any, at string) error {
	switch want := want.(type) {
	case map[string]any:
		m, ok := got.(map[string]any)
		if !ok {
			return fmt.Errorf("%s is %T, want an object", at, got)
		}
		for name, w := range want {
			word, _ := w.(string)
			g, there := m[name]
			if (!there || g == nil) && strings.HasSuffix(word, "?") {
				continue
			}
			if !there {
				return fmt.Errorf("%s has no %s", at, name)
			}
			if err := fit(g, w, at+"."+name); err != nil {
				return err
			}
		}
	case []any:
		l, ok := got.([]any)
		if !ok || len(l) == 0 {
			return fmt.Errorf("%s is %v, want a list with members", at, got)
		}
		for i, g := range l {
			if err := fit(g, want[i%len(want)], fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
	case string:
		return fitsWord(got, want, at)
	}
	return nil
}

func fitsWord(got any, want, at string) error {
	if got == nil && strings.HasSuffix(want, "!") {
		return nil
	}
	text, isText := got.(string)
	number, isNumber := got.(float64)
	_, isBool := got.(bool)
	_, isList := got.([]any)
	_, isObject := got.(map[string]any)
	word := strings.TrimRight(want, "?!")
	ok, known := map[string]bool{
		"text": isText, "number": isNumber, "whole": isNumber && number == float64(int64(number)), "bool": isBool, "list": isList, "object": isObject,
		"time": isText && stamp.MatchString(text), "cursor": isText && cursor.MatchString(text),
	}[word]
	if !known { // one of several
		for one := range strings.SplitSeq(word, "|") {
			ok = ok || isText && text == one
		}
	}
	if !ok {
		return fmt.Errorf("%s is %v, want %s", at, got, want)
	}
	return nil
}

const (
	severities = "info|warning|major|critical"
	aDevice    = `{"id":"text","domain":"text","profile":"text","zone":"text","name":"text","lat":"number","lon":"number","tags":"object"}`
	aZone      = `{"type":"Feature","geometry":{"type":"Polygon","coordinates":"list"},"properties":{"id":"text","name":"text","kind":"text"}}`
	aProfile   = `{"id":"text","domain":"text","expected_period":"text","metrics":{"power_w":{"unit":"text","min":"number","max":"number","label":{"it":"text","en":"text"}}}}`
	anEvent    = `{"id":"text","rule":"text","rule_version":"text","severity":"` + severities + `","state":"raised|updated|cleared","time":"time","received":"time",
		"domain":"text","device":"text","zone":"text","key":"text","text":"text","context":"object"}`
	anAlarm = `{"id":"text","rule":"text","key":"text","severity":"` + severities + `","state":"unacked|acked|returned|normal|shelved|suppressed|out_of_service",
		"raised":"time","cleared":"time!","count":"whole","acked_by":"text!","assigned_to":"text!","shelved_until":"time!","note":"text!","rev":"whole"}`
	aRule = `{"id":"text","severity":"` + severities + `","when":"text","domain":"text"}`
)

// TestContract asks for everything of the contract's list of the HTTP API.
func TestContract(t *testing.T) {
	t.Parallel()
	s := &stranger{startInstance(t), t}
	s.fits("GET", "/status", "", 200, `{"status":"ready"}`)
	if resp, b := s.ask("GET", "/metrics", ""); resp.StatusCode != 200 || !bytes.Contains(b, []byte("# TYPE ")) {
		t.Errorf("/metrics: %s %.200s", resp.Status, b)
	}
	if resp, b := s.ask("GET", "/docs", ""); resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		t.Errorf("/docs: %s %.200s", resp.Status, b)
	}
	resp, b := s.ask("GET", "/openapi.json", "")
	if err := fitsShape(b, `{"openapi":"text","info":{"title":"text","version":"text"},"paths":"object"}`); err != nil || resp.StatusCode != 200 {
		t.Errorf("/openapi.json: %s, %v", resp.Status, err)
	}
	s.fits("GET", "/api/v1/stats", "", 200, `{"received":"whole","decoded":"whole","rejected":"whole","logged":"whole","stored":"whole","events":"whole","devices":"whole","lag":{"writer":"whole","rules":"whole"}}`)
	t.Run("registry", func(t *testing.T) { (&stranger{s.instance, t}).registry() })
	t.Run("rules and events", func(t *testing.T) { (&stranger{s.instance, t}).rulesAndEvents() })
	t.Run("lists", func(t *testing.T) { (&stranger{s.instance, t}).lists() })
	t.Run("refusals", func(t *testing.T) { (&stranger{s.instance, t}).refusals() })
}

func (s *stranger) registry() {
	s.fits("PUT", "/api/v1/profiles/lamp", `{"domain":"lighting","codec":"cayenne_lpp","expected_period":"15m","metrics":{"power_w":{"unit":"W","min":0,"max":400,"label":{"it":"Potenza","en":"Power"}}}}`, 200, aProfile)
	s.fits("PUT", "/api/v1/zones/centro", `{"type":"Feature","geometry":{"type":"Polygon","coordinates":[[[13.3,38.1],[13.4,38.1],[13.4,38.2],[13.3,38.1]]]},"properties":{"id":"centro","name":"Centro","kind":"district"}}`, 200, aZone)
	const device = `{"id":"pole-7","domain":"lighting","profile":"lamp","zone":"centro","name":"Via Roma 7","lat":38.12,"lon":13.36,"tags":{"street":"Via Roma"},"secret":"not-to-be-told-to-anybody"}`
	s.fits("PUT", "/api/v1/devices/pole-7", device, 200, aDevice)
	for _, path := range []string{"/api/v1/devices/pole-7", "/api/v1/devices?domain=lighting&zone=centro&profile=lamp&q=roma"} {
		if resp, b := s.ask("GET", path, ""); resp.StatusCode != 200 || bytes.Contains(b, []byte("not-to-be-told")) {
			s.t.Errorf("%s: %s %s, want no secret", path, resp.Status, b)
		}
	}
	s.fits("GET", "/api/v1/devices?domain=lighting&zone=centro&profile=lamp&q=roma&limit=1", "", 200, `{"devices":[`+aDevice+`]}`)
	s.fits("GET", "/api/v1/profiles", "", 200, `{"profiles":[{"id":"text"}]}`)
	s.fits("GET", "/api/v1/profiles/lamp", "", 200, aProfile)
	s.fits("GET", "/api/v1/zones", "", 200, `{"zones":[`+aZone+`]}`)
	s.fits("GET", "/api/v1/zones/centro", "", 200, aZone)
	s.fits("POST", "/api/v1/devices", `{"devices":[{"id":"bin-1","domain":"waste"}]}`, 200, `{}`, "Content-Type", "application/json")
	s.fits("POST", "/api/v1/devices", "id,domain,name,lat,lon\nbin-2,waste,Two,38.1,13.3\n", 200, `{}`, "Content-Type", "text/csv")
	s.fits("POST", "/api/v1/devices", `{"type":"FeatureCollection","features":[{"type":"Feature","geometry":{"type":"Point","coordinates":[13.3,38.1]},"properties":{"id":"bin-3","domain":"waste"}}]}`, 200, `{}`, "Content-Type", "application/geo+json")
	for _, path := range []string{"/api/v1/devices/bin-1", "/api/v1/devices/bin-2", "/api/v1/devices/bin-3"} {
		s.fits("GET", path, "", 200, `{"id":"text","domain":"waste"}`)
	}
	s.fits("DELETE", "/api/v1/devices/bin-1", "", 204, "")
	s.refused("GET", "/api/v1/devices/bin-1", "", 404, "bin-1")
}

func (s *stranger) rulesAndEvents() {
	const rule = "when: power_w > 20\nclear: power_w < 5\ndomain: lighting\nseverity: major\ntext: \"{device}: {power_w} W\"\n"
	s.fits("POST", "/api/v1/rules/check", "rules:\n  - id: bright\n    when: power_w > 20\n    severity: major\n", 200, `{"ok":"bool","problems":"list"}`)
	s.fits("PUT", "/api/v1/rules/bright", rule, 200, aRule)
	s.fits("GET", "/api/v1/rules/bright", "", 200, aRule)
	s.fits("GET", "/api/v1/rules", "", 200, `{"rules":[{"id":"text","severity":"`+severities+`"}]}`)
	begun := time.Now().UTC().Add(-time.Hour).Format(time.RFC3339)
	n := 0.0
	wait := func(what, path, shape string) {
		s.eventually(what, func() error {
			// The rule may be in force a moment after it was put: what it is about is said again.
			n++
			if err := s.tryPublish("city/lighting/pole-7/telemetry", fmt.Sprintf(`{"power_w":%g,"status":"ok"}`, 83+n/100)); err != nil {
				return err
			}
			return s.fit("GET", path, "", 200, shape)
		})
	}
	from := url.QueryEscape(begun)
	wait("the state", "/api/v1/state?domain=lighting&zone=centro&bbox=13.3,38.0,13.5,38.2", `{"devices":[{"id":"pole-7","domain":"lighting","zone":"centro","lat":"number","lon":"number","seen":"time","alarm":"`+severities+`!","values":{"power_w":"number","status":"ok"}}]}`)
	wait("the event", "/api/v1/events?from="+from+"&rule=bright&severity=critical,major&domain=lighting&device=pole-7&limit=10", `{"events":[`+anEvent+`]}`)
	wait("the alarm", "/api/v1/alarms?state=unacked&severity=major&domain=lighting", `{"alarms":[`+anAlarm+`]}`)
	wait("the alarm of the state", "/api/v1/state?domain=lighting", `{"devices":[{"id":"pole-7","alarm":"major"}]}`)
	wait("the series", "/api/v1/series?device=pole-7&metric=power_w&from="+from, `{"device":"pole-7","metric":"power_w","unit":"W","points":[["time","number"]]}`)
	for _, agg := range []string{"avg", "min", "max", "sum", "last", "count"} {
		s.fits("GET", "/api/v1/series?device=pole-7&metric=power_w&step=5m&agg="+agg+"&from="+from, "", 200, `{"points":[["time","number"]]}`)
	}
	for _, format := range []string{"csv", "parquet", "arrow", "jsonl"} {
		if resp, b := s.ask("GET", "/api/v1/export?table=observations&format="+format+"&from="+from, ""); resp.StatusCode != 200 || len(b) == 0 {
			s.t.Errorf("export as %s: %s, %d bytes", format, resp.Status, len(b))
		}
	}
	// By now the database has readings; a rule that is tried on them says what it would have raised.
	s.fits("POST", "/api/v1/rules/bright/backtest", `{"from":"`+begun+`","to":"`+time.Now().UTC().Add(time.Minute).Format(time.RFC3339)+`"}`, 200, `{"events":[`+anEvent+`]}`, "Content-Type", "application/json")

	var list struct{ Alarms []struct{ ID, Rule string } }
	if err := s.decode("/api/v1/alarms?domain=lighting", &list); err != nil {
		s.t.Fatal(err)
	}
	alarm := ""
	for _, a := range list.Alarms {
		if a.Rule == "bright" {
			alarm = "/api/v1/alarms/" + url.PathEscape(a.ID)
		}
	}
	until := time.Now().UTC().Add(time.Hour).Format(time.RFC3339)
	for _, act := range []struct{ name, body, state string }{
		{"ack", `{"note":"seen"}`, "acked"}, {"unack", `{}`, "unacked"}, {"shelve", `{"until":"` + until + `","note":"works"}`, "shelved"}, {"unshelve", `{}`, "unacked"},
		{"assign", `{"to":"rosalia"}`, "unacked"}, {"comment", `{"note":"called"}`, "unacked"},
	} {
		s.fits("POST", alarm+"/"+act.name, act.body, 200, strings.Replace(anAlarm, "unacked|acked|returned|normal|shelved|suppressed|out_of_service", act.state, 1), "Content-Type", "application/json")
	}
	s.refused("POST", alarm+"/ack", `{"rev":1}`, 409)
	s.fits("DELETE", "/api/v1/rules/bright", "", 204, "")
}

// lists pages through devices.
func (s *stranger) lists() {
	var csv strings.Builder
	csv.WriteString("id,domain\n")
	const n = 1005
	for i := range n {
		fmt.Fprintf(&csv, "meter-%04d,water\n", i)
	}
	s.fits("POST", "/api/v1/devices", csv.String(), 200, `{}`, "Content-Type", "text/csv")
	page := func(path, query string) (ids []string, next string) {
		_, b := s.ask("GET", path+"?domain=water"+query, "")
		var list struct {
			Devices []struct{ ID string }
			Next    string
		}
		if err := json.Unmarshal(b, &list); err != nil {
			s.t.Fatalf("%s: %v in %.300s", query, err, b)
		}
		for _, d := range list.Devices {
			ids = append(ids, d.ID)
		}
		return ids, list.Next
	}
	// The live state looks at the registry every second.
	s.eventually("all meters in the state", func() error {
		ids, next := page("/api/v1/state", "&limit=1000")
		if next == "" {
			return fmt.Errorf("%d", len(ids))
		}
		if more, _ := page("/api/v1/state", "&limit=1000&cursor="+url.QueryEscape(next)); len(ids)+len(more) != n {
			return fmt.Errorf("%d and %d", len(ids), len(more))
		}
		return nil
	})
	for _, path := range []string{"/api/v1/devices", "/api/v1/state"} {
		if ids, next := page(path, ""); len(ids) != 100 || next == "" {
			s.t.Errorf("%s without limit: %d, next %q; want 100 and more", path, len(ids), next)
		}
		seen := map[string]bool{}
		for cursor, pages := "", 0; ; pages++ {
			ids, next := page(path, "&limit=250&cursor="+url.QueryEscape(cursor))
			for _, id := range ids {
				seen[id] = true
			}
			if cursor = next; cursor == "" {
				if len(seen) != n || pages != 4 {
					s.t.Errorf("%s: %d devices on %d pages, want %d on 5", path, len(seen), pages+1, n)
				}
				break
			}
		}
	}
}

// refusals asks every list for what it has not got.
func (s *stranger) refusals() {
	const bad = http.StatusUnprocessableEntity
	for _, path := range []string{"/api/v1/devices", "/api/v1/profiles", "/api/v1/zones", "/api/v1/state", "/api/v1/events", "/api/v1/alarms", "/api/v1/rules"} {
		s.refused("GET", path+"?limit=0", "", bad, "limit")
		s.refused("GET", path+"?limit=1001", "", bad, "limit", "1000")
		s.refused("GET", path+"?limit=many", "", bad, "limit")
		s.refused("GET", path+"?cursor=%21%21", "", bad, "cursor")
		s.refused("GET", path+"?colour=red", "", bad, "colour")
		s.refused("PATCH", path, "{}", 405, "PATCH")
	}
	s.refused("GET", "/api/v1/state?bbox=13,38", "", bad, "bbox")
	s.refused("GET", "/api/v1/state?bbox=14,38,13,39,", "", bad, "bbox")
	s.refused("GET", "/api/v1/series?metric=power_w", "", bad, "device")
	s.refused("GET", "/api/v1/series?device=pole-7&metric=power_w&agg=median", "", bad, "agg", "median")
	s.refused("GET", "/api/v1/series?device=pole-7&metric=power_w&from=yesterday", "", bad, "from", "yesterday")
	s.refused("GET", "/api/v1/series?device=pole-7&metric=power_w&step=-5m", "", bad, "step")
	s.refused("GET", "/api/v1/events?from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z", "", bad, "to")
	s.refused("GET", "/api/v1/events?severity=loud", "", bad, "severity", "loud")
	s.refused("GET", "/api/v1/alarms?state=odd", "", bad, "state", "odd")
	s.refused("GET", "/api/v1/export?table=secrets", "", bad, "table")
	s.refused("GET", "/api/v1/export?table=observations&format=xls", "", bad, "format", "xls")
	s.refused("POST", "/api/v1/alarms/none/ack", "{}", 404, "none")
	s.refused("POST", "/api/v1/alarms/none/dance", "{}", bad, "action", "dance")
	s.refused("PUT", "/api/v1/devices/x", `{"domain":"lighting"`, 400)
	s.refused("PUT", "/api/v1/devices/x", `{"domain":"lighting","colour":"red"}`, 400, "colour", "column 3")
	s.refused("PUT", "/api/v1/devices/x", `{"id":"y","domain":"lighting"}`, bad, "y")
	s.refused("PUT", "/api/v1/rules/x", "when: power_w >\nseverity: major\n", bad, "1:16", "want a value")
	s.refused("GET", "/api/v2/devices", "", 404)
	s.refused("GET", "/nothing", "", 404, "/nothing")
	s.refused("GET", "/assets/nothing.js", "", 404, "/assets/nothing.js")
	s.refused("POST", "/api/v1/rules/x/backtest", `{"from":"2026-01-01T00:00:00Z","until":"2026-01-02T00:00:00Z"}`, 400, "until")
}

package api

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"reflect"
	"testing"
	"time"

	"panormus/controlroom/live"
	"panormus/stream/batch"
)

// gaze is what cameras counted, whatever is asked.
type gaze struct {
	counts CountQuery
	heat   HeatQuery
	tracks TrackQuery
	limit  int
	fail   error

	past   []PastCamera
	minute time.Time
	k      int // of a camera nobody knows
}

func (g *gaze) At(_ context.Context, minute time.Time, k func(string) int) ([]PastCamera, error) {
	g.minute, g.k = minute, k("stranger")
	return g.past, g.fail
}

func (g *gaze) Counts(_ context.Context, q CountQuery) ([]VideoCount, error) {
	g.counts = q
	nan := math.NaN()
	return []VideoCount{
		{Time: time.Unix(0, 0), Class: "car", In: 7, Out: 6, Present: 1.2345, PresentMax: 3, DwellS: 12.5, SpeedMps: 8, QueueMax: 2},
		{Time: time.Unix(60, 0), Class: "car", Hidden: true, DwellS: nan, SpeedMps: nan},
		{Time: time.Unix(60, 0), Class: "person", DwellS: nan, SpeedMps: nan},
	}, g.fail
}

func (g *gaze) Heat(_ context.Context, q HeatQuery) (*Heat, error) {
	g.heat = q
	return &Heat{Columns: 2, Rows: 2, Cells: []int64{0, 7, 5, 0}, Hidden: 1}, g.fail
}

func (g *gaze) Tracks(_ context.Context, q TrackQuery, limit int, cursor string) ([]VideoTrack, string, error) {
	g.tracks, g.limit = q, limit
	if cursor == "bad" {
		return nil, "", fmt.Errorf("page: %w", ErrCursor)
	}
	nan := math.NaN()
	return []VideoTrack{{ID: "t1", Class: "car", Start: time.Unix(10, 0), End: time.Unix(14, 500e6), Detections: 45, Zones: []string{"gate"},
		SpeedMps: 5, SpeedMaxMps: nan, DistanceM: nan, HeadingDeg: 90, StartX: 0.1, StartY: 0.2, EndX: nan, EndY: nan}}, "more", g.fail
}

const lawfulCamera = `"camera":{"purpose":"traffic","legal_basis":"art. 6.1.e","controller":"Comune","dpia_ref":"DPIA-7"`

func TestCameras(t *testing.T) {
	s := newSite(t, nil)
	s.put("/api/v1/devices/cam-1", `{"domain":"mobility","name":"Quattro Canti","zone":"kalsa","lat":38.1157,"lon":13.3615,"tags":{"heading_deg":"90","fov_deg":"60.5","range_m":"far"},`+lawfulCamera+`,"areas":[{"name":"gate","kind":"line","points":[[0,0.5],[1,0.5]]}]}}`)
	s.put("/api/v1/devices/cam-2", `{"domain":"mobility",`+lawfulCamera+`}}`)
	s.put("/api/v1/devices/cam-3", `{"domain":"mobility","camera":{"purpose":"traffic"}}`)
	s.put("/api/v1/profiles/hourly", `{"domain":"mobility","expected_period":"20m"}`)
	s.put("/api/v1/devices/cam-4", `{"domain":"mobility","profile":"hourly",`+lawfulCamera+`}}`)
	s.put("/api/v1/devices/pole-7", `{"domain":"lighting"}`)
	now := time.Now().UTC().Truncate(time.Second)
	var o batch.Observations
	ago := now.Add(-50 * time.Minute).UnixMilli()
	h := o.Begin(now.UnixMilli(), now.UnixMilli(), "mobility", "cam-1")
	for name, v := range map[string]float64{"frames_per_s": 9.5, "tampered": 0, "people_in": 3, "vehicles_queued": 1, "battery_v": 3.6} {
		o.Append(h, name, v, "", 0)
	}
	o.Append(h, "people_present", math.NaN(), live.Fewer(5), 0)
	for _, id := range []string{"cam-2", "cam-4"} {
		o.Append(o.Begin(ago, ago, "mobility", id), "tampered", 1, "", 0)
	}
	s.state.Apply(&o)

	type object = map[string]any
	var list struct {
		Cameras []object
		Next    string
	}
	s.get("/api/v1/cameras", &list)
	stamp := func(t time.Time) string { return t.Format("2006-01-02T15:04:05.000Z") }
	want := object{"id": "cam-1", "name": "Quattro Canti", "domain": "mobility", "zone": "kalsa", "lat": 38.1157, "lon": 13.3615, "heading_deg": 90., "fov_deg": 60.5, "range_m": nil,
		"purpose": "traffic", "legal_basis": "art. 6.1.e", "controller": "Comune", "dpia_ref": "DPIA-7", "alarm": nil,
		"areas":  []any{object{"name": "gate", "kind": "line", "points": []any{[]any{0., 0.5}, []any{1., 0.5}}}},
		"health": object{"state": "ok", "seen": stamp(now), "frames_per_s": 9.5, "silent": false, "tampered": false, "signal_loss": false},
		"now":    object{"people_in": 3., "vehicles_queued": 1.}, "hidden": []any{"people_present"}, "k": 5.}
	if len(list.Cameras) != 4 || !reflect.DeepEqual(list.Cameras[0], want) || list.Next != "" {
		t.Fatalf("cameras %v\nwant first %v", list, want)
	}
	for i, state := range []string{"ok", "silent", "unlawful", "tampered"} {
		if got := list.Cameras[i]["health"].(object)["state"]; got != state {
			t.Errorf("%s is %v, want %s", list.Cameras[i]["id"], got, state)
		}
	}
	var got object
	s.get("/api/v1/cameras/cam-1", &got)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("camera %v\nwant %v", got, want)
	}
	s.get("/api/v1/cameras?limit=1", &list)
	if len(list.Cameras) != 1 || list.Next == "" {
		t.Fatalf("a page of one: %v", list)
	}
	next := list.Next
	list.Next = ""
	s.get("/api/v1/cameras?limit=3&cursor="+next, &list)
	if len(list.Cameras) != 3 || list.Cameras[0]["id"] != "cam-2" || list.Next != "" {
		t.Errorf("the page after: %v", list)
	}
	s.get("/api/v1/cameras?state=tampered", &list)
	if len(list.Cameras) != 1 || list.Cameras[0]["id"] != "cam-4" {
		t.Errorf("tampered: %v", list)
	}
	s.get("/api/v1/cameras?zone=kalsa", &list)
	if len(list.Cameras) != 1 || list.Cameras[0]["id"] != "cam-1" {
		t.Errorf("in kalsa: %v", list)
	}
	wantProblem(t, s.ask("GET", "/api/v1/cameras/pole-7", ""), "/api/v1/cameras/pole-7", 404, `no camera "pole-7"`)
	wantProblem(t, s.ask("GET", "/api/v1/cameras?state=sad", ""), "/api/v1/cameras", 422, "sad")
}

func TestCameraFigures(t *testing.T) {
	g := &gaze{}
	s := newSite(t, func(c *Config) { c.Video, c.K = g, func(purpose string) int { return len(purpose) } })
	s.put("/api/v1/devices/cam-1", `{"domain":"mobility",`+lawfulCamera+`}}`)
	s.put("/api/v1/devices/pole-7", `{"domain":"lighting"}`)
	type object = map[string]any
	at := func(s string) time.Time {
		v, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}

	var got object
	get := func(path string) {
		t.Helper()
		got = nil
		s.get(path, &got)
	}
	get("/api/v1/cameras/cam-1/counts?from=2026-01-31T10:03:10Z&to=2026-01-31T11:01:00Z&step=5m&class=car&zone=gate")
	zero := object{"time": "1970-01-01T00:01:00.000Z", "in": 0., "out": 0., "present": 0., "present_max": 0., "dwell_s": nil, "speed_mps": nil, "queue_max": 0.}
	hidden := object{"time": "1970-01-01T00:01:00.000Z", "hidden": true, "in": nil, "out": nil, "present": nil, "present_max": nil, "dwell_s": nil, "speed_mps": nil, "queue_max": nil}
	full := object{"time": "1970-01-01T00:00:00.000Z", "in": 7., "out": 6., "present": 1.23, "present_max": 3., "dwell_s": 12.5, "speed_mps": 8., "queue_max": 2.}
	want := object{"camera": "cam-1", "from": "2026-01-31T10:00:00.000Z", "to": "2026-01-31T11:05:00.000Z", "step": "5m", "k": 7.,
		"series": []any{object{"zone": "", "class": "car", "points": []any{full, hidden}}, object{"zone": "", "class": "person", "points": []any{zero}}}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("counts %v\nwant %v", got, want)
	}
	if asked := (CountQuery{Camera: "cam-1", Zone: "gate", Class: "car", From: at("2026-01-31T10:00:00Z"), To: at("2026-01-31T11:05:00Z"), Step: 5 * time.Minute, Within: 15 * time.Minute, K: 7}); g.counts != asked {
		t.Errorf("asked for %+v, want %+v", g.counts, asked)
	}
	// Days are Rome's: on 29 March the clock goes on an hour.
	get("/api/v1/cameras/cam-1/counts?from=2026-03-29T10:00:00Z&to=2026-03-30T10:00:00Z&step=1d")
	if got["from"] != "2026-03-28T23:00:00.000Z" || got["to"] != "2026-03-30T22:00:00.000Z" || g.counts.Days == nil {
		t.Errorf("days from %v to %v by the clock of %v, want Rome's", got["from"], got["to"], g.counts.Days)
	}
	if get("/api/v1/cameras/cam-1/counts?from=2026-03-29T22:00:00Z&to=2026-03-30T22:00:00Z&step=1d"); got["from"] != "2026-03-29T22:00:00.000Z" || got["to"] != "2026-03-30T22:00:00.000Z" {
		t.Errorf("a whole day is from %v to %v", got["from"], got["to"])
	}
	for query, step := range map[string]string{"": "5m", "?from=2026-01-31T10:00:00Z&to=2026-01-31T11:00:00Z": "1m", "?from=2026-01-01T00:00:00Z&to=2026-01-31T00:00:00Z": "1d", "?from=2026-01-01T00:00:00Z&to=2026-01-11T00:00:00Z": "1h"} {
		if get("/api/v1/cameras/cam-1/counts" + query); got["step"] != step {
			t.Errorf("%q is answered in steps of %v, want %s", query, got["step"], step)
		}
	}
	if d := time.Since(g.counts.To); g.counts.AllZones || g.counts.Zone != "" || d > 400*24*time.Hour && g.counts.From.IsZero() {
		t.Errorf("asked for %+v", g.counts)
	}

	get("/api/v1/cameras/cam-1/zones?from=2026-01-31T08:10:10Z&to=2026-01-31T11:00:00Z")
	if zones := got["zones"].([]any); len(zones) != 3 || zones[1].(object)["hidden"] != true || zones[0].(object)["in"] != 7. || zones[0].(object)["class"] != "car" {
		t.Errorf("zones %v", got)
	}
	if asked := (CountQuery{Camera: "cam-1", AllZones: true, From: at("2026-01-31T08:00:00Z"), To: at("2026-01-31T11:00:00Z"), K: 7}); g.counts != asked {
		t.Errorf("asked for %+v, want %+v", g.counts, asked)
	}

	get("/api/v1/cameras/cam-1/heatmap?from=2026-01-31T08:10:00Z&to=2026-01-31T11:00:00Z&hour=9&tz=Europe/London&class=person")
	want = object{"camera": "cam-1", "from": "2026-01-31T08:00:00.000Z", "to": "2026-01-31T11:00:00.000Z", "hour": 9., "k": 7., "columns": 2., "rows": 2., "cells": []any{0., 7., 5., 0.}, "max": 7., "hidden": 1.}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("heat map %v\nwant %v", got, want)
	}
	if asked := (HeatQuery{Camera: "cam-1", Class: "person", Zone: "Europe/London", From: at("2026-01-31T08:00:00Z"), To: at("2026-01-31T11:00:00Z"), Hour: 9, K: 7}); g.heat != asked {
		t.Errorf("asked for %+v, want %+v", g.heat, asked)
	}
	get("/api/v1/cameras/cam-1/heatmap")
	if g.heat.Hour != -1 || g.heat.Zone != "Europe/Rome" || got["hour"] != nil {
		t.Errorf("asked for %+v, answered with hour %v; want all hours by Rome's clock", g.heat, got["hour"])
	}

	get("/api/v1/cameras/cam-1/tracks?from=2026-01-31T10:00:00Z&to=2026-01-31T11:00:00Z&limit=3")
	want = object{"next": "more", "tracks": []any{object{"id": "t1", "class": "car", "start": "1970-01-01T00:00:10.000Z", "end": "1970-01-01T00:00:14.500Z", "duration_s": 4.5, "detections": 45.,
		"zones": []any{"gate"}, "speed_mps": 5., "speed_max_mps": nil, "distance_m": nil, "heading_deg": 90., "from": []any{0.1, 0.2}, "to": []any{}}}}
	if !reflect.DeepEqual(got, want) || g.limit != 3 {
		t.Errorf("tracks %v, limit %d\nwant %v", got, g.limit, want)
	}

	base := "/api/v1/cameras/cam-1/"
	for path, words := range map[string][]string{
		"counts?step=7m":        {"query.step", "7m"},
		"counts?from=yesterday": {"yesterday"},
		"counts?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z":         {"not after"},
		"counts?from=2020-01-02T00:00:00Z&to=2026-01-01T00:00:00Z":         {"query.from", "at most"},
		"counts?from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z&step=1m": {"query.step", "cells"},
		"counts?from=2999-01-01T00:00:00Z":                                 {"future"},
		"heatmap?hour=24":                                                  {"query.hour", "23"},
		"heatmap?tz=Mars/Base":                                             {"query.tz", "Mars/Base"},
		"heatmap?tz=Local":                                                 {"query.tz"},
		"heatmap?tz=../etc/x":                                              {"query.tz"},
		"heatmap?from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00Z":        {"query.from"},
		"tracks?cursor=bad":                                                {"query.cursor"},
		"tracks?limit=1001":                                                {"1000"},
		"tracks?plate=AA000AA":                                             {"unknown"},
	} {
		u, err := url.Parse(base + path)
		if err != nil {
			t.Fatal(err)
		}
		wantProblem(t, s.ask("GET", base+path, ""), u.Path, 422, words...)
	}
	g.fail = errors.New("away")
	none := newSite(t, nil)
	none.put("/api/v1/devices/cam-1", `{"domain":"mobility",`+lawfulCamera+`}}`)
	for _, what := range []string{"counts", "zones", "heatmap", "tracks"} {
		wantProblem(t, s.ask("GET", base+what, ""), base+what, 503, "not available")
		wantProblem(t, none.ask("GET", base+what, ""), base+what, 501, "does not have it")
		wantProblem(t, s.ask("GET", "/api/v1/cameras/pole-7/"+what, ""), "/api/v1/cameras/pole-7/"+what, 404, "no camera")
	}
}

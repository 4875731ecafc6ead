package api

import (
	"reflect"
	"testing"
	"time"
)

func TestCamerasAt(t *testing.T) {
	video := &gaze{}
	s := newSite(t, func(c *Config) { c.Video = video })
	for _, id := range []string{"cam-1", "cam-2"} {
		s.put("/api/v1/devices/"+id, `{"domain":"mobility",`+lawfulCamera+`}}`)
	}
	yes := true
	video.past = []PastCamera{
		{Camera: "stranger", Working: true},
		{Camera: "cam-2", Classes: []string{"person"}, SignalLoss: &yes},
		{Camera: "cam-1", Cells: []VideoCount{{Class: "car", In: 7, Out: 6, Present: 1.23, QueueMax: 2}, {Class: "bus", Hidden: true}, {Class: "person", Hidden: true}}, Classes: []string{"car", "bicycle"}, Working: true, Frames: 570},
	}
	var got map[string]any
	s.get("/api/v1/state/cameras?at=2026-01-31T12:05:59.5Z", &got)
	want := map[string]any{"from": "2026-01-31T12:04:00.000Z", "cameras": []any{
		map[string]any{"id": "cam-1", "domain": "mobility", "t": "2026-01-31T12:05:00.000Z", "values": map[string]any{"people_in": "<5", "people_out": "<5", "people_present": "<5",
			"bicycles_in": 0., "bicycles_out": 0., "bicycles_present": 0., "vehicles_in": 7., "vehicles_out": 6., "vehicles_present": 1.2, "vehicles_queued": 2., "frames_per_s": 9.5}},
		map[string]any{"id": "cam-2", "domain": "mobility", "values": map[string]any{"people_in": nil, "people_out": nil, "people_present": nil, "signal_loss": 1.}},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("cameras then\n%v, want\n%v", got, want)
	}
	if at := time.Date(2026, 1, 31, 12, 4, 0, 0, time.UTC); !video.minute.Equal(at) || video.k != 5 {
		t.Errorf("asked for %v with k %d of a stranger, want %v and 5", video.minute, video.k, at)
	}
	s.get("/api/v1/state/cameras?limit=1&at=2026-01-31T12:05:59.5Z", &got)
	if list := got["cameras"].([]any); len(list) != 1 || got["next"] == "" {
		t.Errorf("a page of one: %v", got)
	}
	if w := s.ask("GET", "/api/v1/state/cameras?at=2999-01-01T00:00:00Z", ""); w.Code != 422 {
		t.Errorf("a moment to come: %d %s, want 422", w.Code, w.Body)
	}
}

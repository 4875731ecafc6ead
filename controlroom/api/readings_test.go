package api

import (
	"math"
	"reflect"
	"testing"
	"time"
)

func TestReadings(t *testing.T) {
	p := &past{}
	s := newSite(t, func(c *Config) { c.Series = p })
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	p.readings = []Reading{
		{Time: at, Received: at.Add(time.Second), Metric: "power_w", Value: 83.2, Quality: 1<<1 | 1<<4},
		{Time: at, Received: at, Metric: "status", Value: math.NaN(), Text: "ok"},
		{Time: at, Received: at, Metric: "ratio", Value: math.Inf(1), Quality: 1 | 1<<2 | 1<<3 | 1<<5 | 1<<6},
	}
	var got map[string]any
	s.get("/api/v1/devices/pole-7/readings?limit=7&to=2026-01-31T12:30:00Z", &got)
	const noon, second = "2026-01-31T12:00:00.000Z", "2026-01-31T12:00:01.000Z"
	want := map[string]any{"device": "pole-7", "from": "2026-01-30T12:30:00.000Z", "readings": []any{
		map[string]any{"time": noon, "received": second, "metric": "power_w", "value": 83.2, "quality": []any{"range", "late"}},
		map[string]any{"time": noon, "received": noon, "metric": "status", "value": "ok", "quality": []any{}},
		map[string]any{"time": noon, "received": noon, "metric": "ratio", "value": nil, "quality": []any{"clock", "stuck", "identity", "unknown", "refresh"}},
	}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("readings\n%v, want\n%v", got, want)
	}
	if p.limit != 7 || p.device != "pole-7" {
		t.Errorf("asked for %d of %q, want 7 of pole-7", p.limit, p.device)
	}
}

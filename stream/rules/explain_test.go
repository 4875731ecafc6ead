package rules

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"panormus/devices"
	"panormus/stream/batch"
)

// The context of an event has all that decided: values, fields of the registry, flags, thresholds,
// times and the key.
func TestContextIsComplete(t *testing.T) {
	registry := &testRegistry{assets: map[string]*devices.Asset{
		"d": {Device: devices.Device{ID: "d", Zone: "kalsa", Profile: "lamp", Tags: map[string]string{"street": "Via Roma", "line": "101", "other": "x"}}},
	}}
	explain := func(events []batch.Event) (values, keys string, context map[string]any) {
		t.Helper()
		if len(events) != 1 {
			t.Fatalf("%d events, want 1", len(events))
		}
		if err := json.Unmarshal(events[0].Context, &context); err != nil {
			t.Fatal(err)
		}
		v, _ := context["values"].(map[string]any)
		b, _ := json.Marshal(v)
		return string(b), strings.Join(slices.Sorted(maps.Keys(context)), " "), context
	}
	e := New(Config{Registry: registry, Partitions: 1}, mustParse(t,
		`rules: [{id: r, when: 'x > 1 && profile == "lamp" && tags.line == "101" && !flagged("late")', clear: y < 2, key: 'tags["street"] + zone', text: "{s}"}]`))
	var o batch.Observations
	h := o.Begin(rowStart, rowStart, "d", "d")
	o.Append(h, "x", 2, "", 0)
	o.Append(h, "y", 3, "", 0)
	o.Append(h, "s", nan, "shown", 0)
	e.Apply(0, 1, &o)
	values, keys, context := explain(e.Settle())
	if want := `{"flagged(late)":false,"profile":"lamp","s":"shown","tags.line":"101","tags.street":"Via Roma","x":2,"y":3,"zone":"kalsa"}`; values != want {
		t.Errorf("values %s, want %s", values, want)
	}
	if want := "clear devices episode key_of since thresholds values when"; keys != want || context["key_of"] != `tags["street"] + zone` {
		t.Errorf("context %q, want %q; %v", keys, want, context)
	}
	rows := NewRowEngine(Config{Registry: registry}, OnDetections, mustParse(t,
		`rules: [{id: r, on: detections, when: 'class == "person" && score > 0.5 && tags.line == "101"', hold: 90s, key: track}]`))
	row, err := NewRow(OnDetections, "d", rowStart, rowStart, map[string]string{"class": "person", "score": "0.75", "track": "t1"})
	if err != nil {
		t.Fatal(err)
	}
	rows.Apply(1, row)
	values, keys, context = explain(rows.Settle())
	if want := `{"class":"person","score":0.75,"tags.line":"101","track":"t1"}`; values != want {
		t.Errorf("values %s, want %s", values, want)
	}
	if want := "episode hold key_of since thresholds values when"; keys != want || context["hold"] != "1m30s" {
		t.Errorf("context %q, want %q; %v", keys, want, context)
	}
}

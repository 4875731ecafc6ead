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

// What a condition reckons is in the context too, on both sides of a comparison, and under a name that reads as it does.
func TestThresholdsOfWhatIsReckoned(t *testing.T) {
	e := New(Config{Registry: &testRegistry{}, Partitions: 1}, mustParse(t,
		`rules: [{id: r, params: {most: 3}, when: 'x / y > 1 && abs(x - 2) < 1.5 * y && most > x - y && mode + "!" != s && !(x + 1 == y) && 9 > z + nosuch || x > y'}]`))
	var o batch.Observations
	h := o.Begin(rowStart, rowStart, "d", "d")
	o.Append(h, "x", 5, "", 0)
	o.Append(h, "y", 2.5, "", 0)
	o.Append(h, "mode", nan, "on", 0)
	o.Append(h, "s", nan, "off", 0)
	e.Apply(0, 1, &o)
	events := e.Settle()
	if len(events) != 1 {
		t.Fatalf("%d events, want 1", len(events))
	}
	var context struct {
		Values     map[string]any
		Thresholds json.RawMessage
	}
	if err := json.Unmarshal(events[0].Context, &context); err != nil {
		t.Fatal(err)
	}
	values, _ := json.Marshal(context.Values)
	if want := `{"1.5 * y":3.75,"abs(x - 2)":3,"mode":"on","mode + \"!\"":"on!","most":3,"s":"off","x":5,"x + 1":6,"x - y":2.5,"x / y":2,"y":2.5}`; string(values) != want {
		t.Errorf("values\n%s, want\n%s", values, want)
	}
	want := `[{"value":"x / y","is":">","limit":1},{"value":"abs(x - 2)","is":"<","limit":3.75,"param":"1.5 * y"},{"value":"x - y","is":"<","limit":3,"param":"most"},` +
		`{"value":"mode + \"!\"","is":"!=","limit":"off","param":"s"},{"value":"x + 1","is":"==","limit":2.5,"param":"y"},{"value":"z + nosuch","is":"<","limit":9},{"value":"x","is":">","limit":2.5,"param":"y"}]`
	if string(context.Thresholds) != want {
		t.Errorf("thresholds\n%s, want\n%s", context.Thresholds, want)
	}
}

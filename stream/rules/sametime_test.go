package rules

import (
	"fmt"
	"slices"
	"testing"

	"panormus/devices"
	"panormus/stream/batch"
)

// TestOfOneTime: what two messages, or rows, of a device come to that have the very same time does not depend on which of
// them came first.
func TestOfOneTime(t *testing.T) {
	const t0 = int64(1_790_000_000_000)
	registry := &testRegistry{assets: map[string]*devices.Asset{"d": {Device: devices.Device{ID: "d", Domain: "lab", Zone: "kalsa"}}}}
	set := mustParse(t, `rules:
  - {id: high, key: domain, when: x > 5}
  - {id: rises, key: zone, on: tracks, when: 'delta(speed_mps, 1m) > 0', hold: 5s}
  - {id: rose, key: zone, on: tracks, window: {type: tumbling, size: 10s}, let: {d: 'last(delta(speed_mps, 1m))'}, when: d > 0}`)
	messages := func(values ...float64) []batch.Event {
		e := New(Config{Registry: registry, Partitions: 1}, set)
		for i, v := range values {
			o := &batch.Observations{}
			o.Append(o.Begin(t0, t0+int64(i), "lab", "d"), "x", v, "", 0)
			e.Apply(0, uint64(i+1), o)
		}
		var out []batch.Event
		for i := range int64(3) {
			e.Tick(t0 + i*600_000)
			out = append(out, e.Settle()...)
		}
		return out
	}
	rows := func(values ...float64) []batch.Event {
		e := NewRowEngine(Config{Registry: registry}, OnTracks, set)
		for i, v := range values {
			row, err := NewRow(OnTracks, "d", t0+int64(i)/2*3000, t0+3000+int64(i), map[string]string{"class": "car", "speed_mps": fmt.Sprint(v)})
			if err != nil {
				t.Fatal(err)
			}
			e.Apply(uint64(i+1), row)
		}
		var out []batch.Event
		for i := range int64(3) {
			e.Tick(t0 + i*600_000)
			out = append(out, e.Settle()...)
		}
		return out
	}
	for name, c := range map[string][2][]batch.Event{
		"messages": {messages(1, 9), messages(9, 1)},
		"rows":     {rows(1, 3, 2, 0), rows(3, 1, 0, 2)},
	} {
		var lines [2][]string
		for i, events := range c {
			for line := range outcome(t, events) {
				lines[i] = append(lines[i], undated(line))
			}
			slices.Sort(lines[i])
		}
		if len(lines[0]) == 0 || !slices.Equal(lines[0], lines[1]) {
			t.Errorf("%s: %q in one order, %q in the other; want the same, and some", name, lines[0], lines[1])
		}
	}
}

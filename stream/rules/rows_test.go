package rules

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"panormus/devices"
	"panormus/stream/batch"
)

const rowStart = int64(4_100_000_000_000)

// rowCase feeds detections, `second camera what class track value`, and returns what came of them as
// `second state rule key`. With restarts the engine is restored from its snapshot before each.
func rowsGive(t *testing.T, rulesText string, restarts bool, rows ...string) []string {
	t.Helper()
	set := mustParse(t, rulesText)
	registry := &testRegistry{assets: map[string]*devices.Asset{
		"cam-1": {Device: devices.Device{ID: "cam-1", Domain: "safety", Zone: "kalsa", Tags: map[string]string{"forbidden_direction": "out"}}},
	}}
	e := NewRowEngine(Config{Registry: registry}, OnDetections, set)
	var out []string
	take := func() {
		for _, ev := range e.Settle() {
			out = append(out, fmt.Sprintf("%g %s %s %s %s", float64(ev.Time.UnixMilli()-rowStart)/1000, ev.State, ev.Rule, ev.Key, ev.Device))
		}
	}
	for i, line := range rows {
		if restarts {
			b, err := e.Snapshot()
			if err != nil {
				t.Fatal(err)
			}
			e = NewRowEngine(Config{Registry: registry}, OnDetections, set)
			if err := e.Restore(b); err != nil {
				t.Fatal(err)
			}
		}
		var second, value float64
		var camera, what, class, track string
		if _, err := fmt.Sscan(line, &second, &camera, &what, &class, &track, &value); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		var d batch.Detections
		row := batch.Absent()
		row.Time = rowStart + int64(second*1000)
		row.Received, row.Camera, row.What, row.Class, row.Track, row.Value, row.Direction = row.Time+40, camera, what, class, track, value, "out"
		d.Append(&row)
		row.Quality = devices.QualityRefresh // told again, which is no news
		d.Append(&row)
		data, err := d.Encode()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		if err := eachDetection(data, func(row *Row) { n++; e.Apply(uint64(i+1), row) }); err != nil || n != 1 {
			t.Fatalf("%d rows, %v; want the one that is news", n, err)
		}
		take()
	}
	e.Tick(rowStart + 3_600_000)
	take()
	return out
}

func TestRows(t *testing.T) {
	for _, tc := range []struct {
		name, rules string
		rows, want  []string
	}{
		{
			name: "one episode a camera, held for a minute", rules: `{id: r, on: detections, when: 'class == "person"'}`,
			rows: []string{"0 cam-1 object person a 0", "1 cam-1 object car b 0", "50 cam-1 object person c 0", "200 cam-1 object person d 0"},
			want: []string{"0 raised r cam-1 cam-1", "110 cleared r cam-1 cam-1", "200 raised r cam-1 cam-1", "260 cleared r cam-1 cam-1"},
		},
		{
			name: "a key of tracks", rules: `{id: r, on: detections, when: 'class == "person"', key: track, hold: 10s}`,
			rows: []string{"0 cam-1 object person a 0", "1 cam-1 object person b 0", "9 cam-1 object person b 0"},
			want: []string{"0 raised r a cam-1", "1 raised r b cam-1", "10 cleared r a cam-1", "19 cleared r b cam-1"},
		},
		{
			name: "for, with a gap that begins anew", rules: `{id: r, on: detections, when: 'class == "person"', for: 5s, hold: 3s}`,
			rows: []string{"0 cam-1 object person a 0", "2 cam-1 object person a 0", "4 cam-1 object person a 0", "8 cam-1 object person a 0",
				"10 cam-1 object person a 0", "12 cam-1 object person a 0", "13 cam-1 object person a 0"},
			want: []string{"13 raised r cam-1 cam-1", "16 cleared r cam-1 cam-1"},
		},
		{
			name: "cleared by its own condition", rules: `{id: r, on: detections, when: 'what == "tamper" && value == 1', clear: 'what == "tamper" && value == 0', hold: 1d}`,
			rows: []string{"0 cam-1 tamper unknown - 1", "5 cam-2 tamper unknown - 0", "7 cam-1 object car - 0", "9 cam-1 tamper unknown - 0", "9 cam-1 tamper unknown - 0"},
			want: []string{"0 raised r cam-1 cam-1", "9 cleared r cam-1 cam-1"},
		},
		{
			name: "raised and cleared in one millisecond", rules: `{id: r, on: detections, when: value == 0, clear: value == 1, hold: 1d}`,
			rows: []string{"0 cam-1 tamper - - 0", "0 cam-1 tamper - - 1", "0 cam-1 tamper - - 0", "0.002 cam-1 tamper - - 0", "1 cam-1 tamper - - 1"},
			want: []string{"0 raised r cam-1 cam-1", "0 cleared r cam-1 cam-1", "0.002 raised r cam-1 cam-1", "1 cleared r cam-1 cam-1"},
		},
		{
			name: "the registry's tags", rules: `{id: r, on: detections, domain: safety, when: direction == tags.forbidden_direction}`,
			rows: []string{"0 cam-1 line_crossed car a 0", "1 cam-2 line_crossed car a 0"},
			want: []string{"0 raised r cam-1 cam-1", "60 cleared r cam-1 cam-1"},
		},
	} {
		for _, restarts := range []bool{false, true} {
			if got := rowsGive(t, tc.rules, restarts, tc.rows...); !slices.Equal(got, tc.want) {
				t.Errorf("%s (restarts %v):\n%s\nwant\n%s", tc.name, restarts, strings.Join(got, "\n"), strings.Join(tc.want, "\n"))
			}
		}
	}
}

// What a rule had raised ends where the rule went while nothing ran.
func TestRowRuleGoneAtARestart(t *testing.T) {
	e := NewRowEngine(Config{}, OnUplinks, mustParse(t, `rules: [{id: a, on: uplinks, when: rssi_dbm < -100}, {id: b, on: uplinks, when: n > 0, window: {type: tumbling, size: 1m}, let: {n: count()}}]`))
	for _, second := range []int64{0, 45} {
		row, err := NewRow(OnUplinks, "d", rowStart+second*1000, rowStart+second*1000, map[string]string{"rssi_dbm": "-110"})
		if err != nil {
			t.Fatal(err)
		}
		e.Apply(1, row)
	}
	e.Settle()
	state, err := e.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	e = NewRowEngine(Config{}, OnUplinks, NewSet())
	if err := e.Restore(state); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, ev := range e.Settle() {
		got = append(got, ev.Rule+" "+ev.State+" "+ev.Key)
	}
	if slices.Sort(got); !slices.Equal(got, []string{"a cleared d", "b cleared d"}) || !e.Idle() {
		t.Errorf("%q, want the end of both", got)
	}
}

// A panic in what a rule says of rows, for its windows, is that rule's.
func TestPanicOfARowWindow(t *testing.T) {
	e := NewRowEngine(Config{}, OnUplinks, mustParse(t, `rules: [{id: a, on: uplinks, when: n > 0, window: {type: tumbling, size: 1m}, let: {n: count(rssi_dbm)}}, {id: b, on: uplinks, when: rssi_dbm < 0}]`))
	for _, r := range e.programs[OnUplinks].other.rules {
		if r.ID == "a" {
			r.window.lets[0].num = func(*frame) float64 { panic("of a test") }
		}
	}
	row, err := NewRow(OnUplinks, "d", rowStart, rowStart, map[string]string{"rssi_dbm": "-110"})
	if err != nil {
		t.Fatal(err)
	}
	e.Apply(1, row)
	if events := e.Settle(); len(events) != 1 || events[0].Rule != "b" {
		t.Errorf("%v, want b raised", events)
	}
	if s := e.Stats(); s[0].Failed == "" || s[1].Failed != "" {
		t.Errorf("%+v, want a out of force alone", s)
	}
}

func TestRowRulesAreChecked(t *testing.T) {
	for text, want := range map[string]string{
		`{id: r, on: detections, when: 'clas == "person"'}`:                      `detections have no "clas"; did you mean "class"?`,
		`{id: r, on: detections, when: class > 5}`:                               `want the same kind on both sides`,
		`{id: r, on: detections, absent: 5m}`:                                    `absent: found beside on: detections`,
		`{id: r, when: power_w > 1, hold: 5m}`:                                   `hold: found with on: observations`,
		`{id: r, on: counts, when: 'occupancy_max > 3 && direction == "in"'}`:    `counts have no "direction"`,
		`{id: r, on: tracks, when: 'duration_s > 60 && zone == "a"', key: zone}`: ``, // the registry's zone
	} {
		_, err := Parse("test.yaml", []byte(text))
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestCountsAndTracksAreRows(t *testing.T) {
	at := time.UnixMilli(rowStart).UTC()
	set := mustParse(t, `
rules:
  - {id: crowd, on: counts, when: 'class == "person" && occupancy_avg > 10', text: "{camera}: {occupancy_avg}"}
  - {id: slow, on: counts, when: speed_mps < 2}
  - {id: fast, on: tracks, when: speed_max_mps > 20 && duration_s >= 4, text: "{rule} of {class}"}
  - {id: line, on: detections, when: 'what == "line_crossed"', text: "{title}: {rule}"}
`)
	counts, err := batch.EncodeCounts([]batch.Count{
		{Time: at, Received: at, Camera: "c", Class: "person", OccupancyAvg: 12},
		{Time: at, Received: at, Camera: "c", Class: "car", OccupancyAvg: 12, SpeedSumMps: 3, SpeedN: 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	tracks, err := batch.EncodeTracks([]batch.Track{{Camera: "c", Class: "car", Start: at, End: at.Add(4 * time.Second), Received: at.Add(4 * time.Second), SpeedMaxMps: 21}})
	if err != nil {
		t.Fatal(err)
	}
	var d batch.Detections
	crossed := batch.Absent()
	crossed.Time, crossed.Received, crossed.Camera, crossed.What, crossed.Rule = rowStart, rowStart, "c", batch.WhatLineCrossed, "Fence1"
	d.Append(&crossed)
	detections, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for on, data := range map[string][]byte{OnCounts: counts, OnTracks: tracks, OnDetections: detections} {
		e := NewRowEngine(Config{}, on, set)
		if err := rowKinds[on].each(data, func(r *Row) { e.Apply(1, r) }); err != nil {
			t.Fatal(err)
		}
		for _, ev := range e.Settle() {
			got = append(got, ev.Rule+" "+ev.Text)
		}
	}
	slices.Sort(got)
	if want := []string{"crowd c: 12", "fast fast of car", "line line: Fence1", "slow slow"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

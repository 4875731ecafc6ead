package storage_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"panormus/storage"
	"panormus/stream/batch"
)

// TestWithin asks for a part of the city, with as many devices as a large one has.
func TestWithin(t *testing.T) {
	at := time.Now().UTC().Truncate(time.Hour).Add(-2 * time.Hour)
	o := &batch.Observations{}
	for i, id := range []string{"lamp-1", "lamp-2", "it's"} {
		observation(o, at.Add(time.Duration(i)*time.Second), id, "n", 1, "", 0)
	}
	event := func(id, rule, domain, zone, device string) batch.Event {
		return batch.Event{ID: id, Rule: rule, Domain: domain, Zone: zone, Device: device, Time: at, Received: at, Context: json.RawMessage(`{}`)}
	}
	db := stored(t, o, []batch.Event{event("a", "hot", "lighting", "centro", "lamp-1"), event("b", "hot", "lighting", "mondello", "lamp-2"), event("c", "crowd", "safety", "centro", "cam-1"),
		event("d", "crowd", "safety", "centro", "cam-2"), event("e", "x", "", "", "")})
	for _, tc := range []struct {
		within *storage.Within
		want   string
	}{
		{nil, "a b c d e"},
		{&storage.Within{Areas: [][2]string{{"lighting", "centro"}}}, "a"},
		{&storage.Within{Areas: [][2]string{{"lighting", ""}, {"", "centro"}}}, "a b c d"},
		{&storage.Within{Areas: [][2]string{{"", "centro"}}, Rules: []string{"crowd", "it's"}}, "c d"},
		{&storage.Within{Areas: [][2]string{{"safety", ""}}, Except: []string{"cam-2", "it's"}}, "c"},
		{&storage.Within{Only: []string{"cam-2"}}, "d"},
		{&storage.Within{Only: []string{}}, ""},
	} {
		events, _, err := db.Events(within(t), storage.EventFilter{Within: tc.within}, 0, "")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range events {
			got = append(got, e.ID)
		}
		slices.Sort(got)
		if strings.Join(got, " ") != tc.want {
			t.Errorf("events within %+v: %v, want %s", tc.within, got, tc.want)
		}
		var b bytes.Buffer
		if err := db.Export(within(t), &b, storage.Export{Table: "events", Format: "jsonl", Within: tc.within}); err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(b.Bytes(), []byte("\n")); n != len(strings.Fields(tc.want)) {
			t.Errorf("export within %+v: %s, want %s", tc.within, &b, tc.want)
		}
	}
	many := []string{"lamp-1", "it's"}
	for i := range 60_000 {
		many = append(many, fmt.Sprintf("another-device-%d", i))
	}
	for _, table := range []string{"observations", "observations_1m", "observations_1h", "uplinks", "detections", "tracks", "vds_counts_1m"} {
		for _, devices := range [][]string{many, {}} {
			var b bytes.Buffer
			if err := db.Export(within(t), &b, storage.Export{Table: table, Format: "jsonl", Within: &storage.Within{Devices: devices}}); err != nil {
				t.Fatalf("%s: %v", table, err)
			}
			want := 0
			if len(devices) > 0 && strings.HasPrefix(table, "observations") {
				want = 2
			}
			if n := bytes.Count(b.Bytes(), []byte("\n")); n != want || strings.Contains(b.String(), "lamp-2") {
				t.Errorf("%s within %d devices: %d rows, want %d: %s", table, len(devices), n, want, &b)
			}
		}
	}
	for _, table := range []string{"alarm_log", "rejected"} {
		if err := db.Export(within(t), &bytes.Buffer{}, storage.Export{Table: table, Format: "csv", Within: &storage.Within{}}); err == nil {
			t.Errorf("%s was given to somebody who sees a part of the city", table)
		}
	}
}

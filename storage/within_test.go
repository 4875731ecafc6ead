package storage_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"panormus/devices"
	"panormus/storage"
	"panormus/storage/storagetest"
	"panormus/stream/alarms"
	"panormus/stream/batch"
	"panormus/stream/log/logtest"
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
}

// TestRejectedWithin asks for what was rejected of some devices, by the topics that name them.
func TestRejectedWithin(t *testing.T) {
	db := storagetest.NewDBOf(t, storage.Config{Speakers: []storage.Speaker{
		{Topics: "^frigate/events$"}, {Topics: `(?s)^city/[^/]*/[^/]*/telemetry(/.*)?$`, Level: 3}, {Topics: "^v3/[^/]*/devices/[^/]*/up$", Level: 4},
	}})
	for i, topic := range []string{"city/lighting/lamp-1/telemetry", "city/lighting/lamp-1/telemetry/senml", "city/lighting/lamp-2/telemetry", "v3/app/devices/lamp-1/up", "frigate/events", "log/lamp-1/3", "x/lamp-1", "city/lamp-1/it's/telemetry"} {
		if err := db.Conn().Exec(within(t), "INSERT INTO rejected (received, source, topic, reason, detail, payload) VALUES (?, 'mqtt', ?, 'syntax', ?, 'x')", time.Now().UTC(), topic, fmt.Sprint("d", i)); err != nil {
			t.Fatal(err)
		}
	}
	many := []string{"lamp-1", "it's"}
	for i := range 60_000 {
		many = append(many, fmt.Sprintf("another-device-%d", i))
	}
	for _, tc := range []struct {
		within *storage.Within
		want   uint64
	}{{nil, 8}, {&storage.Within{Devices: many}, 4}, {&storage.Within{Devices: []string{"lamp-2"}}, 1}, {&storage.Within{}, 0}} {
		var b bytes.Buffer
		if err := db.Export(within(t), &b, storage.Export{Table: "rejected", Format: "jsonl", Within: tc.within}); err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(b.Bytes(), []byte("\n")); n != int(tc.want) {
			t.Errorf("export: %d rows, want %d: %s", n, tc.want, &b)
		}
		dead, err := db.DeadLettersSince(within(t), time.Now().Add(-time.Hour), tc.within)
		n := uint64(0)
		for _, d := range dead {
			n += d.Count
		}
		if err != nil || n != tc.want {
			t.Errorf("dead letters: %+v, %v, want %d", dead, err, tc.want)
		}
	}
}

// TestPartsOfThePast has everything of two parts of the city, and asks for one, for none and for all: rows, figures
// and what was left out are of no other part.
func TestPartsOfThePast(t *testing.T) {
	at := time.Now().UTC().Truncate(time.Hour).Add(-2 * time.Hour)
	to := at.Add(time.Hour)
	l := logtest.New(t, nil)
	db := storagetest.NewDB(t)
	o := &batch.Observations{}
	var uplinks []batch.Uplink
	var d batch.Detections
	var tracks []batch.Track
	var counts []batch.Count
	var events []batch.Event
	var log []batch.AlarmRow
	for _, part := range []string{"mine", "theirs"} {
		observation(o, at, part, "n", 1, "", 0)
		observation(o, at, part, "n", 2, "", devices.QualityClock)
		uplinks = append(uplinks, batch.Uplink{Time: at, Device: part, Gateway: "shared", FCnt: 1}, batch.Uplink{Time: at.Add(time.Minute), Device: part, Gateway: "of-" + part, FCnt: 2})
		row := batch.Absent()
		row.Time, row.Received, row.Camera, row.Class, row.Expires = at.UnixMilli(), at.UnixMilli(), part, "person", to.Add(24*time.Hour).UnixMilli()
		d.Append(&row)
		row.Quality = devices.QualityClock
		d.Append(&row)
		tracks = append(tracks, batch.Track{ID: part, Camera: part, Start: at, End: at, Received: at, Expires: to.Add(24 * time.Hour)})
		counts = append(counts, batch.Count{Time: at, Received: at, Camera: part, Class: "car", Seen: 9, Version: 1})
		for i, zone := range map[int]string{1: "elsewhere", 2: part} { // its last place counts
			events = append(events, batch.Event{ID: fmt.Sprint(part, i), Rule: "hot", Key: part, State: "raised", Domain: "lighting", Zone: zone, Device: part, Time: at.Add(time.Duration(i) * time.Minute), Received: at, Context: json.RawMessage(`{}`)})
		}
		log = append(log, batch.AlarmRow{Time: at, Alarm: alarms.ID("hot", part), N: 1, Action: "raised", Note: part}, batch.AlarmRow{Time: at.Add(-50 * 24 * time.Hour), Alarm: alarms.ID("hot", part), N: 2, Action: "ack", Note: part})
	}
	log = append(log, batch.AlarmRow{Time: at, Alarm: "of no event", N: 1, Action: "raised", Note: "theirs"})
	for kind, encode := range map[batch.Kind]func() ([]byte, error){
		batch.KindObservations: o.Encode, batch.KindDetections: d.Encode,
		batch.KindUplinks:  func() ([]byte, error) { return batch.EncodeUplinks(uplinks) },
		batch.KindTracks:   func() ([]byte, error) { return batch.EncodeTracks(tracks) },
		batch.KindCounts:   func() ([]byte, error) { return batch.EncodeCounts(counts) },
		batch.KindEvents:   func() ([]byte, error) { return batch.EncodeEvents(events) },
		batch.KindAlarmLog: func() ([]byte, error) { return batch.EncodeAlarmLog(log) },
	} {
		data, err := encode()
		publish(t, l, kind, data, err)
	}
	w, stop := running(t, db, l, storage.WriterConfig{MaxWait: 10 * time.Millisecond})
	caughtUp(t, w)
	stop()
	for _, tc := range []struct {
		within *storage.Within
		want   string
	}{
		{nil, "observations 2, 2 left out; detections 2, 2 left out; tracks 2; counts 2; uplinks 4; events 4; alarm log 5; gateways of-mine 1, of-theirs 1, shared 2; heard mine theirs; by shared mine theirs; by of-theirs theirs"},
		{&storage.Within{Areas: [][2]string{{"lighting", "mine"}}, Devices: []string{"mine", "it's", `x\') OR 1=1 -- `, "?", "{a:String}"}}, "observations 1, 1 left out; detections 1, 1 left out; tracks 1; counts 1; uplinks 2; events 1; alarm log 2; gateways of-mine 1, shared 1; heard mine; by shared mine; by of-theirs"},
		{&storage.Within{Areas: [][2]string{{"lighting", "elsewhere"}}, Devices: []string{}}, "observations 0, 0 left out; detections 0, 0 left out; tracks 0; counts 0; uplinks 0; events 2; alarm log 0; gateways; heard; by shared; by of-theirs"},
		{&storage.Within{Only: []string{"mine"}, Devices: []string{"mine"}}, "observations 1, 1 left out; detections 1, 1 left out; tracks 1; counts 1; uplinks 2; events 2; alarm log 2; gateways of-mine 1, shared 1; heard mine; by shared mine; by of-theirs"},
	} {
		rows := map[string]int{}
		check := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("within %+v: %v", tc.within, err)
			}
		}
		unclocked, err := db.Past(within(t), storage.PastQuery{From: at, To: to, Within: tc.within}, func(o *batch.Observations) error { rows["observations"] += o.Len(); return nil })
		check(err)
		unseen, err := db.PastDetections(within(t), at, to, nil, tc.within, func(d *batch.Detections) error { rows["detections"] += d.Len(); return nil })
		check(err)
		check(db.PastTracks(within(t), at, to, nil, tc.within, func(page []batch.Track) error { rows["tracks"] += len(page); return nil }))
		check(db.PastCounts(within(t), at, to, nil, tc.within, func(page []batch.Count) error { rows["counts"] += len(page); return nil }))
		check(db.PastUplinks(within(t), at, to, nil, tc.within, func(page []batch.Uplink) error { rows["uplinks"] += len(page); return nil }))
		check(db.PastEvents(within(t), at, to, "", nil, tc.within, func(page []batch.Event) error { rows["events"] += len(page); return nil }))
		var exported bytes.Buffer
		check(db.Export(within(t), &exported, storage.Export{Table: "alarm_log", Format: "csv", Within: tc.within}))
		if tc.within != nil && strings.Contains(exported.String(), "theirs") {
			t.Errorf("within %+v: %s", tc.within, &exported)
		}
		got := fmt.Sprintf("observations %d, %d left out; detections %d, %d left out; tracks %d; counts %d; uplinks %d; events %d; alarm log %d; gateways", rows["observations"], unclocked, rows["detections"], unseen,
			rows["tracks"], rows["counts"], rows["uplinks"], rows["events"], bytes.Count(exported.Bytes(), []byte("\n"))-1)
		gateways, err := db.Gateways(within(t), at, to, "", tc.within)
		check(err)
		for i, g := range gateways {
			got += strings.Repeat(",", min(i, 1)) + fmt.Sprintf(" %s %d", g.Gateway, g.Uplinks)
		}
		for _, gateway := range []string{"", "shared", "of-theirs"} {
			var heard []string
			for cursor, page := "", 0; page == 0 || cursor != ""; page++ {
				var found []storage.DeviceRadio
				found, cursor, err = db.RadioDevices(within(t), storage.RadioQuery{From: at, To: to, Gateway: gateway, Within: tc.within}, 1, cursor)
				check(err)
				for _, f := range found {
					heard = append(heard, f.Device)
				}
			}
			got += strings.TrimRight("; "+map[bool]string{true: "heard", false: "by " + gateway}[gateway == ""]+" "+strings.Join(heard, " "), " ")
		}
		if got != tc.want {
			t.Errorf("within %+v:\n%s, want\n%s", tc.within, got, tc.want)
		}
	}
}

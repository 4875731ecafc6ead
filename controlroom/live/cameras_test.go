package live

import (
	"fmt"
	"maps"
	"math"
	"testing"
	"time"

	"panormus/devices"
	"panormus/stream/batch"
)

// row of video metadata at ms.
func row(camera, what string, ms int64, value float64) batch.Detection {
	d := batch.Absent()
	d.Time, d.Received, d.Camera, d.What, d.Value = ms, ms, camera, what, value
	return d
}

func signs(t testing.TB, rows ...batch.Detection) *batch.Signs {
	t.Helper()
	var d batch.Detections
	for i := range rows {
		d.Append(&rows[i])
	}
	data, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	s, err := batch.DecodeSigns(data)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func cameraState(ids ...string) *State {
	reg := &fakeRegistry{}
	for _, id := range ids {
		reg.put(devices.Device{ID: id, Domain: "mobility", Camera: &devices.Camera{Purpose: "traffic"}})
	}
	return New(reg, nil, nil)
}

func wantValues(t *testing.T, s *State, id string, want map[string]any) {
	t.Helper()
	if got := item(t, s, id).Values; !maps.Equal(got, want) {
		t.Errorf("%s has %v, want %v", id, got, want)
	}
}

func TestCameraFrames(t *testing.T) {
	nan := math.NaN()
	s := cameraState("a", "b")
	s.SyncRegistry()
	s.applySigns(signs(t, row("a", batch.WhatObject, 100_000, nan), row("stranger", batch.WhatObject, 100_000, nan)))
	if it := item(t, s, "a"); it.Seen == nil || it.Seen.UnixMilli() != 100_000 || len(it.Values) != 0 {
		t.Errorf("after its first frame a is %+v, want it seen and no rate yet", it)
	}
	if s.Lookup("stranger") != nil {
		t.Error("a camera that the registry does not have appears")
	}
	// 5 frames a second of two objects each, for 10 s; b sends empty ones, 2 a second.
	for ms := int64(100_200); ms < 110_000; ms += 200 {
		rows := []batch.Detection{row("a", batch.WhatObject, ms, nan), row("a", batch.WhatObject, ms, nan)}
		if ms%1000 == 0 || ms%1000 == 400 {
			rows = append(rows, row("b", batch.WhatFrame, ms, nan))
		}
		s.applySigns(signs(t, rows...))
	}
	wantValues(t, s, "a", map[string]any{})
	s.applySigns(signs(t, row("a", batch.WhatObject, 110_000, nan), row("b", batch.WhatFrame, 111_000, nan), row("a", batch.WhatObject, 99_000, nan)))
	wantValues(t, s, "a", map[string]any{"frames_per_s": 5.0})
	wantValues(t, s, "b", map[string]any{"frames_per_s": 1.9})
	s.quiet(time.UnixMilli(140_000))
	wantValues(t, s, "a", map[string]any{"frames_per_s": 5.0})
	s.quiet(time.UnixMilli(140_001))
	wantValues(t, s, "a", map[string]any{"frames_per_s": 0.0})
	wantValues(t, s, "b", map[string]any{"frames_per_s": 1.9})
	// It comes back: no rate over the gap, and then of whole spans again.
	s.applySigns(signs(t, row("a", batch.WhatObject, 200_000, nan), row("a", batch.WhatObject, 201_000, nan)))
	wantValues(t, s, "a", map[string]any{"frames_per_s": 0.0})
	s.applySigns(signs(t, row("a", batch.WhatObject, 210_500, nan)))
	wantValues(t, s, "a", map[string]any{"frames_per_s": 0.2})
}

func TestCameraSigns(t *testing.T) {
	nan := math.NaN()
	s := cameraState("a", "b")
	s.applySigns(signs(t,
		row("a", batch.WhatTamper, 5000, 1), row("a", batch.WhatSignalLoss, 5000, nan),
		row("a", batch.WhatTamper, 4000, 0), // late
		row("b", batch.WhatPlate, 70_000, nan), row("b", batch.WhatPlate, 79_000, nan)))
	wantValues(t, s, "a", map[string]any{"tampered": 1.0, "signal_loss": 1.0})
	if it := item(t, s, "b"); it.Seen == nil || it.Seen.UnixMilli() != 70_000 {
		t.Errorf("b is %+v, want it seen at 70 s", it)
	}
	s.applySigns(signs(t, row("a", batch.WhatTamper, 6000, 0)))
	wantValues(t, s, "a", map[string]any{"tampered": 0.0, "signal_loss": 1.0})
}

func TestCameraCounts(t *testing.T) {
	s := cameraState("a", "b")
	minute := func(n int) time.Time { return time.Unix(int64(n)*60, 0) }
	s.applyCounts([]batch.Count{
		{Time: minute(10), Camera: "a", Class: "person", Seen: 7, In: 3, Out: 1, OccupancyAvg: 1.26},
		{Time: minute(10), Camera: "a", Class: "person", Zone: "door", Seen: 7, In: 100},
		{Time: minute(10), Camera: "a", Class: "car", Seen: 7, In: 5, Out: 0, OccupancyAvg: 2, QueueMax: 2},
		{Time: minute(10), Camera: "a", Class: "bag", Seen: 7, In: 50},
		{Time: minute(8), Camera: "a", Class: "bus", Seen: 7, In: 50},
		{Time: minute(10), Camera: "stranger", Class: "car", Seen: 7, In: 5},
	})
	wantValues(t, s, "a", map[string]any{"people_in": 0.0, "people_out": 0.0, "people_present": 1.3,
		"vehicles_in": 0.0, "vehicles_out": 0.0, "vehicles_present": 2.0, "vehicles_queued": 2.0})
	// The next minute has a bus alone; who came in the one before is told, and who left it when that is known.
	s.applyCounts([]batch.Count{{Time: minute(11), Camera: "a", Class: "bus", Seen: 7, In: 1, OccupancyAvg: 0.5}})
	wantValues(t, s, "a", map[string]any{"people_in": 3.0, "people_out": 1.0, "people_present": 0.0,
		"vehicles_in": 5.0, "vehicles_out": 0.0, "vehicles_present": 0.5, "vehicles_queued": 0.0})
	s.applyCounts([]batch.Count{
		{Time: minute(10), Camera: "a", Class: "car", Seen: 7, In: 5, Out: 4, OccupancyAvg: 2, QueueMax: 2},
		{Time: minute(11), Camera: "a", Class: "car", Seen: 7, In: 2, OccupancyAvg: 1},
		{Time: minute(11), Camera: "a", Class: "car", Seen: 7, In: 3, OccupancyAvg: 1.5},
	})
	wantValues(t, s, "a", map[string]any{"people_in": 3.0, "people_out": 1.0, "people_present": 0.0,
		"vehicles_in": 5.0, "vehicles_out": 4.0, "vehicles_present": 2.0, "vehicles_queued": 0.0})
	// After a gap nothing is known of the minute before.
	s.applyCounts([]batch.Count{{Time: minute(20), Camera: "a", Class: "person", Seen: 7, In: 2, OccupancyAvg: 1}})
	wantValues(t, s, "a", map[string]any{"people_in": 0.0, "people_out": 0.0, "people_present": 1.0,
		"vehicles_in": 0.0, "vehicles_out": 0.0, "vehicles_present": 0.0, "vehicles_queued": 0.0})
	if s.Lookup("stranger") != nil {
		t.Error("a camera that the registry does not have appears")
	}
}

// TestCameraCountsFew has minutes of fewer than k objects: of them the live state says only that.
func TestCameraCountsFew(t *testing.T) {
	cell := func(minute int64, class string, in, seen int64, present float64) batch.Count {
		return batch.Count{Time: time.Unix(60*minute, 0), Camera: "a", Class: class, In: in, Out: 1, Seen: seen, OccupancyAvg: present, OccupancyMax: 1, QueueMax: 1}
	}
	for _, tc := range []struct {
		name string
		k    int // 0: nobody says
		rows []batch.Count
		want map[string]any
	}{
		{"one below the default", 0, []batch.Count{cell(10, "person", 2, 4, 1), cell(11, "person", 3, 4, 1)},
			map[string]any{"people_in": "<5", "people_out": "<5", "people_present": "<5"}},
		{"as many as the default", 0, []batch.Count{cell(10, "person", 2, 5, 1), cell(11, "person", 3, 5, 1.5)},
			map[string]any{"people_in": 2.0, "people_out": 1.0, "people_present": 1.5}},
		{"each minute by itself", 0, []batch.Count{cell(10, "person", 2, 5, 1), cell(11, "person", 3, 4, 1.5)},
			map[string]any{"people_in": 2.0, "people_out": 1.0, "people_present": "<5"}},
		{"more that came than were seen at once", 0, []batch.Count{cell(10, "person", 6, 0, 1), cell(11, "person", 1, 0, 1)},
			map[string]any{"people_in": 6.0, "people_out": 1.0, "people_present": "<5"}},
		{"nobody in the minute before", 0, []batch.Count{cell(11, "bicycle", 3, 9, 2)},
			map[string]any{"bicycles_in": 0.0, "bicycles_out": 0.0, "bicycles_present": 2.0}},
		{"k of the purpose", 3, []batch.Count{cell(10, "person", 2, 3, 1), cell(11, "person", 1, 2, 1)},
			map[string]any{"people_in": 2.0, "people_out": 1.0, "people_present": "<3"}},
		{"one bus beside cars is not told by the rest", 0, []batch.Count{cell(10, "car", 8, 9, 2), cell(10, "bus", 1, 1, 1), cell(11, "car", 8, 9, 2), cell(11, "bus", 1, 1, 1)},
			map[string]any{"vehicles_in": 8.0, "vehicles_out": 1.0, "vehicles_present": 2.0, "vehicles_queued": 1.0}},
		{"few of each are enough together", 0, []batch.Count{cell(11, "car", 8, 9, 2), cell(11, "bus", 1, 3, 1), cell(11, "truck", 1, 2, 1)},
			map[string]any{"vehicles_in": 0.0, "vehicles_out": 0.0, "vehicles_present": 4.0, "vehicles_queued": 3.0}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := cameraState("a")
			if tc.k > 0 {
				s.cameras.least = func(purpose string) int {
					if purpose != "traffic" {
						t.Errorf("asked for k of %q, want traffic", purpose)
					}
					return tc.k
				}
			}
			s.applyCounts(tc.rows)
			wantValues(t, s, "a", tc.want)
		})
	}
}

// TestCameraSeesNobody goes on with frames after a minute with somebody: of nobody there are no counts.
func TestCameraSeesNobody(t *testing.T) {
	s := cameraState("a", "b")
	at := func(second int) int64 { return int64(600+second) * 1000 }
	for _, camera := range []string{"a", "b"} {
		s.applyCounts([]batch.Count{{Time: time.UnixMilli(at(0)), Camera: camera, Class: "person", Seen: 7, In: 3, Out: 2, OccupancyAvg: 1}})
	}
	some := map[string]any{"people_in": 0.0, "people_out": 0.0, "people_present": 1.0}
	for _, tc := range []struct {
		second           int
		in, out, present any
	}{{149, 0.0, 0.0, 1.0}, {150, 3.0, 2.0, 0.0}, {209, 3.0, 2.0, 0.0}, {210, 0.0, 0.0, 0.0}, {300, 0.0, 0.0, 0.0}} {
		s.applySigns(signs(t, row("a", batch.WhatFrame, at(tc.second), 0)))
		s.quiet(time.UnixMilli(at(tc.second)))
		got := item(t, s, "a").Values
		delete(got, CameraFrames)
		if want := map[string]any{"people_in": tc.in, "people_out": tc.out, "people_present": tc.present}; !maps.Equal(got, want) {
			t.Errorf("after %d s a has %v, want %v", tc.second, got, want)
		}
		wantValues(t, s, "b", some) // silent: not known
	}
}

// TestCamerasFromTheLog takes both kinds through the log, and what the database knew before.
func TestCamerasFromTheLog(t *testing.T) {
	l := openLog(t)
	reg := &fakeRegistry{}
	reg.put(devices.Device{ID: "a", Domain: "mobility"})
	reg.put(devices.Device{ID: "b", Domain: "mobility"})
	s := New(reg, nil, nil)
	h := &past{signs: []CameraSign{
		{Camera: "b", What: batch.WhatFrame, Time: time.UnixMilli(90_000)}, {Camera: "b", What: batch.WhatTamper, Time: time.UnixMilli(80_000), Value: 1}}}
	stop := run(t, s, Feeding{Log: l, History: h, Writer: "writer"})
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	if it := item(t, s, "b"); it.Seen == nil || it.Seen.UnixMilli() != 90_000 || it.Values["tampered"] != 1.0 {
		t.Errorf("b is %+v, want what the database has of it", it)
	}
	var d batch.Detections
	r := row("a", batch.WhatTamper, 5000, 1)
	d.Append(&r)
	data, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.Publish(t.Context(), batch.KindDetections, l.Partition("a"), "", data); err != nil {
		t.Fatal(err)
	}
	if data, err = batch.EncodeCounts([]batch.Count{{Time: time.Unix(60, 0), Camera: "a", Class: "person", Seen: 9, OccupancyAvg: 9}}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Publish(t.Context(), batch.KindCounts, l.Partition("a"), "", data); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		it := item(t, s, "a")
		return it.Values["tampered"] == 1.0 && it.Values["people_present"] == 9.0
	})
}

// BenchmarkSigns is what following the detections costs: frames of 3 objects of 1,000 cameras.
func BenchmarkSigns(b *testing.B) {
	const rows = 12_000
	ids := make([]string, 1000)
	for i := range ids {
		ids[i] = fmt.Sprintf("camera-%04d", i)
	}
	s := cameraState(ids...)
	var d batch.Detections
	for i := range rows {
		r := row(ids[i/3%1000], batch.WhatObject, int64(1_000_000+i/3000*100), math.NaN())
		r.Track, r.Class, r.Score = fmt.Sprint(i), batch.ClassPerson, 0.5
		d.Append(&r)
	}
	data, err := d.Encode()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		signs, err := batch.DecodeSigns(data)
		if err != nil || len(signs.Time) != rows {
			b.Fatal(len(signs.Time), err)
		}
		s.applySigns(signs)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
}

package storage_test

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"panormus/storage"
	"panormus/storage/storagetest"
	"panormus/stream/batch"
	"panormus/stream/log/logtest"
)

// videoStored is a database with what cameras sent.
func videoStored(t *testing.T, detections []batch.Detection, tracks []batch.Track, counts []batch.Count) *storage.DB {
	t.Helper()
	db := storagetest.NewDB(t)
	l := logtest.New(t, nil)
	if len(detections) > 0 {
		var d batch.Detections
		for i := range detections {
			d.Append(&detections[i])
		}
		data, err := d.Encode()
		publish(t, l, batch.KindDetections, data, err)
	}
	if len(tracks) > 0 {
		data, err := batch.EncodeTracks(tracks)
		publish(t, l, batch.KindTracks, data, err)
	}
	if len(counts) > 0 {
		data, err := batch.EncodeCounts(counts)
		publish(t, l, batch.KindCounts, data, err)
	}
	w, stop := running(t, db, l, storage.WriterConfig{MaxWait: 10 * time.Millisecond})
	caughtUp(t, w)
	stop()
	return db
}

func TestVideoCounts(t *testing.T) {
	start := time.Now().UTC().Truncate(time.Hour).Add(-2 * time.Hour)
	at := func(minute int) time.Time { return start.Add(time.Duration(minute) * time.Minute) }
	count := func(minute int, zone, class string, in, out, seen int64) batch.Count {
		return batch.Count{Time: at(minute), Received: at(minute + 1), Camera: "a", Zone: zone, Class: class, In: in, Out: out, Seen: seen, Purpose: "traffic", Version: 1}
	}
	full := count(1, "", "car", 5, 4, 6)
	full.OccupancyAvg, full.OccupancyMax, full.DwellS, full.Visits, full.SpeedSumMps, full.SpeedN, full.QueueMax = 2.5, 4, 30, 4, 20, 2, 3
	again := full
	again.In, again.Version = 7, 2
	other := count(1, "", "car", 90, 90, 90)
	other.Camera = "b"
	db := videoStored(t, nil, nil, []batch.Count{
		full, again, other, count(3, "", "car", 1, 0, 3), count(6, "", "car", 2, 1, 2), count(7, "", "car", 2, 1, 2), count(12, "", "car", 0, 0, 0),
		count(3, "", "person", 0, 0, 4), count(4, "", "person", 0, 0, 4), count(3, "gate", "car", 3, 2, 0), count(5, "gate", "car", 3, 0, 0), count(70, "", "car", 50, 50, 50),
	})
	nan := math.NaN()
	cell := func(minute int, zone, class string, in, out int64) storage.VideoCount {
		return storage.VideoCount{Time: at(minute), Zone: zone, Class: class, In: in, Out: out, DwellS: nan, SpeedMps: nan}
	}
	hidden := func(minute int, zone, class string) storage.VideoCount {
		c := cell(minute, zone, class, 0, 0)
		c.Hidden = true
		return c
	}
	five := cell(0, "", "car", 8, 4)
	five.Present, five.PresentMax, five.DwellS, five.SpeedMps, five.QueueMax = 0.5, 4, 7.5, 10, 3
	hour := cell(0, "", "car", 12, 6)
	hour.Present, hour.PresentMax, hour.DwellS, hour.SpeedMps, hour.QueueMax = 2.5/60, 4, 7.5, 10, 3
	q := storage.CountQuery{Camera: "a", From: start, To: at(60), Step: 5 * time.Minute, K: 5}
	for _, tc := range []struct {
		name string
		ask  func(*storage.CountQuery)
		want []storage.VideoCount
	}{
		// 4 persons in each of two minutes may be the same 4.
		{"five minutes", func(*storage.CountQuery) {}, []storage.VideoCount{five, hidden(5, "", "car"), cell(10, "", "car", 0, 0), hidden(0, "", "person")}},
		{"a zone", func(q *storage.CountQuery) { q.Zone = "gate" }, []storage.VideoCount{hidden(0, "gate", "car"), hidden(5, "gate", "car")}},
		{"a zone's hour", func(q *storage.CountQuery) { q.Zone, q.Step = "gate", time.Hour }, []storage.VideoCount{cell(0, "gate", "car", 6, 2)}},
		{"a class", func(q *storage.CountQuery) { q.Class, q.K = "person", 4 }, []storage.VideoCount{cell(0, "", "person", 0, 0)}},
		{"everything at once", func(q *storage.CountQuery) { q.AllZones, q.Step = true, 0 },
			[]storage.VideoCount{hour, hidden(0, "", "person"), cell(0, "gate", "car", 6, 2)}},
		{"a quarter of an hour of which one step hides", func(q *storage.CountQuery) { q.Within = 15 * time.Minute },
			[]storage.VideoCount{hidden(0, "", "car"), hidden(5, "", "car"), cell(10, "", "car", 0, 0), hidden(0, "", "person")}},
		{"a quarter of an hour of which two hide", func(q *storage.CountQuery) { q.Within, q.Zone = 15*time.Minute, "gate" }, []storage.VideoCount{hidden(0, "gate", "car"), hidden(5, "gate", "car")}},
		{"steps that nothing sums up", func(q *storage.CountQuery) { q.Within = 5 * time.Minute }, []storage.VideoCount{five, hidden(5, "", "car"), cell(10, "", "car", 0, 0), hidden(0, "", "person")}},
		{"nobody", func(q *storage.CountQuery) { q.Camera = "c" }, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := q
			tc.ask(&q)
			got, err := db.VideoCounts(within(t), q)
			if err != nil || !alike(got, tc.want) {
				t.Errorf("got %+v, %v\nwant %+v", got, err, tc.want)
			}
		})
	}
	for _, bad := range []storage.CountQuery{{From: start, To: at(1)}, {Camera: "a", From: at(1), To: at(1)}, {Camera: "a", From: start, To: at(1), Step: time.Second},
		{Camera: "a", From: start, To: at(storage.MaxCountPoints + 1), Step: time.Minute}} {
		if _, err := db.VideoCounts(within(t), bad); !isQueryError(err) {
			t.Errorf("%+v: %v, want a QueryError", bad, err)
		}
	}
}

// TestVideoCountDays asks for the days around the last change of the clock in Rome.
func TestVideoCountDays(t *testing.T) {
	rome, err := time.LoadLocation("Europe/Rome")
	if err != nil {
		t.Fatal(err)
	}
	offset := func(at time.Time) int { _, s := at.In(rome).Zone(); return s }
	changed := time.Now().Add(-49 * time.Hour).Truncate(time.Hour)
	for offset(changed.Add(-time.Hour)) == offset(changed) {
		changed = changed.Add(-time.Hour)
	}
	midnight := func(days int) time.Time {
		d := changed.In(rome)
		return time.Date(d.Year(), d.Month(), d.Day()+days, 0, 0, 0, 0, rome)
	}
	if h := midnight(1).Sub(midnight(0)).Hours(); h != 23 && h != 25 {
		t.Fatalf("the day of the change has %v hours", h)
	}
	count := func(at time.Time, in int64) batch.Count {
		return batch.Count{Time: at.UTC(), Received: at.UTC(), Camera: "a", Class: "car", In: in, OccupancyAvg: 60, Purpose: "traffic", Version: 1}
	}
	hours := []batch.Count{
		count(midnight(0).Add(-time.Minute), 10), // the last minute of the day before
		count(midnight(0), 20), count(midnight(1).Add(-time.Hour), 2), count(midnight(1).Add(-time.Minute), 40),
		count(midnight(1), 80),
	}
	db := videoStored(t, nil, nil, hours)
	days, err := db.VideoCounts(within(t), storage.CountQuery{Camera: "a", From: midnight(-1), To: midnight(2), Step: 24 * time.Hour, Days: rome, K: 5})
	if err != nil || len(days) != 3 {
		t.Fatalf("the days: %+v, %v; want three", days, err)
	}
	for i, in := range []int64{10, 62, 80} {
		minutes := midnight(i).Sub(midnight(i - 1)).Minutes()
		people := 60.0
		if i == 1 {
			people *= 3
		}
		if d := days[i]; !d.Time.Equal(midnight(i-1)) || d.In != in || math.Abs(d.Present-people/minutes) > 1e-9 {
			t.Errorf("day %d: %+v, want %d in from %v and %v present", i, d, in, midnight(i-1).UTC(), people/minutes)
		}
	}
	// One hour of the day before is of too few: by days in UTC the first of the next would be hidden beside it.
	found, err := db.VideoCounts(within(t), storage.CountQuery{Camera: "a", From: midnight(-1), To: midnight(2), Step: time.Hour, Within: 24 * time.Hour, Days: rome, K: 5})
	var got []string
	for _, c := range found {
		got = append(got, fmt.Sprint(c.In, c.Hidden))
	}
	if want := "[10 false 20 false 42 false 80 false]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("the hours: %v, %v; want %s", got, err, want)
	}
	found, err = db.VideoCounts(within(t), storage.CountQuery{Camera: "a", From: midnight(-1), To: midnight(2), Step: time.Hour, Within: 24 * time.Hour, Days: rome, K: 15})
	got = nil
	for _, c := range found {
		got = append(got, fmt.Sprint(c.In, c.Hidden))
	}
	if want := "[0 true 20 false 42 false 80 false]"; err != nil || fmt.Sprint(got) != want {
		t.Errorf("the hours of at least 15: %v, %v; want %s", got, err, want)
	}
}

// seenAt is an object of a camera in the middle of a place of the image.
func seenAt(camera, track, class string, at time.Time, x, y float32) batch.Detection {
	d := batch.Absent()
	d.Time, d.Received, d.Expires = at.UnixMilli(), at.UnixMilli(), time.Now().Add(time.Hour).UnixMilli()
	d.Camera, d.What, d.Track, d.Class, d.CenterX, d.CenterY, d.Purpose = camera, batch.WhatObject, track, class, x, y, "traffic"
	return d
}

func TestHeat(t *testing.T) {
	// 10:00 UTC of a winter's and a summer's day would be different hours in Rome: tell by the zone asked for.
	start := time.Now().UTC().Truncate(time.Hour).Add(-5 * time.Hour)
	var rows []batch.Detection
	add := func(n int, name, class string, at time.Time, x, y float32) {
		for i := range n {
			for frame := range 3 {
				rows = append(rows, seenAt("a", fmt.Sprintf("%s%d", name, i), class, at.Add(time.Duration(frame)*100*time.Millisecond), x, y))
			}
		}
	}
	add(6, "p", "person", start, 0, 0)
	add(5, "c", "car", start.Add(time.Hour), 1, 1)
	add(4, "few", "car", start, 0.5, 0.5)
	add(1, "late", "car", start.Add(time.Hour), 0.5, 0.5)
	add(9, "h", "head", start, 0.5, 0.5)
	add(9, "out", "car", start, 1.1, 0.5)
	add(9, "nowhere", "car", start, float32(math.NaN()), 0.5)
	for range 9 {
		rows = append(rows, seenAt("a", "", "car", start, 0.25, 0.25)) // one object or nine: not known
	}
	gone := seenAt("a", "x", "car", start, 0.25, 0.25)
	gone.Expires = time.Now().Add(-time.Hour).UnixMilli()
	for i := range 9 {
		gone.Track = fmt.Sprint("gone", i)
		rows = append(rows, gone)
	}
	rows = append(rows, seenAt("b", "z", "car", start, 0, 0))
	db := videoStored(t, rows, nil, nil)
	middle := storage.HeatRows/2*storage.HeatColumns + storage.HeatColumns/2
	last := storage.HeatRows*storage.HeatColumns - 1
	q := storage.HeatQuery{Camera: "a", From: start, To: start.Add(3 * time.Hour), Hour: -1, K: 5}
	for _, tc := range []struct {
		name   string
		ask    func(*storage.HeatQuery)
		want   map[int]int64
		hidden int
	}{
		{"all", func(*storage.HeatQuery) {}, map[int]int64{0: 6, middle: 5, last: 5}, 1},
		{"persons", func(q *storage.HeatQuery) { q.Class = "person" }, map[int]int64{0: 6}, 0},
		{"heads, where asked for", func(q *storage.HeatQuery) { q.Class = "head" }, map[int]int64{middle: 9}, 0},
		{"the first hour", func(q *storage.HeatQuery) { q.Hour = start.Hour() }, map[int]int64{0: 6}, 2},
		{"its hour elsewhere", func(q *storage.HeatQuery) {
			q.Zone = "Asia/Tokyo"
			q.Hour = (start.Hour() + 9 + 1) % 24
		}, map[int]int64{last: 5}, 1},
		{"nothing is too few", func(q *storage.HeatQuery) { q.K = 1 }, map[int]int64{0: 6, middle: 5, last: 5, 4*storage.HeatColumns + 8: 1}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			q := q
			tc.ask(&q)
			got, err := db.Heat(within(t), q)
			if err != nil {
				t.Fatal(err)
			}
			cells := map[int]int64{}
			for i, n := range got.Cells {
				if n != 0 {
					cells[i] = n
				}
			}
			if !reflect.DeepEqual(cells, tc.want) || got.Hidden != tc.hidden {
				t.Errorf("cells %v, %d hidden; want %v, %d", cells, got.Hidden, tc.want, tc.hidden)
			}
		})
	}
	for _, bad := range []storage.HeatQuery{{From: start, To: start.Add(1)}, {Camera: "a", From: start, To: start}, {Camera: "a", From: start, To: start.Add(1), Hour: 24},
		{Camera: "a", From: start, To: start.Add(storage.MaxHeatSpan + 1)}} {
		if _, err := db.Heat(within(t), bad); !isQueryError(err) {
			t.Errorf("%+v: %v, want a QueryError", bad, err)
		}
	}
}

func TestVideoTracks(t *testing.T) {
	start := time.Now().UTC().Truncate(time.Second).Add(-time.Hour)
	var tracks []batch.Track
	for i := range 7 {
		tracks = append(tracks, batch.Track{
			ID: fmt.Sprintf("a/%d", i), Camera: "a", Track: "vendor's", Start: start.Add(time.Duration(i/2) * time.Second), End: start.Add(time.Minute), Received: start.Add(time.Minute),
			Class: []string{"car", "person"}[i%2], Detections: int64(i), Zones: "gate yard", SpeedMps: 3, SpeedMaxMps: math.NaN(), DistanceM: 40, HeadingDeg: 90,
			StartX: 0.1, StartY: 0.2, EndX: 0.3, EndY: 0.4, Attributes: `{"colour":"red"}`, PlateHash: "c0ffee", Purpose: "traffic", Expires: time.Now().Add(time.Hour),
		})
	}
	gone, twice, other := tracks[0], tracks[1], tracks[2]
	gone.ID, gone.Expires = "a/gone", time.Now().Add(-time.Hour)
	twice.Received, twice.Detections = twice.Received.Add(time.Second), 77
	other.ID, other.Camera = "b/1", "b"
	db := videoStored(t, nil, append(tracks, gone, twice, other), nil)
	q := storage.TrackQuery{Camera: "a", From: start, To: start.Add(time.Hour)}
	all, next, err := db.VideoTracks(within(t), q, 0, "")
	if err != nil || next != "" {
		t.Fatalf("next %q, %v", next, err)
	}
	var ids []string
	for _, tr := range all {
		ids = append(ids, tr.ID)
	}
	if want := "a/6 a/5 a/4 a/3 a/2 a/1 a/0"; strings.Join(ids, " ") != want {
		t.Errorf("tracks %v, want %s", ids, want)
	}
	if all[5].Detections != 77 {
		t.Errorf("a track that came again has %d detections, want the 77 of the later one", all[5].Detections)
	}
	want := storage.VideoTrack{ID: "a/6", Class: "car", Start: start.Add(3 * time.Second), End: start.Add(time.Minute), Detections: 6, Zones: "gate yard", SpeedMps: 3, SpeedMaxMps: math.NaN(),
		DistanceM: 40, HeadingDeg: 90, StartX: 0.1, StartY: 0.2, EndX: 0.3, EndY: 0.4}
	if !alike(all[:1], []storage.VideoTrack{want}) {
		t.Errorf("got %+v, want %+v", all[0], want)
	}
	var paged []storage.VideoTrack
	for cursor := ""; ; {
		page, next, err := db.VideoTracks(within(t), q, 2, cursor)
		if err != nil || len(page) > 2 {
			t.Fatalf("%d tracks, %v", len(page), err)
		}
		paged = append(paged, page...)
		if cursor = next; next == "" {
			break
		}
	}
	if !alike(paged, all) {
		t.Errorf("by pages %+v\nat once %+v", paged, all)
	}
	q.Class, q.To = "person", start.Add(2*time.Second)
	some, _, err := db.VideoTracks(within(t), q, 0, "")
	if err != nil || len(some) != 2 || some[0].ID != "a/3" || some[1].ID != "a/1" {
		t.Errorf("%+v, %v; want a/3 and a/1", some, err)
	}
	for _, bad := range []string{"!", "eA", "dCA1IA"} {
		_, _, err := db.VideoTracks(within(t), q, 0, bad)
		if _, ok := errors.AsType[*storage.CursorError](err); bad != "dCA1IA" && !ok {
			t.Errorf("cursor %q: %v, want a CursorError", bad, err)
		}
	}
}

func TestCameraSigns(t *testing.T) {
	now := time.Now().UTC().Truncate(time.Minute)
	sign := func(camera, what string, ago time.Duration, v float64) batch.Detection {
		d := seenAt(camera, "", "", now.Add(-ago), 0, 0)
		d.What, d.Value = what, v
		return d
	}
	db := videoStored(t, []batch.Detection{
		sign("a", batch.WhatTamper, time.Hour, 1), sign("a", batch.WhatTamper, 2*time.Hour, 0), sign("a", batch.WhatSignalLoss, time.Hour, 0),
		sign("b", batch.WhatMotion, time.Minute, 1), sign("b", batch.WhatTamper, 50*time.Hour, 1),
	}, nil, []batch.Count{{Time: now.Add(-3 * time.Minute), Received: now, Camera: "b", Class: "car", Version: 1}, {Time: now.Add(-2 * time.Minute), Received: now, Camera: "b", Class: "bus", Version: 1}})
	got, err := db.CameraSigns(within(t), now.Add(-24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b storage.CameraSign) int { return strings.Compare(a.Camera+a.What, b.Camera+b.What) })
	want := []storage.CameraSign{
		{Camera: "a", What: batch.WhatSignalLoss, Time: now.Add(-time.Hour)}, {Camera: "a", What: batch.WhatTamper, Time: now.Add(-time.Hour), Value: 1},
		{Camera: "b", What: batch.WhatFrame, Time: now.Add(-2 * time.Minute), Value: math.NaN()},
	}
	if !alike(got, want) {
		t.Errorf("signs %+v\nwant %+v", got, want)
	}
}

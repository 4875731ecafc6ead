package storage_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"panormus/devices"
	"panormus/storage"
	"panormus/storage/storagetest"
	"panormus/stream/batch"
	"panormus/stream/log/logtest"
)

// Rows of the past come in order of time, page by page, with the time for that of receipt, and none from beside the time asked for.
func TestPastRows(t *testing.T) {
	const many = 16_000 // more than a page
	at := time.Now().UTC().Truncate(time.Hour).Add(-26 * time.Hour)
	moment := func(second int) time.Time { return at.Add(time.Duration(second) * time.Second) }
	db := storagetest.NewDB(t)
	l := logtest.New(t, nil)
	var uplinks []batch.Uplink
	for i := range many {
		uplinks = append(uplinks, batch.Uplink{Time: moment((i * 7919) % many), Device: fmt.Sprint("d", i%3), Gateway: "gw", RSSIdBm: -100, DataRate: "SF7BW125", FCnt: int64((i * 7919) % many)})
	}
	data, err := batch.EncodeUplinks(uplinks)
	publish(t, l, batch.KindUplinks, data, err)
	var d batch.Detections
	for _, second := range []int{30, 10, 20, 40} {
		row := batch.Absent()
		row.Time, row.Received, row.Camera, row.Class, row.Score, row.Expires = moment(second).UnixMilli(), moment(second+1).UnixMilli(), "cam", "person", 0.5, time.Now().Add(time.Hour).UnixMilli()
		row.Track, row.Lat = "not asked for", 38
		if second == 20 {
			row.Quality = devices.QualityClock
		}
		d.Append(&row)
	}
	data, err = d.Encode()
	publish(t, l, batch.KindDetections, data, err)
	data, err = batch.EncodeTracks([]batch.Track{
		{ID: "b", Camera: "cam", Class: "car", Start: moment(5), End: moment(60), Received: moment(99), Expires: time.Now().Add(time.Hour), SpeedMps: 7},
		{ID: "a", Camera: "cam", Class: "car", Start: moment(6), End: moment(20), Received: moment(99), Expires: time.Now().Add(time.Hour)},
	})
	publish(t, l, batch.KindTracks, data, err)
	data, err = batch.EncodeCounts([]batch.Count{{Time: moment(120), Received: moment(200), Camera: "cam", Class: "car", OccupancyAvg: 2.5, Version: 2}, {Time: moment(60), Received: moment(200), Camera: "cam", Class: "car", In: 3, Version: 1}})
	publish(t, l, batch.KindCounts, data, err)
	data, err = batch.EncodeEvents([]batch.Event{
		{ID: "2", Rule: "r", State: "raised", Severity: "major", Time: moment(50), Received: moment(90), Domain: "safety", Context: json.RawMessage(`{"values":{"n":3},"chain":["x"]}`)},
		{ID: "1", Rule: "r", State: "raised", Severity: "major", Time: moment(40), Received: moment(90), Domain: "energy", Context: json.RawMessage(`{}`)},
	})
	publish(t, l, batch.KindEvents, data, err)
	w, stop := running(t, db, l, storage.WriterConfig{MaxWait: 10 * time.Millisecond})
	caughtUp(t, w)
	stop()

	from, to := at, at.Add(12*time.Hour)
	var got []string
	pages, last := 0, time.Time{}
	if err := db.PastUplinks(within(t), from, to, nil, nil, func(page []batch.Uplink) error {
		pages++
		for _, u := range page {
			if u.Time.Before(last) || u.Time != moment(int(u.FCnt)) {
				t.Fatalf("%d at %s after %s", u.FCnt, u.Time, last)
			}
			last = u.Time
			got = append(got, u.Device)
		}
		return nil
	}); err != nil || len(got) != many || pages < 2 {
		t.Errorf("%d uplinks in %d pages, %v; want %d in several", len(got), pages, err, many)
	}
	got = nil
	note := func(format string, args ...any) { got = append(got, fmt.Sprintf(format, args...)) }
	seconds := func(of time.Time) int { return int(of.Sub(at) / time.Second) }
	leftOut, err := db.PastDetections(within(t), from, at.Add(40*time.Second), []string{"class", "score", "position_lat"}, nil, func(d *batch.Detections) error {
		for i := range d.Len() {
			note("detection %d %v %s %s %s %g %g", seconds(time.UnixMilli(d.Time[i])), d.Received[i] == d.Time[i], d.Camera.At(i), d.Class.At(i), d.Track.At(i), d.Score[i], d.Lat[i])
		}
		return nil
	})
	if _, err := db.PastDetections(within(t), from, to, nil, nil, func(d *batch.Detections) error {
		if d.Len() != 3 || d.Track.At(0) != "not asked for" {
			t.Errorf("%d detections of track %q, want all of 3", d.Len(), d.Track.At(0))
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if err != nil || leftOut != 1 {
		t.Errorf("%d detections left out, %v; want one", leftOut, err)
	}
	for _, err := range []error{
		db.PastTracks(within(t), from, to, nil, nil, func(page []batch.Track) error {
			for _, r := range page {
				note("track %s %d %v %g", r.ID, seconds(r.End), r.Received.Equal(r.End), r.SpeedMps)
			}
			return nil
		}),
		db.PastCounts(within(t), from, to, nil, nil, func(page []batch.Count) error {
			for _, r := range page {
				note("count %d %d %g", seconds(r.Time), r.In, r.OccupancyAvg)
			}
			return nil
		}),
		db.PastEvents(within(t), from, to, "safety", nil, nil, func(page []batch.Event) error {
			for _, r := range page {
				note("event %s %d %v %v", r.ID, seconds(r.Time), r.Received.Equal(r.Time), strings.Contains(string(r.Context), `"chain":["x"]`))
			}
			return nil
		}),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	want := []string{"detection 10 true cam person  0.5 38", "detection 30 true cam person  0.5 38", "track a 20 true 0", "track b 60 true 7", "count 60 3 0", "count 120 0 2.5", "event 2 50 true true"}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	// Row by row it is the same; and of columns that are not wanted nothing is read.
	all := func(columns []string) (out []string) {
		t.Helper()
		add := func(rows any, err error) {
			t.Helper()
			b, bad := json.Marshal(rows)
			if err = cmp.Or(err, bad); err != nil {
				t.Fatal(err)
			}
			out = append(out, string(b))
		}
		var tracks []batch.Track
		err := db.PastTracks(within(t), from, to, columns, nil, func(page []batch.Track) error { tracks = append(tracks, page...); return nil })
		add(tracks, err)
		var counts []batch.Count
		err = db.PastCounts(within(t), from, to, columns, nil, func(page []batch.Count) error { counts = append(counts, page...); return nil })
		add(counts, err)
		var uplinks []batch.Uplink
		err = db.PastUplinks(within(t), from, to, columns, nil, func(page []batch.Uplink) error { uplinks = append(uplinks, page...); return nil })
		add(uplinks[:100], err)
		var events []batch.Event
		err = db.PastEvents(within(t), from, to, "", columns, nil, func(page []batch.Event) error { events = append(events, page...); return nil })
		add(events, err)
		return out
	}
	for _, columns := range [][]string{nil, {"speed_mps", "gateway", "severity"}, {"context.n"}} {
		blocks := all(columns)
		db.RowByRow(true)
		rows := all(columns)
		db.RowByRow(false)
		for i := range blocks {
			if blocks[i] != rows[i] {
				t.Errorf("with columns %q as blocks\n%s\nrow by row\n%s", columns, blocks[i], rows[i])
			}
		}
		if contexts := strings.Contains(blocks[3], `"context":{"chain":["x"],"values":{"n":3}}`); contexts == slices.Contains(columns, "severity") ||
			!contexts && !(strings.Contains(blocks[3], `"context":{"chain":["x"]}`) && strings.Contains(blocks[3], `"context":{}`)) {
			t.Errorf("columns %q: %s", columns, blocks[3])
		}
		if slices.Contains(columns, "context.n") {
			continue
		}
		whole := strings.Contains(blocks[0], `"Class":"car"`) && strings.Contains(blocks[2], `"DataRate":"SF7BW125"`)
		if some := strings.Contains(blocks[0], `"SpeedMps":7`) && strings.Contains(blocks[2], `"Gateway":"gw"`); !some || whole != (columns == nil) {
			t.Errorf("columns %q: %s %.300s", columns, blocks[0], blocks[2])
		}
	}
	enough := errors.New("enough")
	if err := db.PastUplinks(within(t), from, to, nil, nil, func([]batch.Uplink) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("%v, want what each said", err)
	}
}

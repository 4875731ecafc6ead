package storage_test

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"panormus/storage"
	"panormus/storage/storagetest"
	"panormus/stream/batch"
	streamlog "panormus/stream/log"
	"panormus/stream/log/logtest"
)

// detection has a value of its own in every field, so that a column in the wrong place shows.
func detection(at time.Time, n int) batch.Detection {
	var d batch.Detection
	v := reflect.ValueOf(&d).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			f.SetString(fmt.Sprintf("%s-%d", v.Type().Field(i).Name, n))
		case reflect.Float32, reflect.Float64:
			f.SetFloat(float64(i) + float64(n)/4)
		}
	}
	d.Time, d.Received, d.Quality = at.UnixMilli(), at.Add(42*time.Millisecond).UnixMilli(), uint8(n)
	d.Expires = at.Add(time.Hour).UnixMilli()
	return d
}

func detections(rows ...batch.Detection) ([]byte, error) {
	var d batch.Detections
	for i := range rows {
		d.Append(&rows[i])
	}
	return d.Encode()
}

// number asks for one.
func number(t *testing.T, db *storage.DB, query string) int {
	t.Helper()
	var n int64
	if err := db.Conn().QueryRow(within(t), "SELECT toInt64("+query+")").Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return int(n)
}

func TestWriterStoresVideo(t *testing.T) {
	db := storagetest.NewDB(t)
	l := logtest.New(t, nil)
	at := time.Now().UTC().Truncate(time.Second).Add(123 * time.Millisecond)
	first, second := detection(at, 1), detection(at, 2)
	second.PlateSealed, second.Lat, second.Score = "", math.NaN(), float32(math.NaN())
	second.BoxLeft, second.BoxRight, second.CenterX = 0.25, 0.5, 0.375 // in the middle
	data, err := detections(first, second)
	publish(t, l, batch.KindDetections, data, err)
	data, err = detections(batch.Absent())
	publish(t, l, batch.KindDetections, data, err) // expired before it came
	publish(t, l, batch.KindDetections, data[:len(data)/2], nil)

	track := batch.Track{ID: "cam-1/2026-11-28/15", Camera: "cam-1", Track: "15", Start: at, End: at.Add(5 * time.Second), Received: at.Add(6 * time.Second),
		Class: "car", VendorClass: "Car", Score: 0.9, Detections: 50, Zones: "a b", SpeedMps: 7, SpeedMaxMps: 9, DistanceM: 35, HeadingDeg: 90, StartX: 0.1, StartY: 0.2,
		EndX: 0.3, EndY: 0.4, StartLat: 38.1, StartLon: 13.3, EndLat: 38.2, EndLon: 13.4, Parent: "p", Purpose: "traffic", Attributes: `{"colour":"red"}`,
		PlateHash: "h", Expires: at.Add(time.Hour).Truncate(time.Second), Quality: 3}
	again := track
	again.Received, again.Detections = track.Received.Add(time.Second), 51
	for _, one := range []batch.Track{track, again, track} {
		data, err = batch.EncodeTracks([]batch.Track{one})
		publish(t, l, batch.KindTracks, data, err)
	}
	count := batch.Count{Time: at.Truncate(time.Minute), Received: at, Camera: "cam-1", Zone: "z", Class: "car", In: 1, Out: 2, Seen: 30, OccupancyAvg: 4.5,
		OccupancyMax: 6, DwellS: 7.5, Visits: 8, SpeedSumMps: 9.5, SpeedN: 10, QueueMax: 11, Purpose: "traffic", Version: 7}
	newer := count
	newer.Seen, newer.Version = 31, 8
	data, err = batch.EncodeCounts([]batch.Count{newer, count})
	publish(t, l, batch.KindCounts, data, err)

	w, stop := running(t, db, l, storage.WriterConfig{MaxWait: 10 * time.Millisecond})
	caughtUp(t, w)
	if n := w.StoredOf(batch.KindDetections); n != 3 || w.StoredOf(batch.KindTracks) != 3 || w.StoredOf(batch.KindCounts) != 2 || w.Err() != nil {
		t.Errorf("stored %d detections, %d tracks, %d counts, error %v; want 3, 3, 2 and none", n, w.StoredOf(batch.KindTracks), w.StoredOf(batch.KindCounts), w.Err())
	}
	stop()

	rows, err := db.Conn().Query(within(t), "SELECT * EXCEPT expires, toUnixTimestamp(expires) FROM detections ORDER BY quality")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for _, want := range []batch.Detection{first, second} {
		if !rows.Next() {
			t.Fatalf("one row is missing: %v", rows.Err())
		}
		var got batch.Detection
		var time, received timeValue
		var expires uint32
		if err := rows.Scan(&time.Time, &received.Time, &got.Camera, &got.What, &got.Track, &got.Other, &got.Class, &got.VendorClass, &got.Score, &got.Zone,
			&got.Rule, &got.Direction, &got.SpeedMps, &got.HeadingDeg, &got.BoxLeft, &got.BoxTop, &got.BoxRight, &got.BoxBottom, &got.CenterX, &got.CenterY,
			&got.Lat, &got.Lon, &got.Value, &got.PlateHash, &got.Attributes, &got.Purpose, &got.Quality, &expires); err != nil {
			t.Fatal(err)
		}
		got.Time, got.Received, got.Expires = time.UnixMilli(), received.UnixMilli(), int64(expires)*1000
		want.PlateSealed, want.Expires = "", want.Expires/1000*1000
		if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
			t.Errorf("detection\n%s, want\n%s", g, w)
		}
	}
	if rows.Next() {
		t.Error("a third row: what has expired is shown")
	}
	var sealed, hash, camera string
	if err := db.Conn().QueryRow(within(t), "SELECT sealed, plate_hash, camera FROM plates").Scan(&sealed, &hash, &camera); err != nil || sealed != first.PlateSealed || hash != first.PlateHash || camera != first.Camera {
		t.Errorf("plate %q %q %q, %v; want that of %+v", sealed, hash, camera, err, first)
	}
	read := time.UnixMilli(first.Time).UTC()
	for _, tc := range []struct {
		hash, camera string
		at           time.Time
		found        bool
	}{
		{hash: first.PlateHash, found: true}, {camera: first.Camera, at: read, found: true}, {hash: first.PlateHash, camera: first.Camera, at: read, found: true},
		{camera: first.Camera, at: read.Add(time.Millisecond)}, {hash: "another"}, {camera: "another", at: read},
	} {
		p, ok, err := db.SealedPlate(within(t), tc.hash, tc.camera, tc.at)
		if err != nil || ok != tc.found || ok && (string(p.Sealed) != first.PlateSealed || !p.Time.Equal(read) || p.Camera != first.Camera || p.Purpose != first.Purpose || p.Hash != first.PlateHash) {
			t.Errorf("%+v: %+v, %v, %v", tc, p, ok, err)
		}
	}
	if _, _, err := db.SealedPlate(within(t), "", "", time.Time{}); err == nil {
		t.Error("any plate was found for no question")
	}

	var got batch.Track
	if err := db.Conn().QueryRow(within(t), "SELECT * FROM tracks").Scan(&got.ID, &got.Camera, &got.Track, &got.Start, &got.End, &got.Received, &got.Class, &got.VendorClass,
		&got.Score, &got.Detections, &got.Zones, &got.SpeedMps, &got.SpeedMaxMps, &got.DistanceM, &got.HeadingDeg, &got.StartX, &got.StartY, &got.EndX, &got.EndY,
		&got.StartLat, &got.StartLon, &got.EndLat, &got.EndLon, &got.Parent, &got.Purpose, &got.Attributes, &got.PlateHash, &got.Expires, &got.Quality); err != nil {
		t.Fatal(err)
	}
	if got != again {
		t.Errorf("track\n%+v, want\n%+v", got, again)
	}
	if n := number(t, db, "(SELECT count() FROM tracks)"); n != 1 {
		t.Errorf("%d tracks, want the one", n)
	}

	var c batch.Count
	if err := db.Conn().QueryRow(within(t), "SELECT * FROM vds_counts_1m").Scan(&c.Time, &c.Received, &c.Camera, &c.Zone, &c.Class, &c.In, &c.Out, &c.Seen, &c.OccupancyAvg,
		&c.OccupancyMax, &c.DwellS, &c.Visits, &c.SpeedSumMps, &c.SpeedN, &c.QueueMax, &c.Purpose, &c.Version); err != nil {
		t.Fatal(err)
	}
	if c != newer || number(t, db, "(SELECT count() FROM vds_counts_1m)") != 1 {
		t.Errorf("count\n%+v, want\n%+v once", c, newer)
	}
	// A batch that cannot be read may hold anybody's plate: it is told, not kept.
	var payload, topic string
	if err := db.Conn().QueryRow(within(t), "SELECT payload, topic FROM rejected WHERE reason = 'unreadable batch'").Scan(&payload, &topic); err != nil {
		t.Fatal(err)
	}
	if payload != "" {
		t.Errorf("kept of %s: %q, want nothing", topic, payload)
	}
}

type timeValue struct{ time.Time }

// What is repeated after a crash is dropped from both tables that detections feed, whichever of the
// two inserts had been made.
func TestWriterPlatesExactlyOnce(t *testing.T) {
	db := storagetest.NewDB(t)
	l := logtest.New(t, nil)
	at := time.Now().UTC()
	for i := range 10 {
		rows := make([]batch.Detection, 100)
		for k := range rows {
			rows[k] = detection(at, i*100+k)
			rows[k].Expires = at.Add(time.Duration(1+k%5) * time.Hour).UnixMilli() // several partitions
			if k%4 > 0 {
				rows[k].PlateSealed = ""
			}
		}
		data, err := detections(rows...)
		publish(t, l, batch.KindDetections, data, err)
	}
	run := func() {
		t.Helper()
		w, stop := running(t, db, l, storage.WriterConfig{MaxRows: 500, MaxWait: time.Hour}) // groups of five batches
		caughtUp(t, w)
		stop()
		if d, p := number(t, db, "(SELECT count() FROM detections)"), number(t, db, "(SELECT count() FROM plates)"); d != 1000 || p != 250 {
			t.Fatalf("%d detections and %d plates, want 1000 and 250", d, p)
		}
	}
	run()
	for _, truncated := range []string{"", "plates_log", "detections_log"} {
		if truncated != "" { // forgets what it had, as if the insert had not been made
			if err := db.Conn().Exec(within(t), "TRUNCATE TABLE "+truncated); err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range []streamlog.Position{{Seq: 5, Until: 10}, {Seq: 0, Until: 5}} {
			if truncated != "" {
				p = streamlog.Position{}
			}
			if err := l.SetPosition(within(t), storage.Consumer, batch.KindDetections, p); err != nil {
				t.Fatal(err)
			}
			run()
		}
	}
}

func gauge(t *testing.T, reg *prometheus.Registry, name, table string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.Metric {
			if m.Label[0].GetValue() == table {
				return m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s of %s", name, table)
	return 0
}

// Each purpose and class has its own time; the clock is moved, the engine is the real one.
func TestRetention(t *testing.T) {
	reg := prometheus.NewRegistry()
	db, err := storage.Open(within(t), storage.Config{Embedded: storagetest.NewServer(t), Metrics: reg, Least: func() map[string]int { return map[string]int{"square": 10} }})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	l := logtest.New(t, nil)
	now := time.Now().UTC().Truncate(time.Second) // rows come some milliseconds later: in the same second
	kept := []struct {
		purpose, class string
		keep           time.Duration
	}{
		{"traffic", "car", 72 * time.Hour}, {"traffic", "person", 2 * time.Hour}, {"urban_security", "car", 168 * time.Hour},
		{"urban_security", "person", 24 * time.Hour}, {"event", "person", 30 * time.Minute}, {"forever", "car", 10000 * time.Hour},
	}
	var rows []batch.Detection
	var tracks []batch.Track
	for _, k := range kept {
		for i := range 20 {
			d := detection(now, i)
			d.Purpose, d.Class, d.Expires = k.purpose, k.class, now.Add(k.keep).UnixMilli()
			rows = append(rows, d)
			tracks = append(tracks, batch.Track{ID: fmt.Sprint(k, i), Purpose: k.purpose, Class: k.class, Start: now, End: now, Received: now, Expires: now.Add(k.keep)})
		}
	}
	data, err := detections(rows...)
	publish(t, l, batch.KindDetections, data, err)
	data, err = batch.EncodeTracks(tracks)
	publish(t, l, batch.KindTracks, data, err)
	var counts []batch.Count
	for _, age := range []time.Duration{0, 6 * 24 * time.Hour, 9 * 24 * time.Hour, 300 * 24 * time.Hour} {
		counts = append(counts, batch.Count{Time: now.Add(-age).Truncate(time.Minute), Camera: "c", Class: "car", Seen: 5, Version: 1, Received: now},
			batch.Count{Time: now.Add(-age).Truncate(time.Minute), Camera: "c", Class: "person", Seen: 9, Version: 1, Received: now},
			batch.Count{Time: now.Add(-age).Truncate(time.Minute), Camera: "c", Class: "person", Seen: 4, Version: 2, Received: now},
			batch.Count{Time: now.Add(-age).Truncate(time.Minute), Camera: "c", Class: "bus", Purpose: "square", Seen: 9, Version: 1, Received: now})
	}
	data, err = batch.EncodeCounts(counts)
	publish(t, l, batch.KindCounts, data, err)
	w, stop := running(t, db, l, storage.WriterConfig{MaxWait: 10 * time.Millisecond})
	caughtUp(t, w)
	stop()

	for _, moved := range []time.Duration{0, 29 * time.Minute, 90 * time.Minute, 3*time.Hour + time.Minute, 25*time.Hour + time.Minute, 49 * time.Hour,
		73*time.Hour + time.Minute, 97 * time.Hour, 169*time.Hour + time.Minute, 193 * time.Hour} {
		if err := db.EnforceRetention(within(t), now.Add(moved)); err != nil {
			t.Fatal(err)
		}
		for _, table := range []struct {
			name      string
			partition time.Duration
		}{{"detections_log", time.Hour}, {"plates_log", time.Hour}, {"tracks_log", 24 * time.Hour}} {
			for _, k := range kept {
				keep := k.keep
				if table.name != "tracks_log" {
					keep = min(keep, 168*time.Hour) // whatever the purpose says
				}
				where := "purpose = '" + k.purpose + "'"
				if table.name != "plates_log" {
					where += " AND class = '" + k.class + "'"
				} else if k.class == "person" { // plates are of cars here; each purpose's longest time counts
					continue
				} else {
					where += fmt.Sprintf(" AND expires = toDateTime(%d)", now.Add(keep).Unix())
				}
				n := number(t, db, "(SELECT count() FROM "+table.name+" WHERE "+where+")")
				switch {
				case moved < keep && n != 20:
					t.Errorf("after %v: %d rows of %s, %s %s, want 20: they are kept %v", moved, n, table.name, k.purpose, k.class, keep)
				case moved >= keep+table.partition && n != 0:
					t.Errorf("after %v: %d rows of %s, %s %s, want none: they are kept %v", moved, n, table.name, k.purpose, k.class, keep)
				}
			}
			if n := gauge(t, reg, "panormus_storage_expired_rows", strings.TrimSuffix(table.name, "_log")); n != 0 {
				t.Errorf("after %v: %v expired rows of %s found", moved, n, table.name)
			}
		}
	}
	if err := db.EnforceRetention(within(t), now); err != nil {
		t.Fatal(err)
	}
	// Of few, only the counts of the last days are left; of an older version nothing comes to light.
	if n := number(t, db, "(SELECT count() FROM vds_counts_1m WHERE class = 'person')"); n != 0 {
		t.Errorf("%d counts of four people after the clock was moved on, want none", n)
	}
	if n := number(t, db, "(SELECT count() FROM vds_counts_1m WHERE class = 'bus')"); n != 0 {
		t.Errorf("%d counts of nine of a purpose that tells of ten, want none", n)
	}
	if n := number(t, db, "(SELECT count() FROM vds_counts_1m WHERE class = 'car')"); n != 4 {
		t.Errorf("%d counts of five cars, want all 4", n)
	}
}

// No plate leaves by an export, no count of few, and no row past its time.
func TestExportVideo(t *testing.T) {
	db, err := storage.Open(t.Context(), storage.Config{Embedded: storagetest.NewServer(t), Least: func() map[string]int { return map[string]int{"square": 10, `it's \`: 3} }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	l := logtest.New(t, nil)
	at := time.Now().UTC().Truncate(time.Second)
	fresh, old := detection(at, 1), detection(at, 2)
	old.Expires = at.Add(-time.Second).UnixMilli()
	fresh.Attributes = "SECRET-attribute"
	data, err := detections(fresh, old)
	publish(t, l, batch.KindDetections, data, err)
	tracks := []batch.Track{{ID: "t1", End: at, Received: at, Expires: at.Add(time.Hour), PlateHash: fresh.PlateHash, Attributes: fresh.Attributes, Purpose: "p"},
		{ID: "t2", End: at, Received: at, Expires: at.Add(-time.Second)}}
	data, err = batch.EncodeTracks(tracks)
	publish(t, l, batch.KindTracks, data, err)
	data, err = batch.EncodeCounts([]batch.Count{{Time: at, Camera: "few", Seen: 4, Purpose: "street"}, {Time: at, Camera: "few-too", Seen: 9, Purpose: "square"}, {Time: at, Camera: "many", Seen: 5, Purpose: "street"}})
	publish(t, l, batch.KindCounts, data, err)
	w, stop := running(t, db, l, storage.WriterConfig{MaxWait: 10 * time.Millisecond})
	caughtUp(t, w)
	stop()
	for _, tc := range []struct {
		table, has string
	}{{"detections", "Track-1"}, {"tracks", "t1"}, {"vds_counts_1m", "many"}} {
		for format := range storage.ExportFormats {
			var b bytes.Buffer
			if err := db.Export(context.Background(), &b, storage.Export{Table: tc.table, Format: format, From: at.Add(-time.Hour)}); err != nil {
				t.Fatalf("%s: %v", tc.table, err)
			}
			if format == "jsonl" && bytes.Count(b.Bytes(), []byte("\n")) != 1 {
				t.Errorf("%s: %s, want one row", tc.table, &b)
			}
			if format != "parquet" && !bytes.Contains(b.Bytes(), []byte(tc.has)) {
				t.Errorf("%s as %s has no %s", tc.table, format, tc.has)
			}
			for _, secret := range []string{fresh.PlateHash, fresh.PlateSealed, fresh.Attributes, "plate_hash", "few", "sealed"} {
				if bytes.Contains(b.Bytes(), []byte(secret)) {
					t.Errorf("%s as %s has %q", tc.table, format, secret)
				}
			}
		}
	}
	if err := db.Export(within(t), &bytes.Buffer{}, storage.Export{Table: "plates", Format: "csv"}); !isQueryError(err) {
		t.Errorf("export of plates: %v, want it refused", err)
	}
}

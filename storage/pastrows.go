package storage

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"panormus/stream/batch"
)

// The past of what is rows: read in order of time by one query, a page in memory, and sorted on the server's
// disk where it is too much for its memory. As with Past, Received is the event time, and a nil Within is the
// whole city.

// pastPage is how many rows are handed on together.
const pastPage = 8192

// pastSpill is how much of the server's memory sorting takes before it goes to disk.
const pastSpill = 200 << 20

func pastRows[R any](ctx context.Context, db *DB, what, sql string, args []any, scan func(driver.Rows, *R) error, each func([]R) error) error {
	ctx, cancel := context.WithTimeout(ctx, pastTimeout)
	defer cancel()
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(withinSettings(clickhouse.Settings{
		"max_execution_time": int(pastTimeout / time.Second), "max_memory_usage": pastMemory, "max_bytes_before_external_sort": pastSpill,
		"optimize_read_in_order": 1,
	})))
	rows, err := db.conn.Query(ctx, sql, args...)
	if err != nil {
		return fmt.Errorf("read %s of the past: %w", what, err)
	}
	defer rows.Close()
	page := make([]R, 0, pastPage)
	for rows.Next() {
		var r R
		if err := scan(rows, &r); err != nil {
			return fmt.Errorf("read %s of the past: %w", what, err)
		}
		if page = append(page, r); len(page) == pastPage {
			if err := each(page); err != nil {
				return err
			}
			page = page[:0]
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read %s of the past: %w", what, err)
	}
	if len(page) == 0 {
		return nil
	}
	return each(page)
}

// PastTracks calls each for the tracks that ended in From <= end < To, in that order.
func (db *DB) PastTracks(ctx context.Context, from, to time.Time, in *Within, each func([]batch.Track) error) error {
	var w where
	w.times("end", from, to)
	w.parts("camera", in)
	return pastRows(ctx, db, "tracks", `SELECT id, camera, track, start, end, class, vendor_class, score, detections, zones, speed_mps, speed_max_mps, distance_m, heading_deg,
			start_x, start_y, end_x, end_y, start_lat, start_lon, end_lat, end_lon, purpose, quality
		FROM tracks`+w.sql()+" ORDER BY end, id", w.args,
		func(rows driver.Rows, r *batch.Track) error {
			err := rows.Scan(&r.ID, &r.Camera, &r.Track, &r.Start, &r.End, &r.Class, &r.VendorClass, &r.Score, &r.Detections, &r.Zones, &r.SpeedMps, &r.SpeedMaxMps, &r.DistanceM, &r.HeadingDeg,
				&r.StartX, &r.StartY, &r.EndX, &r.EndY, &r.StartLat, &r.StartLon, &r.EndLat, &r.EndLon, &r.Purpose, &r.Quality)
			r.Received = r.End
			return err
		}, each)
}

// PastCounts calls each for the minutes of From <= time < To, in order of time.
func (db *DB) PastCounts(ctx context.Context, from, to time.Time, in *Within, each func([]batch.Count) error) error {
	var w where
	w.times("time", from, to)
	w.parts("camera", in)
	return pastRows(ctx, db, "counts", `SELECT time, camera, zone, class, count_in, count_out, seen, occupancy_avg, occupancy_max, dwell_s, visits, speed_sum_mps, speed_n, queue_max, purpose
		FROM vds_counts_1m`+w.sql()+" ORDER BY time, camera, zone, class", w.args,
		func(rows driver.Rows, r *batch.Count) error {
			err := rows.Scan(&r.Time, &r.Camera, &r.Zone, &r.Class, &r.In, &r.Out, &r.Seen, &r.OccupancyAvg, &r.OccupancyMax, &r.DwellS, &r.Visits, &r.SpeedSumMps, &r.SpeedN, &r.QueueMax, &r.Purpose)
			r.Received = r.Time
			return err
		}, each)
}

// PastUplinks calls each for the uplinks of From <= time < To, in order of time.
func (db *DB) PastUplinks(ctx context.Context, from, to time.Time, in *Within, each func([]batch.Uplink) error) error {
	var w where
	w.times("time", from, to)
	w.parts("device", in)
	return pastRows(ctx, db, "uplinks", `SELECT time, device, dev_eui, gateway, rssi_dbm, snr_db, frequency_hz, data_rate, f_cnt, f_port, airtime_ms
		FROM uplinks`+w.sql()+" ORDER BY toStartOfHour(time), time, device, gateway", w.args,
		func(rows driver.Rows, r *batch.Uplink) error {
			return rows.Scan(&r.Time, &r.Device, &r.DevEUI, &r.Gateway, &r.RSSIdBm, &r.SNRdB, &r.FrequencyHz, &r.DataRate, &r.FCnt, &r.FPort, &r.AirtimeMs)
		}, each)
}

// PastEvents calls each for the events of From <= time < To, in order of time, of a domain, "" for all.
func (db *DB) PastEvents(ctx context.Context, from, to time.Time, domain string, in *Within, each func([]batch.Event) error) error {
	var w where
	w.times("time", from, to)
	w.equal("domain", domain)
	w.events(in)
	return pastRows(ctx, db, "events", "SELECT "+eventColumns+" FROM events"+w.sql()+" ORDER BY time, id", w.args,
		func(rows driver.Rows, e *batch.Event) error {
			err := scanEvent(rows, e)
			e.Received = e.Time
			return err
		}, each)
}

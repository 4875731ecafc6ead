package storage

import (
	"context"
	"time"

	"panormus/stream/batch"
)

type trackRows []batch.Track

func (r trackRows) len() int                { return len(r) }
func (r trackRows) slice(lo, hi int) rowSet { return r[lo:hi] }

// row leaves out what names anybody: it is for the dead letter.
func (r trackRows) row(i int) any {
	t := &r[i]
	return map[string]any{"start": t.Start, "end": t.End, "camera": t.Camera, "class": t.Class}
}

func (r trackRows) insert(ctx context.Context, db *DB) error {
	bound := db.bound("tracks")
	return db.insertRows(ctx, "tracks_log (id, camera, track, start, end, received, class, vendor_class, score, detections, zones, speed_mps, "+
		"speed_max_mps, distance_m, heading_deg, start_x, start_y, end_x, end_y, start_lat, start_lon, end_lat, end_lon, parent, purpose, "+
		"attributes, plate_hash, expires, quality)",
		len(r), func(i int) []any {
			t := &r[i]
			expires := time.Unix(int64(expiry(t.Expires.UnixMilli(), t.Received.UnixMilli(), bound)), 0)
			return []any{t.ID, t.Camera, t.Track, t.Start, t.End, t.Received, t.Class, t.VendorClass, t.Score, t.Detections, t.Zones, t.SpeedMps,
				t.SpeedMaxMps, t.DistanceM, t.HeadingDeg, t.StartX, t.StartY, t.EndX, t.EndY, t.StartLat, t.StartLon, t.EndLat, t.EndLon, t.Parent, t.Purpose,
				t.Attributes, t.PlateHash, expires, t.Quality}
		})
}

type countRows []batch.Count

func (r countRows) len() int                { return len(r) }
func (r countRows) slice(lo, hi int) rowSet { return r[lo:hi] }
func (r countRows) row(i int) any           { return r[i] }

func (r countRows) insert(ctx context.Context, db *DB) error {
	return db.insertRows(ctx, "vds_counts_1m_log (time, received, camera, zone, class, count_in, count_out, seen, occupancy_avg, occupancy_max, "+
		"dwell_s, visits, speed_sum_mps, speed_n, queue_max, purpose, version)",
		len(r), func(i int) []any {
			c := &r[i]
			return []any{c.Time, c.Received, c.Camera, c.Zone, c.Class, c.In, c.Out, c.Seen, c.OccupancyAvg, c.OccupancyMax,
				c.DwellS, c.Visits, c.SpeedSumMps, c.SpeedN, c.QueueMax, c.Purpose, c.Version}
		})
}

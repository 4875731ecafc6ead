package storage

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// hoursOfRows is how hours of a kind of rows are summed up: of whom they are, when they count, and what their columns,
// by their names in rules, are in the table.
type hoursOfRows struct {
	table, of, time string
	after           time.Duration // their time, in rules
	before          string        // what bounds their time further, for the table's index: begun no earlier than a day before
	columns         map[string]string
}

var rowHours = map[string]hoursOfRows{
	"counts": {table: "vds_counts_1m", of: "camera", time: "time", after: time.Minute, columns: map[string]string{
		"count_in": "count_in", "count_out": "count_out", "seen": "seen", "occupancy_avg": "occupancy_avg", "occupancy_max": "occupancy_max",
		"dwell_s": "dwell_s / visits", "visits": "visits", "speed_mps": "speed_sum_mps / speed_n", "queue_max": "queue_max",
	}},
	"tracks": {table: "tracks", of: "camera", time: "end", before: "start", columns: map[string]string{
		"score": "score", "duration_s": "(toUnixTimestamp64Milli(end) - toUnixTimestamp64Milli(start)) / 1000", "speed_mps": "speed_mps",
		"speed_max_mps": "speed_max_mps", "distance_m": "distance_m", "heading_deg": "heading_deg", "start_x": "start_x", "start_y": "start_y",
		"end_x": "end_x", "end_y": "end_y", "position_lat": "end_lat", "position_lon": "end_lon",
	}},
	"uplinks": {table: "uplinks", of: "device", time: "time", columns: map[string]string{
		"rssi_dbm": "rssi_dbm", "snr_db": "snr_db", "frequency_hz": "frequency_hz", "f_cnt": "f_cnt", "f_port": "f_port", "airtime_ms": "airtime_ms",
	}},
}

// tellsRows are the columns that tell apart the rows of one device.
var tellsRows = []string{"zone", "class", "gateway"}

// hoursOfRows is hours of a kind of rows, a day after the other: so no more than a day's are in the server's memory.
func (db *DB) hoursOfRows(ctx context.Context, q HoursQuery, each func(Hour) error) error {
	k, ok := rowHours[q.On]
	if !ok {
		return fmt.Errorf("hours of rows on %q, want one of %s", q.On, strings.Join(slices.Sorted(maps.Keys(rowHours)), ", "))
	}
	of := make([]string, len(q.Of))
	for i, column := range q.Of {
		if !slices.Contains(tellsRows, column) {
			return fmt.Errorf("hours by %q, want one of %s", column, strings.Join(tellsRows, ", "))
		}
		of[i] = "toString(" + column + ")"
	}
	for _, metric := range q.Metrics {
		value, ok := k.columns[metric]
		if !ok {
			return fmt.Errorf("hours of %s of %s, want one of %s", metric, q.On, strings.Join(slices.Sorted(maps.Keys(k.columns)), ", "))
		}
		for from := q.From; from.Before(q.To); from = from.Add(24 * time.Hour) {
			to := from.Add(24 * time.Hour)
			if to.After(q.To) {
				to = q.To
			}
			var w where
			if w.times(k.time, from.Add(-k.after), to.Add(-k.after)); k.before != "" {
				w.times(k.before, from.Add(-24*time.Hour), time.Time{})
			}
			query := fmt.Sprintf(`SELECT of, tells, hour, count(), avg(v), min(v), max(v) FROM (
				SELECT toString(%s) AS of, [%s]::Array(String) AS tells, toInt64(intDiv(toUnixTimestamp(%s) + %d, 3600)) AS hour, toFloat64(%s) AS v FROM %s%s
			) WHERE isFinite(v) GROUP BY of, tells, hour ORDER BY hour, of, tells`,
				k.of, strings.Join(of, ", "), k.time, k.after/time.Second, value, k.table, w.sql())
			if err := db.eachHour(ctx, query, w.args, Hour{Metric: metric}, each); err != nil {
				return err
			}
		}
	}
	return nil
}

// eachHour calls each for the hours of an answer, which are like one but for what it says.
func (db *DB) eachHour(ctx context.Context, query string, args []any, like Hour, each func(Hour) error) error {
	rows, err := db.conn.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		h, hour := like, int64(0)
		if err := rows.Scan(&h.Device, &h.Of, &hour, &h.Count, &h.Avg, &h.Min, &h.Max); err != nil {
			return err
		}
		h.Time = time.Unix(hour*3600, 0).UTC()
		if err := each(h); err != nil {
			return err
		}
	}
	return rows.Err()
}

// hoursContext bounds a query for hours.
func hoursContext(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, hoursTimeout)
	return clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"max_execution_time": int(hoursTimeout / time.Second), "max_memory_usage": pastMemory, "optimize_aggregation_in_order": 1,
		"max_bytes_before_external_group_by": pastSpill, "max_bytes_before_external_sort": pastSpill,
	})), cancel
}

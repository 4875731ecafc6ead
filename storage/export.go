package storage

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// exportable are the tables of the contract, with the column that From and To bound, the columns to
// read where not all, and whether a row of fewer objects than the K of its purpose stays. What names a person or a vehicle, attributes and plates in
// any form, leaves by no export.
var exportable = map[string]struct {
	time, columns string
	counts        bool
}{
	"observations":    {time: "time", columns: "time, received, domain, device, metric, value, text, quality"},
	"observations_1m": {time: "time", columns: "toDateTime64(time, 3, 'UTC') AS time, domain, device, metric, count, min, max, avg, last"},
	"observations_1h": {time: "time", columns: "toDateTime64(time, 3, 'UTC') AS time, domain, device, metric, count, min, max, avg, last"},
	"detections": {time: "time", columns: "time, received, camera, what, track, other, class, vendor_class, score, zone, rule, direction, " +
		"speed_mps, heading_deg, box_left, box_top, box_right, box_bottom, center_x, center_y, lat, lon, value, purpose, expires, quality"},
	"tracks": {time: "end", columns: "id, camera, track, start, end, received, class, vendor_class, score, detections, zones, speed_mps, speed_max_mps, " +
		"distance_m, heading_deg, start_x, start_y, end_x, end_y, start_lat, start_lon, end_lat, end_lon, parent, purpose, expires, quality"},
	"vds_counts_1m": {time: "time", counts: true, columns: "toDateTime64(time, 3, 'UTC') AS time, received, camera, zone, class, " +
		"count_in, count_out, seen, occupancy_avg, occupancy_max, dwell_s, visits, speed_sum_mps, speed_n, queue_max, purpose, version"},
	"uplinks":   {time: "time", columns: "*"},
	"events":    {time: "time", columns: "time, received, id, rule, rule_version, severity, state, domain, device, zone, key, text, toJSONString(context) AS context"},
	"alarm_log": {time: "time", columns: "*"},
	"rejected":  {time: "received", columns: "*"},
}

// ExportFormats are the formats of Export with their content types.
var ExportFormats = map[string]string{
	"csv":     "text/csv; charset=utf-8; header=present",
	"jsonl":   "application/x-ndjson",
	"arrow":   "application/vnd.apache.arrow.stream",
	"parquet": "application/vnd.apache.parquet",
}

// exportTimeout bounds one export; exportRows is how many rows are held at a time.
const (
	exportTimeout = time.Hour
	exportRows    = 8192
)

// An Export says which rows of which table, From <= time < To; a zero time is no bound. Format is
// one of ExportFormats.
type Export struct {
	Table, Format string
	From, To      time.Time
	Within        *Within // nil: of the whole city
}

// Check reports what is wrong with e, as a *QueryError.
func (e Export) Check() error {
	if _, ok := exportable[e.Table]; !ok {
		return &QueryError{fmt.Sprintf("export: table %q, want one of %s", e.Table, strings.Join(slices.Sorted(maps.Keys(exportable)), ", "))}
	}
	if _, ok := ExportFormats[e.Format]; !ok {
		return &QueryError{fmt.Sprintf("export: format %q, want one of %s", e.Format, strings.Join(slices.Sorted(maps.Keys(ExportFormats)), ", "))}
	}
	if !e.From.IsZero() && !e.To.IsZero() && !e.From.Before(e.To) {
		return &QueryError{fmt.Sprintf("export: from %s is not before to %s", e.From.Format(time.RFC3339), e.To.Format(time.RFC3339))}
	}
	return nil
}

// bound adds the part of the city.
func (e Export) bound(cond *where, speakers []Speaker) {
	switch {
	case e.Within == nil:
	case e.Table == "events":
		cond.events(e.Within)
	case e.Table == "alarm_log":
		cond.alarms("x.alarm", e.Within)
	case e.Table == "rejected":
		cond.rejected("x.topic", e.Within, speakers)
	case e.Table == "detections" || e.Table == "tracks" || e.Table == "vds_counts_1m":
		cond.among("x.camera", e.Within.Devices)
	default:
		cond.among("x.device", e.Within.Devices)
	}
}

// Export writes rows to w as they are read, day by day; within a day they have no order that is
// promised. What was written before an error stays written.
func (db *DB) Export(ctx context.Context, w io.Writer, e Export) error {
	if err := e.Check(); err != nil {
		return err
	}
	if err := db.export(ctx, w, e); err != nil {
		return fmt.Errorf("export %s: %w", e.Table, err)
	}
	return nil
}

func (db *DB) export(ctx context.Context, w io.Writer, e Export) error {
	ctx, cancel := context.WithTimeout(ctx, exportTimeout)
	defer cancel()
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(withinSettings(clickhouse.Settings{"max_memory_usage": 400 << 20, "max_threads": 1})))
	table := exportable[e.Table]
	days, err := db.days(ctx, e.Table, table.time, e)
	if err != nil {
		return err
	}
	var out recordWriter
	for _, d := range days {
		var cond where
		cond.times("x."+table.time, d[0], d[1])
		e.bound(&cond, db.cfg.Speakers)
		if table.counts {
			cond.add("NOT (" + db.few() + ")")
		}
		rows, err := db.conn.Query(ctx, "SELECT "+table.columns+" FROM "+e.Table+" AS x"+cond.sql(), cond.args...)
		if err != nil {
			return err
		}
		out, err = copyRows(w, out, rows, e.Format)
		if cerr := rows.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return err
		}
	}
	return out.close()
}

// days cuts the time of the rows that there are, within e's bounds, at midnights: a query over
// more would, for rollups, hold all their groups at once. There is always one, be it empty.
func (db *DB) days(ctx context.Context, table, column string, e Export) ([][2]time.Time, error) {
	var cond where
	cond.times(column, e.From, e.To)
	var lo, hi time.Time
	source := map[string]string{"observations_1m": "observations", "observations_1h": "observations_1h_state", "events": "events_log",
		"vds_counts_1m": "vds_counts_1m_log"}[table]
	if source == "" {
		source = table
	}
	if err := db.conn.QueryRow(ctx, fmt.Sprintf("SELECT min(%s), max(%s) FROM %s%s", column, column, source, cond.sql()), cond.args...).Scan(&lo, &hi); err != nil {
		return nil, err
	}
	lo, hi = lo.UTC(), hi.UTC()
	if table == "observations_1m" { // a bucket begins before its first reading
		lo = lo.Truncate(time.Minute)
	}
	lo = maxTime(lo, e.From)
	end := hi.Add(time.Millisecond)
	if !e.To.IsZero() && e.To.Before(end) {
		end = e.To
	}
	var out [][2]time.Time
	for from := lo; from.Before(end); {
		to := from.Truncate(day).Add(day)
		// What alarms are seen is asked once.
		if end.Before(to) || e.Within != nil && table == "alarm_log" {
			to = end
		}
		out = append(out, [2]time.Time{from, to})
		from = to
	}
	if len(out) == 0 {
		out = append(out, [2]time.Time{time.Unix(0, 0), time.Unix(0, 0)})
	}
	return out, nil
}

func maxTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// copyRows writes rows through out, which it makes for the first ones.
func copyRows(w io.Writer, out recordWriter, rows driver.Rows, format string) (recordWriter, error) {
	fields := make([]arrow.Field, len(rows.ColumnTypes()))
	scan := make([]any, len(fields))
	adds := make([]func(array.Builder), len(fields))
	for i, c := range rows.ColumnTypes() {
		kind := strings.TrimSuffix(strings.TrimPrefix(c.DatabaseTypeName(), "LowCardinality("), ")")
		var t arrow.DataType
		switch {
		case strings.HasPrefix(kind, "DateTime"):
			v := new(time.Time)
			t, scan[i] = &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "UTC"}, v
			adds[i] = func(b array.Builder) { b.(*array.TimestampBuilder).Append(arrow.Timestamp(v.UnixMilli())) }
		case kind == "String":
			v := new(string)
			t, scan[i] = arrow.BinaryTypes.String, v
			adds[i] = func(b array.Builder) { b.(*array.StringBuilder).Append(readable(*v)) }
		case kind == "Float64":
			v := new(float64)
			t, scan[i] = arrow.PrimitiveTypes.Float64, v
			adds[i] = func(b array.Builder) { b.(*array.Float64Builder).Append(*v) }
		case kind == "Float32":
			v := new(float32)
			t, scan[i] = arrow.PrimitiveTypes.Float32, v
			adds[i] = func(b array.Builder) { b.(*array.Float32Builder).Append(*v) }
		case kind == "Int64":
			v := new(int64)
			t, scan[i] = arrow.PrimitiveTypes.Int64, v
			adds[i] = func(b array.Builder) { b.(*array.Int64Builder).Append(*v) }
		case kind == "UInt64":
			v := new(uint64)
			t, scan[i] = arrow.PrimitiveTypes.Uint64, v
			adds[i] = func(b array.Builder) { b.(*array.Uint64Builder).Append(*v) }
		case kind == "UInt8":
			v := new(uint8)
			t, scan[i] = arrow.PrimitiveTypes.Uint8, v
			adds[i] = func(b array.Builder) { b.(*array.Uint8Builder).Append(*v) }
		default:
			return nil, fmt.Errorf("BUG: column %s of type %s", c.Name(), c.DatabaseTypeName())
		}
		fields[i] = arrow.Field{Name: c.Name(), Type: t}
	}
	schema := arrow.NewSchema(fields, nil)
	if out == nil {
		var err error
		if out, err = newRecordWriter(w, schema, format); err != nil {
			return nil, err
		}
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	n := 0
	flush := func() error {
		rec := b.NewRecord()
		defer rec.Release()
		n = 0
		return out.write(rec)
	}
	for rows.Next() {
		if err := rows.Scan(scan...); err != nil {
			return out, err
		}
		for i, add := range adds {
			add(b.Field(i))
		}
		if n++; n == exportRows {
			if err := flush(); err != nil {
				return out, err
			}
		}
	}
	if n > 0 {
		if err := flush(); err != nil {
			return out, err
		}
	}
	return out, rows.Err()
}

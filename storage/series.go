package storage

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A SeriesQuery asks for one metric of one device over [From, To).
type SeriesQuery struct {
	Device, Metric string
	From, To       time.Time
	// Step is the width of the buckets, aligned to the Unix epoch; 0 for the readings themselves.
	Step time.Duration
	// Agg is what a bucket is made of: one of Aggs, avg if empty. Readings are not aggregated.
	Agg string
}

// Aggs are the ways to sum up a bucket.
var Aggs = []string{"avg", "min", "max", "sum", "last", "count"}

// MaxPoints bounds the answer to a SeriesQuery.
const MaxPoints = 20_000

// A Point is a bucket's start, or a reading's time, and its value.
type Point struct {
	Time  time.Time
	Value float64
}

// A QueryError is a query that cannot be answered as it was put.
type QueryError struct{ Detail string }

func (e *QueryError) Error() string { return e.Detail }

func (q *SeriesQuery) check() error {
	if q.Agg == "" {
		q.Agg = "avg"
	}
	switch {
	case q.Device == "" || q.Metric == "":
		return &QueryError{"series: device and metric are wanted"}
	case !slices.Contains(Aggs, q.Agg):
		return &QueryError{fmt.Sprintf("series: agg %q, want one of %s", q.Agg, strings.Join(Aggs, ", "))}
	case !q.From.Before(q.To):
		return &QueryError{fmt.Sprintf("series: from %s is not before to %s", q.From.Format(time.RFC3339), q.To.Format(time.RFC3339))}
	case q.Step < 0 || q.Step%time.Millisecond != 0:
		return &QueryError{fmt.Sprintf("series: step %v, want 0 or whole milliseconds", q.Step)}
	case q.Step > 0 && q.To.Sub(q.From)/q.Step >= MaxPoints:
		return &QueryError{fmt.Sprintf("series: %d points, want at most %d: take a longer step or a shorter time", q.To.Sub(q.From)/q.Step, MaxPoints)}
	}
	return nil
}

// Series answers q in order of time; buckets without readings are left out. The whole hours of a
// query in steps of hours come from the hour's rollup, everything else from the readings, so that
// the answer is exact in both cases.
func (db *DB) Series(ctx context.Context, q SeriesQuery) ([]Point, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	ctx, cancel := db.queryContext(ctx)
	defer cancel()
	if q.Step == 0 {
		return db.readings(ctx, q)
	}
	var parts []string
	var args []any
	raw := func(from, to time.Time) {
		if !from.Before(to) {
			return
		}
		var w where
		w.equal("device", q.Device)
		w.equal("metric", q.Metric)
		w.slots(from, to)
		w.times("o.time", from, to)
		parts = append(parts, `SELECT toUnixTimestamp64Milli(o.time) AS ms, 1 AS n, value AS lo, value AS hi, value AS total, value AS last, o.time AS seen
			FROM observations AS o`+w.sql()+" AND NOT isNaN(value)")
		args = append(args, w.args...)
	}
	from, to := q.From, q.To
	if q.Step%time.Hour == 0 {
		lo, hi := ceil(q.From, time.Hour), q.To.Truncate(time.Hour)
		if lo.Before(hi) {
			raw(from, lo)
			from = hi
			var w where
			w.equal("device", q.Device)
			w.equal("metric", q.Metric)
			w.add("h.time >= toDateTime(?, 'UTC')", lo.Unix())
			w.add("h.time < toDateTime(?, 'UTC')", hi.Unix())
			parts = append(parts, `SELECT toInt64(toUnixTimestamp(h.time)) * 1000 AS ms, sum(h.n) AS n, min(h.lo) AS lo, max(h.hi) AS hi,
				sum(h.total) AS total, argMaxMerge(h.latest) AS last, max(h.seen) AS seen FROM observations_1h_state AS h`+w.sql()+" GROUP BY h.time")
			args = append(args, w.args...)
		}
	}
	raw(from, to)
	value := map[string]string{"avg": "sum(total) / sum(n)", "min": "min(lo)", "max": "max(hi)", "sum": "sum(total)",
		"last": "argMax(last, seen)", "count": "toFloat64(sum(n))"}[q.Agg]
	step := q.Step.Milliseconds()
	sql := fmt.Sprintf("SELECT ms - positiveModulo(ms, %d) AS bucket, %s AS v FROM (%s) GROUP BY bucket ORDER BY bucket",
		step, value, strings.Join(parts, " UNION ALL "))
	return db.points(ctx, sql, args)
}

func (db *DB) readings(ctx context.Context, q SeriesQuery) ([]Point, error) {
	var w where
	w.equal("device", q.Device)
	w.equal("metric", q.Metric)
	w.slots(q.From, q.To)
	w.times("time", q.From, q.To)
	points, err := db.points(ctx, fmt.Sprintf("SELECT toUnixTimestamp64Milli(time) AS ms, value FROM observations%s AND NOT isNaN(value) ORDER BY ms LIMIT %d",
		w.sql(), MaxPoints+1), w.args)
	if len(points) > MaxPoints {
		return nil, &QueryError{fmt.Sprintf("series: more than %d readings: give a step or a shorter time", MaxPoints)}
	}
	return points, err
}

func (db *DB) points(ctx context.Context, sql string, args []any) ([]Point, error) {
	rows, err := db.conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("read a series: %w", err)
	}
	defer rows.Close()
	points := []Point{}
	for rows.Next() {
		var ms int64
		var p Point
		if err := rows.Scan(&ms, &p.Value); err != nil {
			return nil, fmt.Errorf("read a series: %w", err)
		}
		p.Time = time.UnixMilli(ms).UTC()
		points = append(points, p)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read a series: %w", err)
	}
	return points, nil
}

func ceil(t time.Time, d time.Duration) time.Time {
	if down := t.Truncate(d); down.Before(t) {
		return down.Add(d)
	}
	return t
}

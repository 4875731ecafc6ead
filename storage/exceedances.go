package storage

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Span is what of the hours is held against a limit.
type Span uint8

// The spans.
const (
	EachHour Span = iota // the mean of each hour
	EachDay              // the mean of each day
	Max8h                // the greatest running mean of 8 hours that ends in the day
)

// A Threshold is a limit of a metric: a value passes it that is at least From.
type Threshold struct {
	Metric string
	Span   Span
	From   float64
}

// An ExceedancesQuery asks how often devices passed thresholds of some metrics in a calendar year. Hours, days and the
// year are of standard time, Offset ahead of UTC the whole year round. Nothing from Until on counts, nor a day that is
// not over by then.
type ExceedancesQuery struct {
	Devices    []string
	Metrics    []string
	Thresholds []Threshold // those of other metrics are not passed
	Year       int
	Offset     time.Duration // whole hours
	Until      time.Time
	// Least is how many readings an hour must have to count, by device; 1 where it says nothing.
	Least map[string]int
}

// A DeviceYear is what a metric of a device came to in a calendar year. Hours are those with readings enough,
// days those of which three quarters are such hours. Of a running mean three quarters of its hours are wanted,
// and of its day's means three quarters.
type DeviceYear struct {
	Device, Metric    string
	Hours, Days, Day8 uint64  // that count: hours, days by their mean, days by their running means where a threshold of the metric is of those
	Mean              float64 // of the hours
	// Passed are the times that a threshold was passed and Last the beginning of the last hour or day, zero for none,
	// both in order of the query's thresholds; those of other metrics are 0.
	Passed []uint64
	Last   []time.Time
}

// yearDevices are those of one query, each of which has some ten thousand hours of a metric in memory.
const yearDevices = 20

// dayLeast is how many of the 24 hours, or running means, of a day must be there.
const dayLeast = 18

// Exceedances answers q from the hour's rollup, a row for each device and metric that has readings, in order of both.
// A hundred devices have a million hours of a metric: they are read a few at a time.
func (db *DB) Exceedances(ctx context.Context, q ExceedancesQuery) ([]DeviceYear, error) {
	if q.Offset%time.Hour != 0 || q.Year < 1971 || q.Year > 2105 || len(q.Thresholds) == 0 {
		return nil, &QueryError{fmt.Sprintf("exceedances: of %d, %v ahead of UTC, %d thresholds: want a year from 1971 to 2105, whole hours, and some", q.Year, q.Offset, len(q.Thresholds))}
	}
	var out []DeviceYear
	for part := range slices.Chunk(slices.Sorted(slices.Values(q.Devices)), yearDevices) {
		found, err := db.exceedances(ctx, q, part)
		if err != nil {
			return nil, fmt.Errorf("read exceedances: %w", err)
		}
		out = append(out, found...)
	}
	return out, nil
}

func (db *DB) exceedances(ctx context.Context, q ExceedancesQuery, part []string) ([]DeviceYear, error) {
	ctx, cancel := db.queryContext(ctx)
	defer cancel()
	offset := int64(q.Offset / time.Second)
	// Times are seconds by the clock of standard time from here on.
	year := func(n int) int64 { return time.Date(n, 1, 1, 0, 0, 0, 0, time.UTC).Unix() }
	begin, until := year(q.Year), min(q.Until.Truncate(time.Hour).Unix()+offset, year(q.Year+1))
	running := []string{""} // metrics whose running means are wanted
	for _, t := range q.Thresholds {
		if t.Span == Max8h {
			running = append(running, t.Metric)
		}
	}
	var w where
	w.among("h.device", part)
	w.among("h.metric", q.Metrics)
	// The running means of the year's first hours have hours of the year before in them.
	w.add("h.time >= toDateTime(?, 'UTC')", begin-offset-(runningHours-1)*3600)
	w.add("h.time < toDateTime(?, 'UTC')", max(until-offset, 0))
	least := "1"
	var leastArgs []any
	names, counts := []string{}, []int64{}
	for _, device := range part {
		if n := q.Least[device]; n > 1 {
			names, counts = append(names, device), append(counts, int64(n))
		}
	}
	if len(names) > 0 {
		least = "transform(device, ?, ?, toInt64(1))"
		leastArgs = []any{names, counts}
	}
	var passed, last, overHour []string
	var passedArgs []any
	for i, t := range q.Thresholds {
		if t.Span == EachHour {
			// Hours are counted within their days.
			overHour = append(overHour, fmt.Sprintf("countIf(own AND metric = ? AND mean >= ?) AS over%d, maxIf(at, own AND metric = ? AND mean >= ?) AS last%[1]d", i))
			passedArgs = append(passedArgs, t.Metric, t.From, t.Metric, t.From)
			passed = append(passed, fmt.Sprintf("sum(over%d)", i))
			last = append(last, fmt.Sprintf("max(last%d)", i))
			continue
		}
		condition := fmt.Sprintf("whole AND dayHours >= %d AND metric = ? AND dayMean >= ?", dayLeast)
		if t.Span == Max8h {
			condition = fmt.Sprintf("whole AND day8 >= %d AND metric = ? AND top8 >= ?", dayLeast)
		}
		passed = append(passed, "countIf("+condition+")")
		last = append(last, "maxIf(day * 86400, "+condition+")")
	}
	// The arguments in the order of their places: of the outermost select first.
	var outer []any
	for range 2 { // passed, then last
		for _, t := range q.Thresholds {
			if t.Span != EachHour {
				outer = append(outer, t.Metric, t.From)
			}
		}
	}
	all := append(append(append(outer, passedArgs...), w.args...), leastArgs...)
	days := ""
	if len(overHour) > 0 {
		days = ", " + strings.Join(overHour, ", ")
	}
	// A running mean ends with any hour, also one without readings: each hour is in the eight that end with it or after it.
	rows, err := db.conn.Query(ctx, fmt.Sprintf(`
		SELECT device, metric, sum(dayHours) AS hours, countIf(whole AND dayHours >= %[1]d), countIf(whole AND day8 >= %[1]d),
			sum(total) / hours, [%[2]s], [%[3]s]
		FROM (SELECT device, metric, intDiv(at, 86400) AS day, (day + 1) * 86400 <= %[4]d AS whole, countIf(own) AS dayHours, sumIf(mean, own) AS total, total / dayHours AS dayMean,
				countIf(n8 >= %[5]d) AS day8, maxIf(sum8 / n8, n8 >= %[5]d) AS top8%[6]s
			FROM (SELECT device, metric, t + k * 3600 AS at, sum(v) AS sum8, count() AS n8, countIf(k = 0) > 0 AS own, anyIf(v, k = 0) AS mean
				FROM (SELECT device, metric, toInt64(toUnixTimestamp(h.time)) + %[7]d AS t, sum(h.total) / sum(h.n) AS v
					FROM observations_1h_state AS h%[8]s GROUP BY device, metric, h.time HAVING isFinite(v) AND sum(h.n) >= %[9]s)
				ARRAY JOIN range(if(metric IN ?, %[10]d, 1)) AS k
				GROUP BY device, metric, at)
			WHERE at >= %[11]d AND at < %[4]d GROUP BY device, metric, day)
		GROUP BY device, metric HAVING hours > 0 ORDER BY device, metric`,
		dayLeast, strings.Join(passed, ", "), strings.Join(last, ", "), until, runningLeast, days, offset, w.sql(), least, runningHours, begin)+spill, append(all, tuple(running))...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []DeviceYear
	for rows.Next() {
		var y DeviceYear
		var last []int64
		if err := rows.Scan(&y.Device, &y.Metric, &y.Hours, &y.Days, &y.Day8, &y.Mean, &y.Passed, &last); err != nil {
			return nil, err
		}
		y.Last = make([]time.Time, len(last))
		for i, at := range last {
			if at > 0 {
				y.Last[i] = time.Unix(at-offset, 0).UTC()
			}
		}
		out = append(out, y)
	}
	return out, rows.Err()
}

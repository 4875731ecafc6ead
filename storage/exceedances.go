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

// An ExceedancesQuery asks how often devices passed thresholds in calendar years, those up to Year, of which as
// many are told as Years says of each metric, 1 where it says nothing. Hours, days and years are of standard time,
// Offset ahead of UTC the whole year round. Nothing from Until on counts, nor a day that is not over by then.
type ExceedancesQuery struct {
	Devices    []string
	Thresholds []Threshold
	Year       int
	Years      map[string]int
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
	Year              int
	Hours, Days, Day8 uint64  // that count: hours, days by their mean, days by their running means
	Mean              float64 // of the hours
	// Passed are the times that a threshold was passed and Last the beginning of the last hour or day, zero for none,
	// both in order of the query's thresholds; those of other metrics are 0.
	Passed []uint64
	Last   []time.Time
}

// Bounds of asking for years: devices of one query, which has some ten thousand rows of each in memory, and how
// many years back are told.
const (
	yearDevices = 20
	yearsBack   = 10
	dayLeast    = 18 // of 24 hours or running means
)

// Exceedances answers q from the hour's rollup, in order of device, metric and year. It is some million rows a
// hundred devices and year, read a few devices at a time.
func (db *DB) Exceedances(ctx context.Context, q ExceedancesQuery) ([]DeviceYear, error) {
	if q.Offset%time.Hour != 0 || q.Year < 1971 || q.Year > 2105 || len(q.Thresholds) == 0 {
		return nil, &QueryError{fmt.Sprintf("exceedances: of %d, %v ahead of UTC, %d thresholds: want a year from 1971 to 2105, whole hours, and some", q.Year, q.Offset, len(q.Thresholds))}
	}
	ctx, cancel := db.queryContext(ctx)
	defer cancel()
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
	offset := int64(q.Offset / time.Second)
	// Times are seconds by the clock of standard time from here on.
	begin := func(year int) int64 { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC).Unix() }
	until := min(q.Until.Truncate(time.Hour).Unix()+offset, begin(q.Year+1))
	years := map[string]int{} // of the metrics
	for _, t := range q.Thresholds {
		years[t.Metric] = min(max(q.Years[t.Metric], 1), yearsBack)
	}
	most := 1
	var w where
	w.among("h.device", part)
	// The running means of a year's first hours have hours of the year before in them.
	var of []string
	var args []any
	for metric, n := range years {
		most = max(most, n)
		of = append(of, "h.metric = ? AND h.time >= toDateTime(?, 'UTC')")
		args = append(args, metric, max(begin(q.Year+1-n)-offset-(runningHours-1)*3600, 0))
	}
	w.add("("+strings.Join(of, " OR ")+")", args...)
	w.add("h.time >= toDateTime(?, 'UTC')", max(begin(q.Year+1-most)-offset-(runningHours-1)*3600, 0)) // which partitions are read
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
	// A running mean ends with any hour, also one without readings:
	// at most two at its end may be missing, so that each hour stands for itself and for the two after it.
	rows, err := db.conn.Query(ctx, fmt.Sprintf(`
		SELECT device, metric, toYear(toDateTime(day * 86400, 'UTC')) AS year, sum(dayHours), countIf(whole AND dayHours >= %[1]d), countIf(whole AND day8 >= %[1]d),
			sum(total) / sum(dayHours), [%[2]s], [%[3]s]
		FROM (SELECT device, metric, intDiv(at, 86400) AS day, (day + 1) * 86400 <= %[4]d AS whole, countIf(own) AS dayHours, sumIf(mean, own) AS total, total / dayHours AS dayMean,
				countIf(n8 >= %[5]d) AS day8, maxIf(mean8, n8 >= %[5]d) AS top8%[6]s
			FROM (SELECT device, metric, mean, e.1 AS at, e.2 AS mean8, e.3 AS n8, e.4 AS own
				FROM (SELECT device, metric, t, mean, leadInFrame(t, 1, toInt64(9000000000)) OVER (PARTITION BY device, metric ORDER BY t ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING) AS next,
						avg(mean) OVER w0 AS m0, count() OVER w0 AS n0, avg(mean) OVER w1 AS m1, count() OVER w1 AS n1, avg(mean) OVER w2 AS m2, count() OVER w2 AS n2
					FROM (SELECT device, metric, toInt64(toUnixTimestamp(h.time)) + %[7]d AS t, sum(h.total) / sum(h.n) AS mean
						FROM observations_1h_state AS h%[8]s GROUP BY device, metric, h.time HAVING isFinite(mean) AND sum(h.n) >= %[9]s)
					WINDOW w0 AS (PARTITION BY device, metric ORDER BY t RANGE BETWEEN 25200 PRECEDING AND CURRENT ROW),
						w1 AS (PARTITION BY device, metric ORDER BY t RANGE BETWEEN 21600 PRECEDING AND CURRENT ROW),
						w2 AS (PARTITION BY device, metric ORDER BY t RANGE BETWEEN 18000 PRECEDING AND CURRENT ROW))
				ARRAY JOIN arrayFilter(e -> e.4 OR e.3 >= %[5]d AND e.1 < next, [(t, m0, n0, true), (t + 3600, m1, n1, false), (t + 7200, m2, n2, false)]) AS e)
			WHERE at < %[4]d GROUP BY device, metric, day)
		GROUP BY device, metric, year ORDER BY device, metric, year`,
		dayLeast, strings.Join(passed, ", "), strings.Join(last, ", "), until, runningLeast, days, offset, w.sql(), least)+spill, all...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []DeviceYear
	for rows.Next() {
		var y DeviceYear
		var year uint16
		var last []int64
		if err := rows.Scan(&y.Device, &y.Metric, &year, &y.Hours, &y.Days, &y.Day8, &y.Mean, &y.Passed, &last); err != nil {
			return nil, err
		}
		y.Year = int(year)
		if y.Hours == 0 || y.Year <= q.Year-years[y.Metric] {
			continue // of a running mean's hours of the year before
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

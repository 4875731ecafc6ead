package storage

import (
	"context"
	"fmt"
	"math"
	"time"
)

// MaxRollupSpan is the longest time that hours are summed up for: the rollup of a domain has no index by
// time within a month, so that every question reads a month or two.
const MaxRollupSpan = 31 * 24 * time.Hour

// runningHours is the length of a running mean, of which at least runningLeast must be there: three
// quarters, as the directives on air quality want.
const (
	runningHours = 8
	runningLeast = 6
)

// A RollupQuery asks for metrics of a domain's devices over the hours that begin in From <= time < To.
type RollupQuery struct {
	Domain   string
	Metrics  []string
	From, To time.Time
}

// Rollup is what a metric of a device came to, hour by hour. Every hour counts alike, however many
// readings it has.
type Rollup struct {
	Device, Metric string
	Hours          uint64  // with readings
	Sum            float64 // of the hourly means: of a metric that is 1 or 0, the hours that it was 1
	Growth         float64 // of a meter, which counts up and may begin anew: what it counted since the hour before
	MaxHour        float64 // greatest hourly mean
	Max8h          float64 // greatest running mean of 8 hours that ends with one of them, NaN where none has 6
}

// inOrder sums up hours as they lie in the table, by device and metric: for a week of 3,000 stations that took
// 1.3 s of processor time where a table of all hours in memory took 3.4 s. It follows spill.
const inOrder = ", optimize_aggregation_in_order = 1"

// Rollups answers q, a row for each device and metric that has readings, in order of both.
func (db *DB) Rollups(ctx context.Context, q RollupQuery) ([]Rollup, error) {
	if !q.From.Before(q.To) || q.To.Sub(q.From) > MaxRollupSpan {
		return nil, &QueryError{fmt.Sprintf("rollups: from %s to %s, want a time of at most %v", q.From.Format(time.RFC3339), q.To.Format(time.RFC3339), MaxRollupSpan)}
	}
	ctx, cancel := db.queryContext(ctx)
	defer cancel()
	var w where
	w.add("domain = ?", q.Domain)
	w.add("metric IN ?", q.Metrics)
	const before = (runningHours - 1) * 3600 // of which the first running mean is made too
	w.add("time >= toDateTime(?, 'UTC')", q.From.Unix()-before)
	w.add("time < toDateTime(?, 'UTC')", q.To.Unix())
	// A meter that says less at an hour's end than at the end of the one before began anew within it: it went up to the
	// greatest reading, and from the least to the last. One that then goes on from that greatest reading did not: what it
	// said last was false.
	rows, err := db.conn.Query(ctx, fmt.Sprintf(`
		SELECT device, metric, countIf(own), sumIf(mean, own), sumIf(grown, own), maxIf(mean, own), maxIf(mean8, own AND n8 >= %[1]d), countIf(own AND n8 >= %[1]d)
		FROM (SELECT device, metric, toUnixTimestamp(time) >= %[2]d AS own, mean, avg(mean) OVER w AS mean8, count() OVER w AS n8,
				toUnixTimestamp(lagInFrame(time) OVER previous) AS earlier, lagInFrame(last) OVER previous AS held, lagInFrame(hi) OVER previous AS peak,
				if(earlier >= %[2]d OR toUnixTimestamp(time) - earlier = 3600, if(held < peak AND lo >= peak, peak, held), lo) AS base,
				if(last >= base, last - base, greatest(hi - base, 0) + last - lo) AS grown
			FROM (SELECT device, metric, time, sum(total) / sum(n) AS mean, min(h.lo) AS lo, max(h.hi) AS hi, argMaxMerge(latest) AS last FROM observations_1h_state AS h%[3]s GROUP BY device, metric, time)
			WINDOW w AS (PARTITION BY device, metric ORDER BY time RANGE BETWEEN %[4]d PRECEDING AND CURRENT ROW),
				previous AS (PARTITION BY device, metric ORDER BY time ROWS BETWEEN 1 PRECEDING AND CURRENT ROW))
		GROUP BY device, metric HAVING countIf(own) > 0 ORDER BY device, metric`, runningLeast, q.From.Unix(), w.sql(), before)+spill+inOrder, w.args...)
	if err != nil {
		return nil, fmt.Errorf("read rollups: %w", err)
	}
	defer rows.Close()
	out := []Rollup{}
	for rows.Next() {
		var h Rollup
		var whole uint64
		if err := rows.Scan(&h.Device, &h.Metric, &h.Hours, &h.Sum, &h.Growth, &h.MaxHour, &h.Max8h, &whole); err != nil {
			return nil, fmt.Errorf("read rollups: %w", err)
		}
		if whole == 0 {
			h.Max8h = math.NaN()
		}
		out = append(out, h)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read rollups: %w", err)
	}
	return out, nil
}

// A Level is a device's equivalent continuous sound level by day, 6 to 22, and by night: the mean of
// the sound's energy, in dB. NaN where nothing was measured.
type Level struct {
	Device     string
	Day, Night float64
}

// Levels returns the levels of a metric that is one in dB, over From <= time < To, in order of device.
// What is day and night goes by the clock of zone.
func (db *DB) Levels(ctx context.Context, domain, metric string, from, to time.Time, zone *time.Location) ([]Level, error) {
	ctx, cancel := db.queryContext(ctx)
	defer cancel()
	var w where
	w.equal("domain", domain)
	w.equal("metric", metric)
	w.slots(from, to)
	w.times("time", from, to)
	rows, err := db.conn.Query(ctx, `
		SELECT device, 10 * log10(avgIf(exp10(value / 10), day)), 10 * log10(avgIf(exp10(value / 10), NOT day))
		FROM (SELECT device, value, toHour(toTimeZone(time, ?)) BETWEEN 6 AND 21 AS day FROM observations`+w.sql()+` AND isFinite(value))
		GROUP BY device ORDER BY device`, append([]any{zone.String()}, w.args...)...)
	if err != nil {
		return nil, fmt.Errorf("read levels: %w", err)
	}
	defer rows.Close()
	out := []Level{}
	for rows.Next() {
		var l Level
		if err := rows.Scan(&l.Device, &l.Day, &l.Night); err != nil {
			return nil, fmt.Errorf("read levels: %w", err)
		}
		out = append(out, l)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read levels: %w", err)
	}
	return out, nil
}

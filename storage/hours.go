package storage

import (
	"context"
	"fmt"
	"time"
)

// An HoursQuery says which hours: From <= Time < To, of a domain and of metrics; "" is all domains.
type HoursQuery struct {
	// On is what the hours are of: "" for the readings of devices, counts, tracks or uplinks for rows, whose numbers
	// are the metrics, and which are of no domain.
	On       string
	From, To time.Time
	Domain   string
	Metrics  []string
	Of       []string // of rows: the columns that tell those of one device apart
}

// An Hour is what readings of one metric of a device, or rows of a thing of one, came to in an hour.
type Hour struct {
	Device, Domain, Metric string
	Of                     []string  // what the query's Of are
	Time                   time.Time // its beginning
	Count                  uint64
	Avg, Min, Max          float64
}

// Bounds of reading hours: rows of a page, which is all that is in memory, and how long it may take.
const (
	hoursPage    = 50_000
	hoursTimeout = 10 * time.Minute
)

// Hours calls each for the hours that q asks for, those of one thing in order of time; those of readings by device
// and metric, a page of them after the other. An error of each ends it.
func (db *DB) Hours(ctx context.Context, q HoursQuery, each func(Hour) error) error {
	return db.hours(ctx, q, hoursPage, each)
}

func (db *DB) hours(ctx context.Context, q HoursQuery, page int, each func(Hour) error) error {
	ctx, cancel := hoursContext(ctx)
	defer cancel()
	if q.On != "" {
		if err := db.hoursOfRows(ctx, q, each); err != nil {
			return fmt.Errorf("read hours of the past: %w", err)
		}
		return nil
	}
	var last *Hour
	for {
		var w where
		w.add("metric IN (?)", q.Metrics)
		w.add("time >= toDateTime(?, 'UTC')", q.From.Unix())
		w.add("time < toDateTime(?, 'UTC')", q.To.Unix())
		w.equal("domain", q.Domain)
		if last != nil { // the first condition is what finds the place in the table
			w.add("device >= ?", last.Device)
			w.add("(device, metric, time, domain) > (?, ?, toDateTime(?, 'UTC'), ?)", last.Device, last.Metric, last.Time.Unix(), last.Domain)
		}
		n := 0
		err := func() error {
			rows, err := db.conn.Query(ctx, `SELECT device, domain, metric, time, toUInt64(sum(n)), sum(total) / sum(n), toFloat64(min(lo)), toFloat64(max(hi))
				FROM observations_1h_state`+w.sql()+` GROUP BY device, metric, time, domain ORDER BY device, metric, time, domain LIMIT `+fmt.Sprint(page), w.args...)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var h Hour
				if err := rows.Scan(&h.Device, &h.Domain, &h.Metric, &h.Time, &h.Count, &h.Avg, &h.Min, &h.Max); err != nil {
					return err
				}
				n++
				last = &h
				if err := each(h); err != nil {
					return err
				}
			}
			return rows.Err()
		}()
		if err != nil {
			return fmt.Errorf("read hours of the past: %w", err)
		}
		if n < page {
			return nil
		}
	}
}

package storage

import (
	"context"
	"fmt"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// An HoursQuery says which hours of the rollup: From <= Time < To, of a domain and of metrics; "" is all
// domains.
type HoursQuery struct {
	From, To time.Time
	Domain   string
	Metrics  []string
}

// An Hour is what readings of one metric of a device came to in an hour.
type Hour struct {
	Device, Domain, Metric string
	Time                   time.Time // its beginning
	Count                  uint64
	Avg, Min, Max          float64
}

// Bounds of reading hours: rows of a page, which is all that is in memory, and how long it may take.
const (
	hoursPage    = 50_000
	hoursTimeout = 10 * time.Minute
)

// Hours calls each for the hours that q asks for, by device and metric and then in order of time, a page
// of them after the other. An error of each ends it.
func (db *DB) Hours(ctx context.Context, q HoursQuery, each func(Hour) error) error {
	return db.hours(ctx, q, hoursPage, each)
}

func (db *DB) hours(ctx context.Context, q HoursQuery, page int, each func(Hour) error) error {
	ctx, cancel := context.WithTimeout(ctx, hoursTimeout)
	defer cancel()
	ctx = clickhouse.Context(ctx, clickhouse.WithSettings(clickhouse.Settings{
		"max_execution_time": int(hoursTimeout / time.Second), "max_memory_usage": pastMemory, "optimize_aggregation_in_order": 1,
	}))
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

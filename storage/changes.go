package storage

import (
	"context"
	"fmt"
	"time"

	"panormus/devices"
)

// MaxChangesSpan is the longest time that changes are read for at once.
const MaxChangesSpan = time.Hour

// Changes calls each for the last value of every metric of every device that reported in from <= time
// < to, in order of device; only of devices after one, and of a domain where that is not empty. What
// ingest flagged for its clock is left out. each returns whether it wants more; an error ends it.
func (db *DB) Changes(ctx context.Context, from, to time.Time, domain, after string, each func(Latest) (more bool, err error)) error {
	if !from.Before(to) || to.Sub(from) > MaxChangesSpan {
		return &QueryError{fmt.Sprintf("changes: from %s to %s, want a time of at most %v", from.Format(time.RFC3339), to.Format(time.RFC3339), MaxChangesSpan)}
	}
	ctx, cancel := db.queryContext(ctx)
	defer cancel()
	var w where
	w.slots(from, to)
	w.times("o.time", from, to)
	w.equal("domain", domain)
	w.add("device > ?", after)
	w.add("bitAnd(quality, ?) = 0", devices.QualityClock)
	rows, err := db.conn.Query(ctx, "SELECT domain, device, metric, max(o.time), argMax(value, o.time), argMax(text, o.time) FROM observations AS o"+w.sql()+
		" GROUP BY device, domain, metric ORDER BY device, domain, metric"+spill, w.args...)
	if err != nil {
		return fmt.Errorf("read changes: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var l Latest
		if err := rows.Scan(&l.Domain, &l.Device, &l.Metric, &l.Time, &l.Value, &l.Text); err != nil {
			return fmt.Errorf("read changes: %w", err)
		}
		l.Time = l.Time.UTC()
		more, err := each(l)
		if err != nil {
			return err
		}
		if !more {
			return nil
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read changes: %w", err)
	}
	return nil
}

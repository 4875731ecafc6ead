package storage

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"panormus/stream/privacy"
)

// expiring are the tables whose rows say themselves when they must be gone, with the length of their
// partitions. Until its partition ends an expired row is on the disk and in no view.
var expiring = []struct {
	table     string
	partition time.Duration
}{
	{"detections_log", time.Hour}, {"plates_log", time.Hour}, {"tracks_log", day},
}

const (
	// retentionPeriod is how often retention is enforced.
	retentionPeriod = 5 * time.Minute
	// smallCells is how long counts of few objects are kept: they may tell of somebody.
	smallCells = privacy.MaxDetections
)

// RunRetention enforces retention every few minutes until ctx ends. It fails where the database does.
func (db *DB) RunRetention(ctx context.Context) error {
	return again(ctx, retentionPeriod, func() error { return db.EnforceRetention(ctx, time.Now()) })
}

// again does a thing now and after every period until ctx ends, which is no error, or it fails.
func again(ctx context.Context, period time.Duration, do func() error) error {
	tick := time.NewTicker(period)
	defer tick.Stop()
	for {
		if err := do(); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// EnforceRetention drops what has expired by now and makes sure that nothing is left: rows that are
// are told once and counted in a metric. Tables whose rows age by the clock alone are not its affair,
// their TTL is the database's.
func (db *DB) EnforceRetention(ctx context.Context, now time.Time) error {
	for _, t := range expiring {
		if err := db.dropExpired(ctx, t.table, now.Add(-t.partition)); err != nil {
			return fmt.Errorf("retention of %s: %w", t.table, err)
		}
		if err := db.verify(ctx, t.table, "expires <= toDateTime(?, 'UTC')", now.Add(-t.partition)); err != nil {
			return err
		}
	}
	const counts = "vds_counts_1m_log"
	before := now.Add(-smallCells).Truncate(day)
	if err := db.dropSmallCells(ctx, counts, before); err != nil {
		return fmt.Errorf("retention of %s: %w", counts, err)
	}
	return db.verify(ctx, counts, db.few()+" AND time < toDateTime(?, 'UTC')", before)
}

// dropExpired drops the partitions that began at or before a time. One that goes on is never
// dropped: a row for it may just be on its way.
func (db *DB) dropExpired(ctx context.Context, table string, began time.Time) error {
	ids, err := db.partitions(ctx, "SELECT partition_id FROM system.parts WHERE active AND database = currentDatabase() AND table = ? "+
		"GROUP BY partition_id HAVING "+partitionBegin(table)+" <= toDateTime(?, 'UTC')", table, began.Unix())
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := db.conn.Exec(ctx, "ALTER TABLE "+table+" DROP PARTITION ID '"+id+"'"); err != nil {
			return err
		}
	}
	if len(ids) > 0 {
		db.cfg.Log.Info("expired partitions dropped", "table", table, "partitions", len(ids))
	}
	return nil
}

// partitionBegin is an expression over system.parts, grouped by partition.
func partitionBegin(table string) string {
	if table == "tracks_log" {
		return "toStartOfDay(min(min_time), 'UTC')"
	}
	return "toStartOfHour(min(min_time), 'UTC')"
}

// few is a condition over counts: it is true of those that tell of fewer objects than their purpose wants.
func (db *DB) few() string {
	var cases strings.Builder
	if db.cfg.Least != nil {
		least := db.cfg.Least()
		for _, purpose := range slices.Sorted(maps.Keys(least)) {
			fmt.Fprintf(&cases, "purpose = %s, %d, ", quoted(purpose), least[purpose])
		}
	}
	if cases.Len() == 0 {
		return fmt.Sprintf("seen < %d", privacy.DefaultK)
	}
	return fmt.Sprintf("seen < multiIf(%s%d)", &cases, privacy.DefaultK)
}

// quoted is text as a literal of SQL.
func quoted(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}

// dropSmallCells deletes counts of few objects, of the days before a midnight: one day in each night,
// and only where there are any. Older versions of a row go first, lest one of them come to light.
func (db *DB) dropSmallCells(ctx context.Context, table string, before time.Time) error {
	small := db.few()
	ids, err := db.partitions(ctx, "SELECT _partition_id FROM "+table+" WHERE "+small+" AND time < toDateTime(?, 'UTC') GROUP BY _partition_id", before.Unix())
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := db.conn.Exec(ctx, "OPTIMIZE TABLE "+table+" PARTITION ID '"+id+"' FINAL"); err != nil {
			return err
		}
		if err := db.conn.Exec(ctx, "ALTER TABLE "+table+" DELETE IN PARTITION ID '"+id+"' WHERE "+small+" SETTINGS mutations_sync = 1"); err != nil {
			return err
		}
	}
	return nil
}

func (db *DB) partitions(ctx context.Context, query string, args ...any) ([]string, error) {
	rows, err := db.conn.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		if strings.ContainsAny(id, `'\`) {
			return nil, fmt.Errorf("partition %q, want an identifier", id)
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}

// verify counts what should not be there any more and says so once.
func (db *DB) verify(ctx context.Context, table, condition string, at time.Time) error {
	var left uint64
	if err := db.conn.QueryRow(ctx, "SELECT count() FROM "+table+" WHERE "+condition, at.Unix()).Scan(&left); err != nil {
		return fmt.Errorf("verify the retention of %s: %w", table, err)
	}
	name := strings.TrimSuffix(table, "_log")
	db.metrics.expired.WithLabelValues(name).Set(float64(left))
	before, _ := db.overdue.Swap(name, left)
	switch was, _ := before.(uint64); {
	case left > 0 && was == 0:
		db.cfg.Log.Error("rows are kept longer than they may", "table", name, "rows", left)
	case left == 0 && was > 0:
		db.cfg.Log.Info("no row is kept longer than it may any more", "table", name)
	}
	return nil
}

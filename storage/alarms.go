package storage

import (
	"context"
	"fmt"
	"strconv"

	"panormus/stream/batch"
)

type alarmRows []batch.AlarmRow

func (r alarmRows) len() int                { return len(r) }
func (r alarmRows) slice(lo, hi int) rowSet { return r[lo:hi] }
func (r alarmRows) row(i int) any           { return r[i] }

func (r alarmRows) insert(ctx context.Context, db *DB) error {
	return db.insertRows(ctx, "alarm_log_rows (time, alarm, n, action, by, state, severity, note)", len(r), func(i int) []any {
		a := &r[i]
		return []any{a.Time, a.Alarm, a.N, a.Action, a.By, a.State, a.Severity, a.Note}
	})
}

// AlarmLog returns the newest of what happened to an alarm, newest first. A limit of 0 is 100; more
// than 1000 are never returned.
func (db *DB) AlarmLog(ctx context.Context, alarm string, limit int) ([]batch.AlarmRow, error) {
	if limit <= 0 {
		limit = defaultLimit
	}
	ctx, cancel := db.queryContext(ctx)
	defer cancel()
	rows, err := db.conn.Query(ctx, "SELECT time, alarm, n, action, by, state, severity, note FROM alarm_log WHERE alarm = ? ORDER BY time DESC, n DESC LIMIT "+
		strconv.Itoa(min(limit, maxLimit)), alarm)
	if err != nil {
		return nil, fmt.Errorf("read the log of alarm %s: %w", alarm, err)
	}
	defer rows.Close()
	var out []batch.AlarmRow
	for rows.Next() {
		var r batch.AlarmRow
		if err := rows.Scan(&r.Time, &r.Alarm, &r.N, &r.Action, &r.By, &r.State, &r.Severity, &r.Note); err != nil {
			return nil, fmt.Errorf("read the log of alarm %s: %w", alarm, err)
		}
		r.Time = r.Time.UTC()
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read the log of alarm %s: %w", alarm, err)
	}
	return out, nil
}

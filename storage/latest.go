package storage

import (
	"context"
	"fmt"
	"slices"
	"time"

	"panormus/stream/batch"
)

// A Latest is the last value of one metric of one device.
type Latest struct {
	Domain, Device, Metric string
	Time                   time.Time
	Value                  float64 // NaN for a text
	Text                   string
}

// LatestValues calls each for the last value of every metric of every device that reported since,
// taken to the hour. The rows of one device follow one another, its numbers before its texts are
// all told. It stops at the first error.
func (db *DB) LatestValues(ctx context.Context, since time.Time, each func(Latest) error) error {
	ctx, cancel := db.queryContext(ctx)
	defer cancel()
	for _, q := range []struct{ table, columns string }{
		{"observations_1h_state", "argMaxMerge(latest), ''"},
		{"observations_text_state", "toFloat64(nan), argMaxMerge(latest)"},
	} {
		if err := db.latest(ctx, "SELECT domain, device, metric, max(seen), "+q.columns+" FROM "+q.table+
			" WHERE time >= toStartOfHour(toDateTime(?, 'UTC')) GROUP BY domain, device, metric ORDER BY device", since, each); err != nil {
			return fmt.Errorf("read the latest values: %w", err)
		}
	}
	return nil
}

func (db *DB) latest(ctx context.Context, sql string, since time.Time, each func(Latest) error) error {
	rows, err := db.conn.Query(ctx, sql, max(since.Unix(), 0))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var l Latest
		if err := rows.Scan(&l.Domain, &l.Device, &l.Metric, &l.Time, &l.Value, &l.Text); err != nil {
			return err
		}
		l.Time = l.Time.UTC()
		if err := each(l); err != nil {
			return err
		}
	}
	return rows.Err()
}

// RecentEvents returns the newest n events, newest first; n is at most 1000.
func (db *DB) RecentEvents(ctx context.Context, n int) ([]batch.Event, error) {
	events, _, err := db.Events(ctx, EventFilter{}, n, "")
	return events, err
}

// OpenEpisodes returns, for every rule and key whose newest event is not a cleared one, the event
// that raised the episode and the newest that updated it, if any, in order of time.
func (db *DB) OpenEpisodes(ctx context.Context) ([]batch.Event, error) {
	const order = "(time, indexOf(['raised', 'updated', 'cleared'], toString(state)), id)"
	ctx, cancel := db.queryContext(ctx)
	defer cancel()
	found, err := db.readEvents(ctx, "SELECT "+eventColumns+` FROM events
		WHERE state IN ('raised', 'updated') AND (rule, key) IN
			(SELECT rule, key FROM events_log WHERE NOT startsWith(state, '`+batch.ShadowState+`') GROUP BY rule, key HAVING argMax(state, `+order+`) != 'cleared')
		ORDER BY time DESC, id DESC LIMIT 1 BY rule, key, state`)
	if err != nil {
		return nil, fmt.Errorf("read open episodes: %w", err)
	}
	raised := map[[2]string]time.Time{}
	for _, e := range found {
		if e.State == "raised" {
			raised[[2]string{e.Rule, e.Key}] = e.Time
		}
	}
	found = slices.DeleteFunc(found, func(e batch.Event) bool {
		at, ok := raised[[2]string{e.Rule, e.Key}]
		return e.State == "updated" && ok && e.Time.Before(at)
	})
	slices.SortStableFunc(found, func(a, b batch.Event) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		if a.State != b.State && a.State == "raised" {
			return -1
		}
		return 0
	})
	return found, nil
}

// A TableSize is what one table holds.
type TableSize struct {
	Table string
	Rows  uint64
	Bytes uint64 // on disk
}

// Sizes says what each table holds, rollups' states under their own names.
func (db *DB) Sizes(ctx context.Context) ([]TableSize, error) {
	ctx, cancel := db.queryContext(ctx)
	defer cancel()
	rows, err := db.conn.Query(ctx, `SELECT t.name, ifNull(t.total_rows, 0), ifNull(t.total_bytes, 0) FROM system.tables AS t
		WHERE t.database = currentDatabase() AND t.engine LIKE '%MergeTree' ORDER BY t.name`)
	if err != nil {
		return nil, fmt.Errorf("read the tables' sizes: %w", err)
	}
	defer rows.Close()
	var out []TableSize
	for rows.Next() {
		var s TableSize
		if err := rows.Scan(&s.Table, &s.Rows, &s.Bytes); err != nil {
			return nil, fmt.Errorf("read the tables' sizes: %w", err)
		}
		out = append(out, s)
	}
	return out, rows.Err()
}

// A DeadLetters is what was rejected for one reason: how much, and the newest of it.
type DeadLetters struct {
	Reason        string
	Count         uint64
	Last          time.Time
	Source, Topic string // of the newest
	Detail        string // what was wrong with it
}

// DeadLettersSince says what was rejected since a time, by reason, the most first; with in, of what devices of a
// part of the city sent.
func (db *DB) DeadLettersSince(ctx context.Context, since time.Time, in *Within) ([]DeadLetters, error) {
	ctx, cancel := db.queryContext(ctx)
	defer cancel()
	var cond where
	cond.add("received >= ?", since)
	cond.rejected("topic", in, db.cfg.Speakers)
	rows, err := db.conn.Query(ctx, `SELECT reason, count() AS n, max(received), argMax(source, received), argMax(topic, received), argMax(detail, received)
		FROM rejected`+cond.sql()+` GROUP BY reason ORDER BY n DESC, reason LIMIT 200`, cond.args...)
	if err != nil {
		return nil, fmt.Errorf("read what was rejected: %w", err)
	}
	defer rows.Close()
	var out []DeadLetters
	for rows.Next() {
		var d DeadLetters
		if err := rows.Scan(&d.Reason, &d.Count, &d.Last, &d.Source, &d.Topic, &d.Detail); err != nil {
			return nil, fmt.Errorf("read what was rejected: %w", err)
		}
		d.Last = d.Last.UTC()
		out = append(out, d)
	}
	return out, rows.Err()
}

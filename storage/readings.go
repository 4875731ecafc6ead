package storage

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// A Reading is an observation as it is stored.
type Reading struct {
	Time, Received time.Time
	Metric         string
	Value          float64 // NaN for a text
	Text           string
	Quality        uint8 // a devices.Quality
}

// Readings returns the newest observations of a device in from <= time < to, of whatever quality, newest first
// and in order of metric; at most limit.
func (db *DB) Readings(ctx context.Context, device string, from, to time.Time, limit int) ([]Reading, error) {
	if device == "" || !from.Before(to) || limit < 1 {
		return nil, &QueryError{fmt.Sprintf("readings of %.128q from %s to %s, at most %d: want a device, a time and some", device, from.Format(time.RFC3339), to.Format(time.RFC3339), limit)}
	}
	var w where
	w.equal("device", device)
	w.slots(from, to)
	w.times("o.time", from, to)
	ctx, cancel := db.queryContext(ctx)
	defer cancel()
	rows, err := db.conn.Query(ctx, "SELECT o.time, received, metric, value, text, quality FROM observations AS o"+w.sql()+" ORDER BY o.time DESC, metric LIMIT "+strconv.Itoa(limit), w.args...)
	if err != nil {
		return nil, fmt.Errorf("read readings: %w", err)
	}
	defer rows.Close()
	var out []Reading
	for rows.Next() {
		var r Reading
		if err := rows.Scan(&r.Time, &r.Received, &r.Metric, &r.Value, &r.Text, &r.Quality); err != nil {
			return nil, fmt.Errorf("read readings: %w", err)
		}
		r.Time, r.Received = r.Time.UTC(), r.Received.UTC()
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read readings: %w", err)
	}
	return out, nil
}

// A Refused is a message that was rejected. Payload is its beginning, of Bytes in all.
type Refused struct {
	Received                      time.Time
	Source, Topic, Reason, Detail string
	Payload                       string
	Bytes                         uint64
}

// refusedPayload is how much of a rejected message is read.
const refusedPayload = 4096

// Refused returns the newest messages that were rejected in from <= received < to and whose topic names a device by one
// of names; newest first, at most limit. All that was rejected in that time is read for it.
func (db *DB) Refused(ctx context.Context, names []string, from, to time.Time, limit int) ([]Refused, error) {
	if len(names) == 0 || !from.Before(to) || limit < 1 {
		return nil, &QueryError{fmt.Sprintf("what was refused of %.128q from %s to %s, at most %d: want a name, a time and some", names, from.Format(time.RFC3339), to.Format(time.RFC3339), limit)}
	}
	var w where
	w.times("received", from, to)
	w.rejected("topic", &Within{Devices: names}, db.cfg.Speakers)
	ctx, cancel := db.queryContext(ctx)
	defer cancel()
	rows, err := db.conn.Query(ctx, "SELECT received, source, topic, reason, detail, substring(payload, 1, "+strconv.Itoa(refusedPayload)+"), length(payload) FROM rejected"+w.sql()+
		" ORDER BY received DESC, topic, payload LIMIT "+strconv.Itoa(limit), w.args...)
	if err != nil {
		return nil, fmt.Errorf("read what was refused: %w", err)
	}
	defer rows.Close()
	var out []Refused
	for rows.Next() {
		var r Refused
		if err := rows.Scan(&r.Received, &r.Source, &r.Topic, &r.Reason, &r.Detail, &r.Payload, &r.Bytes); err != nil {
			return nil, fmt.Errorf("read what was refused: %w", err)
		}
		r.Received = r.Received.UTC()
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read what was refused: %w", err)
	}
	return out, nil
}

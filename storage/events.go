package storage

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"panormus/stream/batch"
)

// An EventFilter says which events; zero fields say nothing.
type EventFilter struct {
	From, To time.Time // From <= time < To
	Rule     string
	Severity []string // any of them; none for all
	State    string   // "" for all but those of rules in shadow
	Domain   string
	Device   string
	Zone     string
	Within   *Within // nil: of the whole city
}

// Limits of a page.
const (
	defaultLimit = 100
	maxLimit     = 1000
)

// Events returns a page of events, newest first, and the cursor of the next one, "" after the last.
// A limit of 0 is 100; more than 1000 are never returned.
func (db *DB) Events(ctx context.Context, f EventFilter, limit int, cursor string) (events []batch.Event, next string, err error) {
	if limit <= 0 {
		limit = defaultLimit
	}
	limit = min(limit, maxLimit)
	var w where
	w.times("time", f.From, f.To)
	w.equal("rule", f.Rule)
	if len(f.Severity) > 0 {
		w.among("severity", f.Severity)
	}
	if w.equal("state", f.State); f.State == "" {
		w.add("NOT startsWith(state, ?)", batch.ShadowState)
	}
	w.equal("domain", f.Domain)
	w.equal("device", f.Device)
	w.equal("zone", f.Zone)
	w.events(f.Within)
	if cursor != "" {
		at, id, err := parseCursor(cursor)
		if err != nil {
			return nil, "", err
		}
		w.add("(time, id) < (fromUnixTimestamp64Milli(toInt64(?)), ?)", at, id)
	}
	ctx, cancel := db.queryContext(ctx)
	defer cancel()
	events, err = db.readEvents(ctx, "SELECT "+eventColumns+" FROM events"+w.sql()+
		" ORDER BY time DESC, id DESC LIMIT "+strconv.Itoa(limit+1), w.args...)
	if err != nil {
		return nil, "", fmt.Errorf("read events: %w", err)
	}
	if len(events) > limit {
		events = events[:limit]
		last := events[limit-1]
		next = base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %s", last.Time.UnixMilli(), last.ID))
	}
	return events, next, nil
}

// Event returns the event with an id, nil for none.
func (db *DB) Event(ctx context.Context, id string) (*batch.Event, error) {
	ctx, cancel := db.queryContext(ctx)
	defer cancel()
	events, err := db.readEvents(ctx, "SELECT "+eventColumns+" FROM events WHERE id = ? LIMIT 1", id)
	if err != nil {
		return nil, fmt.Errorf("read event %.64s: %w", id, err)
	}
	if len(events) == 0 {
		return nil, nil
	}
	return &events[0], nil
}

const eventColumns = "time, received, id, rule, rule_version, severity, state, domain, device, zone, key, text, toJSONString(context)"

func (db *DB) readEvents(ctx context.Context, sql string, args ...any) ([]batch.Event, error) {
	rows, err := db.conn.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var events []batch.Event
	for rows.Next() {
		var e batch.Event
		if err := scanEvent(rows, &e); err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, rows.Err()
}

// scanEvent reads eventColumns.
func scanEvent(rows driver.Rows, e *batch.Event) error {
	var context string
	err := rows.Scan(&e.Time, &e.Received, &e.ID, &e.Rule, &e.RuleVersion, &e.Severity, &e.State, &e.Domain, &e.Device, &e.Zone, &e.Key, &e.Text, &context)
	e.Time, e.Received, e.Context = e.Time.UTC(), e.Received.UTC(), json.RawMessage(context)
	return err
}

// A CursorError is a cursor that did not come from here.
type CursorError struct{ Cursor string }

func (e *CursorError) Error() string {
	return fmt.Sprintf("cursor %q is none of this list's", e.Cursor)
}

func parseCursor(cursor string) (at int64, id string, err error) {
	raw, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return 0, "", &CursorError{cursor}
	}
	ms, id, ok := strings.Cut(string(raw), " ")
	at, err = strconv.ParseInt(ms, 10, 64)
	if !ok || err != nil {
		return 0, "", &CursorError{cursor}
	}
	return at, id, nil
}

// where gathers conditions and their arguments.
type where struct {
	conditions []string
	args       []any
}

func (w *where) add(condition string, args ...any) {
	w.conditions = append(w.conditions, condition)
	w.args = append(w.args, args...)
}

func (w *where) equal(column, value string) {
	if value != "" {
		w.add(column+" = ?", value)
	}
}

// times bounds column, in whole milliseconds, to from <= column < to.
func (w *where) times(column string, from, to time.Time) {
	if !from.IsZero() {
		w.add(column+" >= fromUnixTimestamp64Milli(toInt64(?))", from.UnixMilli())
	}
	if !to.IsZero() {
		w.add(column+" < fromUnixTimestamp64Milli(toInt64(?))", to.UnixMilli())
	}
}

// slots bounds the slot of observations to those that have rows of from <= time < to: what times says, in
// words that their primary index knows. Only the index: to read the column, of which rows with those times
// cannot have another value, is a third of what a device's week costs.
func (w *where) slots(from, to time.Time) {
	w.add("indexHint(slot >= toDateTime(?, 'UTC') AND slot <= toDateTime(?, 'UTC'))", inDateTime(from.Truncate(settledSlot)), inDateTime(to))
}

// inDateTime is t in Unix seconds, within what a DateTime may be.
func inDateTime(t time.Time) int64 { return min(max(t.Unix(), 0), math.MaxUint32) }

func (w *where) sql() string {
	if len(w.conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conditions, " AND ")
}

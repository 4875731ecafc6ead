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

const day = 24 * time.Hour

// keeps says where a table's rows are kept and by which of their times they age. Rows of tables
// without such a column say themselves when they expire, and the duration, from when they were
// received on, is the most that the writer gives them.
type keeps struct {
	table, column string
	duration      time.Duration
}

// retained are the tables with a retention, under their names of the contract. Observations age by
// the device's time: short, it would take what a device kept for years and sends at last. Video metadata is
// personal data and goes first; what was rejected may hold anything and goes with it.
var retained = map[string]keeps{
	"observations":    {"observations", "time", 5 * 365 * day},
	"observations_1h": {"observations_1h_state", "time", 0},
	"last_texts":      {"observations_text_state", "time", 5 * 365 * day},
	"detections":      {"detections_log", "", privacy.MaxDetections},
	"tracks":          {"tracks_log", "", 0},
	"vds_counts_1m":   {"vds_counts_1m_log", "time", 400 * day},
	"uplinks":         {"uplinks", "time", 90 * day},
	"events":          {"events_log", "time", 5 * 365 * day},
	"alarm_log":       {"alarm_log_rows", "time", 0},
	"rejected":        {"rejected", "received", 30 * day},
}

// DefaultRetention is how long each table's rows are kept where Config says nothing; 0 is for ever.
func DefaultRetention() map[string]time.Duration {
	out := map[string]time.Duration{}
	for name, k := range retained {
		out[name] = k.duration
	}
	return out
}

// bound is the longest that a row of a table may be kept which says itself when it expires, 0 for
// no bound.
func (db *DB) bound(table string) time.Duration {
	if d, ok := db.cfg.Retention[table]; ok {
		return d
	}
	return retained[table].duration
}

// setRetention makes the tables' TTL what the configuration says, where it is not already.
func (db *DB) setRetention(ctx context.Context) error {
	for name, d := range db.cfg.Retention {
		if _, ok := retained[name]; !ok {
			return fmt.Errorf("retention of %q: want one of %s", name, strings.Join(slices.Sorted(maps.Keys(retained)), ", "))
		}
		if d < 0 || d%time.Second != 0 {
			return fmt.Errorf("retention of %s: %v, want 0 for ever or whole seconds", name, d)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(retained)) {
		k := retained[name]
		if k.column == "" {
			continue
		}
		if d, ok := db.cfg.Retention[name]; ok {
			k.duration = d
		}
		var engine string
		if err := db.conn.QueryRow(ctx, "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = ?", k.table).Scan(&engine); err != nil {
			return fmt.Errorf("retention of %s: %w", name, err)
		}
		_, rest, has := strings.Cut(engine, " TTL ")
		want := fmt.Sprintf("toDateTime(%s) + toIntervalSecond(%d)", k.column, int64(k.duration/time.Second))
		var sql string
		switch {
		case k.duration == 0 && has:
			sql = "ALTER TABLE " + k.table + " REMOVE TTL"
		case k.duration != 0 && !strings.HasPrefix(rest, want):
			sql = "ALTER TABLE " + k.table + " MODIFY TTL " + want
		default:
			continue
		}
		if err := db.conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("retention of %s: %w", name, err)
		}
		db.cfg.Log.Info("retention set", "table", name, "keep", k.duration)
	}
	return nil
}

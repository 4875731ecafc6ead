package storage

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"panormus/storage/embedded"
)

// A day that is over is settled: its rows are sorted by stretches of settledSlot instead of hours, so that
// what one device said lies together. A copy of the day in that order takes its place in one statement, which
// readers see whole or not at all.
const (
	settledSlot = 4 * time.Hour
	// settleAfter is how long after its end a day is settled: most of what was late is there by then.
	settleAfter  = time.Hour
	settlePeriod = 10 * time.Minute
	// settleShare is the part of a settled day, one in so many rows, that has to have come late for the day
	// to be settled again.
	settleShare = 20
)

// The copy of a day is made in the first of these tables. When it is complete the table takes the name of
// the second, and until that is gone nothing may be inserted: whoever finds it there, after a kill, puts the
// day in its place again, which changes nothing where it was done.
const (
	copyTable     = "observations_settling"
	completeTable = "observations_settled"
)

// order guards the order of observations on the disk: who inserts some reads it, who changes it writes it.
// The zero value is of a database of which it is not known yet what an earlier process left behind.
type order struct {
	mu    sync.RWMutex
	known bool            // nothing is left of a change that was cut off
	seen  map[string]look // days that need nothing, by their partition; Settle's alone
}

// look is what a day was when it was looked at: its newest insert and its rows.
type look struct{ newest, rows uint64 }

// begin waits for a change of order and mends one that was cut off. Without an error the caller holds mu for reading.
func (o *order) begin(ctx context.Context, db *DB) error {
	for {
		o.mu.RLock()
		if o.known {
			return nil
		}
		o.mu.RUnlock()
		o.mu.Lock()
		err := db.mend(ctx)
		o.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

// mend finishes or undoes what a settling left that was cut off. The caller holds order.mu for writing.
func (db *DB) mend(ctx context.Context) error {
	if db.order.known {
		return nil
	}
	// Dropping a table waits for a statement that reads it: none of an earlier process comes after this.
	if err := db.conn.Exec(ctx, "DROP TABLE IF EXISTS "+copyTable+" SYNC"); err != nil {
		return fmt.Errorf("mend the order of observations: %w", err)
	}
	days, err := db.partitions(ctx, "SELECT partition_id FROM system.parts WHERE active AND database = currentDatabase() AND table = ? GROUP BY partition_id", completeTable)
	if err != nil {
		return fmt.Errorf("mend the order of observations: %w", err)
	}
	for _, id := range days {
		if err := db.replaceDay(ctx, id); err != nil {
			return fmt.Errorf("mend the order of observations: %w", err)
		}
		db.cfg.Log.Info("a day of observations that was being settled is in its place", "day", id)
	}
	if err := db.conn.Exec(ctx, "DROP TABLE IF EXISTS "+completeTable+" SYNC"); err != nil {
		return fmt.Errorf("mend the order of observations: %w", err)
	}
	db.order.known = true
	return nil
}

// mendFirst mends by a connection of its own, before anybody reads.
func mendFirst(ctx context.Context, cfg Config, dial embedded.Dialer) error {
	opt, err := options(cfg)
	if err != nil {
		return err
	}
	opt.DialContext = func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx) }
	conn, err := clickhouse.Open(opt)
	if err != nil {
		return err
	}
	defer conn.Close()
	return (&DB{cfg: cfg, conn: conn}).mend(ctx)
}

func (db *DB) replaceDay(ctx context.Context, id string) error {
	return db.conn.Exec(ctx, "ALTER TABLE observations REPLACE PARTITION ID '"+id+"' FROM "+completeTable)
}

// RunSettling settles the days that are over until ctx ends. It fails where the database does. It belongs
// to the process that writes: inserts of other processes are not held back.
func (db *DB) RunSettling(ctx context.Context) error {
	// What a kill left half done shows its readers rows twice: it is mended at once, not at the next insert.
	if err := db.order.begin(ctx, db); err != nil {
		return err
	}
	db.order.mu.RUnlock()
	return again(ctx, settlePeriod, func() error {
		_, err := db.Settle(ctx, time.Now())
		return err
	})
}

// Settle settles the days that ended by now and have rows by the hour, the newest first, and returns how
// many. A day that changed too much meanwhile is left for the next time. One call at a time.
func (db *DB) Settle(ctx context.Context, now time.Time) (settled int, err error) {
	if db.order.seen == nil {
		db.order.seen = map[string]look{}
	}
	before := now.Add(-settleAfter).UTC().Format("20060102")
	days, err := db.partitions(ctx, "SELECT partition_id FROM system.parts WHERE active AND rows > 0 AND database = currentDatabase() AND table = 'observations' AND partition_id < ? "+
		"GROUP BY partition_id ORDER BY partition_id DESC", before)
	if err != nil {
		return 0, fmt.Errorf("settle: %w", err)
	}
	for _, id := range days {
		done, err := db.settleDay(ctx, id)
		if err != nil {
			return settled, fmt.Errorf("settle %s: %w", id, err)
		}
		if done {
			settled++
		}
	}
	return settled, nil
}

// settleDay settles a day where that is worth it. Its rows are copied while others come; then, with inserts
// held back, those that came meanwhile, and the copy takes the day's place.
func (db *DB) settleDay(ctx context.Context, id string) (done bool, err error) {
	midnight, err := time.Parse("20060102", id)
	if err != nil {
		return false, err
	}
	// Counted, then listed, then copied: of rows that come in between the copy has more than were counted.
	rows, err := db.countDay(ctx, "observations", id)
	if err != nil {
		return false, err
	}
	first, err := db.parts(ctx, id)
	if err != nil {
		return false, err
	}
	at := look{newest: first.newest(), rows: rows}
	if db.order.seen[id] == at {
		return false, nil
	}
	hours, err := db.countHours(ctx, id, midnight)
	if err != nil {
		return false, err
	}
	if hours*settleShare < rows || hours == 0 {
		db.order.seen[id] = at
		return false, nil
	}
	began := time.Now()
	if err := db.order.begin(ctx, db); err != nil {
		return false, err
	}
	db.order.mu.RUnlock()
	defer func() {
		if !done && db.known() {
			err = errors.Join(err, db.conn.Exec(context.WithoutCancel(ctx), "DROP TABLE IF EXISTS "+copyTable+" SYNC"))
		}
	}()
	for _, sql := range []string{"DROP TABLE IF EXISTS " + copyTable + " SYNC", "CREATE TABLE " + copyTable + " AS observations"} {
		if err := db.conn.Exec(ctx, sql); err != nil {
			return false, err
		}
	}
	if err := db.copyRows(ctx, "_partition_id = '"+id+"'"); err != nil {
		return false, err
	}
	copied, err := db.countDay(ctx, copyTable, id)
	if err != nil || copied != rows { // some came just as it began
		return false, err
	}
	if rows <= mergeAtOnce {
		if err := db.conn.Exec(ctx, "OPTIMIZE TABLE "+copyTable+" FINAL"); err != nil {
			return false, err
		}
	}
	if done, err = db.place(ctx, id, first); done {
		db.cfg.Log.Info("a day of observations settled", "day", id, "rows", rows, "took", time.Since(began).Round(time.Millisecond))
	}
	return done, err
}

// mergeAtOnce is how many rows of a day are merged before it takes its place; of more it is left to the
// database's own merges, for the time that a statement may take.
const mergeAtOnce = 100_000_000

// place adds what came since first to the copy and puts it in the day's place. It holds inserts back.
func (db *DB) place(ctx context.Context, id string, first dayParts) (done bool, err error) {
	db.order.mu.Lock()
	defer db.order.mu.Unlock()
	// Not cut off by the end of ctx: it is short, and what is half done keeps every insert waiting.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), insertTimeout)
	defer cancel()
	var busy uint64
	if err := db.conn.QueryRow(ctx, "SELECT (SELECT count() FROM system.processes WHERE startsWith(query, 'INSERT INTO observations (')) + "+
		"(SELECT count() FROM system.mutations WHERE NOT is_done AND database = currentDatabase() AND table = 'observations')").Scan(&busy); err != nil {
		return false, err
	}
	if busy > 0 { // an insert whose client has given it up, or rows being changed
		return false, nil
	}
	now, err := db.parts(ctx, id)
	if err != nil {
		return false, err
	}
	late, ok := now.since(first)
	if !ok {
		return false, nil
	}
	if len(late) > 0 {
		if err := db.copyRows(ctx, "_partition_id = '"+id+"' AND _part IN ('"+strings.Join(late, "', '")+"')"); err != nil {
			return false, err
		}
	}
	have, err := db.countDay(ctx, copyTable, id)
	if err != nil {
		return false, err
	}
	want, err := db.countDay(ctx, "observations", id)
	if err != nil || have != want { // merges took a part that was to be copied
		return false, err
	}
	db.order.known = false
	for _, sql := range []string{
		"RENAME TABLE " + copyTable + " TO " + completeTable,
		"ALTER TABLE observations REPLACE PARTITION ID '" + id + "' FROM " + completeTable,
		"DROP TABLE " + completeTable + " SYNC",
	} {
		if err := db.conn.Exec(ctx, sql); err != nil {
			return false, err // whoever inserts next mends it first
		}
	}
	db.order.known = true
	return true, nil
}

func (db *DB) known() bool {
	db.order.mu.RLock()
	defer db.order.mu.RUnlock()
	return db.order.known
}

func (db *DB) copyRows(ctx context.Context, condition string) error {
	return db.conn.Exec(ctx, fmt.Sprintf("INSERT INTO %s (%s, slot) SELECT %[2]s, toStartOfInterval(slot, toIntervalSecond(%d)) FROM observations WHERE %s "+
		"SETTINGS insert_allow_materialized_columns = 1, %s", copyTable, observationColumns, int(settledSlot/time.Second), condition, copySettings))
}

func (db *DB) countDay(ctx context.Context, table, id string) (n uint64, err error) {
	err = db.conn.QueryRow(ctx, "SELECT count() FROM "+table+" WHERE _partition_id = '"+id+"'").Scan(&n)
	return n, err
}

// countHours counts the rows of a day that are by the hour, but for those whose hour a stretch begins with.
// The index answers it.
func (db *DB) countHours(ctx context.Context, id string, midnight time.Time) (n uint64, err error) {
	var slots []string
	for at := midnight; at.Before(midnight.Add(day)); at = at.Add(time.Hour) {
		if !at.Equal(at.Truncate(settledSlot)) {
			slots = append(slots, strconv.FormatInt(at.Unix(), 10))
		}
	}
	err = db.conn.QueryRow(ctx, "SELECT count() FROM observations WHERE _partition_id = '"+id+"' AND slot IN ("+strings.Join(slots, ", ")+")").Scan(&n)
	return n, err
}

// dayParts are the parts of a day, by the numbers that the database gives to inserts in their order.
type dayParts []dayPart

type dayPart struct {
	name        string
	first, last uint64 // inserts that it has
	version     uint64 // of the changes to its rows
}

func (db *DB) parts(ctx context.Context, id string) (dayParts, error) {
	rows, err := db.conn.Query(ctx, "SELECT name FROM system.parts WHERE active AND rows > 0 AND database = currentDatabase() AND table = 'observations' AND partition_id = ?", id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out dayParts
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		p, err := parsePart(name)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, rows.Err()
}

// parsePart reads a part's name: partition_first_last_level, and _version where its rows were changed.
func parsePart(name string) (dayPart, error) {
	fields := strings.Split(name, "_")
	if len(fields) != 4 && len(fields) != 5 {
		return dayPart{}, fmt.Errorf("part %q, want partition_first_last_level", name)
	}
	p := dayPart{name: name}
	for i, to := range map[int]*uint64{1: &p.first, 2: &p.last, 4: &p.version} {
		if i >= len(fields) {
			continue
		}
		var err error
		if *to, err = strconv.ParseUint(fields[i], 10, 64); err != nil {
			return dayPart{}, fmt.Errorf("part %q: %w", name, err)
		}
	}
	return p, nil
}

func (d dayParts) newest() (n uint64) {
	for _, p := range d {
		n = max(n, p.last)
	}
	return n
}

func (d dayParts) version() (n uint64) {
	for _, p := range d {
		n = max(n, p.version)
	}
	return n
}

// since returns the parts of d that hold nothing but what came after before. It is not ok when a merge has
// put some of that together with older rows, and when rows were changed.
func (d dayParts) since(before dayParts) (names []string, ok bool) {
	newest := before.newest()
	for _, p := range d {
		switch {
		case p.first > newest:
			names = append(names, p.name)
		case p.last > newest:
			return nil, false
		}
	}
	slices.Sort(names)
	return names, d.version() == before.version()
}

package storage_test

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"panormus/storage"
	"panormus/storage/schema"
	"panormus/storage/storagetest"
	"panormus/stream/batch"
	"panormus/stream/log/logtest"
)

// text is an answer's rows, each with its columns one after another.
func text(t testing.TB, db *storage.DB, sql string) string {
	t.Helper()
	read := func(ctx context.Context) (string, error) {
		body, err := db.Conn().QueryFormat(ctx, "TSV", sql)
		if err != nil {
			return "", err
		}
		defer body.Close()
		b, err := io.ReadAll(body)
		return strings.TrimSpace(string(b)), err
	}
	for ctx := within(t); ; time.Sleep(10 * time.Millisecond) {
		got, err := read(ctx)
		if err == nil {
			return got
		}
		if ctx.Err() != nil || !storage.IsAway(err) { // else it was asked over a connection to an engine that was killed
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

// everything is what the contract's tables say of observations.
func everything(t testing.TB, db *storage.DB) string {
	t.Helper()
	var out []string
	for _, table := range []string{"observations", "observations_1m", "observations_1h"} {
		out = append(out, text(t, db, "SELECT '"+table+"', count(), sum(cityHash64(*)), min(time), max(time) FROM "+table))
	}
	return strings.Join(out, "\n")
}

const byHour = "SELECT _partition_id, countIf(toHour(slot) % 4 != 0), count() FROM observations GROUP BY 1 ORDER BY 1"

// someDays fills a database with three days of ten devices, one message a minute, the last one today's.
func someDays(t testing.TB, db *storage.DB, today time.Time) {
	t.Helper()
	for d := range 3 {
		if err := db.Conn().Exec(within(t), fmt.Sprintf(`INSERT INTO observations (time, received, domain, device, metric, value, text, quality)
			SELECT fromUnixTimestamp64Milli(%d + intDiv(number, 20) * 60000, 'UTC') AS at, at, 'lighting', concat('d', toString(intDiv(number, 2) %% 10)),
				if(number %% 2 = 0, 'n', 'status'), if(number %% 2 = 0, number, nan), if(number %% 2 = 0, '', concat('s', toString(number %% 7))), 0
			FROM numbers(28800)`, today.AddDate(0, 0, d-2).UnixMilli())); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSettle(t *testing.T) {
	db := storagetest.NewDB(t)
	today := time.Now().UTC().Truncate(24 * time.Hour)
	someDays(t, db, today)
	settle := func(at time.Time, want int) {
		t.Helper()
		ctx := within(t)
		n, err := db.Settle(ctx, at)
		for err == nil && n < want && ctx.Err() == nil { // a day in which the engine merges meanwhile is left for later
			time.Sleep(10 * time.Millisecond)
			var more int
			more, err = db.Settle(ctx, at)
			n += more
		}
		if err != nil || n != want {
			t.Errorf("%d days settled, %v; want %d", n, err, want)
		}
	}
	answers := func() string {
		t.Helper()
		var out []string
		for _, q := range []storage.SeriesQuery{
			{Device: "d3", Metric: "n", From: today.AddDate(0, 0, -2), To: today.AddDate(0, 0, 1), Step: 5 * time.Minute},
			{Device: "d3", Metric: "n", From: today.Add(-25 * time.Hour), To: today.Add(-23 * time.Hour)},
			{Device: "d3", Metric: "n", From: today.AddDate(0, 0, -2).Add(90 * time.Minute), To: today.Add(90 * time.Minute), Step: time.Hour, Agg: "max"},
		} {
			points, err := db.Series(within(t), q)
			out = append(out, fmt.Sprint(len(points), points, err))
		}
		n, last := 0, int64(0)
		_, err := db.Past(within(t), storage.PastQuery{From: today.AddDate(0, 0, -2).Add(time.Hour), To: today.Add(time.Hour)}, func(o *batch.Observations) error {
			if !slices.IsSorted(o.Time) || o.Time[0] < last {
				t.Errorf("the past is not in order of time")
			}
			n, last = n+o.Len(), o.Time[o.Len()-1]
			return nil
		})
		return strings.Join(append(out, fmt.Sprint(n, err), everything(t, db)), "\n")
	}
	before := answers()
	settle(today.Add(59*time.Minute), 1) // yesterday may still go on
	settle(today.Add(61*time.Minute), 1)
	settle(today.Add(61*time.Minute), 0)
	if after := answers(); after != before {
		t.Errorf("settled, the answers are\n%.2000s\nwant\n%.2000s", after, before)
	}
	day := func(n int) string { return today.AddDate(0, 0, n).Format("20060102") }
	if got, want := text(t, db, byHour), day(-2)+"\t0\t28800\n"+day(-1)+"\t0\t28800\n"+day(0)+"\t21600\t28800"; got != want {
		t.Errorf("by the hour, of all:\n%s\nwant\n%s", got, want)
	}
	if got := text(t, db, "SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE 'observations_settl%'"); got != "" {
		t.Errorf("%s is left behind", got)
	}
	late := func(rows int) {
		t.Helper()
		if err := db.Conn().Exec(within(t), fmt.Sprintf(`INSERT INTO observations (time, received, domain, device, metric, value, text, quality)
			SELECT fromUnixTimestamp64Milli(%d + number * 1000, 'UTC'), now64(3), 'lighting', 'late', 'n', number, '', 16 FROM numbers(%d)`, today.Add(-23*time.Hour).UnixMilli(), rows)); err != nil {
			t.Fatal(err)
		}
	}
	late(1000)
	settle(today.Add(2*time.Hour), 0) // too few to sort a day again for
	late(1000)
	before = answers()
	settle(today.Add(2*time.Hour), 1)
	if after := answers(); after != before {
		t.Errorf("settled again, the answers are\n%.2000s\nwant\n%.2000s", after, before)
	}
}

// What a process leaves that was killed while it settled is mended before the next one inserts.
func TestSettleIsMended(t *testing.T) {
	today := time.Now().UTC().Truncate(24 * time.Hour)
	yesterday := today.AddDate(0, 0, -1).Format("20060102")
	server := storagetest.NewServer(t)
	open := func() *storage.DB {
		t.Helper()
		db, err := storage.Open(within(t), storage.Config{Embedded: server})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		return db
	}
	db := open()
	someDays(t, db, today)
	want := everything(t, db)
	copied := "INSERT INTO observations_settling (time, received, domain, device, metric, value, text, quality, slot) " +
		"SELECT time, received, domain, device, metric, value, text, quality, toStartOfInterval(slot, INTERVAL 4 HOUR) FROM observations WHERE _partition_id = '" + yesterday + "'"
	for _, tc := range []struct {
		name string
		left []string
	}{
		{"half a copy", []string{"CREATE TABLE observations_settling AS observations",
			copied + " AND device < 'd5' SETTINGS insert_allow_materialized_columns = 1"}},
		{"a copy that is not in its place", []string{"CREATE TABLE observations_settling AS observations",
			copied + " SETTINGS insert_allow_materialized_columns = 1", "RENAME TABLE observations_settling TO observations_settled"}},
		{"a copy that is in its place, beside the old", []string{"CREATE TABLE observations_settling AS observations",
			copied + " SETTINGS insert_allow_materialized_columns = 1", "RENAME TABLE observations_settling TO observations_settled",
			"ALTER TABLE observations ATTACH PARTITION ID '" + yesterday + "' FROM observations_settled"}},
	} {
		for _, sql := range tc.left {
			if err := db.Conn().Exec(within(t), sql); err != nil {
				t.Fatalf("%s: %v", tc.name, err)
			}
		}
		db = open() // the next process
		l := logtest.New(t, nil)
		_, stop := running(t, db, l, storage.WriterConfig{MaxWait: time.Millisecond})
		o := &batch.Observations{}
		observation(o, today.Add(-time.Hour), "later", "n", 1, "", 0)
		data, err := o.Encode()
		publish(t, l, batch.KindObservations, data, err)
		for text(t, db, "SELECT count() FROM observations WHERE device = 'later'") != "1" {
			if t.Context().Err() != nil {
				t.Fatal("the row is not stored")
			}
			time.Sleep(10 * time.Millisecond)
		}
		stop()
		if err := db.Conn().Exec(within(t), "ALTER TABLE observations DELETE WHERE device = 'later' SETTINGS mutations_sync = 1"); err != nil {
			t.Fatal(err)
		}
		if got := text(t, db, "SELECT count(), sum(cityHash64(*)) FROM observations"); !strings.Contains(want, got) {
			t.Errorf("%s: %s, want %s", tc.name, got, want)
		}
		if got := text(t, db, "SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE 'observations_settl%'"); got != "" {
			t.Errorf("%s: %s is left behind", tc.name, got)
		}
	}
}

// The database is killed over and over while a day is settled and late rows for it come, and someone reads:
// no row is there twice, or not there any more, at any moment.
func TestSettleThroughKills(t *testing.T) {
	server := storagetest.NewServer(t)
	db, err := storage.Open(within(t), storage.Config{Embedded: server})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	l := logtest.New(t, nil)
	t.Logf("seed %d", os.Getpid())
	rng := rand.New(rand.NewPCG(uint64(os.Getpid()), 2))
	midnight := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, -1)
	const rounds, batches, each = 6, 5, 2000
	said := 0
	say := func() {
		t.Helper()
		for range batches {
			o := &batch.Observations{}
			for range each {
				observation(o, midnight.Add(time.Duration(said)*700*time.Millisecond), fmt.Sprint("d", said%50), "n", float64(said), "", 0)
				said++
			}
			data, err := o.Encode()
			publish(t, l, batch.KindObservations, data, err)
		}
	}
	w, stop := running(t, db, l, storage.WriterConfig{MaxRows: 3 * each, MaxWait: time.Millisecond})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	settled, looks := 0, 0
	wg.Go(func() {
		for ctx.Err() == nil {
			if n, err := db.Settle(ctx, midnight.AddDate(0, 0, 2)); err == nil {
				settled += n
			} else if ctx.Err() == nil && !storage.IsAway(err) {
				t.Logf("settle: %v", err) // what a killed database says is not always that it is away
			}
		}
	})
	wg.Go(func() {
		for before := uint64(0); ctx.Err() == nil; {
			var n, distinct uint64
			if err := db.Conn().QueryRow(ctx, "SELECT count(), uniqExact(value) FROM observations").Scan(&n, &distinct); err != nil {
				continue
			}
			looks++
			if n != distinct || n < before {
				t.Errorf("%d rows of which %d differ, %d before", n, distinct, before)
				return
			}
			before = n
		}
	})
	for range rounds {
		if err := server.Ready(within(t)); err != nil {
			t.Fatal(err)
		}
		say()
		time.Sleep(time.Duration(rng.IntN(1200)) * time.Millisecond) // a random moment is the point here
		if pid := server.PID(); pid != 0 {
			syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	caughtUp(t, w)
	stop()
	cancel()
	wg.Wait()
	all := func() {
		t.Helper()
		if got, want := text(t, db, "SELECT count(), uniqExact(value), (SELECT sum(count) FROM observations_1h) FROM observations"), fmt.Sprintf("%d\t%[1]d\t%[1]d", said); got != want {
			t.Errorf("rows, different ones, rolled up: %q, want %q", got, want)
		}
	}
	all()
	if n, err := db.Settle(within(t), midnight.AddDate(0, 0, 2)); err != nil {
		t.Error(n, err)
	}
	all()
	t.Logf("%d settled, %d looks", settled, looks)
}

// A database of the schema before slots is opened: its rows are moved, with their end, and what is fed and
// shown by observations goes on; killed in between, too.
func TestMoveToSlots(t *testing.T) {
	server := storagetest.NewServer(t)
	conn, err := storage.Open(within(t), storage.Config{Embedded: server})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	exec := func(sql string) {
		t.Helper()
		if err := conn.Conn().Exec(within(t), sql); err != nil {
			t.Fatalf("%.100s: %v", sql, err)
		}
	}
	// Back to what the migrations before made.
	for _, sql := range []string{"DROP TABLE observations_1h_feed", "DROP TABLE observations_text_feed", "DROP TABLE observations SYNC", "ALTER TABLE schema_migrations DELETE WHERE version = 5 SETTINGS mutations_sync = 1"} {
		exec(sql)
	}
	first, err := fs.ReadFile(schema.Files, "0001_observations.sql")
	if err != nil {
		t.Fatal(err)
	}
	for sql := range strings.SplitSeq(string(first), ";\n") {
		if strings.Contains(sql, "CREATE") {
			exec(sql)
		}
	}
	exec("ALTER TABLE observations MODIFY TTL toDateTime(time) + toIntervalSecond(1000000000)")
	today := time.Now().UTC().Truncate(24 * time.Hour)
	someDays(t, conn, today)
	want := everything(t, conn)
	// A move that was cut off in its second day.
	second, err := fs.ReadFile(schema.Files, "0005_slots.sql")
	if err != nil {
		t.Fatal(err)
	}
	exec(strings.TrimSuffix(strings.TrimSpace(string(second)), ";"))
	exec("INSERT INTO observations_next (time, received, domain, device, metric, value, text, quality) SELECT * FROM observations WHERE time >= toDateTime64('" +
		today.Format(time.DateOnly) + " 00:00:00', 3, 'UTC') - INTERVAL 6 HOUR")
	for range 2 { // and opened again
		db, err := storage.Open(within(t), storage.Config{Embedded: server, Retention: map[string]time.Duration{"observations": 1000000000 * time.Second}})
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if got := everything(t, db); got != want {
			t.Errorf("moved, there is\n%s\nwant\n%s", got, want)
		}
		if got := text(t, db, "SELECT sorting_key, position(engine_full, 'toIntervalSecond(1000000000)') > 0 FROM system.tables WHERE database = currentDatabase() AND name LIKE 'observations' UNION ALL "+
			"SELECT name, 1 FROM system.tables WHERE database = currentDatabase() AND name LIKE 'observations_next'"); got != "slot, device, time, metric\t1" {
			t.Errorf("the table is of %q", got)
		}
	}
	exec("INSERT INTO observations (time, received, domain, device, metric, value, text, quality) SELECT now64(3), now64(3), 'lighting', 'new', 'n', 1, '', 0")
	if got := text(t, conn, "SELECT sum(count) FROM observations_1h WHERE device = 'new' UNION ALL SELECT sum(count) FROM observations_1m WHERE device = 'new'"); got != "1\n1" {
		t.Errorf("a new row is counted %q times", got)
	}
}

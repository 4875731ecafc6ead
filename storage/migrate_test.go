package storage

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"panormus/storage/schema"
)

func TestMigrations(t *testing.T) {
	all, err := migrations(schema.Files)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		for _, sql := range m.sql {
			if !strings.Contains(sql, "IF NOT EXISTS") && strings.HasPrefix(sql, "CREATE") {
				t.Errorf("%04d_%s: a statement that cannot run twice: %s", m.version, m.name, sql)
			}
		}
	}
	got, err := migrations(fstest.MapFS{"0001_a.sql": {Data: []byte("-- one; not the end\nCREATE TABLE a\n(\n  b String -- c\n)\nENGINE = Memory;\n\nCREATE TABLE d (e String DEFAULT ';x') ENGINE = Memory;\n")}})
	if err != nil || len(got) != 1 || len(got[0].sql) != 2 || !strings.HasPrefix(got[0].sql[1], "CREATE TABLE d") || !strings.HasSuffix(got[0].sql[1], "Memory") {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := migrations(fstest.MapFS{"0002_a.sql": {}}); err == nil {
		t.Error("a gap in the numbers is not noticed")
	}
}

func TestOpen(t *testing.T) {
	db, server := openBench(t)
	again, err := Open(t.Context(), Config{Embedded: server, Retention: map[string]time.Duration{"observations": 10 * day, "rejected": 0, "observations_1h": 90 * day}})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	ttl := func(table string) string {
		t.Helper()
		var engine string
		if err := db.conn.QueryRow(t.Context(), "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = ?", table).Scan(&engine); err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(engine, " TTL ")
		before, _, _ := strings.Cut(rest, " SETTINGS")
		return before
	}
	for table, want := range map[string]string{
		"observations": "toDateTime(time) + toIntervalSecond(864000)", "rejected": "", "observations_1h_state": "toDateTime(time) + toIntervalSecond(7776000)",
		"detections_log": "expires", "tracks_log": "expires", "plates_log": "expires", "vds_counts_1m_log": "toDateTime(time) + toIntervalSecond(34560000)",
	} {
		if got := ttl(table); got != want {
			t.Errorf("TTL of %s is %q, want %q", table, got, want)
		}
	}
	if _, err := Open(t.Context(), Config{Embedded: server, Retention: map[string]time.Duration{"observation": day}}); err == nil || !strings.Contains(err.Error(), "observations") {
		t.Errorf("retention of a table that is none: %v", err)
	}
	if _, err := Open(t.Context(), Config{}); err == nil {
		t.Error("neither DSN nor embedded is taken")
	}
	if _, err := Open(t.Context(), Config{DSN: "clickhouse://u:geheim@[::1"}); err == nil || strings.Contains(err.Error(), "geheim") {
		t.Errorf("a broken DSN: %v", err)
	}
	reg := prometheus.NewRegistry()
	for range 2 { // whoever waits for it opens again and again
		if _, err := Open(t.Context(), Config{DSN: "http://127.0.0.1:1/default", Metrics: reg}); !IsAway(err) {
			t.Errorf("nobody at the DSN: %v, want IsAway", err)
		}
	}
	// The same server by DSN, as a reader: enough to see that the DSN's way works.
	if err := db.conn.Exec(t.Context(), "INSERT INTO schema_migrations SELECT 9999, 'later', '', now64(3)"); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Config{Embedded: server}); err == nil || IsAway(err) || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("a database of a newer version: %v", err)
	}
	if _, err := Open(t.Context(), Config{DSN: "http://" + server.Addr()}); err == nil || IsAway(err) {
		t.Errorf("a server that only reads: %v, want it refused for good", err)
	}
}

package storage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"panormus/storage/schema"
)

type migration struct {
	version uint32
	name    string
	sum     string
	sql     []string
}

const migrationsTable = `CREATE TABLE IF NOT EXISTS schema_migrations
(
    version UInt32,
    name    String,
    sum     String,
    applied DateTime64(3, 'UTC')
)
ENGINE = MergeTree ORDER BY version`

// migrate runs what the database has not had yet, in order. A statement may be run twice, after a
// crash between it and the record of its file.
func (db *DB) migrate(ctx context.Context) error {
	all, err := migrations(schema.Files)
	if err != nil {
		return err
	}
	if err := db.conn.Exec(ctx, migrationsTable); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	var have []struct {
		Version uint32 `ch:"version"`
		Sum     string `ch:"sum"`
	}
	if err := db.conn.Select(ctx, &have, "SELECT version, any(sum) AS sum FROM schema_migrations GROUP BY version ORDER BY version"); err != nil {
		return fmt.Errorf("migrate: read what was done: %w", err)
	}
	newest := all[len(all)-1].version
	done := map[uint32]string{}
	for _, h := range have {
		if h.Version > newest {
			return fmt.Errorf("the database has schema %d and this program knows up to %d: it was used by a newer version, run that one", h.Version, newest)
		}
		done[h.Version] = h.Sum
	}
	for _, m := range all {
		if sum, ok := done[m.version]; ok {
			if sum != m.sum {
				return fmt.Errorf("migration %04d_%s is not the one that made this database: its file was changed after it was run", m.version, m.name)
			}
			continue
		}
		for _, sql := range m.sql {
			if err := db.conn.Exec(ctx, sql); err != nil {
				return fmt.Errorf("migrate: %04d_%s: %w", m.version, m.name, err)
			}
		}
		if m.name == "slots" {
			if err := db.moveToSlots(ctx); err != nil {
				return fmt.Errorf("migrate: %04d_%s: %w", m.version, m.name, err)
			}
		}
		if err := db.conn.Exec(ctx, "INSERT INTO schema_migrations SELECT ?, ?, ?, ?",
			m.version, m.name, m.sum, time.Now().UTC().Format("2006-01-02 15:04:05.000")); err != nil {
			return fmt.Errorf("migrate: record %04d_%s: %w", m.version, m.name, err)
		}
		db.cfg.Log.Info("database schema migrated", "version", m.version, "name", m.name)
	}
	return nil
}

func migrations(files fs.FS) ([]migration, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var out []migration
	for i, name := range names {
		number, rest, ok := strings.Cut(strings.TrimSuffix(name, ".sql"), "_")
		version, err := strconv.ParseUint(number, 10, 32)
		if !ok || err != nil || int(version) != i+1 {
			return nil, fmt.Errorf("BUG: migration %s, want number %04d", name, i+1)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(text)
		out = append(out, migration{version: uint32(version), name: rest, sum: hex.EncodeToString(sum[:8]), sql: statements(string(text))})
	}
	return out, nil
}

// statements splits a file at semicolons that end a line, leaving out comments and blanks.
func statements(text string) []string {
	var out []string
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "--") {
			continue
		}
		trimmed := strings.TrimRight(line, " \r\n")
		if s, ended := strings.CutSuffix(trimmed, ";"); ended {
			b.WriteString(s)
			out = append(out, strings.TrimSpace(b.String()))
			b.Reset()
			continue
		}
		b.WriteString(line)
	}
	if s := strings.TrimSpace(b.String()); s != "" {
		out = append(out, s)
	}
	return out
}

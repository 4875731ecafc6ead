package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// nextObservations is the table that observations move to, in a database made before they had slots.
const nextObservations = "observations_next"

// moveToSlots fills the table with slots from the one without, a day at a time, and changes their names at
// last: whoever reads observations sees all of them all the while, and it takes the room of both for as long.
// Killed in between it goes on where it was. Nobody writes observations meanwhile, and the rollups have what
// is moved.
func (db *DB) moveToSlots(ctx context.Context) (err error) {
	moved, err := db.haveSlots(ctx)
	if err != nil {
		return err
	}
	if !moved {
		// What has expired is counted and copied like the rest: each table would drop it at a time of its own,
		// and the two were never found to have the same rows.
		for _, table := range []string{"observations", nextObservations} {
			if err := db.conn.Exec(ctx, "SYSTEM STOP TTL MERGES "+table); err != nil {
				return err
			}
		}
		defer func() {
			err = errors.Join(err, db.conn.Exec(context.WithoutCancel(ctx), "SYSTEM START TTL MERGES"))
		}()
		if err := db.fillNext(ctx); err != nil {
			return err
		}
		// Another process that was started with this one may have been at it too.
		if moved, err = db.haveSlots(ctx); err != nil {
			return err
		}
	}
	if !moved {
		var old, next uint64
		if err := db.conn.QueryRow(ctx, "SELECT (SELECT count() FROM observations), (SELECT count() FROM "+nextObservations+")").Scan(&old, &next); err != nil {
			return err
		}
		if old != next {
			return fmt.Errorf("%d rows of %d are in the new order: another process is at it, or writes", next, old)
		}
		if err := db.conn.Exec(ctx, "EXCHANGE TABLES observations AND "+nextObservations); err != nil {
			return err
		}
	}
	return db.conn.Exec(ctx, "DROP TABLE IF EXISTS "+nextObservations)
}

func (db *DB) haveSlots(ctx context.Context) (bool, error) {
	var n uint64
	err := db.conn.QueryRow(ctx, "SELECT count() FROM system.columns WHERE database = currentDatabase() AND table = 'observations' AND name = 'slot'").Scan(&n)
	return n > 0, err
}

func (db *DB) fillNext(ctx context.Context) error {
	var engine string
	if err := db.conn.QueryRow(ctx, "SELECT engine_full FROM system.tables WHERE database = currentDatabase() AND name = 'observations'").Scan(&engine); err != nil {
		return err
	}
	// Before there are rows: a table that has some works out their end anew.
	if _, rest, ok := strings.Cut(engine, " TTL "); ok {
		ttl, _, _ := strings.Cut(rest, " SETTINGS ")
		if err := db.conn.Exec(ctx, "ALTER TABLE "+nextObservations+" MODIFY TTL "+ttl); err != nil {
			return err
		}
	}
	days, err := db.partitions(ctx, "SELECT partition_id FROM system.parts WHERE active AND database = currentDatabase() AND table = 'observations' "+
		"GROUP BY partition_id ORDER BY partition_id DESC")
	if err != nil {
		return err
	}
	for i, id := range days {
		want, err := db.countDay(ctx, "observations", id)
		if err != nil {
			return err
		}
		have, err := db.countDay(ctx, nextObservations, id)
		if err != nil {
			return err
		}
		if have == want {
			continue
		}
		if err := db.conn.Exec(ctx, "ALTER TABLE "+nextObservations+" DROP PARTITION ID '"+id+"'"); err != nil {
			return err
		}
		if err := db.conn.Exec(ctx, fmt.Sprintf("INSERT INTO %s (%s) SELECT %[2]s FROM observations WHERE _partition_id = '%s' SETTINGS %s",
			nextObservations, observationColumns, id, copySettings)); err != nil {
			return err
		}
		db.cfg.Log.Info("a day of observations moved to the new order", "day", id, "rows", want, "left", len(days)-1-i)
	}
	return nil
}

// copySettings are those of a statement that copies observations, in blocks of some tens of megabytes of memory.
const copySettings = "max_threads = 1, max_insert_threads = 1, max_block_size = 65536, min_insert_block_size_rows = 1000000, " +
	"min_insert_block_size_bytes = 0, optimize_on_insert = 0, insert_deduplicate = 0, max_partitions_per_insert_block = 0"

package storage

import (
	"context"
	"fmt"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// insertSettings make one insert one block of one thread, cut nowhere, so that the same rows make
// the same parts however often they are sent; the token tells the tables, those behind
// materialized views too, that they have had them.
func insertSettings(token string) clickhouse.Settings {
	s := clickhouse.Settings{
		"max_insert_threads": 1, "max_insert_block_size": 1 << 24, "min_insert_block_size_rows": 0, "min_insert_block_size_bytes": 0,
		"max_partitions_per_insert_block":                    0, // a device may send what it kept for months
		"async_insert":                                       0,
		"deduplicate_blocks_in_dependent_materialized_views": 1,
		"optimize_on_insert":                                 0,
		"materialized_views_ignore_errors":                   0,
		"parallel_view_processing":                           0,
		"input_format_parallel_parsing":                      0,
		// The rollup of a large group is one block too: a two-level aggregation would give 256, each
		// a part of its own to write, merge and remove.
		"group_by_two_level_threshold":       0,
		"group_by_two_level_threshold_bytes": 0,
		"max_block_size":                     1 << 20,
		// A text in an event's context stays the text it is, though it may look like a date.
		"input_format_try_infer_dates":     0,
		"input_format_try_infer_datetimes": 0,
	}
	if token != "" {
		s["insert_deduplicate"] = 1
		s["insert_deduplication_token"] = token
	}
	return s
}

const insertObservations = "INSERT INTO observations (" + observationColumns + ")"

// insertBody sends a group as one Native body, which any ClickHouse takes over HTTP.
func (db *DB) insertBody(ctx context.Context, g *observationGroup) error {
	return db.conn.InsertFormat(ctx, "Native", insertObservations, g.body())
}

// insertBatch sends a group through the client's batch, for servers reached by the native protocol.
func (db *DB) insertBatch(ctx context.Context, g *observationGroup) error {
	b, err := db.conn.PrepareBatch(ctx, insertObservations)
	if err != nil {
		return err
	}
	defer b.Close()
	for _, o := range g.batches {
		n := o.Len()
		domain, device, metric, text := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
		for i := range n {
			domain[i], device[i], metric[i], text[i] = o.Domain.At(i), o.Device.At(i), o.Metric.At(i), o.Text.At(i)
		}
		for i, col := range []any{o.Time, o.Received, domain, device, metric, o.Value, text, o.Quality} {
			if err := b.Column(i).Append(col); err != nil {
				return &rowError{fmt.Errorf("column %d: %w", i, err)}
			}
		}
	}
	return b.Send()
}

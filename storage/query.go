package storage

import (
	"context"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
)

// queryTimeout bounds a query that answers a person.
const queryTimeout = 30 * time.Second

// queryContext bounds one query in time and in what it may take of the server.
func (db *DB) queryContext(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	return clickhouse.Context(ctx, clickhouse.WithSettings(withinSettings(clickhouse.Settings{
		"max_execution_time": int(queryTimeout / time.Second), "max_memory_usage": 400 << 20,
	}))), cancel
}

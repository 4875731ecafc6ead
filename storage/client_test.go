package storage_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2"

	"panormus/storage/storagetest"
)

// Other people's Go programs, and Grafana, come with this client and settings of their own.
func TestOtherClients(t *testing.T) {
	server := storagetest.NewServer(t)
	dial := func(ctx context.Context, _ string) (net.Conn, error) { return server.Dial(ctx) }
	for i, method := range []clickhouse.CompressionMethod{clickhouse.CompressionNone, clickhouse.CompressionLZ4, clickhouse.CompressionZSTD, clickhouse.CompressionGZIP, clickhouse.CompressionDeflate} {
		conn, err := clickhouse.Open(&clickhouse.Options{Protocol: clickhouse.HTTP, Addr: []string{"localhost:80"}, DialContext: dial,
			Compression: &clickhouse.Compression{Method: method, Level: 3}, Auth: clickhouse.Auth{Database: "default", Username: "default"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.Exec(within(t), fmt.Sprintf("CREATE TABLE t%d (a UInt32, s LowCardinality(String), n Nullable(Float64)) ENGINE = MergeTree ORDER BY a", i)); err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		b, err := conn.PrepareBatch(within(t), fmt.Sprintf("INSERT INTO t%d", i))
		if err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		for k := range uint32(100_000) {
			if err := b.Append(k, strings.Repeat("x", int(k%7)), nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Send(); err != nil {
			t.Fatalf("%s: %v", method, err)
		}
		conn.Close()
		for name, opt := range map[string]*clickhouse.Options{
			"writer": {Addr: []string{"localhost:80"}, DialContext: dial},
			"reader": {Addr: []string{server.Addr()}},
		} {
			opt.Protocol, opt.Compression = clickhouse.HTTP, &clickhouse.Compression{Method: method, Level: 3}
			conn, err := clickhouse.Open(opt)
			if err != nil {
				t.Fatal(err)
			}
			rows, err := conn.Query(within(t), fmt.Sprintf("SELECT a, s, n FROM t%d WHERE a >= ? ORDER BY a", i), 10)
			if err != nil {
				t.Fatalf("%s %s: %v", name, method, err)
			}
			want := uint32(10)
			for rows.Next() {
				var a uint32
				var s string
				var n *float64
				if err := rows.Scan(&a, &s, &n); err != nil || a != want || len(s) != int(a%7) || n != nil {
					t.Fatalf("%s %s: row %d %q %v, %v; want %d", name, method, a, s, n, err, want)
				}
				want++
			}
			if err := rows.Err(); err != nil || want != 100_000 {
				t.Errorf("%s %s: %d rows, %v", name, method, want, err)
			}
			err = conn.QueryRow(within(t), "SELECT throwIf(1, 'gone wrong')").Err()
			if ex, ok := errors.AsType[*clickhouse.Exception](err); !ok || ex.Code != 395 {
				t.Errorf("%s %s: %v, want exception 395", name, method, err)
			}
			conn.Close()
		}
	}
}

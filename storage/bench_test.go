package storage

import (
	"context"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"

	"panormus/storage/embedded"
)

// openBench opens a database for an internal benchmark; storagetest cannot be imported from here.
func openBench(b testing.TB) (*DB, *embedded.Server) {
	binary := os.Getenv("PANORMUS_CHDBD")
	if binary == "" {
		binary = "../bin/chdbd"
	}
	s, err := embedded.New(embedded.Config{Dir: b.TempDir(), Binary: binary})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	b.Cleanup(func() { cancel(); <-done })
	if err := s.Ready(ctx); err != nil {
		b.Fatal(err)
	}
	db, err := Open(ctx, Config{Embedded: s})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	return db, s
}

// cpu is what this process and the one of pid have used so far.
func cpu(b testing.TB, pid int) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	total := time.Duration(u.Utime.Nano() + u.Stime.Nano())
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+2:]))
	for _, f := range fields[11:13] {
		ticks, _ := strconv.ParseInt(f, 10, 64)
		total += time.Duration(ticks) * time.Second / 100
	}
	return total
}

// BenchmarkInsert stores a simulated city, rollups included, and reports the processor time a row of
// this process and the database together, and after a final merge the bytes a row on disk.
func BenchmarkInsert(b *testing.B) {
	for _, path := range []struct {
		name   string
		insert func(db *DB, ctx context.Context, g *observationGroup) error
	}{
		{"body", (*DB).insertBody}, {"batch", (*DB).insertBatch},
	} {
		for _, size := range []int{50_000, 500_000} {
			b.Run(fmt.Sprintf("%s/rows=%d", path.name, size), func(b *testing.B) {
				db, server := openBench(b)
				city := newSimulatedCity(time.Date(2026, 3, 3, 15, 0, 0, 0, time.UTC), 1)
				var groups []*observationGroup
				var rows int64
				g := &observationGroup{}
				for rows < 2_000_000 {
					for _, o := range city.run(30*time.Second, 2) {
						g.add(o)
						if g.rows >= size {
							groups = append(groups, g)
							rows += int64(g.rows)
							g = &observationGroup{}
						}
					}
				}
				b.ResetTimer()
				var stored atomic.Int64
				began, used := time.Now(), cpu(b, server.PID())
				for range b.N {
					for _, g := range groups {
						if err := path.insert(db, b.Context(), g); err != nil {
							b.Fatal(err)
						}
						stored.Add(int64(g.rows))
					}
				}
				n := float64(stored.Load())
				b.ReportMetric(float64(time.Since(began).Nanoseconds())/n, "ns/row")
				b.ReportMetric(float64((cpu(b, server.PID())-used).Nanoseconds())/n, "cpu-ns/row")
				b.StopTimer()
				var count uint64
				if err := db.conn.QueryRow(b.Context(), "SELECT count() FROM observations").Scan(&count); err != nil || int64(count) != stored.Load() {
					b.Fatalf("count = %d, %v; want %d", count, err, stored.Load())
				}
				for _, table := range []string{"observations", "observations_1h_state"} {
					if err := db.conn.Exec(b.Context(), "OPTIMIZE TABLE "+table+" FINAL"); err != nil {
						b.Fatal(err)
					}
					var bytes uint64
					if err := db.conn.QueryRow(b.Context(), "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = ?", table).Scan(&bytes); err != nil {
						b.Fatal(err)
					}
					b.ReportMetric(float64(bytes)/n, strings.TrimPrefix(table, "observations")+"B/row")
				}
			})
		}
	}
}

// BenchmarkInsertDetections stores what a thousand cameras see, and reports as BenchmarkInsert does;
// body-ns/row is what making the bodies takes of it.
func BenchmarkInsertDetections(b *testing.B) {
	for _, size := range []int{20_000, 80_000} {
		b.Run(fmt.Sprintf("rows=%d", size), func(b *testing.B) {
			db, server := openBench(b)
			s := newSimulatedCameras(1000, time.Now().Add(-time.Hour), 1)
			var groups []detectionRows
			var rows int
			var g detectionRows
			for rows < 1_000_000 {
				for _, d := range s.run(time.Second, 2000) {
					g = append(g, d)
					if g.len() >= size {
						groups = append(groups, g)
						rows += g.len()
						g = nil
					}
				}
			}
			b.ResetTimer()
			stored := 0
			began, used := time.Now(), cpu(b, server.PID())
			for range b.N {
				for _, g := range groups {
					if err := g.insert(clickhouse.Context(b.Context(), clickhouse.WithSettings(insertSettings(fmt.Sprint(stored)))), db); err != nil {
						b.Fatal(err)
					}
					stored += g.len()
				}
			}
			n := float64(stored)
			b.ReportMetric(float64(time.Since(began).Nanoseconds())/n, "ns/row")
			b.ReportMetric(float64((cpu(b, server.PID())-used).Nanoseconds())/n, "cpu-ns/row")
			b.StopTimer()
			began = time.Now()
			for _, g := range groups {
				io.Copy(io.Discard, g.body(0))
			}
			b.ReportMetric(float64(time.Since(began).Nanoseconds())/float64(rows), "body-ns/row")
			var count uint64
			if err := db.conn.QueryRow(b.Context(), "SELECT count() FROM detections").Scan(&count); err != nil || int(count) != stored {
				b.Fatalf("count = %d, %v; want %d", count, err, stored)
			}
			used = cpu(b, server.PID())
			if err := db.conn.Exec(b.Context(), "OPTIMIZE TABLE detections_log FINAL"); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64((cpu(b, server.PID())-used).Nanoseconds())/n, "final-merge-ns/row")
			var bytes uint64
			if err := db.conn.QueryRow(b.Context(), "SELECT sum(bytes_on_disk) FROM system.parts WHERE active AND table = 'detections_log'").Scan(&bytes); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(bytes)/n, "B/row")
			if os.Getenv("PANORMUS_BENCH_COLUMNS") != "" {
				r, err := db.conn.Query(b.Context(), "SELECT column, sum(column_data_compressed_bytes) FROM system.parts_columns WHERE active AND table = 'detections_log' GROUP BY column ORDER BY 2 DESC")
				if err != nil {
					b.Fatal(err)
				}
				for r.Next() {
					var name string
					var size uint64
					r.Scan(&name, &size)
					b.Logf("%-14s %6.3f", name, float64(size)/n)
				}
			}
		})
	}
}

package storage

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"panormus/stream/batch"
	"panormus/stream/rules"
)

// BenchmarkBacktest tries rules on an hour and more of a simulated city of 5,000 lamps and others, and
// reports readings a second, of what the rule reads and of what the past holds, and the processor time
// that one takes, the database's included.
func BenchmarkBacktest(b *testing.B) {
	db, server := openBench(b)
	start := time.Now().UTC().Truncate(24 * time.Hour).Add(-48 * time.Hour).Add(15 * time.Hour)
	city := newSimulatedCity(start, 1)
	rows := 0
	for rows < 4_000_000 {
		g := &observationGroup{}
		for g.rows < 500_000 {
			for _, o := range city.run(30*time.Second, 2) {
				g.add(o)
			}
		}
		rows += g.rows
		if err := db.insertBody(b.Context(), g); err != nil {
			b.Fatal(err)
		}
	}
	if n, err := db.Settle(b.Context(), time.Now()); err != nil || n != 1 { // as the past lies
		b.Fatalf("%d days settled, %v; want 1", n, err)
	}
	end := time.UnixMilli(city.now)
	for name, rule := range map[string]string{
		"filter": "{id: r, domain: lighting, when: power_w > 85}",
		"for":    "{id: r, domain: lighting, when: 'power_w > 20 && dimming < 0.5', for: 15m, clear: power_w < 5}",
		"absent": "{id: r, absent: 30m}",
		"all":    "{id: r, when: 'flagged(\"late\")'}",
		"window": "{id: r, domain: lighting, when: v > 80, window: {type: tumbling, size: 5m}, let: {v: avg(power_w)}}",
	} {
		b.Run(name, func(b *testing.B) {
			set, err := rules.Parse("bench", []byte("rules: ["+strings.TrimSpace(rule)+"]"))
			if err != nil {
				b.Fatal(err)
			}
			var readings int64
			began, used := time.Now(), cpu(b, server.PID())
			for range b.N {
				t := rules.Backtest{Rule: set.Rules[0], From: start, To: end}
				t.Read = func(ctx context.Context, p rules.Past, each func(*batch.Observations) error) (int64, error) {
					return db.Past(ctx, PastQuery{From: p.From, To: p.To, Domain: p.Domain, Metrics: p.Metrics}, each)
				}
				r, err := t.Run(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				readings += r.Readings
			}
			b.ReportMetric(float64(readings)/time.Since(began).Seconds(), "readings/s")
			b.ReportMetric(float64(rows*b.N)/time.Since(began).Seconds(), "past-readings/s")
			b.ReportMetric(float64((cpu(b, server.PID())-used).Nanoseconds())/float64(readings), "cpu-ns/reading")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkBacktestDetections tries rules on a million detections, read as blocks and, as from a server that is
// reached by the native protocol, row by row.
func BenchmarkBacktestDetections(b *testing.B) {
	db, server := openBench(b)
	start := time.Now().UTC().Truncate(time.Hour).Add(-2 * time.Hour)
	s := newSimulatedCameras(1000, start, 1)
	rows := 0
	for rows < 1_000_000 {
		var g detectionRows
		for g.len() < 80_000 {
			for _, d := range s.run(time.Second, 2000) {
				g = append(g, d)
			}
		}
		if err := g.insert(b.Context(), db); err != nil {
			b.Fatal(err)
		}
		rows += g.len()
	}
	for _, rule := range []struct{ name, text string }{
		{"filter", `{id: r, on: detections, when: 'class == "person" && score > 0.99'}`},
		{"track", `{id: r, on: detections, when: 'speed_mps > 30', key: track}`},
		{"window", `{id: r, on: detections, when: n > 100000, window: {type: tumbling, size: 1m}, let: {n: count()}, key: camera}`},
	} {
		set, err := rules.Parse("bench", []byte("rules: ["+rule.text+"]"))
		if err != nil {
			b.Fatal(err)
		}
		for _, blocks := range []bool{true, false} {
			b.Run(fmt.Sprintf("%s/blocks=%v", rule.name, blocks), func(b *testing.B) {
				db.http = blocks
				defer func() { db.http = true }()
				var readings int64
				began, used := time.Now(), cpu(b, server.PID())
				for range b.N {
					t := rules.Backtest{Rule: set.Rules[0], From: start, To: start.Add(2 * time.Hour)}
					t.ReadRows = func(ctx context.Context, _ string, p rules.Past, each func(*rules.Row) error) (int64, error) {
						return db.PastDetections(ctx, p.From, p.To, p.Metrics, nil, func(d *batch.Detections) (bad error) {
							rules.Detections(d, func(row *rules.Row) {
								if bad == nil {
									bad = each(row)
								}
							})
							return bad
						})
					}
					r, err := t.Run(b.Context())
					if err != nil {
						b.Fatal(err)
					}
					readings += r.Readings
				}
				if readings < int64(rows*b.N*9/10) { // some only refresh what was said
					b.Fatalf("%d rows, want about %d", readings, rows*b.N)
				}
				b.ReportMetric(float64(readings)/time.Since(began).Seconds(), "rows/s")
				b.ReportMetric(float64((cpu(b, server.PID())-used).Nanoseconds())/float64(readings), "cpu-ns/row")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

package storage

import (
	"context"
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

package storage

import (
	"context"
	"fmt"
	"testing"
	"time"

	"panormus/stream/batch"
	"panormus/stream/rules"
)

// BenchmarkBacktestRows tries a rule on 400,000 rows of each of the kinds that are not detections, read as blocks
// and, as from a server that is reached by the native protocol, row by row.
func BenchmarkBacktestRows(b *testing.B) {
	const rows = 400_000
	db, server := openBench(b)
	start := time.Now().UTC().Truncate(time.Hour).Add(-4 * time.Hour)
	for _, k := range []struct{ on, insert, rule string }{
		{rules.OnUplinks, `uplinks (time, device, dev_eui, gateway, rssi_dbm, data_rate, f_cnt)
			SELECT t, concat('d', toString(number % 5000)), 'e', concat('gw', toString(number % 40)), -100 + number % 20, 'SF7BW125', number`,
			`{id: r, on: uplinks, when: rssi_dbm < -100 && data_rate == "SF12"}`},
		{rules.OnTracks, `tracks_log (id, camera, track, start, end, received, class, score, speed_mps, expires)
			SELECT toString(number), concat('c', toString(number % 500)), toString(number), t - 5, t, t, if(number % 7 = 0, 'car', 'person'), 0.5, number % 30, now() + 86400`,
			`{id: r, on: tracks, when: 'class == "car" && speed_mps > 50'}`},
		{rules.OnCounts, `vds_counts_1m_log (time, received, camera, zone, class, seen, version)
			SELECT toStartOfMinute(t), t, concat('c', toString(number % 4000)), 'z', if(number % 2 = 0, 'car', 'person'), number % 30, 1`,
			`{id: r, on: counts, when: seen > 50}`},
		{rules.OnEvents, `events_log (time, received, id, rule, severity, state, domain, device, zone, key, text, context)
			SELECT t, t, toString(number), concat('rule', toString(number % 50)), 'warning', 'raised', 'lighting', concat('d', toString(number % 5000)), 'z', toString(number % 5000), 'a text', '{"values":{"power_w":3.5}}'`,
			`{id: r, on: events, domain: lighting, when: 'severity == "critical"'}`},
	} {
		if err := db.conn.Exec(b.Context(), fmt.Sprintf("INSERT INTO %s FROM (SELECT number, toDateTime64(%d, 3, 'UTC') + number / 30 AS t FROM numbers(%d))", k.insert, start.Unix(), rows)); err != nil {
			b.Fatal(err)
		}
		set, err := rules.Parse("bench", []byte("rules: ["+k.rule+"]"))
		if err != nil {
			b.Fatal(err)
		}
		for _, blocks := range []bool{true, false} {
			b.Run(fmt.Sprintf("%s/blocks=%v", k.on, blocks), func(b *testing.B) {
				db.http = blocks
				defer func() { db.http = true }()
				t := rules.Backtest{Rule: set.Rules[0], From: start, To: start.Add(4 * time.Hour)}
				t.ReadRows = func(ctx context.Context, on string, p rules.Past, each func(*rules.Row) error) (int64, error) {
					var bad error
					do := func(row *rules.Row) {
						if bad == nil {
							bad = each(row)
						}
					}
					switch on {
					case rules.OnUplinks:
						return 0, db.PastUplinks(ctx, p.From, p.To, p.Metrics, nil, func(all []batch.Uplink) error { rules.Uplinks(all, do); return bad })
					case rules.OnTracks:
						return 0, db.PastTracks(ctx, p.From, p.To, p.Metrics, nil, func(all []batch.Track) error { rules.Tracks(all, do); return bad })
					case rules.OnCounts:
						return 0, db.PastCounts(ctx, p.From, p.To, p.Metrics, nil, func(all []batch.Count) error { rules.Counts(all, do); return bad })
					}
					return 0, db.PastEvents(ctx, p.From, p.To, p.Domain, p.Metrics, nil, func(all []batch.Event) error { rules.Events(all, do); return bad })
				}
				var readings int64
				began, used := time.Now(), cpu(b, server.PID())
				for range b.N {
					r, err := t.Run(b.Context())
					if err != nil {
						b.Fatal(err)
					}
					if r.Readings < rows*9/10 {
						b.Fatalf("%d rows, want %d", r.Readings, rows)
					}
					readings += r.Readings
				}
				b.ReportMetric(float64(readings)/time.Since(began).Seconds(), "rows/s")
				b.ReportMetric(float64((cpu(b, server.PID())-used).Nanoseconds())/float64(readings), "cpu-ns/row")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"panormus/ingest"
	"panormus/ingest/telemetry"
	"panormus/simulators/city"
	store "panormus/storage"
	"panormus/storage/embedded"
	"panormus/stream/batch"
	"panormus/stream/log"
)

// storage lets hours of the simulated city pass at its own pace through decoder, log and writer,
// merges, and weighs what lies on the disk.
func storage(ctx context.Context, quick bool, w io.Writer) error {
	hours := 6
	if quick {
		hours = 1
	}
	dir, err := os.MkdirTemp("", "panormus-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary, err := filepath.Abs("bin/chdbd")
	if err != nil {
		return err
	}
	engine, err := embedded.New(embedded.Config{Dir: filepath.Join(dir, "clickhouse"), Binary: binary})
	if err != nil {
		return err
	}
	l, err := log.Open(ctx, log.Config{Dir: filepath.Join(dir, "log"), Sync: log.DefaultSync})
	if err != nil {
		return err
	}
	defer l.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	running, stop := context.WithCancel(ctx)
	defer stop()
	wg.Go(func() { engine.Run(running) })
	if err := engine.Ready(ctx); err != nil {
		return err
	}
	db, err := store.Open(ctx, store.Config{Embedded: engine})
	if err != nil {
		return err
	}
	defer db.Close()
	writer := store.NewWriter(db, l, store.WriterConfig{})
	writing, stopWriter := context.WithCancel(running)
	var written sync.WaitGroup
	written.Go(func() { writer.Run(writing) })
	defer written.Wait()
	defer stopWriter()

	rows, messages, err := passTime(ctx, l, time.Duration(hours)*time.Hour)
	if err != nil {
		return err
	}
	for writer.Stored() < rows {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	fmt.Fprintf(w, "\n## Storage\n%d hours of the simulated city (seed 1, %d messages, %d observations), as received with 20 to 300 ms delay, merged.\n\n"+
		"| table | rows | bytes on disk | bytes an observation |\n|---|---|---|---|\n", hours, messages, rows)
	total := uint64(0)
	for _, table := range []string{"observations", "observations_1h_state", "observations_text_state"} {
		if err := db.Conn().Exec(ctx, "OPTIMIZE TABLE "+table+" FINAL"); err != nil {
			return fmt.Errorf("merge %s: %w", table, err)
		}
		var n, bytes uint64
		if err := db.Conn().QueryRow(ctx, "SELECT sum(rows), sum(bytes_on_disk) FROM system.parts WHERE active AND database = currentDatabase() AND table = ?", table).Scan(&n, &bytes); err != nil {
			return fmt.Errorf("weigh %s: %w", table, err)
		}
		total += bytes
		fmt.Fprintf(w, "| %s | %d | %d | %.2f |\n", table, n, bytes, float64(bytes)/float64(rows))
	}
	fmt.Fprintf(w, "| all | | %d | %.2f (wanted: 4) |\n", total, float64(total)/float64(rows))
	return nil
}

// passTime publishes what the city says from a morning on, each device at its profile's pace.
func passTime(ctx context.Context, l *log.Log, span time.Duration) (rows, messages int64, err error) {
	c := city.New(city.Config{Seed: 1})
	period := map[string]time.Duration{}
	for _, p := range c.Profiles() {
		period[p.ID] = time.Duration(p.ExpectedPeriod)
	}
	r := rand.New(rand.NewPCG(1, 1))
	start := time.Now().UTC().Truncate(24 * time.Hour).Add(-18 * time.Hour)
	devices := c.Devices()
	next := make([]time.Time, len(devices))
	for i, d := range devices {
		next[i] = start.Add(time.Duration(r.Int64N(int64(period[d.Profile]))))
	}
	batches := make([]batch.Observations, l.Partitions())
	publish := func(p int) error {
		data, err := batches[p].Encode()
		if err != nil {
			return err
		}
		rows += int64(batches[p].Len())
		batches[p].Reset()
		_, err = l.Publish(ctx, batch.KindObservations, p, "", data)
		return err
	}
	decoded := ingest.NewDecoded()
	var payload []byte
	type due struct {
		device int
		at     time.Time
	}
	for minute := start; minute.Before(start.Add(span)); minute = minute.Add(time.Minute) {
		var now []due
		for i, d := range devices {
			for ; next[i].Before(minute.Add(time.Minute)); next[i] = next[i].Add(period[d.Profile]) {
				now = append(now, due{i, next[i].Add(time.Duration(r.IntN(1000)) * time.Millisecond)})
			}
		}
		slices.SortFunc(now, func(a, b due) int { return cmp.Compare(a.at.UnixMilli(), b.at.UnixMilli()) })
		for _, m := range now {
			d := devices[m.device]
			payload = c.Payload(payload[:0], m.device, m.at)
			received := m.at.UnixMilli() + 20 + r.Int64N(280)
			decoded.Reset()
			if telemetry.JSON(&ingest.Input{Domain: d.Domain, Device: d.ID, Payload: payload, Received: received}, decoded) != nil {
				continue // the city has devices that send garbage
			}
			messages++
			p := l.Partition(d.ID)
			o := &batches[p]
			h := o.Begin(decoded.Records[0].Time, received, d.Domain, d.ID) // a message of the city has one record
			for _, v := range decoded.Values {
				o.Append(h, v.Name, v.Number, v.Text, 0)
			}
			if o.Len() >= 2000 {
				if err := publish(p); err != nil {
					return rows, messages, err
				}
			}
		}
	}
	for p := range batches {
		if batches[p].Len() > 0 {
			if err := publish(p); err != nil {
				return rows, messages, err
			}
		}
	}
	return rows, messages, nil
}

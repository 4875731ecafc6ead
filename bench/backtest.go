package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// timeBacktests has rules tried on the past over HTTP, from the request to the end of the answer: on the days that
// lie as settling leaves them and on the one that goes on.
func (s *system) timeBacktests(ctx context.Context, w io.Writer, f *filling) error {
	fmt.Fprint(w, "\nRules are tried on the past, `POST /api/v1/rules/{id}/backtest`, one after the other.\n\n"+
		"| rule | readings that it needs | devices | raised | s | readings a second | wanted |\n|---|---|---|---|---|---|---|\n")
	readings := func(metrics int, past time.Duration) int { return f.stations * metrics * int(past/pace) }
	for _, b := range []struct {
		what, rule string
		metrics    int
		from       time.Time
	}{
		{"a threshold, of a week", `when: no2 > 85.5`, 1, f.end.Add(-week)},
		{"a threshold of two metrics with `for` and `clear`, of four days", `when: "no2 > 80 && pm10 > 80", for: 10m, clear: no2 < 60`, 2, f.end.Add(-4 * day)},
		{"an average of every hour, of a week", `window: {type: tumbling, size: 1h}, let: {v: avg(no2)}, when: v > 84`, 1, f.end.Add(-week)},
		{"a sliding average of half an hour, of a week", `window: {type: sliding, size: 30m, every: 5m}, let: {v: avg(no2)}, when: v > 84`, 1, f.end.Add(-week)},
		{"silence, of two days", `absent: 16m`, metricsEach, f.end.Add(-2 * day)},
	} {
		body, err := json.Marshal(map[string]any{"rule": "{id: tried, domain: environment, " + b.rule + "}", "from": b.from, "to": f.end})
		if err != nil {
			return err
		}
		var got struct {
			Readings, Devices, Raised, Cleared int
			Buckets                            []struct{ Raised, Cleared int }
		}
		begun := time.Now()
		if err := s.ask(ctx, http.MethodPost, "/api/v1/rules/tried/backtest", body, &got); err != nil {
			return fmt.Errorf("%s: %w", b.what, err)
		}
		took := time.Since(begun).Seconds()
		raised, cleared := 0, 0
		for _, in := range got.Buckets {
			raised, cleared = raised+in.Raised, cleared+in.Cleared
		}
		if raised != got.Raised || cleared != got.Cleared {
			return fmt.Errorf("%s: %d raised and %d cleared in all buckets, %d and %d in all", b.what, raised, cleared, got.Raised, got.Cleared)
		}
		if least := readings(b.metrics, f.end.Sub(b.from)); got.Readings < least || got.Devices != f.stations {
			return fmt.Errorf("%s: %d readings of %d devices, want at least %d of %d", b.what, got.Readings, got.Devices, least, f.stations)
		}
		fmt.Fprintf(w, "| %s | %d | %d | %d | %.1f | %.2f M | 1 M |\n", b.what, got.Readings, got.Devices, got.Raised, took, float64(got.Readings)/took/1e6)
	}
	return nil
}

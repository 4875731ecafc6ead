package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// A step of a replay covers so much of the reader's time, and has to be there before it is over.
const replayStep = 2 * time.Second

// timeReplay plays the past back as the page does: the hour before a moment, then step after step.
func (s *system) timeReplay(ctx context.Context, w io.Writer, f *filling) error {
	const steps = 20
	fmt.Fprintf(w, "\nThe past is played back as the page does it: the hour before a moment at first, then %d steps of %v of the reader's time, each at once after the other.\n\n"+
		"| the day | asked | devices an answer | median ms | most ms | wanted ms |\n|---|---|---|---|---|---|\n", steps, replayStep)
	for _, d := range []struct {
		day string
		at  time.Time
	}{{"settled", f.settledDay.Add(14 * time.Hour)}, {"by the hour", f.end.Add(-steps * replayStep * 60)}} {
		took, devices, err := s.changes(ctx, d.at.Add(-time.Hour), time.Hour, 1)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "| %s | the hour before | %d | %.0f | %.0f | |\n", d.day, devices, ms(took[0]), ms(took[0]))
		if devices != f.stations {
			return fmt.Errorf("the hour before %s has %d devices, want %d", d.at.Format(time.RFC3339), devices, f.stations)
		}
		for _, speed := range []time.Duration{1, 10, 60} {
			took, devices, err := s.changes(ctx, d.at, speed*replayStep, steps)
			if err != nil {
				return err
			}
			// Every station once in a pace, at any moment of it.
			if want := f.stations * int(speed*replayStep*steps/time.Second) / int(pace/time.Second); devices < want*8/10 || devices > want*12/10 {
				return fmt.Errorf("%d steps at %d times the speed have %d devices, want some %d", steps, speed, devices, want)
			}
			fmt.Fprintf(w, "| %s | a step at %d times the speed | %d | %.0f | %.0f | %d |\n", d.day, speed, devices/steps, ms(took[steps/2]), ms(took[steps-1]), replayStep.Milliseconds())
		}
	}
	return nil
}

// changes asks for n stretches of time, one after another, and returns how long each took, the quickest
// first, and how many devices they had in all.
func (s *system) changes(ctx context.Context, from time.Time, length time.Duration, n int) (took []time.Duration, devices int, err error) {
	for i := range n {
		begun, cursor := time.Now(), ""
		for {
			q := url.Values{"limit": {"10000"}, "domain": {"environment"}, "cursor": {cursor},
				"from": {from.Add(time.Duration(i) * length).Format(time.RFC3339Nano)}, "to": {from.Add(time.Duration(i+1) * length).Format(time.RFC3339Nano)}}
			var answer struct {
				Devices []json.RawMessage
				Next    string
			}
			if err := s.ask(ctx, http.MethodGet, "/api/v1/state/changes?"+q.Encode(), nil, &answer); err != nil {
				return nil, 0, err
			}
			devices += len(answer.Devices)
			if cursor = answer.Next; cursor == "" {
				break
			}
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	return took, devices, nil
}

// timeExports exports an hour of a settled day.
func (s *system) timeExports(ctx context.Context, w io.Writer, f *filling) error {
	from := f.settledDay.Add(10 * time.Hour)
	rows := f.stations * metricsEach * int(time.Hour/pace)
	fmt.Fprintf(w, "\nAn hour of observations is exported, %d rows.\n\n| format | MB | s | rows a second |\n|---|---|---|---|\n", rows)
	for _, format := range []string{"csv", "jsonl", "parquet", "arrow"} {
		if err := ctx.Err(); err != nil {
			return err
		}
		q := url.Values{"table": {"observations"}, "format": {format}, "from": {from.Format(time.RFC3339)}, "to": {from.Add(time.Hour).Format(time.RFC3339)}}
		begun := time.Now()
		b, err := s.get("/api/v1/export?" + q.Encode())
		if err != nil {
			return err
		}
		took := time.Since(begun)
		if lines := bytes.Count(b, []byte("\n")); format == "jsonl" && lines != rows {
			return fmt.Errorf("an hour as jsonl has %d rows, want %d", lines, rows)
		}
		fmt.Fprintf(w, "| %s | %.1f | %.2f | %.0f |\n", format, float64(len(b))/1e6, took.Seconds(), float64(rows)/took.Seconds())
	}
	return nil
}

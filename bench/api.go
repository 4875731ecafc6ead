package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"panormus/controlroom/live"
	"panormus/stream/batch"
)

// What is asked for: a domain of many devices as they are now, and a week of one of some that spoke every
// five minutes.
const (
	stateDevices = 50_000
	stateDomain  = "lighting"
	pace         = 5 * time.Minute
	week         = 7 * 24 * time.Hour
	metricsEach  = 5
)

// askAPI fills the database of a system with a week, starts it, and asks the API as a client does.
func askAPI(ctx context.Context, quick bool, w io.Writer) error {
	stations := 10_000
	if quick {
		stations = 1000
	}
	rows := stations * metricsEach * int(week/pace)
	data, err := os.MkdirTemp("", "panormus-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)
	// The day that goes on lies by the hour, which costs the more the longer it is: it is a whole one, part of
	// which is to come.
	end := time.Now().UTC().Truncate(day).Add(day)
	f, err := fillWeek(ctx, filepath.Join(data, "clickhouse"), stations, end)
	if err != nil {
		return err
	}
	// What the database knows of a device is restored at the start of a system that knows the device.
	s, _, err := startSystem(ctx, data)
	if err != nil {
		return err
	}
	err = s.enterDevices(ctx, stations)
	s.stop()
	if err != nil {
		return err
	}
	s, started, err := startSystem(ctx, data)
	if err != nil {
		return err
	}
	defer s.stop()
	fmt.Fprintf(w, "\n## The API\n%d rows of a week of %d stations, and %d lights as they are now; written in %.0f s, those of five days as settling leaves them,\n"+
		"those of the sixth settled by the program in %.0f s, and those of the last, a day that goes on, by the hour. The system was ready %.1f s after its start.\n"+
		"Each is asked one after another over HTTP, the answer read to its end.\n\n| asked | answers | median ms | p95 ms | wanted ms |\n|---|---|---|---|---|\n",
		rows, stations, stateDevices, f.filled.Seconds(), f.settled.Seconds(), started.Seconds())
	r := rand.New(rand.NewPCG(1, 1))
	from := url.QueryEscape(end.Add(-week).Format(time.RFC3339))
	to := url.QueryEscape(end.Format(time.RFC3339))
	for _, q := range []struct {
		what, want string
		path       func() string
		items      string
		n, times   int
	}{
		{"state of a domain, first page of 100", "20", func() string { return "/api/v1/state?domain=" + stateDomain }, "devices", 100, 100},
		{"the same, of 1,000", "20", func() string { return "/api/v1/state?limit=1000&domain=" + stateDomain }, "devices", 1000, 100},
		{"a week at 5 minutes, any station", "50", func() string {
			return fmt.Sprintf("/api/v1/series?device=%s&metric=no2&from=%s&to=%s&step=5m", station(r.IntN(stations)), from, to)
		}, "points", int(week / pace), 100},
		{"a week at an hour, any station", "", func() string {
			return fmt.Sprintf("/api/v1/series?device=%s&metric=no2&from=%s&to=%s&step=1h", station(r.IntN(stations)), from, to)
		}, "points", int(week/time.Hour) + 1, 100},
		{"air and noise of all stations against the limits, a day", "", func() string { return "/api/v1/environment/indexes?limit=100" }, "stations", 100, 10},
		{"a domain by street, what 2 metrics came to in a week", "", func() string {
			return "/api/v1/domains/environment/groups?by=street&metric=no2,pm10&over=7d"
		}, "groups", stationStreets, 10},
	} {
		took, err := s.time(ctx, q.times, q.path, q.items, q.n)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "| %s | %d | %.1f | %.1f | %s |\n", q.what, len(took), ms(took[len(took)/2]), ms(took[len(took)*95/100]), q.want)
	}
	if err := s.timeReplay(ctx, w, f); err != nil {
		return err
	}
	if err := s.timeExports(ctx, w, f); err != nil {
		return err
	}
	if err := s.timeBacktests(ctx, w, f); err != nil {
		return err
	}
	return liveMemory(w)
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func station(i int) string { return fmt.Sprintf("station-%06d", i) }

// time asks n times and returns how long each took, the quickest first. Every answer has to have as many
// items, or one less: the ends of a week are not those of a device's pace.
func (s *system) time(ctx context.Context, n int, path func() string, list string, items int) ([]time.Duration, error) {
	var took []time.Duration
	for range n {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		p := path()
		begun := time.Now()
		b, err := s.get(p)
		if err != nil {
			return nil, err
		}
		took = append(took, time.Since(begun))
		var answer map[string]json.RawMessage
		var got []json.RawMessage
		if err := json.Unmarshal(b, &answer); err != nil {
			return nil, err
		}
		if err := json.Unmarshal(answer[list], &got); err != nil {
			return nil, err
		}
		if len(got) != items && len(got) != items-1 {
			return nil, fmt.Errorf("%s: %d %s, want %d", p, len(got), list, items)
		}
	}
	slices.Sort(took)
	return took, nil
}

// liveMemory weighs the live state.
func liveMemory(w io.Writer) error {
	const n = 100_000
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	state := live.New(nil, nil, nil)
	for from := 0; from < n; from += 2500 {
		var o batch.Observations
		for i := range 2500 {
			h := o.Begin(1_700_000_000_000, 1_700_000_000_000, stateDomain, fmt.Sprintf("palermo-pole-%06d", from+i))
			for k, m := range []string{"power_w", "dimming", "voltage_v", "current_a", "temperature_cel"} {
				o.Append(h, m, float64(i*k), "", 0)
			}
		}
		state.Apply(&o)
	}
	state.Collect(nil)
	runtime.GC()
	runtime.ReadMemStats(&after)
	if state.Len() != n {
		return fmt.Errorf("the live state has %d devices, want %d", state.Len(), n)
	}
	each := float64(after.HeapAlloc-before.HeapAlloc) / n
	fmt.Fprintf(w, "\nThe live state holds %d devices of %d metrics in %.0f bytes each (wanted: %d, which is 400 and 32 a metric).\n", n, metricsEach, each, 400+32*metricsEach)
	return nil
}

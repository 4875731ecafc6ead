package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"panormus/simulators/load"
)

// rate is what is asked of the system: a little above what it is to bear.
const rate = 105_000

// throughput drives the embedded broker at the rate that is wanted: 100 connections with 100
// messages in flight each, 5 metrics a message, every rule of the simulated city on; then it counts.
func throughput(ctx context.Context, quick bool, w io.Writer) error {
	data, err := os.MkdirTemp("", "panormus-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)
	s, _, err := startSystem(ctx, data)
	if err != nil {
		return err
	}
	stopped := false
	defer func() {
		if !stopped {
			s.stop()
		}
	}()
	duration := 60 * time.Second
	if quick {
		duration = 10 * time.Second
	}
	before, memory := s.usage(), s.watch()
	maxLag := watchLag(s)
	report, err := load.Run(ctx, load.Options{
		Broker: s.info.MQTT, Connections: 100, InFlight: 100, QoS: 1, Rate: rate, Duration: duration,
		Devices: 10_000, Metrics: 5, Seed: 1, Domain: "lighting", Prefix: "bench",
	})
	if err != nil {
		return err
	}
	caughtUp, err := s.waitIdle(ctx, report.Acked*5)
	if err != nil {
		return err
	}
	after, samples, lag := s.usage(), memory(), maxLag()
	rows, err := s.sqlFloat("SELECT count() FROM observations WHERE startsWith(device, 'bench-')")
	if err != nil {
		return err
	}
	distinct, err := s.sqlFloat("SELECT sum(n) FROM (SELECT uniqExact(value) n FROM observations WHERE metric = 'n' AND startsWith(device, 'bench-') GROUP BY device)")
	if err != nil {
		return err
	}
	total, err := s.stats()
	if err != nil {
		return err
	}
	rules, err := s.rules()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\n## Throughput: MQTT QoS 1 through log and rules into ClickHouse\n"+
		"100 connections, 100 in flight each, 5 metrics a message (%d bytes), %.0f s, %d messages/s asked, %d rules on.\n\n"+
		"| figure | reached | wanted |\n|---|---|---|\n"+
		"| messages acknowledged a second | %.0f | 100,000 |\n"+
		"| observations a second | %.0f | 500,000 |\n"+
		"| acknowledgement, ms: p50 / p99 / max | %.0f / %.0f / %.0f | |\n"+
		"| lost | %.0f of %d | 0 |\n| doubled | %.0f | 0 |\n"+
		"| after the last message, until all was stored and judged | %.1f s | 5 s |\n"+
		"| largest lag of the writer / the rules, batches | %d / %d | |\n"+
		"| resident memory, all processes: median / most | %.0f / %.0f MiB | 2,048 MiB |\n"+
		"| resident memory, first / last third of the run, median | %.0f / %.0f MiB | flat |\n",
		report.Payload, report.Elapsed, rate, rules, report.AckedRate, report.AckedRate*5,
		report.Latency.P50, report.Latency.P99, report.Latency.Max,
		float64(report.Acked)-distinct, report.Acked, rows-distinct*5, caughtUp.Seconds(), lag.Writer, lag.Rules,
		mib(median(samples)), mib(slices.Max(samples)), mib(median(samples[:len(samples)/3])), mib(median(samples[2*len(samples)/3:])))
	fmt.Fprintf(w, "\nCPU, us a message: generator %.2f", report.CPUPerMessage)
	for name, u := range after {
		fmt.Fprintf(w, ", %s %.2f", name, float64((u.cpu-before[name].cpu).Microseconds())/float64(report.Acked))
	}
	fmt.Fprintf(w, ". Events raised: %d.\n", total.Events)

	s.stop()
	stopped = true
	return restart(ctx, data, w)
}

// rules is how many are on.
func (s *system) rules() (int, error) {
	b, err := s.get("/api/v1/rules")
	if err != nil {
		return 0, err
	}
	var list struct{ Rules []json.RawMessage }
	err = json.Unmarshal(b, &list)
	return len(list.Rules), err
}

// restart measures how soon a system with the run's data is ready.
func restart(ctx context.Context, data string, w io.Writer) error {
	var took []int64
	for range 3 {
		s, d, err := startSystem(ctx, data)
		if err != nil {
			return err
		}
		took = append(took, int64(d))
		s.stop()
	}
	fmt.Fprintf(w, "\n## Start\nFrom exec to /status ready, with the data of the run above: %.2f s (median of 3; wanted: under 3 s).\n",
		time.Duration(median(took)).Seconds())
	return nil
}

// waitIdle waits until everything is stored and judged and returns how long that took.
func (s *system) waitIdle(ctx context.Context, rows int64) (time.Duration, error) {
	began := time.Now()
	for time.Since(began) < 5*time.Minute {
		v, err := s.stats()
		if err != nil {
			return 0, err
		}
		if v.Stored >= rows && v.Lag.Writer == 0 && v.Lag.Rules == 0 {
			return time.Since(began), nil
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
	return 0, errors.New("not idle after 5 minutes")
}

type lag struct{ Writer, Rules int64 }

func watchLag(s *system) (stop func() lag) {
	ended, result := make(chan struct{}), make(chan lag)
	go func() {
		var most lag
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				result <- most
				return
			case <-tick.C:
				if v, err := s.stats(); err == nil {
					most = lag{max(most.Writer, v.Lag.Writer), max(most.Rules, v.Lag.Rules)}
				}
			}
		}
	}()
	return func() lag { close(ended); return <-result }
}

func median(v []int64) int64 {
	if len(v) == 0 {
		return 0
	}
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

func mib(v int64) float64 { return float64(v) / (1 << 20) }

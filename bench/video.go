package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"time"

	"panormus/devices"
	"panormus/simulators/load"
)

// frameRate is how many frames a second the cameras of a city send at their peak.
const frameRate = 10_000

// video sends Axis scene frames of 8 objects from 1,000 registered cameras: each is decoded, admitted by
// its purpose, stored, and made into tracks and counts, every rule on.
func video(ctx context.Context, quick bool, w io.Writer) error {
	s, stop, err := startFresh(ctx)
	if err != nil {
		return err
	}
	defer stop()
	const cameras, prefix = 1000, "bench-cam"
	if err := s.send(ctx, http.MethodPost, "/api/v1/devices", map[string][]devices.Device{"devices": load.Cameras(prefix, cameras)}); err != nil {
		return err
	}
	duration := 60 * time.Second
	if quick {
		duration = 15 * time.Second
	}
	before, memory, maxLag := s.usage(), s.watch(), watchLag(s)
	report, err := load.Run(ctx, load.Options{
		Broker: s.info.MQTT, Connections: 50, InFlight: 200, QoS: 1, Rate: frameRate, Duration: duration,
		Video: true, Devices: cameras, Seed: time.Now().Unix(), Prefix: prefix,
	})
	if err != nil {
		return err
	}
	var rows, ended int64 // that the frames make; tracks that they say are over
	for _, b := range report.Books {
		rows += load.FrameRows(b.Sent)
		ended += load.FrameTracks(b.Sent) - load.FrameObjects
	}
	stored, storedAfter, err := s.reaches(ctx, "SELECT count() FROM detections", rows)
	if err != nil {
		return err
	}
	tracks, tracksAfter, err := s.reaches(ctx, "SELECT uniqExact(id) FROM tracks", ended)
	if err != nil {
		return err
	}
	after, samples, lag := s.usage(), memory(), maxLag()
	counts, err := s.sqlFloat("SELECT count() FROM vds_counts_1m")
	if err != nil {
		return err
	}
	rules, err := s.rules()
	if err != nil {
		return err
	}
	total, err := s.stats()
	if err != nil {
		return err
	}
	detections := float64(report.Acked) * load.FrameObjects
	fmt.Fprintf(w, "\n## Cameras: frames over MQTT into detections, tracks and counts\n"+
		"%d cameras, 50 connections, QoS 1, Axis scene frames of %d objects (%d bytes), %.0f s, %d frames/s asked, %d rules on.\n\n"+
		"| figure | reached | wanted |\n|---|---|---|\n"+
		"| frames acknowledged a second | %.0f | 10,000 |\n| detections a second | %.0f | 80,000 |\n"+
		"| acknowledgement, ms: p50 / p99 / max | %.0f / %.0f / %.0f | |\n| frames not acknowledged | %d | 0 |\n"+
		"| rows stored less rows sent | %d of %d | 0 |\n| tracks stored, those at least that the frames say ended | %d | %d |\n| minutes of counts stored, rows | %.0f | |\n"+
		"| after the last frame, until detections / tracks were stored | %.1f / %.1f s | |\n"+
		"| largest lag of the writer / the rules, batches | %d / %d | |\n"+
		"| resident memory, all processes: median / most | %.0f / %.0f MiB | |\n",
		cameras, load.FrameObjects, report.Payload, report.Elapsed, frameRate, rules, report.AckedRate, report.AckedRate*load.FrameObjects,
		report.Latency.P50, report.Latency.P99, report.Latency.Max, report.Unacked, stored-rows, rows, tracks, ended, counts,
		storedAfter.Seconds(), (storedAfter + tracksAfter).Seconds(), lag.Writer, lag.Rules, mib(median(samples)), mib(slices.Max(append(samples, 0))))
	fmt.Fprintf(w, "\nCPU, us a detection: generator %.2f", report.CPU*1e6/detections)
	for _, name := range slices.Sorted(maps.Keys(after)) {
		fmt.Fprintf(w, ", %s %.2f", name, float64((after[name].cpu-before[name].cpu).Microseconds())/detections)
	}
	fmt.Fprintf(w, ". Events raised: %d.\n", total.Events)
	return nil
}

// reaches asks until the answer is at least want, for two minutes at most, and returns the last one
// and how long that took.
func (s *system) reaches(ctx context.Context, sql string, want int64) (int64, time.Duration, error) {
	for began := time.Now(); ; {
		v, err := s.sqlFloat(sql)
		if err != nil || int64(v) >= want || time.Since(began) > 2*time.Minute {
			return int64(v), time.Since(began), err
		}
		select {
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

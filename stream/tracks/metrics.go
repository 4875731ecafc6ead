package tracks

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the worker's. What the engine counts is read from its Stats when asked.
type metrics struct {
	tracks, counts    prometheus.Counter
	unreadable        prometheus.Counter
	lost              prometheus.Counter
	checkpointSeconds prometheus.Gauge
	checkpointBytes   prometheus.Gauge
	w                 *Worker
}

func desc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("panormus_tracks_"+name, help, nil, nil)
}

// engineMetrics are those of Stats.
var engineMetrics = []struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	of   func(*Stats) float64
}{
	{desc("rows_total", "Rows of video metadata taken in."), prometheus.CounterValue, func(s *Stats) float64 { return float64(s.Rows) }},
	{desc("late_total", "Rows that came late and still counted."), prometheus.CounterValue, func(s *Stats) float64 { return float64(s.Late) }},
	{desc("dropped_total", "Rows that came too late to count."), prometheus.CounterValue, func(s *Stats) float64 { return float64(s.Dropped) }},
	{desc("refused_total", "Zones, stays and counters beyond a camera's bounds."), prometheus.CounterValue, func(s *Stats) float64 { return float64(s.Refused) }},
	{desc("hurried_total", "Rows taken before their time because a camera had too many waiting."), prometheus.CounterValue, func(s *Stats) float64 { return float64(s.Hurried) }},
	{desc("evicted_total", "Tracks that ended because their camera had too many."), prometheus.CounterValue, func(s *Stats) float64 { return float64(s.Evicted) }},
	{desc("cameras_forgotten_total", "Cameras forgotten because there were too many."), prometheus.CounterValue, func(s *Stats) float64 { return float64(s.Forgotten) }},
	{desc("untracked_total", "Objects without a vendor's id."), prometheus.CounterValue, func(s *Stats) float64 { return float64(s.Untracked) }},
	{desc("parts_total", "Tracks that are part of another: heads, faces, plates, riders."), prometheus.CounterValue, func(s *Stats) float64 { return float64(s.Parts) }},
	{desc("cameras", "Cameras of which there is state."), prometheus.GaugeValue, func(s *Stats) float64 { return float64(s.Cameras) }},
	{desc("live", "Tracks held."), prometheus.GaugeValue, func(s *Stats) float64 { return float64(s.Live) }},
	{desc("waiting_rows", "Rows that wait for others of before them."), prometheus.GaugeValue, func(s *Stats) float64 { return float64(s.Waiting) }},
}

var appliedDesc = desc("applied_sequence", "Sequence of the log up to which everything is applied.")

func newMetrics(w *Worker, reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "panormus_tracks_" + name, Help: help})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "panormus_tracks_" + name, Help: help})
	}
	m := &metrics{
		w:                 w,
		tracks:            counter("published_tracks_total", "Rows of tracks put on the log."),
		counts:            counter("published_counts_total", "Rows of counts put on the log."),
		unreadable:        counter("batches_unreadable_total", "Batches of the log that could not be read."),
		lost:              counter("checkpoints_unreadable_total", "Snapshots that could not be read at a start."),
		checkpointSeconds: gauge("checkpoint_duration_seconds", "How long the last checkpoint took to write."),
		checkpointBytes:   gauge("checkpoint_size_bytes", "Size of the last checkpoint."),
	}
	if reg != nil {
		reg.MustRegister(m, m.tracks, m.counts, m.unreadable, m.lost, m.checkpointSeconds, m.checkpointBytes)
	}
	return m
}

func (m *metrics) published(tracks, counts int) {
	m.tracks.Add(float64(tracks))
	m.counts.Add(float64(counts))
}

// Describe sends the descriptions of what Collect sends.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for i := range engineMetrics {
		ch <- engineMetrics[i].desc
	}
	ch <- appliedDesc
}

// Collect sends what the engine has counted.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	s := m.w.Stats()
	for i := range engineMetrics {
		e := &engineMetrics[i]
		ch <- prometheus.MustNewConstMetric(e.desc, e.kind, e.of(&s))
	}
	ch <- prometheus.MustNewConstMetric(appliedDesc, prometheus.GaugeValue, float64(m.w.applied.Load()))
}

package alarms

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	events, entries, refused prometheus.Counter
}

func newMetrics(book *Book, reg prometheus.Registerer) *metrics {
	m := &metrics{
		events:  prometheus.NewCounter(prometheus.CounterOpts{Name: "panormus_stream_alarm_events_total", Help: "Events that alarms were made from."}),
		entries: prometheus.NewCounter(prometheus.CounterOpts{Name: "panormus_stream_alarm_log_rows_total", Help: "Rows of the alarm log written."}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{Name: "panormus_stream_alarms_refused_total", Help: "Events that made no alarm because there are too many; 0 unless something is wrong."}),
	}
	if reg != nil {
		reg.MustRegister(&figures{book: book})
		reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "panormus_stream_alarm_acts_unreadable_total", Help: "Acts of operators in the bucket that could not be read and were left out; 0 unless a later version is at work beside this one.",
		}, func() float64 { return float64(book.Unread()) }))
		reg.MustRegister(m.events, m.entries, m.refused, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "panormus_stream_alarms", Help: "Alarms that are remembered, normal ones included.",
		}, func() float64 { return float64(book.Len()) }))
	}
	return m
}

// figures are how the alarm system does, as Prometheus has it.
type figures struct {
	book *Book

	mu sync.Mutex
	at time.Time
	h  Health
}

// figuresFor is how long the figures stand: they are made by looking at every alarm.
const figuresFor = 5 * time.Second

func figure(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("panormus_stream_alarm_"+name, help, labels, nil)
}

var (
	figureState    = figure("state_alarms", "Alarms in each state.", "state")
	figureSeverity = figure("severity_alarms", "Open alarms of each severity.", "severity")
	figureMix      = figure("priority_24h_alarms", "Alarms of each severity that called operators in the last 24 h; the aim is 80 % warning, 15 % major, 5 % critical.", "severity")
	figureRate     = figure("rate_10m_per_operator", "Alarms in the last 10 minutes that called an operator; EEMUA 191 aims at 1.")
	figurePeak     = figure("peak_10m_per_operator", "The most in 10 minutes of the last 24 h that called an operator.")
	figureAverage  = figure("average_10m_per_operator", "The average in 10 minutes of the last 24 h that called an operator.")
	figureOver     = figure("over_limit_24h_ratio", "Part of the 10 minutes of the last 24 h in which more alarms called an operator than make a flood.")
	figureFlood    = figure("flood", "1 while a flood of alarms lasts.")
	figureInFlood  = figure("flood_24h_ratio", "Part of the last 24 h in flood; the aim is below 0.01.")
	figureChatter  = figure("chattering_alarms", "Alarms that are raised too often.")
	figureStale    = figure("stale_alarms", "Alarms that stand for too long.")
	figureBad      = figure("top10_24h_ratio", "Part of the raises of the last 24 h that the 10 alarms raised most have.")
	figureOldest   = figure("oldest_unacked_seconds", "Age of the oldest unacknowledged alarm; 0 without one.")
)

// Describe implements prometheus.Collector.
func (f *figures) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{figureState, figureSeverity, figureMix, figureRate, figurePeak, figureAverage, figureOver, figureFlood,
		figureInFlood, figureChatter, figureStale, figureBad, figureOldest} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (f *figures) Collect(out chan<- prometheus.Metric) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now().UTC(); f.at.IsZero() || now.Sub(f.at) >= figuresFor {
		f.at, f.h = now, f.book.Health(now)
	}
	tell := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	h := &f.h
	for s, n := range h.States {
		tell(figureState, float64(n), string(s))
	}
	for _, s := range severities {
		tell(figureSeverity, float64(h.Severities[s]), s)
		tell(figureMix, float64(h.Mix[s]), s)
	}
	each := float64(h.Operators)
	tell(figureRate, float64(h.Rate)/each)
	tell(figurePeak, float64(h.Peak)/each)
	tell(figureAverage, h.Average/each)
	tell(figureOver, h.OverLimit)
	flood := 0.0
	if h.Flood {
		flood = 1
	}
	tell(figureFlood, flood)
	tell(figureInFlood, h.InFlood.Seconds()/raisesHeld.Seconds())
	tell(figureChatter, float64(h.Chatterers))
	tell(figureStale, float64(h.StaleCount))
	tell(figureBad, h.BadShare)
	oldest := 0.0
	if h.Oldest != nil {
		oldest = max(0, h.At.Sub(h.Oldest.Since).Seconds())
	}
	tell(figureOldest, oldest)
}

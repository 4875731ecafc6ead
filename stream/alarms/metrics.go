package alarms

import "github.com/prometheus/client_golang/prometheus"

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
		reg.MustRegister(m.events, m.entries, m.refused, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "panormus_stream_alarms", Help: "Alarms that are remembered, normal ones included.",
		}, func() float64 { return float64(book.Len()) }))
	}
	return m
}

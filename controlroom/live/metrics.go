package live

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	applied, late, beyond, events, broken prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, s *State) *metrics {
	ignored := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "panormus_controlroom_live_ignored_total", Help: "Observations the live state did not take: older than the value held, or of more metrics than it holds."}, []string{"reason"})
	m := &metrics{
		applied: prometheus.NewCounter(prometheus.CounterOpts{Name: "panormus_controlroom_live_observations_total", Help: "Observations the live state has taken."}),
		late:    ignored.WithLabelValues("late"),
		beyond:  ignored.WithLabelValues("bound"),
		events:  prometheus.NewCounter(prometheus.CounterOpts{Name: "panormus_controlroom_live_events_total", Help: "Events the live state has taken."}),
		broken:  prometheus.NewCounter(prometheus.CounterOpts{Name: "panormus_controlroom_live_unreadable_batches_total", Help: "Batches of the log that could not be decoded."}),
	}
	if reg != nil {
		reg.MustRegister(ignored, m.applied, m.events, m.broken,
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "panormus_controlroom_live_devices", Help: "Devices in the live state."}, func() float64 { return float64(s.Len()) }))
	}
	return m
}

package feed

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	clients, groups                            prometheus.Gauge
	messages, bytes, merged, refused, requests prometheus.Counter
	closed                                     *prometheus.CounterVec
	fanout                                     prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "panormus_controlroom_feed_" + name, Help: help})
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "panormus_controlroom_feed_" + name, Help: help})
	}
	m := &metrics{
		clients:  gauge("clients", "Websocket clients."),
		groups:   gauge("groups", "Different subscriptions, each encoded once."),
		messages: counter("messages_total", "Messages written to clients."),
		bytes:    counter("message_bytes_total", "Bytes of those messages before compression."),
		merged:   counter("merged_frames_total", "State frames that were merged into another because their client lagged."),
		refused:  counter("refused_total", "Clients that were not let in."),
		requests: counter("requests_total", "Messages of clients."),
		closed:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "panormus_controlroom_feed_closed_total", Help: "Clients closed by the server, by reason."}, []string{"reason"}),
	}
	m.fanout = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "panormus_controlroom_feed_fanout_seconds", Help: "From the first client that a state frame was written to until the last that keeps up.",
		Buckets: []float64{.001, .002, .005, .01, .02, .03, .05, .07, .1, .15, .2, .3, .5, 1, 2, 5},
	})
	for _, reason := range []string{reasonSlow, reasonBad, reasonStop, reasonEnded, reasonMany} {
		m.closed.WithLabelValues(reason)
	}
	if reg != nil {
		reg.MustRegister(m.clients, m.groups, m.messages, m.bytes, m.merged, m.refused, m.requests, m.closed, m.fanout)
	}
	return m
}

// Why the server closes a client.
const (
	reasonSlow  = "slow"
	reasonBad   = "bad_messages"
	reasonStop  = "stop"
	reasonEnded = "access_ended"
	reasonMany  = "too_many_connections"
)

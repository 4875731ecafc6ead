package push

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// What a part of a body is.
const (
	partMetadata = "metadata"
	partImage    = "image"
	partUnknown  = "unknown"
	partCut      = "cut"
	partTooLarge = "too_large"
)

type metrics struct {
	requests, parts *prometheus.CounterVec
	open            prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "panormus_ingest_push_requests_total", Help: "Requests of cameras, by status."}, []string{"status"}),
		parts:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "panormus_ingest_push_parts_total", Help: "Messages and pictures in them, by what became of them."}, []string{"kind"}),
		open:     prometheus.NewGauge(prometheus.GaugeOpts{Name: "panormus_ingest_push_open_requests", Help: "Requests of cameras that are being read."}),
	}
	for _, s := range []string{"200", "400", "401", "404", "405", "408", "413", "415", "429", "503"} {
		m.requests.WithLabelValues(s)
	}
	for _, k := range []string{partMetadata, partImage, partUnknown, partCut, partTooLarge} {
		m.parts.WithLabelValues(k)
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.parts, m.open} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("push: register metrics: %w", err)
		}
	}
	return m, nil
}

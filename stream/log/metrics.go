package log

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"panormus/stream/batch"
)

type metrics struct {
	batches, bytes, refusals *prometheus.CounterVec
	stored                   *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		batches:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "panormus_stream_batches_total", Help: "Batches the log has taken."}, []string{"kind"}),
		bytes:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "panormus_stream_batch_bytes_total", Help: "Bytes of the batches the log has taken."}, []string{"kind"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "panormus_stream_refusals_total", Help: "Attempts to write a batch that the log did not take; each is repeated."}, []string{"kind"}),
		stored:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "panormus_stream_stored_bytes", Help: "Bytes the log holds."}, []string{"kind"}),
	}
	for _, s := range streamSpecs {
		kind := string(s.kind)
		m.batches.WithLabelValues(kind)
		m.bytes.WithLabelValues(kind)
		m.refusals.WithLabelValues(kind)
		m.stored.WithLabelValues(kind)
	}
	if reg != nil {
		reg.MustRegister(m.batches, m.bytes, m.refusals, m.stored)
	}
	return m
}

func (m *metrics) published(kind batch.Kind, bytes int) {
	m.batches.WithLabelValues(string(kind)).Inc()
	m.bytes.WithLabelValues(string(kind)).Add(float64(bytes))
}

func (m *metrics) refused(kind batch.Kind) { m.refusals.WithLabelValues(string(kind)).Inc() }

func (m *metrics) size(kind batch.Kind, bytes uint64) {
	m.stored.WithLabelValues(string(kind)).Set(float64(bytes))
}

// serverLog passes on what the embedded server has to complain about; its notices are noise here.
type serverLog struct{ log *slog.Logger }

func (l serverLog) warn(format string, v []any) {
	l.log.Warn("embedded log server", "message", strings.TrimSpace(fmt.Sprintf(format, v...)))
}

func (l serverLog) Noticef(string, ...any)         {}
func (l serverLog) Warnf(format string, v ...any)  { l.warn(format, v) }
func (l serverLog) Fatalf(format string, v ...any) { l.warn(format, v) }
func (l serverLog) Errorf(format string, v ...any) { l.warn(format, v) }
func (l serverLog) Debugf(string, ...any)          {}
func (l serverLog) Tracef(string, ...any)          {}

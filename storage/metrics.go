package storage

import (
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"panormus/stream/batch"
)

type metrics struct {
	rows, inserts, retries, refused *prometheus.CounterVec
	seconds                         *prometheus.HistogramVec
	lag, expired                    *prometheus.GaugeVec
	away                            prometheus.Gauge
}

func newMetrics() *metrics {
	kind := []string{"kind"}
	m := &metrics{
		rows:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "panormus_storage_rows_total", Help: "Rows stored."}, kind),
		inserts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "panormus_storage_inserts_total", Help: "Inserts that the database has taken."}, kind),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "panormus_storage_retries_total", Help: "Inserts that failed and are repeated."}, kind),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "panormus_storage_refused_rows_total", Help: "Rows, or batches that cannot be read, that were filed as rejected."}, kind),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "panormus_storage_insert_seconds", Help: "How long an insert takes.",
			Buckets: prometheus.ExponentialBuckets(0.005, 2, 14)}, kind),
		lag: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "panormus_storage_lag_batches", Help: "Batches of the log that are not stored yet."}, kind),
		expired: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "panormus_storage_expired_rows",
			Help: "Rows found past their retention when it was last enforced; 0 unless something is wrong."}, []string{"table"}),
		away: prometheus.NewGauge(prometheus.GaugeOpts{Name: "panormus_storage_failing", Help: "How many kinds cannot be stored at present."}),
	}
	for _, k := range storedKinds {
		m.rows.WithLabelValues(string(k))
		m.inserts.WithLabelValues(string(k))
		m.retries.WithLabelValues(string(k))
		m.refused.WithLabelValues(string(k))
		m.seconds.WithLabelValues(string(k))
		m.lag.WithLabelValues(string(k))
	}
	for _, t := range expiring {
		m.expired.WithLabelValues(strings.TrimSuffix(t.table, "_log"))
	}
	m.expired.WithLabelValues("vds_counts_1m")
	return m
}

// register may be called once a registry.
func (m *metrics) register(reg prometheus.Registerer) {
	if reg != nil {
		reg.MustRegister(m.rows, m.inserts, m.retries, m.refused, m.seconds, m.lag, m.expired, m.away)
	}
}

// storedKinds are the kinds of batches that the writer stores.
var storedKinds = []batch.Kind{
	batch.KindObservations, batch.KindDetections, batch.KindTracks, batch.KindCounts, batch.KindEvents, batch.KindUplinks, batch.KindRejected,
	batch.KindAlarmLog,
}

package notify

import "github.com/prometheus/client_golang/prometheus"

// queueMetrics are one receiver's. Messages formed = sent + dead + waiting, discards aside.
type queueMetrics struct {
	sent, failed, dead, discarded, missed, forgotten, unreadable prometheus.Counter
	waiting                                                      prometheus.Gauge
}

type metrics struct {
	counters map[string]*prometheus.CounterVec
	waiting  *prometheus.GaugeVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{counters: map[string]*prometheus.CounterVec{}, waiting: prometheus.NewGaugeVec(
		prometheus.GaugeOpts{Name: "panormus_notify_waiting_messages", Help: "Messages on their way to the receiver."}, []string{"receiver"})}
	for name, help := range map[string]string{
		"sent_messages_total":          "Messages that the receiver took.",
		"failed_attempts_total":        "Attempts that the receiver did not take.",
		"dead_letters_total":           "Messages that did not arrive in their time or were refused.",
		"discarded_dead_letters_total": "Dead letters that went for newer ones.",
		"missed_batches_total":         "Batches of events that were purged before they were read.",
		"forgotten_alarms_total":       "Open alarms no longer followed because there were too many.",
		"unreadable_batches_total":     "Batches of events that could not be read.",
	} {
		m.counters[name] = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "panormus_notify_" + name, Help: help}, []string{"receiver"})
	}
	if reg != nil {
		reg.MustRegister(m.waiting)
		for _, c := range m.counters {
			reg.MustRegister(c)
		}
	}
	return m
}

func (m *metrics) of(receiver string) *queueMetrics {
	c := func(name string) prometheus.Counter { return m.counters[name].WithLabelValues(receiver) }
	return &queueMetrics{
		sent: c("sent_messages_total"), failed: c("failed_attempts_total"), dead: c("dead_letters_total"), discarded: c("discarded_dead_letters_total"),
		missed: c("missed_batches_total"), forgotten: c("forgotten_alarms_total"), unreadable: c("unreadable_batches_total"),
		waiting: m.waiting.WithLabelValues(receiver),
	}
}

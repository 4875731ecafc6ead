package udp

import (
	"github.com/prometheus/client_golang/prometheus"

	"panormus/ingest/lorawan/frame"
)

// Stats are what a Listener did since it was made. Received = Handed + the sum of Refused + the
// PULL_DATAs + those in hand.
type Stats struct {
	Received uint64 // datagrams
	Handed   uint64 // to Receivers
	Answered uint64
	Unsent   uint64 // answers that could not be sent
	Gateways int    // that sent something lately
	Refused  map[frame.Reason]uint64
}

// Stats since the start.
func (l *Listener) Stats() Stats {
	s := Stats{
		Received: l.received.Load(), Handed: l.handed.Load(), Answered: l.answered.Load(), Unsent: l.unsent.Load(),
		Gateways: l.gateways.len(), Refused: map[frame.Reason]uint64{},
	}
	for reason, n := range l.refused {
		s.Refused[reason] = n.Load()
	}
	return s
}

// collector reads the counters of a Listener when they are asked for.
type collector struct{ l *Listener }

var (
	descReceived = prometheus.NewDesc("panormus_udp_received_total", "Datagrams received.", nil, nil)
	descHanded   = prometheus.NewDesc("panormus_udp_handed_total", "Datagrams handed on.", nil, nil)
	descAnswered = prometheus.NewDesc("panormus_udp_answered_total", "Answers sent.", nil, nil)
	descUnsent   = prometheus.NewDesc("panormus_udp_unsent_total", "Answers that could not be sent.", nil, nil)
	descGateways = prometheus.NewDesc("panormus_udp_gateways", "Gateways that sent something lately.", nil, nil)
	descRefused  = prometheus.NewDesc("panormus_udp_refused_total", "Datagrams refused, by reason.", []string{"reason"}, nil)
)

func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descReceived, descHanded, descAnswered, descUnsent, descGateways, descRefused} {
		ch <- d
	}
}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	s := c.l.Stats()
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	count(descReceived, s.Received)
	count(descHanded, s.Handed)
	count(descAnswered, s.Answered)
	count(descUnsent, s.Unsent)
	for reason, n := range s.Refused {
		count(descRefused, n, string(reason))
	}
	ch <- prometheus.MustNewConstMetric(descGateways, prometheus.GaugeValue, float64(s.Gateways))
}

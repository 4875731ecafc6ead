package broker

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Stats are the broker's own figures.
type Stats struct {
	Clients       int    // connections now
	Subscriptions int    // held now
	Retained      int    // topics with a retained message
	Refused       uint64 // connections beyond MaxClients
	// Denied counts, by "login", "login_throttled", "will", "publish" and "subscribe", what was not let in.
	Denied map[string]uint64
	// Unwritten are changes of retained messages that a crash would lose.
	Unwritten int
	Unkept    uint64 // retained messages that go with the process, for their size or because a camera told them
	Revoked   uint64 // connections cut off because what let them in does so no more
}

// Stats returns the broker's own figures.
func (b *Broker) Stats() Stats {
	b.mu.Lock()
	n := len(b.conns)
	b.mu.Unlock()
	denied := make(map[string]uint64, deniedKinds)
	for i, name := range deniedNames {
		denied[name] = b.denied[i].Load()
	}
	unkept, unwritten := uint64(0), 0
	if b.shelver != nil {
		unkept, unwritten = b.shelver.left.Load(), b.shelver.pending()
	}
	return Stats{
		Unkept: unkept, Unwritten: unwritten, Denied: denied, Revoked: b.revoked.Load(), Clients: n, Subscriptions: int(atomic.LoadInt64(&b.server.Info.Subscriptions)),
		Retained: b.server.Topics.Retained.Len(), Refused: b.refused.Load(),
	}
}

// register makes the figures metrics, where reg is not nil.
func (b *Broker) register(reg prometheus.Registerer) error {
	if reg == nil {
		return nil
	}
	gauge := func(name, help string, of func(Stats) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "panormus_ingest_broker_" + name, Help: help}, func() float64 { return of(b.Stats()) })
	}
	for _, c := range []prometheus.Collector{
		gauge("clients", "MQTT connections to the embedded broker.", func(s Stats) float64 { return float64(s.Clients) }),
		gauge("subscriptions", "Subscriptions at the embedded broker.", func(s Stats) float64 { return float64(s.Subscriptions) }),
		gauge("unwritten_retained", "Changes of retained messages that are yet to be written.", func(s Stats) float64 { return float64(s.Unwritten) }),
		gauge("retained_topics", "Topics with a retained message at the embedded broker.", func(s Stats) float64 { return float64(s.Retained) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "panormus_ingest_broker_refused_connections_total", Help: "MQTT connections closed at once, the embedded broker having its most.",
		}, func() float64 { return float64(b.refused.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "panormus_ingest_broker_unkept_retained_total", Help: "Retained messages that go with the process, for their size or because a camera told them.",
		}, func() float64 { return float64(b.Stats().Unkept) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "panormus_ingest_broker_revoked_connections_total", Help: "MQTT connections cut off because what let them in does so no more.",
		}, func() float64 { return float64(b.revoked.Load()) }),
	} {
		if err := reg.Register(c); err != nil {
			return err
		}
	}
	for i, name := range deniedNames {
		if err := reg.Register(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "panormus_ingest_broker_denied_total", Help: "Logins, wills, messages and subscriptions that the embedded broker denied.",
			ConstLabels: prometheus.Labels{"what": name},
		}, func() float64 { return float64(b.denied[i].Load()) })); err != nil {
			return err
		}
	}
	return nil
}

package ingest

import (
	"github.com/prometheus/client_golang/prometheus"
)

// Stats are what a pump has done since it was made. At any moment
// Received = Decoded + Rejected + Ignored + InFlight.
type Stats struct {
	Received     uint64 // messages taken in
	Decoded      uint64 // messages whose observations are on the log
	Rejected     uint64 // messages that are in the dead letter, on the log
	Ignored      uint64 // messages not to be stored; Duplicates are among them
	Duplicates   uint64 // messages that were on the log already
	InFlight     uint64 // messages on their way to the log
	Observations uint64 // rows on the log
	Detections   uint64 // rows of video metadata on the log
	Uplinks      uint64 // rows of radio metadata on the log
	Batches      uint64 // on the log
	Blocked      uint64 // Handles waiting for the log now
	RejectedBy   map[Reason]uint64
	IgnoredBy    map[string]uint64
}

// Stats returns a consistent picture.
func (p *Pump) Stats() Stats {
	s := Stats{RejectedBy: map[Reason]uint64{}, IgnoredBy: map[string]uint64{}, Blocked: p.blocked.Load()}
	for _, r := range Reasons {
		s.RejectedBy[r] = 0
	}
	for _, l := range p.lanes {
		l.mu.Lock()
		s.Received += l.count.received
		s.Decoded += l.count.decoded
		s.Duplicates += l.count.duplicates
		s.Observations += l.count.observations
		s.Detections += l.count.detections
		s.Uplinks += l.count.uplinks
		s.Batches += l.count.batches
		s.InFlight += uint64(l.out + l.open.messages())
		for reason, n := range l.count.rejected {
			s.RejectedBy[reason] += n
			s.Rejected += n
		}
		l.mu.Unlock()
	}
	for w := range p.ignored {
		n := p.ignored[w].Load()
		s.IgnoredBy[whyNames[w]] = n
		s.Ignored += n
	}
	s.Received += s.Ignored
	s.IgnoredBy["duplicate"] = s.Duplicates
	s.Ignored += s.Duplicates
	return s
}

// collector reads the counters of a pump when they are asked for: the hot path keeps them under
// the locks it holds anyway.
type collector struct{ pump *Pump }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("panormus_ingest_"+name, help, labels, nil)
}

var (
	descReceived     = desc("received_messages_total", "Messages taken in: those decoded, rejected, ignored and in flight.")
	descDecoded      = desc("decoded_messages_total", "Messages whose observations are on the log.")
	descRejected     = desc("rejected_messages_total", "Messages in the dead letter, by reason.", "reason")
	descIgnored      = desc("ignored_messages_total", "Messages that were not to be stored, by why.", "why")
	descInFlight     = desc("in_flight_messages", "Messages on their way to the log.")
	descObservations = desc("observations_total", "Observations on the log.")
	descDetections   = desc("detections_total", "Rows of video metadata on the log.")
	descUplinks      = desc("uplinks_total", "Rows of radio metadata on the log.")
	descBatches      = desc("batches_total", "Batches put on the log.")
	descBlocked      = desc("blocked_senders", "Senders that wait because the log is behind.")
)

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descReceived, descDecoded, descRejected, descIgnored, descInFlight, descObservations, descDetections, descUplinks, descBatches, descBlocked,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	s := c.pump.Stats()
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, n uint64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n))
	}
	counter(descReceived, s.Received)
	counter(descDecoded, s.Decoded)
	for reason, n := range s.RejectedBy {
		counter(descRejected, n, string(reason))
	}
	for w, n := range s.IgnoredBy {
		counter(descIgnored, n, w)
	}
	gauge(descInFlight, s.InFlight)
	counter(descObservations, s.Observations)
	counter(descDetections, s.Detections)
	counter(descUplinks, s.Uplinks)
	counter(descBatches, s.Batches)
	gauge(descBlocked, s.Blocked)
}

package gather

import (
	"panormus/ingest/lorawan/envelope"
	"panormus/ingest/lorawan/frame"
)

// A Datagrams is a udp.Receiver that adds to a Gatherer. It belongs to one goroutine.
type Datagrams struct {
	To     *Gatherer
	parser envelope.Parser
	msg    envelope.Message
	copies []*copied // of one datagram
}

// Datagram implements udp.Receiver.
func (d *Datagrams) Datagram(in *envelope.Datagram, received int64) {
	err := d.parser.Semtech(in, &d.msg, func(m *envelope.Message, err error) error {
		if err != nil {
			d.refuse(in.JSON, err, received)
			return nil
		}
		if c := d.To.copy(m, received, debt{}); c != nil {
			d.copies = append(d.copies, c)
		}
		return nil
	})
	if len(d.copies) > 0 {
		_ = d.To.add(d.copies...) // it fails at the end only, and UDP has nobody to tell
		clear(d.copies)
		d.copies = d.copies[:0]
	}
	if err != nil {
		d.refuse(in.JSON, err, received)
	}
}

// Refused implements udp.Receiver.
func (d *Datagrams) Refused(datagram []byte, why *frame.Reject, received int64) {
	d.refuse(datagram, why, received)
}

// refuse files what is a Reject; anything else is the end, and UDP has nobody to tell.
func (d *Datagrams) refuse(b []byte, err error, received int64) {
	if why, ok := err.(*frame.Reject); ok {
		_ = d.To.Refuse("lorawan/udp", b, why, received)
	}
}

// A Station is a station.Receiver that adds to a Gatherer.
type Station struct{ To *Gatherer }

// Message implements station.Receiver.
func (s Station) Message(m *envelope.Message, received int64) {
	_ = s.To.Add(m, received, nil, 0) // it fails at the end only, when the connection ends too
}

// Refused implements station.Receiver.
func (s Station) Refused(message []byte, why *frame.Reject, received int64) {
	_ = s.To.Refuse("lorawan/station", message, why, received)
}

// Closed implements station.Receiver.
func (Station) Closed() {}

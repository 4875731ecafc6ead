package lorawan

import (
	"panormus/ingest"
	"panormus/ingest/lorawan/envelope"
	"panormus/ingest/lorawan/frame"
)

// chirpStack returns the decoder of one event of ChirpStack v4's MQTT integration, in JSON or
// protobuf. The device is the one of the registry with the event's DevEUI, or the DevEUI itself;
// its domain is the registry's, or the tag "domain", or the route's.
func (n *Network) chirpStack(event string) ingest.Decoder {
	return func(in *ingest.Input, out *ingest.Decoded) error {
		w := n.get()
		defer n.pool.Put(w)
		device, err := frame.ParseEUI(in.Device)
		if err != nil {
			device = 0
		}
		if err := w.parser.ChirpStackOf(device, event, in.Payload, &w.message); err != nil {
			return reject(err)
		}
		return n.message(w, in, out)
	}
}

// things decodes every message of The Things Stack v3's MQTT integration.
func (n *Network) things(in *ingest.Input, out *ingest.Decoded) error {
	w := n.get()
	defer n.pool.Put(w)
	if err := w.parser.TheThings(in.Payload, &w.message); err != nil {
		return reject(err)
	}
	return n.message(w, in, out)
}

// bridge returns the decoder of what a gateway tells of itself: stats or ack.
func (n *Network) bridge(event string) ingest.Decoder {
	return func(in *ingest.Input, out *ingest.Decoded) error {
		w := n.get()
		defer n.pool.Put(w)
		if err := w.parser.Bridge(event, in.Payload, &w.message); err != nil {
			return reject(err)
		}
		return n.gateway(&w.message, out)
	}
}

// A Gatherer takes raw frames in, as gather.Gatherer does.
type Gatherer interface {
	Add(m *envelope.Message, received int64, acker ingest.Acker, token uint64) error
}

// Bridge is the ingest.Taker of frames that a gateway bridge publishes: they wait for the copies
// that other gateways heard.
func (n *Network) Bridge(to Gatherer) ingest.Taker {
	return func(in *ingest.Input, acker ingest.Acker, token uint64) error {
		w := n.get()
		defer n.pool.Put(w)
		if err := w.parser.Bridge("up", in.Payload, &w.message); err != nil {
			return reject(err)
		}
		return to.Add(&w.message, in.Received, acker, token)
	}
}

// reject makes the pump's Reject of package frame's; the reasons keep their names.
func reject(err error) error {
	if r, ok := err.(*frame.Reject); ok {
		return &ingest.Reject{Reason: ingest.Reason(r.Reason), Detail: r.Detail}
	}
	return err
}

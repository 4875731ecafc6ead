package lorawan

import (
	"math"
	"strings"
	"sync"
	"time"

	"panormus/devices"
	"panormus/ingest"
	"panormus/ingest/jsonscan"
	"panormus/ingest/lorawan/envelope"
	"panormus/ingest/lorawan/frame"
	"panormus/ingest/lorawan/raw"
	"panormus/ingest/telemetry"
	"panormus/stream/batch"
)

// A Directory is the part of the device registry that is asked.
type Directory interface {
	Lookup(id string) *devices.Asset
	LookupDevEUI(eui string) *devices.Asset
}

// A Network decodes what network servers and gateways publish. Set its fields before the first use;
// the zero Network knows no device and no codec. It is safe for concurrent use.
type Network struct {
	Registry Directory // nil for none
	Codecs   *Codecs   // nil for none
	// Joined is told of the address that a device got when it joined. It must not block. nil for
	// nobody.
	Joined func(device frame.EUI, address frame.DevAddr)

	pool sync.Pool
}

type work struct {
	parser  envelope.Parser
	message envelope.Message
	payload raw.Payload
}

func (n *Network) get() *work {
	if w, ok := n.pool.Get().(*work); ok {
		return w
	}
	return &work{}
}

// Decoders are those of the messages of networks and gateways, by the names that routes use; frames
// decodes raw frames.
func (n *Network) Decoders(frames *raw.Decoder) map[string]ingest.Decoder {
	return map[string]ingest.Decoder{
		"chirpstack": n.chirpStack("up"), "chirpstack-status": n.chirpStack("status"), "chirpstack-join": n.chirpStack("join"),
		"chirpstack-ack": n.chirpStack("ack"), "chirpstack-txack": n.chirpStack("txack"), "chirpstack-log": n.chirpStack("log"),
		"chirpstack-location": n.chirpStack("location"), "things": n.things,
		"bridge": frames.Frame, "bridge-stats": n.bridge("stats"), "bridge-ack": n.bridge("ack"), "lorawan-frame": frames.Frame,
	}
}

// message writes what a network server told of a device.
func (n *Network) message(w *work, in *ingest.Input, out *ingest.Decoded) error {
	m := &w.message
	var asset *devices.Asset
	if m.DevEUI != 0 {
		out.DevEUI = m.DevEUI.String()
		if n.Registry != nil {
			asset = n.Registry.LookupDevEUI(out.DevEUI)
		}
	} else {
		out.Device = string(m.Name)
		if n.Registry != nil {
			asset = n.Registry.Lookup(out.Device)
		}
	}
	if asset != nil {
		out.Domain = asset.Domain
	} else {
		out.Domain = string(m.Domain)
	}
	switch m.Kind {
	case envelope.Uplink:
		return n.uplink(w, asset, in, out)
	case envelope.Join:
		if m.HasDevAddr && n.Joined != nil && in.Again == "" {
			n.Joined(m.DevEUI, m.DevAddr)
		}
	}
	begin(m, out)
	a := adder{out: out}
	switch m.Kind {
	case envelope.Status:
		a.number("lorawan_margin_db", float64(m.Status.MarginDB))
		a.battery(&m.Status)
	case envelope.Join:
		if m.HasDevAddr {
			a.text("lorawan_dev_addr", []byte(m.DevAddr.String()))
		} else {
			a.flag("lorawan_joined", true)
		}
	case envelope.Location:
		a.position(&m.Location)
	case envelope.Ack:
		a.flag("lorawan_acknowledged", m.Ack.Acknowledged)
	case envelope.TxAck:
		a.flag("lorawan_downlink_sent", m.Ack.Acknowledged)
		a.text("lorawan_downlink_error", m.Ack.Error)
	case envelope.Log:
		line := append(append(append([]byte(nil), m.Log.Level...), ' '), m.Log.Code...)
		if len(m.Log.Description) > 0 {
			line = append(append(line, ':', ' '), m.Log.Description[:min(len(m.Log.Description), 512)]...)
		}
		a.text("lorawan_log", line)
	default:
		return ingest.Rejectf(ingest.ReasonEvent, "a message of none of the kinds that are read")
	}
	return a.err
}

// begin starts the record of m.
func begin(m *envelope.Message, out *ingest.Decoded) {
	r := out.Begin()
	r.Time, r.OwnTime = m.Time, m.Time != 0
}

// uplink writes an uplink that the network server has checked.
func (n *Network) uplink(w *work, asset *devices.Asset, in *ingest.Input, out *ingest.Decoded) error {
	m := &w.message
	p := &m.Payload
	n.receptions(m, asset, in, out)
	if p.Encrypted {
		return ingest.Rejectf(ingest.ReasonEncrypted, "the payload of %d bytes is encrypted for the join server's application", len(p.Bytes))
	}
	begin(m, out)
	a := adder{out: out}
	a.battery(&m.Status)
	if a.err != nil {
		return a.err
	}
	switch {
	case len(p.Bytes) > 0 && n.Codecs.has(asset):
		if p.FPort == 0 {
			return nil // MAC commands
		}
		at := m.Time
		if at == 0 {
			at = in.Received
		}
		w.payload = raw.Payload{Asset: asset, Port: p.FPort, FCnt: p.FCnt, Bytes: p.Bytes, Time: at}
		return n.Codecs.Decode(&w.payload, out)
	case len(p.Object) > 0 || len(p.Normalized) > 0:
		return decoded(p, out)
	case len(p.Bytes) > 0:
		return ingest.Rejectf(ingest.ReasonNoCodec, "%d bytes on port %d and no object, want a codec on the server or in the profile", len(p.Bytes), p.FPort)
	case len(m.Radio.Receptions) == 0:
		return ingest.Rejectf(ingest.ReasonNoMetrics, "neither object nor data nor rxInfo, want one")
	}
	return nil // MAC commands or nothing: the radio's side is all there is
}

// receptions makes a row of radio metadata for every gateway.
func (n *Network) receptions(m *envelope.Message, asset *devices.Asset, in *ingest.Input, out *ingest.Decoded) {
	at := m.Time
	if at == 0 {
		at = in.Received
	}
	eui := out.DevEUI
	if eui == "" && asset != nil && asset.LoRaWAN != nil {
		eui = strings.ToLower(asset.LoRaWAN.DevEUI)
	}
	rate := m.Radio.DataRate.String()
	for i := range m.Radio.Receptions {
		r := &m.Radio.Receptions[i]
		out.Uplinks = append(out.Uplinks, batch.Uplink{
			Time: time.UnixMilli(at).UTC(), DevEUI: eui, Gateway: r.Gateway, RSSIdBm: r.RSSIdBm, SNRdB: r.SNRdB,
			FrequencyHz: float64(m.Radio.FrequencyHz), DataRate: rate, FCnt: int64(m.Payload.FCnt), FPort: int64(m.Payload.FPort),
			AirtimeMs: float64(m.Radio.Airtime) / 1e6,
		})
	}
}

// decoded writes what the network's codec made of a payload.
func decoded(p *envelope.Payload, out *ingest.Decoded) error {
	before := len(out.Values)
	if len(p.Object) > 0 {
		s := &out.Scan
		s.Reset(p.Object)
		if err := object(s, func(name []byte) error { return telemetry.Flatten(s, name, out) }); err != nil {
			return err
		}
	}
	if len(p.Normalized) > 0 {
		if err := normalized(p.Normalized, out); err != nil {
			return err
		}
	}
	if len(out.Values) == before {
		return ingest.Rejectf(ingest.ReasonNoMetrics, "an empty object, want at least one member")
	}
	if len(p.Warnings) > 2 { // more than []
		return out.Add(warningsName, math.NaN(), p.Warnings[:min(len(p.Warnings), maxWarnings)])
	}
	return nil
}

// object calls member for every member of the object in s; member reads its value.
func object(s *jsonscan.Scanner, member func(name []byte) error) error {
	if err := s.Open('{'); err != nil {
		return ingest.RejectJSON(err)
	}
	for first := true; ; first = false {
		name, more, err := s.Member(first)
		if err != nil {
			return ingest.RejectJSON(err)
		}
		if !more {
			return nil
		}
		if err := member(name); err != nil {
			return err
		}
	}
}

// gateway writes what a gateway told of itself: observations of a device with the gateway's name.
func (n *Network) gateway(m *envelope.Message, out *ingest.Decoded) error {
	out.Device = m.Gateway
	if n.Registry != nil {
		if a := n.Registry.Lookup(m.Gateway); a != nil {
			out.Domain = a.Domain
		}
	}
	begin(m, out)
	a := adder{out: out}
	if m.Kind == envelope.TxAck {
		a.flag("downlink_sent", m.Ack.Acknowledged)
		a.text("downlink_error", m.Ack.Error)
		return a.err
	}
	s := &m.Stats
	a.number("rx_packets", float64(s.Received))
	a.number("rx_packets_ok", float64(s.ReceivedOK))
	a.number("tx_packets", float64(s.DownSent))
	a.number("tx_packets_asked", float64(s.DownReceived))
	if s.Forwarded > 0 {
		a.number("rx_packets_forwarded", float64(s.Forwarded))
	}
	if s.AckPercent > 0 {
		a.number("acknowledged_percent", s.AckPercent)
	}
	if s.HasTemp {
		a.number("temperature", s.TempC)
	}
	a.position(&s.At)
	a.text("version", s.Version)
	a.text("model", s.Model)
	return a.err
}

// An adder adds values to the record begun last and keeps the first error.
type adder struct {
	out *ingest.Decoded
	err error
}

func (a *adder) number(name string, v float64) {
	if a.err == nil {
		a.err = a.out.Add([]byte(name), v, nil)
	}
}

func (a *adder) flag(name string, yes bool) {
	v := 0.0
	if yes {
		v = 1
	}
	a.number(name, v)
}

// text adds a text, unless it is empty.
func (a *adder) text(name string, v []byte) {
	if a.err == nil && len(v) > 0 {
		a.err = a.out.Add([]byte(name), math.NaN(), v)
	}
}

func (a *adder) battery(s *envelope.DeviceStatus) {
	switch {
	case s.ExternalPower:
		a.flag("lorawan_external_power", true)
	case s.HasBattery:
		a.number("lorawan_battery_percent", s.BatteryPercent)
	}
}

func (a *adder) position(p *envelope.Position) {
	if !p.Known {
		return
	}
	a.number("position_lat", p.Lat)
	a.number("position_lon", p.Lon)
	if p.AltitudeM != 0 {
		a.number("position_alt", p.AltitudeM)
	}
	if p.AccuracyM != 0 {
		a.number("position_accuracy_m", p.AccuracyM)
	}
}

package envelope

import (
	"encoding/binary"
	"math"
	"time"

	"panormus/ingest/lorawan/frame"
	"panormus/ingest/lorawan/radio"
)

// Op is the identifier of a datagram of Semtech's packet forwarder protocol.
type Op uint8

// The identifiers of protocol version 2.
const (
	PushData Op = 0
	PushAck  Op = 1
	PullData Op = 2
	PullResp Op = 3
	PullAck  Op = 4
	TxResult Op = 5 // TX_ACK
)

const semtechVersion = 2

// A Datagram is one of a gateway's.
type Datagram struct {
	Op      Op
	Token   [2]byte
	Gateway frame.EUI
	JSON    []byte // of PushData and TxResult; empty for a TxResult that reports no trouble
}

// ParseDatagram reads the header of what a gateway sent.
func ParseDatagram(b []byte) (Datagram, error) {
	if len(b) < 12 {
		return Datagram{}, frame.Rejectf(frame.ReasonShort, "datagram of %d bytes, want at least 12", len(b))
	}
	if b[0] != semtechVersion {
		return Datagram{}, frame.Rejectf(frame.ReasonEvent, "packet forwarder protocol version %d, want %d", b[0], semtechVersion)
	}
	d := Datagram{Op: Op(b[3]), Token: [2]byte{b[1], b[2]}, Gateway: frame.EUI(binary.BigEndian.Uint64(b[4:12])), JSON: b[12:]}
	switch d.Op {
	case PushData:
		if len(d.JSON) == 0 {
			return Datagram{}, frame.Rejectf(frame.ReasonShort, "PUSH_DATA of 12 bytes, want JSON after them")
		}
	case PullData:
		if len(d.JSON) != 0 {
			return Datagram{}, frame.Rejectf(frame.ReasonLong, "PULL_DATA of %d bytes, want 12", len(b))
		}
	case TxResult:
	default:
		return Datagram{}, frame.Rejectf(frame.ReasonEvent, "datagram %d, want PUSH_DATA, PULL_DATA or TX_ACK", d.Op)
	}
	return d, nil
}

// Answer is what the gateway wants to hear, 4 bytes, fewer than it sent; ok is false where it wants
// nothing.
func (d *Datagram) Answer() (answer [4]byte, ok bool) {
	switch d.Op {
	case PushData:
		return [4]byte{semtechVersion, d.Token[0], d.Token[1], byte(PushAck)}, true
	case PullData:
		return [4]byte{semtechVersion, d.Token[0], d.Token[1], byte(PullAck)}, true
	}
	return answer, false
}

// maxPackets is how many frames one datagram may have.
const maxPackets = 256

// Semtech reads the JSON of a datagram and calls visit with each message in it: Uplinks, Stats or
// a TxAck, read into m one after the other. A frame that cannot be read goes to visit with its
// error, and the ones after it are read all the same; visit's own error ends the reading. An error
// of the JSON itself comes back after the frames before it were visited.
func (p *Parser) Semtech(d *Datagram, m *Message, visit func(m *Message, err error) error) error {
	if err := p.begin(d.JSON, m); err != nil {
		return err
	}
	gateway := p.gatewayEUI(d.Gateway)
	if d.Op == TxResult && len(trimSpace(d.JSON)) == 0 {
		m.Kind, m.Gateway, m.Ack.Acknowledged = TxAck, gateway, true
		return visit(m, nil)
	}
	packets := 0
	var visiting error // visit's own
	// one reads the value that follows on its own, so that what is wrong with it stays there.
	one := func(read func() error) error {
		var raw []byte
		if err := p.raw(&raw); err != nil {
			return err
		}
		p.buf = p.buf[:0]
		m.reset()
		m.Gateway = gateway
		p.inner.Reset(raw)
		p.s = &p.inner
		err := read()
		p.s = &p.outer
		if err != nil {
			err = rejectJSON(err)
		}
		visiting = visit(m, err)
		return visiting
	}
	err := p.whole("datagram", func(name string) error {
		switch name {
		case "rxpk":
			return p.array(name, func() error {
				if packets++; packets > maxPackets {
					return frame.Rejectf(frame.ReasonTooMany, "more than %d frames in a datagram", maxPackets)
				}
				return one(func() error { return p.packet(m) })
			})
		case "stat":
			return one(func() error { return p.stat(m) })
		case "txpk_ack":
			return one(func() error { return p.txResult(m) })
		}
		return p.s.Skip()
	})
	if visiting != nil {
		return visiting
	}
	return err
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && b[len(b)-1] <= ' ' {
		b = b[:len(b)-1]
	}
	return b
}

// packet reads one rxpk.
func (p *Parser) packet(m *Message) error {
	m.Kind = Uplink
	r, err := m.addReception()
	if err != nil {
		return err
	}
	r.Gateway = m.Gateway
	size := int64(-1)
	var coding uint8
	signal := math.Inf(-1)
	err = p.object("rxpk", func(name string) error {
		switch name {
		case "time":
			return p.time(name, &r.Time)
		case "freq":
			var mhz float64
			err := p.number(name, &mhz)
			if !(mhz >= 0 && mhz < 4000) {
				return frame.Rejectf(frame.ReasonNumber, "freq: %v MHz, want 0 to 4000", mhz)
			}
			m.Radio.FrequencyHz = uint32(math.Round(mhz * 1e6))
			return err
		case "stat":
			v, err := p.integer(name, -1, 1)
			m.Payload.BadCRC = v == -1
			return err
		case "datr":
			return p.dataRate(name, &m.Radio.DataRate)
		case "codr":
			b, err := p.text(name)
			coding = radio.ParseCodingRate(b)
			return err
		case "rssi":
			return p.number(name, &r.RSSIdBm)
		case "lsnr":
			return p.number(name, &r.SNRdB)
		case "rsig": // the same frame by each antenna: the best counts
			return p.array(name, func() error { return p.antenna(r, &signal) })
		case "size":
			size, err = p.integer(name, 0, math.MaxUint16)
			return err
		case "data":
			return p.bytes(name, frame.MaxFrame, &m.Payload.Raw)
		}
		return p.s.Skip()
	})
	if err != nil {
		return err
	}
	if m.Radio.DataRate.Modulation == radio.LoRa {
		m.Radio.DataRate.CodingRate = coding
	}
	switch {
	case len(m.Payload.Raw) == 0:
		return missing("rxpk.data")
	case size >= 0 && size != int64(len(m.Payload.Raw)):
		return frame.Rejectf(frame.ReasonShort, "rxpk.data of %d bytes, want %d as its size says", len(m.Payload.Raw), size)
	}
	m.settle()
	return nil
}

// antenna reads one of rsig, of gateways with several antennas.
func (p *Parser) antenna(r *Reception, best *float64) error {
	rssi, snr := math.Inf(-1), 0.0
	err := p.object("rsig", func(name string) error {
		switch name {
		case "rssic":
			return p.number(name, &rssi)
		case "lsnr":
			return p.number(name, &snr)
		}
		return p.s.Skip()
	})
	if err == nil && rssi > *best {
		*best, r.RSSIdBm, r.SNRdB = rssi, rssi, snr
	}
	return err
}

// dataRate reads datr: a name for LoRa and LR-FHSS, bits a second for FSK.
func (p *Parser) dataRate(what string, d *radio.DataRate) error {
	if p.s.Peek() != '"' {
		v, err := p.integer(what, 1, 1_000_000)
		*d = radio.DataRate{Modulation: radio.FSK, BitRate: uint32(v)}
		return err
	}
	b, err := p.text(what)
	if err != nil {
		return err
	}
	var ok bool
	if *d, ok = radio.ParseDataRate(b); !ok {
		return frame.Rejectf(frame.ReasonType, "%s: %q, want a data rate such as \"SF7BW125\"", what, clip(b))
	}
	return nil
}

// stat reads a gateway's status.
func (p *Parser) stat(m *Message) error {
	m.Kind = Stats
	s := &m.Stats
	var lat, lon float64
	err := p.object("stat", func(name string) error {
		switch name {
		case "time":
			b, err := p.text(name)
			if err != nil || len(b) == 0 {
				return err
			}
			t, err := time.Parse("2006-01-02 15:04:05 MST", str(b))
			if err != nil {
				return frame.Rejectf(frame.ReasonTime, "stat.time: %q, want one such as \"2026-11-23 08:59:28 GMT\"", clip(b))
			}
			m.Time = t.UnixMilli()
			return nil
		case "lati":
			return p.number(name, &lat)
		case "long":
			return p.number(name, &lon)
		case "alti":
			return p.number(name, &s.At.AltitudeM)
		case "rxnb":
			return p.uint64(name, &s.Received)
		case "rxok":
			return p.uint64(name, &s.ReceivedOK)
		case "rxfw":
			return p.uint64(name, &s.Forwarded)
		case "dwnb":
			return p.uint64(name, &s.DownReceived)
		case "txnb":
			return p.uint64(name, &s.DownSent)
		case "ackr":
			return p.number(name, &s.AckPercent)
		case "temp":
			s.HasTemp = true
			return p.number(name, &s.TempC)
		case "pfrm":
			return p.kept(name, &s.Model)
		}
		return p.s.Skip()
	})
	if err != nil {
		return err
	}
	return s.At.set("stat", lat, lon)
}

// txResult reads a txpk_ack.
func (p *Parser) txResult(m *Message) error {
	m.Kind, m.Ack.Acknowledged = TxAck, true
	return p.object("txpk_ack", func(name string) error {
		if name != "error" {
			return p.s.Skip()
		}
		b, err := p.text(name)
		if len(b) > 0 && string(b) != "NONE" {
			m.Ack.Acknowledged, m.Ack.Error = false, p.keep(b)
		}
		return err
	})
}

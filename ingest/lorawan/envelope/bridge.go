package envelope

import (
	"encoding/base64"
	"math"
	"strconv"
	"time"

	"panormus/ingest/lorawan/frame"
	"panormus/ingest/lorawan/radio"
)

// Bridge reads an event of ChirpStack's gateway bridge, of version 4 or 3, in JSON or protobuf.
// event is the last level of its topic: up, stats or ack. An up may have the receptions of several
// gateways in an array, as Frame.AppendPayload writes them.
func (p *Parser) Bridge(event string, data []byte, m *Message) error {
	if err := p.begin(data, m); err != nil {
		return err
	}
	var err error
	switch json := isJSON(data); {
	case event == "up" && json:
		m.Kind = Uplink
		err = p.whole("frame", func(name string) error { return p.frameMember(name, m) })
	case event == "up":
		m.Kind = Uplink
		err = p.frameProto(data, m)
	case event == "stats" && json:
		m.Kind = Stats
		err = p.whole("stats", func(name string) error { return p.statsMember(name, m) })
	case event == "stats":
		m.Kind = Stats
		err = p.statsProto(data, m)
	case event == "ack" && json:
		m.Kind = TxAck
		err = p.whole("ack", func(name string) error { return p.ackMember(name, m) })
	case event == "ack":
		m.Kind = TxAck
		err = p.ackProto(data, m)
	default:
		return frame.Rejectf(frame.ReasonEvent, "event %q, want up, stats or ack", clip([]byte(event)))
	}
	if err != nil {
		return err
	}
	if m.Kind == Uplink {
		switch r := m.Radio.Receptions; {
		case len(m.Payload.Raw) == 0:
			return missing("phyPayload")
		case len(r) == 0 || r[0].Gateway == "":
			return missing("rxInfo.gatewayId")
		default:
			m.Gateway = r[0].Gateway
		}
	} else if m.Gateway == "" {
		return missing("gatewayId")
	}
	m.settle()
	return nil
}

func (p *Parser) frameMember(name string, m *Message) error {
	switch name {
	case "phyPayload":
		return p.bytes(name, frame.MaxFrame, &m.Payload.Raw)
	case "txInfo":
		return p.txInfo(m)
	case "rxInfo":
		if p.s.Peek() == '[' {
			return p.array(name, func() error { return p.rxInfo(m) })
		}
		return p.rxInfo(m)
	}
	return p.s.Skip()
}

func (p *Parser) frameProto(data []byte, m *Message) error {
	var legacyRx, legacyTx field
	err := protoFields("frame", data, func(f field) error {
		switch f.num {
		case 1:
			return f.bytes("phy_payload", frame.MaxFrame, &m.Payload.Raw)
		case 2:
			legacyTx = f
		case 3:
			legacyRx = f
		case 4:
			return txInfoProto(f, &m.Radio)
		case 5:
			return p.rxInfoProto(f, m)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if m.Radio.FrequencyHz == 0 && legacyTx.num != 0 {
		if err := txInfoProto(legacyTx, &m.Radio); err != nil {
			return err
		}
	}
	if len(m.Radio.Receptions) == 0 && legacyRx.b != nil {
		return p.rxInfoLegacyProto(legacyRx.b, m)
	}
	return nil
}

func (p *Parser) statsMember(name string, m *Message) error {
	s := &m.Stats
	switch name {
	case "gatewayId":
		b, err := p.text(name)
		if len(b) > 0 {
			m.Gateway = p.gateway(b)
		}
		return err
	case "gatewayID": // version 3: base64
		var b []byte
		err := p.bytes(name, 8, &b)
		if len(b) == 8 {
			m.Gateway = p.gatewayEUI(bigEUI(b))
		}
		return err
	case "time":
		return p.time(name, &m.Time)
	case "location":
		return p.position(name, &s.At)
	case "rxPacketsReceived":
		return p.uint64(name, &s.Received)
	case "rxPacketsReceivedOk", "rxPacketsReceivedOK":
		return p.uint64(name, &s.ReceivedOK)
	case "txPacketsReceived":
		return p.uint64(name, &s.DownReceived)
	case "txPacketsEmitted":
		return p.uint64(name, &s.DownSent)
	case "rxPacketsForwarded": // AppendStats
		return p.uint64(name, &s.Forwarded)
	case "ackPercent":
		return p.number(name, &s.AckPercent)
	case "temperature":
		s.HasTemp = true
		return p.number(name, &s.TempC)
	case "configVersion":
		return p.kept(name, &s.Version)
	case "metadata", "metaData":
		return p.object(name, func(name string) error {
			if name == "model" {
				return p.kept(name, &s.Model)
			}
			return p.s.Skip()
		})
	}
	return p.s.Skip()
}

func (p *Parser) statsProto(data []byte, m *Message) error {
	s := &m.Stats
	count := func(f field, what string, dst *uint64) error {
		v, err := f.uint(what, math.MaxUint32)
		*dst = v
		return err
	}
	return protoFields("stats", data, func(f field) error {
		switch f.num {
		case 1:
			if len(f.b) == 8 && m.Gateway == "" {
				m.Gateway = p.gatewayEUI(bigEUI(f.b))
			}
		case 2:
			return f.time("time", &m.Time)
		case 3:
			return positionProto(f, &s.At)
		case 4:
			return f.text("config_version", &s.Version)
		case 5:
			return count(f, "rx_packets_received", &s.Received)
		case 6:
			return count(f, "rx_packets_received_ok", &s.ReceivedOK)
		case 7:
			return count(f, "tx_packets_received", &s.DownReceived)
		case 8:
			return count(f, "tx_packets_emitted", &s.DownSent)
		case 17:
			var b []byte
			err := f.text("gateway_id", &b)
			if len(b) > 0 {
				m.Gateway = p.gateway(b)
			}
			return err
		}
		return nil
	})
}

// ackMember reads a gw.DownlinkTxAck: sent if one of its items was.
func (p *Parser) ackMember(name string, m *Message) error {
	switch name {
	case "gatewayId":
		b, err := p.text(name)
		if len(b) > 0 {
			m.Gateway = p.gateway(b)
		}
		return err
	case "gatewayID":
		var b []byte
		err := p.bytes(name, 8, &b)
		if len(b) == 8 {
			m.Gateway = p.gatewayEUI(bigEUI(b))
		}
		return err
	case "items":
		return p.array(name, func() error {
			return p.object(name, func(name string) error {
				if name != "status" {
					return p.s.Skip()
				}
				b, err := p.text(name)
				if string(b) == "OK" {
					m.Ack.Acknowledged = true
				} else if len(b) > 0 && string(b) != "IGNORED" {
					m.Ack.Error = p.keep(b)
				}
				return err
			})
		})
	}
	return p.s.Skip()
}

// txStatus are the names of gw.TxAckStatus by number.
var txStatus = [][]byte{
	[]byte("IGNORED"), []byte("OK"), []byte("TOO_LATE"), []byte("TOO_EARLY"), []byte("COLLISION_PACKET"), []byte("COLLISION_BEACON"),
	[]byte("TX_FREQ"), []byte("TX_POWER"), []byte("GPS_UNLOCKED"), []byte("QUEUE_FULL"), []byte("INTERNAL_ERROR"), []byte("DUTY_CYCLE_OVERFLOW"),
}

func (p *Parser) ackProto(data []byte, m *Message) error {
	return protoFields("ack", data, func(f field) error {
		switch f.num {
		case 1:
			if len(f.b) == 8 && m.Gateway == "" {
				m.Gateway = p.gatewayEUI(bigEUI(f.b))
			}
		case 6:
			var b []byte
			err := f.text("gateway_id", &b)
			if len(b) > 0 {
				m.Gateway = p.gateway(b)
			}
			return err
		case 5:
			return f.message("items", func(f field) error {
				if f.num != 1 {
					return nil
				}
				v, err := f.uint("status", math.MaxInt32)
				switch {
				case v == 1:
					m.Ack.Acknowledged = true
				case v > 1 && v < uint64(len(txStatus)):
					m.Ack.Error = txStatus[v]
				}
				return err
			})
		}
		return nil
	})
}

// A Frame is a raw uplink with all its receptions, whatever it came in by.
type Frame struct {
	Raw    []byte
	BadCRC bool
	// Time is the clock of the first gateway that has one, Unix ms; 0 where none has.
	Time  int64
	Radio Radio
}

// Frame is the raw uplink that m tells of; it shares the memory of m.
func (m *Message) Frame() Frame {
	return Frame{Raw: m.Payload.Raw, BadCRC: m.Payload.BadCRC, Time: m.Time, Radio: m.Radio}
}

// Gateway is the one of the first reception.
func (f *Frame) Gateway() string {
	if len(f.Radio.Receptions) == 0 {
		return ""
	}
	return f.Radio.Receptions[0].Gateway
}

// AppendPayload appends the JSON of the bridge's up event, receptions in an array: what Bridge reads.
// Parts that do not fit JSON are left out. It implements ingest.Parsed.
func (f *Frame) AppendPayload(out []byte) []byte {
	out = append(out, `{"phyPayload":"`...)
	out = base64.StdEncoding.AppendEncode(out, f.Raw)
	out = append(out, `","txInfo":{"frequency":`...)
	out = strconv.AppendUint(out, uint64(f.Radio.FrequencyHz), 10)
	d := &f.Radio.DataRate
	switch d.Modulation {
	case radio.LoRa:
		out = append(out, `,"modulation":{"lora":{"bandwidth":`...)
		out = strconv.AppendUint(out, uint64(d.BandwidthHz), 10)
		out = append(out, `,"spreadingFactor":`...)
		out = strconv.AppendUint(out, uint64(d.SpreadingFactor), 10)
		if d.CodingRate != 0 {
			out = append(out, `,"codeRate":"CR_4_`...)
			out = append(out, '0'+d.CodingRate, '"')
		}
		out = append(out, '}', '}')
	case radio.FSK:
		out = append(out, `,"modulation":{"fsk":{"datarate":`...)
		out = strconv.AppendUint(out, uint64(d.BitRate), 10)
		out = append(out, '}', '}')
	case radio.LRFHSS:
		out = append(out, `,"modulation":{"lrFhss":{"operatingChannelWidth":`...)
		out = strconv.AppendUint(out, uint64(d.BandwidthHz), 10)
		out = append(out, '}', '}')
	}
	out = append(out, `},"rxInfo":[`...)
	for i := range f.Radio.Receptions {
		if i > 0 {
			out = append(out, ',')
		}
		out = f.Radio.Receptions[i].append(out, f.BadCRC)
	}
	return append(out, ']', '}')
}

// AppendStats appends a gateway's report as the JSON of the bridge's stats event, with what only the
// packet forwarder tells beside: what Bridge reads.
func AppendStats(out []byte, m *Message) []byte {
	s := &m.Stats
	out = append(out, `{"gatewayId":`...)
	out = appendString(out, []byte(m.Gateway))
	if m.Time != 0 {
		out = append(out, `,"time":"`...)
		out = append(appendTime(out, m.Time), '"')
	}
	if s.At.Known {
		out = append(out, `,"location":{"latitude":`...)
		out = append(appendFloat(out, s.At.Lat), `,"longitude":`...)
		out = append(appendFloat(out, s.At.Lon), `,"altitude":`...)
		out = append(appendFloat(out, s.At.AltitudeM), '}')
	}
	for _, c := range []struct {
		name  string
		count uint64
	}{
		{"rxPacketsReceived", s.Received}, {"rxPacketsReceivedOk", s.ReceivedOK}, {"rxPacketsForwarded", s.Forwarded},
		{"txPacketsReceived", s.DownReceived}, {"txPacketsEmitted", s.DownSent},
	} {
		out = append(append(append(out, `,"`...), c.name...), `":`...)
		out = strconv.AppendUint(out, c.count, 10)
	}
	if s.AckPercent != 0 {
		out = appendFloat(append(out, `,"ackPercent":`...), s.AckPercent)
	}
	if s.HasTemp {
		out = appendFloat(append(out, `,"temperature":`...), s.TempC)
	}
	if len(s.Version) > 0 {
		out = appendString(append(out, `,"configVersion":`...), s.Version)
	}
	if len(s.Model) > 0 {
		out = append(appendString(append(out, `,"metadata":{"model":`...), s.Model), '}')
	}
	return append(out, '}')
}

// AppendAck appends a gateway's word about a downlink as the JSON of the bridge's ack event.
func AppendAck(out []byte, m *Message) []byte {
	out = appendString(append(out, `{"gatewayId":`...), []byte(m.Gateway))
	status := m.Ack.Error
	if m.Ack.Acknowledged {
		status = txStatus[1]
	} else if len(status) == 0 {
		status = []byte("INTERNAL_ERROR")
	}
	return append(appendString(append(out, `,"items":[{"status":`...), status), `}]}`...)
}

func (r *Reception) append(out []byte, badCRC bool) []byte {
	out = append(out, `{"gatewayId":`...)
	out = appendString(out, []byte(r.Gateway))
	if r.Time != 0 {
		out = append(out, `,"gwTime":"`...)
		out = appendTime(out, r.Time)
		out = append(out, '"')
	}
	out = append(out, `,"rssi":`...)
	out = appendFloat(out, r.RSSIdBm)
	out = append(out, `,"snr":`...)
	out = appendFloat(out, r.SNRdB)
	if r.At.Known {
		out = append(out, `,"location":{"latitude":`...)
		out = appendFloat(out, r.At.Lat)
		out = append(out, `,"longitude":`...)
		out = appendFloat(out, r.At.Lon)
		out = append(out, `,"altitude":`...)
		out = appendFloat(out, r.At.AltitudeM)
		out = append(out, '}')
	}
	if badCRC {
		out = append(out, `,"crcStatus":"BAD_CRC"`...)
	}
	return append(out, '}')
}

func appendFloat(out []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		v = 0
	}
	return strconv.AppendFloat(out, v, 'g', -1, 64)
}

// appendTime appends Unix ms as RFC 3339.
func appendTime(out []byte, ms int64) []byte {
	return time.UnixMilli(ms).UTC().AppendFormat(out, "2006-01-02T15:04:05.000Z07:00")
}

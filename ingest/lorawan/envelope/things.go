package envelope

import (
	"strconv"
	"time"

	"panormus/ingest/lorawan/frame"
)

// TheThings reads a message of The Things Stack v3's MQTT integration, of whatever kind: the
// message itself says which. Zeros are left out, so a port or counter that is not there is 0.
func (p *Parser) TheThings(data []byte, m *Message) error {
	if err := p.begin(data, m); err != nil {
		return err
	}
	var received int64
	err := p.whole("message", func(name string) error {
		switch name {
		case "end_device_ids":
			return p.object(name, func(name string) error { return p.thingsIDs(name, m) })
		case "received_at":
			return p.time(name, &received)
		case "uplink_message":
			m.Kind = Uplink
			return p.thingsUplink(name, m)
		case "join_accept":
			m.Kind = Join
			return p.thingsTime(name, m)
		case "location_solved":
			m.Kind = Location
			return p.object(name, func(name string) error {
				switch name {
				case "location":
					return p.position(name, &m.Location)
				case "service":
					return p.kept(name, &m.Location.Service)
				}
				return p.s.Skip()
			})
		case "downlink_ack", "downlink_nack":
			m.Kind, m.Ack.Acknowledged = Ack, name == "downlink_ack"
			return p.thingsDownlink(name, m)
		case "downlink_sent":
			m.Kind, m.Ack.Acknowledged = TxAck, true
			return p.thingsDownlink(name, m)
		case "downlink_failed":
			m.Kind = TxAck
			return p.object(name, func(name string) error {
				switch name {
				case "downlink":
					return p.thingsDownlink(name, m)
				case "error":
					return p.raw(&m.Ack.Error)
				}
				return p.s.Skip()
			})
		}
		return p.s.Skip()
	})
	if err != nil {
		return err
	}
	if m.Time == 0 {
		m.Time = received
	}
	switch {
	case m.Kind == Other:
		return nil
	case m.DevEUI == 0 && len(m.Name) == 0:
		return missing("end_device_ids.dev_eui or device_id")
	case m.Kind == Location && !m.Location.Known:
		return missing("location_solved.location")
	}
	m.settle()
	return nil
}

func (p *Parser) thingsIDs(name string, m *Message) error {
	switch name {
	case "device_id":
		return p.kept(name, &m.Name)
	case "dev_eui":
		return p.eui(name, &m.DevEUI)
	case "dev_addr":
		return p.devAddr(name, m)
	case "application_ids":
		return p.object(name, func(name string) error {
			if name == "application_id" {
				return p.kept(name, &m.Application)
			}
			return p.s.Skip()
		})
	}
	return p.s.Skip()
}

func (p *Parser) thingsTime(what string, m *Message) error {
	return p.object(what, func(name string) error {
		if name == "received_at" {
			return p.time(name, &m.Time)
		}
		return p.s.Skip()
	})
}

func (p *Parser) thingsDownlink(what string, m *Message) error {
	return p.object(what, func(name string) error {
		switch name {
		case "f_cnt":
			return p.uint32(name, &m.Ack.FCntDown)
		case "session_key_id":
			return p.s.Skip()
		}
		return p.s.Skip()
	})
}

func (p *Parser) thingsUplink(what string, m *Message) error {
	return p.object(what, func(name string) error {
		switch name {
		case "f_port":
			return p.port(name, &m.Payload.FPort)
		case "f_cnt":
			return p.uint32(name, &m.Payload.FCnt)
		case "confirmed":
			return p.bool(name, &m.Payload.Confirmed)
		case "frm_payload":
			return p.bytes(name, MaxPayload, &m.Payload.Bytes)
		case "decoded_payload":
			return p.rawObject(name, &m.Payload.Object)
		case "decoded_payload_warnings":
			return p.raw(&m.Payload.Warnings)
		case "normalized_payload":
			return p.raw(&m.Payload.Normalized)
		case "app_s_key": // left to the application to decrypt
			m.Payload.Encrypted = p.s.Peek() != 'n'
			return p.s.Skip()
		case "rx_metadata":
			return p.array(name, func() error { return p.thingsReception(m) })
		case "settings":
			return p.thingsSettings(name, m)
		case "received_at":
			return p.time(name, &m.Time)
		case "consumed_airtime":
			return p.duration(name, &m.Radio.Airtime)
		case "last_battery_percentage":
			return p.object(name, func(name string) error {
				if name == "value" {
					m.Status.HasBattery = true
					return p.number(name, &m.Status.BatteryPercent)
				}
				return p.s.Skip()
			})
		}
		return p.s.Skip()
	})
}

func (p *Parser) thingsReception(m *Message) error {
	r, err := m.addReception()
	if err != nil {
		return err
	}
	named := false // an EUI goes before a name
	return p.object("rx_metadata", func(name string) error {
		switch name {
		case "gateway_ids":
			return p.object(name, func(name string) error {
				switch name {
				case "gateway_id":
					b, err := p.text(name)
					if !named {
						r.Gateway = p.gateway(b)
					}
					return err
				case "eui":
					b, err := p.text(name)
					if len(b) > 0 {
						r.Gateway, named = p.gateway(b), true
					}
					return err
				}
				return p.s.Skip()
			})
		case "packet_broker": // heard by another network's gateway
			return p.object(name, func(name string) error {
				switch name {
				case "forwarder_gateway_id":
					b, err := p.text(name)
					if !named && len(b) > 0 {
						r.Gateway = p.gateway(b)
					}
					return err
				case "forwarder_gateway_eui":
					b, err := p.text(name)
					if len(b) > 0 {
						r.Gateway, named = p.gateway(b), true
					}
					return err
				}
				return p.s.Skip()
			})
		case "rssi":
			return p.number(name, &r.RSSIdBm)
		case "snr":
			return p.number(name, &r.SNRdB)
		case "time":
			return p.time(name, &r.Time)
		case "location":
			return p.position(name, &r.At)
		}
		return p.s.Skip()
	})
}

func (p *Parser) thingsSettings(what string, m *Message) error {
	r := &m.Radio
	return p.object(what, func(name string) error {
		switch name {
		case "data_rate":
			return p.object(name, func(kind string) error { return p.modulation(kind, &r.DataRate, 1) })
		case "frequency":
			return p.uint32(name, &r.FrequencyHz)
		case "data_rate_index":
			v, err := p.integer(name, 0, 15)
			r.DR = int8(v)
			return err
		}
		return p.s.Skip()
	})
}

// duration reads protobuf's JSON of a duration, "0.056576s".
func (p *Parser) duration(what string, dst *time.Duration) error {
	b, err := p.text(what)
	if err != nil || len(b) == 0 {
		return err
	}
	if n := len(b) - 1; b[n] == 's' {
		if v, err := strconv.ParseFloat(str(b[:n]), 64); err == nil && v >= 0 && v < 3600 {
			*dst = time.Duration(v*1e9 + 0.5)
			return nil
		}
	}
	return frame.Rejectf(frame.ReasonTime, "%s: %q, want seconds such as \"0.056576s\"", what, clip(b))
}

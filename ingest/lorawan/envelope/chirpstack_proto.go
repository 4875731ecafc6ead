package envelope

import (
	"math"

	"panormus/ingest/lorawan/frame"
	"panormus/ingest/lorawan/radio"
)

// The field numbers here are those of ChirpStack v4's integration.proto, gw.proto and common.proto.

// chirpStackProto reads an event of m.Kind.
func (p *Parser) chirpStackProto(data []byte, m *Message) error {
	kind := m.Kind
	return protoFields("event", data, func(f field) error {
		// The log starts with its time and a txack with the downlink's id; all others alike.
		n := f.num
		switch kind {
		case Log:
			return p.logField(f, m)
		case TxAck:
			switch n {
			case 1:
				return nil
			case 6:
				var b []byte
				err := f.text("gateway_id", &b)
				m.Gateway = p.gateway(b)
				return err
			}
		default:
			if n == 1 {
				return f.text("deduplication_id", &m.ID)
			}
		}
		switch n {
		case 2:
			return f.time("time", &m.Time)
		case 3:
			return deviceInfoProto(f, m)
		}
		switch kind {
		case Uplink:
			return p.uplinkField(f, m)
		case Join:
			if n == 4 {
				return devAddrProto(f, m)
			}
		case Status:
			return statusField(f, m)
		case Ack:
			switch n {
			case 4:
				return f.text("queue_item_id", &m.Ack.QueueItem)
			case 5:
				return f.bool("acknowledged", &m.Ack.Acknowledged)
			case 6:
				return f.uint32("f_cnt_down", &m.Ack.FCntDown)
			}
		case TxAck:
			switch n {
			case 4:
				return f.text("queue_item_id", &m.Ack.QueueItem)
			case 5:
				return f.uint32("f_cnt_down", &m.Ack.FCntDown)
			}
		case Location:
			if n == 4 {
				return positionProto(f, &m.Location)
			}
		}
		return nil
	})
}

func (p *Parser) uplinkField(f field, m *Message) error {
	switch f.num {
	case 4:
		return devAddrProto(f, m)
	case 6:
		v, err := f.uint("dr", 15)
		m.Radio.DR = int8(v)
		return err
	case 7:
		return f.uint32("f_cnt", &m.Payload.FCnt)
	case 8:
		v, err := f.uint("f_port", 255)
		m.Payload.FPort = uint8(v)
		return err
	case 9:
		return f.bool("confirmed", &m.Payload.Confirmed)
	case 10:
		return f.bytes("data", MaxPayload, &m.Payload.Bytes)
	case 11:
		var b []byte
		if err := f.bytes("object", MaxMessage, &b); err != nil {
			return err
		}
		from := len(p.buf)
		var err error
		p.buf, err = structJSON(p.buf, b, 1)
		m.Payload.Object = p.buf[from:len(p.buf):len(p.buf)]
		return err
	case 12:
		return p.rxInfoProto(f, m)
	case 13:
		return txInfoProto(f, &m.Radio)
	case 15:
		m.Payload.Encrypted = m.Payload.Encrypted || len(f.b) > 0
	}
	return nil
}

func statusField(f field, m *Message) error {
	switch f.num {
	case 5:
		v, err := f.int("margin", -128, 127)
		m.Status.MarginDB = int16(v)
		return err
	case 6:
		return f.bool("external_power_source", &m.Status.ExternalPower)
	case 7:
		var no bool
		err := f.bool("battery_level_unavailable", &no)
		m.Status.HasBattery = !no
		return err
	case 8:
		return f.float("battery_level", &m.Status.BatteryPercent)
	}
	return nil
}

func (p *Parser) logField(f field, m *Message) error {
	enum := func(what string, names [][]byte, dst *[]byte) error {
		v, err := f.uint(what, math.MaxInt32)
		*dst = names[0]
		if v < uint64(len(names)) {
			*dst = names[v]
		}
		return err
	}
	switch f.num {
	case 1:
		return f.time("time", &m.Time)
	case 2:
		return deviceInfoProto(f, m)
	case 3:
		return enum("level", logLevels, &m.Log.Level)
	case 4:
		return enum("code", logCodes, &m.Log.Code)
	case 5:
		return f.text("description", &m.Log.Description)
	}
	return nil
}

func devAddrProto(f field, m *Message) error {
	var b []byte
	if err := f.text("dev_addr", &b); err != nil || len(b) == 0 {
		return err
	}
	var err error
	m.DevAddr, err = frame.ParseDevAddr(b)
	m.HasDevAddr = err == nil
	return err
}

func deviceInfoProto(f field, m *Message) error {
	return f.message("device_info", func(f field) error {
		switch f.num {
		case 3:
			return f.text("application_id", &m.Application)
		case 7:
			return f.text("device_name", &m.Name)
		case 8:
			return f.eui("dev_eui", &m.DevEUI)
		case 9:
			var key, value []byte
			err := f.message("tags", func(f field) error {
				switch f.num {
				case 1:
					return f.text("tags: name", &key)
				case 2:
					return f.text("tags: value", &value)
				}
				return nil
			})
			if string(key) == "domain" {
				m.Domain = value
			}
			return err
		}
		return nil
	})
}

// rxInfoProto reads a gw.UplinkRxInfo.
func (p *Parser) rxInfoProto(f field, m *Message) error {
	r, err := m.addReception()
	if err != nil {
		return err
	}
	var server int64
	err = f.message("rx_info", func(f field) error {
		switch f.num {
		case 1:
			var b []byte
			err := f.text("gateway_id", &b)
			r.Gateway = p.gateway(b)
			return err
		case 3:
			return f.time("gw_time", &r.Time)
		case 17:
			return f.time("ns_time", &server)
		case 6:
			v, err := f.int("rssi", math.MinInt32, math.MaxInt32)
			r.RSSIdBm = float64(v)
			return err
		case 7:
			return f.float("snr", &r.SNRdB)
		case 12:
			return positionProto(f, &r.At)
		case 16:
			v, err := f.uint("crc_status", math.MaxInt32)
			m.Payload.BadCRC = m.Payload.BadCRC || v == 1
			return err
		}
		return nil
	})
	if m.Time == 0 {
		m.Time = server
	}
	return err
}

// rxInfoLegacyProto reads a gw.UplinkRxInfoLegacy, which the bridge of version 3 sends.
func (p *Parser) rxInfoLegacyProto(b []byte, m *Message) error {
	r, err := m.addReception()
	if err != nil {
		return err
	}
	return protoFields("rx_info_legacy", b, func(f field) error {
		switch f.num {
		case 1:
			if len(f.b) == 8 {
				r.Gateway = p.gatewayEUI(bigEUI(f.b))
			}
		case 2:
			return f.time("time", &r.Time)
		case 5:
			v, err := f.int("rssi", math.MinInt32, math.MaxInt32)
			r.RSSIdBm = float64(v)
			return err
		case 6:
			return f.float("lora_snr", &r.SNRdB)
		case 11:
			return positionProto(f, &r.At)
		case 17:
			v, err := f.uint("crc_status", math.MaxInt32)
			m.Payload.BadCRC = m.Payload.BadCRC || v == 1
			return err
		}
		return nil
	})
}

func positionProto(f field, dst *Position) error {
	var lat, lon float64
	err := f.message("location", func(f field) error {
		switch f.num {
		case 1:
			return f.float("latitude", &lat)
		case 2:
			return f.float("longitude", &lon)
		case 3:
			return f.float("altitude", &dst.AltitudeM)
		case 4:
			v, err := f.uint("source", math.MaxInt32)
			if v < uint64(len(positionSources)) {
				dst.Source = positionSources[v]
			}
			return err
		case 5:
			return f.float("accuracy", &dst.AccuracyM)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return dst.set("location", lat, lon)
}

var positionSources = [][]byte{
	nil, []byte("GPS"), []byte("CONFIG"), []byte("GEO_RESOLVER_TDOA"), []byte("GEO_RESOLVER_RSSI"),
	[]byte("GEO_RESOLVER_GNSS"), []byte("GEO_RESOLVER_WIFI"),
}

// txInfoProto reads a gw.UplinkTxInfo; the legacy one differs in where the modulation is.
func txInfoProto(f field, r *Radio) error {
	return f.message("tx_info", func(f field) error {
		switch f.num {
		case 1:
			return f.uint32("frequency", &r.FrequencyHz)
		case 2:
			if f.b == nil { // legacy: an enumeration
				return nil
			}
			return f.message("modulation", func(f field) error { return modulationProto(f, &r.DataRate, 1) })
		case 3, 4, 5:
			return modulationProto(f, &r.DataRate, 1000)
		}
		return nil
	})
}

// modulationProto reads one of the kinds of gw.Modulation, bandwidths in units of so many Hz.
func modulationProto(f field, d *radio.DataRate, unit uint32) error {
	kind := f.num
	switch kind {
	case 3:
		d.Modulation = radio.LoRa
	case 4:
		d.Modulation = radio.FSK
	case 5:
		d.Modulation = radio.LRFHSS
	default:
		return nil
	}
	return f.message("modulation", func(f field) error {
		switch {
		case kind == 4 && f.num == 2:
			return f.uint32("datarate", &d.BitRate)
		case kind == 4:
		case f.num == 1:
			v, err := f.uint("bandwidth", 2_000_000)
			if d.BandwidthHz = uint32(v); v < 7_800 {
				d.BandwidthHz *= unit
			}
			return err
		case kind == 3 && f.num == 2:
			v, err := f.uint("spreading_factor", 12)
			d.SpreadingFactor = uint8(v)
			return err
		case kind == 3 && f.num == 5:
			v, err := f.uint("code_rate", math.MaxInt32)
			if v >= 1 && v <= 4 {
				d.CodingRate = uint8(v) + 4
			}
			return err
		}
		return nil
	})
}

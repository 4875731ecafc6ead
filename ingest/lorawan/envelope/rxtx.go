package envelope

import (
	"math"

	"panormus/ingest/lorawan/frame"
	"panormus/ingest/lorawan/radio"
)

// addReception makes room for one more reception.
func (m *Message) addReception() (*Reception, error) {
	r := &m.Radio
	if len(r.Receptions) >= MaxReceptions {
		return nil, frame.Rejectf(frame.ReasonTooMany, "more than %d gateways", MaxReceptions)
	}
	r.Receptions = append(r.Receptions, Reception{})
	return &r.Receptions[len(r.Receptions)-1], nil
}

// rxInfo reads one of ChirpStack's rxInfo, of version 4 and, in the bridge, of version 3.
func (p *Parser) rxInfo(m *Message) error {
	r, err := m.addReception()
	if err != nil {
		return err
	}
	var server int64
	err = p.object("rxInfo", func(name string) error {
		switch name {
		case "gatewayId":
			b, err := p.text(name)
			r.Gateway = p.gateway(b)
			return err
		case "gatewayID": // version 3: base64
			var b []byte
			err := p.bytes(name, 8, &b)
			if err == nil && len(b) == 8 {
				r.Gateway = p.gatewayEUI(bigEUI(b))
			}
			return err
		case "rssi":
			return p.number(name, &r.RSSIdBm)
		case "snr", "loRaSNR":
			return p.number(name, &r.SNRdB)
		case "gwTime", "time":
			return p.time(name, &r.Time)
		case "nsTime":
			return p.time(name, &server)
		case "location":
			return p.position(name, &r.At)
		case "crcStatus":
			b, err := p.text(name)
			m.Payload.BadCRC = m.Payload.BadCRC || string(b) == "BAD_CRC"
			return err
		}
		return p.s.Skip()
	})
	if m.Time == 0 {
		m.Time = server
	}
	return err
}

func bigEUI(b []byte) frame.EUI {
	var e frame.EUI
	for _, c := range b {
		e = e<<8 | frame.EUI(c)
	}
	return e
}

// position reads an object with latitude and longitude.
func (p *Parser) position(what string, dst *Position) error {
	var lat, lon float64
	some := false
	err := p.object(what, func(name string) error {
		switch name {
		case "latitude":
			some = true
			return p.number(name, &lat)
		case "longitude":
			some = true
			return p.number(name, &lon)
		case "altitude":
			return p.number(name, &dst.AltitudeM)
		case "accuracy":
			return p.number(name, &dst.AccuracyM)
		case "source":
			return p.kept(name, &dst.Source)
		}
		return p.s.Skip()
	})
	if err != nil || !some {
		return err
	}
	return dst.set(what, lat, lon)
}

// set puts the place to lat and lon. The middle of the ocean is what gateways without a fix send.
func (at *Position) set(what string, lat, lon float64) error {
	if !(math.Abs(lat) <= 90) || !(math.Abs(lon) <= 180) {
		return frame.Rejectf(frame.ReasonNumber, "%s: latitude %v, longitude %v degrees, want -90 to 90, -180 to 180", what, lat, lon)
	}
	at.Lat, at.Lon, at.Known = lat, lon, lat != 0 || lon != 0
	return nil
}

// txInfo reads ChirpStack's txInfo of versions 4 and 3.
func (p *Parser) txInfo(m *Message) error {
	r := &m.Radio
	return p.object("txInfo", func(name string) error {
		switch name {
		case "frequency":
			return p.uint32(name, &r.FrequencyHz)
		case "modulation":
			if p.s.Peek() == '"' { // version 3
				return p.s.Skip()
			}
			return p.object(name, func(name string) error { return p.modulation(name, &r.DataRate, 1) })
		case "loRaModulationInfo":
			return p.modulation("lora", &r.DataRate, 1000)
		case "fskModulationInfo":
			return p.modulation("fsk", &r.DataRate, 1)
		}
		return p.s.Skip()
	})
}

// modulation reads the parameters of one kind, the bandwidth in units of so many Hz.
func (p *Parser) modulation(kind string, d *radio.DataRate, unit uint32) error {
	switch kind {
	case "lora":
		d.Modulation = radio.LoRa
	case "fsk":
		d.Modulation = radio.FSK
	case "lrFhss", "lrfhss":
		d.Modulation = radio.LRFHSS
	default:
		return p.s.Skip()
	}
	return p.object(kind, func(name string) error {
		switch name {
		case "bandwidth", "operatingChannelWidth", "operating_channel_width":
			v, err := p.integer(name, 0, 2_000_000)
			d.BandwidthHz = uint32(v) * unit
			if unit > 1 && v >= 7_800 { // Hz after all
				d.BandwidthHz = uint32(v)
			}
			return err
		case "spreadingFactor", "spreading_factor":
			v, err := p.integer(name, 0, 12)
			d.SpreadingFactor = uint8(v)
			return err
		case "codeRate", "coding_rate", "codeRateLegacy":
			b, err := p.text(name)
			if d.Modulation == radio.LoRa {
				d.CodingRate = radio.ParseCodingRate(b)
			}
			return err
		case "datarate", "bit_rate":
			return p.uint32(name, &d.BitRate)
		}
		return p.s.Skip()
	})
}

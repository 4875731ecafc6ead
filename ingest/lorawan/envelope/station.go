package envelope

import (
	"encoding/binary"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"panormus/ingest/lorawan/frame"
	"panormus/ingest/lorawan/radio"
)

// StationType is the msgtype of a message of LoRa Basics Station.
type StationType uint8

// The types of messages that are told apart.
const (
	StationOther    StationType = iota
	StationVersion              // the first: answer with router_config
	StationFrame                // updf, jreq or propdf: Message is an Uplink with the frame rebuilt
	StationTimeSync             // answer with the time
	StationSent                 // dntxed: Message is a TxAck
)

// A StationMessage is one message of LoRa Basics Station.
type StationMessage struct {
	Type StationType
	// TxTime of a StationTimeSync is given back in the answer, in µs of the station's clock.
	TxTime int64
	// Of a StationVersion:
	Protocol                           int64
	Station, Firmware, Model, Features []byte
}

// stationFrame is the members of updf, jreq and propdf.
type stationFrame struct {
	mhdr, devAddr, fctrl, fcnt, fport, mic, devNonce int64
	joinEUI, devEUI                                  frame.EUI
	fopts, payload                                   []byte
	has                                              uint16
}

// Which members a stationFrame has.
const (
	hasMHdr = 1 << iota
	hasDevAddr
	hasFCtrl
	hasFCnt
	hasMIC
	hasJoinEUI
	hasDevEUI
	hasDevNonce
	hasPayload
)

const (
	updfNeeds = hasMHdr | hasDevAddr | hasFCtrl | hasFCnt | hasMIC
	jreqNeeds = hasMHdr | hasJoinEUI | hasDevEUI | hasDevNonce | hasMIC
)

// Station reads a message of LoRa Basics Station (LNS protocol 2). Frames come in parts there and
// are put together again as m.Payload.Raw. region gives the data rates their names.
func (p *Parser) Station(gateway string, region *radio.Region, data []byte, m *Message) (StationMessage, error) {
	var out StationMessage
	if err := p.begin(data, m); err != nil {
		return out, err
	}
	m.Gateway = gateway
	f := stationFrame{fport: -1}
	var kind []byte
	var rx Reception
	var upTime, gpsTime float64
	err := p.whole("message", func(name string) (err error) {
		num := func(dst *int64, least, most int64, has uint16) error {
			f.has |= has
			*dst, err = p.integer(name, least, most)
			return err
		}
		switch name {
		case "msgtype":
			return p.kept(name, &kind)
		case "MHdr":
			return num(&f.mhdr, 0, 255, hasMHdr)
		case "DevAddr":
			return num(&f.devAddr, math.MinInt32, math.MaxUint32, hasDevAddr)
		case "FCtrl":
			return num(&f.fctrl, 0, 255, hasFCtrl)
		case "FCnt":
			return num(&f.fcnt, 0, math.MaxUint16, hasFCnt)
		case "FOpts":
			return p.hex(name, 15, &f.fopts)
		case "FPort":
			return num(&f.fport, -1, 255, 0)
		case "FRMPayload":
			f.has |= hasPayload
			return p.hex(name, frame.MaxFrame, &f.payload)
		case "MIC":
			return num(&f.mic, math.MinInt32, math.MaxUint32, hasMIC)
		case "JoinEui", "JoinEUI":
			f.has |= hasJoinEUI
			return p.stationEUI(name, &f.joinEUI)
		case "DevEui", "DevEUI":
			f.has |= hasDevEUI
			return p.stationEUI(name, &f.devEUI)
		case "DevNonce":
			return num(&f.devNonce, 0, math.MaxUint16, hasDevNonce)
		case "DR":
			v, err := p.integer(name, 0, 15)
			m.Radio.DR, m.Radio.DataRate = int8(v), region.Rate(int(v))
			return err
		case "Freq":
			return p.uint32(name, &m.Radio.FrequencyHz)
		case "upinfo":
			return p.object(name, func(name string) error {
				switch name {
				case "rssi":
					return p.number(name, &rx.RSSIdBm)
				case "snr":
					return p.number(name, &rx.SNRdB)
				case "rxtime":
					return p.number(name, &upTime)
				case "gpstime":
					return p.number(name, &gpsTime)
				}
				return p.s.Skip() // xtime and rctx only serve downlinks
			})
		case "txtime":
			if p.s.Peek() == '-' || p.s.Peek() >= '0' && p.s.Peek() <= '9' {
				from := p.s.Offset()
				if err := p.s.Skip(); err != nil {
					return err
				}
				raw := p.s.Since(from)
				v, ok := parseInt(raw)
				if !ok { // dntxed tells seconds with a fraction
					var t float64
					t, err = strconv.ParseFloat(str(raw), 64)
					v = int64(t)
				}
				out.TxTime = v
				return err
			}
			return p.s.Skip()
		case "protocol":
			return num(&out.Protocol, 0, math.MaxInt32, 0)
		case "station":
			return p.kept(name, &out.Station)
		case "firmware":
			return p.kept(name, &out.Firmware)
		case "model":
			return p.kept(name, &out.Model)
		case "features":
			if p.s.Peek() == '"' {
				return p.kept(name, &out.Features)
			}
		}
		return p.s.Skip()
	})
	if err != nil {
		return out, err
	}
	switch string(kind) {
	case "":
		return out, missing("msgtype")
	case "version":
		out.Type, m.Kind, m.Stats.Station, m.Stats.Version, m.Stats.Model = StationVersion, Stats, out.Station, out.Firmware, out.Model
		return out, nil
	case "timesync":
		out.Type = StationTimeSync
		return out, nil
	case "dntxed":
		out.Type, m.Kind, m.Ack.Acknowledged = StationSent, TxAck, true
		return out, nil
	case "updf", "jreq", "propdf":
	default:
		return out, nil
	}
	out.Type, m.Kind = StationFrame, Uplink
	if err := p.rebuild(string(kind), &f, m); err != nil {
		return out, err
	}
	r, err := m.addReception()
	if err != nil {
		return out, err
	}
	*r = rx
	r.Gateway = gateway
	switch {
	case gpsTime > 0 && gpsTime < 1<<53:
		r.Time = int64(gpsTime)/1000 + gpsEpoch - leapMs
	case upTime > 0 && upTime < 1<<40:
		r.Time = int64(math.Round(upTime * 1000))
	}
	m.settle()
	return out, nil
}

// The GPS clock counts from 1980-01-06 and takes no leap seconds: 18 came since, the last in 2016.
const (
	gpsEpoch = 315_964_800_000 // Unix ms
	leapMs   = 18_000
)

// GPSMicros is a Unix time in ms as Station wants it: µs of the GPS clock.
func GPSMicros(unixMs int64) int64 { return (unixMs - gpsEpoch + leapMs) * 1000 }

// rebuild puts the PHYPayload together.
func (p *Parser) rebuild(kind string, f *stationFrame, m *Message) error {
	from := len(p.buf)
	b := p.buf
	le := binary.LittleEndian
	switch kind {
	case "updf":
		if f.has&updfNeeds != updfNeeds {
			return missing("MHdr, DevAddr, FCtrl, FCnt or MIC")
		}
		if n := int(f.fctrl & 15); n != len(f.fopts) {
			return frame.Rejectf(frame.ReasonShort, "FOpts of %d bytes, want %d as FCtrl says", len(f.fopts), n)
		}
		if f.fport < 0 && len(f.payload) > 0 {
			return frame.Rejectf(frame.ReasonPort, "FRMPayload of %d bytes without an FPort", len(f.payload))
		}
		b = append(b, byte(f.mhdr))
		b = le.AppendUint32(b, uint32(f.devAddr))
		b = append(b, byte(f.fctrl))
		b = le.AppendUint16(b, uint16(f.fcnt))
		b = append(b, f.fopts...)
		if f.fport >= 0 {
			b = append(b, byte(f.fport))
			b = append(b, f.payload...)
		}
		b = le.AppendUint32(b, uint32(f.mic))
	case "jreq":
		if f.has&jreqNeeds != jreqNeeds {
			return missing("MHdr, JoinEui, DevEui, DevNonce or MIC")
		}
		b = append(b, byte(f.mhdr))
		b = le.AppendUint64(b, uint64(f.joinEUI))
		b = le.AppendUint64(b, uint64(f.devEUI))
		b = le.AppendUint16(b, uint16(f.devNonce))
		b = le.AppendUint32(b, uint32(f.mic))
	default: // propdf: the whole frame
		if f.has&hasPayload == 0 || len(f.payload) == 0 {
			return missing("FRMPayload")
		}
		b = append(b, f.payload...)
	}
	p.buf = b
	if n := len(b) - from; n > frame.MaxFrame {
		return frame.Rejectf(frame.ReasonLong, "frame of %d bytes, want at most %d", n, frame.MaxFrame)
	}
	m.Payload.Raw = b[from:len(b):len(b)]
	return nil
}

func (p *Parser) stationEUI(what string, dst *frame.EUI) error {
	if p.s.Peek() != '"' {
		from := p.s.Offset()
		if err := p.s.Skip(); err != nil {
			return err
		}
		raw := p.s.Since(from)
		v, err := strconv.ParseUint(str(raw), 10, 64)
		if err != nil {
			return frame.Rejectf(frame.ReasonIdentity, "%s: %q, want an EUI", what, clip(raw))
		}
		*dst = frame.EUI(v)
		return nil
	}
	b, err := p.text(what)
	if err != nil {
		return err
	}
	v, ok := ParseStationEUI(str(b))
	if !ok {
		return frame.Rejectf(frame.ReasonIdentity, "%s: %q, want an EUI or ID6", what, clip(b))
	}
	*dst = v
	return nil
}

// ParseStationEUI reads an EUI as LoRa Basics Station writes it: 8 bytes in hexadecimal with
// hyphens, colons or nothing between, or ID6, four groups of up to four digits in which one run of
// zeros may be "::".
func ParseStationEUI(s string) (frame.EUI, bool) {
	if !utf8.ValidString(s) || len(s) > 32 {
		return 0, false
	}
	if i := strings.LastIndexByte(s, '/'); i >= 0 {
		return 0, false
	}
	if len(s) == 23 && (s[2] == '-' || s[2] == ':') {
		var v uint64
		for i := 0; i < 24; i += 3 {
			b, err := strconv.ParseUint(s[i:i+2], 16, 8)
			if err != nil || i < 21 && s[i+2] != s[2] {
				return 0, false
			}
			v = v<<8 | b
		}
		return frame.EUI(v), true
	}
	if len(s) == 16 && !strings.Contains(s, ":") {
		v, err := frame.ParseEUI(s)
		return v, err == nil
	}
	head, tail, short := strings.Cut(s, "::")
	left, ok := groups(head)
	right, ok2 := groups(tail)
	n := len(left) + len(right)
	if !ok || !ok2 || short && n > 3 || !short && n != 4 {
		return 0, false
	}
	var all [4]uint64
	copy(all[:], left)
	copy(all[4-len(right):], right)
	return frame.EUI(all[0]<<48 | all[1]<<32 | all[2]<<16 | all[3]), true
}

func groups(s string) ([]uint64, bool) {
	if s == "" {
		return nil, true
	}
	var out []uint64
	for part := range strings.SplitSeq(s, ":") {
		v, err := strconv.ParseUint(part, 16, 16)
		if err != nil || len(part) > 4 {
			return nil, false
		}
		out = append(out, v)
	}
	return out, len(out) <= 4
}

// FormatID6 writes an EUI as ID6.
func FormatID6(e frame.EUI) string {
	part := func(shift uint) string { return strconv.FormatUint(uint64(e)>>shift&0xffff, 16) }
	return part(48) + ":" + part(32) + ":" + part(16) + ":" + part(0)
}

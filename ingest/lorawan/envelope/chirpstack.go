package envelope

import (
	"panormus/ingest/lorawan/frame"
)

// ChirpStack reads an event of ChirpStack v4's MQTT integration, in JSON or protobuf. event is the
// last level of its topic: up, status, join, ack, txack, log, location or integration.
//
// proto3 leaves zeros out, so a port or counter that is not there is 0.
func (p *Parser) ChirpStack(event string, data []byte, m *Message) error {
	return p.ChirpStackOf(0, event, data, m)
}

// ChirpStackOf reads an event of a device that its topic names, for events that do not say whose
// they are; what the event says counts.
func (p *Parser) ChirpStackOf(device frame.EUI, event string, data []byte, m *Message) error {
	if err := p.begin(data, m); err != nil {
		return err
	}
	switch event {
	case "up":
		m.Kind, m.Radio.DR = Uplink, 0
	case "status":
		m.Kind, m.Status.HasBattery = Status, true
	case "join":
		m.Kind = Join
	case "ack":
		m.Kind = Ack
	case "txack":
		m.Kind, m.Ack.Acknowledged = TxAck, true
	case "log":
		m.Kind = Log
	case "location":
		m.Kind = Location
	case "integration":
	default:
		return frame.Rejectf(frame.ReasonEvent, "event %q, want up, status, join, ack, txack, log, location or integration", clip([]byte(event)))
	}
	var err error
	if isJSON(data) {
		err = p.whole("event", func(name string) error { return p.chirpStackMember(name, m) })
	} else {
		err = p.chirpStackProto(data, m)
	}
	if err != nil {
		return err
	}
	if m.DevEUI == 0 {
		m.DevEUI = device
	}
	switch {
	case m.DevEUI == 0:
		return missing("deviceInfo.devEui")
	case m.Kind == Location && !m.Location.Known:
		return missing("location")
	}
	if m.Kind == Log && len(m.Log.Level) == 0 {
		m.Log.Level = logLevels[0]
	}
	m.Status.HasBattery = m.Status.HasBattery && !m.Status.ExternalPower
	m.settle()
	return nil
}

// chirpStackMember reads one member of any of the events: their names do not collide.
func (p *Parser) chirpStackMember(name string, m *Message) error {
	switch name {
	case "deduplicationId":
		return p.kept(name, &m.ID)
	case "time":
		return p.time(name, &m.Time)
	case "deviceInfo":
		return p.object(name, func(name string) error { return p.deviceInfo(name, m) })
	case "devAddr":
		return p.devAddr(name, m)
	case "dr":
		v, err := p.integer(name, 0, 15)
		m.Radio.DR = int8(v)
		return err
	case "fCnt":
		return p.uint32(name, &m.Payload.FCnt)
	case "fPort":
		return p.port(name, &m.Payload.FPort)
	case "confirmed":
		return p.bool(name, &m.Payload.Confirmed)
	case "data":
		return p.bytes(name, MaxPayload, &m.Payload.Bytes)
	case "object":
		return p.rawObject(name, &m.Payload.Object)
	case "rxInfo":
		return p.array(name, func() error { return p.rxInfo(m) })
	case "txInfo":
		return p.txInfo(m)
	case "joinServerContext":
		return p.object(name, func(string) error {
			m.Payload.Encrypted = true
			return p.s.Skip()
		})
	case "margin":
		v, err := p.integer(name, -128, 127)
		m.Status.MarginDB = int16(v)
		return err
	case "externalPowerSource":
		return p.bool(name, &m.Status.ExternalPower)
	case "batteryLevelUnavailable":
		var no bool
		err := p.bool(name, &no)
		m.Status.HasBattery = !no
		return err
	case "batteryLevel":
		return p.number(name, &m.Status.BatteryPercent)
	case "acknowledged":
		return p.bool(name, &m.Ack.Acknowledged)
	case "fCntDown":
		return p.uint32(name, &m.Ack.FCntDown)
	case "queueItemId":
		return p.kept(name, &m.Ack.QueueItem)
	case "gatewayId":
		b, err := p.text(name)
		m.Gateway = p.gateway(b)
		return err
	case "level":
		return p.kept(name, &m.Log.Level)
	case "code":
		return p.kept(name, &m.Log.Code)
	case "description":
		return p.kept(name, &m.Log.Description)
	case "context":
		return p.rawObject(name, &m.Log.Context)
	case "location":
		return p.position(name, &m.Location)
	}
	return p.s.Skip()
}

func (p *Parser) deviceInfo(name string, m *Message) error {
	switch name {
	case "devEui":
		return p.eui(name, &m.DevEUI)
	case "deviceName":
		return p.kept(name, &m.Name)
	case "applicationId":
		return p.kept(name, &m.Application)
	case "tags":
		return p.object(name, func(name string) error {
			if name == "domain" {
				return p.kept(name, &m.Domain)
			}
			return p.s.Skip()
		})
	}
	return p.s.Skip()
}

// Names of ChirpStack's log enumerations by number.
var (
	logLevels = [][]byte{[]byte("INFO"), []byte("WARNING"), []byte("ERROR")}
	logCodes  = [][]byte{
		[]byte("UNKNOWN"), []byte("DOWNLINK_PAYLOAD_SIZE"), []byte("UPLINK_CODEC"), []byte("DOWNLINK_CODEC"), []byte("OTAA"),
		[]byte("UPLINK_F_CNT_RESET"), []byte("UPLINK_MIC"), []byte("UPLINK_F_CNT_RETRANSMISSION"), []byte("DOWNLINK_GATEWAY"),
		[]byte("RELAY_NEW_END_DEVICE"), []byte("F_CNT_DOWN"), []byte("EXPIRED"),
	}
)

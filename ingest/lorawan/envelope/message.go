package envelope

import (
	"time"

	"panormus/ingest/lorawan/frame"
	"panormus/ingest/lorawan/radio"
)

// Kind says what a Message tells.
type Kind uint8

// The kinds of messages.
const (
	Other    Kind = iota // well-formed, of no interest
	Uplink               // a frame, decrypted or raw
	Join                 // a device joined; its DevAddr may be new
	Status               // a device told its battery and margin
	Location             // a device was located
	Ack                  // a device acknowledged a downlink, or did not
	TxAck                // a gateway took a downlink for sending, or did not
	Log                  // a network server complains
	Stats                // a gateway's counters
)

var kindNames = [...]string{"other", "uplink", "join", "status", "location", "ack", "txack", "log", "stats"}

func (k Kind) String() string { return kindNames[k] }

// A Message is one message of any network. Of its parts only those of its Kind mean something.
// Slices are memory of the Parser, of the message that was parsed or both: they are valid until
// the Parser's next use. Strings may be kept.
type Message struct {
	Kind Kind
	// Time is the network server's, else the gateway's, in Unix ms; 0 where nobody tells.
	Time int64
	// DevEUI is 0 where only a raw frame is known.
	DevEUI     frame.EUI
	DevAddr    frame.DevAddr
	HasDevAddr bool
	// Name is the device's: The Things Stack's device_id, ChirpStack's deviceName.
	Name []byte
	// Application is The Things Stack's application_id, ChirpStack's applicationId.
	Application []byte
	// Domain is ChirpStack's tag "domain".
	Domain []byte
	// ID is the deduplication id, where there is one.
	ID []byte
	// Gateway is the one that speaks: raw frames, Stats and TxAck.
	Gateway string

	Radio    Radio
	Payload  Payload
	Status   DeviceStatus
	Location Position
	Ack      Acknowledgement
	Log      LogLine
	Stats    GatewayStats
}

// Payload is what an uplink carries.
type Payload struct {
	// Raw is the PHYPayload where the network leaves it to us. Then the rest is empty.
	Raw []byte
	// BadCRC says that the gateway found the frame damaged.
	BadCRC bool

	FPort     uint8
	FCnt      uint32
	Confirmed bool
	// Encrypted says that Bytes are, with a key of somebody else's.
	Encrypted bool
	Bytes     []byte
	// Object is what the network's codec made of Bytes, a JSON object; nil where none did.
	Object []byte
	// Normalized is The Things Stack's normalized_payload, a JSON array of objects.
	Normalized []byte
	// Warnings is the network codec's, a JSON array of strings.
	Warnings []byte
}

// Radio is how an uplink was on the air.
type Radio struct {
	FrequencyHz uint32
	DataRate    radio.DataRate
	// DR is the index of the data rate in the region's plan, radio.Unknown where nobody tells.
	DR int8
	// Airtime is the network's or computed. Computed, it lacks MAC commands beside the payload.
	Airtime    time.Duration
	Receptions []Reception
}

// A Reception is a frame as one gateway heard it.
type Reception struct {
	Gateway string // EUI in 16 lower-case hexadecimal digits, or a name
	RSSIdBm float64
	SNRdB   float64
	Time    int64 // the gateway's clock, Unix ms; 0 for a gateway without one
	At      Position
}

// A Position is a place; the zero Position is none.
type Position struct {
	Known           bool
	Lat, Lon        float64 // degrees, WGS 84
	AltitudeM       float64
	AccuracyM       float64
	Source, Service []byte // who says so
}

// DeviceStatus is a device's word about itself.
type DeviceStatus struct {
	MarginDB       int16 // signal-to-noise ratio of the last request as the device heard it
	BatteryPercent float64
	HasBattery     bool
	ExternalPower  bool
}

// An Acknowledgement is the end of a downlink.
type Acknowledgement struct {
	Acknowledged bool
	FCntDown     uint32
	QueueItem    []byte
	Error        []byte // of a TxAck: why a gateway did not send
}

// A LogLine is a network server's complaint about a device.
type LogLine struct {
	Level, Code, Description []byte
	Context                  []byte // JSON object, or nil
}

// GatewayStats are a gateway's counters since its last report.
type GatewayStats struct {
	Received, ReceivedOK    uint64 // frames heard, and those with a right CRC
	Forwarded               uint64 // frames forwarded (UDP only)
	DownReceived, DownSent  uint64
	AckPercent              float64 // datagrams acknowledged (UDP only)
	TempC                   float64 // of the gateway's electronics, in degrees Celsius
	HasTemp                 bool
	At                      Position
	Version, Model, Station []byte
}

// Bounds of one message.
const (
	// MaxMessage is how many bytes a message may have.
	MaxMessage = 1 << 20
	// MaxReceptions is how many gateways may have heard one uplink.
	MaxReceptions = 256
	// MaxPayload is how many bytes an application payload may have.
	MaxPayload = frame.MaxFrame
)

// reset empties m and keeps its memory.
func (m *Message) reset() {
	receptions := m.Radio.Receptions[:0]
	*m = Message{}
	m.Radio.Receptions, m.Radio.DR = receptions, radio.Unknown
}

// overhead is what a frame has around its payload when it has an FPort and no FOpts.
const overhead = frame.MinData + 1

// settle fills in what follows from the rest.
func (m *Message) settle() {
	if m.Kind != Uplink {
		return
	}
	for i := 0; m.Time == 0 && i < len(m.Radio.Receptions); i++ {
		m.Time = m.Radio.Receptions[i].Time
	}
	if m.Radio.Airtime == 0 {
		size := len(m.Payload.Raw)
		if size == 0 {
			size = overhead + len(m.Payload.Bytes)
		}
		m.Radio.Airtime = m.Radio.DataRate.Airtime(size)
	}
}

// Best is the index of the reception with the best signal, by signal-to-noise ratio and then by
// strength; -1 where there is none.
func (r *Radio) Best() int {
	best := -1
	for i := range r.Receptions {
		if best < 0 || r.Receptions[i].Better(&r.Receptions[best]) {
			best = i
		}
	}
	return best
}

// Better reports whether r is the better signal of the two.
func (r *Reception) Better(than *Reception) bool {
	if r.SNRdB != than.SNRdB {
		return r.SNRdB > than.SNRdB
	}
	return r.RSSIdBm > than.RSSIdBm
}

// Link is how the frame was sent, as far as the region's plan tells.
func (r *Radio) Link(region *radio.Region) frame.Link {
	l := frame.Link{DataRate: r.DR, Channel: region.Channel(r.FrequencyHz), ConfFCnt: frame.Unknown}
	if l.DataRate == radio.Unknown {
		l.DataRate = region.Index(r.DataRate)
	}
	return l
}

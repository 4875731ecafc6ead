package frame

import "encoding/binary"

// Type is the MType of a frame's first byte.
type Type uint8

// The types in the order of the specification.
const (
	JoinRequest Type = iota
	JoinAccept
	UnconfirmedUp
	UnconfirmedDown
	ConfirmedUp
	ConfirmedDown
	RejoinRequest
	Proprietary
)

var typeNames = [...]string{
	"join request", "join accept", "unconfirmed uplink", "unconfirmed downlink",
	"confirmed uplink", "confirmed downlink", "rejoin request", "proprietary",
}

func (t Type) String() string { return typeNames[t&7] }

// IsData reports whether frames of the type carry data, up or down.
func (t Type) IsData() bool { return t >= UnconfirmedUp && t <= ConfirmedDown }

// IsDown reports whether the frame goes to a device: a gateway that hears another one send.
func (t Type) IsDown() bool { return t == JoinAccept || t == UnconfirmedDown || t == ConfirmedDown }

// TypeOf is the type of the frame that begins with the byte.
func TypeOf(mhdr byte) Type { return Type(mhdr >> 5) }

// Bounds of a data frame, in bytes.
const (
	// MinData is the least: MHDR, DevAddr, FCtrl, FCnt and MIC.
	MinData = 1 + 7 + 4
	// MaxFrame is the most that LoRa's explicit header can announce.
	MaxFrame = 255
)

// Bits of Frame.Control.
const (
	ControlADR       = 0x80
	ControlADRACKReq = 0x40
	ControlACK       = 0x20
	ControlClassB    = 0x10
)

// A Frame is a data frame taken apart. Its slices are parts of what was parsed.
type Frame struct {
	Type    Type
	DevAddr DevAddr
	Control byte   // FCtrl's upper four bits
	FCnt    uint16 // the lower half of the counter: all that is sent
	// HasPort says that there is an FPort; without it there is no payload.
	HasPort bool
	Port    uint8
	FOpts   []byte // MAC commands, encrypted in LoRaWAN 1.1
	Payload []byte // FRMPayload, encrypted
	MIC     uint32 // the four bytes as a little-endian number
	raw     []byte // all but the MIC
}

// ACK reports whether the frame acknowledges a confirmed downlink.
func (f *Frame) ACK() bool { return f.Control&ControlACK != 0 }

// Confirmed reports whether the device wants an acknowledgement.
func (f *Frame) Confirmed() bool { return f.Type == ConfirmedUp || f.Type == ConfirmedDown }

// Parse takes a data frame, up or down, apart into f. Nothing of it is checked against keys.
func Parse(phy []byte, f *Frame) error {
	if err := checkHeader(phy); err != nil {
		return err
	}
	t := TypeOf(phy[0])
	if !t.IsData() {
		return Rejectf(ReasonMType, "a %s, want a data frame", t)
	}
	if len(phy) < MinData {
		return Rejectf(ReasonShort, "%s of %d bytes, want at least %d", t, len(phy), MinData)
	}
	raw := phy[:len(phy)-4]
	options := int(phy[5] & 0x0f)
	if len(raw) < 8+options {
		return Rejectf(ReasonShort, "%s of %d bytes, want %d for %d bytes of FOpts", t, len(phy), 12+options, options)
	}
	*f = Frame{
		Type: t, DevAddr: DevAddr(binary.LittleEndian.Uint32(phy[1:5])), Control: phy[5] & 0xf0,
		FCnt: binary.LittleEndian.Uint16(phy[6:8]), FOpts: raw[8 : 8+options],
		MIC: binary.LittleEndian.Uint32(phy[len(raw):]), raw: raw,
	}
	if rest := raw[8+options:]; len(rest) > 0 {
		f.HasPort, f.Port, f.Payload = true, rest[0], rest[1:]
		if f.Port == 0 && options > 0 {
			return Rejectf(ReasonPort, "FPort 0 beside %d bytes of FOpts, want one of them", options)
		}
	}
	return nil
}

// checkHeader checks what all frames have in common.
func checkHeader(phy []byte) error {
	switch {
	case len(phy) < 5:
		return Rejectf(ReasonShort, "frame of %d bytes, want at least 5", len(phy))
	case len(phy) > MaxFrame:
		return Rejectf(ReasonLong, "frame of %d bytes, want at most %d", len(phy), MaxFrame)
	case phy[0]&3 != 0:
		return Rejectf(ReasonMajor, "major version %d, want 0 (LoRaWAN R1)", phy[0]&3)
	}
	return nil
}

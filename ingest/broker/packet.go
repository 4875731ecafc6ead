package broker

import "encoding/binary"

// Packet types and flags of the fixed header (MQTT 5, section 2.1).
const (
	typePublish = 0x30
	typePubrel  = 0x60
	typeMask    = 0xf0

	flagDup    = 0x08
	flagRetain = 0x01

	sendPuback  = 0x40
	sendPubrec  = 0x50
	sendPubcomp = 0x70
)

// A frame is the fixed header of a packet.
type frame struct {
	first  byte
	header int // bytes of the fixed header
	size   int // bytes of the packet, header included
}

// parseFrame reads a fixed header: ok is false when b ends before it does, and bad is true when its
// length is none.
func parseFrame(b []byte) (f frame, ok, bad bool) {
	if len(b) < 2 {
		return f, false, false
	}
	n := 0
	for i := 1; i <= 4; i++ {
		if i >= len(b) {
			return f, false, false
		}
		n |= int(b[i]&0x7f) << (7 * (i - 1))
		if b[i] < 0x80 {
			return frame{first: b[0], header: i + 1, size: i + 1 + n}, true, false
		}
	}
	return f, false, true
}

// A publish is a PUBLISH packet, in place.
type publish struct {
	topic    []byte
	payload  []byte
	packetID uint16
	alias    uint16 // MQTT 5: 0 for none
	qos      byte
	dup      bool
	retain   bool
}

// parsePublish reads a PUBLISH. It refuses whatever it is not sure of: mochi then decides.
func parsePublish(b []byte, f frame, v5 bool) (p publish, ok bool) {
	p.qos, p.dup, p.retain = f.first>>1&3, f.first&flagDup != 0, f.first&flagRetain != 0
	b = b[f.header:f.size]
	if len(b) < 2 || p.qos == 3 {
		return p, false
	}
	n := int(binary.BigEndian.Uint16(b)) + 2
	if n > len(b) {
		return p, false
	}
	p.topic, b = b[2:n], b[n:]
	if p.qos > 0 {
		if len(b) < 2 {
			return p, false
		}
		if p.packetID, b = binary.BigEndian.Uint16(b), b[2:]; p.packetID == 0 {
			return p, false
		}
	}
	if v5 {
		if b, ok = p.properties(b); !ok {
			return p, false
		}
	}
	p.payload = b
	return p, true
}

// properties reads the properties of MQTT 5 (section 3.3.2.3) that b begins with and returns what
// follows them.
func (p *publish) properties(b []byte) (rest []byte, ok bool) {
	n, used := varint(b)
	if used == 0 || n > len(b)-used {
		return nil, false
	}
	rest, b = b[used+n:], b[used:used+n]
	for len(b) > 0 {
		id := b[0]
		b = b[1:]
		size := 0
		switch id {
		case 0x01: // payload format
			size = 1
		case 0x02: // message expiry
			size = 4
		case 0x23: // topic alias
			if size = 2; len(b) < 2 {
				return nil, false
			}
			if p.alias = binary.BigEndian.Uint16(b); p.alias == 0 {
				return nil, false
			}
		case 0x03, 0x08, 0x09: // content type, response topic, correlation data
			size = counted(b)
		case 0x26: // user property
			if size = counted(b); size <= len(b) {
				size += counted(b[size:])
			}
		default:
			return nil, false
		}
		if size > len(b) {
			return nil, false
		}
		b = b[size:]
	}
	return rest, true
}

// counted is the size of a string with its length before it; too much where b is too short.
func counted(b []byte) int {
	if len(b) < 2 {
		return 2
	}
	return 2 + int(binary.BigEndian.Uint16(b))
}

// varint reads a variable byte integer and how many bytes it takes, 0 where it is none.
func varint(b []byte) (n, used int) {
	for i := 0; i < 4 && i < len(b); i++ {
		n |= int(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return n, i + 1
		}
	}
	return 0, 0
}

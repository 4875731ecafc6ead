package load

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Control packet types and flags of MQTT 3.1.1 (OASIS standard, section 2.2), as first bytes.
const (
	packetConnect    = 0x10
	packetConnack    = 0x20
	packetPublish    = 0x30
	packetPuback     = 0x40
	packetPingreq    = 0xc0
	packetPingresp   = 0xd0
	packetDisconnect = 0xe0

	publishDup  = 0x08
	publishQoS1 = 0x02
)

// appendLength appends a remaining length (section 2.2.3): 7 bits a byte, least significant first.
func appendLength(b []byte, n int) []byte {
	for n >= 0x80 {
		b = append(b, byte(n)|0x80)
		n >>= 7
	}
	return append(b, byte(n))
}

// length reads a remaining length; size is the bytes it takes, 0 if b ends before it does.
func length(b []byte) (n, size int, err error) {
	for i := range 4 {
		if i == len(b) {
			return 0, 0, nil
		}
		n |= int(b[i]&0x7f) << (7 * i)
		if b[i] < 0x80 {
			return n, i + 1, nil
		}
	}
	return 0, 0, errors.New("remaining length of more than 4 bytes")
}

func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// appendConnect appends a CONNECT (section 3.1) without keep-alive and without a will.
func appendConnect(b []byte, clientID, username, password string, clean bool) []byte {
	var flags byte
	n := 10 + 2 + len(clientID)
	if clean {
		flags |= 0x02
	}
	if username != "" {
		flags |= 0x80
		n += 2 + len(username)
		if password != "" {
			flags |= 0x40
			n += 2 + len(password)
		}
	}
	b = appendLength(append(b, packetConnect), n)
	b = appendString(b, "MQTT")
	b = append(b, 4, flags, 0, 0)
	b = appendString(b, clientID)
	if flags&0x80 != 0 {
		b = appendString(b, username)
	}
	if flags&0x40 != 0 {
		b = appendString(b, password)
	}
	return b
}

// A refusedError is a CONNACK that says no.
type refusedError struct{ code byte }

func (e *refusedError) Error() string {
	switch e.code {
	case 1:
		return "connection refused: protocol version not acceptable"
	case 2:
		return "connection refused: client id not acceptable"
	case 3:
		return "connection refused: server not available"
	case 4:
		return "connection refused: bad user name or password"
	case 5:
		return "connection refused: not authorised"
	}
	return fmt.Sprintf("connection refused: code %d", e.code)
}

// lasting reports whether asking again is useless.
func (e *refusedError) lasting() bool { return e.code != 3 }

// readConnack reads a CONNACK (section 3.2).
func readConnack(r io.Reader) error {
	var b [4]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return fmt.Errorf("read connack: %w", err)
	}
	if b[0] != packetConnack || b[1] != 2 {
		return fmt.Errorf("bytes % x, want a connack", b)
	}
	if b[3] != 0 {
		return &refusedError{b[3]}
	}
	return nil
}

package frame

import "encoding/hex"

// A DevAddr is the address of a session on the air, 32 bits; several devices may share one.
type DevAddr uint32

// String is a in 8 lower-case hexadecimal digits, most significant first.
func (a DevAddr) String() string { return string(a.Append(nil)) }

// Append appends what String returns.
func (a DevAddr) Append(b []byte) []byte {
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[a>>shift&15])
	}
	return b
}

// An EUI is a 64-bit identifier of a device, gateway or join server.
type EUI uint64

// String is e in 16 lower-case hexadecimal digits, most significant first.
func (e EUI) String() string {
	var b [16]byte
	return string(e.Append(b[:0]))
}

// Append appends what String returns.
func (e EUI) Append(b []byte) []byte {
	for shift := 60; shift >= 0; shift -= 4 {
		b = append(b, "0123456789abcdef"[e>>shift&15])
	}
	return b
}

// ParseDevAddr reads 8 hexadecimal digits of either case.
func ParseDevAddr[T string | []byte](s T) (DevAddr, error) {
	v, ok := parseHex(s, 8)
	if !ok {
		return 0, Rejectf(ReasonIdentity, "dev_addr %q, want 8 hexadecimal digits", clip(s))
	}
	return DevAddr(v), nil
}

// ParseEUI reads 16 hexadecimal digits of either case.
func ParseEUI[T string | []byte](s T) (EUI, error) {
	v, ok := parseHex(s, 16)
	if !ok {
		return 0, Rejectf(ReasonIdentity, "EUI %q, want 16 hexadecimal digits", clip(s))
	}
	return EUI(v), nil
}

func clip[T string | []byte](s T) T { return s[:min(len(s), 40)] }

func parseHex[T string | []byte](s T, digits int) (uint64, bool) {
	if len(s) != digits {
		return 0, false
	}
	var v uint64
	for i := range len(s) {
		d := hexDigits[s[i]]
		if d == 0 {
			return 0, false
		}
		v = v<<4 | uint64(d-1)
	}
	return v, true
}

// hexDigits is the value of a digit, plus one.
var hexDigits = func() (t [256]uint8) {
	for i := range byte(10) {
		t['0'+i] = i + 1
	}
	for i := range byte(6) {
		t['a'+i], t['A'+i] = i+11, i+11
	}
	return t
}()

// A Key is one of a session's, 128 bits. It never prints itself.
type Key [16]byte

// String hides the key.
func (Key) String() string { return "(key)" }

// GoString hides the key.
func (Key) GoString() string { return "(key)" }

// ParseKey reads 32 hexadecimal digits of either case. Its error does not repeat what it read.
func ParseKey(s string) (Key, error) {
	var k Key
	if len(s) != 32 {
		return k, Rejectf(ReasonIdentity, "a key of %d characters, want 32 hexadecimal digits", len(s))
	}
	if _, err := hex.Decode(k[:], []byte(s)); err != nil {
		return Key{}, Rejectf(ReasonIdentity, "a key with characters that are not hexadecimal digits")
	}
	return k, nil
}

package frame

// uplinkMAC is how many bytes follow the identifier of a MAC command from a device, plus one; 0 is
// a command that does not exist (LoRaWAN 1.1, section 5, and class B's).
var uplinkMAC = [256]uint8{
	0x01: 2, 0x02: 1, 0x03: 2, 0x04: 1, 0x05: 2, 0x06: 3, 0x07: 2, 0x08: 1, 0x09: 1, 0x0a: 2, 0x0b: 2,
	0x0c: 1, 0x0d: 1, 0x0f: 2, 0x10: 2, 0x11: 2, 0x12: 1, 0x13: 2, 0x20: 2,
}

// A DevStatus is a device's answer about itself.
type DevStatus struct {
	// MarginDB is the signal-to-noise ratio of the request as the device heard it, -32 to 31 dB.
	MarginDB int8
	// Battery is 1 (least) to 254 (full); 0 is external power, 255 is not known.
	Battery uint8
}

// FindDevStatus looks for the answer to a DevStatusReq among plain MAC commands. What follows a
// command that is not known cannot be read.
func FindDevStatus(mac []byte) (DevStatus, bool) {
	for len(mac) > 0 {
		n := int(uplinkMAC[mac[0]])
		if n == 0 || n > len(mac) {
			break
		}
		if mac[0] == 0x06 {
			return DevStatus{Battery: mac[1], MarginDB: int8(mac[2]<<2) >> 2}, true
		}
		mac = mac[n:]
	}
	return DevStatus{}, false
}

package frame

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
)

// An Opener is the memory that opening frames takes. It belongs to one goroutine; the zero value
// is ready.
type Opener struct {
	head    [16]byte // B0, B1 or the counter block
	x       [16]byte
	payload [MaxFrame + 1]byte
	fopts   [16]byte
}

// micHead writes block B0 of the MIC of an uplink.
func (o *Opener) micHead(f *Frame, fcnt uint32) {
	o.head = [16]byte{0: 0x49, 15: byte(len(f.raw))}
	binary.LittleEndian.PutUint32(o.head[6:], uint32(f.DevAddr))
	binary.LittleEndian.PutUint32(o.head[10:], fcnt)
}

// cmac is the first four bytes of the MAC of o.head and msg, as a little-endian number.
func (o *Opener) cmac(m *mac, msg []byte) uint32 {
	x := o.x[:]
	m.block.Encrypt(x, o.head[:])
	for len(msg) > 16 {
		subtle.XORBytes(x, x, msg[:16])
		m.block.Encrypt(x, x)
		msg = msg[16:]
	}
	last := &m.k1
	if len(msg) < 16 {
		last = &m.k2
		x[len(msg)] ^= 0x80
	}
	subtle.XORBytes(x, x, msg)
	subtle.XORBytes(x, x, last[:])
	m.block.Encrypt(x, x)
	return binary.LittleEndian.Uint32(x)
}

// A Link is how a frame was sent, which LoRaWAN 1.1 signs too. A number is Unknown where nobody
// says.
type Link struct {
	DataRate int8  // index in the region's plan
	Channel  int8  // index in the device's plan
	ConfFCnt int32 // lower half of the counter of the confirmed downlink that the frame acknowledges
}

// Unknown stands for a number of Link that is not known.
const Unknown = -1

// UnknownLink is a Link of which nothing is known.
var UnknownLink = Link{DataRate: Unknown, Channel: Unknown, ConfFCnt: Unknown}

// channels is how many a device's plan has at most in the regions with dynamic plans.
const channels = 16

// signed reports whether s signed f under the counter fcnt, and with half that only the half of
// the MIC could be checked that does not depend on what is unknown of link.
func (o *Opener) signed(s *Session, f *Frame, fcnt uint32, link Link) (ok, half bool) {
	o.micHead(f, fcnt)
	forwarding := o.cmac(&s.fNwkSInt, f.raw)
	if !s.keys.V11 {
		return forwarding == f.MIC, false
	}
	// The MIC is cmacS[0..1] | cmacF[0..1].
	if uint16(forwarding) != uint16(f.MIC>>16) {
		return false, false
	}
	var conf uint16
	if f.ACK() {
		if link.ConfFCnt == Unknown {
			return true, true
		}
		conf = uint16(link.ConfFCnt)
	}
	if link.DataRate == Unknown {
		return true, true
	}
	binary.LittleEndian.PutUint16(o.head[1:], conf)
	o.head[3] = byte(link.DataRate)
	first, last := byte(0), byte(channels-1)
	if link.Channel != Unknown {
		first, last = byte(link.Channel), byte(link.Channel)
	}
	for channel := first; channel <= last; channel++ {
		o.head[4] = channel
		if uint16(o.cmac(&s.sNwkSInt, f.raw)) == uint16(f.MIC) {
			return true, false
		}
	}
	return false, false
}

// decrypt writes in, decrypted with counter mode as section 4.3.3 has it, to the beginning of out,
// which has room for it rounded up to 16.
func (o *Opener) decrypt(block cipher.Block, f *Frame, fcnt uint32, in, out []byte) []byte {
	o.head = [16]byte{0: 0x01}
	binary.LittleEndian.PutUint32(o.head[6:], uint32(f.DevAddr))
	binary.LittleEndian.PutUint32(o.head[10:], fcnt)
	for at := 0; at < len(in); at += 16 {
		o.head[15] = byte(at/16 + 1)
		block.Encrypt(o.x[:], o.head[:])
		subtle.XORBytes(out[at:], in[at:min(at+16, len(in))], o.x[:])
	}
	return out[:len(in)]
}

// decryptFOpts decrypts the MAC commands of a LoRaWAN 1.1 uplink (errata of 2018 to section 4.3.1.6).
func (o *Opener) decryptFOpts(s *Session, f *Frame, fcnt uint32) []byte {
	o.head = [16]byte{0: 0x01, 4: 0x01, 15: 0x01}
	binary.LittleEndian.PutUint32(o.head[6:], uint32(f.DevAddr))
	binary.LittleEndian.PutUint32(o.head[10:], fcnt)
	s.nwkSEnc.Encrypt(o.x[:], o.head[:])
	subtle.XORBytes(o.fopts[:], f.FOpts, o.x[:])
	return o.fopts[:len(f.FOpts)]
}

package lorawan

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"encoding/json"
	"fmt"

	"panormus/devices"
)

// loadPayload is how many bytes a frame of the load has, and loadFrame how many the frame then has.
const (
	loadPayload = 20
	loadFrame   = 1 + 7 + 1 + loadPayload + 4 // MHDR, FHDR, FPort, payload, MIC
)

// LoadMetrics is how many observations one uplink of the load makes.
const LoadMetrics = 5

// LoadProfile is the profile of the load's devices: n counts a device's uplinks.
func LoadProfile() devices.Profile {
	return devices.Profile{ID: "lorawan_load", Domain: "load", Codec: json.RawMessage(`{"layout":[
		{"name":"n","offset":0,"type":"uint32"},
		{"name":"v1","offset":4,"type":"uint32","scale":0.001},
		{"name":"v2","offset":8,"type":"int32","scale":0.01},
		{"name":"v3","offset":12,"type":"uint32"},
		{"name":"v4","offset":16,"type":"float32"}]}`)}
}

// LoadDevices are the devices that Load of a seed sends for, LoRaWAN 1.0.3.
func LoadDevices(seed int64, nodes int) []devices.Device {
	ds := make([]devices.Device, nodes)
	for i := range ds {
		s := loadSession(seed, i)
		ds[i] = devices.Device{
			ID: loadName(i), Domain: "load", Profile: "lorawan_load", Status: devices.Claimed,
			LoRaWAN: s.registered(fmt.Sprintf("06%014x", i+1)),
		}
	}
	return ds
}

func loadName(i int) string { return fmt.Sprintf("lora-load-%06d", i) }

func loadSession(seed int64, i int) session {
	return newSession(hash(uint64(seed), 'l', uint64(i)), 0x0200_0000|uint32(i), false)
}

// A fastNode makes the frames of one node of the load, byte for byte those of the reference, with
// its ciphers made once.
type fastNode struct {
	addr     uint32
	nwk, app cipher.Block
	k1, k2   [16]byte
}

func newFastNode(s *session) fastNode {
	f := fastNode{addr: s.addr}
	var err error
	if f.nwk, err = aes.NewCipher(s.f[:]); err == nil {
		f.app, err = aes.NewCipher(s.app[:])
	}
	if err != nil {
		panic("BUG: " + err.Error())
	}
	double := func(b [16]byte) (out [16]byte) { // RFC 4493
		var carry byte
		for i := 15; i >= 0; i-- {
			out[i] = b[i]<<1 | carry
			carry = b[i] >> 7
		}
		out[15] ^= carry * 0x87
		return out
	}
	f.nwk.Encrypt(f.k1[:], f.k1[:])
	f.k1 = double(f.k1)
	f.k2 = double(f.k1)
	return f
}

// scratch is the memory that making frames takes.
type scratch struct {
	block, key, x [16]byte
	frame         [loadFrame]byte
}

// loadPort is the port of the load's frames.
const loadPort = 1

// make makes the frame with the counter n. It is valid until s is used again.
func (f *fastNode) make(s *scratch, n uint32) []byte {
	b := s.frame[:]
	b[0] = 0x40 // unconfirmed up
	binary.LittleEndian.PutUint32(b[1:], f.addr)
	b[5] = 0x80 // ADR
	binary.LittleEndian.PutUint16(b[6:], uint16(n))
	b[8] = loadPort
	p := b[9 : 9+loadPayload]
	loadValues(p, n)
	s.block = [16]byte{0: 1}
	binary.LittleEndian.PutUint32(s.block[6:], f.addr)
	binary.LittleEndian.PutUint32(s.block[10:], n)
	for i := 0; i < loadPayload; i += 16 {
		s.block[15] = byte(i/16 + 1)
		f.app.Encrypt(s.key[:], s.block[:])
		subtle.XORBytes(p[i:], p[i:], s.key[:min(16, loadPayload-i)])
	}
	msg := b[:len(b)-4]
	s.block[0], s.block[15] = 0x49, byte(len(msg))
	f.nwk.Encrypt(s.x[:], s.block[:])
	for len(msg) > 16 {
		subtle.XORBytes(s.x[:], s.x[:], msg[:16])
		f.nwk.Encrypt(s.x[:], s.x[:])
		msg = msg[16:]
	}
	last := &f.k1
	if len(msg) < 16 {
		last = &f.k2
		s.x[len(msg)] ^= 0x80
	}
	subtle.XORBytes(s.x[:], s.x[:], msg)
	subtle.XORBytes(s.x[:], s.x[:], last[:])
	f.nwk.Encrypt(s.x[:], s.x[:])
	copy(b[len(b)-4:], s.x[:4])
	return b
}

// loadValues writes the payload of the n-th uplink.
func loadValues(p []byte, n uint32) {
	binary.BigEndian.PutUint32(p, n)
	binary.BigEndian.PutUint32(p[4:], n*7919%1_000_000)
	binary.BigEndian.PutUint32(p[8:], uint32(int32(n%5000)-2500))
	binary.BigEndian.PutUint32(p[12:], n^0x5555)
	binary.BigEndian.PutUint32(p[16:], 0x41a00000+n%4096) // 20.0 and a little
}

package lorawan

import (
	"encoding/hex"
	"fmt"

	"github.com/brocaar/lorawan"

	"panormus/devices"
)

// A session is the keys of an activated node. A 1.0 session has one network key, f.
type session struct {
	v11       bool
	addr      uint32
	f, s, enc lorawan.AES128Key
	app       lorawan.AES128Key
}

func newSession(key uint64, addr uint32, v11 bool) session {
	s := session{v11: v11, addr: addr, f: newKey(key, 'f'), app: newKey(key, 'a')}
	s.s, s.enc = s.f, s.f
	if v11 {
		s.s, s.enc = newKey(key, 's'), newKey(key, 'e')
	}
	return s
}

func newKey(key, which uint64) (k lorawan.AES128Key) {
	for i := range k {
		k[i] = byte(hash(key, which, uint64(i)))
	}
	return k
}

// registered is what the registry is told of the session.
func (s *session) registered(devEUI string) *devices.LoRaWAN {
	l := &devices.LoRaWAN{DevEUI: devEUI, DevAddr: fmt.Sprintf("%08x", s.addr), MACVersion: "1.0.3", AppSKey: hex.EncodeToString(s.app[:])}
	if !s.v11 {
		l.NwkSKey = hex.EncodeToString(s.f[:])
		return l
	}
	l.MACVersion = "1.1.0"
	l.FNwkSIntKey, l.SNwkSIntKey, l.NwkSEncryption = hex.EncodeToString(s.f[:]), hex.EncodeToString(s.s[:]), hex.EncodeToString(s.enc[:])
	return l
}

// frame makes the PHYPayload of u: encrypted and signed.
func (s *session) frame(u *uplink) []byte {
	mac := &lorawan.MACPayload{
		FHDR: lorawan.FHDR{
			DevAddr: lorawan.DevAddr{byte(s.addr >> 24), byte(s.addr >> 16), byte(s.addr >> 8), byte(s.addr)},
			FCtrl:   lorawan.FCtrl{ADR: true}, FCnt: u.fCnt,
		},
		FPort:      &u.port,
		FRMPayload: []lorawan.Payload{&lorawan.DataPayload{Bytes: u.payload}},
	}
	if u.status {
		mac.FHDR.FOpts = []lorawan.Payload{&lorawan.MACCommand{CID: lorawan.DevStatusAns, Payload: &lorawan.DevStatusAnsPayload{Battery: u.battery, Margin: u.margin}}}
	}
	phy := lorawan.PHYPayload{MHDR: lorawan.MHDR{MType: lorawan.UnconfirmedDataUp, Major: lorawan.LoRaWANR1}, MACPayload: mac}
	if u.confirmed {
		phy.MHDR.MType = lorawan.ConfirmedDataUp
	}
	version := lorawan.LoRaWAN1_0
	if s.v11 {
		version = lorawan.LoRaWAN1_1
	}
	err := phy.EncryptFRMPayload(s.app)
	if err == nil {
		err = phy.SetUplinkDataMIC(version, 0, uint8(u.dataRate()), uint8(u.channel), s.f, s.s)
	}
	var b []byte
	if err == nil {
		b, err = phy.MarshalBinary()
	}
	if err != nil {
		panic(fmt.Sprintf("BUG: a frame of %d bytes cannot be made: %v", len(u.payload), err))
	}
	return b
}

package frame

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/brocaar/lorawan"

	"panormus/devices"
)

func reasonOf(err error) Reason {
	var r *Reject
	if errors.As(err, &r) {
		return r.Reason
	}
	return ""
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sent is a frame to be made by the reference library.
type sent struct {
	keys      Keys
	fcnt      uint32
	confirmed bool
	ack       bool
	conf      uint16
	dr, ch    uint8
	fopts     []byte
	port      int // -1: none
	payload   []byte
}

// reference makes the PHYPayload of s with brocaar/lorawan.
func (s sent) reference(t testing.TB) []byte {
	t.Helper()
	mac := &lorawan.MACPayload{FHDR: lorawan.FHDR{FCnt: s.fcnt, FCtrl: lorawan.FCtrl{ADR: true, ACK: s.ack}}}
	mac.FHDR.DevAddr = lorawan.DevAddr{byte(s.keys.DevAddr >> 24), byte(s.keys.DevAddr >> 16), byte(s.keys.DevAddr >> 8), byte(s.keys.DevAddr)}
	if len(s.fopts) > 0 {
		mac.FHDR.FOpts = []lorawan.Payload{&lorawan.DataPayload{Bytes: bytes.Clone(s.fopts)}}
	}
	phy := lorawan.PHYPayload{MHDR: lorawan.MHDR{MType: lorawan.UnconfirmedDataUp}, MACPayload: mac}
	if s.confirmed {
		phy.MHDR.MType = lorawan.ConfirmedDataUp
	}
	version := lorawan.LoRaWAN1_0
	f, sk, enc := s.keys.FNwkSInt, s.keys.FNwkSInt, s.keys.FNwkSInt
	if s.keys.V11 {
		version, sk, enc = lorawan.LoRaWAN1_1, s.keys.SNwkSInt, s.keys.NwkSEnc
	}
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatalf("reference: %v", err)
		}
	}
	if s.port >= 0 {
		port := uint8(s.port)
		mac.FPort = &port
		mac.FRMPayload = []lorawan.Payload{&lorawan.DataPayload{Bytes: bytes.Clone(s.payload)}}
		key := s.keys.AppS
		if port == 0 {
			key = enc
		}
		must(phy.EncryptFRMPayload(lorawan.AES128Key(key)))
	}
	if s.keys.V11 {
		must(phy.EncryptFOpts(lorawan.AES128Key(enc)))
	}
	must(phy.SetUplinkDataMIC(version, uint32(s.conf), s.dr, s.ch, lorawan.AES128Key(f), lorawan.AES128Key(sk)))
	b, err := phy.MarshalBinary()
	must(err)
	return b
}

func randomKeys(r *rand.Rand, v11 bool) Keys {
	k := Keys{V11: v11, DevAddr: DevAddr(r.Uint32()), HasAppS: true}
	for _, key := range []*Key{&k.FNwkSInt, &k.SNwkSInt, &k.NwkSEnc, &k.AppS} {
		randomBytes(r, key[:])
	}
	return k
}

func randomBytes(r *rand.Rand, b []byte) []byte {
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func randomSent(r *rand.Rand) sent {
	s := sent{
		keys: randomKeys(r, r.IntN(2) == 0), fcnt: r.Uint32(), confirmed: r.IntN(2) == 0, ack: r.IntN(3) == 0,
		dr: uint8(r.IntN(8)), ch: uint8(r.IntN(16)), port: r.IntN(225) - 1,
	}
	if r.IntN(2) == 0 {
		s.fcnt %= upperHalves << 16
	}
	if s.ack {
		s.conf = uint16(r.Uint32())
	}
	if s.port != 0 {
		s.fopts = randomBytes(r, make([]byte, r.IntN(16)))
	}
	if s.port >= 0 {
		s.payload = randomBytes(r, make([]byte, r.IntN(223)))
	}
	return s
}

// link is what s was sent with.
func (s sent) link() Link {
	return Link{DataRate: int8(s.dr), Channel: int8(s.ch), ConfFCnt: int32(s.conf)}
}

func TestOpenAgreesWithTheReference(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var o Opener
	for i := range 5000 {
		s := randomSent(r)
		phy := s.reference(t)
		var f Frame
		if err := Parse(phy, &f); err != nil {
			t.Fatalf("frame %d, %x: %v", i, phy, err)
		}
		link := s.link()
		if r.IntN(3) == 0 {
			link.Channel = Unknown
		}
		st := State{Any: true, Last: s.fcnt - uint32(r.IntN(30000))}
		if st.Last > s.fcnt {
			st = State{}
			s.fcnt %= 1 << 16
			phy = s.reference(t)
			if err := Parse(phy, &f); err != nil {
				t.Fatal(err)
			}
		}
		got, err := o.Open(&f, NewSession(s.keys), &st, link, Refuse)
		if err != nil && reasonOf(err) == ReasonCounter && st.Last == s.fcnt {
			continue // the counter the state began with
		}
		if err != nil {
			t.Fatalf("frame %d, %x, %+v: %v", i, phy, s, err)
		}
		if got.FCnt != s.fcnt || got.HalfMIC || got.Encrypted || f.Confirmed() != s.confirmed || f.ACK() != s.ack {
			t.Fatalf("frame %d: %+v, %+v; want %+v", i, f, got, s)
		}
		wantMAC, wantPayload := s.fopts, s.payload
		if s.port == 0 {
			wantMAC, wantPayload = s.payload, nil
		}
		if !bytes.Equal(got.MAC, wantMAC) || !bytes.Equal(got.Payload, wantPayload) {
			t.Fatalf("frame %d: MAC %x, payload %x; want %x, %x", i, got.MAC, got.Payload, wantMAC, wantPayload)
		}
		if f.HasPort != (s.port >= 0) || f.HasPort && int(f.Port) != s.port {
			t.Fatalf("frame %d: port %v %d, want %d", i, f.HasPort, f.Port, s.port)
		}
	}
}

// Frames that the reference library made, once and for all.
func TestGoldenFrames(t *testing.T) {
	keys := Keys{
		DevAddr: 0x26011bda, HasAppS: true,
		FNwkSInt: Key{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
		SNwkSInt: Key{2, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
		NwkSEnc:  Key{3, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
		AppS:     Key{16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1},
	}
	keys11 := keys
	keys11.V11 = true
	text := []byte("a lamp of via Roma, 83.2 W")
	for _, tc := range []struct {
		name, phy string
		sent      sent
	}{
		{"1.0", "40da1b01268007000a7c94b58af732b400578242da72acf68db06f84efc12e1b5c840f0b89a964", sent{keys: keys, fcnt: 7, port: 10, payload: text}},
		{"1.0 confirmed, 65543rd", "80da1b01268007000a0b8e753a0376d87eae349c7c838e867419e833076e8daa1b396ebd992ef2", sent{keys: keys, fcnt: 65543, confirmed: true, port: 10, payload: text}},
		{"1.0 commands on port 0", "40da1b012680080000eb91411aab88cb", sent{keys: keys, fcnt: 8, port: 0, payload: []byte{6, 254, 10}}},
		{"1.0 commands beside data", "40da1b012683090006fe0a025fe5f23a86", sent{keys: keys, fcnt: 9, port: 2, payload: []byte{1}, fopts: []byte{6, 254, 10}}},
		{"1.0 empty", "40da1b0126800a00e04d2d91", sent{keys: keys, fcnt: 10, port: -1}},
		{"1.1", "40da1b01268007000a7c94b58af732b400578242da72acf68db06f84efc12e1b5c840f2aaa0b89", sent{keys: keys11, fcnt: 7, port: 10, payload: text, dr: 5, ch: 2}},
		{"1.1 acknowledges, commands", "40da1b0126a308004e6a6b03843fdee9e0e5", sent{keys: keys11, fcnt: 8, ack: true, conf: 513, port: 3, payload: []byte{1, 2}, fopts: []byte{6, 254, 10}, dr: 5, ch: 2}},
	} {
		phy := unhex(t, tc.phy)
		if made := tc.sent.reference(t); !bytes.Equal(made, phy) {
			t.Errorf("%s: the reference now makes %x, want %x", tc.name, made, phy)
		}
		var f Frame
		var o Opener
		var st State
		if err := Parse(phy, &f); err != nil {
			t.Errorf("%s: %v", tc.name, err)
			continue
		}
		got, err := o.Open(&f, NewSession(tc.sent.keys), &st, tc.sent.link(), Refuse)
		plain := got.Payload
		if tc.sent.port == 0 {
			plain = got.MAC
		} else if !bytes.Equal(got.MAC, tc.sent.fopts) {
			t.Errorf("%s: MAC commands %x, want %x", tc.name, got.MAC, tc.sent.fopts)
		}
		if err != nil || got.FCnt != tc.sent.fcnt || got.Outcome != Fresh || !bytes.Equal(plain, tc.sent.payload) {
			t.Errorf("%s: %+v, %v", tc.name, got, err)
		}
	}
}

func TestParseAgreesWithTheReferenceOnWhatIsAFrame(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 20000 {
		s := randomSent(r)
		phy := s.reference(t)
		switch r.IntN(3) {
		case 0:
			phy = phy[:r.IntN(len(phy)+1)]
		case 1:
			phy[r.IntN(min(len(phy), 8))] ^= 1 << r.IntN(8)
		}
		if len(phy) > 0 && (phy[0]&3 != 0 || len(phy) >= 5 && !TypeOf(phy[0]).IsData()) {
			continue
		}
		var ref lorawan.PHYPayload
		refErr := ref.UnmarshalBinary(bytes.Clone(phy))
		var f Frame
		err := Parse(phy, &f)
		if err != nil && reasonOf(err) == ReasonPort {
			continue // the reference lets FPort 0 beside FOpts pass when nothing follows
		}
		if (err == nil) != (refErr == nil) {
			t.Fatalf("Parse(%x) = %v, the reference says %v", phy, err, refErr)
		}
		if err != nil {
			continue
		}
		mac := ref.MACPayload.(*lorawan.MACPayload)
		if f.DevAddr.String() != mac.FHDR.DevAddr.String() || f.FCnt != uint16(mac.FHDR.FCnt) || (mac.FPort != nil) != f.HasPort {
			t.Fatalf("Parse(%x) = %+v, want %+v", phy, f, mac)
		}
	}
}

func TestEveryPrefixAndEveryFlippedBitIsRefused(t *testing.T) {
	for _, v11 := range []bool{false, true} {
		r := rand.New(rand.NewPCG(5, 6))
		s := sent{keys: randomKeys(r, v11), fcnt: 77, port: 3, payload: randomBytes(r, make([]byte, 20)), fopts: []byte{2}, dr: 5, ch: 1}
		phy := s.reference(t)
		session := NewSession(s.keys)
		var o Opener
		open := func(b []byte) error {
			var f Frame
			if err := Parse(b, &f); err != nil {
				return err
			}
			var st State
			_, err := o.Open(&f, session, &st, s.link(), Refuse)
			return err
		}
		if err := open(phy); err != nil {
			t.Fatalf("whole: %v", err)
		}
		for n := range phy {
			if err := open(phy[:n]); err == nil || reasonOf(err) == "" {
				t.Errorf("prefix of %d: %v, want a Reject", n, err)
			}
		}
		for bit := range len(phy) * 8 {
			b := bytes.Clone(phy)
			b[bit/8] ^= 1 << (bit % 8)
			if err := open(b); reasonOf(err) == "" {
				t.Errorf("bit %d: %v, want a Reject", bit, err)
			}
		}
	}
}

func TestWrongKeysAndDownlinksAreRefused(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	s := sent{keys: randomKeys(r, false), port: 1, payload: []byte{1}}
	phy := s.reference(t)
	var f Frame
	if err := Parse(phy, &f); err != nil {
		t.Fatal(err)
	}
	other := s.keys
	other.FNwkSInt[3] ^= 1
	var o Opener
	var st State
	if _, err := o.Open(&f, NewSession(other), &st, UnknownLink, Accept); reasonOf(err) != ReasonMIC || st != (State{}) {
		t.Errorf("wrong key: %v, state %+v; want %s and no state", err, st, ReasonMIC)
	}
	phy[0] = byte(UnconfirmedDown) << 5
	if err := Parse(phy, &f); err != nil {
		t.Fatalf("a downlink parses: %v", err)
	}
	if _, err := o.Open(&f, NewSession(s.keys), &st, UnknownLink, Accept); reasonOf(err) != ReasonMType {
		t.Errorf("downlink: %v, want %s", err, ReasonMType)
	}
	noApp := s.keys
	noApp.HasAppS = false
	phy[0] = byte(UnconfirmedUp) << 5
	if err := Parse(phy, &f); err != nil {
		t.Fatal(err)
	}
	got, err := o.Open(&f, NewSession(noApp), &st, UnknownLink, Refuse)
	if err != nil || !got.Encrypted {
		t.Errorf("without AppSKey: %+v, %v; want encrypted", got, err)
	}
}

func TestHalfMIC(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	s := sent{keys: randomKeys(r, true), ack: true, conf: 99, dr: 3, ch: 5, port: 1, payload: []byte{1}}
	var f Frame
	if err := Parse(s.reference(t), &f); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name string
		link Link
		half bool
		want Reason
	}{
		{"all known", Link{DataRate: 3, Channel: 5, ConfFCnt: 99}, false, ""},
		{"channel unknown", Link{DataRate: 3, Channel: Unknown, ConfFCnt: 99}, false, ""},
		{"counter unknown", Link{DataRate: 3, Channel: 5, ConfFCnt: Unknown}, true, ""},
		{"data rate unknown", Link{DataRate: Unknown, Channel: 5, ConfFCnt: 99}, true, ""},
		{"wrong data rate", Link{DataRate: 4, Channel: 5, ConfFCnt: 99}, false, ReasonMIC},
		{"wrong counter", Link{DataRate: 3, Channel: Unknown, ConfFCnt: 98}, false, ReasonMIC},
	} {
		var o Opener
		var st State
		got, err := o.Open(&f, NewSession(s.keys), &st, tc.link, Refuse)
		if got.HalfMIC != tc.half || reasonOf(err) != tc.want {
			t.Errorf("%s: half %v, %v; want %v, %q", tc.name, got.HalfMIC, err, tc.half, tc.want)
		}
	}
}

func TestKeysOf(t *testing.T) {
	const a, b, c, d = "000102030405060708090A0B0C0D0E0F", "10000000000000000000000000000000",
		"20000000000000000000000000000000", "30000000000000000000000000000000"
	for _, tc := range []struct {
		name string
		in   *devices.LoRaWAN
		ok   bool
		want Reason
		v11  bool
	}{
		{"nothing", nil, false, "", false},
		{"no keys", &devices.LoRaWAN{DevAddr: "01020304"}, false, "", false},
		{"no address", &devices.LoRaWAN{NwkSKey: a}, false, "", false},
		{"1.0", &devices.LoRaWAN{DevAddr: "01020304", MACVersion: "1.0.3", NwkSKey: a, AppSKey: b}, true, "", false},
		{"1.0 under the name of 1.1", &devices.LoRaWAN{DevAddr: "01020304", FNwkSIntKey: a}, true, "", false},
		{"1.1", &devices.LoRaWAN{DevAddr: "01020304", MACVersion: "1.1.0", FNwkSIntKey: a, SNwkSIntKey: b, NwkSEncryption: c, AppSKey: d}, true, "", true},
		{"1.1 lacks one", &devices.LoRaWAN{DevAddr: "01020304", MACVersion: "1.1.0", FNwkSIntKey: a, SNwkSIntKey: b}, false, ReasonIdentity, false},
		{"bad address", &devices.LoRaWAN{DevAddr: "0102030", NwkSKey: a}, false, ReasonIdentity, false},
		{"short key", &devices.LoRaWAN{DevAddr: "01020304", NwkSKey: "00"}, false, ReasonIdentity, false},
		{"odd key", &devices.LoRaWAN{DevAddr: "01020304", NwkSKey: a, AppSKey: "zz000000000000000000000000000000"}, false, ReasonIdentity, false},
	} {
		k, ok, err := KeysOf(tc.in)
		if ok != tc.ok || reasonOf(err) != tc.want || k.V11 != tc.v11 {
			t.Errorf("%s: %v, %v, v11 %v; want %v, %q, %v", tc.name, ok, err, k.V11, tc.ok, tc.want, tc.v11)
		}
	}
}

func TestJoins(t *testing.T) {
	join := lorawan.PHYPayload{
		MHDR:       lorawan.MHDR{MType: lorawan.JoinRequest},
		MACPayload: &lorawan.JoinRequestPayload{JoinEUI: lorawan.EUI64{1, 2, 3, 4, 5, 6, 7, 8}, DevEUI: lorawan.EUI64{9, 8, 7, 6, 5, 4, 3, 2}, DevNonce: 0x1234},
	}
	if err := join.SetUplinkJoinMIC(lorawan.AES128Key{1}); err != nil {
		t.Fatal(err)
	}
	rejoin0 := lorawan.PHYPayload{
		MHDR:       lorawan.MHDR{MType: lorawan.RejoinRequest},
		MACPayload: &lorawan.RejoinRequestType02Payload{RejoinType: 2, NetID: lorawan.NetID{1, 2, 3}, DevEUI: lorawan.EUI64{9, 8, 7, 6, 5, 4, 3, 2}, RJCount0: 7},
	}
	rejoin1 := lorawan.PHYPayload{
		MHDR:       lorawan.MHDR{MType: lorawan.RejoinRequest},
		MACPayload: &lorawan.RejoinRequestType1Payload{RejoinType: 1, JoinEUI: lorawan.EUI64{1, 2, 3, 4, 5, 6, 7, 8}, DevEUI: lorawan.EUI64{9, 8, 7, 6, 5, 4, 3, 2}, RJCount1: 8},
	}
	for _, tc := range []struct {
		name string
		phy  lorawan.PHYPayload
		want Join
	}{
		{"join", join, Join{Type: JoinRequest, JoinEUI: 0x0102030405060708, DevEUI: 0x0908070605040302, Nonce: 0x1234}},
		{"rejoin 2", rejoin0, Join{Type: RejoinRequest, Rejoin: 2, NetID: 0x010203, DevEUI: 0x0908070605040302, Nonce: 7}},
		{"rejoin 1", rejoin1, Join{Type: RejoinRequest, Rejoin: 1, JoinEUI: 0x0102030405060708, DevEUI: 0x0908070605040302, Nonce: 8}},
	} {
		phy, err := tc.phy.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseJoin(phy)
		got.MIC = 0
		if err != nil || got != tc.want {
			t.Errorf("%s: %+v, %v; want %+v", tc.name, got, err, tc.want)
		}
		for n := range phy {
			if _, err := ParseJoin(phy[:n]); reasonOf(err) == "" {
				t.Errorf("%s: prefix of %d: %v, want a Reject", tc.name, n, err)
			}
		}
		if _, err := ParseJoin(append(phy, 0)); reasonOf(err) != ReasonLong {
			t.Errorf("%s: one byte more: %v, want %s", tc.name, err, ReasonLong)
		}
		var f Frame
		if err := Parse(phy, &f); reasonOf(err) != ReasonMType {
			t.Errorf("%s: Parse: %v, want %s", tc.name, err, ReasonMType)
		}
	}
}

func TestFindDevStatus(t *testing.T) {
	f := func(in string, want DevStatus, wantOK bool) {
		t.Helper()
		if got, ok := FindDevStatus(unhex(t, in)); got != want || ok != wantOK {
			t.Errorf("FindDevStatus(%s) = %+v, %v; want %+v, %v", in, got, ok, want, wantOK)
		}
	}
	f("", DevStatus{}, false)
	f("06ff14", DevStatus{Battery: 255, MarginDB: 20}, true)
	f("06003f", DevStatus{Battery: 0, MarginDB: -1}, true)
	f("060020", DevStatus{Battery: 0, MarginDB: -32}, true)
	f("020307"+"0680e0", DevStatus{Battery: 128, MarginDB: -32}, true) // LinkCheckReq, LinkADRAns
	f("06ff", DevStatus{}, false)
	f("8006ff14", DevStatus{}, false)
}

func FuzzParse(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	keys := randomKeys(r, true)
	for range 4 {
		s := randomSent(r)
		s.keys.DevAddr = keys.DevAddr
		f.Add(s.reference(f))
	}
	f.Add([]byte{0xc0, 1, 2})
	session := NewSession(keys)
	f.Fuzz(func(t *testing.T, b []byte) {
		var fr Frame
		var o Opener
		var st State
		if err := Parse(b, &fr); err == nil {
			if _, err := o.Open(&fr, session, &st, UnknownLink, Accept); err != nil && reasonOf(err) == "" {
				t.Fatalf("Open: %v, want a Reject", err)
			}
		} else if reasonOf(err) == "" {
			t.Fatalf("Parse: %v, want a Reject", err)
		}
		if _, err := ParseJoin(b); err != nil && reasonOf(err) == "" {
			t.Fatalf("ParseJoin: %v, want a Reject", err)
		}
		FindDevStatus(b)
	})
}

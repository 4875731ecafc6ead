package raw_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/brocaar/lorawan"
	"golang.org/x/net/ipv4"

	"panormus/devices"
	"panormus/ingest"
	"panormus/ingest/ingesttest"
	"panormus/ingest/lorawan/envelope"
	"panormus/ingest/lorawan/frame"
	"panormus/ingest/lorawan/gather"
	"panormus/ingest/lorawan/radio"
	"panormus/ingest/lorawan/raw"
	"panormus/ingest/udp"
	"panormus/stream/log/logtest"
)

// registry holds lamps.
type registry map[string]*devices.Asset

func (r registry) Version() uint64                 { return 0 }
func (r registry) Lookup(id string) *devices.Asset { return r[id] }
func (r registry) LookupDevEUI(eui string) *devices.Asset {
	for _, a := range r {
		if a.LoRaWAN.DevEUI == eui {
			return a
		}
	}
	return nil
}

func lamp(id, eui string) *devices.Asset {
	return &devices.Asset{Device: devices.Device{ID: id, Domain: "lighting", LoRaWAN: &devices.LoRaWAN{DevEUI: eui}}}
}

// power is a native codec: 2 bytes of tenths of a watt, 1 of dimming in percent.
func power(p *raw.Payload, out *ingest.Decoded) error {
	if len(p.Bytes) != 3 {
		return ingest.Rejectf(ingest.ReasonSyntax, "payload of %d bytes, want 3", len(p.Bytes))
	}
	if err := out.Add([]byte("power_w"), float64(binary.BigEndian.Uint16(p.Bytes))/10, nil); err != nil {
		return err
	}
	return out.Add([]byte("dimming"), float64(p.Bytes[2])/100, nil)
}

var appKey, nwkKey = frame.Key{1}, frame.Key{2}

// phy is a frame of the reference library's.
func phy(t testing.TB, addr uint32, fcnt uint32, port uint8, payload []byte) []byte {
	t.Helper()
	mac := &lorawan.MACPayload{
		FHDR:       lorawan.FHDR{DevAddr: lorawan.DevAddr{byte(addr >> 24), byte(addr >> 16), byte(addr >> 8), byte(addr)}, FCnt: fcnt},
		FPort:      &port,
		FRMPayload: []lorawan.Payload{&lorawan.DataPayload{Bytes: append([]byte(nil), payload...)}},
	}
	p := lorawan.PHYPayload{MHDR: lorawan.MHDR{MType: lorawan.UnconfirmedDataUp}, MACPayload: mac}
	key := appKey
	if port == 0 {
		key = nwkKey
	}
	err := errors.Join(p.EncryptFRMPayload(lorawan.AES128Key(key)), p.SetUplinkDataMIC(lorawan.LoRaWAN1_0, 0, 0, 0, lorawan.AES128Key(nwkKey), lorawan.AES128Key(nwkKey)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func keys(addr uint32) frame.Keys {
	return frame.Keys{DevAddr: frame.DevAddr(addr), FNwkSInt: nwkKey, AppS: appKey, HasAppS: true}
}

// A frame means the same as bytes and as the gatherer hands it on.
func TestFrame(t *testing.T) {
	t.Run("bytes", func(t *testing.T) {
		testFrame(t, func(in *ingest.Input, m *envelope.Message) { in.Payload = bytesOf(m) })
	})
	t.Run("parsed", func(t *testing.T) {
		testFrame(t, func(in *ingest.Input, m *envelope.Message) { f := m.Frame(); in.Parsed = &f })
	})
}

func testFrame(t *testing.T, put func(in *ingest.Input, m *envelope.Message)) {
	table := frame.NewTable(0)
	if err := table.Put("pole-7", keys(7), frame.Refuse, frame.State{}); err != nil {
		t.Fatal(err)
	}
	locked := keys(8)
	locked.HasAppS = false
	if err := table.Put("pole-8", locked, frame.Refuse, frame.State{}); err != nil {
		t.Fatal(err)
	}
	joins := 0
	d := &raw.Decoder{
		Table: table, Registry: registry{"pole-7": lamp("pole-7", "0000000000000007"), "pole-8": lamp("pole-8", "0000000000000008")}, Codec: power,
		Join: func(frame.Join, *envelope.Frame, int64) { joins++ },
	}
	join := func(eui byte) []byte { return []byte{22: 0, 9: eui} }
	for _, tc := range []struct {
		name   string
		raw    []byte
		edit   func(m *envelope.Message)
		want   string
		reject ingest.Reason
	}{
		{name: "data", raw: phy(t, 7, 1, 10, []byte{3, 0x40, 70}), want: "pole-7 lighting uplinks=2 power_w=83.2 dimming=0.7"},
		{name: "again", raw: phy(t, 7, 1, 10, []byte{3, 0x40, 70}), reject: ingest.ReasonReplay},
		{name: "status", raw: phy(t, 7, 2, 0, []byte{6, 254, 10}), want: "pole-7 lighting uplinks=2 lorawan_margin_db=10 lorawan_battery_percent=100"},
		{name: "on the mains", raw: phy(t, 7, 3, 0, []byte{6, 0, 10}), want: "pole-7 lighting uplinks=2 lorawan_margin_db=10 lorawan_external_power=1"},
		{name: "nothing to read", raw: phy(t, 7, 4, 0, []byte{2}), want: "pole-7 lighting uplinks=2"},
		{name: "counter back", raw: phy(t, 7, 1, 10, []byte{0, 0, 0}), reject: ingest.Reason(frame.ReasonCounter)},
		{name: "a codec that refuses", raw: phy(t, 7, 5, 10, []byte{1}), reject: ingest.ReasonSyntax},
		{name: "no AppSKey", raw: phy(t, 8, 1, 10, []byte{1}), reject: ingest.ReasonEncrypted},
		{name: "stranger", raw: phy(t, 9, 1, 10, []byte{1}), reject: ingest.Reason(frame.ReasonDevAddr)},
		{name: "forged", raw: append(phy(t, 7, 6, 10, []byte{1})[:13], 1, 2, 3, 4), reject: ingest.Reason(frame.ReasonMIC)},
		{name: "damaged", raw: phy(t, 7, 6, 10, []byte{1}), edit: func(m *envelope.Message) { m.Payload.BadCRC = true }, reject: ingest.Reason(frame.ReasonCRC)},
		{name: "of another region", raw: phy(t, 7, 6, 10, []byte{1}), edit: func(m *envelope.Message) { m.Radio.FrequencyHz = 903_900_000 }, reject: ingest.Reason(frame.ReasonRegion)},
		{name: "join", raw: join(7), want: "pole-7 lighting uplinks=0"},
		{name: "join of a stranger", raw: join(9), reject: ingest.ReasonUnknownDevice},
	} {
		m := envelope.Message{Kind: envelope.Uplink}
		m.Payload.Raw = tc.raw
		m.Radio = envelope.Radio{FrequencyHz: 868_100_000, DataRate: radio.LoRaRate(7, 125_000), Receptions: []envelope.Reception{
			{Gateway: "0102030405060708", RSSIdBm: -57, SNRdB: 9}, {Gateway: "0102030405060709", RSSIdBm: -99, SNRdB: -3},
		}}
		if tc.edit != nil {
			tc.edit(&m)
		}
		out := ingest.NewDecoded()
		in := &ingest.Input{Domain: "lorawan", Device: "00000007", Received: 1_769_308_300_000}
		put(in, &m)
		err := d.Frame(in, out)
		var why *ingest.Reject
		if errors.As(err, &why); err != nil && why == nil || err == nil && tc.reject != "" || why != nil && why.Reason != tc.reject {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.reject)
			continue
		}
		if err != nil {
			continue
		}
		got := fmt.Sprintf("%s %s uplinks=%d", out.Device, out.Domain, len(out.Uplinks))
		for _, v := range out.Values {
			got += fmt.Sprintf(" %s=%v", v.Name, v.Number)
		}
		if got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
	if joins != 2 {
		t.Errorf("%d joins were told of, want 2", joins)
	}
}

func TestFrameOfAnotherRegion(t *testing.T) {
	table := frame.NewTable(0)
	if err := table.Put("pole-7", keys(7), frame.Refuse, frame.State{}); err != nil {
		t.Fatal(err)
	}
	us, err := radio.RegionOf("US915")
	if err != nil {
		t.Fatal(err)
	}
	d := &raw.Decoder{Table: table, Registry: registry{"pole-7": lamp("pole-7", "0000000000000007")}, Region: us, Codec: power}
	f := func(fcnt, hz uint32, rate radio.DataRate, want ingest.Reason) {
		t.Helper()
		in := &ingest.Input{Received: 1_769_308_300_000, Parsed: &envelope.Frame{
			Raw:   phy(t, 7, fcnt, 10, []byte{3, 0x40, 70}),
			Radio: envelope.Radio{FrequencyHz: hz, DataRate: rate, DR: radio.Unknown, Receptions: []envelope.Reception{{Gateway: "g"}}},
		}}
		var why *ingest.Reject
		err := d.Frame(in, ingest.NewDecoded())
		if errors.As(err, &why); err != nil && (why == nil || why.Reason != want) || err == nil && want != "" {
			t.Errorf("%d Hz, %s: %v, want %q", hz, rate, err, want)
		}
	}
	f(1, 903_900_000, radio.LoRaRate(7, 125_000), "")
	f(2, 868_100_000, radio.LoRaRate(7, 125_000), ingest.ReasonRegion)
	f(3, 904_600_000, radio.LoRaRate(8, 500_000), "")
	f(4, 903_900_000, radio.LoRaRate(12, 125_000), ingest.ReasonRegion)
}

func TestFrameRefusesEveryPrefix(t *testing.T) {
	d := &raw.Decoder{Table: frame.NewTable(0), Registry: registry{}}
	m := envelope.Message{Kind: envelope.Uplink}
	m.Payload.Raw = phy(t, 7, 1, 10, []byte{1})
	m.Radio.Receptions = []envelope.Reception{{Gateway: "g"}}
	whole := bytesOf(&m)
	for n := range whole {
		err := d.Frame(&ingest.Input{Payload: whole[:n]}, ingest.NewDecoded())
		if _, ok := errors.AsType[*ingest.Reject](err); !ok {
			t.Fatalf("prefix of %d: %v, want a Reject", n, err)
		}
	}
}

// BenchmarkToLog takes uplinks from a gateway's socket through merging, MIC, decryption and a
// native codec to an embedded log, the generator being in the same process.
func BenchmarkToLog(b *testing.B) {
	for _, frames := range []int{1, 4} {
		b.Run(fmt.Sprintf("frames=%d", frames), func(b *testing.B) { benchToLog(b, frames) })
	}
}

func benchToLog(b *testing.B, frames int) {
	const lamps, each = 1000, 300 // so many frames that none comes again while it is remembered
	table, assets, reg := frame.NewTable(0), registry{}, ingesttest.NewRegistry()
	for i := range lamps {
		id := fmt.Sprint("pole-", i)
		assets[id] = lamp(id, fmt.Sprintf("%016x", i))
		if err := errors.Join(table.Put(id, keys(uint32(i)), frame.Accept, frame.State{}), reg.PutDevice(b.Context(), assets[id].Device)); err != nil {
			b.Fatal(err)
		}
	}
	var datagrams [][]byte
	for n := 0; n < lamps*each; n += frames {
		json := []byte(`{"rxpk":[`)
		for i := n; i < n+frames; i++ {
			if i > n {
				json = append(json, ',')
			}
			raw := phy(b, uint32(i%lamps), uint32(i/lamps), 10, []byte{3, 0x40, 70})
			json = fmt.Appendf(json, `{"tmst":%d,"chan":2,"rfch":0,"freq":868.300000,"stat":1,"modu":"LORA","datr":"SF7BW125","codr":"4/5","rssi":-35,"lsnr":5.1,"size":%d,"data":"%s"}`, i, len(raw), base64.StdEncoding.EncodeToString(raw))
		}
		head := binary.BigEndian.AppendUint64([]byte{2, 0, 0, 0}, uint64(n%32))
		datagrams = append(datagrams, append(append(head, json...), `]}`...))
	}
	d := &raw.Decoder{Table: table, Registry: assets, Codec: power}
	pump := ingesttest.NewPump(b, logtest.New(b, nil), func(c *ingest.Config) {
		c.Registry, c.Linger = reg, 40*time.Millisecond
		c.Decoders = map[string]ingest.Decoder{"lorawan-frame": d.Frame}
		c.Routes = []ingest.Route{{Filter: "lorawan/+/frame", Decoder: "lorawan-frame", Domain: "lorawan"}}
	})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	g := gather.New(gather.Config{})
	session := pump.Session("lorawan", "gather", g, nil)
	l, err := udp.Listen(udp.Config{Addr: "127.0.0.1:0", Rate: -1, Receiver: func(int) udp.Receiver { return &gather.Datagrams{To: g} }})
	if err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 2)
	go func() { ended <- g.Run(ctx, session) }()
	go func() { ended <- l.Run(ctx) }()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(l.Addr()))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	msgs := make([]ipv4.Message, 32)
	out := ipv4.NewPacketConn(conn)
	sent, at := 0, 0
	for b.Loop() {
		for i := range msgs {
			msgs[i].Buffers = [][]byte{datagrams[at%len(datagrams)]}
			at++
		}
		// No more on the way than the socket surely holds: nothing is to be lost.
		await(b, func() bool { return l.Stats().Received+32 > uint64(sent) }, func() any { return l.Stats() })
		n, err := out.WriteBatch(msgs, 0)
		if err != nil {
			b.Fatal(err)
		}
		sent += n
		at -= len(msgs) - n
	}
	want := uint64(sent * frames)
	await(b, func() bool { s := pump.Stats(); return s.Decoded+s.Rejected >= want }, func() any { return fmt.Sprint(want, pump.Stats(), g.Stats(), l.Stats()) })
	b.ReportMetric(float64(want)/b.Elapsed().Seconds(), "uplinks/s")
	cancel()
	if err := errors.Join(<-ended, <-ended); err != nil {
		b.Fatal(err)
	}
	if s := pump.Stats(); s.Decoded != want || s.Observations != 2*want || s.Uplinks != want {
		b.Fatalf("%d uplinks: %+v", want, s)
	}
}

// await waits until ok, and fails with what state says where that takes too long.
func await(b *testing.B, ok func() bool, state func() any) {
	b.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(20 * time.Microsecond) {
		if time.Now().After(end) {
			b.Fatalf("nothing moves: %+v", state())
		}
	}
}

// bytesOf is the raw uplink that m tells of as the dead letter has it.
func bytesOf(m *envelope.Message) []byte {
	f := m.Frame()
	return f.AppendPayload(nil)
}

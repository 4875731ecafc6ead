package lorawan_test

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	reference "github.com/brocaar/lorawan"
	"github.com/gorilla/websocket"

	"panormus/devices"
	"panormus/ingest"
	"panormus/ingest/ingesttest"
	"panormus/ingest/lorawan"
	"panormus/ingest/lorawan/frame"
	"panormus/ingest/lorawan/gather"
	"panormus/ingest/lorawan/raw"
	"panormus/ingest/station"
	"panormus/ingest/telemetry"
	"panormus/ingest/udp"
	"panormus/stream/batch"
	"panormus/stream/log"
	"panormus/stream/log/logtest"
)

// phy is a frame of the reference library's: two bytes, its counter.
func phy(t testing.TB, addr, fcnt uint32, key byte) []byte {
	port := uint8(1)
	p := reference.PHYPayload{
		MHDR: reference.MHDR{MType: reference.UnconfirmedDataUp},
		MACPayload: &reference.MACPayload{
			FHDR:  reference.FHDR{DevAddr: reference.DevAddr(binary.BigEndian.AppendUint32(nil, addr)), FCnt: fcnt},
			FPort: &port, FRMPayload: []reference.Payload{&reference.DataPayload{Bytes: []byte{byte(fcnt >> 8), byte(fcnt)}}},
		},
	}
	k := reference.AES128Key{15: key}
	if err := errors.Join(p.EncryptFRMPayload(k), p.SetUplinkDataMIC(reference.LoRaWAN1_0, 0, 0, 0, k, k)); err != nil {
		t.Fatal(err)
	}
	b, err := p.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// memory is a devices.Store and a Bucket.
type memory struct{ sync.Map }

func (m *memory) Put(_ context.Context, key string, v []byte) error { m.Store(key, v); return nil }
func (m *memory) Delete(context.Context, string) error              { return nil }
func (m *memory) Get(_ context.Context, key string) ([]byte, bool, error) {
	v, ok := m.Load(key)
	if !ok {
		return nil, false, nil
	}
	return v.([]byte), true, nil
}
func (m *memory) Watch(ctx context.Context, _ func(string, []byte), _ func()) error {
	<-ctx.Done()
	return ctx.Err()
}

// counted reads a kind of batch to its end.
func counted(t *testing.T, l *log.Log, kind batch.Kind, each func(data []byte)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	last, err := l.LastSeq(ctx, kind)
	if err != nil || last == 0 {
		t.Fatalf("%s: last sequence %d, %v", kind, last, err)
	}
	r, err := l.Read(ctx, kind, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for seq := uint64(0); seq < last; {
		m, err := r.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		seq = m.Seq
		each(m.Data)
	}
}

// TestSoak has every kind of network send at once, some of it wrong, and counts what is on the log.
func TestSoak(t *testing.T) {
	const motes, frames = 8, 150
	l := logtest.New(t, nil)
	quiet := slog.New(slog.DiscardHandler)
	reg := devices.NewRegistry(&memory{}, quiet)
	intake, codecs := lorawan.NewIntake(), lorawan.NewCodecs()
	table := frame.NewTable(0)
	sessions := &lorawan.Sessions{Table: table, Codecs: codecs, Registry: reg, Bucket: &memory{}, Log: quiet}
	if _, _, err := sessions.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	sessions.Follow()
	if err := reg.PutProfile(t.Context(), devices.Profile{ID: "p", Codec: []byte(`{"layout":[{"name":"n","offset":0,"type":"uint16"}]}`)}); err != nil {
		t.Fatal(err)
	}
	for addr := range 3 * motes { // by UDP, by station, by bridge
		k := fmt.Sprintf("%032x", addr)
		d := devices.Device{ID: fmt.Sprint("m", addr), Domain: "water", Profile: "p", LoRaWAN: &devices.LoRaWAN{DevEUI: fmt.Sprintf("%016x", addr), DevAddr: fmt.Sprintf("%08x", addr), NwkSKey: k, AppSKey: k}}
		if err := reg.PutDevice(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	network := &lorawan.Network{Registry: reg, Codecs: codecs}
	decoders := network.Decoders(&raw.Decoder{Table: table, Registry: reg, Codec: codecs.Decode})
	decoders["json"], decoders["senml"], decoders["senml-cbor"] = telemetry.JSON, telemetry.SenML, telemetry.SenMLCBOR
	pump, err := ingest.New(ingest.Config{
		Log: l, Registry: reg, Decoders: decoders, Takers: map[string]ingest.Taker{"bridge": network.Bridge(intake.Gatherer)},
		Routes: append(ingest.DefaultRoutes(), ingest.GatheredRoutes()...), Linger: 5 * time.Millisecond, Fingerprints: 1 << 16,
	})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := udp.Listen(udp.Config{Addr: "127.0.0.1:0", Rate: -1, Receiver: func(int) udp.Receiver { return &gather.Datagrams{To: intake.Gatherer} }})
	if err != nil {
		t.Fatal(err)
	}
	intake.Sources = append(intake.Sources, listener)
	stations := station.New(station.Config{Rate: 1e6, Receiver: func(frame.EUI) station.Receiver { return gather.Station{To: intake.Gatherer} }})
	web := httptest.NewServer(stations)
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- ingest.Run(ctx, pump, intake.Feed(pump)) }()

	var wg sync.WaitGroup
	fail := func(err error) {
		if err != nil {
			t.Error(err)
		}
	}
	for g := range 2 { // both gateways hear every frame; each waits for its answers
		wg.Go(func() {
			c, err := net.Dial("udp", listener.Addr().String())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			fail(c.SetDeadline(time.Now().Add(time.Minute)))
			push := func(body string) {
				_, err := c.Write(append(binary.BigEndian.AppendUint64([]byte{2, 0, 0, 0}, uint64(g+1)), body...))
				fail(err)
				_, err = c.Read(make([]byte, 16))
				fail(err)
			}
			for n := uint32(1); n <= frames; n++ {
				for a := range uint32(motes) {
					push(fmt.Sprintf(`{"rxpk":[{"freq":868.1,"datr":"SF7BW125","rssi":-80,"lsnr":%d,"data":%q}]}`, g, base64.StdEncoding.EncodeToString(phy(t, a, n, byte(a)))))
				}
			}
			push(fmt.Sprintf(`{"rxpk":[{"freq":868.1,"datr":"SF7BW125","data":%q}]}`, base64.StdEncoding.EncodeToString(phy(t, uint32(g), 9999, 99)))) // forged
			push(`{"rxpk":`)
			push(`{"stat":{"rxnb":1}}`)
		})
	}
	wg.Go(func() {
		ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(web.URL, "http")+"/router/0000000000000003", nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer ws.Close()
		for n := uint32(1); n <= frames; n++ {
			for a := uint32(motes); a < 2*motes; a++ {
				p := phy(t, a, n, byte(a))
				le := binary.LittleEndian
				fail(ws.WriteMessage(websocket.TextMessage, fmt.Appendf(nil,
					`{"msgtype":"updf","MHdr":%d,"DevAddr":%d,"FCtrl":%d,"FCnt":%d,"FOpts":"","FPort":%d,"FRMPayload":"%x","MIC":%d,"DR":5,"Freq":868100000,"upinfo":{"rssi":-60,"snr":9,"xtime":1,"rctx":0}}`,
					p[0], int32(le.Uint32(p[1:])), p[5], le.Uint16(p[6:]), p[8], p[9:len(p)-4], int32(le.Uint32(p[len(p)-4:])))))
			}
		}
	})
	handle := func(s *ingest.Session, topic, payload string, n uint32) {
		fail(s.Handle(&ingest.Envelope{Topic: []byte(topic), Payload: []byte(payload), Received: time.Now().UnixMilli(), Token: uint64(n), PacketID: uint16(n)}))
	}
	wg.Go(func() {
		s := pump.Session("test", "bridge", nil, nil)
		defer s.Release()
		for n := uint32(1); n <= frames; n++ {
			for a := uint32(2 * motes); a < 3*motes; a++ {
				handle(s, "eu868/gateway/0000000000000004/event/up", fmt.Sprintf(
					`{"phyPayload":%q,"txInfo":{"frequency":868100000,"modulation":{"lora":{"bandwidth":125000,"spreadingFactor":7}}},"rxInfo":{"gatewayId":"0000000000000004"}}`,
					base64.StdEncoding.EncodeToString(phy(t, a, n, byte(a)))), n)
			}
		}
	})
	at := func(n uint32) string {
		return time.UnixMilli(1_764_000_000_000 + int64(n)).UTC().Format(time.RFC3339Nano)
	}
	wg.Go(func() {
		s := pump.Session("test", "networks", nil, nil)
		defer s.Release()
		for n := uint32(1); n <= frames; n++ {
			for a := range motes {
				handle(s, fmt.Sprintf("application/1/device/00000000000001%02x/event/up", a), fmt.Sprintf(
					`{"time":%q,"deviceInfo":{"devEui":"00000000000001%02x"},"fCnt":%d,"fPort":1,"object":{"n":%d},"rxInfo":[{"gatewayId":"0000000000000005"}]}`, at(n), a, n, n), n)
				handle(s, fmt.Sprintf("v3/app@city/devices/t%d/up", a), fmt.Sprintf(
					`{"end_device_ids":{"device_id":"t%d"},"received_at":%q,"uplink_message":{"f_port":1,"f_cnt":%d,"decoded_payload":{"n":%d},"rx_metadata":[{"gateway_ids":{"gateway_id":"roof"}}]}}`, a, at(n), n, n), n)
			}
		}
		handle(s, "application/1/device/0000000000000101/event/up", "\xff", 1)
	})
	wg.Wait()

	const each = motes * frames
	ingesttest.Eventually(t, "all taken in", func() bool {
		s := pump.Stats()
		return s.Decoded == 5*each+2 && s.InFlight == 0 && s.Rejected == 5 // two stats
	})
	stop()
	if err := <-ran; err != nil {
		t.Error(err)
	}
	stations.Close()
	web.Close()
	seen := map[string]int{}
	rows := 0
	counted(t, l, batch.KindObservations, func(data []byte) {
		o, err := batch.DecodeObservations(data)
		if err != nil {
			t.Fatal(err)
		}
		for i := range o.Len() {
			if o.Metric.At(i) == "n" {
				rows++
				seen[o.Device.At(i)] += int(o.Value[i])
			}
		}
	})
	if rows != 5*each || len(seen) != 5*motes {
		t.Errorf("%d values of %d devices, want %d of %d", rows, len(seen), 5*each, 5*motes)
	}
	for device, sum := range seen {
		if want := frames * (frames + 1) / 2; sum != want {
			t.Errorf("%s: values add up to %d, want %d", device, sum, want)
		}
	}
	uplinks := 0
	counted(t, l, batch.KindUplinks, func(data []byte) {
		u, err := batch.DecodeUplinks(data)
		if err != nil {
			t.Fatal(err)
		}
		uplinks += len(u)
	})
	// A copy that came more than the window after the first is dropped, and counted.
	if g := intake.Gatherer.Stats(); uplinks != 6*each-int(g.Late) || g.Frames != 3*each+2 {
		t.Errorf("%d uplinks, %+v; want %d without the late, of %d frames", uplinks, g, 6*each, 3*each+2)
	}
	reasons := map[ingest.Reason]uint64{}
	for r, n := range pump.Stats().RejectedBy {
		if n > 0 {
			reasons[r] = n
		}
	}
	if reasons[ingest.ReasonMIC] != 2 || reasons[ingest.ReasonType] != 2 || reasons[ingest.ReasonSyntax] != 1 {
		t.Errorf("rejected %v, want 2 forged, 2 cut and 1 that is no protobuf", reasons)
	}
}

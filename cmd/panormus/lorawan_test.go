package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/brocaar/lorawan"
	"google.golang.org/protobuf/encoding/protowire"
)

// pb builds protobuf messages field by field.
type pb []byte

func (b pb) str(n protowire.Number, v string) pb {
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), v)
}

func (b pb) num(n protowire.Number, v int64) pb {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), uint64(v))
}

func (b pb) float(n protowire.Number, v float32) pb {
	return protowire.AppendFixed32(protowire.AppendTag(b, n, protowire.Fixed32Type), math.Float32bits(v))
}

// A mote is a LoRaWAN device as the reference library makes its frames.
type mote struct {
	id, eui, profile string
	addr             uint32
	v11              bool
	key              byte // all of its keys begin with it
}

func (m mote) keyOf(n byte) (k lorawan.AES128Key) {
	k[0], k[1] = m.key, n
	return k
}

// device is what the registry is told of it.
func (m mote) device() map[string]any {
	l := map[string]any{"dev_eui": m.eui, "dev_addr": fmt.Sprintf("%08x", m.addr), "mac_version": "1.0.3", "nwk_s_key": m.keyOf(1).String(), "app_s_key": m.keyOf(4).String()}
	if m.v11 {
		delete(l, "nwk_s_key")
		l["mac_version"] = "1.1.0"
		l["f_nwk_s_int_key"], l["s_nwk_s_int_key"], l["nwk_s_enc_key"] = m.keyOf(1).String(), m.keyOf(2).String(), m.keyOf(3).String()
	}
	return map[string]any{"id": m.id, "domain": "lighting", "profile": m.profile, "lorawan": l}
}

// frame is a data frame on channel 0 at SF7, data rate 5.
func (m mote) frame(t *testing.T, fcnt uint32, port uint8, payload ...byte) []byte {
	t.Helper()
	p := lorawan.PHYPayload{
		MHDR: lorawan.MHDR{MType: lorawan.UnconfirmedDataUp},
		MACPayload: &lorawan.MACPayload{
			FHDR:  lorawan.FHDR{DevAddr: lorawan.DevAddr(binary.BigEndian.AppendUint32(nil, m.addr)), FCnt: fcnt},
			FPort: &port, FRMPayload: []lorawan.Payload{&lorawan.DataPayload{Bytes: slices.Clone(payload)}},
		},
	}
	version, second := lorawan.LoRaWAN1_0, m.keyOf(1)
	if m.v11 {
		version, second = lorawan.LoRaWAN1_1, m.keyOf(2)
	}
	if err := errors.Join(p.EncryptFRMPayload(m.keyOf(4)), p.SetUplinkDataMIC(version, 0, 5, 0, m.keyOf(1), second)); err != nil {
		t.Fatal(err)
	}
	b, err := p.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// put sends v to the API, which must take it.
func (c *instance) put(method, path string, v any) {
	c.t.Helper()
	if status, why := c.send(method, path, v); status/100 != 2 {
		c.t.Fatalf("%s %s: %d %s", method, path, status, why)
	}
}

// send sends v to the API.
func (c *instance) send(method, path string, v any) (status int, answer string) {
	c.t.Helper()
	body, err := json.Marshal(v)
	if err != nil {
		c.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(c.t.Context(), method, "http://"+c.info.HTTP+path, bytes.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// forwarder is a gateway with the packet forwarder.
type forwarder struct {
	t    *testing.T
	conn net.Conn
	eui  uint64
}

func (c *instance) forwarder(eui uint64) *forwarder {
	c.t.Helper()
	conn, err := net.Dial("udp", c.info.LoRaWANUDP)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { conn.Close() })
	return &forwarder{c.t, conn, eui}
}

// push sends one PUSH_DATA and waits for its PUSH_ACK.
func (f *forwarder) push(body string) {
	f.t.Helper()
	head := binary.BigEndian.AppendUint64([]byte{2, 0xab, 0xcd, 0}, f.eui)
	if _, err := f.conn.Write(append(head, body...)); err != nil {
		f.t.Fatal(err)
	}
	if err := f.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		f.t.Fatal(err)
	}
	answer := make([]byte, 64)
	n, err := f.conn.Read(answer)
	if err != nil || !bytes.Equal(answer[:n], []byte{2, 0xab, 0xcd, 1}) {
		f.t.Fatalf("PUSH_DATA was answered %x, %v; want a PUSH_ACK of 4 bytes", answer[:n], err)
	}
}

func (f *forwarder) frame(phy []byte, snr float64) {
	f.t.Helper()
	f.push(fmt.Sprintf(`{"rxpk":[{"tmst":1,"freq":868.1,"datr":"SF7BW125","codr":"4/5","rssi":-80,"lsnr":%v,"size":%d,"data":%q}]}`,
		snr, len(phy), base64.StdEncoding.EncodeToString(phy)))
}

const lampCodec = `
function decodeUplink(input) {
  var b = input.bytes;
  if (b.length !== 3) return {errors: ["want 3 bytes"]};
  if (input.fPort === 77) throw new Error("port 77");
  return {data: {power_w: (b[0] << 8 | b[1]) / 10, dimming: b[2] / 100}, warnings: b[2] > 100 ? ["dimming above 1"] : []};
}`

// TestLoRaWAN sends what every common network and bare gateways send, kills the process in between,
// and counts.
func TestLoRaWAN(t *testing.T) {
	t.Parallel()
	c := startInstance(t)
	lamp := mote{id: "lw-lamp", eui: "0000000000000001", profile: "lw-lamp", addr: 0x26011001, key: 1}
	probe := mote{id: "lw-probe", eui: "0000000000000002", profile: "lw-lpp", addr: 0x26011002, key: 2, v11: true}
	bridged := mote{id: "lw-bridged", eui: "0000000000000003", profile: "lw-layout", addr: 0x26011003, key: 3}
	c.put("PUT", "/api/v1/profiles/lw-lamp", map[string]any{"codec": lampCodec})
	c.put("PUT", "/api/v1/profiles/lw-lpp", map[string]any{"codec": "cayenne_lpp"})
	c.put("PUT", "/api/v1/profiles/lw-layout", map[string]any{"codec": map[string]any{"layout": []map[string]any{{"name": "level_mm", "offset": 0, "type": "uint16", "unit": "mm"}}}})
	c.put("POST", "/api/v1/devices", map[string]any{"devices": []any{
		lamp.device(), probe.device(), bridged.device(),
		map[string]any{"id": "cs-lamp", "domain": "lighting", "profile": "lw-lamp", "lorawan": map[string]any{"dev_eui": "00000000000000c1"}},
	}})
	if status, why := c.send("PUT", "/api/v1/profiles/broken", map[string]any{"codec": "function ("}); status != http.StatusUnprocessableEntity {
		t.Errorf("a codec that does not compile: %d %s; want it refused", status, why)
	}

	const n = 40
	a, b := c.forwarder(0xa1), c.forwarder(0xa2)
	watts := func(i int) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(10*i)), 70) }
	for i := 1; i <= n; i++ {
		for k, g := range []*forwarder{a, b} { // both gateways hear each frame
			g.frame(lamp.frame(t, uint32(i), 10, watts(i)...), float64(k))
			g.frame(probe.frame(t, uint32(i), 1, 3, 0x67, byte(i>>8), byte(i)), float64(k))
		}
	}
	bridge := func(i int) string {
		return fmt.Sprintf(`{"phyPayload":%q,"txInfo":{"frequency":868100000,"modulation":{"lora":{"bandwidth":125000,"spreadingFactor":7,"codeRate":"CR_4_5"}}},"rxInfo":{"gatewayId":"00000000000000b1","uplinkId":%d,"rssi":-90,"snr":4}}`,
			base64.StdEncoding.EncodeToString(bridged.frame(t, uint32(i), 2, 0, byte(i))), i)
	}
	for i := 1; i <= 3; i++ {
		c.publish("eu868/gateway/00000000000000b1/event/up", bridge(i))
	}
	c.publish("gateway/00000000000000b1/event/up", string(pb{}.str(1, string(bridged.frame(t, 4, 2, 0, 4))).
		str(4, string(pb{}.num(1, 868100000).str(2, string(pb{}.str(3, string(pb{}.num(1, 125000).num(2, 7).num(5, 1))))))).
		str(5, string(pb{}.str(1, "00000000000000b1").num(6, -57).float(7, 9.5)))))
	c.publish("eu868/gateway/00000000000000b1/event/stats", `{"gatewayId":"00000000000000b1","rxPacketsReceived":12,"rxPacketsReceivedOk":11,"location":{"latitude":38.1,"longitude":13.3}}`)
	a.push(`{"stat":{"rxnb":9,"rxok":8,"rxfw":8,"ackr":100.0,"dwnb":1,"txnb":1,"temp":41}}`)

	// ChirpStack in JSON with its own codec's result, in JSON and protobuf for ours, and its status.
	at := time.Now().UTC().Truncate(time.Millisecond)
	chirp := func(eui string, i int, rest string) string {
		return fmt.Sprintf(`{"time":%q,"deviceInfo":{"devEui":%q},"fCnt":%d,"fPort":1,"rxInfo":[{"gatewayId":"00000000000000c9","rssi":-100,"snr":1.5},{"gatewayId":"00000000000000ca","rssi":-110}],"txInfo":{"frequency":868100000,"modulation":{"lora":{"bandwidth":125000,"spreadingFactor":9}}},%s}`,
			at.Add(time.Duration(i)*time.Millisecond).Format(time.RFC3339Nano), eui, i, rest)
	}
	c.publish("application/1/device/00000000000000c2/event/up", chirp("00000000000000c2", 1, `"data":"AQID","object":{"humidity":7.8}`))
	c.publish("application/1/device/00000000000000c1/event/up", chirp("00000000000000c1", 2, `"data":"A0BG"`))
	c.publish("application/1/device/00000000000000c1/event/up", string(pb{}.str(3, string(pb{}.str(8, "00000000000000c1"))).num(7, 3).num(8, 1).str(10, "\x03\x40\xff").
		str(12, string(pb{}.str(1, "00000000000000c9").num(6, -99)))))
	c.publish("application/1/device/00000000000000c1/event/status", chirp("00000000000000c1", 4, `"margin":9,"batteryLevel":75.5`))
	c.publish("application/1/device/00000000000000c1/event/join", `{"deviceInfo":{"devEui":"00000000000000c1"},"devAddr":"01020304"}`)
	things := `{"end_device_ids":{"device_id":"tts-1","dev_eui":"00000000000000d1"},"received_at":"` + at.Format(time.RFC3339Nano) + `","uplink_message":{"f_port":5,"f_cnt":7,"frm_payload":"AQ==","decoded_payload":{"co2":612},"normalized_payload":[{"air":{"relativeHumidity":41}}],"rx_metadata":[{"gateway_ids":{"gateway_id":"roof","eui":"00000000000000D9"},"rssi":-70,"snr":8}],"settings":{"data_rate":{"lora":{"bandwidth":125000,"spreading_factor":7}},"frequency":"868300000"},"consumed_airtime":"0.0512s"}}`
	c.publish("v3/air@palermo/devices/tts-1/up", things)
	c.publish("v3/air/devices/tts-1/join", `{"end_device_ids":{"device_id":"tts-1","dev_eui":"00000000000000d1","dev_addr":"26000001"},"join_accept":{}}`)

	// What must not come in.
	forged, stranger := lamp, lamp
	forged.key, stranger.addr = 9, 0x26ffffff
	a.frame(forged.frame(t, n+1, 10, 1, 2, 3), 1)
	a.frame(stranger.frame(t, 1, 10, 1, 2, 3), 1)
	a.frame(lamp.frame(t, 5, 10, watts(6)...), 1)      // its counter went back
	a.frame(lamp.frame(t, n+1, 77, 1, 2, 3), 1)        // its codec throws
	a.frame(lamp.frame(t, n+2, 10, 1), 1)              // its codec reports an error
	a.push(`{"rxpk":[{"freq":868.1,"datr":"SF7BW125"`) // cut
	if _, err := a.conn.Write([]byte("garbage")); err != nil {
		t.Fatal(err)
	}
	c.publish("application/1/device/00000000000000c3/event/up", chirp("00000000000000c3", 1, `"data":"AQID"`))
	c.publish("application/1/device/00000000000000c3/event/up", "\xff\xff\xff")
	c.publish("gateway/00000000000000b1/event/up", `{"phyPayload":"AAAA"}`)
	join := append(append([]byte{0, 8: 0xee}, 1, 0, 0, 0, 0, 0, 0, 0, 0x34, 0x12), 1, 2, 3, 4) // of lamp
	a.frame(join, 1)

	// A copy that comes more than the window after the first, as on a busy machine, is dropped and counted.
	late := func() int64 { return c.metric("panormus_ingest_lorawan_late_copies_total") }
	c.eventually("every reception", func() error {
		got, err := c.sqlInt("SELECT count() FROM uplinks WHERE device IN ('lw-lamp', 'lw-probe')")
		if dropped := late(); err == nil && got+dropped != 4*n {
			err = fmt.Errorf("%d, and %d came too late; want %d", got, dropped, 4*n)
		}
		return err
	})
	receptions := 4*n - late()
	rejected := map[string]int64{"mic": 1, "unknown_dev_addr": 1, "frame_counter": 1, "codec_throw": 1, "codec_errors": 1, "syntax": 2, "frame_short": 1, "no_codec": 1, "missing_field": 1}
	check := func() {
		t.Helper()
		for _, q := range []struct {
			sql  string
			want int64
		}{
			{"SELECT count() FROM observations WHERE device = 'lw-lamp' AND metric = 'power_w' AND quality = 0", n},
			{"SELECT uniqExact(value) FROM observations WHERE device = 'lw-lamp' AND metric = 'power_w'", n},
			{"SELECT sum(value) FROM observations WHERE device = 'lw-lamp' AND metric = 'power_w'", n * (n + 1) / 2},
			{"SELECT count() FROM observations WHERE device = 'lw-lamp' AND metric = 'dimming'", n},
			{"SELECT count() FROM observations WHERE device = 'lw-probe' AND metric LIKE '%temperature%'", n},
			{"SELECT count() FROM uplinks WHERE device IN ('lw-lamp', 'lw-probe') AND data_rate = 'SF7BW125' AND frequency_hz = 868100000", receptions},
			{"SELECT uniqExact(device, gateway) FROM uplinks WHERE device IN ('lw-lamp', 'lw-probe') AND gateway IN ('00000000000000a1', '00000000000000a2')", 4},
			{"SELECT sum(value) FROM observations WHERE device = 'lw-bridged' AND metric = 'level_mm' AND domain = 'lighting'", 1 + 2 + 3 + 4},
			{"SELECT count() FROM uplinks WHERE gateway = '00000000000000b1'", 4},
			{"SELECT count() FROM observations WHERE device = '00000000000000c2' AND metric = 'humidity' AND value = 7.8", 1},
			{"SELECT count() FROM observations WHERE device = 'cs-lamp' AND metric = 'power_w' AND value = 83.2", 2},
			{"SELECT count() FROM observations WHERE device = 'cs-lamp' AND metric = 'codec_warnings' AND text = 'dimming above 1'", 1},
			{"SELECT count() FROM observations WHERE device = 'cs-lamp' AND metric = 'lorawan_battery_percent' AND value = 75.5", 1},
			{"SELECT count() FROM observations WHERE device = 'cs-lamp' AND metric = 'lorawan_margin_db' AND value = 9", 1},
			{"SELECT count() FROM observations WHERE device = 'cs-lamp' AND metric = 'lorawan_dev_addr' AND text = '01020304'", 1},
			{"SELECT count() FROM uplinks WHERE gateway IN ('00000000000000c9', '00000000000000ca')", 5},
			{"SELECT count() FROM observations WHERE device = '00000000000000d1' AND (metric = 'co2' AND value = 612 OR metric = 'air_relative_humidity' AND value = 41)", 2},
			{"SELECT count() FROM uplinks WHERE gateway = '00000000000000d9' AND f_cnt = 7 AND airtime_ms > 51 AND airtime_ms < 51.3", 1},
			{"SELECT count() FROM observations WHERE device = '00000000000000b1' AND domain = 'lorawan' AND (metric = 'rx_packets' AND value = 12 OR metric = 'position_lat' AND value = 38.1)", 2},
			{"SELECT count() FROM observations WHERE device = '00000000000000a1' AND (metric = 'rx_packets_ok' AND value = 8 OR metric = 'temperature' AND value = 41)", 2},
			{"SELECT count() FROM events WHERE rule = 'lorawan-join-request' AND device = 'lw-lamp' AND state = 'raised' AND severity = 'info'", 1},
		} {
			c.eventually(q.sql, func() error {
				got, err := c.sqlInt(q.sql)
				if err == nil && got != q.want {
					err = fmt.Errorf("%d, want %d", got, q.want)
				}
				return err
			})
		}
		c.eventually("the dead letter", func() error {
			rows, err := c.sql("SELECT reason, count() FROM rejected GROUP BY reason FORMAT TSV")
			got := map[string]int64{}
			for line := range strings.Lines(rows) {
				var reason string
				var n int64
				if _, err := fmt.Sscan(line, &reason, &n); err == nil {
					got[reason] = n
				}
			}
			if err == nil && !maps.Equal(got, rejected) {
				err = fmt.Errorf("%v, want %v", got, rejected)
			}
			return err
		})
	}
	check()
	var device struct {
		LoRaWAN struct {
			DevAddr string `json:"dev_addr"`
		}
	}
	c.eventually("the address of a device that joined", func() error {
		if err := c.decode("/api/v1/devices/cs-lamp", &device); err != nil || device.LoRaWAN.DevAddr != "01020304" {
			return fmt.Errorf("%+v, %w; want dev_addr 01020304", device, err)
		}
		return nil
	})

	// A crash forgets no counter: what was taken in is refused, what is new is taken in.
	c.kill()
	c.start()
	a = c.forwarder(0xa1)
	a.frame(lamp.frame(t, 6, 10, watts(6)...), 1)
	a.frame(probe.frame(t, 7, 1, 3, 0x67, 0, 7), 1)
	rejected["frame_counter"] += 2
	check()
	a.frame(lamp.frame(t, n+3, 10, watts(n+3)...), 1)
	c.eventually("a fresh frame", func() error {
		got, err := c.sqlInt(fmt.Sprintf("SELECT count() FROM observations WHERE device = 'lw-lamp' AND metric = 'power_w' AND value = %d", n+3))
		if err == nil && got != 1 {
			err = fmt.Errorf("%d, want 1", got)
		}
		return err
	})

	// The codec is mended and what it could not read comes in, once.
	c.put("PUT", "/api/v1/profiles/lw-lamp", map[string]any{"codec": strings.Replace(lampCodec, "input.fPort === 77", "false", 1)})
	for _, want := range []string{"1 read, 1 decoded", "1 read, 0 decoded, 1 stored before"} {
		out, err := exec.Command(filepath.Join(build(t), "panormus"), "ingest", "replay-rejected", "--data", c.data, "--reasons", "codec_throw").CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("replay: %s, %v; want %s", out, err, want)
		}
	}
	c.eventually("the mended payload", func() error {
		got, err := c.sqlInt("SELECT count() FROM observations WHERE device = 'lw-lamp' AND metric = 'power_w' AND value = 25.8")
		if err == nil && got != 1 {
			err = fmt.Errorf("%d, want 1", got)
		}
		return err
	})
}

package lorawan

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"panormus/devices"
	"panormus/ingest"
	"panormus/ingest/codec"
	"panormus/ingest/lorawan/frame"
	"panormus/ingest/lorawan/raw"
)

// registry holds devices by id.
type registry map[string]*devices.Asset

func (r registry) Version() uint64                 { return 0 }
func (r registry) Lookup(id string) *devices.Asset { return r[id] }
func (r registry) LookupDevEUI(eui string) *devices.Asset {
	for _, a := range r {
		if a.LoRaWAN != nil && a.LoRaWAN.DevEUI == eui {
			return a
		}
	}
	return nil
}

// Whatever packages frame and codec say is a reason that the pump counts.
func TestReasonsAreKnown(t *testing.T) {
	for _, r := range frame.Reasons {
		if !slices.Contains(ingest.Reasons, ingest.Reason(r)) {
			t.Errorf("package frame's reason %q is none of the pump's", r)
		}
	}
	for _, r := range []codec.Reason{
		codec.ReasonThrow, codec.ReasonTimeout, codec.ReasonMemory, codec.ReasonOutput, codec.ReasonErrors, codec.ReasonInput,
		codec.ReasonSyntax, codec.ReasonSuspended,
	} {
		if !slices.Contains(ingest.Reasons, ingest.Reason(r)) {
			t.Errorf("package codec's reason %q is none of the pump's", r)
		}
	}
}

func TestNetwork(t *testing.T) {
	source := func(js string) *devices.Profile {
		b, err := json.Marshal(js)
		if err != nil {
			t.Fatal(err)
		}
		return &devices.Profile{Codec: b}
	}
	codecs := NewCodecs()
	for id, p := range map[string]*devices.Profile{
		"plain": source(`function decodeUplink(i) {
			if (i.bytes[0] === 1) throw new Error("one");
			if (i.bytes[0] === 2) return {errors: ["two", "too"]};
			return {data: {v: i.bytes[0], port: i.fPort, deep: {a: [1, true]}}, warnings: i.bytes[0] === 3 ? ["three"] : []};
		}`),
		"normal": source(`function decodeUplink(i) { return {data: {temp: 21.5, battery: 3}}; }
			function normalizeUplink(i) { return {data: [{air: {temperature: i.data.temp}, battery: 3.1}, {time: "2026-01-25T02:00:00Z", air: {temperature: 20}}]}; }`),
	} {
		if err := codecs.Put(id, p); err != nil {
			t.Fatal(err)
		}
	}
	device := func(profile, eui string) *devices.Asset {
		return &devices.Asset{Device: devices.Device{ID: "d-" + profile, Domain: "water", Profile: profile, LoRaWAN: &devices.LoRaWAN{DevEUI: eui}}}
	}
	var joins []string
	n := &Network{
		Registry: registry{"a": device("plain", "7894e8000005874b"), "b": device("normal", "7894e8000005874c"), "gw": {Device: devices.Device{ID: "gw", Domain: "roofs"}}},
		Codecs:   codecs, Joined: func(d frame.EUI, a frame.DevAddr) { joins = append(joins, d.String()+" "+a.String()) },
	}
	all := n.Decoders(&raw.Decoder{Table: frame.NewTable(0), Registry: n.Registry.(registry)})
	const dev, other, stranger = `"deviceInfo":{"devEui":"7894e8000005874b"}`, `"deviceInfo":{"devEui":"7894e8000005874c"}`, `"deviceInfo":{"devEui":"0000000000000009","tags":{"domain":"noise"}}`
	f := func(decoder, payload, want string) {
		t.Helper()
		out := ingest.NewDecoded()
		err := all[decoder](&ingest.Input{Domain: "lorawan", Device: "x", Payload: []byte(payload), Received: received}, out)
		var r *ingest.Reject
		got := strings.Join(append([]string{out.Domain, out.Device + out.DevEUI}, lines(out)...), " ")
		if errors.As(err, &r) {
			got = string(r.Reason) + ": " + r.Detail
		} else if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(got, want) || err == nil && got != want {
			t.Errorf("%s %s:\n got %s\nwant %s", decoder, payload, got, want)
		}
	}
	f("chirpstack", `{`+dev+`,"fPort":5,"data":"BA==","object":{"ignored":1}}`, "water 7894e8000005874b v=4 port=5 deep_a_0=1 deep_a_1=1")
	f("chirpstack", `{`+dev+`,"fPort":5,"data":"Aw=="}`, `water 7894e8000005874b v=3 port=5 deep_a_0=1 deep_a_1=1 codec_warnings="three"`)
	f("chirpstack", `{`+dev+`,"fPort":5,"data":"AQ=="}`, "codec_throw: profile plain, port 5: ")
	f("chirpstack", `{`+dev+`,"fPort":5,"data":"Ag=="}`, "codec_errors: profile plain, port 5: two")
	f("chirpstack", `{`+dev+`,"data":"Ag=="}`, "water 7894e8000005874b") // port 0: MAC commands
	f("chirpstack", `{`+other+`,"fPort":5,"data":"AQ=="}`, "water 7894e8000005874c air_temperature=21.5 battery=3.1 temp=21.5 air_temperature=20")
	f("chirpstack", `{`+stranger+`,"fPort":5,"data":"AQ==","object":{"laeq":61}}`, "noise 0000000000000009 laeq=61")
	f("chirpstack", `{`+dev+`,"fPort":5,"data":"BA==","joinServerContext":{"sessionKeyId":"x"}}`, "encrypted: ")
	f("chirpstack-status", `{`+dev+`,"margin":-3,"batteryLevel":50}`, "water 7894e8000005874b lorawan_margin_db=-3 lorawan_battery_percent=50")
	f("chirpstack-status", `{`+dev+`,"margin":7,"externalPowerSource":true}`, "water 7894e8000005874b lorawan_margin_db=7 lorawan_external_power=1")
	f("chirpstack-join", `{`+dev+`,"devAddr":"00424d60"}`, `water 7894e8000005874b lorawan_dev_addr="00424d60"`)
	f("chirpstack-ack", `{`+dev+`,"acknowledged":true}`, "water 7894e8000005874b lorawan_acknowledged=1")
	f("chirpstack-txack", `{`+dev+`,"gatewayId":"0102030405060708"}`, "water 7894e8000005874b lorawan_downlink_sent=1")
	f("chirpstack-log", `{`+dev+`,"level":"ERROR","code":"UPLINK_MIC","description":"bad"}`, `water 7894e8000005874b lorawan_log="ERROR UPLINK_MIC: bad"`)
	f("chirpstack-location", `{`+dev+`,"location":{"latitude":38.1,"longitude":13.3}}`, "water 7894e8000005874b position_lat=38.1 position_lon=13.3")
	f("chirpstack", "\xff\xff", "syntax: ")
	f("things", `{"end_device_ids":{"device_id":"d"},"uplink_message":{"f_port":1,"frm_payload":"AQ==","decoded_payload":{"a":1},"decoded_payload_warnings":["w"]}}`, ` d a=1 codec_warnings="[\"w\"]"`)
	f("things", `{"end_device_ids":{"device_id":"d"},"uplink_message":{"f_port":1,"normalized_payload":[{"air":{"temperature":1}},{"air":{"temperature":2}}]}}`, ` d air_temperature=1 air_temperature_1=2`)
	f("things", `{"end_device_ids":{"device_id":"d"},"uplink_message":{"f_port":1,"normalized_payload":{}}}`, "wrong_type: normalized_payload")
	f("things", `{"end_device_ids":{"device_id":"d"}}`, "unknown_event: ")
	f("bridge-stats", `{"gatewayId":"gw","rxPacketsReceived":3,"temperature":40}`, "roofs gw rx_packets=3 rx_packets_ok=0 tx_packets=0 tx_packets_asked=0 temperature=40")
	f("bridge-ack", `{"gatewayId":"gw","items":[{"status":"TOO_LATE"}]}`, `roofs gw downlink_sent=0 downlink_error="TOO_LATE"`)
	if want := []string{"7894e8000005874b 00424d60"}; !slices.Equal(joins, want) {
		t.Errorf("joins %q, want %q", joins, want)
	}

	// A codec is exchanged while it is in use; one that does not compile changes nothing.
	if err := codecs.Put("plain", source(`function (`)); err == nil {
		t.Error("a script that does not compile was taken")
	}
	f("chirpstack", `{`+dev+`,"fPort":5,"data":"BA=="}`, "water 7894e8000005874b v=4 port=5 deep_a_0=1 deep_a_1=1")
	if err := codecs.Put("plain", source(`function Decoder(bytes, port) { return {new: port}; }`)); err != nil {
		t.Fatal(err)
	}
	f("chirpstack", `{`+dev+`,"fPort":5,"data":"BA=="}`, "water 7894e8000005874b new=5")
	if err := codecs.Put("plain", nil); err != nil {
		t.Fatal(err)
	}
	f("chirpstack", `{`+dev+`,"fPort":5,"data":"BA==","object":{"theirs":1}}`, "water 7894e8000005874b theirs=1")
}

package envelope

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"panormus/ingest/lorawan/frame"
	"panormus/ingest/lorawan/radio"
)

func reasonOf(err error) frame.Reason {
	var r *frame.Reject
	if errors.As(err, &r) {
		return r.Reason
	}
	return ""
}

type parser = func(p *Parser, data []byte, m *Message) error

func chirp(event string) parser {
	return func(p *Parser, data []byte, m *Message) error { return p.ChirpStack(event, data, m) }
}

func bridge(event string) parser {
	return func(p *Parser, data []byte, m *Message) error { return p.Bridge(event, data, m) }
}

func ms(t testing.TB, s string) int64 {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return at.UnixMilli()
}

// show is a message with what can be compared at a glance.
func show(m *Message) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", m.Kind, m.DevEUI)
	if m.HasDevAddr {
		fmt.Fprintf(&b, " @%s", m.DevAddr)
	}
	if m.Time != 0 {
		fmt.Fprintf(&b, " t=%s", time.UnixMilli(m.Time).UTC().Format("15:04:05.000"))
	}
	if m.Gateway != "" {
		fmt.Fprintf(&b, " gw=%s", m.Gateway)
	}
	for _, f := range []struct {
		name string
		text []byte
	}{{"name", m.Name}, {"app", m.Application}, {"domain", m.Domain}, {"id", m.ID}} {
		if len(f.text) > 0 {
			fmt.Fprintf(&b, " %s=%s", f.name, f.text)
		}
	}
	switch m.Kind {
	case Uplink:
		pl, r := &m.Payload, &m.Radio
		if pl.Raw != nil {
			fmt.Fprintf(&b, " raw=%x", pl.Raw)
		} else {
			fmt.Fprintf(&b, " port=%d cnt=%d data=%x", pl.FPort, pl.FCnt, pl.Bytes)
		}
		for _, f := range []struct {
			name string
			on   bool
		}{{"confirmed", pl.Confirmed}, {"encrypted", pl.Encrypted}, {"badcrc", pl.BadCRC}} {
			if f.on {
				b.WriteString(" " + f.name)
			}
		}
		for _, f := range []struct {
			name string
			text []byte
		}{{"object", pl.Object}, {"normalized", pl.Normalized}, {"warnings", pl.Warnings}} {
			if len(f.text) > 0 {
				fmt.Fprintf(&b, " %s=%s", f.name, f.text)
			}
		}
		fmt.Fprintf(&b, " %d Hz %s dr=%d %v", r.FrequencyHz, r.DataRate, r.DR, r.Airtime)
		for _, rx := range r.Receptions {
			fmt.Fprintf(&b, " [%s %v %v", rx.Gateway, rx.RSSIdBm, rx.SNRdB)
			if rx.Time != 0 {
				fmt.Fprintf(&b, " %s", time.UnixMilli(rx.Time).UTC().Format("15:04:05.000"))
			}
			if rx.At.Known {
				fmt.Fprintf(&b, " %v,%v", rx.At.Lat, rx.At.Lon)
			}
			b.WriteString("]")
		}
		if m.Status.HasBattery {
			fmt.Fprintf(&b, " battery=%v", m.Status.BatteryPercent)
		}
	case Status:
		fmt.Fprintf(&b, " margin=%d battery=%v %v external=%v", m.Status.MarginDB, m.Status.HasBattery, m.Status.BatteryPercent, m.Status.ExternalPower)
	case Location:
		fmt.Fprintf(&b, " %v,%v alt=%v acc=%v %s %s", m.Location.Lat, m.Location.Lon, m.Location.AltitudeM, m.Location.AccuracyM, m.Location.Source, m.Location.Service)
	case Ack, TxAck:
		fmt.Fprintf(&b, " ok=%v down=%d %s %s", m.Ack.Acknowledged, m.Ack.FCntDown, m.Ack.QueueItem, m.Ack.Error)
	case Log:
		fmt.Fprintf(&b, " %s %s %q %s", m.Log.Level, m.Log.Code, m.Log.Description, m.Log.Context)
	case Stats:
		s := &m.Stats
		fmt.Fprintf(&b, " rx=%d/%d fw=%d down=%d/%d ack=%v %s %s %s", s.ReceivedOK, s.Received, s.Forwarded, s.DownSent, s.DownReceived, s.AckPercent, s.Station, s.Version, s.Model)
		if s.At.Known {
			fmt.Fprintf(&b, " %v,%v", s.At.Lat, s.At.Lon)
		}
	}
	return strings.TrimRight(b.String(), " ")
}

const chirpStackUp = `{"deduplicationId":"00545ccd-7a1c-4f73-9c59-2a2a3d6e0c11","time":"2026-01-25T02:31:40.836+00:00",` +
	`"deviceInfo":{"tenantId":"52f14cd4-c6f1-4fbd-8f87-4025e1d49242","tenantName":"Palermo","applicationId":"a1b2","applicationName":"air",` +
	`"deviceProfileId":"d1","deviceProfileName":"p1","deviceName":"sensor è","devEui":"7894e8000005874b","deviceClassEnabled":"CLASS_A","tags":{"domain":"environment","street":"via Roma"}},` +
	`"devAddr":"00424d60","adr":true,"dr":3,"fCnt":336,"fPort":1,"confirmed":false,"data":"FQ0AH2AHgA==",` +
	`"object":{"humidity":7.8,"deep":{"x":[1,2,"}"]}},` +
	`"rxInfo":[{"gatewayId":"008000000002aa4b","uplinkId":34618,"nsTime":"2026-01-25T02:31:40.9+00:00","rssi":-110,"snr":3.8,"channel":5,` +
	`"location":{"latitude":38.1157,"longitude":13.3615,"altitude":14.0},"context":"LFrp9A==","crcStatus":"CRC_OK"},` +
	`{"gatewayId":"008000000002AA4C","uplinkId":1,"gwTime":"2026-01-25T03:31:40.812+01:00","rssi":-71,"crcStatus":"CRC_OK"}],` +
	`"txInfo":{"frequency":903900000,"modulation":{"lora":{"bandwidth":125000,"spreadingFactor":7,"codeRate":"CR_4_5"}}},"regionConfigId":"us915_1"}`

const chirpStackUpShown = `uplink 7894e8000005874b @00424d60 t=02:31:40.836 name=sensor è app=a1b2 domain=environment id=00545ccd-7a1c-4f73-9c59-2a2a3d6e0c11` +
	` port=1 cnt=336 data=150d001f600780 object={"humidity":7.8,"deep":{"x":[1,2,"}"]}} 903900000 Hz SF7BW125 dr=3 56.576ms` +
	` [008000000002aa4b -110 3.8 38.1157,13.3615] [008000000002aa4c -71 0 02:31:40.812]`

const thingsUp = `{"end_device_ids":{"device_id":"dev1","application_ids":{"application_id":"app1"},"dev_eui":"0004A30B001C0530","join_eui":"800000000000000C","dev_addr":"00BCB929"},` +
	`"correlation_ids":["as:up:01E0WZGT6Y7657CPFPE5WEYDSQ"],"received_at":"2020-02-12T15:15:45.787Z","uplink_message":{"session_key_id":"AXBSH1Pk6Z0G166RlH16CQ==","f_port":1,"f_cnt":7,` +
	`"frm_payload":"gkHe","decoded_payload":{"temperature":21.5},"decoded_payload_warnings":["old firmware"],"normalized_payload":[{"air":{"temperature":21.5}}],` +
	`"rx_metadata":[{"gateway_ids":{"gateway_id":"gtw1","eui":"9C5C8E00001A05C4"},"time":"2020-02-12T15:15:45.695Z","timestamp":2463457000,"rssi":-35,"channel_rssi":-35,"snr":5,"location":{"latitude":38.1,"longitude":13.3,"altitude":7,"source":"SOURCE_REGISTRY"},"uplink_token":"CiIKIAo="},` +
	`{"gateway_ids":{"gateway_id":"packetbroker"},"packet_broker":{"forwarder_net_id":"000013","forwarder_gateway_eui":"AA555A0000000101","forwarder_gateway_id":"x"},"rssi":-90,"snr":-2.5}],` +
	`"settings":{"data_rate":{"lora":{"bandwidth":125000,"spreading_factor":7,"coding_rate":"4/5"}},"frequency":"868300000","timestamp":2463457000},` +
	`"received_at":"2020-02-12T15:15:45.570Z","confirmed":true,"consumed_airtime":"0.056576s","last_battery_percentage":{"f_cnt":4,"value":94.5},"network_ids":{"net_id":"000013"}}}`

const bridgeUp = `{"phyPayload":"gKb+agGABQABOIc6cwQ=","txInfo":{"frequency":868100000,"modulation":{"lora":{"bandwidth":125000,"spreadingFactor":9,"codeRate":"CR_4_5"}}},` +
	`"rxInfo":{"gatewayId":"0102030405060708","uplinkId":3,"time":"2026-01-25T02:31:40.836Z","rssi":-57,"snr":9.5,"crcStatus":"CRC_OK"}}`

func TestJSONMessages(t *testing.T) {
	var p Parser
	for _, tc := range []struct {
		name, in string
		parse    parser
		want     string
		reject   frame.Reason
	}{
		{name: "up", in: chirpStackUp, parse: chirp("up"), want: chirpStackUpShown},
		{
			name: "up of zeros", in: `{"deviceInfo":{"devEui":"7894e8000005874b"},"object":null,"rxInfo":null}`, parse: chirp("up"),
			want: `uplink 7894e8000005874b port=0 cnt=0 data= 0 Hz  dr=0 0s`,
		},
		{
			name: "up encrypted", in: `{"deviceInfo":{"devEui":"7894e8000005874b"},"fPort":2,"data":"_-8","joinServerContext":{"sessionKeyId":"x"}}`, parse: chirp("up"),
			want: `uplink 7894e8000005874b port=2 cnt=0 data=ffef encrypted 0 Hz  dr=0 0s`,
		},
		{
			name: "up not encrypted", in: `{"deviceInfo":{"devEui":"7894e8000005874b"},"fPort":2,"data":"/+8=","joinServerContext":{}}`, parse: chirp("up"),
			want: `uplink 7894e8000005874b port=2 cnt=0 data=ffef 0 Hz  dr=0 0s`,
		},
		{name: "up of nobody", in: `{"fPort":2}`, parse: chirp("up"), reject: frame.ReasonMissing},
		{name: "up, odd EUI", in: `{"deviceInfo":{"devEui":"7894e800000587"}}`, parse: chirp("up"), reject: frame.ReasonIdentity},
		{name: "up, odd address", in: `{"deviceInfo":{"devEui":"7894e8000005874b"},"devAddr":"xx424d60"}`, parse: chirp("up"), reject: frame.ReasonIdentity},
		{name: "up, odd data", in: `{"deviceInfo":{"devEui":"7894e8000005874b"},"data":"a$b"}`, parse: chirp("up"), reject: frame.ReasonSyntax},
		{name: "up, long data", in: `{"deviceInfo":{"devEui":"7894e8000005874b"},"data":"` + strings.Repeat("AAAA", 86) + `"}`, parse: chirp("up"), reject: frame.ReasonLong},
		{name: "up, odd port", in: `{"deviceInfo":{"devEui":"7894e8000005874b"},"fPort":256}`, parse: chirp("up"), reject: frame.ReasonNumber},
		{name: "up, port of text", in: `{"deviceInfo":{"devEui":"7894e8000005874b"},"fPort":"a"}`, parse: chirp("up"), reject: frame.ReasonNumber},
		{name: "up, port of half", in: `{"deviceInfo":{"devEui":"7894e8000005874b"},"fPort":1.5}`, parse: chirp("up"), reject: frame.ReasonNumber},
		{name: "up, port of an array", in: `{"deviceInfo":{"devEui":"7894e8000005874b"},"fPort":[1]}`, parse: chirp("up"), reject: frame.ReasonType},
		{name: "up, odd time", in: `{"deviceInfo":{"devEui":"7894e8000005874b"},"time":"yesterday"}`, parse: chirp("up"), reject: frame.ReasonTime},
		{name: "up, object of text", in: `{"deviceInfo":{"devEui":"7894e8000005874b"},"object":"x"}`, parse: chirp("up"), reject: frame.ReasonType},
		{name: "up, gateway nowhere", in: `{"deviceInfo":{"devEui":"7894e8000005874b"},"rxInfo":[{"location":{"latitude":91,"longitude":1}}]}`, parse: chirp("up"), reject: frame.ReasonNumber},
		{name: "up, not UTF-8", in: "{\"deviceInfo\":{\"deviceName\":\"\xff\"}}", parse: chirp("up"), reject: frame.ReasonUTF8},
		{name: "up, too deep", in: `{"object":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, parse: chirp("up"), reject: frame.ReasonType},
		{name: "up, too deep in an object", in: `{"object":{"a":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}}`, parse: chirp("up"), reject: frame.ReasonDepth},
		{name: "up, too many gateways", in: `{"rxInfo":[` + strings.Repeat("{},", MaxReceptions) + `{}]}`, parse: chirp("up"), reject: frame.ReasonTooMany},
		{name: "unheard of", in: `{}`, parse: chirp("down"), reject: frame.ReasonEvent},
		{
			name: "status", in: `{"deduplicationId":"1","time":"2026-01-25T02:31:40Z","deviceInfo":{"devEui":"7894e8000005874b"},"margin":-7,"externalPowerSource":false,"batteryLevelUnavailable":false,"batteryLevel":97.6378}`,
			parse: chirp("status"), want: `status 7894e8000005874b t=02:31:40.000 id=1 margin=-7 battery=true 97.6378 external=false`,
		},
		{
			name: "status of an empty battery", in: `{"deviceInfo":{"devEui":"7894e8000005874b"}}`,
			parse: chirp("status"), want: `status 7894e8000005874b margin=0 battery=true 0 external=false`,
		},
		{
			name: "status without battery", in: `{"deviceInfo":{"devEui":"7894e8000005874b"},"batteryLevelUnavailable":true}`,
			parse: chirp("status"), want: `status 7894e8000005874b margin=0 battery=false 0 external=false`,
		},
		{
			name: "status of a mains device", in: `{"deviceInfo":{"devEui":"7894e8000005874b"},"externalPowerSource":true}`,
			parse: chirp("status"), want: `status 7894e8000005874b margin=0 battery=false 0 external=true`,
		},
		{
			name: "join", in: `{"deduplicationId":"1","time":"2026-01-25T02:31:40Z","deviceInfo":{"devEui":"7894e8000005874b"},"devAddr":"01020304"}`,
			parse: chirp("join"), want: `join 7894e8000005874b @01020304 t=02:31:40.000 id=1`,
		},
		{
			name: "ack", in: `{"deduplicationId":"1","deviceInfo":{"devEui":"7894e8000005874b"},"queueItemId":"q","acknowledged":true,"fCntDown":7}`,
			parse: chirp("ack"), want: `ack 7894e8000005874b id=1 ok=true down=7 q`,
		},
		{
			name: "txack", in: `{"downlinkId":9,"time":"2026-01-25T02:31:40Z","deviceInfo":{"devEui":"7894e8000005874b"},"queueItemId":"q","fCntDown":7,"gatewayId":"0102030405060708","txInfo":{"frequency":868100000,"power":16,"timing":{"delay":{"delay":"1s"}}}}`,
			parse: chirp("txack"), want: `txack 7894e8000005874b t=02:31:40.000 gw=0102030405060708 ok=true down=7 q`,
		},
		{
			name: "log", in: `{"time":"2026-01-25T02:31:40Z","deviceInfo":{"devEui":"7894e8000005874b"},"level":"ERROR","code":"UPLINK_CODEC","description":"a\n\"b\"","context":{"deduplication_id":"x"}}`,
			parse: chirp("log"), want: `log 7894e8000005874b t=02:31:40.000 ERROR UPLINK_CODEC "a\n\"b\"" {"deduplication_id":"x"}`,
		},
		{
			name: "log of zeros", in: `{"deviceInfo":{"devEui":"7894e8000005874b"}}`,
			parse: chirp("log"), want: `log 7894e8000005874b INFO  ""`,
		},
		{
			name: "location", in: `{"deviceInfo":{"devEui":"7894e8000005874b"},"location":{"latitude":38.1,"longitude":13.3,"altitude":2,"source":"GEO_RESOLVER_TDOA","accuracy":12}}`,
			parse: chirp("location"), want: `location 7894e8000005874b 38.1,13.3 alt=2 acc=12 GEO_RESOLVER_TDOA`,
		},
		{name: "location of nowhere", in: `{"deviceInfo":{"devEui":"7894e8000005874b"}}`, parse: chirp("location"), reject: frame.ReasonMissing},
		{name: "integration", in: `{"deviceInfo":{"devEui":"7894e8000005874b"},"integrationName":"x","object":{}}`, parse: chirp("integration"), want: `other 7894e8000005874b`},

		{
			name: "things up", in: thingsUp, parse: (*Parser).TheThings,
			want: `uplink 0004a30b001c0530 @00bcb929 t=15:15:45.570 name=dev1 app=app1 port=1 cnt=7 data=8241de confirmed object={"temperature":21.5} normalized=[{"air":{"temperature":21.5}}] warnings=["old firmware"]` +
				` 868300000 Hz SF7BW125 dr=-1 56.576ms [9c5c8e00001a05c4 -35 5 15:15:45.695 38.1,13.3] [aa555a0000000101 -90 -2.5] battery=94.5`,
		},
		{
			name: "things up, coding rate outside, FSK, no EUIs", in: `{"end_device_ids":{"device_id":"d"},"received_at":"2020-02-12T15:15:45Z","uplink_message":{"rx_metadata":[{"gateway_ids":{"gateway_id":"eui-1"},"rssi":-1}],"settings":{"data_rate":{"fsk":{"bit_rate":50000}},"coding_rate":"4/5","frequency":868800000}}}`,
			parse: (*Parser).TheThings, want: `uplink 0000000000000000 t=15:15:45.000 name=d port=0 cnt=0 data= 868800000 Hz FSK50000 dr=-1 3.84ms [eui-1 -1 0]`,
		},
		{
			name: "things up encrypted", in: `{"end_device_ids":{"device_id":"d"},"uplink_message":{"f_port":1,"frm_payload":"AQ==","app_s_key":{"encrypted_key":"x"}}}`,
			parse: (*Parser).TheThings, want: `uplink 0000000000000000 name=d port=1 cnt=0 data=01 encrypted 0 Hz  dr=-1 0s`,
		},
		{
			name: "things join", in: `{"end_device_ids":{"device_id":"dev1","application_ids":{"application_id":"app1"},"dev_eui":"0004A30B001C0530","dev_addr":"01497ECC"},"received_at":"2020-02-17T07:49:09.935284891Z","join_accept":{"session_key_id":"x","received_at":"2020-02-17T07:49:09.736532315Z"}}`,
			parse: (*Parser).TheThings, want: `join 0004a30b001c0530 @01497ecc t=07:49:09.736 name=dev1 app=app1`,
		},
		{
			name: "things location", in: `{"end_device_ids":{"device_id":"dev1"},"received_at":"2020-02-17T07:49:09Z","location_solved":{"service":"lora-cloud","location":{"latitude":38.1,"longitude":13.3,"accuracy":9,"source":"SOURCE_LORA_RSSI_GEOLOCATION"}}}`,
			parse: (*Parser).TheThings, want: `location 0000000000000000 t=07:49:09.000 name=dev1 38.1,13.3 alt=0 acc=9 SOURCE_LORA_RSSI_GEOLOCATION lora-cloud`,
		},
		{
			name: "things nack", in: `{"end_device_ids":{"device_id":"dev1"},"downlink_nack":{"f_cnt":3,"f_port":1}}`,
			parse: (*Parser).TheThings, want: `ack 0000000000000000 name=dev1 ok=false down=3`,
		},
		{
			name: "things failed", in: `{"end_device_ids":{"device_id":"dev1"},"downlink_failed":{"downlink":{"f_cnt":3},"error":{"code":3}}}`,
			parse: (*Parser).TheThings, want: `txack 0000000000000000 name=dev1 ok=false down=3  {"code":3}`,
		},
		{name: "things queued", in: `{"end_device_ids":{"device_id":"dev1"},"downlink_queued":{"f_cnt":3}}`, parse: (*Parser).TheThings, want: `other 0000000000000000 name=dev1`},
		{name: "things of nobody", in: `{"uplink_message":{}}`, parse: (*Parser).TheThings, reject: frame.ReasonMissing},
		{name: "things, odd airtime", in: `{"uplink_message":{"consumed_airtime":"1m"}}`, parse: (*Parser).TheThings, reject: frame.ReasonTime},
		{name: "things, not an object", in: `[]`, parse: (*Parser).TheThings, reject: frame.ReasonSyntax},

		{
			name: "bridge up", in: bridgeUp, parse: bridge("up"),
			want: `uplink 0000000000000000 t=02:31:40.836 gw=0102030405060708 raw=80a6fe6a018005000138873a7304 868100000 Hz SF9BW125 dr=-1 164.864ms [0102030405060708 -57 9.5 02:31:40.836]`,
		},
		{
			name: "bridge up of version 3", in: `{"phyPayload":"gKb+agGABQABOIc6cwQ=","txInfo":{"frequency":868100000,"modulation":"LORA","loRaModulationInfo":{"bandwidth":125,"spreadingFactor":9,"codeRate":"4/5"}},"rxInfo":{"gatewayID":"AQIDBAUGBwg=","rssi":-57,"loRaSNR":9.5,"crcStatus":"BAD_CRC"}}`, parse: bridge("up"),
			want: `uplink 0000000000000000 gw=0102030405060708 raw=80a6fe6a018005000138873a7304 badcrc 868100000 Hz SF9BW125 dr=-1 164.864ms [0102030405060708 -57 9.5]`,
		},
		{name: "bridge up without frame", in: `{"rxInfo":{"gatewayId":"0102030405060708"}}`, parse: bridge("up"), reject: frame.ReasonMissing},
		{name: "bridge up without gateway", in: `{"phyPayload":"gKb+agGABQABOIc6cwQ="}`, parse: bridge("up"), reject: frame.ReasonMissing},
		{name: "bridge up, oversized", in: `{"phyPayload":"` + strings.Repeat("AAAA", 86) + `"}`, parse: bridge("up"), reject: frame.ReasonLong},
		{
			name: "bridge stats", in: `{"gatewayId":"0102030405060708","time":"2026-01-25T02:31:40Z","location":{"latitude":38.1,"longitude":13.3},"rxPacketsReceived":5,"rxPacketsReceivedOk":4,"txPacketsReceived":3,"txPacketsEmitted":2,"metadata":{"model":"RAK"}}`, parse: bridge("stats"),
			want: `stats 0000000000000000 t=02:31:40.000 gw=0102030405060708 rx=4/5 fw=0 down=2/3 ack=0   RAK 38.1,13.3`,
		},
		{name: "bridge ack", in: `{"gatewayId":"0102030405060708","downlinkId":1,"items":[{"status":"TOO_LATE"},{"status":"OK"}]}`, parse: bridge("ack"), want: `txack 0000000000000000 gw=0102030405060708 ok=true down=0  TOO_LATE`},
		{name: "bridge stats of nobody", in: `{}`, parse: bridge("stats"), reject: frame.ReasonMissing},
		{name: "bridge, unheard of", in: `{}`, parse: bridge("exec"), reject: frame.ReasonEvent},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var m Message
			err := tc.parse(&p, []byte(tc.in), &m)
			if reasonOf(err) != tc.reject || err != nil && tc.reject == "" {
				t.Fatalf("%v, want %q", err, tc.reject)
			}
			if got := show(&m); err == nil && got != tc.want {
				t.Errorf("\n got %s\nwant %s", got, tc.want)
			}
			if tc.reject != "" {
				return
			}
			for n := range len(tc.in) {
				if err := tc.parse(&p, []byte(tc.in)[:n], &m); reasonOf(err) == "" {
					t.Fatalf("prefix of %d: %v, want a Reject", n, err)
				}
			}
		})
	}
}

func TestTimes(t *testing.T) {
	for _, good := range []string{
		"2026-01-25T02:31:40Z", "2026-01-25T02:31:40.8Z", "2026-01-25T02:31:40.836123456Z", "2026-01-25T02:31:40.836+05:30",
		"2024-02-29T23:59:59.999-12:00", "1970-01-01T00:00:00Z", "2026-01-25t02:31:40z",
	} {
		got, ok := parseTime([]byte(good))
		if want := ms(t, strings.ToUpper(good)); !ok || got != want {
			t.Errorf("parseTime(%q) = %d, %v; want %d", good, got, ok, want)
		}
	}
	for _, bad := range []string{
		"", "2026", "2026-01-25", "2026-01-25T02:31:40", "2026-01-25T02:31:40.", "2026-01-25T02:31:40.Z", "2026-02-30T02:31:40Z",
		"2026-13-25T02:31:40Z", "2026-01-25T24:31:40Z", "2026-01-25T02:61:40Z", "2026-01-25T02:31:40+0100", "2026-01-25T02:31:40+25:00",
		"2026-01-25T02:31:40Zz", "2o26-01-25T02:31:40Z", "2026-01-25T02:31:40.8",
	} {
		if got, ok := parseTime([]byte(bad)); ok {
			t.Errorf("parseTime(%q) = %d, want none", bad, got)
		}
	}
}

func TestAppendFrameIsReadBack(t *testing.T) {
	m := Message{Kind: Uplink, Payload: Payload{Raw: []byte{0x40, 1, 2, 3, 4, 0, 5, 0, 1, 2, 3, 4}}}
	m.Radio = Radio{FrequencyHz: 868_300_000, DataRate: radio.DataRate{Modulation: radio.LoRa, SpreadingFactor: 12, BandwidthHz: 125_000, CodingRate: 6}}
	m.Radio.Receptions = []Reception{
		{Gateway: "0102030405060708", RSSIdBm: -119.5, SNRdB: -7.25, Time: 1_769_308_300_836, At: Position{Known: true, Lat: 38.1, Lon: 13.3, AltitudeM: 5}},
		{Gateway: "café \"1\"", RSSIdBm: -30},
	}
	for _, d := range []radio.DataRate{m.Radio.DataRate, {Modulation: radio.FSK, BitRate: 50_000}, {Modulation: radio.LRFHSS, BandwidthHz: 137_000}, {}} {
		m.Radio.DataRate = d
		var p Parser
		var got Message
		if err := p.Bridge("up", bytesOf(&m), &got); err != nil {
			t.Fatalf("%s: %v", d, err)
		}
		want := m
		want.Gateway, want.Time, want.Radio.DR = "0102030405060708", 1_769_308_300_836, radio.Unknown
		want.settle()
		if a, b := show(&got), show(&want); a != b || got.Radio.DataRate != d {
			t.Errorf("\n got %s\nwant %s", a, b)
		}
	}
	if got := m.Radio.Best(); got != 1 {
		t.Errorf("best reception is %d, want 1", got)
	}
}

// bytesOf is the raw uplink that m tells of as the dead letter has it.
func bytesOf(m *Message) []byte {
	f := m.Frame()
	return f.AppendPayload(nil)
}

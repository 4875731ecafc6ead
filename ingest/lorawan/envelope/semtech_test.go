package envelope

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"panormus/ingest/lorawan/frame"
	"panormus/ingest/lorawan/radio"
)

func datagram(op Op, json string) []byte {
	return append([]byte{2, 0xab, 0xcd, byte(op), 1, 2, 3, 4, 5, 6, 7, 8}, json...)
}

const pushData = `{"rxpk":[{"time":"2026-01-25T02:31:40.836543Z","tmst":3512348611,"tmms":1,"chan":2,"rfch":0,"freq":868.300000,"stat":1,"modu":"LORA","datr":"SF7BW125","codr":"4/6","rssi":-35,"lsnr":5.1,"size":14,"data":"gKb+agGABQABOIc6cwQ="},` +
	`{"tmst":1,"freq":868.8,"stat":-1,"modu":"FSK","datr":50000,"rssi":-75,"size":14,"data":"gKb-agGABQABOIc6cwQ"},` +
	`{"tmst":1,"freq":868.1,"datr":"SF12BW125","size":3,"data":"gKb+agGABQABOIc6cwQ="},` +
	`{"freq":868.1,"datr":"SF12","data":"gKb+agGABQABOIc6cwQ="},` +
	`{"freq":868.1,"datr":"M0CW137","rsig":[{"ant":0,"chan":7,"rssic":-90,"lsnr":1.5},{"ant":1,"chan":7,"rssic":-80,"lsnr":2.5}],"data":"gKb+agGABQABOIc6cwQ="}],` +
	`"stat":{"time":"2026-01-25 02:31:40 GMT","lati":38.11,"long":13.36,"alti":14,"rxnb":5,"rxok":4,"rxfw":3,"ackr":100.0,"dwnb":2,"txnb":1}}`

func TestSemtech(t *testing.T) {
	d, err := ParseDatagram(datagram(PushData, pushData))
	if err != nil || d.Gateway != 0x0102030405060708 {
		t.Fatalf("%+v, %v", d, err)
	}
	want := []string{
		`uplink 0000000000000000 t=02:31:40.836 gw=0102030405060708 raw=80a6fe6a018005000138873a7304 868300000 Hz SF7BW125 dr=-1 51.456ms [0102030405060708 -35 5.1 02:31:40.836]`,
		`uplink 0000000000000000 gw=0102030405060708 raw=80a6fe6a018005000138873a7304 badcrc 868800000 Hz FSK50000 dr=-1 4ms [0102030405060708 -75 0]`,
		`frame_short: rxpk.data of 14 bytes, want 3 as its size says`,
		`wrong_type: datr: "SF12", want a data rate such as "SF7BW125"`,
		`uplink 0000000000000000 gw=0102030405060708 raw=80a6fe6a018005000138873a7304 868100000 Hz LRFHSS137 dr=-1 0s [0102030405060708 -80 2.5]`,
		`stats 0000000000000000 t=02:31:40.000 gw=0102030405060708 rx=4/5 fw=3 down=1/2 ack=100 38.11,13.36`,
	}
	var p Parser
	var m Message
	var got []string
	note := func(m *Message, err error) error {
		if err != nil {
			got = append(got, err.Error())
		} else {
			got = append(got, strings.Join(strings.Fields(show(m)), " "))
		}
		return nil
	}
	if err := p.Semtech(&d, &m, note); err != nil {
		t.Fatal(err)
	}
	if a, b := strings.Join(got, "\n"), strings.Join(want, "\n"); a != b {
		t.Errorf("\n got %s\nwant %s", a, b)
	}
	whole := d.JSON
	for n := range whole {
		d.JSON = whole[:n]
		if err := p.Semtech(&d, &m, func(*Message, error) error { return nil }); reasonOf(err) == "" {
			t.Fatalf("prefix of %d: %v, want a Reject", n, err)
		}
	}
	d.JSON = whole
	stop := errors.New("stop")
	if err := p.Semtech(&d, &m, func(*Message, error) error { return stop }); err != stop {
		t.Errorf("visit's error came back as %v", err)
	}
	d.JSON = []byte(`{"rxpk":[` + strings.Repeat("{},", maxPackets) + `{}]}`)
	if err := p.Semtech(&d, &m, func(*Message, error) error { return nil }); reasonOf(err) != frame.ReasonTooMany {
		t.Errorf("too many frames: %v, want %s", err, frame.ReasonTooMany)
	}
	for in, want := range map[string]string{
		"":                                  "txack 0000000000000000 gw=0102030405060708 ok=true down=0",
		`{"txpk_ack":{"error":"NONE"}}`:     "txack 0000000000000000 gw=0102030405060708 ok=true down=0",
		`{"txpk_ack":{"error":"TOO_LATE"}}`: "txack 0000000000000000 gw=0102030405060708 ok=false down=0 TOO_LATE",
		`{"txpk_ack":{"error":"TX_POWER"}} ` + "\x00": "syntax: offset 34: found '\\x00', want the end",
	} {
		got = nil
		d := Datagram{Op: TxResult, Gateway: d.Gateway, JSON: []byte(in)}
		if err := p.Semtech(&d, &m, note); err != nil {
			got = []string{err.Error()}
		}
		if len(got) != 1 || got[0] != want {
			t.Errorf("TX_ACK %q: %q, want %q", in, got, want)
		}
	}
}

func TestParseDatagram(t *testing.T) {
	f := func(in []byte, want frame.Reason, answer string) {
		t.Helper()
		d, err := ParseDatagram(in)
		if reasonOf(err) != want {
			t.Errorf("ParseDatagram(%x): %v, want %q", in, err, want)
		}
		if err != nil {
			return
		}
		got := ""
		if a, ok := d.Answer(); ok {
			got = fmt.Sprintf("%x", a)
			if len(a) >= len(in) {
				t.Errorf("answer of %d bytes to %d", len(a), len(in))
			}
		}
		if got != answer {
			t.Errorf("answer to %x: %s, want %s", in, got, answer)
		}
	}
	f(datagram(PushData, "{}"), "", "02abcd01")
	f(datagram(PullData, ""), "", "02abcd04")
	f(datagram(TxResult, ""), "", "")
	f(datagram(PushData, ""), frame.ReasonShort, "")
	f(datagram(PullData, "x"), frame.ReasonLong, "")
	f(datagram(PullResp, "{}"), frame.ReasonEvent, "")
	f(datagram(9, "{}"), frame.ReasonEvent, "")
	f([]byte{1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, '{'}, frame.ReasonEvent, "")
	for n := range 12 {
		f(datagram(PushData, "{}")[:n], frame.ReasonShort, "")
	}
}

func TestStation(t *testing.T) {
	const up = `,"DR":5,"Freq":868100000,"RefTime":1.5,"upinfo":{"rctx":0,"xtime":40532396751946753,"gpstime":0,"fts":-1,"rssi":-57.5,"snr":9.25,"rxtime":1769308300.836}}`
	var p Parser
	for _, tc := range []struct {
		name, in string
		kind     StationType
		want     string
		reject   frame.Reason
	}{
		{
			name: "updf", in: `{"msgtype":"updf","MHdr":128,"DevAddr":23789222,"FCtrl":128,"FCnt":5,"FOpts":"","FPort":1,"FRMPayload":"38","MIC":74660487` + up, kind: StationFrame,
			want: `uplink 0000000000000000 t=02:31:40.836 gw=gw raw=80a6fe6a01800500013887 3a7304 868100000 Hz SF7BW125 dr=5 46.336ms [gw -57.5 9.25 02:31:40.836]`,
		},
		{
			name: "updf, negative, no port", in: `{"msgtype":"updf","MHdr":64,"DevAddr":-2,"FCtrl":2,"FCnt":65535,"FOpts":"0307","FPort":-1,"FRMPayload":"","MIC":-1` + up, kind: StationFrame,
			want: `uplink 0000000000000000 t=02:31:40.836 gw=gw raw=40feffffff02ffff0307ffffffff 868100000 Hz SF7BW125 dr=5 46.336ms [gw -57.5 9.25 02:31:40.836]`,
		},
		{
			name: "jreq", in: `{"msgtype":"jreq","MHdr":0,"JoinEui":"01-02-03-04-05-06-07-08","DevEui":"::a:b","DevNonce":258,"MIC":-1` + up, kind: StationFrame,
			want: `uplink 0000000000000000 t=02:31:40.836 gw=gw raw=0008070605040302010b000a00000000000201ffffffff 868100000 Hz SF7BW125 dr=5 61.696ms [gw -57.5 9.25 02:31:40.836]`,
		},
		{name: "propdf", in: `{"msgtype":"propdf","FRMPayload":"e00102"` + up, kind: StationFrame, want: `uplink 0000000000000000 t=02:31:40.836 gw=gw raw=e00102 868100000 Hz SF7BW125 dr=5 30.976ms [gw -57.5 9.25 02:31:40.836]`},
		{name: "version", in: `{"msgtype":"version","station":"2.0.6(rpi)","firmware":"f","package":"p","model":"rpi","protocol":2,"features":"rmtsh gps"}`, kind: StationVersion, want: `stats 0000000000000000 gw=gw rx=0/0 fw=0 down=0/0 ack=0 2.0.6(rpi) f rpi`},
		{name: "timesync", in: `{"msgtype":"timesync","txtime":40532396751946753}`, kind: StationTimeSync, want: `other 0000000000000000 gw=gw`},
		{name: "dntxed", in: `{"msgtype":"dntxed","diid":1,"DevEui":"01-02-03-04-05-06-07-08","rctx":0,"xtime":1,"txtime":1.5,"gpstime":0}`, kind: StationSent, want: `txack 0000000000000000 gw=gw ok=true down=0`},
		{name: "other", in: `{"msgtype":"runcmd"}`, want: `other 0000000000000000 gw=gw`},
		{name: "no type", in: `{}`, reject: frame.ReasonMissing},
		{name: "updf in part", in: `{"msgtype":"updf","MHdr":64}`, reject: frame.ReasonMissing},
		{name: "jreq in part", in: `{"msgtype":"jreq","MHdr":0,"DevEui":"::a:b"}`, reject: frame.ReasonMissing},
		{name: "options too short", in: `{"msgtype":"updf","MHdr":64,"DevAddr":-2,"FCtrl":2,"FCnt":1,"FOpts":"03","MIC":-1}`, reject: frame.ReasonShort},
		{name: "payload without port", in: `{"msgtype":"updf","MHdr":64,"DevAddr":-2,"FCtrl":0,"FCnt":1,"FPort":-1,"FRMPayload":"00","MIC":-1}`, reject: frame.ReasonPort},
		{name: "odd hexadecimal", in: `{"msgtype":"updf","FRMPayload":"0"}`, reject: frame.ReasonSyntax},
		{name: "no hexadecimal", in: `{"msgtype":"updf","FRMPayload":"0x"}`, reject: frame.ReasonSyntax},
		{name: "address too great", in: `{"msgtype":"updf","DevAddr":4294967296}`, reject: frame.ReasonNumber},
		{name: "odd EUI", in: `{"msgtype":"jreq","DevEui":"1:2:3"}`, reject: frame.ReasonIdentity},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var m Message
			got, err := p.Station("gw", &radio.EU868, []byte(tc.in), &m)
			if reasonOf(err) != tc.reject || err != nil && tc.reject == "" {
				t.Fatalf("%v, want %q", err, tc.reject)
			}
			if err != nil {
				return
			}
			want := strings.ReplaceAll(tc.want, "3887 3a", "38873a")
			if text := strings.Join(strings.Fields(show(&m)), " "); got.Type != tc.kind || text != want {
				t.Errorf("%d\n got %s\nwant %d %s", got.Type, text, tc.kind, want)
			}
			if got.Type == StationTimeSync && got.TxTime != 40532396751946753 {
				t.Errorf("txtime %d", got.TxTime)
			}
			for n := range len(tc.in) {
				if _, err := p.Station("gw", &radio.EU868, []byte(tc.in)[:n], &m); reasonOf(err) == "" {
					t.Fatalf("prefix of %d: %v, want a Reject", n, err)
				}
			}
		})
	}
}

func TestStationEUI(t *testing.T) {
	f := func(in string, want frame.EUI, ok bool) {
		t.Helper()
		if got, gotOK := ParseStationEUI(in); got != want || gotOK != ok {
			t.Errorf("ParseStationEUI(%q) = %s, %v; want %s, %v", in, got, gotOK, want, ok)
		}
	}
	f("01-02-03-04-05-06-07-08", 0x0102030405060708, true)
	f("01:02:03:04:05:06:07:08", 0x0102030405060708, true)
	f("0102030405060708", 0x0102030405060708, true)
	f("1:2:3:4", 0x0001000200030004, true)
	f("::4", 4, true)
	f("1::", 0x0001000000000000, true)
	f("1::4", 0x0001000000000004, true)
	f("::", 0, true)
	f("b827:ebff:fe87:bd22", 0xb827ebfffe87bd22, true)
	f("", 0, false)
	f("1:2:3", 0, false)
	f("1:2:3:4:5", 0, false)
	f("1:2::3:4", 0, false)
	f("12345::1", 0, false)
	f("1::2::3", 0, false)
	f("01-02-03-04-05-06-07-0g", 0, false)
	if got := FormatID6(0xb827ebfffe87bd22); got != "b827:ebff:fe87:bd22" {
		t.Errorf("FormatID6 = %q", got)
	}
	if got := GPSMicros(315_964_800_000); got != 18_000_000 {
		t.Errorf("the GPS epoch is %d µs, want the leap seconds since", got)
	}
}

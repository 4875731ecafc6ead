package envelope

import (
	"bytes"
	"testing"

	"panormus/ingest/lorawan/frame"
	"panormus/ingest/lorawan/radio"
)

// fuzz runs parse on what the fuzzer makes of the seeds and checks that refusals are Rejects and
// that the message is left alone.
func fuzz(f *testing.F, parse func(p *Parser, data []byte, m *Message) error, seeds ...[]byte) {
	for _, s := range seeds {
		f.Add(s)
	}
	var p Parser
	var m Message
	f.Fuzz(func(t *testing.T, data []byte) {
		before := bytes.Clone(data)
		err := parse(&p, data, &m)
		if err != nil && reasonOf(err) == "" {
			t.Fatalf("%v, want a Reject", err)
		}
		if !bytes.Equal(before, data) {
			t.Fatal("the message was changed")
		}
		if err == nil && len(m.Payload.Raw) > frame.MaxFrame {
			t.Fatalf("frame of %d bytes", len(m.Payload.Raw))
		}
		if err == nil && m.Kind == Uplink && m.Payload.Raw != nil {
			var again Message
			var p2 Parser
			if err := p2.Bridge("up", bytesOf(&m), &again); err != nil {
				t.Fatalf("reading back %s: %v", show(&m), err)
			}
		}
	})
}

var chirpEvents = []string{"up", "status", "join", "ack", "txack", "log", "location", "integration"}

func FuzzChirpStack(f *testing.F) {
	fuzz(f, func(p *Parser, data []byte, m *Message) error {
		var last error
		for _, event := range chirpEvents {
			if err := p.ChirpStack(event, data, m); err != nil {
				last = err
			}
		}
		return last
	}, []byte(chirpStackUp), upPB(f), []byte(`{"deviceInfo":{"devEui":"7894e8000005874b"},"margin":-7,"batteryLevel":97.6,"level":"ERROR","location":{"latitude":1}}`))
}

func FuzzTheThings(f *testing.F) {
	fuzz(f, (*Parser).TheThings, []byte(thingsUp))
}

func FuzzBridge(f *testing.F) {
	fuzz(f, bridge("up"), []byte(bridgeUp), pb{}.str(1, "\x80\xa6\xfe\x6a\x01\x80\x05").msg(4, pb{}.num(1, 868100000)).msg(5, pb{}.str(1, "0102030405060708")))
}

func FuzzSemtech(f *testing.F) {
	fuzz(f, func(p *Parser, data []byte, m *Message) error {
		d, err := ParseDatagram(data)
		if err != nil {
			return err
		}
		return p.Semtech(&d, m, func(_ *Message, err error) error { return nil })
	}, datagram(PushData, pushData), datagram(TxResult, `{"txpk_ack":{"error":"TOO_LATE"}}`), datagram(PullData, ""))
}

func FuzzStation(f *testing.F) {
	fuzz(f, func(p *Parser, data []byte, m *Message) error {
		_, err := p.Station("gw", &radio.EU868, data, m)
		return err
	}, []byte(`{"msgtype":"updf","MHdr":128,"DevAddr":-2,"FCtrl":128,"FCnt":5,"FOpts":"","FPort":1,"FRMPayload":"38","MIC":74660487,"upinfo":{"xtime":40532396751946753,"rssi":-57}}`),
		[]byte(`{"msgtype":"jreq","MHdr":0,"JoinEui":"01-02-03-04-05-06-07-08","DevEui":"::a:b","DevNonce":258,"MIC":-1}`))
}

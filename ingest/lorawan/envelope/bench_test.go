package envelope

import (
	"encoding/json"
	"testing"
)

func benchmark(b *testing.B, data []byte, parse parser) {
	var p Parser
	var m Message
	b.ReportAllocs()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if err := parse(&p, data, &m); err != nil || m.Kind != Uplink {
			b.Fatal(err)
		}
	}
}

func BenchmarkChirpStackJSON(b *testing.B)     { benchmark(b, []byte(chirpStackUp), chirp("up")) }
func BenchmarkChirpStackProtobuf(b *testing.B) { benchmark(b, upPB(b), chirp("up")) }
func BenchmarkTheThings(b *testing.B)          { benchmark(b, []byte(thingsUp), (*Parser).TheThings) }
func BenchmarkBridge(b *testing.B)             { benchmark(b, []byte(bridgeUp), bridge("up")) }

func BenchmarkSemtech(b *testing.B) {
	in := datagram(PushData, `{"rxpk":[{"tmst":3512348611,"chan":2,"rfch":0,"freq":868.300000,"stat":1,"modu":"LORA","datr":"SF7BW125","codr":"4/5","rssi":-35,"lsnr":5.1,"size":14,"data":"gKb+agGABQABOIc6cwQ="}]}`)
	benchmark(b, in, func(p *Parser, data []byte, m *Message) error {
		d, err := ParseDatagram(data)
		if err != nil {
			return err
		}
		return p.Semtech(&d, m, func(_ *Message, err error) error { return err })
	})
}

// BenchmarkEncodingJSON is what the standard library takes for the same, into fewer fields.
func BenchmarkEncodingJSON(b *testing.B) {
	type event struct {
		DeduplicationID, Time, DevAddr, Data string
		FCnt, FPort                          int
		DeviceInfo                           struct{ DevEUI string }
		Object                               json.RawMessage
		RxInfo                               []struct {
			GatewayID, Time string
			RSSI, SNR       float64
		}
		TxInfo struct {
			Frequency  int
			Modulation struct {
				Lora struct{ Bandwidth, SpreadingFactor int }
			}
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		var e event
		if err := json.Unmarshal([]byte(chirpStackUp), &e); err != nil || e.FCnt != 336 {
			b.Fatal(err)
		}
	}
}

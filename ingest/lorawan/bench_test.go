package lorawan_test

import (
	"testing"

	"panormus/devices"
	"panormus/ingest"
	"panormus/ingest/lorawan"
	"panormus/ingest/lorawan/envelope"
	"panormus/ingest/lorawan/frame"
	"panormus/ingest/lorawan/radio"
	"panormus/ingest/lorawan/raw"
)

// lamp is a registry of one device.
type lamp struct{ *devices.Asset }

func (l lamp) Lookup(string) *devices.Asset       { return l.Asset }
func (l lamp) Version() uint64                    { return 0 }
func (l lamp) LookupDevEUI(string) *devices.Asset { return l.Asset }

// BenchmarkFrame is a gathered frame read, checked, decrypted and decoded by a layout.
func BenchmarkFrame(b *testing.B) {
	codecs, table := lorawan.NewCodecs(), frame.NewTable(0)
	if err := codecs.Put("p", &devices.Profile{Codec: []byte(`{"layout":[{"name":"n","offset":0,"type":"uint16"}]}`)}); err != nil {
		b.Fatal(err)
	}
	key := frame.Key{15: 7}
	if err := table.Put("m", frame.Keys{DevAddr: 7, FNwkSInt: key, AppS: key, HasAppS: true}, frame.Refuse, frame.State{}); err != nil {
		b.Fatal(err)
	}
	d := raw.Decoder{Table: table, Registry: lamp{&devices.Asset{Device: devices.Device{ID: "m", Domain: "water", Profile: "p"}}}, Codec: codecs.Decode}
	m := envelope.Message{Kind: envelope.Uplink}
	m.Payload.Raw = phy(b, 7, 258, 7)
	m.Radio = envelope.Radio{
		FrequencyHz: 868_100_000, DataRate: radio.DataRate{Modulation: radio.LoRa, SpreadingFactor: 7, BandwidthHz: 125_000},
		Receptions: []envelope.Reception{{Gateway: "0000000000000001", RSSIdBm: -80, SNRdB: 5}},
	}
	// As in a replay, so that the same frame may come again.
	in := &ingest.Input{Domain: "lorawan", Device: "00000007", Payload: bytesOf(&m), Received: 1_764_000_000_000, Again: ingest.ReasonMIC}
	out := ingest.NewDecoded()
	b.ReportAllocs()
	for b.Loop() {
		out.Reset()
		if err := d.Frame(in, out); err != nil || len(out.Values) != 1 || out.Values[0].Number != 258 || len(out.Uplinks) != 1 {
			b.Fatalf("%v, %+v; want n=258", err, out.Values)
		}
	}
}

// bytesOf is the raw uplink that m tells of as the dead letter has it.
func bytesOf(m *envelope.Message) []byte {
	f := m.Frame()
	return f.AppendPayload(nil)
}

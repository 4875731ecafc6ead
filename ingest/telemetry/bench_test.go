package telemetry

import (
	"testing"

	"panormus/ingest"
)

func BenchmarkDecode(b *testing.B) {
	for _, bc := range []struct {
		name   string
		dec    ingest.Decoder
		in     string
		values int
	}{
		{"json/metrics=5", JSON, `{"ts":1732311111123,"power_w":83.2,"voltage_v":228.1,"current_a":1.372,"energy_kwh":2041.07,"n":4711}`, 5},
		{"json/nested", JSON, `{"ts":1732311111123,"power_w":83.2,"dimming":0.7,"on":true,"status":"ok","position":{"lat":38.11,"lon":13.36}}`, 6},
		{"json/metrics=50", JSON, members(50), 50},
		{"senml/records=3", SenML, `[{"bn":"urn:dev:ow:10e2073a01080063:","bt":1.732311111e+09,"n":"voltage","u":"V","v":120.1},{"n":"current","u":"A","v":1.2},{"n":"on","vb":true}]`, 3},
	} {
		b.Run(bc.name, func(b *testing.B) {
			out := ingest.NewDecoded()
			in := &ingest.Input{Domain: "lighting", Device: "pole-1", Payload: []byte(bc.in), Received: received}
			b.ReportAllocs()
			b.SetBytes(int64(len(bc.in)))
			for b.Loop() {
				out.Reset()
				if err := bc.dec(in, out); err != nil || len(out.Values) != bc.values {
					b.Fatalf("%v, %d values; want %d", err, len(out.Values), bc.values)
				}
			}
		})
	}
}

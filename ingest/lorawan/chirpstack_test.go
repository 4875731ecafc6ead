package lorawan

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"panormus/ingest"
	"panormus/ingest/lorawan/envelope"
	"panormus/stream/batch"
)

const received = 1_764_000_000_000

func decode(payload []byte) (*ingest.Decoded, error) {
	out := ingest.NewDecoded()
	err := new(Network).chirpStack("up")(&ingest.Input{Domain: "lorawan", Device: "7894e8000005874b", Payload: payload, Received: received}, out)
	return out, err
}

func golden(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func lines(out *ingest.Decoded) (s []string) {
	for _, v := range out.Values {
		if math.IsNaN(v.Number) {
			s = append(s, fmt.Sprintf("%s=%q", v.Name, v.Text))
		} else {
			s = append(s, fmt.Sprintf("%s=%v", v.Name, v.Number))
		}
	}
	return s
}

func TestChirpStack(t *testing.T) {
	out, err := decode(golden(t, "chirpstack_up.json"))
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 1, 25, 2, 31, 40, 836e6, time.UTC)
	if out.DevEUI != "7894e8000005874b" || out.Domain != "environment" || len(out.Records) != 1 || !out.Records[0].OwnTime || out.Records[0].Time != at.UnixMilli() {
		t.Errorf("device %q, domain %q, records %+v; want 7894e8000005874b, environment and one of %v", out.DevEUI, out.Domain, out.Records, at)
	}
	if got, want := lines(out), []string{"humidity=7.8", "temperature_c=-3.5", `battery_state="low"`, "position_lat=38.11", "position_lon=13.36", "alarms_0=0", "alarms_1=1"}; !slices.Equal(got, want) {
		t.Errorf("metrics %q, want %q", got, want)
	}
	want := []batch.Uplink{
		{Time: at, DevEUI: "7894e8000005874b", Gateway: "008000000002aa4b", RSSIdBm: -110, SNRdB: 3.8, FrequencyHz: 903_900_000, DataRate: "SF7BW125", FCnt: 336, FPort: 1},
		{Time: at, DevEUI: "7894e8000005874b", Gateway: "008000000002aa4c", RSSIdBm: -97, FrequencyHz: 903_900_000, DataRate: "SF7BW125", FCnt: 336, FPort: 1},
	}
	for i := range out.Uplinks {
		// 7 bytes and 13 around them: 8 symbols and ceil((160-28+44)/28)*5 = 35, 12.25 before.
		if ms := out.Uplinks[i].AirtimeMs; math.Abs(ms-(12.25+8+35)*1.024) > 1e-9 {
			t.Errorf("airtime %v ms, want 56.576", ms)
		}
		out.Uplinks[i].AirtimeMs = 0
	}
	if !slices.Equal(out.Uplinks, want) {
		t.Errorf("uplinks %+v\nwant %+v", out.Uplinks, want)
	}
}

// What the server leaves out: the device is the topic's, the time the gateway's or none.
func TestChirpStackSparse(t *testing.T) {
	f := func(payload string, at int64) {
		t.Helper()
		out, err := decode([]byte(payload))
		if err != nil {
			t.Errorf("%s: %v", payload, err)
			return
		}
		got := int64(0)
		if out.Records[0].OwnTime {
			got = out.Records[0].Time
		}
		if out.DevEUI != "7894e8000005874b" || got != at || len(out.Values) != 1 {
			t.Errorf("%s: device %q at %d with %d values, want the topic's at %d with 1", payload, out.DevEUI, got, len(out.Values), at)
		}
	}
	f(`{"object":{"a":1}}`, 0)
	f(`{"time":null,"deviceInfo":null,"rxInfo":null,"txInfo":null,"object":{"a":1},"joinServerContext":null}`, 0)
	f(`{"deviceInfo":{"devEui":"7894E8000005874B"},"object":{"a":1},"unknown":[{"x":{}}]}`, 0)
	f(`{"object":{"a":1},"rxInfo":[{},{"gwTime":"2026-01-25T02:31:40Z"}]}`, 1769308300000)
	f(`{"object":{"a":1},"joinServerContext":{}}`, 0)
}

func TestChirpStackRejects(t *testing.T) {
	f := func(payload string, reason ingest.Reason, detail string) {
		t.Helper()
		_, err := decode([]byte(payload))
		var r *ingest.Reject
		if !errors.As(err, &r) || r.Reason != reason || !strings.Contains(r.Detail, detail) {
			t.Errorf("%s: %v, want %s: …%s…", payload, err, reason, detail)
		}
	}
	f(`{"data":"FQ0AH2AHgA==","fPort":2}`, ingest.ReasonNoCodec, "on port 2 and no object")
	f(`{"data":"FQ0AH2AHgA==","object":null}`, ingest.ReasonNoCodec, "")
	f(`{}`, ingest.ReasonNoMetrics, "neither object nor data")
	f(`{"object":{}}`, ingest.ReasonNoMetrics, "an empty object")
	f(`{"object":{"a":1},"joinServerContext":{"sessionKeyId":"x"}}`, ingest.ReasonEncrypted, "")
	f(`{"object":{"a":1,"a":2}}`, ingest.ReasonDuplicate, `metric "a" twice`)
	f(`{"object":5}`, ingest.ReasonType, `want an object`)
	f(`{"time":5,"object":{"a":1}}`, ingest.ReasonType, `want a string`)
	f(`{"fCnt":"x","object":{"a":1}}`, ingest.ReasonNumber, `fCnt`)
	f(`{"rxInfo":{},"object":{"a":1}}`, ingest.ReasonType, `want an array`)
	f(`{"rxInfo":[5],"object":{"a":1}}`, ingest.ReasonType, `want an object`)
	f(`{"time":"now","object":{"a":1}}`, ingest.ReasonTime, `"now"`)
	f(`{"deviceInfo":{"devEui":"xyz"},"object":{"a":1}}`, ingest.ReasonIdentity, `devEui: "xyz", want 16 hexadecimal digits`)
	f(`{"object":{"a":1}`, ingest.ReasonSyntax, "found the end")
	f(`[]`, ingest.ReasonSyntax, "event")
	f("\x0a\x24", ingest.ReasonSyntax, "protobuf")
	whole := golden(t, "chirpstack_up.json")
	for n := range len(whole) - 2 {
		if _, err := decode(whole[:n]); err == nil {
			t.Fatalf("the first %d bytes were decoded, want a reject", n)
		}
	}
}

func FuzzChirpStack(f *testing.F) {
	f.Add(golden(f, "chirpstack_up.json"))
	f.Add([]byte(`{"time":null,"deviceInfo":null,"rxInfo":[{}],"txInfo":{"modulation":{"lora":{"bandwidth":1,"spreadingFactor":7,"codeRate":"CR_4_8"}}},"object":{"a":1}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := decode(data)
		if err != nil {
			var r *ingest.Reject
			if !errors.As(err, &r) || !slices.Contains(ingest.Reasons, r.Reason) {
				t.Fatalf("%q: %v, want a *Reject with a known reason", data, err)
			}
			return
		}
		if len(out.DevEUI) != 16 || len(out.Uplinks) > envelope.MaxReceptions {
			t.Fatalf("%q: device %q with %d uplinks", data, out.DevEUI, len(out.Uplinks))
		}
		if _, err := batch.EncodeUplinks(out.Uplinks); err != nil {
			t.Fatal(err)
		}
	})
}

func BenchmarkChirpStack(b *testing.B) {
	payload := golden(b, "chirpstack_up.json")
	out := ingest.NewDecoded()
	in := &ingest.Input{Domain: "lorawan", Device: "7894e8000005874b", Payload: payload, Received: received}
	decoder := new(Network).chirpStack("up")
	b.ReportAllocs()
	b.SetBytes(int64(len(payload)))
	for b.Loop() {
		out.Reset()
		if err := decoder(in, out); err != nil || len(out.Values) != 7 {
			b.Fatalf("%v, %d values; want 7", err, len(out.Values))
		}
	}
}

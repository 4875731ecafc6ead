package telemetry

import (
	"encoding/hex"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"

	"panormus/ingest"
)

// The packs of RFC 8428, section 5.1, and what else the RFC allows.
func TestSenML(t *testing.T) {
	f := func(device, payload string, want ...string) {
		t.Helper()
		got, reject := decode(SenML, device, []byte(payload))
		if reject != nil || !slices.Equal(got, want) {
			t.Errorf("%s\n got %q, %v\nwant %q", payload, got, reject, want)
		}
	}
	// 5.1.1
	f("10e2073a01080063", `[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]`, `- value=23.1`)
	// 5.1.2
	f("10e2073a01080063", `[{"bn":"urn:dev:ow:10e2073a01080063:","n":"voltage","u":"V","v":120.1},{"n":"current","u":"A","v":1.2}]`,
		`- voltage=120.1 current=1.2`)
	f("10e2073a0108006", `[{"bn":"urn:dev:ow:10e2073a0108006:","bt":1.276020076001e+09,"bu":"A","bver":5,"n":"voltage","u":"V","v":120.1},
		{"n":"current","t":-5,"v":1.2},{"n":"current","t":-4,"v":1.3},{"n":"current","v":1.7}]`,
		`1276020076001 voltage=120.1`, `1276020071001 current=1.2`, `1276020072001 current=1.3`, `1276020076001 current=1.7`)
	// 5.1.3
	f("any", `[{"bn":"urn:dev:ow:10e2073a01080063","bt":1.320067464e+09,"bu":"%RH","v":20},{"v":21,"t":60}]`, `1320067464000 value=20`, `1320067524000 value=21`)
	// 5.1.5
	f("any", `[{"bn":"urn:dev:ow:10e2073a01080063:","n":"temp","u":"Cel","v":23.1},{"n":"label","vs":"Machine Room"},{"n":"open","vb":false},{"n":"nfc-reader","vd":"aGkgCg"}]`,
		`- temp=23.1 label="Machine Room" open=0 nfc_reader="aGkgCg"`)
	// Sums, base values, relative times, unknown labels, bases alone.
	f("m-1", `[{"bn":"m-1/","bv":100,"bs":1000},{"n":"flow","v":5,"s":20},{"n":"total","s":1}]`, `- flow=105 flow_sum=1020 total_sum=1001`)
	f("m-1", `[{"n":"a","v":1,"t":-10},{"n":"b","v":1},{"n":"c","v":1,"t":268435455}]`, `~1763999990000 a=1`, `- b=1`, `~2032435455000 c=1`)
	f("m-1", `[{"n":"a","v":1,"t":268435456}]`, `268435456000 a=1`)
	f("m-1", `[{"n":"a","v":1,"ut":60,"u":"W","color":{"x":[1]}}]`, `- a=1`)
}

func TestMetricName(t *testing.T) {
	f := func(device, base, name, want string) {
		t.Helper()
		if got := metricName(device, base, name); got != want {
			t.Errorf("%q + %q on device %q: %q, want %q", base, name, device, got, want)
		}
	}
	f("pole-1", "", "power_w", "power_w")
	f("pole-1", "pole-1:", "powerFactor", "power_factor")
	f("pole-1", "urn:dev:mac:0024befffe804ff1_", "temp", "temp")
	f("0024BEFFFE804FF1", "", "urn:dev:mac:0024befffe804ff1/temp-2", "temp_2")
	f("x", "", "urn:dev:mac:0024befffe804ff1:temp", "temp")
	f("x", "", "urn:dev:mac:0024befffe804ff1", "value")
	f("x", "", "urn:dev:os:32473-123456_temp", "temp")
	f("x", "http://gw.example/", "temp", "temp")
	f("a", "", "data", "data") // part of a word is not the device
	f("a", "", "a", "value")
	f("p", "illuminance", "Level", "illuminance_level")
	f("p", "", "CO2", "co2")
	f("p", "", "pm2.5", "pm2_5")
}

func TestSenMLRejects(t *testing.T) {
	f := func(payload string, reason ingest.Reason, detail string) {
		t.Helper()
		got, reject := decode(SenML, "d", []byte(payload))
		if reject == nil || reject.Reason != reason || !strings.Contains(reject.Detail, detail) {
			t.Errorf("%s\n got %q, %v\nwant %s: …%s…", payload, got, reject, reason, detail)
		}
	}
	f(`{"n":"a","v":1}`, ingest.ReasonType, "found an object, want a SenML pack")
	f(`[1]`, ingest.ReasonType, "found a number, want a SenML record")
	f(`[`, ingest.ReasonSyntax, "offset 1: found the end")
	f(`[]`, ingest.ReasonNoMetrics, "0 records")
	f(`[{"bn":"a"}]`, ingest.ReasonNoMetrics, "1 records")
	f(`[{"n":"a"}]`, ingest.ReasonSenML, "record 1: no value")
	f(`[{"v":1}]`, ingest.ReasonSenML, "record 1: no name")
	f(`[{"n":"a b","v":1}]`, ingest.ReasonSenML, `record 1: name "a b": ' ' at byte 1`)
	f(`[{"n":"_a","v":1}]`, ingest.ReasonSenML, `at byte 0`)
	f(`[{"n":"a","v":1},{"n":"b","v":1,"vs":"x"}]`, ingest.ReasonSenML, "record 2: 2 values")
	f(`[{"n":"a","v":"1"}]`, ingest.ReasonType, "found a string, want a number for v")
	f(`[{"n":1,"v":1}]`, ingest.ReasonType, "want a string for n")
	f(`[{"n":"a","vb":1}]`, ingest.ReasonType, "want a boolean for vb")
	f(`[{"n":"a","v":1,"v":2}]`, ingest.ReasonDuplicate, `a second "v"`)
	f(`[{"n":"a","v":1},{"n":"a","v":2}]`, ingest.ReasonDuplicate, `metric "a" twice`)
	f(`[{"n":"a","v":1,"mine_":2}]`, ingest.ReasonSenML, `label "mine_" must be understood`)
	f(`[{"bver":11,"n":"a","v":1}]`, ingest.ReasonSenML, `bver 11, want at most 10`)
	f(`[{"bver":5,"n":"a","v":1},{"bver":6,"n":"b","v":1}]`, ingest.ReasonSenML, `want one version`)
	f(`[{"bv":1e308,"n":"a","v":1e308}]`, ingest.ReasonNumber, `+Inf`)
	f(`[{"n":"`+strings.Repeat("a", 200)+`","v":1}]`, ingest.ReasonName, `want 1 to 128`)
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := cbor.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSenMLCBOR(t *testing.T) {
	f := func(payload []byte, want ...string) {
		t.Helper()
		got, reject := decode(SenMLCBOR, "10e2073a0108006", payload)
		if reject != nil || !slices.Equal(got, want) {
			t.Errorf("%x\n got %q, %v\nwant %q", payload, got, reject, want)
		}
	}
	// The beginning of the pack of RFC 8428, section 6, as an array of two.
	golden, err := hex.DecodeString("82" +
		"a721781b75726e3a6465763a6f773a313065323037336130313038303036" + "3a" +
		"22fb41d303a15b001062" + "236141" + "2005" + "0067766f6c74616765" + "016156" + "02fb405e066666666666" +
		"a3" + "006763757272656e74" + "0624" + "02fb3ff3333333333333")
	if err != nil {
		t.Fatal(err)
	}
	f(golden, `1276020076001 voltage=120.1`, `1276020071001 current=1.2`)
	for n := range golden {
		if got, reject := decode(SenMLCBOR, "x", golden[:n]); reject == nil {
			t.Errorf("the first %d bytes were decoded as %q, want a reject", n, got)
		}
	}
	type m = map[any]any
	f(encode(t, []m{{0: "a", 2: 3}, {0: "b", 3: "on"}, {0: "c", 4: true}, {0: "d", 8: []byte("hi \n")}, {0: "e", 5: 2.5}, {0: "f", 2: float32(1.5)}}),
		`- a=3 b="on" c=1 d="aGkgCg" e_sum=2.5 f=1.5`)
	f(encode(t, []m{{"n": "a", "v": -3}}), `- a=-3`)                                             // labels may be strings
	f(encode(t, []m{{0: "a", 2: cbor.Tag{Number: 4, Content: []any{-2, 27315}}}}), `- a=273.15`) // decimal fraction
	f(encode(t, []m{{0: "a", 2: uint64(math.MaxInt64)}}), `- a=9.223372036854776e+18`)
}

func TestSenMLCBORRejects(t *testing.T) {
	f := func(payload []byte, reason ingest.Reason, detail string) {
		t.Helper()
		got, reject := decode(SenMLCBOR, "d", payload)
		if reject == nil || reject.Reason != reason || !strings.Contains(reject.Detail, detail) {
			t.Errorf("%x\n got %q, %v\nwant %s: …%s…", payload, got, reject, reason, detail)
		}
	}
	type m = map[any]any
	f([]byte{0xff}, ingest.ReasonSyntax, "want a SenML pack in CBOR")
	f(encode(t, "text"), ingest.ReasonType, "")
	f(encode(t, m{0: "a", 2: 1}), ingest.ReasonType, "")
	f(encode(t, []m{}), ingest.ReasonNoMetrics, "")
	f(encode(t, []m{{0: "a", 2: math.NaN()}}), ingest.ReasonNumber, "record 1: v: NaN, want a finite number")
	f(encode(t, []m{{0: "a", 2: math.Inf(-1)}}), ingest.ReasonNumber, "-Inf")
	f(encode(t, []m{{0: "a", 2: "1"}}), ingest.ReasonType, "record 1: v: found a text string, want a number")
	f(encode(t, []m{{0: 5, 2: 1}}), ingest.ReasonType, "n: found a number, want a string")
	f(encode(t, []m{{0: []byte("a"), 2: 1}}), ingest.ReasonType, "want a text string")
	f(encode(t, []m{{0: "a", 4: 1}}), ingest.ReasonType, "want a boolean")
	f(encode(t, []m{{0: "a", 2: nil}}), ingest.ReasonType, "found null")
	f(encode(t, []m{{0: "a", "v": 1, 2: 1}}), ingest.ReasonDuplicate, `a second "v"`)
	f(encode(t, []m{{0: "a", 2: 1, "x_": 1}}), ingest.ReasonSenML, `"x_" must be understood`)
	f([]byte{0x81, 0xa2, 0x00, 0x61, 'a', 0x00, 0x61, 'b'}, ingest.ReasonDuplicate, "")
	f([]byte{0x81, 0xa2, 0x00, 0x61, 0xff, 0x02, 0x01}, ingest.ReasonUTF8, "")
	f([]byte(strings.Repeat("\x81", 100)+"\x00"), ingest.ReasonDepth, "")
}

func fuzz(f *testing.F, dec ingest.Decoder) {
	f.Fuzz(func(t *testing.T, data []byte) {
		out := ingest.NewDecoded()
		if err := dec(&ingest.Input{Domain: "d", Device: "dev", Payload: data, Received: received}, out); err != nil {
			var r *ingest.Reject
			if !errors.As(err, &r) || !slices.Contains(ingest.Reasons, r.Reason) {
				t.Fatalf("%x: %v, want a *Reject with a known reason", data, err)
			}
			return
		}
		if len(out.Values) == 0 || len(out.Values) > ingest.MaxMetrics {
			t.Fatalf("%x: %d values, want 1 to %d", data, len(out.Values), ingest.MaxMetrics)
		}
		for _, v := range out.Values {
			if v.Name == "" || len(v.Name) > ingest.MaxName || math.IsInf(v.Number, 0) {
				t.Fatalf("%x: %+v, want a name of 1 to %d bytes and a finite number", data, v, ingest.MaxName)
			}
		}
	})
}

func FuzzSenML(f *testing.F) {
	f.Add([]byte(`[{"bn":"urn:dev:ow:10e2073a01080063:","bt":1.276020076001e+09,"bver":5,"n":"voltage","u":"V","v":120.1},{"n":"x","t":-5,"s":1.2}]`))
	f.Add([]byte(`[{"n":"a","vs":"b"},{"n":"c","vb":true},{"n":"d","vd":"aGkgCg"}]`))
	fuzz(f, SenML)
}

func FuzzSenMLCBOR(f *testing.F) {
	type m = map[any]any
	f.Add(encode(f, []m{{0: "a", 2: 3}, {0: "b", 3: "on"}, {0: "c", 4: true}, {0: "d", 8: []byte("hi")}, {-2: "x:", 0: "e", 5: 2.5, -3: 1.2e9}}))
	f.Add(encode(f, []m{{0: "a", 2: cbor.Tag{Number: 4, Content: []any{-2, 27315}}}}))
	fuzz(f, SenMLCBOR)
}

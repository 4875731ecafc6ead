package codec

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var cayenneGoldens = []struct{ payload, want string }{
	{"01 67 FFD7", "temperature_1=-4.1Cel"},
	{"03 67 0110 05 67 00FF", "temperature_3=27.2Cel temperature_5=25.5Cel"},
	{"06 71 04D2 FB2E 0000", "accelerometer_x_6=1.234[g] accelerometer_y_6=-1.234[g] accelerometer_z_6=0[g]"},
	{"01 88 06765F F2960A 0003E8", "gps_latitude_1=42.3519deg gps_longitude_1=-87.9094deg gps_altitude_1=10m"},
	{"00 00 01 01 01 00 02 02 FE0C 03 03 0064", "digital_in_0=1 digital_out_1=0 analog_in_2=-5 analog_out_3=1"},
	{"04 65 FFFF 05 66 01 06 68 50 07 73 2748", "luminosity_4=65535lx presence_5=1 relative_humidity_6=40% barometric_pressure_7=1005.6hPa"},
	{"01 74 014A 02 75 03E8 03 76 00000032 04 78 63", "voltage_1=3.3V current_2=1A frequency_3=50Hz percentage_4=99%"},
	{"01 79 FFFE 02 7D 0190 03 80 0064 04 82 00000BB8", "altitude_1=-2m concentration_2=400[ppm] power_3=100W distance_4=3m"},
	{"01 83 000F4240 02 84 010E 03 85 6553F100 04 86 0064 FF9C 0000", "energy_1=1000kWh direction_2=270deg unix_time_3=1.7e+09s gyrometer_x_4=1deg/s gyrometer_y_4=-1deg/s gyrometer_z_4=0deg/s"},
	{"01 87 FF8000 02 8E 01 03 64 FFFFFFFF", "colour_r_1=255 colour_g_1=128 colour_b_1=0 switch_2=1 generic_3=4.294967295e+09"},
}

func TestCayenne(t *testing.T) {
	c, err := Compile(json.RawMessage(`"cayenne_lpp"`))
	if err != nil || c.Kind() != "cayenne_lpp" {
		t.Fatal(c, err)
	}
	for _, tc := range cayenneGoldens {
		payload := unhex(t, tc.payload)
		out, err := c.Decode(Uplink{Bytes: payload})
		if got := shown(out.Values); err != nil || got != tc.want {
			t.Errorf("%s: %s, %v\nwant %s", tc.payload, got, err, tc.want)
		}
		for n := range payload {
			whole, err := c.Decode(Uplink{Bytes: payload[:n]})
			var e *Error
			if err == nil && !strings.HasPrefix(tc.want, shown(whole.Values)) {
				t.Errorf("%s cut to %d: %s", tc.payload, n, shown(whole.Values))
			} else if err != nil && (!errors.As(err, &e) || e.Reason != ReasonSyntax || len(whole.Values) != 0) {
				t.Errorf("%s cut to %d: %v, %v; want a syntax error and nothing", tc.payload, n, whole.Values, err)
			}
		}
	}
	if out, err := c.Decode(Uplink{Bytes: unhex(t, "0167000101670002")}); err != nil || shown(out.Values) != "temperature_1=0.1Cel" || len(out.Warnings) != 1 {
		t.Errorf("%+v, %v; want the first of two", out, err)
	}
	if _, err := c.Decode(Uplink{Bytes: unhex(t, "01FF00")}); err == nil || !strings.Contains(err.Error(), "type 255 of channel 1") {
		t.Errorf("%v, want the unknown type named", err)
	}
	if _, err := c.Decode(Uplink{Bytes: make([]byte, MaxInput+1)}); err == nil {
		t.Error("a payload beyond the bound was taken")
	}
}

const layoutYAML = `
- {name: temperature, offset: 1, type: int16, scale: 0.1, unit: Cel, when: {byte: 0, value: 1}}
- {name: humidity, offset: 3, type: uint8, divisor: 2, unit: "%", when: {byte: 0, value: 1}}
- {name: door, offset: 4, bits: "7", type: bool, when: {byte: 0, value: 1}}
- {name: mode, offset: 4, bits: 0-2, type: enum, values: {0: idle, 1: run, 0x02: fault}, when: {byte: 0, value: 1}}
- {name: level, offset: 4, bits: 3-6, type: int, add: 100, when: {byte: 0, value: 1}}
- {name: counter, offset: -4, type: uint32, endian: little, when: {port: 3}}
- {name: odometer, offset: 1, bytes: 3, type: bcd, when: {byte: 0, mask: 0xF0, value: 0x20}}
- {name: serial, offset: 1, length: 3, type: hex, when: {byte: 0, value: 0x30}}
- {name: label, offset: 4, type: ascii, when: {byte: 0, value: 0x30}}
- {name: ratio, offset: 1, type: float32, when: {byte: 0, value: 0x40}}
- {name: precise, offset: 1, type: float64, endian: little, when: {byte: 0, value: 0x41}}
- {name: gap, offset: 1, type: int16, missing: -1, when: {byte: 0, value: 0x42}}
- {name: kind, offset: 0, type: uint8}
- {name: tail, offset: 9, type: uint8, optional: true}
`

func layoutCodecOf(t testing.TB) Codec {
	t.Helper()
	raw, err := layoutFromYAML(layoutYAML)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Compile(raw)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLayout(t *testing.T) {
	c := layoutCodecOf(t)
	for _, tc := range []struct {
		payload string
		port    uint8
		want    string
	}{
		{"01 FFD7 51 92", 1, `temperature=-4.1Cel humidity=40.5% door=1 mode="fault" level=102 kind=1`},
		{"01 00EB 50 7F", 1, `temperature=23.5Cel humidity=40% door=0 mode="7" level=99 kind=1`},
		{"05 00 D2040000", 3, `counter=1234 kind=5`},
		{"2A 123456", 1, `odometer=123456 kind=42`},
		{"30 deadBE 68690042", 1, `serial="deadbe" label="hi" kind=48`},
		{"40 41BC0000", 1, `ratio=23.5 kind=64`},
		{"41 0000000000803740", 1, `precise=23.5 kind=65`},
		{"42 FFFF", 1, `kind=66`},
		{"42 FFFE", 1, `gap=-2 kind=66`},
		{"07 00 00 00 00 00 00 00 00 05", 1, `kind=7 tail=5`},
	} {
		out, err := c.Decode(Uplink{FPort: tc.port, Bytes: unhex(t, tc.payload)})
		if got := shown(out.Values); err != nil || got != tc.want {
			t.Errorf("%s: %s, %v\nwant %s", tc.payload, got, err, tc.want)
		}
	}
	if out, err := c.Decode(Uplink{Bytes: unhex(t, "01FF")}); err == nil || !strings.Contains(err.Error(), `field "temperature" needs bytes 1 to 2 of a payload of 2`) || len(out.Values) != 0 {
		t.Errorf("%v, %v; want the field and the bytes named", out.Values, err)
	}
	if out, err := c.Decode(Uplink{Bytes: unhex(t, "2FABCDEF")}); err != nil || shown(out.Values) != "kind=47" || len(out.Warnings) != 1 {
		t.Errorf("%+v, %v; want a warning about digits that are none", out, err)
	}
}

func TestLayoutErrorsNameFieldAndPosition(t *testing.T) {
	for _, tc := range []struct{ layout, want string }{
		{`[]`, "0 fields, want 1 to 1024"},
		{`{}`, "want a list of fields"},
		{`[{"name":"a","offset":0,"type":"uint8"},{"name":"b","offset":1,"type":"unit8"}]`, `field 2 ("b"): type: "unit8"`},
		{`[{"name":"a","type":"uint8"}]`, `field 1 ("a"): offset: missing`},
		{`[{"name":"a","offset":5000,"type":"uint8"}]`, "offset: 5000"},
		{`[{"name":"a","offset":-1,"type":"uint16"}]`, "leaves fewer than 2 bytes"},
		{`[{"name":"a","offset":0,"type":"uint8","bits":"0-8"}]`, `bits: "0-8", want one bit or a range such as 0-3 of 0 to 7`},
		{`[{"name":"a","offset":0,"type":"uint8","bits":"x"}]`, `bits: "x"`},
		{`[{"name":"a","offset":0,"type":"uint8","scael":2}]`, `field 1: json: unknown field "scael"`},
		{`[{"name":"a b","offset":0,"type":"uint8"}]`, "name"},
		{`[{"name":"a","offset":0,"type":"uint8","endian":"middle"}]`, `endian: "middle", want big or little`},
		{`[{"name":"a","offset":0,"type":"uint","bytes":9}]`, "bytes: 9, want 1 to 8"},
		{`[{"name":"a","offset":0,"type":"uint16","bytes":3}]`, "bytes: 3, but uint16 has 2"},
		{`[{"name":"a","offset":0,"type":"enum"}]`, "values: 0 for type enum"},
		{`[{"name":"a","offset":0,"type":"enum","values":{"300":"x"}}]`, `values: "300", want a number of at most 8 bits`},
		{`[{"name":"a","offset":0,"type":"bool","scale":2}]`, "scale, divisor or add of a bool"},
		{`[{"name":"a","offset":0,"type":"uint8","divisor":0}]`, "divisor: 0"},
		{`[{"name":"a","offset":0,"type":"ascii","bits":"1"}]`, "length alone"},
		{`[{"name":"a","offset":0,"type":"uint8","when":{}}]`, "when: want port"},
		{`[{"name":"a","offset":0,"type":"uint8","when":{"byte":0,"mask":15,"value":16}}]`, "it would never hold"},
		{`[{"name":"a","offset":0,"type":"uint8","when":{"port":256}}]`, "when.port: 256"},
		{`[{"name":"a","offset":0,"type":"uint8"},{"name":"a","offset":1,"type":"uint8"}]`, `field 2 ("a"): field 1 has that name`},
		{`[{"name":"a","offset":0,"type":"bcd","bits":"0-4"}]`, "multiple of 4"},
		{`[{"name":"a","offset":0,"type":"uint8","missing":1.5}]`, "missing: 1.5"},
	} {
		if _, err := compileLayout(json.RawMessage(tc.layout)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v\nwant %s", tc.layout, err, tc.want)
		}
	}
}

// checkResult reports what a result must never be, whatever went in.
func checkResult(t *testing.T, out Result, err error) {
	t.Helper()
	var e *Error
	if err != nil && (!errors.As(err, &e) || len(out.Values) > 0) {
		t.Errorf("%v with %d values, want an *Error and none", err, len(out.Values))
	}
	if len(out.Values) > MaxValues {
		t.Errorf("%d values", len(out.Values))
	}
	names := map[string]bool{}
	for _, v := range out.Values {
		if v.Name == "" || len(v.Name) > MaxName || names[v.Name] || math.IsInf(v.Number, 0) || math.IsNaN(v.Number) != (v.Text != "" || math.IsNaN(v.Number)) || len(v.Text) > MaxText {
			t.Errorf("value %+v", v)
		}
		names[v.Name] = true
	}
}

func FuzzCayenne(f *testing.F) {
	for _, tc := range cayenneGoldens {
		f.Add(unhex(f, tc.payload))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := cayenneCodec{}.Decode(Uplink{Bytes: b})
		checkResult(t, out, err)
	})
}

func FuzzLayout(f *testing.F) {
	raw, err := layoutFromYAML(layoutYAML)
	if err != nil {
		f.Fatal(err)
	}
	var o struct{ Layout json.RawMessage }
	if err := json.Unmarshal(raw, &o); err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(o.Layout), unhex(f, "01FFD75192"), uint8(1))
	f.Add([]byte(`[{"name":"a","offset":-8,"type":"int64","bits":"3-63","endian":"little"}]`), make([]byte, 9), uint8(3))
	f.Fuzz(func(t *testing.T, layout, payload []byte, port uint8) {
		c, err := compileLayout(layout)
		if err != nil {
			return
		}
		var list []json.RawMessage
		if json.Unmarshal(layout, &list) != nil || len(list) != len(c.fields) {
			t.Errorf("%d fields of %d compiled", len(c.fields), len(list))
		}
		if len(payload) > MaxInput {
			return
		}
		out, err := c.Decode(Uplink{FPort: port, Bytes: payload})
		names := map[string]bool{}
		for _, v := range out.Values { // fields with conditions may share a name
			names[v.Name] = true
			if math.IsInf(v.Number, 0) {
				t.Errorf("%+v", v)
			}
		}
		if err != nil && len(out.Values) > 0 || len(names) > len(c.fields) {
			t.Errorf("%v with %d values", err, len(out.Values))
		}
	})
}

// FuzzResult hands scripts' results of any shape that JSON can tell to the conversion.
func FuzzResult(f *testing.F) {
	c := load(f, `function decodeUplink(input){ return JSON.parse(input.variables.result) }
		function normalizeUplink(input){ return {data: input.data} }`)
	for _, s := range []string{
		`{"data":{"a":1}}`, `{"data":{"a":{"b":[1,"x",null,{"c":true}]}},"warnings":["w",1,null,{"message":"m"}]}`, `{"data":[1,2]}`, `{"errors":"bad"}`,
		`{"errors":[[]]}`, `[]`, `null`, `5`, `{"data":{"":1}}`, `{"data":{" ":1," ":2}}`, `{"data":"x"}`, `{"data":{"time":"2026-01-01T00:00:00Z","air":{"pH":1e308}}}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, result string) {
		c.strikes.Store(0)
		c.rests.Store(0)
		out, err := c.Decode(Uplink{Bytes: []byte{1}, Variables: map[string]string{"result": result}})
		checkResult(t, out, err)
		for _, n := range out.Normalized {
			checkResult(t, Result{Values: n.Values}, nil)
		}
	})
}

func layoutFromYAML(doc string) (json.RawMessage, error) {
	var n yaml.Node
	if err := yaml.Unmarshal([]byte(doc), &n); err != nil {
		return nil, err
	}
	return layoutOf(&n)
}

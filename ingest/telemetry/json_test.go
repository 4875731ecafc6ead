package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"panormus/ingest"
)

const received = 1_764_000_000_000

// decode returns what dec makes of payload as lines: the time, then name=value.
func decode(dec ingest.Decoder, device string, payload []byte) ([]string, *ingest.Reject) {
	out := ingest.NewDecoded()
	err := dec(&ingest.Input{Domain: "lighting", Device: device, Payload: payload, Received: received}, out)
	var r *ingest.Reject
	if errors.As(err, &r) {
		return nil, r
	}
	if err != nil {
		panic(err)
	}
	var lines []string
	for i, rec := range out.Records {
		line := "-"
		if rec.OwnTime {
			line = strconv.FormatInt(rec.Time, 10)
		} else if rec.Relative {
			line = "~" + strconv.FormatInt(rec.Time, 10)
		}
		for _, v := range out.Of(i) {
			if math.IsNaN(v.Number) {
				line += fmt.Sprintf(" %s=%q", v.Name, v.Text)
			} else {
				line += fmt.Sprintf(" %s=%v", v.Name, v.Number)
			}
		}
		lines = append(lines, line)
	}
	return lines, nil
}

func TestJSON(t *testing.T) {
	f := func(payload string, want ...string) {
		t.Helper()
		got, reject := decode(JSON, "pole-1", []byte(payload))
		if reject != nil || !slices.Equal(got, want) {
			t.Errorf("%s\n got %q, %v\nwant %q", payload, got, reject, want)
		}
	}
	f(`{"ts":1732311111123,"power_w":83.2,"dimming":0.7,"on":true,"status":"ok","position":{"lat":38.11,"lon":13.36}}`,
		`1732311111123 power_w=83.2 dimming=0.7 on=1 status="ok" position_lat=38.11 position_lon=13.36`)
	f(`{"ts":1732311111,"a":1}`, `1732311111000 a=1`)
	f(`{"a":1,"ts":1732311111.1234}`, `1732311111123 a=1`)
	f(`{"ts":"2024-11-22T21:31:51.123Z","a":1}`, `1732311111123 a=1`)
	f(`{"ts":"2024-11-22T22:31:51.123456+01:00","a":1}`, `1732311111123 a=1`)
	f(`{"ts":null,"a":1}`, `- a=1`)
	f(`{"a":false}`, `- a=0`)
	f(`{"ts":1e300,"a":1}`, `9223372036854775807 a=1`)
	f(`{"ts":-5,"a":1}`, `-5000 a=1`)
	f(`{"a":null,"b":1}`, `- b=1`)
	f(`{"a":null}`, `-`)
	f(`{"a":""}`, `- a=""`)
	f(`{"a":[1,2.5,null,true,"x",{"b":3,"c":[4]}]}`, `- a_0=1 a_1=2.5 a_3=1 a_4="x" a_5_b=3 a_5_c_0=4`)
	f(`{"a":{},"b":[],"c":1}`, `- c=1`)
	f(`{"a":{"ts":5}}`, `- a_ts=5`)
	f(`[{"ts":1732311111123,"a":1},{"ts":1732311112123,"a":2},{"a":3}]`, `1732311111123 a=1`, `1732311112123 a=2`, `- a=3`)
	f(`{"temp \u00b0C":1,"\tx":2}`, `- temp_°C=1 _x=2`)
	f(`{"n\u0061me":"v\u0061lue","s":"\ud800"}`, "- name=\"value\" s=\"\uFFFD\"")
	f(`{"o":{"n\u0061me":"v\u0061lue"}}`, `- o_name="value"`)
	f("\n {\"a\" : 1 }\r\n", `- a=1`)
	f(`{"`+strings.Repeat("m", ingest.MaxName)+`":1}`, `- `+strings.Repeat("m", ingest.MaxName)+`=1`)
}

func members(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"m%d":%d`, i, i)
	}
	return "{" + b.String()[1:] + "}"
}

func TestJSONRejects(t *testing.T) {
	f := func(payload string, reason ingest.Reason, detail string) {
		t.Helper()
		got, reject := decode(JSON, "pole-1", []byte(payload))
		if reject == nil || reject.Reason != reason || !strings.Contains(reject.Detail, detail) {
			t.Errorf("%.100s\n got %q, %v\nwant %s: …%s…", payload, got, reject, reason, detail)
		}
	}
	f(`{`, ingest.ReasonSyntax, "offset 1: found the end, want a member name")
	f(`hello`, ingest.ReasonSyntax, "offset 0: found 'h', want a value")
	f("\x00\x01", ingest.ReasonSyntax, "offset 0")
	f(`{"a":1}{"a":2}`, ingest.ReasonSyntax, "offset 7: found '{', want the end")
	f(`{"a":NaN}`, ingest.ReasonSyntax, "offset 5: found 'N'")
	f(`{"a":1e999}`, ingest.ReasonNumber, "offset 5: found 1e999")
	f("{\"a\":\"\xff\"}", ingest.ReasonUTF8, "offset 6: found byte 0xff, want UTF-8")
	f(`"text"`, ingest.ReasonType, "offset 0: found a string, want an object or an array of objects")
	f(`5`, ingest.ReasonType, "found a number")
	f(`null`, ingest.ReasonType, "found null")
	f(`[1]`, ingest.ReasonType, "offset 1: found a number, want an object with metrics")
	f(`[[{"a":1}]]`, ingest.ReasonType, "found an array")
	f(`{"ts":true,"a":1}`, ingest.ReasonType, "offset 6: found a boolean, want ts as a number or an RFC 3339 string")
	f(`{"ts":{},"a":1}`, ingest.ReasonType, "found an object")
	f(`{"ts":"yesterday","a":1}`, ingest.ReasonTime, `offset 6: ts: found "yesterday", want RFC 3339`)
	f(`{"ts":"","a":1}`, ingest.ReasonTime, `found ""`)
	f(`{"a":1,"a":2}`, ingest.ReasonDuplicate, `metric "a" twice`)
	f(`{"ts":1,"ts":2,"a":1}`, ingest.ReasonDuplicate, `a second ts`)
	f(`{"a_b":1,"a":{"b":2}}`, ingest.ReasonDuplicate, `metric "a_b" twice`)
	f(members(40)[:len(members(40))-1]+`,"m7":1}`, ingest.ReasonDuplicate, `metric "m7" twice`)
	f(`{}`, ingest.ReasonNoMetrics, "no metric in 2 bytes")
	f(`{"ts":1732311111123}`, ingest.ReasonNoMetrics, "want at least one member beside ts")
	f(`[]`, ingest.ReasonNoMetrics, "no metric")
	f(`[{},{}]`, ingest.ReasonNoMetrics, "no metric")
	f(`{"":1}`, ingest.ReasonName, `metric name "" of 0 bytes, want 1 to 128`)
	f(`{"a\u0007":1}`, ingest.ReasonName, `control`)
	f(`{"`+strings.Repeat("m", ingest.MaxName+1)+`":1}`, ingest.ReasonName, `129 bytes, want 1 to 128`)
	f(`{"`+strings.Repeat("m", 100)+`":{"`+strings.Repeat("n", 100)+`":1}}`, ingest.ReasonName, `want 1 to 128`)
	f(members(ingest.MaxMetrics+1), ingest.ReasonTooMany, `metric "m256" is number 257, want at most 256`)
	f(strings.Repeat(`{"a":`, 40)+"1"+strings.Repeat("}", 40), ingest.ReasonDepth, "found nesting of 33, want at most 32")
	f(`{"a":`+strings.Repeat(`[`, 1000), ingest.ReasonDepth, "at most 32")
	if got, reject := decode(JSON, "p", []byte(members(ingest.MaxMetrics))); reject != nil || strings.Count(got[0], "=") != ingest.MaxMetrics {
		t.Errorf("%d metrics: %v, want them all", ingest.MaxMetrics, reject)
	}
}

// Every strict prefix of a valid message is refused.
func TestJSONPrefixes(t *testing.T) {
	whole := []byte(`[{"ts":"2024-11-22T21:31:51Z","a":-1.5e3,"b":{"c":[true,null,"\u00e8"]}},{"d":false}]`)
	if _, reject := decode(JSON, "p", whole); reject != nil {
		t.Fatal(reject)
	}
	for n := range whole {
		if got, reject := decode(JSON, "p", whole[:n]); reject == nil {
			t.Errorf("%s was decoded as %q, want a reject", whole[:n], got)
		}
	}
}

// flat is what the contract says of a message, made of what encoding/json makes of it. It returns
// false where the message is to be rejected.
func flat(data []byte) ([]map[string]any, bool) {
	if !json.Valid(data) || !utf8.Valid(data) {
		return nil, false
	}
	var v any
	if json.Unmarshal(data, &v) != nil { // a number beyond float64
		return nil, false
	}
	var objects []any
	switch x := v.(type) {
	case map[string]any:
		objects = []any{x}
	case []any:
		objects = x
	default:
		return nil, false
	}
	var out []map[string]any
	total, members := 0, 0
	for _, o := range objects {
		m, ok := o.(map[string]any)
		if !ok {
			return nil, false
		}
		rec := map[string]any{}
		for k, v := range m {
			if k == "ts" {
				switch x := v.(type) {
				case nil, float64:
				case string:
					if _, err := ParseTime(x); err != nil {
						return nil, false
					}
				default:
					return nil, false
				}
				continue
			}
			members++
			if !flatInto(rec, k, v) {
				return nil, false
			}
		}
		total += len(rec)
		out = append(out, rec)
	}
	return out, members > 0 && total <= ingest.MaxMetrics
}

func flatInto(rec map[string]any, name string, v any) bool {
	switch x := v.(type) {
	case nil:
		return true
	case map[string]any:
		for k, v := range x {
			if !flatInto(rec, name+"_"+k, v) {
				return false
			}
		}
		return true
	case []any:
		for i, v := range x {
			if !flatInto(rec, name+"_"+strconv.Itoa(i), v) {
				return false
			}
		}
		return true
	case bool:
		v = 0.0
		if x {
			v = 1.0
		}
	}
	if name == "" || len(name) > ingest.MaxName {
		return false
	}
	clean := strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) {
			return '_'
		}
		return r
	}, name)
	if strings.ContainsFunc(clean, unicode.IsControl) {
		return false
	}
	if _, twice := rec[clean]; twice {
		return false
	}
	rec[clean] = v
	return true
}

// repeats reports whether an object of a valid text has two members of one name. encoding/json
// keeps the last; the decoder refuses them where they are one metric, and keeps both where they are
// not, one of them being null or an object.
func repeats(data []byte) bool {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var value func() bool
	value = func() bool {
		tok, err := d.Token()
		if err != nil {
			return true
		}
		delim, _ := tok.(json.Delim)
		twice := false
		seen := map[any]bool{}
		for (delim == '{' || delim == '[') && d.More() {
			if delim == '{' {
				key, err := d.Token()
				twice = twice || err != nil || seen[key]
				seen[key] = true
			}
			twice = value() || twice
		}
		if delim == '{' || delim == '[' {
			_, _ = d.Token()
		}
		return twice
	}
	return value()
}

// agreeJSON holds the decoder to flat. What flat cannot tell are names that come twice, which
// encoding/json merges, and depth.
func agreeJSON(t *testing.T, data []byte) {
	t.Helper()
	if json.Valid(data) && bytes.Count(data, []byte{'['})+bytes.Count(data, []byte{'{'}) < 1000 && repeats(data) {
		return
	}
	out := ingest.NewDecoded()
	err := JSON(&ingest.Input{Domain: "d", Device: "x", Payload: data, Received: received}, out)
	want, ok := flat(data)
	if err != nil {
		var r *ingest.Reject
		if !errors.As(err, &r) {
			t.Fatalf("%q: %v, want a *Reject", data, err)
		}
		if ok && r.Reason != ingest.ReasonDuplicate && r.Reason != ingest.ReasonDepth && r.Reason != ingest.ReasonTooMany {
			t.Fatalf("%q: %v, want %v", data, err, want)
		}
		return
	}
	if !ok {
		t.Fatalf("%q was decoded as %v, want a reject", data, out.Values)
	}
	if len(out.Records) != len(want) {
		t.Fatalf("%q: %d records, want %d", data, len(out.Records), len(want))
	}
	for i := range want {
		got := map[string]any{}
		for _, v := range out.Of(i) {
			if math.IsNaN(v.Number) {
				got[v.Name] = v.Text
			} else {
				got[v.Name] = v.Number
			}
		}
		if !reflect.DeepEqual(got, want[i]) {
			t.Fatalf("%q: record %d: %v, want %v", data, i, got, want[i])
		}
	}
}

var seeds = []string{
	`{"ts":1732311111123,"power_w":83.2,"on":true,"status":"ok","position":{"lat":38.11,"lon":13.36}}`,
	`[{"a":1},{"a":2,"b":[1,{"c":"x"}]}]`, `{"a b":"\u00e8","":1}`, `{"a_b":1,"a":{"b":2}}`, `{"a":1e999}`, `{"ts":"x"}`, `[1]`, `{}`, `{"a":[[[]]]}`,
	`{"a":1,"a":2}`, `{"0":0,"0":{"0":0}}`, "{\"a\":\"\xff\"}", `{"a":{"b":{"c":null}}}`, `{"ts":[],"a":1}`, `{"a":-0}`,
}

func TestJSONAgreesWithEncodingJSON(t *testing.T) {
	for _, s := range seeds {
		agreeJSON(t, []byte(s))
		for i := range s { // and with every byte of it changed
			for _, c := range []byte(`{}[]",:0e-\tn `) {
				b := bytes.Clone([]byte(s))
				b[i] = c
				agreeJSON(t, b)
			}
		}
	}
}

func FuzzJSON(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(agreeJSON)
}

func TestUnixTime(t *testing.T) {
	f := func(v float64, want int64) {
		t.Helper()
		if got := UnixTime(v); got != want {
			t.Errorf("UnixTime(%v) = %d, want %d", v, got, want)
		}
	}
	f(0, 0)
	f(1.5, 1500)
	f(99_999_999_999, 99_999_999_999_000)
	f(100_000_000_000, 100_000_000_000)
	f(-1, -1000)
	f(1e300, math.MaxInt64)
	f(-1e300, math.MinInt64)
}

package jsonscan

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// tree reads one text into what encoding/json makes of it.
func tree(data []byte) (any, error) {
	var s Scanner
	s.Reset(data)
	v, err := value(&s)
	if err != nil {
		return nil, err
	}
	return v, s.End()
}

func value(s *Scanner) (any, error) {
	switch c := s.Peek(); {
	case c == '"':
		b, err := s.String()
		return string(b), err
	case c == '-' || c >= '0' && c <= '9':
		return s.Number()
	case c == 't' || c == 'f':
		return s.Bool()
	case c == 'n':
		return nil, s.Null()
	case c == '[':
		out := []any{}
		if err := s.Open('['); err != nil {
			return nil, err
		}
		for first := true; ; first = false {
			more, err := s.Element(first)
			if err != nil || !more {
				return out, err
			}
			v, err := value(s)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
	case c == '{':
		out := map[string]any{}
		if err := s.Open('{'); err != nil {
			return nil, err
		}
		for first := true; ; first = false {
			name, more, err := s.Member(first)
			if err != nil || !more {
				return out, err
			}
			key := string(name)
			if out[key], err = value(s); err != nil {
				return nil, err
			}
		}
	}
	return nil, s.Unexpected("a value")
}

// agree checks that data is read as encoding/json reads it, or refused where that is the rule.
func agree(t *testing.T, data []byte) {
	t.Helper()
	got, err := tree(data)
	var skipped Scanner
	skipped.Reset(data)
	skipErr := skipped.Skip()
	if skipErr == nil {
		skipErr = skipped.End()
	}
	if (err == nil) != (skipErr == nil) {
		t.Fatalf("%q: read: %v, skipped: %v; want both or neither", data, err, skipErr)
	}
	if err != nil {
		var e *Error
		if !errors.As(err, &e) || e.Offset < 0 || e.Offset > len(data) {
			t.Fatalf("%q: %v, want an *Error with an offset of the text", data, err)
		}
		// Stricter in three things.
		if e.Kind == KindUTF8 && !utf8.Valid(data) || e.Kind == KindDepth && bytes.Count(data, []byte{'['})+bytes.Count(data, []byte{'{'}) > MaxDepth {
			return
		}
		if e.Kind == KindNumber {
			var v any
			if json.Unmarshal(data, &v) == nil {
				t.Fatalf("%q: %v, but encoding/json reads it", data, err)
			}
			return
		}
		if json.Valid(data) {
			t.Fatalf("%q: %v, but it is valid", data, err)
		}
		return
	}
	var want any
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatalf("%q: read as %v, encoding/json: %v", data, got, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%q: %#v, want %#v", data, got, want)
	}
}

var texts = []string{
	`{}`, `[]`, `null`, `true`, `false`, `0`, `-0`, `1`, `-1.5`, `1e3`, `1E+3`, `1.25e-7`, `""`, `"a"`, `"\u0041\n\t\"\\\/\b\f\r"`,
	`{"a":1,"b":[1,2,{"c":null}],"d":"x"}`, ` { "a" : [ ] , "b" : { } } `, `[1,2,3]`, `"è 日本"`, `"\ud83d\ude00"`, `"\ud800"`,
	`"\ud800\u0041"`, `"\udc00x"`, `{"a":1,"a":2}`, `0.1`, `123456789012345678`, `1234567890123456789012`, `9007199254740993`,
	`1.7976931348623157e308`, `5e-324`, `1e-400`, `0.000000000000000000000000000001`, `179769313486231570000`, `1e22`, `1e23`,
	`3.4028234663852886e38`, `0e5`, `0.0`, `-0.0`, `123.456e-2`, `4.35`, `2.2250738585072011e-308`,
	"\"\x7f\"", "[[[[[]]]]]",
}

var broken = []string{
	``, ` `, `{`, `}`, `[`, `]`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `[1,]`, `[,1]`, `[1 2]`, `{"a":1 "b":2}`, `{a:1}`, `{'a':1}`,
	`01`, `-`, `+1`, `.5`, `1.`, `1e`, `1e+`, `0x1`, `1_000`, `NaN`, `Infinity`, `-Infinity`, `nul`, `nulll`, `tru`, `truex`, `True`,
	`"`, `"a`, `"\`, `"\x"`, `"\u12"`, `"\u12g4"`, "\"\n\"", "\"\x00\"", `1 2`, `{} {}`, `"a" "b"`, "\xef\xbb\xbf{}", `{"a":1}x`,
	"// c\n1", `1e999`, `-1e400`, "\"\xff\"", "{\"\xc3\":1}", `"\ud800\u12"`, "\u00a01",
	strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1), strings.Repeat(`{"a":`, MaxDepth+1) + "1" + strings.Repeat("}", MaxDepth+1),
	strings.Repeat("[", 100_000),
}

func TestAgreesWithEncodingJSON(t *testing.T) {
	for _, text := range texts {
		if _, err := tree([]byte(text)); err != nil {
			t.Errorf("%q: %v, want no error", text, err)
		}
		agree(t, []byte(text))
		for n := range text {
			agree(t, []byte(text[:n]))
		}
	}
	for _, text := range broken {
		if _, err := tree([]byte(text)); err == nil {
			t.Errorf("%q was read, want an error", text)
		}
		agree(t, []byte(text))
	}
	deepest := strings.Repeat("[", MaxDepth) + strings.Repeat("]", MaxDepth)
	if _, err := tree([]byte(deepest)); err != nil {
		t.Errorf("nesting of %d: %v, want none", MaxDepth, err)
	}
}

func TestErrorsSayWhere(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := tree([]byte(text))
		if err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	f(`{"a":1,}`, `offset 7: found '}', want a member name`)
	f(`[1,2`, `offset 4: found the end, want ',' or ']'`)
	f(`{"a" 1}`, `offset 5: found '1', want ':'`)
	f(`nul`, `offset 3: found the end, want the literal null`)
	f("\"\xff\"", `offset 1: found byte 0xff, want UTF-8`)
	f(`1e999`, `offset 0: found 1e999, want a number of at most 1.8e308`)
	f(`{"è":x}`, `offset 6: found 'x', want a value`)
}

// A member's name outlives the string that is its value, escapes or not.
func TestNameOutlivesValue(t *testing.T) {
	var s Scanner
	s.Reset([]byte(`{"n\u0041me":"v\u0041lue"}`))
	if err := s.Open('{'); err != nil {
		t.Fatal(err)
	}
	name, _, err := s.Member(true)
	if err != nil {
		t.Fatal(err)
	}
	v, err := s.String()
	if err != nil || string(name) != "nAme" || string(v) != "vAlue" {
		t.Errorf("%q %q %v, want nAme and vAlue", name, v, err)
	}
}

func TestNumbersRoundAsParseFloat(t *testing.T) {
	for i := range 200_000 {
		m := uint64(i)*0x9e3779b97f4a7c15 ^ uint64(i)<<7
		text := strconv.FormatUint(m>>(i%60), 10)
		if p := i % (len(text) + 1); i%3 == 0 && p > 0 && p < len(text) {
			text = text[:p] + "." + text[p:]
		}
		if i%4 == 1 {
			text += "e" + strconv.Itoa(i%700-350)
		}
		want, werr := strconv.ParseFloat(text, 64)
		var s Scanner
		s.Reset([]byte(text))
		got, err := s.Number()
		if (werr != nil) != (err != nil) || err == nil && math.Float64bits(got) != math.Float64bits(want) {
			t.Fatalf("%s: %v %v, want %v %v", text, got, err, want, werr)
		}
	}
}

func FuzzScanner(f *testing.F) {
	for _, text := range append(texts, broken[:len(broken)-1]...) {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) { agree(t, data) })
}

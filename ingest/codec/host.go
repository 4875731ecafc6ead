package codec

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dop251/goja"
)

// maxConsole is how many lines of console output of a call are kept.
const maxConsole = 20

// A host is what a runtime offers beside the language: console, atob and btoa, TextDecoder and
// TextEncoder, and of Node's Buffer what published codecs use.
type host struct {
	g     *guard
	lines []string // of the console, bounded
}

// install fills console and makes the globals; buffers are those of the prelude.
func (h *host) install(console *goja.Object, buffers bool) {
	rt := h.g.rt
	log := h.g.fn(func(c goja.FunctionCall) goja.Value {
		if len(h.lines) >= maxConsole {
			return goja.Undefined()
		}
		var b strings.Builder
		for i, a := range c.Arguments {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(h.g.text(a).String())
			if b.Len() > maxMessage {
				break
			}
		}
		h.lines = append(h.lines, clip(b.String()))
		return goja.Undefined()
	})
	for _, name := range []string{"log", "info", "debug", "warn", "error", "trace", "dir", "table"} {
		must(console.Set(name, log))
	}
	set := func(name string, v any) {
		must(rt.GlobalObject().DefineDataProperty(name, rt.ToValue(v), goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE))
	}
	set("btoa", h.g.fn(func(c goja.FunctionCall) goja.Value {
		b, ok := latin1(h.g.text(c.Argument(0)))
		if !ok {
			panic(rt.NewTypeError("btoa: a character beyond U+00FF"))
		}
		return rt.ToValue(base64.StdEncoding.EncodeToString(b))
	}))
	set("atob", h.g.fn(func(c goja.FunctionCall) goja.Value {
		b, err := fromBase64(h.g.text(c.Argument(0)).String())
		if err != nil {
			panic(rt.NewTypeError("atob: not base64"))
		}
		return fromLatin1(b)
	}))
	if !buffers {
		return
	}
	bytes := rt.NewObject() // of the prelude
	native := func(name string, f func(goja.FunctionCall) goja.Value) { must(bytes.Set(name, h.g.fn(f))) }
	native("encode", func(c goja.FunctionCall) goja.Value {
		b, err := encodeText(h.g.text(c.Argument(0)), c.Argument(1).String())
		if err != nil {
			panic(rt.NewTypeError(err.Error()))
		}
		h.g.charge(int64(len(b)))
		return rt.ToValue(rt.NewArrayBuffer(b))
	})
	native("decode", func(c goja.FunctionCall) goja.Value {
		return decodeText(h.g.bytes(c.Argument(0)), c.Argument(1).String())
	})
	v, err := rt.RunProgram(prelude())
	must(err)
	f, _ := goja.AssertFunction(v)
	_, err = f(goja.Undefined(), bytes)
	must(err)
}

// bytes returns the bytes of a buffer, view or array-like.
func (g *guard) bytes(v goja.Value) []byte {
	o, ok := v.(*goja.Object)
	if !ok {
		return nil
	}
	switch o.ExportType() {
	case bufferType:
		return o.Export().(goja.ArrayBuffer).Bytes()
	case reflect.TypeFor[[]byte]():
		return o.Export().([]byte)
	}
	out := make([]byte, g.length(o))
	for i := range out {
		if e := o.Get(fmt.Sprint(i)); e != nil {
			out[i] = byte(toUint32(e))
		}
	}
	return out
}

func latin1(s goja.String) ([]byte, bool) {
	b := make([]byte, s.Length())
	for i := range b {
		c := s.CharAt(i)
		if c > 0xff {
			return nil, false
		}
		b[i] = byte(c)
	}
	return b, true
}

func fromLatin1(b []byte) goja.Value {
	u := make([]uint16, len(b))
	for i, c := range b {
		u[i] = uint16(c)
	}
	return goja.StringFromUTF16(u)
}

func fromBase64(s string) ([]byte, error) {
	s = strings.NewReplacer("-", "+", "_", "/", "\n", "", "\r", "", " ", "", "\t", "").Replace(s)
	return base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
}

func encodeText(s goja.String, encoding string) ([]byte, error) {
	switch strings.ToLower(encoding) {
	case "undefined", "utf8", "utf-8":
		return []byte(strings.ToValidUTF8(s.String(), "\uFFFD")), nil
	case "hex":
		t := s.String()
		for n := len(t) / 2; ; n-- { // Node stops at the first character that is none
			if b, err := hex.DecodeString(t[:2*n]); err == nil {
				return b, nil
			}
		}
	case "base64", "base64url":
		return fromBase64(s.String())
	case "ascii", "latin1", "binary":
		b := make([]byte, s.Length())
		for i := range b {
			b[i] = byte(s.CharAt(i))
		}
		return b, nil
	case "utf16le", "utf-16le", "ucs2", "ucs-2":
		b := make([]byte, 0, 2*s.Length())
		for i := range s.Length() {
			b = append(b, byte(s.CharAt(i)), byte(s.CharAt(i)>>8))
		}
		return b, nil
	}
	return nil, fmt.Errorf("unknown encoding: %.20s", encoding)
}

func decodeText(b []byte, encoding string) goja.Value {
	switch strings.ToLower(encoding) {
	case "hex":
		return goja.StringFromUTF16(utf16.Encode([]rune(hex.EncodeToString(b))))
	case "base64":
		return goja.StringFromUTF16(utf16.Encode([]rune(base64.StdEncoding.EncodeToString(b))))
	case "base64url":
		return goja.StringFromUTF16(utf16.Encode([]rune(base64.RawURLEncoding.EncodeToString(b))))
	case "latin1", "binary", "iso-8859-1", "windows-1252":
		return fromLatin1(b)
	case "ascii", "us-ascii":
		u := make([]byte, len(b))
		for i, c := range b {
			u[i] = c & 0x7f
		}
		return fromLatin1(u)
	case "utf16le", "utf-16le", "ucs2", "ucs-2":
		u := make([]uint16, len(b)/2)
		for i := range u {
			u[i] = uint16(b[2*i]) | uint16(b[2*i+1])<<8
		}
		return goja.StringFromUTF16(u)
	}
	runes := make([]rune, 0, len(b))
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		runes, b = append(runes, r), b[n:]
	}
	return goja.StringFromUTF16(utf16.Encode(runes))
}

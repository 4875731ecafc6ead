package codec

import (
	"math"
	"math/bits"
	"strconv"
	"unicode/utf8"
)

// A layoutCodec reads fixed fields: the compiled form of {"layout":[…]}.
type layoutCodec struct {
	fields []field
}

// kind is how a field's bits are read.
type kind uint8

const (
	kindUint kind = iota
	kindInt
	kindFloat32
	kindFloat64
	kindBCD
	kindBool
	kindEnum
	kindASCII
	kindHex
)

// A field is one compiled field. Bits are counted from the least significant of the bytes read.
type field struct {
	name      string
	unit      string
	kind      kind
	little    bool
	optional  bool
	scaled    bool
	bytes     uint8 // read, at most 8 but for text
	shift     uint8
	at        int // byte, from the start, or where negative from the end
	length    int // of text in bytes
	mask      uint64
	sign      uint64 // of a signed field: its top bit
	scale     float64
	divisor   float64
	offset    float64
	enum      map[uint64]string
	missing   uint64 // a raw value that means: not measured
	noMissing bool
	when      []condition
}

// A condition is what must hold for a field to be read.
type condition struct {
	port  bool // the port, not a byte, is compared
	at    int
	mask  uint8
	value uint8
}

func (c *condition) holds(port uint8, p []byte) bool {
	if c.port {
		return port == c.value
	}
	return c.at < len(p) && p[c.at]&c.mask == c.value
}

// Kind is "layout".
func (c *layoutCodec) Kind() string { return "layout" }

// Decode reads one uplink.
func (c *layoutCodec) Decode(in Uplink) (Result, error) {
	var out Result
	err := c.DecodeInto(&in, &out)
	return out, err
}

// DecodeInto reads one uplink into out.
func (c *layoutCodec) DecodeInto(in *Uplink, out *Result) error {
	out.Reset()
	p := in.Bytes
	if len(p) > MaxInput {
		return errorf(ReasonInput, "payload of %d bytes, want at most %d", len(p), MaxInput)
	}
fields:
	for i := range c.fields {
		f := &c.fields[i]
		for j := range f.when {
			if !f.when[j].holds(in.FPort, p) {
				continue fields
			}
		}
		at := f.at
		if at < 0 {
			at += len(p)
		}
		need := int(f.bytes)
		if f.kind == kindASCII || f.kind == kindHex {
			if need = f.length; need == 0 {
				need = max(len(p)-at, 0)
			}
		}
		if at < 0 || at+need > len(p) {
			if f.optional {
				continue
			}
			out.Values = out.Values[:0]
			return errorf(ReasonSyntax, "field %q needs bytes %d to %d of a payload of %d", f.name, at, at+need-1, len(p))
		}
		f.read(p[at:at+need], out)
	}
	if len(out.Values) == 0 {
		return errorf(ReasonSyntax, "no field of the layout is for port %d and a payload of %d bytes", in.FPort, len(p))
	}
	return nil
}

// read appends the field's value from its bytes.
func (f *field) read(b []byte, out *Result) {
	if f.kind >= kindASCII {
		f.text(b, out)
		return
	}
	raw := loadBits(b, f.little)
	raw = raw >> f.shift & f.mask
	if !f.noMissing && raw == f.missing {
		return
	}
	var v float64
	switch f.kind {
	case kindUint:
		v = float64(raw)
	case kindInt:
		v = float64(int64((raw ^ f.sign) - f.sign))
	case kindFloat32:
		v = float64(math.Float32frombits(uint32(raw)))
	case kindFloat64:
		v = math.Float64frombits(raw)
	case kindBool:
		if raw != 0 {
			v = 1
		}
	case kindBCD:
		unit := 1.0
		for d := raw; d != 0; d >>= 4 {
			if d&15 > 9 {
				out.warnf("%s is no BCD number: %x", f.name, raw)
				return
			}
			v += float64(d&15) * unit
			unit *= 10
		}
	case kindEnum:
		text, ok := f.enum[raw]
		if !ok {
			text = strconv.FormatUint(raw, 10)
		}
		out.Values = append(out.Values, Value{Name: f.name, Number: math.NaN(), Text: text, Unit: f.unit})
		return
	}
	if math.IsNaN(v) || math.IsInf(v, 0) {
		out.warnf("%s is %v and was left out", f.name, v)
		return
	}
	if f.scaled {
		v = v*f.scale/f.divisor + f.offset
	}
	out.Values = append(out.Values, Value{Name: f.name, Number: v, Unit: f.unit})
}

// loadBits reads up to 8 bytes.
func loadBits(b []byte, little bool) uint64 {
	var raw uint64
	for _, c := range b {
		raw = raw<<8 | uint64(c)
	}
	if little {
		raw = bits.ReverseBytes64(raw) >> (64 - 8*uint(len(b)))
	}
	return raw
}

func (f *field) text(b []byte, out *Result) {
	const hex = "0123456789abcdef"
	var s []byte
	if f.kind == kindHex {
		s = make([]byte, 0, 2*len(b))
		for _, c := range b {
			s = append(s, hex[c>>4], hex[c&15])
		}
	} else {
		s = make([]byte, 0, len(b))
		for _, c := range b {
			if c == 0 {
				break
			}
			if c >= utf8.RuneSelf || c < ' ' {
				c = '?'
			}
			s = append(s, c)
		}
	}
	if len(s) > 0 {
		out.Values = append(out.Values, Value{Name: f.name, Number: math.NaN(), Text: string(s), Unit: f.unit})
	}
}

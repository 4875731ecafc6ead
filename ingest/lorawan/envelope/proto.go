package envelope

import (
	"math"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"panormus/ingest/lorawan/frame"
)

// maxDepth is how deep protobuf messages may nest.
const maxDepth = 32

// A field is one field of a protobuf message.
type field struct {
	num  protowire.Number
	kind protowire.Type
	u    uint64 // varint, or the bits of a fixed-width number
	b    []byte // length-delimited
}

// protoFields calls each with every field of the message b, but for groups, which are skipped.
func protoFields(what string, b []byte, each func(f field) error) error {
	for len(b) > 0 {
		num, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return notProto(what, protowire.ParseError(n))
		}
		b = b[n:]
		f := field{num: num, kind: kind}
		switch kind {
		case protowire.VarintType:
			f.u, n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(b)
			f.u = uint64(v)
		case protowire.Fixed64Type:
			f.u, n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			f.b, n = protowire.ConsumeBytes(b)
		case protowire.StartGroupType:
			if _, n = protowire.ConsumeGroup(num, b); n >= 0 {
				b = b[n:]
				continue
			}
		default:
			return frame.Rejectf(frame.ReasonSyntax, "%s: not protobuf: field %d has wire type %d", what, num, kind)
		}
		if n < 0 {
			return notProto(what, protowire.ParseError(n))
		}
		b = b[n:]
		if err := each(f); err != nil {
			return err
		}
	}
	return nil
}

func notProto(what string, err error) error {
	return frame.Rejectf(frame.ReasonSyntax, "%s: not protobuf: %v", what, err)
}

func (f field) wrong(what, want string) error {
	return frame.Rejectf(frame.ReasonType, "%s: protobuf field %d of wire type %d, want %s", what, f.num, f.kind, want)
}

// message is the bytes of a message that is the field's value.
func (f field) message(what string, each func(f field) error) error {
	if f.kind != protowire.BytesType {
		return f.wrong(what, "a message")
	}
	return protoFields(what, f.b, each)
}

func (f field) bytes(what string, most int, dst *[]byte) error {
	switch {
	case f.kind != protowire.BytesType:
		return f.wrong(what, "bytes")
	case len(f.b) > most:
		return frame.Rejectf(frame.ReasonLong, "%s of %d bytes, want at most %d", what, len(f.b), most)
	}
	*dst = f.b
	return nil
}

func (f field) text(what string, dst *[]byte) error {
	switch {
	case f.kind != protowire.BytesType:
		return f.wrong(what, "a string")
	case !utf8.Valid(f.b):
		return frame.Rejectf(frame.ReasonUTF8, "%s: %q, want UTF-8", what, clip(f.b))
	}
	*dst = f.b
	return nil
}

func (f field) uint(what string, most uint64) (uint64, error) {
	switch {
	case f.kind != protowire.VarintType:
		return 0, f.wrong(what, "a number")
	case f.u > most:
		return 0, frame.Rejectf(frame.ReasonNumber, "%s: %d, want at most %d", what, f.u, most)
	}
	return f.u, nil
}

func (f field) uint32(what string, dst *uint32) error {
	v, err := f.uint(what, math.MaxUint32)
	*dst = uint32(v)
	return err
}

func (f field) bool(what string, dst *bool) error {
	if f.kind != protowire.VarintType {
		return f.wrong(what, "true or false")
	}
	*dst = f.u != 0
	return nil
}

// int reads an int32 or int64.
func (f field) int(what string, least, most int64) (int64, error) {
	if f.kind != protowire.VarintType {
		return 0, f.wrong(what, "a number")
	}
	if v := int64(f.u); v >= least && v <= most {
		return v, nil
	}
	return 0, frame.Rejectf(frame.ReasonNumber, "%s: %d, want %d to %d", what, int64(f.u), least, most)
}

// float reads a float or double that is a number.
func (f field) float(what string, dst *float64) error {
	switch f.kind {
	case protowire.Fixed32Type:
		*dst = float64(math.Float32frombits(uint32(f.u)))
	case protowire.Fixed64Type:
		*dst = math.Float64frombits(f.u)
	default:
		return f.wrong(what, "a floating-point number")
	}
	if math.IsNaN(*dst) || math.IsInf(*dst, 0) {
		return frame.Rejectf(frame.ReasonNumber, "%s: %v, want a number", what, *dst)
	}
	return nil
}

// time reads a google.protobuf.Timestamp as Unix ms.
func (f field) time(what string, dst *int64) error {
	var seconds, nanos int64
	err := f.message(what, func(f field) (err error) {
		switch f.num {
		case 1:
			seconds, err = f.int(what, -62_135_596_800, 253_402_300_799) // years 1 to 9999
		case 2:
			nanos, err = f.int(what, 0, 999_999_999)
		}
		return err
	})
	*dst = seconds*1000 + nanos/1_000_000
	return err
}

func (f field) eui(what string, dst *frame.EUI) error {
	var b []byte
	if err := f.text(what, &b); err != nil || len(b) == 0 {
		return err
	}
	var err error
	if *dst, err = frame.ParseEUI(b); err != nil {
		return frame.Rejectf(frame.ReasonIdentity, "%s: %q, want 16 hexadecimal digits", what, clip(b))
	}
	return nil
}

// structJSON appends a google.protobuf.Struct as a JSON object.
func structJSON(out, b []byte, depth int) ([]byte, error) {
	if depth > maxDepth {
		return out, frame.Rejectf(frame.ReasonDepth, "object nested beyond %d", maxDepth)
	}
	out = append(out, '{')
	first := true
	err := protoFields("object", b, func(f field) error {
		if f.num != 1 {
			return nil
		}
		var key, value []byte
		err := f.message("object", func(f field) error {
			switch f.num {
			case 1:
				return f.text("object: name", &key)
			case 2:
				return f.bytes("object: value", MaxMessage, &value)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if !first {
			out = append(out, ',')
		}
		first = false
		out = append(appendString(out, key), ':')
		out, err = valueJSON(out, value, depth)
		return err
	})
	return append(out, '}'), err
}

// valueJSON appends a google.protobuf.Value.
func valueJSON(out, b []byte, depth int) ([]byte, error) {
	from := len(out)
	err := protoFields("object", b, func(f field) (err error) {
		out = out[:from] // of a oneof the last counts
		switch f.num {
		case 2:
			var v float64
			if err = f.float("object", &v); err == nil {
				out = strconv.AppendFloat(out, v, 'g', -1, 64)
			}
		case 3:
			var v []byte
			if err = f.text("object", &v); err == nil {
				out = appendString(out, v)
			}
		case 4:
			var v bool
			if err = f.bool("object", &v); err == nil {
				out = strconv.AppendBool(out, v)
			}
		case 5:
			var v []byte
			if err = f.bytes("object", MaxMessage, &v); err == nil {
				out, err = structJSON(out, v, depth+1)
			}
		case 6:
			var v []byte
			if err = f.bytes("object", MaxMessage, &v); err == nil {
				out, err = listJSON(out, v, depth+1)
			}
		}
		return err
	})
	if len(out) == from {
		out = append(out, "null"...)
	}
	return out, err
}

// listJSON appends a google.protobuf.ListValue.
func listJSON(out, b []byte, depth int) ([]byte, error) {
	if depth > maxDepth {
		return out, frame.Rejectf(frame.ReasonDepth, "object nested beyond %d", maxDepth)
	}
	out = append(out, '[')
	first := true
	err := protoFields("object", b, func(f field) error {
		if f.num != 1 {
			return nil
		}
		var value []byte
		if err := f.bytes("object", MaxMessage, &value); err != nil {
			return err
		}
		if !first {
			out = append(out, ',')
		}
		first = false
		var err error
		out, err = valueJSON(out, value, depth)
		return err
	})
	return append(out, ']'), err
}

// appendString appends valid UTF-8 as a JSON string.
func appendString(out, s []byte) []byte {
	out = append(out, '"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			out = append(out, '\\', c)
		case c < ' ':
			out = append(out, '\\', 'u', '0', '0', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		default:
			out = append(out, c)
		}
	}
	return append(out, '"')
}

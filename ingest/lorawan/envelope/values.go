package envelope

import (
	"encoding/base64"
	"math"
	"strconv"
	"time"

	"panormus/ingest/lorawan/frame"
)

// The methods here read one JSON value each, what naming it in errors. A null is as good as
// nothing: it reads as the zero value.

func (p *Parser) wrong(what, want string) error {
	at := p.s.Offset()
	return frame.Rejectf(frame.ReasonType, "%s at offset %d: want %s", what, at, want)
}

// null skips a null.
func (p *Parser) null() (bool, error) {
	if p.s.Peek() != 'n' {
		return false, nil
	}
	return true, p.s.Null()
}

// object calls member with the name of each member, which it must read or skip.
func (p *Parser) object(what string, member func(name string) error) error {
	if null, err := p.null(); null {
		return err
	}
	if p.s.Peek() != '{' {
		return p.wrong(what, "an object")
	}
	if err := p.s.Open('{'); err != nil {
		return err
	}
	for first := true; ; first = false {
		name, more, err := p.s.Member(first)
		if err != nil || !more {
			return err
		}
		if err := member(str(name)); err != nil {
			return err
		}
	}
}

// array calls element before each element, which it must read or skip.
func (p *Parser) array(what string, element func() error) error {
	if null, err := p.null(); null {
		return err
	}
	if p.s.Peek() != '[' {
		return p.wrong(what, "an array")
	}
	if err := p.s.Open('['); err != nil {
		return err
	}
	for first := true; ; first = false {
		more, err := p.s.Element(first)
		if err != nil || !more {
			return err
		}
		if err := element(); err != nil {
			return err
		}
	}
}

// whole reads the object that is the whole message.
func (p *Parser) whole(what string, member func(name string) error) error {
	if p.s.Peek() != '{' {
		return rejectJSON(p.s.Unexpected("an object"))
	}
	if err := p.object(what, member); err != nil {
		return rejectJSON(err)
	}
	if err := p.s.End(); err != nil {
		return rejectJSON(err)
	}
	return nil
}

// text reads a string, valid until the string after next is read.
func (p *Parser) text(what string) ([]byte, error) {
	if null, err := p.null(); null {
		return nil, err
	}
	if p.s.Peek() != '"' {
		return nil, p.wrong(what, "a string")
	}
	return p.s.String()
}

// kept reads a string into dst, valid as long as the message.
func (p *Parser) kept(what string, dst *[]byte) error {
	b, err := p.text(what)
	if err == nil {
		*dst = p.keep(b)
	}
	return err
}

// raw reads any value as it is written.
func (p *Parser) raw(dst *[]byte) error {
	if null, err := p.null(); null {
		return err
	}
	p.s.Peek()
	from := p.s.Offset()
	if err := p.s.Skip(); err != nil {
		return err
	}
	*dst = p.s.Since(from)
	return nil
}

// rawObject reads an object as it is written.
func (p *Parser) rawObject(what string, dst *[]byte) error {
	if c := p.s.Peek(); c != '{' && c != 'n' {
		return p.wrong(what, "an object")
	}
	return p.raw(dst)
}

func (p *Parser) bool(what string, dst *bool) error {
	if null, err := p.null(); null {
		return err
	}
	if c := p.s.Peek(); c != 't' && c != 'f' {
		return p.wrong(what, "true or false")
	}
	var err error
	*dst, err = p.s.Bool()
	return err
}

// number reads a number, also as the string that protobuf's JSON makes of 64-bit ones and of NaN.
func (p *Parser) number(what string, dst *float64) error {
	if null, err := p.null(); null {
		return err
	}
	if p.s.Peek() == '"' {
		b, err := p.s.String()
		if err != nil {
			return err
		}
		v, err := strconv.ParseFloat(str(b), 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return frame.Rejectf(frame.ReasonNumber, "%s: %q, want a number", what, clip(b))
		}
		*dst = v
		return nil
	}
	if c := p.s.Peek(); c != '-' && (c < '0' || c > '9') {
		return p.wrong(what, "a number")
	}
	v, err := p.s.Number()
	if err == nil {
		*dst = v
	}
	return err
}

// integer reads a whole number from least to most, exactly, also as a string.
func (p *Parser) integer(what string, least, most int64) (int64, error) {
	if null, err := p.null(); null {
		return 0, err
	}
	var digits []byte
	switch c := p.s.Peek(); {
	case c == '"':
		b, err := p.s.String()
		if err != nil {
			return 0, err
		}
		digits = b
	case c == '-' || c >= '0' && c <= '9':
		from := p.s.Offset()
		if _, err := p.s.Number(); err != nil {
			return 0, err
		}
		digits = p.s.Since(from)
	default:
		return 0, p.wrong(what, "a number")
	}
	v, ok := parseInt(digits)
	if !ok {
		// 868.1e6 and 3.0 are whole numbers too.
		f, err := strconv.ParseFloat(str(digits), 64)
		if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			return 0, frame.Rejectf(frame.ReasonNumber, "%s: %q, want a whole number", what, clip(digits))
		}
		v = int64(f)
	}
	if v < least || v > most {
		return 0, frame.Rejectf(frame.ReasonNumber, "%s: %d, want %d to %d", what, v, least, most)
	}
	return v, nil
}

// parseInt reads what fits 64 bits and is written without fraction or exponent.
func parseInt(b []byte) (int64, bool) {
	if n := len(b); n > 0 && n <= 18 {
		negative := b[0] == '-'
		if negative {
			b = b[1:]
		}
		var v int64
		for _, c := range b {
			if c < '0' || c > '9' {
				return 0, false
			}
			v = v*10 + int64(c-'0')
		}
		if negative {
			v = -v
		}
		return v, len(b) > 0
	}
	v, err := strconv.ParseInt(str(b), 10, 64)
	return v, err == nil
}

func (p *Parser) uint32(what string, dst *uint32) error {
	v, err := p.integer(what, 0, math.MaxUint32)
	*dst = uint32(v)
	return err
}

func (p *Parser) uint64(what string, dst *uint64) error {
	v, err := p.integer(what, 0, math.MaxInt64)
	*dst = uint64(v)
	return err
}

func (p *Parser) port(what string, dst *uint8) error {
	v, err := p.integer(what, 0, 255)
	*dst = uint8(v)
	return err
}

// bytes reads base64 of either alphabet, padded or not, of at most most bytes.
func (p *Parser) bytes(what string, most int, dst *[]byte) error {
	b, err := p.text(what)
	if err != nil || len(b) == 0 {
		return err
	}
	for len(b) > 0 && b[len(b)-1] == '=' {
		b = b[:len(b)-1]
	}
	if n := len(b) * 3 / 4; n > most {
		return frame.Rejectf(frame.ReasonLong, "%s of %d bytes, want at most %d", what, n, most)
	}
	coding := base64.RawStdEncoding
	for _, c := range b {
		if c == '-' || c == '_' {
			coding = base64.RawURLEncoding
			break
		}
	}
	from := len(p.buf)
	p.buf, err = coding.AppendDecode(p.buf, b)
	if err != nil {
		p.buf = p.buf[:from]
		return frame.Rejectf(frame.ReasonSyntax, "%s: not base64: %v", what, err)
	}
	*dst = p.buf[from:len(p.buf):len(p.buf)]
	return nil
}

// hex reads hexadecimal digits, of at most most bytes.
func (p *Parser) hex(what string, most int, dst *[]byte) error {
	b, err := p.text(what)
	if err != nil {
		return err
	}
	if len(b)%2 != 0 || len(b)/2 > most {
		return frame.Rejectf(frame.ReasonSyntax, "%s of %d characters, want pairs of hexadecimal digits of at most %d bytes", what, len(b), most)
	}
	from := len(p.buf)
	for i := 0; i < len(b); i += 2 {
		v, err := strconv.ParseUint(str(b[i:i+2]), 16, 8)
		if err != nil {
			return frame.Rejectf(frame.ReasonSyntax, "%s: %q, want hexadecimal digits", what, clip(b))
		}
		p.buf = append(p.buf, byte(v))
	}
	*dst = p.buf[from:len(p.buf):len(p.buf)]
	return nil
}

func (p *Parser) eui(what string, dst *frame.EUI) error {
	b, err := p.text(what)
	if err != nil || len(b) == 0 {
		return err
	}
	if *dst, err = frame.ParseEUI(b); err != nil {
		return frame.Rejectf(frame.ReasonIdentity, "%s: %q, want 16 hexadecimal digits", what, clip(b))
	}
	return nil
}

func (p *Parser) devAddr(what string, m *Message) error {
	b, err := p.text(what)
	if err != nil || len(b) == 0 {
		return err
	}
	if m.DevAddr, err = frame.ParseDevAddr(b); err != nil {
		return frame.Rejectf(frame.ReasonIdentity, "%s: %q, want 8 hexadecimal digits", what, clip(b))
	}
	m.HasDevAddr = true
	return nil
}

// time reads an RFC 3339 time as Unix ms.
func (p *Parser) time(what string, dst *int64) error {
	b, err := p.text(what)
	if err != nil || len(b) == 0 {
		return err
	}
	ms, ok := parseTime(b)
	if !ok {
		return frame.Rejectf(frame.ReasonTime, "%s: %q, want an RFC 3339 time", what, clip(b))
	}
	*dst = ms
	return nil
}

// parseTime reads an RFC 3339 time without allocating.
func parseTime(b []byte) (ms int64, ok bool) {
	const zulu = len("2006-01-02T15:04:05")
	if len(b) <= zulu || b[4] != '-' || b[7] != '-' || (b[10] != 'T' && b[10] != 't' && b[10] != ' ') || b[13] != ':' || b[16] != ':' {
		return 0, false
	}
	ok = true
	num := func(from, to, least, most int) int {
		v := 0
		for _, c := range b[from:to] {
			ok = ok && c >= '0' && c <= '9'
			v = v*10 + int(c-'0')
		}
		ok = ok && v >= least && v <= most
		return v
	}
	year, month, day := num(0, 4, 0, 9999), num(5, 7, 1, 12), num(8, 10, 1, 31)
	hour, minute, second := num(11, 13, 0, 23), num(14, 16, 0, 59), num(17, 19, 0, 60)
	if !ok {
		return 0, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, 0, time.UTC)
	if t.Day() != day {
		return 0, false
	}
	ms = t.UnixMilli()
	b = b[zulu:]
	if b[0] == '.' {
		weight, n := int64(100), 1
		for ; n < len(b) && b[n] >= '0' && b[n] <= '9'; n++ {
			ms += int64(b[n]-'0') * weight
			weight /= 10
		}
		if n == 1 || n == len(b) {
			return 0, false
		}
		b = b[n:]
	}
	if len(b) == 1 && (b[0] == 'Z' || b[0] == 'z') {
		return ms, true
	}
	if len(b) != 6 || b[3] != ':' || b[0] != '+' && b[0] != '-' {
		return 0, false
	}
	offset := int64(num(1, 3, 0, 23)*60+num(4, 6, 0, 59)) * 60_000
	if b[0] == '-' {
		offset = -offset
	}
	return ms - offset, ok
}

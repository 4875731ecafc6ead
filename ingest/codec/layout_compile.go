package codec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// layoutField is one field as an operator writes it. Offset counts bytes from 0, from the end where
// negative; bits names bits of them, "4" or "0-3", 0 the least significant.
type layoutField struct {
	Name    string            `json:"name"`
	Offset  *int              `json:"offset"`
	Bytes   int               `json:"bytes"`  // of numbers, where the type does not say: uint, int, bcd, enum, bool
	Bits    string            `json:"bits"`   // of the bytes; all without
	Endian  string            `json:"endian"` // "big", the default, or "little"
	Type    string            `json:"type"`   // uint, uint8…uint64, int, int8…int64, float32, float64, bcd, bool, enum, ascii, hex
	Length  int               `json:"length"` // of text in bytes; to the end without
	Scale   *float64          `json:"scale"`  // value = raw * scale / divisor + add
	Divisor *float64          `json:"divisor"`
	Add     float64           `json:"add"`
	Unit    string            `json:"unit"` // UCUM
	Values  map[string]string `json:"values"`
	Missing *json.Number      `json:"missing"`  // raw value that means not measured
	Opt     bool              `json:"optional"` // left out of a payload too short for it
	When    *layoutWhen       `json:"when"`
}

// layoutWhen is the condition of a field: all that is given must hold.
type layoutWhen struct {
	Port *int `json:"port"`
	// A byte of the payload, masked, has a value.
	Byte  *int `json:"byte"`
	Mask  *int `json:"mask"`
	Value *int `json:"value"`
}

// maxFields bounds a layout; one payload still yields MaxValues at most.
const maxFields = 1024

// compileLayout compiles the list of fields. An error names the field, by number and name.
func compileLayout(raw json.RawMessage) (*layoutCodec, error) {
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil {
		return nil, fmt.Errorf("layout: %w, want a list of fields", err)
	}
	if len(list) == 0 || len(list) > maxFields {
		return nil, fmt.Errorf("layout: %d fields, want 1 to %d", len(list), maxFields)
	}
	c := &layoutCodec{}
	unconditional := map[string]int{}
	for i, raw := range list {
		var l layoutField
		d := json.NewDecoder(bytes.NewReader(raw))
		d.DisallowUnknownFields()
		if err := d.Decode(&l); err != nil {
			return nil, fmt.Errorf("layout: field %d: %w", i+1, err)
		}
		f, err := l.compile()
		if err != nil {
			return nil, fmt.Errorf("layout: field %d (%q): %w", i+1, l.Name, err)
		}
		if len(f.when) == 0 {
			if had := unconditional[f.name]; had != 0 {
				return nil, fmt.Errorf("layout: field %d (%q): field %d has that name, and neither has a condition", i+1, l.Name, had)
			}
			unconditional[f.name] = i + 1
		}
		c.fields = append(c.fields, *f)
	}
	if len(unconditional) > MaxValues {
		return nil, fmt.Errorf("layout: %d fields without a condition, want at most %d", len(unconditional), MaxValues)
	}
	return c, nil
}

// sized are the types that say how many bytes they take.
var sized = map[string]struct {
	kind  kind
	bytes int
}{
	"uint8": {kindUint, 1}, "uint16": {kindUint, 2}, "uint24": {kindUint, 3}, "uint32": {kindUint, 4}, "uint64": {kindUint, 8},
	"int8": {kindInt, 1}, "int16": {kindInt, 2}, "int24": {kindInt, 3}, "int32": {kindInt, 4}, "int64": {kindInt, 8},
	"float32": {kindFloat32, 4}, "float": {kindFloat32, 4}, "float64": {kindFloat64, 8}, "double": {kindFloat64, 8},
	"uint": {kindUint, 0}, "int": {kindInt, 0}, "bcd": {kindBCD, 0}, "bool": {kindBool, 0}, "enum": {kindEnum, 0},
	"ascii": {kindASCII, 0}, "hex": {kindHex, 0},
}

func (l *layoutField) compile() (*field, error) {
	if len(l.Name) == 0 || len(l.Name) > MaxName || metricName([]byte(l.Name)) != l.Name {
		return nil, fmt.Errorf("name of %d bytes, want 1 to %d without spaces", len(l.Name), MaxName)
	}
	t, ok := sized[l.Type]
	if !ok {
		return nil, fmt.Errorf("type: %q, want uint, int, float, bcd, bool, enum, ascii or hex, numbers with their bits if any", l.Type)
	}
	if l.Offset == nil {
		return nil, fmt.Errorf("offset: missing, want the first byte, 0 to %d, or from the end below 0", MaxInput-1)
	}
	if *l.Offset >= MaxInput || *l.Offset < -MaxInput {
		return nil, fmt.Errorf("offset: %d, want %d to %d", *l.Offset, -MaxInput, MaxInput-1)
	}
	f := &field{name: l.Name, unit: l.Unit, kind: t.kind, at: *l.Offset, optional: l.Opt, noMissing: true, scale: 1, divisor: 1, offset: l.Add}
	switch l.Endian {
	case "", "big":
	case "little":
		f.little = true
	default:
		return nil, fmt.Errorf("endian: %q, want big or little", l.Endian)
	}
	if t.kind >= kindASCII {
		return l.compileText(f)
	}
	if l.Length != 0 {
		return nil, fmt.Errorf("length: %d, which is for ascii and hex", l.Length)
	}
	size := t.bytes
	if size == 0 {
		size = l.Bytes
		if size == 0 {
			size = 1
		}
	} else if l.Bytes != 0 && l.Bytes != size {
		return nil, fmt.Errorf("bytes: %d, but %s has %d", l.Bytes, l.Type, size)
	}
	if size < 1 || size > 8 {
		return nil, fmt.Errorf("bytes: %d, want 1 to 8", size)
	}
	if f.at < 0 && f.at+size > 0 {
		return nil, fmt.Errorf("offset: %d from the end leaves fewer than %d bytes", f.at, size)
	}
	f.bytes = uint8(size)
	low, high, err := l.bits(size)
	if err != nil {
		return nil, err
	}
	if (t.kind == kindFloat32 || t.kind == kindFloat64) && l.Bits != "" {
		return nil, fmt.Errorf("bits: %q of a float", l.Bits)
	}
	width := high - low + 1
	f.shift, f.mask = uint8(low), math.MaxUint64>>(64-width)
	if t.kind == kindInt {
		f.sign = 1 << (width - 1)
	}
	if t.kind == kindBCD && width%4 != 0 {
		return nil, fmt.Errorf("bits: %d of a BCD number, want a multiple of 4", width)
	}
	return f, l.compileValue(f)
}

// compileValue reads what is done with the raw number.
func (l *layoutField) compileValue(f *field) error {
	scaled := l.Scale != nil || l.Divisor != nil || l.Add != 0
	if scaled && (f.kind == kindBool || f.kind == kindEnum) {
		return fmt.Errorf("scale, divisor or add of a %s", l.Type)
	}
	f.scaled = scaled
	for _, s := range []struct {
		name string
		from *float64
		to   *float64
	}{{"scale", l.Scale, &f.scale}, {"divisor", l.Divisor, &f.divisor}} {
		if s.from == nil {
			continue
		}
		if *s.from == 0 || math.IsNaN(*s.from) || math.IsInf(*s.from, 0) {
			return fmt.Errorf("%s: %v, want a number other than 0", s.name, *s.from)
		}
		*s.to = *s.from
	}
	// raw/10 is the double nearest to what was meant, raw*0.1 often is not.
	if whole := math.Round(1 / f.scale); f.divisor == 1 && math.Abs(f.scale) < 1 && 1/whole == f.scale {
		f.scale, f.divisor = 1, whole
	}
	if (f.kind == kindEnum) != (len(l.Values) > 0) {
		return fmt.Errorf("values: %d for type %s, want some for an enum and none for another", len(l.Values), l.Type)
	}
	for k, v := range l.Values {
		n, err := strconv.ParseUint(k, 0, 64)
		if err != nil || n > f.mask {
			return fmt.Errorf("values: %q, want a number of at most %d bits", k, bits.Len64(f.mask))
		}
		if f.enum == nil {
			f.enum = map[uint64]string{}
		}
		if _, twice := f.enum[n]; twice {
			return fmt.Errorf("values: %q comes twice", k)
		}
		f.enum[n] = v
	}
	if l.Missing != nil {
		n, err := strconv.ParseInt(l.Missing.String(), 10, 64)
		u := uint64(n)
		if err != nil {
			if u, err = strconv.ParseUint(l.Missing.String(), 10, 64); err != nil {
				return fmt.Errorf("missing: %s, want a whole number", l.Missing)
			}
		}
		f.missing, f.noMissing = u&f.mask, false
	}
	return l.compileWhen(f)
}

func (l *layoutField) compileText(f *field) (*field, error) {
	if l.Bits != "" || l.Bytes != 0 || l.Scale != nil || l.Divisor != nil || l.Add != 0 || l.Missing != nil || len(l.Values) > 0 {
		return nil, fmt.Errorf("bits, bytes, scale, divisor, add, missing or values of a %s, want length alone", l.Type)
	}
	if l.Length < 0 || l.Length > MaxInput/2 {
		return nil, fmt.Errorf("length: %d, want 1 to %d, or none for the rest", l.Length, MaxInput/2)
	}
	f.length = l.Length
	return f, l.compileWhen(f)
}

func (l *layoutField) compileWhen(f *field) error {
	w := l.When
	if w == nil {
		return nil
	}
	octet := func(name string, v int) error {
		if v < 0 || v > 255 {
			return fmt.Errorf("when.%s: %d, want 0 to 255", name, v)
		}
		return nil
	}
	if w.Port != nil {
		if err := octet("port", *w.Port); err != nil {
			return err
		}
		f.when = append(f.when, condition{port: true, value: uint8(*w.Port)})
	}
	if w.Byte == nil {
		if w.Mask != nil || w.Value != nil || w.Port == nil {
			return fmt.Errorf("when: want port, or byte and value, or both")
		}
		return nil
	}
	if *w.Byte < 0 || *w.Byte >= MaxInput || w.Value == nil {
		return fmt.Errorf("when: byte %d, want 0 to %d and a value", *w.Byte, MaxInput-1)
	}
	mask := 255
	if w.Mask != nil {
		mask = *w.Mask
	}
	if err := octet("mask", mask); err != nil {
		return err
	}
	if err := octet("value", *w.Value); err != nil {
		return err
	}
	if *w.Value&^mask != 0 {
		return fmt.Errorf("when: value %d has bits outside of mask %d, it would never hold", *w.Value, mask)
	}
	f.when = append(f.when, condition{at: *w.Byte, mask: uint8(mask), value: uint8(*w.Value)})
	return nil
}

// bits reads "4" or "0-3" of a field of size bytes.
func (l *layoutField) bits(size int) (low, high int, err error) {
	if l.Bits == "" {
		return 0, 8*size - 1, nil
	}
	a, b, ranged := strings.Cut(l.Bits, "-")
	low, err = strconv.Atoi(strings.TrimSpace(a))
	if high = low; ranged && err == nil {
		high, err = strconv.Atoi(strings.TrimSpace(b))
	}
	if err != nil || low < 0 || high < low || high >= 8*size {
		return 0, 0, fmt.Errorf("bits: %q, want one bit or a range such as 0-3 of 0 to %d", l.Bits, 8*size-1)
	}
	return low, high, nil
}

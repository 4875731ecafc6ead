package codec

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// A cayenneType is one data type of Cayenne LPP: its size in bytes and its fields in order. The
// numbers are those of IPSO smart objects less 3200.
type cayenneType struct {
	size   int
	fields []cayenneField
}

type cayenneField struct {
	name     string
	unit     string
	bytes    int
	signed   bool
	divisor  float64
	channels [256]string // name_channel, made once
}

func cayenne(fields ...cayenneField) *cayenneType {
	t := &cayenneType{fields: fields}
	for i := range t.fields {
		f := &t.fields[i]
		t.size += f.bytes
		for c := range f.channels {
			f.channels[c] = f.name + "_" + strconv.Itoa(c)
		}
	}
	return t
}

// cayenneTypes is indexed by the type byte.
var cayenneTypes = func() (types [256]*cayenneType) {
	vector := func(name, unit string, divisor float64) []cayenneField {
		return []cayenneField{
			{name: name + "_x", unit: unit, bytes: 2, signed: true, divisor: divisor},
			{name: name + "_y", unit: unit, bytes: 2, signed: true, divisor: divisor},
			{name: name + "_z", unit: unit, bytes: 2, signed: true, divisor: divisor},
		}
	}
	one := func(name, unit string, bytes int, signed bool, divisor float64) *cayenneType {
		return cayenne(cayenneField{name: name, unit: unit, bytes: bytes, signed: signed, divisor: divisor})
	}
	types[0] = one("digital_in", "", 1, false, 1)
	types[1] = one("digital_out", "", 1, false, 1)
	types[2] = one("analog_in", "", 2, true, 100)
	types[3] = one("analog_out", "", 2, true, 100)
	types[100] = one("generic", "", 4, false, 1)
	types[101] = one("luminosity", "lx", 2, false, 1)
	types[102] = one("presence", "", 1, false, 1)
	types[103] = one("temperature", "Cel", 2, true, 10)
	types[104] = one("relative_humidity", "%", 1, false, 2)
	types[113] = cayenne(vector("accelerometer", "[g]", 1000)...)
	types[115] = one("barometric_pressure", "hPa", 2, false, 10)
	types[116] = one("voltage", "V", 2, false, 100)
	types[117] = one("current", "A", 2, false, 1000)
	types[118] = one("frequency", "Hz", 4, false, 1)
	types[120] = one("percentage", "%", 1, false, 1)
	types[121] = one("altitude", "m", 2, true, 1)
	types[125] = one("concentration", "[ppm]", 2, false, 1)
	types[128] = one("power", "W", 2, false, 1)
	types[130] = one("distance", "m", 4, false, 1000)
	types[131] = one("energy", "kWh", 4, false, 1000)
	types[132] = one("direction", "deg", 2, false, 1)
	types[133] = one("unix_time", "s", 4, false, 1)
	types[134] = cayenne(vector("gyrometer", "deg/s", 100)...)
	types[135] = cayenne(
		cayenneField{name: "colour_r", bytes: 1, divisor: 1},
		cayenneField{name: "colour_g", bytes: 1, divisor: 1},
		cayenneField{name: "colour_b", bytes: 1, divisor: 1})
	types[136] = cayenne(
		cayenneField{name: "gps_latitude", unit: "deg", bytes: 3, signed: true, divisor: 10000},
		cayenneField{name: "gps_longitude", unit: "deg", bytes: 3, signed: true, divisor: 10000},
		cayenneField{name: "gps_altitude", unit: "m", bytes: 3, signed: true, divisor: 100})
	types[142] = one("switch", "", 1, false, 1)
	return types
}()

// A cayenneCodec decodes Cayenne LPP: triples of channel, type and value. A value is called after
// its type and channel (temperature_1); one of several fields has the field before the channel
// (accelerometer_x_3, gps_latitude_1).
type cayenneCodec struct{}

func (cayenneCodec) Kind() string { return "cayenne_lpp" }

func (c cayenneCodec) Decode(in Uplink) (Result, error) {
	var out Result
	err := c.DecodeInto(&in, &out)
	return out, err
}

func (cayenneCodec) DecodeInto(in *Uplink, out *Result) error {
	out.Reset()
	p := in.Bytes
	if len(p) > MaxInput {
		return errorf(ReasonInput, "payload of %d bytes, want at most %d", len(p), MaxInput)
	}
	if len(p) == 0 {
		return errorf(ReasonSyntax, "empty payload")
	}
	for at := 0; at < len(p); {
		if len(p)-at < 2 {
			return cayenneError(out, at, "1 byte left, want a channel and a type")
		}
		t := cayenneTypes[p[at+1]]
		if t == nil {
			return cayenneError(out, at, fmt.Sprintf("type %d of channel %d is none of Cayenne LPP", p[at+1], p[at]))
		}
		channel, value := p[at], p[at+2:]
		if len(value) < t.size {
			return cayenneError(out, at, fmt.Sprintf("%d bytes left for %s, want %d", len(value), t.fields[0].name, t.size))
		}
		if cayenneTwice(out.Values, t.fields[0].channels[channel]) {
			out.warnf("%s comes twice, the first counts", t.fields[0].channels[channel])
		} else if len(out.Values)+len(t.fields) > MaxValues {
			return cayenneError(out, at, fmt.Sprintf("more than %d values", MaxValues))
		} else {
			for i := range t.fields {
				f := &t.fields[i]
				out.Values = append(out.Values, Value{Name: f.channels[channel], Number: cayenneNumber(value, f), Unit: f.unit})
				value = value[f.bytes:]
			}
		}
		at += 2 + t.size
	}
	return nil
}

func cayenneNumber(b []byte, f *cayenneField) float64 {
	var n int64
	switch f.bytes {
	case 1:
		n = int64(b[0])
	case 2:
		u := binary.BigEndian.Uint16(b)
		if n = int64(u); f.signed {
			n = int64(int16(u))
		}
	case 3:
		n = int64(int32(uint32(b[0])<<24|uint32(b[1])<<16|uint32(b[2])<<8) >> 8)
	default:
		n = int64(binary.BigEndian.Uint32(b))
	}
	if f.divisor == 1 {
		return float64(n)
	}
	return float64(n) / f.divisor
}

// cayenneTwice reports whether name is there; names are the same memory where they are the same.
func cayenneTwice(vs []Value, name string) bool {
	for i := range vs {
		if vs[i].Name == name {
			return true
		}
	}
	return false
}

func cayenneError(out *Result, at int, detail string) error {
	out.Values = out.Values[:0]
	return errorf(ReasonSyntax, "byte %d: %s", at, detail)
}

package telemetry

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"panormus/ingest"
)

// senmlCBOR decodes packs: strict about what JSON is strict about too.
var senmlCBOR = func() cbor.DecMode {
	m, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, MaxNestedLevels: ingest.MaxDepth,
		MaxArrayElements: 4096, MaxMapPairs: 256, UTF8: cbor.UTF8RejectInvalid, IntDec: cbor.IntDecConvertSignedOrFail,
		TagsMd: cbor.TagsAllowed, IndefLength: cbor.IndefLengthAllowed, BignumTag: cbor.BignumTagForbidden, TimeTag: cbor.DecTagIgnored,
	}.DecMode()
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return m
}()

// senmlNumbers are the labels of CBOR (RFC 8428, table 4).
var senmlNumbers = map[int64]string{
	-1: "bver", -2: "bn", -3: "bt", -4: "bu", -5: "bv", -6: "bs",
	0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb", 5: "s", 6: "t", 7: "ut", 8: "vd",
}

// SenMLCBOR decodes a SenML pack in CBOR (RFC 8428, section 6) as SenML does one in JSON.
func SenMLCBOR(in *ingest.Input, out *ingest.Decoded) error {
	var records []map[any]any
	if err := senmlCBOR.Unmarshal(in.Payload, &records); err != nil {
		return rejectCBOR(err)
	}
	p := pack{in: in, out: out}
	for i, m := range records {
		r, err := senmlRecordCBOR(i+1, m)
		if err != nil {
			return err
		}
		if err := p.add(&r); err != nil {
			return err
		}
	}
	return p.end()
}

func rejectCBOR(err error) error {
	reason := ingest.ReasonSyntax
	var dup *cbor.DupMapKeyError
	var nested *cbor.MaxNestedLevelError
	var wrong *cbor.UnmarshalTypeError
	switch {
	case errors.As(err, &dup):
		reason = ingest.ReasonDuplicate
	case errors.As(err, &nested):
		reason = ingest.ReasonDepth
	case errors.As(err, &wrong):
		reason = ingest.ReasonType
	case strings.Contains(err.Error(), "UTF-8"):
		reason = ingest.ReasonUTF8
	}
	return ingest.Rejectf(reason, "%v; want a SenML pack in CBOR", err)
}

func senmlRecordCBOR(n int, m map[any]any) (r senmlRecord, err error) {
	for key, v := range m {
		label := ""
		switch k := key.(type) {
		case int64:
			label = senmlNumbers[k]
		case string:
			label = k
		default:
			return r, ingest.Rejectf(ingest.ReasonSenML, "record %d: a label of type %T, want an integer or a string", n, key)
		}
		f, known := senmlLabels[label]
		if !known {
			if err := unknownLabel(label); err != nil {
				return r, err
			}
			continue
		}
		if r.has&f != 0 { // as a number and as a string
			return r, ingest.Rejectf(ingest.ReasonDuplicate, "record %d: a second %q, want one", n, label)
		}
		r.has |= f
		wrong := func(want string) error {
			return ingest.Rejectf(ingest.ReasonType, "record %d: %s: found %s, want %s", n, label, cborKind(v), want)
		}
		if p := r.number(f); p != nil {
			x, ok := cborNumber(v)
			if !ok {
				return r, wrong("a number")
			}
			if math.IsNaN(x) || math.IsInf(x, 0) {
				return r, ingest.Rejectf(ingest.ReasonNumber, "record %d: %s: %v, want a finite number", n, label, x)
			}
			*p = x
		} else if p := r.str(f); p != nil {
			switch x := v.(type) {
			case string:
				*p = x
			case []byte:
				if f != hasData {
					return r, wrong("a text string")
				}
				*p = base64.RawURLEncoding.EncodeToString(x)
			default:
				return r, wrong("a string")
			}
		} else {
			b, ok := v.(bool)
			if !ok {
				return r, wrong("a boolean")
			}
			r.boolean = b
		}
	}
	return r, nil
}

// cborNumber is v as a float64: an integer, a float or a decimal fraction (RFC 8949, tag 4).
func cborNumber(v any) (float64, bool) {
	switch x := v.(type) {
	case int64:
		return float64(x), true
	case uint64:
		return float64(x), true
	case float64:
		return x, true
	case float32:
		return float64(x), true
	case cbor.Tag:
		parts, ok := x.Content.([]any)
		if !ok || len(parts) != 2 || x.Number != 4 {
			return 0, false
		}
		exponent, ok := parts[0].(int64)
		mantissa, ok2 := parts[1].(int64)
		if !ok || !ok2 {
			return 0, false
		}
		// Read as text, so that it is rounded once; what is out of range comes back infinite.
		f, _ := strconv.ParseFloat(strconv.FormatInt(mantissa, 10)+"e"+strconv.FormatInt(exponent, 10), 64)
		return f, true
	}
	return 0, false
}

func cborKind(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "a boolean"
	case string:
		return "a text string"
	case []byte:
		return "a byte string"
	case []any:
		return "an array"
	case map[any]any:
		return "a map"
	case int64, uint64, float32, float64:
		return "a number"
	}
	return fmt.Sprintf("a %T", v)
}

package live

import (
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// Stamp is an instant as the outside sees it: RFC 3339 in UTC with milliseconds and Z.
type Stamp struct{ time.Time }

const stampLayout = "2006-01-02T15:04:05.000Z"

// StampOf is the instant of a Unix time in milliseconds.
func StampOf(ms int64) Stamp { return Stamp{time.UnixMilli(ms).UTC()} }

// MarshalJSON writes the instant as a string.
func (s Stamp) MarshalJSON() ([]byte, error) {
	b := append(make([]byte, 0, len(stampLayout)+2), '"')
	return append(s.UTC().AppendFormat(b, stampLayout), '"'), nil
}

// MarshalText writes the instant.
func (s Stamp) MarshalText() ([]byte, error) { return s.UTC().AppendFormat(nil, stampLayout), nil }

// UnmarshalText reads any RFC 3339 instant.
func (s *Stamp) UnmarshalText(b []byte) error {
	t, err := time.Parse(time.RFC3339Nano, string(b))
	if err != nil {
		return fmt.Errorf("time %q, want RFC 3339 such as 2026-01-31T12:00:00.000Z", b)
	}
	s.Time = t.UTC()
	return nil
}

func appendStamp(dst []byte, ms int64) []byte {
	return append(time.UnixMilli(ms).UTC().AppendFormat(append(dst, '"'), stampLayout), '"')
}

// appendNumber writes v as encoding/json does; what JSON has no number for becomes null.
func appendNumber(dst []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(dst, "null"...)
	}
	format := byte('f')
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, v, format, -1, 64)
}

const hexDigits = "0123456789abcdef"

// AppendString writes s as a JSON string; what is no UTF-8 becomes U+FFFD.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(s[i:])
			if r != utf8.RuneError || size > 1 {
				i += size
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < 0x20:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		default:
			dst = append(dst, "\ufffd"...)
		}
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

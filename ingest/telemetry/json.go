// Package telemetry decodes what devices publish of themselves: JSON objects and SenML.
package telemetry

import (
	"math"
	"strconv"
	"strings"
	"time"

	"panormus/ingest"
	"panormus/ingest/jsonscan"
)

// JSON decodes one JSON object, or an array of them, as a record each. The member ts is the time:
// Unix milliseconds or seconds, or RFC 3339. Every other member is a metric, see Flatten.
func JSON(in *ingest.Input, out *ingest.Decoded) error {
	s := &out.Scan
	s.Reset(in.Payload)
	members := 0
	switch s.Peek() {
	case '{':
		n, err := record(s, out)
		if err != nil {
			return err
		}
		members += n
	case '[':
		if err := s.Open('['); err != nil {
			return ingest.RejectJSON(err)
		}
		for first := true; ; first = false {
			more, err := s.Element(first)
			if err != nil {
				return ingest.RejectJSON(err)
			}
			if !more {
				break
			}
			if s.Peek() != '{' {
				return wrongType(s, "an object with metrics")
			}
			n, err := record(s, out)
			if err != nil {
				return err
			}
			members += n
		}
	default:
		return wrongType(s, "an object or an array of objects")
	}
	if err := s.End(); err != nil {
		return ingest.RejectJSON(err)
	}
	if members == 0 {
		return ingest.Rejectf(ingest.ReasonNoMetrics, "no metric in %d bytes, want at least one member beside ts", len(in.Payload))
	}
	return nil
}

// wrongType is the reject of what follows in s being valid but useless, or of its not being valid.
func wrongType(s *jsonscan.Scanner, want string) error {
	c, at := s.Peek(), s.Offset()
	if err := s.Skip(); err != nil {
		return ingest.RejectJSON(err)
	}
	return ingest.Rejectf(ingest.ReasonType, "offset %d: found %s, want %s", at, kindOf(c), want)
}

func kindOf(c byte) string {
	switch c {
	case '{':
		return "an object"
	case '[':
		return "an array"
	case '"':
		return "a string"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// record reads one object and returns how many members it has beside ts.
func record(s *jsonscan.Scanner, out *ingest.Decoded) (members int, err error) {
	if err := s.Open('{'); err != nil {
		return 0, ingest.RejectJSON(err)
	}
	rec := out.Begin()
	timed := false
	for first := true; ; first = false {
		name, more, err := s.Member(first)
		if err != nil {
			return 0, ingest.RejectJSON(err)
		}
		if !more {
			return members, nil
		}
		if string(name) == "ts" {
			if timed {
				return 0, ingest.Rejectf(ingest.ReasonDuplicate, "offset %d: a second ts, want one", s.Offset())
			}
			timed = true
			if rec.Time, rec.OwnTime, err = timestamp(s); err != nil {
				return 0, err
			}
			continue
		}
		members++
		if err := Flatten(s, name, out); err != nil {
			return 0, err
		}
	}
}

// timestamp reads the value of ts; own is false where it is null.
func timestamp(s *jsonscan.Scanner) (ms int64, own bool, err error) {
	switch c := s.Peek(); {
	case c == 'n':
		if err := s.Null(); err != nil {
			return 0, false, ingest.RejectJSON(err)
		}
		return 0, false, nil
	case c == '"':
		at := s.Offset()
		v, err := s.String()
		if err != nil {
			return 0, false, ingest.RejectJSON(err)
		}
		ms, err := ParseTime(string(v))
		if err != nil {
			return 0, false, ingest.Rejectf(ingest.ReasonTime, "offset %d: ts: %v", at, err)
		}
		return ms, true, nil
	case c == '-' || c >= '0' && c <= '9':
		v, err := s.Number()
		if err != nil {
			return 0, false, ingest.RejectJSON(err)
		}
		return UnixTime(v), true, nil
	}
	return 0, false, wrongType(s, "ts as a number or an RFC 3339 string")
}

// secondsBelow is the number from which on a Unix time is in milliseconds: below it they would be
// before March 1973, as seconds they are good to the year 5138.
const secondsBelow = 1e11

// UnixTime is the time in Unix ms that v is, in seconds or milliseconds. What no int64 holds is as
// far away as it can be.
func UnixTime(v float64) int64 {
	if math.Abs(v) < secondsBelow {
		v *= 1000
	}
	v = math.Round(v)
	switch {
	case v >= math.MaxInt64:
		return math.MaxInt64
	case v <= math.MinInt64:
		return math.MinInt64
	}
	return int64(v)
}

// ParseTime reads RFC 3339 and returns Unix ms.
func ParseTime(v string) (int64, error) {
	t, err := time.Parse(time.RFC3339, v)
	if err != nil && strings.ContainsAny(v, "tz") {
		t, err = time.Parse(time.RFC3339, strings.ToUpper(v)) // RFC 3339 takes T and Z as small letters, too
	}
	if err != nil {
		return 0, &timeError{v[:min(len(v), 64)]}
	}
	return t.UnixMilli(), nil
}

type timeError struct{ found string }

func (e *timeError) Error() string {
	return "found " + strconv.Quote(e.found) + ", want RFC 3339 such as \"2026-11-23T09:00:00.123Z\""
}

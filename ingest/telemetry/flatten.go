package telemetry

import (
	"math"
	"strconv"

	"panormus/ingest"
	"panormus/ingest/jsonscan"
)

// Flatten reads the value that follows in s as the metric called name and adds it to the record
// begun last: a number is a value, a boolean 0 or 1, a string a text; the members of an object are
// metrics called name_member, the elements of an array name_0, name_1…; null is skipped.
func Flatten(s *jsonscan.Scanner, name []byte, out *ingest.Decoded) error {
	switch c := s.Peek(); {
	case c == '-' || c >= '0' && c <= '9':
		v, err := s.Number()
		if err != nil {
			return ingest.RejectJSON(err)
		}
		return out.Add(name, v, nil)
	case c == '"':
		v, err := s.String()
		if err != nil {
			return ingest.RejectJSON(err)
		}
		return out.Add(name, math.NaN(), v)
	case c == 't' || c == 'f':
		b, err := s.Bool()
		if err != nil {
			return ingest.RejectJSON(err)
		}
		v := 0.0
		if b {
			v = 1
		}
		return out.Add(name, v, nil)
	case c == 'n':
		if err := s.Null(); err != nil {
			return ingest.RejectJSON(err)
		}
		return nil
	case c == '{' || c == '[':
		out.Path = append(out.Path[:0], name...)
		return flatten(s, out, c)
	}
	return ingest.RejectJSON(s.Unexpected("a value"))
}

// maxPath bounds the name being built: one byte past what a name may have, so that the name that
// is too long is still refused as such.
const maxPath = ingest.MaxName + 1

// flatten reads an object or array whose name is out.Path.
func flatten(s *jsonscan.Scanner, out *ingest.Decoded, open byte) error {
	if err := s.Open(open); err != nil {
		return ingest.RejectJSON(err)
	}
	parent := len(out.Path)
	for i := 0; ; i++ {
		var member []byte
		var more bool
		var err error
		if open == '{' {
			member, more, err = s.Member(i == 0)
		} else {
			more, err = s.Element(i == 0)
		}
		if err != nil {
			return ingest.RejectJSON(err)
		}
		if !more {
			out.Path = out.Path[:parent]
			return nil
		}
		out.Path = append(out.Path[:parent], '_')
		if open == '{' {
			out.Path = append(out.Path, member...)
		} else {
			out.Path = strconv.AppendInt(out.Path, int64(i), 10)
		}
		if len(out.Path) > maxPath {
			out.Path = out.Path[:maxPath]
		}
		if c := s.Peek(); c == '{' || c == '[' {
			err = flatten(s, out, c)
		} else {
			err = Flatten(s, out.Path, out)
		}
		if err != nil {
			return err
		}
	}
}

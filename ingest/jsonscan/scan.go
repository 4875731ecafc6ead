// Package jsonscan reads strict JSON (RFC 8259) from memory, value by value, without allocating.
//
// It accepts what encoding/json accepts but for three things that telemetry must not contain:
// text that is not UTF-8, numbers beyond 64-bit floats, and nesting beyond MaxDepth.
package jsonscan

import (
	"fmt"
	"strconv"
	"unicode/utf8"
	"unsafe"
)

// MaxDepth is how deep objects and arrays may nest.
const MaxDepth = 32

// Kind tells apart what callers treat apart.
type Kind uint8

// The kinds of errors.
const (
	KindSyntax Kind = iota
	KindUTF8
	KindDepth
	KindNumber
)

// An Error says what was found, what was expected and at which byte, from 0.
type Error struct {
	Kind   Kind
	Offset int
	Found  string
	Want   string
}

func (e *Error) Error() string {
	return fmt.Sprintf("offset %d: found %s, want %s", e.Offset, e.Found, e.Want)
}

// A Scanner reads one text from front to back. The zero value reads nothing: call Reset.
type Scanner struct {
	data  []byte
	pos   int
	depth int
	// Unescaped strings, in turns, so that a member's name outlives the string that is its value.
	bufs [2][]byte
	turn int
}

// Reset begins to read data, which is not changed.
func (s *Scanner) Reset(data []byte) {
	s.data, s.pos, s.depth = data, 0, 0
}

// Offset is the byte that is read next.
func (s *Scanner) Offset() int { return s.pos }

// Since returns the bytes read since offset from.
func (s *Scanner) Since(from int) []byte { return s.data[from:s.pos] }

// Peek skips white space and returns the next byte, 0 at the end. It tells the kind of value that
// follows: { [ " t f n - or a digit; anything else is no value.
func (s *Scanner) Peek() byte {
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		if c > ' ' || (c != ' ' && c != '\n' && c != '\t' && c != '\r') {
			return c
		}
		s.pos++
	}
	return 0
}

func (s *Scanner) errorf(kind Kind, at int, found, want string) error {
	return &Error{Kind: kind, Offset: at, Found: found, Want: want}
}

// Unexpected is the error of finding what comes next instead of want.
func (s *Scanner) Unexpected(want string) error {
	s.Peek()
	return s.errorf(KindSyntax, s.pos, s.found(), want)
}

func (s *Scanner) found() string {
	if s.pos >= len(s.data) {
		return "the end"
	}
	if r, n := utf8.DecodeRune(s.data[s.pos:]); r != utf8.RuneError || n > 1 {
		return strconv.QuoteRune(r)
	}
	return fmt.Sprintf("byte 0x%02x", s.data[s.pos])
}

// End checks that nothing but white space is left.
func (s *Scanner) End() error {
	if s.Peek(); s.pos < len(s.data) {
		return s.Unexpected("the end")
	}
	return nil
}

// Open enters an object or array, the byte open being what Peek returned.
func (s *Scanner) Open(open byte) error {
	if s.Peek() != open {
		return s.Unexpected(strconv.QuoteRune(rune(open)))
	}
	if s.depth++; s.depth > MaxDepth {
		return s.errorf(KindDepth, s.pos, fmt.Sprintf("nesting of %d", s.depth), fmt.Sprintf("at most %d", MaxDepth))
	}
	s.pos++
	return nil
}

// Element goes to the next element of the array that was opened, first being whether it is the
// first, and reports whether there is one; if not, the array is closed.
func (s *Scanner) Element(first bool) (bool, error) {
	c := s.Peek()
	switch {
	case c == ']':
		s.pos++
		s.depth--
		return false, nil
	case first:
		return true, nil
	case c == ',':
		s.pos++
		if s.Peek() == ']' {
			return false, s.Unexpected("a value")
		}
		return true, nil
	}
	return false, s.Unexpected("',' or ']'")
}

// Member goes to the value of the next member of the object that was opened and returns its name,
// which holds until the string after next is read; more is false when the object ended.
func (s *Scanner) Member(first bool) (name []byte, more bool, err error) {
	c := s.Peek()
	switch {
	case c == '}':
		s.pos++
		s.depth--
		return nil, false, nil
	case first:
	case c == ',':
		s.pos++
		c = s.Peek()
	default:
		return nil, false, s.Unexpected("',' or '}'")
	}
	if c != '"' {
		return nil, false, s.Unexpected("a member name")
	}
	if name, err = s.String(); err != nil {
		return nil, false, err
	}
	if s.Peek() != ':' {
		return nil, false, s.Unexpected("':'")
	}
	s.pos++
	return name, true, nil
}

// Bool reads true or false.
func (s *Scanner) Bool() (bool, error) {
	if s.Peek() == 't' {
		return true, s.literal("true")
	}
	return false, s.literal("false")
}

// Null reads null.
func (s *Scanner) Null() error { return s.literal("null") }

func (s *Scanner) literal(want string) error {
	s.Peek()
	if rest := s.data[s.pos:]; len(rest) < len(want) || string(rest[:len(want)]) != want {
		for i := 0; i < len(want) && s.pos < len(s.data) && s.data[s.pos] == want[i]; i++ {
			s.pos++
		}
		return s.errorf(KindSyntax, s.pos, s.found(), "the literal "+want)
	}
	s.pos += len(want)
	return nil
}

// Skip reads a value of any kind and checks it.
func (s *Scanner) Skip() error {
	switch c := s.Peek(); {
	case c == '"':
		_, err := s.String()
		return err
	case c == '-' || c >= '0' && c <= '9':
		_, err := s.Number()
		return err
	case c == 't' || c == 'f':
		_, err := s.Bool()
		return err
	case c == 'n':
		return s.Null()
	case c == '[':
		if err := s.Open('['); err != nil {
			return err
		}
		for first := true; ; first = false {
			more, err := s.Element(first)
			if err != nil || !more {
				return err
			}
			if err := s.Skip(); err != nil {
				return err
			}
		}
	case c == '{':
		if err := s.Open('{'); err != nil {
			return err
		}
		for first := true; ; first = false {
			_, more, err := s.Member(first)
			if err != nil || !more {
				return err
			}
			if err := s.Skip(); err != nil {
				return err
			}
		}
	}
	return s.Unexpected("a value")
}

func str(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

package jsonscan

import (
	"fmt"
	"unicode/utf16"
	"unicode/utf8"
)

// plain are the bytes of a string that stand for themselves and are ASCII.
var plain = func() (t [256]bool) {
	for c := ' '; c < 0x80; c++ {
		t[c] = c != '"' && c != '\\'
	}
	return t
}()

// String reads a string. What it returns is a part of the text, or of a buffer of the scanner's
// where there were escapes: it holds until the string after next is read.
func (s *Scanner) String() ([]byte, error) {
	if s.Peek() != '"' {
		return nil, s.Unexpected("a string")
	}
	data, start := s.data, s.pos+1
	i := start
	for i < len(data) && plain[data[i]] {
		i++
	}
	if i < len(data) && data[i] == '"' {
		s.pos = i + 1
		return data[start:i], nil
	}
	return s.hardString(start, i)
}

// hardString reads on at i in a string that began at start and is not plain ASCII.
func (s *Scanner) hardString(start, i int) ([]byte, error) {
	data := s.data
	escaped := false
	for i < len(data) {
		switch c := data[i]; {
		case c == '"':
			s.pos = i + 1
			if !escaped {
				return data[start:i], nil
			}
			return s.bufs[s.turn], nil
		case c == '\\':
			if !escaped {
				escaped = true
				s.turn = 1 - s.turn
				s.bufs[s.turn] = append(s.bufs[s.turn][:0], data[start:i]...)
			}
			s.pos = i
			if err := s.escape(); err != nil {
				return nil, err
			}
			i = s.pos
		case c < ' ':
			s.pos = i
			return nil, s.errorf(KindSyntax, i, fmt.Sprintf("control character 0x%02x in a string", c), "an escape")
		default:
			n := 1
			if c >= utf8.RuneSelf {
				var r rune
				if r, n = utf8.DecodeRune(data[i:]); r == utf8.RuneError && n <= 1 {
					s.pos = i
					return nil, s.errorf(KindUTF8, i, fmt.Sprintf("byte 0x%02x", c), "UTF-8")
				}
			}
			if escaped {
				s.bufs[s.turn] = append(s.bufs[s.turn], data[i:i+n]...)
			}
			i += n
		}
	}
	s.pos = i
	return nil, s.errorf(KindSyntax, i, "the end", `'"'`)
}

// escape reads the escape at pos and appends what it means to the buffer.
func (s *Scanner) escape() error {
	s.pos++
	if s.pos >= len(s.data) {
		return s.errorf(KindSyntax, s.pos, "the end", "an escape")
	}
	c := s.data[s.pos]
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		r, err := s.hex(s.pos + 1)
		if err != nil {
			return err
		}
		s.pos += 5
		if utf16.IsSurrogate(r) {
			// Half a pair stands for U+FFFD, as in encoding/json; the second half of a pair is
			// only taken when it makes one.
			low := rune(-1)
			if s.pos+1 < len(s.data) && s.data[s.pos] == '\\' && s.data[s.pos+1] == 'u' {
				if low, err = s.hex(s.pos + 2); err != nil {
					return err
				}
			}
			if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
				s.pos += 6
			}
		}
		s.bufs[s.turn] = utf8.AppendRune(s.bufs[s.turn], r)
		return nil
	default:
		return s.errorf(KindSyntax, s.pos, s.found(), `one of "\/bfnrtu`)
	}
	s.pos++
	s.bufs[s.turn] = append(s.bufs[s.turn], c)
	return nil
}

// hex reads four hexadecimal digits at i.
func (s *Scanner) hex(i int) (rune, error) {
	var r rune
	for end := i + 4; i < end; i++ {
		d := -1
		if i < len(s.data) {
			switch c := s.data[i]; {
			case c >= '0' && c <= '9':
				d = int(c - '0')
			case c >= 'a' && c <= 'f':
				d = int(c-'a') + 10
			case c >= 'A' && c <= 'F':
				d = int(c-'A') + 10
			}
		}
		if d < 0 {
			s.pos = min(i, len(s.data))
			return 0, s.errorf(KindSyntax, s.pos, s.found(), "four hexadecimal digits")
		}
		r = r<<4 | rune(d)
	}
	return r, nil
}

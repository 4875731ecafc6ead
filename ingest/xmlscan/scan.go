package xmlscan

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// Bounds of a document.
const (
	MaxDepth      = 32  // of elements in one another
	MaxAttributes = 64  // of an element
	MaxName       = 256 // bytes of a name
)

// A Kind says why a document was refused.
type Kind uint8

// The kinds of errors.
const (
	KindSyntax  Kind = iota // not well-formed
	KindUTF8                // not UTF-8, or declared to be something else
	KindDepth               // nested beyond MaxDepth
	KindMany                // beyond MaxAttributes or MaxName
	KindEntity              // a document type, or an entity that is not predefined
	KindMissing             // well-formed, but not what was asked for
)

// An Error says what was wanted at which byte, from 0.
type Error struct {
	Kind   Kind
	Offset int
	Want   string
}

func (e *Error) Error() string { return fmt.Sprintf("offset %d: want %s", e.Offset, e.Want) }

// An attr is an attribute: its local name and its value, which lies in the text or in the buffer.
type attr struct{ name, value []byte }

// A Scanner reads one document from front to back. The zero value reads nothing: call Reset.
type Scanner struct {
	data []byte
	pos  int

	open  [MaxDepth][]byte // whole names of the open elements
	depth int
	name  []byte // local name of the element entered last
	empty bool   // it was <name/>: its end is still to be told
	ended bool   // the root is over

	attrs []attr
	values,
	text []byte // what had entities in it
}

// Reset begins to read data, which is not changed, and goes to the root element.
func (s *Scanner) Reset(data []byte) error {
	s.data, s.pos, s.depth, s.empty, s.ended = data, 0, 0, false, false
	s.attrs = s.attrs[:0]
	if !utf8.Valid(data) {
		return s.fail(KindUTF8, invalidAt(data), "UTF-8")
	}
	if bytes.HasPrefix(data, []byte("\xef\xbb\xbf")) {
		s.pos = 3
	}
	start, err := s.token(nil)
	if err == nil && start != tokenStart {
		err = s.fail(KindSyntax, s.pos, "an element")
	}
	return err
}

func invalidAt(data []byte) int {
	at := 0
	for at < len(data) {
		r, n := utf8.DecodeRune(data[at:])
		if r == utf8.RuneError && n <= 1 {
			break
		}
		at += n
	}
	return at
}

func (s *Scanner) fail(kind Kind, at int, want string) error {
	return &Error{Kind: kind, Offset: at, Want: want}
}

// Offset is the byte that is read next.
func (s *Scanner) Offset() int { return s.pos }

// Name is the local name of the element entered last. It is a part of the text.
func (s *Scanner) Name() []byte { return s.name }

// Attr returns the value of the attribute with a local name, the first if there are several, of the
// element entered last; it holds until the next one is entered.
func (s *Scanner) Attr(name string) ([]byte, bool) {
	for i := range s.attrs {
		if string(s.attrs[i].name) == name {
			return s.attrs[i].value, true
		}
	}
	return nil, false
}

// Attributes is how many the element entered last has.
func (s *Scanner) Attributes() int { return len(s.attrs) }

// Attribute returns the i-th.
func (s *Scanner) Attribute(i int) (name, value []byte) { return s.attrs[i].name, s.attrs[i].value }

// Child enters the next element within the one that was entered last and not left; more is false when
// that one ended, which leaves it. Text between is passed over.
func (s *Scanner) Child() (more bool, err error) {
	if s.ended {
		return false, s.fail(KindMissing, s.pos, "nothing more to be read after the end of the root")
	}
	t, err := s.token(nil)
	return t == tokenStart, err
}

// Skip leaves the element entered last, passing over all that is in it.
func (s *Scanner) Skip() error {
	for level := 1; level > 0; {
		more, err := s.Child()
		if err != nil {
			return err
		}
		if more {
			level++
		} else {
			level--
		}
	}
	return nil
}

// Text leaves the element entered last and returns its own text, that of elements in it not. It is a
// part of the document, or of a buffer of the scanner's: it holds until the next Text.
func (s *Scanner) Text() ([]byte, error) {
	if s.ended {
		return nil, s.fail(KindMissing, s.pos, "nothing more to be read after the end of the root")
	}
	// Plain text and then the end is what nearly all of them are.
	if !s.empty {
		i := s.pos
		for i < len(s.data) && plain[s.data[i]] {
			i++
		}
		if i+1 < len(s.data) && s.data[i] == '<' && s.data[i+1] == '/' {
			from := s.pos
			s.pos = i
			if err := s.end(); err != nil {
				return nil, err
			}
			return s.data[from:i], nil
		}
	}
	s.text = s.text[:0]
	for level := 1; level > 0; {
		into := &s.text
		if level > 1 {
			into = nil
		}
		t, err := s.token(into)
		if err != nil {
			return nil, err
		}
		if t == tokenStart {
			level++
		} else {
			level--
		}
	}
	return s.text, nil
}

// End checks that nothing is left but white space, comments and instructions.
func (s *Scanner) End() error {
	if !s.ended {
		return s.fail(KindMissing, s.pos, "the end of the root")
	}
	for {
		s.space()
		if s.pos == len(s.data) {
			return nil
		}
		if s.data[s.pos] != '<' {
			return s.fail(KindSyntax, s.pos, "nothing after the root")
		}
		done, err := s.aside()
		if err != nil {
			return err
		}
		if !done {
			return s.fail(KindSyntax, s.pos, "nothing after the root")
		}
	}
}

type token uint8

const (
	tokenNone token = iota
	tokenStart
	tokenEnd
)

// token goes past the next start or end of an element; the text before it is appended to into, where
// that is not nil, and checked anyway.
func (s *Scanner) token(into *[]byte) (token, error) {
	if s.empty {
		s.empty = false
		s.depth--
		s.ended = s.depth == 0
		return tokenEnd, nil
	}
	for {
		if err := s.chars(into); err != nil {
			return tokenNone, err
		}
		if s.pos+1 >= len(s.data) {
			return tokenNone, s.fail(KindSyntax, len(s.data), "the end of an element, not of the document")
		}
		switch s.data[s.pos+1] {
		case '/':
			return tokenEnd, s.end()
		case '!', '?':
			if s.depth > 0 && bytes.HasPrefix(s.data[s.pos:], cdataBegin) {
				if err := s.cdata(into); err != nil {
					return tokenNone, err
				}
				continue
			}
			if _, err := s.aside(); err != nil {
				return tokenNone, err
			}
		default:
			return tokenStart, s.start()
		}
	}
}

// start reads <name attribute="value">.
func (s *Scanner) start() error {
	at := s.pos
	if s.depth == MaxDepth {
		return s.fail(KindDepth, at, fmt.Sprintf("at most %d elements in one another", MaxDepth))
	}
	s.pos++
	whole, local, err := s.readName()
	if err != nil {
		return err
	}
	s.attrs, s.values = s.attrs[:0], s.values[:0]
	for {
		s.space()
		if s.pos >= len(s.data) {
			return s.fail(KindSyntax, s.pos, "the end of a tag")
		}
		switch s.data[s.pos] {
		case '/':
			if s.pos+1 >= len(s.data) || s.data[s.pos+1] != '>' {
				return s.fail(KindSyntax, s.pos+1, "'>'")
			}
			s.pos++
			s.empty = true
			fallthrough
		case '>':
			s.pos++
			s.open[s.depth], s.name = whole, local
			s.depth++
			return nil
		}
		if err := s.attribute(); err != nil {
			return err
		}
	}
}

// attribute reads name="value".
func (s *Scanner) attribute() error {
	if len(s.attrs) == MaxAttributes {
		return s.fail(KindMany, s.pos, fmt.Sprintf("at most %d attributes", MaxAttributes))
	}
	_, name, err := s.readName()
	if err != nil {
		return err
	}
	s.space()
	if s.pos >= len(s.data) || s.data[s.pos] != '=' {
		return s.fail(KindSyntax, s.pos, "'='")
	}
	s.pos++
	s.space()
	if s.pos >= len(s.data) || s.data[s.pos] != '"' && s.data[s.pos] != '\'' {
		return s.fail(KindSyntax, s.pos, "a quoted value")
	}
	quote := s.data[s.pos]
	s.pos++
	from := s.pos
	for s.pos < len(s.data) && plain[s.data[s.pos]] && s.data[s.pos] != quote {
		s.pos++
	}
	value := s.data[from:s.pos]
	if s.pos >= len(s.data) || s.data[s.pos] != quote {
		// Where the buffer grows, values before keep the old one.
		begin := len(s.values)
		s.values = append(s.values, value...)
		if err := s.hard(&s.values, quote); err != nil {
			return err
		}
		value = s.values[begin:len(s.values):len(s.values)]
	}
	s.pos++
	s.attrs = append(s.attrs, attr{name, value})
	return nil
}

// end reads </name>.
func (s *Scanner) end() error {
	at := s.pos
	if s.depth == 0 {
		return s.fail(KindSyntax, at, "the start of an element")
	}
	name := s.open[s.depth-1]
	s.pos += 2
	if !bytes.HasPrefix(s.data[s.pos:], name) {
		return s.fail(KindSyntax, s.pos, "the end of the element that is open")
	}
	s.pos += len(name)
	s.space()
	if s.pos >= len(s.data) || s.data[s.pos] != '>' {
		return s.fail(KindSyntax, s.pos, "the end of the element that is open")
	}
	s.pos++
	s.depth--
	s.ended = s.depth == 0
	return nil
}

// readName reads a name and returns it whole and without its prefix.
func (s *Scanner) readName() (whole, local []byte, err error) {
	from, colon := s.pos, -1
	if s.pos < len(s.data) && !nameStart[s.data[s.pos]] {
		return nil, nil, s.fail(KindSyntax, s.pos, "a name")
	}
	for s.pos < len(s.data) && nameByte[s.data[s.pos]] {
		if s.data[s.pos] == ':' {
			if colon >= 0 {
				return nil, nil, s.fail(KindSyntax, s.pos, "a name with one colon at most")
			}
			colon = s.pos
		}
		s.pos++
	}
	whole = s.data[from:s.pos]
	switch {
	case len(whole) == 0:
		return nil, nil, s.fail(KindSyntax, s.pos, "a name")
	case len(whole) > MaxName:
		return nil, nil, s.fail(KindMany, from, fmt.Sprintf("a name of at most %d bytes", MaxName))
	case colon > from && colon < s.pos-1:
		return whole, s.data[colon+1 : s.pos], nil
	}
	return whole, whole, nil
}

func (s *Scanner) space() {
	for s.pos < len(s.data) && isSpace(s.data[s.pos]) {
		s.pos++
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\t' || c == '\r' }

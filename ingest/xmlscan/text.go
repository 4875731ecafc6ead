package xmlscan

import (
	"bytes"
	"unicode/utf8"
)

// plain are the bytes that stand for themselves in text and in values of attributes, quotes among
// them. 0xef begins, among others, what is no character; ] may begin what text must not have.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= ' ' && c != '<' && c != '&' && c != 0xef && c != ']' || c == '\t' || c == '\n'
	}
	return t
}()

// nameStart and nameByte are what names are made of. Every byte beyond ASCII passes: whether it is a
// letter is of no account for names that are only compared.
var nameStart, nameByte = func() (start, rest [256]bool) {
	for c := range start {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c == ':' || c >= utf8.RuneSelf
		start[c] = letter
		rest[c] = letter || c >= '0' && c <= '9' || c == '-' || c == '.'
	}
	return start, rest
}()

var (
	cdataBegin = []byte("<![CDATA[")
	cdataEnd   = []byte("]]>")
)

// chars reads text up to the next <. Outside of the root it may only be white space.
func (s *Scanner) chars(into *[]byte) error {
	if s.depth == 0 {
		s.space()
		if s.pos < len(s.data) && s.data[s.pos] != '<' {
			return s.fail(KindSyntax, s.pos, "an element")
		}
		return nil
	}
	from := s.pos
	for s.pos < len(s.data) && plain[s.data[s.pos]] {
		s.pos++
	}
	if into != nil {
		*into = append(*into, s.data[from:s.pos]...)
	}
	if s.pos < len(s.data) && s.data[s.pos] == '<' {
		return nil
	}
	return s.hard(into, '<')
}

// hard reads on in text up to <, or in a value up to its quote, and appends what it means to into.
func (s *Scanner) hard(into *[]byte, stop byte) error {
	for s.pos < len(s.data) {
		c := s.data[s.pos]
		n := 1
		switch {
		case c == stop:
			return nil
		case c == '<':
			return s.fail(KindSyntax, s.pos, "the end of a value, with no < in it")
		case c == '&':
			if err := s.entity(into); err != nil {
				return err
			}
			continue
		case c == ']' && stop == '<' && bytes.HasPrefix(s.data[s.pos:], cdataEnd):
			return s.fail(KindSyntax, s.pos, "no ]]> in text")
		case c == '\r':
			// A line ends by one \n, whatever it was written with.
			if into != nil {
				*into = append(*into, '\n')
			}
			s.pos++
			if s.pos < len(s.data) && s.data[s.pos] == '\n' {
				s.pos++
			}
			continue
		case plain[c] || c == ']':
		case c == 0xef:
			r, size := utf8.DecodeRune(s.data[s.pos:])
			if !isCharacter(r) {
				return s.fail(KindSyntax, s.pos, "a character of XML")
			}
			n = size
		default:
			return s.fail(KindSyntax, s.pos, "no control character")
		}
		if into != nil {
			*into = append(*into, s.data[s.pos:s.pos+n]...)
		}
		s.pos += n
	}
	return s.fail(KindSyntax, s.pos, "more: the document ended too early")
}

func isCharacter(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r <= 0xd7ff || r >= 0xe000 && r <= 0xfffd || r >= 0x10000 && r <= utf8.MaxRune
}

// entities are the predefined ones.
var entities = [...]struct {
	name string
	char byte
}{{"amp;", '&'}, {"lt;", '<'}, {"gt;", '>'}, {"quot;", '"'}, {"apos;", '\''}}

// entity reads &name; or &#number;.
func (s *Scanner) entity(into *[]byte) error {
	at := s.pos
	rest := s.data[s.pos+1:]
	if len(rest) > 0 && rest[0] == '#' {
		return s.number(into)
	}
	for _, e := range entities {
		if bytes.HasPrefix(rest, []byte(e.name)) {
			s.pos += 1 + len(e.name)
			if into != nil {
				*into = append(*into, e.char)
			}
			return nil
		}
	}
	return s.fail(KindEntity, at, "no entities but the predefined ones and numbers")
}

// number reads &#48; or &#x30;.
func (s *Scanner) number(into *[]byte) error {
	at, i, base := s.pos, s.pos+2, rune(10)
	if i < len(s.data) && s.data[i] == 'x' {
		i, base = i+1, 16
	}
	from, r := i, rune(0)
	for ; i < len(s.data); i++ {
		d := rune(99)
		switch c := s.data[i]; {
		case c >= '0' && c <= '9':
			d = rune(c - '0')
		case c >= 'a' && c <= 'f':
			d = rune(c-'a') + 10
		case c >= 'A' && c <= 'F':
			d = rune(c-'A') + 10
		}
		if d >= base {
			break
		}
		if r = r*base + d; r > utf8.MaxRune {
			return s.fail(KindSyntax, at, "the number of a character of XML")
		}
	}
	if i == from || i >= len(s.data) || s.data[i] != ';' || !isCharacter(r) {
		return s.fail(KindSyntax, at, "the number of a character of XML and ';'")
	}
	s.pos = i + 1
	if into != nil {
		*into = utf8.AppendRune(*into, r)
	}
	return nil
}

// cdata reads <![CDATA[…]]>.
func (s *Scanner) cdata(into *[]byte) error {
	s.pos += len(cdataBegin)
	n := bytes.Index(s.data[s.pos:], cdataEnd)
	if n < 0 {
		return s.fail(KindSyntax, len(s.data), "the end of CDATA")
	}
	end := s.pos + n
	for s.pos < end {
		from := s.pos
		for s.pos < end && (plain[s.data[s.pos]] || s.data[s.pos] == '<' || s.data[s.pos] == '&' || s.data[s.pos] == ']') {
			s.pos++
		}
		if into != nil {
			*into = append(*into, s.data[from:s.pos]...)
		}
		if s.pos == end {
			break
		}
		switch r, size := utf8.DecodeRune(s.data[s.pos:end]); {
		case r == '\r':
			s.pos++
			if s.pos < end && s.data[s.pos] == '\n' {
				s.pos++
			}
			if into != nil {
				*into = append(*into, '\n')
			}
		case !isCharacter(r):
			return s.fail(KindSyntax, s.pos, "a character of XML")
		default:
			if into != nil {
				*into = append(*into, s.data[s.pos:s.pos+size]...)
			}
			s.pos += size
		}
	}
	s.pos = end + len(cdataEnd)
	return nil
}

// aside passes over a comment or a processing instruction; done is false where < begins neither.
func (s *Scanner) aside() (done bool, err error) {
	rest := s.data[s.pos:]
	switch {
	case bytes.HasPrefix(rest, []byte("<!--")):
		n := bytes.Index(rest[4:], []byte("--"))
		if n < 0 || len(rest) < 4+n+3 || rest[4+n+2] != '>' {
			return false, s.fail(KindSyntax, s.pos, "a comment that ends with --> and has no -- in it")
		}
		s.pos += 4 + n + 3
		return true, nil
	case bytes.HasPrefix(rest, []byte("<?")):
		return true, s.instruction()
	case bytes.HasPrefix(rest, []byte("<!")):
		return false, s.fail(KindEntity, s.pos, "no document type")
	}
	return false, nil
}

// instruction reads <?target …?>. The declaration may name no other encoding than UTF-8.
func (s *Scanner) instruction() error {
	at := s.pos
	s.pos += 2
	target, _, err := s.readName()
	if err != nil {
		return err
	}
	n := bytes.Index(s.data[s.pos:], []byte("?>"))
	if n < 0 {
		return s.fail(KindSyntax, at, "the end of an instruction")
	}
	inside := s.data[s.pos : s.pos+n]
	s.pos += n + 2
	if string(target) != "xml" {
		return nil
	}
	if v := pseudo(inside, "version"); v != nil && string(v) != "1.0" {
		return s.fail(KindSyntax, at, "XML 1.0")
	}
	if v := pseudo(inside, "encoding"); v != nil && !bytes.EqualFold(v, []byte("utf-8")) && !bytes.EqualFold(v, []byte("us-ascii")) {
		return s.fail(KindUTF8, at, "UTF-8")
	}
	return nil
}

// pseudo is the value of name="value" in a declaration, nil where there is none.
func pseudo(decl []byte, name string) []byte {
	_, rest, ok := bytes.Cut(decl, []byte(name))
	if !ok {
		return nil
	}
	rest = bytes.TrimLeft(rest, " \t\r\n")
	if len(rest) == 0 || rest[0] != '=' {
		return nil
	}
	rest = bytes.TrimLeft(rest[1:], " \t\r\n")
	if len(rest) == 0 || rest[0] != '"' && rest[0] != '\'' {
		return nil
	}
	value, _, ok := bytes.Cut(rest[1:], rest[:1])
	if !ok {
		return nil
	}
	return value
}

package xmlscan

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

// outline writes an element as what is known of it: names, attributes, own text, children.
func outline(s *Scanner, into *strings.Builder, level int) error {
	fmt.Fprintf(into, "<%s", s.Name())
	for i := range s.Attributes() {
		name, value := s.Attribute(i)
		fmt.Fprintf(into, " %s=%q", name, value)
	}
	into.WriteByte('>')
	for {
		more, err := s.Child()
		if err != nil {
			return err
		}
		if !more {
			into.WriteString("</>")
			return nil
		}
		if err := outline(s, into, level+1); err != nil {
			return err
		}
	}
}

func outlined(data []byte) (string, error) {
	var s Scanner
	var b strings.Builder
	if err := s.Reset(data); err != nil {
		return "", err
	}
	if err := outline(&s, &b, 1); err != nil {
		return "", err
	}
	return b.String(), s.End()
}

// theirs is the outline that encoding/xml gives, and the root's own text.
func theirs(data []byte) (shape, text string, err error) {
	d := xml.NewDecoder(bytes.NewReader(data))
	var b strings.Builder
	depth, roots := 0, 0
	for {
		t, err := d.Token()
		if err == io.EOF {
			if roots != 1 {
				return "", "", errors.New("no root")
			}
			return b.String(), text, nil
		}
		if err != nil {
			return "", "", err
		}
		switch t := t.(type) {
		case xml.StartElement:
			if depth == 0 {
				if roots++; roots > 1 {
					return "", "", errors.New("two roots")
				}
			}
			depth++
			fmt.Fprintf(&b, "<%s", t.Name.Local)
			for _, a := range t.Attr {
				fmt.Fprintf(&b, " %s=%q", a.Name.Local, a.Value)
			}
			b.WriteByte('>')
		case xml.EndElement:
			depth--
			b.WriteString("</>")
		case xml.CharData:
			if depth == 0 && strings.Trim(string(t), " \t\r\n") != "" {
				return "", "", errors.New("text outside of the root")
			}
			if depth == 1 {
				text += string(t)
			}
		case xml.Directive:
			return "", "", errors.New("a directive")
		}
	}
}

// agree checks that data is read as encoding/xml reads it, or refused where that is the rule.
func agree(t *testing.T, data []byte) {
	t.Helper()
	got, err := outlined(data)
	var s Scanner
	skipErr := s.Reset(data)
	if skipErr == nil {
		skipErr = s.Skip()
	}
	if skipErr == nil {
		skipErr = s.End()
	}
	var text []byte
	textErr := s.Reset(data)
	if textErr == nil {
		text, textErr = s.Text()
	}
	if textErr == nil {
		textErr = s.End()
	}
	if (err == nil) != (skipErr == nil) || (err == nil) != (textErr == nil) {
		t.Fatalf("%q: read: %v, skipped: %v, as text: %v; want all or none", data, err, skipErr, textErr)
	}
	want, wantText, theirErr := theirs(data)
	if err != nil {
		var e *Error
		if !errors.As(err, &e) || e.Offset < 0 || e.Offset > len(data) {
			t.Fatalf("%q: %v, want an *Error with an offset of the text", data, err)
		}
		// Stricter in bounds, in UTF-8 of comments, in what a number may stand for and in what is declared.
		if theirErr == nil && e.Kind != KindDepth && e.Kind != KindMany && utf8.Valid(data) && !bytes.Contains(data, []byte("&#")) && !bytes.Contains(data, []byte("<?xml")) {
			t.Fatalf("%q: %v, but encoding/xml reads it", data, err)
		}
		return
	}
	if theirErr != nil {
		// Laxer in names beyond ASCII, in what is declared and in the byte order mark.
		ascii := !bytes.ContainsFunc(data, func(r rune) bool { return r >= utf8.RuneSelf })
		if ascii && !bytes.Contains(data, []byte("<?xml")) {
			t.Fatalf("%q: read as %s, encoding/xml: %v", data, got, theirErr)
		}
		return
	}
	if got != want {
		t.Fatalf("%q: %s, want %s", data, got, want)
	}
	if string(text) != wantText {
		t.Fatalf("%q: text %q, want %q", data, text, wantText)
	}
}

var documents = []string{
	`<a/>`, `<a></a>`, `<a b="1" c='2'/>`, `<a>text</a>`, `<a>x<b>y</b>z</a>`, `<a ><b  x = "1"	/></a >`,
	`<?xml version="1.0" encoding="UTF-8"?><a/>`, `<?xml version='1.0'?>` + "\n<a/>\n", "\xef\xbb\xbf<a>x</a>",
	`<tt:Frame xmlns:tt="http://www.onvif.org/ver10/schema" UtcTime="2021-10-05T15:13:27Z"><tt:Object tt:ObjectId="15"/></tt:Frame>`,
	`<a>&lt;&amp;&gt;&quot;&apos;&#65;&#x42;</a>`, `<a b="&lt;x&#10;y&amp;"/>`, `<a b="x>y" c='"'/>`, `<a><![CDATA[<b>&amp;]]]]></a>`,
	`<a>1<![CDATA[2]]>3<!-- no -->4<?p i?>5</a>`, "<a>l1\r\nl2\rl3</a>", "<a b='l1\r\nl2'/>", "<a><![CDATA[l1\r\nl2\r]]></a>",
	`<!-- c --><a/><!-- d --> <?e f?>`, `<a>]]</a>`, `<a>]] ></a>`, `<:a/>`, `<a:/>`, `<è/>`, "<a>\ufffd\uffe0日本</a>",
	`<a b="]]>"/>`, `<a b="1" b="2"/>`, `<a b="1"c="2"/>`, `<a-b.c_1/>`,
}

var broken = []string{
	``, ` `, `x`, `<`, `<a`, `<a>`, `</a>`, `<a></b>`, `<a><b></a></b>`, `<a b/>`, `<a b=1/>`, `<a b="1/>`, `<a b="<"/>`, `< a/>`, `<1/>`, `<a/ >`,
	`<a>&nbsp;</a>`, `<a>&</a>`, `<a>&lt</a>`, `<a>&#;</a>`, `<a>&#x;</a>`, `<a>&#xZ;</a>`, `<a>&#0;</a>`, `<a>&#x110000;</a>`, `<a>&#xd800;</a>`,
	`<a>]]></a>`, `<a/><b/>`, `<a/>x`, `x<a/>`, "<a>\x01</a>", "<a>\xff</a>", "<a b='\x00'/>", `<a><![CDATA[</a>`, `<a><!-- -- --></a>`, `<a><!--</a>`,
	`<!DOCTYPE a><a/>`, `<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>`, `<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>`, `<a><!ELEMENT b></a>`,
	`<?xml version="1.1"?><a/>`, `<?xml version="1.0" encoding="GB2312"?><a/>`, "\xfe\xff\x00<\x00a", `<a></a`, `<a></`, `<a/><![CDATA[x]]>`, "<a>\ufffe</a>",
	`<a:b></b>`, `<a:b></c:b>`, `<a:b:c/>`, "<a>\uffff</a>",
	strings.Repeat("<a>", MaxDepth+1) + strings.Repeat("</a>", MaxDepth+1), strings.Repeat("<a>", 100_000),
	"<" + strings.Repeat("a", MaxName+1) + "/>", "<a" + strings.Repeat(` b="1"`, MaxAttributes+1) + "/>",
}

func TestAgreesWithEncodingXML(t *testing.T) {
	for _, d := range documents {
		if _, err := outlined([]byte(d)); err != nil {
			t.Errorf("%q: %v, want no error", d, err)
		}
		agree(t, []byte(d))
		for n := range d {
			agree(t, []byte(d[:n]))
		}
	}
	for _, d := range broken {
		if _, err := outlined([]byte(d)); err == nil {
			t.Errorf("%.80q was read, want an error", d)
		}
		agree(t, []byte(d))
	}
}

func TestBounds(t *testing.T) {
	f := func(d string, want Kind, ok bool) {
		t.Helper()
		_, err := outlined([]byte(d))
		var e *Error
		if ok != (err == nil) || !ok && (!errors.As(err, &e) || e.Kind != want) {
			t.Errorf("%.60q…: %v, want kind %d, or none: %v", d, err, want, ok)
		}
	}
	nested := func(n int) string { return strings.Repeat("<a>", n) + strings.Repeat("</a>", n) }
	f(nested(MaxDepth), 0, true)
	f(nested(MaxDepth+1), KindDepth, false)
	wide := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, ` b%d="1"`, i)
		}
		return "<a" + b.String() + "/>"
	}
	f(wide(MaxAttributes), 0, true)
	f(wide(MaxAttributes+1), KindMany, false)
	f("<"+strings.Repeat("a", MaxName)+"/>", 0, true)
	f("<"+strings.Repeat("a", MaxName+1)+"/>", KindMany, false)
	f(`<!DOCTYPE a [<!ENTITY b "`+strings.Repeat("x", 1000)+`">]><a>&b;</a>`, KindEntity, false)
	f(`<a>&b;</a>`, KindEntity, false)
	f("<a>\xff</a>", KindUTF8, false)
	f(`<?xml version="1.0" encoding="gb2312"?><a/>`, KindUTF8, false)
}

func TestReadsAsItGoes(t *testing.T) {
	var s Scanner
	if err := s.Reset([]byte(`<r a="&#65;" b="&#66;"> <x k="v">t&amp;<y>no</y>u</x><z/><w>plain</w></r>`)); err != nil {
		t.Fatal(err)
	}
	if a, ok := s.Attr("a"); string(s.Name()) != "r" || string(a) != "A" || !ok {
		t.Errorf("%q %q, want r with a=A", s.Name(), a)
	}
	if b, _ := s.Attr("b"); string(b) != "B" {
		t.Errorf("b=%q, want B", b)
	}
	if _, ok := s.Attr("c"); ok {
		t.Error("an attribute c, want none")
	}
	var got []string
	for {
		more, err := s.Child()
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			break
		}
		name := string(s.Name())
		text, err := s.Text()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, name+"="+string(text))
	}
	if want := "x=t&u z= w=plain"; strings.Join(got, " ") != want {
		t.Errorf("%v, want %s", got, want)
	}
	if err := s.End(); err != nil {
		t.Error(err)
	}
	if _, err := s.Child(); err == nil {
		t.Error("a child after the end, want an error")
	}
}

func TestErrorsQuoteNothing(t *testing.T) {
	for _, d := range []string{`<a>AB123CD&AB123CD;</a>`, `<AB123CD></AB124CD>`, `<a b=AB123CD/>`, `<a>AB123CD`, "<a>AB123CD\x01</a>", `<a AB123CD/>`} {
		_, err := outlined([]byte(d))
		if err == nil || strings.Contains(err.Error(), "AB12") {
			t.Errorf("%q: %v, want an error without a word of it", d, err)
		}
	}
}

func TestDoesNotAllocate(t *testing.T) {
	data := []byte(documents[9])
	var s Scanner
	if n := testing.AllocsPerRun(100, func() {
		if s.Reset(data) != nil || s.Skip() != nil || s.End() != nil {
			t.Fatal("not read")
		}
	}); n > 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func FuzzScanner(f *testing.F) {
	for _, d := range append(documents, broken[:len(broken)-3]...) {
		f.Add([]byte(d))
	}
	f.Fuzz(func(t *testing.T, data []byte) { agree(t, data) })
}

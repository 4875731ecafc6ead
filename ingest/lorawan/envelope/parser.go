package envelope

import (
	"errors"
	"maps"
	"unsafe"

	"panormus/ingest/jsonscan"
	"panormus/ingest/lorawan/frame"
)

// A Parser holds the memory that parsing takes and is used again and again, by one goroutine at a
// time. The zero Parser is ready.
type Parser struct {
	s     *jsonscan.Scanner // of those below, the one in use
	outer jsonscan.Scanner
	inner jsonscan.Scanner
	buf   []byte
	names map[string]string
}

// Bounds of what a Parser keeps.
const (
	maxNames = 16_384  // gateways
	maxBuf   = 1 << 18 // bytes of memory between messages
)

// begin prepares for a message of the given bytes.
func (p *Parser) begin(data []byte, m *Message) error {
	m.reset()
	if cap(p.buf) > maxBuf {
		p.buf = nil
	}
	p.buf = p.buf[:0]
	p.s = &p.outer
	p.s.Reset(data)
	if len(data) > MaxMessage {
		return frame.Rejectf(frame.ReasonTooMany, "message of %d bytes, want at most %d", len(data), MaxMessage)
	}
	return nil
}

// keep copies b into memory that lasts as long as the message.
func (p *Parser) keep(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	from := len(p.buf)
	p.buf = append(p.buf, b...)
	return p.buf[from:len(p.buf):len(p.buf)]
}

// name returns b as a string, the same one every time.
func (p *Parser) name(b []byte) string {
	if s, ok := p.names[string(b)]; ok {
		return s
	}
	s := string(b)
	if p.names == nil {
		p.names = map[string]string{}
	}
	if len(p.names) >= maxNames {
		// A city has fewer gateways: forget half, whichever.
		n := 0
		maps.DeleteFunc(p.names, func(string, string) bool { n++; return n%2 == 0 })
	}
	if len(b) <= 64 {
		p.names[s] = s
	}
	return s
}

// gateway is the name of a gateway: an EUI in lower case where b is one.
func (p *Parser) gateway(b []byte) string {
	if s, ok := p.names[string(b)]; ok {
		return s
	}
	if eui, err := frame.ParseEUI(b); err == nil {
		return p.gatewayEUI(eui)
	}
	return p.name(b)
}

func (p *Parser) gatewayEUI(eui frame.EUI) string {
	var text [16]byte
	return p.name(eui.Append(text[:0]))
}

// isJSON tells JSON from protobuf by the first byte: no message read here has a protobuf field 15
// of a deprecated group type, or field 4 of a type that does not exist, as its first.
func isJSON(data []byte) bool {
	for _, c := range data {
		switch c {
		case ' ', '\t', '\r':
		default:
			return c == '{'
		}
	}
	return false
}

// rejectJSON turns an error of the scanner into a Reject.
func rejectJSON(err error) error {
	if r, ok := err.(*frame.Reject); ok {
		return r
	}
	var e *jsonscan.Error
	reason := frame.ReasonSyntax
	if errors.As(err, &e) {
		switch e.Kind {
		case jsonscan.KindUTF8:
			reason = frame.ReasonUTF8
		case jsonscan.KindDepth:
			reason = frame.ReasonDepth
		case jsonscan.KindNumber:
			reason = frame.ReasonNumber
		}
	}
	return &frame.Reject{Reason: reason, Detail: err.Error()}
}

func missing(what string) error {
	return frame.Rejectf(frame.ReasonMissing, "no %s", what)
}

func clip(b []byte) []byte { return b[:min(len(b), 64)] }

// str is b as a string that must not outlive it.
func str(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

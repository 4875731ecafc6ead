package codec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// An Uplink is what a codec decodes.
type Uplink struct {
	FPort     uint8
	Bytes     []byte // decrypted payload; only read, and only until Decode returns
	RecvTime  time.Time
	Variables map[string]string // TS013 variables of the device; nil for none
}

// A Value is one decoded field: a number, or a text with Number NaN.
type Value struct {
	Name   string
	Number float64
	Text   string
	Unit   string // UCUM code where the codec knows it, else empty
}

// A Measurement is one element of a normalized payload.
type Measurement struct {
	Time   time.Time // zero where the codec gave none
	Values []Value
}

// A Result is what a codec made of an uplink.
type Result struct {
	Values     []Value       // data, flattened, at most MaxValues
	Warnings   []string      // of the codec, then of this package about what it left out
	Errors     []string      // of the codec; where there are any, Values is empty
	Console    []string      // what the script wrote to its console, bounded
	Normalized []Measurement // of normalizeUplink; names and units are those of the device repository
}

// Reset empties r and keeps its memory.
func (r *Result) Reset() {
	*r = Result{Values: r.Values[:0], Warnings: r.Warnings[:0], Errors: r.Errors[:0], Normalized: r.Normalized[:0]}
}

func (r *Result) warnf(format string, args ...any) {
	if len(r.Warnings) < maxMessages {
		r.Warnings = append(r.Warnings, clip(fmt.Sprintf(format, args...)))
	}
}

// A Codec decodes the uplinks of one kind of device. It is safe for concurrent use.
type Codec interface {
	// Decode decodes one uplink. Its error is an *Error.
	Decode(in Uplink) (Result, error)
	// DecodeInto does the same into out, which it resets first, and uses its memory again.
	DecodeInto(in *Uplink, out *Result) error
	// Kind is "javascript", "cayenne_lpp" or "layout".
	Kind() string
}

// A Downlink is bytes for a device.
type Downlink struct {
	FPort    uint8
	Bytes    []byte
	Warnings []string
	Errors   []string
}

// A Downlinker is a Codec that also knows the way to the device. Codecs from scripts are.
type Downlinker interface {
	EncodeDownlink(data any, variables map[string]string) (Downlink, error)
	DecodeDownlink(in Uplink) (Result, error)
}

// A Reason is why a codec gave no result. It labels a metric: always one of the constants.
type Reason string

// The reasons a decode fails.
const (
	ReasonThrow     Reason = "codec_throw"     // the script threw, or has no function to call
	ReasonTimeout   Reason = "codec_timeout"   // the script ran beyond its time
	ReasonMemory    Reason = "codec_memory"    // the script asked for more memory or work than it may have
	ReasonOutput    Reason = "codec_output"    // what it returned is no result: not an object, too deep, too large
	ReasonErrors    Reason = "codec_errors"    // the codec itself reported errors: the payload is not one of its device
	ReasonInput     Reason = "codec_input"     // a payload longer than MaxInput
	ReasonSyntax    Reason = "codec_syntax"    // a native codec found the payload malformed
	ReasonSuspended Reason = "codec_suspended" // it failed by time or memory again and again and rests
)

// An Error is a failed decode. The same bytes will fail again, save for ReasonSuspended.
type Error struct {
	Reason Reason
	Detail string

	stuck bool // the script runs on, where nothing can stop it
}

func (e *Error) Error() string { return string(e.Reason) + ": " + e.Detail }

func errorf(reason Reason, format string, args ...any) *Error {
	return &Error{Reason: reason, Detail: clip(fmt.Sprintf(format, args...))}
}

// Bounds of what goes in and comes out.
const (
	MaxInput    = 1024      // bytes of payload; LoRaWAN carries 242, reassembled fragments more
	MaxSource   = 256 << 10 // bytes of a script or layout
	MaxValues   = 256       // metrics of one uplink
	MaxName     = 128       // bytes of a metric's name
	MaxText     = 1024      // bytes of a text value
	maxDepth    = 16        // nesting of a result
	maxNodes    = 4096      // objects, elements and values of a result, skipped ones included
	maxMessages = 32        // warnings or errors kept
	maxMessage  = 512       // bytes kept of each
)

// clip bounds a message.
func clip(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	return strings.ToValidUTF8(s[:maxMessage], "") + "…"
}

// Compile makes a codec of a profile's codec field: a JSON string that is "cayenne_lpp" or
// JavaScript source, or an object {"layout":[…]} or {"javascript":"…","fresh":true}, where fresh
// asks for a new runtime at each call, for scripts that keep state between calls. Scripts compiled
// here share one pool; a Set has its own.
func Compile(raw json.RawMessage) (Codec, error) { return shared().Compile(raw) }

// parse reads the codec field: exactly one of the three is set.
func parse(raw json.RawMessage) (source string, fresh, cayenne bool, layout []byte, err error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) > 4*MaxSource {
		return "", false, false, nil, fmt.Errorf("codec: %d bytes, want at most %d", len(raw), MaxSource)
	}
	if len(raw) == 0 {
		return "", false, false, nil, fmt.Errorf("codec: empty, want JavaScript source, \"cayenne_lpp\" or {\"layout\":[…]}")
	}
	switch raw[0] {
	case '"':
		if err := json.Unmarshal(raw, &source); err != nil {
			return "", false, false, nil, fmt.Errorf("codec: %w", err)
		}
		if strings.TrimSpace(source) == "cayenne_lpp" {
			return "", false, true, nil, nil
		}
		return source, false, false, nil, nil
	case '{':
		var o struct {
			Layout     json.RawMessage `json:"layout"`
			JavaScript *string         `json:"javascript"`
			Fresh      bool            `json:"fresh"`
		}
		d := json.NewDecoder(bytes.NewReader(raw))
		d.DisallowUnknownFields()
		if err := d.Decode(&o); err != nil {
			return "", false, false, nil, fmt.Errorf("codec: %w", err)
		}
		switch {
		case o.JavaScript != nil && o.Layout == nil:
			return *o.JavaScript, o.Fresh, false, nil, nil
		case o.Layout != nil && o.JavaScript == nil:
			return "", false, false, o.Layout, nil
		}
		return "", false, false, nil, fmt.Errorf("codec: an object with neither or both of layout and javascript, want one")
	}
	return "", false, false, nil, fmt.Errorf("codec: %.20q, want a string or an object", raw)
}

package ingest

import (
	"context"
	"errors"
	"fmt"
	"unsafe"

	"panormus/ingest/jsonscan"
)

// An Envelope is one message as it came in. Topic and Payload belong to the source and are read
// only until Session.Handle returns.
type Envelope struct {
	Topic   []byte
	Payload []byte
	// Parsed, where not nil, stands for Payload, which is then empty. It too is read only until
	// Session.Handle returns.
	Parsed   Parsed
	Received int64 // Unix ms
	// Token is what the session's Acker gets back once the log has the message. Zero asks for no
	// acknowledgement (QoS 0).
	Token uint64
	// PacketID is the transport's number of the message; with Dup it tells a repetition of a
	// message that carries no time of its own.
	PacketID uint16
	// Dup says that the sender may have sent the message before.
	Dup bool
	// Retained says that the message is old state handed out on subscribing, not news.
	Retained bool
}

// A Parsed is a message that its source had to read anyway. The decoder of gathered frames takes it
// as it is; its bytes are made only where they are wanted: for any other decoder, the dead letter, and
// the fingerprint of a message that may be sent again, which one without a token never is.
type Parsed interface {
	AppendPayload(out []byte) []byte
}

// An Acker passes acknowledgements to one sender. Ack is called from the goroutines of the pump
// with the tokens of messages that are on the log; it must not block and keeps nothing of tokens.
type Acker interface {
	Ack(tokens []uint64)
}

// A Source feeds sessions of a pump until ctx ends. It then takes in nothing more, passes on the
// acknowledgements of what it took in and returns.
type Source interface {
	Run(ctx context.Context) error
}

// ErrClosed is what Handle returns when its session or the pump ended before the message was taken
// in: it is not acknowledged and will come again.
var ErrClosed = errors.New("ingest: closed")

// A Reason is why a message cannot be decoded. It labels a metric: always one of the constants.
type Reason string

// The reasons a message goes to the dead letter.
const (
	ReasonTopic         Reason = "bad_topic"      // names no device or domain as devices.CheckID allows
	ReasonTooLarge      Reason = "too_large"      // beyond MaxPayload; what is kept of it is cut
	ReasonEmpty         Reason = "empty"          // no payload
	ReasonSyntax        Reason = "syntax"         // not JSON, CBOR…
	ReasonUTF8          Reason = "utf8"           // text that is not UTF-8
	ReasonDepth         Reason = "too_deep"       // nested beyond MaxDepth
	ReasonTooMany       Reason = "too_many"       // more than MaxMetrics metrics
	ReasonType          Reason = "wrong_type"     // an element of a type that means nothing in its place
	ReasonTime          Reason = "bad_time"       // a time that is none
	ReasonNumber        Reason = "bad_number"     // NaN, infinite or beyond 64-bit floats
	ReasonName          Reason = "bad_name"       // a metric name that is empty, too long or has control characters
	ReasonDuplicate     Reason = "duplicate_name" // two values of one metric in one record
	ReasonNoMetrics     Reason = "no_metrics"     // nothing measured
	ReasonSenML         Reason = "senml"          // against the rules of RFC 8428
	ReasonUnknownDevice Reason = "unknown_device" // not in the registry, which takes no strangers
	ReasonNoCodec       Reason = "no_codec"       // bytes that no codec is known for
	ReasonEncrypted     Reason = "encrypted"      // a payload whose key is elsewhere
	ReasonInternal      Reason = "internal"       // a fault of ours
)

// The reasons of LoRaWAN frames and the messages around them, as package frame has them.
const (
	ReasonMissing      Reason = "missing_field"    // a field without which the message says nothing
	ReasonIdentity     Reason = "bad_identity"     // not a DevEUI, DevAddr, gateway or key
	ReasonEvent        Reason = "unknown_event"    // a kind of message that is not read
	ReasonFrameShort   Reason = "frame_short"      // cut short
	ReasonFrameLong    Reason = "frame_long"       // longer than any LoRaWAN frame
	ReasonFrameMajor   Reason = "frame_major"      // a major version other than LoRaWAN R1
	ReasonFrameType    Reason = "frame_type"       // downlink, proprietary or reserved
	ReasonFramePort    Reason = "frame_port"       // FPort 0 beside FOpts
	ReasonDevAddr      Reason = "unknown_dev_addr" // no session has this DevAddr
	ReasonMIC          Reason = "mic"              // no session of this DevAddr signed the frame
	ReasonFrameCounter Reason = "frame_counter"    // the counter went back and the profile refuses that
	ReasonReplay       Reason = "frame_replay"     // bit for bit a frame that came before
	ReasonCRC          Reason = "crc"              // the gateway says the frame is damaged
	ReasonRegion       Reason = "wrong_region"     // a frequency or data rate outside the region's plan
	ReasonGateway      Reason = "unknown_gateway"  // not on the list of gateways, or one too many
	ReasonGatewayRate  Reason = "gateway_rate"     // more than a gateway may send
)

// The reasons of payload codecs, as package codec has them.
const (
	ReasonCodecThrow     Reason = "codec_throw"     // the script threw, or has no function to call
	ReasonCodecTimeout   Reason = "codec_timeout"   // the script ran beyond its time
	ReasonCodecMemory    Reason = "codec_memory"    // the script asked for more memory or work than it may have
	ReasonCodecOutput    Reason = "codec_output"    // what it returned is no result
	ReasonCodecErrors    Reason = "codec_errors"    // the codec itself reported errors
	ReasonCodecInput     Reason = "codec_input"     // a payload longer than codecs take
	ReasonCodecSyntax    Reason = "codec_syntax"    // a native codec found the payload malformed
	ReasonCodecSuspended Reason = "codec_suspended" // it failed by time or memory again and again and rests
)

// The reasons of video metadata, as package vds has them. Nothing of such a message is kept with
// them: it may hold personal data.
const (
	ReasonNoPurpose  Reason = "no_purpose"  // the registry has no lawful ground for the camera
	ReasonNoKey      Reason = "no_key"      // the key that a plate is hashed with cannot be had
	ReasonXML        Reason = "xml"         // not XML, or more of it than is read: entities, DTDs
	ReasonFormat     Reason = "format"      // not what the vendor documents
	ReasonCoordinate Reason = "coordinates" // a box or point that lies nowhere
)

// Reasons lists every reason.
var Reasons = []Reason{
	ReasonTopic, ReasonTooLarge, ReasonEmpty, ReasonSyntax, ReasonUTF8, ReasonDepth, ReasonTooMany, ReasonType,
	ReasonTime, ReasonNumber, ReasonName, ReasonDuplicate, ReasonNoMetrics, ReasonSenML, ReasonUnknownDevice,
	ReasonNoCodec, ReasonEncrypted, ReasonInternal,
	ReasonMissing, ReasonIdentity, ReasonEvent, ReasonFrameShort, ReasonFrameLong, ReasonFrameMajor, ReasonFrameType, ReasonFramePort,
	ReasonDevAddr, ReasonMIC, ReasonFrameCounter, ReasonReplay, ReasonCRC, ReasonRegion, ReasonGateway, ReasonGatewayRate,
	ReasonCodecThrow, ReasonCodecTimeout, ReasonCodecMemory, ReasonCodecOutput, ReasonCodecErrors, ReasonCodecInput, ReasonCodecSyntax,
	ReasonCodecSuspended,
	ReasonNoPurpose, ReasonNoKey, ReasonXML, ReasonFormat, ReasonCoordinate,
}

// A Reject is a message that no retry can mend: the same bytes will fail again.
type Reject struct {
	Reason Reason
	Detail string // what was found, what is allowed, and where
}

func (r *Reject) Error() string { return string(r.Reason) + ": " + r.Detail }

// Rejectf makes a Reject.
func Rejectf(reason Reason, format string, args ...any) *Reject {
	return &Reject{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// RejectJSON turns an error of the scanner into a Reject.
func RejectJSON(err error) *Reject {
	var e *jsonscan.Error
	if !errors.As(err, &e) {
		return &Reject{Reason: ReasonSyntax, Detail: err.Error()}
	}
	reason := ReasonSyntax
	switch e.Kind {
	case jsonscan.KindUTF8:
		reason = ReasonUTF8
	case jsonscan.KindDepth:
		reason = ReasonDepth
	case jsonscan.KindNumber:
		reason = ReasonNumber
	}
	return &Reject{Reason: reason, Detail: e.Error()}
}

// Bounds of one message.
const (
	// MaxPayload is how many bytes a payload may have.
	MaxPayload = 1 << 20
	// MaxMetrics is how many values a message may hold, all its records together.
	MaxMetrics = 256
	// MaxDepth is how deep objects and arrays may nest.
	MaxDepth = 32
	// MaxName is how many bytes the name of a metric may have.
	MaxName = 128
	// MaxDetections is how many rows of video metadata a message may bring.
	MaxDetections = 4096
	// maxUplinks is how many rows of radio metadata a message may bring; more are cut.
	maxUplinks = 256
)

// An Input is what a decoder reads.
type Input struct {
	// Domain and Device are those of the topic.
	Domain, Device string
	// Topic as it came.
	Topic string
	// Retained says that the message is old state: a decoder of video metadata may refresh with it.
	Retained bool
	Payload  []byte
	Parsed   Parsed // where not nil, stands for Payload
	Received int64  // Unix ms
	// Again is why the message was rejected before, in a replay of the dead letter; else empty.
	Again Reason
}

// A Taker takes a message over: whatever it is part of comes in again by another session, and acker
// gets token then, or at once where there is nothing to wait for. It keeps nothing of in or of its
// payload. Its error is a *Reject, or ErrClosed. It may block while the log is behind.
type Taker func(in *Input, acker Acker, token uint64) error

// A Decoder reads one message into out, which comes empty. It keeps nothing of either and may run
// on any number of goroutines. Its error is a *Reject; any other is filed as internal.
type Decoder func(in *Input, out *Decoded) error

// text is b as a string that must not outlive it.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

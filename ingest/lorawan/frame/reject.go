package frame

import "fmt"

// A Reason is why a frame or the message around it is refused. It labels a metric: always one of
// the constants, never built from what was received.
type Reason string

// The reasons. Those that other decoders have too bear the same names as theirs.
const (
	ReasonSyntax   Reason = "syntax"           // not the JSON, protobuf or base64 it should be
	ReasonUTF8     Reason = "utf8"             // text that is not UTF-8
	ReasonDepth    Reason = "too_deep"         // nested beyond bounds
	ReasonNumber   Reason = "bad_number"       // beyond what its place can hold
	ReasonType     Reason = "wrong_type"       // a value of a type that means nothing in its place
	ReasonTime     Reason = "bad_time"         // a time that is none
	ReasonTooMany  Reason = "too_many"         // more elements than bounds allow
	ReasonMissing  Reason = "missing_field"    // a field without which the message says nothing
	ReasonIdentity Reason = "bad_identity"     // not a DevEUI, DevAddr, gateway or key
	ReasonEvent    Reason = "unknown_event"    // a kind of message that is not read
	ReasonShort    Reason = "frame_short"      // cut short
	ReasonLong     Reason = "frame_long"       // longer than any LoRaWAN frame
	ReasonMajor    Reason = "frame_major"      // a major version other than LoRaWAN R1
	ReasonMType    Reason = "frame_type"       // downlink, proprietary or reserved
	ReasonPort     Reason = "frame_port"       // FPort 0 beside FOpts
	ReasonDevAddr  Reason = "unknown_dev_addr" // no session has this DevAddr
	ReasonMIC      Reason = "mic"              // no session of this DevAddr signed the frame
	ReasonCounter  Reason = "frame_counter"    // the counter went back and the profile refuses that
	ReasonReplay   Reason = "frame_replay"     // bit for bit a frame that came before
	ReasonCRC      Reason = "crc"              // the gateway says the frame is damaged
	ReasonRegion   Reason = "wrong_region"     // a frequency or data rate outside the region's plan
	ReasonGateway  Reason = "unknown_gateway"  // not on the list of gateways, or one too many
	ReasonRate     Reason = "gateway_rate"     // more than a gateway may send
)

// Reasons lists every reason.
var Reasons = []Reason{
	ReasonSyntax, ReasonUTF8, ReasonDepth, ReasonNumber, ReasonType, ReasonTime, ReasonTooMany, ReasonMissing,
	ReasonIdentity, ReasonEvent, ReasonShort, ReasonLong, ReasonMajor, ReasonMType, ReasonPort, ReasonDevAddr,
	ReasonMIC, ReasonCounter, ReasonReplay, ReasonCRC, ReasonRegion, ReasonGateway, ReasonRate,
}

// A Reject is a message that no retry can mend: the same bytes will fail again.
type Reject struct {
	Reason Reason
	Detail string // what was found and what is allowed, with units
}

func (r *Reject) Error() string { return string(r.Reason) + ": " + r.Detail }

// Rejectf makes a Reject.
func Rejectf(reason Reason, format string, args ...any) *Reject {
	return &Reject{Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

package batch

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
)

// The kinds below are rare: they are plain rows in Go, columns on the log.

// An Event is a state change of a rule's episode. The JSON form is the one of the HTTP API.
type Event struct {
	ID          string          `json:"id"` // the same for the same episode and state, also after a replay
	Rule        string          `json:"rule"`
	RuleVersion string          `json:"rule_version"`
	Severity    string          `json:"severity"` // info, warning, major or critical
	State       string          `json:"state"`    // raised, updated or cleared; of rules in shadow with ShadowState before it
	Time        time.Time       `json:"time"`     // event time of the reading that decided
	Received    time.Time       `json:"received"`
	Domain      string          `json:"domain"`
	Device      string          `json:"device"`
	Zone        string          `json:"zone"`
	Key         string          `json:"key"` // what the rule keeps apart: a device, a zone…
	Text        string          `json:"text"`
	Context     json.RawMessage `json:"context"` // values and thresholds that decided, an object
}

// ShadowState is what the states of events begin with that a rule in shadow made. They are kept to be
// looked at and are nobody's alarms: whoever acts on events leaves them out.
const ShadowState = "shadow_"

// Shadow reports whether a rule in shadow made the event.
func (e *Event) Shadow() bool { return strings.HasPrefix(e.State, ShadowState) }

// A Rejected is a message that could not be decoded, kept with the reason.
type Rejected struct {
	Received time.Time
	Source   string // where it came in: "mqtt", "broker"…
	Topic    string
	Reason   string // one of the ingest's constants
	Detail   string // what was found and what is allowed
	Payload  []byte
}

var eventsSchema = []arrow.Field{
	{Name: "time", Type: timestampMs}, {Name: "received", Type: timestampMs},
	{Name: "id", Type: arrow.BinaryTypes.String}, {Name: "rule", Type: dictType},
	{Name: "rule_version", Type: dictType}, {Name: "severity", Type: dictType},
	{Name: "state", Type: dictType}, {Name: "domain", Type: dictType},
	{Name: "device", Type: arrow.BinaryTypes.String}, {Name: "zone", Type: dictType},
	{Name: "key", Type: arrow.BinaryTypes.String}, {Name: "text", Type: arrow.BinaryTypes.String},
	{Name: "context", Type: arrow.BinaryTypes.String},
}

// EncodeEvents returns the events as an Arrow IPC stream.
func EncodeEvents(events []Event) ([]byte, error) {
	if len(events) > MaxRows {
		return nil, fmt.Errorf("encode events: %d rows, want at most %d", len(events), MaxRows)
	}
	return encode(KindEvents, eventsSchema, nil, len(events), []arrow.Array{
		times(events, func(e *Event) time.Time { return e.Time }),
		times(events, func(e *Event) time.Time { return e.Received }),
		texts(events, func(e *Event) string { return e.ID }),
		dicts(events, func(e *Event) string { return e.Rule }),
		dicts(events, func(e *Event) string { return e.RuleVersion }),
		dicts(events, func(e *Event) string { return e.Severity }),
		dicts(events, func(e *Event) string { return e.State }),
		dicts(events, func(e *Event) string { return e.Domain }),
		texts(events, func(e *Event) string { return e.Device }),
		dicts(events, func(e *Event) string { return e.Zone }),
		texts(events, func(e *Event) string { return e.Key }),
		texts(events, func(e *Event) string { return e.Text }),
		texts(events, func(e *Event) string { return string(e.Context) }),
	})
}

// DecodeEvents reads a batch of events.
func DecodeEvents(data []byte) ([]Event, error) {
	d, err := decode(KindEvents, eventsSchema, data)
	if err != nil {
		return nil, err
	}
	at, received := d.times(0), d.times(1)
	id, device, key, text, context := d.strings(2), d.strings(8), d.strings(10), d.strings(11), d.strings(12)
	rule, version, severity, state, domain, zone := d.dict(3), d.dict(4), d.dict(5), d.dict(6), d.dict(7), d.dict(9)
	if d.err != nil {
		return nil, d.err
	}
	out := make([]Event, len(at))
	for i := range out {
		out[i] = Event{
			ID: id[i], Rule: rule.At(i), RuleVersion: version.At(i), Severity: severity.At(i), State: state.At(i),
			Time: time.UnixMilli(at[i]).UTC(), Received: time.UnixMilli(received[i]).UTC(),
			Domain: domain.At(i), Device: device[i], Zone: zone.At(i), Key: key[i], Text: text[i],
			Context: json.RawMessage(context[i]),
		}
	}
	return out, nil
}

var rejectedSchema = []arrow.Field{
	{Name: "received", Type: timestampMs}, {Name: "source", Type: dictType},
	{Name: "topic", Type: arrow.BinaryTypes.String}, {Name: "reason", Type: dictType},
	{Name: "detail", Type: arrow.BinaryTypes.String}, {Name: "payload", Type: arrow.BinaryTypes.Binary},
}

// EncodeRejected returns the rejected messages as an Arrow IPC stream.
func EncodeRejected(rows []Rejected) ([]byte, error) {
	if len(rows) > MaxRows {
		return nil, fmt.Errorf("encode rejected: %d rows, want at most %d", len(rows), MaxRows)
	}
	payloads := make([]string, len(rows))
	for i := range rows {
		payloads[i] = string(rows[i].Payload)
	}
	return encode(KindRejected, rejectedSchema, nil, len(rows), []arrow.Array{
		times(rows, func(r *Rejected) time.Time { return r.Received }),
		dicts(rows, func(r *Rejected) string { return r.Source }),
		texts(rows, func(r *Rejected) string { return r.Topic }),
		dicts(rows, func(r *Rejected) string { return r.Reason }),
		texts(rows, func(r *Rejected) string { return r.Detail }),
		binaryColumn(payloads),
	})
}

// DecodeRejected reads a batch of rejected messages.
func DecodeRejected(data []byte) ([]Rejected, error) {
	d, err := decode(KindRejected, rejectedSchema, data)
	if err != nil {
		return nil, err
	}
	received, source, topic, reason, detail, payload := d.times(0), d.dict(1), d.strings(2), d.dict(3), d.strings(4), d.strings(5)
	if d.err != nil {
		return nil, d.err
	}
	out := make([]Rejected, len(received))
	for i := range out {
		out[i] = Rejected{
			Received: time.UnixMilli(received[i]).UTC(), Source: source.At(i), Topic: topic[i],
			Reason: reason.At(i), Detail: detail[i], Payload: []byte(payload[i]),
		}
	}
	return out, nil
}

func values[T, V any](rows []T, of func(*T) V) []V {
	out := make([]V, len(rows))
	for i := range rows {
		out[i] = of(&rows[i])
	}
	return out
}

func times[T any](rows []T, of func(*T) time.Time) arrow.Array {
	return timestamps(values(rows, func(r *T) int64 { return of(r).UnixMilli() }))
}

func texts[T any](rows []T, of func(*T) string) arrow.Array { return stringsColumn(values(rows, of)) }

func dicts[T any](rows []T, of func(*T) string) arrow.Array {
	var d Dict
	for i := range rows {
		d.Append(of(&rows[i]))
	}
	return dictionary(&d)
}

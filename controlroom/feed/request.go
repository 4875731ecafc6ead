package feed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"panormus/controlroom/live"
)

// Limits of what a client may say.
const (
	maxIDBytes     = 64
	maxFilterItems = 1000
	maxFilterBytes = 128 // each
	maxHz          = 50
	defaultHz      = 20
)

// topics are all that can be subscribed to. Each has a rule in package auth.
var topics = []string{"state", "events", "alarms", "stats"}

// A request is one message of a client.
type request struct {
	Op       string          `json:"op"`
	ID       *string         `json:"id"`
	Topic    string          `json:"topic"`
	Filter   filter          `json:"filter"`
	MaxHz    *float64        `json:"max_hz"`
	Resume   *resume         `json:"resume"`
	Encoding string          `json:"encoding"`
	N        json.RawMessage `json:"n"`
}

type resume struct {
	Epoch string `json:"epoch"`
	Seq   uint64 `json:"seq"`
}

type filter struct {
	Domain   []string  `json:"domain"`
	Zone     []string  `json:"zone"`
	Device   []string  `json:"device"`
	Severity []string  `json:"severity"`
	Rule     []string  `json:"rule"`
	BBox     []float64 `json:"bbox"`
}

// parse reads and checks one message. The request is returned as far as it could be read, so that
// the answer can name its id.
func parse(data []byte) (request, error) {
	var r request
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		var named struct {
			ID *string `json:"id"`
		}
		if json.Unmarshal(data, &named) == nil {
			r.ID = named.ID
		}
		return r, explain(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return r, errors.New("more after the JSON object, want one object a message")
	}
	return r, r.check()
}

// explain says what encoding/json found in the words of the feed.
func explain(err error) error {
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		if e.Field == "" {
			return fmt.Errorf("a JSON %s, want an object such as {\"op\":\"subscribe\",\"id\":\"a\",\"topic\":\"state\"}", e.Value)
		}
		return fmt.Errorf("%s: a JSON %s, want %s", e.Field, e.Value, jsonKind(e.Type.String()))
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("not JSON at byte %d: %v", e.Offset, e)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("not JSON: it ends too early")
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return fmt.Errorf("unknown member %s, want op, id, topic, filter, max_hz, resume, encoding or n, and in filter domain, zone, device, severity, rule or bbox", name)
	}
	return err
}

func jsonKind(goType string) string {
	switch {
	case strings.HasPrefix(goType, "[]string"):
		return "an array of strings"
	case strings.HasPrefix(goType, "[]float"):
		return "an array of numbers"
	case strings.HasPrefix(goType, "uint"):
		return "a whole number from 0"
	case strings.HasSuffix(goType, "float64"):
		return "a number"
	case strings.HasSuffix(goType, "string"):
		return "a string"
	}
	return "an object"
}

func (r *request) check() error {
	switch r.Op {
	case "ping":
		var n json.Number
		if len(r.N) > 0 && (len(r.N) > 32 || json.Unmarshal(r.N, &n) != nil || r.N[0] == '"') {
			return fmt.Errorf("n: %.40s, want a number", r.N)
		}
		return nil
	case "subscribe", "unsubscribe":
	case "":
		return errors.New("op: missing, want subscribe, unsubscribe or ping")
	default:
		return fmt.Errorf("op: %.40q, want subscribe, unsubscribe or ping", r.Op)
	}
	if r.ID == nil {
		return errors.New("id: missing, want a string that names the subscription")
	}
	if len(*r.ID) == 0 || len(*r.ID) > maxIDBytes {
		return fmt.Errorf("id: %d bytes, want 1 to %d", len(*r.ID), maxIDBytes)
	}
	if r.Op == "unsubscribe" {
		return nil
	}
	if r.Topic == "" {
		return errors.New("topic: missing, want state, events, alarms or stats")
	}
	if !slices.Contains(topics, r.Topic) {
		return fmt.Errorf("topic: %.40q, want state, events, alarms or stats", r.Topic)
	}
	if r.MaxHz != nil && !(*r.MaxHz > 0) {
		return fmt.Errorf("max_hz: %v, want above 0", *r.MaxHz)
	}
	switch {
	case r.Encoding != "" && r.Encoding != "json" && r.Encoding != "bin":
		return fmt.Errorf("encoding: %.40q, want json or bin", r.Encoding)
	case r.Encoding == "bin" && r.Topic != "state":
		return fmt.Errorf("encoding: bin of topic %s, want json: only state has binary frames", r.Topic)
	}
	return r.Filter.check(r.Topic)
}

func (f *filter) check(topic string) error {
	for _, l := range []struct {
		name   string
		values []string
		topics string
	}{
		{"domain", f.Domain, "state events alarms"}, {"zone", f.Zone, "state events alarms"}, {"device", f.Device, "state events alarms"},
		{"severity", f.Severity, "events alarms"}, {"rule", f.Rule, "events alarms"},
	} {
		if len(l.values) == 0 {
			continue
		}
		if !slices.Contains(strings.Fields(l.topics), topic) {
			return fmt.Errorf("filter.%s: not for topic %s, want it on %s only", l.name, topic, strings.ReplaceAll(l.topics, " ", ", "))
		}
		if len(l.values) > maxFilterItems {
			return fmt.Errorf("filter.%s: %d items, want at most %d", l.name, len(l.values), maxFilterItems)
		}
		for _, v := range l.values {
			if len(v) > maxFilterBytes {
				return fmt.Errorf("filter.%s: an item of %d bytes, want at most %d", l.name, len(v), maxFilterBytes)
			}
		}
	}
	for _, s := range f.Severity {
		if _, ok := live.ParseSeverity(s); !ok {
			return fmt.Errorf("filter.severity: %q, want info, warning, major or critical", s)
		}
	}
	if f.BBox == nil {
		return nil
	}
	if topic != "state" {
		return fmt.Errorf("filter.bbox: not for topic %s, want it on state only", topic)
	}
	if len(f.BBox) != 4 {
		return fmt.Errorf("filter.bbox: %d numbers, want west, south, east, north", len(f.BBox))
	}
	if err := f.box().Check(); err != nil {
		return fmt.Errorf("filter.%w", err)
	}
	return nil
}

func (f *filter) box() live.Box {
	return live.Box{West: f.BBox[0], South: f.BBox[1], East: f.BBox[2], North: f.BBox[3]}
}

// hzSteps are the rates that are served: a rate asked for gets the next lower one, so that clients
// that ask for nearly the same share frames.
var hzSteps = []float64{maxHz, 20, 10, 5, 4, 2, 1, 0.5, 0.2, 0.1}

// interval is the least time between two frames of a state subscription.
func (r *request) interval() time.Duration {
	want := float64(defaultHz)
	if r.MaxHz != nil {
		want = *r.MaxHz
	}
	for _, hz := range hzSteps {
		if hz <= want {
			return time.Duration(float64(time.Second) / hz)
		}
	}
	return time.Duration(float64(time.Second) / min(max(want, 0.01), 0.1))
}

// key is the same for subscriptions that can share frames.
func (r *request) key() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s|", r.Topic)
	if r.Topic == "state" {
		fmt.Fprintf(&b, "%s|%d|", r.Encoding, r.interval())
		if r.Filter.BBox != nil {
			fmt.Fprintf(&b, "%v|", r.Filter.box().Snap())
		}
	}
	for _, l := range [][]string{r.Filter.Domain, r.Filter.Zone, r.Filter.Device, r.Filter.Severity, r.Filter.Rule} {
		l = slices.Clone(l)
		slices.Sort(l)
		fmt.Fprintf(&b, "%q|", slices.Compact(l))
	}
	return b.String()
}

// set is a filter's list: empty selects all.
type set map[string]struct{}

func setOf(values []string) set {
	s := make(set, len(values))
	for _, v := range values {
		s[v] = struct{}{}
	}
	return s
}

func (s set) has(v string) bool {
	if len(s) == 0 {
		return true
	}
	_, ok := s[v]
	return ok
}

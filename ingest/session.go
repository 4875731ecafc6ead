package ingest

import (
	"bytes"
	"fmt"
	"math"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"panormus/devices"
	"panormus/stream/batch"
	"panormus/stream/log"
	"panormus/stream/privacy"
)

// A Session is one sender's way into the pump. It belongs to one goroutine.
type Session struct {
	pump   *Pump
	source string
	client string
	acker  Acker
	replay *replaying // nil but in a replay
	topics map[string]*Topic
	last   *Topic
	done   <-chan struct{}
}

// Session opens a way into the pump for the sender called client, which came in through source.
// The acker may be nil for senders that want no acknowledgements. When done closes, a Handle that
// waits for room returns ErrClosed; what was handled before goes on to the log. It may be nil.
func (p *Pump) Session(source, client string, acker Acker, done <-chan struct{}) *Session {
	return &Session{pump: p, source: source, client: client, acker: acker, topics: map[string]*Topic{}, done: done}
}

// Release gives back what the session remembers. Call it last.
func (s *Session) Release() { s.forget() }

// A Topic is what a session remembers of a topic that a route matches.
type Topic struct {
	// Note is at the source's disposal.
	Note uint64

	name    string
	decoder Decoder // nil: ignore
	taker   Taker   // nil: decode
	video   bool
	parsed  bool    // the decoder reads Envelope.Parsed
	reject  *Reject // the topic names no device
	// What the topic names, and what the last message named instead.
	topicDomain, topicDevice        string
	saidDomain, saidDevice, saidEUI string

	// What came of it. All are set together, asset last.
	domain  string
	device  string
	lane    *lane
	asset   *devices.Asset
	version uint64 // of the registry when asset was looked up
	ranges  []valueRange

	// What the camera's purpose allows, by the registry and the policies of those versions.
	grant                       *privacy.Grant
	grantVersion, policyVersion uint64
}

// valueRange is the credible range of the i-th value of a topic's last message.
type valueRange struct {
	name     string
	min, max float64
}

// Name of the topic.
func (t *Topic) Name() string { return t.name }

// Bounds of what sessions remember; beyond, a topic is looked up at every message.
const (
	maxTopics     = 32_768  // a session's
	maxTopicsHeld = 131_072 // all sessions'
)

// Topic returns what is known of a topic, or nil where no route matches: the message is no
// telemetry.
func (s *Session) Topic(name []byte) *Topic {
	if s.last != nil && s.last.name == string(name) {
		return s.last
	}
	t, ok := s.topics[string(name)]
	if !ok {
		if t = s.pump.topic(name); t == nil {
			return nil
		}
		if len(s.topics) >= maxTopics {
			s.forget()
		}
		if t.reject == nil && s.pump.topics.Load() < maxTopicsHeld {
			s.topics[t.name] = t
			s.pump.topics.Add(1)
		}
	}
	s.last = t
	return t
}

func (s *Session) forget() {
	s.pump.topics.Add(-int64(len(s.topics)))
	s.topics, s.last = map[string]*Topic{}, nil
}

// topic finds the route of name, none for what MQTT does not allow as the topic of a message.
func (p *Pump) topic(name []byte) *Topic {
	if bytes.ContainsAny(name, "+#\x00") || !utf8.Valid(name) {
		return nil
	}
	for i := range p.routes {
		r := &p.routes[i]
		domain, device, ok := r.match(text(name))
		if !ok {
			continue
		}
		t := &Topic{name: string(name), decoder: r.decoder, taker: r.taker, video: r.video, parsed: r.parsed}
		if r.decoder == nil {
			return t
		}
		t.topicDomain, t.topicDevice = strings.Clone(domain), strings.Clone(device)
		if err := devices.CheckDomain(domain); err != nil {
			t.reject = Rejectf(ReasonTopic, "topic: domain: %v", err)
		} else if err := devices.CheckID(device); err != nil && r.idAt >= 0 {
			t.reject = Rejectf(ReasonTopic, "topic: device: %v", err)
		}
		return t
	}
	return nil
}

// Speaker says whose a topic is: the device that it names, "" where each message names its own, and the
// domain where the topic names it and not the route. A topic with nothing where the domain is to be is
// nobody's. ok is false where no route matches.
func (p *Pump) Speaker(topic []byte) (domain, device string, ok bool) {
	if bytes.ContainsAny(topic, "+#\x00") || !utf8.Valid(topic) {
		return "", "", false
	}
	for i := range p.routes {
		r := &p.routes[i]
		if domain, device, ok = r.match(string(topic)); ok {
			switch {
			case r.domainAt < 0:
				domain = ""
			case domain == "":
				device = ""
			}
			return domain, device, true
		}
	}
	return "", "", false
}

// Personal reports whether messages of a topic are video metadata, which may be about people.
func (p *Pump) Personal(topic []byte) bool {
	t := p.topic(topic)
	return t != nil && t.video
}

func (p *Pump) lane(device string) *lane {
	return p.lanes[log.Partition(device, len(p.lanes)-1)]
}

// why a message is ignored.
type why uint8

const (
	whyRetained why = iota // old state
	whyCleared             // an empty retained message clears state
	whyEvent               // routed to Ignore
	whyUnrouted            // no route
	whyTaken               // part of another message
	ignoredKinds
)

var whyNames = [ignoredKinds]string{"retained", "cleared", "event", "unrouted", "gathered"}

// Ignore counts and acknowledges a message that clears retained state and says nothing.
func (s *Session) Ignore(e *Envelope) { s.ignore(e, whyCleared) }

func (s *Session) ignore(e *Envelope, w why) {
	s.pump.ignored[w].Add(1)
	if e.Token != 0 && s.acker != nil {
		s.acker.Ack([]uint64{e.Token})
	}
}

// Handle takes in one message: the acker gets its token once it is on the log, in observations or
// among the rejected. Handle blocks while the log is behind. Its only error is ErrClosed: the
// message was not taken in.
func (s *Session) Handle(e *Envelope) error {
	t := s.Topic(e.Topic)
	switch {
	case e.Retained && (t == nil || !t.video):
		s.ignore(e, whyRetained)
		return nil
	case t == nil:
		s.ignore(e, whyUnrouted)
		return nil
	case t.video && len(e.Payload) == 0: // a state of a camera is over, and forgotten
		s.ignore(e, whyCleared)
		return nil
	case t.decoder == nil:
		s.ignore(e, whyEvent)
		return nil
	}
	if e.Parsed != nil && !t.parsed {
		e.unparse()
	}
	if t.taker != nil && s.replay == nil {
		return s.pass(t, e)
	}
	d := s.pump.decoded.Get().(*Decoded)
	defer s.pump.decoded.Put(d)
	d.Reset()
	if err := s.decode(t, e, d); err != nil {
		return s.reject(e, err)
	}
	if e.Retained && !d.Refresh {
		s.ignore(e, whyRetained)
		return nil
	}
	return s.store(t, e, d)
}

// unparse makes the bytes of a message that came parsed.
func (e *Envelope) unparse() {
	if e.Parsed != nil {
		e.Payload, e.Parsed = e.Parsed.AppendPayload(nil), nil
	}
}

// pass hands a message to its taker.
func (s *Session) pass(t *Topic, e *Envelope) error {
	if reject := check(t, e); reject != nil {
		return s.reject(e, reject)
	}
	err := t.taker(&Input{Domain: t.topicDomain, Device: t.topicDevice, Payload: e.Payload, Received: e.Received}, s.acker, e.Token)
	if err == nil {
		s.pump.ignored[whyTaken].Add(1)
		return nil
	}
	if r, ok := err.(*Reject); ok {
		return s.reject(e, r)
	}
	return ErrClosed
}

// check reports what no decoder needs to see.
func check(t *Topic, e *Envelope) *Reject {
	switch {
	case t.reject != nil:
		return t.reject
	case len(e.Payload) == 0 && e.Parsed == nil:
		return Rejectf(ReasonEmpty, "no payload, want at least 1 byte")
	case len(e.Payload) > MaxPayload:
		return TooLarge(len(e.Payload))
	}
	return nil
}

// decode fills d. It turns every fault, panics included, into a Reject.
func (s *Session) decode(t *Topic, e *Envelope, d *Decoded) (reject *Reject) {
	defer func() {
		if p := recover(); p != nil {
			if t.video { // the panic's value may quote the message
				s.pump.cfg.Logger.Error("a decoder of video metadata panicked", "topic", t.name, "stack", string(debug.Stack()))
				reject = Rejectf(ReasonInternal, "decoder panicked")
				return
			}
			s.pump.cfg.Logger.Error("a decoder panicked", "topic", t.name, "panic", p)
			reject = Rejectf(ReasonInternal, "decoder panicked: %v", p)
		}
	}()
	if reject := check(t, e); reject != nil {
		return reject
	}
	d.in = Input{
		Domain: t.topicDomain, Device: t.topicDevice, Topic: t.name, Retained: e.Retained,
		Payload: e.Payload, Parsed: e.Parsed, Received: e.Received,
	}
	if s.replay != nil {
		d.in.Again = s.replay.reason
	}
	if err := t.decoder(&d.in, d); err != nil {
		if r, ok := err.(*Reject); ok {
			return r
		}
		return Rejectf(ReasonInternal, "%v", err)
	}
	return s.find(t, d)
}

// find resolves the device of t: the one its topic names, or the one that d names instead.
func (s *Session) find(t *Topic, d *Decoded) *Reject {
	r := s.pump.cfg.Registry
	v := r.Version()
	if t.asset != nil && t.version == v && t.saidDomain == d.Domain && t.saidDevice == d.Device && t.saidEUI == d.DevEUI {
		return nil
	}
	domain, device := or(d.Domain, t.topicDomain), or(d.Device, t.topicDevice)
	var a *devices.Asset
	if d.DevEUI != "" {
		device = d.DevEUI
		if a = r.LookupDevEUI(d.DevEUI); a != nil {
			device, domain = a.ID, a.Domain
		}
	}
	if a == nil {
		a = r.Lookup(device)
	}
	if a == nil {
		if err := devices.CheckDomain(domain); err != nil {
			return Rejectf(ReasonTopic, "domain: %v", err)
		}
		if err := devices.CheckID(device); err != nil {
			return Rejectf(ReasonTopic, "device: %v", err)
		}
		if s.pump.cfg.RefuseUnknown {
			return Rejectf(ReasonUnknownDevice, "device %q is not registered", device)
		}
		if n := r.Len(); n >= s.pump.cfg.MaxDevices {
			return Rejectf(ReasonUnknownDevice, "device %q is not registered, and %d are: want at most %d", device, n, s.pump.cfg.MaxDevices)
		}
		a = r.Sight(strings.Clone(domain), strings.Clone(device))
	}
	t.saidDomain, t.saidDevice, t.saidEUI = strings.Clone(d.Domain), strings.Clone(d.Device), strings.Clone(d.DevEUI)
	if t.device != device {
		t.device, t.lane = strings.Clone(device), s.pump.lane(device)
	}
	t.domain = strings.Clone(domain)
	t.asset, t.version, t.ranges = a, v, t.ranges[:0]
	return nil
}

func or(v, otherwise string) string {
	if v == "" {
		return otherwise
	}
	return v
}

// A device whose clock is absurd is stored under the receive time.
const maxAhead = int64(10 * time.Minute / time.Millisecond)

var earliest = time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()

// store appends the rows of d to the lane of its device.
func (s *Session) store(t *Topic, e *Envelope, d *Decoded) error {
	var base devices.Quality
	if t.asset.Status == devices.Unclaimed {
		base |= devices.QualityUnknown
	}
	if t.asset.Domain != t.domain {
		base |= devices.QualityIdentity
	}
	if len(d.Detections) > 0 {
		if reject := s.admit(t, d, e.Received, base); reject != nil {
			return s.reject(e, reject)
		}
	}
	own := len(d.Records)+len(d.Detections) > 0
	for i := range d.Detections {
		own = own && d.Detections[i].OwnTime
	}
	for i := range d.Records {
		own = own && d.Records[i].OwnTime
	}
	if e.Token != 0 || s.replay != nil {
		e.unparse()
	}
	var print uint64
	consult := true
	switch {
	case e.Parsed != nil: // nobody sends it again
	case own:
		print = printOf(t.name, e.Payload)
	case s.replay != nil:
		print = printOfReplay(e.Received, t.name, e.Payload)
	case e.Token != 0:
		print = printOfDelivery(s.client, e.PacketID, t.name, e.Payload)
		consult = e.Dup
	}
	if len(t.asset.Metrics) > 0 {
		t.measure(d)
	}

	l, size := t.lane, 0
	if most := int(s.pump.most.Load()); most > 0 {
		if size = d.size(t); size > most {
			return s.reject(e, Rejectf(ReasonTooLarge, "its rows have up to %d bytes, and the log's server takes %d: set max_payload: 8MB there", size, most))
		}
	}
	if err := l.enter(s, size); err != nil {
		return err
	}
	h := l.open
	h.size += size
	again := print != 0 && consult && l.prints.has(print)
	if r := s.replay; r != nil && r.note(again) {
		l.mu.Unlock()
		return nil
	}
	if again {
		h.dups++
		h.owe(s.acker, e.Token)
		l.leave()
		return nil
	}
	for i := range d.Records {
		at, quality := d.Records[i].Time, base
		if !d.Records[i].OwnTime && !d.Records[i].Relative {
			at = e.Received
		} else if at > e.Received+maxAhead || at < earliest {
			at, quality = e.Received, quality|devices.QualityClock
		}
		h.append(t, at, e.Received, d.record(i), quality, d.Records[i].start(d, i))
	}
	if len(d.Uplinks) > 0 {
		device := h.uplinks.Device(t.device)
		for i := range d.Uplinks[:min(len(d.Uplinks), maxUplinks)] {
			h.uplinks.Append(device, &d.Uplinks[i])
		}
	}
	for i := range d.Detections {
		h.det.Append(&d.Detections[i].Detection)
	}
	if print != 0 && len(d.Detections) > 0 {
		l.prints.add(print)
		h.det.Fingerprints = append(h.det.Fingerprints, print)
	} else if print != 0 && len(d.Values) > 0 {
		l.prints.add(print)
		h.obs.Fingerprints = append(h.obs.Fingerprints, print)
	}
	h.decoded++
	h.owe(s.acker, e.Token)
	l.leave()
	return nil
}

func (r *Record) start(d *Decoded, i int) int {
	if i == 0 {
		return 0
	}
	return d.Records[i-1].end
}

// append adds the values of one record, which begin at value start of their message.
func (h *hand) append(t *Topic, at, received int64, values []Value, quality devices.Quality, start int) {
	if len(values) == 0 {
		return
	}
	o, n := &h.obs, len(values)
	domain, device := h.domains.code(&o.Domain, 0, t.domain), o.Device.Code(t.device)
	ranges := t.ranges
	if len(ranges) > 0 {
		ranges = ranges[start:]
	}
	// Column by column what batch.Observations.Append does row by row, most of its look-ups saved.
	o.Time, o.Received = appendN(o.Time, n, at), appendN(o.Received, n, received)
	o.Domain.Index, o.Device.Index = appendN(o.Domain.Index, n, domain), appendN(o.Device.Index, n, device)
	for i := range values {
		v, q := &values[i], quality
		if len(ranges) > 0 && (v.Number < ranges[i].min || v.Number > ranges[i].max) {
			q |= devices.QualityRange
		}
		o.Metric.Index = append(o.Metric.Index, h.metrics.code(&o.Metric, i, v.Name))
		o.Value = append(o.Value, v.Number)
		o.Text.Index = append(o.Text.Index, h.texts.code(&o.Text, i, v.Text))
		o.Quality = append(o.Quality, q)
		h.bytes += len(v.Text)
	}
}

func appendN[T any](s []T, n int, v T) []T {
	for range n {
		s = append(s, v)
	}
	return s
}

// codes remembers the code of the last string at each place of a message: messages of one kind
// have the same metrics in the same order.
type codes [8]struct {
	s    string
	code int16
	ok   bool
}

func (c *codes) code(d *batch.Dict, place int, s string) int16 {
	e := &c[place%len(c)]
	if !e.ok || e.s != s {
		e.s, e.code, e.ok = s, d.Code(s), true
	}
	return e.code
}

// measure makes t.ranges those of d's values, looking up only what changed since the last message.
func (t *Topic) measure(d *Decoded) {
	for i := range d.Values {
		name := d.Values[i].Name
		if i < len(t.ranges) {
			if t.ranges[i].name == name {
				continue
			}
		} else {
			t.ranges = append(t.ranges, valueRange{})
		}
		r := valueRange{name: name, min: math.Inf(-1), max: math.Inf(1)}
		if m, ok := t.asset.Metrics[name]; ok {
			if m.Min != nil {
				r.min = *m.Min
			}
			if m.Max != nil {
				r.max = *m.Max
			}
		}
		t.ranges[i] = r
	}
}

// keptOfTooLarge is how much of a payload beyond MaxPayload goes to the dead letter.
const keptOfTooLarge = 64 << 10

// TooLarge is the Reject of a payload of n bytes.
func TooLarge(n int) *Reject {
	return Rejectf(ReasonTooLarge, "payload of %d bytes, want at most %d; the first %d are kept", n, MaxPayload, keptOfTooLarge)
}

// Reject files a message that the source itself cannot pass on whole, as Handle does with one that
// cannot be decoded.
func (s *Session) Reject(e *Envelope, why *Reject) error { return s.reject(e, why) }

func (s *Session) reject(e *Envelope, why *Reject) error {
	if s.replay != nil {
		s.replay.out.Rejected[why.Reason]++
		return nil
	}
	l := s.pump.deadLetter()
	e.unparse()
	payload := e.Payload
	if t := s.Topic(e.Topic); t != nil && t.video {
		payload = nil // it may hold what is not to be kept
	}
	if why.Reason == ReasonTooLarge && len(payload) > keptOfTooLarge {
		payload = payload[:keptOfTooLarge]
	}
	row := batch.Rejected{
		Received: time.UnixMilli(e.Received).UTC(), Source: s.source, Topic: string(e.Topic), Reason: string(why.Reason),
		Detail: strings.ToValidUTF8(why.Detail, "\uFFFD"), Payload: append([]byte(nil), payload...),
	}
	size := 0
	if most := int(s.pump.most.Load()); most > 0 {
		if kept := most / 2; len(row.Payload) > kept {
			row.Payload, row.Detail = row.Payload[:kept], fmt.Sprintf("%s; only the first %d bytes are kept: the log's server takes no more", row.Detail, kept)
		}
		size = sizeOfRejected(&row)
	}
	if err := l.enter(s, size); err != nil {
		return err
	}
	l.open.size += size
	l.open.rejected = append(l.open.rejected, row)
	l.open.bytes += len(row.Payload) + len(row.Detail) + len(row.Topic)
	l.open.owe(s.acker, e.Token)
	l.leave()
	return nil
}

// String tells sessions apart in logs.
func (s *Session) String() string { return fmt.Sprintf("%s %q", s.source, s.client) }

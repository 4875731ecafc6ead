package rules

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"panormus/stream/batch"
)

// eventID is the same for the same episode and state, also after a replay: a hash of the rule, the
// key, the episode's start and the state. The rule's version is not in it, so that a rule whose
// words changed does not raise twice what it had raised.
func eventID(rule, key string, start int64, state string) string {
	h := sha256.New()
	for _, s := range []string{rule, key, state} {
		h.Write(binary.AppendUvarint(nil, uint64(len(s))))
		h.Write([]byte(s))
	}
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(start)))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// eventContext says why: what was read, what it was held against, since when.
type eventContext struct {
	Values     map[string]any    `json:"values,omitempty"`
	When       string            `json:"when,omitempty"`
	Clear      string            `json:"clear,omitempty"`
	Thresholds json.RawMessage   `json:"thresholds,omitempty"`
	For        string            `json:"for,omitempty"`
	Absent     string            `json:"absent,omitempty"`
	Schedule   *Schedule         `json:"schedule,omitempty"`
	Hold       string            `json:"hold,omitempty"`   // of rules about rows
	KeyOf      string            `json:"key_of,omitempty"` // what the key is, where that is not the device
	Since      string            `json:"since"`
	Began      string            `json:"began,omitempty"` // of a correction of how it began: when it was raised, by what is known now
	Episode    string            `json:"episode"`         // the same in all events of one episode
	Devices    int               `json:"devices,omitempty"`
	Window     *windowBounds     `json:"window,omitempty"`
	Overridden map[string]string `json:"overridden,omitempty"` // parameters that are not the rule's own: device, zone or profile
	Reason     string            `json:"reason,omitempty"`     // of an end that no reading decided
	Ended      string            `json:"ended,omitempty"`      // of a correction: when the episode ended, by what is known now
	Correction int               `json:"correction,omitempty"` // so many times late readings changed what was told of the episode
	Withdrawn  bool              `json:"withdrawn,omitempty"`  // the episode never was, by what is known now
	Title      map[string]string `json:"title,omitempty"`
	Chain      []string          `json:"chain,omitempty"` // of rules on events: those that it comes of
}

// evidence is what the frame says about a rule at a moment.
type evidence struct {
	text   string
	values map[string]any
	bounds *windowBounds
	chain  []string
	tuned  map[string]string // see eventContext.Overridden
	again  *revision         // nil: nothing of the episode was told otherwise before
	of     *whose            // of keys of which a ledger is kept
}

// revision is what an event of an episode says that was told otherwise before.
type revision struct {
	since, ended int64  // as is known now; ended is 0 where it stands
	began        int64  // likewise, when it was raised; 0 in an event of its end
	nth          uint32 // events of the state before this one
	corrections  int
	withdrawn    bool
}

const timeLayout = "2006-01-02T15:04:05.000Z"

func formatTime(ms int64) string { return time.UnixMilli(ms).UTC().Format(timeLayout) }

// evidence reads the frame.
func (r *bound) evidence(f *frame, key string, start int64) evidence {
	v := evidence{values: map[string]any{}, tuned: r.overridden(f)}
	if w := f.window; w.to != 0 && r.Window != nil {
		v.bounds = &windowBounds{Type: r.Window.Type, From: formatTime(w.from), To: formatTime(w.to)}
	}
	for i := range r.shows {
		s := &r.shows[i]
		if s.bit != 0 {
			v.values[s.name] = f.quality&s.bit != 0
			continue
		}
		if s.text != nil {
			if t, ok := s.text(f); ok {
				v.values[s.name] = clipText(t, 256)
				continue
			}
		}
		if s.num != nil {
			if n := s.num(f); !math.IsNaN(n) && !math.IsInf(n, 0) {
				v.values[s.name] = n
			}
		}
	}
	if len(r.text) == 0 {
		v.text = r.title()
		return v
	}
	var b strings.Builder
	for i := range r.text {
		p := &r.text[i]
		switch {
		case p.get != nil:
			b.WriteString(p.get(f))
		case p.special == "window_start" || p.special == "window_end":
			b.WriteString(f.window.text(p.special))
		case p.special != "":
			b.WriteString(r.special(p.special, key, start))
		default:
			b.WriteString(p.words)
		}
	}
	v.text = clipText(b.String(), 4096)
	return v
}

func (r *bound) special(name, key string, start int64) string {
	switch name {
	case "since":
		return formatTime(start)
	case "for":
		if r.Absent > 0 {
			return formatDuration(r.Absent)
		}
		return formatDuration(r.For)
	case "key":
		return key
	case "severity":
		return r.Severity
	case "title":
		return r.title()
	}
	return r.ID
}

// eventOf is event of an episode whose evidence says whose it is.
func (r *bound) eventOf(state, key string, start, at, received int64, v evidence, reason string) batch.Event {
	ev := r.event(state, key, start, at, received, v, v.of.Devices, reason)
	ev.Domain, ev.Device, ev.Zone = v.of.Domain, v.of.Device, v.of.Zone
	return ev
}

// event makes an event of an episode. Times are Unix ms.
func (r *bound) event(state, key string, start, at, received int64, v evidence, devices int, reason string) batch.Event {
	if r.Shadow {
		state = batch.ShadowState + state
	}
	c := eventContext{
		Values: v.values, When: r.When, Clear: r.Clear, Thresholds: r.thresholds(v.values), Overridden: v.tuned, Since: formatTime(start),
		Episode: eventID(r.ID, key, start, "episode"), Devices: devices, Window: v.bounds, Reason: reason, Title: r.Title,
		Chain: v.chain, Schedule: r.Schedule,
	}
	id := eventID(r.ID, key, start, state)
	if a := v.again; a != nil {
		c.Since, c.Correction, c.Withdrawn = formatTime(a.since), a.corrections, a.withdrawn
		if a.ended != 0 {
			c.Ended = formatTime(a.ended)
		}
		if a.began != 0 {
			c.Began = formatTime(a.began)
		}
		if a.nth > 0 {
			id = eventID(r.ID, key, start, fmt.Sprint(state, "#", a.nth))
		}
	}
	if r.For > 0 {
		c.For = formatDuration(r.For)
	}
	if r.Absent > 0 {
		c.Absent = formatDuration(r.Absent)
	}
	if r.On != onObservations && r.On != "" && !r.windowed() {
		c.Hold = formatDuration(time.Duration(r.holdMs()) * time.Millisecond)
	}
	if r.Key != "device" {
		c.KeyOf = r.Key
	}
	return batch.Event{
		ID: id, Rule: r.ID, RuleVersion: r.Version, Severity: r.Severity, State: state,
		Time: time.UnixMilli(at).UTC(), Received: time.UnixMilli(received).UTC(), Key: key, Text: v.text, Context: plainJSON(c),
	}
}

// plainJSON writes v without escaping < and >: conditions are read by people.
func plainJSON(v any) json.RawMessage {
	var raw bytes.Buffer
	enc := json.NewEncoder(&raw)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("BUG: what JSON cannot write: " + err.Error())
	}
	return bytes.TrimSpace(raw.Bytes())
}

// emit puts out an event of the frame's device.
func (s *shard) emit(d *device, r *bound, state string, start, at int64, reason string) {
	if r.redone {
		s.tellOf(d, r, state, start, at, reason)
		return
	}
	ev := r.event(state, d.id, start, at, s.received, r.evidence(&s.frame, d.id, start), 0, reason)
	ev.Domain, ev.Device, ev.Zone = d.domain, d.id, s.frame.asset().Zone
	s.say(ev)
}

func (s *shard) say(ev batch.Event) {
	s.out = append(s.out, made{seq: s.seq, n: s.n, Event: ev})
	s.n++
}

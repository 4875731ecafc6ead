package notify

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"panormus/stream/batch"
)

// What a message is about.
const (
	KindAlarm  = "alarm"  // something was raised, changed or ended
	KindRepeat = "repeat" // it is still so
)

// Whether anything that a message tells is still so.
const (
	StatusFiring   = "firing"
	StatusResolved = "resolved"
)

// A Message is what a receiver gets: the news of one group of alarms. Its JSON form is the body of
// webhooks and of MQTT messages.
type Message struct {
	// ID is the same for the same news: a receiver drops one that it has seen.
	ID       string            `json:"id"`
	Receiver string            `json:"receiver"`
	Route    string            `json:"route"`
	Kind     string            `json:"kind"`
	Status   string            `json:"status"`
	Severity string            `json:"severity"` // the highest of Alarms
	Group    map[string]string `json:"group"`
	Formed   Time              `json:"time"`
	Repeat   int               `json:"repeat,omitempty"` // which one, of a repeat
	Open     int               `json:"open"`             // alarms of the group that are open, those not listed too
	Alarms   []Notice          `json:"alarms"`

	group string // its key, for the order of a group's messages
}

// A Notice is the newest event of an episode.
type Notice struct {
	ID       string          `json:"id"` // of the event
	Rule     string          `json:"rule"`
	Severity string          `json:"severity"`
	State    string          `json:"state"` // raised, updated or cleared
	Raised   Time            `json:"raised"`
	Time     Time            `json:"time"`
	Domain   string          `json:"domain"`
	Device   string          `json:"device"`
	Zone     string          `json:"zone"`
	Key      string          `json:"key"`
	Text     string          `json:"text"`
	Context  json.RawMessage `json:"context,omitempty"`
	// Escalated is true where the news is that nobody acknowledged it in time, and its severity is what it grew to.
	Escalated bool `json:"escalated,omitempty"`
}

// Bounds of what is kept of an event, and sent.
const (
	maxText    = 1024
	maxContext = 4096
)

func noticeOf(e *batch.Event, raised Time) Notice {
	a := Notice{
		ID: e.ID, Rule: e.Rule, Severity: e.Severity, State: e.State, Raised: raised, Time: Time{e.Time}, Domain: e.Domain,
		Device: e.Device, Zone: e.Zone, Key: e.Key, Text: cut(e.Text, maxText),
	}
	if len(e.Context) <= maxContext && json.Valid(e.Context) {
		a.Context = e.Context
	}
	return a
}

// cut is the beginning of s, in whole letters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// newMessage makes the message of alarms, which are not empty.
func newMessage(receiver, kind string, g *group, now time.Time, alarms []Notice) *Message {
	m := &Message{Receiver: receiver, Route: g.Route, Kind: kind, Status: StatusResolved, Group: g.Labels, Formed: Time{now}, Alarms: alarms, group: g.key()}
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q", receiver, kind, m.group)
	for i := range alarms {
		a := &alarms[i]
		if a.State != "cleared" {
			m.Status = StatusFiring
		}
		if m.Severity == "" || rank(a.Severity) > rank(m.Severity) {
			m.Severity = a.Severity
		}
		fmt.Fprintf(h, " %q", a.ID)
	}
	if kind == KindRepeat {
		// The same events are told again: only the time tells the repeats apart. It is kept before
		// the message is sent, as the whole message is.
		fmt.Fprintf(h, " %d", now.UnixMilli())
	}
	m.ID = hex.EncodeToString(h.Sum(nil)[:16])
	for _, e := range g.Episodes {
		if e.Alarm.State != "cleared" {
			m.Open++
		}
	}
	return m
}

// Subject is the message in one line.
func (m *Message) Subject() string {
	word := strings.ToUpper(m.Severity)
	if m.Status == StatusResolved {
		word = "RESOLVED"
	} else if m.Kind == KindRepeat {
		word = "STILL " + word
	}
	text := m.Alarms[0].Text
	if m.Alarms[0].Escalated {
		text = "not acknowledged: " + text
	}
	s := fmt.Sprintf("[%s] %s", word, text)
	if n := len(m.Alarms) - 1; n > 0 {
		s = fmt.Sprintf("[%s] %d alarms: %s", word, n+1, text)
	}
	return cut(oneLine(s), 160)
}

// oneLine is s with blanks for all that ends a line, controls a terminal or turns the direction of what follows.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control) {
			return ' '
		}
		return r
	}, s)
}

// Plain is the message for people to read.
func (m *Message) Plain() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", m.Subject())
	for _, k := range slices.Sorted(maps.Keys(m.Group)) {
		fmt.Fprintf(&b, "%s: %s\n", k, oneLine(m.Group[k]))
	}
	b.WriteByte('\n')
	for i := range m.Alarms {
		a := &m.Alarms[i]
		state := a.State
		if a.Escalated {
			state = "not acknowledged"
		}
		fmt.Fprintf(&b, "- %s %s %s %s\n  %s\n  raised %s\n", a.Time.In(rome()).Format("2006-01-02 15:04:05 MST"), a.Severity, state, oneLine(a.Device),
			oneLine(a.Text), a.Raised.In(rome()).Format("2006-01-02 15:04:05 MST"))
	}
	fmt.Fprintf(&b, "\nOpen in this group: %d\nMessage %s\n", m.Open, m.ID)
	return b.String()
}

// Time is a time that is written as the API writes it: RFC 3339, UTC, milliseconds.
type Time struct{ time.Time }

// MarshalJSON implements json.Marshaler.
func (t Time) MarshalJSON() ([]byte, error) {
	return json.Marshal(t.UTC().Format("2006-01-02T15:04:05.000Z"))
}

package alarms

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"panormus/stream/batch"
)

// A State is where an alarm stands.
type State string

// The states.
const (
	Normal       State = "normal"         // nothing to do
	Unacked      State = "unacked"        // stands, nobody has acknowledged it
	Acked        State = "acked"          // stands, acknowledged
	Returned     State = "returned"       // cleared before anybody acknowledged it
	Shelved      State = "shelved"        // put away by an operator for a time
	Suppressed   State = "suppressed"     // stands, but another alarm or a maintenance window explains it
	OutOfService State = "out_of_service" // stands, but nobody is to look at its device, zone or rule
)

// States are all of them.
var States = []State{Normal, Unacked, Acked, Returned, Shelved, Suppressed, OutOfService}

// severities, least first.
var severities = []string{"info", "warning", "major", "critical"}

func rank(severity string) int { return slices.Index(severities, severity) }

// A Place is where an event stands in the log.
type Place struct {
	Seq uint64 `json:"seq"`
	Row int    `json:"row"`
}

func (p Place) before(o Place) bool {
	return cmp.Or(cmp.Compare(p.Seq, o.Seq), cmp.Compare(p.Row, o.Row)) < 0
}

// A Hold keeps an alarm from operators by design. The zero Hold does not.
type Hold struct {
	State State  `json:"state,omitempty"` // Suppressed or OutOfService
	Why   string `json:"why,omitempty"`
}

// An Alarm is what is known of one rule and key. Bounds: texts are clipped to maxText bytes.
type Alarm struct {
	ID       string `json:"id"` // a hash of rule and key
	Rule     string `json:"rule"`
	Key      string `json:"key"`
	Domain   string `json:"domain,omitempty"`
	Device   string `json:"device,omitempty"`
	Zone     string `json:"zone,omitempty"`
	Text     string `json:"text,omitempty"`
	Severity string `json:"severity"`      // as shown: the rule's, or what it escalated to
	Base     string `json:"base_severity"` // the rule's

	Active    bool `json:"active"`           // the rule's condition holds
	Confirmed bool `json:"acked"`            // acknowledged, or never to be
	Closed    bool `json:"closed,omitempty"` // by hand, though the condition holds
	Hold      Hold `json:"hold,omitzero"`

	Raised  time.Time `json:"raised"` // first since it was normal
	Cleared time.Time `json:"cleared,omitzero"`
	Since   time.Time `json:"since"`   // of the present state
	Changed time.Time `json:"changed"` // last change of any kind
	Count   int       `json:"count"`   // raises since it was normal

	AckedBy      string    `json:"acked_by,omitempty"`
	AckedAt      time.Time `json:"acked_at,omitzero"`
	AssignedTo   string    `json:"assigned_to,omitempty"`
	ShelvedUntil time.Time `json:"shelved_until,omitzero"`
	ShelvedBy    string    `json:"shelved_by,omitempty"`
	Note         string    `json:"note,omitempty"` // the newest one
	Escalated    bool      `json:"escalated,omitempty"`
	Chattering   bool      `json:"chattering,omitempty"`

	// Group are the alarms that belong together, FirstOut the id of the one of them that came first: its
	// own, perhaps. Both are empty where nothing says what belongs together.
	Group    string `json:"group,omitempty"`
	FirstOut string `json:"first_out,omitempty"`
	// Clearing is since when the condition holds no more, while an off delay runs.
	Clearing time.Time `json:"clearing,omitzero"`

	Raises []time.Time `json:"raises,omitempty"` // the newest, at most maxRaises
	// Quiet has a bit for each of Raises that called nobody: the alarm stood already, or was kept from operators. The
	// newest is the lowest; an alarm of the time before there was this has none.
	Quiet uint16 `json:"quiet,omitempty"`
	Event string `json:"event,omitempty"` // id of the newest event
	At    Place  `json:"at"`              // of the newest event
	N     int64  `json:"n"`               // entries ever made
	Last  Entry  `json:"last"`            // the newest one
	// Pending are entries that may not be on the log yet.
	Pending []Entry `json:"pending,omitempty"`

	// Of the value in the bucket: the alarm's rev that it was made from, the newest act in it, and
	// where it only takes in acts the rev that the alarm keeps. Gone is about to be forgotten.
	After uint64 `json:"after,omitempty"`
	Seen  uint64 `json:"seen,omitempty"`
	Same  uint64 `json:"same,omitempty"`
	Gone  bool   `json:"gone,omitempty"`
}

// An Entry is one thing that happened to an alarm.
type Entry struct {
	N        int64     `json:"n"`
	Time     time.Time `json:"time"`
	Action   string    `json:"action"`
	By       string    `json:"by,omitempty"`
	Note     string    `json:"note,omitempty"`
	State    State     `json:"state"`
	Severity string    `json:"severity"`
}

// Bounds of one alarm.
const (
	maxText   = 4096
	maxRaises = 16 // the bits of Quiet
)

// ID names the alarm of a rule and key.
func ID(rule, key string) string {
	sum := sha256.Sum256([]byte(rule + "\x00" + key))
	return hex.EncodeToString(sum[:12])
}

// State is where the alarm stands.
func (a *Alarm) State() State {
	switch {
	case a.Active && a.Hold.State != "":
		return a.Hold.State
	case !a.ShelvedUntil.IsZero():
		return Shelved
	case a.Active && a.Confirmed:
		return Acked
	case a.Active:
		return Unacked
	case a.Confirmed:
		return Normal
	}
	return Returned
}

// hidden reports whether operators are not to be called.
func (a *Alarm) hidden() bool { return a.Hold.State != "" || !a.ShelvedUntil.IsZero() }

// Open reports whether the alarm is in any state but normal.
func (a *Alarm) Open() bool { return a.State() != Normal }

// clone is a copy. What is in its lists is shared, and never changes: what is added goes to new memory.
func (a *Alarm) clone() *Alarm {
	c := *a
	c.Raises, c.Pending = slices.Clip(a.Raises), slices.Clip(a.Pending)
	return &c
}

// change runs one step of the machine and writes what happened into Pending; a step that returns no
// action changed nothing.
func (a *Alarm) change(at time.Time, by, note string, step func() (action string)) bool {
	before := a.State()
	action := step()
	if action == "" {
		return false
	}
	if state := a.State(); state != before || a.Since.IsZero() {
		a.Since = at
	}
	if a.Escalated && a.State() == Normal {
		a.Escalated, a.Severity = false, a.Base
	}
	a.enter(at, action, by, note)
	return true
}

func (a *Alarm) enter(at time.Time, action, by, note string) {
	a.N++
	a.Changed = at
	a.Last = Entry{N: a.N, Time: at, Action: action, By: by, Note: note, State: a.State(), Severity: a.Severity}
	a.Pending = append(a.Pending, a.Last)
}

// setSeverity takes the rule's word; what escalated stays at least where it is.
func (a *Alarm) setSeverity(severity string) {
	if !a.Escalated || rank(severity) > rank(a.Severity) {
		a.Severity = severity
	}
	a.Base = severity
}

// surface shows the alarm again after it was shelved, suppressed or out of service: what stands has to
// be acknowledged anew, what cleared meanwhile is over.
func (a *Alarm) surface() {
	if !a.hidden() {
		a.Confirmed = !a.Active
		if a.Active {
			a.AckedBy, a.AckedAt = "", time.Time{}
		}
	}
}

// when is an event's time for what is counted from it on.
func when(ev *batch.Event) time.Time {
	if ev.Received.IsZero() {
		return ev.Time
	}
	return ev.Received
}

// apply takes an event, at its place in the log, and reports whether it changed anything. One that
// was taken before changes nothing. Hold is what keeps the alarm from operators now.
func (a *Alarm) apply(ev *batch.Event, at Place, hold Hold, cfg *Config) bool {
	if a.At.Seq != 0 && !a.At.before(at) {
		return false
	}
	now := when(ev)
	below := rank(ev.Severity) < rank(cfg.From)
	var step func() string
	switch {
	case (ev.State == "cleared" || below) && a.Active && cfg.offDelay(a) > 0:
		if !a.Clearing.IsZero() {
			return false
		}
		step = func() string {
			a.Clearing = now
			return "clearing"
		}
	case ev.State == "cleared" || below:
		step = func() string { return a.clear(ev.Time) }
	case !a.Clearing.IsZero(): // it is back before anybody was told that it ended
		step = func() string { return a.update(ev) }
	case ev.State == "updated" && a.Active:
		step = func() string { return a.update(ev) }
	case ev.State == "updated" && (a.Closed || !ev.Time.After(a.Cleared)): // of what is over
		return false
	default:
		step = func() string { return a.raise(ev, hold) }
	}
	if !a.change(now, "", "", step) {
		return false
	}
	a.At, a.Event, a.Gone = at, ev.ID, false
	if n := a.raisesSince(ev.Time.Add(-cfg.Chatter.Within)); n > cfg.Chatter.Raises && !a.Chattering {
		a.Chattering = true
		a.enter(now, "chattering", "", "")
	}
	return true
}

func (a *Alarm) raisesSince(t time.Time) int {
	n := 0
	for _, r := range a.Raises {
		if r.After(t) {
			n++
		}
	}
	return n
}

func (a *Alarm) raise(ev *batch.Event, hold Hold) string {
	before := a.State()
	if !a.Open() { // a new occurrence
		a.Count, a.Raised, a.Note, a.AssignedTo = 0, ev.Time, "", ""
	}
	if !a.Active {
		a.Confirmed, a.AckedBy, a.AckedAt = false, "", time.Time{}
		a.Hold = hold
	}
	a.Active, a.Closed, a.Cleared = true, false, time.Time{}
	a.Count++
	a.Raises = append(a.Raises, ev.Time)
	a.Raises = a.Raises[max(0, len(a.Raises)-maxRaises):]
	a.Domain, a.Device, a.Zone, a.Text = ev.Domain, ev.Device, ev.Zone, clip(ev.Text)
	a.setSeverity(ev.Severity)
	if a.Quiet <<= 1; before == Unacked || a.State() != Unacked {
		a.Quiet |= 1
	}
	return "raised"
}

func (a *Alarm) update(ev *batch.Event) string {
	a.Clearing = time.Time{}
	if rank(ev.Severity) > rank(a.Severity) && a.Confirmed {
		a.Confirmed, a.AckedBy, a.AckedAt = false, "", time.Time{} // it is worse than what was acknowledged
	}
	a.setSeverity(ev.Severity)
	a.Text = clip(ev.Text)
	return "updated"
}

func (a *Alarm) clear(at time.Time) string {
	a.Closed, a.Clearing = false, time.Time{}
	if !a.Active {
		return ""
	}
	if a.hidden() {
		a.Confirmed = true
	}
	a.Active, a.Cleared, a.Hold = false, at, Hold{}
	return "cleared"
}

// hold puts the alarm under h, or takes it out with the zero Hold.
func (a *Alarm) hold(h Hold, at time.Time) bool {
	if !a.Active || a.Hold == h {
		return false
	}
	return a.change(at, "", h.Why, func() string {
		a.Hold = h
		if h.State == "" {
			a.surface()
			return "released"
		}
		return string(h.State)
	})
}

// tick does what time alone does: the end of an off delay, of shelving, of chattering, and escalation.
func (a *Alarm) tick(now time.Time, cfg *Config) bool {
	changed := false
	if at := a.Clearing; !at.IsZero() && now.Sub(at) >= cfg.offDelay(a) {
		changed = a.change(now, "", "", func() string { return a.clear(at) })
	}
	if !a.ShelvedUntil.IsZero() && !now.Before(a.ShelvedUntil) {
		changed = a.change(now, "", "expired", a.unshelve) || changed
	}
	if a.Chattering && len(a.Raises) > 0 && now.Sub(a.Raises[len(a.Raises)-1]) > cfg.Chatter.Within {
		a.Chattering = false
		a.enter(now, "calm", "", "")
		changed = true
	}
	if e, ok := cfg.escalation(a); ok && now.Sub(a.Since) >= e.After {
		changed = a.change(now, "", "not acknowledged for "+e.After.String(), func() string {
			a.Escalated, a.Severity = true, e.To
			return "escalated"
		}) || changed
	}
	return changed
}

// due is when tick has something to do next, zero for never.
func (a *Alarm) due(cfg *Config) time.Time {
	at := a.ShelvedUntil
	soonest := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	if a.Chattering && len(a.Raises) > 0 {
		soonest(a.Raises[len(a.Raises)-1].Add(cfg.Chatter.Within + time.Millisecond))
	}
	if !a.Clearing.IsZero() {
		soonest(a.Clearing.Add(cfg.offDelay(a)))
	}
	if e, ok := cfg.escalation(a); ok {
		soonest(a.Since.Add(e.After))
	}
	return at
}

func clip(s string) string {
	if len(s) > maxText {
		return s[:maxText]
	}
	return s
}

package alarms

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// An Act is what an operator does to an alarm.
type Act struct {
	Action string    `json:"action"` // one of Actions
	By     string    `json:"by,omitempty"`
	Note   string    `json:"note,omitempty"`
	Until  time.Time `json:"until,omitzero"` // of shelve
	To     string    `json:"to,omitempty"`   // of assign; "" takes the assignment back
	Rev    uint64    `json:"-"`              // where not 0, the alarm's rev that the operator saw
}

// Actions are what can be done to an alarm.
var Actions = []string{"ack", "unack", "shelve", "unshelve", "assign", "comment", "close"}

// allowed are the states in which an action makes sense; assign and comment do in all.
var allowed = map[string][]State{
	"ack":      {Unacked, Returned},
	"unack":    {Acked},
	"shelve":   {Normal, Unacked, Acked, Returned, Shelved},
	"unshelve": {Shelved},
	"close":    {Unacked, Acked, Returned},
	"assign":   States,
	"comment":  States,
}

// Fits are the states in which an action makes sense, all where it is none of Actions.
func Fits(action string) []State {
	if states, ok := allowed[action]; ok {
		return slices.Clone(states)
	}
	return slices.Clone(States)
}

var (
	// ErrNotFound is the answer where there is no such alarm.
	ErrNotFound = errors.New("no such alarm")
	// ErrInvalid is the answer, wrapped, to an act that no alarm could take.
	ErrInvalid = errors.New("invalid")
)

// A Conflict is an act that does not fit the alarm as it is now.
type Conflict struct {
	Now  Record // the alarm as it is
	Text string // what changed
}

func (c *Conflict) Error() string { return c.Text }

// Bounds of what operators write.
const (
	maxNote = 2000
	maxName = 128
)

// Check reports, as an ErrInvalid, what is wrong with the act whatever the alarm.
func (x *Act) Check(now time.Time, cfg *Config) error {
	bad := func(format string, a ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, a...)...)
	}
	if _, ok := allowed[x.Action]; !ok {
		return bad("action %.40q, want one of %s", x.Action, strings.Join(Actions, ", "))
	}
	if len(x.Note) > maxNote {
		return bad("note: %d bytes, want at most %d", len(x.Note), maxNote)
	}
	if len(x.To) > maxName {
		return bad("to: %d bytes, want at most %d", len(x.To), maxName)
	}
	switch x.Action {
	case "comment":
		if strings.TrimSpace(x.Note) == "" {
			return bad("note: empty, want the comment")
		}
	case "shelve":
		if x.Until.IsZero() {
			return bad("until: not given, want when shelving ends, at most %v from now", cfg.ShelveMax)
		}
		if d := x.Until.Sub(now); d <= 0 || d > cfg.ShelveMax {
			return bad("until: %s, want after now and at most %v from now (until %s)", x.Until.UTC().Format(time.RFC3339), cfg.ShelveMax, now.Add(cfg.ShelveMax).UTC().Format(time.RFC3339))
		}
	}
	if x.Action != "shelve" && !x.Until.IsZero() {
		return bad("until: given for %s, want it for shelve only", x.Action)
	}
	if x.Action != "assign" && x.To != "" {
		return bad("to: given for %s, want it for assign only", x.Action)
	}
	return nil
}

// fits reports, as a *Conflict, why x cannot be done to the alarm as it is.
func (x *Act) fits(r Record) error {
	if x.Rev != 0 && x.Rev != r.Rev {
		return &Conflict{r, fmt.Sprintf("rev %d is stale: %s", x.Rev, r.said())}
	}
	if state := r.State(); !slices.Contains(allowed[x.Action], state) {
		return &Conflict{r, fmt.Sprintf("%s does not fit: %s", x.Action, r.said())}
	}
	return nil
}

// said is the note of the entry that x makes.
func (x *Act) said() string {
	switch x.Action {
	case "assign":
		to := x.To
		if to == "" {
			to = "nobody"
		}
		return strings.TrimSuffix(strings.TrimSpace("to "+to+": "+x.Note), ":")
	case "shelve":
		return strings.TrimSuffix("until "+x.Until.UTC().Format(time.RFC3339)+": "+x.Note, ": ")
	}
	return x.Note
}

// do does x, which fitted the alarm when it was taken, and enters it with a note: the alarm may have changed
// since by an event that had not heard of it, and then what has no sense any more is only noted.
func (a *Alarm) do(x *Act, note string, at time.Time) {
	if x.Note != "" {
		a.Note = x.Note
	}
	a.Gone = false
	a.change(at, x.By, note, func() string {
		switch x.Action {
		case "ack":
			if a.Open() {
				a.Confirmed, a.AckedBy, a.AckedAt = true, x.By, at
			}
		case "unack":
			if a.Active {
				a.Confirmed, a.AckedBy, a.AckedAt = false, "", time.Time{}
			}
		case "shelve":
			a.ShelvedUntil, a.ShelvedBy = x.Until.UTC(), x.By
			if !a.Active {
				a.Confirmed = true
			}
		case "unshelve":
			if !a.ShelvedUntil.IsZero() {
				a.unshelve()
			}
		case "assign":
			a.AssignedTo = x.To
		case "close":
			a.Closed, a.Active, a.Hold, a.Clearing = a.Active && a.Clearing.IsZero(), false, Hold{}, time.Time{}
			if a.Cleared.IsZero() {
				a.Cleared = at
			}
			if !a.Confirmed {
				a.Confirmed, a.AckedBy, a.AckedAt = true, x.By, at
			}
		}
		return x.Action
	})
}

func (a *Alarm) unshelve() string {
	a.ShelvedUntil, a.ShelvedBy = time.Time{}, ""
	a.surface()
	return "unshelve"
}

// said tells how the alarm stands and who changed it last.
func (r Record) said() string {
	e := r.Last
	who := e.By
	if who == "" {
		who = "the system"
	}
	return fmt.Sprintf("the alarm is %s since %s, rev %d; the last change was %s by %s at %s", r.State(), r.Since.UTC().Format(time.RFC3339), r.Rev,
		e.Action, who, e.Time.UTC().Format(time.RFC3339))
}

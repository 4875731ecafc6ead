package alarms

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Config is how alarms behave. The zero value of a field takes its default.
type Config struct {
	// From is the least severity that needs an operator; what is below stays an event. Default warning.
	From string
	// ShelveMax is the longest that an alarm can be shelved; default 24 h.
	ShelveMax time.Duration
	// Escalate says which alarms grow graver when nobody acknowledges them; nil: a major one is
	// critical after 10 min.
	Escalate []Escalation
	Chatter  Chatter
	Flood    Flood
	// Operators is how many share the alarms; the figures of the alarm system are for each. Default 1.
	Operators int
	// Stale is after how long an alarm that stands is stale; default 24 h.
	Stale time.Duration
	// Keep is how long a normal alarm is remembered; default 24 h.
	Keep time.Duration
	// Inhibit are the alarms that suppress others.
	Inhibit []Inhibition
	// FirstOut are the groups of which the alarm that came first is known.
	FirstOut []FirstOut
	// OffDelay says which alarms stand for a while after their condition has ended.
	OffDelay []OffDelay
	// Max bounds the alarms; beyond it normal ones are forgotten, then new ones are refused and
	// counted. Default 500,000.
	Max int
}

// An Escalation makes an unacknowledged alarm of a severity graver after a time.
type Escalation struct {
	Severity, To string
	After        time.Duration
}

// A Chatter says when an alarm chatters: when it is raised more than Raises times, at most 15, within
// Within. Default 5 in 10 min.
type Chatter struct {
	Raises int
	Within time.Duration
}

// A Flood begins above Begin new alarms within Within and ends below End. Default 10, 5 and 10 min.
type Flood struct {
	Begin, End int
	Within     time.Duration
}

// An Inhibition: while an alarm of rule By stands, those of Domain, or of all where that is empty,
// are suppressed that share its Zone.
type Inhibition struct{ By, Domain string }

// An OffDelay: an alarm of Rule, or of any rule of Domain, is cleared only when its condition has not held
// for After; one that comes back before has never cleared. The first that fits counts.
type OffDelay struct {
	Rule, Domain string
	After        time.Duration
}

func orDefault[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// defaults fills in what is not said.
func (c *Config) defaults() {
	orDefault(&c.From, "warning")
	orDefault(&c.ShelveMax, 24*time.Hour)
	orDefault(&c.Chatter, Chatter{5, 10 * time.Minute})
	orDefault(&c.Flood, Flood{10, 5, 10 * time.Minute})
	orDefault(&c.Stale, 24*time.Hour)
	orDefault(&c.Keep, 24*time.Hour)
	orDefault(&c.Operators, 1)
	orDefault(&c.Max, 500_000)
	if c.Escalate == nil {
		c.Escalate = []Escalation{{"major", "critical", 10 * time.Minute}}
	}
}

// Check reports what is wrong with c, once defaults are in place.
func (c Config) Check() error {
	c.defaults()
	known := func(name, severity string) error {
		if !slices.Contains(severities, severity) {
			return fmt.Errorf("%s: %q, want %s", name, severity, strings.Join(severities, ", "))
		}
		return nil
	}
	if err := known("from", c.From); err != nil {
		return err
	}
	for _, e := range c.Escalate {
		if err := known("escalate.severity", e.Severity); err != nil {
			return err
		}
		if err := known("escalate.to", e.To); err != nil {
			return err
		}
		if rank(e.To) <= rank(e.Severity) || e.After <= 0 {
			return fmt.Errorf("escalate: %s to %s after %v, want a graver severity and a time", e.Severity, e.To, e.After)
		}
	}
	if c.Chatter.Raises < 1 || c.Chatter.Raises >= maxRaises || c.Chatter.Within <= 0 {
		return fmt.Errorf("chatter: more than %d raises within %v, want 1 to %d and a time", c.Chatter.Raises, c.Chatter.Within, maxRaises-1)
	}
	if f := c.Flood; f.Begin < 1 || f.End < 1 || f.End > f.Begin || f.Within <= 0 || f.Within > raisesHeld {
		return fmt.Errorf("flood: begins above %d and ends below %d within %v, want an end not above the begin and at most %v", f.Begin, f.End, f.Within, raisesHeld)
	}
	if c.Operators < 0 || c.Operators > 1000 {
		return fmt.Errorf("operators: %d, want 1 to 1000", c.Operators)
	}
	for _, d := range []time.Duration{c.ShelveMax, c.Stale, c.Keep} {
		if d < 0 {
			return fmt.Errorf("%v, want a time above 0", d)
		}
	}
	for _, i := range c.Inhibit {
		if i.By == "" {
			return fmt.Errorf("inhibit: no rule named that inhibits")
		}
	}
	for _, f := range c.FirstOut {
		if !slices.Contains(groupings, f.By) || f.Within <= 0 || f.Within > time.Hour {
			return fmt.Errorf("first_out: by %q within %v, want %s and at most 1h", f.By, f.Within, strings.Join(groupings, ", "))
		}
	}
	for _, o := range c.OffDelay {
		if (o.Rule == "") == (o.Domain == "") || o.After <= 0 || o.After > 24*time.Hour {
			return fmt.Errorf("off_delay: rule %q, domain %q after %v, want one of rule and domain and at most 24h", o.Rule, o.Domain, o.After)
		}
	}
	return nil
}

// flood is when all operators together are in one.
func (c *Config) flood() Flood {
	return Flood{c.Flood.Begin * c.Operators, c.Flood.End * c.Operators, c.Flood.Within}
}

// offDelay is how long the alarm stands after its condition has ended.
func (c *Config) offDelay(a *Alarm) time.Duration {
	for _, o := range c.OffDelay {
		if o.Rule == a.Rule || o.Domain != "" && o.Domain == a.Domain {
			return o.After
		}
	}
	return 0
}

// escalation is the one that awaits the alarm, if any.
func (c *Config) escalation(a *Alarm) (Escalation, bool) {
	if a.Escalated || a.State() != Unacked {
		return Escalation{}, false
	}
	for _, e := range c.Escalate {
		if e.Severity == a.Base {
			return e, true
		}
	}
	return Escalation{}, false
}

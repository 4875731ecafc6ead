package notify

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"panormus/devices"
	"panormus/stream/batch"
)

// A Route says which events go to which receivers. An event goes to a receiver by the first route, in
// order of id, that names the receiver and matches.
type Route struct {
	ID string `json:"id" yaml:"id"`
	// Domains, Zones and Rules are those of the events; empty: all. A rule may end in *.
	Domains []string `json:"domains,omitempty" yaml:"domains"`
	Zones   []string `json:"zones,omitempty" yaml:"zones"`
	Rules   []string `json:"rules,omitempty" yaml:"rules"`
	// Severity is the lowest that goes: info, warning, major or critical; default warning.
	Severity string `json:"severity,omitempty" yaml:"severity"`
	// Schedule is when the route is open, in the city's time; empty: always. What is raised outside
	// it waits, and is told when the route opens if it is still so.
	Schedule  []Span   `json:"schedule,omitempty" yaml:"schedule"`
	Receivers []string `json:"receivers" yaml:"receivers"`
	// GroupBy is what one message has in common: rule, domain, zone, device, severity; default rule
	// and zone. GroupWait is how long the first of a group waits for others; default 30 s.
	GroupBy   []string          `json:"group_by,omitempty" yaml:"group_by"`
	GroupWait *devices.Duration `json:"group_wait,omitempty" yaml:"group_wait"`
	// Repeat is how long after a group's last message it is told again while it is open; default 4 h,
	// 0 for never.
	Repeat *devices.Duration `json:"repeat_interval,omitempty" yaml:"repeat_interval"`
	// Resolved is whether the end is told; default true.
	Resolved *bool `json:"send_resolved,omitempty" yaml:"send_resolved"`
}

// Defaults and bounds of routes.
const (
	defaultGroupWait = 30 * time.Second
	defaultRepeat    = 4 * time.Hour
	maxGroupWait     = time.Hour
	minRepeat        = time.Minute
	maxRoutes        = 1000
	maxListed        = 256
)

var severities = []string{"info", "warning", "major", "critical"}

var groupings = []string{"rule", "domain", "zone", "device", "severity"}

// rank orders severities; one that is not known is as the lowest.
func rank(severity string) int { return max(0, slices.Index(severities, severity)) }

// Check reports what of r is not acceptable.
func (r *Route) Check() error {
	if err := devices.CheckID(r.ID); err != nil {
		return fmt.Errorf("route: id: %w", err)
	}
	fault := func(format string, a ...any) error {
		return fmt.Errorf("route %q: "+format, append([]any{r.ID}, a...)...)
	}
	for _, l := range []struct {
		name string
		list []string
	}{{"domains", r.Domains}, {"zones", r.Zones}, {"rules", r.Rules}, {"receivers", r.Receivers}} {
		if len(l.list) > maxListed {
			return fault("%s: %d, want at most %d", l.name, len(l.list), maxListed)
		}
		for _, v := range l.list {
			if v == "" || len(v) > 256 {
				return fault("%s: %.100q: %d bytes, want 1 to 256", l.name, v, len(v))
			}
		}
	}
	if len(r.Receivers) == 0 {
		return fault("receivers: none, want at least one")
	}
	if r.Severity != "" && !slices.Contains(severities, r.Severity) {
		return fault("severity: %.100q, want one of %s", r.Severity, strings.Join(severities, ", "))
	}
	for _, by := range r.GroupBy {
		if !slices.Contains(groupings, by) {
			return fault("group_by: %.100q, want any of %s", by, strings.Join(groupings, ", "))
		}
	}
	if w := r.wait(); w < 0 || w > maxGroupWait {
		return fault("group_wait: %v, want 0 to %v", w, maxGroupWait)
	}
	if p := r.repeat(); p != 0 && p < minRepeat {
		return fault("repeat_interval: %v, want at least %v, or 0 for never", p, minRepeat)
	}
	if len(r.Schedule) > 32 {
		return fault("schedule: %d spans, want at most 32", len(r.Schedule))
	}
	for i := range r.Schedule {
		if err := r.Schedule[i].check(); err != nil {
			return fault("schedule: %w", err)
		}
	}
	return nil
}

func (r *Route) wait() time.Duration {
	if r.GroupWait == nil {
		return defaultGroupWait
	}
	return time.Duration(*r.GroupWait)
}

func (r *Route) repeat() time.Duration {
	if r.Repeat == nil {
		return defaultRepeat
	}
	return time.Duration(*r.Repeat)
}

func (r *Route) resolved() bool { return r.Resolved == nil || *r.Resolved }

// matches reports whether e goes the route's way.
func (r *Route) matches(e *batch.Event) bool {
	lowest := r.Severity
	if lowest == "" {
		lowest = "warning"
	}
	return rank(e.Severity) >= rank(lowest) && in(r.Domains, e.Domain) && in(r.Zones, e.Zone) &&
		(len(r.Rules) == 0 || slices.ContainsFunc(r.Rules, func(p string) bool {
			prefix, open := strings.CutSuffix(p, "*")
			return p == e.Rule || open && strings.HasPrefix(e.Rule, prefix)
		}))
}

func in(list []string, v string) bool { return len(list) == 0 || slices.Contains(list, v) }

// labels are what e has in common with the others of its group.
func (r *Route) labels(e *batch.Event) map[string]string {
	by := r.GroupBy
	if len(by) == 0 {
		by = []string{"rule", "zone"}
	}
	out := map[string]string{}
	for _, name := range by {
		out[name] = map[string]string{"rule": e.Rule, "domain": e.Domain, "zone": e.Zone, "device": e.Device, "severity": e.Severity}[name]
	}
	return out
}

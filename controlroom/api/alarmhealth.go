package api

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"panormus/controlroom/auth"
	"panormus/controlroom/live"
	"panormus/devices"
	"panormus/stream/alarms"
)

type badActor struct {
	Raises int        `json:"raises" doc:"in the last 24 h"`
	Alarm  live.Alarm `json:"alarm"`
}

type alarmHealth struct {
	Time       live.Stamp     `json:"time"`
	States     map[string]int `json:"states" doc:"how many alarms are in each state"`
	Severities map[string]int `json:"severities" doc:"of open alarms"`
	Rate       int            `json:"rate_10m" doc:"alarms in the last 10 minutes that called operators; EEMUA 191 aims at 1"`
	Rates      []int          `json:"rates_10m" doc:"the same by 10 minutes of the last 24 h, oldest first"`
	Mix        map[string]int `json:"priority_mix" doc:"severities of the alarms of the last 24 h; the aim is about 80 % warning, 15 % major, 5 % critical"`
	BadActors  []badActor     `json:"bad_actors" doc:"those raised most"`
	Chattering []live.Alarm   `json:"chattering"`
	Stale      []live.Alarm   `json:"stale" doc:"stand longer than stale_after_s, oldest first, at most 100"`
	StaleCount int            `json:"stale_count"`
	StaleAfter float64        `json:"stale_after_s"`
	Shelved    []live.Alarm   `json:"shelved" doc:"the first to come back first, at most 100"`
	Oldest     *live.Alarm    `json:"oldest_unacked"`
	Flood      flood          `json:"flood"`

	Operators   int                `json:"operators" doc:"how many share the alarms"`
	PerOperator float64            `json:"rate_10m_per_operator" doc:"alarms in the last 10 minutes that called an operator; the aim is 1"`
	Peak        float64            `json:"peak_10m_per_operator" doc:"the most in 10 minutes of the last 24 h"`
	Average     float64            `json:"average_10m_per_operator" doc:"over the last 24 h"`
	OverLimit   float64            `json:"over_limit_share_24h" doc:"part of the 10 minutes of the last 24 h with more alarms for an operator than flood.begins_above"`
	Shares      map[string]float64 `json:"priority_shares" doc:"priority_mix as parts of 1"`
	BadShare    float64            `json:"bad_actors_share" doc:"part of the raises of the last 24 h that bad_actors have; the aim is below 0.05"`
	Chatterers  int                `json:"chattering_count"`
}

type flood struct {
	Active      bool        `json:"active"`
	Since       *live.Stamp `json:"since"`
	BeginsAbove int         `json:"begins_above" doc:"new alarms within window_s, for an operator"`
	EndsBelow   int         `json:"ends_below"`
	Window      float64     `json:"window_s"`
	Floods      int         `json:"floods_24h"`
	Time        float64     `json:"time_s_24h" doc:"seconds in flood"`
	Share       float64     `json:"share_24h" doc:"part of the time in flood; the aim is below 0.01"`
}

// alarmHealth is the operation that tells how the alarm system does.
func (a *api) alarmHealth() {
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/alarms/health", Summary: "How the alarm system itself does", Tags: []string{alarmsTag}, Errors: []int{501},
		Description: "After ISA-18.2 and EEMUA 191. Figures over time begin with the start of the process, but for the newest raises of each alarm. Whoever sees a part of the city is told of its alarms; floods are then told by whole ten minutes."},
		func(c *call, in *struct{}) (*one[alarmHealth], error) {
			if a.Alarms == nil {
				return nil, missing("alarms")
			}
			return &one[alarmHealth]{healthOf(a.Alarms.HealthOf(time.Now().UTC(), c.seesAlarm()))}, nil
		})
}

func healthOf(h alarms.Health) alarmHealth {
	out := alarmHealth{
		Time: live.Stamp{Time: h.At}, States: map[string]int{}, Severities: h.Severities, Rate: h.Rate, Rates: h.Rates[:], Mix: h.Mix,
		BadActors: make([]badActor, len(h.Bad)), Chattering: alarmsOf(h.Chattering), Stale: alarmsOf(h.Stale), StaleCount: h.StaleCount,
		StaleAfter: h.StaleAfter.Seconds(), Shelved: alarmsOf(h.Shelved),
		Flood: flood{
			Active: h.Flood, BeginsAbove: h.FloodLimits.Begin, EndsBelow: h.FloodLimits.End, Window: h.FloodLimits.Within.Seconds(), Floods: h.Floods,
			Time: h.InFlood.Seconds(), Share: h.InFlood.Seconds() / (24 * time.Hour).Seconds(),
		},
	}
	each := float64(h.Operators)
	out.Operators, out.PerOperator, out.Peak, out.Average = h.Operators, float64(h.Rate)/each, float64(h.Peak)/each, h.Average/each
	out.OverLimit, out.BadShare, out.Chatterers, out.Shares = h.OverLimit, h.BadShare, h.Chatterers, map[string]float64{}
	called := 0
	for _, n := range h.Mix {
		called += n
	}
	for s, n := range h.Mix {
		out.Shares[s] = float64(n) / float64(max(1, called))
	}
	for s, n := range h.States {
		out.States[string(s)] = n
	}
	for i, b := range h.Bad {
		out.BadActors[i] = badActor{b.Raises, live.AlarmOf(b.Record)}
	}
	if h.Oldest != nil {
		oldest := live.AlarmOf(*h.Oldest)
		out.Oldest = &oldest
	}
	if h.Flood {
		out.Flood.Since = &live.Stamp{Time: h.FloodSince}
	}
	return out
}

// maintenanceWindow is an alarms.Window with the times of the outside.
type maintenanceWindow struct {
	ID     string      `json:"id"`
	Zone   string      `json:"zone,omitempty" doc:"zone, device or rule: one of them"`
	Device string      `json:"device,omitempty"`
	Rule   string      `json:"rule,omitempty"`
	From   *live.Stamp `json:"from,omitempty" doc:"default now"`
	To     *live.Stamp `json:"to,omitempty" doc:"with an end it is maintenance and alarms are suppressed; without one they are out of service until it is deleted"`
	Note   string      `json:"note,omitempty"`
	By     string      `json:"by,omitempty" doc:"who entered it; what is sent is ignored"`
}

type windowsBody struct {
	Body struct {
		Maintenance []maintenanceWindow `json:"maintenance"`
		Next        string              `json:"next,omitempty"`
	}
}

// seesWindow reports whether a window is of what a scope has: its device, or its zone where all of that is seen, or
// its rule where no others are named.
func (a *api) seesWindow(s *auth.Scope, w alarms.Window) bool {
	switch {
	case s.Whole():
		return true
	case w.Device != "":
		d := a.lookup(w.Device)
		return d != nil && sees(s, d)
	case w.Rule != "":
		return len(s.Rules) == 0 || slices.Contains(s.Rules, w.Rule)
	}
	return slices.ContainsFunc(s.Areas, func(p auth.Place) bool { return p.Zone == w.Zone || p.Zone == "" })
}

func windowOf(w alarms.Window) maintenanceWindow {
	out := maintenanceWindow{ID: w.ID, Zone: w.Zone, Device: w.Device, Rule: w.Rule, From: &live.Stamp{Time: w.From}, Note: w.Note, By: w.By}
	if !w.To.IsZero() {
		out.To = &live.Stamp{Time: w.To}
	}
	return out
}

// maintenance are the operations on maintenance windows.
func (a *api) maintenance() {
	const path = "/api/v1/maintenance"
	tags := []string{alarmsTag}
	register(a, huma.Operation{Method: http.MethodGet, Path: path, Summary: "Maintenance windows, in order of id", Tags: tags, Errors: []int{422, 501}},
		func(c *call, in *Page) (*windowsBody, error) {
			if a.Alarms == nil {
				return nil, missing("alarms")
			}
			scope := c.scope()
			found, next, err := cut(*in, a.Alarms.Windows(), func(w alarms.Window) string { return w.ID }, func(w alarms.Window) bool { return a.seesWindow(scope, w) })
			out := &windowsBody{}
			out.Body.Maintenance, out.Body.Next = make([]maintenanceWindow, len(found)), next
			for i, w := range found {
				out.Body.Maintenance[i] = windowOf(w)
			}
			return out, err
		})
	register(a, huma.Operation{Method: http.MethodGet, Path: path + "/{id}", Summary: "One maintenance window", Tags: tags, Errors: []int{404, 501}},
		func(c *call, in *idOnly) (*one[maintenanceWindow], error) {
			if a.Alarms == nil {
				return nil, missing("alarms")
			}
			w, ok := a.Alarms.Window(in.ID)
			if !ok || !a.seesWindow(c.scope(), w) {
				return nil, noSuch("maintenance window", in.ID)
			}
			return &one[maintenanceWindow]{windowOf(w)}, nil
		})
	register(a, huma.Operation{Method: http.MethodPut, Path: path + "/{id}", Summary: "Enter or replace a maintenance window", Tags: tags, Errors: []int{400, 422, 501, 503},
		Description: "It is in force within some seconds, also on alarms that stand. When it ends, what still stands has to be acknowledged.",
		RequestBody: bodyOf[maintenanceWindow](a, "The window; its id may be left out")},
		func(c *call, in *idBody) (*one[maintenanceWindow], error) {
			if a.Alarms == nil {
				return nil, missing("alarms")
			}
			var b maintenanceWindow
			if err := readOne(in, &b, &b.ID); err != nil {
				return nil, err
			}
			w := alarms.Window{ID: b.ID, Zone: b.Zone, Device: b.Device, Rule: b.Rule, From: time.Now().UTC().Truncate(time.Millisecond), Note: b.Note, By: c.who()}
			if b.From != nil {
				w.From = b.From.Time
			}
			if b.To != nil {
				w.To = b.To.Time
			}
			err := a.Alarms.PutWindow(c.ctx, w)
			if errors.Is(err, alarms.ErrInvalid) {
				return nil, badBody(&devices.FormatError{Err: errors.New(strings.TrimPrefix(err.Error(), alarms.ErrInvalid.Error()+": "))})
			}
			if err != nil {
				return nil, c.away("the maintenance windows", err)
			}
			return &one[maintenanceWindow]{windowOf(w)}, nil
		})
	register(a, huma.Operation{Method: http.MethodDelete, Path: path + "/{id}", Summary: "End a maintenance window", Tags: tags, Errors: []int{404, 501, 503}},
		func(c *call, in *idOnly) (*struct{}, error) {
			if a.Alarms == nil {
				return nil, missing("alarms")
			}
			err := a.Alarms.DeleteWindow(c.ctx, in.ID)
			if errors.Is(err, alarms.ErrNotFound) {
				return nil, noSuch("maintenance window", in.ID)
			}
			if err != nil {
				return nil, c.away("the maintenance windows", err)
			}
			return nil, nil
		})
}

package api

import (
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"panormus/controlroom/auth"
	"panormus/controlroom/live"
	"panormus/controlroom/problem"
	"panormus/devices"
	"panormus/stream/rules"
)

// maxBacktests is how many run at once: each takes a processor and a good part of the database.
const maxBacktests = 2

// backtestOf is the answer; R is the rule as it writes itself, or its shape for the document.
type backtestOf[R any] struct {
	Rule        R                `json:"rule" doc:"what was tried"`
	From        live.Stamp       `json:"from"`
	To          live.Stamp       `json:"to"`
	Readings    int64            `json:"readings" doc:"or rows: evaluated, those before from that the rule had to know included"`
	LeftOut     int64            `json:"left_out" doc:"readings whose event time is not known"`
	Devices     int              `json:"devices"`
	Evaluations uint64           `json:"evaluations"`
	Matches     uint64           `json:"matches"`
	Errors      uint64           `json:"errors"`
	LastError   string           `json:"last_error,omitempty"`
	Raised      int              `json:"raised"`
	Cleared     int              `json:"cleared"`
	Events      []live.Event     `json:"events" doc:"the first 1000, in order of time"`
	More        bool             `json:"more" doc:"there are more events than these"`
	StepSeconds int              `json:"step_seconds" doc:"of a bucket: an hour, or a day for more than a fortnight"`
	Buckets     []backtestBucket `json:"buckets"`
	Seconds     float64          `json:"seconds" doc:"that it took"`
}

type (
	backtestAnswer = backtestOf[*rules.Rule]
	backtestShape  = backtestOf[ruleShape]
)

type backtestBucket struct {
	Time    live.Stamp `json:"t"`
	Raised  int        `json:"raised"`
	Cleared int        `json:"cleared"`
}

func (a *api) backtests() {
	// The schema of a rule is that of PUT; the handler parses it and says where it is wrong.
	shape := schemaOf[ruleShape](a)
	answer := schemaOf[backtestShape](a)
	body := &huma.Schema{Type: huma.TypeObject, Required: []string{"from"}, Properties: map[string]*huma.Schema{
		"from": {Type: huma.TypeString, Format: "date-time"},
		"to":   {Type: huma.TypeString, Format: "date-time", Description: "not included; default now"},
		"rule": {AnyOf: []*huma.Schema{shape, {Type: huma.TypeString}}, Description: "what to try instead of the rule in force: a rule as in PUT, or a text with its YAML"},
	}}
	register(a, huma.Operation{
		Method: http.MethodPost, Path: "/api/v1/rules/{id}/backtest", Summary: "What a rule would have raised", Tags: []string{rulesTag}, Errors: []int{400, 404, 422, 429, 501, 503},
		Description: "Evaluates the rule over the readings, or the rows it is about, of the database, with the engine that evaluates the present, at most 92 days. It ends with the request. Whoever sees a part of the city tries it on that part: on its devices and cameras, and the events that are seen of it. What a rule of one's own would say of single detections and tracks is told to those who may see tracks.",
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {Schema: body}}},
		Responses:   map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{"application/json": {Schema: answer}}}},
	}, a.backtest)
}

func (a *api) backtest(c *call, in *struct {
	ID      string `path:"id"`
	RawBody []byte
}) (*one[backtestAnswer], error) {
	if a.Rules == nil || a.Backtest == nil {
		return nil, missing("backtests")
	}
	var asked struct {
		From, To string
		Rule     json.RawMessage
	}
	if err := devices.StrictJSON(in.RawBody, &asked); err != nil {
		return nil, badBody(err)
	}
	scope := c.scope()
	rule := a.Rules.Set().Rule(in.ID)
	if len(asked.Rule) > 0 && string(asked.Rule) != "null" {
		text := []byte(asked.Rule)
		var yaml string
		if json.Unmarshal(text, &yaml) == nil {
			text = []byte(yaml)
		}
		var err error
		rule, err = a.Rules.Parse(in.ID, text)
		if faults, ok := errors.AsType[rules.Problems](err); ok {
			return nil, ruleFaults(faults)
		}
		if err != nil {
			return nil, err
		}
		// A rule in force tells what its events tell anyway; one of one's own could tell all that is known of a person.
		if p := auth.Of(c.ctx); rule.Personal() && !p.May(auth.TracksRead) {
			return nil, problem.New(http.StatusForbidden, "a rule of one's own about detections or tracks needs the permission %s, which role %s has not got", auth.TracksRead, p.Role)
		}
	}
	if rule == nil {
		return nil, noSuch("rule", in.ID)
	}
	if asked.From == "" {
		return nil, invalid("body.from", "found none, want the time to begin at, RFC 3339")
	}
	from, err := bodyInstant("from", asked.From)
	if err != nil {
		return nil, err
	}
	to := time.Now().UTC()
	if asked.To != "" {
		if to, err = bodyInstant("to", asked.To); err != nil {
			return nil, err
		}
	}
	if err := (&rules.Backtest{Rule: rule, From: from, To: to}).Check(); err != nil {
		return nil, invalid("body", "%v", err)
	}
	select {
	case a.backtesting <- struct{}{}:
		defer func() { <-a.backtesting }()
	default:
		return nil, huma.ErrorWithHeaders(problem.New(http.StatusTooManyRequests, "%d backtests run already, want one of them to end first", maxBacktests), http.Header{"Retry-After": {unavailable}})
	}
	if rule.Personal() {
		if err := c.note("rule.tried", "rule/"+rule.ID, map[string]string{"from": from.Format(time.RFC3339), "to": to.Format(time.RFC3339), "role": string(auth.Of(c.ctx).Role)}); err != nil {
			return nil, err
		}
	}
	r, err := a.Backtest(c.ctx, rule, from, to, a.within(scope, true))
	if err != nil {
		return nil, c.away("backtest", err)
	}
	out := &one[backtestAnswer]{Body: backtestAnswer{
		Rule: r.Rule, From: live.Stamp{Time: r.From}, To: live.Stamp{Time: r.To}, Readings: r.Readings, LeftOut: r.LeftOut, Devices: r.Devices,
		Evaluations: r.Evaluations, Matches: r.Matches, Errors: r.Errors, LastError: r.LastError, Raised: r.Raised, Cleared: r.Cleared,
		Events: make([]live.Event, len(r.Events)), More: r.Raised+r.Cleared > len(r.Events), StepSeconds: int(r.Step / time.Second), Seconds: r.Took.Seconds(),
		Buckets: make([]backtestBucket, len(r.Buckets)),
	}}
	for i, ev := range r.Events {
		out.Body.Events[i] = live.EventOf(ev)
	}
	for i, b := range r.Buckets {
		out.Body.Buckets[i] = backtestBucket{live.Stamp{Time: b.Time}, b.Raised, b.Cleared}
	}
	return out, nil
}

func bodyInstant(name, value string) (time.Time, error) {
	var s live.Stamp
	if err := s.UnmarshalText([]byte(value)); err != nil {
		return time.Time{}, invalid("body."+name, "%v", err)
	}
	return s.Time, nil
}

type ruleStatsBody struct {
	Body struct {
		Rules []rules.RuleStats `json:"rules"`
	}
}

func (a *api) ruleStats() {
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/rule-stats", Summary: "What rules have done", Tags: []string{rulesTag}, Errors: []int{501},
		Description: "Since the process started, by rule: evaluations, what they came to, processor time, the last error, and why a rule was put out of force. Whoever sees a part of the city is told of the rules of domains that are seen as a whole."},
		func(c *call, _ *struct{}) (*ruleStatsBody, error) {
			if a.RuleStats == nil {
				return nil, missing("figures of rules")
			}
			out := &ruleStatsBody{}
			scope := c.scope()
			out.Body.Rules = slices.DeleteFunc(append([]rules.RuleStats{}, a.RuleStats()...), func(s rules.RuleStats) bool { return !a.seesFigures(scope, s.ID) })
			return out, nil
		})
}

// seesFigures reports whether what a rule did is of what a scope has: of a domain that is seen as a whole.
func (a *api) seesFigures(s *auth.Scope, id string) bool {
	if s.Whole() {
		return true
	}
	if a.Rules == nil || len(s.Cameras) > 0 || len(s.Rules) > 0 && !slices.Contains(s.Rules, id) {
		return false
	}
	r := a.Rules.Set().Rule(id)
	return r != nil && r.Domain != "" && slices.Contains(s.Areas, auth.Place{Domain: r.Domain})
}

// failures are the rules that were put out of force, as problems of their files.
func (a *api) failures() []ruleProblem {
	if a.RuleStats == nil {
		return nil
	}
	var out []ruleProblem
	set := a.Rules.Set()
	for _, s := range a.RuleStats() {
		if r := set.Rule(s.ID); s.Failed != "" && r != nil && r.Version == s.Version {
			out = append(out, ruleProblem{File: r.File, Line: max(r.Line, 1), Column: 1, Rule: r.ID, Message: "out of force until it is changed: " + s.Failed})
		}
	}
	return out
}

// eventOf is an event and the rule that raised it; R as in backtestOf.
type eventOf[R any] struct {
	Event       live.Event `json:"event"`
	Rule        R          `json:"rule" doc:"as it is today; null where there is none any more"`
	RuleChanged bool       `json:"rule_changed" doc:"the rule is another than the one that raised the event"`
}

func (a *api) event(c *call, in *struct {
	ID string `path:"id" maxLength:"128"`
}) (*one[eventOf[*rules.Rule]], error) {
	if a.Events == nil {
		return nil, missing("events")
	}
	ev, err := a.Events.Event(c.ctx, in.ID)
	if err != nil {
		return nil, c.away("events", err)
	}
	if ev == nil || !c.scope().Sees(a.thing(ev.Rule, ev.Domain, ev.Zone, ev.Device)) {
		return nil, noSuch("event", in.ID)
	}
	out := &one[eventOf[*rules.Rule]]{}
	out.Body.Event = live.EventOf(*ev)
	if a.Rules != nil && auth.Of(c.ctx).May(auth.RulesRead) {
		out.Body.Rule = a.Rules.Set().Rule(ev.Rule)
	}
	out.Body.RuleChanged = out.Body.Rule == nil || out.Body.Rule.Version != ev.RuleVersion
	return out, nil
}

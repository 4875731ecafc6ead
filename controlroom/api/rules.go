package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"panormus/controlroom/problem"
	"panormus/stream/rules"
)

// Rules is the store of rules; *rules.Store is one.
type Rules interface {
	Set() *rules.Set
	Put(ctx context.Context, id string, body []byte) (*rules.Rule, rules.Problems, error)
	Delete(ctx context.Context, id string) error
	Problems() []rules.Problem
	Check(file string, data []byte, heard []string) rules.Problems
	Parse(id string, body []byte) (*rules.Rule, error)
}

// ruleShape describes a rule; the code has rules.Rule, which writes itself.
type ruleShape struct {
	ID       string            `json:"id"`
	Title    map[string]string `json:"title,omitempty" doc:"by language"`
	Domain   string            `json:"domain,omitempty"`
	Severity string            `json:"severity" enum:"info,warning,major,critical"`
	On       string            `json:"on,omitempty"`
	When     string            `json:"when,omitempty" doc:"CEL"`
	For      string            `json:"for,omitempty"`
	Clear    string            `json:"clear,omitempty" doc:"CEL"`
	Key      string            `json:"key,omitempty"`
	Absent   string            `json:"absent,omitempty"`
	Text     string            `json:"text,omitempty"`
	Window   *windowShape      `json:"window,omitempty"`
	Let      map[string]string `json:"let,omitempty" doc:"aggregates of the window's readings, by name"`
	Sequence []stepShape       `json:"sequence,omitempty"`
	Unless   *stepShape        `json:"unless,omitempty"`
	Schedule *scheduleShape    `json:"schedule,omitempty" doc:"when the rule is judged, in the city's legal time"`
	Profile  string            `json:"profile,omitempty" doc:"whose devices it is about; none: all"`
	ForEach  *forEachShape     `json:"for_each,omitempty" doc:"makes the rule a template: one rule a profile, or a metric"`
	Template string            `json:"template,omitempty" doc:"read only: the template that it comes of"`
	Params   map[string]any    `json:"params,omitempty" doc:"named numbers and texts that devices, zones and profiles may override"`
	Enabled  bool              `json:"enabled,omitempty"`
	Hold     string            `json:"hold,omitempty"`
	Mode     string            `json:"mode,omitempty" enum:"live,shadow" doc:"shadow: judged and counted, its events kept apart, nobody's alarms"`
	Version  string            `json:"version,omitempty"`
	File     string            `json:"file,omitempty"`
	Line     int               `json:"line,omitempty"`
	Metrics  []string          `json:"metrics,omitempty"`
}

type stepShape struct {
	As     string `json:"as,omitempty"`
	On     string `json:"on,omitempty" doc:"what the step is about, where that is not what the rule is"`
	Within string `json:"within,omitempty"`
	When   string `json:"when" doc:"CEL"`
}

type scheduleShape struct {
	Days     []string `json:"days,omitempty" doc:"mon, or mon-fri"`
	Hours    []string `json:"hours,omitempty" doc:"08:00-19:00"`
	Holidays string   `json:"holidays,omitempty" enum:"include,exclude,only"`
	Calendar string   `json:"calendar,omitempty"`
}

type forEachShape struct {
	Profile []string `json:"profile,omitempty" doc:"ids, * for any"`
	Metric  []string `json:"metric,omitempty" doc:"names, * for any"`
}

type windowShape struct {
	Type  string `json:"type" enum:"tumbling,hopping,sliding,session"`
	Size  string `json:"size,omitempty"`
	Every string `json:"every,omitempty"`
	Gap   string `json:"gap,omitempty"`
}

// ruleProblem is a rules.Problem under a name of its own: the document has a Problem already.
type ruleProblem rules.Problem

func ruleProblems(ps []rules.Problem) []ruleProblem {
	out := make([]ruleProblem, len(ps))
	for i, p := range ps {
		out[i] = ruleProblem(p)
	}
	return out
}

type rulesBody struct {
	Body struct {
		Rules    []*rules.Rule `json:"rules"`
		Problems []ruleProblem `json:"problems" doc:"what is wrong with rule files now, warnings included"`
		Next     string        `json:"next,omitempty"`
	}
}

type ruleBody struct{ Body *rules.Rule }

type ruleCheck struct {
	OK       bool          `json:"ok" doc:"the rules would be taken"`
	Problems []ruleProblem `json:"problems"`
}

const rulesTag = "rules"

func (a *api) rules() {
	const path = "/api/v1/rules"
	tags := []string{rulesTag}
	answer := func(schema *huma.Schema) map[string]*huma.Response {
		return map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}}
	}
	shape := schemaOf[ruleShape](a)
	list := &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{
		"rules": {Type: huma.TypeArray, Items: shape}, "problems": {Type: huma.TypeArray, Items: schemaOf[ruleProblem](a)}, "next": {Type: huma.TypeString},
	}, Required: []string{"rules", "problems"}}
	body := bodyOf[ruleShape](a, "A rule in JSON or YAML", "application/yaml")
	register(a, huma.Operation{Method: http.MethodGet, Path: path, Summary: "Rules in force", Tags: tags, Errors: []int{422, 501}, Responses: answer(list)},
		func(c *call, in *Page) (*rulesBody, error) {
			if a.Rules == nil {
				return nil, missing("rules")
			}
			out := &rulesBody{}
			var err error
			out.Body.Rules, out.Body.Next, err = cut(*in, a.Rules.Set().Rules, func(r *rules.Rule) string { return r.ID }, nil)
			out.Body.Problems = append(ruleProblems(a.Rules.Problems()), a.failures()...)
			return out, err
		})
	register(a, huma.Operation{Method: http.MethodGet, Path: path + "/{id}", Summary: "One rule", Tags: tags, Errors: []int{404, 501}, Responses: answer(shape)},
		func(c *call, in *idOnly) (*ruleBody, error) {
			if a.Rules == nil {
				return nil, missing("rules")
			}
			r := a.Rules.Set().Rule(in.ID)
			if r == nil {
				return nil, noSuch("rule", in.ID)
			}
			return &ruleBody{r}, nil
		})
	register(a, huma.Operation{Method: http.MethodPut, Path: path + "/{id}", Summary: "Enter or replace one rule", Tags: tags, Errors: []int{422, 501, 503}, RequestBody: body, Responses: answer(shape)},
		func(c *call, in *idBody) (*ruleBody, error) {
			if a.Rules == nil {
				return nil, missing("rules")
			}
			r, _, err := a.Rules.Put(c.ctx, in.ID, in.RawBody)
			if faults, ok := errors.AsType[rules.Problems](err); ok {
				return nil, ruleFaults(faults)
			}
			if err != nil {
				return nil, c.away("the rules", err)
			}
			return &ruleBody{r}, nil
		})
	register(a, huma.Operation{Method: http.MethodDelete, Path: path + "/{id}", Summary: "Remove one rule that came through the API", Tags: tags, Errors: []int{404, 409, 501, 503}},
		func(c *call, in *idOnly) (*struct{}, error) {
			if a.Rules == nil {
				return nil, missing("rules")
			}
			err := a.Rules.Delete(c.ctx, in.ID)
			switch {
			case err == nil:
				return nil, nil
			case errors.Is(err, rules.ErrNotFound):
				return nil, noSuch("rule", in.ID)
			case errors.Is(err, rules.ErrFromFile):
				return nil, problem.New(http.StatusConflict, "%v: remove it there, or put one with enabled: false over it", err)
			}
			return nil, c.away("the rules", err)
		})
	register(a, huma.Operation{Method: http.MethodPost, Path: path + "/check", Summary: "What would be wrong with rules", Tags: tags, Errors: []int{501}, RequestBody: bodyOf[ruleShape](a, "A rule file, YAML or JSON: {\"rules\":[…]}", "application/yaml"),
		Responses: answer(schemaOf[ruleCheck](a))},
		func(c *call, in *struct{ RawBody []byte }) (*one[ruleCheck], error) {
			if a.Rules == nil {
				return nil, missing("rules")
			}
			out := &one[ruleCheck]{}
			faults := a.Rules.Check("body", in.RawBody, a.State.Metrics())
			out.Body.OK, out.Body.Problems = true, ruleProblems(faults)
			for _, f := range faults {
				out.Body.OK = out.Body.OK && f.Warning
			}
			return out, nil
		})
	a.backtests()
	a.ruleStats()
}

func ruleFaults(faults rules.Problems) error {
	p := problem.New(http.StatusUnprocessableEntity, "body: %v", faults)
	for _, f := range faults {
		p.Errors = append(p.Errors, problem.Error{Location: problem.New(0, "line %d, column %d", f.Line, f.Column).Detail, Message: f.Message})
	}
	return p
}

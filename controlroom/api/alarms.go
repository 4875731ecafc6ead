package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"panormus/controlroom/auth"
	"panormus/controlroom/live"
	"panormus/controlroom/problem"
	"panormus/devices"
	"panormus/stream/alarms"
	"panormus/stream/batch"
	"panormus/stream/rules"
)

// Alarms are what operators have to answer; *alarms.Book is one.
type Alarms interface {
	List(q alarms.Query) (page []alarms.Record, more bool, total int)
	Get(id string) (alarms.Record, bool)
	Act(ctx context.Context, ids []string, x alarms.Act) ([]alarms.Result, error)
	ActAll(ctx context.Context, q alarms.Query, limit int, x alarms.Act) (done int, refused []alarms.Result, more bool, err error)
	HealthOf(now time.Time, sees func(*alarms.Alarm) bool) alarms.Health
	Windows() []alarms.Window
	Window(id string) (alarms.Window, bool)
	PutWindow(ctx context.Context, w alarms.Window) error
	DeleteWindow(ctx context.Context, id string) error
}

// AlarmLog is what happened to alarms.
type AlarmLog interface {
	// AlarmLog returns the newest rows of one alarm, newest first.
	AlarmLog(ctx context.Context, alarm string, limit int) ([]batch.AlarmRow, error)
}

const (
	alarmsTag = "alarms"
	// maxTogether bounds how many alarms are acted on with one request.
	maxTogether = 10_000
	// maxMatched is the same where they are told by a filter.
	maxMatched = 100_000
	// maxRefused bounds the results of such a request.
	maxRefused = 1000
	// loopbackName is who acts where nobody had to say who they are.
	loopbackName = "operator"
)

type alarmQuery struct {
	State    []string `query:"state" doc:"states, with commas between; without it all but normal ones" enum:"unacked,acked,returned,normal,shelved,suppressed,out_of_service"`
	Severity []string `query:"severity" doc:"severities, with commas between" enum:"info,warning,major,critical"`
	Domain   []string `query:"domain" maxItems:"100" doc:"domains, with commas between"`
	Zone     []string `query:"zone" maxItems:"1000" doc:"zones, with commas between"`
	Device   []string `query:"device" maxItems:"1000" doc:"devices, with commas between"`
	Rule     []string `query:"rule" maxItems:"1000" doc:"rules, with commas between"`
	FirstOut []string `query:"first_out" maxItems:"1000" doc:"ids of alarms that came first: all of their groups"`
	Page
}

type alarmsBody struct {
	Body struct {
		Alarms []live.Alarm `json:"alarms"`
		Total  int          `json:"total" doc:"how many there are on all pages"`
		Next   string       `json:"next,omitempty"`
	}
}

type alarmRow struct {
	Time     live.Stamp `json:"time"`
	Alarm    string     `json:"alarm"`
	Action   string     `json:"action" doc:"raised, updated, clearing, cleared, first_out, ack, unack, shelve, unshelve, assign, comment, close, suppressed, out_of_service, released, escalated, chattering, calm"`
	By       string     `json:"by" doc:"empty for the system"`
	Note     string     `json:"note"`
	State    string     `json:"state" doc:"after it"`
	Severity string     `json:"severity" doc:"after it"`
}

type alarmLogBody struct {
	Body struct {
		Log []alarmRow `json:"log"`
	}
}

// alarmAct is the body of an action.
type alarmAct struct {
	Note  string `json:"note,omitempty" doc:"at most 2000 bytes; comment wants one"`
	Until string `json:"until,omitempty" doc:"of shelve: RFC 3339, at most 24 h from now where nothing else is set"`
	To    string `json:"to,omitempty" doc:"of assign: to whom; empty takes it back"`
	Rev   uint64 `json:"rev,omitempty" doc:"rev of the alarm that was seen: 409 where it is another now"`
}

// alarmActs is the body of an action on many.
type alarmActs struct {
	Action string       `json:"action" enum:"ack,unack,shelve,unshelve,assign,comment,close"`
	IDs    []string     `json:"ids,omitempty" maxItems:"10000"`
	Filter *alarmFilter `json:"filter,omitempty" doc:"instead of ids: all alarms that match"`
	Note   string       `json:"note,omitempty"`
	Until  string       `json:"until,omitempty"`
	To     string       `json:"to,omitempty"`
}

// alarmFilter selects alarms as the query of the list does.
type alarmFilter struct {
	State    []string `json:"state,omitempty" doc:"without it all states that the action fits"`
	Severity []string `json:"severity,omitempty"`
	Domain   []string `json:"domain,omitempty"`
	Zone     []string `json:"zone,omitempty"`
	Device   []string `json:"device,omitempty"`
	Rule     []string `json:"rule,omitempty"`
	FirstOut []string `json:"first_out,omitempty"`
}

// query is the filter for an action.
func (f *alarmFilter) query(action string) (alarms.Query, error) {
	q := alarms.Query{States: alarms.Fits(action), Severities: f.Severity, Domains: f.Domain, Zones: f.Zone, Devices: f.Device, Rules: f.Rule, FirstOut: f.FirstOut}
	for _, l := range [][]string{f.State, f.Severity, f.Domain, f.Zone, f.Device, f.Rule, f.FirstOut} {
		if len(l) > maxNamed {
			return q, invalid("body.filter", "%d names, want at most %d of a kind", len(l), maxNamed)
		}
	}
	for _, s := range f.Severity {
		if !slices.Contains(rules.Severities, s) {
			return q, invalid("body.filter.severity", "%.40q, want any of %v", s, rules.Severities)
		}
	}
	if len(f.State) > 0 {
		q.States = nil
	}
	for _, s := range f.State {
		if !slices.Contains(alarms.States, alarms.State(s)) {
			return q, invalid("body.filter.state", "%.40q, want any of %v", s, alarms.States)
		}
		q.States = append(q.States, alarms.State(s))
	}
	return q, nil
}

// maxNamed bounds the names of one kind in a filter.
const maxNamed = 1000

type alarmResult struct {
	ID     string `json:"id"`
	Status int    `json:"status" doc:"as of a single action: 200, 404, 409 or 503"`
	Detail string `json:"detail,omitempty" doc:"why not"`
	State  string `json:"state,omitempty" doc:"now"`
	Rev    uint64 `json:"rev,omitempty" doc:"now"`
}

type alarmResults struct {
	Done    int           `json:"done" doc:"how many have status 200"`
	Matched int           `json:"matched" doc:"how many alarms it was tried on"`
	More    bool          `json:"more" doc:"a filter matches more alarms than one request acts on: ask again"`
	Results []alarmResult `json:"results" doc:"in the order of ids, each id once; of a filter only those that have another status than 200, at most 1000"`
}

// alarms are the operations on alarms.
func (a *api) alarms() {
	const path = "/api/v1/alarms"
	tags := []string{alarmsTag}
	register(a, huma.Operation{Method: http.MethodGet, Path: path, Summary: "Alarms, the newest first", Tags: tags, Errors: []int{422, 501},
		Description: "One a rule and key, after ISA-18.2. An event below the severity that needs an operator is no alarm and stays among the events."},
		func(c *call, in *alarmQuery) (*alarmsBody, error) {
			if a.Alarms == nil {
				return nil, missing("alarms")
			}
			q := alarms.Query{Severities: in.Severity, Domains: in.Domain, Zones: in.Zone, Devices: in.Device, Rules: in.Rule, FirstOut: in.FirstOut, Limit: in.Limit, Sees: c.seesAlarm()}
			for _, s := range in.State {
				q.States = append(q.States, alarms.State(s))
			}
			after, err := in.after()
			if err == nil && after != "" {
				q.After, err = parseMark(after)
			}
			if err != nil {
				return nil, err
			}
			page, more, total := a.Alarms.List(q)
			out := &alarmsBody{}
			out.Body.Alarms, out.Body.Total = alarmsOf(page), total
			if more {
				last := page[len(page)-1]
				out.Body.Next = cursorAfter(fmt.Sprintf("%d %s", last.Raised.UnixMilli(), last.ID))
			}
			return out, nil
		})
	register(a, huma.Operation{Method: http.MethodGet, Path: path + "/{id}", Summary: "One alarm", Tags: tags, Errors: []int{404, 501}},
		func(c *call, in *idOnly) (*one[live.Alarm], error) {
			if a.Alarms == nil {
				return nil, missing("alarms")
			}
			r, ok := a.Alarms.Get(in.ID)
			if !ok || !c.scope().Sees(a.thing(r.Rule, r.Domain, r.Zone, r.Device)) {
				return nil, noSuch("alarm", in.ID)
			}
			return &one[live.Alarm]{live.AlarmOf(r)}, nil
		})
	register(a, huma.Operation{Method: http.MethodGet, Path: path + "/{id}/log", Summary: "What happened to an alarm, newest first", Tags: tags, Errors: []int{404, 422, 501, 503},
		Description: "From the database, which is a second or two behind. It knows of alarms that are forgotten, too."},
		func(c *call, in *struct {
			ID    string `path:"id" maxLength:"128"`
			Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"how many at most"`
		}) (*alarmLogBody, error) {
			if a.AlarmLog == nil {
				return nil, missing("the log of alarms")
			}
			if !c.scope().Whole() && len(c.seen([]string{in.ID})) == 0 {
				return nil, noSuch("alarm", in.ID)
			}
			rows, err := a.AlarmLog.AlarmLog(c.ctx, in.ID, in.Limit)
			if err != nil {
				return nil, c.away("the log of alarms", err)
			}
			out := &alarmLogBody{}
			out.Body.Log = make([]alarmRow, len(rows))
			for i, r := range rows {
				out.Body.Log[i] = alarmRow{live.Stamp{Time: r.Time}, r.Alarm, r.Action, r.By, r.Note, r.State, r.Severity}
			}
			return out, nil
		})
	body := bodyOf[alarmAct](a, "What goes with the action; may be left out where it needs nothing")
	register(a, huma.Operation{Method: http.MethodPost, Path: path + "/{id}/{action}", Summary: "Act on an alarm", Tags: tags, Errors: []int{400, 404, 409, 422, 501, 503},
		Description: "Who acts is the name of the token. 409 where the alarm is in a state that the action does not fit, or has another rev than the one named: \"current\" is the alarm as it is.",
		RequestBody: body},
		func(c *call, in *struct {
			ID      string `path:"id" maxLength:"128"`
			Action  string `path:"action" enum:"ack,unack,shelve,unshelve,assign,comment,close"`
			RawBody []byte
		}) (*one[live.Alarm], error) {
			var b alarmAct
			if len(bytes.TrimSpace(in.RawBody)) > 0 {
				if err := devices.StrictJSON(in.RawBody, &b); err != nil {
					return nil, badBody(err)
				}
			}
			results, err := c.act([]string{in.ID}, in.Action, b)
			if err != nil {
				return nil, err
			}
			switch r := results[0]; c.alarmStatus(r) {
			case http.StatusOK:
				return &one[live.Alarm]{live.AlarmOf(r.Record())}, nil
			case http.StatusNotFound:
				return nil, noSuch("alarm", in.ID)
			case http.StatusConflict:
				conflict, _ := errors.AsType[*alarms.Conflict](r.Err)
				p := problem.New(http.StatusConflict, "%v", conflict)
				p.Current = live.AlarmOf(conflict.Now)
				return nil, p
			default:
				return nil, c.away("the alarms", r.Err)
			}
		})
	body.Required = false // registering made it so
	register(a, huma.Operation{Method: http.MethodPost, Path: path + "/actions", Summary: "Act on many alarms", Tags: tags, Errors: []int{400, 422, 501, 503},
		Description: fmt.Sprintf("At most %d at once by id, %d by a filter. The answer is 200 with what came of it for every alarm, whatever that is. 503 with Retry-After: too many acts wait, and this one was not begun.", maxTogether, maxMatched),
		RequestBody: bodyOf[alarmActs](a, "The action, and on which alarms: ids or filter")},
		func(c *call, in *struct{ RawBody []byte }) (*one[alarmResults], error) {
			var b alarmActs
			if err := devices.StrictJSON(in.RawBody, &b); err != nil {
				return nil, badBody(err)
			}
			if a.Alarms == nil {
				return nil, missing("alarms")
			}
			out := &one[alarmResults]{}
			switch n := len(b.IDs); {
			case b.Filter != nil && n > 0:
				return nil, invalid("body.filter", "given with ids, want one of them")
			case b.Filter != nil:
				q, err := b.Filter.query(b.Action)
				if err != nil {
					return nil, err
				}
				return c.actAll(q, b)
			case n < 1 || n > maxTogether:
				return nil, invalid("body.ids", "%d, want 1 to %d", n, maxTogether)
			}
			results, err := c.act(b.IDs, b.Action, alarmAct{Note: b.Note, Until: b.Until, To: b.To})
			if err != nil {
				return nil, err
			}
			out.Body.Matched, out.Body.Results = len(results), []alarmResult{}
			for _, r := range results {
				if r.Err == nil {
					out.Body.Done++
				}
				out.Body.Results = append(out.Body.Results, c.alarmResult(r))
			}
			return out, nil
		})
}

// alarmResult is what came of one of many.
func (c *call) alarmResult(r alarms.Result) alarmResult {
	out := alarmResult{ID: r.ID, Status: c.alarmStatus(r), State: string(r.State), Rev: r.Rev()}
	if r.Err != nil {
		out.Detail = r.Err.Error()
	}
	if out.Status == http.StatusServiceUnavailable {
		out.Detail = "not available now"
	}
	return out
}

// act does one thing to alarms. An error is the request's fault as a whole.
func (c *call) act(ids []string, action string, b alarmAct) ([]alarms.Result, error) {
	if c.api.Alarms == nil {
		return nil, missing("alarms")
	}
	x, err := c.actOf(action, b)
	if err != nil {
		return nil, err
	}
	seen := c.seen(ids)
	var results []alarms.Result
	if len(seen) > 0 {
		results, err = c.api.Alarms.Act(c.ctx, seen, x)
	}
	if err != nil {
		return nil, c.notActed(err)
	}
	if len(seen) == len(ids) {
		return results, nil
	}
	return withUnseen(ids, results), nil
}

// actAll does one thing to all alarms that a filter selects.
func (c *call) actAll(q alarms.Query, b alarmActs) (*one[alarmResults], error) {
	x, err := c.actOf(b.Action, alarmAct{Note: b.Note, Until: b.Until, To: b.To})
	if err != nil {
		return nil, err
	}
	q.Sees = c.seesAlarm()
	done, refused, more, err := c.api.Alarms.ActAll(c.ctx, q, maxMatched, x)
	if err != nil {
		return nil, c.notActed(err)
	}
	out := &one[alarmResults]{alarmResults{Done: done, Matched: done + len(refused), More: more, Results: []alarmResult{}}}
	for _, r := range refused[:min(len(refused), maxRefused)] {
		out.Body.Results = append(out.Body.Results, c.alarmResult(r))
	}
	return out, nil
}

// actOf is the act that a body asks for.
func (c *call) actOf(action string, b alarmAct) (alarms.Act, error) {
	x := alarms.Act{Action: action, By: c.who(), Note: b.Note, To: b.To, Rev: b.Rev}
	if b.Until != "" {
		var until live.Stamp
		if err := until.UnmarshalText([]byte(b.Until)); err != nil {
			return x, invalid("body.until", "%v", err)
		}
		x.Until = until.Time
	}
	return x, nil
}

// notActed is the answer where nothing was done to any alarm.
func (c *call) notActed(err error) error {
	if errors.Is(err, alarms.ErrInvalid) {
		return invalid("body", "%s", strings.TrimPrefix(err.Error(), alarms.ErrInvalid.Error()+": "))
	}
	if errors.Is(err, alarms.ErrNotDone) {
		c.api.Log.Error("an act on alarms could not be written", "error", err)
		err = alarms.ErrNotDone
	}
	if errors.Is(err, alarms.ErrBehind) || errors.Is(err, alarms.ErrBusy) || errors.Is(err, alarms.ErrNotDone) {
		return huma.ErrorWithHeaders(problem.New(http.StatusServiceUnavailable, "%v", err), http.Header{"Retry-After": {unavailable}})
	}
	return c.away("the alarms", err)
}

// seesAlarm says which alarms may be seen; nil: all.
func (c *call) seesAlarm() func(*alarms.Alarm) bool {
	scope := c.scope()
	if scope.Whole() {
		return nil
	}
	return func(al *alarms.Alarm) bool {
		return scope.Sees(c.api.thing(al.Rule, al.Domain, al.Zone, al.Device))
	}
}

// seen are those of the alarms that may be seen, in the same order.
func (c *call) seen(ids []string) []string {
	sees := c.seesAlarm()
	if sees == nil {
		return ids
	}
	var out []string
	for _, id := range ids {
		if c.api.Alarms == nil {
			break
		}
		if r, ok := c.api.Alarms.Get(id); ok && sees(r.Alarm) {
			out = append(out, id)
		}
	}
	return out
}

// withUnseen puts the alarms that may not be seen among the results, as ones that are not there.
func withUnseen(ids []string, results []alarms.Result) []alarms.Result {
	byID := map[string]alarms.Result{}
	for _, r := range results {
		byID[r.ID] = r
	}
	var out []alarms.Result
	told := map[string]bool{}
	for _, id := range ids {
		if told[id] {
			continue
		}
		told[id] = true
		r, ok := byID[id]
		if !ok {
			r = alarms.Result{ID: id, Err: alarms.ErrNotFound}
		}
		out = append(out, r)
	}
	return out
}

// alarmStatus is what a single action with this result answers; what nobody asked for is logged.
func (c *call) alarmStatus(r alarms.Result) int {
	_, conflict := errors.AsType[*alarms.Conflict](r.Err)
	switch {
	case r.Err == nil:
		return http.StatusOK
	case errors.Is(r.Err, alarms.ErrNotFound):
		return http.StatusNotFound
	case conflict:
		return http.StatusConflict
	}
	c.api.Log.Error("an alarm could not be changed", "alarm", r.ID, "error", r.Err)
	return http.StatusServiceUnavailable
}

// who acts.
func (c *call) who() string {
	if name := auth.Name(c.ctx); name != "" {
		return name
	}
	return loopbackName
}

func alarmsOf(records []alarms.Record) []live.Alarm {
	out := make([]live.Alarm, len(records))
	for i, r := range records {
		out[i] = live.AlarmOf(r)
	}
	return out
}

// parseMark reads a place in the list of alarms.
func parseMark(s string) (*alarms.Mark, error) {
	ms, id, ok := strings.Cut(s, " ")
	at, err := strconv.ParseInt(ms, 10, 64)
	if !ok || err != nil {
		return nil, invalid("query.cursor", "none of this list's; want one that it gave as \"next\"")
	}
	return &alarms.Mark{Raised: time.UnixMilli(at).UTC(), ID: id}, nil
}

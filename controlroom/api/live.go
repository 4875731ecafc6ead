package api

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"panormus/controlroom/live"
	"panormus/controlroom/problem"
)

type stateQuery struct {
	Domain []string `query:"domain" maxItems:"100" doc:"domains, with commas between"`
	Zone   []string `query:"zone" maxItems:"1000" doc:"zones, with commas between"`
	BBox   string   `query:"bbox" maxLength:"200" doc:"west,south,east,north in degrees" example:"13.3,38.0,13.5,38.2"`
	Page
}

type stateBody struct {
	Body struct {
		Devices []live.Item `json:"devices"`
		Next    string      `json:"next,omitempty"`
	}
}

type alarmQuery struct {
	State    string `query:"state" enum:"unacked,acked,returned,normal,shelved,suppressed,out_of_service"`
	Severity string `query:"severity" enum:"info,warning,major,critical"`
	Domain   string `query:"domain"`
	Page
}

type alarmsBody struct {
	Body struct {
		Alarms []live.Alarm `json:"alarms"`
		Next   string       `json:"next,omitempty"`
	}
}

// live are the operations that the live state answers.
func (a *api) live() {
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/state", Summary: "Last values of every device", Tags: []string{"live"}, Errors: []int{422},
		Description: "In order of id. A device that is registered and never spoke has seen null and no values."},
		func(c *call, in *stateQuery) (*stateBody, error) {
			after, err := in.after()
			if err != nil {
				return nil, err
			}
			q := live.Query{Domains: in.Domain, Zones: in.Zone, After: after, Limit: in.Limit}
			if in.BBox != "" {
				box, err := parseBox(in.BBox)
				if err != nil {
					return nil, invalid("query.bbox", "%v", err)
				}
				q.Box = &box
			}
			out := &stateBody{}
			var more bool
			out.Body.Devices, more = a.State.List(q)
			if more {
				out.Body.Next = cursorAfter(out.Body.Devices[len(out.Body.Devices)-1].ID)
			}
			return out, nil
		})
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/alarms", Summary: "Open episodes of the rules, newest first", Tags: []string{"live"}, Errors: []int{422},
		Description: "Every open episode is an alarm in state unacked: acknowledging and shelving are not there yet."},
		func(c *call, in *alarmQuery) (*alarmsBody, error) {
			after, err := in.after()
			if err != nil {
				return nil, err
			}
			all := slices.DeleteFunc(a.State.Alarms(), func(al live.Alarm) bool {
				return in.State != "" && al.State != in.State || in.Severity != "" && al.Severity != in.Severity || in.Domain != "" && al.Domain != in.Domain
			})
			out := &alarmsBody{}
			out.Body.Alarms = []live.Alarm{}
			for _, al := range all {
				if after != "" && alarmPlace(al) <= after {
					continue
				}
				if len(out.Body.Alarms) == in.Limit {
					out.Body.Next = cursorAfter(alarmPlace(out.Body.Alarms[in.Limit-1]))
					break
				}
				out.Body.Alarms = append(out.Body.Alarms, al)
			}
			return out, nil
		})
	register(a, huma.Operation{Method: http.MethodPost, Path: "/api/v1/alarms/{id}/{action}", OperationID: "post-alarm-action", Summary: "Act on an alarm", Tags: []string{"live"}, Errors: []int{501}},
		func(c *call, in *struct {
			ID     string `path:"id"`
			Action string `path:"action" enum:"ack,unack,shelve,unshelve,assign,comment,close"`
		}) (*struct{}, error) {
			return nil, problem.New(http.StatusNotImplemented, "alarms cannot be acted on yet: they end when their rule clears them")
		})
}

// alarmPlace sorts as the list does: newest first, then by id.
func alarmPlace(a live.Alarm) string {
	return fmt.Sprintf("%020d %s", 1<<62-a.Raised.UnixMilli(), a.ID)
}

func parseBox(s string) (live.Box, error) {
	parts := strings.Split(s, ",")
	if len(parts) != 4 {
		return live.Box{}, fmt.Errorf("%q has %d parts, want west,south,east,north", s, len(parts))
	}
	var v [4]float64
	for i, p := range parts {
		var err error
		if v[i], err = strconv.ParseFloat(strings.TrimSpace(p), 64); err != nil {
			return live.Box{}, fmt.Errorf("%q, want a number of degrees", p)
		}
	}
	b := live.Box{West: v[0], South: v[1], East: v[2], North: v[3]}
	return b, b.Check()
}

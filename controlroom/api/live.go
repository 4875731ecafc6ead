package api

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"panormus/controlroom/live"
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

// live are the operations that the live state answers.
func (a *api) live() {
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/state", Summary: "Last values of every device", Tags: []string{"live"}, Errors: []int{422},
		Description: "In order of id. A device that is registered and never spoke has seen null and no values."},
		func(c *call, in *stateQuery) (*stateBody, error) {
			after, err := in.after()
			if err != nil {
				return nil, err
			}
			q := live.Query{Domains: in.Domain, Zones: in.Zone, After: after, Limit: in.Limit, Sees: seesState(c.scope())}
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

package api

import (
	"context"
	"math"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"panormus/controlroom/live"
)

// Changes answers what devices said between two times.
type Changes interface {
	// Changes calls each for the last value of every metric of every device after one that reported in
	// from <= time < to, in order of device, until it wants no more.
	Changes(ctx context.Context, from, to time.Time, domain, after string, each func(live.Latest) (more bool, err error)) error
}

// maxChanges is the longest time that one page of changes may cover.
const maxChanges = time.Hour

type changesQuery struct {
	From   string `query:"from" required:"true" format:"date-time"`
	To     string `query:"to" required:"true" format:"date-time" doc:"not included; an hour after from at most"`
	Domain string `query:"domain" maxLength:"32"`
	Limit  int    `query:"limit" minimum:"1" maximum:"10000" default:"1000" doc:"how many devices at most"`
	Cursor string `query:"cursor" maxLength:"1024" doc:"\"next\" of the page before"`
}

type changedDevice struct {
	ID     string         `json:"id"`
	Domain string         `json:"domain"`
	Time   live.Stamp     `json:"t" doc:"event time of the newest of these values"`
	Values map[string]any `json:"values" doc:"the last of each metric in that time"`
}

type changesBody struct {
	Body struct {
		Devices []changedDevice `json:"devices"`
		Next    string          `json:"next,omitempty"`
	}
}

// changes are what the page plays the city back with.
func (a *api) changes() {
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/state/changes", Summary: "What devices said between two times", Tags: []string{historyTag}, Errors: []int{422, 501, 503},
		Description: "The last value of every metric of every device that reported in that time, in order of id. The hour before a moment gives the city as it was then; " +
			"step after step from there plays it back. Events of the same time say what was abnormal."},
		func(c *call, in *changesQuery) (*changesBody, error) {
			after, err := Page{Cursor: in.Cursor}.after()
			if err != nil {
				return nil, err
			}
			from, to, err := span(in.From, in.To)
			if err != nil {
				return nil, err
			}
			if d := to.Sub(from); d > maxChanges {
				return nil, invalid("query.to", "%v after from, want at most %v", d, maxChanges)
			}
			if a.Changes == nil {
				return nil, missing("changes")
			}
			out := &changesBody{}
			out.Body.Devices = []changedDevice{}
			seen, passed := true, "" // of the device at hand, and its id
			err = a.Changes.Changes(c.ctx, from, to, in.Domain, after, func(l live.Latest) (bool, error) {
				list := out.Body.Devices
				if l.Device != passed {
					if seen = c.seesDevice(l.Device); seen && len(list) == in.Limit {
						out.Body.Next = cursorAfter(list[len(list)-1].ID)
						return false, nil
					}
					passed = l.Device
					if seen {
						list = append(list, changedDevice{ID: l.Device, Domain: l.Domain, Values: map[string]any{}})
					}
				}
				if !seen {
					return true, nil
				}
				d := &list[len(list)-1]
				switch {
				case math.IsNaN(l.Value):
					d.Values[l.Metric] = l.Text
				case math.IsInf(l.Value, 0):
					d.Values[l.Metric] = nil
				default:
					d.Values[l.Metric] = l.Value
				}
				if l.Time.After(d.Time.Time) {
					d.Time.Time = l.Time
				}
				out.Body.Devices = list
				return true, nil
			})
			if err != nil {
				return nil, c.away("changes", err)
			}
			return out, nil
		})
}

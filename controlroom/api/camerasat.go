package api

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"panormus/controlroom/live"
	"panormus/devices"
)

// A PastCamera is how a camera was in one minute of the past; what is not known is nil or empty.
type PastCamera struct {
	Camera               string
	Cells                []VideoCount // of the whole view, by class
	Classes              []string     // counted in the hour
	Working              bool         // it sent something in the minute
	Frames               uint64
	Tampered, SignalLoss *bool
}

type camerasAtQuery struct {
	At     string `query:"at" required:"true" format:"date-time" doc:"RFC 3339"`
	Limit  int    `query:"limit" minimum:"1" maximum:"10000" default:"1000"`
	Cursor string `query:"cursor" maxLength:"1024" doc:"\"next\" of the page before"`
}

type cameraThen struct {
	ID     string         `json:"id"`
	Domain string         `json:"domain"`
	Time   *live.Stamp    `json:"t,omitempty" doc:"end of the minute, of a camera that sent something in it"`
	Values map[string]any `json:"values" doc:"as in the state: people_in, vehicles_present, frames_per_s…; a text such as <5 for fewer objects than the purpose's k, null for what is not known"`
}

type camerasAtBody struct {
	Body struct {
		From    live.Stamp   `json:"from" doc:"begin of the minute that the values are of"`
		Cameras []cameraThen `json:"cameras"`
		Next    string       `json:"next,omitempty"`
	}
}

// camerasAt is what cameras are played back with.
func (a *api) camerasAt() {
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/state/cameras", Summary: "Cameras' figures at a moment of the past", Tags: []string{historyTag}, Errors: []int{422, 501, 503},
		Description: "Of the last whole minute before the moment: what each camera counted, its frames, and whether it was tampered with or had no picture. Cells of fewer objects than the purpose's k are " +
			"hidden as in /api/v1/cameras/{id}/counts. Frames are known as long as raw detections are kept."},
		func(c *call, in *camerasAtQuery) (*camerasAtBody, error) {
			if c.api.Video == nil {
				return nil, missing("cameras")
			}
			page := Page{Limit: in.Limit, Cursor: in.Cursor}
			if _, err := page.after(); err != nil {
				return nil, err
			}
			at, err := instant("at", in.At)
			if err != nil {
				return nil, err
			}
			if at.After(time.Now()) {
				return nil, invalid("query.at", "%s lies in the future", in.At)
			}
			minute := at.UTC().Truncate(time.Minute).Add(-time.Minute)
			seen := map[string]*devices.Asset{} // cameras that may be told of
			asset := func(id string) *devices.Asset {
				d, ok := seen[id]
				if !ok {
					if d, err = c.camera(id); err != nil {
						d = nil
					}
					seen[id] = d
				}
				return d
			}
			k := func(id string) int {
				if d := asset(id); d != nil {
					return a.K(d.Camera.Purpose)
				}
				return a.K("")
			}
			found, err := a.Video.At(c.ctx, minute, k)
			if err != nil {
				return nil, c.away("cameras", err)
			}
			list := []cameraThen{}
			for _, p := range found {
				if d := asset(p.Camera); d != nil {
					list = append(list, thenOf(p, d, minute, k(p.Camera)))
				}
			}
			slices.SortFunc(list, func(a, b cameraThen) int { return cmp.Compare(a.ID, b.ID) })
			out := &camerasAtBody{}
			out.Body.From = live.Stamp{Time: minute}
			out.Body.Cameras, out.Body.Next, err = cut(page, list, func(c cameraThen) string { return c.ID }, nil)
			return out, err
		})
}

func thenOf(p PastCamera, d *devices.Asset, minute time.Time, k int) cameraThen {
	cells := make([]live.CameraCell, len(p.Cells))
	for i, c := range p.Cells {
		cells[i] = live.CameraCell{Class: c.Class, Hidden: c.Hidden, In: c.In, Out: c.Out, Queue: c.QueueMax, Present: c.Present}
	}
	t := cameraThen{ID: d.ID, Domain: d.Domain, Values: live.CameraMinute(cells, p.Classes, p.Working, k)}
	if p.Working {
		t.Time = &live.Stamp{Time: minute.Add(time.Minute)}
		t.Values[live.CameraFrames] = float64(p.Frames) / time.Minute.Seconds()
	}
	for name, is := range map[string]*bool{live.CameraTampered: p.Tampered, live.CameraSignalLoss: p.SignalLoss} {
		if is != nil {
			t.Values[name] = map[bool]float64{true: 1}[*is]
		}
	}
	return t
}

package api

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"panormus/stream/notify/cap"
)

type document struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

// maxWarnings bounds the feed; the newest are in it.
const maxWarnings = 1000

// cap are the operations that give open alarms in the Common Alerting Protocol.
func (a *api) cap() {
	const path = "/api/v1/cap"
	tags := []string{notifyTag}
	answer := func(media, description string) map[string]*huma.Response {
		return map[string]*huma.Response{"200": {Description: description, Content: map[string]*huma.MediaType{media: {Schema: &huma.Schema{Type: huma.TypeString}}}}}
	}
	register(a, huma.Operation{Method: http.MethodGet, Path: path, Summary: "Alarms as an Atom feed of CAP 1.2 alerts", Tags: tags, Errors: []int{501},
		Description: "Open ones of warning and above as Alert or Update, those that ended in the last 24 h as Cancel, the newest 1,000.", Responses: answer("application/atom+xml", "Atom")},
		func(c *call, in *struct{}) (*document, error) {
			if a.Warnings == nil {
				return nil, missing("the CAP feed")
			}
			scope := c.scope()
			open := slices.DeleteFunc(a.Warnings(), func(w cap.Alarm) bool {
				return w.Severity == "info" || !scope.Sees(a.thing(w.Rule, w.Domain, w.Zone, w.Device))
			})
			slices.SortFunc(open, func(x, y cap.Alarm) int {
				return cmp.Or(y.Newest().Compare(x.Newest()), cmp.Compare(x.ID, y.ID))
			})
			b, err := a.CAP.Feed(open[:min(len(open), maxWarnings)], path, time.Now(), func(id string) string { return path + "/" + url.PathEscape(id) })
			if err != nil {
				return nil, c.away("the CAP feed", err)
			}
			return &document{"application/atom+xml; charset=utf-8", b}, nil
		})
	register(a, huma.Operation{Method: http.MethodGet, Path: path + "/{id}", Summary: "An alarm of the feed as a CAP 1.2 alert, in Italian and English", Tags: tags, Errors: []int{404, 501},
		Responses: answer(cap.MediaType, "CAP 1.2")},
		func(c *call, in *struct {
			ID string `path:"id" maxLength:"256"`
		}) (*document, error) {
			if a.Warnings == nil {
				return nil, missing("the CAP feed")
			}
			open, scope := a.Warnings(), c.scope()
			i := slices.IndexFunc(open, func(w cap.Alarm) bool {
				return w.ID == in.ID && scope.Sees(a.thing(w.Rule, w.Domain, w.Zone, w.Device))
			})
			if i < 0 {
				return nil, noSuch("alarm in the feed", in.ID)
			}
			b, err := a.CAP.Alert(&open[i])
			if err != nil {
				return nil, c.away("the alert", err)
			}
			return &document{cap.MediaType + "; charset=utf-8", b}, nil
		})
}

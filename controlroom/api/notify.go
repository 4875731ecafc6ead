package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"panormus/controlroom/problem"
	"panormus/stream/notify"
)

// Notify is who is told of events; *notify.Desk is one.
type Notify interface {
	All() []*notify.Route
	Route(id string) *notify.Route
	Check(r *notify.Route) error
	Put(ctx context.Context, r *notify.Route) error
	Delete(ctx context.Context, id string) error
	Receivers() []notify.Status
	Letters(receiver string) []*notify.DeadLetter
	Replay(ctx context.Context, id string) (*notify.DeadLetter, error)
	Discard(ctx context.Context, id string) error
}

const notifyTag = "notify"

type routesBody struct {
	Body struct {
		Routes []*notify.Route `json:"routes"`
		Next   string          `json:"next,omitempty"`
	}
}

type receiversBody struct {
	Body struct {
		Receivers []notify.Status `json:"receivers"`
	}
}

// letterShape describes a dead letter; the message in it is the one of webhooks.
type letterShape struct {
	ID       string         `json:"id"`
	Receiver string         `json:"receiver"`
	Died     string         `json:"died" format:"date-time"`
	Attempts int            `json:"attempts"`
	Error    string         `json:"error" doc:"of the last attempt"`
	Replay   bool           `json:"replay,omitempty" doc:"about to be sent again"`
	Message  map[string]any `json:"message"`
}

type lettersBody struct {
	Body struct {
		DeadLetters []*notify.DeadLetter `json:"dead_letters" doc:"oldest first"`
		Next        string               `json:"next,omitempty"`
	}
}

// notify are the operations on who is told of events.
func (a *api) notify() {
	a.notifyRoutes()
	a.deadLetters()
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/notify/receivers", Summary: "Receivers and how they do", Tags: []string{notifyTag}, Errors: []int{501},
		Description: "Receivers are in the settings. What is on its way is known to the process that sends."},
		func(c *call, in *struct{}) (*receiversBody, error) {
			if a.Notify == nil {
				return nil, missing("notices")
			}
			out := &receiversBody{}
			out.Body.Receivers = append([]notify.Status{}, a.Notify.Receivers()...)
			return out, nil
		})
}

func (a *api) notifyRoutes() {
	const path = "/api/v1/notify/routes"
	tags := []string{notifyTag}
	register(a, huma.Operation{Method: http.MethodGet, Path: path, Summary: "Routes of notices, in order of id", Tags: tags, Errors: []int{422, 501},
		Description: "An event goes to a receiver by the first route that names the receiver and matches."},
		func(c *call, in *Page) (*routesBody, error) {
			if a.Notify == nil {
				return nil, missing("notices")
			}
			out := &routesBody{}
			var err error
			out.Body.Routes, out.Body.Next, err = cut(*in, a.Notify.All(), func(r *notify.Route) string { return r.ID }, nil)
			return out, err
		})
	register(a, huma.Operation{Method: http.MethodGet, Path: path + "/{id}", Summary: "One route of notices", Tags: tags, Errors: []int{404, 501}},
		func(c *call, in *idOnly) (*one[*notify.Route], error) {
			if a.Notify == nil {
				return nil, missing("notices")
			}
			r := a.Notify.Route(in.ID)
			if r == nil {
				return nil, noSuch("route", in.ID)
			}
			return &one[*notify.Route]{r}, nil
		})
	register(a, huma.Operation{Method: http.MethodPut, Path: path + "/{id}", Summary: "Enter or replace a route of notices", Tags: tags, Errors: []int{400, 422, 501, 503},
		RequestBody: bodyOf[notify.Route](a, "The route; its id may be left out")},
		func(c *call, in *idBody) (*one[*notify.Route], error) {
			if a.Notify == nil {
				return nil, missing("notices")
			}
			r := &notify.Route{}
			if err := readOne(in, r, &r.ID); err != nil {
				return nil, err
			}
			if err := a.Notify.Put(c.ctx, r); notify.Away(err) {
				return nil, c.away("the routes of notices", err)
			} else if err != nil {
				return nil, badBody(err)
			}
			return &one[*notify.Route]{r}, nil
		})
	register(a, huma.Operation{Method: http.MethodDelete, Path: path + "/{id}", Summary: "Remove a route that came through the API", Tags: tags, Errors: []int{404, 409, 501, 503},
		Description: "A route of that id in the settings counts again."},
		func(c *call, in *idOnly) (*struct{}, error) {
			if a.Notify == nil {
				return nil, missing("notices")
			}
			err := a.Notify.Delete(c.ctx, in.ID)
			switch {
			case err == nil:
				return nil, nil
			case errors.Is(err, notify.ErrFromFile):
				return nil, problem.New(http.StatusConflict, "%v: remove it there, or put another over it", err)
			}
			return nil, c.notifyFault("route", in.ID, err)
		})
}

func (c *call) notifyFault(kind, id string, err error) error {
	if errors.Is(err, notify.ErrNotFound) {
		return noSuch(kind, id)
	}
	return c.away("the notices", err)
}

func (a *api) deadLetters() {
	const path = "/api/v1/notify/dead"
	type letterID struct {
		ID string `path:"id" maxLength:"256"`
	}
	tags := []string{notifyTag}
	answer := func(schema *huma.Schema) map[string]*huma.Response {
		return map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{"application/json": {Schema: schema}}}}
	}
	shape := schemaOf[letterShape](a)
	list := &huma.Schema{Type: huma.TypeObject, Properties: map[string]*huma.Schema{
		"dead_letters": {Type: huma.TypeArray, Items: shape}, "next": {Type: huma.TypeString},
	}, Required: []string{"dead_letters"}}
	register(a, huma.Operation{Method: http.MethodGet, Path: path, Summary: "Messages that did not reach their receiver", Tags: tags, Errors: []int{422, 501}, Responses: answer(list)},
		func(c *call, in *struct {
			Receiver string `query:"receiver" maxLength:"128"`
			Page
		}) (*lettersBody, error) {
			if a.Notify == nil {
				return nil, missing("notices")
			}
			out := &lettersBody{}
			var err error
			out.Body.DeadLetters, out.Body.Next, err = cut(in.Page, a.Notify.Letters(in.Receiver), letterPlace, nil)
			return out, err
		})
	register(a, huma.Operation{Method: http.MethodPost, Path: path + "/{id}/replay", Summary: "Send a dead letter again", Tags: tags, Errors: []int{404, 501, 503}, Responses: answer(shape)},
		func(c *call, in *letterID) (*one[*notify.DeadLetter], error) {
			if a.Notify == nil {
				return nil, missing("notices")
			}
			l, err := a.Notify.Replay(c.ctx, in.ID)
			if err != nil {
				return nil, c.notifyFault("dead letter", in.ID, err)
			}
			return &one[*notify.DeadLetter]{l}, nil
		})
	register(a, huma.Operation{Method: http.MethodDelete, Path: path + "/{id}", Summary: "Throw a dead letter away", Tags: tags, Errors: []int{404, 501, 503}},
		func(c *call, in *letterID) (*struct{}, error) {
			if a.Notify == nil {
				return nil, missing("notices")
			}
			if err := a.Notify.Discard(c.ctx, in.ID); err != nil {
				return nil, c.notifyFault("dead letter", in.ID, err)
			}
			return nil, nil
		})
}

// letterPlace orders dead letters as the list does.
func letterPlace(l *notify.DeadLetter) string {
	return l.Died.UTC().Format("2006-01-02T15:04:05.000000000") + " " + l.ID
}

package api

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"panormus/controlroom/live"
	"panormus/controlroom/problem"
	"panormus/devices"
	streamlog "panormus/stream/log"
)

type ctxt = context.Context

// call is one request of an operation.
type call struct {
	ctx context.Context
	api *api
}

// newProblem makes the library's refusals ours: every fault is named in the detail.
func newProblem(status int, message string, faults ...error) huma.StatusError {
	if status == http.StatusRequestTimeout {
		message = fmt.Sprintf("body: it comes too slowly, want %v", bodyPace)
	}
	p := problem.New(status, "%s", message)
	var texts []string
	for _, err := range faults {
		if err == nil {
			continue
		}
		e := problem.Error{Message: err.Error()}
		if d, ok := err.(huma.ErrorDetailer); ok {
			detail := d.ErrorDetail()
			e = problem.Error{Location: detail.Location, Message: detail.Message}
			text := detail.Location + ": "
			if found := fmt.Sprint(detail.Value); detail.Value != nil && found != "" {
				text += fmt.Sprintf("found %.100s: ", found)
			}
			texts = append(texts, text+detail.Message)
		} else {
			texts = append(texts, e.Message)
		}
		p.Errors = append(p.Errors, e)
	}
	if len(texts) > 0 {
		p.Detail += ": " + strings.Join(texts, "; ")
	}
	return p
}

// invalid is a 422 for one parameter or body.
func invalid(location, format string, a ...any) *problem.Problem {
	p := problem.New(http.StatusUnprocessableEntity, format, a...)
	p.Errors = []problem.Error{{Location: location, Message: p.Detail}}
	p.Detail = location + ": " + p.Detail
	return p
}

// away is what a failed question to the database or the store comes to: come again.
func (c *call) away(what string, err error) error {
	if errors.Is(err, context.Canceled) && c.ctx.Err() != nil {
		return problem.New(499, "the client left")
	}
	if errors.Is(err, ErrCursor) {
		return invalid("query.cursor", "none of this list's; want one that it gave as \"next\"")
	}
	if errors.Is(err, streamlog.ErrChanged) {
		return problem.New(http.StatusPreconditionFailed, "somebody else has changed it at this moment, and If-Match or If-None-Match goes by what was there")
	}
	c.api.Log.Error("a request could not be answered", "what", what, "request", problem.Request(c.ctx), "error", err)
	return huma.ErrorWithHeaders(problem.New(http.StatusServiceUnavailable, "%s: not available now", what), http.Header{"Retry-After": {unavailable}})
}

// missing is a 501 for what this process was not given.
func missing(what string) error {
	return problem.New(http.StatusNotImplemented, "%s: this process does not have it", what)
}

// Page is how a list is asked for.
type Page struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100" doc:"how many at most"`
	Cursor string `query:"cursor" maxLength:"1024" doc:"\"next\" of the page before"`
}

// after is the id that the cursor stands for.
func (p Page) after() (string, error) {
	b, err := base64.RawURLEncoding.DecodeString(p.Cursor)
	if err != nil || len(b) > 0 && b[0] != 'i' {
		return "", invalid("query.cursor", "%.100q is none of this list's; want one that it gave as \"next\"", p.Cursor)
	}
	if len(b) == 0 {
		return "", nil
	}
	return string(b[1:]), nil
}

func cursorAfter(id string) string { return base64.RawURLEncoding.EncodeToString([]byte("i" + id)) }

// cut returns at most limit of the sorted items after the cursor, and the next cursor.
func cut[T any](p Page, items []T, id func(T) string, keep func(T) bool) (out []T, next string, err error) {
	after, err := p.after()
	if err != nil {
		return nil, "", err
	}
	out = []T{}
	for _, it := range items {
		if p.Cursor != "" && id(it) <= after || keep != nil && !keep(it) {
			continue
		}
		if len(out) == p.Limit {
			return out, cursorAfter(id(out[len(out)-1])), nil
		}
		out = append(out, it)
	}
	return out, "", nil
}

// instant reads a time of a query: RFC 3339.
func instant(name, value string) (time.Time, error) {
	if value == "" {
		return time.Time{}, nil
	}
	var s live.Stamp
	if err := s.UnmarshalText([]byte(value)); err != nil {
		return time.Time{}, invalid("query."+name, "%v", err)
	}
	if s.IsZero() {
		s.Time = s.Add(time.Millisecond) // the year 1 is a time that was given, too
	}
	return s.Time, nil
}

// span reads from and to.
func span(from, to string) (f, t time.Time, err error) {
	if f, err = instant("from", from); err != nil {
		return f, t, err
	}
	if t, err = instant("to", to); err != nil {
		return f, t, err
	}
	if !f.IsZero() && !t.IsZero() && !f.Before(t) {
		return f, t, invalid("query.to", "%s is not after from, %s", to, from)
	}
	return f, t, nil
}

// badBody is a 422 that says where a body is at fault, or a 400 where it is not even JSON.
func badBody(err error) error {
	p := problem.New(http.StatusUnprocessableEntity, "body: %v", err)
	location := "body"
	if e, ok := errors.AsType[*devices.FormatError](err); ok {
		if e.Line > 0 {
			p.Status, p.Title = http.StatusBadRequest, http.StatusText(http.StatusBadRequest)
		}
		if e.Where != "" {
			location += "." + e.Where
		}
	}
	p.Errors = []problem.Error{{Location: location, Message: err.Error()}}
	return p
}

// operationID is "devices-id-read" for GET /api/v1/devices/{id}: what is done to what, apart from how HTTP
// says it.
func operationID(method, path string) string {
	verb := map[string]string{http.MethodGet: "read", http.MethodPut: "enter", http.MethodPost: "send", http.MethodDelete: "remove"}[method]
	path = strings.TrimPrefix(strings.TrimPrefix(path, "/api/v1"), "/")
	return strings.NewReplacer("/", "-", "{", "", "}", "", ".", "-").Replace(path) + "-" + verb
}

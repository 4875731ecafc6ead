// Package problem says what went wrong in HTTP: application/problem+json, RFC 9457.
package problem

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

// ContentType is the media type of a Problem.
const ContentType = "application/problem+json"

// A Problem is one refusal. It is an error, and the body that tells of it.
type Problem struct {
	Type     string  `json:"type" doc:"kind of problem; about:blank: the title says it" example:"about:blank"`
	Title    string  `json:"title" doc:"the status in words" example:"Unprocessable Entity"`
	Status   int     `json:"status" doc:"HTTP status code" example:"422"`
	Detail   string  `json:"detail" doc:"what was found and what is allowed" example:"query.limit: found 0, want 1 to 1000"`
	Instance string  `json:"instance" doc:"path of the request" example:"/api/v1/state"`
	Request  string  `json:"request,omitempty" doc:"id of the request, as in the header X-Request-Id and the log" example:"0d1f2a3b4c5d6e7f"`
	Errors   []Error `json:"errors,omitempty" doc:"each fault, where there may be several"`
	Current  any     `json:"current,omitempty" doc:"what was to be changed, as it is now, where somebody else was faster"`
}

// An Error is one of several faults of a request.
type Error struct {
	Location string `json:"location,omitempty" doc:"such as query.limit, body or line 3, column 7"`
	Message  string `json:"message"`
}

type requestKey struct{}

// WithRequest is a context of the request with the id.
func WithRequest(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestKey{}, id)
}

// Request is the id of the request whose context it is, "" where it has none.
func Request(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}

// New makes a problem; its instance is filled in when it is written.
func New(status int, format string, a ...any) *Problem {
	return &Problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: fmt.Sprintf(format, a...)}
}

// Error is the detail.
func (p *Problem) Error() string { return p.Detail }

// GetStatus is the HTTP status, for the API library.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is the media type to send, for the API library.
func (p *Problem) ContentType(string) string { return ContentType }

// Write answers r with the problem. Headers that are to go with it are set before.
func (p *Problem) Write(w http.ResponseWriter, r *http.Request) {
	out := *p
	out.Instance, out.Request = r.URL.Path, Request(r.Context())
	b, err := json.Marshal(out)
	if err != nil {
		panic("BUG: a problem that JSON cannot say: " + err.Error())
	}
	h := w.Header()
	h.Set("Content-Type", ContentType)
	h.Set("Cache-Control", "no-store")
	h.Del("Content-Length")
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(b, '\n'))
}

package api

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"panormus/controlroom/auth"
	"panormus/controlroom/problem"
	"panormus/stream/audit"
	"panormus/stream/privacy"
)

// Purposes are the policies of what cameras' purposes allow; *privacy.Purposes is one.
type Purposes interface {
	All() []privacy.Policy
	Policy(purpose string) (privacy.Policy, bool)
	Put(ctx context.Context, p privacy.Policy) error
	// Removable reports why one cannot be removed: privacy.ErrNotFound or ErrShipped.
	Removable(id string) error
	Delete(ctx context.Context, id string) error
}

const privacyTag = "privacy"

type purposesBody struct {
	Body struct {
		Purposes []privacy.Policy `json:"purposes"`
		Next     string           `json:"next,omitempty"`
	}
}

// purposes are the operations on what may be kept of cameras' metadata.
func (a *api) purposes() {
	const path = "/api/v1/purposes"
	tags := []string{privacyTag}
	register(a, huma.Operation{Method: http.MethodGet, Path: path, Summary: "Purposes of cameras and what they allow, in order of id", Tags: tags, Errors: []int{422, 501},
		Description: "A camera names one of these in the registry. Under a purpose that is not among them the least is kept: 72 hours, plates as hashes, no attributes."},
		func(c *call, in *Page) (*purposesBody, error) {
			if a.Purposes == nil {
				return nil, missing("purposes")
			}
			out := &purposesBody{}
			var err error
			out.Body.Purposes, out.Body.Next, err = cut(*in, a.Purposes.All(), func(p privacy.Policy) string { return p.ID }, nil)
			return out, err
		})
	register(a, huma.Operation{Method: http.MethodGet, Path: path + "/{id}", Summary: "One purpose", Tags: tags, Errors: []int{404, 501}},
		func(c *call, in *idOnly) (*one[privacy.Policy], error) {
			if a.Purposes == nil {
				return nil, missing("purposes")
			}
			p, ok := a.Purposes.Policy(in.ID)
			if !ok {
				return nil, noSuch("purpose", in.ID)
			}
			return &one[privacy.Policy]{p}, nil
		})
	register(a, huma.Operation{Method: http.MethodPut, Path: path + "/{id}", Summary: "Enter or replace what a purpose allows", Tags: tags, Errors: []int{400, 422, 501, 503},
		Description: "What is left out is as in the policy of an unknown purpose. It counts from the next message on; the change is in the audit log.",
		RequestBody: bodyOf[privacy.Policy](a, "The policy; its id may be left out")},
		func(c *call, in *idBody) (*one[privacy.Policy], error) {
			if a.Purposes == nil {
				return nil, missing("purposes")
			}
			p := privacy.DefaultPolicy("")
			if err := readOne(in, &p, &p.ID); err != nil {
				return nil, err
			}
			if err := p.Check(); err != nil {
				return nil, badBody(err)
			}
			if err := c.note("purpose.put", "purpose/"+p.ID, map[string]string{"policy": p.String()}); err != nil {
				return nil, err
			}
			if err := a.Purposes.Put(c.ctx, p); err != nil {
				return nil, c.away("the purposes", err)
			}
			return &one[privacy.Policy]{p}, nil
		})
	register(a, huma.Operation{Method: http.MethodDelete, Path: path + "/{id}", Summary: "Remove a policy that came through the API", Tags: tags, Errors: []int{404, 409, 501, 503},
		Description: "The shipped one counts again, or that of an unknown purpose."},
		func(c *call, in *idOnly) (*struct{}, error) {
			if a.Purposes == nil {
				return nil, missing("purposes")
			}
			if err := a.Purposes.Removable(in.ID); errors.Is(err, privacy.ErrShipped) {
				return nil, problem.New(http.StatusConflict, "%v: put another over it", err)
			} else if err != nil {
				return nil, noSuch("purpose", in.ID)
			}
			if err := c.note("purpose.deleted", "purpose/"+in.ID, nil); err != nil {
				return nil, err
			}
			if err := a.Purposes.Delete(c.ctx, in.ID); err != nil {
				return nil, c.away("the purposes", err)
			}
			return nil, nil
		})
}

// Audit is the audit log; *audit.Journal is one.
type Audit interface {
	Append(ctx context.Context, e audit.Entry) error
	// Read returns up to limit entries from a sequence on, and the sequence of the next page, 0 at the
	// end; Since finds the sequence of a time.
	Read(ctx context.Context, from uint64, limit int) ([]audit.Entry, uint64, error)
	Since(ctx context.Context, at time.Time) (uint64, error)
	Head(ctx context.Context) (uint64, string, error)
}

// note writes an act into the audit log; where that is not possible the act must not be done.
func (c *call) note(action, object string, detail map[string]string) error {
	if c.api.Audit == nil {
		return nil
	}
	detail = maps.Clone(detail)
	if detail == nil {
		detail = map[string]string{}
	}
	detail["request"] = problem.Request(c.ctx)
	if err := c.api.Audit.Append(c.ctx, audit.Entry{Actor: c.actor(), Action: action, Object: object, Detail: detail}); err != nil {
		return c.away("the audit log", err)
	}
	return nil
}

// actor is who asks, for the audit log.
func (c *call) actor() string { return actorOf(auth.Of(c.ctx)) }

type auditBody struct {
	Body struct {
		Entries []audit.Entry `json:"entries" doc:"oldest first"`
		Head    auditHead     `json:"head"`
		Next    string        `json:"next,omitempty"`
	}
}

type auditHead struct {
	Seq  uint64 `json:"seq" doc:"of the newest entry; 0 where there is none"`
	Hash string `json:"hash" doc:"worth noting elsewhere: it stands for all entries up to this one"`
}

// audit is the operation that shows the audit log.
func (a *api) audit() {
	register(a, huma.Operation{Method: http.MethodGet, Path: "/api/v1/audit", Summary: "The audit log, oldest first", Tags: []string{privacyTag}, Errors: []int{422, 501, 503},
		Description: "Each entry's hash is the SHA-256 of the bytes of prev and of its JSON without hash and without blanks, members in the order shown, empty ones left out, <, > and & not escaped. `panormus audit verify` checks them."},
		func(c *call, in *struct {
			From string `query:"from" maxLength:"40" doc:"RFC 3339: entries at and after this time"`
			Page
		}) (*auditBody, error) {
			if a.Audit == nil {
				return nil, missing("the audit log")
			}
			at, err := instant("from", in.From)
			if err != nil {
				return nil, err
			}
			seq := uint64(1)
			if after, err := in.after(); err != nil {
				return nil, err
			} else if after != "" {
				if seq, err = strconv.ParseUint(after, 10, 64); err != nil {
					return nil, invalid("query.cursor", "none of this list's; want one that it gave as \"next\"")
				}
			} else if !at.IsZero() {
				if seq, err = a.Audit.Since(c.ctx, at); err != nil {
					return nil, c.away("the audit log", err)
				}
			}
			out := &auditBody{}
			// First the head: whoever has read the last page has then read up to it, whatever is written meanwhile.
			out.Body.Head.Seq, out.Body.Head.Hash, err = a.Audit.Head(c.ctx)
			if err != nil {
				return nil, c.away("the audit log", err)
			}
			entries, next, err := a.Audit.Read(c.ctx, seq, in.Limit)
			if err != nil {
				return nil, c.away("the audit log", err)
			}
			out.Body.Entries = append([]audit.Entry{}, entries...)
			if next != 0 {
				out.Body.Next = cursorAfter(strconv.FormatUint(next, 10))
			}
			return out, nil
		})
}

package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"panormus/controlroom/auth"
	"panormus/controlroom/problem"
	"panormus/devices"
	"panormus/stream/privacy"
)

// Reveals let plates be seen in clear when two people agree; *privacy.Reveals is one.
type Reveals interface {
	All() []privacy.Reveal
	Request(ctx context.Context, by, reason, caseNumber string, q privacy.PlateQuery) (privacy.Reveal, error)
	Approve(ctx context.Context, id, by string) (privacy.Reveal, error)
	Refuse(ctx context.Context, id, by string) (privacy.Reveal, error)
	// Look returns the plate too, where by may see it now.
	Look(ctx context.Context, id, by string) (privacy.Reveal, string, error)
}

// PlateLists are lists of plates that are looked for; *privacy.Lists is one.
type PlateLists interface {
	All() []privacy.List
	List(id string) (privacy.List, bool)
	Check(list *privacy.List, plates []string) ([]string, error)
	Put(ctx context.Context, list privacy.List, plates []string) error
	Delete(ctx context.Context, id string) error
}

type revealsBody struct {
	Body struct {
		Reveals []privacy.Reveal `json:"reveals"`
		Next    string           `json:"next,omitempty"`
	}
}

// shownReveal is a reveal as it is shown: with the plate to whoever asked for it.
type shownReveal struct {
	privacy.Reveal
	Plate string `json:"plate,omitempty" doc:"only while approved, and only to the requester"`
}

type revealRequest struct {
	PlateHash string `json:"plate_hash,omitempty" doc:"of a detection; or camera and time"`
	Camera    string `json:"camera,omitempty"`
	Time      string `json:"time,omitempty" doc:"RFC 3339, to the millisecond"`
	Reason    string `json:"reason" doc:"10 to 1000 bytes, without the plate: it goes into the audit log"`
	Case      string `json:"case" doc:"number of the case, 1 to 100 bytes"`
}

// reveals are the operations that show plates in clear.
func (a *api) reveals() {
	const path = "/api/v1/plates/reveals"
	tags, faults := []string{privacyTag}, []int{403, 501, 503}
	register(a, huma.Operation{Method: http.MethodGet, Path: path, Summary: "Requests to see plates, newest first", Tags: tags, Errors: append(faults, 422)},
		func(c *call, in *struct {
			State string `query:"state" enum:"pending,approved,refused,expired"`
			Page
		}) (*revealsBody, error) {
			if _, err := c.person(); err != nil {
				return nil, err
			}
			// The list is in order of what cut compares: newest first means the smaller key.
			all := a.Reveals.All()
			out := &revealsBody{}
			var err error
			out.Body.Reveals, out.Body.Next, err = cut(in.Page, all, newestFirst, func(r privacy.Reveal) bool { return in.State == "" || r.State == in.State })
			return out, err
		})
	register(a, huma.Operation{Method: http.MethodPost, Path: path, Summary: "Ask to see a plate", Tags: tags, Errors: append(faults, 400, 404, 409, 422), DefaultStatus: http.StatusCreated,
		Description: "Somebody else must approve within 24 hours; then whoever asked can look at it for some minutes. Each step and each look is in the audit log.",
		RequestBody: bodyOf[revealRequest](a, "Which plate, and why")},
		func(c *call, in *struct{ RawBody []byte }) (*one[shownReveal], error) {
			by, err := c.person()
			if err != nil {
				return nil, err
			}
			var q revealRequest
			if err := devices.StrictJSON(in.RawBody, &q); err != nil {
				return nil, badBody(err)
			}
			plate, err := q.check()
			if err != nil {
				return nil, err
			}
			r, err := a.Reveals.Request(c.ctx, by, q.Reason, q.Case, plate)
			return c.shown(r, "", err)
		})
	register(a, huma.Operation{Method: http.MethodGet, Path: path + "/{id}", Summary: "One request; to whoever made it, the plate while it is approved", Tags: tags, Errors: append(faults, 404, 409)},
		func(c *call, in *idOnly) (*one[shownReveal], error) {
			by, err := c.person()
			if err != nil {
				return nil, err
			}
			return c.shown(a.Reveals.Look(c.ctx, in.ID, by))
		})
	decide := func(word, summary string, do func(ctx context.Context, id, by string) (privacy.Reveal, error)) {
		register(a, huma.Operation{Method: http.MethodPost, Path: path + "/{id}/" + word, Summary: summary, Tags: tags, Errors: append(faults, 404, 409)},
			func(c *call, in *idOnly) (*one[shownReveal], error) {
				by, err := c.person()
				if err != nil {
					return nil, err
				}
				r, err := do(c.ctx, in.ID, by)
				return c.shown(r, "", err)
			})
	}
	decide("approve", "Let a plate be seen that somebody else asked for", func(ctx context.Context, id, by string) (privacy.Reveal, error) {
		return a.Reveals.Approve(ctx, id, by)
	})
	decide("refuse", "Do not let it be seen", func(ctx context.Context, id, by string) (privacy.Reveal, error) { return a.Reveals.Refuse(ctx, id, by) })
}

// newestFirst is a key of reveals that is smaller the newer they are.
func newestFirst(r privacy.Reveal) string {
	const end = 1 << 62
	return fmt.Sprintf("%019d %s", end-r.Requested.UnixMilli(), r.ID)
}

// person is who asks: plates are shown to people with names only.
func (c *call) person() (string, error) {
	if c.api.Reveals == nil {
		return "", missing("reveals of plates")
	}
	if name := auth.Name(c.ctx); name != "" {
		return name, nil
	}
	return "", problem.New(http.StatusForbidden, "plates are revealed to people with names, and here nobody has one: name a file of tokens in web.tokens, one token a person (panormus token NAME)")
}

func (q *revealRequest) check() (privacy.PlateQuery, error) {
	var out privacy.PlateQuery
	if n := len(strings.TrimSpace(q.Reason)); n < privacy.MinReason || len(q.Reason) > privacy.MaxReason {
		return out, invalid("body.reason", "%d bytes, want %d to %d", n, privacy.MinReason, privacy.MaxReason)
	}
	if n := len(strings.TrimSpace(q.Case)); n < 1 || len(q.Case) > privacy.MaxCase {
		return out, invalid("body.case", "%d bytes, want 1 to %d", n, privacy.MaxCase)
	}
	if q.PlateHash != "" {
		// What is not a hash may be a plate, and is not repeated.
		if len(q.PlateHash) != 64 || strings.Trim(q.PlateHash, "0123456789abcdef") != "" {
			return out, invalid("body.plate_hash", "%d characters, want 64 of 0-9 and a-f", len(q.PlateHash))
		}
		if q.Camera != "" || q.Time != "" {
			return out, invalid("body", "plate_hash beside camera and time, want one of them")
		}
		out.Hash = q.PlateHash
		return out, nil
	}
	at, err := time.Parse(time.RFC3339Nano, q.Time)
	if err != nil || devices.CheckID(q.Camera) != nil {
		return out, invalid("body", "neither plate_hash nor camera and time (RFC 3339)")
	}
	out.Camera, out.Time = q.Camera, at.UTC()
	return out, nil
}

func (c *call) shown(r privacy.Reveal, plate string, err error) (*one[shownReveal], error) {
	switch {
	case err == nil:
		return &one[shownReveal]{shownReveal{r, plate}}, nil
	case errors.Is(err, privacy.ErrNotFound):
		return nil, problem.New(http.StatusNotFound, "%v", err)
	case errors.Is(err, privacy.ErrForbidden):
		return nil, problem.New(http.StatusForbidden, "%v", err)
	case errors.Is(err, privacy.ErrConflict):
		return nil, problem.New(http.StatusConflict, "%v", err)
	}
	return nil, c.away("reveals of plates", err)
}

type listsBody struct {
	Body struct {
		Lists []privacy.List `json:"lists"`
		Next  string         `json:"next,omitempty"`
	}
}

// listShape is what is put: the plates are never shown again.
type listShape struct {
	ID       string   `json:"id,omitempty"`
	Title    string   `json:"title"`
	Purposes []string `json:"purposes" doc:"of the cameras whose readings are compared"`
	Plates   []string `json:"plates" doc:"1 to 20000; spaces, hyphens and case do not matter"`
}

// maxList bounds the body of a list.
const maxList = 1 << 20

// plateLists are the operations on lists of plates that are looked for.
func (a *api) plateLists() {
	const path = "/api/v1/plates/lists"
	tags := []string{privacyTag}
	register(a, huma.Operation{Method: http.MethodGet, Path: path, Summary: "Lists of plates that are looked for, in order of id", Tags: tags, Errors: []int{422, 501}},
		func(c *call, in *Page) (*listsBody, error) {
			if a.PlateLists == nil {
				return nil, missing("lists of plates")
			}
			out := &listsBody{}
			var err error
			out.Body.Lists, out.Body.Next, err = cut(*in, a.PlateLists.All(), func(l privacy.List) string { return l.ID }, nil)
			return out, err
		})
	register(a, huma.Operation{Method: http.MethodGet, Path: path + "/{id}", Summary: "One list, without its plates", Tags: tags, Errors: []int{404, 501}},
		func(c *call, in *idOnly) (*one[privacy.List], error) {
			if a.PlateLists == nil {
				return nil, missing("lists of plates")
			}
			l, ok := a.PlateLists.List(in.ID)
			if !ok {
				return nil, noSuch("list", in.ID)
			}
			return &one[privacy.List]{l}, nil
		})
	register(a, huma.Operation{Method: http.MethodPut, Path: path + "/{id}", Summary: "Enter or replace a list of plates", Tags: tags, Errors: []int{400, 409, 422, 501, 503},
		Description:  "A camera that reads one of them raises an event of rule plate-list:{id}. The plates are kept encrypted and compared by the hashes of the day.",
		RequestBody:  bodyOf[listShape](a, "The list, whole"),
		MaxBodyBytes: maxList},
		func(c *call, in *idBody) (*one[privacy.List], error) {
			if a.PlateLists == nil {
				return nil, missing("lists of plates")
			}
			var s listShape
			if err := readOne(in, &s, &s.ID); err != nil {
				return nil, err
			}
			l := privacy.List{ID: s.ID, Title: s.Title, Purposes: s.Purposes}
			plates, err := a.PlateLists.Check(&l, s.Plates)
			if err != nil {
				return nil, badBody(err)
			}
			if err := c.note("list.put", "list/"+l.ID, map[string]string{"plates": strconv.Itoa(l.Count), "purposes": strings.Join(l.Purposes, " ")}); err != nil {
				return nil, err
			}
			err = a.PlateLists.Put(c.ctx, l, plates)
			switch {
			case errors.Is(err, privacy.ErrConflict):
				return nil, problem.New(http.StatusConflict, "%v", err)
			case err != nil:
				return nil, c.away("lists of plates", err)
			}
			return &one[privacy.List]{l}, nil
		})
	register(a, huma.Operation{Method: http.MethodDelete, Path: path + "/{id}", Summary: "Erase a list", Tags: tags, Errors: []int{404, 501, 503}},
		func(c *call, in *idOnly) (*struct{}, error) {
			if a.PlateLists == nil {
				return nil, missing("lists of plates")
			}
			if _, ok := a.PlateLists.List(in.ID); !ok {
				return nil, noSuch("list", in.ID)
			}
			if err := c.note("list.deleted", "list/"+in.ID, nil); err != nil {
				return nil, err
			}
			err := a.PlateLists.Delete(c.ctx, in.ID)
			if errors.Is(err, privacy.ErrNotFound) {
				return nil, noSuch("list", in.ID)
			}
			if err != nil {
				return nil, c.away("lists of plates", err)
			}
			return nil, nil
		})
}

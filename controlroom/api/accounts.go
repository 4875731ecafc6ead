package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"panormus/controlroom/auth"
	"panormus/controlroom/auth/accounts"
	"panormus/controlroom/live"
	"panormus/controlroom/problem"
	"panormus/devices"
)

// Accounts are who is let in; *accounts.Book is one.
type Accounts interface {
	Users() []accounts.User
	PutUser(ctx context.Context, name string, c accounts.Change) (url string, err error)
	DeleteUser(ctx context.Context, name string) error
	Tokens() []accounts.Token
	PutToken(ctx context.Context, name string, g auth.Grant) (string, error)
	DeleteToken(ctx context.Context, name string) error
	EndAll(ctx context.Context, name string) (int, error)
}

// userItem is a user as it is shown: nothing of what only the user knows.
type userItem struct {
	Name     string      `json:"name"`
	Role     auth.Role   `json:"role"`
	Scope    *auth.Scope `json:"scope" doc:"null for the whole city"`
	Expires  *live.Stamp `json:"expires" doc:"null for never"`
	Disabled bool        `json:"disabled"`
	TOTP     bool        `json:"totp" doc:"has a second factor"`
	Changed  live.Stamp  `json:"changed"`
	TOTPURL  string      `json:"totp_url,omitempty" doc:"of a new second factor, for an authenticator; shown once"`
}

// userShape is what is put.
type userShape struct {
	Role     auth.Role   `json:"role" enum:"viewer,operator,domain_operator,supervisor,data_protection,admin,agency"`
	Scope    *auth.Scope `json:"scope,omitempty"`
	Expires  *live.Stamp `json:"expires,omitempty"`
	Password string      `json:"password,omitempty" doc:"12 to 256 bytes; without it a user keeps the one there is"`
	Disabled bool        `json:"disabled,omitempty"`
	TOTP     *bool       `json:"totp,omitempty" doc:"true makes a new second factor, false takes it away"`
}

type tokenItem struct {
	Name    string      `json:"name"`
	Role    auth.Role   `json:"role"`
	Scope   *auth.Scope `json:"scope" doc:"null for the whole city"`
	Expires *live.Stamp `json:"expires" doc:"null for never"`
	Created live.Stamp  `json:"created"`
	Token   string      `json:"token,omitempty" doc:"of a new one; shown once"`
}

type grantShape struct {
	Role    auth.Role   `json:"role" enum:"viewer,operator,domain_operator,supervisor,data_protection,admin,agency"`
	Scope   *auth.Scope `json:"scope,omitempty"`
	Expires *live.Stamp `json:"expires,omitempty"`
}

func (g grantShape) grant() auth.Grant {
	out := auth.Grant{Role: g.Role, Scope: g.Scope}
	if g.Expires != nil {
		out.Expires = g.Expires.Time
	}
	return out
}

func stampOrNil(t time.Time) *live.Stamp {
	if t.IsZero() {
		return nil
	}
	return &live.Stamp{Time: t}
}

func userOf(u accounts.User) userItem {
	return userItem{Name: u.Name, Role: u.Role, Scope: u.Scope, Expires: stampOrNil(u.Expires), Disabled: u.Disabled, TOTP: u.TOTP != "", Changed: live.Stamp{Time: u.Changed}}
}

func tokenOf(t accounts.Token) tokenItem {
	return tokenItem{Name: t.Name, Role: t.Role, Scope: t.Scope, Expires: stampOrNil(t.Expires), Created: live.Stamp{Time: t.Created}}
}

type usersBody struct {
	Body struct {
		Users []userItem `json:"users"`
		Next  string     `json:"next,omitempty"`
	}
}

type tokensBody struct {
	Body struct {
		Tokens []tokenItem `json:"tokens"`
		Next   string      `json:"next,omitempty"`
	}
}

type nameOnly struct {
	Name string `path:"name" maxLength:"64"`
}

type nameBody struct {
	Name    string `path:"name" maxLength:"64"`
	RawBody []byte
}

// accounts are the operations on who is let in.
func (a *api) accounts() {
	a.users()
	a.tokens()
	register(a, huma.Operation{Method: http.MethodDelete, Path: "/api/v1/sessions/{name}", Summary: "End all sessions of a user", Tags: []string{accessTag}, Errors: []int{501, 503}},
		func(c *call, in *struct {
			Name string `path:"name" maxLength:"256"`
		}) (*struct{}, error) {
			if a.Accounts == nil {
				return nil, missing("accounts")
			}
			if _, err := a.Accounts.EndAll(c.ctx, in.Name); err != nil {
				return nil, c.away("the sessions", err)
			}
			return nil, nil
		})
}

func (a *api) users() {
	const path = "/api/v1/users"
	tags := []string{accessTag}
	register(a, huma.Operation{Method: http.MethodGet, Path: path, Summary: "Local users, in order of name", Tags: tags, Errors: []int{422, 501}},
		func(c *call, in *Page) (*usersBody, error) {
			if a.Accounts == nil {
				return nil, missing("accounts")
			}
			found, next, err := cut(*in, a.Accounts.Users(), func(u accounts.User) string { return u.Name }, nil)
			out := &usersBody{}
			out.Body.Users, out.Body.Next = make([]userItem, len(found)), next
			for i, u := range found {
				out.Body.Users[i] = userOf(u)
			}
			return out, err
		})
	register(a, huma.Operation{Method: http.MethodGet, Path: path + "/{name}", Summary: "One local user", Tags: tags, Errors: []int{404, 501}},
		func(c *call, in *nameOnly) (*one[userItem], error) {
			u, err := a.user(in.Name)
			return &one[userItem]{u}, err
		})
	register(a, huma.Operation{Method: http.MethodPut, Path: path + "/{name}", Summary: "Enter or change a local user", Tags: tags, Errors: []int{400, 409, 422, 501, 503},
		Description: "From the first user on everybody has to say who they are, so it must be an admin. Another password ends the user's sessions.",
		RequestBody: bodyOf[userShape](a, "The user; a password where it is new")},
		func(c *call, in *nameBody) (*one[userItem], error) {
			if a.Accounts == nil {
				return nil, missing("accounts")
			}
			var b userShape
			if err := devices.StrictJSON(in.RawBody, &b); err != nil {
				return nil, badBody(err)
			}
			g := grantShape{b.Role, b.Scope, b.Expires}.grant()
			detail := grantDetail(g)
			detail["disabled"] = strconv.FormatBool(b.Disabled)
			detail["password"] = strconv.FormatBool(b.Password != "") // whether it was set
			if err := c.note("user.put", "user/"+in.Name, detail); err != nil {
				return nil, err
			}
			url, err := a.Accounts.PutUser(c.ctx, in.Name, accounts.Change{Grant: g, Password: b.Password, Disabled: b.Disabled, TOTP: b.TOTP})
			if err != nil {
				return nil, c.accountFault("user", in.Name, err)
			}
			u, err := a.user(in.Name)
			u.TOTPURL = url
			return &one[userItem]{u}, err
		})
	register(a, huma.Operation{Method: http.MethodDelete, Path: path + "/{name}", Summary: "Remove a local user", Tags: tags, Errors: []int{404, 409, 501, 503}},
		func(c *call, in *nameOnly) (*struct{}, error) {
			if a.Accounts == nil {
				return nil, missing("accounts")
			}
			if err := c.note("user.deleted", "user/"+in.Name, nil); err != nil {
				return nil, err
			}
			if err := a.Accounts.DeleteUser(c.ctx, in.Name); err != nil {
				return nil, c.accountFault("user", in.Name, err)
			}
			return nil, nil
		})
}

func (a *api) user(name string) (userItem, error) {
	if a.Accounts == nil {
		return userItem{}, missing("accounts")
	}
	for _, u := range a.Accounts.Users() {
		if u.Name == name {
			return userOf(u), nil
		}
	}
	return userItem{}, noSuch("user", name)
}

func (a *api) tokens() {
	const path = "/api/v1/tokens"
	tags := []string{accessTag}
	register(a, huma.Operation{Method: http.MethodGet, Path: path, Summary: "Tokens that came through the API, in order of name", Tags: tags, Errors: []int{422, 501}},
		func(c *call, in *Page) (*tokensBody, error) {
			if a.Accounts == nil {
				return nil, missing("accounts")
			}
			found, next, err := cut(*in, a.Accounts.Tokens(), func(t accounts.Token) string { return t.Name }, nil)
			out := &tokensBody{}
			out.Body.Tokens, out.Body.Next = make([]tokenItem, len(found)), next
			for i, t := range found {
				out.Body.Tokens[i] = tokenOf(t)
			}
			return out, err
		})
	register(a, huma.Operation{Method: http.MethodPut, Path: path + "/{name}", Summary: "Make a token; one of that name counts no more", Tags: tags, Errors: []int{400, 409, 422, 501, 503},
		RequestBody: bodyOf[grantShape](a, "What it may do, where and until when")},
		func(c *call, in *nameBody) (*one[tokenItem], error) {
			if a.Accounts == nil {
				return nil, missing("accounts")
			}
			var b grantShape
			if err := devices.StrictJSON(in.RawBody, &b); err != nil {
				return nil, badBody(err)
			}
			g := b.grant()
			if err := c.note("token.put", "token/"+in.Name, grantDetail(g)); err != nil {
				return nil, err
			}
			secret, err := a.Accounts.PutToken(c.ctx, in.Name, g)
			if err != nil {
				return nil, c.accountFault("token", in.Name, err)
			}
			return &one[tokenItem]{tokenItem{Name: in.Name, Role: g.Role, Scope: g.Scope, Expires: stampOrNil(g.Expires), Created: live.Stamp{Time: time.Now()}, Token: secret}}, nil
		})
	register(a, huma.Operation{Method: http.MethodDelete, Path: path + "/{name}", Summary: "Remove a token", Tags: tags, Errors: []int{404, 409, 501, 503}},
		func(c *call, in *nameOnly) (*struct{}, error) {
			if a.Accounts == nil {
				return nil, missing("accounts")
			}
			if err := c.note("token.deleted", "token/"+in.Name, nil); err != nil {
				return nil, err
			}
			if err := a.Accounts.DeleteToken(c.ctx, in.Name); err != nil {
				return nil, c.accountFault("token", in.Name, err)
			}
			return nil, nil
		})
}

// grantDetail is what the audit log has of a grant.
func grantDetail(g auth.Grant) map[string]string {
	out := map[string]string{"role": string(g.Role)}
	if g.Scope != nil {
		out["scope"] = clipped(g.Scope.Key() + strings.Join(g.Scope.Share, " "))
	}
	if !g.Expires.IsZero() {
		out["expires"] = g.Expires.UTC().Format(time.RFC3339)
	}
	return out
}

func (c *call) accountFault(kind, name string, err error) error {
	switch {
	case errors.Is(err, accounts.ErrInvalid):
		return badBody(&devices.FormatError{Err: errors.New(strings.TrimPrefix(err.Error(), accounts.ErrInvalid.Error()+": "))})
	case errors.Is(err, accounts.ErrConflict):
		return problem.New(http.StatusConflict, "%v", err)
	case errors.Is(err, accounts.ErrNotFound):
		return noSuch(kind, name)
	}
	return c.away("the accounts", err)
}

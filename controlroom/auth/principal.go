package auth

import (
	"context"
	"slices"
	"sync/atomic"
)

// A Principal is who asks.
type Principal struct {
	Name string // "" where nobody had to say
	Grant
	Via     string // token, session, or open where nobody has to say who they are
	Session string // the session's key; with sessions only
	Token   string // what is kept of the token; with tokens that can be replaced only
}

// Open is everybody where no credentials are configured: all is allowed, as on a machine of one's own.
var Open = Principal{Grant: Grant{Role: Admin}, Via: "open"}

// May reports whether p has a permission.
func (p *Principal) May(x Permission) bool {
	switch {
	case x == Public || p.Via == Open.Via:
		return true
	case p.Role != Agency:
		return slices.Contains(grants[p.Role], x)
	case slices.Contains(grants[Agency], x):
		return true
	}
	return slices.ContainsFunc(p.share(), func(s string) bool { return shares[s] == x })
}

// Permissions are all that p has, in order.
func (p *Principal) Permissions() []Permission {
	var out []Permission
	for _, x := range grants[Admin] {
		if p.May(x) {
			out = append(out, x)
		}
	}
	for _, x := range []Permission{RevealsApprove, AuditRead} {
		if p.May(x) {
			out = append(out, x)
		}
	}
	slices.Sort(out)
	return out
}

// visit is one request and who makes it.
type visit struct {
	principal Principal
	scoped    atomic.Bool // the scope was asked for
}

type visitKey struct{}

// With gives a request's context its principal.
func With(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, visitKey{}, &visit{principal: p})
}

// Of is who asks. Where nothing stands before the handler that would know, it is somebody who may
// do nothing.
func Of(ctx context.Context) *Principal {
	if v, ok := ctx.Value(visitKey{}).(*visit); ok {
		return &v.principal
	}
	return &Principal{}
}

// ScopeOf is what the one who asks may see. A handler whose rule is Scoped must ask for it: the guard
// gives no answer of one that did not.
func ScopeOf(ctx context.Context) *Scope {
	v, ok := ctx.Value(visitKey{}).(*visit)
	if !ok {
		return &Scope{Areas: []Place{{Domain: "\x00"}}} // nothing lies there
	}
	v.scoped.Store(true)
	return v.principal.Scope
}

// Name is who asks, "" where nobody had to say.
func Name(ctx context.Context) string { return Of(ctx).Name }

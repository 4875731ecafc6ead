package login

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"panormus/controlroom/auth"
	"panormus/controlroom/auth/accounts"
)

// An OIDC is a provider that knows people, by OpenID Connect: authorization code with PKCE.
type OIDC struct {
	Issuer, ClientID, ClientSecret string
	Name                           string   // for people, on the button
	Scopes                         []string // beside openid
	RedirectURL                    string   // ours, https://host/login/callback; empty: the host that is asked
	NameClaim                      string   // default preferred_username, then email, then sub
	RoleClaim                      string   // default groups; a text or a list of texts
	Roles                          []RoleOf // the first one that a value of the claim matches
	Client                         *http.Client
	// Seal keeps what a browser is given on its way to the provider from being read or made by anybody else.
	// Processes with the same key finish each other's logins.
	Seal accounts.Sealer

	mu       sync.Mutex
	provider *oidc.Provider
}

// A RoleOf says what somebody may do whose claim has a value.
type RoleOf struct {
	Value      string `yaml:"value"`
	auth.Grant `yaml:",inline"`
}

// Check reports what of the settings is not acceptable.
func (o *OIDC) Check() error {
	switch {
	case !strings.HasPrefix(o.Issuer, "https://") && !strings.HasPrefix(o.Issuer, "http://127.0.0.1:") && !strings.HasPrefix(o.Issuer, "http://localhost:"):
		return fmt.Errorf("issuer: %.100q, want https://…", o.Issuer)
	case o.ClientID == "":
		return errors.New("client_id: missing")
	case len(o.Roles) == 0:
		return errors.New("roles: none, and nobody would be let in")
	}
	for i, r := range o.Roles {
		if r.Value == "" {
			return fmt.Errorf("roles[%d].value: missing", i)
		}
		if err := r.Grant.Check(); err != nil {
			return fmt.Errorf("roles[%d].%w", i, err)
		}
	}
	return nil
}

func (o *OIDC) title() string {
	if o.Name != "" {
		return o.Name
	}
	return "OpenID Connect"
}

// A pending is a login on its way, sealed into a cookie of the browser that began it.
type pending struct {
	State, Nonce, Verifier, Next, Redirect string
	Until                                  time.Time
}

const (
	pendingCookie = "panormus-login"
	pendingSealed = "login/oidc" // what it is sealed as
	pendingFor    = 10 * time.Minute
	providerTime  = 15 * time.Second
)

// pendingName is what the cookie is called: with the prefix no other host can plant one, which would have
// people log in as somebody else.
func pendingName(r *http.Request) string {
	if accounts.Secure(r) {
		return "__Host-" + pendingCookie
	}
	return pendingCookie
}

// pendingOf is the cookie of a login on its way; "" takes it back.
func pendingOf(r *http.Request, sealed string) *http.Cookie {
	c := &http.Cookie{Name: pendingName(r), Value: sealed, Path: "/", HttpOnly: true, Secure: accounts.Secure(r), SameSite: http.SameSiteLaxMode, MaxAge: int(pendingFor / time.Second)}
	if sealed == "" {
		c.MaxAge = -1
	}
	return c
}

// endpoint asks the provider for its addresses, once it answers.
func (o *OIDC) endpoint(ctx context.Context) (context.Context, *oidc.Provider, error) {
	client := o.Client
	if client == nil {
		client = &http.Client{Timeout: providerTime}
	}
	ctx = oidc.ClientContext(ctx, client)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.provider == nil {
		// Its keys are asked for long after this request has ended.
		p, err := oidc.NewProvider(context.WithoutCancel(ctx), o.Issuer)
		if err != nil {
			return ctx, nil, fmt.Errorf("ask %s for its addresses: %w", o.Issuer, err)
		}
		o.provider = p
	}
	return ctx, o.provider, nil
}

func (o *OIDC) config(p *oidc.Provider, redirect string) *oauth2.Config {
	return &oauth2.Config{ClientID: o.ClientID, ClientSecret: o.ClientSecret, Endpoint: p.Endpoint(), RedirectURL: redirect, Scopes: append([]string{oidc.ScopeOpenID}, o.Scopes...)}
}

// away sends somebody to the provider.
func (d *Desk) away(w http.ResponseWriter, r *http.Request) {
	o := d.OIDC
	_, provider, err := o.endpoint(r.Context())
	if err != nil {
		d.broken(w, r, err)
		return
	}
	redirect := o.RedirectURL
	if redirect == "" { // the guard has seen to it that the host is ours
		scheme := "http"
		if r.TLS != nil {
			scheme = "https"
		}
		redirect = scheme + "://" + r.Host + Path + "/callback"
	}
	p := pending{State: auth.Secret(), Nonce: auth.Secret(), Verifier: oauth2.GenerateVerifier(), Next: Next(r.URL.Query().Get("next")), Redirect: redirect, Until: time.Now().Add(pendingFor)}
	b, err := json.Marshal(p)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	http.SetCookie(w, pendingOf(r, base64.RawURLEncoding.EncodeToString(o.Seal.Wrap(pendingSealed, b))))
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, o.config(provider, redirect).AuthCodeURL(p.State, oidc.Nonce(p.Nonce), oauth2.S256ChallengeOption(p.Verifier)), http.StatusSeeOther)
}

// back takes somebody whom the provider sends back.
func (d *Desk) back(w http.ResponseWriter, r *http.Request) {
	o := d.OIDC
	http.SetCookie(w, pendingOf(r, ""))
	p, err := o.pending(r)
	if err != nil {
		d.broken(w, r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), providerTime)
	defer cancel()
	// A cookie that was copied counts no more once somebody has come back with it.
	if first, err := d.Book.Once(ctx, p.State, p.Until); err != nil {
		d.unavailable(w, r, err)
		return
	} else if !first {
		d.broken(w, r, errors.New("this login has come back already"))
		return
	}
	name, g, err := o.who(ctx, p, r.URL.Query().Get("code"))
	if errors.Is(err, errNoRole) {
		d.deny(r, "", "oidc")
		d.render(w, r, http.StatusForbidden, p.Next, "", fmt.Sprintf(wordsFor(r).Refused, o.title()))
		return
	}
	if err != nil {
		d.deny(r, "", "oidc")
		d.broken(w, r, err)
		return
	}
	secret, err := d.Book.LoginAs(r.Context(), name, g)
	if err != nil {
		d.unavailable(w, r, err)
		return
	}
	d.begin(w, r, name, secret, "oidc", p.Next)
}

// broken says that a login over the provider came to nothing; why is in the log of the process.
func (d *Desk) broken(w http.ResponseWriter, r *http.Request, err error) {
	d.Log.Warn("a login by OpenID Connect came to nothing", "error", err)
	d.render(w, r, http.StatusBadRequest, "/", "", fmt.Sprintf(wordsFor(r).Broken, d.OIDC.title()))
}

// pending opens what the browser was given when it left, and checks that this is the way back of it.
func (o *OIDC) pending(r *http.Request) (pending, error) {
	var p pending
	c, err := r.Cookie(pendingName(r))
	if err != nil {
		return p, errors.New("no login is on its way in this browser")
	}
	raw, err := base64.RawURLEncoding.DecodeString(c.Value)
	if err != nil {
		return p, errors.New("what the browser was given is not as it was")
	}
	b, err := o.Seal.Unwrap(pendingSealed, raw)
	if err != nil || json.Unmarshal(b, &p) != nil {
		return p, errors.New("what the browser was given is not as it was, or the key is another")
	}
	q := r.URL.Query()
	switch {
	case time.Now().After(p.Until):
		return p, errors.New("the login took too long")
	case subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(p.State)) != 1:
		return p, errors.New("the state is not that of this login")
	case q.Get("iss") != "" && q.Get("iss") != o.Issuer: // RFC 9207: another provider's answer
		return p, errors.New("the answer is another provider's")
	case q.Get("error") != "":
		return p, fmt.Errorf("the provider says %.100q", q.Get("error"))
	case q.Get("code") == "":
		return p, errors.New("the provider gave no code")
	}
	return p, nil
}

var errNoRole = errors.New("none of the roles")

// who exchanges the code and reads who it is of.
func (o *OIDC) who(ctx context.Context, p pending, code string) (name string, g auth.Grant, err error) {
	ctx, provider, err := o.endpoint(ctx)
	if err != nil {
		return "", g, err
	}
	config := o.config(provider, p.Redirect)
	token, err := config.Exchange(ctx, code, oauth2.VerifierOption(p.Verifier))
	if err != nil {
		return "", g, fmt.Errorf("exchange the code: %w", err)
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return "", g, errors.New("the provider gave no id_token")
	}
	id, err := provider.Verifier(&oidc.Config{ClientID: o.ClientID}).Verify(ctx, raw)
	if err != nil {
		return "", g, fmt.Errorf("check the id_token: %w", err)
	}
	if subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(p.Nonce)) != 1 {
		return "", g, errors.New("the nonce is not that of this login")
	}
	claims := map[string]any{}
	if err := id.Claims(&claims); err != nil {
		return "", g, fmt.Errorf("read the claims: %w", err)
	}
	if claims[o.roleClaim()] == nil && provider.UserInfoEndpoint() != "" {
		info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
		if err != nil {
			return "", g, fmt.Errorf("ask who it is: %w", err)
		}
		if info.Subject != id.Subject {
			return "", g, errors.New("userinfo is of another subject than the id_token")
		}
		more := map[string]any{}
		if err := info.Claims(&more); err != nil {
			return "", g, fmt.Errorf("read the claims: %w", err)
		}
		for k, v := range more {
			if claims[k] == nil {
				claims[k] = v
			}
		}
	}
	if g, ok = o.grant(claims[o.roleClaim()]); !ok {
		return "", g, errNoRole
	}
	return o.nameOf(claims, id.Subject), g, nil
}

func (o *OIDC) roleClaim() string {
	if o.RoleClaim != "" {
		return o.RoleClaim
	}
	return "groups"
}

// grant is that of the first role which a value of the claim matches.
func (o *OIDC) grant(claim any) (auth.Grant, bool) {
	has := map[string]bool{}
	switch v := claim.(type) {
	case string:
		has[v] = true
	case []any:
		for _, one := range v {
			if s, ok := one.(string); ok {
				has[s] = true
			}
		}
	case map[string]any: // ZITADEL's project roles: an object by role
		for s := range v {
			has[s] = true
		}
	}
	for _, r := range o.Roles {
		if has[r.Value] && r.Valid(time.Now()) {
			return r.Grant, true
		}
	}
	return auth.Grant{}, false
}

// nameOf is what somebody is called, apart from local users: nobody at the provider can choose their names.
func (o *OIDC) nameOf(claims map[string]any, subject string) string {
	for _, claim := range []string{o.NameClaim, "preferred_username", "email"} {
		if s, ok := claims[claim].(string); ok && claim != "" && s != "" && len(s) <= 200 {
			return "oidc:" + s
		}
	}
	return "oidc:" + subject
}

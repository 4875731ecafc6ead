package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"panormus/controlroom/auth"
	"panormus/controlroom/auth/accounts"
	"panormus/controlroom/auth/login"
	"panormus/devices/logins"
	"panormus/stream/audit"
)

// oidcConfig is a provider that knows people; without an issuer there is none.
type oidcConfig struct {
	Issuer       string         `yaml:"issuer"`
	ClientID     string         `yaml:"client_id"`
	ClientSecret string         `yaml:"client_secret_file"` // empty for a public client
	Name         string         `yaml:"name"`               // for people
	Scopes       []string       `yaml:"scopes"`             // beside openid
	RedirectURL  string         `yaml:"redirect_url"`       // https://host/login/callback; empty: the host that is asked
	NameClaim    string         `yaml:"name_claim"`
	RoleClaim    string         `yaml:"role_claim"`
	Roles        []login.RoleOf `yaml:"roles"`
}

func (c *oidcConfig) settings() *login.OIDC {
	return &login.OIDC{Issuer: c.Issuer, ClientID: c.ClientID, Name: c.Name, Scopes: c.Scopes, RedirectURL: c.RedirectURL, NameClaim: c.NameClaim, RoleClaim: c.RoleClaim, Roles: c.Roles}
}

// feedConfig bounds who follows the feed; see feed.Config.
type feedConfig struct {
	Clients           int `yaml:"clients"`
	UserClients       int `yaml:"user_clients"`
	UserSubscriptions int `yaml:"user_subscriptions"`
	AddressClients    int `yaml:"address_clients"`
}

// closed reports whether the settings say that people have to say who they are.
func (c *webConfig) closed() bool {
	return c.Tokens != "" || c.RequireLogin || c.OIDC.Issuer != ""
}

func (c *webConfig) check() error {
	if c.SessionIdle < time.Minute || c.SessionLongest < c.SessionIdle || c.SessionLongest > 7*24*time.Hour {
		return fmt.Errorf("web: session_idle %v and session_longest %v, want 1m to 168h, the second one no shorter", c.SessionIdle, c.SessionLongest)
	}
	if c.Limits.PerMinute < 0 || c.Limits.Local < 0 {
		return fmt.Errorf("web.limits: %d and %d, want 0 for any number, or more", c.Limits.PerMinute, c.Limits.Local)
	}
	for _, o := range c.Origins {
		if u, err := url.Parse(o); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || o != u.Scheme+"://"+u.Host {
			return fmt.Errorf("web.origins: %q, want the origin of a page, such as https://dati.example.it", o)
		}
	}
	for name, n := range map[string]int{"clients": c.Feed.Clients, "user_clients": c.Feed.UserClients, "user_subscriptions": c.Feed.UserSubscriptions, "address_clients": c.Feed.AddressClients} {
		if n < 1 || n > 1_000_000 {
			return fmt.Errorf("web.feed.%s: %d, want 1 to 1000000", name, n)
		}
	}
	if c.OIDC.Issuer == "" {
		return nil
	}
	if err := c.OIDC.settings().Check(); err != nil {
		return fmt.Errorf("web.oidc.%w", err)
	}
	if u, err := url.Parse(c.OIDC.RedirectURL); c.OIDC.RedirectURL != "" && (err != nil || u.Path != login.Path+"/callback") {
		return fmt.Errorf("web.oidc.redirect_url: %.100q, want https://host%s/callback", c.OIDC.RedirectURL, login.Path)
	}
	return nil
}

// Names of the buckets of who is let in.
const (
	accountsBucket = "accounts"
	sessionsBucket = "sessions"
	guessesBucket  = "guesses"
)

// openAccess opens the book of who is let in and the desk where they log in.
func (n *node) openAccess(ctx context.Context) (*accounts.Book, *login.Desk, error) {
	c := n.cfg.Web
	cfg := accounts.Config{Required: c.RequireLogin || c.OIDC.Issuer != "", Idle: c.SessionIdle, Longest: c.SessionLongest, Seal: n.privacy.master, Log: n.log}
	if c.Tokens != "" {
		tokens, err := auth.LoadTokens(c.Tokens)
		if err != nil {
			return nil, nil, err
		}
		cfg.File = tokens
		if len(tokens.Unnamed) > 0 {
			n.log.Warn("tokens that name no role may do everything: write role=… behind them", "file", c.Tokens, "tokens", strings.Join(tokens.Unnamed, " "))
		}
	}
	held, err := n.stream.KV(ctx, accountsBucket)
	if err != nil {
		return nil, nil, err
	}
	sessions, err := n.stream.KV(ctx, sessionsBucket)
	if err != nil {
		return nil, nil, err
	}
	wrong, err := n.stream.PassingKV(ctx, guessesBucket, logins.Kept)
	if err != nil {
		return nil, nil, err
	}
	cfg.Accounts, cfg.Sessions, cfg.Guesses = held, sessions, wrong
	book := accounts.New(cfg)
	known := make(chan struct{})
	n.base.again("accounts", func(ctx context.Context) error { return book.Run(ctx, onceClosed(known)) })
	if err := n.await(ctx, known); err != nil {
		return nil, nil, err
	}
	desk := &login.Desk{Book: book, Journal: n.privacy.journal, Log: n.log}
	if c.OIDC.Issuer != "" {
		desk.OIDC = c.OIDC.settings()
		desk.OIDC.Seal = n.privacy.master
		if desk.OIDC.ClientSecret, err = c.OIDC.secret(); err != nil {
			return nil, nil, err
		}
	}
	return book, desk, nil
}

func (c *oidcConfig) secret() (string, error) {
	if c.ClientSecret == "" {
		return "", nil
	}
	b, err := os.ReadFile(c.ClientSecret)
	if err != nil {
		return "", fmt.Errorf("web.oidc.client_secret_file: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// subscribed notes what agencies begin to follow.
func (n *node) subscribed(ctx context.Context) func(*auth.Principal, string) error {
	return func(who *auth.Principal, topic string) error {
		if who.Role != auth.Agency {
			return nil
		}
		return n.privacy.journal.Append(ctx, audit.Entry{Actor: who.Name, Action: auth.AgencyRead, Object: "/ws/v1/feed", Detail: map[string]string{"role": string(who.Role), "topic": topic}})
	}
}

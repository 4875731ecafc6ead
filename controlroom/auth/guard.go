package auth

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"panormus/controlroom/problem"
)

// An Authenticator knows who is let in. It is safe for concurrent use.
type Authenticator interface {
	// Authenticate says who makes a request; not ok where it is nobody that is known. It looks at the
	// request alone and at nothing that is far away.
	Authenticate(r *http.Request) (p Principal, ok bool)
	// Still reports whether somebody whom Authenticate named would be named so now.
	Still(p *Principal) bool
}

// A Guard stands before everything that is served.
type Guard struct {
	// Hosts are the names the server answers to, beside loopback ones and the address that the
	// connection came to. A page elsewhere can point a name of its own at this machine (DNS
	// rebinding); it cannot make the browser send one of these.
	Hosts []string
	// Who knows those let in; nil lets everybody do everything.
	Who Authenticator
	// Rule is the rule of the route that a request is for; nil: everything takes a name and no more.
	Rule func(*http.Request) Rule
	// Note writes an act into the audit log; an error keeps it from being done. Nil: nothing is noted.
	Note func(r *http.Request, p *Principal, action string) error
	// Admit decides whether somebody, of an empty name where nobody is known, may ask once more; it answers
	// where not. Nil: everybody may.
	Admit func(w http.ResponseWriter, r *http.Request, p *Principal) bool
	// LoginPage is where people are sent who have yet to say who they are, "" for nowhere; nil: nowhere.
	LoginPage func() string
}

// Wrap lets through to next what may pass and answers the rest with a problem.
func (g *Guard) Wrap(next http.Handler) http.Handler {
	cross := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.ours(r) {
			problem.New(http.StatusMisdirectedRequest, "host %q is none of this server's; add it to web.hosts if it is", clip(r.Host)).Write(w, r)
			return
		}
		if err := cross.Check(r); err != nil || isUpgrade(r) && !SameOrigin(r) {
			from := "which Sec-Fetch-Site says"
			if origin := r.Header.Get("Origin"); origin != "" {
				from = strconv.Quote(clip(origin))
			}
			problem.New(http.StatusForbidden, "a request from a page of another origin, %s", from).Write(w, r)
			return
		}
		rule := Rule{Need: Self, Reach: Free}
		if g.Rule != nil {
			rule = g.Rule(r)
		}
		p, known := Open, true
		if g.Who != nil {
			p, known = g.Who.Authenticate(r)
		}
		if !known {
			p = Principal{}
		}
		if g.Admit != nil && !g.Admit(w, r, &p) {
			return
		}
		if !known && rule.Need != Public {
			g.challenge(w, r)
			return
		}
		// A browser sends cookies with a websocket to whatever page opens it, and other programs have tokens.
		if known && p.Session != "" && isUpgrade(r) && r.Header.Get("Origin") == "" {
			problem.New(http.StatusForbidden, "a websocket without Origin, want the origin of this server's page, or a token in place of the session").Write(w, r)
			return
		}
		if why := rule.Lets(&p); why != "" {
			problem.New(http.StatusForbidden, "%s", why).Write(w, r)
			return
		}
		if action := rule.note(&p); action != "" && g.Note != nil {
			if err := g.Note(r, &p, action); err != nil {
				w.Header().Set("Retry-After", "5")
				problem.New(http.StatusServiceUnavailable, "the audit log takes nothing now, and what is asked is to be noted there").Write(w, r)
				return
			}
		}
		ctx := With(r.Context(), p)
		if rule.Lasts && g.Who != nil {
			held, release := g.hold(ctx, &p)
			defer release()
			next.ServeHTTP(w, r.WithContext(held))
			return
		}
		r = r.WithContext(ctx)
		if rule.Reach == Scoped && !p.Scope.Whole() {
			w = &withheld{ResponseWriter: w, request: r}
		}
		next.ServeHTTP(w, r)
	})
}

// What the audit log calls what an agency was shown, and that somebody read that log itself.
const (
	AgencyRead   = "agency.read"
	AuditOfAudit = "audit.read"
)

// note is what the audit log calls the use of a route, "" where it is not written there.
func (r Rule) note(p *Principal) string {
	if r.Note == "" && p.Role == Agency && r.Reach != Free {
		return AgencyRead
	}
	return r.Note
}

// challenge answers somebody who is not known.
func (g *Guard) challenge(w http.ResponseWriter, r *http.Request) {
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	page := ""
	if g.LoginPage != nil {
		page = g.LoginPage()
	}
	if page != "" && read && strings.Contains(r.Header.Get("Accept"), "text/html") {
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, page+"?next="+url.QueryEscape(r.URL.RequestURI()), http.StatusSeeOther)
		return
	}
	w.Header().Add("WWW-Authenticate", `Bearer realm="panormus"`)
	if page == "" || r.Header.Get("Sec-Fetch-Mode") == "" { // browsers would ask in a window of their own
		w.Header().Add("WWW-Authenticate", `Basic realm="panormus", charset="UTF-8"`)
	}
	problem.New(http.StatusUnauthorized, "no token that is known here, as Authorization: Bearer or as a name and password, and no session").Write(w, r)
}

// ErrEnded is why a connection is closed whose user is no longer let in as he was.
var ErrEnded = errors.New("the session has ended, or what it may do has changed")

// stillEvery is how often it is asked whether those with a connection are still let in.
const stillEvery = time.Second

// hold returns a context that ends when p is no longer let in as now.
func (g *Guard) hold(ctx context.Context, p *Principal) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		tick := time.NewTicker(stillEvery)
		defer tick.Stop()
		var ends <-chan time.Time // what is lent until a time ends then, not at the next look
		if !p.Expires.IsZero() {
			end := time.NewTimer(time.Until(p.Expires))
			defer end.Stop()
			ends = end.C
		}
		for {
			select {
			case <-ctx.Done():
				return
			case <-ends:
				cancel(ErrEnded)
				return
			case <-tick.C:
				if !g.Who.Still(p) {
					cancel(ErrEnded)
					return
				}
			}
		}
	}()
	return ctx, func() { cancel(nil) }
}

// withheld gives no good answer of a handler that did not ask what part of the city may be seen.
type withheld struct {
	http.ResponseWriter
	request       *http.Request
	decided, drop bool
}

func (w *withheld) WriteHeader(status int) {
	if !w.decided {
		v, _ := w.request.Context().Value(visitKey{}).(*visit)
		w.decided, w.drop = true, status < 300 && !v.scoped.Load()
		if w.drop {
			problem.New(http.StatusInternalServerError, "a fault of ours: this answer would not keep to the part of the city that you see").Write(w.ResponseWriter, w.request)
		}
	}
	if !w.drop {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *withheld) Write(b []byte) (int, error) {
	if !w.decided {
		w.WriteHeader(http.StatusOK)
	}
	if w.drop {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// ours reports whether the request names a host that this server is.
func (g *Guard) ours(r *http.Request) bool {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.Trim(host, "[]"), ".")
	if host == "" {
		return false
	}
	if IsLoopback(host) || slices.ContainsFunc(g.Hosts, func(h string) bool { return strings.EqualFold(h, host) }) {
		return true
	}
	// An address is no name that could be pointed elsewhere; still it must be the one asked.
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	at, _, err := net.SplitHostPort(local.String())
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.Equal(net.ParseIP(at))
}

func isUpgrade(r *http.Request) bool { return r.Header.Get("Upgrade") != "" }

// SameOrigin reports whether the request comes from a page of the host it asks, or from no page. What is asked
// over TLS is not for a page in clear, which anybody on the way may have written; the other way round a proxy
// that ends TLS may stand between.
func SameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host) && (r.TLS == nil || u.Scheme == "https")
}

func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}

package auth

import (
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"panormus/controlroom/problem"
)

// A Guard stands before everything that is served.
type Guard struct {
	// Hosts are the names the server answers to, beside loopback ones and the address that the
	// connection came to. A page elsewhere can point a name of its own at this machine (DNS
	// rebinding); it cannot make the browser send one of these.
	Hosts []string
	// Tokens are those let in; nil lets everybody in.
	Tokens *Tokens
	// Open are paths that need no token.
	Open []string
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
			problem.New(http.StatusForbidden, "a request from a page of another origin, %q", clip(r.Header.Get("Origin"))).Write(w, r)
			return
		}
		if g.Tokens != nil && !slices.Contains(g.Open, r.URL.Path) {
			name, ok := g.Tokens.Of(r)
			if !ok {
				w.Header().Add("WWW-Authenticate", `Bearer realm="panormus"`)
				w.Header().Add("WWW-Authenticate", `Basic realm="panormus", charset="UTF-8"`)
				problem.New(http.StatusUnauthorized, "no token that is known here, as Authorization: Bearer or as a name and password").Write(w, r)
				return
			}
			r = r.WithContext(withName(r.Context(), name))
		}
		next.ServeHTTP(w, r)
	})
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

// SameOrigin reports whether the request comes from a page of the host it asks, or from no page.
func SameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}

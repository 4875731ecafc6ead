package api

import (
	"math"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"panormus/controlroom/auth"
	"panormus/controlroom/problem"
	"panormus/devices/logins"
)

// Limits are how many requests a minute are let in of each who asks; 0 for any number.
type Limits struct {
	PerMinute int // of each user, token, and address from which nobody is known
	Local     int // of them, on this machine
}

// counted are the paths whose requests are counted: those of the API. The page's files, the feed, which
// bounds its connections itself, and the metrics are not.
func counted(path string) bool {
	return path == "/status" || strings.HasPrefix(path, "/api/") || strings.HasPrefix(path, "/openapi") || strings.HasPrefix(path, "/docs")
}

// admit counts a request and tells what is left in the headers of the guidelines; it answers one too many
// with a problem and returns false.
func (a *api) admit(w http.ResponseWriter, r *http.Request, p *auth.Principal) bool {
	if !counted(r.URL.Path) {
		return true
	}
	addr, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		addr = r.RemoteAddr
	}
	limit := a.Limits.PerMinute
	if auth.IsLoopback(addr) {
		limit = a.Limits.Local
	}
	if limit <= 0 {
		return true
	}
	key := "user " + p.Name
	if p.Name == "" {
		key = "address " + logins.Network(addr)
	}
	left, ok := a.rate.Take(key, limit, time.Now())
	h := w.Header()
	reset := left.Full
	if !ok {
		reset = left.Wait
		h.Set("Retry-After", wholeSeconds(left.Wait))
	}
	h.Set("X-RateLimit-Limit", strconv.Itoa(limit))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(left.Remaining))
	h.Set("X-RateLimit-Reset", wholeSeconds(reset))
	if !ok {
		problem.New(http.StatusTooManyRequests, "more than %d requests a minute; ask again in %s s", limit, wholeSeconds(left.Wait)).Write(w, r)
	}
	return ok
}

func wholeSeconds(d time.Duration) string {
	return strconv.Itoa(int(math.Ceil(d.Seconds())))
}

// curlSays is what curl calls a body when it is told nothing.
const curlSays = "application/x-www-form-urlencoded"

// takes refuses bodies of other media types than those that an operation reads. What says none is read as
// the first of them says.
func takes(media []string) func(huma.Context, func(huma.Context)) {
	also := []string{curlSays}
	switch {
	case slices.Contains(media, "text/csv"):
		also = nil // what it is has to be said
	case slices.Contains(media, "application/yaml"):
		also = append(also, "application/x-yaml", "text/yaml", "text/x-yaml", "text/plain")
	}
	return func(ctx huma.Context, next func(huma.Context)) {
		if packed := ctx.Header("Content-Encoding"); packed != "" && packed != "identity" {
			r, w := humago.Unwrap(ctx)
			problem.New(http.StatusUnsupportedMediaType, "content encoding %.40q, want a body that is not packed", packed).Write(w, r)
			return
		}
		given := ctx.Header("Content-Type")
		name, _, err := mime.ParseMediaType(given)
		if given == "" || err == nil && (slices.Contains(media, name) || slices.Contains(also, name)) {
			next(ctx)
			return
		}
		p := problem.New(http.StatusUnsupportedMediaType, "content type %.100q, want %s", given, strings.Join(media, ", "))
		r, w := humago.Unwrap(ctx)
		p.Write(w, r)
	}
}

// once refuses a query that is none, and a parameter that is given more often than it is read: what of it
// would count is a guess.
func once(ctx huma.Context, next func(huma.Context)) {
	u := ctx.URL()
	if u.RawQuery == "" {
		next(ctx)
		return
	}
	r, w := humago.Unwrap(ctx)
	given, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		problem.New(http.StatusBadRequest, "query: %v", err).Write(w, r)
		return
	}
	for _, p := range ctx.Operation().Parameters {
		if n := len(given[p.Name]); p.In == "query" && n > 1 && p.Schema.Type != huma.TypeArray {
			invalid("query."+p.Name, "given %d times, want it once", n).Write(w, r)
			return
		}
	}
	next(ctx)
}

// shared lets pages of the origins that are configured read the API, with a token: a browser sends them
// neither cookies nor what they ask to change. It returns false where it has answered.
func (a *api) shared(w http.ResponseWriter, r *http.Request) bool {
	if len(a.Origins) == 0 || !counted(r.URL.Path) {
		return true
	}
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" || !slices.Contains(a.Origins, origin) {
		return true
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", "ETag, Retry-After, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, X-Request-Id")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return true
	}
	h.Set("Access-Control-Allow-Methods", "GET, HEAD")
	h.Set("Access-Control-Allow-Headers", "Authorization, If-None-Match, X-Request-Id")
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return false
}

// Package login is the page that people log in at, without a script, and the way over an OpenID Connect
// provider. Sessions are of package accounts.
package login

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"panormus/controlroom/auth"
	"panormus/controlroom/auth/accounts"
	"panormus/controlroom/language"
	"panormus/controlroom/plain"
	"panormus/controlroom/problem"
	"panormus/stream/audit"
)

// Path is where the page is.
const Path = "/login"

//go:embed page.html
var pageHTML string

var page = template.Must(template.New("login").Parse(pageHTML))

// Journal is the audit log; *audit.Journal is one.
type Journal interface {
	Append(ctx context.Context, e audit.Entry) error
}

// A Desk logs people in and out.
type Desk struct {
	Book *accounts.Book
	OIDC *OIDC // nil: no provider
	// Journal notes who logged in and out, and who could not; nil: nobody is noted.
	Journal Journal
	Log     *slog.Logger

	mu       sync.Mutex
	minute   time.Time // that refusals are counted of
	refused  int
	unnoted  int
	notedMax int // for tests; 0: maxRefusals
}

// Routes are the desk's, by pattern.
func (d *Desk) Routes() map[string]http.Handler {
	routes := map[string]http.Handler{
		"GET " + Path: http.HandlerFunc(d.show), "POST " + Path: http.HandlerFunc(d.enter), "POST /logout": http.HandlerFunc(d.leave),
	}
	if d.OIDC != nil {
		routes["GET "+Path+"/oidc"] = http.HandlerFunc(d.away)
		routes["GET "+Path+"/callback"] = http.HandlerFunc(d.back)
	}
	return routes
}

// Page is where people are sent who have yet to log in; "" where nobody could.
func (d *Desk) Page() string {
	if d.OIDC == nil && !d.Book.HasUsers() {
		return ""
	}
	return Path
}

// words are the page's in one language.
type words struct {
	Lang, Title, Name, Password, Code, CodeHint, Enter, With string
	Wrong, Later, Refused, Broken                            string
}

var languages = map[string]words{
	"it": {"it", "Accesso alla sala operativa", "Nome utente", "Password", "Codice", "solo con il secondo fattore", "Entra", "Entra con",
		"Nome utente, password o codice non validi.", "Troppi tentativi: riprova tra %d secondi.", "%s ti conosce, ma non hai accesso a questa sala operativa.", "L'accesso tramite %s non è riuscito: riprova."},
	"en": {"en", "Control room sign-in", "User name", "Password", "Code", "with a second factor only", "Sign in", "Sign in with",
		"User name, password or code is wrong.", "Too many tries: try again in %d seconds.", "%s knows you, but you have no access to this control room.", "Signing in through %s did not work: try again."},
}

// wordsFor are those of the language that the browser likes best, Italian where it likes neither.
func wordsFor(r *http.Request) words { return languages[language.Of(r)] }

// Next is where somebody is sent after logging in: a path of this server, and nothing else.
func Next(s string) string {
	u, err := url.Parse(s)
	if err != nil || len(s) > 2000 || !strings.HasPrefix(s, "/") || strings.HasPrefix(s, "//") || u.Scheme != "" || u.Host != "" || u.User != nil ||
		strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == '\\' || r == 0x7f }) || u.Path == Path || strings.HasPrefix(u.Path, Path+"/") || u.Path == "/logout" {
		return "/"
	}
	return s
}

func (d *Desk) show(w http.ResponseWriter, r *http.Request) {
	next := Next(r.URL.Query().Get("next"))
	if p := auth.Of(r.Context()); p.Via == accounts.ViaSession || p.Via == auth.Open.Via {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	d.render(w, r, http.StatusOK, next, "", "")
}

func (d *Desk) render(w http.ResponseWriter, r *http.Request, status int, next, name, wrong string) {
	nonce := plain.Nonce()
	v := struct {
		T                                  words
		Nonce, Next, Name, Wrong, Provider string
		Users                              bool
	}{T: wordsFor(r), Nonce: nonce, Next: next, Name: name, Wrong: wrong, Users: len(d.Book.Users()) > 0 || d.OIDC == nil}
	if d.OIDC != nil {
		v.Provider = d.OIDC.title()
	}
	plain.Write(w, status, v.T.Lang, "style-src 'nonce-"+nonce+"'", page, v)
}

// maxForm bounds what is sent to log in.
const maxForm = 16 << 10

func (d *Desk) enter(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		problem.New(http.StatusBadRequest, "the form cannot be read, want name, password, code and next of at most %d bytes", maxForm).Write(w, r)
		return
	}
	name, next := strings.TrimSpace(r.PostForm.Get("name")), Next(r.PostForm.Get("next"))
	secret, err := d.Book.Login(r.Context(), name, r.PostForm.Get("password"), r.PostForm.Get("code"), r.RemoteAddr)
	if denied, ok := errors.AsType[*accounts.Denied](err); ok {
		d.deny(r, denied.Name, "password")
		t := wordsFor(r)
		if denied.Wait > 0 {
			seconds := int(denied.Wait/time.Second) + 1
			w.Header().Set("Retry-After", strconv.Itoa(seconds))
			d.render(w, r, http.StatusTooManyRequests, next, name, fmt.Sprintf(t.Later, seconds))
			return
		}
		d.render(w, r, http.StatusUnauthorized, next, name, t.Wrong)
		return
	}
	if err != nil {
		d.unavailable(w, r, err)
		return
	}
	d.begin(w, r, name, secret, "password", next)
}

// begin hands out a session that was begun, in place of any there was, and notes it first.
func (d *Desk) begin(w http.ResponseWriter, r *http.Request, name, secret, how, next string) {
	if err := d.note(r, audit.Entry{Actor: name, Action: "login", Object: "user/" + name, Detail: map[string]string{"by": how, "from": host(r)}}); err != nil {
		d.unavailable(w, r, err)
		return
	}
	if old := auth.Of(r.Context()); old.Session != "" {
		if err := d.Book.End(r.Context(), old.Session); err != nil {
			d.unavailable(w, r, err)
			return
		}
	}
	http.SetCookie(w, d.Book.Cookie(secret, accounts.Secure(r)))
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, next, http.StatusSeeOther)
}

func (d *Desk) leave(w http.ResponseWriter, r *http.Request) {
	if p := auth.Of(r.Context()); p.Session != "" {
		if err := d.Book.End(r.Context(), p.Session); err != nil {
			d.unavailable(w, r, err)
			return
		}
		if err := d.note(r, audit.Entry{Actor: p.Name, Action: "logout", Object: "user/" + p.Name}); err != nil {
			d.Log.Error("who logged out is not in the audit log", "error", err)
		}
	}
	http.SetCookie(w, d.Book.Cookie("", accounts.Secure(r)))
	w.Header().Set("Clear-Site-Data", `"cache", "storage"`)
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, Path, http.StatusSeeOther)
}

func (d *Desk) unavailable(w http.ResponseWriter, r *http.Request, err error) {
	d.Log.Error("somebody could not be logged in or out", "error", err)
	w.Header().Set("Retry-After", "5")
	problem.New(http.StatusServiceUnavailable, "not available now").Write(w, r)
}

func (d *Desk) note(r *http.Request, e audit.Entry) error {
	if d.Journal == nil {
		return nil
	}
	return d.Journal.Append(r.Context(), e)
}

// maxRefusals is how many refusals a minute are noted one by one: who tries millions of passwords must
// not fill the audit log, which forgets nothing. The next entry tells of the others.
const maxRefusals = 60

// deny notes that somebody was refused. A name is told only where somebody has it: what is typed into
// that field may be a password.
func (d *Desk) deny(r *http.Request, name, how string) {
	d.mu.Lock()
	if now := time.Now(); now.Sub(d.minute) >= time.Minute {
		d.minute, d.refused = now, 0
	}
	most := maxRefusals
	if d.notedMax > 0 {
		most = d.notedMax
	}
	if d.refused++; d.refused > most {
		d.unnoted++
		d.mu.Unlock()
		return
	}
	unnoted := d.unnoted
	d.unnoted = 0
	d.mu.Unlock()
	object := "user/" + name
	if name == "" {
		object = "user"
	}
	detail := map[string]string{"by": how, "from": host(r)}
	if unnoted > 0 {
		detail["not_noted_before"] = strconv.Itoa(unnoted)
	}
	if err := d.note(r, audit.Entry{Actor: "nobody", Action: "login.refused", Object: object, Detail: detail}); err != nil {
		d.Log.Error("who was refused is not in the audit log", "error", err)
	}
}

func host(r *http.Request) string {
	if h, _, err := net.SplitHostPort(r.RemoteAddr); err == nil {
		return h
	}
	return ""
}

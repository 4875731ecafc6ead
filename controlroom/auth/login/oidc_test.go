package login

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/op"

	"panormus/controlroom/auth"
	"panormus/stream/privacy"
)

// provided is a room with a real provider, which knows two users: one has a role with us.
func provided(t *testing.T) *room {
	t.Helper()
	var provider http.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { provider.ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	o := &OIDC{Issuer: srv.URL, ClientID: "panormus", ClientSecret: "hush hush", Name: "Comune", Scopes: []string{"profile", "email"}, RoleClaim: "email",
		Roles: []RoleOf{{Value: "test-user@zitadel.ch", Grant: auth.Grant{Role: auth.DomainOperator, Scope: &auth.Scope{Areas: []auth.Place{{Domain: "lighting"}}}}}}}
	if err := o.Check(); err != nil {
		t.Fatal(err)
	}
	var err error
	if o.Seal, err = privacy.NewMaster(bytes.Repeat([]byte{7}, 32)); err != nil {
		t.Fatal(err)
	}
	r := newRoom(t, func(d *Desk) { d.OIDC = o })
	client := storage.WebClient("panormus", "hush hush", r.url+"/login/callback")
	kept := storage.NewStorageWithClients(storage.NewUserStore(srv.URL), map[string]*storage.Client{"panormus": client})
	was := slog.Default()
	provider = exampleop.SetupServer(srv.URL, kept, slog.New(slog.DiscardHandler), false, op.WithAllowInsecure())
	slog.SetDefault(was)
	return r
}

// follow goes from address to address, logs in at the provider on the way, and returns the last answer, or
// the first one that stop wants.
func (r *room) follow(path, user string, stop func(*url.URL) bool) (*http.Response, string, *url.URL) {
	r.t.Helper()
	at, err := url.Parse(r.url + path)
	if err != nil {
		r.t.Fatal(err)
	}
	for range 20 {
		if stop != nil && stop(at) {
			return nil, "", at
		}
		resp, err := r.client.Get(at.String())
		if err != nil {
			r.t.Fatal(err)
		}
		if at.Path == "/login/username" { // the provider's own page
			resp.Body.Close()
			resp, err = r.client.PostForm(at.String(), url.Values{"username": {user}, "password": {"verysecure"}, "id": {at.Query().Get("authRequestID")}})
			if err != nil {
				r.t.Fatal(err)
			}
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			r.t.Fatal(err)
		}
		next := resp.Header.Get("Location")
		if next == "" || resp.StatusCode/100 != 3 {
			return resp, string(b), at
		}
		if at, err = at.Parse(next); err != nil {
			r.t.Fatal(err)
		}
	}
	r.t.Fatal("sent on without an end")
	return nil, "", nil
}

func isCallback(u *url.URL) bool { return u.Path == "/login/callback" }

func TestOpenIDConnect(t *testing.T) {
	r := provided(t)
	if _, page := r.do("GET", "/login?next=/alarms", nil, "Accept-Language", "en"); !strings.Contains(page, `href="/login/oidc?next=%2falarms"`) || !strings.Contains(page, "Sign in with Comune") {
		t.Fatalf("no button:\n%s", page)
	}
	resp, _ := r.do("GET", "/login/oidc?next=//attacker.example", nil)
	to, err := url.Parse(resp.Header.Get("Location"))
	if q := to.Query(); err != nil || resp.StatusCode != 303 || q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || len(q.Get("state")) != 43 || len(q.Get("nonce")) != 43 || q.Get("redirect_uri") != r.url+"/login/callback" {
		t.Fatalf("%s %v", resp.Status, to)
	}
	for _, c := range resp.Cookies() {
		if c.Name == "__Host-"+pendingCookie && (strings.Contains(c.Value, to.Query().Get("state")) || !c.HttpOnly) {
			t.Errorf("what is on its way can be read: %+v", c)
		}
	}
	resp, body, at := r.follow("/login/oidc?next=/alarms%3Fx%3D1", "test-user@127.0.0.1", nil)
	if resp.StatusCode != 200 || body != "you are oidc:test-user@127.0.0.1" || at.RequestURI() != "/alarms?x=1" {
		t.Fatalf("%s %s at %v", resp.Status, body, at)
	}
	for _, c := range r.client.Jar.Cookies(at) {
		if c.Name != "__Host-panormus" {
			continue
		}
		p, ok := r.book.Authenticate(requestWith(c))
		if !ok || p.Role != auth.DomainOperator || p.Scope == nil || p.Scope.Areas[0].Domain != "lighting" {
			t.Errorf("%+v, %v; want what the claim says", p, ok)
		}
	}
	if got := r.journal.said(); got != "oidc:test-user@127.0.0.1 login user/oidc:test-user@127.0.0.1" {
		t.Errorf("audit log %s", got)
	}
	if resp, _ := r.do("POST", "/logout", url.Values{}); resp.StatusCode != 303 {
		t.Errorf("log out: %s", resp.Status)
	}
	if resp, _ := r.do("GET", "/", nil); resp.StatusCode != 401 {
		t.Errorf("after logging out: %s", resp.Status)
	}
}

func TestOpenIDConnectRefuses(t *testing.T) {
	r := provided(t)
	if resp, body, _ := r.follow("/login/oidc", "test-user2", nil); resp.StatusCode != 403 || !strings.Contains(body, "Comune") || cookieOf(resp) != nil {
		t.Errorf("somebody without a role: %s %s", resp.Status, body)
	}
	refused := func(what, path string) {
		t.Helper()
		if resp, body := r.do("GET", path, nil); resp.StatusCode != 400 || cookieOf(resp) != nil || !strings.Contains(body, "Comune") {
			t.Errorf("%s: %s %s", what, resp.Status, body)
		}
	}
	_, _, back := r.follow("/login/oidc", "test-user@127.0.0.1", isCallback)
	q := back.Query()
	q.Set("state", auth.Secret())
	refused("another state", "/login/callback?"+q.Encode())
	refused("what was answered once", back.RequestURI()) // the cookie is taken back
	_, _, back = r.follow("/login/oidc", "test-user@127.0.0.1", isCallback)
	q = back.Query()
	q.Set("code", "guessed")
	refused("another code", "/login/callback?"+q.Encode())
	// A code of one login in another's browser: its PKCE verifier and nonce are others.
	_, _, stolen := r.follow("/login/oidc", "test-user@127.0.0.1", isCallback)
	_, _, back = r.follow("/login/oidc", "test-user@127.0.0.1", isCallback)
	q = back.Query()
	q.Set("code", stolen.Query().Get("code"))
	refused("another's code", "/login/callback?"+q.Encode())
	r.follow("/login/oidc", "", func(u *url.URL) bool { return u.Path != "/login/oidc" })
	refused("nothing", "/login/callback")
	r.client.Jar.SetCookies(back, []*http.Cookie{{Name: "__Host-" + pendingCookie, Value: "AAAA", Path: "/"}})
	refused("a cookie of one's own", back.RequestURI())
}

// TestAnotherProcessFinishesALogin begins at one process and comes back to another, whose key is the same; one whose
// key is another refuses it, and what has come back once counts no more.
func TestAnotherProcessFinishesALogin(t *testing.T) {
	r := provided(t)
	_, _, back := r.follow("/login/oidc?next=/alarms", "test-user@127.0.0.1", isCallback)
	var copied []*http.Cookie
	for _, c := range r.client.Jar.Cookies(back) {
		copied = append(copied, &http.Cookie{Name: c.Name, Value: c.Value, Path: "/"})
	}
	if len(copied) != 1 {
		t.Fatalf("%v, want the login that is on its way", copied)
	}
	o := r.desk.OIDC
	was := o.Seal
	stranger, err := privacy.NewMaster(bytes.Repeat([]byte{8}, 32))
	if err != nil {
		t.Fatal(err)
	}
	o.Seal = stranger
	if resp, _ := r.do("GET", back.RequestURI(), nil); resp.StatusCode != 400 || cookieOf(resp) != nil {
		t.Errorf("with another key: %s", resp.Status)
	}
	// Another process has nothing of this one but the key and the settings.
	r.desk.OIDC = &OIDC{Issuer: o.Issuer, ClientID: o.ClientID, ClientSecret: o.ClientSecret, Name: o.Name, Scopes: o.Scopes, RoleClaim: o.RoleClaim, Roles: o.Roles, Seal: was}
	r.client.Jar.SetCookies(back, copied)
	resp, _ := r.do("GET", back.RequestURI(), nil)
	if resp.StatusCode != 303 || cookieOf(resp) == nil || resp.Header.Get("Location") != "/alarms" {
		t.Errorf("%s %v, want that the login is finished", resp.Status, resp.Header)
	}
	r.client.Jar.SetCookies(back, copied)
	if resp, _ := r.do("GET", back.RequestURI(), nil); resp.StatusCode != 400 || cookieOf(resp) != nil {
		t.Errorf("a copied cookie: %s", resp.Status)
	}
}

package login

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"panormus/controlroom/auth"
	"panormus/controlroom/auth/accounts"
	"panormus/controlroom/auth/accounts/accountstest"
	"panormus/stream/audit"
)

// journal keeps entries.
type journal struct {
	mu      sync.Mutex
	entries []audit.Entry
	away    error
}

func (j *journal) Append(_ context.Context, e audit.Entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.away == nil {
		j.entries = append(j.entries, e)
	}
	return j.away
}

func (j *journal) said() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []string
	for _, e := range j.entries {
		out = append(out, e.Actor+" "+e.Action+" "+e.Object)
	}
	return strings.Join(out, "\n")
}

const password = "a long enough password"

// room is a control room that only says who asks.
type room struct {
	t       *testing.T
	url     string
	book    *accounts.Book
	desk    *Desk
	journal *journal
	client  *http.Client
}

func newRoom(t *testing.T, change func(*Desk)) *room {
	t.Helper()
	book := accounts.New(accounts.Config{Accounts: &accountstest.Bucket{}, Sessions: &accountstest.Bucket{}, Required: true})
	accountstest.Run(t, book.Run)
	j := &journal{}
	desk := &Desk{Book: book, Journal: j, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(desk)
	}
	if _, err := book.PutUser(t.Context(), "rosalia", accounts.Change{Grant: auth.Grant{Role: auth.Admin}, Password: password}); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	for pattern, h := range desk.Routes() {
		mux.Handle(pattern, h)
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "you are "+auth.Name(r.Context()))
	})
	g := &auth.Guard{Who: book, LoginPage: desk.Page, Rule: func(r *http.Request) auth.Rule {
		_, pattern := mux.Handler(r)
		if rule, ok := auth.RouteRule(pattern); ok {
			return rule
		}
		return auth.Rule{Need: auth.Self, Reach: auth.Free}
	}}
	srv := httptest.NewServer(g.Wrap(mux))
	t.Cleanup(srv.Close)
	jar, _ := cookiejar.New(nil)
	// The jar of the standard library gives Secure cookies to https alone; browsers to this machine too.
	client := &http.Client{Jar: insecureJar{jar}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &room{t, srv.URL, book, desk, j, client}
}

type insecureJar struct{ http.CookieJar }

func (j insecureJar) SetCookies(u *url.URL, cookies []*http.Cookie) {
	for _, c := range cookies {
		c.Secure = false
	}
	j.CookieJar.SetCookies(u, cookies)
}

func (r *room) do(method, path string, form url.Values, header ...string) (*http.Response, string) {
	r.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequest(method, r.url+path, body)
	if err != nil {
		r.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return resp, string(b)
}

func (r *room) login(name, pass, next string) *http.Response {
	resp, _ := r.do("POST", "/login", url.Values{"name": {name}, "password": {pass}, "next": {next}})
	return resp
}

func cookieOf(resp *http.Response) *http.Cookie {
	for _, c := range resp.Cookies() {
		if c.Name == "__Host-panormus" {
			return c
		}
	}
	return nil
}

func TestLogInAndOut(t *testing.T) {
	r := newRoom(t, nil)
	resp, _ := r.do("GET", "/alarms?state=unacked", nil, "Accept", "text/html,*/*")
	if resp.StatusCode != 303 || resp.Header.Get("Location") != "/login?next=%2Falarms%3Fstate%3Dunacked" {
		t.Fatalf("%s %s, want the page to log in at", resp.Status, resp.Header.Get("Location"))
	}
	if resp, _ := r.do("GET", "/api", nil, "Sec-Fetch-Mode", "cors"); resp.StatusCode != 401 || strings.Contains(strings.Join(resp.Header.Values("WWW-Authenticate"), ""), "Basic") {
		t.Errorf("a page's own request: %s %v", resp.Status, resp.Header)
	}
	resp, page := r.do("GET", resp.Header.Get("Location"), nil, "Accept-Language", "de, en-GB;q=0.8, it;q=0.5")
	csp := resp.Header.Get("Content-Security-Policy")
	if resp.StatusCode != 200 || !strings.Contains(page, `lang="en"`) || !strings.Contains(page, `value="/alarms?state=unacked"`) || strings.Contains(page, "<script") ||
		!strings.Contains(csp, "default-src 'none'; style-src 'nonce-") || !strings.Contains(csp, "form-action 'self'") || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s %q\n%s", resp.Status, csp, page)
	}
	for _, id := range []string{"name", "password", "code"} {
		if !strings.Contains(page, `<label for="`+id+`">`) || !strings.Contains(page, `id="`+id+`"`) {
			t.Errorf("field %s has no label", id)
		}
	}
	if _, page := r.do("GET", "/login", nil); !strings.Contains(page, `lang="it"`) {
		t.Error("without a language the page is not Italian")
	}
	if resp := r.login("rosalia", "wrong wrong wrong", "/"); resp.StatusCode != 401 || cookieOf(resp) != nil {
		t.Errorf("wrong password: %s %v", resp.Status, resp.Cookies())
	}
	if resp := r.login("my password in the wrong field", "x", "/"); resp.StatusCode != 401 {
		t.Errorf("nobody: %s", resp.Status)
	}
	resp = r.login("rosalia", password, "/alarms?state=unacked")
	c := cookieOf(resp)
	if resp.StatusCode != 303 || resp.Header.Get("Location") != "/alarms?state=unacked" || c == nil || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || len(c.Value) != 43 {
		t.Fatalf("%s %+v", resp.Status, c)
	}
	if !strings.Contains(strings.Join(resp.Header.Values("Set-Cookie"), ";"), "Secure") {
		t.Error("the cookie is not Secure")
	}
	if _, body := r.do("GET", "/", nil); body != "you are rosalia" {
		t.Errorf("%q", body)
	}
	if resp, _ := r.do("GET", "/login?next=/alarms", nil); resp.StatusCode != 303 || resp.Header.Get("Location") != "/alarms" {
		t.Errorf("somebody who is logged in sees the page again: %s", resp.Status)
	}
	// Somebody who was given a session of another's making gets a new one, and that one ends (session fixation).
	if again := cookieOf(r.login("rosalia", password, "/")); again == nil || again.Value == c.Value {
		t.Error("logging in keeps the session there was")
	} else if _, ok := r.book.Authenticate(requestWith(c)); ok {
		t.Error("the session before goes on")
	}
	// Another page makes the browser log nobody in or out, nor do anything.
	for _, path := range []string{"/logout", "/login", "/anything"} {
		for _, h := range [][]string{{"Origin", "https://attacker.example"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}} {
			if resp, _ := r.do("POST", path, url.Values{}, h...); resp.StatusCode != 403 {
				t.Errorf("POST %s %v: %s, want 403", path, h, resp.Status)
			}
		}
	}
	resp, _ = r.do("POST", "/logout", url.Values{}, "Sec-Fetch-Site", "same-origin")
	if c := cookieOf(resp); resp.StatusCode != 303 || c == nil || c.MaxAge >= 0 {
		t.Errorf("%s %+v, want the cookie taken back", resp.Status, c)
	}
	if resp, _ := r.do("GET", "/", nil); resp.StatusCode != 401 {
		t.Errorf("after logging out: %s", resp.Status)
	}
	want := "nobody login.refused user/rosalia\nnobody login.refused user\nrosalia login user/rosalia\nrosalia login user/rosalia\nrosalia logout user/rosalia"
	if got := r.journal.said(); got != want {
		t.Errorf("audit log:\n%s\nwant\n%s", got, want)
	}
	// What cannot be noted is not done.
	r.journal.away = io.ErrClosedPipe
	if resp := r.login("rosalia", password, "/"); resp.StatusCode != 503 || cookieOf(resp) != nil {
		t.Errorf("without an audit log: %s", resp.Status)
	}
}

func requestWith(c *http.Cookie) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(c)
	return r
}

// TestHijack opens a websocket with somebody's cookie from elsewhere.
func TestHijack(t *testing.T) {
	r := newRoom(t, nil)
	if r.login("rosalia", password, "/").StatusCode != 303 {
		t.Fatal("no session")
	}
	upgrade := []string{"Connection", "Upgrade", "Upgrade", "websocket"}
	for origin, want := range map[string]int{"": 403, "null": 403, "https://attacker.example": 403, r.url + ".attacker.example": 403, r.url: 200} {
		header := upgrade
		if origin != "" {
			header = append(header[:4:4], "Origin", origin)
		}
		if resp, body := r.do("GET", "/ws/v1/feed", nil, header...); resp.StatusCode != want {
			t.Errorf("origin %q: %s %s, want %d", origin, resp.Status, body, want)
		}
	}
}

func TestNext(t *testing.T) {
	for in, want := range map[string]string{
		"/": "/", "/alarms?state=unacked#x": "/alarms?state=unacked#x", "": "/", "alarms": "/", "//attacker.example": "/", "///attacker.example": "/", `/\attacker.example`: "/", `\\attacker.example`: "/",
		"https://attacker.example": "/", "javascript:alert(1)": "/", "/a\r\nSet-Cookie: x": "/", "/\t/attacker.example": "/", "/%zz": "/", "/login": "/", "/login?next=/login": "/", "/login/oidc": "/", "/logout": "/",
		"/" + strings.Repeat("x", 3000): "/", "/ok//attacker.example": "/ok//attacker.example",
	} {
		if got := Next(in); got != want {
			t.Errorf("Next(%.60q) = %q, want %q", in, got, want)
		}
	}
	r := newRoom(t, nil)
	if resp := r.login("rosalia", password, "//attacker.example/"); resp.Header.Get("Location") != "/" {
		t.Errorf("sent to %q", resp.Header.Get("Location"))
	}
	if _, page := r.do("GET", `/login?next=/%22%3E%3Cscript%3E`, nil, "Authorization", "none"); strings.Contains(page, "<script>") {
		t.Error("what comes in is written out as it is")
	}
}

func TestRefusalsDoNotFillTheAuditLog(t *testing.T) {
	r := newRoom(t, func(d *Desk) { d.notedMax = 2 })
	for range 8 {
		r.login("rosalia", "wrong wrong wrong", "/")
	}
	if n := len(r.journal.entries); n != 2 {
		t.Fatalf("%d entries, want 2 a minute", n)
	}
	resp := r.login("rosalia", password, "/")
	if resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%s %v, want 429", resp.Status, resp.Header)
	}
	r.desk.minute = r.desk.minute.Add(-2 * 60e9)
	r.login("rosalia", "wrong wrong wrong", "/")
	if e := r.journal.entries; len(e) != 3 || e[2].Detail["not_noted_before"] != "7" {
		t.Errorf("%+v, want that 7 were not noted", e)
	}
}

package main

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pquerna/otp/totp"

	"panormus/controlroom/auth"
)

// trySessions plants cookies in somebody's browser before and after he logs in (session fixation), and
// looks at the cookie itself.
func trySessions(t *testing.T, f *fortress) {
	b := f.at("127.0.1.1")
	planted := "__Host-panormus=" + strings.Repeat("A", 43)
	r, session := b.login(rosalia, password, "", "Cookie", planted)
	if session == "" || session == planted {
		t.Fatalf("%s %v: logging in keeps a session that was planted", r.Status, r.Cookies())
	}
	if code, _ := b.me(planted); code != 401 {
		t.Errorf("the planted session: %d, want 401", code)
	}
	for _, c := range r.Cookies() {
		if c.Name == "__Host-panormus" && (!c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "") {
			t.Errorf("%+v, want Secure, HttpOnly, SameSite=Lax, Path=/ and no Domain", c)
		}
	}
	again, second := b.login(rosalia, password, "", "Cookie", session)
	if second == "" || second == session {
		t.Errorf("%s: a second login keeps the session", again.Status)
	}
	if code, _ := b.me(session); code != 401 {
		t.Errorf("the session before a login goes on: %d", code)
	}
	// A page of a neighbour, or of this host in clear, can set a cookie without the prefix: it is none.
	f.user("mallory", `{"role":"viewer","password":"`+password+`"}`)
	hers := b.mustLogin("mallory", password)
	_, value, _ := strings.Cut(hers, "=")
	if code, who := b.me("panormus=" + value); code != 401 {
		t.Errorf("a cookie without prefix counts: %d, as %s", code, who)
	}
	if code, who := b.me("panormus=" + value + "; " + second); code != 200 || who != rosalia {
		t.Errorf("beside a planted cookie: %d, as %q, want %s", code, who, rosalia)
	}
	if r := b.ask("POST", "/logout", url.Values{}, "Cookie", second, "Origin", "http://"+f.info.HTTP); r.StatusCode != 303 || r.Header.Get("Location") != "/login" {
		t.Errorf("log out: %s", r.Status)
	}
	if code, _ := b.me(second); code != 401 {
		t.Errorf("after logging out: %d", code)
	}
	f.as("admin").must(204, "DELETE", "/api/v1/users/mallory", "")
	if code, _ := b.me(hers); code != 401 {
		t.Errorf("a session of somebody who is removed: %d", code)
	}
}

// tryForeignPages has pages elsewhere make the browser ask (CSRF).
func tryForeignPages(t *testing.T, f *fortress) {
	b := f.at("127.0.1.2")
	session := b.mustLogin(rosalia, password)
	for _, from := range [][]string{{"Origin", "https://attacker.example"}, {"Origin", "null"}, {"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "http://" + f.info.HTTP + ".attacker.example"}} {
		for _, what := range []string{"POST /logout", "POST /login", "POST /api/v1/devices", "PUT /api/v1/users/eve", "DELETE /api/v1/users/rosalia", "POST /api/v1/alarms/x/ack", "PUT /api/v1/rules/x", "DELETE /api/v1/tokens/x"} {
			method, path, _ := strings.Cut(what, " ")
			if r := b.ask(method, path, url.Values{"x": {"y"}}, append([]string{"Cookie", session}, from...)...); r.StatusCode != 403 {
				t.Errorf("%s from %v: %s, want 403", what, from, r.Status)
			}
		}
	}
	// All there are, as they are registered: a new one is tried from its first day. Each by what a browser says at least.
	n := 0
	for _, pattern := range auth.RouteNames() {
		method, path, ok := strings.Cut(pattern, " ")
		if !ok || method == "GET" {
			continue
		}
		n++
		path = regexp.MustCompile(`\{\w+\}`).ReplaceAllString(path, "none-such")
		from := []string{"Origin", "https://attacker.example"}
		if n%2 == 0 {
			from = []string{"Sec-Fetch-Site", "cross-site"}
		}
		if r := b.ask(method, path, url.Values{"x": {"y"}}, append(from, "Cookie", session)...); r.StatusCode != 403 || !strings.Contains(r.body, "another origin") {
			t.Errorf("%s from %v: %s %.200s, want 403", pattern, from, r.Status, r.body)
		}
	}
	if n < 30 {
		t.Errorf("%d routes that change something were tried", n)
	}
	if code, _ := b.me(session); code != 200 {
		t.Errorf("after all that the session is gone: %d", code)
	}
	// No page elsewhere may read an answer either.
	r := b.ask("GET", "/api/v1/me", nil, "Cookie", session, "Origin", "https://attacker.example")
	for name := range r.Header {
		if strings.HasPrefix(name, "Access-Control-") {
			t.Errorf("%s: %s", name, r.Header.Get(name))
		}
	}
	if got := r.Header.Get("Cross-Origin-Resource-Policy"); got != "same-origin" {
		t.Errorf("Cross-Origin-Resource-Policy %q", got)
	}
	// A name that was pointed at this machine (DNS rebinding).
	if r := f.raw("GET /api/v1/me HTTP/1.1\r\nHost: attacker.example\r\nConnection: close\r\n\r\n"); r.StatusCode != 421 {
		t.Errorf("another host's name: %s", r.Status)
	}
}

// tryHijack opens the feed with somebody's cookie from elsewhere.
func tryHijack(t *testing.T, f *fortress) {
	session := f.at("127.0.1.3").mustLogin(rosalia, password)
	ours := "http://" + f.info.HTTP
	for origin, want := range map[string]int{"": 403, "null": 403, "https://attacker.example": 403, ours + ".attacker.example": 403, "http://localhost": 403, "http://127.0.0.1": 403, ours: 101} {
		header := []string{"Cookie", session}
		if origin != "" {
			header = append(header, "Origin", origin)
		}
		conn, resp, err := f.feed(header...)
		if resp == nil || resp.StatusCode != want {
			t.Errorf("origin %q: %v %v, want %d", origin, resp, err, want)
		}
		if conn != nil {
			conn.Close()
		}
	}
	if _, resp, err := f.feed(); resp == nil || resp.StatusCode != 401 {
		t.Errorf("without a name: %v %v", resp, err)
	}
}

// tryRedirects wants to be sent elsewhere after logging in.
func tryRedirects(t *testing.T, f *fortress) {
	b := f.at("127.0.1.4")
	for _, next := range []string{"//attacker.example", "///attacker.example", `/\attacker.example`, `\/attacker.example`, "https://attacker.example", "http:attacker.example", "javascript:alert(1)",
		"/\t/attacker.example", "/%09/attacker.example", "/.//attacker.example", "/a/..//attacker.example", "/%5cattacker.example", "/%2fattacker.example", "@attacker.example", "/\r\nLocation: https://attacker.example"} {
		r := b.ask("POST", "/login", url.Values{"name": {rosalia}, "password": {password}, "next": {next}})
		to := r.Header.Get("Location")
		at, err := url.Parse(ours(f))
		if err != nil {
			t.Fatal(err)
		}
		// As browsers read it: backslashes are slashes, tabs and line ends are nothing.
		read, err := at.Parse(strings.NewReplacer(`\`, "/", "\t", "", "\r", "", "\n", "").Replace(to))
		if r.StatusCode != 303 || err != nil || read.Host != f.info.HTTP || read.Scheme != "http" || strings.HasPrefix(to, "//") {
			t.Errorf("next %q: %s to %q (%v)", next, r.Status, to, err)
		}
	}
	r := b.ask("GET", "//attacker.example/..", nil, "Accept", "text/html")
	if to := r.Header.Get("Location"); strings.HasPrefix(to, "//") || strings.HasPrefix(to, "http") {
		t.Errorf("a path of two slashes sends to %q", to)
	}
}

func ours(f *fortress) string { return "http://" + f.info.HTTP + "/login" }

// tryPaths wants files that are none of the page's.
func tryPaths(t *testing.T, f *fortress) {
	token := "Authorization: Bearer " + f.tokens["admin"]
	for _, path := range []string{
		"/../../../../etc/passwd", "/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/assets/../../../../etc/passwd", "/assets/..%2f..%2f..%2fetc%2fpasswd", "/assets/%2e%2e%5c%2e%2e%5cetc%5cpasswd", "//etc/passwd", "/./etc/passwd", "/assets//etc/passwd",
		"/map/../../etc/passwd", "/map/..%2f..%2fetc%2fpasswd", "/map/%2fetc%2fpasswd", "/docs/..%2f..%2fetc%2fpasswd", "/index.html/../../etc/passwd", "/.git/config", "/panormus.yaml", "/data/keys/master.key", "/..%00/etc/passwd",
		"/api/v1/devices/..%2f..%2f..%2fetc%2fpasswd", "/api/v1/zones/..%2fkeys%2fmaster.key", "/api/v1/rules/..%2f..%2fetc%2fpasswd", "/api/v1/cap/..%2f..%2fetc%2fpasswd", "/api/v1/cameras/..%2f..%2fetc%2fpasswd/heatmap",
		"/api/v1/export?table=../../etc/passwd", "/api/v1/export?table=file('/etc/passwd')", "/api/v1/export?table=events&format=../../csv", "/api/v1/export?table=system.users", "/vds/push/..%2f..%2fetc%2fpasswd",
	} {
		r := f.raw("GET " + path + " HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n" + token + "\r\n\r\n")
		if r.StatusCode < 300 || strings.Contains(r.body, "root:") {
			t.Errorf("%s: %s %.200s", path, r.Status, r.body)
		}
		if to := r.Header.Get("Location"); to != "" && (!strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//")) {
			t.Errorf("%s sends to %q", path, to)
		}
	}
}

// tryOversized sends too much of everything. What is over a bound is less than the 256 KiB that a server
// still reads before it closes, so that its answer is not lost with the connection.
func tryOversized(t *testing.T, f *fortress) {
	much := strings.Repeat("x", 1<<20+100<<10)
	for what, want := range map[string]int{"PUT /api/v1/devices/a": 413, "PUT /api/v1/rules/a": 413, "POST /api/v1/rules/check": 413, "PUT /api/v1/users/a": 413} {
		method, path, _ := strings.Cut(what, " ")
		f.as("admin").must(want, method, path, `{"domain":"waste","name":"`+much+`"}`)
	}
	// Of a form over its bound no more is read: this much fits in the connection, so that it is sent whole at any speed.
	if r := f.at("127.0.1.5").ask("POST", "/login", url.Values{"name": {much[:24<<10]}}); r.StatusCode != 400 && r.StatusCode != 413 {
		t.Errorf("a form of 24 KiB: %s", r.Status)
	}
	if r := f.at("127.0.1.5").ask("GET", "/api/v1/me", nil, "X-Much", much[:100<<10]); r.StatusCode != 431 {
		t.Errorf("a header of 100 KiB: %s", r.Status)
	}
	if r := f.raw("GET /" + much[:100<<10] + " HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n"); r.StatusCode != 431 && r.StatusCode != 414 {
		t.Errorf("an address of 100 KiB: %s", r.Status)
	}
	for _, packed := range []bool{false, true} {
		d := websocket.Dialer{EnableCompression: packed}
		conn, _, err := d.Dial("ws://"+f.info.HTTP+"/ws/v1/feed", http.Header{"Authorization": {"Bearer " + f.tokens["viewer"]}})
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.WriteMessage(websocket.TextMessage, []byte(`{"op":"ping","n":1`+strings.Repeat(" ", 1<<20)+`}`))
		if code := ended(conn); code != websocket.CloseMessageTooBig {
			t.Errorf("a frame of 1 MiB, compressed %v: closed with %d, want 1009", packed, code)
		}
		conn.Close()
	}
	conn, _, err := f.feed("Authorization", "Bearer "+f.tokens["viewer"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for i := range 4 {
		_ = conn.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `{"op":"subscribe","id":"%d","topic":"state","filter":{"device":[%s"x"]}}`, i, strings.Repeat(`"x",`, 1100)))
	}
	if code := ended(conn); code != websocket.ClosePolicyViolation {
		t.Errorf("filters of 1,101 devices: closed with %d, want 1008", code)
	}
}

// tryHeaders looks at what keeps browsers safe.
func tryHeaders(t *testing.T, f *fortress) {
	for _, path := range []string{"/", "/login", "/alarms", "/docs", "/status", "/api/v1/state", "/api/v1/nothing", "/openapi.json", "/metrics", "/map/basemap.geojson", "/assets/nothing.js", "/nothing", "/vds/push/nobody"} {
		for _, who := range []string{"", "Bearer " + f.tokens["admin"]} {
			r := f.at("127.0.1.6").ask("GET", path, nil, "Authorization", who)
			h, csp := r.Header, r.Header.Get("Content-Security-Policy")
			if h.Get("X-Content-Type-Options") != "nosniff" || !strings.Contains(csp, "frame-ancestors 'none'") || !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe-inline") || strings.Contains(csp, "unsafe-eval") || strings.Contains(csp, "*") ||
				h.Get("X-Frame-Options") != "DENY" || !strings.Contains("no-referrer same-origin", cmp.Or(h.Get("Referrer-Policy"), "none")) || h.Get("Strict-Transport-Security") != "" || h.Get("Server") != "" {
				t.Errorf("%s (%s, named %v): %v", path, r.Status, who != "", h)
			}
			if kept := h.Get("Cache-Control"); strings.HasPrefix(path, "/api/") && kept != "no-store" && kept != "private, no-cache" {
				t.Errorf("%s may be kept by others: %q", path, kept)
			}
		}
	}
}

// tryInjection puts line ends and quotes where they might come out again.
func tryInjection(t *testing.T, f *fortress) {
	const evil = "%0d%0aX-Injected:%201%0d%0aINJECTED"
	b := f.at("127.0.1.7")
	bearer := "Bearer " + f.tokens["admin"]
	for _, path := range []string{"/" + evil, "/login?next=/" + evil, "/api/v1/" + evil, "/api/v1/devices/" + evil, "/api/v1/export?table=events" + evil, "/api/v1/export?table=events%22%3bfilename=x", "/api/v1/export?table=events&format=csv" + evil, "/assets/" + evil, "/vds/push/" + evil, "/login/callback?state=" + evil + "&code=" + evil, "/api/v1/users/" + evil} {
		for _, who := range []string{"", bearer} {
			r := b.ask("GET", path, nil, "Accept", "text/html", "Authorization", who, "X-Request-Id", "a b;INJECTED")
			if r.Header.Get("X-Injected") != "" || strings.Contains(fmt.Sprint(r.Header), "\nX-Injected") || strings.Contains(r.Header.Get("Content-Disposition"), "x") && strings.Contains(path, "filename=x") {
				t.Errorf("%s: %v", path, r.Header)
			}
			if id := r.Header.Get("X-Request-Id"); strings.ContainsAny(id, " ;\r\n") {
				t.Errorf("%s: request id %q", path, id)
			}
		}
	}
	for _, name := range []string{"x\r\nINJECTED login of rosalia", `"><script>alert(1)</script>`} {
		r, _ := b.login(name, "wrong wrong wrong", "")
		if strings.Contains(r.body, "<script>") {
			t.Errorf("what was typed comes back as it is: %s", r.body)
		}
	}
	if r := f.raw("GET /api/v1/me HTTP/1.1\r\nHost: HOST\r\nX-Request-Id: a\x00b\r\nConnection: close\r\n\r\n"); r.StatusCode != 400 {
		t.Errorf("a header with a zero byte: %s", r.Status)
	}
	for _, name := range []string{"eve%0d%0aINJECTED", "..%2fkeys", "a:b", "a%20b"} {
		if code, got := f.as("admin").ask("PUT", "/api/v1/users/"+name, `{"role":"viewer","password":"`+password+`"}`); code != 422 {
			t.Errorf("a user named %s: %d %v", name, code, got)
		}
	}
}

// tryGuessing guesses at a password from one address until it has to wait.
func tryGuessing(t *testing.T, f *fortress) {
	f.user("vito", `{"role":"viewer","password":"`+password+`"}`)
	b := f.at("127.0.1.8")
	for i := 0; ; i++ {
		r, _ := b.login("vito", fmt.Sprint("a wrong password ", i), "")
		if r.StatusCode == 429 {
			if r.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
			break
		}
		if r.StatusCode != 401 || i == 60 {
			t.Fatalf("wrong password %d: %s", i, r.Status)
		}
	}
	// The right one does not count in the pause either, whoever asks.
	if r, session := f.at("127.0.1.9").login("vito", password, ""); session == "" && r.StatusCode != 429 { // a slow machine may be past the pause
		t.Errorf("the right password in the pause: %s", r.Status)
	}
	if _, session := f.at("127.0.1.10").login(rosalia, password, ""); session == "" {
		t.Error("others at other addresses have to wait too")
	}
	f.as("admin").must(204, "DELETE", "/api/v1/users/vito", "")
}

// tryEnumeration wants to know who has an account: by what is said, and by how long it takes.
func tryEnumeration(t *testing.T, f *fortress) {
	f.user("anna", `{"role":"viewer","password":"`+password+`"}`)
	f.user("bruno", `{"role":"viewer","password":"`+password+`","disabled":true}`)
	f.user("carla", `{"role":"viewer","password":"`+password+`","totp":true}`)
	f.user("dario", `{"role":"viewer","password":"`+password+`","expires":"2020-01-01T00:00:00Z"}`)
	plain := regexp.MustCompile(`nonce="[^"]*"|value="[a-z]+"`)
	said, took := map[string]string{}, map[string]time.Duration{}
	for round := range 4 {
		for i, name := range []string{"anna", "bruno", "carla", "dario", "nobody", "eva"} {
			pass := "wrong wrong wrong"
			if name == "bruno" || name == "carla" || name == "dario" {
				pass = password // right, and not enough
			}
			begun := time.Now()
			r, session := f.at(fmt.Sprintf("127.0.2.%d", 1+10*round+i)).login(name, pass, "")
			if d := time.Since(begun); took[name] == 0 || d < took[name] {
				took[name] = d
			}
			h := r.Header.Clone()
			for _, own := range []string{"Date", "X-Request-Id", "Content-Security-Policy"} {
				h.Del(own)
			}
			said[name] = fmt.Sprint(r.StatusCode, h, plain.ReplaceAllString(r.body, ""))
			if session != "" {
				t.Errorf("%s is let in", name)
			}
		}
	}
	for name, text := range said {
		if text != said["nobody"] {
			t.Errorf("%s is told\n%s\nand nobody\n%s", name, text, said["nobody"])
		}
		// Without the hash an answer takes a hundredth of the time.
		if a, b := took[name], took["nobody"]; a > 5*b || b > 5*a {
			t.Errorf("%s is answered within %v, and nobody within %v", name, a, b)
		}
	}
}

// trySecondFactor uses a code again.
func trySecondFactor(t *testing.T, f *fortress) {
	got := f.user("tina", `{"role":"viewer","password":"`+password+`","totp":true}`)
	at, err := url.Parse(fmt.Sprint(got["totp_url"]))
	if err != nil || at.Scheme != "otpauth" {
		t.Fatalf("%v, %v", got, err)
	}
	code := func() string {
		c, err := totp.GenerateCode(at.Query().Get("secret"), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, wrong := range []string{"", "000000", "abcdef"} {
		if _, session := f.at("127.0.3.1").login("tina", password, wrong); session != "" {
			t.Errorf("code %q lets in", wrong)
		}
	}
	used := code()
	if r, session := f.at("127.0.3.2").login("tina", password, used); session == "" {
		t.Fatalf("the right code %s: %s", used, r.Status)
	}
	if r, session := f.at("127.0.3.3").login("tina", password, used); session != "" || r.StatusCode != 401 {
		t.Errorf("a code counts twice: %s", r.Status)
	}
	if r, session := f.at("127.0.3.4").login("tina", "wrong wrong wrong", code()); session != "" {
		t.Errorf("a code without the password: %s", r.Status)
	}
}

// tryPasswordChange has sessions go on after the password was changed.
func tryPasswordChange(t *testing.T, f *fortress) {
	f.user("ugo", `{"role":"viewer","password":"`+password+`"}`)
	one, two := f.at("127.0.4.1").mustLogin("ugo", password), f.at("127.0.4.2").mustLogin("ugo", password)
	conn, _, err := f.feed("Cookie", one, "Origin", "http://"+f.info.HTTP)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	f.user("ugo", `{"role":"viewer","password":"another `+password+`"}`)
	for _, session := range []string{one, two} {
		if code, _ := f.at("127.0.4.1").me(session); code != 401 {
			t.Errorf("a session of the old password: %d", code)
		}
	}
	if code := ended(conn); code != websocket.ClosePolicyViolation {
		t.Errorf("the feed of the old password: closed with %d, want 1008", code)
	}
	if _, session := f.at("127.0.4.3").login("ugo", password, ""); session != "" {
		t.Error("the old password counts still")
	}
	f.at("127.0.4.4").mustLogin("ugo", "another "+password)
}

// tryTokenEnds has feeds go on whose tokens have expired, were removed, replaced or given another role.
func tryTokenEnds(t *testing.T, f *fortress) {
	admin := f.as("admin")
	open := func(body string) (*websocket.Conn, string) {
		t.Helper()
		token := fmt.Sprint(admin.must(200, "PUT", "/api/v1/tokens/guest", body)["token"])
		conn, resp, err := f.feed("Authorization", "Bearer "+token)
		if err != nil {
			t.Fatalf("%v %v", resp, err)
		}
		return conn, token
	}
	for what, end := range map[string]func(){
		"removed":      func() { admin.must(204, "DELETE", "/api/v1/tokens/guest", "") },
		"replaced":     func() { admin.must(200, "PUT", "/api/v1/tokens/guest", `{"role":"viewer"}`) },
		"another role": func() { admin.must(200, "PUT", "/api/v1/tokens/guest", `{"role":"operator"}`) },
	} {
		conn, token := open(`{"role":"viewer"}`)
		end()
		if code := ended(conn); code != websocket.ClosePolicyViolation {
			t.Errorf("%s: closed with %d, want 1008", what, code)
		}
		if code, _ := (person{f.instance, token}).ask("GET", "/api/v1/me", ""); code != 401 {
			t.Errorf("%s: the token is %d", what, code)
		}
		conn.Close()
	}
	for lasts := 3 * time.Second; ; lasts *= 2 {
		token := fmt.Sprint(admin.must(200, "PUT", "/api/v1/tokens/guest", fmt.Sprintf(`{"role":"viewer","expires":%q}`, time.Now().Add(lasts).UTC().Format(time.RFC3339Nano)))["token"])
		conn, resp, err := f.feed("Authorization", "Bearer "+token)
		if resp != nil && resp.StatusCode == 401 && lasts < patience {
			continue // it has expired before it was used
		}
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if code := ended(conn); code != websocket.ClosePolicyViolation {
			t.Errorf("expired: closed with %d, want 1008", code)
		}
		return
	}
}

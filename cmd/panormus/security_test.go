package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"panormus/controlroom/auth"
)

// A fortress is a whole process that lets in who is known: a token of each role, and local users. What
// stands below it are its strangers, who know what is in the docs and nothing of the code.
type fortress struct {
	*instance
	tokens map[string]string // by role, or by what else they are
}

const (
	rosalia  = "rosalia" // an admin with a password
	password = "a password that is long enough"
)

// theRoles are the words of the tokens, by the columns of the table of roles.
var theRoles = map[string]string{
	"agency": "role=agency areas=lighting share=events,cameras expires=2999-01-01", "viewer": "role=viewer", "scoped viewer": "role=viewer areas=lighting",
	"operator": "role=operator", "domain_operator": "role=domain_operator areas=lighting", "supervisor": "role=supervisor", "scoped supervisor": "role=supervisor areas=lighting",
	"data_protection": "role=data_protection", "admin": "role=admin",
}

func newFortress(t *testing.T, settings string, args ...string) *fortress {
	t.Helper()
	dir := t.TempDir()
	f := &fortress{tokens: map[string]string{}}
	var lines strings.Builder
	for name, words := range theRoles {
		token, line, err := auth.NewToken(strings.ReplaceAll(name, " ", "_"))
		if err != nil {
			t.Fatal(err)
		}
		f.tokens[name] = token
		fmt.Fprintln(&lines, line, words)
	}
	file, config := filepath.Join(dir, "tokens"), filepath.Join(dir, "panormus.yaml")
	if err := errors.Join(os.WriteFile(file, []byte(lines.String()), 0o600), os.WriteFile(config, []byte("log_level: debug\nweb:\n  tokens: "+file+"\n"+settings), 0o600)); err != nil {
		t.Fatal(err)
	}
	f.instance = &instance{t: t, data: t.TempDir(), args: append([]string{"--config", config}, args...)}
	f.start()
	t.Cleanup(func() {
		f.end()
		if t.Failed() {
			said := f.out.String()
			t.Logf("what panormus said last:\n%s", said[max(0, len(said)-8000):])
		}
	})
	return f
}

// as is who has a role's token.
func (f *fortress) as(role string) person { return person{f.instance, f.tokens[role]} }

// user enters a local user.
func (f *fortress) user(name, body string) map[string]any {
	f.t.Helper()
	return f.as("admin").must(200, "PUT", "/api/v1/users/"+name, body)
}

// A browser has an address of its own, keeps no cookie by itself and goes nowhere by itself.
type browser struct {
	f    *fortress
	from string
}

// at is a browser at an address of this machine: 127.0.0.0/8 is all of it.
func (f *fortress) at(from string) browser { return browser{f, from} }

type reply struct {
	*http.Response
	body string
}

func (b browser) ask(method, path string, form url.Values, header ...string) reply {
	b.f.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequest(method, "http://"+b.f.info.HTTP+path, body)
	if err != nil {
		b.f.t.Fatal(err)
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	dial := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(b.from)}}
	transport := &http.Transport{DialContext: dial.DialContext, DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: patience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		b.f.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		b.f.t.Fatalf("%s %s: %v", method, path, err)
	}
	return reply{resp, string(got)}
}

// login tries to log in; session is the cookie of a good one, "" where it was refused.
func (b browser) login(name, pass, code string, header ...string) (r reply, session string) {
	b.f.t.Helper()
	r = b.ask("POST", "/login", url.Values{"name": {name}, "password": {pass}, "code": {code}, "next": {"/alarms"}}, header...)
	for _, c := range r.Cookies() {
		if c.Name == "__Host-panormus" && c.Value != "" {
			session = "__Host-panormus=" + c.Value
		}
	}
	return r, session
}

// mustLogin logs in.
func (b browser) mustLogin(name, pass string) string {
	b.f.t.Helper()
	r, session := b.login(name, pass, "")
	if r.StatusCode != http.StatusSeeOther || session == "" {
		b.f.t.Fatalf("login of %s: %s %s", name, r.Status, r.body)
	}
	return session
}

// me is what the server says of who asks with a cookie: its status, and the name.
func (b browser) me(cookie string) (int, string) {
	b.f.t.Helper()
	r := b.ask("GET", "/api/v1/me", nil, "Cookie", cookie)
	var who struct{ Name string }
	_ = json.Unmarshal([]byte(r.body), &who)
	return r.StatusCode, who.Name
}

// raw sends bytes as they are, which no client library would, and reads the answer.
func (f *fortress) raw(request string) reply {
	f.t.Helper()
	conn, err := net.Dial("tcp", f.info.HTTP)
	if err != nil {
		f.t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, strings.ReplaceAll(request, "HOST", f.info.HTTP)); err != nil {
		f.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		f.t.Fatalf("%.100q: %v", request, err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatalf("%.100q: %v", request, err)
	}
	return reply{resp, string(got)}
}

// feed opens the feed.
func (f *fortress) feed(header ...string) (*websocket.Conn, *http.Response, error) {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return websocket.DefaultDialer.Dial("ws://"+f.info.HTTP+"/ws/v1/feed", h)
}

// ended reads until the feed ends and returns the close code, 0 where there was none.
func ended(conn *websocket.Conn) int {
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	for {
		if _, _, err := conn.ReadMessage(); err != nil {
			if e, ok := errors.AsType[*websocket.CloseError](err); ok {
				return e.Code
			}
			return 0
		}
	}
}

// TestStrangersAtTheDoor tries what strangers try at a process as it runs in a city.
func TestStrangersAtTheDoor(t *testing.T) {
	t.Parallel()
	f := newFortress(t, "")
	f.user(rosalia, `{"role":"admin","password":"`+password+`"}`)
	dawdler := f.dawdle()
	for name, try := range map[string]func(*testing.T, *fortress){
		"session": trySessions, "csrf": tryForeignPages, "hijack": tryHijack, "redirect": tryRedirects, "traversal": tryPaths, "oversized": tryOversized,
		"headers": tryHeaders, "injection": tryInjection, "throttle": tryGuessing, "enumeration": tryEnumeration, "second factor": trySecondFactor,
		"password change": tryPasswordChange, "tokens end": tryTokenEnds,
	} {
		t.Run(name, func(t *testing.T) {
			f.t = t
			try(t, f)
		})
	}
	f.t = t
	t.Run("a body that never comes", func(t *testing.T) { f.cutOff(t, dawdler) })
	// All of it is in the audit log, whole, and nothing of what is secret.
	var out bytes.Buffer
	if err := auditCommand(t.Context(), []string{"verify", "--data", f.data, "--token", f.tokens["supervisor"]}, &out); err != nil {
		t.Errorf("%v: %s", err, &out)
	}
	entries := ""
	for from := "1"; from != ""; {
		got := f.as("supervisor").must(200, "GET", "/api/v1/audit?limit=1000&cursor="+map[bool]string{true: "", false: from}[from == "1"], "")
		b, err := json.Marshal(got["entries"])
		if err != nil {
			t.Fatal(err)
		}
		entries += string(b)
		from, _ = got["next"].(string)
	}
	for _, want := range []string{`"action":"login"`, `"action":"login.refused"`, `"action":"logout"`, `"action":"user.put"`, `"action":"token.put"`, `"action":"token.deleted"`, `"action":"user.deleted"`} {
		if !strings.Contains(entries, want) {
			t.Errorf("the audit log lacks %s", want)
		}
	}
	secrets := []string{password, "otpauth", "argon2id"}
	for _, token := range f.tokens {
		secrets = append(secrets, token)
	}
	for _, secret := range secrets {
		if strings.Contains(entries, secret) || strings.Contains(f.out.String(), secret) {
			t.Errorf("%q is in the audit log or in what the process says", secret)
		}
	}
	if injected := regexp.MustCompile(`(?m)^INJECTED`).FindString(f.out.String()); injected != "" {
		t.Error("somebody wrote a line of his own into the log")
	}
}

// dawdle says that a form comes and sends none of it.
func (f *fortress) dawdle() net.Conn {
	f.t.Helper()
	conn, err := net.Dial("tcp", f.info.HTTP)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "POST /login HTTP/1.1\r\nHost: %s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\nname=", f.info.HTTP)
	return conn
}

// cutOff waits until the dawdler is answered or cut off.
func (f *fortress) cutOff(t *testing.T, conn net.Conn) {
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a form that does not come is waited for longer than %v", patience)
	}
}

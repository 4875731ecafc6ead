package accounts

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pquerna/otp/totp"

	"panormus/controlroom/auth"
	"panormus/controlroom/auth/accounts/accountstest"
	"panormus/devices/logins"
	"panormus/stream/log"
	"panormus/stream/log/logtest"
)

// freely is how many wrong passwords there are before a pause.
const freely = 5

// run is a book over buckets, which others may have too.
func run(t *testing.T, cfg Config) *Book {
	t.Helper()
	if cfg.Accounts == nil {
		cfg.Accounts, cfg.Sessions = &accountstest.Bucket{}, &accountstest.Bucket{}
	}
	b := New(cfg)
	accountstest.Run(t, b.Run)
	return b
}

const secret = "a long enough password"

func admin(t *testing.T, b *Book) {
	t.Helper()
	if _, err := b.PutUser(t.Context(), "root", Change{Grant: auth.Grant{Role: auth.Admin}, Password: secret}); err != nil {
		t.Fatal(err)
	}
}

func with(cookie *http.Cookie) *http.Request {
	r := httptest.NewRequest("GET", "/", nil)
	if cookie != nil {
		r.AddCookie(cookie)
	}
	return r
}

func TestPasswords(t *testing.T) {
	hash, err := hashPassword(t.Context(), secret)
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") || strings.Contains(hash, secret) {
		t.Fatalf("%s, %v", hash, err)
	}
	if again, _ := hashPassword(t.Context(), secret); again == hash {
		t.Error("two hashes of a password are the same: no salt")
	}
	for password, want := range map[string]bool{secret: true, secret + " ": false, "": false} {
		if ok, err := checkPassword(t.Context(), hash, password); ok != want || err != nil {
			t.Errorf("%q: %v, %v", password, ok, err)
		}
	}
	for _, bad := range []string{"", "$argon2id$", "$argon2i$v=19$m=19456,t=2,p=1$AAAA$AAAA", strings.Replace(hash, "m=19456", "m=99999999", 1), strings.Replace(hash, "t=2", "t=9999", 1), strings.Replace(hash, "v=19", "v=18", 1), hash[:60]} {
		if ok, err := checkPassword(t.Context(), bad, secret); ok || err == nil {
			t.Errorf("%s: %v, %v", bad, ok, err)
		}
	}
	for _, short := range []string{"", "short", strings.Repeat("x", MaxPassword+1)} {
		if _, err := hashPassword(t.Context(), short); !errors.Is(err, ErrInvalid) || short != "" && strings.Contains(err.Error(), short) {
			t.Errorf("a password of %d bytes: %v", len(short), err)
		}
	}
}

func TestOpenUntilTheFirstUser(t *testing.T) {
	b := run(t, Config{})
	if p, ok := b.Authenticate(with(nil)); !ok || p.Via != "open" || !b.Still(&p) {
		t.Errorf("%+v, %v; want everybody let in", p, ok)
	}
	// The first one must be an admin: nobody could let another in.
	if _, err := b.PutUser(t.Context(), "v", Change{Grant: auth.Grant{Role: auth.Viewer}, Password: secret}); !errors.Is(err, ErrConflict) {
		t.Errorf("%v, want a conflict", err)
	}
	admin(t, b)
	if p, ok := b.Authenticate(with(nil)); ok {
		t.Errorf("%+v is let in without a name", p)
	}
	if open := auth.Open; b.Still(&open) {
		t.Error("who came before there were users is still let do everything")
	}
	if err := b.DeleteUser(t.Context(), "root"); !errors.Is(err, ErrConflict) {
		t.Errorf("the last admin: %v, want a conflict", err)
	}
	if _, err := b.PutUser(t.Context(), "root", Change{Grant: auth.Grant{Role: auth.Admin}, Disabled: true}); !errors.Is(err, ErrConflict) {
		t.Errorf("the last admin disabled: %v, want a conflict", err)
	}
	if _, ok := run(t, Config{Required: true}).Authenticate(with(nil)); ok {
		t.Error("somebody is let in where it is required to log in")
	}
}

func TestSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := Config{Accounts: &accountstest.Bucket{}, Sessions: &accountstest.Bucket{}, Idle: time.Hour, Longest: 10 * time.Hour}
		b, other := run(t, shared), run(t, shared)
		admin(t, b)
		token, err := b.Login(t.Context(), "root", secret, "", "192.0.2.1:1")
		if err != nil {
			t.Fatal(err)
		}
		for key := range shared.Sessions.(*accountstest.Bucket).Held() {
			if strings.Contains(key, token) {
				t.Error("a session is kept as it is, want its hash")
			}
		}
		in := func(b *Book) bool {
			p, ok := b.Authenticate(with(b.Cookie(token, true)))
			return ok && p.Name == "root" && p.Role == auth.Admin && b.Still(&p)
		}
		if !in(b) || !in(other) {
			t.Fatal("a session does not count in both processes")
		}
		for range 9 { // used now and then, it goes on
			time.Sleep(50 * time.Minute)
			if !in(b) {
				t.Fatal("a session that is used has ended")
			}
			time.Sleep(2 * time.Minute) // the other process hears of it
		}
		if !in(other) {
			t.Error("the other process does not know that the session is used")
		}
		for range 3 {
			time.Sleep(50 * time.Minute)
			in(b)
		}
		if in(b) || in(other) {
			t.Error("a session lasts longer than any may")
		}
		token, _ = b.Login(t.Context(), "root", secret, "", "192.0.2.1:1")
		time.Sleep(61 * time.Minute)
		if in(b) || in(other) {
			t.Error("a session that nobody used goes on")
		}
		if n := len(shared.Sessions.(*accountstest.Bucket).Held()); n != 0 {
			t.Errorf("%d entries are kept of sessions that have ended", n)
		}
		token, _ = b.Login(t.Context(), "root", secret, "", "192.0.2.1:1")
		p, _ := other.Authenticate(with(b.Cookie(token, true)))
		if err := b.End(t.Context(), p.Session); err != nil || in(b) || in(other) || other.Still(&p) {
			t.Errorf("a session that was ended goes on: %v", err)
		}
		token, _ = b.Login(t.Context(), "root", secret, "", "192.0.2.1:1")
		if _, err := b.PutUser(t.Context(), "root", Change{Grant: auth.Grant{Role: auth.Admin}, Password: secret + "!"}); err != nil || in(b) || in(other) {
			t.Errorf("a session outlives its password: %v", err)
		}
		for range maxSessions + 5 {
			token, _ = b.Begin(t.Context(), session{User: "root", Mark: b.users["root"].Mark})
		}
		if n := len(b.sessions); n != maxSessions || !in(b) {
			t.Errorf("%d sessions of one user, want at most %d, the newest among them", n, maxSessions)
		}
	})
}

func TestLoginIsThrottledAndTellsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, Config{})
		admin(t, b)
		if _, err := b.PutUser(t.Context(), "gone", Change{Grant: auth.Grant{Role: auth.Viewer}, Password: secret, Disabled: true}); err != nil {
			t.Fatal(err)
		}
		var said []string
		for i, try := range [][2]string{{"root", "wrong wrong wrong"}, {"nobody", secret}, {"gone", secret}, {"root", ""}, {"root", strings.Repeat("x", 1000)}} {
			_, err := b.Login(t.Context(), try[0], try[1], "", fmt.Sprintf("192.0.2.%d:1", 100+i))
			said = append(said, fmt.Sprint(err))
		}
		for _, s := range said {
			if s != said[0] || strings.Contains(s, "root") {
				t.Errorf("%q, want all the same: who is known is not told", said)
			}
		}
		wait := func(name, from string) time.Duration {
			_, err := b.Login(t.Context(), name, "wrong wrong wrong", "", from)
			d, ok := errors.AsType[*Denied](err)
			if !ok {
				t.Fatalf("%v", err)
			}
			return d.Wait
		}
		// By name, from anywhere.
		for i := range freely {
			wait("root", fmt.Sprintf("198.51.100.%d:1", i))
		}
		if wait("root", "203.0.113.9:1") == 0 {
			t.Error("a name is tried without an end")
		}
		if _, err := b.Login(t.Context(), "root", secret, "", "203.0.113.10:1"); err == nil {
			t.Error("a name that has to wait is let in")
		}
		time.Sleep(time.Minute)
		if _, err := b.Login(t.Context(), "root", secret, "", "203.0.113.10:1"); err != nil {
			t.Errorf("after waiting: %v", err)
		}
		// By address, with any name; of IPv6 the network.
		for i := range freely + 1 {
			wait(fmt.Sprint("name", i), fmt.Sprintf("[2001:db8::%x]:1", i))
		}
		if wait("yet another", "[2001:db8::ffff]:1") == 0 || wait("yet another", "[2001:db8:1::1]:1") != 0 {
			t.Error("an address tries names without an end, or another has to wait for it")
		}
		// Many at once are no way around.
		var wg sync.WaitGroup
		var let sync.Map
		for i := range 12 {
			wg.Go(func() {
				if d := wait("parallel", "192.0.2.77:1"); d == 0 {
					let.Store(i, true)
				}
			})
		}
		wg.Wait()
		n := 0
		let.Range(func(any, any) bool { n++; return true })
		if n > freely+1 {
			t.Errorf("%d tries at once, want %d", n, freely+1)
		}
	})
}

func TestSecondFactor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, Config{})
		admin(t, b)
		yes := true
		url, err := b.PutUser(t.Context(), "rosalia", Change{Grant: auth.Grant{Role: auth.Operator}, Password: secret, TOTP: &yes})
		if err != nil || !strings.HasPrefix(url, "otpauth://totp/Panormus:rosalia?") {
			t.Fatalf("%q, %v", url, err)
		}
		key := b.users["rosalia"].TOTP
		login := func(code string) error {
			_, err := b.Login(t.Context(), "rosalia", secret, code, "192.0.2.1:1")
			return err
		}
		code, err := totp.GenerateCode(key, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if login("") == nil || login("000000") == nil && code != "000000" {
			t.Error("a second factor is not asked for")
		}
		if err := login(" " + code); err != nil {
			t.Errorf("with the code: %v", err)
		}
		if login(code) == nil {
			t.Error("a code counts twice")
		}
		time.Sleep(5 * time.Minute)
		if login(code) == nil {
			t.Error("an old code counts")
		}
		if next, _ := totp.GenerateCode(key, time.Now()); login(next) != nil {
			t.Error("the next code does not count")
		}
		if url, err := b.PutUser(t.Context(), "rosalia", Change{Grant: auth.Grant{Role: auth.Viewer}}); err != nil || url != "" || b.users["rosalia"].TOTP != key {
			t.Errorf("another role changes the second factor: %q, %v", url, err)
		}
	})
}

// TestSeveralProcesses has two books over one log: a code counts once, and wrong passwords are counted together.
func TestSeveralProcesses(t *testing.T) {
	l := logtest.New(t, nil)
	held, err := l.KV(t.Context(), "accounts")
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := l.KV(t.Context(), "sessions")
	if err != nil {
		t.Fatal(err)
	}
	wrong, err := l.PassingKV(t.Context(), "guesses", logins.Kept)
	if err != nil {
		t.Fatal(err)
	}
	shared := Config{Accounts: held, Sessions: sessions, Guesses: wrong}
	books := []*Book{run(t, shared), run(t, shared)}
	admin(t, books[0])
	yes := true
	if _, err := books[0].PutUser(t.Context(), "rosalia", Change{Grant: auth.Grant{Role: auth.Operator}, Password: secret, TOTP: &yes}); err != nil {
		t.Fatal(err)
	}
	key := ""
	for deadline := time.Now().Add(time.Minute); key == ""; time.Sleep(time.Millisecond) { // the other hears of it
		books[1].mu.RLock()
		key = books[1].users["rosalia"].TOTP
		books[1].mu.RUnlock()
		if time.Now().After(deadline) {
			t.Fatal("the other process does not hear of a user")
		}
	}
	now := time.Now()
	code, err := totp.GenerateCode(key, now)
	if err != nil {
		t.Fatal(err)
	}
	before, err := totp.GenerateCode(key, now.Add(-stepOf))
	if err != nil {
		t.Fatal(err)
	}
	both := func(n int, try func(b *Book, i int) bool) (good int) {
		var wg sync.WaitGroup
		var let atomic.Int64
		for i := range n {
			wg.Go(func() {
				if try(books[i%2], i) {
					let.Add(1)
				}
			})
		}
		wg.Wait()
		return int(let.Load())
	}
	// Four at once, which is fewer than have to wait.
	if n := both(4, func(b *Book, i int) bool {
		_, err := b.Login(t.Context(), "rosalia", secret, code, fmt.Sprintf("192.0.2.%d:1", i))
		return err == nil
	}); n != 1 {
		t.Errorf("a code counted %d times in two processes, want once", n)
	}
	if err := books[1].throttle.Right(t.Context(), logins.As("rosalia")); err != nil {
		t.Fatal(err)
	}
	if _, err := books[1].Login(t.Context(), "rosalia", secret, before, "192.0.2.9:1"); err == nil && code != before {
		t.Error("an older code counts after a newer one")
	}
	if n := both(24, func(b *Book, i int) bool {
		wait, err := b.throttle.Try(t.Context(), now, logins.As("root"), logins.Of(fmt.Sprintf("198.51.100.%d:1", i), ""))
		if err != nil {
			t.Error(err)
		}
		return wait == 0
	}); n != freely+1 {
		t.Errorf("%d wrong passwords at once were looked at in two processes, want %d", n, freely+1)
	}
}

// meeting is a bucket of one process, which makes its change only once the other process has decided on one too.
type meeting struct {
	*log.KV
	decided *sync.WaitGroup // of both
	once    sync.Once
}

func (m *meeting) SwapWhole(ctx context.Context, key string, value []byte, after uint64) error {
	m.once.Do(func() {
		m.decided.Done()
		m.decided.Wait()
	})
	return m.KV.SwapWhole(ctx, key, value, after)
}

// TestLastAdminOfTwoProcesses has each of two processes take away one of the last two admins at the same moment:
// each still knows of both when it decides.
func TestLastAdminOfTwoProcesses(t *testing.T) {
	l := logtest.New(t, nil)
	open := func(name string) *log.KV {
		kv, err := l.KV(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return kv
	}
	first := run(t, Config{Accounts: open("accounts"), Sessions: open("sessions")})
	admins := []string{"agata", "ninfa"}
	put := func(b *Book, name string, c Change) error {
		_, err := b.PutUser(t.Context(), name, c)
		return err
	}
	whole := auth.Grant{Role: auth.Admin}
	for _, name := range admins {
		if err := put(first, name, Change{Grant: whole, Password: secret}); err != nil {
			t.Fatal(err)
		}
	}
	for _, round := range []struct {
		what string
		act  func(b *Book, name string) error
	}{
		{"demoted", func(b *Book, name string) error { return put(b, name, Change{Grant: auth.Grant{Role: auth.Viewer}}) }},
		{"disabled", func(b *Book, name string) error { return put(b, name, Change{Grant: whole, Disabled: true}) }},
		{"ended", func(b *Book, name string) error {
			return put(b, name, Change{Grant: auth.Grant{Role: auth.Admin, Expires: time.Now().Add(time.Hour)}})
		}},
		{"removed", func(b *Book, name string) error { return b.DeleteUser(t.Context(), name) }},
	} {
		var decided, done sync.WaitGroup
		decided.Add(len(admins))
		errs := make([]error, len(admins))
		for i, name := range admins {
			b := run(t, Config{Accounts: &meeting{KV: open("accounts"), decided: &decided}, Sessions: open("sessions")})
			done.Go(func() { errs[i] = round.act(b, name) })
		}
		done.Wait()
		if (errs[0] == nil) == (errs[1] == nil) || !errors.Is(errors.Join(errs...), ErrConflict) {
			t.Fatalf("%s: %v, want that one is let do it, and that the other would leave no admin", round.what, errs)
		}
		if round.what == "removed" {
			continue
		}
		for _, name := range admins {
			if err := put(first, name, Change{Grant: whole}); err != nil {
				t.Fatal(err)
			}
		}
	}
	// A token counts as an admin, and is the last one then.
	if _, err := first.PutToken(t.Context(), "machine", whole); err != nil {
		t.Fatal(err)
	}
	last := first.Users()[0].Name
	if err := first.DeleteUser(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	if err := first.DeleteToken(t.Context(), "machine"); !errors.Is(err, ErrConflict) {
		t.Errorf("the last admin, a token, is removed: %v", err)
	}
}

func TestTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := run(t, Config{})
		admin(t, b)
		token, err := b.PutToken(t.Context(), "grafana", auth.Grant{Role: auth.Viewer, Expires: time.Now().Add(time.Hour)})
		if err != nil {
			t.Fatal(err)
		}
		if got := b.Tokens()[0]; got.Digest != hex.EncodeToString(auth.Digest(token)) {
			t.Errorf("%+v, want the hash of the token", got)
		}
		r := httptest.NewRequest("GET", "/", nil)
		r.SetBasicAuth("grafana", token)
		p, ok := b.Authenticate(r)
		if !ok || p.Role != auth.Viewer || p.Via != auth.ViaToken || !b.Still(&p) {
			t.Fatalf("%+v, %v", p, ok)
		}
		r.SetBasicAuth("other", token)
		if _, ok := b.Authenticate(r); ok {
			t.Error("by another's name")
		}
		again, err := b.PutToken(t.Context(), "grafana", auth.Grant{Role: auth.Operator})
		if err != nil || again == token || b.Still(&p) {
			t.Errorf("the one before counts still: %v", err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		if _, ok := b.Authenticate(r); ok {
			t.Error("a token that was replaced is let in")
		}
		r.Header.Set("Authorization", "Bearer "+again)
		if p, ok = b.Authenticate(r); !ok {
			t.Error("the new token is not let in")
		}
		if err := b.DeleteToken(t.Context(), "grafana"); err != nil || b.Still(&p) {
			t.Errorf("a token that was removed counts: %v", err)
		}
		if err := b.DeleteToken(t.Context(), "grafana"); !errors.Is(err, ErrNotFound) {
			t.Error(err)
		}
	})
}

// TestRemovedWhileAway restarts a book whose buckets lost something meanwhile.
func TestRemovedWhileAway(t *testing.T) {
	accounts := &accountstest.Bucket{}
	b := New(Config{Accounts: accounts, Sessions: &accountstest.Bucket{}})
	for i := range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		ready, done := make(chan struct{}), make(chan error, 1)
		go func() { done <- b.Run(ctx, func() { close(ready) }) }()
		<-ready
		if i == 0 {
			admin(t, b)
		} else if len(b.Users()) != 0 {
			t.Error("who was removed meanwhile is let in")
		}
		cancel()
		<-done
		accounts.Empty()
	}
}

package accounts

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"panormus/controlroom/auth"
	"panormus/controlroom/auth/accounts/accountstest"
	"panormus/stream/privacy"
)

func key(t *testing.T, b byte) *privacy.Master {
	t.Helper()
	m, err := privacy.NewMaster(bytes.Repeat([]byte{b}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestSecondFactorsAreSealed follows a second factor from a bucket in clear into a sealed one, to another process,
// to one with another key, and back.
func TestSecondFactorsAreSealed(t *testing.T) {
	held, sessions := &accountstest.Bucket{}, &accountstest.Bucket{}
	old := run(t, Config{Accounts: held, Sessions: sessions}) // as it was before
	yes := true
	if _, err := old.PutUser(t.Context(), "rosalia", Change{Grant: auth.Grant{Role: auth.Admin}, Password: secret, TOTP: &yes}); err != nil {
		t.Fatal(err)
	}
	factor := old.users["rosalia"].TOTP
	lies := func() string { return string(held.Held()["user/rosalia"]) }
	if !strings.Contains(lies(), factor) {
		t.Fatal("it is not in clear to begin with: the test looks at nothing")
	}
	at := time.Now()
	login := func(b *Book) error {
		at = at.Add(stepOf) // each code counts once
		code, err := totp.GenerateCode(factor, at)
		if err != nil {
			t.Fatal(err)
		}
		b.mu.Lock()
		u := b.users["rosalia"]
		b.mu.Unlock()
		if totpStep(u.TOTP, code, at) == 0 {
			return &Denied{}
		}
		return nil
	}
	sealing := run(t, Config{Accounts: held, Sessions: sessions, Seal: key(t, 1)})
	if strings.Contains(lies(), factor) || !strings.Contains(lies(), "totp_sealed") {
		t.Errorf("it lies in clear still: %s", lies())
	}
	other := run(t, Config{Accounts: held, Sessions: sessions, Seal: key(t, 1)})
	if login(sealing) != nil || login(other) != nil {
		t.Error("a code counts no more")
	}
	before := lies()
	lost := run(t, Config{Accounts: held, Sessions: sessions, Seal: key(t, 2)})
	if login(lost) == nil {
		t.Error("without the key a code counts")
	}
	if !lost.Closed() || !lost.HasUsers() {
		t.Error("without the key everybody is let in")
	}
	// Another role there leaves it sealed as it is, and with the key it counts again.
	if _, err := lost.PutUser(t.Context(), "rosalia", Change{Grant: auth.Grant{Role: auth.Admin, Scope: nil}}); err != nil {
		t.Fatal(err)
	}
	if after := lies(); strings.Contains(after, factor) || !strings.Contains(after, before[strings.Index(before, "totp_sealed"):][:60]) {
		t.Errorf("%s, want it sealed as in %s", after, before)
	}
	if login(run(t, Config{Accounts: held, Sessions: sessions, Seal: key(t, 1)})) != nil {
		t.Error("with the key again a code counts no more")
	}
	// What was sealed for somebody is nobody else's.
	_ = held.Put(t.Context(), "user/vito", bytes.ReplaceAll(held.Held()["user/rosalia"], []byte(`"rosalia"`), []byte(`"vito"`)))
	if u := run(t, Config{Accounts: held, Sessions: sessions, Seal: key(t, 1)}).users["vito"]; u.TOTP != unopened {
		t.Errorf("another's second factor opens: %q", u.TOTP)
	}
}

// TestBrokenAccountsAreSomebodys: an entry that cannot be read does not open the door to all.
func TestBrokenAccountsAreSomebodys(t *testing.T) {
	held := &accountstest.Bucket{}
	_ = held.Put(t.Context(), "user/rosalia", []byte("{"))
	b := run(t, Config{Accounts: held, Sessions: &accountstest.Bucket{}})
	if !b.Closed() {
		t.Error("everybody is let in")
	}
	_ = held.Delete(t.Context(), "user/rosalia")
	if b.Closed() {
		t.Error("an account that is gone keeps everybody out")
	}
}

func TestOnce(t *testing.T) {
	held, sessions := &accountstest.Bucket{}, &accountstest.Bucket{}
	one, other := run(t, Config{Accounts: held, Sessions: sessions}), run(t, Config{Accounts: held, Sessions: sessions})
	now := time.Now()
	for i, b := range []*Book{one, one, other, other} {
		if first, err := b.Once(t.Context(), "state", now.Add(time.Minute)); err != nil || first != (i == 0) {
			t.Errorf("use %d: %v, %v", i, first, err)
		}
	}
	for key := range sessions.Held() {
		if strings.Contains(key, "state") {
			t.Errorf("%s tells the secret", key)
		}
	}
	one.sweep(t.Context(), now)
	if len(one.used) != 1 {
		t.Error("what counts still was forgotten")
	}
	one.sweep(t.Context(), now.Add(time.Hour))
	if len(one.used)+len(other.used)+len(sessions.Held()) != 0 {
		t.Errorf("%v, %v, %v are remembered for ever", one.used, other.used, sessions.Held())
	}
}

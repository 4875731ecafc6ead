package accounts

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"panormus/controlroom/auth"
	"panormus/devices/logins"
)

// A kept session: its key is the SHA-256 of what the cookie holds.
type session struct {
	User    string      `json:"user"`
	Mark    string      `json:"mark,omitempty"`  // the user's at that time
	Grant   *auth.Grant `json:"grant,omitempty"` // of somebody whom another server knows
	Created time.Time   `json:"created"`

	written time.Time // when it was used, as is known elsewhere
	used    time.Time
}

const (
	sweepEvery = 20 * time.Second
	// seenEvery is how much later a use must be to be written again.
	seenEvery = time.Minute
	// maxSessions bounds a user's sessions: the oldest makes room.
	maxSessions = 20
)

// ViaSession is auth.Principal.Via of those who have logged in.
const ViaSession = "session"

// session takes an entry of the bucket of sessions, value nil for one that is gone.
func (b *Book) session(key string, value []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if of, ok := strings.CutPrefix(key, seenKey); ok {
		if at, err := time.Parse(time.RFC3339, string(value)); err == nil && b.sessions[of] != nil {
			b.sessions[of].seen(at)
		}
		return
	}
	if once, ok := strings.CutPrefix(key, usedKey); ok {
		if at, err := time.Parse(time.RFC3339, string(value)); err == nil {
			b.used[once] = at
		} else {
			delete(b.used, once)
		}
		return
	}
	if value == nil {
		delete(b.sessions, key)
		return
	}
	s := &session{}
	if err := json.Unmarshal(value, s); err != nil {
		b.cfg.Log.Error("a session cannot be read", "error", err)
		return
	}
	s.seen(s.Created)
	b.sessions[key] = s
}

// usedKey begins the keys of what counts once, with the time until which it would count.
const usedKey = "used/"

// Once reports whether a secret is used for the first time in any process; it is remembered until a time, from
// which on the caller refuses it for its age.
func (b *Book) Once(ctx context.Context, secret string, until time.Time) (bool, error) {
	key := hex.EncodeToString(auth.Digest(secret))
	first, err := b.cfg.Sessions.Create(ctx, usedKey+key, []byte(until.UTC().Format(time.RFC3339)))
	if err != nil {
		return false, fmt.Errorf("sessions: %w", err)
	}
	return first, nil
}

// seenKey begins the keys under which it is written when sessions were used: apart from the sessions, so
// that writing it never brings back one that was ended elsewhere at that moment.
const seenKey = "seen/"

// seen says that the session was used at a time, as is known elsewhere too.
func (s *session) seen(at time.Time) {
	if at.After(s.written) {
		s.written = at
	}
	if at.After(s.used) {
		s.used = at
	}
}

// principal is who has a session; the caller holds the lock.
func (b *Book) principal(s *session, key string, now time.Time) (auth.Principal, bool) {
	if now.Sub(s.used) > b.cfg.Idle || now.Sub(s.Created) > b.cfg.Longest {
		return auth.Principal{}, false
	}
	p := auth.Principal{Name: s.User, Via: ViaSession, Session: key}
	if s.Grant != nil {
		p.Grant = *s.Grant
	} else {
		u, ok := b.users[s.User]
		if !ok || u.Disabled || u.Mark != s.Mark {
			return auth.Principal{}, false
		}
		p.Grant = u.Grant
	}
	return p, p.Valid(now)
}

func (b *Book) bySession(secret string, now time.Time) (auth.Principal, bool) {
	key := hex.EncodeToString(auth.Digest(secret))
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.sessions[key]
	if s == nil {
		return auth.Principal{}, false
	}
	p, ok := b.principal(s, key, now)
	if ok {
		s.used = now
	}
	return p, ok
}

// Denied is why somebody is not let in. What is told is the same whatever was wrong.
type Denied struct {
	Wait time.Duration // before the next try; 0: at once
	Name string        // of the user, where there is one; for the audit log
}

func (d *Denied) Error() string {
	if d.Wait > 0 {
		return fmt.Sprintf("too many wrong tries, the next one in %v", d.Wait.Round(time.Second))
	}
	return "name, password or code is wrong"
}

// Login checks a password, and the code of a second factor where the user has one, and begins a session:
// secret is what the cookie is to hold. A *Denied is all that is told of what was wrong.
func (b *Book) Login(ctx context.Context, name, password, code, remote string) (secret string, err error) {
	now := time.Now()
	account, network := logins.As(name[:min(len(name), 64)]), logins.Of(remote, "")
	wait, err := b.throttle.Try(ctx, now, account, network)
	if err != nil {
		b.cfg.Log.Error("wrong passwords are counted by this process alone", "error", err)
	}
	if wait > 0 {
		return "", &Denied{Wait: wait}
	}
	if len(name) > 64 || len(password) > MaxPassword {
		return "", &Denied{}
	}
	b.mu.RLock()
	u, known := b.users[name]
	b.mu.RUnlock()
	hash := u.Hash
	if !known {
		hash = b.decoy() // it takes as long as for somebody who is known
	}
	ok, err := checkPassword(ctx, hash, password)
	if err != nil && !errors.Is(err, errHash) {
		return "", err
	}
	step := int64(0)
	if u.TOTP != "" {
		step = totpStep(u.TOTP, strings.TrimSpace(code), now)
		ok = ok && step != 0
	}
	if !ok || !known || u.Disabled || !u.Valid(now) {
		d := &Denied{}
		if known {
			d.Name = name
		}
		return "", d
	}
	if u.TOTP != "" {
		first, err := b.useStep(ctx, u, step)
		if err != nil {
			return "", err
		}
		if !first {
			return "", &Denied{Name: name}
		}
	}
	if err := b.throttle.Right(ctx, account, network); err != nil {
		b.cfg.Log.Error("a right password is counted as a wrong one", "error", err)
	}
	return b.Begin(ctx, session{User: name, Mark: u.Mark})
}

// useStep uses the code of a step up, in all processes, and those before it that would still count. It reports
// whether it was there to be used.
func (b *Book) useStep(ctx context.Context, u User, step int64) (bool, error) {
	for i := range int64(beside*2 + 1) {
		at := step - i
		// Clocks of processes are not the same: it is remembered for longer than any takes it.
		first, err := b.Once(ctx, fmt.Sprintf("totp %s %s %d", u.Name, u.TOTP, at), time.Unix(0, 0).Add(time.Duration(at)*stepOf+remembered))
		if err != nil || i == 0 && !first {
			return false, err
		}
	}
	return true, nil
}

// LoginAs begins a session of somebody whom another server has checked.
func (b *Book) LoginAs(ctx context.Context, name string, g auth.Grant) (secret string, err error) {
	if err := g.Check(); err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return b.Begin(ctx, session{User: name, Grant: &g})
}

// Begin begins a session.
func (b *Book) Begin(ctx context.Context, s session) (secret string, err error) {
	now := time.Now().UTC()
	s.Created = now
	secret = auth.Secret()
	b.mu.RLock()
	var others []string
	for key, o := range b.sessions {
		if o.User == s.User {
			others = append(others, key)
		}
	}
	slices.SortFunc(others, func(x, y string) int { return b.sessions[x].Created.Compare(b.sessions[y].Created) })
	b.mu.RUnlock()
	for _, key := range others[:max(0, len(others)-maxSessions+1)] {
		if err := b.End(ctx, key); err != nil {
			return "", err
		}
	}
	return secret, b.keep(ctx, hex.EncodeToString(auth.Digest(secret)), &s)
}

func (b *Book) keep(ctx context.Context, key string, s *session) error {
	value, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := b.cfg.Sessions.Put(ctx, key, value); err != nil {
		return fmt.Errorf("sessions: %w", err)
	}
	b.session(key, value)
	return nil
}

// End ends a session by its key.
func (b *Book) End(ctx context.Context, key string) error {
	if err := b.cfg.Sessions.Delete(ctx, key); err != nil {
		return fmt.Errorf("sessions: %w", err)
	}
	b.session(key, nil)
	if err := b.cfg.Sessions.Delete(ctx, seenKey+key); err != nil {
		return fmt.Errorf("sessions: %w", err)
	}
	return nil
}

// EndAll ends all sessions of somebody and returns how many there were.
func (b *Book) EndAll(ctx context.Context, name string) (int, error) {
	b.mu.RLock()
	var keys []string
	for key, s := range b.sessions {
		if s.User == name {
			keys = append(keys, key)
		}
	}
	b.mu.RUnlock()
	for i, key := range keys {
		if err := b.End(ctx, key); err != nil {
			return i, err
		}
	}
	return len(keys), nil
}

// sweep removes what has ended and writes what was used.
func (b *Book) sweep(ctx context.Context, now time.Time) {
	var ended []string
	fresh := map[string]time.Time{}
	b.mu.RLock()
	for key, s := range b.sessions {
		if _, ok := b.principal(s, key, now); !ok {
			ended = append(ended, key)
		} else if s.used.Sub(s.written) >= seenEvery {
			fresh[key] = s.used
		}
	}
	var old []string
	for key, until := range b.used {
		if now.After(until.Add(sweepEvery)) {
			old = append(old, key)
		}
	}
	b.mu.RUnlock()
	for _, key := range old {
		if err := b.cfg.Sessions.Delete(ctx, usedKey+key); err != nil {
			b.cfg.Log.Warn("what was used up could not be forgotten", "error", err)
			return
		}
		b.session(usedKey+key, nil)
	}
	for _, key := range ended {
		if err := b.End(ctx, key); err != nil {
			b.cfg.Log.Warn("a session that has ended could not be removed", "error", err)
			return
		}
	}
	for key, used := range fresh {
		value := []byte(used.UTC().Format(time.RFC3339))
		b.session(seenKey+key, value)
		if err := b.cfg.Sessions.Put(ctx, seenKey+key, value); err != nil {
			b.cfg.Log.Warn("the use of a session could not be written", "error", err)
			return
		}
	}
}

// Names of the cookie of a session: with the prefix no other host and no page in clear can set it.
const (
	cookieName  = "__Host-panormus"
	cookiePlain = "panormus"
)

// Secure reports whether a cookie of this request can be Secure: over TLS, and on this machine, where
// browsers take it in clear too and a proxy may stand before. Else, with insecure: true, it cannot.
func Secure(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return !ok || auth.IsLoopback(local.String())
}

// nameOfCookie is the one name that counts with a request: where there is a prefix, a cookie without it may
// be somebody else's, planted to have people work in a session that is not theirs.
func nameOfCookie(secure bool) string {
	if secure {
		return cookieName
	}
	return cookiePlain
}

// Cookie is the cookie of a session; "" takes it back. It is Secure unless secure is false, which is for
// listeners in clear beyond this machine alone.
func (b *Book) Cookie(secret string, secure bool) *http.Cookie {
	c := &http.Cookie{Name: nameOfCookie(secure), Value: secret, Path: "/", Secure: secure, HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: int(b.cfg.Longest / time.Second)}
	if secret == "" {
		c.MaxAge = -1
	}
	return c
}

// sessionOf is what a request's cookie holds.
func sessionOf(r *http.Request) string {
	if c, err := r.Cookie(nameOfCookie(Secure(r))); err == nil && len(c.Value) <= 100 {
		return c.Value
	}
	return ""
}

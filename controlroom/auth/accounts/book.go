package accounts

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"panormus/controlroom/auth"
	"panormus/devices/logins"
	streamlog "panormus/stream/log"
)

// What a Book answers, wrapped.
var (
	ErrNotFound = errors.New("not found")
	ErrInvalid  = errors.New("invalid")
	ErrConflict = errors.New("conflict")
)

// A Store keeps entries durably and tells of every change, its own included; *log.KV is one.
type Store interface {
	Put(ctx context.Context, key string, value []byte) error
	// Create sets a key that there is not, and reports whether it did: of several processes one does.
	Create(ctx context.Context, key string, value []byte) (bool, error)
	Delete(ctx context.Context, key string) error
	Watch(ctx context.Context, change func(key string, value []byte), synced func()) error
}

// A SerialStore also makes a change that goes by what the other entries are: in whatever process others are made at the
// same time, each goes by all before it. *log.KV is one.
type SerialStore interface {
	Store
	// Known waits until Watch has told all that there is now, and returns its revision.
	Known(ctx context.Context) (revision uint64, err error)
	// SwapWhole changes key, removes it where value is nil, if the store has still that revision; else it
	// returns log.ErrChanged.
	SwapWhole(ctx context.Context, key string, value []byte, after uint64) error
}

// A User is a local one as it is kept.
type User struct {
	Name string `json:"name"`
	auth.Grant
	Hash     string    `json:"hash"`
	TOTP     string    `json:"totp,omitempty"` // secret, base32; in the bucket only where nothing seals
	Sealed   []byte    `json:"totp_sealed,omitempty"`
	Disabled bool      `json:"disabled,omitempty"`
	Mark     string    `json:"mark"` // another one ends the sessions
	Changed  time.Time `json:"changed"`
}

// A Token is one as it is kept.
type Token struct {
	Name string `json:"name"`
	auth.Grant
	Digest  string    `json:"digest"` // SHA-256, hexadecimal
	Created time.Time `json:"created"`
}

// Config is how a Book behaves. Zero durations take the defaults.
type Config struct {
	// Accounts and Sessions are buckets of their own.
	Accounts SerialStore
	Sessions Store
	// Guesses is where the processes count wrong passwords together; nil: each counts its own.
	Guesses logins.Store
	// Seal keeps second factors from whoever reads the bucket; nil: they lie there as they are.
	Seal Sealer
	// File are tokens of a file; nil: none.
	File auth.Authenticator
	// Required lets nobody in without credentials, though there may be no users yet.
	Required bool
	// Idle is how long a session lasts that nobody uses, default 1 h, and Longest how long any does,
	// default 12 h.
	Idle, Longest time.Duration
	Log           *slog.Logger
}

// A Book is all who are let in. It is safe for concurrent use.
type Book struct {
	cfg      Config
	throttle logins.Throttle
	decoy    func() string // a hash that no password has
	writing  sync.Mutex    // of accounts

	mu       sync.RWMutex
	users    map[string]User
	tokens   map[string]Token  // by name
	digests  map[string]string // name of the token
	broken   map[string]bool   // keys of accounts that cannot be read: they are somebody's
	used     map[string]time.Time
	sessions map[string]*session
}

// New makes a Book. It knows of nobody until Run.
func New(cfg Config) *Book {
	cfg.Idle, cfg.Longest = cmp.Or(cfg.Idle, time.Hour), cmp.Or(cfg.Longest, 12*time.Hour)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Book{
		cfg: cfg, users: map[string]User{}, tokens: map[string]Token{}, digests: map[string]string{}, sessions: map[string]*session{},
		broken: map[string]bool{}, throttle: logins.Throttle{Store: cfg.Guesses}, used: map[string]time.Time{},
		decoy: sync.OnceValue(func() string {
			hash, err := hashPassword(context.Background(), auth.Secret())
			if err != nil {
				panic("BUG: " + err.Error())
			}
			return hash
		}),
	}
}

// Run keeps the book in step with its buckets until ctx ends, calls ready once it holds what they held,
// and lets go of sessions that have ended.
func (b *Book) Run(ctx context.Context, ready func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b.decoy()
	var wg sync.WaitGroup
	defer wg.Wait()
	synced, fail := make(chan struct{}, 2), make(chan error, 2)
	follow := func(store Store, change func(string, []byte), known func() []string) {
		told, whole := map[string]bool{}, false
		wg.Go(func() {
			fail <- store.Watch(ctx, func(key string, value []byte) {
				if !whole {
					told[key] = true
				}
				change(key, value)
			}, func() {
				// What went while nobody watched is not told.
				for _, key := range known() {
					if !told[key] {
						change(key, nil)
					}
				}
				told, whole = nil, true
				synced <- struct{}{}
			})
		})
	}
	follow(b.cfg.Accounts, b.account, b.accountKeys)
	follow(b.cfg.Sessions, b.session, b.sessionKeys)
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	var ticks <-chan time.Time
	waiting := 2
	for {
		select {
		case err := <-fail:
			return err
		case <-synced:
			if waiting--; waiting == 0 {
				if err := b.sealOld(ctx); err != nil {
					return err
				}
				ready()
				ticks = tick.C // before, sessions would seem to be nobody's
			}
		case now := <-ticks:
			b.sweep(ctx, now)
		}
	}
}

const (
	userKey  = "user/"
	tokenKey = "token/"
)

func (b *Book) accountKeys() []string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	var keys []string
	for name := range b.users {
		keys = append(keys, userKey+name)
	}
	for name := range b.tokens {
		keys = append(keys, tokenKey+name)
	}
	for key := range b.broken {
		keys = append(keys, key)
	}
	return keys
}

func (b *Book) sessionKeys() []string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.Collect(maps.Keys(b.sessions))
}

// account takes an entry of the bucket of accounts, value nil for one that is gone.
func (b *Book) account(key string, value []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	name, isUser := strings.CutPrefix(key, userKey)
	if isUser {
		delete(b.users, name)
	} else if name, _ = strings.CutPrefix(key, tokenKey); true {
		delete(b.digests, b.tokens[name].Digest)
		delete(b.tokens, name)
	}
	delete(b.broken, key)
	if value == nil {
		return
	}
	var err error
	if isUser {
		var u User
		if u, err = b.readUser(value); err == nil {
			b.users[name] = u
		}
	} else {
		var t Token
		if err = json.Unmarshal(value, &t); err == nil {
			b.tokens[name], b.digests[t.Digest] = t, name
		}
	}
	if err != nil { // whoever it was is not let in, and the door is not open to all for that
		b.broken[key] = true
		b.cfg.Log.Error("an account cannot be read", "key", key, "error", err)
	}
}

// Closed reports whether one must say who one is.
func (b *Book) Closed() bool {
	if b.cfg.Required || b.cfg.File != nil {
		return true
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	return len(b.users)+len(b.tokens)+len(b.broken) > 0
}

// HasUsers reports whether there are users who could log in.
func (b *Book) HasUsers() bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return len(b.users) > 0
}

// Authenticate implements auth.Authenticator: by token, else by session.
func (b *Book) Authenticate(r *http.Request) (auth.Principal, bool) {
	if claimed, token, ok := auth.Presented(r); ok {
		if b.cfg.File != nil {
			if p, ok := b.cfg.File.Authenticate(r); ok {
				return p, true
			}
		}
		return b.byToken(claimed, token)
	}
	if secret := sessionOf(r); secret != "" {
		if p, ok := b.bySession(secret, time.Now()); ok {
			return p, true
		}
	}
	if !b.Closed() {
		return auth.Open, true
	}
	return auth.Principal{}, false
}

// byToken looks a token up by its hash: what the time of that tells is of no use to anybody.
func (b *Book) byToken(claimed, token string) (auth.Principal, bool) {
	digest := hex.EncodeToString(auth.Digest(token))
	b.mu.RLock()
	defer b.mu.RUnlock()
	name, ok := b.digests[digest]
	t := b.tokens[name]
	if !ok || claimed != "" && claimed != name || !t.Valid(time.Now()) {
		return auth.Principal{}, false
	}
	return auth.Principal{Name: name, Grant: t.Grant, Via: auth.ViaToken, Token: digest}, true
}

// Still implements auth.Authenticator.
func (b *Book) Still(p *auth.Principal) bool {
	now := time.Now()
	switch {
	case !p.Valid(now):
		return false
	case p.Via == auth.Open.Via:
		return !b.Closed()
	case p.Session != "":
		b.mu.Lock()
		defer b.mu.Unlock()
		s := b.sessions[p.Session]
		if s == nil {
			return false
		}
		now, ok := b.principal(s, p.Session, now)
		if ok {
			s.used = time.Now() // an open feed is use
		}
		return ok && now.Grant.Equal(p.Grant)
	}
	if p.Token == "" {
		return b.cfg.File != nil && b.cfg.File.Still(p)
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	t, ok := b.tokens[p.Name]
	return ok && t.Digest == p.Token && t.Grant.Equal(p.Grant)
}

// Users are all local users, in order of name.
func (b *Book) Users() []User {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.SortedFunc(maps.Values(b.users), func(x, y User) int { return cmp.Compare(x.Name, y.Name) })
}

func (b *Book) user(name string) (u User, ok bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	u, ok = b.users[name]
	return u, ok
}

// Tokens are all tokens that came through the API, in order of name.
func (b *Book) Tokens() []Token {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.SortedFunc(maps.Values(b.tokens), func(x, y Token) int { return cmp.Compare(x.Name, y.Name) })
}

// CheckName reports what of a name is not acceptable.
func CheckName(name string) error {
	if name == "" || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(":/\\", r) }) {
		return fmt.Errorf("%w: name %.80q, want 1 to 64 bytes without blanks, colons and slashes", ErrInvalid, name)
	}
	return nil
}

// A Change is what becomes of a user. Password "" keeps the one there is.
type Change struct {
	auth.Grant
	Password string
	Disabled bool
	TOTP     *bool // true makes a new second factor, false takes it away, nil keeps it
}

// PutUser enters a user or changes one. It returns the address of a new second factor for an
// authenticator, otpauth://…, which is not shown again.
func (b *Book) PutUser(ctx context.Context, name string, c Change) (url string, err error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	if err := c.Check(); err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	hash := ""
	if c.Password != "" {
		if hash, err = hashPassword(ctx, c.Password); err != nil {
			return "", err
		}
	}
	err = b.alter(ctx, userKey+name, func() ([]byte, error) {
		u, old := b.user(name)
		if !old && hash == "" {
			return nil, fmt.Errorf("%w: no password, and user %s is new", ErrInvalid, name)
		}
		before := u
		u.Name, u.Grant, u.Disabled, u.Changed = name, c.Grant, c.Disabled, time.Now().UTC()
		u.Hash = cmp.Or(hash, u.Hash)
		if c.TOTP != nil {
			u.TOTP, u.Sealed = "", nil
			if *c.TOTP {
				if u.TOTP, url, err = newTOTP(name); err != nil {
					return nil, err
				}
			}
		}
		if u.Hash != before.Hash || u.TOTP != before.TOTP || u.Disabled || u.Mark == "" {
			u.Mark = auth.Secret()
		}
		if err := b.leavesAdmin(func(users map[string]User, _ map[string]Token) { users[name] = u }); err != nil {
			return nil, err
		}
		return b.keptUser(u)
	})
	if err != nil {
		return "", err
	}
	return url, nil
}

// DeleteUser removes a user and ends the sessions.
func (b *Book) DeleteUser(ctx context.Context, name string) error {
	return b.alter(ctx, userKey+name, func() ([]byte, error) {
		if _, ok := b.user(name); !ok {
			return nil, fmt.Errorf("user %.64q: %w", name, ErrNotFound)
		}
		return nil, b.leavesAdmin(func(users map[string]User, _ map[string]Token) { delete(users, name) })
	})
}

// PutToken makes a token, which is not shown again; one of that name counts no more.
func (b *Book) PutToken(ctx context.Context, name string, g auth.Grant) (string, error) {
	if err := CheckName(name); err != nil {
		return "", err
	}
	if err := g.Check(); err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	secret := auth.Secret()
	t := Token{Name: name, Grant: g, Digest: hex.EncodeToString(auth.Digest(secret)), Created: time.Now().UTC()}
	err := b.alter(ctx, tokenKey+name, func() ([]byte, error) {
		if err := b.leavesAdmin(func(_ map[string]User, tokens map[string]Token) { tokens[name] = t }); err != nil {
			return nil, err
		}
		return json.Marshal(t)
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

// DeleteToken removes a token.
func (b *Book) DeleteToken(ctx context.Context, name string) error {
	return b.alter(ctx, tokenKey+name, func() ([]byte, error) {
		b.mu.RLock()
		_, ok := b.tokens[name]
		b.mu.RUnlock()
		if !ok {
			return nil, fmt.Errorf("token %.64q: %w", name, ErrNotFound)
		}
		return nil, b.leavesAdmin(func(_ map[string]User, tokens map[string]Token) { delete(tokens, name) })
	})
}

// leavesAdmin refuses a change after which nobody could let anybody in, or everybody were let in.
func (b *Book) leavesAdmin(change func(map[string]User, map[string]Token)) error {
	b.mu.RLock()
	users, tokens := maps.Clone(b.users), maps.Clone(b.tokens)
	b.mu.RUnlock()
	change(users, tokens)
	if b.cfg.File != nil {
		return nil
	}
	for _, u := range users {
		if u.Role == auth.Admin && !u.Disabled && u.Expires.IsZero() {
			return nil
		}
	}
	for _, t := range tokens {
		if t.Role == auth.Admin && t.Expires.IsZero() {
			return nil
		}
	}
	return fmt.Errorf("%w: it would leave no admin without an end, and nobody could let anybody in", ErrConflict)
}

// alterTries bounds how often a change is made anew because somebody else changed an account at that moment.
const alterTries = 20

// alter makes an entry of the accounts what decide says, nil to remove it, and returns once it counts here. decide
// is asked with all known that any process has changed before; if one changes an account while it decides, it is
// asked again. So two processes cannot take away one of the last two admins each.
func (b *Book) alter(ctx context.Context, key string, decide func() ([]byte, error)) error {
	b.writing.Lock()
	defer b.writing.Unlock()
	for range alterTries {
		known, err := b.cfg.Accounts.Known(ctx)
		if err != nil {
			return fmt.Errorf("accounts: %w", err)
		}
		value, err := decide()
		if err != nil {
			return err
		}
		err = b.cfg.Accounts.SwapWhole(ctx, key, value, known)
		if errors.Is(err, streamlog.ErrChanged) {
			continue
		}
		if err == nil { // not set here at once: an older change of another process could be told after it
			_, err = b.cfg.Accounts.Known(ctx)
		}
		if err != nil {
			return fmt.Errorf("accounts: %w", err)
		}
		return nil
	}
	return fmt.Errorf("%w: others change accounts all the time, try again", ErrConflict)
}

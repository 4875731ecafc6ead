package claims

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"panormus/devices"
	"panormus/devices/logins"
)

// A Store keeps entries durably and tells of every change, its own included; *log.KV is one.
type Store interface {
	Put(ctx context.Context, key string, value []byte) error
	// Create is Put where there is no such key, and reports whether it was: of several at once one wins.
	Create(ctx context.Context, key string, value []byte) (bool, error)
	Delete(ctx context.Context, key string) error
	Watch(ctx context.Context, change func(key string, value []byte), synced func()) error
}

// Registry is where devices are entered; *devices.Registry is one.
type Registry interface {
	Lookup(id string) *devices.Asset
	PutDevice(ctx context.Context, d devices.Device) error
}

// A Claim is what a code lets somebody enter.
type Claim struct {
	ID      string            `json:"id"`
	Domain  string            `json:"domain"`
	Profile string            `json:"profile,omitempty"`
	Zone    string            `json:"zone,omitempty"`
	Tags    map[string]string `json:"tags,omitempty"`
	// Device, where set, is the one that the code is for; it may be registered already and gets another secret.
	Device  string    `json:"device,omitempty"`
	Note    string    `json:"note,omitempty"`
	Created time.Time `json:"created"`
	By      string    `json:"by,omitempty"`
	Expires time.Time `json:"expires"`
}

// A Use is that a claim was redeemed.
type Use struct {
	Device string    `json:"device"`
	At     time.Time `json:"at"`
}

// Bounds.
const (
	MaxAtOnce     = 1000    // codes that are made in one go
	MaxClaims     = 100_000 // that are kept
	DefaultExpiry = 30 * 24 * time.Hour
	MaxExpiry     = 366 * 24 * time.Hour
	kept          = 90 * 24 * time.Hour // of those that are over
	sweepEvery    = time.Hour
	freely        = 10 // wrong codes of an address before there is a pause
)

// Why something is not done.
var (
	ErrInvalid  = errors.New("invalid")
	ErrNotFound = errors.New("no such claim")
	ErrConflict = errors.New("conflict")
	// ErrCode is all that who redeems is told of a code that is unknown, used or has run out.
	ErrCode = errors.New("the code is not known here, was used before or has run out")
)

// Wait is why a code is not looked at.
type Wait time.Duration

func (w Wait) Error() string {
	return fmt.Sprintf("too many wrong codes: wait %v", time.Duration(w).Round(time.Second))
}

// A Book is all claims. It is safe for concurrent use.
type Book struct {
	store    Store
	registry Registry
	log      *slog.Logger
	throttle logins.Throttle

	redeeming sync.Mutex
	mu        sync.RWMutex
	claims    map[string]Claim // by the hash of the code
	uses      map[string]Use   // likewise
	hashes    map[string]string
}

// New makes a Book. It knows no claims until Run.
func New(store Store, registry Registry, log *slog.Logger) *Book {
	return &Book{
		store: store, registry: registry, log: log, throttle: logins.Throttle{Free: freely},
		claims: map[string]Claim{}, uses: map[string]Use{}, hashes: map[string]string{},
	}
}

// Keys of the store, before the hash of the code.
const (
	claimKey = "c:"
	useKey   = "u:"
)

// Run keeps the book in step with its store until ctx ends, calls ready once it holds what that held, and
// forgets claims that have long been over.
func (b *Book) Run(ctx context.Context, ready func()) error {
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		tick := time.NewTicker(sweepEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				b.sweep(ctx)
			}
		}
	})
	return b.store.Watch(ctx, b.change, ready)
}

func (b *Book) change(key string, value []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if hash, ok := strings.CutPrefix(key, claimKey); ok {
		var c Claim
		if value == nil {
			delete(b.hashes, b.claims[hash].ID)
			delete(b.claims, hash)
		} else if err := json.Unmarshal(value, &c); err != nil {
			b.log.Error("unreadable claim", "error", err)
		} else {
			b.claims[hash], b.hashes[c.ID] = c, hash
		}
		return
	}
	hash := strings.TrimPrefix(key, useKey)
	var u Use
	if value == nil {
		delete(b.uses, hash)
	} else if err := json.Unmarshal(value, &u); err != nil {
		b.log.Error("unreadable use of a claim", "error", err)
	} else {
		b.uses[hash] = u
	}
}

// sweep forgets what was over long ago.
func (b *Book) sweep(ctx context.Context) {
	var over []string
	b.mu.RLock()
	for hash, c := range b.claims {
		if time.Since(c.Expires) > kept || !b.uses[hash].At.IsZero() && time.Since(b.uses[hash].At) > kept {
			over = append(over, hash)
		}
	}
	b.mu.RUnlock()
	for _, hash := range over {
		if err := b.forget(ctx, hash); err != nil && ctx.Err() == nil {
			b.log.Warn("forgetting a claim", "error", err)
			return
		}
	}
}

// forget removes the claim first: without one a use says nothing.
func (b *Book) forget(ctx context.Context, hash string) error {
	for _, key := range []string{claimKey + hash, useKey + hash} {
		if err := b.store.Delete(ctx, key); err != nil {
			return err
		}
		b.change(key, nil)
	}
	return nil
}

func invalid(format string, a ...any) error {
	return fmt.Errorf("%w: %w", ErrInvalid, fmt.Errorf(format, a...))
}

// check reports what of c is not acceptable, and fills in when it expires.
func (c *Claim) check(r Registry, now time.Time) error {
	probe := devices.Device{ID: cmp.Or(c.Device, "x"), Domain: c.Domain, Profile: c.Profile, Zone: c.Zone, Tags: c.Tags}
	if a := r.Lookup(c.Device); c.Device != "" && a != nil && c.Domain == "" {
		c.Domain, probe.Domain = a.Domain, a.Domain
	}
	if err := probe.Check(); err != nil {
		return invalid("%w", err)
	}
	if len(c.Note) > 500 {
		return invalid("note: %d bytes, want at most 500", len(c.Note))
	}
	if c.Expires.IsZero() {
		c.Expires = now.Add(DefaultExpiry)
	}
	if !c.Expires.After(now) || c.Expires.Sub(now) > MaxExpiry {
		return invalid("expires: %s, want a time within %d days", c.Expires.Format(time.RFC3339), int(MaxExpiry.Hours()/24))
	}
	return nil
}

// Check reports why Make would refuse count claims like c.
func (b *Book) Check(c Claim, count int) error { return b.check(&c, count, time.Now()) }

// check is Check, and fills in what c leaves out.
func (b *Book) check(c *Claim, count int, now time.Time) error {
	if count < 1 || count > MaxAtOnce {
		return invalid("count: %d, want 1 to %d", count, MaxAtOnce)
	}
	if c.Device != "" && count > 1 {
		return invalid("count: %d for one device, want 1", count)
	}
	return c.check(b.registry, now)
}

// Make enters count claims like c and returns them with their codes, which nobody is told again.
func (b *Book) Make(ctx context.Context, c Claim, count int) ([]Claim, []string, error) {
	c.Created = time.Now().UTC().Truncate(time.Millisecond)
	if err := b.check(&c, count, c.Created); err != nil {
		return nil, nil, err
	}
	b.mu.RLock()
	n := len(b.claims)
	b.mu.RUnlock()
	if n+count > MaxClaims {
		return nil, nil, fmt.Errorf("%w: %d claims are kept, want at most %d: remove some", ErrConflict, n, MaxClaims)
	}
	var made []Claim
	var codes []string
	for range count {
		code := newCode()
		hash := hashOf(code)
		c.ID = hash[:16]
		value, err := json.Marshal(c)
		if err != nil {
			return made, codes, fmt.Errorf("encode a claim: %w", err)
		}
		if err := b.store.Put(ctx, claimKey+hash, value); err != nil {
			return made, codes, err
		}
		b.change(claimKey+hash, value)
		made, codes = append(made, c), append(codes, code)
	}
	return made, codes, nil
}

// All are the claims, in order of id, each with its use, if there was one.
func (b *Book) All() ([]Claim, map[string]Use) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	out, uses := make([]Claim, 0, len(b.claims)), map[string]Use{}
	for hash, c := range b.claims {
		out = append(out, c)
		if u, used := b.uses[hash]; used {
			uses[c.ID] = u
		}
	}
	slices.SortFunc(out, func(a, b Claim) int { return strings.Compare(a.ID, b.ID) })
	return out, uses
}

// Delete removes a claim; a device that came in by it stays.
func (b *Book) Delete(ctx context.Context, id string) error {
	b.mu.RLock()
	hash, ok := b.hashes[id]
	b.mu.RUnlock()
	if !ok {
		return ErrNotFound
	}
	return b.forget(ctx, hash)
}

// letters are Crockford's: none looks like another.
const letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// newCode makes a code of 100 random bits, in groups that people can read to one another.
func newCode() string {
	var random [20]byte
	_, _ = rand.Read(random[:]) // it never fails
	var b strings.Builder
	for i, r := range random {
		if i > 0 && i%5 == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(letters[r&31])
	}
	return b.String()
}

// hashOf is the SHA-256 of a code as it is meant, however it was typed; "" for what is none.
func hashOf(code string) string {
	var b strings.Builder
	for _, r := range strings.ToUpper(code) {
		switch r {
		case '-', ' ':
			continue
		case 'O':
			r = '0'
		case 'I', 'L':
			r = '1'
		}
		if !strings.ContainsRune(letters, r) || b.Len() == 20 {
			return ""
		}
		b.WriteRune(r)
	}
	if b.Len() != 20 {
		return ""
	}
	sum := sha256.Sum256([]byte(b.String()))
	return hex.EncodeToString(sum[:])
}

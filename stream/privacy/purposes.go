package privacy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Answers to the removal of a purpose's policy.
var (
	ErrNotFound = errors.New("not found")
	ErrShipped  = errors.New("the policy is a shipped one")
)

// A Bucket keeps policies durably and tells of every change; the log's KV is one.
type Bucket interface {
	Put(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error
	Watch(ctx context.Context, change func(key string, value []byte), synced func()) error
}

// Purposes are the policies in force: the shipped ones and over them those of the API, which a bucket
// keeps and every process follows. Reads take no lock.
type Purposes struct {
	bucket  Bucket
	log     *slog.Logger
	shipped map[string]Policy
	own     atomic.Pointer[map[string]Policy] // replaced whole
	version atomic.Uint64

	writing, applying sync.Mutex
}

// NewPurposes makes them; what the bucket holds is known when Run calls ready.
func NewPurposes(bucket Bucket, log *slog.Logger) *Purposes {
	p := &Purposes{bucket: bucket, log: log, shipped: map[string]Policy{}}
	for _, s := range Shipped() {
		p.shipped[s.ID] = s
	}
	p.own.Store(&map[string]Policy{})
	return p
}

// Run follows the bucket until ctx ends.
func (p *Purposes) Run(ctx context.Context, ready func()) error {
	return p.bucket.Watch(ctx, p.apply, ready)
}

// apply takes in one entry. The follower and the writers both call it; news of an older entry that
// comes after a write is mended by the news of that write.
func (p *Purposes) apply(id string, value []byte) {
	p.applying.Lock()
	defer p.applying.Unlock()
	next := maps.Clone(*p.own.Load())
	if value == nil {
		delete(next, id)
	} else {
		var policy Policy
		err := json.Unmarshal(value, &policy)
		if err == nil {
			err = policy.Check()
		}
		if err != nil || policy.ID != id {
			// The shipped or the default one counts, which allows less.
			p.log.Error("the policy of a purpose cannot be used", "purpose", id, "error", err)
			delete(next, id)
		} else {
			next[id] = policy
		}
	}
	p.own.Store(&next)
	p.version.Add(1)
}

// Policy implements Policies.
func (p *Purposes) Policy(purpose string) (Policy, bool) {
	if policy, ok := (*p.own.Load())[purpose]; ok {
		return policy, true
	}
	policy, ok := p.shipped[purpose]
	return policy, ok
}

// Version implements Policies.
func (p *Purposes) Version() uint64 { return p.version.Load() }

// Retention is how long plates of a purpose can be hashed and opened.
func (p *Purposes) Retention(purpose string) time.Duration {
	policy, ok := p.Policy(purpose)
	if !ok {
		policy = DefaultPolicy(purpose)
	}
	return time.Duration(policy.PlateRetention)
}

// All returns the policies in force, in order of id.
func (p *Purposes) All() []Policy {
	all := maps.Clone(p.shipped)
	maps.Copy(all, *p.own.Load())
	return slices.SortedFunc(maps.Values(all), func(a, b Policy) int { return strings.Compare(a.ID, b.ID) })
}

// Put enters or replaces a policy; it is in force in this process when Put returns, in others soon.
func (p *Purposes) Put(ctx context.Context, policy Policy) error {
	if err := policy.Check(); err != nil {
		return err
	}
	b, err := json.Marshal(policy)
	if err != nil {
		return fmt.Errorf("purpose %q: %w", policy.ID, err)
	}
	p.writing.Lock()
	defer p.writing.Unlock()
	if err := p.bucket.Put(ctx, policy.ID, b); err != nil {
		return err
	}
	p.apply(policy.ID, b)
	return nil
}

// Removable reports why a policy cannot be removed: ErrNotFound or ErrShipped.
func (p *Purposes) Removable(id string) error {
	if _, ok := (*p.own.Load())[id]; ok {
		return nil
	}
	if _, ok := p.shipped[id]; ok {
		return fmt.Errorf("purpose %q: %w", id, ErrShipped)
	}
	return fmt.Errorf("purpose %.100q: %w", id, ErrNotFound)
}

// Delete removes a policy that came through the API: the shipped one counts again, or the default.
func (p *Purposes) Delete(ctx context.Context, id string) error {
	p.writing.Lock()
	defer p.writing.Unlock()
	if err := p.Removable(id); err != nil {
		return err
	}
	if err := p.bucket.Delete(ctx, id); err != nil {
		return err
	}
	p.apply(id, nil)
	return nil
}

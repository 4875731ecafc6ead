// Package accountstest has what tests need of who is let in.
package accountstest

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"

	streamlog "panormus/stream/log"
)

// A Bucket is a store in memory that tells all who follow it of every change before the change returns. Several
// Books may have one, as processes share a bucket of the log. The zero value is ready.
type Bucket struct {
	mu       sync.Mutex
	held     map[string][]byte
	follows  []func(string, []byte)
	revision uint64
}

// Put implements accounts.Store.
func (b *Bucket) Put(_ context.Context, key string, value []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set(key, value)
	return nil
}

// Create implements accounts.Store.
func (b *Bucket) Create(_ context.Context, key string, value []byte) (bool, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, is := b.held[key]; is {
		return false, nil
	}
	b.set(key, value)
	return true, nil
}

// Delete implements accounts.Store.
func (b *Bucket) Delete(_ context.Context, key string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set(key, nil)
	return nil
}

// set changes key, or removes it, and tells of it; the caller holds the lock.
func (b *Bucket) set(key string, value []byte) {
	b.revision++
	if b.held == nil {
		b.held = map[string][]byte{}
	}
	if b.held[key] = value; value == nil {
		delete(b.held, key)
	}
	for _, f := range b.follows {
		f(key, value)
	}
}

// Watch implements accounts.Store.
func (b *Bucket) Watch(ctx context.Context, change func(string, []byte), synced func()) error {
	b.mu.Lock()
	for k, v := range b.held {
		change(k, v)
	}
	b.follows = append(b.follows, change)
	synced()
	b.mu.Unlock()
	<-ctx.Done()
	return nil
}

// Known implements accounts.SerialStore.
func (b *Bucket) Known(context.Context) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.revision, nil
}

// SwapWhole implements accounts.SerialStore.
func (b *Bucket) SwapWhole(_ context.Context, key string, value []byte, after uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.revision != after {
		return streamlog.ErrChanged
	}
	b.set(key, value)
	return nil
}

// Held is a copy of what there is.
func (b *Bucket) Held() map[string][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.held)
}

// Empty has everything gone, and nobody told of it.
func (b *Bucket) Empty() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.held, b.follows = nil, nil
}

// Run has a Book's Run under way until the test ends, and returns once it knows what its buckets hold.
func Run(t testing.TB, run func(ctx context.Context, ready func()) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- run(ctx, func() { close(ready) }) }()
	<-ready
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

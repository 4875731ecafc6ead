package codec

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"
)

// A Set is the codecs of the profiles. For is safe on the hot path: it takes no lock. A profile's
// codec changes by Put, also while the old one is at work.
type Set struct {
	engine *engine
	mu     sync.Mutex // of writers
	held   sync.Map   // profile id -> *entry
}

type entry struct {
	sum   [sha256.Size]byte // of the field it was made of
	codec Codec
}

// NewSet returns an empty set with a pool of script runtimes of its own.
func NewSet() *Set { return &Set{engine: newEngine()} }

// Compile makes a codec that uses the set's pool.
func (s *Set) Compile(raw json.RawMessage) (Codec, error) { return s.engine.Compile(raw) }

// For returns the codec of a profile, or nil where it has none.
func (s *Set) For(profile string) Codec {
	if e, ok := s.held.Load(profile); ok {
		return e.(*entry).codec
	}
	return nil
}

// Put sets the codec field of a profile; an empty one, or null, removes it. The same field again
// costs a comparison. Where the new one does not compile, the old one stays and the error names the
// profile.
func (s *Set) Put(profile string, raw json.RawMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, _ := s.held.Load(profile)
	if len(raw) == 0 || string(raw) == "null" || string(raw) == `""` {
		s.held.Delete(profile)
		s.release(old)
		return nil
	}
	sum := sha256.Sum256(raw)
	if old != nil && old.(*entry).sum == sum {
		return nil
	}
	c, err := s.engine.Compile(raw)
	if err != nil {
		return fmt.Errorf("profile %q: %w", profile, err)
	}
	s.held.Store(profile, &entry{sum: sum, codec: c})
	s.release(old)
	return nil
}

// release forgets the script of an entry that no profile has any more.
func (s *Set) release(old any) {
	if old == nil {
		return
	}
	js, ok := old.(*entry).codec.(*jsCodec)
	if !ok {
		return
	}
	used := false
	s.held.Range(func(_, e any) bool {
		if e.(*entry).codec == Codec(js) {
			used = true
		}
		return !used
	})
	if !used {
		s.engine.forget(js)
	}
}

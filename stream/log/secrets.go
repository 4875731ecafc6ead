package log

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"
)

// A Secrets is a bucket whose entries can be erased: not only removed, but overwritten on the disk of
// an embedded server. Entries change by comparison, so that several processes agree on them. It is
// safe for concurrent use.
type Secrets struct {
	kv     KV
	stream jetstream.Stream
}

// ErrChanged is the answer where an entry is not as the caller took it to be.
var ErrChanged = errors.New("the entry was changed by another")

// secretHistory is how many revisions of an entry are held until the older ones are erased: with one
// alone the server would drop the old one by itself, which leaves its bytes on the disk.
const secretHistory = 16

// Secrets opens the bucket called name and makes it if it is missing.
func (l *Log) Secrets(ctx context.Context, name string) (*Secrets, error) {
	bucket := "panormus_" + name
	// The library's buckets deny the deletion of single messages, and that is what erases.
	s, err := l.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: "KV_" + bucket, Subjects: []string{"$KV." + bucket + ".>"}, MaxMsgsPerSubject: secretHistory, MaxMsgs: -1, MaxBytes: -1,
		MaxConsumers: -1, Storage: jetstream.FileStorage, Replicas: l.cfg.Replicas, AllowRollup: true, AllowDirect: true, Discard: jetstream.DiscardNew,
	})
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", name, err)
	}
	b, err := l.js.KeyValue(ctx, bucket)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", name, err)
	}
	return &Secrets{kv: KV{name: name, bucket: b, js: l.js}, stream: s}, nil
}

// Entry returns the value of key and its revision, which is 0 where there is none.
func (s *Secrets) Entry(ctx context.Context, key string) ([]byte, uint64, error) {
	e, err := s.kv.bucket.Get(ctx, escape(key))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("get %s from bucket %s: %w", key, s.kv.name, err)
	}
	return e.Value(), e.Revision(), nil
}

// Swap sets the value of key where its revision is still that of Entry, 0 for a key that is not there;
// else it returns ErrChanged. The older value stays on the disk until Erase.
func (s *Secrets) Swap(ctx context.Context, key string, value []byte, revision uint64) error {
	var err error
	if revision == 0 {
		_, err = s.kv.bucket.Create(ctx, escape(key), value)
	} else {
		_, err = s.kv.bucket.Update(ctx, escape(key), value, revision)
	}
	if otherSequence(err) {
		return ErrChanged
	}
	if err != nil {
		return fmt.Errorf("put %s in bucket %s: %w", key, s.kv.name, err)
	}
	return nil
}

// Watch is that of KV.
func (s *Secrets) Watch(ctx context.Context, change func(key string, value []byte), synced func()) error {
	return s.kv.Watch(ctx, change, synced)
}

// Erase overwrites and removes all values that key had before its newest.
func (s *Secrets) Erase(ctx context.Context, key string) error {
	all, err := s.kv.bucket.History(ctx, escape(key))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list revisions of %s in bucket %s: %w", key, s.kv.name, err)
	}
	for _, e := range all[:len(all)-1] {
		err := s.stream.SecureDeleteMsg(ctx, e.Revision())
		if err == nil {
			continue
		}
		if _, gone := s.stream.GetMsg(ctx, e.Revision()); errors.Is(gone, jetstream.ErrMsgNotFound) {
			continue // another process was faster
		}
		return fmt.Errorf("erase revision %d of %s in bucket %s: %w", e.Revision(), key, s.kv.name, err)
	}
	return nil
}

// otherSequence reports whether the server refused to write because something was written meanwhile.
func otherSequence(err error) bool {
	e, ok := errors.AsType[jetstream.JetStreamError](err)
	if !ok || e.APIError() == nil {
		return false
	}
	code := e.APIError().ErrorCode
	return code == jetstream.JSErrCodeStreamWrongLastSequence || code == jetstream.JSErrCodeStreamWrongLastSequenceConstant
}

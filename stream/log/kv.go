package log

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"panormus/stream/batch"
)

// KV is a small, durable, watchable bucket of the log's server. It is safe for concurrent use.
type KV struct {
	name   string
	bucket jetstream.KeyValue
	js     jetstream.JetStream
	log    *Log
	told   atomic.Uint64 // revision up to which whoever watches knows all
}

// KV opens the bucket called name and makes it if it is missing.
func (l *Log) KV(ctx context.Context, name string) (*KV, error) {
	return l.kv(ctx, name, jetstream.KeyValueConfig{Storage: jetstream.FileStorage})
}

// passingBytes bounds a bucket of PassingKV.
const passingBytes = 64 << 20

// PassingKV opens a bucket in memory whose entries go once nobody has written them for a while. One that is full,
// at 64 MiB, takes nothing more until some went.
func (l *Log) PassingKV(ctx context.Context, name string, kept time.Duration) (*KV, error) {
	return l.kv(ctx, name, jetstream.KeyValueConfig{Storage: jetstream.MemoryStorage, TTL: kept, MaxBytes: passingBytes})
}

func (l *Log) kv(ctx context.Context, name string, cfg jetstream.KeyValueConfig) (*KV, error) {
	cfg.Bucket, cfg.History, cfg.Replicas = "panormus_"+name, 1, l.cfg.Replicas
	b, err := l.js.CreateOrUpdateKeyValue(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", name, err)
	}
	return &KV{name: name, bucket: b, js: l.js, log: l}, nil
}

// MaxValue is the largest value, in bytes, that the bucket takes now: it hangs on the server that the log is at.
func (k *KV) MaxValue() int { return k.log.MaxBatch() }

// answerTime is how long an answer of the server is waited for, whatever more time there is: one that was asked just when
// it was killed never gives any, and the next attempt finds the one that is there then.
const answerTime = 15 * time.Second

// answered bounds a request; without a deadline the client's library bounds it.
func (l *Log) answered(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, bound := ctx.Deadline(); !bound {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, l.answerTime)
}

// Get returns the value of key, and false if there is none.
func (k *KV) Get(ctx context.Context, key string) ([]byte, bool, error) {
	ctx, cancel := k.log.answered(ctx)
	defer cancel()
	e, err := k.bucket.Get(ctx, escape(key))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("get %s from bucket %s: %w", key, k.name, err)
	}
	return e.Value(), true, nil
}

// Put sets the value of key; see Unchanged.
func (k *KV) Put(ctx context.Context, key string, value []byte) error {
	if after, bound, err := k.since(ctx, key); err != nil {
		return err
	} else if bound {
		done, err := k.Swap(ctx, key, value, after)
		if err == nil && !done {
			err = ErrChanged
		}
		return err
	}
	if err := k.fits(key, value); err != nil {
		return err
	}
	ctx, cancel := k.log.answered(ctx)
	defer cancel()
	if _, err := k.bucket.Put(ctx, escape(key), value); err != nil {
		return fmt.Errorf("put %s in bucket %s: %w", key, k.name, err)
	}
	return nil
}

// fits reports why a value is too large for the log's server, which would say so in words of its own.
func (k *KV) fits(key string, value []byte) error {
	if most := k.log.MaxBatch(); len(value) > most {
		return fmt.Errorf("put %s in bucket %s: %d bytes, want at most %d%s", key, k.name, len(value), most, k.log.hint())
	}
	return nil
}

// Create sets the value of key where there is none, and reports whether it did: of several that do so at
// once, in whatever process, one does.
func (k *KV) Create(ctx context.Context, key string, value []byte) (bool, error) {
	if err := k.fits(key, value); err != nil {
		return false, err
	}
	ctx, cancel := k.log.answered(ctx)
	defer cancel()
	_, err := k.bucket.Create(ctx, escape(key), value)
	if errors.Is(err, jetstream.ErrKeyExists) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("create %s in bucket %s: %w", key, k.name, err)
	}
	return true, nil
}

// Delete removes key; removing none is no error. See Unchanged.
func (k *KV) Delete(ctx context.Context, key string) error {
	if after, bound, err := k.since(ctx, key); err != nil {
		return err
	} else if bound {
		return k.Remove(ctx, key, after)
	}
	ctx, cancel := k.log.answered(ctx)
	defer cancel()
	if err := k.bucket.Purge(ctx, escape(key)); err != nil {
		return fmt.Errorf("delete %s from bucket %s: %w", key, k.name, err)
	}
	return nil
}

// Watch tells of every entry held, then calls synced, then tells of every change, value nil for a
// removed key. It blocks until ctx ends.
func (k *KV) Watch(ctx context.Context, change func(key string, value []byte), synced func()) error {
	return k.WatchEntries(ctx, func(e Entry) { change(e.Key, e.Value) }, synced)
}

// escape writes key in the letters that NATS allows in one: all others become =XX.
func escape(key string) string {
	var b strings.Builder
	for i := range len(key) {
		c := key[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' {
			b.WriteByte(c)
		} else {
			b.WriteByte('=')
			b.WriteString(hex.EncodeToString([]byte{c}))
		}
	}
	return b.String()
}

func unescape(key string) string {
	var b strings.Builder
	for i := 0; i < len(key); i++ {
		if key[i] == '=' && i+2 < len(key) {
			if c, err := hex.DecodeString(key[i+1 : i+3]); err == nil {
				b.WriteByte(c[0])
				i += 2
				continue
			}
		}
		b.WriteByte(key[i])
	}
	return b.String()
}

// A Position is how far a consumer is in a stream.
type Position struct {
	// Seq is the last sequence whose effects are durable.
	Seq uint64 `json:"seq"`
	// Until, where above Seq, is the end of the group (Seq, Until] that the consumer had begun to
	// apply: it must be applied again with exactly these bounds.
	Until uint64 `json:"until,omitempty"`
}

func positionKey(consumer string, kind batch.Kind) string { return string(kind) + "/" + consumer }

// Position returns where consumer is in the stream of kind; the zero Position if nowhere yet.
func (l *Log) Position(ctx context.Context, consumer string, kind batch.Kind) (Position, error) {
	b, ok, err := l.pos.Get(ctx, positionKey(consumer, kind))
	if err != nil || !ok {
		return Position{}, err
	}
	var p Position
	if err := json.Unmarshal(b, &p); err != nil {
		return Position{}, fmt.Errorf("position of %s in %s: %w", consumer, kind, err)
	}
	return p, nil
}

// SetPosition records where consumer is. What lies at or below the lowest Seq of all consumers of
// the stream may be purged.
func (l *Log) SetPosition(ctx context.Context, consumer string, kind batch.Kind, p Position) error {
	b, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("position of %s in %s: %w", consumer, kind, err)
	}
	return l.pos.Put(ctx, positionKey(consumer, kind), b)
}

// DropPosition forgets where consumer is in the stream of kind: nothing is kept for it any more.
func (l *Log) DropPosition(ctx context.Context, consumer string, kind batch.Kind) error {
	if _, ok, err := l.pos.Get(ctx, positionKey(consumer, kind)); err != nil || !ok {
		return err
	}
	return l.pos.Delete(ctx, positionKey(consumer, kind))
}

// positions returns every recorded position of kind, by consumer.
func (l *Log) positions(ctx context.Context, kind batch.Kind) (map[string]Position, error) {
	keys, err := l.pos.bucket.ListKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("list positions: %w", err)
	}
	defer keys.Stop()
	out := map[string]Position{}
	for key := range keys.Keys() {
		consumer, ok := strings.CutPrefix(unescape(key), string(kind)+"/")
		if !ok {
			continue
		}
		if out[consumer], err = l.Position(ctx, consumer, kind); err != nil {
			return nil, err
		}
	}
	return out, nil
}

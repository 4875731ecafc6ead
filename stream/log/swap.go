package log

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// An Entry is what a bucket holds under a key. Revisions grow over the whole bucket with every change.
type Entry struct {
	Key      string
	Value    []byte // nil for a removed key
	Revision uint64 // 0 for a key that never was
}

// A Swap is a change of one key that is made only where the key's revision is still After.
type Swap struct {
	Key   string
	Value []byte
	After uint64
	// Revision is the new one, once SwapAll has made the change.
	Revision uint64
	// Err is why it was not made, ErrChanged where another was faster. Any other error leaves open
	// whether it was.
	Err error
}

// swapsInFlight bounds what SwapAll has under way.
const swapsInFlight = 1024

// operation is the header in which a bucket says that a key was removed.
const operation = "KV-Operation"

func (k *KV) subject(key string) string { return "$KV." + k.bucket.Bucket() + "." + escape(key) }

// Entry returns what is held under key: also of a removed one, whose revision a Swap that sets it again
// has to name.
func (k *KV) Entry(ctx context.Context, key string) (Entry, error) {
	ctx, cancel := k.log.answered(ctx)
	defer cancel()
	s, err := k.stream(ctx)
	if err != nil {
		return Entry{}, err
	}
	m, err := s.GetLastMsgForSubject(ctx, k.subject(key))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Entry{Key: key}, nil
	}
	if err != nil {
		return Entry{}, fmt.Errorf("get %s from bucket %s: %w", key, k.name, err)
	}
	e := Entry{Key: key, Revision: m.Sequence}
	if m.Header.Get(operation) == "" {
		e.Value = m.Data
	}
	return e, nil
}

// Held is Entry for those who know of values and revisions alone.
func (k *KV) Held(ctx context.Context, key string) (value []byte, revision uint64, err error) {
	e, err := k.Entry(ctx, key)
	return e.Value, e.Revision, err
}

// Swap sets key where its revision is still after, and reports whether it was.
func (k *KV) Swap(ctx context.Context, key string, value []byte, after uint64) (bool, error) {
	if err := k.fits(key, value); err != nil {
		return false, err
	}
	ctx, cancel := k.log.answered(ctx)
	defer cancel()
	_, err := k.bucket.Update(ctx, escape(key), value, after)
	switch {
	case err == nil:
		return true, nil
	case otherSequence(err):
		return false, nil
	}
	return false, fmt.Errorf("put %s in bucket %s: %w", key, k.name, err)
}

// SwapAll makes every one of the changes, in flight together, and says in each what came of it.
func (k *KV) SwapAll(ctx context.Context, swaps []Swap) {
	futures := make([]jetstream.PubAckFuture, len(swaps))
	done := 0
	settle := func() {
		s, f := &swaps[done], futures[done]
		done++
		if f == nil {
			return
		}
		select {
		case ack := <-f.Ok():
			s.Revision = ack.Sequence
		case err := <-f.Err():
			s.Err = k.swapError(s.Key, err)
		case <-ctx.Done():
			s.Err = k.swapError(s.Key, ctx.Err())
		}
	}
	for i := range swaps {
		s := &swaps[i]
		s.Revision, s.Err = 0, k.fits(s.Key, s.Value)
		if s.Err != nil {
			continue
		}
		f, err := k.js.PublishMsgAsync(&nats.Msg{Subject: k.subject(s.Key), Data: s.Value}, jetstream.WithExpectLastSequencePerSubject(s.After))
		if err != nil {
			s.Err = k.swapError(s.Key, err)
		}
		futures[i] = f
		for i-done >= swapsInFlight {
			settle()
		}
	}
	for done < len(swaps) {
		settle()
	}
}

// Remove deletes key where its revision is still after, else it returns ErrChanged.
func (k *KV) Remove(ctx context.Context, key string, after uint64) error {
	err := k.bucket.Purge(ctx, escape(key), jetstream.LastRevision(after))
	if err != nil {
		return k.swapError(key, err)
	}
	return nil
}

// Drop removes key as if it had never been: those who watch are not told, and no revision of it is left.
func (k *KV) Drop(ctx context.Context, key string) error {
	s, err := k.stream(ctx)
	if err != nil {
		return err
	}
	if err := s.Purge(ctx, jetstream.WithPurgeSubject(k.subject(key))); err != nil {
		return fmt.Errorf("drop %s from bucket %s: %w", key, k.name, err)
	}
	return nil
}

func (k *KV) swapError(key string, err error) error {
	if otherSequence(err) {
		return ErrChanged
	}
	return fmt.Errorf("put %s in bucket %s: %w", key, k.name, err)
}

func (k *KV) stream(ctx context.Context) (jetstream.Stream, error) {
	s, err := k.js.Stream(ctx, "KV_"+k.bucket.Bucket())
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", k.name, err)
	}
	return s, nil
}

// WatchEntries is Watch that tells revisions, too: in their order, so that once it told one all before
// are told, but for those that a later one of the same key replaced meanwhile.
func (k *KV) WatchEntries(ctx context.Context, change func(Entry), synced func()) error {
	w, err := k.bucket.WatchAll(ctx)
	if err != nil {
		return fmt.Errorf("watch bucket %s: %w", k.name, err)
	}
	defer w.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-w.Updates():
			switch {
			case !ok && ctx.Err() != nil: // the watcher ends with ctx, and may be seen to do so first
				return ctx.Err()
			case !ok:
				return fmt.Errorf("watch bucket %s: ended", k.name)
			case e == nil:
				synced()
			case e.Operation() == jetstream.KeyValuePut:
				change(Entry{Key: unescape(e.Key()), Value: e.Value(), Revision: e.Revision()})
				k.told.Store(e.Revision())
			default:
				change(Entry{Key: unescape(e.Key()), Revision: e.Revision()})
				k.told.Store(e.Revision())
			}
		}
	}
}

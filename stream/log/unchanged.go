package log

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// sinceKey is a context's value: the revision of a bucket that its changes go by.
type sinceKey struct{ bucket string }

// Bounds of waiting until a bucket's changes are told here.
const (
	tellTime = 5 * time.Second
	tellLook = time.Millisecond
)

// Unchanged waits until all that the bucket holds now is told to whoever watches this KV, and returns a context with
// which Put and Delete change what nobody has changed since, in whatever process, and else return ErrChanged.
// So whoever looks in between at what was told decides by what is there.
func (k *KV) Unchanged(ctx context.Context) (context.Context, error) {
	last, err := k.Known(ctx)
	if err != nil {
		return nil, err
	}
	return context.WithValue(ctx, sinceKey{k.name}, last), nil
}

// Known waits until all that the bucket holds now is told to whoever watches this KV, and returns the bucket's
// revision: that of its newest change.
func (k *KV) Known(ctx context.Context) (revision uint64, err error) {
	s, err := k.stream(ctx)
	if err != nil {
		return 0, err
	}
	info, err := s.Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("look at bucket %s: %w", k.name, err)
	}
	last := info.State.LastSeq
	look := time.NewTicker(tellLook)
	defer look.Stop()
	for end := time.Now().Add(tellTime); k.told.Load() < last; {
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case now := <-look.C:
			if now.After(end) {
				return 0, fmt.Errorf("bucket %s: %d changes are not known here after %v", k.name, last-k.told.Load(), tellTime)
			}
		}
	}
	return last, nil
}

// SwapWhole sets key, or removes it where value is nil, where nobody has changed any key of the bucket since it had
// the revision that Known told, in whatever process; else it returns ErrChanged. It is for changes whose being right
// depends on other entries, and for buckets that seldom change.
func (k *KV) SwapWhole(ctx context.Context, key string, value []byte, after uint64) error {
	if err := k.fits(key, value); err != nil {
		return err
	}
	m := &nats.Msg{Subject: k.subject(key), Data: value, Header: nats.Header{}}
	if value == nil { // as the client library removes a key
		m.Header.Set(operation, "PURGE")
		m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	}
	if _, err := k.js.PublishMsg(ctx, m, jetstream.WithExpectLastSequence(after)); err != nil {
		return k.swapError(key, err)
	}
	return nil
}

// since is the revision of key that a change with ctx has to find, and false where any will do. ErrChanged
// says that there is a newer one already.
func (k *KV) since(ctx context.Context, key string) (revision uint64, bound bool, err error) {
	last, bound := ctx.Value(sinceKey{k.name}).(uint64)
	if !bound {
		return 0, false, nil
	}
	e, err := k.Entry(ctx, key)
	if err == nil && e.Revision > last {
		err = ErrChanged
	}
	return e.Revision, true, err
}

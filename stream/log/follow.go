package log

import (
	"context"
	"time"
)

// Ahead reads on beside what is done with the messages, n ahead at most, until ctx ends, stop is called or
// reading fails; that comes once from failed. stop waits for the last read and leaves the reader open. The
// end of ctx may come from failed before a context made of ctx tells of it: ask ctx itself.
func (r *Reader) Ahead(ctx context.Context, n int) (messages <-chan Message, failed <-chan error, stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	read, fail, done := make(chan Message, n), make(chan error, 1), make(chan struct{})
	go func() {
		defer close(done)
		for {
			m, err := r.Next(ctx)
			if err != nil {
				fail <- err
				return
			}
			select {
			case read <- m:
			case <-ctx.Done():
				fail <- ctx.Err()
				return
			}
		}
	}()
	return read, fail, func() { cancel(); <-done }
}

// Collect adds to first what waits behind it, up to most messages and until there are bytes of them.
func Collect[M any](first M, messages <-chan M, most, bytes int, size func(M) int) []M {
	all, held := []M{first}, size(first)
	for len(all) < most && held < bytes {
		select {
		case m := <-messages:
			all, held = append(all, m), held+size(m)
		default:
			return all
		}
	}
	return all
}

// Size is how many bytes a message has, for Collect.
func (m Message) Size() int { return len(m.Data) }

// WithGrace is a context that ends some time after ctx does: for work in hand.
func WithGrace(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(grace, cancel) })
	return out, func() { stop(); cancel() }
}

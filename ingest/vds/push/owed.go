package push

import (
	"io"
	"sync/atomic"
)

// owed counts what the log has of a request; it is the ingest.Acker of its sessions.
type owed struct {
	issued int // by the request's goroutine
	acked  atomic.Int64
	news   chan struct{}
}

// Ack implements ingest.Acker.
func (o *owed) Ack(tokens []uint64) {
	o.acked.Add(int64(len(tokens)))
	select {
	case o.news <- struct{}{}:
	default:
	}
}

func (o *owed) open() bool { return o.acked.Load() < int64(o.issued) }

// body remembers whether the request's body came to its end, rather than broke off.
type body struct {
	r     io.Reader
	ended bool
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err == io.EOF { //nolint:errorlint // the end itself, not what wraps it
		b.ended = true
	}
	return n, err
}

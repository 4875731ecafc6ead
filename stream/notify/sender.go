package notify

import (
	"context"
	"errors"
	"time"

	"panormus/stream/batch"
)

// A Sender brings messages to one receiver. One is sent at a time.
type Sender interface {
	// Send returns nil once the receiver has the message. Its errors hold no secret.
	Send(ctx context.Context, m *Message) error
	Close() error
}

// Refused wraps the answer of a receiver that will never take this message.
type Refused struct{ Err error }

func (r *Refused) Error() string { return r.Err.Error() }
func (r *Refused) Unwrap() error { return r.Err }

// Partly wraps what became of some of a receiver's addresses, where the others have the message.
type Partly struct{ Err error }

func (p *Partly) Error() string { return p.Err.Error() }
func (p *Partly) Unwrap() error { return p.Err }

// Later wraps the answer of a receiver that says how long it wants to be left alone.
type Later struct {
	Err   error
	Pause time.Duration
}

func (l *Later) Error() string { return l.Err.Error() }
func (l *Later) Unwrap() error { return l.Err }

// arrived reports whether the receiver has the message, perhaps not at all of its addresses.
func arrived(err error) bool {
	_, partly := errors.AsType[*Partly](err)
	return err == nil || partly
}

// A Suppressor knows which alarms nobody is to be told of now: shelved and suppressed ones, say. It is asked when a message is formed and must answer at once.
type Suppressor interface {
	Suppressed(e batch.Event) bool
}

// An Escalations knows which alarms grew graver because nobody acknowledged them: who is told of such severities is
// to hear of them.
type Escalations interface {
	// Escalated returns them as updates of their severity, and false where it does not know yet what the events up to
	// a sequence came to. An alarm's has one id for as long as it stands so.
	Escalated(seq uint64) ([]batch.Event, bool)
}

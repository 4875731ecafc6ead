package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// A DeadLetter is a message that did not arrive in its time.
type DeadLetter struct {
	ID       string   `json:"id"` // the receiver and the message's id
	Receiver string   `json:"receiver"`
	Died     Time     `json:"died"`
	Attempts int      `json:"attempts"`
	Error    string   `json:"error"` // of the last attempt
	Replay   bool     `json:"replay,omitempty"`
	Message  *Message `json:"message"`
}

// maxDead bounds the dead letters of one receiver; the oldest goes for a new one, and is counted.
const maxDead = 1000

// DeadLetters are those kept. A bucket holds them and every process follows it. It is safe for concurrent
// use.
type DeadLetters struct {
	bucket Bucket
	log    *slog.Logger

	mu      sync.Mutex
	letters map[string]*DeadLetter // never changed, only replaced
	wake    map[string]chan struct{}
}

// NewDeadLetters makes them; what the bucket holds is known when Run calls ready.
func NewDeadLetters(bucket Bucket, log *slog.Logger) *DeadLetters {
	return &DeadLetters{bucket: bucket, log: log, letters: map[string]*DeadLetter{}, wake: map[string]chan struct{}{}}
}

// Run follows the bucket until ctx ends.
func (d *DeadLetters) Run(ctx context.Context, ready func()) error {
	return d.bucket.Watch(ctx, d.apply, ready)
}

func (d *DeadLetters) apply(id string, value []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if value == nil {
		delete(d.letters, id)
		return
	}
	l := &DeadLetter{}
	if err := json.Unmarshal(value, l); err != nil || l.Message == nil || len(l.Message.Alarms) == 0 {
		d.log.Error("a dead letter cannot be read", "id", id, "error", err)
		return
	}
	l.Message.group = groupKey(l.Message.Route, l.Message.Group)
	d.letters[id] = l
	if l.Replay {
		select {
		case d.waker(l.Receiver) <- struct{}{}:
		default:
		}
	}
}

// waker is told when a letter of the receiver is to be replayed. Call it with mu held.
func (d *DeadLetters) waker(receiver string) chan struct{} {
	if d.wake[receiver] == nil {
		d.wake[receiver] = make(chan struct{}, 1)
	}
	return d.wake[receiver]
}

func (d *DeadLetters) replays(receiver string) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.waker(receiver)
}

// All returns the letters of a receiver, or of all where it is empty, oldest first.
func (d *DeadLetters) All(receiver string) []*DeadLetter {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := []*DeadLetter{}
	for _, l := range d.letters {
		if receiver == "" || l.Receiver == receiver {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b *DeadLetter) int {
		if c := a.Died.Compare(b.Died.Time); c != 0 {
			return c
		}
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return out
}

// bury keeps a message that did not arrive, and reports how many older ones went for it.
func (d *DeadLetters) bury(ctx context.Context, p *parcel, now time.Time, cause string) (int, error) {
	m := p.Message
	l := &DeadLetter{ID: m.Receiver + "." + m.ID, Receiver: m.Receiver, Died: Time{now}, Attempts: p.Attempts, Error: cause, Message: m}
	if err := d.put(ctx, l); err != nil {
		return 0, err
	}
	all := d.All(m.Receiver)
	gone := 0
	for _, old := range all[:max(0, len(all)-maxDead)] {
		if err := d.remove(ctx, old.ID); err != nil {
			return gone, err
		}
		gone++
	}
	return gone, nil
}

func (d *DeadLetters) put(ctx context.Context, l *DeadLetter) error {
	b, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("dead letter %s: %w", l.ID, err)
	}
	if err := d.bucket.Put(ctx, l.ID, b); err != nil {
		return &storeError{err}
	}
	d.apply(l.ID, b)
	return nil
}

func (d *DeadLetters) remove(ctx context.Context, id string) error {
	if err := d.bucket.Delete(ctx, id); err != nil {
		return &storeError{err}
	}
	d.apply(id, nil)
	return nil
}

func (d *DeadLetters) letter(id string) (*DeadLetter, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.letters[id]; l != nil {
		return l, nil
	}
	return nil, fmt.Errorf("dead letter %.200q: %w", id, ErrNotFound)
}

// Replay has a letter sent again, by the process that sends to its receiver.
func (d *DeadLetters) Replay(ctx context.Context, id string) (*DeadLetter, error) {
	l, err := d.letter(id)
	if err != nil {
		return nil, err
	}
	again := *l
	again.Replay = true
	return &again, d.put(ctx, &again)
}

// Discard removes a letter.
func (d *DeadLetters) Discard(ctx context.Context, id string) error {
	if _, err := d.letter(id); err != nil {
		return err
	}
	return d.remove(ctx, id)
}

package notify

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// sentNote is kept beside the state, which may be large: which of its messages went since it was kept. It counts for the
// state of its round alone.
type sentNote struct {
	Round uint64   `json:"round"`
	IDs   []string `json:"ids"`
}

// restore goes on where the queue was, or begins with the next event.
func (r *run) restore(ctx context.Context) error {
	b, ok, err := r.states.Get(ctx, r.name)
	if err != nil {
		return err
	}
	if ok {
		if err = r.t.restore(b); err == nil {
			return r.recall(ctx)
		}
		r.log.Error("the state of a receiver cannot be read; it begins with the next event", "receiver", r.name, "error", err)
	}
	// Nobody wants to be told of what happened before there was a receiver.
	if r.t.Seq, err = r.events.Last(ctx); err != nil {
		return err
	}
	return r.keep(ctx)
}

// recall takes out the messages that went after the state was kept.
func (r *run) recall(ctx context.Context) error {
	b, ok, err := r.notes.Get(ctx, r.name)
	if err != nil || !ok {
		return err
	}
	var note sentNote
	if err := json.Unmarshal(b, &note); err != nil {
		r.log.Error("which messages went last cannot be read; they go again", "receiver", r.name, "error", err)
		return nil
	}
	if note.Round == r.t.Round {
		r.sent = note.IDs
		r.t.Outbox = slices.DeleteFunc(r.t.Outbox, func(p *parcel) bool { return slices.Contains(note.IDs, p.Message.ID) })
	}
	return nil
}

// keep makes what happened durable.
func (r *run) keep(ctx context.Context) error {
	began := time.Now()
	r.t.Round++
	if err := r.put(ctx, r.states, &r.t.state); err != nil {
		return err
	}
	for _, p := range r.t.Outbox {
		p.kept = true
	}
	r.sent = nil
	r.dirty, r.kept = false, time.Now()
	r.pace = max(keepEvery, 10*r.kept.Sub(began))
	return r.step("kept")
}

// note makes durable that a message went, which is less than all.
func (r *run) note(ctx context.Context, m *Message) error {
	r.sent = append(r.sent, m.ID)
	if err := r.put(ctx, r.notes, sentNote{r.t.Round, r.sent}); err != nil {
		return err
	}
	return r.step("noted")
}

func (r *run) put(ctx context.Context, in States, what any) error {
	b, err := json.Marshal(what)
	if err != nil {
		return fmt.Errorf("state of receiver %s: %w", r.name, err)
	}
	if _, bound := ctx.Deadline(); !bound { // the end of ctx does not stop what is being kept: it was sent
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
	}
	return in.Put(ctx, r.name, b)
}

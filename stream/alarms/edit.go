package alarms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	streamlog "panormus/stream/log"
)

// A Result is what came of changing one alarm.
type Result struct {
	ID  string
	Err error // ErrNotFound, a *Conflict, ErrInvalid or why it could not be written
	// State of the alarm after it, "" where that is not known.
	State State

	now version // without a base where it is not known
}

// Record is the alarm as it is now, where that is known.
func (r *Result) Record() Record {
	if r.now.base == nil {
		return Record{}
	}
	return r.now.record()
}

// Rev is the alarm's rev now, 0 where that is not known.
func (r *Result) Rev() uint64 { return r.now.rev }

// attempts is how often a change is tried against others who change the same alarm.
const attempts = 16

// maxPending bounds the entries of one alarm that wait for the log.
const maxPending = 256

// edit writes new values of alarms, each at most once, and returns when the Book has them. Fn gets a copy of
// the alarm, or a nil one where there is none, and returns it changed, or nil to leave
// it. It may be called again when somebody else was faster. The worker alone edits: what operators do is an
// act.
func (b *Book) edit(ctx context.Context, ids []string, fn func(i int, a *Alarm) (*Alarm, error)) []Result {
	out := make([]Result, len(ids))
	todo := make([]int, len(ids))
	for i := range ids {
		todo[i] = i
	}
	removed := map[string]uint64{} // revisions of keys without a value
	for range attempts {
		var swaps []streamlog.Swap
		var made []*Alarm
		var of []int
		for _, i := range todo {
			a, after, err := b.step(ids[i], func(a *Alarm) (*Alarm, error) { return fn(i, a) })
			out[i] = Result{ID: ids[i], Err: err}
			if err != nil || a == nil {
				continue
			}
			if after == 0 {
				after = removed[ids[i]]
			}
			value, err := json.Marshal(a)
			if err != nil {
				panic("BUG: an alarm that JSON cannot say: " + err.Error())
			}
			swaps, made, of = append(swaps, streamlog.Swap{Key: ids[i], Value: value, After: after}), append(made, a), append(of, i)
		}
		if len(swaps) == 0 {
			break
		}
		b.write(ctx, swaps, made)
		todo = todo[:0]
		newest := uint64(0)
		for j := range swaps {
			i := of[j]
			switch err := swaps[j].Err; {
			case err == nil:
				newest = max(newest, swaps[j].Revision)
			case errors.Is(err, streamlog.ErrChanged):
				out[i].Err = fmt.Errorf("change alarm %s: %w", ids[i], err)
				e, err := b.bucket.Entry(ctx, ids[i])
				if err != nil {
					out[i].Err = err
					continue
				}
				removed[ids[i]], newest = e.Revision, max(newest, e.Revision)
				todo = append(todo, i)
			default:
				out[i].Err = err
			}
		}
		if err := b.await(ctx, newest); err != nil {
			for _, i := range of {
				out[i].Err = err
			}
			break
		}
	}
	return out
}

// write puts values into the bucket, and lets the watch know them again.
func (b *Book) write(ctx context.Context, swaps []streamlog.Swap, made []*Alarm) {
	b.mu.Lock()
	for j := range swaps {
		b.flying[swaps[j].Key] = flight{swaps[j].Value, made[j]}
	}
	b.mu.Unlock()
	b.bucket.SwapAll(ctx, swaps)
	newest := uint64(0)
	for j := range swaps {
		if swaps[j].Err == nil {
			newest = max(newest, swaps[j].Revision)
		}
	}
	_ = b.await(ctx, newest) // the caller looks
	b.mu.Lock()
	for j := range swaps {
		delete(b.flying, swaps[j].Key)
	}
	b.mu.Unlock()
}

// step makes the next value of an alarm and says after which revision it comes.
func (b *Book) step(id string, fn func(*Alarm) (*Alarm, error)) (*Alarm, uint64, error) {
	b.mu.RLock()
	h := b.records[id]
	if h == nil {
		b.mu.RUnlock()
		a, err := fn(nil)
		return a, 0, err
	}
	rev, after, a := h.rev, h.seq, h.clone()
	if h.seq <= b.logged {
		a.Pending = a.Pending[len(h.base.Pending):]
	}
	if h.acts != nil {
		a.Seen = h.acts.seq
	}
	b.mu.RUnlock()
	n, gone := a.N, a.Gone
	a, err := fn(a)
	if err != nil || a == nil {
		return nil, 0, err
	}
	if len(a.Pending) > maxPending {
		return nil, 0, fmt.Errorf("alarm %s: %d entries wait for the alarm log, want at most %d", id, len(a.Pending), maxPending)
	}
	if a.After, a.Same = rev, 0; a.N == n && a.Gone == gone {
		a.Same = rev
	}
	return a, after, nil
}

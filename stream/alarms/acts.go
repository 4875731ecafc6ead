package alarms

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	streamlog "panormus/stream/log"
)

// actPrefix begins the keys of acts in the bucket of alarms; no alarm's id does.
const actPrefix = "act-"

// Bounds of acts.
const (
	actIDs     = 10_000    // of one value in the bucket
	maxWaiting = 1_000_000 // acts on one alarm each that no value has taken in
	actTimeout = 10 * time.Second
	// dropActs is how long an act is kept once values have taken it in, for Books that are behind.
	dropActs = time.Minute
)

// A deed is an act in the bucket: what was done, when and to which alarms. One value, however many the
// alarms are, is all that is written before operators are answered. It counts for an alarm where that
// still has the rev that is named when the deed comes in the bucket's order; the worker writes it into
// the alarms' values afterwards.
type deed struct {
	Act  Act       `json:"act"`
	At   time.Time `json:"at"`
	IDs  []string  `json:"ids"`
	Revs []uint64  `json:"revs"`

	key  string
	open int // alarms whose value has not taken it in
}

// A ref is a deed on one alarm.
type ref struct {
	seq  uint64 // of the deed in the bucket
	rev  uint64 // of the alarm that it was done to
	deed *deed
}

func mergeRefs(a, b []ref) []ref {
	if len(b) == 0 {
		return a
	}
	out := append(slices.Clone(a), b...)
	slices.SortFunc(out, func(x, y ref) int { return cmp.Compare(x.seq, y.seq) })
	return out
}

// settle does acts on the value of the bucket, oldest first, and returns those that are in it or do not
// count. What a value was written over without knowing counts where the chain of revs says that it did
// before, and is done to that value now.
func (h *held) settle(acts []ref) (out []ref) {
	h.Record = Record{h.base, h.seq}
	if h.base.Same != 0 {
		h.Rev = h.base.Same
	}
	before := h.base.After
	h.acts = nil
	for _, r := range acts {
		switch {
		case r.seq <= h.base.Seen:
			out = append(out, r)
		case h.base.Same == 0 && r.seq < h.seq && r.rev == before:
			before = r.seq
			h.do(r, h.seq)
		case (h.base.Same != 0 || r.seq > h.seq) && r.rev == h.Rev:
			h.do(r, r.seq)
		default:
			out = append(out, r)
		}
	}
	return out
}

func (h *held) do(r ref, rev uint64) {
	h.Alarm = h.clone()
	h.Alarm.do(&r.deed.Act, r.deed.At)
	h.Rev = rev
	h.acts = append(h.acts, r)
}

// acting is what a Book knows of acts.
type acting struct {
	deeds    uint64               // the newest one taken
	early    map[string][]ref     // of alarms whose value is not known yet
	unfolded map[string]struct{}  // alarms with acts that are not in their value
	waiting  int                  // refs of those
	settled  map[string]time.Time // deeds that values have taken in, by key, and when they were done
	mine     map[string][]Record  // by key, what came of the deeds that this process waits for
}

func newActing() acting {
	return acting{early: map[string][]ref{}, unfolded: map[string]struct{}{}, settled: map[string]time.Time{}, mine: map[string][]Record{}}
}

// mark notes whether an alarm has acts that are not in its value. The caller holds the lock.
func (b *Book) mark(h *held) {
	if len(h.acts) > 0 {
		b.unfolded[h.base.ID] = struct{}{}
	} else {
		delete(b.unfolded, h.base.ID)
	}
}

// retake is the acts that came before the alarm's value. The caller holds the lock.
func (b *Book) retake(id string) []ref {
	early := b.early[id]
	delete(b.early, id)
	for _, r := range early {
		r.deed.open++
		delete(b.settled, r.deed.key)
	}
	b.waiting += len(early)
	return early
}

// release lets go of an act on an alarm. The caller holds the lock.
func (b *Book) release(r ref) {
	if r.deed.open--; r.deed.open == 0 {
		b.settled[r.deed.key] = r.deed.At
	}
	b.waiting--
}

// indexAct does a deed. The caller holds the lock.
func (b *Book) indexAct(e streamlog.Entry) {
	if e.Value == nil || e.Revision <= b.deeds {
		return
	}
	b.deeds = e.Revision
	d := &deed{key: e.Key}
	if err := json.Unmarshal(e.Value, d); err != nil || len(d.IDs) != len(d.Revs) {
		b.log.Error("an act in the bucket is unreadable and left out", "key", e.Key, "revision", e.Revision, "error", err)
		return
	}
	results, mine := b.mine[e.Key]
	d.open, b.waiting = len(d.IDs), b.waiting+len(d.IDs)
	for i, id := range d.IDs {
		h, r := b.records[id], ref{e.Revision, d.Revs[i], d}
		if h == nil || h.Rev != r.rev || r.seq <= h.base.Seen {
			if !b.whole { // the value that it was done to may have been replaced by one yet to come
				b.early[id] = append(b.early[id], r)
			}
			b.release(r)
			continue
		}
		old := h.Record
		h.do(r, r.seq)
		b.mark(h)
		b.changed(h, old)
		if mine {
			results[i] = h.Record
		}
	}
	for key, at := range b.settled { // the worker's own are gone before
		if d.At.Sub(at) > 2*dropActs {
			delete(b.settled, key)
		}
	}
}

// Act does the same to alarms and says what came of each. A repeated id is done once. It returns when the
// act is durable.
func (b *Book) Act(ctx context.Context, ids []string, x Act) ([]Result, error) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	if err := x.Check(now, &b.cfg); err != nil {
		return nil, err
	}
	out := make([]Result, 0, len(ids))
	todo := make([]int, 0, len(ids))
	seen := make(map[string]struct{}, len(ids))
	for _, id := range ids {
		if _, ok := seen[id]; !ok {
			seen[id] = struct{}{}
			todo = append(todo, len(out))
			out = append(out, Result{ID: id})
		}
	}
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	for range attempts {
		if todo = b.ask(out, todo, &x); len(todo) == 0 {
			return out, nil
		}
		if todo = b.perform(ctx, out, todo, x, now); len(todo) == 0 {
			return out, nil
		}
	}
	for _, i := range todo {
		out[i].Err = fmt.Errorf("act on alarm %s: %w", out[i].ID, streamlog.ErrChanged)
	}
	return out, nil
}

// ask looks which of the alarms can take x as they are, notes their records, and returns them.
func (b *Book) ask(out []Result, todo []int, x *Act) []int {
	b.mu.RLock()
	defer b.mu.RUnlock()
	fit := todo[:0]
	for _, i := range todo {
		h := b.records[out[i].ID]
		if h == nil || h.Gone {
			out[i].Record, out[i].Err = Record{}, ErrNotFound
			continue
		}
		out[i].Record, out[i].Err = h.Record, x.fits(h.Record)
		pending := len(h.Pending)
		if h.seq <= b.logged {
			pending -= len(h.base.Pending)
		}
		switch {
		case out[i].Err != nil:
		case pending >= maxPending:
			out[i].Err = fmt.Errorf("alarm %s: %d entries wait for the alarm log, which is the most", out[i].ID, pending)
		case b.waiting+len(fit) >= maxWaiting:
			out[i].Err = fmt.Errorf("%d acts wait for the worker that writes alarms, which is the most", b.waiting)
		default:
			fit = append(fit, i)
		}
	}
	return fit
}

// perform writes x down for the alarms, waits for it to come back and returns those that had changed
// before it came.
func (b *Book) perform(ctx context.Context, out []Result, todo []int, x Act, now time.Time) (again []int) {
	var swaps []streamlog.Swap
	var of [][]int
	for some := range slices.Chunk(todo, actIDs) {
		d := deed{Act: x, At: now, IDs: make([]string, len(some)), Revs: make([]uint64, len(some))}
		for j, i := range some {
			d.IDs[j], d.Revs[j] = out[i].ID, out[i].Record.Rev
		}
		value, err := json.Marshal(&d)
		if err != nil {
			panic("BUG: an act that JSON cannot say: " + err.Error())
		}
		swaps, of = append(swaps, streamlog.Swap{Key: actPrefix + rand.Text(), Value: value}), append(of, some)
	}
	b.mu.Lock()
	for j := range swaps {
		b.mine[swaps[j].Key] = make([]Record, len(of[j]))
	}
	b.mu.Unlock()
	b.bucket.SwapAll(ctx, swaps)
	newest := uint64(0)
	for j := range swaps {
		newest = max(newest, swaps[j].Revision)
	}
	err := b.await(ctx, newest)
	b.mu.Lock()
	defer b.mu.Unlock()
	for j := range swaps {
		results := b.mine[swaps[j].Key]
		delete(b.mine, swaps[j].Key)
		for k, i := range of[j] {
			switch failed := cmp.Or(swaps[j].Err, err); {
			case failed != nil:
				out[i].Err = fmt.Errorf("act on alarm %s, which may or may not be done: %w", out[i].ID, failed)
			case results[k].Alarm != nil:
				out[i].Record = results[k]
			default:
				again = append(again, i)
			}
		}
	}
	return again
}

// answering reports whether an operator waits for an act, and there is room for more of them.
func (b *Book) answering() bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return len(b.mine) > 0 && b.waiting < maxWaiting/2
}

// unfoldedIDs are at most n alarms with acts that are not in their value.
func (b *Book) unfoldedIDs(n int) []string {
	b.mu.RLock()
	defer b.mu.RUnlock()
	var ids []string
	for id := range b.unfolded {
		if len(ids) == n {
			break
		}
		ids = append(ids, id)
	}
	return ids
}

// dropSettled removes the deeds from the bucket that every value has taken in for a while.
func (b *Book) dropSettled(ctx context.Context, now time.Time) error {
	var old []string
	b.mu.RLock()
	for key, at := range b.settled {
		if now.Sub(at) > dropActs {
			old = append(old, key)
		}
	}
	b.mu.RUnlock()
	var failed error
	for _, key := range old {
		if err := b.bucket.Drop(ctx, key); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		b.mu.Lock()
		delete(b.settled, key)
		b.mu.Unlock()
	}
	return failed
}

package alarms

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	streamlog "panormus/stream/log"
)

// ErrBehind is the answer, wrapped, to an act where a later version is at work beside this one, and has just
// done what this one cannot read: it would be decided on alarms that are not so any more.
var ErrBehind = errors.New("another process, of a later version, acts on alarms in a form that this one cannot read: act there, or bring this one to that version")

// ErrBusy is the answer, wrapped, to an act that there is no room for: nothing was done to any alarm. The worker
// makes room within seconds.
var ErrBusy = errors.New("too many acts wait for the worker that writes alarms; nothing was done, ask again in some seconds")

// ErrNotDone is the answer, wrapped, to an act that could not be written: nothing was done to any alarm.
var ErrNotDone = errors.New("the act could not be written; nothing was done, ask again in some seconds")

// A target is an alarm that an act is meant for, as it was seen.
type target struct {
	h   *held
	rev uint64
	i   int // its number among those asked for
}

// asked is an act of an operator, until it is answered.
type asked struct {
	*deed
	on      []target
	out     []Result // by number; nil where only what was refused is asked for
	refused []Result // of those
	done    int

	// Of the deed on its way to the bucket, once it is back:
	back   bool
	void   bool     // somebody wrote that it never will be
	missed []target // those that had changed
}

// refuse notes why it was not done to an alarm.
func (p *asked) refuse(i int, r Result) {
	if p.out != nil {
		p.out[i] = r
		return
	}
	p.refused = append(p.refused, r)
}

// Act does the same to alarms and says what came of each. A repeated id is done once. It returns when the
// act is durable; that it is done does not end with ctx. An error says that nothing was done to any.
func (b *Book) Act(ctx context.Context, ids []string, x Act) ([]Result, error) {
	now, err := b.beginAct(&x)
	if err != nil {
		return nil, err
	}
	p := &asked{deed: newDeed(x, now), out: make([]Result, 0, len(ids)), on: make([]target, 0, len(ids))}
	seen := make(map[string]struct{}, len(ids))
	for _, id := range ids {
		if _, ok := seen[id]; !ok {
			seen[id] = struct{}{}
			p.out = append(p.out, Result{ID: id})
		}
	}
	b.mu.RLock()
	for i := range p.out {
		b.aim(p, p.out[i].ID, i)
	}
	b.mu.RUnlock()
	if err := b.act(ctx, p); err != nil {
		return nil, err
	}
	return p.out, nil
}

// ActAll does the same to all alarms that q selects, or to limit of them, and says to how many it was done, what came
// of the others, in no order, and whether there are more. It returns as Act does.
func (b *Book) ActAll(ctx context.Context, q Query, limit int, x Act) (done int, refused []Result, more bool, err error) {
	now, err := b.beginAct(&x)
	if err != nil {
		return 0, nil, false, err
	}
	p := &asked{deed: newDeed(x, now)}
	b.mu.RLock()
	p.on = make([]target, 0, min(limit, len(b.rows)))
	n := 0
	for i := range b.rows {
		r := &b.rows[i]
		if !q.takes(r) {
			continue
		}
		if more = n == limit; more {
			break
		}
		n++
		b.aimAt(p, r.h, 0)
	}
	b.mu.RUnlock()
	if err := b.act(ctx, p); err != nil {
		return 0, nil, false, err
	}
	return p.done, p.refused, more, nil
}

// beginAct is when an act is done that is one.
func (b *Book) beginAct(x *Act) (now time.Time, err error) {
	now = time.Now().UTC().Truncate(time.Millisecond)
	b.mu.RLock()
	newer := b.newer
	b.mu.RUnlock()
	if since := time.Since(newer); since < behindFor {
		return now, fmt.Errorf("%w (the last time %v ago, wait %v)", ErrBehind, since.Round(time.Second), (behindFor - since).Round(time.Second))
	}
	return now, x.Check(now, &b.cfg)
}

// aim notes an alarm to act on as it is, or why it cannot be. The caller holds the lock.
func (b *Book) aim(p *asked, id string, i int) {
	if h := b.records[id]; h != nil {
		b.aimAt(p, h, i)
		return
	}
	p.refuse(i, Result{ID: id, Err: ErrNotFound})
}

func (b *Book) aimAt(p *asked, h *held, i int) {
	switch x := &p.Act; {
	case h.acts == nil && b.rows[h.row].state == Normal && h.gone():
		p.refuse(i, Result{ID: h.base.ID, Err: ErrNotFound})
	case x.Rev != 0 && x.Rev != h.rev || !slices.Contains(allowed[x.Action], b.rows[h.row].state):
		p.refuse(i, Result{ID: h.base.ID, Err: x.fits(h.record()), State: b.rows[h.row].state, now: h.version})
	default:
		p.on = append(p.on, target{h, h.rev, i})
	}
}

// act does p to its targets, or is an error and does nothing.
func (b *Book) act(ctx context.Context, p *asked) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.within)
	defer cancel()
	if len(p.on) == 0 {
		return nil
	}
	// Once, so that who was let in is done with: half an act would be the worst of answers.
	leave, err := b.enter(p.on)
	if err != nil {
		return err
	}
	defer leave()
	for n := range attempts {
		if err := b.perform(ctx, p); errors.Is(err, ErrNotDone) && n == 0 {
			return err
		} else if err != nil {
			b.fail(p, p.on, err)
			return nil
		}
		missed := p.missed
		p.on, p.missed, p.back = p.on[:0], nil, false
		if len(missed) == 0 {
			return nil
		}
		p.deed = newDeed(p.Act, p.At)
		b.mu.RLock()
		for _, t := range missed { // perhaps there is a new one of its name
			b.aim(p, t.h.base.ID, t.i)
		}
		b.mu.RUnlock()
		if len(p.on) == 0 {
			return nil
		}
	}
	b.fail(p, p.on, streamlog.ErrChanged)
	return nil
}

// fail says of alarms that it was not done to them, or that nobody knows.
func (b *Book) fail(p *asked, on []target, err error) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, t := range on {
		id := t.h.base.ID
		p.refuse(t.i, Result{ID: id, Err: fmt.Errorf("act on alarm %s: %w", id, err), now: t.h.version})
	}
}

// enter lets an act on those alarms in, until leave is called, where there is room for it as a whole.
func (b *Book) enter(on []target) (leave func(), err error) {
	n := int64(len(on))
	together := b.onTheWay.Add(n) // those that are back but not answered count twice, which is on the safe side
	leave = func() { b.onTheWay.Add(-n) }
	b.mu.RLock()
	defer b.mu.RUnlock()
	err = func() error {
		if b.waiting+int(together) > b.most {
			return fmt.Errorf("%w (%d wait, at most %d)", ErrBusy, b.waiting, b.most)
		}
		for _, t := range on {
			pending := t.h.acts.len()
			if t.h.seq > b.logged {
				pending += len(t.h.base.Pending)
			}
			if pending >= maxPending {
				return fmt.Errorf("%w (alarm %s: %d entries wait for the alarm log, at most %d)", ErrBusy, t.h.base.ID, pending, maxPending)
			}
		}
		return nil
	}()
	if err != nil {
		leave()
		return nil, err
	}
	return leave, nil
}

// perform writes p down for its targets and waits for it to come back. An error says that it was done to none of
// them, which is ErrNotDone, or that it may or may not be.
func (b *Book) perform(ctx context.Context, p *asked) error {
	key := actPrefix + rand.Text()
	parts, last := p.encode(p.on, max(1, (b.bucket.MaxValue()-headBytes)/deedBytes))
	b.mu.Lock()
	b.mine[key] = p
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.mine, key)
		b.mu.Unlock()
	}()
	before := make([]streamlog.Swap, len(parts))
	for i, part := range parts {
		before[i] = streamlog.Swap{Key: partKey(key, i), Value: part}
	}
	b.bucket.SwapAll(ctx, before)
	for i := range before {
		if err := before[i].Err; err != nil {
			_, _ = b.void(ctx, key) // the last value is not written, and who waits for it need not
			return fmt.Errorf("%w: %w", ErrNotDone, err)
		}
	}
	deed := []streamlog.Swap{{Key: key, Value: last}}
	b.bucket.SwapAll(ctx, deed)
	rev, err := deed[0].Revision, deed[0].Err
	if err != nil {
		if rev, err = b.void(ctx, key); err != nil {
			return fmt.Errorf("it may or may not be done: %w", err)
		}
	}
	if err := b.await(ctx, rev); err != nil {
		return fmt.Errorf("it may or may not be done: %w", err)
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	switch {
	case p.back:
		p.done += len(p.on) - len(p.missed)
		return nil
	case p.void:
		return fmt.Errorf("%w: %w", ErrNotDone, deed[0].Err)
	}
	return errors.New("it may or may not be done: the bucket has it, and did not tell of it")
}

// void makes the deed under a key void, unless its last value is on the bucket, and returns the revision of what is.
func (b *Book) void(ctx context.Context, key string) (uint64, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), b.within/4) // who acts has waited for long
	defer cancel()
	swaps := []streamlog.Swap{{Key: key, Value: voided()}}
	b.bucket.SwapAll(ctx, swaps)
	if !errors.Is(swaps[0].Err, streamlog.ErrChanged) {
		return swaps[0].Revision, swaps[0].Err
	}
	e, err := b.bucket.Entry(ctx, key)
	return e.Revision, err
}

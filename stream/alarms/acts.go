package alarms

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	streamlog "panormus/stream/log"
)

// Bounds of acts.
const (
	actIDs     = 40_000    // of one value in the bucket: 800 kB, below what a server takes by default
	maxWaiting = 1_000_000 // acts on one alarm each that no value has taken in
	actTimeout = 10 * time.Second
	// dropActs is how long an act is kept once values have taken it in, for Books that are behind.
	dropActs = time.Minute
	// behindFor is how long after an act that only a later version reads nobody can act here: the worker has
	// taken it into the alarms' values by then.
	behindFor = 2 * dropActs
)

// ErrBehind is the answer, wrapped, to an act where a later version is at work beside this one, and has just
// done what this one cannot read: it would be decided on alarms that are not so any more.
var ErrBehind = errors.New("another process, of a later version, acts on alarms in a form that this one cannot read: act there, or bring this one to that version")

// ErrBusy is the answer, wrapped, to an act that there is no room for: nothing was done to any alarm. The worker
// makes room within seconds.
var ErrBusy = errors.New("too many acts wait for the worker that writes alarms; nothing was done, ask again in some seconds")

// acting is what a Book knows of acts.
type acting struct {
	most     int                  // maxWaiting
	onTheWay atomic.Int64         // acts on one alarm each that were let in here, until they are answered
	deeds    uint64               // the newest one taken
	early    map[string][]ref     // of alarms whose value is not known yet
	unfolded []*held              // alarms that got acts which were not in their value, the first first
	waiting  int                  // refs of those
	settled  map[string]time.Time // deeds that values have taken in, by key, and when they were done
	mine     map[string]*asked    // by key, the deeds that this process waits for
	unread   int                  // deeds that could not be read
	newer    time.Time            // when the last one of a later version came
}

func newActing() acting {
	return acting{most: maxWaiting, early: map[string][]ref{}, settled: map[string]time.Time{}, mine: map[string]*asked{}}
}

// asked is a deed on its way to the bucket, and what came of it once it is back.
type asked struct {
	*deed
	of   []*held
	revs []uint64
	done []*version // nil where the alarm had changed
}

// mark notes whether an alarm has acts that are not in its value. The caller holds the lock.
func (b *Book) mark(h *held) {
	if len(h.acts) > 0 && !h.unfolded {
		h.unfolded = true
		b.unfolded = append(b.unfolded, h)
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
	mine := b.mine[e.Key]
	n := 0
	var d *deed
	var alarm func(i int) (string, *held, uint64)
	if mine != nil {
		d, n = mine.deed, len(mine.of)
		alarm = func(i int) (string, *held, uint64) { return mine.of[i].base.ID, mine.of[i], mine.revs[i] }
	} else {
		var err error
		if d, err = decodeDeed(e.Value); err != nil {
			if b.unread++; errors.Is(err, errNewer) {
				b.newer = time.Now()
			}
			b.log.Error("an act in the bucket is unreadable and left out", "key", e.Key, "revision", e.Revision, "error", err)
			return
		}
		n = len(d.IDs)
		alarm = func(i int) (string, *held, uint64) { return d.IDs[i], b.records[d.IDs[i]], d.Revs[i] }
	}
	d.key, d.open, b.waiting = e.Key, n, b.waiting+n
	s := newSpread(b, ref{seq: e.Revision, deed: d}, n)
	b.unfolded = slices.Grow(b.unfolded, n)
	if b.listen != nil {
		b.queue = slices.Grow(b.queue, n)
	}
	for i := range n {
		id, h, rev := alarm(i)
		if h == nil || h.row < 0 || h.rev != rev || e.Revision <= h.base.Seen {
			r := ref{e.Revision, rev, d}
			if !b.whole { // the value that it was done to may have been replaced by one yet to come
				b.early[id] = append(b.early[id], r)
			}
			b.release(r)
			continue
		}
		s.do(h)
		if mine != nil {
			mine.done[i] = h.version
		}
	}
	for key, at := range b.settled { // the worker's own are gone before
		if d.At.Sub(at) > 2*dropActs {
			delete(b.settled, key)
		}
	}
}

// spread does a deed to alarm after alarm: nothing of them is made anew but what is looked through.
type spread struct {
	*Book
	ref
	old, now view
	refs     []ref
	versions []version
}

func newSpread(b *Book, r ref, n int) *spread {
	return &spread{Book: b, ref: r, refs: make([]ref, 0, n), versions: make([]version, n)}
}

// do does it to the next alarm, which has the rev that it was meant for.
func (s *spread) do(h *held) {
	old := s.old.of(h.version)
	s.now.take(old)
	s.now.do(s.deed)
	v := &s.versions[0]
	s.versions = s.versions[1:]
	r := s.ref
	r.rev = h.rev
	v.base, v.rev = h.base, r.seq
	if v.acts = append(h.acts, r); len(h.acts) == 0 {
		s.refs = append(s.refs, r)
		v.acts = s.refs[len(s.refs)-1 : len(s.refs) : len(s.refs)]
	}
	h.version = v
	s.mark(h)
	s.changed(h, old, &s.now.alarm)
}

// Act does the same to alarms and says what came of each. A repeated id is done once. It returns when the
// act is durable. An error says that nothing was done to any.
func (b *Book) Act(ctx context.Context, ids []string, x Act) ([]Result, error) {
	now, err := b.beginAct(&x)
	if err != nil {
		return nil, err
	}
	out, of := make([]Result, 0, len(ids)), make([]*held, 0, len(ids))
	seen := make(map[string]struct{}, len(ids))
	b.mu.RLock()
	for _, id := range ids {
		if _, ok := seen[id]; !ok {
			seen[id] = struct{}{}
			out, of = append(out, Result{ID: id}), append(of, b.records[id])
		}
	}
	b.mu.RUnlock()
	return out, b.act(ctx, out, of, x, now)
}

// ActAll does the same to all alarms that q selects, or to limit of them, and says what came of each, in no
// order, and whether there are more. It returns when the act is durable. An error says that nothing was done to any.
func (b *Book) ActAll(ctx context.Context, q Query, limit int, x Act) (out []Result, more bool, err error) {
	now, err := b.beginAct(&x)
	if err != nil {
		return nil, false, err
	}
	var of []*held
	b.mu.RLock()
	for i := range b.rows {
		r := &b.rows[i]
		if !q.takes(r) {
			continue
		}
		if more = len(of) == limit; more {
			break
		}
		of = append(of, r.h)
	}
	out = make([]Result, len(of))
	for i, h := range of {
		out[i].ID = h.base.ID
	}
	b.mu.RUnlock()
	return out, more, b.act(ctx, out, of, x, now)
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

// Unread is how many acts in the bucket could not be read.
func (b *Book) Unread() int {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.unread
}

// act does x to alarms, each named in out, or is an ErrBusy and does nothing.
func (b *Book) act(ctx context.Context, out []Result, of []*held, x Act, now time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, actTimeout)
	defer cancel()
	todo := make([]int, len(out))
	for i := range todo {
		todo[i] = i
	}
	for n := range attempts {
		if todo = b.ask(out, of, todo, &x); len(todo) == 0 {
			return nil
		}
		if n == 0 { // once, so that who was let in is done with: half an act would be the worst of answers
			leave, err := b.enter(of, todo)
			if err != nil {
				return err
			}
			defer leave()
		}
		if todo = b.perform(ctx, out, of, todo, x, now); len(todo) == 0 {
			return nil
		}
	}
	for _, i := range todo {
		out[i].Err = fmt.Errorf("act on alarm %s: %w", out[i].ID, streamlog.ErrChanged)
	}
	return nil
}

// enter lets an act on those alarms in, until leave is called, where there is room for it as a whole.
func (b *Book) enter(of []*held, todo []int) (leave func(), err error) {
	n := int64(len(todo))
	together := b.onTheWay.Add(n) // those that are back but not answered count twice, which is on the safe side
	leave = func() { b.onTheWay.Add(-n) }
	b.mu.RLock()
	defer b.mu.RUnlock()
	err = func() error {
		if b.waiting+int(together) > b.most {
			return fmt.Errorf("%w (%d wait, at most %d)", ErrBusy, b.waiting, b.most)
		}
		for _, i := range todo {
			h := of[i]
			pending := len(h.acts)
			if h.seq > b.logged {
				pending += len(h.base.Pending)
			}
			if pending >= maxPending {
				return fmt.Errorf("%w (alarm %s: %d entries wait for the alarm log, at most %d)", ErrBusy, h.base.ID, pending, maxPending)
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

// ask looks which of the alarms can take x as they are, notes how they are, and returns them.
func (b *Book) ask(out []Result, of []*held, todo []int, x *Act) []int {
	b.mu.RLock()
	defer b.mu.RUnlock()
	fit := todo[:0]
	for _, i := range todo {
		h := of[i]
		if h != nil && h.row < 0 { // forgotten; perhaps there is a new one
			h = b.records[out[i].ID]
			of[i] = h
		}
		if h == nil || h.gone() {
			out[i].now, out[i].Err = nil, ErrNotFound
			continue
		}
		out[i].now, out[i].Err = h.version, nil
		if x.Rev != 0 && x.Rev != h.rev || !slices.Contains(allowed[x.Action], b.rows[h.row].state) {
			out[i].Err = x.fits(h.record())
			continue
		}
		fit = append(fit, i)
	}
	return fit
}

// perform writes x down for the alarms, waits for it to come back and returns those that had changed
// before it came.
func (b *Book) perform(ctx context.Context, out []Result, of []*held, todo []int, x Act, now time.Time) (again []int) {
	var swaps []streamlog.Swap
	var parts []*asked
	var numbers [][]int
	for some := range slices.Chunk(todo, actIDs) {
		p := &asked{deed: newDeed(x, now), of: make([]*held, len(some)), revs: make([]uint64, len(some)), done: make([]*version, len(some))}
		for j, i := range some {
			p.of[j], p.revs[j] = of[i], out[i].now.rev
		}
		value := p.encode(len(some), func(j int) (string, uint64) { return out[some[j]].ID, p.revs[j] })
		swaps = append(swaps, streamlog.Swap{Key: actPrefix + rand.Text(), Value: value})
		parts, numbers = append(parts, p), append(numbers, some)
	}
	b.mu.Lock()
	for j := range swaps {
		b.mine[swaps[j].Key] = parts[j]
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
		delete(b.mine, swaps[j].Key)
		for k, i := range numbers[j] {
			switch failed := cmp.Or(swaps[j].Err, err); {
			case failed != nil:
				out[i].Err = fmt.Errorf("act on alarm %s, which may or may not be done: %w", out[i].ID, failed)
			case parts[j].done[k] != nil:
				out[i].now = parts[j].done[k]
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
	return len(b.mine) > 0 && b.waiting < b.most/2
}

// unfoldedIDs are at most n alarms with acts that are not in their value, those first that have waited
// longest.
func (b *Book) unfoldedIDs(n int) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.unfolded) > 0 && len(b.unfolded[0].acts) == 0 {
		b.unfolded[0].unfolded = false
		b.unfolded[0] = nil
		b.unfolded = b.unfolded[1:]
	}
	if len(b.unfolded) == 0 {
		b.unfolded = nil
	}
	var ids []string
	for _, h := range b.unfolded {
		if len(ids) == n {
			break
		}
		if len(h.acts) > 0 {
			ids = append(ids, h.base.ID)
		}
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

package alarms

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"time"

	streamlog "panormus/stream/log"
)

// Bounds of acts.
const (
	maxWaiting = 5_000_000 // acts on one alarm each that no value has taken in: 20 bytes each in the bucket
	actTimeout = 10 * time.Second
	// dropActs is how long an act is kept once values have taken it in, for Books that are behind.
	dropActs = time.Minute
	// partsFor is how long parts wait for the last value of their act.
	partsFor = time.Minute
	// behindFor is how long after an act that only a later version reads nobody can act here: the worker has
	// taken it into the alarms' values by then.
	behindFor = 2 * dropActs
)

// acting is what a Book knows of acts.
type acting struct {
	most     int                // maxWaiting
	within   time.Duration      // actTimeout
	onTheWay atomic.Int64       // acts on one alarm each that were let in here, until they are answered
	deeds    uint64             // the newest value of one taken
	parts    map[string]*parts  // by key of the deed, what came before it
	early    map[idOf][]ref     // by alarm, of values that are not known yet
	joints   map[joint]*trail   // trails of alarms that were read, until all are
	unfolded []*held            // alarms that got acts which were not in their value, the first first
	waiting  int                // acts of those
	settled  map[string]settled // deeds that values have taken in, by key
	mine     map[string]*asked  // by key, the deeds that this process waits for
	unread   int                // deeds that could not be read
	newer    time.Time          // when the last one of a later version came
}

func newActing() acting {
	return acting{most: maxWaiting, within: actTimeout, parts: map[string]*parts{}, early: map[idOf][]ref{}, settled: map[string]settled{}, mine: map[string]*asked{}}
}

// settled is a deed that need not be in the bucket any more.
type settled struct {
	at    time.Time // when it was done
	parts int
}

// parts are those of a deed whose last value has not come.
type parts struct {
	alarms map[int][]byte
	since  time.Time // when the first one came here
}

// mark notes whether an alarm has acts that are not in its value. The caller holds the lock.
func (b *Book) mark(h *held) {
	if h.acts != nil && !h.unfolded {
		h.unfolded = true
		b.unfolded = append(b.unfolded, h)
	}
}

// retake is the acts that came before the alarm's value. The caller holds the lock.
func (b *Book) retake(id idOf) []ref {
	early := b.early[id]
	if early == nil {
		return nil
	}
	delete(b.early, id)
	for _, r := range early {
		r.deed.open++
		delete(b.settled, r.deed.key)
	}
	b.waiting += len(early)
	return early
}

// A joint is where a trail goes on with a deed.
type joint struct {
	before *trail
	seq    uint64
}

// join is a trail and one more act: at the start of the Book that of another alarm with the same ones. The caller
// holds the lock.
func (b *Book) join(before *trail, r ref) *trail {
	if b.whole {
		return before.with(r.seq, r.deed)
	}
	j := joint{before, r.seq}
	t := b.joints[j]
	if t == nil {
		if b.joints == nil {
			b.joints = map[joint]*trail{}
		}
		t = before.with(r.seq, r.deed)
		b.joints[j] = t
	}
	return t
}

// release lets go of an act on an alarm. The caller holds the lock.
func (b *Book) release(d *deed) {
	if d.open--; d.open == 0 {
		b.settled[d.key] = settled{d.At, d.Parts}
	}
	b.waiting--
}

// indexAct takes a value of a deed, and does the deed with its last one. The caller holds the lock.
func (b *Book) indexAct(e streamlog.Entry) {
	if e.Value == nil || e.Revision <= b.deeds {
		return
	}
	b.deeds = e.Revision
	mine := b.mine[e.Key]
	d, alarms, err := decodeDeed(e.Value)
	if err != nil {
		if b.unread++; errors.Is(err, errNewer) {
			b.newer = time.Now()
		}
		b.log.Error("an act in the bucket is unreadable and left out", "key", e.Key, "revision", e.Revision, "error", err)
		return
	}
	if d.Part {
		b.indexPart(e.Key, alarms)
		return
	}
	before := b.parts[e.Key]
	delete(b.parts, e.Key)
	b.forgetActs(d.At)
	if d.key = e.Key; d.Void {
		b.settled[e.Key] = settled{time.Now(), before.most()}
		if mine != nil {
			mine.void = true
		}
		return
	}
	all := make([][]byte, 0, d.Parts+1)
	for i := range d.Parts {
		if before == nil || before.alarms[i] == nil {
			b.log.Warn("an act lacks a part and is left out: it was given up, or is in the alarms' values and about to be dropped", "key", e.Key, "part", i, "parts", d.Parts)
			b.settled[e.Key] = settled{time.Now(), d.Parts}
			if mine != nil {
				mine.void = true
			}
			return
		}
		all = append(all, before.alarms[i])
	}
	if mine != nil {
		d = mine.deed
		d.key, d.Parts = e.Key, len(all)
		b.spread(e.Revision, d, mine.on, mine)
		mine.back = true
		return
	}
	b.spread(e.Revision, d, b.targets(e.Revision, d, append(all, alarms)), nil)
}

// forgetActs lets go of what only the worker still needed, and has had the time for, and of acts on alarms that never
// came. The caller holds the lock.
func (b *Book) forgetActs(now time.Time) {
	maps.DeleteFunc(b.settled, func(_ string, s settled) bool { return now.Sub(s.at) > 2*dropActs })
	if b.whole { // else they are about to
		maps.DeleteFunc(b.early, func(_ idOf, refs []ref) bool { return now.Sub(refs[len(refs)-1].deed.At) > 2*dropActs })
	}
}

func (b *Book) indexPart(key string, alarms []byte) {
	deed, i, ok := cutPart(key)
	if !ok {
		b.unread++
		b.log.Error("a part of an act in the bucket is of none and left out", "key", key)
		return
	}
	p := b.parts[deed]
	if p == nil {
		p = &parts{alarms: map[int][]byte{}, since: time.Now()}
		b.parts[deed] = p
	}
	p.alarms[i] = alarms
}

// most is above the number of every part that came.
func (p *parts) most() (n int) {
	if p != nil {
		for i := range p.alarms {
			n = max(n, i+1)
		}
	}
	return n
}

// targets are the alarms of a deed that are known; it waits for values that may yet come. The caller holds the lock.
func (b *Book) targets(seq uint64, d *deed, all [][]byte) []target {
	n := 0
	for _, some := range all {
		n += len(some) / deedBytes
	}
	on := make([]target, 0, n)
	for _, rest := range all {
		for len(rest) > 0 {
			var id idOf
			var rev uint64
			id, rev, rest = cutAlarm(rest)
			var name [2 * idBytes]byte
			hex.Encode(name[:], id[:])
			h := b.records[string(name[:])]
			if h == nil || rev > h.rev && h.seq < seq { // the value that it was done to is yet to come, or was replaced by one that is
				b.early[id] = append(b.early[id], ref{seq, rev, d})
				continue
			}
			on = append(on, target{h: h, rev: rev})
		}
	}
	return on
}

// spread does a deed to alarms, where they have the rev that it was meant for; asked is told of it and of
// those that have another. The caller holds the lock.
func (b *Book) spread(seq uint64, d *deed, on []target, asked *asked) {
	b.unfolded = slices.Grow(b.unfolded, len(on))
	if b.listen != nil {
		b.queue = slices.Grow(b.queue, len(on))
	}
	s := spread{Book: b, seq: seq, deed: d, step: stepOf(d, &b.cfg)}
	for i := range on {
		t := &on[i]
		h := t.h
		if h.row < 0 || h.rev != t.rev || seq < h.seq && seq <= h.base.Seen {
			if asked != nil {
				asked.missed = append(asked.missed, *t)
			}
			continue
		}
		d.open++
		s.do(h)
		if asked != nil && asked.out != nil {
			asked.out[t.i].now, asked.out[t.i].State = h.version, b.rows[h.row].state
		}
	}
	if b.waiting += d.open; d.open == 0 {
		b.settled[d.key] = settled{d.At, d.Parts}
	}
}

// spread does a deed to alarm after alarm: nothing of them is made anew but what is looked through.
type spread struct {
	*Book
	step
	seq      uint64
	deed     *deed
	old, now view
	from, to *trail // the last one made: most alarms have had the same done to them
}

// do does it to the next alarm, which has the rev that it was meant for.
func (s *spread) do(h *held) {
	if s.to == nil || s.from != h.acts {
		s.from, s.to = h.acts, h.acts.with(s.seq, s.deed)
	}
	was := h.version
	h.acts, h.rev = s.to, s.seq
	s.mark(h)
	if !s.rows[h.row].act(&s.step) {
		s.changed(h, s.old.of(was), s.now.of(h.version))
		return
	}
	if s.listen != nil {
		s.queue = append(s.queue, h.version)
	}
}

// Unread is how many acts in the bucket could not be read.
func (b *Book) Unread() int {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.unread
}

// answering reports whether an operator waits for an act, and there is room for more of them.
func (b *Book) answering() bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return len(b.mine) > 0 && b.waiting < b.most/2
}

// unfoldedIDs are at most n alarms with acts that are not in their value, those first that have waited longest, or
// fewer where they have most acts together. It says how many they have.
func (b *Book) unfoldedIDs(n, most int) (ids []string, acts int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.unfolded) > 0 && b.unfolded[0].acts == nil {
		b.unfolded[0].unfolded = false
		b.unfolded[0] = nil
		b.unfolded = b.unfolded[1:]
	}
	if len(b.unfolded) == 0 {
		b.unfolded = nil
	}
	for _, h := range b.unfolded {
		if len(ids) == n || acts >= most {
			break
		}
		if h.acts != nil {
			ids, acts = append(ids, h.base.ID), acts+h.acts.n
		}
	}
	return ids, acts
}

// dropSettled removes the deeds from the bucket that every value has taken in for a while, or that were given up.
func (b *Book) dropSettled(ctx context.Context, now time.Time) error {
	old := map[string]int{}
	b.mu.RLock()
	for key, s := range b.settled {
		if now.Sub(s.at) > dropActs {
			old[key] = s.parts
		}
	}
	b.mu.RUnlock()
	var failed error
	for key, parts := range old {
		if err := b.drop(ctx, key, parts); err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		b.mu.Lock()
		delete(b.settled, key)
		b.mu.Unlock()
	}
	return failed
}

// drop removes a deed, the last value after its parts: as long as that is there no other can come in its place.
func (b *Book) drop(ctx context.Context, key string, parts int) error {
	for i := range parts {
		if err := b.bucket.Drop(ctx, partKey(key, i)); err != nil {
			return err
		}
	}
	return b.bucket.Drop(ctx, key)
}

// giveUp makes deeds void whose parts have waited for too long: who wrote them was killed, or cannot write.
func (b *Book) giveUp(ctx context.Context, now time.Time) error {
	var swaps []streamlog.Swap
	b.mu.RLock()
	for key, p := range b.parts {
		if now.Sub(p.since) > partsFor {
			swaps = append(swaps, streamlog.Swap{Key: key, Value: voided()})
		}
	}
	b.mu.RUnlock()
	b.bucket.SwapAll(ctx, swaps)
	for _, s := range swaps {
		if s.Err != nil && !errors.Is(s.Err, streamlog.ErrChanged) { // else the last value is about to be read
			return fmt.Errorf("give up an act without its last part: %w", s.Err)
		}
	}
	return nil
}

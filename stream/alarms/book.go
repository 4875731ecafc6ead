package alarms

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	streamlog "panormus/stream/log"
)

// A Bucket is where alarms are kept; *log.KV is one.
type Bucket interface {
	Entry(ctx context.Context, key string) (streamlog.Entry, error)
	SwapAll(ctx context.Context, swaps []streamlog.Swap)
	Put(ctx context.Context, key string, value []byte) error
	Drop(ctx context.Context, key string) error
	Remove(ctx context.Context, key string, after uint64) error
	Delete(ctx context.Context, key string) error
	WatchEntries(ctx context.Context, change func(streamlog.Entry), synced func()) error
	MaxValue() int // bytes
}

// The buckets of a log.
const (
	BucketName = "alarms"
	DeskName   = "alarm_desk" // maintenance windows, floods, how far the alarm log is
)

// A Record is an alarm with its revision. The alarm is shared: read it only.
type Record struct {
	*Alarm
	Rev uint64
}

// A held is an alarm as the Book has it.
type held struct {
	version
	seq      uint64 // revision of base in the bucket
	id       idOf
	unfolded bool // it is in the list of those
	row      int  // its place in the Book's rows, below 0 once it is forgotten
}

// A Book is all alarms, in memory, as the bucket has them: one a process. What it holds follows from
// what the bucket said, in the bucket's order, and from nothing else, so that all Books agree. It is
// safe for concurrent use.
type Book struct {
	cfg    Config
	bucket Bucket
	desk   Bucket
	log    *slog.Logger

	mu       sync.RWMutex
	records  map[string]*held
	rows     []row               // of records, for looking through them
	watched  uint64              // every revision up to this one is in records
	whole    bool                // all that the bucket held at the start is
	logged   uint64              // entries of values up to this revision are on the log
	unlogged map[string]struct{} // whose values' entries may not be
	stands   standing
	firsts   firsts
	regroup  bool   // firsts has grown
	changes  uint64 // counts what may change which alarms are held
	history  history
	windows  map[string]Window
	// windowsOf are the same by what they name.
	windowsOf map[string][]Window
	flying    map[string]flight // what is being written: the watch brings it back
	queue     []version         // for listen
	listen    func([]Record)
	news      chan struct{} // queue is not empty
	grown     chan struct{} // closed when watched grows; nil where nobody waits
	acting

	telling sync.Mutex // held while listen is called
}

// A flight is a value on its way to the bucket. Reading it back from JSON takes longer than all else.
type flight struct {
	value []byte
	alarm *Alarm
}

// NewBook makes a Book of the buckets called BucketName and DeskName; Run fills it.
func NewBook(cfg Config, bucket, desk Bucket, log *slog.Logger) *Book {
	cfg.defaults()
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Book{
		cfg: cfg, bucket: bucket, desk: desk, log: log, records: map[string]*held{}, unlogged: map[string]struct{}{},
		stands: standing{}, firsts: firsts{}, flying: map[string]flight{}, windows: map[string]Window{}, acting: newActing(), news: make(chan struct{}, 1),
	}
}

// Run follows the buckets until ctx ends or they fail, and calls ready once all that they hold is in
// the Book.
func (b *Book) Run(ctx context.Context, ready func()) error {
	g, ctx := errgroup.WithContext(ctx)
	desk := make(chan struct{})
	g.Go(func() error {
		return b.desk.WatchEntries(ctx, b.takeDesk, sync.OnceFunc(func() { close(desk) }))
	})
	g.Go(func() error {
		for {
			select {
			case <-b.news:
				b.tell()
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	})
	g.Go(func() error {
		select {
		case <-desk: // first: which entries are logged
		case <-ctx.Done():
			return ctx.Err()
		}
		b.mu.Lock()
		b.whole = false
		b.mu.Unlock()
		return b.bucket.WatchEntries(ctx, func(e streamlog.Entry) {
			b.mu.Lock()
			b.index(e)
			b.watched = max(b.watched, e.Revision)
			if b.grown != nil {
				close(b.grown)
				b.grown = nil
			}
			untold := len(b.queue)
			b.mu.Unlock()
			switch {
			case untold > mostUntold:
				b.tell()
			case untold > 0:
				select {
				case b.news <- struct{}{}:
				default: // it knows
				}
			}
		}, func() {
			b.mu.Lock()
			b.whole, b.joints = true, nil
			b.mu.Unlock()
			ready()
		})
	})
	err := g.Wait()
	b.tell()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// await waits until every revision up to rev is in the Book.
func (b *Book) await(ctx context.Context, rev uint64) error {
	for {
		b.mu.Lock()
		if b.watched >= rev {
			b.mu.Unlock()
			return nil
		}
		if b.grown == nil {
			b.grown = make(chan struct{})
		}
		grown := b.grown
		b.mu.Unlock()
		select {
		case <-grown:
		case <-ctx.Done():
			return fmt.Errorf("wait for the alarms' bucket to tell of revision %d: %w", rev, ctx.Err())
		}
	}
}

// forgetLogged lets go of entries that are on the log: those of a hundred thousand alarms on which operators acted
// twenty times are a quarter of a gigabyte, and memory that is short makes everybody wait. The caller holds the lock.
func (h *held) forgetLogged() {
	if len(h.base.Pending) == 0 {
		return
	}
	base := *h.base
	base.Pending = nil
	h.base = &base
}

// index takes what the bucket holds under a key. The caller holds the lock.
func (b *Book) index(e streamlog.Entry) {
	if strings.HasPrefix(e.Key, actPrefix) {
		b.indexAct(e)
		return
	}
	old := b.records[e.Key]
	if old != nil && e.Revision <= old.seq {
		return
	}
	if e.Value == nil {
		b.remove(e.Key)
		return
	}
	if f, ok := b.flying[e.Key]; ok && bytes.Equal(f.value, e.Value) {
		b.put(f.alarm, e.Revision)
		return
	}
	a := &Alarm{}
	err := json.Unmarshal(e.Value, a)
	if err == nil && a.ID != e.Key {
		err = fmt.Errorf("it is alarm %.40q", a.ID)
	}
	if _, noID := parseID(e.Key); cmp.Or(err, noID) != nil {
		err = cmp.Or(err, noID)
		b.log.Error("an alarm in the bucket is unreadable and left out", "key", e.Key, "revision", e.Revision, "error", err)
		return
	}
	b.put(a, e.Revision)
}

// put makes a the newest value of its alarm. The caller holds the lock.
func (b *Book) put(a *Alarm, seq uint64) {
	h := b.records[a.ID]
	if h != nil && seq <= h.seq {
		return
	}
	known := h != nil
	if !known {
		h = &held{row: len(b.rows)}
		h.id, _ = parseID(a.ID)
		b.records[a.ID] = h
		b.rows = append(b.rows, row{})
	}
	old := h.version
	early := b.retake(h.id)
	if known {
		early = mergeRefs(old.refs(h.seq), early)
	}
	var out []ref
	h.version, out = settle(a, seq, early, b.join)
	for _, r := range out {
		b.release(r.deed)
	}
	h.seq = seq
	if b.mark(h); len(a.Pending) > 0 && seq > b.logged {
		b.unlogged[a.ID] = struct{}{}
	}
	switch {
	case !known:
		b.changed(h, nil, h.alarm())
	case old.rev != h.rev: // else only where it is written has changed
		b.changed(h, old.alarm(), h.alarm())
	}
	if seq <= b.logged {
		h.forgetLogged()
	}
}

// changed takes note that an alarm is now another than old, which is nil for a new one; neither is kept. The
// caller holds the lock.
func (b *Book) changed(h *held, old, now *Alarm) {
	b.rows[h.row] = rowOf(h, now, &b.cfg)
	if !sameStand(old, now) {
		if old != nil {
			b.stands.remove(old)
		}
		b.stands.add(now)
		b.changes++
	}
	b.changeFirsts(old, now)
	b.history.note(old, now)
	if b.listen != nil {
		b.queue = append(b.queue, h.version)
	}
}

// remove forgets an alarm. The caller holds the lock.
func (b *Book) remove(id string) {
	h := b.records[id]
	if h == nil {
		return
	}
	delete(b.records, id)
	delete(b.unlogged, id)
	b.stands.remove(h.alarm())
	b.changeFirsts(h.alarm(), nil)
	for t := h.acts; t != nil; t = t.before {
		b.release(t.deed)
	}
	h.acts = nil
	last := len(b.rows) - 1
	b.rows[h.row] = b.rows[last]
	b.rows[h.row].h.row = h.row
	b.rows[last] = row{}
	b.rows = b.rows[:last]
	h.row = -1
}

// mostUntold is how many changes wait for the listener before the next one does; toldAtOnce is how many of them
// it has in hand.
const (
	mostUntold = 200_000
	toldAtOnce = 250
)

// tell calls the listener with what changed, in order.
func (b *Book) tell() {
	b.telling.Lock()
	defer b.telling.Unlock()
	for {
		b.mu.Lock()
		queue, listen := b.queue, b.listen
		b.queue = nil
		b.mu.Unlock()
		if len(queue) == 0 {
			return
		}
		n := min(len(queue), toldAtOnce)
		told, views := make([]Record, n), make([]view, n)
		for some := range slices.Chunk(queue, toldAtOnce) {
			for i, v := range some {
				told[i] = Record{views[i].of(v), v.rev}
			}
			listen(told[:len(some)])
		}
	}
}

// OnChange has listen called with every change of an alarm, in the order of each alarm's changes. Set
// it before Run; there is one listener, and it must not change alarms nor keep what it is
// given, which lacks Pending. Nobody who acts waits for it.
func (b *Book) OnChange(listen func([]Record)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.listen = listen
}

// Get returns an alarm.
func (b *Book) Get(id string) (Record, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	if h := b.records[id]; h != nil {
		return h.record(), true
	}
	return Record{}, false
}

// Len is how many alarms are held, normal ones included.
func (b *Book) Len() int {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return len(b.records)
}

package alarms

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	streamlog "panormus/stream/log"
)

// A Bucket is where alarms are kept; *log.KV is one.
type Bucket interface {
	Entry(ctx context.Context, key string) (streamlog.Entry, error)
	SwapAll(ctx context.Context, swaps []streamlog.Swap)
	Put(ctx context.Context, key string, value []byte) error
	Remove(ctx context.Context, key string, after uint64) error
	Delete(ctx context.Context, key string) error
	WatchEntries(ctx context.Context, change func(streamlog.Entry), synced func()) error
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

// A Book is all alarms, in memory, as the bucket has them: one a process. It is safe for concurrent
// use.
type Book struct {
	cfg    Config
	bucket Bucket
	desk   Bucket
	log    *slog.Logger

	mu       sync.RWMutex
	records  map[string]Record
	watched  uint64              // every revision up to this one is in records
	logged   uint64              // entries of values up to this revision are on the log
	unlogged map[string]struct{} // whose entries may not be
	stands   standing
	changes  uint64 // counts what may change which alarms are held
	history  history
	windows  map[string]Window
	// windowsOf are the same by what they name.
	windowsOf map[string][]Window
	flying    map[string]flight // what is being written: the watch brings it back, often before the answer
	queue     []Record          // for listen
	listen    func([]Record)
	progress  chan struct{} // one slot: watched grew

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
		cfg: cfg, bucket: bucket, desk: desk, log: log, records: map[string]Record{}, unlogged: map[string]struct{}{},
		stands: standing{}, flying: map[string]flight{}, windows: map[string]Window{}, progress: make(chan struct{}, 1),
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
		select {
		case <-desk: // first: which entries are logged
		case <-ctx.Done():
			return ctx.Err()
		}
		return b.bucket.WatchEntries(ctx, func(e streamlog.Entry) {
			b.mu.Lock()
			b.index(e)
			b.watched = max(b.watched, e.Revision)
			b.mu.Unlock()
			select {
			case b.progress <- struct{}{}:
			default:
			}
			b.tell()
		}, ready)
	})
	err := g.Wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// index takes what the bucket holds under a key. The caller holds the lock.
func (b *Book) index(e streamlog.Entry) {
	old, had := b.records[e.Key]
	if had && e.Revision <= old.Rev {
		return
	}
	if e.Value == nil {
		if had {
			delete(b.records, e.Key)
			delete(b.unlogged, e.Key)
			b.stands.remove(old.Alarm)
		}
		return
	}
	if f, ok := b.flying[e.Key]; ok && bytes.Equal(f.value, e.Value) {
		b.put(Record{f.alarm, e.Revision})
		return
	}
	a := &Alarm{}
	if err := json.Unmarshal(e.Value, a); err != nil || a.ID != e.Key {
		b.log.Error("an alarm in the bucket is unreadable and left out", "key", e.Key, "revision", e.Revision, "error", err)
		return
	}
	b.put(Record{a, e.Revision})
}

// put makes r the newest of its alarm. The caller holds the lock.
func (b *Book) put(r Record) {
	old, had := b.records[r.ID]
	if had && r.Rev <= old.Rev {
		return
	}
	b.records[r.ID] = r
	if had {
		b.stands.remove(old.Alarm)
	}
	b.stands.add(r.Alarm)
	if !had || old.Active != r.Active {
		b.changes++
	}
	if len(r.Pending) > 0 && r.Rev > b.logged {
		b.unlogged[r.ID] = struct{}{}
	}
	b.history.note(old.Alarm, r.Alarm)
	if b.listen != nil {
		b.queue = append(b.queue, r)
	}
}

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
		listen(queue)
	}
}

// OnChange has listen called with every change of an alarm, in the order of each alarm's changes. Set
// it before Run; there is one listener, and it must not change alarms.
func (b *Book) OnChange(listen func([]Record)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.listen = listen
}

// Get returns an alarm.
func (b *Book) Get(id string) (Record, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	r, ok := b.records[id]
	return r, ok
}

// Len is how many alarms are held, normal ones included.
func (b *Book) Len() int {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return len(b.records)
}

// A Result is what came of changing one alarm.
type Result struct {
	ID     string
	Record Record // as it is now, where it is known
	Err    error  // ErrNotFound, a *Conflict, ErrInvalid or why it could not be written
}

// attempts is how often a change is tried against others who change the same alarm.
const attempts = 16

// maxPending bounds the entries of one alarm that wait for the log.
const maxPending = 256

// edit changes alarms, each at most once. Fn gets a copy of the alarm, or a nil one and an empty record
// where there is none, and returns it changed, or nil to leave it. It may be called again when somebody
// else was faster.
func (b *Book) edit(ctx context.Context, ids []string, fn func(i int, a *Alarm, r Record) (*Alarm, error)) []Result {
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
			a, after, err := b.step(ids[i], func(a *Alarm, r Record) (*Alarm, error) { return fn(i, a, r) })
			out[i] = Result{ID: ids[i], Err: err}
			out[i].Record, _ = b.Get(ids[i])
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
		b.mu.Lock()
		for j := range swaps {
			b.flying[swaps[j].Key] = flight{swaps[j].Value, made[j]}
		}
		b.mu.Unlock()
		b.bucket.SwapAll(ctx, swaps)
		b.mu.Lock()
		for j := range swaps {
			delete(b.flying, swaps[j].Key)
			if swaps[j].Err == nil {
				r := Record{made[j], swaps[j].Revision}
				if out[of[j]].Record = r; r.Rev > b.watched { // else the watch has told of it, or of a later one
					b.put(r)
				}
			}
		}
		b.mu.Unlock()
		todo = todo[:0]
		for j := range swaps {
			i := of[j]
			switch err := swaps[j].Err; {
			case err == nil:
			case errors.Is(err, streamlog.ErrChanged):
				out[i].Err = fmt.Errorf("change alarm %s: %w", ids[i], err)
				if e, err := b.bucket.Entry(ctx, ids[i]); err != nil {
					out[i].Err = err
				} else {
					removed[ids[i]] = e.Revision
					b.mu.Lock()
					b.index(e)
					b.mu.Unlock()
					todo = append(todo, i)
				}
			default:
				out[i].Err = err
			}
		}
	}
	b.tell()
	return out
}

// step makes the next value of an alarm and says after which revision it comes.
func (b *Book) step(id string, fn func(*Alarm, Record) (*Alarm, error)) (*Alarm, uint64, error) {
	b.mu.RLock()
	r, ok := b.records[id]
	logged := b.logged
	b.mu.RUnlock()
	if !ok {
		a, err := fn(nil, Record{})
		return a, 0, err
	}
	a := r.clone()
	if r.Rev <= logged {
		a.Pending = nil
	}
	a, err := fn(a, r)
	if err == nil && a != nil && len(a.Pending) > maxPending {
		return nil, 0, fmt.Errorf("alarm %s: %d entries wait for the alarm log, want at most %d", id, len(a.Pending), maxPending)
	}
	return a, r.Rev, err
}

// Act does the same to alarms, one after the other or side by side, and says what came of each. A
// repeated id is done once.
func (b *Book) Act(ctx context.Context, ids []string, x Act) ([]Result, error) {
	now := time.Now().UTC().Truncate(time.Millisecond)
	if err := x.Check(now, &b.cfg); err != nil {
		return nil, err
	}
	once := make([]string, 0, len(ids))
	seen := make(map[string]struct{}, len(ids))
	for _, id := range ids {
		if _, ok := seen[id]; !ok {
			seen[id] = struct{}{}
			once = append(once, id)
		}
	}
	return b.edit(ctx, once, func(_ int, a *Alarm, r Record) (*Alarm, error) {
		if a == nil {
			return nil, ErrNotFound
		}
		if err := a.act(&x, now, r); err != nil {
			return nil, err
		}
		return a, nil
	}), nil
}

package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"panormus/stream/batch"
	streamlog "panormus/stream/log"
)

// WriterConfig says how the writer groups. The zero value has the defaults.
type WriterConfig struct {
	// MaxRows closes a group; default 500,000. A group may hold one batch more.
	MaxRows int
	// MaxBytes closes a group by the size of its batches on the log; default 64 MiB.
	MaxBytes int
	// MaxWait is how long a row waits for company while the database has time; default 1 s.
	MaxWait time.Duration

	Log *slog.Logger
}

// Consumer is the writer's name among the consumers of the log.
const Consumer = "writer"

const (
	insertTimeout = 10 * time.Minute
	// stopTimeout is what work in hand gets after the end of Run's context.
	stopTimeout   = 5 * time.Second
	firstPause    = 100 * time.Millisecond
	longestPause  = 5 * time.Second
	decodedQueued = 32 // batches decoded ahead of the group
)

// A Writer brings the batches of the log into the database, each exactly once. Its methods are safe
// for concurrent use.
type Writer struct {
	db    *DB
	log   *streamlog.Log
	cfg   WriterConfig
	lanes []*lane
}

// NewWriter makes a writer; call Run. A log has one running writer at a time.
func NewWriter(db *DB, log *streamlog.Log, cfg WriterConfig) *Writer {
	if cfg.MaxRows <= 0 {
		cfg.MaxRows = 500_000
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = 64 << 20
	}
	if cfg.MaxWait <= 0 {
		cfg.MaxWait = time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	w := &Writer{db: db, log: log, cfg: cfg}
	for _, kind := range storedKinds {
		w.lanes = append(w.lanes, &lane{w: w, kind: kind})
	}
	return w
}

// Run stores until ctx ends, then finishes the insert in hand, for stopTimeout at most. It does not
// end because the database is away.
func (w *Writer) Run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	for _, l := range w.lanes {
		g.Go(func() error { return l.run(gctx) })
	}
	g.Go(func() error { return w.measureLag(gctx) })
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// Stored is how many observations were stored since the start.
func (w *Writer) Stored() int64 { return w.StoredOf(batch.KindObservations) }

// StoredOf is how many rows of kind were stored since the start.
func (w *Writer) StoredOf(kind batch.Kind) int64 {
	for _, l := range w.lanes {
		if l.kind == kind {
			return l.stored.Load()
		}
	}
	return 0
}

// Lag is how many batches of the log are not stored yet, of all kinds.
func (w *Writer) Lag(ctx context.Context) (int64, error) {
	var total int64
	for _, l := range w.lanes {
		last, err := w.log.LastSeq(ctx, l.kind)
		if err != nil {
			return 0, err
		}
		if at := l.at.Load(); last > at {
			total += int64(last - at)
		}
	}
	return total, nil
}

// Err is why storing fails at present, nil while it does not.
func (w *Writer) Err() error {
	var errs []error
	for _, l := range w.lanes {
		l.mu.Lock()
		if l.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", l.kind, l.err))
		}
		l.mu.Unlock()
	}
	return errors.Join(errs...)
}

func (w *Writer) measureLag(ctx context.Context) error {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, l := range w.lanes {
			if last, err := w.log.LastSeq(ctx, l.kind); err == nil {
				w.db.metrics.lag.WithLabelValues(string(l.kind)).Set(float64(last - min(last, l.at.Load())))
			}
		}
	}
}

// A lane stores one kind. Three goroutines: one reads and decodes, one groups, one inserts, so that
// the next group fills while the last is on its way.
type lane struct {
	w      *Writer
	kind   batch.Kind
	stored atomic.Int64
	at     atomic.Uint64 // everything up to this sequence is stored

	mu  sync.Mutex
	err error
}

// A unit is one batch of the log, decoded; rows is nil where that was impossible, and err why.
type unit struct {
	seq    uint64
	stored time.Time
	bytes  int
	rows   rowSet
	data   []byte // kept only of what could not be decoded
	err    error
}

// A group is a run of batches, (from, to] of the log, that goes out in one insert.
type group struct {
	from, to uint64
	units    []unit
	rows     int
	bytes    int
}

func (g *group) add(u unit) {
	g.units = append(g.units, u)
	g.to = u.seq
	g.bytes += u.bytes
	if u.rows != nil {
		g.rows += u.rows.len()
	}
}

func (l *lane) run(ctx context.Context) error {
	var pos streamlog.Position
	if err := l.retry(ctx, "read the writer's position", func(ctx context.Context) (err error) {
		pos, err = l.w.log.Position(ctx, Consumer, l.kind)
		return err
	}); err != nil {
		return nil // ctx ended
	}
	l.at.Store(pos.Seq)
	g, gctx := errgroup.WithContext(ctx)
	units := make(chan unit, decodedQueued)
	groups := make(chan *group)
	g.Go(func() error { return l.read(gctx, pos.Seq, units) })
	g.Go(func() error { return l.collect(gctx, pos, units, groups) })
	g.Go(func() error {
		for {
			select {
			case <-gctx.Done():
				return nil
			case next := <-groups:
				if err := l.store(gctx, next); err != nil {
					return err
				}
			}
		}
	})
	return g.Wait()
}

// read decodes the log from after on into units. A broken reader is replaced.
func (l *lane) read(ctx context.Context, after uint64, units chan<- unit) error {
	pause := firstPause
	for ctx.Err() == nil {
		err := l.readOnce(ctx, &after, units)
		if ctx.Err() != nil {
			return nil
		}
		l.w.cfg.Log.Warn("reading the log again", "kind", l.kind, "after", after, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(pause/2 + rand.N(pause)):
		}
		pause = min(2*pause, longestPause)
	}
	return nil
}

func (l *lane) readOnce(ctx context.Context, after *uint64, units chan<- unit) error {
	r, err := l.w.log.Read(ctx, l.kind, *after)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		m, err := r.Next(ctx)
		if err != nil {
			return err
		}
		u := unit{seq: m.Seq, stored: m.Stored, bytes: len(m.Data)}
		if u.rows, err = decodeRows(l.kind, m.Data); err != nil {
			u.rows, u.err, u.data = nil, err, m.Data
		}
		select {
		case units <- u:
			*after = m.Seq
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// collect makes groups. The first repeats what was begun before the last end, in its old bounds. A
// group is offered once it is old enough and grows, up to its limits, while nobody takes it.
func (l *lane) collect(ctx context.Context, pos streamlog.Position, units <-chan unit, groups chan<- *group) error {
	g := &group{from: pos.Seq, to: pos.Seq}
	redo := pos.Until // of the group at hand, 0 for none
	if redo <= pos.Seq {
		redo = 0
	}
	timer := time.NewTimer(l.w.cfg.MaxWait)
	timer.Stop()
	var held *unit // the first unit behind a group that is repeated
	due := false
	for {
		full := g.rows >= l.w.cfg.MaxRows || g.bytes >= l.w.cfg.MaxBytes
		if redo != 0 {
			due, full = false, g.to >= redo || held != nil
			if full {
				g.to = redo
			}
		}
		in, out := units, groups
		if full || held != nil {
			in = nil
		}
		if !full && !due || len(g.units) == 0 && redo == 0 {
			out = nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			due = true
		case u := <-in:
			if redo != 0 && u.seq > redo { // what was in the bounds is gone from the log
				held = &u
				continue
			}
			if len(g.units) == 0 {
				timer.Reset(l.w.cfg.MaxWait)
			}
			g.add(u)
		case out <- g:
			g = &group{from: g.to, to: g.to}
			redo, due = 0, false
			if held != nil {
				g.add(*held)
				held = nil
				timer.Reset(l.w.cfg.MaxWait)
			}
		}
	}
}

package alarms

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"panormus/stream/batch"
	streamlog "panormus/stream/log"
)

// Consumer is the worker's name at the log.
const Consumer = "alarms"

// WorkerConfig is what a worker is made of. Log and Book are wanted.
type WorkerConfig struct {
	Log  *streamlog.Log
	Book *Book
	// Parent is the device that another hangs on, whose alarm explains the other's; "" for none. May be
	// nil.
	Parent  func(device string) string
	Logger  *slog.Logger
	Metrics prometheus.Registerer
}

// Times of a worker's work.
const (
	tickEvery   = time.Second
	logEvery    = 250 * time.Millisecond
	stopTimeout = 5 * time.Second
	rowsABatch  = 4096
	// logAfter is how many changes of one alarm in one batch are made before the alarm log is written.
	logAfter = maxPending / 4
	// foldMost is how many alarms take in what operators did before events, and other operators, have their
	// turn again, foldActs how many acts they do; foldedMost is how many are taken in before they are on the alarm log.
	foldMost, foldActs = 250, 2500
	foldedMost         = 20_000
	foldWait           = 2 * time.Second
)

// A Worker turns events into alarms, does what time does to them and writes the alarm log. One runs at a
// time; a second one beside it, while a first is leaving, does no harm.
type Worker struct {
	cfg     WorkerConfig
	book    *Book
	applied atomic.Uint64
	metrics *metrics
	every   time.Duration           // tickEvery
	hook    func(step string) error // a test's, which ends the worker there as a kill would
}

// NewWorker makes a worker; Run starts it.
func NewWorker(cfg WorkerConfig) *Worker {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Worker{cfg: cfg, book: cfg.Book, every: tickEvery, metrics: newMetrics(cfg.Book, cfg.Metrics)}
}

// Applied is the sequence of events up to which all are alarms.
func (w *Worker) Applied() uint64 { return w.applied.Load() }

// Lag is how many batches of events are not applied yet.
func (w *Worker) Lag(ctx context.Context) (int64, error) {
	last, err := w.cfg.Log.LastSeq(ctx, batch.KindEvents)
	if err != nil {
		return 0, err
	}
	return int64(last - min(last, w.applied.Load())), nil
}

func (w *Worker) step(name string) error {
	if w.hook == nil {
		return nil
	}
	return w.hook(name)
}

// run is the state of one Run.
type run struct {
	*Worker
	seq, kept uint64
	folded    int              // acts since the alarm log was written
	heldUp    time.Time        // since when it is left to operators who act
	published map[string]int64 // newest entry of an alarm on the log, where the Book does not know yet
	reviewed  uint64           // the Book's changes at the last review
	bounds    time.Time        // when a window begins or ends next
}

// Run works until ctx ends. Any other end is an error; a new Run goes on where this one was. The Book
// must be whole.
func (w *Worker) Run(ctx context.Context) error {
	at, err := w.cfg.Log.Position(ctx, Consumer, batch.KindEvents)
	if err != nil {
		return orNil(ctx, err)
	}
	// From now on the log keeps what is not applied.
	if err := w.cfg.Log.SetPosition(ctx, Consumer, batch.KindEvents, at); err != nil {
		return orNil(ctx, err)
	}
	r := &run{Worker: w, seq: at.Seq, kept: at.Seq, published: map[string]int64{}}
	w.applied.Store(at.Seq)
	reader, err := w.cfg.Log.Read(ctx, batch.KindEvents, at.Seq)
	if err != nil {
		return orNil(ctx, err)
	}
	defer reader.Close()
	messages, failed, stop := reader.Ahead(ctx, 64)
	defer stop()
	if err := r.loop(ctx, messages, failed); err != nil {
		return err
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := r.writeLog(last); err != nil {
		return err
	}
	return r.keep(last)
}

func orNil(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func (r *run) loop(ctx context.Context, messages <-chan streamlog.Message, failed <-chan error) error {
	tick, entries := time.NewTicker(r.every), time.NewTicker(logEvery)
	defer tick.Stop()
	defer entries.Stop()
	more := make(chan struct{}, 1) // acts are left to fold
	for {
		var err error
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return orNil(ctx, err)
		case m := <-messages:
			err = r.take(ctx, m)
		case now := <-tick.C:
			if err = r.tick(ctx, now.UTC().Truncate(time.Millisecond)); err == nil {
				err = r.keep(ctx)
			}
		case <-entries.C:
			err = r.foldSome(ctx, more)
		case <-more:
			err = r.foldSome(ctx, more)
		}
		if err != nil {
			return orNil(ctx, err)
		}
	}
}

// take applies one batch of events: rounds in which every alarm changes once, so that each change is a
// revision of its own and nobody who follows the alarms misses one.
func (r *run) take(ctx context.Context, m streamlog.Message) error {
	if err := r.Worker.step("take"); err != nil {
		return err
	}
	events, err := batch.DecodeEvents(m.Data)
	if err != nil {
		// Nobody can mend it and it must not stop the others; the writer files it.
		r.cfg.Logger.Error("a batch of events cannot be read and makes no alarms", "sequence", m.Seq, "error", err)
		events = nil
	}
	type place struct {
		ev *batch.Event
		at Place
	}
	var rounds [][]place
	turn := map[string]int{}
	for i := range events {
		if events[i].Shadow() {
			continue
		}
		id := ID(events[i].Rule, events[i].Key)
		n := turn[id]
		turn[id]++
		if n == len(rounds) {
			rounds = append(rounds, nil)
		}
		rounds[n] = append(rounds[n], place{&events[i], Place{m.Seq, i}})
	}
	for n, round := range rounds {
		if n > 0 && n%logAfter == 0 {
			if err := r.settleLog(ctx); err != nil {
				return err
			}
		}
		ids := make([]string, len(round))
		for i, p := range round {
			ids[i] = ID(p.ev.Rule, p.ev.Key)
		}
		about, early := standing{}, firsts{}
		now := time.Now()
		results := r.book.edit(ctx, ids, func(i int, a *Alarm) (*Alarm, error) {
			ev := round[i].ev
			if a == nil {
				if ev.State == "cleared" || rank(ev.Severity) < rank(r.book.cfg.From) {
					return nil, nil
				}
				if r.book.Len() >= r.book.cfg.Max {
					return nil, errFull
				}
				a = &Alarm{ID: ids[i], Rule: ev.Rule, Key: ev.Key, Confirmed: true}
			}
			probe := &Alarm{ID: a.ID, Rule: ev.Rule, Domain: ev.Domain, Device: ev.Device, Zone: ev.Zone}
			r.book.mu.RLock()
			hold := r.book.holdOf(probe, now, r.cfg.Parent, about)
			r.book.mu.RUnlock()
			was := a.Open()
			if !a.apply(ev, round[i].at, hold, &r.book.cfg) {
				return nil, nil
			}
			if !was && a.Open() {
				r.book.assign(a, r.cfg.Parent, early)
			}
			about.add(a)
			return a, nil
		})
		for _, res := range results {
			if errors.Is(res.Err, errFull) {
				r.metrics.refused.Inc()
				r.cfg.Logger.Error("an event made no alarm", "id", res.ID, "alarms", r.book.Len(), "error", res.Err)
				continue
			}
			if res.Err != nil {
				return res.Err
			}
		}
		if err := r.Worker.step("applied"); err != nil {
			return err
		}
	}
	r.seq = m.Seq
	r.applied.Store(m.Seq)
	r.metrics.events.Add(float64(len(events)))
	return nil
}

// errFull is the answer to a new alarm beyond Config.Max.
var errFull = errors.New("there are as many alarms as are allowed")

// tick does what time does.
func (r *run) tick(ctx context.Context, now time.Time) error {
	b := r.book
	var due, old []string
	var early []*held
	var look view
	ms := now.UnixMilli()
	b.eachRow(func(w *row) {
		if w.due == 0 || ms < w.due {
			return
		}
		rec := look.of(w.h.version)
		if at := rec.due(&b.cfg); !at.IsZero() && !now.Before(at) {
			due = append(due, w.id)
		} else if w.state != Normal || now.Sub(rec.Changed) <= b.cfg.Keep {
			early = append(early, w.h)
		}
		// Not before the position is past its newest event, whose replay would raise it anew.
		if w.state == Normal && now.Sub(rec.Changed) > b.cfg.Keep && rec.At.Seq <= r.kept && w.h.seq <= b.logged && w.h.acts == nil {
			old = append(old, w.id)
		}
	})
	b.lookLater(early)
	err := failure(b.edit(ctx, due, func(_ int, a *Alarm) (*Alarm, error) {
		if a == nil || !a.tick(now, &b.cfg) {
			return nil, nil
		}
		return a, nil
	}))
	if err != nil {
		return err
	}
	if err := r.forget(ctx, old); err != nil {
		return err
	}
	if err := cmp.Or(b.dropSettled(ctx, now), b.giveUp(ctx, now)); err != nil {
		return err
	}
	if err := r.regroup(ctx, now); err != nil {
		return err
	}
	if err := r.review(ctx, now); err != nil {
		return err
	}
	return r.floods(ctx, now)
}

// forget removes alarms that nothing has happened to for long. Each is first said to be gone, so that
// what an operator does in that moment either comes before and keeps it, or is told that there is none.
func (r *run) forget(ctx context.Context, ids []string) error {
	b := r.book
	err := failure(b.edit(ctx, ids, func(_ int, a *Alarm) (*Alarm, error) {
		if a != nil {
			a.Gone = true
		}
		return a, nil
	}))
	if err != nil {
		return err
	}
	for _, id := range ids {
		b.mu.RLock()
		h := b.records[id]
		gone, seq := h != nil && h.gone(), uint64(0)
		if gone {
			seq = h.seq
		}
		b.mu.RUnlock()
		if !gone {
			continue
		}
		if err := b.bucket.Remove(ctx, id, seq); err != nil && !errors.Is(err, streamlog.ErrChanged) {
			return err
		}
	}
	return nil
}

func failure(results []Result) error {
	for _, res := range results {
		if res.Err != nil {
			return res.Err
		}
	}
	return nil
}

// review holds and releases alarms where what holds them changed.
func (r *run) review(ctx context.Context, now time.Time) error {
	b := r.book
	var ids []string
	var holds []Hold
	b.mu.RLock()
	changes := b.changes
	if changes == r.reviewed && (r.bounds.IsZero() || now.Before(r.bounds)) {
		b.mu.RUnlock()
		return nil
	}
	r.bounds = time.Time{}
	for _, w := range b.windows {
		for _, t := range []time.Time{w.From, w.To} {
			if t.After(now) && (r.bounds.IsZero() || t.Before(r.bounds)) {
				r.bounds = t
			}
		}
	}
	b.mu.RUnlock()
	var look view
	b.eachRow(func(w *row) {
		if w.state == Normal || w.state == Returned {
			return // no condition holds
		}
		about := &Alarm{ID: w.id, Rule: w.rule, Domain: w.domain, Device: w.device, Zone: w.zone}
		h := b.holdOf(about, now, r.cfg.Parent, nil)
		if h.State == "" && (w.state == Unacked || w.state == Acked) {
			return // nor was it held
		}
		if rec := look.of(w.h.version); rec.Active && h != rec.Hold {
			ids, holds = append(ids, w.id), append(holds, h)
		}
	})
	r.reviewed = changes
	return failure(b.edit(ctx, ids, func(i int, a *Alarm) (*Alarm, error) {
		if a == nil || !a.hold(holds[i], now) {
			return nil, nil
		}
		return a, nil
	}))
}

// floods notes the begin and the end of a flood.
func (r *run) floods(ctx context.Context, now time.Time) error {
	b := r.book
	b.mu.Lock()
	b.history.forget(now)
	floods, changed := b.history.nextFloods(now, b.cfg.flood())
	b.mu.Unlock()
	if !changed {
		return nil
	}
	value, err := json.Marshal(floods)
	if err != nil {
		return err
	}
	if err := b.desk.Put(ctx, floodsKey, value); err != nil {
		return err
	}
	b.takeDesk(streamlog.Entry{Key: floodsKey, Value: value})
	if last := floods[len(floods)-1]; last.End.IsZero() {
		r.cfg.Logger.Warn("alarm flood", "more than", b.cfg.Flood.Begin, "within", b.cfg.Flood.Within)
	} else {
		r.cfg.Logger.Info("the alarm flood is over", "after", last.End.Sub(last.Begin))
	}
	return nil
}

// keep moves the position past what is in the bucket.
func (r *run) keep(ctx context.Context) error {
	if r.seq == r.kept {
		return nil
	}
	if err := r.Worker.step("keep"); err != nil {
		return err
	}
	if err := r.cfg.Log.SetPosition(ctx, Consumer, batch.KindEvents, streamlog.Position{Seq: r.seq}); err != nil {
		return err
	}
	r.kept = r.seq
	return nil
}

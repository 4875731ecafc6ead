package rules

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"panormus/stream/batch"
	streamlog "panormus/stream/log"
)

// Consumer is the worker's name at the log.
const Consumer = "rules"

// Source is where a worker's rules come from; *Store is one, and so is a FixedSource.
type Source interface {
	Set() *Set
	// Changed returns a channel that is closed at the next change of the set.
	Changed() <-chan struct{}
}

// FixedSource is a set that never changes.
type FixedSource struct{ Rules *Set }

// Set returns the set.
func (f FixedSource) Set() *Set { return f.Rules }

// Changed returns a channel that is never closed.
func (f FixedSource) Changed() <-chan struct{} { return nil }

// WorkerConfig is what a worker is made of. Log and Rules are wanted, the rest has defaults.
type WorkerConfig struct {
	Log   *streamlog.Log
	Rules Source
	// Engine is the engine's configuration, the registry among it; Partitions is the log's.
	Engine Config
	// Partitions this worker evaluates, where several share the work: it judges the rules whose keys are single
	// devices and that ask no others. nil for all partitions and all rules, or with Spanning the other rules
	// alone, which are no other worker's. Each partition's state and position are kept for themselves, so
	// that it may move to another worker at any time.
	Partitions []int
	Spanning   bool
	// Lease is for how long others leave a worker alone of which nothing is heard: of all that are told to
	// evaluate the same one does, the others wait. At least twice stopTimeout; 0 for none, where there is no other.
	Lease time.Duration
	// Hours calls each for the hours that the database has of metrics, those of a device in order of time:
	// what baselines begin with. nil: they are learned of what comes.
	Hours func(ctx context.Context, q HoursQuery, each func(Hour) error) error
	// Checkpoint is how often state is kept; default 10 s.
	Checkpoint time.Duration
	Logger     *slog.Logger
	Metrics    prometheus.Registerer
}

// A Worker reads observations from the log, evaluates them and publishes events. Events are on the
// log before the checkpoint moves, and ids are deterministic: after a crash it replays from the
// checkpoint and skips the events that the log has already, so each is there once.
type Worker struct {
	cfg     WorkerConfig
	engine  atomic.Pointer[Engine]
	applied atomic.Uint64 // everything up to this sequence of observations is evaluated and its events published
	pending atomic.Uint64 // batches of its partitions behind the last one, when that was delivered
	holds   atomic.Bool   // the lease of its share
	owner   string        // of leases
	metrics *metrics

	// Tests set these. hook is told of every step and may end the worker there, as a kill would.
	hook  func(step string) error
	every time.Duration // between ticks
	most  int           // batches of a round
}

// NewWorker makes a worker; Run starts it.
func NewWorker(cfg WorkerConfig) *Worker {
	if cfg.Checkpoint <= 0 {
		cfg.Checkpoint = 10 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	cfg.Engine.Partitions = cfg.Log.Partitions()
	w := &Worker{cfg: cfg, owner: rand.Text(), every: time.Second, most: roundBatches}
	w.engine.Store(New(cfg.Engine, w.rules()))
	w.metrics = newMetrics(w, cfg.Metrics)
	return w
}

// Stats is what was done since Run began.
func (w *Worker) Stats() Stats { return w.engine.Load().Stats() }

// Events is how many events were made since Run began, those of a replay that the log had already
// not among them.
func (w *Worker) Events() int64 { return w.metrics.published.Load() }

// Lag is how many batches of the log are not evaluated yet; of a worker that shares the partitions, how many
// of its own lay there behind the last one when that was delivered.
func (w *Worker) Lag(ctx context.Context) (int64, error) {
	if w.own() {
		return int64(w.pending.Load()), nil
	}
	last, err := w.cfg.Log.LastSeq(ctx, batch.KindObservations)
	if err != nil {
		return 0, err
	}
	return int64(last - min(last, w.applied.Load())), nil
}

// Bounds of one round: what is evaluated together between two looks at the clock.
const (
	roundBatches = 128
	roundBytes   = 16 << 20
	eventsABatch = 2048
	stopTimeout  = 5 * time.Second
	haveForMs    = 600_000
)

// Run evaluates until ctx ends, then keeps its state and returns. Any error ends it; a new Run
// takes up at the last checkpoint.
func (w *Worker) Run(ctx context.Context) error { return w.leased(ctx, w.run) }

func (w *Worker) run(ctx context.Context) error {
	r := &run{Worker: w, engine: New(w.cfg.Engine, w.rules())}
	r.eventSink = eventSink{log: w.cfg.Log, remember: true, published: &w.metrics.published, skipped: w.metrics.skipped, before: w.step}
	if err := r.restore(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	w.engine.Store(r.engine)
	err := r.loop(ctx)
	r.writing.Wait()
	if err == nil {
		err = r.writeErr
	}
	if err != nil {
		return err
	}
	if lost := context.Cause(ctx); errors.Is(lost, errLeaseLost) {
		return lost // what is evaluated and kept is another's matter now
	}
	// The end of ctx stops the intake; what was evaluated is kept, so that the next start replays nothing.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return r.write(last, r.snapshots())
}

// own reports whether the worker judges only rules whose keys are single devices.
func (w *Worker) own() bool { return len(w.cfg.Partitions) > 0 && !w.cfg.Spanning }

// rules are those that run, the ones of other workers out of force.
func (w *Worker) rules() *Set {
	set := w.cfg.Rules.Set()
	if !w.own() && !w.cfg.Spanning {
		return set
	}
	out := &Set{Version: set.Version}
	for _, r := range set.Rules {
		if r.wide() != w.cfg.Spanning {
			off := *r
			off.Disabled = true
			r = &off
		}
		out.Rules = append(out.Rules, r)
	}
	return out
}

func (w *Worker) step(name string) error {
	if w.hook == nil {
		return nil
	}
	return w.hook(name)
}

// run is the state of one Run. Its fields belong to the goroutine of loop.
type run struct {
	*Worker
	eventSink
	engine   *Engine
	objects  *streamlog.Objects
	restored []uint64 // by partition: what its snapshot holds already
	from     uint64
	seq      uint64 // applied up to here
	repeats  uint64 // the position of events that a further replay needs, until this one is over
	replayed bool   // what came before the start is evaluated, and the clock has moved since
	open     openings
	liveAt   int64 // processing time when everything was caught up; 0: not yet

	behind   uint64 // the log's end at the last tick
	behindAt int64
	kept     keptMark
	taking   *checkpoint   // of which not all snapshots are taken; nil for none
	always   chan struct{} // closed
	writing  sync.WaitGroup
	writeErr error
	busy     atomic.Bool

	past *pastReader
}

type keptMark struct{ seq, events uint64 }

func (r *run) loop(ctx context.Context) error {
	messages, failed, pending, stop, err := followPending(ctx, r.cfg.Log, batch.KindObservations, r.from, r.filter())
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer stop()
	r.pending.Store(pending)
	tick := time.NewTicker(r.every)
	defer tick.Stop()
	keep := time.NewTicker(r.cfg.Checkpoint)
	defer keep.Stop()
	r.past = newPastReader(r.cfg.Hours, r.cfg.Logger)
	r.always = make(chan struct{})
	close(r.always)
	parent := ctx
	ctx, cancel := context.WithCancel(parent)
	defer r.past.all.Wait()
	defer cancel()
	changed := r.cfg.Rules.Changed()
	r.changeRules(time.Now().UnixMilli()) // what changed since the engine was made
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			if parent.Err() != nil { // the reader may learn of its end before ctx does
				return nil
			}
			return err
		case m := <-messages:
			err = r.round(ctx, streamlog.Collect(m, messages, r.most, roundBytes, streamlog.Message.Size))
		case <-changed:
			changed = r.cfg.Rules.Changed()
			r.changeRules(time.Now().UnixMilli())
			err = r.settle(ctx)
		case <-tick.C:
			err = r.tick(ctx, len(messages) == 0)
		case <-keep.C:
			err = r.keep(ctx)
		case <-r.part():
			r.keepPart(ctx)
		case p := <-r.past.read:
			err = r.teach(ctx, p)
		}
		if err != nil {
			return err
		}
	}
}

// follow reads a kind of the log ahead, up to a round, until stop is called or reading fails.
func follow(ctx context.Context, l *streamlog.Log, kind batch.Kind, after uint64, partitions []int) (
	messages <-chan streamlog.Message, failed <-chan error, stop func(), err error,
) {
	messages, failed, _, stop, err = followPending(ctx, l, kind, after, partitions)
	return messages, failed, stop, err
}

// followPending says besides how many batches there were to read.
func followPending(ctx context.Context, l *streamlog.Log, kind batch.Kind, after uint64, partitions []int) (
	messages <-chan streamlog.Message, failed <-chan error, pending uint64, stop func(), err error,
) {
	reader, err := l.Read(ctx, kind, after, partitions...)
	if err != nil {
		return nil, nil, 0, nil, err
	}
	pending = reader.Pending()
	messages, failed, end := reader.Ahead(ctx, roundBatches)
	return messages, failed, pending, func() { end(); reader.Close() }, nil
}

// round evaluates batches, the partitions side by side and each in order, and publishes what came
// of them.
func (r *run) round(ctx context.Context, all []streamlog.Message) error {
	if err := r.step("round"); err != nil {
		return err
	}
	byPartition := map[int][]streamlog.Message{}
	for _, m := range all {
		if m.Partition < 0 || m.Partition >= len(r.restored) || m.Seq <= r.restored[m.Partition] {
			continue // in the snapshot already
		}
		byPartition[m.Partition] = append(byPartition[m.Partition], m)
	}
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for p, messages := range byPartition {
		g.Go(func() error {
			for i := range messages {
				o, err := batch.DecodeObservations(messages[i].Data)
				if err != nil {
					// Nobody can mend it and it must not stop the city; the writer files it.
					r.metrics.unreadable.Inc()
					r.cfg.Logger.Error("a batch of the log cannot be read and is not judged", "sequence", messages[i].Seq, "error", err)
					continue
				}
				r.engine.Apply(p, messages[i].Seq, o)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	r.seq = all[len(all)-1].Seq
	r.pending.Store(all[len(all)-1].Pending)
	if err := r.settle(ctx); err != nil {
		return err
	}
	r.applied.Store(r.seq)
	return nil
}

// settle publishes what the engine made, but for what the log has already.
func (r *run) settle(ctx context.Context) error {
	events := r.engine.Settle()
	r.open.follows(events, r.have)
	return r.publish(ctx, events)
}

func (r *run) changeRules(now int64) {
	set := r.rules()
	if set.Version == r.engine.Set().Version {
		return
	}
	r.abandon()
	r.engine.Replace(set, now)
	r.cfg.Logger.Info("evaluating other rules", "rules", len(set.Rules), "version", set.Version)
}

// tick moves processing time. What the log held a tick ago must be evaluated: silence is judged as
// of that moment, so that a worker that lags takes nobody for silent.
func (r *run) tick(ctx context.Context, idle bool) error {
	end, err := r.cfg.Log.LastSeq(ctx, batch.KindObservations)
	if err != nil {
		if ctx.Err() == nil && !r.cfg.Log.Away() {
			r.cfg.Logger.Warn("asking for the end of the log", "error", err)
		}
		return nil
	}
	caughtUp := r.behindAt != 0 && (r.seq >= r.behind || r.own() && idle && r.pending.Load() == 0)
	at := r.behindAt
	r.behind, r.behindAt = end, time.Now().UnixMilli()
	if end <= r.seq {
		caughtUp, at = true, r.behindAt
	}
	if !caughtUp {
		return nil
	}
	first := r.liveAt == 0
	if first {
		r.liveAt = at
	}
	if at-r.liveAt > haveForMs {
		r.have = nil // a repeat of what was there at the start would have come by now
	}
	r.engine.Tick(at)
	events := r.engine.Settle()
	r.open.closes(events, r.have)
	if first {
		// Only now: what the clock ends by itself is not lost. And before what it begins, so that an alarm goes by that.
		events = append(r.open.lost(r.have, r.engine.openEpisodes(), at), events...)
		r.open = nil
	}
	if err := r.publish(ctx, events); err != nil {
		return err
	}
	r.replayed, r.remember = true, false
	r.readPast(ctx, at)
	return nil
}

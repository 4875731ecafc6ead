package rules

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"panormus/stream/batch"
	streamlog "panormus/stream/log"
)

// RowWorkerConfig is what a worker for rows is made of. Log, Rules and On are wanted.
type RowWorkerConfig struct {
	Log   *streamlog.Log
	Rules Source
	// On is one of the kinds of rows.
	On     string
	Engine Config
	// Hours is as of a Worker: nil for no past that baselines could learn of.
	Hours      func(ctx context.Context, q HoursQuery, each func(Hour) error) error
	Checkpoint time.Duration // how often state is kept; default 10 s
	Logger     *slog.Logger
	Metrics    prometheus.Registerer
}

// A RowWorker reads one kind of rows from the log, or of OnJoined those that its rules are about,
// evaluates the rules about them and publishes events. As with Worker, events are on the log before the
// checkpoint moves: after a crash it replays and skips those that are there already. State and positions
// are one object, so they never part.
type RowWorker struct {
	cfg       RowWorkerConfig
	applied   map[string]*atomic.Uint64 // by kind of rows
	engine    atomic.Pointer[RowEngine]
	published atomic.Int64
	metrics   rowMetrics

	// Tests set these: hook may end the worker at a step, as a kill would.
	hook  func(step string) error
	every time.Duration
}

type rowMetrics struct {
	rows, matches, unreadable, skipped prometheus.Counter
	episodes                           prometheus.Gauge
}

// NewRowWorker makes a worker; Run starts it.
func NewRowWorker(cfg RowWorkerConfig) *RowWorker {
	if cfg.Checkpoint <= 0 {
		cfg.Checkpoint = 10 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	w := &RowWorker{cfg: cfg, every: time.Second, applied: map[string]*atomic.Uint64{}}
	for _, on := range ons {
		w.applied[on] = &atomic.Uint64{}
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "panormus_rules_rows_" + name, Help: help, ConstLabels: prometheus.Labels{"on": cfg.On}})
	}
	w.metrics = rowMetrics{
		rows:       counter("total", "Rows that rules were evaluated on."),
		matches:    counter("matches_total", "Evaluations of rules about rows that were true."),
		unreadable: counter("batches_unreadable_total", "Batches of the log that could not be read."),
		skipped:    counter("events_skipped_total", "Events of a replay that the log had already."),
		episodes: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "panormus_rules_rows_episodes", Help: "Episodes of rules about rows, those pending too.", ConstLabels: prometheus.Labels{"on": cfg.On},
		}),
	}
	if cfg.Metrics != nil {
		m := &w.metrics
		cfg.Metrics.MustRegister(m.rows, m.matches, m.unreadable, m.skipped, m.episodes, rowFigures{w})
	}
	return w
}

// Events is how many were published since Run began.
func (w *RowWorker) Events() int64 { return w.published.Load() }

// Stats is what the rules have done since Run began.
func (w *RowWorker) Stats() []RuleStats {
	e := w.engine.Load()
	if e == nil {
		return nil
	}
	return e.Stats()
}

// Lag is how many batches of the log are not evaluated yet.
func (w *RowWorker) Lag(ctx context.Context) (int64, error) {
	lag := int64(0)
	for _, on := range inputsOf(w.cfg.Rules.Set(), w.cfg.On) {
		last, err := w.cfg.Log.LastSeq(ctx, batchKind(on))
		if err != nil {
			return 0, err
		}
		lag += int64(last - min(last, w.applied[on].Load()))
	}
	return lag, nil
}

// batchKind is where rows of a kind lie on the log.
func batchKind(on string) batch.Kind {
	if k := rowKinds[on]; k != nil {
		return k.kind
	}
	return batch.KindObservations
}

func (w *RowWorker) consumer() string { return Consumer + "-" + w.cfg.On }
func (w *RowWorker) object() string   { return "rows/" + w.cfg.On }

func (w *RowWorker) step(name string) error {
	if w.hook == nil {
		return nil
	}
	return w.hook(name)
}

// rowRun is the state of one Run.
type rowRun struct {
	*RowWorker
	eventSink
	engine   *RowEngine
	objects  *streamlog.Objects
	inputs   []*rowInput
	raised   openings // silences beside counts, which the clock raises
	repeats  uint64   // the position of events that a further replay needs, until this one is over
	replayed bool
	past     *pastReader
	taught   bool // since the last checkpoint
}

// Run evaluates until ctx ends, then keeps its state and returns. Any error ends it; a new Run takes
// up at the last checkpoint.
func (w *RowWorker) Run(ctx context.Context) error {
	r := &rowRun{RowWorker: w, engine: NewRowEngine(w.cfg.Engine, w.cfg.On, w.cfg.Rules.Set())}
	w.engine.Store(r.engine)
	r.eventSink = eventSink{log: w.cfg.Log, remember: true, published: &w.published, skipped: w.metrics.skipped, before: w.step}
	if err := r.restore(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	r.past = newPastReader(r.cfg.Hours, r.cfg.Logger)
	if err := r.loops(ctx); err != nil {
		return err
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return r.keep(last)
}

// loops evaluates until ctx ends.
func (r *rowRun) loops(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer r.past.all.Wait()
	defer cancel()
	for again := true; again; {
		var err error
		if again, err = r.loop(ctx); err != nil {
			return err
		}
	}
	return nil
}

// loop evaluates until ctx ends, or, again, until the rules want other kinds.
func (r *rowRun) loop(ctx context.Context) (again bool, err error) {
	messages, failed, stop, err := r.follow(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return false, nil
		}
		return false, err
	}
	defer stop()
	tick := time.NewTicker(r.every)
	defer tick.Stop()
	keep := time.NewTicker(r.cfg.Checkpoint)
	defer keep.Stop()
	changed := r.cfg.Rules.Changed()
	if set := r.cfg.Rules.Set(); set.Version != r.engine.set.Version {
		if again, err := r.replace(ctx); again || err != nil {
			return again, err
		}
	}
	for {
		select {
		case <-ctx.Done():
			return false, nil
		case err := <-failed:
			if ctx.Err() != nil {
				return false, nil
			}
			return false, err
		case m := <-messages:
			err = r.round(ctx, streamlog.Collect(m, messages, roundBatches, roundBytes, rowMessage.Size))
		case <-changed:
			changed = r.cfg.Rules.Changed()
			if again, err := r.replace(ctx); again || err != nil {
				return again, err
			}
		case <-tick.C:
			err = r.tick(ctx)
		case <-keep.C:
			err = r.keep(ctx)
		case p := <-r.past.read:
			err = r.teach(ctx, p)
		}
		if err != nil {
			return false, err
		}
	}
}

// replace makes the rules in force those of the engine; again where they are about other kinds.
func (r *rowRun) replace(ctx context.Context) (again bool, err error) {
	r.engine.Replace(r.cfg.Rules.Set(), time.Now().UnixMilli())
	if err := r.settle(ctx); err != nil {
		return false, err
	}
	if slices.EqualFunc(r.inputs, r.engine.Inputs(), func(in *rowInput, on string) bool { return in.on == on }) {
		return false, nil
	}
	if err := r.open(ctx, nil, true); err != nil {
		return false, err
	}
	return true, nil
}

// round evaluates batches in the log's order and publishes what came of them.
func (r *rowRun) round(ctx context.Context, all []rowMessage) error {
	if err := r.step("round"); err != nil {
		return err
	}
	evaluated, matched := r.engine.evaluated, r.engine.matched
	for i := range all {
		m := &all[i]
		if r.engine.Idle() {
			break
		}
		rows := 0
		if err := m.in.each(m.Data, func(row *Row) {
			rows++
			r.engine.Apply(m.Seq, row)
		}); err != nil {
			r.metrics.unreadable.Inc()
			r.cfg.Logger.Error("a batch of the log cannot be read and is not judged", "kind", m.in.on, "sequence", m.Seq, "error", err)
		}
		r.metrics.rows.Add(float64(rows))
	}
	if r.engine.evaluated > evaluated {
		r.metrics.matches.Add(float64(r.engine.matched - matched))
	}
	r.metrics.episodes.Set(float64(len(r.engine.episodes) + len(r.engine.keyed)))
	if err := r.settle(ctx); err != nil {
		return err
	}
	for i := range all {
		all[i].in.seq = all[i].Seq
	}
	over := true
	for _, in := range r.inputs {
		r.applied[in.on].Store(in.seq)
		over = over && in.seq >= in.end
	}
	if over && !r.replayed {
		r.replayed, r.remember = true, false
	}
	return nil
}

// settle publishes what the engine made, but for what the log has already.
func (r *rowRun) settle(ctx context.Context) error {
	events := r.engine.Settle()
	r.raised.closes(events, r.have)
	return r.publish(ctx, events)
}

// tick ends what nothing keeps up, of each kind of which everything is evaluated, and looks who is silent where
// that is so of all.
func (r *rowRun) tick(ctx context.Context) error {
	caughtUp, began := true, time.Now().UnixMilli()
	for _, in := range r.inputs {
		now := time.Now().UnixMilli()
		last, err := r.cfg.Log.LastSeq(ctx, in.kind)
		if err != nil {
			if ctx.Err() == nil && !r.cfg.Log.Away() {
				r.cfg.Logger.Warn("asking for the end of the log", "error", err)
			}
			return nil
		}
		if last > in.seq {
			caughtUp = false
			continue
		}
		r.engine.TickOn(in.on, now)
	}
	if caughtUp {
		r.replayed, r.remember = true, false
		if len(r.raised) > 0 {
			if err := r.publish(ctx, r.raised.lost(r.have, r.engine.joins.engine.openEpisodes(), began)); err != nil {
				return err
			}
			r.raised = nil
		}
		r.engine.TickAsking(began)
		r.readPast(ctx, began)
	}
	return r.settle(ctx)
}

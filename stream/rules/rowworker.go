package rules

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
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
	On         string
	Engine     Config
	Checkpoint time.Duration // how often state is kept; default 10 s
	Logger     *slog.Logger
	Metrics    prometheus.Registerer
}

// A RowWorker reads one kind of rows from the log, evaluates the rules about them and publishes
// events. As with Worker, events are on the log before the checkpoint moves: after a crash it replays
// and skips those that are there already. State and position are one object, so they never part.
type RowWorker struct {
	cfg       RowWorkerConfig
	applied   atomic.Uint64
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
	w := &RowWorker{cfg: cfg, every: time.Second}
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
	last, err := w.cfg.Log.LastSeq(ctx, rowKinds[w.cfg.On].kind)
	if err != nil {
		return 0, err
	}
	return int64(last - min(last, w.applied.Load())), nil
}

func (w *RowWorker) consumer() string { return Consumer + "-" + w.cfg.On }
func (w *RowWorker) object() string   { return "rows/" + w.cfg.On }

func (w *RowWorker) step(name string) error {
	if w.hook == nil {
		return nil
	}
	return w.hook(name)
}

// rowCheckpoint is what is kept.
type rowCheckpoint struct {
	Seq    uint64          `json:"seq"`
	Events uint64          `json:"events"` // the replay need not look at events up to here
	State  json.RawMessage `json:"state"`
}

// rowRun is the state of one Run.
type rowRun struct {
	*RowWorker
	eventSink
	engine   *RowEngine
	seq      uint64
	repeats  uint64 // the position of events that a further replay needs, until this one is over
	replayed bool
	end      uint64 // of the log when Run began
	kept     uint64
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
	if err := r.loop(ctx); err != nil {
		return err
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return r.keep(last)
}

func (r *rowRun) restore(ctx context.Context) error {
	objects, err := r.cfg.Log.Objects(ctx, Consumer)
	if err != nil {
		return err
	}
	data, ok, err := objects.Get(ctx, r.object())
	if err != nil {
		return err
	}
	var c rowCheckpoint
	if ok {
		if err = json.Unmarshal(data, &c); err == nil {
			err = r.engine.Restore(c.State)
		}
		if err != nil {
			r.cfg.Logger.Error("a checkpoint is unreadable; its rules start without state", "on", r.cfg.On, "error", err)
		}
	}
	r.seq, r.kept, r.events, r.repeats = c.Seq, c.Seq, c.Events, c.Events
	if err := r.setPositions(ctx, c); err != nil { // from now on the log keeps what a replay will need
		return err
	}
	if r.end, err = r.cfg.Log.LastSeq(ctx, rowKinds[r.cfg.On].kind); err != nil {
		return err
	}
	r.applied.Store(r.seq)
	return r.known(ctx, c.Events, func(seq uint64, err error) {
		r.cfg.Logger.Error("a batch of events cannot be read", "sequence", seq, "error", err)
	}, func(*batch.Event) {})
}

func (r *rowRun) setPositions(ctx context.Context, c rowCheckpoint) error {
	if r.cfg.On == OnEvents { // one position for both: what it judges and what it has raised
		return r.cfg.Log.SetPosition(ctx, r.consumer(), batch.KindEvents, streamlog.Position{Seq: min(c.Seq, c.Events)})
	}
	if err := r.cfg.Log.SetPosition(ctx, r.consumer(), rowKinds[r.cfg.On].kind, streamlog.Position{Seq: c.Seq}); err != nil {
		return err
	}
	return r.cfg.Log.SetPosition(ctx, r.consumer(), batch.KindEvents, streamlog.Position{Seq: c.Events})
}

func (r *rowRun) loop(ctx context.Context) error {
	messages, failed, stop, err := follow(ctx, r.cfg.Log, rowKinds[r.cfg.On].kind, r.seq, nil)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer stop()
	tick := time.NewTicker(r.every)
	defer tick.Stop()
	keep := time.NewTicker(r.cfg.Checkpoint)
	defer keep.Stop()
	changed := r.cfg.Rules.Changed()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			if ctx.Err() != nil {
				return nil
			}
			return err
		case m := <-messages:
			err = r.round(ctx, collect(m, messages, roundBatches))
		case <-changed:
			changed = r.cfg.Rules.Changed()
			r.engine.Replace(r.cfg.Rules.Set(), time.Now().UnixMilli())
			err = r.publish(ctx, r.engine.Settle())
		case <-tick.C:
			err = r.tick(ctx)
		case <-keep.C:
			err = r.keep(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// round evaluates batches in the log's order and publishes what came of them.
func (r *rowRun) round(ctx context.Context, all []streamlog.Message) error {
	if err := r.step("round"); err != nil {
		return err
	}
	evaluated, matched := r.engine.evaluated, r.engine.matched
	each := rowKinds[r.cfg.On].each
	for i := range all {
		if r.engine.Idle() {
			break
		}
		seq, rows := all[i].Seq, 0
		if err := each(all[i].Data, func(row *Row) {
			rows++
			r.engine.Apply(seq, row)
		}); err != nil {
			r.metrics.unreadable.Inc()
			r.cfg.Logger.Error("a batch of the log cannot be read and is not judged", "kind", r.cfg.On, "sequence", seq, "error", err)
		}
		r.metrics.rows.Add(float64(rows))
	}
	if r.engine.evaluated > evaluated {
		r.metrics.matches.Add(float64(r.engine.matched - matched))
	}
	r.metrics.episodes.Set(float64(len(r.engine.episodes) + len(r.engine.keyed)))
	if err := r.publish(ctx, r.engine.Settle()); err != nil {
		return err
	}
	r.seq = all[len(all)-1].Seq
	r.applied.Store(r.seq)
	if r.seq >= r.end && !r.replayed {
		r.replayed, r.remember = true, false
	}
	return nil
}

// tick ends what nothing keeps up, once everything is evaluated.
func (r *rowRun) tick(ctx context.Context) error {
	now := time.Now().UnixMilli()
	last, err := r.cfg.Log.LastSeq(ctx, rowKinds[r.cfg.On].kind)
	if err != nil {
		if ctx.Err() == nil {
			r.cfg.Logger.Warn("asking for the end of the log", "error", err)
		}
		return nil
	}
	if last > r.seq {
		return nil
	}
	r.replayed, r.remember = true, false
	r.engine.Tick(now)
	return r.publish(ctx, r.engine.Settle())
}

// keep writes a checkpoint: first the state with its place, then the positions, which let go of what
// nobody needs.
func (r *rowRun) keep(ctx context.Context) error {
	if r.replayed {
		r.passEvents(ctx)
	}
	if r.seq == r.kept && r.events == r.repeats {
		return nil
	}
	state, err := r.engine.Snapshot()
	if err != nil {
		return err
	}
	c := rowCheckpoint{Seq: r.seq, Events: r.repeats, State: state}
	if r.replayed {
		c.Events = r.events
	}
	data, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("write a checkpoint: %w", err)
	}
	if err := r.step("checkpoint"); err != nil {
		return err
	}
	pctx, cancel := withGrace(ctx, stopTimeout)
	defer cancel()
	objects, err := r.cfg.Log.Objects(pctx, Consumer)
	if err != nil {
		return err
	}
	if err := objects.Put(pctx, r.object(), data); err != nil {
		return err
	}
	if err := r.step("positions"); err != nil {
		return err
	}
	if err := r.setPositions(pctx, c); err != nil {
		return err
	}
	r.kept, r.repeats = c.Seq, c.Events
	return nil
}

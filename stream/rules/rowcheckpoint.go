package rules

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"panormus/stream/batch"
	streamlog "panormus/stream/log"
)

// rowCheckpoint is what is kept.
type rowCheckpoint struct {
	Seq    uint64            `json:"seq"`            // of the one kind
	Seqs   map[string]uint64 `json:"seqs,omitempty"` // of several
	Events uint64            `json:"events"`         // the replay need not look at events up to here
	State  json.RawMessage   `json:"state"`
}

func (r *rowRun) restore(ctx context.Context) error {
	c, at, been, err := r.newest(ctx)
	if err != nil {
		return err
	}
	r.events, r.repeats = c.Events, c.Events
	if err := r.open(ctx, c.Seqs, been); err != nil {
		return err
	}
	if err := r.setPositions(ctx, at); err != nil { // from now on the log keeps what a replay will need
		return err
	}
	r.raised = openings{}
	err = r.known(ctx, c.Events, func(seq uint64, err error) {
		r.cfg.Logger.Error("a batch of events cannot be read", "sequence", seq, "error", err)
	}, func(ev *batch.Event) {
		if rule := r.engine.set.Rule(ev.Rule); rule != nil && rule.inner() && rule.Absent > 0 {
			r.raised.note(ev)
		}
	})
	if err == nil && r.engine.joins != nil {
		r.engine.joins.engine.reopen(r.raised)
	}
	return err
}

// newest brings the engine to the newest checkpoint that can be read, and returns that and the positions of the one
// before it; been where there is one at all.
func (r *rowRun) newest(ctx context.Context) (c rowCheckpoint, at map[string]uint64, been bool, err error) {
	if r.objects, err = r.cfg.Log.Objects(ctx, Consumer); err != nil {
		return c, nil, false, err
	}
	r.objects.Before = r.step
	all, err := r.objects.Generations(ctx, r.object())
	if err != nil {
		return c, nil, false, err
	}
	for i, g := range all {
		data, err := r.objects.Read(ctx, r.object(), g, 0)
		if err == nil {
			if c, err = r.take(data); err == nil {
				if i > 0 {
					err = r.objects.DropAfter(ctx, r.object(), g.Number)
				}
				return c, all[len(all)-1].At, true, err
			}
		} else if !errors.Is(err, streamlog.ErrTorn) {
			return c, nil, false, err
		}
		r.cfg.Logger.Error("a checkpoint is unreadable; the one before it is taken, else its rules start without state", "on", r.cfg.On, "generation", g.Number, "error", err)
	}
	if len(all) == 0 { // or one of a version before generations
		data, ok, err := r.objects.Get(ctx, r.object())
		if err != nil {
			return c, nil, false, err
		}
		if been = ok; ok {
			if c, err = r.take(data); err == nil {
				return c, r.at(c), true, nil
			}
			r.cfg.Logger.Error("a checkpoint is unreadable; its rules start without state", "on", r.cfg.On, "error", err)
		}
	}
	c = rowCheckpoint{Seqs: map[string]uint64{}}
	if r.cfg.On != OnJoined {
		c.Seqs[r.cfg.On] = 0
	}
	return c, r.at(c), been || len(all) > 0, nil
}

// take makes the engine that of a checkpoint.
func (r *rowRun) take(data []byte) (c rowCheckpoint, err error) {
	if err = json.Unmarshal(data, &c); err != nil {
		return c, err
	}
	if r.cfg.On != OnJoined || c.Seqs == nil {
		c.Seqs = map[string]uint64{}
	}
	if r.cfg.On != OnJoined {
		c.Seqs[r.cfg.On] = c.Seq
	}
	engine := NewRowEngine(r.cfg.Engine, r.cfg.On, r.cfg.Rules.Set())
	if err = engine.Restore(c.State); err != nil {
		return c, err
	}
	r.engine = engine
	r.RowWorker.engine.Store(engine)
	return c, nil
}

// atOwn is the place among the events of what a worker for rows raises itself; its inputs have their own names.
const atOwn = "own"

// at is where in the log a checkpoint was taken.
func (r *rowRun) at(c rowCheckpoint) map[string]uint64 {
	out := maps.Clone(c.Seqs)
	out[atOwn] = c.Events
	return out
}

func (r *rowRun) setPositions(ctx context.Context, at map[string]uint64) error {
	events := at[atOwn]
	for on, seq := range at {
		switch on {
		case atOwn:
			continue
		case OnEvents: // one position for both: what it judges and what it has raised
			events = min(events, seq)
			continue
		}
		if err := r.cfg.Log.SetPosition(ctx, r.consumer(), batchKind(on), streamlog.Position{Seq: seq}); err != nil {
			return err
		}
	}
	return r.cfg.Log.SetPosition(ctx, r.consumer(), batch.KindEvents, streamlog.Position{Seq: events})
}

// keep writes a checkpoint: first the state with its place, then the positions of the one before it, which let go of
// what nobody needs.
func (r *rowRun) keep(ctx context.Context) error {
	if r.replayed {
		r.passEvents(ctx)
	}
	pctx, cancel := streamlog.WithGrace(ctx, stopTimeout)
	defer cancel()
	if r.cfg.On == OnJoined {
		if err := r.release(pctx); err != nil {
			return err
		}
	}
	if !r.taught && r.events == r.repeats && !slices.ContainsFunc(r.inputs, func(in *rowInput) bool { return in.seq != in.kept }) {
		return nil
	}
	state, err := r.engine.Snapshot()
	if err != nil {
		return err
	}
	c := rowCheckpoint{Seqs: r.seqs(), Events: r.repeats, State: state}
	c.Seq = c.Seqs[r.cfg.On]
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
	all, err := r.objects.Write(pctx, r.object(), r.at(c), data)
	if err != nil {
		return err
	}
	if err := r.step("positions"); err != nil {
		return err
	}
	// What lies between the two is kept for a start that finds the newest broken.
	if err := r.setPositions(pctx, all[len(all)-1].At); err != nil {
		return err
	}
	for _, in := range r.inputs {
		in.kept = c.Seqs[in.on]
	}
	r.repeats, r.taught = c.Events, false
	return nil
}

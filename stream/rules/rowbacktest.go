package rules

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"time"

	"panormus/stream/batch"
)

// rows evaluates a rule about rows; those of several kinds are read side by side and merged by event time.
func (r *backtest) rows(ctx context.Context, rule *Rule) (*RowEngine, int64, error) {
	if r.ReadRows == nil {
		return nil, 0, &BacktestError{"a rule about rows, of which nothing is kept here"}
	}
	e := NewRowEngine(r.Config, rule.engine(), NewSet(rule))
	if err := r.learnRows(ctx, e, r.past().From); err != nil {
		return nil, 0, err
	}
	n, tick := 0, int64(0)
	apply := func(row *Row) {
		r.out.Readings++
		if rule.Absent > 0 && row.Time >= tick+1000 { // once a second, as the worker's clock
			tick = row.Time
			if e.flushJoins(); e.joins.engine.nextSilence() <= tick {
				e.TickAsking(tick)
			}
		}
		e.Apply(uint64(r.out.Readings), row)
		if n++; n%4096 == 0 {
			r.note(e.Settle())
		}
	}
	leftOut, err := r.merge(ctx, e.Inputs(), apply)
	if err != nil {
		return nil, 0, err
	}
	late := int64(0)
	for _, on := range e.Inputs() {
		late = max(late, e.lateness(rowKinds[on]))
	}
	e.Tick(r.To.UnixMilli() + late + inTransitMs)
	r.note(e.Settle())
	return e, leftOut, nil
}

// learnRows is learn of rules about rows.
func (r *backtest) learnRows(ctx context.Context, e *RowEngine, to time.Time) error {
	if r.Hours == nil {
		return nil
	}
	for _, of := range e.unlearned() {
		l := newLesson(&e.cfg, of.On, of.learned())
		if err := r.Hours(ctx, l.query(to), l.take); err != nil {
			return err
		}
		e.teach(l, to)
	}
	return nil
}

// errEnough ends a read whose rows are not wanted any more.
var errEnough = errors.New("enough")

// merge calls apply for the rows of all kinds, in order of event time.
func (r *backtest) merge(ctx context.Context, kinds []string, apply func(*Row)) (leftOut int64, err error) {
	past := r.past()
	if len(kinds) == 1 {
		return r.readRows(ctx, kinds[0], past, func(row *Row) error {
			apply(row)
			return ctx.Err()
		})
	}
	type source struct {
		next func() (*Row, bool)
		row  *Row // nil: no more
		err  error
	}
	all := make([]*source, len(kinds))
	for i, on := range kinds {
		s := &source{}
		next, stop := iter.Pull(func(yield func(*Row) bool) {
			left, err := r.readRows(ctx, on, past, func(row *Row) error {
				if !yield(row) {
					return errEnough
				}
				return ctx.Err()
			})
			leftOut += left
			s.err = err
		})
		defer stop()
		s.next, all[i] = next, s
		s.row, _ = next()
	}
	for {
		var first *source
		for _, s := range all {
			if s.err != nil {
				return leftOut, s.err
			}
			if s.row != nil && (first == nil || s.row.Time < first.row.Time) {
				first = s
			}
		}
		if first == nil {
			return leftOut, nil
		}
		apply(first.row)
		first.row, _ = first.next()
	}
}

// readRows reads one kind; messages of devices come as readings do.
func (r *backtest) readRows(ctx context.Context, on string, past Past, each func(*Row) error) (leftOut int64, err error) {
	c := r.Rule.code
	wanted := map[string]kind{}
	if r.Rule.takes(on) {
		maps.Copy(wanted, c.readsOn(on))
	}
	for _, j := range c.joins {
		if j.on() == on {
			wanted[j.metric] = kindNum
			if j.near && on == onObservations {
				for _, name := range positionMetrics {
					wanted[name] = kindNum
				}
			}
		}
	}
	if on != onObservations {
		maps.Copy(wanted, c.shows)
		wanted["zone"] = kindText // a key may be of it
		if c.remembers || !rowKinds[on].fleeting {
			for _, name := range rowKinds[on].tells() {
				wanted[name] = kindText
			}
		}
		past.Metrics = slices.Sorted(maps.Keys(wanted))
		return r.ReadRows(ctx, on, past, each)
	}
	if r.Rule.On == onObservations {
		maps.Copy(wanted, c.shows)
	}
	if past.Metrics = slices.Sorted(maps.Keys(wanted)); r.Rule.takes(on) && (c.counts || r.Rule.Absent > 0 || len(c.readsOn(on)) == 0) {
		past.Metrics = nil
	}
	return r.Read(ctx, past, func(o *batch.Observations) error {
		var bad error
		Messages(o, func(row *Row) {
			if bad == nil {
				bad = each(row)
			}
		})
		return bad
	})
}

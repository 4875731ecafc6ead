package rules

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// What baselines of rows learn of the past, as those of readings do: the hours that the database has of the same
// things. A second engine is taught by itself, since it may be younger than the first.

// rowLearned is a column of a kind of rows whose past an engine was taught, or was found not to be there. Of
// observations, and of those who ask (onAsking), it is a domain's metric.
type rowLearned struct {
	On     string `json:"on"`
	Domain string `json:"domain,omitempty"`
	Metric string `json:"metric"`
}

func (l rowLearned) learned() learned { return learned{l.Domain, l.Metric} }

// wanted are the baselines that the rules have, of things of which the database keeps hours.
func (e *RowEngine) wanted() []rowLearned {
	var out []rowLearned
	for on, p := range e.programs {
		if p.kind != nil && !p.kind.hourly {
			continue
		}
		for _, pl := range p.all() {
			for i := range pl.series {
				l := rowLearned{On: on, Metric: pl.series[i].metric}
				if p.kind == nil {
					l.Domain = pl.domain
				}
				if pl.series[i].fn == "baseline" && !slices.Contains(out, l) {
					out = append(out, l)
				}
			}
		}
	}
	return out
}

// unlearned are the baselines whose past was not taught yet, to this engine, to the one within or to the second.
func (e *RowEngine) unlearned() []rowLearned {
	out := slices.DeleteFunc(e.wanted(), func(l rowLearned) bool { return e.learned[l] })
	if e.joins != nil {
		for _, l := range e.joins.engine.unlearned([]int{0}) {
			out = append(out, rowLearned{onAsking, l.domain, l.metric})
		}
	}
	if e.settler != nil {
		out = append(out, e.settler.engine.unlearned()...)
	}
	slices.SortFunc(out, func(a, b rowLearned) int {
		return cmp.Or(strings.Compare(a.On, b.On), strings.Compare(a.Domain, b.Domain), strings.Compare(a.Metric, b.Metric))
	})
	return slices.Compact(out)
}

// teach puts into the engine what a lesson has of the past up to a time. Call it between two rows, after Settle.
func (e *RowEngine) teach(l *lesson, to time.Time) {
	switch {
	case l.on != onAsking:
		for _, k := range l.order {
			e.teachThing(l, k, to)
		}
		if e.learned == nil {
			e.learned = map[rowLearned]bool{}
		}
		e.learned[rowLearned{l.on, l.of.domain, l.of.metric}] = true
		e.keepLearned() // its rule may have gone since
	case e.joins != nil:
		e.flushJoins()
		e.joins.engine.teach(l, []int{0}, to)
	}
	if e.settler != nil {
		e.settler.engine.teach(l, to)
	}
}

// keepLearned forgets what was taught for rules that do not run any more.
func (e *RowEngine) keepLearned() {
	wanted := e.wanted()
	for l := range e.learned {
		if !slices.Contains(wanted, l) {
			delete(e.learned, l)
		}
	}
}

// teachThing gives one thing what a lesson has of it; one that has not been heard of yet gets its state, unless that
// was so long ago that it would be forgotten.
func (e *RowEngine) teachThing(l *lesson, k [2]string, to time.Time) {
	p, t := e.programs[l.on], l.byKey[k]
	if p == nil || to.Sub(t.last) > e.cfg.Forget {
		return
	}
	domain, of := "", k[1]
	if p.kind == nil {
		domain, of = k[1], ""
	}
	d := e.device(l.on, k[0], domain)
	pl := d.plan
	i := slices.IndexFunc(pl.series, func(s seriesPlan) bool { return s.fn == "baseline" && s.metric == l.of.metric })
	if i < 0 || p.kind == nil && pl.domain != l.of.domain {
		return
	}
	thing := e.thing(seriesKey{rowOwner{l.on, d.id, d.domain}, of}, d)
	if thing == nil {
		return
	}
	thing.time = max(thing.time, t.last.UnixMilli())
	state := &thing.series[i]
	if state.base == nil && !e.series.newBaseline(e, state) {
		return
	}
	state.base.knows(&t.baseline)
	state.value, state.a = nan, nan // until its next row
}

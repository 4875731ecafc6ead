package rules

import (
	"fmt"
	"slices"

	"panormus/stream/batch"
)

// Rules about rows that ask other devices, and rules on observations that ask cameras for their counts, are
// the worker's that reads several kinds, in the order in which the log stored them (OnJoined). Its engine
// has another within, of one partition, for messages of devices: that has the board and judges the rules on
// observations; rules about rows are judged row by row on what the board says then.

// onAsking names the engine within.
const onAsking = "asking"

// countStandsMs is how long after the end of its minute a count is the latest: what follows is counted by
// then, but for nobody, who is not counted at all.
const countStandsMs = 150_000

// A count is on the board under its column and class; it is of a camera's whole view.
const countMark = "\x00"

func (j *join) boardMetric() string {
	if j.class == "" {
		return j.metric
	}
	return j.metric + countMark + j.class
}

// on is what the asked readings are of.
func (j *join) on() string {
	if j.class != "" {
		return OnCounts
	}
	return onObservations
}

// asksOn reports whether the rule asks for what a kind says.
func (r *Rule) asksOn(on string) bool {
	return r.code != nil && slices.ContainsFunc(r.code.joins, func(j *join) bool { return j.on() == on })
}

// inner reports whether the engine within judges the rule.
func (r *Rule) inner() bool { return r.On == onObservations && !r.mixed() && r.asksOn(OnCounts) }

// rowJoins is the engine within, and what it has not been given yet.
type rowJoins struct {
	engine *Engine
	held   *batch.Observations
	order  uint64           // of what it was given, as if that were a log
	counts map[string][]int // columns that are asked for, by class
}

func newRowJoins(cfg Config) *rowJoins {
	cfg.Partitions, cfg.faults = 1, nil
	return &rowJoins{engine: newEngine(cfg, NewSet(), onAsking), held: &batch.Observations{}}
}

// adopt takes a set's rules.
func (j *rowJoins) adopt(set *Set, now int64) {
	j.engine.Replace(set, now)
	j.counts = map[string][]int{}
	for _, r := range set.Rules {
		if r.code == nil || r.Disabled || r.engine() != OnJoined {
			continue
		}
		for _, q := range r.code.joins {
			if column := rowKinds[OnCounts].place[q.metric]; q.class != "" && !slices.Contains(j.counts[q.class], column) {
				j.counts[q.class] = append(j.counts[q.class], column)
			}
		}
	}
}

// heard is how many devices a rule was judged on.
func (e *RowEngine) heard(r *Rule) int {
	if r.inner() {
		return e.joins.engine.Devices()
	}
	return len(e.devices)
}

// idle reports whether there is nothing to judge.
func (j *rowJoins) idle() bool {
	return !slices.ContainsFunc(j.engine.prog.all(), func(pl *plan) bool { return len(pl.rules) > 0 })
}

// heldRows bounds the readings that wait for a row of another kind.
const heldRows = 4096

// takeRow notes what a row says to those who ask: a message of a device waits until its place in the order
// counts, the counts of a camera go up at once.
func (e *RowEngine) takeRow(row *Row, at int64) {
	j := e.joins
	if row.On == onObservations {
		j.takeMessage(row)
		if j.held.Len() >= heldRows {
			e.flushJoins()
		}
		return
	}
	e.flushJoins()
	if row.On != OnCounts || row.column("zone") != "" {
		return
	}
	class := row.column("class")
	for _, column := range j.counts[class] {
		v := row.num(column)
		if v != v {
			continue
		}
		d := e.device(row.On, row.Device, row.Domain)
		e.frame.dev = d
		lat, lon := e.frame.position()
		j.engine.shared.board.take(&post{
			id: d.id, domain: d.domain, zone: e.frame.asset().Zone, lat: lat, lon: lon, stands: countStandsMs,
			metric: rowKinds[OnCounts].names[column] + countMark + class, at: at, v: v,
		}, e.cfg.MaxDevices, e.cfg.Forget.Milliseconds())
	}
}

// takeMessage copies of a message what the engine within has a use for.
func (j *rowJoins) takeMessage(row *Row) {
	pl, every := j.wants(row.Domain)
	if pl == nil {
		return
	}
	o, begun, h := row.message.o, false, batch.Header{}
	for i := row.message.first; i < row.message.end; i++ {
		metric := o.Metric.At(i)
		if !every && pl.metrics[metric] == nil {
			continue
		}
		if !begun {
			begun = true
			h = j.held.Begin(o.Time[i], o.Received[i], row.Domain, row.Device)
		}
		j.held.Append(h, metric, o.Value[i], o.Text.At(i), o.Quality[i])
	}
	if i := row.message.first; !begun && len(pl.absent) > 0 { // the device is heard, whatever it says
		h = j.held.Begin(o.Time[i], o.Received[i], row.Domain, row.Device)
		j.held.Append(h, o.Metric.At(i), o.Value[i], o.Text.At(i), o.Quality[i])
	}
}

// wants is the plan of a domain, nil where there is none, and whether every message counts, whatever it says.
func (j *rowJoins) wants(domain string) (pl *plan, every bool) {
	if pl = j.engine.prog.plan(domain); len(pl.rules) == 0 && !pl.posts {
		return nil, false
	}
	return pl, slices.ContainsFunc(slices.Concat(pl.always, pl.counting), func(w uint64) bool { return w != 0 })
}

// flushJoins has the engine within judge what it was not given yet.
func (e *RowEngine) flushJoins() {
	j := e.joins
	if j.held.Len() == 0 {
		return
	}
	j.order++
	j.engine.Apply(0, j.order, j.held)
	j.held = &batch.Observations{}
	e.settleJoins()
}

// settleJoins takes what the engine within has made.
func (e *RowEngine) settleJoins() {
	for _, ev := range e.joins.engine.Settle() {
		e.out = append(e.out, made{seq: e.seq, n: len(e.out), Event: ev})
	}
}

// TickAsking moves the clock of rules on observations that ask for counts, silence among it; now is processing
// time, Unix ms. Call it only with all that the log holds of every kind applied: a count that is yet to come would
// be nobody.
func (e *RowEngine) TickAsking(now int64) {
	if e.joins == nil {
		return
	}
	e.flushJoins()
	e.joins.engine.Tick(now)
	e.settleJoins()
}

// joinsState is the engine within, in a checkpoint.
type joinsState struct {
	Order  uint64 `json:"order"`
	Shared []byte `json:"shared"`
	Shard  []byte `json:"shard"`
}

func (j *rowJoins) state() *joinsState {
	if j.order == 0 && len(j.engine.shared.board.values) == 0 && j.engine.Devices() == 0 {
		return nil
	}
	return &joinsState{j.order, j.engine.Snapshot(-1, j.order), j.engine.Snapshot(0, j.order)}
}

func (j *rowJoins) restore(s *joinsState) error {
	j.order = s.Order
	for p, data := range map[int][]byte{-1: s.Shared, 0: s.Shard} {
		if _, err := j.engine.Restore(p, data); err != nil {
			return fmt.Errorf("read the state of rules that ask other devices: %w", err)
		}
	}
	return nil
}

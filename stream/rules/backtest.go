package rules

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"panormus/stream/batch"
)

// Bounds of a backtest.
const (
	MaxBacktest       = 92 * 24 * time.Hour // of the past
	MaxBacktestEvents = 1000                // told; the rest is only counted
)

// Past says which observations a rule needs of the past: From <= time < To, of a domain and of metrics;
// "" and nil are all.
type Past struct {
	From, To time.Time
	Domain   string
	Metrics  []string
}

// A Backtest evaluates one rule over the past, with the engine that evaluates the present: of readings, of
// rows, or of a sequence over several kinds.
//
// Time is event time: every reading counts as received when it was measured. The past begins a while
// before From, so that what a rule needs to know is known; a metric that was not reported in that
// while is unknown until it is. A rule that reads metrics is given only the messages that have one
// of them. The registry is today's.
type Backtest struct {
	Rule     *Rule
	From, To time.Time
	Config   Config // Partitions is not looked at
	// Read calls each for what there is, in order of event time, and returns how many readings it had
	// to leave out. Whoever is called keeps the batch.
	Read func(ctx context.Context, p Past, each func(*batch.Observations) error) (leftOut int64, err error)
	// ReadRows calls each for what there is of a kind of rows, in order of event time, with that for the time
	// of receipt; p.Metrics are the columns that the rule looks at. A Row is good until each returns.
	ReadRows func(ctx context.Context, on string, p Past, each func(*Row) error) (leftOut int64, err error)
	// Hours is as of a worker: baselines begin with the weeks before the past.
	Hours func(ctx context.Context, q HoursQuery, each func(Hour) error) error
}

// A BacktestResult is what a rule would have raised.
type BacktestResult struct {
	Rule        *Rule
	From, To    time.Time
	Readings    int64
	LeftOut     int64 // readings whose event time is not known
	Devices     int
	Evaluations uint64
	Matches     uint64
	Errors      uint64
	LastError   string
	Raised      int
	Cleared     int
	Events      []batch.Event // the first MaxBacktestEvents, in order of time
	Step        time.Duration // of a bucket: an hour, or a day for more than a fortnight
	Buckets     []BacktestBucket
	Took        time.Duration
}

// A BacktestBucket counts what began and ended in a step of time.
type BacktestBucket struct {
	Time            time.Time
	Raised, Cleared int
}

// A BacktestError is a backtest that cannot be made as it was asked for.
type BacktestError struct{ Detail string }

func (e *BacktestError) Error() string { return e.Detail }

// Check reports what is wrong with b, as a *BacktestError.
func (b *Backtest) Check() error {
	switch {
	case !b.From.Before(b.To):
		return &BacktestError{fmt.Sprintf("from %s is not before to %s", b.From.Format(time.RFC3339), b.To.Format(time.RFC3339))}
	case b.To.Sub(b.From) > MaxBacktest:
		// Go's durations end at 292 years.
		days := math.Ceil(float64(b.To.Unix()-b.From.Unix())/86400*10) / 10
		return &BacktestError{fmt.Sprintf("found %s days of the past, want at most %d", strconv.FormatFloat(days, 'f', -1, 64), MaxBacktest/(24*time.Hour))}
	}
	return nil
}

// past is what the rule reads, beginning a while before From.
func (b *Backtest) past() Past {
	lead := time.Hour + b.Rule.For + b.Rule.Absent
	if w := b.Rule.Window; w != nil {
		lead += w.Size + w.Gap
	}
	for i := range b.Rule.Sequence {
		lead += b.Rule.Sequence[i].Within
	}
	if b.Rule.Unless != nil {
		lead += b.Rule.Unless.Within
	}
	lead += b.Rule.Hold
	lead = min(lead, 24*time.Hour)
	p := Past{From: b.From.Add(-lead), To: b.To, Domain: b.Rule.Domain}
	c := b.Rule.code
	if len(c.joins) > 0 {
		p.Domain = "" // other devices may be of any
	}
	if b.Rule.Absent > 0 || len(c.reads) == 0 {
		return p // every message counts
	}
	for _, e := range []*expr{c.when, c.clear, c.key} {
		if e == nil {
			continue
		}
		for _, v := range e.vars {
			if v.source == fromFlag {
				return p // flags are of whole messages
			}
		}
	}
	for _, all := range []map[string]kind{c.reads, c.shows} {
		for metric := range all {
			p.Metrics = append(p.Metrics, metric)
		}
	}
	for _, j := range c.joins {
		p.Metrics = append(p.Metrics, j.metric)
	}
	slices.Sort(p.Metrics)
	p.Metrics = slices.Compact(p.Metrics)
	return p
}

// Run evaluates until the past ends, or ctx.
func (b *Backtest) Run(ctx context.Context) (*BacktestResult, error) {
	if err := b.Check(); err != nil {
		return nil, err
	}
	began := time.Now()
	rule := *b.Rule
	rule.Disabled, rule.Shadow, rule.kept = false, false, ""
	cfg := b.Config
	cfg.Partitions = 1
	r := &backtest{Backtest: b, out: &BacktestResult{Rule: b.Rule, From: b.From, To: b.To, Events: []batch.Event{}, Step: time.Hour}}
	if b.To.Sub(b.From) > 14*24*time.Hour {
		r.out.Step = 24 * time.Hour
	}
	for at := b.From.UTC().Truncate(r.out.Step); at.Before(b.To); at = at.Add(r.out.Step) {
		r.out.Buckets = append(r.out.Buckets, BacktestBucket{Time: at})
	}
	if rule.engine() != onObservations {
		e, leftOut, err := r.rows(ctx, &rule)
		if err != nil {
			return nil, err
		}
		r.out.Devices = e.heard(&rule)
		return r.end(began, leftOut, e.Stats())
	}
	r.e = newEngine(cfg, NewSet(&rule), onObservations) // the past comes in the order of its times
	past := b.past()
	if err := r.learn(ctx, r.e, past.From); err != nil {
		return nil, err
	}
	r.tick(past.From.UnixMilli())
	leftOut, err := b.Read(ctx, past, func(o *batch.Observations) error {
		r.take(o)
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	// Whatever is due before To is raised.
	r.tick(b.To.UnixMilli() + r.e.cfg.Lateness.Milliseconds())
	r.note(r.e.Settle())
	r.out.Devices = r.e.Devices()
	return r.end(began, leftOut, r.e.Stats().Rules)
}

// end is the result, with what the one rule has done.
func (r *backtest) end(began time.Time, leftOut int64, stats []RuleStats) (*BacktestResult, error) {
	if len(stats) != 1 {
		return nil, errors.New("BUG: a backtest of other than one rule")
	}
	out, s := r.out, &stats[0]
	out.LeftOut, out.Took = leftOut, time.Since(began)
	out.Evaluations, out.Matches, out.Errors, out.LastError = s.Evaluations, s.Matches, s.Errors, s.LastError
	return out, nil
}

// backtest is the state of one Run.
type backtest struct {
	*Backtest
	e    *Engine
	out  *BacktestResult
	seq  uint64
	last int64 // tick
}

// learn teaches the baselines of the rule what was before a time.
func (r *backtest) learn(ctx context.Context, e *Engine, to time.Time) error {
	if r.Hours == nil {
		return nil
	}
	for _, of := range e.unlearned([]int{0}) {
		l := e.newLesson(of)
		if err := r.Hours(ctx, l.query(to), l.take); err != nil {
			return err
		}
		e.teach(l, []int{0}, to)
	}
	return nil
}

func (r *backtest) tick(now int64) {
	r.last = now
	r.e.Tick(now)
}

// take evaluates a batch. The clock of a rule of silence ticks once a second, as the worker's does,
// where a device's silence may be over.
func (r *backtest) take(o *batch.Observations) {
	r.out.Readings += int64(o.Len())
	first := 0
	if r.Rule.Absent > 0 {
		for i, at := range o.Time {
			// A clock that the rows not applied yet would start runs out no sooner than the first one's.
			if at < r.last+1000 || at < r.e.nextSilence() && at < o.Time[first]+r.Rule.Absent.Milliseconds() {
				continue
			}
			r.apply(o.Slice(first, i))
			if first = i; r.Rule.asks() {
				r.note(r.e.Settle()) // the clock asks what is known by then
			}
			r.tick(at)
		}
	}
	r.apply(o.Slice(first, o.Len()))
	r.note(r.e.Settle())
}

func (r *backtest) apply(o *batch.Observations) {
	if o.Len() > 0 {
		r.seq++
		r.e.Apply(0, r.seq, o)
	}
}

// note takes the events that belong to the time asked for.
func (r *backtest) note(events []batch.Event) {
	for _, ev := range events {
		if ev.Time.Before(r.From) || !ev.Time.Before(r.To) {
			continue
		}
		i := int(ev.Time.Sub(r.out.Buckets[0].Time) / r.out.Step)
		if ev.State == "cleared" {
			r.out.Cleared++
			r.out.Buckets[i].Cleared++
		} else {
			r.out.Raised++
			r.out.Buckets[i].Raised++
		}
		if len(r.out.Events) < MaxBacktestEvents {
			r.out.Events = append(r.out.Events, ev)
		}
	}
}

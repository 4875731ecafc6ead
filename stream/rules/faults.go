package rules

import (
	"fmt"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// A rule that fails while it runs, which is a fault of ours (a panic) or of a rule that costs too much,
// is put out of force: what it raised ends with an event that says so, the other rules go on. It stays
// so until the rule is changed or the process starts again.

// maxCostly is how often an expression may cost more than maxExprCost before its rule is put out of
// force: a single odd message is no reason to.
const maxCostly = 100

// faults are those of an engine's rules. They are safe for concurrent use: shards run side by side.
type faults struct {
	fresh atomic.Bool // a rule has failed that is in force still
	mu    sync.Mutex
	rules map[string]*fault // by id
}

type fault struct {
	version string
	costly  int
	text    string // "" while the rule is in force
}

func newFaults() *faults { return &faults{rules: map[string]*fault{}} }

// note counts a fault of a rule; text "" is one of cost.
func (f *faults) note(r *Rule, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.rules[r.ID]
	if known == nil || known.version != r.Version {
		known = &fault{version: r.Version}
		f.rules[r.ID] = known
	}
	if known.text != "" {
		return
	}
	if text == "" {
		if known.costly++; known.costly < maxCostly {
			return
		}
		text = fmt.Sprintf("it cost more than an evaluation may %d times", maxCostly)
	}
	known.text = clipText(text, 512)
	f.fresh.Store(true)
}

// of is why a rule was put out of force, "" for one in force.
func (f *faults) of(r *Rule) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if known := f.rules[r.ID]; known != nil && known.version == r.Version {
		return known.text
	}
	return ""
}

// without is set with the rules that failed out of force. It has the version of set: it is what came
// of that.
func (f *faults) without(set *Set) *Set {
	var rules []*Rule
	failed := false
	for _, r := range set.Rules {
		if f.of(r) != "" {
			off := *r
			off.Disabled = true
			r, failed = &off, true
		}
		rules = append(rules, r)
	}
	if !failed {
		return set
	}
	return &Set{Rules: rules, Version: set.Version}
}

// reason is why what a rule that runs no more had raised ends.
func (f *faults) reason(r *Rule) string {
	if f.of(r) != "" {
		return "the rule failed and was put out of force"
	}
	return "the rule was removed"
}

// isolate puts rules out of force that failed since the last Settle.
func (e *Engine) isolate() {
	if e.second && e.kind == onObservations || !e.cfg.faults.fresh.Swap(false) { // the first one isolates for both
		return
	}
	now := int64(0)
	for _, s := range e.shards {
		now = max(now, s.received)
	}
	e.Replace(e.Set(), now)
}

func (e *RowEngine) isolate() {
	if e.cfg.faults.fresh.Swap(false) {
		e.Replace(e.set, e.clock+e.cfg.Lateness.Milliseconds())
	}
}

// broke notes a panic of a rule.
func (f *frame) broke(r *Rule, p any) {
	f.failed, f.why = true, fmt.Sprintf("BUG: a panic: %v", p)
	f.cfg.faults.note(r, f.why)
}

// afford notes what a rule cost.
func (f *frame) afford(r *Rule) {
	if f.costly {
		f.costly = false
		f.cfg.faults.note(r, "")
	}
}

// judge evaluates the rules that the message in hand concerns. A panic in one ends its evaluation,
// before anything has changed, and the next follows: one guard for all of them, since one for each
// costs a quarter of a simple rule.
func (s *shard) judge(d *device, pl *plan) {
	if !s.dirty.any() { // as of readings that windows take
		return
	}
	for next := 0; next < len(pl.rules); {
		next = s.judgeFrom(d, pl, next)
	}
}

// broke notes a panic of a rule, whose evaluation it has ended.
func (s *shard) broke(r *bound, panicked any) {
	s.frame.broke(r.Rule, panicked)
	s.count.rules[r.global].undecided(&s.frame)
	s.frame.why = ""
}

func (s *shard) judgeFrom(d *device, pl *plan, from int) (next int) {
	f := &s.frame
	defer func() {
		if p := recover(); p != nil {
			s.broke(pl.rules[next], p)
			next++
		}
	}()
	for w := from / 64; w < len(s.dirty); w++ {
		word := s.dirty[w]
		if w == from/64 {
			word &= ^uint64(0) << (from % 64)
		}
		for ; word != 0; word &= word - 1 {
			next = w*64 + bits.TrailingZeros64(word)
			if s.judged++; s.judged%sampleEvery == 0 {
				s.timed(d, pl.rules[next])
			} else {
				s.evaluate(d, pl.rules[next])
			}
			if f.why != "" {
				f.afford(pl.rules[next].Rule)
				f.why = ""
			}
		}
	}
	return len(pl.rules)
}

// The guards keep a panic of an expression to its rule, wherever else it is evaluated: the result is
// unknown.

func guardedBool(r *Rule, eval boolFunc) boolFunc {
	return func(f *frame) (v tri) {
		defer func() {
			if p := recover(); p != nil {
				f.broke(r, p)
				v = undecided
			}
		}()
		v = eval(f)
		f.afford(r)
		return v
	}
}

func guardedText(r *Rule, eval textFunc) textFunc {
	return func(f *frame) (s string, ok bool) {
		defer func() {
			if p := recover(); p != nil {
				f.broke(r, p)
				s, ok = "", false
			}
		}()
		s, ok = eval(f)
		f.afford(r)
		return s, ok
	}
}

func guardedRender(r *Rule, render func(*frame) string) func(*frame) string {
	if render == nil {
		return nil
	}
	return func(f *frame) (s string) {
		defer func() {
			if p := recover(); p != nil {
				f.broke(r, p)
				s = "?"
			}
		}()
		return render(f)
	}
}

// timed evaluates a rule and notes how long that took.
func (s *shard) timed(d *device, r *bound) {
	began := time.Now()
	s.evaluate(d, r)
	c := &s.count.rules[r.global]
	c.timed++
	c.nanos += time.Since(began).Nanoseconds()
}

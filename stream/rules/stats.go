package rules

import (
	"fmt"
	"strings"
	"sync/atomic"

	"panormus/stream/batch"
)

// Stats is what an engine has done since it was made; rules that came later count from then.
type Stats struct {
	Batches      uint64 `json:"batches"`
	Messages     uint64 `json:"messages"`
	Observations uint64 `json:"observations"`
	Evaluations  uint64 `json:"evaluations"`
	Events       uint64 `json:"events"`
	Late         uint64 `json:"late"`         // values older than the one held
	WindowLate   uint64 `json:"window_late"`  // readings of windows that were over, a rule each
	Uncorrected  uint64 `json:"uncorrected"`  // late readings, inside the lateness, of which the past was not kept any more
	Evicted      uint64 `json:"evicted"`      // devices forgotten for want of room
	KeysRefused  uint64 `json:"keys_refused"` // keys not opened for want of room
	// BaselinesRefused counts readings of which no baseline is learned for want of room.
	BaselinesRefused uint64      `json:"baselines_refused"`
	Devices          int64       `json:"devices"`
	Rules            []RuleStats `json:"rules"`
}

// RuleStats is what one rule has done.
type RuleStats struct {
	ID          string `json:"id"`
	Version     string `json:"version"`
	On          string `json:"on"`
	Mode        string `json:"mode" enum:"live,shadow"`
	Evaluations uint64 `json:"evaluations"`
	Matches     uint64 `json:"matches"` // evaluations that were true
	Unknown     uint64 `json:"unknown"` // neither true nor false: a metric not reported yet
	Errors      uint64 `json:"errors"`  // neither true nor false: a division by zero, a missing tag…
	Raised      uint64 `json:"raised"`
	Cleared     uint64 `json:"cleared"`
	Corrected   uint64 `json:"corrected"` // events that late readings made, which change what was told
	Late        uint64 `json:"late"`      // readings of windows and sequences that were over by then
	Dropped     uint64 `json:"dropped"`   // messages of a sequence that its key had no room for
	// Seconds of one processor that evaluations took, from one in sampleEvery that is timed.
	Seconds   float64 `json:"seconds"`
	LastError string  `json:"last_error,omitempty"` // the newest of Errors, or of another kind of value than the rule takes a metric for
	Failed    string  `json:"failed,omitempty"`     // why the rule was put out of force; "" while it is in force
}

// ruleCounts is a rule's share of a shard, between two Settles.
type ruleCounts struct {
	evaluations, matches, unknown, errors uint64
	dropped, late, corrected              uint64
	timed                                 uint64 // evaluations that were, which took nanos
	nanos                                 int64
	lastError                             string
}

// sampleEvery is of how many evaluations one is timed: the clock costs as much as two of them. A prime,
// so that rules that are evaluated in turn are timed in turn.
const sampleEvery = 127

// undecided counts an evaluation of the frame that was neither true nor false.
func (c *ruleCounts) undecided(f *frame) {
	if !f.failed {
		c.unknown++
		return
	}
	c.errors++
	if c.lastError = f.why; c.lastError == "" {
		c.lastError = "a result that is no number, such as a division by zero, or a tag that the device does not have"
	}
}

// mistaken notes which rules take a metric for another kind than found, which a message has just said it is: to
// them it is not known now.
func (s *shard) mistaken(pl *plan, m *metricPlan, metric string, found kind) {
	for _, r := range pl.rules {
		c := &s.count.rules[r.global]
		if c.lastError != "" || !m.rules.has(r.index) && (m.windows == nil || !m.windows.has(r.index)) {
			continue
		}
		if want := r.code.readsOn(pl.on)[metric]; want != found && (want == kindNum || want == kindText) {
			c.lastError = fmt.Sprintf("found %s for %q, want %s", kindNames[found], metric, kindNames[want])
		}
	}
}

type shardCounts struct {
	batches, messages, observations, late, windowLate, uncorrected, evicted, keysRefused, baselinesRefused uint64
	rules                                                                                                  []ruleCounts // by place in the set
	quick                                                                                                  []uint64     // by metric of the program: evaluations of all its tests
}

// counts is what Stats reads, from any goroutine.
type counts struct {
	batches, messages, observations, events, late, windowLate, uncorrected, evicted, keysRefused, baselinesRefused atomic.Uint64
	devices                                                                                                        atomic.Int64
	set                                                                                                            *Set
	rules                                                                                                          []ruleTotals
	byID                                                                                                           map[string]*ruleTotals
}

type ruleTotals struct {
	evaluations, matches, unknown, errors, raised, cleared, dropped, late, corrected, timed atomic.Uint64
	nanos                                                                                   atomic.Int64
	lastError                                                                               atomic.Pointer[string]
}

// seconds are those of all evaluations, by what the timed ones took.
func (t *ruleTotals) seconds() float64 {
	timed := t.timed.Load()
	if timed == 0 {
		return 0
	}
	return float64(t.nanos.Load()) / float64(timed) * float64(t.evaluations.Load()) / 1e9
}

// newCounts continues old, which may be nil, for the rules of set.
func newCounts(set *Set, old *counts) *counts {
	c := &counts{set: set, rules: make([]ruleTotals, len(set.Rules)), byID: map[string]*ruleTotals{}}
	for i, r := range set.Rules {
		c.byID[r.ID] = &c.rules[i]
	}
	if old == nil {
		return c
	}
	carry := func(to, from *atomic.Uint64) { to.Store(from.Load()) }
	carry(&c.batches, &old.batches)
	carry(&c.messages, &old.messages)
	carry(&c.observations, &old.observations)
	carry(&c.events, &old.events)
	carry(&c.late, &old.late)
	carry(&c.windowLate, &old.windowLate)
	carry(&c.uncorrected, &old.uncorrected)
	carry(&c.evicted, &old.evicted)
	carry(&c.keysRefused, &old.keysRefused)
	carry(&c.baselinesRefused, &old.baselinesRefused)
	c.devices.Store(old.devices.Load())
	for id, to := range c.byID {
		if from := old.byID[id]; from != nil {
			carry(&to.evaluations, &from.evaluations)
			carry(&to.matches, &from.matches)
			carry(&to.unknown, &from.unknown)
			carry(&to.errors, &from.errors)
			carry(&to.raised, &from.raised)
			carry(&to.cleared, &from.cleared)
			carry(&to.dropped, &from.dropped)
			carry(&to.late, &from.late)
			carry(&to.corrected, &from.corrected)
			carry(&to.timed, &from.timed)
			to.nanos.Store(from.nanos.Load())
			to.lastError.Store(from.lastError.Load())
		}
	}
	return c
}

// take adds what a shard counted and empties it.
func (c *counts) take(s *shardCounts) {
	c.batches.Add(s.batches)
	c.messages.Add(s.messages)
	c.observations.Add(s.observations)
	c.late.Add(s.late)
	c.windowLate.Add(s.windowLate)
	c.uncorrected.Add(s.uncorrected)
	c.evicted.Add(s.evicted)
	c.keysRefused.Add(s.keysRefused)
	c.baselinesRefused.Add(s.baselinesRefused)
	for i := range s.rules {
		from, to := s.rules[i], &c.rules[i]
		if from.evaluations == 0 && from.matches == 0 && from.unknown == 0 && from.errors == 0 && from.dropped == 0 && from.late == 0 && from.corrected == 0 && from.lastError == "" {
			continue
		}
		to.evaluations.Add(from.evaluations)
		to.matches.Add(from.matches)
		to.unknown.Add(from.unknown)
		to.errors.Add(from.errors)
		to.dropped.Add(from.dropped)
		to.late.Add(from.late)
		to.corrected.Add(from.corrected)
		to.timed.Add(from.timed)
		to.nanos.Add(from.nanos)
		if from.lastError != "" {
			to.lastError.Store(&from.lastError)
		}
	}
	clear(s.rules)
	*s = shardCounts{rules: s.rules, quick: s.quick}
}

// giveOrdered hands over what was counted of rules that no other engine evaluates, by place in the set.
func (c *counts) giveOrdered(to []ruleCounts) {
	for i, r := range c.set.Rules {
		if r.Disabled || !r.surelyAlone() {
			continue
		}
		from, to := &c.rules[i], &to[i]
		to.evaluations += from.evaluations.Swap(0)
		to.matches += from.matches.Swap(0)
		to.unknown += from.unknown.Swap(0)
		to.errors += from.errors.Swap(0)
		to.dropped += from.dropped.Swap(0)
		if text := from.lastError.Swap(nil); text != nil {
			to.lastError = *text
		}
	}
}

func (c *counts) event(ev *batch.Event) {
	c.events.Add(1)
	r := c.byID[ev.Rule]
	if r == nil {
		return
	}
	switch strings.TrimPrefix(ev.State, batch.ShadowState) {
	case "cleared":
		r.cleared.Add(1)
	case "raised":
		r.raised.Add(1)
	}
}

// Stats is what the engine has done up to the last Settle.
func (e *Engine) Stats() Stats {
	c := e.counts.Load()
	s := Stats{
		Batches: c.batches.Load(), Messages: c.messages.Load(), Observations: c.observations.Load(), Events: c.events.Load(),
		Late: c.late.Load(), WindowLate: c.windowLate.Load(), Uncorrected: c.uncorrected.Load(), Evicted: c.evicted.Load(), KeysRefused: c.keysRefused.Load(),
		BaselinesRefused: c.baselinesRefused.Load(), Devices: c.devices.Load(),
	}
	for i, r := range c.set.Rules {
		if r.engine() == onObservations {
			s.Rules = append(s.Rules, c.rules[i].stats(r, e.cfg.faults))
			s.Evaluations += c.rules[i].evaluations.Load()
		}
	}
	return s
}

// undecided counts an evaluation of the frame that was neither true nor false.
func (t *ruleTotals) undecided(f *frame) {
	var c ruleCounts
	c.undecided(f)
	t.unknown.Add(c.unknown)
	t.errors.Add(c.errors)
	if c.errors > 0 {
		t.lastError.Store(&c.lastError)
	}
}

// Stats is what the rules about these rows have done since the engine was made.
func (e *RowEngine) Stats() []RuleStats {
	var out []RuleStats
	c := e.counts.Load()
	for i, r := range c.set.Rules {
		switch {
		case r.inner() && e.joins != nil:
			within := e.joins.engine
			if t := within.counts.Load().byID[r.ID]; t != nil {
				out = append(out, t.stats(r, within.cfg.faults))
			}
		case r.engine() == e.on:
			out = append(out, c.rules[i].stats(r, e.cfg.faults))
		}
	}
	return out
}

func (t *ruleTotals) stats(r *Rule, faults *faults) RuleStats {
	s := RuleStats{
		ID: r.ID, Version: r.Version, On: r.On, Mode: "live", Evaluations: t.evaluations.Load(), Matches: t.matches.Load(),
		Unknown: t.unknown.Load(), Errors: t.errors.Load(), Raised: t.raised.Load(), Cleared: t.cleared.Load(), Dropped: t.dropped.Load(), Late: t.late.Load(), Corrected: t.corrected.Load(), Seconds: t.seconds(),
		Failed: faults.of(r),
	}
	if r.Shadow {
		s.Mode = "shadow"
	}
	if text := t.lastError.Load(); text != nil {
		s.LastError = clipText(*text, 256)
	}
	return s
}

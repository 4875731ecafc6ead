package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// rowState is a checkpoint. Windows and series are written as those of devices are.
type rowState struct {
	Version  byte                `json:"version"` // of what is written as in a Snapshot
	Clock    int64               `json:"clock"`
	Episodes []rowEpisodeOfRule  `json:"episodes"`
	Received int64               `json:"received,omitempty"`
	Clocks   map[string][3]int64 `json:"clocks,omitempty"` // at, base and received, by kind
	Windows  []byte              `json:"windows,omitempty"`
	Chains   []rowChain          `json:"chains,omitempty"`
	Series   []byte              `json:"series,omitempty"`
	Learned  []rowLearned        `json:"learned,omitempty"`
	Joins    *joinsState         `json:"joins,omitempty"`
	Settled  *settledRowState    `json:"settled,omitempty"`
}

type rowEpisodeOfRule struct {
	rowKey
	rowEpisode
}

type rowChain struct {
	rowKey
	Chain []string `json:"chain"`
}

// Snapshot writes the state between two rows, after Settle.
func (e *RowEngine) Snapshot() ([]byte, error) {
	s := rowState{Version: snapshotVersion, Clock: e.clock, Episodes: make([]rowEpisodeOfRule, 0, len(e.episodes)), Received: e.received, Clocks: map[string][3]int64{}}
	for k, ep := range e.episodes {
		s.Episodes = append(s.Episodes, rowEpisodeOfRule{k, *ep})
	}
	for on, c := range e.clocks {
		s.Clocks[on] = [3]int64{c.at, c.base, c.received}
	}
	for k, chain := range e.chains {
		s.Chains = append(s.Chains, rowChain{k, chain})
	}
	if len(e.keyed) > 0 {
		w := &writer{}
		w.int(e.windows.clock)
		w.windows(slices.SortedFunc(maps.Values(e.keyed), compareWindows))
		s.Windows = w.b
	}
	if len(e.series.things) > 0 {
		s.Series = e.series.write()
	}
	for l := range e.learned {
		s.Learned = append(s.Learned, l)
	}
	if e.joins != nil {
		s.Joins = e.joins.state()
	}
	var err error
	if s.Settled, err = e.settledState(); err != nil {
		return nil, err
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("write the state of rules on %s: %w", e.on, err)
	}
	return b, nil
}

func compareWindows(a, b *winState) int {
	if c := strings.Compare(a.rule.ID, b.rule.ID); c != 0 {
		return c
	}
	return strings.Compare(a.key, b.key)
}

// Restore brings the engine to a snapshot; episodes of rules that are not there any more end.
func (e *RowEngine) Restore(b []byte) error {
	var s rowState
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("read the state of rules on %s: %w", e.on, err)
	}
	if s.Version > snapshotVersion {
		return fmt.Errorf("read the state of rules on %s: version %d, want at most %d", e.on, s.Version, snapshotVersion)
	}
	e.clock, e.next, e.received = s.Clock, s.Clock, s.Received
	for on, c := range s.Clocks {
		if e.programs[on] != nil {
			e.clocks[on] = &windowClock{at: c[0], base: c[1], received: c[2]}
		}
	}
	for _, c := range s.Chains {
		e.chains[c.rowKey] = c.Chain
	}
	for _, ep := range s.Episodes {
		if e.episodes[ep.rowKey] == nil {
			e.restoreEpisode(ep, s.Settled != nil)
		}
	}
	if s.Joins != nil && e.joins != nil {
		if err := e.joins.restore(s.Joins); err != nil {
			return err
		}
	}
	if s.Windows != nil {
		r := &reader{b: s.Windows, version: s.Version}
		e.windows.clock = r.int()
		r.windows(func(w *winState) {
			if r.version < 8 {
				w.judged = e.windows.clock
			}
			e.restoreWindow(w, r.version < 12 || r.version < 14 && w.rule.takes(OnEvents))
		})
		if r.bad {
			return errors.New("read the windows of rules on " + e.on + ": they end early or late")
		}
	}
	if s.Series != nil {
		if err := e.readSeries(&reader{b: s.Series, version: s.Version}); err != nil {
			return err
		}
	}
	if len(s.Learned) > 0 {
		e.learned = map[rowLearned]bool{}
		for _, l := range s.Learned {
			e.learned[l] = true
		}
		e.keepLearned()
	}
	return e.readSettled(&s)
}

// restoreEpisode takes an episode up again; told says that a ledger has what was told of it, and ends it there where its
// rule does not run any more.
func (e *RowEngine) restoreEpisode(ep rowEpisodeOfRule, told bool) {
	r := e.rule(ep.Rule, ep.Domain)
	kept := ep.rowEpisode
	switch {
	case r == nil || kept.Shadow != r.Shadow && kept.State == raised:
		if kept.State != raised || told || e.second {
			return
		}
		was := &bound{Rule: &Rule{ID: ep.Rule, On: e.on, Key: "device", Severity: "warning"}}
		if rowKinds[e.on] == nil {
			was.On = ""
		}
		if r != nil { // it ends as what it was raised as
			rule := *r.Rule
			*was = *r
			was.Rule = &rule
		}
		was.Shadow = kept.Shadow
		e.put(was.eventOf("cleared", ep.Key, kept.Start, max(e.clock, kept.Start), kept.Received, kept.said(was), changeReason(r)))
	default:
		e.episodes[ep.rowKey] = &kept
		e.keys[ep.Rule]++
	}
}

// restoreWindow takes a key's windows up again; once says that all rules were judged but once then: what rules that are
// judged twice now had raised ends.
func (e *RowEngine) restoreWindow(w *winState, once bool) {
	k := rowKey{w.rule.ID, w.key}
	now := e.rule(w.rule.ID, w.domain)
	e.keys[k.Rule]++
	e.keyed[k] = w
	if once && w.rule.ordered() {
		if w.raised {
			e.windows.end(w, w.about(), e.received, changeReason(nil), &e.frame, func(w *winState, n news) { e.put(w.event(n, e.received)) })
		}
		e.dropWindow(w)
		return
	}
	if !w.fits(now) {
		e.endWindow(w, e.received, changeReason(now))
		return
	}
	w.rule = now
	e.windows.rearm(w)
}

// Replace makes set the rules that run. Episodes of rules that went, or whose logic is another now,
// end; the next Settle returns that.
func (e *RowEngine) Replace(set *Set, now int64) {
	e.settleAll(now)
	e.counts.Load().take(&e.count) // by place in the set, which changes
	rules := map[rowKey]*bound{}   // as they were
	for k, ep := range e.episodes {
		rules[k] = e.rule(k.Rule, ep.Domain)
	}
	if e.joins != nil {
		e.flushJoins()
		e.joins.adopt(set, now)
	}
	e.adopt(e.cfg.faults.without(set))
	ended := func(r *Rule, reason string) string {
		if e.cfg.faults.of(r) != "" {
			return e.cfg.faults.reason(r)
		}
		return reason
	}
	for k, ep := range e.episodes {
		r, next := rules[k], e.rule(k.Rule, ep.Domain)
		if r != nil && next != nil && next.logic == r.logic {
			continue
		}
		if r != nil && ep.State == raised {
			e.emit(r, k, ep, "cleared", max(now, ep.Start), now, ended(r.Rule, "the rule was changed or removed"))
		}
		e.drop(k)
	}
	for _, w := range e.keyed {
		next := e.rule(w.rule.ID, w.domain)
		if next != nil && next.windowed() && next.logic == w.rule.logic {
			w.rule, w.dev = next, nil
			continue
		}
		e.endWindow(w, now, ended(w.rule.Rule, changeReason(next)))
	}
	for on := range e.clocks {
		if p := e.programs[on]; p == nil || p.asked {
			delete(e.clocks, on)
		}
	}
	e.series.adopt(e)
	e.keepLearned()
	e.resettle(now, ended)
	e.counts.Store(newCounts(e.set, e.counts.Load()))
}

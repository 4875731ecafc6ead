package rules

import (
	"maps"
	"slices"
)

// Windows and sequences that ask other devices, or have functions of what was said before, are judged twice as
// conditions are, see settler; sequences and windows that wait surely alone. The second engine's are given messages
// in the order of their times and correct nothing.

// judgeHeld judges surely what is held, before other rules run: what comes later still is judged as it comes.
func (st *settler) judgeHeld(received int64) {
	newest := int64(0)
	for _, m := range st.held {
		newest = max(newest, m.order)
	}
	if len(st.held) > 0 {
		st.pass(newest+1, received)
	}
}

// keepWindows has the second engine, restored where other rules run than then, begin anew but for the windows and
// sequences of rules that run as they did. They are given what is held first.
func (st *settler) keepWindows(cfg Config, received int64) {
	was := st.engine
	within := was.Set()
	of, some := settledRules(within, (*Rule).ordered)
	if some {
		due, fresh, until := st.due, st.fresh, st.until // of other rules too
		st.due, st.fresh = nil, map[groupKey]*account{}
		was.Replace(of, received)
		st.judgeHeld(received)
		for _, d := range st.due {
			due.push(d)
		}
		maps.Copy(fresh, st.fresh)
		st.due, st.fresh, st.until = due, fresh, until
	}
	st.begin(cfg, within)
	st.takeWindows(was.shared)
}

// takeWindows gives the second engine, which begins anew, the windows and clocks of another.
func (st *settler) takeWindows(from *shared) {
	to := st.engine.shared
	if from.windows.clock == 0 {
		return
	}
	to.windows.clock, to.received = from.windows.clock, from.received
	to.places[0] = from.places[0]
	st.engine.shards[0].winClock = from.places[0]
	for k, w := range from.keyed {
		if r := to.rules[k.rule]; r != nil && r.logic == w.rule.logic {
			w.rule, w.armed = r, 0
			to.keyed[k] = w
			to.keys[k.rule]++
			to.windows.rearm(w)
		}
	}
}

// seedWindows gives the second engine the windows that the first one has and it has not, and returns what of all
// stands. Those that the second alone judges, the first has from a time before that.
func (s *shared) seedWindows() map[groupKey]*telling {
	second := s.settler.engine.shared
	var lacking []*winState
	for k, w := range s.keyed {
		if r := second.rules[k.rule]; r != nil && second.keyed[k] == nil {
			lacking = append(lacking, w)
		}
	}
	if len(lacking) > 0 {
		slices.SortFunc(lacking, compareWindows)
		w := &writer{}
		w.windows(lacking)
		(&reader{b: w.b, version: snapshotVersion}).windows(func(w *winState) {
			w.rule = second.rules[w.rule.ID]
			second.keyed[groupKey{w.rule.ID, w.key}] = w
			second.keys[w.rule.ID]++
			second.windows.rearm(w)
		})
		second.windows.clock = max(second.windows.clock, s.windows.clock)
	}
	for _, w := range lacking {
		if w.rule.surelyAlone() {
			s.dropWindow(w)
		}
	}
	told := map[groupKey]*telling{}
	for k, w := range second.keyed {
		if w.raised {
			told[k] = &telling{start: w.start, began: w.start, from: w.newest().from}
			told[k].from.of = w.whose()
		}
	}
	return told
}

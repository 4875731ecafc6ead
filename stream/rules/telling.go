package rules

import (
	"cmp"
	"encoding/json"
	"maps"
	"math"
	"slices"
)

// A telling is an episode of a key's windows as it was told, while late readings may still change it.
type telling struct {
	id         int64 // the start that it was first told with, of which its events' ids are made
	start, end int64 // as known now, Unix ms; end is 0 while it stands
	began      int64 // when its beginning was told of, later than start where the rule has a time of its own; 0: then
	from, to   evidence
	why        string                // of the end; "" for what a window decided
	nth        [len(tellings)]uint32 // events told, by state
	fixes      uint32                // of them, those that changed what was told
	at         int64                 // time of the newest of them
	gone, back bool                  // it never was; and then it was after all
}

// tellings are the states of events, by their places in telling.nth.
var tellings = [...]string{"raised", "updated", "cleared"}

const (
	toldRaised = iota
	toldUpdated
	toldCleared
)

// lateReason is why an episode ends, or begins anew, that was told otherwise.
const lateReason = "late readings"

// news is an event of a key's windows.
type news struct {
	state    string
	id, at   int64 // Unix ms
	evidence evidence
	reason   string
}

type emitFunc func(s *winState, n news)

// tell puts out the next event of a telling; corrects says that it changes what was told. No event is older than the
// one before it: an end that is says when it was beside its time.
func (t *telling) tell(s *winState, state int, at int64, v evidence, reason string, corrects bool, emit emitFunc) {
	older := state == toldCleared && at < t.at
	if at = max(at, t.at); corrects {
		t.fixes++
	}
	if t.fixes > 0 || t.id != t.start || older {
		v.again = &revision{since: t.start, ended: t.end, nth: t.nth[state], corrections: int(t.fixes), withdrawn: t.gone}
		if state != toldCleared {
			v.again.began = max(t.start, t.began)
		}
	}
	t.nth[state]++
	t.at = at
	emit(s, news{tellings[state], t.id, at, v, reason})
}

// tell moves a key's episode at the window that is judged first, and puts it out.
func (w *windows) tell(s *winState, state string, at int64, reason string, f *frame, emit emitFunc) {
	if state == "raised" {
		m := s.own()
		s.raised, m.start = true, at
		m.told = append(m.told, telling{id: at, start: at, from: s.rule.evidence(f, s.name(), at)})
		s.tellBegun(at, reason, emit)
		return
	}
	t := s.newest()
	t.end, t.to, t.why = at, s.rule.evidence(f, s.name(), s.start), reason
	s.raised = false
	t.tell(s, toldCleared, at, t.to, reason, false, emit)
}

// begin tells of an episode that begins and was not told of before, or was withdrawn.
func (s *winState) begin(start, at int64, v evidence, reason string, emit emitFunc) {
	if slices.ContainsFunc(s.told, func(t telling) bool { return t.id == start }) {
		s.amend(math.MinInt64, append(s.standing(), telling{start: start, began: at, from: v}), emit)
		return
	}
	s.own().told = append(s.told, telling{id: start, start: start, began: at, from: v})
	s.tellBegun(at, reason, emit)
}

// tellBegun tells that the newest telling begins, and that it stands where another was told later.
func (s *winState) tellBegun(at int64, reason string, emit emitFunc) {
	t := s.newest()
	t.tell(s, toldRaised, at, t.from, reason, false, emit)
	if slices.ContainsFunc(s.told, func(t telling) bool { return t.fixes > 0 }) {
		s.affirm(-1, emit)
	}
}

// standing are the tellings that were not withdrawn, as they are known.
func (s *winState) standing() []telling {
	var out []telling
	for i := range s.told {
		if t := &s.told[i]; !t.gone {
			out = append(out, telling{start: t.start, began: t.began, end: t.end, from: t.from, to: t.to, why: t.why})
		}
	}
	return out
}

// newest is the telling of the episode that stands.
func (s *winState) newest() *telling { return &s.told[len(s.told)-1] }

// correct judges the windows of a key again that end from a time on and were judged already: what that comes
// to takes the place of what was told.
func (w *windows) correct(s *winState, from int64, f *frame, counts []ruleCounts, emit emitFunc) {
	if s.rule.window.gap > 0 {
		from = w.clock + 1 // sessions that were one, and end elsewhere
	}
	var st course
	var all []telling // by what is known now
	for i := range s.told {
		if t := &s.told[i]; !t.gone && t.start < from && t.touches(from) {
			st = course{true, t.start}
			all = append(all, telling{start: t.start, from: t.from})
		}
	}
	until := w.front()
	for end := s.due(from - 1); end != 0 && end <= until; end = s.due(end) {
		s.judged = max(s.judged, end)
		w.step(s, end, &st, f, counts, func(state string, at int64, reason string) {
			if state == "raised" {
				all = append(all, telling{start: at, from: s.rule.evidence(f, s.name(), at)})
				return
			}
			t := &all[len(all)-1]
			t.end, t.to, t.why = at, s.rule.evidence(f, s.name(), t.start), reason
		})
	}
	if s.raised = st.raised; st.start != s.start {
		s.own().start = st.start
	}
	counts[s.rule.global].corrected += uint64(s.amend(from, all, emit))
}

// amend puts out what makes of what was told of the time from a moment on what is known now.
func (s *winState) amend(from int64, all []telling, emit emitFunc) (corrections int) {
	var old, next []telling
	for _, t := range s.told {
		if t.gone || t.touches(from) {
			old = append(old, t)
		} else {
			next = append(next, t)
		}
	}
	matched, taken := make([]int, len(all)), make([]bool, len(old)) // of all in old, -1 for none
	for i := range all {
		matched[i] = -1
		for j := range old {
			if t := &old[j]; !t.gone && !taken[j] && t.overlaps(&all[i]) {
				matched[i], taken[j] = j, true
				break
			}
		}
	}
	put := emit
	last := int64(-1) // the episode of the newest event
	emit = func(s *winState, n news) {
		last = n.id
		corrections++
		put(s, n)
	}
	for j := range old {
		if t := &old[j]; !taken[j] && !t.gone {
			t.gone = true
			t.tell(s, toldCleared, max(t.start, t.end), t.from, lateReason, true, emit)
		}
	}
	for i := range all {
		n := &all[i]
		if matched[i] < 0 {
			n.id = n.start
			if j := slices.IndexFunc(old, func(t telling) bool { return t.id == n.id && t.gone && !t.back }); j >= 0 {
				old[j].back = true
				n.nth, n.fixes, n.at = old[j].nth, old[j].fixes, old[j].at+1
			}
			for slices.ContainsFunc(s.told, func(t telling) bool { return t.id == n.id && n.at == 0 }) {
				n.id-- // another that was told to begin then, and began at another time
			}
			back, reason := n.at != 0, ""
			if back {
				reason = lateReason
			}
			n.tell(s, toldRaised, max(n.start, n.began), n.from, reason, back, emit)
			if n.end != 0 {
				n.tell(s, toldCleared, n.end, n.to, n.why, false, emit)
			}
			next = append(next, *n)
			continue
		}
		t := old[matched[i]]
		moved := t.start != n.start || !t.from.same(&n.from)
		stood, end := t.end == 0, t.end
		t.start, t.began, t.end, t.from = n.start, n.began, n.end, n.from
		switch {
		case n.end == 0 && !stood:
			t.at++ // after the end that was none
			t.tell(s, toldRaised, max(n.start, n.began), n.from, lateReason, true, emit)
		case n.end == 0 && moved:
			t.tell(s, toldUpdated, max(n.start, n.began), n.from, lateReason, true, emit)
		case n.end == 0:
		case moved:
			t.tell(s, toldUpdated, max(n.start, n.began), n.from, lateReason, true, emit)
			t.tell(s, toldCleared, n.end, n.to, cmp.Or(n.why, lateReason), true, emit)
		case stood || end != n.end || t.why != n.why || !t.to.same(&n.to):
			t.tell(s, toldCleared, n.end, n.to, cmp.Or(n.why, lateReason), true, emit)
		}
		t.to, t.why = n.to, n.why
		next = append(next, t)
	}
	for _, t := range old {
		if t.gone && !t.back {
			next = append(next, t)
		}
	}
	slices.SortStableFunc(next, func(a, b telling) int { return cmp.Compare(a.start, b.start) })
	if len(next) > 0 || s.told != nil {
		s.own().told = next
	}
	s.affirm(last, emit)
	return corrections
}

// affirm keeps the episode that stands the newest of its key, by the order of the log and by time: for who
// knows rules and keys only, whatever was told last decides whether one stands.
func (s *winState) affirm(last int64, emit emitFunc) {
	i := slices.IndexFunc(s.told, func(t telling) bool { return t.end == 0 && !t.gone })
	if i < 0 {
		return
	}
	t := s.told[i]
	newest := int64(math.MinInt64)
	for j := range s.told {
		if j != i {
			newest = max(newest, s.told[j].at)
		}
	}
	if newest >= t.at || last != -1 && last != t.id {
		t.at = max(t.at, newest+1)
		t.tell(s, toldUpdated, t.at, t.from, lateReason, true, emit)
	}
	s.told = append(slices.Delete(s.told, i, i+1), t) // see newest
}

// until is the last time that anything was told of, or at: what is told later, at the same time, must know of it.
func (t *telling) until() int64 { return max(t.id, t.start, t.began, t.end, t.at) }

// touches reports whether the episode lasts until a time, or begins then.
func (t *telling) touches(at int64) bool { return t.end == 0 || t.end >= at }

func (t *telling) overlaps(o *telling) bool {
	begins := func(a, b *telling) bool { return b.end == 0 || a.start < b.end || a.start == b.start }
	return begins(t, o) && begins(o, t)
}

// final forgets what no late reading can change any more. What stands is kept.
func (s *winState) final(clock int64) {
	if len(s.told) == 0 || len(s.told) == 1 && s.raised {
		return
	}
	s.told = slices.DeleteFunc(s.told, func(t telling) bool {
		return t.until() <= clock && (t.gone || t.end != 0)
	})
	if len(s.told) == 0 {
		s.told = nil
		s.slim()
	}
}

// same reports whether two readings of a window say the same, but for what the order of adding rounds.
func (v *evidence) same(o *evidence) bool {
	if (v.of == nil) != (o.of == nil) || v.of != nil && *v.of != *o.of {
		return false
	}
	if v.text != o.text || (v.bounds == nil) != (o.bounds == nil) || v.bounds != nil && *v.bounds != *o.bounds || !maps.Equal(v.tuned, o.tuned) {
		return false
	}
	return maps.EqualFunc(v.values, o.values, func(a, b any) bool {
		x, isNum := a.(float64)
		y, alsoNum := b.(float64)
		if isNum && alsoNum {
			return math.Abs(x-y) <= 1e-9*max(math.Abs(x), math.Abs(y))
		}
		return a == b
	})
}

// toldEvidence is how evidence is written in a snapshot.
type toldEvidence struct {
	Text   string            `json:"text,omitempty"`
	Values map[string]any    `json:"values,omitempty"`
	Bounds *windowBounds     `json:"bounds,omitempty"`
	Tuned  map[string]string `json:"tuned,omitempty"`
	Chain  []string          `json:"chain,omitempty"`
	Of     *whose            `json:"of,omitempty"`
}

func (w *writer) evidence(v *evidence) {
	w.text(string(plainJSON(toldEvidence{v.text, v.values, v.bounds, v.tuned, v.chain, v.of})))
}

func (r *reader) evidence() evidence {
	var v toldEvidence
	if err := json.Unmarshal([]byte(r.text()), &v); err != nil {
		r.bad = true
	}
	return evidence{text: v.Text, values: v.Values, bounds: v.Bounds, tuned: v.Tuned, chain: v.Chain, of: v.Of}
}

func (w *writer) told(all []telling) {
	w.uint(uint64(len(all)))
	for i := range all {
		t := &all[i]
		w.time(t.id)
		w.time(t.start)
		w.time(t.began)
		if w.seen(t.end) {
			w.evidence(&t.to)
		}
		w.evidence(&t.from)
		w.text(t.why)
		for _, n := range t.nth {
			w.uint(uint64(n))
		}
		w.uint(uint64(t.fixes))
		w.time(t.at)
		if t.gone {
			w.uint(1)
		} else {
			w.uint(0)
		}
	}
}

func (r *reader) told() []telling {
	var out []telling
	for range r.count() {
		t := telling{id: r.time(), start: r.time()}
		if r.version >= 9 {
			t.began = r.time()
		}
		if at, ok := r.seen(); ok {
			t.end, t.to = at, r.evidence()
		}
		t.from, t.why = r.evidence(), r.text()
		for i := range t.nth {
			t.nth[i] = uint32(r.uint())
		}
		t.fixes = uint32(r.uint())
		t.at, t.gone = r.time(), r.uint() == 1
		out = append(out, t)
	}
	return out
}

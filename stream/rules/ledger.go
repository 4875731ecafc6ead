package rules

import (
	"cmp"
	"maps"
	"math"
	"slices"
)

// A ledger holds the episodes of rules that are judged twice: early, as messages come, and surely, in the order of
// their times once the lateness is over. What is said early is told at once; where what is sure is otherwise,
// that is told as corrections of the same episodes. What is sure, and nothing else, decides what they come to.
type ledger struct {
	until    int64 // event time, Unix ms: what was until then is sure
	accounts map[groupKey]*account
	due      heap[dueAccount]
	fresh    map[groupKey]*account // that are to be compared
	count    func(r *bound, corrections int)
	emit     emitFunc
	// lasts reports whether a key's sure evaluation has an episode since a time, raised or not yet.
	lasts func(k groupKey, since int64) bool
}

// account is a key's episodes: as they were told, and as they are sure. Both keep what stands and what ended after
// what is sure.
type account struct {
	winState // of which rule, key and told are used
	sure     []telling
}

// A verdict is what is said of a key: an episode begins or ends.
type verdict struct {
	rule      *bound
	key       string
	raised    bool
	start, at int64 // Unix ms
	reason    string
	evidence  evidence
}

// whose says what an event of a key is about.
type whose struct {
	Domain  string `json:"domain,omitempty"`
	Device  string `json:"device,omitempty"`
	Zone    string `json:"zone,omitempty"`
	Devices int    `json:"devices,omitempty"`
}

// dueAccount is a key that is to be compared when what was until a time is sure.
type dueAccount struct {
	at int64
	groupKey
}

func (a dueAccount) before(b dueAccount) bool {
	return cmp.Or(cmp.Compare(a.at, b.at), a.compare(b.groupKey)) < 0
}

func (k groupKey) compare(o groupKey) int {
	return cmp.Or(cmp.Compare(k.rule, o.rule), cmp.Compare(k.key, o.key))
}

func newLedger(emit emitFunc, count func(r *bound, corrections int)) ledger {
	return ledger{accounts: map[groupKey]*account{}, fresh: map[groupKey]*account{}, emit: emit, count: count}
}

func (l *ledger) account(r *bound, key string) *account {
	k := groupKey{r.ID, key}
	a := l.accounts[k]
	if a == nil {
		a = &account{winState: *newWinState(r, key, "")}
		l.accounts[k] = a
	}
	return a
}

// stands is the episode that was told to stand; nil for none.
func (a *account) stands() *telling {
	for i := range a.told {
		if t := &a.told[i]; t.end == 0 && !t.gone {
			return t
		}
	}
	return nil
}

// early takes what is said early. Of a time that is sure already it counts for nothing, and so does what does not
// go with what was told, which was put right meanwhile, and what began in such a time and is not sure: the name of such
// an episode may be another's, which was told and is forgotten.
func (l *ledger) early(v verdict) {
	k := groupKey{v.rule.ID, v.key}
	if a := l.accounts[k]; v.at <= l.until || (a != nil && a.stands() != nil) == v.raised {
		return
	}
	if v.raised && v.start <= l.until && l.lasts != nil && !l.lasts(k, v.start) {
		return
	}
	l.account(v.rule, v.key).say(v, l.emit)
	l.due.push(dueAccount{v.at, k})
}

// say tells what is said of a key where it is not what was told.
func (a *account) say(v verdict, emit emitFunc) {
	switch t := a.stands(); {
	case v.raised && t == nil:
		a.begin(v.start, v.at, v.evidence, v.reason, emit)
	case !v.raised && t != nil:
		t.end, t.to, t.why = max(v.at, t.began), v.evidence, v.reason // a row that ends it may be older than the one that raised it
		t.tell(&a.winState, toldCleared, t.end, v.evidence, v.reason, false, emit)
	}
}

// surely takes what is sure, and tells it of rules of which nothing is said early.
func (l *ledger) surely(v verdict) {
	a := l.account(v.rule, v.key)
	if v.rule.surelyAlone() {
		a.say(v, l.emit)
	}
	if v.raised {
		a.sure = append(a.sure, telling{start: v.start, began: v.at, from: v.evidence})
	} else if n := len(a.sure); n > 0 && a.sure[n-1].end == 0 {
		t := &a.sure[n-1]
		t.end, t.to, t.why = v.at, v.evidence, v.reason
	}
	k := groupKey{v.rule.ID, v.key}
	l.fresh[k] = a
	if v.at > l.until {
		l.due.push(dueAccount{v.at, k})
	}
}

// settle notes that what was until a time is sure, and tells what that changes.
func (l *ledger) settle(until int64) {
	l.until = max(l.until, until)
	for len(l.due) > 0 && l.due[0].at <= l.until {
		k := l.due.pop().groupKey
		if a := l.accounts[k]; a != nil {
			l.fresh[k] = a
		}
	}
	for _, k := range slices.SortedFunc(maps.Keys(l.fresh), groupKey.compare) {
		a := l.fresh[k]
		l.compare(a)
		if len(a.told)+len(a.sure) == 0 {
			delete(l.accounts, k)
		}
	}
	clear(l.fresh)
}

// keepWithdrawnMs is how often it is asked whether an episode that was withdrawn may still be.
const keepWithdrawnMs = 60_000

// compare tells what is sure where it was told otherwise. What was said early of the time after stays as it is.
func (l *ledger) compare(a *account) {
	all, told := slices.Clone(a.sure), a.standing()
	for _, t := range told {
		i := slices.IndexFunc(all, func(n telling) bool { return (n.end == 0 || n.end > l.until) && n.overlaps(&t) })
		if i >= 0 && all[i].end == 0 && t.start > l.until && !slices.ContainsFunc(told, func(o telling) bool { return o.start <= l.until && all[i].overlaps(&o) }) {
			// One that was missed and may end before the one that was told begins, or be that one: its end will say. Were it
			// taken for that one now, that one would be missed, and taken for the next, and so on.
			all = append(slices.Delete(all, i, i+1), t)
			continue
		}
		switch {
		case i >= 0 && all[i].end == 0 && t.end > l.until:
			all[i].end, all[i].to, all[i].why = t.end, t.to, t.why
		case i < 0 && max(t.start, t.began) > l.until:
			all = append(all, t)
		}
	}
	slices.SortStableFunc(all, func(x, y telling) int { return cmp.Compare(x.start, y.start) })
	if n := a.amend(math.MinInt64, all, l.emit); n > 0 {
		l.count(a.rule, n)
	}
	last := int64(0)
	a.told = slices.DeleteFunc(a.told, func(t telling) bool {
		if t.end == 0 && !t.gone {
			return false
		}
		if l.lasts != nil && l.lasts(groupKey{a.rule.ID, a.key}, t.id) { // withdrawn, and may be raised after all
			last = max(last, l.until+keepWithdrawnMs)
			return false
		}
		at := max(t.id, t.end, t.at) // by its id too, which another may not have
		last = max(last, at)
		return at <= l.until
	})
	if last > l.until {
		l.due.push(dueAccount{last, groupKey{a.rule.ID, a.key}})
	}
	a.sure = slices.DeleteFunc(a.sure, func(n telling) bool {
		return n.end != 0 && n.end <= l.until && !slices.ContainsFunc(a.told, func(t telling) bool { return !t.gone && t.start == n.start })
	})
}

// end ends what stands of a key whose rule is judged no more, and forgets it.
func (l *ledger) end(k groupKey, at int64, reason string) {
	a := l.accounts[k]
	delete(l.accounts, k)
	delete(l.fresh, k)
	if t := a.stands(); t != nil {
		t.end = max(at, t.at)
		t.tell(&a.winState, toldCleared, t.end, t.from, reason, false, l.emit)
	}
}

// rebind gives the keys the rules that run; what rules that are gone, or mean other keys, had raised ends, and what
// other windows and sequences had.
func (l *ledger) rebind(rule func(id string) *bound, now int64, reason func(was, next *bound) string) {
	for _, k := range slices.SortedFunc(maps.Keys(l.accounts), groupKey.compare) {
		a := l.accounts[k]
		if r := rule(k.rule); r != nil && r.sameKeys(a.rule.Rule) && !(r.windowed() && r.logic != a.rule.logic) {
			a.rule = r
		} else {
			l.end(k, now, reason(a.rule, r))
		}
	}
}

// restart makes sure what a key's evaluation that begins anew finds raised; nil for nothing. What was told and
// stands otherwise is put right.
func (l *ledger) restart(k groupKey, r *bound, raised *telling, now int64) {
	a := l.account(r, k.key)
	a.sure = a.standing()
	found := false
	for i := range a.sure {
		t := &a.sure[i]
		if t.end != 0 {
			continue
		}
		if found = raised != nil; !found {
			t.end, t.to, t.why = max(now, t.start), t.from, "the rule was changed"
		}
	}
	if raised != nil && !found {
		a.sure = append(a.sure, *raised)
	}
	l.fresh[k] = a
}

func (l *ledger) write(w *writer) {
	w.int(l.until)
	keys := slices.SortedFunc(maps.Keys(l.accounts), groupKey.compare)
	index := w.rulesOf(keys, func(k groupKey) *bound { return l.accounts[k].rule })
	w.uint(uint64(len(keys)))
	for _, k := range keys {
		a := l.accounts[k]
		w.uint(uint64(index[k.rule]))
		w.text(k.key)
		w.told(a.told)
		w.told(a.sure)
	}
	// When a key is compared decides what is told of it: after a restart it is then, and not at other times.
	w.uint(uint64(len(l.due)))
	for _, d := range l.due {
		w.time(d.at)
		w.text(d.rule)
		w.text(d.key)
	}
}

// read reads what write wrote; rules are those of then until rebind.
func (l *ledger) read(r *reader) {
	l.until = r.int()
	rules := r.rulesBack()
	for range r.count() {
		i := r.uint()
		if r.bad || i >= uint64(len(rules)) {
			r.bad = true
			return
		}
		a := l.account(rules[i], r.text())
		a.told, a.sure = r.told(), r.told()
		if r.version >= 11 {
			continue
		}
		for _, t := range slices.Concat(a.told, a.sure) {
			for _, at := range []int64{t.start, t.began, t.end, t.at} {
				if at > l.until {
					l.due.push(dueAccount{at, groupKey{a.rule.ID, a.key}})
				}
			}
		}
	}
	if r.version >= 11 {
		for range r.count() {
			l.due.push(dueAccount{r.time(), groupKey{r.text(), r.text()}})
		}
	}
}

// open names the episodes that stand, as they were told.
func (l *ledger) open(out map[string]bool) {
	for k, a := range l.accounts {
		if t := a.stands(); t != nil {
			out[eventID(k.rule, k.key, t.id, "episode")] = true
		}
	}
}

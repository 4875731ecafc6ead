package alarms

import (
	"cmp"
	"slices"
	"time"
)

// Bounds of what is remembered of raises.
const (
	raisesHeld = 24 * time.Hour
	mostRaises = 200_000
	mostFloods = 200
)

// A Span is from Begin to End, which is zero while it lasts.
type Span struct {
	Begin time.Time `json:"begin"`
	End   time.Time `json:"end,omitzero"`
}

// A raise is one time that an alarm was raised, or called operators otherwise.
type raise struct {
	at        time.Time
	id        string
	severity  string
	announced bool // operators were called: it was neither shelved nor suppressed nor standing already
	again     bool // not raised, but released, back from shelving or graver than what was acknowledged
}

// history is what happened in the last 24 h. After a start it knows of each alarm the newest raises
// only.
type history struct {
	raises []raise        // in the order in which they became known
	often  map[string]int // how often each alarm is among them
	floods []Span         // oldest first
}

// note takes the change of an alarm from old, nil for one not known before.
func (h *history) note(old, now *Alarm) {
	called := func(nth int) bool { return now.Quiet>>nth&1 == 0 } // the newest is 0
	var fresh []raise
	raises := 0
	for i, e := range slices.Backward(now.Pending) {
		if old != nil && e.N <= old.N {
			break
		}
		switch {
		case e.Action == "raised":
			fresh = append(fresh, raise{at: e.Time, id: now.ID, severity: e.Severity, announced: called(raises)})
			raises++
		case e.By == "" && e.State == Unacked && stateBefore(old, now.Pending[:i]) != Unacked:
			fresh = append(fresh, raise{at: e.Time, id: now.ID, severity: e.Severity, announced: true, again: true})
		}
	}
	slices.Reverse(fresh)
	if old == nil && raises < len(now.Raises) { // from before the start
		fresh = fresh[:0]
		for i, at := range now.Raises {
			fresh = append(fresh, raise{at: at, id: now.ID, severity: now.Base, announced: called(len(now.Raises) - 1 - i)})
		}
	}
	if h.often == nil {
		h.often = map[string]int{}
	}
	if n := raisedAmong(fresh); n > 0 {
		h.often[now.ID] += n
	}
	h.raises = append(h.raises, fresh...)
	if len(h.raises) >= 2*mostRaises {
		old := h.raises[:len(h.raises)-mostRaises]
		for i := range old {
			h.rarer(&old[i])
		}
		h.raises = slices.Clone(h.raises[len(old):])
	}
}

// stateBefore is an alarm's before what comes after entries; what is not known was no call.
func stateBefore(old *Alarm, entries []Entry) State {
	switch {
	case len(entries) > 0:
		return entries[len(entries)-1].State
	case old != nil:
		return old.State()
	}
	return Unacked
}

func raisedAmong(all []raise) (n int) {
	for i := range all {
		if !all[i].again {
			n++
		}
	}
	return n
}

func (h *history) rarer(r *raise) {
	if r.again {
		return
	}
	if h.often[r.id]--; h.often[r.id] <= 0 {
		delete(h.often, r.id)
	}
}

// forget drops what is older than raisesHeld.
func (h *history) forget(now time.Time) {
	h.raises = slices.DeleteFunc(h.raises, func(r raise) bool {
		old := now.Sub(r.at) > raisesHeld
		if old {
			h.rarer(&r)
		}
		return old
	})
}

// announcedSince counts the raises after t that called operators.
func (h *history) announcedSince(t time.Time) int {
	n := 0
	for i := len(h.raises) - 1; i >= 0; i-- {
		if r := &h.raises[i]; r.announced && r.at.After(t) {
			n++
		}
	}
	return n
}

// flooding reports whether a flood lasts.
func (h *history) flooding() bool {
	return len(h.floods) > 0 && h.floods[len(h.floods)-1].End.IsZero()
}

// nextFloods is the list of floods as of now, and whether it changed.
func (h *history) nextFloods(now time.Time, f Flood) ([]Span, bool) {
	n := h.announcedSince(now.Add(-f.Within))
	switch { // f is of all operators
	case !h.flooding() && n > f.Begin:
		out := append(slices.Clone(h.floods), Span{Begin: now})
		return out[max(0, len(out)-mostFloods):], true
	case h.flooding() && n < f.End:
		out := slices.Clone(h.floods)
		out[len(out)-1].End = now
		return out, true
	}
	return h.floods, false
}

// Health is how the alarm system does, after ISA-18.2 and EEMUA 191.
type Health struct {
	At          time.Time
	States      map[State]int
	Severities  map[string]int // of open alarms
	Rate        int            // alarms that called operators in the last 10 min
	Rates       [144]int       // the same by 10 min of the last 24 h, the oldest first
	Mix         map[string]int // severities of the alarms that called operators in the last 24 h
	Bad         []Actor        // those raised most in the last 24 h, at most 10
	Chattering  []Record       // at most 100
	Stale       []Record       // stand longer than StaleAfter, oldest first, at most 100
	Shelved     []Record       // the first to come back first, at most 100
	Oldest      *Record        // the oldest unacknowledged
	StaleAfter  time.Duration
	StaleCount  int
	Flood       bool
	FloodSince  time.Time
	InFlood     time.Duration // of the last 24 h
	Floods      int           // that began in the last 24 h
	FloodLimits Flood
	Operators   int
	Peak        int     // the most of Rates
	Average     float64 // of Rates, where the book knows of so long
	OverLimit   float64 // share of Rates above FloodLimits.Begin for an operator
	BadShare    float64 // of all raises of the last 24 h, those of Bad
	Chatterers  int     // all that chatter, those not listed too
}

// rates works out what follows from how often alarms were raised, all of them together so often.
func (h *Health) rates(all int) {
	over, sum := 0, 0
	for _, n := range h.Rates {
		h.Peak, sum = max(h.Peak, n), sum+n
		if n > h.FloodLimits.Begin*h.Operators {
			over++
		}
	}
	h.Average, h.OverLimit = float64(sum)/float64(len(h.Rates)), float64(over)/float64(len(h.Rates))
	bad := 0
	for _, a := range h.Bad {
		bad += a.Raises
	}
	if all > 0 {
		h.BadShare = float64(bad) / float64(all)
	}
}

// An Actor is an alarm and how often it was raised.
type Actor struct {
	Record Record
	Raises int
}

// mostListed bounds the lists of Health.
const mostListed = 100

// Health looks at all alarms.
func (b *Book) Health(now time.Time) Health { return b.HealthOf(now, nil) }

// HealthOf looks at the alarms that sees says so of, nil for all; it is called under the book's lock, and is
// of an alarm's rule, domain, zone and device alone. Floods are the
// whole city's operators': of a part they are told as they would be if it were all, by whole ten minutes.
func (b *Book) HealthOf(now time.Time, sees func(*Alarm) bool) Health {
	h := Health{At: now, States: map[State]int{}, Severities: map[string]int{}, Mix: map[string]int{}, StaleAfter: b.cfg.Stale, FloodLimits: b.cfg.Flood, Operators: b.cfg.Operators}
	for _, s := range States {
		h.States[s] = 0
	}
	for _, s := range severities {
		h.Severities[s], h.Mix[s] = 0, 0
	}
	b.mu.RLock()
	defer b.mu.RUnlock()
	seen := b.only(sees)
	all, outside := 0, map[string]int{} // raises that are of no time looked at: few, for they are forgotten
	for i := range b.history.raises {
		r := &b.history.raises[i]
		if !seen(r.id) {
			continue
		}
		age := now.Sub(r.at)
		if age > raisesHeld || age < 0 {
			outside[r.id] += raisedAmong(b.history.raises[i : i+1])
			continue
		}
		if !r.again {
			all++
		}
		if r.announced {
			h.Mix[r.severity]++
			slot := len(h.Rates) - 1 - int(age/(10*time.Minute))
			h.Rates[max(0, slot)]++
		}
	}
	h.Rate = h.Rates[len(h.Rates)-1]
	b.worst(&h, outside, seen)
	b.standing(&h, sees)
	h.rates(all)
	if sees != nil {
		h.ownFloods()
		return h
	}
	h.Flood = b.history.flooding()
	for _, f := range b.history.floods {
		begin, end := f.Begin, f.End
		if end.IsZero() {
			h.FloodSince, end = begin, now
		}
		if floor := now.Add(-raisesHeld); begin.Before(floor) {
			begin = floor
		} else {
			h.Floods++
		}
		h.InFlood += max(0, end.Sub(begin))
	}
	return h
}

// only is sees by an alarm's id; what is not known any more is seen by those who see all. The caller holds the lock.
func (b *Book) only(sees func(*Alarm) bool) func(id string) bool {
	if sees == nil {
		return func(string) bool { return true }
	}
	known := map[string]bool{}
	return func(id string) bool {
		is, ok := known[id]
		if !ok {
			held := b.records[id]
			is = held != nil && sees(held.base)
			known[id] = is
		}
		return is
	}
}

// ownFloods tells floods by Rates.
func (h *Health) ownFloods() {
	before := false
	for _, n := range h.Rates {
		over := n > h.FloodLimits.Begin*h.Operators
		if over {
			h.InFlood += 10 * time.Minute
		}
		if over && !before {
			h.Floods++
		}
		before = over
	}
	if h.Flood = before; before {
		h.FloodSince = h.At.Add(-10 * time.Minute)
		for i := len(h.Rates) - 2; i >= 0 && h.Rates[i] > h.FloodLimits.Begin*h.Operators; i-- {
			h.FloodSince = h.FloodSince.Add(-10 * time.Minute)
		}
	}
}

// worst lists the alarms that were raised most, but for raises outside.
func (b *Book) worst(h *Health, outside map[string]int, seen func(id string) bool) {
	type actor struct {
		id string
		n  int
	}
	bad := first[actor]{n: 10, compare: func(x, y actor) int { return cmp.Or(y.n-x.n, cmp.Compare(x.id, y.id)) }}
	for id, n := range b.history.often {
		if x := (actor{id, n - outside[id]}); x.n > 0 && bad.wants(x) && b.records[id] != nil && seen(id) {
			bad.add(x)
		}
	}
	for _, x := range bad.all {
		h.Bad = append(h.Bad, Actor{b.records[x.id].record(), x.n})
	}
}

// standing counts the alarms and lists those that need a look. It goes through the rows, and to the alarms
// themselves only where it must.
func (b *Book) standing(h *Health, sees func(*Alarm) bool) {
	byRaised := func(x, y Record) int { return cmp.Or(x.Raised.Compare(y.Raised), cmp.Compare(x.ID, y.ID)) }
	stale, chattering := first[Record]{n: mostListed, compare: byRaised}, first[Record]{n: mostListed, compare: byRaised}
	shelved := first[Record]{n: mostListed, compare: func(x, y Record) int {
		return cmp.Or(x.ShelvedUntil.Compare(y.ShelvedUntil), cmp.Compare(x.ID, y.ID))
	}}
	var oldest *row
	old := h.At.Add(-b.cfg.Stale).UnixMilli()
	for i := range b.rows {
		r := &b.rows[i]
		if sees != nil && !sees(r.h.base) {
			continue
		}
		h.States[r.state]++
		if r.state != Normal {
			h.Severities[r.severity]++
		}
		if r.chattering {
			chattering.add(r.h.record())
		}
		if r.state == Shelved {
			shelved.add(r.h.record())
		}
		if (r.state == Unacked || r.state == Acked) && r.raised <= old && h.At.Sub(r.h.alarm().Raised) > b.cfg.Stale {
			stale.add(r.h.record())
		}
		if r.state == Unacked && (oldest == nil || r.since < oldest.since) {
			oldest = r
		}
	}
	if oldest != nil {
		r := oldest.h.record()
		h.Oldest = &r
	}
	h.Stale, h.Chattering, h.Shelved = stale.all, chattering.all, shelved.all
	h.StaleCount, h.Chatterers = stale.given, chattering.given
}

// first keeps in order the first n of all that it is given.
type first[T any] struct {
	n       int
	compare func(x, y T) int
	all     []T
	given   int
}

func (f *first[T]) wants(v T) bool { return len(f.all) < f.n || f.compare(v, f.all[f.n-1]) < 0 }

func (f *first[T]) add(v T) {
	f.given++
	if !f.wants(v) {
		return
	}
	f.all = f.all[:min(len(f.all), f.n-1)]
	i, _ := slices.BinarySearchFunc(f.all, v, f.compare)
	f.all = slices.Insert(f.all, i, v)
}

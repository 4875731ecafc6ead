package alarms

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// A Query selects alarms; empty fields select all, but Normal alarms only where States names them.
type Query struct {
	States     []State
	Severities []string
	Domains    []string
	Zones      []string
	Devices    []string
	Rules      []string
	FirstOut   []string // ids of alarms that came first
	After      *Mark    // the last one of the page before
	Limit      int      // 0: no bound
	// Sees says by an alarm's rule, domain, zone and device whether it is one of those that are asked for at all;
	// nil: all are. It is called under the book's lock.
	Sees func(*Alarm) bool
}

// A Mark is an alarm's place in the list.
type Mark struct {
	Raised time.Time
	ID     string
}

// Mark is where the alarm stands in a list: the newest first, to the millisecond, then by id.
func (a *Alarm) Mark() Mark { return Mark{a.Raised, a.ID} }

// A row is what of an alarm is looked at in the search for those that a query selects: side by side in
// memory, for it is done over all of them.
type row struct {
	raised, since int64 // ms
	// due is in ms when time does something next, or a normal one may be forgotten, or earlier; 0: never.
	due                                  int64
	state                                State
	chattering, active, escalated        bool
	severity, domain, zone, device, rule string
	id                                   string
	h                                    *held
}

func rowOf(h *held, a *Alarm, cfg *Config) row {
	state := a.State()
	return row{
		raised: a.Raised.UnixMilli(), since: a.Since.UnixMilli(), state: state, chattering: a.Chattering, active: a.Active, escalated: a.Escalated,
		severity: a.Severity, domain: a.Domain, zone: a.Zone, device: a.Device, rule: a.Rule, id: h.base.ID, h: h,
		due: dueOf(a, state, cfg),
	}
}

func dueOf(a *Alarm, state State, cfg *Config) int64 {
	due := a.due(cfg)
	if forget := a.Changed.Add(cfg.Keep); state == Normal && (due.IsZero() || forget.Before(due)) {
		due = forget
	}
	if due.IsZero() {
		return 0
	}
	return due.UnixMilli()
}

// A step is what a deed does to rows.
type step struct {
	action   string
	fits     []State
	at       int64 // ms, as the others
	until    int64 // of shelve
	forget   int64 // when an alarm that is normal since may be
	escalate int64 // when the first one may grow graver that is unacknowledged since; 0: never
}

func stepOf(d *deed, cfg *Config) step {
	s := step{action: d.Act.Action, fits: allowed[d.Act.Action], at: d.At.UnixMilli(), until: d.Act.Until.UnixMilli(), forget: d.At.Add(cfg.Keep).UnixMilli()}
	for _, e := range cfg.Escalate {
		if at := d.At.Add(e.After).UnixMilli(); s.escalate == 0 || at < s.escalate {
			s.escalate = at
		}
	}
	return s
}

// act makes of the row what the deed makes of its alarm, but for due, which may come too early. It does not
// where that takes more than the row, and says so: of an act on a hundred thousand alarms most are never looked at.
func (r *row) act(s *step) bool {
	next := r.state
	if !slices.Contains(s.fits, next) {
		return false
	}
	switch s.action {
	case "ack", "unshelve":
		next = Normal
		if r.active && s.action == "ack" {
			next = Acked
		} else if r.active {
			next = Unacked
		}
	case "unack":
		next = Unacked
	case "shelve":
		next = Shelved
	case "close":
		if next = Normal; r.active {
			return false // it suppresses others no more
		}
	}
	if next == Normal && r.escalated {
		return false // it has the rule's severity again
	}
	soonest := func(at int64) {
		if at != 0 && (r.due == 0 || at < r.due) {
			r.due = at
		}
	}
	switch next {
	case Normal:
		soonest(s.forget)
	case Unacked:
		soonest(s.escalate)
	case Shelved:
		if s.action == "shelve" {
			soonest(s.until)
		}
	}
	if next != r.state {
		r.state, r.since = next, s.at
	}
	return true
}

// compare puts the newest first, as a list does.
func (r *row) compare(raised int64, id string) int {
	return cmp.Or(cmp.Compare(raised, r.raised), cmp.Compare(r.id, id))
}

func (q *Query) takes(r *row) bool {
	if len(q.States) == 0 && r.state == Normal || len(q.States) > 0 && !slices.Contains(q.States, r.state) {
		return false
	}
	if q.Sees != nil && !q.Sees(r.h.base) {
		return false
	}
	in := func(list []string, v string) bool { return len(list) == 0 || slices.Contains(list, v) }
	return in(q.Severities, r.severity) && in(q.Domains, r.domain) && in(q.Zones, r.zone) && in(q.Devices, r.device) && in(q.Rules, r.rule) &&
		(len(q.FirstOut) == 0 || slices.Contains(q.FirstOut, r.h.base.FirstOut))
}

// worst is a heap with the last of a list on top. It holds what is compared beside one another: by way of the
// rows, which lie apart, the comparisons took most of the time of a long page.
type worst []listed

// listed is a row in a list that is being made.
type listed struct {
	raised int64
	id     string
	row    *row
}

func (l *listed) compare(o *listed) int {
	return cmp.Or(cmp.Compare(o.raised, l.raised), cmp.Compare(l.id, o.id))
}

func (w worst) Len() int           { return len(w) }
func (w worst) Less(i, j int) bool { return w[i].compare(&w[j]) > 0 }
func (w worst) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *worst) Push(x any)        { *w = append(*w, x.(listed)) }
func (w *worst) Pop() any {
	last := (*w)[len(*w)-1]
	*w = (*w)[:len(*w)-1]
	return last
}

// List returns the alarms that q selects, the newest first, whether there are more, and how many there
// are on all pages.
func (b *Book) List(q Query) (page []Record, more bool, total int) {
	var best worst
	b.mu.RLock()
	defer b.mu.RUnlock()
	for i := len(b.rows) - 1; i >= 0; i-- { // the newest are rather at the end, and what comes after them is not kept
		r := &b.rows[i]
		if !q.takes(r) {
			continue
		}
		total++
		if q.After != nil && r.compare(q.After.Raised.UnixMilli(), q.After.ID) <= 0 {
			continue
		}
		if q.Limit > 0 && len(best) > q.Limit {
			if r.compare(best[0].raised, best[0].id) < 0 {
				best[0] = listed{r.raised, r.id, r}
				heap.Fix(&best, 0)
			}
			continue
		}
		if best = append(best, listed{r.raised, r.id, r}); q.Limit > 0 && len(best) > q.Limit {
			heap.Init(&best)
		}
	}
	slices.SortFunc(best, func(x, y listed) int { return x.compare(&y) })
	if q.Limit > 0 && len(best) > q.Limit {
		best, more = best[:q.Limit], true
	}
	page = make([]Record, len(best))
	for i := range best {
		page[i] = best[i].row.h.record()
	}
	return page, more, total
}

// rowsAtOnce is how many rows are looked at before operators have their turn.
const rowsAtOnce = 2048

// eachRow calls do for the rows, with the lock for some of them at a time: who waits for it does not wait for all.
// What is removed meanwhile may hide another one until the next time.
func (b *Book) eachRow(do func(*row)) {
	for from := 0; ; from += rowsAtOnce {
		b.mu.RLock()
		for i := from; i < min(from+rowsAtOnce, len(b.rows)); i++ {
			do(&b.rows[i])
		}
		over := from+rowsAtOnce >= len(b.rows)
		b.mu.RUnlock()
		if over {
			return
		}
	}
}

// lookLater finds out when time does something next to alarms whose rows came due too early.
func (b *Book) lookLater(early []*held) {
	var look view
	for some := range slices.Chunk(early, rowsAtOnce) {
		b.mu.Lock()
		for _, h := range some {
			if h.row >= 0 {
				b.rows[h.row].due = dueOf(look.of(h.version), b.rows[h.row].state, &b.cfg)
			}
		}
		b.mu.Unlock()
	}
}

// Escalated returns the alarms that nobody has acknowledged since they grew graver for it.
func (b *Book) Escalated() []Record {
	var out []Record
	b.eachRow(func(r *row) {
		if r.state == Unacked && r.escalated {
			out = append(out, r.h.record())
		}
	})
	return out
}

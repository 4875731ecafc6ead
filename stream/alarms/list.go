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
	After      *Mark // the last one of the page before
	Limit      int   // 0: no bound
}

// A Mark is an alarm's place in the list.
type Mark struct {
	Raised time.Time
	ID     string
}

// Mark is where the alarm stands in a list: the newest first, then by id.
func (a *Alarm) Mark() Mark { return Mark{a.Raised, a.ID} }

func (m Mark) compare(o Mark) int { return cmp.Or(o.Raised.Compare(m.Raised), cmp.Compare(m.ID, o.ID)) }

func (q *Query) takes(a *Alarm) bool {
	state := a.State()
	if len(q.States) == 0 && state == Normal || len(q.States) > 0 && !slices.Contains(q.States, state) {
		return false
	}
	in := func(list []string, v string) bool { return len(list) == 0 || slices.Contains(list, v) }
	return in(q.Severities, a.Severity) && in(q.Domains, a.Domain) && in(q.Zones, a.Zone) && in(q.Devices, a.Device) && in(q.Rules, a.Rule)
}

// worst is a heap with the last of a list on top.
type worst []Record

func (w worst) Len() int           { return len(w) }
func (w worst) Less(i, j int) bool { return w[i].Mark().compare(w[j].Mark()) > 0 }
func (w worst) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *worst) Push(x any)        { *w = append(*w, x.(Record)) }
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
	for _, r := range b.records {
		if !q.takes(r.Alarm) {
			continue
		}
		total++
		mark := r.Mark()
		if q.After != nil && mark.compare(*q.After) <= 0 {
			continue
		}
		if q.Limit > 0 && len(best) > q.Limit {
			if mark.compare(best[0].Mark()) > 0 {
				continue
			}
			best[0] = r
			heap.Fix(&best, 0)
			continue
		}
		if best = append(best, r); q.Limit > 0 {
			heap.Fix(&best, len(best)-1)
		}
	}
	b.mu.RUnlock()
	slices.SortFunc(best, func(x, y Record) int { return x.Mark().compare(y.Mark()) })
	if q.Limit > 0 && len(best) > q.Limit {
		return best[:q.Limit], true, total
	}
	return best, false, total
}

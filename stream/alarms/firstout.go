package alarms

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// A FirstOut says which alarms belong together, so that of an incident the alarm is known that came first:
// those of a Domain, or of all where that is empty, that share By and are raised within Within of the
// first, by the time of their events. An alarm belongs to the first FirstOut that fits it.
type FirstOut struct {
	By     string // zone, device, or parent: a device and those that hang on it
	Domain string
	Within time.Duration
}

// groupings are what a FirstOut can be by.
var groupings = []string{"zone", "device", "parent"}

// group names the group of an alarm, "" for none, and how long it lasts.
func (c *Config) group(a *Alarm, parent func(device string) string) (string, time.Duration) {
	for _, f := range c.FirstOut {
		if f.Domain != "" && f.Domain != a.Domain {
			continue
		}
		name := a.Zone
		switch f.By {
		case "device":
			name = a.Device
		case "parent":
			name = a.Device
			if parent != nil && a.Device != "" {
				name = cmp.Or(parent(a.Device), a.Device)
			}
		}
		if name != "" {
			return f.By + " " + name, f.Within
		}
	}
	return "", 0
}

// within is how long groups of a name last.
func (c *Config) within(group string) time.Duration {
	for _, f := range c.FirstOut {
		if len(group) > len(f.By) && group[:len(f.By)] == f.By {
			return f.Within
		}
	}
	return 0
}

// maxFirsts bounds the first alarms that are remembered of one group; older ones gather no more.
const maxFirsts = 64

// firsts are the alarms that came first, by group, each oldest first.
type firsts map[string][]Mark

func compareMarks(x, y Mark) int { return cmp.Or(x.Raised.Compare(y.Raised), cmp.Compare(x.ID, y.ID)) }

func (f firsts) add(group string, m Mark) {
	all := f[group]
	i, had := slices.BinarySearchFunc(all, m, compareMarks)
	if had {
		return
	}
	all = slices.Insert(all, i, m)
	f[group] = all[max(0, len(all)-maxFirsts):]
}

func (f firsts) remove(group string, m Mark) {
	all := f[group]
	if i, had := slices.BinarySearchFunc(all, m, compareMarks); had {
		if all = slices.Delete(all, i, i+1); len(all) == 0 {
			delete(f, group)
			return
		}
		f[group] = all
	}
}

// of is the first alarm before m, at most within before it.
func (f firsts) of(group string, m Mark, within time.Duration) (Mark, bool) {
	all := f[group]
	i, had := slices.BinarySearchFunc(all, m, compareMarks)
	if had {
		return m, true
	}
	if i > 0 && m.Raised.Sub(all[i-1].Raised) <= within {
		return all[i-1], true
	}
	return Mark{}, false
}

// crowded are the groups in which a first alarm stands within another's time, from which on they are to
// be looked at again: an event that came late was before the one that was thought to be the first.
func (f firsts) crowded(c *Config) map[string]Mark {
	out := map[string]Mark{}
	for group, all := range f {
		within := c.within(group)
		for i := 1; i < len(all); i++ {
			if all[i].Raised.Sub(all[i-1].Raised) <= within {
				out[group] = all[i-1]
				break
			}
		}
	}
	return out
}

// isFirst reports whether the alarm came first in its group.
func (a *Alarm) isFirst() bool { return a.Group != "" && a.FirstOut == a.ID }

// changeFirsts takes note that an alarm is another. Either may be nil. The caller holds the lock.
func (b *Book) changeFirsts(old, now *Alarm) {
	same := old != nil && now != nil && old.Group == now.Group && old.isFirst() == now.isFirst() && old.Raised.Equal(now.Raised)
	if same {
		return
	}
	if old != nil && old.isFirst() {
		b.firsts.remove(old.Group, old.Mark())
	}
	if now != nil && now.isFirst() {
		b.firsts.add(now.Group, now.Mark())
		b.regroup = true
	}
}

// assign says which alarm of its group came before a, which is newly raised; about are first ones that are
// not in the Book yet.
func (b *Book) assign(a *Alarm, parent func(device string) string, about firsts) {
	var within time.Duration
	a.FirstOut = ""
	if a.Group, within = b.cfg.group(a, parent); a.Group == "" {
		return
	}
	m := a.Mark()
	b.mu.RLock()
	first, ok := b.firsts.of(a.Group, m, within)
	b.mu.RUnlock()
	if near, nearer := about.of(a.Group, m, within); nearer && (!ok || compareMarks(near, first) < 0) {
		first, ok = near, true
	}
	if !ok {
		first = m
	}
	if a.FirstOut = first.ID; first.ID == a.ID {
		about.add(a.Group, m)
	}
}

// regroup looks again at groups into which an earlier alarm came late.
func (r *run) regroup(ctx context.Context, now time.Time) error {
	b := r.book
	b.mu.Lock()
	if !b.regroup {
		b.mu.Unlock()
		return nil
	}
	b.regroup = false
	crowded := b.firsts.crowded(&b.cfg)
	members := map[string][]Mark{}
	if len(crowded) > 0 {
		for i := range b.rows {
			a := b.rows[i].h.base // no act changes groups
			if from, ok := crowded[a.Group]; ok && compareMarks(a.Mark(), from) >= 0 {
				members[a.Group] = append(members[a.Group], a.Mark())
			}
		}
	}
	var ids, first []string
	for group, all := range members {
		slices.SortFunc(all, compareMarks)
		head := all[0]
		for _, m := range all {
			if m.Raised.Sub(head.Raised) > b.cfg.within(group) {
				head = m
			}
			if h := b.records[m.ID]; h.base.FirstOut != head.ID {
				ids, first = append(ids, m.ID), append(first, head.ID)
			}
		}
	}
	b.mu.Unlock()
	return failure(b.edit(ctx, ids, func(i int, a *Alarm) (*Alarm, error) {
		if a == nil || a.FirstOut == first[i] {
			return nil, nil
		}
		a.FirstOut = first[i]
		a.enter(now, "first_out", "", "after "+first[i])
		return a, nil
	}))
}

package rules

import (
	"slices"

	"panormus/devices"
)

// What rows are of: a device, with the values of the row in hand in the slots of its plan.

// rowOwner is a device among those of a kind of rows.
type rowOwner struct{ on, id, domain string }

// rowProgram is the rules of an engine as they are about one kind of rows.
type rowProgram struct {
	*program
	kind  *rowKind // nil for messages of devices
	asked bool     // no rule is about it, some ask for it
	slots map[*plan]*rowSlots
}

// rowSlots say where the values of a plan's slots are: in a column of the row, or, below 0, none.
type rowSlots struct {
	nums, texts []int
	columns     []int    // all that is looked at, to hold a row
	others      []string // what is no column
	// settles says that the second engine has rules of the plan, settlesAll that it needs all rows for them.
	settles, settlesAll bool
}

func newRowProgram(set *Set, engine, on string) *rowProgram {
	p := &rowProgram{program: newProgramOf(set, engine, on, false), kind: rowKinds[on], slots: map[*plan]*rowSlots{}}
	place := func(names []string) []int {
		out := make([]int, len(names))
		for i, name := range names {
			out[i] = -1
			if p.kind != nil {
				if at, ok := p.kind.place[name]; ok {
					out[i] = at
				}
			}
		}
		return out
	}
	for _, pl := range p.all() {
		s := &rowSlots{nums: place(pl.nums), texts: place(pl.texts)}
		s.hold(p.kind, pl, engine == OnJoined && on == OnCounts)
		p.slots[pl] = s
	}
	return p
}

// hold notes what of a row is looked at: what the rules read, and by what keys, zones and things are told apart.
func (s *rowSlots) hold(k *rowKind, pl *plan, all bool) {
	if k == nil {
		return
	}
	look := func(i int) {
		if i >= 0 && !slices.Contains(s.columns, i) {
			s.columns = append(s.columns, i)
		}
	}
	for _, i := range slices.Concat(s.nums, s.texts, k.of) {
		look(i)
	}
	for i, name := range k.names {
		if all || name == "zone" || name == "key" {
			look(i)
		}
	}
	for _, name := range slices.Concat(pl.nums, pl.texts) {
		if _, ok := k.place[name]; !ok && !slices.Contains(s.others, name) {
			s.others = append(s.others, name)
		}
	}
}

// newRowDevice has a home and a more that it shares with no other.
func newRowDevice(id, domain string, pl *plan) *device {
	return &device{id: id, home: &home{domain: domain, plan: pl}, more: &more{}}
}

// device is whose the row is; where the registry has no entry its domain is the row's, or the kind's.
func (e *RowEngine) device(on, id, domain string) *device {
	p := e.programs[on]
	owner := rowOwner{on, id, domain}
	d := e.devices[owner]
	if d == nil {
		if len(e.devices) >= e.cfg.MaxDevices {
			clear(e.devices) // they are looked up again
		}
		d = newRowDevice(id, domain, nil)
		if domain == "" && p.kind != nil {
			d.domain = p.kind.domain
		}
		e.devices[owner] = d
	}
	if r := e.cfg.Registry; e.given != nil && e.given.device == id {
		if d.asset != e.given.asset || d.plan == nil {
			d.know(e.given.asset, domain)
		}
	} else if r != nil {
		if v := uint32(r.Version()); d.asset == nil || d.version != v && !e.second {
			d.version = v
			d.know(r.Lookup(id), domain)
		}
	}
	if d.plan == nil {
		d.plan = p.plan(d.domain)
		d.empty()
	}
	return d
}

// know gives a device its entry of the registry, which says the domain where a row does not.
func (d *device) know(a *devices.Asset, domain string) {
	if d.asset = a; a != nil && domain == "" {
		d.domain = a.Domain
	}
	d.tuned = overridesHash(a)
	d.plan = nil
}

// fill puts the row's values into the device's slots.
func (row *Row) fill(d *device, slots *rowSlots) {
	for i, at := range slots.nums {
		switch {
		case at >= 0:
			d.nums()[i] = row.num(at)
		case row.other != nil:
			d.nums()[i], _ = row.other(d.plan.nums[i])
		}
	}
	for i, at := range slots.texts {
		switch {
		case at >= 0:
			d.texts[i] = row.text(at)
		case row.other != nil:
			_, d.texts[i] = row.other(d.plan.texts[i])
		}
	}
}

package rules

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
type rowSlots struct{ nums, texts []int }

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
		p.slots[pl] = &rowSlots{place(pl.nums), place(pl.texts)}
	}
	return p
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
	if r := e.cfg.Registry; r != nil {
		if v := uint32(r.Version()); d.asset == nil || d.version != v {
			if d.asset, d.version = r.Lookup(id), v; d.asset != nil && domain == "" {
				d.domain = d.asset.Domain
			}
			d.tuned = overridesHash(d.asset)
			d.plan = nil
		}
	}
	if d.plan == nil {
		d.plan = p.plan(d.domain)
		d.empty()
	}
	return d
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

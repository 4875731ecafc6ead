package rules

import (
	"math"
	"slices"
)

// write writes the settler behind all else of the shared shard.
func (st *settler) write(w *writer) {
	if st == nil || !st.seeded {
		w.uint(0)
		return
	}
	w.uint(1)
	st.ledger.write(w)
	w.uint(st.order)
	w.int(st.passed)
	w.text(string(st.engine.Snapshot(0, st.order)))
	w.text(string(st.engine.Snapshot(-1, st.order)))
	var ids []string
	for _, r := range st.engine.Set().Rules {
		if !r.Disabled {
			ids = append(ids, r.ID, r.logic)
		}
	}
	w.texts(ids)
	all := slices.SortedFunc(slices.Values(st.held), func(a, b *heldMessage) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	w.uint(uint64(len(all)))
	for _, m := range all {
		for _, t := range []int64{m.order, m.at, m.received} {
			w.time(t)
		}
		w.uint(m.seq)
		w.uint(uint64(m.n))
		w.texts([]string{m.domain, m.device, m.reason})
		w.uint(uint64(m.kind))
		w.text(string(knownThen(m.asset, m.device, st.engine.cfg.Registry)))
		w.says(m.says)
	}
}

// readSettler reads what write wrote. Where other rules run than then, the second engine begins anew.
func (s *shared) readSettler(r *reader) {
	st := s.settler
	if r.version < 10 || r.uint() == 0 {
		if st != nil {
			st.seeded = false
			s.recall()
		}
		return
	}
	l := newLedger(s.emitAccount, nil)
	l.read(r)
	order, passed := r.uint(), r.int()
	shard, rest, logic := r.text(), r.text(), r.texts()
	var held heap[*heldMessage]
	for range r.count() {
		m := &heldMessage{order: r.time(), at: r.time(), received: r.time(), seq: r.uint(), n: int(r.uint())}
		names := r.texts()
		if len(names) != 3 {
			r.bad = true
			return
		}
		m.domain, m.device, m.reason = names[0], names[1], names[2]
		if m.kind = heldKind(r.uint()); m.kind >= heldKinds {
			r.bad = true
			return
		}
		m.asset, m.says = r.knownThen(m.device, s.e.cfg.Registry), r.says()
		held.push(m)
	}
	if r.bad {
		return
	}
	s.settling(math.MaxUint64, s.received)
	l.rebind(func(id string) *bound { return s.rules[id] }, max(s.received, s.clock), func(_, next *bound) string { return changeReason(next) })
	if st == nil {
		return
	}
	l.count, l.lasts = st.count, st.lasts
	st.ledger = l
	var now []string
	for _, rule := range st.engine.Set().Rules {
		if !rule.Disabled {
			now = append(now, rule.ID, rule.logic)
		}
	}
	if st.seeded = slices.Equal(now, logic); !st.seeded {
		st.engine.secondly(func(v verdict) { // what other rules come to is not known
			if v.rule.ordered() {
				st.surely(v)
			}
		})
	}
	st.order, st.passed, st.held = order, passed, held
	for p, data := range map[int]string{0: shard, -1: rest} {
		if _, err := st.engine.Restore(p, []byte(data)); err != nil {
			r.bad = true
		}
	}
	if !st.seeded && !r.bad {
		st.keepWindows(s.e.cfg, s.received)
	}
}

// recall notes what was told of the keys of a snapshot that has no ledger.
func (s *shared) recall() {
	for k, g := range s.groups {
		if r := s.rules[k.rule]; r != nil && r.settles() && g.state == raised {
			t := telling{id: g.start, start: g.start, began: g.start + r.forMs, at: g.start + r.forMs, from: g.said(r, k)}
			t.nth[toldRaised] = 1
			a := s.settler.account(r, k.key)
			a.told = []telling{t}
		}
	}
}

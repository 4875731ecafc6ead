package rules

import (
	"encoding/json"
	"math"
	"slices"

	"panormus/devices"
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
		w.text(string(st.known(m)))
		w.uint(uint64(len(m.says)))
		for _, h := range m.says {
			w.text(h.metric)
			w.number(h.value)
			w.text(h.text)
			w.uint(uint64(h.quality))
		}
	}
}

// known is the entry of a message's device, nil where it is the registry's still; without its secrets.
func (st *settler) known(m *heldMessage) json.RawMessage {
	if m.asset == nil || st.engine.cfg.Registry.Lookup(m.device) == m.asset {
		return nil
	}
	a := &devices.Asset{Device: m.asset.Public(), Period: m.asset.Period, Overrides: m.asset.Overrides}
	a.LoRaWAN, a.Camera, a.Certificate = nil, nil, ""
	return plainJSON(a)
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
		if raw := r.text(); raw != "" {
			if err := json.Unmarshal([]byte(raw), &m.asset); err != nil {
				r.bad = true
			}
		} else if s.e.cfg.Registry != nil {
			m.asset = s.e.cfg.Registry.Lookup(m.device)
		}
		for range r.count() {
			m.says = append(m.says, heldReading{r.text(), r.number(), r.text(), uint8(r.uint())})
		}
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
	l.count = st.count
	st.ledger = l
	var now []string
	for _, rule := range st.engine.Set().Rules {
		if !rule.Disabled {
			now = append(now, rule.ID, rule.logic)
		}
	}
	if st.seeded = slices.Equal(now, logic); !st.seeded {
		return
	}
	st.order, st.passed, st.held = order, passed, held
	for p, data := range map[int]string{0: shard, -1: rest} {
		if _, err := st.engine.Restore(p, []byte(data)); err != nil {
			r.bad = true
		}
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

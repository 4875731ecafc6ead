package rules

import (
	"encoding/json"
	"errors"
	"slices"

	"panormus/devices"
)

// settledRowState is a rowSettler in a checkpoint.
type settledRowState struct {
	Told   []byte          `json:"told"`   // the ledger, and the rows held
	Engine json.RawMessage `json:"engine"` // a rowState
}

func (e *RowEngine) settledState() (*settledRowState, error) {
	st := e.settler
	if st == nil {
		return nil, nil
	}
	w := &writer{}
	st.ledger.write(w)
	w.int(st.clock)
	w.uint(st.order)
	all := slices.DeleteFunc(slices.Clone(st.held), func(h *heldRow) bool { return h.gone })
	slices.SortFunc(all, func(a, b *heldRow) int {
		if a.before(b) {
			return -1
		}
		return 1
	})
	w.uint(uint64(len(all)))
	for _, h := range all {
		w.uint(h.order)
		for _, t := range []int64{h.at, h.time, h.received} {
			w.time(t)
		}
		w.texts([]string{h.on, h.device, h.domain, h.rule, h.episode})
		w.int(h.since)
		if h.ends {
			w.uint(1)
		} else {
			w.uint(0)
		}
		w.texts(h.chain)
		w.text(string(knownThen(h.asset, h.device, e.cfg.Registry)))
		w.says(h.says)
	}
	state, err := st.engine.Snapshot()
	if err != nil {
		return nil, err
	}
	return &settledRowState{w.b, state}, nil
}

func (w *writer) says(all []heldReading) {
	w.uint(uint64(len(all)))
	for _, h := range all {
		w.text(h.metric)
		w.number(h.value)
		w.text(h.text)
		w.uint(uint64(h.quality))
	}
}

func (r *reader) says() (out []heldReading) {
	for range r.count() {
		out = append(out, heldReading{r.text(), r.number(), r.text(), uint8(r.uint())})
	}
	return out
}

// knownThen is the entry that a device had, nil where it is the registry's still; without its secrets.
func knownThen(then *devices.Asset, device string, now Registry) json.RawMessage {
	if then == nil || now != nil && now.Lookup(device) == then {
		return nil
	}
	a := &devices.Asset{Device: then.Public(), Period: then.Period, Overrides: then.Overrides}
	a.LoRaWAN, a.Camera, a.Certificate = nil, nil, ""
	return plainJSON(a)
}

// knownThen reads what knownThen wrote.
func (r *reader) knownThen(device string, now Registry) *devices.Asset {
	raw := r.text()
	switch {
	case raw != "":
		a := &devices.Asset{}
		if json.Unmarshal([]byte(raw), a) != nil {
			r.bad = true
		}
		return a
	case now != nil:
		return now.Lookup(device)
	}
	return nil
}

// readSettled reads what settledState wrote; nil is of a checkpoint from before rows were judged twice: what stood
// then, the second engine takes from the first's state.
func (e *RowEngine) readSettled(s *rowState) error {
	st := e.settler
	if s.Settled == nil {
		if st == nil {
			return nil
		}
		first := *s
		first.Windows, first.Clocks, first.Chains = nil, nil, nil
		data, err := json.Marshal(first)
		if err != nil {
			return err
		}
		for _, ep := range s.Episodes {
			if r := e.rule(ep.Rule, ep.Domain); r != nil && ep.State == raised {
				a := st.account(r, ep.Key)
				t := telling{id: ep.Start, start: ep.Start, began: ep.Start + r.forMs, at: ep.Start + r.forMs, from: ep.said(r)}
				t.nth[toldRaised] = 1
				a.told = []telling{t}
				a.sure = a.standing()
			}
		}
		return st.engine.Restore(data)
	}
	r := &reader{b: s.Settled.Told, version: s.Version}
	l := newLedger(e.emitAccount, nil)
	l.read(r)
	clock, order := r.int(), r.uint()
	var held heap[*heldRow]
	for range r.count() {
		h := &heldRow{order: r.uint(), at: r.time(), time: r.time(), received: r.time()}
		names := r.texts()
		if len(names) == 4 && s.Version < 14 {
			names = append(names, "")
		}
		if len(names) != 5 {
			r.bad = true
			break
		}
		h.on, h.device, h.domain, h.rule, h.episode = names[0], names[1], names[2], names[3], names[4]
		if s.Version >= 14 {
			h.since, h.ends = r.int(), r.uint() == 1
		}
		h.chain = r.texts()
		h.asset, h.says = r.knownThen(h.device, e.cfg.Registry), r.says()
		held.push(h)
	}
	if r.bad || len(r.b) != 0 {
		return errors.New("read what was told of rules on " + e.on + ": it ends early or late")
	}
	e.telling = e.received
	l.rebind(func(id string) *bound { return e.any(id) }, max(e.clock, e.received), func(_, next *bound) string { return changeReason(next) })
	if st == nil {
		return nil
	}
	l.count, l.lasts = st.count, st.lasts
	st.ledger, st.clock, st.order, st.held = l, clock, order, held
	for _, h := range held {
		st.note(h)
	}
	if err := st.engine.Restore(s.Settled.Engine); err != nil || s.Version >= 12 || s.Series == nil {
		return err
	}
	return st.engine.readSeries(&reader{b: s.Series, version: s.Version}) // those of windows are not among its own
}

// any is a rule as it is bound for one domain or another; nil where there is none.
func (e *RowEngine) any(id string) *bound {
	programs := []*program{}
	for _, p := range e.programs {
		programs = append(programs, p.program)
	}
	if e.joins != nil {
		programs = append(programs, e.joins.engine.prog)
	}
	for _, p := range programs {
		for _, pl := range p.all() {
			for _, r := range pl.rules {
				if r.ID == id {
					return r
				}
			}
		}
	}
	return nil
}

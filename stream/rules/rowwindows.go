package rules

// Windows and sequences of rows are those of messages of devices, for keys that one engine holds all
// of: rows come one by one in the log's order, so what is late and what is over is decided row by row.

// windowClockOf is the clock of a kind of rows.
func (e *RowEngine) windowClockOf(on string) *windowClock {
	c := e.clocks[on]
	if c == nil {
		c = &windowClock{}
		e.clocks[on] = c
	}
	return c
}

// takeWindow gives the row in the frame, of a time (Unix ms), to its key's window or sequence.
func (e *RowEngine) takeWindow(r *bound, row *Row, at int64) {
	if c := e.clocks[row.On]; c != nil && r.window.late(at, c.at) || r.window.late(at, e.windows.clock) {
		e.count.windowLate++
		e.count.rules[r.global].late++
		return
	}
	if e.settler != nil && r.surelyAlone() {
		return // it is judged surely, and no more
	}
	f, c := &e.frame, &e.count.rules[r.global]
	defer func() { // as shard.readFrom: what a rule says of a row is under a guard
		if p := recover(); p != nil {
			f.broke(r.Rule, p)
		}
		if f.failed {
			c.undecided(f)
		}
		if f.why != "" {
			f.afford(r.Rule)
			f.why = ""
		}
	}()
	f.failed, f.why = false, ""
	key, ok := e.keyOf(r, row)
	if !ok {
		if !f.failed {
			c.undecided(f)
		}
		return
	}
	k := rowKey{r.ID, key}
	w := e.keyed[k]
	isNew := w == nil
	if isNew {
		if e.keys[r.ID] >= e.cfg.MaxKeys {
			e.count.keysRefused++
			return
		}
		w = newWinState(r, key, f.dev.domain)
	}
	w.rule = r // as it is bound for the row's domain
	taken := w.add(f, at, f.dev.hashed())
	if c.takeDropped(w); !taken {
		return
	}
	if isNew {
		e.keys[r.ID]++
		e.keyed[k] = w
	}
	w.domain = min(w.domain, f.dev.domain)
	if row.On == OnEvents {
		e.chains[k] = row.chained(e.chains[k])
	}
	if due := r.window.firstDue(at); e.windows.judged(w, due) {
		e.tardy = append(e.tardy, tardy{w, due})
	} else {
		e.windows.arm(w, due)
	}
}

// correctWindows judges windows again that a row came to late.
func (e *RowEngine) correctWindows() {
	for i, t := range e.tardy {
		e.lookAt(t.state)
		if e.twiceOf(t.state.rule) {
			e.windows.correct(t.state, t.from, &e.frame, e.count.rules, func(*winState, news) {})
			e.sayPresent(t.state)
		} else {
			e.windows.correct(t.state, t.from, &e.frame, e.count.rules, e.emitWindow)
		}
		e.windows.next(t.state)
		e.tardy[i] = tardy{}
	}
	e.tardy, e.frame.window = e.tardy[:0], span{}
}

// closeWindows judges what is over by the clock of the kind that is furthest behind.
func (e *RowEngine) closeWindows() {
	if all := e.slowest(); all.any {
		e.passWindows(all.at())
	}
}

// slowest is what the clocks of the kinds come to.
func (e *RowEngine) slowest() (all allClocks) {
	for _, c := range e.clocks {
		all.add(c)
	}
	return all
}

// passWindows judges what is over when nothing can come any more of before a time.
func (e *RowEngine) passWindows(clock int64) {
	if clock <= e.windows.clock {
		return
	}
	e.windows.clock = clock
	e.windows.close(&e.frame, e.count.rules, e.lookAt, e.emitWindow, e.dropWindow)
	e.frame.window = span{}
}

// lookAt puts a key's windows on its device, where the key is one.
func (e *RowEngine) lookAt(w *winState) {
	if !w.rule.spans() {
		w.dev = e.device(w.rule.On, w.key, w.domain)
	}
}

func (e *RowEngine) emitWindow(w *winState, n news) {
	n.evidence.chain = w.rule.chain(e.chains[rowKey{w.rule.ID, w.key}])
	switch {
	case !e.twiceOf(w.rule):
		e.put(w.event(n, e.received))
	case n.state != tellings[toldUpdated]: // how it began is told when it is sure
		n.evidence.again = nil // what was corrected is the ledger's to say
		e.say(e.received, w.verdict(n))
	}
}

// twiceOf reports whether windows of a rule are judged twice.
func (e *RowEngine) twiceOf(r *bound) bool {
	return r.ordered() && (e.hear != nil || e.settler != nil)
}

// sayPresent says whether an episode of a key stands, by the rows that have come late too.
func (e *RowEngine) sayPresent(w *winState) {
	var last *telling
	for i := range w.told {
		if t := &w.told[i]; !t.gone && (last == nil || t.start > last.start) {
			last = t
		}
	}
	switch {
	case last == nil:
	case w.raised:
		e.emitWindow(w, news{tellings[toldRaised], last.start, last.start, last.from, ""})
	default:
		e.emitWindow(w, news{tellings[toldCleared], last.start, last.end, last.to, last.why})
	}
}

func (e *RowEngine) dropWindow(w *winState) {
	w.gone = true
	k := rowKey{w.rule.ID, w.key}
	if e.keyed[k] == w {
		delete(e.keyed, k)
		delete(e.chains, k)
		e.leave(k.Rule)
	}
}

// endWindow ends what a key's windows have raised, with a reason.
func (e *RowEngine) endWindow(w *winState, now int64, reason string) {
	if w.raised {
		e.windows.end(w, w.about(), now, reason, &e.frame, e.emitWindow)
	}
	e.dropWindow(w)
}

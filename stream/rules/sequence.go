package rules

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// A Step is one of a sequence, or what must not come after it.
type Step struct {
	As     string        // its name in text and context; "" for `unless`
	On     string        // what it is about; "" for what the rule is
	When   string        // CEL, of what a message itself says
	Within time.Duration // of the step before; 0 for the first
}

// Bounds of a sequence.
const (
	maxSteps       = 8
	maxOccurrences = 4096 // that a key keeps until the clock has passed them
	sequenceHoldMs = 60_000
)

// sequencePlan is a rule's sequence as it is judged. An occurrence is a message; its bits say which steps
// it is, then whether it is `unless`, then whether it is `clear`.
type sequencePlan struct {
	names  []string
	conds  []boolFunc
	within []int64 // ms, by step
	unless int64   // ms; -1 for none
	clears bool
	hold   int64 // ms
}

func (p *sequencePlan) unlessBit() int { return len(p.names) }
func (p *sequencePlan) clearBit() int  { return len(p.names) + 1 }

// occurrence is what the message in the frame is.
func (p *sequencePlan) occurrence(f *frame) uint64 {
	bits := uint64(0)
	for i, cond := range p.conds {
		if cond != nil && cond(f) == yes {
			bits |= 1 << i
		}
	}
	return bits
}

// progress is how far a key is: for every step the times of the last that led to it, and what waits.
type progress struct {
	chains  [][]int64
	waiting []int64 // the times of a whole sequence that `unless` may still undo
	shown   []int64 // the times of the one that raised, or kept up, what is open
	until   int64   // when that ends
}

// runSequence judges the occurrences before the clock, in the order of their times.
func (w *windows) runSequence(s *winState, f *frame, counts []ruleCounts, emit emitFunc) {
	p := s.rule.window.sequence
	if s.progress == nil {
		s.own().progress = &progress{chains: make([][]int64, len(p.names))}
	}
	g := s.progress
	n := 0
	for ; n < int(s.n) && s.number(n) < w.clock; n++ {
		at, bits := s.number(n), uint64(s.cells(n)[0])
		w.passTime(s, at, f, emit)
		counts[s.rule.global].evaluations++
		if s.raised && p.clears && bits>>p.clearBit()&1 == 1 {
			w.endSequence(s, at, f, emit)
		}
		if bits>>p.unlessBit()&1 == 1 {
			clear(g.chains)
			g.waiting = nil
		}
		for i := len(p.names) - 1; i >= 0; i-- { // from the last: no occurrence is two steps
			if bits>>i&1 == 0 {
				continue
			}
			if i == 0 {
				g.chains[0] = []int64{at}
			} else if c := g.chains[i-1]; c != nil && c[i-1] < at && at <= c[i-1]+p.within[i] {
				g.chains[i] = append(slices.Clone(c), at)
			}
		}
		last := len(p.names) - 1
		if whole := g.chains[last]; whole != nil && whole[last] == at {
			counts[s.rule.global].matches++
			g.chains[last] = nil
			if p.unless < 0 {
				w.matched(s, whole, at, f, emit)
			} else if g.waiting == nil {
				g.waiting = whole
			}
		}
	}
	s.drop(0, n)
	w.passTime(s, w.clock, f, emit)
	s.final(w.clock)
	for i, c := range g.chains { // what no step can follow any more
		if c != nil && (i+1 == len(p.names) || c[i]+p.within[i+1] < w.clock) {
			g.chains[i] = nil
		}
	}
}

// passTime does what is due before a time.
func (w *windows) passTime(s *winState, before int64, f *frame, emit emitFunc) {
	p, g := s.rule.window.sequence, s.progress
	if g.waiting != nil {
		if due := g.waiting[len(g.waiting)-1] + p.unless; due < before {
			if s.raised && g.until < due {
				w.endSequence(s, g.until, f, emit)
			}
			whole := g.waiting
			g.waiting = nil
			w.matched(s, whole, due, f, emit)
		}
	}
	if s.raised && g.until < before {
		w.endSequence(s, g.until, f, emit)
	}
}

func (w *windows) matched(s *winState, times []int64, at int64, f *frame, emit emitFunc) {
	s.progress.shown, s.progress.until = times, at+s.rule.window.sequence.hold
	if !s.raised {
		w.sequenceFrame(s, at, f)
		w.tell(s, "raised", at, "", f, emit)
	}
}

func (w *windows) endSequence(s *winState, at int64, f *frame, emit emitFunc) {
	w.sequenceFrame(s, at, f)
	w.tell(s, "cleared", at, "", f, emit)
	s.progress.shown = nil
}

// sequenceFrame puts the frame on the times of the steps.
func (w *windows) sequenceFrame(s *winState, at int64, f *frame) {
	var times []string
	for _, t := range s.progress.shown {
		times = append(times, formatTime(t))
	}
	f.nums, f.texts, f.dev, f.now, f.quality, f.failed, f.window = nil, times, s.about(), at, 0, false, span{}
}

// dueSequence is when the key is to be looked at next; 0: not.
func (s *winState) dueSequence() int64 {
	p, next := s.rule.window.sequence, int64(0)
	sooner := func(at int64) {
		if next == 0 || at+1 < next {
			next = at + 1
		}
	}
	if s.n > 0 {
		sooner(s.number(0))
	}
	g := s.progress
	if g == nil {
		return next
	}
	if g.waiting != nil {
		sooner(g.waiting[len(g.waiting)-1] + p.unless)
	}
	if s.raised {
		sooner(g.until)
	}
	for i, c := range g.chains {
		if c != nil && i+1 < len(p.names) {
			sooner(c[i] + p.within[i+1]) // to forget it
		}
	}
	return next
}

// addOccurrence takes the message in the frame.
func (s *winState) addOccurrence(f *frame, at int64) bool {
	bits := s.rule.window.sequence.occurrence(f)
	if bits == 0 {
		return false
	}
	if s.n >= maxOccurrences {
		s.own().dropped++
		return false
	}
	c := s.cells(s.pane(at))
	c[0] = float64(uint64(c[0]) | bits)
	return true
}

// makeRoom leaves out of p, what a round's messages came to, the last ones that s has no room for.
func (s *winState) makeRoom(p *winState) {
	if over := int(s.n+p.n) - maxOccurrences; over > 0 {
		s.own().dropped += uint64(over)
		p.drop(int(p.n)-over, int(p.n))
	}
}

// bindSequence binds the conditions of a rule's steps.
func (pl *plan) bindSequence(b *binder, r *bound) *binder {
	p := &sequencePlan{unless: -1, hold: sequenceHoldMs} // its conditions are under shard.readFrom's guard
	if r.Hold > 0 {
		p.hold = r.Hold.Milliseconds()
	}
	over := &binder{num: map[string]int{}, text: map[string]int{}, onlyCEL: b.onlyCEL}
	for i, step := range r.Sequence {
		p.names = append(p.names, step.As)
		p.within = append(p.within, step.Within.Milliseconds())
		p.conds = append(p.conds, pl.stepCondition(b, r, i))
		over.text[step.As] = i
		r.shows = append(r.shows, shown{name: step.As, text: func(f *frame) (string, bool) {
			if i < len(f.texts) {
				return f.texts[i], true
			}
			return "", false
		}})
	}
	p.conds = append(p.conds, nil, nil)
	if r.Unless != nil {
		p.unless = r.Unless.Within.Milliseconds()
		p.conds[p.unlessBit()] = pl.stepCondition(b, r, len(r.Sequence))
	}
	if p.clears = r.code.ends != nil; p.clears && r.endsOn() == pl.on {
		p.conds[p.clearBit()] = b.condition(r.code.ends)
	}
	r.window = &windowPlan{every: 1, width: 1, slot: pl.windows, sequence: p, waits: true}
	if pl.hasWindows = true; !r.shared() {
		pl.windows++
	}
	return over
}

// stepCondition binds a step's condition; nil where the step is about other than the plan.
func (pl *plan) stepCondition(b *binder, r *bound, i int) boolFunc {
	if r.stepOn(i) != pl.on {
		return nil
	}
	return b.condition(r.code.steps[i])
}

// parseSequence reads a rule's `sequence`.
func (p *parser) parseSequence(r *Rule, n *yaml.Node, at map[string]*yaml.Node) {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 || len(n.Content) > maxSteps {
		p.failAt(n, "sequence: found %s, want a list of 1 to %d steps such as {as: a, when: door_open == 1}", describe(n), maxSteps)
		return
	}
	names := map[string]bool{}
	for i, x := range n.Content {
		key := fmt.Sprintf("sequence.%d", i)
		s, ok := p.parseStep(key, x, []string{"as", "within", "when", "on"}, at)
		if !ok {
			continue
		}
		_, isField := fields[s.As]
		switch {
		case at[key+".as"] == nil:
			p.failAt(x, "sequence: a step without a name, want as: NAME")
		case keywords[s.As]:
			p.failAt(at[key+".as"], "sequence: %s is a word of the language, want another name", s.As)
		case !plainIdent.MatchString(s.As) || isField || specials[s.As] || len(s.As) > 64:
			p.failAt(at[key+".as"], "sequence: found %q, want a name of letters, digits and _ that is no field", clip(s.As, 40))
		case names[s.As]:
			p.failAt(at[key+".as"], "sequence: %s a second time", s.As)
		}
		names[s.As] = true
		switch has := at[key+".within"]; {
		case i == 0 && has != nil:
			p.failAt(has, "sequence: within on the first step, want it on those that follow one")
		case i > 0 && has == nil:
			p.failAt(x, "sequence: a step without within, want the time in which it follows the one before")
		}
		r.Sequence = append(r.Sequence, s)
	}
}

// parseUnless reads a rule's `unless`.
func (p *parser) parseUnless(r *Rule, n *yaml.Node, at map[string]*yaml.Node) {
	s, ok := p.parseStep("unless", n, []string{"within", "when", "on"}, at)
	if !ok {
		return
	}
	if at["unless.within"] == nil {
		p.failAt(n, "unless without within, want how long after the last step it counts")
	}
	r.Unless = &s
}

func (p *parser) parseStep(name string, n *yaml.Node, keys []string, at map[string]*yaml.Node) (Step, bool) {
	var s Step
	if n.Kind != yaml.MappingNode {
		p.failAt(n, "%s: found %s, want a mapping with %s", strings.Split(name, ".")[0], describe(n), strings.Join(keys, ", "))
		return s, false
	}
	p.eachKey(n, keys, nil, func(key string, _, v *yaml.Node) {
		text, ok := p.scalar(name+"."+key, v, maxTextBytes)
		if !ok {
			return
		}
		at[name+"."+key] = v
		switch key {
		case "as":
			s.As = text
		case "on":
			s.On = text
		case "when":
			s.When = strings.TrimSpace(text)
		default:
			d, err := parseDuration(text)
			if err != nil {
				p.failAt(v, "within: found %v", err)
			} else if d <= 0 || d > maxWindow {
				p.failAt(v, "within: found %s, want more than 0, to 31d", text)
			}
			s.Within = d
		}
	})
	if at[name+".when"] == nil {
		p.failAt(n, "%s without when, want a condition", strings.Split(name, ".")[0])
	}
	return s, true
}

// checkSequence reports what does not go with sequences.
func (p *parser) checkSequence(r *Rule, at map[string]*yaml.Node) {
	if at["sequence"] == nil {
		if v := at["unless"]; v != nil {
			p.failAt(v, "unless: found without sequence, want both: sequence: [{as: a, when: …}]")
		}
		return
	}
	for _, key := range []string{"when", "for", "absent", "window", "let"} {
		if v := at[key]; v != nil {
			p.failAt(v, "%s: found beside sequence, want one of them", key)
		}
	}
}

// compileSequence compiles a rule with a sequence: all its conditions are of what messages say, its text
// is of the times of its steps.
func (p *parser) compileSequence(r *Rule, at map[string]*yaml.Node, before int) {
	bad := p.faulty()
	if bad > before {
		return
	}
	of := map[string]*compiler{}       // by what they are about
	group := map[*compiler][]*parsed{} // their conditions, and the key
	condition := func(on, key, as, src string) *parsed {
		c := of[on]
		if c == nil {
			c = &compiler{p: p, metrics: map[string]kind{}, reads: map[string]bool{}, vars: map[string]variable{}, on: on, columns: columnsOf(on), ofReadings: true}
			of[on] = c
		}
		e := c.parse(at[key], as, src, max(strings.Index(at[key].Value, src), 0))
		group[c] = append(group[c], e)
		return e
	}
	var steps []*parsed
	for i, s := range r.Sequence {
		steps = append(steps, condition(r.stepOn(i), fmt.Sprintf("sequence.%d.when", i), "when", s.When))
	}
	if r.Unless != nil {
		steps = append(steps, condition(r.stepOn(len(r.Sequence)), "unless.when", "when", r.Unless.When))
	}
	var ends *parsed
	if at["clear"] != nil {
		ends = condition(r.endsOn(), "clear", "when", r.Clear)
		ends.key = "clear"
	}
	keys := map[string]*parsed{}
	if at["key"] != nil && !slices.Contains(plainKeys, r.Key) {
		for _, on := range slices.Sorted(maps.Keys(of)) {
			keys[on] = condition(on, "key", "key", r.Key)
		}
	}
	over := &compiler{p: p, metrics: map[string]kind{}, reads: map[string]bool{}, vars: map[string]variable{}, on: "the steps",
		columns: map[string]kind{}}
	for _, s := range r.Sequence {
		over.columns[s.As] = kindText
	}
	pieces := over.parseText(r, at["text"])
	var shows []*parsed
	for i := range pieces {
		if pieces[i].parsed != nil {
			shows = append(shows, pieces[i].parsed)
		}
	}
	checked, ok := map[*parsed]*expr{}, true
	for _, on := range slices.Sorted(maps.Keys(of)) {
		c := of[on]
		some, fine := c.settle(r, group[c], len(group[c]), before)
		maps.Copy(checked, some)
		ok = ok && fine
	}
	texts, fine := over.settle(r, shows, 0, before)
	if !ok || !fine {
		return
	}
	if r.spans() {
		over.checkShared(r, shows)
	}
	out := &code{reads: map[string]kind{}, shows: map[string]kind{}}
	take := func(on string, e *parsed) *expr {
		x := checked[e]
		of[on].takeCondition(&code{}, e, x) // says what is no condition
		return x
	}
	for i, e := range steps {
		x := take(r.stepOn(i), e)
		out.steps = append(out.steps, x)
		out.counts = out.counts || x != nil && !readsMetric(x)
	}
	if ends != nil {
		out.ends = take(r.endsOn(), ends)
		out.counts = out.counts || out.ends != nil && !readsMetric(out.ends)
	}
	mixed := r.mixed()
	if mixed {
		out.joined = map[string]*joinedCode{}
	}
	for on, c := range of {
		j := &joinedCode{reads: map[string]kind{}}
		if e := keys[on]; e != nil {
			j.key = take(on, e)
		}
		c.readsInto(j.reads)
		out.takeJoins(c.vars)
		maps.Copy(out.reads, j.reads)
		if mixed {
			out.joined[on] = j
		} else {
			out.key = j.key
		}
	}
	for i := range pieces {
		if e := pieces[i].parsed; e != nil {
			pieces[i].expr = texts[e]
		}
	}
	if p.faulty() > bad {
		return
	}
	out.text = pieces
	r.Metrics = slices.Sorted(maps.Keys(out.reads))
	r.code = out
}

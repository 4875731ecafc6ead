package rules

import (
	"encoding/json"
	"maps"
	"slices"
)

// A plan is the rules that concern one domain, and where its devices keep the values they read.
type plan struct {
	on      string // what it is about
	domain  string // "" for the plan of all domains that no rule names
	rules   []*bound
	nums    []string // metric by slot
	texts   []string
	metrics map[string]*metricPlan
	print   string // see printed
	always  bitset // rules that read no metric: every message evaluates them
	// counting are the rules of windows that every message concerns; windows is how many of them are about devices.
	counting bitset
	windows  int
	// hasWindows says whether any rule has windows, keys that span partitions among them.
	hasWindows bool
	absent     []int // rules of silence
	posts      bool  // rules of any domain ask for some of its metrics
	joins      bool  // rules of it ask other devices
	fences     []int // series that are fences
	scheduled  bool  // any rule has a schedule
	series     []seriesPlan
	words      int    // of a bitset
	redone     bitset // rules that late readings correct; redoes: there are some
	redoes     bool
	settles    bool          // rules of it are judged twice
	settlesAll bool          // some by every message
	bySlot     []*metricPlan // the metrics by slot, numbers first
	unread     *metricPlan   // of the metrics that no rule reads
}

// idle reports whether nothing is to be done with what its devices say.
func (pl *plan) idle() bool { return len(pl.rules) == 0 && !pl.posts }

// metricPlan is what a row of one metric does.
type metricPlan struct {
	posts     bool   // it is for the board
	settles   string // its name, where rules that are judged twice read it
	num, text int    // slots, -1 for none
	rules     bitset
	series    []int  // of the plan, that are of it
	windows   bitset // rules whose windows take it; nil for none
	asNum     bool   // some of them take it for a number,
	asText    bool   // some for a text

	// See shard.quick.
	quick bool // a message of it alone may go the quick way
	pure  bool // no test is a closure
	tests []test
	fills []*bound // rules whose windows take it
	id    int      // in the program
}

type bitset []uint64

func (b bitset) set(i int) { b[i/64] |= 1 << (i % 64) }

func (b bitset) has(i int) bool { return b[i/64]&(1<<(i%64)) != 0 }

func (b bitset) or(o bitset) {
	for i, w := range o {
		b[i] |= w
	}
}

func (b bitset) any() bool {
	for _, w := range b {
		if w != 0 {
			return true
		}
	}
	return false
}

// bound is a rule compiled for one plan.
type bound struct {
	*Rule
	index  int // in the plan
	global int // in the program
	when   boolFunc
	clear  boolFunc                       // nil: when `when` is false
	bare   struct{ when, clear boolFunc } // without guards, for shard.judge, which has its own
	key    textFunc                       // nil: device, zone or domain
	forMs  int64
	absent int64 // ms
	gated  bool  // it is judged at certain hours, or on a profile's devices, only
	text   []boundPiece
	shows  []shown
	limits json.RawMessage // of the context
	test   test            // `when`, as it is evaluated
	slow   bool            // cel-go evaluates at least one of its conditions
	window *windowPlan     // nil for none
	redone bool            // see redoes
}

type boundPiece struct {
	piece
	get func(*frame) string
}

// shown is a value that events carry in their context.
type shown struct {
	name string
	num  numFunc
	text textFunc
	bit  uint8 // of a flag
}

// program is the rules of a set that are about one kind of thing, compiled for every domain they
// name, and for the others together.
type program struct {
	set   *Set
	plans map[string]*plan
	other *plan
	quick []*metricPlan // by id
}

func (p *program) plan(domain string) *plan {
	if pl, ok := p.plans[domain]; ok {
		return pl
	}
	return p.other
}

func newProgram(set *Set, on string, onlyCEL bool) *program {
	return newProgramOf(set, on, on, onlyCEL)
}

// newProgramOf is of the rules of an engine, as they are about one kind of thing.
func newProgramOf(set *Set, engine, on string, onlyCEL bool) *program {
	p := &program{set: set, plans: map[string]*plan{}}
	for _, r := range set.Rules {
		if r.runs(engine, on) && r.Domain != "" && !r.Disabled && p.plans[r.Domain] == nil {
			p.plans[r.Domain] = newPlan(set, engine, on, r.Domain, onlyCEL)
		}
	}
	p.other = newPlan(set, engine, on, "", onlyCEL)
	p.number(p.other)
	for _, pl := range p.plans {
		p.number(pl)
	}
	return p
}

// number gives the metrics of a plan their places among those of all plans.
func (p *program) number(pl *plan) {
	for _, m := range pl.metrics {
		m.id = len(p.quick)
		p.quick = append(p.quick, m)
	}
}

func newPlan(set *Set, engine, on, domain string, onlyCEL bool) *plan {
	pl := &plan{on: on, domain: domain, metrics: map[string]*metricPlan{}, unread: &metricPlan{num: -1, text: -1}}
	b := &binder{num: map[string]int{}, text: map[string]int{}, onlyCEL: onlyCEL, plan: pl}
	for global, r := range set.Rules {
		if !r.runs(engine, on) || r.Disabled || r.Domain != "" && r.Domain != domain {
			continue
		}
		pl.rules = append(pl.rules, &bound{Rule: r, index: len(pl.rules), global: global})
	}
	pl.words = (len(pl.rules) + 63) / 64
	pl.always, pl.counting = make(bitset, pl.words), make(bitset, pl.words)
	for _, r := range pl.rules {
		pl.layOut(b, r)
		pl.joins = pl.joins || r.asks()
	}
	if engine == onObservations || engine == onAsking {
		pl.layPosts(set, engine, pl.slots(b))
	}
	for _, r := range pl.rules {
		pl.bind(b, r)
	}
	pl.layQuick()
	pl.layRedo()
	pl.print = pl.printed()
	return pl
}

// slots gives metrics their places.
func (pl *plan) slots(b *binder) func(metric string, k kind) *metricPlan {
	return func(metric string, k kind) *metricPlan {
		m := pl.metrics[metric]
		if m == nil {
			m = &metricPlan{num: -1, text: -1, rules: make(bitset, pl.words)}
			pl.metrics[metric] = m
		}
		if k != kindText && m.num < 0 {
			m.num, b.num[metric] = len(pl.nums), len(pl.nums)
			pl.nums = append(pl.nums, metric)
		}
		if k != kindNum && m.text < 0 {
			m.text, b.text[metric] = len(pl.texts), len(pl.texts)
			pl.texts = append(pl.texts, metric)
		}
		return m
	}
}

// layOut gives the metrics of a rule their slots.
func (pl *plan) layOut(b *binder, r *bound) {
	slot := pl.slots(b)
	reads := r.code.readsOn(pl.on)
	for _, metric := range slices.Sorted(maps.Keys(reads)) {
		m := slot(metric, reads[metric])
		m.asNum, m.asText = m.asNum || reads[metric] == kindNum, m.asText || reads[metric] == kindText
		switch {
		case r.windowed():
			if m.windows == nil {
				m.windows = make(bitset, pl.words)
			}
			m.windows.set(r.index)
		case r.Absent == 0:
			m.rules.set(r.index)
		}
	}
	for _, metric := range slices.Sorted(maps.Keys(r.code.shows)) {
		k := r.code.shows[metric]
		if read, ok := r.code.reads[metric]; ok {
			k = read
		}
		slot(metric, k)
	}
	switch {
	case r.windowed():
		if r.code.counts {
			pl.counting.set(r.index)
		}
	case r.Absent > 0:
		pl.absent = append(pl.absent, r.index)
	case !slices.ContainsFunc(r.Metrics, func(m string) bool { return !r.asks() || !slices.Contains(positionMetrics, m) }):
		pl.always.set(r.index) // where a device is that asks its neighbours is no reason to wait until it says so
	}
}

func (pl *plan) bind(b *binder, r *bound) {
	c := r.code
	r.gated = r.Schedule != nil || r.Profile != "" || r.asks()
	pl.scheduled = pl.scheduled || r.Schedule != nil
	r.forMs, r.absent = r.For.Milliseconds(), r.Absent.Milliseconds()
	slow := b.slow
	if r.windowed() {
		if key := c.keyOn(pl.on); key != nil {
			r.key = guardedText(r.Rule, b.string(key))
		}
		if r.Window != nil {
			b = pl.bindWindow(b, r)
		} else {
			b = pl.bindSequence(b, r)
		}
		slow = 0
	}
	if c.when != nil {
		r.bare.when = b.condition(c.when)
		r.test = b.test(r, c.when)
		if r.when = guardedBool(r.Rule, r.bare.when); r.test.form != formOther {
			r.when = r.test.eval // which cannot panic
			if w := r.window; w != nil {
				w.quick = w.runs() && r.Schedule == nil
			}
		}
	}
	if c.clear != nil {
		r.bare.clear = b.condition(c.clear)
		r.clear = guardedBool(r.Rule, r.bare.clear)
	}
	if c.key != nil && !r.windowed() {
		r.key = guardedText(r.Rule, b.string(c.key))
	}
	r.slow = b.slow > slow
	for _, p := range c.text {
		r.text = append(r.text, boundPiece{p, guardedRender(r.Rule, pl.render(b, r, p))})
	}
	pl.bindShown(b, r)
	if r.Window != nil {
		r.showLets(b)
	}
	if len(c.limits) > 0 {
		r.limits = plainJSON(c.limits)
	}
}

// render returns how a piece becomes text; nil for words and what the event itself says.
func (pl *plan) render(b *binder, r *bound, p piece) func(*frame) string {
	switch {
	case p.either != "":
		num, text := pl.either(b, r, p.either)
		return func(f *frame) string {
			if text != nil {
				if s, ok := text(f); ok {
					return clipText(s, 256)
				}
			}
			if num != nil {
				return formatNumber(num(f), p.decimals)
			}
			return "?"
		}
	case p.expr == nil:
		return nil
	case p.expr.kind == kindNum:
		get := b.number(p.expr)
		return func(f *frame) string { return formatNumber(get(f), p.decimals) }
	case p.expr.kind == kindText:
		get := b.string(p.expr)
		return func(f *frame) string {
			if s, ok := get(f); ok {
				return clipText(s, 256)
			}
			return "?"
		}
	case p.expr.kind == kindBool:
		get := b.condition(p.expr)
		return func(f *frame) string { return [...]string{no: "false", yes: "true", undecided: "?"}[get(f)] }
	}
	return func(*frame) string { return "?" }
}

// either returns the readers of a metric that a text shows as number, text or both.
func (pl *plan) either(b *binder, r *bound, metric string) (num numFunc, text textFunc) {
	t := typed{binder: b}
	k := r.code.reads[metric]
	if k != kindText {
		num = t.numVar(variable{source: fromMetric, name: metric})
	}
	if k != kindNum {
		text = t.textVar(variable{source: fromMetric, name: metric})
	}
	return num, text
}

// bindShown lists the values for the context: every metric, and the fields that vary.
func (pl *plan) bindShown(b *binder, r *bound) {
	var exprs []*expr
	for _, e := range []*expr{r.code.when, r.code.clear, r.code.key} {
		if e != nil && (e != r.code.key || !r.windowed()) { // the key of a window is of readings, not of the window
			exprs = append(exprs, e)
		}
	}
	seen := map[string]bool{}
	for _, e := range exprs {
		for _, s := range tagsUsed(e) {
			if !seen[s.name] {
				seen[s.name] = true
				r.shows = append(r.shows, s)
			}
		}
		t := typed{binder: b, e: e}
		for _, ident := range usedBy(e) {
			v := e.vars[ident]
			if seen[ident] {
				continue
			}
			seen[ident] = true
			s := shown{name: v.name}
			switch {
			case v.kind == kindNum:
				s.num = t.numVar(v)
			case v.kind == kindText:
				s.text = t.textVar(v)
			case v.source == fromFlag:
				s.name, s.bit = "flagged("+v.name+")", v.bit
			default:
				continue
			}
			r.shows = append(r.shows, s)
		}
	}
	for metric := range r.code.shows {
		if _, ok := r.code.reads[metric]; ok || seen[metric] {
			continue
		}
		s := shown{name: metric}
		s.num, s.text = pl.either(b, r, metric)
		if k := r.code.shows[metric]; k == kindNum {
			s.text = nil
		} else if k == kindText {
			s.num = nil
		}
		r.shows = append(r.shows, s)
	}
	r.showLimits(b, r.code.when)
	slices.SortFunc(r.shows, func(a, b shown) int {
		if a.name < b.name {
			return -1
		}
		return 1
	})
}

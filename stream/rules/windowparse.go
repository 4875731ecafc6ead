package rules

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cel.dev/cel-go/common/ast"
	"go.yaml.in/yaml/v3"
)

// Bounds of a rule's windows.
const (
	maxLets       = 16
	maxPanes      = 1000 // steps of a window
	slidingSteps  = 60   // of a sliding window whose step is not said
	minWindow     = time.Second
	maxWindow     = 31 * 24 * time.Hour
	maxPercentile = 100
)

var windowTypes = []string{"tumbling", "hopping", "sliding", "session"}

// parseWindow reads a rule's `window`.
func (p *parser) parseWindow(r *Rule, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		p.failAt(n, "window: found %s, want a mapping such as {type: tumbling, size: 5m}", describe(n))
		return
	}
	w := &Window{}
	at := map[string]*yaml.Node{}
	p.eachKey(n, []string{"type", "size", "every", "gap"}, nil, func(key string, _, v *yaml.Node) {
		at[key] = v
		s, ok := p.scalar("window."+key, v, 64)
		if !ok {
			return
		}
		if key == "type" {
			if w.Type = s; !slices.Contains(windowTypes, s) {
				p.failAt(v, "window.type: found %q%s; want one of %s", s, didYouMean(s, windowTypes), strings.Join(windowTypes, ", "))
			}
			return
		}
		d, err := parseDuration(s)
		switch {
		case err != nil:
			p.failAt(v, "window.%s: found %v", key, err)
			return
		case d < minWindow || d > maxWindow:
			p.failAt(v, "window.%s: found %s, want 1s to 31d", key, s)
		}
		*map[string]*time.Duration{"size": &w.Size, "every": &w.Every, "gap": &w.Gap}[key] = d
	})
	r.Window = w
	wanted := map[string][]string{"tumbling": {"size"}, "hopping": {"size", "every"}, "sliding": {"size"}, "session": {"gap"}}[w.Type]
	if at["type"] == nil {
		p.failAt(n, "window: no type, want one of %s", strings.Join(windowTypes, ", "))
		return
	}
	for _, key := range []string{"size", "every", "gap"} {
		switch has := at[key] != nil; {
		case !has && slices.Contains(wanted, key):
			p.failAt(n, "window: no %s, want it with type: %s", key, w.Type)
		case has && wanted != nil && !slices.Contains(wanted, key) && !(w.Type == "sliding" && key == "every"):
			p.failAt(at[key], "window.%s: found with type: %s, want only %s", key, w.Type, strings.Join(wanted, " and "))
		}
	}
	if w.Every > 0 && w.Size > 0 && at["every"] != nil {
		if w.Size%w.Every != 0 || w.Size/w.Every > maxPanes {
			p.failAt(at["every"], "window.every: found %s in %s, want a whole number of steps in a window, at most %d",
				formatDuration(w.Every), formatDuration(w.Size), maxPanes)
		}
	}
}

// step is how far it is from one window to the next.
func (w *Window) step() time.Duration {
	switch {
	case w.Every > 0:
		return w.Every
	case w.Type == "sliding":
		if w.Size%(slidingSteps*time.Millisecond) == 0 {
			return w.Size / slidingSteps
		}
		return max(w.Size/100, time.Millisecond).Truncate(time.Millisecond)
	}
	return w.Size
}

// parseLet reads the names of a rule's lets; what they are is compiled later.
func (p *parser) parseLet(r *Rule, n *yaml.Node, at map[string]*yaml.Node) {
	if n.Kind != yaml.MappingNode {
		p.failAt(n, "let: found %s, want a mapping such as {n: count(), v: avg(speed_kmh)}", describe(n))
		return
	}
	r.Let = map[string]string{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if !p.ownName("let", k, false, at["let."+k.Value] != nil) {
			continue
		}
		if len(r.Let) == maxLets {
			p.failAt(k, "let: more than %d, want at most so many", maxLets)
			return
		}
		if s, ok := p.scalar("let."+k.Value, v, maxTextBytes); ok {
			r.Let[k.Value], at["let."+k.Value] = strings.TrimSpace(s), v
		}
	}
}

// keywords are the words of the language, which no expression can use as names.
var keywords = map[string]bool{
	"in": true, "true": true, "false": true, "null": true, "as": true, "break": true, "const": true, "continue": true, "else": true,
	"for": true, "function": true, "if": true, "import": true, "let": true, "loop": true, "package": true, "namespace": true,
	"return": true, "var": true, "void": true, "while": true,
}

// ownName reports whether k is a name that a rule may give: no field's, nor another that is reserved, and
// not taken.
func (p *parser) ownName(in string, k *yaml.Node, reserved, taken bool) bool {
	_, isField := fields[k.Value]
	switch {
	case k.Kind != yaml.ScalarNode || !plainIdent.MatchString(k.Value) || len(k.Value) > 64:
		p.failAt(k, "%s: found %s, want a name of letters, digits and _", in, describe(k))
	case keywords[k.Value]:
		p.failAt(k, "%s: %s is a word of the language, want another", in, k.Value)
	case isField || specials[k.Value] || reserved:
		p.failAt(k, "%s: %s is a name of its own, want another", in, k.Value)
	case taken:
		p.failAt(k, "%s: %s a second time", in, k.Value)
	default:
		return true
	}
	return false
}

// checkWindow reports what does not go with windows.
func (p *parser) checkWindow(r *Rule, n *yaml.Node, at map[string]*yaml.Node) {
	if r.Window == nil {
		for _, key := range []string{"let", "late"} {
			if v := at[key]; v != nil {
				p.failAt(v, "%s: found without window, want both or none", key)
			}
		}
		return
	}
	for _, key := range []string{"for", "absent", "hold"} {
		if v := at[key]; v != nil {
			p.failAt(v, "%s: found beside window, which has its own time; want one of them", key)
		}
	}
	if at["let"] == nil {
		p.failAt(n, "window without let, want what is reckoned of its readings, such as let: {n: count()}")
	}
	if at["when"] == nil {
		p.failAt(n, "window without when, want a condition on its lets")
	}
}

// A let is one aggregate of a window, checked.
type let struct {
	name    string
	agg     aggregate
	arg     *expr // nil for count()
	percent float64
}

var letForm = regexp.MustCompile(`^(?s)([a-z_]+)\s*\((.*)\)$`)

var percentForm = regexp.MustCompile(`^(?s)(.*?),\s*([0-9]+(?:\.[0-9]+)?)\s*$`)

// parseLets parses the aggregates of a rule's lets; args are their arguments by name.
func (c *compiler) parseLets(r *Rule, at map[string]*yaml.Node) (lets []let, args map[string]*parsed) {
	args = map[string]*parsed{}
	for _, name := range r.letNames() {
		src, node := r.Let[name], at["let."+name]
		offset := max(strings.Index(node.Value, src), 0)
		whole := &parsed{node: node, key: "let." + name, src: src, offset: offset}
		m := letForm.FindStringSubmatchIndex(src)
		if m == nil {
			c.failAt(whole, 1, 0, "found %q, want one aggregate of the window's readings such as avg(speed_kmh); `when` may reckon with it", clip(src, 60))
			continue
		}
		fn, inner, begin := src[m[2]:m[3]], src[m[4]:m[5]], offset+m[4]
		agg, ok := aggregates[fn]
		if !ok {
			c.failAt(whole, 1, 0, "found %s()%s; want one of %s", fn, hint(fn, slices.Collect(maps.Keys(aggregates))),
				strings.Join(slices.Sorted(maps.Keys(aggregates)), ", "))
			continue
		}
		l := let{name: name, agg: agg}
		if agg == aggPercentile {
			p := percentForm.FindStringSubmatch(inner)
			if p != nil {
				l.percent, _ = strconv.ParseFloat(p[2], 64)
				inner = p[1]
			}
			if p == nil || !(l.percent > 0 && l.percent <= maxPercentile) {
				c.failAt(whole, 1, m[4]-m[2], "found percentile(%s), want an expression and a percentage above 0, to 100: percentile(speed_kmh, 85)", clip(src[m[4]:m[5]], 60))
				continue
			}
		}
		if agg == aggRate && r.spans() {
			c.failAt(whole, 1, 0, "rate() with key: %s, want key: device: it is the change of one device's metric", r.Key)
		}
		lets = append(lets, l)
		trimmed := strings.TrimSpace(inner)
		if trimmed == "" && agg == aggCount {
			continue
		}
		e := c.parse(node, "let."+name, trimmed, begin+strings.Index(inner, trimmed))
		e.want = kindNum
		if agg == aggCount || agg == aggDistinct {
			e.want = kindNone
			if agg == aggCount && e.ast != nil && root(e.ast).Kind() == ast.CallKind && root(e.ast).AsCall().FunctionName() == "in_zone" {
				e.want = kindBool // those inside, and not those of which it is known
			}
		}
		args[name] = e
	}
	return lets, args
}

// compileWindow compiles a rule with windows: the arguments of its lets and its key are about single
// readings, all else about the lets.
func (p *parser) compileWindow(r *Rule, at map[string]*yaml.Node, before int) {
	bad := p.faulty()
	of := &compiler{p: p, metrics: map[string]kind{}, reads: map[string]bool{}, vars: map[string]variable{}, on: r.On, columns: columnsOf(r.On), ofReadings: true}
	lets, args := of.parseLets(r, at)
	over := &compiler{p: p, metrics: map[string]kind{}, reads: map[string]bool{}, vars: map[string]variable{}, on: "the lets",
		columns: map[string]kind{}, windows: true}
	for name := range r.Let {
		over.columns[name] = kindNum
	}
	var conditions []*parsed
	for _, e := range []struct{ key, src string }{{"when", r.When}, {"clear", r.Clear}} {
		if at[e.key] != nil {
			conditions = append(conditions, over.parse(at[e.key], e.key, e.src, max(strings.Index(at[e.key].Value, e.src), 0)))
		}
	}
	pieces := over.parseText(r, at["text"])
	all := slices.Clone(conditions)
	for i := range pieces {
		if pieces[i].parsed != nil {
			all = append(all, pieces[i].parsed)
		}
	}
	lifted, liftedArgs := over.lift(all, of)
	lets = append(lets, lifted...)
	maps.Copy(args, liftedArgs)
	var readings []*parsed
	for _, l := range lets {
		if e := args[l.name]; e != nil {
			readings = append(readings, e)
		}
	}
	var key *parsed
	if at["key"] != nil && !slices.Contains(plainKeys, r.Key) {
		key = of.parse(at["key"], "key", r.Key, max(strings.Index(at["key"].Value, r.Key), 0))
		readings = append(readings, key)
	}
	ofReadings, ok1 := of.settle(r, readings, len(readings), before)
	ofLets, ok2 := over.settle(r, all, len(conditions), before)
	if !ok1 || !ok2 || p.faulty() > bad {
		return
	}
	if r.spans() {
		over.checkShared(r, all)
	}
	out := &code{reads: map[string]kind{}, shows: map[string]kind{}}
	for _, e := range conditions {
		over.takeCondition(out, e, ofLets[e])
	}
	if key != nil {
		over.takeCondition(out, key, ofReadings[key])
	}
	for _, l := range lets {
		if e := args[l.name]; e != nil {
			if l.arg = ofReadings[e]; l.arg == nil {
				continue // said already
			}
			of.checkArgument(e, l)
		}
		out.counts = out.counts || l.arg == nil || !readsMetric(l.arg)
		out.lets = append(out.lets, l)
	}
	for i := range pieces {
		if e := pieces[i].parsed; e != nil {
			pieces[i].expr = ofLets[e]
		}
	}
	if p.faulty() > bad {
		return
	}
	out.text = pieces
	out.takeJoins(of.vars)
	out.readAll(of, r)
	r.code = out
}

// readAll notes the metrics of what was compiled: a message with one of them concerns the rule.
func (c *code) readAll(of *compiler, r *Rule) {
	of.readsInto(c.reads)
	r.Metrics = slices.Sorted(maps.Keys(c.reads))
}

// readsInto notes the metrics of what was compiled.
func (c *compiler) readsInto(reads map[string]kind) {
	for _, v := range c.vars {
		if v.source == fromMetric {
			reads[v.name] = v.kind
		}
	}
}

// checkArgument reports what an aggregate cannot be of.
func (c *compiler) checkArgument(e *parsed, l let) {
	switch k := l.arg.kind; {
	case k == kindNum, l.agg == aggDistinct && k == kindText, l.agg == aggCount && k == kindBool:
	case l.agg == aggDistinct:
		c.failAt(e, 1, 0, "found %s, want a number or text", kindNames[k])
	case l.agg == aggCount:
		c.failAt(e, 1, 0, "found %s, want a number or a condition (true or false)", kindNames[k])
	default:
		c.failAt(e, 1, 0, "found %s, want a number", kindNames[k])
	}
}

func readsMetric(e *expr) bool {
	for _, ident := range usedBy(e) {
		if e.vars[ident].source == fromMetric {
			return true
		}
	}
	return false
}

// checkShared reports fields of a device where a window is of many.
func (c *compiler) checkShared(r *Rule, all []*parsed) {
	for _, e := range all {
		ast.PostOrderVisit(root(e.ast), ast.NewExprVisitor(func(x ast.Expr) {
			if x.Kind() != ast.IdentKind {
				return
			}
			v, ok := c.vars[x.AsIdent()]
			if !ok || v.source != fromField || v.name == "domain" || v.name == "sun_elevation" || v.name == "zone" && r.Key == "zone" {
				return
			}
			c.failID(e, x.ID(), "%s in a window with key: %s, which is of many devices; want its lets or {key}", v.name, clip(r.Key, 40))
		}))
	}
}

// bindWindow lays out what a rule's panes hold and binds the arguments of its lets. It returns the
// binder of the lets.
func (pl *plan) bindWindow(b *binder, r *bound) *binder {
	w := &windowPlan{
		size: r.Window.Size.Milliseconds(), every: r.Window.step().Milliseconds(), gap: r.Window.Gap.Milliseconds(), slot: pl.windows, waits: r.Waits,
	}
	if w.gap == 0 {
		w.panes = w.size / w.every
		w.size = w.panes * w.every
	}
	over := &binder{num: map[string]int{}, text: map[string]int{}, onlyCEL: b.onlyCEL}
	for i, l := range r.code.lets {
		over.num[l.name] = i
		n := boundLet{name: l.name, agg: l.agg, percent: l.percent, at: w.width, slot: -1}
		w.ties = w.ties || l.agg == aggFirst || l.agg == aggLast || l.agg == aggRate || l.agg == aggPercentile
		if l.agg.keepsValues() {
			n.at = w.samples
			w.samples++
		}
		w.width += cells[l.agg]
		switch {
		case l.arg == nil:
		case l.arg.kind == kindBool:
			n.cond = b.condition(l.arg)
		case l.arg.kind == kindText:
			n.text = b.string(l.arg)
		default:
			n.num, n.slot = b.number(l.arg), b.plainSlot(l.arg)
		}
		w.lets = append(w.lets, n)
	}
	w.sums = len(w.lets) == 1 && (w.lets[0].agg == aggSum || w.lets[0].agg == aggAvg)
	r.window, pl.hasWindows = w, true
	if !r.shared() {
		pl.windows++
	}
	return over
}

// showLets puts all lets into the context of events.
func (r *bound) showLets(b *binder) {
	for i, l := range r.code.lets {
		if !slices.ContainsFunc(r.shows, func(s shown) bool { return s.name == l.name }) {
			r.shows = append(r.shows, shown{name: l.name, num: func(f *frame) float64 { return f.nums[i] }})
		}
	}
}

// text is a bound as a template shows it; "?" where no window is judged.
func (w span) text(special string) string {
	switch {
	case w.to == 0:
		return "?"
	case special == "window_start":
		return formatTime(w.from)
	}
	return formatTime(w.to)
}

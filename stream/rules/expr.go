package rules

import (
	"maps"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"go.yaml.in/yaml/v3"
)

// kind is what an expression yields, as far as rules tell apart.
type kind uint8

const (
	kindNone kind = iota // not known
	kindNum
	kindText
	kindBool
	kindOther // lists and maps
)

var celTypes = map[kind]*cel.Type{kindNum: cel.DoubleType, kindText: cel.StringType, kindBool: cel.BoolType}

// A variable is what an identifier of a checked expression stands for.
type variable struct {
	source source
	kind   kind
	name   string   // the metric, field or clock call; the flag
	bit    uint8    // of the flag
	series series   // of fromSeries and fromFence
	fresh  bool     // of fromSeries: known of the message that is the newest alone
	zone   string   // of fromZone: its id
	rule   string   // of fromParam: whose it is,
	def    any      // and what it says itself: float64 or string
	days   *almanac // of fromCalendar
	join   *join    // of fromJoin
}

type source uint8

const (
	fromMetric source = iota
	fromField
	fromClock
	fromFlag
	fromSeries
	fromZone
	fromPosition // of the device, as it said or else as the registry says
	fromParam
	fromCalendar
	fromFence
	fromJoin
)

// An expr is one checked expression of a rule.
type expr struct {
	src  string
	ast  *cel.Ast
	kind kind
	vars map[string]variable // of the whole rule
}

// code is what a rule's texts were compiled to; a plan binds it to its slots.
type code struct {
	when, clear, key *expr
	text             []piece
	reads            map[string]kind // metrics of when, clear and key: a message with one of them evaluates the rule
	shows            map[string]kind // metrics of the text; kindNone where it may be either
	limits           []limit
	lets             []let                  // of a window
	steps            []*expr                // of a sequence, then of unless
	ends             *expr                  // clear of a sequence
	counts           bool                   // a let takes messages whatever their metrics
	joined           map[string]*joinedCode // of a sequence over several kinds, by kind
	joins            []*join                // what is asked of other devices
	remembers        bool                   // it has functions of a time, or of borders
}

// compiler compiles the expressions of one rule: parsed apart, typed together.
type compiler struct {
	p          *parser
	metrics    map[string]kind // what use says of each metric
	reads      map[string]bool // metrics of the expressions that decide
	vars       map[string]variable
	on         string
	columns    map[string]kind // of the rows that the rule is about, or lets; nil for observations
	ofReadings bool            // about what a message itself says, for windows
	windows    bool            // columns are the lets of a window
	nextID     int64
}

type parsed struct {
	node      *yaml.Node
	key       string // when, clear…
	src       string
	ast       *cel.Ast
	offset    int              // of src in the node's text
	want      kind             // what the place asks for
	durations map[int32]string // by where they were written, in characters
}

func (p *parser) compileRule(r *Rule, at map[string]*yaml.Node, before int) {
	c := &compiler{p: p, metrics: map[string]kind{}, reads: map[string]bool{}, vars: map[string]variable{}, on: r.On, columns: columnsOf(r.On)}
	var exprs []*parsed
	for _, e := range []struct{ key, src string }{{"when", r.When}, {"clear", r.Clear}, {"key", r.Key}} {
		if at[e.key] == nil || e.key == "key" && slices.Contains(plainKeys, e.src) {
			continue
		}
		offset := strings.Index(at[e.key].Value, e.src)
		exprs = append(exprs, c.parse(at[e.key], e.key, e.src, max(offset, 0)))
	}
	pieces := c.parseText(r, at["text"])
	all := slices.Clone(exprs)
	for i := range pieces {
		if pieces[i].parsed != nil {
			all = append(all, pieces[i].parsed)
		}
	}
	bad := p.faulty()
	checked, ok := c.settle(r, all, len(exprs), before)
	if !ok {
		return
	}
	out := &code{reads: map[string]kind{}, shows: map[string]kind{}}
	for _, e := range exprs {
		c.takeCondition(out, e, checked[e])
	}
	for i := range pieces {
		if e := pieces[i].parsed; e != nil {
			pieces[i].expr = checked[e]
		}
	}
	out.takeJoins(c.vars)
	if p.faulty() > bad {
		return
	}
	out.text = pieces
	for _, v := range c.vars {
		if v.source != fromMetric {
			continue
		}
		if c.reads[v.name] {
			out.reads[v.name] = v.kind
		} else {
			out.shows[v.name] = v.kind
		}
	}
	for i := range pieces {
		if m := pieces[i].either; m != "" {
			out.shows[m] = kindNone
		}
	}
	r.Metrics = slices.Sorted(maps.Keys(out.reads))
	r.code = out
}

// settle types parsed expressions together; the first ones, so many, decide and the others show. It is
// false where that was reported to fail; an expression whose type is wrong is left out of the result.
func (c *compiler) settle(r *Rule, all []*parsed, deciding, before int) (map[*parsed]*expr, bool) {
	if slices.ContainsFunc(all, func(e *parsed) bool { return e == nil || e.ast == nil }) {
		return nil, false // said already
	}
	for range 3 { // what one use says of a metric may decide another use
		for _, e := range all {
			c.infer(root(e.ast), e.want, nil)
		}
	}
	bad := c.p.faulty()
	for i, e := range all {
		c.rewrite(e, i < deciding)
	}
	if c.p.faulty() > bad {
		return nil, false
	}
	if bad == before {
		c.warnUnknown(all)
	}
	env, err := baseEnv().Extend(c.declarations()...)
	if err != nil {
		c.p.fail(r.Line, r.column, "%v", err)
		return nil, false
	}
	checked := map[*parsed]*expr{}
	for _, e := range all {
		checked[e] = c.check(env, e)
	}
	return checked, true
}

// takeCondition puts a checked condition, or the key, into a rule's code. x is nil where the fault is reported.
func (c *compiler) takeCondition(out *code, e *parsed, x *expr) {
	if x == nil {
		return
	}
	if x.kind != e.want {
		c.failAt(e, 1, 0, "found %s, want %s", kindNames[x.kind], kindNames[e.want])
		return
	}
	switch e.key {
	case "when":
		out.when = x
		out.limits = limitsOf(x)
	case "clear":
		out.clear = x
	case "key":
		out.key = x
	}
}

var plainKeys = []string{"device", "zone", "domain", "camera"}

var kindNames = map[kind]string{kindNone: "nothing", kindNum: "a number", kindText: "text", kindBool: "a condition (true or false)", kindOther: "a list or map"}

func root(a *cel.Ast) ast.Expr { return a.NativeRep().Expr() }

// failAt reports a place in an expression: line from 1, column from 0.
func (c *compiler) failAt(e *parsed, line, column int, format string, args ...any) {
	if line <= 1 {
		// The expression begins inside its node: text before it moves line and column.
		before := e.node.Value[:min(e.offset, len(e.node.Value))]
		if i := strings.LastIndexByte(before, '\n'); i >= 0 {
			line, column = strings.Count(before, "\n")+1, column+len(before)-i-1
		} else {
			line, column = 1, column+len(before)
		}
	}
	l, col := c.p.place(e.node, line, column)
	c.p.fail(l, col, e.key+": "+format, args...)
}

func (c *compiler) failID(e *parsed, id int64, format string, args ...any) {
	loc := e.ast.NativeRep().SourceInfo().GetStartLocation(id)
	column := max(loc.Column(), 0)
	// cel-go places a call at its bracket; people look for its name.
	if lines := strings.Split(e.src, "\n"); loc.Line() >= 1 && loc.Line() <= len(lines) {
		for l := lines[loc.Line()-1]; column > 0 && column < len(l) && strings.HasPrefix(l[column:], "(") && isWord(l[column-1]); {
			for column > 0 && isWord(l[column-1]) {
				column--
			}
		}
	}
	c.failAt(e, loc.Line(), column, format, args...)
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// parse parses one expression and reports what is wrong with its form.
func (c *compiler) parse(node *yaml.Node, key, src string, offset int) *parsed {
	e := &parsed{node: node, key: key, src: src, offset: offset}
	switch key {
	case "when", "clear":
		e.want = kindBool
	case "key":
		e.want = kindText
	}
	if src == "" {
		if node.Kind == yaml.ScalarNode && node.Tag != "!!null" && len(node.Value) <= maxTextBytes { // else it is said already
			c.failAt(e, 1, 0, "found nothing, want an expression")
		}
		return e
	}
	if at := spacedTime.FindStringSubmatchIndex(src); at != nil && !inQuotes(src[:at[2]]) {
		c.failAt(e, strings.Count(src[:at[2]], "\n")+1, at[2]-strings.LastIndexByte(src[:at[2]], '\n')-1,
			"found %q, want a time in one word such as 90s, 10m, 2h or 1d", src[at[2]:at[3]])
		return e
	}
	hidden, durations := hideDurations(src)
	e.durations = durations
	a, issues := baseEnv().Parse(hidden)
	if err := issues.Err(); err != nil {
		for _, i := range issues.Errors() {
			message, foreign := parseMessage(i.Message, src)
			c.failAt(e, i.Location.Line(), max(i.Location.Column(), 0), "%s", message)
			if foreign {
				break // what follows is the parser's trouble with it
			}
		}
		return e
	}
	if n := nodes(a); n > maxExprNodes {
		c.failAt(e, 1, 0, "%d parts, want at most %d", n, maxExprNodes)
		return e
	}
	for id := range a.NativeRep().SourceInfo().OffsetRanges() {
		c.nextID = max(c.nextID, id)
	}
	c.nextID += int64(maxExprNodes)
	e.ast = a
	return e
}

func nodes(a *cel.Ast) int {
	n := 0
	ast.PostOrderVisit(root(a), ast.NewExprVisitor(func(ast.Expr) { n++ }))
	return n
}

func (c *compiler) declarations() []cel.EnvOption {
	var opts []cel.EnvOption
	for ident, v := range c.vars {
		t := celTypes[v.kind]
		if v.name == "tags" && v.source == fromField {
			t = cel.MapType(cel.StringType, cel.StringType)
		}
		opts = append(opts, cel.Variable(ident, t))
	}
	return opts
}

// warnUnknown says which metrics no profile has, where the profiles are known; where they are not, which are
// called almost as something that every device has.
func (c *compiler) warnUnknown(all []*parsed) {
	said := map[string]bool{}
	others := slices.Concat(slices.Collect(maps.Keys(fields)), slices.Collect(maps.Keys(c.p.params)))
	for _, e := range all {
		ast.PostOrderVisit(root(e.ast), ast.NewExprVisitor(func(x ast.Expr) {
			if x.Kind() == ast.CallKind && c.p.known == nil && c.columns == nil {
				c.warnBareWord(e, x.AsCall())
			}
			if x.Kind() != ast.IdentKind {
				return
			}
			v, ok := c.vars[x.AsIdent()]
			switch {
			case !ok:
				return
			case v.source == fromJoin && v.join.class == "":
				v.name = v.join.metric
			case v.source != fromMetric || c.columns != nil:
				return
			}
			if said[v.name] || slices.Contains(c.p.known, v.name) {
				return
			}
			said[v.name] = true
			least, meant := 4, others
			if e.key == "key" { // its plain words are short, and no number is meant
				least, meant = 3, append(slices.Collect(maps.Keys(c.p.params)), plainKeys...)
			}
			switch other := nearest(v.name, meant); {
			case c.p.heard:
				c.warnID(e, x.ID(), "no profile and no device has a metric %q%s", v.name, didYouMean(v.name, slices.Concat(c.p.known, meant)))
			case c.p.known != nil:
				c.warnID(e, x.ID(), "no profile has a metric %q%s", v.name, didYouMean(v.name, slices.Concat(c.p.known, meant)))
			case len(v.name) >= least && other != "" && distance(v.name, other) == 1:
				c.warnID(e, x.ID(), "taken for a metric %q; did you mean %q?", v.name, other)
			}
		}))
	}
}

// states are words that are mostly meant as texts.
var states = []string{"on", "off", "open", "closed", "ok", "error", "fault", "alarm", "active", "inactive", "yes", "no", "unknown", "running", "stopped"}

// warnBareWord says of a word that is compared with a text of the registry, or is called as a state is, that it is
// taken for a metric.
func (c *compiler) warnBareWord(e *parsed, call ast.CallExpr) {
	if fn := call.FunctionName(); fn != operators.Equals && fn != operators.NotEquals {
		return
	}
	args := call.Args()
	for i, x := range args {
		if x.Kind() != ast.IdentKind || c.vars[x.AsIdent()].source != fromMetric {
			continue
		}
		name, other := c.vars[x.AsIdent()].name, args[1-i]
		isText := other.Kind() == ast.SelectKind || other.Kind() == ast.IdentKind && c.vars[other.AsIdent()].source == fromField && c.vars[other.AsIdent()].kind == kindText
		if isText || i == 1 && other.Kind() == ast.IdentKind && slices.Contains(states, strings.ToLower(name)) {
			c.warnID(e, x.ID(), "%s is taken for a metric; a text stands in quotes: %q", name, name)
		}
	}
}

func (c *compiler) warnID(e *parsed, id int64, format string, args ...any) {
	c.failID(e, id, format, args...)
	c.p.problems[len(c.p.problems)-1].Warning = true
}

// check types one expression and reports what does not fit.
func (c *compiler) check(env *cel.Env, e *parsed) *expr {
	a, issues := env.Check(e.ast)
	if issues.Err() != nil {
		for _, i := range issues.Errors() {
			c.failAt(e, i.Location.Line(), max(i.Location.Column(), 0), "%s", checkMessage(i.Message))
		}
		return nil
	}
	return &expr{src: e.src, ast: a, kind: kindOf(a.OutputType()), vars: c.vars}
}

func kindOf(t *cel.Type) kind {
	switch {
	case t.IsExactType(cel.DoubleType):
		return kindNum
	case t.IsExactType(cel.StringType):
		return kindText
	case t.IsExactType(cel.BoolType):
		return kindBool
	}
	return kindOther
}

// usedBy lists the identifiers of variables in e, each once.
func usedBy(e *expr) []string {
	seen := map[string]bool{}
	ast.PostOrderVisit(root(e.ast), ast.NewExprVisitor(func(x ast.Expr) {
		if x.Kind() == ast.IdentKind {
			if _, ok := e.vars[x.AsIdent()]; ok {
				seen[x.AsIdent()] = true
			}
		}
	}))
	return slices.Sorted(maps.Keys(seen))
}

// tagsUsed are the tags that e names, to be shown as the registry has them.
func tagsUsed(e *expr) []shown {
	names := map[string]bool{}
	isTags := func(x ast.Expr) bool {
		if x.Kind() != ast.IdentKind {
			return false
		}
		v, ok := e.vars[x.AsIdent()]
		return ok && v.source == fromField && v.name == "tags"
	}
	ast.PostOrderVisit(root(e.ast), ast.NewExprVisitor(func(x ast.Expr) {
		switch x.Kind() {
		case ast.SelectKind:
			if s := x.AsSelect(); isTags(s.Operand()) {
				names[s.FieldName()] = true
			}
		case ast.CallKind:
			if call := x.AsCall(); call.FunctionName() == operators.Index && isTags(call.Args()[0]) {
				if name, ok := literalString(call.Args()[1]); ok {
					names[name] = true
				}
			}
		}
	}))
	var out []shown
	for _, name := range slices.Sorted(maps.Keys(names)) {
		out = append(out, shown{name: "tags." + name, text: func(f *frame) (string, bool) { s, ok := f.tags()[name]; return s, ok }})
	}
	return out
}

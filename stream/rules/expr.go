package rules

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
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
	name   string // the metric, field or clock call; the flag
	bit    uint8  // of the flag
}

type source uint8

const (
	fromMetric source = iota
	fromField
	fromClock
	fromFlag
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
}

// A limit is a comparison with a constant in `when`, for people to see what decided.
type limit struct {
	Value string `json:"value"`
	Is    string `json:"is"`
	Limit any    `json:"limit"`
}

// compiler compiles the expressions of one rule: parsed apart, typed together.
type compiler struct {
	p       *parser
	metrics map[string]kind // what use says of each metric
	reads   map[string]bool // metrics of the expressions that decide
	vars    map[string]variable
	nextID  int64
}

type parsed struct {
	node   *yaml.Node
	key    string // when, clear…
	src    string
	ast    *cel.Ast
	offset int // of src in the node's text
}

var laterCall = regexp.MustCompile(`\b(` + strings.Join(laterCalls, "|") + `)\s*\(`)

func (p *parser) compileRule(r *Rule, at map[string]*yaml.Node, before int) {
	c := &compiler{p: p, metrics: map[string]kind{}, reads: map[string]bool{}, vars: map[string]variable{}}
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
	if slices.ContainsFunc(all, func(e *parsed) bool { return e == nil || e.ast == nil }) {
		return // said already
	}
	for range 3 { // what one use says of a metric may decide another use
		for _, e := range all {
			want := kindBool
			switch e.key {
			case "text":
				want = kindNone
			case "key":
				want = kindText
			}
			c.infer(root(e.ast), want, nil)
		}
	}
	bad := len(p.problems.errors())
	for i, e := range all {
		c.rewrite(e, i < len(exprs))
	}
	if len(p.problems.errors()) > bad {
		return
	}
	if bad == before {
		c.warnUnknown(all)
	}
	env, err := baseEnv().Extend(c.declarations()...)
	if err != nil {
		p.fail(r.Line, 1, "%v", err)
		return
	}
	out := &code{reads: map[string]kind{}, shows: map[string]kind{}}
	checked := map[*parsed]*expr{}
	for _, e := range all {
		checked[e] = c.check(env, e)
	}
	for _, e := range exprs {
		x := checked[e]
		if x == nil {
			continue
		}
		want := kindBool
		if e.key == "key" {
			want = kindText
		}
		if x.kind != want {
			c.failAt(e, 1, 0, "found %s, want %s", kindNames[x.kind], kindNames[want])
			continue
		}
		switch e.key {
		case "when":
			out.when = x
			out.limits = limits(root(x.ast), x.vars)
		case "clear":
			out.clear = x
		case "key":
			out.key = x
		}
	}
	for i := range pieces {
		if e := pieces[i].parsed; e != nil {
			pieces[i].expr = checked[e]
		}
	}
	if len(p.problems.errors()) > bad {
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
	if src == "" {
		c.failAt(e, 1, 0, "found nothing, want an expression")
		return e
	}
	if m := laterCall.FindStringSubmatchIndex(src); m != nil {
		c.failAt(e, 1, m[2], "%s() is not supported yet", src[m[2]:m[3]])
		return e
	}
	a, issues := baseEnv().Parse(src)
	if err := issues.Err(); err != nil {
		for _, i := range issues.Errors() {
			c.failAt(e, i.Location.Line(), max(i.Location.Column(), 0), "%s", parseMessage(i.Message))
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

func parseMessage(m string) string {
	m = strings.TrimPrefix(m, "Syntax error: ")
	if strings.Contains(m, "token recognition error") || strings.Contains(m, "mismatched input") || strings.Contains(m, "extraneous input") {
		if i := strings.Index(m, " expecting {"); i >= 0 {
			m = m[:i] + ", want a value or an operator"
		}
	}
	return "not an expression: " + strings.ReplaceAll(m, "'<EOF>'", "the end")
}

// infer finds out from their use which metrics are text; want is what the place asks for. locals
// are the variables of comprehensions around e.
func (c *compiler) infer(e ast.Expr, want kind, locals []string) kind {
	switch e.Kind() {
	case ast.LiteralKind:
		switch e.AsLiteral().(type) {
		case types.Int, types.Uint, types.Double:
			return kindNum
		case types.String:
			return kindText
		case types.Bool:
			return kindBool
		}
		return kindOther
	case ast.IdentKind:
		name := e.AsIdent()
		if slices.Contains(locals, name) {
			return kindNone
		}
		if k, ok := fields[name]; ok {
			return k
		}
		return c.used(name, want)
	case ast.SelectKind:
		c.infer(e.AsSelect().Operand(), kindOther, locals)
		if e.AsSelect().IsTestOnly() {
			return kindBool
		}
		return kindText
	case ast.ListKind:
		for _, x := range e.AsList().Elements() {
			c.infer(x, kindNone, locals)
		}
	case ast.ComprehensionKind:
		x := e.AsComprehension()
		c.infer(x.IterRange(), kindOther, locals)
		inner := append(slices.Clone(locals), x.IterVar(), x.AccuVar())
		for _, part := range []ast.Expr{x.LoopCondition(), x.LoopStep(), x.Result()} {
			c.infer(part, kindBool, inner)
		}
		return kindBool
	case ast.CallKind:
		return c.inferCall(e.AsCall(), want, locals)
	}
	return kindOther
}

// used notes that a metric stands where want is asked for, and returns what is known of it.
func (c *compiler) used(name string, want kind) kind {
	if (want == kindText || want == kindNum) && c.metrics[name] == kindNone {
		c.metrics[name] = want
	} else if _, ok := c.metrics[name]; !ok {
		c.metrics[name] = kindNone
	}
	return c.metrics[name]
}

func (c *compiler) inferCall(call ast.CallExpr, want kind, locals []string) kind {
	args := call.Args()
	each := func(k kind) {
		for _, a := range args {
			c.infer(a, k, locals)
		}
	}
	alike := func(a, b ast.Expr, want kind) kind {
		ka, kb := c.infer(a, want, locals), c.infer(b, want, locals)
		switch {
		case ka == kindNone && (kb == kindText || kb == kindNum):
			return c.infer(a, kb, locals)
		case kb == kindNone && (ka == kindText || ka == kindNum):
			return c.infer(b, ka, locals)
		case ka == kindNone:
			return kb
		}
		return ka
	}
	if call.IsMemberFunction() {
		c.infer(call.Target(), kindText, locals)
		each(kindText)
		return kindBool
	}
	switch fn := call.FunctionName(); fn {
	case operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.NotStrictlyFalse:
		each(kindBool)
		return kindBool
	case operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		alike(args[0], args[1], kindNone)
		return kindBool
	case operators.In:
		if l := args[1]; l.Kind() == ast.ListKind {
			for _, x := range l.AsList().Elements() {
				alike(args[0], x, kindNone)
			}
		} else {
			c.infer(args[1], kindOther, locals)
			c.infer(args[0], kindText, locals)
		}
		return kindBool
	case operators.Add:
		if want != kindText && want != kindNum {
			want = kindNone
		}
		return alike(args[0], args[1], want)
	case operators.Conditional:
		c.infer(args[0], kindBool, locals)
		if want == kindBool {
			want = kindNone
		}
		return alike(args[1], args[2], want)
	case operators.Index:
		each(kindOther)
		return kindText
	case "metric":
		if name, ok := literalText(args); ok {
			return c.used(name, want)
		}
		return kindNone
	case "flagged":
		return kindBool
	case "string":
		each(kindNone)
		return kindText
	case "matches":
		each(kindText)
		return kindBool
	case "size":
		each(kindText)
		return kindNum
	case "double":
		each(kindNone)
		return kindNum
	}
	each(kindNum)
	return kindNum
}

func literalText(args []ast.Expr) (string, bool) {
	if len(args) != 1 || args[0].Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := args[0].AsLiteral().(types.String)
	return string(s), ok
}

// rewrite brings the parsed expression into the form that is checked: numbers are doubles, a number
// where a condition is wanted is `!= 0`, context calls and metrics are variables.
func (c *compiler) rewrite(e *parsed, decides bool) {
	w := &rewriter{compiler: c, e: e, decides: decides, fac: ast.NewExprFactory()}
	w.expr(root(e.ast), nil)
	if e.key == "when" || e.key == "clear" {
		w.condition(root(e.ast), nil)
	}
}

type rewriter struct {
	*compiler
	e       *parsed
	decides bool
	fac     ast.ExprFactory
}

// id makes an id that points where of does.
func (w *rewriter) id(of int64) int64 {
	w.nextID++
	info := w.e.ast.NativeRep().SourceInfo()
	if r, ok := info.GetOffsetRange(of); ok {
		info.SetOffsetRange(w.nextID, r)
	}
	return w.nextID
}

func (w *rewriter) expr(e ast.Expr, locals []string) {
	switch e.Kind() {
	case ast.LiteralKind:
		switch v := e.AsLiteral().(type) {
		case types.Int:
			e.SetKindCase(w.fac.NewLiteral(e.ID(), types.Double(v)))
		case types.Uint:
			e.SetKindCase(w.fac.NewLiteral(e.ID(), types.Double(v)))
		}
	case ast.IdentKind:
		if name := e.AsIdent(); !slices.Contains(locals, name) {
			if k, ok := fields[name]; ok {
				w.vars[name] = variable{source: fromField, kind: k, name: name}
			} else {
				w.metric(e, name)
			}
		}
	case ast.SelectKind:
		operand := e.AsSelect().Operand()
		if operand.Kind() == ast.IdentKind && !slices.Contains(locals, operand.AsIdent()) && operand.AsIdent() != "tags" {
			name := operand.AsIdent() + "." + e.AsSelect().FieldName()
			w.failID(w.e, operand.ID(), "found %s, want tags.NAME or a metric; objects in a message are joined with _: %s", name, strings.ReplaceAll(name, ".", "_"))
			return
		}
		w.expr(operand, locals)
	case ast.ListKind:
		for _, x := range e.AsList().Elements() {
			w.expr(x, locals)
		}
	case ast.ComprehensionKind:
		x := e.AsComprehension()
		w.expr(x.IterRange(), locals)
		inner := append(slices.Clone(locals), x.IterVar(), x.AccuVar())
		for _, part := range []ast.Expr{x.AccuInit(), x.LoopCondition(), x.LoopStep(), x.Result()} {
			w.expr(part, inner)
		}
	case ast.CallKind:
		w.call(e, locals)
	default:
		w.failID(w.e, e.ID(), "a map or message literal, want numbers, text, conditions or lists")
	}
}

func (w *rewriter) metric(e ast.Expr, name string) {
	k := w.metrics[name]
	ident := name
	if _, isField := fields[name]; isField || !plainIdent.MatchString(name) {
		ident = "@metric:" + name
	}
	if k == kindNone {
		k = kindNum
	}
	w.vars[ident] = variable{source: fromMetric, kind: k, name: name}
	if w.decides {
		w.reads[name] = true
	}
	e.SetKindCase(w.fac.NewIdent(e.ID(), ident))
}

var plainIdent = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// maxPattern bounds a compiled pattern, in instructions; matching takes time in proportion to it.
const maxPattern = 2000

// checkPattern reports a pattern that is none (RE2 syntax) or too large. Only a literal one is taken:
// others would be compiled at every reading.
func checkPattern(args []ast.Expr) error {
	pattern, ok := literalString(args[len(args)-1])
	if !ok {
		return errors.New("found a pattern that is no literal, want one in quotes")
	}
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return err
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		return err
	}
	if len(prog.Inst) > maxPattern {
		return fmt.Errorf("a pattern of %d steps, want at most %d", len(prog.Inst), maxPattern)
	}
	return nil
}

func (w *rewriter) call(e ast.Expr, locals []string) {
	call := e.AsCall()
	fn, args := call.FunctionName(), call.Args()
	switch {
	case slices.Contains(clockCalls, fn) && !call.IsMemberFunction():
		if len(args) != 0 {
			w.failID(w.e, e.ID(), "%s(): found %d arguments, want none", fn, len(args))
			return
		}
		w.vars["@"+fn] = variable{source: fromClock, kind: kindNum, name: fn}
		e.SetKindCase(w.fac.NewIdent(e.ID(), "@"+fn))
		return
	case fn == "flagged" && !call.IsMemberFunction():
		name, _ := literalText(args)
		bit := slices.Index(flagNames, name)
		if bit < 0 {
			w.failID(w.e, e.ID(), "flagged(): found %q%s; want one of %s", name, didYouMean(name, flagNames), strings.Join(flagNames, ", "))
			return
		}
		w.vars["@flag:"+name] = variable{source: fromFlag, kind: kindBool, name: name, bit: 1 << bit}
		e.SetKindCase(w.fac.NewIdent(e.ID(), "@flag:"+name))
		return
	case fn == "metric" && !call.IsMemberFunction():
		name, ok := literalText(args)
		if !ok || name == "" {
			w.failID(w.e, e.ID(), "metric(): want the name of a metric in quotes")
			return
		}
		w.metric(e, name)
		return
	case fn == "matches":
		if err := checkPattern(args); err != nil {
			w.failID(w.e, e.ID(), "matches(): %v", err)
			return
		}
	case !baseEnv().HasFunction(fn):
		w.failID(w.e, e.ID(), "unknown function %s()%s", fn, didYouMean(fn, functionNames()))
		return
	}
	if call.IsMemberFunction() {
		w.expr(call.Target(), locals)
	}
	for i, a := range args {
		if fn == operators.Index && i == 1 && a.Kind() == ast.LiteralKind {
			continue // an index stays whole
		}
		w.expr(a, locals)
	}
	switch fn {
	case operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot:
		for _, a := range args {
			w.condition(a, locals)
		}
	case operators.Conditional:
		w.condition(args[0], locals)
	case operators.Equals, operators.NotEquals:
		w.booleanEquality(e, fn, args)
	}
}

// condition makes a number that stands where a condition is wanted `!= 0`.
func (w *rewriter) condition(e ast.Expr, locals []string) {
	if e.Kind() != ast.IdentKind || slices.Contains(locals, e.AsIdent()) {
		return
	}
	if v, ok := w.vars[e.AsIdent()]; ok && v.kind == kindNum {
		e.SetKindCase(w.nonZero(e.ID(), e.AsIdent(), operators.NotEquals))
	}
}

func (w *rewriter) nonZero(id int64, ident, operator string) ast.Expr {
	return w.fac.NewCall(id, operator, w.fac.NewIdent(w.id(id), ident), w.fac.NewLiteral(w.id(id), types.Double(0)))
}

// booleanEquality makes metric == true `metric != 0`, and so on: devices' booleans are stored as 0 and 1.
func (w *rewriter) booleanEquality(e ast.Expr, fn string, args []ast.Expr) {
	for i, a := range args {
		if a.Kind() != ast.IdentKind || args[1-i].Kind() != ast.LiteralKind {
			continue
		}
		b, ok := args[1-i].AsLiteral().(types.Bool)
		if v, known := w.vars[a.AsIdent()]; ok && known && v.kind == kindNum {
			operator := operators.Equals
			if bool(b) == (fn == operators.Equals) {
				operator = operators.NotEquals
			}
			e.SetKindCase(w.nonZero(e.ID(), a.AsIdent(), operator))
			return
		}
	}
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

// warnUnknown says which metrics no profile has, where the profiles are known.
func (c *compiler) warnUnknown(all []*parsed) {
	if c.p.known == nil {
		return
	}
	said := map[string]bool{}
	for _, e := range all {
		ast.PostOrderVisit(root(e.ast), ast.NewExprVisitor(func(x ast.Expr) {
			if x.Kind() != ast.IdentKind {
				return
			}
			v, ok := c.vars[x.AsIdent()]
			if !ok || v.source != fromMetric || said[v.name] || slices.Contains(c.p.known, v.name) {
				return
			}
			said[v.name] = true
			c.failID(e, x.ID(), "no profile has a metric %q%s", v.name, didYouMean(v.name, slices.Concat(c.p.known, slices.Collect(maps.Keys(fields)))))
			c.p.problems[len(c.p.problems)-1].Warning = true
		}))
	}
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

var overload = regexp.MustCompile(`^found no matching overload for '([^']*)' applied to '([^']*)'`)

func checkMessage(m string) string {
	f := overload.FindStringSubmatch(m)
	if f == nil {
		return m
	}
	types := strings.NewReplacer("string", "text", "double", "number", "bool", "condition", ".(", " of (").Replace(f[2])
	if op, ok := operators.FindReverse(f[1]); ok && op != "" {
		return fmt.Sprintf("%s does not go with %s, want the same kind on both sides", op, types)
	}
	return fmt.Sprintf("%s() does not take %s", f[1], types)
}

// limits lists the comparisons with constants that e is made of.
func limits(e ast.Expr, vars map[string]variable) []limit {
	if e.Kind() != ast.CallKind {
		return nil
	}
	call := e.AsCall()
	op, args := call.FunctionName(), call.Args()
	switch op {
	case operators.LogicalAnd, operators.LogicalOr:
		return append(limits(args[0], vars), limits(args[1], vars)...)
	case operators.LogicalNot:
		return limits(args[0], vars)
	case operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		if args[0].Kind() == ast.LiteralKind {
			args = []ast.Expr{args[1], args[0]}
			op = mirrored[op]
		}
		if args[0].Kind() != ast.IdentKind || args[1].Kind() != ast.LiteralKind {
			return nil
		}
		v, ok := vars[args[0].AsIdent()]
		value := args[1].AsLiteral().Value()
		if f, isNum := value.(float64); !ok || isNum && math.IsInf(f, 0) {
			return nil
		}
		symbol, _ := operators.FindReverse(op)
		return []limit{{Value: v.name, Is: symbol, Limit: value}}
	}
	return nil
}

var mirrored = map[string]string{
	operators.Equals: operators.Equals, operators.NotEquals: operators.NotEquals, operators.Less: operators.Greater,
	operators.LessEquals: operators.GreaterEquals, operators.Greater: operators.Less, operators.GreaterEquals: operators.LessEquals,
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

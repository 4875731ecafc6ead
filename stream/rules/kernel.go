package rules

import (
	"math"
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// tri is the value of a condition.
type tri int8

const (
	no tri = iota
	yes
	undecided // a metric never reported, or an error
)

// The kernels are closures over a frame. A number that is not known, or no number, is NaN; arithmetic
// carries it to the comparison, which is then undecided. Nothing is allocated.
type (
	boolFunc func(*frame) tri
	numFunc  func(*frame) float64
	textFunc func(*frame) (string, bool)
)

// binder binds the variables of expressions to the slots of one plan.
type binder struct {
	num, text map[string]int // slot by metric
	slow      int            // expressions that went to cel-go
	onlyCEL   bool           // for the proof that both evaluators agree
}

// typed gives the kernels access to what the checker found out.
type typed struct {
	*binder
	e   *expr
	rep *ast.AST
}

// condition returns the evaluator of a condition.
func (b *binder) condition(e *expr) boolFunc {
	t := typed{b, e, e.ast.NativeRep()}
	if !b.onlyCEL {
		if f := t.bool(t.rep.Expr()); f != nil {
			return f
		}
	}
	eval := t.cel()
	return func(f *frame) tri {
		v := eval(f)
		if b, ok := v.(types.Bool); ok {
			if b {
				return yes
			}
			return no
		}
		f.failed = f.failed || types.IsError(v)
		return undecided
	}
}

// number returns the evaluator of a number.
func (b *binder) number(e *expr) numFunc {
	t := typed{b, e, e.ast.NativeRep()}
	if !b.onlyCEL {
		if f := t.num(t.rep.Expr()); f != nil {
			return f
		}
	}
	eval := t.cel()
	return func(f *frame) float64 {
		v := eval(f)
		if d, ok := v.(types.Double); ok {
			return float64(d)
		}
		f.failed = f.failed || types.IsError(v)
		return math.NaN()
	}
}

// string returns the evaluator of a text.
func (b *binder) string(e *expr) textFunc {
	t := typed{b, e, e.ast.NativeRep()}
	if !b.onlyCEL {
		if f := t.text(t.rep.Expr()); f != nil {
			return f
		}
	}
	eval := t.cel()
	return func(f *frame) (string, bool) {
		v := eval(f)
		if s, ok := v.(types.String); ok {
			return string(s), true
		}
		f.failed = f.failed || types.IsError(v)
		return "", false
	}
}

// cel returns cel-go's own evaluator: for what has no kernel, and the oracle of those that have.
func (t typed) cel() func(*frame) ref.Val {
	t.slow++
	env, err := baseEnv().Extend((&compiler{vars: t.e.vars}).declarations()...)
	if err != nil {
		return func(*frame) ref.Val { return types.WrapErr(err) }
	}
	prg, err := env.Program(t.e.ast, cel.CostLimit(maxExprCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return func(*frame) ref.Val { return types.WrapErr(err) }
	}
	resolve := map[string]func(*frame) any{}
	for ident, v := range t.e.vars {
		resolve[ident] = t.boxed(v)
	}
	return func(f *frame) ref.Val {
		v, _, err := prg.Eval(&activation{f, resolve})
		if err != nil {
			return types.WrapErr(err)
		}
		return v
	}
}

// activation gives cel-go the frame's variables.
type activation struct {
	f       *frame
	resolve map[string]func(*frame) any
}

func (a *activation) ResolveName(name string) (any, bool) {
	r, ok := a.resolve[name]
	if !ok {
		return nil, false
	}
	return r(a.f), true
}

func (a *activation) Parent() cel.Activation { return nil }

var unknownValue = types.NewUnknown(1, nil)

// boxed returns the variable as cel-go wants it.
func (t typed) boxed(v variable) func(*frame) any {
	switch v.kind {
	case kindNum:
		get := t.numVar(v)
		return func(f *frame) any {
			if x := get(f); x == x {
				return x
			}
			return unknownValue
		}
	case kindText:
		get := t.textVar(v)
		return func(f *frame) any {
			if s, ok := get(f); ok {
				return s
			}
			return unknownValue
		}
	case kindBool:
		return func(f *frame) any { return f.quality&v.bit != 0 }
	}
	return func(f *frame) any { return f.tags() }
}

func (t typed) numVar(v variable) numFunc {
	if v.source == fromMetric {
		slot := t.binder.num[v.name]
		return func(f *frame) float64 { return f.nums[slot] }
	}
	switch v.name {
	case "lat":
		return func(f *frame) float64 { lat, _ := f.position(); return lat }
	case "lon":
		return func(f *frame) float64 { _, lon := f.position(); return lon }
	case "sun_elevation":
		return (*frame).sunElevation
	case "hour":
		return func(f *frame) float64 { return f.clock().hour }
	case "minute":
		return func(f *frame) float64 { return f.clock().minute }
	case "weekday":
		return func(f *frame) float64 { return f.clock().weekday }
	case "day":
		return func(f *frame) float64 { return f.clock().day }
	case "month":
		return func(f *frame) float64 { return f.clock().month }
	}
	panic("BUG: no number is called " + v.name)
}

func (t typed) textVar(v variable) textFunc {
	if v.source == fromMetric {
		slot := t.binder.text[v.name]
		return func(f *frame) (string, bool) { s := f.texts[slot]; return s, s != unknownText }
	}
	switch v.name {
	case "device":
		return func(f *frame) (string, bool) { return f.dev.id, true }
	case "domain":
		return func(f *frame) (string, bool) { return f.dev.domain, true }
	case "zone":
		return func(f *frame) (string, bool) { return f.asset().Zone, true }
	case "profile":
		return func(f *frame) (string, bool) { return f.asset().Profile, true }
	case "name":
		return func(f *frame) (string, bool) { return f.asset().Name, true }
	}
	panic("BUG: no text is called " + v.name)
}

func (t typed) kind(e ast.Expr) kind { return kindOf(t.rep.GetType(e.ID())) }

func (t typed) variable(e ast.Expr) (variable, bool) {
	if e.Kind() != ast.IdentKind {
		return variable{}, false
	}
	v, ok := t.e.vars[e.AsIdent()]
	return v, ok
}

func literalNum(e ast.Expr) (float64, bool) {
	if e.Kind() != ast.LiteralKind {
		return 0, false
	}
	d, ok := e.AsLiteral().(types.Double)
	return float64(d), ok
}

func literalString(e ast.Expr) (string, bool) {
	if e.Kind() != ast.LiteralKind {
		return "", false
	}
	s, ok := e.AsLiteral().(types.String)
	return string(s), ok
}

func not(v tri) tri {
	if v == undecided {
		return v
	}
	return v ^ 1
}

func truth(b bool) tri {
	if b {
		return yes
	}
	return no
}

// bool compiles a condition, or returns nil for cel-go to do it.
func (t typed) bool(e ast.Expr) boolFunc {
	switch e.Kind() {
	case ast.LiteralKind:
		if b, ok := e.AsLiteral().(types.Bool); ok {
			v := truth(bool(b))
			return func(*frame) tri { return v }
		}
	case ast.IdentKind:
		if v, ok := t.variable(e); ok && v.source == fromFlag {
			return func(f *frame) tri { return truth(f.quality&v.bit != 0) }
		}
	case ast.SelectKind:
		if s := e.AsSelect(); s.IsTestOnly() && t.isTags(s.Operand()) {
			name := s.FieldName()
			return func(f *frame) tri { _, ok := f.tags()[name]; return truth(ok) }
		}
	case ast.CallKind:
		return t.boolCall(e.AsCall())
	}
	return nil
}

func (t typed) isTags(e ast.Expr) bool {
	v, ok := t.variable(e)
	return ok && v.source == fromField && v.name == "tags"
}

func (t typed) boolCall(call ast.CallExpr) boolFunc {
	args := call.Args()
	switch fn := call.FunctionName(); fn {
	case operators.LogicalAnd:
		a, b := t.bool(args[0]), t.bool(args[1])
		if a == nil || b == nil {
			return nil
		}
		return func(f *frame) tri {
			va := a(f)
			if va == no {
				return no
			}
			if vb := b(f); vb == no || va == yes {
				return vb
			}
			return undecided
		}
	case operators.LogicalOr:
		a, b := t.bool(args[0]), t.bool(args[1])
		if a == nil || b == nil {
			return nil
		}
		return func(f *frame) tri {
			va := a(f)
			if va == yes {
				return yes
			}
			if vb := b(f); vb == yes || va == no {
				return vb
			}
			return undecided
		}
	case operators.LogicalNot:
		if a := t.bool(args[0]); a != nil {
			return func(f *frame) tri { return not(a(f)) }
		}
	case operators.Conditional:
		c, a, b := t.bool(args[0]), t.bool(args[1]), t.bool(args[2])
		if c == nil || a == nil || b == nil {
			return nil
		}
		return func(f *frame) tri {
			switch c(f) {
			case yes:
				return a(f)
			case no:
				return b(f)
			}
			return undecided
		}
	case operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
		return t.comparison(fn, args[0], args[1])
	case operators.In:
		return t.in(args[0], args[1])
	case "contains", "startsWith", "endsWith", "matches":
		all := args
		if call.IsMemberFunction() {
			all = append([]ast.Expr{call.Target()}, args...)
		}
		return t.textTest(fn, all[0], all[1])
	}
	return nil
}

func (t typed) comparison(op string, a, b ast.Expr) boolFunc {
	switch {
	case t.kind(a) == kindNum && t.kind(b) == kindNum:
		return t.numComparison(op, a, b)
	case t.kind(a) == kindText && t.kind(b) == kindText:
		x, y := t.text(a), t.text(b)
		if x == nil || y == nil {
			return nil
		}
		test := textOrder[op]
		return func(f *frame) tri {
			va, oka := x(f)
			vb, okb := y(f)
			if !oka || !okb {
				return undecided
			}
			return truth(test(va, vb))
		}
	case t.kind(a) == kindBool && t.kind(b) == kindBool && (op == operators.Equals || op == operators.NotEquals):
		x, y := t.bool(a), t.bool(b)
		if x == nil || y == nil {
			return nil
		}
		same := truth(op == operators.Equals)
		return func(f *frame) tri {
			va, vb := x(f), y(f)
			if va == undecided || vb == undecided {
				return undecided
			}
			return truth(va == vb) ^ same ^ 1
		}
	}
	return nil
}

var textOrder = map[string]func(a, b string) bool{
	operators.Equals:        func(a, b string) bool { return a == b },
	operators.NotEquals:     func(a, b string) bool { return a != b },
	operators.Less:          func(a, b string) bool { return a < b },
	operators.LessEquals:    func(a, b string) bool { return a <= b },
	operators.Greater:       func(a, b string) bool { return a > b },
	operators.GreaterEquals: func(a, b string) bool { return a >= b },
}

// numComparison has a closure an operator, and one for the commonest form, a metric and a constant.
func (t typed) numComparison(op string, a, b ast.Expr) boolFunc {
	if _, ok := literalNum(a); ok {
		if _, both := literalNum(b); !both {
			a, b, op = b, a, mirrored[op]
		}
	}
	v, isVar := t.variable(a)
	if limit, ok := literalNum(b); ok && isVar && v.source == fromMetric && limit == limit {
		return slotComparison(op, t.binder.num[v.name], limit)
	}
	x, y := t.num(a), t.num(b)
	if x == nil || y == nil {
		return nil
	}
	var test func(a, b float64) bool
	switch op {
	case operators.Equals:
		test = func(a, b float64) bool { return a == b }
	case operators.NotEquals:
		test = func(a, b float64) bool { return a != b }
	case operators.Less:
		test = func(a, b float64) bool { return a < b }
	case operators.LessEquals:
		test = func(a, b float64) bool { return a <= b }
	case operators.Greater:
		test = func(a, b float64) bool { return a > b }
	default:
		test = func(a, b float64) bool { return a >= b }
	}
	return func(f *frame) tri {
		va, vb := x(f), y(f)
		if va != va || vb != vb {
			return undecided
		}
		return truth(test(va, vb))
	}
}

func slotComparison(op string, slot int, limit float64) boolFunc {
	switch op {
	case operators.Greater:
		return func(f *frame) tri {
			v := f.nums[slot]
			if v > limit {
				return yes
			}
			if v <= limit {
				return no
			}
			return undecided
		}
	case operators.GreaterEquals:
		return func(f *frame) tri {
			v := f.nums[slot]
			if v >= limit {
				return yes
			}
			if v < limit {
				return no
			}
			return undecided
		}
	case operators.Less:
		return func(f *frame) tri {
			v := f.nums[slot]
			if v < limit {
				return yes
			}
			if v >= limit {
				return no
			}
			return undecided
		}
	case operators.LessEquals:
		return func(f *frame) tri {
			v := f.nums[slot]
			if v <= limit {
				return yes
			}
			if v > limit {
				return no
			}
			return undecided
		}
	}
	same, other := yes, no
	if op == operators.NotEquals {
		same, other = no, yes
	}
	return func(f *frame) tri {
		v := f.nums[slot]
		if v == limit {
			return same
		}
		if v == v {
			return other
		}
		return undecided
	}
}

// in compiles membership in a list of constants, and of a name in tags.
func (t typed) in(e, in ast.Expr) boolFunc {
	if t.isTags(in) {
		key := t.text(e)
		if key == nil {
			return nil
		}
		return func(f *frame) tri {
			k, ok := key(f)
			if !ok {
				return undecided
			}
			_, has := f.tags()[k]
			return truth(has)
		}
	}
	if in.Kind() != ast.ListKind || len(in.AsList().OptionalIndices()) > 0 {
		return nil
	}
	elements := in.AsList().Elements()
	switch t.kind(e) {
	case kindNum:
		x := t.num(e)
		list := make([]float64, len(elements))
		for i, el := range elements {
			v, ok := literalNum(el)
			if !ok {
				return nil
			}
			list[i] = v
		}
		if x == nil {
			return nil
		}
		return func(f *frame) tri {
			v := x(f)
			if v != v {
				return undecided
			}
			return truth(slices.Contains(list, v))
		}
	case kindText:
		x := t.text(e)
		list := make([]string, len(elements))
		for i, el := range elements {
			v, ok := literalString(el)
			if !ok {
				return nil
			}
			list[i] = v
		}
		if x == nil {
			return nil
		}
		return func(f *frame) tri {
			v, ok := x(f)
			if !ok {
				return undecided
			}
			return truth(slices.Contains(list, v))
		}
	}
	return nil
}

func (t typed) textTest(fn string, target, arg ast.Expr) boolFunc {
	x, y := t.text(target), t.text(arg)
	if x == nil || y == nil {
		return nil
	}
	var test func(s, arg string) bool
	switch fn {
	case "contains":
		test = strings.Contains
	case "startsWith":
		test = strings.HasPrefix
	case "endsWith":
		test = strings.HasSuffix
	default:
		pattern, ok := literalString(arg)
		if !ok {
			return nil
		}
		re, err := regexp.Compile(pattern)
		if err != nil {
			return nil
		}
		test = func(s, _ string) bool { return re.MatchString(s) }
	}
	return func(f *frame) tri {
		s, oks := x(f)
		a, oka := y(f)
		if !oks || !oka {
			return undecided
		}
		return truth(test(s, a))
	}
}

// num compiles a number, or returns nil for cel-go to do it.
func (t typed) num(e ast.Expr) numFunc {
	if v, ok := literalNum(e); ok && v == v {
		return func(*frame) float64 { return v }
	}
	if v, ok := t.variable(e); ok && v.kind == kindNum {
		return t.numVar(v)
	}
	if e.Kind() != ast.CallKind {
		return nil
	}
	call := e.AsCall()
	fn, args := call.FunctionName(), call.Args()
	if len(args) == 0 {
		return nil
	}
	if fn == "size" {
		if x := t.text(args[0]); x != nil && t.kind(args[0]) == kindText {
			return func(f *frame) float64 {
				s, ok := x(f)
				if !ok {
					return math.NaN()
				}
				return float64(runes(s))
			}
		}
		return nil
	}
	if t.kind(args[len(args)-1]) != kindNum {
		return nil
	}
	switch fn {
	case operators.Conditional:
		c, a, b := t.bool(args[0]), t.num(args[1]), t.num(args[2])
		if c == nil || a == nil || b == nil {
			return nil
		}
		return func(f *frame) float64 {
			switch c(f) {
			case yes:
				return a(f)
			case no:
				return b(f)
			}
			return math.NaN()
		}
	case operators.Negate:
		if a := t.num(args[0]); a != nil {
			return func(f *frame) float64 { return -a(f) }
		}
		return nil
	}
	if g, ok := numFunc1[fn]; ok {
		a := t.num(args[0])
		if a == nil {
			return nil
		}
		return func(f *frame) float64 {
			x := a(f)
			v := g(x)
			if v != v && x == x {
				f.failed = true
			}
			return v
		}
	}
	g, ok := numFunc2[fn]
	if !ok || len(args) != 2 {
		return nil
	}
	a, b := t.num(args[0]), t.num(args[1])
	if a == nil || b == nil {
		return nil
	}
	return func(f *frame) float64 {
		x, y := a(f), b(f)
		if x != x || y != y {
			return math.NaN() // also where the function would make a number of it: pow(NaN, 0) is 1
		}
		v := g(x, y)
		if v != v {
			f.failed = true
		}
		return v
	}
}

// text compiles a text, or returns nil for cel-go to do it.
func (t typed) text(e ast.Expr) textFunc {
	if s, ok := literalString(e); ok {
		return func(*frame) (string, bool) { return s, true }
	}
	if v, ok := t.variable(e); ok && v.kind == kindText {
		return t.textVar(v)
	}
	switch e.Kind() {
	case ast.SelectKind:
		if s := e.AsSelect(); !s.IsTestOnly() && t.isTags(s.Operand()) {
			return tagText(s.FieldName())
		}
	case ast.CallKind:
		call := e.AsCall()
		args := call.Args()
		switch call.FunctionName() {
		case operators.Index:
			if name, ok := literalString(args[1]); ok && t.isTags(args[0]) {
				return tagText(name)
			}
		case operators.Conditional:
			if t.kind(args[1]) != kindText || t.kind(args[2]) != kindText {
				return nil
			}
			c, a, b := t.bool(args[0]), t.text(args[1]), t.text(args[2])
			if c == nil || a == nil || b == nil {
				return nil
			}
			return func(f *frame) (string, bool) {
				switch c(f) {
				case yes:
					return a(f)
				case no:
					return b(f)
				}
				return "", false
			}
		case operators.Add:
			if t.kind(e) != kindText {
				return nil
			}
			a, b := t.text(args[0]), t.text(args[1])
			if a == nil || b == nil {
				return nil
			}
			return func(f *frame) (string, bool) {
				x, okx := a(f)
				y, oky := b(f)
				if !okx || !oky {
					return "", false
				}
				return x + y, true
			}
		}
	}
	return nil
}

// tagText is a tag's value; a device without that tag is an error, as in CEL: has(tags.x) asks first.
func tagText(name string) textFunc {
	return func(f *frame) (string, bool) {
		s, ok := f.tags()[name]
		f.failed = f.failed || !ok
		return s, ok
	}
}

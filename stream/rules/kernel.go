package rules

import (
	"math"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
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
	plan      *plan          // whose devices keep series
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
		f.noValue(v)
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
		f.noValue(v)
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
		f.noValue(v)
		return "", false
	}
}

// noValue notes why cel-go gave none.
func (f *frame) noValue(v ref.Val) {
	err, ok := v.(*types.Err)
	if !ok {
		return // unknown
	}
	f.failed, f.why = true, err.Error()
	f.costly = f.costly || strings.Contains(f.why, "cost limit")
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
	switch v.source {
	case fromParam:
		return v.num()
	case fromCalendar:
		return v.ofDay()
	case fromJoin:
		return v.ofBoard()
	case fromFence:
		return t.fence(v)
	case fromSeries:
		of, z := v.series, v.series.fn == "baseline_z"
		if z {
			of.fn = "baseline"
		}
		slot := t.plan.seriesSlot(of)
		return func(f *frame) float64 {
			if s := f.dev.series; slot < len(s) {
				if v.fresh && s[slot].at != f.own {
					return math.NaN()
				}
				if z {
					return s[slot].a
				}
				return s[slot].value
			}
			return math.NaN()
		}
	case fromZone:
		return t.inZone(v.zone)
	case fromPosition:
		where := t.where()
		if v.name == positionMetrics[0] {
			return func(f *frame) float64 { lat, _ := where(f); return lat }
		}
		return func(f *frame) float64 { _, lon := where(f); return lon }
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
	if v.source == fromParam {
		return v.text()
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

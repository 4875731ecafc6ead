package rules

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// rewrite brings the parsed expression into the form that is checked: numbers are doubles, a number
// where a condition is wanted is `!= 0`, context calls and metrics are variables.
func (c *compiler) rewrite(e *parsed, decides bool) {
	w := &rewriter{compiler: c, e: e, decides: decides, fac: ast.NewExprFactory()}
	w.expr(root(e.ast), nil)
	if e.want == kindBool {
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
		if name := e.AsIdent(); !slices.Contains(locals, name) && !w.paramIdent(e, name) {
			_, isColumn := w.columns[name]
			if k, ok := fields[name]; ok && !isColumn {
				w.vars[name] = variable{source: fromField, kind: k, name: name}
			} else {
				w.metric(e, name)
			}
		}
	case ast.SelectKind:
		operand := e.AsSelect().Operand()
		if w.isContext(e) && !slices.Contains(locals, "context") {
			w.metric(e, contextPrefix+e.AsSelect().FieldName())
			return
		}
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
	if w.columns != nil && !(w.on == OnEvents && strings.HasPrefix(name, contextPrefix)) {
		if _, ok := w.columns[name]; !ok {
			known := slices.Concat(slices.Collect(maps.Keys(w.columns)), slices.Collect(maps.Keys(fields)))
			w.failID(w.e, e.ID(), "%s have no %q%s", w.on, name, didYouMean(name, known))
			return
		}
	}
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
	case slices.Contains(dayCalls, fn) && !call.IsMemberFunction():
		w.dayCall(e, fn, args)
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
	case slices.Contains(seriesCalls, fn) && !call.IsMemberFunction():
		w.seriesCall(e, fn, args)
		return
	case slices.Contains(baselineCalls, fn) && !call.IsMemberFunction():
		w.baselineCall(e, fn, args)
		return
	case slices.Contains(joinCalls, fn) && !call.IsMemberFunction():
		w.joinCall(e, fn, args)
		return
	case slices.Contains(fenceCalls, fn) && !call.IsMemberFunction():
		w.fenceCall(e, fn, args)
		return
	case fn == "in_zone" && !call.IsMemberFunction():
		w.zoneCall(e, args)
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
	case isAggregate(fn, args) && !call.IsMemberFunction():
		w.failID(w.e, e.ID(), "%s() is of a window's readings, want it in let, beside window", fn)
		return
	case !baseEnv().HasFunction(fn):
		w.failID(w.e, e.ID(), "unknown function %s()%s", fn, hint(fn, functionNames()))
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
	case "distance_m":
		w.distanceCall(e, args)
	case operators.Divide, operators.Modulo:
		if by := args[1]; by.Kind() == ast.LiteralKind && by.AsLiteral() == types.Double(0) {
			w.failID(w.e, by.ID(), "found a division by 0, which comes to no number; want another divisor")
		}
	case operators.Equals, operators.NotEquals:
		w.booleanEquality(e, fn, args)
	}
}

// isAggregate reports whether a call is an aggregate: min and max are functions of two numbers besides.
func isAggregate(fn string, args []ast.Expr) bool {
	_, ok := aggregates[fn]
	return ok && !(baseEnv().HasFunction(fn) && len(args) == 2)
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

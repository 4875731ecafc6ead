package rules

import (
	"encoding/json"
	"math"
	"regexp"
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	celparser "cel.dev/cel-go/parser"
)

// A limit is a comparison of numbers or texts in `when`, for people to see what decided: a value, and what it
// was held against.
type limit struct {
	Value string `json:"value"`
	Is    string `json:"is"`
	Limit any    `json:"limit"`
	Param string `json:"param,omitempty"` // what the limit is called: a parameter, or what it was reckoned from

	left, right ast.Expr // to be reckoned for the event, since they are no variables; nil for those that are
}

// limitsOf lists the comparisons that a condition is made of.
func limitsOf(e *expr) []limit { return e.limits(root(e.ast)) }

func (e *expr) limits(x ast.Expr) []limit {
	if x.Kind() != ast.CallKind {
		return nil
	}
	call := x.AsCall()
	op, args := call.FunctionName(), call.Args()
	switch op {
	case operators.LogicalAnd, operators.LogicalOr:
		return append(e.limits(args[0]), e.limits(args[1])...)
	case operators.LogicalNot:
		return e.limits(args[0])
	case operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals:
	default:
		return nil
	}
	isParam := func(x ast.Expr) bool { return x.Kind() == ast.IdentKind && e.vars[x.AsIdent()].source == fromParam }
	if args[0].Kind() == ast.LiteralKind || isParam(args[0]) && !isParam(args[1]) {
		args = []ast.Expr{args[1], args[0]}
		op = mirrored[op]
	}
	l := limit{Value: e.words(args[0])}
	l.Is, _ = operators.FindReverse(op)
	if args[0].Kind() != ast.IdentKind {
		l.left = args[0]
	}
	switch right := args[1]; {
	case isParam(right):
		v := e.vars[right.AsIdent()]
		l.Limit, l.Param = v.def, v.name
	case right.Kind() == ast.LiteralKind:
		l.Limit = right.AsLiteral().Value()
		if f, isNum := l.Limit.(float64); isNum && math.IsInf(f, 0) {
			return nil
		}
	default:
		l.Param = e.words(right)
		if right.Kind() != ast.IdentKind {
			l.right = right
		}
		if l.Param == "" {
			return nil
		}
	}
	if l.Value == "" {
		return nil
	}
	return []limit{l}
}

var mirrored = map[string]string{
	operators.Equals: operators.Equals, operators.NotEquals: operators.NotEquals, operators.Less: operators.Greater,
	operators.LessEquals: operators.GreaterEquals, operators.Greater: operators.Less, operators.GreaterEquals: operators.LessEquals,
}

// wholeNumber is one as cel-go writes it, since every number is a double.
var wholeNumber = regexp.MustCompile(`\b(\d+)\.0\b`)

// words is how a part of an expression reads, with its variables by the names that events have them under;
// "" where it is too long to be read.
func (e *expr) words(x ast.Expr) string {
	if x.Kind() == ast.IdentKind {
		return e.vars[x.AsIdent()].name
	}
	fac := ast.NewExprFactory()
	c := fac.CopyExpr(x)
	ast.PostOrderVisit(c, ast.NewExprVisitor(func(y ast.Expr) {
		if y.Kind() == ast.IdentKind {
			if v, ok := e.vars[y.AsIdent()]; ok && v.source != fromFlag {
				y.SetKindCase(fac.NewIdent(y.ID(), v.name))
			}
		}
	}))
	s, err := celparser.Unparse(c, e.ast.NativeRep().SourceInfo())
	if err != nil || len(s) > 200 {
		return ""
	}
	return wholeNumber.ReplaceAllString(s, "$1")
}

// showLimits has the sides of comparisons that are no variables reckoned for the context of events.
func (r *bound) showLimits(b *binder, e *expr) {
	if e == nil {
		return
	}
	t := typed{b, e, e.ast.NativeRep()}
	seen := map[string]bool{}
	show := func(name string, x ast.Expr) {
		if x == nil || seen[name] {
			return
		}
		seen[name] = true
		s := shown{name: name}
		switch t.kind(x) {
		case kindNum:
			s.num = t.num(x)
		case kindText:
			s.text = t.text(x)
		}
		if s.num != nil || s.text != nil {
			r.shows = append(r.shows, s)
		}
	}
	for _, l := range r.code.limits {
		show(l.Value, l.left)
		show(l.Param, l.right)
	}
}

// thresholds are the limits for an event's context, with the values that those had which are no constants;
// what is not known is left out.
func (r *bound) thresholds(values map[string]any) json.RawMessage {
	if r.code == nil || !slices.ContainsFunc(r.code.limits, func(l limit) bool { return l.Param != "" }) {
		return r.limits
	}
	all := slices.Clone(r.code.limits)
	for i := range all {
		if v, ok := values[all[i].Param]; ok && all[i].Param != "" {
			all[i].Limit = v
		}
	}
	all = slices.DeleteFunc(all, func(l limit) bool { return l.Limit == nil })
	if len(all) == 0 {
		return nil
	}
	return plainJSON(all)
}

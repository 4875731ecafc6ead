package rules

import (
	"slices"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

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
		if k := c.p.param(name); k != kindNone {
			return k
		}
		if k, ok := c.columns[name]; ok {
			c.metrics[name] = k
			return k
		}
		if k, ok := fields[name]; ok {
			return k
		}
		return c.used(name, want)
	case ast.SelectKind:
		if c.isContext(e) && !slices.Contains(locals, "context") {
			return c.used(contextPrefix+e.AsSelect().FieldName(), want)
		}
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

// ofRows reports whether the expressions are about rows, not about lets or steps.
func (c *compiler) ofRows() bool { return c.columns != nil && rowKinds[c.on] != nil }

// isContext reports whether e is what the context of an event says: context.NAME.
func (c *compiler) isContext(e ast.Expr) bool {
	if c.on != OnEvents || e.Kind() != ast.SelectKind || e.AsSelect().IsTestOnly() {
		return false
	}
	of := e.AsSelect().Operand()
	return of.Kind() == ast.IdentKind && of.AsIdent() == "context"
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
	case "zone_avg", "zone_min", "zone_max", "zone_sum", "zone_count", "of":
		return kindNum
	case "neighbours_avg", "neighbours_min", "neighbours_max", "neighbours_sum", "neighbours_count":
		for _, name := range positionMetrics {
			c.used(name, kindNum)
		}
		return kindNum
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
			if k, ok := c.columns[name]; ok {
				want = k
			}
			return c.used(name, want)
		}
		return kindNone
	case "enter", "leave":
		return kindBool
	case "in_zone", "distance_m":
		if c.columns == nil || c.ofRows() {
			for _, name := range positionMetrics {
				c.used(name, kindNum)
			}
		}
		each(kindNum)
		return kindNum
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

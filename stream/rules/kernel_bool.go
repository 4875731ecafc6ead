package rules

import (
	"regexp"
	"slices"
	"strings"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

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

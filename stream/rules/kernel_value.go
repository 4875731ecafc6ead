package rules

import (
	"math"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

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
	if fn == "distance_m" {
		var of [4]numFunc
		for i, a := range args {
			if of[i] = t.num(a); of[i] == nil {
				return nil
			}
		}
		return func(f *frame) float64 { return distanceM(of[0](f), of[1](f), of[2](f), of[3](f)) }
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

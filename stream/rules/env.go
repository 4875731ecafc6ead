package rules

import (
	"fmt"
	"math"
	"slices"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/env"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// The language is CEL with one kind of number: every numeric literal, metric and result is a
// double, so that power_w > 20 needs no .0. Arithmetic whose result is no number is an error, which
// makes a condition neither true nor false; the same holds in both evaluators.

// Bounds of an expression.
const (
	maxExprNodes = 2000
	maxExprDepth = 60
	maxExprCost  = 50_000 // of one evaluation by cel-go, in its units
)

// fields are the variables that are no metrics.
var fields = map[string]kind{
	"device": kindText, "domain": kindText, "zone": kindText, "profile": kindText, "name": kindText,
	"tags": kindOther, "lat": kindNum, "lon": kindNum, "sun_elevation": kindNum,
}

// calls without arguments that stand for a variable: the local time of the reading.
var clockCalls = []string{"hour", "minute", "weekday", "day", "month"}

// dayCalls are of a calendar, the city's unless one is named.
var dayCalls = []string{"is_holiday", "working_hours"}

// flagNames are the arguments of flagged(), by bit of devices.Quality.
var flagNames = []string{"clock", "range", "stuck", "identity", "late", "unknown"}

// numFunc1 and numFunc2 are the functions of numbers, for both evaluators.
var (
	numFunc1 = map[string]func(float64) float64{
		"abs": math.Abs, "floor": math.Floor, "ceil": math.Ceil, "round": math.Round, "sqrt": math.Sqrt,
	}
	numFunc2 = map[string]func(a, b float64) float64{
		"min": math.Min, "max": math.Max, "pow": math.Pow,
		operators.Add: func(a, b float64) float64 { return a + b }, operators.Subtract: func(a, b float64) float64 { return a - b },
		operators.Multiply: func(a, b float64) float64 { return a * b }, operators.Divide: divide, operators.Modulo: math.Mod,
	}
	textCalls = []string{"contains", "startsWith", "endsWith", "matches"}
)

// divide is a/b, and NaN where b is 0.
func divide(a, b float64) float64 {
	if b == 0 {
		return math.NaN()
	}
	return a / b
}

// functionNames are all that may be called by name, for "did you mean".
func functionNames() []string {
	names := slices.Concat(clockCalls, dayCalls, textCalls, seriesCalls, baselineCalls, fenceCalls, joinCalls, []string{"in_zone", "distance_m", "flagged", "metric", "size", "string", "double", "has"})
	for n := range numFunc1 {
		names = append(names, n)
	}
	for n := range numFunc2 {
		if n[0] != '_' {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return names
}

var errNaN = types.NewErr("not a number")

func number(v float64) ref.Val {
	if math.IsNaN(v) {
		return errNaN
	}
	return types.Double(v)
}

// baseEnv has every function and no variable.
var baseEnv = sync.OnceValue(func() *cel.Env {
	var std []*env.Function
	for _, name := range []string{
		operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.NotStrictlyFalse, operators.Conditional,
		operators.Equals, operators.NotEquals, operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals,
		operators.In, operators.Index, "contains", "startsWith", "endsWith", "matches", "string", "double",
	} {
		std = append(std, env.NewFunction(name))
	}
	opts := []cel.EnvOption{
		cel.StdLib(cel.StdLibSubset(&env.LibrarySubset{DisableMacros: true, IncludeFunctions: std})),
		cel.Macros(cel.HasMacro, cel.AllMacro, cel.ExistsMacro),
		cel.ParserRecursionLimit(maxExprDepth), cel.ParserExpressionSizeLimit(maxTextBytes),
		cel.RegexProgramSizeLimit(2000),
		cel.Function("size",
			cel.Overload("size_text", []*cel.Type{cel.StringType}, cel.DoubleType, cel.UnaryBinding(size)),
			cel.Overload("size_list", []*cel.Type{cel.ListType(cel.DynType)}, cel.DoubleType, cel.UnaryBinding(size)),
			cel.Overload("size_map", []*cel.Type{cel.MapType(cel.DynType, cel.DynType)}, cel.DoubleType, cel.UnaryBinding(size))),
		cel.Function("distance_m", cel.Overload("distance_of_places",
			[]*cel.Type{cel.DoubleType, cel.DoubleType, cel.DoubleType, cel.DoubleType}, cel.DoubleType,
			cel.FunctionBinding(func(a ...ref.Val) ref.Val {
				return number(distanceM(float64(a[0].(types.Double)), float64(a[1].(types.Double)), float64(a[2].(types.Double)), float64(a[3].(types.Double))))
			}))),
		cel.Function(operators.Negate, cel.Overload("negate_number", []*cel.Type{cel.DoubleType}, cel.DoubleType,
			cel.UnaryBinding(func(v ref.Val) ref.Val { return number(-float64(v.(types.Double))) }))),
	}
	for name, f := range numFunc1 {
		opts = append(opts, cel.Function(name, cel.Overload(name+"_number", []*cel.Type{cel.DoubleType}, cel.DoubleType,
			cel.UnaryBinding(func(v ref.Val) ref.Val { return number(f(float64(v.(types.Double)))) }))))
	}
	for name, f := range numFunc2 {
		overloads := []cel.FunctionOpt{cel.Overload("numbers"+name, []*cel.Type{cel.DoubleType, cel.DoubleType}, cel.DoubleType,
			cel.BinaryBinding(func(a, b ref.Val) ref.Val { return number(f(float64(a.(types.Double)), float64(b.(types.Double)))) }))}
		if name == operators.Add {
			overloads = append(overloads, cel.Overload("texts"+name, []*cel.Type{cel.StringType, cel.StringType}, cel.StringType,
				cel.BinaryBinding(func(a, b ref.Val) ref.Val { return a.(types.String) + b.(types.String) })))
		}
		opts = append(opts, cel.Function(name, overloads...))
	}
	e, err := cel.NewCustomEnv(opts...)
	if err != nil {
		panic(fmt.Sprintf("BUG: the rules' language: %v", err))
	}
	return e
})

func size(v ref.Val) ref.Val {
	switch s := v.(type) {
	case types.String:
		return types.Double(float64(runes(string(s))))
	case interface{ Size() ref.Val }:
		if n, ok := s.Size().(types.Int); ok {
			return types.Double(float64(n))
		}
	}
	return types.MaybeNoSuchOverloadErr(v)
}

func runes(s string) int {
	n := 0
	for range s {
		n++
	}
	return n
}

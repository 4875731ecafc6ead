package rules

import (
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/common/ast"
)

// liftable are the functions of messages that may stand where the lets of a window are spoken of: there they
// are as of the window's last message, which is what a let last(zone_avg("no2")) would be. Those of borders, and
// stuck, are conditions and no numbers, and a let has to say what is made of them.
var liftable = slices.Concat(joinCalls, slices.DeleteFunc(slices.Clone(seriesCalls), func(fn string) bool { return fn == "stuck" }), baselineCalls)

// lift takes such calls out of what is about the lets, and returns a let for each and its argument, which is
// about messages: by the name that it has in both, the call as it is written.
func (c *compiler) lift(exprs []*parsed, of *compiler) (lets []let, args map[string]*parsed) {
	args = map[string]*parsed{}
	fac := ast.NewExprFactory()
	for _, e := range exprs {
		if e == nil || e.ast == nil {
			continue
		}
		ast.PostOrderVisit(root(e.ast), ast.NewExprVisitor(func(x ast.Expr) {
			if x.Kind() != ast.CallKind || x.AsCall().IsMemberFunction() || !slices.Contains(liftable, x.AsCall().FunctionName()) {
				return
			}
			isLet := func(a ast.Expr) bool { return a.Kind() == ast.IdentKind && c.columns[a.AsIdent()] != kindNone }
			begin, name := e.call(x.ID())
			if name == "" || slices.ContainsFunc(x.AsCall().Args(), isLet) {
				return // which the compiler refuses: a let is no metric
			}
			if args[name] == nil {
				a := of.parse(e.node, e.key, name, e.offset+begin)
				a.want = kindNum
				args[name], c.columns[name] = a, kindNum
				lets = append(lets, let{name: name, agg: aggLast})
			}
			x.SetKindCase(fac.NewIdent(x.ID(), name))
		}))
	}
	return lets, args
}

// call is the text of a call and where in the expression it begins, in bytes; "" where that is not found.
func (e *parsed) call(id int64) (begin int, text string) {
	at := e.ast.NativeRep().SourceInfo().GetStartLocation(id)
	for range at.Line() - 1 {
		next := strings.IndexByte(e.src[begin:], '\n')
		if next < 0 {
			return 0, ""
		}
		begin += next + 1
	}
	for range at.Column() {
		_, n := utf8.DecodeRuneInString(e.src[begin:])
		begin += n
	}
	open := begin + strings.IndexByte(e.src[begin:]+"(", '(')
	for begin = open; begin > 0 && isWord(e.src[begin-1]); {
		begin--
	}
	depth := 0
	for end := open; end < len(e.src); end++ {
		switch c := e.src[end]; {
		case inQuotes(e.src[begin:end]):
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 {
				return begin, e.src[begin : end+1]
			}
		}
	}
	return 0, ""
}

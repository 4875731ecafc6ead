package codec

import (
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"time"

	"github.com/dop251/goja"
	"github.com/dop251/goja/ast"
	"github.com/dop251/goja/file"
	"github.com/dop251/goja/parser"
	"github.com/dop251/goja/token"
	"github.com/dop251/goja/unistring"
)

// Names of the guards that rewritten source calls. No source can spell them.
const (
	guardSpread = "\x00spread"
	guardCopy   = "\x00copy"
	guardMul    = "\x00mul"
	guardPow    = "\x00pow"
	guardShl    = "\x00shl"
)

// Bounds of a script. Parsing takes up to 3.4 kB of stack for an opening bracket (measured, goja of
// September 2026), so openers bound it at 55 MB; the largest published codec has 1,729.
const (
	maxOpeners     = 16 << 10
	maxSourceDepth = 2000 // nesting of the syntax tree, counted in Go values
	maxRegexpCost  = 4096
	compileTime    = 5 * time.Second
	maxTemplate    = 2 // expressions of a template literal that is left whole
)

// A script is a compiled source, shared by all its runtimes.
type script struct {
	prog       *goja.Program
	bigints    bool       // the source speaks of BigInt: its operators are guarded and it gets the type
	regexpCost int        // of its costliest literal
	unnamed    [][]uint64 // see trim
	host       bool       // it names Buffer or its like
	recvTime   bool       // it names recvTime, and so on
	variables  bool
}

// compile parses, checks, rewrites and compiles src. The parser knows no time limit, so it runs
// aside and is left alone when it takes too long.
func compile(src string) (*script, error) {
	if len(src) > MaxSource {
		return nil, fmt.Errorf("script: %d bytes, want at most %d", len(src), MaxSource)
	}
	openers := 0
	for i := range len(src) {
		switch src[i] {
		case '(', '[', '{', '`':
			openers++
		}
	}
	if openers > maxOpeners {
		return nil, fmt.Errorf("script: %d opening brackets, want at most %d", openers, maxOpeners)
	}
	type answer struct {
		s   *script
		err error
	}
	done := make(chan answer, 1)
	go func() {
		s, err := compileUnbounded(src)
		done <- answer{s, err}
	}()
	limit := time.NewTimer(compileTime)
	defer limit.Stop()
	select {
	case a := <-done:
		return a.s, a.err
	case <-limit.C:
		return nil, fmt.Errorf("script: compiling takes longer than %v", compileTime)
	}
}

func compileUnbounded(src string) (s *script, err error) {
	defer func() {
		if x := recover(); x != nil {
			s, err = nil, fmt.Errorf("script: the compiler gave up: %.200v", x)
		}
	}()
	prg, err := parser.ParseFile(nil, "codec.js", src, 0, parser.WithDisableSourceMaps)
	if err != nil {
		return nil, fmt.Errorf("script: %w", firstSyntaxError(err))
	}
	s = &script{bigints: strings.Contains(src, "BigInt") || strings.Contains(src, "BigUint")}
	s.unnamed, s.host = unnamed(src)
	s.recvTime, s.variables = strings.Contains(src, "recvTime"), strings.Contains(src, "variables")
	if !s.bigints {
		s.bigints = findsBigInt(prg)
	}
	w := rewriter{file: prg.File, script: s, seen: map[any]bool{}, bounded: map[*ast.ArrayPattern]bool{}, copies: map[*ast.SpreadElement]bool{}}
	w.walk(reflect.ValueOf(prg.Body), 0)
	if w.err != nil {
		return nil, fmt.Errorf("script: %w", w.err)
	}
	if s.prog, err = goja.CompileAST(prg, false); err != nil {
		return nil, fmt.Errorf("script: %w", err)
	}
	return s, nil
}

func firstSyntaxError(err error) error {
	if list, ok := err.(parser.ErrorList); ok && len(list) > 0 {
		return list[0]
	}
	return err
}

// A rewriter walks a syntax tree, refuses what cannot be bounded and puts guards where an operator
// could take memory without bound in one step that no interrupt reaches.
type rewriter struct {
	file   *file.File
	script *script
	seen   map[any]bool
	// bounded are the array patterns with a rest element whose source is guarded.
	bounded map[*ast.ArrayPattern]bool
	// copies are the spread elements of object literals, which are no lists.
	copies map[*ast.SpreadElement]bool
	err    error
}

var (
	expressionType = reflect.TypeFor[ast.Expression]()
	fileType       = reflect.TypeFor[*file.File]()
)

func (w *rewriter) refuse(n ast.Node, format string, args ...any) {
	if w.err == nil {
		p := w.file.Position(int(n.Idx0()) - 1)
		w.err = fmt.Errorf("line %d, column %d: %s", p.Line, p.Column, fmt.Sprintf(format, args...))
	}
}

func (w *rewriter) walk(v reflect.Value, depth int) {
	if w.err != nil {
		return
	}
	if depth > maxSourceDepth {
		w.err = fmt.Errorf("nested deeper than %d", maxSourceDepth)
		return
	}
	switch v.Kind() {
	case reflect.Interface:
		if v.IsNil() {
			return
		}
		w.walk(v.Elem(), depth+1)
		if v.Type() == expressionType && v.CanSet() {
			if e := w.replace(v.Interface().(ast.Expression)); e != nil {
				v.Set(reflect.ValueOf(e))
			}
		}
	case reflect.Pointer:
		if v.IsNil() || v.Type() == fileType || w.seen[v.Interface()] {
			return
		}
		w.seen[v.Interface()] = true
		w.check(v.Interface())
		w.walk(v.Elem(), depth+1)
	case reflect.Slice:
		for i := range v.Len() {
			w.walk(v.Index(i), depth+1)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			switch v.Field(i).Kind() {
			case reflect.Interface, reflect.Pointer, reflect.Slice, reflect.Struct:
				w.walk(v.Field(i), depth+1)
			}
		}
	}
}

// check refuses nodes and guards those that hold their operand in a field.
func (w *rewriter) check(n any) {
	switch n := n.(type) {
	case *ast.WithStatement:
		w.refuse(n, "with is not available")
	case *ast.RegExpLiteral:
		cost := regexpCost(n.Pattern)
		if cost > maxRegexpCost {
			w.refuse(n, "regular expression of cost %d, want at most %d", cost, maxRegexpCost)
		}
		w.script.regexpCost = max(w.script.regexpCost, cost)
	case *ast.ObjectLiteral:
		for _, p := range n.Value {
			if p, ok := p.(*ast.SpreadElement); ok {
				p.Expression = guarded(guardCopy, p.Expression)
				w.copies[p] = true
			}
		}
	case *ast.SpreadElement:
		if w.copies[n] {
			return
		}
		n.Expression = guarded(guardSpread, n.Expression)
	case *ast.VariableStatement:
		w.restBindings(n.List)
	case *ast.LexicalDeclaration:
		w.restBindings(n.List)
	case *ast.ExpressionStatement:
		if a, ok := n.Expression.(*ast.AssignExpression); ok {
			if p, ok := a.Left.(*ast.ArrayPattern); ok && p.Rest != nil {
				a.Right = guarded(guardSpread, a.Right)
				w.bounded[p] = true
			}
		}
	case *ast.AssignExpression:
		w.guardAssign(n)
	case *ast.ArrayPattern:
		if n.Rest != nil && !w.bounded[n] {
			w.refuse(n, "a rest element in this array pattern is not available")
		}
	}
}

// restBindings bounds what declared array patterns with a rest element take from. Anywhere else such
// a pattern is refused: its source cannot be reached from here.
func (w *rewriter) restBindings(list []*ast.Binding) {
	for _, b := range list {
		if p, ok := b.Target.(*ast.ArrayPattern); ok && p.Rest != nil && b.Initializer != nil {
			b.Initializer = guarded(guardSpread, b.Initializer)
			w.bounded[p] = true
		}
	}
}

var bigOperators = map[token.Token]unistring.String{
	token.MULTIPLY: guardMul, token.EXPONENT: guardPow, token.SHIFT_LEFT: guardShl,
}

// guardAssign turns a *= b into a = mul(a, b) where BigInts may be about.
func (w *rewriter) guardAssign(n *ast.AssignExpression) {
	name, ok := bigOperators[n.Operator]
	if !ok || !w.script.bigints {
		return
	}
	if !plain(n.Left) {
		w.refuse(n, "with BigInt, %s= needs a plain variable or member to its left", n.Operator)
		return
	}
	n.Operator, n.Right = token.ASSIGN, guarded(name, n.Left, n.Right)
}

// plain reports whether evaluating e twice is the same as once.
func plain(e ast.Expression) bool {
	switch e := e.(type) {
	case *ast.Identifier, *ast.ThisExpression, *ast.NumberLiteral, *ast.StringLiteral:
		return true
	case *ast.DotExpression:
		return plain(e.Left)
	case *ast.BracketExpression:
		return plain(e.Left) && plain(e.Member)
	}
	return false
}

// replace returns what stands for e, or nil to leave it.
func (w *rewriter) replace(e ast.Expression) ast.Expression {
	switch e := e.(type) {
	case *ast.BinaryExpression:
		if name, ok := bigOperators[e.Operator]; ok && w.script.bigints {
			return guarded(name, e.Left, e.Right)
		}
	case *ast.TemplateLiteral:
		if e.Tag == nil && len(e.Expressions) > maxTemplate {
			return split(e)
		}
	}
	return nil
}

// split nests a long template literal. A template is put together in one step: split, each step
// takes a few times the longest string at most, and the watch sees it between two.
func split(t *ast.TemplateLiteral) *ast.TemplateLiteral {
	if len(t.Expressions) <= maxTemplate {
		return t
	}
	cut := len(t.Expressions) - (maxTemplate - 1)
	inner := *t
	inner.Elements, inner.Expressions = t.Elements[:cut+1:cut+1], t.Expressions[:cut:cut]
	empty := &ast.TemplateElement{Idx: t.Elements[0].Idx, Valid: true}
	outer := *t
	outer.Elements = append([]*ast.TemplateElement{empty, empty}, t.Elements[cut+1:]...)
	outer.Expressions = append([]ast.Expression{split(&inner)}, t.Expressions[cut:]...)
	return &outer
}

func guarded(name unistring.String, args ...ast.Expression) ast.Expression {
	at := args[0].Idx0()
	return &ast.CallExpression{
		Callee:           &ast.Identifier{Name: name, Idx: at},
		LeftParenthesis:  at,
		ArgumentList:     args,
		RightParenthesis: at,
	}
}

// findsBigInt reports whether a literal such as 5n is in prg.
func findsBigInt(prg *ast.Program) bool {
	found := false
	seen := map[any]bool{}
	var walk func(v reflect.Value, depth int)
	walk = func(v reflect.Value, depth int) {
		if found || depth > maxSourceDepth {
			return
		}
		switch v.Kind() {
		case reflect.Interface:
			if !v.IsNil() {
				walk(v.Elem(), depth+1)
			}
		case reflect.Pointer:
			if v.IsNil() || v.Type() == fileType || seen[v.Interface()] {
				return
			}
			seen[v.Interface()] = true
			if n, ok := v.Interface().(*ast.NumberLiteral); ok {
				if _, found = n.Value.(*big.Int); found {
					return
				}
			}
			walk(v.Elem(), depth+1)
		case reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i), depth+1)
			}
		case reflect.Struct:
			for i := range v.NumField() {
				walk(v.Field(i), depth+1)
			}
		}
	}
	walk(reflect.ValueOf(prg.Body), 0)
	return found
}

// regexpCost bounds how many states a pattern unfolds to: its length times its counted repetitions.
func regexpCost(pattern string) int {
	cost := max(len(pattern), 1)
	for i := 0; i < len(pattern); i++ {
		if pattern[i] != '{' {
			continue
		}
		n, most := 0, 1
		for i++; i < len(pattern) && (pattern[i] >= '0' && pattern[i] <= '9' || pattern[i] == ','); i++ {
			if pattern[i] == ',' {
				n = 0
			} else {
				n = min(n*10+int(pattern[i]-'0'), 1<<20)
				most = max(most, n)
			}
		}
		cost = min(cost*most, 1<<30)
	}
	return cost
}

package codec

import (
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/dop251/goja"
)

// strings guards what makes a string out of two, or searches one in another.
func (g *guard) strings(global *goja.Object) {
	p := g.prototype("String")
	this := func(c *goja.FunctionCall) { c.This = g.this(c.This) }
	for _, name := range []string{
		"normalize", "toUpperCase", "toLowerCase", "toLocaleUpperCase", "toLocaleLowerCase", "localeCompare",
		"isWellFormed", "toWellFormed", "anchor", "link", "fontcolor", "fontsize",
	} {
		g.before(p, name, this)
	}
	for _, name := range []string{"indexOf", "lastIndexOf", "includes", "startsWith", "endsWith"} {
		g.before(p, name, func(c *goja.FunctionCall) {
			this(c)
			if s, ok := c.Argument(0).(goja.String); ok {
				g.charge(int64(c.This.(goja.String).Length()) * int64(g.text(s).Length()) / 16)
			}
		})
	}
	g.replace(p, "repeat", func(c goja.FunctionCall) goja.Value {
		s, f := g.this(c.This), c.Argument(0).ToFloat()
		if math.IsNaN(f) {
			f = 0
		}
		if f = math.Trunc(f); f < 0 || f*float64(s.Length()) > maxString || f > maxString {
			g.refuse("repeat of %d characters %v times, want 0 to %d in all", s.Length(), f, maxString)
		}
		var b goja.StringBuilder
		for range int(f) {
			b.WriteString(s)
		}
		g.charge(int64(f) * int64(s.Length()))
		return b.String()
	})
	for _, name := range []string{"padStart", "padEnd"} {
		g.before(p, name, func(c *goja.FunctionCall) {
			this(c)
			if len(c.Arguments) > 0 {
				f := c.Arguments[0].ToNumber()
				if f.ToFloat() > maxString {
					g.refuse("%s to %v characters, want at most %d", name, f, maxString)
				}
				c.Arguments[0] = f
				g.charge(max(f.ToInteger(), 0))
			}
			if len(c.Arguments) > 1 && !goja.IsUndefined(c.Arguments[1]) {
				g.arg(c, 1)
			}
		})
	}
	g.replace(p, "concat", func(c goja.FunctionCall) goja.Value {
		s := g.this(c.This)
		size := s.Length()
		var b goja.StringBuilder
		b.WriteString(s)
		for _, a := range c.Arguments {
			s := g.text(a)
			if size += s.Length(); size > maxString {
				g.refuse("string of more than %d characters", maxString)
			}
			b.WriteString(s)
		}
		return b.String()
	})
	for _, name := range []string{"match", "matchAll", "search", "split"} {
		g.before(p, name, func(c *goja.FunctionCall) {
			this(c)
			g.pattern(c)
			g.charge(int64(c.This.(goja.String).Length()) * (g.regexp + 16))
		})
	}
	g.before(p, "replace", g.substitute)
	g.before(p, "replaceAll", g.substitute)
	must(global.Get("String").(*goja.Object).Delete("raw"))
	for _, name := range []string{"escape", "unescape", "encodeURI", "encodeURIComponent", "decodeURI", "decodeURIComponent"} {
		g.before(global, name, func(c *goja.FunctionCall) {
			if len(c.Arguments) > 0 {
				g.arg(c, 0)
			}
		})
	}
	g.regexps(global)
}

// this is the string a method of strings is called on.
func (g *guard) this(v goja.Value) goja.String {
	if goja.IsUndefined(v) || goja.IsNull(v) {
		panic(g.rt.NewTypeError("method of strings called on %v", v))
	}
	return g.text(v)
}

func isRegexp(v goja.Value) bool {
	o, ok := v.(*goja.Object)
	return ok && o.ClassName() == "RegExp"
}

// pattern turns what to search for into a string, or leaves a regular expression, of which g knows
// the cost.
func (g *guard) pattern(c *goja.FunctionCall) {
	if len(c.Arguments) == 0 || goja.IsUndefined(c.Arguments[0]) || isRegexp(c.Arguments[0]) {
		return
	}
	s := g.arg(c, 0)
	g.cost(s.String())
}

// cost takes note of a regular expression made while the script runs.
func (g *guard) cost(pattern string) {
	n := regexpCost(pattern)
	if n > maxRegexpCost {
		g.refuse("regular expression of cost %d, want at most %d", n, maxRegexpCost)
	}
	g.regexp = max(g.regexp, int64(n))
}

// substitute bounds replace and replaceAll: how often times how much.
func (g *guard) substitute(c *goja.FunctionCall) {
	c.This = g.this(c.This)
	n := int64(c.This.(goja.String).Length())
	if len(c.Arguments) < 2 {
		c.Arguments = append(append([]goja.Value{}, c.Arguments...), goja.Undefined(), goja.Undefined())[:2]
	}
	if !isRegexp(c.Arguments[0]) {
		g.arg(c, 0)
		g.charge(n)
	} else {
		g.charge(n * (g.regexp + 16))
	}
	if f, ok := goja.AssertFunction(c.Arguments[1]); ok {
		size := 0
		c.Arguments[1] = g.fn(func(c goja.FunctionCall) goja.Value {
			s := g.text(g.call(f, goja.Undefined(), c.Arguments...))
			if size += s.Length(); size > maxString {
				g.refuse("string of more than %d characters", maxString)
			}
			return s
		})
		return
	}
	s := g.arg(c, 1)
	each := int64(s.Length())
	if dollars := strings.Count(s.String(), "$"); dollars > 0 {
		each += int64(dollars) * n
	}
	if (n+1)*each > 16*maxString {
		g.refuse("replacement of up to %d characters, want at most %d", (n+1)*each, 16*maxString)
	}
	g.charge((n + 1) * each / 16)
}

// regexps guards the constructor and methods of regular expressions.
func (g *guard) regexps(global *goja.Object) {
	g.construct(global, "RegExp", func(args []goja.Value) []goja.Value {
		if len(args) > 0 && !isRegexp(args[0]) && !goja.IsUndefined(args[0]) {
			s := g.text(args[0])
			g.cost(s.String())
			args = append([]goja.Value{s}, args[1:]...)
		}
		return args
	})
	p := g.prototype("RegExp")
	for _, name := range []string{"exec", "test"} {
		g.before(p, name, func(c *goja.FunctionCall) {
			if len(c.Arguments) > 0 {
				g.charge(int64(g.arg(c, 0).Length()) * (g.regexp + 16))
			}
		})
	}
	if p.Get("compile") != nil {
		must(p.Delete("compile"))
	}
}

// json guards JSON: parse by depth and length, stringify by writing the text here.
func (g *guard) json(global *goja.Object) {
	j, ok := global.Get("JSON").(*goja.Object)
	if !ok {
		return
	}
	g.before(j, "parse", func(c *goja.FunctionCall) {
		if len(c.Arguments) == 0 {
			return
		}
		s := g.arg(c, 0).String()
		depth, quoted := 0, false
		for i := 0; i < len(s); i++ {
			switch {
			case quoted && s[i] == '\\':
				i++
			case s[i] == '"':
				quoted = !quoted
			case quoted:
			case s[i] == '[' || s[i] == '{':
				if depth++; depth > maxNested {
					g.refuse("JSON nested deeper than %d", maxNested)
				}
			case s[i] == ']' || s[i] == '}':
				depth--
			}
		}
		g.charge(int64(len(s)) * 16)
	})
	g.replace(j, "stringify", func(c goja.FunctionCall) goja.Value {
		w := jsonWriter{g: g}
		w.replacer, _ = goja.AssertFunction(c.Argument(1))
		if o, ok := c.Argument(1).(*goja.Object); ok && w.replacer == nil && isArray(o) {
			w.only = map[string]bool{}
			for i := range g.length(o) {
				w.only[o.Get(strconv.Itoa(i)).String()] = true
			}
		}
		switch s := c.Argument(2); s.ExportType() {
		case nil:
		default:
			if t, ok := s.(goja.String); ok {
				w.indent = t.String()[:min(len(t.String()), 10)]
			} else {
				w.indent = strings.Repeat(" ", int(min(max(s.ToInteger(), 0), 10)))
			}
		}
		holder := g.rt.NewObject()
		must(holder.Set("", c.Argument(0)))
		if !w.value(holder, "", c.Argument(0), 0) {
			return goja.Undefined()
		}
		return g.rt.ToValue(w.b.String())
	})
}

// A jsonWriter is JSON.stringify within bounds.
type jsonWriter struct {
	g        *guard
	b        strings.Builder
	indent   string
	only     map[string]bool
	replacer goja.Callable
}

// value writes v, the member key of holder, and reports whether there was anything to write.
func (w *jsonWriter) value(holder *goja.Object, key string, v goja.Value, depth int) bool {
	g := w.g
	g.charge(100)
	if depth > maxNested {
		g.refuse("JSON nested deeper than %d, or a cycle", maxNested)
	}
	if o, ok := v.(*goja.Object); ok {
		if f, ok := goja.AssertFunction(o.Get("toJSON")); ok {
			v = g.call(f, o, g.rt.ToValue(key))
		}
	}
	if w.replacer != nil {
		v = g.call(w.replacer, holder, g.rt.ToValue(key), v)
	}
	if v == nil || goja.IsUndefined(v) {
		return false
	}
	if w.b.Len() > maxString {
		g.refuse("JSON of more than %d bytes", maxString)
	}
	o, isObject := v.(*goja.Object)
	if isObject {
		switch o.ClassName() {
		case "Number":
			v, isObject = o.ToNumber(), false
		case "String":
			v, isObject = g.text(o), false
		case "Boolean":
			v, isObject = g.rt.ToValue(o.Export()), false
		}
	}
	if !isObject {
		return w.scalar(v)
	}
	if _, ok := goja.AssertFunction(o); ok {
		return false
	}
	comma, end := "", "}"
	write := func(depth int) {
		w.b.WriteString(comma)
		comma = ","
		if w.indent != "" {
			w.b.WriteByte('\n')
			for range depth {
				w.b.WriteString(w.indent)
			}
		}
	}
	if isArray(o) {
		end = "]"
		w.b.WriteByte('[')
		for i := range g.length(o) {
			write(depth + 1)
			k := strconv.Itoa(i)
			if !w.value(o, k, o.Get(k), depth+1) {
				w.b.WriteString("null")
			}
		}
	} else {
		w.b.WriteByte('{')
		for _, k := range o.Keys() {
			if w.only != nil && !w.only[k] {
				continue
			}
			before, had := w.b.Len(), comma
			write(depth + 1)
			quoteJSON(&w.b, k)
			w.b.WriteByte(':')
			if w.indent != "" {
				w.b.WriteByte(' ')
			}
			if !w.value(o, k, o.Get(k), depth+1) {
				kept := w.b.String()[:before]
				w.b.Reset()
				w.b.WriteString(kept)
				comma = had
				g.charge(int64(before))
			}
		}
	}
	if comma != "" {
		comma = ""
		write(depth)
	}
	w.b.WriteString(end)
	return true
}

func (w *jsonWriter) scalar(v goja.Value) bool {
	if goja.IsNull(v) {
		w.b.WriteString("null")
		return true
	}
	switch x := v.Export().(type) {
	case string:
		quoteJSON(&w.b, w.g.text(v).String())
	case bool:
		w.b.WriteString(strconv.FormatBool(x))
	case int64:
		w.b.WriteString(strconv.FormatInt(x, 10))
	case float64:
		if math.IsNaN(x) || math.IsInf(x, 0) {
			w.b.WriteString("null")
		} else if x == 0 {
			w.b.WriteByte('0')
		} else {
			w.b.WriteString(v.String())
		}
	case *big.Int:
		panic(w.g.rt.NewTypeError("Do not know how to serialize a BigInt"))
	default:
		return false // symbols
	}
	return true
}

// quoteJSON writes s as JSON.stringify does.
func quoteJSON(b *strings.Builder, s string) {
	const hex = "0123456789abcdef"
	b.WriteByte('"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\b':
			b.WriteString(`\b`)
		case c == '\f':
			b.WriteString(`\f`)
		case c < ' ':
			b.WriteString(`\u00`)
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
}

// bigints bounds BigInts where the source speaks of them, and takes them away where not.
func (g *guard) bigints(global *goja.Object, wanted bool) {
	old, ok := global.Get("BigInt").(*goja.Object)
	if !ok || !wanted {
		must(global.Delete("BigInt"))
		must(g.prototype("BigInt").Delete("constructor"))
		return
	}
	proto := old.Get("prototype").(*goja.Object)
	call, _ := goja.AssertFunction(old)
	f := g.fn(func(c goja.FunctionCall) goja.Value {
		v := c.Argument(0)
		if o, ok := v.(*goja.Object); ok {
			v = g.text(o)
		}
		if s, ok := v.(goja.String); ok && s.Length() > maxBits/4 {
			g.refuse("BigInt of %d digits, want at most %d", s.Length(), maxBits/4)
		}
		return g.call(call, goja.Undefined(), v)
	}).(*goja.Object)
	for _, name := range []string{"asIntN", "asUintN"} {
		g.before(old, name, func(c *goja.FunctionCall) {
			if len(c.Arguments) > 0 {
				n := c.Arguments[0].ToNumber()
				if n.ToFloat() > maxBits {
					g.refuse("BigInt of %v bits, want at most %d", n, maxBits)
				}
				c.Arguments[0] = n
			}
		})
		must(f.DefineDataProperty(name, old.Get(name), goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE))
	}
	must(f.DefineDataProperty("prototype", proto, goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE))
	must(proto.DefineDataProperty("constructor", f, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE))
	must(global.DefineDataProperty("BigInt", f, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE))
}

// big is a*b, a**b or a<<b, of numbers or of BigInts of bounded size.
func (g *guard) big(op byte, x, y goja.Value) goja.Value {
	numeric := func(v goja.Value) goja.Value {
		if o, ok := v.(*goja.Object); ok {
			return o.ToNumber()
		}
		return v
	}
	x, y = numeric(x), numeric(y)
	a, isBig := x.Export().(*big.Int)
	b, both := y.Export().(*big.Int)
	if isBig != both {
		panic(g.rt.NewTypeError("Cannot mix BigInt and other types"))
	}
	if !isBig {
		switch op {
		case '*':
			return g.rt.ToValue(x.ToFloat() * y.ToFloat())
		case '^':
			f, e := x.ToFloat(), y.ToFloat()
			if math.IsNaN(e) || (f == 1 || f == -1) && math.IsInf(e, 0) {
				return g.rt.ToValue(math.NaN())
			}
			return g.rt.ToValue(math.Pow(f, e))
		}
		return g.rt.ToValue(int32(toUint32(x)) << (toUint32(y) & 31))
	}
	var bits int64
	out := new(big.Int)
	switch op {
	case '*':
		if bits = int64(a.BitLen() + b.BitLen()); bits <= maxBits {
			out.Mul(a, b)
		}
	case '^':
		if b.Sign() < 0 {
			g.refuse("BigInt to a negative power")
		}
		if bits = maxBits + 1; a.BitLen() <= 1 {
			bits = 1
		} else if b.IsInt64() && b.Int64() <= maxBits {
			bits = int64(a.BitLen()) * b.Int64()
		}
		if a.BitLen() <= 1 { // 0, 1 and -1
			switch {
			case b.Sign() == 0:
				out.SetInt64(1)
			case b.Bit(0) == 0:
				out.Mul(a, a)
			default:
				out.Set(a)
			}
		} else if bits <= maxBits {
			out.Exp(a, b, nil)
		}
	case '<':
		switch {
		case b.Sign() < 0 && b.IsInt64() && b.Int64() > -2*maxBits:
			out.Rsh(a, uint(-b.Int64()))
		case b.Sign() < 0:
			if a.Sign() < 0 {
				out.SetInt64(-1)
			}
		case b.IsInt64() && b.Int64() <= maxBits:
			if bits = int64(a.BitLen()) + b.Int64(); bits <= maxBits {
				out.Lsh(a, uint(b.Int64()))
			}
		default:
			bits = maxBits + 1
		}
	}
	if bits > maxBits {
		g.refuse("BigInt of more than %d bits", maxBits)
	}
	return g.rt.ToValue(out)
}

// toUint32 is ToUint32 of ECMAScript.
func toUint32(v goja.Value) uint32 {
	f := v.ToFloat()
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	f = math.Mod(math.Trunc(f), 1<<32)
	return uint32(int64(f))
}

package codec

import (
	"math"
	"reflect"
	"strconv"

	"github.com/dop251/goja"
)

// arrays guards what loops over the length of an array, which a script may set to four thousand
// million without an element in it.
func (g *guard) arrays(global *goja.Object) {
	p := g.prototype("Array")
	bounded := func(c *goja.FunctionCall) { c.This = g.elements(c.This) }
	for _, name := range []string{
		"every", "filter", "find", "findIndex", "findLast", "findLastIndex", "forEach", "map", "reduce",
		"reduceRight", "slice", "some", "toReversed", "with", "flatMap", "entries", "keys", "values",
	} {
		if name == "values" {
			continue // the same function as the iterator, which must stay the built-in one
		}
		g.before(p, name, bounded)
	}
	// These change this: what is only like an array is refused.
	own := func(c *goja.FunctionCall) {
		o, ok := c.This.(*goja.Object)
		if !ok || !isArray(o) {
			panic(g.rt.NewTypeError("this is not an array"))
		}
		g.length(o)
	}
	for _, name := range []string{"copyWithin", "fill", "reverse", "shift", "splice", "unshift", "toSpliced"} {
		g.before(p, name, own)
	}
	for _, name := range []string{"indexOf", "includes", "lastIndexOf"} {
		g.before(p, name, func(c *goja.FunctionCall) {
			c.This = g.elements(c.This)
			if s, ok := c.Argument(0).(goja.String); ok {
				if o, ok := c.This.(*goja.Object); ok {
					g.charge(int64(g.length(o)) * int64(s.Length()))
				}
			}
		})
	}
	g.before(p, "sort", func(c *goja.FunctionCall) { own(c); g.comparator(c) })
	g.before(p, "toSorted", func(c *goja.FunctionCall) { own(c); g.comparator(c) })
	g.before(p, "concat", func(c *goja.FunctionCall) {
		c.This = g.elements(c.This)
		for i, a := range c.Arguments {
			if o, ok := a.(*goja.Object); ok && isArray(o) {
				g.length(o)
			} else if ok && o.GetSymbol(goja.SymIsConcatSpreadable) != nil {
				c.Arguments[i] = g.elements(a)
			}
		}
	})
	join := func(c goja.FunctionCall) goja.Value { return g.join(c.This, c.Argument(0)) }
	locale := func(c goja.FunctionCall) goja.Value { return g.join(c.This, goja.Undefined()) }
	g.replace(p, "join", join)
	g.replace(p, "toLocaleString", locale)
	g.replace(p, "flat", func(c goja.FunctionCall) goja.Value {
		depth := int64(1)
		if d := c.Argument(0); !goja.IsUndefined(d) {
			depth = d.ToInteger()
		}
		var out []any
		g.flat(c.This, min(depth, maxNested), &out)
		return g.rt.NewArray(out...)
	})
	array := global.Get("Array").(*goja.Object)
	g.before(array, "from", g.listArg(0))
	if array.Get("fromAsync") != nil {
		must(array.Delete("fromAsync"))
	}
}

// flat appends the elements of v, and of the arrays in it depth levels down.
func (g *guard) flat(v goja.Value, depth int64, out *[]any) {
	o, ok := g.elements(v).(*goja.Object)
	if !ok {
		return
	}
	for i := range g.length(o) {
		e := o.Get(strconv.Itoa(i))
		if e == nil {
			continue
		}
		if inner, ok := e.(*goja.Object); ok && depth > 0 && isArray(inner) {
			g.flat(e, depth-1, out)
			continue
		}
		if len(*out) >= maxElements {
			g.refuse("more than %d elements", maxElements)
		}
		*out = append(*out, e)
	}
}

// join is Array.prototype.join over bounded parts.
func (g *guard) join(this, separator goja.Value) goja.Value {
	o := this.ToObject(g.rt)
	sep := goja.String(goja.StringFromUTF16([]uint16{','}))
	if !goja.IsUndefined(separator) {
		sep = g.text(separator)
	}
	var b goja.StringBuilder
	size := 0
	for i := range g.length(o) {
		if i > 0 {
			size += sep.Length()
			b.WriteString(sep)
		}
		if e := o.Get(strconv.Itoa(i)); e != nil && !goja.IsUndefined(e) && !goja.IsNull(e) {
			s := g.text(e)
			size += s.Length()
			b.WriteString(s)
		}
		if size > maxString {
			g.refuse("string of more than %d characters", maxString)
		}
	}
	return b.String()
}

// comparator gives a sort without one of its own a comparator that counts what it compares.
func (g *guard) comparator(c *goja.FunctionCall) {
	if !goja.IsUndefined(c.Argument(0)) {
		return
	}
	compare := g.rt.ToValue(func(c goja.FunctionCall) goja.Value {
		a, b := g.text(c.Argument(0)), g.text(c.Argument(1))
		return g.rt.ToValue(a.CompareTo(b))
	})
	if len(c.Arguments) == 0 {
		c.Arguments = []goja.Value{compare}
	} else {
		c.Arguments[0] = compare
	}
}

var bufferType = reflect.TypeFor[goja.ArrayBuffer]()

// typedArrays are the constructors and the bytes of an element.
var typedArrays = map[string]int{
	"Int8Array": 1, "Uint8Array": 1, "Uint8ClampedArray": 1, "Int16Array": 2, "Uint16Array": 2, "Int32Array": 4,
	"Uint32Array": 4, "Float32Array": 4, "Float64Array": 8, "BigInt64Array": 8, "BigUint64Array": 8, "Float16Array": 2,
}

// buffers bounds array buffers, typed arrays and their methods.
func (g *guard) buffers(global, tools *goja.Object, bigints bool) {
	common := tools.Get("typed").(*goja.Object)
	proto := common.Get("prototype").(*goja.Object)
	size := func(v goja.Value, each int) {
		if f := v.ToFloat(); !(f*float64(each) <= maxBuffer) && !math.IsNaN(f) {
			g.refuse("%v elements of %d bytes, want at most %d bytes", f, each, maxBuffer)
		}
		g.charge(max(v.ToInteger(), 0) * int64(each))
	}
	g.construct(global, "ArrayBuffer", func(args []goja.Value) []goja.Value {
		if len(args) > 0 {
			n := args[0].ToNumber()
			size(n, 1)
			args = []goja.Value{n} // not resizable
		}
		return args
	})
	buffer := g.prototype("ArrayBuffer")
	for _, name := range []string{"resize", "transfer", "transferToFixedLength"} {
		if buffer.Get(name) != nil {
			must(buffer.Delete(name))
		}
	}
	for name, each := range typedArrays {
		if global.Get(name) == nil {
			continue
		}
		if !bigints && (name == "BigInt64Array" || name == "BigUint64Array") {
			must(global.Delete(name))
			continue
		}
		g.construct(global, name, func(args []goja.Value) []goja.Value {
			if len(args) == 0 {
				return args
			}
			o, ok := args[0].(*goja.Object)
			if !ok {
				n := args[0]
				if !goja.IsUndefined(n) && !goja.IsNull(n) {
					n = n.ToNumber()
					size(n, each)
				}
				return append([]goja.Value{n}, args[1:]...)
			}
			if o.ExportType() == bufferType {
				return args
			}
			list := g.list(o)
			if l, ok := list.(*goja.Object); ok {
				size(l.Get("length"), each)
			}
			return append([]goja.Value{list}, args[1:]...)
		})
	}
	g.before(common, "from", g.listArg(0))
	must(proto.DefineDataProperty("toString", g.fn(func(c goja.FunctionCall) goja.Value {
		return g.join(c.This, goja.Undefined())
	}), goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE))
	g.replace(proto, "join", func(c goja.FunctionCall) goja.Value { return g.join(c.This, c.Argument(0)) })
	g.replace(proto, "toLocaleString", func(c goja.FunctionCall) goja.Value { return g.join(c.This, goja.Undefined()) })
	g.before(proto, "set", func(c *goja.FunctionCall) {
		if o, ok := c.Argument(0).(*goja.Object); ok {
			c.Arguments[0] = g.elements(o)
		}
	})
	for _, name := range []string{"every", "filter", "find", "findIndex", "findLast", "findLastIndex", "forEach", "map", "reduce", "reduceRight", "some", "sort", "slice", "fill"} {
		g.before(proto, name, func(*goja.FunctionCall) { g.charge(maxBuffer / 64) })
	}
	if view, ok := g.rt.Get("DataView").(*goja.Object); ok && !bigints {
		p := view.Get("prototype").(*goja.Object)
		for _, name := range []string{"getBigInt64", "getBigUint64", "setBigInt64", "setBigUint64"} {
			if p.Get(name) != nil {
				must(p.Delete(name))
			}
		}
	}
}

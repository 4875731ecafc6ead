package codec

import (
	"fmt"
	"sync/atomic"

	"github.com/dop251/goja"
)

// Bounds of what one built-in function may be given or make. Payloads have 242 bytes: no codec that
// decodes them comes near.
const (
	maxElements = 16 << 10  // elements of an array, array-like or iterable
	maxString   = 256 << 10 // UTF-16 units of a string
	maxBuffer   = 64 << 10  // bytes of a typed array
	maxWork     = 64 << 20  // units of work of one call; a unit is about a nanosecond
	maxNested   = 100       // built-in functions under way, one in another
	maxBits     = 1024      // of a BigInt
)

// A breach ends a call from within a built-in function. Scripts cannot catch it.
type breach struct{ err *Error }

// A guarded runtime's built-in functions loop and allocate in Go, where an interrupt does not
// reach: a guard checks what they are given, does those itself whose cost is a product of what they
// are given, and counts the work.
type guard struct {
	rt     *goja.Runtime
	stop   atomic.Pointer[Error] // set by the watch: end at the next built-in or instruction
	work   int64                 // done in this call
	nested int
	protos *goja.Object // prototypes by the name of their constructor
	regexp int64        // cost of the costliest regular expression there is
}

// charge counts n units of work.
func (g *guard) charge(n int64) {
	if g.work += n; g.work > maxWork || n < 0 {
		panic(breach{errorf(ReasonMemory, "built-in functions were given more than %d units of work", maxWork)})
	}
	if e := g.stop.Load(); e != nil {
		panic(breach{e})
	}
}

// refuse throws a RangeError into the script.
func (g *guard) refuse(format string, args ...any) {
	err, e := g.rt.New(g.rt.Get("RangeError"), g.rt.ToValue(fmt.Sprintf(format, args...)))
	if e != nil {
		panic(g.rt.NewTypeError(fmt.Sprintf(format, args...)))
	}
	panic(err)
}

func (g *guard) enter() {
	if g.nested++; g.nested > maxNested {
		panic(breach{errorf(ReasonMemory, "built-in functions call each other deeper than %d", maxNested)})
	}
}

func (g *guard) leave() { g.nested-- }

// fn makes a guarded native function.
func (g *guard) fn(f func(goja.FunctionCall) goja.Value) goja.Value {
	return g.rt.ToValue(func(c goja.FunctionCall) goja.Value {
		g.enter()
		defer g.leave()
		g.charge(10)
		return f(c)
	})
}

// replace puts f in the place of o[name].
func (g *guard) replace(o *goja.Object, name string, f func(goja.FunctionCall) goja.Value) {
	if v := o.Get(name); v != nil {
		must(o.DefineDataProperty(name, g.fn(f), goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE))
	}
}

// before puts a function in the place of o[name] that calls check, which may change what it is
// given, and then the original. A name that does not exist is left alone.
func (g *guard) before(o *goja.Object, name string, check func(*goja.FunctionCall)) {
	v := o.Get(name)
	if v == nil {
		return
	}
	// The Go function itself: called by way of goja.AssertFunction it would take twice the time.
	original, ok := v.Export().(func(goja.FunctionCall) goja.Value)
	if !ok {
		return
	}
	g.replace(o, name, func(c goja.FunctionCall) goja.Value {
		check(&c)
		return original(c)
	})
}

// call calls f and throws on what it throws.
func (g *guard) call(f goja.Callable, this goja.Value, args ...goja.Value) goja.Value {
	v, err := f(this, args...)
	if err != nil {
		panic(err)
	}
	return v
}

func must(err error) {
	if err != nil {
		panic("BUG: " + err.Error())
	}
}

// text returns v as a string that is short enough.
func (g *guard) text(v goja.Value) goja.String {
	s, ok := v.(goja.String)
	if !ok {
		s = g.rt.ToValue(v.String()).(goja.String)
	}
	if s.Length() > maxString {
		g.refuse("string of %d characters, want at most %d", s.Length(), maxString)
	}
	g.charge(int64(s.Length()) / 8)
	return s
}

// arg returns argument i as text in place, so that it is not turned into one again.
func (g *guard) arg(c *goja.FunctionCall, i int) goja.String {
	s := g.text(c.Argument(i))
	c.Arguments[i] = s
	return s
}

// length returns the length property of o, bounded.
func (g *guard) length(o *goja.Object) int {
	v := o.Get("length")
	if v == nil {
		return 0
	}
	f := v.ToFloat()
	if !(f < maxElements+1) && f == f {
		g.refuse("%v elements, want at most %d", f, maxElements)
	}
	n := max(int(v.ToInteger()), 0)
	g.charge(int64(n))
	return n
}

func isArray(o *goja.Object) bool { return o.ClassName() == "Array" }

// elements returns this as a true array of bounded length: itself, or a copy of what is only like
// one, whose length could be anything the next time it is asked.
func (g *guard) elements(this goja.Value) goja.Value {
	o, ok := this.(*goja.Object)
	if !ok {
		if s, ok := this.(goja.String); ok && s.Length() > maxMessage {
			g.refuse("method of arrays on a string of %d characters, want at most %d", s.Length(), maxMessage)
		}
		return this
	}
	n := g.length(o)
	if isArray(o) {
		return this
	}
	items := make([]any, n)
	for i := range items {
		items[i] = o.Get(fmt.Sprint(i))
	}
	return g.rt.NewArray(items...)
}

// list returns what v iterates over, or is like an array of, as a fresh array of bounded length.
func (g *guard) list(v goja.Value) goja.Value {
	if goja.IsUndefined(v) || goja.IsNull(v) {
		return v
	}
	o, ok := v.(*goja.Object)
	if ok {
		if it := o.GetSymbol(goja.SymIterator); it == nil || goja.IsUndefined(it) || goja.IsNull(it) {
			return g.elements(v)
		}
	}
	var items []any
	g.rt.ForOf(v, func(item goja.Value) bool {
		if len(items) >= maxElements {
			g.refuse("more than %d elements", maxElements)
		}
		g.charge(1)
		items = append(items, item)
		return true
	})
	return g.rt.NewArray(items...)
}

// install guards a new runtime; tools is what harden.js made.
func (g *guard) install(s *script, tools *goja.Object) {
	g.protos = tools.Get("protos").(*goja.Object)
	g.regexp = int64(max(s.regexpCost, 1))
	global := g.rt.GlobalObject()
	// What can run code or reach originals behind the guards, and what codecs have no use for.
	for _, name := range []string{"Proxy", "Reflect", "WeakRef", "FinalizationRegistry", "SharedArrayBuffer", "Atomics", "AggregateError", "Iterator"} {
		must(global.Delete(name))
	}
	g.functions(global, tools)
	g.arrays(global)
	g.strings(global)
	g.buffers(global, tools, s.bigints)
	g.collections(global)
	g.json(global)
	g.bigints(global, s.bigints)
	hidden := func(name string, f func(goja.FunctionCall) goja.Value) {
		must(global.DefineDataProperty(name, g.fn(f), goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE))
	}
	hidden(guardSpread, func(c goja.FunctionCall) goja.Value { return g.list(c.Argument(0)) })
	hidden(guardCopy, func(c goja.FunctionCall) goja.Value { g.members(c.Argument(0)); return c.Argument(0) })
	if s.bigints {
		hidden(guardMul, func(c goja.FunctionCall) goja.Value { return g.big('*', c.Argument(0), c.Argument(1)) })
		hidden(guardPow, func(c goja.FunctionCall) goja.Value { return g.big('^', c.Argument(0), c.Argument(1)) })
		hidden(guardShl, func(c goja.FunctionCall) goja.Value { return g.big('<', c.Argument(0), c.Argument(1)) })
	}
	// The iterator of arrays is what bounded spreads rely on.
	array := g.prototype("Array")
	it := array.GetSymbol(goja.SymIterator)
	must(array.DefineDataPropertySymbol(goja.SymIterator, it, goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE))
	next := tools.Get("iterators").(*goja.Object)
	must(next.DefineDataProperty("next", next.Get("next"), goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE))
}

// prototype returns the prototype object of a global constructor.
func (g *guard) prototype(name string) *goja.Object {
	return g.protos.Get(name).(*goja.Object)
}

// construct puts a constructor in the place of the global called name that calls check first. The
// new one shares the prototype and the static members of the old, which nothing else leads to.
func (g *guard) construct(global *goja.Object, name string, check func(args []goja.Value) []goja.Value) {
	old, ok := global.Get(name).(*goja.Object)
	if !ok { // not named by the script: nor is it to be had from what literals make
		if p, ok := g.protos.Get(name).(*goja.Object); ok {
			must(p.Delete("constructor"))
		}
		return
	}
	proto := old.Get("prototype").(*goja.Object)
	ctor := g.rt.ToValue(func(c goja.ConstructorCall) *goja.Object {
		g.enter()
		defer g.leave()
		g.charge(10)
		o, err := g.rt.New(old, check(c.Arguments)...)
		if err != nil {
			panic(err)
		}
		if c.NewTarget != nil && c.This.Prototype() != proto && c.This.Prototype() != nil && c.NewTarget != old {
			if p, ok := c.NewTarget.Get("prototype").(*goja.Object); ok && p != proto {
				must(o.SetPrototype(p))
			}
		}
		return o
	}).(*goja.Object)
	must(ctor.SetPrototype(old.Prototype()))
	for _, key := range old.GetOwnPropertyNames() {
		switch key {
		case "length", "name", "prototype", "caller", "arguments":
			continue
		}
		must(ctor.DefineDataProperty(key, old.Get(key), goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE))
	}
	must(ctor.DefineDataProperty("name", g.rt.ToValue(name), goja.FLAG_FALSE, goja.FLAG_TRUE, goja.FLAG_FALSE))
	must(ctor.DefineDataProperty("prototype", proto, goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE))
	must(proto.DefineDataProperty("constructor", ctor, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE))
	must(global.DefineDataProperty(name, ctor, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE))
}

// functions takes the ways to run text as code, and bounds the lists that calls take.
func (g *guard) functions(global, tools *goja.Object) {
	none := func(what string) func(goja.FunctionCall) goja.Value {
		return func(goja.FunctionCall) goja.Value {
			panic(g.rt.NewTypeError("%s is not available to codecs", what))
		}
	}
	g.replace(global, "eval", none("eval"))
	kinds := tools.Get("kinds").(*goja.Object)
	for i := range 3 {
		proto := kinds.Get(fmt.Sprint(i)).(*goja.Object)
		f := g.fn(none("a function made of text")).(*goja.Object)
		must(f.DefineDataProperty("prototype", proto, goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE))
		must(proto.DefineDataProperty("constructor", f, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE))
		if i == 0 {
			must(global.DefineDataProperty("Function", f, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE))
		}
	}
	g.before(g.prototype("Function"), "apply", func(c *goja.FunctionCall) {
		if len(c.Arguments) > 1 {
			c.Arguments[1] = g.elements(c.Arguments[1])
		}
	})
	object := global.Get("Object").(*goja.Object)
	must(object.Delete("getOwnPropertySymbols"))
	g.symbols(global)
	for _, name := range []string{"fromEntries", "groupBy"} {
		g.before(object, name, g.listArg(0))
	}
	// These make an object or an array of every character of a string.
	for _, name := range []string{
		"assign", "entries", "values", "keys", "getOwnPropertyNames", "getOwnPropertyDescriptors", "defineProperties", "create", "freeze", "seal",
		"isFrozen", "isSealed", "preventExtensions",
	} {
		g.before(object, name, func(c *goja.FunctionCall) {
			for _, a := range c.Arguments {
				g.members(a)
			}
		})
	}
}

// members refuses a value with too many members for all of them to be copied.
func (g *guard) members(v goja.Value) {
	s, ok := v.(goja.String)
	if o, boxed := v.(*goja.Object); boxed {
		switch o.ClassName() {
		case "String":
			s, ok = o.ToString().(goja.String)
		case "Array":
			g.charge(int64(min(o.Get("length").ToInteger(), maxElements)))
		}
	}
	if ok && s.Length() > maxElements {
		g.refuse("members of a string of %d characters, want at most %d", s.Length(), maxElements)
	}
}

// listArg bounds argument i, a list.
func (g *guard) listArg(i int) func(*goja.FunctionCall) {
	return func(c *goja.FunctionCall) {
		if len(c.Arguments) > i {
			c.Arguments[i] = g.list(c.Arguments[i])
		}
	}
}

// symbols replaces Symbol by one without the well-known symbols through which methods of regular
// expressions and the making of arrays could be reached around the guards.
func (g *guard) symbols(global *goja.Object) {
	old := global.Get("Symbol").(*goja.Object)
	call, _ := goja.AssertFunction(old)
	f := g.fn(func(c goja.FunctionCall) goja.Value { return g.call(call, goja.Undefined(), c.Arguments...) }).(*goja.Object)
	for _, name := range []string{"iterator", "asyncIterator", "toPrimitive", "toStringTag", "hasInstance", "for", "keyFor"} {
		if v := old.Get(name); v != nil {
			must(f.DefineDataProperty(name, v, goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE))
		}
	}
	proto := old.Get("prototype").(*goja.Object)
	must(f.DefineDataProperty("prototype", proto, goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE))
	must(proto.DefineDataProperty("constructor", f, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE))
	must(global.DefineDataProperty("Symbol", f, goja.FLAG_TRUE, goja.FLAG_TRUE, goja.FLAG_FALSE))
}

// collections bounds what maps, sets and promises are made of.
func (g *guard) collections(global *goja.Object) {
	first := func(args []goja.Value) []goja.Value {
		if len(args) > 0 {
			args = append([]goja.Value{g.list(args[0])}, args[1:]...)
		}
		return args
	}
	for _, name := range []string{"Map", "Set", "WeakMap", "WeakSet"} {
		g.construct(global, name, first)
	}
	if m, ok := global.Get("Map").(*goja.Object); ok {
		g.before(m, "groupBy", g.listArg(0))
	}
	if p, ok := global.Get("Promise").(*goja.Object); ok {
		for _, name := range []string{"all", "allSettled", "any", "race"} {
			g.before(p, name, g.listArg(0))
		}
	}
}

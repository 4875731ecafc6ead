package codec

import (
	_ "embed"
	"errors"
	"fmt"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dlclark/regexp2/v2"
	"github.com/dop251/goja"
)

// The engine's regular expressions backtrack where Go's own cannot express one, and have no other
// limit than this variable, which the interpreter offers no way to set for one expression.
func init() { regexp2.DefaultMatchTimeout = CallTime }

// Bounds of running a script.
const (
	// CallTime is how long one call may take.
	CallTime = 100 * time.Millisecond
	loadTime = time.Second      // to run the top level of a script, which may build tables
	graceFor = 2 * time.Second  // from the end of a call's time until it is given up as stuck
	watchAt  = time.Millisecond // how often a call under way is looked at; most have ended by then
	maxHeap  = 32 << 20         // growth of the process's heap during a call that is looked at
	lifetime = CallTime         // of calls, after which a runtime is replaced: what it kept is gone
	maxStack = 400              // script functions under way, one in another
)

//go:embed prelude.js
var preludeSource string

//go:embed harden.js
var hardenSource string

var (
	prelude  = sync.OnceValue(func() *goja.Program { return goja.MustCompile("prelude.js", preludeSource, false) })
	harden   = sync.OnceValue(func() *goja.Program { return goja.MustCompile("harden.js", hardenSource, false) })
	entries  = sync.OnceValue(func() *goja.Program { return goja.MustCompile("entries.js", entriesSource(), false) })
	octets   = sync.OnceValue(makeOctets)
	booleans = [2]goja.Value{goja.New().ToValue(false), goja.New().ToValue(true)}
)

// entryNames are the functions a script may have, in the order of the indices below.
var entryNames = []string{"decodeUplink", "Decoder", "Decode", "normalizeUplink", "encodeDownlink", "Encoder", "Encode", "decodeDownlink"}

const (
	entryDecodeUplink = iota
	entryDecoder
	entryDecode
	entryNormalize
	entryEncodeDownlink
	entryEncoder
	entryEncode
	entryDecodeDownlink
	entryCount
)

func entriesSource() string {
	var b strings.Builder
	for _, n := range entryNames {
		fmt.Fprintf(&b, "typeof %s === 'function' ? %s : undefined,", n, n)
	}
	return "[" + b.String() + "]"
}

func makeOctets() (v [256]any) {
	rt := goja.New()
	for i := range v {
		v[i] = rt.ToValue(i)
	}
	return v
}

// A jsRuntime is one interpreter with a script loaded. One call at a time.
type jsRuntime struct {
	rt      *goja.Runtime
	guard   *guard
	host    host
	entry   [entryCount]goja.Callable
	newDate goja.Callable // milliseconds to a Date that is also a text
	// What of its input the script names; the rest is not made.
	recvNamed, varsNamed bool
	recv                 time.Time
	recvDate             *goja.Object
	ran                  time.Duration // of all calls
	tick                 *time.Timer
	done                 chan *Error
	begun                atomic.Bool // the call under way has been given a processor
	res                  Result
	path                 []byte
	names                map[string]string // metric names seen, each made once
}

// newRuntime makes a runtime and runs the script's top level, within limit.
func newRuntime(s *script, limit time.Duration) (*jsRuntime, *Error) {
	rt := goja.New()
	rt.SetMaxCallStackSize(maxStack)
	r := &jsRuntime{rt: rt, recvNamed: s.recvTime, varsNamed: s.variables, guard: &guard{rt: rt}, tick: time.NewTimer(time.Hour), done: make(chan *Error, 1)}
	r.tick.Stop()
	r.host.g = r.guard
	err := r.run(limit, func() error {
		must(rt.Set("console", rt.NewObject())) // its place; the host fills it
		hardening, err := rt.RunProgram(harden())
		if err != nil {
			return err
		}
		tools := hardening.(*goja.Object)
		trim(tools.Get("held").(*goja.Object), s.unnamed)
		r.guard.install(s, tools)
		r.host.install(rt.Get("console").(*goja.Object), s.host)
		r.newDate, _ = goja.AssertFunction(tools.Get("date"))
		text, _ := goja.AssertFunction(tools.Get("times"))
		if _, err := text(goja.Undefined(), r.guard.fn(func(c goja.FunctionCall) goja.Value {
			return rt.ToValue(r.timeText(c.Argument(0)))
		})); err != nil {
			return err
		}
		if _, err := rt.RunProgram(s.prog); err != nil {
			return err
		}
		freeze, _ := goja.AssertFunction(tools.Get("freeze"))
		if _, err := freeze(goja.Undefined()); err != nil {
			return err
		}
		found, err := rt.RunProgram(entries())
		if err != nil {
			return err
		}
		for i := range r.entry {
			r.entry[i], _ = goja.AssertFunction(found.(*goja.Object).Get(fmt.Sprint(i)))
		}
		return nil
	})
	r.ran = 0
	if err != nil {
		err.Detail = "loading: " + err.Detail
		return nil, err
	}
	return r, nil
}

// timeText is the text of a Date: the receive time as it was handed in, any other as ISO 8601.
func (r *jsRuntime) timeText(v goja.Value) string {
	if o, ok := v.(*goja.Object); ok && o.ClassName() == "Date" {
		if o == r.recvDate && !r.recv.IsZero() {
			return r.recv.Format(time.RFC3339Nano)
		}
		if t, ok := o.Export().(time.Time); ok {
			return t.UTC().Format("2006-01-02T15:04:05.000Z")
		}
	}
	return ""
}

// run runs f on a goroutine of its own and watches it: beyond limit, or when the heap grows too
// far, it is interrupted. A built-in function that does not even heed that is given up: run returns
// and the goroutine ends whenever it ends. After an error that spoiled says so of, the runtime is
// not to be used again.
func (r *jsRuntime) run(limit time.Duration, f func() error) *Error {
	r.guard.work, r.guard.nested = 0, 0
	r.host.lines = nil
	start := time.Now()
	r.begun.Store(false)
	go func() {
		r.begun.Store(true)
		r.done <- r.protect(f)
	}()
	r.tick.Reset(watchAt)
	var err *Error
	var heap heapWatch
	var had time.Duration // processor time of the process at the start
	for waiting := true; waiting; {
		select {
		case err = <-r.done:
			waiting = false
		case <-r.tick.C:
			ran := time.Since(start)
			if had == 0 {
				had = cpuTime() - watchAt
			}
			if ran > limit+graceFor {
				err = errorf(ReasonTimeout, "stuck after %v, given up", ran.Round(time.Millisecond))
				err.stuck = true
				return err
			}
			if r.guard.stop.Load() == nil {
				var stop *Error
				// On a machine that has no time for us, a call is not to blame for the clock: it has
				// had its time when the process has.
				if ran >= limit && (r.begun.Load() && cpuTime()-had >= limit || ran >= limit+graceFor/2) {
					stop = errorf(ReasonTimeout, "still running after %v", limit)
				} else if grown := heap.grown(); grown > maxHeap {
					stop = errorf(ReasonMemory, "the heap grew by %d MiB while it ran, want at most %d", grown>>20, maxHeap>>20)
				}
				if stop != nil {
					r.guard.stop.Store(stop)
					r.rt.Interrupt(stop)
				}
			}
			r.tick.Reset(watchAt)
		}
	}
	r.tick.Stop()
	r.ran += time.Since(start)
	if stop := r.guard.stop.Load(); stop != nil {
		if stop.Reason == ReasonMemory {
			runtime.GC() // the garbage of one such call must not lie there when the next comes
		}
		return stop // even where the call made it to its end just then: the runtime was interrupted
	}
	return err
}

// protect runs f and makes an *Error of whatever ends it.
func (r *jsRuntime) protect(f func() error) (out *Error) {
	defer func() {
		switch x := recover().(type) {
		case nil:
		case breach:
			out = x.err
		case error:
			out = r.asError(x)
		default:
			out = errorf(ReasonMemory, "the interpreter gave up: %.200v", x)
		}
	}()
	if err := f(); err != nil {
		return r.asError(err)
	}
	return nil
}

func (r *jsRuntime) asError(err error) *Error {
	var own *Error
	var interrupted *goja.InterruptedError
	var overflow *goja.StackOverflowError
	var thrown *goja.Exception
	switch {
	case errors.As(err, &own):
		return own
	case errors.As(err, &interrupted):
		if e, ok := interrupted.Value().(*Error); ok {
			return e
		}
		return errorf(ReasonTimeout, "interrupted")
	case errors.As(err, &overflow):
		return errorf(ReasonMemory, "functions call each other deeper than %d", maxStack)
	case errors.As(err, &thrown):
		return errorf(ReasonThrow, "%s", thrownText(thrown))
	}
	return errorf(ReasonMemory, "the interpreter gave up: %.200v", err)
}

// thrownText describes what was thrown without calling anything of the script.
func thrownText(e *goja.Exception) string {
	text := ""
	switch v := e.Value().(type) {
	case nil:
	case *goja.Object:
		text = v.ClassName()
		for _, key := range []string{"name", "message"} {
			if s, ok := plainString(v, key); ok {
				if key == "message" && text != "" {
					text += ": "
				} else {
					text = ""
				}
				text += s
			}
		}
	case *goja.Symbol:
		text = "a symbol"
	default:
		text = v.String()
	}
	if stack := e.Stack(); len(stack) > 0 {
		for _, f := range stack {
			if p := f.Position(); p.Line > 0 {
				return fmt.Sprintf("%s (line %d, column %d)", clip(text), p.Line, p.Column)
			}
		}
	}
	return text
}

// plainString reads a string member by the prototype chain of errors.
func plainString(o *goja.Object, key string) (s string, ok bool) {
	defer func() {
		if recover() != nil {
			s, ok = "", false
		}
	}()
	v := o.Get(key)
	if str, isText := v.(goja.String); isText && str.Length() < 1024 {
		return str.String(), true
	}
	return "", false
}

// spoiled reports whether a runtime is to be thrown away after err.
func spoiled(err *Error) bool {
	return err != nil && (err.Reason == ReasonTimeout || err.Reason == ReasonMemory)
}

// A heapWatch follows the size of the process's heap. It cannot tell who grew it: a call that ran
// into a spurt of somebody else's is stopped too, which takes a call of some milliseconds to begin
// with.
type heapWatch struct {
	sample [1]metrics.Sample
	least  uint64
}

func (h *heapWatch) grown() uint64 {
	h.sample[0].Name = "/memory/classes/heap/objects:bytes"
	metrics.Read(h.sample[:])
	now := h.sample[0].Value.Uint64()
	if h.least == 0 || now < h.least {
		h.least = now
	}
	return now - h.least
}

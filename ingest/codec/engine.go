package codec

import (
	"container/list"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Bounds of an engine.
const (
	// maxIdle is how many runtimes wait for their next call, those of all codecs together. One takes
	// about 200 KiB; a script called again after its runtime went gets a new one in about a millisecond.
	maxIdle = 256
	// perCodec is how many calls of one codec may be under way: a slow script holds that many places
	// and no more.
	perCodec = 2
	// strikesOut is how many calls in a row may break their bounds before a codec is suspended.
	strikesOut = 3
	restLeast  = time.Second
	restMost   = time.Minute
)

// An engine compiles scripts, each once, and shares a bounded number of idle runtimes among them.
// It starts no goroutine but for calls.
type engine struct {
	mu      sync.Mutex
	scripts map[[sha256.Size]byte]*jsCodec // by source and mode
	idle    *list.List                     // of *idleRuntime, the one used last in front
	maxIdle int
	places  chan struct{} // calls under way, of all codecs

	// Times that a test may stretch: a machine may stand still for longer.
	load, life, rest time.Duration // loadTime, lifetime, restLeast
}

type idleRuntime struct {
	codec *jsCodec
	r     *jsRuntime
}

func newEngine() *engine {
	return &engine{
		scripts: map[[sha256.Size]byte]*jsCodec{}, idle: list.New(), maxIdle: maxIdle,
		places: make(chan struct{}, max(4, 2*runtime.GOMAXPROCS(0))),
		load:   loadTime, life: lifetime, rest: restLeast,
	}
}

var shared = sync.OnceValue(newEngine)

// Compile is the package's Compile with the scripts of e.
func (e *engine) Compile(raw json.RawMessage) (Codec, error) {
	source, fresh, cayenne, layout, err := parse(raw)
	switch {
	case err != nil:
		return nil, err
	case cayenne:
		return cayenneCodec{}, nil
	case layout != nil:
		return compileLayout(layout)
	}
	return e.javascript(source, fresh)
}

// javascript compiles a script, or returns the codec that it already is.
func (e *engine) javascript(source string, fresh bool) (*jsCodec, error) {
	key := sha256.Sum256(fmt.Appendf(nil, "%t\n%s", fresh, source))
	e.mu.Lock()
	c := e.scripts[key]
	e.mu.Unlock()
	if c != nil {
		return c, nil
	}
	s, err := compile(source)
	if err != nil {
		return nil, err
	}
	c = &jsCodec{engine: e, script: s, fresh: fresh, key: key, places: make(chan struct{}, perCodec)}
	// Loading it once tells an operator at once what a first uplink would tell later.
	r, rerr := newRuntime(s, e.load)
	if rerr != nil {
		return nil, fmt.Errorf("script: %w", rerr)
	}
	if r.entry[entryDecodeUplink] == nil && r.entry[entryDecoder] == nil && r.entry[entryDecode] == nil {
		return nil, fmt.Errorf("script: none of decodeUplink(input), Decode(fPort, bytes) and Decoder(bytes, port) is a function of it")
	}
	c.put(r, nil)
	e.mu.Lock()
	defer e.mu.Unlock()
	if had := e.scripts[key]; had != nil {
		return had, nil
	}
	e.scripts[key] = c
	return c, nil
}

// forget drops the script of c and its idle runtimes. Calls under way end as they would.
func (e *engine) forget(c *jsCodec) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.scripts[c.key] == c {
		delete(e.scripts, c.key)
	}
	for _, el := range c.idle {
		e.idle.Remove(el)
	}
	c.idle, c.gone = nil, true
}

// get takes an idle runtime of c, or makes one.
func (c *jsCodec) get() (*jsRuntime, *Error) {
	if !c.fresh {
		e := c.engine
		e.mu.Lock()
		if n := len(c.idle); n > 0 {
			el := c.idle[n-1]
			c.idle[n-1] = nil
			c.idle = c.idle[:n-1]
			e.idle.Remove(el)
			e.mu.Unlock()
			return el.Value.(*idleRuntime).r, nil
		}
		e.mu.Unlock()
	}
	return newRuntime(c.script, c.engine.load)
}

// put keeps r for the next call, unless its time is up.
func (c *jsCodec) put(r *jsRuntime, err *Error) {
	if spoiled(err) || c.fresh || r.ran > c.engine.life {
		return
	}
	e := c.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if c.gone {
		return
	}
	c.idle = append(c.idle, e.idle.PushFront(&idleRuntime{c, r}))
	if e.idle.Len() > e.maxIdle {
		el := e.idle.Back()
		e.idle.Remove(el)
		old := el.Value.(*idleRuntime).codec
		old.idle = slices.DeleteFunc(old.idle, func(have *list.Element) bool { return have == el })
	}
}

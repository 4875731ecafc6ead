package codec

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"
)

// crawler finds every function that a script can reach and calls the one that byte 0 and 1 number
// with the this of byte 2 and all lists of arguments, from the last if byte 3 is set.
const crawler = `
var functions = [], names = [], seen = new Set();
(function crawl(o, path, depth) {
  if (o === null || typeof o !== 'object' && typeof o !== 'function' || seen.has(o) || depth > 6) return;
  seen.add(o);
  if (typeof o === 'function' && path.indexOf('decodeUplink') < 0) { functions.push(o); names.push(path); }
  Object.getOwnPropertyNames(o).forEach(function (k) {
    if (/functions|names|seen|bigs|thises|lists|text|quarter|wide/.test(k) && depth === 0) return;
    var d = Object.getOwnPropertyDescriptor(o, k);
    if (d.get) crawl(d.get, path + '.get ' + k, depth + 1);
    if (d.set) crawl(d.set, path + '.set ' + k, depth + 1);
    crawl(d.value, path + '.' + k, depth + 1);
  });
  crawl(Object.getPrototypeOf(o), path + '.__proto__', depth + 1);
})(globalThis, '', 0);
[[[][Symbol.iterator](), 'array iterator'], [function* () {}, 'generator'], [function* () {}(), 'generator object'], [async function () {}, 'async'],
 [new Map().entries(), 'map iterator'], [new Set().entries(), 'set iterator'], [''[Symbol.iterator](), 'string iterator'], ['a'.matchAll(/a/g), 'matches']].forEach(function (e) {
  for (var o = e[0]; o && !seen.has(o); o = Object.getPrototypeOf(o)) {
    seen.add(o);
    Object.getOwnPropertyNames(o).forEach(function (k) {
      if (typeof o[k] === 'function' && functions.indexOf(o[k]) < 0) { functions.push(o[k]); names.push(e[1] + '.' + k); }
    });
  }
});
var text = 'x'; for (var i = 0; i < 19; i++) text += text;
var quarter = 'x'.repeat(262144), wide = text + '\u1234';
function bigs() {
  var sparse = []; sparse.length = 4294967295;
  return { sparse: sparse, like: { length: 9007199254740991, 0: 1 }, text: text, quarter: quarter, wide: wide };
}
function thises() {
  var b = bigs();
  return [b.sparse, b.like, b.text, b.quarter, b.wide, new Uint8Array(65536), /(x+)(x+)/g, 1e9, new Map([[b.sparse, b.like]]), new Set([b.text]),
    Math.max, new Date(8.64e15), b.sparse[Symbol.iterator](), [b.quarter, b.quarter, [b.quarter]], undefined, Uint8Array, 5n];
}
function lists() {
  var b = bigs();
  return [[1e9], [9007199254740991], [4294967295, 4294967295, 4294967295], [b.sparse], [b.like], [b.text, b.text], [b.quarter, b.quarter],
    [/x/g, b.quarter], [Math.max, b.sparse], [b.sparse, Math.max], [-1], [b.wide], [[b.sparse, b.sparse], b.sparse], [4000000000, 5n], [b.sparse[Symbol.iterator]()], ['length', { value: 4294967295 }], []];
}
function decodeUplink(input) {
  var b = input.bytes, i = b[0] * 256 + b[1];
  if (i >= functions.length) return { data: { none: 1 } };
  var f = functions[i], self = thises()[b[2]], all = lists(), n = 0;
  if (b[3]) all.reverse(); // so that what stops one way does not hide the rest
  for (var k = 0; k < all.length; k++) {
    try { f.apply(self, all[k]); } catch (e) { n++; }
    try { new f(...all[k]); } catch (e) { n++; }
  }
  return { data: { thrown: n, name: names[i], all: functions.length } };
}`

// TestEveryFunctionIsBounded calls every built-in function a script can get hold of with what is
// too large for it, and wants each to come to an end, in time and within memory.
func TestEveryFunctionIsBounded(t *testing.T) {
	// Every second function in a process of its own: the time of a call is that of its process.
	for first, name := range []string{"even", "odd"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if inPrison(t) {
				everyOther(t, first)
			}
		})
	}
}

func everyOther(t *testing.T, first int) {
	var all strings.Builder
	for _, names := range intrinsics() {
		all.WriteString(strings.Join(names, " "))
		all.WriteByte(' ')
	}
	e := newEngine()
	e.load = time.Minute // it crawls through all there is, under the race detector
	c, err := e.javascript("/* "+strings.ReplaceAll(all.String(), "*/", "")+" Buffer TextDecoder TextEncoder */\n"+crawler, false)
	if err != nil {
		t.Fatal(err)
	}
	var stuck bool
	call := func(b ...byte) (Result, *Error) {
		c.strikes.Store(1) // one breach before: a call that breaks its bounds is not tried a second time
		c.rests.Store(0)
		out, err := c.Decode(Uplink{FPort: 1, Bytes: b})
		var e *Error
		errors.As(err, &e)
		if e != nil && e.stuck {
			stuck = true
			t.Errorf("%v: %v", b, err)
		}
		return out, e
	}
	const thises = 17
	full := os.Getenv("PANORMUS_CODEC_CRAWL") == "full" // every function on every this: some minutes
	functions, threw := 0, 0
	for i := first; ; i += 2 {
		out, err := call(byte(i>>8), byte(i), 14, 0)
		if err == nil && out.Values[0].Name == "none" {
			break
		}
		functions++
		stuck = false
		for self := byte(0); self < thises && !stuck; self++ {
			if !full && (i*5+int(self))%thises != 0 {
				continue
			}
			for order := range byte(2) {
				out, err := call(byte(i>>8), byte(i), self, order)
				if err == nil {
					threw += int(out.Values[0].Number)
					break
				} else if err.Reason == ReasonThrow {
					t.Errorf("function %d on %d: %v", i, self, err)
				}
			}
		}
		if stuck {
			t.Errorf("function %d, %+v", i, out.Values)
		}
	}
	if functions < 175 || threw < 500 {
		t.Errorf("%d functions found, which threw %d times, want most of the language", functions, threw)
	}
	t.Logf("%d functions, at most %d MiB were resident", functions, peak(t))
	if p := peak(t); p > 1500 {
		t.Errorf("at most %d MiB were resident", p)
	}
}

package codec

import (
	"strconv"
	"sync"

	"github.com/dop251/goja"
)

// Of the some 700 built-in functions a script names ten. The others are taken away before it is
// loaded: what is not there needs no guard, no freezing and no memory. There is no eval, so a
// script that does not name one in its source could only reach it through a name put together while
// it runs, and finds it missing.

// always are the members kept whatever a script names: built-in functions use them, or syntax does.
var always = words(`constructor prototype name length message toString valueOf toJSON toISOString join exec flags source
	global ignoreCase multiline dotAll sticky unicode hasIndices lastIndex next return throw then get set has add
	getTime hasOwnProperty toLocaleString index input groups raw stack cause byteLength byteOffset buffer size
	undefined NaN Infinity globalThis Object Array String Number Boolean Function Error TypeError RangeError SyntaxError
	ReferenceError Symbol console eval BYTES_PER_ELEMENT __proto__ iterator toPrimitive description`)

// hostNames are the globals that the prelude makes; a script that names one gets what it uses.
var hostNames = []string{"Buffer", "TextDecoder", "TextEncoder"}

// words returns the set of identifiers in s, wherever they stand.
func words(s string) map[string]bool {
	set := map[string]bool{}
	start := -1
	for i := 0; i <= len(s); i++ {
		if i < len(s) && (s[i] == '_' || s[i] == '$' || s[i] >= '0' && s[i] <= '9' || s[i]|0x20 >= 'a' && s[i]|0x20 <= 'z') {
			if start < 0 {
				start = i
			}
			continue
		}
		if start >= 0 {
			set[s[start:i]] = true
			start = -1
		}
	}
	return set
}

// intrinsics lists the names of the members of every built-in object, in the order of harden.js.
var intrinsics = sync.OnceValue(func() [][]string {
	rt := goja.New()
	must(rt.Set("console", rt.NewObject()))
	tools, err := rt.RunProgram(harden())
	must(err)
	held := tools.(*goja.Object).Get("held").(*goja.Object)
	var names [][]string
	for i := range int(held.Get("length").ToInteger()) {
		names = append(names, held.Get(strconv.Itoa(i)).(*goja.Object).GetOwnPropertyNames())
	}
	return names
})

var preludeWords = sync.OnceValue(func() map[string]bool { return words(preludeSource) })

// unnamed returns, for each built-in object, a bit for each member that src does not name, and
// whether it names a global of the prelude.
func unnamed(src string) (bits [][]uint64, host bool) {
	named := words(src)
	for _, n := range hostNames {
		host = host || named[n]
	}
	for _, names := range intrinsics() {
		set := make([]uint64, (len(names)+63)/64)
		for i, n := range names {
			if !named[n] && !always[n] && !(host && preludeWords()[n]) {
				set[i/64] |= 1 << (i % 64)
			}
		}
		bits = append(bits, set)
	}
	return bits, host
}

// trim takes away what the script does not name.
func trim(held *goja.Object, unnamed [][]uint64) {
	for h, names := range intrinsics() {
		o := held.Get(strconv.Itoa(h)).(*goja.Object)
		for i, n := range names {
			if unnamed[h][i/64]>>(i%64)&1 == 1 {
				_ = o.Delete(n) // constants, such as Number.EPSILON, cannot be
			}
		}
	}
}

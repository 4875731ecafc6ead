package codec

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// hostile are bodies of decodeUplink that would take the process, and what may end them: a reason,
// or none where the script gets an answer it can live with.
var hostile = []struct {
	name, body string
	want       string // reasons, separated by space; "ok" among them allows a result
}{
	{"typed array", `new Uint8Array(1e9)`, "codec_throw"},
	{"typed array by name", `globalThis["Uint8"+"Array"] ? new globalThis["Uint8"+"Array"](1e9) : 0`, "ok codec_throw"},
	{"typed arrays", `var a=[]; for(;;) a.push(new Float64Array(8192))`, "codec_memory"},
	{"array buffer", `new ArrayBuffer(4e9)`, "codec_throw"},
	{"resizable", `new ArrayBuffer(8,{maxByteLength:4e9}).resize(4e9)`, "codec_throw"},
	{"typed from", `Uint8Array.from({length:2**32})`, "codec_throw"},
	{"typed from object", `new Uint8Array({length:2**32})`, "codec_throw"},
	{"typed by prototype", `new (Object.getPrototypeOf(Uint8Array).from.call(Uint8Array,{length:1e9}))`, "codec_throw"},
	{"constructor of instance", `new (new Uint8Array(1).constructor)(1e9)`, "codec_throw"},
	{"doubling", `var s="x"; for(;;) s+=s`, "codec_memory codec_timeout"},
	{"doubling unicode", `var s="\u1234"; for(;;) s=s+s`, "codec_memory codec_timeout"},
	{"templates", `var s="x"; for(;;) s=` + "`" + strings.Repeat("${s}", 64) + "`", "codec_memory codec_timeout"},
	{"repeat", `"x".repeat(1e9)`, "codec_throw"},
	{"repeat twice", `"x".repeat(2e5).repeat(2e5)`, "codec_throw"},
	{"padStart", `"x".padStart(1e9)`, "codec_throw"},
	{"padEnd valueOf", `"x".padEnd({n:0,valueOf:function(){return this.n++?1e9:1}})`, "ok codec_throw"},
	{"concat", `var s="x"; for(;;) s=s.concat(s,s,s,s)`, "codec_throw"},
	{"concat apply", `var s="x".repeat(1e5), a=[]; for(var i=0;i<6e4;i++) a.push(s); return {data:{n:"".concat.apply("",a).length}}`, "codec_throw"},
	{"join", `var s="x".repeat(1e5), a=[]; for(var i=0;i<6e4;i++) a.push(s); a.join()`, "codec_throw"},
	{"implicit join", `var s="x".repeat(1e5), a=[]; for(var i=0;i<6e4;i++) a.push(s); ""+a`, "codec_throw"},
	{"join of length", `var a=[]; a.length=4294967295; a.join(",")`, "codec_throw"},
	{"join separator", `new Array(6e4).join("x".repeat(1e5))`, "codec_throw"},
	{"nested arrays", `var a=[1]; for(var i=0;i<60;i++) a=[a,a]; ""+a`, "codec_throw codec_memory codec_timeout"},
	{"deep arrays", `var a=[]; for(var i=0;i<200000;i++) a=[a]; ""+a`, "codec_throw codec_memory codec_timeout"},
	{"flat", `var a=[1]; for(var i=0;i<60;i++) a=[a,a]; a.flat(Infinity)`, "codec_throw codec_memory"},
	{"push", `var a=[]; for(;;) a.push({})`, "codec_memory codec_timeout"},
	{"fill", `new Array(1e9).fill(0)`, "codec_throw"},
	{"sparse", `var a=[]; a[4294967294]=1; return {data:{n:a.map(function(x){return x}).length}}`, "codec_throw"},
	{"sparse indexOf", `var a=[]; a.length=4294967295; a.indexOf(1)`, "codec_throw"},
	{"sparse spread", `var a=[]; a.length=4294967295; [...a]`, "codec_throw"},
	{"sparse call", `var a=[]; a.length=4294967295; Math.max(...a)`, "codec_throw"},
	{"sparse rest", `var a=[]; a.length=4294967295; var [x,...y]=a`, "codec_throw"},
	{"growing spread", `var a=[1]; Object.defineProperty(a,0,{get:function(){a.length=4294967295;return 1}}); [...a]`, "codec_throw"},
	{"entries then grow", `var a=[1], it=a.entries(); a.length=4294967295; [...it]`, "codec_throw codec_timeout"},
	{"iterator patched", `Array.prototype[Symbol.iterator]=function(){var a=[];a.length=4e9;return a.entries()}; [...[1]]`, "ok"},
	{"array-like", `Array.prototype.indexOf.call({length:2**53-1},1)`, "codec_throw"},
	{"array-like getter", `var n=0; Array.prototype.slice.call({get length(){return n++?2**53-1:1}})`, "ok codec_throw"},
	{"apply", `Math.max.apply(null,{length:4294967295})`, "codec_throw"},
	{"from", `Array.from({length:4294967295})`, "codec_throw"},
	{"set of", `var a=[]; a.length=4294967295; new Set(a)`, "codec_throw"},
	{"sort comparator grows", `var a=[3,2,1]; a.sort(function(){a.push.apply(a,new Array(60000).fill(1)); return -1}); for(;;) a.sort(function(){a.push(1);return 1})`, "codec_timeout codec_memory codec_throw"},
	{"sort of natives", `var a=[]; for(var i=0;i<16000;i++) a.push(i*7919%16000); for(;;) a.sort(Math.max)`, "codec_timeout codec_memory"},
	{"replace", `"x".repeat(2e5).replace(/x/g,"y".repeat(2e5))`, "codec_throw"},
	{"replace dollars", "\"x\".repeat(1e5).replace(/x/g,\"$`$`$`$'\")", "codec_throw codec_memory"},
	{"replace by function", `var s="y".repeat(2e5); "x".repeat(2e5).replace(/x/g,function(){return s})`, "codec_throw codec_memory"},
	{"replace by native", `"x".repeat(2e5).replace(/x/g,String.prototype.toString.bind("y".repeat(2e5)))`, "codec_throw codec_memory"},
	{"replaceAll", `"x".repeat(2e5).replaceAll("x","y".repeat(2e5))`, "codec_throw"},
	{"split", `var s="x"; for(var i=0;i<22;i++) s+=s; s.split("")`, "codec_throw"},
	{"regexp backtracking", `/^(?=a)(a+)+$/.test("a".repeat(40)+"b")`, "ok codec_timeout"},
	{"regexp backtracking loop", `for(;;) /^(?=a)(a+)+$/.test("a".repeat(40)+"b")`, "codec_timeout"},
	{"regexp states", `var p=""; for(var i=0;i<500;i++) p+=".{1000}"; new RegExp(p).test("x".repeat(2e5))`, "codec_throw"},
	{"regexp literal", `/((x{30}){30}){30}/.test("x".repeat(2e5))`, "compile"},
	{"json parse", `JSON.parse("[".repeat(2e5))`, "codec_throw"},
	{"json deep", `var a=[]; for(var i=0;i<100000;i++) a=[a]; JSON.stringify(a)`, "codec_throw codec_timeout"},
	{"json graph", `var a=[1]; for(var i=0;i<60;i++) a=[a,a]; JSON.stringify(a)`, "codec_throw codec_memory"},
	{"json cycle", `var a={}; a.a=a; JSON.stringify(a)`, "codec_throw"},
	{"json indent", `var a=[]; for(var i=0;i<90;i++) a=[a,1]; for(;;) JSON.stringify(a,null,10)`, "codec_timeout codec_memory"},
	{"encode", `var s="\u1234"; for(var i=0;i<24;i++) s+=s; encodeURIComponent(s)`, "codec_throw codec_memory"},
	{"loop", `for(;;);`, "codec_timeout"},
	{"loop in finally", `try { for(;;); } finally { for(;;); }`, "codec_timeout"},
	{"loop in catch", `for(;;) { try { for(;;); } catch(e) {} }`, "codec_timeout"},
	{"recursion", `function f(){return f()+1} f()`, "codec_memory"},
	{"recursion caught", `function f(){try{return f()}catch(e){return f()}} f()`, "codec_memory codec_timeout"},
	{"recursion toString", `var o={toString:function(){return ""+this}}; ""+o`, "codec_memory codec_throw"},
	{"recursion valueOf", `var o={valueOf:function(){return +this}}; +o`, "codec_memory codec_throw"},
	{"recursion getter", `var o={get a(){return this.a}}; o.a`, "codec_memory"},
	{"recursion forEach", `function f(){[1].forEach(f)} f()`, "codec_memory"},
	{"recursion sort", `function f(){[2,1].sort(f); return 0} f()`, "codec_memory"},
	{"recursion toJSON", `var o={toJSON:function(){return JSON.stringify(this)}}; JSON.stringify(o)`, "codec_memory"},
	{"bound chain", `var f=function(){}; for(var i=0;i<100000;i++) f=f.bind(null); f()`, "ok codec_timeout codec_memory"},
	{"prototype chain", `var o={}; for(var i=0;i<200000;i++) o=Object.create(o); o.x`, "ok codec_timeout codec_memory"},
	{"eval", `eval("1")`, "codec_throw"},
	{"function of text", `(function(){}).constructor("return 1")()`, "codec_throw"},
	{"generator of text", `Object.getPrototypeOf(function*(){}).constructor("")`, "codec_throw"},
	{"proxy", `new Proxy({},{})`, "codec_throw"},
	{"bigint shift", `1n << 4000000000n`, "codec_throw"},
	{"bigint shift assign", `var x=1n; for(;;) x<<=1000n`, "codec_throw"},
	{"bigint power", `7n ** 100000000n`, "codec_throw"},
	{"bigint squares", `var x=3n; for(;;) x*=x`, "codec_throw"},
	{"bigint text", `BigInt("9".repeat(2e5))`, "codec_throw"},
	{"bigint bits", `BigInt.asUintN(4000000000,-1n)`, "codec_throw"},
	{"map", `var m=new Map(); for(var i=0;;i++) m.set(i,{})`, "codec_memory codec_timeout"},
	{"map while it grows", `var m=new Map([[0,0]]); m.forEach(function(v,k){m.set(k+1,0); m.delete(k)})`, "codec_timeout codec_memory"},
	{"async", `async function f(){for(;;) await null} f(); return {data:{}}`, "codec_timeout codec_memory"},
	{"generator", `function* g(){for(;;) yield 1} [...g()]`, "codec_throw"},
	{"console", `for(var i=0;i<1e4;i++) console.log("x".repeat(1000))`, "ok codec_timeout"},
	{"labels", `a: for(;;) { continue a }`, "codec_timeout"},
	{"result fields", `var d={}; for(var i=0;i<1e5;i++) d["k"+i]=i; return {data:d}`, "codec_output codec_timeout"},
	{"result length", `var a=[]; a.length=4294967295; return {data:{a:a}}`, "codec_output"},
	{"result cycle", `var d={}; d.d=d; return {data:d}`, "codec_output"},
	{"result depth", `var d={}; for(var i=0;i<1e4;i++) d={d:d}; return {data:d}`, "codec_output"},
	{"result text", `var s="x"; for(var i=0;i<20;i++) s+=s; return {data:{s:s}}`, "codec_output"},
	{"result getter loops", `return {get data(){for(;;);}}`, "codec_timeout"},
	{"result getter throws", `return {data:{get x(){throw 1}}}`, "codec_throw"},
	{"result names", `var d={}; d["x".repeat(1e4)]=1; return {data:d}`, "codec_output"},
	{"errors", `var e=[]; for(var i=0;i<3000;i++) e.push("x".repeat(20)); return {errors:e}`, "codec_errors"},
	{"throw object", `throw {get message(){for(;;);}}`, "codec_throw codec_timeout"},
	{"throw null", `throw null`, "codec_throw"},
	{"throw symbol", `throw Symbol("x")`, "codec_throw"},
	{"nothing", ``, "codec_output"},
	{"number", `return 5`, "codec_output"},
	{"symbol", `return Symbol.iterator`, "codec_output"},
	{"function", `return function(){}`, "ok codec_output"},
}

// run decodes once with body as the body of decodeUplink and returns the reason it ended for.
func runHostile(t *testing.T, body string) string {
	c, err := newEngine().javascript("function decodeUplink(input) {\n"+body+"\n}", false)
	if err != nil {
		return "compile"
	}
	_, err = c.Decode(Uplink{FPort: 1, Bytes: []byte{1}})
	var e *Error
	if err == nil {
		return "ok"
	} else if !errors.As(err, &e) {
		t.Errorf("%v, want an *Error", err)
		return ""
	}
	if strings.Contains(e.Detail, "BUG") || strings.Contains(e.Detail, "gave up") || strings.Contains(e.Detail, "nil pointer") {
		t.Errorf("%v, want a bound that was meant", e)
	}
	if e.stuck {
		t.Errorf("%v, want it stopped", e)
	}
	return string(e.Reason)
}

// inPrison runs a test of this binary in a process of its own, so that a script that gets through
// is a failed test and not the end of the others.
func inPrison(t *testing.T) (inside bool) {
	const mark = "PANORMUS_CODEC_PRISON"
	if os.Getenv(mark) == "1" {
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), mark+"=1", "GOMEMLIMIT=")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, tail(string(out), 6000))
	} else if !strings.Contains(string(out), "--- PASS: "+t.Name()) {
		t.Errorf("the test did not run:\n%s", tail(string(out), 1000))
	}
	return false
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// peak is the most memory the process has had resident.
func peak(t *testing.T) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return u.Maxrss >> 10
}

func TestHostileScripts(t *testing.T) {
	if !inPrison(t) {
		return
	}
	for _, tc := range hostile {
		t.Run(tc.name, func(t *testing.T) {
			got := runHostile(t, tc.body)
			if got == string(ReasonOutput) && strings.HasPrefix(tc.want, "ok") {
				got = "ok" // it came to its end, and returned nothing
			}
			if got == string(ReasonTimeout) || got == string(ReasonMemory) {
				return // which bound is met first is the machine's; stopped it is
			}
			if !strings.Contains(" "+tc.want+" ", " "+got+" ") {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
	const most = 1500 // MiB; a third of it without the race detector and a busy machine
	if p := peak(t); p > most {
		t.Errorf("at most %d MiB were resident, want at most %d", p, most)
	} else {
		t.Logf("at most %d MiB were resident", p)
	}
}

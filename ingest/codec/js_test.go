package codec

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"time"
)

func load(t testing.TB, source string) *jsCodec {
	t.Helper()
	c, err := newEngine().javascript(source, false)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// shown writes values on one line: name=number or name="text".
func shown(vs []Value) string {
	var b strings.Builder
	for i, v := range vs {
		if i > 0 {
			b.WriteByte(' ')
		}
		if math.IsNaN(v.Number) {
			fmt.Fprintf(&b, "%s=%q", v.Name, v.Text)
		} else {
			fmt.Fprintf(&b, "%s=%v", v.Name, v.Number)
		}
		b.WriteString(v.Unit)
	}
	return b.String()
}

func TestScripts(t *testing.T) {
	recv := time.Date(2026, 1, 25, 2, 31, 40, 836000123, time.UTC)
	for _, tc := range []struct {
		name, source string
		want         string // values
		reason       Reason
		warnings     string
	}{
		{name: "TS013", source: `function decodeUplink(i){return {data:{t:i.bytes[0]/10,p:i.fPort},warnings:["low"]}}`, want: "t=12.8 p=7", warnings: "low"},
		{name: "Decoder", source: `function Decoder(bytes, port){return {t:bytes[0],p:port}}`, want: "t=128 p=7"},
		{name: "Decode", source: `function Decode(fPort, bytes, variables){return {t:bytes[1],p:fPort,v:variables.site}}`, want: `t=255 p=7 v="north"`},
		{name: "decodeUplink first", source: `function Decoder(){return {a:1}} function decodeUplink(){return {data:{b:2}}}`, want: "b=2"},
		{name: "const arrow", source: `const decodeUplink = (input) => ({data:{n:input.bytes.length}})`, want: "n=2"},
		{name: "sloppy", source: `function decodeUplink(i){ x = 010; for (k in [1]) y = k; return {data:{x:x, y:y}} }`, want: `x=8 y="0"`},
		{name: "nested", source: `function decodeUplink(){return {data:{b:true,s:"on",o:{p:{q:1}},a:[1,2.5,{z:3}],n:null,u:undefined,f:function(){}}}}`,
			want: `b=1 s="on" o_p_q=1 a_0=1 a_1=2.5 a_2_z=3`},
		{name: "no numbers", source: `function decodeUplink(){return {data:{a:NaN,b:-1/0,c:1}}}`, want: "c=1", warnings: "a is NaN and was left out|b is -Inf and was left out"},
		{name: "strange values", source: `function decodeUplink(){return {data:{big:2n**53n,date:new Date(0),sym:Symbol("x"),num:new Number(4),str:new String("s"),u8:new Uint8Array([1,2]),bad:new Date(NaN)}}}`,
			want: `big=9.007199254740992e+15 date="1970-01-01T00:00:00.000Z" num=4 str="s" u8_0=1 u8_1=2`},
		{name: "names", source: `function decodeUplink(){return {data:{"Temp (C)":1,"a_b":2,a:{b:3}}}}`, want: "Temp_(C)=1 a_b=2", warnings: "a_b comes twice, the first counts"},
		{name: "errors", source: `function decodeUplink(){return {data:{a:1},errors:["bad port"]}}`, reason: ReasonErrors},
		{name: "empty errors", source: `function decodeUplink(){return {data:{a:1},errors:[],warnings:null}}`, want: "a=1"},
		{name: "bare result", source: `function decodeUplink(){return {a:1}}`, want: "a=1", warnings: "decodeUplink returned no data, warnings or errors: all of it was taken for data"},
		{name: "throws", source: `function decodeUplink(){throw new TypeError("no")}`, reason: ReasonThrow},
		{name: "recvTime as a Date", source: `function decodeUplink(i){var r=i.recvTime; return {data:{y:r.getUTCFullYear(),ms:+r,ms2:new Date(r).getTime(),is:r instanceof Date}}}`,
			want: "y=2026 ms=1.769308300836e+12 ms2=1.769308300836e+12 is=1"},
		{name: "recvTime as a string", source: `function decodeUplink(i){var r=i.recvTime; return {data:{echo:r,plus:""+r,tpl:` + "`${r}`" + `,j:JSON.stringify({r:r}),day:r.split("T")[0],n:r.length}}}`,
			want: `echo="2026-01-25T02:31:40.836000123Z" plus="2026-01-25T02:31:40.836000123Z" tpl="2026-01-25T02:31:40.836000123Z" j="{\"r\":\"2026-01-25T02:31:40.836000123Z\"}" day="2026-01-25" n=30`},
		{name: "Buffer", source: `function decodeUplink(i){var b=Buffer.from(i.bytes), c=Buffer.from("0102ff","hex"); return {data:{h:b.toString("hex"),u:b.readUInt16BE(0),l:b.readUInt16LE(0),s:c.readInt8(2),n:c.readUIntBE(0,3),x:b.toString("base64"),f:Buffer.from([0x41,0xbc,0,0]).readFloatBE(0),q:c.slice(1).length,c:Buffer.concat([b,c]).length,is:Buffer.isBuffer(c)}}}`,
			want: `h="80ff" u=33023 l=65408 s=-1 n=66303 x="gP8=" f=23.5 q=2 c=5 is=1`},
		{name: "text", source: `function decodeUplink(i){return {data:{d:new TextDecoder().decode(new Uint8Array([0xc3,0xa8,33])),e:new TextEncoder().encode("è").length,a:atob("aGk="),b:btoa("hi")}}}`,
			want: `d="è!" e=2 a="hi" b="aGk="`},
		{name: "console", source: `function decodeUplink(i){console.log("a",1,{}); console.error("b"); return {data:{a:1}}}`, want: "a=1"},
		{name: "spread", source: `function decodeUplink(i){var [a,...r]=i.bytes, o={...{x:1},y:2}; return {data:{m:Math.max(...r), n:[...i.bytes,...r].length, ...o}}}`, want: "m=255 n=3 x=1 y=2"},
		{name: "long template", source: "function decodeUplink(i){var a=1; return {data:{s:`" + strings.Repeat("-${a}", 40) + "!`}}}", want: `s="` + strings.Repeat("-1", 40) + `!"`},
		{name: "bigint", source: `function decodeUplink(){var x=1n; x<<=40n; x=x*3n; x**=2n; return {data:{x:String(x),n:2*3,m:1<<4,p:2**3,t:Number(BigInt.asIntN(8,255n))}}}`,
			want: `x="10880332376531662572355584" n=6 m=16 p=8 t=-1`},
		{name: "regexps", source: `function decodeUplink(){return {data:{a:"a1b22".replace(/\d+/g,function(m){return "<"+m+">"}),b:"x-y".split("-").join("+"),c:"ab".match(/(.)(.)/)[2],d:/(?=b)b/.test("ab"),e:"aXb".replace("X","$&$&")}}}`,
			want: `a="a<1>b<22>" b="x+y" c="b" d=1 e="aXXb"`},
		{name: "json", source: `function decodeUplink(){return {data:{a:JSON.stringify({a:[1,undefined,null,"\n\u00e8"],u:undefined,d:new Date(0),n:NaN,e:{}}),b:JSON.stringify([1,{x:2}],null,2),c:JSON.parse('{"x":[1,{"y":2}]}').x[1].y,d:JSON.stringify({a:1,b:2},["b"])}}}`,
			want: `a="{\"a\":[1,null,null,\"\\nè\"],\"d\":\"1970-01-01T00:00:00.000Z\",\"n\":null,\"e\":{}}" b="[\n  1,\n  {\n    \"x\": 2\n  }\n]" c=2 d="{\"b\":2}"`},
		{name: "arrays", source: `function decodeUplink(i){var b=i.bytes; return {data:{a:[3,1,2].sort().join(""),b:[10,9,1].sort()[0],c:b.slice(-1)[0],d:b.concat([1],2).length,e:b.reduce(function(x,y){return x+y},0),f:[1,[2,[3]]].flat(2).length,g:String([1,[2,3]]),h:b.indexOf(255),i:Array.from(b).reverse()[0],j:Array.prototype.slice.call(arguments).length}}}`,
			want: `a="123" b=1 c=255 d=4 e=383 f=3 g="1,2,3" h=1 i=255 j=1`},
		{name: "typed arrays", source: `function decodeUplink(i){var v=new DataView(new Uint8Array(i.bytes).buffer); return {data:{a:v.getInt16(0),b:new Uint8Array(4).length,c:new Uint16Array([1,2,70000])[2],d:Uint8Array.from(i.bytes).slice(1)[0],e:new Float32Array(new Uint8Array([0,0,0x80,0x3f]).buffer)[0]}}}`,
			want: `a=-32513 b=4 c=4464 d=255 e=1`},
		{name: "own toString", source: `function P(v){this.v=v} P.prototype.toString=function(){return "P"+this.v}; function decodeUplink(){var o={}; o.toString=function(){return "mine"}; var e=new Error("m"); e.name="Own"; return {data:{a:""+o,b:""+new P(1),c:""+e}}}`,
			want: `a="mine" b="P1" c="Own: m"`},
		{name: "polyfill", source: `String.prototype.shout=function(){return this.toUpperCase()+"!"}; Array.prototype.last=function(){return this[this.length-1]}; function decodeUplink(i){return {data:{a:"a".shout(),b:i.bytes.last()}}}`,
			want: `a="A!" b=255`},
		{name: "classes", source: `class A{#x=1; get x(){return this.#x}} class L extends Array{} function decodeUplink(){return {data:{x:new A().x, n:L.from([1,2]).length, m:new Map([[1,2]]).get(1)}}}`, want: "x=1 n=2 m=2"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			out, err := load(t, tc.source).Decode(Uplink{FPort: 7, Bytes: []byte{128, 255}, RecvTime: recv, Variables: map[string]string{"site": "north"}})
			var e *Error
			errors.As(err, &e)
			if (tc.reason != "") != (e != nil) || e != nil && e.Reason != tc.reason {
				t.Fatalf("%v, want reason %q", err, tc.reason)
			}
			if got := shown(out.Values); got != tc.want {
				t.Errorf("%s\nwant %s", got, tc.want)
			}
			if tc.name == "console" && strings.Join(out.Console, "|") != "a 1 [object Object]|b" {
				t.Errorf("console %q, want both lines", out.Console)
			}
			if got := strings.Join(out.Warnings, "|"); got != tc.warnings {
				t.Errorf("warnings %q, want %q", got, tc.warnings)
			}
		})
	}
}

func TestNormalize(t *testing.T) {
	c := load(t, `function decodeUplink(i){return {data:{t:21.5,h:40,x:1}}}
		function normalizeUplink(i){return {data:[{time:"2026-01-25T02:31:40Z",air:{temperature:i.data.t,relativeHumidity:i.data.h},soil:{pH:6.5},battery:3.3},{action:{motion:{detected:true}},other:{thingOne:1}}],warnings:["guessed"]}}`)
	out, err := c.Decode(Uplink{FPort: 1, Bytes: []byte{1}})
	if err != nil || len(out.Normalized) != 2 {
		t.Fatalf("%+v, %v; want two measurements", out, err)
	}
	if got, want := shown(out.Normalized[0].Values), "air_temperature=21.5Cel air_relative_humidity=40% soil_ph=6.5[pH] battery=3.3V"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := shown(out.Normalized[1].Values), "action_motion_detected=1 other_thing_one=1"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if !out.Normalized[0].Time.Equal(time.Date(2026, 1, 25, 2, 31, 40, 0, time.UTC)) || out.Warnings[0] != "normalizeUplink: guessed" {
		t.Errorf("%v, %q", out.Normalized[0].Time, out.Warnings)
	}
	c = load(t, `function decodeUplink(i){return {data:{t:1}}} function normalizeUplink(i){throw new Error("no")}`)
	if out, err := c.Decode(Uplink{Bytes: []byte{1}}); err != nil || shown(out.Values) != "t=1" || !strings.HasPrefix(out.Warnings[0], "normalizeUplink: Error: no") {
		t.Errorf("%+v, %v; want the data and a warning", out, err)
	}
}

func TestDownlinks(t *testing.T) {
	c := load(t, `function decodeUplink(i){return {data:{}}}
		function encodeDownlink(i){if(i.data.on===undefined) return {errors:["on is missing"]}; return {fPort:15,bytes:[i.data.on?1:0,-1,i.data.list[1]],warnings:["w"]}}
		function decodeDownlink(i){return {data:{on:i.bytes[0]===1}}}`)
	d, err := c.EncodeDownlink(map[string]any{"on": true, "list": []any{1.0, json.Number("7")}}, nil)
	if err != nil || d.FPort != 15 || string(d.Bytes) != "\x01\xff\x07" || d.Warnings[0] != "w" {
		t.Errorf("%+v, %v; want port 15 and 01ff07", d, err)
	}
	if d, err := c.EncodeDownlink(map[string]any{}, nil); err == nil || d.Errors[0] != "on is missing" {
		t.Errorf("%+v, %v; want the script's error", d, err)
	}
	out, err := c.DecodeDownlink(Uplink{FPort: 15, Bytes: []byte{1}})
	if err != nil || shown(out.Values) != "on=1" {
		t.Errorf("%+v, %v; want on=1", out, err)
	}
	old := load(t, `function Decoder(){return {}} function Encoder(o, port){return [o.a]}`)
	if d, err := old.EncodeDownlink(map[string]any{"a": 5}, nil); err != nil || string(d.Bytes) != "\x05" {
		t.Errorf("%+v, %v; want 05", d, err)
	}
}

func TestCallsDoNotLeakIntoEachOther(t *testing.T) {
	c := load(t, `var n = 0;
		function decodeUplink(i) {
			if (i.fPort === 1) {
				Object.prototype.evil = 1; Array.prototype.push = function(){return 666}; String.prototype.split = null; Math.max = null; JSON.parse = null;
				Object.prototype.toString = function(){return "evil"}; Array.prototype.extra = 1; Error.prototype.name = "Evil"; console.log = null;
				({}).__proto__.polluted = 1; ({}).constructor.prototype.x = 1; Object.setPrototypeOf(Object.prototype.__proto__ || {}, {y:1});
				try { Object.defineProperty(Object.prototype, "z", {value:1}) } catch (e) {}
				try { Object.prototype.__proto__ = {y:1} } catch (e) {}
			}
			var a = []; a.push(1); var seen = []; for (var k in {}) seen.push(k); for (var k in []) seen.push(k);
			return {data:{n:a.length, seen:seen.join(), s:"a-b".split("-").length, m:Math.max(1,2), t:""+{}, e:""+new Error("x"), j:JSON.parse("1"),
				z:typeof ({}).z+typeof ({}).y+typeof ({}).evil+typeof [].extra}};
		}`)
	const want = `n=1 s=2 m=2 t="[object Object]" e="Error: x" j=1 z="undefinedundefinedundefinedundefined"`
	for port := range uint8(3) {
		out, err := c.Decode(Uplink{FPort: port, Bytes: []byte{1}})
		if got := strings.Replace(shown(out.Values), `seen="" `, "", 1); err != nil || got != want {
			t.Errorf("port %d: %s, %v\nwant %s", port, got, err, want)
		}
	}
}

func TestFreshRuntimeForLeakyScripts(t *testing.T) {
	const source = `var calls = 0; function decodeUplink(){ calls++; return {data:{calls:calls}} }`
	field, err := json.Marshal(map[string]any{"javascript": source, "fresh": true})
	if err != nil {
		t.Fatal(err)
	}
	e := newEngine()
	e.life = time.Hour
	for raw, want := range map[string]float64{string(field): 1, mustJSON(source): 3} {
		c, err := e.Compile(json.RawMessage(raw))
		if err != nil {
			t.Fatal(err)
		}
		var out Result
		for range 3 {
			if err := c.DecodeInto(&Uplink{Bytes: []byte{1}}, &out); err != nil {
				t.Fatal(err)
			}
		}
		if out.Values[0].Number != want {
			t.Errorf("%v calls seen by the third, want %v", out.Values[0].Number, want)
		}
	}
}

func mustJSON(s string) string {
	b, err := json.Marshal(s)
	must(err)
	return string(b)
}

func TestCompileRefuses(t *testing.T) {
	for _, tc := range []struct{ name, source, want string }{
		{"syntax", "function decodeUplink( {", "script:"},
		{"no decoder", "var x = 1", "none of decodeUplink"},
		{"throws while loading", "null.x; function decodeUplink(){}", "loading: TypeError"},
		{"loops while loading", "for(;;); function decodeUplink(){}", "still running"},
		{"with", "function decodeUplink(){ with({}) {} }", "with is not available"},
		{"brackets", strings.Repeat("(", 20000), "opening brackets"},
		{"depth", "var x = " + strings.Repeat("[", 3000) + strings.Repeat("]", 3000), "nested deeper"},
		{"minus", "var x = " + strings.Repeat("- ", 3000) + "1", "nested deeper"},
		{"size", "/*" + strings.Repeat("x", MaxSource) + "*/", "bytes, want at most"},
		{"regexp", "function decodeUplink(){ return /(x{1000}){1000}/ }", "regular expression of cost"},
		{"rest in a parameter", "function f([...a]){} function decodeUplink(){}", "rest element"},
		{"rest nested", "function decodeUplink(){ var [[...a]]=[[]]; }", "rest element"},
	} {
		if _, err := Compile(json.RawMessage(mustJSON(tc.source))); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	for _, raw := range []string{``, `5`, `{}`, `{"layout":[],"javascript":"x"}`, `{"layuot":[]}`, `""`, `{"javascript":5}`} {
		if c, err := Compile(json.RawMessage(raw)); err == nil {
			t.Errorf("%s was taken for a codec: %v", raw, c.Kind())
		}
	}
}

func TestSlowScriptIsSuspendedAndOthersGoOn(t *testing.T) {
	s := NewSet()
	s.engine.rest = restMost
	if err := s.Put("slow", json.RawMessage(mustJSON(`function decodeUplink(){for(;;);}`))); err != nil {
		t.Fatal(err)
	}
	if err := s.Put("good", json.RawMessage(mustJSON(`function decodeUplink(i){return {data:{a:i.bytes[0]}}}`))); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	reasons := make(chan Reason, 100)
	for range 20 {
		wg.Go(func() {
			_, err := s.For("slow").Decode(Uplink{Bytes: []byte{1}})
			var e *Error
			if errors.As(err, &e) {
				reasons <- e.Reason
			}
		})
	}
	for i := range 50 {
		out, err := s.For("good").Decode(Uplink{Bytes: []byte{byte(i)}})
		if err != nil || out.Values[0].Number != float64(i) {
			t.Fatalf("%+v, %v beside a slow script, want %d", out, err, i)
		}
	}
	wg.Wait()
	close(reasons)
	count := map[Reason]int{}
	for r := range reasons {
		count[r]++
	}
	if count[ReasonTimeout] == 0 || count[ReasonTimeout] > strikesOut+perCodec || count[ReasonTimeout]+count[ReasonSuspended] != 20 {
		t.Errorf("%v, want at most %d timed out and the rest turned away", count, strikesOut+perCodec)
	}
}

func TestSetReloadsWhileInUse(t *testing.T) {
	s := NewSet()
	source := func(n int) json.RawMessage {
		return json.RawMessage(mustJSON(fmt.Sprintf(`function decodeUplink(i){return {data:{a:i.bytes[0],version:%d}}}`, n)))
	}
	if err := s.Put("p", source(0)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for g := range 4 {
		wg.Go(func() {
			var out Result
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := s.For("p").DecodeInto(&Uplink{Bytes: []byte{byte(g)}}, &out); err != nil || out.Values[0].Number != float64(g) {
					t.Errorf("%+v, %v; want %d", out.Values, err, g)
					return
				}
			}
		})
	}
	for n := range 20 {
		if err := s.Put("p", source(n)); err != nil {
			t.Error(err)
		}
	}
	if err := s.Put("p", json.RawMessage(`"function ("`)); err == nil {
		t.Error("a script that does not parse was taken")
	}
	close(stop)
	wg.Wait()
	if out, err := s.For("p").Decode(Uplink{Bytes: []byte{1}}); err != nil || out.Values[1].Number != 19 {
		t.Errorf("%+v, %v; want the last version that compiled", out, err)
	}
	if n := len(s.engine.scripts); n != 1 {
		t.Errorf("%d scripts held, want the one in use", n)
	}
	if err := s.Put("p", nil); err != nil || s.For("p") != nil || len(s.engine.scripts) != 0 || s.engine.idle.Len() != 0 {
		t.Errorf("after its removal %v and %d scripts, %d runtimes", s.For("p"), len(s.engine.scripts), s.engine.idle.Len())
	}
}

func TestIdleRuntimesAreBounded(t *testing.T) {
	e := newEngine()
	e.maxIdle, e.life = 5, time.Hour
	var codecs []*jsCodec
	for i := range 12 {
		c, err := e.javascript(fmt.Sprintf("function decodeUplink(){return {data:{n:%d}}}", i), false)
		if err != nil {
			t.Fatal(err)
		}
		codecs = append(codecs, c)
	}
	for range 2 {
		for i, c := range codecs {
			if out, err := c.Decode(Uplink{}); err != nil || out.Values[0].Number != float64(i) {
				t.Errorf("%+v, %v; want %d", out, err, i)
			}
			if n := e.idle.Len(); n != 5 {
				t.Errorf("%d idle runtimes, want 5", n)
			}
		}
	}
}

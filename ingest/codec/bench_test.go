package codec

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/dop251/goja"
)

// benchScript is like the usual published codec: a loop over type-length-value records.
const benchScript = `
function u16(b, i) { return (b[i] << 8) | b[i + 1]; }
function s16(b, i) { var v = u16(b, i); return v > 0x7fff ? v - 0x10000 : v; }
function decodeUplink(input) {
  var data = {}, warnings = [], b = input.bytes;
  if (input.fPort !== 2) return { errors: ['unknown port ' + input.fPort] };
  for (var i = 0; i + 1 < b.length;) {
    switch (b[i++]) {
      case 1: data.temperature = s16(b, i) / 10; i += 2; break;
      case 2: data.humidity = b[i++] / 2; break;
      case 3: data.battery = u16(b, i) / 1000; i += 2; break;
      case 4: data.serial = b.slice(i, i + 4).map(function (x) { return ('0' + x.toString(16)).slice(-2); }).join(''); i += 4; break;
      case 5: data.position = { lat: s16(b, i) / 100, lon: s16(b, i + 2) / 100 }; i += 4; break;
      default: warnings.push('unknown type at ' + i); i = b.length;
    }
  }
  return { data: data, warnings: warnings };
}`

var benchPayload = []byte{1, 0, 0xeb, 2, 0x5a, 3, 0x0e, 0x10, 4, 0xde, 0xad, 0xbe, 0xef, 5, 0x0e, 0xdf, 0x05, 0x37}

func checkBench(b *testing.B, values []Value) {
	if len(values) != 6 || values[0].Number != 23.5 || values[3].Text != "deadbeef" || values[5].Number != 13.35 {
		b.Fatalf("%+v, want 23.5 degrees first, the serial deadbeef and 13.35 east last", values)
	}
}

func BenchmarkJavaScript(b *testing.B) {
	b.Run("codec", func(b *testing.B) {
		c, err := newEngine().javascript(benchScript, false)
		if err != nil {
			b.Fatal(err)
		}
		in := Uplink{FPort: 2, Bytes: benchPayload, RecvTime: time.Unix(1700000000, 0)}
		var out Result
		b.ReportAllocs()
		for b.Loop() {
			if err := c.DecodeInto(&in, &out); err != nil {
				b.Fatal(err)
			}
			checkBench(b, out.Values)
		}
	})
	// What goja takes by itself for the same: the same script and input, its own conversions in and
	// out, nothing bounded. Compare on one core (-cpu 1): with an idle one beside it the codec's call,
	// which runs on a goroutine that can be given up, waits for that core to wake.
	b.Run("bare", func(b *testing.B) {
		rt := goja.New()
		if _, err := rt.RunString(benchScript); err != nil {
			b.Fatal(err)
		}
		f, _ := goja.AssertFunction(rt.Get("decodeUplink"))
		b.ReportAllocs()
		for b.Loop() {
			items := make([]any, len(benchPayload))
			for i, c := range benchPayload {
				items[i] = int(c)
			}
			input := rt.NewObject()
			input.Set("fPort", 2)
			input.Set("bytes", rt.NewArray(items...))
			v, err := f(goja.Undefined(), input)
			if err != nil {
				b.Fatal(err)
			}
			data := v.Export().(map[string]any)["data"].(map[string]any)
			if data["temperature"] != 23.5 || data["serial"] != "deadbeef" {
				b.Fatalf("%v", data)
			}
		}
	})
}

func BenchmarkNewRuntime(b *testing.B) {
	s, err := compile(benchScript)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if r, err := newRuntime(s, loadTime); err != nil || r.entry[entryDecodeUplink] == nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkThousandCodecs loads 1,000 distinct scripts of the usual size and calls each.
func BenchmarkThousandCodecs(b *testing.B) {
	for b.Loop() {
		e := newEngine()
		before := live()
		for i := range 1000 {
			c, err := e.javascript(fmt.Sprintf("%s\nvar codec = %d;", benchScript, i), false)
			if err != nil {
				b.Fatal(err)
			}
			out, err := c.Decode(Uplink{FPort: 2, Bytes: benchPayload})
			if err != nil {
				b.Fatal(err)
			}
			checkBench(b, out.Values)
		}
		b.ReportMetric(float64(live()-before)/(1<<20), "MiB")
		runtime.KeepAlive(e)
	}
}

func live() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

func BenchmarkCayenne(b *testing.B) {
	in := Uplink{Bytes: unhex(b, "01670110 026850 0374014A 047103E8FC180000 0573274B")}
	c := cayenneCodec{}
	var out Result
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if err := c.DecodeInto(&in, &out); err != nil || len(out.Values) != 7 || out.Values[0].Number != 27.2 {
			b.Fatal(out, err)
		}
		n += len(out.Values)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/value")
}

func BenchmarkLayout(b *testing.B) {
	c := layoutCodecOf(b)
	in := Uplink{FPort: 1, Bytes: unhex(b, "01FFD75192")}
	var out Result
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if err := c.DecodeInto(&in, &out); err != nil || len(out.Values) != 6 || out.Values[1].Number != 40.5 {
			b.Fatal(out, err)
		}
		n += len(out.Values)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/value")
}

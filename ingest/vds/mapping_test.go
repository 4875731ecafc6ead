package vds

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"panormus/ingest"
)

// acme is a mapping that uses most of what there is.
func acme() Mapping {
	return Mapping{
		Name: "acme", Topic: "acme/+/objects", Format: "json", Each: "frame.objects", What: "object",
		Fields: map[string]string{
			"time": "$.frame.ts", "track": "id", "class": "kind", "score": "conf", "left": "bbox.0", "top": "bbox.1", "width": "bbox.2", "height": "bbox.3",
			"image_width": "$.frame.w", "image_height": "$.frame.h", "speed": "v", "zone": "=piazza", "plate": "lpr.text", "heading": "dir",
		},
		Attributes: map[string]string{"colour": "look.colour", "name": "who"},
		Classes:    map[string]string{"PKW": "car"},
		Units:      Units{Time: "us", Score: "percent", Speed: "km/h", Box: "px"},
	}
}

const acmeMessage = `{"frame":{"ts":1785324930369150,"w":1000,"h":500,"objects":[` +
	`{"id":7,"kind":"PKW","conf":"90","bbox":[100,100,300,200],"v":36,"lpr":{"text":"AB123CD","all":["AB123CD","A8123CD"]},"look":{"colour":"red"},"who":"Rosalia","dir":-90},` +
	`{"id":8,"kind":"Human","bbox":null,"look":null}]}}`

// gate is one in XML, of events.
func gate() Mapping {
	return Mapping{
		Name: "gate", Topic: "gates", Format: "xml", Each: "Events/Event", Camera: "Head/@cam", What: "@type",
		Whats: map[string]string{"in": "zone_entered", "out": "zone_left", "tick": "ignore"},
		Fields: map[string]string{
			"time": "$/Head/Time", "zone": "Area/Name", "track": "Obj/@id", "class": "Obj/Class", "x": "Obj/Pos/@x", "y": "Obj/Pos/@y", "value": "Flag", "direction": "@type",
		},
		Units: Units{Box: "-1..1", YUp: true},
	}
}

const gateMessage = `<?xml version="1.0"?><g:Log xmlns:g="urn:gate"><g:Events><g:Event type="in"><Area><Name> Atrio </Name></Area><Obj id="3"><Class>Human</Class><Pos x="0.5" y="0.5"/></Obj><Flag>true</Flag></g:Event>` +
	`<g:Event type="tick"/><g:Event type="out"><Area><Name>Atrio</Name></Area></g:Event></g:Events><g:Head cam="porta-2"><Time>2026-07-29T13:55:30+02:00</Time></g:Head></g:Log>`

func compiled(t testing.TB, m Mapping) ingest.Decoder {
	t.Helper()
	d, _, err := m.Compile(testOptions)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestMappings(t *testing.T) {
	grid := Mapping{
		Name: "grid", Topic: "grid/+", Format: "json", What: "line_crossed", Camera: "=porta_felice",
		Fields: map[string]string{"left": "l", "top": "t", "right": "r", "bottom": "b", "time": "at", "lat": "geo.0", "lon": "geo.1"},
		Units:  Units{Box: "grid 1000"},
	}
	upright := Mapping{
		Name: "upright", Topic: "u/+", Format: "json", Each: "@this", What: "object",
		Fields: map[string]string{"left": "x", "top": "y", "width": "w", "height": "h"}, Units: Units{Box: "percent", YUp: true},
	}
	pixels := Mapping{
		Name: "pixels", Topic: "p/+", Format: "json", Each: "objects", What: "object",
		Fields: map[string]string{"x": "x", "y": "y", "width": "w", "height": "h", "time": "$.t"}, Units: Units{Box: "px", Time: "s"},
	}
	for _, tc := range []struct {
		m      Mapping
		golden golden
	}{
		{acme(), golden{payload: acmeMessage, want: []string{
			"object at=2026-07-29T11:35:30.369Z track=7 class=car vendor=PKW zone=piazza plate=AB123CD score=0.9 speed=10 heading=270 box=0.1,0.2,0.4,0.6 centre=0.25,0.4 colour:red name:Rosalia",
			"object at=2026-07-29T11:35:30.369Z track=8 class=person vendor=Human zone=piazza",
		}}},
		{acme(), golden{payload: `{"frame":{"ts":1785324930369150,"objects":[]}}`, want: []string{"frame at=2026-07-29T11:35:30.369Z"}}},
		{gate(), golden{payload: gateMessage, camera: "porta-2", want: []string{
			"zone_entered at=2026-07-29T11:55:30.000Z track=3 class=person vendor=Human zone=Atrio direction=in centre=0.75,0.25 value=1",
			"zone_left at=2026-07-29T11:55:30.000Z zone=Atrio direction=out",
		}}},
		{grid, golden{camera: "porta_felice", payload: `{"l":100,"t":"200","r":300,"b":400,"at":1785324930,"geo":[38.11,13.36]}`, want: []string{
			"line_crossed at=2026-07-29T11:35:30.000Z box=0.1,0.2,0.3,0.4 centre=0.2,0.3 at=38.11,13.36",
		}}},
		{upright, golden{payload: `[{"x":10,"y":80,"w":20,"h":30},{}]`, want: []string{"object class=unknown box=0.1,0.2,0.3,0.5 centre=0.2,0.35", "object class=unknown"}}},
		{pixels, golden{payload: `{"t":1785324930.5,"objects":{"x":960,"y":540,"w":192,"h":108}}`, want: []string{"object at=2026-07-29T11:35:30.500Z class=unknown box=0.45,0.45,0.55,0.55 centre=0.5,0.5"}}},
	} {
		t.Run(tc.m.Name, func(t *testing.T) { tc.golden.check(t, compiled(t, tc.m)) })
	}
}

func TestMappingRefusals(t *testing.T) {
	for _, tc := range []struct {
		name, payload string
		m             Mapping
		reason        ingest.Reason
	}{
		{"no JSON", `{"frame":`, acme(), ingest.ReasonSyntax},
		{"deep", strings.Repeat("[", 50) + strings.Repeat("]", 50), acme(), ingest.ReasonDepth},
		{"100,000 objects", `{"frame":{"objects":[{}` + strings.Repeat(",{}", 99_999) + `]}}`, acme(), ingest.ReasonTooMany},
		{"an object for a text", `{"frame":{"objects":[{"id":{"a":1}}]}}`, acme(), ingest.ReasonType},
		{"a word for a number", `{"frame":{"objects":[{"conf":"AB123CD"}]}}`, acme(), ingest.ReasonType},
		{"NaN", `{"frame":{"objects":[{"conf":"NaN"}]}}`, acme(), ingest.ReasonNumber},
		{"sure beyond doubt", `{"frame":{"objects":[{"conf":101}]}}`, acme(), ingest.ReasonNumber},
		{"too fast", `{"frame":{"objects":[{"v":-1}]}}`, acme(), ingest.ReasonNumber},
		{"before 1970", `{"frame":{"ts":-1000000,"objects":[{}]}}`, acme(), ingest.ReasonTime},
		{"outside", `{"frame":{"w":100,"h":100,"objects":[{"bbox":[900,0,10,10]}]}}`, acme(), ingest.ReasonCoordinate},
		{"a long text", `{"frame":{"objects":[{"id":"` + strings.Repeat("1", 129) + `"}]}}`, acme(), ingest.ReasonName},
		{"no XML", `<a>`, gate(), ingest.ReasonXML},
		{"a bomb", `<!DOCTYPE l [<!ENTITY a "AB123CD">]><l><Head cam="c"/><Events><Event type="in">&a;</Event></Events></l>`, gate(), ingest.ReasonXML},
		{"no camera", `<Log><Head/></Log>`, gate(), ingest.ReasonMissing},
		{"a camera with spaces", `<Log><Head cam="AB 123 CD"/></Log>`, gate(), ingest.ReasonTopic},
		{"an event of another kind", `<Log><Head cam="c"/><Events><Event type="AB123CD"/></Events></Log>`, gate(), ingest.ReasonEvent},
		{"100,000 events", `<Log><Head cam="c"/><Events>` + strings.Repeat(`<Event type="in"/>`, 50_000) + `</Events></Log>`, gate(), ingest.ReasonTooMany},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := compiled(t, tc.m)(&ingest.Input{Device: "cam", Payload: []byte(tc.payload)}, ingest.NewDecoded())
			var r *ingest.Reject
			if !errors.As(err, &r) || r.Reason != tc.reason {
				t.Fatalf("%v, want reason %s", err, tc.reason)
			}
			for _, s := range []string{"AB123CD", "AB 123 CD"} {
				if strings.Contains(r.Detail, s) {
					t.Errorf("%v quotes %q", err, s)
				}
			}
		})
	}
}

func TestMappingsQuoteNothingPersonal(t *testing.T) {
	dec, out := compiled(t, acme()), ingest.NewDecoded()
	mutate(acmeMessage, func(b []byte) {
		out.Reset()
		if s := quoted(dec(&ingest.Input{Device: "cam", Payload: b}, out), []string{"AB123CD", "A8123CD", "Rosalia"}); s != "" {
			t.Errorf("the error of %q quotes %q", b, s)
		}
	})
}

func TestMappingsThatAreNone(t *testing.T) {
	for _, tc := range []struct {
		change func(m *Mapping)
		want   string
	}{
		{func(m *Mapping) { m.Name = "" }, `name: none, want that of the decoder`},
		{func(m *Mapping) { m.Name = "dahua" }, `name: "dahua", which is a decoder already`},
		{func(m *Mapping) { m.Topic = "" }, `topic: none, want an MQTT filter`},
		{func(m *Mapping) { m.Topic = "acme" }, `camera: none, and topic "acme" has no + for it: want a path`},
		{func(m *Mapping) { m.Format = "yaml" }, `format: "yaml", want json or xml`},
		{func(m *Mapping) { m.Fields = nil }, `fields: none, want some of time, track,`},
		{func(m *Mapping) { m.Fields = map[string]string{"speeed": "v"} }, `fields: "speeed", want some of time, track,`},
		{func(m *Mapping) { m.Fields = map[string]string{"track": ""} }, `fields.track: a path of 0 bytes, want 1 to 256`},
		{func(m *Mapping) { delete(m.Fields, "height") }, `fields: left alone, want left, top, right and bottom;`},
		{func(m *Mapping) { delete(m.Fields, "image_height") }, `fields: one of image_width and image_height, want both or neither`},
		{func(m *Mapping) { m.What = "thing" }, `what: "thing", want one of object, `},
		{func(m *Mapping) { m.Whats = map[string]string{"a": "thing"} }, `whats: "thing" for "a", want one of ignore, object, `},
		{func(m *Mapping) { m.Classes["LKW"] = "lorry" }, `classes: "lorry" for "LKW", want one of person, `},
		{func(m *Mapping) { m.Units.Time = "min" }, `units.time: "min", want nothing or one of ms ns s us`},
		{func(m *Mapping) { m.Units.Score = "per mille" }, `units.score: "per mille", want nothing or one of percent`},
		{func(m *Mapping) { m.Units.Speed = "c" }, `units.speed: "c", want nothing or one of km/h knots m/s mph`},
		{func(m *Mapping) { m.Units.Box = "inches" }, `units.box: "inches", want nothing or one of -1..1 grid 8191 percent px`},
		{func(m *Mapping) { m.Units.Box = "grid 0" }, `units.box: grid "0", want its size such as 8191`},
		{func(m *Mapping) { m.Units.Size = "large" }, `units.size: "large", want width and height in pixels such as 1280x720`},
		{func(m *Mapping) {
			m.Format, m.Fields = "xml", map[string]string{"track": "a[1]"}
			m.Attributes, m.Each = nil, "Object"
		}, `track: path "a[1]": step "a[1]", want local names`},
		{func(m *Mapping) {
			m.Format, m.Fields = "xml", map[string]string{"track": "@id/x"}
			m.Attributes, m.Each = nil, "Object"
		}, `track: path "@id/x": @id, want an attribute's name at the end`},
		{func(m *Mapping) {
			m.Format, m.Fields = "xml", map[string]string{"track": "Obj", "zone": "Obj/Zone"}
			m.Attributes, m.Each = nil, "Object"
		}, `track: a path to the text of an element in which other paths end`},
	} {
		m := acme()
		tc.change(&m)
		_, _, err := m.Compile(testOptions)
		if err == nil || !strings.HasPrefix(err.Error(), tc.want) {
			t.Errorf("got %v\nwant %s…", err, tc.want)
		}
	}
	_, route, err := gate().Compile(testOptions)
	if err != nil || route != (ingest.Route{Filter: "gates", Decoder: "gate", Domain: "safety"}) {
		t.Errorf("%+v, %v; want the route of the topic", route, err)
	}
}

// A box in the units of a mapping, drawn from one of the model, is that one again.
func TestMappingBoxesRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	forms := []struct {
		units Units
		to    func(x, y float64) (float64, float64)
	}{
		{Units{}, func(x, y float64) (float64, float64) { return x, y }},
		{Units{YUp: true}, func(x, y float64) (float64, float64) { return x, 1 - y }},
		{Units{Box: "percent"}, func(x, y float64) (float64, float64) { return x * 100, y * 100 }},
		{Units{Box: "grid 8191"}, func(x, y float64) (float64, float64) { return x * 8191, y * 8191 }},
		{Units{Box: "grid 8191", YUp: true}, func(x, y float64) (float64, float64) { return x * 8191, (1 - y) * 8191 }},
		{Units{Box: "-1..1"}, func(x, y float64) (float64, float64) { return 2*x - 1, 2*y - 1 }},
		{Units{Box: "-1..1", YUp: true}, func(x, y float64) (float64, float64) { return 2*x - 1, 1 - 2*y }},
		{Units{Box: "px", Size: "1280x720"}, func(x, y float64) (float64, float64) { return x * 1280, y * 720 }},
		{Units{Box: "px", Size: "1280x720", YUp: true}, func(x, y float64) (float64, float64) { return x * 1280, (1 - y) * 720 }},
	}
	for _, form := range forms {
		edges := compiled(t, Mapping{Name: "e", Topic: "e/+", Format: "json", What: "object", Units: form.units,
			Fields: map[string]string{"left": "l", "top": "t", "right": "r", "bottom": "b"}})
		sides := compiled(t, Mapping{Name: "s", Topic: "s/+", Format: "json", What: "object", Units: form.units,
			Fields: map[string]string{"left": "l", "top": "t", "width": "w", "height": "h"}})
		centre := compiled(t, Mapping{Name: "c", Topic: "c/+", Format: "json", What: "object", Units: form.units,
			Fields: map[string]string{"x": "x", "y": "y", "width": "w", "height": "h"}})
		for range 200 {
			xs, ys := []float64{rnd.Float64(), rnd.Float64()}, []float64{rnd.Float64(), rnd.Float64()}
			slices.Sort(xs)
			slices.Sort(ys)
			l, top := form.to(xs[0], ys[0])
			r, b := form.to(xs[1], ys[1])
			payload := fmt.Appendf(nil, `{"l":%v,"t":%v,"r":%v,"b":%v,"w":%v,"h":%v,"x":%v,"y":%v}`, l, top, r, b, r-l, math.Abs(b-top), (l+r)/2, (top+b)/2)
			for name, dec := range map[string]ingest.Decoder{"edges": edges, "sides": sides, "centre": centre} {
				out := ingest.NewDecoded()
				if err := dec(&ingest.Input{Device: "x", Payload: payload}, out); err != nil {
					t.Fatal(err)
				}
				d := out.Detections[0]
				for i, got := range []float32{d.BoxLeft, d.BoxTop, d.BoxRight, d.BoxBottom} {
					if want := []float64{xs[0], ys[0], xs[1], ys[1]}[i]; !(math.Abs(float64(got)-want) < 1e-6) {
						t.Fatalf("%+v, %s: %s became %s, want %v %v", form.units, name, payload, tell(&d), xs, ys)
					}
				}
			}
		}
	}
}

func FuzzMappings(f *testing.F) {
	f.Add(false, []byte(acmeMessage))
	f.Add(true, []byte(gateMessage))
	decoders := map[bool]ingest.Decoder{false: compiled(f, acme()), true: compiled(f, gate())}
	out := ingest.NewDecoded()
	f.Fuzz(func(t *testing.T, xml bool, payload []byte) {
		out.Reset()
		in := &ingest.Input{Domain: "safety", Device: "cam", Payload: payload, Received: received}
		sane(t, in, out, decoders[xml](in, out))
	})
}

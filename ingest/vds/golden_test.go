package vds

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"panormus/ingest"
)

const received = 1_790_000_000_000

// A golden is a message of a documented shape and the rows it becomes, see tell.
type golden struct {
	name, decoder, topic, payload string
	retained                      bool
	camera                        string // the one that the message names
	want                          []string
	secrets                       []string // plates and names in it, which no error may quote
}

// testOptions know the pictures of two cameras.
var testOptions = Options{Frames: map[string]Size{"cam": {1920, 1080}, "porta_felice": {1280, 720}}}

func (g *golden) input() *ingest.Input {
	return &ingest.Input{Domain: "safety", Device: "cam", Topic: g.topic, Retained: g.retained, Payload: []byte(g.payload), Received: received}
}

// tell returns what a row tells and leaves out the rest.
func tell(r *ingest.Detection) string {
	var b strings.Builder
	b.WriteString(r.What)
	if r.OwnTime {
		fmt.Fprintf(&b, " at=%s", time.UnixMilli(r.Time).UTC().Format("2006-01-02T15:04:05.000Z"))
	}
	for _, f := range []struct{ name, value string }{
		{"track", r.Track}, {"other", r.Other}, {"class", r.Class}, {"vendor", r.VendorClass}, {"zone", r.Zone}, {"rule", r.Rule},
		{"direction", r.Direction}, {"plate", r.Plate},
	} {
		if f.value != "" {
			fmt.Fprintf(&b, " %s=%s", f.name, f.value)
		}
	}
	number := func(name string, v float64) {
		if !math.IsNaN(v) {
			fmt.Fprintf(&b, " %s=%.5g", name, v)
		}
	}
	number("score", float64(r.Score))
	number("speed", float64(r.SpeedMps))
	number("heading", float64(r.HeadingDeg))
	if !math.IsNaN(float64(r.BoxLeft)) {
		fmt.Fprintf(&b, " box=%.4g,%.4g,%.4g,%.4g", r.BoxLeft, r.BoxTop, r.BoxRight, r.BoxBottom)
	}
	if !math.IsNaN(float64(r.CenterX)) {
		fmt.Fprintf(&b, " centre=%.4g,%.4g", r.CenterX, r.CenterY)
	}
	if !math.IsNaN(r.Lat) {
		fmt.Fprintf(&b, " at=%.7g,%.7g", r.Lat, r.Lon)
	}
	if !math.IsNaN(r.Value) {
		fmt.Fprintf(&b, " value=%.13g", r.Value)
	}
	for _, a := range r.Extra {
		fmt.Fprintf(&b, " %s:%s", a.Name, a.Value)
	}
	return b.String()
}

func tellAll(out *ingest.Decoded) []string {
	var lines []string
	for i := range out.Detections {
		lines = append(lines, tell(&out.Detections[i]))
	}
	return lines
}

// check decodes g and compares.
func (g *golden) check(t *testing.T, dec ingest.Decoder) {
	t.Helper()
	out := ingest.NewDecoded()
	if err := dec(g.input(), out); err != nil {
		t.Fatal(err)
	}
	if got := tellAll(out); !slices.Equal(got, g.want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(g.want, "\n\t"))
	}
	if out.Device != g.camera || out.Refresh != g.retained {
		t.Errorf("camera %q, refresh %v; want %q, %v", out.Device, out.Refresh, g.camera, g.retained)
	}
}

func TestGoldens(t *testing.T) {
	decoders := Decoders(testOptions)
	for _, g := range goldens() {
		t.Run(g.decoder+"/"+g.name, func(t *testing.T) { g.check(t, decoders[g.decoder]) })
	}
}

// A refusal is a message and why it is none.
type refusal struct {
	name, decoder, payload string
	reason                 ingest.Reason
}

func TestRefusals(t *testing.T) {
	decoders := Decoders(testOptions)
	for _, r := range refusals() {
		t.Run(r.decoder+"/"+r.name, func(t *testing.T) {
			err := decoders[r.decoder](&ingest.Input{Domain: "safety", Device: "cam", Payload: []byte(r.payload), Received: received}, ingest.NewDecoded())
			var reject *ingest.Reject
			if !errors.As(err, &reject) || reject.Reason != r.reason {
				t.Fatalf("%v, want reason %s", err, r.reason)
			}
		})
	}
}

// quoted returns the part of a secret, of four characters, that an error quotes: a mutation may have
// cut the secret short.
func quoted(err error, secrets []string) string {
	var r *ingest.Reject
	if err == nil || !errors.As(err, &r) {
		return ""
	}
	for _, s := range secrets {
		for i := range len(s) - 3 {
			if strings.Contains(r.Detail, s[i:i+4]) {
				return s[i : i+4]
			}
		}
	}
	return ""
}

// mutate calls f with payload cut short everywhere and with bytes of it replaced by others that
// matter to a parser.
func mutate(payload string, f func([]byte)) {
	for n := range payload {
		f([]byte(payload[:n]))
		for _, c := range []byte("\"{}[],:;x9-\x00\xff") {
			b := []byte(payload)
			b[n] = c
			f(b)
		}
	}
}

func TestErrorsQuoteNothingPersonal(t *testing.T) {
	decoders := Decoders(testOptions)
	out := ingest.NewDecoded()
	for _, g := range goldens() {
		if len(g.secrets) == 0 {
			continue
		}
		for _, s := range g.secrets {
			if !strings.Contains(g.payload, s) {
				t.Fatalf("%s/%s has no %q", g.decoder, g.name, s)
			}
		}
		refused := 0
		mutate(g.payload, func(b []byte) {
			out.Reset()
			in := g.input()
			in.Payload = b
			err := decoders[g.decoder](in, out)
			if err != nil {
				refused++
			}
			if s := quoted(err, g.secrets); s != "" {
				t.Errorf("%s/%s: %v quotes %q", g.decoder, g.name, err, s)
			}
		})
		if refused == 0 {
			t.Errorf("%s/%s: no mutation was refused", g.decoder, g.name)
		}
	}
}

// sane checks what holds for the rows of any message.
func sane(t *testing.T, in *ingest.Input, out *ingest.Decoded, err error) {
	t.Helper()
	if err != nil {
		var r *ingest.Reject
		if !errors.As(err, &r) || r.Reason == "" || r.Detail == "" {
			t.Fatalf("%v, want a *Reject", err)
		}
		return
	}
	for i := range out.Detections {
		r := &out.Detections[i]
		if r.What == "" || r.OwnTime && r.Time < 0 {
			t.Fatalf("row %d: what %q, time %d", i, r.What, r.Time)
		}
		for _, v := range []float32{r.BoxLeft, r.BoxTop, r.BoxRight, r.BoxBottom, r.CenterX, r.CenterY, r.Score} {
			if v < 0 || v > 1 {
				t.Fatalf("row %d: %s: %v, want 0..1 or NaN", i, tell(r), v)
			}
		}
		if r.BoxLeft > r.BoxRight || r.BoxTop > r.BoxBottom || math.IsInf(r.Value, 0) || math.IsInf(float64(r.SpeedMps), 0) {
			t.Fatalf("row %d: %s", i, tell(r))
		}
		for _, s := range []string{r.Track, r.Other, r.VendorClass, r.Zone, r.Rule, r.Direction, r.Plate} {
			if len(s) > maxWord {
				t.Fatalf("row %d: a text of %d bytes", i, len(s))
			}
		}
	}
}

func FuzzDecoders(f *testing.F) {
	decoders := Decoders(testOptions)
	for _, g := range goldens() {
		f.Add(g.decoder, g.topic, []byte(g.payload), g.retained)
	}
	for _, r := range refusals() {
		if len(r.payload) < 10_000 {
			f.Add(r.decoder, "", []byte(r.payload), false)
		}
	}
	out := ingest.NewDecoded()
	f.Fuzz(func(t *testing.T, decoder, topic string, payload []byte, retained bool) {
		dec, ok := decoders[decoder]
		if !ok {
			return
		}
		out.Reset()
		in := &ingest.Input{Domain: "safety", Device: "cam", Topic: topic, Payload: payload, Received: received, Retained: retained}
		sane(t, in, out, dec(in, out))
	})
}

func TestNumbersAreNotQuoted(t *testing.T) {
	for name, payload := range map[string]string{
		"axis-scene": `{"timestamp":4711e999}`, "frigate-event": `{"after":{"id":"1","camera":"cam","average_estimated_speed":4711}}`,
		"dahua": `Code=NumberStat;action=Pulse;index=0;data={"EnteredSubtotal":-4711}`, "rekor": `{"best_confidence":"4711"}`,
	} {
		err := Decoders(testOptions)[name](&ingest.Input{Device: "cam", Payload: []byte(payload)}, ingest.NewDecoded())
		if err == nil || strings.Contains(err.Error(), "4711") {
			t.Errorf("%s: %v, want an error without the number", name, err)
		}
	}
}

package ingest

import (
	"slices"
	"unicode"
	"unicode/utf8"

	"panormus/ingest/jsonscan"
	"panormus/ingest/xmlscan"
	"panormus/stream/batch"
)

// A Record is the values of one instant.
type Record struct {
	Time int64 // Unix ms, when OwnTime or Relative
	// OwnTime says that the device told the time; without it the receive time counts.
	OwnTime bool
	// Relative says that the device told how long ago or ahead it was, which is no time of its
	// own: the same message an hour later means another.
	Relative bool
	end      int // Values of the record end here
}

// A Value is one metric's: a number, or a text with Number NaN.
type Value struct {
	Name   string
	Number float64
	Text   string
}

// Decoded is what a decoder makes of a message, in memory that is used again.
type Decoded struct {
	// Domain and Device, where set, stand for those of the topic.
	Domain, Device string
	// DevEUI, where set, names the device by its LoRaWAN identifier, 16 lower-case hexadecimal
	// digits: it is the device that the registry has with it, or else its own name.
	DevEUI  string
	Records []Record
	Values  []Value
	// Uplinks is the radio side of the message, a row a gateway. Device is filled in by the pump.
	Uplinks []batch.Uplink
	// Detections is what a camera told. Camera, Received, Purpose and what is derived from Plate and
	// Extra are filled in by the pump.
	Detections []Detection
	// Refresh says that a retained message was taken as the state that it is: its rows are marked.
	Refresh bool
	// Scan, XML and Path are at the decoder's disposal.
	Scan jsonscan.Scanner
	XML  xmlscan.Scanner
	Path []byte

	in    Input // here, since passing it to a decoder would put it on the heap
	names *names
	texts *names
	seen  map[string]struct{}
	arena []byte // of Copy
}

func newDecoded(metricNames, texts *names) *Decoded {
	return &Decoded{names: metricNames, texts: texts, Path: make([]byte, 0, MaxName)}
}

// NewDecoded returns a Decoded of its own, for tests of decoders.
func NewDecoded() *Decoded { return newDecoded(newNames(4096), newNames(4096)) }

// Reset empties d.
func (d *Decoded) Reset() {
	d.Domain, d.Device, d.DevEUI = "", "", ""
	d.Records, d.Values, d.Uplinks, d.Path = d.Records[:0], d.Values[:0], d.Uplinks[:0], d.Path[:0]
	clear(d.Detections) // they may hold what nobody is to find later
	clear(d.arena)
	d.Detections, d.arena, d.Refresh = d.Detections[:0], d.arena[:0], false
}

// Begin starts the next record.
func (d *Decoded) Begin() *Record {
	d.Records = append(d.Records, Record{end: len(d.Values)})
	return &d.Records[len(d.Records)-1]
}

// Start is the index of the first value of the record begun last.
func (d *Decoded) Start() int {
	if n := len(d.Records); n > 1 {
		return d.Records[n-2].end
	}
	return 0
}

// Values of record i.
func (d *Decoded) record(i int) []Value {
	start := 0
	if i > 0 {
		start = d.Records[i-1].end
	}
	return d.Values[start:d.Records[i].end]
}

// Of returns the values of record i, for tests.
func (d *Decoded) Of(i int) []Value { return d.record(i) }

// Add gives the record begun last one more value and checks its name, which is copied. A value
// that is a text has number NaN; the text is copied.
func (d *Decoded) Add(name []byte, number float64, txt []byte) error {
	if len(d.Values) >= MaxMetrics {
		return Rejectf(ReasonTooMany, "metric %q is number %d, want at most %d a message", clip(name), MaxMetrics+1, MaxMetrics)
	}
	s, ok := d.names.get(name)
	if !ok {
		var err error
		if s, err = d.checkName(name); err != nil {
			return err
		}
	}
	if err := d.checkTwice(s); err != nil {
		return err
	}
	v := Value{Name: s, Number: number}
	if len(txt) > 0 {
		v.Text = d.texts.intern(txt)
	}
	d.Values = append(d.Values, v)
	d.Records[len(d.Records)-1].end = len(d.Values)
	return nil
}

// checkName returns name as it is kept: white space becomes an underscore.
func (d *Decoded) checkName(name []byte) (string, error) {
	if len(name) == 0 || len(name) > MaxName {
		return "", Rejectf(ReasonName, "metric name %q of %d bytes, want 1 to %d", clip(name), len(name), MaxName)
	}
	spaced := false
	for _, r := range text(name) {
		if unicode.IsSpace(r) {
			spaced = true
		} else if unicode.IsControl(r) {
			return "", Rejectf(ReasonName, "metric name %q, want no control characters", name)
		}
	}
	if !spaced {
		return d.names.intern(name), nil
	}
	out := make([]byte, 0, len(name))
	for _, r := range text(name) {
		if unicode.IsSpace(r) {
			r = '_'
		}
		out = utf8.AppendRune(out, r)
	}
	return d.names.intern(out), nil
}

// few is up to how many names comparing each with each is faster than a set.
const few = 12

func (d *Decoded) checkTwice(name string) error {
	vs := d.Values[d.Start():]
	twice := false
	if len(vs) <= few {
		twice = slices.ContainsFunc(vs, func(v Value) bool { return v.Name == name })
	} else {
		if len(vs) == few+1 {
			if d.seen == nil {
				d.seen = make(map[string]struct{}, MaxMetrics)
			}
			clear(d.seen)
			for _, v := range vs {
				d.seen[v.Name] = struct{}{}
			}
		}
		_, twice = d.seen[name]
		d.seen[name] = struct{}{}
	}
	if twice {
		return Rejectf(ReasonDuplicate, "metric %q twice in one record, want once", name)
	}
	return nil
}

// clip bounds what of a name or text goes into an error.
func clip(b []byte) []byte { return b[:min(len(b), 64)] }

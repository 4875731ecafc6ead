package telemetry

import (
	"math"
	"strings"

	"panormus/ingest"
	"panormus/ingest/jsonscan"
)

// SenML decodes a SenML pack in JSON (RFC 8428, section 5): every record of it is an observation,
// of the metric that its name is, see metricName.
func SenML(in *ingest.Input, out *ingest.Decoded) error {
	s := &out.Scan
	s.Reset(in.Payload)
	if s.Peek() != '[' {
		return wrongType(s, "a SenML pack, an array of records")
	}
	if err := s.Open('['); err != nil {
		return ingest.RejectJSON(err)
	}
	p := pack{in: in, out: out}
	for first := true; ; first = false {
		more, err := s.Element(first)
		if err != nil {
			return ingest.RejectJSON(err)
		}
		if !more {
			break
		}
		r, err := senmlRecordJSON(s)
		if err != nil {
			return err
		}
		if err := p.add(&r); err != nil {
			return err
		}
	}
	if err := s.End(); err != nil {
		return ingest.RejectJSON(err)
	}
	return p.end()
}

// senmlRecord is one record of a pack; has says which fields it has.
type senmlRecord struct {
	has                     fields
	baseName, name, text    string
	baseTime, time          float64
	baseValue, value        float64
	baseSum, sum            float64
	version                 float64
	baseUnit, unit, dataB64 string
	updateTime              float64
	boolean                 bool
}

type fields uint16

const (
	hasBaseName fields = 1 << iota
	hasBaseTime
	hasBaseUnit
	hasBaseValue
	hasBaseSum
	hasVersion
	hasName
	hasUnit
	hasValue
	hasText
	hasBool
	hasData
	hasSum
	hasTime
	hasUpdate
)

// senmlLabels are the fields by their labels in JSON, and in CBOR (RFC 8428, table 4).
var senmlLabels = map[string]fields{
	"bn": hasBaseName, "bt": hasBaseTime, "bu": hasBaseUnit, "bv": hasBaseValue, "bs": hasBaseSum, "bver": hasVersion,
	"n": hasName, "u": hasUnit, "v": hasValue, "vs": hasText, "vb": hasBool, "vd": hasData, "s": hasSum, "t": hasTime, "ut": hasUpdate,
}

func (r *senmlRecord) number(f fields) *float64 {
	switch f {
	case hasBaseTime:
		return &r.baseTime
	case hasBaseValue:
		return &r.baseValue
	case hasBaseSum:
		return &r.baseSum
	case hasVersion:
		return &r.version
	case hasValue:
		return &r.value
	case hasSum:
		return &r.sum
	case hasTime:
		return &r.time
	case hasUpdate:
		return &r.updateTime
	}
	return nil
}

func (r *senmlRecord) str(f fields) *string {
	switch f {
	case hasBaseName:
		return &r.baseName
	case hasBaseUnit:
		return &r.baseUnit
	case hasName:
		return &r.name
	case hasUnit:
		return &r.unit
	case hasText:
		return &r.text
	case hasData:
		return &r.dataB64
	}
	return nil
}

// unknownLabel is the error of a label that is not in the RFC: one that ends in _ must be
// understood, all others are skipped (section 4.4).
func unknownLabel(label string) error {
	if strings.HasSuffix(label, "_") {
		return ingest.Rejectf(ingest.ReasonSenML, "label %q must be understood and is not", label[:min(len(label), 64)])
	}
	return nil
}

func senmlRecordJSON(s *jsonscan.Scanner) (r senmlRecord, err error) {
	if s.Peek() != '{' {
		return r, wrongType(s, "a SenML record, an object")
	}
	if err := s.Open('{'); err != nil {
		return r, ingest.RejectJSON(err)
	}
	for first := true; ; first = false {
		label, more, err := s.Member(first)
		if err != nil {
			return r, ingest.RejectJSON(err)
		}
		if !more {
			return r, nil
		}
		f, known := senmlLabels[string(label)]
		if !known {
			if err := unknownLabel(string(label)); err != nil {
				return r, err
			}
			if err := s.Skip(); err != nil {
				return r, ingest.RejectJSON(err)
			}
			continue
		}
		if r.has&f != 0 {
			return r, ingest.Rejectf(ingest.ReasonDuplicate, "offset %d: a second %q in one record, want one", s.Offset(), label)
		}
		r.has |= f
		c := s.Peek()
		if n := r.number(f); n != nil {
			if c != '-' && (c < '0' || c > '9') {
				return r, wrongType(s, "a number for "+string(label))
			}
			*n, err = s.Number()
		} else if v := r.str(f); v != nil {
			if c != '"' {
				return r, wrongType(s, "a string for "+string(label))
			}
			var b []byte
			b, err = s.String()
			*v = string(b)
		} else {
			if c != 't' && c != 'f' {
				return r, wrongType(s, "a boolean for vb")
			}
			r.boolean, err = s.Bool()
		}
		if err != nil {
			return r, ingest.RejectJSON(err)
		}
	}
}

// pack resolves the records of one pack (section 4.6).
type pack struct {
	in  *ingest.Input
	out *ingest.Decoded

	baseName           string
	baseTime           float64
	baseValue, baseSum float64
	version            float64
	records            int
	time               float64 // of the record begun last
}

const (
	// absoluteFrom is the time from which on one is absolute, in Unix seconds; below it is
	// relative to now (section 4.5.3).
	absoluteFrom = 1 << 28
	// senmlVersion is the version of RFC 8428.
	senmlVersion = 10
)

// add resolves r and adds what it measures.
func (p *pack) add(r *senmlRecord) error {
	p.records++
	if r.has&hasVersion != 0 {
		if r.version < 1 || r.version > senmlVersion || r.version != math.Trunc(r.version) {
			return p.errorf("bver %v, want at most %d", r.version, senmlVersion)
		}
		if p.version != 0 && p.version != r.version {
			return p.errorf("bver %v after %v, want one version", r.version, p.version)
		}
		p.version = r.version
	}
	if r.has&hasBaseName != 0 {
		p.baseName = r.baseName
	}
	if r.has&hasBaseTime != 0 {
		p.baseTime = r.baseTime
	}
	if r.has&hasBaseValue != 0 {
		p.baseValue = r.baseValue
	}
	if r.has&hasBaseSum != 0 {
		p.baseSum = r.baseSum
	}
	values := 0
	for _, f := range [...]fields{hasValue, hasText, hasBool, hasData} {
		if r.has&f != 0 {
			values++
		}
	}
	if values > 1 {
		return p.errorf("%d values, want one of v, vs, vb and vd", values)
	}
	if values == 0 && r.has&hasSum == 0 {
		if r.has&^(hasBaseName|hasBaseTime|hasBaseUnit|hasBaseValue|hasBaseSum|hasVersion) == 0 {
			return nil // sets bases only
		}
		return p.errorf("no value, want one of v, vs, vb, vd and s")
	}
	name := p.baseName + r.name
	if err := p.checkName(name); err != nil {
		return err
	}
	at := p.baseTime + r.time
	// Records of one instant are one record to us, but for a metric that comes twice.
	if len(p.out.Records) == 0 || at != p.time {
		p.begin(at)
	}
	metric := metricName(p.in.Device, p.baseName, r.name)
	switch {
	case r.has&hasValue != 0:
		return p.values(r, metric, p.baseValue+r.value, "")
	case r.has&hasText != 0:
		return p.values(r, metric, math.NaN(), r.text)
	case r.has&hasData != 0:
		return p.values(r, metric, math.NaN(), r.dataB64)
	case r.has&hasBool != 0:
		v := 0.0
		if r.boolean {
			v = 1
		}
		return p.values(r, metric, v, "")
	}
	return p.put(metric+"_sum", p.baseSum+r.sum, "")
}

func (p *pack) values(r *senmlRecord, metric string, v float64, text string) error {
	if err := p.put(metric, v, text); err != nil {
		return err
	}
	if r.has&hasSum != 0 {
		return p.put(metric+"_sum", p.baseSum+r.sum, "")
	}
	return nil
}

func (p *pack) put(metric string, v float64, text string) error {
	if math.IsInf(v, 0) {
		return ingest.Rejectf(ingest.ReasonNumber, "record %d: %v, want a number of at most 1.8e308", p.records, v)
	}
	return p.out.Add([]byte(metric), v, []byte(text))
}

func (p *pack) begin(at float64) {
	p.time = at
	rec := p.out.Begin()
	if at >= absoluteFrom {
		rec.Time, rec.OwnTime = UnixTime(at), true
		return
	}
	// Relative to now, which for us is when it came. The device told no time of its own.
	rec.Time = p.in.Received + int64(at*1000)
	rec.Relative = at != 0
}

func (p *pack) end() error {
	if len(p.out.Values) == 0 {
		return ingest.Rejectf(ingest.ReasonNoMetrics, "no value in %d records, want at least one", p.records)
	}
	return nil
}

func (p *pack) errorf(format string, args ...any) error {
	r := ingest.Rejectf(ingest.ReasonSenML, format, args...)
	return ingest.Rejectf(ingest.ReasonSenML, "record %d: %s", p.records, r.Detail)
}

// checkName reports why a resolved name is none (section 4.5.1).
func (p *pack) checkName(name string) error {
	if name == "" {
		return p.errorf("no name, want bn, n or both")
	}
	for i := range len(name) {
		c := name[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("-:./_", rune(c))) {
			return p.errorf("name %q: %q at byte %d, want A-Z, a-z, 0-9 and, after the first, -:./_", name[:min(len(name), 64)], c, i)
		}
	}
	return nil
}

// separators are what may stand between the parts of a name.
const separators = "-:./_"

// metricName is the metric that a SenML name stands for: without what names the device, in snake
// case. What names the device is its id as the topic has it, or a urn:dev: of RFC 9039, or, where
// the record has a name of its own, a base name that ends like an identifier does.
func metricName(device, base, name string) string {
	full := base + name
	rest := full
	switch i := strings.Index(strings.ToLower(full), strings.ToLower(device)); {
	case i >= 0 && device != "" && bounded(full, i, i+len(device)):
		rest = full[i+len(device):]
	case strings.HasPrefix(full, "urn:"):
		if name != "" && strings.HasPrefix(base, "urn:") {
			rest = name
		} else {
			// urn:dev:<type>:<id>, then what it measures behind the next separator.
			parts := strings.SplitN(full, ":", 5)
			rest = ""
			if len(parts) == 5 {
				rest = parts[4]
			} else if i := strings.LastIndexAny(full, "_/"); i >= 0 {
				rest = full[i:]
			}
		}
	case name != "" && base != "" && strings.ContainsAny(base[len(base)-1:], ":/"):
		rest = name
	}
	if rest = snake(strings.Trim(rest, separators)); rest == "" {
		return "value"
	}
	return rest
}

// bounded reports whether full[i:j] is not a part of a longer word.
func bounded(full string, i, j int) bool {
	return (i == 0 || strings.IndexByte(separators, full[i-1]) >= 0) && (j == len(full) || strings.IndexByte(separators, full[j]) >= 0)
}

// snake writes name in lower case with underscores.
func snake(name string) string {
	b := make([]byte, 0, len(name)+4)
	for i := range len(name) {
		c := name[i]
		switch {
		case c >= 'A' && c <= 'Z':
			if i > 0 && (name[i-1] >= 'a' && name[i-1] <= 'z' || name[i-1] >= '0' && name[i-1] <= '9') {
				b = append(b, '_')
			}
			c += 'a' - 'A'
		case strings.IndexByte(separators, c) >= 0:
			c = '_'
		}
		b = append(b, c)
	}
	return string(b)
}

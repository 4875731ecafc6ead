package lorawan

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"panormus/devices"
	"panormus/ingest"
	"panormus/ingest/codec"
	"panormus/ingest/lorawan/raw"
)

// Codecs decode payloads by the profiles of their devices. Decode takes no lock. It is safe for
// concurrent use; a nil *Codecs has none.
type Codecs struct {
	set  *codec.Set
	pool sync.Pool
}

// NewCodecs returns none.
func NewCodecs() *Codecs { return &Codecs{set: codec.NewSet()} }

// Put sets the codec of a profile, or removes it where it has none; p is nil for a profile that is
// gone. The next uplink is decoded by it. Where it does not compile the one before stays.
func (c *Codecs) Put(id string, p *devices.Profile) error {
	if p == nil {
		return c.set.Put(id, nil)
	}
	return c.set.Put(id, fieldOf(p))
}

// Check reports why the codec of a profile does not compile.
func (c *Codecs) Check(p devices.Profile) error {
	field := fieldOf(&p)
	if len(field) == 0 || string(field) == "null" || string(field) == `""` {
		return nil
	}
	if _, err := c.set.Compile(field); err != nil {
		return fmt.Errorf("profile %q: %w", p.ID, err)
	}
	return nil
}

// fieldOf is the codec field of a profile with what its radio policy asks for.
func fieldOf(p *devices.Profile) json.RawMessage {
	field := p.Codec
	if p.LoRaWAN != nil && p.LoRaWAN.FreshRuntime && len(field) > 0 && field[0] == '"' && string(field) != `"cayenne_lpp"` {
		field = fmt.Appendf(nil, `{"javascript":%s,"fresh":true}`, field)
	}
	return field
}

func (c *Codecs) has(a *devices.Asset) bool { return c.of(a) != nil }

func (c *Codecs) of(a *devices.Asset) codec.Codec {
	if c == nil || a == nil || a.Profile == "" {
		return nil
	}
	return c.set.For(a.Profile)
}

// call is the memory of one decode.
type call struct {
	in  codec.Uplink
	out codec.Result
}

// Warnings of a codec are kept beside its values, in one text.
const maxWarnings = 1024 // bytes

var warningsName = []byte("codec_warnings")

// Decode adds the values of a payload to the record begun last; normalized measurements that have a
// time of their own come in records after it. Errors of the codec are a Reject with its reason.
func (c *Codecs) Decode(p *raw.Payload, out *ingest.Decoded) error {
	decoder := c.of(p.Asset)
	if decoder == nil {
		return ingest.Rejectf(ingest.ReasonNoCodec, "%d bytes on port %d, want a codec in the profile of the device", len(p.Bytes), p.Port)
	}
	w, ok := c.pool.Get().(*call)
	if !ok {
		w = &call{}
	}
	defer c.pool.Put(w)
	w.in = codec.Uplink{FPort: p.Port, Bytes: p.Bytes, RecvTime: time.UnixMilli(p.Time).UTC(), Variables: p.Asset.Tags}
	err := decoder.DecodeInto(&w.in, &w.out)
	w.in = codec.Uplink{}
	if err != nil {
		var e *codec.Error
		if errors.As(err, &e) {
			return &ingest.Reject{Reason: ingest.Reason(e.Reason), Detail: fmt.Sprintf("profile %s, port %d: %s", p.Asset.Profile, p.Port, e.Detail)}
		}
		return err
	}
	if len(w.out.Errors) > 0 {
		return ingest.Rejectf(ingest.ReasonCodecErrors, "profile %s, port %d: %s", p.Asset.Profile, p.Port, strings.Join(w.out.Errors, "; "))
	}
	return write(&w.out, out)
}

// write adds a result: first the values of the record that is open, then records of their own.
func write(r *codec.Result, out *ingest.Decoded) error {
	for i := range r.Normalized {
		if r.Normalized[i].Time.IsZero() {
			if err := addAll(r.Normalized[i].Values, out, true); err != nil {
				return err
			}
		}
	}
	// A field that also came normalized is there already.
	if err := addAll(r.Values, out, false); err != nil {
		return err
	}
	if len(r.Warnings) > 0 {
		text := strings.Join(r.Warnings, "; ")
		if err := out.Add(warningsName, math.NaN(), []byte(text[:min(len(text), maxWarnings)])); err != nil {
			return err
		}
	}
	for i := range r.Normalized {
		m := &r.Normalized[i]
		if m.Time.IsZero() || len(m.Values) == 0 {
			continue
		}
		record := out.Begin()
		record.Time, record.OwnTime = m.Time.UnixMilli(), true
		if err := addAll(m.Values, out, true); err != nil {
			return err
		}
	}
	return nil
}

// addAll adds values; one whose name the record has is left out, or numbered: two measurements of
// one instant are two probes.
func addAll(values []codec.Value, out *ingest.Decoded, numbered bool) error {
	for i := range values {
		v := &values[i]
		name := append(out.Path[:0], v.Name...)
		if !numbered && taken(out, v.Name) {
			continue
		}
		for n := int64(1); taken(out, string(name)); n++ {
			name = strconv.AppendInt(append(append(name[:0], v.Name...), '_'), n, 10)
		}
		var text []byte
		if v.Text != "" {
			text = unsafe.Slice(unsafe.StringData(v.Text), len(v.Text)) // only read
		}
		err := out.Add(name, v.Number, text)
		out.Path = name[:0]
		if err != nil {
			return err
		}
	}
	return nil
}

// taken reports whether the record begun last has the name.
func taken(out *ingest.Decoded, name string) bool {
	if out.Start() == len(out.Values) {
		return false
	}
	for _, v := range out.Values[out.Start():] {
		if v.Name == name {
			return true
		}
	}
	return false
}

// normalized adds The Things Stack's normalized_payload.
func normalized(data []byte, out *ingest.Decoded) error {
	var list []map[string]any
	if err := json.Unmarshal(data, &list); err != nil {
		return ingest.Rejectf(ingest.ReasonType, "normalized_payload: %v", err)
	}
	var r codec.Result
	for _, e := range list {
		m, err := codec.Normalize(tree(e), &r)
		if err != nil {
			return ingest.Rejectf(ingest.ReasonCodecOutput, "normalized_payload: %v", err)
		}
		r.Normalized = append(r.Normalized, m)
	}
	return write(&r, out)
}

package batch

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"

	"github.com/apache/arrow/go/v15/arrow"
)

// Observations is a batch of single values that devices reported. All columns have the same
// length; the rows of one message are contiguous and agree in Time, Received, Domain and Device.
type Observations struct {
	Time     []int64 // when the device measured, Unix ms
	Received []int64 // when we got it, Unix ms
	Domain   Dict
	Device   Dict
	Metric   Dict
	Value    []float64 // NaN where the metric is text
	Text     Dict      // "" where the metric is a number
	Quality  []uint8   // bits of devices.Quality

	// Fingerprints identify the messages of the batch, one a message, for whoever must know
	// whether a message that comes again is in the log already. Not a column: it is kept beside
	// the schema and no table stores it.
	Fingerprints []uint64
}

// Len is the number of rows.
func (o *Observations) Len() int { return len(o.Time) }

// Slice returns rows lo to hi, in the memory of o and to be read only, without fingerprints.
func (o *Observations) Slice(lo, hi int) *Observations {
	return &Observations{
		Time: o.Time[lo:hi], Received: o.Received[lo:hi], Domain: o.Domain.slice(lo, hi), Device: o.Device.slice(lo, hi),
		Metric: o.Metric.slice(lo, hi), Value: o.Value[lo:hi], Text: o.Text.slice(lo, hi), Quality: o.Quality[lo:hi],
	}
}

// Reset empties the batch and keeps its memory.
func (o *Observations) Reset() {
	o.Time, o.Received = o.Time[:0], o.Received[:0]
	o.Domain.reset()
	o.Device.reset()
	o.Metric.reset()
	o.Text.reset()
	o.Value, o.Quality = o.Value[:0], o.Quality[:0]
	o.Fingerprints = o.Fingerprints[:0]
}

// A Header is what the rows of one message share, with the dictionary codes already looked up.
type Header struct {
	time, received int64
	domain, device int16
}

// Begin prepares rows of one message. Times are Unix ms.
func (o *Observations) Begin(time, received int64, domain, device string) Header {
	return Header{time: time, received: received, domain: o.Domain.Code(domain), device: o.Device.Code(device)}
}

// Append adds one row to the message that h begins.
func (o *Observations) Append(h Header, metric string, value float64, text string, quality uint8) {
	o.Time = append(o.Time, h.time)
	o.Received = append(o.Received, h.received)
	o.Domain.Index = append(o.Domain.Index, h.domain)
	o.Device.Index = append(o.Device.Index, h.device)
	o.Metric.Append(metric)
	o.Value = append(o.Value, value)
	o.Text.Append(text)
	o.Quality = append(o.Quality, quality)
}

var observationsSchema = []arrow.Field{
	{Name: "time", Type: timestampMs},
	{Name: "received", Type: timestampMs},
	{Name: "domain", Type: dictType},
	{Name: "device", Type: dictType},
	{Name: "metric", Type: dictType},
	{Name: "value", Type: arrow.PrimitiveTypes.Float64},
	{Name: "text", Type: dictType},
	{Name: "quality", Type: arrow.PrimitiveTypes.Uint8},
}

const fingerprintsKey = "fingerprints"

// Encode returns the batch as an Arrow IPC stream. An empty batch, with no rows, is allowed.
func (o *Observations) Encode() ([]byte, error) {
	n := o.Len()
	if n > limitRows {
		return nil, fmt.Errorf("encode observations: %d rows, want at most %d", n, limitRows)
	}
	return encode(KindObservations, observationsSchema, fingerprintsMeta(o.Fingerprints), n, []arrow.Array{
		timestamps(o.Time), timestamps(o.Received), dictionary(&o.Domain), dictionary(&o.Device),
		dictionary(&o.Metric), float64s(o.Value), dictionary(&o.Text), uint8s(o.Quality),
	})
}

// DecodeObservations reads a batch. It keeps nothing of data.
func DecodeObservations(data []byte) (*Observations, error) {
	d, err := decode(KindObservations, observationsSchema, data)
	if err != nil {
		return nil, err
	}
	o := &Observations{
		Time: d.times(0), Received: d.times(1), Domain: d.dict(2), Device: d.dict(3),
		Metric: d.dict(4), Value: d.float64s(5), Text: d.dict(6), Quality: d.uint8s(7),
	}
	if d.err != nil {
		return nil, d.err
	}
	o.Fingerprints, err = parseFingerprints(d.meta[fingerprintsKey])
	if err != nil {
		return nil, fmt.Errorf("decode observations: %w", err)
	}
	return o, nil
}

// fingerprintsMeta is how fingerprints are kept beside a schema; nil for none.
func fingerprintsMeta(prints []uint64) map[string]string {
	if len(prints) == 0 {
		return nil
	}
	raw := make([]byte, 0, 8*len(prints))
	for _, f := range prints {
		raw = binary.LittleEndian.AppendUint64(raw, f)
	}
	return map[string]string{fingerprintsKey: base64.RawStdEncoding.EncodeToString(raw)}
}

// Fingerprints reads only the fingerprints of an encoded batch of observations or detections.
func Fingerprints(kind Kind, data []byte) ([]uint64, error) {
	meta, err := metadata(kind, data)
	if err != nil {
		return nil, err
	}
	return parseFingerprints(meta[fingerprintsKey])
}

func parseFingerprints(s string) ([]uint64, error) {
	if s == "" {
		return nil, nil
	}
	raw, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil || len(raw)%8 != 0 {
		return nil, fmt.Errorf("fingerprints of %d bytes, want base64 of 8 bytes each", len(s))
	}
	out := make([]uint64, 0, len(raw)/8)
	for ; len(raw) > 0; raw = raw[8:] {
		out = append(out, binary.LittleEndian.Uint64(raw))
	}
	return out, nil
}

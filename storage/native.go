package storage

import (
	"encoding/binary"
	"io"
	"unsafe"

	"panormus/stream/batch"
)

// A group of batches goes out as one block of ClickHouse's Native format. The format is columnar as
// the batches are, so the wide columns are sent from the memory they were decoded in; only the
// indexes of dictionary columns are rewritten, for the dictionary of the group.

// observationColumns are the columns of an insert, in the order in which a nativeBody has them.
const observationColumns = "time, received, domain, device, metric, value, text, quality"

// An observationGroup is what one insert holds. It belongs to one goroutine.
type observationGroup struct {
	batches []*batch.Observations
	rows    int
	domain  lowCardinality
	device  lowCardinality
	metric  lowCardinality
}

// add puts a batch into the group, which keeps it.
func (g *observationGroup) add(o *batch.Observations) {
	g.batches = append(g.batches, o)
	g.rows += o.Len()
	g.domain.add(&o.Domain)
	g.device.add(&o.Device)
	g.metric.add(&o.Metric)
}

// body is the group as one Native block of revision 0, to be read once. It refers to the memory of
// the group.
func (g *observationGroup) body() io.Reader {
	var b segments
	b.uvarint(8)
	b.uvarint(uint64(g.rows))
	b.column("time", "DateTime64(3, 'UTC')")
	for _, o := range g.batches {
		b.bytes(rawBytes(o.Time))
	}
	b.column("received", "DateTime64(3, 'UTC')")
	for _, o := range g.batches {
		b.bytes(rawBytes(o.Received))
	}
	g.domain.encode(&b, "domain")
	g.device.encode(&b, "device")
	g.metric.encode(&b, "metric")
	b.column("value", "Float64")
	for _, o := range g.batches {
		b.bytes(rawBytes(o.Value))
	}
	b.column("text", "String")
	for _, o := range g.batches {
		b.texts(&o.Text)
	}
	b.column("quality", "UInt8")
	for _, o := range g.batches {
		b.bytes(o.Quality)
	}
	return b.reader()
}

// rawBytes is the memory of s; ClickHouse's Native format is little endian, as are the machines it
// runs on.
func rawBytes[T int64 | float64 | float32 | uint16 | uint32](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(s[0])))
}

// lowCardinality is a dictionary column of a group.
type lowCardinality struct {
	lookup map[string]uint32
	values []string
	keys   []uint32
	codes  []uint32 // of one batch's values, while it is added
}

func (c *lowCardinality) add(d *batch.Dict) {
	if c.lookup == nil {
		c.lookup = map[string]uint32{}
	}
	c.codes = c.codes[:0]
	for _, v := range d.Values {
		code, ok := c.lookup[v]
		if !ok {
			code = uint32(len(c.values))
			c.values = append(c.values, v)
			c.lookup[v] = code
		}
		c.codes = append(c.codes, code)
	}
	for _, i := range d.Index {
		c.keys = append(c.keys, c.codes[i])
	}
}

// encode writes the column: a version, then the width of the keys with two flags that say that the
// dictionary follows, then dictionary and keys.
func (c *lowCardinality) encode(b *segments, name string) {
	const hasKeys, replacesDictionary = 1 << 9, 1 << 10
	b.column(name, "LowCardinality(String)")
	b.int64(1)
	width := int64(0) // of a key: 0 for 8 bits, 1 for 16, 2 for 32
	switch {
	case len(c.values) > 1<<16:
		width = 2
	case len(c.values) > 1<<8:
		width = 1
	}
	b.int64(width | hasKeys | replacesDictionary)
	b.int64(int64(len(c.values)))
	for _, v := range c.values {
		b.string(v)
	}
	b.int64(int64(len(c.keys)))
	switch width {
	case 0:
		out := make([]byte, len(c.keys))
		for i, k := range c.keys {
			out[i] = byte(k)
		}
		b.bytes(out)
	case 1:
		out := make([]uint16, len(c.keys))
		for i, k := range c.keys {
			out[i] = uint16(k)
		}
		b.bytes(rawBytes(out))
	default:
		b.bytes(rawBytes(c.keys))
	}
}

// segments is a body made of pieces: small ones are gathered, large ones referred to.
type segments struct {
	done  [][]byte
	small []byte
}

func (b *segments) uvarint(v uint64) { b.small = binary.AppendUvarint(b.small, v) }

func (b *segments) int64(v int64) { b.small = binary.LittleEndian.AppendUint64(b.small, uint64(v)) }

func (b *segments) string(s string) {
	b.uvarint(uint64(len(s)))
	b.small = append(b.small, s...)
}

// column begins one: its name and type.
func (b *segments) column(name, kind string) {
	b.string(name)
	b.string(kind)
}

func (b *segments) bytes(p []byte) {
	if len(p) < 512 {
		b.small = append(b.small, p...)
		return
	}
	b.cut()
	b.done = append(b.done, p)
}

func (b *segments) cut() {
	if len(b.small) > 0 {
		b.done = append(b.done, b.small)
		b.small = nil
	}
}

// zeros are empty strings, in Native as in memory.
var zeros [1 << 15]byte

func (b *segments) texts(d *batch.Dict) {
	if len(d.Values) == 1 && d.Values[0] == "" && d.Len() <= len(zeros) {
		b.bytes(zeros[:d.Len()])
		return
	}
	for _, i := range d.Index {
		b.string(d.Values[i])
	}
}

func (b *segments) reader() io.Reader {
	b.cut()
	return &segmentReader{rest: b.done}
}

// segmentReader reads pieces one after the other; WriteTo spares a copy.
type segmentReader struct{ rest [][]byte }

func (r *segmentReader) Read(p []byte) (int, error) {
	for len(r.rest) > 0 && len(r.rest[0]) == 0 {
		r.rest = r.rest[1:]
	}
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.rest[0])
	r.rest[0] = r.rest[0][n:]
	return n, nil
}

func (r *segmentReader) WriteTo(w io.Writer) (n int64, err error) {
	for ; len(r.rest) > 0; r.rest = r.rest[1:] {
		k, err := w.Write(r.rest[0])
		n += int64(k)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

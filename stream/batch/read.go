package batch

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"github.com/apache/arrow/go/v15/arrow"
)

// Batches are read here and not by the Arrow library, which spends 140 us on the 13 dictionaries of
// a batch of detections before the first row, and believes lengths: a damaged batch would make it
// allocate until the process dies. This reader allocates no more than a few times the size of the
// data, and what lies outside it is a panic that decode turns into an error.

// A table is one of a flatbuffer: where it begins in the buffer.
type table struct {
	buf []byte
	at  uint32
}

// field returns where field i of the table is, 0 where it is not there.
func (t table) field(i int) uint32 {
	vtable := uint32(int32(t.at) - int32(binary.LittleEndian.Uint32(t.buf[t.at:])))
	slot := 4 + 2*uint32(i)
	if slot+2 > uint32(binary.LittleEndian.Uint16(t.buf[vtable:])) {
		return 0
	}
	if off := binary.LittleEndian.Uint16(t.buf[vtable+slot:]); off != 0 {
		return t.at + uint32(off)
	}
	return 0
}

func (t table) int8(i int) uint8 {
	if at := t.field(i); at != 0 {
		return t.buf[at]
	}
	return 0
}

func (t table) int16(i int) int16 {
	if at := t.field(i); at != 0 {
		return int16(binary.LittleEndian.Uint16(t.buf[at:]))
	}
	return 0
}

func (t table) int32(i int) int32 {
	if at := t.field(i); at != 0 {
		return int32(binary.LittleEndian.Uint32(t.buf[at:]))
	}
	return 0
}

func (t table) int64(i int) int64 {
	if at := t.field(i); at != 0 {
		return int64(binary.LittleEndian.Uint64(t.buf[at:]))
	}
	return 0
}

// follow is where the offset at a place leads.
func (t table) follow(at uint32) uint32 { return at + binary.LittleEndian.Uint32(t.buf[at:]) }

// sub is the table that field i leads to; ok reports whether there is one.
func (t table) sub(i int) (table, bool) {
	at := t.field(i)
	if at == 0 {
		return table{}, false
	}
	return table{t.buf, t.follow(at)}, true
}

// text is the string that field i leads to, in the memory of the buffer.
func (t table) text(i int) []byte {
	data, n := t.vector(i, 1)
	return data[:n]
}

// vector is what lies from the first element of field i's vector on, and how many there are of size
// bytes.
func (t table) vector(i, size int) (data []byte, n int) {
	at := t.field(i)
	if at == 0 {
		return nil, 0
	}
	at = t.follow(at)
	data = t.buf[at+4:]
	n = int(binary.LittleEndian.Uint32(t.buf[at:]))
	if n > len(data)/size {
		panic(fmt.Sprintf("a vector of %d times %d bytes in %d", n, size, len(data)))
	}
	return data, n
}

// tables are those that field i leads to.
func (t table) tables(i int) []table {
	_, n := t.vector(i, 4)
	out := make([]table, n)
	if n > 0 {
		first := t.follow(t.field(i)) + 4
		for k := range out {
			out[k] = table{t.buf, t.follow(first + 4*uint32(k))}
		}
	}
	return out
}

// The kinds of messages, and of types, in Arrow's flatbuffers.
const (
	headerSchema, headerDictionary, headerRecord                        = 1, 2, 3
	typeInt, typeFloat, typeBinary, typeUtf8, typeTimestamp             = 2, 3, 4, 5, 10
	fieldName, fieldTypeType, fieldType, fieldDictionary, schemaMeta    = 0, 2, 3, 4, 2
	messageHeaderType, messageHeader, messageBodyLength                 = 1, 2, 3
	recordLength, recordNodes, recordBuffers, recordCompression, sizeOf = 0, 1, 2, 3, 16
)

// A message is one of a stream.
type message struct {
	kind   uint8
	header table
	body   []byte
}

// next cuts the first message off data; ok is false at the stream's end.
func next(data []byte) (m message, rest []byte, ok bool) {
	const continuation = 0xffffffff
	if len(data) < 8 || binary.LittleEndian.Uint32(data) != continuation {
		return message{}, nil, false
	}
	n := binary.LittleEndian.Uint32(data[4:])
	if n == 0 {
		return message{}, nil, false
	}
	meta := data[8 : 8+uint64(n)]
	t := table{meta, binary.LittleEndian.Uint32(meta)}
	m.kind = t.int8(messageHeaderType)
	if m.header, ok = t.sub(messageHeader); !ok {
		return message{}, nil, false
	}
	rest = data[8+uint64(n):]
	size := t.int64(messageBodyLength)
	m.body, rest = rest[:size], rest[size:]
	return m, rest, true
}

// schemaOf is the schema of a stream, the rest of the stream and what lies beside the schema.
func schemaOf(kind Kind, data []byte) (schema table, rest []byte, meta map[string]string, err error) {
	m, rest, ok := next(data)
	if !ok || m.kind != headerSchema {
		return table{}, nil, nil, fmt.Errorf("decode %s: %d bytes that begin with no Arrow schema", kind, len(data))
	}
	meta = map[string]string{}
	for _, kv := range m.header.tables(schemaMeta) {
		meta[string(kv.text(0))] = string(kv.text(1))
	}
	if got := meta["kind"]; got != string(kind) {
		return table{}, nil, nil, fmt.Errorf("decode %s: a batch of kind %q", kind, got)
	}
	if got := meta["version"]; got != schemaVersion {
		return table{}, nil, nil, fmt.Errorf("decode %s: schema version %q, want %q", kind, got, schemaVersion)
	}
	return m.header, rest, meta, nil
}

// same reports whether f is of type t.
func same(f table, t arrow.DataType) bool {
	dictionary, encoded := f.sub(fieldDictionary)
	want, dict := t.(*arrow.DictionaryType)
	if encoded != dict {
		return false
	}
	if dict {
		index, ok := dictionary.sub(1)
		return ok && index.int32(0) == 16 && index.int8(1) != 0 && plain(f, want.ValueType)
	}
	return plain(f, t)
}

func plain(f table, t arrow.DataType) bool {
	p, ok := f.sub(fieldType)
	if !ok {
		return false
	}
	of := f.int8(fieldTypeType)
	switch t.ID() {
	case arrow.STRING:
		return of == typeUtf8
	case arrow.BINARY:
		return of == typeBinary
	case arrow.FLOAT32:
		return of == typeFloat && p.int16(0) == 1
	case arrow.FLOAT64:
		return of == typeFloat && p.int16(0) == 2
	case arrow.INT64:
		return of == typeInt && p.int32(0) == 64 && p.int8(1) != 0
	case arrow.UINT8:
		return of == typeInt && p.int32(0) == 8 && p.int8(1) == 0
	case arrow.TIMESTAMP:
		return of == typeTimestamp && p.int16(0) == 1 && string(p.text(1)) == "UTC"
	}
	panic("BUG: no reader for columns of type " + t.Name())
}

// columns is a record batch of a stream: arrays without nulls in a body.
type columns struct {
	rows    int
	body    []byte // aligned to 8 bytes
	buffers []byte // of 16 bytes each: offset, length
	n       int    // buffers
}

func columnsOf(record table, body []byte, arrays int) (columns, error) {
	if _, ok := record.sub(recordCompression); ok {
		return columns{}, fmt.Errorf("a compressed batch")
	}
	length := record.int64(recordLength)
	nodes, n := record.vector(recordNodes, sizeOf)
	if n != arrays || length < 0 || length > int64(len(body)) {
		return columns{}, fmt.Errorf("%d arrays of %d rows in %d bytes, want %d", n, length, len(body), arrays)
	}
	for k := range n {
		if rows, nulls := binary.LittleEndian.Uint64(nodes[sizeOf*k:]), binary.LittleEndian.Uint64(nodes[sizeOf*k+8:]); rows != uint64(length) || nulls != 0 {
			return columns{}, fmt.Errorf("array %d has %d rows and %d nulls, want %d and none", k, rows, nulls, length)
		}
	}
	c := columns{rows: int(length), body: body}
	c.buffers, c.n = record.vector(recordBuffers, sizeOf)
	return c, nil
}

// buffer is the first size bytes of buffer i.
func (c *columns) buffer(i, size int) []byte {
	if i >= c.n {
		panic(fmt.Sprintf("%d buffers, want more", c.n))
	}
	off, n := binary.LittleEndian.Uint64(c.buffers[sizeOf*i:]), binary.LittleEndian.Uint64(c.buffers[sizeOf*i+8:])
	if n < uint64(size) || off > uint64(len(c.body)) || uint64(size) > uint64(len(c.body))-off || off%8 != 0 {
		panic(fmt.Sprintf("buffer %d: %d bytes at %d of %d, want %d", i, n, off, len(c.body), size))
	}
	return c.body[off : off+uint64(size)]
}

// strings are the values of an array whose offsets are buffer i and whose bytes are the next one. They
// share the memory of one copy.
func (c *columns) strings(i int) []string {
	if c.rows == 0 {
		return nil
	}
	offsets := c.buffer(i, 4*(c.rows+1))
	last := binary.LittleEndian.Uint32(offsets[4*c.rows:])
	if uint64(last) > uint64(len(c.body)) {
		panic(fmt.Sprintf("%d bytes of strings in %d", last, len(c.body)))
	}
	all, out := string(c.buffer(i+1, int(last))), make([]string, c.rows)
	for k := range out {
		out[k] = all[binary.LittleEndian.Uint32(offsets[4*k:]):binary.LittleEndian.Uint32(offsets[4*k+4:])]
	}
	return out
}

// aligned is a copy of b at an address that numbers may be read at.
func aligned(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	words := make([]uint64, (len(b)+7)/8)
	out := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), len(b))
	copy(out, b)
	return out
}

package batch

import (
	"bytes"
	"fmt"
	"unsafe"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// A Kind names a schema and the stream of the log that its batches go to.
type Kind string

// The kinds of batches.
const (
	KindObservations Kind = "observations"
	KindDetections   Kind = "detections"
	KindUplinks      Kind = "uplinks"
	KindEvents       Kind = "events"
	KindRejected     Kind = "rejected"
	KindTracks       Kind = "tracks"
	KindCounts       Kind = "counts"
	KindAlarmLog     Kind = "alarm_log"
)

// schemaVersion is written into every batch; a reader refuses one it does not know.
const schemaVersion = "1"

var (
	timestampMs = &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "UTC"}
	dictType    = &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int16, ValueType: arrow.BinaryTypes.String}
	dictBinary  = &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int16, ValueType: arrow.BinaryTypes.Binary}
)

func encode(kind Kind, fields []arrow.Field, meta map[string]string, rows int, cols []arrow.Array) ([]byte, error) {
	keys, values := []string{"kind", "version"}, []string{string(kind), schemaVersion}
	for k, v := range meta {
		keys, values = append(keys, k), append(values, v)
	}
	md := arrow.NewMetadata(keys, values)
	schema := arrow.NewSchema(fields, &md)
	rec := array.NewRecord(schema, cols, int64(rows))
	var buf bytes.Buffer
	buf.Grow(4096 + rows*40)
	w := ipc.NewWriter(&buf, ipc.WithSchema(schema))
	if err := w.Write(rec); err != nil {
		return nil, fmt.Errorf("encode %s: %w", kind, err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("encode %s: %w", kind, err)
	}
	return buf.Bytes(), nil
}

// The columns below take their memory from Go slices as it is, without a copy.

func column(t arrow.DataType, n int, values []byte) *array.Data {
	return array.NewData(t, n, []*memory.Buffer{nil, memory.NewBufferBytes(values)}, nil, 0, 0)
}

func asBytes[T any](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), len(s)*int(unsafe.Sizeof(s[0])))
}

func timestamps(s []int64) arrow.Array {
	return array.MakeFromData(column(timestampMs, len(s), asBytes(s)))
}

func float64s(s []float64) arrow.Array {
	return array.MakeFromData(column(arrow.PrimitiveTypes.Float64, len(s), asBytes(s)))
}

func float32s(s []float32) arrow.Array {
	return array.MakeFromData(column(arrow.PrimitiveTypes.Float32, len(s), asBytes(s)))
}

func int64s(s []int64) arrow.Array {
	return array.MakeFromData(column(arrow.PrimitiveTypes.Int64, len(s), asBytes(s)))
}

func uint8s(s []uint8) arrow.Array {
	return array.MakeFromData(column(arrow.PrimitiveTypes.Uint8, len(s), s))
}

func stringData(t arrow.DataType, s []string) *array.Data {
	total := 0
	for _, v := range s {
		total += len(v)
	}
	offsets, text := make([]int32, 1, len(s)+1), make([]byte, 0, total)
	for _, v := range s {
		text = append(text, v...)
		offsets = append(offsets, int32(len(text)))
	}
	return array.NewData(t, len(s), []*memory.Buffer{nil, memory.NewBufferBytes(asBytes(offsets)), memory.NewBufferBytes(text)}, nil, 0, 0)
}

func stringsColumn(s []string) arrow.Array {
	return array.MakeFromData(stringData(arrow.BinaryTypes.String, s))
}

func binaryColumn(s []string) arrow.Array {
	return array.MakeFromData(stringData(arrow.BinaryTypes.Binary, s))
}

func dictionary(d *Dict) arrow.Array { return dictionaryOf(dictType, d) }

// binaryDictionary is a dictionary of bytes that are no text.
func binaryDictionary(d *Dict) arrow.Array { return dictionaryOf(dictBinary, d) }

func dictionaryOf(t *arrow.DictionaryType, d *Dict) arrow.Array {
	values := stringData(t.ValueType, d.Values)
	return array.MakeFromData(array.NewDataWithDictionary(t, len(d.Index),
		[]*memory.Buffer{nil, memory.NewBufferBytes(asBytes(d.Index))}, 0, 0, values))
}

// decoded is one record batch read back; its methods return columns, in memory of their own, and
// keep the first error.
type decoded struct {
	kind  Kind
	meta  map[string]string
	cols  columns
	first []int      // the buffer with which a column begins
	dicts [][]string // by column
	err   error
}

func metadata(kind Kind, data []byte) (meta map[string]string, err error) {
	defer recovered(kind, &err)
	_, _, meta, err = schemaOf(kind, data)
	return meta, err
}

// recovered turns what a damaged batch made panic into an error: the bytes come from outside this
// process.
func recovered(kind Kind, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("decode %s: broken Arrow stream: %v", kind, p)
	}
}

func decode(kind Kind, fields []arrow.Field, data []byte) (d *decoded, err error) {
	defer recovered(kind, &err)
	schema, rest, meta, err := schemaOf(kind, data)
	if err != nil {
		return nil, err
	}
	d = &decoded{kind: kind, meta: meta, first: make([]int, len(fields)), dicts: make([][]string, len(fields))}
	have := schema.tables(1)
	if len(have) != len(fields) {
		return nil, fmt.Errorf("decode %s: %d columns, want %d", kind, len(have), len(fields))
	}
	buffers := 0
	ids := make([]int64, len(fields))
	for i, f := range fields {
		if name := have[i].text(fieldName); string(name) != f.Name || !same(have[i], f.Type) {
			return nil, fmt.Errorf("decode %s: column %d is %.100q of another type or name, want %s %s", kind, i, name, f.Name, f.Type)
		}
		d.first[i], ids[i] = buffers, -1
		if dict, ok := have[i].sub(fieldDictionary); ok {
			ids[i] = dict.int64(0)
		}
		buffers += 2
		if id := f.Type.ID(); id == arrow.STRING || id == arrow.BINARY {
			buffers++
		}
	}
	for {
		var m message
		var ok bool
		if m, rest, ok = next(rest); !ok {
			return nil, fmt.Errorf("decode %s: no record batch", kind)
		}
		switch m.kind {
		case headerDictionary:
			record, ok := m.header.sub(1)
			if !ok || m.header.int8(2) != 0 {
				return nil, fmt.Errorf("decode %s: a dictionary that is a part or none", kind)
			}
			cols, err := columnsOf(record, m.body, 1)
			if err != nil {
				return nil, fmt.Errorf("decode %s: dictionary: %w", kind, err)
			}
			for i, id := range ids {
				if id == m.header.int64(0) {
					d.dicts[i] = cols.strings(1)
				}
			}
		case headerRecord:
			d.cols, err = columnsOf(m.header, aligned(m.body), len(fields))
			if err != nil {
				return nil, fmt.Errorf("decode %s: %w", kind, err)
			}
			return d, nil
		default:
			return nil, fmt.Errorf("decode %s: a message of kind %d, want a dictionary or a record batch", kind, m.kind)
		}
	}
}

// numbers is the column of fixed width at i.
func numbers[T any](d *decoded, i int) (out []T) {
	defer recovered(d.kind, &d.err)
	if d.cols.rows == 0 {
		return nil
	}
	var zero T
	b := d.cols.buffer(d.first[i]+1, d.cols.rows*int(unsafe.Sizeof(zero)))
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), d.cols.rows)
}

func (d *decoded) times(i int) []int64      { return numbers[int64](d, i) }
func (d *decoded) float64s(i int) []float64 { return numbers[float64](d, i) }
func (d *decoded) float32s(i int) []float32 { return numbers[float32](d, i) }
func (d *decoded) int64s(i int) []int64     { return numbers[int64](d, i) }
func (d *decoded) uint8s(i int) []uint8     { return numbers[uint8](d, i) }

// dict reads a dictionary column and checks every index against it.
func (d *decoded) dict(i int) Dict {
	out := Dict{Index: numbers[int16](d, i), Values: d.dicts[i]}
	for _, x := range out.Index {
		if int(x) < 0 || int(x) >= len(out.Values) {
			d.err = fmt.Errorf("decode %s: column %d: index %d, want 0 to %d", d.kind, i, x, len(out.Values)-1)
			return Dict{}
		}
	}
	return out
}

func (d *decoded) strings(i int) (out []string) {
	defer recovered(d.kind, &d.err)
	return d.cols.strings(d.first[i] + 1)
}

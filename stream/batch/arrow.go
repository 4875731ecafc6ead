package batch

import (
	"bytes"
	"fmt"
	"strings"
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

// decoded is one record batch read back; its methods return columns and keep the first error.
type decoded struct {
	kind Kind
	rec  arrow.Record
	meta map[string]string
	err  error
}

// open reads the schema of an encoded batch and checks kind and version. A hostile batch can make
// the Arrow library panic, which is an error here: the bytes came from outside this process.
func open(kind Kind, data []byte) (r *ipc.Reader, meta map[string]string, err error) {
	r, err = ipc.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, nil, fmt.Errorf("decode %s: %w", kind, err)
	}
	md := r.Schema().Metadata()
	meta = md.ToMap()
	if got := meta["kind"]; got != string(kind) {
		return nil, nil, fmt.Errorf("decode %s: a batch of kind %q", kind, got)
	}
	if got := meta["version"]; got != schemaVersion {
		return nil, nil, fmt.Errorf("decode %s: schema version %q, want %q", kind, got, schemaVersion)
	}
	return r, meta, nil
}

func metadata(kind Kind, data []byte) (meta map[string]string, err error) {
	defer recovered(kind, &err)
	_, meta, err = open(kind, data)
	return meta, err
}

func recovered(kind Kind, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("decode %s: broken Arrow stream: %v", kind, p)
	}
}

func decode(kind Kind, fields []arrow.Field, data []byte) (d *decoded, err error) {
	defer recovered(kind, &err)
	r, meta, err := open(kind, data)
	if err != nil {
		return nil, err
	}
	if got, want := r.Schema().NumFields(), len(fields); got != want {
		return nil, fmt.Errorf("decode %s: %d columns, want %d", kind, got, want)
	}
	for i, f := range fields {
		if got := r.Schema().Field(i); got.Name != f.Name || !arrow.TypeEqual(got.Type, f.Type) {
			return nil, fmt.Errorf("decode %s: column %d is %s %s, want %s %s", kind, i, got.Name, got.Type, f.Name, f.Type)
		}
	}
	if !r.Next() {
		return nil, fmt.Errorf("decode %s: no record batch: %v", kind, r.Err())
	}
	rec := r.Record()
	rec.Retain()
	d = &decoded{kind: kind, rec: rec, meta: meta}
	for i := range fields {
		if rec.Column(i).NullN() > 0 {
			return nil, fmt.Errorf("decode %s: column %s holds nulls, want none", kind, fields[i].Name)
		}
	}
	return d, nil
}

func (d *decoded) times(i int) []int64 {
	v := d.rec.Column(i).(*array.Timestamp).TimestampValues()
	return unsafe.Slice((*int64)(unsafe.Pointer(unsafe.SliceData(v))), len(v))
}

func (d *decoded) float64s(i int) []float64 { return d.rec.Column(i).(*array.Float64).Float64Values() }
func (d *decoded) float32s(i int) []float32 { return d.rec.Column(i).(*array.Float32).Float32Values() }
func (d *decoded) int64s(i int) []int64     { return d.rec.Column(i).(*array.Int64).Int64Values() }
func (d *decoded) uint8s(i int) []uint8     { return d.rec.Column(i).(*array.Uint8).Uint8Values() }

// dict reads a dictionary column and checks every index against it.
func (d *decoded) dict(i int) Dict {
	col := d.rec.Column(i).(*array.Dictionary)
	out := Dict{Index: col.Indices().(*array.Int16).Int16Values(), Values: make([]string, col.Dictionary().Len())}
	switch values := col.Dictionary().(type) {
	case *array.String:
		for j := range out.Values {
			out.Values[j] = strings.Clone(values.Value(j))
		}
	case *array.Binary:
		for j := range out.Values {
			out.Values[j] = string(values.Value(j))
		}
	}
	for _, x := range out.Index {
		if int(x) < 0 || int(x) >= len(out.Values) {
			d.err = fmt.Errorf("decode %s: column %d: index %d, want 0 to %d", d.kind, i, x, len(out.Values)-1)
			return Dict{}
		}
	}
	return out
}

func (d *decoded) strings(i int) []string {
	out := make([]string, d.rec.NumRows())
	switch c := d.rec.Column(i).(type) {
	case *array.String:
		for j := range out {
			out[j] = strings.Clone(c.Value(j))
		}
	case *array.Binary:
		for j := range out {
			out[j] = string(c.Value(j))
		}
	}
	return out
}

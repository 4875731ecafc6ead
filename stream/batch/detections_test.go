package batch

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"
	"unsafe"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"
)

// sampleDetection has a value of its own in every field, so that a column in the wrong place shows.
func sampleDetection(n int) Detection {
	var d Detection
	v := reflect.ValueOf(&d).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.String:
			f.SetString(fmt.Sprintf("%s-%d\xe8", v.Type().Field(i).Name, n%3))
			if v.Type().Field(i).Name != "PlateSealed" {
				f.SetString(fmt.Sprintf("%s-%d", v.Type().Field(i).Name, n%3))
			}
		case reflect.Float32, reflect.Float64:
			f.SetFloat(float64(i) + float64(n)/4)
		case reflect.Int64:
			f.SetInt(int64(1732311111000 + i*1000 + n))
		case reflect.Uint8:
			f.SetUint(uint64(n % 64))
		}
	}
	return d
}

func TestDetectionsRoundTrip(t *testing.T) {
	var d Detections
	for _, rows := range []int{0, 1, 500} {
		d.Reset()
		for i := range rows {
			row := sampleDetection(i)
			d.Append(&row)
		}
		d.Fingerprints = append(d.Fingerprints, 7, 8)
		data, err := d.Encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := DecodeDetections(data)
		if err != nil {
			t.Fatal(err)
		}
		if got.Len() != rows || !reflect.DeepEqual(got.Fingerprints, []uint64{7, 8}) {
			t.Fatalf("%d rows, fingerprints %v; want %d and 7, 8", got.Len(), got.Fingerprints, rows)
		}
		for i := range rows {
			if g, w := got.Row(i), sampleDetection(i); g != w {
				t.Fatalf("row %d: %+v, want %+v", i, g, w)
			}
		}
	}
}

// A row's strings may lie in memory that is used again.
func TestDetectionsCopyStrings(t *testing.T) {
	var d Detections
	buf := []byte("track-1")
	row := Absent()
	row.Track = unsafe.String(unsafe.SliceData(buf), len(buf))
	d.Append(&row)
	copy(buf, "another")
	if got := d.Row(0); got.Track != "track-1" || !math.IsNaN(got.Lat) || got.Score == got.Score {
		t.Errorf("%+v, want track-1 and no numbers", got)
	}
}

// fill gives every field of the struct that v points to a value of its own.
func fill(v any, n int) {
	s := reflect.ValueOf(v).Elem()
	for i := range s.NumField() {
		switch f := s.Field(i); f.Kind() {
		case reflect.String:
			f.SetString(fmt.Sprintf("%s-%d", s.Type().Field(i).Name, n%3))
		case reflect.Float64:
			f.SetFloat(float64(i) + float64(n)/4)
		case reflect.Int64:
			f.SetInt(int64(i*1000 + n))
		case reflect.Uint64, reflect.Uint8:
			f.SetUint(uint64(i + n))
		case reflect.Struct:
			f.Set(reflect.ValueOf(time.UnixMilli(int64(1732311111000 + i*1000 + n)).UTC()))
		}
	}
}

func TestTracksAndCountsRoundTrip(t *testing.T) {
	tracks, counts := make([]Track, 5), make([]Count, 5)
	for i := range tracks {
		fill(&tracks[i], i)
		fill(&counts[i], i)
	}
	data, err := EncodeTracks(tracks)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeTracks(data); err != nil || !reflect.DeepEqual(got, tracks) {
		t.Errorf("%+v, %v; want %+v", got, err, tracks)
	}
	if data, err = EncodeCounts(counts); err != nil {
		t.Fatal(err)
	}
	if got, err := DecodeCounts(data); err != nil || !reflect.DeepEqual(got, counts) {
		t.Errorf("%+v, %v; want %+v", got, err, counts)
	}
}

func FuzzDecodeDetections(f *testing.F) {
	for _, n := range []int{0, 1, 20} {
		var d Detections
		for i := range n {
			row := sampleDetection(i)
			d.Append(&row)
		}
		d.Fingerprints = append(d.Fingerprints, 7)
		data, err := d.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<20 {
			return
		}
		d, err := DecodeDetections(data)
		if err != nil {
			return
		}
		for i := range d.Len() {
			_ = d.Row(i)
		}
		again, err := d.Slice(0, d.Len()).Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeDetections(again); err != nil || got.Len() != d.Len() {
			t.Fatalf("%d rows encoded again: %v", d.Len(), err)
		}
	})
}

// A damaged batch is an error, or rows that can be read; its lengths are not believed.
func TestDecodeDamaged(t *testing.T) {
	var d Detections
	for i := range 20 {
		row := sampleDetection(i)
		d.Append(&row)
	}
	data, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 1))
	refused := 0
	for range 10_000 {
		damaged := slices.Clone(data)
		for range 1 + rng.IntN(4) {
			damaged[rng.IntN(len(damaged))] = byte(rng.Uint32())
		}
		got, err := DecodeDetections(damaged)
		if err != nil {
			refused++
			continue
		}
		for i := range got.Len() {
			_ = got.Row(i)
		}
	}
	if refused < 1000 {
		t.Errorf("%d of 10,000 damaged batches were refused, want most of what hits the structure", refused)
	}
	for n := range len(data) - 8 { // the last 8 bytes say that nothing follows
		if _, err := DecodeDetections(data[:n]); err == nil {
			t.Fatalf("the first %d of %d bytes are taken for a batch", n, len(data))
		}
	}
}

// What other writers of Arrow may do and ours does not: nulls, compression, another type or kind.
func TestDecodeOtherArrow(t *testing.T) {
	write := func(kind string, fields []arrow.Field, cols []arrow.Array, rows int64, opts ...ipc.Option) []byte {
		md := arrow.NewMetadata([]string{"kind", "version"}, []string{kind, schemaVersion})
		schema := arrow.NewSchema(fields, &md)
		var b bytes.Buffer
		w := ipc.NewWriter(&b, append(opts, ipc.WithSchema(schema))...)
		if err := w.Write(array.NewRecord(schema, cols, rows)); err != nil {
			t.Fatal(err)
		}
		w.Close()
		return b.Bytes()
	}
	fields := []arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Float64}}
	values := []arrow.Array{float64s([]float64{1, 2})}
	good := write("x", fields, values, 2)
	if d, err := decode("x", fields, good); err != nil || !slices.Equal(d.float64s(0), []float64{1, 2}) {
		t.Fatalf("%+v, %v", d, err)
	}
	null := array.NewFloat64Builder(memory.DefaultAllocator)
	null.AppendNull()
	null.Append(2)
	nullable := []arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Float64, Nullable: true}}
	for name, data := range map[string][]byte{
		"nulls":         write("x", nullable, []arrow.Array{null.NewArray()}, 2),
		"compressed":    write("x", fields, values, 2, ipc.WithZstd()),
		"another kind":  write("y", fields, values, 2),
		"another type":  write("x", []arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Float32}}, []arrow.Array{float32s([]float32{1})}, 1),
		"another name":  write("x", []arrow.Field{{Name: "b", Type: arrow.PrimitiveTypes.Float64}}, values, 2),
		"no dictionary": write("x", []arrow.Field{{Name: "a", Type: arrow.BinaryTypes.String}}, []arrow.Array{stringsColumn([]string{"v"})}, 1),
	} {
		if d, err := decode("x", fields, data); err == nil {
			t.Errorf("%s: %v, want it refused", name, d.float64s(0))
		}
	}
}

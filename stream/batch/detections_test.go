package batch

import (
	"fmt"
	"math"
	"reflect"
	"testing"
	"time"
	"unsafe"
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
	copy(buf, "XXXXXXX")
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

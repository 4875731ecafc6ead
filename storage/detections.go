package storage

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"panormus/stream/batch"
)

// Video metadata is the most of what comes in, so it goes out as observations do: one Native block
// a group, the wide columns from the memory they were decoded in.

// A detectionColumn is one of the table's. of returns a column of a batch: a slice of numbers or a
// *batch.Dict.
type detectionColumn struct {
	name, kind string
	of         func(d *batch.Detections) any
}

const (
	kindTime   = "DateTime64(3, 'UTC')"
	kindSecond = "DateTime('UTC')"
	kindWord   = "LowCardinality(String)" // few values in a group
)

// detectionColumns are the columns of an insert, but for expires, in their order. Sealed plates have
// a table of their own.
var detectionColumns = []detectionColumn{
	{"time", kindTime, func(d *batch.Detections) any { return d.Time }},
	{"received", kindTime, func(d *batch.Detections) any { return d.Received }},
	{"camera", kindWord, func(d *batch.Detections) any { return &d.Camera }},
	{"what", kindWord, func(d *batch.Detections) any { return &d.What }},
	{"track", "String", func(d *batch.Detections) any { return &d.Track }},
	{"other", "String", func(d *batch.Detections) any { return &d.Other }},
	{"class", kindWord, func(d *batch.Detections) any { return &d.Class }},
	{"vendor_class", kindWord, func(d *batch.Detections) any { return &d.VendorClass }},
	{"score", "Float32", func(d *batch.Detections) any { return d.Score }},
	{"zone", kindWord, func(d *batch.Detections) any { return &d.Zone }},
	{"rule", kindWord, func(d *batch.Detections) any { return &d.Rule }},
	{"direction", kindWord, func(d *batch.Detections) any { return &d.Direction }},
	{"speed_mps", "Float32", func(d *batch.Detections) any { return d.SpeedMps }},
	{"heading_deg", "Float32", func(d *batch.Detections) any { return d.HeadingDeg }},
	{"box_left", "Float32", func(d *batch.Detections) any { return d.BoxLeft }},
	{"box_top", "Float32", func(d *batch.Detections) any { return d.BoxTop }},
	{"box_right", "Float32", func(d *batch.Detections) any { return d.BoxRight }},
	{"box_bottom", "Float32", func(d *batch.Detections) any { return d.BoxBottom }},
	{"center_x", "Float32", func(d *batch.Detections) any { return offCentre(d.CenterX, d.BoxLeft, d.BoxRight) }},
	{"center_y", "Float32", func(d *batch.Detections) any { return offCentre(d.CenterY, d.BoxTop, d.BoxBottom) }},
	{"lat", "Float64", func(d *batch.Detections) any { return d.Lat }},
	{"lon", "Float64", func(d *batch.Detections) any { return d.Lon }},
	{"value", "Float64", func(d *batch.Detections) any { return d.Value }},
	{"plate_hash", "String", func(d *batch.Detections) any { return &d.PlateHash }},
	{"attributes", "String", func(d *batch.Detections) any { return &d.Attributes }},
	{"purpose", kindWord, func(d *batch.Detections) any { return &d.Purpose }},
	{"quality", "UInt8", func(d *batch.Detections) any { return d.Quality }},
}

var insertDetections = func() string {
	names := make([]string, 0, len(detectionColumns)+1)
	for _, c := range detectionColumns {
		names = append(names, c.name)
	}
	return "INSERT INTO detections_log (" + strings.Join(append(names, "expires"), ", ") + ")"
}()

// detectionRows are batches, one behind the other.
type detectionRows []*batch.Detections

func (r detectionRows) len() int {
	n := 0
	for _, d := range r {
		n += d.Len()
	}
	return n
}

func (r detectionRows) slice(lo, hi int) rowSet {
	var out detectionRows
	for _, d := range r {
		n := d.Len()
		if from, to := max(lo, 0), min(hi, n); from < to {
			out = append(out, d.Slice(from, to))
		}
		lo, hi = lo-n, hi-n
	}
	return out
}

// row leaves out what names anybody: it is for the dead letter.
func (r detectionRows) row(i int) any {
	for _, d := range r {
		if i < d.Len() {
			return map[string]any{
				"time": time.UnixMilli(d.Time[i]).UTC(), "received": time.UnixMilli(d.Received[i]).UTC(),
				"camera": d.Camera.At(i), "what": d.What.At(i), "class": d.Class.At(i),
			}
		}
		i -= d.Len()
	}
	return nil
}

func (r detectionRows) insert(ctx context.Context, db *DB) error {
	if !db.http {
		return db.insertDetectionBatch(ctx, r)
	}
	return db.conn.InsertFormat(ctx, "Native", insertDetections, r.body(db.bound("detections")))
}

// body is the rows as one Native block of revision 0, to be read once. It refers to their memory.
func (r detectionRows) body(bound time.Duration) io.Reader {
	var b segments
	b.uvarint(uint64(len(detectionColumns) + 1))
	b.uvarint(uint64(r.len()))
	for _, c := range detectionColumns {
		if c.kind == kindWord {
			var words lowCardinality
			for _, d := range r {
				words.add(c.of(d).(*batch.Dict))
			}
			words.encode(&b, c.name)
			continue
		}
		b.column(c.name, c.kind)
		for _, d := range r {
			switch v := c.of(d).(type) {
			case []int64:
				b.bytes(rawBytes(v))
			case []float32:
				b.bytes(rawBytes(v))
			case []float64:
				b.bytes(rawBytes(v))
			case []uint8:
				b.bytes(v)
			case *batch.Dict:
				b.texts(v)
			}
		}
	}
	b.column("expires", kindSecond)
	for _, d := range r {
		b.bytes(rawBytes(expiries(d, bound)))
	}
	return b.reader()
}

// offCentre are centres, or NaN for those in the middle between two sides, which the view works out:
// most cameras tell no other, and such a pair of columns is 7 of 24 bytes a row.
func offCentre(centre, low, high []float32) []float32 {
	const near = 1e-6 // of the image, less than a thousandth of a pixel
	nan := float32(math.NaN())
	out := make([]float32, len(centre))
	for i, c := range centre {
		if off := c - (low[i]+high[i])/2; off < near && off > -near {
			c = nan
		}
		out[i] = c
	}
	return out
}

// insertDetectionBatch is for servers reached by the native protocol.
func (db *DB) insertDetectionBatch(ctx context.Context, r detectionRows) error {
	b, err := db.conn.PrepareBatch(ctx, insertDetections)
	if err != nil {
		return err
	}
	defer b.Close()
	for _, d := range r {
		for i, c := range detectionColumns {
			v := c.of(d)
			if words, ok := v.(*batch.Dict); ok {
				texts := make([]string, words.Len())
				for k := range texts {
					texts[k] = words.At(k)
				}
				v = texts
			}
			if err := b.Column(i).Append(v); err != nil {
				return &rowError{fmt.Errorf("column %s: %w", c.name, err)}
			}
		}
		ends := make([]time.Time, d.Len())
		for i, at := range expiries(d, db.bound("detections")) {
			ends[i] = time.Unix(int64(at), 0)
		}
		if err := b.Column(len(detectionColumns)).Append(ends); err != nil {
			return &rowError{fmt.Errorf("column expires: %w", err)}
		}
	}
	return b.Send()
}

// expiries are when the rows of d must be gone, in Unix seconds.
func expiries(d *batch.Detections, bound time.Duration) []uint32 {
	out := make([]uint32, d.Len())
	for i, at := range d.Expires {
		out[i] = expiry(at, d.Received[i], bound)
	}
	return out
}

// expiry is when a row must be gone, in whole Unix seconds and never later than asked for: expires,
// or bound after it was received where that is sooner; a bound of 0 is none. Times are Unix ms.
func expiry(expires, received int64, bound time.Duration) uint32 {
	if ms := bound.Milliseconds(); ms > 0 {
		expires = min(expires, received+ms)
	}
	return uint32(min(max(expires/1000, 0), math.MaxUint32))
}

// plateRows are the sealed plates of detections.
type plateRows struct {
	of   detectionRows
	rows [][2]int // batch and row
}

// plates returns those of r that have a sealed plate.
func (r detectionRows) plates() plateRows {
	out := plateRows{of: r}
	for b, d := range r {
		if !d.PlateSealed.Any() {
			continue
		}
		for i := range d.Len() {
			if d.PlateSealed.At(i) != "" {
				out.rows = append(out.rows, [2]int{b, i})
			}
		}
	}
	return out
}

func (r plateRows) len() int                { return len(r.rows) }
func (r plateRows) slice(lo, hi int) rowSet { return plateRows{r.of, r.rows[lo:hi]} }
func (r plateRows) row(i int) any {
	d, k := r.of[r.rows[i][0]], r.rows[i][1]
	return map[string]any{"time": time.UnixMilli(d.Time[k]).UTC(), "camera": d.Camera.At(k)}
}

func (r plateRows) insert(ctx context.Context, db *DB) error {
	bound := db.bound("detections")
	return db.insertRows(ctx, "plates_log (time, camera, purpose, plate_hash, sealed, expires)", len(r.rows), func(i int) []any {
		d, k := r.of[r.rows[i][0]], r.rows[i][1]
		return []any{time.UnixMilli(d.Time[k]), d.Camera.At(k), d.Purpose.At(k), d.PlateHash.At(k), d.PlateSealed.At(k),
			time.Unix(int64(expiry(d.Expires[k], d.Received[k], bound)), 0)}
	})
}

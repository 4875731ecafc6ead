package storage

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"panormus/devices"
	"panormus/stream/batch"
)

// pastDetectionColumns are what rules may read of detections, under the names of rules.
var pastDetectionColumns = []struct {
	name, column string
	at           func(*batch.Detection) any  // a pointer to it in a row
	of           func(*batch.Detections) any // a pointer to it in a batch
}{
	{"camera", "camera", func(r *batch.Detection) any { return &r.Camera }, func(d *batch.Detections) any { return &d.Camera }},
	{"what", "what", func(r *batch.Detection) any { return &r.What }, func(d *batch.Detections) any { return &d.What }},
	{"track", "track", func(r *batch.Detection) any { return &r.Track }, func(d *batch.Detections) any { return &d.Track }},
	{"other", "other", func(r *batch.Detection) any { return &r.Other }, func(d *batch.Detections) any { return &d.Other }},
	{"class", "class", func(r *batch.Detection) any { return &r.Class }, func(d *batch.Detections) any { return &d.Class }},
	{"vendor_class", "vendor_class", func(r *batch.Detection) any { return &r.VendorClass }, func(d *batch.Detections) any { return &d.VendorClass }},
	{"score", "score", func(r *batch.Detection) any { return &r.Score }, func(d *batch.Detections) any { return &d.Score }},
	{"zone", "zone", func(r *batch.Detection) any { return &r.Zone }, func(d *batch.Detections) any { return &d.Zone }},
	{"rule", "rule", func(r *batch.Detection) any { return &r.Rule }, func(d *batch.Detections) any { return &d.Rule }},
	{"direction", "direction", func(r *batch.Detection) any { return &r.Direction }, func(d *batch.Detections) any { return &d.Direction }},
	{"speed_mps", "speed_mps", func(r *batch.Detection) any { return &r.SpeedMps }, func(d *batch.Detections) any { return &d.SpeedMps }},
	{"heading_deg", "heading_deg", func(r *batch.Detection) any { return &r.HeadingDeg }, func(d *batch.Detections) any { return &d.HeadingDeg }},
	{"box_left", "box_left", func(r *batch.Detection) any { return &r.BoxLeft }, func(d *batch.Detections) any { return &d.BoxLeft }},
	{"box_top", "box_top", func(r *batch.Detection) any { return &r.BoxTop }, func(d *batch.Detections) any { return &d.BoxTop }},
	{"box_right", "box_right", func(r *batch.Detection) any { return &r.BoxRight }, func(d *batch.Detections) any { return &d.BoxRight }},
	{"box_bottom", "box_bottom", func(r *batch.Detection) any { return &r.BoxBottom }, func(d *batch.Detections) any { return &d.BoxBottom }},
	{"center_x", "center_x", func(r *batch.Detection) any { return &r.CenterX }, func(d *batch.Detections) any { return &d.CenterX }},
	{"center_y", "center_y", func(r *batch.Detection) any { return &r.CenterY }, func(d *batch.Detections) any { return &d.CenterY }},
	{"value", "value", func(r *batch.Detection) any { return &r.Value }, func(d *batch.Detections) any { return &d.Value }},
	{"purpose", "purpose", func(r *batch.Detection) any { return &r.Purpose }, func(d *batch.Detections) any { return &d.Purpose }},
	{"position_lat", "lat", func(r *batch.Detection) any { return &r.Lat }, func(d *batch.Detections) any { return &d.Lat }},
	{"position_lon", "lon", func(r *batch.Detection) any { return &r.Lon }, func(d *batch.Detections) any { return &d.Lon }},
}

// PastDetections calls each for the detections of From <= time < To, in order of event time, some thousands at a
// time; each does not keep or change them. columns are those that are wanted, by their names in rules, nil for all; the
// others are as of batch.Absent. Those whose event time is not known are left out and counted.
func (db *DB) PastDetections(ctx context.Context, from, to time.Time, columns []string, in *Within, each func(*batch.Detections) error) (leftOut int64, err error) {
	take := func(d *batch.Detections) error {
		d.Received = d.Time
		known := d
		for i, q := range d.Quality {
			if q&devices.QualityClock != 0 {
				if known == d {
					known = &batch.Detections{}
					for j := range i {
						r := d.Row(j)
						known.Append(&r)
					}
				}
				leftOut++
			} else if known != d {
				r := d.Row(i)
				known.Append(&r)
			}
		}
		return each(known)
	}
	wanted := func(name string) bool { return columns == nil || name == "camera" || slices.Contains(columns, name) }
	var w where
	w.times("d.time", from, to)
	w.parts("camera", in)
	const order = " ORDER BY toStartOfFifteenMinutes(d.time), d.time, camera"
	ctx, cancel := pastContext(ctx)
	defer cancel()
	if db.http {
		r := detectionReader{wanted: wanted}
		if err := readBlocks(ctx, db, "SELECT "+r.sql()+" FROM detections AS d"+w.sql()+order, w.args, r.block, take); err != nil {
			return leftOut, fmt.Errorf("read detections of the past: %w", err)
		}
		return leftOut, nil
	}
	names := "toUnixTimestamp64Milli(d.time), quality"
	var at []func(*batch.Detection) any
	for _, c := range pastDetectionColumns {
		if wanted(c.name) {
			names += ", " + c.column
			at = append(at, c.at)
		}
	}
	var d batch.Detections
	into := make([]any, 2+len(at))
	err = pastRows(ctx, db, "SELECT "+names+" FROM detections AS d"+w.sql()+order, w.args,
		func(rows driver.Rows, r *batch.Detection) error {
			*r = batch.Absent()
			into[0], into[1] = &r.Time, &r.Quality
			for i, of := range at {
				into[2+i] = of(r)
			}
			return rows.Scan(into...)
		}, func(page []batch.Detection) error {
			d.Reset()
			for i := range page {
				d.Append(&page[i])
			}
			return take(&d)
		})
	if err != nil {
		return leftOut, fmt.Errorf("read detections of the past: %w", err)
	}
	return leftOut, nil
}

// A detectionReader reads detections from Native blocks, column by column as they lie there. Columns that are not
// wanted are those of batch.Absent, in memory that all batches share.
type detectionReader struct {
	wanted func(name string) bool
	codes  []int16
	nan32  []float32
	nan64  []float64
	zeros  []int64
}

// sql is the columns of the query, under names that no column has.
func (r *detectionReader) sql() string {
	sql := "toUnixTimestamp64Milli(d.time) AS ms, quality AS c_quality"
	for _, c := range pastDetectionColumns {
		if !r.wanted(c.name) {
			continue
		}
		as := "toLowCardinality(d." + c.column + ")"
		switch c.of(&batch.Detections{}).(type) {
		case *[]float32:
			as = "toFloat32(d." + c.column + ")"
		case *[]float64:
			as = "toFloat64(d." + c.column + ")"
		}
		sql += ", " + as + " AS c_" + c.name
	}
	return sql
}

// block reads the next batch.
func (r *detectionReader) block(n *nativeReader) (*batch.Detections, error) {
	d := &batch.Detections{}
	columns := []nativeColumn{
		{"ms", "Int64", func(rows int) error { d.Time = make([]int64, rows); return n.full(rawBytes(d.Time)) }},
		{"c_quality", "UInt8", func(rows int) error { d.Quality = make([]uint8, rows); return n.full(d.Quality) }},
	}
	for _, c := range pastDetectionColumns {
		if !r.wanted(c.name) {
			continue
		}
		column := nativeColumn{name: "c_" + c.name}
		switch to := c.of(d).(type) {
		case *batch.Dict:
			column.kind, column.read = kindWord, func(rows int) error { return n.dict(to, rows) }
		case *[]float32:
			column.kind, column.read = "Float32", func(rows int) error { *to = make([]float32, rows); return n.full(rawBytes(*to)) }
		case *[]float64:
			column.kind, column.read = "Float64", func(rows int) error { *to = make([]float64, rows); return n.full(rawBytes(*to)) }
		}
		columns = append(columns, column)
	}
	rows, err := n.block(columns)
	if err != nil {
		return nil, err
	}
	r.absent(d, rows)
	return d, nil
}

// absent gives a batch the columns that were not read.
func (r *detectionReader) absent(d *batch.Detections, rows int) {
	for len(r.codes) < rows {
		r.codes, r.zeros = append(r.codes, 0), append(r.zeros, 0)
		r.nan32, r.nan64 = append(r.nan32, float32(math.NaN())), append(r.nan64, math.NaN())
	}
	empty := batch.Dict{Index: r.codes[:rows], Values: []string{""}}
	for _, c := range pastDetectionColumns {
		if r.wanted(c.name) {
			continue
		}
		switch to := c.of(d).(type) {
		case *batch.Dict:
			*to = empty
		case *[]float32:
			*to = r.nan32[:rows]
		case *[]float64:
			*to = r.nan64[:rows]
		}
	}
	d.PlateHash, d.PlateSealed, d.Attributes = empty, empty, empty
	d.Expires = r.zeros[:rows]
}

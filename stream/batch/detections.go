package batch

import (
	"fmt"
	"math"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"
)

// What a row of Detections tells: an object in one frame, or what the camera made of objects itself.
const (
	WhatObject      = "object"       // one object in one frame
	WhatFrame       = "frame"        // a frame without objects
	WhatTrack       = "track"        // a whole track as the camera consolidated it: Time is its end, Value its duration in s
	WhatTrackEnd    = "track_end"    // Track is over
	WhatTrackRename = "track_rename" // Track goes on under the name Other
	WhatTrackSplit  = "track_split"  // Other came out of Track
	WhatTrackMerge  = "track_merge"  // Track goes on in Other
	WhatLineCrossed = "line_crossed" // Rule names the line, Direction the way
	WhatZoneEntered = "zone_entered"
	WhatZoneLeft    = "zone_left"
	WhatInside      = "inside"      // state: Value 1 while an object is in Zone, 0 afterwards
	WhatLoitering   = "loitering"   // state, where the camera tells its end
	WhatCount       = "count"       // Value is a counter that only grows until it is reset
	WhatOccupancy   = "occupancy"   // Value is how many are there now
	WhatQueue       = "queue"       // Value is how many wait
	WhatMotion      = "motion"      // state
	WhatTamper      = "tamper"      // state: covered, moved, out of focus
	WhatSignalLoss  = "signal_loss" // state
	WhatPlate       = "plate"       // a plate was read
	WhatAlert       = "alert"       // what has no word here; Rule is the vendor's
)

// Classes of objects. A vendor's own word is kept beside them.
const (
	ClassPerson     = "person"
	ClassHead       = "head"
	ClassFace       = "face"
	ClassBicycle    = "bicycle"
	ClassMotorcycle = "motorcycle"
	ClassCar        = "car"
	ClassVan        = "van"
	ClassTruck      = "truck"
	ClassBus        = "bus"
	ClassTrain      = "train"
	ClassVehicle    = "vehicle" // of no known kind
	ClassAnimal     = "animal"
	ClassBag        = "bag"
	ClassPlate      = "plate"
	ClassUnknown    = "unknown"
)

// A Detection is a row of Detections. Numbers that the camera does not tell are NaN, texts "".
type Detection struct {
	Time, Received int64 // Unix ms
	Camera         string
	What           string // one of the What constants
	Track, Other   string // the vendor's ids of tracks; Other: see What
	Class          string // one of the Class constants
	VendorClass    string // the vendor's own word
	Score          float32
	Zone           string // the vendor's name of the area
	Rule           string // the vendor's name of the line, scenario or rule
	Direction      string // in, out, left_to_right, right_to_left, up, down, or the vendor's own
	SpeedMps       float32
	HeadingDeg     float32 // clockwise from north on the ground, or from up in the image
	// The box and the centre lie in 0..1, the origin at the top left of the image.
	BoxLeft, BoxTop, BoxRight, BoxBottom float32
	CenterX, CenterY                     float32
	Lat, Lon                             float64 // degrees, WGS 84
	Value                                float64 // see What
	PlateHash                            string  // keyed hash, hexadecimal; the key is the purpose's and the day's
	PlateSealed                          string  // encrypted plate, where the purpose allows it; goes to a table of its own
	Attributes                           string  // JSON object of what the purpose allows, "" for none
	Purpose                              string  // of the camera, under which the row is kept
	Expires                              int64   // Unix ms: the row is gone by then
	Quality                              uint8   // bits of devices.Quality
}

// Absent is a Detection that tells nothing yet: all numbers NaN.
func Absent() Detection {
	nan := float32(math.NaN())
	return Detection{
		Score: nan, SpeedMps: nan, HeadingDeg: nan, BoxLeft: nan, BoxTop: nan, BoxRight: nan, BoxBottom: nan,
		CenterX: nan, CenterY: nan, Lat: math.NaN(), Lon: math.NaN(), Value: math.NaN(),
	}
}

// Detections is a batch of video metadata, column by column.
type Detections struct {
	Time, Received                       []int64
	Camera, What, Track, Other           Dict
	Class, VendorClass                   Dict
	Score                                []float32
	Zone, Rule, Direction                Dict
	SpeedMps, HeadingDeg                 []float32
	BoxLeft, BoxTop, BoxRight, BoxBottom []float32
	CenterX, CenterY                     []float32
	Lat, Lon, Value                      []float64
	PlateHash, PlateSealed               Dict
	Attributes, Purpose                  Dict
	Expires                              []int64
	Quality                              []uint8
	Fingerprints                         []uint64 // as those of Observations
}

// Len is the number of rows.
func (d *Detections) Len() int { return len(d.Time) }

func (d *Detections) dicts() []*Dict {
	return []*Dict{
		&d.Camera, &d.What, &d.Track, &d.Other, &d.Class, &d.VendorClass, &d.Zone, &d.Rule, &d.Direction,
		&d.PlateHash, &d.PlateSealed, &d.Attributes, &d.Purpose,
	}
}

// Reset empties the batch and keeps its memory.
func (d *Detections) Reset() {
	for _, c := range d.dicts() {
		c.reset()
	}
	d.Time, d.Received, d.Expires = d.Time[:0], d.Received[:0], d.Expires[:0]
	for _, c := range []*[]float32{&d.Score, &d.SpeedMps, &d.HeadingDeg, &d.BoxLeft, &d.BoxTop, &d.BoxRight, &d.BoxBottom, &d.CenterX, &d.CenterY} {
		*c = (*c)[:0]
	}
	d.Lat, d.Lon, d.Value = d.Lat[:0], d.Lon[:0], d.Value[:0]
	d.Quality, d.Fingerprints = d.Quality[:0], d.Fingerprints[:0]
}

// Append adds a row. Its strings are copied where they are new, so they may lie in a buffer that is
// used again.
func (d *Detections) Append(r *Detection) {
	d.Time, d.Received, d.Expires = append(d.Time, r.Time), append(d.Received, r.Received), append(d.Expires, r.Expires)
	d.Camera.appendCopy(r.Camera)
	d.What.appendCopy(r.What)
	d.Track.appendCopy(r.Track)
	d.Other.appendCopy(r.Other)
	d.Class.appendCopy(r.Class)
	d.VendorClass.appendCopy(r.VendorClass)
	d.Zone.appendCopy(r.Zone)
	d.Rule.appendCopy(r.Rule)
	d.Direction.appendCopy(r.Direction)
	d.PlateHash.appendCopy(r.PlateHash)
	d.PlateSealed.appendCopy(r.PlateSealed)
	d.Attributes.appendCopy(r.Attributes)
	d.Purpose.appendCopy(r.Purpose)
	d.Score, d.SpeedMps, d.HeadingDeg = append(d.Score, r.Score), append(d.SpeedMps, r.SpeedMps), append(d.HeadingDeg, r.HeadingDeg)
	d.BoxLeft, d.BoxTop = append(d.BoxLeft, r.BoxLeft), append(d.BoxTop, r.BoxTop)
	d.BoxRight, d.BoxBottom = append(d.BoxRight, r.BoxRight), append(d.BoxBottom, r.BoxBottom)
	d.CenterX, d.CenterY = append(d.CenterX, r.CenterX), append(d.CenterY, r.CenterY)
	d.Lat, d.Lon, d.Value = append(d.Lat, r.Lat), append(d.Lon, r.Lon), append(d.Value, r.Value)
	d.Quality = append(d.Quality, r.Quality)
}

// Row returns row i.
func (d *Detections) Row(i int) Detection {
	return Detection{
		Time: d.Time[i], Received: d.Received[i], Camera: d.Camera.At(i), What: d.What.At(i), Track: d.Track.At(i), Other: d.Other.At(i),
		Class: d.Class.At(i), VendorClass: d.VendorClass.At(i), Score: d.Score[i], Zone: d.Zone.At(i), Rule: d.Rule.At(i),
		Direction: d.Direction.At(i), SpeedMps: d.SpeedMps[i], HeadingDeg: d.HeadingDeg[i],
		BoxLeft: d.BoxLeft[i], BoxTop: d.BoxTop[i], BoxRight: d.BoxRight[i], BoxBottom: d.BoxBottom[i],
		CenterX: d.CenterX[i], CenterY: d.CenterY[i], Lat: d.Lat[i], Lon: d.Lon[i], Value: d.Value[i],
		PlateHash: d.PlateHash.At(i), PlateSealed: d.PlateSealed.At(i), Attributes: d.Attributes.At(i), Purpose: d.Purpose.At(i),
		Expires: d.Expires[i], Quality: d.Quality[i],
	}
}

// Slice returns rows lo to hi, in the memory of d and without fingerprints.
func (d *Detections) Slice(lo, hi int) *Detections {
	return &Detections{
		Time: d.Time[lo:hi], Received: d.Received[lo:hi], Camera: d.Camera.slice(lo, hi), What: d.What.slice(lo, hi),
		Track: d.Track.slice(lo, hi), Other: d.Other.slice(lo, hi), Class: d.Class.slice(lo, hi), VendorClass: d.VendorClass.slice(lo, hi),
		Score: d.Score[lo:hi], Zone: d.Zone.slice(lo, hi), Rule: d.Rule.slice(lo, hi), Direction: d.Direction.slice(lo, hi),
		SpeedMps: d.SpeedMps[lo:hi], HeadingDeg: d.HeadingDeg[lo:hi], BoxLeft: d.BoxLeft[lo:hi], BoxTop: d.BoxTop[lo:hi],
		BoxRight: d.BoxRight[lo:hi], BoxBottom: d.BoxBottom[lo:hi], CenterX: d.CenterX[lo:hi], CenterY: d.CenterY[lo:hi],
		Lat: d.Lat[lo:hi], Lon: d.Lon[lo:hi], Value: d.Value[lo:hi], PlateHash: d.PlateHash.slice(lo, hi),
		PlateSealed: d.PlateSealed.slice(lo, hi), Attributes: d.Attributes.slice(lo, hi), Purpose: d.Purpose.slice(lo, hi),
		Expires: d.Expires[lo:hi], Quality: d.Quality[lo:hi],
	}
}

var detectionsSchema = []arrow.Field{
	{Name: "time", Type: timestampMs}, {Name: "received", Type: timestampMs},
	{Name: "camera", Type: dictType}, {Name: "what", Type: dictType}, {Name: "track", Type: dictType}, {Name: "other", Type: dictType},
	{Name: "class", Type: dictType}, {Name: "vendor_class", Type: dictType}, {Name: "score", Type: arrow.PrimitiveTypes.Float32},
	{Name: "zone", Type: dictType}, {Name: "rule", Type: dictType}, {Name: "direction", Type: dictType},
	{Name: "speed_mps", Type: arrow.PrimitiveTypes.Float32}, {Name: "heading_deg", Type: arrow.PrimitiveTypes.Float32},
	{Name: "box_left", Type: arrow.PrimitiveTypes.Float32}, {Name: "box_top", Type: arrow.PrimitiveTypes.Float32},
	{Name: "box_right", Type: arrow.PrimitiveTypes.Float32}, {Name: "box_bottom", Type: arrow.PrimitiveTypes.Float32},
	{Name: "center_x", Type: arrow.PrimitiveTypes.Float32}, {Name: "center_y", Type: arrow.PrimitiveTypes.Float32},
	{Name: "lat", Type: arrow.PrimitiveTypes.Float64}, {Name: "lon", Type: arrow.PrimitiveTypes.Float64},
	{Name: "value", Type: arrow.PrimitiveTypes.Float64}, {Name: "plate_hash", Type: dictType}, {Name: "plate_sealed", Type: dictBinary},
	{Name: "attributes", Type: dictType}, {Name: "purpose", Type: dictType}, {Name: "expires", Type: timestampMs},
	{Name: "quality", Type: arrow.PrimitiveTypes.Uint8},
}

// Encode returns the batch as an Arrow IPC stream. An empty batch, with no rows, is allowed.
func (d *Detections) Encode() ([]byte, error) {
	n := d.Len()
	if n > limitRows {
		return nil, fmt.Errorf("encode detections: %d rows, want at most %d", n, limitRows)
	}
	return encode(KindDetections, detectionsSchema, fingerprintsMeta(d.Fingerprints), n, []arrow.Array{
		timestamps(d.Time), timestamps(d.Received), dictionary(&d.Camera), dictionary(&d.What), dictionary(&d.Track), dictionary(&d.Other),
		dictionary(&d.Class), dictionary(&d.VendorClass), float32s(d.Score), dictionary(&d.Zone), dictionary(&d.Rule), dictionary(&d.Direction),
		float32s(d.SpeedMps), float32s(d.HeadingDeg), float32s(d.BoxLeft), float32s(d.BoxTop), float32s(d.BoxRight), float32s(d.BoxBottom),
		float32s(d.CenterX), float32s(d.CenterY), float64s(d.Lat), float64s(d.Lon), float64s(d.Value), dictionary(&d.PlateHash),
		binaryDictionary(&d.PlateSealed), dictionary(&d.Attributes), dictionary(&d.Purpose), timestamps(d.Expires), uint8s(d.Quality),
	})
}

// DecodeDetections reads a batch. It keeps nothing of data.
func DecodeDetections(data []byte) (*Detections, error) {
	r, err := decode(KindDetections, detectionsSchema, data)
	if err != nil {
		return nil, err
	}
	d := &Detections{
		Time: r.times(0), Received: r.times(1), Camera: r.dict(2), What: r.dict(3), Track: r.dict(4), Other: r.dict(5),
		Class: r.dict(6), VendorClass: r.dict(7), Score: r.float32s(8), Zone: r.dict(9), Rule: r.dict(10), Direction: r.dict(11),
		SpeedMps: r.float32s(12), HeadingDeg: r.float32s(13), BoxLeft: r.float32s(14), BoxTop: r.float32s(15), BoxRight: r.float32s(16),
		BoxBottom: r.float32s(17), CenterX: r.float32s(18), CenterY: r.float32s(19), Lat: r.float64s(20), Lon: r.float64s(21),
		Value: r.float64s(22), PlateHash: r.dict(23), PlateSealed: r.dict(24), Attributes: r.dict(25), Purpose: r.dict(26),
		Expires: r.times(27), Quality: r.uint8s(28),
	}
	if r.err != nil {
		return nil, r.err
	}
	if d.Fingerprints, err = parseFingerprints(r.meta[fingerprintsKey]); err != nil {
		return nil, fmt.Errorf("decode detections: %w", err)
	}
	return d, nil
}

// appendCopy adds a row; a string that is new is copied.
func (d *Dict) appendCopy(s string) {
	if n := len(d.Index); n > 0 {
		if last := d.Index[n-1]; d.Values[last] == s { // what neighbours share costs no look-up
			d.Index = append(d.Index, last)
			return
		}
	}
	c, ok := d.lookup[s]
	if !ok {
		c = d.Code(strings.Clone(s))
	}
	d.Index = append(d.Index, c)
}

package batch

import (
	"fmt"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
)

// A Track is one object's way through a camera's view, from its first detection to its last.
type Track struct {
	ID          string // camera, day and the vendor's id: the same after a replay
	Camera      string
	Track       string // the vendor's first id
	Start, End  time.Time
	Received    time.Time // of the detection that ended it
	Class       string    // the most likely one
	VendorClass string
	Score       float64 // best
	Detections  int64
	// Zones are those it was in, by name and in order of entry, at most 16, joined by spaces.
	Zones                 string
	SpeedMps, SpeedMaxMps float64 // mean and greatest; NaN where the ground is not known
	DistanceM             float64 // along the ground; NaN where it is not known
	HeadingDeg            float64 // from first to last position
	StartX, StartY        float64 // centre in the image, 0..1
	EndX, EndY            float64
	StartLat, StartLon    float64 // NaN where the ground is not known
	EndLat, EndLon        float64
	Parent                string // ID of the track it came out of, "" for none
	Purpose               string
	Attributes            string
	PlateHash             string
	Expires               time.Time
	Quality               uint8
}

// A Count is what happened in one minute in one zone of a camera, or in the whole view (Zone ""), to
// objects of one class. A later Count of the same camera, zone, class and minute replaces the one
// before.
type Count struct {
	Time         time.Time // begin of the minute, event time
	Received     time.Time
	Camera       string
	Zone         string
	Class        string
	In, Out      int64   // objects that entered and left, or crossed the line one way and the other
	Seen         int64   // objects that were there at any time of the minute
	OccupancyAvg float64 // mean over the minute
	OccupancyMax int64
	DwellS       float64 // sum over the visits that ended, s
	Visits       int64   // that ended
	SpeedSumMps  float64 // sum over SpeedN tracks of their mean speed
	SpeedN       int64
	QueueMax     int64 // most that stood still at once
	Purpose      string
	Version      uint64 // position in the log of what it was made from: the greatest is right
}

var tracksSchema = []arrow.Field{
	{Name: "id", Type: arrow.BinaryTypes.String}, {Name: "camera", Type: dictType}, {Name: "track", Type: arrow.BinaryTypes.String},
	{Name: "start", Type: timestampMs}, {Name: "end", Type: timestampMs}, {Name: "received", Type: timestampMs},
	{Name: "class", Type: dictType}, {Name: "vendor_class", Type: dictType}, {Name: "score", Type: arrow.PrimitiveTypes.Float64},
	{Name: "detections", Type: arrow.PrimitiveTypes.Int64}, {Name: "zones", Type: dictType}, {Name: "speed_mps", Type: arrow.PrimitiveTypes.Float64},
	{Name: "speed_max_mps", Type: arrow.PrimitiveTypes.Float64}, {Name: "distance_m", Type: arrow.PrimitiveTypes.Float64}, {Name: "heading_deg", Type: arrow.PrimitiveTypes.Float64},
	{Name: "start_x", Type: arrow.PrimitiveTypes.Float64}, {Name: "start_y", Type: arrow.PrimitiveTypes.Float64}, {Name: "end_x", Type: arrow.PrimitiveTypes.Float64},
	{Name: "end_y", Type: arrow.PrimitiveTypes.Float64}, {Name: "start_lat", Type: arrow.PrimitiveTypes.Float64}, {Name: "start_lon", Type: arrow.PrimitiveTypes.Float64},
	{Name: "end_lat", Type: arrow.PrimitiveTypes.Float64}, {Name: "end_lon", Type: arrow.PrimitiveTypes.Float64}, {Name: "parent", Type: arrow.BinaryTypes.String},
	{Name: "purpose", Type: dictType}, {Name: "attributes", Type: dictType}, {Name: "plate_hash", Type: arrow.BinaryTypes.String},
	{Name: "expires", Type: timestampMs}, {Name: "quality", Type: arrow.PrimitiveTypes.Uint8},
}

// EncodeTracks returns the tracks as an Arrow IPC stream.
func EncodeTracks(rows []Track) ([]byte, error) {
	if len(rows) > MaxRows {
		return nil, fmt.Errorf("encode tracks: %d rows, want at most %d", len(rows), MaxRows)
	}
	return encode(KindTracks, tracksSchema, nil, len(rows), []arrow.Array{
		texts(rows, func(r *Track) string { return r.ID }),
		dicts(rows, func(r *Track) string { return r.Camera }),
		texts(rows, func(r *Track) string { return r.Track }),
		times(rows, func(r *Track) time.Time { return r.Start }),
		times(rows, func(r *Track) time.Time { return r.End }),
		times(rows, func(r *Track) time.Time { return r.Received }),
		dicts(rows, func(r *Track) string { return r.Class }),
		dicts(rows, func(r *Track) string { return r.VendorClass }),
		float64s(values(rows, func(r *Track) float64 { return r.Score })),
		int64s(values(rows, func(r *Track) int64 { return r.Detections })),
		dicts(rows, func(r *Track) string { return r.Zones }),
		float64s(values(rows, func(r *Track) float64 { return r.SpeedMps })),
		float64s(values(rows, func(r *Track) float64 { return r.SpeedMaxMps })),
		float64s(values(rows, func(r *Track) float64 { return r.DistanceM })),
		float64s(values(rows, func(r *Track) float64 { return r.HeadingDeg })),
		float64s(values(rows, func(r *Track) float64 { return r.StartX })),
		float64s(values(rows, func(r *Track) float64 { return r.StartY })),
		float64s(values(rows, func(r *Track) float64 { return r.EndX })),
		float64s(values(rows, func(r *Track) float64 { return r.EndY })),
		float64s(values(rows, func(r *Track) float64 { return r.StartLat })),
		float64s(values(rows, func(r *Track) float64 { return r.StartLon })),
		float64s(values(rows, func(r *Track) float64 { return r.EndLat })),
		float64s(values(rows, func(r *Track) float64 { return r.EndLon })),
		texts(rows, func(r *Track) string { return r.Parent }),
		dicts(rows, func(r *Track) string { return r.Purpose }),
		dicts(rows, func(r *Track) string { return r.Attributes }),
		texts(rows, func(r *Track) string { return r.PlateHash }),
		times(rows, func(r *Track) time.Time { return r.Expires }),
		uint8s(values(rows, func(r *Track) uint8 { return r.Quality })),
	})
}

// DecodeTracks reads a batch of tracks.
func DecodeTracks(data []byte) ([]Track, error) {
	d, err := decode(KindTracks, tracksSchema, data)
	if err != nil {
		return nil, err
	}
	cID, cCamera, cTrack, cStart, cEnd := d.strings(0), d.dict(1), d.strings(2), d.times(3), d.times(4)
	cReceived, cClass, cVendorClass, cScore, cDetections := d.times(5), d.dict(6), d.dict(7), d.float64s(8), d.int64s(9)
	cZones, cSpeedMps, cSpeedMaxMps, cDistanceM, cHeadingDeg := d.dict(10), d.float64s(11), d.float64s(12), d.float64s(13), d.float64s(14)
	cStartX, cStartY, cEndX, cEndY, cStartLat := d.float64s(15), d.float64s(16), d.float64s(17), d.float64s(18), d.float64s(19)
	cStartLon, cEndLat, cEndLon, cParent, cPurpose := d.float64s(20), d.float64s(21), d.float64s(22), d.strings(23), d.dict(24)
	cAttributes, cPlateHash, cExpires, cQuality := d.dict(25), d.strings(26), d.times(27), d.uint8s(28)
	if d.err != nil {
		return nil, d.err
	}
	out := make([]Track, len(cID))
	for i := range out {
		out[i] = Track{
			ID: cID[i], Camera: cCamera.At(i), Track: cTrack[i], Start: time.UnixMilli(cStart[i]).UTC(),
			End: time.UnixMilli(cEnd[i]).UTC(), Received: time.UnixMilli(cReceived[i]).UTC(), Class: cClass.At(i), VendorClass: cVendorClass.At(i),
			Score: cScore[i], Detections: cDetections[i], Zones: cZones.At(i), SpeedMps: cSpeedMps[i],
			SpeedMaxMps: cSpeedMaxMps[i], DistanceM: cDistanceM[i], HeadingDeg: cHeadingDeg[i], StartX: cStartX[i],
			StartY: cStartY[i], EndX: cEndX[i], EndY: cEndY[i], StartLat: cStartLat[i],
			StartLon: cStartLon[i], EndLat: cEndLat[i], EndLon: cEndLon[i], Parent: cParent[i],
			Purpose: cPurpose.At(i), Attributes: cAttributes.At(i), PlateHash: cPlateHash[i], Expires: time.UnixMilli(cExpires[i]).UTC(),
			Quality: cQuality[i],
		}
	}
	return out, nil
}

var countsSchema = []arrow.Field{
	{Name: "time", Type: timestampMs}, {Name: "received", Type: timestampMs}, {Name: "camera", Type: dictType},
	{Name: "zone", Type: dictType}, {Name: "class", Type: dictType}, {Name: "count_in", Type: arrow.PrimitiveTypes.Int64},
	{Name: "count_out", Type: arrow.PrimitiveTypes.Int64}, {Name: "seen", Type: arrow.PrimitiveTypes.Int64}, {Name: "occupancy_avg", Type: arrow.PrimitiveTypes.Float64},
	{Name: "occupancy_max", Type: arrow.PrimitiveTypes.Int64}, {Name: "dwell_s", Type: arrow.PrimitiveTypes.Float64}, {Name: "visits", Type: arrow.PrimitiveTypes.Int64},
	{Name: "speed_sum_mps", Type: arrow.PrimitiveTypes.Float64}, {Name: "speed_n", Type: arrow.PrimitiveTypes.Int64}, {Name: "queue_max", Type: arrow.PrimitiveTypes.Int64},
	{Name: "purpose", Type: dictType}, {Name: "version", Type: arrow.PrimitiveTypes.Int64},
}

// EncodeCounts returns the counts as an Arrow IPC stream.
func EncodeCounts(rows []Count) ([]byte, error) {
	if len(rows) > MaxRows {
		return nil, fmt.Errorf("encode counts: %d rows, want at most %d", len(rows), MaxRows)
	}
	return encode(KindCounts, countsSchema, nil, len(rows), []arrow.Array{
		times(rows, func(r *Count) time.Time { return r.Time }),
		times(rows, func(r *Count) time.Time { return r.Received }),
		dicts(rows, func(r *Count) string { return r.Camera }),
		dicts(rows, func(r *Count) string { return r.Zone }),
		dicts(rows, func(r *Count) string { return r.Class }),
		int64s(values(rows, func(r *Count) int64 { return r.In })),
		int64s(values(rows, func(r *Count) int64 { return r.Out })),
		int64s(values(rows, func(r *Count) int64 { return r.Seen })),
		float64s(values(rows, func(r *Count) float64 { return r.OccupancyAvg })),
		int64s(values(rows, func(r *Count) int64 { return r.OccupancyMax })),
		float64s(values(rows, func(r *Count) float64 { return r.DwellS })),
		int64s(values(rows, func(r *Count) int64 { return r.Visits })),
		float64s(values(rows, func(r *Count) float64 { return r.SpeedSumMps })),
		int64s(values(rows, func(r *Count) int64 { return r.SpeedN })),
		int64s(values(rows, func(r *Count) int64 { return r.QueueMax })),
		dicts(rows, func(r *Count) string { return r.Purpose }),
		int64s(values(rows, func(r *Count) int64 { return int64(r.Version) })),
	})
}

// DecodeCounts reads a batch of counts.
func DecodeCounts(data []byte) ([]Count, error) {
	d, err := decode(KindCounts, countsSchema, data)
	if err != nil {
		return nil, err
	}
	cTime, cReceived, cCamera, cZone, cClass := d.times(0), d.times(1), d.dict(2), d.dict(3), d.dict(4)
	cIn, cOut, cSeen, cOccupancyAvg, cOccupancyMax := d.int64s(5), d.int64s(6), d.int64s(7), d.float64s(8), d.int64s(9)
	cDwellS, cVisits, cSpeedSumMps, cSpeedN, cQueueMax := d.float64s(10), d.int64s(11), d.float64s(12), d.int64s(13), d.int64s(14)
	cPurpose, cVersion := d.dict(15), d.int64s(16)
	if d.err != nil {
		return nil, d.err
	}
	out := make([]Count, len(cTime))
	for i := range out {
		out[i] = Count{
			Time: time.UnixMilli(cTime[i]).UTC(), Received: time.UnixMilli(cReceived[i]).UTC(), Camera: cCamera.At(i), Zone: cZone.At(i),
			Class: cClass.At(i), In: cIn[i], Out: cOut[i], Seen: cSeen[i],
			OccupancyAvg: cOccupancyAvg[i], OccupancyMax: cOccupancyMax[i], DwellS: cDwellS[i], Visits: cVisits[i],
			SpeedSumMps: cSpeedSumMps[i], SpeedN: cSpeedN[i], QueueMax: cQueueMax[i], Purpose: cPurpose.At(i),
			Version: uint64(cVersion[i]),
		}
	}
	return out, nil
}

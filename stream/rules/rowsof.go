package rules

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"panormus/devices"
	"panormus/stream/batch"
)

// eachDetection calls do for every row that is news. The Row is good during the call.
func eachDetection(data []byte, do func(*Row)) error {
	d, err := batch.DecodeDetections(data)
	if err != nil {
		return err
	}
	var r batch.Detection
	row := Row{
		num: func(name string) float64 {
			switch name {
			case "score":
				return float64(r.Score)
			case "speed_mps":
				return float64(r.SpeedMps)
			case "heading_deg":
				return float64(r.HeadingDeg)
			case "box_left":
				return float64(r.BoxLeft)
			case "box_top":
				return float64(r.BoxTop)
			case "box_right":
				return float64(r.BoxRight)
			case "box_bottom":
				return float64(r.BoxBottom)
			case "center_x":
				return float64(r.CenterX)
			case "center_y":
				return float64(r.CenterY)
			case "value":
				return r.Value
			}
			return math.NaN()
		},
		text: func(name string) string {
			switch name {
			case "camera":
				return r.Camera
			case "what":
				return r.What
			case "track":
				return r.Track
			case "other":
				return r.Other
			case "class":
				return r.Class
			case "vendor_class":
				return r.VendorClass
			case "zone":
				return r.Zone
			case "rule":
				return r.Rule
			case "direction":
				return r.Direction
			case "purpose":
				return r.Purpose
			}
			return ""
		},
	}
	for i := range d.Len() {
		if d.Quality[i]&devices.QualityRefresh != 0 {
			continue
		}
		r = d.Row(i)
		row.Camera, row.Time, row.Received = r.Camera, r.Time, r.Received
		do(&row)
	}
	return nil
}

// eachTrack calls do for every track, at its end.
func eachTrack(data []byte, do func(*Row)) error {
	tracks, err := batch.DecodeTracks(data)
	if err != nil {
		return err
	}
	for i := range tracks {
		t := &tracks[i]
		do(&Row{
			Camera: t.Camera, Time: t.End.UnixMilli(), Received: t.Received.UnixMilli(),
			num: func(name string) float64 {
				switch name {
				case "score":
					return t.Score
				case "duration_s":
					return t.End.Sub(t.Start).Seconds()
				case "speed_mps":
					return t.SpeedMps
				case "speed_max_mps":
					return t.SpeedMaxMps
				case "distance_m":
					return t.DistanceM
				case "heading_deg":
					return t.HeadingDeg
				case "start_x":
					return t.StartX
				case "start_y":
					return t.StartY
				case "end_x":
					return t.EndX
				case "end_y":
					return t.EndY
				}
				return math.NaN()
			},
			text: func(name string) string {
				switch name {
				case "camera":
					return t.Camera
				case "track":
					return t.Track
				case "class":
					return t.Class
				case "vendor_class":
					return t.VendorClass
				case "zones":
					return t.Zones
				case "purpose":
					return t.Purpose
				}
				return ""
			},
		})
	}
	return nil
}

// eachCount calls do for every cell of a minute, at the minute's end.
func eachCount(data []byte, do func(*Row)) error {
	counts, err := batch.DecodeCounts(data)
	if err != nil {
		return err
	}
	for i := range counts {
		c := &counts[i]
		do(&Row{
			Camera: c.Camera, Time: c.Time.UnixMilli() + 60_000, Received: max(c.Received.UnixMilli(), c.Time.UnixMilli()+60_000),
			num: func(name string) float64 {
				switch name {
				case "count_in":
					return float64(c.In)
				case "count_out":
					return float64(c.Out)
				case "seen":
					return float64(c.Seen)
				case "occupancy_avg":
					return c.OccupancyAvg
				case "occupancy_max":
					return float64(c.OccupancyMax)
				case "dwell_s":
					if c.Visits > 0 {
						return c.DwellS / float64(c.Visits)
					}
				case "visits":
					return float64(c.Visits)
				case "speed_mps":
					if c.SpeedN > 0 {
						return c.SpeedSumMps / float64(c.SpeedN)
					}
				case "queue_max":
					return float64(c.QueueMax)
				}
				return math.NaN()
			},
			text: func(name string) string {
				switch name {
				case "camera":
					return c.Camera
				case "zone":
					return c.Zone
				case "class":
					return c.Class
				case "purpose":
					return c.Purpose
				}
				return ""
			},
		})
	}
	return nil
}

// NewRow makes a row of what a test says, by column; one that is not said is empty. Times are Unix ms.
func NewRow(on, camera string, at, received int64, columns map[string]string) (*Row, error) {
	known := rowColumns[on]
	if known == nil {
		all := slices.Sorted(maps.Keys(rowColumns))
		return nil, fmt.Errorf("rows on %q%s; want one of %s", on, didYouMean(on, all), strings.Join(all, ", "))
	}
	numbers := map[string]float64{}
	for name, text := range columns {
		kind, ok := known[name]
		if !ok {
			return nil, fmt.Errorf("%s have no column %q%s", on, name, didYouMean(name, slices.Collect(maps.Keys(known))))
		}
		if kind != kindNum {
			continue
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("%s: found %q, want a number", name, clip(text, 40))
		}
		numbers[name] = v
	}
	return &Row{
		Camera: camera, Time: at, Received: received,
		num: func(name string) float64 {
			if v, ok := numbers[name]; ok {
				return v
			}
			return math.NaN()
		},
		text: func(name string) string { return columns[name] },
	}, nil
}

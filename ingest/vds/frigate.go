package vds

import (
	"math"
	"strings"

	"panormus/ingest"
	"panormus/ingest/jsonscan"
	"panormus/stream/batch"
)

// frigate is what of Frigate's messages is known by settings. Its boxes are in pixels of a picture
// whose size they do not tell.
type frigate struct {
	frames frames
	mph    bool
}

// maxZones is how many zones an object may be in at once.
const maxZones = 32

// A frigateObject is a tracked object at one time.
type frigateObject struct {
	there      bool
	id, camera string
	row        ingest.Detection
	at, end    instant
	top        float64 // score
	box        [4]float64
	boxAt      int
	speed      float64 // average, km/h or mph
	now        float64 // current one
	zones      [maxZones]string
	zoned      int
	mistaken   bool
}

// event reads what Frigate publishes on frigate/events when an object is new, changes or ends: a row of
// the object, one for every zone it entered or left since the message before, one for a plate that
// was not read then, and one for the end of its track.
func (f frigate) event(in *ingest.Input, out *ingest.Decoded) error {
	s := &out.Scan
	var before, after frigateObject
	kind := ""
	err := whole(s, in.Payload, "an event", func(name []byte) (err error) {
		switch string(name) {
		case "type":
			kind, err = word(s, out)
			return err
		case "before":
			return before.read(s, out)
		case "after":
			return after.read(s, out)
		}
		return skip(s)
	})
	if err != nil {
		return err
	}
	if !after.there || after.id == "" || after.camera == "" {
		return ingest.Rejectf(ingest.ReasonMissing, "found no after with an id and a camera, want the object as it is")
	}
	if err := setCamera(out, after.camera); err != nil {
		return err
	}
	if after.mistaken { // Frigate itself does not take it for an object
		return nil
	}
	return f.rows(kind, &before, &after, out)
}

func (f frigate) rows(kind string, before, after *frigateObject, out *ingest.Decoded) error {
	if kind != "end" {
		r, err := out.Detect(batch.WhatObject)
		if err != nil {
			return err
		}
		*r = after.row
		r.What, r.Plate = batch.WhatObject, ""
		if math.IsNaN(float64(r.Score)) {
			if err := setScore(r, after.top, 1, 0); err != nil {
				return err
			}
		}
		b := after.box
		if err := f.frames.of(after.camera).setPixels(r, b[0], b[1], b[2], b[3], after.boxAt); err != nil {
			return err
		}
		v := after.now
		if math.IsNaN(v) {
			v = after.speed
		}
		if r.SpeedMps, err = checkSpeed(v*f.metres(), 0); err != nil {
			return err
		}
	}
	was, is := before.zones[:before.zoned], after.zones[:after.zoned]
	if kind == "new" {
		was = nil
	}
	if err := zoneRows(out, after, batch.WhatZoneEntered, is, was); err != nil {
		return err
	}
	if err := zoneRows(out, after, batch.WhatZoneLeft, was, is); err != nil {
		return err
	}
	if p := after.row.Plate; p != "" && (kind == "new" || p != before.row.Plate) {
		r, err := out.Detect(batch.WhatPlate)
		if err != nil {
			return err
		}
		after.identify(r)
		r.Plate, r.Extra = p, after.row.Extra
	}
	when := after.at
	if kind == "end" {
		r, err := out.Detect(batch.WhatTrackEnd)
		if err != nil {
			return err
		}
		after.identify(r)
		if after.end.own {
			when = after.end
		}
	}
	stamp(out, 0, when)
	return nil
}

// metres is how many m/s the unit of speeds is.
func (f frigate) metres() float64 {
	if f.mph {
		return mileHour
	}
	return 1 / 3.6
}

// mileHour is one mile an hour in m/s.
const mileHour = 0.44704

// zoneRows adds a row for every zone of one list that is not in the other.
func zoneRows(out *ingest.Decoded, o *frigateObject, what string, zones, but []string) error {
next:
	for _, z := range zones {
		for _, b := range but {
			if z == b {
				continue next
			}
		}
		r, err := out.Detect(what)
		if err != nil {
			return err
		}
		o.identify(r)
		r.Zone = z
	}
	return nil
}

// identify says which object a row is about.
func (o *frigateObject) identify(r *ingest.Detection) {
	r.Track, r.Class, r.VendorClass = o.id, o.row.Class, o.row.VendorClass
}

func (o *frigateObject) read(s *jsonscan.Scanner, out *ingest.Decoded) error {
	nan := math.NaN()
	*o = frigateObject{there: s.Peek() == '{', top: nan, speed: nan, now: nan, box: [4]float64{nan, nan, nan, nan}}
	o.row = ingest.Detection{Detection: batch.Absent()}
	return members(s, "an object", func(name []byte) (err error) {
		r := &o.row
		switch string(name) {
		case "id":
			o.id, err = word(s, out)
			r.Track = o.id
		case "camera":
			o.camera, err = word(s, out)
		case "frame_time":
			o.at, err = moment(s)
		case "end_time":
			o.end, err = moment(s)
		case "label":
			var w string
			w, err = word(s, out)
			setClass(r, strings.TrimSuffix(w, "-verified"))
		case "sub_label": // a name, or a name and how sure that is
			return firstWord(s, out, func(w string, at int) error { return attribute(r, "sub_label", w, at) })
		case "recognized_license_plate":
			return firstWord(s, out, func(w string, _ int) error { r.Plate = w; return nil })
		case "score":
			return readScore(s, r, 1)
		case "top_score":
			o.top, err = number(s)
		case "box":
			o.boxAt = s.Offset()
			return elements(s, "a box", func(i int) error {
				v, err := number(s)
				if i < len(o.box) {
					o.box[i] = v
				}
				return err
			})
		case "current_zones":
			return elements(s, "an array of zones", func(int) error {
				if o.zoned == len(o.zones) {
					return ingest.Rejectf(ingest.ReasonTooMany, "offset %d: found more than %d zones of an object", s.Offset(), maxZones)
				}
				var err error
				o.zones[o.zoned], err = word(s, out)
				o.zoned++
				return err
			})
		case "average_estimated_speed":
			o.speed, err = number(s)
		case "current_estimated_speed":
			o.now, err = number(s)
		case "velocity_angle": // clockwise from the right of the image
			var v float64
			if v, err = number(s); err == nil && !math.IsNaN(v) {
				r.HeadingDeg = float32(math.Mod(math.Mod(v+90, 360)+360, 360))
			}
		case "false_positive":
			var v float64
			v, err = truth(s, out)
			o.mistaken = v == 1
		default:
			return skip(s)
		}
		return err
	})
}

// firstWord reads a text, or an array whose first element is one, and hands it on.
func firstWord(s *jsonscan.Scanner, out *ingest.Decoded, take func(w string, at int) error) error {
	at := s.Offset()
	if s.Peek() != '[' {
		w, err := word(s, out)
		if err != nil {
			return err
		}
		return take(w, at)
	}
	return elements(s, "a text and its score", func(i int) error {
		if i > 0 {
			return skip(s)
		}
		w, err := word(s, out)
		if err != nil {
			return err
		}
		return take(w, at)
	})
}

// frigateReview reads what Frigate would have somebody look at: an alert that is on until the review
// ends, its rule being the severity. Nothing comes of what changes neither.
func frigateReview(in *ingest.Input, out *ingest.Decoded) error {
	s := &out.Scan
	var before, after review
	kind := ""
	err := whole(s, in.Payload, "a review", func(name []byte) (err error) {
		switch string(name) {
		case "type":
			kind, err = word(s, out)
			return err
		case "before":
			return before.read(s, out)
		case "after":
			return after.read(s, out)
		}
		return skip(s)
	})
	if err != nil {
		return err
	}
	if after.camera == "" || after.severity == "" {
		return ingest.Rejectf(ingest.ReasonMissing, "found no after with a camera and a severity, want the review as it is")
	}
	if err := setCamera(out, after.camera); err != nil {
		return err
	}
	if kind == "update" && before.severity == after.severity {
		return nil
	}
	r, err := out.Detect(batch.WhatAlert)
	if err != nil {
		return err
	}
	r.Rule, r.Track, r.Zone, r.Value = after.severity, after.track, after.zone, 1
	if after.class != "" {
		setClass(r, after.class)
	}
	when := after.start
	if kind == "end" {
		r.Value, when = 0, after.end
	}
	if kind != "update" { // which has no time of its own
		stamp(out, 0, when)
	}
	return nil
}

type review struct {
	camera, severity, track, class, zone string
	start, end                           instant
}

func (v *review) read(s *jsonscan.Scanner, out *ingest.Decoded) error {
	*v = review{}
	first := func(into *string) error {
		return elements(s, "an array of texts", func(i int) (err error) {
			if i > 0 {
				return skip(s)
			}
			*into, err = word(s, out)
			return err
		})
	}
	return members(s, "a review", func(name []byte) (err error) {
		switch string(name) {
		case "camera":
			v.camera, err = word(s, out)
		case "severity":
			v.severity, err = word(s, out)
		case "start_time":
			v.start, err = moment(s)
		case "end_time":
			v.end, err = moment(s)
		case "data": // its sub_labels are names
			return members(s, "data", func(name []byte) error {
				switch string(name) {
				case "detections":
					return first(&v.track)
				case "objects":
					err := first(&v.class)
					v.class = strings.TrimSuffix(v.class, "-verified")
					return err
				case "zones":
					return first(&v.zone)
				}
				return skip(s)
			})
		default:
			return skip(s)
		}
		return err
	})
}

// frigateUpdate reads what Frigate found out about an object later: a plate, or a face, whose name is
// an attribute. Descriptions and classifications are not read.
func frigateUpdate(in *ingest.Input, out *ingest.Decoded) error {
	s := &out.Scan
	r := ingest.Detection{Detection: batch.Absent()}
	var kind, camera string
	var at instant
	err := whole(s, in.Payload, "an update", func(name []byte) (err error) {
		switch string(name) {
		case "type":
			kind, err = word(s, out)
		case "id":
			r.Track, err = word(s, out)
		case "camera":
			camera, err = word(s, out)
		case "timestamp":
			at, err = moment(s)
		case "plate":
			r.Plate, err = word(s, out)
		case "name":
			return attributeAt(s, out, &r, "sub_label")
		case "score":
			return readScore(s, &r, 1)
		default:
			return skip(s)
		}
		return err
	})
	if err != nil {
		return err
	}
	switch kind {
	case "lpr":
		r.What = batch.WhatPlate
	case "face":
		r.What, r.Rule, r.Class = batch.WhatAlert, "face", batch.ClassPerson
	default:
		return ingest.Rejectf(ingest.ReasonEvent, "found an update of another kind, want lpr or face")
	}
	if camera == "" {
		return ingest.Rejectf(ingest.ReasonMissing, "found no camera")
	}
	if kind == "lpr" && r.Plate == "" {
		return ingest.Rejectf(ingest.ReasonMissing, "found no plate")
	}
	if err := setCamera(out, camera); err != nil {
		return err
	}
	row, err := out.Detect(r.What)
	if err != nil {
		return err
	}
	*row = r
	stamp(out, 0, at)
	return nil
}

package vds

import (
	"math"
	"strings"

	"panormus/devices"
	"panormus/ingest"
	"panormus/stream/batch"
)

// hikvision reads an ISAPI EventNotificationAlert. Firmwares have it in several namespaces: names
// count without them. While an event lasts it is sent again and again, counted by activePostCount:
// only the first is news. Events that are no states are told by their beginning.
func hikvision(in *ingest.Input, out *ingest.Decoded) error {
	h := alert{xmlReader: xmlReader{in: in, out: out, s: &out.XML}, channel: math.NaN(), posts: math.NaN(), active: true}
	if err := h.s.Reset(in.Payload); err != nil {
		return rejectXML(err)
	}
	if string(h.s.Name()) != "EventNotificationAlert" {
		return ingest.Rejectf(ingest.ReasonFormat, "found another root, want EventNotificationAlert")
	}
	r, err := out.Detect("")
	if err != nil {
		return err
	}
	h.thing = newThing(r)
	h.enter, h.exit = math.NaN(), math.NaN()
	if err := h.children(h.member); err != nil {
		return err
	}
	if err := h.s.End(); err != nil {
		return rejectXML(err)
	}
	if err := h.finish(); err != nil {
		return err
	}
	stamp(out, 0, h.at)
	return setChannel(in, out, h.channel)
}

// alert is one EventNotificationAlert while it is read.
type alert struct {
	xmlReader
	at             instant
	channel, posts float64
	kind           string
	active         bool
	thing          onvifThing
	enter, exit    float64

	regions []alertRegion
}

// alertRegion is where an event happened: the corners of a region, in the vendor's grid, and of the
// target, in the grid or 0..1.
type alertRegion struct {
	zone                   string
	corners                int
	minX, minY, maxX, maxY float64
	haveTarget             bool
	x, y, width, height    float64
}

func (h *alert) member(name []byte) (err error) {
	at := h.s.Offset()
	switch string(name) {
	case "channelID":
		h.channel, err = h.number()
	case "dateTime":
		h.at, err = h.when()
	case "activePostCount":
		h.posts, err = h.number()
	case "eventType":
		h.kind, err = h.word()
	case "eventState":
		var w string
		w, err = h.word()
		h.active = !strings.EqualFold(w, "inactive")
	case "ANPR":
		return h.children(h.anpr)
	case "DetectionRegionList":
		return h.children(func(name []byte) error {
			if string(name) != "DetectionRegionEntry" {
				return h.skip()
			}
			var r alertRegion
			if err := h.children(func(name []byte) error { return h.region(&r, name) }); err != nil {
				return err
			}
			if len(h.regions) == ingest.MaxDetections {
				return ingest.Rejectf(ingest.ReasonTooMany, "more than %d regions", ingest.MaxDetections)
			}
			h.regions = append(h.regions, r)
			return nil
		})
	case "peopleCounting":
		return h.children(h.counting)
	case "detectionTarget", "targetType":
		return h.target(at)
	default:
		err = h.skip()
	}
	return err
}

// when reads a time. One without its zone is the camera's own and says nothing here.
func (h *alert) when() (instant, error) {
	at := h.s.Offset()
	b, err := h.text()
	if err != nil {
		return instant{}, err
	}
	t, err := parseMoment(b, at)
	if n := len(b); n > 0 && b[n-1] != 'Z' && b[n-1] != 'z' && !strings.ContainsAny(view(b[min(n, 19):]), "+-") {
		t.own = false
	}
	return t, err
}

func (h *alert) target(at int) error {
	w, err := h.word()
	if err != nil {
		return err
	}
	return h.thing.tell("Class", "Type", w, math.NaN(), at)
}

func (h *alert) anpr(name []byte) error {
	at, o := h.s.Offset(), &h.thing
	switch string(name) {
	case "licensePlate":
		w, err := h.word()
		switch {
		case err != nil:
			return err
		case strings.EqualFold(w, "unknown"), strings.EqualFold(w, "noplate"):
			return nil // none was read
		}
		return o.tell("LicensePlateInfo", "PlateNumber", w, math.NaN(), at)
	case "confidenceLevel":
		v, err := h.number()
		if err != nil || math.IsNaN(v) {
			return err
		}
		return setScore(o.row, v, 100, at)
	case "direction":
		w, err := h.word()
		if !strings.EqualFold(w, "unknown") {
			o.row.Direction = w
		}
		return err
	case "vehicleType":
		return h.tell("VehicleInfo", "Type")
	case "country", "CRIndex":
		return h.tell("LicensePlateInfo", "CountryCode")
	case "plateType":
		return h.tell("LicensePlateInfo", "PlateType")
	case "vehicleInfo":
		return h.children(func(name []byte) error {
			switch string(name) {
			case "color":
				return h.tell("VehicleInfo", "Color")
			case "vehicleLogoRecog":
				return h.tell("VehicleInfo", "Brand")
			case "speed":
				return h.kmh()
			}
			return h.skip()
		})
	}
	return h.skip()
}

// tell passes on a text under ONVIF's name for it.
func (h *alert) tell(parent, name string) error {
	at := h.s.Offset()
	w, err := h.word()
	if err != nil {
		return err
	}
	return h.thing.tell(parent, name, w, math.NaN(), at)
}

func (h *alert) kmh() error {
	at := h.s.Offset()
	v, err := h.number()
	if err != nil || math.IsNaN(v) {
		return err
	}
	if v < 0 {
		return ingest.Rejectf(ingest.ReasonNumber, "offset %d: found a speed below 0, want km/h", at)
	}
	h.thing.row.SpeedMps = float32(v / 3.6)
	return nil
}

// region reads an entry of the list.
func (h *alert) region(r *alertRegion, name []byte) (err error) {
	at := h.s.Offset()
	switch string(name) {
	case "regionID":
		r.zone, err = h.word()
		return err
	case "RegionCoordinatesList":
		return h.children(func(name []byte) error {
			if string(name) == "RegionCoordinates" {
				return h.corner(r)
			}
			return h.skip()
		})
	case "TargetRect":
		r.haveTarget = true
		return h.children(func(name []byte) (err error) {
			switch string(name) {
			case "X", "x":
				r.x, err = h.number()
			case "Y", "y":
				r.y, err = h.number()
			case "width":
				r.width, err = h.number()
			case "height":
				r.height, err = h.number()
			default:
				err = h.skip()
			}
			return err
		})
	case "detectionTarget", "targetType":
		return h.target(at)
	}
	return h.skip()
}

// corner widens the region by a point of it.
func (h *alert) corner(r *alertRegion) error {
	x, y := math.NaN(), math.NaN()
	err := h.children(func(name []byte) (err error) {
		switch string(name) {
		case "positionX":
			x, err = h.number()
		case "positionY":
			y, err = h.number()
		default:
			err = h.skip()
		}
		return err
	})
	if err != nil || math.IsNaN(x) || math.IsNaN(y) {
		return err
	}
	if r.corners++; r.corners == 1 {
		r.minX, r.minY, r.maxX, r.maxY = x, y, x, y
	}
	r.minX, r.minY, r.maxX, r.maxY = min(r.minX, x), min(r.minY, y), max(r.maxX, x), max(r.maxY, y)
	return nil
}

func (h *alert) counting(name []byte) (err error) {
	switch string(name) {
	case "enter":
		h.enter, err = h.number()
	case "exit":
		h.exit, err = h.number()
	default:
		err = h.skip()
	}
	return err
}

// hikvisionKinds are what the types of events tell, and whether that is a state.
var hikvisionKinds = map[string]struct {
	what  string
	state bool
}{
	"linedetection": {batch.WhatLineCrossed, false}, "fielddetection": {batch.WhatInside, true},
	"regionentrance": {batch.WhatZoneEntered, false}, "regionexiting": {batch.WhatZoneLeft, false},
	"loitering": {batch.WhatLoitering, true}, "vmd": {batch.WhatMotion, true}, "videomotion": {batch.WhatMotion, true},
	"anpr": {batch.WhatPlate, false}, "vehicledetection": {batch.WhatPlate, false},
	"shelteralarm": {batch.WhatTamper, true}, "tamperdetection": {batch.WhatTamper, true},
	"scenechangedetection": {batch.WhatTamper, true}, "defocus": {batch.WhatTamper, true}, "videoloss": {batch.WhatSignalLoss, true},
}

// grid is how wide and high the image is in the firmware's coordinates.
const grid = 1000

func (h *alert) finish() error {
	if h.kind == "" {
		return ingest.Rejectf(ingest.ReasonMissing, "found no eventType")
	}
	if strings.EqualFold(h.kind, "peoplecounting") {
		return h.counted()
	}
	o, r := &h.thing, h.thing.row
	kind, ok := hikvisionKinds[strings.ToLower(h.kind)]
	if !ok {
		kind.what, kind.state, r.Rule = batch.WhatAlert, true, h.kind
	}
	if kind.what == batch.WhatPlate && r.Plate == "" {
		kind.what, r.Rule = batch.WhatAlert, h.kind // one that could not be read
	}
	r.What = kind.what
	if !kind.state && !h.active { // the end of what was told when it began
		h.out.Detections = h.out.Detections[:0]
		return nil
	}
	if kind.state {
		r.Value = 0
		if h.active {
			r.Value = 1
		}
	}
	// An inactive videoloss is what the event stream sends where there is nothing to tell.
	if h.posts > 1 || kind.what == batch.WhatSignalLoss && !h.active {
		r.Quality |= devices.QualityRefresh
	}
	score := r.Score
	o.classify()
	if !math.IsNaN(float64(score)) {
		r.Score = score
	}
	return h.placed()
}

// placed makes a row of every region in which it happened. Its box is that of what was seen there, or
// else the region's.
func (h *alert) placed() error {
	first := *h.thing.row
	for i := range h.regions {
		r, region := &h.out.Detections[0], &h.regions[i]
		if i > 0 {
			var err error
			if r, err = h.out.Detect(""); err != nil {
				return err
			}
			*r = first
		}
		if r.What == batch.WhatLineCrossed {
			// Lines and regions are numbered each on their own: line 1 is not region 1.
			r.Rule = "line " + region.zone
		} else {
			r.Zone = region.zone
		}
		if err := region.place(r, h.s.Offset()); err != nil {
			return err
		}
	}
	return nil
}

func (a *alertRegion) place(r *ingest.Detection, at int) error {
	if a.haveTarget {
		scale := 1.0
		if max(a.x, a.y, a.width, a.height) > 1+outside {
			scale = grid
		}
		return setBox(r, a.x/scale, a.y/scale, (a.x+a.width)/scale, (a.y+a.height)/scale, at)
	}
	if a.corners == 0 {
		return nil
	}
	return setBox(r, a.minX/grid, a.minY/grid, a.maxX/grid, a.maxY/grid, at)
}

// counted makes rows of the two counters of people.
func (h *alert) counted() error {
	zone := ""
	if len(h.regions) > 0 {
		zone = h.regions[0].zone
	}
	h.out.Detections = h.out.Detections[:0]
	for _, c := range []struct {
		direction string
		value     float64
	}{{"in", h.enter}, {"out", h.exit}} {
		if math.IsNaN(c.value) {
			continue
		}
		r, err := h.out.Detect(batch.WhatCount)
		if err != nil {
			return err
		}
		r.Class, r.Direction, r.Value, r.Rule = batch.ClassPerson, c.direction, c.value, zone
	}
	if len(h.out.Detections) == 0 {
		return ingest.Rejectf(ingest.ReasonMissing, "found neither enter nor exit of people")
	}
	return nil
}

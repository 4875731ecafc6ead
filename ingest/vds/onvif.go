package vds

import (
	"math"
	"strings"

	"panormus/devices"
	"panormus/ingest"
	"panormus/stream/batch"
)

// A transformation takes points to where ONVIF's are: q = scale*p + translate, -1..1, Y upwards.
type transformation struct{ scaleX, scaleY, moveX, moveY float64 }

// straight leaves points where they are.
var straight = transformation{scaleX: 1, scaleY: 1}

// then is t and, of what comes out, outer.
func (t transformation) then(outer transformation) transformation {
	return transformation{
		scaleX: t.scaleX * outer.scaleX, scaleY: t.scaleY * outer.scaleY,
		moveX: t.moveX*outer.scaleX + outer.moveX, moveY: t.moveY*outer.scaleY + outer.moveY,
	}
}

// place is where a point is in 0..1, the origin at the top left.
func (t transformation) place(x, y float32) (float64, float64) {
	return (float64(x)*t.scaleX + t.moveX + 1) / 2, (1 - float64(y)*t.scaleY - t.moveY) / 2
}

// An onvifThing is an object while it is read, in a frame or an event. Several classes, types of
// vehicle and plates may be told of it: the likeliest counts, the first where nothing is told of that.
type onvifThing struct {
	row                                *ingest.Detection
	vehicle                            string
	classOdds, vehicleOdds, plateOdds  float64
	left, top, right, bottom           float64
	centerX, centerY                   float64
	appearance                         transformation
	haveClass, haveVehicle, haveNumber bool
}

func newThing(row *ingest.Detection) onvifThing {
	nan := math.NaN()
	return onvifThing{
		row: row, classOdds: nan, vehicleOdds: nan, plateOdds: nan, left: nan, top: nan, right: nan, bottom: nan,
		centerX: nan, centerY: nan, appearance: straight,
	}
}

// better says whether odds, NaN where they are unknown, beat those so far.
func better(have bool, odds, before float64) bool {
	return !have || odds > before || math.IsNaN(before) && !math.IsNaN(odds)
}

// tell notes a text about the object: name of its element and that of the one around it, and how
// likely it is, NaN where nobody said.
func (o *onvifThing) tell(parent, name, value string, odds float64, at int) error {
	if value == "" {
		return nil
	}
	switch parent {
	case "Class", "ClassCandidate":
		if name == "Type" && better(o.haveClass, odds, o.classOdds) {
			o.haveClass, o.classOdds, o.row.VendorClass = true, odds, value
		}
	case "VehicleInfo":
		switch name {
		case "Type":
			if better(o.haveVehicle, odds, o.vehicleOdds) {
				o.haveVehicle, o.vehicleOdds, o.vehicle = true, odds, value
			}
		case "Brand":
			return o.attribute("make", value, at)
		case "Model":
			return o.attribute("model", value, at)
		case "Color":
			return o.attribute("colour", value, at)
		}
	case "LicensePlateInfo":
		switch name {
		case "PlateNumber":
			if better(o.haveNumber, odds, o.plateOdds) {
				o.haveNumber, o.plateOdds, o.row.Plate = true, odds, value
			}
		case "PlateType":
			return o.attribute("plate_type", value, at)
		case "CountryCode":
			return o.attribute("plate_country", value, at)
		case "IssuingEntity":
			return o.attribute("plate_region", value, at)
		}
	case "HumanFace":
		if name == "Gender" {
			return o.attribute("gender", value, at)
		}
	case "Behaviour":
		if name == "Speed" {
			return o.speed(value, at)
		}
	}
	return nil
}

func (o *onvifThing) speed(value string, at int) error {
	v, err := parseNumber([]byte(value), at)
	if err != nil {
		return err
	}
	if v < 0 {
		return ingest.Rejectf(ingest.ReasonNumber, "offset %d: found a speed below 0, want m/s", at)
	}
	o.row.SpeedMps = float32(v)
	return nil
}

func (o *onvifThing) attribute(name, value string, at int) error {
	return attribute(o.row, name, value, at)
}

// classify settles the class: a vehicle's type says more than that it is one.
func (o *onvifThing) classify() {
	r := o.row
	r.Class = Class(r.VendorClass)
	odds := o.classOdds
	if o.haveVehicle && (r.Class == batch.ClassVehicle || r.Class == batch.ClassUnknown) {
		if c := Class(o.vehicle); c != batch.ClassUnknown {
			if r.Class = c; !o.haveClass {
				r.VendorClass, odds = o.vehicle, o.vehicleOdds
			}
		}
	}
	if r.Class == batch.ClassUnknown && o.haveNumber && !o.haveClass {
		r.Class = batch.ClassPlate
	}
	if math.IsNaN(odds) && o.haveNumber {
		odds = o.plateOdds
	}
	if odds > 1 && odds <= 100 { // some count in hundredths
		odds /= 100
	}
	if odds >= 0 && odds <= 1 {
		r.Score = float32(odds)
	}
}

// keep puts the object's place into its row as it was told, the appearance's own transformation done;
// the frame's is done at its end, since it may be told last.
func (o *onvifThing) keep() {
	o.classify()
	t, r := o.appearance, o.row
	r.BoxLeft, r.BoxRight = float32(o.left*t.scaleX+t.moveX), float32(o.right*t.scaleX+t.moveX)
	r.BoxTop, r.BoxBottom = float32(o.top*t.scaleY+t.moveY), float32(o.bottom*t.scaleY+t.moveY)
	r.CenterX, r.CenterY = float32(o.centerX*t.scaleX+t.moveX), float32(o.centerY*t.scaleY+t.moveY)
}

// An onvifFrame is a frame while it is read. Its rows are those of out from first on.
type onvifFrame struct {
	out            *ingest.Decoded
	first, offset  int
	at             instant
	transformation transformation
	objects        int
}

func newFrame(out *ingest.Decoded, offset int) onvifFrame {
	return onvifFrame{out: out, first: len(out.Detections), offset: offset, transformation: straight}
}

// object begins one.
func (f *onvifFrame) object() (onvifThing, error) {
	r, err := f.out.Detect(batch.WhatObject)
	if err != nil {
		return onvifThing{}, err
	}
	f.objects++
	return newThing(r), nil
}

// tree adds what happened to tracks: every one of from became every one of to, or ended.
func (f *onvifFrame) tree(what string, from, to []string) error {
	if what == batch.WhatTrackEnd {
		to = []string{""}
	}
	for _, a := range from {
		for _, b := range to {
			if a == "" || b == "" && what != batch.WhatTrackEnd {
				return ingest.Rejectf(ingest.ReasonMissing, "frame at offset %d: found a change of tracks without an ObjectId", f.offset)
			}
			r, err := f.out.Detect(what)
			if err != nil {
				return err
			}
			r.Track, r.Other = a, b
		}
	}
	return nil
}

// treeWords are the changes that ONVIF has of the tree of objects.
func treeWord(name []byte) string {
	switch string(name) {
	case "Rename":
		return batch.WhatTrackRename
	case "Split":
		return batch.WhatTrackSplit
	case "Merge":
		return batch.WhatTrackMerge
	case "Delete":
		return batch.WhatTrackEnd
	}
	return ""
}

// finish places the objects and says so if there were none.
func (f *onvifFrame) finish() error {
	for i := f.first; i < len(f.out.Detections); i++ {
		r := &f.out.Detections[i]
		if r.What != batch.WhatObject {
			continue
		}
		cx, cy := f.transformation.place(r.CenterX, r.CenterY)
		left, top := f.transformation.place(r.BoxLeft, r.BoxTop)
		right, bottom := f.transformation.place(r.BoxRight, r.BoxBottom)
		r.BoxLeft, r.BoxTop, r.BoxRight, r.BoxBottom = batchNaN, batchNaN, batchNaN, batchNaN
		r.CenterX, r.CenterY = batchNaN, batchNaN
		if err := setBox(r, left, top, right, bottom, f.offset); err != nil {
			return err
		}
		if !math.IsNaN(cx) && !math.IsNaN(cy) {
			if cx < -outside || cy < -outside || cx > 1+outside || cy > 1+outside {
				return ingest.Rejectf(ingest.ReasonCoordinate, "frame at offset %d: found a centre outside of the image, want -1..1 after the transformation", f.offset)
			}
			r.CenterX, r.CenterY = float32(min(max(cx, 0), 1)), float32(min(max(cy, 0), 1))
		}
	}
	if f.objects == 0 {
		if _, err := f.out.Detect(batch.WhatFrame); err != nil {
			return err
		}
	}
	stamp(f.out, f.first, f.at)
	return nil
}

var batchNaN = float32(math.NaN())

// An onvifEvent is an event while it is read.
type onvifEvent struct {
	out                      *ingest.Decoded
	topic                    string // see canonical
	at                       instant
	operation                string // PropertyOperation
	rule                     string
	direction, state, inside string
	count                    float64
	start, end               instant
	thing                    onvifThing
	offset                   int
	first                    int
	retained                 bool
}

func newEvent(out *ingest.Decoded, retained bool, offset int) (onvifEvent, error) {
	first := len(out.Detections)
	r, err := out.Detect("")
	if err != nil {
		return onvifEvent{}, err
	}
	return onvifEvent{out: out, count: math.NaN(), thing: newThing(r), offset: offset, first: first, retained: retained}, nil
}

// canonical is a topic without ONVIF's own namespace; a vendor's stays.
func canonical(out *ingest.Decoded, topic string) (string, error) {
	topic = strings.Trim(topic, "/ \t\r\n")
	if len(topic) > 2*maxWord {
		return "", ingest.Rejectf(ingest.ReasonTopic, "found a topic of %d bytes, want at most %d", len(topic), 2*maxWord)
	}
	b := out.Path[:0]
	for level := range strings.SplitSeq(topic, "/") {
		level = strings.TrimPrefix(level, "tns1:")
		if level == "CountAgregation" { // one vendor's spelling
			level = "CountAggregation"
		}
		if len(b) > 0 {
			b = append(b, '/')
		}
		b = append(b, level...)
	}
	out.Path = b
	return out.Copy(b), nil
}

// meaning is what a topic tells, and whether that is a state.
func meaning(topic string) (what string, state bool) {
	switch topic {
	case "RuleEngine/LineDetector/Crossed":
		return batch.WhatLineCrossed, false
	case "RuleEngine/FieldDetector/ObjectsInside":
		return batch.WhatInside, true
	case "RuleEngine/LoiteringDetector/ObjectIsLoitering":
		return batch.WhatLoitering, true
	case "RuleEngine/CountAggregation/Counter":
		return batch.WhatCount, true
	case "RuleEngine/CountAggregation/OccupancyCounter":
		return batch.WhatOccupancy, true
	case "RuleEngine/ObjectTrack/Aggregation":
		return batch.WhatTrack, false
	case "RuleEngine/Recognition/LicensePlate":
		return batch.WhatPlate, false
	case "RuleEngine/CellMotionDetector/Motion", "RuleEngine/MotionRegionDetector/Motion":
		return batch.WhatMotion, true
	}
	family, rest, _ := strings.Cut(topic, "/")
	name, _, _ := strings.Cut(rest, "/")
	switch {
	case family == "RuleEngine" && name == "LoiteringDetector":
		return batch.WhatLoitering, true
	case family == "VideoSource" && name == "MotionAlarm":
		return batch.WhatMotion, true
	case family == "VideoSource" && name == "SignalLoss":
		return batch.WhatSignalLoss, true
	case family == "VideoSource" && (name == "GlobalSceneChange" || strings.HasPrefix(name, "ImageToo")), strings.Contains(name, "Tamper"):
		return batch.WhatTamper, true
	}
	return batch.WhatAlert, false
}

// item notes what an event's source, key or data has under a name.
func (e *onvifEvent) item(name, value string, at int) (err error) {
	switch name {
	case "Rule", "RuleName":
		e.rule = value
	case "ObjectId", "ObjectID":
		e.thing.row.Track = value
	case "Count":
		e.count, err = parseNumber([]byte(value), at)
	case "IsInside":
		e.inside = value
	case "State", "IsMotion", "IsTamper", "IsLoitering", "Tamper":
		e.state = value
	case "Direction", "CrossingDirection":
		e.direction = value
	case "ClassTypes", "ClassType", "ObjectType", "Class":
		return e.thing.tell("Class", "Type", value, math.NaN(), at)
	case "Likelihood", "Confidence":
		e.thing.classOdds, err = parseNumber([]byte(value), at)
	case "PlateNumber", "LicensePlate", "LicensePlateNumber", "Plate":
		return e.thing.tell("LicensePlateInfo", "PlateNumber", value, math.NaN(), at)
	case "CountryCode", "Country":
		return e.thing.tell("LicensePlateInfo", "CountryCode", value, math.NaN(), at)
	case "VehicleType":
		return e.thing.tell("VehicleInfo", "Type", value, math.NaN(), at)
	case "Brand", "Model", "Color":
		return e.thing.tell("VehicleInfo", name, value, math.NaN(), at)
	case "Speed":
		return e.thing.speed(value, at)
	case "StartTime":
		e.start, err = parseMoment([]byte(value), at)
	case "EndTime":
		e.end, err = parseMoment([]byte(value), at)
	}
	return err
}

// finish makes the event's row.
func (e *onvifEvent) finish() error {
	if e.topic == "" {
		return ingest.Rejectf(ingest.ReasonMissing, "event at offset %d: found no topic", e.offset)
	}
	what, isState := meaning(e.topic)
	o, r := &e.thing, e.thing.row
	if what == batch.WhatAlert && o.haveNumber {
		what = batch.WhatPlate
	}
	r.What, r.Rule, r.Direction = what, e.rule, e.direction
	switch what {
	case batch.WhatAlert:
		state, err := parseTruth(e.state, e.offset)
		if err != nil {
			state = math.NaN() // the vendor's own words
		}
		r.Rule, r.Zone, r.Value, isState = e.topic, e.rule, state, !math.IsNaN(state)
	case batch.WhatInside, batch.WhatLoitering, batch.WhatMotion, batch.WhatTamper, batch.WhatSignalLoss:
		word := e.state
		if what == batch.WhatInside && e.inside != "" {
			word = e.inside
		}
		state, err := parseTruth(word, e.offset)
		if err != nil {
			return err
		}
		if math.IsNaN(state) && what == batch.WhatLoitering {
			state = 1 // who loiters is told by the event being there
		}
		if what == batch.WhatInside || what == batch.WhatLoitering {
			r.Zone = e.rule
		}
		r.Value = state
	case batch.WhatCount:
		r.Value = e.count
	case batch.WhatOccupancy:
		r.Value, r.Zone = e.count, e.rule
	case batch.WhatTrack:
		if e.end.own {
			e.at = e.end
		}
		if e.start.own && e.at.own && e.at.ms >= e.start.ms {
			r.Value = float64(e.at.ms-e.start.ms) / 1000
		}
	}
	if e.operation == "Deleted" {
		if what == batch.WhatCount { // a counter that is gone says nothing of how many came
			return e.drop()
		}
		if isState {
			r.Value = 0
		}
	}
	if isState && math.IsNaN(r.Value) {
		return ingest.Rejectf(ingest.ReasonMissing, "event at offset %d: found no value of its state", e.offset)
	}
	if e.operation == "Initialized" {
		r.Quality |= devices.QualityRefresh
	}
	o.classify()
	if what == batch.WhatCount && r.VendorClass == "" {
		r.Class = "" // it counts all, and not the unknown ones
	}
	if what == batch.WhatPlate && r.Plate == "" {
		return ingest.Rejectf(ingest.ReasonMissing, "event at offset %d: found no PlateNumber", e.offset)
	}
	r.Time, r.OwnTime = e.at.ms, e.at.own
	if e.retained && !isState {
		return e.drop()
	}
	e.out.Refresh = e.out.Refresh || e.retained
	return nil
}

// drop takes the event's row back.
func (e *onvifEvent) drop() error {
	e.out.Detections[e.first] = ingest.Detection{}
	e.out.Detections = e.out.Detections[:e.first]
	return nil
}

package vds

import (
	"bytes"
	"math"

	"panormus/ingest"
	"panormus/ingest/jsonscan"
	"panormus/stream/batch"
)

// dahuaGrid is the side of the square that Dahua draws every picture into.
const dahuaGrid = 8191

// dahua reads an event as Dahua's cameras and recorders write it: Code=…;action=…;index=…;data={…},
// where the JSON, which may hold semicolons and stretch over lines, is the rest of the message. The
// channels of a recorder but the first are cameras of their own.
func dahua(in *ingest.Input, out *ingest.Decoded) error {
	rest := bytes.TrimSpace(in.Payload)
	if string(rest) == "Heartbeat" {
		return nil
	}
	d := dahuaEvent{out: out, s: &out.Scan, speed: math.NaN(), confidence: math.NaN(), people: -1}
	for _, n := range []*float64{&d.entered, &d.exited, &d.inside, &d.ms} {
		*n = math.NaN()
	}
	d.row = ingest.Detection{Detection: batch.Absent()}
	index := math.NaN()
	for len(rest) > 0 {
		name, value, ok := bytes.Cut(rest, []byte{'='})
		if !ok {
			return ingest.Rejectf(ingest.ReasonFormat, "found %d bytes without =, want Code=…;action=…;index=…;data={…}", len(rest))
		}
		name = bytes.TrimSpace(name)
		if string(name) == "data" {
			rest = value
			break
		}
		value, rest, _ = bytes.Cut(value, []byte{';'})
		if value = bytes.TrimSpace(value); len(value) > maxWord {
			return ingest.Rejectf(ingest.ReasonName, "found a header of %d bytes, want at most %d", len(value), maxWord)
		}
		switch string(name) {
		case "Code":
			d.code = view(value)
		case "action":
			d.action = view(value)
		case "index":
			n := digits(value)
			if len(value) == 0 || len(value) > 4 || n < 0 {
				return ingest.Rejectf(ingest.ReasonFormat, "found an index that is no number, want 0 to 1023")
			}
			index = float64(n + 1)
		default:
			return ingest.Rejectf(ingest.ReasonFormat, "found another header than Code, action, index and data")
		}
	}
	if d.code == "" {
		return ingest.Rejectf(ingest.ReasonMissing, "found no Code")
	}
	if rest = bytes.TrimSpace(rest); len(rest) > 0 {
		if err := whole(d.s, rest, "an object", d.member); err != nil {
			return err
		}
	}
	if err := setChannel(in, out, index); err != nil {
		return err
	}
	if err := d.rows(); err != nil {
		return err
	}
	if d.real.own {
		d.at = d.real
	} else if d.at.own && d.ms >= 0 && d.ms < 1000 {
		d.at.ms += int64(d.ms)
	}
	stamp(out, 0, d.at)
	return nil
}

type dahuaEvent struct {
	out                     *ingest.Decoded
	s                       *jsonscan.Scanner
	code, action            string
	row                     ingest.Detection
	name, area              string // of the rule; what an object did in an area
	at, real                instant
	ms                      float64
	plate                   string
	vehicle                 string // class
	speed, confidence       float64
	entered, exited, inside float64
	people                  int // listed
}

func (d *dahuaEvent) member(name []byte) (err error) {
	s := d.s
	switch string(name) {
	case "Name", "RuleName":
		d.name, err = word(s, d.out)
	case "Direction":
		return d.direction()
	case "Action":
		d.area, err = word(s, d.out)
	case "UTC": // some firmwares tell local time in it, and UTC in RealUTC
		d.at, err = moment(s)
	case "RealUTC":
		d.real, err = moment(s)
	case "UTCMS":
		d.ms, err = number(s)
	case "Object":
		return members(s, "an object", d.object)
	case "Objects":
		return elements(s, "an array of objects", func(i int) error {
			if i > 0 || d.row.Track != "" {
				return skip(s)
			}
			return members(s, "an object", d.object)
		})
	case "Vehicle":
		return members(s, "a vehicle", func(name []byte) (err error) {
			switch string(name) {
			case "Category":
				d.vehicle, err = word(s, d.out)
			case "Speed":
				d.speed, err = number(s)
			default:
				return skip(s)
			}
			return err
		})
	case "TrafficCar":
		return members(s, "a vehicle", d.car)
	case "EnteredSubtotal", "EnteredNumber", "EnteredTotal":
		d.entered, err = count(s)
	case "ExitedSubtotal", "ExitedNumber", "ExitedTotal":
		d.exited, err = count(s)
	case "InsideSubtotal", "InsideNumber", "ManNum", "Number", "PeopleNum":
		d.inside, err = count(s)
	case "ManList":
		d.people = 0
		return elements(s, "an array of people", func(int) error { d.people++; return skip(s) })
	default:
		return skip(s)
	}
	return err
}

// direction reads a text, or the points of an arrow, which are passed over.
func (d *dahuaEvent) direction() error {
	if d.s.Peek() == '[' {
		return skip(d.s)
	}
	w, err := word(d.s, d.out)
	switch w {
	case "LeftToRight":
		w = "left_to_right"
	case "RightToLeft":
		w = "right_to_left"
	case "Enter", "Approach":
		w = "in"
	case "Leave", "Exit":
		w = "out"
	}
	d.row.Direction = w
	return err
}

func (d *dahuaEvent) object(name []byte) (err error) {
	s := d.s
	switch string(name) {
	case "BoundingBox":
		at, box := s.Offset(), [4]float64{math.NaN(), math.NaN(), math.NaN(), math.NaN()}
		if err := elements(s, "a box", func(i int) error {
			v, err := number(s)
			if i < len(box) {
				box[i] = v / dahuaGrid
			}
			return err
		}); err != nil {
			return err
		}
		return setBox(&d.row, box[0], box[1], box[2], box[3], at)
	case "ObjectID":
		d.row.Track, err = word(s, d.out)
	case "ObjectType":
		var w string
		w, err = word(s, d.out)
		setClass(&d.row, w)
	case "Confidence":
		d.confidence, err = number(s)
	default: // Text is the plate
		return skip(s)
	}
	return err
}

func (d *dahuaEvent) car(name []byte) (err error) {
	switch string(name) {
	case "PlateNumber":
		d.plate, err = word(d.s, d.out)
	case "Speed":
		d.speed, err = number(d.s)
	case "VehicleColor":
		return attributeAt(d.s, d.out, &d.row, "colour")
	case "VehicleSign":
		return attributeAt(d.s, d.out, &d.row, "make")
	case "Country":
		return attributeAt(d.s, d.out, &d.row, "plate_country")
	case "DrivingDirection": // approach or leave, and names of places
		return elements(d.s, "an array of texts", func(i int) error {
			if i > 0 || d.row.Direction != "" {
				return skip(d.s)
			}
			return d.direction()
		})
	default:
		return skip(d.s)
	}
	return err
}

// dahuaKinds are the codes of events; state ones have a row at their end too.
var dahuaKinds = map[string]struct {
	what  string
	state bool
}{
	"CrossLineDetection": {batch.WhatLineCrossed, false}, "CrossRegionDetection": {batch.WhatZoneEntered, false},
	"WanderDetection": {batch.WhatLoitering, true}, "StayDetection": {batch.WhatLoitering, true},
	"VideoMotion": {batch.WhatMotion, true}, "SmartMotionHuman": {batch.WhatMotion, true}, "SmartMotionVehicle": {batch.WhatMotion, true},
	"VideoBlind": {batch.WhatTamper, true}, "SceneChange": {batch.WhatTamper, true}, "VideoAbnormalDetection": {batch.WhatTamper, true},
	"VideoUnFocus": {batch.WhatTamper, true}, "VideoLoss": {batch.WhatSignalLoss, true},
	"TrafficJunction": {batch.WhatPlate, false}, "TrafficGate": {batch.WhatPlate, false},
	"NumberStat": {batch.WhatCount, false}, "ManNumDetection": {batch.WhatOccupancy, false}, "QueueNumDetection": {batch.WhatQueue, false},
}

func (d *dahuaEvent) rows() error {
	kind, ok := dahuaKinds[d.code]
	if !ok { // something left or taken away, a crowd, a fight…
		kind.what, kind.state = batch.WhatAlert, true
	}
	on := 1.0
	if d.action == "Stop" {
		on = 0
	}
	r := &d.row
	switch kind.what {
	case batch.WhatCount:
		return d.counts()
	case batch.WhatOccupancy, batch.WhatQueue:
		if math.IsNaN(d.inside) && d.people >= 0 {
			d.inside = float64(d.people)
		}
		if math.IsNaN(d.inside) {
			return ingest.Rejectf(ingest.ReasonMissing, "found no number of people")
		}
		if r.Class == "" {
			r.Class = batch.ClassPerson
		}
		r.Value = d.inside
	case batch.WhatZoneEntered:
		switch {
		case d.area == "Inside" || d.area == "Appear":
			kind.what, kind.state = batch.WhatInside, true
		case r.Direction == "out" || d.area == "Disappear":
			kind.what = batch.WhatZoneLeft
		}
	case batch.WhatMotion:
		if d.code == "SmartMotionHuman" {
			r.Class = batch.ClassPerson
		} else if d.code == "SmartMotionVehicle" {
			r.Class = batch.ClassVehicle
		}
	}
	if d.plate != "" {
		kind.what, kind.state, r.Plate = batch.WhatPlate, false, d.plate
		if d.vehicle != "" {
			setClass(r, d.vehicle)
		} else {
			r.Class, r.VendorClass = batch.ClassVehicle, ""
		}
		if !math.IsNaN(d.confidence) {
			if err := setScore(r, d.confidence, 255, 0); err != nil {
				return err
			}
		}
	} else if kind.what == batch.WhatPlate {
		kind.what = batch.WhatAlert // a vehicle without one
	}
	if on == 0 && !kind.state {
		return nil // it is no more happening
	}
	if kind.state {
		r.Value = on
	}
	var err error
	if r.SpeedMps, err = checkSpeed(d.speed/3.6, 0); err != nil {
		return err
	}
	if r.Rule = d.name; r.Rule == "" || kind.what == batch.WhatAlert {
		r.Rule = d.code
	}
	switch kind.what {
	case batch.WhatZoneEntered, batch.WhatZoneLeft, batch.WhatInside, batch.WhatLoitering, batch.WhatOccupancy, batch.WhatQueue, batch.WhatAlert:
		r.Zone = d.name
	}
	row, err := d.out.Detect(kind.what)
	if err != nil {
		return err
	}
	*row = *r
	row.What = kind.what
	return nil
}

// counts adds a row for those who came in and one for those who went out.
func (d *dahuaEvent) counts() error {
	if math.IsNaN(d.entered) && math.IsNaN(d.exited) {
		return ingest.Rejectf(ingest.ReasonMissing, "found no number of those who entered or left")
	}
	for _, c := range []struct {
		direction string
		value     float64
	}{{"in", d.entered}, {"out", d.exited}} {
		if math.IsNaN(c.value) {
			continue
		}
		r, err := d.out.Detect(batch.WhatCount)
		if err != nil {
			return err
		}
		r.Class, r.Direction, r.Value, r.Rule = batch.ClassPerson, c.direction, c.value, d.name
		if r.Rule == "" {
			r.Rule = d.code
		}
	}
	return nil
}

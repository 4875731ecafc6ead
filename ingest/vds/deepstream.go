package vds

import (
	"bytes"

	"panormus/ingest"
	"panormus/ingest/jsonscan"
	"panormus/stream/batch"
)

// deepstream reads a frame in DeepStream's minimal schema: objects are texts, fields between bars. The
// sensor is the camera where the topic names none.
func (f frames) deepstream(in *ingest.Input, out *ingest.Decoded) error {
	s := &out.Scan
	d := deepstreamFrame{out: out, s: s}
	err := whole(s, in.Payload, "a frame", func(name []byte) (err error) {
		switch string(name) {
		case "@timestamp", "timestamp":
			d.frame = true
			d.at, err = moment(s)
		case "sensorId":
			d.sensor, err = word(s, out)
		case "width", "frameWidth", "source_width":
			d.size.Width, err = number(s)
		case "height", "frameHeight", "source_height":
			d.size.Height, err = number(s)
		case "objects":
			d.frame = true
			return elements(s, "an array of objects", d.object)
		default:
			return skip(s)
		}
		return err
	})
	if err != nil {
		return err
	}
	if !d.frame {
		return ingest.Rejectf(ingest.ReasonFormat, "found no @timestamp and no objects, want a frame")
	}
	if err := nameCamera(in, out, d.sensor); err != nil {
		return err
	}
	if d.size.Width == 0 || d.size.Height == 0 {
		d.size = f.of(camera(in, out))
	}
	if err := d.size.place(out); err != nil {
		return err
	}
	if len(out.Detections) == 0 {
		if _, err := out.Detect(batch.WhatFrame); err != nil {
			return err
		}
	}
	stamp(out, 0, d.at)
	return nil
}

type deepstreamFrame struct {
	out    *ingest.Decoded
	s      *jsonscan.Scanner
	at     instant
	frame  bool
	sensor string
	size   Size
}

// deepstreamTraits are the fields behind # by an object's class, which ends with how sure they are;
// ones without a name are not read.
var deepstreamTraits = map[string][]string{
	batch.ClassVehicle: {"type", "make", "model", "colour", "plate", "plate_region"},
	batch.ClassPerson:  {"gender", "age", "hair", "hat", "clothing"},
	batch.ClassFace:    {"gender", "age", "hair", "hat", "glasses", "beard", "name", "eye_colour"},
}

// object reads id|left|top|right|bottom|class and, for some classes, |#| and what else is known.
func (d *deepstreamFrame) object(int) error {
	s := d.s
	at := s.Offset()
	if s.Peek() != '"' {
		return mismatch(s, "an object as a text")
	}
	b, err := s.String()
	if err != nil {
		return rejectJSON(err)
	}
	if len(b) > maxObject {
		return ingest.Rejectf(ingest.ReasonName, "offset %d: found an object of %d bytes, want at most %d", at, len(b), maxObject)
	}
	if s.Offset()-at != len(b)+2 {
		b = []byte(d.out.Copy(b)) // the rows' texts lie in it
	}
	r, err := d.out.Detect(batch.WhatObject)
	if err != nil {
		return err
	}
	var box [4]float64
	var field []byte
	more := true
	next := func() []byte {
		field, b, more = bytes.Cut(b, []byte{'|'})
		return field
	}
	if r.Track = view(next()); len(r.Track) > maxWord {
		return ingest.Rejectf(ingest.ReasonName, "offset %d: found an id of %d bytes, want at most %d", at, len(r.Track), maxWord)
	}
	for i := range box {
		if !more {
			return ingest.Rejectf(ingest.ReasonFormat, "offset %d: found fewer than 6 fields, want id|left|top|right|bottom|class", at)
		}
		if box[i], err = parseNumber(next(), at); err != nil {
			return err
		}
	}
	if !more {
		return ingest.Rejectf(ingest.ReasonFormat, "offset %d: found fewer than 6 fields, want id|left|top|right|bottom|class", at)
	}
	if next(); len(field) > maxWord {
		return ingest.Rejectf(ingest.ReasonName, "offset %d: found a class of %d bytes, want at most %d", at, len(field), maxWord)
	}
	setClass(r, view(field))
	r.BoxLeft, r.BoxTop, r.BoxRight, r.BoxBottom = float32(box[0]), float32(box[1]), float32(box[2]), float32(box[3])
	traits := deepstreamTraits[r.Class]
	if !more || string(next()) != "#" || traits == nil {
		return nil
	}
	for _, name := range traits {
		if !more {
			return nil
		}
		w := view(next())
		if len(w) > maxWord {
			return ingest.Rejectf(ingest.ReasonName, "offset %d: found a field of %d bytes, want at most %d", at, len(w), maxWord)
		}
		switch name {
		case "type":
			if c := Class(w); c != batch.ClassUnknown { // a car, not just a vehicle
				r.Class = c
			}
		case "plate":
			r.Plate = w
		default:
			if err := attribute(r, name, w, at); err != nil {
				return err
			}
		}
	}
	if more {
		v, err := parseNumber(next(), at)
		if err != nil {
			return err
		}
		return setScore(r, v, 1, at)
	}
	return nil
}

// maxObject is how long an object's text may be.
const maxObject = 1024

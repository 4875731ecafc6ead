package vds

import (
	"math"

	"panormus/ingest"
	"panormus/ingest/jsonscan"
	"panormus/stream/batch"
)

// axisScene reads a frame of Axis' scene metadata, com.axis.scene.frame.v1 or the beta before it,
// whose observations and operations are the detections and track events of today.
func axisScene(in *ingest.Input, out *ingest.Decoded) error {
	f := axisFrame{in: in, out: out, s: &out.Scan, channel: math.NaN()}
	if err := whole(f.s, in.Payload, "a frame", f.member); err != nil {
		return err
	}
	if !f.frame {
		return ingest.Rejectf(ingest.ReasonFormat, "found no timestamp, detections or observations, want a frame")
	}
	if f.objects == 0 {
		if _, err := out.Detect(batch.WhatFrame); err != nil {
			return err
		}
	}
	stamp(out, 0, f.at)
	return setChannel(in, out, f.channel)
}

type axisFrame struct {
	in      *ingest.Input
	out     *ingest.Decoded
	s       *jsonscan.Scanner
	at      instant
	channel float64
	frame   bool
	objects int
}

func (f *axisFrame) member(name []byte) (err error) {
	switch string(name) {
	case "frame":
		return members(f.s, "a frame", f.member)
	case "timestamp":
		f.frame = true
		f.at, err = moment(f.s)
		return err
	case "channel_id":
		f.channel, err = number(f.s)
		return err
	case "detections", "observations":
		f.frame = true
		return elements(f.s, "an array of detections", f.detection)
	case "track_events", "operations":
		return elements(f.s, "an array of track events", f.event)
	}
	return skip(f.s)
}

// detection reads one object. It and axisBox are written out and call no function a member: every
// frame of every camera goes through them.
func (f *axisFrame) detection(int) error {
	s := f.s
	if s.Peek() != '{' {
		return mismatch(s, "a detection")
	}
	r, err := f.out.Detect(batch.WhatObject)
	if err != nil {
		return err
	}
	f.objects++
	r.Class = batch.ClassUnknown
	if err := s.Open('{'); err != nil {
		return rejectJSON(err)
	}
	for first := true; ; first = false {
		name, more, err := s.Member(first)
		if err != nil {
			return rejectJSON(err)
		}
		if !more {
			return nil
		}
		switch string(name) {
		case "bounding_box":
			err = axisBox(s, r)
		case "class":
			err = axisClass(s, f.out, r)
		case "object_track_id", "track_id":
			r.Track, err = word(s, f.out)
		default:
			err = skip(s)
		}
		if err != nil {
			return err
		}
	}
}

func axisBox(s *jsonscan.Scanner, r *ingest.Detection) error {
	if s.Peek() == 'n' {
		return skip(s)
	}
	if s.Peek() != '{' {
		return mismatch(s, "a bounding box")
	}
	at := s.Offset()
	nan := math.NaN()
	left, top, right, bottom := nan, nan, nan, nan
	if err := s.Open('{'); err != nil {
		return rejectJSON(err)
	}
	for first := true; ; first = false {
		name, more, err := s.Member(first)
		if err != nil {
			return rejectJSON(err)
		}
		if !more {
			return setBox(r, left, top, right, bottom, at)
		}
		switch string(name) {
		case "left":
			left, err = number(s)
		case "top":
			top, err = number(s)
		case "right":
			right, err = number(s)
		case "bottom":
			bottom, err = number(s)
		default:
			err = skip(s)
		}
		if err != nil {
			return err
		}
	}
}

func axisClass(s *jsonscan.Scanner, out *ingest.Decoded, r *ingest.Detection) error {
	return members(s, "a class", func(name []byte) error {
		switch string(name) {
		case "type":
			w, err := word(s, out)
			setClass(r, w)
			return err
		case "score":
			return readScore(s, r, 1)
		case "colors", "vehicle_colors":
			return axisColour(s, out, r, "colour")
		case "upper_clothing_colors":
			return axisColour(s, out, r, "clothing_upper")
		case "lower_clothing_colors":
			return axisColour(s, out, r, "clothing_lower")
		}
		return skip(s)
	})
}

// readScore reads a confidence of 0..of.
func readScore(s *jsonscan.Scanner, r *ingest.Detection, of float64) error {
	at := s.Offset()
	v, err := number(s)
	if err != nil {
		return err
	}
	return setScore(r, v, of, at)
}

// axisColour reads candidates and keeps the first, which is the likeliest, as an attribute.
func axisColour(s *jsonscan.Scanner, out *ingest.Decoded, r *ingest.Detection, attribute string) error {
	return elements(s, "an array of colours", func(i int) error {
		return members(s, "a colour", func(name []byte) error {
			if i > 0 || string(name) != "name" {
				return skip(s)
			}
			return attributeAt(s, out, r, attribute)
		})
	})
}

// event reads what happened to a track: of v1 TrackEnded and Rename, of the beta DeleteOperation and
// RenameOperation. Others say nothing of objects.
func (f *axisFrame) event(int) error {
	s, out := f.s, f.out
	at := s.Offset()
	var kind, track, from, to string
	err := members(s, "a track event", func(name []byte) (err error) {
		switch string(name) {
		case "type":
			kind, err = word(s, out)
		case "object_track_id", "id", "track_id":
			track, err = word(s, out)
		case "from_id", "from":
			from, err = word(s, out)
		case "to_id", "to":
			to, err = word(s, out)
		default:
			err = skip(s)
		}
		return err
	})
	if err != nil {
		return err
	}
	what := batch.WhatTrackEnd
	switch kind {
	case "TrackEnded", "DeleteOperation":
		to = track
	case "Rename", "RenameOperation":
		what, track = batch.WhatTrackRename, from
	default:
		return nil
	}
	if track == "" || to == "" {
		return ingest.Rejectf(ingest.ReasonMissing, "offset %d: found a track event without the tracks it is about", at)
	}
	r, err := out.Detect(what)
	if err != nil {
		return err
	}
	r.Track = track
	if what == batch.WhatTrackRename {
		r.Other = to
	}
	return nil
}

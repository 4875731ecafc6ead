package vds

import (
	"math"

	"panormus/ingest"
	"panormus/ingest/jsonscan"
	"panormus/stream/batch"
)

// axisTrack reads a whole track as Axis' track consolidation sums it up when it is over,
// com.axis.scene.object_track.v1 or the beta before it. Its box is the last one of the path, its
// heading leads from the first to the last; its speed is the greatest, as no other is told.
func axisTrack(in *ingest.Input, out *ingest.Decoded) error {
	r, err := out.Detect(batch.WhatTrack)
	if err != nil {
		return err
	}
	t := axisPath{in: in, out: out, s: &out.Scan, r: r, channel: math.NaN(), bestScore: -1}
	r.Class = batch.ClassUnknown
	if err := whole(t.s, in.Payload, "a track", t.member); err != nil {
		return err
	}
	if r.Track == "" || !t.start.own && !t.end.own {
		return ingest.Rejectf(ingest.ReasonMissing, "found no id, start_time or end_time, want an id and one of the times")
	}
	if !t.end.own { // as long as the track goes on
		t.end = t.start
		if r.Value > 0 {
			t.end.ms += int64(r.Value * 1000)
		}
	} else if math.IsNaN(r.Value) && t.start.own {
		r.Value = float64(t.end.ms-t.start.ms) / 1000
	}
	if r.Value < 0 || r.Value > maxTrack {
		return ingest.Rejectf(ingest.ReasonTime, "found a track that lasts less than nothing or longer than %d s", int(maxTrack))
	}
	if t.points > 1 {
		r.HeadingDeg = heading(t.firstX, t.firstY, r.CenterX, r.CenterY)
	}
	stamp(out, 0, t.end)
	return setChannel(in, out, t.channel)
}

// maxTrack is how long a track may last, s.
const maxTrack = 7 * 86400.0

type axisPath struct {
	in             *ingest.Input
	out            *ingest.Decoded
	s              *jsonscan.Scanner
	r              *ingest.Detection
	channel        float64
	start, end     instant
	bestScore      float32
	points         int
	firstX, firstY float32
}

func (t *axisPath) member(name []byte) (err error) {
	switch string(name) {
	case "id":
		t.r.Track, err = word(t.s, t.out)
	case "channel_id":
		t.channel, err = number(t.s)
	case "classes":
		return elements(t.s, "an array of classes", t.class)
	case "start_time":
		t.start, err = moment(t.s)
	case "end_time":
		t.end, err = moment(t.s)
	case "duration":
		t.r.Value, err = number(t.s)
	case "maximum_speed", "max_speed":
		t.r.SpeedMps, err = speed(t.s)
	case "path", "observations":
		return elements(t.s, "an array of positions", t.position)
	default: // parts are older names of the track, image is not kept
		return skip(t.s)
	}
	return err
}

// class reads a candidate; the likeliest counts.
func (t *axisPath) class(int) error {
	var c ingest.Detection
	c.Score = 0
	if err := axisClass(t.s, t.out, &c); err != nil {
		return err
	}
	if c.Score > t.bestScore {
		t.bestScore = c.Score
		t.r.Score, t.r.Class, t.r.VendorClass, t.r.Extra = c.Score, c.Class, c.VendorClass, c.Extra
	}
	return nil
}

func (t *axisPath) position(int) error {
	return members(t.s, "a position", func(name []byte) error {
		if string(name) != "bounding_box" {
			return skip(t.s)
		}
		if err := axisBox(t.s, t.r); err != nil {
			return err
		}
		if t.points == 0 {
			t.firstX, t.firstY = t.r.CenterX, t.r.CenterY
		}
		t.points++
		return nil
	})
}

// heading is the direction from one point of the image to another, clockwise from up in degrees, NaN
// where they are the same.
func heading(fromX, fromY, toX, toY float32) float32 {
	dx, dy := float64(toX-fromX), float64(toY-fromY)
	if dx == 0 && dy == 0 {
		return float32(math.NaN())
	}
	deg := math.Atan2(dx, -dy) * 180 / math.Pi
	if deg < 0 {
		deg += 360
	}
	return float32(deg)
}

// maxSpeed is how fast what a camera sees may be, m/s.
const maxSpeed = 200

// speed reads a speed in m/s.
func speed(s *jsonscan.Scanner) (float32, error) {
	at := s.Offset()
	v, err := number(s)
	if err != nil {
		return 0, err
	}
	return checkSpeed(v, at)
}

// checkSpeed takes what is no speed for a Reject; NaN tells none.
func checkSpeed(v float64, at int) (float32, error) {
	if v < 0 || v > maxSpeed {
		return 0, ingest.Rejectf(ingest.ReasonNumber, "offset %d: found a speed below 0 or beyond %d m/s", at, maxSpeed)
	}
	return float32(v), nil
}

package vds

import (
	"math"
	"strconv"
	"strings"

	"panormus/ingest"
	"panormus/stream/batch"
)

// decode is the decoder that a mapping makes.
func (c *mapping) decode(in *ingest.Input, out *ingest.Decoded) error {
	f, err := c.read(in.Payload, out)
	if err != nil {
		return err
	}
	e := mapped{c: c, f: &f, in: in, out: out}
	if c.at[fieldCamera] >= 0 {
		name := e.text(fieldCamera)
		if name == "" {
			return ingest.Rejectf(ingest.ReasonMissing, "camera: found none")
		}
		if err := setCamera(out, name); err != nil {
			return err
		}
	}
	for _, e.row = range f.rows {
		if err := e.add(); err != nil {
			return err
		}
	}
	if len(f.rows) > 0 || len(c.Whats) > 0 || c.What != batch.WhatObject {
		return nil
	}
	r, err := out.Detect(batch.WhatFrame)
	if err != nil {
		return err
	}
	e.row = f.root
	return e.time(r)
}

// mapped makes rows of what was found.
type mapped struct {
	c   *mapping
	f   *found
	in  *ingest.Input
	out *ingest.Decoded
	row []string
}

// text is the value of a field, "" where there is none.
func (e *mapped) text(field int) string {
	i := e.c.at[field]
	if i < 0 {
		return ""
	}
	return e.value(i)
}

func (e *mapped) value(slot int) string {
	switch s := e.c.slots[slot]; {
	case s.given:
		return s.where
	case s.root:
		return e.f.root[slot]
	}
	return e.row[slot]
}

// number is the value of a field, NaN where there is none.
func (e *mapped) number(field int) (float64, error) {
	t := e.text(field)
	if t == "" {
		return math.NaN(), nil
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(t), 64)
	if err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
		return v, nil
	}
	if n, ok := err.(*strconv.NumError); ok && n.Err == strconv.ErrSyntax {
		return 0, ingest.Rejectf(ingest.ReasonType, "%s: found a text, want a number", fieldNames[field])
	}
	return 0, ingest.Rejectf(ingest.ReasonNumber, "%s: found NaN or a number beyond 64-bit floats, want a finite one", fieldNames[field])
}

// add makes the row of an element.
func (e *mapped) add() error {
	what := e.c.What
	if len(e.c.Whats) > 0 {
		var ok bool
		if what, ok = e.c.Whats[e.text(fieldWhat)]; !ok {
			if what, ok = e.c.Whats[Any]; !ok {
				return ingest.Rejectf(ingest.ReasonEvent, "what: found a word that whats does not have")
			}
		}
		if what == ignored {
			return nil
		}
	}
	r, err := e.out.Detect(what)
	if err != nil {
		return err
	}
	r.Track, r.Other, r.Zone, r.Rule = e.text(fieldTrack), e.text(fieldOther), e.text(fieldZone), e.text(fieldRule)
	r.Direction, r.Plate = e.text(fieldDirection), e.text(fieldPlate)
	vendor := e.text(fieldClass)
	if setClass(r, vendor); e.c.Classes[vendor] != "" {
		r.Class = e.c.Classes[vendor]
	}
	if vendor == "" && what != batch.WhatObject && what != batch.WhatTrack {
		r.Class = "" // it is about no object
	}
	for i, name := range e.c.attrs {
		if err := attribute(r, name, e.value(len(e.c.slots)-len(e.c.attrs)+i), 0); err != nil {
			return err
		}
	}
	if err := e.time(r); err != nil {
		return err
	}
	if err := e.numbers(r); err != nil {
		return err
	}
	return e.place(r)
}

// latest is the last ms since 1970 that is a time.
const latest = 4e12

func (e *mapped) time(r *ingest.Detection) error {
	t := e.text(fieldTime)
	if t == "" {
		return nil
	}
	if e.c.second == 0 {
		at, err := parseMoment([]byte(t), 0)
		if err != nil {
			return ingest.Rejectf(ingest.ReasonTime, "time: found none, want RFC 3339 or a number since 1970")
		}
		r.Time, r.OwnTime = at.ms, at.own
		return nil
	}
	v, err := e.number(fieldTime)
	if err != nil {
		return err
	}
	if v = math.Round(v / e.c.second * 1000); v < 0 || v > latest {
		return ingest.Rejectf(ingest.ReasonTime, "time: found one before 1970 or beyond %g ms after it", latest)
	}
	r.Time, r.OwnTime = int64(v), true
	return nil
}

// numbers reads score, speed, heading, place on the ground and value.
func (e *mapped) numbers(r *ingest.Detection) error {
	score, err := e.number(fieldScore)
	if err != nil {
		return err
	}
	if score < 0 || score > e.c.score {
		return ingest.Rejectf(ingest.ReasonNumber, "score: found one beyond 0..%g", e.c.score)
	}
	r.Score = float32(score / e.c.score)
	v, err := e.number(fieldSpeed)
	if err != nil {
		return err
	}
	if v *= e.c.speed; v < 0 || v > maxSpeed {
		return ingest.Rejectf(ingest.ReasonNumber, "speed: found one below 0 or beyond %d m/s", maxSpeed)
	}
	r.SpeedMps = float32(v)
	if v, err = e.number(fieldHeading); err != nil {
		return err
	}
	r.HeadingDeg = float32(math.Mod(math.Mod(v, 360)+360, 360))
	if r.Lat, err = e.number(fieldLat); err != nil {
		return err
	}
	if r.Lon, err = e.number(fieldLon); err != nil {
		return err
	}
	if math.Abs(r.Lat) > 90 || math.Abs(r.Lon) > 180 {
		return ingest.Rejectf(ingest.ReasonCoordinate, "lat, lon: found a place beyond 90 or 180 degrees")
	}
	if truth, err := parseTruth(e.text(fieldValue), 0); err == nil {
		r.Value = truth
		return nil
	}
	r.Value, err = e.number(fieldValue)
	return err
}

// place gives r a box, or a point where there is none.
func (e *mapped) place(r *ingest.Detection) error {
	var v [fieldImageHeight + 1]float64
	for f := fieldLeft; f <= fieldImageHeight; f++ {
		var err error
		if v[f], err = e.number(f); err != nil {
			return err
		}
	}
	left, top, right, bottom := v[fieldLeft], v[fieldTop], v[fieldRight], v[fieldBottom]
	w, h, x, y := v[fieldWidth], v[fieldHeight], v[fieldX], v[fieldY]
	down := 1.0
	if e.c.Units.YUp {
		down = -1
	}
	switch {
	case e.c.at[fieldRight] >= 0:
	case e.c.at[fieldLeft] >= 0:
		right, bottom = left+w, top+down*h
	case e.c.at[fieldWidth] >= 0:
		left, top, right, bottom = x-w/2, y-h/2, x+w/2, y+h/2
	case e.c.at[fieldX] >= 0:
		left, top, right, bottom = x, y, x, y
	default:
		return nil
	}
	across, along := e.c.scale, e.c.scale
	if e.c.scale == 0 {
		z := Size{v[fieldImageWidth], v[fieldImageHeight]}
		if !(z.Width > 0) || !(z.Height > 0) {
			z = e.c.size
		}
		if z.Width == 0 {
			z = e.c.frames.of(camera(e.in, e.out))
		}
		if across, along = z.Width, z.Height; across == 0 || along == 0 {
			return nil
		}
	}
	unit := func(v, of float64) float64 {
		if e.c.centre {
			return (v + 1) / 2
		}
		return v / of
	}
	left, right, top, bottom = unit(left, across), unit(right, across), unit(top, along), unit(bottom, along)
	if e.c.Units.YUp {
		top, bottom = 1-top, 1-bottom
	}
	if err := setBox(r, left, top, right, bottom, 0); err != nil {
		return err
	}
	if e.c.at[fieldWidth] < 0 && e.c.at[fieldLeft] < 0 { // a point has no box
		nan := float32(math.NaN())
		r.BoxLeft, r.BoxTop, r.BoxRight, r.BoxBottom = nan, nan, nan, nan
	}
	return nil
}

package vds

import (
	"math"
	"strings"

	"panormus/ingest"
	"panormus/ingest/jsonscan"
	"panormus/stream/batch"
)

// rekor reads a group of Rekor Scout: the readings of one plate as a vehicle passes. Only the best
// reading is taken; the others are plates too, often of somebody else.
func (f frames) rekor(in *ingest.Input, out *ingest.Decoded) error {
	s := &out.Scan
	g := rekorGroup{out: out, s: s}
	g.row = ingest.Detection{Detection: batch.Absent()}
	g.row.Class = batch.ClassVehicle
	for i := range g.box {
		g.box[i] = math.NaN()
	}
	if err := whole(s, in.Payload, "a group", g.member); err != nil {
		return err
	}
	switch g.kind {
	case "alpr_group":
	case "heartbeat":
		return nil
	default:
		return ingest.Rejectf(ingest.ReasonEvent, "found another data_type, want alpr_group")
	}
	if g.row.Plate == "" {
		return ingest.Rejectf(ingest.ReasonMissing, "found no best_plate_number")
	}
	if err := nameCamera(in, out, g.camera); err != nil {
		return err
	}
	if g.size.Width == 0 || g.size.Height == 0 {
		g.size = f.of(camera(in, out))
	}
	if err := g.size.setPixels(&g.row, g.box[0], g.box[1], g.box[0]+g.box[2], g.box[1]+g.box[3], 0); err != nil {
		return err
	}
	r, err := out.Detect(batch.WhatPlate)
	if err != nil {
		return err
	}
	*r = g.row
	r.What = batch.WhatPlate
	stamp(out, 0, g.at)
	return nil
}

type rekorGroup struct {
	out          *ingest.Decoded
	s            *jsonscan.Scanner
	row          ingest.Detection
	kind, camera string
	at           instant
	size         Size
	box          [4]float64 // x, y, width, height
}

func (g *rekorGroup) member(name []byte) (err error) {
	s, r := g.s, &g.row
	switch string(name) {
	case "data_type":
		g.kind, err = word(s, g.out)
	case "epoch_start":
		g.at, err = moment(s)
	case "camera_id":
		g.camera, err = word(s, g.out)
	case "best_uuid":
		r.Track, err = word(s, g.out)
	case "best_plate_number":
		r.Plate, err = word(s, g.out)
	case "best_confidence":
		return readScore(s, r, 100)
	case "best_region":
		return attributeAt(s, g.out, r, "plate_region")
	case "country":
		return attributeAt(s, g.out, r, "plate_country")
	case "travel_direction":
		var v float64
		if v, err = number(s); err == nil && v >= 0 && v <= 360 {
			r.HeadingDeg = float32(v)
		}
	case "best_image_width", "img_width":
		g.size.Width, err = number(s)
	case "best_image_height", "img_height":
		g.size.Height, err = number(s)
	case "best_plate":
		return members(s, "a plate", func(name []byte) error {
			if string(name) == "vehicle_region" {
				return g.region()
			}
			return skip(s)
		})
	case "vehicle":
		return members(s, "a vehicle", g.vehicle)
	default: // candidates, crops
		return skip(s)
	}
	return err
}

func (g *rekorGroup) region() error {
	return members(g.s, "a region", func(name []byte) (err error) {
		switch string(name) {
		case "x":
			g.box[0], err = number(g.s)
		case "y":
			g.box[1], err = number(g.s)
		case "width":
			g.box[2], err = number(g.s)
		case "height":
			g.box[3], err = number(g.s)
		default:
			return skip(g.s)
		}
		return err
	})
}

// vehicle reads lists of candidates; the first of each is the likeliest.
func (g *rekorGroup) vehicle(name []byte) error {
	s, r := g.s, &g.row
	what := ""
	switch string(name) {
	case "color":
		what = "colour"
	case "make":
		what = "make"
	case "make_model":
		what = "model"
	case "body_type":
	default:
		return skip(s)
	}
	return elements(s, "an array of candidates", func(i int) error {
		return members(s, "a candidate", func(name []byte) error {
			if i > 0 || string(name) != "name" {
				return skip(s)
			}
			if what != "" {
				return attributeAt(s, g.out, r, what)
			}
			w, err := word(s, g.out)
			if w != "" {
				setKind(r, w)
			}
			return err
		})
	})
}

// setKind gives r a vehicle's kind, such as sedan-compact: what is before the dash says which class, and
// an unknown one is a vehicle still.
func setKind(r *ingest.Detection, vendor string) {
	first, _, _ := strings.Cut(vendor, "-")
	r.VendorClass = vendor
	if r.Class = Class(vendor); r.Class == batch.ClassUnknown {
		r.Class = Class(first)
	}
	if r.Class == batch.ClassUnknown {
		r.Class = batch.ClassVehicle
	}
}

// plateRecognizer reads the results of Plate Recognizer, a row a plate. Candidates are not taken.
func (f frames) plateRecognizer(in *ingest.Input, out *ingest.Decoded) error {
	p := plateResults{out: out, s: &out.Scan}
	if err := whole(p.s, in.Payload, "a result", p.member); err != nil {
		return err
	}
	if !p.there {
		return ingest.Rejectf(ingest.ReasonMissing, "found no results")
	}
	if err := nameCamera(in, out, p.camera); err != nil {
		return err
	}
	if p.size.Width == 0 || p.size.Height == 0 {
		p.size = f.of(camera(in, out))
	}
	if err := p.size.place(out); err != nil {
		return err
	}
	stamp(out, 0, p.at)
	return nil
}

type plateResults struct {
	out    *ingest.Decoded
	s      *jsonscan.Scanner
	at     instant
	camera string
	there  bool
	size   Size
}

func (p *plateResults) member(name []byte) (err error) {
	s := p.s
	switch string(name) {
	case "data":
		return members(s, "data", p.member)
	case "camera_id":
		p.camera, err = word(s, p.out)
	case "timestamp":
		p.at, err = moment(s)
	case "image_width":
		p.size.Width, err = number(s)
	case "image_height":
		p.size.Height, err = number(s)
	case "results":
		p.there = true
		return elements(s, "an array of results", p.result)
	default: // hook, filename, version
		return skip(s)
	}
	return err
}

func (p *plateResults) result(int) error {
	s := p.s
	at := s.Offset()
	r, err := p.out.Detect(batch.WhatPlate)
	if err != nil {
		return err
	}
	r.Class = batch.ClassVehicle
	own := false // a box of the vehicle stands before that of the plate
	err = members(s, "a result", func(name []byte) (err error) {
		switch string(name) {
		case "plate":
			r.Plate, err = p.plate(r)
		case "score":
			return readScore(s, r, 1)
		case "box":
			if own {
				return skip(s)
			}
			return p.box(r)
		case "region":
			return p.named("code", func() error { return attributeAt(s, p.out, r, "plate_region") })
		case "direction":
			var v float64
			if v, err = number(s); err == nil && v >= 0 && v <= 360 {
				r.HeadingDeg = float32(v)
			}
		case "vehicle":
			return members(s, "a vehicle", func(name []byte) error {
				switch string(name) {
				case "type":
					w, err := word(s, p.out)
					if w != "" {
						setKind(r, w)
					}
					return err
				case "box":
					own = true
					return p.box(r)
				}
				return skip(s)
			})
		case "color":
			return p.first("color", r, "colour")
		case "model_make":
			return p.first("make", r, "make")
		default: // candidates
			return skip(s)
		}
		return err
	})
	if err != nil {
		return err
	}
	if r.Plate == "" {
		return ingest.Rejectf(ingest.ReasonMissing, "offset %d: found no plate in a result", at)
	}
	return nil
}

// plate reads one: a text, or an object with the readings in props.plate, best first.
func (p *plateResults) plate(r *ingest.Detection) (plate string, err error) {
	s := p.s
	if s.Peek() != '{' {
		return word(s, p.out)
	}
	return plate, members(s, "a plate", func(name []byte) error {
		switch string(name) {
		case "score":
			return readScore(s, r, 1)
		case "props":
			return p.named("plate", func() error {
				return elements(s, "an array of readings", func(i int) error {
					return members(s, "a reading", func(name []byte) (err error) {
						if i > 0 || string(name) != "value" {
							return skip(s)
						}
						plate, err = word(s, p.out)
						return err
					})
				})
			})
		}
		return skip(s)
	})
}

// named reads the member called name of the object that follows.
func (p *plateResults) named(name string, read func() error) error {
	return members(p.s, "an object", func(n []byte) error {
		if string(n) != name {
			return skip(p.s)
		}
		return read()
	})
}

// first reads the member called name of the first of a list of candidates as an attribute of r.
func (p *plateResults) first(name string, r *ingest.Detection, as string) error {
	return elements(p.s, "an array of candidates", func(i int) error {
		if i > 0 {
			return skip(p.s)
		}
		return p.named(name, func() error { return attributeAt(p.s, p.out, r, as) })
	})
}

// box reads a box in pixels as such.
func (p *plateResults) box(r *ingest.Detection) error {
	return members(p.s, "a box", func(name []byte) error {
		var edge *float32
		switch string(name) {
		case "xmin":
			edge = &r.BoxLeft
		case "ymin":
			edge = &r.BoxTop
		case "xmax":
			edge = &r.BoxRight
		case "ymax":
			edge = &r.BoxBottom
		default:
			return skip(p.s)
		}
		v, err := number(p.s)
		*edge = float32(v)
		return err
	})
}

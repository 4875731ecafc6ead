package vds

import (
	"bytes"
	"errors"
	"math"

	"panormus/ingest"
	"panormus/ingest/xmlscan"
	"panormus/stream/batch"
)

// onvifXML reads a tt:MetadataStream: frames, events or both. Namespaces vary or are missing, so that
// names count without them; what stands alone (a Frame, a NotificationMessage) or within SOAP is
// read too.
//
// A state that is Initialized was told before: its row is marked and no news. One that is Deleted is
// 0 from now on.
func onvifXML(in *ingest.Input, out *ingest.Decoded) error {
	r := xmlReader{in: in, out: out, s: &out.XML}
	if err := r.s.Reset(in.Payload); err != nil {
		return rejectXML(err)
	}
	known, err := r.stream()
	if err != nil {
		return err
	}
	if !known {
		return ingest.Rejectf(ingest.ReasonFormat, "found a root that is none of ONVIF's, want a MetadataStream")
	}
	if err := r.s.End(); err != nil {
		return rejectXML(err)
	}
	return nil
}

// rejectXML turns an error of the scanner into a Reject.
func rejectXML(err error) *ingest.Reject {
	var e *xmlscan.Error
	reason := ingest.ReasonXML
	if errors.As(err, &e) {
		switch e.Kind {
		case xmlscan.KindUTF8:
			reason = ingest.ReasonUTF8
		case xmlscan.KindDepth:
			reason = ingest.ReasonDepth
		case xmlscan.KindMany:
			reason = ingest.ReasonTooMany
		}
	}
	return ingest.Rejectf(reason, "%v", err)
}

// xmlReader reads one document. Every method of it is called with an element entered and leaves it.
type xmlReader struct {
	in  *ingest.Input
	out *ingest.Decoded
	s   *xmlscan.Scanner
}

// child goes to the next element within the one entered last.
func (r *xmlReader) child() (bool, error) {
	more, err := r.s.Child()
	if err != nil {
		return false, rejectXML(err)
	}
	return more, nil
}

// children enters every element in turn; read must leave it.
func (r *xmlReader) children(read func(name []byte) error) error {
	for {
		more, err := r.child()
		if err != nil || !more {
			return err
		}
		if err := read(r.s.Name()); err != nil {
			return err
		}
	}
}

func (r *xmlReader) skip() error {
	if err := r.s.Skip(); err != nil {
		return rejectXML(err)
	}
	return nil
}

// text is the element's own, without white space around it.
func (r *xmlReader) text() ([]byte, error) {
	b, err := r.s.Text()
	if err != nil {
		return nil, rejectXML(err)
	}
	return bytes.TrimSpace(b), nil
}

func (r *xmlReader) word() (string, error) {
	at := r.s.Offset()
	b, err := r.text()
	if err != nil {
		return "", err
	}
	return r.keep(b, at)
}

// keep checks and copies a text, which may lie in a buffer that is used again.
func (r *xmlReader) keep(b []byte, at int) (string, error) {
	if len(b) > maxWord {
		return "", ingest.Rejectf(ingest.ReasonName, "offset %d: found a text of %d bytes, want at most %d", at, len(b), maxWord)
	}
	return r.out.Copy(b), nil
}

func (r *xmlReader) number() (float64, error) {
	at := r.s.Offset()
	b, err := r.text()
	if err != nil {
		return 0, err
	}
	return parseNumber(b, at)
}

// attrWord, attrNumber and attrMoment read an attribute, which may be missing.
func (r *xmlReader) attrWord(name string) (string, error) {
	b, _ := r.s.Attr(name)
	return r.keep(bytes.TrimSpace(b), r.s.Offset())
}

func (r *xmlReader) attrNumber(name string) (float64, error) {
	b, _ := r.s.Attr(name)
	return parseNumber(bytes.TrimSpace(b), r.s.Offset())
}

func (r *xmlReader) attrMoment(name string) (instant, error) {
	b, _ := r.s.Attr(name)
	return parseMoment(bytes.TrimSpace(b), r.s.Offset())
}

// stream reads what may be a document, or a part of one; known is whether it is ONVIF's.
func (r *xmlReader) stream() (known bool, err error) {
	switch string(r.s.Name()) {
	case "Frame":
		return true, r.frame()
	case "NotificationMessage":
		return true, r.notification()
	case "MetadataStream", "VideoAnalytics", "Event", "Extension", "Notify", "Envelope", "Body":
		return true, r.children(func([]byte) error {
			_, err := r.stream()
			return err
		})
	}
	return false, r.skip()
}

func (r *xmlReader) frame() error {
	f := newFrame(r.out, r.s.Offset())
	var err error
	if f.at, err = r.attrMoment("UtcTime"); err != nil {
		return err
	}
	for {
		more, err := r.child()
		if err != nil {
			return err
		}
		if !more {
			return f.finish()
		}
		switch string(r.s.Name()) {
		case "Transformation":
			err = r.transformation(&f.transformation)
		case "Object":
			err = r.object(&f)
		case "ObjectTree":
			err = r.tree(&f)
		default:
			err = r.skip()
		}
		if err != nil {
			return err
		}
	}
}

// transformation reads one, and those in its extension, which come before it.
func (r *xmlReader) transformation(into *transformation) error {
	t, nested := straight, straight
	err := r.children(func(name []byte) error {
		switch string(name) {
		case "Translate":
			return r.vector(&t.moveX, &t.moveY)
		case "Scale":
			return r.vector(&t.scaleX, &t.scaleY)
		case "Transformation":
			return r.transformation(&nested)
		case "Extension":
			return r.children(func(name []byte) error {
				if string(name) == "Transformation" {
					return r.transformation(&nested)
				}
				return r.skip()
			})
		}
		return r.skip()
	})
	*into = nested.then(t)
	return err
}

// vector reads x and y; one that is missing leaves what is there.
func (r *xmlReader) vector(x, y *float64) error {
	vx, err := r.attrNumber("x")
	if err != nil {
		return err
	}
	vy, err := r.attrNumber("y")
	if err != nil {
		return err
	}
	if !math.IsNaN(vx) {
		*x = vx
	}
	if !math.IsNaN(vy) {
		*y = vy
	}
	return r.skip()
}

func (r *xmlReader) object(f *onvifFrame) error {
	o, err := f.object()
	if err != nil {
		return err
	}
	if o.row.Track, err = r.attrWord("ObjectId"); err != nil {
		return err
	}
	if o.row.Other, err = r.attrWord("Parent"); err != nil {
		return err
	}
	for {
		more, err := r.child()
		if err != nil {
			return err
		}
		if !more {
			o.keep()
			return nil
		}
		switch string(r.s.Name()) {
		case "Appearance":
			err = r.appearance(&o)
		case "Behaviour":
			err = r.behaviour(&o)
		default:
			err = r.skip()
		}
		if err != nil {
			return err
		}
	}
}

func (r *xmlReader) appearance(o *onvifThing) error {
	for {
		more, err := r.child()
		if err != nil || !more {
			return err
		}
		switch name := r.s.Name(); string(name) {
		case "Transformation":
			err = r.transformation(&o.appearance)
		case "Shape":
			err = r.shape(o)
		case "Class", "VehicleInfo", "LicensePlateInfo", "HumanFace":
			err = r.traits(known(name), o)
		case "GeoLocation":
			err = r.geo(o)
		default:
			err = r.skip()
		}
		if err != nil {
			return err
		}
	}
}

func (r *xmlReader) shape(o *onvifThing) error {
	return r.children(func(name []byte) error {
		switch string(name) {
		case "BoundingBox":
			for i := range r.s.Attributes() {
				name, value := r.s.Attribute(i)
				var into *float64
				switch string(name) {
				case "left":
					into = &o.left
				case "top":
					into = &o.top
				case "right":
					into = &o.right
				case "bottom":
					into = &o.bottom
				default:
					continue
				}
				var err error
				if *into, err = parseNumber(bytes.TrimSpace(value), r.s.Offset()); err != nil {
					return err
				}
			}
			return r.skip()
		case "CenterOfGravity":
			return r.vector(&o.centerX, &o.centerY)
		}
		return r.skip()
	})
}

func (r *xmlReader) geo(o *onvifThing) error {
	at := r.s.Offset()
	lat, err := r.attrNumber("lat")
	if err != nil {
		return err
	}
	lon, err := r.attrNumber("lon")
	if err != nil {
		return err
	}
	if err := setGeo(o.row, lat, lon, at); err != nil {
		return err
	}
	return r.skip()
}

func (r *xmlReader) behaviour(o *onvifThing) error {
	return r.children(func(name []byte) error {
		switch string(name) {
		case "Speed":
			at := r.s.Offset()
			w, err := r.word()
			if err != nil {
				return err
			}
			return o.speed(w, at)
		case "Direction":
			yaw, err := r.attrNumber("yaw")
			if err != nil {
				return err
			}
			o.heading(yaw)
		}
		return r.skip()
	})
}

// traits reads what parent, one that tell listens to, has of texts.
func (r *xmlReader) traits(parent string, o *onvifThing) error {
	for {
		more, err := r.child()
		if err != nil || !more {
			return err
		}
		at := r.s.Offset()
		switch name := r.s.Name(); string(name) {
		case "ClassCandidate":
			err = r.candidate(o)
		case "Type", "Brand", "Model", "Color", "PlateNumber", "PlateType", "CountryCode", "IssuingEntity", "Gender":
			n := trait(name)
			odds, failed := r.attrNumber("Likelihood")
			if failed != nil {
				return failed
			}
			var w string
			if w, err = r.word(); err == nil {
				err = o.tell(parent, n, w, odds, at)
			}
		default:
			err = r.skip()
		}
		if err != nil {
			return err
		}
	}
}

// candidate reads a class as it was told before there was Type in Class itself.
func (r *xmlReader) candidate(o *onvifThing) error {
	w, odds, at := "", math.NaN(), r.s.Offset()
	err := r.children(func(name []byte) (err error) {
		switch string(name) {
		case "Type":
			w, err = r.word()
		case "Likelihood":
			odds, err = r.number()
		default:
			err = r.skip()
		}
		return err
	})
	if err != nil {
		return err
	}
	return o.tell("ClassCandidate", "Type", w, odds, at)
}

func (r *xmlReader) tree(f *onvifFrame) error {
	return r.children(func(name []byte) error {
		what := treeWord(name)
		if what == "" {
			return r.skip()
		}
		var fromBuf, toBuf [4]string
		from, to := fromBuf[:0], toBuf[:0]
		if what == batch.WhatTrackEnd {
			id, err := r.attrWord("ObjectId")
			if err != nil {
				return err
			}
			from = append(from, id)
		}
		err := r.children(func(name []byte) error {
			into := &from
			switch string(name) {
			case "from":
			case "to":
				into = &to
			default:
				return r.skip()
			}
			id, err := r.attrWord("ObjectId")
			if err != nil {
				return err
			}
			*into = append(*into, id)
			return r.skip()
		})
		if err != nil {
			return err
		}
		return f.tree(what, from, to)
	})
}

// notification reads a topic and the message that it is of.
func (r *xmlReader) notification() error {
	e, err := newEvent(r.out, r.in.Retained, r.s.Offset())
	if err != nil {
		return err
	}
	topic := ""
	err = r.children(func(name []byte) (err error) {
		switch string(name) {
		case "Topic":
			b, err := r.text()
			if err != nil {
				return err
			}
			topic, err = canonical(r.out, view(b))
			return err
		case "Message":
			return r.message(&e)
		}
		return r.skip()
	})
	if err != nil {
		return err
	}
	e.topic = topic
	return e.finish()
}

// message reads wsnt:Message and the tt:Message in it, which have one name.
func (r *xmlReader) message(e *onvifEvent) error {
	if at, err := r.attrMoment("UtcTime"); err != nil {
		return err
	} else if at.own {
		e.at = at
	}
	operation, err := r.attrWord("PropertyOperation")
	if err != nil {
		return err
	}
	if operation != "" {
		e.operation = operation
	}
	return r.children(func(name []byte) error {
		switch string(name) {
		case "Message":
			return r.message(e)
		case "Source", "Key", "Data":
			return r.items(e)
		}
		return r.skip()
	})
}

func (r *xmlReader) items(e *onvifEvent) error {
	return r.children(func(name []byte) error {
		switch string(name) {
		case "SimpleItem":
			return r.simple(e)
		case "ElementItem":
			return r.elements(e)
		}
		return r.skip()
	})
}

func (r *xmlReader) simple(e *onvifEvent) error {
	name, err := r.attrWord("Name")
	if err != nil {
		return err
	}
	if listens(name) {
		at := r.s.Offset()
		value, err := r.attrWord("Value")
		if err != nil {
			return err
		}
		if err := e.item(name, value, at); err != nil {
			return err
		}
	}
	return r.skip()
}

// elements reads what an item has instead of a value.
func (r *xmlReader) elements(e *onvifEvent) error {
	return r.children(func(name []byte) error {
		switch string(name) {
		case "Class", "VehicleInfo", "LicensePlateInfo", "HumanFace":
			return r.traits(known(name), &e.thing)
		case "Object", "ObjectTrack", "Appearance":
			for i := range r.s.Attributes() {
				name, value := r.s.Attribute(i)
				if n := string(name); listens(n) {
					w, err := r.keep(bytes.TrimSpace(value), r.s.Offset())
					if err != nil {
						return err
					}
					if err := e.item(n, w, r.s.Offset()); err != nil {
						return err
					}
				}
			}
			return r.elements(e)
		}
		if n := string(name); listens(n) {
			at := r.s.Offset()
			w, err := r.word()
			if err != nil {
				return err
			}
			return e.item(n, w, at)
		}
		return r.skip()
	})
}

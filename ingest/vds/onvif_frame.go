package vds

import (
	"bytes"
	"math"

	"panormus/ingest"
	"panormus/ingest/jsonscan"
)

// onvifFrames reads frames as ONVIF Profile M has them in JSON. A list of one may stand without its
// brackets, an attribute without its @, any name with a prefix.
func onvifFrames(in *ingest.Input, out *ingest.Decoded) error {
	r := onvifJSON{out: out, s: &out.Scan}
	if err := whole(r.s, in.Payload, "an object with frames", r.top); err != nil {
		return err
	}
	if r.frames == 0 {
		return ingest.Rejectf(ingest.ReasonFormat, "found no Frame")
	}
	return nil
}

// onvifJSON reads one message.
type onvifJSON struct {
	out    *ingest.Decoded
	s      *jsonscan.Scanner
	frames int
}

// local is a name without @ and prefix.
func local(name []byte) []byte {
	if len(name) > 0 && name[0] == '@' {
		name = name[1:]
	}
	if i := bytes.LastIndexByte(name, ':'); i >= 0 {
		name = name[i+1:]
	}
	return name
}

// each reads one or, in an array, any number.
func each(s *jsonscan.Scanner, what string, read func(int) error) error {
	switch s.Peek() {
	case '[':
		return elements(s, what, read)
	case 'n':
		return skip(s)
	}
	return read(0)
}

func (r *onvifJSON) top(name []byte) error {
	switch string(local(name)) {
	case "Frame":
		return each(r.s, "a frame", r.frame)
	case "MetadataStream", "VideoAnalytics":
		return each(r.s, "an object with frames", func(int) error { return members(r.s, "an object with frames", r.top) })
	}
	return skip(r.s)
}

func (r *onvifJSON) frame(int) error {
	r.frames++
	f := newFrame(r.out, r.s.Offset())
	err := members(r.s, "a frame", func(name []byte) (err error) {
		switch string(local(name)) {
		case "UtcTime":
			f.at, err = moment(r.s)
			return err
		case "Transformation":
			return r.transformation(&f.transformation)
		case "Object":
			return each(r.s, "an object", func(int) error { return r.object(&f) })
		case "ObjectTree":
			return each(r.s, "an object tree", func(int) error { return r.tree(&f) })
		}
		return skip(r.s)
	})
	if err != nil {
		return err
	}
	return f.finish()
}

// transformation reads one that comes before into.
func (r *onvifJSON) transformation(into *transformation) error {
	t, nested := straight, straight
	err := members(r.s, "a transformation", func(name []byte) error {
		switch string(local(name)) {
		case "Translate":
			return r.vector(&t.moveX, &t.moveY)
		case "Scale":
			return r.vector(&t.scaleX, &t.scaleY)
		case "Transformation":
			return r.transformation(&nested)
		case "Extension":
			return members(r.s, "an extension", func(name []byte) error {
				if string(local(name)) == "Transformation" {
					return r.transformation(&nested)
				}
				return skip(r.s)
			})
		}
		return skip(r.s)
	})
	*into = nested.then(t)
	return err
}

// vector reads x and y; one that is missing leaves what is there.
func (r *onvifJSON) vector(x, y *float64) error {
	return members(r.s, "a vector", func(name []byte) error {
		var into *float64
		switch string(local(name)) {
		case "x":
			into = x
		case "y":
			into = y
		default:
			return skip(r.s)
		}
		v, err := number(r.s)
		if err == nil && !math.IsNaN(v) {
			*into = v
		}
		return err
	})
}

func (r *onvifJSON) object(f *onvifFrame) error {
	o, err := f.object()
	if err != nil {
		return err
	}
	err = members(r.s, "an object", func(name []byte) (err error) {
		switch string(local(name)) {
		case "ObjectId":
			o.row.Track, err = word(r.s, r.out)
		case "Parent":
			o.row.Other, err = word(r.s, r.out)
		case "Appearance":
			err = each(r.s, "an appearance", func(int) error { return r.appearance(&o) })
		case "Behaviour":
			err = r.behaviour(&o)
		default:
			err = skip(r.s)
		}
		return err
	})
	if err == nil {
		o.keep()
	}
	return err
}

func (r *onvifJSON) appearance(o *onvifThing) error {
	return members(r.s, "an appearance", func(name []byte) error {
		switch n := local(name); string(n) {
		case "Transformation":
			return r.transformation(&o.appearance)
		case "Shape":
			return each(r.s, "a shape", func(int) error { return r.shape(o) })
		case "Class", "VehicleInfo", "LicensePlateInfo", "HumanFace":
			parent := known(n)
			return each(r.s, parent, func(int) error { return r.traits(parent, o) })
		case "GeoLocation":
			return each(r.s, "a location", func(int) error { return r.geo(o) })
		}
		return skip(r.s)
	})
}

// known is name as a constant, since the name itself holds only until strings are read.
func known(name []byte) string {
	switch string(name) {
	case "Class":
		return "Class"
	case "ClassCandidate":
		return "ClassCandidate"
	case "VehicleInfo":
		return "VehicleInfo"
	case "LicensePlateInfo":
		return "LicensePlateInfo"
	case "HumanFace":
		return "HumanFace"
	}
	return ""
}

func (r *onvifJSON) shape(o *onvifThing) error {
	return members(r.s, "a shape", func(name []byte) error {
		switch string(local(name)) {
		case "BoundingBox":
			return members(r.s, "a box", func(name []byte) (err error) {
				switch string(local(name)) {
				case "left":
					o.left, err = number(r.s)
				case "top":
					o.top, err = number(r.s)
				case "right":
					o.right, err = number(r.s)
				case "bottom":
					o.bottom, err = number(r.s)
				default:
					err = skip(r.s)
				}
				return err
			})
		case "CenterOfGravity":
			return r.vector(&o.centerX, &o.centerY)
		}
		return skip(r.s)
	})
}

func (r *onvifJSON) geo(o *onvifThing) error {
	lat, lon, at := math.NaN(), math.NaN(), r.s.Offset()
	err := members(r.s, "a location", func(name []byte) (err error) {
		switch string(local(name)) {
		case "lat":
			lat, err = number(r.s)
		case "lon":
			lon, err = number(r.s)
		default:
			err = skip(r.s)
		}
		return err
	})
	if err != nil {
		return err
	}
	return setGeo(o.row, lat, lon, at)
}

// setGeo gives r a place on the ground.
func setGeo(r *ingest.Detection, lat, lon float64, at int) error {
	if math.Abs(lat) > 90 || math.Abs(lon) > 180 {
		return ingest.Rejectf(ingest.ReasonCoordinate, "offset %d: found a place that is not on earth, want degrees north and east", at)
	}
	if !math.IsNaN(lat) && !math.IsNaN(lon) {
		r.Lat, r.Lon = lat, lon
	}
	return nil
}

func (r *onvifJSON) behaviour(o *onvifThing) error {
	return members(r.s, "a behaviour", func(name []byte) error {
		switch string(local(name)) {
		case "Speed":
			at := r.s.Offset()
			w, _, err := r.likely()
			if err != nil {
				return err
			}
			return o.speed(w, at)
		case "Direction":
			return members(r.s, "a direction", func(name []byte) error {
				if string(local(name)) != "yaw" {
					return skip(r.s)
				}
				v, err := number(r.s)
				o.heading(v)
				return err
			})
		}
		return skip(r.s)
	})
}

// heading notes degrees clockwise from north.
func (o *onvifThing) heading(yaw float64) {
	if yaw = math.Mod(yaw, 360); yaw < 0 {
		yaw += 360
	}
	o.row.HeadingDeg = float32(yaw)
}

// traits reads what parent, one that tell listens to, has of texts.
func (r *onvifJSON) traits(parent string, o *onvifThing) error {
	return members(r.s, parent, func(name []byte) error {
		at := r.s.Offset()
		switch n := local(name); string(n) {
		case "ClassCandidate":
			return each(r.s, "a candidate", func(int) error {
				w, odds, err := r.likely()
				if err != nil {
					return err
				}
				return o.tell("ClassCandidate", "Type", w, odds, at)
			})
		case "Type", "Brand", "Model", "Color", "PlateNumber", "PlateType", "CountryCode", "IssuingEntity", "Gender":
			n := trait(n)
			return each(r.s, "a text", func(int) error {
				w, odds, err := r.likely()
				if err != nil {
					return err
				}
				return o.tell(parent, n, w, odds, at)
			})
		}
		return skip(r.s)
	})
}

// trait is name as a constant.
func trait(name []byte) string {
	for _, t := range [...]string{"Type", "Brand", "Model", "Color", "PlateNumber", "PlateType", "CountryCode", "IssuingEntity", "Gender"} {
		if t == string(name) {
			return t
		}
	}
	return ""
}

// likely reads a text, or an object that has it beside how likely it is.
func (r *onvifJSON) likely() (w string, odds float64, err error) {
	odds = math.NaN()
	if r.s.Peek() != '{' {
		w, err = word(r.s, r.out)
		return w, odds, err
	}
	err = members(r.s, "a text and its likelihood", func(name []byte) (err error) {
		switch string(local(name)) {
		case "#text", "Type", "Value", "$":
			w, err = word(r.s, r.out)
		case "Likelihood":
			odds, err = number(r.s)
		default:
			err = skip(r.s)
		}
		return err
	})
	return w, odds, err
}

func (r *onvifJSON) tree(f *onvifFrame) error {
	return members(r.s, "an object tree", func(name []byte) error {
		what := treeWord(local(name))
		if what == "" {
			return skip(r.s)
		}
		return each(r.s, "a change of tracks", func(int) error {
			var fromBuf, toBuf [4]string
			from, to := fromBuf[:0], toBuf[:0]
			err := members(r.s, "a change of tracks", func(name []byte) error {
				var into *[]string
				switch string(local(name)) {
				case "from", "From":
					into = &from
				case "to", "To":
					into = &to
				case "ObjectId":
					w, err := word(r.s, r.out)
					from = append(from, w)
					return err
				default:
					return skip(r.s)
				}
				return each(r.s, "an ObjectId", func(int) error {
					w, err := r.objectID()
					*into = append(*into, w)
					return err
				})
			})
			if err != nil {
				return err
			}
			return f.tree(what, from, to)
		})
	})
}

// objectID reads an id, or an object that has it.
func (r *onvifJSON) objectID() (id string, err error) {
	if r.s.Peek() != '{' {
		return word(r.s, r.out)
	}
	err = members(r.s, "an object with an ObjectId", func(name []byte) (err error) {
		if string(local(name)) == "ObjectId" {
			id, err = word(r.s, r.out)
			return err
		}
		return skip(r.s)
	})
	return id, err
}

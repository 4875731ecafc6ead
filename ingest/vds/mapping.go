package vds

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"panormus/ingest"
	"panormus/stream/batch"
)

// A Mapping says where a vendor's messages have what the model has, for those that no decoder of this
// package reads. Its form is that of the settings.
//
// A path says where a value is: in gjson's syntax within a JSON object; in XML the local names of
// elements below the outermost one, with slashes between them, and @name for an attribute at the end.
// It starts at the element of Each; one that begins with "$." (in XML "$/") starts at the message. A
// text behind "=" is the value itself.
type Mapping struct {
	Name   string `yaml:"name"`   // of the decoder, for routes
	Topic  string `yaml:"topic"`  // an MQTT filter; the last + is the camera
	Domain string `yaml:"domain"` // safety where empty
	Format string `yaml:"format"` // json or xml
	Each   string `yaml:"each"`   // path to the objects or events; empty: the message is one
	Camera string `yaml:"camera"` // path in the message; empty: the topic names it
	// What rows tell, one of the model's words; with Whats a path to the vendor's word, which Whats
	// translates, "ignore" making no row. The word * stands for all others, which are refused without.
	What  string            `yaml:"what"`
	Whats map[string]string `yaml:"whats"`
	// Fields are paths by what they lead to, one of FieldNames.
	Fields     map[string]string `yaml:"fields"`
	Attributes map[string]string `yaml:"attributes"` // paths by name; kept as far as the purpose allows
	Classes    map[string]string `yaml:"classes"`    // the model's classes by the vendor's, beside those known anyway
	Units      Units             `yaml:"units"`
}

// Units say how numbers are told; where empty, as the model has them.
type Units struct {
	Time  string `yaml:"time"`  // s, ms, us or ns since 1970; empty: RFC 3339, or by the size of the number
	Score string `yaml:"score"` // percent; empty: 0..1
	Speed string `yaml:"speed"` // m/s, km/h, mph or knots
	Box   string `yaml:"box"`   // px, percent, "grid 8191" or "-1..1"; empty: 0..1
	Size  string `yaml:"size"`  // of the picture of px, such as 1280x720, where neither a field nor vds.frames tells it
	YUp   bool   `yaml:"y_up"`  // the origin is at the bottom, not at the top
}

// The fields of a mapping.
const (
	fieldTime = iota
	fieldTrack
	fieldOther
	fieldClass
	fieldScore
	fieldZone
	fieldRule
	fieldDirection
	fieldSpeed
	fieldHeading
	fieldLeft
	fieldTop
	fieldRight
	fieldBottom
	fieldWidth
	fieldHeight
	fieldX
	fieldY
	fieldImageWidth
	fieldImageHeight
	fieldLat
	fieldLon
	fieldValue
	fieldPlate
	fieldCamera // not one of FieldNames, nor is what follows
	fieldWhat
	fields
)

var fieldNames = [...]string{
	"time", "track", "other", "class", "score", "zone", "rule", "direction", "speed", "heading", "left", "top", "right", "bottom",
	"width", "height", "x", "y", "image_width", "image_height", "lat", "lon", "value", "plate", "camera", "what",
}

// FieldNames are the fields that a mapping can have: edges of the box, or left and top (or the centre,
// x and y) with its width and height; without those, x and y are a point.
func FieldNames() []string { return slices.Clone(fieldNames[:fieldCamera]) }

// whats are the words of Detection.What.
var whats = []string{
	batch.WhatObject, batch.WhatTrack, batch.WhatTrackEnd, batch.WhatTrackRename, batch.WhatTrackSplit, batch.WhatTrackMerge,
	batch.WhatLineCrossed, batch.WhatZoneEntered, batch.WhatZoneLeft, batch.WhatInside, batch.WhatLoitering, batch.WhatCount,
	batch.WhatOccupancy, batch.WhatQueue, batch.WhatMotion, batch.WhatTamper, batch.WhatSignalLoss, batch.WhatPlate, batch.WhatAlert,
}

var modelClasses = []string{
	batch.ClassPerson, batch.ClassHead, batch.ClassFace, batch.ClassBicycle, batch.ClassMotorcycle, batch.ClassCar, batch.ClassVan,
	batch.ClassTruck, batch.ClassBus, batch.ClassTrain, batch.ClassVehicle, batch.ClassAnimal, batch.ClassBag, batch.ClassPlate, batch.ClassUnknown,
}

// ignored is the word in Whats of what makes no row.
const ignored = "ignore"

// A slot is a value that is looked for: at where, in the message or in each element; or given.
type slot struct {
	where string
	root  bool
	given bool
}

// A mapping is a Mapping made ready.
type mapping struct {
	Mapping
	frames frames
	slots  []slot
	at     [fields]int // slot of a field, -1 for none
	attrs  []string    // their slots are the last ones
	read   func(payload []byte, out *ingest.Decoded) (found, error)
	speed  float64 // m/s
	score  float64 // what is certain
	second float64 // of time, 0 where that is to be seen
	scale  float64 // of edges, 0 for pixels
	centre bool    // edges are -1..1
	size   Size
}

// found is what a message has: values by slot, those of the message and those of each element.
type found struct {
	root []string
	rows [][]string
}

// Compile makes the decoder and the route of m. Its error says what of m is wrong and what is wanted.
func (m Mapping) Compile(o Options) (ingest.Decoder, ingest.Route, error) {
	c, err := m.compile(o)
	if err != nil {
		return nil, ingest.Route{}, err
	}
	domain := m.Domain
	if domain == "" {
		domain = "safety"
	}
	return c.decode, ingest.Route{Filter: m.Topic, Decoder: m.Name, Domain: domain}, nil
}

func (m Mapping) compile(o Options) (*mapping, error) {
	c := &mapping{Mapping: m, frames: o.Frames}
	switch {
	case m.Name == "":
		return nil, errors.New("name: none, want that of the decoder")
	case Decoders(o)[m.Name] != nil || m.Name == ingest.Ignore:
		return nil, fmt.Errorf("name: %q, which is a decoder already", m.Name)
	case m.Topic == "":
		return nil, errors.New("topic: none, want an MQTT filter")
	case m.Camera == "" && !slices.Contains(strings.Split(m.Topic, "/"), "+"):
		return nil, fmt.Errorf("camera: none, and topic %q has no + for it: want a path", m.Topic)
	case m.Format != "json" && m.Format != "xml":
		return nil, fmt.Errorf("format: %q, want json or xml", m.Format)
	}
	if err := c.find(); err != nil {
		return nil, err
	}
	if err := c.words(); err != nil {
		return nil, err
	}
	if err := c.units(); err != nil {
		return nil, err
	}
	c.read = c.readJSON
	if m.Format == "xml" {
		tree, err := c.tree()
		if err != nil {
			return nil, err
		}
		c.read = func(payload []byte, out *ingest.Decoded) (found, error) { return c.readXML(tree, payload) }
	}
	return c, nil
}

// find makes slots of paths.
func (c *mapping) find() error {
	for i := range c.at {
		c.at[i] = -1
	}
	if len(c.Fields) == 0 {
		return fmt.Errorf("fields: none, want some of %s", strings.Join(FieldNames(), ", "))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Fields)) {
		i := slices.Index(fieldNames[:fieldCamera], name)
		if i < 0 {
			return fmt.Errorf("fields: %q, want some of %s", name, strings.Join(FieldNames(), ", "))
		}
		if err := c.slot(i, "fields."+name, c.Fields[name]); err != nil {
			return err
		}
	}
	if c.Camera != "" {
		if err := c.slot(fieldCamera, "camera", c.Camera); err != nil {
			return err
		}
		c.slots[len(c.slots)-1].root = true
	}
	if len(c.Whats) > 0 {
		if err := c.slot(fieldWhat, "what", c.What); err != nil {
			return err
		}
	}
	if len(c.Attributes) > maxAttributes {
		return fmt.Errorf("attributes: %d, want at most %d", len(c.Attributes), maxAttributes)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Attributes)) {
		if err := c.slot(-1, "attributes."+name, c.Attributes[name]); err != nil {
			return err
		}
		c.attrs = append(c.attrs, name)
	}
	has := func(fs ...int) bool { return !slices.ContainsFunc(fs, func(f int) bool { return c.at[f] < 0 }) }
	edges := has(fieldLeft, fieldTop, fieldRight, fieldBottom) || has(fieldLeft, fieldTop, fieldWidth, fieldHeight) || has(fieldX, fieldY, fieldWidth, fieldHeight)
	for _, f := range []int{fieldLeft, fieldTop, fieldRight, fieldBottom, fieldWidth, fieldHeight} {
		if has(f) && !edges {
			return fmt.Errorf("fields: %s alone, want left, top, right and bottom; left, top, width and height; or x, y, width and height", fieldNames[f])
		}
	}
	for _, pair := range [][2]int{{fieldX, fieldY}, {fieldLat, fieldLon}, {fieldImageWidth, fieldImageHeight}} {
		if has(pair[0]) != has(pair[1]) {
			return fmt.Errorf("fields: one of %s and %s, want both or neither", fieldNames[pair[0]], fieldNames[pair[1]])
		}
	}
	return nil
}

func (c *mapping) slot(field int, name, path string) error {
	s := slot{where: path}
	root := "$."
	if c.Format == "xml" {
		root = "$/"
	}
	if rest, ok := strings.CutPrefix(path, "="); ok {
		s = slot{where: rest, given: true}
	} else if rest, ok := strings.CutPrefix(path, root); ok {
		s = slot{where: rest, root: true}
	}
	if s.where == "" || len(s.where) > 256 {
		return fmt.Errorf("%s: a path of %d bytes, want 1 to 256, or = and a value", name, len(s.where))
	}
	if field >= 0 {
		c.at[field] = len(c.slots)
	}
	c.slots = append(c.slots, s)
	return nil
}

// words checks what, whats and classes.
func (c *mapping) words() error {
	if len(c.Whats) == 0 && !slices.Contains(whats, c.What) {
		return fmt.Errorf("what: %q, want one of %s, or a path and whats", c.What, strings.Join(whats, ", "))
	}
	for _, k := range slices.Sorted(maps.Keys(c.Whats)) {
		if w := c.Whats[k]; w != ignored && !slices.Contains(whats, w) {
			return fmt.Errorf("whats: %q for %q, want one of %s, %s", w, k, ignored, strings.Join(whats, ", "))
		}
	}
	for _, k := range slices.Sorted(maps.Keys(c.Classes)) {
		if w := c.Classes[k]; !slices.Contains(modelClasses, w) {
			return fmt.Errorf("classes: %q for %q, want one of %s", w, k, strings.Join(modelClasses, ", "))
		}
	}
	return nil
}

func (c *mapping) units() error {
	pick := func(name, unit string, known map[string]float64) (float64, error) {
		if f, ok := known[unit]; ok {
			return f, nil
		}
		words := slices.Sorted(maps.Keys(known))
		return 0, fmt.Errorf("units.%s: %q, want nothing or one of%s", name, unit, strings.Join(words, " "))
	}
	var err error
	if c.second, err = pick("time", c.Units.Time, map[string]float64{"": 0, "s": 1, "ms": 1e3, "us": 1e6, "ns": 1e9}); err != nil {
		return err
	}
	if c.score, err = pick("score", c.Units.Score, map[string]float64{"": 1, "percent": 100}); err != nil {
		return err
	}
	if c.speed, err = pick("speed", c.Units.Speed, map[string]float64{"": 1, "m/s": 1, "km/h": 1 / 3.6, "mph": mileHour, "knots": 1852.0 / 3600}); err != nil {
		return err
	}
	if c.Units.Size != "" {
		if c.size, err = ParseSize(c.Units.Size); err != nil {
			return fmt.Errorf("units.size: %w", err)
		}
	}
	if n, ok := strings.CutPrefix(c.Units.Box, "grid "); ok {
		if c.scale, err = strconv.ParseFloat(n, 64); err != nil || !(c.scale > 0) || math.IsInf(c.scale, 0) {
			return fmt.Errorf("units.box: grid %q, want its size such as 8191", n)
		}
		return nil
	}
	c.centre = c.Units.Box == "-1..1"
	c.scale, err = pick("box", c.Units.Box, map[string]float64{"": 1, "percent": 100, "px": 0, "-1..1": 1, "grid 8191": 8191})
	return err
}

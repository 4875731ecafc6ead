package devices

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/geojson"
)

// A FormatError says where a file of devices is at fault. Nothing of such a file is taken.
type FormatError struct {
	Line, Column int    // from 1; 0 where the format has none
	Where        string // such as `column "lat"` or "features[3]"; may be empty
	Err          error
}

func (e *FormatError) Error() string {
	var b strings.Builder
	if e.Line > 0 {
		fmt.Fprintf(&b, "line %d", e.Line)
		if e.Column > 0 {
			fmt.Fprintf(&b, ", column %d", e.Column)
		}
		b.WriteString(": ")
	}
	if e.Where != "" {
		b.WriteString(e.Where + ": ")
	}
	return b.String() + e.Err.Error()
}

func (e *FormatError) Unwrap() error { return e.Err }

// StrictJSON decodes one JSON value into v and refuses members that v does not know and anything
// after the value. Errors are a *FormatError with line and column.
func StrictJSON(data []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	err := dec.Decode(v)
	at := dec.InputOffset()
	if err == nil {
		if _, err = dec.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		err = errors.New("more after the value, want nothing")
	}
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		at = max(0, e.Offset-1)
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		at = e.Offset
		field := ""
		if e.Field != "" {
			field = e.Field + ": "
		}
		err = fmt.Errorf("%sa JSON %s, want %s", field, e.Value, jsonKind(e.Type))
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		at, err = int64(len(data)), errors.New("it ends too early")
	}
	line, column := place(data, at)
	return &FormatError{Line: line, Column: column, Err: errors.New(strings.TrimPrefix(err.Error(), "json: "))}
}

// jsonKind says a type of ours in JSON's words.
func jsonKind(t reflect.Type) string {
	switch t.Kind() {
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Map, reflect.Struct:
		return "an object"
	}
	return "a number"
}

func place(data []byte, offset int64) (line, column int) {
	before := data[:min(int(offset), len(data))]
	return 1 + bytes.Count(before, []byte("\n")), len(before) - bytes.LastIndexByte(before, '\n')
}

// ReadJSON reads {"devices":[…]} and checks each device.
func ReadJSON(data []byte) ([]Device, error) {
	var raw struct {
		Devices *[]json.RawMessage `json:"devices"`
	}
	if err := StrictJSON(data, &raw); err != nil {
		return nil, err
	}
	if raw.Devices == nil {
		return nil, &FormatError{Err: errors.New(`no "devices", want {"devices":[…]}`)}
	}
	out := make([]Device, len(*raw.Devices))
	for i, r := range *raw.Devices {
		// A RawMessage is a copy: the place in the file is not known any more, but the index is.
		if err := StrictJSON(r, &out[i]); err != nil {
			return nil, &FormatError{Where: fmt.Sprintf("devices[%d]", i), Err: unplaced(err)}
		}
		if err := out[i].Check(); err != nil {
			return nil, &FormatError{Where: fmt.Sprintf("devices[%d]", i), Err: err}
		}
	}
	return out, duplicates(out, func(i int) FormatError { return FormatError{Where: fmt.Sprintf("devices[%d]", i)} })
}

func unplaced(err error) error {
	if e, ok := errors.AsType[*FormatError](err); ok {
		return e.Err
	}
	return err
}

// duplicates refuses a list that has one id twice.
func duplicates(ds []Device, at func(i int) FormatError) error {
	first := make(map[string]int, len(ds))
	for i, d := range ds {
		if j, ok := first[d.ID]; ok {
			e := at(i)
			e.Err = fmt.Errorf("id %q is there twice, the first as number %d", d.ID, j+1)
			return &e
		}
		first[d.ID] = i
	}
	return nil
}

// WriteJSON writes {"devices":[…]}.
func WriteJSON(w io.Writer, ds []Device) error {
	return json.NewEncoder(w).Encode(struct {
		Devices []Device `json:"devices"`
	}{append([]Device{}, ds...)})
}

// ReadGeoJSON reads a FeatureCollection (RFC 7946): each Feature a Point or without geometry, its
// properties those of a device but lat and lon. It checks each device.
func ReadGeoJSON(data []byte) ([]Device, error) {
	var c struct {
		Type     string `json:"type"`
		Features *[]struct {
			Type       string          `json:"type"`
			ID         any             `json:"id"`
			Geometry   json.RawMessage `json:"geometry"`
			Properties json.RawMessage `json:"properties"`
		} `json:"features"`
	}
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, StrictJSON(data, &c) // which knows the place
	}
	if c.Type != "FeatureCollection" || c.Features == nil {
		return nil, &FormatError{Err: fmt.Errorf("type %q, want a FeatureCollection with features", c.Type)}
	}
	out := make([]Device, len(*c.Features))
	for i, f := range *c.Features {
		fault := func(err error) error {
			return &FormatError{Where: fmt.Sprintf("features[%d]", i), Err: err}
		}
		d := &out[i]
		if len(f.Properties) > 0 && string(f.Properties) != "null" {
			if err := StrictJSON(f.Properties, d); err != nil {
				return nil, fault(fmt.Errorf("properties: %w", unplaced(err)))
			}
		}
		if id, ok := f.ID.(string); ok && d.ID == "" {
			d.ID = id
		}
		if len(f.Geometry) > 0 && string(f.Geometry) != "null" {
			g, err := geojson.UnmarshalGeometry(f.Geometry)
			if err != nil {
				return nil, fault(fmt.Errorf("geometry: %w", err))
			}
			p, ok := g.Geometry().(orb.Point)
			if !ok {
				return nil, fault(fmt.Errorf("geometry: %s, want a Point", g.Type))
			}
			lat, lon := p.Lat(), p.Lon()
			d.Lat, d.Lon = &lat, &lon
		}
		if err := d.Check(); err != nil {
			return nil, fault(err)
		}
	}
	return out, duplicates(out, func(i int) FormatError { return FormatError{Where: fmt.Sprintf("features[%d]", i)} })
}

// WriteGeoJSON writes a FeatureCollection that ReadGeoJSON reads.
func WriteGeoJSON(w io.Writer, ds []Device) error {
	type feature struct {
		Type       string    `json:"type"`
		ID         string    `json:"id"`
		Geometry   *geometry `json:"geometry"`
		Properties Device    `json:"properties"`
	}
	c := struct {
		Type     string    `json:"type"`
		Features []feature `json:"features"`
	}{"FeatureCollection", make([]feature, len(ds))}
	for i, d := range ds {
		f := feature{Type: "Feature", ID: d.ID, Properties: d}
		if d.Lat != nil && d.Lon != nil {
			f.Geometry = &geometry{"Point", [2]float64{*d.Lon, *d.Lat}}
		}
		f.Properties.Lat, f.Properties.Lon = nil, nil
		c.Features[i] = f
	}
	return json.NewEncoder(w).Encode(c)
}

type geometry struct {
	Type        string     `json:"type"`
	Coordinates [2]float64 `json:"coordinates"`
}

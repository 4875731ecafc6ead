package devices

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// csvColumns are the columns of a file of devices, in the order of an export. A column "tag:street"
// holds the tag street. Write-only ones are read and never written.
var csvColumns = []csvColumn{
	{"id", false, func(d *Device) *string { return &d.ID }},
	{"domain", false, func(d *Device) *string { return &d.Domain }},
	{"profile", false, func(d *Device) *string { return &d.Profile }},
	{"zone", false, func(d *Device) *string { return &d.Zone }},
	{"name", false, func(d *Device) *string { return &d.Name }},
	{"lat", false, nil},
	{"lon", false, nil},
	{"status", false, func(d *Device) *string { return (*string)(&d.Status) }},
	{"secret", true, func(d *Device) *string { return &d.Secret }},
	{"certificate", false, func(d *Device) *string { return &d.Certificate }},
	{"dev_eui", false, func(d *Device) *string { return &d.lorawan().DevEUI }},
	{"dev_addr", false, func(d *Device) *string { return &d.lorawan().DevAddr }},
	{"mac_version", false, func(d *Device) *string { return &d.lorawan().MACVersion }},
	{"nwk_s_key", true, func(d *Device) *string { return &d.lorawan().NwkSKey }},
	{"app_s_key", true, func(d *Device) *string { return &d.lorawan().AppSKey }},
	{"f_nwk_s_int_key", true, func(d *Device) *string { return &d.lorawan().FNwkSIntKey }},
	{"s_nwk_s_int_key", true, func(d *Device) *string { return &d.lorawan().SNwkSIntKey }},
	{"nwk_s_enc_key", true, func(d *Device) *string { return &d.lorawan().NwkSEncryption }},
	{"camera_purpose", false, func(d *Device) *string { return &d.camera().Purpose }},
	{"camera_legal_basis", false, func(d *Device) *string { return &d.camera().LegalBasis }},
	{"camera_controller", false, func(d *Device) *string { return &d.camera().Controller }},
	{"camera_dpia_ref", false, func(d *Device) *string { return &d.camera().DPIARef }},
	{"camera_homography", false, nil},
	{"camera_areas", false, nil}, // JSON, as in the HTTP API
	{"rules", false, nil},        // likewise
}

type csvColumn struct {
	name      string
	writeOnly bool
	field     func(*Device) *string // nil: no text
}

const tagColumn = "tag:"

func (d *Device) lorawan() *LoRaWAN {
	if d.LoRaWAN == nil {
		d.LoRaWAN = &LoRaWAN{}
	}
	return d.LoRaWAN
}

func (d *Device) camera() *Camera {
	if d.Camera == nil {
		d.Camera = &Camera{}
	}
	return d.Camera
}

// ReadCSV reads a file of devices (RFC 4180, UTF-8, a header line; id and domain are needed, other
// columns may be missing) and checks each. A blank cell is a blank field. Errors are a *FormatError.
func ReadCSV(r io.Reader) ([]Device, error) {
	in := csv.NewReader(r)
	header, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, &FormatError{Line: 1, Err: errors.New("no header, want id,domain and any of profile,zone,name,lat,lon,…")}
	}
	if err != nil {
		return nil, csvFault(err)
	}
	header[0] = strings.TrimPrefix(header[0], "\ufeff") // as spreadsheets begin a file
	for i, name := range header {
		header[i] = strings.TrimSpace(name)
		if slices.Contains(header[:i], header[i]) {
			return nil, &FormatError{Line: 1, Err: fmt.Errorf("column %q is there twice", header[i])}
		}
		if !strings.HasPrefix(header[i], tagColumn) && !slices.ContainsFunc(csvColumns, func(c csvColumn) bool { return c.name == header[i] }) {
			return nil, &FormatError{Line: 1, Err: fmt.Errorf("column %q, want any of %s or tag:…", header[i], columnNames())}
		}
	}
	for _, need := range []string{"id", "domain"} {
		if !slices.Contains(header, need) {
			return nil, &FormatError{Line: 1, Err: fmt.Errorf("no column %q", need)}
		}
	}
	var out []Device
	var lines []int
	for {
		cells, err := in.Read()
		if errors.Is(err, io.EOF) {
			return out, duplicates(out, func(i int) FormatError { return FormatError{Line: lines[i]} })
		}
		if err != nil {
			return nil, csvFault(err)
		}
		line, _ := in.FieldPos(0)
		var d Device
		for i, cell := range cells {
			if err := d.setCell(header[i], uncell(strings.TrimSpace(cell))); err != nil {
				at, column := in.FieldPos(i)
				return nil, &FormatError{Line: at, Column: column, Where: fmt.Sprintf("column %q", header[i]), Err: err}
			}
		}
		if err := d.Check(); err != nil {
			return nil, &FormatError{Line: line, Err: err}
		}
		out, lines = append(out, d), append(lines, line)
	}
}

func columnNames() string {
	names := make([]string, len(csvColumns))
	for i, c := range csvColumns {
		names[i] = c.name
	}
	return strings.Join(names, ", ")
}

func csvFault(err error) error {
	if e, ok := errors.AsType[*csv.ParseError](err); ok {
		return &FormatError{Line: e.Line, Column: e.Column, Err: e.Err}
	}
	return fmt.Errorf("read CSV: %w", err)
}

func (d *Device) setCell(column, cell string) error {
	if cell == "" {
		return nil
	}
	if tag, ok := strings.CutPrefix(column, tagColumn); ok {
		if d.Tags == nil {
			d.Tags = map[string]string{}
		}
		d.Tags[tag] = cell
		return nil
	}
	switch column {
	case "lat", "lon":
		v, err := strconv.ParseFloat(cell, 64)
		if err != nil {
			return fmt.Errorf("%q, want degrees as a number", cell)
		}
		if column == "lat" {
			d.Lat = &v
		} else {
			d.Lon = &v
		}
		return nil
	case "camera_homography":
		for _, f := range strings.Fields(cell) {
			v, err := strconv.ParseFloat(f, 64)
			if err != nil {
				return fmt.Errorf("%q, want 9 numbers, or 16, with spaces between", cell)
			}
			d.camera().Homography = append(d.camera().Homography, v)
		}
		return nil
	case "camera_areas":
		if err := StrictJSON([]byte(cell), &d.camera().Areas); err != nil {
			return fmt.Errorf("areas: %w", unplaced(err))
		}
		return nil
	case "rules":
		if err := StrictJSON([]byte(cell), &d.Rules); err != nil {
			return fmt.Errorf("rules: %w", unplaced(err))
		}
		return nil
	}
	for _, c := range csvColumns {
		if c.name == column {
			*c.field(d) = cell
		}
	}
	return nil
}

// WriteCSV writes a file that ReadCSV reads, of Cells: the columns that any of the devices fills, but for the
// write-only ones.
func WriteCSV(w io.Writer, ds []Device) error {
	tags := map[string]bool{}
	used := map[string]bool{"id": true, "domain": true, "profile": true, "zone": true, "name": true, "lat": true, "lon": true}
	cell := func(d *Device, column string) string {
		switch column {
		case "lat", "lon":
			v := d.Lat
			if column == "lon" {
				v = d.Lon
			}
			if v == nil {
				return ""
			}
			return strconv.FormatFloat(*v, 'f', -1, 64)
		case "camera_homography":
			if d.Camera == nil {
				return ""
			}
			var numbers []string
			for _, v := range d.Camera.Homography {
				numbers = append(numbers, strconv.FormatFloat(v, 'g', -1, 64))
			}
			return strings.Join(numbers, " ")
		case "camera_areas":
			if d.Camera == nil || len(d.Camera.Areas) == 0 {
				return ""
			}
			areas, err := json.Marshal(d.Camera.Areas)
			if err != nil {
				panic(fmt.Sprintf("BUG: areas that JSON cannot write: %v", err)) // checked to be finite
			}
			return string(areas)
		case "rules":
			if len(d.Rules) == 0 {
				return ""
			}
			rules, err := json.Marshal(d.Rules)
			if err != nil {
				panic(fmt.Sprintf("BUG: overrides that JSON cannot write: %v", err)) // checked to be finite
			}
			return string(rules)
		}
		if tag, ok := strings.CutPrefix(column, tagColumn); ok {
			return d.Tags[tag]
		}
		for _, c := range csvColumns {
			if c.name == column {
				return *c.field(d)
			}
		}
		return ""
	}
	for _, d := range ds {
		for tag := range d.Tags {
			tags[tag] = true
		}
		for _, c := range csvColumns {
			if !used[c.name] && cell(&d, c.name) != "" {
				used[c.name] = true
			}
		}
	}
	var header []string
	for _, c := range csvColumns {
		if used[c.name] && !c.writeOnly {
			header = append(header, c.name)
		}
	}
	var tagNames []string
	for tag := range tags {
		tagNames = append(tagNames, tagColumn+tag)
	}
	slices.Sort(tagNames)
	header = append(header, tagNames...)
	out := csv.NewWriter(w)
	if err := out.Write(header); err != nil {
		return err
	}
	row := make([]string, len(header))
	for _, d := range ds {
		for i, column := range header {
			row[i] = Cell(cell(&d, column))
		}
		if err := out.Write(row); err != nil {
			return err
		}
	}
	out.Flush()
	return out.Error()
}

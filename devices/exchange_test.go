package devices

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func exchanged() []Device {
	lat, lon := 38.1157, 13.3615
	return []Device{
		{ID: "pole-7", Domain: "lighting", Profile: "lamp", Zone: "kalsa", Name: `Lamp "7", Ballarò`, Lat: &lat, Lon: &lon,
			Tags: map[string]string{"street": "Via Maqueda", "cabinet": "12"}, Status: Claimed},
		{ID: "cam-1", Domain: "safety", Status: Claimed, Camera: &Camera{Purpose: "traffic", Homography: []float64{1, 0, 0, 0, 1, 0, 0, 0, 1e-9},
			Areas: []Area{{Name: "stop", Kind: AreaLine, Points: [][2]float64{{0.1, 0.5}, {0.9, 0.5}}}}}},
		{ID: "meter", Domain: "water", Status: Unclaimed, LoRaWAN: &LoRaWAN{DevEUI: "70b3d57ed0000001", MACVersion: "1.0.3"}},
	}
}

func TestExchangeRoundTrip(t *testing.T) {
	for _, tc := range []struct {
		name  string
		write func(*bytes.Buffer, []Device) error
		read  func([]byte) ([]Device, error)
	}{
		{"csv", func(b *bytes.Buffer, ds []Device) error { return WriteCSV(b, ds) }, func(b []byte) ([]Device, error) { return ReadCSV(bytes.NewReader(b)) }},
		{"json", func(b *bytes.Buffer, ds []Device) error { return WriteJSON(b, ds) }, ReadJSON},
		{"geojson", func(b *bytes.Buffer, ds []Device) error { return WriteGeoJSON(b, ds) }, ReadGeoJSON},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var b bytes.Buffer
			if err := tc.write(&b, exchanged()); err != nil {
				t.Fatal(err)
			}
			got, err := tc.read(b.Bytes())
			if err != nil {
				t.Fatalf("%v in\n%s", err, b.Bytes())
			}
			if want := exchanged(); !reflect.DeepEqual(got, want) {
				t.Errorf("came back as\n%+v\nwant\n%+v\nfrom %s", got, want, b.Bytes())
			}
			b.Reset()
			if err := tc.write(&b, nil); err != nil {
				t.Fatal(err)
			}
			if got, err := tc.read(b.Bytes()); err != nil || len(got) != 0 {
				t.Errorf("none came back as %v, %v from %s", got, err, b.Bytes())
			}
		})
	}
}

func TestReadCSV(t *testing.T) {
	key := strings.Repeat("0f", 16)
	ds, err := ReadCSV(strings.NewReader("\ufeffid,domain,secret,nwk_s_key,tag:a\r\nx, waste ,s3," + key + ",\r\n"))
	if err != nil || len(ds) != 1 || ds[0].Domain != "waste" || ds[0].Secret != "s3" || ds[0].LoRaWAN.NwkSKey != key || ds[0].Tags != nil {
		t.Errorf("%+v, %v", ds, err)
	}
	var b bytes.Buffer
	if err := WriteCSV(&b, ds); err != nil || strings.Contains(b.String(), "s3") || strings.Contains(b.String(), key) {
		t.Errorf("an export holds what may only be written: %s, %v", b.String(), err)
	}
	for in, want := range map[string]string{
		"":                                       "no header",
		"id\nx\n":                                `line 1: no column "domain"`,
		"id,domain,color\n":                      `line 1: column "color"`,
		"id,domain,id\n":                         `column "id" is there twice`,
		"id,domain\na,waste\nb\n":                "line 3",
		"id,domain,lat\na,waste,north\n":         `line 2, column 9: column "lat": "north"`,
		"id,domain\na,waste\nb,WASTE\n":          `line 3: device "b": domain`,
		"id,domain\na,waste\nb,waste\na,waste\n": `line 4: id "a" is there twice`,
		"id,domain,lat\na,waste,38\n":            "lat and lon",
		"id,domain,lat,lon\na,waste,98,1\n":      "-90 to 90",
		"id,domain,camera_homography\na,safety,1 2 3\n":         "3 numbers, want 9 or 16",
		"id,domain,camera_homography\na,safety,1 2 3 4 5 6 7 x": "9 numbers",
		"id,domain\n\"a,waste\n":                                "line",
	} {
		if _, err := ReadCSV(strings.NewReader(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want an error with %q", in, err, want)
		}
	}
}

func TestReadJSONAndGeoJSON(t *testing.T) {
	for in, want := range map[string]string{
		`{"devices":[`:             "line 1, column 13: it ends too early",
		"{\n\"devices\":[{]}":      "line 2, column 13",
		`{}`:                       `no "devices"`,
		`{"device":[]}`:            `unknown field "device"`,
		`{"devices":[{"id":"a"}]}`: `devices[0]: device "a": domain`,
		`{"devices":[{"id":"a","colour":"red"}]}`: `devices[0]: unknown field "colour"`,
		`{"devices":[{"id":7,"domain":"waste"}]}`: "devices[0]: id: a JSON number, want a string",
		`{"devices":[]} []`:                       "more after",
		`[]`:                                      "a JSON array",
	} {
		if _, err := ReadJSON([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", in, err, want)
		}
	}
	for in, want := range map[string]string{
		`{"type":"Feature"}`:                        "want a FeatureCollection",
		`{"type":"FeatureCollection","features":[}`: "line 1, column 41",
		`{"type":"FeatureCollection","features":[{"id":"a","properties":{"domain":"waste"},"geometry":{"type":"LineString","coordinates":[[1,2],[3,4]]}}]}`: "features[0]: geometry: LineString, want a Point",
		`{"type":"FeatureCollection","features":[{"id":"a","properties":{"domain":"waste","x":1},"geometry":null}]}`:                                        `features[0]: properties: unknown field "x"`,
		`{"type":"FeatureCollection","features":[{"properties":{"domain":"waste"}}]}`:                                                                       "features[0]: id",
	} {
		if _, err := ReadGeoJSON([]byte(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error with %q", in, err, want)
		}
	}
}

func FuzzReadCSV(f *testing.F) {
	f.Add("id,domain,lat,lon,tag:a\nx,waste,38,13,y\n")
	f.Add("id,domain\n\"a\"\"b\",waste\n")
	f.Fuzz(func(t *testing.T, in string) {
		ds, err := ReadCSV(strings.NewReader(in))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if err := WriteCSV(&b, ds); err != nil {
			t.Fatal(err)
		}
		again, err := ReadCSV(&b)
		if err != nil || len(again) != len(ds) {
			t.Fatalf("%q: read %d devices, written and read %d: %v", in, len(ds), len(again), err)
		}
	})
}

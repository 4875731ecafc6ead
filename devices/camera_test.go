package devices

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// street is four corners of a crossing in Palermo as a camera above it sees them.
var street = []float64{
	0.10, 0.95, 38.11570, 13.36150,
	0.92, 0.93, 38.11570, 13.36172,
	0.65, 0.30, 38.11610, 13.36175,
	0.35, 0.31, 38.11610, 13.36152,
}

func TestGroundFromPoints(t *testing.T) {
	g, err := NewGround(street)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		lat, lon, ok := g.At(street[4*i], street[4*i+1])
		if !ok || math.Abs(lat-street[4*i+2]) > 1e-10 || math.Abs(lon-street[4*i+3]) > 1e-10 {
			t.Errorf("point %d came to %v, %v, %v; want %v, %v", i+1, lat, lon, ok, street[4*i+2], street[4*i+3])
		}
	}
	if lat, lon, ok := g.At(0.5, 0.05); ok {
		t.Errorf("above the horizon lies %v, %v; want nothing", lat, lon)
	}
}

// A matrix, and the same found again from four points of it, agree everywhere in the image.
func TestGroundRoundTrip(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for n := 0; n < 200; {
		lat, lon := 38.1157+rnd.Float64()/100, 13.3615+rnd.Float64()/100
		const metre = 9e-6
		m := [9]float64{}
		for i := range m {
			m[i] = rnd.NormFloat64()
		}
		m[6], m[7], m[8] = m[6]*0.2, m[7]*0.2, 1
		at := func(x, y float64) (float64, float64) {
			w := m[6]*x + m[7]*y + m[8]
			return lat + metre*(m[0]*x+m[1]*y+m[2])*20/w, lon + metre*(m[3]*x+m[4]*y+m[5])*20/w
		}
		var h []float64
		for _, p := range [][2]float64{{0.1, 0.1}, {0.9, 0.15}, {0.85, 0.9}, {0.05, 0.95}} {
			north, east := at(p[0], p[1])
			h = append(h, p[0], p[1], north, east)
		}
		g, err := NewGround(h)
		if err != nil {
			continue // a random matrix may well be no view of a ground
		}
		n++
		for range 20 {
			x, y := rnd.Float64(), rnd.Float64()
			north, east := at(x, y)
			gotN, gotE, ok := g.At(x, y)
			if !ok || math.Abs(gotN-north) > 1e-9 || math.Abs(gotE-east) > 1e-9 {
				t.Fatalf("%v, %v came to %v, %v, %v; want %v, %v (points %v)", x, y, gotN, gotE, ok, north, east, h)
			}
		}
	}
}

func TestGroundRefusesWhatIsDegenerate(t *testing.T) {
	edit := func(at int, v ...float64) []float64 {
		h := append([]float64(nil), street...)
		copy(h[at:], v)
		return h
	}
	exchanged := append(append(append([]float64(nil), street[:2]...), street[6:8]...), street[4:6]...)
	exchanged = append(append(exchanged, street[2:4]...), street[8:]...)
	for name, tc := range map[string]struct {
		h    []float64
		want string
	}{
		"in a line in the image": {edit(0, 0.785, 0.615), "in the image three of the points (all but number 4) lie on a line"},
		"twice":                  {edit(0, street[4:8]...), "lie on a line"},
		"in a line on the earth": {edit(2, 38.1159, 13.361735), "on the ground three of the points"},
		"outside the image":      {edit(0, 1.2), "point 1: x 1.2"},
		"elsewhere":              {edit(2, 39), "want at most 0.05"},
		"no latitude":            {edit(2, 99), "point 1: lat 99"},
		"not a number":           {edit(5, math.NaN()), "number 6 is NaN"},
		"exchanged":              {exchanged, "both sides of the horizon"},
		"singular":               {[]float64{1, 2, 3, 2, 4, 6, 0, 0, 1}, "singular"},
		"ten":                    {street[:10], "10 numbers, want 9 or 16"},
	} {
		if g, err := NewGround(tc.h); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %+v, %v; want an error with %q", name, g, err, tc.want)
		}
		if err := (Device{ID: "c", Domain: "safety", Camera: &Camera{Homography: tc.h}}).Check(); err == nil || !strings.Contains(err.Error(), `device "c": camera.homography: `) {
			t.Errorf("%s: %v, want the field", name, err)
		}
	}
}

// The matrix of nine numbers makes lat and lon; its sign does not matter.
func TestGroundFromMatrix(t *testing.T) {
	for _, sign := range []float64{1, -1} {
		g, err := NewGround([]float64{0.001 * sign, 0, 38 * sign, 0, 0.001 * sign, 13 * sign, 0, 0, sign})
		if err != nil {
			t.Fatal(err)
		}
		if lat, lon, ok := g.At(0.5, 0.25); !ok || math.Abs(lat-38.0005) > 1e-12 || math.Abs(lon-13.00025) > 1e-12 {
			t.Errorf("%v, %v, %v", lat, lon, ok)
		}
	}
}

func TestAreas(t *testing.T) {
	for in, want := range map[string]string{
		`[{"name":"a","kind":"zone","points":[[0,0],[1,0],[1,1]]},{"name":"b","kind":"line","points":[[0,0],[1,1]]}]`: "",
		`[{"name":"a b","kind":"zone","points":[[0,0],[1,0],[1,1]]}]`:                                                 `areas[0]: name "a b"`,
		`[{"name":"","kind":"zone","points":[[0,0],[1,0],[1,1]]}]`:                                                    `areas[0]: name ""`,
		`[{"name":"a","kind":"circle","points":[[0,0],[1,0],[1,1]]}]`:                                                 `kind "circle", want zone or line`,
		`[{"name":"a","kind":"zone","points":[[0,0],[1,0]]}]`:                                                         `2 points, want 3 to 32`,
		`[{"name":"a","kind":"line","points":[[0,0]]}]`:                                                               `1 points, want 2 to 32`,
		`[{"name":"a","kind":"line","points":[[0,0],[0,1.5]]}]`:                                                       `points[1]: [0 1.5]`,
		`[{"name":"a","kind":"zone","points":[[0,0],[1,1],[0.5,0.5]]}]`:                                               "no area",
		`[{"name":"a","kind":"line","points":[[0,0],[0,0]]}]`:                                                         "no length",
		`[{"name":"a","kind":"line","points":[[0,0],[0,1]]},{"name":"a","kind":"line","points":[[0,0],[0,1]]}]`:       "twice",
		`[` + strings.Repeat(`{"name":"a","kind":"line","points":[[0,0],[0,1]]},`, 16) + `{}]`:                        "17, want at most 16",
	} {
		var c Camera
		if err := json.Unmarshal([]byte(in), &c.Areas); err != nil {
			t.Fatal(err)
		}
		err := Device{ID: "c", Domain: "safety", Camera: &c}.Check()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", in, err, want)
		}
	}
}

func BenchmarkGround(b *testing.B) {
	g, err := NewGround(street)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, _, ok := g.At(0.5, 0.6); !ok {
			b.Fatal("nothing there")
		}
	}
}

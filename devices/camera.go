package devices

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"unicode"
)

// Camera is the lawful ground a camera's metadata is kept on; without purpose, legal basis and
// controller nothing of it is. It is also where the camera looks.
type Camera struct {
	Purpose    string `json:"purpose,omitempty"`
	LegalBasis string `json:"legal_basis,omitempty"`
	Controller string `json:"controller,omitempty"`
	DPIARef    string `json:"dpia_ref,omitempty"`
	// Homography takes places in the image (0..1, the origin at the top left) to the ground (WGS 84):
	// 9 numbers, row by row, of the matrix that makes (lat*w, lon*w, w) of (x, y, 1); or 16 numbers,
	// four points of x, y, lat, lon each, from which the matrix is found.
	Homography []float64 `json:"homography,omitempty"`
	// Areas are the city's own zones and lines in the image, beside those the camera has.
	Areas []Area `json:"areas,omitempty"`
}

// An Area is a zone or a line in a camera's image.
type Area struct {
	Name string `json:"name"`
	Kind string `json:"kind"` // AreaZone or AreaLine
	// Points are x, y in 0..1, the origin at the top left: the corners of a zone in order, or a line
	// from its first to its last. Crossing a line from left to right, seen along it, is in.
	Points [][2]float64 `json:"points"`
}

// Kinds of areas.
const (
	AreaZone = "zone"
	AreaLine = "line"
)

// Bounds of areas.
const (
	maxAreas      = 16
	maxAreaPoints = 32
)

func (c *Camera) check() error {
	if len(c.Homography) != 0 {
		if _, err := NewGround(c.Homography); err != nil {
			return fmt.Errorf("homography: %w", err)
		}
	}
	if len(c.Areas) > maxAreas {
		return fmt.Errorf("areas: %d, want at most %d", len(c.Areas), maxAreas)
	}
	for i, a := range c.Areas {
		if err := a.check(); err != nil {
			return fmt.Errorf("areas[%d]: %w", i, err)
		}
		for _, b := range c.Areas[:i] {
			if a.Name == b.Name {
				return fmt.Errorf("areas[%d]: name %q is there twice", i, a.Name)
			}
		}
	}
	return nil
}

func (a Area) check() error {
	if len(a.Name) == 0 || len(a.Name) > 64 || strings.ContainsFunc(a.Name, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return fmt.Errorf("name %.70q, want 1 to 64 bytes without spaces", a.Name)
	}
	least := 3
	switch a.Kind {
	case AreaZone:
	case AreaLine:
		least = 2
	default:
		return fmt.Errorf("%q: kind %.20q, want %s or %s", a.Name, a.Kind, AreaZone, AreaLine)
	}
	if len(a.Points) < least || len(a.Points) > maxAreaPoints {
		return fmt.Errorf("%q: %d points, want %d to %d for a %s", a.Name, len(a.Points), least, maxAreaPoints, a.Kind)
	}
	for i, p := range a.Points {
		if !(p[0] >= 0 && p[0] <= 1 && p[1] >= 0 && p[1] <= 1) {
			return fmt.Errorf("%q: points[%d]: %v, want x and y in 0..1", a.Name, i, p)
		}
	}
	if a.Kind == AreaZone && math.Abs(shoelace(a.Points)) < 1e-6 {
		return fmt.Errorf("%q: the zone has no area, want corners in order", a.Name)
	}
	if a.Kind == AreaLine && length(a.Points) < 1e-3 {
		return fmt.Errorf("%q: the line has no length", a.Name)
	}
	return nil
}

func shoelace(p [][2]float64) float64 {
	sum := 0.0
	for i := range p {
		j := (i + 1) % len(p)
		sum += p[i][0]*p[j][1] - p[j][0]*p[i][1]
	}
	return sum / 2
}

func length(p [][2]float64) float64 {
	sum := 0.0
	for i := 1; i < len(p); i++ {
		sum += math.Hypot(p[i][0]-p[i-1][0], p[i][1]-p[i-1][1])
	}
	return sum
}

// A Ground takes places in an image to the ground. It is immutable.
type Ground struct {
	// m makes (north*w, east*w, w) of (x, y, 1), north and east in units of 1/scale degrees from
	// the origin; w is positive on the ground's side of the horizon.
	m        [9]float64
	lat, lon float64 // the origin, degrees
	scale    float64 // units a degree
	limit    float64 // farthest credible place from the origin, in units
}

// Bounds of reference points.
const (
	maxSpanDeg  = 0.05  // of their places: some 5 km
	minTriangle = 0.002 // least area of a triangle of three of them, as a part of the square around all
	reach       = 5     // how much farther than the reference points lie a place is believed
)

// NewGround makes a ground of a camera's Homography and reports why it cannot.
func NewGround(h []float64) (*Ground, error) {
	for i, v := range h {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("number %d is %v, want a finite one", i+1, v)
		}
	}
	switch len(h) {
	case 9:
		g := &Ground{m: [9]float64(h), scale: 1, limit: math.Inf(1)}
		if det(g.m) == 0 {
			return nil, errors.New("the matrix is singular: it takes the image to a line")
		}
		if g.m[6]*0.5+g.m[7]+g.m[8] < 0 { // the bottom of the image is before the horizon
			for i := range g.m {
				g.m[i] = -g.m[i]
			}
		}
		return g, nil
	case 16:
		return fromPoints(h)
	}
	return nil, fmt.Errorf("%d numbers, want 9 or 16", len(h))
}

func det(m [9]float64) float64 {
	return m[0]*(m[4]*m[8]-m[5]*m[7]) - m[1]*(m[3]*m[8]-m[5]*m[6]) + m[2]*(m[3]*m[7]-m[4]*m[6])
}

// fromPoints solves the eight equations that four pairs of points give, in units in which all the
// numbers are of size one.
func fromPoints(h []float64) (*Ground, error) {
	var img, place [4][2]float64
	g := &Ground{}
	south, north, west, east := 90.0, -90.0, 180.0, -180.0
	for i := range 4 {
		x, y, lat, lon := h[4*i], h[4*i+1], h[4*i+2], h[4*i+3]
		if x < 0 || x > 1 || y < 0 || y > 1 {
			return nil, fmt.Errorf("point %d: x %v, y %v, want both in 0..1", i+1, x, y)
		}
		if lat < -89 || lat > 89 || lon < -180 || lon > 180 {
			return nil, fmt.Errorf("point %d: lat %v, lon %v, want degrees within -89..89 and -180..180", i+1, lat, lon)
		}
		img[i], place[i] = [2]float64{x, y}, [2]float64{lat, lon}
		south, north, west, east = min(south, lat), max(north, lat), min(west, lon), max(east, lon)
	}
	span := max(north-south, east-west)
	if span > maxSpanDeg {
		return nil, fmt.Errorf("the points lie %.3f degrees apart on the ground, want at most %v", span, maxSpanDeg)
	}
	if span < 1e-7 {
		return nil, errors.New("the points are one place on the ground, want four")
	}
	g.lat, g.lon, g.scale, g.limit = (south+north)/2, (west+east)/2, 1/span, reach
	for i := range place {
		place[i] = [2]float64{(place[i][0] - g.lat) * g.scale, (place[i][1] - g.lon) * g.scale}
	}
	for _, s := range []struct {
		name string
		p    [4][2]float64
	}{{"in the image", img}, {"on the ground", place}} {
		if err := general(s.p); err != nil {
			return nil, fmt.Errorf("%s %w", s.name, err)
		}
	}
	var a [8][9]float64
	for i := range 4 {
		x, y, n, e := img[i][0], img[i][1], place[i][0], place[i][1]
		a[2*i] = [9]float64{x, y, 1, 0, 0, 0, -n * x, -n * y, n}
		a[2*i+1] = [9]float64{0, 0, 0, x, y, 1, -e * x, -e * y, e}
	}
	if !solve(&a) {
		return nil, errors.New("the points give no matrix: three of them lie on a line, or the horizon runs through one")
	}
	for i := range 8 {
		g.m[i] = a[i][8]
	}
	g.m[8] = 1
	side := 0
	for _, p := range img {
		if g.m[6]*p[0]+g.m[7]*p[1]+g.m[8] > 0 {
			side++
		}
	}
	switch side {
	case 0:
		for i := range g.m {
			g.m[i] = -g.m[i]
		}
	case 4:
	default:
		return nil, errors.New("the points lie on both sides of the horizon: two of them are exchanged")
	}
	return g, nil
}

// general reports whether no three of four points lie on a line.
func general(p [4][2]float64) error {
	var lo, hi [2]float64
	for k := range 2 {
		lo[k], hi[k] = p[0][k], p[0][k]
		for _, q := range p {
			lo[k], hi[k] = min(lo[k], q[k]), max(hi[k], q[k])
		}
	}
	side := max(hi[0]-lo[0], hi[1]-lo[1])
	for skip := range 4 {
		var t [][2]float64
		for i := range p {
			if i != skip {
				t = append(t, p[i])
			}
		}
		if math.Abs(shoelace(t)) < minTriangle*side*side || side < 1e-3 {
			return fmt.Errorf("three of the points (all but number %d) lie on a line, want four corners", skip+1)
		}
	}
	return nil
}

// solve brings eight equations to their solution in the last column, and reports whether there is
// just one.
func solve(a *[8][9]float64) bool {
	for col := range 8 {
		best := col
		for row := col + 1; row < 8; row++ {
			if math.Abs(a[row][col]) > math.Abs(a[best][col]) {
				best = row
			}
		}
		if math.Abs(a[best][col]) < 1e-9 {
			return false
		}
		a[col], a[best] = a[best], a[col]
		for row := range 8 {
			if row == col {
				continue
			}
			f := a[row][col] / a[col][col]
			for k := col; k < 9; k++ {
				a[row][k] -= f * a[col][k]
			}
		}
	}
	for row := range 8 {
		a[row][8] /= a[row][row]
	}
	return true
}

// At is the place on the ground, in degrees, that is seen at x, y in the image; not ok above the
// horizon and where it is too far to be believed.
func (g *Ground) At(x, y float64) (lat, lon float64, ok bool) {
	w := g.m[6]*x + g.m[7]*y + g.m[8]
	if !(w > 0) {
		return 0, 0, false
	}
	n, e := (g.m[0]*x+g.m[1]*y+g.m[2])/w, (g.m[3]*x+g.m[4]*y+g.m[5])/w
	if !(math.Abs(n) <= g.limit && math.Abs(e) <= g.limit) {
		return 0, 0, false
	}
	lat, lon = g.lat+n/g.scale, g.lon+e/g.scale
	if !(lat >= -90 && lat <= 90 && lon >= -180 && lon <= 180) {
		return 0, 0, false
	}
	return lat, lon, true
}

// Ground is the place on the ground, in degrees, that the camera sees at x, y in its image (0..1);
// not ok where the registry has no homography, above the horizon and beyond what is credible.
func (a *Asset) Ground(x, y float64) (lat, lon float64, ok bool) {
	if a.ground == nil {
		return 0, 0, false
	}
	return a.ground.At(x, y)
}

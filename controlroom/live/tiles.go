package live

import (
	"fmt"
	"math"
)

// A Box is a bounding box in degrees, WGS 84, edges included.
type Box struct{ West, South, East, North float64 }

// Check reports what of the box is not acceptable.
func (b Box) Check() error {
	for _, v := range []struct {
		name       string
		value, max float64
	}{{"west", b.West, 180}, {"south", b.South, 90}, {"east", b.East, 180}, {"north", b.North, 90}} {
		if !(math.Abs(v.value) <= v.max) {
			return fmt.Errorf("bbox: %s %v degrees, want -%v to %v", v.name, v.value, v.max, v.max)
		}
	}
	if b.West > b.East || b.South > b.North {
		return fmt.Errorf("bbox: %v,%v,%v,%v, want west,south,east,north with west <= east and south <= north",
			b.West, b.South, b.East, b.North)
	}
	return nil
}

// Contains reports whether the point is in the box.
func (b Box) Contains(lat, lon float64) bool {
	return lat >= b.South && lat <= b.North && lon >= b.West && lon <= b.East
}

// finest is the zoom of a device's tile: 2^16 tiles a side, some 480 m in Palermo.
const finest = 16

// tileOf is the Web Mercator tile of a point at the finest zoom.
func tileOf(lat, lon float64) (x, y uint16) {
	const n = 1 << finest
	lat = max(-85.0511, min(85.0511, lat))
	fx := (lon + 180) / 360 * n
	fy := (1 - math.Asinh(math.Tan(lat*math.Pi/180))/math.Pi) / 2 * n
	return uint16(max(0, min(n-1, fx))), uint16(max(0, min(n-1, fy)))
}

// Tiles is a rectangle of Web Mercator tiles, X0 to X1 and Y0 to Y1 at zoom Z, ends included. It is
// comparable: two boxes that snap to the same tiles are the same key.
type Tiles struct{ Z, X0, Y0, X1, Y1 uint16 }

// Snap returns the tiles that cover the box, at the zoom that takes at most four a side, so that
// boxes a little apart share them.
func (b Box) Snap() Tiles {
	x0, y0 := tileOf(b.North, b.West)
	x1, y1 := tileOf(b.South, b.East)
	t := Tiles{Z: finest, X0: x0, Y0: y0, X1: x1, Y1: y1}
	for t.X1-t.X0 > 3 || t.Y1-t.Y0 > 3 {
		t = Tiles{Z: t.Z - 1, X0: t.X0 >> 1, Y0: t.Y0 >> 1, X1: t.X1 >> 1, Y1: t.Y1 >> 1}
	}
	return t
}

// Has reports whether the tile x, y of the finest zoom lies in t.
func (t Tiles) Has(x, y uint16) bool {
	shift := finest - t.Z
	x, y = x>>shift, y>>shift
	return x >= t.X0 && x <= t.X1 && y >= t.Y0 && y <= t.Y1
}

package city

import "math"

// A point is in metres east and north of the Quattro Canti.
type point struct{ x, y float64 }

// The Quattro Canti, where via Maqueda crosses the Cassaro, and what a degree measures there.
const (
	originLat   = 38.1157
	originLon   = 13.3615
	metresByLat = 111_000.0
	metresByLon = 87_600.0
)

func fromDegrees(lon, lat float64) point {
	return point{(lon - originLon) * metresByLon, (lat - originLat) * metresByLat}
}

// degrees are rounded to 6 decimals, 0.1 m.
func (p point) degrees() (lon, lat float64) {
	return round(originLon+p.x/metresByLon, 6), round(originLat+p.y/metresByLat, 6)
}

func (p point) plus(q point) point             { return point{p.x + q.x, p.y + q.y} }
func (p point) minus(q point) point            { return point{p.x - q.x, p.y - q.y} }
func (p point) times(k float64) point          { return point{p.x * k, p.y * k} }
func (p point) norm() float64                  { return math.Hypot(p.x, p.y) }
func (p point) towards(q point) point          { return q.minus(p).times(1 / q.minus(p).norm()) }
func (p point) left() point                    { return point{-p.y, p.x} }
func between(p, q point, k float64) point      { return p.plus(q.minus(p).times(k)) }
func heading(bearing float64) point            { s, c := math.Sincos(bearing * math.Pi / 180); return point{s, c} }
func round(v float64, decimals int) float64    { k := math.Pow10(decimals); return math.Round(v*k) / k }
func clamp(v, least, greatest float64) float64 { return min(max(v, least), greatest) }

// An outline is a closed polygon; the last point is joined to the first.
type outline []point

// contains is the even-odd rule.
func (o outline) contains(p point) bool {
	in := false
	for i, j := 0, len(o)-1; i < len(o); j, i = i, i+1 {
		a, b := o[i], o[j]
		if (a.y > p.y) != (b.y > p.y) && p.x < (b.x-a.x)*(p.y-a.y)/(b.y-a.y)+a.x {
			in = !in
		}
	}
	return in
}

// holds reports whether o contains p and everything within margin metres of it, by and large.
func (o outline) holds(p point, margin float64) bool {
	for bearing := 0.0; bearing < 360; bearing += 45 {
		if !o.contains(p.plus(heading(bearing).times(margin))) {
			return false
		}
	}
	return o.contains(p)
}

// anticlockwise returns o as GeoJSON wants an outer ring.
func (o outline) anticlockwise() outline {
	area := 0.0
	for i, j := 0, len(o)-1; i < len(o); j, i = i, i+1 {
		area += o[j].x*o[i].y - o[i].x*o[j].y
	}
	if area > 0 {
		return o
	}
	r := make(outline, len(o))
	for i, p := range o {
		r[len(o)-1-i] = p
	}
	return r
}

// bounds returns the least and greatest of the coordinates.
func (o outline) bounds() (least, greatest point) {
	least, greatest = o[0], o[0]
	for _, p := range o {
		least = point{min(least.x, p.x), min(least.y, p.y)}
		greatest = point{max(greatest.x, p.x), max(greatest.y, p.y)}
	}
	return least, greatest
}

// A line is an open polyline.
type line []point

func (l line) length() float64 {
	sum := 0.0
	for i := 1; i < len(l); i++ {
		sum += l[i].minus(l[i-1]).norm()
	}
	return sum
}

// at returns the point s metres along l and the direction of travel there.
func (l line) at(s float64) (p, direction point) {
	for i := 1; i < len(l); i++ {
		d := l[i].minus(l[i-1]).norm()
		if s <= d || i == len(l)-1 {
			if d == 0 {
				return l[i], point{0, 1}
			}
			return between(l[i-1], l[i], clamp(s/d, 0, 1)), l[i-1].towards(l[i])
		}
		s -= d
	}
	return l[0], point{0, 1}
}

// bearing of a direction, in degrees clockwise from north.
func bearing(d point) float64 {
	b := math.Atan2(d.x, d.y) * 180 / math.Pi
	if b < 0 {
		b += 360
	}
	return b
}

package city

import (
	"fmt"
	"math"
	"sync"
)

// A street is one stretch of road, on land and off the mountains from end to end.
type street struct {
	name  string
	class roadClass
	line  line
}

// A drawing is the city's ground: where there is land, what lies on it.
type drawing struct {
	land      outline
	mountains []outline
	districts []outline // as drawnDistricts
	streets   []street
	lines     []line // the avenues whole, for the buses; as drawnStreets
}

// shoreMargin and mountainMargin are how far streets keep off, in metres. Devices stand at most
// kerb metres off their street.
const (
	shoreMargin    = 45.0
	mountainMargin = 30.0
	kerb           = 9.0
)

// draw makes the ground, which is the same for every city and never changed.
var draw = sync.OnceValue(func() *drawing {
	d := &drawing{}
	for _, stretch := range [][]lonLat{easternShore, southernCoast, oldCoast, harbourCoast, northernCoast, westernShore, inland} {
		d.land = append(d.land, toOutline(stretch)...)
	}
	for _, m := range drawnMountains {
		d.mountains = append(d.mountains, toOutline(m.outline))
	}
	for _, z := range drawnDistricts {
		d.districts = append(d.districts, toOutline(z.outline))
	}
	for _, s := range drawnStreets {
		whole := line(toOutline(s.line))
		d.lines = append(d.lines, whole)
		for _, l := range cut(whole, d.buildable) {
			d.streets = append(d.streets, street{s.name, s.class, l})
		}
	}
	sides := 0
	for i, q := range drawnQuarters {
		for _, l := range d.sideStreets(uint64(i), q) {
			name := "Via " + sideStreets[sides%len(sideStreets)]
			if round := sides / len(sideStreets); round > 0 {
				name = fmt.Sprintf("%s %d", name, round+1)
			}
			d.streets = append(d.streets, street{name, residential, l})
			sides++
		}
	}
	return d
})

func toOutline(ps []lonLat) outline {
	o := make(outline, 0, len(ps))
	for i, p := range ps {
		if i > 0 && p == ps[i-1] {
			continue
		}
		o = append(o, fromDegrees(p[0], p[1]))
	}
	return o
}

// buildable reports whether a street may pass at p.
func (d *drawing) buildable(p point) bool {
	if d.district(p) < 0 || !d.land.holds(p, shoreMargin) {
		return false
	}
	for _, m := range d.mountains {
		if m.contains(p) || touches(m, p, mountainMargin) {
			return false
		}
	}
	return true
}

// touches reports whether o comes within margin of p, by and large.
func touches(o outline, p point, margin float64) bool {
	for b := 0.0; b < 360; b += 45 {
		if o.contains(p.plus(heading(b).times(margin))) {
			return true
		}
	}
	return false
}

// district is the number of the district that contains p; -1: none.
func (d *drawing) district(p point) int {
	for i, o := range d.districts {
		if o.contains(p) {
			return i
		}
	}
	return -1
}

// cut walks l in steps of some 20 m and returns the stretches over 100 m that are allowed.
func cut(l line, allowed func(point) bool) []line {
	var out []line
	var run line
	end := func() {
		if run.length() > 100 {
			out = append(out, run)
		}
		run = nil
	}
	steps := int(math.Ceil(l.length() / 20))
	for i := range steps + 1 {
		p, _ := l.at(l.length() * float64(i) / float64(steps))
		if allowed(p) {
			run = append(run, p)
		} else {
			end()
		}
	}
	end()
	for i := range out {
		out[i] = simplified(out[i])
	}
	return out
}

// simplified leaves out the points of l that are within half a metre of the straight way.
func simplified(l line) line {
	out := line{l[0]}
	for i := 1; i < len(l)-1; i++ {
		last := out[len(out)-1]
		way := last.towards(l[i+1]).left()
		off := l[i].minus(last)
		if math.Abs(off.x*way.x+off.y*way.y) > 0.5 {
			out = append(out, l[i])
		}
	}
	return append(out, l[len(l)-1])
}

// sideStreets rules q's outline with streets in both directions and takes some blocks out again.
func (d *drawing) sideStreets(quarter uint64, q drawnQuarter) []line {
	area := toOutline(q.outline)
	least, greatest := area.bounds()
	centre := between(least, greatest, 0.5)
	reach := greatest.minus(least).norm() / 2
	allowed := func(p point) bool { return area.contains(p) && d.buildable(p) }
	var out []line
	for k, dir := range []struct{ bearing, apart, block float64 }{{q.bearing, q.along, q.across}, {q.bearing + 90, q.across, q.along}} {
		ahead := heading(dir.bearing)
		side := ahead.left()
		n := int(reach / dir.apart)
		for j := -n; j <= n; j++ {
			key := []uint64{quarter, uint64(k), uint64(int64(j))}
			var l line
			flush := func() {
				if len(l) > 1 {
					out = append(out, cut(l, allowed)...)
				}
				l = nil
			}
			shift := within(-0.15, 0.15, key...) * dir.apart
			for s := -reach; s <= reach; s += dir.block / 2 {
				block := uint64(int64(math.Floor(s / dir.block / 2))) // gaps are two blocks long
				if unit(append(key, block)...) < q.missing {
					flush()
					continue
				}
				bend := q.wobble * math.Sin(s/310+6*unit(key...)+float64(j)/3)
				p := centre.plus(ahead.times(s)).plus(side.times(float64(j)*dir.apart + shift + bend))
				l = append(l, p)
			}
			flush()
		}
	}
	return out
}

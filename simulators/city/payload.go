package city

import (
	"math"
	"strconv"
)

// An object writes one flat JSON object, numbers rounded as a sensor reports them.
type object struct {
	b    []byte
	open bool // it has a member
}

func (o *object) name(name string) {
	start := byte('{')
	if o.open {
		start = ','
	}
	o.open = true
	o.b = append(append(append(o.b, start, '"'), name...), `":`...)
}

// number writes v rounded to decimals; no negative zero.
func (o *object) number(name string, v float64, decimals int) {
	o.name(name)
	k := math.Pow10(decimals)
	o.b = strconv.AppendFloat(o.b, math.Round(v*k)/k+0, 'f', -1, 64)
}

func (o *object) integer(name string, v int64) {
	o.name(name)
	o.b = strconv.AppendInt(o.b, v, 10)
}

func (o *object) boolean(name string, v bool) {
	o.name(name)
	o.b = strconv.AppendBool(o.b, v)
}

// text writes v, which needs no escapes.
func (o *object) text(name, v string) {
	o.name(name)
	o.b = append(append(append(o.b, '"'), v...), '"')
}

// position writes lat and lon in degrees.
func (o *object) position(p point) {
	lon, lat := p.degrees()
	o.name("position")
	o.b = append(o.b, `{"lat":`...)
	o.b = strconv.AppendFloat(o.b, lat, 'f', -1, 64)
	o.b = append(o.b, `,"lon":`...)
	o.b = strconv.AppendFloat(o.b, lon, 'f', -1, 64)
	o.b = append(o.b, '}')
}

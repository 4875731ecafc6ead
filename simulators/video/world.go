package video

import (
	"math"
	"time"

	"panormus/simulators/city"
)

// What moves in front of a camera is a function of the seed, the camera and the time: a lane has
// slots of time, and in each of them at most one object sets out. Times are Unix ms.

// A class is what an object is.
type class uint8

const (
	person class = iota
	bicycle
	motorcycle
	car
	van
	truck
	bus
)

func (k class) vehicle() bool { return k >= motorcycle }

// metres are how tall and wide objects are.
var metres = [...]struct{ tall, wide float64 }{{1.7, 0.6}, {1.7, 1.7}, {1.5, 2}, {1.5, 4.2}, {2.1, 5}, {3.2, 8}, {3.1, 11}}

// A purpose of a lane.
type use uint8

const (
	driving use = iota
	walking
	cycling
	lingering
)

// A lane leads through the picture from side to side.
type lane struct {
	use    use
	y0, y1 float64 // of the feet at the left and the right edge
	right  bool    // it leads to the right, which is into the city
	slot   int64
	busy   float64 // objects a slot at the busiest hour
	idle   float64 // and at the quietest
}

// longest is how long an object may be on the way, in ms.
func (l *lane) longest() int64 {
	switch l.use {
	case lingering:
		return 260_000
	case driving:
		return 30_000
	}
	return 90_000
}

// A view is what a camera looks at.
type view uint8

const (
	street view = iota
	square
	gate
)

func lanesOf(v view) []lane {
	switch v {
	case square:
		return []lane{
			{use: walking, y0: 0.82, y1: 0.80, right: true, slot: 5000, busy: 0.6, idle: 0.01},
			{use: walking, y0: 0.70, y1: 0.74, slot: 5000, busy: 0.6, idle: 0.01},
			{use: walking, y0: 0.60, y1: 0.55, right: true, slot: 7000, busy: 0.5, idle: 0.01},
			{use: cycling, y0: 0.50, y1: 0.50, slot: 20_000, busy: 0.3, idle: 0.01},
			{use: lingering, y0: 0.64, y1: 0.66, right: true, slot: 90_000, busy: 0.4, idle: 0.05},
		}
	case gate:
		return []lane{
			{use: driving, y0: 0.62, y1: 0.62, right: true, slot: 5000, busy: 0.6, idle: 0.02},
			{use: driving, y0: 0.50, y1: 0.50, slot: 5000, busy: 0.6, idle: 0.02},
		}
	}
	return []lane{
		{use: driving, y0: 0.47, y1: 0.45, right: true, slot: 3000, busy: 0.65, idle: 0.03},
		{use: driving, y0: 0.40, y1: 0.39, slot: 3000, busy: 0.65, idle: 0.03},
		{use: walking, y0: 0.80, y1: 0.78, right: true, slot: 8000, busy: 0.45, idle: 0.01},
		{use: walking, y0: 0.36, y1: 0.35, slot: 10_000, busy: 0.4, idle: 0.01},
		{use: cycling, y0: 0.55, y1: 0.53, right: true, slot: 25_000, busy: 0.3, idle: 0.01},
		{use: lingering, y0: 0.86, y1: 0.84, right: true, slot: 120_000, busy: 0.3, idle: 0.05},
	}
}

// An object is somebody or something on the way through a picture.
type object struct {
	id         uint64
	lane       *lane
	born, dies int64
	class      class
	speed      float64 // m/s
	right      bool
	wrongWay   bool
	tall, wide float64 // m
	score      float64
	// The camera does not see it from the one to the other; 0: always.
	silentFrom, silentUntil int64
	renamedAt               int64 // 0: never
	splitAt                 int64 // when a second person is told from the first; 0: never
	toldAt                  int64 // from when on its class is known; 0: never
	head                    bool  // the camera also tells of the head
	plate, name             string
	woman                   bool
}

// The horizon is at horizon, and the ground at y is nearest/(y-horizon) metres away.
const (
	horizon = 0.2
	nearest = 5.6
)

// spread is how many metres the picture is wide at y.
func (c *camera) spread(y float64) (away, width float64) {
	away = nearest / (y - horizon)
	return away, away * 2 * math.Tan(c.fov/2*math.Pi/180)
}

// now is the hour of the day, and whether the day is one of work.
func (c *camera) now(at int64) (h float64, workday bool) {
	if c.hour > 0 {
		return c.hour, true
	}
	return city.Hour(time.UnixMilli(at))
}

// rush is from 0 to 1.
func (c *camera) rush(at int64, u use) float64 {
	h, workday := c.now(at)
	hump := func(hour, width float64) float64 {
		d := math.Abs(h - hour)
		d = min(d, 24-d)
		return math.Exp(-d * d / (2 * width * width))
	}
	if u == driving {
		v := 0.45*hump(13, 4) + 0.15*hump(21, 2)
		if workday {
			v += 0.85*hump(8, 1.1) + 0.75*hump(18, 1.5)
		}
		return min(v, 1)
	}
	return min(0.55*hump(12, 3)+0.9*hump(18.5, 1.8)+0.25*hump(22, 1.5), 1)
}

// crowdFrom and crowdUntil are the hours at which a crowd gathers where there is one.
const crowdFrom, crowdUntil = 18.0, 19.5

// crowded reports whether a crowd is in front of c.
func (c *camera) crowded(at int64) bool {
	if !c.crowd {
		return false
	}
	h, _ := c.now(at)
	return h >= crowdFrom && h < crowdUntil
}

// parties is how many objects may set out in a slot.
func (l *lane) parties(crowded bool) int {
	if crowded && l.use == walking {
		return 4
	}
	return 1
}

// object is the n-th that sets out on a lane in a slot, if it does.
func (c *camera) object(lane int, slot int64, n uint64) (o object, ok bool) {
	l := &c.lanes[lane]
	id := hash(c.key, 'o', uint64(lane), uint64(slot), n)
	born := slot*l.slot + int64(unit(id, 'b')*float64(l.slot))
	r := c.rush(slot*l.slot, l.use)
	if unit(id, '?') >= l.idle+(l.busy-l.idle)*r {
		return o, false
	}
	o = object{id: id, lane: l, born: born, right: l.right, score: within(0.55, 0.97, id, 's')}
	switch l.use {
	case driving:
		o.class = pick([]class{car, car, car, car, car, car, car, motorcycle, motorcycle, van, van, truck, bus}, id, 'c')
		o.speed = within(7, 14, id, 'v') * (1 - 0.4*r)
		o.plate = plateOf(hash(id, 'P'))
		if o.wrongWay = hash(id, 'w')%150 == 0; o.wrongWay {
			o.right = !o.right
		}
	case cycling:
		o.class, o.speed = bicycle, within(3, 6, id, 'v')
	default:
		o.class, o.speed = person, within(0.9, 1.7, id, 'v')
		o.head = hash(id, 'h')%3 == 0
		o.woman = hash(id, 'g')%2 == 0
		o.name = nameOf(hash(id, 'N') % 60)
	}
	_, width := c.spread((l.y0 + l.y1) / 2)
	o.dies = born + min(int64(width/o.speed*1000), l.longest())
	if l.use == lingering {
		o.dies = born + int64(within(120_000, 250_000, id, 'L'))
	}
	o.tall, o.wide = metres[o.class].tall*within(0.92, 1.08, id, 't'), metres[o.class].wide
	life := o.dies - o.born
	at := func(share float64) int64 { return o.born + int64(share*float64(life)) }
	if hash(id, 'q')%8 == 0 && l.use != lingering {
		o.silentFrom, o.silentUntil = at(0.55), at(0.8)
	}
	if hash(id, 'r')%7 == 0 {
		o.renamedAt = at(within(0.3, 0.45, id, 'R'))
	}
	if o.class == person && l.use == walking && hash(id, 'S')%12 == 0 {
		o.splitAt = at(0.25)
	}
	// Most are told of without a class.
	if hash(id, 'k')%5 < 2 {
		o.toldAt = at(within(0.1, 0.5, id, 'K'))
	}
	return o, true
}

// share is how far along its lane o is at a time, from 0 to 1.
func (o *object) share(at int64) float64 {
	f := clamp(float64(at-o.born)/float64(o.dies-o.born), 0, 1)
	if o.lane.use != lingering {
		return f
	}
	switch { // one who loiters comes, stays before the line and leaves across it
	case f < 0.15:
		return f / 0.15 * 0.42
	case f < 0.85:
		return 0.42 + 0.02*math.Sin(float64(at-o.born)/9000)*min(f-0.15, 0.85-f)/0.05
	}
	return 0.42 + (f-0.85)/0.15*0.58
}

// lingersFrom is when one who loiters has done so for a minute; 0: never.
func (o *object) lingersFrom() int64 {
	if o.lane.use != lingering {
		return 0
	}
	return o.born + int64(0.15*float64(o.dies-o.born)) + 60_000
}

// visible reports whether the camera sees o at a time.
func (o *object) visible(at int64) bool {
	return at >= o.born && at < o.dies && !(o.silentFrom > 0 && at >= o.silentFrom && at < o.silentUntil)
}

// A box lies in 0..1, its origin at the top left of the picture.
type box struct{ left, top, right, bottom float64 }

func (b box) x() float64 { return (b.left + b.right) / 2 }
func (b box) y() float64 { return (b.top + b.bottom) / 2 }

// box is where c sees o at a time.
func (c *camera) box(o *object, at int64) box {
	x := o.share(at)
	if !o.right {
		x = 1 - x
	}
	y := o.lane.y0 + (o.lane.y1-o.lane.y0)*x + 0.006*math.Sin(float64(at-o.born)/1700+float64(o.id%7))
	_, width := c.spread(y)
	w, h := o.wide/width, o.tall/width*16/9
	b := box{x - w/2, y - h, x + w/2, y}
	return box{clamp(b.left, 0, 0.999), clamp(b.top, 0, 0.999), clamp(b.right, 0.001, 1), clamp(b.bottom, 0.001, 1)}
}

// zoneFrom and zoneTo bound the zone in the middle of every picture, and the line is at its centre.
const (
	zoneFrom, zoneTo = 0.3, 0.7
	zoneTop, zoneEnd = 0.3, 0.95
	lineAt           = 0.5
)

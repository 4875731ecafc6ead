package city

import (
	"fmt"
	"sort"
	"time"

	"panormus/devices"
)

// Config says which city to make. Its zero value is the whole one.
type Config struct {
	// Seed chooses everything that is left to chance (--seed).
	Seed int64
	// Devices is how many there are in all, every class in its share (--devices; 6,610).
	Devices int
	// Rate is messages a second of the whole city (--rate); 0: the natural pace of its devices, some
	// 50/s for the whole city. It stretches or squeezes every device's period alike.
	Rate float64
}

// Natural is how many devices the whole city has.
const Natural = 5000 + 300 + 250 + 60 + 800 + 200

// A City is a set of devices and what they say at any time. Its methods but Run are safe for
// concurrent use.
type City struct {
	config  Config
	seed    uint64
	drawing *drawing
	assets  []asset
	burning burning
	jams    []string // the stretches of road that have working loops, in order
	ways    []line   // of the bus lines
	parts   map[*class][]asset
	counters
}

// An asset is one device.
type asset struct {
	class  *class
	index  int // within its class
	key    uint64
	device devices.Device
	topic  string
	street string
	at     point
	period time.Duration // at the natural pace
	fault  fault
	line   int // of busLines; buses only
}

// A class is a kind of device.
type class struct {
	domain, profile, prefix string
	digits                  int
	count                   int                   // in the whole city
	period                  [2]time.Duration      // least and greatest, at the natural pace
	where                   map[roadClass]float64 // weight of a metre of street; buses have their lines instead
	faults                  []share               // who of them is broken, and how
	tags                    func(*asset)          // adds to the device's tags
	say                     func(*City, *asset, time.Time, *object)
	state                   func(*City, *asset, time.Time) int // a change of it is published at once; nil: never
}

var classes = []*class{&lamps, &loops, &buses, &stations, &bins, &parkings}

// New makes a city.
func New(config Config) *City {
	if config.Devices <= 0 {
		config.Devices = Natural
	}
	c := &City{config: config, seed: hash(uint64(config.Seed)), drawing: draw()}
	counts := scale(config.Devices)
	for i, k := range classes {
		first := len(c.assets)
		if k.where == nil {
			c.putOnLines(k, counts[i])
		} else {
			c.putOnStreets(k, counts[i])
		}
		c.breakSome(k, c.assets[first:])
	}
	seen := map[string]bool{}
	for i := range c.assets {
		if a := &c.assets[i]; a.class == &loops && a.fault == sound && !seen[a.stretch()] {
			seen[a.stretch()] = true
			c.jams = append(c.jams, a.stretch())
		}
	}
	sort.Strings(c.jams)
	c.parts = map[*class][]asset{}
	for first, last := 0, 0; first < len(c.assets); first = last {
		for last < len(c.assets) && c.assets[last].class == c.assets[first].class {
			last++
		}
		c.parts[c.assets[first].class] = c.assets[first:last]
	}
	return c
}

// scale shares n devices among the classes in proportion, one each at least as long as n lasts.
func scale(n int) []int {
	counts := make([]int, len(classes))
	rest := n
	for i, k := range classes {
		counts[i] = n * k.count / Natural
		if counts[i] == 0 && rest > 0 {
			counts[i] = 1
		}
		counts[i] = min(counts[i], rest)
		rest -= counts[i]
	}
	counts[0] += rest
	return counts
}

// Len is how many devices the city has.
func (c *City) Len() int { return len(c.assets) }

// Devices returns the devices as the registry takes them: claimed, placed, in their zone.
func (c *City) Devices() []devices.Device {
	ds := make([]devices.Device, len(c.assets))
	for i := range c.assets {
		ds[i] = c.assets[i].device
	}
	return ds
}

// Topic is the MQTT topic of device i, in the order of Devices.
func (c *City) Topic(i int) string { return c.assets[i].topic }

// Payload is what device i, in the order of Devices, says at t, appended to b. It may be garbage.
func (c *City) Payload(b []byte, i int, t time.Time) []byte {
	a := &c.assets[i]
	if g := a.garbage(t); g != nil {
		return append(b, g...)
	}
	o := object{b: b}
	o.integer("ts", t.Add(a.drift()).UnixMilli())
	if a.fault == stuck {
		t = stuckSince.Add(time.Duration(a.key % uint64(8*time.Hour)))
	}
	a.class.say(c, a, t, &o)
	return append(o.b, '}')
}

// Pace is how many messages a second the city publishes by itself.
func (c *City) Pace() float64 {
	sum := 0.0
	for i := range c.assets {
		sum += 1 / c.assets[i].period.Seconds()
	}
	return sum
}

// add makes the i-th device of k, named after street, at p.
func (c *City) add(k *class, i int, street string, p point) *asset {
	id := fmt.Sprintf("%s-%0*d", k.prefix, k.digits, i+1)
	lon, lat := p.degrees()
	a := asset{
		class: k, index: i, key: hash(c.seed, hashText(id)),
		topic: "city/" + k.domain + "/" + id + "/telemetry", street: street, at: fromDegrees(lon, lat),
	}
	a.device = devices.Device{
		ID: id, Domain: k.domain, Profile: k.profile, Name: fmt.Sprintf("%s, %s", id, street),
		Lat: &lat, Lon: &lon, Tags: map[string]string{"street": street}, Status: devices.Claimed,
	}
	if z := c.drawing.district(a.at); z >= 0 {
		a.device.Zone = drawnDistricts[z].id
	}
	a.period = k.period[0] + time.Duration(unit(a.key, 'p')*float64(k.period[1]-k.period[0]))
	if k.tags != nil {
		k.tags(&a)
	}
	c.assets = append(c.assets, a)
	return &c.assets[len(c.assets)-1]
}

// putOnStreets spreads n devices evenly over the streets by their weight, alternating sides.
func (c *City) putOnStreets(k *class, n int) {
	if n == 0 {
		return
	}
	total := 0.0
	for _, s := range c.drawing.streets {
		total += s.line.length() * k.where[s.class]
	}
	apart := total / float64(n)
	i, done := 0, 0.0
	for _, s := range c.drawing.streets {
		w := k.where[s.class]
		length := s.line.length()
		for i < n && w > 0 {
			due := (float64(i) + 0.5 + within(-0.35, 0.35, c.seed, hashText(k.prefix), uint64(i))) * apart
			if due >= done+length*w {
				break
			}
			p, ahead := s.line.at((due - done) / w)
			off := ahead.left().times(kerb * float64(1-2*(i%2)))
			if c.drawing.district(p.plus(off)) >= 0 {
				p = p.plus(off)
			}
			c.add(k, i, s.name, p)
			i++
		}
		done += length * w
	}
}

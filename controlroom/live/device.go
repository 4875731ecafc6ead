package live

import (
	"math"
	"sync"

	"panormus/devices"
	"panormus/stream/batch"
)

// MaxMetrics is how many different metrics of one device are kept.
const MaxMetrics = 1024

// A Device is one device's state. Its methods are safe for concurrent use.
type Device struct {
	id    string
	index int32

	mu       sync.Mutex
	asset    *devices.Asset // nil while the registry does not know it
	domain   string
	metrics  []metric
	texts    []string
	seen     int64   // event time of the newest reading, Unix ms; 0: never
	lat, lon float64 // NaN: unknown

	// ver counts the changes of the device, from 1; the others say at which one something last
	// changed. They wrap after 4 thousand million messages of one device.
	ver, metaVer, posVer, alarmVer, dirtyFrom uint32

	x, y    uint16 // tile of lat, lon
	alarm   Severity
	dirty   bool // on the list that Collect takes
	removed bool
	moving  bool // says itself where it is
}

// metric is 32 bytes: there are millions.
type metric struct {
	value float64 // NaN: the metric is a text
	time  int64   // Unix ms
	ver   uint32
	name  uint32
	text  int32 // index in texts; -1: never was a text
}

// ID is the device's id.
func (d *Device) ID() string { return d.id }

// Index is the device's number in its State, given once and not used again.
func (d *Device) Index() int { return int(d.index) }

func (d *Device) zone() string {
	if d.asset == nil {
		return ""
	}
	return d.asset.Zone
}

// find returns the place of a metric, looking first where a message in the usual order has it, or -1.
func (d *Device) find(name uint32, at int) int {
	if at < len(d.metrics) && d.metrics[at].name == name {
		return at
	}
	for i := range d.metrics {
		if d.metrics[i].name == name {
			return i
		}
	}
	return -1
}

// apply takes rows i to j of o, one message, and returns how many rows it ignored as late and as too
// many. The caller holds the lock.
func (d *Device) apply(o *batch.Observations, ids []uint32, i, j int) (late, beyond int) {
	at, t := 0, o.Time[i]
	d.ver++
	if d.metrics == nil {
		d.metrics = make([]metric, 0, min(j-i, MaxMetrics)) // exact: most devices send the same each time
	}
	moved := false
	for ; i < j; i++ {
		name := ids[o.Metric.Index[i]]
		k := d.find(name, at)
		at = k + 1
		if k < 0 {
			if name == noName || len(d.metrics) >= MaxMetrics {
				beyond++
				continue
			}
			k = len(d.metrics)
			at = k + 1
			d.metrics = append(d.metrics, metric{name: name, time: math.MinInt64, text: -1, value: math.NaN()})
		}
		m := &d.metrics[k]
		if t < m.time {
			late++
			continue
		}
		fresh := m.time == math.MinInt64
		m.time = t
		v := o.Value[i]
		if v != v {
			d.setText(m, o.Text.At(i), fresh)
		} else if fresh || m.value != v {
			m.value, m.ver = v, d.ver
		}
		if name <= positionLon && m.ver == d.ver {
			moved = true
		}
	}
	d.seen = max(d.seen, t)
	if moved {
		d.move()
	}
	return late, beyond
}

// setText gives a metric a text. A metric that once had one keeps its place for the next.
func (d *Device) setText(m *metric, s string, fresh bool) {
	if !fresh && m.value != m.value && d.texts[m.text] == s {
		return
	}
	if m.text < 0 {
		m.text = int32(len(d.texts))
		d.texts = append(d.texts, s)
	}
	d.texts[m.text], m.value, m.ver = s, math.NaN(), d.ver
}

// The two names by which a device says where it is, and their numbers.
const (
	positionLat = 0
	positionLon = 1
)

// move takes the position from the device's own values, where they hold one.
func (d *Device) move() {
	i, j := d.find(positionLat, 0), d.find(positionLon, 1)
	if i < 0 || j < 0 {
		return
	}
	lat, lon := d.metrics[i].value, d.metrics[j].value
	if math.Abs(lat) <= 90 && math.Abs(lon) <= 180 {
		d.moving = true
		d.place(lat, lon)
	}
}

// place sets the position; the caller has counted ver up.
func (d *Device) place(lat, lon float64) {
	if d.lat == lat && d.lon == lon {
		return
	}
	d.lat, d.lon, d.posVer = lat, lon, d.ver
	if lat == lat {
		d.x, d.y = tileOf(lat, lon)
	}
}

// describe takes what the registry says of the device.
func (d *Device) describe(a *devices.Asset) {
	if d.asset == a {
		return
	}
	old := d.asset
	d.asset, d.domain = a, a.Domain
	if old != nil && old.Domain == a.Domain && old.Zone == a.Zone && old.Name == a.Name && old.Profile == a.Profile &&
		samePoint(old.Lat, a.Lat) && samePoint(old.Lon, a.Lon) {
		return // nothing that is shown
	}
	d.ver++
	d.metaVer = d.ver
	if d.moving {
		return
	}
	if a.Lat != nil && a.Lon != nil {
		d.place(*a.Lat, *a.Lon)
	} else if d.lat == d.lat {
		d.place(math.NaN(), math.NaN())
	}
}

func samePoint(a, b *float64) bool { return a == b || a != nil && b != nil && *a == *b }

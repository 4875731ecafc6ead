package video

import (
	"fmt"
	"math"
	"slices"
	"time"

	"panormus/devices"
	"panormus/simulators/city"
)

// Config says which cameras to make. Zero values take the defaults named.
type Config struct {
	// Seed chooses everything that is left to chance.
	Seed int64
	// Cameras is how many there are (200).
	Cameras int
	// Rate is pictures a second that each camera analyses (1); what happens in front of it does not
	// depend on that.
	Rate float64
	// Hour of a working day that it always is for those in front of them, above 0 to 24; 0: the
	// clock's, in Palermo.
	Hour float64
}

// Natural is how many cameras the whole city has.
const Natural = 200

// A System is the cameras and what they tell at any time. Its methods but Run and Play are safe for
// concurrent use.
type System struct {
	config   Config
	cameras  []camera
	books    books
	counters counters
}

// A format is how a camera tells what it sees.
type format uint8

const (
	axisScene format = iota
	axisBeta
	axisAnalytics
	onvifJSON
	onvifXML
	hikvision
	dahua
	frigate
	deepstream
	rekor
	plateRecognizer
)

var formatNames = [...]string{
	"axis-scene", "axis-scene-beta", "axis-event", "onvif-json", "onvif-xml", "hikvision", "dahua", "frigate", "deepstream", "rekor", "platerecognizer",
}

// pattern is which formats twenty cameras have.
var pattern = [20]format{
	axisScene, onvifJSON, axisAnalytics, onvifXML, axisScene, hikvision, frigate, onvifJSON, axisScene, dahua,
	axisBeta, deepstream, rekor, onvifJSON, axisScene, plateRecognizer, onvifXML, axisAnalytics, axisScene, onvifJSON,
}

// A fault is what is wrong with a camera, or with how it is kept.
type fault uint8

const (
	sound     fault = iota
	lawless         // the registry has no lawful ground for it
	garbled         // now and then what it sends is cut
	lossy           // its picture fails now and then
	tampered        // it is covered now and then
	forgetful       // it restarts now and then and tells its states again
)

var faultNames = [...]string{"", "lawless", "garbled", "lossy", "tampered", "forgetful"}

// A camera is one device.
type camera struct {
	index   int
	key     uint64
	format  format
	view    view
	lanes   []lane
	fault   fault
	crowd   bool
	variant int // of its maker's spelling
	device  devices.Device
	place   city.Place
	heading float64 // degrees clockwise from north
	fov     float64 // degrees
	hour    float64 // Config.Hour
	period  time.Duration
	phase   time.Duration
}

// New makes the cameras.
func New(config Config) *System {
	if config.Cameras <= 0 {
		config.Cameras = Natural
	}
	if !(config.Rate > 0) {
		config.Rate = 1
	}
	s := &System{config: config, cameras: make([]camera, config.Cameras)}
	s.books.plates, s.books.names = map[string]struct{}{}, map[string]struct{}{}
	seed := hash(uint64(config.Seed), 'v')
	places := city.Places(config.Seed, "camera", config.Cameras)
	for i := range s.cameras {
		s.cameras[i].make(seed, i, config, places[i])
	}
	s.breakSome()
	s.books.all = make([]Book, len(s.cameras))
	for i := range s.cameras {
		c := &s.cameras[i]
		c.register()
		s.books.all[i] = Book{Camera: c.device.ID, Format: formatNames[c.format], Fault: faultNames[c.fault], Rows: map[string]int64{}}
	}
	return s
}

func (c *camera) make(seed uint64, i int, config Config, at city.Place) {
	*c = camera{index: i, key: hash(seed, 'C', uint64(i)), format: pattern[i%len(pattern)], variant: i / len(pattern), place: at, hour: config.Hour}
	switch {
	case c.format == rekor || c.format == plateRecognizer || (c.format == hikvision || c.format == dahua) && c.variant%2 == 1:
		c.view = gate
	case hash(c.key, 'v')%3 == 0:
		c.view = square
	}
	c.crowd = c.view == square && hash(c.key, 'c')%2 == 0
	c.lanes = lanesOf(c.view)
	c.heading = math.Mod(at.Bearing+within(60, 120, c.key, 'h')+180*float64(i%2), 360)
	c.fov = math.Round(within(55, 85, c.key, 'f'))
	c.period = max(time.Duration(float64(time.Second)/config.Rate).Truncate(time.Millisecond), time.Millisecond)
	c.phase = time.Duration(unit(c.key, '1') * float64(c.period)).Truncate(time.Millisecond)
}

// splits reports whether c's format can tell that one track came out of another.
func (c *camera) splits() bool { return c.format == onvifXML }

// breakSome gives some cameras their faults, one of each at least where there are twenty.
func (s *System) breakSome() {
	order := make([]*camera, len(s.cameras))
	for i := range s.cameras {
		order[i] = &s.cameras[i]
	}
	slices.SortStableFunc(order, func(a, b *camera) int {
		if hash(a.key, 'F') < hash(b.key, 'F') {
			return -1
		}
		return 1
	})
	give := func(f fault, of float64, able func(c *camera) bool) {
		n := int(of * float64(len(s.cameras)))
		if n == 0 && len(s.cameras) >= len(pattern) {
			n = 1
		}
		for _, c := range order {
			if n > 0 && c.fault == sound && able(c) {
				c.fault = f
				n--
			}
		}
	}
	any := func(*camera) bool { return true }
	tells := func(c *camera) bool { return c.format == onvifJSON || c.format == hikvision || c.format == dahua }
	give(lossy, 0.03, tells)
	give(tampered, 0.02, tells)
	give(forgetful, 0.03, func(c *camera) bool { return c.format == onvifJSON })
	give(lawless, 0.04, any)
	give(garbled, 0.04, func(c *camera) bool { return c.format != frigate }) // whose broken messages are nobody's
}

// grounds are the lawful ones.
var grounds = map[string]devices.Camera{
	"traffic":           {LegalBasis: "D.Lgs. 285/1992 art. 7", DPIARef: "DPIA-2026-01"},
	"urban_security":    {LegalBasis: "D.L. 14/2017 art. 5", DPIARef: "DPIA-2026-02"},
	"plate_recognition": {LegalBasis: "D.L. 11/2009 art. 6", DPIARef: "DPIA-2026-03"},
	"crowd_safety":      {LegalBasis: "D.L. 14/2017 art. 4", DPIARef: "DPIA-2026-04"},
}

func (c *camera) purpose() string {
	switch {
	case c.view == gate:
		return "plate_recognition"
	case c.crowd:
		return "crowd_safety"
	case c.view == square:
		return "urban_security"
	}
	return "traffic"
}

// id is what the camera's messages call it.
func (c *camera) id() string {
	switch {
	case c.format == axisAnalytics: // its serial number
		return fmt.Sprintf("B8A44F%06X", hash(c.key, 's')&0xffffff)
	case c.format == onvifJSON && c.variant%3 == 0: // its MAC
		return fmt.Sprintf("00408c%06x", hash(c.key, 'm')&0xffffff)
	}
	return fmt.Sprintf("cam-%04d", c.index+1)
}

// register completes what the registry is told.
func (c *camera) register() {
	id, lat, lon := c.id(), c.place.Lat, c.place.Lon
	c.device = devices.Device{
		ID: id, Domain: "safety", Profile: profile, Zone: c.place.Zone, Name: fmt.Sprintf("Camera %d, %s", c.index+1, c.place.Street), Lat: &lat, Lon: &lon,
		Tags: map[string]string{
			"street": c.place.Street, "vendor": formatNames[c.format], "heading_deg": fmt.Sprintf("%.0f", c.heading),
			"fov_deg": fmt.Sprintf("%.0f", c.fov), "range_m": fmt.Sprint(50 + 10*(c.index%4)),
		},
		Status: devices.Claimed, Secret: fmt.Sprintf("%016x%016x", hash(c.key, 'k'), hash(c.key, 'K')),
	}
	if c.fault == lawless {
		return
	}
	ground := grounds[c.purpose()]
	ground.Purpose, ground.Controller = c.purpose(), "Comune di Palermo"
	if c.index%3 != 0 { // somebody measured four points
		for _, p := range [][2]float64{{0.1, 0.9}, {0.9, 0.9}, {0.9, 0.4}, {0.1, 0.4}} {
			lat, lon := c.ground(p[0], p[1])
			ground.Homography = append(ground.Homography, p[0], p[1], lat, lon)
		}
	}
	// Seen along the line, its right is into the city.
	ground.Areas = []devices.Area{
		{Name: "middle", Kind: devices.AreaZone, Points: [][2]float64{{zoneFrom, zoneTop}, {zoneTo, zoneTop}, {zoneTo, zoneEnd}, {zoneFrom, zoneEnd}}},
		{Name: "centre", Kind: devices.AreaLine, Points: [][2]float64{{lineAt, 1}, {lineAt, 0}}},
	}
	c.device.Camera = &ground
}

// profile of all cameras.
const profile = "camera"

// Devices returns the cameras as the registry takes them.
func (s *System) Devices() []devices.Device {
	ds := make([]devices.Device, len(s.cameras))
	for i := range s.cameras {
		ds[i] = s.cameras[i].device
	}
	return ds
}

// Profiles returns the one of cameras, which measure nothing: what they tell are detections.
func (s *System) Profiles() []devices.Profile {
	return []devices.Profile{{ID: profile, Domain: "safety"}}
}

// Frames are the sizes of pictures, such as 1280x720, of the cameras that tell of objects in pixels and
// not of how many there are.
func (s *System) Frames() map[string]string {
	sizes := map[string]string{}
	for i := range s.cameras {
		switch c := &s.cameras[i]; c.format {
		case frigate:
			sizes[c.device.ID] = "1280x720"
		case deepstream, plateRecognizer:
			sizes[c.device.ID] = "1920x1080"
		}
	}
	return sizes
}

// Len is how many cameras there are.
func (s *System) Len() int { return len(s.cameras) }

// ground is where a spot of the picture lies, in degrees.
func (c *camera) ground(x, y float64) (lat, lon float64) {
	away, width := c.spread(y)
	side := (x - 0.5) * width
	sin, cos := math.Sincos(c.heading * math.Pi / 180)
	east, north := away*sin+side*cos, away*cos-side*sin
	return c.place.Lat + north/111_000, c.place.Lon + east/87_600
}

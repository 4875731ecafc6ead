package video

import "fmt"

// The words of the table detections for what a row tells.
const (
	objectSeen  = "object"
	emptyFrame  = "frame"
	trackEnd    = "track_end"
	trackRename = "track_rename"
	trackSplit  = "track_split"
	lineCrossed = "line_crossed"
	zoneEntered = "zone_entered"
	zoneLeft    = "zone_left"
	insideState = "inside"
	loitering   = "loitering"
	counted     = "count"
	tamperState = "tamper"
	lossState   = "signal_loss"
	plateRead   = "plate"
)

// counterCycle is after how many ms counters are reset.
const counterCycle = 20 * 60 * 1000

// rows is how many rows of each kind a receiver that is right makes of a message.
type rows map[string]int

// A message is one that a camera sends.
type message struct {
	topic    string
	payload  []byte
	retain   bool
	frame    bool // a picture
	push     bool // it may be pushed over HTTP
	rows     rows
	garbage  bool
	repeated bool
}

// A watcher is the memory of one camera.
type watcher struct {
	c      *camera
	all    *books
	book   *Book
	slots  []int64  // by lane: the first whose objects are not in around yet
	around []object // under way
	order  []uint64 // of known
	known  map[uint64]*known
	out    []message

	lost, covered bool
	reset         int64             // when the counters last began anew
	counts        map[class]int     // crossed since
	posts         int               // alerts so far
	occupied      bool              // somebody is in the zone
	states        map[string][]byte // retained, by topic
	restarted     int64
	told          map[uint64]frigateTrack
}

func (s *System) watcher(i int) *watcher {
	return &watcher{
		c: &s.cameras[i], slots: make([]int64, len(s.cameras[i].lanes)), all: &s.books, book: &s.books.all[i], known: map[uint64]*known{}, counts: map[class]int{},
		states: map[string][]byte{}, told: map[uint64]frigateTrack{},
	}
}

// step returns what the camera sends at a time; the result is good until the next call. The books
// are held meanwhile, and have it then.
func (w *watcher) step(at int64) []message {
	w.all.mu.Lock()
	defer w.all.mu.Unlock()
	w.out = w.out[:0]
	if w.reset == 0 || at/counterCycle != w.reset/counterCycle {
		w.reset = at
		clear(w.counts)
	}
	lost, covered := w.c.fails(at, lossy), w.c.fails(at, tampered)
	if lost != w.lost {
		w.lost = lost
		w.trouble(at, lossState, lost)
	}
	if covered != w.covered {
		w.covered = covered
		w.trouble(at, tamperState, covered)
	}
	switch {
	case lost || covered:
	case w.c.fault == garbled && hash(w.c.key, 'G', uint64(at))%20 == 0:
		w.send(message{topic: w.c.topic(), payload: w.garbage(at), garbage: true})
	default:
		w.tell(w.look(at))
	}
	w.restart(at)
	for i := range w.out {
		w.book.keep(&w.out[i], w.c.fault != lawless)
	}
	return w.out
}

func (w *watcher) send(m message) { w.out = append(w.out, m) }

// fails reports whether a fault that comes and goes is there: half a minute of every ten.
func (c *camera) fails(at int64, f fault) bool {
	return c.fault == f && (at/1000+int64(c.key%600))%600 < 30
}

// topic is where the camera publishes pictures, or all it has.
func (c *camera) topic() string {
	switch c.format {
	case axisAnalytics:
		return "axis/" + c.device.ID + "/event/tns:axis/CameraApplicationPlatform/ObjectAnalytics/Device1Scenario1"
	case onvifJSON:
		return c.prefix() + "/onvif-mj/VideoAnalytics/profile_1/Analytics_1"
	case frigate:
		return "frigate/events"
	}
	return "vds/" + c.device.ID + "/" + map[format]string{
		axisScene: "axis-scene", axisBeta: "axis-scene", onvifXML: "onvif-xml", hikvision: "hikvision", dahua: "dahua",
		deepstream: "deepstream", rekor: "rekor", plateRecognizer: "platerecognizer",
	}[c.format]
}

// garbage is a message that the network cut, with personal data in it.
func (w *watcher) garbage(at int64) []byte {
	o := object{plate: plateOf(hash(w.c.key, 'g', uint64(at))), name: nameOf(hash(w.c.key, uint64(at)))}
	plate, name := w.all.plate(&o), w.all.name(&o)
	switch w.c.format {
	case onvifXML:
		return fmt.Appendf(nil, `<tt:MetadataStream xmlns:tt="http://www.onvif.org/ver10/schema"><tt:VideoAnalytics><tt:Frame><tt:Object ObjectId="1"><tt:Name>%s</tt:Name><tt:PlateNumber>%s`, name, plate)
	case hikvision:
		return fmt.Appendf(nil, `<EventNotificationAlert version="2.0"><eventType>ANPR</eventType><ANPR><licensePlate>%s</licensePlate><owner>%s</ow`, plate, name)
	case dahua:
		return fmt.Appendf(nil, `Code=TrafficJunction;action=Pulse;index=0;data={"TrafficCar":{"PlateNumber":"%s","Owner":"%s`, plate, name)
	}
	return fmt.Appendf(nil, `{"timestamp":"2026-07-29T11:55:30Z","detections":[{"plate":"%s","name":"%s","bounding_box":{"bottom":0.9`, plate, name)
}

// restart has a forgetful camera tell all its states again, as they were, every three minutes.
func (w *watcher) restart(at int64) {
	if w.c.fault != forgetful {
		return
	}
	const cycle = 180_000
	if w.restarted > 0 && at/cycle != w.restarted/cycle {
		for topic, payload := range w.states {
			w.send(message{topic: topic, payload: payload, retain: true, repeated: true})
		}
	}
	w.restarted = at
}

// trouble tells that something is wrong with the picture, or no longer, if the format can.
func (w *watcher) trouble(at int64, what string, on bool) {
	switch w.c.format {
	case onvifJSON:
		w.onvifTrouble(at, what, on)
	case hikvision:
		w.hikvisionTrouble(at, what, on)
	case dahua:
		w.dahuaTrouble(at, what, on)
	}
}

// tell sends what the camera makes of s.
func (w *watcher) tell(s *scene) {
	for _, k := range s.crossed {
		w.counts[k.class]++
	}
	switch w.c.format {
	case axisScene:
		w.axisFrame(s)
	case axisBeta:
		w.axisBetaFrame(s)
	case axisAnalytics:
		w.axisCounters(s)
	case onvifJSON:
		w.onvifFrame(s)
		w.onvifEvents(s)
	case onvifXML:
		w.onvifStream(s)
	case hikvision:
		w.hikvisionAlerts(s)
	case dahua:
		w.dahuaEvents(s)
	case frigate:
		w.frigateEvents(s)
	case deepstream:
		w.deepstreamFrame(s)
	case rekor:
		w.rekorGroups(s)
	case plateRecognizer:
		w.plateRecognizerHooks(s)
	}
}

// frameRows are those of a picture.
func frameRows(objects int) rows {
	if objects == 0 {
		return rows{emptyFrame: 1}
	}
	return rows{objectSeen: objects}
}

// add counts n more rows of a kind.
func (r rows) add(what string, n int) {
	if n > 0 {
		r[what] += n
	}
}

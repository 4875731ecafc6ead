package tracks

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"slices"
	"strings"
	"time"

	"panormus/devices"
	"panormus/stream/batch"
)

// A track is one object's way through the view.
type track struct {
	key        string // the vendor's id now
	first      string // and at the start
	parent     string
	start      int64
	last       int64 // seen
	received   int64
	expires    int64
	detections int64
	quality    uint8
	told       bool // over and told, though it may go on
	attributes string
	plate      string
	plateScore float32
	score      float32

	weights [classes]float32
	best    uint8
	votes   []vote // of vendors' words

	// The way.
	placed              bool
	startX, startY      float64
	endX, endY          float64
	ground              bool
	startLat, startLon  float64
	endLat, endLon      float64
	footX, footY        float64
	standing            bool // footX, footY are known
	toldSum, toldMax    float64
	toldN               int64
	distance, groundMax float64
	groundMs            int64
	mark                mark // where the window of the speed began
	still               int64
	zones               []uint16
	visits              []visit
	inside, alone       uint32 // frames: a head in a person's box, and not
	rides               []ride
	frame               int64 // the last in which it was seen
	number              int   // in a snapshot, from 1
}

type vote struct {
	class  uint8
	word   uint16
	weight float32
}

// mark is a place at a time.
type mark struct {
	t        int64
	x, y     float64
	lat, lon float64
	ground   bool
}

// ride is a bicycle or motorcycle that a person was seen above.
type ride struct {
	key              string // of the vehicle
	together, shared uint32
}

// find returns the live track of a vendor's id, nil where there is none or it is over.
func (c *camera) find(key string, t int64) *track {
	tr := c.tracks[key]
	if tr != nil && t-tr.last > resumeMs {
		c.over(tr)
		return nil
	}
	return tr
}

// open finds or begins the track of an object.
func (c *camera) open(r *row) *track {
	if tr := c.find(r.track, r.t); tr != nil {
		if tr.told {
			c.reopen(tr)
		}
		return tr
	}
	if len(c.tracks) >= c.s.cfg.MaxTracks {
		c.evict()
	}
	tr := &track{key: r.track, first: r.track, start: r.t, last: r.t, best: classUnknown, toldMax: math.Inf(-1), groundMax: math.Inf(-1)}
	if b, ok := c.births[r.track]; ok {
		delete(c.births, r.track)
		if r.t-b.t <= resumeMs {
			tr.parent = b.parent
		}
	}
	c.tracks[tr.key] = tr
	c.expiry = min(c.expiry, tr.last+resumeMs)
	return tr
}

func (c *camera) sorted() []*track {
	all := make([]*track, 0, len(c.tracks))
	for _, tr := range c.tracks {
		all = append(all, tr)
	}
	slices.SortFunc(all, func(a, b *track) int { return cmp.Or(cmp.Compare(a.last, b.last), strings.Compare(a.key, b.key)) })
	return all
}

// evict ends a twentieth of the tracks, those not seen for the longest time.
func (c *camera) evict() {
	all := c.sorted()
	for _, tr := range all[:len(all)/20+1] {
		c.over(tr)
		c.s.stats.Evicted++
	}
}

// expire ends the tracks not seen for too long at a time.
func (c *camera) expire(now int64) {
	if now <= c.expiry {
		return
	}
	var ended []*track
	c.expiry = math.MaxInt64
	for _, tr := range c.tracks {
		if now-tr.last > resumeMs {
			ended = append(ended, tr)
		} else {
			c.expiry = min(c.expiry, tr.last+resumeMs)
		}
	}
	slices.SortFunc(ended, func(a, b *track) int { return cmp.Or(cmp.Compare(a.last, b.last), strings.Compare(a.key, b.key)) })
	for _, tr := range ended {
		c.over(tr)
	}
}

// over ends a track for good.
func (c *camera) over(tr *track) {
	c.close(tr)
	if c.tracks[tr.key] == tr {
		delete(c.tracks, tr.key)
	}
}

// close tells a track and ends its visits as of its last sign; it may be opened again.
func (c *camera) close(tr *track) {
	if tr.told {
		return
	}
	tr.told = true
	for i := range tr.visits {
		if v := &tr.visits[i]; v.open {
			c.leave(v)
			v.cut = true
		}
	}
	c.tellTrack(tr)
}

func (c *camera) reopen(tr *track) {
	tr.told = false
	for i := range tr.visits {
		if v := &tr.visits[i]; v.cut {
			c.rejoin(v)
		}
	}
}

// sight adds a detection to a track.
func (c *camera) sight(tr *track, r *row) {
	if r.t-tr.start >= longestMs {
		c.continueAs(tr, r)
	}
	tr.last, tr.received = r.t, max(tr.received, r.received)
	tr.expires = max(tr.expires, r.expires)
	tr.detections++
	tr.quality |= r.quality &^ devices.QualityRefresh
	c.vote(tr, r)
	if m := r.more; m != nil {
		if m.attributes != "" {
			tr.attributes = m.attributes
		}
		c.plate(tr, r)
	}
}

func (c *camera) plate(tr *track, r *row) {
	if s := scoreOf(r); r.more.plate != "" && (tr.plate == "" || s > tr.plateScore) {
		tr.plate, tr.plateScore = r.more.plate, s
	}
}

// scoreOf is a row's score; one that tells none is worth a half.
func scoreOf(r *row) float32 {
	if !(r.score >= 0 && r.score <= 1) {
		return 0.5
	}
	return r.score
}

func (c *camera) vote(tr *track, r *row) {
	class, weight := r.class, scoreOf(r)
	if class == classNone {
		class = classUnknown
	}
	if known(r.score) {
		tr.score = max(tr.score, weight)
	}
	if class != classUnknown {
		tr.weights[class] += weight
		if b := tr.best; b == classUnknown || tr.weights[class] > tr.weights[b] || tr.weights[class] == tr.weights[b] && class < b {
			tr.best = class
		}
	}
	for i := range tr.votes {
		if v := &tr.votes[i]; v.class == class && v.word == r.word {
			v.weight += weight
			return
		}
	}
	if len(tr.votes) < 8 {
		tr.votes = append(tr.votes, vote{class, r.word, weight})
	}
}

// vendorWord is the vendor's word most said of the class.
func (c *camera) vendorWord(tr *track) string {
	best, word := float32(-1), ""
	for _, v := range tr.votes {
		w := c.s.words[v.word]
		if v.class == tr.best && w != "" && (v.weight > best || v.weight == best && w < word) {
			best, word = v.weight, w
		}
	}
	return word
}

// part reports whether a track is no object of its own: a head of a person, a rider.
func (tr *track) part() bool {
	switch tr.best {
	case classHead, classFace, classPlate:
		return tr.inside > tr.alone
	case classPerson:
		for _, r := range tr.rides {
			if r.together >= 2 && 2*r.together > r.shared {
				return true
			}
		}
	}
	return false
}

// continueAs tells a track that has lasted its time and makes it a child of itself. What it is
// inside of, it stays inside of.
func (c *camera) continueAs(tr *track, r *row) {
	c.tellTrack(tr)
	tr.parent, tr.first, tr.start = c.trackID(tr), tr.key, r.t
	tr.detections, tr.quality, tr.score, tr.expires = 0, 0, 0, 0
	tr.placed, tr.ground = false, false
	tr.toldSum, tr.toldMax, tr.toldN = 0, math.Inf(-1), 0
	tr.distance, tr.groundMs, tr.groundMax = 0, 0, math.Inf(-1)
	tr.zones = nil
	for i := range tr.visits {
		if v := &tr.visits[i]; v.open && v.zone != 0 {
			tr.zones = append(tr.zones, v.zone)
		}
	}
}

// trackID is the same for the same track after a replay.
func (c *camera) trackID(tr *track) string { return trackID(c.id, tr.first, tr.start) }

func trackID(camera, vendor string, start int64) string {
	h := sha256.New()
	h.Write([]byte(camera))
	h.Write([]byte{0})
	h.Write([]byte(vendor))
	h.Write([]byte{0})
	// The start has the day in it.
	h.Write(binary.LittleEndian.AppendUint64(nil, uint64(start)))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// tellTrack makes the row of a track.
func (c *camera) tellTrack(tr *track) {
	if tr.detections == 0 {
		return
	}
	if tr.part() {
		c.s.stats.Parts++
		return
	}
	nan := math.NaN()
	out := batch.Track{
		ID: c.trackID(tr), Camera: c.id, Track: tr.first, Start: at(tr.start), End: at(tr.last), Received: at(tr.received),
		Class: classNames[tr.best], VendorClass: c.vendorWord(tr), Score: float64(tr.score), Detections: tr.detections, Zones: c.zoneNames(tr),
		SpeedMps: nan, SpeedMaxMps: nan, DistanceM: nan, HeadingDeg: nan, StartX: nan, StartY: nan, EndX: nan, EndY: nan,
		StartLat: nan, StartLon: nan, EndLat: nan, EndLon: nan, Parent: tr.parent, Purpose: c.purpose, Attributes: tr.attributes,
		PlateHash: tr.plate, Expires: c.expires(tr), Quality: tr.quality,
	}
	tr.way(&out)
	c.s.tracks = append(c.s.tracks, out)
	c.s.stats.Tracks++
}

func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func (c *camera) expires(tr *track) time.Time {
	if c.s.cfg.Keep != nil {
		if keep, ok := c.s.cfg.Keep(c.id, classNames[tr.best], tr.plate != ""); ok {
			return at(tr.last).Add(keep)
		}
	}
	return at(tr.expires)
}

func (c *camera) zoneNames(tr *track) string {
	names := make([]string, len(tr.zones))
	for i, z := range tr.zones {
		names[i] = strings.Map(func(r rune) rune {
			if r == ' ' {
				return '_'
			}
			return r
		}, c.names[z])
	}
	return strings.Join(names, " ")
}

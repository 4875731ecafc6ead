package tracks

import (
	"sync"
	"time"

	"panormus/devices"
	"panormus/stream/batch"
)

// Registry is where cameras' areas are found; *devices.Registry is one.
type Registry interface {
	Lookup(id string) *devices.Asset
}

// Config is what an engine is made of; all of it may be left out.
type Config struct {
	Registry Registry
	// Keep tells how long a track of a camera is kept after its end, by its class and whether it has a
	// plate's hash; not ok: as long as the detections it was made of.
	Keep func(camera, class string, plate bool) (keep time.Duration, ok bool)
	// Partitions of the log; default 1.
	Partitions int
	// MaxCameras of a partition, default 1024; MaxTracks of a camera, default 2000.
	MaxCameras, MaxTracks int
}

// Times of the engine in ms; see the package's documentation.
const (
	minuteMs    = 60_000
	latenessMs  = 10_000
	resumeMs    = 60_000
	longestMs   = 3_600_000
	keptMs      = 180_000 // how long after its end a minute can be told again
	outsideMs   = 1_000
	windowMs    = 1_000
	shortestMs  = 300
	gapMs       = 10_000 // no speed is measured over more
	stillMs     = 3_000
	aheadMs     = 60_000
	ownClockMs  = 5_000
	forgottenMs = 900_000 // tracks of a camera that is silent that long
)

// Bounds of a camera.
const (
	maxWaiting = 20_000
	maxNames   = 256
	maxVisits  = 32
	maxZones   = 16 // names of a track's
	maxStays   = 20_000
	maxEvents  = 4_096
	maxLevels  = 512 // counters, and gauges
	maxGuests  = 2_000
	maxBirths  = 256
	maxWords   = 4_096 // vendors' classes of a partition
)

// An Engine makes tracks and counts. Its partitions share nothing: different ones may be fed at
// once, each by one goroutine. Stats may be called at any time.
type Engine struct {
	cfg    Config
	shards []*shard
}

// New makes an engine that knows nothing yet.
func New(cfg Config) *Engine {
	cfg.Partitions, cfg.MaxCameras, cfg.MaxTracks = max(cfg.Partitions, 1), or(cfg.MaxCameras, 1024), or(cfg.MaxTracks, 2000)
	e := &Engine{cfg: cfg, shards: make([]*shard, cfg.Partitions)}
	for i := range e.shards {
		e.shards[i] = newShard(&e.cfg, i)
	}
	return e
}

func or(v, otherwise int) int {
	if v <= 0 {
		return otherwise
	}
	return v
}

// Apply takes in a batch of a partition, the one of sequence seq of the log. A sequence that the
// partition has applied already, after a Restore, gives only the rows that were waiting then.
func (e *Engine) Apply(partition int, seq uint64, d *batch.Detections) {
	e.shards[partition].apply(seq, d)
}

// Tick tells a partition the time, Unix ms, when everything the log held shortly before is applied:
// what cameras that are silent have told is then told on, though more of the same minute may come.
func (e *Engine) Tick(partition int, now int64) { e.shards[partition].tick(now) }

// Take returns what a partition has made since the last Take.
func (e *Engine) Take(partition int) ([]batch.Track, []batch.Count) {
	s := e.shards[partition]
	t, c := s.tracks, s.counts
	s.tracks, s.counts = nil, nil
	return t, c
}

// Made is how many rows wait for Take.
func (e *Engine) Made(partition int) int {
	return len(e.shards[partition].tracks) + len(e.shards[partition].counts)
}

// Stats is what an engine has done since it was made and what it holds.
type Stats struct {
	Rows      uint64 // taken in
	Late      uint64 // that came late and still counted
	Dropped   uint64 // that came too late
	Refused   uint64 // zones, stays, counters beyond the bounds; what they would have counted is lost
	Hurried   uint64 // rows taken before their time because too many waited
	Evicted   uint64 // tracks that ended because a camera had too many
	Forgotten uint64 // cameras that went because there were too many
	Untracked uint64 // objects without a vendor's id
	Parts     uint64 // heads, faces, plates and riders that are part of another object
	Tracks    uint64 // told
	Counts    uint64 // told
	Cameras   int
	Live      int // tracks held
	Waiting   int // rows
}

func (s *Stats) add(o Stats) {
	s.Rows, s.Late, s.Dropped, s.Refused = s.Rows+o.Rows, s.Late+o.Late, s.Dropped+o.Dropped, s.Refused+o.Refused
	s.Hurried, s.Evicted, s.Forgotten = s.Hurried+o.Hurried, s.Evicted+o.Evicted, s.Forgotten+o.Forgotten
	s.Untracked, s.Parts, s.Tracks, s.Counts = s.Untracked+o.Untracked, s.Parts+o.Parts, s.Tracks+o.Tracks, s.Counts+o.Counts
	s.Cameras, s.Live, s.Waiting = s.Cameras+o.Cameras, s.Live+o.Live, s.Waiting+o.Waiting
}

// Stats sums what the partitions have done up to their last Apply or Tick.
func (e *Engine) Stats() Stats {
	var sum Stats
	for _, s := range e.shards {
		s.mu.Lock()
		sum.add(s.shown)
		s.mu.Unlock()
	}
	return sum
}

// A shard is the state of a partition.
type shard struct {
	cfg       *Config
	partition int
	cameras   map[string]*camera
	seq       uint64 // applied up to here
	words     []string
	wordOf    map[string]uint16
	tracks    []batch.Track
	counts    []batch.Count
	stats     Stats

	// Memory of apply.
	touched []*camera
	byCode  []*camera
	whats   []uint8
	classes []uint8
	vendor  []uint16
	written int // length of the last snapshot

	mu    sync.Mutex
	shown Stats
}

func newShard(cfg *Config, partition int) *shard {
	return &shard{cfg: cfg, partition: partition, cameras: map[string]*camera{}, words: []string{""}, wordOf: map[string]uint16{"": 0}}
}

func (s *shard) word(name string) uint16 {
	if w, ok := s.wordOf[name]; ok {
		return w
	}
	if len(s.words) >= maxWords {
		s.stats.Refused++
		return 0
	}
	w := uint16(len(s.words))
	s.words, s.wordOf[name] = append(s.words, name), w
	return w
}

func (s *shard) apply(seq uint64, d *batch.Detections) {
	again := seq <= s.seq
	s.byCode = append(s.byCode[:0], make([]*camera, len(d.Camera.Values))...)
	s.whats, s.classes, s.vendor = s.whats[:0], s.classes[:0], s.vendor[:0]
	for _, v := range d.What.Values {
		s.whats = append(s.whats, kindOf(v))
	}
	for _, v := range d.Class.Values {
		s.classes = append(s.classes, classOf(v))
	}
	for _, v := range d.VendorClass.Values {
		s.vendor = append(s.vendor, s.word(v))
	}
	for i := range d.Time {
		code := d.Camera.Index[i]
		c := s.byCode[code]
		if c == nil {
			if c = s.camera(d.Camera.Values[code], again); c == nil {
				continue // let go before the checkpoint
			}
			s.byCode[code] = c
			if !again {
				c.begin(seq)
				s.touched = append(s.touched, c)
			}
		}
		if again && d.Time[i] <= c.clock {
			continue
		}
		r := c.row(d, i)
		r.seq = seq
		if again {
			c.wait(&r)
			continue
		}
		s.stats.Rows++
		c.purpose = d.Purpose.At(i)
		c.take(&r)
	}
	for _, c := range s.touched {
		c.flush(c.mark())
		c.tell(0)
	}
	s.touched = s.touched[:0]
	s.seq = max(s.seq, seq)
	s.show()
}

// camera finds or makes a camera; in a replay it makes none.
func (s *shard) camera(id string, again bool) *camera {
	if c := s.cameras[id]; c != nil || again {
		return c
	}
	if len(s.cameras) >= s.cfg.MaxCameras {
		var oldest *camera
		for _, c := range s.cameras {
			if oldest == nil || c.seq < oldest.seq || c.seq == oldest.seq && c.id < oldest.id {
				oldest = c
			}
		}
		oldest.end()
		delete(s.cameras, oldest.id)
		s.stats.Forgotten++
		for i, c := range s.byCode {
			if c == oldest {
				s.byCode[i] = nil
			}
		}
	}
	c := newCamera(s, id)
	s.cameras[id] = c
	return c
}

func (s *shard) tick(now int64) {
	for _, c := range s.cameras {
		c.tick(now)
	}
	s.show()
}

func (s *shard) show() {
	shown := s.stats
	shown.Cameras = len(s.cameras)
	for _, c := range s.cameras {
		shown.Live += len(c.tracks)
		shown.Waiting += len(c.waiting) - c.head
	}
	s.mu.Lock()
	s.shown = shown
	s.mu.Unlock()
}

// floor is the least sequence of the log that is needed to make the waiting rows again.
func (s *shard) floor() uint64 {
	least := s.seq + 1
	for _, c := range s.cameras {
		for i := c.head; i < len(c.waiting); i++ {
			least = min(least, c.waiting[i].seq)
		}
	}
	return least
}

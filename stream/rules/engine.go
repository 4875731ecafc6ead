package rules

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	_ "time/tzdata" // the city's legal time, on machines without a time zone database

	"panormus/devices"
	"panormus/stream/batch"
)

// Registry is what the engine asks about devices; *devices.Registry is one.
type Registry interface {
	Lookup(id string) *devices.Asset
	Version() uint64
	All() []*devices.Asset
}

// Config is what an engine is made of. The zero value of any field is its default.
type Config struct {
	Partitions int            // default 16
	Registry   Registry       // nil for none: devices have no fields then
	Lat, Lon   float64        // of the city, degrees; default Palermo's Quattro Canti
	Location   *time.Location // of hour(), weekday()…; default Europe/Rome
	Lateness   time.Duration  // how far the partitions' clocks stay behind; default 30 s
	MaxDevices int            // default 1,000,000
	MaxKeys    int            // of one rule in the shared shard; default 100,000
	// MaxBaselines is of how many devices' metrics it is learned what they usually are, at 2.2 kB each; default
	// 100,000.
	MaxBaselines int
	// MaxPast is how many readings of late are kept, at 16 bytes each, to judge devices again when one comes late;
	// beyond it those that come very late correct nothing. Default 2,097,152.
	MaxPast int
	Forget  time.Duration // silence after which a device without open episodes is forgotten; default 7 days

	faults *faults // of the rules of one engine
}

func (c Config) withDefaults() Config {
	or := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	or(&c.Partitions, 16)
	or(&c.MaxDevices, 1_000_000)
	or(&c.MaxKeys, 100_000)
	or(&c.MaxBaselines, 100_000)
	or(&c.MaxPast, 1<<21)
	if c.Lat == 0 && c.Lon == 0 {
		c.Lat, c.Lon = 38.1157, 13.3615
	}
	if c.Lateness == 0 {
		c.Lateness = 30 * time.Second
	}
	if c.Forget == 0 {
		c.Forget = 7 * 24 * time.Hour
	}
	if c.Location == nil {
		loc, err := time.LoadLocation("Europe/Rome")
		if err != nil {
			loc = time.UTC
		}
		c.Location = loc
	}
	return c
}

// An Engine evaluates a set of rules. It is pure: it knows no network and no clock but the times
// it is given. Apply may run for different partitions at once; everything else, and Apply beside
// it, belongs to one goroutine. Stats may be asked by any.
type Engine struct {
	cfg    Config
	kind   string // onObservations or onAsking: whose rules
	twice  bool   // rules of many devices are judged twice: see settler
	second bool   // it is the engine of a settler: messages come in the order of their times
	early  bool   // another judges what is judged surely alone
	prog   *program
	shards []*shard
	shared *shared
	since  int64 // processing time from which silence counts, Unix ms; 0: not yet
	known  uint64
	census int64 // processing time of the last look at the registry
	sweep  int64
	tuning uint64 // of the registry's overrides at the last look
	loose  []made // events of no shard: of a changed set

	wereRules map[string]*Rule // of the snapshots it was restored from

	counts atomic.Pointer[counts]
}

// New makes an engine without state.
func New(cfg Config, set *Set) *Engine {
	e := newEngine(cfg, set, onObservations)
	e.twice = true
	if e.shared.settleWith(set, e.prog); e.shared.settler != nil {
		e.shared.settler.seeded = true
	}
	return e
}

func newEngine(cfg Config, set *Set, kind string) *Engine {
	e := &Engine{cfg: cfg.withDefaults(), kind: kind, wereRules: map[string]*Rule{}, prog: newProgramOf(set, kind, onObservations, false)}
	if e.cfg.faults == nil {
		e.cfg.faults = newFaults()
	}
	for i := range e.cfg.Partitions {
		e.shards = append(e.shards, newShard(e, i))
	}
	e.shared = newShared(e)
	e.counts.Store(newCounts(set, nil))
	return e
}

// Set is the rules that run.
func (e *Engine) Set() *Set { return e.prog.set }

// made is an event and its place in the order of all.
type made struct {
	seq uint64 // of the batch that caused it
	n   int    // within the batch
	batch.Event
}

// Settle ends a round: it judges the shared keys by what the partitions' devices did since the
// last, in the log's order, and returns all new events in that order. The caller owns them.
func (e *Engine) Settle() []batch.Event {
	e.isolate()
	var all []made
	var moves []transition
	var clocks []clockMove
	var posts []post
	var asks []ask
	c := e.counts.Load()
	for _, s := range e.shards {
		all = append(all, s.out...)
		moves = append(moves, s.moves...)
		clocks = append(clocks, s.clocks...)
		posts, asks = append(posts, s.posts...), append(asks, s.asks...)
		clear(s.posts)
		clear(s.asks)
		s.posts, s.asks = s.posts[:0], s.asks[:0]
		clear(s.out)
		clear(s.moves)
		s.out, s.moves, s.clocks = s.out[:0], s.moves[:0], s.clocks[:0]
		s.foldQuick()
		c.take(&s.count)
	}
	all = append(all, e.loose...)
	e.loose = nil
	slices.SortStableFunc(clocks, func(a, b clockMove) int { return cmp.Compare(a.seq, b.seq) })
	if len(posts)+len(asks)+len(e.shared.holding) > 0 {
		moves = append(moves, e.shared.judgeJoins(posts, asks, clocks)...)
	}
	e.shared.settleWindows(e.shards)
	all = append(all, e.shared.settle(moves, clocks)...)
	c.take(&e.shared.count)
	slices.SortStableFunc(all, func(a, b made) int {
		switch {
		case a.seq != b.seq:
			if a.seq < b.seq {
				return -1
			}
			return 1
		case a.n != b.n:
			return a.n - b.n
		}
		return strings.Compare(a.ID, b.ID)
	})
	events := make([]batch.Event, len(all))
	for i := range all {
		events[i] = all[i].Event
		c.event(&events[i])
	}
	c.devices.Store(int64(e.Devices()))
	return events
}

// Devices is how many devices the engine holds state of; one that speaks in two domains is two.
func (e *Engine) Devices() int {
	n := 0
	for _, s := range e.shards {
		n += s.devices.n
	}
	return n
}

// tickWindows moves the clocks of windows by processing time and judges those that are over.
func (e *Engine) tickWindows(now int64) {
	for _, s := range e.shards {
		s.winClock.ticked(now)
		s.moveWindows()
	}
	e.shared.settleWindows(e.shards)
	e.shared.tickWindows(now)
}

// Tick moves processing time to now, Unix ms: what has been silent too long raises, and clocks of
// partitions where nothing arrives follow. From the first call on silence counts. Call it only with all that the
// log holds applied.
func (e *Engine) Tick(now int64) {
	if e.since == 0 {
		e.since = now
	}
	e.tickWindows(now)
	e.takeCensus(now)
	for _, s := range e.shards {
		s.tick(now)
	}
	e.takeOverrides(now)
	e.shared.tick(now)
	if now-e.sweep > 600_000 {
		e.sweep = now
		for _, s := range e.shards {
			s.forget(now - e.cfg.Forget.Milliseconds())
		}
	}
}

// takeCensus gives the claimed devices of domains with rules of silence their state, so that one
// that never speaks is missed too. It looks at most once a minute, and only at a changed registry.
func (e *Engine) takeCensus(now int64) {
	if e.cfg.Registry == nil || now-e.census < 60_000 {
		return
	}
	version := e.cfg.Registry.Version()
	if e.census != 0 && version == e.known {
		return
	}
	e.census, e.known = now, version
	for _, a := range e.cfg.Registry.All() {
		pl := e.prog.plan(a.Domain)
		if a.Status != devices.Claimed || len(pl.absent) == 0 {
			continue
		}
		s := e.shards[partition(a.ID, len(e.shards))]
		if s.find(a.ID, a.Domain) == nil {
			d := s.device(a.ID, a.Domain)
			d.received = now
			s.watch(d)
		}
	}
}

// partition must agree with the log's: FNV-1a of the id.
func partition(id string, n int) int {
	h := uint32(2166136261)
	for i := range len(id) {
		h = (h ^ uint32(id[i])) * 16777619
	}
	return int(h % uint32(n))
}

var nan = math.NaN()

package live

import (
	"cmp"
	"hash/maphash"
	"iter"
	"log/slog"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"panormus/devices"
	"panormus/stream/batch"
)

// Registry is what the live state asks of the device registry.
type Registry interface {
	Lookup(id string) *devices.Asset
	Version() uint64
	Each() iter.Seq[*devices.Asset]
}

// A State is the live city. It is safe for concurrent use, but for Apply, ApplyEvents and Run, each
// of which belongs to one goroutine.
type State struct {
	registry Registry
	log      *slog.Logger
	metrics  *metrics
	names    *names
	seed     maphash.Seed
	shards   [64]shard

	mu      sync.RWMutex
	byIndex []*Device // by Device.Index; nil where removed
	sorted  []*Device // by id; nil while out of date
	count   int

	pendingMu sync.Mutex
	pending   []*Device
	wake      chan struct{}

	episodes episodes
	progress progress
	cameras  cameras
	observed applier

	registryVersion atomic.Uint64
}

type shard struct {
	mu   sync.RWMutex
	byID map[string]*Device
}

// New makes an empty state. The registry may be nil: then domains are those that devices publish under.
func New(registry Registry, log *slog.Logger, reg prometheus.Registerer) *State {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &State{
		registry: registry, log: log, names: newNames("position_lat", "position_lon"),
		seed: maphash.MakeSeed(), wake: make(chan struct{}, 1),
	}
	s.episodes.init()
	s.cameras.init()
	for i := range s.shards {
		s.shards[i].byID = map[string]*Device{}
	}
	s.metrics = newMetrics(reg, s)
	return s
}

func (s *State) shard(id string) *shard {
	return &s.shards[maphash.String(s.seed, id)%uint64(len(s.shards))]
}

// Lookup returns the device called id, or nil.
func (s *State) Lookup(id string) *Device {
	sh := s.shard(id)
	sh.mu.RLock()
	d := sh.byID[id]
	sh.mu.RUnlock()
	return d
}

// Len is how many devices there are.
func (s *State) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.count
}

// Devices returns every device in order of index, which is the order they appeared in; nil where one
// was removed. The slice must not be changed.
func (s *State) Devices() []*Device {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byIndex
}

// inOrder returns every device in order of id. The slice must not be changed.
func (s *State) inOrder() []*Device {
	s.mu.RLock()
	all := s.sorted
	s.mu.RUnlock()
	if all != nil {
		return all
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sorted != nil {
		return s.sorted
	}
	all = make([]*Device, 0, s.count)
	for _, d := range s.byIndex {
		if d != nil {
			all = append(all, d)
		}
	}
	slices.SortFunc(all, func(a, b *Device) int { return cmp.Compare(a.id, b.id) })
	s.sorted = all
	return all
}

// ensure returns the device called id and makes it if it is missing. A new one is on the list of the
// changed when a caller marks it.
func (s *State) ensure(domain, id string) *Device {
	sh := s.shard(id)
	sh.mu.RLock()
	d := sh.byID[id]
	sh.mu.RUnlock()
	if d != nil {
		return d
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if d := sh.byID[id]; d != nil {
		return d
	}
	d = &Device{id: id, domain: domain, lat: math.NaN(), lon: math.NaN(), ver: 1, metaVer: 1, alarm: s.episodes.severityOf(id)}
	if s.registry != nil {
		if a := s.registry.Lookup(id); a != nil {
			d.describe(a)
		}
	}
	sh.byID[id] = d
	s.mu.Lock()
	d.index = int32(len(s.byIndex))
	s.byIndex = append(s.byIndex, d)
	s.sorted = nil
	s.count++
	s.mu.Unlock()
	return d
}

// mark puts d on the list of the changed; the caller holds its lock and has counted ver up. It
// reports whether the caller must pass d to changed.
func (d *Device) mark(from uint32) bool {
	if d.dirty {
		return false
	}
	d.dirty, d.dirtyFrom = true, from
	return true
}

// changed hands over devices that mark reported.
func (s *State) changed(ds ...*Device) {
	if len(ds) == 0 {
		return
	}
	s.pendingMu.Lock()
	s.pending = append(s.pending, ds...)
	s.pendingMu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Apply takes a batch of observations. It keeps no slice of o, but its strings.
func (s *State) Apply(o *batch.Observations) { s.observed.apply(s, o) }

// An applier keeps its memory from one batch to the next. It belongs to one goroutine.
type applier struct {
	devs  []*Device
	ids   []uint32
	fresh []*Device
}

func (a *applier) apply(s *State, o *batch.Observations) {
	a.devs = resized(a.devs, len(o.Device.Values))
	a.ids = resized(a.ids, len(o.Metric.Values))
	for i, name := range o.Metric.Values {
		a.ids[i] = s.names.id(name)
	}
	late, beyond := 0, 0
	for i := 0; i < o.Len(); {
		who, at, j := o.Device.Index[i], o.Time[i], i+1
		for j < o.Len() && o.Device.Index[j] == who && o.Time[j] == at {
			j++
		}
		d := a.devs[who]
		if d == nil {
			d = s.ensure(o.Domain.At(i), o.Device.Values[who])
			a.devs[who] = d
		}
		d.mu.Lock()
		l, b := d.apply(o, a.ids, i, j)
		if d.mark(d.ver) {
			a.fresh = append(a.fresh, d)
		}
		d.mu.Unlock()
		late, beyond = late+l, beyond+b
		i = j
	}
	s.changed(a.fresh...)
	clear(a.fresh)
	a.fresh = a.fresh[:0]
	clear(a.devs)
	s.metrics.applied.Add(float64(o.Len() - late - beyond))
	s.metrics.late.Add(float64(late))
	s.metrics.beyond.Add(float64(beyond))
}

func resized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/4)
	}
	s = s[:n]
	clear(s)
	return s
}

// Changes tells that there may be something to Collect. One reader at most.
func (s *State) Changes() <-chan struct{} { return s.wake }

// A Change is a device that changed, since its version From, and where it was then, for filters.
type Change struct {
	Device  *Device
	From    uint32
	Removed bool
	Where   Where
}

// Where is what filters look at.
type Where struct {
	Domain, Zone string
	X, Y         uint16
	Placed       bool
	Camera       bool // the registry says that it is one
}

// Sees says whether somebody may see a device. It is called under the device's lock and asks it nothing.
type Sees func(id string, w Where) bool

// Collect appends to buf each device that changed since the last call. One caller at a time.
func (s *State) Collect(buf []Change) []Change {
	s.pendingMu.Lock()
	list := s.pending
	s.pending = nil
	s.pendingMu.Unlock()
	for _, d := range list {
		d.mu.Lock()
		d.dirty = false
		buf = append(buf, Change{Device: d, From: d.dirtyFrom, Removed: d.removed, Where: d.where()})
		d.mu.Unlock()
	}
	return buf
}

func (d *Device) where() Where {
	return Where{Domain: d.domain, Zone: d.zone(), X: d.x, Y: d.y, Placed: d.lat == d.lat, Camera: d.asset != nil && d.asset.Camera != nil}
}

// Where is what filters look at now, and false for a device that was removed.
func (d *Device) Where() (Where, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.where(), !d.removed
}

// Camera reports whether the device called id is a camera.
func (s *State) Camera(id string) bool {
	if d := s.Lookup(id); d != nil {
		w, _ := d.Where()
		return w.Camera
	}
	return false
}

// SyncRegistry brings names, zones and positions in step with the registry: devices that are
// registered and never spoke appear, those taken out of the registry go. Run does so by itself.
func (s *State) SyncRegistry() {
	if s.registry == nil {
		return
	}
	version := s.registry.Version()
	if s.registryVersion.Swap(version) == version {
		return
	}
	known := make(map[string]bool, len(s.Devices()))
	var changed []*Device
	var fresh []*devices.Asset
	describe := func(a *devices.Asset, d *Device) {
		d.mu.Lock()
		defer d.mu.Unlock()
		before := d.ver
		d.describe(a)
		if (d.ver != before || d.dirtyFrom == 0) && d.mark(d.ver) {
			changed = append(changed, d)
		}
	}
	for a := range s.registry.Each() {
		known[a.ID] = true
		if d := s.Lookup(a.ID); d != nil {
			describe(a, d)
		} else {
			fresh = append(fresh, a)
		}
	}
	// They appear in order; to sort all of 100,000 each time that one was added took a tenth of a core.
	slices.SortFunc(fresh, func(x, y *devices.Asset) int { return cmp.Compare(x.ID, y.ID) })
	for _, a := range fresh {
		describe(a, s.ensure(a.Domain, a.ID))
	}
	var gone []*Device
	for _, d := range s.Devices() {
		if d == nil || known[d.id] {
			continue
		}
		d.mu.Lock()
		was := d.asset != nil
		d.mu.Unlock()
		// Whoever was never registered spoke before the registry's news of it came.
		if was && s.registry.Lookup(d.id) == nil {
			gone = append(gone, d)
		}
	}
	s.remove(gone)
	for _, d := range gone {
		d.mu.Lock()
		d.removed = true
		d.ver++
		if d.mark(d.ver) {
			changed = append(changed, d)
		}
		d.mu.Unlock()
	}
	s.changed(changed...)
}

func (s *State) remove(gone []*Device) {
	if len(gone) == 0 {
		return
	}
	for _, d := range gone {
		sh := s.shard(d.id)
		sh.mu.Lock()
		delete(sh.byID, d.id)
		sh.mu.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byIndex = slices.Clone(s.byIndex) // readers hold the slice
	for _, d := range gone {
		s.byIndex[d.index] = nil
	}
	s.sorted = nil
	s.count -= len(gone)
}

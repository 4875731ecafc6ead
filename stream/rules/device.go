package rules

import (
	"slices"
	"unsafe"

	"panormus/devices"
)

// device is what the engine knows of one device in one domain. There may be a million: what most do
// not have is in more, and slices have no more than they need, so that it is 96 bytes. What most readings
// look at comes first.
type device struct {
	id string
	*home
	slots    *float64 // see nums
	time     int64    // newest event time, Unix ms; 0: none yet
	received int64    // receipt of its last message, or when it was first missed
	past     uint64   // its newest row of the shard's past
	version  uint32   // of the registry when asset was looked up
	gone     bool
	retuned  bool // the overrides of the registry changed since its rules were judged
	tunes    bool // tuned is not 0
	episodes episodes
	*more
	asset *devices.Asset
}

// episodes are those of one device: a slice in 16 bytes.
type episodes struct {
	first    *episode
	n, space uint32
}

// all are valid until the next set.
func (e *episodes) all() []episode { return unsafe.Slice(e.first, e.space)[:e.n] }

// set makes all those of the device; it keeps the slice.
func (e *episodes) set(all []episode) {
	*e = episodes{unsafe.SliceData(all), uint32(len(all)), uint32(cap(all))}
}

func (e *episodes) add(ep episode) *episode {
	e.set(append(e.all(), ep))
	return &e.all()[e.n-1]
}

// more is what a device has of texts, windows and series. Whoever sets any of it calls device.own before.
type more struct {
	windows []*winState  // by slot of the rule; nil where the plan has none, or no reading came
	one     [1]*winState // windows where there is one, as of many devices: so it is near
	texts   []string
	series  []seriesState
	hash    uint64 // of the id; 0: not asked yet
	tuned   uint64 // which overrides the registry has for it, 0 for none
	keys    []memberKey
	stories []*story
}

// memberKey is the key that a device holds up, being a member, of a rule.
type memberKey struct {
	rule int32 // in the plan
	key  string
}

// keyOf is the key of a rule that the device is a member of.
func (d *device) keyOf(rule int32) string {
	for _, k := range d.keys {
		if k.rule == rule {
			return k.key
		}
	}
	return ""
}

// join notes the key, "" for none, that the device is a member of by a rule.
func (d *device) join(rule int32, key string) {
	for i, k := range d.keys {
		if k.rule == rule {
			d.keys = slices.Delete(d.keys, i, i+1)
			break
		}
	}
	if key != "" {
		d.own().keys = append(d.keys, memberKey{rule, key})
	}
}

// nothing is the more of the devices that have none; it is never written.
var nothing = &more{}

// own gives the device a more of its own.
func (d *device) own() *more {
	if d.more == nil || d.more == nothing {
		d.more = &more{}
	}
	return d.more
}

// empty gives the device slots for its plan in which nothing was reported.
func (d *device) empty() {
	n := len(d.plan.nums)
	slots := make([]float64, max(2*n+len(d.plan.texts), 1)) // as all says
	for i := range n {
		slots[i] = nan
	}
	d.slots = unsafe.SliceData(slots)
	if len(d.plan.texts) == 0 {
		if d.more == nil {
			d.more = nothing
		} else if d.more != nothing {
			d.texts = nil
		}
		return
	}
	d.own().texts = make([]string, len(d.plan.texts))
	for i := range d.texts {
		d.texts[i] = unknownText
	}
}

// nums are the values by slot of the plan.
func (d *device) nums() []float64 { return d.all(d.plan)[:len(d.plan.nums)] }

// times are when the values were reported, numbers first, then texts: Unix ms, 0 for never. They are
// numbers, which hold every millisecond, for the sake of a single slice.
func (d *device) times() []float64 { return d.all(d.plan)[len(d.plan.nums):] }

// all are nums and, behind them, times; pl is the device's plan.
func (d *device) all(pl *plan) []float64 { return unsafe.Slice(d.slots, 2*len(pl.nums)+len(pl.texts)) }

func (d *device) seenAt(i int) int64 { return int64(d.times()[i]) }

func (d *device) see(i int, at int64) { d.times()[i] = float64(at) }

// standsFor is how many of its expected periods a device's reading stands.
const standsFor = 3

// stands reports whether d's last reading still counts at a time.
func (d *device) stands(at int64) bool {
	if d.asset == nil || d.asset.Period <= 0 || d.time == 0 {
		return true
	}
	return at-d.time <= standsFor*int64(d.asset.Period)/1e6
}

// zone is the registry's, "" for none.
func (d *device) zone() string {
	if d.asset == nil {
		return ""
	}
	return d.asset.Zone
}

// window is the device's state of a rule, made where there is none.
func (d *device) window(r *bound) *winState {
	if i := r.window.slot; i < len(d.windows) && d.windows[i] != nil {
		return d.windows[i]
	}
	return d.newWindow(r)
}

func (d *device) newWindow(r *bound) *winState {
	if d.windows == nil {
		if m := d.own(); d.plan.windows == 1 {
			m.windows = m.one[:]
		} else {
			m.windows = make([]*winState, d.plan.windows)
		}
	}
	w := d.windows[r.window.slot]
	if w == nil {
		w = &winState{rule: r, dev: d, winMore: noWinMore}
		d.windows[r.window.slot] = w
	}
	return w
}

// raisedWindows reports whether windows of the device have anything open.
func (d *device) raisedWindows() bool {
	return slices.ContainsFunc(d.windows, func(w *winState) bool { return w != nil && w.raised })
}

func (d *device) hashed() uint64 {
	if d.hash == 0 {
		d.own().hash = hashText(d.id)
	}
	return d.hash
}

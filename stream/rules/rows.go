package rules

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"panormus/stream/batch"
)

// What a rule may be about.
const (
	onObservations = "observations"
	OnDetections   = "detections"
	OnTracks       = "tracks"
	OnCounts       = "counts"
)

// rowColumns are the variables of rules about rows, beside the fields of the camera's registry
// entry; `zone` is the row's, not the registry's. They are named as the tables' columns are.
var rowColumns = map[string]map[string]kind{
	OnDetections: {
		"camera": kindText, "what": kindText, "track": kindText, "other": kindText, "class": kindText, "vendor_class": kindText,
		"score": kindNum, "zone": kindText, "rule": kindText, "direction": kindText, "speed_mps": kindNum, "heading_deg": kindNum,
		"box_left": kindNum, "box_top": kindNum, "box_right": kindNum, "box_bottom": kindNum, "center_x": kindNum, "center_y": kindNum,
		"value": kindNum, "purpose": kindText,
	},
	OnTracks: {
		"camera": kindText, "track": kindText, "class": kindText, "vendor_class": kindText, "score": kindNum, "zones": kindText,
		"duration_s": kindNum, "speed_mps": kindNum, "speed_max_mps": kindNum, "distance_m": kindNum, "heading_deg": kindNum,
		"start_x": kindNum, "start_y": kindNum, "end_x": kindNum, "end_y": kindNum, "purpose": kindText,
	},
	OnCounts: {
		"camera": kindText, "zone": kindText, "class": kindText, "count_in": kindNum, "count_out": kindNum, "seen": kindNum,
		"occupancy_avg": kindNum, "occupancy_max": kindNum, "dwell_s": kindNum, "visits": kindNum, "speed_mps": kindNum,
		"queue_max": kindNum, "purpose": kindText,
	},
}

// defaultHold is how long an episode lasts after its last row: counts come once a minute.
var defaultHold = map[string]time.Duration{OnDetections: time.Minute, OnTracks: time.Minute, OnCounts: 150 * time.Second}

// A Row is what a rule about rows is evaluated on: a detection, a track or the counts of a minute.
type Row struct {
	Camera   string
	Time     int64 // event time, Unix ms
	Received int64 // Unix ms
	num      func(name string) float64
	text     func(name string) string
}

// A RowEngine evaluates the rules of a set that are about rows. Other than a reading, which stands
// until the device's next one, a row is an occurrence: one that matches raises its key's episode, or
// keeps it up, and the episode ends when `clear` is true of a row of its key, or when no row has
// matched for `hold` of event time. With `for`, rows must go on matching that long, none further
// from the next than `hold`. It is pure and belongs to one goroutine.
type RowEngine struct {
	on       string
	cfg      Config
	prog     *program
	frame    frame
	sun      sunCache
	cameras  map[string]*device
	episodes map[rowKey]*rowEpisode
	keys     map[string]int // episodes by rule
	clock    int64          // event time less the lateness: what is over by it has ended
	next     int64          // nothing ends before it
	seq      uint64
	out      []made

	evaluated, matched, refused uint64
	counts                      atomic.Pointer[counts] // by rule; asked for by any goroutine
}

type rowKey struct{ Rule, Key string }

// rowEpisode is what a key's rows have come to. Its fields are those of the checkpoint.
type rowEpisode struct {
	State    episodeState   `json:"state"`
	Start    int64          `json:"start"`
	Last     int64          `json:"last"` // newest row that matched
	Received int64          `json:"received"`
	Camera   string         `json:"camera"`
	Domain   string         `json:"domain"`
	Zone     string         `json:"zone"`
	Text     string         `json:"text"`
	Values   map[string]any `json:"values"`
	Shadow   bool           `json:"shadow,omitempty"` // raised in shadow
}

// NewRowEngine makes an engine without state for the rules on one of OnDetections, OnTracks and
// OnCounts.
func NewRowEngine(cfg Config, on string, set *Set) *RowEngine {
	e := &RowEngine{
		on: on, cfg: cfg.withDefaults(), prog: newProgram(set, on, false), cameras: map[string]*device{},
		episodes: map[rowKey]*rowEpisode{}, keys: map[string]int{}, next: math.MaxInt64,
	}
	e.cfg.faults = newFaults()
	e.counts.Store(newCounts(set, nil))
	e.frame = frame{cfg: &e.cfg, sun: &e.sun}
	return e
}

// Idle reports whether no rule is about these rows.
func (e *RowEngine) Idle() bool {
	return len(e.prog.other.rules) == 0 && len(e.prog.plans) == 0 && len(e.episodes) == 0
}

// camera is who the row is of; where the registry has no entry it is one of domain safety.
func (e *RowEngine) camera(id string) *device {
	d := e.cameras[id]
	if d == nil {
		if len(e.cameras) >= e.cfg.MaxDevices {
			clear(e.cameras) // they are looked up again
		}
		d = &device{id: id, domain: "safety"}
		e.cameras[id] = d
	}
	if r := e.cfg.Registry; r != nil {
		if v := r.Version(); d.asset == nil || d.version != v {
			if d.asset, d.version = r.Lookup(id), v; d.asset != nil {
				d.domain = d.asset.Domain
			}
			d.plan = nil
		}
	}
	if d.plan == nil {
		d.plan = e.prog.plan(d.domain)
		d.nums, d.texts, d.seen = emptySlots(d.plan)
	}
	return d
}

// Apply evaluates one row of the batch at seq of the log. Rows must come in the log's order.
func (e *RowEngine) Apply(seq uint64, row *Row) {
	e.seq = seq
	now := min(row.Time, row.Received+maxAheadMs)
	e.advance(min(row.Time, row.Received)-e.cfg.Lateness.Milliseconds(), row.Received)
	d := e.camera(row.Camera)
	if len(d.plan.rules) == 0 {
		return
	}
	for i, name := range d.plan.nums {
		d.nums[i] = row.num(name)
	}
	for i, name := range d.plan.texts {
		d.texts[i] = row.text(name)
	}
	f := &e.frame
	f.nums, f.texts, f.dev, f.now, f.quality = d.nums, d.texts, d, now, 0
	for _, r := range d.plan.rules {
		e.evaluate(r, row, now)
	}
}

// maxAheadMs is how far ahead of receipt an event time counts.
const maxAheadMs = 60_000

func (e *RowEngine) evaluate(r *bound, row *Row, now int64) {
	e.evaluated++
	c := &e.counts.Load().rules[r.global]
	if c.evaluations.Add(1)%sampleEvery == 0 {
		defer func(began time.Time) {
			c.timed.Add(1)
			c.nanos.Add(time.Since(began).Nanoseconds())
		}(time.Now())
	}
	f := &e.frame
	f.failed, f.why = false, ""
	if r.clear != nil && e.keys[r.ID] > 0 && r.clear(f) == yes {
		if key, ok := e.keyOf(r, row); ok {
			k := rowKey{r.ID, key}
			if ep := e.episodes[k]; ep != nil && ep.State == raised && now >= ep.Start {
				e.end(r, k, ep, max(now, ep.Start), row.Received, "")
			}
		}
		return
	}
	switch r.when(f) {
	case undecided:
		c.undecided(f)
		return
	case no:
		return
	}
	e.matched++
	c.matches.Add(1)
	key, ok := e.keyOf(r, row)
	if !ok {
		return
	}
	k := rowKey{r.ID, key}
	ep := e.episodes[k]
	hold := r.holdMs()
	if ep != nil && ep.State == raised && now-ep.Last > hold { // over, though the clock has not come to it
		e.end(r, k, ep, ep.Last+hold, row.Received, noMore)
		ep = nil
	}
	if ep != nil && ep.State == closed && now > ep.Start {
		e.drop(k)
		ep = nil
	}
	switch {
	case ep == nil:
		if e.keys[r.ID] >= e.cfg.MaxKeys {
			e.refused++
			return
		}
		e.keys[r.ID]++
		ep = &rowEpisode{State: pending, Start: now, Last: now}
		e.episodes[k] = ep
	case ep.State == pending && now-ep.Last > hold:
		ep.Start, ep.Last = now, now
	case now < ep.Last:
		return // late: what came after it has been said
	default:
		ep.Last = now
	}
	ep.Received, ep.Camera, ep.Domain, ep.Zone = row.Received, row.Camera, f.dev.domain, f.asset().Zone
	if r.Key == "zone" {
		ep.Zone = key
	}
	e.next = min(e.next, ep.Last+hold)
	if ep.State == pending && now >= ep.Start+r.forMs {
		v := r.evidence(f, key, ep.Start)
		ep.State, ep.Text, ep.Values, ep.Shadow = raised, v.text, v.values, r.Shadow
		e.emit(r, k, ep, "raised", now, row.Received, "")
	}
}

// noMore is why an episode ended that nothing kept up.
const noMore = "no more of it"

func (r *bound) holdMs() int64 {
	if r.Hold > 0 {
		return r.Hold.Milliseconds()
	}
	return defaultHold[r.On].Milliseconds()
}

// keyOf is the key of a row; false where it has none.
func (e *RowEngine) keyOf(r *bound, row *Row) (string, bool) {
	switch {
	case r.key != nil:
		k, ok := r.key(&e.frame)
		return clip(k, 256), ok && k != "" && k != unknownText
	case r.Key == "zone":
		z := row.text("zone")
		return z, z != ""
	case r.Key == "domain":
		return e.frame.dev.domain, true
	}
	return row.Camera, true
}

// advance moves the event clock and ends what no row has kept up.
func (e *RowEngine) advance(to, received int64) {
	if to <= e.clock {
		return
	}
	e.clock = to
	if to < e.next {
		return
	}
	e.next = math.MaxInt64
	var over []rowKey
	for k, ep := range e.episodes {
		r := e.rule(k.Rule, ep.Domain)
		if r == nil || ep.Last+r.holdMs() <= to {
			over = append(over, k)
		} else {
			e.next = min(e.next, ep.Last+r.holdMs())
		}
	}
	slices.SortFunc(over, func(a, b rowKey) int {
		if c := e.episodes[a].Last - e.episodes[b].Last; c != 0 {
			return int(c)
		}
		return strings.Compare(a.Rule+"\x00"+a.Key, b.Rule+"\x00"+b.Key)
	})
	for _, k := range over {
		ep := e.episodes[k]
		if r := e.rule(k.Rule, ep.Domain); r != nil && ep.State == raised {
			e.end(r, k, ep, ep.Last+r.holdMs(), received, noMore)
		}
		e.drop(k)
	}
}

func (e *RowEngine) rule(id, domain string) *bound {
	for _, r := range e.prog.plan(domain).rules {
		if r.ID == id {
			return r
		}
	}
	return nil
}

// end clears an episode. Its place is kept for the rest of its first millisecond, whose ids are spent.
func (e *RowEngine) end(r *bound, k rowKey, ep *rowEpisode, at, received int64, reason string) {
	e.emit(r, k, ep, "cleared", at, received, reason)
	if at > ep.Start {
		e.drop(k)
		return
	}
	ep.State = closed
}

func (e *RowEngine) drop(k rowKey) {
	if _, ok := e.episodes[k]; !ok {
		return
	}
	delete(e.episodes, k)
	if e.keys[k.Rule]--; e.keys[k.Rule] <= 0 {
		delete(e.keys, k.Rule)
	}
}

func (e *RowEngine) emit(r *bound, k rowKey, ep *rowEpisode, state string, at, received int64, reason string) {
	ev := r.event(state, k.Key, ep.Start, at, received, evidence{text: ep.Text, values: ep.Values}, 0, reason)
	ev.Domain, ev.Device, ev.Zone = ep.Domain, ep.Camera, ep.Zone
	e.counts.Load().event(&ev)
	e.out = append(e.out, made{seq: e.seq, n: len(e.out), Event: ev})
}

// Settle returns the events since the last, in order. The caller owns them.
func (e *RowEngine) Settle() []batch.Event {
	e.isolate()
	out := make([]batch.Event, len(e.out))
	for i := range e.out {
		out[i] = e.out[i].Event
	}
	e.out = e.out[:0]
	return out
}

// Tick moves the clock where no rows come; now is processing time, Unix ms. Call it only with all
// that the log holds applied.
func (e *RowEngine) Tick(now int64) { e.advance(now-e.cfg.Lateness.Milliseconds(), now) }

// Replace makes set the rules that run. Episodes of rules that went, or whose logic is another now,
// end; the next Settle returns that.
func (e *RowEngine) Replace(set *Set, now int64) {
	next := newProgram(e.cfg.faults.without(set), e.on, false)
	for k, ep := range e.episodes {
		r := e.rule(k.Rule, ep.Domain)
		i := slices.IndexFunc(next.plan(ep.Domain).rules, func(b *bound) bool { return b.ID == k.Rule && r != nil && b.logic == r.logic })
		if i >= 0 {
			continue
		}
		if r != nil && ep.State == raised {
			reason := "the rule was changed or removed"
			if e.cfg.faults.of(r.Rule) != "" {
				reason = e.cfg.faults.reason(r.Rule)
			}
			e.emit(r, k, ep, "cleared", max(now, ep.Start), now, reason)
		}
		e.drop(k)
	}
	e.prog = next
	e.counts.Store(newCounts(next.set, e.counts.Load()))
	clear(e.cameras)
}

// rowState is a checkpoint.
type rowState struct {
	Clock    int64              `json:"clock"`
	Episodes []rowEpisodeOfRule `json:"episodes"`
}

type rowEpisodeOfRule struct {
	rowKey
	rowEpisode
}

// Snapshot writes the state between two rows.
func (e *RowEngine) Snapshot() ([]byte, error) {
	s := rowState{Clock: e.clock, Episodes: make([]rowEpisodeOfRule, 0, len(e.episodes))}
	for k, ep := range e.episodes {
		s.Episodes = append(s.Episodes, rowEpisodeOfRule{k, *ep})
	}
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("write the state of rules on %s: %w", e.on, err)
	}
	return b, nil
}

// Restore brings the engine to a snapshot; episodes of rules that are not there any more are left.
func (e *RowEngine) Restore(b []byte) error {
	var s rowState
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("read the state of rules on %s: %w", e.on, err)
	}
	e.clock, e.next = s.Clock, s.Clock
	for _, ep := range s.Episodes {
		r := e.rule(ep.Rule, ep.Domain)
		if r == nil || e.episodes[ep.rowKey] != nil {
			continue
		}
		kept := ep.rowEpisode
		if kept.State == raised && kept.Shadow != r.Shadow { // it ends as what it was raised as
			was, rule := *r, *r.Rule
			rule.Shadow, was.Rule = kept.Shadow, &rule
			e.emit(&was, ep.rowKey, &kept, "cleared", max(e.clock, kept.Start), kept.Received, "the rule was changed")
			continue
		}
		e.episodes[ep.rowKey] = &kept
		e.keys[ep.Rule]++
	}
	return nil
}

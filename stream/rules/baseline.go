package rules

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/common/ast"
)

// A baseline is what a metric of a device usually is at this hour of the week, by the city's time:
// baseline(x) is the value expected, baseline_z(x) how many times the usual spread x is away from it.
//
// What is learned are hours: when one is over, its mean, least and greatest reading go into the bucket of
// its hour of the week. So an hour is never judged by itself, and the hours of the past that the database
// keeps teach the same as those that come.

// How a baseline learns. An hour weighs as much as each before it until its bucket has seen five, and a
// fifth from then on, so what was n weeks ago weighs 0.8 to the power of n; one whose mean is further off
// than three spreads counts as if it were three off, so one bad day does not become what is expected.
const (
	hoursOfWeek      = 168
	baselineAtLeast  = 3    // hours that a bucket must have seen to say anything
	baselineWeight   = 0.2  // of an hour, at least
	baselineClip     = 3    // spreads
	baselineSpread   = 0.01 // of the expected value: the least that a spread is
	baselineHistory  = 42 * 24 * time.Hour
	maxBaselineHours = math.MaxUint8
)

// baselineCalls are the functions of a metric's usual value.
var baselineCalls = []string{"baseline", "baseline_z"}

// baseline is what is known of one metric of one device: 2.2 kB.
type baseline struct {
	mean     [hoursOfWeek]float64
	variance [hoursOfWeek]float32 // of readings about the mean, of the hour and of the weeks together
	hours    [hoursOfWeek]uint8   // seen

	baselineNow
}

// baselineNow is the hour in hand of a baseline.
type baselineNow struct {
	hour     int64 // since 1970; what of it was read is below
	bucket   uint8
	n        float64
	sum      float64
	low, top float64
}

// baselineHour is all of a baseline that a reading may change: the hour in hand, and what is known of its hour of
// the week.
type baselineHour struct {
	baselineNow
	mean     float64
	variance float32
	hours    uint8
}

func (b *baseline) now() baselineHour {
	return baselineHour{b.baselineNow, b.mean[b.bucket], b.variance[b.bucket], b.hours[b.bucket]}
}

func (b *baseline) takeBack(to baselineHour) {
	b.baselineNow = to.baselineNow
	b.mean[to.bucket], b.variance[to.bucket], b.hours[to.bucket] = to.mean, to.variance, to.hours
}

// An Hour is what readings of a metric, or numbers of a thing's rows, came to in one hour, as the database keeps them.
type Hour struct {
	Device, Domain, Metric string
	Of                     []string  // of rows: what tells the thing apart from others of the device
	Time                   time.Time // its beginning
	Count                  uint64
	Avg, Min, Max          float64
}

// HoursQuery asks for hours, From <= Time < To, of a domain and of metrics; "" is all domains. Of rows it says what
// kind they are (On, "" for readings), and by which columns those of a device are told apart (Of).
type HoursQuery struct {
	On       string
	From, To time.Time
	Domain   string
	Metrics  []string
	Of       []string
}

const hourMs = 3600_000

// hourOfWeek is the bucket of an hour since 1970, Monday's first is 0.
func hourOfWeek(hour int64, loc *time.Location) uint8 {
	t := time.UnixMilli(hour * hourMs).In(loc)
	return uint8((int(t.Weekday())+6)%7*24 + t.Hour())
}

// take adds a reading at (Unix ms). Readings of an hour that is over are not learned from.
func (b *baseline) take(at int64, v float64, loc *time.Location) {
	hour := floorDiv(at, hourMs)
	if b.n > 0 && hour < b.hour {
		return
	}
	if b.n == 0 || hour > b.hour {
		b.endHour()
		b.hour, b.bucket = hour, hourOfWeek(hour, loc)
		b.n, b.sum, b.low, b.top = 0, 0, v, v
	}
	b.n++
	b.sum += v
	b.low, b.top = min(b.low, v), max(b.top, v)
}

// knows makes what is known that of another, but for the hour in hand.
func (b *baseline) knows(of *baseline) {
	b.mean, b.variance, b.hours = of.mean, of.variance, of.hours
}

func (b *baseline) endHour() {
	if b.n > 0 {
		b.learn(b.bucket, b.n, b.sum/b.n, b.low, b.top)
	}
}

// learn takes an hour of n readings.
func (b *baseline) learn(bucket uint8, n, avg, low, top float64) {
	if avg-avg != 0 || top-low-(top-low) != 0 { // not finite
		return
	}
	k := b.hours[bucket]
	mean, variance := b.mean[bucket], float64(b.variance[bucket])
	within, by := (top-low)/spreadOfRange(n), avg-mean
	if k == 0 {
		mean, variance = avg, within*within
	} else {
		if k >= baselineAtLeast {
			if limit := baselineClip * spread(mean, variance); limit > 0 {
				by, within = max(min(by, limit), -limit), min(within, limit)
			}
		}
		weight := max(1/(float64(k)+1), baselineWeight)
		mean += weight * by
		variance += weight * ((1-weight)*by*by + within*within - variance)
	}
	b.mean[bucket], b.variance[bucket] = mean, float32(variance)
	if b.hours[bucket] = k + 1; k == maxBaselineHours {
		b.hours[bucket] = k
	}
}

// spread is the usual distance of a reading from what is expected.
func spread(mean, variance float64) float64 {
	return max(math.Sqrt(variance), baselineSpread*math.Abs(mean))
}

// at is what is expected in the hour in hand, and how many spreads v is away from it. Both are NaN while
// the bucket has not seen enough, the second also where the expected value is always 0.
func (b *baseline) at(v float64) (expected, z float64) {
	if b.hours[b.bucket] < baselineAtLeast {
		return nan, nan
	}
	expected, z = b.mean[b.bucket], nan
	if s := spread(expected, float64(b.variance[b.bucket])); s > 0 {
		z = (v - expected) / s
	}
	return expected, z
}

// spreadOfRange is how many standard deviations lie between the least and the greatest of n readings, as a
// rule: d2 of control charts.
func spreadOfRange(n float64) float64 {
	at := [...][2]float64{{2, 1.128}, {3, 1.693}, {4, 2.059}, {5, 2.326}, {7, 2.704}, {10, 3.078}, {15, 3.472}, {25, 3.931}, {60, 4.639}, {100, 5.015}, {1000, 6.483}, {10_000, 7.693}}
	if n <= at[0][0] {
		return at[0][1]
	}
	for i := 1; i < len(at); i++ {
		if a, b := at[i-1], at[i]; n <= b[0] {
			return a[1] + (b[1]-a[1])*math.Log(n/a[0])/math.Log(b[0]/a[0])
		}
	}
	return at[len(at)-1][1]
}

// takeBaseline adds a reading to a device's baseline, which it makes where there is room for one. A clock
// that runs ahead teaches no hours of the future.
func (s *shard) takeBaseline(state *seriesState, at int64, v float64) {
	if v-v != 0 {
		return
	}
	if state.base == nil && !s.newBaseline(state) {
		return
	}
	state.learn(min(at, s.received), at, v, s.e.cfg.Location)
}

// learn adds a reading of a time, which was heard of at another, to the state's baseline.
func (state *seriesState) learn(heard, at int64, v float64, loc *time.Location) {
	state.base.take(heard, v, loc)
	state.at = at
	state.value, state.a = state.base.at(v)
}

// newBaseline is false where the shard has as many as it may.
func (s *shard) newBaseline(state *seriesState) bool {
	if s.baselines >= (s.e.cfg.MaxBaselines+len(s.e.shards)-1)/max(len(s.e.shards), 1) {
		s.count.baselinesRefused++
		return false
	}
	s.baselines++
	state.base = &baseline{}
	return true
}

// dropBaselines makes the room of a device's baselines free.
func (s *shard) dropBaselines(all []seriesState) {
	for i := range all {
		if all[i].base != nil {
			s.baselines--
		}
	}
}

// learned is a domain's metric whose past a shard has been taught, or was found not to be there; domain
// "" is those that no rule names.
type learned struct{ domain, metric string }

// unlearned are the metrics of baselines whose past a partition among these was not taught yet.
func (e *Engine) unlearned(partitions []int) []learned {
	var out []learned
	for _, pl := range e.prog.all() {
		for i := range pl.series {
			l := learned{pl.domain, pl.series[i].metric}
			missing := func(p int) bool { return !e.shards[p].learned[l] }
			if pl.series[i].fn == "baseline" && slices.ContainsFunc(partitions, missing) {
				out = append(out, l)
			}
		}
	}
	slices.SortFunc(out, func(a, b learned) int {
		return cmp.Or(strings.Compare(a.domain, b.domain), strings.Compare(a.metric, b.metric))
	})
	return out
}

// A lesson is what the past teaches, by device.
type lesson struct {
	on     string // what it is of: "" or onAsking for readings, of those who ask
	of     learned
	loc    *time.Location
	byKey  map[[2]string]*taught // device and domain; of rows device and what tells the thing apart
	order  [][2]string
	forget time.Duration
	most   int // devices
	left   int // devices that there was no room for
}

type taught struct {
	baseline
	last time.Time
}

// newLesson is an empty one of a metric.
func (e *Engine) newLesson(of learned) *lesson { return newLesson(&e.cfg, "", of) }

func newLesson(cfg *Config, on string, of learned) *lesson {
	return &lesson{on: on, of: of, loc: cfg.Location, byKey: map[[2]string]*taught{}, most: cfg.MaxBaselines, forget: cfg.Forget}
}

// kind is that of the rows it is of; nil for readings.
func (l *lesson) kind() *rowKind { return rowKinds[l.on] }

// query is for the hours that the lesson is of, up to a time.
func (l *lesson) query(to time.Time) HoursQuery {
	to = to.UTC().Truncate(time.Hour)
	q := HoursQuery{From: to.Add(-baselineHistory), To: to, Domain: l.of.domain, Metrics: []string{l.of.metric}}
	if k := l.kind(); k != nil {
		q.On, q.Of = k.on, k.tells()
	}
	return q
}

// take learns an hour; those of one thing come in order.
func (l *lesson) take(h Hour) error {
	k := [2]string{h.Device, h.Domain}
	if l.kind() != nil {
		k[1] = thingOf(h.Of)
	}
	t := l.byKey[k]
	if t == nil {
		if len(l.order) >= l.most {
			l.left++
			return nil
		}
		t = &taught{}
		l.byKey[k] = t
		l.order = append(l.order, k)
	}
	t.learn(hourOfWeek(h.Time.Unix()/3600, l.loc), float64(h.Count), h.Avg, h.Min, h.Max)
	t.last = h.Time
	return nil
}

// teach puts into the partitions what a lesson has of their devices. Call it between rounds. A device that
// has not spoken yet gets its state, unless it has been silent for as long as one is remembered.
func (e *Engine) teach(l *lesson, partitions []int, to time.Time) {
	for _, k := range l.order {
		if p := partition(k[0], len(e.shards)); slices.Contains(partitions, p) {
			e.shards[p].teach(l, k, to)
			if st := e.shared.settler; st != nil && st.seeded { // else it is given all that the first one knows
				st.engine.shards[0].teach(l, k, to)
			}
		}
	}
	for _, p := range partitions {
		s := e.shards[p]
		if s.learned == nil {
			s.learned = map[learned]bool{}
		}
		s.learned[l.of] = true
		s.keepLearned(e.prog) // its rule may have gone since
	}
}

// teach gives a device what a lesson has of it, by its id and domain.
func (s *shard) teach(l *lesson, k [2]string, to time.Time) {
	id, domain, t := k[0], k[1], l.byKey[k]
	pl := s.e.prog.plan(domain)
	i := slices.IndexFunc(pl.series, func(s seriesPlan) bool { return s.fn == "baseline" && s.metric == l.of.metric })
	if pl.domain != l.of.domain || i < 0 || to.Sub(t.last) > l.forget {
		return
	}
	d := s.find(id, domain)
	if d == nil {
		if s.devices.n >= s.bound {
			return
		}
		d = s.device(id, domain)
		d.received = to.UnixMilli()
	}
	if d.series == nil {
		d.own().series = emptySeries(pl)
	}
	if state := &d.series[i]; state.base != nil || s.newBaseline(state) {
		state.base.knows(&t.baseline)
		s.blank(d)                      // what came before was not judged by it
		state.value, state.a = nan, nan // until the next reading
	}
}

// keepLearned forgets what was taught for rules that the program does not have.
func (s *shard) keepLearned(next *program) {
	for l := range s.learned {
		pl := next.plan(l.domain)
		if pl.domain != l.domain || !slices.ContainsFunc(pl.series, func(p seriesPlan) bool { return p.fn == "baseline" && p.metric == l.metric }) {
			delete(s.learned, l)
		}
	}
}

// all are the plans of a program.
func (p *program) all() []*plan {
	out := []*plan{p.other}
	for _, pl := range p.plans {
		out = append(out, pl)
	}
	return out
}

// baseline writes a device's baseline; nil is none.
func (w *writer) baseline(b *baseline) {
	if b == nil {
		w.uint(0)
		return
	}
	w.uint(1)
	for i, n := range b.hours {
		if w.uint(uint64(n)); n > 0 {
			w.number(b.mean[i])
			w.uint(uint64(math.Float32bits(b.variance[i])))
		}
	}
	w.int(b.hour)
	w.uint(uint64(b.bucket))
	for _, v := range []float64{b.n, b.sum, b.low, b.top} {
		w.number(v)
	}
}

func (r *reader) baseline() *baseline {
	if r.uint() == 0 {
		return nil
	}
	b := &baseline{}
	for i := range b.hours {
		if n := r.uint(); n > 0 {
			b.hours[i] = uint8(min(n, maxBaselineHours))
			b.mean[i], b.variance[i] = r.number(), math.Float32frombits(uint32(r.uint()))
		}
	}
	b.hour = r.int()
	b.bucket = uint8(min(r.uint(), hoursOfWeek-1))
	b.n, b.sum, b.low, b.top = r.number(), r.number(), r.number(), r.number()
	return b
}

// learned writes what a shard was taught.
func (w *writer) learned(all map[learned]bool) {
	var texts []string
	for l := range all {
		texts = append(texts, l.domain+"\x00"+l.metric)
	}
	slices.Sort(texts)
	w.texts(texts)
}

func (r *reader) learned() map[learned]bool {
	out := map[learned]bool{}
	for _, text := range r.texts() {
		domain, metric, _ := strings.Cut(text, "\x00")
		out[learned{domain, metric}] = true
	}
	return out
}

// baselineCall makes a call of a metric's baseline a variable.
func (w *rewriter) baselineCall(e ast.Expr, fn string, args []ast.Expr) {
	if !w.aboutReadings(e, fn) {
		return
	}
	if k := rowKinds[w.on]; k != nil && k.fleeting {
		w.failID(w.e, e.ID(), "%s() of %s, of which each tells of an object that is soon gone and has no usual hour; want it on counts or tracks", fn, w.on)
		return
	}
	if len(args) != 1 {
		w.failID(w.e, e.ID(), "%s(): found %d arguments, want a metric: %s(level_mm)", fn, len(args), fn)
		return
	}
	if name, ok := w.metricOf(args[0], fn, "level_mm"); ok {
		w.addSeries(e, series{fn: fn, metric: name})
	}
}

package rules

import (
	"math"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"github.com/paulmach/orb"

	"panormus/devices"
)

// enter("zone") and leave("zone") are true of the message in which a device came from outside into a zone,
// or went out of it, by the positions that it reports. A fence is what a device keeps of one zone; it is
// held, and in snapshots, as a series is: metric is the zone, ms the margin in metres.

const fenceFn = "fence"

var fenceCalls = []string{"enter", "leave"}

// maxMargin bounds how far outside a zone a device may have to be to have left it, in metres.
const maxMargin = 10_000

// fenceCall makes enter("zone") or leave("zone", metres) a variable.
func (w *rewriter) fenceCall(e ast.Expr, fn string, args []ast.Expr) {
	if !w.aboutReadings(e, fn) {
		return
	}
	if k := rowKinds[w.on]; k != nil && !k.fleeting {
		why := "which say of no place"
		if k.columns[positionMetrics[0]] != kindNone {
			why = "of which each is at one place, where its object was last"
		}
		w.failID(w.e, e.ID(), "%s() of %s, %s; want it on detections or observations", fn, w.on, why)
		return
	}
	zone, ok := "", len(args) == 1 || len(args) == 2
	margin := 0.0
	if ok {
		zone, ok = literalText(args[:1])
	}
	if ok && len(args) == 2 {
		switch v := args[1].AsLiteral().(type) {
		case types.Int:
			margin = float64(v)
		case types.Double:
			margin = float64(v)
		default:
			ok = false
		}
	}
	if !ok || zone == "" || !(margin >= 0 && margin <= maxMargin) {
		w.failID(w.e, e.ID(), `%s(): want the id of one zone in quotes, and perhaps metres from 0 to %d: %s("port", 20)`, fn, maxMargin, fn)
		return
	}
	w.position()
	s := series{fn: fenceFn, metric: zone, span: time.Duration(math.Round(margin)) * time.Millisecond}
	name := fn + `("` + zone + `")`
	if margin > 0 {
		name = fn + `("` + zone + `", ` + formatNumber(margin, 0) + ")"
	}
	w.vars["@"+name] = variable{source: fromFence, kind: kindNum, name: name, series: s}
	e.SetKindCase(w.nonZero(e.ID(), "@"+name, operators.NotEquals))
}

// fence is 1 in the message in which the device crossed the zone's border this way, 0 in others, and NaN
// while it is not known where it is.
func (t typed) fence(v variable) numFunc {
	slot := t.plan.seriesSlot(v.series)
	want := 1.0
	if strings.HasPrefix(v.name, "leave") {
		want = -1
	}
	return func(f *frame) float64 {
		s := f.dev.series
		switch {
		case slot >= len(s) || s[slot].n == 0:
			return math.NaN()
		case s[slot].value == want && s[slot].at == f.own:
			return 1
		}
		return 0
	}
}

// takeFences moves the device's fences by the position that the message of a time had, if it had one that
// is the newest.
func (s *shard) takeFences(d *device, pl *plan, at int64) {
	lat, lon := pl.metrics[positionMetrics[0]].num, pl.metrics[positionMetrics[1]].num
	if d.seenAt(lat) != at || d.seenAt(lon) != at {
		return
	}
	if d.series == nil {
		d.own().series = emptySeries(pl)
	}
	for _, i := range pl.fences {
		s.keepSeries(d, i)
	}
	pl.crossFences(s.e.cfg.Registry, d.series, d.nums()[lat], d.nums()[lon], at)
}

// crossFences gives all fences among series a position.
func (pl *plan) crossFences(registry Registry, all []seriesState, lat, lon float64, at int64) {
	zones, ok := registry.(zoner)
	if !ok {
		return
	}
	for _, i := range pl.fences {
		if z := zones.Zone(pl.series[i].metric); z != nil {
			pl.series[i].cross(&all[i], z, lat, lon, at)
		}
	}
}

// cross takes a position. A device is in from the border on, and out when it is further from the zone than
// the margin; the first position tells only where it is.
func (p *seriesPlan) cross(s *seriesState, z *devices.Zone, lat, lon float64, at int64) {
	in := z.Contains(lat, lon)
	if !in && s.a == 1 && p.ms > 0 {
		in = outsideM(z, lat, lon) <= float64(p.ms)
	}
	now := 0.0
	if in {
		now = 1
	}
	s.value = 0
	if s.n != 0 && now != s.a {
		s.value = now - s.a
	}
	s.a, s.n, s.at = now, 1, at
}

// outsideM is how far a place outside of a zone is from it, in metres: on a plane, which is good to a part
// in a thousand over the kilometres of a margin.
func outsideM(z *devices.Zone, lat, lon float64) float64 {
	const metres = 6_371_008.8 * math.Pi / 180 // a degree
	east := metres * math.Cos(lat*math.Pi/180)
	nearest := math.Inf(1)
	for _, ring := range z.Rings() {
		for i := 1; i < len(ring); i++ {
			a, b := plane(ring[i-1], lat, lon, east, metres), plane(ring[i], lat, lon, east, metres)
			dx, dy := b[0]-a[0], b[1]-a[1]
			t := 0.0
			if l := dx*dx + dy*dy; l > 0 {
				t = min(max(-(a[0]*dx+a[1]*dy)/l, 0), 1)
			}
			nearest = min(nearest, math.Hypot(a[0]+t*dx, a[1]+t*dy))
		}
	}
	return nearest
}

func plane(p orb.Point, lat, lon, east, north float64) [2]float64 {
	return [2]float64{(p.Lon() - lon) * east, (p.Lat() - lat) * north}
}

// fenceSlot is where devices of the plan keep a fence.
func (pl *plan) fenceSlot(s series) int {
	pl.series = append(pl.series, seriesPlan{series: s, ms: s.span.Milliseconds(), step: 1})
	pl.fences = append(pl.fences, len(pl.series)-1)
	return slices.Max(pl.fences)
}

package tracks

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"

	"panormus/stream/batch"
)

// table is what the tables of the database hold in the end.
type tables struct {
	tracks map[string]batch.Track
	counts map[string]batch.Count
}

func newTables() *tables {
	return &tables{tracks: map[string]batch.Track{}, counts: map[string]batch.Count{}}
}

func (tb *tables) add(tracks []batch.Track, counts []batch.Count) {
	for _, t := range tracks {
		if old, ok := tb.tracks[t.ID]; !ok || !t.Received.Before(old.Received) {
			tb.tracks[t.ID] = t
		}
	}
	for _, c := range counts {
		key := fmt.Sprint(c.Camera, "|", c.Zone, "|", c.Class, "|", c.Time.UnixMilli())
		if old, ok := tb.counts[key]; !ok || c.Version >= old.Version {
			tb.counts[key] = c
		}
	}
}

// lines are the rows as texts, without what depends on when they were made.
func (tb *tables) lines() []string {
	var out []string
	for _, t := range tb.tracks {
		out = append(out, fmt.Sprintf("track %+v", t))
	}
	for _, c := range tb.counts {
		if line := countLine(c); line != "" {
			out = append(out, line)
		}
	}
	sort.Strings(out)
	return out
}

func countLine(c batch.Count) string {
	if c.In+c.Out+c.Seen+c.OccupancyMax+c.Visits+c.SpeedN+c.QueueMax == 0 {
		return ""
	}
	return fmt.Sprintf("count %s zone %q %s %s in %d out %d seen %d occupancy %.9f max %d dwell %.3f visits %d speed %.6f/%d queue %d", c.Camera, c.Zone,
		c.Class, c.Time.Format("15:04:05"), c.In, c.Out, c.Seen, c.OccupancyAvg, c.OccupancyMax, c.DwellS, c.Visits, c.SpeedSumMps, c.SpeedN, c.QueueMax)
}

func same(t testing.TB, got, want []string) {
	t.Helper()
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("missing: %s", w)
		}
	}
	for _, g := range got {
		if !slices.Contains(want, g) {
			t.Errorf("too many: %s", g)
		}
	}
}

const noon = int64(1_790_000_000_000 / minuteMs * minuteMs)

// street is made-up rows of a camera: objects that come, go, vanish for a while and are in zones or
// not, lines crossed, a counter that is reset.
func street(rnd *rand.Rand, camera string) []batch.Detection {
	var rows []batch.Detection
	add := func(t int64, what string) *batch.Detection {
		r := batch.Absent()
		r.Time, r.Received, r.Camera, r.What, r.Purpose, r.Expires = t, t+50, camera, what, "traffic", t+3_600_000
		rows = append(rows, r)
		return &rows[len(rows)-1]
	}
	classes := []string{batch.ClassPerson, batch.ClassCar, batch.ClassTruck, batch.ClassUnknown}
	for id := range 40 {
		track := fmt.Sprint("t", id%30) // ten ids come again
		class := classes[id%30%4]
		t := noon + int64(id)*20_000 + rnd.Int64N(15_000)
		if id >= 30 {
			t = noon + int64(id-30)*20_000 + 250_000 + rnd.Int64N(50_000)
		}
		zone := ""
		for range 1 + rnd.IntN(40) {
			r := add(t, batch.WhatObject)
			r.Track, r.Class, r.Score, r.Zone = track, class, 0.5+rnd.Float32()/2, zone
			if rnd.IntN(10) == 0 && class != batch.ClassUnknown {
				r.Class, r.Score = classes[rnd.IntN(len(classes))], 0.01
			}
			if rnd.IntN(4) == 0 {
				zone = []string{"", "a", "b"}[rnd.IntN(3)]
			}
			switch rnd.IntN(20) {
			case 0:
				t += 40_000
			case 1:
				t += 60_000 // just the same
			default:
				t += 100 + rnd.Int64N(900)
			}
		}
	}
	value := 1000.0
	for t := noon; t < noon+900_000; t += 10_000 {
		add(t, batch.WhatFrame)
		l := add(t+rnd.Int64N(9_000), batch.WhatLineCrossed)
		l.Rule, l.Class, l.Direction = "stop", batch.ClassCar, []string{"in", "out", "", "right_to_left"}[rnd.IntN(4)]
		value += float64(rnd.IntN(5))
		if rnd.IntN(20) == 0 {
			value = float64(rnd.IntN(3))
		}
		c := add(t+3, batch.WhatCount)
		c.Rule, c.Class, c.Value = "gate", batch.ClassPerson, value
	}
	return rows
}

// reference makes of rows what there is to be made, all at once and as plainly as can be.
func reference(rows []batch.Detection) []string {
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b batch.Detection) int { return int(a.Time - b.Time) })
	type stay struct{ from, to int64 }
	type object struct {
		id, class string
		frames    []batch.Detection
	}
	var objects []*object
	last := map[string]*object{}
	cells := map[string]*batch.Count{}
	cell := func(t int64, zone, class string) *batch.Count {
		start := minuteOf(t)
		key := fmt.Sprint(zone, "|", class, "|", start)
		if cells[key] == nil {
			cells[key] = &batch.Count{Camera: rows[0].Camera, Zone: zone, Class: class, Time: at(start)}
		}
		return cells[key]
	}
	counter := math.NaN()
	for _, r := range rows {
		switch r.What {
		case batch.WhatObject:
			o := last[r.Track]
			if o == nil || r.Time-o.frames[len(o.frames)-1].Time > 60_000 {
				o = &object{id: r.Track}
				objects, last[r.Track] = append(objects, o), o
			}
			o.frames = append(o.frames, r)
		case batch.WhatLineCrossed:
			if r.Direction == "out" || r.Direction == "right_to_left" {
				cell(r.Time, r.Rule, r.Class).Out++
			} else {
				cell(r.Time, r.Rule, r.Class).In++
			}
		case batch.WhatCount:
			switch {
			case r.Value >= counter:
				cell(r.Time, r.Rule, r.Class).In += int64(r.Value - counter)
			case r.Value < counter:
				cell(r.Time, r.Rule, r.Class).In += int64(r.Value)
			}
			counter = r.Value
		}
	}
	var out []string
	type visits struct {
		o    *object
		zone string
		all  []stay
	}
	var all []visits
	for _, o := range objects {
		votes := map[string]float32{}
		for _, f := range o.frames {
			votes[f.Class] += f.Score
		}
		delete(votes, batch.ClassUnknown)
		o.class = batch.ClassUnknown
		for c, v := range votes {
			if v > votes[o.class] {
				o.class = c
			}
		}
		view := visits{o, "", []stay{{o.frames[0].Time, o.frames[len(o.frames)-1].Time}}}
		all = append(all, view)
		for _, zone := range []string{"a", "b"} {
			v := visits{o: o, zone: zone}
			inside := false
			for _, f := range o.frames {
				switch {
				case f.Zone == zone && inside:
					v.all[len(v.all)-1].to = f.Time
				case f.Zone == zone:
					inside = true
					v.all = append(v.all, stay{f.Time, f.Time})
				case inside && f.Time-v.all[len(v.all)-1].to >= 1000:
					inside = false
				}
			}
			all = append(all, v)
		}
		out = append(out, fmt.Sprintf("%s %s %s %s %d %d", o.id, o.class, at(view.all[0].from), at(view.all[0].to), len(o.frames), view.all[0].to+50))
	}
	for start := noon; start < noon+2_000_000; start += minuteMs {
		end := start + minuteMs
		parts := map[string][]stay{}
		for _, v := range all {
			seen := false
			for _, s := range v.all {
				if s.from >= end || s.to < start {
					continue
				}
				c := cell(start, v.zone, v.o.class)
				if !seen {
					c.Seen++
					seen = true
				}
				if s.from >= start {
					c.In++
				}
				if s.to < end {
					c.Out, c.Visits, c.DwellS = c.Out+1, c.Visits+1, c.DwellS+float64(s.to-s.from)/1000
				}
				p := stay{max(s.from, start), min(s.to, end)}
				c.OccupancyAvg += float64(p.to-p.from) / minuteMs
				key := v.zone + "|" + v.o.class
				parts[key] = append(parts[key], p)
				for _, moment := range parts[key] {
					n := int64(0)
					for _, other := range parts[key] {
						if other.from <= moment.from && moment.from <= other.to {
							n++
						}
					}
					c.OccupancyMax = max(c.OccupancyMax, n)
				}
			}
		}
	}
	for _, c := range cells {
		if line := countLine(*c); line != "" {
			out = append(out, line)
		}
	}
	sort.Strings(out)
	return out
}

// brief is lines with tracks as the reference has them.
func (tb *tables) brief() []string {
	var out []string
	for _, t := range tb.tracks {
		out = append(out, fmt.Sprintf("%s %s %s %s %d %d", t.Track, t.Class, t.Start, t.End, t.Detections, t.Received.UnixMilli()))
	}
	for _, l := range tb.lines() {
		if l[:5] == "count" {
			out = append(out, l)
		}
	}
	sort.Strings(out)
	return out
}

// shuffled returns rows as they may arrive: each up to 10 s of event time after others.
func shuffled(rnd *rand.Rand, rows []batch.Detection) []batch.Detection {
	type arrival struct {
		at  int64
		row batch.Detection
	}
	all := make([]arrival, len(rows))
	for i, r := range rows {
		all[i] = arrival{r.Time + rnd.Int64N(latenessMs), r}
	}
	slices.SortStableFunc(all, func(a, b arrival) int { return int(a.at - b.at) })
	out := make([]batch.Detection, len(rows))
	for i := range all {
		out[i] = all[i].row
	}
	return out
}

func batches(rnd *rand.Rand, rows []batch.Detection, most int) []*batch.Detections {
	var out []*batch.Detections
	for len(rows) > 0 {
		n := min(1+rnd.IntN(most), len(rows))
		d := &batch.Detections{}
		for i := range n {
			d.Append(&rows[i])
		}
		out, rows = append(out, d), rows[n:]
	}
	return out
}

// finish tells an engine that nothing more comes.
func finish(e *Engine, tb *tables) {
	now := int64(1 << 50)
	for range 2 {
		e.Tick(0, now)
		e.Tick(0, now)
		now += 1_000_000
		e.Tick(0, now)
		tb.add(e.Take(0))
	}
}

func TestLikeTheReference(t *testing.T) {
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		rows := street(rnd, "cam")
		want := reference(rows)
		if len(want) < 100 {
			t.Fatalf("%d rows, want a street worth of testing", len(want))
		}
		for _, most := range []int{1, 50, 5000} {
			e, tb := New(Config{}), newTables()
			for i, d := range batches(rnd, shuffled(rnd, rows), most) {
				e.Apply(0, uint64(i+1), d)
				tb.add(e.Take(0))
			}
			finish(e, tb)
			same(t, tb.brief(), want)
			if st := e.Stats(); st.Late+st.Dropped+st.Hurried+st.Refused != 0 || st.Rows != uint64(len(rows)) || st.Waiting != 0 {
				t.Errorf("%+v, want %d rows and none late", st, len(rows))
			}
			if t.Failed() {
				t.Fatalf("seed %d, batches of up to %d", seed, most)
			}
		}
	}
}

// An engine that is restored from any snapshot and fed from its floor on makes in the end what one
// that went on makes, to the last digit.
func TestRestoreChangesNothing(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		rows := append(street(rnd, "cam"), street(rnd, "other")...)
		work := batches(rnd, shuffled(rnd, rows), 30)
		e, tb := New(Config{}), newTables()
		for i, d := range work {
			e.Apply(0, uint64(i+1), d)
		}
		tb.add(e.Take(0))
		finish(e, tb)
		want := tb.lines()

		e, tb = New(Config{}), newTables()
		kept, _ := e.Snapshot(0, 0)
		for i := 0; i < len(work); i++ {
			e.Apply(0, uint64(i+1), work[i])
			tb.add(e.Take(0))
			if rnd.IntN(5) == 0 {
				kept, _ = e.Snapshot(0, uint64(i+1))
			}
			if rnd.IntN(10) == 0 { // the end, and a new start
				e = New(Config{})
				seq, floor, err := e.Restore(0, kept)
				if err != nil || floor > seq+1 {
					t.Fatalf("seq %d, floor %d after %d, %v", seq, floor, i+1, err)
				}
				i = max(int(floor)-1, 0) - 1
			}
		}
		finish(e, tb)
		same(t, tb.lines(), want)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

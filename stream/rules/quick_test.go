package rules

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"panormus/stream/batch"
)

// The quick way and the long one give the same events and count the same.
func TestQuickAgreesWithLong(t *testing.T) {
	const text = `
rules:
  - {id: above, when: x > 4}
  - {id: below, when: 3 > x, clear: x >= 5}
  - {id: same, when: x == 0}
  - {id: other, when: x != 4, for: 2s}
  - {id: both, when: x >= 2 && x <= 3}
  - {id: either, when: x < 1 || x > 6}
  - {id: two, when: x > 2 && y < 3}
  - {id: or, when: y > 5 || x > 6}
  - {id: closure, when: x + y > 9}
  - {id: text, when: s == "on" || x > 6}
  - {id: huge, when: x > 1e308}
  - {id: of_y, when: y < 1, for: 5s}
  - {id: zone, when: x > 5, key: domain}
  - {id: silent, absent: 20s}
  - {id: slides, window: {type: sliding, size: 8s}, let: {v: avg(x), hi: max(x), n: count(x)}, when: v > 4.3 || n > 9}
  - {id: ends, window: {type: hopping, size: 10s, every: 1s}, let: {a: first(y), b: last(y), d: stddev(y)}, when: b < 3 && a >= 3, clear: d < 1}
  - {id: tumbles, window: {type: tumbling, size: 5s}, let: {v: sum(y), lo: min(y)}, when: v > 40}
  - {id: both_of, window: {type: tumbling, size: 5s}, let: {v: sum(z), w: count(z * 2)}, when: v > 4 * w}
`
	set := mustParse(t, text[1:])
	rnd := rand.New(rand.NewPCG(1, 2))
	quick, long := New(Config{Partitions: 1}, set), New(Config{Partitions: 1}, set)
	for _, pl := range append([]*plan{long.prog.other}, planList(long.prog)...) {
		pl.unread.quick = false
		for _, m := range pl.metrics {
			m.quick = false
		}
		for _, r := range pl.rules {
			if r.window != nil {
				r.window.quick = false
			}
		}
	}
	var events [2][]string
	var ways [2]uint64 // messages that went the quick way
	values := []float64{0, math.Copysign(0, -1), 1, 2, 3, 3.5, 4, 5, 6, 7, math.Inf(1), math.Inf(-1), math.MaxFloat64}
	at := int64(1_790_000_000_000)
	for seq := range uint64(300) {
		o := &batch.Observations{}
		for range 1 + rnd.IntN(60) {
			at += int64(rnd.IntN(300))
			h := o.Begin(at-int64(rnd.IntN(2000)), at, "d", fmt.Sprint("dev", rnd.IntN(20)))
			for n := 1 + rnd.IntN(10)/9; n > 0; n-- {
				switch metric := []string{"x", "y", "z", "s"}[rnd.IntN(4)]; metric {
				case "s":
					o.Append(h, metric, nan, []string{"on", "off"}[rnd.IntN(2)], 0)
				default:
					v := 4.0 // which makes nothing true
					if rnd.IntN(30) == 0 {
						v = values[rnd.IntN(len(values))]
					}
					o.Append(h, metric, v, "", uint8(rnd.IntN(40)/39))
				}
			}
		}
		for i, e := range []*Engine{quick, long} {
			e.Apply(0, seq+1, o)
			for _, n := range e.shards[0].count.quick {
				ways[i] += n
			}
			for _, ev := range e.Settle() {
				events[i] = append(events[i], fmt.Sprint(ev))
			}
			if seq%20 == 0 {
				e.Tick(at)
			}
		}
	}
	if len(events[0]) < 500 || ways[0] < 1000 || ways[1] != 0 {
		t.Errorf("%d events, %d messages the quick way, want enough to test with", len(events[0]), ways)
	}
	if !reflect.DeepEqual(events[0], events[1]) {
		for i := range min(len(events[0]), len(events[1])) {
			if events[0][i] != events[1][i] {
				t.Fatalf("event %d\n%s\nand the long way\n%s", i, events[0][i], events[1][i])
			}
		}
		t.Fatalf("%d events, %d the long way", len(events[0]), len(events[1]))
	}
	a, b := quick.Stats(), long.Stats()
	for i := range a.Rules {
		a.Rules[i].Seconds, b.Rules[i].Seconds = 0, 0
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("stats\n%+v\nand the long way\n%+v", a, b)
	}
	if n := noWinMore; n.told != nil || n.tails != nil || n.values != nil || n.key != "" || n.domain != "" || n.progress != nil || n.start != 0 || n.dropped != 0 {
		t.Errorf("%+v was written", *n)
	}
	if n := nothing; n.texts != nil || n.windows != nil || n.series != nil || n.keys != nil || n.hash != 0 {
		t.Errorf("%+v was written", *n)
	}
}

func planList(p *program) (all []*plan) {
	for _, pl := range p.plans {
		all = append(all, pl)
	}
	return all
}

// A message of one reading raises nothing outside of a rule's hours, nor on a device of another profile.
func TestQuickWayKeepsSchedulesAndProfiles(t *testing.T) {
	for _, rule := range []string{"schedule: {hours: ['16:20-16:22'], holidays: include}", "profile: other"} {
		set := mustParse(t, "{id: r, when: x > 1, "+rule+"}")
		e := New(Config{Partitions: 1}, set)
		for i := range 2 { // the second finds the device
			at := time.Date(2026, 9, 21, 14, 19, 50+i, 0, time.UTC).UnixMilli()
			o := &batch.Observations{}
			o.Append(o.Begin(at, at, "lab", "d"), "x", 5, "", 0)
			e.Apply(0, uint64(i+1), o)
			if events := e.Settle(); len(events) > 0 {
				t.Errorf("%s: %+v, want none", rule, events)
			}
		}
	}
}

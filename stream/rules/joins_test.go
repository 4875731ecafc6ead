package rules

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"panormus/devices"
	"panormus/stream/batch"
)

// What rules on other devices' readings raise does not depend on when the engine settles, nor on a restart
// in between.
func TestJoinsDoNotDependOnRounds(t *testing.T) {
	set := mustParse(t, `rules:
- {id: zone, when: 'x > 1.2 * zone_avg("x")'}
- {id: near, when: 'x > neighbours_max("x", 2000)', clear: 'x < neighbours_min("x", 2000)', key: zone, for: 1m}
- {id: one, when: 'x > of("d3", "x") + 2'}
- {id: by-day, schedule: {hours: "00:00-17:55,17:56-17:58,17:59-24:00"}, when: 'x > zone_avg("x")'}
- {id: window, window: {type: tumbling, size: 1m}, let: {n: 'count(x > zone_avg("x"))', v: 'max(neighbours_avg("x", 2000))'}, when: n >= 2 && v > 3}
- {id: window-zone, key: zone, window: {type: sliding, size: 1m, every: 5s}, let: {n: 'sum(x - of(tags.other, "x"))'}, when: n > 4}
- {id: steps, sequence: [{as: a, when: 'x > zone_avg("x")'}, {as: b, within: 1m, when: 'x < zone_avg("x") - 1'}], unless: {within: 10s, when: 'x == zone_max("x")'}}
- {id: function, when: 'delta(x, 1m) > zone_avg("x") - 2', for: 20s}`)
	registry := &testRegistry{assets: map[string]*devices.Asset{}}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 20 {
		lat, lon := 38.1+random.Float64()/50, 13.3+random.Float64()/50
		id := fmt.Sprintf("d%d", i)
		registry.assets[id] = &devices.Asset{Device: devices.Device{ID: id, Zone: fmt.Sprintf("z%d", i%3), Lat: &lat, Lon: &lon, Tags: map[string]string{"other": fmt.Sprintf("d%d", i/2)}}}
	}
	const partitions = 4
	type step struct {
		partition int
		o         *batch.Observations
	}
	var steps []step
	for i := range 400 {
		id := fmt.Sprintf("d%d", random.IntN(20))
		at := rowStart + int64(i)*1000 - int64(random.IntN(5000))
		o := &batch.Observations{}
		o.Append(o.Begin(at, rowStart+int64(i)*1000, "env", id), "x", float64(random.IntN(10)), "", 0)
		steps = append(steps, step{partition(id, partitions), o})
	}
	run := func(every, restart int) []string {
		e := New(Config{Registry: registry, Partitions: partitions}, set)
		var out []string
		settle := func() {
			for _, ev := range e.Settle() {
				out = append(out, fmt.Sprintf("%s %s %s %s %s", ev.ID, ev.State, ev.Rule, ev.Key, ev.Context))
			}
		}
		for i, s := range steps {
			e.Apply(s.partition, uint64(i+1), s.o)
			if (i+1)%every == 0 || i+1 == restart {
				settle()
			}
			if i+1 == restart {
				next, err := e.Restarted(uint64(i + 1))
				if err != nil {
					t.Fatal(err)
				}
				e = next
			}
		}
		settle()
		for _, r := range e.Stats().Rules { // those of an engine that was not restarted
			if restart == 0 && (r.Matches == 0 || r.Matches > r.Evaluations && r.ID != "steps") {
				t.Errorf("%s: %d matches of %d evaluations", r.ID, r.Matches, r.Evaluations)
			}
		}
		slices.Sort(out) // windows are judged when a round settles, and what is raised is the same
		return out
	}
	want := run(1, 0)
	for _, r := range set.Rules {
		if n := len(slices.DeleteFunc(slices.Clone(want), func(line string) bool { return !strings.Contains(line, " "+r.ID+" ") })); n < 3 {
			t.Fatalf("%d events of %s, want more for the test to mean anything", n, r.ID)
		}
	}
	if ended := strings.Count(strings.Join(want, "\n"), scheduleReason); ended < 10 {
		t.Fatalf("%d ends of a schedule, want more for the test to mean anything", ended)
	}
	for _, tc := range [][2]int{{7, 0}, {400, 0}, {1, 200}, {30, 123}} {
		if got := run(tc[0], tc[1]); !slices.Equal(got, want) {
			t.Errorf("settled every %d, restarted after %d: %d events that are not those of settling each time (%d)", tc[0], tc[1], len(got), len(want))
		}
	}
}

// The board is bounded: what has no room is counted, what is old is forgotten, and four readings are kept.
func TestBoardIsBounded(t *testing.T) {
	b := newBoard()
	put := func(id string, at int64, v float64) {
		b.take(&post{id: id, domain: "env", zone: "z", lat: 38.1, lon: 13.3, stands: 1000, metric: "x", at: at, v: v}, 3, 5_000_000)
	}
	for i := range 5 {
		put(fmt.Sprint(i), 1000, 1)
	}
	if len(b.values) != 3 || b.refused != 2 {
		t.Errorf("%d devices, %d refused; want 3 and 2", len(b.values), b.refused)
	}
	for i := range 10 {
		put("0", int64(2000+i), float64(i))
	}
	v := b.values[boardKey{"0", "env", "x"}]
	if len(v.samples) != boardSamples || v.samples[0] != (sample{2009, 9}) {
		t.Errorf("samples %v, want the four newest", v.samples)
	}
	if _, ok := v.at(1999); ok {
		t.Error("a reading of before the oldest kept is known")
	}
	if x, ok := v.at(2007); !ok || x != 7 {
		t.Errorf("at 2007: %v %v, want 7", x, ok)
	}
	if _, ok := v.at(3010); ok {
		t.Error("a reading that stood too long counts")
	}
	put("0", 10_000_000, 1)
	if len(b.values) != 1 || len(b.zones[zoneMetric{"z", "x"}]) != 1 || len(b.devices) != 1 || len(b.cells) != 1 {
		t.Errorf("%d values, %v zones, %d devices, %d cells after a sweep; want 1 each", len(b.values), b.zones, len(b.devices), len(b.cells))
	}
}

// BenchmarkJoins is what a rule costs that compares with the average of a zone of so many devices.
func BenchmarkJoins(b *testing.B) {
	for _, n := range []int{50, 1000} {
		b.Run(fmt.Sprintf("zone=%d", n), func(b *testing.B) {
			registry := &testRegistry{assets: map[string]*devices.Asset{}}
			o := &batch.Observations{}
			for i := range n {
				id := fmt.Sprintf("d%d", i)
				registry.assets[id] = &devices.Asset{Device: devices.Device{ID: id, Zone: "z"}}
				o.Append(o.Begin(rowStart, rowStart, "env", id), "x", float64(i), "", 0)
			}
			e := New(Config{Registry: registry, Partitions: 1}, mustParse(b, `{id: r, when: 'x > 100 * zone_avg("x")'}`))
			b.ReportAllocs()
			for seq := uint64(1); b.Loop(); seq++ {
				e.Apply(0, seq, o)
				if len(e.Settle()) != 0 {
					b.Fatal("events, want none")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/reading")
		})
	}
}

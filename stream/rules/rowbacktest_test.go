package rules

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"panormus/devices"
	"panormus/stream/batch"
)

// A backtest of a rule about rows raises what the engine raised when the past was the present, one over
// several kinds too.
func TestRowBacktestIsWhatHappened(t *testing.T) {
	registry := &testRegistry{assets: map[string]*devices.Asset{}}
	for i, id := range []string{"cam-0", "cam-1", "door-0", "door-1"} {
		registry.assets[id] = &devices.Asset{Device: devices.Device{ID: id, Domain: "safety", Zone: fmt.Sprint("z", i%2), Tags: map[string]string{"door": "door-0"}}}
	}
	start := time.Date(2026, 9, 21, 10, 0, 0, 0, time.UTC)
	rnd := rand.New(rand.NewPCG(3, 4))
	type moment struct {
		at    int64
		on    string
		class string
		door  float64
		who   int
	}
	var past []moment
	for second := int64(0); second < 7200; second += int64(1 + rnd.IntN(16)) {
		past = append(past, moment{start.UnixMilli() + second*1000, []string{OnDetections, OnUplinks, onObservations, OnCounts}[rnd.IntN(4)], []string{"person", "car"}[rnd.IntN(2)], float64(rnd.IntN(2)), rnd.IntN(2)})
	}
	// tell calls do for the rows of some kinds within a time.
	tell := func(kinds []string, from, to int64, do func(*Row)) {
		for i := range past {
			m := &past[i]
			if !slices.Contains(kinds, m.on) || m.at < from || m.at >= to {
				continue
			}
			switch m.on {
			case OnDetections:
				var d batch.Detections
				row := batch.Absent()
				row.Time, row.Received, row.Camera, row.Class, row.Score = m.at, m.at, fmt.Sprint("cam-", m.who), m.class, float32(m.door)
				d.Append(&row)
				Detections(&d, do)
			case OnUplinks:
				at := time.UnixMilli(m.at)
				Uplinks([]batch.Uplink{{Time: at, Device: fmt.Sprint("door-", m.who), Gateway: m.class, RSSIdBm: -120 + 10*m.door}}, do)
			case OnCounts:
				at := time.UnixMilli(m.at)
				Counts([]batch.Count{{Time: at.Add(-time.Minute), Received: at, Camera: fmt.Sprint("cam-", m.who), Class: m.class, Seen: m.at / 1000 % 5}}, do)
			default:
				Messages(doorMessage(m.at, m.who, m.door), do)
			}
		}
	}
	for _, text := range []string{
		`{id: r, on: detections, when: 'class == "person"', hold: 20s}`,
		`{id: r, on: uplinks, when: n > 3, window: {type: sliding, size: 1m, every: 10s}, let: {n: count()}, key: gateway}`,
		`{id: r, on: uplinks, when: 'delta(rssi_dbm, 2m) < 0', hold: 5s}`,
		`{id: r, on: detections, sequence: [{as: a, when: 'class == "person"'}, {as: b, within: 10s, when: 'class == "car"'}]}`,
		`{id: r, sequence: [{as: a, when: 'class == "person"'}, {as: b, within: 15s, when: door_open == 1}], unless: {within: 5s, on: uplinks, when: rssi_dbm < -115}, hold: 5s}`,
		`{id: r, on: detections, when: 'class == "person" && zone_max("door_open") == 1', hold: 20s}`,
		`{id: r, when: 'door_open == 1 && zone_sum("seen", "person") > 2', for: 10s}`,
		`{id: r, on: counts, window: {type: tumbling, size: 1m}, let: {n: 'sum(seen * of(tags.door, "door_open"))'}, when: n > 3}`,
		`{id: r, key: zone, window: {type: tumbling, size: 1m}, let: {n: 'max(zone_max("seen", "car"))', o: count()}, when: n > 2 && o > 1}`,
	} {
		rule := mustParse(t, "rules: ["+text+"]").Rules[0]
		end := start.Add(2 * time.Hour)
		var want []string
		note := func(out []string, events []batch.Event) []string {
			for _, ev := range events {
				if ev.Time.Before(end) {
					out = append(out, ev.ID+" "+ev.State+" "+ev.Key+" "+ev.Text)
				}
			}
			return out
		}
		e := NewRowEngine(Config{Registry: registry}, rule.engine(), NewSet(rule))
		tell(e.Inputs(), 0, end.UnixMilli(), func(row *Row) { e.Apply(1, row); want = note(want, e.Settle()) })
		e.Tick(end.UnixMilli() + 600_000)
		want = note(want, e.Settle())

		b := Backtest{Rule: rule, From: start, To: end, Config: Config{Registry: registry}}
		b.ReadRows = func(_ context.Context, on string, p Past, each func(*Row) error) (int64, error) {
			var bad error
			tell([]string{on}, p.From.UnixMilli(), p.To.UnixMilli(), func(row *Row) { bad = cmp.Or(bad, each(row)) })
			return 1, bad
		}
		b.Read = func(_ context.Context, p Past, each func(*batch.Observations) error) (int64, error) {
			if all := strings.Contains(text, "count()"); all != (p.Metrics == nil) || !all && !slices.Equal(p.Metrics, []string{"door_open"}) {
				t.Errorf("asked for %q, want door_open, or all where messages are counted", p.Metrics)
			}
			for i := range past {
				if m := &past[i]; m.on == onObservations && m.at < p.To.UnixMilli() {
					if err := each(doorMessage(m.at, m.who, m.door)); err != nil {
						return 0, err
					}
				}
			}
			return 0, nil
		}
		r, err := b.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got := note(nil, r.Events)
		if len(want) < 5 || !slices.Equal(got, want) || r.Readings == 0 || r.Devices == 0 || r.LeftOut == 0 || r.Evaluations == 0 {
			t.Errorf("%s: %d events of %d rows of %d devices, want %d\ngot  %q\nwant %q", text, len(got), r.Readings, r.Devices, len(want), got[:min(5, len(got))], want[:min(5, len(want))])
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := b.Run(ctx); err == nil {
			t.Errorf("%s: it runs on without a context", text)
		}
	}
}

func doorMessage(at int64, who int, open float64) *batch.Observations {
	o := &batch.Observations{}
	o.Append(o.Begin(at, at, "safety", fmt.Sprint("door-", who)), "door_open", open, "", 0)
	return o
}

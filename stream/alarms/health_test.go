package alarms

import (
	"reflect"
	"testing"
	"time"
)

// TestHealthOfAPart has the figures of one domain's alarms be those of a city that has no others.
func TestHealthOfAPart(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	b := &Book{cfg: Config{Operators: 1}, records: map[string]*held{}}
	b.cfg.defaults()
	add := func(id, domain string, n int) {
		h := &held{version: version{base: &Alarm{ID: id, Domain: domain, Severity: "major", Active: true, Confirmed: true, Raised: at.Add(-time.Minute), Since: at.Add(-time.Minute)}}}
		b.records[id] = h
		b.rows = append(b.rows, rowOf(h, h.alarm(), &b.cfg))
		for range n {
			b.history.raises = append(b.history.raises, raise{at: at.Add(-time.Minute), id: id, severity: "major", announced: true})
		}
		if b.history.often == nil {
			b.history.often = map[string]int{}
		}
		b.history.often[id] += n
	}
	add("lamp", "lighting", 3)
	add("bin", "waste", 20)
	b.history.raises = append(b.history.raises, raise{at: at.Add(-time.Hour), id: "gone", severity: "major", announced: true}) // an alarm that is forgotten
	own := b.HealthOf(at, func(a *Alarm) bool { return a.Domain == "lighting" })
	if own.Rate != 3 || own.Mix["major"] != 3 || len(own.Bad) != 1 || own.Bad[0].Record.ID != "lamp" || own.Severities["major"] != 1 || own.BadShare != 1 || own.Flood || own.Oldest == nil && own.States[Unacked] > 0 {
		t.Errorf("%+v", own)
	}
	if whole := b.Health(at); whole.Rate != 23 || len(whole.Bad) != 2 || whole.Severities["major"] != 2 {
		t.Errorf("%+v", whole)
	}
	if flooded := b.HealthOf(at, func(a *Alarm) bool { return a.Domain == "waste" }); !flooded.Flood || flooded.Floods != 1 || flooded.InFlood != 10*time.Minute || !flooded.FloodSince.Equal(at.Add(-10*time.Minute)) {
		t.Errorf("%+v, want a flood of its own", flooded)
	}
}

// TestHealthAfterStart: a process that begins has the same figures, also of raises that came suppressed, shelved or while
// the alarm stood.
func TestHealthAfterStart(t *testing.T) {
	cfg := Config{Escalate: []Escalation{}}
	parent := func(device string) string { return map[string]string{"lamp": "cabinet"}[device] }
	b := newBench(t, cfg, parent)
	b.publish(event("hot", "cabinet", "major", "raised", 0), event("hot", "lamp", "warning", "raised", 1), event("hot", "cabinet", "major", "raised", 2),
		event("hot", "bin", "warning", "raised", 3), event("hot", "bin", "warning", "cleared", 4), event("hot", "bin", "warning", "raised", 5))
	if err := b.work(); err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(time.Hour)
	if r := b.act("bin", Act{Action: "shelve", By: "ada", Until: until}); r.Err != nil {
		t.Fatal(r.Err)
	}
	b.publish(event("hot", "bin", "warning", "cleared", 6), event("hot", "bin", "warning", "raised", 7))
	if err := b.work(); err != nil {
		t.Fatal(err)
	}
	b.tick(t0.Add(7 * time.Minute))
	fresh := &bench{T: t}
	fresh.open(b.log, cfg, parent)
	defer fresh.follow()()
	at := t0.Add(8 * time.Minute)
	before, after := b.book.Health(at), fresh.book.Health(at)
	if before.Rate != 3 || before.Mix["warning"] != 2 || before.Mix["major"] != 1 || len(before.Bad) != 3 {
		t.Errorf("health %+v, want the first of the cabinet's and two of the bin's raises to have called", before)
	}
	if after.Rate != before.Rate || !reflect.DeepEqual(after.Mix, before.Mix) || after.Rates != before.Rates || after.BadShare != before.BadShare {
		t.Errorf("after a start %+v, want as before %+v", after, before)
	}
}

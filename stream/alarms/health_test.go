package alarms

import (
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
			b.history.raises = append(b.history.raises, raise{at.Add(-time.Minute), id, "major", true})
		}
		if b.history.often == nil {
			b.history.often = map[string]int{}
		}
		b.history.often[id] += n
	}
	add("lamp", "lighting", 3)
	add("bin", "waste", 20)
	b.history.raises = append(b.history.raises, raise{at.Add(-time.Hour), "gone", "major", true}) // an alarm that is forgotten
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

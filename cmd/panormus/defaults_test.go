package main

import (
	"testing"

	"panormus/simulators/city"
	"panormus/stream/rules"
)

// TestShippedRulesKnowTheCity fails when a shipped rule reads what no device of the simulated city
// says: it would never fire for a newcomer.
func TestShippedRulesKnowTheCity(t *testing.T) {
	c := city.New(city.Config{Devices: 50})
	known := map[string]bool{"position_lat": true, "position_lon": true}
	for _, p := range c.Profiles() {
		for name := range p.Metrics {
			known[name] = true
		}
	}
	shipped := rules.Defaults()
	if len(shipped.Rules) < 20 {
		t.Errorf("%d rules are shipped, want 20", len(shipped.Rules))
	}
	for _, r := range shipped.Rules {
		if r.On != "observations" {
			continue // what rows have is checked as a rule is read
		}
		for _, m := range r.Metrics {
			if !known[m] {
				t.Errorf("rule %s reads %q, which no profile of the city has", r.ID, m)
			}
		}
	}
}

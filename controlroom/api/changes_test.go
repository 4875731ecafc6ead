package api

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"panormus/controlroom/live"
)

// said are the values of the past, in order of device.
type said []live.Latest

func (s said) Changes(_ context.Context, _, _ time.Time, domain, after string, each func(live.Latest) (bool, error)) error {
	for _, l := range s {
		if l.Device <= after || domain != "" && l.Domain != domain {
			continue
		}
		if more, err := each(l); err != nil || !more {
			return err
		}
	}
	return nil
}

func TestChanges(t *testing.T) {
	at := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	s := newSite(t, func(c *Config) {
		c.Changes = said{
			{Device: "a", Domain: "lighting", Metric: "power_w", Time: at.Add(time.Second), Value: 80},
			{Device: "a", Domain: "lighting", Metric: "status", Time: at, Value: math.NaN(), Text: "ok"},
			{Device: "b", Domain: "lighting", Metric: "power_w", Time: at, Value: math.Inf(1)},
			{Device: "c", Domain: "waste", Metric: "filling_level", Time: at, Value: 0.5},
		}
	})
	const path = "/api/v1/state/changes"
	var got struct {
		Devices []struct {
			ID, Domain, T string
			Values        map[string]any
		}
		Next string
	}
	s.get(path+"?from=2026-11-01T12:00:00Z&to=2026-11-01T12:01:00Z&limit=2", &got)
	if text := fmt.Sprint(got.Devices); text != "[{a lighting 2026-11-01T12:00:01.000Z map[power_w:80 status:ok]} {b lighting 2026-11-01T12:00:00.000Z map[power_w:<nil>]}]" || got.Next == "" {
		t.Errorf("first page: %s, next %q", text, got.Next)
	}
	next := got.Next
	got.Next = ""
	s.get(path+"?from=2026-11-01T12:00:00Z&to=2026-11-01T12:01:00Z&limit=2&cursor="+next, &got)
	if len(got.Devices) != 1 || got.Devices[0].ID != "c" || got.Next != "" {
		t.Errorf("second page: %+v", got)
	}
	wantProblem(t, s.ask("GET", path+"?from=2026-11-01T12:00:00Z&to=2026-11-01T13:00:01Z", ""), path, 422, "query.to")
	wantProblem(t, s.ask("GET", path+"?from=2026-11-01T12:00:00Z", ""), path, 422, "to")
	wantProblem(t, newSite(t, nil).ask("GET", path+"?from=2026-11-01T12:00:00Z&to=2026-11-01T12:01:00Z", ""), path, 501, "changes")
}

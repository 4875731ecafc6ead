package watch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"panormus/devices"
	"panormus/stream/batch"
	streamlog "panormus/stream/log"
	"panormus/stream/log/logtest"
	"panormus/stream/privacy"
	"panormus/stream/privacy/privacytest"
)

var quiet = slog.New(slog.DiscardHandler)

// city is a log with a list of stolen vehicles and the guard that cameras are admitted by.
type city struct {
	log   *streamlog.Log
	lists *privacy.Lists
	grant *privacy.Grant
	seq   int
}

const listed, other = "AB123CD", "ZZ999ZZ"

func newCity(t *testing.T) *city {
	t.Helper()
	c := &city{log: logtest.New(t, nil)}
	safe := func(name string) *streamlog.Secrets {
		s, err := c.log.Secrets(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	master, err := privacy.NewMaster(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	keys := privacy.NewKeyring(master, safe("keys"), func(string) time.Duration { return 72 * time.Hour }, quiet)
	policies := privacytest.Policies{privacy.DefaultPolicy("plates"), privacy.DefaultPolicy("others")}
	c.lists = privacy.NewLists(master, safe("lists"), keys, policies, quiet)
	list := privacy.List{ID: "stolen", Title: "Stolen", Purposes: []string{"plates"}}
	plates, err := c.lists.Check(&list, []string{"ab 123-cd", "XX000XX"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.lists.Put(t.Context(), list, plates); err != nil {
		t.Fatal(err)
	}
	if c.grant, err = privacy.New(keys, policies).Admit(privacytest.Camera("plates")); err != nil {
		t.Fatal(err)
	}
	return c
}

// read publishes a batch of readings of one plate by a camera.
func (c *city) read(t *testing.T, camera, plate string, edit func(*batch.Detection), at ...time.Time) {
	t.Helper()
	var d batch.Detections
	for _, at := range at {
		r := batch.Absent()
		r.Time, r.Received, r.Camera, r.What, r.Purpose = at.UnixMilli(), at.UnixMilli()+50, camera, batch.WhatPlate, c.grant.Purpose()
		var err error
		if r.PlateHash, _, err = c.grant.Plate(r.Time, plate); err != nil {
			t.Fatal(err)
		}
		if edit != nil {
			edit(&r)
		}
		d.Append(&r)
	}
	data, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	c.seq++
	if _, err := c.log.Publish(t.Context(), batch.KindDetections, c.log.Partition(camera), "", data); err != nil {
		t.Fatal(err)
	}
}

// events are all on the log.
func (c *city) events(t *testing.T) []batch.Event {
	t.Helper()
	last, err := c.log.LastSeq(t.Context(), batch.KindEvents)
	if err != nil || last == 0 {
		return nil
	}
	r, err := c.log.Read(t.Context(), batch.KindEvents, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out []batch.Event
	for {
		m, err := r.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all, err := batch.DecodeEvents(m.Data)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(m.Data), listed) {
			t.Error("an event holds the plate")
		}
		out = append(out, all...)
		if m.Seq == last {
			return out
		}
	}
}

// until runs a worker until it has compared all there is, or ends by its hook.
func (c *city) until(t *testing.T, hook func(string) error) error {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := New(Config{Log: c.log, Lists: c.lists, Zone: func(string) string { return "porto" }})
	w.hook = hook
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	for {
		select {
		case err := <-done:
			return err
		case <-time.After(time.Millisecond):
			if w.Applied() == uint64(c.seq) {
				cancel()
				return <-done
			}
		}
	}
}

func TestListedPlatesRaiseEvents(t *testing.T) {
	c := newCity(t)
	// In the middle of a span of ten minutes, so that a few seconds stay in it.
	noon := time.Now().UTC().Truncate(episode).Add(-episode / 2)
	c.read(t, "cam-1", listed, nil, noon, noon.Add(time.Second), noon.Add(2*time.Second))
	c.read(t, "cam-2", listed, nil, noon.Add(time.Second))
	c.read(t, "cam-1", other, nil, noon)
	c.read(t, "cam-3", listed, func(r *batch.Detection) { r.Purpose = "others" }, noon)
	c.read(t, "cam-4", listed, func(r *batch.Detection) { r.Quality |= uint8(devices.QualityRefresh) }, noon)
	c.read(t, "cam-1", listed, nil, noon.Add(-episode), noon.Add(-24*time.Hour)) // late
	c.read(t, "cam-5", "", nil, noon)
	if err := c.until(t, nil); err != nil {
		t.Fatal(err)
	}
	all := c.events(t)
	count := map[string]int{}
	for i := range all {
		e := &all[i]
		if e.State == "cleared" {
			continue
		}
		count[e.Device]++
		if e.Rule != "plate-list:stolen" || e.Severity != "major" || e.Domain != "safety" || e.Zone != "porto" || e.State != "raised" || !strings.Contains(string(e.Context), `"list":"stolen"`) {
			t.Errorf("%+v", e)
		}
	}
	for _, at := range []time.Time{noon, noon.Add(-24 * time.Hour)} {
		hash, _, err := c.grant.Plate(at.UnixMilli(), listed)
		if err != nil {
			t.Fatal(err)
		}
		for i := range all {
			if e := &all[i]; strings.Contains(fmt.Sprint(e.ID, e.Key, e.Text, string(e.Context)), hash[:12]) {
				t.Errorf("an event, which is kept for years, holds a part of the hash: %+v", e)
			}
		}
	}
	if count["cam-1"] != 3 || count["cam-2"] != 1 || len(count) != 2 || len(all) != 8 {
		t.Errorf("raised by camera: %v, %d in all; want 3 of cam-1 (now, ten minutes and a day before), 1 of cam-2, each cleared", count, len(all))
	}
	// What comes again after a restart is known, also behind what is new.
	c.read(t, "cam-1", listed, nil, noon.Add(-2*episode), noon.Add(3*time.Second))
	if err := c.until(t, nil); err != nil {
		t.Fatal(err)
	}
	again := c.events(t)
	if len(again) != len(all)+2 {
		t.Errorf("%d events after a restart, want %d and those of one more", len(again), len(all))
	}
	all = again
	if err := c.lists.Delete(t.Context(), "stolen"); err != nil {
		t.Fatal(err)
	}
	c.read(t, "cam-9", listed, nil, noon)
	if err := c.until(t, nil); err != nil {
		t.Fatal(err)
	}
	if again := c.events(t); len(again) != len(all) {
		t.Errorf("%d events when the list is gone, want %d", len(again), len(all))
	}
}

// Killed before and after each publishing, the workers together raise each event once.
func TestEventsAreThereOnceOverKills(t *testing.T) {
	c := newCity(t)
	noon := time.Now().UTC().Truncate(episode).Add(-episode / 2)
	for i := range 6 {
		c.read(t, "cam-"+string(rune('a'+i)), listed, nil, noon)
	}
	killed := errors.New("killed")
	kills := 0
	for _, at := range []string{"publish", "published", "published", "publish", "published"} {
		err := c.until(t, func(step string) error {
			if step == at {
				return killed
			}
			return nil
		})
		if errors.Is(err, killed) {
			kills++
		}
	}
	if err := c.until(t, nil); err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, e := range c.events(t) {
		seen[e.ID]++
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("event %s is there %d times", id, n)
		}
	}
	if len(seen) != 12 || kills != 5 {
		t.Errorf("%d ids after %d kills, want 12 after 5", len(seen), kills)
	}
}

// failing are lists that cannot be asked once.
type failing struct {
	Lists
	once sync.Once
}

func (f *failing) Match(purpose string, at time.Time, hash string) (ids []string, err error) {
	f.once.Do(func() { err = errors.New("away") })
	if err != nil {
		return nil, err
	}
	return f.Lists.Match(purpose, at, hash)
}

func TestAReadingIsNotPassedOver(t *testing.T) {
	c := newCity(t)
	c.read(t, "cam-1", listed, nil, time.Now())
	w := New(Config{Log: c.log, Lists: &failing{Lists: c.lists}})
	if err := w.Run(t.Context()); err == nil || strings.Contains(err.Error(), listed) {
		t.Fatalf("%v, want that the lists are away", err)
	}
	if err := c.until(t, nil); err != nil {
		t.Fatal(err)
	}
	if n := len(c.events(t)); n != 2 {
		t.Errorf("%d events, want a raised and a cleared one", n)
	}
}

package rules

import (
	"encoding/json"
	"testing"
	"time"

	"panormus/stream/batch"
)

// What only a clock said before a kill is ended after it; and where the replay came to another episode of the key, that
// is the newest thing said of the key, once.
func TestOpeningsOfAKeyThatStands(t *testing.T) {
	at := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	raised := func(key, episode string, minute int) batch.Event {
		since := at.Add(time.Duration(minute) * time.Minute)
		raw, err := json.Marshal(map[string]any{"since": formatTime(since.UnixMilli()), "episode": episode, "values": map[string]any{"x": 60}})
		if err != nil {
			t.Fatal(err)
		}
		return batch.Event{ID: eventID("r", key, since.UnixMilli(), "raised"), Rule: "r", Key: key, State: "raised", Time: since, Received: since, Context: raw}
	}
	first, other, lone := raised("k", "by the clock", 0), raised("k", "by the replay", 1), raised("lone", "by the clock, too", 0)
	have := map[string]struct{}{first.ID: {}, lone.ID: {}}
	began := func() openings {
		o := openings{}
		o.note(&first)
		o.note(&lone)
		o.follows([]batch.Event{first, other}, have)
		return o
	}
	held := map[string]bool{"by the replay": true}
	now := at.Add(time.Hour).UnixMilli()
	said := began().lost(have, held, now)
	newest := map[string]batch.Event{}
	for _, ev := range said {
		if !ev.Time.Equal(time.UnixMilli(now)) {
			t.Errorf("%s of %s at %v, want it now", ev.State, ev.Key, ev.Time)
		}
		newest[ev.Key] = ev
	}
	if len(said) != 3 || newest["k"].State != "raised" || newest["lone"].State != "cleared" {
		t.Fatalf("%+v, want two ends, and the episode that stands raised behind that of its key", said)
	}
	var c struct {
		Episode, Began string
		Correction     int
	}
	if err := json.Unmarshal(newest["k"].Context, &c); err != nil || c.Episode != "by the replay" || c.Began != formatTime(other.Time.UnixMilli()) || c.Correction != 1 {
		t.Errorf("%s, %v: want the other episode, corrected once, begun when it was raised", newest["k"].Context, err)
	}
	for _, ev := range said {
		have[ev.ID] = struct{}{}
	}
	if again := began().lost(have, held, now+1); len(again) != 0 {
		t.Errorf("%+v after another restart, want nothing new", again)
	}
	o := began()
	o.closes([]batch.Event{{ID: "end", State: "cleared", Context: lone.Context}}, have)
	if said := o.lost(map[string]struct{}{}, map[string]bool{}, now); len(said) != 2 {
		t.Errorf("%+v, want the ends of both episodes of the one key", said)
	}
}

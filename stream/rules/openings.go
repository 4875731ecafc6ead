package rules

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"panormus/stream/batch"
)

// openings are, by episode, what the log has as raised after a checkpoint and not as ended: a replay, which has
// only messages, may not come to what a worker's clock did.
type openings map[string]openEpisode

// openEpisode is a raised event of the log whose end the log does not have.
type openEpisode struct {
	event   batch.Event
	episode string
	since   int64
	// corrected: its end may have been told, and taken back, before.
	corrected bool
}

// note takes an event of the log, in its order.
func (o openings) note(ev *batch.Event) {
	var c struct {
		Since, Episode string
		Correction     int
	}
	if json.Unmarshal(ev.Context, &c) != nil || c.Episode == "" {
		return // not one of a rule
	}
	if strings.TrimPrefix(ev.State, batch.ShadowState) == "cleared" {
		delete(o, c.Episode)
		return
	}
	since, err := time.Parse(time.RFC3339, c.Since)
	if err != nil {
		return
	}
	o[c.Episode] = openEpisode{event: *ev, episode: c.Episode, since: since.UnixMilli(), corrected: c.Correction > 0}
}

// closes notes what a replay ends that the log has as raised.
func (o openings) closes(events []batch.Event, have map[string]struct{}) {
	for i := range events {
		if len(o) == 0 {
			return
		}
		ev := &events[i]
		if _, known := have[ev.ID]; known || strings.TrimPrefix(ev.State, batch.ShadowState) != "cleared" {
			continue
		}
		var c struct{ Episode string }
		if json.Unmarshal(ev.Context, &c) == nil {
			delete(o, c.Episode)
		}
	}
}

// lost ends what the log has as raised and the engine, after the replay, does not hold: raised by
// the worker's clock where the replay, which has only messages, came to another end.
func (o openings) lost(have map[string]struct{}, held map[string]bool, now int64) []batch.Event {
	var out []batch.Event
	for _, open := range o {
		ev := open.event
		state := "cleared"
		if ev.Shadow() {
			state = batch.ShadowState + state
		}
		id := eventID(ev.Rule, ev.Key, open.since, state)
		if open.corrected {
			id = eventID(ev.Rule, open.episode, open.since, state+" after "+ev.ID)
		}
		if _, done := have[id]; done || held[open.episode] {
			continue
		}
		context := map[string]any{}
		if json.Unmarshal(ev.Context, &context) != nil {
			continue
		}
		context["reason"] = "not confirmed after a restart"
		raw, err := json.Marshal(context)
		if err != nil {
			continue
		}
		ev.ID, ev.State, ev.Context = id, state, raw
		ev.Time, ev.Received = time.UnixMilli(now).UTC(), time.UnixMilli(now).UTC()
		out = append(out, ev)
	}
	slices.SortFunc(out, func(a, b batch.Event) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// reopen takes up the silences that were raised after the checkpoint: no replay of messages can
// bring back what was raised because there were none.
func (e *Engine) reopen(open openings) {
	for _, o := range open {
		rule := e.prog.set.Rule(o.event.Rule)
		if rule == nil || rule.Absent == 0 || rule.Disabled {
			continue
		}
		pl := e.prog.plan(o.event.Domain)
		i := slices.IndexFunc(pl.rules, func(b *bound) bool { return b.ID == rule.ID })
		if i < 0 {
			continue
		}
		s := e.shards[partition(o.event.Device, len(e.shards))]
		d := s.device(o.event.Device, o.event.Domain)
		if d.received > o.since || d.episode(i) != nil {
			continue
		}
		d.received = o.since
		d.episodes.add(episode{rule: int32(i), state: raised, start: o.since})
		s.arm(d)
	}
}

package rules

import (
	"encoding/json"
	"maps"
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
	// corrections are how often it was: its end may have been told, and taken back, before.
	corrections int
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
	o[c.Episode] = openEpisode{event: *ev, episode: c.Episode, since: since.UnixMilli(), corrections: c.Correction}
}

// follows notes what a replay tells of the episodes of keys that the log does not have yet.
func (o openings) follows(events []batch.Event, have map[string]struct{}) {
	for i := range events {
		if len(o) == 0 { // nothing can be lost
			return
		}
		if _, known := have[events[i].ID]; !known {
			o.note(&events[i])
		}
	}
}

// closes notes what the clock ends that the log has as raised.
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
// the worker's clock where the replay, which has only messages, came to another end. Where it came to another episode of
// the same key, that one is raised again behind the end: who goes by the newest event of a key has it as standing.
func (o openings) lost(have map[string]struct{}, held map[string]bool, now int64) []batch.Event {
	type ofKey struct {
		rule, key string
		shadow    bool
	}
	standing := map[ofKey]openEpisode{}
	for _, open := range o {
		k := ofKey{open.event.Rule, open.event.Key, open.event.Shadow()}
		if other, is := standing[k]; held[open.episode] && (!is || open.since > other.since) {
			standing[k] = open
		}
	}
	var out []batch.Event
	for _, name := range slices.Sorted(maps.Keys(o)) {
		open := o[name]
		if held[name] {
			continue
		}
		ev := &open.event
		id := eventID(ev.Rule, ev.Key, open.since, stateLike(ev, "cleared"))
		if open.corrections > 0 {
			id = eventID(ev.Rule, open.episode, open.since, stateLike(ev, "cleared")+" after "+ev.ID)
		}
		out = open.again(out, have, id, "cleared", now, map[string]any{"reason": "not confirmed after a restart"})
		if other, is := standing[ofKey{ev.Rule, ev.Key, ev.Shadow()}]; is {
			again := eventID(ev.Rule, other.episode, other.since, stateLike(ev, "raised")+" after "+id)
			out = other.again(out, have, again, "raised", now, map[string]any{
				"reason": "it stands; another of its key was not confirmed after a restart",
				"began":  formatTime(other.event.Time.UnixMilli()), "correction": other.corrections + 1,
			})
		}
	}
	return out
}

// stateLike is a state as the events of ev's rule have it.
func stateLike(ev *batch.Event, state string) string {
	if ev.Shadow() {
		return batch.ShadowState + state
	}
	return state
}

// again adds the event to out under another id, with another state and more in its context, unless the log has it.
func (o openEpisode) again(out []batch.Event, have map[string]struct{}, id, state string, now int64, more map[string]any) []batch.Event {
	context := map[string]any{}
	if _, done := have[id]; done || json.Unmarshal(o.event.Context, &context) != nil {
		return out
	}
	maps.Copy(context, more)
	raw, err := json.Marshal(context)
	if err != nil {
		return out
	}
	ev := o.event
	ev.ID, ev.State, ev.Context = id, stateLike(&o.event, state), raw
	ev.Time, ev.Received = time.UnixMilli(now).UTC(), time.UnixMilli(now).UTC()
	return append(out, ev)
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

package live

import (
	"encoding/json"
	"slices"
	"sync"
	"time"

	"panormus/stream/batch"
)

// recentEvents is how many of the newest events are held.
const recentEvents = 2000

// An Event is a batch.Event with the names and times of the outside.
type Event struct {
	ID          string          `json:"id"`
	Rule        string          `json:"rule"`
	RuleVersion string          `json:"rule_version"`
	Severity    string          `json:"severity"`
	State       string          `json:"state"`
	Time        Stamp           `json:"time"`
	Received    Stamp           `json:"received"`
	Domain      string          `json:"domain"`
	Device      string          `json:"device"`
	Zone        string          `json:"zone"`
	Key         string          `json:"key"`
	Text        string          `json:"text"`
	Context     json.RawMessage `json:"context"`
}

// EventOf is e as the outside sees it.
func EventOf(e batch.Event) Event {
	if !json.Valid(e.Context) {
		e.Context = json.RawMessage("{}")
	}
	return Event{
		ID: e.ID, Rule: e.Rule, RuleVersion: e.RuleVersion, Severity: e.Severity, State: e.State, Time: Stamp{e.Time},
		Received: Stamp{e.Received}, Domain: e.Domain, Device: e.Device, Zone: e.Zone, Key: e.Key, Text: e.Text, Context: e.Context,
	}
}

// An episode of a rule goes from its raised event to its cleared one: what gives a device its
// severity, whether or not somebody has to answer it.
type episode struct {
	id       string // of the event that raised it
	device   string
	severity Severity
	last     time.Time // event time of the newest event
}

type episodeKey struct{ rule, key string }

// severities counts open episodes by their severity.
type severities [Critical + 1]int32

type episodes struct {
	mu       sync.RWMutex
	open     map[episodeKey]*episode
	byDevice map[string]severities
	recent   []batch.Event // oldest first
	known    map[string]bool
	listen   func([]batch.Event)
}

func (e *episodes) init() {
	e.open, e.byDevice, e.known = map[episodeKey]*episode{}, map[string]severities{}, map[string]bool{}
}

func (e *episodes) severityOf(device string) Severity {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.highest(device)
}

func (e *episodes) highest(device string) Severity {
	of := e.byDevice[device]
	s := Critical
	for s > Normal && of[s] == 0 {
		s--
	}
	return s
}

// take adds one event and returns the device whose severity it may have changed, "" for none: it came
// before, or is older than what is known of the episode.
func (e *episodes) take(ev batch.Event) (device string) {
	k := episodeKey{ev.Rule, ev.Key}
	a := e.open[k]
	if a != nil && (ev.Time.Before(a.last) || ev.ID == a.id) {
		return ""
	}
	if ev.State == "cleared" {
		if a == nil {
			return ""
		}
		delete(e.open, k)
		e.count(a.device, a.severity, Normal)
		return a.device
	}
	if a == nil {
		a = &episode{id: ev.ID, device: ev.Device}
		e.open[k] = a
	}
	old := a.severity
	a.severity, _ = ParseSeverity(ev.Severity)
	a.last = ev.Time
	e.count(a.device, old, a.severity)
	return a.device
}

// count takes note that an episode of the device has another severity than before; Normal is none.
func (e *episodes) count(device string, old, now Severity) {
	if device == "" {
		return
	}
	of := e.byDevice[device]
	of[old]--
	of[now]++
	if of[Normal] = 0; of == (severities{}) {
		delete(e.byDevice, device)
		return
	}
	e.byDevice[device] = of
}

// remember adds an event to the newest and reports whether it is new there.
func (e *episodes) remember(ev batch.Event) bool {
	if e.known[ev.ID] {
		return false
	}
	e.known[ev.ID] = true
	e.recent = append(e.recent, ev)
	if len(e.recent) >= 2*recentEvents {
		for _, old := range e.recent[:len(e.recent)-recentEvents] {
			delete(e.known, old.ID)
		}
		e.recent = slices.Clone(e.recent[len(e.recent)-recentEvents:])
	}
	return true
}

// ApplyEvents takes events in the order of the log. Those held already change nothing, and those of
// rules in shadow are left out: they colour no device and reach no listener.
func (s *State) ApplyEvents(events []batch.Event) {
	var fresh []batch.Event
	var touched []string
	e := &s.episodes
	e.mu.Lock()
	for _, ev := range events {
		if ev.Shadow() || !e.remember(ev) {
			continue
		}
		fresh = append(fresh, ev)
		if device := e.take(ev); device != "" {
			touched = append(touched, device)
		}
	}
	listen := e.listen
	e.mu.Unlock()
	s.metrics.events.Add(float64(len(fresh)))
	s.colour(touched)
	if listen != nil && len(fresh) > 0 {
		listen(fresh)
	}
}

// restoreEvents fills in what happened before the log's place: open episodes, given by their newest
// event, and the newest events.
func (s *State) restoreEvents(open, recent []batch.Event) {
	recent = slices.Clone(recent)
	slices.SortStableFunc(recent, func(a, b batch.Event) int { return a.Time.Compare(b.Time) })
	var touched []string
	e := &s.episodes
	e.mu.Lock()
	for _, ev := range open {
		if device := e.take(ev); device != "" {
			touched = append(touched, device)
		}
	}
	for _, ev := range recent {
		e.remember(ev)
	}
	e.mu.Unlock()
	s.colour(touched)
}

// colour gives the devices their severity.
func (s *State) colour(ids []string) {
	for _, id := range ids {
		d := s.Lookup(id)
		if d == nil {
			continue // it takes the severity when it appears
		}
		severity := s.episodes.severityOf(id)
		d.mu.Lock()
		marked := false
		if d.alarm != severity {
			d.alarm = severity
			d.ver++
			d.alarmVer = d.ver
			marked = d.mark(d.ver)
		}
		d.mu.Unlock()
		if marked {
			s.changed(d)
		}
	}
}

// OnEvents has listen called, on the goroutine of ApplyEvents, with every batch of new events. Set it
// before Run; there is one listener.
func (s *State) OnEvents(listen func([]batch.Event)) {
	s.episodes.mu.Lock()
	defer s.episodes.mu.Unlock()
	s.episodes.listen = listen
}

// RecentEvents returns the newest events held that keep accepts, n at most, oldest first.
func (s *State) RecentEvents(n int, keep func(*batch.Event) bool) []batch.Event {
	e := &s.episodes
	e.mu.RLock()
	defer e.mu.RUnlock()
	var out []batch.Event
	for i := len(e.recent) - 1; i >= 0 && len(out) < n; i-- {
		if keep == nil || keep(&e.recent[i]) {
			out = append(out, e.recent[i])
		}
	}
	slices.Reverse(out)
	return out
}

package notify

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"panormus/stream/batch"
)

// Bounds of one receiver's state.
const (
	maxOutbox   = 100    // messages on their way; at the bound the log is not read
	maxAlarms   = 50     // of one message; others make a second one
	maxEpisodes = 20_000 // open alarms followed; at the bound the oldest is forgotten
	maxWithData = 1000   // pending alarms that keep their context
	maxBody     = 256 << 10
	lookAgain   = time.Minute // at what is suppressed
)

// state is what a queue keeps.
type state struct {
	Seq    uint64            `json:"seq"` // up to which events were taken in
	Groups map[string]*group `json:"groups,omitempty"`
	Outbox []*parcel         `json:"outbox,omitempty"`
	Round  uint64            `json:"round,omitempty"` // how often it was kept
}

// A group is alarms that are told together.
type group struct {
	Route    string              `json:"route"`
	Labels   map[string]string   `json:"labels"`
	Episodes map[string]*episode `json:"episodes"`
	Due      time.Time           `json:"due,omitzero"`   // when what is pending is told; zero: nothing is
	Again    time.Time           `json:"again,omitzero"` // when what is open is told again; zero: never
	Repeats  int                 `json:"repeats,omitempty"`
}

func (g *group) key() string { return groupKey(g.Route, g.Labels) }

func groupKey(route string, labels map[string]string) string {
	key := fmt.Sprintf("%q", route)
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		key += fmt.Sprintf(" %s=%q", k, labels[k])
	}
	return key
}

// An episode is an alarm from its raised event on, until its end was told.
type episode struct {
	Alarm   Notice `json:"alarm"`
	Pending bool   `json:"pending,omitempty"` // there is news of it
	Told    bool   `json:"told,omitempty"`
	// Escalated is the severity that it grew to because nobody acknowledged it; what the rule says is below.
	Escalated string `json:"escalated,omitempty"`
}

// A parcel is a message on its way.
type parcel struct {
	Message   *Message  `json:"message"`
	Since     time.Time `json:"since"`
	Attempts  int       `json:"attempts,omitempty"`
	LastError string    `json:"last_error,omitempty"`

	notBefore time.Time
	kept      bool // in the state as it was kept last
}

// A tray makes messages of events. It knows no clock, log or network: it is told the time. It belongs to
// one goroutine.
type tray struct {
	state
	receiver   string
	routes     func() []*Route
	suppressed func(batch.Event) bool
	index      map[string]*group // of each episode
	pending    int
	forgotten  uint64
}

func newTray(receiver string, routes func() []*Route, suppressed func(batch.Event) bool) *tray {
	t := &tray{receiver: receiver, routes: routes, suppressed: suppressed}
	t.reindex()
	return t
}

// restore takes up what was kept.
func (t *tray) restore(b []byte) error {
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("state of receiver %s: %w", t.receiver, err)
	}
	for key, g := range s.Groups {
		if g == nil || g.Episodes == nil {
			return fmt.Errorf("state of receiver %s: group %s without episodes", t.receiver, key)
		}
	}
	for _, p := range s.Outbox {
		if p == nil || p.Message == nil || len(p.Message.Alarms) == 0 {
			return fmt.Errorf("state of receiver %s: a message without alarms", t.receiver)
		}
		p.Message.group = groupKey(p.Message.Route, p.Message.Group)
		p.kept = true
	}
	t.state = s
	t.reindex()
	return nil
}

func (t *tray) reindex() {
	if t.Groups == nil {
		t.Groups = map[string]*group{}
	}
	t.index, t.pending = map[string]*group{}, 0
	for _, g := range t.Groups {
		for k, e := range g.Episodes {
			t.index[k] = g
			if e.Pending {
				t.pending++
			}
		}
	}
}

func (t *tray) full() bool { return len(t.Outbox) >= maxOutbox }

func (t *tray) route(id string) *Route {
	for _, r := range t.routes() {
		if r.ID == id && slices.Contains(r.Receivers, t.receiver) {
			return r
		}
	}
	return nil
}

// take adds one event of the log. An event that came before changes nothing, nor does one of a rule on trial.
func (t *tray) take(e *batch.Event, now time.Time) {
	if e.Shadow() {
		return
	}
	key := e.Rule + "\x00" + e.Key
	g := t.index[key]
	if g == nil {
		if e.State == "cleared" {
			return
		}
		for _, r := range t.routes() {
			if slices.Contains(r.Receivers, t.receiver) && r.matches(e) {
				t.begin(r, key, e, now)
				return
			}
		}
		return
	}
	ep := g.Episodes[key]
	if ep.Alarm.ID == e.ID || e.Time.Before(ep.Alarm.Time.Time) {
		return
	}
	r := t.route(g.Route)
	was := ep.Alarm
	raised := was.Raised
	if was.State == "cleared" && e.State != "cleared" {
		raised = Time{e.Time} // it is back before its end was told
	}
	if raised != was.Raised {
		ep.Escalated = ""
	}
	ep.Alarm = noticeOf(e, raised)
	if rank(ep.Escalated) > rank(e.Severity) {
		ep.Alarm.Severity = ep.Escalated
	}
	switch {
	case r == nil: // the route is gone, and with it who wanted to know
		t.drop(key)
	case e.State == "cleared" && (!ep.Told && (!open(r.Schedule, now) || t.hidden(ep)) || ep.Told && !r.resolved()):
		t.drop(key)
	case e.State == "cleared" || was.State == "cleared" || ep.Alarm.Severity != was.Severity || ep.Pending:
		t.mark(g, ep, now.Add(r.wait()))
	default:
		ep.Alarm.Context = nil // other values of the same alarm are no news
	}
}

// escalate takes alarms that grew graver, and reports whether that is news. One that no route was for is begun where there
// is one now.
func (t *tray) escalate(all []batch.Event, now time.Time) bool {
	news := false
	for i := range all {
		e := &all[i]
		key := e.Rule + "\x00" + e.Key
		g := t.index[key]
		if g == nil {
			for _, r := range t.routes() {
				if slices.Contains(r.Receivers, t.receiver) && r.matches(e) {
					t.begin(r, key, e, now)
					ep := t.index[key].Episodes[key]
					ep.Escalated, ep.Alarm.Escalated = e.Severity, true
					news = true
					break
				}
			}
			continue
		}
		ep, r := g.Episodes[key], t.route(g.Route)
		if r == nil || ep.Alarm.State == "cleared" || rank(e.Severity) <= rank(ep.Alarm.Severity) {
			continue
		}
		ep.Escalated, ep.Alarm.Severity, ep.Alarm.State, ep.Alarm.ID, ep.Alarm.Escalated = e.Severity, e.Severity, e.State, e.ID, true
		t.mark(g, ep, now.Add(r.wait()))
		news = true
	}
	return news
}

func (t *tray) begin(r *Route, key string, e *batch.Event, now time.Time) {
	if len(t.index) >= maxEpisodes {
		t.forget()
	}
	labels := r.labels(e)
	g := t.Groups[groupKey(r.ID, labels)]
	if g == nil {
		g = &group{Route: r.ID, Labels: labels, Episodes: map[string]*episode{}}
		t.Groups[g.key()] = g
	}
	ep := &episode{Alarm: noticeOf(e, Time{e.Time})}
	g.Episodes[key], t.index[key] = ep, g
	t.mark(g, ep, now.Add(r.wait()))
}

// mark notes that there is news of ep, to be told at due if nothing of its group is told earlier.
func (t *tray) mark(g *group, ep *episode, due time.Time) {
	if t.pending >= maxWithData {
		ep.Alarm.Context = nil
	}
	if !ep.Pending {
		ep.Pending = true
		t.pending++
	}
	if g.Due.IsZero() || due.Before(g.Due) {
		g.Due = due
	}
}

func (t *tray) drop(key string) {
	g := t.index[key]
	if g.Episodes[key].Pending {
		t.pending--
	}
	delete(g.Episodes, key)
	delete(t.index, key)
	if len(g.Episodes) == 0 {
		delete(t.Groups, g.key())
	}
}

// forget drops the episode that was raised first.
func (t *tray) forget() {
	oldest := ""
	for key, g := range t.index {
		if oldest == "" || g.Episodes[key].Alarm.Raised.Before(t.index[oldest].Episodes[oldest].Alarm.Raised.Time) {
			oldest = key
		}
	}
	t.drop(oldest)
	t.forgotten++
}

func (t *tray) hidden(ep *episode) bool {
	a := &ep.Alarm
	return t.suppressed != nil && t.suppressed(batch.Event{
		ID: a.ID, Rule: a.Rule, Severity: a.Severity, State: a.State, Time: a.Time.Time, Domain: a.Domain, Device: a.Device,
		Zone: a.Zone, Key: a.Key, Text: a.Text, Context: a.Context,
	})
}

// tick makes the messages that are due and reports whether there are any. With a full outbox it makes
// none: what is pending goes on waiting.
func (t *tray) tick(now time.Time) bool {
	before := len(t.Outbox)
	for _, key := range slices.Sorted(maps.Keys(t.Groups)) {
		g := t.Groups[key]
		r := t.route(g.Route)
		if r == nil {
			for k := range g.Episodes {
				t.drop(k)
			}
			continue
		}
		if t.full() {
			break
		}
		if !g.Due.IsZero() && !now.Before(g.Due) {
			t.tell(g, r, now)
		}
		if g.Due.IsZero() && !g.Again.IsZero() && !now.Before(g.Again) && !t.full() {
			t.repeat(g, r, now)
		}
	}
	return len(t.Outbox) > before
}

// tell makes messages of the news of a group.
func (t *tray) tell(g *group, r *Route, now time.Time) {
	if at := opens(r.Schedule, now); at.After(now) {
		g.Due = at
		for key, ep := range g.Episodes {
			if !ep.Told && ep.Alarm.State == "cleared" {
				t.drop(key)
			}
		}
		return
	}
	g.Due = time.Time{}
	keys := t.sorted(g, func(ep *episode) bool { return ep.Pending })
	var news []string
	for _, key := range keys {
		ep := g.Episodes[key]
		switch {
		case ep.Alarm.State == "cleared" && ep.Told || !t.hidden(ep):
			news = append(news, key)
		case ep.Alarm.State == "cleared":
			t.drop(key)
		default:
			g.Due = now.Add(lookAgain)
		}
	}
	for chunk := range slices.Chunk(news, maxAlarms) {
		if t.full() {
			g.Due = now
			return
		}
		t.form(KindAlarm, g, now, chunk)
		for _, key := range chunk {
			ep := g.Episodes[key]
			if ep.Alarm.State == "cleared" {
				t.drop(key)
				continue
			}
			ep.Pending, ep.Told, ep.Alarm.Context = false, true, nil
			t.pending--
		}
		g.Repeats, g.Again = 0, time.Time{}
		if every := r.repeat(); every > 0 {
			g.Again = now.Add(every)
		}
	}
}

// repeat tells a group again that is still open, unless its last message has not arrived yet.
func (t *tray) repeat(g *group, r *Route, now time.Time) {
	if at := opens(r.Schedule, now); at.After(now) {
		g.Again = at
		return
	}
	if slices.ContainsFunc(t.Outbox, func(p *parcel) bool { return p.Message.group == g.key() }) {
		g.Again = now.Add(lookAgain)
		return
	}
	keys := t.sorted(g, func(ep *episode) bool { return ep.Told && ep.Alarm.State != "cleared" && !t.hidden(ep) })
	if g.Again = (time.Time{}); r.repeat() > 0 {
		g.Again = now.Add(r.repeat())
	}
	if len(keys) == 0 || g.Again.IsZero() {
		return
	}
	g.Repeats++
	t.form(KindRepeat, g, now, keys[:min(len(keys), maxAlarms)])
}

// sorted are the keys of episodes that keep accepts, worst first, then oldest first.
func (t *tray) sorted(g *group, keep func(*episode) bool) []string {
	var keys []string
	for key, ep := range g.Episodes {
		if keep(ep) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(x, y string) int {
		a, b := &g.Episodes[x].Alarm, &g.Episodes[y].Alarm
		return cmp.Or(rank(b.Severity)-rank(a.Severity), a.Time.Compare(b.Time.Time), cmp.Compare(a.ID, b.ID))
	})
	return keys
}

func (t *tray) form(kind string, g *group, now time.Time, keys []string) {
	alarms := make([]Notice, len(keys))
	size := 0
	for i, key := range keys {
		alarms[i] = g.Episodes[key].Alarm
		if size += len(alarms[i].Context) + maxText; size > maxBody {
			alarms[i].Context = nil
		}
	}
	m := newMessage(t.receiver, kind, g, now, alarms)
	m.Repeat = g.Repeats
	if kind == KindAlarm {
		m.Repeat = 0
	}
	t.Outbox = append(t.Outbox, &parcel{Message: m, Since: now})
}

// next is when tick has something to do, the zero time for never.
func (t *tray) next() time.Time {
	var at time.Time
	earlier := func(v time.Time) {
		if at.IsZero() || v.Before(at) {
			at = v
		}
	}
	for _, g := range t.Groups {
		if !g.Due.IsZero() {
			earlier(g.Due)
		} else if !g.Again.IsZero() {
			earlier(g.Again)
		}
	}
	return at
}

// ready is the message to try now: of each group the first, and of these the one that may be tried and
// has waited longest. With none it is nil, and the time when there is one, zero for never.
func (t *tray) ready(now time.Time) (*parcel, time.Time) {
	var at time.Time
	var best *parcel
	seen := map[string]bool{}
	for _, p := range t.Outbox {
		if seen[p.Message.group] {
			continue
		}
		seen[p.Message.group] = true
		if now.Before(p.notBefore) {
			if at.IsZero() || p.notBefore.Before(at) {
				at = p.notBefore
			}
		} else if best == nil || p.Attempts < best.Attempts {
			best = p
		}
	}
	return best, at
}

func (t *tray) remove(p *parcel) {
	t.Outbox = slices.DeleteFunc(t.Outbox, func(q *parcel) bool { return q == p })
}

package feed

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	"github.com/prometheus/client_golang/prometheus"

	"panormus/controlroom/auth"
	"panormus/controlroom/live"
	"panormus/stream/alarms"
	"panormus/stream/batch"
)

// Alarms are all alarms; *alarms.Book is one.
type Alarms interface {
	List(q alarms.Query) (page []alarms.Record, more bool, total int)
	OnChange(listen func([]alarms.Record))
}

// Config is what a Hub needs. Zero durations and bounds take the defaults.
type Config struct {
	State *live.State
	// Alarms is what the alarms topic shows; nil: nothing.
	Alarms Alarms
	// Stats returns what the stats topic and GET /api/v1/stats show; it is marshalled as JSON. Nil:
	// an empty object.
	Stats func() any
	// AllowOrigin says whether a page of the request's Origin may open the feed; nil: only pages of
	// the host that was asked.
	AllowOrigin func(*http.Request) bool
	// Subscribed is called before somebody's subscription to a topic begins; an error refuses it. Nil:
	// nobody has to know.
	Subscribed func(who *auth.Principal, topic string) error

	Heartbeat  time.Duration // between heartbeats; default 5 s
	StatsEvery time.Duration // between frames of the stats topic; default 1 s
	// Coalesce is the least time between two looks at what changed; default 20 ms.
	Coalesce time.Duration
	// SlowAfter is how long a client may take to accept one message before it is closed with 1013;
	// default 15 s. One that takes longer than CutAfter cannot be told any more: its connection is
	// cut; default 60 s.
	SlowAfter, CutAfter time.Duration
	// Linger is how long a group without clients goes on, for those who resume; default 60 s.
	Linger           time.Duration
	MaxClients       int // default 4096
	MaxSubscriptions int // a client; default 32
	MaxGroups        int // different filters at a time; default 4096
	// MaxUserClients and MaxUserSubscriptions bound what one user or token has in all connections; default 100
	// and 1000. Where nobody has to say who they are, they bound nothing.
	MaxUserClients, MaxUserSubscriptions int
	// MaxAddressClients bounds the connections from one address, in IPv6 from one network of 64 bits, beside
	// those of this machine, where proxies are; default 500.
	MaxAddressClients int
	MaxMessage        int // bytes of a client's message; default 65536

	Log     *slog.Logger
	Metrics prometheus.Registerer
}

func orDefault[T comparable](v *T, otherwise T) {
	var zero T
	if *v == zero {
		*v = otherwise
	}
}

// A group is the subscriptions that share frames.
type group interface {
	join(c *client, id string, from *resume) subscription
	subscribers() *subscribers
	lock() sync.Locker
}

// A subscription is one client's place in a group.
type subscription interface {
	// step returns the messages to send next, or when to ask again where that is not at the next
	// wake. An error closes the client.
	step(now time.Time) ([]message, time.Time, error)
	leave()
}

// subscribers is the set of a group's clients, under the group's lock.
type subscribers struct {
	count map[*client]int
	list  []*client // those of count, made when asked for
	since time.Time // when the last one left
}

func (s *subscribers) add(c *client) {
	if s.count == nil {
		s.count = map[*client]int{}
	}
	s.count[c]++
	s.list = nil
}

func (s *subscribers) remove(c *client) {
	s.list = nil
	if s.count[c]--; s.count[c] <= 0 {
		delete(s.count, c)
	}
	if len(s.count) == 0 {
		s.since = time.Now()
	}
}

// all is every client once; the slice is not changed afterwards.
func (s *subscribers) all() []*client {
	if s.list == nil {
		s.list = slices.Collect(maps.Keys(s.count))
	}
	return s.list
}

func (s *subscribers) wake() {
	for c := range s.count {
		c.nudge()
	}
}

// A Hub serves the feed. Make one with New, run it, and mount it as an http.Handler.
type Hub struct {
	cfg      Config
	metrics  *metrics
	upgrader websocket.Upgrader
	instance string

	mu      sync.Mutex // guards groups, and their coming and going against changes on the way
	groups  map[string]group
	changes []live.Change
	noted   chan struct{} // one slot: groups were given something outside of spread
	made    uint64
	clients sync.WaitGroup
	rounds  sync.WaitGroup

	clientsMu sync.Mutex
	open      map[*client]struct{}
	admitted  int // those in open, and those that are on their way there
	guests    map[string]*guest
	addresses map[string]int // clients by network
	closed    bool
}

// New makes a Hub and listens to the state's events and to alarms.
func New(cfg Config) *Hub {
	orDefault(&cfg.Heartbeat, 5*time.Second)
	orDefault(&cfg.StatsEvery, time.Second)
	orDefault(&cfg.Coalesce, 20*time.Millisecond)
	orDefault(&cfg.SlowAfter, 15*time.Second)
	orDefault(&cfg.CutAfter, time.Minute)
	orDefault(&cfg.Linger, time.Minute)
	orDefault(&cfg.MaxClients, 4096)
	orDefault(&cfg.MaxSubscriptions, 32)
	orDefault(&cfg.MaxGroups, 4096)
	orDefault(&cfg.MaxMessage, 64<<10)
	orDefault(&cfg.MaxUserClients, 100)
	orDefault(&cfg.MaxUserSubscriptions, 1000)
	orDefault(&cfg.MaxAddressClients, 500)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Stats == nil {
		cfg.Stats = func() any { return struct{}{} }
	}
	var id [4]byte
	_, _ = rand.Read(id[:])
	h := &Hub{
		cfg: cfg, metrics: newMetrics(cfg.Metrics), instance: hex.EncodeToString(id[:]),
		groups: map[string]group{}, noted: make(chan struct{}, 1), open: map[*client]struct{}{},
		guests: map[string]*guest{}, addresses: map[string]int{},
		upgrader: websocket.Upgrader{
			HandshakeTimeout: 10 * time.Second, ReadBufferSize: 1024, WriteBufferSize: 4096,
			WriteBufferPool: &sync.Pool{}, EnableCompression: true, CheckOrigin: cfg.AllowOrigin, Error: refuse,
		},
	}
	cfg.State.OnEvents(h.events)
	if cfg.Alarms != nil {
		cfg.Alarms.OnChange(h.alarms)
	}
	return h
}

// Run serves until ctx ends, then closes every client with 1001 and waits for them.
func (h *Hub) Run(ctx context.Context) error {
	stats := time.NewTicker(h.cfg.StatsEvery)
	defer stats.Stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var last time.Time // of looking at what changed
	next := time.Now().Add(time.Hour)
	waiting := false
	for {
		var wake <-chan struct{}
		if !waiting {
			wake = h.cfg.State.Changes()
		}
		select {
		case <-ctx.Done():
			h.shutdown()
			return nil
		case <-stats.C:
			h.tick(time.Now())
			continue
		case <-wake:
			// What arrives together is sent together: give the rest of it a moment.
			waiting = true
			timer.Reset(min(time.Until(next), max(time.Until(last.Add(h.cfg.Coalesce)), h.cfg.Coalesce/4)))
			continue
		case <-h.noted:
		case <-timer.C:
		}
		now := time.Now()
		next = h.spread(now)
		last, waiting = now, false
		timer.Reset(time.Until(next))
	}
}

// spread gives every group what changed, seals the frames that are due, and returns when the next is.
func (h *Hub) spread(now time.Time) time.Time {
	next := now.Add(time.Hour)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.collect()
	for _, g := range h.groups {
		g, ok := g.(*stateGroup)
		if !ok {
			continue
		}
		due, pending := g.due()
		if !pending {
			continue
		}
		// A little early is better than a whole round late.
		if due.Sub(now) <= h.cfg.Coalesce/4 {
			g.seal(now)
		} else if due.Before(next) {
			next = due
		}
	}
	return next
}

// collect takes what changed in the city and gives it to every group. The caller holds the lock.
func (h *Hub) collect() {
	h.changes = h.cfg.State.Collect(h.changes[:0])
	if len(h.changes) == 0 {
		return
	}
	for _, g := range h.groups {
		if g, ok := g.(*stateGroup); ok {
			g.note(h.changes)
		}
	}
	clear(h.changes)
}

// tick sends stats and lets go of what nobody has used for a while.
func (h *Hub) tick(now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, g := range h.groups {
		g.lock().Lock()
		subs := g.subscribers()
		idle := len(subs.count) == 0
		if idle && now.Sub(subs.since) > h.cfg.Linger {
			delete(h.groups, key)
		}
		if l, ok := g.(*listGroup); ok && l.kind == "stats" && !idle {
			l.append(h.stats())
			l.subs.wake()
		}
		g.lock().Unlock()
		if s, ok := g.(*stateGroup); ok {
			s.forget(now)
		}
	}
	h.metrics.groups.Set(float64(len(h.groups)))
}

// forgetIdle makes room for a group: of those that nobody uses any more, the one that was left first goes, and
// whoever would have resumed there gets a snapshot. The caller holds the lock.
func (h *Hub) forgetIdle() bool {
	idle, since := "", time.Time{}
	for key, g := range h.groups {
		g.lock().Lock()
		subs := g.subscribers()
		if len(subs.count) == 0 && (idle == "" || subs.since.Before(since)) {
			idle, since = key, subs.since
		}
		g.lock().Unlock()
	}
	if idle == "" {
		return false
	}
	delete(h.groups, idle)
	return true
}

func (h *Hub) stats() []byte {
	b, err := json.Marshal(h.cfg.Stats())
	if err != nil {
		h.cfg.Log.Error("stats cannot be encoded", "error", err)
		return []byte("{}")
	}
	return b
}

// events is called with every batch of new events.
func (h *Hub) events(events []batch.Event) { spreadList(h, "event", events, encodeEvent) }

// alarms is called with every change of alarms.
func (h *Hub) alarms(changed []alarms.Record) { spreadList(h, "alarm", changed, encodeAlarm) }

// spreadList gives what is new to every group of a kind.
func spreadList[T any](h *Hub, kind string, fresh []T, encode func(*T) []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, g := range h.groups {
		l, ok := g.(*listGroup)
		if !ok || l.kind != kind {
			continue
		}
		l.mu.Lock()
		before := l.seq
		for i := range fresh {
			if l.keep(&fresh[i]) {
				l.append(encode(&fresh[i]))
			}
		}
		if l.seq != before {
			l.subs.wake()
		}
		l.mu.Unlock()
	}
}

// subscribe joins the client to the group of the request, which it makes if it is missing.
func (h *Hub) subscribe(c *client, r *request) (subscription, error) {
	rule, _ := auth.TopicRule(r.Topic)
	if why := rule.Lets(&c.who); why != "" {
		return nil, fmt.Errorf("topic %s: %s", r.Topic, why)
	}
	if h.cfg.Subscribed != nil {
		if err := h.cfg.Subscribed(&c.who, r.Topic); err != nil {
			return nil, fmt.Errorf("topic %s: it cannot be noted now who reads it: %w", r.Topic, err)
		}
	}
	scope := c.who.Scope
	if rule.Reach == auth.Free {
		scope = nil
	}
	// Those who see different parts of the city share no frames.
	key := r.key() + scope.Key()
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.groups[key]
	if g == nil {
		if len(h.groups) >= h.cfg.MaxGroups && !h.forgetIdle() {
			return nil, fmt.Errorf("%d different filters are served at a time, and all are taken; try again later", h.cfg.MaxGroups)
		}
		// What the new group begins with is not to come once more as a change.
		h.collect()
		select {
		case h.noted <- struct{}{}:
		default:
		}
		h.made++
		g = h.newGroup(h.instance+"-"+strconv.FormatUint(h.made, 36), r, scope)
		h.groups[key] = g
	}
	return g.join(c, *r.ID, r.Resume), nil
}

func (h *Hub) newGroup(epoch string, r *request, scope *auth.Scope) group {
	sees := func(t auth.Thing) bool {
		t.Camera = !scope.Whole() && h.cfg.State.Camera(t.Device)
		return scope.Sees(t)
	}
	domain, zone, device := setOf(r.Filter.Domain), setOf(r.Filter.Zone), setOf(r.Filter.Device)
	severity, rule := setOf(r.Filter.Severity), setOf(r.Filter.Rule)
	switch r.Topic {
	case "state":
		if scope.Whole() {
			return newStateGroup(h, epoch, r, nil)
		}
		return newStateGroup(h, epoch, r, func(id string, w live.Where) bool {
			return scope.Sees(auth.Thing{Domain: w.Domain, Zone: w.Zone, Device: id, Camera: w.Camera})
		})
	case "stats":
		return &listGroup{epoch: epoch, kind: "stats", items: func() [][]byte { return [][]byte{h.stats()} }}
	case "alarms":
		return newAlarmGroup(h.cfg.Alarms, epoch, alarms.Query{
			Severities: r.Filter.Severity, Domains: r.Filter.Domain, Zones: r.Filter.Zone, Devices: r.Filter.Device, Rules: r.Filter.Rule,
			Sees: func(a *alarms.Alarm) bool {
				return sees(auth.Thing{Domain: a.Domain, Zone: a.Zone, Device: a.Device, Rule: a.Rule})
			},
		})
	}
	keep := func(v any) bool {
		e := v.(*batch.Event)
		return sees(auth.Thing{Domain: e.Domain, Zone: e.Zone, Device: e.Device, Rule: e.Rule}) && domain.has(e.Domain) && zone.has(e.Zone) && device.has(e.Device) && severity.has(e.Severity) && rule.has(e.Rule)
	}
	return newEventGroup(h.cfg.State, epoch, keep)
}

package feed

import (
	"context"
	"encoding/json"
	"iter"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"panormus/controlroom/auth"
	"panormus/controlroom/live"
	"panormus/devices"
	"panormus/stream/batch"
)

// register is a device registry in memory that can be changed.
type register struct {
	version atomic.Uint64
	held    atomic.Pointer[map[string]*devices.Asset]
}

func (r *register) put(ds ...devices.Device) {
	held := map[string]*devices.Asset{}
	if old := r.held.Load(); old != nil {
		for id, a := range *old {
			held[id] = a
		}
	}
	for _, d := range ds {
		held[d.ID] = &devices.Asset{Device: d}
	}
	r.held.Store(&held)
	r.version.Add(1)
}

func (r *register) Lookup(id string) *devices.Asset { return (*r.held.Load())[id] }
func (r *register) Version() uint64                 { return r.version.Load() }
func (r *register) Each() iter.Seq[*devices.Asset]  { return maps.Values(*r.held.Load()) }

// door lets in whom a header names.
type door struct {
	people map[string]auth.Principal
	gone   atomic.Bool
}

func (d *door) Authenticate(r *http.Request) (auth.Principal, bool) {
	p, ok := d.people[r.Header.Get("X-Who")]
	return p, ok
}
func (d *door) Still(*auth.Principal) bool { return !d.gone.Load() }

// guarded is a room with a guard before it and the registry that its zones come from.
func guarded(t *testing.T) (*room, *register, *door) {
	t.Helper()
	reg := &register{}
	reg.put(devices.Device{ID: "lamp-1", Domain: "lighting", Zone: "centro"}, devices.Device{ID: "lamp-2", Domain: "lighting", Zone: "mondello"},
		devices.Device{ID: "cam-1", Domain: "safety", Zone: "centro", Camera: &devices.Camera{}}, devices.Device{ID: "cam-2", Domain: "safety", Zone: "centro", Camera: &devices.Camera{}})
	state := live.New(reg, nil, nil)
	hub := New(Config{State: state})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = hub.Run(ctx)
	}()
	d := &door{people: map[string]auth.Principal{
		"all":    {Name: "all", Grant: auth.Grant{Role: auth.Viewer}},
		"centro": {Name: "centro", Grant: auth.Grant{Role: auth.DomainOperator, Scope: &auth.Scope{Areas: []auth.Place{{Domain: "lighting", Zone: "centro"}}}}},
		"police": {Name: "police", Grant: auth.Grant{Role: auth.Agency, Scope: &auth.Scope{Cameras: []string{"cam-1"}, Share: []string{"events"}}}},
	}}
	g := &auth.Guard{Who: d, Rule: func(*http.Request) auth.Rule { r, _ := auth.RouteRule("GET /ws/v1/feed"); return r }}
	srv := httptest.NewServer(g.Wrap(hub))
	t.Cleanup(func() {
		cancel()
		<-done
		srv.Close()
	})
	return &room{state: state, hub: hub, url: "ws" + strings.TrimPrefix(srv.URL, "http")}, reg, d
}

func (r *room) dialAs(t *testing.T, who string) *wire {
	t.Helper()
	conn, resp, err := websocket.DefaultDialer.Dial(r.url, http.Header{"X-Who": {who}})
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	resp.Body.Close()
	t.Cleanup(func() { conn.Close() })
	return &wire{t, conn}
}

// until reads messages until one is wanted, and fails where one holds what is hidden.
func (w *wire) until(hidden string, wanted func(said) bool) said {
	w.t.Helper()
	for {
		m := w.next()
		b, err := json.Marshal(m)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, word := range strings.Fields(hidden) {
			if strings.Contains(string(b), word) {
				w.t.Fatalf("%s shows %s", b, word)
			}
		}
		if wanted(m) {
			return m
		}
	}
}

func TestScopedState(t *testing.T) {
	r, reg, _ := guarded(t)
	for _, id := range []string{"lamp-1", "lamp-2", "cam-1"} {
		r.set(id, "power_w", 1000, 1)
	}
	whole := r.dialAs(t, "all")
	whole.say(`{"op":"subscribe","id":"a","topic":"state"}`)
	first := whole.next()
	if len(first.Items) != 3 {
		t.Fatalf("%+v, want the whole city", first)
	}
	part := r.dialAs(t, "centro")
	// Another's epoch and place are no way in, nor are filters.
	part.say(`{"op":"subscribe","id":"a","topic":"state","filter":{"device":["lamp-1","lamp-2","lamp-3","cam-1"],"zone":["mondello","centro"]},"resume":{"epoch":%q,"seq":%d}}`, first.Epoch, first.Seq)
	const others = "lamp-2 cam-1 mondello"
	part.until(others, func(m said) bool {
		return m.Type == "snapshot" && len(m.Items) == 1 && m.Items[0]["id"] == "lamp-1" && m.Epoch != first.Epoch
	})
	r.set("lamp-2", "power_w", 2000, 2)
	r.set("lamp-1", "power_w", 2000, 2)
	part.until(others, func(m said) bool { return m.Type == "delta" && len(m.Items) > 0 && m.Items[0]["id"] == "lamp-1" })
	// A device that moves away is gone, and nothing of where it went or what it says there is shown.
	reg.put(devices.Device{ID: "lamp-1", Domain: "lighting", Zone: "mondello"})
	r.state.SyncRegistry()
	r.set("lamp-1", "power_w", 3000, 777)
	part.until(others+" 777", func(m said) bool { return len(m.Items) > 0 && m.Items[0]["removed"] == true })
	r.set("lamp-1", "power_w", 4000, 888)
	reg.put(devices.Device{ID: "lamp-3", Domain: "lighting", Zone: "centro"})
	r.state.SyncRegistry()
	r.set("lamp-3", "power_w", 4000, 5)
	part.until(others+" 777 888", func(m said) bool { return len(m.Items) > 0 && m.Items[0]["id"] == "lamp-3" })
	// And comes back whole.
	reg.put(devices.Device{ID: "lamp-1", Domain: "lighting", Zone: "centro"})
	r.state.SyncRegistry()
	part.until(others, func(m said) bool {
		return len(m.Items) > 0 && m.Items[0]["id"] == "lamp-1" && m.Items[0]["zone"] == "centro" && m.Items[0]["values"] != nil
	})
}

func TestScopedBinaryState(t *testing.T) {
	r, reg, _ := guarded(t)
	r.set("lamp-1", "power_w", 1000, 1)
	r.set("lamp-2", "power_w", 1000, 1)
	part := r.dialAs(t, "centro")
	part.say(`{"op":"subscribe","id":"a","topic":"state","encoding":"bin"}`)
	frame := func() string {
		t.Helper()
		for {
			_ = part.SetReadDeadline(time.Now().Add(time.Minute))
			kind, data, err := part.ReadMessage()
			if err != nil {
				t.Fatal(err)
			}
			if kind == websocket.BinaryMessage {
				return string(data)
			}
		}
	}
	if f := frame(); strings.Contains(f, "lamp-2") || !strings.Contains(f, "lamp-1") {
		t.Errorf("snapshot %q", f)
	}
	reg.put(devices.Device{ID: "lamp-1", Domain: "lighting", Zone: "mondello"})
	r.state.SyncRegistry()
	if f := frame(); strings.Contains(f, "mondello") || strings.Contains(f, "power_w") || !strings.Contains(f, "lamp-1") {
		t.Errorf("what moved away %q, want that it is gone", f)
	}
}

func TestScopedEvents(t *testing.T) {
	r, _, _ := guarded(t)
	event := func(id, domain, zone, device string) batch.Event {
		return batch.Event{ID: id, Rule: "r" + id, Key: id, Domain: domain, Zone: zone, Device: device, Severity: "major", State: "raised", Time: time.Unix(5, 0), Context: json.RawMessage("{}")}
	}
	for _, id := range []string{"lamp-1", "cam-1", "cam-2"} {
		r.set(id, "power_w", 1000, 1)
	}
	r.state.ApplyEvents([]batch.Event{event("old-mine", "lighting", "centro", "lamp-1"), event("old-mondello", "lighting", "mondello", "lamp-2")})
	part := r.dialAs(t, "centro")
	part.say(`{"op":"subscribe","id":"b","topic":"events"}`)
	part.until("mondello", func(m said) bool { return m.Type == "snapshot" && len(m.Items) == 1 && m.Items[0]["id"] == "old-mine" })
	police := r.dialAs(t, "police")
	police.say(`{"op":"subscribe","id":"b","topic":"events"}`)
	police.until("lamp mondello", func(m said) bool { return m.Type == "snapshot" && len(m.Items) == 0 })
	r.state.ApplyEvents([]batch.Event{event("mondello", "lighting", "mondello", "lamp-2"), event("nowhere", "", "", ""), event("other", "safety", "centro", "cam-2"),
		event("mine", "lighting", "centro", "lamp-1"), event("crowd", "safety", "centro", "cam-1")})
	part.until("mondello nowhere cam-", func(m said) bool { return m.Type == "event" && m.Event["id"] == "mine" })
	police.until("mondello nowhere cam-2 lamp", func(m said) bool { return m.Type == "event" && m.Event["id"] == "crowd" })
	for _, topic := range []string{"state", "alarms", "stats"} {
		police.say(`{"op":"subscribe","id":"%s","topic":%q}`, topic, topic)
		police.until("", func(m said) bool { return m.Type == "error" && strings.Contains(m.Detail, "permission") })
		police.say(`{"op":"ping","n":1}`) // so that they are not three in a row
		police.until("", func(m said) bool { return m.Type == "pong" })
	}
}

func TestEveryTopicHasARule(t *testing.T) {
	for _, topic := range topics {
		if _, ok := auth.TopicRule(topic); !ok {
			t.Errorf("topic %s has no rule: add it to topics in controlroom/auth/policy.go", topic)
		}
	}
	for _, topic := range auth.TopicNames() {
		id := "a"
		if err := (&request{Op: "subscribe", ID: &id, Topic: topic}).check(); err != nil {
			t.Errorf("%s has a rule and is no topic: %v", topic, err)
		}
	}
}

// TestAccessEnds closes the feed of somebody who is no longer let in.
func TestAccessEnds(t *testing.T) {
	r, _, d := guarded(t)
	w := r.dialAs(t, "all")
	w.say(`{"op":"subscribe","id":"a","topic":"state"}`)
	w.next()
	d.gone.Store(true)
	_ = w.SetReadDeadline(time.Now().Add(time.Minute))
	for {
		if _, _, err := w.ReadMessage(); err != nil {
			if !websocket.IsCloseError(err, websocket.ClosePolicyViolation) {
				t.Errorf("%v, want a close 1008", err)
			}
			return
		}
	}
}

package feed

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"panormus/controlroom/auth"
	"panormus/controlroom/live"
)

// crowded is a hub to which many come: a header says who they are, and another from where.
func crowded(t *testing.T, cfg Config) (hub *Hub, dial func(who, from string) (*wire, *http.Response)) {
	t.Helper()
	cfg.State = live.New(nil, nil, nil)
	hub = New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = hub.Run(ctx)
	}()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p := auth.Open
		if name := r.Header.Get("X-Who"); name != "" {
			p = auth.Principal{Name: name, Via: auth.ViaToken, Grant: auth.Grant{Role: auth.Viewer}}
		}
		r.RemoteAddr = r.Header.Get("X-From")
		hub.ServeHTTP(w, r.WithContext(auth.With(r.Context(), p)))
	}))
	t.Cleanup(func() {
		cancel()
		<-done
		srv.Close()
	})
	return hub, func(who, from string) (*wire, *http.Response) {
		t.Helper()
		conn, resp, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(srv.URL, "http"), http.Header{"X-Who": {who}, "X-From": {from}})
		if err != nil {
			return nil, resp
		}
		t.Cleanup(func() { conn.Close() })
		return &wire{t, conn}, resp
	}
}

// served reports whether a client is answered.
func (w *wire) served() bool {
	w.say(`{"op":"ping","n":1}`)
	return w.next().Type == "pong"
}

func TestManyConnectionsOfOne(t *testing.T) {
	hub, dial := crowded(t, Config{MaxUserClients: 2})
	one, _ := dial("rosalia", "192.0.2.1:1")
	two, _ := dial("rosalia", "192.0.2.2:1")
	three, _ := dial("rosalia", "192.0.2.3:1")
	if one == nil || two == nil || three == nil || !one.served() || !two.served() {
		t.Fatal("those within the bound are not served")
	}
	if s := three.next(); s.Type != "error" || s.Title != "Too many connections" || !strings.Contains(s.Detail, "3 connections of rosalia, want at most 2") {
		t.Errorf("the one too many is told %+v", s)
	}
	if code := three.closed(); code != websocket.CloseTryAgainLater {
		t.Errorf("closed with %d, want 1013", code)
	}
	if other, _ := dial("vito", "192.0.2.1:1"); other == nil || !other.served() {
		t.Error("another user is not served")
	}
	for i := range 3 {
		if open, _ := dial("", "192.0.2.1:1"); open == nil || !open.served() {
			t.Errorf("connection %d where nobody has to say who they are is not served", i)
		}
	}
	one.Close()
	waitFor(t, func() bool {
		again, _ := dial("rosalia", "192.0.2.1:1")
		return again != nil && again.served()
	})
	hub.clientsMu.Lock()
	defer hub.clientsMu.Unlock()
	if hub.guests["token rosalia"] == nil || len(hub.guests) != 2 {
		t.Errorf("%d guests are remembered, want 2", len(hub.guests))
	}
}

// TestFloodOfConnections: who opens connections without an end does not get the places of all others.
func TestFloodOfConnections(t *testing.T) {
	_, dial := crowded(t, Config{MaxUserClients: 1, MaxClients: 100, MaxAddressClients: 20})
	refused := 0
	for range 30 {
		if w, resp := dial("mallory", "192.0.2.1:1"); w == nil {
			if refused++; resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" || resp.Header.Get("Content-Type") != "application/problem+json" {
				t.Fatalf("%v, want a problem 429", resp)
			}
		}
	}
	if refused < 30-1-turnedAway {
		t.Errorf("%d of 30 are refused as they knock, want all but %d", refused, 1+turnedAway)
	}
}

func TestManyConnectionsFromOneAddress(t *testing.T) {
	hub, dial := crowded(t, Config{MaxAddressClients: 2})
	for i := range 2 {
		if w, _ := dial(fmt.Sprint("user", i), fmt.Sprintf("[2001:db8::%d]:1", i)); w == nil || !w.served() {
			t.Fatal("those within the bound are not served")
		}
	}
	if w, resp := dial("another", "[2001:db8::ffff:1]:1"); w != nil || resp.StatusCode != http.StatusTooManyRequests {
		t.Errorf("a third one from the network: %v, want 429", resp)
	}
	if w, _ := dial("another", "[2001:db8:0:1::1]:1"); w == nil || !w.served() {
		t.Error("another network is not served")
	}
	for i := range 4 { // behind a proxy on this machine
		if w, _ := dial(fmt.Sprint("local", i), "127.0.0.1:1"); w == nil || !w.served() {
			t.Error("this machine has a bound too")
		}
	}
	hub.clientsMu.Lock()
	defer hub.clientsMu.Unlock()
	if len(hub.addresses) != 2 {
		t.Errorf("%v, want two networks", hub.addresses)
	}
}

func TestManySubscriptionsOfOne(t *testing.T) {
	_, dial := crowded(t, Config{MaxUserSubscriptions: 3})
	one, _ := dial("rosalia", "192.0.2.1:1")
	two, _ := dial("rosalia", "192.0.2.1:1")
	subscribe := func(w *wire, id string) said {
		w.say(`{"op":"subscribe","id":%q,"topic":"events","filter":{"zone":[%[1]q]}}`, id)
		return w.next()
	}
	for i := range 3 {
		if s := subscribe([]*wire{one, two}[i%2], fmt.Sprint(i)); s.Type != "snapshot" {
			t.Fatalf("%+v", s)
		}
	}
	if s := subscribe(two, "x"); s.Type != "error" || !strings.Contains(s.Detail, "4 subscriptions of rosalia, want at most 3") {
		t.Errorf("%+v, want that it is one too many", s)
	}
	one.say(`{"op":"unsubscribe","id":"0"}`)
	if !one.served() {
		t.Fatal("no answer")
	}
	if s := subscribe(two, "x"); s.Type != "snapshot" {
		t.Errorf("after another was given back: %+v", s)
	}
	one.Close() // and with it the one left there
	// A good message between: three bad ones in a row would end it.
	waitFor(t, func() bool { return two.served() && subscribe(two, "y").Type == "snapshot" })
}

// TestGroupsMakeRoom: filters that nobody uses any more do not keep others out.
func TestGroupsMakeRoom(t *testing.T) {
	_, dial := crowded(t, Config{MaxGroups: 2})
	w, _ := dial("rosalia", "192.0.2.1:1")
	for i := range 10 {
		w.say(`{"op":"subscribe","id":"a","topic":"events","filter":{"zone":["%d"]}}`, i)
		if s := w.next(); s.Type != "snapshot" {
			t.Fatalf("filter %d: %+v", i, s)
		}
		w.say(`{"op":"unsubscribe","id":"a"}`)
	}
	for i := range 2 {
		w.say(`{"op":"subscribe","id":"%d","topic":"events","filter":{"zone":["%[1]d"]}}`, i)
		if s := w.next(); s.Type != "snapshot" {
			t.Fatalf("%+v", s)
		}
	}
	w.say(`{"op":"subscribe","id":"b","topic":"events","filter":{"zone":["z"]}}`)
	if s := w.next(); s.Type != "error" || !strings.Contains(s.Detail, "all are taken") {
		t.Errorf("%+v, want that there is no room", s)
	}
}

// TestSubscribingHasAPace: who subscribes without an end is slowed down and is served all the same.
func TestSubscribingHasAPace(t *testing.T) {
	hub, dial := crowded(t, Config{})
	w, _ := dial("rosalia", "192.0.2.1:1")
	if !w.served() {
		t.Fatal("no answer")
	}
	hub.clientsMu.Lock()
	pace := hub.guests["token rosalia"].pace
	hub.clientsMu.Unlock()
	pace.SetBurst(2)
	pace.SetLimit(0.001) // one in a quarter of an hour
	for i := range 3 {
		w.say(`{"op":"subscribe","id":"%d","topic":"events"}`, i)
	}
	w.say(`{"op":"ping","n":9}`)
	got := ""
	for range 2 {
		got += w.next().ID
	}
	waitFor(t, func() bool { return pace.Tokens() < 0 }) // the third one waits
	if got != "01" {
		t.Errorf("subscriptions %q, want the first two", got)
	}
	w.Close() // and who waits goes when the client does: the hub could not stop otherwise
}

package feed

import (
	"fmt"
	"net/http"
	"time"

	"golang.org/x/time/rate"

	"panormus/controlroom/auth"
	"panormus/devices/logins"
)

// A guest is somebody and the connections he has. Where nobody has to say who they are, each connection is a
// guest of its own.
type guest struct {
	name    string        // for what he is told
	clients int           // that are served
	turned  int           // that are being told that they are too many
	subs    int           // of all his clients
	pace    *rate.Limiter // of his subscriptions: each may look at every device
}

const (
	// subscribeRate is how many subscriptions a second a guest is served in the long run, and subscribeBurst
	// how many at once. His messages beyond wait in his connections.
	subscribeRate  = 50
	subscribeBurst = 200
	// turnedAway is how many connections of a guest that are too many are told so at a time by a frame, which a
	// page can read; others are refused as they knock.
	turnedAway = 8
)

// A refusedAs is why somebody who knocks gets no place.
type refusedAs struct {
	status int
	why    error
}

// A place is where a client is counted.
type place struct {
	who     *auth.Principal
	guest   *guest
	address string // "" where it has no bound: a proxy's, or this machine's own
	tooMany error  // the client is to be told so and to go; nil: it is served
}

// admit takes a place for a client, or says why there is none.
func (h *Hub) admit(r *http.Request) (*place, *refusedAs) {
	p := &place{who: auth.Of(r.Context())}
	if !auth.IsLoopback(r.RemoteAddr) {
		p.address = logins.Network(r.RemoteAddr)
	}
	h.clientsMu.Lock()
	defer h.clientsMu.Unlock()
	if h.closed || h.admitted >= h.cfg.MaxClients {
		return nil, &refusedAs{http.StatusServiceUnavailable, fmt.Errorf("%d clients are served at a time, and all places are taken or the server is stopping", h.cfg.MaxClients)}
	}
	if n := h.addresses[p.address]; p.address != "" && n >= h.cfg.MaxAddressClients {
		return nil, &refusedAs{http.StatusTooManyRequests, fmt.Errorf("%d connections from %s, want at most %d", n+1, p.address, h.cfg.MaxAddressClients)}
	}
	g := h.guestOf(p.who)
	p.guest = g
	if g.clients >= h.cfg.MaxUserClients {
		p.tooMany = fmt.Errorf("%d connections of %s, want at most %d; close others first", g.clients+1, g.name, h.cfg.MaxUserClients)
		if g.turned >= turnedAway {
			return nil, &refusedAs{http.StatusTooManyRequests, p.tooMany}
		}
		g.turned++
	} else {
		g.clients++
	}
	if p.address != "" {
		h.addresses[p.address]++
	}
	h.admitted++ // before the upgrade: those who knock while it goes on find the place taken
	h.clients.Add(1)
	return p, nil
}

// guestOf is who somebody is; the caller holds the lock.
func (h *Hub) guestOf(who *auth.Principal) *guest {
	made := func(name string) *guest {
		return &guest{name: name, pace: rate.NewLimiter(subscribeRate, subscribeBurst)}
	}
	if who.Name == "" {
		return made("whoever has this connection")
	}
	key := who.Via + " " + who.Name
	g := h.guests[key]
	if g == nil {
		g = made(who.Name)
		h.guests[key] = g
	}
	return g
}

// give takes a place back.
func (h *Hub) give(p *place) {
	h.clientsMu.Lock()
	defer h.clientsMu.Unlock()
	defer h.clients.Done()
	h.admitted--
	g := p.guest
	if p.tooMany != nil {
		g.turned--
	} else {
		g.clients--
	}
	if g.clients+g.turned == 0 {
		delete(h.guests, p.who.Via+" "+p.who.Name)
	}
	if p.address == "" {
		return
	}
	if h.addresses[p.address]--; h.addresses[p.address] == 0 {
		delete(h.addresses, p.address)
	}
}

// count takes a subscription of a guest, or reports that he has too many.
func (h *Hub) count(g *guest) error {
	h.clientsMu.Lock()
	defer h.clientsMu.Unlock()
	if g.subs >= h.cfg.MaxUserSubscriptions {
		return fmt.Errorf("%d subscriptions of %s, want at most %d in all connections", g.subs+1, g.name, h.cfg.MaxUserSubscriptions)
	}
	g.subs++
	return nil
}

// uncount gives subscriptions back.
func (h *Hub) uncount(g *guest, n int) {
	h.clientsMu.Lock()
	g.subs -= n
	h.clientsMu.Unlock()
}

// keepPace waits until the guest may subscribe once more; false: the client has ended before.
func (c *client) keepPace() bool {
	wait := c.guest.pace.Reserve().Delay()
	if wait <= 0 {
		return true
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.done:
		return false
	}
}

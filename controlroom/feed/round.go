package feed

import (
	"sync/atomic"
	"time"
)

const (
	// helpAfter is how long a write may hold up a round before another goroutine goes on with the round's rest.
	helpAfter = 5 * time.Millisecond
	// aloneFor is how long a client that held one up is left to its own goroutine.
	aloneFor = 2 * time.Second
)

// A round writes a group's new frame to the group's clients, one after the other. It goes on in one goroutine that
// the scheduler puts in the queue once: where each client's own did that, whatever else the process had to do came
// between them, and the last client got the frame as much later than the first. A client that does not take what
// it is given holds up only itself: see helpAfter.
type round struct {
	hub     *Hub
	clients []*client // not changed
	next    atomic.Int64
	help    *time.Timer
}

// startRound starts one. It is called by Run alone.
func (h *Hub) startRound(clients []*client) {
	if len(clients) == 0 {
		return
	}
	r := &round{hub: h, clients: clients}
	h.rounds.Add(2) // the work and the timer
	r.help = time.AfterFunc(time.Hour, func() {
		defer h.rounds.Done()
		if r.next.Load() < int64(len(r.clients)) {
			h.rounds.Add(1)
			r.help.Reset(helpAfter)
			r.work()
		}
	})
	r.help.Reset(helpAfter) // not at once: it needs r.help
	go func() {
		defer h.rounds.Done()
		r.work()
	}()
}

func (r *round) work() {
	for i := r.next.Add(1) - 1; i < int64(len(r.clients)); i = r.next.Add(1) - 1 {
		r.clients[i].take()
	}
	if r.help.Stop() {
		r.hub.rounds.Done()
	}
}

// take writes what there is for the client, or leaves it to the client's own goroutine.
func (c *client) take() {
	if !c.writing.TryLock() {
		c.nudge()
		return
	}
	defer c.writing.Unlock()
	if c.failed != nil || time.Now().Before(c.alone) {
		c.nudge()
		return
	}
	for range 2 { // a frame, and to see that it is all
		more, next, err := c.flush()
		if c.failed = err; err != nil || !next.IsZero() {
			break
		}
		if !more {
			return
		}
	}
	c.nudge()
}

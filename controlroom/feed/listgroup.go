package feed

import (
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// listHeld is how many frames of events, alarms or stats a group holds: the bound of every
	// subscriber's queue.
	listHeld = 4096
	// listShown is how many of the newest events a snapshot shows.
	listShown = 200
	// alarmsShown is how many of the newest open alarms a snapshot shows at most.
	alarmsShown = 5000
)

// A listGroup serves subscriptions whose frames are never merged: events, alarms, stats. What one
// holds is every subscriber's queue at once; whoever is overtaken is closed.
type listGroup struct {
	epoch string
	kind  string           // of frame: event, alarm or stats
	keep  func(v any) bool // whether v, an event or alarm, becomes a frame; called once for each

	mu     sync.Mutex
	seq    uint64
	frames []*shared // the newest, the last one being seq
	items  func() [][]byte
	subs   subscribers
}

// append adds a frame that holds the JSON value; the caller holds the lock.
func (g *listGroup) append(value []byte) {
	g.seq++
	seq := g.seq
	g.frames = append(g.frames, &shared{
		kind: websocket.TextMessage, encode: func() []byte { return value }, tail: []byte("}"),
		header: func(id string) []byte {
			return append(append(append(appendHead(nil, g.kind, id, seq), `,"`...), g.kind...), `":`...)
		},
	})
	if len(g.frames) >= 2*listHeld {
		g.frames = append([]*shared(nil), g.frames[len(g.frames)-listHeld:]...)
	}
	// A client that keeps up has taken its encoding long ago.
	if n := len(g.frames); n > 64 {
		g.frames[n-65].release()
	}
}

func (g *listGroup) first() uint64 { return g.seq - uint64(min(len(g.frames), listHeld)) + 1 }

func (g *listGroup) join(c *client, id string, from *resume) subscription {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.subs.add(c)
	s := &listSubscription{group: g, client: c, id: id, at: g.seq}
	if from != nil && from.Epoch == g.epoch && from.Seq <= g.seq && from.Seq+1 >= g.first() {
		s.at = from.Seq
		return s
	}
	items := g.items()
	for first := true; first || len(items) > 0; first = false {
		page := items[:min(len(items), listShown)]
		items = items[len(page):]
		data := snapshotHead(id, g.epoch, g.seq, len(items) > 0)
		for i, it := range page {
			if i > 0 {
				data = append(data, ',')
			}
			data = append(data, it...)
		}
		s.snap = append(s.snap, text(append(data, deltaTail...)))
	}
	return s
}

func (g *listGroup) subscribers() *subscribers { return &g.subs }
func (g *listGroup) lock() sync.Locker         { return &g.mu }

type listSubscription struct {
	group  *listGroup
	client *client
	id     string
	at     uint64
	snap   []message
}

func (s *listSubscription) step(time.Time) ([]message, time.Time, error) {
	if len(s.snap) > 0 {
		m := s.snap[0]
		s.snap = s.snap[1:]
		return []message{m}, time.Time{}, nil
	}
	g := s.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if s.at == g.seq {
		return nil, time.Time{}, nil
	}
	if s.at+1 < g.first() {
		return nil, time.Time{}, errSlow
	}
	f := g.frames[uint64(len(g.frames))-(g.seq-s.at)]
	s.at++
	return []message{f.message(s.id)}, time.Time{}, nil
}

func (s *listSubscription) leave() {
	s.group.mu.Lock()
	defer s.group.mu.Unlock()
	s.group.subs.remove(s.client)
}

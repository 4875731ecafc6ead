package udp

import (
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"panormus/ingest/lorawan/frame"
)

// A Gateway is what is known of a gateway that sent something.
type Gateway struct {
	EUI       frame.EUI
	From      netip.AddrPort // where it sent from last
	Seen      time.Time      // when it sent last
	Datagrams uint64         // let in
	Refused   uint64         // beyond its rate
}

// gateway is the live form of a Gateway.
type gateway struct {
	seen      atomic.Int64 // Unix ns
	turn      atomic.Int64 // when its next datagram is due, Unix ns: the rate's state
	datagrams atomic.Uint64
	refused   atomic.Uint64
	from      atomic.Pointer[netip.AddrPort]
}

// idle is after how long of silence a gateway makes room for another.
const idle = 10 * time.Minute

type gateways struct {
	allow  map[frame.EUI]bool // nil: all
	max    int
	period int64 // ns between datagrams at the rate; 0: any rate
	burst  int64 // ns that a gateway may be ahead of its rate

	mu    sync.RWMutex
	all   map[frame.EUI]*gateway
	swept int64 // when room was last sought
}

// admit lets a datagram of a gateway in or says why not.
func (g *gateways) admit(eui frame.EUI, from netip.AddrPort, now int64) frame.Reason {
	g.mu.RLock()
	gw := g.all[eui]
	g.mu.RUnlock()
	if gw == nil {
		if g.allow != nil && !g.allow[eui] {
			return frame.ReasonGateway
		}
		if gw = g.add(eui, now); gw == nil {
			return frame.ReasonGateway
		}
	}
	gw.seen.Store(now)
	if g.period > 0 && !gw.due(now, g.period, g.burst) {
		gw.refused.Add(1)
		return frame.ReasonRate
	}
	gw.datagrams.Add(1)
	if old := gw.from.Load(); old == nil || *old != from {
		gw.from.Store(&from)
	}
	return ""
}

// due takes one datagram from the gateway's allowance.
func (gw *gateway) due(now, period, burst int64) bool {
	for {
		turn := gw.turn.Load()
		next := max(turn, now) + period
		if next-now > burst {
			return false
		}
		if gw.turn.CompareAndSwap(turn, next) {
			return true
		}
	}
}

// add makes a place for a gateway, if need be that of a silent one.
func (g *gateways) add(eui frame.EUI, now int64) *gateway {
	g.mu.Lock()
	defer g.mu.Unlock()
	if gw := g.all[eui]; gw != nil {
		return gw
	}
	if len(g.all) >= g.max && now-g.swept > int64(time.Second) {
		g.swept = now
		for other, gw := range g.all {
			if now-gw.seen.Load() > int64(idle) {
				delete(g.all, other)
			}
		}
	}
	if len(g.all) >= g.max {
		return nil
	}
	gw := &gateway{}
	gw.seen.Store(now)
	g.all[eui] = gw
	return gw
}

func (g *gateways) list() []Gateway {
	g.mu.RLock()
	defer g.mu.RUnlock()
	out := make([]Gateway, 0, len(g.all))
	for eui, gw := range g.all {
		l := Gateway{EUI: eui, Seen: time.Unix(0, gw.seen.Load()).UTC(), Datagrams: gw.datagrams.Load(), Refused: gw.refused.Load()}
		if from := gw.from.Load(); from != nil {
			l.From = *from
		}
		out = append(out, l)
	}
	slices.SortFunc(out, func(a, b Gateway) int {
		if a.EUI < b.EUI {
			return -1
		}
		return 1
	})
	return out
}

func (g *gateways) len() int {
	g.mu.RLock()
	defer g.mu.RUnlock()
	return len(g.all)
}

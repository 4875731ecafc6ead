// Package gather brings raw LoRaWAN frames from everything that hears them (packet forwarders,
// stations, gateway bridges) into the pump, once each.
//
//	udp.Receiver ------+
//	station.Receiver --+-> Gatherer: copies wait 200 ms for each other --Envelope--> Session
//	bridge topics -----+        <----------------- Ack -----------------
//
// A frame leaves as one envelope: topic lorawan/{dev_addr}/frame, Parsed an *envelope.Frame with every
// gateway's reception, the best first. As bytes it is the JSON of a gateway bridge: so the dead letter
// shows what came in, and can be replayed. The decoder of that topic checks and decrypts.
package gather

import (
	"bytes"
	"context"
	"sync"
	"time"

	"panormus/ingest"
	"panormus/ingest/lorawan/envelope"
	"panormus/ingest/lorawan/frame"
	"panormus/ingest/lorawan/merge"
)

// A Sink takes in what was gathered: an *ingest.Session whose Acker is the Gatherer.
type Sink interface {
	Handle(e *ingest.Envelope) error
	Reject(e *ingest.Envelope, why *ingest.Reject) error
}

// Config says how a Gatherer works.
type Config struct {
	// Window is how long the copies of a frame wait for each other; default 200 ms.
	Window time.Duration
	// Max is how many frames wait at most; beyond, the oldest goes early. Default 65,536.
	Max int
	// Event is told of what is no frame: Stats, TxAck. It must not block; nil for nobody. The
	// message is valid until it returns.
	Event func(m *envelope.Message, received int64)
}

// queueBound is how many frames and rejects may be on their way to the Sink; beyond, Add blocks.
const queueBound = 8192

// A Gatherer is safe for concurrent use.
type Gatherer struct {
	cfg  Config
	wake chan struct{} // there is something to hand on, or to wait for
	pool sync.Pool     // of *copied

	mu       sync.Mutex
	room     sync.Cond
	merger   *merge.Merger[*copied]
	ready    []ready
	ended    bool
	next     uint64 // token
	owed     map[uint64][]debt
	downlink uint64
}

// copied is a frame as it came from one sender, in memory that is used again.
type copied struct {
	frame    envelope.Frame // its slices are of this copied alone
	received int64
	debt     debt
	topic    [len(topicHead) + 8 + len(topicTail)]byte
}

const topicHead, topicTail = "lorawan/", "/frame"

// debt is the acknowledgement that a sender waits for.
type debt struct {
	acker ingest.Acker
	token uint64
}

// ready is what goes to the Sink next: a frame, or a message that is refused.
type ready struct {
	frame    *copied
	token    uint64
	received int64

	topic   string
	message []byte
	reject  *ingest.Reject
}

// New makes a gatherer. It hands nothing on until Run.
func New(cfg Config) *Gatherer {
	g := &Gatherer{cfg: cfg, wake: make(chan struct{}, 1), owed: map[uint64][]debt{}}
	g.room.L = &g.mu
	g.pool.New = func() any { return &copied{} }
	g.merger = merge.New(func(a, b **copied) bool { return best(&(*a).frame.Radio).Better(best(&(*b).frame.Radio)) })
	if cfg.Window > 0 {
		g.merger.Window = cfg.Window
	}
	if cfg.Max > 0 {
		g.merger.Max = cfg.Max
	}
	return g
}

func best(r *envelope.Radio) *envelope.Reception {
	if i := r.Best(); i >= 0 {
		return &r.Receptions[i]
	}
	return &envelope.Reception{RSSIdBm: -1000, SNRdB: -1000}
}

// Add takes in a message of a gateway, received at a Unix time in ms, and keeps nothing of it. The
// acker gets the token once the frame is on the log; a token of 0 asks for nothing. What is no frame
// goes to Config.Event, and downlinks heard by another gateway are counted and dropped. Add blocks
// while the log is behind, and returns ingest.ErrClosed after the end.
func (g *Gatherer) Add(m *envelope.Message, received int64, acker ingest.Acker, token uint64) error {
	c := g.copy(m, received, debt{acker, token})
	if c == nil {
		return nil
	}
	return g.add(c)
}

// copy makes a copied of a message, or does what is to be done with one that is no frame to be
// gathered and returns nil.
func (g *Gatherer) copy(m *envelope.Message, received int64, d debt) *copied {
	if m.Kind != envelope.Uplink || len(m.Payload.Raw) == 0 {
		if g.cfg.Event != nil && (m.Kind == envelope.Stats || m.Kind == envelope.TxAck) {
			g.cfg.Event(m, received)
		}
		d.pay()
		return nil
	}
	if frame.TypeOf(m.Payload.Raw[0]).IsDown() {
		g.mu.Lock()
		g.downlink++
		g.mu.Unlock()
		d.pay()
		return nil
	}
	c := g.pool.Get().(*copied)
	raw, receptions := c.frame.Raw[:0], c.frame.Radio.Receptions[:0]
	c.frame = m.Frame()
	c.frame.Raw = append(raw, m.Payload.Raw...)
	c.frame.Radio.Receptions = append(receptions, m.Radio.Receptions...)
	for i := range c.frame.Radio.Receptions {
		at := &c.frame.Radio.Receptions[i].At
		at.Source, at.Service = nil, nil
	}
	c.received, c.debt = received, d
	return c
}

// add hands copies to the merger, all under one lock.
func (g *Gatherer) add(copies ...*copied) error {
	if err := g.enter(); err != nil {
		return err
	}
	now := time.Now()
	first := g.merger.Waiting() == 0
	var late []debt
	for i, c := range copies {
		if i > 0 && len(g.ready) >= queueBound { // out made more ready
			g.mu.Unlock()
			g.signal()
			if err := g.enter(); err != nil {
				return err
			}
		}
		k := merge.RawKey(c.frame.Raw)
		if c.frame.BadCRC {
			k.MIC ^= 0xffffffff // what is damaged does not join what is whole
		}
		if g.merger.Add(now, k, c, g.out) {
			if c.debt.token != 0 {
				late = append(late, c.debt)
			}
			g.free(c)
		}
	}
	first = first || len(g.ready) > 0
	g.mu.Unlock()
	for _, d := range late {
		d.pay()
	}
	if first {
		g.signal()
	}
	return nil
}

// keepReceptions bounds the memory that waits to be used again.
const keepReceptions = 16

func (g *Gatherer) free(c *copied) {
	if cap(c.frame.Radio.Receptions) > keepReceptions {
		c.frame.Radio.Receptions = nil
	}
	c.debt = debt{}
	g.pool.Put(c)
}

// Refuse files a message that cannot be read in the dead letter. topic says where it came in.
func (g *Gatherer) Refuse(topic string, message []byte, why *frame.Reject, received int64) error {
	if err := g.enter(); err != nil {
		return err
	}
	g.ready = append(g.ready, ready{
		topic: topic, message: bytes.Clone(message), received: received,
		reject: &ingest.Reject{Reason: ingest.Reason(why.Reason), Detail: why.Detail},
	})
	g.mu.Unlock()
	g.signal()
	return nil
}

// enter locks g with room in its queue.
func (g *Gatherer) enter() error {
	g.mu.Lock()
	for len(g.ready) >= queueBound && !g.ended {
		g.room.Wait()
	}
	if g.ended {
		g.mu.Unlock()
		return ingest.ErrClosed
	}
	return nil
}

func (g *Gatherer) signal() {
	select {
	case g.wake <- struct{}{}:
	default:
	}
}

// out makes one frame of its copies. g.mu is held.
func (g *Gatherer) out(f merge.Merged[*copied]) {
	chosen := f.Copies[f.Best]
	r := ready{frame: chosen, received: chosen.received}
	var debts []debt
	for i, c := range f.Copies {
		r.received = min(r.received, c.received)
		if c.debt.token != 0 && c.debt.acker != nil {
			debts = append(debts, c.debt)
		}
		if i != f.Best {
			chosen.frame.Radio.Receptions = append(chosen.frame.Radio.Receptions, c.frame.Radio.Receptions...)
			g.free(c)
		}
	}
	all := chosen.frame.Radio.Receptions
	all = all[:min(len(all), envelope.MaxReceptions)]
	chosen.frame.Radio.Receptions, chosen.frame.Time = all, 0
	for i := 0; chosen.frame.Time == 0 && i < len(all); i++ {
		chosen.frame.Time = all[i].Time
	}
	if len(debts) > 0 {
		g.next++
		r.token = g.next
		g.owed[r.token] = debts
	}
	_ = append(f.Key.DevAddr.Append(append(chosen.topic[:0], topicHead...)), topicTail...)
	g.ready = append(g.ready, r)
}

// Run hands on what was gathered until ctx ends, then what still waits, and returns.
func (g *Gatherer) Run(ctx context.Context, to Sink) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var batch []ready
	var e ingest.Envelope // here, since passing it to a Sink puts it on the heap
	for {
		g.mu.Lock()
		ending := ctx.Err() != nil
		now := time.Now()
		if ending {
			g.ended = true
			g.merger.Flush(now, g.out)
		} else {
			g.merger.Due(now, g.out)
		}
		batch, g.ready = g.ready, batch[:0]
		next, waits := g.merger.Next()
		g.room.Broadcast()
		g.mu.Unlock()

		for i := range batch {
			if err := g.hand(to, &batch[i], &e); err != nil {
				g.mu.Lock()
				g.ended = true
				g.room.Broadcast()
				g.mu.Unlock()
				return err
			}
		}
		clear(batch)
		if ending {
			return nil
		}
		var fire <-chan time.Time
		if waits {
			timer.Reset(time.Until(next))
			fire = timer.C
		}
		select {
		case <-ctx.Done():
		case <-g.wake:
		case <-fire:
		}
	}
}

func (g *Gatherer) hand(to Sink, r *ready, e *ingest.Envelope) error {
	if r.reject != nil {
		*e = ingest.Envelope{Topic: []byte(r.topic), Payload: r.message, Received: r.received}
		return to.Reject(e, r.reject)
	}
	c := r.frame
	*e = ingest.Envelope{Topic: c.topic[:], Parsed: &c.frame, Received: r.received, Token: r.token}
	err := to.Handle(e)
	g.free(c)
	return err
}

// Ack implements ingest.Acker for the Sink's session: it passes acknowledgements on to the senders
// of all copies.
func (g *Gatherer) Ack(tokens []uint64) {
	var paid []debt
	g.mu.Lock()
	for _, t := range tokens {
		paid = append(paid, g.owed[t]...)
		delete(g.owed, t)
	}
	g.mu.Unlock()
	for _, d := range paid {
		d.pay()
	}
}

func (d debt) pay() {
	if d.acker != nil && d.token != 0 {
		d.acker.Ack([]uint64{d.token})
	}
}

// Stats are what a Gatherer did since it was made.
type Stats struct {
	merge.Stats
	Downlinks uint64 // heard and dropped
	Waiting   int    // frames waiting for copies
}

// Stats since the start.
func (g *Gatherer) Stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	return Stats{Stats: g.merger.Stats(), Downlinks: g.downlink, Waiting: g.merger.Waiting()}
}

// Package gather brings raw LoRaWAN frames from everything that hears them (packet forwarders,
// stations, gateway bridges) into the pump, once each.
//
//	udp.Receiver ------+
//	station.Receiver --+-> Gatherer: copies wait 200 ms for each other --Envelope--> Session
//	bridge topics -----+        <----------------- Ack -----------------
//
// A frame leaves as one envelope: topic lorawan/{dev_addr}/frame, payload the JSON of
// envelope.AppendFrame with every gateway's reception, the best first. So the dead letter shows what
// came in, and can be replayed. The decoder of that topic checks and decrypts.
package gather

import (
	"bytes"
	"context"
	"slices"
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

	mu       sync.Mutex
	room     sync.Cond
	merger   *merge.Merger[copied]
	ready    []ready
	ended    bool
	next     uint64 // token
	owed     map[uint64][]debt
	downlink uint64
}

// copied is a frame as it came from one sender.
type copied struct {
	raw      []byte
	badCRC   bool
	radio    envelope.Radio
	received int64
	debt     debt
}

// debt is the acknowledgement that a sender waits for.
type debt struct {
	acker ingest.Acker
	token uint64
}

// ready is what goes to the Sink next.
type ready struct {
	envelope ingest.Envelope
	reject   *ingest.Reject
}

// New makes a gatherer. It hands nothing on until Run.
func New(cfg Config) *Gatherer {
	g := &Gatherer{cfg: cfg, wake: make(chan struct{}, 1), owed: map[uint64][]debt{}}
	g.room.L = &g.mu
	g.merger = merge.New(func(a, b *copied) bool { return best(&a.radio).Better(best(&b.radio)) })
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
	d := debt{acker, token}
	if m.Kind != envelope.Uplink || len(m.Payload.Raw) == 0 {
		if g.cfg.Event != nil && (m.Kind == envelope.Stats || m.Kind == envelope.TxAck) {
			g.cfg.Event(m, received)
		}
		d.pay()
		return nil
	}
	phy := m.Payload.Raw
	if frame.TypeOf(phy[0]).IsDown() {
		g.mu.Lock()
		g.downlink++
		g.mu.Unlock()
		d.pay()
		return nil
	}
	c := copied{raw: bytes.Clone(phy), badCRC: m.Payload.BadCRC, radio: m.Radio, received: received, debt: d}
	c.radio.Receptions = slices.Clone(m.Radio.Receptions)
	for i := range c.radio.Receptions {
		c.radio.Receptions[i].At.Source, c.radio.Receptions[i].At.Service = nil, nil
	}
	k := merge.RawKey(phy)
	if m.Payload.BadCRC {
		k.MIC ^= 0xffffffff // what is damaged does not join what is whole
	}
	if err := g.enter(); err != nil {
		return err
	}
	first := g.merger.Waiting() == 0
	late := g.merger.Add(time.Now(), k, c, g.out)
	first = first || len(g.ready) > 0
	g.mu.Unlock()
	if late {
		d.pay()
	}
	if first {
		g.signal()
	}
	return nil
}

// Refuse files a message that cannot be read in the dead letter. topic says where it came in.
func (g *Gatherer) Refuse(topic string, message []byte, why *frame.Reject, received int64) error {
	if err := g.enter(); err != nil {
		return err
	}
	g.ready = append(g.ready, ready{
		envelope: ingest.Envelope{Topic: []byte(topic), Payload: append([]byte(nil), message...), Received: received},
		reject:   &ingest.Reject{Reason: ingest.Reason(why.Reason), Detail: why.Detail},
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

// out makes one envelope of the copies of a frame. g.mu is held.
func (g *Gatherer) out(f merge.Merged[copied]) {
	chosen := &f.Copies[f.Best]
	all := envelope.Message{Kind: envelope.Uplink, Radio: chosen.radio}
	all.Payload.Raw, all.Payload.BadCRC = chosen.raw, chosen.badCRC
	e := ingest.Envelope{Received: chosen.received}
	var debts []debt
	receptions := chosen.radio.Receptions
	for i := range f.Copies {
		c := &f.Copies[i]
		e.Received = min(e.Received, c.received)
		if c.debt.token != 0 && c.debt.acker != nil {
			debts = append(debts, c.debt)
		}
		if i != f.Best {
			receptions = append(receptions, c.radio.Receptions...)
		}
	}
	all.Radio.Receptions = receptions[:min(len(receptions), envelope.MaxReceptions)]
	if len(debts) > 0 {
		g.next++
		e.Token = g.next
		g.owed[e.Token] = debts
	}
	topic := make([]byte, 0, len("lorawan/00000000/frame"))
	topic = append(topic, "lorawan/"...)
	topic = append(topic, f.Key.DevAddr.String()...)
	e.Topic = append(topic, "/frame"...)
	e.Payload = envelope.AppendFrame(make([]byte, 0, 256+96*len(receptions)), &all)
	g.ready = append(g.ready, ready{envelope: e})
}

// Run hands on what was gathered until ctx ends, then what still waits, and returns.
func (g *Gatherer) Run(ctx context.Context, to Sink) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var batch []ready
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
			if err := hand(to, &batch[i]); err != nil {
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

func hand(to Sink, r *ready) error {
	if r.reject != nil {
		return to.Reject(&r.envelope, r.reject)
	}
	return to.Handle(&r.envelope)
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

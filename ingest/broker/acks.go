package broker

import (
	"sync"
	"time"
)

// acks are the acknowledgements a connection owes, in the order its messages came.
type acks struct {
	conn *conn

	mu      sync.Mutex
	first   uint64 // token of the oldest that is owed; tokens count from 1
	next    uint64
	ring    []owed // by token modulo its size, a power of two
	out     []byte // packets to be written
	spare   []byte
	writing bool // a flush is under way or was asked for
	dead    bool
}

type owed struct {
	packetID uint16
	kind     byte // first byte of the packet to be sent
	done     bool
}

const (
	firstRing = 64
	// maxRing bounds what a client may have in flight. There are 65,535 packet ids.
	maxRing = 1 << 16
)

func newAcks(c *conn) *acks { return &acks{conn: c, first: 1, next: 1} }

// add notes one more that is owed, or fails where the client has more in flight than MQTT has
// packet ids.
func (a *acks) add(packetID uint16, kind byte) (token uint64, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := int(a.next - a.first); n == len(a.ring) {
		if n >= maxRing {
			return 0, false
		}
		ring := make([]owed, max(firstRing, 2*n))
		for t := a.first; t < a.next; t++ {
			ring[t%uint64(len(ring))] = a.ring[t%uint64(n)]
		}
		a.ring = ring
	}
	token = a.next
	a.ring[token%uint64(len(a.ring))] = owed{packetID: packetID, kind: kind}
	a.next++
	return token, true
}

// Ack implements ingest.Acker.
func (a *acks) Ack(tokens []uint64) {
	a.mu.Lock()
	for _, t := range tokens {
		a.ring[t%uint64(len(a.ring))].done = true
	}
	for a.first < a.next {
		o := &a.ring[a.first%uint64(len(a.ring))]
		if !o.done {
			break
		}
		a.out = append(a.out, o.kind, 2, byte(o.packetID>>8), byte(o.packetID))
		a.first++
	}
	a.unlockAndFlush()
}

// sent reports whether what token stands for has been passed on.
func (a *acks) sent(token uint64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return token < a.first
}

// send writes a packet of its own, in no order with what is owed.
func (a *acks) send(packetID uint16, kind byte) {
	a.mu.Lock()
	a.out = append(a.out, kind, 2, byte(packetID>>8), byte(packetID))
	a.unlockAndFlush()
}

func (a *acks) unlockAndFlush() {
	if a.dead {
		a.out = a.out[:0]
	}
	ask := len(a.out) > 0 && !a.writing
	a.writing = a.writing || ask
	a.mu.Unlock()
	if ask {
		a.conn.broker.flusher.add(a)
	}
}

// stop drops what is still to be written.
func (a *acks) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.dead, a.out = true, nil
}

// flush writes until nothing is left.
func (a *acks) flush() {
	for {
		a.mu.Lock()
		if len(a.out) == 0 {
			a.writing = false
			a.mu.Unlock()
			return
		}
		b := a.out
		a.out, a.spare = a.spare[:0], nil
		a.mu.Unlock()
		_, err := a.conn.Write(b)
		a.mu.Lock()
		if cap(b) <= 64<<10 {
			a.spare = b
		}
		a.mu.Unlock()
		if err != nil {
			a.stop()
		}
	}
}

// A flusher collects the connections that have acknowledgements to write for a moment, since those
// of one connection come from several lanes at about the same time. A client that does not read
// holds up nobody but itself.
type flusher struct {
	mu    sync.Mutex
	dirty []*acks
	work  chan struct{}
	wg    sync.WaitGroup
}

// together is how long acknowledgements wait for company.
const together = 2 * time.Millisecond

func newFlusher() *flusher { return &flusher{work: make(chan struct{}, 1)} }

func (f *flusher) add(a *acks) {
	f.mu.Lock()
	f.dirty = append(f.dirty, a)
	first := len(f.dirty) == 1
	f.mu.Unlock()
	if first {
		select {
		case f.work <- struct{}{}:
		default:
		}
	}
}

// run flushes until stop closes, and then once more.
func (f *flusher) run(stop <-chan struct{}) {
	defer f.wg.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var list []*acks
	for stopped := false; !stopped; {
		select {
		case <-f.work:
			timer.Reset(together)
			<-timer.C
		case <-stop:
			stopped = true
		}
		f.mu.Lock()
		list, f.dirty = f.dirty, list[:0]
		f.mu.Unlock()
		for _, a := range list {
			f.wg.Go(a.flush)
		}
		clear(list)
	}
}

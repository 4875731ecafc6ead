package mqtt

import (
	"sync"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/eclipse/paho.mqtt.golang/packets"
)

// A queue stands between the client, whose reader must not be held up or pings go unanswered, and
// the pump, which may block.
type queue struct {
	bound int

	mu     sync.Mutex
	change *sync.Cond
	list   []paho.Message
	bytes  int
	closed bool
}

func newQueue(bound int) *queue {
	q := &queue{bound: bound}
	q.change = sync.NewCond(&q.mu)
	return q
}

// overhead is about what a message takes beside its payload.
const overhead = 256

// put adds m, or reports that it did not: the queue is closed, or full and m at QoS 0, which
// promises nothing. For others it waits for room; the broker's in-flight window seldom lets it
// come to that.
func (q *queue) put(m paho.Message) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.bytes >= q.bound && !q.closed {
		if m.Qos() == 0 {
			return false
		}
		q.change.Wait()
	}
	if q.closed {
		return false
	}
	q.list = append(q.list, m)
	q.bytes += len(m.Payload()) + overhead
	q.change.Broadcast()
	return true
}

// next removes the oldest message; it waits for one, and is false when the queue is closed and
// empty.
func (q *queue) next() (paho.Message, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.list) == 0 && !q.closed {
		q.change.Wait()
	}
	if len(q.list) == 0 {
		return nil, false
	}
	m := q.list[0]
	q.list[0] = nil
	if q.list = q.list[1:]; len(q.list) == 0 {
		q.list = nil
	}
	q.bytes -= len(m.Payload()) + overhead
	q.change.Broadcast()
	return m, true
}

// close lets nothing more in.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.change.Broadcast()
}

// An acker sends acknowledgements in the order of their messages (MQTT-4.6.0-2), on a goroutine of
// its own, since the client may block.
type acker struct {
	mu     sync.Mutex
	change *sync.Cond
	first  uint64 // token of owed[0]; tokens count from 1
	owed   []owed
	closed bool
	done   chan struct{}
}

type owed struct {
	m     paho.Message
	ready bool
}

func newAcker() *acker {
	a := &acker{first: 1, done: make(chan struct{})}
	a.change = sync.NewCond(&a.mu)
	go a.run()
	return a
}

// token notes that m is to be acknowledged; 0 where it is not.
func (a *acker) token(m paho.Message) uint64 {
	if m.Qos() == 0 {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.owed = append(a.owed, owed{m: m})
	return a.first + uint64(len(a.owed)) - 1
}

// Ack implements ingest.Acker.
func (a *acker) Ack(tokens []uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, t := range tokens {
		if i := t - a.first; t >= a.first && i < uint64(len(a.owed)) {
			a.owed[i].ready = true
		}
	}
	a.change.Signal()
}

// run sends until close is called and nothing is ready.
func (a *acker) run() {
	defer close(a.done)
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		if len(a.owed) == 0 || !a.owed[0].ready {
			if a.closed {
				return
			}
			a.change.Wait()
			continue
		}
		m := a.owed[0].m
		a.owed[0].m = nil
		a.first++
		if a.owed = a.owed[1:]; len(a.owed) == 0 {
			a.owed = nil
		}
		a.mu.Unlock()
		m.Ack()
		a.mu.Lock()
	}
}

// close sends what is ready and forgets the rest.
func (a *acker) close() {
	a.mu.Lock()
	a.closed = true
	a.change.Signal()
	a.mu.Unlock()
	<-a.done
}

// nowhere is a store of the client's that keeps nothing.
type nowhere struct{}

func (nowhere) Open()                             {}
func (nowhere) Put(string, packets.ControlPacket) {}
func (nowhere) Get(string) packets.ControlPacket  { return nil }
func (nowhere) All() []string                     { return nil }
func (nowhere) Del(string)                        {}
func (nowhere) Close()                            {}
func (nowhere) Reset()                            {}

package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	readBytes  = 16 << 10 // 4,096 acknowledgements
	writeBytes = 64 << 10 // a full socket buffer or so; more gains nothing

	// batch is how many messages are worth a write, and patience how long they may be gathered.
	batch    = 16
	patience = 10 * time.Millisecond
)

// tick is how often each of n connections of a worker is looked at. A look that finds nothing costs
// a system call, 1 to 2 us; waiting in each connection's read instead costs a wake-up for every
// acknowledgement that a broker writes singly, which measured no better and grew with the broker.
func tick(n int) time.Duration {
	return min(max(time.Millisecond, time.Duration(n)*30*time.Microsecond), 4*time.Millisecond)
}

// A slot is a message in flight; its index is the packet identifier less one.
type slot struct {
	message
	sent int64 // ns since the run's start; -1: free
}

// A source is the state of one device.
type source struct {
	n     uint32
	acked uint32
	ts    int64
}

// A connection sends the messages of its own devices. All but the atomics belong to the worker
// that looks after it.
type connection struct {
	o        *Options
	index    int
	clientID string
	enc      packer
	devices  []source // those numbered index, index+Connections, …
	next     int      // of devices, the one to speak next
	quota    int64    // messages it may send in all; -1: no bound
	rate     float64  // messages a second; 0: no bound

	net    socket
	io     rawIO
	dialed chan dialResult // of the attempt under way; nil while connected
	giveUp func()          // ends that attempt
	done   bool
	ended  time.Time // when the last new message was due; zero: not yet
	rested time.Time // when something was last sent
	slots  []slot
	free   []uint16 // indices of free slots, a ring
	head   int      // of free
	vacant int      // how many of free are
	in     []byte
	held   int    // bytes of in that wait for the rest of their packet
	out    []byte // what is to be written
	wrote  int    // bytes of out that are
	pinged bool
	pong   bool

	sent, acked        atomic.Int64
	connected          atomic.Bool
	resent, unexpected int64
	bytes              int64 // of sent packets, resent ones included
	reconnects         int64
	trouble            error // the first
	troubles           int64
	latency            histogram
	behind             time.Duration // the most that sending ran behind the rate
	firstTS, lastTS    int64
	lastAck            int64 // ns since start
}

func newConnection(o *Options, index int, clientID string) *connection {
	c := &connection{
		o: o, index: index, clientID: clientID, quota: -1,
		enc:     newPacker(o),
		devices: make([]source, share(int64(o.Devices), o.Connections, index)),
		rate:    o.Rate / float64(o.Connections),
		in:      make([]byte, readBytes),
		out:     make([]byte, 0, writeBytes),
	}
	if o.Count > 0 {
		c.quota = share(o.Count, o.Connections, index)
	}
	if o.QoS > 0 {
		c.slots = make([]slot, o.InFlight)
		c.free = make([]uint16, o.InFlight)
		c.vacant = o.InFlight
		for i := range c.slots {
			c.slots[i].sent = -1
			c.free[i] = uint16(i)
		}
	}
	return c
}

// A packer makes the packets of messages.
type packer interface {
	// append appends the packet of m under packet identifier pid to b: the same for the same m.
	append(b []byte, m message, pid uint16, dup bool) []byte
	payloadBytes() int
}

func newPacker(o *Options) packer {
	if o.Video {
		return newFrameEncoder(o.Prefix, o.QoS, o.Seed)
	}
	if o.Moving {
		return newEncoder(o.Domain, o.Prefix, o.Metrics, o.QoS, o.Seed, vehicle...)
	}
	return newEncoder(o.Domain, o.Prefix, o.Metrics, o.QoS, o.Seed)
}

// share is what part i of n gets of total.
func share(total int64, n, i int) int64 {
	s := total / int64(n)
	if int64(i) < total%int64(n) {
		s++
	}
	return s
}

// device is the number of the connection's i-th device.
func (c *connection) device(i int) int32 { return int32(c.index + i*c.o.Connections) }

// A schedule is when a run began and ends, for all connections alike.
type schedule struct {
	start  time.Time
	stop   time.Time       // no new messages from here on; zero: until intake ends
	intake context.Context // its end stops new messages
	drain  time.Duration
	away   sync.WaitGroup // goroutines that dial or say goodbye
}

// since is ns since the start.
func (s *schedule) since(t time.Time) int64 { return int64(t.Sub(s.start)) }

// over reports whether new messages are no longer wanted at t.
func (s *schedule) over(t time.Time) bool {
	return s.intake.Err() != nil || !s.stop.IsZero() && !t.Before(s.stop)
}

// work looks after conns, one look a tick at each, until all are done.
func work(s *schedule, conns []*connection) {
	tick := tick(len(conns))
	for {
		now := time.Now()
		busy := false
		for _, c := range conns {
			if !c.done {
				c.look(s, now)
				busy = true
			}
		}
		if !busy {
			return
		}
		time.Sleep(tick - time.Since(now))
	}
}

// look does whatever can be done now without waiting: book what was acknowledged, write what is
// due, come back after a loss, leave when all is settled.
func (c *connection) look(s *schedule, now time.Time) {
	if c.ended.IsZero() && (s.over(now) || c.sent.Load() == c.quota) {
		c.ended = now
	}
	late := !c.ended.IsZero() && now.After(c.ended.Add(s.drain))
	if c.dialed != nil && !c.resume() {
		if late {
			c.giveUp()
		}
		return
	}
	err := c.receive(s)
	if err == nil {
		err = c.flush()
	}
	if err == nil && len(c.out) == 0 {
		err = c.speak(s, now)
	}
	switch {
	case c.done:
	case err == nil && late:
		c.drop(errDrained)
		c.done = true
	case err != nil:
		c.drop(err)
		if c.o.QoS == 0 && !c.ended.IsZero() {
			c.done = true // nothing to resend, nothing more to send
			return
		}
		c.redial(s)
	}
}

// errDrained ends a connection whose acknowledgements did not come in time.
var errDrained = errors.New("no acknowledgement within the time to drain")

// speak writes new messages or, when there are to be none and all is settled, leaves. At QoS 0 the
// answer to a ping settles it: the broker has read everything.
func (c *connection) speak(s *schedule, now time.Time) error {
	switch {
	case c.ended.IsZero():
		writes := 1
		if c.o.QoS == 0 && c.rate == 0 {
			writes = 16 // or until the socket is full
		}
		for range writes {
			n := c.due(s, now)
			if n == 0 || len(c.out) > 0 {
				break
			}
			c.rested = now
			c.encode(s, n)
			if err := c.flush(); err != nil {
				return err
			}
		}
	case c.o.QoS == 0 && !c.pinged:
		c.pinged = true
		c.out = append(c.out, packetPingreq, 0)
		return c.flush()
	case c.o.QoS == 0 && c.pong, c.o.QoS > 0 && c.vacant == len(c.slots):
		c.leave(s)
	}
	return nil
}

// due is how many messages to send now.
func (c *connection) due(s *schedule, now time.Time) int64 {
	room := int64(c.o.InFlight)
	if c.o.QoS > 0 {
		room = int64(c.vacant)
	}
	n, sent := room, c.sent.Load()
	enough := min(int64(c.o.InFlight+3)/4, 4*batch) // less is not worth a write: more room is under way
	if c.rate > 0 {
		// Connections take turns: their messages are staggered.
		want := int64(now.Sub(s.start).Seconds()*c.rate+float64(c.index)/float64(c.o.Connections)) - sent
		if want > room {
			c.behind = max(c.behind, time.Duration(float64(want-room)/c.rate*1e9))
		}
		n = min(max(want, 0), room)
		enough = min(enough, batch)
		if now.Sub(c.rested) >= patience {
			enough = 1
		}
	}
	if c.quota >= 0 {
		n = min(n, c.quota-sent)
		enough = min(enough, c.quota-sent)
	}
	if n < enough {
		return 0
	}
	return n
}

// encode appends n new messages to what is to be written. From here on they count as sent: if they
// are not written now, they will be resent.
func (c *connection) encode(s *schedule, n int64) {
	now := time.Now()
	ms, at := now.UnixMilli(), s.since(now)
	for range n {
		d := &c.devices[c.next]
		d.n++
		d.ts = max(ms, d.ts+1)
		m := message{device: c.device(c.next), n: d.n, ts: d.ts}
		if c.next++; c.next == len(c.devices) {
			c.next = 0
		}
		if c.firstTS == 0 {
			c.firstTS = m.ts
		}
		c.lastTS = max(c.lastTS, m.ts)
		var pid uint16
		if c.o.QoS > 0 {
			i := c.free[c.head]
			if c.head++; c.head == len(c.free) {
				c.head = 0
			}
			c.vacant--
			c.slots[i] = slot{message: m, sent: at}
			pid = i + 1
		}
		c.out = c.enc.append(c.out, m, pid, false)
	}
	c.sent.Add(n)
}

// flush writes what the socket takes.
func (c *connection) flush() error {
	for c.wrote < len(c.out) {
		n, err := c.io.write(c.out[c.wrote:])
		if err != nil {
			return fmt.Errorf("write: %w", err)
		}
		if n == 0 {
			return nil
		}
		c.wrote += n
		c.bytes += int64(n)
	}
	c.out, c.wrote = c.out[:0], 0
	return nil
}

// receive books what has arrived.
func (c *connection) receive(s *schedule) error {
	for {
		n, err := c.io.read(c.in[c.held:])
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		if n == 0 {
			return nil
		}
		full := c.held+n == len(c.in)
		if err := c.book(c.in[:c.held+n], s.since(time.Now())); err != nil {
			return err
		}
		if !full {
			return nil
		}
	}
}

// book takes what arrived, whole packets and perhaps the start of one, which it keeps.
func (c *connection) book(b []byte, now int64) error {
	var acked int64
	for len(b) >= 4 {
		switch {
		case b[0] == packetPuback && b[1] == 2:
			acked += c.bookAck(uint16(b[2])<<8|uint16(b[3]), now)
			b = b[4:]
			continue
		case b[0] == packetPingresp && b[1] == 0:
			c.pong = true
			b = b[2:]
			continue
		}
		return fmt.Errorf("read: packet % x, want an acknowledgement", b[:4])
	}
	if len(b) >= 2 && b[0] == packetPingresp && b[1] == 0 {
		c.pong = true
		b = b[2:]
	}
	c.held = copy(c.in, b)
	if acked > 0 {
		c.acked.Add(acked)
		c.lastAck = now
	}
	return nil
}

func (c *connection) bookAck(pid uint16, now int64) int64 {
	i := int(pid) - 1
	if i < 0 || i >= len(c.slots) || c.slots[i].sent < 0 {
		c.unexpected++
		return 0
	}
	c.latency.add(time.Duration(now-c.slots[i].sent), 1)
	c.devices[int(c.slots[i].device)/c.o.Connections].acked++
	c.slots[i].sent = -1
	tail := c.head + c.vacant
	if tail >= len(c.free) {
		tail -= len(c.free)
	}
	c.free[tail] = uint16(i)
	c.vacant++
	return 1
}

package load

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync/atomic"
	"time"
)

const (
	readBytes  = 16 << 10 // 4,096 acknowledgements
	writeBytes = 64 << 10 // a full socket buffer or so; more gains nothing
)

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

// A connection sends the messages of its own devices. All but the atomics belong to the goroutine
// that calls run.
type connection struct {
	o        *Options
	index    int
	clientID string
	enc      *encoder
	devices  []source // those numbered index, index+Connections, …
	next     int      // of devices, the one to speak next
	quota    int64    // messages it may send in all; -1: no bound
	rate     float64  // messages a second; 0: no bound

	net    net.Conn
	slots  []slot
	free   []uint16 // indices of free slots, a ring
	head   int      // of free
	vacant int      // how many of free are
	in     []byte
	held   int // bytes of in that wait for the rest of their packet
	out    []byte
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
		enc:     newEncoder(o.Domain, o.Prefix, o.Metrics, o.QoS, o.Seed),
		devices: make([]source, share(int64(o.Devices), o.Connections, index)),
		rate:    o.Rate / float64(o.Connections),
		in:      make([]byte, readBytes),
		out:     make([]byte, 0, writeBytes+4096),
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

// dial makes the connection once. At QoS 1 the session is kept, so that what is unacknowledged may
// be sent again.
func (c *connection) dial(ctx context.Context, clean bool) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var dialer net.Dialer
	n, err := dialer.DialContext(ctx, "tcp", c.o.Broker)
	if err != nil {
		return nil, err
	}
	if c.o.TLS != nil {
		n = tls.Client(n, c.o.TLS)
	}
	deadline, _ := ctx.Deadline()
	if err := errors.Join(n.SetDeadline(deadline), handshake(n, c, clean), n.SetDeadline(time.Time{})); err != nil {
		_ = n.Close()
		return nil, fmt.Errorf("connect to %s: %w", c.o.Broker, err)
	}
	return n, nil
}

func handshake(n net.Conn, c *connection, clean bool) error {
	if _, err := n.Write(appendConnect(nil, c.clientID, c.o.Username, c.o.Password, clean)); err != nil {
		return fmt.Errorf("write connect: %w", err)
	}
	return readConnack(n)
}

// connect dials until it succeeds, until is reached, ctx ends or the broker refuses for good.
func (c *connection) connect(ctx context.Context, until func() time.Time) error {
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		n, err := c.dial(ctx, c.o.QoS == 0)
		if err == nil {
			c.net = n
			c.held = 0
			c.connected.Store(true)
			return nil
		}
		if refusal, ok := errors.AsType[*refusedError](err); ok && refusal.lasting() {
			return err
		}
		wait := pause/2 + rand.N(pause)
		if t := until(); !t.IsZero() && time.Now().Add(wait).After(t) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

func (c *connection) drop(err error) {
	c.connected.Store(false)
	_ = c.net.Close()
	c.note(err)
}

func (c *connection) note(err error) {
	c.troubles++
	if c.trouble == nil {
		c.trouble = err
	}
}

// A schedule is when a run began and ends, for all connections alike.
type schedule struct {
	start  time.Time
	stop   time.Time       // no new messages from here on; zero: until intake ends
	intake context.Context // its end stops new messages
	drain  time.Duration
}

// since is ns since the start.
func (s *schedule) since(t time.Time) int64 { return int64(t.Sub(s.start)) }

// over reports whether new messages are no longer wanted at t.
func (s *schedule) over(t time.Time) bool {
	return s.intake.Err() != nil || !s.stop.IsZero() && !t.Before(s.stop)
}

// run sends until the schedule or the quota is over and then waits for what is unacknowledged, for
// as long as the schedule drains.
func (c *connection) run(s *schedule) {
	var finished time.Time // when the last new message was due; zero: not yet
	limit := func() time.Time {
		if finished.IsZero() {
			if s.over(time.Now()) {
				finished = time.Now()
			} else {
				return time.Time{}
			}
		}
		return finished.Add(s.drain)
	}
	for {
		err := c.session(s, &finished)
		if err == nil {
			c.leave()
			return
		}
		c.drop(err)
		if c.o.QoS == 0 && !finished.IsZero() {
			return // nothing to resend, nothing more to send
		}
		if t := limit(); !t.IsZero() && time.Now().After(t) {
			return
		}
		if err := c.connect(context.WithoutCancel(s.intake), limit); err != nil {
			c.note(err)
			return
		}
		c.reconnects++
		if err := c.resend(s); err != nil {
			continue
		}
	}
}

// errDrained ends a session whose acknowledgements did not come in time.
var errDrained = errors.New("no acknowledgement within the time to drain")

// session works one standing connection: it returns nil when all is sent and acknowledged.
func (c *connection) session(s *schedule, finished *time.Time) error {
	n := c.net
	stopKick := context.AfterFunc(s.intake, func() { _ = n.SetReadDeadline(time.Unix(1, 0)) })
	defer stopKick()
	if c.o.QoS == 0 {
		return c.sessionQoS0(s, finished)
	}
	for {
		now := time.Now()
		if finished.IsZero() && (s.over(now) || c.sent.Load() == c.quota) {
			*finished = now
		}
		var wake time.Time
		if !finished.IsZero() {
			if c.vacant == len(c.slots) {
				return nil
			}
			wake = finished.Add(s.drain)
			if now.After(wake) {
				return errDrained
			}
		} else {
			var due int64
			due, wake = c.due(s, now, int64(c.vacant))
			if due > 0 {
				if err := c.send(s, now, due); err != nil {
					return err
				}
			}
		}
		if err := c.receive(s, wake, finished.IsZero()); err != nil {
			return err
		}
	}
}

// due is how many messages to send now, at most room, and when to look again.
func (c *connection) due(s *schedule, now time.Time, room int64) (n int64, wake time.Time) {
	n, wake = room, s.stop
	sent := c.sent.Load()
	if c.rate > 0 {
		// Connections take turns: both their messages and their looks at the clock are staggered.
		phase := float64(c.index) / float64(c.o.Connections)
		elapsed := now.Sub(s.start)
		want := int64(elapsed.Seconds()*c.rate+phase) - sent
		n = min(max(want, 0), room)
		if want > room {
			c.behind = max(c.behind, time.Duration(float64(want-room)/c.rate*1e9))
		}
		// Enough for some messages at a time, yet no more than 10 ms of them.
		pause := min(max(time.Duration(8/c.rate*1e9), time.Millisecond), 10*time.Millisecond)
		turn := time.Duration(phase * float64(pause))
		next := s.start.Add((elapsed-turn)/pause*pause + pause + turn)
		if gap := time.Duration(1 / c.rate * 1e9); gap > pause {
			next = s.start.Add(time.Duration((float64(sent+n+1) - phase) / c.rate * 1e9))
		}
		if wake.IsZero() || next.Before(wake) {
			wake = next
		}
	} else if c.o.QoS > 0 && n < min(int64(len(c.slots)+3)/4, 64) {
		n = 0 // a few at a time cost a write each: wait for more room, acknowledgements are under way
	}
	if c.quota >= 0 {
		n = min(n, c.quota-sent)
	}
	return n, wake
}

// send encodes and writes n new messages.
func (c *connection) send(s *schedule, now time.Time, n int64) error {
	ms, at := now.UnixMilli(), s.since(now)
	c.out = c.out[:0]
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
		if len(c.out) >= writeBytes {
			// A message counts as sent from here on, written or not: it is in flight and will be resent.
			if err := c.write(); err != nil {
				c.sent.Store(c.sum())
				return err
			}
		}
	}
	c.sent.Add(n)
	return c.write()
}

// sum counts what the devices said, for when a write broke off in the middle.
func (c *connection) sum() int64 {
	var n int64
	for i := range c.devices {
		n += int64(c.devices[i].n)
	}
	return n
}

func (c *connection) write() error {
	n, err := c.net.Write(c.out)
	c.bytes += int64(n)
	c.out = c.out[:0]
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// resend writes what is in flight again, with DUP set.
func (c *connection) resend(s *schedule) error {
	c.out = c.out[:0]
	for i := range c.slots {
		if c.slots[i].sent < 0 {
			continue
		}
		c.out = c.enc.append(c.out, c.slots[i].message, uint16(i+1), true)
		c.resent++
		if len(c.out) >= writeBytes {
			if err := c.write(); err != nil {
				return err
			}
		}
	}
	return c.write()
}

// receive waits until wake for acknowledgements and books what came. intake says whether the end
// of the intake should cut the wait short.
func (c *connection) receive(s *schedule, wake time.Time, intake bool) error {
	if err := c.net.SetReadDeadline(wake); err != nil {
		return fmt.Errorf("set deadline: %w", err)
	}
	if intake && s.intake.Err() != nil {
		return nil // it ended before the deadline was set, which hid its kick
	}
	n, err := c.net.Read(c.in[c.held:])
	if n > 0 {
		now := time.Now()
		if err := c.book(c.in[:c.held+n], s.since(now)); err != nil {
			return err
		}
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("read: %w", err)
	}
	return nil
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

// sessionQoS0 is session without acknowledgements: what the socket took is sent. At the end a ping
// makes sure that the broker has read it.
func (c *connection) sessionQoS0(s *schedule, finished *time.Time) error {
	for finished.IsZero() {
		now := time.Now()
		if s.over(now) || c.sent.Load() == c.quota {
			*finished = now
			break
		}
		due, wake := c.due(s, now, int64(c.o.InFlight))
		if due > 0 {
			if err := c.send(s, now, due); err != nil {
				return err
			}
		}
		if c.rate > 0 {
			if err := c.receive(s, wake, true); err != nil {
				return err
			}
		}
	}
	c.out = append(c.out[:0], packetPingreq, 0)
	if err := c.write(); err != nil {
		return err
	}
	for c.pong = false; !c.pong; {
		if time.Now().After(finished.Add(s.drain)) {
			return errDrained
		}
		if err := c.receive(s, finished.Add(s.drain), false); err != nil {
			return err
		}
	}
	return nil
}

// leave ends a session that has nothing left to say, and has the broker forget it.
func (c *connection) leave() {
	c.connected.Store(false)
	_ = c.net.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = c.net.Write([]byte{packetDisconnect, 0})
	_ = c.net.Close()
	if c.o.QoS == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if n, err := c.dial(ctx, true); err == nil {
		_, _ = n.Write([]byte{packetDisconnect, 0})
		_ = n.Close()
	}
}

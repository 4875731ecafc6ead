package broker

import (
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"panormus/ingest"
)

// Sizes of a connection's read buffer. It grows while reads fill it, and for one packet beyond that.
const (
	minBuffer = 4 << 10
	maxBuffer = 32 << 10
)

const (
	// connectTimeout is how long a connection may take to say who it is.
	connectTimeout = 10 * time.Second
	// writeTimeout is how long a client may not read what it is sent.
	writeTimeout = 30 * time.Second
	// swallowed is the largest packet that is read to its end to be filed as too large; the sender
	// of a larger one is cut off.
	swallowed = 16 << 20
)

// conn is a client's connection as mochi sees it. Read, SetDeadline and what they use belong to
// the goroutine of mochi's that reads; it is the one that calls the hooks that set client too.
type conn struct {
	net.Conn
	broker *Broker
	acks   *acks

	buf      []byte
	from, to int // of buf, what was read and not yet consumed
	passing  int // bytes of the packet at from that are mochi's
	received int64

	client  *mqtt.Client // nil before the session is established
	session *ingest.Session
	shadow  *mqtt.Client // publishes to subscribers in the client's name
	second  map[uint16]uint64
	env     ingest.Envelope

	deadline time.Time // when the read deadline was set last
	wrote    atomic.Int64
	started  time.Time
	admitted atomic.Pointer[admission]
	denials  atomic.Bool // that it was denied something has been logged
	closing  sync.Once
	closed   chan struct{}
	parked   atomic.Bool
}

// An admission is that a client was let in, and as whom.
type admission struct {
	client *mqtt.Client
	grant  Grant
}

func newConn(b *Broker, nc net.Conn) *conn {
	c := &conn{Conn: nc, broker: b, buf: make([]byte, minBuffer), started: time.Now(), closed: make(chan struct{})}
	c.acks = newAcks(c)
	c.wrote.Store(-1)
	return c
}

// Close ends the connection. Acknowledgements that are still owed are forgotten: the client will
// send those messages again.
func (c *conn) Close() error {
	err := net.ErrClosed
	c.closing.Do(func() {
		c.acks.stop()
		close(c.closed)
		err = c.Conn.Close()
		c.broker.remove(c)
	})
	return err
}

// establish begins the short cut for telemetry.
func (c *conn) establish(cl *mqtt.Client) {
	c.client = cl
	c.session = c.broker.cfg.Pump.Session(sourceName, cl.ID, c.acks, c.closed)
}

// Read gives mochi what is not telemetry.
func (c *conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if c.passing > 0 && c.from < c.to {
			n := copy(p, c.buf[c.from:min(c.to, c.from+c.passing)])
			c.from += n
			c.passing -= n
			return n, nil
		}
		need := 0
		if c.passing == 0 {
			var err error
			if need, err = c.next(); err != nil {
				return 0, err
			}
			if c.passing > 0 {
				continue
			}
		}
		if err := c.fill(need); err != nil {
			return 0, err
		}
	}
}

// next consumes packets that are telemetry. It returns when a packet is not, with passing set, or
// when more bytes are needed, with how many the packet has if that is known.
func (c *conn) next() (need int, err error) {
	handled := int64(0)
	for c.passing == 0 {
		b := c.buf[c.from:c.to]
		f, ok, bad := parseFrame(b)
		if bad {
			c.passing = 1 << 30 // mochi will find the same fault and hang up
			break
		}
		if !ok {
			break
		}
		if c.client == nil || f.first&typeMask != typePublish && f.first&typeMask != typePubrel {
			c.passing = f.size
			break
		}
		if f.size > maxPacket {
			if err = c.tooLarge(f); err != nil {
				break
			}
			continue
		}
		if len(b) < f.size {
			need = f.size
			break
		}
		taken := false
		if taken, err = c.take(b[:f.size], f); err != nil {
			break
		}
		if !taken {
			c.passing = f.size
			break
		}
		c.from += f.size
		handled++
	}
	if handled > 0 {
		info := c.broker.server.Info
		atomic.AddInt64(&info.MessagesReceived, handled)
		atomic.AddInt64(&info.PacketsReceived, handled)
		c.refresh()
	}
	return need, err
}

// take handles one packet, or reports that it is mochi's. b is good until it returns.
func (c *conn) take(b []byte, f frame) (taken bool, err error) {
	if f.first&typeMask == typePubrel {
		return c.release(b, f), nil
	}
	v5 := c.client.Properties.ProtocolVersion == 5
	p, ok := parsePublish(b, f, v5)
	if !ok {
		return false, nil
	}
	if p.alias != 0 && !c.unalias(&p) {
		return false, nil
	}
	t := c.session.Topic(p.topic)
	if t == nil || !c.allowed(t) {
		return c.refused(&p)
	}
	e := &c.env
	*e = ingest.Envelope{Topic: p.topic, Payload: p.payload, Received: c.received, PacketID: p.packetID, Dup: p.dup}
	switch p.qos {
	case 1:
		e.Token, ok = c.acks.add(p.packetID, sendPuback)
	case 2:
		if c.again(p.packetID) {
			return true, nil
		}
		if e.Token, ok = c.acks.add(p.packetID, sendPubrec); ok {
			c.second[p.packetID] = e.Token
		}
	}
	if !ok {
		return true, errors.New("more than 65,536 messages in flight")
	}
	if p.retain && len(p.payload) == 0 {
		c.session.Ignore(e)
	} else if err := c.session.Handle(e); err != nil {
		return true, err
	}
	if p.retain || c.subscribed(t) {
		c.deliver(b, f, &p)
	}
	return true, nil
}

// refused answers a message that mochi would drop without a word: one to $SYS, whose topics are its own. As
// elsewhere, MQTT 5 has a word for it, and 3.1.1 clients are cut off. Wildcards are a fault that mochi finds itself.
func (c *conn) refused(p *publish) (taken bool, err error) {
	topic := string(p.topic)
	if mqtt.IsValidFilter(topic, true) || strings.ContainsAny(topic, "+#") {
		return false, nil
	}
	c.broker.deny(c.client, deniedPublish, topic)
	code := packets.ErrNotAuthorized
	if p.qos == 0 {
		return true, nil
	}
	if c.client.Properties.ProtocolVersion != 5 {
		return true, code
	}
	kind := packets.Puback
	if p.qos == 2 {
		kind = packets.Pubrec
	}
	return true, c.client.WritePacket(packets.Packet{FixedHeader: packets.FixedHeader{Type: kind}, PacketID: p.packetID, ReasonCode: code.Code,
		Properties: packets.Properties{ReasonString: code.Reason}})
}

// unalias finds the topic of a message that goes by an alias, and remembers the alias.
func (c *conn) unalias(p *publish) bool {
	if p.alias > c.broker.server.Options.Capabilities.TopicAliasMaximum {
		return false
	}
	topic := c.client.State.TopicAliases.Inbound.Set(p.alias, string(p.topic))
	if topic == "" {
		return false
	}
	p.topic = []byte(topic)
	return true
}

// again answers a QoS 2 message whose packet id is in use: it was taken in before.
func (c *conn) again(packetID uint16) bool {
	token, ok := c.second[packetID]
	if !ok {
		if c.second == nil {
			c.second = map[uint16]uint64{}
		}
		return false
	}
	if c.acks.sent(token) {
		c.acks.send(packetID, sendPubrec)
	}
	return true
}

// release answers the PUBREL of a QoS 2 message that was taken in.
func (c *conn) release(b []byte, f frame) bool {
	if f.size < f.header+2 {
		return false
	}
	packetID := uint16(b[f.header])<<8 | uint16(b[f.header+1])
	if _, ok := c.second[packetID]; !ok {
		return false
	}
	delete(c.second, packetID)
	c.acks.send(packetID, sendPubcomp)
	return true
}

// tooLarge files a PUBLISH beyond the bound as rejected, if it is telemetry, and reads over the
// rest of it.
func (c *conn) tooLarge(f frame) error {
	if f.first&typeMask != typePublish || f.size > swallowed {
		c.passing = f.size // mochi refuses it and hangs up
		return nil
	}
	const kept = 192 << 10 // a topic, properties and what the dead letter keeps
	for c.to-c.from < kept {
		if err := c.fill(kept); err != nil {
			return err
		}
	}
	head := f
	head.size = kept
	p, ok := parsePublish(c.buf[c.from:c.from+kept], head, c.client.Properties.ProtocolVersion == 5)
	if !ok || p.alias != 0 || c.session.Topic(p.topic) == nil {
		c.passing = f.size
		return nil
	}
	e := &ingest.Envelope{Topic: p.topic, Payload: p.payload, Received: c.received, PacketID: p.packetID}
	if p.qos > 0 {
		kind := byte(sendPuback)
		if p.qos == 2 {
			kind = sendPubrec
		}
		if p.qos == 2 && c.again(p.packetID) {
			return c.skip(f.size)
		}
		if e.Token, ok = c.acks.add(p.packetID, kind); !ok {
			return errors.New("more than 65,536 messages in flight")
		}
		if p.qos == 2 {
			c.second[p.packetID] = e.Token
		}
	}
	if err := c.session.Reject(e, ingest.TooLarge(f.size-kept+len(p.payload))); err != nil {
		return err
	}
	return c.skip(f.size)
}

// skip reads over n bytes.
func (c *conn) skip(n int) error {
	for {
		have := min(n, c.to-c.from)
		c.from += have
		if n -= have; n == 0 {
			return nil
		}
		if err := c.fill(0); err != nil {
			return err
		}
	}
}

// fill reads more, into a buffer that has room for a packet of need bytes.
func (c *conn) fill(need int) error {
	if c.from == c.to {
		c.from, c.to = 0, 0
		if len(c.buf) > maxBuffer && need <= maxBuffer {
			c.buf = make([]byte, maxBuffer)
		}
	}
	if need > len(c.buf)-c.from || c.to == len(c.buf) {
		size := len(c.buf)
		if c.from == 0 && c.to == size {
			size = min(2*size, max(size, maxBuffer))
		}
		old := c.buf[c.from:c.to]
		if size = max(size, need); size > len(c.buf) {
			c.buf = make([]byte, size)
		}
		c.to = copy(c.buf, old)
		c.from = 0
	}
	n, err := c.Conn.Read(c.buf[c.to:])
	if err != nil {
		if c.broker.draining.Load() && errors.Is(err, os.ErrDeadlineExceeded) {
			c.parked.Store(true)
			<-c.closed
		}
		return err
	}
	c.to += n
	c.received = time.Now().UnixMilli()
	if c.to == len(c.buf) && c.from == 0 && len(c.buf) < maxBuffer {
		grown := make([]byte, 2*len(c.buf))
		copy(grown, c.buf)
		c.buf = grown
	}
	return nil
}

// SetDeadline is what mochi calls at every packet it reads. The deadline is our own, for reading:
// mochi's wraps around at a keep-alive of half a day, and one for writing must not depend on what
// the client sends.
func (c *conn) SetDeadline(time.Time) error {
	c.refresh()
	return nil
}

// refresh lets the client be silent for one and a half times its keep-alive (MQTT-3.1.2-22).
func (c *conn) refresh() {
	if c.client == nil {
		return
	}
	now := time.Now()
	if now.Sub(c.deadline) < time.Second {
		return
	}
	c.deadline = now
	var until time.Time
	if k := c.client.State.Keepalive; k > 0 {
		until = now.Add(time.Duration(k) * time.Second * 3 / 2)
	}
	if c.broker.draining.Load() {
		until = now
	}
	_ = c.Conn.SetReadDeadline(until) // a connection that is gone says so when it is read
}

// Write writes whole packets, from mochi's goroutines and the flusher's. A client that does not
// read for long is cut off.
func (c *conn) Write(b []byte) (int, error) {
	now := int64(time.Since(c.started) / time.Second)
	if c.wrote.Swap(now) != now {
		if err := c.Conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
			return 0, err
		}
	}
	n, err := c.Conn.Write(b)
	if err != nil {
		_ = c.Close() // half a packet may be out: nothing that follows would make sense
	}
	return n, err
}

package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"panormus/controlroom/auth"
	"panormus/controlroom/live"
)

// errSlow ends a client that what it subscribed to has overtaken.
var errSlow = errors.New("too slow: what was to come next is no longer held")

const (
	// compressFrom is the size from which a message is worth compressing.
	compressFrom = 1 << 10
	// sendBuffer bounds what the kernel holds for a client: more would only be older.
	sendBuffer = 256 << 10
	// badInARow is how many bad messages in a row close a client.
	badInARow = 3
	// controlQueue is how many answers wait for a client; beyond, its messages are not read.
	controlQueue = 64
)

// A client is one connection.
type client struct {
	hub  *Hub
	conn *websocket.Conn
	who  auth.Principal
	// guest is who it is of, among other connections.
	guest *guest

	wakeup  chan struct{} // one slot
	control chan []byte   // answers and errors
	quit    chan closing  // one slot: why the writer shall end the connection
	done    chan struct{} // closed when the writer has ended

	// writing is held by whoever writes frames: the client's own goroutine, or a round.
	writing sync.Mutex
	failed  error     // under writing: of a write in a round; the client is to end
	alone   time.Time // under writing: until then no round writes to it, it takes too long

	mu   sync.Mutex
	subs []*named // in order of subscription
}

type named struct {
	id  string
	sub subscription
}

type closing struct {
	code   int
	text   string
	reason string // label of the metric
}

func (c *client) nudge() {
	select {
	case c.wakeup <- struct{}{}:
	default:
	}
}

func (c *client) end(how closing) {
	select {
	case c.quit <- how:
	default:
	}
}

// ServeHTTP upgrades the request and serves the client until either side closes.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p, refused := h.admit(r)
	if refused != nil {
		h.metrics.refused.Inc()
		w.Header().Set("Retry-After", "10")
		refuse(w, r, refused.status, refused.why)
		return
	}
	defer h.give(p)
	conn, err := h.upgrader.Upgrade(w, r, nil)
	if err != nil {
		h.metrics.refused.Inc()
		return
	}
	_ = conn.SetCompressionLevel(1)
	if tcp, ok := conn.NetConn().(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(sendBuffer)
	}
	c := &client{
		hub: h, conn: conn, who: *p.who, guest: p.guest, wakeup: make(chan struct{}, 1), control: make(chan []byte, controlQueue),
		quit: make(chan closing, 1), done: make(chan struct{}),
	}
	h.enter(c)
	defer h.leave(c)
	defer conn.Close()
	if p.tooMany != nil {
		h.metrics.refused.Inc()
		c.say(fault(nil, "Too many connections", p.tooMany))
		c.end(closing{websocket.CloseTryAgainLater, "too many connections", reasonMany})
	}
	// Whoever is no longer let in as he was, is not shown anything more.
	stop := context.AfterFunc(r.Context(), func() {
		c.end(closing{websocket.ClosePolicyViolation, context.Cause(r.Context()).Error(), reasonEnded})
		_ = conn.NetConn().SetWriteDeadline(time.Now().Add(stopWithin))
	})
	defer stop()
	go c.write()
	c.read()
	c.end(closing{}) // the other side left, or is to be left
	<-c.done
	c.mu.Lock()
	subs := c.subs
	c.subs = nil
	c.mu.Unlock()
	for _, n := range subs {
		n.sub.leave()
	}
	h.uncount(c.guest, len(subs))
}

func (h *Hub) enter(c *client) {
	h.clientsMu.Lock()
	defer h.clientsMu.Unlock()
	h.open[c] = struct{}{}
	h.metrics.clients.Set(float64(len(h.open)))
	if h.closed {
		c.end(closing{websocket.CloseGoingAway, "the server stops", reasonStop})
	}
}

func (h *Hub) leave(c *client) {
	h.clientsMu.Lock()
	defer h.clientsMu.Unlock()
	delete(h.open, c)
	h.metrics.clients.Set(float64(len(h.open)))
}

func (h *Hub) shutdown() {
	h.clientsMu.Lock()
	h.closed = true
	for c := range h.open {
		c.end(closing{websocket.CloseGoingAway, "the server stops", reasonStop})
		// Whoever does not read now is not waited for.
		_ = c.conn.NetConn().SetWriteDeadline(time.Now().Add(stopWithin))
	}
	h.clientsMu.Unlock()
	h.clients.Wait()
	h.rounds.Wait()
}

// stopWithin is how long a stopping server waits for a client to take what is being sent, and
// closeWithin how long any client has to answer a close.
const (
	stopWithin  = time.Second
	closeWithin = 2 * time.Second
)

// read handles the client's messages until the connection ends.
func (c *client) read() {
	alive := 12 * c.hub.cfg.Heartbeat // every heartbeat comes with a ping
	c.conn.SetReadLimit(int64(c.hub.cfg.MaxMessage))
	_ = c.conn.SetReadDeadline(time.Now().Add(alive))
	c.conn.SetPongHandler(func(string) error { return c.extend(alive) })
	bad := 0
	for {
		kind, data, err := c.readMessage()
		if errors.Is(err, errTooBig) {
			c.end(closing{websocket.CloseMessageTooBig, fmt.Sprintf("a message above %d bytes", c.hub.cfg.MaxMessage), reasonBad})
			c.drain()
			return
		}
		if err != nil {
			return
		}
		if c.extend(alive) != nil {
			return
		}
		c.hub.metrics.requests.Inc()
		if err := c.handle(kind, data); err == nil {
			bad = 0
		} else if bad++; bad == badInARow {
			c.end(closing{websocket.ClosePolicyViolation, "three bad messages in a row", reasonBad})
			c.drain()
			return
		}
	}
}

var errTooBig = errors.New("message too big")

// readMessage reads one message. The library's limit is on what comes over the wire; a small
// compressed message may be a large one.
func (c *client) readMessage() (kind int, data []byte, err error) {
	kind, r, err := c.conn.NextReader()
	if err != nil {
		return 0, nil, err
	}
	data, err = io.ReadAll(io.LimitReader(r, int64(c.hub.cfg.MaxMessage)+1))
	if len(data) > c.hub.cfg.MaxMessage {
		err = errTooBig
	}
	return kind, data, err
}

// extend moves the read deadline, unless the writer has ended and set the last one.
func (c *client) extend(by time.Duration) error {
	if err := c.conn.SetReadDeadline(time.Now().Add(by)); err != nil {
		return err
	}
	select {
	case <-c.done:
		return c.conn.SetReadDeadline(time.Now().Add(closeWithin))
	default:
		return nil
	}
}

// drain reads on until the other side has closed too: to close with unread bytes would reset the
// connection and lose the close frame on its way.
func (c *client) drain() {
	for {
		if _, _, err := c.conn.NextReader(); err != nil {
			return
		}
	}
}

// handle does what a message asks. It returns an error, after having told the client, for a bad one.
func (c *client) handle(kind int, data []byte) error {
	var r request
	err := errors.New("a binary message, want text")
	if kind == websocket.TextMessage {
		r, err = parse(data)
	}
	if err == nil {
		switch r.Op {
		case "ping":
			if len(r.N) == 0 {
				r.N = json.RawMessage("null")
			}
			c.say(append(append([]byte(`{"type":"pong","n":`), r.N...), '}'))
		case "subscribe":
			if !c.keepPace() {
				return nil
			}
			err = c.subscribe(&r)
		case "unsubscribe":
			err = c.unsubscribe(*r.ID)
		}
	}
	if err != nil {
		c.say(fault(r.ID, "Bad message", err))
	}
	return err
}

// fault is a frame that says what is wrong.
func fault(id *string, title string, err error) []byte {
	out := []byte(`{"type":"error"`)
	if id != nil {
		out = live.AppendString(append(out, `,"id":`...), *id)
	}
	out = live.AppendString(append(out, `,"title":`...), title)
	out = live.AppendString(append(out, `,"detail":`...), err.Error())
	return append(out, '}')
}

// say queues an answer; while the queue is full the client's messages wait.
func (c *client) say(data []byte) {
	select {
	case c.control <- data:
		c.nudge()
	case <-c.done:
	}
}

func (c *client) subscribe(r *request) error {
	c.mu.Lock()
	n := len(c.subs)
	for _, s := range c.subs {
		if s.id == *r.ID {
			c.mu.Unlock()
			return fmt.Errorf("id: %q is subscribed already, want another or unsubscribe it first", *r.ID)
		}
	}
	c.mu.Unlock()
	if n >= c.hub.cfg.MaxSubscriptions {
		return fmt.Errorf("%d subscriptions, want at most %d a connection", n+1, c.hub.cfg.MaxSubscriptions)
	}
	if err := c.hub.count(c.guest); err != nil {
		return err
	}
	sub, err := c.hub.subscribe(c, r)
	if err != nil {
		c.hub.uncount(c.guest, 1)
		return err
	}
	c.mu.Lock()
	c.subs = append(c.subs, &named{*r.ID, sub})
	c.mu.Unlock()
	c.nudge()
	return nil
}

func (c *client) unsubscribe(id string) error {
	c.mu.Lock()
	for i, s := range c.subs {
		if s.id == id {
			c.subs = append(c.subs[:i:i], c.subs[i+1:]...)
			c.mu.Unlock()
			s.sub.leave()
			c.hub.uncount(c.guest, 1)
			return nil
		}
	}
	c.mu.Unlock()
	return fmt.Errorf("id: %q is not subscribed", id)
}

// write sends what there is until told to end, then closes.
func (c *client) write() {
	how := c.serve()
	c.writing.Lock() // for good: no round writes any more
	if how.code != 0 {
		c.hub.metrics.closed.WithLabelValues(how.reason).Inc()
		for len(c.control) > 0 { // what is wrong comes before the close
			if c.send(text(<-c.control)) != nil {
				break
			}
		}
		data := websocket.FormatCloseMessage(how.code, how.text)
		_ = c.conn.WriteControl(websocket.CloseMessage, data, time.Now().Add(closeWithin))
	}
	close(c.done)
	_ = c.conn.SetReadDeadline(time.Now().Add(closeWithin))
}

func (c *client) serve() closing {
	beat := time.NewTicker(c.hub.cfg.Heartbeat)
	defer beat.Stop()
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	for {
		var err error
		select {
		case how := <-c.quit:
			return how
		case data := <-c.control:
			err = c.sendAlone(text(data))
		case t := <-beat.C:
			b, _ := live.StampOf(t.UnixMilli()).MarshalText()
			err = c.sendAlone(text([]byte(`{"type":"heartbeat","t":"` + string(b) + `"}`)))
			if err == nil {
				err = c.conn.WriteControl(websocket.PingMessage, nil, time.Now().Add(c.hub.cfg.SlowAfter))
			}
		case <-c.wakeup:
			err = c.flushAlone(again)
		case <-again.C:
			err = c.flushAlone(again)
		}
		if errors.Is(err, errSlow) {
			return closing{websocket.CloseTryAgainLater, "too slow", reasonSlow}
		}
		if err != nil {
			return closing{}
		}
	}
}

// sendAlone writes one message while no round does.
func (c *client) sendAlone(m message) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.failed != nil {
		return c.failed
	}
	return c.send(m)
}

// flushAlone sends one step of each subscription, and asks to be called again for the rest, so that
// answers and heartbeats come between.
func (c *client) flushAlone(again *time.Timer) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.failed != nil {
		return c.failed
	}
	more, next, err := c.flush()
	if more {
		c.nudge()
	} else if !next.IsZero() {
		again.Reset(time.Until(next))
	}
	return err
}

// flush sends answers and one step of each subscription. It says whether it sent any step, and else when to
// ask again. The caller holds writing.
func (c *client) flush() (more bool, next time.Time, err error) {
	for len(c.control) > 0 {
		if err := c.send(text(<-c.control)); err != nil {
			return false, next, err
		}
	}
	c.mu.Lock()
	subs := c.subs
	c.mu.Unlock()
	for _, n := range subs {
		messages, at, err := n.sub.step(time.Now())
		if err != nil {
			return false, next, err
		}
		for _, m := range messages {
			if err := c.send(m); err != nil {
				return false, next, err
			}
		}
		more = more || len(messages) > 0
		if !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	return more, next, nil
}

// send writes one message. A client that takes it, but too late, is slow; one that does not at all
// is cut off.
func (c *client) send(m message) error {
	begun := time.Now()
	_ = c.conn.SetWriteDeadline(begun.Add(c.hub.cfg.CutAfter))
	c.conn.EnableWriteCompression(len(m.data) >= compressFrom)
	if err := c.conn.WritePreparedMessage(m.prepared); err != nil {
		return err
	}
	written := time.Now()
	if m.fanout != nil {
		m.fanout.note(written)
	}
	c.hub.metrics.messages.Inc()
	c.hub.metrics.bytes.Add(float64(len(m.data)))
	if took := written.Sub(begun); took > c.hub.cfg.SlowAfter {
		return errSlow
	} else if took > helpAfter {
		c.alone = written.Add(aloneFor)
	}
	return nil
}

// refuse answers a request that does not become a client, as problem+json (RFC 9457).
func refuse(w http.ResponseWriter, r *http.Request, status int, reason error) {
	out := live.AppendString([]byte(`{"type":"about:blank","title":`), http.StatusText(status))
	out = fmt.Appendf(out, `,"status":%d,"detail":`, status)
	out = live.AppendString(out, reason.Error())
	out = live.AppendString(append(out, `,"instance":`...), r.URL.Path)
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(append(out, '}', '\n'))
}

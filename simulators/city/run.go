package city

import (
	"container/heap"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"panormus/simulators/internal/ledger"
	"panormus/simulators/internal/wire"
)

// MQTTOptions says how the city reaches its broker. Zero values take the defaults named.
type MQTTOptions struct {
	// Broker is host:port, or a URL (tcp://, ssl://, ws://) (--mqtt).
	Broker string
	TLS    *tls.Config
	// Dial, where not nil, makes the connections to the broker in place of the network.
	Dial               func() (net.Conn, error)
	Username, Password string
	// ClientPrefix begins the client ids ("sim"): sim-0, sim-1…
	ClientPrefix string
	// Connections is how many connections the devices share (--connections; one for every 500
	// devices).
	Connections int
	// InFlight is how many messages of a connection may be unacknowledged (--inflight; 500). At the
	// bound its devices wait; what falls due meanwhile is left out and counted as skipped.
	InFlight int
	// FirstState is the time within which every device publishes once after the start (20 s).
	FirstState time.Duration
	// Drain is how long what is in flight at the end may take to be acknowledged (3 s).
	Drain time.Duration
	// Log takes lost and regained connections; nil: nobody hears of them.
	Log *slog.Logger
}

// Stats is what Run has done so far.
type Stats struct {
	Sent      int64 // messages handed to a connection
	Acked     int64 // of those, acknowledged by the broker
	Skipped   int64 // messages not sent because the broker acknowledged too slowly or was away
	Errors    int64 // connections lost or not made
	Connected int64 // connections that stand
}

type counters struct {
	sent, acked, skipped, errors, connected atomic.Int64
}

// Stats may be called while Run runs.
func (c *City) Stats() Stats {
	return Stats{c.sent.Load(), c.acked.Load(), c.skipped.Load(), c.errors.Load(), c.connected.Load()}
}

// Run publishes until ctx ends, at QoS 1, by the clock of the machine. Every device says its first
// state soon after the start. A broker that is away is sought until it returns, and what was in
// flight is sent again. When ctx ends, what is in flight has o.Drain to be acknowledged. The error
// says that the options are not acceptable; call Run once.
func (c *City) Run(ctx context.Context, o MQTTOptions) error {
	if o.Broker == "" {
		return errors.New("simulate: broker: none, want host:port")
	}
	if o.ClientPrefix == "" {
		o.ClientPrefix = "sim"
	}
	if o.Connections <= 0 {
		o.Connections = (len(c.assets) + 499) / 500
	}
	o.Connections = min(o.Connections, max(len(c.assets), 1))
	if o.InFlight <= 0 {
		o.InFlight = 500
	}
	if o.InFlight > 60_000 {
		return fmt.Errorf("simulate: in flight: %d, want 1 to 60000", o.InFlight)
	}
	if o.FirstState <= 0 {
		o.FirstState = 20 * time.Second
	}
	if o.Drain <= 0 {
		o.Drain = 3 * time.Second
	}
	stretch := 1.0 // of every period
	if c.config.Rate > 0 {
		stretch = c.Pace() / c.config.Rate
		o.FirstState = max(o.FirstState, time.Duration(float64(len(c.assets))/c.config.Rate*float64(time.Second)))
	}
	start := time.Now()
	var wg sync.WaitGroup
	for i := range o.Connections {
		p := newPublisher(c, &o, i)
		for j := i; j < len(c.assets); j += o.Connections {
			// The order of first words is jumbled, so that the map fills everywhere at once.
			first := start.Add(time.Duration(unit(c.assets[j].key, '1') * float64(o.FirstState)))
			p.queue = append(p.queue, turn{asset: j, at: first, every: time.Duration(float64(c.assets[j].period) * stretch), first: true})
		}
		wg.Go(func() { p.run(ctx) })
	}
	wg.Wait()
	return nil
}

// A turn is when a device next speaks.
type turn struct {
	asset int
	at    time.Time
	every time.Duration
	first bool
	state int // last told; see class.state
}

type turns []turn

func (q turns) Len() int           { return len(q) }
func (q turns) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q turns) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *turns) Push(x any)        { *q = append(*q, x.(turn)) }
func (q *turns) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}

// A publisher is one connection and the devices that share it.
type publisher struct {
	city   *City
	client mqtt.Client
	queue  turns
	window chan struct{} // holds one a message in flight
	drain  time.Duration
}

func newPublisher(c *City, o *MQTTOptions, i int) *publisher {
	p := &publisher{city: c, window: make(chan struct{}, o.InFlight), drain: o.Drain}
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	id := fmt.Sprintf("%s-%d", o.ClientPrefix, i)
	m := wire.Options(o.Broker, o.TLS, o.Dial).SetClientID(id).SetUsername(o.Username).SetPassword(o.Password).
		SetCleanSession(false).SetStore(ledger.New(p.acked)).
		SetKeepAlive(30 * time.Second).SetPingTimeout(10 * time.Second).SetConnectTimeout(10 * time.Second).
		SetAutoReconnect(true).SetMaxReconnectInterval(8 * time.Second).
		SetConnectRetry(true).SetConnectRetryInterval(time.Second).
		SetOnConnectHandler(func(mqtt.Client) {
			c.connected.Add(1)
			log.Debug("simulator connected", "client", id)
		}).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) {
			c.connected.Add(-1)
			c.errors.Add(1)
			log.Warn("simulator lost its broker", "client", id, "error", err)
		})
	// The client doubles its pauses but all clients alike: a jittered wait before each attempt keeps
	// a restarted broker from meeting them at once.
	m.SetReconnectingHandler(func(mqtt.Client, *mqtt.ClientOptions) { time.Sleep(rand.N(500 * time.Millisecond)) })
	p.client = mqtt.NewClient(m)
	return p
}

// acked counts a message that the broker has, and makes room for another.
func (p *publisher) acked() {
	p.city.acked.Add(1)
	p.release()
}

// release makes room for one message in the window. It never blocks the client.
func (p *publisher) release() {
	select {
	case <-p.window:
	default:
	}
}

// sweep is how often lamps are asked whether they have changed.
const sweep = 10 * time.Second

func (p *publisher) run(ctx context.Context) {
	p.client.Connect() // retried until it succeeds; what is published meanwhile is kept
	defer func() {
		for deadline := time.Now().Add(p.drain); len(p.window) > 0 && time.Now().Before(deadline) && p.client.IsConnectionOpen(); {
			time.Sleep(10 * time.Millisecond)
		}
		if p.client.IsConnectionOpen() {
			p.city.connected.Add(-1)
		}
		p.client.Disconnect(50)
	}()
	heap.Init(&p.queue)
	timer := time.NewTimer(0)
	defer timer.Stop()
	swept := time.Now()
	var buf []byte
	for len(p.queue) > 0 {
		now := time.Now()
		if now.Sub(swept) >= sweep {
			swept = now
			p.hasten(now)
		}
		next := &p.queue[0]
		if wait := next.at.Sub(now); wait > 0 {
			timer.Reset(min(wait, sweep))
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
			continue
		}
		a := &p.city.assets[next.asset]
		if next.first || !a.quiet(now) {
			select {
			case <-ctx.Done():
				return
			case p.window <- struct{}{}:
			}
			buf = p.city.Payload(buf[:0], next.asset, now)
			p.publish(a.topic, append([]byte(nil), buf...))
		}
		p.schedule(next, a, now)
		heap.Fix(&p.queue, 0)
	}
	<-ctx.Done()
}

// publish hands one message over, for which the window has room.
func (p *publisher) publish(topic string, payload []byte) {
	p.city.sent.Add(1)
	token := p.client.Publish(topic, 1, false, payload)
	select {
	case <-token.Done():
		// Refused, so it is not in the ledger either. After any other error it is, and goes out later.
		if errors.Is(token.Error(), mqtt.ErrNotConnected) {
			p.city.sent.Add(-1)
			p.city.skipped.Add(1)
			p.release()
		}
	default:
	}
}

// schedule sets the turn after one at now.
func (p *publisher) schedule(t *turn, a *asset, now time.Time) {
	if a.class.state != nil {
		t.state = a.class.state(p.city, a, now)
	}
	every := t.every
	if t.first { // from the first word on devices of a kind take turns
		t.first = false
		every = time.Duration(unit(a.key, '2') * float64(every))
	}
	t.at = t.at.Add(every)
	if late := now.Sub(t.at); late > 0 {
		missed := late/t.every + 1
		p.city.skipped.Add(int64(missed))
		t.at = t.at.Add(missed * t.every)
	}
}

// hasten has the devices that changed by themselves speak within the next sweep.
func (p *publisher) hasten(now time.Time) {
	for i := range p.queue {
		t := &p.queue[i]
		a := &p.city.assets[t.asset]
		if a.class.state == nil || t.first || t.at.Sub(now) < sweep {
			continue
		}
		if s := a.class.state(p.city, a, now); s != t.state {
			t.state = s
			t.at = now.Add(time.Duration(unit(a.key, uint64(now.Unix())) * float64(sweep)))
		}
	}
	heap.Init(&p.queue)
}

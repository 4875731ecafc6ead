package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"panormus/ingest"
)

// sourceName is what the dead letter calls this source.
const sourceName = "broker"

// Config says how a Broker works. Pump must be given.
type Config struct {
	Pump *ingest.Pump
	// Addr is host:port to listen on; port 0 picks a free one.
	Addr string
	// TLS, where not nil, is what every connection must speak.
	TLS *tls.Config
	// Auth knows who may connect; nil lets everybody in, for loopback listeners.
	Auth Authenticator
	// MaxClients bounds connections; default 10,000.
	MaxClients int
	// Shelf keeps retained messages when the process is gone; nil: they go with it.
	Shelf Shelf
	// MaxRetained bounds the topics with a retained message; default 100,000.
	MaxRetained int

	Logger  *slog.Logger
	Metrics prometheus.Registerer
}

const (
	defaultMaxClients  = 10_000
	defaultMaxRetained = 100_000
	// sessionsAway is how many sessions are kept for each client that may be connected.
	sessionsAway = 4
	// maxPacket is the largest packet that is taken in: a payload, a topic and properties.
	maxPacket = ingest.MaxPayload + 128<<10
	// sessionExpiry is how long a session waits for its client to come back.
	sessionExpiry = 24 * time.Hour
	// drain bounds how long Run waits for the log after its context ended.
	drain = 4 * time.Second
)

// A Broker is an MQTT broker whose telemetry goes to a pump.
type Broker struct {
	cfg      Config
	server   *mqtt.Server
	listener net.Listener
	inner    *inner
	flusher  *flusher
	shelver  *shelver // nil without a shelf
	wills    sync.WaitGroup

	subscriptions atomic.Uint64 // version
	draining      atomic.Bool
	refused       atomic.Uint64
	denied        [deniedKinds]atomic.Uint64
	revoked       atomic.Uint64
	refusals      rate.Sometimes // that are logged

	mu    sync.Mutex
	conns map[*conn]struct{}
}

// New listens, so that Addr is known, and starts nothing.
func New(cfg Config) (*Broker, error) {
	if cfg.MaxClients <= 0 {
		cfg.MaxClients = defaultMaxClients
	}
	if cfg.MaxRetained <= 0 {
		cfg.MaxRetained = defaultMaxRetained
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Broker{cfg: cfg, flusher: newFlusher(), inner: newInner(), conns: map[*conn]struct{}{}, refusals: rate.Sometimes{First: 10, Interval: time.Second}}
	caps := mqtt.NewDefaultServerCapabilities()
	caps.MaximumClients = int64(cfg.MaxClients)
	caps.MaximumClientWritesPending = 1024
	caps.MaximumPacketSize = maxPacket
	caps.ReceiveMaximum = 8192
	caps.MaximumInflight = 4096
	caps.TopicAliasMaximum = 1024
	caps.MaximumSessionExpiryInterval = uint32(sessionExpiry / time.Second)
	caps.MaximumMessageExpiryInterval = 0 // retained state stays until it is replaced
	b.server = mqtt.New(&mqtt.Options{
		Capabilities: caps, SysTopicResendInterval: 60,
		// Its warnings are other people's faults, at the rate that they please.
		Logger: slog.New(onlyErrors{cfg.Logger.Handler()}),
	})
	if cfg.Shelf != nil {
		b.shelver = newShelver(b, cfg.Shelf)
	}
	if err := b.server.AddHook(&hook{broker: b}, nil); err != nil {
		return nil, fmt.Errorf("start the broker: %w", err)
	}
	l, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen for MQTT: %w", err)
	}
	b.listener = l
	if err := b.register(cfg.Metrics); err != nil {
		_ = l.Close()
		return nil, fmt.Errorf("start the broker: %w", err)
	}
	return b, nil
}

// Addr is where the broker listens.
func (b *Broker) Addr() net.Addr { return b.listener.Addr() }

// Close stops listening, for a broker that was never run.
func (b *Broker) Close() error {
	_ = b.inner.Close()
	return b.listener.Close()
}

// Run serves until ctx ends. It then reads nothing more, waits until the log has what was read, as
// long as the pump runs and for 4 s at most, sends the acknowledgements and hangs up.
func (b *Broker) Run(ctx context.Context) error {
	if b.shelver != nil {
		if err := b.shelver.load(ctx); err != nil {
			return err
		}
		var shelving sync.WaitGroup
		stop := make(chan struct{})
		shelving.Go(func() { b.shelver.run(stop) })
		defer shelving.Wait()
		defer close(stop)
	}
	for name, l := range map[string]*listener{"mqtt": {b.listener, b, b.cfg.TLS}, "inner": {b.inner, b, nil}} {
		if err := b.server.AddListener(listeners.NewNet(name, l)); err != nil {
			return fmt.Errorf("serve MQTT: %w", err)
		}
	}
	stop, flushed := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(flushed)
		b.flusher.run(stop)
	}()
	if err := b.server.Serve(); err != nil {
		return fmt.Errorf("serve MQTT: %w", err)
	}
	b.watch(ctx)

	dctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	b.draining.Store(true)
	_ = b.Close()
	b.park(dctx)
	err := b.cfg.Pump.Flush(dctx)
	close(stop)
	<-flushed
	for _, c := range b.connections() {
		// mochi says goodbye to all alike, in a packet that only MQTT 5 has.
		if c.client == nil || c.client.Properties.ProtocolVersion < 5 {
			_ = c.Close()
		}
	}
	_ = b.server.Close()
	b.wills.Wait()
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("stop the broker: %w", err)
	}
	return nil
}

// park makes every connection stop reading and waits until all have.
func (b *Broker) park(ctx context.Context) {
	for {
		busy := false
		for _, c := range b.connections() {
			if !c.parked.Load() {
				busy = true
				_ = c.Conn.SetReadDeadline(time.Unix(1, 0))
			}
		}
		if !busy {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (b *Broker) connections() []*conn {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]*conn, 0, len(b.conns))
	for c := range b.conns {
		out = append(out, c)
	}
	return out
}

func (b *Broker) remove(c *conn) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.conns, c)
}

// listener wraps each connection.
type listener struct {
	net.Listener
	broker *Broker
	tls    *tls.Config
}

// Accept waits for a connection. Those beyond the bound are closed at once.
func (l *listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		if err != nil { // out of files, say: mochi would stop serving for good
			l.broker.cfg.Logger.Error("accepting an MQTT connection", "error", err)
			time.Sleep(100 * time.Millisecond)
			continue
		}
		if l.tls != nil {
			nc = tls.Server(nc, l.tls)
		}
		b := l.broker
		c := newConn(b, nc)
		b.mu.Lock()
		full := len(b.conns) >= b.cfg.MaxClients
		if !full {
			b.conns[c] = struct{}{}
		}
		b.mu.Unlock()
		if full {
			b.refused.Add(1)
			_ = nc.Close()
			continue
		}
		_ = nc.SetReadDeadline(time.Now().Add(connectTimeout))
		return c, nil
	}
}

// onlyErrors is a handler that lets errors through.
type onlyErrors struct{ slog.Handler }

// Enabled implements slog.Handler.
func (h onlyErrors) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelError && h.Handler.Enabled(ctx, l)
}

// WithAttrs implements slog.Handler.
func (h onlyErrors) WithAttrs(a []slog.Attr) slog.Handler { return onlyErrors{h.Handler.WithAttrs(a)} }

// WithGroup implements slog.Handler.
func (h onlyErrors) WithGroup(name string) slog.Handler { return onlyErrors{h.Handler.WithGroup(name)} }

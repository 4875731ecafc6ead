// Package mqtt is a source that reads telemetry from any MQTT 3.1.1 broker.
//
// It keeps one persistent session (or several, sharing a subscription) and acknowledges a message
// only when the log has it, so what the broker has accepted for it is never lost: after a break on
// either side the broker sends what was not acknowledged again. How much that is, and with it the
// memory used here, is the broker's in-flight window (max_inflight_messages of Mosquitto, which
// also bounds the rate: its default of 20 gives about 500 messages a second and session).
package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/prometheus/client_golang/prometheus"

	"panormus/ingest"
)

// sourceName is what the dead letter calls this source.
const sourceName = "mqtt"

// Config says which broker to read. Pump and URL must be given.
type Config struct {
	Pump *ingest.Pump
	// URL is tcp://host:port, ssl://host:port, ws:// or wss://.
	URL string
	// ClientID names the session at the broker; it must stay the same over restarts. Default
	// "panormus-" and the host's name.
	ClientID           string
	Username, Password string
	// TLS is used for ssl:// and wss://, client certificates included; nil for the defaults.
	TLS *tls.Config
	// ShareGroup, where not empty, makes it a shared subscription: $share/group/…. All workers of
	// the group divide the messages among them.
	ShareGroup string
	// Sessions is how many sessions divide the work, with a ShareGroup only; default 1.
	Sessions int
	// KeepAlive is the interval of pings; default 30 s.
	KeepAlive time.Duration
	// QueueBytes bounds the payloads waiting for the pump in a session; default 64 MiB. Beyond it
	// QoS 0 messages are dropped and counted, and for others reading stops.
	QueueBytes int

	Logger  *slog.Logger
	Metrics prometheus.Registerer
}

const (
	defaultKeepAlive  = 30 * time.Second
	defaultQueueBytes = 64 << 20
	connectTimeout    = 10 * time.Second
	minPause          = 250 * time.Millisecond
	maxPause          = 30 * time.Second
	// drain bounds how long Run waits for the log after its context ended.
	drain = 4 * time.Second
)

// A Source reads one broker.
type Source struct {
	cfg       Config
	filters   map[string]byte
	dropped   atomic.Uint64
	connected atomic.Int64 // sessions
}

// New checks cfg and starts nothing.
func New(cfg Config) (*Source, error) {
	if cfg.ClientID == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("mqtt source: a client id: %w", err)
		}
		cfg.ClientID = "panormus-" + host
	}
	if cfg.Sessions <= 0 {
		cfg.Sessions = 1
	}
	if cfg.Sessions > 1 && cfg.ShareGroup == "" {
		return nil, fmt.Errorf("mqtt source: %d sessions without a share group would each get every message, want a group", cfg.Sessions)
	}
	if strings.ContainsAny(cfg.ShareGroup, "/+#") {
		return nil, fmt.Errorf("mqtt source: share group %q, want no /, + or #", cfg.ShareGroup)
	}
	if cfg.KeepAlive <= 0 {
		cfg.KeepAlive = defaultKeepAlive
	}
	if cfg.QueueBytes <= 0 {
		cfg.QueueBytes = defaultQueueBytes
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	u, err := url.Parse(cfg.URL)
	if err != nil {
		return nil, fmt.Errorf("mqtt source: url: %w", err)
	}
	if !slices.Contains([]string{"tcp", "mqtt", "ssl", "tls", "mqtts", "ws", "wss"}, u.Scheme) || u.Host == "" {
		return nil, fmt.Errorf("mqtt source: url %q, want tcp://, ssl://, ws:// or wss:// and host:port", u.Redacted())
	}
	s := &Source{cfg: cfg, filters: map[string]byte{}}
	for _, r := range cfg.Pump.Routes() {
		filter := r.Filter
		if r.Decoder == ingest.Ignore || r.Internal {
			continue
		}
		if cfg.ShareGroup != "" {
			filter = "$share/" + cfg.ShareGroup + "/" + filter
		}
		s.filters[filter] = 1
	}
	if len(s.filters) == 0 {
		return nil, errors.New("mqtt source: no routes, want at least one")
	}
	if cfg.Metrics != nil {
		for _, c := range []prometheus.Collector{
			prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "panormus_ingest_mqtt_connected_sessions", Help: "Sessions with the external MQTT broker that stand.",
			}, func() float64 { return float64(s.connected.Load()) }),
			prometheus.NewCounterFunc(prometheus.CounterOpts{
				Name: "panormus_ingest_mqtt_dropped_messages_total", Help: "QoS 0 messages of the external MQTT broker dropped because the log is behind.",
			}, func() float64 { return float64(s.dropped.Load()) }),
		} {
			if err := cfg.Metrics.Register(c); err != nil {
				return nil, fmt.Errorf("mqtt source: %w", err)
			}
		}
	}
	return s, nil
}

// Connected is how many sessions stand now.
func (s *Source) Connected() int { return int(s.connected.Load()) }

// Run reads until ctx ends, reconnecting by itself whenever the broker is away. It then waits for
// the acknowledgements of what was read, 4 s at most. It fails only if the broker refuses the
// subscription.
func (s *Source) Run(ctx context.Context) error {
	errs := make([]error, s.cfg.Sessions)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			id := s.cfg.ClientID
			if s.cfg.Sessions > 1 {
				id = fmt.Sprintf("%s-%d", id, i)
			}
			errs[i] = s.session(ctx, id)
			cancel()
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// session keeps one session until ctx ends.
func (s *Source) session(ctx context.Context, id string) error {
	pause := minPause
	for {
		began := time.Now()
		err := s.connection(ctx, id)
		var refused *refusal
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &refused):
			return fmt.Errorf("mqtt source %s: %w", s.cfg.URL, err)
		case time.Since(began) > maxPause:
			pause = minPause
		}
		// Between half of the pause and all of it, so that workers do not come back in step.
		wait := pause/2 + rand.N(pause/2)
		s.cfg.Logger.Warn("the MQTT broker is away", "broker", s.cfg.URL, "client", id, "retry", wait, "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		pause = min(2*pause, maxPause)
	}
}

// refusal is the broker's, of a subscription.
type refusal struct{ filter string }

func (r *refusal) Error() string {
	return fmt.Sprintf("the broker refuses the subscription to %q", r.filter)
}

// connection connects, subscribes and reads until the connection ends or ctx does. With one client
// a connection, an acknowledgement can only go where its message came from; one that comes too
// late goes nowhere, and the broker sends the message again.
func (s *Source) connection(ctx context.Context, id string) error {
	lost := make(chan error, 1)
	q, acks := newQueue(s.cfg.QueueBytes), newAcker()
	client := paho.NewClient(paho.NewClientOptions().
		AddBroker(s.cfg.URL).SetClientID(id).SetUsername(s.cfg.Username).SetPassword(s.cfg.Password).SetTLSConfig(s.cfg.TLS).
		SetCleanSession(false).SetAutoAckDisabled(true).SetOrderMatters(true).
		// The session lives at the broker; a store here would hand out again what it does too.
		SetStore(nowhere{}).SetAutoReconnect(false).SetConnectRetry(false).
		SetKeepAlive(s.cfg.KeepAlive).SetConnectTimeout(connectTimeout).SetWriteTimeout(connectTimeout).
		SetConnectionLostHandler(func(_ paho.Client, err error) { lost <- err }).
		SetDefaultPublishHandler(func(_ paho.Client, m paho.Message) {
			if !q.put(m) && m.Qos() == 0 {
				s.dropped.Add(1)
			}
		}))

	stop, handled := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(handled)
		s.handle(id, q, acks, stop)
	}()
	err := s.read(ctx, client, id, lost)

	// Take in nothing more, and pass on the acknowledgements of what was.
	q.close()
	dctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	select {
	case <-handled:
	case <-dctx.Done():
	}
	close(stop)
	<-handled
	if ctx.Err() != nil {
		_ = s.cfg.Pump.Flush(dctx) // what is not acknowledged will come again
	}
	acks.close()
	client.Disconnect(250)
	return err
}

// read connects and subscribes and waits for the end of the connection or ctx.
func (s *Source) read(ctx context.Context, client paho.Client, id string, lost <-chan error) error {
	t := client.Connect()
	if !wait(ctx, t) {
		return ctx.Err()
	}
	if err := t.Error(); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	sub := client.SubscribeMultiple(s.filters, nil)
	if !wait(ctx, sub) {
		return ctx.Err()
	}
	if err := sub.Error(); err != nil {
		return fmt.Errorf("subscribe: %w", err)
	}
	for filter, qos := range sub.(*paho.SubscribeToken).Result() {
		if qos == 0x80 {
			return &refusal{filter}
		}
	}
	s.connected.Add(1)
	defer s.connected.Add(-1)
	s.cfg.Logger.Info("reading the MQTT broker", "broker", s.cfg.URL, "client", id)
	select {
	case err := <-lost:
		return fmt.Errorf("connection: %w", err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// wait waits for t, or for ctx.
func wait(ctx context.Context, t paho.Token) bool {
	select {
	case <-t.Done():
		return true
	case <-ctx.Done():
		return false
	}
}

// handle passes what is in q to the pump until q is closed and empty, or stop is closed.
func (s *Source) handle(id string, q *queue, acks *acker, stop <-chan struct{}) {
	in := s.cfg.Pump.Session(sourceName, id, acks, stop)
	defer in.Release()
	for {
		m, ok := q.next()
		if !ok {
			return
		}
		err := in.Handle(&ingest.Envelope{
			Topic: []byte(m.Topic()), Payload: m.Payload(), Received: time.Now().UnixMilli(), Token: acks.token(m),
			PacketID: m.MessageID(), Dup: m.Duplicate(), Retained: m.Retained(),
		})
		if err != nil {
			return // the broker keeps it
		}
	}
}

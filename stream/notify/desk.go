package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"panormus/stream/batch"
	streamlog "panormus/stream/log"
)

// Settings are what of notices is in the settings' file.
type Settings struct {
	Receivers []Receiver `yaml:"receivers"`
	Routes    []Route    `yaml:"routes"`
}

// Config is what a Desk is made of.
type Config struct {
	Settings
	Suppressor Suppressor // may be nil
	// RouteBucket and DeadBucket keep routes and dead letters.
	RouteBucket, DeadBucket Bucket
	Logger                  *slog.Logger
	Metrics                 prometheus.Registerer
}

// A Desk is all there is of notices: routes, dead letters and a queue for each receiver. It is safe for
// concurrent use.
type Desk struct {
	*Routes
	Dead   *DeadLetters
	queues []*Queue
}

// Check reports what of s is not acceptable.
func (s *Settings) Check() error {
	if len(s.Receivers) > maxReceivers {
		return fmt.Errorf("notify.receivers: %d, want at most %d", len(s.Receivers), maxReceivers)
	}
	names := map[string]bool{}
	for i := range s.Receivers {
		r := &s.Receivers[i]
		if err := r.Check(); err != nil {
			return fmt.Errorf("notify.receivers: %w", err)
		}
		if names[r.ID] {
			return fmt.Errorf("notify.receivers: %q: there are two", r.ID)
		}
		names[r.ID] = true
	}
	return nil
}

// New makes a desk; the routes' and dead letters' Run and those of the queues start it.
func New(cfg Config) (*Desk, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	names := make([]string, len(cfg.Receivers))
	for i := range cfg.Receivers {
		names[i] = cfg.Receivers[i].ID
	}
	routes, err := NewRoutes(cfg.Routes, names, cfg.RouteBucket, cfg.Logger)
	if err != nil {
		return nil, fmt.Errorf("notify.routes: %w", err)
	}
	d := &Desk{Routes: routes, Dead: NewDeadLetters(cfg.DeadBucket, cfg.Logger)}
	m := newMetrics(cfg.Metrics)
	var hidden func(batch.Event) bool
	if cfg.Suppressor != nil {
		hidden = cfg.Suppressor.Suppressed
	}
	for i := range cfg.Receivers {
		r := &cfg.Receivers[i]
		d.queues = append(d.queues, &Queue{
			name: r.ID, receiver: r, maxAge: orDefault(r.MaxAge, defaultMaxAge), timeout: orDefault(r.Timeout, defaultTimeout),
			dead: d.Dead, routes: routes.All, hidden: hidden, log: cfg.Logger, metrics: m.of(r.ID), status: Status{Receiver: r.ID, Kind: r.kind()},
		})
	}
	return d, nil
}

func (r *Receiver) sender(broker string) (Sender, error) {
	switch {
	case r.Webhook != nil:
		return newWebhook(*r.Webhook)
	case r.Email != nil:
		return newEmail(*r.Email)
	}
	cfg := *r.MQTT
	if cfg.URL == "" {
		if cfg.URL = broker; broker == "" {
			return nil, errors.New("mqtt: url: none, and this process has no embedded broker without TLS; want the URL of one")
		}
	}
	if cfg.ClientID == "" {
		cfg.ClientID = "panormus-notify-" + r.ID
	}
	return &publisher{cfg: cfg}, nil
}

// Queues returns a queue for each receiver, which reads l and keeps its state in states. Each is to be run by
// one process only. Broker is the URL of the embedded broker, empty where there is none to be reached.
func (d *Desk) Queues(l *streamlog.Log, states States, broker string) ([]*Queue, error) {
	for _, q := range d.queues {
		var err error
		if q.sender, err = q.receiver.sender(broker); err != nil {
			return nil, fmt.Errorf("notify.receivers: receiver %q: %w", q.name, err)
		}
		q.events, q.states = logEvents{l}, states
	}
	return d.queues, nil
}

// Name is the receiver's.
func (q *Queue) Name() string { return q.name }

// Receivers are how all receivers do, in order of the settings.
func (d *Desk) Receivers() []Status {
	out := make([]Status, len(d.queues))
	for i, q := range d.queues {
		out[i] = q.Status()
	}
	return out
}

// Letters returns the dead letters of a receiver, or of all where it is empty, oldest first.
func (d *Desk) Letters(receiver string) []*DeadLetter { return d.Dead.All(receiver) }

// Replay has a dead letter sent again.
func (d *Desk) Replay(ctx context.Context, id string) (*DeadLetter, error) {
	return d.Dead.Replay(ctx, id)
}

// Discard removes a dead letter.
func (d *Desk) Discard(ctx context.Context, id string) error { return d.Dead.Discard(ctx, id) }

// logEvents is the log as a queue reads it.
type logEvents struct{ log *streamlog.Log }

// Read implements Events.
func (l logEvents) Read(ctx context.Context, after uint64) (Reader, error) {
	return l.log.Read(ctx, batch.KindEvents, after)
}

// Last implements Events.
func (l logEvents) Last(ctx context.Context) (uint64, error) {
	return l.log.LastSeq(ctx, batch.KindEvents)
}

func orDefault[T, D ~int64](v T, otherwise D) D {
	if v == 0 {
		return otherwise
	}
	return D(v)
}

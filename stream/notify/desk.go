package notify

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"panormus/stream/batch"
	"panormus/stream/lease"
	streamlog "panormus/stream/log"
)

// Settings are what of notices is in the settings' file.
type Settings struct {
	Receivers []Receiver `yaml:"receivers"`
	Routes    []Route    `yaml:"routes"`
}

// Outlets are what a process that sends needs; one without them only knows.
type Outlets struct {
	Log *streamlog.Log
	// States keeps all that is known of receivers, and Notes what went to them since, which is little and often.
	States, Notes States
	// Broker is the embedded broker, nil where there is none.
	Broker *Broker
	// Leases is where processes agree who sends; nil where there is no other process.
	Leases lease.Bucket
}

// Config is what a Desk is made of.
type Config struct {
	Settings
	Outlets    *Outlets   // may be nil
	Suppressor Suppressor // may be nil
	// Escalations may be nil: then nobody is told of them.
	Escalations Escalations
	// RouteBucket and DeadBucket keep routes and dead letters.
	RouteBucket, DeadBucket Bucket
	Logger                  *slog.Logger
	Metrics                 prometheus.Registerer
}

// A Desk is all there is of notices: routes, dead letters and a queue for each receiver. It is safe for
// concurrent use.
type Desk struct {
	*Routes
	Dead    *DeadLetters
	cfg     Config
	metrics *metrics

	mu      sync.Mutex
	queues  []*Queue
	changed chan struct{} // closed when queues is another
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

// New makes a desk; Run, the dead letters' Run and Serve start it.
func New(cfg Config) (*Desk, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	routes, err := NewRoutes(nil, nil, cfg.RouteBucket, cfg.Logger)
	if err != nil {
		return nil, err
	}
	d := &Desk{Routes: routes, Dead: NewDeadLetters(cfg.DeadBucket, cfg.Logger), cfg: cfg, metrics: newMetrics(cfg.Metrics), changed: make(chan struct{})}
	return d, d.Apply(cfg.Settings)
}

// Apply puts other settings in force, all or, with an error, none. Receivers that are as before are not
// disturbed; one that is new, or comes again, goes on where one of its name was.
func (d *Desk) Apply(s Settings) error {
	if err := s.Check(); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	var queues []*Queue
	var names []string
	for i := range s.Receivers {
		r := &s.Receivers[i]
		names = append(names, r.ID)
		if at := slices.IndexFunc(d.queues, func(q *Queue) bool { return reflect.DeepEqual(q.receiver, r) }); at >= 0 {
			queues = append(queues, d.queues[at])
			continue
		}
		q, err := d.queue(r)
		if err != nil {
			return err
		}
		queues = append(queues, q)
	}
	if err := d.settle(s.Routes, names); err != nil {
		return fmt.Errorf("notify.routes: %w", err)
	}
	d.queues = queues
	close(d.changed)
	d.changed = make(chan struct{})
	return nil
}

func (d *Desk) queue(r *Receiver) (*Queue, error) {
	q := &Queue{
		name: r.ID, receiver: r, maxAge: orDefault(r.MaxAge, defaultMaxAge), timeout: orDefault(r.Timeout, defaultTimeout), dead: d.Dead,
		routes: d.All, log: d.cfg.Logger, metrics: d.metrics.of(r.ID), status: Status{Receiver: r.ID, Kind: r.kind()},
	}
	if d.cfg.Suppressor != nil {
		q.hidden = d.cfg.Suppressor.Suppressed
	}
	q.graver = d.cfg.Escalations
	o := d.cfg.Outlets
	if o == nil {
		return q, nil
	}
	var err error
	if q.sender, err = r.sender(o.Broker); err != nil {
		return nil, fmt.Errorf("notify.receivers: receiver %q: %w", r.ID, err)
	}
	q.events, q.states, q.notes = logEvents{o.Log}, o.States, o.Notes
	if o.Leases != nil {
		q.lease = &lease.Lease{Bucket: o.Leases, Key: r.ID, Last: leaseFor, Log: d.cfg.Logger.With("what", "who sends to a receiver")}
	}
	return q, nil
}

// Serve sends to all receivers until ctx ends, also to those that come while it runs. Again is to run a queue
// until ctx ends, and again where it fails.
func (d *Desk) Serve(ctx context.Context, again func(ctx context.Context, name string, run func(context.Context) error)) error {
	type serving struct {
		stop context.CancelFunc
		done chan struct{}
	}
	running := map[*Queue]serving{}
	end := func(left []*Queue) {
		var ended []serving
		for q, s := range running {
			if !slices.Contains(left, q) {
				s.stop()
				ended = append(ended, s)
				delete(running, q)
			}
		}
		for _, s := range ended {
			<-s.done
		}
	}
	defer end(nil)
	for {
		d.mu.Lock()
		queues, changed := d.queues, d.changed
		d.mu.Unlock()
		end(queues)
		for _, q := range queues {
			if _, ok := running[q]; ok {
				continue
			}
			qctx, stop := context.WithCancel(ctx)
			s := serving{stop, make(chan struct{})}
			running[q] = s
			go func() {
				defer close(s.done)
				again(qctx, "notices to "+q.name, q.Run)
			}()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

func (r *Receiver) sender(broker *Broker) (Sender, error) {
	switch {
	case r.Webhook != nil:
		return newWebhook(*r.Webhook)
	case r.Email != nil:
		return newEmail(*r.Email)
	}
	cfg := *r.MQTT
	if cfg.URL == "" {
		if broker == nil {
			return nil, errors.New("mqtt: url: none, and this process has no embedded broker; want the URL of one")
		}
	}
	if cfg.ClientID == "" {
		cfg.ClientID = "panormus-notify-" + r.ID
	}
	return &publisher{cfg: cfg, embedded: broker}, nil
}

// Receivers are how all receivers do, in order of the settings.
func (d *Desk) Receivers() []Status {
	d.mu.Lock()
	queues := d.queues
	d.mu.Unlock()
	out := make([]Status, len(queues))
	for i, q := range queues {
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

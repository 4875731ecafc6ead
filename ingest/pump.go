package ingest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"panormus/devices"
	"panormus/stream/batch"
	"panormus/stream/privacy"
)

// A Publisher is the part of the log the pump writes to. Publish blocks until the batch is stored
// and fails only when ctx ends or the batch can never be stored.
type Publisher interface {
	Publish(ctx context.Context, kind batch.Kind, partition int, id string, data []byte) (uint64, error)
	// MaxBatch is how many bytes a batch may have.
	MaxBatch() int
	Partitions() int
}

// A Directory is the part of the device registry the pump asks.
type Directory interface {
	Lookup(id string) *devices.Asset
	LookupDevEUI(eui string) *devices.Asset
	Sight(domain, id string) *devices.Asset
	Version() uint64
	Len() int
}

// Config says how a Pump works. Log, Registry and Decoders must be given.
type Config struct {
	Log      Publisher
	Registry Directory
	// Decoders by the names that routes use.
	Decoders map[string]Decoder
	// Video are further decoders, of video metadata: what they refuse is filed without its payload,
	// and they see retained messages. Privacy, which says what of it may be kept, must be given with
	// them.
	Video   map[string]Decoder
	Privacy *privacy.Guard
	// Takers by the names of decoders: where a name has one, the decoder is for replays only.
	Takers map[string]Taker
	// Routes in order of precedence; nil for DefaultRoutes.
	Routes []Route
	// Linger is how long a message waits for company at most; default 40 ms, at most 50 ms.
	Linger time.Duration
	// BatchRows and BatchBytes close a batch early; defaults 16,384 rows and 1 MiB of text or
	// payload.
	BatchRows, BatchBytes int
	// RefuseUnknown rejects messages of devices that the registry does not hold, instead of
	// registering them as unclaimed.
	RefuseUnknown bool
	// MaxDevices is at how many devices the registry takes no more strangers; default 1,000,000.
	MaxDevices int
	// Fingerprints is how many of the last messages are remembered to recognise repetitions, 8
	// bytes each; default 4,194,304.
	Fingerprints int

	Logger  *slog.Logger
	Metrics prometheus.Registerer
}

// Defaults of Config.
const (
	DefaultLinger       = 40 * time.Millisecond
	maxLinger           = 50 * time.Millisecond
	defaultBatchBytes   = 1 << 20
	defaultMaxDevices   = 1_000_000
	defaultFingerprints = 1 << 22
)

// drain bounds how long Run tries to publish what is in hand after its context ended.
const drain = 3 * time.Second

// A Pump decodes messages, batches them by partition and publishes the batches. Sessions feed it.
type Pump struct {
	cfg     Config
	routes  []route
	lanes   []*lane // one a partition, the dead letter last
	names   *names  // of metrics
	texts   *names  // that metrics have as values
	decoded sync.Pool
	started time.Time
	id      string       // makes ids of batches this pump's own
	most    atomic.Int64 // bytes of a batch's rows, where the log takes less than our batches may have, else 0

	topics  atomic.Int64 // held by all sessions
	ignored [ignoredKinds]atomic.Uint64
	blocked atomic.Uint64

	stop     chan struct{} // closed when Run takes in nothing more
	stopOnce sync.Once
}

// New makes a pump and starts nothing.
func New(cfg Config) (*Pump, error) {
	if cfg.Routes == nil {
		cfg.Routes = DefaultRoutes()
	}
	if cfg.Linger == 0 {
		cfg.Linger = DefaultLinger
	}
	if cfg.Linger < time.Millisecond || cfg.Linger > maxLinger {
		return nil, fmt.Errorf("ingest: linger %v, want 1 ms to %v", cfg.Linger, maxLinger)
	}
	if cfg.BatchRows <= 0 || cfg.BatchRows > batch.MaxRows {
		cfg.BatchRows = batch.MaxRows
	}
	if cfg.BatchBytes <= 0 || cfg.BatchBytes > defaultBatchBytes {
		cfg.BatchBytes = defaultBatchBytes
	}
	if cfg.MaxDevices <= 0 {
		cfg.MaxDevices = defaultMaxDevices
	}
	if cfg.Fingerprints <= 0 {
		cfg.Fingerprints = defaultFingerprints
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Pump{cfg: cfg, names: newNames(4096), texts: newNames(4096), started: time.Now(), id: rand.Text()[:12], stop: make(chan struct{})}
	if most := p.measure(); most < leastBatch {
		return nil, fmt.Errorf("ingest: the log's server takes batches of %d bytes, want at least %d: set max_payload: 8MB there", most, leastBatch)
	}
	p.decoded.New = func() any { return newDecoded(p.names, p.texts) }
	if len(cfg.Video) > 0 && cfg.Privacy == nil {
		return nil, errors.New("ingest: decoders of video metadata and no Privacy, want both")
	}
	for i, r := range cfg.Routes {
		c, err := compile(r, cfg.Decoders, cfg.Video)
		if err != nil {
			return nil, fmt.Errorf("ingest: route %d, %q: %w", i+1, r.Filter, err)
		}
		c.taker = cfg.Takers[r.Decoder]
		p.routes = append(p.routes, c)
	}
	n := cfg.Log.Partitions()
	for i := range n + 1 {
		l := newLane(p, i)
		if i < n {
			l.prints = newPrintTable(cfg.Fingerprints / n)
		}
		p.lanes = append(p.lanes, l)
	}
	if cfg.Metrics != nil {
		if err := cfg.Metrics.Register(collector{p}); err != nil {
			return nil, fmt.Errorf("ingest: register metrics: %w", err)
		}
	}
	return p, nil
}

// Routes are those in force.
func (p *Pump) Routes() []Route { return p.cfg.Routes }

func (p *Pump) deadLetter() *lane { return p.lanes[len(p.lanes)-1] }

// Run publishes until ctx ends, then publishes what is in hand, within 3 s, and returns. End the
// sources first: messages handled after that are refused with ErrClosed.
func (p *Pump) Run(ctx context.Context) error {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	context.AfterFunc(ctx, func() {
		p.stopOnce.Do(func() { close(p.stop) })
		time.AfterFunc(drain, func() { cancel(errors.New("still in hand 3 s after the end")) })
	})
	errs := make([]error, len(p.lanes))
	var wg sync.WaitGroup
	for i, l := range p.lanes {
		wg.Go(func() { errs[i] = l.run(work) })
	}
	wg.Wait()
	p.stopOnce.Do(func() { close(p.stop) })
	return errors.Join(errs...)
}

// Flush publishes what is in hand and returns when its acknowledgements have been given.
func (p *Pump) Flush(ctx context.Context) error {
	for _, l := range p.lanes {
		if err := l.flush(ctx); err != nil {
			return fmt.Errorf("flush lane %d: %w", l.partition, err)
		}
	}
	return nil
}

// Run runs p and sources until ctx ends or one of them fails: first the sources stop, then the
// pump publishes what they took in.
func Run(ctx context.Context, p *Pump, sources ...Source) error {
	pumping, stopPump := context.WithCancel(context.WithoutCancel(ctx))
	defer stopPump()
	feeding, stopSources := context.WithCancel(ctx)
	defer stopSources()
	var pumpErr error
	pumped := make(chan struct{})
	go func() {
		defer close(pumped)
		pumpErr = p.Run(pumping)
		stopSources()
	}()
	errs := make([]error, len(sources))
	var wg sync.WaitGroup
	for i, s := range sources {
		wg.Go(func() {
			errs[i] = s.Run(feeding)
			stopSources()
		})
	}
	if len(sources) == 0 {
		<-feeding.Done()
	}
	wg.Wait()
	stopPump()
	<-pumped
	return errors.Join(append(errs, pumpErr)...)
}

package log

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"panormus/stream/batch"
)

// Config is where the log is kept and how much of it.
type Config struct {
	// URL is a NATS server's; empty for one embedded in this process.
	URL string
	// Dir is where the embedded server keeps its files.
	Dir string
	// Partitions is how many ways observations, detections and uplinks are spread; default 16.
	// It must not change while consumers hold positions.
	Partitions int
	// MaxBytes is the bound of all streams together; default 10 GiB. Eleven twentieths of it are for
	// observations, two each for detections and uplinks, one each for the others.
	MaxBytes int64
	// MaxAge is how long a batch is kept that every consumer has passed; default 72 h.
	MaxAge time.Duration
	// VideoMaxAge is the same for detections and tracks, where it is shorter: they are personal data,
	// kept in the database for as long as their purposes say and here only to be read; default 1 h.
	VideoMaxAge time.Duration
	// Sync is how often the embedded server flushes to the disk; 0 for at every batch. What was
	// acknowledged survives the end of the process either way; Sync bounds what a power cut takes.
	Sync time.Duration
	// MinFree is how many bytes of the disk stay free: below it Publish blocks; default 256 MiB.
	MinFree int64
	// Replicas of each stream, on a NATS cluster; default 1.
	Replicas int
	// Wait has Open wait for a server at URL that is away, and say so; without it Open fails then.
	Wait bool
	// Consumers are those without whose position nothing is purged, on any stream they read.
	Consumers []string

	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Defaults of Config.
const (
	DefaultPartitions = 16
	DefaultMaxBytes   = 10 << 30
	DefaultMaxAge     = 72 * time.Hour
	DefaultVideoAge   = time.Hour
	DefaultSync       = time.Second
	defaultMinFree    = 256 << 20
)

// maxPayload bounds one batch: a message of 1 MiB beside others that were waiting with it. A server elsewhere
// may take less; see MaxBatch.
const maxPayload = 8 << 20

// WantPayload is the max_payload that a server elsewhere should have, in bytes: what NATS reads in "8MB".
const WantPayload = maxPayload

// maxHeader is what a message's headers take of the server's max_payload: an id of up to 100 bytes and the names.
const maxHeader = 1 << 10

// A Log is an open log. It is safe for concurrent use.
type Log struct {
	cfg     Config
	server  *server.Server // nil when the log is elsewhere
	conn    *nats.Conn
	js      jetstream.JetStream
	streams map[batch.Kind]jetstream.Stream
	epoch   string
	pos     *KV
	guard   guard
	metrics *metrics
	// checkDisk is checkFree; a test has a disk of its own.
	checkDisk func(dir string, want int64) error
	// answerTime is that of all; a test's is shorter.
	answerTime time.Duration
}

type streamSpec struct {
	kind        batch.Kind
	token       string // of the subject
	partitioned bool
	share       int64 // of MaxBytes, in twentieths
	dedup       time.Duration
}

// repeated is how long the server knows a batch's id again: several time-outs of Publish. It reads
// that much of the log at every start.
const repeated = 30 * time.Second

var streamSpecs = []streamSpec{
	{batch.KindObservations, "obs", true, 11, repeated},
	{batch.KindDetections, "det", true, 2, repeated},
	{batch.KindUplinks, "upl", true, 2, repeated},
	{batch.KindEvents, "evt", false, 1, repeated},
	{batch.KindRejected, "rej", false, 1, repeated},
	{batch.KindTracks, "trk", true, 1, repeated},
	{batch.KindCounts, "cnt", true, 1, repeated},
	{batch.KindAlarmLog, "alm", false, 1, repeated},
}

func specOf(kind batch.Kind) streamSpec {
	for _, s := range streamSpecs {
		if s.kind == kind {
			return s
		}
	}
	panic(fmt.Sprintf("BUG: no stream for kind %q", kind))
}

func (s streamSpec) subject(partition int) string {
	if !s.partitioned {
		partition = 0
	}
	return fmt.Sprintf("panormus.%s.%d", s.token, partition)
}

// Open starts the embedded server, or connects to the one at cfg.URL, and makes the streams that
// are missing. It starts nothing else: call Run for retention.
func Open(ctx context.Context, cfg Config) (_ *Log, err error) {
	l, err := connectTo(cfg)
	defer func() {
		if err != nil {
			l.Close()
		}
	}()
	if err == nil {
		err = l.openStreams(ctx)
	}
	for said := false; err != nil && cfg.Wait && l.server == nil && isAway(err); said = true {
		if !said {
			l.cfg.Log.Warn("the log's server is away; this process waits for it", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lookAgain):
		}
		if err = nil; l.conn == nil {
			err = l.dial()
		}
		if err == nil {
			err = l.openStreams(ctx)
		}
	}
	if err != nil {
		return nil, err
	}
	return l, nil
}

// lookAgain is how often it is tried whether a server is there.
const lookAgain = 500 * time.Millisecond

// errAway is what the client calls a full buffer.
var errAway = errors.New("the log's server is away")

// isAway reports whether err is of a server that does not answer, or not yet.
func isAway(err error) bool {
	if _, ok := errors.AsType[net.Error](err); ok {
		return true
	}
	for _, e := range []error{nats.ErrNoServers, nats.ErrReconnectBufExceeded, nats.ErrNoResponders, jetstream.ErrJetStreamNotEnabled, context.DeadlineExceeded, nats.ErrTimeout} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Away reports whether the log's server is away now.
func (l *Log) Away() bool { return !l.conn.IsConnected() }

// openStreams makes the streams that are missing, and asks which log this is.
func (l *Log) openStreams(ctx context.Context) (err error) {
	for _, spec := range streamSpecs {
		if err := l.openStream(ctx, spec); err != nil {
			return err
		}
	}
	if l.pos, err = l.KV(ctx, "positions"); err != nil {
		return err
	}
	info, err := l.streams[batch.KindObservations].Info(ctx)
	if err != nil {
		return fmt.Errorf("ask the log for its epoch: %w", err)
	}
	l.epoch = fmt.Sprintf("%x", info.Created.UnixMilli())
	return nil
}

// connectTo starts the server, or only connects to it. What it returns is to be closed also where it
// fails.
func connectTo(cfg Config) (l *Log, err error) {
	cfg.Partitions = orDefault(cfg.Partitions, DefaultPartitions)
	cfg.MaxBytes = orDefault(cfg.MaxBytes, DefaultMaxBytes)
	cfg.MaxAge = orDefault(cfg.MaxAge, DefaultMaxAge)
	cfg.VideoMaxAge = orDefault(cfg.VideoMaxAge, DefaultVideoAge)
	cfg.MinFree = orDefault(cfg.MinFree, defaultMinFree)
	cfg.Replicas = orDefault(cfg.Replicas, 1)
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	l = &Log{cfg: cfg, streams: map[batch.Kind]jetstream.Stream{}, metrics: newMetrics(cfg.Metrics), checkDisk: checkFree, answerTime: answerTime}
	if cfg.URL == "" {
		if l.server, err = startServer(cfg); err != nil {
			return l, err
		}
	}
	return l, l.dial()
}

// dial connects to the server.
func (l *Log) dial() (err error) {
	l.conn, err = l.connect("panormus log", nats.ReconnectHandler(func(c *nats.Conn) {
		l.cfg.Log.Info("the log's server answers again")
		l.sizeUp(c)
	}), nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
		if err != nil { // else we went
			l.cfg.Log.Warn("the log's server is away; what needs it waits", "error", err)
		}
	}))
	if err != nil {
		return err
	}
	if l.js, err = jetstream.New(l.conn); err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	l.sizeUp(l.conn)
	return nil
}

// sizeUp tells of a server, the first one or one that came back, that takes less than we would.
func (l *Log) sizeUp(c *nats.Conn) {
	if max := c.MaxPayload(); max < maxPayload {
		l.cfg.Log.Warn("the log's server takes small messages only: batches are smaller, and what does not fit is rejected as too_large; set max_payload: 8MB there",
			"max_payload", max, "want", maxPayload)
	}
}

// MaxPayload asks the server at url how large a message it takes, in bytes.
func MaxPayload(url string) (int64, error) {
	c, err := nats.Connect(url, nats.Name("panormus doctor"))
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.MaxPayload(), nil
}

// MaxBatch is the largest batch, in bytes, that Publish takes now: it hangs on the server that the log is at.
func (l *Log) MaxBatch() int { return int(min(maxPayload, l.conn.MaxPayload()-maxHeader)) }

func orDefault[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

func startServer(cfg Config) (*server.Server, error) {
	if err := checkFree(cfg.Dir, cfg.MinFree); err != nil {
		return nil, fmt.Errorf("start the embedded log: %w", err)
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "panormus", DontListen: true, NoSigs: true, NoSystemAccount: true,
		JetStream: true, StoreDir: filepath.Clean(cfg.Dir), DisableJetStreamBanner: true,
		SyncInterval: orDefault(cfg.Sync, DefaultSync), SyncAlways: cfg.Sync == 0, MaxPayload: maxPayload,
		MaxPending: 256 << 20,
		// The streams have bounds of their own; the server's must not be hit before theirs.
		JetStreamMaxStore: 4*cfg.MaxBytes + 4<<30, JetStreamMaxMemory: 64 << 20,
	})
	if err != nil {
		return nil, fmt.Errorf("start the embedded log: %w", err)
	}
	s.SetLoggerV2(serverLog{cfg.Log}, false, false, false)
	go s.Start()
	if !s.ReadyForConnections(30 * time.Second) {
		s.Shutdown()
		return nil, fmt.Errorf("start the embedded log in %s: not ready after 30 s", cfg.Dir)
	}
	if !s.JetStreamEnabled() {
		s.Shutdown()
		return nil, fmt.Errorf("start the embedded log in %s: its store cannot be opened; see the lines above", cfg.Dir)
	}
	return s, nil
}

func (l *Log) connect(name string, more ...nats.Option) (*nats.Conn, error) {
	opts := append(more, nats.Name(name), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			l.cfg.Log.Warn("the log's client complains", "connection", name, "error", err)
		}))
	url := l.cfg.URL
	if l.server != nil {
		opts = append(opts, nats.InProcessServer(l.server))
		url = "" // unused, but the client asks for one
	}
	c, err := nats.Connect(url, opts...)
	if err != nil {
		return nil, fmt.Errorf("connect to the log at %s: %w", orDefault(l.cfg.URL, "embedded"), err)
	}
	return c, nil
}

func (l *Log) openStream(ctx context.Context, spec streamSpec) error {
	s, err := l.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: "PANORMUS_" + string(spec.kind), Subjects: []string{"panormus." + spec.token + ".*"},
		Storage: jetstream.FileStorage, Retention: jetstream.LimitsPolicy, Discard: jetstream.DiscardNew,
		MaxBytes: l.cfg.MaxBytes / 20 * spec.share, MaxMsgSize: maxPayload, Duplicates: spec.dedup,
		Replicas: l.cfg.Replicas, AllowDirect: true, Compression: jetstream.S2Compression,
	})
	if err != nil {
		return fmt.Errorf("open stream %s: %w", spec.kind, err)
	}
	l.streams[spec.kind] = s
	return nil
}

// Close ends the connection and stops the embedded server, if there is one.
func (l *Log) Close() error {
	if l.conn != nil {
		l.conn.Close()
	}
	if l.server != nil {
		l.server.Shutdown()
		l.server.WaitForShutdown()
	}
	return nil
}

// Partitions is how many ways observations are spread.
func (l *Log) Partitions() int { return l.cfg.Partitions }

// Epoch names this log among all: sequences of another epoch mean nothing here.
func (l *Log) Epoch() string { return l.epoch }

// Partition is where batches of device go: FNV-1a of its id modulo the number of partitions.
func (l *Log) Partition(device string) int { return Partition(device, l.cfg.Partitions) }

// Partition is the partition of device among n.
func Partition(device string, n int) int {
	h := fnv.New32a()
	h.Write([]byte(device))
	return int(h.Sum32() % uint32(n))
}

// Publish stores one batch and returns its sequence. It blocks while the log is full or away,
// saying so once, and returns an error only when ctx ends or the batch can never be stored (it is
// too large). The id, where not empty, makes a repeated Publish of the same batch harmless for half a
// minute.
func (l *Log) Publish(ctx context.Context, kind batch.Kind, partition int, id string, data []byte) (uint64, error) {
	subject := specOf(kind).subject(partition)
	msg := &nats.Msg{Subject: subject, Data: data}
	var opts []jetstream.PublishOpt
	if id != "" {
		opts = append(opts, jetstream.WithMsgID(id))
	}
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		// Each time: the server that answers after a break may take less than the one before.
		if most := l.MaxBatch(); len(data) > most {
			return 0, fmt.Errorf("publish %s: %d bytes, want at most %d%s", kind, len(data), most, l.hint())
		}
		err := l.guard.err()
		if err == nil {
			var ack *jetstream.PubAck
			if ack, err = l.publishOnce(ctx, msg, opts); err == nil {
				l.guard.wrote(l.cfg.Log, kind)
				l.metrics.published(kind, len(data))
				return ack.Sequence, nil
			}
		}
		if ctx.Err() != nil {
			return 0, fmt.Errorf("publish %s: %w", kind, ctx.Err())
		}
		l.metrics.refused(kind)
		l.guard.blocked(l.cfg.Log, kind, err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// hint says what is to be set where the server takes less than we would.
func (l *Log) hint() string {
	if l.conn.MaxPayload() < maxPayload {
		return ": set max_payload: 8MB at the log's server"
	}
	return ""
}

func (l *Log) publishOnce(ctx context.Context, msg *nats.Msg, opts []jetstream.PublishOpt) (*jetstream.PubAck, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	ack, err := l.js.PublishMsg(ctx, msg, opts...)
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, errors.New("no answer from the log in 5 s")
	}
	if errors.Is(err, nats.ErrReconnectBufExceeded) {
		return nil, errAway
	}
	return ack, err
}

// LastSeq is the sequence of the newest batch of kind, 0 if there never was one.
func (l *Log) LastSeq(ctx context.Context, kind batch.Kind) (uint64, error) {
	ctx, cancel := l.answered(ctx)
	defer cancel()
	info, err := l.streams[kind].Info(ctx)
	if err != nil {
		return 0, fmt.Errorf("ask for the last %s: %w", kind, err)
	}
	return info.State.LastSeq, nil
}

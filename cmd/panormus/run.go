package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"panormus/cmd/panormus/certs"
	"panormus/devices"
	"panormus/storage"
	"panormus/storage/embedded"
	"panormus/stream/alarms"
	streamlog "panormus/stream/log"
	"panormus/stream/rules"
	"panormus/stream/tracks"
)

// runCommand plays the roles it is given until ctx ends.
func runCommand(ctx context.Context, args []string, out io.Writer) error {
	cfg, err := loadConfig("run", args, os.LookupEnv, out)
	if err != nil {
		return err
	}
	if err := checkProtected(cfg); err != nil {
		return err
	}
	level, err := cfg.level()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
	data, err := openDataDir(cfg.Data)
	if err != nil {
		return err
	}
	defer data.close()
	n := &node{cfg: cfg, data: data, log: log, out: out, reg: prometheus.NewRegistry(), started: time.Now(), renewed: renewals(ctx)}
	n.reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return n.run(ctx)
}

// A node is one process: the parts it is made of, in the order they are started. It is wiring and
// nothing else.
type node struct {
	cfg     config
	data    *dataDir
	log     *slog.Logger
	out     io.Writer
	reg     *prometheus.Registry
	started time.Time

	failed chan error
	ready  chan struct{} // closed once everything is there
	stages []*stage      // the last one stops first
	base   *stage        // HTTP, the database, the log's keeper
	reads  *stage        // what reads the log

	stream   *streamlog.Log
	registry *devices.Registry
	certs    *certs.Keeper
	renewed  <-chan struct{} // somebody says that certificates were renewed
	privacy  privacySide
	engine   *embedded.Server // nil with a database elsewhere
	info     runInfo

	front *front // what HTTP answers, nil without that role
	parts parts
}

// stage adds a stage, which stops before the ones added before it.
func (n *node) stage() *stage {
	s := newStage(n.log, func(part string, err error) {
		select {
		case n.failed <- fmt.Errorf("%s: %w", part, orEnded(err)):
		default:
		}
	})
	n.stages = append(n.stages, s)
	return s
}

func orEnded(err error) error {
	if err == nil {
		return errors.New("ended by itself")
	}
	return err
}

func (n *node) run(ctx context.Context) (err error) {
	n.failed, n.ready = make(chan error, 1), make(chan struct{})
	defer func() {
		n.data.withdraw()
		for i := len(n.stages) - 1; i >= 0; i-- {
			n.stages[i].end()
		}
		if n.parts.db != nil {
			n.parts.db.Close()
		}
		if n.stream != nil {
			n.stream.Close()
		}
		if err == nil {
			n.log.Info("stopped")
		}
	}()
	// Addresses first: one that is taken ends the start before anything else has begun.
	if err := n.listen(); err != nil {
		return err
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		n.base.must("room for the collector", keepRoom)
	}
	if err := n.openSpine(ctx, n.base); err != nil {
		return err
	}
	if err := n.startIngest(ctx); err != nil {
		return err
	}
	opened := make(chan error, 1)
	opening, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { opened <- n.openRest(opening) })
	defer wg.Wait()
	defer cancel()
	for {
		select {
		case <-ctx.Done():
			n.log.Info("stopping")
			return nil
		case err := <-n.failed:
			return err
		case err := <-opened:
			if err != nil && ctx.Err() == nil {
				return err
			}
			if err == nil {
				if err := n.announce(); err != nil {
					return err
				}
			}
			opened = nil
		}
	}
}

// openSpine opens the log, the registry and what guards people's data, which everything else needs.
func (n *node) openSpine(ctx context.Context, base *stage) error {
	cfg := streamlog.Config{
		Dir: n.data.join("log"), Partitions: n.cfg.Stream.Partitions, MaxBytes: int64(n.cfg.Stream.MaxBytes),
		MaxAge: n.cfg.Stream.MaxAge, VideoMaxAge: n.cfg.Stream.VideoAge, Sync: time.Duration(n.cfg.Stream.Sync), MinFree: int64(n.cfg.Stream.MinFree),
		Replicas: n.cfg.Stream.Replicas, Consumers: []string{storage.Consumer, rules.Consumer, tracks.Consumer, alarms.Consumer}, Log: n.log, Metrics: n.reg,
	}
	if n.cfg.NATS != "embedded" {
		cfg.URL, cfg.Wait = n.cfg.NATS, true
	}
	var err error
	if n.stream, err = streamlog.Open(ctx, cfg); err != nil {
		return err
	}
	base.must("retention of the log", n.stream.Run)
	kv, err := n.stream.KV(ctx, "devices")
	if err != nil {
		return err
	}
	n.registry = devices.NewRegistry(kv, n.log)
	n.parts.tagged = append(n.parts.tagged, kv)
	synced := make(chan struct{})
	base.again("device registry", func(ctx context.Context) error {
		return n.registry.Run(ctx, onceClosed(synced))
	})
	if err := n.await(ctx, synced); err != nil {
		return err
	}
	return n.openPrivacy(ctx, base)
}

// await waits until a part that was started is ready.
func (n *node) await(ctx context.Context, ready <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	case err := <-n.failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// openRest starts what needs the database, waiting for it as long as it takes: until then the log
// keeps what comes in.
func (n *node) openRest(ctx context.Context) error {
	if n.cfg.has("writer") || n.cfg.has("controlroom") {
		if err := n.openDatabase(ctx); err != nil {
			return err
		}
	}
	if err := n.startConsumers(ctx); err != nil {
		return err
	}
	if err := n.startRoster(ctx); err != nil {
		return err
	}
	if n.cfg.has("controlroom") {
		if err := n.startControlRoom(ctx); err != nil {
			return err
		}
	}
	n.startSimulation()
	return nil
}

// announce says where the process is to be found.
func (n *node) announce() error {
	if err := n.data.announce(n.info); err != nil {
		return err
	}
	close(n.ready)
	n.log.Info("ready", "after", time.Since(n.started).Round(time.Millisecond), "http", n.info.HTTP, "mqtt", n.info.MQTT,
		"clickhouse", n.info.ClickHouse)
	if n.front != nil {
		fmt.Fprintf(n.out, "\nPanormus is at %s\n\n", n.front.url())
	}
	return nil
}

// listen binds every address this process is to answer at.
func (n *node) listen() error {
	n.info = runInfo{PID: os.Getpid(), Version: version}
	n.base = n.stage()
	n.reads = n.stage()
	var err error
	if n.certs, err = certs.New(n.log, n.reg); err != nil {
		return err
	}
	n.base.must("certificates", func(ctx context.Context) error { return n.certs.Run(ctx, n.renewed) })
	if n.cfg.has("controlroom") && n.cfg.HTTP != "none" {
		l, err := net.Listen("tcp", n.cfg.HTTP)
		if err != nil {
			return listenError("HTTP", "http", n.cfg.HTTP, err)
		}
		tls, err := n.certs.Server("http", n.cfg.Web.TLS, false, "h2", "http/1.1")
		if err != nil {
			return err
		}
		n.front = newFront(l, tls)
		n.info.HTTP, n.info.HTTPTLS = l.Addr().String(), tls != nil
		n.base.must("HTTP server", func(ctx context.Context) error { return n.front.serve(ctx, n.log) })
	}
	if n.cfg.ClickHouse == "embedded" && (n.cfg.has("writer") || n.cfg.has("controlroom")) {
		var err error
		n.engine, err = embedded.New(embedded.Config{Dir: n.data.join("clickhouse"), Log: n.log})
		if err != nil {
			return err
		}
		n.info.ClickHouse = "http://" + n.engine.Addr()
		n.base.must("embedded database", n.engine.Run) // it starts while the log opens
	}
	return nil
}

package main

import (
	"context"
	"time"

	"panormus/ingest"
	"panormus/storage"
	"panormus/stream/lease"
)

// openDatabase opens the database and makes its tables, waiting for it as long as it takes.
func (n *node) openDatabase(ctx context.Context) error {
	cfg := storage.Config{Retention: n.cfg.Storage.TTL, Least: n.privacy.leasts, Log: n.log, Metrics: n.reg}
	routes, _, err := n.routes()
	if err != nil {
		return err
	}
	for _, s := range ingest.Speakers(routes) {
		cfg.Speakers = append(cfg.Speakers, storage.Speaker(s))
	}
	if n.engine != nil {
		cfg.Embedded = n.engine
		if err := n.engine.Ready(ctx); err != nil {
			return err
		}
	} else {
		cfg.DSN = n.cfg.ClickHouse
	}
	open := func(ctx context.Context) (err error) {
		n.parts.db, err = storage.Open(ctx, cfg)
		return err
	}
	if n.cfg.NATS != "embedded" { // else no other process has the log
		if open, err = n.oneByOne(ctx, open); err != nil {
			return err
		}
	}
	said := false
	for pause := firstPause; ; pause = min(2*pause, longPause) {
		err := open(ctx)
		if err == nil {
			if said {
				n.log.Info("the database answers")
			}
			return nil
		}
		if ctx.Err() != nil || !storage.IsAway(err) && err != lease.ErrLost {
			return err
		}
		if !said {
			n.log.Warn("the database is away; the log keeps what comes in until it answers", "error", err)
			said = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// openingLease is how long a process that was killed while it made the tables keeps the others waiting.
const openingLease = 16 * time.Second

// oneByOne is open, of which the processes that share the log run one at a time: two that make or change the
// same tables at once would meet what is half made.
func (n *node) oneByOne(ctx context.Context, open func(context.Context) error) (func(context.Context) error, error) {
	bucket, err := n.stream.KV(ctx, "database_lease")
	if err != nil {
		return nil, err
	}
	turn := &lease.Lease{Bucket: bucket, Key: "tables", Last: openingLease, Log: n.log, Waiting: func() {
		n.log.Info("another process makes or checks the tables of the database; this one waits for it")
	}}
	return func(ctx context.Context) error { return turn.Work(ctx, open) }, nil
}

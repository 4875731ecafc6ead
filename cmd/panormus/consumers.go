package main

import (
	"context"

	"panormus/controlroom/live"
	"panormus/ingest"
	"panormus/ingest/broker"
	"panormus/simulators/city"
	"panormus/storage"
	"panormus/stream/alarms"
	streamlog "panormus/stream/log"
	"panormus/stream/notify"
	"panormus/stream/roster"
	"panormus/stream/rules"
	"panormus/stream/tracks"
	"panormus/stream/watch"
)

// parts are what the roles are made of; nil where this process does not have the part.
type parts struct {
	pump   *ingest.Pump
	db     *storage.DB
	writer *storage.Writer
	store  *rules.Store
	rules  *rules.Worker
	alarms *alarms.Book
	// alarmsWorker is nil where another process makes the alarms.
	alarmsWorker *alarms.Worker
	rows         []*rules.RowWorker // of rules about rows: detections, uplinks, events…
	tracks       *tracks.Worker
	notify       *notify.Desk
	state        *live.State
	city         *city.City
	// tagged are the buckets of what can be changed by its ETag.
	tagged []*streamlog.KV
	broker *broker.Broker // the embedded one
	roster *roster.Roster
	// What parts of this process log in with at the embedded broker; empty where nobody has to.
	simulatedUser, simulatedSecret string
	noticesUser, noticesSecret     string
}

// startConsumers starts what reads the log: the writer, the tracks and the rules.
func (n *node) startConsumers(ctx context.Context) error {
	if n.cfg.has("writer") {
		n.parts.writer = storage.NewWriter(n.parts.db, n.stream, storage.WriterConfig{Log: n.log})
		n.reads.again("writer", n.parts.writer.Run)
		n.reads.again("retention", n.parts.db.RunRetention)
		n.reads.again("settling", n.parts.db.RunSettling)
	}
	if !n.cfg.has("rules") && !n.cfg.has("controlroom") {
		return nil
	}
	bucket, err := n.stream.KV(ctx, "rules")
	if err != nil {
		return err
	}
	n.parts.tagged = append(n.parts.tagged, bucket)
	n.parts.store = &rules.Store{
		Dir: n.cfg.Rules.Dir, Defaults: true, Bucket: bucket, Log: n.log, Known: func() []string { return rules.KnownMetrics(n.registry.Profiles()) },
		Overrides: n.registry, Profiles: n.registry.Profiles,
	}
	read := make(chan struct{})
	n.base.again("rule files", func(ctx context.Context) error { return n.parts.store.Run(ctx, onceClosed(read)) })
	select {
	case <-read:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := n.openLists(ctx, n.base); err != nil {
		return err
	}
	if err := n.startAlarms(ctx); err != nil {
		return err
	}
	if err := n.startNotify(ctx); err != nil {
		return err
	}
	if n.cfg.has("rules") {
		if err := n.startRules(); err != nil {
			return err
		}
	}
	if n.cfg.leads() {
		n.parts.tracks = tracks.NewWorker(tracks.WorkerConfig{
			Log: n.stream, Engine: tracks.Config{Registry: n.registry, Keep: n.keepTracks}, Logger: n.log, Metrics: n.reg,
		})
		n.reads.again("tracks", n.parts.tracks.Run)
		plates := watch.New(watch.Config{Log: n.stream, Lists: n.privacy.lists, Zone: n.zoneOf, Logger: n.log, Metrics: n.reg})
		n.reads.again("plates that are looked for", plates.Run)
	}
	return nil
}

// startRules starts what evaluates the rules, of observations this process's share.
func (n *node) startRules() error {
	own, spanning, err := shareOf(n.cfg.Rules.Share, n.stream.Partitions())
	if err != nil {
		return err
	}
	lease := rulesLease
	if n.cfg.NATS == "embedded" {
		lease = 0 // no other process reaches this log
	}
	n.parts.rules = rules.NewWorker(rules.WorkerConfig{
		Log: n.stream, Rules: n.parts.store, Engine: rules.Config{Registry: n.registry}, Partitions: own, Spanning: spanning, Lease: lease,
		Hours: n.hours(), Logger: n.log, Metrics: n.reg,
	})
	n.reads.again("rules", n.parts.rules.Run)
	if !n.cfg.leads() {
		return nil
	}
	for _, on := range []string{rules.OnDetections, rules.OnTracks, rules.OnCounts, rules.OnUplinks, rules.OnEvents, rules.OnJoined} {
		w := rules.NewRowWorker(rules.RowWorkerConfig{
			Log: n.stream, Rules: n.parts.store, On: on, Engine: rules.Config{Registry: n.registry}, Hours: n.hours(), Logger: n.log, Metrics: n.reg,
		})
		n.parts.rows = append(n.parts.rows, w)
		n.reads.again("rules on "+on, w.Run)
	}
	return nil
}

// onceClosed returns a function that closes c the first time it is called.
func onceClosed(c chan struct{}) func() {
	return func() {
		select {
		case <-c:
		default:
			close(c)
		}
	}
}

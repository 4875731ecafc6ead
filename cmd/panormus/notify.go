package main

import (
	"context"

	"panormus/stream/notify"
)

type notifyConfig struct {
	notify.Settings `yaml:",inline"`
}

// startNotify reads the routes of notices and the dead letters and, with the rules, starts a queue for each
// receiver: the process that raises events tells of them.
func (n *node) startNotify(ctx context.Context) error {
	routes, err := n.stream.KV(ctx, "notify_routes")
	if err != nil {
		return err
	}
	dead, err := n.stream.KV(ctx, "notify_dead")
	if err != nil {
		return err
	}
	n.parts.notify, err = notify.New(notify.Config{
		Settings: n.cfg.Notify.Settings, RouteBucket: routes, DeadBucket: dead, Logger: n.log, Metrics: n.reg,
	})
	if err != nil {
		return err
	}
	known, listed := make(chan struct{}), make(chan struct{})
	n.base.again("routes of notices", func(ctx context.Context) error { return n.parts.notify.Run(ctx, onceClosed(known)) })
	n.base.again("dead letters of notices", func(ctx context.Context) error { return n.parts.notify.Dead.Run(ctx, onceClosed(listed)) })
	for _, ready := range []<-chan struct{}{known, listed} {
		if err := n.await(ctx, ready); err != nil {
			return err
		}
	}
	if !n.cfg.has("rules") || len(n.cfg.Notify.Receivers) == 0 {
		return nil
	}
	states, err := n.stream.Objects(ctx, "notify")
	if err != nil {
		return err
	}
	broker := ""
	if n.info.MQTT != "" && n.cfg.Broker.TLS.Cert == "" {
		broker = "tcp://" + n.info.MQTT
	}
	queues, err := n.parts.notify.Queues(n.stream, states, broker)
	if err != nil {
		return err
	}
	for _, q := range queues {
		n.reads.again("notices to "+q.Name(), q.Run)
	}
	return nil
}

package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"

	"panormus/cmd/panormus/certs"
	"panormus/controlroom/auth"
	"panormus/ingest"
	"panormus/ingest/vds/push"
)

// vdsPush is about video metadata that comes by HTTP. Where the process answers HTTP anyway, it comes
// there too.
type vdsPush struct {
	Listen string      `yaml:"listen"` // an address of its own; none for none
	TLS    certs.Files `yaml:"tls"`
}

// takePushes lets cameras post to the front, and to an address of their own if there is to be one. They
// have credentials of their own, so that the operators' tokens are not asked for; a page elsewhere
// can still not make a browser post.
func (n *node) takePushes(pump *ingest.Pump) ([]ingest.Source, error) {
	h, err := push.New(push.Config{Pump: pump, Lookup: n.registry.Lookup, Metrics: n.reg})
	if err != nil {
		return nil, err
	}
	guard := auth.Guard{Hosts: n.cfg.Web.Hosts}
	at := func(addr string) *push.Handler {
		if auth.IsLoopback(addr) && !n.cfg.Web.closed() {
			return h.Open()
		}
		return h
	}
	if n.front != nil {
		n.front.setPush(guard.Wrap(at(n.cfg.HTTP)))
	}
	if n.cfg.VDS.Listen == "none" || n.cfg.VDS.Listen == "" {
		return nil, nil
	}
	t, err := n.certs.Server("vds", n.cfg.VDS.TLS, false, "h2", "http/1.1")
	if err != nil {
		return nil, fmt.Errorf("vds.tls: %w", err)
	}
	l, err := net.Listen("tcp", n.cfg.VDS.Listen)
	if err != nil {
		return nil, fmt.Errorf("vds.listen: %w", err)
	}
	n.info.VDS = l.Addr().String()
	f := newFront(l, t)
	f.setPush(guard.Wrap(at(n.cfg.VDS.Listen)))
	return []ingest.Source{pushSource{f, n.log}}, nil
}

// A pushSource serves an address of cameras' own; it is an ingest.Source.
type pushSource struct {
	front *front
	log   *slog.Logger
}

// Run implements ingest.Source.
func (s pushSource) Run(ctx context.Context) error { return s.front.serve(ctx, s.log) }

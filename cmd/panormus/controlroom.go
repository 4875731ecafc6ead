package main

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"panormus/controlroom/api"
	"panormus/controlroom/auth"
	"panormus/controlroom/basemap"
	"panormus/controlroom/feed"
	"panormus/controlroom/live"
	"panormus/controlroom/web"
	"panormus/simulators/city"
	"panormus/storage"
	"panormus/stream/batch"
)

// startControlRoom starts the live state and what shows it, and returns once the state is whole.
func (n *node) startControlRoom(ctx context.Context) error {
	book, desk, err := n.openAccess(ctx)
	if err != nil {
		return err
	}
	state := live.New(n.registry, n.log, n.reg)
	n.parts.state = state
	stats := func() api.Stats { return n.stats(ctx) }
	bounds := n.cfg.Web.Feed
	hub := feed.New(feed.Config{
		State: state, Alarms: n.parts.alarms, Stats: func() any { return stats() }, AllowOrigin: auth.SameOrigin, Subscribed: n.subscribed(ctx), Log: n.log, Metrics: n.reg,
		MaxClients: bounds.Clients, MaxUserClients: bounds.UserClients, MaxUserSubscriptions: bounds.UserSubscriptions, MaxAddressClients: bounds.AddressClients,
	})
	h := history{n.parts.db}
	whole := make(chan struct{})
	n.base.again("live state", func(ctx context.Context) error {
		return state.Run(ctx, live.Feeding{Log: n.stream, History: h, Writer: storage.Consumer, Ready: onceClosed(whole), Least: n.privacy.least})
	})
	n.base.again("feed", hub.Run)
	select {
	case <-whole:
	case <-ctx.Done():
		return ctx.Err()
	}
	if n.front == nil {
		return nil
	}
	if err := n.openReveals(ctx, n.base); err != nil {
		return err
	}
	claims, err := n.openClaims(ctx)
	if err != nil {
		return err
	}
	routes := desk.Routes()
	maps.Copy(routes, claims.Routes())
	cfg := api.Config{
		Version: version, State: state, Registry: n.registry, Stats: stats, Ready: n.health,
		Series: h, Events: h, Export: h, Rollups: h, Changes: h, Rules: n.parts.store, Alarms: n.parts.alarms, AlarmLog: n.parts.db, System: h, Radio: h, Video: h, K: n.privacy.least,
		Purposes: n.privacy.purposes, Audit: n.privacy.journal, Reveals: n.privacy.reveals, PlateLists: n.privacy.lists,
		Notify: n.parts.notify, Warnings: n.warnings, CAP: n.issuer(),
		Feed: hub, Page: web.Handler(), Gatherer: n.reg, Hosts: n.cfg.Web.Hosts, Who: book, Accounts: book, Routes: routes, Claims: claims, LoginPage: desk.Page,
		Limits: api.Limits{PerMinute: n.cfg.Web.Limits.PerMinute, Local: n.cfg.Web.Limits.Local}, Origins: n.cfg.Web.Origins,
		Contact: n.cfg.Web.Contact, Terms: n.cfg.Web.Terms, Log: n.log,
	}
	cfg.Unchanged, cfg.Processes = n.unchanged, n.processes
	cfg.Backtest, cfg.RuleStats = n.backtest, n.ruleStats
	if n.parts.pump != nil {
		cfg.Replay = n.replayRejected
	}
	if n.cfg.Simulate == "palermo" {
		n.parts.city = city.New(city.Config{
			Seed: int64(n.cfg.Simulation.Seed), Devices: n.cfg.Simulation.Devices, Rate: n.cfg.Simulation.Rate,
		})
		cfg.Base = basemap.GeoJSON(n.parts.city.Basemap())
	}
	if n.cfg.Map != "none" {
		if cfg.Base, err = basemap.Open(n.cfg.Map); err != nil {
			return err
		}
	}
	n.front.set(api.New(cfg))
	return nil
}

// health says why the process is not well; the log keeps what comes in meanwhile.
func (n *node) health() error {
	if n.engine != nil && n.engine.PID() == 0 {
		return errors.New("the embedded database is starting again")
	}
	if n.parts.writer != nil {
		if err := n.parts.writer.Err(); err != nil {
			return fmt.Errorf("the database takes nothing: %w", err)
		}
	}
	return n.stream.Writable()
}

// stats counts what this process has done since it started.
func (n *node) stats(ctx context.Context) api.Stats {
	s := api.Stats{Devices: int64(n.registry.Len())}
	if p := n.parts.pump; p != nil {
		in := p.Stats()
		s.Received, s.Decoded, s.Rejected = int64(in.Received), int64(in.Decoded), int64(in.Rejected)
		s.Duplicates, s.Ignored, s.Logged = int64(in.Duplicates), int64(in.Ignored), int64(in.Observations)
	}
	if w := n.parts.writer; w != nil {
		s.Stored, s.Detections = w.Stored(), w.StoredOf(batch.KindDetections)
		s.Lag.Writer = lagOr(w.Lag(ctx))
	}
	if r := n.parts.rules; r != nil {
		s.Events = r.Events()
		s.Lag.Rules = lagOr(r.Lag(ctx))
	}
	if w := n.parts.tracks; w != nil {
		s.Lag.Tracks = lagOr(w.Lag(ctx))
	}
	for _, r := range n.parts.rows {
		s.Events += r.Events()
		if lag := lagOr(r.Lag(ctx)); lag < 0 || s.Lag.Rules < 0 {
			s.Lag.Rules = -1
		} else {
			s.Lag.Rules += lag
		}
	}
	return s
}

// lagOr is the lag, or -1 where the log could not say.
func lagOr(lag int64, err error) int64 {
	if err != nil {
		return -1
	}
	return lag
}

// checkProtected refuses listeners that others can reach without TLS and authentication.
func checkProtected(cfg config) error {
	return auth.CheckListeners(cfg.Insecure,
		auth.Listener{Name: "HTTP", Address: cfg.HTTP, TLS: cfg.Web.TLS.Cert != "", Auth: cfg.Web.closed()},
		// The packet forwarder's protocol knows neither; frames are signed. The list of gateways keeps
		// strangers' bytes out, which is what can be had there.
		auth.Listener{Name: "LoRaWAN UDP", Address: cfg.LoRaWANUDP, TLS: len(cfg.LoRaWAN.Gateways) > 0, Auth: len(cfg.LoRaWAN.Gateways) > 0},
		auth.Listener{Name: "LoRa Basics Station", Address: cfg.LoRaWAN.Station, TLS: cfg.LoRaWAN.StationTLS.Cert != "",
			Auth: cfg.LoRaWAN.StationTLS.CA != "" || len(cfg.LoRaWAN.Gateways) > 0},
		// Beyond this machine every camera needs its own secret.
		auth.Listener{Name: "video metadata by HTTP (vds.listen)", Address: cfg.VDS.Listen, TLS: cfg.VDS.TLS.Cert != "", Auth: true},
		auth.Listener{Name: "MQTT", Address: cfg.MQTT, TLS: cfg.Broker.TLS.Cert != "", Auth: cfg.Broker.closed()},
	)
}

// unchanged has changes with the context it returns go by what is known here now; see log.KV.Unchanged.
func (n *node) unchanged(ctx context.Context) (context.Context, error) {
	for _, bucket := range n.parts.tagged {
		var err error
		if ctx, err = bucket.Unchanged(ctx); err != nil {
			return nil, err
		}
	}
	return ctx, nil
}

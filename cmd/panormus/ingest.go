package main

import (
	"context"
	cryptotls "crypto/tls"
	"fmt"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"panormus/ingest"
	"panormus/ingest/broker"
	"panormus/ingest/mqtt"
	"panormus/ingest/telemetry"
)

// decoders are the ones that routes can name.
func decoders(r *radioSide) map[string]ingest.Decoder {
	all := r.network.Decoders(r.frames)
	all["json"], all["senml"], all["senml-cbor"] = telemetry.JSON, telemetry.SenML, telemetry.SenMLCBOR
	return all
}

// startIngest starts the pump and the sources that feed it.
func (n *node) startIngest(ctx context.Context) error {
	if !n.cfg.has("ingest") {
		return nil
	}
	routes, video, err := n.routes()
	if err != nil {
		return err
	}
	radio, err := n.newRadioSide(ctx)
	if err != nil {
		return err
	}
	pump, err := ingest.New(ingest.Config{
		Log: n.stream, Registry: n.registry, Decoders: decoders(radio), Routes: routes, Linger: n.cfg.Ingest.Linger,
		Video: video, Privacy: n.privacy.guard,
		Takers:        map[string]ingest.Taker{"bridge": radio.network.Bridge(radio.intake.Gatherer)},
		RefuseUnknown: n.cfg.Ingest.UnknownDevices == "refuse", Logger: n.log, Metrics: n.reg,
	})
	if err != nil {
		return err
	}
	n.parts.pump = pump
	var sources []ingest.Source
	if n.cfg.MQTT != "none" {
		b, err := n.embeddedBroker(ctx, pump)
		if err != nil {
			return err
		}
		n.info.MQTT = b.Addr().String()
		sources = append(sources, b)
	}
	for _, b := range n.cfg.Brokers {
		source, err := n.remoteBroker(pump, b)
		if err != nil {
			return err
		}
		sources = append(sources, source)
	}
	if err := n.listenForGateways(radio); err != nil {
		return err
	}
	sources = append(sources, radio.intake.Feed(pump))
	pushes, err := n.takePushes(pump)
	if err != nil {
		return err
	}
	sources = append(sources, pushes...)
	if err := n.openSessions(ctx, radio.sessions); err != nil {
		return err
	}
	older, err := pump.Remember(ctx, n.stream)
	if err != nil {
		return err
	}
	n.keepSessions(n.stage(), radio, pump)
	in := n.stage()
	in.must("ingest", func(ctx context.Context) error { return ingest.Run(ctx, pump, sources...) })
	in.once("memory of older messages", func(ctx context.Context) error {
		select {
		case <-n.ready: // it reads much, and nobody waits for it: not while the process starts
			return older(ctx)
		case <-ctx.Done():
			return nil
		}
	})
	return nil
}

// routes are those of the settings and the default ones, with the decoders of video metadata that they name.
func (n *node) routes() ([]ingest.Route, map[string]ingest.Decoder, error) {
	routes := make([]ingest.Route, 0, len(n.cfg.Ingest.Routes))
	for _, r := range n.cfg.Ingest.Routes {
		routes = append(routes, ingest.Route{Filter: r.Topic, Decoder: r.Decoder, Domain: r.Domain})
	}
	cameras := n.videoConfig()
	video, mapped, err := cameras.decoders()
	return slices.Concat(routes, ingest.DefaultRoutes(), ingest.GatheredRoutes(), mapped, ingest.VideoRoutes()), video, err
}

func (n *node) embeddedBroker(ctx context.Context, pump *ingest.Pump) (*broker.Broker, error) {
	tls, err := n.certs.Server("mqtt", n.cfg.Broker.TLS, n.cfg.Broker.Certificates == "optional")
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	cfg := broker.Config{Pump: pump, Addr: n.cfg.MQTT, TLS: tls, Logger: n.log, Metrics: n.reg}
	if cfg.Shelf, err = n.stream.KV(ctx, "retained"); err != nil {
		return nil, err
	}
	if n.cfg.Broker.closed() {
		door, err := n.brokerDoor()
		if err != nil {
			return nil, err
		}
		cfg.Auth = door
		n.parts.simulatedUser, n.parts.simulatedSecret = door.Own("simulation")
		n.parts.noticesUser, n.parts.noticesSecret = door.Own("notices")
	}
	b, err := broker.New(cfg)
	if err != nil {
		return nil, listenError("MQTT", "mqtt", n.cfg.MQTT, err)
	}
	n.parts.broker = b
	return b, nil
}

// brokerDoor is who may connect to the embedded broker: devices with the secret or certificate that the registry
// has of them, and users.
func (n *node) brokerDoor() (*broker.Door, error) {
	var users *broker.Users
	if n.cfg.Broker.Passwords != "" {
		var err error
		if users, err = broker.LoadUsers(n.cfg.Broker.Passwords); err != nil {
			return nil, err
		}
	}
	return broker.NewDoor(n.registry, users, n.cfg.Broker.Accounts)
}

func (n *node) remoteBroker(pump *ingest.Pump, b remoteBroker) (*mqtt.Source, error) {
	tls, err := n.certs.Client(redacted(b.URL), b.TLS)
	if err != nil {
		return nil, fmt.Errorf("broker %s: %w", redacted(b.URL), err)
	}
	if b.ServerName != "" {
		if tls == nil {
			tls = &cryptotls.Config{MinVersion: cryptotls.VersionTLS12}
		}
		tls.ServerName = b.ServerName
	}
	return mqtt.New(mqtt.Config{
		Pump: pump, URL: b.URL, ClientID: b.ClientID, Username: b.Username, Password: b.Password, TLS: tls, ShareGroup: b.Share,
		Logger: n.log, Metrics: prometheus.WrapRegistererWith(prometheus.Labels{"broker": redacted(b.URL)}, n.reg),
	})
}

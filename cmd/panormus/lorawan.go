package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"panormus/cmd/panormus/certs"
	"panormus/ingest"
	"panormus/ingest/lorawan"
	"panormus/ingest/lorawan/frame"
	"panormus/ingest/lorawan/gather"
	"panormus/ingest/lorawan/radio"
	"panormus/ingest/lorawan/raw"
	"panormus/ingest/station"
	"panormus/ingest/udp"
	"panormus/stream/batch"
)

// lorawanConfig is about gateways and raw frames.
type lorawanConfig struct {
	Region        string      `yaml:"region"`         // the plan that raw frames must keep to
	Gateways      []string    `yaml:"gateways"`       // EUIs that are let in; empty lets in any
	Station       string      `yaml:"station"`        // address for LoRa Basics Station; none for none
	StationTLS    certs.Files `yaml:"station_tls"`    // ca: ask gateways for client certificates signed by it
	StationURI    string      `yaml:"station_uri"`    // where gateways find it from outside, wss://…; empty for the host they asked
	StationRouter string      `yaml:"station_router"` // file of the router_config that gateways are given; empty for the usual one of EU868
}

func (c *lorawanConfig) check() error {
	if _, err := c.allow(); err != nil {
		return err
	}
	r, err := radio.RegionOf(c.Region)
	if err != nil {
		return fmt.Errorf("lorawan.region: %w", err)
	}
	if c.Station != "none" && c.Station != "" && c.StationRouter == "" && r != &radio.EU868 {
		return fmt.Errorf("lorawan.station_router: none, want a file: networks of %s listen to different channels", r.Name)
	}
	return nil
}

// router is the router_config for gateways with Basics Station; nil for the usual one.
func (c *lorawanConfig) router() ([]byte, error) {
	if c.StationRouter == "" {
		return nil, nil
	}
	b, err := os.ReadFile(c.StationRouter)
	if err != nil {
		return nil, fmt.Errorf("lorawan.station_router: %w", err)
	}
	var said struct {
		MsgType string `json:"msgtype"`
	}
	if err := json.Unmarshal(b, &said); err != nil || said.MsgType != "router_config" {
		return nil, fmt.Errorf("lorawan.station_router: %s: msgtype %q, %v; want the JSON of a router_config", c.StationRouter, said.MsgType, err)
	}
	return b, nil
}

func (c *lorawanConfig) allow() ([]frame.EUI, error) {
	var all []frame.EUI
	for _, g := range c.Gateways {
		eui, err := frame.ParseEUI(strings.NewReplacer("-", "", ":", "").Replace(g))
		if err != nil {
			return nil, fmt.Errorf("lorawan.gateways: %q, want 16 hexadecimal digits", g)
		}
		all = append(all, eui)
	}
	return all, nil
}

// radioSide is what LoRaWAN takes beside the pump.
type radioSide struct {
	table    *frame.Table
	sessions *lorawan.Sessions
	joins    *lorawan.Joins
	network  *lorawan.Network
	frames   *raw.Decoder
	intake   *lorawan.Intake
}

// newRadioSide makes the parts and starts nothing.
func (n *node) newRadioSide(ctx context.Context) (*radioSide, error) {
	bucket, err := n.stream.KV(ctx, "lorawan")
	if err != nil {
		return nil, err
	}
	r := &radioSide{table: frame.NewTable(0), intake: lorawan.NewIntake()}
	codecs := lorawan.NewCodecs()
	r.sessions = &lorawan.Sessions{Table: r.table, Codecs: codecs, Registry: n.registry, Bucket: bucket, Log: n.log}
	r.joins = lorawan.NewJoins(n.registry, n.log, func(ctx context.Context, id string, events []batch.Event) error {
		data, err := batch.EncodeEvents(events)
		if err != nil {
			return err
		}
		_, err = n.stream.Publish(ctx, batch.KindEvents, 0, id, data)
		return err
	})
	r.network = &lorawan.Network{Registry: n.registry, Codecs: codecs, Joined: r.joins.Joined}
	region, err := radio.RegionOf(n.cfg.LoRaWAN.Region)
	if err != nil {
		return nil, err
	}
	r.frames = &raw.Decoder{Table: r.table, Registry: n.registry, Region: region, Codec: codecs.Decode, Join: r.joins.Heard}
	return r, r.measure(n.reg)
}

// measure registers the metrics of what has none of its own.
func (r *radioSide) measure(reg prometheus.Registerer) error {
	gauge := func(name, help string, read func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "panormus_ingest_lorawan_" + name, Help: help}, read)
	}
	counter := func(name, help string, read func() float64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "panormus_ingest_lorawan_" + name, Help: help}, read)
	}
	g := r.intake.Gatherer
	for _, c := range []prometheus.Collector{
		gauge("sessions", "Devices whose raw frames can be read.", func() float64 { return float64(r.table.Len()) }),
		gauge("waiting_frames", "Raw frames that wait for copies of other gateways.", func() float64 { return float64(g.Stats().Waiting) }),
		counter("copies_total", "Raw frames taken in, one a gateway that heard them.", func() float64 { return float64(g.Stats().Copies) }),
		counter("frames_total", "Raw frames handed on, their copies merged.", func() float64 { return float64(g.Stats().Frames) }),
		counter("late_copies_total", "Copies that came within 5 s after their frame was handed on, dropped.", func() float64 { return float64(g.Stats().Late) }),
		counter("downlinks_heard_total", "Downlinks that another gateway heard, dropped.", func() float64 { return float64(g.Stats().Downlinks) }),
		counter("dropped_reports_total", "Reports of gateways dropped because the log is behind.", func() float64 { return float64(r.intake.Dropped()) }),
		counter("unreported_joins_total", "Join requests that were too many to report.", func() float64 { return float64(r.joins.Dropped()) }),
	} {
		if err := reg.Register(c); err != nil {
			return fmt.Errorf("lorawan: register metrics: %w", err)
		}
	}
	return nil
}

// openSessions reads the registry's sessions and codecs, and the counters where they were left.
func (n *node) openSessions(ctx context.Context, s *lorawan.Sessions) error {
	seq, ok, err := s.Load(ctx)
	if err != nil {
		return err
	}
	if ok {
		err = s.CatchUp(ctx, n.stream, seq)
	} else if seq, err = n.stream.LastSeq(ctx, batch.KindUplinks); err == nil {
		err = s.Save(ctx, s.Snapshot(seq)) // whence to catch up if this process is killed soon
	}
	if err != nil {
		return err
	}
	s.Follow()
	return nil
}

// keepSessions keeps the counters until the stage ends, after the pump.
func (n *node) keepSessions(s *stage, r *radioSide, pump *ingest.Pump) {
	s.again("frame counters", func(ctx context.Context) error {
		return r.sessions.Run(ctx, pump.Flush, func(ctx context.Context) (uint64, error) { return n.stream.LastSeq(ctx, batch.KindUplinks) })
	})
	s.again("join requests", r.joins.Run)
}

// listenForGateways binds what gateways speak to.
func (n *node) listenForGateways(r *radioSide) error {
	allow, err := n.cfg.LoRaWAN.allow()
	if err != nil {
		return err
	}
	if n.cfg.LoRaWANUDP != "none" && n.cfg.LoRaWANUDP != "" {
		l, err := udp.Listen(udp.Config{
			Addr: n.cfg.LoRaWANUDP, Allow: allow, Logger: n.log, Metrics: n.reg,
			Receiver: func(int) udp.Receiver { return &gather.Datagrams{To: r.intake.Gatherer} },
		})
		if err != nil {
			return listenError("LoRaWAN", "lorawan-udp", n.cfg.LoRaWANUDP, err)
		}
		n.info.LoRaWANUDP = l.Addr().String()
		r.intake.Sources = append(r.intake.Sources, l)
	}
	if n.cfg.LoRaWAN.Station != "none" && n.cfg.LoRaWAN.Station != "" {
		t, err := n.certs.Server("lorawan.station", n.cfg.LoRaWAN.StationTLS, false, "http/1.1")
		if err != nil {
			return fmt.Errorf("lorawan.station_tls: %w", err)
		}
		router, err := n.cfg.LoRaWAN.router()
		if err != nil {
			return err
		}
		l, err := net.Listen("tcp", n.cfg.LoRaWAN.Station)
		if err != nil {
			return fmt.Errorf("lorawan.station: %w", err)
		}
		n.info.LoRaWANStation = l.Addr().String()
		r.intake.Sources = append(r.intake.Sources, &stationServer{
			listener: l, tls: t, log: n.log, station: station.New(station.Config{
				Receiver: func(frame.EUI) station.Receiver { return gather.Station{To: r.intake.Gatherer} },
				Allow:    allow, Region: r.frames.Region, Router: router, URI: n.cfg.LoRaWAN.StationURI, Logger: n.log,
			}),
		})
	}
	return nil
}

// A stationServer serves gateways with LoRa Basics Station; it is an ingest.Source.
type stationServer struct {
	listener net.Listener
	tls      *tls.Config
	station  *station.Server
	log      *slog.Logger
}

// Run implements ingest.Source.
func (s *stationServer) Run(ctx context.Context) error {
	srv := &http.Server{
		Handler: s.station, TLSConfig: s.tls, ReadHeaderTimeout: headerTime, IdleTimeout: idleTime, MaxHeaderBytes: headerSize,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() {
		if s.tls != nil {
			ended <- srv.ServeTLS(s.listener, "", "")
		} else {
			ended <- srv.Serve(s.listener)
		}
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	s.station.Close()
	srv.Close()
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

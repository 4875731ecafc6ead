package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"time"

	"panormus/devices"
	"panormus/simulators/city"
	"panormus/simulators/lorawan"
	"panormus/simulators/video"
)

type cityOptions struct {
	broker, username, password string
	tls                        *tls.Config
	devices                    int
	rate                       float64
	seed                       int64
}

// simulateCity publishes a simulated Palermo to any broker until ctx ends.
func simulateCity(ctx context.Context, o cityOptions) error {
	c := city.New(city.Config{Seed: o.seed, Devices: o.devices, Rate: o.rate})
	fmt.Fprintf(os.Stderr, "simulating %d devices, about %.0f messages/s, to %s\n", c.Len(), c.Pace(), o.broker)
	return c.Run(ctx, city.MQTTOptions{
		Broker: o.broker, TLS: o.tls, Username: o.username, Password: o.password,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
}

// simulateVideo publishes what the simulated Palermo's cameras see to any broker until ctx ends.
// Whoever listens wants their registry entries first: `panormus run --simulate palermo` has them.
func simulateVideo(ctx context.Context, o cityOptions) error {
	cameras := video.New(video.Config{Seed: o.seed, Cameras: o.devices})
	if o.rate > 0 {
		cameras = video.New(video.Config{Seed: o.seed, Cameras: o.devices, Rate: o.rate / float64(cameras.Len())})
	}
	fmt.Fprintf(os.Stderr, "simulating %d cameras to %s\n", cameras.Len(), o.broker)
	return cameras.Run(ctx, video.Options{
		Broker: o.broker, TLS: o.tls, Username: o.username, Password: o.password,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
}

// startSimulation enters the simulated city's devices into the registry and lets them publish to
// the embedded broker, over a connection like any other device's. Its cameras do likewise; LoRaWAN
// gateways send by UDP besides, where this process listens for them.
func (n *node) startSimulation() {
	if n.cfg.Simulate != "palermo" {
		return
	}
	c := n.parts.city
	simulation := n.stage()
	// Over TLS the broker's certificate is for the name that devices use, and it may want one of theirs.
	dialOf := func(ctx context.Context) func() (net.Conn, error) {
		if n.parts.broker == nil || n.cfg.Broker.TLS.Cert == "" {
			return nil
		}
		return func() (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			return n.parts.broker.Dial(ctx)
		}
	}
	simulation.once("simulation", func(ctx context.Context) error {
		if err := enroll(ctx, n.registry, c.Zones(), c); err != nil {
			return fmt.Errorf("enter the simulated city: %w", err)
		}
		return c.Run(ctx, city.MQTTOptions{Broker: n.info.MQTT, Dial: dialOf(ctx), Username: n.parts.simulatedUser, Password: n.parts.simulatedSecret, Log: n.log})
	})
	if n.info.MQTT != "" {
		rate := 1.0
		if n.cfg.Simulation.Rate > 0 {
			rate = n.cfg.Simulation.Rate / c.Pace()
		}
		cameras := n.cfg.Simulation.cameras(rate)
		simulation.once("simulated cameras", func(ctx context.Context) error {
			if err := enroll(ctx, n.registry, nil, cameras); err != nil {
				return fmt.Errorf("enter the simulated cameras: %w", err)
			}
			return cameras.Run(ctx, video.Options{Broker: n.info.MQTT, Dial: dialOf(ctx), Username: n.parts.simulatedUser, Password: n.parts.simulatedSecret, Push: n.pushAddress(), Log: n.log})
		})
	}
	if n.info.MQTT == "" && n.info.LoRaWANUDP == "" {
		return
	}
	nodes := max(lorawanNodes*c.Len()/city.Natural, 1)
	radio := lorawan.New(lorawan.Config{Seed: int64(n.cfg.Simulation.Seed), Nodes: nodes, Rate: float64(nodes) / lorawanNodes})
	simulation.once("simulated LoRaWAN", func(ctx context.Context) error {
		if err := enroll(ctx, n.registry, nil, radio); err != nil {
			return fmt.Errorf("enter the simulated LoRaWAN: %w", err)
		}
		return radio.Run(ctx, lorawan.Options{
			UDP: n.info.LoRaWANUDP, Broker: n.info.MQTT, Dial: dialOf(ctx), Username: n.parts.simulatedUser, Password: n.parts.simulatedSecret, Log: n.log,
		})
	})
}

// pushAddress is where simulated cameras post; "" where there is no HTTP, or only with a certificate,
// which is for the name that people use.
func (n *node) pushAddress() string {
	if n.front == nil || n.front.tls != nil {
		return ""
	}
	at, ok := n.front.listener.Addr().(*net.TCPAddr)
	if !ok {
		return ""
	}
	if at.IP.IsUnspecified() {
		return fmt.Sprintf("http://127.0.0.1:%d", at.Port)
	}
	return "http://" + at.String()
}

// cameras are the simulated city's, in proportion to its other devices, with so many pictures a second
// each.
func (c *simulationConfig) cameras(rate float64) *video.System {
	others := c.Devices
	if others <= 0 {
		others = city.Natural
	}
	return video.New(video.Config{Seed: int64(c.Seed), Cameras: max(video.Natural*others/city.Natural, 1), Rate: rate})
}

// videoConfig is what is set about cameras, and what has to be for the simulated ones.
func (n *node) videoConfig() vdsConfig {
	c := n.cfg.VDS
	if n.cfg.Simulate == "palermo" {
		set := c.Frames
		c.Frames = n.cfg.Simulation.cameras(1).Frames()
		maps.Copy(c.Frames, set)
	}
	return c
}

// lorawanNodes is how many LoRaWAN nodes the whole city has; one of them speaks each second.
const lorawanNodes = 300

// enroll enters what the registry does not hold yet, or holds otherwise.
func enroll(ctx context.Context, r *devices.Registry, zones []devices.Zone, from interface {
	Profiles() []devices.Profile
	Devices() []devices.Device
}) error {
	for _, z := range zones {
		if held := r.Zone(z.ID); held == nil || !sameJSON(held, z) {
			if err := r.PutZone(ctx, z); err != nil {
				return err
			}
		}
	}
	for _, p := range from.Profiles() {
		if held := r.Profile(p.ID); held == nil || !sameJSON(held, p) {
			if err := r.PutProfile(ctx, p); err != nil {
				return err
			}
		}
	}
	for _, d := range from.Devices() {
		// What an operator changed of a simulated device stays; one that only published is claimed.
		if held := r.Lookup(d.ID); held == nil || held.Status == devices.Unclaimed {
			if err := r.PutDevice(ctx, d); err != nil {
				return err
			}
		}
	}
	return nil
}

func sameJSON(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"

	"panormus/devices"
	"panormus/simulators/city"
)

type cityOptions struct {
	broker, username, password string
	devices                    int
	rate                       float64
	seed                       int64
}

// simulateCity publishes a simulated Palermo to any broker until ctx ends.
func simulateCity(ctx context.Context, o cityOptions) error {
	c := city.New(city.Config{Seed: o.seed, Devices: o.devices, Rate: o.rate})
	fmt.Fprintf(os.Stderr, "simulating %d devices, about %.0f messages/s, to %s\n", c.Len(), c.Pace(), o.broker)
	return c.Run(ctx, city.MQTTOptions{
		Broker: o.broker, Username: o.username, Password: o.password,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
}

// startSimulation enters the simulated city's devices into the registry and lets them publish to
// the embedded broker, over a connection like any other device's.
func (n *node) startSimulation() {
	if n.cfg.Simulate != "palermo" {
		return
	}
	c := n.parts.city
	n.stage().once("simulation", func(ctx context.Context) error {
		if err := enroll(ctx, n.registry, c); err != nil {
			return fmt.Errorf("enter the simulated city: %w", err)
		}
		return c.Run(ctx, city.MQTTOptions{Broker: n.info.MQTT, Log: n.log})
	})
}

// enroll enters what the registry does not hold yet, or holds otherwise.
func enroll(ctx context.Context, r *devices.Registry, c *city.City) error {
	for _, z := range c.Zones() {
		if held := r.Zone(z.ID); held == nil || !sameJSON(held, z) {
			if err := r.PutZone(ctx, z); err != nil {
				return err
			}
		}
	}
	for _, p := range c.Profiles() {
		if held := r.Profile(p.ID); held == nil || !sameJSON(held, p) {
			if err := r.PutProfile(ctx, p); err != nil {
				return err
			}
		}
	}
	for _, d := range c.Devices() {
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

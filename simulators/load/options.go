package load

import (
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"panormus/devices"
)

// Options says what to send. Zero values take the defaults named; flags are those of
// `panormus simulate --load`.
type Options struct {
	// Broker is host:port of the MQTT broker (--mqtt).
	Broker             string
	Username, Password string
	TLS                *tls.Config // nil: plain TCP

	// Connections is how many MQTT connections share the work (--connections; 100).
	Connections int
	// InFlight is how many messages a connection sends ahead of their acknowledgements, 1 to 65,535
	// (--inflight; 100). At QoS 0 it only bounds how many are written at a time.
	InFlight int
	// QoS is 0 or 1 (--qos). Its zero value is QoS 0.
	QoS byte
	// Rate is messages a second over all connections (--rate); 0: as fast as the broker takes them.
	// What cannot be sent in time is sent later, so an outage is caught up.
	Rate float64
	// Duration bounds the sending (--duration) and Count the messages (--count), whichever is
	// reached first; 0: no such bound. With neither, Run sends until its context ends.
	Duration time.Duration
	Count    int64

	// Video sends frames of FrameObjects objects from cameras instead of telemetry (--video): Axis'
	// scene metadata at vds/{device}/axis-scene. Metrics and Domain say nothing then.
	Video bool
	// Devices is how many devices speak, at least one a connection (--devices; 10,000, or 1,000
	// cameras). Above 1,000 messages a second a device, its time stamps run ahead of the clock to stay distinct.
	Devices int
	// Metrics is the metrics a message has, the counter n included, 1 to 255 (--metrics; 5).
	Metrics int
	// Moving devices are vehicles: their first two metrics are a position in Palermo that each message
	// moves by some ten metres to the north-east, and that begins anew after eight kilometres.
	Moving bool
	// Seed chooses the values (--seed).
	Seed int64
	// Domain is the topic's ("lighting"), Prefix begins every device id and client id ("load"):
	// devices are called {prefix}-0000000, {prefix}-0000001…
	Domain, Prefix string

	// Drain is how long to wait for acknowledgements after the last message (30 s).
	Drain time.Duration
	// Connecting is how long the first connection may take to come about (10 s). One lost later is
	// sought until the run ends.
	Connecting time.Duration
	// Progress, when not nil, is called every second of the run, from one goroutine.
	Progress func(Progress)
}

// Progress is how far a run is.
type Progress struct {
	Elapsed     time.Duration
	Sent, Acked int64
	Connected   int // connections that stand
}

// withDefaults returns o with its zero values replaced, or what of it is not acceptable.
func (o Options) withDefaults() (Options, error) {
	setInt(&o.Connections, 100)
	setInt(&o.InFlight, 100)
	if o.Video {
		setInt(&o.Devices, max(1000, o.Connections))
	}
	setInt(&o.Devices, max(10_000, o.Connections))
	setInt(&o.Metrics, 5)
	if o.Domain == "" {
		o.Domain = "lighting"
	}
	if o.Prefix == "" {
		o.Prefix = "load"
	}
	if o.Drain == 0 {
		o.Drain = 30 * time.Second
	}
	if o.Connecting == 0 {
		o.Connecting = 10 * time.Second
	}
	if o.Broker == "" {
		return o, errors.New("broker: none, want host:port")
	}
	for _, f := range []struct {
		name           string
		have, min, max int
	}{
		{"connections", o.Connections, 1, 60_000},
		{"in flight", o.InFlight, 1, 65_535},
		{"devices", o.Devices, o.Connections, 9_999_999},
		{"metrics", o.Metrics, 1, 255},
		{"qos", int(o.QoS), 0, 1},
	} {
		if f.have < f.min || f.have > f.max {
			return o, fmt.Errorf("%s: %d, want %d to %d", f.name, f.have, f.min, f.max)
		}
	}
	if o.Rate < 0 || o.Duration < 0 || o.Count < 0 {
		return o, fmt.Errorf("rate %v, duration %v, count %d: want none negative", o.Rate, o.Duration, o.Count)
	}
	if err := devices.CheckDomain(o.Domain); err != nil {
		return o, fmt.Errorf("domain: %w", err)
	}
	if err := devices.CheckID(o.Prefix + "-" + zeros(deviceDigits)); err != nil {
		return o, fmt.Errorf("prefix: %w", err)
	}
	return o, nil
}

func setInt(v *int, to int) {
	if *v == 0 {
		*v = to
	}
}

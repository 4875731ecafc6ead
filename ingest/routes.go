package ingest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"panormus/devices"
)

// A Route sends the messages of some topics to a decoder. In its filter the last + is the device
// and the first one the domain, or all + but the last are of no account where Domain is given.
type Route struct {
	// Filter is an MQTT topic filter with + levels; # may end it.
	Filter string `json:"filter" yaml:"filter"`
	// Decoder is a key of Config.Decoders, or "ignore": counted, acknowledged and not looked at.
	Decoder string `json:"decoder" yaml:"decoder"`
	// Domain is that of devices whose topics have none.
	Domain string `json:"domain,omitempty" yaml:"domain,omitempty"`
	// Internal says that the topic is the process's own: brokers are not asked for it.
	Internal bool `json:"-" yaml:"-"`
}

// Ignore is the decoder of messages that are of no interest.
const Ignore = "ignore"

// DefaultRoutes are the topics of the contract. The first match counts.
func DefaultRoutes() []Route {
	return []Route{
		{Filter: "city/+/+/telemetry", Decoder: "json"},
		{Filter: "city/+/+/telemetry/senml", Decoder: "senml"},
		{Filter: "city/+/+/telemetry/senml-cbor", Decoder: "senml-cbor"},
		// ChirpStack's network server.
		{Filter: "application/+/device/+/event/up", Decoder: "chirpstack", Domain: lorawan},
		{Filter: "application/+/device/+/event/status", Decoder: "chirpstack-status", Domain: lorawan},
		{Filter: "application/+/device/+/event/join", Decoder: "chirpstack-join", Domain: lorawan},
		{Filter: "application/+/device/+/event/ack", Decoder: "chirpstack-ack", Domain: lorawan},
		{Filter: "application/+/device/+/event/txack", Decoder: "chirpstack-txack", Domain: lorawan},
		{Filter: "application/+/device/+/event/log", Decoder: "chirpstack-log", Domain: lorawan},
		{Filter: "application/+/device/+/event/location", Decoder: "chirpstack-location", Domain: lorawan},
		{Filter: "application/+/device/+/event/+", Decoder: Ignore, Domain: lorawan},
		// The Things Stack's, its application with @ and the tenant or without.
		{Filter: "v3/+/devices/+/up", Decoder: "things", Domain: lorawan},
		{Filter: "v3/+/devices/+/join", Decoder: "things", Domain: lorawan},
		{Filter: "v3/+/devices/+/location/solved", Decoder: "things", Domain: lorawan},
		{Filter: "v3/+/devices/+/#", Decoder: Ignore, Domain: lorawan},
		// ChirpStack's gateway bridge, with a prefix for the region or without.
		{Filter: "gateway/+/event/up", Decoder: "bridge", Domain: lorawan},
		{Filter: "gateway/+/event/stats", Decoder: "bridge-stats", Domain: lorawan},
		{Filter: "gateway/+/event/ack", Decoder: "bridge-ack", Domain: lorawan},
		{Filter: "+/gateway/+/event/up", Decoder: "bridge", Domain: lorawan},
		{Filter: "+/gateway/+/event/stats", Decoder: "bridge-stats", Domain: lorawan},
		{Filter: "+/gateway/+/event/ack", Decoder: "bridge-ack", Domain: lorawan},
	}
}

// VideoRoutes are the topics of cameras and what analyses their pictures. They come behind the others.
func VideoRoutes() []Route {
	return []Route{
		// ONVIF over MQTT: the level before is the camera, whatever comes before that.
		{Filter: "+/onvif-ej/#", Decoder: "onvif-event", Domain: safety},
		{Filter: "+/+/onvif-ej/#", Decoder: "onvif-event", Domain: safety},
		{Filter: "+/+/+/onvif-ej/#", Decoder: "onvif-event", Domain: safety},
		{Filter: "+/onvif-mj/#", Decoder: "onvif-frame", Domain: safety},
		{Filter: "+/+/onvif-mj/#", Decoder: "onvif-frame", Domain: safety},
		{Filter: "+/+/+/onvif-mj/#", Decoder: "onvif-frame", Domain: safety},
		// Axis: Object Analytics and other events.
		{Filter: "axis/+/event/#", Decoder: "axis-event", Domain: safety},
		// Frigate names the camera in the message.
		{Filter: "frigate/events", Decoder: "frigate-event", Domain: safety},
		{Filter: "frigate/reviews", Decoder: "frigate-review", Domain: safety},
		{Filter: "frigate/tracked_object_update", Decoder: "frigate-update", Domain: safety},
		// Those whose topics are whatever was configured at the camera: ours say what is in them.
		{Filter: "vds/+/onvif-xml", Decoder: "onvif-xml", Domain: safety},
		{Filter: "vds/+/onvif-event", Decoder: "onvif-event", Domain: safety},
		{Filter: "vds/+/onvif-frame", Decoder: "onvif-frame", Domain: safety},
		{Filter: "vds/+/axis-scene", Decoder: "axis-scene", Domain: safety},
		{Filter: "vds/+/axis-track", Decoder: "axis-track", Domain: safety},
		{Filter: "vds/+/hikvision", Decoder: "hikvision", Domain: safety},
		{Filter: "vds/+/dahua", Decoder: "dahua", Domain: safety},
		{Filter: "vds/+/deepstream", Decoder: "deepstream", Domain: safety},
		{Filter: "vds/+/rekor", Decoder: "rekor", Domain: safety},
		{Filter: "vds/+/platerecognizer", Decoder: "platerecognizer", Domain: safety},
	}
}

// safety is the domain of cameras that nobody has given another.
const safety = "safety"

// lorawan is the domain of LoRaWAN devices that nobody has given another.
const lorawan = "lorawan"

// framesDecoder is the name of the decoder that reads Envelope.Parsed.
const framesDecoder = "lorawan-frame"

// GatheredRoutes are the topics under which raw frames and what gateways tell of themselves come out
// of package gather. Nobody publishes them; the dead letter has them.
func GatheredRoutes() []Route {
	return []Route{
		{Filter: "lorawan/+/frame", Decoder: framesDecoder, Domain: lorawan, Internal: true},
		{Filter: "lorawan/+/stats", Decoder: "bridge-stats", Domain: lorawan, Internal: true},
		{Filter: "lorawan/+/ack", Decoder: "bridge-ack", Domain: lorawan, Internal: true},
	}
}

// CheckRoutes reports what of routes is not acceptable.
func CheckRoutes(routes []Route, decoders, video map[string]Decoder) error {
	for i, r := range routes {
		if _, err := compile(r, decoders, video); err != nil {
			return fmt.Errorf("route %d, %q: %w", i+1, r.Filter, err)
		}
	}
	return nil
}

type route struct {
	levels         []string
	decoder        Decoder // nil: ignore
	video          bool
	taker          Taker // nil: decode
	parsed         bool  // the decoder reads Envelope.Parsed
	domain         string
	domainAt, idAt int // which level; domainAt -1 where domain is given, idAt -1 where the message names the device
}

func compile(r Route, decoders, video map[string]Decoder) (route, error) {
	c := route{levels: strings.Split(r.Filter, "/"), domain: r.Domain, domainAt: -1, idAt: -1, parsed: r.Decoder == framesDecoder}
	var plus []int
	for i, level := range c.levels {
		switch {
		case level == "+":
			plus = append(plus, i)
		case level == "#" && i == len(c.levels)-1:
		case strings.ContainsAny(level, "+#"):
			return c, fmt.Errorf("level %q, want + or # alone, # at the end", level)
		}
	}
	if r.Decoder != Ignore {
		ok := false
		if c.decoder, ok = decoders[r.Decoder]; !ok {
			c.decoder, ok = video[r.Decoder]
			c.video = ok
		}
		if !ok {
			known := slices.AppendSeq(slices.AppendSeq([]string{Ignore}, maps.Keys(decoders)), maps.Keys(video))
			slices.Sort(known)
			return c, fmt.Errorf("decoder %q, want one of %s", r.Decoder, strings.Join(known, ", "))
		}
	}
	if r.Domain != "" {
		if err := devices.CheckDomain(r.Domain); err != nil {
			return c, fmt.Errorf("domain: %w", err)
		}
	}
	switch {
	case r.Decoder == Ignore:
		return c, nil
	case len(plus) == 0 && c.video && r.Domain != "":
		return c, nil // cameras behind one another's server: each message names its own
	case len(plus) == 0:
		return c, errors.New("no + level, want one for the device")
	case len(plus) == 1 && r.Domain == "":
		return c, errors.New("one + level and no domain, want two or a domain")
	}
	c.idAt = plus[len(plus)-1]
	if r.Domain == "" {
		c.domainAt = plus[0]
	}
	return c, nil
}

// match reports whether topic is one of the route's and what it names.
func (r *route) match(topic string) (domain, device string, ok bool) {
	domain = r.domain
	rest, more := topic, true
	for i, want := range r.levels {
		if want == "#" {
			return domain, device, i > 0 || !strings.HasPrefix(topic, "$")
		}
		if !more {
			return "", "", false
		}
		var level string
		level, rest, more = strings.Cut(rest, "/")
		switch {
		case want != "+" && want != level, i == 0 && want == "+" && strings.HasPrefix(level, "$"):
			return "", "", false
		case i == r.idAt:
			device = level
		case i == r.domainAt:
			domain = level
		}
	}
	return domain, device, !more
}

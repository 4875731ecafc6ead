package broker

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"panormus/devices"
)

// A Grant is who a client is and what it may do. The zero Grant is nobody in particular, who may do
// everything but publish to $ topics.
type Grant struct {
	// Name is whose the client's sessions are: "device pole-1", "user bridge". Nobody else can take them
	// over. Empty for a broker that asks nobody who he is.
	Name string
	// Device, where set, is the device that the client is; Domain is the one that the registry has it in.
	Device, Domain string
	// Rights are those of a client that is no device; nil: all.
	Rights *Rights

	asset       *devices.Asset // the device as it logged in
	certificate string         // the fingerprint of what it logged in with in place of a secret
}

// Rights are MQTT filters of topics. A level {name} is the client's own name.
type Rights struct {
	Publish   []string `yaml:"publish"`
	Subscribe []string `yaml:"subscribe"`
}

// check reports what is wrong with r.
func (r *Rights) check() error {
	for _, f := range slices.Concat(r.Publish, r.Subscribe) {
		if f == "" || len(f) > 1024 {
			return fmt.Errorf("a filter of %d bytes, want 1 to 1024", len(f))
		}
		levels := strings.Split(f, "/")
		for i, l := range levels {
			if l == "#" && i < len(levels)-1 || len(l) > 1 && strings.ContainsAny(l, "+#") || strings.Contains(l, "\x00") {
				return fmt.Errorf("filter %q: level %q, want + or # alone, # at the end", f, l)
			}
		}
	}
	return nil
}

// of are the rights of who has the name.
func (r *Rights) of(name string) *Rights {
	own := func(filters []string) []string {
		out := make([]string, len(filters))
		for i, f := range filters {
			levels := strings.Split(f, "/")
			for j, l := range levels {
				if l == "{name}" {
					levels[j] = name
				}
			}
			out[i] = strings.Join(levels, "/")
		}
		return out
	}
	return &Rights{Publish: own(r.Publish), Subscribe: own(r.Subscribe)}
}

// checkName reports why a user cannot have a name: it may stand for a level of a topic.
func checkName(name string) error {
	if name == "" || len(name) > 256 || strings.ContainsAny(name, "/+#\x00") {
		return fmt.Errorf("name %.300q, want 1 to 256 bytes without /, + and #", name)
	}
	return nil
}

// covers reports whether every topic that filter matches is matched by pattern.
func covers(pattern, filter string) bool {
	if strings.HasPrefix(filter, "$") != strings.HasPrefix(pattern, "$") {
		return false
	}
	p, f := strings.Split(pattern, "/"), strings.Split(filter, "/")
	for i, want := range p {
		if want == "#" {
			return true
		}
		if i == len(f) || f[i] == "#" || f[i] != want && want != "+" {
			return false
		}
	}
	return len(p) == len(f)
}

var errShared = errors.New("a shared subscription without a group or a filter")

// unshared is the filter within a shared subscription's.
func unshared(filter string) (string, error) {
	rest, ok := strings.CutPrefix(filter, "$share/")
	if !ok {
		return filter, nil
	}
	group, inner, ok := strings.Cut(rest, "/")
	if !ok || inner == "" || group == "" || strings.ContainsAny(group, "+#") {
		return "", errShared
	}
	return inner, nil
}

// Router knows what topics name; *ingest.Pump is one.
type Router interface {
	// Speaker says whose a topic is: the device that it names, "" where each message names its own or a level
	// for the domain is empty, and the domain where the topic names it. ok is false where no route matches.
	Speaker(topic []byte) (domain, device string, ok bool)
}

// mayPublish reports whether the client may publish to topic. A device may to topics of routes that name
// it, and below city/{domain}/{device}/ but where it is told what to do.
func (g *Grant) mayPublish(r Router, topic string) bool {
	switch {
	case strings.HasPrefix(topic, "$") || strings.ContainsAny(topic, "+#\x00"):
		return false
	case g.Rights != nil:
		return slices.ContainsFunc(g.Rights.Publish, func(p string) bool { return covers(p, topic) })
	case g.Device == "":
		return true
	case topic == "":
		return false
	}
	if domain, device, routed := r.Speaker([]byte(topic)); routed {
		return device == g.Device && (domain == "" || domain == g.Domain)
	}
	levels := strings.Split(topic, "/")
	return len(levels) > 3 && levels[0] == "city" && levels[1] == g.Domain && levels[2] == g.Device && levels[3] != "command" && levels[3] != "downlink"
}

// maySubscribe reports whether the client may see what filter matches. A device may see what is below
// city/{domain}/{device}/, and a gateway's commands.
func (g *Grant) maySubscribe(filter string) bool {
	filter, err := unshared(filter)
	switch {
	case err != nil:
		return false
	case g.Rights != nil:
		return slices.ContainsFunc(g.Rights.Subscribe, func(p string) bool { return covers(p, filter) })
	case g.Device == "":
		return true
	}
	return covers("city/"+g.Domain+"/"+g.Device+"/#", filter) || covers("gateway/"+g.Device+"/command/#", filter) ||
		covers("+/gateway/"+g.Device+"/command/#", filter)
}

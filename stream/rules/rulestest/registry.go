package rulestest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"panormus/devices"
)

// registry is the script's.
type registry struct {
	profiles []*devices.Profile
	assets   map[string]*devices.Asset
	zones    map[string]*devices.Zone
	version  uint64
}

func (r *registry) Lookup(id string) *devices.Asset { return r.assets[id] }
func (r *registry) Zone(id string) *devices.Zone    { return r.zones[id] }
func (r *registry) OverridesVersion() uint64        { return r.version }
func (r *registry) Version() uint64                 { return r.version }
func (r *registry) All() []*devices.Asset           { return slices.Collect(maps.Values(r.assets)) }

// zone enters a zone: its id and the corners of its shape, each LAT,LON.
func (s *script) zone(args []string) error {
	var corners [][2]float64
	for _, corner := range append(args[1:len(args):len(args)], args[1]) {
		lat, lon, _ := strings.Cut(corner, ",")
		y, err1 := strconv.ParseFloat(lat, 64)
		x, err2 := strconv.ParseFloat(lon, 64)
		if err1 != nil || err2 != nil {
			return fmt.Errorf("zone: found %q, want a corner such as 38.11,13.36", corner)
		}
		corners = append(corners, [2]float64{x, y})
	}
	feature, err := json.Marshal(map[string]any{
		"type": "Feature", "properties": map[string]any{"id": args[0], "name": args[0]},
		"geometry": map[string]any{"type": "Polygon", "coordinates": [][][2]float64{corners}},
	})
	if err != nil {
		return err
	}
	z, err := devices.ParseZone(feature)
	if err != nil {
		return fmt.Errorf("zone: %w", err)
	}
	if s.registry.zones == nil {
		s.registry.zones = map[string]*devices.Zone{}
	}
	s.registry.zones[z.ID] = &z
	s.registry.version++
	return nil
}

func (s *script) device(args []string) error {
	a := &devices.Asset{Device: devices.Device{ID: args[0], Domain: args[1], Status: devices.Claimed, Tags: map[string]string{}}}
	for _, kv := range args[2:] {
		k, v, _ := strings.Cut(kv, "=")
		switch k {
		case "zone":
			a.Zone = v
		case "profile":
			a.Profile = v
		case "name":
			a.Name = v
		case "lat", "lon":
			number, err := strconv.ParseFloat(v, 64)
			if err != nil {
				return fmt.Errorf("device: %s: found %q, want degrees", k, v)
			}
			if k == "lat" {
				a.Lat = &number
			} else {
				a.Lon = &number
			}
		case "period":
			d, err := time.ParseDuration(v)
			if err != nil {
				return fmt.Errorf("device: period: found %q, want a duration", v)
			}
			a.Period = devices.Duration(d)
		default:
			if of, ok := strings.CutPrefix(k, "rule:"); ok {
				if err := override(a, of, v); err != nil {
					return err
				}
				continue
			}
			tag, ok := strings.CutPrefix(k, "tag.")
			if !ok {
				return fmt.Errorf("device: found %q, want zone, profile, name, lat, lon, period, tag.NAME or rule:RULE:PARAMETER", k)
			}
			a.Tags[tag] = v
		}
	}
	s.registry.assets[a.ID] = a
	s.registry.version++
	return nil
}

// override gives an asset one value in place of a rule's own: RULE:PARAMETER.
func override(a *devices.Asset, of, value string) error {
	rule, name, ok := strings.Cut(of, ":")
	if !ok {
		return fmt.Errorf("device: found rule:%s, want rule:RULE:PARAMETER", of)
	}
	o := devices.Override{Value: value, From: "device"}
	if number, err := strconv.ParseFloat(value, 64); err == nil {
		o.Value = number
	} else if b, err := strconv.ParseBool(value); err == nil {
		o.Value = b
	}
	if a.Overrides == nil {
		a.Overrides = devices.Overrides{}
	}
	if a.Overrides[rule] == nil {
		a.Overrides[rule] = map[string]devices.Override{}
	}
	a.Overrides[rule][name] = o
	return nil
}

// profile enters a profile: its metrics, each with its least and greatest value, either of which may be
// missing. The rules are read again, as the store does.
func (s *script) profile(args []string) error {
	p := &devices.Profile{ID: args[0], Domain: args[1], Metrics: map[string]devices.Metric{}}
	for _, kv := range args[2:] {
		k, v, _ := strings.Cut(kv, "=")
		least, most, ok := strings.Cut(v, "..")
		if !ok {
			return fmt.Errorf("profile: found %q, want METRIC=MIN..MAX", kv)
		}
		m := devices.Metric{}
		for text, bound := range map[string]**float64{least: &m.Min, most: &m.Max} {
			if text == "" {
				continue
			}
			number, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return fmt.Errorf("profile: %s: found %q, want a number", k, text)
			}
			*bound = &number
		}
		p.Metrics[k] = m
	}
	s.registry.profiles = append(slices.DeleteFunc(s.registry.profiles, func(o *devices.Profile) bool { return o.ID == p.ID }), p)
	slices.SortFunc(s.registry.profiles, func(a, b *devices.Profile) int { return strings.Compare(a.ID, b.ID) })
	if s.again == nil {
		return nil
	}
	return s.again()
}
